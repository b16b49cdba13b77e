//! Magnetic resonance: truncated k-space, ghosts, chemical shift.
//!
//! Truncation keeps the lowest spatial frequencies and zero-fills the rest: a convolution with the
//! sinc of the cut-off, whose overshoot is Gibbs's 9 % (Wood and Henkelman, Magn. Reson. Med. 1985).
//! Periodic motion leaves copies at equal distances along the phase direction (Axel et al., Radiology
//! 1986). Fat precesses more slowly than water and appears displaced along the readout (Babcock et al.
//! 1985). Differs: the sinc ends after 8 zeros; fat is what is bright.

use serde::{Deserialize, Serialize};
use synthfm_image::Size;

use crate::Result;
use crate::check::{at_most, numbers, within};
use crate::params::Vec2;
use crate::scratch::Buffer;

/// Truncation of k-space.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TruncationParams {
    /// Shares of the frequencies that are kept, vertically and horizontally; 1: all, at least 0.05.
    pub kept: Vec2,
}

/// A direction of encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Axis {
    /// Along columns.
    Vertical,
    /// Along rows.
    Horizontal,
}

/// `|I(x) + sum over copies of weight I(x - shift)|`, cyclic.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GhostParams {
    /// Phase direction.
    pub axis: Axis,
    /// Shift as a share of the field of view, and weight, of each copy.
    pub copies: Vec<Vec2>,
}

/// `I - f I + (f I)(x - shift)`, with the share of fat `f = min(4 max(I - threshold, 0), 1)`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChemicalShiftParams {
    /// Readout direction.
    pub axis: Axis,
    /// Displacement.
    pub shift: f32,
    /// Intensity above which tissue is fat.
    pub threshold: f32,
}

impl TruncationParams {
    pub(super) fn validate(&self) -> Result<()> {
        numbers("acquisition.truncation", &self.kept)
    }
}

impl GhostParams {
    pub(super) fn validate(&self) -> Result<()> {
        let field = "acquisition.ghosts";
        at_most(field, self.copies.len(), 16, "at most 16 copies")?;
        within(
            field,
            self.copies.as_flattened(),
            1.0,
            "shifts and weights of at most 1",
        )
    }
}

impl ChemicalShiftParams {
    pub(super) fn validate(&self) -> Result<()> {
        let field = "acquisition.chemical_shift";
        within(field, &[self.shift], 1.0, "a shift of at most 1")?;
        numbers(field, &[self.threshold])
    }
}

/// Zeros of the sinc on either side.
const ZEROS: f32 = 8.0;

/// The middle and one side of the sinc whose cut-off is a share of the highest frequency; its outer
/// half is tapered by a squared cosine, and it sums to 1.
fn sinc(kept: f32) -> Vec<f32> {
    use std::f32::consts::{FRAC_PI_2, PI};
    let reach = (ZEROS / kept) as usize;
    let tap = |k: usize| {
        if k == 0 {
            return kept;
        }
        let along = k as f32 * kept / ZEROS;
        let taper = libm::cosf((2.0 * along - 1.0).max(0.0) * FRAC_PI_2);
        libm::sinf(PI * kept * k as f32) / (PI * k as f32) * taper * taper
    };
    let mut taps: Vec<f32> = (0..=reach).map(tap).collect();
    let total = taps[0] + 2.0 * taps[1..].iter().sum::<f32>();
    for tap in &mut taps {
        *tap /= total;
    }
    taps
}

/// Edges are replicated.
pub(super) fn truncation(params: &TruncationParams, data: &mut [f32], size: Size) {
    let [vertical, horizontal] = params.kept.map(|kept| kept.max(0.05));
    if vertical < 1.0 {
        convolve_columns(&sinc(vertical), data, size);
    }
    if horizontal < 1.0 {
        convolve_rows(&sinc(horizontal), data, size);
    }
}

