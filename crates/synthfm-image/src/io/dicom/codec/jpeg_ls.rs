//! JPEG-LS frames (ISO 14495-1, ITU-T T.87), lossless and near-lossless, in all three interleave modes.
//!
//! Here are the marker segments; [`super::jpeg_ls_scan`] decodes what lies between them. Parameters, mapping tables and
//! restart intervals may change from scan to scan.

use std::collections::BTreeMap;

use super::jpeg_ls_scan::Decoder;
use super::{Decoded, Expected, Failure};

/// Pixels that a bit can stand for at most.
const MAX_RUN: usize = 1 << 15;
/// Memory that decoding takes.
pub(super) const BYTES_PER_SAMPLE: u64 = 2;

#[derive(Debug, Clone, Copy)]
pub(super) struct Frame {
    pub(super) bits: u32,
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) components: usize,
    /// Lines between restarts; 0 for none.
    pub(super) restart_lines: usize,
}

/// Coding parameters (annex C).
#[derive(Debug, Clone, Copy)]
pub(super) struct Presets {
    pub(super) maxval: i32,
    pub(super) t1: i32,
    pub(super) t2: i32,
    pub(super) t3: i32,
    pub(super) reset: i32,
}

impl Presets {
    /// C.2.4.1.1.
    pub(super) fn default_of(maxval: i32, near: i32) -> Self {
        let clamp = |v: i32, low: i32| if v > maxval || v < low { low } else { v };
        let (t1, t2, t3) = if maxval >= 128 {
            let factor = (maxval.min(4095) + 128) / 256;
            let t1 = clamp(factor + 2 + 3 * near, near + 1);
            let t2 = clamp(factor * 4 + 3 + 5 * near, t1);
            (t1, t2, clamp(factor * 17 + 4 + 7 * near, t2))
        } else {
            let factor = 256 / (maxval + 1);
            let t1 = clamp((3 / factor + 3 * near).max(2), near + 1);
            let t2 = clamp((7 / factor + 5 * near).max(3), t1);
            (t1, t2, clamp((21 / factor + 7 * near).max(4), t2))
        };
        Self {
            maxval,
            t1,
            t2,
            t3,
            reset: 64,
        }
    }
}

pub(super) fn decode(bytes: &[u8], expected: &Expected) -> Result<Decoded, Failure> {
    let mut stream = Stream {
        segments: Segments { bytes, at: 0 },
        frame: None,
        presets: None,
        tables: BTreeMap::new(),
        restart_lines: 0,
        samples: Vec::new(),
        decoded: 0,
    };
    if stream.segments.take(2)? != [0xff, 0xd8] {
        return Err("not a JPEG-LS stream".into());
    }
    loop {
        let (marker, body) = stream.segments.segment()?;
        match marker {
            0xf7 => stream.frame = Some(checked_frame(body, bytes.len(), expected)?),
            0xf8 => stream.parameters(body)?,
            0xdd => stream.restart_lines = restart_lines(body)?,
            0xda => stream.scan(body, expected)?,
            0xd9 => break,
            0xc0..=0xcf => return Err("a JPEG stream, not JPEG-LS".into()),
            _ => {}
        }
    }
    match stream.frame {
        Some(frame) if stream.decoded == frame.components => Ok(Decoded::Samples {
            samples: stream.samples,
            is_rgb: false,
        }),
        _ => Err("the JPEG-LS stream ends before its last component".into()),
    }
}

/// State of the decoder: parameters of the segments read so far, and samples of the scans decoded so far.
struct Stream<'a> {
    segments: Segments<'a>,
    frame: Option<Frame>,
    presets: Option<Presets>,
    /// Mapping tables by their number (C.2.4.1.2): the width of an entry in bytes, and all entries.
    tables: BTreeMap<u8, (u8, Vec<u8>)>,
    restart_lines: usize,
    samples: Vec<u16>,
    /// Components that are complete.
    decoded: usize,
}

impl Stream<'_> {
    /// A segment of parameters (C.2.4.1).
    fn parameters(&mut self, body: &[u8]) -> Result<(), String> {
        match *body {
            [1, ..] => self.presets = Some(parse_presets(body)?),
            [2, table, width, ref entries @ ..] => {
                self.tables.insert(table, (width, entries.to_vec()));
            }
            [3, table, width, ref entries @ ..] => match self.tables.get_mut(&table) {
                Some((known, all)) if *known == width => all.extend_from_slice(entries),
                _ => return Err("a JPEG-LS mapping table without a beginning".to_owned()),
            },
            _ => return Err("JPEG-LS sizes above 65535 cannot be read".to_owned()),
        }
        Ok(())
    }

    fn scan(&mut self, body: &[u8], expected: &Expected) -> Result<(), Failure> {
        let frame = self
            .frame
            .ok_or("a JPEG-LS scan before the frame's header")?;
        let frame = Frame {
            restart_lines: self.restart_lines,
            ..frame
        };
        if self.samples.is_empty() {
            self.samples = super::zeroed(expected.pixels() * frame.components)?;
        }
        let scan = parse_scan(body)?;
        if self.decoded + scan.components > frame.components {
            return Err("more JPEG-LS components than announced".into());
        }
        let rest = &self.segments.bytes[self.segments.at..];
        let mut decoder = Decoder::new(frame, &scan, self.presets, rest)?;
        decoder.run(&scan, self.decoded, &mut self.samples)?;
        self.segments.at += decoder.end();
        for (n, &table) in scan.tables.iter().enumerate().take(scan.components) {
            if table != 0 {
                self.map(self.decoded + n, frame.components, table)?;
            }
        }
        self.decoded += scan.components;
        self.segments.skip_to_marker();
        Ok(())
    }

    /// Replaces the samples of a component by the entries of its table.
    fn map(&mut self, component: usize, components: usize, table: u8) -> Result<(), String> {
        let (width, entries) = self
            .tables
            .get(&table)
            .ok_or_else(|| format!("JPEG-LS mapping table {table} is missing"))?;
        let entry = |index: usize| match width {
            1 => entries.get(index).map(|&v| u16::from(v)),
            2 => {
                let pair = entries.get(2 * index..)?.first_chunk::<2>()?;
                Some(u16::from_be_bytes(*pair))
            }
            _ => None,
        };
        let places = self.samples.iter_mut().skip(component).step_by(components);
        for sample in places {
            *sample = entry(usize::from(*sample)).ok_or_else(|| {
                format!("JPEG-LS mapping table {table} has no entry of 8 or 16 bits for {sample}")
            })?;
        }
        Ok(())
    }
}

