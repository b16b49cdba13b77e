//! Arrays as nnInteractive's clients and servers send them.
//!
//! A header (`NNIA`, version, codec, axes, type, shape) is followed by chunks of blosc2. Nothing is allocated before the
//! shape, the lengths of all chunks and their headers agree. Uploads are read as zstd or LZ4 with or without byte shuffle;
//! answers are written as LZ4.

mod chunk;
mod codec;
mod element;
mod write;

use std::fmt;

use chunk::Chunk;
use codec::Unpacker;
use element::ElementType;
use rayon::prelude::*;

pub(crate) use write::pack_bytes;

const MAGIC: &[u8; 4] = b"NNIA";
const VERSION: u8 = 1;
/// Codec numbers of the header. The chunks say it themselves, so that the header's is only checked to be known.
const ZSTD: u8 = 1;
const LZ4: u8 = 2;
/// Most axes of an array.
const MAX_AXES: usize = 4;

/// Why bytes are no array that can be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ArrayError(String);

impl ArrayError {
    fn new(problem: impl Into<String>) -> Self {
        Self(problem.into())
    }
}

impl fmt::Display for ArrayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the array cannot be read: {}", self.0)
    }
}

impl std::error::Error for ArrayError {}

type Result<T> = std::result::Result<T, ArrayError>;

/// An array whose header and chunk headers were checked, and whose values are still packed.
#[derive(Debug)]
pub(crate) struct PackedArray<'a> {
    element: ElementType,
    shape: Vec<usize>,
    chunks: Vec<Chunk<'a>>,
}

impl<'a> PackedArray<'a> {
    /// Checks an array of at most `max_elements`. The last axis of the shape is the fastest in memory.
    ///
    /// # Errors
    /// Where the bytes are malformed, of another version, type or codec, or hold more elements.
    pub(crate) fn parse(bytes: &'a [u8], max_elements: usize) -> Result<Self> {
        let mut rest = Reader(bytes);
        let (element, shape) = header(&mut rest)?;
        let count = shape
            .iter()
            .try_fold(1usize, |product, &length| product.checked_mul(length))
            .filter(|&count| count <= max_elements);
        let Some(count) = count else {
            return Err(ArrayError::new(format!(
                "a shape of {shape:?} has more than the {max_elements} elements that are accepted"
            )));
        };
        let chunks = chunks(&mut rest, count, element)?;
        if !rest.0.is_empty() {
            let left = rest.0.len();
            return Err(ArrayError::new(format!("{left} bytes follow its end")));
        }
        Ok(Self {
            element,
            shape,
            chunks,
        })
    }

    /// Lengths of the axes, all of them 1 or more.
    pub(crate) fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The values, each as `convert` makes it of a 32-bit number, the last axis fastest.
    ///
    /// # Errors
    /// Where a chunk is damaged.
    pub(crate) fn unpack<T: Clone + Default + Send>(
        &self,
        convert: impl Fn(f32) -> T + Sync,
    ) -> Result<Vec<T>> {
        let mut values = vec![T::default(); self.shape.iter().product()];
        let mut rest = values.as_mut_slice();
        for chunk in &self.chunks {
            let (here, next) = rest.split_at_mut(chunk.bytes() / self.element.size());
            self.unpack_chunk(chunk, here, &convert)?;
            rest = next;
        }
        Ok(values)
    }

    fn unpack_chunk<T: Send>(
        &self,
        chunk: &Chunk<'_>,
        values: &mut [T],
        convert: &(impl Fn(f32) -> T + Sync),
    ) -> Result<()> {
        let per_block = chunk.block_bytes() / self.element.size();
        values
            .par_chunks_mut(per_block)
            .enumerate()
            .try_for_each_init(Unpacker::default, |unpacker, (index, values)| {
                let bytes = unpacker.block(chunk, index)?;
                self.element.read(bytes, values, convert);
                Ok(())
            })
    }
}

/// The header up to the chunks.
fn header(rest: &mut Reader<'_>) -> Result<(ElementType, Vec<usize>)> {
    if rest.take(4)? != MAGIC {
        return Err(ArrayError::new("it does not begin with NNIA"));
    }
    let [version, codec, axes, name_length] = rest.array()?;
    if version != VERSION {
        return Err(ArrayError::new(format!(
            "version {version}; {VERSION} is known"
        )));
    }
    if codec != ZSTD && codec != LZ4 {
        return Err(ArrayError::new(format!(
            "codec {codec}; 1 (zstd) and 2 (LZ4) are known"
        )));
    }
    let axes = usize::from(axes);
    if !(1..=MAX_AXES).contains(&axes) {
        return Err(ArrayError::new(format!(
            "{axes} axes; 1 to {MAX_AXES} are accepted"
        )));
    }
    let element = ElementType::of_name(rest.take(usize::from(name_length))?)?;
    let mut shape = Vec::with_capacity(axes);
    for _ in 0..axes {
        let length = i64::from_le_bytes(rest.array()?);
        let length = usize::try_from(length).ok().filter(|&length| length > 0);
        shape.push(length.ok_or_else(|| ArrayError::new("an axis of no or negative length"))?);
    }
    Ok((element, shape))
}

/// The chunks, which hold `count` elements together.
fn chunks<'a>(rest: &mut Reader<'a>, count: usize, element: ElementType) -> Result<Vec<Chunk<'a>>> {
    let total = count.checked_mul(element.size());
    let total = total.ok_or_else(|| ArrayError::new("more bytes than can be counted"))?;
    let number = u32::from_le_bytes(rest.array()?);
    let (mut chunks, mut bytes) = (Vec::new(), 0usize);
    for _ in 0..number {
        let [unpacked, packed] = [rest.array()?, rest.array()?].map(u64::from_le_bytes);
        let packed = usize::try_from(packed).map_err(|_| ArrayError::new("it is cut off"))?;
        let chunk = Chunk::parse(rest.take(packed)?, unpacked, element)?;
        bytes += chunk.bytes();
        if bytes > total {
            break;
        }
        chunks.push(chunk);
    }
    if bytes != total {
        return Err(ArrayError::new(format!(
            "its chunks hold another number of bytes than the {total} of its shape"
        )));
    }
    Ok(chunks)
}

/// Bytes that are read from the front.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let Some((taken, rest)) = self.0.split_at_checked(count) else {
            return Err(ArrayError::new("it is cut off"));
        };
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let taken = self.take(N)?;
        taken
            .try_into()
            .map_err(|_| ArrayError::new("it is cut off"))
    }
}

#[cfg(test)]
mod tests;
