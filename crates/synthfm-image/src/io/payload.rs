//! Values of array files, raw or compressed.
//!
//! The memory for the values is taken when the file can hold them: deflate never expands more than 1032 times. Raw
//! values are converted by all threads; decompression runs on a thread of its own, so that converting what it gives,
//! piece by piece, costs no time beside it.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use flate2::read::{MultiGzDecoder, ZlibDecoder};
use rayon::prelude::*;

use super::element::{ByteOrder, Element, label};
use super::source::Source;
use crate::Result;

/// Deflate never expands more than this.
pub(super) const MAX_EXPANSION: u64 = 1032;
/// Bytes of a piece.
const PIECE: usize = 1 << 20;
/// Pieces that wait to be converted.
const WAITING: usize = 4;

/// How values are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packing {
    Raw,
    Gzip,
    Zlib,
}

impl Packing {
    pub(super) fn stream(self, bytes: &[u8]) -> Stream<'_> {
        match self {
            Self::Raw => Stream::Raw(bytes),
            Self::Gzip => Stream::Packed(Box::new(MultiGzDecoder::new(bytes))),
            Self::Zlib => Stream::Packed(Box::new(ZlibDecoder::new(bytes))),
        }
    }
}

/// Bytes to come.
pub(super) enum Stream<'a> {
    Raw(&'a [u8]),
    Packed(Box<dyn Read + Send + 'a>),
}

impl Read for Stream<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Raw(bytes) => bytes.read(out),
            Self::Packed(reader) => reader.read(out),
        }
    }
}

/// What a stream holds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layout {
    pub(super) element: Element,
    pub(super) order: ByteOrder,
    pub(super) count: usize,
    /// Slope and intercept.
    pub(super) scaling: Option<(f64, f64)>,
}

impl Layout {
    fn bytes(&self) -> u64 {
        (self.count as u64).saturating_mul(self.element.size() as u64)
    }

    /// Refuses values over the limit, and more than `stored` bytes of the file can hold.
    pub(super) fn check(&self, source: &Source, stored: u64, packing: Packing) -> Result<()> {
        let wide = self.element.size().max(4) as u64;
        source.check_bytes((self.count as u64).checked_mul(wide))?;
        let most = match packing {
            Packing::Raw => stored,
            _ => stored.saturating_mul(MAX_EXPANSION),
        };
        if self.bytes() > most {
            return Err(truncated(source, self, most));
        }
        Ok(())
    }
}

fn truncated(source: &Source, layout: &Layout, got: u64) -> crate::Error {
    source.format_error(format!(
        "truncated: {} values need {} bytes, the file has {got}",
        layout.count,
        layout.bytes()
    ))
}

/// Intensities.
pub(super) fn read_values(source: &Source, stream: Stream, layout: &Layout) -> Result<Vec<f32>> {
    let (element, order) = (layout.element, layout.order);
    let scaling = layout.scaling;
    let convert = |bytes: &[u8], out: &mut [f32]| match scaling {
        None => element.decode_into(order, bytes, out, |v| v as f32),
        Some((slope, inter)) => {
            element.decode_into(order, bytes, out, |v| (v * slope + inter) as f32);
        }
    };
    if let Stream::Raw(bytes) = stream {
        let bytes = whole(source, bytes, layout)?;
        let mut values = vec![0f32; layout.count];
        let piece = PIECE / element.size();
        values
            .par_chunks_mut(piece)
            .zip(bytes.par_chunks(piece * element.size()))
            .for_each(|(out, bytes)| convert(bytes, out));
        return Ok(values);
    }
    let mut values = Vec::with_capacity(layout.count);
    let mut scratch = Vec::new();
    pieces(source, stream, layout, |piece| {
        scratch.clear();
        scratch.resize(piece.len() / element.size(), 0f32);
        convert(piece, &mut scratch);
        values.extend_from_slice(&scratch);
        Ok(())
    })?;
    Ok(values)
}

/// The bytes of all values.
fn whole<'a>(source: &Source, bytes: &'a [u8], layout: &Layout) -> Result<&'a [u8]> {
    let needed = usize::try_from(layout.bytes()).unwrap_or(usize::MAX);
    bytes
        .get(..needed)
        .ok_or_else(|| truncated(source, layout, bytes.len() as u64))
}

/// Labels; a value that is none is an error that names it.
pub(super) fn read_labels(source: &Source, stream: Stream, layout: &Layout) -> Result<Vec<u16>> {
    let (slope, inter) = layout.scaling.unwrap_or((1.0, 0.0));
    let mut labels = Vec::with_capacity(layout.count);
    pieces(source, stream, layout, |piece| {
        let decoded = layout
            .element
            .decode(layout.order, piece, |v| label(v * slope + inter))
            .map_err(|value| source.bad_label(value))?;
        labels.extend_from_slice(&decoded);
        Ok(())
    })?;
    Ok(labels)
}

/// Hands the stream's bytes to `take`, piece by piece, each of whole values.
fn pieces(
    source: &Source,
    stream: Stream,
    layout: &Layout,
    mut take: impl FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    let reader = match stream {
        Stream::Raw(bytes) => {
            return whole(source, bytes, layout)?
                .chunks(PIECE)
                .try_for_each(take);
        }
        Stream::Packed(reader) => reader,
    };
    let total = layout.bytes();
    let limit = source.limit();
    std::thread::scope(|scope| {
        let (to_taker, from_reader) = sync_channel(WAITING);
        let (back, used) = sync_channel(WAITING);
        scope.spawn(move || produce(reader, total, limit, &to_taker, &used));
        let mut got = 0;
        for piece in from_reader {
            let piece: Vec<u8> = piece
                .map_err(|error: io::Error| source.format_error(format!("damaged: {error}")))?;
            got += piece.len() as u64;
            let whole = piece.len() - piece.len() % layout.element.size();
            take(&piece[..whole])?;
            // The reader has gone when it has read everything.
            let _gone = back.try_send(piece);
        }
        if got < total {
            return Err(truncated(source, layout, got));
        }
        Ok(())
    })
}

fn produce(
    reader: impl Read,
    total: u64,
    limit: u64,
    to_taker: &SyncSender<io::Result<Vec<u8>>>,
    used: &Receiver<Vec<u8>>,
) {
    let mut reader = reader;
    let mut left = total;
    while left > 0 {
        let mut piece = used.try_recv().unwrap_or_default();
        piece.clear();
        let wanted = left.min(PIECE as u64);
        match reader.by_ref().take(wanted).read_to_end(&mut piece) {
            Ok(0) => return,
            Ok(got) => left -= got as u64,
            Err(error) => {
                // The taker may have stopped at an error of its own.
                let _gone = to_taker.send(Err(error));
                return;
            }
        }
        if to_taker.send(Ok(piece)).is_err() {
            return;
        }
    }
    // The checksum of compressed data follows the last byte.
    if let Err(error) = io::copy(&mut reader.take(limit), &mut io::sink()) {
        let _gone = to_taker.send(Err(error));
    }
}

/// Multiplies lengths; `None` if they overflow.
pub(super) fn count(shape: &[usize]) -> Option<usize> {
    shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d))
}
