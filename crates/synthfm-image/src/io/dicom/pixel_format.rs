//! How pixels are stored (PS3.3, C.7.6.3): size, samples, bits, colours.

use super::file::Header;
use super::values::Kind;
use super::{palette::Palette, tags};
use crate::{Result, Size};

/// The meaning of a pixel's samples.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Photometric {
    /// One sample; with MONOCHROME1, `inverted`, small values are bright.
    Grey {
        /// Small values are bright.
        inverted: bool,
    },
    /// One sample that chooses a colour.
    Palette(Palette),
    Rgb,
    /// Luminance and two differences of colour (ITU-R BT.601, full range).
    Ybr,
    /// Luminance and two colour differences, these for every second column only.
    Ybr422,
}

/// Numbers that the samples are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Samples {
    Unsigned,
    Signed,
    F32,
    F64,
}

/// The layout of a frame.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct PixelFormat {
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) photometric: Photometric,
    /// All of one sample before the next one.
    pub(super) planar: bool,
    /// 1, 8, 16, 32 or 64.
    pub(super) bits_allocated: usize,
    pub(super) bits_stored: usize,
    /// Bits below the stored ones.
    pub(super) shift: usize,
    pub(super) samples: Samples,
}

impl PixelFormat {
    pub(super) fn read(header: &Header) -> Result<Self> {
        let data = &header.data;
        let side = |tag, name: &str| match data.u16(tag) {
            Some(side) if side > 0 => Ok(usize::from(side)),
            Some(_) => Err(header.damaged(format!("{name} is 0: there are no pixels"))),
            None => Err(header.damaged(format!("{name} is missing: not an image"))),
        };
        let (rows, columns) = (side(tags::ROWS, "Rows")?, side(tags::COLUMNS, "Columns")?);
        let allocated = data.u16(tags::BITS_ALLOCATED).map_or(16, usize::from);
        let stored = data.u16(tags::BITS_STORED).map_or(allocated, usize::from);
        let high = data
            .u16(tags::HIGH_BIT)
            .map_or(stored.max(1) - 1, usize::from);
        let float = header.location.map_or(0, |location| location.tag);
        let samples = match float {
            tags::FLOAT_PIXEL_DATA => Samples::F32,
            tags::DOUBLE_FLOAT_PIXEL_DATA => Samples::F64,
            _ if data.u16(tags::PIXEL_REPRESENTATION) == Some(1) => Samples::Signed,
            _ => Samples::Unsigned,
        };
        let bits_fit = match samples {
            Samples::F32 => allocated == 32,
            Samples::F64 => allocated == 64,
            _ => {
                matches!(allocated, 1 | 8 | 16 | 32)
                    && (1..=allocated).contains(&stored)
                    && high < allocated
                    && high + 1 >= stored
            }
        };
        if !bits_fit {
            return Err(header.unsupported(format!(
                "pixels of {allocated} bits with {stored} stored up to bit {high}; 1, 8, 16 and 32 bits are"
            )));
        }
        let photometric = photometric(header, samples == Samples::Signed)?;
        if photometric.channels() == 3 && !matches!(allocated, 8 | 16 | 32) {
            let problem = format!("colour pixels of {allocated} bits; 8, 16 and 32 are");
            return Err(header.unsupported(problem));
        }
        Ok(Self {
            rows,
            columns,
            photometric,
            planar: data.u16(tags::PLANAR_CONFIGURATION) == Some(1),
            bits_allocated: allocated,
            bits_stored: stored,
            shift: (high + 1).saturating_sub(stored),
            samples,
        })
    }

    pub(super) const fn size(&self) -> Size {
        Size::new(self.rows, self.columns)
    }

    pub(super) const fn pixels(&self) -> usize {
        self.rows * self.columns
    }

    /// Samples of a pixel in the file.
    pub(super) fn channels(&self) -> usize {
        self.photometric.channels()
    }

    pub(super) fn is_colour(&self) -> bool {
        !matches!(self.photometric, Photometric::Grey { .. })
    }

    pub(super) fn inverted(&self) -> bool {
        self.photometric == Photometric::Grey { inverted: true }
    }

    /// The format of samples that were unpacked to interleaved samples of whole bytes.
    pub(super) fn in_bytes(&self) -> Self {
        let photometric = match &self.photometric {
            Photometric::Ybr422 => Photometric::Ybr,
            other => other.clone(),
        };
        Self {
            photometric,
            planar: false,
            bits_allocated: self.bits_allocated.next_multiple_of(8),
            ..self.clone()
        }
    }

    /// Bits of one frame as it is stored without compression.
    pub(super) fn bits_of_frame(&self) -> usize {
        let samples = match self.photometric {
            // Two pixels are four samples; an odd last column takes two of its own.
            Photometric::Ybr422 => self.rows * self.columns.div_ceil(2) * 4,
            _ => self.pixels() * self.channels(),
        };
        samples * self.bits_allocated
    }

    /// Bytes of so many frames without compression; `None` if they are too many to count.
    pub(super) fn bytes_of_frames(&self, count: usize) -> Option<usize> {
        Some(self.bits_of_frame().checked_mul(count)?.div_ceil(8))
    }
}

impl Photometric {
    pub(super) const fn channels(&self) -> usize {
        match self {
            Self::Grey { .. } | Self::Palette(_) => 1,
            Self::Rgb | Self::Ybr | Self::Ybr422 => 3,
        }
    }
}

fn photometric(header: &Header, signed: bool) -> Result<Photometric> {
    let data = &header.data;
    let samples = data.number(tags::SAMPLES_PER_PIXEL, Kind::U16);
    let name = data.text(tags::PHOTOMETRIC_INTERPRETATION);
    let photometric = match name.as_deref() {
        Some("MONOCHROME1") => Photometric::Grey { inverted: true },
        Some("MONOCHROME2") => Photometric::Grey { inverted: false },
        None if samples.unwrap_or(1.0) < 2.0 => Photometric::Grey { inverted: false },
        Some("PALETTE COLOR") => Photometric::Palette(Palette::read(header, signed)?),
        // JPEG 2000's own transformations are undone by its decoder.
        Some("RGB" | "YBR_ICT" | "YBR_RCT") | None => Photometric::Rgb,
        Some("YBR_FULL") => Photometric::Ybr,
        Some("YBR_FULL_422") => Photometric::Ybr422,
        Some(other) => {
            let problem = format!(
                "photometric interpretation {other}; MONOCHROME1, MONOCHROME2, RGB, YBR_FULL, YBR_FULL_422, YBR_ICT, \
                 YBR_RCT and PALETTE COLOR are"
            );
            return Err(header.unsupported(problem));
        }
    };
    let expected = photometric.channels() as f64;
    match samples {
        Some(samples) if (samples - expected).abs() > 0.5 => Err(header.damaged(format!(
            "{samples} samples per pixel do not fit {}",
            name.unwrap_or_default()
        ))),
        _ => Ok(photometric),
    }
}
