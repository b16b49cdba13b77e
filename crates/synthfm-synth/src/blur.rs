//! Gaussian blur of a plane, separable, with replicated edges.
//!
//! Narrow kernels are summed directly; wide ones are three box means whose variances add up to the
//! Gaussian's (Wells 1986), with fractional box ends so that any width is met.

use crate::scratch::Buffer;
use crate::simd_dispatch;

/// A writable plane of `width` columns.
pub(crate) struct Plane<'a> {
    pub(crate) data: &'a mut [f32],
    pub(crate) width: usize,
}

/// Blurs with the standard deviations `[vertical, horizontal]` in pixels; 0 leaves an axis alone.
pub(crate) fn gaussian(plane: &mut Plane<'_>, sigma_px: [f32; 2]) {
    if plane.data.is_empty() || plane.width == 0 {
        return;
    }
    let [rows, columns] = sigma_px.map(kernels);
    simd_dispatch::run(
        #[inline(always)]
        || {
            vertical(plane, &rows);
            match columns.as_slice() {
                [] => {}
                [Kernel::Taps(taps)] => horizontal_taps(plane, taps),
                kernels => horizontal(plane, kernels),
            }
        },
    );
}

/// A symmetric kernel.
enum Kernel {
    /// Weights of the middle and of each pair of neighbours.
    Taps(Vec<f32>),
    /// A mean over `2 reach + 1` pixels and a share of one more on either side.
    Box { reach: usize, share: f32 },
}

/// Widest Gaussian that is summed directly.
const DIRECT_SIGMA: f32 = 2.5;

fn kernels(sigma: f32) -> Vec<Kernel> {
    if sigma < 0.05 {
        return Vec::new();
    }
    if sigma <= DIRECT_SIGMA {
        return vec![Kernel::Taps(taps(sigma))];
    }
    (0..3).map(|_| box_kernel(sigma * sigma / 3.0)).collect()
}

fn taps(sigma: f32) -> Vec<f32> {
    let reach = (3.0 * sigma).ceil() as usize;
    let weight = |k: usize| libm::expf(-0.5 * (k as f32 / sigma) * (k as f32 / sigma));
    let mut taps: Vec<f32> = (0..=reach).map(weight).collect();
    let total = taps[0] + 2.0 * taps[1..].iter().sum::<f32>();
    for tap in &mut taps {
        *tap /= total;
    }
    taps
}

/// The box of a given variance: the largest whole reach below it, and the share that fills it up.
fn box_kernel(variance: f32) -> Kernel {
    let of = |reach: f32| reach * (reach + 1.0) / 3.0;
    let mut reach = 0;
    while of(reach as f32 + 1.0) <= variance {
        reach += 1;
    }
    // Variance with ends of weight a: (sum k^2 + 2 a (r+1)^2) / (2 r + 1 + 2 a), solved for a.
    let r = reach as f32;
    let squares = r * (r + 1.0) * (2.0 * r + 1.0) / 3.0;
    let ends = (r + 1.0) * (r + 1.0);
    let share = (variance * (2.0 * r + 1.0) - squares) / (2.0 * (ends - variance));
    Kernel::Box {
        reach,
        share: share.clamp(0.0, 1.0),
    }
}

impl Kernel {
    /// Pixels on either side that it needs.
    fn reach(&self) -> usize {
        match self {
            Self::Taps(taps) => taps.len() - 1,
            Self::Box { reach, .. } => reach + 1,
        }
    }

