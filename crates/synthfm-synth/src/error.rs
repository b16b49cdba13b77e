//! Errors of configurations and recipes.

/// Why a configuration or a recipe is refused. The first word of each message is the field.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A number lies outside the range it may have.
    #[error("{field}: expected {expected}, got {got}; change it in the configuration")]
    OutOfRange {
        /// Dotted path of the field.
        field: &'static str,
        /// Description of the allowed values.
        expected: &'static str,
        /// The value that was given.
        got: String,
    },
    /// A preset's name is not known.
    #[error("preset: expected one of {known}, got {got:?}")]
    UnknownPreset {
        /// The names that exist.
        known: &'static str,
        /// The name that was given.
        got: String,
    },
}

/// Result with this crate's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;
