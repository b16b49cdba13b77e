//! From samples as they are stored to intensities in the modality's unit, or to colours.

use std::io;

use super::super::element::{ByteOrder, Element};
use super::super::pages;
use super::frame_header::{FrameHeader, Rescale};
use super::header::FileHeader;
use super::pixel_format::{Photometric, PixelFormat, Samples};

/// From a stored value to the modality's unit.
pub(super) struct Scale {
    /// Bits above the stored ones, and below them.
    above: u32,
    below: u32,
    signed: bool,
    rescale: Rescale,
    /// Slope and intercept where 32 bits hold every product and sum exactly, which is twice as fast.
    exact: Option<[f32; 2]>,
}

/// 32-bit floats hold whole numbers up to this exactly.
const MAX_EXACT: f64 = 16_777_216.0;

impl Scale {
    pub(super) fn new(format: &PixelFormat, rescale: Rescale) -> Self {
        let below = format.shift as u32;
        let Rescale { slope, intercept } = rescale;
        let largest = slope.abs() * f64::from(u16::MAX) + intercept.abs();
        let is_exact = slope.fract() == 0.0 && intercept.fract() == 0.0 && largest < MAX_EXACT;
        Self {
            exact: is_exact.then_some([slope as f32, intercept as f32]),
            above: 16 - (format.bits_stored as u32 + below).min(16),
            below,
            signed: format.samples == Samples::Signed,
            rescale,
        }
    }

    pub(super) fn apply(&self, stored: u16) -> f32 {
        let value = if self.signed {
            f64::from(self.signed_value(stored))
        } else {
            f64::from(self.unsigned_value(stored))
        };
        (value * self.rescale.slope + self.rescale.intercept) as f32
    }

    /// The stored value as the index of a table.
    fn index(&self, stored: u16, signed: bool) -> i64 {
        if signed {
            i64::from(self.signed_value(stored))
        } else {
            i64::from(self.unsigned_value(stored))
        }
    }

    /// All of 16 bits, as [`Self::apply`] does, without a choice for every value.
    fn apply_all(&self, bytes: &[u8], order: ByteOrder, out: &mut [f32]) {
        let (stored, _) = bytes.as_chunks::<2>();
        let places = out.iter_mut().zip(stored);
        let little = u16::from_le_bytes;
        match (order, self.exact, self.signed) {
            (ByteOrder::Little, Some([slope, intercept]), true) => {
                places.for_each(|(out, &raw)| {
                    *out = f32::from(self.signed_value(little(raw))) * slope + intercept;
                });
            }
            (ByteOrder::Little, Some([slope, intercept]), false) => {
                places.for_each(|(out, &raw)| {
                    *out = f32::from(self.unsigned_value(little(raw))) * slope + intercept;
                });
            }
            (ByteOrder::Little, None, _) => {
                places.for_each(|(out, &raw)| *out = self.apply(little(raw)));
            }
            (ByteOrder::Big, ..) => {
                places.for_each(|(out, &raw)| *out = self.apply(u16::from_be_bytes(raw)));
            }
        }
    }

    /// 32 bits of which `stored` are the value's.
    fn apply_wide(&self, bytes: &[u8], order: ByteOrder, stored: u32, out: &mut [f32]) {
        let (all, _) = bytes.as_chunks::<4>();
        let above = 32 - (stored + self.below).min(32);
        for (out, &raw) in out.iter_mut().zip(all) {
            let raw = match order {
                ByteOrder::Little => u32::from_le_bytes(raw),
                ByteOrder::Big => u32::from_be_bytes(raw),
            };
            let value = if self.signed {
                f64::from(((raw << above) as i32) >> (above + self.below))
            } else {
                f64::from((raw << above) >> (above + self.below))
            };
            *out = (value * self.rescale.slope + self.rescale.intercept) as f32;
        }
    }

