//! One DICOM file: preamble, file meta information, transfer syntax, and the data set up to the pixels.
//!
//! Only the start of a file is read, as far as the header goes; pixels stay where they are until they are decoded.
//! Files without preamble, as some exports write them, are recognised by their first element.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use flate2::read::DeflateDecoder;

use super::super::element::ByteOrder;
use super::super::pages;
use super::data_set::{DataSet, Encoding, PixelLocation, Problem};
use super::header::FileHeader;
use super::tags;
use crate::{Error, Result};

/// Bytes of a file that are read at first; most headers are shorter.
const FIRST_READ: usize = 48 << 10;

/// Files of a folder have their headers read at the same time, but only one is inflated for that.
static INFLATING: Mutex<()> = Mutex::new(());

/// How the pixels of a file are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Codec {
    /// As they are, in this byte order.
    Native(ByteOrder),
    /// PS3.5, annex G.
    Rle,
    /// JPEG, lossy or lossless (ISO 10918-1).
    Jpeg,
    /// JPEG-LS (ISO 14495-1).
    JpegLs,
    /// JPEG 2000 (ISO 15444-1).
    Jpeg2000,
}

/// A transfer syntax: how the data set and how the pixels are encoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TransferSyntax {
    pub(super) uid: String,
    pub(super) encoding: Encoding,
    pub(super) deflated: bool,
    /// `None` where no decoder exists here.
    pub(super) codec: Option<Codec>,
}

/// The file meta information.
struct Meta {
    syntax: TransferSyntax,
    sop_class: Option<String>,
    sop_instance: Option<String>,
    /// Where the data set begins.
    end: usize,
}

impl TransferSyntax {
    fn of_uid(uid: &str) -> Self {
        let encoding = match uid {
            "1.2.840.10008.1.2" => Encoding::IMPLICIT_LE,
            "1.2.840.10008.1.2.2" => Encoding {
                explicit: true,
                order: ByteOrder::Big,
            },
            _ => Encoding::EXPLICIT_LE,
        };
        let codec = match uid {
            "1.2.840.10008.1.2"
            | "1.2.840.10008.1.2.1"
            | "1.2.840.10008.1.2.1.98"
            | "1.2.840.10008.1.2.1.99" => Some(Codec::Native(ByteOrder::Little)),
            "1.2.840.10008.1.2.2" => Some(Codec::Native(ByteOrder::Big)),
            "1.2.840.10008.1.2.5" => Some(Codec::Rle),
            "1.2.840.10008.1.2.4.50"
            | "1.2.840.10008.1.2.4.51"
            | "1.2.840.10008.1.2.4.57"
            | "1.2.840.10008.1.2.4.70" => Some(Codec::Jpeg),
            "1.2.840.10008.1.2.4.80" | "1.2.840.10008.1.2.4.81" => Some(Codec::JpegLs),
            "1.2.840.10008.1.2.4.90" | "1.2.840.10008.1.2.4.91" => Some(Codec::Jpeg2000),
            _ => None,
        };
        Self {
            uid: uid.to_owned(),
            encoding,
            deflated: uid == "1.2.840.10008.1.2.1.99",
            codec,
        }
    }

    /// The standard's name where it is a usual one, otherwise the UID.
    pub(super) fn name(&self) -> &str {
        match self.uid.as_str() {
            "1.2.840.10008.1.2" => "Implicit VR Little Endian",
            "1.2.840.10008.1.2.1" => "Explicit VR Little Endian",
            "1.2.840.10008.1.2.1.99" => "Deflated Explicit VR Little Endian",
            "1.2.840.10008.1.2.2" => "Explicit VR Big Endian",
            "1.2.840.10008.1.2.5" => "RLE Lossless",
            "1.2.840.10008.1.2.4.50" => "JPEG Baseline",
            "1.2.840.10008.1.2.4.51" => "JPEG Extended",
            "1.2.840.10008.1.2.4.57" | "1.2.840.10008.1.2.4.70" => "JPEG Lossless",
            "1.2.840.10008.1.2.4.80" => "JPEG-LS Lossless",
            "1.2.840.10008.1.2.4.81" => "JPEG-LS Near-lossless",
            "1.2.840.10008.1.2.4.90" => "JPEG 2000 Lossless",
            "1.2.840.10008.1.2.4.91" => "JPEG 2000",
            "1.2.840.10008.1.2.4.201" | "1.2.840.10008.1.2.4.202" | "1.2.840.10008.1.2.4.203" => {
                "High-Throughput JPEG 2000"
            }
            uid => uid,
        }
    }
}

