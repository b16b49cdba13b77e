//! The crate's error type: one variant per party that must act.

use std::path::{Path, PathBuf};

use synthfm_image::Size;

/// An error while evaluating.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An image, mask or volume could not be built, read or written.
    #[error(transparent)]
    Image(#[from] synthfm_image::Error),
    /// Two rasters that belong together differ in size.
    #[error("{what}: {expected} expected, got {got}")]
    SizeMismatch {
        /// Which raster.
        what: &'static str,
        /// The size of its partner.
        expected: Size,
        /// The size of this raster.
        got: Size,
    },
    /// A folder is not a data set in a layout that we read.
    #[error("{path}: {problem}", path = path.display())]
    Dataset {
        /// The folder or file.
        path: PathBuf,
        /// Description of what was expected and what was found.
        problem: String,
    },
    /// An option is outside its documented range.
    #[error("{0}")]
    Parameter(String),
    /// The network could not be built, loaded or run.
    #[error(transparent)]
    Sam(#[from] synthfm_sam::Error),
    /// A sample could not be generated.
    #[error(transparent)]
    Synth(#[from] synthfm_synth::Error),
    /// The segmenter under evaluation failed.
    #[error("{segmenter}: {problem}")]
    Segmenter {
        /// Name of the segmenter.
        segmenter: String,
        /// The segmenter's own message.
        problem: String,
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
pub type Result<T> = std::result::Result<T, Error>;

/// A data set's file that is not what was expected.
pub(crate) fn problem(path: &Path, problem: String) -> Error {
    Error::Dataset {
        path: path.to_owned(),
        problem,
    }
}
