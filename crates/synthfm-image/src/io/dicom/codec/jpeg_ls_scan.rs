//! The entropy-coded data of a JPEG-LS scan (ISO 14495-1, annexes A and B).
//!
//! The letters are those of the standard: A, B, C, N are the variables of a context (A.2), Ra to Rd the neighbours of
//! a sample (A.3).

use super::jpeg_ls::{Frame, Presets, Scan};
use super::jpeg_ls_bits::Bits;

/// Orders of run lengths (A.2.1).
const J: [u32; 32] = [
    0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 9, 10, 11, 12, 13,
    14, 15,
];
const CONTEXTS: usize = 365;

/// Variables of a context.
#[derive(Debug, Clone, Copy)]
struct Context {
    a: i32,
    b: i32,
    c: i32,
    n: i32,
}

pub(super) struct Decoder<'a> {
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
    /// State of every context at the start of a scan and after a restart.
    start: Context,
    /// Lines between restarts; 0 for none.
    restart_lines: usize,
}

/// A line with one sample before and one after it.
type Line = Vec<i32>;

impl<'a> Decoder<'a> {
    pub(super) fn new(
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
            start,
            restart_lines: frame.restart_lines,
        })
    }

    /// Where the bytes of the scan end.
    pub(super) const fn end(&self) -> usize {
        self.bits.end()
    }

    /// Begins anew after a restart marker (B.2, as in ISO 10918-1).
    fn restart(&mut self, above: &mut [Line], run_index: &mut [usize]) -> Result<(), String> {
        self.bits.restart()?;
        self.regular.fill(self.start);
        self.interrupted = [self.start; 2];
        run_index.fill(0);
        for line in above {
            line.fill(0);
        }
        Ok(())
    }

    /// Decodes a scan into the samples from component `first` on.
    pub(super) fn run(
        &mut self,
        scan: &Scan,
        first: usize,
        samples: &mut [u16],
    ) -> Result<(), String> {
        let count = scan.components;
        let mut above: Vec<Line> = vec![vec![0; self.columns + 2]; count];
        let mut lines = above.clone();
        let mut run_index = vec![0usize; count];
        for row in 0..self.rows {
            if self.restart_lines > 0 && row > 0 && row % self.restart_lines == 0 {
                self.restart(&mut above, &mut run_index)?;
            }
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
            // Components that share a run may be equal where it ends: their sign is positive.
            self.reconstructed(rb, if ra > rb { -error } else { error })
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
