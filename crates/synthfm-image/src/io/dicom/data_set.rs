//! DICOM data sets (PS3.5, section 7) over bytes in memory.
//!
//! Values are slices of the file: a length is compared with the bytes that are there before anything follows from it,
//! so that a lying header costs no memory. Sequences are walked with a bounded depth and parsed when they are asked
//! for. What a value means is known from its tag, for files with implicit value representations do not say it.

use super::super::element::ByteOrder;

/// Nested sequences deeper than this are refused; real objects stay below 10.
const MAX_DEPTH: usize = 32;
/// Elements of a data set, or items of a sequence with all of their elements: more than in any object, and few enough
/// for the memory that describes them.
const MAX_ELEMENTS: usize = 4 << 20;
const UNDEFINED: u32 = u32::MAX;

const ITEM: Tag = 0xfffe_e000;
const ITEM_END: Tag = 0xfffe_e00d;
const SEQUENCE_END: Tag = 0xfffe_e0dd;

/// Group in the upper, element in the lower 16 bits.
pub(super) type Tag = u32;

/// How values are encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Encoding {
    /// Elements state their value representation.
    pub(super) explicit: bool,
    pub(super) order: ByteOrder,
}

impl Encoding {
    pub(super) const EXPLICIT_LE: Self = Self {
        explicit: true,
        order: ByteOrder::Little,
    };
    pub(super) const IMPLICIT_LE: Self = Self {
        explicit: false,
        order: ByteOrder::Little,
    };

    pub(super) fn u16(self, raw: [u8; 2]) -> u16 {
        match self.order {
            ByteOrder::Little => u16::from_le_bytes(raw),
            ByteOrder::Big => u16::from_be_bytes(raw),
        }
    }

    fn u32(self, raw: [u8; 4]) -> u32 {
        match self.order {
            ByteOrder::Little => u32::from_le_bytes(raw),
            ByteOrder::Big => u32::from_be_bytes(raw),
        }
    }
}

/// Why bytes are not a data set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Problem {
    /// The bytes are the start of a longer file, and more of it is needed.
    NeedMore,
    /// They are damaged.
    Damaged(String),
}

impl Problem {
    /// The words for an error about a file that was read to its end.
    pub(super) fn text(self) -> String {
        match self {
            Self::NeedMore => "damaged DICOM: the file ends within an element".to_owned(),
            Self::Damaged(text) => format!("damaged DICOM: {text}"),
        }
    }
}

type Result<T, E = Problem> = std::result::Result<T, E>;

/// One element; of a sequence the bytes are its items.
#[derive(Debug, Clone, Copy)]
pub(super) struct Element<'a> {
    pub(super) tag: Tag,
    /// `??` where the file does not say.
    pub(super) vr: [u8; 2],
    pub(super) bytes: &'a [u8],
}

/// Where the pixels of a file lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PixelLocation {
    pub(super) tag: Tag,
    pub(super) vr: [u8; 2],
    pub(super) offset: usize,
    /// `None`: encapsulated fragments up to their delimiter.
    pub(super) length: Option<usize>,
}

/// Elements of a data set or an item.
#[derive(Debug, Clone)]
pub(super) struct DataSet<'a> {
    pub(super) elements: Vec<Element<'a>>,
    encoding: Encoding,
    depth: usize,
}

/// Position in the bytes.
struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Length of the file whose start the bytes are.
    total: usize,
    encoding: Encoding,
}

