//! DICOM data sets out (PS3.5, section 7): elements in ascending order, values padded to even length.

use super::super::dicom::tags;

type Tag = u32;

/// Whether elements state their value representation; without it values may be longer than 64 KiB of text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Syntax {
    ExplicitLittleEndian,
    ImplicitLittleEndian,
}

impl Syntax {
    const fn uid(self) -> &'static str {
        match self {
            Self::ExplicitLittleEndian => "1.2.840.10008.1.2.1",
            Self::ImplicitLittleEndian => "1.2.840.10008.1.2",
        }
    }
}

enum Value {
    Bytes(Vec<u8>),
    Items(Vec<DataSet>),
}

struct Element {
    tag: Tag,
    vr: [u8; 2],
    value: Value,
}

/// A data set under construction.
#[derive(Default)]
pub(super) struct DataSet {
    elements: Vec<Element>,
}

impl DataSet {
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// Bytes as they are, with padding.
    pub(super) fn bytes(&mut self, tag: Tag, vr: [u8; 2], bytes: &[u8]) {
        let mut bytes = bytes.to_vec();
        if bytes.len() % 2 == 1 {
            let pad = if matches!(&vr, b"UI" | b"OB" | b"UN") {
                0
            } else {
                b' '
            };
            bytes.push(pad);
        }
        self.elements.push(Element {
            tag,
            vr,
            value: Value::Bytes(bytes),
        });
    }

    pub(super) fn text(&mut self, tag: Tag, vr: [u8; 2], text: &str) {
        self.bytes(tag, vr, text.as_bytes());
    }

    /// Decimal strings.
    pub(super) fn decimals(&mut self, tag: Tag, values: &[f64]) {
        let words: Vec<String> = values.iter().map(|&v| decimal(v)).collect();
        self.text(tag, *b"DS", &words.join("\\"));
    }

    /// An integer string.
    pub(super) fn integer(&mut self, tag: Tag, value: i64) {
        self.text(tag, *b"IS", &value.to_string());
    }

    pub(super) fn u16s(&mut self, tag: Tag, values: &[u16]) {
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.bytes(tag, *b"US", &bytes);
    }

    pub(super) fn u32s(&mut self, tag: Tag, values: &[u32]) {
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.bytes(tag, *b"UL", &bytes);
    }

    /// A tag as a value.
    pub(super) fn pointer(&mut self, tag: Tag, to: Tag) {
        let [group, element] = [(to >> 16) as u16, to as u16].map(u16::to_le_bytes);
        self.bytes(tag, *b"AT", &[group, element].concat());
    }

    pub(super) fn sequence(&mut self, tag: Tag, items: Vec<Self>) {
        self.elements.push(Element {
            tag,
            vr: *b"SQ",
            value: Value::Items(items),
        });
    }

    /// The data set's bytes; `None` if a value is too long for the syntax.
    fn encode(mut self, syntax: Syntax) -> Option<Vec<u8>> {
        self.elements.sort_by_key(|element| element.tag);
        let mut out = Vec::new();
        for Element { tag, vr, value } in self.elements {
            let bytes = match value {
                Value::Bytes(bytes) => bytes,
                Value::Items(items) => encode_items(items, syntax)?,
            };
            push_head(&mut out, tag, vr, bytes.len(), syntax)?;
            out.extend(bytes);
        }
        Some(out)
    }

