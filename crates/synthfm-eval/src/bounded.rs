//! Files whose size is checked before they are read.

use std::fs;
use std::path::Path;

use crate::error::problem;
use crate::{Error, Result};

/// Fails if the file holds more than `limit` bytes.
pub(crate) fn check_size(path: &Path, limit: u64) -> Result<()> {
    let bytes = fs::metadata(path).map_err(|source| io(path, source))?.len();
    if bytes > limit {
        let text = format!("{bytes} bytes, more than the limit of {limit}");
        return Err(problem(path, text));
    }
    Ok(())
}

/// Reads a text of at most `limit` bytes.
pub(crate) fn read_text(path: &Path, limit: u64) -> Result<String> {
    check_size(path, limit)?;
    fs::read_to_string(path).map_err(|source| io(path, source))
}

fn io(path: &Path, source: std::io::Error) -> Error {
    Error::Io {
        path: path.to_owned(),
        source,
    }
}
