//! Writing a graph with its constants as an ONNX file, one constant at a time.
//!
//! A message of protocol buffers is its fields in any order, so that the small part is encoded as a whole
//! and the constants follow it as they are read: memory holds one of them. Protocol buffers end at 2 GiB;
//! a larger model's weights go to a second file beside the first (`NAME.onnx.data`, ONNX's external data).

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len};
use synthfm_image::write_atomically;

use super::graph::{Constant, Content};
use super::proto;
use crate::error::Result;

/// `IR_VERSION` 8 and operator set 17 are the first with `LayerNormalization`.
const IR_VERSION: i64 = 8;
const OPERATOR_SET: i64 = 17;
/// Constants of an external file start at pages, so that they can be mapped into memory.
const PAGE: u64 = 4096;
/// Constants of fewer bytes stay in the first file: shapes and indices, which graphs are checked with.
const SMALL: u64 = 1024;

/// Reads the values of a constant.
pub(super) type Read<'a> = dyn FnMut(&Constant) -> io::Result<Vec<u8>> + 'a;

/// A file to write.
pub(super) struct File {
    pub(super) graph: proto::Graph,
    pub(super) constants: BTreeMap<String, Constant>,
    /// Free text about the model, by key.
    pub(super) metadata: Vec<(String, String)>,
    /// Bytes of constants beyond which they go to a file of their own.
    pub(super) limit: u64,
}

impl File {
    /// Writes the file, and where it is large the one beside it; both appear whole or not at all. Returns
    /// what was written.
    pub(super) fn write(&self, path: &Path, read: &mut Read<'_>) -> Result<Vec<PathBuf>> {
        let total: u64 = self.constants.values().map(bytes).sum();
        if total <= self.limit {
            self.write_model(path, &BTreeMap::new(), read)?;
            return Ok(vec![path.to_owned()]);
        }
        let beside = data_path(path);
        let offsets = self.write_data(&beside, read)?;
        self.write_model(path, &offsets, read)?;
        Ok(vec![path.to_owned(), beside])
    }

    /// The constants that are not small, each at the start of a page; returns where.
    fn write_data<'a>(
        &'a self,
        path: &Path,
        read: &mut Read<'_>,
    ) -> Result<BTreeMap<&'a str, External>> {
        let mut offsets = BTreeMap::new();
        let location = path.file_name().unwrap_or_default().to_string_lossy();
        write_atomically(path, |file| {
            let mut end = 0u64;
            for (name, constant) in self.constants.iter().filter(|(_, c)| bytes(c) >= SMALL) {
                let start = end.next_multiple_of(PAGE);
                file.write_all(&vec![0; (start - end) as usize])?;
                let values = read(constant)?;
                file.write_all(&values)?;
                end = start + values.len() as u64;
                let external = External {
                    location: location.to_string(),
                    offset: start,
                };
                offsets.insert(name.as_str(), external);
            }
            Ok(())
        })?;
        Ok(offsets)
    }

    fn write_model(
        &self,
        path: &Path,
        external: &BTreeMap<&str, External>,
        read: &mut Read<'_>,
    ) -> Result<()> {
        let head = self.head().encode_to_vec();
        let small = self.graph.encode_to_vec();
        let tensors: Vec<(proto::Tensor, &Constant)> = self
            .constants
            .iter()
            .map(|(name, constant)| {
                (
                    tensor(name, constant, external.get(name.as_str())),
                    constant,
                )
            })
            .collect();
        let constants: u64 = tensors
            .iter()
            .map(|(tensor, constant)| {
                let length = tensor_length(tensor, constant);
                field_length(proto::GRAPH_INITIALIZER, length)
            })
            .sum();
        write_atomically(path, |file| {
            file.write_all(&head)?;
            file.write_all(&start(proto::MODEL_GRAPH, small.len() as u64 + constants))?;
            file.write_all(&small)?;
            for (tensor, constant) in &tensors {
                let length = tensor_length(tensor, constant);
                file.write_all(&start(proto::GRAPH_INITIALIZER, length))?;
                file.write_all(&tensor.encode_to_vec())?;
                if tensor.data_location != proto::EXTERNAL {
                    file.write_all(&start(proto::TENSOR_RAW_DATA, bytes(constant)))?;
                    file.write_all(&read(constant)?)?;
                }
            }
            Ok(())
        })?;
        Ok(())
    }

    /// Everything but the graph.
    fn head(&self) -> proto::Model {
        let entry = |(key, value): &(String, String)| proto::Entry {
            key: key.clone(),
            value: value.clone(),
        };
        proto::Model {
            ir_version: IR_VERSION,
            producer_name: "synthfm".to_owned(),
            producer_version: env!("CARGO_PKG_VERSION").to_owned(),
            graph: None,
            opset_import: vec![proto::OperatorSet {
                domain: Some(String::new()),
                version: OPERATOR_SET,
            }],
            metadata_props: self.metadata.iter().map(entry).collect(),
        }
    }
}

/// Where a constant lies in a second file.
struct External {
    location: String,
    offset: u64,
}

/// `NAME.onnx.data` of `NAME.onnx`.
fn data_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".data");
    name.into()
}

/// Bytes of a constant's values.
fn bytes(constant: &Constant) -> u64 {
    let size = match constant.content {
        Content::Integers(_) => 8,
        _ => 4,
    };
    size * constant
        .shape
        .iter()
        .map(|&side| side as u64)
        .product::<u64>()
}

/// A constant without its values.
fn tensor(name: &str, constant: &Constant, external: Option<&External>) -> proto::Tensor {
    let entry = |key: &str, value: String| proto::Entry {
        key: key.to_owned(),
        value,
    };
    proto::Tensor {
        dims: constant.shape.iter().map(|&side| side as i64).collect(),
        data_type: match constant.content {
            Content::Integers(_) => proto::INT64,
            _ => proto::FLOAT,
        },
        name: name.to_owned(),
        raw_data: Vec::new(),
        external_data: external.map_or_else(Vec::new, |place| {
            vec![
                entry("location", place.location.clone()),
                entry("offset", place.offset.to_string()),
                entry("length", bytes(constant).to_string()),
            ]
        }),
        data_location: external.map_or(0, |_| proto::EXTERNAL),
    }
}

/// Bytes of a tensor's message, values included where they are in it.
fn tensor_length(tensor: &proto::Tensor, constant: &Constant) -> u64 {
    let own = tensor.encoded_len() as u64;
    if tensor.data_location == proto::EXTERNAL {
        own
    } else {
        own + field_length(proto::TENSOR_RAW_DATA, bytes(constant))
    }
}

/// Bytes of a field of `length` bytes with its key and length.
fn field_length(field: u32, length: u64) -> u64 {
    (key_len(field) + encoded_len_varint(length)) as u64 + length
}

/// Key and length of a field of `length` bytes.
fn start(field: u32, length: u64) -> Vec<u8> {
    let mut out = Vec::new();
    encode_key(field, WireType::LengthDelimited, &mut out);
    encode_varint(length, &mut out);
    out
}