    /// Filters `LANES` signals side by side: `to[i]` from `from[i + pad - reach..=i + pad + reach]`.
    #[inline(always)]
    fn filter(&self, from: &[Lanes], pad: usize, to: &mut [Lanes]) {
        match self {
            Self::Taps(taps) => {
                for (i, out) in to.iter_mut().enumerate() {
                    let at = i + pad;
                    scale_into(out, &from[at], taps[0]);
                    for (k, &tap) in taps.iter().enumerate().skip(1) {
                        add_pair(out, &from[at - k], &from[at + k], tap);
                    }
                }
            }
            Self::Box { reach, share } => {
                let span = 2 * reach + 1;
                let norm = 1.0 / (span as f32 + 2.0 * share);
                // From the pixel before the first mean to the pixel after the last.
                let from = &from[pad - reach - 1..];
                let mut sum = [0.0; LANES];
                for line in &from[1..=span] {
                    for lane in 0..LANES {
                        sum[lane] += line[lane];
                    }
                }
                for (i, out) in to.iter_mut().enumerate() {
                    let (before, leaving, after) = (&from[i], &from[i + 1], &from[i + 1 + span]);
                    for lane in 0..LANES {
                        out[lane] = (sum[lane] + share * (before[lane] + after[lane])) * norm;
                        sum[lane] += after[lane] - leaving[lane];
                    }
                }
            }
        }
    }
}

/// Signals that are filtered side by side: enough that the compiler keeps the loop over them as a loop,
/// which it turns into vector instructions.
const LANES: usize = 64;
type Lanes = [f32; LANES];

#[inline(always)]
fn scale_into(out: &mut [f32], line: &[f32], weight: f32) {
    for (value, &from) in out.iter_mut().zip(line) {
        *value = from * weight;
    }
}

/// Adds `weight (a + b)`.
#[inline(always)]
fn add_pair(out: &mut [f32], a: &[f32], b: &[f32], weight: f32) {
    for ((value, &a), &b) in out.iter_mut().zip(a).zip(b) {
        *value += (a + b) * weight;
    }
}

/// Memory for `LANES` signals of one length, with room on either side for the widest kernel.
struct Signals {
    pad: usize,
    /// Before and after a kernel.
    halves: [Buffer; 2],
}

impl Signals {
    fn new(length: usize, kernels: &[Kernel]) -> Self {
        let pad = kernels.iter().map(Kernel::reach).max().unwrap_or(0);
        let half = || Buffer::zeros((length + 2 * pad) * LANES);
        Self {
            pad,
            halves: [half(), half()],
        }
    }

    /// Where the signals lie before they are filtered.
    #[inline(always)]
    fn input(&mut self) -> &mut [Lanes] {
        inside(&mut self.halves[0], self.pad)
    }

    /// Applies the kernels in turn; the first and the last value of a signal go on beyond its ends.
    #[inline(always)]
    fn filter(&mut self, kernels: &[Kernel]) -> &[Lanes] {
        let pad = self.pad;
        for kernel in kernels {
            let [from, to] = &mut self.halves;
            let lines = from.as_chunks_mut::<LANES>().0;
            let end = lines.len() - pad;
            let (first, last) = (lines[pad], lines[end - 1]);
            lines[..pad].fill(first);
            lines[end..].fill(last);
            kernel.filter(lines, pad, inside(to, pad));
            self.halves.swap(0, 1);
        }
        self.input()
    }
}

/// The signals without the room on either side.
#[inline(always)]
fn inside(half: &mut [f32], pad: usize) -> &mut [Lanes] {
    let lines = half.as_chunks_mut::<LANES>().0;
    let end = lines.len() - pad;
    &mut lines[pad..end]
}

/// Filters columns, `LANES` of them at a time.
#[inline(always)]
fn vertical(plane: &mut Plane<'_>, kernels: &[Kernel]) {
    if kernels.is_empty() {
        return;
    }
    let width = plane.width;
    let mut signals = Signals::new(plane.data.len() / width, kernels);
    for start in (0..width).step_by(LANES) {
        let end = (start + LANES).min(width);
        for (line, row) in signals
            .input()
            .iter_mut()
            .zip(plane.data.chunks_exact(width))
        {
            line[..end - start].copy_from_slice(&row[start..end]);
        }
        let lines = signals.filter(kernels);
        for (line, row) in lines.iter().zip(plane.data.chunks_exact_mut(width)) {
            row[start..end].copy_from_slice(&line[..end - start]);
        }
    }
}

/// Filters rows, `LANES` of them at a time, turned so that they lie side by side.
#[inline(always)]
fn horizontal(plane: &mut Plane<'_>, kernels: &[Kernel]) {
    let width = plane.width;
    let mut signals = Signals::new(width, kernels);
    for rows in plane.data.chunks_mut(LANES * width) {
        turn(rows, signals.input());
        turn_back(signals.filter(kernels), rows);
    }
}