fn convolve_columns(taps: &[f32], data: &mut [f32], size: Size) {
    let before = Buffer::from(&*data);
    let line = |row: usize| &before[row * size.width..(row + 1) * size.width];
    for (row, out) in data.chunks_exact_mut(size.width).enumerate() {
        for value in out.iter_mut() {
            *value *= taps[0];
        }
        for (k, &tap) in taps.iter().enumerate().skip(1) {
            let (above, below) = (row.saturating_sub(k), (row + k).min(size.height - 1));
            add_pair(out, line(above), line(below), tap);
        }
    }
}

fn convolve_rows(taps: &[f32], data: &mut [f32], size: Size) {
    let reach = taps.len() - 1;
    let mut padded = vec![0.0; size.width + 2 * reach];
    for out in data.chunks_exact_mut(size.width) {
        padded[..reach].fill(out[0]);
        padded[reach..reach + size.width].copy_from_slice(out);
        padded[reach + size.width..].fill(out[size.width - 1]);
        for value in out.iter_mut() {
            *value *= taps[0];
        }
        for (k, &tap) in taps.iter().enumerate().skip(1) {
            add_pair(out, &padded[reach - k..], &padded[reach + k..], tap);
        }
    }
}

/// Adds `weight (a + b)`.
fn add_pair(out: &mut [f32], a: &[f32], b: &[f32], weight: f32) {
    for ((value, &a), &b) in out.iter_mut().zip(a).zip(b) {
        *value += (a + b) * weight;
    }
}

pub(super) fn ghosts(params: &GhostParams, data: &mut [f32], size: Size) {
    let before = Buffer::from(&*data);
    for &[shift, weight] in params.copies.iter().filter(|copy| copy[1] != 0.0) {
        let length = match params.axis {
            Axis::Vertical => size.height,
            Axis::Horizontal => size.width,
        };
        let shift = (shift.rem_euclid(1.0) * length as f32 + 0.5) as usize % length;
        for (row, out) in data.chunks_exact_mut(size.width).enumerate() {
            let (from, shift) = match params.axis {
                Axis::Vertical => ((row + size.height - shift) % size.height, 0),
                Axis::Horizontal => (row, shift),
            };
            let line = &before[from * size.width..(from + 1) * size.width];
            let (wrapped, rest) = out.split_at_mut(shift);
            let add = |out: &mut [f32], line: &[f32]| {
                for (value, &copy) in out.iter_mut().zip(line) {
                    *value += weight * copy;
                }
            };
            add(wrapped, &line[size.width - shift..]);
            add(rest, line);
        }
    }
    if params.copies.iter().any(|copy| copy[1] < 0.0) {
        for value in data {
            *value = value.abs();
        }
    }
}

pub(super) fn chemical_shift(
    params: &ChemicalShiftParams,
    data: &mut [f32],
    size: Size,
    unit_px: f32,
) {
    let shift = (params.shift * unit_px).round() as isize;
    if shift == 0 {
        return;
    }
    let fat_of = |value: f32| value * (4.0 * (value - params.threshold)).clamp(0.0, 1.0);
    let fat: Buffer = data.iter().map(|&value| fat_of(value)).collect();
    let clamped = |at: isize, length: usize| at.clamp(0, length as isize - 1) as usize;
    for (row, out) in data.chunks_exact_mut(size.width).enumerate() {
        let line = |row: usize| &fat[row * size.width..(row + 1) * size.width];
        let own = line(row);
        match params.axis {
            Axis::Vertical => {
                let moved = line(clamped(row as isize - shift, size.height));
                for ((value, &fat), &moved) in out.iter_mut().zip(own).zip(moved) {
                    *value += moved - fat;
                }
            }
            Axis::Horizontal => {
                for (col, value) in out.iter_mut().enumerate() {
                    *value += own[clamped(col as isize - shift, size.width)] - own[col];
                }
            }
        }
    }
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "untouched pixels keep their bits")]
mod tests {
    use super::*;
    use crate::acquisition::testing::{SIZE, UNIT_PX, pattern};

