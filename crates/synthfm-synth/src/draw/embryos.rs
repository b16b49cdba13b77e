//! Early embryos: a few large clusters of cells in a clear shell (transmitted light).

use super::{New, Scene};
use crate::params::{Outline, Paint, TargetKind, TargetRule, Vec2};

impl Scene<'_> {
    pub(super) fn draw_embryos(&mut self) {
        let ground = self.micro_ground(false);
        let count = if self.rng.chance(0.7) {
            1
        } else {
            self.rng.int(2, 4)
        };
        let radius = self.rng.uniform(0.1, 0.34) / (count as f32).sqrt();
        let mut taken: Vec<Vec2> = Vec::new();
        for _ in 0..count {
            let at = self.point(1.1 * radius);
            let free = taken.iter().all(|other| {
                let (dx, dy) = (at[0] - other[0], at[1] - other[1]);
                dx * dx + dy * dy > 6.0 * radius * radius
            });
            if free {
                taken.push(at);
                self.embryo(at, radius, ground);
            }
        }
        for _ in 0..self.rng.int(0, 12) {
            // Debris.
            let at = self.point(0.0);
            let size = self.rng.log_uniform(0.003, 0.015);
            let outline = self.rounded(at, [size, 0.8 * size], 0.3);
            let speck = self.contrasting_paint(ground);
            let speck = New::of(TargetKind::Cell, outline, speck);
            self.add(speck.target(TargetRule::No));
        }
    }

    /// A shell, a space, and the cells in it: as many as after some divisions.
    fn embryo(&mut self, at: Vec2, radius: f32, ground: f32) {
        let step = self.rng.log_uniform(0.02, 0.12) * self.rng.sign();
        if self.rng.chance(0.75) {
            let shell = radius * self.rng.uniform(1.1, 1.4);
            let aspect = self.rng.uniform(0.85, 1.0);
            let outline = self.rounded(at, [shell, shell * aspect], 0.05);
            let paint = self.textured(ground + 0.3 * step);
            let shell_id = self.add(New::of(TargetKind::Wall, outline.clone(), paint));
            self.last().target = if self.rng.chance(0.3) {
                TargetRule::Whole
            } else {
                TargetRule::No
            };
            let rim = self.rim(ground, [0.02 * radius, 0.08 * radius]);
            self.last().rim = Some(rim);
            let inner = super::contour::scaled(&outline, self.rng.uniform(0.82, 0.93));
            let paint = self.textured(ground + 0.1 * step);
            let space = New::of(TargetKind::Lumen, inner, paint).inside(shell_id);
            self.add(space.target(TargetRule::No));
        }
        let mean = (ground + step).clamp(0.02, 0.98);
        let mut paint = self.textured(mean);
        paint.amplitude = paint.amplitude.max(self.rng.uniform(0.02, 0.08));
        let buds = self.rng.int(2, 14);
        let outline = self.budded(at, radius, buds);
        let mass = New::of(TargetKind::Organ, outline.clone(), paint);
        let id = self.add(mass.target(TargetRule::Whole));
        self.blastomeres(&outline, paint, id);
    }

    /// The single cells of a cluster, each with a rim, all part of it.
    fn blastomeres(&mut self, cluster: &Outline, paint: Paint, id: u16) {
        let Outline::Tubes { branches } = cluster else {
            return;
        };
        for disc in branches {
            let [x, y, r] = disc[0];
            let aspect = self.rng.uniform(0.85, 1.0);
            let outline = self.rounded([x, y], [r, r * aspect], 0.06);
            let mean = (paint.mean + 0.03 * self.rng.normal()).clamp(0.0, 1.0);
            let cell = New::of(TargetKind::Cell, outline, Paint { mean, ..paint }).inside(id);
            self.add(cell.target(TargetRule::No));
            let rim = self.rim(mean, [0.03 * r, 0.12 * r]);
            self.last().rim = Some(rim);
        }
    }
}
