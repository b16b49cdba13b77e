//! The crate's error type: one variant per party that must act.

use std::path::PathBuf;

/// An error while training.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An image, mask or volume could not be built, read or written.
    #[error(transparent)]
    Image(#[from] synthfm_image::Error),
    /// An option is outside its documented range.
    #[error("{0}")]
    Parameter(String),
    /// The network could not be built, loaded or run.
    #[error(transparent)]
    Sam(#[from] synthfm_sam::Error),
    /// The device or precision is not there.
    #[error(transparent)]
    Ops(#[from] synthfm_sam::ops::Error),
    /// A sample could not be generated.
    #[error(transparent)]
    Synth(#[from] synthfm_synth::Error),
    /// A real image could not be read or evaluated.
    #[error(transparent)]
    Eval(#[from] synthfm_eval::Error),
    /// A checkpoint is damaged, or of another run.
    #[error(
        "{path}: damaged checkpoint: {problem}; delete its folder to resume from the one before",
        path = path.display()
    )]
    Checkpoint {
        /// The folder or file.
        path: PathBuf,
        /// Description of what was expected and what was found.
        problem: String,
    },
    /// Another process writes the run.
    #[error(
        "{path} is being written by another synthfm train: wait for it, stop it, or choose another folder",
        path = path.display()
    )]
    RunInUse {
        /// The run's folder.
        path: PathBuf,
    },
    /// A thread that makes batches ended before its work was done.
    #[error("a worker that makes training batches stopped; its own message stands above")]
    Worker,
    /// Too many steps in a row had no finite loss or gradient.
    #[error(
        "training diverged at step {step}: {skipped} steps had no finite loss or gradient; try {advice} in {from}"
    )]
    Diverged {
        /// The step at which training ended.
        step: u64,
        /// Steps that were left out.
        skipped: u64,
        /// Settings to change.
        advice: String,
        /// Where to go on from.
        from: String,
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
