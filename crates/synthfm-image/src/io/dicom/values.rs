//! Values of DICOM elements as numbers and text.
//!
//! The representation that the file states decides; where it states none, the one that the standard gives the tag.

use super::super::element::ByteOrder;
use super::data_set::{DataSet, Element, Encoding, Tag};

/// Representations of numbers, for files that leave them out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// DS and IS: decimal text.
    Text,
    /// US.
    U16,
    /// SS.
    I16,
    /// UL.
    U32,
    /// FD.
    F64,
    /// FL.
    F32,
}

impl Kind {
    const fn of(vr: [u8; 2]) -> Option<Self> {
        Some(match &vr {
            b"DS" | b"IS" | b"LO" | b"SH" | b"CS" => Self::Text,
            b"US" | b"OW" => Self::U16,
            b"SS" => Self::I16,
            b"UL" => Self::U32,
            b"FD" => Self::F64,
            b"FL" => Self::F32,
            _ => return None,
        })
    }
}

/// Bytes of the longest text that is of use; longer ones are cut.
const MAX_TEXT: usize = 1024;
/// Characters of the longest UID.
const MAX_UID: usize = 64;

/// Padding and spaces around text.
fn trimmed(text: &str) -> &str {
    text.trim_matches(|c: char| c == '\0' || c.is_whitespace())
}

/// UTF-8 as it is, anything else as Latin-1.
pub(super) fn decoded(bytes: &[u8]) -> String {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return trimmed(text).to_owned();
    }
    let text: String = bytes.iter().map(|&b| char::from(b)).collect();
    trimmed(&text).to_owned()
}

/// Text that is copied and shown: at most [`MAX_TEXT`] bytes of it, control characters replaced.
pub(super) fn printable(bytes: &[u8]) -> String {
    let text = decoded(&bytes[..bytes.len().min(MAX_TEXT)]);
    let shown = |c: char| {
        if c.is_control() {
            char::REPLACEMENT_CHARACTER
        } else {
            c
        }
    };
    text.chars().map(shown).collect()
}

fn chunks<const N: usize>(bytes: &[u8], value: impl Fn([u8; N]) -> f64) -> Vec<f64> {
    let (values, _) = bytes.as_chunks::<N>();
    values.iter().map(|&raw| value(raw)).collect()
}

impl Element<'_> {
    /// Every value as a number; text that is none is left out.
    fn numbers(&self, implied: Kind, encoding: Encoding) -> Vec<f64> {
        let big = encoding.order == ByteOrder::Big;
        macro_rules! read {
            ($type:ty) => {
                chunks(self.bytes, |raw| {
                    let value = if big {
                        <$type>::from_be_bytes(raw)
                    } else {
                        <$type>::from_le_bytes(raw)
                    };
                    f64::from(value)
                })
            };
        }
        match Kind::of(self.vr).unwrap_or(implied) {
            Kind::Text => {
                let text = decoded(self.bytes);
                let values = text.split('\\').map(|part| trimmed(part).parse().ok());
                values.flatten().filter(|v: &f64| v.is_finite()).collect()
            }
            Kind::U16 => read!(u16),
            Kind::I16 => read!(i16),
            Kind::U32 => read!(u32),
            Kind::F32 => read!(f32),
            Kind::F64 => read!(f64),
        }
    }
}

impl DataSet<'_> {
    /// Text without padding, as [`printable`] gives it; `None` if it is absent or empty.
    pub(super) fn text(&self, tag: Tag) -> Option<String> {
        let text = printable(self.get(tag)?.bytes);
        (!text.is_empty()).then_some(text)
    }

    /// A UID, cut to the length that one can have; `None` if it is absent or empty.
    pub(super) fn uid(&self, tag: Tag) -> Option<String> {
        let text = self.text(tag)?;
        Some(text.chars().take(MAX_UID).collect())
    }

    /// Text of several values.
    pub(super) fn texts(&self, tag: Tag) -> Vec<String> {
        let text = self.text(tag).unwrap_or_default();
        let parts = text.split('\\').map(|part| trimmed(part).to_owned());
        parts.filter(|part| !part.is_empty()).collect()
    }

    /// All numbers of an element; none if it is absent.
    pub(super) fn numbers(&self, tag: Tag, implied: Kind) -> Vec<f64> {
        self.get(tag)
            .map(|element| element.numbers(implied, self.encoding()))
            .unwrap_or_default()
    }

    /// The first number of an element.
    pub(super) fn number(&self, tag: Tag, implied: Kind) -> Option<f64> {
        self.numbers(tag, implied).first().copied()
    }

    /// Exactly `N` numbers of text.
    pub(super) fn decimals<const N: usize>(&self, tag: Tag) -> Option<[f64; N]> {
        self.numbers(tag, Kind::Text).try_into().ok()
    }

    /// A number of 16 bits.
    pub(super) fn u16(&self, tag: Tag) -> Option<u16> {
        let value = self.number(tag, Kind::U16)?;
        (0.0..=65535.0).contains(&value).then_some(value as u16)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_short_and_without_control_characters() {
        assert_eq!(printable(b" M\xfcller^\x1b[31m\n "), "Müller^\u{fffd}[31m");
        assert_eq!(printable(&[b'x'; 5000]).len(), MAX_TEXT);
        let uid = Element {
            tag: 0x0008_0018,
            vr: *b"UI",
            bytes: &[b'1'; 300],
        };
        let data = DataSet::of(vec![uid], Encoding::EXPLICIT_LE, 0);
        assert_eq!(data.uid(0x0008_0018).map(|uid| uid.len()), Some(MAX_UID));
        assert_eq!(data.uid(0x0008_0016), None);
    }
}
