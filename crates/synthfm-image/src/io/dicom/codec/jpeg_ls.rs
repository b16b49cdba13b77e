//! JPEG-LS frames (ISO 14495-1, ITU-T T.87), lossless and near-lossless, in all three interleave modes.
//!
//! The letters are those of the standard: A, B, C, N are the variables of a context (A.2), Ra to Rd the neighbours of
//! a sample (A.3). Mapping tables and restart intervals do not occur in DICOM, and are refused.

use super::jpeg_ls_bits::Bits;
use super::{Decoded, Expected};

/// Orders of run lengths (A.2.1).
const J: [u32; 32] = [
    0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 9, 10, 11, 12, 13,
    14, 15,
];
const CONTEXTS: usize = 365;
/// Pixels that a bit can stand for at most.
const MAX_RUN: usize = 1 << 15;

#[derive(Debug, Clone, Copy)]
struct Frame {
    bits: u32,
    rows: usize,
    columns: usize,
    components: usize,
}

/// Coding parameters (annex C).
#[derive(Debug, Clone, Copy)]
struct Presets {
    maxval: i32,
    t1: i32,
    t2: i32,
    t3: i32,
    reset: i32,
}

impl Presets {
    /// C.2.4.1.1.
    fn default_of(maxval: i32, near: i32) -> Self {
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

pub(super) fn decode(bytes: &[u8], expected: &Expected) -> Result<Decoded, String> {
    let mut reader = Segments { bytes, at: 0 };
    if reader.take(2)? != [0xff, 0xd8] {
        return Err("not a JPEG-LS stream".to_owned());
    }
    let (mut frame, mut presets) = (None, None);
    let mut samples = Vec::new();
    let mut decoded = 0;
    loop {
        let (marker, body) = reader.segment()?;
        match marker {
            0xf7 => {
                let found = parse_frame(body)?;
                expected.check(found.rows, found.columns, found.components)?;
                if expected.pixels() / 8 > bytes.len().saturating_mul(MAX_RUN) {
                    return Err(format!(
                        "{} pixels cannot be in {} bytes of JPEG-LS",
                        expected.pixels(),
                        bytes.len()
                    ));
                }
                frame = Some(found);
            }
            0xf8 => presets = Some(parse_presets(body)?),
            0xda => {
                let frame = frame.ok_or("a JPEG-LS scan before the frame's header")?;
                if samples.is_empty() {
                    samples = vec![0u16; expected.pixels() * frame.components];
                }
                let scan = parse_scan(body)?;
                if decoded + scan.components > frame.components {
                    return Err("more JPEG-LS components than announced".to_owned());
                }
                let rest = &bytes[reader.at..];
                let mut decoder = Decoder::new(frame, &scan, presets, rest)?;
                decoder.run(&scan, decoded, &mut samples)?;
                reader.at += decoder.bits.end();
                decoded += scan.components;
                if decoded == frame.components {
                    return Ok(Decoded {
                        samples,
                        channels: frame.components,
                        is_rgb: false,
                    });
                }
                reader.skip_to_marker();
            }
            0xdd => return Err("JPEG-LS restart intervals cannot be read".to_owned()),
            0xd9 => return Err("the JPEG-LS stream ends before its last component".to_owned()),
            _ => {}
        }
    }
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
    })
}

fn parse_presets(body: &[u8]) -> Result<Presets, String> {
    if body.first() != Some(&1) {
        return Err("JPEG-LS mapping tables cannot be read".to_owned());
    }
    Ok(Presets {
        maxval: number(body, 1)?,
        t1: number(body, 3)?,
        t2: number(body, 5)?,
        t3: number(body, 7)?,
        reset: number(body, 9)?,
    })
}

struct Scan {
    components: usize,
    near: i32,
    /// 0: one component; 1: line by line; 2: sample by sample.
    interleave: u8,
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
    Ok(Scan {
        components: count,
        near: i32::from(near),
        interleave,
    })
}

/// Variables of a context.
#[derive(Debug, Clone, Copy)]
struct Context {
    a: i32,
    b: i32,
    c: i32,
    n: i32,
}

struct Decoder<'a> {
    bits: Bits<'a>,
    presets: Presets,
    near: i32,
    range: i32,
    qbpp: u32,
    limit: u32,
    columns: usize,
    rows: usize,
    components: usize,
    regular: Vec<Context>,
    /// For interruptions of runs; `b` counts negative errors (Nn).
    interrupted: [Context; 2],
}

/// A line with one sample before and one after it.
type Line = Vec<i32>;

