//! A weights file, opened: names, shapes and types at once, values on demand.
//!
//! Safetensors are read by their own header (the format's specification: 8 bytes of length, JSON, then
//! the tensors without gaps); `.pth` files through burn's reader, which interprets the pickle without
//! running it. No length from a file is trusted beyond what the file itself holds.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use burn::store::pytorch_reader::{self, PytorchReader};
use burn::tensor::{DType, TensorData};
use safetensors::tensor::Metadata;

use super::pickle_scan::refuse_foreign;
use crate::error::{Error, Result};

/// SAM 2's files hold `{"model": state dict}`, whose tensors the reader names by their path.
const UNDER_MODEL: &str = "model.";
/// Largest safetensors header accepted; SAM's has 60 kB.
const MAX_HEADER: u64 = 16 << 20;

/// What is known of a stored tensor before its values are read.
#[derive(Debug, Clone)]
pub(crate) struct TensorInfo {
    pub(crate) shape: Vec<usize>,
    dtype: DType,
    /// Bytes from the start of the data section (safetensors only).
    offset: u64,
    bytes: usize,
}

impl TensorInfo {
    pub(super) fn elements(&self) -> usize {
        self.bytes / self.dtype.size()
    }
}

/// Where the values lie.
enum Source {
    SafetensorsFile {
        path: PathBuf,
        data_start: u64,
    },
    SafetensorsBytes {
        bytes: Cow<'static, [u8]>,
        data_start: usize,
    },
    Pytorch {
        path: PathBuf,
        reader: PytorchReader,
        /// Before the names of all tensors in the file: its state dict lies under a key.
        prefix: &'static str,
    },
}

/// An opened weights file.
pub(crate) struct TensorStore {
    source: Source,
    tensors: BTreeMap<String, TensorInfo>,
    /// Free text of the header (safetensors only).
    metadata: BTreeMap<String, String>,
}

impl TensorStore {
    /// Opens a file; its first bytes tell the format.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let io = |e| Error::io(path, e);
        let mut file = File::open(path).map_err(io)?;
        let length = file.metadata().map_err(io)?.len();
        let mut start = [0u8; 8];
        let read = file.read(&mut start).map_err(io)?;
        // A safetensors header's length may begin with the marks of a zip or a pickle, but neither of
        // those is a plausible length.
        let header_fits = header_fits(u64::from_le_bytes(start), length);
        if !header_fits && (start[..read].starts_with(b"PK") || start[..read].starts_with(&[0x80]))
        {
            return Self::open_pytorch(path, length);
        }
        file.seek(SeekFrom::Start(0)).map_err(io)?;
        let header = read_header(&mut file, length).map_err(|r| Error::weights(path, r))?;
        Ok(Self {
            source: Source::SafetensorsFile {
                path: path.to_owned(),
                data_start: header.data_start,
            },
            tensors: header.tensors,
            metadata: header.metadata,
        })
    }

    /// Safetensors held in memory.
    pub(crate) fn from_bytes(bytes: Cow<'static, [u8]>) -> Result<Self> {
        let name = Path::new("(embedded weights)");
        let header = read_header(&mut &*bytes, bytes.len() as u64)
            .map_err(|reason| Error::weights(name, reason))?;
        Ok(Self {
            source: Source::SafetensorsBytes {
                bytes,
                data_start: header.data_start as usize,
            },
            tensors: header.tensors,
            metadata: header.metadata,
        })
    }

    fn open_pytorch(path: &Path, length: u64) -> Result<Self> {
        refuse_foreign(path).map_err(|reason| Error::weights(path, reason))?;
        let reader = PytorchReader::new(path)
            .map_err(|e| Error::weights(path, format!("not a readable PyTorch file: {e}")))?;
        let mut tensors = BTreeMap::new();
        let mut total = 0u64;
        let keys = reader.keys();
        let nested = !keys.is_empty() && keys.iter().all(|key| key.starts_with(UNDER_MODEL));
        let prefix = if nested { UNDER_MODEL } else { "" };
        for key in keys {
            let Some(tensor) = reader.get(&key) else {
                continue;
            };
            let key = key[prefix.len()..].to_owned();
            total = total.saturating_add(tensor.byte_len() as u64);
            let info = TensorInfo {
                shape: tensor.shape().to_vec(),
                dtype: torch_dtype(tensor.dtype()),
                offset: 0,
                bytes: tensor.byte_len(),
            };
            tensors.insert(key, info);
        }
        // Views that repeat their storage could otherwise grow without bound.
        if total > length {
            let reason = format!("its tensors claim {total} bytes, the file has {length}");
            return Err(Error::weights(path, reason));
        }
        Ok(Self {
            source: Source::Pytorch {
                path: path.to_owned(),
                reader,
                prefix,
            },
            tensors,
            metadata: BTreeMap::new(),
        })
    }

    /// Every tensor's name and shape.
    pub(crate) fn tensors(&self) -> &BTreeMap<String, TensorInfo> {
        &self.tensors
    }

    /// A text stored with the tensors.
    pub(crate) fn metadata(&self, key: &str) -> Option<&str> {
        self.metadata.get(key).map(String::as_str)
    }

    pub(super) fn is_pytorch(&self) -> bool {
        matches!(self.source, Source::Pytorch { .. })
    }

    /// The file's path, or what stands for it.
    pub(super) fn path(&self) -> &Path {
        match &self.source {
            Source::SafetensorsFile { path, .. } | Source::Pytorch { path, .. } => path,
            Source::SafetensorsBytes { .. } => Path::new("(embedded weights)"),
        }
    }

    /// Everything the source holds, fed to `consume` piece by piece.
    pub(super) fn for_each_chunk(&self, mut consume: impl FnMut(&[u8])) -> Result<()> {
        let path = match &self.source {
            Source::SafetensorsBytes { bytes, .. } => {
                consume(bytes);
                return Ok(());
            }
            Source::SafetensorsFile { path, .. } | Source::Pytorch { path, .. } => path,
        };
        let io = |e| Error::io(path, e);
        let mut file = File::open(path).map_err(io)?;
        let mut buffer = vec![0u8; 1 << 20];
        loop {
            match file.read(&mut buffer).map_err(io)? {
                0 => return Ok(()),
                n => consume(&buffer[..n]),
            }
        }
    }

    /// The values of a listed tensor as `f32`, in its stored order.
    pub(crate) fn read(&self, key: &str) -> Result<Vec<f32>> {
        let fail = |reason: String| Error::weights(self.path(), format!("{key}: {reason}"));
        let info = self
            .tensors
            .get(key)
            .ok_or_else(|| fail("is not in the file".to_owned()))?;
        let bytes = self
            .read_bytes(key, info)
            .map_err(|e| fail(e.to_string()))?;
        let values = TensorData::try_from_bytes_vec(bytes, info.shape.clone(), info.dtype)
            .and_then(|data| data.try_cast(DType::F32))
            .and_then(TensorData::try_into_vec::<f32>)
            .map_err(|e| fail(e.to_string()))?;
        if values.iter().all(|v| v.is_finite()) {
            Ok(values)
        } else {
            Err(fail("holds values that are not finite".to_owned()))
        }
    }

    fn read_bytes(&self, key: &str, info: &TensorInfo) -> std::io::Result<Vec<u8>> {
        match &self.source {
            Source::SafetensorsFile { path, data_start } => {
                let mut file = File::open(path)?;
                file.seek(SeekFrom::Start(data_start + info.offset))?;
                let mut bytes = vec![0u8; info.bytes];
                file.read_exact(&mut bytes)?;
                Ok(bytes)
            }
            Source::SafetensorsBytes { bytes, data_start } => {
                let start = data_start + info.offset as usize;
                bytes
                    .get(start..start + info.bytes)
                    .map(<[u8]>::to_vec)
                    .ok_or_else(|| std::io::ErrorKind::UnexpectedEof.into())
            }
            Source::Pytorch { reader, prefix, .. } => {
                let tensor = reader.get(&format!("{prefix}{key}"));
                tensor.ok_or(std::io::ErrorKind::NotFound)?.read()
            }
        }
    }
}

