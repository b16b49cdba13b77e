//! Optics: blur, partial defocus, detail gain, relief.
//!
//! Detail gain, `I + g (I - G * I)`, is one formula for three phenomena: a sharp reconstruction kernel
//! (narrow G, g > 0), the halo and shade-off of phase contrast (G as wide as a cell, g > 0; Yin et al.,
//! Med. Image Anal. 2012, model the point spread as a peak minus a broad ring), and X-ray scatter or
//! veiling glare (very wide G, g < 0; Seibert et al., Med. Phys. 1984).

use serde::{Deserialize, Serialize};
use synthfm_image::Size;

use super::resample;
use crate::Result;
use crate::blur::{self, Plane};
use crate::check::{numbers, within};
use crate::field;
use crate::params::Vec2;
use crate::scratch::Buffer;

/// A Gaussian point spread.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BlurParams {
    /// Standard deviation, vertically and horizontally.
    pub sigma: Vec2,
}

/// `I + w (G * I - I)`, with a smooth random weight w from 0 (in focus) to 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DefocusParams {
    /// Sub-seed of the weight.
    pub seed: u32,
    /// Standard deviation of G.
    pub sigma: f32,
    /// Scale over which the focus changes.
    pub scale: f32,
}

/// `I + gain (I - G * I)`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DetailParams {
    /// Standard deviation of G.
    pub sigma: f32,
    /// Gain of what G removes; -1 leaves `G * I`.
    pub gain: f32,
}

/// Relief: `keep I + (1 - keep) level + strength (I(x + d) - I(x - d))`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReliefParams {
    /// Shift `d`.
    pub shift: Vec2,
    /// Strength.
    pub strength: f32,
    /// Grey of flat areas.
    pub level: f32,
    /// Share of the unchanged image that remains.
    pub keep: f32,
}

impl BlurParams {
    pub(super) fn validate(&self) -> Result<()> {
        within("acquisition.blur", &self.sigma, 1.0, "at most 1")
    }
}

impl DefocusParams {
    pub(super) fn validate(&self) -> Result<()> {
        within("acquisition.defocus", &[self.sigma], 1.0, "at most 1")?;
        numbers("acquisition.defocus", &[self.scale])
    }
}

impl DetailParams {
    pub(super) fn validate(&self) -> Result<()> {
        within("acquisition.detail", &[self.sigma], 1.0, "at most 1")?;
        numbers("acquisition.detail", &[self.gain])
    }
}

impl ReliefParams {
    pub(super) fn validate(&self) -> Result<()> {
        let [x, y] = self.shift;
        let values = [x, y, self.strength, self.level, self.keep];
        numbers("acquisition.relief", &values)
    }
}

pub(super) fn blur(params: &BlurParams, data: &mut [f32], size: Size, unit_px: f32) {
    let sigma_px = params.sigma.map(|sigma| sigma * unit_px);
    let width = size.width;
    blur::gaussian(&mut Plane { data, width }, sigma_px);
}

pub(super) fn defocus(params: &DefocusParams, data: &mut [f32], size: Size, unit_px: f32) {
    if params.sigma <= 0.0 {
        return;
    }
    let low = low_pass(data, size, params.sigma * unit_px);
    let weight = field::smooth(params.seed, size, params.scale * unit_px, 1.0).enlarged(size);
    for ((value, &low), &weight) in data.iter_mut().zip(&*low).zip(&*weight.data) {
        *value += (0.5 + weight).clamp(0.0, 1.0) * (low - *value);
    }
}

pub(super) fn detail(params: &DetailParams, data: &mut [f32], size: Size, unit_px: f32) {
    if params.gain == 0.0 {
        return;
    }
    let low = low_pass(data, size, params.sigma * unit_px);
    for (value, &low) in data.iter_mut().zip(&*low) {
        *value += params.gain * (*value - low);
    }
}

/// `G * I`; a wide G acts on a coarse grid.
fn low_pass(data: &[f32], size: Size, sigma_px: f32) -> Buffer {
    // Half a standard deviation between knots: neither averaging nor interpolation is visible.
    let step_px = (sigma_px / 2.0).clamp(1.0, 1e4);
    let knots = |length: usize| field::knot_count(length, step_px);
    let grid = Size::new(knots(size.height), knots(size.width));
    let mut low = resample::shrunk(data, size, grid);
    let px_per_knot = |length: usize, knots: usize| (length - 1) as f32 / (knots - 1) as f32;
    let sigma = [
        sigma_px / px_per_knot(size.height, grid.height),
        sigma_px / px_per_knot(size.width, grid.width),
    ];
    let width = grid.width;
    let data = &mut low.data;
    blur::gaussian(&mut Plane { data, width }, sigma);
    low.enlarged(size).data
}