impl<'a> Decoder<'a> {
    fn new(
        frame: Frame,
        scan: &Scan,
        presets: Option<Presets>,
        bytes: &'a [u8],
    ) -> Result<Self, String> {
        let full = (1i32 << frame.bits) - 1;
        let mut given = presets.unwrap_or_else(|| Presets::default_of(full, scan.near));
        if given.maxval == 0 {
            given.maxval = full;
        }
        let default = Presets::default_of(given.maxval, scan.near);
        for (own, default) in [
            (&mut given.t1, default.t1),
            (&mut given.t2, default.t2),
            (&mut given.t3, default.t3),
            (&mut given.reset, default.reset),
        ] {
            if *own == 0 {
                *own = default;
            }
        }
        let Presets { maxval, reset, .. } = given;
        if maxval > full || reset < 3 || scan.near > (maxval / 2).min(255) {
            return Err("JPEG-LS parameters are out of range".to_owned());
        }
        let range = (maxval + 2 * scan.near) / (2 * scan.near + 1) + 1;
        let bits_of = |values: i32| 32 - (values - 1).leading_zeros();
        let bpp = bits_of(maxval + 1).max(2);
        let start = Context {
            a: ((range + 32) / 64).max(2),
            b: 0,
            c: 0,
            n: 1,
        };
        Ok(Self {
            bits: Bits::new(bytes),
            presets: given,
            near: scan.near,
            range,
            qbpp: bits_of(range),
            limit: 2 * (bpp + bpp.max(8)),
            columns: frame.columns,
            rows: frame.rows,
            components: frame.components,
            regular: vec![start; CONTEXTS],
            interrupted: [start; 2],
        })
    }

    /// Decodes a scan into the samples from component `first` on.
    fn run(&mut self, scan: &Scan, first: usize, samples: &mut [u16]) -> Result<(), String> {
        let count = scan.components;
        let mut above: Vec<Line> = vec![vec![0; self.columns + 2]; count];
        let mut lines = above.clone();
        let mut run_index = vec![0usize; count];
        for row in 0..self.rows {
            for (line, above) in lines.iter_mut().zip(&mut above) {
                above[self.columns + 1] = above[self.columns];
                line[0] = above[1];
            }
            if scan.interleave == 2 {
                self.samples_line(&above, &mut lines, &mut run_index[0])?;
            } else {
                for n in 0..count {
                    self.line(&above[n], &mut lines[n], &mut run_index[n])?;
                }
            }
            let start = row * self.columns * self.components + first;
            for (n, line) in lines.iter().enumerate() {
                let places = samples[start + n..].iter_mut().step_by(self.components);
                for (place, &value) in places.zip(&line[1..=self.columns]) {
                    *place = value as u16;
                }
            }
            std::mem::swap(&mut above, &mut lines);
        }
        Ok(())
    }

    /// One line of one component.
    fn line(&mut self, above: &Line, line: &mut Line, run_index: &mut usize) -> Result<(), String> {
        let mut x = 1;
        while x <= self.columns {
            let context = self.context(above, line, x);
            if context != 0 {
                line[x] = self.regular_sample(above, line, x, context)?;
                x += 1;
                continue;
            }
            let length = self.run_length(self.columns + 1 - x, run_index)?;
            let value = line[x - 1];
            line[x..x + length].fill(value);
            x += length;
            if x <= self.columns {
                let (ra, rb) = (value, above[x]);
                let kind = usize::from((ra - rb).abs() <= self.near);
                line[x] = self.interruption(ra, rb, kind, *run_index)?;
                *run_index = run_index.saturating_sub(1);
                x += 1;
            }
        }
        Ok(())
    }

    /// One line of all components, sample by sample; runs are common to them (B.2).
    fn samples_line(
        &mut self,
        above: &[Line],
        lines: &mut [Line],
        run_index: &mut usize,
    ) -> Result<(), String> {
        let mut x = 1;
        while x <= self.columns {
            let mut contexts = [0; 4];
            for (n, context) in contexts.iter_mut().enumerate().take(lines.len()) {
                *context = self.context(&above[n], &lines[n], x);
            }
            if contexts.iter().any(|&context| context != 0) {
                for n in 0..lines.len() {
                    lines[n][x] = self.regular_sample(&above[n], &lines[n], x, contexts[n])?;
                }
                x += 1;
                continue;
            }
            let length = self.run_length(self.columns + 1 - x, run_index)?;
            for line in lines.iter_mut() {
                let value = line[x - 1];
                line[x..x + length].fill(value);
            }
            x += length;
            if x <= self.columns {
                for n in 0..lines.len() {
                    let (ra, rb) = (lines[n][x - 1], above[n][x]);
                    lines[n][x] = self.interruption(ra, rb, 0, *run_index)?;
                }
                *run_index = run_index.saturating_sub(1);
                x += 1;
            }
        }
        Ok(())
    }

    /// The context of a sample, with the sign of its gradients (A.3); 0 starts a run.
    fn context(&self, above: &Line, line: &Line, x: usize) -> i32 {
        let (ra, rb, rc, rd) = (line[x - 1], above[x], above[x - 1], above[x + 1]);
        81 * self.quantized(rd - rb) + 9 * self.quantized(rb - rc) + self.quantized(rc - ra)
    }

    fn quantized(&self, gradient: i32) -> i32 {
        let Presets { t1, t2, t3, .. } = self.presets;
        let size = gradient.abs();
        let level = if size <= self.near {
            0
        } else if size < t1 {
            1
        } else if size < t2 {
            2
        } else if size < t3 {
            3
        } else {
            4
        };
        level * gradient.signum()
    }