/// A file's data set, as a reader of headers sees it.
pub(super) struct Header<'a> {
    pub(super) path: &'a Path,
    pub(super) syntax: &'a TransferSyntax,
    pub(super) data: DataSet<'a>,
    pub(super) location: Option<PixelLocation>,
    /// Bytes of the file, inflated if it is deflated.
    pub(super) total: usize,
    /// Encoding that the elements have, where it is not that of the transfer syntax.
    pub(super) notes: Vec<String>,
    /// SOP class and instance of the file meta information, which outlives careless anonymisation.
    pub(super) stored_as: [Option<String>; 2],
}

impl Header<'_> {
    pub(super) fn damaged(&self, problem: impl Into<String>) -> Error {
        format_error(self.path, problem)
    }

    pub(super) fn unsupported(&self, problem: impl Into<String>) -> Error {
        Error::Unsupported {
            path: self.path.to_owned(),
            problem: problem.into(),
        }
    }

    /// Turns a problem with the data set into an error of this file.
    pub(super) fn check<T>(&self, result: std::result::Result<T, Problem>) -> Result<T> {
        result.map_err(|problem| self.damaged(problem.text()))
    }
}

pub(super) fn format_error(path: &Path, problem: impl Into<String>) -> Error {
    Error::Format {
        path: path.to_owned(),
        problem: problem.into(),
    }
}

pub(super) fn limit_error(path: &Path, bytes: Option<u64>, limit: u64) -> Error {
    Error::Limit {
        path: path.to_owned(),
        bytes: bytes.unwrap_or(u64::MAX),
        limit,
    }
}

/// Whether bytes begin as a DICOM file does.
pub(in crate::io) fn is_dicom(bytes: &[u8]) -> bool {
    start(bytes).is_some()
}

/// Whether a file begins so; of one that cannot be read its reader tells why.
pub(in crate::io) fn is_dicom_file(path: &Path) -> bool {
    path.is_file() && Prefix::read(path, 256, u64::MAX).is_ok_and(|start| is_dicom(&start.bytes))
}

/// Where the file meta information or, without one, the data set begins.
fn start(bytes: &[u8]) -> Option<usize> {
    if bytes.get(128..132) == Some(b"DICM") {
        return Some(132);
    }
    // Without preamble: group 2, or group 8 with an element that comes first in practice, and a short value.
    let first: &[u8; 8] = bytes.first_chunk()?;
    let [group, 0, element, 0, rest @ ..] = *first else {
        return None;
    };
    let explicit = rest[0].is_ascii_uppercase() && rest[1].is_ascii_uppercase();
    let length = if explicit {
        u32::from(u16::from_le_bytes([rest[2], rest[3]]))
    } else {
        u32::from_le_bytes(rest)
    };
    let known = match group {
        2 => element <= 0x10 && explicit,
        8 => matches!(element, 0 | 1 | 5 | 8 | 0x12 | 0x14 | 0x16 | 0x18),
        _ => false,
    };
    (known && length <= 256).then_some(0)
}

/// The start of a file, or all of it.
struct Prefix {
    bytes: Vec<u8>,
    total: usize,
}

pub(super) fn io_error(path: &Path, source: std::io::Error) -> Error {
    let path = path.to_owned();
    Error::Io { path, source }
}

impl Prefix {
    fn read(path: &Path, length: usize, limit: u64) -> Result<Self> {
        let file = File::open(path).map_err(|e| io_error(path, e))?;
        let declared = file.metadata().map_err(|e| io_error(path, e))?.len();
        if declared > limit {
            return Err(limit_error(path, Some(declared), limit));
        }
        let mut bytes = Vec::new();
        file.take(length as u64)
            .read_to_end(&mut bytes)
            .map_err(|e| io_error(path, e))?;
        // A file that grew or shrank since, or a device without a length.
        let total = if bytes.len() < length {
            bytes.len()
        } else {
            bytes.len().max(declared as usize)
        };
        Ok(Self { bytes, total })
    }
}

/// Calls `read` with the header of a file; `None` if it is no DICOM file. `limit` bounds its size, inflated or not.
pub(super) fn with_header<T>(
    path: &Path,
    limit: u64,
    read: impl Fn(&Header) -> Result<T>,
) -> Result<Option<T>> {
    let mut length = FIRST_READ;
    loop {
        let Prefix { bytes, total } = Prefix::read(path, length, limit)?;
        let Some(start) = start(&bytes) else {
            return Ok(None);
        };
        match parse(path, &bytes, total, start, limit, &read)? {
            Some(result) => return Ok(Some(result)),
            None if bytes.len() < total => length = length.saturating_mul(8),
            None => return Err(format_error(path, Problem::NeedMore.text())),
        }
    }
}

