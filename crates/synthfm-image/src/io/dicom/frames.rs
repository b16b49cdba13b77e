//! Pixels of frames: where they lie in their file, and what they are as intensities or colours.

use std::borrow::Cow;
use std::ops::Range;

use super::super::element::{ByteOrder, Element};
use super::codec::{self, Decoded};
use super::data_set::fragments;
use super::file::{Codec, format_error, read_pixels};
use super::header::{FileHeader, FrameHeader, Rescale};
use super::pixel_format::{Photometric, PixelFormat, Samples};
use crate::{Error, Result};

/// The pixels of one file, as they are stored.
pub(super) struct StoredFrames<'a> {
    file: &'a FileHeader,
    bytes: Vec<u8>,
    /// Of encapsulated pixels: the fragments of every frame.
    fragments: Option<Vec<Vec<Range<usize>>>>,
}

impl<'a> StoredFrames<'a> {
    pub(super) fn read(file: &'a FileHeader, limit: u64) -> Result<Self> {
        Self::read_into(Vec::new(), file, limit)
    }

    /// As [`Self::read`], into memory that [`Self::into_memory`] gave back.
    pub(super) fn read_into(memory: Vec<u8>, file: &'a FileHeader, limit: u64) -> Result<Self> {
        let bytes = read_pixels(memory, file, limit)?;
        let fragments = match file.location.length {
            Some(_) => None,
            None => Some(frame_fragments(file, &bytes)?),
        };
        Ok(Self {
            file,
            bytes,
            fragments,
        })
    }

    /// The memory of the pixels, for those of another file.
    pub(super) fn into_memory(self) -> Vec<u8> {
        self.bytes
    }

    /// Intensities of a frame in the unit of the modality.
    pub(super) fn grey(&self, frame: &FrameHeader, out: &mut [f32]) -> Result<()> {
        let format = &self.file.format;
        if let Some((bytes, order)) = self.native(frame.index)? {
            native_grey(format, &bytes, order, frame.rescale, out);
        } else {
            let decoded = self
                .decoded(frame.index)
                .map_err(|text| self.problem(frame, &text))?;
            let scale = Scale::new(format, frame.rescale);
            for (out, &stored) in out.iter_mut().zip(&decoded.samples) {
                *out = scale.apply(stored);
            }
        }
        if let Some(lut) = &self.file.lut {
            for value in out {
                *value = lut.apply(*value);
            }
        }
        Ok(())
    }

    /// Decodes a compressed frame and drops it: the size of such frames cannot be checked otherwise, and one that is
    /// damaged must be told before memory is taken for its values.
    pub(super) fn check_decodes(&self, frame: &FrameHeader) -> Result<()> {
        if self.fragments.is_some() && self.native(frame.index)?.is_none() {
            self.decoded(frame.index)
                .map_err(|text| self.problem(frame, &text))?;
        }
        Ok(())
    }

    /// Red, green and blue of a frame, in 8 bits.
    pub(super) fn colour(&self, frame: &FrameHeader) -> Result<Vec<u8>> {
        let format = &self.file.format;
        let decoded = match self.native(frame.index)? {
            Some((bytes, order)) => native_samples(format, &bytes, order),
            None => self
                .decoded(frame.index)
                .map_err(|text| self.problem(frame, &text))?,
        };
        Ok(to_rgb(format, &decoded))
    }

    fn problem(&self, frame: &FrameHeader, text: &str) -> Error {
        let path = &self.file.path;
        if self.file.frames.len() > 1 {
            return format_error(path, format!("frame {}: {text}", frame.index + 1));
        }
        format_error(path, text)
    }

