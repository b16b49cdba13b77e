//! The key of every parameter, as Meta's checkpoints name it.
//!
//! Field names are the keys, with three exceptions that all live here: a Rust field cannot be called
//! `0`, so members of an `nn.Sequential` are `conv_0`, `norm_1` and so on; the variant of an enum has no
//! segment in the key; and burn keeps linear weights `[in, out]` where `PyTorch` has `[out, in]`.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::tensor::{Device, Tensor};

use super::published_names::in_file;
use crate::config::SamConfig;
use crate::error::Result;
use crate::sam::Sam;

/// One parameter of a module.
///
/// SAM 2's checkpoints have other names for some of them: [`expected_keys`] gives these.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParameterKey {
    /// Name in a checkpoint of SAM's.
    pub key: String,
    /// Shape in a checkpoint.
    pub shape: Vec<usize>,
    /// The parameter's identity, by which optimizers and gradients know it.
    pub id: ParamId,
    /// Whether the module holds the transpose of what a checkpoint holds (linear weights).
    pub transposed: bool,
}

/// The parameters of a module in the order of its fields. Initialises none of them.
pub fn parameter_keys<M: Module>(module: &M) -> Vec<ParameterKey> {
    let mut lister = Lister::default();
    module.visit(&mut lister);
    lister.found
}

/// Whether a key names a buffer: saved with the weights and never trained.
pub fn is_buffer(key: &str) -> bool {
    [
        "positional_encoding_gaussian_matrix",
        "running_mean",
        "running_var",
    ]
    .iter()
    .any(|name| key.ends_with(name))
}

/// Key names and shapes of a checkpoint for `config`. Allocates no vision transformer.
pub fn expected_keys(config: &SamConfig) -> Result<BTreeMap<String, Vec<usize>>> {
    config.validate()?;
    let sam = Sam::new(config, &Device::flex());
    let keys = parameter_keys(&sam).into_iter();
    Ok(keys
        .map(|p| (in_file(config, &p.key).into_owned(), p.shape))
        .collect())
}

/// The path from the module's root to the parameter being visited.
#[derive(Debug, Default)]
pub struct KeyPath {
    /// Segment (`None` where it has no place in the key) and whether its owner is a linear layer.
    segments: Vec<(Option<String>, bool)>,
}

impl KeyPath {
    /// Follows a module traversal into a field.
    pub fn enter(&mut self, name: &str, container: &str) {
        let segment = if container.starts_with("Enum:") {
            None
        } else {
            Some(sequential_index(name).unwrap_or(name).to_owned())
        };
        self.segments.push((segment, container == "Struct:Linear"));
    }

    /// Follows a module traversal out of a field.
    pub fn exit(&mut self) {
        self.segments.pop();
    }

    /// The key of the parameter that the traversal is at.
    pub fn key(&self) -> String {
        let parts: Vec<&str> = self
            .segments
            .iter()
            .filter_map(|(segment, _)| segment.as_deref())
            .collect();
        parts.join(".")
    }

    /// Whether a parameter of this rank is stored transposed.
    pub fn transposed(&self, rank: usize) -> bool {
        rank == 2 && self.segments.last().is_some_and(|&(_, linear)| linear)
    }
}

/// `3` of `conv_3` or `norm_3`: a member's place in its `nn.Sequential`.
fn sequential_index(field: &str) -> Option<&str> {
    let index = field
        .strip_prefix("conv_")
        .or_else(|| field.strip_prefix("norm_"))?;
    index.bytes().all(|b| b.is_ascii_digit()).then_some(index)
}

#[derive(Default)]
struct Lister {
    path: KeyPath,
    found: Vec<ParameterKey>,
}

impl ModuleVisitor for Lister {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.path.enter(name, container_type);
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let transposed = self.path.transposed(D);
        let mut shape = param.lazy_shape().to_vec();
        if transposed {
            shape.reverse();
        }
        self.found.push(ParameterKey {
            key: self.path.key(),
            shape,
            id: param.id,
            transposed,
        });
    }
}