struct Head {
    tag: Tag,
    vr: [u8; 2],
    length: u32,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let end = self.at.checked_add(count);
        if let Some(end) = end.filter(|&end| end <= self.bytes.len()) {
            let taken = &self.bytes[self.at..end];
            self.at = end;
            return Ok(taken);
        }
        if end.is_some_and(|end| end <= self.total) {
            return Err(Problem::NeedMore);
        }
        let left = self.total.saturating_sub(self.at);
        let problem = format!(
            "{count} bytes are announced at byte {}, {left} are left",
            self.at
        );
        Err(Problem::Damaged(problem))
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut raw = [0; N];
        raw.copy_from_slice(self.take(N)?);
        Ok(raw)
    }

    fn head(&mut self) -> Result<Head> {
        let group = self.array().map(|raw| self.encoding.u16(raw))?;
        let element = self.array().map(|raw| self.encoding.u16(raw))?;
        let tag = Tag::from(group) << 16 | Tag::from(element);
        if group == 0xfffe || !self.encoding.explicit {
            let length = self.array().map(|raw| self.encoding.u32(raw))?;
            let vr = *b"??";
            return Ok(Head { tag, vr, length });
        }
        let vr: [u8; 2] = self.array()?;
        let length = if has_long_length(vr) {
            self.take(2)?;
            self.array().map(|raw| self.encoding.u32(raw))?
        } else {
            let length = self.array().map(|raw| self.encoding.u16(raw))?;
            u32::from(length)
        };
        Ok(Head { tag, vr, length })
    }

    /// The items of a sequence of undefined length, without its delimiter.
    fn undefined_items(&mut self, depth: usize) -> Result<&'a [u8]> {
        check_depth(depth)?;
        let start = self.at;
        loop {
            let end = self.at;
            let head = self.head()?;
            match head.tag {
                ITEM if head.length == UNDEFINED => self.skip_item(depth + 1)?,
                ITEM => drop(self.take(head.length as usize)?),
                SEQUENCE_END => return Ok(&self.bytes[start..end]),
                tag => return Err(unexpected(tag, "an item")),
            }
        }
    }

    /// Passes over the elements of an item of undefined length and its delimiter.
    fn skip_item(&mut self, depth: usize) -> Result<()> {
        check_depth(depth)?;
        loop {
            let head = self.head()?;
            if head.tag == ITEM_END {
                return Ok(());
            }
            self.value(&head, depth)?;
        }
    }

    fn value(&mut self, head: &Head, depth: usize) -> Result<&'a [u8]> {
        if head.length != UNDEFINED {
            return self.take(head.length as usize);
        }
        // A sequence of unknown representation is implicit, whatever the rest is (PS3.5, 6.2.2).
        let outer = self.encoding;
        if head.vr == *b"UN" {
            self.encoding = Encoding::IMPLICIT_LE;
        }
        let items = self.undefined_items(depth + 1);
        self.encoding = outer;
        items
    }
}

/// Value representations with 32-bit lengths in explicit encodings.
fn has_long_length(vr: [u8; 2]) -> bool {
    matches!(
        &vr,
        b"OB"
            | b"OD"
            | b"OF"
            | b"OL"
            | b"OV"
            | b"OW"
            | b"SQ"
            | b"SV"
            | b"UC"
            | b"UN"
            | b"UR"
            | b"UT"
            | b"UV"
    )
}

fn check_depth(depth: usize) -> Result<()> {
    if depth > MAX_DEPTH {
        return Err(Problem::Damaged(format!(
            "sequences are nested deeper than {MAX_DEPTH}"
        )));
    }
    Ok(())
}

fn check_count(elements: usize) -> Result<()> {
    if elements >= MAX_ELEMENTS {
        return Err(Problem::Damaged(format!(
            "more than {MAX_ELEMENTS} elements"
        )));
    }
    Ok(())
}

fn unexpected(tag: Tag, wanted: &str) -> Problem {
    let name = format!("({:04x},{:04x})", tag >> 16, tag & 0xffff);
    Problem::Damaged(format!("{name} stands where {wanted} is expected"))
}

impl<'a> DataSet<'a> {
    /// The elements of a file from byte `start` up to its pixels, of whose `total` bytes at least the first are given.
    pub(super) fn parse_file(
        bytes: &'a [u8],
        start: usize,
        total: usize,
        encoding: Encoding,
    ) -> Result<(Self, Option<PixelLocation>)> {
        let mut cursor = Cursor {
            bytes,
            at: start,
            total,
            encoding,
        };
        let mut elements = Vec::new();
        while cursor.at < total {
            let head = cursor.head()?;
            if is_pixels(head.tag) {
                let defined = head.length != UNDEFINED;
                let location = PixelLocation {
                    tag: head.tag,
                    vr: head.vr,
                    offset: cursor.at,
                    length: defined.then_some(head.length as usize),
                };
                return Ok((Self::of(elements, encoding, 0), Some(location)));
            }
            let bytes = cursor.value(&head, 0)?;
            check_count(elements.len())?;
            elements.push(Element {
                tag: head.tag,
                vr: head.vr,
                bytes,
            });
        }
        Ok((Self::of(elements, encoding, 0), None))
    }

