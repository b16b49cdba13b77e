//! Stored values that stand for no pixel of the patient (PS3.3, C.7.5.1.1.2), such as those outside a round field.

use super::data_set::DataSet;
use super::frame_header::{FrameHeader, Rescale};
use super::header::FileHeader;
use super::pixel_format::{PixelFormat, Samples};
use super::samples::Scale;
use super::tags;
use super::values::Kind;

/// Both ends of a range of stored values, in either order.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Padding([f64; 2]);

impl Padding {
    /// The padding of a file; `None` if it states none, or is in colours.
    pub(super) fn read(data: &DataSet, format: &PixelFormat) -> Option<Self> {
        if format.is_colour() || matches!(format.samples, Samples::F32 | Samples::F64) {
            return None;
        }
        let scale = Scale::new(format, Rescale::NONE);
        let value = |tag| {
            let value = data.number(tag, Kind::U16)?;
            // Bits that are not stored are not in the pixels either, and negative values may be called unsigned.
            let raw = value.rem_euclid(65_536.0) as u16;
            Some(if format.bits_allocated > 16 {
                value
            } else {
                f64::from(scale.apply(raw))
            })
        };
        let from = value(tags::PIXEL_PADDING_VALUE)?;
        let to = value(tags::PIXEL_PADDING_RANGE_LIMIT).unwrap_or(from);
        Some(Self([from, to]))
    }

    /// The range in the modality's unit, the lower end first, as a frame's values have it.
    pub(super) fn of_values(self, file: &FileHeader, frame: &FrameHeader) -> [f32; 2] {
        let Rescale { slope, intercept } = file.rescale_of(frame);
        let [a, b] = self.0.map(|stored| {
            let value = (stored * slope + intercept) as f32;
            file.lut.as_ref().map_or(value, |lut| lut.apply(value))
        });
        [a.min(b), a.max(b)]
    }
}
