//! One page of a TIFF file: what its directory says, and its samples.

use super::super::element::{ByteOrder, Element};
use super::super::orientation::{ORIENTATION_TAG, Orientation};
use super::super::payload::{self, MAX_EXPANSION};
use super::super::source::Source;
use super::directory::{Directory, TiffFile};
use super::strips::{Compression, Predictor, SampleType, decompress, undo};
use crate::{Result, Size};

const SUBFILE_TYPE: u16 = 254;
const OLD_SUBFILE_TYPE: u16 = 255;
const WIDTH: u16 = 256;
const HEIGHT: u16 = 257;
const BITS: u16 = 258;
const COMPRESSION: u16 = 259;
const PHOTOMETRIC: u16 = 262;
const FILL_ORDER: u16 = 266;
const DESCRIPTION: u16 = 270;
const STRIP_OFFSETS: u16 = 273;
const SAMPLES: u16 = 277;
const ROWS_PER_STRIP: u16 = 278;
const STRIP_BYTES: u16 = 279;
const PLANAR: u16 = 284;
const PREDICTOR: u16 = 317;
const COLOUR_MAP: u16 = 320;
const TILE_WIDTH: u16 = 322;
const TILE_HEIGHT: u16 = 323;
const TILE_OFFSETS: u16 = 324;
const TILE_BYTES: u16 = 325;
const EXTRA_SAMPLES: u16 = 338;
const SAMPLE_FORMAT: u16 = 339;

/// LZW expands more than deflate: a table of 4096 codes stands for 7.4 MB in 6 KB.
const MAX_LZW_EXPANSION: u64 = 2 * MAX_EXPANSION;

/// The meaning of a pixel's samples.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Meaning {
    /// One sample counts; `inverted`: 0 is white.
    Grey { inverted: bool },
    /// Three samples.
    Rgb,
    /// Indices into red, green and blue of 16 bits.
    Palette(Vec<[u16; 3]>),
}

/// A checked directory.
pub(super) struct Page {
    pub(super) size: Size,
    pub(super) meaning: Meaning,
    pub(super) kind: SampleType,
    pub(super) description: String,
    pub(super) orientation: Option<Orientation>,
    /// Stored samples of a pixel, of which the first ones count.
    samples: usize,
    planar: bool,
    compression: Compression,
    predictor: Predictor,
    bits_reversed: bool,
    order: ByteOrder,
    chunks: Chunks,
}

/// Strips, or tiles: strips are as wide as the page.
struct Chunks {
    width: usize,
    height: usize,
    are_tiles: bool,
    offsets: Vec<u64>,
    bytes: Vec<u64>,
}

/// Whether a directory is a thumbnail, or a mask of another page.
pub(super) fn is_secondary(directory: &Directory) -> bool {
    directory.number(SUBFILE_TYPE).unwrap_or(0) & 0b101 != 0
        || directory.number(OLD_SUBFILE_TYPE) == Some(2)
}

impl Page {
    pub(super) fn of(source: &Source, file: TiffFile, directory: &Directory) -> Result<Self> {
        let bad = |name: &str| source.format_error(format!("damaged TIFF: {name}"));
        let length = |tag, name| {
            let value = directory.number(tag).filter(|&n| n > 0);
            value
                .and_then(|n| u32::try_from(n).ok())
                .map(|n| n as usize)
                .ok_or_else(|| bad(name))
        };
        let size = Size::new(length(HEIGHT, "no height")?, length(WIDTH, "no width")?);
        let samples = directory.number(SAMPLES).unwrap_or(1);
        let samples = usize::try_from(samples)
            .ok()
            .filter(|n| (1..=64).contains(n))
            .ok_or_else(|| source.unsupported(format!("a TIFF of {samples} samples per pixel")))?;
        let kind = sample_type(source, directory)?;
        let planar = samples > 1 && directory.number(PLANAR) == Some(2);
        let planes = if planar { samples } else { 1 };
        let chunks = Chunks::of(directory, size, planes)
            .ok_or_else(|| bad("too few strips or tiles, or none"))?;
        Ok(Self {
            size,
            meaning: meaning(source, directory, samples)?,
            kind,
            description: directory.text(DESCRIPTION).unwrap_or_default(),
            orientation: directory
                .number(ORIENTATION_TAG)
                .and_then(Orientation::of_tag),
            samples,
            planar,
            compression: compression(source, directory.number(COMPRESSION).unwrap_or(1))?,
            predictor: predictor(source, directory, kind)?,
            bits_reversed: directory.number(FILL_ORDER) == Some(2),
            order: file.order,
            chunks,
        })
    }

