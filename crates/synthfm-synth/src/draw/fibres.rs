//! Nerve fibres across, each a ring of myelin around an axon, densely packed (electron and light
//! microscopy).

use super::contour::scaled;
use super::{New, Scene};
use crate::params::{Outline, Paint, TargetKind, TargetRule, Vec2};

/// Cells of a lattice that finds neighbours; a fibre reaches into its own and the next ones at most.
struct Lattice {
    pitch: f32,
    columns: usize,
    /// Least distance of two fibres as a share of the sum of their radii.
    apart: f32,
    cells: Vec<Vec<(Vec2, f32)>>,
}

impl Lattice {
    fn new(extent: Vec2, largest: f32, apart: f32) -> Self {
        let pitch = 2.0 * largest;
        let count = |length: f32| (length / pitch) as usize + 3;
        Self {
            pitch,
            columns: count(extent[0]),
            apart,
            cells: vec![Vec::new(); count(extent[0]) * count(extent[1])],
        }
    }

    fn cell(&self, at: Vec2) -> [usize; 2] {
        at.map(|v| ((v / self.pitch + 1.0).max(0.0) as usize).max(1))
    }

    fn is_free(&self, at: Vec2, radius: f32) -> bool {
        let [col, row] = self.cell(at);
        let near = |r: usize, c: usize| self.cells.get(r * self.columns + c).into_iter().flatten();
        let mut neighbours =
            (row - 1..=row + 1).flat_map(|r| (col - 1..=col + 1).flat_map(move |c| near(r, c)));
        neighbours.all(|&(other, other_radius)| {
            let (dx, dy) = (at[0] - other[0], at[1] - other[1]);
            let apart = self.apart * (radius + other_radius);
            dx * dx + dy * dy >= apart * apart
        })
    }

    fn take(&mut self, at: Vec2, radius: f32) {
        let [col, row] = self.cell(at);
        let index = row * self.columns + col;
        if let Some(cell) = self.cells.get_mut(index) {
            cell.push((at, radius));
        }
    }
}

impl Scene<'_> {
    pub(super) fn draw_fibres(&mut self) {
        let dark_rings = self.rng.chance(0.5);
        let ground = self.micro_ground(!dark_rings);
        let myelin = self.contrasting_paint(ground);
        // The axon is as the ground, or has a grey of its own.
        let axon = if self.rng.chance(0.6) {
            Paint {
                mean: ground,
                ..myelin
            }
        } else {
            self.contrasting_paint(myelin.mean)
        };
        let [_, most] = self.config.shapes.cells;
        let largest = self.rng.log_uniform(0.03, 0.12);
        let smallest = largest * self.rng.uniform(0.25, 0.6);
        // Axon to fibre, the g-ratio: 0.6 to 0.85 in healthy nerves, more where myelin is lost.
        let ratio = self.rng.uniform(0.5, 0.93);
        let roughness = self.rng.uniform(0.05, 0.3);
        let rule = self.holder_rule();
        let packing = self.rng.uniform(0.8, 0.98);
        let mut lattice = Lattice::new(self.extent, largest, packing);
        let mut placed = 0;
        // Large ones first, then smaller ones into the gaps.
        let trials = 6 * most;
        for trial in 0..trials {
            let share = 1.0 - trial as f32 / trials as f32;
            let radius = smallest + (largest - smallest) * share * self.rng.unit();
            let at = self.point(-0.5 * radius);
            if placed < most && lattice.is_free(at, radius) {
                lattice.take(at, radius);
                placed += 1;
                let aspect = self.rng.uniform(0.75, 1.0);
                let outline = self.rounded(at, [radius, radius * aspect], roughness);
                let ratio = (ratio + 0.08 * self.rng.normal()).clamp(0.3, 0.95);
                self.fibre(&outline, ratio, [myelin, axon], rule);
            }
        }
        if self.rng.chance(self.config.targets.clump) {
            self.target_clumps(TargetKind::Wall);
        }
    }

    fn fibre(&mut self, outline: &Outline, ratio: f32, paints: [Paint; 2], rule: TargetRule) {
        let [myelin, axon] = paints.map(|paint| {
            let mean = (paint.mean + 0.03 * self.rng.normal()).clamp(0.0, 1.0);
            Paint { mean, ..paint }
        });
        let ring = New::of(TargetKind::Wall, outline.clone(), myelin).target(rule);
        let id = self.add(ring);
        let axon = New::of(TargetKind::Lumen, scaled(outline, ratio), axon);
        self.add(axon.inside(id));
    }
}