    /// The bytes of a frame without compression, starting at its first bit; `None` if it is compressed.
    fn native(&self, index: usize) -> Result<Option<(Cow<'_, [u8]>, ByteOrder)>> {
        let format = &self.file.format;
        let Some(Codec::Native(order)) = self.file.syntax.codec else {
            return Ok(None);
        };
        if let Some(fragments) = &self.fragments {
            let bytes = joined(&self.bytes, &fragments[index]);
            let needed = format.bits_of_frame().div_ceil(8);
            if bytes.len() < needed {
                return Err(self.truncated(needed, bytes.len()));
            }
            return Ok(Some((bytes, order)));
        }
        let bits = format.bits_of_frame();
        let (start, end) = (index * bits, (index + 1) * bits);
        let bytes = self.bytes.get(start / 8..end.div_ceil(8));
        let bytes = bytes.ok_or_else(|| self.truncated(end.div_ceil(8), self.bytes.len()))?;
        if start % 8 == 0 {
            return Ok(Some((Cow::Borrowed(bytes), order)));
        }
        // Frames of single bits follow each other without a gap.
        let shift = start % 8;
        let next = bytes.iter().skip(1).copied().chain([0]);
        let moved = bytes.iter().zip(next);
        let moved = moved.map(|(&low, high)| low >> shift | high << (8 - shift));
        Ok(Some((Cow::Owned(moved.collect()), order)))
    }

    fn truncated(&self, needed: usize, got: usize) -> Error {
        let problem =
            format!("truncated DICOM: {needed} bytes of pixels are needed, {got} are there");
        format_error(&self.file.path, problem)
    }

    fn decoded(&self, index: usize) -> Result<Decoded, String> {
        let syntax = &self.file.syntax;
        let codec = syntax
            .codec
            .ok_or_else(|| format!("{} cannot be decoded", syntax.name()))?;
        let fragments = self
            .fragments
            .as_ref()
            .ok_or_else(|| format!("{} without fragments", syntax.name()))?;
        let bytes = joined(&self.bytes, &fragments[index]);
        let decoded = codec::decode(codec, &bytes, &self.file.format)?;
        let format = &self.file.format;
        if decoded.samples.len() == format.pixels() * format.channels() {
            Ok(decoded)
        } else {
            Err(format!("{} samples came out", decoded.samples.len()))
        }
    }
}

fn joined<'a>(bytes: &'a [u8], fragments: &[Range<usize>]) -> Cow<'a, [u8]> {
    match fragments {
        [one] => Cow::Borrowed(&bytes[one.clone()]),
        many => Cow::Owned(
            many.iter()
                .flat_map(|r| &bytes[r.clone()])
                .copied()
                .collect(),
        ),
    }
}

/// Which fragments belong to which frame (PS3.5, A.4).
fn frame_fragments(file: &FileHeader, bytes: &[u8]) -> Result<Vec<Vec<Range<usize>>>> {
    let all = fragments(bytes).map_err(|problem| format_error(&file.path, problem.text()))?;
    let frames = file.frames.len();
    let Some((table, fragments)) = all.split_first() else {
        return Err(format_error(&file.path, "no fragments of pixels"));
    };
    if frames == 1 {
        return Ok(vec![fragments.to_vec()]);
    }
    if fragments.len() == frames {
        return Ok(fragments.iter().map(|one| vec![one.clone()]).collect());
    }
    // Offsets count from the head of the first fragment, 8 bytes before its content.
    let (offsets, _) = bytes[table.clone()].as_chunks::<4>();
    let origin = fragments.first().map_or(0, |first| first.start - 8);
    let starts: Vec<usize> = offsets
        .iter()
        .map(|&raw| origin + u32::from_le_bytes(raw) as usize)
        .collect();
    if starts.len() != frames {
        return Err(format_error(
            &file.path,
            format!(
                "{frames} frames in {} fragments without a table of their offsets",
                fragments.len()
            ),
        ));
    }
    let mut grouped = vec![Vec::new(); frames];
    for fragment in fragments {
        let frame = starts.partition_point(|&start| start <= fragment.start - 8);
        if let Some(group) = frame.checked_sub(1).and_then(|n| grouped.get_mut(n)) {
            group.push(fragment.clone());
        }
    }
    Ok(grouped)
}

