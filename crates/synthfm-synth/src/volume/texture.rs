//! Texture and noise that run on from slice to slice.
//!
//! A field is a sum of octaves of white noise on lattices that are as coarse along z as in the plane, in mm. The two
//! lattice planes around a slice are drawn from the seed and their number, mixed, brought to their mean variance, and
//! enlarged: a slice needs no other slice, and no more memory than itself.

use synthfm_image::Size;

use crate::field::{Grid, knot_count};
use crate::params::TextureParams;
use crate::scratch::Buffer;

/// Octaves of a texture.
#[derive(Debug, Clone)]
pub(super) struct Texture {
    seed: u32,
    /// Coarsest scale along rows, along columns and across slices, in units.
    scale: [f32; 3],
    octaves: u8,
    persistence: f32,
    law: Law,
    /// Mean and inverse standard deviation of what the lattices give.
    mean: f32,
    norm: f32,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Law {
    Plain,
    /// `-|v|`: bright lines where the noise changes sign.
    Ridges,
    /// The modulus of a complex field.
    Speckle,
}

/// Turns a seed into that of the next lattice plane.
const NEXT_PLANE: u32 = 0x9e37_79b1;

/// Smallest scale in pixels.
const LEAST_PX: f32 = 0.5;

impl Texture {
    /// The texture of a recipe on slices of this size, whose neighbouring pixels are `step` apart in units.
    pub(super) fn new(params: &TextureParams, size: Size, step: f32) -> Self {
        let least = LEAST_PX * step;
        let (seed, scale, octaves, persistence, law) = match *params {
            TextureParams::Grain { seed, grain } => (seed, grain, 1, 1.0, Law::Plain),
            TextureParams::Fractal {
                seed,
                scale,
                octaves,
                persistence,
            } => (seed, scale, octaves, persistence, Law::Plain),
            TextureParams::Ridges {
                seed,
                scale,
                octaves,
                persistence,
            } => (seed, scale, octaves, persistence, Law::Ridges),
            TextureParams::Speckle { seed, grain } => (seed, grain, 1, 1.0, Law::Speckle),
            TextureParams::Stripes { seed, period, .. } => (seed, [period; 2], 1, 1.0, Law::Ridges),
        };
        let [rows, columns] = scale.map(|scale| scale.max(least));
        let mut texture = Self {
            seed,
            scale: [rows, columns, libm::sqrtf(rows * columns)],
            octaves: octaves.clamp(1, 8),
            persistence,
            law,
            mean: 0.0,
            norm: 1.0,
        };
        texture.normalise(size, step);
        texture
    }

    /// Takes mean and variance from two planes far apart.
    fn normalise(&mut self, size: Size, step: f32) {
        let (mut sum, mut square, mut count) = (0.0_f64, 0.0_f64, 0.0_f64);
        for z in [0.0, 100.5] {
            let mut plane = Buffer::stale(size.area());
            self.raw(z * self.scale[2], size, step, &mut plane);
            for &v in &*plane {
                sum += f64::from(v);
                square += f64::from(v) * f64::from(v);
            }
            count += plane.len() as f64;
        }
        let mean = if self.law == Law::Plain {
            0.0
        } else {
            sum / count
        };
        let variance = square / count - mean * mean;
        self.mean = mean as f32;
        self.norm = if variance > 1e-12 {
            (1.0 / libm::sqrt(variance)) as f32
        } else {
            0.0
        };
    }

    /// Fills a slice at `z` (units) with numbers of about zero mean and unit variance.
    pub(super) fn fill(&self, z: f32, size: Size, step: f32, out: &mut [f32]) {
        self.raw(z, size, step, out);
        for value in out {
            *value = (*value - self.mean) * self.norm;
        }
    }

    fn raw(&self, z: f32, size: Size, step: f32, out: &mut [f32]) {
        out.copy_from_slice(&self.octaves(self.seed, z, size, step).data);
        match self.law {
            Law::Plain => {}
            Law::Ridges => out.iter_mut().for_each(|v| *v = -v.abs()),
            Law::Speckle => {
                let seed = self.seed ^ crate::field::IMAGINARY;
                let other = self.octaves(seed, z, size, step);
                for (value, &b) in out.iter_mut().zip(&*other.data) {
                    *value = (*value * *value + b * b).sqrt();
                }
            }
        }
    }

