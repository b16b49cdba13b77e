//! Values of array files, raw or compressed.
//!
//! The memory for the values is taken when the file can hold them: deflate never expands more than 1032 times. Raw
//! values are converted by all threads, and read by one at a time while the others convert; decompression runs on a
//! thread of its own, so that converting what it gives, piece by piece, costs no time beside it.

use std::io::{self, Read};
use std::iter::Enumerate;
use std::slice::ChunksMut;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};

use flate2::bufread::ZlibDecoder;
use rayon::prelude::*;

use super::element::{ByteOrder, Element, label};
use super::gzip::{Gzip, Trailing};
use super::pages;
use super::source::Source;
use crate::{Error, Result};

/// Deflate never expands more than this.
pub(super) const MAX_EXPANSION: u64 = 1032;
/// Bytes that a file may have between its header and its values, or after its values, beside as many as the values
/// themselves. A compressed stream that goes on longer is given up, so that time is bounded by what a header asks for.
pub(super) const MAX_EXCESS: u64 = 16 << 20;
/// Bytes of a piece.
const PIECE: usize = 256 << 10;
/// Bytes that are read at a time where a thread converts what it reads: they stay in its cache.
const READ_PIECE: usize = 256 << 10;
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
    /// The bytes to come; `trailing` learns what follows the last member of a gzip file.
    pub(super) fn stream<'a>(self, bytes: &'a [u8], trailing: &Trailing) -> Stream<'a> {
        match self {
            Self::Raw => Stream::Raw(bytes),
            Self::Gzip => Stream::Packed(Box::new(Gzip::new(bytes, trailing.clone()))),
            Self::Zlib => Stream::Packed(Box::new(ZlibDecoder::new(bytes))),
        }
    }
}

/// Bytes to come.
pub(super) enum Stream<'a> {
    Raw(&'a [u8]),
    /// As they are in a file.
    Plain(Box<dyn Read + Send + 'a>),
    Packed(Box<dyn Read + Send + 'a>),
}

impl Read for Stream<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Raw(bytes) => bytes.read(out),
            Self::Plain(reader) | Self::Packed(reader) => reader.read(out),
        }
    }
}

/// Type, byte order and number of the values in a stream.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layout {
    pub(super) element: Element,
    pub(super) order: ByteOrder,
    pub(super) count: usize,
    /// Bytes of other volumes after these values.
    pub(super) tail: u64,
    /// Slope and intercept.
    pub(super) scaling: Option<(f64, f64)>,
}

impl Layout {
    pub(super) fn bytes(&self) -> u64 {
        (self.count as u64).saturating_mul(self.element.size() as u64)
    }