    fn regular_sample(
        &mut self,
        above: &Line,
        line: &Line,
        x: usize,
        context: i32,
    ) -> Result<i32, String> {
        let (ra, rb, rc) = (line[x - 1], above[x], above[x - 1]);
        let predicted = if rc >= ra.max(rb) {
            ra.min(rb)
        } else if rc <= ra.min(rb) {
            ra.max(rb)
        } else {
            ra + rb - rc
        };
        let sign = if context < 0 { -1 } else { 1 };
        let q = context.unsigned_abs() as usize;
        let Context { a, b, c, n } = self.regular[q];
        let predicted = (predicted + sign * c).clamp(0, self.presets.maxval);
        let k = golomb_order(n, a);
        let mapped = self.bits.golomb(k, self.limit, self.qbpp)?;
        let error = if self.near == 0 && k == 0 && 2 * b <= -n {
            // The most frequent sign gets the shorter codes (A.5.2).
            if mapped & 1 == 1 {
                mapped >> 1
            } else {
                -(mapped >> 1) - 1
            }
        } else if mapped & 1 == 0 {
            mapped >> 1
        } else {
            -((mapped >> 1) + 1)
        };
        self.update(q, error)?;
        Ok(self.reconstructed(predicted, sign * error))
    }

    /// A.6.
    fn update(&mut self, q: usize, error: i32) -> Result<(), String> {
        let (step, reset) = (2 * self.near + 1, self.presets.reset);
        let Context { a, b, c, n } = &mut self.regular[q];
        *b = b.saturating_add(error.saturating_mul(step));
        *a = a.saturating_add(error.saturating_abs());
        if *a > 1 << 24 || b.abs() > 1 << 24 {
            return Err("a JPEG-LS error is out of range".to_owned());
        }
        if *n == reset {
            *a >>= 1;
            *b >>= 1;
            *n >>= 1;
        }
        *n += 1;
        if *b <= -*n {
            *b = (*b + *n).max(1 - *n);
            *c = (*c - 1).max(-128);
        } else if *b > 0 {
            *b = (*b - *n).min(0);
            *c = (*c + 1).min(127);
        }
        Ok(())
    }

    /// A.4.5 and A.6: the sample from its prediction, within the range.
    fn reconstructed(&self, predicted: i32, error: i32) -> i32 {
        let step = 2 * self.near + 1;
        let maxval = self.presets.maxval;
        let mut value = predicted.saturating_add(error.saturating_mul(step));
        if value < -self.near {
            value = value.saturating_add(self.range * step);
        } else if value > maxval + self.near {
            value = value.saturating_sub(self.range * step);
        }
        value.clamp(0, maxval)
    }

    /// The length of a run, at most `left` (A.7.1).
    fn run_length(&mut self, left: usize, run_index: &mut usize) -> Result<usize, String> {
        let mut length = 0;
        while self.bits.take(1)? == 1 {
            let block = 1usize << J[*run_index];
            let count = block.min(left - length);
            length += count;
            if count == block {
                *run_index = (*run_index + 1).min(31);
            }
            if length == left {
                return Ok(length);
            }
        }
        length += self.bits.take(J[*run_index])? as usize;
        if length > left {
            return Err("a JPEG-LS run is longer than its line".to_owned());
        }
        Ok(length)
    }

    /// The sample that ends a run (A.7.2).
    fn interruption(
        &mut self,
        ra: i32,
        rb: i32,
        kind: usize,
        run_index: usize,
    ) -> Result<i32, String> {
        let Context { a, b, n, .. } = self.interrupted[kind];
        let kind_number = kind as i32;
        let k = golomb_order(n, a + kind_number * (n >> 1));
        let limit = self.limit - J[run_index] - 1;
        let mapped = self.bits.golomb(k, limit, self.qbpp)?;
        let temp = mapped.saturating_add(kind_number);
        let odd = temp & 1;
        let size = (temp >> 1) + odd;
        let negative = (k != 0 || 2 * b >= n) == (odd == 1);
        let error = if negative { -size } else { size };
        self.update_interruption(kind, error, mapped)?;
        Ok(if kind == 1 {
            self.reconstructed(ra, error)
        } else {
            self.reconstructed(rb, error * (rb - ra).signum())
        })
    }

    fn update_interruption(&mut self, kind: usize, error: i32, mapped: i32) -> Result<(), String> {
        let reset = self.presets.reset;
        let Context { a, b, n, .. } = &mut self.interrupted[kind];
        if error < 0 {
            *b += 1;
        }
        *a = a.saturating_add(mapped.saturating_add(1 - kind as i32) >> 1);
        if *a > 1 << 24 {
            return Err("a JPEG-LS error is out of range".to_owned());
        }
        if *n == reset {
            *a >>= 1;
            *n >>= 1;
            *b >>= 1;
        }
        *n += 1;
        Ok(())
    }
}

/// The smallest k for which `n * 2^k >= a` (A.5.1).
fn golomb_order(n: i32, a: i32) -> u32 {
    let mut k = 0;
    while k < 24 && (n << k) < a {
        k += 1;
    }
    k
}