/// Edges are replicated.
pub(super) fn relief(params: &ReliefParams, data: &mut [f32], size: Size, unit_px: f32) {
    let before = Buffer::from(&*data);
    let shift = params
        .shift
        .map(|v| (v * unit_px).clamp(-1e4, 1e4).round() as isize);
    let clamped = |v: isize, length: usize| v.clamp(0, length as isize - 1) as usize;
    let base = (1.0 - params.keep) * params.level;
    for row in 0..size.height {
        let ahead = clamped(row as isize + shift[1], size.height) * size.width;
        let behind = clamped(row as isize - shift[1], size.height) * size.width;
        for col in 0..size.width {
            let plus = before[ahead + clamped(col as isize + shift[0], size.width)];
            let minus = before[behind + clamped(col as isize - shift[0], size.width)];
            let value = &mut data[row * size.width + col];
            *value = params.keep * *value + base + params.strength * (plus - minus);
        }
    }
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "untouched pixels keep their bits")]
mod tests {
    use super::*;
    use crate::acquisition::testing::{SIZE, UNIT_PX, pattern};

    #[test]
    fn zero_strength_is_the_identity() {
        let mut data = pattern();
        blur(&BlurParams { sigma: [0.0; 2] }, &mut data, SIZE, UNIT_PX);
        let (sigma, scale) = (0.0, 0.2);
        let params = DefocusParams {
            seed: 1,
            sigma,
            scale,
        };
        defocus(&params, &mut data, SIZE, UNIT_PX);
        let params = DetailParams {
            sigma: 0.1,
            gain: 0.0,
        };
        detail(&params, &mut data, SIZE, UNIT_PX);
        assert_eq!(data, pattern());
    }

    /// A cosine of period P has the gain `1 + g (1 - exp(-2 (pi s / P)²))`.
    #[test]
    fn detail_has_the_transfer_function_of_the_formula() {
        let size = Size::new(65, 400);
        let cosine = |col: usize| libm::cosf(std::f32::consts::TAU * col as f32 / 40.0);
        let before: Vec<f32> = (0..size.area()).map(|at| cosine(at % 400)).collect();
        for (sigma_px, gain) in [(1.5_f32, 0.8_f32), (8.0, 0.5), (8.0, -0.6)] {
            let mut after = before.clone();
            let sigma = sigma_px / 65.0;
            detail(&DetailParams { sigma, gain }, &mut after, size, 65.0);
            let ratio = std::f32::consts::PI * sigma_px / 40.0;
            let expected = 1.0 + gain * (1.0 - libm::expf(-2.0 * ratio * ratio));
            // Away from the replicated ends, at a crest.
            let got = after[size.index(30, 200)];
            assert!((got - expected).abs() < 0.03, "{got} {expected}");
        }
    }

    #[test]
    fn defocus_blurs_some_parts_and_keeps_constants() {
        let params = DefocusParams {
            seed: 4,
            sigma: 0.04,
            scale: 0.2,
        };
        let mut flat = vec![0.3; SIZE.area()];
        defocus(&params, &mut flat, SIZE, UNIT_PX);
        assert!(flat.iter().all(|v| (v - 0.3).abs() < 1e-5));
        let mut data = pattern();
        defocus(&params, &mut data, SIZE, UNIT_PX);
        let kept = data
            .iter()
            .zip(pattern())
            .filter(|(a, b)| **a == *b)
            .count();
        let changed = data
            .iter()
            .zip(pattern())
            .filter(|(a, b)| (*a - b).abs() > 0.05)
            .count();
        assert!(kept > 100 && changed > 500, "{kept} {changed}");
    }

    #[test]
    fn relief_of_a_flat_image_is_its_level() {
        let params = ReliefParams {
            shift: [0.02, 0.02],
            strength: 2.0,
            level: 0.5,
            keep: 0.0,
        };
        let mut data = vec![0.9; SIZE.area()];
        relief(&params, &mut data, SIZE, UNIT_PX);
        assert!(data.iter().all(|&v| v == 0.5));
    }
}
