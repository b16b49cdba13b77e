//! PNG in.
//!
//! Pictures have palettes resolved, 1 to 4 bits widened and transparency dropped. Label maps keep
//! the stored numbers.

use std::io::Cursor;

use png::{BitDepth, ColorType, Transformations};

use super::Picture;
use super::orientation::Orientation;
use super::pages::{collected, reserved, try_zeroed};
use super::source::Source;
use crate::{Image, LabelMap, Result, RgbImage, Size};

/// Deflate never expands more than this.
const MAX_EXPANSION: u64 = 1032;

/// Samples of one image, 16 bits each, interleaved.
struct Samples {
    size: Size,
    channels: usize,
    depth: BitDepth,
    data: Vec<u16>,
    orientation: Option<Orientation>,
}

/// The stored picture, and the orientation that makes it upright.
pub(super) fn read_picture(source: &Source) -> Result<(Picture, Option<Orientation>)> {
    let samples = decode(source, Transformations::EXPAND)?;
    let Samples {
        size,
        channels,
        depth,
        data,
        orientation,
    } = samples;
    if channels < 3 {
        let grey = data.iter().step_by(channels).map(|&v| f32::from(v));
        let grey = collected(size.area(), grey).map_err(|error| source.io_error(error))?;
        return Ok((Picture::Grey(Image::new(size, grey)?), orientation));
    }
    let to_byte = |v: u16| match depth {
        // 65535 / 255 = 257: rounded to the nearest.
        BitDepth::Sixteen => ((u32::from(v) + 128) / 257) as u8,
        _ => v as u8,
    };
    let pixels = data.chunks_exact(channels);
    let rgb = pixels.flat_map(|p| [p[0], p[1], p[2]].map(to_byte));
    let rgb = collected(3 * size.area(), rgb).map_err(|error| source.io_error(error))?;
    Ok((Picture::Rgb(RgbImage::new(size, rgb)?), orientation))
}

/// The stored labels, and the orientation that makes them upright.
pub(super) fn read_label_map(source: &Source) -> Result<(LabelMap, Option<Orientation>)> {
    let samples = decode(source, Transformations::IDENTITY)?;
    let channels = samples.channels;
    let mut labels = reserved(samples.size.area()).map_err(|error| source.io_error(error))?;
    for pixel in samples.data.chunks_exact(channels) {
        if channels >= 3 && (pixel[0] != pixel[1] || pixel[0] != pixel[2]) {
            let problem = "labels in a colour PNG; store them as grey values or palette indices";
            return Err(source.unsupported(problem));
        }
        labels.push(pixel[0]);
    }
    Ok((LabelMap::new(samples.size, labels)?, samples.orientation))
}

fn decode(source: &Source, transformations: Transformations) -> Result<Samples> {
    let bad = |error: png::DecodingError| source.format_error(format!("damaged PNG: {error}"));
    let bytes = usize::try_from(source.limit()).unwrap_or(usize::MAX);
    let limits = png::Limits { bytes };
    let mut decoder = png::Decoder::new_with_limits(Cursor::new(source.bytes()), limits);
    decoder.set_transformations(transformations);
    decoder.set_ignore_text_chunk(true);
    decoder.set_ignore_iccp_chunk(true);
    let mut reader = decoder.read_info().map_err(bad)?;
    let size = check_size(source, reader.info())?;
    let length = reader.output_buffer_size().map(|n| n as u64);
    let length = source.check_bytes(length)?;
    let mut buffer = try_zeroed(length).map_err(|error| source.io_error(error))?;
    let frame = reader.next_frame(&mut buffer).map_err(bad)?;
    // Up to the end of the file, so that a missing end is noticed.
    reader.finish().map_err(bad)?;
    let exif = reader.info().exif_metadata.as_deref();
    let orientation = exif.and_then(Orientation::of_exif);
    let channels = frame.color_type.samples();
    let mut data = reserved(size.area() * channels).map_err(|error| source.io_error(error))?;
    for line in buffer
        .chunks_exact(frame.line_size.max(1))
        .take(size.height)
    {
        unpack(line, frame.bit_depth, size.width * channels, &mut data);
    }
    Ok(Samples {
        size,
        channels,
        depth: frame.bit_depth,
        data,
        orientation,
    })
}

/// Refuses sizes that the limit forbids or that the file's bytes cannot hold.
fn check_size(source: &Source, info: &png::Info) -> Result<Size> {
    let (width, height) = (u64::from(info.width), u64::from(info.height));
    let pixels = width.checked_mul(height);
    // A pixel as it is decoded, as samples of 16 bits, and as an f32 or three bytes: all three are in memory at a time.
    let (channels, last) = match info.color_type {
        ColorType::Grayscale => (1, 4),
        ColorType::GrayscaleAlpha => (2, 4),
        ColorType::Rgb => (3, 3),
        ColorType::Indexed | ColorType::Rgba => (4, 3),
    };
    let decoded = channels
        * if info.bit_depth == BitDepth::Sixteen {
            2
        } else {
            1
        };
    source.check_bytes(pixels.and_then(|n| n.checked_mul(last)))?;
    let stored = (info.raw_row_length() as u64).checked_mul(height);
    let most = (source.bytes().len() as u64).saturating_mul(MAX_EXPANSION);
    if stored.is_none_or(|stored| stored > most) {
        return Err(source.format_error(format!(
            "{width}x{height} pixels cannot be in a PNG of {} bytes",
            source.bytes().len()
        )));
    }
    let all = pixels.and_then(|n| n.checked_mul(decoded + 2 * channels + last));
    source.check_with_file(all.unwrap_or(u64::MAX))?;
    Ok(Size::new(height as usize, width as usize))
}

/// Appends the first `count` samples of a line; where several share a byte, the highest bits are
/// the first.
fn unpack(line: &[u8], depth: BitDepth, count: usize, out: &mut Vec<u16>) {
    match depth {
        BitDepth::Sixteen => {
            let (pairs, _) = line.as_chunks::<2>();
            out.extend(
                pairs
                    .iter()
                    .take(count)
                    .map(|&pair| u16::from_be_bytes(pair)),
            );
        }
        BitDepth::Eight => out.extend(line.iter().take(count).map(|&v| u16::from(v))),
        BitDepth::One | BitDepth::Two | BitDepth::Four => {
            let bits = depth as u8;
            let mask = (1u16 << bits) - 1;
            let samples = line.iter().flat_map(|&byte| {
                (1..=8 / bits).map(move |n| u16::from(byte) >> (8 - n * bits) & mask)
            });
            out.extend(samples.take(count));
        }
    }
}
