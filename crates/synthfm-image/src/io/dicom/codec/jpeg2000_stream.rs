//! The markers of a JPEG 2000 code stream (ISO 15444-1, annex A), read before it is decoded: whether all of it
//! is there, and how much memory its decoding takes.

use std::borrow::Cow;
use std::io;

const SOC_SIZ: [u8; 4] = [0xff, 0x4f, 0xff, 0x51];
const SOT: u8 = 0x90;
const SOD: u8 = 0x93;
const EOC: u8 = 0xd9;
const COD: u8 = 0x52;
const COC: u8 = 0x53;
/// Length of a tile part's first marker with its segment.
const SOT_BYTES: usize = 12;
/// Where the length of a tile part lies behind its first marker.
const LENGTH_AT: usize = 6;
/// Tiles have numbers of 16 bits.
const MAX_TILES: u64 = 65_535;

/// Memory that a decoder takes for the structures of a code block with its nodes in trees, of one of its layers, and
/// of a precinct; twice their size, for they are in vectors that grow.
const BLOCK_BYTES: u64 = 400;
const LAYER_BYTES: u64 = 48;
const PRECINCT_BYTES: u64 = 200;
/// Memory for a piece of data of a code block; its length alone takes three bits of the stream.
const SEGMENT_BYTES: u64 = 64;
const SEGMENTS_PER_BYTE: u64 = 3;
/// Most coding passes of a block, each of which may be a piece of its own.
const PASSES: u64 = 164;
/// Memory for the structure of a tile, and for that of each of its components.
const TILE_BYTES: u64 = 512;

/// The size of an image and its parts, from the SIZ marker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Siz {
    pub(super) rows: u64,
    pub(super) columns: u64,
    pub(super) components: u64,
    /// Whether the first component is signed.
    pub(super) signed: bool,
    tile: [u64; 2],
    tiles: u64,
}

/// A code stream whose markers are sound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stream {
    pub(super) siz: Siz,
    /// Bytes of memory for the structures that describe its code blocks.
    pub(super) structure_bytes: u64,
    /// Where it begins in the frame, behind the boxes of a container.
    start: usize,
    /// Where the length of the last tile part is missing in it, and what it is.
    missing_length: Option<(usize, u32)>,
    /// Where its end marker is missing.
    missing_end: Option<usize>,
}

impl Stream {
    /// Finds and checks the code stream in the bytes of a frame, which may be in a container.
    pub(super) fn find(bytes: &[u8]) -> Result<Self, String> {
        let start = bytes
            .windows(SOC_SIZ.len())
            .position(|four| four == SOC_SIZ);
        let start = start.ok_or("a JPEG 2000 stream without its size")?;
        let bytes = &bytes[start..];
        let siz = Siz::read(bytes).ok_or("the header of the JPEG 2000 stream is cut")?;
        if siz.tiles > MAX_TILES || siz.tiles == 0 {
            return Err(format!("damaged JPEG 2000: {} tiles", siz.tiles));
        }
        let mut walk = Walk {
            bytes,
            at: 2,
            styles: Vec::new(),
            seen: vec![false; siz.tiles as usize],
            missing_length: None,
        };
        walk.main_header()?;
        while walk.tile_part()? {}
        if let Some(tile) = walk.seen.iter().position(|seen| !seen) {
            return Err(format!(
                "the JPEG 2000 stream ends early: tile {tile} is missing"
            ));
        }
        let mut structure_bytes = TILE_BYTES * siz.tiles * (1 + siz.components);
        let most = |style: &Style| style.bytes(siz, bytes.len() as u64);
        let blocks = walk.styles.iter().map(most).max().unwrap_or(0);
        structure_bytes = structure_bytes.saturating_add(blocks);
        Ok(Self {
            siz,
            structure_bytes,
            start,
            missing_length: walk.missing_length,
            missing_end: (walk.marker() != Some(EOC)).then_some(walk.at),
        })
    }

    /// The code stream in the frame's bytes, with what writers may leave out: the length of the last tile part, and the end
    /// marker.
    pub(super) fn complete<'a>(&self, frame: &'a [u8]) -> io::Result<Cow<'a, [u8]>> {
        let bytes = &frame[self.start..];
        if self.missing_length.is_none() && self.missing_end.is_none() {
            return Ok(Cow::Borrowed(bytes));
        }
        let end = [0xff, EOC];
        let kept = &bytes[..self.missing_end.unwrap_or(bytes.len())];
        let mut whole = Vec::new();
        whole.try_reserve_exact(kept.len() + end.len())?;
        whole.extend_from_slice(kept);
        if self.missing_end.is_some() {
            whole.extend(end);
        }
        if let Some((at, length)) = self.missing_length {
            whole[at..at + 4].copy_from_slice(&length.to_be_bytes());
        }
        Ok(Cow::Owned(whole))
    }
}