/// From a stored value to the modality's unit.
struct Scale {
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
    fn new(format: &PixelFormat, rescale: Rescale) -> Self {
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

    fn apply(&self, stored: u16) -> f32 {
        let value = if self.signed {
            f64::from(self.signed_value(stored))
        } else {
            f64::from(self.unsigned_value(stored))
        };
        (value * self.rescale.slope + self.rescale.intercept) as f32
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

    // Overlay bits above the stored ones are shifted out.
    fn signed_value(&self, stored: u16) -> i16 {
        ((stored << self.above) as i16) >> (self.above + self.below)
    }

    fn unsigned_value(&self, stored: u16) -> u16 {
        (stored << self.above) >> (self.above + self.below)
    }
}

fn native_grey(
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
        (Samples::Signed, 32) => floats(Element::I32, bytes, order, rescale, out),
        (Samples::Unsigned, 32) => floats(Element::U32, bytes, order, rescale, out),
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

/// Samples of a colour image without compression, interleaved.
fn native_samples(format: &PixelFormat, bytes: &[u8], order: ByteOrder) -> Decoded {
    let stored: Vec<u16> = if format.bits_allocated == 8 {
        bytes.iter().map(|&v| u16::from(v)).collect()
    } else {
        let (pairs, _) = bytes.as_chunks::<2>();
        let big = order == ByteOrder::Big;
        let value = |&raw: &[u8; 2]| {
            if big {
                u16::from_be_bytes(raw)
            } else {
                u16::from_le_bytes(raw)
            }
        };
        pairs.iter().map(value).collect()
    };
    let (pixels, channels) = (format.pixels(), format.channels());
    let samples = if format.photometric == Photometric::Ybr422 {
        upsampled(format, &stored)
    } else if format.planar && channels > 1 {
        let sample = |n: usize| stored[n % channels * pixels + n / channels];
        (0..pixels * channels).map(sample).collect()
    } else {
        stored
    };
    Decoded {
        samples,
        channels,
        is_rgb: false,
    }
}

/// Two columns share their differences of colour: Y1 Y2 Cb Cr.
fn upsampled(format: &PixelFormat, stored: &[u16]) -> Vec<u16> {
    let pairs = format.columns.div_ceil(2);
    let mut samples = Vec::with_capacity(format.pixels() * 3);
    for line in stored.chunks_exact(pairs * 4).take(format.rows) {
        for column in 0..format.columns {
            let four = &line[column / 2 * 4..][..4];
            samples.extend([four[column % 2], four[2], four[3]]);
        }
    }
    samples
}

fn to_rgb(format: &PixelFormat, decoded: &Decoded) -> Vec<u8> {
    let shift = format.bits_stored.saturating_sub(8) as u32;
    let pixels = decoded.samples.chunks_exact(decoded.channels);
    match &format.photometric {
        Photometric::Palette(palette) => {
            let signed = format.samples == Samples::Signed;
            let value = |raw: u16| {
                if signed {
                    i64::from(raw as i16)
                } else {
                    i64::from(raw)
                }
            };
            pixels.flat_map(|p| palette.colour(value(p[0]))).collect()
        }
        Photometric::Ybr | Photometric::Ybr422 if !decoded.is_rgb => pixels
            .flat_map(|p| rgb_of_ybr([0, 1, 2].map(|n| f32::from(p[n] >> shift))))
            .collect(),
        _ => pixels
            .flatten()
            .map(|&v| (v >> shift).min(255) as u8)
            .collect(),
    }
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
        let stored = [10, 20, 1, 2, 30, 40, 3, 4];
        let samples = native_samples(&format, &stored, ByteOrder::Little).samples;
        assert_eq!(samples, [10, 1, 2, 20, 1, 2, 30, 3, 4]);
        format.photometric = Photometric::Rgb;
        format.columns = 2;
        format.planar = true;
        let samples = native_samples(&format, &[1, 2, 3, 4, 5, 6], ByteOrder::Little).samples;
        assert_eq!(samples, [1, 3, 5, 2, 4, 6]);
    }
}
