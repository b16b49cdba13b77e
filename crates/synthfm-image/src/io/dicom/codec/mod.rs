//! Decoders of compressed frames, each to samples of 16 bits, pixel by pixel.
//!
//! A decoder is told what the header declares, and refuses a stream of another size before it allocates for it.

mod jpeg;
mod jpeg2000;
mod jpeg_ls;
mod jpeg_ls_bits;
mod rle;

use super::file::Codec;
use super::pixel_format::{PixelFormat, Samples};

/// Samples of one frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Decoded {
    /// Interleaved: all samples of a pixel one after the other.
    pub(super) samples: Vec<u16>,
    pub(super) channels: usize,
    /// Whether colours are RGB whatever the header calls them, for the decoder has converted them.
    pub(super) is_rgb: bool,
}

/// What a frame must be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Expected {
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) channels: usize,
    pub(super) bits_allocated: usize,
    /// The header says that colours are stored as red, green and blue.
    pub(super) stored_rgb: bool,
}

impl Expected {
    pub(super) fn of(format: &PixelFormat) -> Self {
        Self {
            rows: format.rows,
            columns: format.columns,
            channels: format.channels(),
            bits_allocated: format.bits_allocated,
            stored_rgb: format.photometric == super::pixel_format::Photometric::Rgb,
        }
    }

    const fn pixels(&self) -> usize {
        self.rows * self.columns
    }

    /// Refuses a stream of another size.
    fn check(&self, rows: usize, columns: usize, channels: usize) -> Result<(), String> {
        let (want, got) = (
            (self.rows, self.columns, self.channels),
            (rows, columns, channels),
        );
        if want == got {
            return Ok(());
        }
        Err(format!(
            "the compressed frame has {columns} x {rows} pixels of {channels} samples, the header says {} x {} of {}",
            self.columns, self.rows, self.channels
        ))
    }
}

/// Decodes one frame; the error says what is wrong with it.
pub(super) fn decode(codec: Codec, bytes: &[u8], format: &PixelFormat) -> Result<Decoded, String> {
    let expected = Expected::of(format);
    if format.bits_allocated > 16 || matches!(format.samples, Samples::F32 | Samples::F64) {
        return Err(format!(
            "compressed pixels of {} bits cannot be read; up to 16 can",
            format.bits_allocated
        ));
    }
    match codec {
        Codec::Native(_) => Err("frames without compression need no decoder".to_owned()),
        Codec::Rle => rle::decode(bytes, &expected),
        Codec::Jpeg => jpeg::decode(bytes, &expected),
        Codec::JpegLs => jpeg_ls::decode(bytes, &expected),
        Codec::Jpeg2000 => jpeg2000::decode(bytes, &expected),
    }
}
