//! PNG out.
//!
//! Masks are 0 and 255. Label maps take 8 bits where their labels fit, otherwise 16. Grey images
//! are mapped from a stated range, so that the same range reads back the same values.

use std::io::Write;
use std::ops::RangeInclusive;
use std::path::Path;

use png::{BitDepth, ColorType};

use super::write_atomically;
use crate::{Error, Image, LabelMap, Mask, Result, RgbImage, Size};

/// Bits of a grey PNG.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GreyDepth {
    /// 0..=255.
    Eight,
    /// 0..=65535.
    Sixteen,
}

/// Writes a mask as 8-bit grey: 255 is foreground.
pub fn write_mask_png(path: &Path, mask: &Mask) -> Result<()> {
    let bytes: Vec<u8> = mask
        .data()
        .iter()
        .map(|&v| if v { 255 } else { 0 })
        .collect();
    write(
        path,
        mask.size(),
        (ColorType::Grayscale, BitDepth::Eight),
        &bytes,
    )
}

/// Writes labels as grey values, with 8 bits if all are below 256, else with 16.
pub fn write_label_png(path: &Path, labels: &LabelMap) -> Result<()> {
    let values = labels.data();
    let narrow: Result<Vec<u8>, _> = values.iter().map(|&v| u8::try_from(v)).collect();
    let (depth, bytes) = match narrow {
        Ok(bytes) => (BitDepth::Eight, bytes),
        Err(_) => (BitDepth::Sixteen, big_endian(values.iter().copied())),
    };
    write(path, labels.size(), (ColorType::Grayscale, depth), &bytes)
}

/// Writes an image as grey values: `range` is mapped to the full range of `depth`, rounded and
/// clipped; NaN becomes 0. Fails if `range` is empty or not finite.
pub fn write_grey_png(
    path: &Path,
    image: &Image,
    range: RangeInclusive<f32>,
    depth: GreyDepth,
) -> Result<()> {
    let (low, high) = range.into_inner();
    if !(low.is_finite() && high.is_finite() && low < high) {
        let problem = format!("a grey PNG needs a finite range, got {low} to {high}");
        return Err(Error::Parameter(problem));
    }
    let (bits, top) = match depth {
        GreyDepth::Eight => (BitDepth::Eight, 255.0),
        GreyDepth::Sixteen => (BitDepth::Sixteen, 65535.0),
    };
    let (low, scale) = (f64::from(low), top / (f64::from(high) - f64::from(low)));
    let value = |v: f32| ((f64::from(v) - low) * scale).clamp(0.0, top).round() as u16;
    let values = image.data().iter().map(|&v| value(v));
    let bytes = match depth {
        GreyDepth::Eight => values.map(|v| v as u8).collect(),
        GreyDepth::Sixteen => big_endian(values),
    };
    write(path, image.size(), (ColorType::Grayscale, bits), &bytes)
}

/// Writes a colour image.
pub fn write_rgb_png(path: &Path, image: &RgbImage) -> Result<()> {
    write(
        path,
        image.size(),
        (ColorType::Rgb, BitDepth::Eight),
        image.data(),
    )
}

fn big_endian(values: impl Iterator<Item = u16>) -> Vec<u8> {
    values.flat_map(u16::to_be_bytes).collect()
}

fn write(path: &Path, size: Size, kind: (ColorType, BitDepth), bytes: &[u8]) -> Result<()> {
    let side = |length: usize| u32::try_from(length).ok().filter(|&n| n > 0);
    let (Some(width), Some(height)) = (side(size.width), side(size.height)) else {
        return Err(Error::Parameter(format!("a PNG cannot hold {size} pixels")));
    };
    write_atomically(path, |writer: &mut dyn Write| {
        let mut encoder = png::Encoder::new(writer, width, height);
        encoder.set_color(kind.0);
        encoder.set_depth(kind.1);
        let mut writer = encoder.write_header()?;
        writer.write_image_data(bytes)?;
        writer.finish()?;
        Ok(())
    })
}
