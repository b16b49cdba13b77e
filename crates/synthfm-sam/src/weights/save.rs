//! Writing weights as safetensors under Meta's key names, with the configuration in the metadata.
//!
//! The file appears whole or not at all. The same model gives the same bytes: keys are sorted and
//! nothing else is stored.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{DType, Tensor, TensorData};
use safetensors::tensor::TensorView;
use sha2::{Digest, Sha256};

use super::model_file::transpose;
use super::names::KeyPath;
use super::unused::{Required, required};
use crate::error::{Error, Result};
use crate::sam::Sam;

/// How weights are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    /// 4 bytes per value: exact.
    F32,
    /// 2 bytes per value, about 3 significant digits.
    F16,
}

/// Writes a model as one safetensors file; zeros stand for what MobileSAM's own loader insists on and
/// nothing uses.
pub fn save(sam: &Sam, precision: Precision, path: &Path) -> Result<()> {
    let tensors = converted(state_dict(sam), precision, path)?;
    let dtype = match precision {
        Precision::F32 => safetensors::Dtype::F32,
        Precision::F16 => safetensors::Dtype::F16,
    };
    let fail = |e: safetensors::SafeTensorError| Error::weights(path, e.to_string());
    let own = tensors
        .iter()
        .map(|(key, data)| (key, dtype, data.shape().to_vec(), data.as_bytes()));
    let made_up = required(sam.config(), tensors.keys().map(String::as_str));
    let made_up: Vec<_> = made_up
        .into_iter()
        .map(|(key, what)| match what {
            Required::Zeros(shape) => {
                let bytes = dtype.bitsize() / 8 * shape.iter().product::<usize>();
                (key, dtype, shape, vec![0; bytes])
            }
            Required::Counter => (key, safetensors::Dtype::I64, vec![], vec![0; 8]),
        })
        .collect();
    let made_up = made_up
        .iter()
        .map(|(key, dtype, shape, bytes)| (key, *dtype, shape.clone(), &bytes[..]));
    let views = own
        .chain(made_up)
        .map(|(key, dtype, shape, bytes)| Ok((key, TensorView::new(dtype, shape, bytes)?)))
        .collect::<std::result::Result<Vec<_>, _>>()
        .map_err(fail)?;
    let metadata = HashMap::from([("config".to_owned(), sam.config().to_json())]);
    let bytes = safetensors::serialize(views, Some(metadata)).map_err(fail)?;
    write_atomically(path, &bytes)
}

/// SHA-256 over names, shapes and values of a module's parameters, in hexadecimal. Two modules of equal
/// weights agree, however they were stored.
pub fn weights_sha256<M: Module>(module: &M) -> String {
    let mut hasher = Sha256::new();
    for (key, data) in state_dict(module) {
        hasher.update(key.as_bytes());
        for &side in data.shape().iter() {
            hasher.update((side as u64).to_le_bytes());
        }
        hasher.update(data.as_bytes());
    }
    hex(&hasher.finalize())
}

/// Writes `bytes` to `path` through a temporary file in the same folder.
pub(crate) fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    Ok(synthfm_image::write_atomically(path, |file| {
        file.write_all(bytes)
    })?)
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a string cannot fail");
        text
    })
}

fn converted(
    state: BTreeMap<String, TensorData>,
    precision: Precision,
    path: &Path,
) -> Result<BTreeMap<String, TensorData>> {
    if precision == Precision::F32 {
        return Ok(state);
    }
    let half = |(key, data): (String, TensorData)| {
        let data = data
            .try_cast(DType::F16)
            .map_err(|e| Error::weights(path, format!("{key}: {e}")))?;
        if data.iter::<f32>().all(f32::is_finite) {
            Ok((key, data))
        } else {
            Err(Error::weights(
                path,
                format!("{key}: does not fit half precision"),
            ))
        }
    };
    state.into_iter().map(half).collect()
}

/// Every parameter in a checkpoint's layout, `f32`.
fn state_dict<M: Module>(module: &M) -> BTreeMap<String, TensorData> {
    let mut collector = Collector::default();
    module.visit(&mut collector);
    collector.found
}

/// A parameter in a checkpoint's layout, `f32`.
pub(super) fn state_tensor<const D: usize>(param: &Param<Tensor<D>>, path: &KeyPath) -> TensorData {
    let data = param.val().into_data_as::<f32>();
    if !path.transposed(D) {
        return data;
    }
    let (rows, cols) = (data.shape()[0], data.shape()[1]);
    let values: Vec<f32> = data.iter().collect();
    TensorData::new(transpose(&values, rows, cols), [cols, rows])
}

#[derive(Default)]
struct Collector {
    path: KeyPath,
    found: BTreeMap<String, TensorData>,
}

impl ModuleVisitor for Collector {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.path.enter(name, container_type);
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.found
            .insert(self.path.key(), state_tensor(param, &self.path));
    }
}
