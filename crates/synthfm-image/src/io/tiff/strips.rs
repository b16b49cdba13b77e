//! Strips and tiles of a TIFF page: decompression (none, `PackBits`, LZW, deflate), predictors, and samples of 1 to 64
//! bits (TIFF 6.0, sections 8 to 14; Adobe's technical note 3 for floating-point differences).

use std::io::Read;

use flate2::bufread::ZlibDecoder;

use super::super::element::{ByteOrder, Element};
use super::super::payload::read_full;

/// How the bytes of a strip are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compression {
    None,
    PackBits,
    Lzw,
    Deflate,
}

/// The prediction applied to samples before compression.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Predictor {
    None,
    /// Differences to the pixel on the left.
    Horizontal,
    /// Differences of the bytes of floating-point numbers, most significant bytes first.
    FloatingPoint,
}

/// Bits of a sample and their meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SampleType {
    /// 1, 2 or 4 bits, the highest ones first.
    Bits(u8),
    Element(Element),
}

impl SampleType {
    pub(super) fn bits(self) -> usize {
        match self {
            Self::Bits(bits) => usize::from(bits),
            Self::Element(element) => 8 * element.size(),
        }
    }

    /// Values of a row of `count` samples.
    pub(super) fn decode(self, row: &[u8], order: ByteOrder, count: usize) -> Vec<f64> {
        match self {
            Self::Bits(bits) => {
                let (bits, per_byte) = (usize::from(bits), 8 / usize::from(bits));
                let mask = (1u8 << bits) - 1;
                let sample = |n: usize| {
                    let shift = 8 - bits * (n % per_byte + 1);
                    f64::from(row[n / per_byte] >> shift & mask)
                };
                (0..count).map(sample).collect()
            }
            Self::Element(element) => {
                let Ok(values) = element.decode(order, row, Ok::<f64, std::convert::Infallible>);
                values
            }
        }
    }
}

/// The first `needed` bytes of a strip; the reason why there are not as many.
pub(super) fn decompress(
    stored: &[u8],
    compression: Compression,
    needed: usize,
) -> Result<Vec<u8>, String> {
    let mut out = super::super::pages::reserved(needed).map_err(|error| error.to_string())?;
    match compression {
        Compression::None => out.extend_from_slice(&stored[..needed.min(stored.len())]),
        Compression::PackBits => unpack_bits(stored, needed, &mut out),
        Compression::Lzw => lzw(stored, needed, &mut out)?,
        Compression::Deflate => {
            out.resize(needed, 0);
            let mut reader = ZlibDecoder::new(stored);
            let got = read_full(&mut reader, &mut out).map_err(|error| error.to_string())?;
            out.truncate(got);
            // Rows of padding may follow, then the checksum.
            let padding = &mut reader.take(needed as u64 + (1 << 20));
            std::io::copy(padding, &mut std::io::sink()).map_err(|error| error.to_string())?;
        }
    }
    out.truncate(needed);
    if out.len() < needed {
        return Err(format!("{} of {needed} bytes", out.len()));
    }
    Ok(out)
}

fn unpack_bits(stored: &[u8], needed: usize, out: &mut Vec<u8>) {
    let mut rest = stored;
    while let Some((&count, after)) = rest.split_first()
        && out.len() < needed
    {
        rest = match count as i8 {
            -128 => after,
            count @ 0.. => {
                let (bytes, after) = after.split_at(after.len().min(count as usize + 1));
                out.extend_from_slice(bytes);
                after
            }
            count => {
                let Some((&byte, after)) = after.split_first() else {
                    return;
                };
                let run = usize::from(count.unsigned_abs()) + 1;
                out.extend(std::iter::repeat_n(byte, run));
                after
            }
        };
    }
}

/// LZW with codes of 9 to 12 bits, the highest bits first. A string of the table is the place in the output where it
/// was written with the byte after it.
fn lzw(stored: &[u8], needed: usize, out: &mut Vec<u8>) -> Result<(), String> {
    const CLEAR: usize = 256;
    const END: usize = 257;
    const FIRST: usize = 258;
    const MOST: usize = 4096;
    let mut table: Vec<(usize, usize)> = Vec::new();
    let mut previous: Option<(usize, usize)> = None;
    let (mut bits, mut count, mut bytes) = (0u32, 0u32, stored.iter());
    while out.len() < needed {
        // Codes become longer one entry early.
        let width = match FIRST + table.len() + usize::from(previous.is_some()) {
            ..512 => 9,
            512..1024 => 10,
            1024..2048 => 11,
            _ => 12,
        };
        while count < width {
            let Some(&byte) = bytes.next() else {
                return Ok(());
            };
            bits = bits << 8 | u32::from(byte);
            count += 8;
        }
        count -= width;
        let code = (bits >> count) as usize & ((1 << width) - 1);
        if code == CLEAR {
            table.clear();
            previous = None;
            continue;
        }
        if code == END {
            return Ok(());
        }
        if let Some((at, length)) = previous
            && FIRST + table.len() < MOST
        {
            table.push((at, length + 1));
        }
        let start = out.len();
        if code < CLEAR {
            out.push(code as u8);
        } else {
            let &(at, length) = table
                .get(code - FIRST)
                .ok_or_else(|| format!("a code of {code} before its string"))?;
            for n in at..at + length {
                out.push(out[n]);
            }
        }
        previous = Some((start, out.len() - start));
    }
    Ok(())
}

/// Takes differences back, in place; floating-point numbers are big-endian afterwards.
pub(super) fn undo(
    predictor: Predictor,
    row: &mut [u8],
    element: Element,
    samples: usize,
    order: ByteOrder,
) {
    let size = element.size();
    match predictor {
        Predictor::None => {}
        Predictor::Horizontal => {
            for at in (samples * size..row.len() - row.len() % size).step_by(size) {
                let left = at - samples * size;
                let mut carry = 0;
                for n in 0..size {
                    // From the least significant byte on.
                    let n = match order {
                        ByteOrder::Little => n,
                        ByteOrder::Big => size - 1 - n,
                    };
                    let sum = u16::from(row[at + n]) + u16::from(row[left + n]) + carry;
                    row[at + n] = sum as u8;
                    carry = sum >> 8;
                }
            }
        }
        Predictor::FloatingPoint => {
            for at in samples..row.len() {
                row[at] = row[at].wrapping_add(row[at - samples]);
            }
            let planes = row.to_vec();
            let count = planes.len() / size;
            for n in 0..count {
                for byte in 0..size {
                    row[n * size + byte] = planes[byte * count + n];
                }
            }
        }
    }
}
