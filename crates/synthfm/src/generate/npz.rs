//! One `NumPy` archive per sample: `image` f32 `[H, W]` from 0 to 1, `labels` u16 `[H, W]`, `masks` bool `[N, H, W]`.
//!
//! An archive is a ZIP file of NPY arrays, as `numpy.savez_compressed` writes it. Differs: the time stamps are fixed,
//! so that the same sample gives the same bytes.

use std::io::{Seek, Write};

use anyhow::Result;
use synthfm_image::{LabelMap, Size};
use synthfm_synth::Sample;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipWriter};

/// The archive of a sample.
pub(super) fn archive(sample: &Sample, labels: &LabelMap) -> Result<Vec<u8>> {
    let size = sample.image.size();
    let image: Vec<u8> = sample
        .image
        .data()
        .iter()
        .flat_map(|v| v.to_le_bytes())
        .collect();
    let values: Vec<u8> = labels.data().iter().flat_map(|v| v.to_le_bytes()).collect();
    let masks: Vec<u8> = sample
        .targets
        .iter()
        .flat_map(|t| t.mask.data())
        .map(|&v| u8::from(v))
        .collect();
    let mut zip = ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let Size { height, width } = size;
    add(&mut zip, "image.npy", "<f4", &[height, width], &image)?;
    add(&mut zip, "labels.npy", "<u2", &[height, width], &values)?;
    add(
        &mut zip,
        "masks.npy",
        "|b1",
        &[sample.targets.len(), height, width],
        &masks,
    )?;
    Ok(zip.finish()?.into_inner())
}

fn add(
    zip: &mut ZipWriter<impl Write + Seek>,
    name: &str,
    descr: &str,
    shape: &[usize],
    values: &[u8],
) -> Result<()> {
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Deflated)
        .last_modified_time(DateTime::default());
    zip.start_file(name, options)?;
    zip.write_all(&npy_header(descr, shape))?;
    zip.write_all(values)?;
    Ok(())
}

/// NPY 1.0: the header ends in a line feed at a multiple of 64 bytes.
fn npy_header(descr: &str, shape: &[usize]) -> Vec<u8> {
    let sides: Vec<String> = shape.iter().map(ToString::to_string).collect();
    let mut text = format!(
        "{{'descr': '{descr}', 'fortran_order': False, 'shape': ({}), }}",
        sides.join(", ")
    );
    let prefix = 10;
    while !(prefix + text.len() + 1).is_multiple_of(64) {
        text.push(' ');
    }
    text.push('\n');
    let mut header = b"\x93NUMPY\x01\x00".to_vec();
    let length = u16::try_from(text.len()).expect("three sides fit");
    header.extend(length.to_le_bytes());
    header.extend(text.as_bytes());
    header
}
