//! JPEG 2000 frames (not the high-throughput ones of part 15).
//!
//! The decoder shifts all samples to the unsigned range; of signed ones (bit 7 of the stream's component sizes) the
//! shift is taken back here.

use hayro_jpeg2000::{DecodeSettings, DecoderContext, Image};

use super::{Decoded, Expected};

/// Marker of the image's size; the first in a stream.
const SIZ: [u8; 4] = [0xff, 0x4f, 0xff, 0x51];
/// From the marker of the size to the sizes of the components.
const COMPONENTS: usize = 42;

pub(super) fn decode(bytes: &[u8], expected: &Expected) -> Result<Decoded, String> {
    let bad = |error: hayro_jpeg2000::DecodeError| format!("damaged JPEG 2000: {error}");
    let signed = signed_components(bytes);
    let settings = DecodeSettings {
        resolve_palette_indices: false,
        strict: false,
        target_resolution: None,
    };
    let image = Image::new(bytes, &settings).map_err(bad)?;
    let (rows, columns) = (image.height() as usize, image.width() as usize);
    expected.check(rows, columns, expected.channels)?;
    let mut context = DecoderContext::default();
    let decoded = image.decode(&mut context).map_err(bad)?;
    let components = decoded.components();
    let channels = components.len();
    expected.check(rows, columns, channels)?;
    let pixels = expected.pixels();
    let mut samples = vec![0u16; pixels * channels];
    for (channel, component) in components.iter().enumerate() {
        let depth = u32::from(component.bit_depth());
        if component.samples().len() < pixels || !(1..=16).contains(&depth) {
            return Err(format!("JPEG 2000 samples of {depth} bits, or too few"));
        }
        let (low, high, shift) = if signed {
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
    Ok(Decoded {
        samples,
        channels,
        is_rgb: true,
    })
}

/// Whether the first component of the stream is signed.
fn signed_components(bytes: &[u8]) -> bool {
    let start = bytes.windows(SIZ.len()).position(|four| four == SIZ);
    start
        .and_then(|start| bytes.get(start + COMPONENTS))
        .is_some_and(|&size| size & 0x80 != 0)
}
