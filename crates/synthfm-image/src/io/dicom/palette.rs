//! Colours of PALETTE COLOR images (PS3.3, C.7.6.3.1.5), in 8 bits.

use super::data_set::Tag;
use super::file::Header;
use super::tags;
use super::values::Kind;
use crate::Result;

/// Colours from a first stored value on; values beyond either end get the colour of that end.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Palette {
    first: i64,
    colours: Vec<[u8; 3]>,
}

impl Palette {
    pub(super) fn read(header: &Header) -> Result<Self> {
        let mut channels = [const { Vec::new() }; 3];
        let mut first = 0;
        for (n, channel) in channels.iter_mut().enumerate() {
            let next = n as Tag;
            let descriptor = header
                .data
                .numbers(tags::RED_PALETTE_DESCRIPTOR + next, Kind::U16);
            let data = header.data.get(tags::RED_PALETTE_DATA + next);
            let (&[count, start, bits], Some(data)) = (&descriptor[..], data) else {
                let problem =
                    "a PALETTE COLOR image without lookup tables; segmented tables are not read";
                return Err(header.unsupported(problem));
            };
            first = start as i64;
            let count = if count < 1.0 { 65536 } else { count as usize };
            *channel = if bits > 8.0 || data.bytes.len() >= 2 * count {
                let (values, _) = data.bytes.as_chunks::<2>();
                let encoding = header.data.encoding();
                let bytes = values.iter().map(|&raw| encoding.u16(raw));
                let shift = if bits > 8.0 { 8 } else { 0 };
                bytes.take(count).map(|v| (v >> shift) as u8).collect()
            } else {
                data.bytes.iter().copied().take(count).collect()
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
