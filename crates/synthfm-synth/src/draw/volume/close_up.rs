//! Close-ups: a few structures that fill the field of view, and vessel trees in tissue.

use super::Plan;
use super::shapes::{CurvePlan, TreePlan, add, ellipsoid, scaled};
use crate::params::{TargetKind, TargetRule};
use crate::volume::{Form, Vec3};

impl Plan<'_> {
    /// A point of the volume, at least a share of its lengths from its border.
    fn inside(&mut self, margin: f32) -> Vec3 {
        let extent = self.extent;
        extent.map(|length| length * self.scene.rng.uniform(margin, 1.0 - margin))
    }

    pub(super) fn draw_close_up(&mut self) {
        let mean = self.scene.tissue_mean();
        self.ground = self.scene.textured(mean);
        let tissues = self.scene.tissues();
        // Large neighbours, partly outside, that lie behind what follows.
        for _ in 0..self.scene.rng.int(0, 3) {
            let at = self.inside(-0.1);
            let size = self.scene.rng.uniform(0.3, 0.6);
            let radii = self.varied([size; 3], 0.3);
            let paint = self.scene.contrasting_paint(mean);
            let form = self.blob(at, radii);
            self.add(TargetKind::Organ, None, form, paint);
            let bumps = self.bumps(size, 0.12);
            self.roughen(bumps);
        }
        if self.scene.rng.chance(0.2) {
            let at = self.inside(0.35);
            let size = self.scene.rng.uniform(0.25, 0.42);
            self.heart(at, size, None, &tissues);
        }
        let count = self.scene.rng.int(1, 6);
        for _ in 0..count {
            self.close_up_organ(mean);
        }
        for _ in 0..self.scene.rng.int(0, 4) {
            self.close_up_tube(mean);
        }
    }

    /// An organ with what lies in it, or two that are alike.
    fn close_up_organ(&mut self, ground: f32) {
        let at = self.inside(0.1);
        let size = self.scene.rng.log_uniform(0.07, 0.35);
        let radii = self.varied([size; 3], 0.35);
        let mean = self.scene.contrasting(ground);
        let paint = self.scene.textured(mean);
        let rotation = self.rotation();
        let form = if self.scene.rng.chance(0.35) {
            let bend = self.scene.rng.uniform(0.1, 0.6);
            let long = [radii[0] * 1.5, radii[1] * 0.7, radii[2] * 0.7];
            self.bean(at, long, rotation, bend)
        } else {
            self.blob_along(at, radii, rotation)
        };
        let id = self.add(TargetKind::Organ, None, form.clone(), paint);
        let rule = self.scene.holder_rule();
        self.last().target = rule;
        let bumps = self.bumps(size, 0.15);
        self.roughen(bumps);
        match self.scene.rng.pick(&[0.35, 0.25, 0.25, 0.15]) {
            0 => {}
            1 => {
                // A wall of even width around something else.
                self.last().kind = TargetKind::Wall;
                let content = self.scene.contrasting_paint(mean);
                let depth = (size * self.scene.rng.uniform(0.12, 0.4)).max(1.2 * self.pixel);
                let lumen = self.add(TargetKind::Lumen, Some(id), Form::Inset { depth }, content);
                let bumps = self.bumps(size, 0.12);
                self.roughen(bumps);
                if self.scene.rng.chance(0.3) {
                    let place = self.near(at, 0.4 * size);
                    let own = size * self.scene.rng.uniform(0.15, 0.4);
                    self.lesion(place, own, lumen, content.mean);
                }
            }
            2 => {
                for _ in 0..self.scene.rng.int(1, 4) {
                    let place = self.near(at, 0.5 * size);
                    let own = size * self.scene.rng.uniform(0.1, 0.45);
                    self.lesion(place, own, id, mean);
                }
            }
            _ => {
                // Its counterpart on the other side.
                let middle = self.extent[0] / 2.0;
                let pair = reflected(&form, middle);
                self.add(TargetKind::Organ, None, pair, paint);
                let bumps = self.bumps(size, 0.15);
                self.roughen(bumps);
            }
        }
    }

    /// A vessel or duct, with a wall sometimes.
    fn close_up_tube(&mut self, ground: f32) {
        let from = self.inside(0.0);
        let middle = self.inside(0.3);
        let towards = [0, 1, 2].map(|k: usize| middle[k] - from[k] + 1e-3);
        let radius = self
            .scene
            .rng
            .log_uniform(0.012, 0.07)
            .max(0.9 * self.pixel);
        let paint = self.scene.contrasting_paint(ground);
        let form = if self.scene.rng.chance(0.5) {
            let curve = CurvePlan {
                length: self.scene.rng.uniform(0.8, 2.0),
                radii: [radius, radius * self.scene.rng.uniform(0.5, 1.0)],
                wander: self.scene.rng.uniform(0.1, 0.6),
                knots: 8,
            };
            let line = self.curve(from, towards, &curve);
            Form::Tubes {
                branches: vec![line],
            }
        } else {
            let plan = TreePlan {
                radius,
                length: self.scene.rng.uniform(0.3, 0.6),
                generations: 3,
                wander: 0.3,
                thinnest: 0.5 * self.pixel,
                most: 30,
            };
            self.tree(from, towards, &plan)
        };
        let id = self.add(TargetKind::Tube, None, form, paint);
        if radius > 3.0 * self.pixel && self.scene.rng.chance(0.5) {
            self.last().target = TargetRule::Whole;
            let content = self.scene.contrasting_paint(paint.mean);
            let depth = radius * self.scene.rng.uniform(0.2, 0.5);
            self.add(TargetKind::Lumen, Some(id), Form::Inset { depth }, content);
        }
    }

    /// Vessel trees in tissue or in an organ.
    pub(super) fn draw_vessel_trees(&mut self) {
        let mean = self.scene.tissue_mean();
        self.ground = self.scene.textured(mean);
        let mut around = mean;
        if self.scene.rng.chance(0.6) {
            let radii = self.extent.map(|length| 0.45 * length);
            let radii = self.varied(radii, 0.15);
            let centre = self.extent.map(|length| 0.5 * length);
            let paint = self.scene.contrasting_paint(mean);
            around = paint.mean;
            let tilt = self.tilt(0.3);
            let form = self.blob_along(centre, radii, tilt);
            self.add(TargetKind::Organ, None, form, paint);
            self.last().target = TargetRule::Whole;
            let bumps = self.bumps(0.4, 0.1);
            self.roughen(bumps);
        }
        for _ in 0..self.scene.rng.int(1, 4) {
            let from = self.inside(0.0);
            let middle = self.inside(0.35);
            let towards = [0, 1, 2].map(|k: usize| middle[k] - from[k] + 1e-3);
            let plan = TreePlan {
                radius: self.scene.rng.log_uniform(0.03, 0.09),
                length: self.scene.rng.uniform(0.3, 0.6),
                generations: 5,
                wander: self.scene.rng.uniform(0.15, 0.5),
                thinnest: 0.45 * self.pixel,
                most: 120,
            };
            let tree = self.tree(from, towards, &plan);
            let paint = self.scene.contrasting_paint(around);
            self.add(TargetKind::Tube, None, tree, paint);
        }
        if self.scene.rng.chance(0.4) {
            // A widened place.
            let at = self.inside(0.25);
            let size = self.scene.rng.uniform(0.05, 0.16);
            let paint = self.scene.contrasting_paint(around);
            let tilt = self.rotation();
            let radii = self.varied([size; 3], 0.2);
            self.add(TargetKind::Lesion, None, ellipsoid(at, radii, tilt), paint);
        }
    }
}

/// The mirror image at the plane `x = middle`.
fn reflected(form: &Form, middle: f32) -> Form {
    let shift = |form: &Form, by: f32| match form {
        Form::Lobes { lobes, blend } => Form::Lobes {
            lobes: lobes
                .iter()
                .map(|lobe| crate::volume::Lobe {
                    centre: add(lobe.centre, scaled([1.0, 0.0, 0.0], by)),
                    ..*lobe
                })
                .collect(),
            blend: *blend,
        },
        other => other.clone(),
    };
    shift(&super::shapes::mirrored(&shift(form, -middle)), middle)
}
