//! TIFF in: 8, 16, 32 and 64 bits, integers and floats, grey or RGB; several pages of one size are a volume.
//!
//! A page is `[row, col]`; pages follow each other along `k`. Spacing is not read, for few programs write one that
//! means millimetres.

use std::io::Cursor;

use tiff::ColorType;
use tiff::decoder::{Decoder, DecodingResult, Limits};

use super::element::label;
use super::source::Source;
use super::{LabelFile, Picture};
use crate::{
    Image, ImageFile, LabelMap, LabelVolume, Result, RgbImage, Size, Volume, VolumeGeometry,
};

/// Metadata of a page that is worth reading.
const MAX_FIELD_BYTES: usize = 64 << 20;

/// Values of all pages.
struct Pages {
    size: Size,
    count: usize,
    channels: usize,
    /// Bits of a sample.
    bits: u8,
    values: Vec<f64>,
}

pub(super) fn read_image(source: &Source) -> Result<ImageFile> {
    let pages = read(source, ColoursAre::Colours)?;
    if pages.channels >= 3 {
        let scale = if pages.bits == 16 { 257.0 } else { 1.0 };
        let rgb = pages.values.chunks_exact(pages.channels).flat_map(|pixel| {
            [pixel[0], pixel[1], pixel[2]].map(|v| (v / scale).round().clamp(0.0, 255.0) as u8)
        });
        let image = RgbImage::new(pages.size, rgb.collect())?;
        return Ok(ImageFile::Picture(Picture::Rgb(image)));
    }
    let values = pages.values.iter().map(|&v| v as f32).collect();
    if pages.count == 1 {
        let image = Image::new(pages.size, values)?;
        return Ok(ImageFile::Picture(Picture::Grey(image)));
    }
    Ok(ImageFile::Volume(Volume::new(pages.geometry()?, values)?))
}

pub(super) fn read_labels(source: &Source) -> Result<LabelFile> {
    let pages = read(source, ColoursAre::Refused)?;
    let labels: std::result::Result<Vec<u16>, f64> =
        pages.values.iter().map(|&v| label(v)).collect();
    let labels = labels.map_err(|value| source.bad_label(value))?;
    if pages.count == 1 {
        return Ok(LabelFile::Map(LabelMap::new(pages.size, labels)?));
    }
    Ok(LabelFile::Volume(LabelVolume::new(
        pages.geometry()?,
        labels,
    )?))
}

impl Pages {
    fn geometry(&self) -> Result<VolumeGeometry> {
        let shape = [self.size.width, self.size.height, self.count];
        VolumeGeometry::with_spacing(shape, [1.0; 3])
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ColoursAre {
    Colours,
    Refused,
}

fn read(source: &Source, colours: ColoursAre) -> Result<Pages> {
    let bad = |error: tiff::TiffError| source.format_error(format!("damaged TIFF: {error}"));
    let mut limits = Limits::unlimited();
    let limit = usize::try_from(source.limit()).unwrap_or(usize::MAX);
    limits.decoding_buffer_size = limit;
    limits.intermediate_buffer_size = limit;
    limits.ifd_value_size = MAX_FIELD_BYTES.min(limit);
    let mut decoder = Decoder::new(Cursor::new(source.bytes()))
        .map_err(bad)?
        .with_limits(limits);
    let mut pages: Option<Pages> = None;
    loop {
        let (width, height) = decoder.dimensions().map_err(bad)?;
        let size = Size::new(height as usize, width as usize);
        let (channels, bits) = samples(source, decoder.colortype().map_err(bad)?, colours)?;
        let before = pages.as_ref().map_or(0, |pages| pages.values.len() as u64);
        let values = (size.width as u64)
            .checked_mul(size.height as u64)
            .and_then(|n| n.checked_mul(channels as u64));
        let bytes = values
            .and_then(|n| n.checked_add(before))
            .and_then(|n| n.checked_mul(8));
        source.check_bytes(bytes)?;
        let stored = values.map_or(u64::MAX, |n| n.saturating_mul(u64::from(bits) / 8));
        if stored > (source.bytes().len() as u64).saturating_mul(super::payload::MAX_EXPANSION) {
            let problem = format!(
                "{size} pixels cannot be in a TIFF of {} bytes",
                source.bytes().len()
            );
            return Err(source.format_error(problem));
        }
        let page = widened(decoder.read_image().map_err(bad)?);
        if values != Some(page.len() as u64) {
            return Err(source.format_error(format!("a TIFF page of {} values", page.len())));
        }
        match &mut pages {
            None => {
                pages = Some(Pages {
                    size,
                    count: 1,
                    channels,
                    bits,
                    values: page,
                });
            }
            Some(all) if (all.size, all.channels, all.bits) == (size, 1, bits) => {
                all.values.extend(page);
                all.count += 1;
            }
            Some(all) => {
                return Err(source.unsupported(format!(
                    "TIFF pages that differ ({} and {size}) or have colours; pages of a volume are grey and of one size",
                    all.size
                )));
            }
        }
        if !decoder.more_images() {
            break;
        }
        decoder.next_image().map_err(bad)?;
    }
    pages.ok_or_else(|| source.format_error("a TIFF without a page"))
}

/// Samples of a pixel, and their bits.
fn samples(source: &Source, kind: ColorType, colours: ColoursAre) -> Result<(usize, u8)> {
    match kind {
        ColorType::Gray(bits) => Ok((1, bits)),
        ColorType::Palette(bits) if colours == ColoursAre::Refused => Ok((1, bits)),
        ColorType::RGB(bits @ (8 | 16)) if colours == ColoursAre::Colours => Ok((3, bits)),
        ColorType::RGBA(bits @ (8 | 16)) if colours == ColoursAre::Colours => Ok((4, bits)),
        other if colours == ColoursAre::Refused => Err(source.unsupported(format!(
            "labels in a TIFF of {other:?}; store them as grey values"
        ))),
        other => Err(source.unsupported(format!("a TIFF of {other:?}; grey and RGB are"))),
    }
}

fn widened(result: DecodingResult) -> Vec<f64> {
    macro_rules! widen {
        ($values:expr) => {
            $values.into_iter().map(f64::from).collect()
        };
    }
    match result {
        DecodingResult::U8(v) => widen!(v),
        DecodingResult::U16(v) => widen!(v),
        DecodingResult::U32(v) => widen!(v),
        DecodingResult::U64(v) => v.into_iter().map(|v| v as f64).collect(),
        DecodingResult::I8(v) => widen!(v),
        DecodingResult::I16(v) => widen!(v),
        DecodingResult::I32(v) => widen!(v),
        DecodingResult::I64(v) => v.into_iter().map(|v| v as f64).collect(),
        DecodingResult::F16(v) => v.into_iter().map(|v| f64::from(f32::from(v))).collect(),
        DecodingResult::F32(v) => widen!(v),
        DecodingResult::F64(v) => v,
    }
}
