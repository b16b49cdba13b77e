//! Lookup tables as they are stored (PS3.3, C.7.6.3.1.5 and C.11.1), and the one from stored values to the modality's
//! unit where no line does it.

use super::data_set::{DataSet, Element, Encoding, Tag};
use super::file::Header;
use super::tags;
use super::values::Kind;
use crate::Result;
use crate::io::element::ByteOrder;

/// Entries of a table with a descriptor of 0, and the most that any table can have.
pub(super) const MOST_ENTRIES: usize = 1 << 16;

/// The three values that describe a table: its length, its first input and its depth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Descriptor {
    pub(super) count: usize,
    /// The value that the first entry is for.
    pub(super) first: i64,
    /// Bits of an entry.
    pub(super) bits: u32,
}

impl Descriptor {
    /// The descriptor of a table for signed or unsigned values; `None` if it is absent or empty.
    ///
    /// Files with implicit value representations do not say whether the first value is signed, and some with explicit
    /// ones call all three numbers alike: the values that are looked up decide.
    pub(super) fn read(item: &DataSet, tag: Tag, signed: bool) -> Option<Self> {
        let &[count, first, bits] = &item.numbers(tag, Kind::U16)[..] else {
            return None;
        };
        let [count, first, bits] = [count, first, bits].map(|v| v as i64);
        Some(Self {
            count: match count.rem_euclid(MOST_ENTRIES as i64) as usize {
                0 => MOST_ENTRIES,
                count => count,
            },
            first: if signed && first > i64::from(i16::MAX) {
                first - MOST_ENTRIES as i64
            } else {
                first
            },
            bits: bits.clamp(0, 16) as u32,
        })
    }

    /// The entries of a table, and whether they are words; bytes lie two in a word or one in each.
    pub(super) fn entries(self, data: &Element, encoding: Encoding) -> (Vec<u16>, bool) {
        let bytes = data.bytes;
        let are_words =
            bytes.len() >= 2 * self.count || (self.bits > 8 && bytes.len() < self.count);
        let entries = if are_words {
            words(bytes, encoding)
        } else {
            bytes_of(data, encoding)
        };
        (entries.into_iter().take(self.count).collect(), are_words)
    }
}

/// All words of a value.
pub(super) fn words(bytes: &[u8], encoding: Encoding) -> Vec<u16> {
    let (pairs, _) = bytes.as_chunks::<2>();
    pairs.iter().map(|&raw| encoding.u16(raw)).collect()
}

/// All bytes of a value; in words the lower one is the first.
pub(super) fn bytes_of(data: &Element, encoding: Encoding) -> Vec<u16> {
    if encoding.order == ByteOrder::Big && data.vr == *b"OW" {
        let words = words(data.bytes, encoding);
        return words.iter().flat_map(|v| [v & 0xff, v >> 8]).collect();
    }
    data.bytes.iter().map(|&v| u16::from(v)).collect()
}

/// Values from a first stored value on; values beyond either end get that of the end.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ModalityLut {
    first: f64,
    values: Vec<f32>,
    /// Entries that the descriptor announces.
    announced: usize,
}

impl ModalityLut {
    /// The table of a file with signed or unsigned pixels; `None` if there is none, or only an empty item.
    pub(super) fn read(header: &Header, signed: bool) -> Result<Option<Self>> {
        let Some(item) = header.check(header.data.item_of(tags::MODALITY_LUT_SEQUENCE))? else {
            return Ok(None);
        };
        let descriptor = Descriptor::read(&item, tags::LUT_DESCRIPTOR, signed);
        let data = item
            .get(tags::LUT_DATA)
            .filter(|data| !data.bytes.is_empty());
        match (descriptor, data) {
            (Some(descriptor), Some(data)) => {
                let (entries, _) = descriptor.entries(data, item.encoding());
                Ok(Some(Self {
                    announced: descriptor.count,
                    first: descriptor.first as f64,
                    values: entries.into_iter().map(f32::from).collect(),
                }))
            }
            (None, None) => Ok(None),
            (None, Some(_)) => Err(header.damaged("a modality lookup table without descriptor")),
            (Some(_), None) => Err(header.damaged("the modality lookup table is empty")),
        }
    }

