//! The crate's error type: one variant per party that must act.

use std::path::PathBuf;

use crate::geometry::Size;

/// An error while building, reading or writing an image.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The number of values does not match the stated shape.
    #[error("{what}: {expected} values expected for its shape, got {got}")]
    Shape {
        /// The type under construction.
        what: &'static str,
        /// Values that the shape asks for.
        expected: usize,
        /// Values that were given.
        got: usize,
    },
    /// An argument is outside its documented range.
    #[error("{0}")]
    Parameter(String),
    /// The file is damaged, truncated or not what its name says.
    #[error("{path}: {problem}", path = path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// Description of what was expected and what was found.
        problem: String,
    },
    /// The file is well formed but uses something that is not supported.
    #[error("{path}: not supported: {problem}", path = path.display())]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// Description of what is not supported, and of what is.
        problem: String,
    },
    /// The file asks for more memory than the limit allows.
    #[error("{path}: needs {bytes} bytes, more than the limit of {limit}", path = path.display())]
    Limit {
        /// The file.
        path: PathBuf,
        /// Bytes that the file declares.
        bytes: u64,
        /// Bytes allowed.
        limit: u64,
    },
    /// The system does not have the memory for what is made of an image.
    #[error("an image of {size} takes {bytes} bytes of memory, which the system does not have")]
    Memory {
        /// The image's size.
        size: Size,
        /// Bytes that were asked for.
        bytes: u64,
    },
    /// The operating system refused.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
}

/// A result with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;
