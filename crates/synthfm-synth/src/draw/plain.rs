//! Plain Gaussian mixtures, as `SynthSeg` draws its images (Billot et al. 2023): each tissue gets a mean and a deviation
//! without regard to anatomy, the image is blurred, and no scanner acts.

use std::collections::BTreeMap;

use super::{Modality, Scene};
use crate::params::{Blend, BlurParams, EdgeParams, Effect, Paint, TextureParams, ViewParams};

/// Largest deviation of a tissue: 35 of 255 grey levels, as in `SynthSeg`.
const DEVIATION: f32 = 35.0 / 255.0;

/// Blur of the image: `SynthSeg`'s is about a voxel.
const BLUR: [f32; 2] = [0.001, 0.006];

impl Scene<'_> {
    pub(super) fn draw_plain(&mut self) {
        if !self.rng.chance(self.config.mixture.plain) {
            return;
        }
        self.look = Modality::Free;
        self.textures = vec![TextureParams::Grain {
            seed: self.rng.seed(),
            grain: [0.0; 2],
        }];
        self.mix_paints();
        for structure in &mut self.structures {
            structure.edge = EdgeParams {
                clearance: structure.edge.clearance,
                ..EdgeParams::default()
            };
        }
        let sigma = [self.rng.within(BLUR); 2];
        self.effects = vec![Effect::Blur(BlurParams { sigma })];
        self.view = ViewParams {
            stretch: Some([0.0, 1.0]),
            levels: 256,
            ..ViewParams::default()
        };
        self.overlay.clear();
    }

    /// Gives every tissue a Gaussian; what had one paint keeps one.
    fn mix_paints(&mut self) {
        let mut drawn = BTreeMap::new();
        let rng = &mut self.rng;
        let mut gaussian = |paint: Paint| {
            let key = (
                paint.mean.to_bits(),
                paint.amplitude.to_bits(),
                paint.texture,
            );
            *drawn.entry(key).or_insert_with(|| Paint {
                mean: rng.unit(),
                amplitude: rng.uniform(0.0, DEVIATION),
                texture: 0,
            })
        };
        self.ground = gaussian(self.ground);
        if let Some(map) = &mut self.label_map {
            for paint in &mut map.paints {
                *paint = gaussian(*paint);
            }
        }
        for structure in &mut self.structures {
            structure.paint = match structure.blend {
                Blend::Replace => gaussian(structure.paint),
                // Paint that is added is a difference of means.
                Blend::Add => super::plain(gaussian(structure.paint).mean - 0.5),
            };
            if let Some(rim) = &mut structure.rim {
                rim.mean = gaussian(super::plain(rim.mean)).mean;
            }
        }
    }
}