    const AXES: [Axis; 2] = [Axis::Vertical, Axis::Horizontal];

    #[test]
    fn zero_strength_is_the_identity() {
        let mut data = pattern();
        truncation(&TruncationParams { kept: [1.0; 2] }, &mut data, SIZE);
        for axis in AXES {
            let copies = vec![[0.3, 0.0]];
            ghosts(&GhostParams { axis, copies }, &mut data, SIZE);
            let params = ChemicalShiftParams {
                axis,
                shift: 0.0,
                threshold: 0.1,
            };
            chemical_shift(&params, &mut data, SIZE, UNIT_PX);
        }
        assert_eq!(data, pattern());
    }

    /// The Wilbraham-Gibbs constant: (Si(pi) / pi - 1/2) of the step, one cut-off period from it.
    #[test]
    fn a_step_overshoots_by_nine_per_cent() {
        for (size, along_rows) in [(Size::new(31, 203), true), (Size::new(203, 31), false)] {
            let step = |at: usize| {
                let position = if along_rows {
                    at % size.width
                } else {
                    at / size.width
                };
                f32::from(position >= 100)
            };
            let mut data: Vec<f32> = (0..size.area()).map(step).collect();
            let kept = if along_rows { [1.0, 0.25] } else { [0.25, 1.0] };
            truncation(&TruncationParams { kept }, &mut data, size);
            let most = data.iter().copied().fold(0.0, f32::max);
            let least = data.iter().copied().fold(0.0, f32::min);
            assert!((most - 1.089_49).abs() < 0.01, "{most}");
            assert!((least + 0.089_49).abs() < 0.01, "{least}");
        }
    }

    #[test]
    fn frequencies_below_the_cut_off_stay_and_those_above_vanish() {
        let size = Size::new(5, 400);
        for (period, expected) in [(20.0, 1.0), (5.0, 0.0)] {
            let wave = |at: usize| libm::cosf((at % 400) as f32 / period * std::f32::consts::TAU);
            let mut data: Vec<f32> = (0..size.area()).map(wave).collect();
            // The cut-off's period: 2 / 0.2 = 10 pixels.
            truncation(&TruncationParams { kept: [1.0, 0.2] }, &mut data, size);
            let got = data[size.index(2, 200)];
            assert!((got - expected).abs() < 0.02, "{period}: {got}");
        }
    }

    #[test]
    fn ghosts_are_cyclic_copies() {
        for axis in AXES {
            let mut data = vec![0.0; SIZE.area()];
            data[SIZE.index(50, 80)] = 1.0;
            let copies = vec![[1.0 / 3.0, 0.2]];
            ghosts(&GhostParams { axis, copies }, &mut data, SIZE);
            let at = match axis {
                Axis::Vertical => SIZE.index((50 + 20) % 61, 80),
                Axis::Horizontal => SIZE.index(50, (80 + 30) % 90),
            };
            assert_eq!(data[at], 0.2);
            let total: f32 = data.iter().sum();
            assert!((total - 1.2).abs() < 1e-6);
        }
    }

    #[test]
    fn fat_moves_and_water_stays() {
        for axis in AXES {
            let mut data = vec![0.2; SIZE.area()];
            data[SIZE.index(20, 40)] = 1.0;
            let params = ChemicalShiftParams {
                axis,
                shift: 3.0 / UNIT_PX,
                threshold: 0.5,
            };
            chemical_shift(&params, &mut data, SIZE, UNIT_PX);
            assert_eq!(data[SIZE.index(20, 40)], 0.0);
            let (row, col) = match axis {
                Axis::Vertical => (23, 40),
                Axis::Horizontal => (20, 43),
            };
            assert_eq!(data[SIZE.index(row, col)], 1.2);
            assert_eq!(data[SIZE.index(10, 10)], 0.2);
        }
    }
}
