//! Arrays of bytes for clients: blosc2 chunks of LZ4 without a filter.

use rayon::prelude::*;

use super::{LZ4, MAGIC, VERSION};

/// Bytes of a chunk, as the client packs them: blosc2 counts them in 31 bits.
const CHUNK: usize = 1 << 30;
/// Bytes of a block.
const BLOCK: usize = 128 << 10;
/// The header's first bytes: format 5, LZ4, an extended header, one stream to a block, values of one byte.
const START: [u8; 4] = [5, 1, 0x35, 1];

/// Packs an array of `uint8` whose last axis is the fastest in memory.
pub(crate) fn pack_bytes(shape: [usize; 3], values: &[u8]) -> Vec<u8> {
    let name = b"uint8";
    let mut packed = MAGIC.to_vec();
    packed.extend_from_slice(&[VERSION, LZ4, 3, name.len() as u8]);
    packed.extend_from_slice(name);
    for length in shape {
        packed.extend_from_slice(&(length as i64).to_le_bytes());
    }
    let chunks: Vec<&[u8]> = values.chunks(CHUNK).collect();
    packed.extend_from_slice(&(chunks.len() as u32).to_le_bytes());
    for values in chunks {
        let chunk = chunk(values);
        packed.extend_from_slice(&(values.len() as u64).to_le_bytes());
        packed.extend_from_slice(&(chunk.len() as u64).to_le_bytes());
        packed.extend_from_slice(&chunk);
    }
    packed
}

fn chunk(values: &[u8]) -> Vec<u8> {
    let block = BLOCK.min(values.len()).max(1);
    let streams: Vec<Vec<u8>> = values.par_chunks(block).map(stream).collect();
    let (mut places, mut place) = (Vec::new(), 32 + 4 * streams.len());
    for stream in &streams {
        places.extend_from_slice(&(place as i32).to_le_bytes());
        place += 4 + stream.len();
    }
    let mut chunk = START.to_vec();
    for size in [values.len(), block, place] {
        chunk.extend_from_slice(&(size as i32).to_le_bytes());
    }
    // No filters; the codec again; no flags.
    chunk.extend_from_slice(&[0; 6]);
    chunk.extend_from_slice(&[1, 0]);
    chunk.extend_from_slice(&[0; 8]);
    chunk.extend_from_slice(&places);
    for stream in streams {
        chunk.extend_from_slice(&(stream.len() as i32).to_le_bytes());
        chunk.extend_from_slice(&stream);
    }
    chunk
}

/// A block as LZ4, or as it is where that is not longer.
fn stream(values: &[u8]) -> Vec<u8> {
    let packed = lz4_flex::block::compress(values);
    if packed.len() < values.len() {
        packed
    } else {
        values.to_vec()
    }
}
