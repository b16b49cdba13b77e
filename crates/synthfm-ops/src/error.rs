//! What can go wrong with devices and precisions.

/// Result with this crate's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// A device or precision that is not known, or not there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No such precision.
    #[error("precision {name:?}: expected f32, bf16, f16 or auto")]
    UnknownPrecision {
        /// What was asked for.
        name: String,
    },
    /// bf16 was asked for where it is not computed.
    #[error(
        "bf16 needs a CPU with AVX512-BF16, and this device has none: use --precision f32 or auto"
    )]
    NoBf16,
    /// f16 was asked for where it is not computed.
    #[error(
        "f16 needs a GPU that computes in half precision, and this device does not: use --precision f32 or auto"
    )]
    NoF16,
    /// A training step was asked for in f16.
    #[error("f16 is not trained in: use f32, bf16 or auto")]
    UntrainedF16,
    /// A device name is not one of the known ones.
    #[error("unknown device {name:?}: use auto, cpu, cuda[:i], vulkan[:i] or metal")]
    UnknownDevice {
        /// The name given.
        name: String,
    },

    /// A device is not there or not supported by this build.
    #[error("device {device} is not available: {reason}")]
    DeviceUnavailable {
        /// The device asked for.
        device: String,
        /// Why, and what to do.
        reason: String,
    },
}
