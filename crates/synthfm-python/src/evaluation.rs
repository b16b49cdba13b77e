//! `evaluate`: the program's evaluation, called from Python.

use std::ffi::OsString;

use pyo3::prelude::*;
use synthfm::api;

use crate::errors::OrRaise;
use crate::work::interruptible;

/// Evaluates with these flags of `synthfm evaluate` and returns what `--json` prints.
#[pyfunction]
pub(crate) fn evaluate(py: Python<'_>, flags: Vec<OsString>) -> PyResult<String> {
    let found = interruptible(py, move |stop| api::evaluate(&flags, stop))?;
    Ok(found.or_raise()?.to_string())
}