struct Header {
    tensors: BTreeMap<String, TensorInfo>,
    metadata: BTreeMap<String, String>,
    data_start: u64,
}

/// Whether a file of `length` bytes can hold a safetensors header of `size` bytes.
fn header_fits(size: u64, length: u64) -> bool {
    size <= MAX_HEADER && size + 8 <= length
}

/// Reads and checks a safetensors header; the tensors must fill the rest of `length` exactly.
fn read_header(file: &mut impl Read, length: u64) -> std::result::Result<Header, String> {
    let mut size = [0u8; 8];
    file.read_exact(&mut size)
        .map_err(|_| "too short for a weights file".to_owned())?;
    let size = u64::from_le_bytes(size);
    if !header_fits(size, length) {
        return Err(format!(
            "neither safetensors nor PyTorch: a safetensors header of {size} bytes does not fit a \
             file of {length}"
        ));
    }
    let mut header = vec![0u8; size as usize];
    file.read_exact(&mut header).map_err(|e| e.to_string())?;
    let metadata: Metadata =
        serde_json::from_slice(&header).map_err(|e| format!("safetensors header: {e}"))?;
    let data = length - 8 - size;
    if metadata.data_len() as u64 != data {
        return Err(format!(
            "truncated or padded: the header describes {} bytes of tensors, the file has {data}",
            metadata.data_len()
        ));
    }
    let mut tensors = BTreeMap::new();
    for key in metadata.offset_keys() {
        let Some(info) = metadata.info(&key) else {
            continue;
        };
        let dtype = safetensors_dtype(info.dtype)
            .ok_or_else(|| format!("{key}: values of type {:?} are not supported", info.dtype))?;
        let (start, end) = info.data_offsets;
        let info = TensorInfo {
            shape: info.shape.clone(),
            dtype,
            offset: start as u64,
            bytes: end - start,
        };
        tensors.insert(key, info);
    }
    Ok(Header {
        tensors,
        metadata: metadata.metadata().clone().into_iter().flatten().collect(),
        data_start: 8 + size,
    })
}

fn safetensors_dtype(dtype: safetensors::Dtype) -> Option<DType> {
    use safetensors::Dtype;
    Some(match dtype {
        Dtype::F64 => DType::F64,
        Dtype::F32 => DType::F32,
        Dtype::F16 => DType::F16,
        Dtype::BF16 => DType::BF16,
        Dtype::I64 => DType::I64,
        Dtype::I32 => DType::I32,
        Dtype::I16 => DType::I16,
        Dtype::I8 => DType::I8,
        Dtype::U64 => DType::U64,
        Dtype::U32 => DType::U32,
        Dtype::U16 => DType::U16,
        Dtype::U8 => DType::U8,
        _ => return None,
    })
}

fn torch_dtype(dtype: pytorch_reader::DType) -> DType {
    use pytorch_reader::DType as Torch;
    match dtype {
        Torch::F64 => DType::F64,
        Torch::F32 => DType::F32,
        Torch::F16 => DType::F16,
        Torch::BF16 => DType::BF16,
        Torch::I64 => DType::I64,
        Torch::I32 => DType::I32,
        Torch::I16 => DType::I16,
        Torch::I8 => DType::I8,
        Torch::U64 => DType::U64,
        Torch::U32 => DType::U32,
        Torch::U16 => DType::U16,
        Torch::U8 | Torch::Bool => DType::U8,
    }
}
