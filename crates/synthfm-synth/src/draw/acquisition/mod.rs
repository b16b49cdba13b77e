//! Random acquisition: which effects act on the painted image, in which order, and how strongly.
//!
//! Light or the point spread comes first, then gains, then what a modality's own encoding does, then
//! noise, and last what reconstruction and export do. The effects of a modality act on images with its
//! look; a free look has each of them rarely.

mod modalities;
mod overlay;
mod ultrasound;

pub(super) use ultrasound::Cast;

use super::{Modality, Scene};
use crate::config::EffectRange;
use crate::params::{
    BiasParams, BlurParams, Effect, Interpolation, ResampleParams, SceneKind, Vec2,
};

impl Scene<'_> {
    pub(super) fn draw_acquisition(&mut self, kind: SceneKind) {
        self.draw_light(kind);
        if self.beams {
            self.draw_ultrasound();
        } else {
            self.draw_blur();
        }
        self.draw_bias();
        self.draw_xray();
        self.draw_mr();
        self.draw_ct();
        self.draw_noise();
        self.draw_reconstruction();
    }

    /// The strength of an effect of this look, if it acts.
    fn occurs(&mut self, effect: EffectRange, look: Modality) -> Option<f32> {
        let factor = if self.look == look {
            1.0
        } else if self.look == Modality::Free {
            self.config.acquisition.foreign
        } else {
            0.0
        };
        self.strength(effect, factor)
    }

    /// The strength of an effect, if it acts.
    fn strength(&mut self, effect: EffectRange, factor: f32) -> Option<f32> {
        let acts = self.rng.chance(effect.probability * factor);
        acts.then(|| self.rng.log_within(effect.strength))
    }

    fn draw_blur(&mut self) {
        let blur = self.rng.within(self.config.appearance.blur);
        // Label maps have hard borders: a pixel there belongs to both sides.
        let least = match (self.label_map.is_some(), self.look) {
            (true, Modality::Ultrasound) => 0.004,
            (true, _) => 0.0018,
            (false, _) => 0.0006,
        };
        let blur = blur.max(least);
        let lateral = if self.look == Modality::Ultrasound {
            self.rng.uniform(1.0, 2.0)
        } else {
            1.0
        };
        let sigma = [blur, blur * lateral];
        self.effects.push(Effect::Blur(BlurParams { sigma }));
    }

    fn draw_bias(&mut self) {
        let appearance = &self.config.appearance;
        let shaded = match self.look {
            Modality::Mr => 1.4,
            Modality::Ct | Modality::Ultrasound => 0.3,
            _ => 1.0,
        };
        if self.rng.chance(appearance.bias * shaded) {
            let bias = BiasParams {
                seed: self.rng.seed(),
                scale: self.rng.log_uniform(0.15, 0.8),
                std: self.rng.within(appearance.bias_std),
            };
            self.effects.push(Effect::Bias(bias));
        }
    }

    /// Sampling on a coarse matrix, as a scanner or an export does it.
    fn resample(&mut self, spacing: Vec2) {
        let interpolation = match self.rng.pick(&[0.15, 0.45, 0.4]) {
            0 => Interpolation::Nearest,
            1 => Interpolation::Linear,
            _ => Interpolation::Cubic,
        };
        self.effects.push(Effect::Resample(ResampleParams {
            spacing,
            interpolation,
        }));
    }

    fn draw_reconstruction(&mut self) {
        self.draw_kernel();
        if let Some(spacing) = self.strength(self.config.acquisition.resolution, 1.0) {
            self.resample([spacing; 2]);
        }
    }
}
