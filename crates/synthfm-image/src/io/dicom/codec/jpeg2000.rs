//! JPEG 2000 frames (not the high-throughput ones of part 15).
//!
//! The decoder shifts all samples to the unsigned range; of signed ones (bit 7 of the stream's component sizes) the
//! shift is taken back here.

use hayro_jpeg2000::{DecodeSettings, DecoderContext, Image};

use super::{Decoded, Expected};

/// Marker of the image's size; the first in a stream.
const SIZ: [u8; 4] = [0xff, 0x4f, 0xff, 0x51];
/// From there to fields of the size: far corner, size of a tile, size of the first component.
const CORNER: usize = 8;
const TILE: usize = 24;
const COMPONENTS: usize = 42;
/// Tiles have numbers of 16 bits.
const MAX_TILES: u64 = 65_535;

pub(super) fn decode(bytes: &[u8], expected: &Expected) -> Result<Decoded, String> {
    let bad = |error: hayro_jpeg2000::DecodeError| format!("damaged JPEG 2000: {error}");
    let size = Siz::find(bytes).ok_or("a JPEG 2000 stream without its size")?;
    if size.tiles > MAX_TILES {
        return Err(format!("damaged JPEG 2000: {} tiles", size.tiles));
    }
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
        let (low, high, shift) = if size.signed {
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

/// What must be known before the stream is decoded.
struct Siz {
    tiles: u64,
    /// Whether the first component is signed.
    signed: bool,
}

impl Siz {
    fn find(bytes: &[u8]) -> Option<Self> {
        let start = bytes.windows(SIZ.len()).position(|four| four == SIZ)?;
        let field = |at: usize| {
            let raw = bytes.get(start + at..)?.first_chunk::<4>()?;
            Some(u64::from(u32::from_be_bytes(*raw)))
        };
        let along = |axis: usize| {
            let (corner, tile) = (field(CORNER + axis)?, field(TILE + axis)?);
            Some(corner.div_ceil(tile.max(1)))
        };
        Some(Self {
            tiles: along(0)?.saturating_mul(along(4)?),
            signed: bytes.get(start + COMPONENTS)? & 0x80 != 0,
        })
    }
}