/// Pixels of a row that are turned at once: a cache line.
const TILE: usize = 16;

/// Rows to signals, by tiles that stay in the nearest cache.
#[inline(never)]
fn turn(rows: &[f32], lines: &mut [Lanes]) {
    let width = lines.len();
    for (tile, lines) in lines.chunks_mut(TILE).enumerate() {
        for (lane, row) in rows.chunks_exact(width).enumerate() {
            for (line, &value) in lines.iter_mut().zip(&row[tile * TILE..]) {
                line[lane] = value;
            }
        }
    }
}

/// Signals to rows.
#[inline(never)]
fn turn_back(lines: &[Lanes], rows: &mut [f32]) {
    let width = lines.len();
    for (tile, lines) in lines.chunks(TILE).enumerate() {
        for (lane, row) in rows.chunks_exact_mut(width).enumerate() {
            for (value, line) in row[tile * TILE..].iter_mut().zip(lines) {
                *value = line[lane];
            }
        }
    }
}

/// Filters rows by a narrow kernel, all pixels of a row side by side.
#[inline(always)]
fn horizontal_taps(plane: &mut Plane<'_>, taps: &[f32]) {
    let (width, reach) = (plane.width, taps.len() - 1);
    let mut padded = Buffer::stale(width + 2 * reach);
    for row in plane.data.chunks_exact_mut(width) {
        padded[..reach].fill(row[0]);
        padded[reach..reach + width].copy_from_slice(row);
        padded[reach + width..].fill(row[width - 1]);
        scale_into(row, &padded[reach..], taps[0]);
        for (k, &tap) in taps.iter().enumerate().skip(1) {
            add_pair(row, &padded[reach - k..], &padded[reach + k..], tap);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Blurs an impulse in the middle of a 101 x 141 plane.
    fn impulse(sigma_px: [f32; 2]) -> Vec<f32> {
        let (height, width) = (101, 141);
        let mut data = vec![0.0; height * width];
        data[50 * width + 70] = 1.0;
        gaussian(
            &mut Plane {
                data: &mut data,
                width,
            },
            sigma_px,
        );
        data
    }

    #[test]
    fn impulse_gets_the_variance_asked_for() {
        for sigma_px in [[0.6, 1.3], [2.5, 2.6], [4.0, 7.3], [9.0, 3.0]] {
            let data = impulse(sigma_px);
            let moment = |of: &dyn Fn(f32, f32) -> f32| -> f32 {
                let value = |(i, v): (usize, &f32)| {
                    v * of((i / 141) as f32 - 50.0, (i % 141) as f32 - 70.0)
                };
                data.iter().enumerate().map(value).sum()
            };
            assert!((moment(&|_, _| 1.0) - 1.0).abs() < 1e-3);
            // A kernel cut at three standard deviations has 1 to 3 % less variance.
            let (rows, cols) = (moment(&|r, _| r * r), moment(&|_, c| c * c));
            assert!(
                (rows / sigma_px[0].powi(2) - 1.0).abs() < 0.04,
                "{rows} {sigma_px:?}"
            );
            assert!(
                (cols / sigma_px[1].powi(2) - 1.0).abs() < 0.04,
                "{cols} {sigma_px:?}"
            );
        }
    }

    #[test]
    fn zero_sigma_is_identity_and_constants_stay() {
        let data: Vec<f32> = (0..35).map(|v| v as f32).collect();
        let mut same = data.clone();
        gaussian(
            &mut Plane {
                data: &mut same,
                width: 7,
            },
            [0.0, 0.0],
        );
        assert_eq!(data, same);
        for sigma in [1.0, 6.0] {
            let mut flat = vec![0.25; 35];
            gaussian(
                &mut Plane {
                    data: &mut flat,
                    width: 7,
                },
                [sigma, sigma],
            );
            assert!(flat.iter().all(|v| (v - 0.25).abs() < 1e-6));
        }
    }
}
