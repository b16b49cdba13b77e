//! Colours of PALETTE COLOR images (PS3.3, C.7.6.3.1.5 and C.7.9.2), in 8 bits.

use super::data_set::{Element, Encoding, Tag};
use super::file::Header;
use super::lut::{Descriptor, bytes_of, words};
use super::tags;
use crate::Result;

/// Segments that others refer to must be runs or lines themselves.
const MAX_DEPTH: usize = 1;

/// Colours from a first stored value on; values beyond either end get the colour of that end.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Palette {
    first: i64,
    colours: Vec<[u8; 3]>,
}

impl Palette {
    /// The palette of a file with signed or unsigned pixels.
    pub(super) fn read(header: &Header, signed: bool) -> Result<Self> {
        let mut channels = [const { Vec::new() }; 3];
        let mut first = 0;
        for (n, channel) in channels.iter_mut().enumerate() {
            let next = n as Tag;
            let tag = tags::RED_PALETTE_DESCRIPTOR + next;
            let descriptor = Descriptor::read(&header.data, tag, signed);
            let plain = header.data.get(tags::RED_PALETTE_DATA + next);
            let segmented = header.data.get(tags::RED_PALETTE_SEGMENTS + next);
            let Some(descriptor) = descriptor else {
                return Err(header.damaged("a PALETTE COLOR image without lookup tables"));
            };
            first = descriptor.first;
            let encoding = header.data.encoding();
            *channel = match (plain, segmented) {
                (Some(data), _) if !data.bytes.is_empty() => {
                    plain_channel(descriptor, data, encoding)
                }
                (_, Some(data)) => segmented_channel(descriptor, data, encoding)
                    .map_err(|problem| header.damaged(problem))?,
                _ => return Err(header.damaged("a PALETTE COLOR image without lookup tables")),
            };
        }
        let [red, green, blue] = &channels;
        let colours: Vec<[u8; 3]> = red
            .iter()
            .zip(green)
            .zip(blue)
            .map(|((&r, &g), &b)| [r, g, b])
            .collect();
        if colours.is_empty() {
            return Err(header.damaged("the colour lookup tables are empty"));
        }
        Ok(Self { first, colours })
    }

    pub(super) fn colour(&self, value: i64) -> [u8; 3] {
        let last = self.colours.len() - 1;
        let index = value.saturating_sub(self.first).clamp(0, last as i64);
        self.colours[index as usize]
    }
}

fn plain_channel(descriptor: Descriptor, data: &Element, encoding: Encoding) -> Vec<u8> {
    let (entries, are_words) = descriptor.entries(data, encoding);
    let shift = if are_words && descriptor.bits > 8 {
        8
    } else {
        0
    };
    entries.iter().map(|v| (v >> shift) as u8).collect()
}

fn segmented_channel(
    descriptor: Descriptor,
    data: &Element,
    encoding: Encoding,
) -> Result<Vec<u8>, String> {
    let wide = descriptor.bits > 8;
    let numbers = if wide {
        words(data.bytes, encoding)
    } else {
        bytes_of(data, encoding)
    };
    let mut entries = Vec::new();
    let expansion = Expansion {
        numbers: &numbers,
        wide,
        most: descriptor.count,
    };
    expansion.segments(0, usize::MAX, 0, &mut entries)?;
    let shift = if wide { 8 } else { 0 };
    Ok(entries.iter().map(|v| (v >> shift) as u8).collect())
}

/// The segments of a table: runs of values, lines between them, and references to earlier segments.
struct Expansion<'a> {
    numbers: &'a [u16],
    wide: bool,
    /// Entries of the table.
    most: usize,
}