impl Siz {
    fn read(bytes: &[u8]) -> Option<Self> {
        let field = |at: usize| {
            let raw = bytes.get(at..)?.first_chunk::<4>()?;
            Some(u64::from(u32::from_be_bytes(*raw)))
        };
        let [width, height] = [field(8)?, field(12)?];
        let [left, top] = [field(16)?, field(20)?];
        let tile = [field(24)?, field(28)?];
        let [tile_left, tile_top] = [field(32)?, field(36)?];
        let components = bytes.get(40..)?.first_chunk::<2>()?;
        let count = |far: u64, near: u64, side: u64| far.saturating_sub(near).div_ceil(side.max(1));
        Some(Self {
            rows: height.saturating_sub(top),
            columns: width.saturating_sub(left),
            components: u64::from(u16::from_be_bytes(*components)),
            signed: bytes.get(42)? & 0x80 != 0,
            tile: [tile[0].min(width), tile[1].min(height)],
            tiles: count(width, tile_left, tile[0])
                .saturating_mul(count(height, tile_top, tile[1])),
        })
    }

    /// Samples of the largest tile of a component.
    pub(super) fn tile_samples(&self) -> u64 {
        self.tile[0]
            .min(self.columns)
            .saturating_mul(self.tile[1].min(self.rows))
    }
}

struct Walk<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Coding styles of the image, its components and tiles.
    styles: Vec<Style>,
    /// Tiles of which a part was found.
    seen: Vec<bool>,
    /// Where a tile part has no length, and what it is.
    missing_length: Option<(usize, u32)>,
}

impl<'a> Walk<'a> {
    fn marker(&self) -> Option<u8> {
        match self.bytes.get(self.at..self.at + 2)? {
            [0xff, marker] => Some(*marker),
            _ => None,
        }
    }

    /// The content of the segment at the current marker; moves behind it.
    fn segment(&mut self) -> Result<&'a [u8], String> {
        const CUT: &str = "the JPEG 2000 stream ends early: within a header";
        let length = self.bytes.get(self.at + 2..self.at + 4).ok_or(CUT)?;
        let length = usize::from(u16::from_be_bytes([length[0], length[1]])).max(2);
        let content = self
            .bytes
            .get(self.at + 4..self.at + 2 + length)
            .ok_or(CUT)?;
        self.at += 2 + length;
        Ok(content)
    }

    fn main_header(&mut self) -> Result<(), String> {
        loop {
            match self.marker() {
                Some(SOT) => return Ok(()),
                Some(EOC) | None => {
                    return Err("the JPEG 2000 stream ends early: it has no tiles".to_owned());
                }
                Some(marker) => self.header_segment(marker)?,
            }
        }
    }

    /// A segment of the main header or that of a tile part.
    fn header_segment(&mut self, marker: u8) -> Result<(), String> {
        if (0x30..=0x3f).contains(&marker) {
            self.at += 2;
            return Ok(());
        }
        let content = self.segment()?;
        let known = self.styles.iter().map(|style| style.layers).max();
        let style = match marker {
            COD => Style::of_image(content),
            COC => Style::of_component(content, known.unwrap_or(1)),
            _ => return Ok(()),
        };
        self.styles
            .push(style.ok_or("the JPEG 2000 coding style is damaged")?);
        Ok(())
    }

    /// Passes over a tile part; whether another follows.
    fn tile_part(&mut self) -> Result<bool, String> {
        let start = self.at;
        let content = self.segment()?;
        let &[tile_high, tile_low, a, b, c, d, ..] = content else {
            return Err("damaged JPEG 2000: a tile part without its length".to_owned());
        };
        let tile = usize::from(u16::from_be_bytes([tile_high, tile_low]));
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        let seen = self.seen.get_mut(tile);
        *seen.ok_or_else(|| format!("damaged JPEG 2000: there is no tile {tile}"))? = true;
        let end = if length == 0 {
            let end = self.end_of_stream()?;
            self.missing_length = u32::try_from(end - start)
                .ok()
                .map(|length| (start + LENGTH_AT, length));
            end
        } else {
            start + length.max(SOT_BYTES)
        };
        if end > self.bytes.len() {
            return Err(format!(
                "the JPEG 2000 stream ends early: a part of tile {tile} has {} of {length} bytes",
                self.bytes.len() - start
            ));
        }
        while self.at < end {
            match self.marker() {
                Some(SOD | EOC) => break,
                Some(marker) => self.header_segment(marker)?,
                None => return Err("damaged JPEG 2000: a tile part without data".to_owned()),
            }
        }
        self.at = end;
        // What follows the last tile part is its end marker, which some writers leave out.
        Ok(self.marker() == Some(SOT))
    }

    /// Where the end marker lies that ends a tile part without a length.
    fn end_of_stream(&self) -> Result<usize, String> {
        let rest = &self.bytes[self.at..];
        let found = rest.windows(2).rposition(|pair| pair == [0xff, EOC]);
        let end = found.ok_or("the JPEG 2000 stream ends early: its end marker is missing")?;
        Ok(self.at + end)
    }
}