/// The frame's header, compared with what is expected before anything is allocated.
fn checked_frame(body: &[u8], bytes: usize, expected: &Expected) -> Result<Frame, Failure> {
    let frame = parse_frame(body)?;
    expected.check(frame.rows, frame.columns, frame.components)?;
    if expected.pixels() / 8 > bytes.saturating_mul(MAX_RUN) {
        let pixels = expected.pixels();
        return Err(format!("{pixels} pixels cannot be in {bytes} bytes of JPEG-LS").into());
    }
    Ok(frame)
}

/// Lines between restarts, in 2 to 4 bytes.
fn restart_lines(body: &[u8]) -> Result<usize, String> {
    if !(2..=4).contains(&body.len()) {
        return Err("the JPEG-LS restart interval is damaged".to_owned());
    }
    Ok(body.iter().fold(0, |n, &b| n << 8 | usize::from(b)))
}

struct Segments<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Segments<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let end = self.at.saturating_add(count);
        let taken = self
            .bytes
            .get(self.at..end)
            .ok_or("the JPEG-LS stream is truncated")?;
        self.at = end;
        Ok(taken)
    }

    /// The next marker with its parameters.
    fn segment(&mut self) -> Result<(u8, &'a [u8]), String> {
        let marker = self.take(2)?;
        if marker[0] != 0xff {
            return Err("a JPEG-LS marker is missing".to_owned());
        }
        if marker[1] == 0xd9 {
            return Ok((0xd9, &[]));
        }
        let length = self.take(2)?;
        let length = usize::from(u16::from_be_bytes([length[0], length[1]]));
        let body = self.take(length.max(2) - 2)?;
        Ok((marker[1], body))
    }

    /// Moves on to the next marker.
    fn skip_to_marker(&mut self) {
        while let Some(pair) = self.bytes.get(self.at..self.at + 2) {
            if pair[0] == 0xff && pair[1] & 0x80 != 0 && pair[1] != 0xff {
                return;
            }
            self.at += 1;
        }
    }
}

fn number(body: &[u8], at: usize) -> Result<i32, String> {
    let raw = body
        .get(at..at + 2)
        .ok_or("a JPEG-LS header is too short")?;
    Ok(i32::from(u16::from_be_bytes([raw[0], raw[1]])))
}

fn parse_frame(body: &[u8]) -> Result<Frame, String> {
    let (&[bits, ..], Some(&components)) = (body, body.get(5)) else {
        return Err("the JPEG-LS frame header is too short".to_owned());
    };
    if !(2..=16).contains(&bits) {
        return Err(format!(
            "JPEG-LS samples of {bits} bits; 2 to 16 can be read"
        ));
    }
    Ok(Frame {
        bits: u32::from(bits),
        rows: number(body, 1)? as usize,
        columns: number(body, 3)? as usize,
        components: usize::from(components),
        restart_lines: 0,
    })
}

fn parse_presets(body: &[u8]) -> Result<Presets, String> {
    Ok(Presets {
        maxval: number(body, 1)?,
        t1: number(body, 3)?,
        t2: number(body, 5)?,
        t3: number(body, 7)?,
        reset: number(body, 9)?,
    })
}

pub(super) struct Scan {
    pub(super) components: usize,
    pub(super) near: i32,
    /// 0: one component; 1: line by line; 2: sample by sample.
    pub(super) interleave: u8,
    /// Mapping table of each component; 0 for none.
    tables: [u8; 4],
}

fn parse_scan(body: &[u8]) -> Result<Scan, String> {
    let count = usize::from(*body.first().unwrap_or(&0));
    let tail = body.get(1 + 2 * count..).unwrap_or_default();
    let (&[near, interleave, transform, ..], 1..=4) = (tail, count) else {
        return Err("the JPEG-LS scan header is damaged".to_owned());
    };
    if interleave > 2 || transform & 0x0f != 0 || (interleave == 0 && count > 1) {
        return Err(format!(
            "JPEG-LS interleave mode {interleave} of {count} components cannot be read"
        ));
    }
    let mut tables = [0; 4];
    for (table, pair) in tables.iter_mut().zip(body[1..].chunks_exact(2).take(count)) {
        *table = pair[1];
    }
    Ok(Scan {
        components: count,
        near: i32::from(near),
        interleave,
        tables,
    })
}
