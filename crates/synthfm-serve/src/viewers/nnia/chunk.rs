//! A chunk of blosc2 before it is unpacked: its header and where its blocks lie.
//!
//! Format 5 of c-blosc2 (`README_CHUNK_FORMAT.rst`): a header of 32 bytes, then the stored bytes, a repeated value, or
//! the places of the blocks and their compressed streams.

use super::element::ElementType;
use super::{ArrayError, Result};

const HEADER: usize = 32;
const FORMAT: u8 = 5;
/// Marks the header of 32 bytes: byte shuffle and bit shuffle at once, which no chunk can have.
const EXTENDED: u8 = 0x05;
const STORED: u8 = 0x02;
const DELTA: u8 = 0x08;
const UNSPLIT: u8 = 0x10;
/// Codecs as bits 5 to 7 of the flags name them.
const CODEC_LZ4: u8 = 1;
const CODEC_ZSTD: u8 = 4;
const NO_FILTER: u8 = 0;
const SHUFFLE: u8 = 1;
/// Largest block: c-blosc2 chooses blocks of the size of a processor's caches.
const MAX_BLOCK: usize = 64 << 20;

/// How the streams of a chunk are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compression {
    Lz4,
    Zstd,
}

/// The content of a chunk.
#[derive(Debug)]
pub(super) enum Content<'a> {
    /// One value again and again.
    Repeated(Vec<u8>),
    /// The bytes themselves.
    Stored(&'a [u8]),
    /// Blocks of compressed streams.
    Blocks(Compression),
}

/// A chunk whose header was checked.
#[derive(Debug)]
pub(super) struct Chunk<'a> {
    /// The chunk with its header: blocks are placed from its beginning.
    pub(super) packed: &'a [u8],
    pub(super) content: Content<'a>,
    /// Bytes of a value for the shuffle and for the streams of a block.
    pub(super) type_size: usize,
    /// Whether bytes were shuffled, in groups of so many.
    pub(super) shuffle: Option<usize>,
    /// Whether whole blocks have a stream for each byte of a value.
    pub(super) split: bool,
    bytes: usize,
    block: usize,
}

impl<'a> Chunk<'a> {
    /// Checks a chunk that holds `unpacked` bytes of whole elements.
    pub(super) fn parse(packed: &'a [u8], unpacked: u64, element: ElementType) -> Result<Self> {
        let Some((header, body)) = packed.split_first_chunk::<HEADER>() else {
            return Err(ArrayError::new("a chunk without a header"));
        };
        let size = |at: usize| {
            let bytes = [header[at], header[at + 1], header[at + 2], header[at + 3]];
            usize::try_from(i32::from_le_bytes(bytes)).unwrap_or(0)
        };
        let [bytes, block, own] = [4, 8, 12].map(size);
        let flags = header[2];
        if header[0] != FORMAT || flags & EXTENDED != EXTENDED {
            return Err(ArrayError::new("a chunk of another format than blosc2's 5"));
        }
        if bytes == 0 || bytes as u64 != unpacked || own != packed.len() {
            return Err(ArrayError::new("the sizes of a chunk disagree"));
        }
        let whole = |bytes: usize| bytes.is_multiple_of(element.size());
        if !(1..=bytes.min(MAX_BLOCK)).contains(&block) || !whole(bytes) {
            return Err(ArrayError::new(format!(
                "a chunk of {bytes} bytes with blocks of {block}"
            )));
        }
        if block < bytes && !whole(block) {
            return Err(ArrayError::new("blocks that divide a value"));
        }
        let type_size = usize::from(header[3]).max(1);
        let content = content(header, body, (bytes, type_size))?;
        Ok(Self {
            packed,
            content,
            type_size,
            shuffle: shuffle(header, type_size)?,
            split: flags & UNSPLIT == 0,
            bytes,
            block,
        })
    }

    /// Bytes that it holds.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes of its blocks; the last one may be shorter.
    pub(super) const fn block_bytes(&self) -> usize {
        self.block
    }

    /// Bytes of the block `index`, 0 behind the last.
    pub(super) const fn bytes_of(&self, index: usize) -> usize {
        let left = self.bytes.saturating_sub(index.saturating_mul(self.block));
        if left < self.block { left } else { self.block }
    }

    /// The streams of the block `index`, and how many there are.
    pub(super) fn streams_of(&self, index: usize) -> Result<(&'a [u8], usize)> {
        let place = HEADER + 4 * index;
        let cut = || ArrayError::new("a block lies outside of its chunk");
        let start = self.packed.get(place..place + 4).ok_or_else(cut)?;
        let start = <[u8; 4]>::try_from(start).map_err(|_| cut())?;
        let start = usize::try_from(i32::from_le_bytes(start)).map_err(|_| cut())?;
        let streams = self.packed.get(start..).ok_or_else(cut)?;
        let whole = self.bytes_of(index) == self.block;
        let count = if self.split && whole {
            self.type_size
        } else {
            1
        };
        Ok((streams, count))
    }
}

fn content<'a>(
    header: &[u8; HEADER],
    body: &'a [u8],
    (bytes, type_size): (usize, usize),
) -> Result<Content<'a>> {
    let flags = header[2];
    if header[31] & 0x8f != 0 || header[30] != 0 || flags & DELTA != 0 {
        return Err(ArrayError::new(
            "a chunk with a dictionary, differences or big-endian values",
        ));
    }
    let repeated = |value: &[u8]| Ok(Content::Repeated(value.to_vec()));
    match header[31] >> 4 {
        0 => {}
        // Zeros, and values that were never set.
        1 | 4 => return repeated(&[0]),
        2 if type_size == 4 => return repeated(&f32::NAN.to_le_bytes()),
        2 if type_size == 8 => return repeated(&f64::NAN.to_le_bytes()),
        3 if body.len() == type_size => return repeated(body),
        other => return Err(ArrayError::new(format!("a chunk of special kind {other}"))),
    }
    if flags & STORED != 0 {
        if body.len() != bytes {
            return Err(ArrayError::new("the sizes of a chunk disagree"));
        }
        return Ok(Content::Stored(body));
    }
    match flags >> 5 {
        CODEC_LZ4 => Ok(Content::Blocks(Compression::Lz4)),
        CODEC_ZSTD => Ok(Content::Blocks(Compression::Zstd)),
        other => Err(ArrayError::new(format!(
            "a chunk of codec {other}; LZ4 and zstd are known"
        ))),
    }
}

/// Whether bytes are shuffled, and in groups of how many; other filters are refused.
fn shuffle(header: &[u8; HEADER], type_size: usize) -> Result<Option<usize>> {
    let filters = header[16..22].iter().zip(&header[24..30]);
    let mut used = filters.filter(|(code, _)| **code != NO_FILTER);
    match (used.next(), used.next()) {
        (None, _) => Ok(None),
        (Some((&SHUFFLE, &group)), None) => Ok(Some(match group {
            0 => type_size,
            group => usize::from(group),
        })),
        _ => Err(ArrayError::new(
            "a chunk with other filters than one byte shuffle",
        )),
    }
}
