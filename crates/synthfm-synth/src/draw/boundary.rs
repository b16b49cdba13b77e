//! Random boundaries, and the warp of the whole scene: drawn for all structures alike.

use super::Scene;
use super::contour::middle;
use crate::params::{Blend, DeformationParams, FadeParams, Outline, TargetKind};

impl Scene<'_> {
    /// Changes the boundaries of some structures: uneven blur, missing parts, gaps to neighbours.
    pub(super) fn draw_boundaries(&mut self) {
        for index in 0..self.structures.len() {
            if self.structures[index].blend == Blend::Add {
                continue;
            }
            let config = &self.config.boundary;
            if self.rng.chance(config.uneven) {
                self.uneven(index);
            }
            let body = self.structures[index].kind == TargetKind::Body;
            let tubes = matches!(self.structures[index].outline, Outline::Tubes { .. });
            let inset = self.structures[index].inset > 0.0;
            if body || tubes || inset {
                continue;
            }
            if self.rng.chance(config.fade) {
                self.fade(index);
            }
            if self.rng.chance(config.clearance) {
                let width = self.rng.log_within(config.clearance_width);
                self.structures[index].edge.clearance = width;
            }
        }
    }

    fn uneven(&mut self, index: usize) {
        let far_softness = self.rng.within(self.config.boundary.uneven_softness);
        let (_, near) = middle(&self.structures[index].outline);
        let edge = &mut self.structures[index].edge;
        // A blur wider than the structure would leave nothing of it.
        edge.far_softness = far_softness.min(0.4 * near.abs()).max(edge.softness);
        edge.direction = self.rng.angle();
    }

    /// Parts of the contour that do not show, nor does the rim there.
    fn fade(&mut self, index: usize) {
        let config = &self.config.boundary;
        let (_, near) = middle(&self.structures[index].outline);
        for _ in 0..self.rng.int(1, 2) {
            let fade = FadeParams {
                start: self.rng.unit(),
                length: self.rng.within(config.fade_length),
                depth: (near.abs() * self.rng.within(config.fade_depth)).min(0.2),
            };
            let structure = &mut self.structures[index];
            structure.edge.fades.push(fade);
            if let Some(rim) = &mut structure.rim {
                rim.gaps.push([fade.start, fade.length]);
            }
        }
    }

    /// The warp of contours and regions, or none.
    pub(super) fn draw_deformation(&mut self) {
        let config = &self.config.deformation;
        if self.rng.chance(config.probability) {
            let scale = self.rng.log_within(config.scale);
            self.deformation = Some(DeformationParams {
                seed: self.rng.seed(),
                scale,
                std: scale * self.rng.within(config.strength),
            });
        }
    }
}
