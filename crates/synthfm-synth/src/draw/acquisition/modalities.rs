//! Random effects of light, X-rays, k-space and projections.

use super::{Modality, Scene};
use crate::params::{
    Axis, ChemicalShiftParams, CoilParams, DefocusParams, DetailParams, Effect, GhostParams,
    ProjectionParams, ReliefParams, RingParams, SceneKind, TruncationParams, Vec2, VignetteParams,
};

impl Scene<'_> {
    /// Relief, halo, focus and vignetting of a microscope.
    pub(super) fn draw_light(&mut self, kind: SceneKind) {
        let config = &self.config.acquisition.microscopy;
        // Transparent cells are what these contrasts were made for.
        let cells = if kind == SceneKind::Cells { 1.5 } else { 0.3 };
        let mut relief = config.relief;
        let mut halo = config.halo;
        relief.probability *= cells;
        halo.probability *= cells;
        if let Some(strength) = self.occurs(relief, Modality::Microscopy) {
            let (sin, cos) = libm::sincosf(self.rng.angle());
            let shift = self.rng.uniform(0.003, 0.012);
            let relief = ReliefParams {
                shift: [shift * cos, shift * sin],
                strength,
                level: self.rng.uniform(0.3, 0.7),
                keep: self.rng.uniform(0.0, 0.5),
            };
            self.effects.push(Effect::Relief(relief));
        } else if let Some(gain) = self.occurs(halo, Modality::Microscopy) {
            let sigma = self.rng.log_uniform(0.01, 0.05);
            self.effects
                .push(Effect::Detail(DetailParams { sigma, gain }));
        }
        if let Some(sigma) = self.occurs(config.defocus, Modality::Microscopy) {
            let defocus = DefocusParams {
                seed: self.rng.seed(),
                sigma,
                scale: self.rng.log_uniform(0.2, 0.8),
            };
            self.effects.push(Effect::Defocus(defocus));
        }
        if let Some(falloff) = self.occurs(config.vignette, Modality::Microscopy) {
            self.vignette(falloff, 0.15);
        }
    }

    /// Vignetting whose axis lies near the middle.
    fn vignette(&mut self, falloff: f32, off: f32) {
        let centre = self
            .extent
            .map(|length| length / 2.0 + off * self.rng.normal());
        let vignette = VignetteParams { centre, falloff };
        self.effects.push(Effect::Vignette(vignette));
    }

    pub(super) fn draw_xray(&mut self) {
        let config = &self.config.acquisition.xray;
        if let Some(share) = self.occurs(config.scatter, Modality::Xray) {
            let (sigma, gain) = (self.rng.log_uniform(0.05, 0.3), -share);
            self.effects
                .push(Effect::Detail(DetailParams { sigma, gain }));
        }
        if let Some(falloff) = self.occurs(config.vignette, Modality::Xray) {
            self.vignette(falloff, 0.1);
        }
    }

    pub(super) fn draw_mr(&mut self) {
        let config = &self.config.acquisition.mr;
        if let Some(strength) = self.occurs(config.coil, Modality::Mr) {
            self.draw_coil(strength);
        }
        let vertical = self.rng.chance(0.5);
        let (phase, readout) = if vertical {
            (Axis::Vertical, Axis::Horizontal)
        } else {
            (Axis::Horizontal, Axis::Vertical)
        };
        if let Some(shift) = self.occurs(config.chemical_shift, Modality::Mr) {
            let params = ChemicalShiftParams {
                axis: readout,
                shift: shift * self.rng.sign(),
                threshold: self.rng.uniform(0.4, 0.8),
            };
            self.effects.push(Effect::ChemicalShift(params));
        }
        if let Some(weight) = self.occurs(config.ghosts, Modality::Mr) {
            self.draw_ghosts(phase, weight);
        }
        if let Some(lost) = self.occurs(config.truncation, Modality::Mr) {
            let other = if self.rng.chance(0.5) { lost } else { 0.0 };
            let kept = match phase {
                Axis::Vertical => [1.0 - lost, 1.0 - other],
                Axis::Horizontal => [1.0 - other, 1.0 - lost],
            };
            self.effects
                .push(Effect::Truncation(TruncationParams { kept }));
        }
        if let Some(long) = self.occurs(config.voxels, Modality::Mr) {
            let short = long * self.rng.uniform(0.2, 1.0);
            self.resample(if vertical {
                [long, short]
            } else {
                [short, long]
            });
        }
    }

    /// One coil, or several around the image.
    fn draw_coil(&mut self, strength: f32) {
        let [width, height] = self.extent;
        let count = self.rng.int(1, 6);
        let first = self.rng.angle();
        let around = |angle: f32| -> Vec2 {
            let (sin, cos) = libm::sincosf(angle);
            [width * (0.5 + 0.6 * cos), height * (0.5 + 0.6 * sin)]
        };
        let coils = (0..count)
            .map(|k| around(first + k as f32 * std::f32::consts::TAU / count as f32))
            .collect();
        let params = CoilParams {
            coils,
            radius: self.rng.log_uniform(0.25, 1.0),
            strength,
        };
        self.effects.push(Effect::Coil(params));
    }

    fn draw_ghosts(&mut self, axis: Axis, weight: f32) {
        // Faster motion lies farther off; each harmonic is fainter than the one before.
        let shift = self.rng.uniform(0.04, 0.5);
        let weight = weight * self.rng.sign();
        let count = self.rng.int(1, 2);
        let copies = (1..=count)
            .flat_map(|k| {
                let (shift, weight) = (shift * k as f32, weight / (k * k) as f32);
                [[shift, weight], [-shift, weight]]
            })
            .collect();
        self.effects
            .push(Effect::Ghosts(GhostParams { axis, copies }));
    }

    pub(super) fn draw_ct(&mut self) {
        let config = &self.config.acquisition.ct;
        let hardening = self.occurs(config.hardening, Modality::Ct);
        let starvation = self.occurs(config.starvation, Modality::Ct);
        if hardening.is_some() || starvation.is_some() {
            // Bone and metal alone, or all matter.
            let threshold = if starvation.is_some() || self.rng.chance(0.5) {
                self.rng.uniform(0.5, 0.9)
            } else {
                0.0
            };
            self.effects.push(Effect::Projection(ProjectionParams {
                seed: self.rng.seed(),
                threshold,
                hardening: hardening.unwrap_or(0.0),
                starvation: starvation.unwrap_or(0.0),
            }));
        }
        if let Some(strength) = self.occurs(config.rings, Modality::Ct) {
            let centre = self.extent.map(|length| length / 2.0);
            let count = self.rng.int(1, 12);
            let rings = (0..count)
                .map(|_| [self.rng.uniform(0.01, 0.6), strength * self.rng.normal()])
                .collect();
            let width = self.rng.uniform(0.0008, 0.003);
            self.effects.push(Effect::Rings(RingParams {
                centre,
                rings,
                width,
            }));
        }
    }

    /// A sharp kernel acts on noise too.
    pub(super) fn draw_kernel(&mut self) {
        if let Some(gain) = self.occurs(self.config.acquisition.ct.kernel, Modality::Ct) {
            let sigma = self.rng.log_uniform(0.0015, 0.006);
            self.effects
                .push(Effect::Detail(DetailParams { sigma, gain }));
        }
    }
}
