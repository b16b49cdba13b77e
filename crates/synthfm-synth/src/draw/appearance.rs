//! Random appearance: looks, contrasts, textures, optics, noise, views.
//!
//! A look is a coarse statistical caricature of a modality: which noise is likely, how bright tissue
//! is, how far structures differ. It only shifts the probabilities of the configuration; ranges stay.

use super::Scene;
use crate::config::NoiseRange;
use crate::params::{
    BiasParams, FieldOfView, NoiseParams, Paint, ReliefParams, RimParams, SceneKind, ShadowParams,
    SpeckleLaw, TextureParams, Vec2,
};

/// How a modality shows tissue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    Free,
    Ct,
    Mr,
    Ultrasound,
    Xray,
    Microscopy,
}

impl Look {
    /// Range of tissue means.
    fn means(self) -> [f32; 2] {
        match self {
            Self::Free => [0.0, 1.0],
            Self::Ct => [0.15, 0.85],
            Self::Mr => [0.04, 0.9],
            Self::Ultrasound => [0.03, 0.6],
            Self::Xray => [0.08, 0.95],
            Self::Microscopy => [0.05, 0.92],
        }
    }

    /// Factors on the probabilities of Gaussian, Poisson, Perlin, speckle and Rician noise.
    fn noise_factors(self) -> [f32; 5] {
        match self {
            Self::Free => [1.0; 5],
            Self::Ct => [1.6, 1.0, 0.4, 0.05, 0.05],
            Self::Mr => [0.6, 0.2, 0.7, 0.05, 2.5],
            Self::Ultrasound => [0.4, 0.1, 0.7, 3.2, 0.1],
            Self::Xray => [0.6, 1.8, 0.8, 0.02, 0.05],
            Self::Microscopy => [0.9, 1.6, 0.6, 0.2, 0.05],
        }
    }

    /// Weights of the textures: grain, fractal, ridges, speckle, stripes.
    fn texture_weights(self) -> [f32; 5] {
        match self {
            Self::Free => [1.0, 2.0, 0.7, 1.0, 0.5],
            Self::Ct => [2.0, 2.0, 0.1, 0.1, 0.05],
            Self::Mr => [1.0, 3.0, 0.4, 0.2, 0.15],
            Self::Ultrasound => [0.5, 1.5, 0.6, 3.0, 0.25],
            Self::Xray => [0.5, 3.0, 0.4, 0.1, 0.2],
            Self::Microscopy => [1.0, 2.0, 0.7, 0.3, 0.2],
        }
    }
}