    /// The file meta information: explicit, little-endian, as long as its group lasts. Also gives its end.
    pub(super) fn parse_meta(bytes: &'a [u8], start: usize, total: usize) -> Result<(Self, usize)> {
        let encoding = Encoding::EXPLICIT_LE;
        let mut cursor = Cursor {
            bytes,
            at: start,
            total,
            encoding,
        };
        let mut elements = Vec::new();
        loop {
            let at = cursor.at;
            if at >= total {
                return Ok((Self::of(elements, encoding, 0), at));
            }
            if cursor.take(2)? != [2, 0] {
                return Ok((Self::of(elements, encoding, 0), at));
            }
            cursor.at = at;
            let head = cursor.head()?;
            let bytes = cursor.value(&head, 0)?;
            elements.push(Element {
                tag: head.tag,
                vr: head.vr,
                bytes,
            });
        }
    }

    pub(super) const fn of(elements: Vec<Element<'a>>, encoding: Encoding, depth: usize) -> Self {
        Self {
            elements,
            encoding,
            depth,
        }
    }

    pub(super) const fn encoding(&self) -> Encoding {
        self.encoding
    }

    pub(super) fn get(&self, tag: Tag) -> Option<&Element<'a>> {
        self.elements.iter().find(|element| element.tag == tag)
    }

    /// The items of a sequence; none if it is absent.
    pub(super) fn items(&self, tag: Tag) -> Result<Vec<Self>> {
        let Some(element) = self.get(tag) else {
            return Ok(Vec::new());
        };
        let depth = self.depth + 1;
        check_depth(depth)?;
        let encoding = if element.vr == *b"UN" {
            Encoding::IMPLICIT_LE
        } else {
            self.encoding
        };
        let mut cursor = Cursor {
            bytes: element.bytes,
            at: 0,
            total: element.bytes.len(),
            encoding,
        };
        let mut items = Vec::new();
        let mut count = 0;
        while cursor.at < cursor.total {
            let head = cursor.head()?;
            match head.tag {
                ITEM => {
                    let item = Self::item(&mut cursor, head.length, depth)?;
                    count += 1 + item.elements.len();
                    check_count(count)?;
                    items.push(item);
                }
                SEQUENCE_END => break,
                tag => return Err(unexpected(tag, "an item")),
            }
        }
        Ok(items)
    }

    /// The first item of a sequence.
    pub(super) fn item_of(&self, tag: Tag) -> Result<Option<Self>> {
        Ok(self.items(tag)?.into_iter().next())
    }

    fn item(cursor: &mut Cursor<'a>, length: u32, depth: usize) -> Result<Self> {
        let encoding = cursor.encoding;
        let mut elements = Vec::new();
        if length == UNDEFINED {
            loop {
                let head = cursor.head()?;
                if head.tag == ITEM_END {
                    return Ok(Self::of(elements, encoding, depth));
                }
                let bytes = cursor.value(&head, depth)?;
                let (tag, vr) = (head.tag, head.vr);
                check_count(elements.len())?;
                elements.push(Element { tag, vr, bytes });
            }
        }
        let bytes = cursor.take(length as usize)?;
        let mut inner = Cursor {
            bytes,
            at: 0,
            total: bytes.len(),
            encoding,
        };
        while inner.at < inner.total {
            let head = inner.head()?;
            let bytes = inner.value(&head, depth)?;
            let (tag, vr) = (head.tag, head.vr);
            check_count(elements.len())?;
            elements.push(Element { tag, vr, bytes });
        }
        Ok(Self::of(elements, encoding, depth))
    }
}

/// Pixel data as integers, `f32` or `f64`.
const fn is_pixels(tag: Tag) -> bool {
    matches!(tag, 0x7fe0_0008..=0x7fe0_0010)
}
