//! Looks: coarse statistical caricatures of modalities.
//!
//! Which noise is likely, how bright tissue is, how far structures differ. A look only shifts the
//! probabilities of the configuration; ranges stay.

use super::Scene;
use crate::params::{Modality, SceneKind};

impl Modality {
    /// Range of tissue means.
    pub(super) fn means(self) -> [f32; 2] {
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
    pub(super) fn noise_factors(self) -> [f32; 5] {
        match self {
            Self::Free => [1.0; 5],
            Self::Ct => [1.6, 1.0, 0.4, 0.05, 0.05],
            Self::Mr => [0.6, 0.2, 0.7, 0.05, 2.5],
            Self::Ultrasound => [0.4, 0.1, 0.5, 3.2, 0.1],
            Self::Xray => [0.6, 1.8, 0.8, 0.02, 0.05],
            Self::Microscopy => [0.9, 1.6, 0.6, 0.2, 0.05],
        }
    }

    /// Weights of the textures: grain, fractal, ridges, speckle, stripes.
    pub(super) fn texture_weights(self) -> [f32; 5] {
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
            Modality::Free,
            Modality::Ct,
            Modality::Mr,
            Modality::Ultrasound,
            Modality::Xray,
            Modality::Microscopy,
        ];
        let weights = match kind {
            SceneKind::LabelMap => [1.0, 0.7, 2.0, 2.5, 0.2, 0.4],
            SceneKind::CloseUp => [1.0, 1.0, 2.0, 1.2, 0.3, 0.8],
            SceneKind::Body => [0.3, 3.0, 2.5, 0.0, 0.2, 0.0],
            SceneKind::Sonogram => [0.2, 0.0, 0.3, 4.0, 0.0, 0.0],
            SceneKind::Cells => [0.5, 0.1, 0.1, 0.0, 0.0, 4.0],
            SceneKind::ChestRadiograph => [0.2, 0.5, 0.3, 0.0, 4.0, 0.0],
            SceneKind::Vessels => [0.7, 0.3, 0.5, 0.2, 0.5, 2.0],
            SceneKind::Heart | SceneKind::Head => [0.2, 1.0, 4.0, 0.0, 0.0, 0.0],
            SceneKind::Limb => [0.2, 1.5, 2.5, 0.0, 0.0, 0.0],
        };
        let wanted = self.config.looks.weights();
        let both: [f32; 6] = std::array::from_fn(|look| weights[look] * wanted[look]);
        let fitting = if both.iter().any(|weight| *weight > 0.0) {
            both
        } else {
            wanted
        };
        self.look = if self.rng.chance(self.config.mixture.free_appearance) {
            Modality::Free
        } else {
            looks[self.rng.pick(&fitting)]
        };
        let beams = self.config.acquisition.ultrasound.beams;
        self.beams = self.look == Modality::Ultrasound && self.rng.chance(beams);
    }
}
