//! Random members of the noise library, in random order.

use super::Scene;
use crate::config::EffectRange;
use crate::params::{Effect, NoiseParams, SpeckleLaw};

impl Scene<'_> {
    pub(super) fn draw_noise(&mut self) {
        let config = &self.config.noise;
        let ranges = [
            config.gaussian,
            config.poisson,
            config.perlin,
            config.speckle,
            config.rician,
        ];
        let mut factors = self.look.noise_factors();
        if self.beams {
            factors[3] = 0.0;
        }
        let mut order = [0, 1, 2, 3, 4];
        self.rng.shuffle(&mut order);
        for member in order {
            let EffectRange {
                probability,
                strength,
            } = ranges[member];
            if self.rng.chance(probability * factors[member]) {
                let strength = self.rng.log_within(strength);
                let noise = self.noise_member(member, strength);
                self.effects.push(Effect::Noise(noise));
            }
        }
    }

    fn noise_member(&mut self, member: usize, strength: f32) -> NoiseParams {
        let (seed, grain) = (self.rng.seed(), self.grain());
        match member {
            0 => NoiseParams::Gaussian {
                seed,
                sigma: strength,
                grain,
            },
            1 => NoiseParams::Poisson {
                seed,
                counts: 1.0 / strength,
            },
            2 => NoiseParams::Perlin {
                seed,
                sigma: strength,
                scale: self.rng.log_uniform(0.05, 0.5),
                octaves: self.rng.int(2, 5) as u8,
                persistence: self.rng.uniform(0.4, 0.8),
            },
            3 => NoiseParams::Speckle {
                seed,
                sigma: strength,
                grain,
                law: if self.rng.chance(0.7) {
                    SpeckleLaw::Rayleigh
                } else {
                    SpeckleLaw::Normal
                },
            },
            _ => NoiseParams::Rician {
                seed,
                sigma: strength,
                grain,
            },
        }
    }
}
