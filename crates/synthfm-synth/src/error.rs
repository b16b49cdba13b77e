//! What can be wrong with a configuration or a recipe.

/// Why a configuration or a recipe is refused. The first word of each message is the field.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A number lies outside the range it may have.
    #[error("{field}: expected {expected}, got {got}; change it in the configuration")]
    OutOfRange {
        /// Dotted path of the field.
        field: &'static str,
        /// What is allowed.
        expected: &'static str,
        /// What was given.
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
