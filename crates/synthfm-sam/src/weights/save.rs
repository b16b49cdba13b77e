//! Writing weights as safetensors under Meta's key names, with the configuration in the metadata.
//!
//! The file appears whole or not at all. The same model gives the same bytes: keys are sorted and
//! nothing else is stored.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::Path;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{DType, Tensor, TensorData};
use safetensors::tensor::{Dtype, Metadata, TensorInfo};
use sha2::{Digest, Sha256};
use synthfm_image::hex;

use super::model_file::transpose;
use super::names::KeyPath;
use super::published_names::in_file;
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

/// Writes a model as one safetensors file, one tensor at a time. Fails if a value is not finite or does not fit the
/// precision; an earlier file of that name stays then. Zeros stand for what MobileSAM's own loader
/// insists on and nothing uses.
pub fn save(sam: &Sam, precision: Precision, path: &Path) -> Result<()> {
    let state = state_dict(sam).into_iter();
    let state: BTreeMap<String, LazyTensor> = state
        .map(|(key, tensor)| (in_file(sam.config(), &key).into_owned(), tensor))
        .collect();
    let made_up = required(sam.config(), state.keys().map(String::as_str));
    let dtype = match precision {
        Precision::F32 => Dtype::F32,
        Precision::F16 => Dtype::F16,
    };
    let own = state.iter().map(|(key, lazy)| Entry {
        key,
        dtype,
        shape: lazy.shape.clone(),
        values: Some(lazy),
    });
    let made_up = made_up.iter().map(|(key, what)| match what {
        Required::Zeros(shape) => Entry {
            key,
            dtype,
            shape: shape.clone(),
            values: None,
        },
        Required::Counter => Entry {
            key,
            dtype: Dtype::I64,
            shape: vec![],
            values: None,
        },
    });
    let mut entries: Vec<Entry<'_>> = own.chain(made_up).collect();
    // The format's own order: wide types first, so that all are aligned, then by name.
    entries.sort_by(|a, b| b.dtype.cmp(&a.dtype).then(a.key.cmp(b.key)));
    let header = header(&entries, sam.config().to_json())
        .map_err(|e| Error::weights(path, e.to_string()))?;
    Ok(synthfm_image::write_atomically(path, |file| {
        file.write_all(&(header.len() as u64).to_le_bytes())?;
        file.write_all(&header)?;
        entries
            .iter()
            .try_for_each(|entry| file.write_all(&entry.bytes()?))
    })?)
}

/// A tensor of a file to write.
struct Entry<'a> {
    key: &'a str,
    dtype: Dtype,
    shape: Vec<usize>,
    /// `None`: zeros.
    values: Option<&'a LazyTensor>,
}

impl Entry<'_> {
    fn len(&self) -> usize {
        self.dtype.bitsize() / 8 * self.shape.iter().product::<usize>()
    }

    fn bytes(&self) -> io::Result<Vec<u8>> {
        let Some(lazy) = self.values else {
            return Ok(vec![0; self.len()]);
        };
        let data = (lazy.read)();
        let fail = |reason: String| io::Error::other(format!("{}: {reason}", self.key));
        if !data.iter::<f32>().all(f32::is_finite) {
            return Err(fail("holds values that are not finite".to_owned()));
        }
        if self.dtype == Dtype::F32 {
            return Ok(data.as_bytes().to_vec());
        }
        let half = data.try_cast(DType::F16).map_err(|e| fail(e.to_string()))?;
        if half.iter::<f32>().all(f32::is_finite) {
            Ok(half.as_bytes().to_vec())
        } else {
            Err(fail("does not fit half precision".to_owned()))
        }
    }
}

/// Names, shapes and places of the tensors, filled up to whole words.
fn header(entries: &[Entry<'_>], config: String) -> serde_json::Result<Vec<u8>> {
    let mut end = 0;
    let infos = entries.iter().map(|entry| {
        let start = end;
        end += entry.len();
        let info = TensorInfo {
            dtype: entry.dtype,
            shape: entry.shape.clone(),
            data_offsets: (start, end),
        };
        (entry.key.to_owned(), info)
    });
    let config = HashMap::from([("config".to_owned(), config)]);
    let metadata = Metadata::new(Some(config), infos.collect())
        .expect("the places follow one another and are as long as the shapes say");
    let mut header = serde_json::to_vec(&metadata)?;
    header.resize(header.len().next_multiple_of(8), b' ');
    Ok(header)
}

/// SHA-256 over names, shapes and values of a module's parameters, in hexadecimal. Two modules of equal
/// weights agree, however they were stored.
pub fn weights_sha256<M: Module>(module: &M) -> String {
    let mut hasher = Sha256::new();
    for (key, lazy) in state_dict(module) {
        let data = (lazy.read)();
        hasher.update(key.as_bytes());
        for &side in data.shape().iter() {
            hasher.update((side as u64).to_le_bytes());
        }
        hasher.update(data.as_bytes());
    }
    hex(&hasher.finalize())
}

/// Keys of the parameters that hold a value that is not finite, in order.
pub fn not_finite<M: Module>(module: &M) -> Vec<String> {
    let state = state_dict(module).into_iter();
    let broken = state.filter(|(_, lazy)| !(lazy.read)().iter::<f32>().all(f32::is_finite));
    broken.map(|(key, _)| key).collect()
}

/// Writes `bytes` to `path` through a temporary file in the same folder.
pub(crate) fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    Ok(synthfm_image::write_atomically(path, |file| {
        file.write_all(bytes)
    })?)
}

/// A parameter that is read when it is needed: a model's copy would double its memory.
struct LazyTensor {
    /// In a checkpoint.
    shape: Vec<usize>,
    read: Box<dyn Fn() -> TensorData>,
}

/// Every parameter in a checkpoint's layout, `f32`.
fn state_dict<M: Module>(module: &M) -> BTreeMap<String, LazyTensor> {
    let mut collector = Collector::default();
    module.visit(&mut collector);
    collector.found
}

/// A parameter in a checkpoint's layout, `f32`.
pub(super) fn state_tensor<const D: usize>(tensor: Tensor<D>, transposed: bool) -> TensorData {
    let data = tensor.into_data_as::<f32>();
    if !transposed {
        return data;
    }
    let (rows, cols) = (data.shape()[0], data.shape()[1]);
    let values: Vec<f32> = data.iter().collect();
    TensorData::new(transpose(&values, rows, cols), [cols, rows])
}

#[derive(Default)]
struct Collector {
    path: KeyPath,
    found: BTreeMap<String, LazyTensor>,
}

impl ModuleVisitor for Collector {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.path.enter(name, container_type);
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let (tensor, transposed) = (param.val(), self.path.transposed(D));
        let mut shape = tensor.dims().to_vec();
        if transposed {
            shape.reverse();
        }
        let read = Box::new(move || state_tensor(tensor.clone(), transposed));
        self.found
            .insert(self.path.key(), LazyTensor { shape, read });
    }
}