    /// Refuses values over the limit, and more than `stored` bytes of the file can hold.
    pub(super) fn check(&self, source: &Source, stored: u64, packing: Packing) -> Result<()> {
        let wide = self.element.size().max(4) as u64;
        source.check_bytes((self.count as u64).checked_mul(wide))?;
        source.check_with_file((self.count as u64).saturating_mul(4))?;
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

fn truncated(source: &Source, layout: &Layout, got: u64) -> Error {
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
    let convert = |bytes: &[u8], out: &mut [f32]| {
        match scaling {
            None => element.decode_into(order, bytes, out, |v| v as f32),
            Some((slope, inter)) => {
                element.decode_into(order, bytes, out, |v| (v * slope + inter) as f32);
            }
        }
        Ok(())
    };
    read_converted(source, stream, layout, convert)
}

/// Labels; a value that is none is an error that names it, the first of several.
pub(super) fn read_labels(source: &Source, stream: Stream, layout: &Layout) -> Result<Vec<u16>> {
    let (slope, inter) = layout.scaling.unwrap_or((1.0, 0.0));
    let convert = |bytes: &[u8], out: &mut [u16]| {
        let decoded = layout
            .element
            .decode(layout.order, bytes, |v| label(v * slope + inter))
            .map_err(|value| source.bad_label(value))?;
        out.copy_from_slice(&decoded);
        Ok(())
    };
    read_converted(source, stream, layout, convert)
}

/// All values in their order; `convert` makes the bytes of some into as many.
fn read_converted<T: Clone + Default + Send>(
    source: &Source,
    stream: Stream,
    layout: &Layout,
    convert: impl Fn(&[u8], &mut [T]) -> Result<()> + Sync,
) -> Result<Vec<T>> {
    let size = layout.element.size();
    let bytes = match stream {
        Stream::Raw(bytes) => whole(source, bytes, layout)?,
        Stream::Plain(reader) => return read_in_turn(source, reader, layout, convert),
        Stream::Packed(reader) => {
            let mut values = zeros(source, layout)?;
            let mut left = &mut values[..];
            pieces(source, reader, layout, |piece| {
                let (out, rest) = std::mem::take(&mut left).split_at_mut(piece.len() / size);
                left = rest;
                convert(piece, out)
            })?;
            return Ok(values);
        }
    };
    let mut values = zeros(source, layout)?;
    let places = values.par_chunks_mut(PIECE / size);
    let error = places
        .zip(bytes.par_chunks(PIECE))
        .find_map_first(|(out, bytes)| convert(bytes, out).err());
    error.map_or(Ok(values), Err)
}

/// Memory for all values.
fn zeros<T: Clone + Default>(source: &Source, layout: &Layout) -> Result<Vec<T>> {
    pages::try_zeroed(layout.count).map_err(|error| source.io_error(error))
}

/// The rest of a stream, and the places where its values belong.
struct Queue<'a, R, T> {
    reader: R,
    places: Enumerate<ChunksMut<'a, T>>,
}

/// Reads piece after piece, by whichever thread is free, and converts them at the same time.
fn read_in_turn<T: Clone + Default + Send>(
    source: &Source,
    reader: impl Read + Send,
    layout: &Layout,
    convert: impl Fn(&[u8], &mut [T]) -> Result<()> + Sync,
) -> Result<Vec<T>> {
    let size = layout.element.size();
    let mut values = zeros(source, layout)?;
    let queue = Mutex::new(Queue {
        reader,
        places: values.chunks_mut(READ_PIECE / size).enumerate(),
    });
    // The piece that a thread takes, and the bytes of it that are there.
    let next = |piece: &mut Vec<u8>| {
        let mut queue = queue.lock().unwrap_or_else(PoisonError::into_inner);
        let (n, out) = queue.places.next()?;
        piece.resize(out.len() * size, 0);
        let got = read_full(&mut queue.reader, piece);
        Some((n, out, got))
    };
    let work = || -> Result<(), (usize, Error)> {
        let mut piece = Vec::with_capacity(READ_PIECE);
        while let Some((n, out, got)) = next(&mut piece) {
            let converted = match got {
                Ok(got) if got == out.len() * size => convert(&piece, out),
                Ok(got) => Err(truncated(source, layout, (n * READ_PIECE + got) as u64)),
                Err(error) => Err(source.io_error(error)),
            };
            if let Err(error) = converted {
                let mut queue = queue.lock().unwrap_or_else(PoisonError::into_inner);
                let none: &mut [T] = &mut [];
                queue.places = none.chunks_mut(1).enumerate();
                return Err((n, error));
            }
        }
        Ok(())
    };
    let workers = (0..rayon::current_num_threads()).into_par_iter();
    let failed = workers.filter_map(|_| work().err());
    // Pieces before one that failed were taken earlier: the first error of the file is among these.
    match failed.min_by_key(|&(n, _)| n) {
        Some((_, error)) => Err(error),
        None => Ok(values),
    }
}

/// The bytes of all values.
fn whole<'a>(source: &Source, bytes: &'a [u8], layout: &Layout) -> Result<&'a [u8]> {
    let needed = usize::try_from(layout.bytes()).unwrap_or(usize::MAX);
    bytes
        .get(..needed)
        .ok_or_else(|| truncated(source, layout, bytes.len() as u64))
}

