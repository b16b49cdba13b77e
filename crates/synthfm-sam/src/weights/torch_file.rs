//! Writing a state dict as `torch.save` does: a zip with a pickle of the tensors' shapes and one entry of
//! values per tensor.
//!
//! The pickle (protocol 2) holds an `OrderedDict` of `torch._utils._rebuild_tensor_v2` calls and nothing
//! else, so that `torch.load(weights_only=True)` takes it. Only the configuration of the model that wrote
//! the file is lost; it shows in keys and shapes. Time stamps are fixed: the same weights give the same
//! bytes.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::Tensor;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipWriter};

use super::names::{KeyPath, parameter_keys};
use super::published_names::in_file;
use super::save::state_tensor;
use super::unused::{Required, ensure_published, required};
use crate::config::SamConfig;
use crate::error::Result;
use crate::sam::Sam;

/// Key of the state dict in SAM 2's files.
pub(super) const MODEL: &str = "model";
/// Folder of every entry; `torch.save` names it after the file.
const ROOT: &str = "archive";

/// One tensor of the file.
struct Entry {
    storage: &'static str,
    shape: Vec<usize>,
    /// Values that are not the model's: zeros in this many bytes.
    zeros: Option<usize>,
}

/// Writes a model for the Python code of SAM, SAM 2 or MobileSAM, whose strict `load_state_dict` accepts it.
///
/// What MobileSAM's code asks for and does not use (its classifier, counters) is written as zeros. Fails
/// for our own encoder, which that code does not have.
pub fn save_pth(sam: &Sam, path: &Path) -> Result<()> {
    let entries = entries(sam)?;
    let pickle = pickle(&entries, sam.config().is_sam2());
    let mut failure = None;
    let written = synthfm_image::write_atomically(path, |file| {
        let mut zip = ZipWriter::new_stream(file);
        start(&mut zip, "data.pkl", pickle.len())?;
        zip.write_all(&pickle)?;
        start(&mut zip, "byteorder", 6)?;
        zip.write_all(b"little")?;
        let order: BTreeMap<&str, usize> = entries.keys().map(String::as_str).zip(0..).collect();
        let mut values = ValueWriter {
            zip: &mut zip,
            config: sam.config(),
            order: &order,
            path: KeyPath::default(),
            failure: None,
        };
        sam.visit(&mut values);
        failure = values.failure.take();
        for (entry, key) in entries.values().zip(0..) {
            if let Some(bytes) = entry.zeros {
                start(&mut zip, &format!("data/{key}"), bytes)?;
                zip.write_all(&vec![0; bytes])?;
            }
        }
        start(&mut zip, "version", 2)?;
        zip.write_all(b"3\n")?;
        zip.finish()?;
        failure.take().map_or(Ok(()), Err)
    });
    Ok(written?)
}

/// Every tensor by its key, in the order of the file.
fn entries(sam: &Sam) -> Result<BTreeMap<String, Entry>> {
    ensure_published(sam.config())?;
    let keys = parameter_keys(sam);
    let made_up = required(sam.config(), keys.iter().map(|p| p.key.as_str()));
    let own = keys.iter().map(|p| {
        let entry = Entry {
            storage: "FloatStorage",
            shape: p.shape.clone(),
            zeros: None,
        };
        (in_file(sam.config(), &p.key).into_owned(), entry)
    });
    let made_up = made_up.into_iter().map(|(key, what)| {
        let (storage, shape, size) = match what {
            Required::Zeros(shape) => ("FloatStorage", shape, 4),
            Required::Counter => ("LongStorage", vec![], 8),
        };
        let zeros = Some(size * shape.iter().product::<usize>());
        let entry = Entry {
            storage,
            shape,
            zeros,
        };
        (key, entry)
    });
    Ok(own.chain(made_up).collect())
}

fn start(zip: &mut ZipWriter<impl Write + io::Seek>, name: &str, bytes: usize) -> io::Result<()> {
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Stored)
        .large_file(u32::try_from(bytes).is_err())
        .last_modified_time(DateTime::default());
    Ok(zip.start_file(format!("{ROOT}/{name}"), options)?)
}

/// Writes the model's own values one tensor at a time; keeps the first failure.
struct ValueWriter<'a, W: Write + io::Seek> {
    zip: &'a mut ZipWriter<W>,
    config: &'a SamConfig,
    order: &'a BTreeMap<&'a str, usize>,
    path: KeyPath,
    failure: Option<io::Error>,
}

impl<W: Write + io::Seek> ModuleVisitor for ValueWriter<'_, W> {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.path.enter(name, container_type);
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if self.failure.is_some() {
            return;
        }
        let data = state_tensor(param.val(), self.path.transposed(D));
        let key = self.path.key();
        let place = self.order[in_file(self.config, &key).as_ref()];
        let name = format!("data/{place}");
        let bytes = data.as_bytes();
        let written = start(self.zip, &name, bytes.len()).and_then(|()| self.zip.write_all(bytes));
        self.failure = written.err();
    }
}

/// The pickle of the state dict; storages are named by their place in `entries`. SAM 2's code expects it under the key
/// `model`.
fn pickle(entries: &BTreeMap<String, Entry>, under_model: bool) -> Vec<u8> {
    let mut out = Pickle(b"\x80\x02".to_vec());
    if under_model {
        // EMPTY_DICT
        out.op(b'}').text(MODEL);
    }
    out.global("collections", "OrderedDict");
    out.op(b')').op(b'R').op(b'(');
    for ((key, entry), place) in entries.iter().zip(0..) {
        let elements: usize = entry.shape.iter().product();
        let mut stride = vec![1; entry.shape.len()];
        for i in (1..stride.len()).rev() {
            stride[i - 1] = stride[i] * entry.shape[i];
        }
        out.text(key);
        out.global("torch._utils", "_rebuild_tensor_v2");
        // (storage, offset, shape, stride, requires_grad, hooks)
        out.op(b'(').op(b'(').text("storage");
        out.global("torch", entry.storage);
        out.text(&format!("{place}")).text("cpu").int(elements);
        out.op(b't').op(b'Q').int(0);
        out.tuple(&entry.shape).tuple(&stride).op(0x89);
        out.global("collections", "OrderedDict");
        out.op(b')').op(b'R').op(b't').op(b'R');
    }
    out.op(b'u');
    if under_model {
        // SETITEM
        out.op(b's');
    }
    out.op(b'.');
    out.0
}

/// A pickle under construction.
struct Pickle(Vec<u8>);

impl Pickle {
    fn op(&mut self, code: u8) -> &mut Self {
        self.0.push(code);
        self
    }

    fn global(&mut self, module: &str, name: &str) {
        self.0.extend(format!("c{module}\n{name}\n").bytes());
    }

    fn text(&mut self, text: &str) -> &mut Self {
        self.op(b'X').0.extend((text.len() as u32).to_le_bytes());
        self.0.extend(text.bytes());
        self
    }

    /// BININT, or LONG1 beyond its range.
    fn int(&mut self, value: usize) -> &mut Self {
        if let Ok(value) = i32::try_from(value) {
            self.op(b'J').0.extend(value.to_le_bytes());
        } else {
            // Nine bytes keep the sign bit clear.
            self.op(0x8a).op(9).0.extend((value as u64).to_le_bytes());
            self.op(0);
        }
        self
    }

    fn tuple(&mut self, values: &[usize]) -> &mut Self {
        self.op(b'(');
        for &value in values {
            self.int(value);
        }
        self.op(b't')
    }
}
