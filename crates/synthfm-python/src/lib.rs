//! The extension module `synthfm._synthfm`, which the Python package `synthfm` wraps.
//!
//! Every function calls the library that the program is made of, so that masks, samples and scores are those of the
//! program bit for bit. Python's lock is released while Rust works, and Ctrl-C is heard. Arrays go out without a copy.
//!
//! Rust's memory, and only that, comes from the program's allocator. From the system's, every array that Python lets go
//! returns as fresh pages, which the kernel has to clear: 4 to 8 % of a synthetic image's time.

// The macros of pyo3 and numpy's import of exceptions hand over references and results by value.
#![expect(
    clippy::needless_pass_by_value,
    reason = "arguments of Python functions are extracted by value"
)]

mod arrays;
mod errors;
mod evaluation;
mod generator;
mod metrics;
mod predictor;
mod prompts;
mod scan;
mod volume;
mod work;

use std::ffi::OsString;

use pyo3::prelude::*;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The extension module.
#[pymodule]
mod _synthfm {
    #[pymodule_export]
    use super::evaluation::evaluate;
    #[pymodule_export]
    use super::generator::Generator;
    #[pymodule_export]
    use super::metrics::{assd, dice, hd95, nsd};
    #[pymodule_export]
    use super::predictor::{Predictor, Segment};
    #[pymodule_export]
    use super::run_program;
    #[pymodule_export]
    use super::scan::{Scan, read, write};
    #[pymodule_export]
    use super::volume::VolumeSegment;

    use pyo3::prelude::*;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        synthfm::mimalloc_keeps(synthfm::Keep::ForASecond);
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}

/// Runs the program with these arguments, the first of which is its name, and returns its exit code.
#[pyfunction]
fn run_program(py: Python<'_>, arguments: Vec<OsString>) -> u8 {
    py.detach(|| synthfm::main(arguments, synthfm::mimalloc_keeps))
}
