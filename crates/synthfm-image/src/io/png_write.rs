//! PNG out, as bytes or as a file.
//!
//! Masks are 0 and 255. Label maps take 8 bits where their labels fit, otherwise 16. Grey images
//! are mapped from a stated range, so that the same range reads back the same values.

use std::fmt::Display;
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

impl GreyDepth {
    /// The fewest bits that hold every label.
    pub fn of_labels(labels: &LabelMap) -> Self {
        let narrow = labels.data().iter().all(|&v| u8::try_from(v).is_ok());
        if narrow { Self::Eight } else { Self::Sixteen }
    }
}

/// A mask as 8-bit grey: 255 is foreground.
pub fn encode_mask_png(mask: &Mask) -> Result<Vec<u8>> {
    let values = mask.data().iter().map(|&v| if v { 255 } else { 0 });
    encode_grey(mask.size(), GreyDepth::Eight, values)
}

/// Labels as grey values. Fails if `depth` does not hold them.
pub fn encode_label_png(labels: &LabelMap, depth: GreyDepth) -> Result<Vec<u8>> {
    if depth == GreyDepth::Eight && GreyDepth::of_labels(labels) != depth {
        let problem = "labels above 255 need a PNG of 16 bits";
        return Err(Error::Parameter(problem.into()));
    }
    encode_grey(labels.size(), depth, labels.data().iter().copied())
}

/// An image as grey values: `range` is mapped to the full range of `depth`, rounded and clipped; NaN becomes 0. Fails
/// if `range` is empty or not finite.
pub fn encode_grey_png(
    image: &Image,
    range: RangeInclusive<f32>,
    depth: GreyDepth,
) -> Result<Vec<u8>> {
    let (low, high) = range.into_inner();
    if !(low.is_finite() && high.is_finite() && low < high) {
        let problem = format!("a grey PNG needs a finite range, got {low} to {high}");
        return Err(Error::Parameter(problem));
    }
    let top = match depth {
        GreyDepth::Eight => 255.0,
        GreyDepth::Sixteen => 65535.0,
    };
    let (low, scale) = (f64::from(low), top / (f64::from(high) - f64::from(low)));
    let value = |v: f32| ((f64::from(v) - low) * scale).clamp(0.0, top).round() as u16;
    encode_grey(image.size(), depth, image.data().iter().map(|&v| value(v)))
}

/// A colour image.
pub fn encode_rgb_png(image: &RgbImage) -> Result<Vec<u8>> {
    let kind = (ColorType::Rgb, BitDepth::Eight);
    encode(image.size(), kind, image.data())
}

/// Writes [`encode_mask_png`].
pub fn write_mask_png(path: &Path, mask: &Mask) -> Result<()> {
    write(path, &encode_mask_png(mask)?)
}

/// Writes [`encode_label_png`] with 8 bits if all labels are below 256, else with 16.
pub fn write_label_png(path: &Path, labels: &LabelMap) -> Result<()> {
    write(
        path,
        &encode_label_png(labels, GreyDepth::of_labels(labels))?,
    )
}

/// Writes [`encode_grey_png`].
pub fn write_grey_png(
    path: &Path,
    image: &Image,
    range: RangeInclusive<f32>,
    depth: GreyDepth,
) -> Result<()> {
    write(path, &encode_grey_png(image, range, depth)?)
}

/// Writes [`encode_rgb_png`].
pub fn write_rgb_png(path: &Path, image: &RgbImage) -> Result<()> {
    write(path, &encode_rgb_png(image)?)
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    write_atomically(path, |out| out.write_all(bytes))
}

fn encode_grey(size: Size, depth: GreyDepth, values: impl Iterator<Item = u16>) -> Result<Vec<u8>> {
    let (depth, bytes): (_, Vec<u8>) = match depth {
        GreyDepth::Eight => (BitDepth::Eight, values.map(|v| v as u8).collect()),
        GreyDepth::Sixteen => {
            // PNG is big-endian.
            let bytes = values.flat_map(u16::to_be_bytes).collect();
            (BitDepth::Sixteen, bytes)
        }
    };
    encode(size, (ColorType::Grayscale, depth), &bytes)
}

fn encode(size: Size, (colour, depth): (ColorType, BitDepth), values: &[u8]) -> Result<Vec<u8>> {
    let impossible = |problem: &dyn Display| {
        Error::Parameter(format!("a PNG cannot hold {size} pixels: {problem}"))
    };
    let side = |length: usize| u32::try_from(length).ok().filter(|&n| n > 0);
    let (Some(width), Some(height)) = (side(size.width), side(size.height)) else {
        return Err(impossible(&"sides from 1 to 2^32 - 1 expected"));
    };
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(colour);
    encoder.set_depth(depth);
    let written = encoder.write_header().and_then(|mut writer| {
        writer.write_image_data(values)?;
        writer.finish()
    });
    written.map_err(|error| impossible(&error))?;
    Ok(bytes)
}
