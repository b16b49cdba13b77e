//! Weights in and out: Meta's `.pth` and safetensors, under the key names of Meta's checkpoints.
//!
//! A file is opened without reading its tensors; its configuration comes from the file or is inferred
//! from names and shapes, its keys are compared with the model's, and each tensor is then read straight
//! into its parameter. Files are untrusted: lengths are checked before anything is allocated.

mod average;
#[cfg(test)]
mod hostile_tests;
mod infer;
mod infer_sam2;
mod model_file;
mod names;
mod pickle_scan;
mod published_names;
#[cfg(test)]
mod sam2_tests;
mod save;
mod store;
#[cfg(test)]
mod tests;
mod torch_file;
mod unused;

pub use average::WeightMean;
pub(crate) use model_file::transpose;
pub use model_file::{ModelFile, ModelHints, ModelReport, WeightsFormat};
pub use names::{KeyPath, ParameterKey, expected_keys, is_buffer, parameter_keys};
pub(crate) use save::write_atomically;
pub use save::{Precision, not_finite, save, weights_sha256};
pub(crate) use store::TensorStore;
pub use torch_file::save_pth;
pub use unused::ensure_published;