impl Scene<'_> {
    pub(super) fn draw_look(&mut self, kind: SceneKind) {
        let looks = [
            Look::Free,
            Look::Ct,
            Look::Mr,
            Look::Ultrasound,
            Look::Xray,
            Look::Microscopy,
        ];
        let weights = match kind {
            SceneKind::LabelMap => [1.0, 0.7, 2.0, 2.5, 0.2, 0.4],
            SceneKind::CloseUp => [1.0, 1.0, 2.0, 1.2, 0.3, 0.8],
            SceneKind::Body => [0.3, 3.0, 2.5, 0.0, 0.2, 0.0],
            SceneKind::Layered => [0.2, 0.0, 0.3, 4.0, 0.0, 0.0],
            SceneKind::Scattered => [0.5, 0.1, 0.1, 0.0, 0.0, 4.0],
            SceneKind::Paired => [0.2, 0.5, 0.3, 0.0, 4.0, 0.0],
            SceneKind::Vessels => [0.7, 0.3, 0.5, 0.2, 0.5, 2.0],
        };
        self.look = if self.rng.chance(self.config.mixture.free_appearance) {
            Look::Free
        } else {
            looks[self.rng.pick(&weights)]
        };
    }

    /// A bank of up to three textures that paints share.
    pub(super) fn draw_textures(&mut self) {
        for _ in 0..self.rng.int(1, 3) {
            let texture = self.texture();
            self.textures.push(texture);
        }
    }

    fn texture(&mut self) -> TextureParams {
        let kind = self.rng.pick(&self.look.texture_weights());
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
    fn grain(&mut self) -> Vec2 {
        let grain = self.rng.within(self.config.noise.grain);
        if self.look == Look::Ultrasound {
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
        let low = if self.look == Look::Ultrasound {
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
        let ultrasound = self.look == Look::Ultrasound;
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

    pub(super) fn draw_optics(&mut self, kind: SceneKind) {
        let appearance = &self.config.appearance;
        let blur = self.rng.within(appearance.blur);
        // Label maps have hard borders: a pixel there belongs to both sides.
        let least = match (self.label_map.is_some(), self.look) {
            (true, Look::Ultrasound) => 0.004,
            (true, _) => 0.0018,
            (false, _) => 0.0006,
        };
        let blur = blur.max(least);
        let lateral = if self.look == Look::Ultrasound {
            self.rng.uniform(1.0, 2.0)
        } else {
            1.0
        };
        self.optics.blur = [blur, blur * lateral];
        let shaded = match self.look {
            Look::Mr => 1.4,
            Look::Ct => 0.3,
            _ => 1.0,
        };
        if self.rng.chance(appearance.bias * shaded) {
            self.optics.bias = Some(BiasParams {
                seed: self.rng.seed(),
                scale: self.rng.log_uniform(0.15, 0.8),
                std: self.rng.within(appearance.bias_std),
            });
        }
        if self.look == Look::Ultrasound {
            self.optics.attenuation = if self.rng.chance(0.5) {
                self.rng.uniform(-0.3, 1.5)
            } else {
                0.0
            };
            for _ in 0..self.rng.int(0, 3) {
                let shadow = self.shadow();
                self.optics.shadows.push(shadow);
            }
        }
        let micro = self.look == Look::Microscopy && kind == SceneKind::Scattered;
        let relief = self.config.appearance.relief * if micro { 2.0 } else { 0.08 };
        if self.rng.chance(relief) {
            self.draw_relief();
        }
    }

    fn draw_relief(&mut self) {
        let (sin, cos) = libm::sincosf(self.rng.angle());
        let shift = self.rng.uniform(0.003, 0.012);
        self.optics.relief = Some(ReliefParams {
            shift: [shift * cos, shift * sin],
            strength: self.rng.uniform(0.3, 1.2),
            level: self.rng.uniform(0.3, 0.7),
            keep: self.rng.uniform(0.0, 0.5),
        });
    }

    fn shadow(&mut self) -> ShadowParams {
        let start = self.point(0.0);
        ShadowParams {
            start: [start[0], start[1] * 0.6],
            half_width: self.rng.log_uniform(0.02, 0.15),
            spread: self.rng.uniform(-0.02, 0.1),
            gain: if self.rng.chance(0.8) {
                self.rng.uniform(0.1, 0.8)
            } else {
                self.rng.uniform(1.1, 1.6)
            },
        }
    }

    pub(super) fn draw_noise(&mut self) {
        let config = &self.config.noise;
        let ranges = [
            config.gaussian,
            config.poisson,
            config.perlin,
            config.speckle,
            config.rician,
        ];
        let factors = self.look.noise_factors();
        let mut order = [0, 1, 2, 3, 4];
        self.rng.shuffle(&mut order);
        for member in order {
            let NoiseRange {
                probability,
                strength,
            } = ranges[member];
            if self.rng.chance(probability * factors[member]) {
                let strength = self.rng.log_within(strength);
                let noise = self.noise_member(member, strength);
                self.noise.push(noise);
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

    pub(super) fn draw_view(&mut self, kind: SceneKind) {
        let appearance = &self.config.appearance;
        self.view.gamma = self.rng.log_within(appearance.gamma);
        if self.rng.chance(appearance.stretch) {
            let dark = self.rng.uniform(0.0, 0.02);
            self.view.stretch = Some([dark, self.rng.uniform(0.97, 1.0)]);
        }
        if self.rng.chance(appearance.window) {
            self.view.window = [self.rng.uniform(-0.15, 0.2), self.rng.uniform(0.65, 1.15)];
        }
        self.view.levels = if self.rng.chance(0.8) { 256 } else { 0 };
        let factor = match (self.look, kind) {
            (Look::Ultrasound, _) => 1.7,
            (_, SceneKind::Vessels) => 1.5,
            (_, SceneKind::LabelMap | SceneKind::CloseUp) => 0.35,
            _ => 0.15,
        };
        if self.rng.chance(appearance.field_of_view * factor) {
            self.view.field_of_view = self.field_of_view();
            if self.rng.chance(0.2) {
                self.view.outside = self.rng.uniform(0.0, 0.15);
            }
        }
    }

    fn field_of_view(&mut self) -> FieldOfView {
        let [width, height] = self.extent;
        let weights = match self.look {
            Look::Ultrasound => [0.05, 0.45, 0.5],
            _ => [0.7, 0.3, 0.0],
        };
        match self.rng.pick(&weights) {
            0 => FieldOfView::Circle {
                centre: [
                    width / 2.0 + 0.03 * self.rng.normal(),
                    height / 2.0 + 0.03 * self.rng.normal(),
                ],
                radius: self.rng.uniform(0.42, 0.56),
            },
            1 => FieldOfView::Strip {
                min: [width * self.margin(), height * self.margin()],
                max: [
                    width * (1.0 - self.margin()),
                    height * (1.0 - self.margin()),
                ],
            },
            _ => {
                let near = self.rng.uniform(0.02, 0.5);
                let half_angle = self.rng.uniform(0.4, 0.85);
                let far = near + height * self.rng.uniform(0.85, 1.1);
                let top = height * self.rng.uniform(-0.08, 0.05);
                FieldOfView::Sector {
                    apex: [
                        width * self.rng.uniform(0.42, 0.58),
                        top - near * libm::cosf(half_angle),
                    ],
                    half_angle,
                    near,
                    far,
                }
            }
        }
    }

    /// A margin of a strip: often none.
    fn margin(&mut self) -> f32 {
        if self.rng.chance(0.5) {
            0.0
        } else {
            self.rng.uniform(0.0, 0.15)
        }
    }
}