    // Overlay bits above the stored ones are shifted out.
    fn signed_value(&self, stored: u16) -> i16 {
        ((stored << self.above) as i16) >> (self.above + self.below)
    }

    fn unsigned_value(&self, stored: u16) -> u16 {
        (stored << self.above) >> (self.above + self.below)
    }
}

/// The sum of the least and the largest value that a frame can have: values that are subtracted from it are mirrored, so
/// that those of MONOCHROME1 become those of MONOCHROME2.
pub(super) fn mirror_sum(file: &FileHeader, frame: &FrameHeader) -> f32 {
    if let Some(lut) = &file.lut {
        return lut.ends();
    }
    let both = match (file.format.samples, file.format.bits_stored as i32) {
        (Samples::Unsigned, bits) => 2f64.powi(bits) - 1.0,
        (Samples::Signed, _) => -1.0,
        (Samples::F32 | Samples::F64, _) => 0.0,
    };
    let Rescale { slope, intercept } = file.rescale_of(frame);
    (both * slope + 2.0 * intercept) as f32
}

/// Intensities of a frame without compression.
pub(super) fn native_grey(
    format: &PixelFormat,
    bytes: &[u8],
    order: ByteOrder,
    rescale: Rescale,
    out: &mut [f32],
) {
    let scale = Scale::new(format, rescale);
    match (format.samples, format.bits_allocated) {
        (Samples::F32, _) => floats(Element::F32, bytes, order, rescale, out),
        (Samples::F64, _) => floats(Element::F64, bytes, order, rescale, out),
        (Samples::Signed, 32) if format.bits_stored == 32 => {
            floats(Element::I32, bytes, order, rescale, out);
        }
        (Samples::Unsigned, 32) if format.bits_stored == 32 => {
            floats(Element::U32, bytes, order, rescale, out);
        }
        (_, 32) => scale.apply_wide(bytes, order, format.bits_stored as u32, out),
        (_, 1) => {
            for (n, out) in out.iter_mut().enumerate() {
                *out = scale.apply(u16::from(bytes[n / 8] >> (n % 8) & 1));
            }
        }
        (_, 8) => {
            for (out, &stored) in out.iter_mut().zip(bytes) {
                *out = scale.apply(u16::from(stored));
            }
        }
        _ => scale.apply_all(bytes, order, out),
    }
}

fn floats(element: Element, bytes: &[u8], order: ByteOrder, rescale: Rescale, out: &mut [f32]) {
    element.decode_into(order, bytes, out, |v| {
        (v * rescale.slope + rescale.intercept) as f32
    });
}

/// Colours of a frame without compression.
pub(super) fn native_colour(
    format: &PixelFormat,
    bytes: &[u8],
    order: ByteOrder,
) -> io::Result<Vec<u8>> {
    match (format.bits_allocated, order) {
        (8, _) => arranged(format, |n| u16::from(bytes[n])),
        (16, ByteOrder::Little) => arranged(format, |n| {
            u16::from_le_bytes([bytes[2 * n], bytes[2 * n + 1]])
        }),
        _ => arranged(format, |n| stored_16(format, bytes, order, n)),
    }
}

/// Colours of samples in the order that the format says.
fn arranged(format: &PixelFormat, stored: impl Fn(usize) -> u16) -> io::Result<Vec<u8>> {
    let (pixels, channels) = (format.pixels(), format.channels());
    if format.photometric == Photometric::Ybr422 {
        // Two columns share their differences of colour: Y1 Y2 Cb Cr.
        let pairs = format.columns.div_ceil(2);
        return rgb(format, false, |pixel, channel| {
            let (row, column) = (pixel / format.columns, pixel % format.columns);
            let four = 4 * (row * pairs + column / 2);
            stored(
                four + if channel == 0 {
                    column % 2
                } else {
                    channel + 1
                },
            )
        });
    }
    if format.planar {
        return rgb(format, false, |pixel, channel| {
            stored(channel * pixels + pixel)
        });
    }
    rgb(format, false, |pixel, channel| {
        stored(pixel * channels + channel)
    })
}