/// Hands what a decompressor gives to `take`, piece by piece, each of whole values.
fn pieces(
    source: &Source,
    reader: Box<dyn Read + Send + '_>,
    layout: &Layout,
    mut take: impl FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    let reader = source.stop().clone().reader(reader);
    let total = layout.bytes();
    let most = total.saturating_add(layout.tail).saturating_add(MAX_EXCESS);
    std::thread::scope(|scope| {
        let (to_taker, from_reader) = sync_channel(WAITING);
        let (back, used) = sync_channel(WAITING);
        scope.spawn(move || produce(reader, total, most, &to_taker, &used));
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
    most_after: u64,
    to_taker: &SyncSender<io::Result<Vec<u8>>>,
    used: &Receiver<Vec<u8>>,
) {
    let mut reader = reader;
    let mut left = total;
    while left > 0 {
        let mut piece = used.try_recv().unwrap_or_default();
        piece.resize(left.min(PIECE as u64) as usize, 0);
        match read_full(&mut reader, &mut piece) {
            Ok(0) => return,
            Ok(got) => {
                piece.truncate(got);
                left -= got as u64;
            }
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
    let after = io::copy(
        &mut reader.take(most_after.saturating_add(1)),
        &mut io::sink(),
    );
    let endless = || {
        io::Error::other(format!(
            "more than {most_after} bytes follow the {total} that the header asks for"
        ))
    };
    let checked = after.and_then(|bytes| {
        if bytes > most_after {
            Err(endless())
        } else {
            Ok(())
        }
    });
    if let Err(error) = checked {
        let _gone = to_taker.send(Err(error));
    }
}

/// Passes over the `gap` between a header and its values, and over the bytes of `volumes` that are not read.
pub(super) fn skip(
    source: &Source,
    reader: &mut dyn Read,
    gap: u64,
    volumes: u64,
    layout: &Layout,
) -> Result<()> {
    let most = layout.bytes().saturating_add(MAX_EXCESS);
    if gap > most {
        return Err(source.format_error(format!(
            "{gap} bytes before the values; at most {most} are passed over in a compressed file"
        )));
    }
    let bytes = gap.saturating_add(volumes);
    let mut reader = source.stop().clone().reader(reader.take(bytes));
    let passed = io::copy(&mut reader, &mut io::sink())
        .map_err(|error| source.format_error(format!("damaged: {error}")))?;
    if passed < bytes {
        return Err(source.format_error(format!(
            "truncated: it ends after {passed} of the {bytes} bytes before its values"
        )));
    }
    Ok(())
}

/// The part to read of a file that may hold a series of volumes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Wanted<'a> {
    /// The volume of this number, counted from 1.
    Volume(Option<&'a str>),
    /// Labels, which are one volume.
    Labels,
}

/// Number of the chosen volume of a series, counted from 0; `None` if the file holds one volume.
pub(super) fn chosen_volume(
    source: &Source,
    shape: &[u64],
    volumes: u64,
    wanted: Wanted,
) -> Result<Option<u64>> {
    if volumes == 1 {
        return Ok(None);
    }
    let Wanted::Volume(chosen) = wanted else {
        return Err(source.unsupported(format!(
            "{shape:?} voxels, a series of {volumes} volumes, as labels; one volume is"
        )));
    };
    let number = chosen.and_then(|text| text.parse().ok());
    match number.filter(|n| (1..=volumes).contains(n)) {
        Some(number) => Ok(Some(number - 1)),
        None => Err(source.unsupported(format!(
            "{shape:?} voxels, a series of {volumes} volumes, as one image; choose one by its number, 1 to {volumes} (`--series` on the command line)"
        ))),
    }
}

/// Fills `bytes` as far as the reader goes, in as few reads as it allows; returns how many were there.
pub(super) fn read_full(reader: &mut impl Read, bytes: &mut [u8]) -> io::Result<usize> {
    let mut got = 0;
    while got < bytes.len() {
        match reader.read(&mut bytes[got..]) {
            Ok(0) => break,
            Ok(more) => got += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(got)
}

/// Multiplies lengths; `None` if they overflow.
pub(super) fn count(shape: &[usize]) -> Option<usize> {
    shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::ReadOptions;

    /// More values than three pieces hold, and not a whole number of pieces.
    const COUNT: usize = 3 * READ_PIECE / 2 + 77;

    fn layout(scaling: Option<(f64, f64)>) -> Layout {
        Layout {
            element: Element::I16,
            order: ByteOrder::Big,
            count: COUNT,
            tail: 0,
            scaling,
        }
    }

    fn with_source(test: impl Fn(&Source)) {
        let file = tempfile::NamedTempFile::new().unwrap();
        test(&Source::open(file.path(), ReadOptions::default()).unwrap());
    }

    /// Every value is its place, modulo 30011.
    fn stored() -> Vec<u8> {
        (0..COUNT)
            .flat_map(|n| ((n % 30011) as i16).to_be_bytes())
            .collect()
    }

    fn plain(bytes: &[u8]) -> Stream<'_> {
        Stream::Plain(Box::new(bytes))
    }

    #[test]
    fn values_from_a_file_and_from_memory_are_the_same_and_in_their_places() {
        with_source(|source| {
            let bytes = stored();
            for scaling in [None, Some((0.1, -1024.0))] {
                let layout = layout(scaling);
                let values = read_values(source, plain(&bytes), &layout).unwrap();
                let (slope, inter) = scaling.unwrap_or((1.0, 0.0));
                let expected = (0..COUNT).map(|n| ((n % 30011) as f64 * slope + inter) as f32);
                assert!(values.iter().copied().eq(expected));
                let in_memory = read_values(source, Stream::Raw(&bytes), &layout).unwrap();
                assert_eq!(values, in_memory);
            }
        });
    }

    #[test]
    fn a_file_that_ends_early_is_told_with_the_bytes_it_had() {
        with_source(|source| {
            let bytes = stored();
            for short in [0, 1, READ_PIECE, 2 * READ_PIECE + 3, bytes.len() - 1] {
                let error = read_values(source, plain(&bytes[..short]), &layout(None)).unwrap_err();
                let error = error.to_string();
                assert!(error.contains("truncated"), "{error}");
                assert!(error.ends_with(&format!(" has {short}")), "{error}");
            }
        });
    }

    #[test]
    fn the_first_of_several_bad_labels_is_named() {
        with_source(|source| {
            let mut bytes = stored();
            for (n, bad) in [(COUNT - 1, -9i16), (READ_PIECE, -8), (5, -7)] {
                bytes[2 * n..2 * n + 2].copy_from_slice(&bad.to_be_bytes());
                for stream in [plain(&bytes), Stream::Raw(&bytes)] {
                    let error = read_labels(source, stream, &layout(None)).unwrap_err();
                    assert!(
                        error.to_string().contains(&format!("label {bad} ")),
                        "{error}"
                    );
                }
            }
        });
    }
}