/// Reads the header from the first bytes; `None` if they are too few.
fn parse<T>(
    path: &Path,
    bytes: &[u8],
    total: usize,
    start: usize,
    limit: u64,
    read: &impl Fn(&Header) -> Result<T>,
) -> Result<Option<T>> {
    let Meta {
        syntax,
        sop_class,
        sop_instance,
        end: start,
    } = match meta(bytes, start, total) {
        Ok(meta) => meta,
        Err(Problem::NeedMore) => return Ok(None),
        Err(problem) => return Err(format_error(path, problem.text())),
    };
    let inflated;
    let _one;
    let (bytes, total, start) = if syntax.deflated {
        if bytes.len() < total {
            return Ok(None);
        }
        _one = INFLATING.lock().unwrap_or_else(PoisonError::into_inner);
        inflated = inflate(path, &bytes[start..], limit)?;
        (&inflated[..], inflated.len(), 0)
    } else {
        (bytes, total, start)
    };
    let (encoding, notes) = encoding_of(&bytes[start.min(bytes.len())..], &syntax);
    match DataSet::parse_file(bytes, start, total, encoding) {
        Ok((data, location)) => {
            let header = Header {
                path,
                syntax: &syntax,
                data,
                location,
                total,
                notes,
                stored_as: [sop_class, sop_instance],
            };
            read(&header).map(Some)
        }
        Err(Problem::NeedMore) => Ok(None),
        Err(problem) => Err(format_error(path, problem.text())),
    }
}

/// The file meta information; without one the encoding is told by the first element.
fn meta(bytes: &[u8], start: usize, total: usize) -> Result<Meta, Problem> {
    let (meta, end) = DataSet::parse_meta(bytes, start, total)?;
    let uid = meta.uid(tags::TRANSFER_SYNTAX_UID).unwrap_or_else(|| {
        let vr = bytes.get(end + 4..end + 6);
        let explicit = vr.is_some_and(|vr| vr.iter().all(u8::is_ascii_uppercase));
        let uid = if explicit {
            "1.2.840.10008.1.2.1"
        } else {
            "1.2.840.10008.1.2"
        };
        uid.to_owned()
    });
    Ok(Meta {
        syntax: TransferSyntax::of_uid(&uid),
        sop_class: meta.uid(tags::MEDIA_STORAGE_SOP_CLASS_UID),
        sop_instance: meta.uid(tags::MEDIA_STORAGE_SOP_INSTANCE_UID),
        end,
    })
}

/// How the elements of a data set are encoded: some writers state one encoding and use another.
fn encoding_of(data: &[u8], syntax: &TransferSyntax) -> (Encoding, Vec<String>) {
    let stated = syntax.encoding;
    let Some(&[group, 0, _, _, a, b, ..]) = data.first_chunk::<8>() else {
        return (stated, Vec::new());
    };
    let is_explicit = a.is_ascii_uppercase() && b.is_ascii_uppercase();
    // A first element is short: its length does not look like letters.
    if stated.order == ByteOrder::Big || group == 0 || is_explicit == stated.explicit {
        return (stated, Vec::new());
    }
    let (encoding, found) = if is_explicit {
        (Encoding::EXPLICIT_LE, "explicit")
    } else {
        (Encoding::IMPLICIT_LE, "implicit")
    };
    let note = format!(
        "the value representations are {found}, which {} does not allow: read as they are",
        syntax.name()
    );
    (encoding, vec![note])
}

/// Inflates a data set, after its length was counted: memory is taken for what is there, and only within the limit.
fn inflate(path: &Path, bytes: &[u8], limit: u64) -> Result<Vec<u8>> {
    let damaged = |e: std::io::Error| format_error(path, format!("damaged DICOM: {e}"));
    let most = limit.saturating_add(1);
    let mut counted = DeflateDecoder::new(bytes).take(most);
    let length = std::io::copy(&mut counted, &mut std::io::sink()).map_err(damaged)?;
    if length > limit {
        return Err(limit_error(path, Some(length), limit));
    }
    let reserved = pages::reserved(length as usize);
    let mut inflated = reserved.map_err(|e| io_error(path, e))?;
    let mut decoder = DeflateDecoder::new(bytes).take(length);
    decoder.read_to_end(&mut inflated).map_err(damaged)?;
    Ok(inflated)
}

/// The bytes of a deflated file from its pixels on.
pub(super) fn inflated_pixels(file: &FileHeader, limit: u64) -> Result<Vec<u8>> {
    let FileHeader { path, location, .. } = file;
    let whole = Prefix::read(path, usize::MAX, limit)?;
    let start = start(&whole.bytes).unwrap_or(0);
    let meta = meta(&whole.bytes, start, whole.total)
        .map_err(|problem| format_error(path, problem.text()))?;
    let mut bytes = inflate(path, &whole.bytes[meta.end..], limit)?;
    drop(whole);
    let end = location
        .length
        .map_or(bytes.len(), |length| location.offset + length);
    bytes.truncate(end);
    bytes.drain(..location.offset.min(bytes.len()));
    Ok(bytes)
}
