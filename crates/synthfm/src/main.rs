//! The program `synthfm`: the library's [`synthfm::main`] with mimalloc as the memory allocator.

use std::process::ExitCode;

use synthfm::Keep;

/// `mi_option_purge_delay` of mimalloc's `mimalloc.h` (versions 2 and 3), which the bindings do not name.
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    ExitCode::from(synthfm::main(std::env::args_os(), keep_freed_memory))
}

/// Sets how long freed memory is kept.
#[expect(unsafe_code, reason = "a setting of the allocator's C library")]
fn keep_freed_memory(keep: Keep) {
    let milliseconds = match keep {
        Keep::ForASecond => 1000,
        Keep::Always => -1,
    };
    // SAFETY: sets one number of a table, under an index that exists; the library allows it at any time.
    unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, milliseconds) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(unsafe_code, reason = "a setting of the allocator's C library")]
    fn the_delay_is_the_setting_that_changes() {
        // SAFETY: reads one number of a table, under an index that exists.
        let delay = || unsafe { libmimalloc_sys::mi_option_get(PURGE_DELAY) };
        assert!(delay() > 0, "milliseconds");
        keep_freed_memory(Keep::ForASecond);
        assert_eq!(delay(), 1000);
        keep_freed_memory(Keep::Always);
        assert_eq!(delay(), -1);
    }
}