    /// Samples of a pixel that count.
    pub(super) const fn channels(&self) -> usize {
        match self.meaning {
            Meaning::Rgb => 3,
            Meaning::Grey { .. } | Meaning::Palette(_) => 1,
        }
    }

    /// Refuses pixels that the file's bytes cannot hold.
    pub(super) fn check(&self, source: &Source) -> Result<()> {
        let stored = payload::count(&[self.size.width, self.size.height, self.samples])
            .and_then(|n| (n as u64).checked_mul(self.kind.bits() as u64))
            .map(|bits| bits / 8);
        let most = (source.bytes().len() as u64).saturating_mul(MAX_LZW_EXPANSION);
        source.check_bytes(Some(self.strip_bytes()))?;
        if stored.is_some_and(|stored| stored <= most) {
            return Ok(());
        }
        Err(source.format_error(format!(
            "{} pixels cannot be in a TIFF of {} bytes",
            self.size,
            source.bytes().len()
        )))
    }

    /// Bytes of a strip or tile; tiles may be larger than the page.
    pub(super) fn strip_bytes(&self) -> u64 {
        let rows = self.chunks.height.min(self.size.height);
        let bits = payload::count(&[self.chunks.width, rows, self.samples, self.kind.bits()]);
        bits.map_or(u64::MAX, |bits| bits as u64 / 8)
    }

    /// Whether the samples lie in the file as they are, one row after the other.
    pub(super) fn is_contiguous(&self) -> bool {
        let rows = self.chunks.height.min(self.size.height);
        let strip = rows.saturating_mul(self.row_bytes()) as u64;
        let follow = |pair: &[u64]| pair[0].checked_add(strip) == Some(pair[1]);
        self.compression == Compression::None
            && !self.chunks.are_tiles
            && !self.planar
            && self.chunks.offsets.windows(2).all(follow)
    }

    /// The page that follows this one in the file, without a directory of its own, `number` pages on.
    pub(super) fn following(&self, number: usize) -> Option<Self> {
        let shift = (self.stored_bytes() as u64).checked_mul(number as u64)?;
        let moved = |&offset: &u64| offset.checked_add(shift);
        Some(Self {
            meaning: self.meaning.clone(),
            description: String::new(),
            chunks: Chunks {
                offsets: self
                    .chunks
                    .offsets
                    .iter()
                    .map(moved)
                    .collect::<Option<_>>()?,
                bytes: Vec::new(),
                ..self.chunks
            },
            ..*self
        })
    }

    /// Bytes of a stored row of the page.
    fn row_bytes(&self) -> usize {
        (self.size.width * self.samples * self.kind.bits()).div_ceil(8)
    }

    /// Bytes of the page without compression.
    pub(super) fn stored_bytes(&self) -> usize {
        self.row_bytes().saturating_mul(self.size.height)
    }