    fn octaves(&self, seed: u32, z: f32, size: Size, step: f32) -> Grid {
        let mut sum: Option<Grid> = None;
        let mut amplitude = 1.0;
        for octave in 0..self.octaves {
            let share = 1.0 / f32::from(1_u16 << octave);
            let scale = self.scale.map(|scale| scale * share);
            if octave > 0 && scale[0].max(scale[1]) < step {
                break;
            }
            let knots = |length, scale: f32| knot_count(length, scale / step);
            let grid = Size::new(knots(size.height, scale[0]), knots(size.width, scale[1]));
            let seed = seed.wrapping_add(0x9e37 * u32::from(octave));
            let noise = lattice(seed, z / scale[2].max(LEAST_PX * step), grid);
            sum = Some(match sum {
                None => noise,
                Some(coarse) => {
                    let mut sum = coarse.enlarged(grid);
                    for (value, &noise) in sum.data.iter_mut().zip(&*noise.data) {
                        *value += amplitude * noise;
                    }
                    sum
                }
            });
            amplitude *= self.persistence;
        }
        let grid = sum.unwrap_or_else(|| Grid::white(seed, size));
        // Half a knot of blur hides the creases of linear interpolation; white noise stays white.
        let sigma = if grid.size == size { 0.0 } else { 0.6 };
        grid.blurred([sigma; 2]).enlarged(size)
    }
}

/// Mixture of the two planes of white noise around `position`, of unit variance.
fn lattice(seed: u32, position: f32, grid: Size) -> Grid {
    let position = position.clamp(0.0, 1e6);
    let number = position as u32;
    let share = position - number as f32;
    let plane = |number: u32| Grid::white(seed.wrapping_add(NEXT_PLANE.wrapping_mul(number)), grid);
    let mut low = plane(number);
    if share <= 0.0 {
        return low;
    }
    let high = plane(number + 1);
    let keep = 1.0 - share;
    let norm = 1.0 / (keep * keep + share * share).sqrt();
    let (a, b) = (keep * norm, share * norm);
    for (value, &other) in low.data.iter_mut().zip(&*high.data) {
        *value = *value * a + other * b;
    }
    low
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: Size = Size::new(90, 110);
    const STEP: f32 = 1.0 / 90.0;

    fn slice(texture: &Texture, z: f32) -> Vec<f32> {
        let mut out = vec![0.0; SIZE.area()];
        texture.fill(z, SIZE, STEP, &mut out);
        out
    }

    fn correlation(a: &[f32], b: &[f32]) -> f32 {
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
        dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
    }

    #[test]
    fn neighbouring_slices_are_alike_and_far_ones_are_not() {
        let seed = 3;
        for params in [
            TextureParams::Fractal {
                seed,
                scale: [0.2, 0.2],
                octaves: 2,
                persistence: 0.5,
            },
            TextureParams::Grain {
                seed,
                grain: [0.06, 0.06],
            },
            TextureParams::Speckle {
                seed,
                grain: [0.06, 0.06],
            },
        ] {
            let texture = Texture::new(&params, SIZE, STEP);
            let here = slice(&texture, 0.31);
            assert!(
                correlation(&here, &slice(&texture, 0.315)) > 0.9,
                "{params:?}"
            );
            assert!(
                correlation(&here, &slice(&texture, 1.31)).abs() < 0.3,
                "{params:?}"
            );
        }
    }

    #[test]
    fn slices_have_about_unit_variance_wherever_they_lie() {
        let params = TextureParams::Fractal {
            seed: 1,
            scale: [0.1, 0.1],
            octaves: 3,
            persistence: 0.6,
        };
        let texture = Texture::new(&params, SIZE, STEP);
        for k in 0..20 {
            let values = slice(&texture, 0.023 * k as f32);
            let square = values.iter().map(|v| v * v).sum::<f32>() / values.len() as f32;
            assert!((0.6..1.6).contains(&square), "{square}");
        }
    }
}
