//! NIfTI-1 volumes (`.nii`, `.nii.gz`).
//!
//! Values are read in the file's order, scaled by slope and intercept. A label volume is written
//! with the geometry of the volume it was made for, bit for bit.

use std::convert::Infallible;
use std::io::{self, Read, Write};
use std::path::Path;

use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;

use super::element::{Element, label};
use super::nifti_header::{self, DATA_OFFSET, HEADER_BYTES, Header};
use super::source::Source;
use super::write_atomically;
use crate::{Error, LabelVolume, Result, Volume};

pub(super) fn read_volume(source: &Source) -> Result<Volume> {
    let (header, bytes) = read(source)?;
    let Header { element, order, .. } = header;
    let (slope, inter) = header.scaling.unwrap_or((1.0, 0.0));
    let value = |v: f64| Ok::<f32, Infallible>((v * slope + inter) as f32);
    let Ok(values) = element.decode(order, &bytes, value);
    Volume::new(header.geometry, values)
}

pub(super) fn read_label_volume(source: &Source) -> Result<LabelVolume> {
    let (header, bytes) = read(source)?;
    let (slope, inter) = header.scaling.unwrap_or((1.0, 0.0));
    let labels = header
        .element
        .decode(header.order, &bytes, |v| label(v * slope + inter))
        .map_err(|value| source.bad_label(value))?;
    LabelVolume::new(header.geometry, labels)
}

/// The header and the bytes of the values.
fn read(source: &Source) -> Result<(Header, Vec<u8>)> {
    if source.is_gzip() {
        read_from(source, MultiGzDecoder::new(source.bytes()))
    } else {
        read_from(source, source.bytes())
    }
}

fn read_from(source: &Source, mut reader: impl Read) -> Result<(Header, Vec<u8>)> {
    let damaged = |error: io::Error| source.format_error(format!("damaged NIfTI: {error}"));
    let mut start = [0; HEADER_BYTES];
    reader.read_exact(&mut start).map_err(damaged)?;
    let header = nifti_header::parse(source, &start)?;
    let count = header.geometry.len() as u64;
    let size = header.element.size() as u64;
    source.check_bytes(count.checked_mul(size.max(4)))?;
    source.check_bytes(Some(header.offset))?;
    let gap = header.offset - HEADER_BYTES as u64;
    let skipped = io::copy(&mut reader.by_ref().take(gap), &mut io::sink()).map_err(damaged)?;
    let mut bytes = Vec::new();
    // The vector grows with what arrives, not with what the header promises.
    reader
        .by_ref()
        .take(count * size)
        .read_to_end(&mut bytes)
        .map_err(damaged)?;
    let got = bytes.len() as u64;
    if skipped < gap || got < count * size {
        return Err(source.format_error(format!(
            "truncated NIfTI: {:?} voxels need {} bytes, the file has {got}",
            header.geometry.shape(),
            count * size
        )));
    }
    // The checksum of a compressed file follows its last byte.
    io::copy(&mut reader.take(source.limit()), &mut io::sink()).map_err(damaged)?;
    Ok((header, bytes))
}

/// Writes labels as `.nii` or, compressed, `.nii.gz`, with 8 bits if all are below 256, else 16.
/// On the geometry of a volume that was read from NIfTI the affine is the same, bit for bit.
pub fn write_label_nifti(path: &Path, labels: &LabelVolume) -> Result<()> {
    let narrow: Result<Vec<u8>, _> = labels.data().iter().map(|&v| u8::try_from(v)).collect();
    let (element, bytes) = match narrow {
        Ok(bytes) => (Element::U8, bytes),
        Err(_) => (
            Element::U16,
            labels.data().iter().flat_map(|v| v.to_le_bytes()).collect(),
        ),
    };
    let header = nifti_header::encode(labels.geometry(), element)?;
    if is_compressed(path)? {
        write_atomically(path, |writer| {
            let mut encoder = GzEncoder::new(writer, Compression::default());
            write_parts(&mut encoder, &header, &bytes)?;
            encoder.finish().map(drop)
        })
    } else {
        write_atomically(path, |writer| write_parts(writer, &header, &bytes))
    }
}

/// Whether a NIfTI file of this name is compressed.
fn is_compressed(path: &Path) -> Result<bool> {
    let is = |path: &Path, wanted: &str| {
        path.extension()
            .is_some_and(|extension| extension.eq_ignore_ascii_case(wanted))
    };
    if is(path, "gz")
        && path
            .file_stem()
            .is_some_and(|stem| is(Path::new(stem), "nii"))
    {
        return Ok(true);
    }
    if is(path, "nii") {
        return Ok(false);
    }
    let path = path.display();
    Err(Error::Parameter(format!(
        "{path}: a NIfTI file ends in .nii or .nii.gz"
    )))
}

fn write_parts(
    writer: &mut dyn Write,
    header: &[u8; DATA_OFFSET],
    values: &[u8],
) -> io::Result<()> {
    writer.write_all(header)?;
    writer.write_all(values)
}
