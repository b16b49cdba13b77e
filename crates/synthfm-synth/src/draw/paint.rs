//! Random paints: textures, means that contrast with their surroundings, rims.

use super::{Modality, Scene};
use crate::params::{Paint, RimParams, TextureParams, Vec2};

impl Scene<'_> {
    /// A bank of up to three textures that paints share.
    pub(super) fn draw_textures(&mut self) {
        for _ in 0..self.rng.int(1, 3) {
            let texture = self.texture();
            self.textures.push(texture);
        }
    }

    fn texture(&mut self) -> TextureParams {
        let mut weights = self.look.texture_weights();
        if self.beams {
            // The beams bring their own speckle.
            weights = [0.0, weights[1], weights[2], 0.0, weights[4]];
        }
        let kind = self.rng.pick(&weights);
        let seed = self.rng.seed();
        let scale = self.rng.log_uniform(0.03, 0.3);
        let stretch = self.rng.log_uniform(0.5, 2.0);
        let octaves = self.rng.int(2, 6) as u8;
        let persistence = self.rng.uniform(0.45, 0.95);
        let grain = self.grain();
        match kind {
            0 => TextureParams::Grain { seed, grain },
            1 => TextureParams::Fractal {
                seed,
                scale: [scale, scale * stretch],
                octaves,
                persistence,
            },
            2 => TextureParams::Ridges {
                seed,
                scale: [scale * 0.6, scale * 0.6 * stretch],
                octaves: octaves.min(4),
                persistence,
            },
            3 => TextureParams::Speckle { seed, grain },
            _ => TextureParams::Stripes {
                seed,
                period: self.rng.log_uniform(0.015, 0.08),
                angle: self.rng.angle(),
                waviness: self.rng.uniform(0.1, 0.8),
            },
        }
    }

    /// A correlation length, vertically and horizontally; ultrasound is coarser across the beam.
    pub(super) fn grain(&mut self) -> Vec2 {
        let grain = self.rng.within(self.config.noise.grain);
        if self.look == Modality::Ultrasound {
            let grain = grain.max(0.0015);
            return [grain, grain * self.rng.uniform(1.0, 3.0)];
        }
        if self.rng.chance(0.3) {
            return [0.0; 2];
        }
        [grain, grain * self.rng.log_uniform(0.7, 1.4)]
    }

    /// A mean for tissue, without regard to surroundings.
    pub(super) fn tissue_mean(&mut self) -> f32 {
        let range = self.look.means();
        self.rng.within(range)
    }

    /// A mean that differs from `surroundings` by a contrast of the configured range; either sign.
    pub(super) fn contrasting(&mut self, surroundings: f32) -> f32 {
        let [low, high] = self.config.appearance.contrast;
        let third = low * libm::cbrtf(high / low);
        let difference = if self.rng.chance(self.config.appearance.near_equal) {
            self.rng.log_uniform(low, third)
        } else {
            self.rng.log_uniform(third, high)
        };
        let [darkest, brightest] = self.look.means();
        let step = difference * self.rng.sign();
        let fits = |mean: f32| mean >= darkest && mean <= brightest;
        if fits(surroundings + step) {
            return surroundings + step;
        }
        if fits(surroundings - step) {
            return surroundings - step;
        }
        // Neither side has room: the farther end of the range.
        if surroundings - darkest > brightest - surroundings {
            darkest
        } else {
            brightest
        }
    }

    /// A paint of this mean with a random texture; darker tissue has less of it.
    pub(super) fn textured(&mut self, mean: f32) -> Paint {
        let [low, high] = self.config.appearance.texture;
        // Echoes are texture: ultrasound has little without.
        let low = if self.look == Modality::Ultrasound {
            (4.0 * low).min(high)
        } else {
            low
        };
        let amplitude = self.rng.log_uniform(low, high);
        let texture = self.rng.int(0, self.textures.len().max(1) as u32 - 1) as u8;
        Paint {
            mean,
            amplitude: amplitude * (0.3 + 0.7 * mean),
            texture,
        }
    }

    /// A paint that contrasts with its surroundings.
    pub(super) fn contrasting_paint(&mut self, surroundings: f32) -> Paint {
        let mean = self.contrasting(surroundings);
        self.textured(mean)
    }

    /// A rim, bright more often than dark, with gaps and fading along the beam.
    pub(super) fn rim(&mut self, inside: f32, width: [f32; 2]) -> RimParams {
        let bright = self.rng.chance(0.75);
        let mean = if bright {
            (inside + self.rng.uniform(0.25, 0.8)).min(1.0)
        } else {
            (inside - self.rng.uniform(0.15, 0.5)).max(0.0)
        };
        let width = self.rng.log_within(width);
        let ultrasound = self.look == Modality::Ultrasound;
        let gaps = if self.rng.chance(0.6) {
            self.rng.int(0, 4)
        } else {
            0
        };
        RimParams {
            mean,
            width,
            softness: width * self.rng.uniform(0.1, 0.5),
            directionality: if ultrasound {
                self.rng.uniform(0.2, 1.0)
            } else {
                0.0
            },
            beam: std::f32::consts::FRAC_PI_2 + 0.3 * self.rng.normal(),
            gaps: (0..gaps)
                .map(|_| [self.rng.unit(), self.rng.uniform(0.02, 0.15)])
                .collect(),
        }
    }
}
