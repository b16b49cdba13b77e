//! JPEG frames: baseline, progressive and lossless.

use jpeg_decoder::{ColorTransform, Decoder, PixelFormat, UnsupportedFeature};

use super::{Decoded, Expected, Failure};

/// Pixels that a byte can stand for at most: a block of 64 in two bits, and twice as much for subsampled colours.
const MAX_EXPANSION: usize = 1024;
/// The marker of a scan, which occurs nowhere else in a stream.
const SCAN: [u8; 2] = [0xff, 0xda];
/// Each scan of a progressive JPEG goes over all of its coefficients; encoders write some ten.
const MAX_SCANS: usize = 100;
/// Memory that decoding takes: coefficients, planes and their upsampled lines in the decoder, and samples of 16 bits.
pub(super) const BYTES_PER_SAMPLE: u64 = 6;

pub(super) fn decode(bytes: &[u8], expected: &Expected) -> Result<Decoded, Failure> {
    let scans = bytes.windows(2).filter(|pair| *pair == SCAN).count();
    if scans > MAX_SCANS {
        return Err(format!("a JPEG of {scans} scans; {MAX_SCANS} at most are read").into());
    }
    let mut decoder = Decoder::new(bytes);
    decoder.read_info().map_err(bad)?;
    let info = decoder.info().ok_or("a JPEG without a frame")?;
    let channels = match info.pixel_format {
        PixelFormat::L8 | PixelFormat::L16 => 1,
        PixelFormat::RGB24 => 3,
        PixelFormat::CMYK32 => 4,
    };
    expected.check(usize::from(info.height), usize::from(info.width), channels)?;
    if expected.pixels() > bytes.len().saturating_mul(MAX_EXPANSION) {
        let (pixels, length) = (expected.pixels(), bytes.len());
        return Err(format!("{pixels} pixels cannot be in a JPEG of {length} bytes").into());
    }
    decoder.set_max_decoding_buffer_size(expected.pixels().saturating_mul(2 * channels));
    if channels == 3 && expected.stored_rgb {
        decoder.set_color_transform(ColorTransform::RGB);
    }
    let decoded = decoder.decode().map_err(bad)?;
    let samples = if info.pixel_format == PixelFormat::L16 {
        let (pairs, _) = decoded.as_chunks::<2>();
        pairs.iter().map(|&raw| u16::from_ne_bytes(raw)).collect()
    } else {
        decoded.into_iter().map(u16::from).collect()
    };
    Ok(Decoded::Samples {
        samples,
        is_rgb: true,
    })
}

fn bad(error: jpeg_decoder::Error) -> Failure {
    match error {
        jpeg_decoder::Error::Unsupported(UnsupportedFeature::SamplePrecision(bits)) => {
            Failure::Unsupported(format!(
                "lossy JPEG with samples of {bits} bits; 8 bits are, and up to 16 without loss"
            ))
        }
        jpeg_decoder::Error::Unsupported(feature) => {
            Failure::Unsupported(format!("a JPEG with {feature:?}"))
        }
        error => Failure::Frame(format!("damaged JPEG: {error}")),
    }
}
