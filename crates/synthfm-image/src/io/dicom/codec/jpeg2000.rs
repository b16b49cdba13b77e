//! JPEG 2000 frames (not the high-throughput ones of part 15).
//!
//! The decoder shifts all samples to the unsigned range; of signed ones (bit 7 of the stream's component sizes) the
//! shift is taken back here. Markers are checked before it, and what writers may leave out is added, so that it can be
//! strict about the rest: packets that a cut stream has lost are an error.

use hayro_jpeg2000::{DecodeError, DecodeSettings, DecoderContext, Image, TileError};

use super::jpeg2000_stream::Stream;
use super::{Decoded, Expected, Failure, zeroed};

/// Memory for a sample: the decoder's plane, and 16 bits of ours.
const BYTES_PER_SAMPLE: u64 = 6;
/// Memory for a sample of the largest tile: coefficients and two buffers of the wavelet transform.
const BYTES_PER_TILE_SAMPLE: u64 = 12;

/// Bytes that decoding so many samples takes at least, whatever the stream says.
pub(super) const fn least_bytes(samples: u64) -> u64 {
    samples * BYTES_PER_SAMPLE
}

/// Bytes that decoding so many samples takes if they are one tile with blocks of the usual size.
pub(super) const fn usual_bytes(samples: u64) -> u64 {
    // A block of 64 x 64 takes little beside its samples.
    samples * (BYTES_PER_SAMPLE + BYTES_PER_TILE_SAMPLE + 2)
}

pub(super) fn decode(bytes: &[u8], expected: &Expected) -> Result<Decoded, Failure> {
    let stream = Stream::find(bytes)?;
    let Stream {
        siz,
        structure_bytes,
        ..
    } = stream;
    let [rows, columns, channels] = [siz.rows, siz.columns, siz.components].map(|v| v as usize);
    expected.check(rows, columns, channels)?;
    let of_tile = siz.tile_samples().saturating_mul(BYTES_PER_TILE_SAMPLE);
    expected.check_memory(
        least_bytes(expected.samples() as u64)
            .saturating_add(of_tile)
            .saturating_add(structure_bytes)
            .saturating_add(bytes.len() as u64),
    )?;
    let bytes = &stream.complete(bytes)?;
    let settings = DecodeSettings {
        resolve_palette_indices: false,
        strict: true,
        target_resolution: None,
    };
    let image = Image::new(bytes, &settings).map_err(bad)?;
    expected.check(image.height() as usize, image.width() as usize, channels)?;
    let mut context = DecoderContext::default();
    let decoded = image.decode(&mut context).map_err(bad)?;
    let components = decoded.components();
    expected.check(rows, columns, components.len())?;
    let pixels = expected.pixels();
    let mut samples = zeroed(pixels * channels)?;
    for (channel, component) in components.iter().enumerate() {
        let depth = u32::from(component.bit_depth());
        if component.samples().len() < pixels || !(1..=16).contains(&depth) {
            return Err(format!("JPEG 2000 samples of {depth} bits, or too few").into());
        }
        let (low, high, shift) = if siz.signed {
            let half = (1u32 << (depth - 1)) as f32;
            (-half, half - 1.0, half)
        } else {
            (0.0, ((1u32 << depth) - 1) as f32, 0.0)
        };
        let places = samples.iter_mut().skip(channel).step_by(channels);
        for (place, &value) in places.zip(component.samples()) {
            *place = (value - shift).round().clamp(low, high) as i32 as u16;
        }
    }
    Ok(Decoded::Samples {
        samples,
        is_rgb: true,
    })
}

fn bad(error: DecodeError) -> String {
    match error {
        DecodeError::Tile(TileError::Invalid) => {
            "the JPEG 2000 stream ends early, or is damaged: the packets of a tile do not fit its length".to_owned()
        }
        error => format!("damaged JPEG 2000: {error}"),
    }
}
