//! A file in memory, its format, and the errors that name it.
//!
//! The size is checked before the file is read. Compressed files stay compressed here.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::ReadOptions;
use crate::{Error, FileFormat, Result};

/// The bytes of one file.
pub(super) struct Source<'a> {
    path: &'a Path,
    limit: u64,
    bytes: Vec<u8>,
}

const PNG_SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";
const GZIP_SIGNATURE: &[u8] = b"\x1f\x8b";
const NPY_SIGNATURE: &[u8] = b"\x93NUMPY";

/// Formats that can be read, for messages.
const READABLE: &str = "PNG, JPEG, BMP, TIFF, NPY, NPZ, NIfTI, NRRD, MetaImage and DICOM";

/// Signatures of formats at the start of a file.
const SIGNATURES: [(&[u8], FileFormat); 12] = [
    (PNG_SIGNATURE, FileFormat::Png),
    (NPY_SIGNATURE, FileFormat::Npy),
    (b"\xff\xd8\xff", FileFormat::Jpeg),
    (b"II*\0", FileFormat::Tiff),
    (b"MM\0*", FileFormat::Tiff),
    (b"II+\0", FileFormat::Tiff),
    (b"MM\0+", FileFormat::Tiff),
    (b"BM", FileFormat::Bmp),
    (b"NRRD000", FileFormat::Nrrd),
    (b"PK\x03\x04", FileFormat::Npz),
    (b"ObjectType", FileFormat::MetaImage),
    (b"NDims", FileFormat::MetaImage),
];

/// Signatures of formats that people try.
const KNOWN_BUT_UNSUPPORTED: [(&[u8], &str); 4] = [
    (b"GIF8", "a GIF file"),
    (b"RIFF", "a WebP or AVI file"),
    (b"\x89HDF", "an HDF5 or MINC file"),
    (b"%PDF", "a PDF file"),
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

    /// Other bytes, from within the same file.
    pub(super) const fn with_bytes(&self, bytes: Vec<u8>) -> Self {
        Self {
            path: self.path,
            limit: self.limit,
            bytes,
        }
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    pub(super) const fn path(&self) -> &Path {
        self.path
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

    /// The format; of a compressed file always `Nifti1`, which its reader tells from version 2.
    pub(super) fn format(&self) -> Result<FileFormat> {
        let bytes = &self.bytes;
        let known = SIGNATURES
            .iter()
            .find(|(start, _)| bytes.starts_with(start));
        if let Some(&(_, format)) = known {
            return Ok(format);
        }
        if super::dicom::is_dicom(bytes) {
            return Ok(FileFormat::Dicom);
        }
        if self.is_gzip() {
            return Ok(FileFormat::Nifti1);
        }
        let header_size = bytes.first_chunk::<4>().copied().unwrap_or_default();
        for (size, format) in [(348i32, FileFormat::Nifti1), (540, FileFormat::Nifti2)] {
            if [header_size, reversed(header_size)].contains(&size.to_le_bytes()) {
                return Ok(format);
            }
        }
        let tried = KNOWN_BUT_UNSUPPORTED
            .iter()
            .find(|(start, _)| bytes.starts_with(start));
        Err(match tried {
            Some((_, name)) => self.unsupported(format!("{name}; {READABLE} can be read")),
            None => self.format_error(format!(
                "none of {READABLE} ({} bytes, beginning with {:02x?})",
                bytes.len(),
                &bytes[..bytes.len().min(8)]
            )),
        })
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
