//! Layered tissue as an ultrasound probe sees it: skin, fat, muscle and an organ below, with cysts, vessels and bones.

use super::Plan;
use super::shapes::{CurvePlan, ellipsoid, unit};
use crate::params::{TargetKind, TargetRule};
use crate::volume::Form;

impl Plan<'_> {
    pub(super) fn draw_layers(&mut self) {
        let mut mean = self.scene.tissue_mean();
        self.ground = self.scene.textured(mean);
        let normal = unit([
            0.12 * self.scene.rng.normal(),
            1.0,
            0.12 * self.scene.rng.normal(),
        ]);
        let mut depth = 0.0;
        let mut last = None;
        for _ in 0..self.scene.rng.int(2, 6) {
            let [low, high] = if last.is_none() {
                [0.02, 0.12]
            } else {
                [0.03, 0.3]
            };
            depth += self.scene.rng.log_uniform(low, high);
            if depth > 0.8 * self.extent[1] {
                break;
            }
            let paint = self.scene.contrasting_paint(mean);
            mean = paint.mean;
            let form = Form::Layer {
                normal,
                offset: depth,
            };
            let bumps = self.bumps(self.scene.config.appearance.blur[1].max(0.2), 0.1);
            last = Some(self.add(TargetKind::Region, None, form, paint));
            self.roughen(bumps);
        }
        for _ in 0..self.scene.rng.int(1, 5) {
            self.buried(mean, depth);
        }
        for _ in 0..self.scene.rng.int(0, 3) {
            let from = [
                self.extent[0] * self.scene.rng.unit(),
                self.extent[1] * self.scene.rng.uniform(0.2, 0.9),
                -0.1,
            ];
            let radius = self.scene.rng.log_uniform(0.015, 0.08).max(self.pixel);
            let curve = CurvePlan {
                length: self.extent[2] + 0.5,
                radii: [radius, radius * 0.8],
                wander: self.scene.rng.uniform(0.1, 0.5),
                knots: 8,
            };
            let side = self.scene.rng.normal();
            let line = self.curve(from, [side, 0.2, 1.0], &curve);
            let dark = self.scene.rng.uniform(0.0, 0.08);
            let paint = self.scene.textured(dark);
            self.add(
                TargetKind::Tube,
                None,
                Form::Tubes {
                    branches: vec![line],
                },
                paint,
            );
        }
    }

    /// A cyst, a mass or an organ below the first layers.
    fn buried(&mut self, mean: f32, depth: f32) {
        let size = self.scene.rng.log_uniform(0.05, 0.32);
        let at = [
            self.extent[0] * self.scene.rng.uniform(0.1, 0.9),
            (depth * 0.4 + size + self.scene.rng.uniform(0.0, 0.5)).min(0.9 * self.extent[1]),
            self.extent[2] * self.scene.rng.uniform(0.05, 0.95),
        ];
        let radii = self.varied([size, 0.75 * size, size], 0.25);
        let tilt = self.tilt(0.3);
        if self.scene.rng.chance(0.4) {
            let dark = self.scene.rng.uniform(0.0, 0.05);
            let paint = self.scene.textured(dark);
            self.add(TargetKind::Lesion, None, ellipsoid(at, radii, tilt), paint);
            let bumps = self.bumps(size, 0.12);
            self.roughen(bumps);
            return;
        }
        let paint = self.scene.contrasting_paint(mean);
        let form = self.blob_along(at, radii, tilt);
        let id = self.add(TargetKind::Organ, None, form, paint);
        self.last().target = TargetRule::Whole;
        let bumps = self.bumps(size, 0.15);
        self.roughen(bumps);
        let inside = self.scene.rng.int(0, 3);
        if inside < 2 {
            let wall = self.scene.rng.uniform(0.1, 0.4) * size;
            let content = self.scene.contrasting_paint(paint.mean);
            self.add(
                TargetKind::Lumen,
                Some(id),
                Form::Inset {
                    depth: wall.max(self.pixel),
                },
                content,
            );
        } else if inside == 2 {
            let place = self.near(at, 0.4 * size);
            let own = size * self.scene.rng.uniform(0.2, 0.5);
            self.lesion(place, own, id, paint.mean);
        }
    }
}