    /// Writes the samples that count to their places, through `convert`, which may refuse one.
    pub(super) fn read<T>(
        &self,
        source: &Source,
        out: &mut [T],
        convert: impl Fn(f64) -> Result<T, f64>,
    ) -> Result<()> {
        let (across, down) = self.chunks.counts(self.size);
        let channels = self.channels();
        let planes = if self.planar { channels } else { 1 };
        for plane in 0..planes {
            for n in 0..across * down {
                let (row, col) = (
                    n / across * self.chunks.height,
                    n % across * self.chunks.width,
                );
                let chunk = self.chunk(source, plane * across * down + n, row)?;
                let width = self.chunks.width.min(self.size.width - col);
                for (r, line) in chunk.chunks_exact(self.chunk_row_bytes()).enumerate() {
                    let values = self.values(line);
                    let start = ((row + r) * self.size.width + col) * channels;
                    let places = &mut out[start..start + width * channels];
                    let step = self.stored_samples();
                    for (pixel, values) in values.chunks_exact(step).take(width).enumerate() {
                        if self.planar {
                            let place = &mut places[pixel * channels + plane];
                            *place = convert(values[0]).map_err(|v| source.bad_label(v))?;
                            continue;
                        }
                        for (channel, &value) in values.iter().take(channels).enumerate() {
                            let place = &mut places[pixel * channels + channel];
                            *place = convert(value).map_err(|v| source.bad_label(v))?;
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// Samples that are stored side by side.
    const fn stored_samples(&self) -> usize {
        if self.planar { 1 } else { self.samples }
    }

    fn chunk_row_bytes(&self) -> usize {
        (self.chunks.width * self.stored_samples() * self.kind.bits()).div_ceil(8)
    }

    /// The rows of a strip or tile that lie on the page.
    fn chunk(&self, source: &Source, number: usize, row: usize) -> Result<Vec<u8>> {
        let damaged = |problem: String| {
            let kind = if self.chunks.are_tiles {
                "tile"
            } else {
                "strip"
            };
            source.format_error(format!("damaged TIFF: {kind} {number}: {problem}"))
        };
        let rows = self.chunks.height.min(self.size.height - row);
        let needed = rows * self.chunk_row_bytes();
        let file = source.bytes();
        let start = usize::try_from(self.chunks.offsets[number]).unwrap_or(usize::MAX);
        let rest = file.get(start..).unwrap_or_default();
        // Files of old writers do not say how long a strip is.
        let length = self.chunks.bytes.get(number).copied();
        let length = length.filter(|&n| n > 0).unwrap_or(rest.len() as u64);
        let stored = usize::try_from(length)
            .ok()
            .and_then(|length| rest.get(..length))
            .ok_or_else(|| damaged(format!("it ends {length} bytes after the file's end")))?;
        let reversed: Vec<u8>;
        let stored = if self.bits_reversed {
            reversed = stored.iter().map(|byte| byte.reverse_bits()).collect();
            &reversed
        } else {
            stored
        };
        let mut bytes = decompress(stored, self.compression, needed)
            .map_err(|problem| damaged(format!("it ends early: {problem}")))?;
        if let SampleType::Element(element) = self.kind {
            for line in bytes.chunks_exact_mut(self.chunk_row_bytes()) {
                undo(
                    self.predictor,
                    line,
                    element,
                    self.stored_samples(),
                    self.order,
                );
            }
        }
        Ok(bytes)
    }

    /// Samples of a stored row.
    fn values(&self, line: &[u8]) -> Vec<f64> {
        let order = match self.predictor {
            Predictor::FloatingPoint => ByteOrder::Big,
            _ => self.order,
        };
        let count = self.chunks.width * self.stored_samples();
        self.kind.decode(line, order, count)
    }
}

impl Chunks {
    fn of(directory: &Directory, size: Size, planes: usize) -> Option<Self> {
        let are_tiles = directory.has(TILE_OFFSETS);
        let (offsets, bytes) = if are_tiles {
            (TILE_OFFSETS, TILE_BYTES)
        } else {
            (STRIP_OFFSETS, STRIP_BYTES)
        };
        let length = |tag: u16| {
            let value = directory.number(tag).filter(|&n| n > 0)?;
            u32::try_from(value).ok().map(|n| n as usize)
        };
        let (width, height) = if are_tiles {
            (length(TILE_WIDTH)?, length(TILE_HEIGHT)?)
        } else {
            (size.width, length(ROWS_PER_STRIP).unwrap_or(size.height))
        };
        let mut chunks = Self {
            width,
            height: if are_tiles {
                height
            } else {
                height.min(size.height)
            },
            are_tiles,
            offsets: Vec::new(),
            bytes: Vec::new(),
        };
        let (across, down) = chunks.counts(size);
        let count = payload::count(&[across, down, planes])?;
        chunks.offsets = directory.first_numbers(offsets, count)?;
        chunks.bytes = directory.first_numbers(bytes, count).unwrap_or_default();
        (chunks.offsets.len() == count).then_some(chunks)
    }

    /// How many lie side by side, and one below the other.
    const fn counts(&self, size: Size) -> (usize, usize) {
        (
            size.width.div_ceil(self.width),
            size.height.div_ceil(self.height),
        )
    }
}

fn sample_type(source: &Source, directory: &Directory) -> Result<SampleType> {
    let all = directory.numbers(BITS).unwrap_or_else(|| vec![1]);
    let bits = all.first().copied().unwrap_or(1);
    let format = directory.number(SAMPLE_FORMAT).unwrap_or(1);
    let kind = match (format, bits) {
        (1 | 4, 1 | 2 | 4) => Some(SampleType::Bits(bits as u8)),
        (1 | 4, 8) => Some(SampleType::Element(Element::U8)),
        (1 | 4, 16) => Some(SampleType::Element(Element::U16)),
        (1 | 4, 32) => Some(SampleType::Element(Element::U32)),
        (1 | 4, 64) => Some(SampleType::Element(Element::U64)),
        (2, 8) => Some(SampleType::Element(Element::I8)),
        (2, 16) => Some(SampleType::Element(Element::I16)),
        (2, 32) => Some(SampleType::Element(Element::I32)),
        (2, 64) => Some(SampleType::Element(Element::I64)),
        (3, 16) => Some(SampleType::Element(Element::F16)),
        (3, 32) => Some(SampleType::Element(Element::F32)),
        (3, 64) => Some(SampleType::Element(Element::F64)),
        _ => None,
    };
    kind.filter(|_| all.iter().all(|&other| other == bits))
        .ok_or_else(|| {
            source.unsupported(format!(
                "TIFF samples of {all:?} bits, format {format}; integers of 1, 2, 4, 8, 16, 32 and 64 bits and floats are"
            ))
        })
}

fn compression(source: &Source, code: u64) -> Result<Compression> {
    let name = match code {
        1 => return Ok(Compression::None),
        5 => return Ok(Compression::Lzw),
        8 | 32946 => return Ok(Compression::Deflate),
        32773 => return Ok(Compression::PackBits),
        2..=4 => "fax",
        6 | 7 => "JPEG",
        34712 | 33003 | 33005 => "JPEG 2000",
        50000 => "Zstandard",
        50001 => "WebP",
        _ => "unknown",
    };
    Err(source.unsupported(format!(
        "TIFF compression {code} ({name}); none, LZW, deflate and PackBits are"
    )))
}

fn predictor(source: &Source, directory: &Directory, kind: SampleType) -> Result<Predictor> {
    let is_float = matches!(
        kind,
        SampleType::Element(Element::F16 | Element::F32 | Element::F64)
    );
    match (directory.number(PREDICTOR).unwrap_or(1), kind) {
        (1, _) => Ok(Predictor::None),
        (2, SampleType::Element(_)) => Ok(Predictor::Horizontal),
        (3, _) if is_float => Ok(Predictor::FloatingPoint),
        (other, _) => Err(source.unsupported(format!(
            "TIFF predictor {other} for samples of {} bits",
            kind.bits()
        ))),
    }
}

fn meaning(source: &Source, directory: &Directory, samples: usize) -> Result<Meaning> {
    let extra = directory.numbers(EXTRA_SAMPLES).unwrap_or_default();
    // Transparency is dropped.
    let alpha = extra.iter().filter(|&&kind| kind == 1 || kind == 2).count();
    let photometric = directory.number(PHOTOMETRIC).unwrap_or(1);
    let name = match (photometric, samples - alpha.min(samples - 1)) {
        (0, 1) => return Ok(Meaning::Grey { inverted: true }),
        (1 | 4, 1) => return Ok(Meaning::Grey { inverted: false }),
        (2, 3..) => return Ok(Meaning::Rgb),
        (3, 1) => return palette(source, directory),
        (0 | 1, count) => {
            return Err(source.unsupported(format!(
                "a TIFF of {count} grey channels per pixel; one is, and RGB; pages of an ImageJ hyperstack are"
            )));
        }
        (5, _) => "colours for print (CMYK)",
        (6, _) => "YCbCr colours",
        (8..=10, _) => "Lab colours",
        _ => "unknown colours",
    };
    Err(source.unsupported(format!("a TIFF of {name}; grey, palettes and RGB are")))
}

/// The colours of a palette: all red ones, then the green, then the blue.
fn palette(source: &Source, directory: &Directory) -> Result<Meaning> {
    let values = directory.numbers(COLOUR_MAP).unwrap_or_default();
    let count = values.len() / 3;
    if count == 0 {
        return Err(source.format_error("damaged TIFF: a palette without colours"));
    }
    let colour = |n: usize| [values[n], values[count + n], values[2 * count + n]].map(|v| v as u16);
    let mut colours: Vec<[u16; 3]> = (0..count).map(colour).collect();
    // Some writers store bytes where 16 bits belong.
    if colours.iter().flatten().all(|&v| v < 256) {
        for value in colours.iter_mut().flatten() {
            *value *= 257;
        }
    }
    Ok(Meaning::Palette(colours))
}