/// A sample in 16 bits; of those of 32 bits the highest.
fn stored_16(format: &PixelFormat, bytes: &[u8], order: ByteOrder, n: usize) -> u16 {
    let size = format.bits_allocated / 8;
    let raw = &bytes[n * size..][..size];
    let value = raw.iter().fold(0u32, |value, &byte| match order {
        ByteOrder::Big => value << 8 | u32::from(byte),
        ByteOrder::Little => value >> 8 | u32::from(byte) << (8 * (size - 1)),
    });
    (value >> format.bits_stored.saturating_sub(16)) as u16
}

/// Colours in 8 bits of samples by their pixel and channel; `is_rgb` whatever the format says.
pub(super) fn rgb(
    format: &PixelFormat,
    is_rgb: bool,
    sample: impl Fn(usize, usize) -> u16,
) -> io::Result<Vec<u8>> {
    let mut out = pages::try_zeroed(3 * format.pixels())?;
    let (places, _) = out.as_chunks_mut::<3>();
    let places = places.iter_mut().enumerate();
    let shift = format.bits_stored.clamp(8, 16) - 8;
    match &format.photometric {
        Photometric::Palette(palette) => {
            let signed = format.samples == Samples::Signed;
            let scale = Scale::new(format, Rescale::NONE);
            for (pixel, place) in places {
                let value = scale.index(sample(pixel, 0), signed);
                *place = palette.colour(value);
            }
        }
        Photometric::Ybr | Photometric::Ybr422 if !is_rgb => {
            for (pixel, place) in places {
                *place = rgb_of_ybr([0, 1, 2].map(|n| f32::from(sample(pixel, n) >> shift)));
            }
        }
        _ => {
            for (pixel, place) in places {
                *place = [0, 1, 2].map(|n| (sample(pixel, n) >> shift).min(255) as u8);
            }
        }
    }
    Ok(out)
}

/// ITU-R BT.601 in the full range, as in JPEG (PS3.3, C.7.6.3.1.2).
fn rgb_of_ybr([y, cb, cr]: [f32; 3]) -> [u8; 3] {
    let (cb, cr) = (cb - 128.0, cr - 128.0);
    let rgb = [
        y + 1.402 * cr,
        y - 0.344_136 * cb - 0.714_136 * cr,
        y + 1.772 * cb,
    ];
    rgb.map(|v| v.round().clamp(0.0, 255.0) as u8)
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "these values are exact")]
mod tests {
    use super::*;

    fn format(bits_stored: usize, shift: usize, samples: Samples) -> PixelFormat {
        PixelFormat {
            rows: 1,
            columns: 2,
            photometric: Photometric::Grey { inverted: false },
            planar: false,
            bits_allocated: 16,
            bits_stored,
            shift,
            samples,
        }
    }

    #[test]
    fn stored_bits_become_signed_scaled_values() {
        let rescale = Rescale {
            slope: 2.0,
            intercept: -1000.0,
        };
        // 0xf801: an overlay in the upper four bits over 0x801, in 12 bits -2047 or 2049.
        let bytes = [0x01, 0xf8, 0xff, 0x07];
        let mut out = [0.0; 2];
        let signed = format(12, 0, Samples::Signed);
        native_grey(&signed, &bytes, ByteOrder::Little, rescale, &mut out);
        assert_eq!(out, [-5094.0, 3094.0]);
        let unsigned = format(12, 0, Samples::Unsigned);
        native_grey(
            &unsigned,
            &bytes,
            ByteOrder::Little,
            Rescale::NONE,
            &mut out,
        );
        assert_eq!(out, [2049.0, 2047.0]);
        let high = format(12, 4, Samples::Unsigned);
        native_grey(&high, &bytes, ByteOrder::Big, Rescale::NONE, &mut out);
        assert_eq!(out, [0x01f as f32, 0xff0 as f32]);
    }

