//! A walk over a module's parameters by their checkpoint keys.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::Tensor;
use sha2::{Digest, Sha256};
use synthfm_image::hex;
use synthfm_sam::KeyPath;

use crate::gradients::{Reading, host_values};

/// One parameter of a module in training.
pub(crate) struct Parameter<'a> {
    /// Name of the parameter in a checkpoint.
    pub(crate) key: String,
    /// Lengths of the parameter's axes, as the module holds it.
    pub(crate) shape: Vec<usize>,
    /// Whether gradients are recorded for it.
    pub(crate) trainable: bool,
    /// Copies its values, row-major.
    pub(crate) values: &'a dyn Fn() -> Vec<f32>,
    /// Has its values read together with others.
    pub(crate) read: &'a dyn Fn(&mut Reading),
}

/// Calls `see` with every parameter, in the order of the fields.
pub(crate) fn for_each_parameter<M: Module>(module: &M, see: &mut dyn FnMut(Parameter<'_>)) {
    struct Visitor<'a> {
        path: KeyPath,
        see: &'a mut dyn FnMut(Parameter<'_>),
    }
    impl ModuleVisitor for Visitor<'_> {
        fn enter_module(&mut self, name: &str, container: &str) {
            self.path.enter(name, container);
        }
        fn exit_module(&mut self, _: &str, _: &str) {
            self.path.exit();
        }
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let (key, tensor) = (self.path.key(), param.val());
            (self.see)(Parameter {
                key: key.clone(),
                shape: tensor.dims().to_vec(),
                trainable: tensor.is_require_grad(),
                values: &|| host_values(tensor.clone().inner()),
                read: &|reading| reading.add(key.clone(), tensor.clone().inner()),
            });
        }
    }
    module.visit(&mut Visitor {
        path: KeyPath::default(),
        see,
    });
}

/// The values of every trained parameter.
pub(crate) fn trained_values<M: Module>(module: &M) -> BTreeMap<String, Vec<f32>> {
    let mut reading = Reading::default();
    for_each_parameter(module, &mut |parameter| {
        if parameter.trainable {
            (parameter.read)(&mut reading);
        }
    });
    reading.values()
}

/// SHA-256 over keys, shapes and values of the parameters that are not trained; empty if all are.
pub(crate) fn frozen_sha256<M: Module>(module: &M) -> String {
    let (mut hasher, mut any) = (Sha256::new(), false);
    for_each_parameter(module, &mut |parameter| {
        if parameter.trainable {
            return;
        }
        any = true;
        hasher.update(parameter.key.as_bytes());
        for side in parameter.shape {
            hasher.update((side as u64).to_le_bytes());
        }
        for value in (parameter.values)() {
            hasher.update(value.to_le_bytes());
        }
    });
    if any {
        hex(&hasher.finalize())
    } else {
        String::new()
    }
}