/// How the code blocks of a component lie.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Style {
    layers: u64,
    levels: u8,
    /// Exponents of a block's width and height.
    block: [u8; 2],
    /// Whether each coding pass may have a piece of data of its own.
    split: bool,
    /// Exponents of a precinct's width (low four bits) and height of each resolution; empty for the largest.
    precincts: Vec<u8>,
}

impl Style {
    fn of_image(content: &[u8]) -> Option<Self> {
        let &[flags, _, high, low, _, ref rest @ ..] = content else {
            return None;
        };
        let layers = u64::from(u16::from_be_bytes([high, low]));
        Self::of(flags, layers, rest)
    }

    /// The component's number has one byte; with more than 256 components, which no image here has, two.
    fn of_component(content: &[u8], layers: u64) -> Option<Self> {
        let &[_, flags, ref rest @ ..] = content else {
            return None;
        };
        Self::of(flags, layers, rest)
    }

    fn of(flags: u8, layers: u64, rest: &[u8]) -> Option<Self> {
        let &[levels, width, height, style, _, ref precincts @ ..] = rest else {
            return None;
        };
        let has_precincts = flags & 1 != 0;
        if levels > 32 || width > 8 || height > 8 {
            return None;
        }
        Some(Self {
            layers: layers.max(1),
            levels,
            block: [width + 2, height + 2],
            split: style & 0x05 != 0,
            precincts: if has_precincts {
                precincts.to_vec()
            } else {
                Vec::new()
            },
        })
    }

    /// Bytes of the structures for the largest tile of all components, of a stream of so many bytes.
    fn bytes(&self, siz: Siz, stream_bytes: u64) -> u64 {
        let (mut blocks, mut precincts) = (0u64, 0u64);
        for resolution in 0..=self.levels {
            let below = u32::from(self.levels - resolution);
            let precinct = self.precincts.get(usize::from(resolution)).copied();
            let precinct = precinct.map_or([15, 15], |both| [both & 15, both >> 4]);
            // Above the lowest resolution there are three bands of half the size.
            let (bands, half) = if resolution == 0 { (1, 0) } else { (3, 1) };
            let mut along = [(0, 0); 2];
            for axis in [0, 1] {
                let side = siz.tile[axis].div_ceil(1u64.checked_shl(below).unwrap_or(u64::MAX));
                let band = side.div_ceil(1 << half) + 1;
                let exponent = precinct[axis].saturating_sub(half);
                let count = band.div_ceil(1 << exponent) + 1;
                let block = self.block[axis].min(exponent);
                along[axis] = (count, band.div_ceil(1 << block) + count);
            }
            let [(precincts_x, blocks_x), (precincts_y, blocks_y)] = along;
            precincts = precincts.saturating_add(bands * precincts_x.saturating_mul(precincts_y));
            blocks = blocks.saturating_add(bands * blocks_x.saturating_mul(blocks_y));
        }
        let blocks = blocks.saturating_mul(siz.components);
        let precincts = precincts.saturating_mul(siz.components);
        let pieces = blocks.saturating_mul(self.layers * if self.split { PASSES } else { 1 });
        let pieces = pieces.min(stream_bytes.saturating_mul(SEGMENTS_PER_BYTE));
        (blocks.saturating_mul(BLOCK_BYTES + self.layers * LAYER_BYTES))
            .saturating_add(precincts.saturating_mul(PRECINCT_BYTES))
            .saturating_add(pieces.saturating_mul(SEGMENT_BYTES))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn siz(width: u32, height: u32, tile: [u32; 2]) -> Vec<u8> {
        let mut bytes = SOC_SIZ.to_vec();
        bytes.extend([0, 41, 0, 0]);
        for field in [width, height, 0, 0, tile[0], tile[1], 0, 0] {
            bytes.extend(field.to_be_bytes());
        }
        bytes.extend([0, 1, 7, 1, 1]);
        bytes
    }

    /// Blocks of 4 by `1 << exponent`, five levels, one layer; with precincts as given.
    fn cod(layers: u8, precincts: &[u8]) -> Vec<u8> {
        let length = 12 + precincts.len() as u8;
        let flags = u8::from(!precincts.is_empty());
        let mut bytes = vec![0xff, COD, 0, length, flags, 0, 0, layers, 0, 5, 4, 4, 0, 1];
        bytes.extend(precincts);
        bytes
    }

    fn tile_part(tile: u8, length: u32, data: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0xff, SOT, 0, 10, 0, tile];
        bytes.extend(length.to_be_bytes());
        bytes.extend([0, 1, 0xff, SOD]);
        bytes.extend(data);
        bytes
    }

