//! Branching tubes over a wide ground: retina, angiography.

use super::contour::Walk;
use super::{New, Scene};
use crate::params::{Outline, TargetKind, Vec2};

impl Scene<'_> {
    pub(super) fn draw_vessels(&mut self) {
        let mean = self.tissue_mean();
        self.ground = self.textured(mean);
        self.ground.amplitude *= 0.5;
        for _ in 0..self.rng.int(0, 3) {
            self.patch(mean);
        }
        let root = self.point(0.1);
        let paint = self.contrasting_paint(mean);
        let thick = self.rng.log_uniform(0.004, 0.022);
        for _ in 0..self.rng.int(1, 5) {
            let heading = self.rng.angle();
            let mut branches = Vec::new();
            self.branch(root, heading, thick, 3, &mut branches);
            self.add(New::of(
                TargetKind::Tube,
                Outline::Tubes { branches },
                paint,
            ));
        }
        if self.rng.chance(0.5) {
            let radius = self.rng.uniform(0.03, 0.09);
            let outline = self.rounded(root, [radius, radius * 0.9], 0.05);
            let paint = self.contrasting_paint(mean);
            self.add(New::of(TargetKind::Organ, outline, paint));
        }
    }

    /// A soft spot: macula, exudate, avascular zone.
    fn patch(&mut self, surroundings: f32) {
        let at = self.point(0.15);
        let area = self.rng.log_uniform(0.002, 0.06);
        let outline = self.any_shape(at, area);
        let paint = self.contrasting_paint(surroundings);
        self.add(New::of(TargetKind::Lesion, outline, paint));
        self.last().softness = self.rng.uniform(0.002, 0.02);
    }

    fn branch(
        &mut self,
        start: Vec2,
        heading: f32,
        half_width: f32,
        depth: u32,
        branches: &mut Vec<Vec<[f32; 3]>>,
    ) {
        let walk = Walk {
            knots: self.rng.int(4, 7),
            length: self.rng.uniform(0.25, 0.6),
            half_width,
            taper: 0.4,
            bend: 0.16,
        };
        let line = self.walk(start, heading, walk);
        if depth > 0 {
            for _ in 0..self.rng.int(1, 3) {
                let [x, y, width] = line[self.rng.int(1, walk.knots) as usize];
                let turn = self.rng.uniform(0.3, 0.9) * self.rng.sign();
                if width > 0.0015 {
                    self.branch([x, y], heading + turn, width * 0.7, depth - 1, branches);
                }
            }
        }
        branches.push(line);
    }
}
