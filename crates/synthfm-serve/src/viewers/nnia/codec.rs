//! Blocks of a chunk become bytes: streams are decompressed, then bytes are put back in order.

use ruzstd::decoding::FrameDecoder;

use super::chunk::{Chunk, Compression, Content};
use super::{ArrayError, Result};

/// Least limit of a zstd window, which small blocks may exceed.
const LEAST_WINDOW: u64 = 1 << 20;

/// Unpacks blocks one after the other, with memory of its own.
#[derive(Default)]
pub(super) struct Unpacker {
    zstd: FrameDecoder,
    block: Vec<u8>,
    shuffled: Vec<u8>,
}

impl Unpacker {
    /// The bytes of the block `index` of a chunk.
    pub(super) fn block(&mut self, chunk: &Chunk<'_>, index: usize) -> Result<&[u8]> {
        let bytes = chunk.bytes_of(index);
        self.block.resize(bytes, 0);
        match &chunk.content {
            Content::Repeated(value) => {
                for (place, byte) in self.block.iter_mut().zip(value.iter().cycle()) {
                    *place = *byte;
                }
            }
            Content::Stored(stored) => {
                let start = index * chunk.block_bytes();
                self.block.copy_from_slice(&stored[start..start + bytes]);
            }
            Content::Blocks(compression) => {
                self.streams(chunk, index, *compression)?;
                self.unshuffle(chunk.shuffle);
            }
        }
        Ok(&self.block)
    }

    /// Decompresses the streams of a block one behind the other.
    fn streams(&mut self, chunk: &Chunk<'_>, index: usize, compression: Compression) -> Result<()> {
        let (mut packed, count) = chunk.streams_of(index)?;
        let length = self.block.len() / count;
        if length * count != self.block.len() || length == 0 {
            return Err(ArrayError::new(
                "a block that cannot be divided into its streams",
            ));
        }
        for stream in self.block.chunks_exact_mut(length) {
            let Some((size, rest)) = packed.split_first_chunk::<4>() else {
                return Err(cut());
            };
            packed = rest;
            let size = i32::from_le_bytes(*size);
            if size <= 0 {
                packed = fill(stream, size, packed)?;
                continue;
            }
            let (here, rest) = packed.split_at_checked(size as usize).ok_or_else(cut)?;
            packed = rest;
            if here.len() == length {
                stream.copy_from_slice(here);
                continue;
            }
            decompress(&mut self.zstd, compression, here, stream)?;
        }
        Ok(())
    }

    /// Undoes the byte shuffle: the first bytes of all values, then the second ones, and what is left as it is.
    fn unshuffle(&mut self, group: Option<usize>) {
        let Some(group) = group.filter(|&group| group > 1) else {
            return;
        };
        let values = self.block.len() / group;
        if values < 2 {
            return;
        }
        std::mem::swap(&mut self.block, &mut self.shuffled);
        self.block.clear();
        self.block.extend_from_slice(&self.shuffled);
        for (at, plane) in self.shuffled.chunks_exact(values).take(group).enumerate() {
            let places = self.block[at..].iter_mut().step_by(group);
            for (place, byte) in places.zip(plane) {
                *place = *byte;
            }
        }
    }
}

fn cut() -> ArrayError {
    ArrayError::new("a stream lies outside of its chunk")
}

/// A stream of one byte again and again: 0 for a size of 0, otherwise minus the size, behind a mark.
fn fill<'a>(stream: &mut [u8], size: i32, packed: &'a [u8]) -> Result<&'a [u8]> {
    if size == 0 {
        stream.fill(0);
        return Ok(packed);
    }
    let (mark, rest) = packed.split_first().ok_or_else(cut)?;
    let value = size
        .checked_neg()
        .and_then(|value| u8::try_from(value).ok());
    match value {
        Some(value) if mark & 1 == 1 => {
            stream.fill(value);
            Ok(rest)
        }
        _ => Err(ArrayError::new("a stream of an unknown kind")),
    }
}

fn decompress(
    zstd: &mut FrameDecoder,
    compression: Compression,
    packed: &[u8],
    stream: &mut [u8],
) -> Result<()> {
    let length = stream.len();
    let written = match compression {
        Compression::Lz4 => lz4_flex::block::decompress_into(packed, stream)
            .map_err(|error| ArrayError::new(format!("LZ4: {error}")))?,
        Compression::Zstd => {
            // A frame may ask for a window of any size; none needs a larger one than what it holds.
            let window = (length as u64).next_power_of_two();
            zstd.set_max_window_size(window.max(LEAST_WINDOW));
            zstd.decode_all(packed, stream)
                .map_err(|error| ArrayError::new(format!("zstd: {error}")))?
        }
    };
    if written == length {
        Ok(())
    } else {
        Err(ArrayError::new("a stream that is shorter than its block"))
    }
}