    const END: [u8; 2] = [0xff, EOC];

    fn stream(parts: &[Vec<u8>]) -> Vec<u8> {
        [&[siz(40, 30, [40, 15]), cod(1, &[])], parts]
            .concat()
            .concat()
    }

    #[test]
    fn every_cut_before_the_last_byte_of_data_is_told() {
        let whole = stream(&[
            tile_part(0, 17, &[1, 2, 3]),
            tile_part(1, 0, &[4, 5]),
            END.to_vec(),
        ]);
        let found = Stream::find(&whole).unwrap();
        assert_eq!(
            (found.siz.rows, found.siz.columns, found.siz.tiles),
            (30, 40, 2)
        );
        assert_eq!(found.siz.tile_samples(), 600);
        for length in 0..whole.len() {
            assert!(Stream::find(&whole[..length]).is_err(), "{length} bytes");
        }
        // In a container, and with padding after the end.
        let padded = [b"jP box", &whole[..], &[0]].concat();
        assert!(Stream::find(&padded).is_ok());
        // A part of known length needs no end marker.
        let unended = stream(&[tile_part(1, 15, &[1]), tile_part(0, 15, &[9])]);
        assert!(Stream::find(&unended).is_ok());
        let error = Stream::find(&unended[..unended.len() - 1]).unwrap_err();
        assert!(error.contains("tile 0 has 14 of 15 bytes"), "{error}");
    }

    #[test]
    fn what_writers_leave_out_is_added() {
        let parts = |second: u32| [tile_part(0, 17, &[1, 2, 3]), tile_part(1, second, &[4, 5])];
        let complete = |bytes: &[u8]| {
            Stream::find(bytes)
                .unwrap()
                .complete(bytes)
                .unwrap()
                .into_owned()
        };
        let whole = [stream(&parts(16)), END.to_vec()].concat();
        assert_eq!(complete(&whole), whole);
        // No end marker, and padding in its place.
        assert_eq!(complete(&stream(&parts(16))), whole);
        assert_eq!(complete(&[stream(&parts(16)), vec![0]].concat()), whole);
        // No length, in a container and with padding behind.
        let open = [b"jP box", &stream(&parts(0))[..], &END, &[0]].concat();
        let expected = [&whole[..], &[0]].concat();
        assert_eq!(complete(&open), expected);
    }

    #[test]
    fn missing_and_wrong_tiles_are_told() {
        let error = |parts: &[Vec<u8>]| Stream::find(&stream(parts)).unwrap_err();
        let first = tile_part(0, 15, &[1]);
        assert!(error(&[first.clone(), END.to_vec()]).contains("tile 1 is missing"));
        assert!(error(&[first, tile_part(2, 15, &[1])]).contains("no tile 2"));
        assert!(error(&[END.to_vec()]).contains("no tiles"));
        let tiny = [siz(60_000, 60_000, [1, 1]), cod(1, &[])].concat();
        assert!(
            Stream::find(&tiny)
                .unwrap_err()
                .contains("3600000000 tiles")
        );
    }

    #[test]
    fn small_blocks_and_many_layers_cost_memory() {
        let bytes = |cod: Vec<u8>| {
            let parts = [siz(4096, 4096, [4096, 4096]), cod, tile_part(0, 14, &[])];
            Stream::find(&parts.concat()).unwrap().structure_bytes
        };
        // 4096 blocks of 64 x 64 and a third more below.
        let usual = bytes(cod(1, &[]));
        assert!((2_000_000..5_000_000).contains(&usual), "{usual}");
        assert!(bytes(cod(32, &[])) > 3 * usual);
        // Precincts of 2 x 2 make blocks of single samples.
        let tiny = bytes(cod(1, &[0x11; 6]));
        assert!(tiny > 16_000_000 * BLOCK_BYTES, "{tiny}");
    }
}
