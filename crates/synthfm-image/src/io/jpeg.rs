//! JPEG pictures in, as they are stored, with the orientation of their EXIF metadata.

use jpeg_decoder::{Decoder, PixelFormat};

use super::Picture;
use super::orientation::Orientation;
use super::pages::collected;
use super::source::Source;
use crate::{Image, Result, RgbImage, Size};

/// Pixels that a byte can stand for at most: a block of 64 in two bits, and twice as much for subsampled colours.
const MAX_EXPANSION: u64 = 1024;

/// The marker of a scan.
const SCAN: [u8; 2] = [0xff, 0xda];
/// Each scan of a progressive JPEG goes over all of its coefficients; encoders write some ten, and metadata may hold a
/// preview with as many.
const MAX_SCANS: usize = 200;

/// The stored picture, and the orientation that makes it upright.
pub(super) fn read_picture(source: &Source) -> Result<(Picture, Option<Orientation>)> {
    let bad = |error: jpeg_decoder::Error| source.format_error(format!("damaged JPEG: {error}"));
    let mut decoder = Decoder::new(source.bytes());
    decoder.read_info().map_err(bad)?;
    let info = decoder
        .info()
        .ok_or_else(|| source.format_error("a JPEG without a frame"))?;
    let size = Size::new(usize::from(info.height), usize::from(info.width));
    let pixels = size.area() as u64;
    source.check_bytes(Some(pixels * 8))?;
    if pixels > (source.bytes().len() as u64).saturating_mul(MAX_EXPANSION) {
        return Err(source.format_error(format!(
            "{size} pixels cannot be in a JPEG of {} bytes",
            source.bytes().len()
        )));
    }
    let scans = source.bytes().windows(2).filter(|pair| *pair == SCAN);
    if scans.count() > MAX_SCANS {
        return Err(source.format_error(format!("a JPEG of more than {MAX_SCANS} scans")));
    }
    decoder.set_max_decoding_buffer_size(source.limit() as usize);
    let bytes = decoder.decode().map_err(bad)?;
    let orientation = decoder.exif_data().and_then(Orientation::of_exif);
    Ok((
        picture(source, size, info.pixel_format, bytes)?,
        orientation,
    ))
}

fn picture(source: &Source, size: Size, format: PixelFormat, bytes: Vec<u8>) -> Result<Picture> {
    match format {
        PixelFormat::L8 => {
            let data = collected(size.area(), bytes.into_iter().map(f32::from));
            let data = data.map_err(|error| source.io_error(error))?;
            Ok(Picture::Grey(Image::new(size, data)?))
        }
        PixelFormat::L16 => {
            let (pairs, _) = bytes.as_chunks::<2>();
            let data = pairs.iter().map(|&raw| f32::from(u16::from_ne_bytes(raw)));
            let data = collected(size.area(), data).map_err(|error| source.io_error(error))?;
            Ok(Picture::Grey(Image::new(size, data)?))
        }
        PixelFormat::RGB24 => Ok(Picture::Rgb(RgbImage::new(size, bytes)?)),
        PixelFormat::CMYK32 => Err(source.unsupported("a JPEG for print (CMYK); grey and RGB are")),
    }
}
