//! The program `synthfm`: the library's [`synthfm::main`] with mimalloc as the memory allocator.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    ExitCode::from(synthfm::main(std::env::args_os(), synthfm::mimalloc_keeps))
}
