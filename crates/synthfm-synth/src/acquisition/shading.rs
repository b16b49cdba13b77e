//! Smooth gains: bias field, coil sensitivity, vignetting.
//!
//! The bias field is `SynthMorph`'s (a coarse normal grid, enlarged, exponentiated). A surface coil of
//! radius R has on its axis, at distance d, the field `(1 + d²/R²)^(-3/2)` of a loop (Biot-Savart); it
//! stands here for all directions, and coils add as the root of the sum of squares (Roemer et al.,
//! Magn. Reson. Med. 1990). Vignetting is the natural `cos⁴` of the angle off the optical axis.

use serde::{Deserialize, Serialize};
use synthfm_image::Size;

use crate::Result;
use crate::blur::{self, Plane};
use crate::check::{at_most, numbers, within};
use crate::field::{self, Grid};
use crate::params::Vec2;

/// A smooth multiplicative field `exp(s F)`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BiasParams {
    /// Sub-seed.
    pub seed: u32,
    /// Scale of the field.
    pub scale: f32,
    /// Standard deviation of its logarithm.
    pub std: f32,
}

/// Gain `1 + strength (s / mean(s) - 1)`, s the combined sensitivity of the coils.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CoilParams {
    /// Positions of the coils, in the image or outside.
    pub coils: Vec<Vec2>,
    /// Radius R of each coil.
    pub radius: f32,
    /// Share of the shading that remains after correction, 0 to 1.
    pub strength: f32,
}

/// Gain `cos⁴ a = (1 + d² falloff)^-2`, d the distance from the axis.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VignetteParams {
    /// Where the optical axis meets the image.
    pub centre: Vec2,
    /// Squared tangent of the angle at distance 1.
    pub falloff: f32,
}

impl BiasParams {
    pub(super) fn validate(&self) -> Result<()> {
        numbers("acquisition.bias", &[self.scale, self.std])
    }
}

impl CoilParams {
    pub(super) fn validate(&self) -> Result<()> {
        let field = "acquisition.coil";
        at_most(field, self.coils.len(), 32, "at most 32 coils")?;
        numbers(field, self.coils.as_flattened())?;
        numbers(field, &[self.radius])?;
        within(field, &[self.strength], 1.0, "a strength of at most 1")
    }
}

impl VignetteParams {
    pub(super) fn validate(&self) -> Result<()> {
        let [x, y] = self.centre;
        numbers("acquisition.vignette", &[x, y, self.falloff])
    }
}

pub(super) fn bias(params: &BiasParams, data: &mut [f32], size: Size, unit_px: f32) {
    let scale_px = params.scale * unit_px;
    let coarse = field::smooth(params.seed, size, scale_px, params.std);
    // Exponentiated on a grid that is fine enough for linear interpolation afterwards.
    let knots = |length| field::knot_count(length, (scale_px / 4.0).max(2.0));
    let mut gain = coarse.enlarged(Size::new(knots(size.height), knots(size.width)));
    let width = gain.size.width;
    blur::gaussian(
        &mut Plane {
            data: &mut gain.data,
            width,
        },
        [2.0, 2.0],
    );
    gain.data
        .iter_mut()
        .for_each(|v| *v = libm::expf(v.clamp(-10.0, 10.0)));
    multiply(data, size, gain);
}

pub(super) fn coil(params: &CoilParams, data: &mut [f32], size: Size, unit_px: f32) {
    if params.strength == 0.0 || params.coils.is_empty() {
        return;
    }
    let per_radius = 1.0 / (params.radius * params.radius).max(1e-6);
    let mut gain = tabulated(size, unit_px, |p| {
        let power = params.coils.iter().map(|coil| {
            let base = 1.0 + squared_distance(p, *coil) * per_radius;
            1.0 / (base * base * base)
        });
        power.sum::<f32>().sqrt()
    });
    let mean = gain.data.iter().sum::<f32>() / gain.data.len() as f32;
    for value in &mut *gain.data {
        *value = 1.0 + params.strength * (*value / mean.max(1e-20) - 1.0);
    }
    multiply(data, size, gain);
}