    #[test]
    fn of_32_bits_those_that_are_stored_count() {
        let mut format = format(24, 0, Samples::Signed);
        format.bits_allocated = 32;
        let bytes = [0xfe, 0xff, 0xff, 0x7f, 0x02, 0x00, 0x10, 0x80];
        let mut out = [0.0; 2];
        native_grey(&format, &bytes, ByteOrder::Little, Rescale::NONE, &mut out);
        assert_eq!(out, [-2.0, 1_048_578.0]);
        (format.bits_stored, format.shift) = (16, 8);
        format.samples = Samples::Unsigned;
        native_grey(&format, &bytes, ByteOrder::Big, Rescale::NONE, &mut out);
        assert_eq!(out, [65535.0, 16.0]);
    }

    #[test]
    fn arithmetic_of_32_bits_is_used_only_where_it_changes_no_bit() {
        let bytes: Vec<u8> = (0..=u16::MAX).flat_map(u16::to_le_bytes).collect();
        let mut out = vec![0.0; 1 << 16];
        for (slope, intercept, exact) in [
            (1.0, -1024.0, true),
            (-1.0, 0.0, true),
            (3.0, -0.0, true),
            (255.0, 50_000.0, true),
            (256.0, 50_000.0, false),
            (0.1, 0.0, false),
            (1.0, 0.5, false),
            (f64::NAN, 0.0, false),
            (1.0, f64::INFINITY, false),
        ] {
            for (bits, shift, samples) in [
                (16, 0, Samples::Signed),
                (16, 0, Samples::Unsigned),
                (12, 0, Samples::Signed),
                (12, 4, Samples::Unsigned),
            ] {
                let format = format(bits, shift, samples);
                let rescale = Rescale { slope, intercept };
                let scale = Scale::new(&format, rescale);
                assert_eq!(scale.exact.is_some(), exact, "{rescale:?}");
                native_grey(&format, &bytes, ByteOrder::Little, rescale, &mut out);
                let expected = (0..=u16::MAX).map(|stored| scale.apply(stored).to_bits());
                let got = out.iter().map(|v| v.to_bits());
                assert!(got.eq(expected), "{rescale:?}, {bits} bits, {samples:?}");
            }
        }
    }

    #[test]
    fn colours_of_luminance_and_differences() {
        assert_eq!(rgb_of_ybr([100.0, 128.0, 128.0]), [100; 3]);
        // Red of full strength (BT.601): 76, 85, 255.
        assert_eq!(rgb_of_ybr([76.0, 85.0, 255.0]), [254, 0, 0]);
        let mut format = format(8, 0, Samples::Unsigned);
        (format.bits_allocated, format.columns) = (8, 3);
        format.photometric = Photometric::Ybr422;
        let colours = |format: &PixelFormat, stored: &[u8], order| {
            native_colour(format, stored, order).unwrap()
        };
        let little = ByteOrder::Little;
        let stored = [10, 20, 128, 128, 30, 40, 128, 128];
        let grey = [[10; 3], [20; 3], [30; 3]].concat();
        assert_eq!(colours(&format, &stored, little), grey);
        format.photometric = Photometric::Rgb;
        format.columns = 2;
        format.planar = true;
        let planar = colours(&format, &[1, 2, 3, 4, 5, 6], little);
        assert_eq!(planar, [1, 3, 5, 2, 4, 6]);
        (format.planar, format.columns) = (false, 1);
        (format.bits_allocated, format.bits_stored) = (32, 32);
        let wide = [0, 0, 0, 7, 0, 0, 0, 8, 1, 2, 3, 9];
        assert_eq!(colours(&format, &wide, little), [7, 8, 9]);
        assert_eq!(colours(&format, &wide, ByteOrder::Big), [0, 0, 1]);
    }
}
