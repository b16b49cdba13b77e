//! Windows bitmaps in: 1, 4, 8, 24 and 32 bits per pixel without compression.

use super::Picture;
use super::pages::{collected, reserved};
use super::source::Source;
use crate::{Image, LabelMap, Result, RgbImage, Size};

const FILE_HEADER_BYTES: usize = 14;
/// `BITMAPINFOHEADER`; later headers begin with it.
const INFO_BYTES: usize = 40;
/// Colours in masks, which must be the usual ones.
const BIT_FIELDS: u32 = 3;

struct Bitmap<'a> {
    size: Size,
    bits: usize,
    top_down: bool,
    /// Blue, green, red, unused.
    palette: Vec<[u8; 4]>,
    pixels: &'a [u8],
}

pub(super) fn read_picture(source: &Source) -> Result<Picture> {
    let bitmap = Bitmap::parse(source)?;
    let colours = bitmap.values().map(|value| bitmap.colour(value));
    let colours = collected(bitmap.size.area(), colours).map_err(|error| source.io_error(error))?;
    let is_grey = bitmap.bits <= 8 && bitmap.palette.iter().all(|[b, g, r, _]| b == g && g == r);
    if is_grey {
        let data = colours.iter().map(|c| f32::from(c[0]));
        let data = collected(colours.len(), data).map_err(|error| source.io_error(error))?;
        return Ok(Picture::Grey(Image::new(bitmap.size, data)?));
    }
    let data = colours.into_flattened();
    Ok(Picture::Rgb(RgbImage::new(bitmap.size, data)?))
}

/// Indices of a palette, or grey values.
pub(super) fn read_label_map(source: &Source) -> Result<LabelMap> {
    let bitmap = Bitmap::parse(source)?;
    let mut labels = reserved(bitmap.size.area()).map_err(|error| source.io_error(error))?;
    for value in bitmap.values() {
        if bitmap.bits <= 8 {
            labels.push(value as u16);
            continue;
        }
        let [red, green, blue] = bitmap.colour(value);
        if red != green || green != blue {
            let problem = "labels in a colour bitmap; store them as grey values or palette indices";
            return Err(source.unsupported(problem));
        }
        labels.push(u16::from(red));
    }
    LabelMap::new(bitmap.size, labels)
}

impl<'a> Bitmap<'a> {
    fn parse(source: &'a Source) -> Result<Self> {
        let bytes = source.bytes();
        let truncated = || source.format_error("truncated BMP");
        let number = |at: usize| {
            let raw = bytes.get(at..).and_then(|b| b.first_chunk::<4>());
            raw.map(|&raw| u32::from_le_bytes(raw))
                .ok_or_else(truncated)
        };
        let offset = number(10)? as usize;
        let info = number(FILE_HEADER_BYTES)? as usize;
        if info < INFO_BYTES {
            return Err(source.unsupported("a BMP of OS/2; bitmaps of Windows are"));
        }
        let (width, height) = (number(18)? as i32, number(22)? as i32);
        let bits = (number(28)? & 0xffff) as usize;
        let compression = number(30)?;
        let masks_are_usual = compression != BIT_FIELDS
            || [number(54)?, number(58)?, number(62)?] == [0x00ff_0000, 0xff00, 0xff];
        let is_plain = compression == 0 || (compression == BIT_FIELDS && bits == 32);
        if !matches!(bits, 1 | 4 | 8 | 24 | 32) || !is_plain || !masks_are_usual {
            return Err(source.unsupported(format!(
                "a BMP of {bits} bits with compression {compression}; 1, 4, 8, 24 and 32 bits without are"
            )));
        }
        let size = Size::new(height.unsigned_abs() as usize, width.max(0) as usize);
        if size.width == 0 || size.height == 0 {
            return Err(source.format_error("the BMP has no pixels"));
        }
        source.check_bytes(
            (size.width as u64)
                .checked_mul(size.height as u64)
                .and_then(|n| n.checked_mul(8)),
        )?;
        let stored = stride(size.width, bits).saturating_mul(size.height);
        let pixels = bytes
            .get(offset..)
            .filter(|pixels| pixels.len() >= stored)
            .ok_or_else(truncated)?;
        Ok(Self {
            size,
            bits,
            top_down: height < 0,
            palette: palette(bytes, FILE_HEADER_BYTES + info, number(46)?, bits)
                .ok_or_else(truncated)?,
            pixels,
        })
    }

    /// Stored values from the top left on; those above 8 bits as blue, green, red from the lowest byte.
    fn values(&self) -> impl Iterator<Item = u32> + '_ {
        let stride = stride(self.size.width, self.bits);
        (0..self.size.height).flat_map(move |row| {
            let row = if self.top_down {
                row
            } else {
                self.size.height - 1 - row
            };
            let line = &self.pixels[row * stride..][..stride];
            (0..self.size.width).map(move |col| match self.bits {
                24 | 32 => {
                    let at = col * self.bits / 8;
                    u32::from_le_bytes([line[at], line[at + 1], line[at + 2], 0])
                }
                bits => {
                    let per_byte = 8 / bits;
                    let shift = 8 - bits * (col % per_byte + 1);
                    u32::from(line[col / per_byte] >> shift) & ((1 << bits) - 1)
                }
            })
        })
    }

    /// Red, green, blue; indices beyond the palette are black.
    fn colour(&self, value: u32) -> [u8; 3] {
        let [blue, green, red, _] = if self.bits <= 8 {
            self.palette
                .get(value as usize)
                .copied()
                .unwrap_or_default()
        } else {
            value.to_le_bytes()
        };
        [red, green, blue]
    }
}

/// Bytes of a line: whole groups of four.
fn stride(width: usize, bits: usize) -> usize {
    width.saturating_mul(bits).div_ceil(32) * 4
}

fn palette(bytes: &[u8], start: usize, used: u32, bits: usize) -> Option<Vec<[u8; 4]>> {
    if bits > 8 {
        return Some(Vec::new());
    }
    let all = 1usize << bits;
    let count = if used == 0 {
        all
    } else {
        (used as usize).min(all)
    };
    let (colours, _) = bytes
        .get(start..start.checked_add(4 * count)?)?
        .as_chunks::<4>();
    Some(colours.to_vec())
}