pub(super) fn vignette(params: &VignetteParams, data: &mut [f32], size: Size, unit_px: f32) {
    if params.falloff == 0.0 {
        return;
    }
    let gain = tabulated(size, unit_px, |p| {
        let base = 1.0 + squared_distance(p, params.centre) * params.falloff.abs();
        1.0 / (base * base)
    });
    multiply(data, size, gain);
}

/// A function of the position on a grid of knots 1/32 apart.
fn tabulated(size: Size, unit_px: f32, of: impl Fn(Vec2) -> f32) -> Grid {
    let knots = |length: usize| field::knot_count(length, unit_px / 32.0);
    let grid = Size::new(knots(size.height), knots(size.width));
    let extent = [size.width, size.height].map(|length| (length - 1) as f32 / unit_px);
    let value = |at: usize| {
        let (row, col) = (at / grid.width, at % grid.width);
        of([
            extent[0] * col as f32 / (grid.width - 1) as f32,
            extent[1] * row as f32 / (grid.height - 1) as f32,
        ])
    };
    Grid {
        size: grid,
        data: (0..grid.area()).map(value).collect(),
    }
}

fn multiply(data: &mut [f32], size: Size, gain: Grid) {
    let gain = gain.enlarged(size);
    data.iter_mut()
        .zip(&*gain.data)
        .for_each(|(value, &gain)| *value *= gain);
}

fn squared_distance(a: Vec2, b: Vec2) -> f32 {
    let (dx, dy) = (a[0] - b[0], a[1] - b[1]);
    dx * dx + dy * dy
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "untouched pixels keep their bits")]
mod tests {
    use super::*;
    use crate::acquisition::testing::{SIZE, UNIT_PX, pattern};

    #[test]
    fn bias_is_positive_and_smooth() {
        let params = BiasParams {
            seed: 3,
            scale: 0.3,
            std: 0.8,
        };
        let mut data = vec![1.0; SIZE.area()];
        bias(&params, &mut data, SIZE, UNIT_PX);
        assert!(data.iter().all(|&v| v > 0.0));
        assert!(
            data.windows(2)
                .take(80)
                .all(|pair| (pair[0] / pair[1] - 1.0).abs() < 0.2)
        );
        assert!(data.iter().any(|&v| (v - 1.0).abs() > 0.1));
    }

    #[test]
    fn zero_strength_is_the_identity() {
        let mut data = pattern();
        let params = CoilParams {
            coils: vec![[0.0, 0.5]],
            radius: 0.4,
            strength: 0.0,
        };
        coil(&params, &mut data, SIZE, UNIT_PX);
        let centre = [0.7, 0.5];
        let falloff = 0.0;
        let params = VignetteParams { centre, falloff };
        vignette(&params, &mut data, SIZE, UNIT_PX);
        let params = BiasParams {
            seed: 1,
            scale: 0.2,
            std: 0.0,
        };
        bias(&params, &mut data, SIZE, UNIT_PX);
        assert_eq!(data, pattern());
    }

    #[test]
    fn one_coil_falls_as_the_field_of_a_loop() {
        let params = CoilParams {
            coils: vec![[0.0, 0.0]],
            radius: 0.5,
            strength: 1.0,
        };
        let mut data = vec![1.0; SIZE.area()];
        coil(&params, &mut data, SIZE, UNIT_PX);
        // At one radius 2^(-3/2), at two 5^(-3/2).
        let at = |x: f32| {
            let position = x * UNIT_PX;
            let (low, share) = (position as usize, position.fract());
            data[low] + (data[low + 1] - data[low]) * share
        };
        assert!((at(0.5) / at(0.0) - 0.353_55).abs() < 0.01);
        assert!((at(1.0) / at(0.0) - 0.089_44).abs() < 0.01);
        let mean = data.iter().sum::<f32>() / data.len() as f32;
        assert!((mean - 1.0).abs() < 0.05, "{mean}");
    }

    #[test]
    fn vignetting_is_a_quarter_at_45_degrees() {
        let params = VignetteParams {
            centre: [0.0, 0.0],
            falloff: 1.0,
        };
        let mut data = vec![1.0; SIZE.area()];
        vignette(&params, &mut data, SIZE, UNIT_PX);
        assert_eq!(data[0], 1.0);
        assert!((data[SIZE.index(0, 61)] - 0.25).abs() < 0.005);
    }
}
