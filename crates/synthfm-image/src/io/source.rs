//! A file in memory, its format, and the errors that name it.
//!
//! The size is checked before the file is read. Compressed files stay compressed here. Of a NIfTI file without
//! compression only the start is read: its values go from the file straight to where they belong.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use super::giving_up::Stop;
use super::{ReadOptions, pages};
use crate::{Error, FileFormat, Result};

/// The bytes of one file.
pub(super) struct Source<'a> {
    path: &'a Path,
    limit: u64,
    /// Folder that data files beside this one must lie in, with links resolved.
    data_root: Option<&'a Path>,
    bytes: Vec<u8>,
    rest: Option<Rest>,
    stop: Stop,
}

/// The part of the file after the bytes in memory.
struct Rest {
    file: File,
    bytes: u64,
}

/// Bytes that tell every format, and hold the header of a NIfTI file.
const START_BYTES: u64 = 1024;

/// Memory that small files may take beside the limit on their values.
const SLACK_BYTES: u64 = 64 << 20;

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
const KNOWN_BUT_UNSUPPORTED: [(&[u8], &str); 5] = [
    (b"PK\x05\x06", "an empty ZIP archive"),
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
        check_regular(path)?;
        let mut file = open_file(path).map_err(io)?;
        let metadata = file.metadata().map_err(io)?;
        let declared = metadata.len();
        let mut source = Self {
            path,
            limit,
            data_root: None,
            bytes: Vec::new(),
            rest: None,
            stop: Stop::current(),
        };
        source.check_bytes(Some(declared))?;
        // One byte more than allowed tells a file that grew, or a device without a length.
        let most = limit.saturating_add(1);
        let start = most.min(START_BYTES);
        (&mut file)
            .take(start)
            .read_to_end(&mut source.bytes)
            .map_err(io)?;
        let got = source.bytes.len() as u64;
        if declared > got && source.is_plain_nifti() {
            let bytes = declared - got;
            source.rest = Some(Rest { file, bytes });
            return Ok(source);
        }
        if got == start {
            let mut bytes = pages::try_with_capacity(declared.max(got) as usize).map_err(io)?;
            bytes.extend_from_slice(&source.bytes);
            let mut rest = source.stop.clone().reader(file.take(most - got));
            rest.read_to_end(&mut bytes).map_err(io)?;
            source.bytes = bytes;
        }
        source.check_bytes(Some(source.bytes.len() as u64))?;
        Ok(source)
    }

    /// Demands that data files which this file names lie in `folder`, with links resolved.
    pub(super) const fn with_data_root(mut self, folder: Option<&'a Path>) -> Self {
        self.data_root = folder;
        self
    }

    pub(super) const fn data_root(&self) -> Option<&Path> {
        self.data_root
    }

    fn is_plain_nifti(&self) -> bool {
        let format = self.format();
        !self.is_gzip() && matches!(format, Ok(FileFormat::Nifti1 | FileFormat::Nifti2))
    }

    /// All bytes of a file whose end is not in memory; `None` if [`Self::bytes`] are all.
    pub(super) fn reader(&self) -> Result<Option<Box<dyn Read + Send + '_>>> {
        let Some(Rest { file, bytes }) = &self.rest else {
            return Ok(None);
        };
        let mut file = file;
        file.seek(SeekFrom::Start(self.bytes.len() as u64))
            .map_err(|error| self.io_error(error))?;
        let rest = self.bytes.chain(file.take(*bytes));
        Ok(Some(Box::new(self.stop.clone().reader(rest))))
    }

    /// Bytes of the file.
    pub(super) fn len(&self) -> u64 {
        self.bytes.len() as u64 + self.rest.as_ref().map_or(0, |rest| rest.bytes)
    }

    /// The flag that ends the reading of this file.
    pub(super) const fn stop(&self) -> &Stop {
        &self.stop
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
        if super::meta_image::is_header(bytes) {
            return Ok(FileFormat::MetaImage);
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
            None if self.is_half_of_a_pair() => self.unsupported(
                "a NIfTI or Analyze image in two files (.hdr, .img); store it as .nii",
            ),
            None => self.format_error(format!(
                "none of {READABLE} ({} bytes, beginning with {:02x?})",
                bytes.len(),
                &bytes[..bytes.len().min(8)]
            )),
        })
    }

    /// Whether the name is that of the values of an image whose header is a file of its own.
    fn is_half_of_a_pair(&self) -> bool {
        let ending = self.path.extension().unwrap_or_default();
        ending.eq_ignore_ascii_case("img") || ending.eq_ignore_ascii_case("hdr")
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

    /// Refuses values that, with the bytes of the file that are in memory, take a quarter and 64 MiB more than the limit.
    pub(super) fn check_with_file(&self, values: u64) -> Result<()> {
        let together = values.saturating_add(self.bytes.len() as u64);
        if together <= self.limit.saturating_add(self.limit / 4 + SLACK_BYTES) {
            return Ok(());
        }
        Err(Error::Limit {
            path: self.path.to_owned(),
            bytes: together,
            limit: self.limit,
        })
    }

    pub(super) fn io_error(&self, source: io::Error) -> Error {
        Error::Io {
            path: self.path.to_owned(),
            source,
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

/// Refuses what is neither a file nor a folder: a pipe would wait for a writer, and cannot be read twice.
pub(super) fn check_regular(path: &Path) -> Result<()> {
    const ADVICE: &str = "; write its content to a file and name that";
    let unsupported = |what: &str| Error::Unsupported {
        path: path.to_owned(),
        problem: format!("{what}, which cannot be read twice{ADVICE}"),
    };
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_file() || metadata.is_dir() => Ok(()),
        Ok(_) => Err(unsupported("a pipe or a device")),
        Err(_) if path == Path::new("-") => Err(unsupported("standard input")),
        Err(source) => Err(Error::Io {
            path: path.to_owned(),
            source,
        }),
    }
}

/// Refuses the index of a disc, whose images lie beside it.
pub(super) fn refuse_dicomdir(path: &Path) -> Result<()> {
    /// Media Storage SOP Class of the index (PS3.4, B.5).
    const DIRECTORY_CLASS: &[u8] = b"1.2.840.10008.1.3.10\0";
    let mut start = Vec::new();
    let read = open_file(path).and_then(|file| file.take(START_BYTES).read_to_end(&mut start));
    let is_dicom = read.is_ok() && start.get(128..132) == Some(b"DICM");
    let mut words = start.windows(DIRECTORY_CLASS.len());
    if !is_dicom || words.all(|word| word != DIRECTORY_CLASS) {
        return Ok(());
    }
    Err(Error::Unsupported {
        path: path.to_owned(),
        problem: "a DICOMDIR, the index of a disc; open the folder that it lies in".to_owned(),
    })
}

/// Opens a file to read; one that became a pipe since it was looked at is not waited for.
fn open_file(path: &Path) -> io::Result<File> {
    let mut options = fs::OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, libc::O_NONBLOCK);
    options.open(path)
}

fn reversed(mut bytes: [u8; 4]) -> [u8; 4] {
    bytes.reverse();
    bytes
}
