//! NIfTI volumes (`.nii`, `.nii.gz`), versions 1 and 2 in, version 1 out.
//!
//! Values are read in the file's order, scaled by slope and intercept. A label volume is written
//! with the geometry of the volume it was made for; of NIfTI-1 bit for bit.

use std::io::{self, Read, Write};
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::element::Element;
use super::gzip::Trailing;
use super::nifti_header::{self, DATA_OFFSET, HEADER_2_BYTES, HEADER_BYTES, Header};
use super::payload::{self, Packing, Stream, Wanted};
use super::source::Source;
use super::write_atomically;
use crate::scan::{Scan, ScanInfo};
use crate::{Error, ImageFile, LabelVolume, Result, Volume};

/// Reads a volume; of a series of volumes the `chosen` one, counted from 1. Colours become their brightness.
pub(super) fn read_scan(source: &Source, chosen: Option<&str>) -> Result<Scan> {
    let trailing = Trailing::default();
    let mut stream = stream(source, &trailing)?;
    let header = start(source, &mut stream, Wanted::Volume(chosen))?;
    let mut values = payload::read_values(source, stream, &header.layout)?;
    let mut info = ScanInfo::of_format(header.format);
    info.warnings = header.warnings;
    if header.samples > 1 {
        values = values
            .chunks_exact(header.samples)
            .map(brightness)
            .collect();
        info.warnings
            .push("the volume is in colour (RGB): its brightness was taken".to_owned());
    }
    info.warnings.extend(trailing.note());
    Ok(Scan {
        content: ImageFile::Volume(Volume::new(header.geometry, values)?),
        info,
    })
}

/// Brightness of red, green and blue, with the weights of ITU-R BT.601.
fn brightness(colour: &[f32]) -> f32 {
    (0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]).round()
}

/// Reads labels, with what a reader should know about the file.
pub(super) fn read_label_volume(source: &Source) -> Result<(LabelVolume, Vec<String>)> {
    let trailing = Trailing::default();
    let mut stream = stream(source, &trailing)?;
    let header = start(source, &mut stream, Wanted::Labels)?;
    if header.samples > 1 {
        return Err(source.unsupported("labels in colours (RGB); store them as numbers"));
    }
    let labels = payload::read_labels(source, stream, &header.layout)?;
    let mut warnings = header.warnings;
    warnings.extend(trailing.note());
    Ok((LabelVolume::new(header.geometry, labels)?, warnings))
}

/// Number of volumes in the file.
pub(super) fn volume_count(source: &Source) -> Result<u64> {
    let mut stream = stream(source, &Trailing::default())?;
    nifti_header::volume_count(source, &header_bytes(source, &mut stream)?)
}

fn packing(source: &Source) -> Packing {
    if source.is_gzip() {
        Packing::Gzip
    } else {
        Packing::Raw
    }
}

fn stream<'a>(source: &'a Source, trailing: &Trailing) -> Result<Stream<'a>> {
    Ok(match source.reader()? {
        Some(reader) => Stream::Plain(reader),
        None => packing(source).stream(source.bytes(), trailing),
    })
}

/// The bytes of the header, of either version.
fn header_bytes(source: &Source, reader: &mut dyn Read) -> Result<Vec<u8>> {
    let damaged = |error: io::Error| source.format_error(format!("damaged NIfTI: {error}"));
    let mut bytes = vec![0; HEADER_BYTES];
    reader.read_exact(&mut bytes).map_err(damaged)?;
    if nifti_header::is_version_2(&bytes) {
        bytes.resize(HEADER_2_BYTES, 0);
        reader
            .read_exact(&mut bytes[HEADER_BYTES..])
            .map_err(damaged)?;
    }
    Ok(bytes)
}

/// The header; the reader then stands at the first value.
fn start(source: &Source, reader: &mut dyn Read, wanted: Wanted) -> Result<Header> {
    let bytes = header_bytes(source, reader)?;
    let header = nifti_header::parse(source, &bytes, wanted)?;
    let packing = packing(source);
    let before = bytes.len() as u64 + header.gap + header.before;
    let stored = match packing {
        Packing::Raw => source.len().saturating_sub(before),
        _ => source.len(),
    };
    header.layout.check(source, stored, packing)?;
    // An uncompressed file bounds what can be passed over.
    let (gap, before) = match packing {
        Packing::Raw => (0, header.gap + header.before),
        _ => (header.gap, header.before),
    };
    payload::skip(source, reader, gap, before, &header.layout)?;
    Ok(header)
}

/// Writes labels as `.nii` or, compressed, `.nii.gz`, with 8 bits if all are below 256, else 16.
/// On the geometry of a volume that was read from NIfTI the affine is the same, bit for bit.
pub fn write_label_nifti(path: &Path, labels: &LabelVolume) -> Result<()> {
    let (header, bytes) = parts(labels)?;
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

/// Bytes of a `.nii.gz` of labels, or of grey values from 0 to 255: as [`write_label_nifti`] writes them, the same for
/// the same labels.
pub fn encode_label_nifti_gz(labels: &LabelVolume) -> Result<Vec<u8>> {
    let (header, bytes) = parts(labels)?;
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    let written = write_parts(&mut encoder, &header, &bytes).and_then(|()| encoder.finish());
    written.map_err(|error| Error::Parameter(format!("compressing a NIfTI volume: {error}")))
}

/// Header and values of a label volume, with 8 bits if they suffice.
fn parts(labels: &LabelVolume) -> Result<([u8; DATA_OFFSET], Vec<u8>)> {
    let narrow: Result<Vec<u8>, _> = labels.data().iter().map(|&v| u8::try_from(v)).collect();
    let (element, bytes) = match narrow {
        Ok(bytes) => (Element::U8, bytes),
        Err(_) => (
            Element::U16,
            labels.data().iter().flat_map(|v| v.to_le_bytes()).collect(),
        ),
    };
    Ok((nifti_header::encode(labels.geometry(), element)?, bytes))
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
