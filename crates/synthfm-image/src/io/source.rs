//! A file in memory, its format, and the errors that name it.
//!
//! The size is checked before the file is read. Compressed files stay compressed here.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::ReadOptions;
use crate::{Error, Result};

/// Formats that can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Png,
    Npy,
    Nifti,
    Dicom,
}

/// The bytes of one file.
pub(super) struct Source<'a> {
    path: &'a Path,
    limit: u64,
    bytes: Vec<u8>,
}

const PNG_SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";
const GZIP_SIGNATURE: &[u8] = b"\x1f\x8b";
const NPY_SIGNATURE: &[u8] = b"\x93NUMPY";

/// Signatures of formats that people try, with where they lie.
const KNOWN_BUT_UNSUPPORTED: [(usize, &[u8], &str); 7] = [
    (0, b"\xff\xd8\xff", "a JPEG file"),
    (0, b"II*\0", "a TIFF file"),
    (0, b"MM\0*", "a TIFF file"),
    (0, b"BM", "a BMP file"),
    (0, b"GIF8", "a GIF file"),
    (0, b"NRRD", "an NRRD file"),
    (0, b"PK\x03\x04", "a ZIP or NPZ archive"),
];

impl<'a> Source<'a> {
    pub(super) fn open(path: &'a Path, options: ReadOptions) -> Result<Self> {
        let io = |source| Error::Io {
            path: path.to_owned(),
            source,
        };
        let limit = options.max_bytes;
        let file = File::open(path).map_err(io)?;
        let declared = file.metadata().map_err(io)?.len();
        let mut bytes = Vec::new();
        if declared <= limit {
            // One byte more than allowed tells a file that grew, or a device without a length.
            file.take(limit.saturating_add(1))
                .read_to_end(&mut bytes)
                .map_err(io)?;
        }
        let size = declared.max(bytes.len() as u64);
        let source = Self { path, limit, bytes };
        source.check_bytes(Some(size))?;
        Ok(source)
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) const fn limit(&self) -> u64 {
        self.limit
    }

    pub(super) fn is_gzip(&self) -> bool {
        self.bytes.starts_with(GZIP_SIGNATURE)
    }

    pub(super) fn format(&self) -> Result<Format> {
        let bytes = &self.bytes;
        if bytes.starts_with(PNG_SIGNATURE) {
            return Ok(Format::Png);
        }
        if bytes.starts_with(NPY_SIGNATURE) {
            return Ok(Format::Npy);
        }
        if super::dicom::is_dicom(bytes) {
            return Ok(Format::Dicom);
        }
        let header_size = bytes.first_chunk::<4>().copied().unwrap_or_default();
        if self.is_gzip() || [header_size, reversed(header_size)].contains(&348i32.to_le_bytes()) {
            return Ok(Format::Nifti);
        }
        if [header_size, reversed(header_size)].contains(&540i32.to_le_bytes()) {
            return Err(self.unsupported("NIfTI-2; convert it to NIfTI-1"));
        }
        let is = |&&(at, signature, _): &&(usize, &[u8], &str)| {
            bytes
                .get(at..)
                .is_some_and(|rest| rest.starts_with(signature))
        };
        match KNOWN_BUT_UNSUPPORTED.iter().find(is) {
            Some((_, _, name)) => Err(self.unsupported(format!(
                "{name}; PNG, NPY and NIfTI (.nii, .nii.gz) can be read"
            ))),
            None => Err(self.format_error(format!(
                "neither PNG nor NPY nor NIfTI ({} bytes, beginning with {:02x?})",
                bytes.len(),
                &bytes[..bytes.len().min(8)]
            ))),
        }
    }

    /// Refuses sizes over the limit; `None` is a size that overflowed.
    pub(super) fn check_bytes(&self, bytes: Option<u64>) -> Result<usize> {
        let asked = bytes.unwrap_or(u64::MAX);
        match usize::try_from(asked) {
            Ok(size) if asked <= self.limit => Ok(size),
            _ => Err(Error::Limit {
                path: self.path.to_owned(),
                bytes: asked,
                limit: self.limit,
            }),
        }
    }

    pub(super) fn format_error(&self, problem: impl Into<String>) -> Error {
        Error::Format {
            path: self.path.to_owned(),
            problem: problem.into(),
        }
    }

    pub(super) fn unsupported(&self, problem: impl Into<String>) -> Error {
        Error::Unsupported {
            path: self.path.to_owned(),
            problem: problem.into(),
        }
    }

    pub(super) fn bad_label(&self, value: f64) -> Error {
        self.format_error(format!(
            "label {value} is not an integer from 0 to 65535; is this a label file?"
        ))
    }
}

fn reversed(mut bytes: [u8; 4]) -> [u8; 4] {
    bytes.reverse();
    bytes
}
