//! Abnormal structures: nodules, cysts, calcifications, necrosis, halos, spicules.

use super::contour::scaled;
use super::template::Frame;
use super::{New, Scene, plain};
use crate::params::{Outline, TargetKind, TargetRule, Vec2};

/// A structure in which something abnormal grows.
struct Host {
    id: u16,
    mean: f32,
}

impl Scene<'_> {
    /// Sometimes a few abnormal structures in an organ that fills most of `frame`.
    pub(super) fn abnormal(&mut self, frame: &Frame, mean: f32, id: u16) {
        if !self.rng.chance(self.config.shapes.pathology) {
            return;
        }
        let host = Host { id, mean };
        let kind = self.rng.pick(&[0.35, 0.25, 0.15, 0.25]);
        for _ in 0..self.rng.int(1, 5) {
            let near = frame.axes[0].abs().min(frame.axes[1].abs());
            let radius = near * self.rng.log_uniform(0.06, 0.4);
            let at = frame.at([self.rng.uniform(-0.6, 0.6), self.rng.uniform(-0.6, 0.6)]);
            match kind {
                0 => self.nodule(&host, at, radius),
                1 => self.cyst(&host, at, radius),
                2 => self.calcifications(&host, at, radius),
                _ => self.tumour(&host, at, radius),
            }
        }
    }

    /// Any closed shape, hard or soft.
    fn nodule(&mut self, host: &Host, at: Vec2, radius: f32) {
        let outline = self.any_shape(at, std::f32::consts::PI * radius * radius);
        let mean = self.contrasting(host.mean);
        self.solid(TargetKind::Lesion, outline, mean, Some(host.id));
        if self.rng.chance(0.5) {
            let softness = radius * self.rng.uniform(0.05, 0.3);
            self.soften(softness);
        }
    }

    /// Round, even, often with a thin wall.
    fn cyst(&mut self, host: &Host, at: Vec2, radius: f32) {
        let aspect = self.rng.uniform(0.75, 1.0);
        let outline = self.rounded(at, [radius, radius * aspect], 0.06);
        let mean = self.contrasting(host.mean);
        let cyst = New::of(TargetKind::Lesion, outline, plain(mean)).inside(host.id);
        self.add(cyst);
        if self.rng.chance(0.5) {
            let rim = self.rim(mean, [0.06 * radius, 0.25 * radius]);
            self.last().rim = Some(rim);
        }
    }

    /// A cluster of small bright grains.
    fn calcifications(&mut self, host: &Host, at: Vec2, radius: f32) {
        let mean = self.rng.uniform(0.8, 1.1);
        for _ in 0..self.rng.int(1, 6) {
            let offset = [radius * self.rng.normal(), radius * self.rng.normal()];
            let grain = self.rng.log_uniform(0.004, 0.015).min(radius);
            let aspect = self.rng.uniform(0.5, 1.0);
            let at = [at[0] + offset[0], at[1] + offset[1]];
            let outline = self.rounded(at, [grain, grain * aspect], 0.3);
            self.add(New::of(TargetKind::Lesion, outline, plain(mean)).inside(host.id));
        }
    }

    /// A halo, a core, and necrosis inside it; spiculated or lobed.
    fn tumour(&mut self, host: &Host, at: Vec2, radius: f32) {
        let mean = self.contrasting(host.mean);
        if self.rng.chance(0.4) {
            let share = self.rng.uniform(1.3, 2.0);
            let outline = self.rounded(at, [radius * share; 2], 0.25);
            let halo = plain(0.6 * host.mean + 0.4 * mean);
            let halo = New::of(TargetKind::Lesion, outline, halo).inside(host.id);
            self.add(halo.target(TargetRule::No));
            let softness = 0.25 * radius;
            self.soften(softness);
        }
        let outline = if self.rng.chance(0.4) {
            self.spiculated(at, radius)
        } else {
            let aspect = self.rng.uniform(0.7, 1.0);
            self.lobed(at, [radius, radius * aspect])
        };
        let id = self.solid(TargetKind::Lesion, outline, mean, Some(host.id));
        self.last().target = TargetRule::Whole;
        if self.rng.chance(0.4) {
            let size = radius * self.rng.uniform(0.3, 0.6);
            let inner = self.rounded(at, [size; 2], 0.35);
            let core = self.contrasting_paint(mean);
            let core = New::of(TargetKind::Lesion, inner, core).inside(id);
            self.add(core.target(TargetRule::Visible));
        }
    }

    /// A round core with tapering spikes.
    pub(super) fn spiculated(&mut self, at: Vec2, radius: f32) -> Outline {
        let core = 0.7 * radius;
        let mut branches = vec![vec![
            [at[0] - 0.1 * core, at[1], core],
            [at[0] + 0.1 * core, at[1], core * self.rng.uniform(0.7, 1.0)],
        ]];
        let count = self.rng.int(6, 16);
        for k in 0..count {
            let turn = (k as f32 + 0.6 * self.rng.unit()) / count as f32 * std::f32::consts::TAU;
            let (sin, cos) = libm::sincosf(turn);
            let reach = radius * self.rng.uniform(0.9, 1.7);
            let root = core * self.rng.uniform(0.15, 0.3);
            let knot = |r: f32, width: f32| [at[0] + r * cos, at[1] + r * sin, width];
            branches.push(vec![knot(0.6 * core, root), knot(reach, 0.15 * root)]);
        }
        Outline::Tubes { branches }
    }

    /// Discs that overlap a core: a cluster of buds.
    pub(super) fn budded(&mut self, at: Vec2, radius: f32, count: u32) -> Outline {
        let core = 0.6 * radius;
        let disc = |[x, y]: Vec2, r: f32| vec![[x - 0.05 * r, y, r], [x + 0.05 * r, y, r]];
        let mut branches = vec![disc(at, core)];
        for k in 0..count {
            let turn = (k as f32 + 0.4 * self.rng.unit()) / count as f32 * std::f32::consts::TAU;
            let (sin, cos) = libm::sincosf(turn);
            let away = radius * self.rng.uniform(0.5, 0.65);
            let bud = radius * self.rng.uniform(0.28, 0.42);
            branches.push(disc([at[0] + away * cos, at[1] + away * sin], bud));
        }
        Outline::Tubes { branches }
    }

    /// A smaller copy with another mean: an inner part that counts as its holder's.
    pub(super) fn inner_part(&mut self, outline: &Outline, share: f32, mean: f32, id: u16) {
        let paint = self.textured(mean);
        let part = New::of(TargetKind::Organ, scaled(outline, share), paint).inside(id);
        self.add(part.target(TargetRule::No));
    }
}