    /// A remark on a table that is shorter than announced.
    pub(super) fn note(&self) -> Option<String> {
        let (held, announced) = (self.values.len(), self.announced);
        (held < announced).then(|| {
            format!(
                "the modality lookup table holds {held} of its {announced} entries: values beyond them get that of the last"
            )
        })
    }

    pub(super) fn apply(&self, stored: f32) -> f32 {
        let last = (self.values.len() - 1) as f64;
        let index = (f64::from(stored) - self.first).clamp(0.0, last);
        self.values[index as usize]
    }

    /// The values of both ends together, about which values are mirrored.
    pub(super) fn ends(&self) -> f32 {
        let range =
            |least: fn(f32, f32) -> f32, start| self.values.iter().copied().fold(start, least);
        range(f32::min, f32::INFINITY) + range(f32::max, f32::NEG_INFINITY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BIG: Encoding = Encoding {
        explicit: true,
        order: ByteOrder::Big,
    };

    fn element(tag: Tag, vr: [u8; 2], bytes: &[u8]) -> Element<'_> {
        Element { tag, vr, bytes }
    }

    #[test]
    fn first_values_are_signed_where_pixels_are() {
        // 4 entries from -1024 (0xfc00) on, of 16 bits.
        let raw = [4, 0, 0x00, 0xfc, 16, 0];
        for (vr, signed, first) in [
            (*b"??", true, -1024),
            (*b"??", false, 64_512),
            (*b"US", true, -1024),
            (*b"SS", true, -1024),
        ] {
            let all = [element(tags::LUT_DESCRIPTOR, vr, &raw)];
            let item = DataSet::of(all.to_vec(), Encoding::EXPLICIT_LE, 0);
            let found = Descriptor::read(&item, tags::LUT_DESCRIPTOR, signed).unwrap();
            assert_eq!(
                (found.first, found.count, found.bits),
                (first, 4, 16),
                "{vr:?}"
            );
        }
        // As SS even the count may look negative: 40000, and 0 for 65536.
        for (raw, count) in [
            ([0x40, 0x9c, 0, 0, 8, 0], 40_000),
            ([0, 0, 0, 0, 8, 0], 65_536),
        ] {
            let all = [element(tags::LUT_DESCRIPTOR, *b"SS", &raw)];
            let item = DataSet::of(all.to_vec(), Encoding::EXPLICIT_LE, 0);
            let found = Descriptor::read(&item, tags::LUT_DESCRIPTOR, false).unwrap();
            assert_eq!(found.count, count);
        }
    }

    #[test]
    fn entries_are_words_or_bytes_in_words() {
        let table = |count, bits| Descriptor {
            count,
            first: 0,
            bits,
        };
        let raw = [1, 2, 3, 4];
        let entries = |count, bits, vr, encoding| {
            table(count, bits).entries(&element(tags::LUT_DATA, vr, &raw), encoding)
        };
        let little = Encoding::EXPLICIT_LE;
        assert_eq!(entries(2, 16, *b"OW", little), (vec![0x201, 0x403], true));
        assert_eq!(entries(2, 16, *b"OW", BIG), (vec![0x102, 0x304], true));
        assert_eq!(entries(2, 8, *b"OW", little), (vec![0x201, 0x403], true));
        assert_eq!(entries(3, 8, *b"OW", little), (vec![1, 2, 3], false));
        assert_eq!(entries(4, 8, *b"OW", BIG), (vec![2, 1, 4, 3], false));
        assert_eq!(entries(4, 8, *b"OB", BIG), (vec![1, 2, 3, 4], false));
        assert_eq!(entries(4, 16, *b"OW", little), (vec![1, 2, 3, 4], false));
    }
}