    /// A whole file: preamble, file meta information and this data set, which must name its SOP class and instance.
    pub(super) fn into_file(self, syntax: Syntax, class: &str, instance: &str) -> Option<Vec<u8>> {
        let mut meta = Self::new();
        meta.bytes(0x0002_0001, *b"OB", &[0, 1]);
        meta.text(0x0002_0002, *b"UI", class);
        meta.text(0x0002_0003, *b"UI", instance);
        meta.text(tags::TRANSFER_SYNTAX_UID, *b"UI", syntax.uid());
        meta.text(0x0002_0012, *b"UI", super::dicom_object::IMPLEMENTATION_UID);
        meta.text(0x0002_0013, *b"SH", super::dicom_object::IMPLEMENTATION);
        let meta = meta.encode(Syntax::ExplicitLittleEndian)?;
        let mut length = Self::new();
        length.u32s(0x0002_0000, &[meta.len() as u32]);
        let mut out = vec![0; 128];
        out.extend(b"DICM");
        out.extend(length.encode(Syntax::ExplicitLittleEndian)?);
        out.extend(meta);
        out.extend(self.encode(syntax)?);
        Some(out)
    }
}

fn encode_items(items: Vec<DataSet>, syntax: Syntax) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    for item in items {
        let bytes = item.encode(syntax)?;
        out.extend([0xfe, 0xff, 0x00, 0xe0]);
        out.extend(u32::try_from(bytes.len()).ok()?.to_le_bytes());
        out.extend(bytes);
    }
    Some(out)
}

fn push_head(
    out: &mut Vec<u8>,
    tag: Tag,
    vr: [u8; 2],
    length: usize,
    syntax: Syntax,
) -> Option<()> {
    out.extend(((tag >> 16) as u16).to_le_bytes());
    out.extend((tag as u16).to_le_bytes());
    let length = u32::try_from(length).ok()?;
    if syntax == Syntax::ImplicitLittleEndian {
        out.extend(length.to_le_bytes());
        return Some(());
    }
    out.extend(vr);
    if matches!(&vr, b"OB" | b"OW" | b"SQ" | b"UN" | b"UT") {
        out.extend([0, 0]);
        out.extend(length.to_le_bytes());
    } else {
        out.extend(u16::try_from(length).ok()?.to_le_bytes());
    }
    Some(())
}

/// A decimal string of at most 16 characters, the nearest to `value` that there is.
fn decimal(value: f64) -> String {
    const MOST: usize = 16;
    let shortest = format!("{value}");
    if shortest.len() <= MOST {
        return shortest;
    }
    // Numbers far from 1 in scientific notation, others with as many decimals as fit.
    let fitting = |text: &String| text.len() <= MOST;
    let fixed = (0..=14).rev().map(|n| format!("{value:.n$}")).find(fitting);
    let scientific = (0..=10)
        .rev()
        .map(|n| format!("{value:.n$e}"))
        .find(fitting);
    let error = |text: &Option<String>| {
        let parsed = text.as_ref().and_then(|text| text.parse::<f64>().ok());
        parsed.map_or(f64::INFINITY, |v| (v - value).abs())
    };
    let best = if error(&fixed) <= error(&scientific) {
        fixed
    } else {
        scientific
    };
    best.unwrap_or_else(|| "0".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_fit_and_are_near() {
        for (value, text) in [
            (-249.511_718_75, "-249.51171875"),
            (1.0 / 3.0, "0.33333333333333"),
            (-1.0 / 3.0, "-0.3333333333333"),
            (1.0, "1"),
            (1e-20 / 3.0, "3.3333333333e-21"),
        ] {
            assert_eq!(decimal(value), text);
            assert!(decimal(value).len() <= 16);
        }
    }

    #[test]
    fn elements_are_sorted_padded_and_nested() {
        let mut item = DataSet::new();
        item.text(0x0008_0100, *b"SH", "ABC");
        let mut data = DataSet::new();
        data.sequence(0x0008_2218, vec![item]);
        data.text(0x0008_0018, *b"UI", "1.2");
        let want: [&[u8]; 4] = [
            b"\x08\0\x18\0UI\x04\x001.2\0",
            b"\x08\0\x18\x22SQ\0\0\x14\0\0\0",
            b"\xfe\xff\0\xe0\x0c\0\0\0",
            b"\x08\0\0\x01SH\x04\0ABC ",
        ];
        let got = data.encode(Syntax::ExplicitLittleEndian).unwrap();
        assert_eq!(got, want.concat());
    }
}
