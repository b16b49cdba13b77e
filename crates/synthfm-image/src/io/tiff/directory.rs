//! The directories of a TIFF file: tags and their values, with both byte orders and both sizes of offsets.
//!
//! Nothing is read beyond the file, and directories that overlap are refused: their number is bounded by the file.

use super::super::element::ByteOrder;

/// A file's bytes, and how numbers lie in it.
#[derive(Clone, Copy)]
pub(in crate::io) struct TiffFile<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) order: ByteOrder,
    /// Offsets of 64 bits (`BigTIFF`).
    big: bool,
}

/// A tag with the place of its values.
struct Entry {
    tag: u16,
    kind: u16,
    count: u64,
    /// Where the values lie, or the offset to them.
    at: usize,
}

/// One directory: a page, or the metadata of a picture.
pub(in crate::io) struct Directory<'a> {
    file: TiffFile<'a>,
    entries: Vec<Entry>,
}

impl<'a> TiffFile<'a> {
    /// Reads the signature; `None` for other files.
    pub(in crate::io) fn of(bytes: &'a [u8]) -> Option<Self> {
        let order = match bytes.get(..2)? {
            b"II" => ByteOrder::Little,
            b"MM" => ByteOrder::Big,
            _ => return None,
        };
        let mut file = Self {
            bytes,
            order,
            big: false,
        };
        match file.number(2, 2)? {
            42 => Some(file),
            43 if file.number(4, 2)? == 8 => {
                file.big = true;
                Some(file)
            }
            _ => None,
        }
    }

    /// A number of `size` bytes at a place.
    fn number(&self, at: usize, size: usize) -> Option<u64> {
        let raw = self.bytes.get(at..at.checked_add(size)?)?;
        let fold = |number: u64, &byte: &u8| number << 8 | u64::from(byte);
        Some(match self.order {
            ByteOrder::Big => raw.iter().fold(0, fold),
            ByteOrder::Little => raw.iter().rev().fold(0, fold),
        })
    }

    const fn offset_size(&self) -> usize {
        if self.big { 8 } else { 4 }
    }

    /// Every directory in order; `None` where one is damaged.
    pub(in crate::io) fn directories(&self) -> Option<Vec<Directory<'a>>> {
        let size = self.offset_size();
        let mut next = self.number(size, size)?;
        let mut directories = Vec::new();
        let mut left = self.bytes.len();
        while next != 0 {
            let (directory, length, after) = self.directory(usize::try_from(next).ok()?)?;
            // Directories that overlap, or follow each other in a circle, would be longer than the file together.
            left = left.checked_sub(length)?;
            directories.push(directory);
            next = after;
        }
        Some(directories)
    }

    /// The first directory alone.
    pub(in crate::io) fn first(&self) -> Option<Directory<'a>> {
        let size = self.offset_size();
        let at = usize::try_from(self.number(size, size)?).ok()?;
        self.directory(at).map(|(directory, ..)| directory)
    }

    /// A directory, its bytes, and the place of the next one.
    fn directory(&self, at: usize) -> Option<(Directory<'a>, usize, u64)> {
        let (head, entry_bytes) = if self.big { (8, 20) } else { (2, 12) };
        let count = usize::try_from(self.number(at, head)?).ok()?;
        let start = at.checked_add(head)?;
        let end = start.checked_add(count.checked_mul(entry_bytes)?)?;
        if end > self.bytes.len() {
            return None;
        }
        let size = self.offset_size();
        let entry = |n: usize| {
            let at = start + n * entry_bytes;
            Some(Entry {
                tag: self.number(at, 2)? as u16,
                kind: self.number(at + 2, 2)? as u16,
                count: self.number(at + 4, size)?,
                at: at + 4 + size,
            })
        };
        let entries: Option<Vec<Entry>> = (0..count).map(entry).collect();
        let directory = Directory {
            file: *self,
            entries: entries?,
        };
        // The last directory of a damaged file may have no room for the next one's place.
        let next = self.number(end, size).unwrap_or(0);
        Some((directory, end + size - at, next))
    }
}

impl<'a> Directory<'a> {
    /// The values of a tag, and the bytes of each.
    fn raw(&self, tag: u16) -> Option<(&'a [u8], usize, u16)> {
        let entry = self.entries.iter().find(|entry| entry.tag == tag)?;
        let size: usize = match entry.kind {
            1 | 2 | 6 | 7 => 1,
            3 | 8 => 2,
            4 | 9 | 11 | 13 => 4,
            5 | 10 | 12 | 16 | 17 | 18 => 8,
            _ => return None,
        };
        let length = usize::try_from(entry.count).ok()?.checked_mul(size)?;
        let at = if length <= self.file.offset_size() {
            entry.at
        } else {
            let offset = self.file.number(entry.at, self.file.offset_size())?;
            usize::try_from(offset).ok()?
        };
        let raw = self.file.bytes.get(at..at.checked_add(length)?)?;
        Some((raw, size, entry.kind))
    }

    pub(in crate::io) fn has(&self, tag: u16) -> bool {
        self.entries.iter().any(|entry| entry.tag == tag)
    }

    /// The whole numbers of a tag; `None` without it, or where it is damaged.
    pub(in crate::io) fn numbers(&self, tag: u16) -> Option<Vec<u64>> {
        self.first_numbers(tag, usize::MAX)
    }

    /// The first whole numbers of a tag, `most` at most.
    pub(super) fn first_numbers(&self, tag: u16, most: usize) -> Option<Vec<u64>> {
        let (raw, size, kind) = self.raw(tag)?;
        if !matches!(kind, 1 | 3 | 4 | 13 | 16 | 18) {
            return None;
        }
        let values = TiffFile {
            bytes: raw,
            ..self.file
        };
        (0..(raw.len() / size).min(most))
            .map(|n| values.number(n * size, size))
            .collect()
    }

    /// The first whole number of a tag.
    pub(in crate::io) fn number(&self, tag: u16) -> Option<u64> {
        self.first_numbers(tag, 1)?.first().copied()
    }

    /// The text of a tag.
    pub(in crate::io) fn text(&self, tag: u16) -> Option<String> {
        let (raw, ..) = self.raw(tag)?;
        let text = raw.split(|&byte| byte == 0).next().unwrap_or_default();
        Some(String::from_utf8_lossy(text).into_owned())
    }
}
