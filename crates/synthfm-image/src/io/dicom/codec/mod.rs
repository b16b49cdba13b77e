//! Decoders of compressed frames, each to samples pixel by pixel.
//!
//! A decoder is told what the header declares and how much memory it may take, and refuses a stream of another size or
//! with other needs before it allocates for it.

mod jpeg;
mod jpeg2000;
mod jpeg2000_stream;
mod jpeg_ls;
mod jpeg_ls_bits;
mod jpeg_ls_scan;
mod rle;

use std::io;

use super::file::Codec;
use super::pixel_format::{PixelFormat, Samples};
use crate::io::pages;

/// Samples of one frame, interleaved: all samples of a pixel one after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Decoded {
    Samples {
        samples: Vec<u16>,
        /// Whether colours are RGB whatever the header calls them, for the decoder has converted them.
        is_rgb: bool,
    },
    /// As without compression, in little-endian order.
    Bytes(Vec<u8>),
}

/// Why a frame could not be decoded.
#[derive(Debug)]
pub(super) enum Failure {
    /// The frame is damaged.
    Frame(String),
    /// The frame is sound, but uses what is not supported.
    Unsupported(String),
    /// Decoding needs this many bytes of memory, more than are allowed.
    Memory(u64),
    /// The system refused.
    System(io::Error),
}

impl From<String> for Failure {
    fn from(text: String) -> Self {
        Self::Frame(text)
    }
}

impl From<&str> for Failure {
    fn from(text: &str) -> Self {
        Self::Frame(text.to_owned())
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::System(error)
    }
}

/// Size and form that a frame must have.
#[derive(Debug, Clone, Copy)]
struct Expected {
    rows: usize,
    columns: usize,
    channels: usize,
    bits_allocated: usize,
    /// The header says that colours are stored as red, green and blue.
    stored_rgb: bool,
    /// Bytes that decoding may take.
    memory: u64,
}

impl Expected {
    fn of(format: &PixelFormat, memory: u64) -> Self {
        Self {
            rows: format.rows,
            columns: format.columns,
            channels: format.channels(),
            bits_allocated: format.bits_allocated,
            stored_rgb: format.photometric == super::pixel_format::Photometric::Rgb,
            memory,
        }
    }

    const fn pixels(&self) -> usize {
        self.rows * self.columns
    }

    const fn samples(&self) -> usize {
        self.pixels() * self.channels
    }

    /// Refuses a stream of another size.
    fn check(&self, rows: usize, columns: usize, channels: usize) -> Result<(), Failure> {
        let (want, got) = (
            (self.rows, self.columns, self.channels),
            (rows, columns, channels),
        );
        if want == got {
            return Ok(());
        }
        Err(Failure::Frame(format!(
            "the compressed frame has {columns} x {rows} pixels of {channels} samples, the header says {} x {} of {}",
            self.columns, self.rows, self.channels
        )))
    }

    /// Refuses a stream whose decoding takes more memory than it may.
    fn check_memory(&self, bytes: u64) -> Result<(), Failure> {
        if bytes <= self.memory {
            return Ok(());
        }
        Err(Failure::Memory(bytes))
    }
}

/// Bytes of memory that decoding a frame takes, as far as the header tells.
pub(super) fn working_bytes(codec: Codec, format: &PixelFormat) -> u64 {
    let samples = (format.pixels() * format.channels()) as u64;
    match codec {
        Codec::Native(_) => 0,
        // Bytes of all samples, and one byte of each at a time.
        Codec::Rle => samples * (format.bits_allocated as u64).div_ceil(8) + samples,
        Codec::JpegLs => jpeg_ls::BYTES_PER_SAMPLE * samples,
        Codec::Jpeg => jpeg::BYTES_PER_SAMPLE * samples,
        Codec::Jpeg2000 => jpeg2000::least_bytes(samples),
    }
}

/// Bytes that decoding a frame usually takes; at least [`working_bytes`].
pub(super) fn usual_bytes(codec: Codec, format: &PixelFormat) -> u64 {
    match codec {
        Codec::Jpeg2000 => jpeg2000::usual_bytes((format.pixels() * format.channels()) as u64),
        _ => working_bytes(codec, format),
    }
}

/// Decodes one frame in at most `memory` bytes.
pub(super) fn decode(
    codec: Codec,
    bytes: &[u8],
    format: &PixelFormat,
    memory: u64,
) -> Result<Decoded, Failure> {
    let expected = Expected::of(format, memory);
    let is_wide = format.bits_allocated > 16 && codec != Codec::Rle;
    if is_wide || matches!(format.samples, Samples::F32 | Samples::F64) {
        return Err(Failure::Unsupported(format!(
            "compressed pixels of {} bits; up to 16 are, and 32 in RLE",
            format.bits_allocated
        )));
    }
    expected.check_memory(working_bytes(codec, format))?;
    let decoded = match codec {
        Codec::Native(_) => return Err("frames without compression need no decoder".into()),
        Codec::Rle => return rle::decode(bytes, &expected).map(Decoded::Bytes),
        Codec::Jpeg => jpeg::decode(bytes, &expected)?,
        Codec::JpegLs => jpeg_ls::decode(bytes, &expected)?,
        Codec::Jpeg2000 => jpeg2000::decode(bytes, &expected)?,
    };
    match &decoded {
        Decoded::Samples { samples, .. } if samples.len() != expected.samples() => Err(
            Failure::Frame(format!("{} samples came out", samples.len())),
        ),
        _ => Ok(decoded),
    }
}

/// `count` zeros for samples.
fn zeroed<T: Clone + Default>(count: usize) -> Result<Vec<T>, Failure> {
    Ok(pages::try_zeroed(count)?)
}
