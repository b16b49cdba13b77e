//! Chest across: lungs with their vessels around heart, great vessels and spine.

use super::body::Trunk;
use super::contour::Walk;
use super::pose::Pose;
use super::template::{Frame, LUNG, MUSCLE};
use super::tissues::Tissues;
use super::{New, Scene, plain};
use crate::params::{Modality, Outline, TargetKind, TargetRule};

impl Scene<'_> {
    pub(super) fn thorax(&mut self, trunk: &Trunk) {
        self.mediastinum(trunk);
        self.lung_pair(trunk);
        if self.rng.chance(0.85) {
            let frame = self.jittered(trunk, [0.14, -0.2], [0.42, 0.4]);
            self.heart(&frame, &trunk.tissues, Some(trunk.id));
        }
        self.spine_across(trunk);
        for [x, y, size] in [[0.2, 0.42, 0.11], [-0.12, -0.35, 0.12], [0.02, 0.3, 0.05]] {
            if self.rng.chance(0.75) {
                let frame = self.jittered(trunk, [x, y], [size, size]);
                let outline = self.rounded(frame.centre, frame.axes, 0.1);
                let mean = trunk.tissues.blood + 0.02 * self.rng.normal();
                self.solid(TargetKind::Tube, outline, mean, Some(trunk.id));
            }
        }
        for x in [-0.13, 0.13] {
            // Trachea or main bronchi.
            let frame = self.jittered(trunk, [x, 0.15], [0.06, 0.055]);
            let outline = self.rounded(frame.centre, frame.axes, 0.1);
            let air = plain(trunk.tissues.air);
            self.add(New::of(TargetKind::Lumen, outline, air).inside(trunk.id));
            let wall = self.rim(trunk.tissues.organ, [0.002, 0.006]);
            self.last().rim = Some(wall);
        }
        let scapular = trunk.part([-0.72, 0.8], [0.32, 0.16], 0.6);
        self.pair_of(&MUSCLE, trunk, scapular);
        self.ribs(trunk);
        if self.rng.chance(0.3) {
            self.arms(trunk);
        }
    }

    /// Tissue between the lungs: the cavity itself is painted with it.
    fn mediastinum(&mut self, trunk: &Trunk) {
        let mean = trunk.tissues.fat + 0.03 * self.rng.normal();
        let paint = self.textured(mean);
        let cavity = self.structures.iter_mut().find(|s| s.id == trunk.id);
        if let Some(cavity) = cavity {
            cavity.paint = paint;
        }
    }

    /// Lungs: mirror images but for the heart's dent, with branching vessels and sometimes nodules.
    fn lung_pair(&mut self, trunk: &Trunk) {
        let mut frame = trunk.part([-0.52, 0.02], [0.0; 2], 0.0);
        frame.axes = [0.43 * trunk.frame.axes[0], 0.84 * trunk.frame.axes[1]];
        let outline = self.shape(&LUNG, &frame, 0.04);
        let mirror = Pose::mirror(trunk.frame.centre[0]);
        let mean = self.lung_mean(&trunk.tissues, 0.15);
        let mut vessel = trunk.tissues.blood - mean;
        if mean < 0.0 {
            // Thin vessels share their pixels with air, and so fall below the window too.
            vessel *= self.rng.uniform(0.1, 1.0);
        }
        let other = Frame {
            centre: mirror.point(frame.centre),
            axes: [-frame.axes[0], frame.axes[1]],
            angle: 0.0,
        };
        for (outline, frame) in [(mirror.outline(&outline), other), (outline, frame)] {
            let id = self.solid(TargetKind::Organ, outline, mean, Some(trunk.id));
            self.last().target = TargetRule::Whole;
            if mean >= 0.0 || self.rng.chance(0.5) {
                self.lung_vessels(&frame, vessel, id);
            }
            self.abnormal(&frame, mean, id);
        }
    }

    /// Air, or up to `most` brighter; below black in many CT images, whose window is that of soft tissue.
    pub(super) fn lung_mean(&mut self, tissues: &Tissues, most: f32) -> f32 {
        if self.look == Modality::Ct && self.rng.chance(0.6) {
            -self.rng.uniform(0.0, 0.6)
        } else {
            tissues.air + self.rng.uniform(0.0, most)
        }
    }

    /// Branches from the root outwards, and cross-sections of others.
    pub(super) fn lung_vessels(&mut self, frame: &Frame, difference: f32, id: u16) {
        let root = frame.at([0.5, 0.1]);
        let size = frame.axes[1].abs();
        let walk = Walk {
            knots: 6,
            length: size * self.rng.uniform(0.7, 1.1),
            half_width: size * self.rng.uniform(0.015, 0.04),
            taper: 0.85,
            bend: 0.18,
        };
        let outwards = if frame.axes[0] > 0.0 {
            std::f32::consts::PI
        } else {
            0.0
        };
        let mut branches = Vec::new();
        for _ in 0..self.rng.int(3, 8) {
            let heading = outwards + 0.8 * self.rng.normal();
            let trunk = self.walk(root, heading, walk);
            for &[x, y, half_width] in &trunk[2..5] {
                let twig = Walk {
                    length: 0.4 * walk.length,
                    half_width: 0.6 * half_width,
                    ..walk
                };
                let heading = heading + 0.7 * self.rng.sign();
                branches.push(self.walk([x, y], heading, twig));
            }
            branches.push(trunk);
        }
        for _ in 0..self.rng.int(5, 30) {
            let [x, y] = frame.at([self.rng.uniform(-0.9, 0.5), self.rng.uniform(-0.9, 0.9)]);
            let r = size * self.rng.log_uniform(0.006, 0.02);
            branches.push(vec![[x, y, r], [x + 0.3 * r, y + 0.2 * r, r]]);
        }
        let tree = New::of(
            TargetKind::Tube,
            Outline::Tubes { branches },
            plain(difference),
        );
        self.add(tree.overlay().inside(id));
    }

    /// Arms beside the chest.
    fn arms(&mut self, trunk: &Trunk) {
        let Frame { centre, axes, .. } = trunk.frame;
        let radius = axes[1] * self.rng.uniform(0.2, 0.28);
        let y = centre[1] + axes[1] * self.rng.uniform(-0.2, 0.4);
        for side in [-1.0, 1.0] {
            let at = [centre[0] + side * (1.35 * axes[0] + radius), y];
            let outline = self.rounded(at, [radius, radius * 0.9], 0.08);
            let mean = trunk.tissues.muscle;
            let arm = self.solid(TargetKind::Body, outline, mean, None);
            self.last().target = TargetRule::No;
            let bone = self.rounded(at, [0.25 * radius; 2], 0.1);
            self.bone(&bone, &trunk.tissues, Some(arm));
        }
    }
}