impl Expansion<'_> {
    /// Expands up to `count` segments from number `at` on.
    fn segments(
        &self,
        mut at: usize,
        count: usize,
        depth: usize,
        entries: &mut Vec<u16>,
    ) -> Result<(), String> {
        const DAMAGED: &str =
            "damaged DICOM: a segmented colour lookup table with a segment of no length or no end";
        for _ in 0..count {
            // A byte of padding may follow the last segment.
            let Some(&[kind, length]) = self
                .numbers
                .get(at..at.saturating_add(2))
                .and_then(<[u16]>::first_chunk)
            else {
                return Ok(());
            };
            if entries.len() >= self.most {
                return Ok(());
            }
            let length = usize::from(length);
            let left = self.most - entries.len();
            at += 2;
            match kind {
                // Each segment of a reference adds something, which bounds the time that it takes.
                0 | 1 if length == 0 && depth > 0 => return Err(DAMAGED.to_owned()),
                0 => {
                    let values = self.numbers.get(at..at + length).ok_or(DAMAGED)?;
                    entries.extend(&values[..length.min(left)]);
                    at += length;
                }
                1 => {
                    let &end = self.numbers.get(at).ok_or(DAMAGED)?;
                    let &start = entries.last().ok_or(
                        "damaged DICOM: a segmented colour lookup table begins with a line",
                    )?;
                    entries.extend(line(start, end, length).take(left));
                    at += 1;
                }
                2 if depth < MAX_DEPTH => {
                    let (from, used) = self.offset(at).ok_or(DAMAGED)?;
                    self.segments(from, length, depth + 1, entries)?;
                    at += used;
                }
                _ => {
                    return Err(format!(
                        "damaged DICOM: segment of kind {kind} in a colour lookup table"
                    ));
                }
            }
        }
        Ok(())
    }

    /// A byte offset as the number that it leads to, and the numbers that it takes.
    fn offset(&self, at: usize) -> Option<(usize, usize)> {
        if self.wide {
            let &[low, high] = self.numbers.get(at..at + 2)?.first_chunk()?;
            let bytes = usize::from(low) | usize::from(high) << 16;
            return Some((bytes / 2, 2));
        }
        let bytes = self.numbers.get(at..at + 4)?;
        let offset = bytes.iter().rev().fold(0, |n, &b| n << 8 | usize::from(b));
        Some((offset, 4))
    }
}

/// `length` values in even steps, the last of which is `end`; halves go to the even neighbour.
fn line(start: u16, end: u16, length: usize) -> impl Iterator<Item = u16> {
    let (start, end) = (f64::from(start), f64::from(end));
    let step = (end - start) / length as f64;
    (1..=length).map(move |n| (start + step * n as f64).round_ties_even() as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(bits: u32, count: usize, bytes: &[u8]) -> Result<Vec<u8>, String> {
        let descriptor = Descriptor {
            count,
            first: 0,
            bits,
        };
        let data = Element {
            tag: tags::RED_PALETTE_SEGMENTS,
            vr: *b"OW",
            bytes,
        };
        segmented_channel(descriptor, &data, Encoding::EXPLICIT_LE)
    }

    #[test]
    fn runs_lines_and_references() {
        // 5 and 9; a line of 4 to 13; both again, from byte 0 on; padding.
        let bytes = [0, 2, 5, 9, 1, 4, 13, 2, 2, 0, 0, 0, 0, 0];
        let want = [5, 9, 10, 11, 12, 13, 5, 9, 10, 11, 12, 13];
        assert_eq!(expanded(8, 12, &bytes).unwrap(), want);
        assert_eq!(expanded(8, 7, &bytes).unwrap(), want[..7]);
        let words: Vec<u8> = [0u16, 2, 0x500, 0x900, 1, 4, 0xd00, 2, 2, 0, 0]
            .iter()
            .flat_map(|v| v.to_le_bytes())
            .collect();
        assert_eq!(expanded(16, 12, &words).unwrap(), want);
    }

    #[test]
    fn damaged_segments_are_errors_not_hangs() {
        for bytes in [
            &[0, 9, 1][..],
            &[1, 3, 4],
            &[3, 1, 1],
            &[0, 1, 7, 2, 1, 0, 0],
            // Segments that refer to themselves.
            &[0, 1, 7, 2, 255, 3, 0, 0, 0],
        ] {
            assert!(expanded(8, 65_536, bytes).is_err(), "{bytes:?}");
        }
    }
}
