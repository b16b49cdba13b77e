//! Trunks: skin, fat, muscle, spine and ribs around a cavity with lungs, heart and vessels above a diaphragm and the
//! organs of the belly below it.
//!
//! In the body's frame the half width of the trunk is about 1 (some 17 cm); z runs to the head.

use super::shapes::{ColumnPlan, CurvePlan, TreePlan, UPRIGHT, carved, ellipsoid, lobe};
use super::{Plan, plain};
use crate::draw::tissues::Tissues;
use crate::params::{TargetKind, TargetRule};
use crate::volume::{Form, Lobe};

/// What organs are placed by.
#[derive(Debug, Clone, Copy)]
pub(super) struct Trunk {
    pub(super) tissues: Tissues,
    /// Half depth; the half width is 1.
    pub(super) depth: f32,
    /// Ends of what the volume shows, along z.
    pub(super) low: f32,
    pub(super) high: f32,
    /// Height of the diaphragm.
    pub(super) diaphragm: f32,
    pub(super) body: u16,
    pub(super) cavity: u16,
}

impl Plan<'_> {
    pub(super) fn draw_torso(&mut self) {
        let cropped = self.scene.rng.chance(0.3);
        let scale = if cropped {
            self.scene.rng.uniform(0.5, 0.95)
        } else {
            self.scene.rng.uniform(0.4, 0.5)
        };
        let mut pose = self.pose(scale, 0.15);
        if cropped {
            for k in 0..2 {
                pose.to[pose.order[k]] += scale * self.scene.rng.uniform(-0.4, 0.4);
            }
        }
        let half = self.half_length(&pose);
        let tissues = self.scene.tissues();
        self.ground = plain(tissues.air);
        let trunk = self.shell(half, tissues);
        self.organs(&trunk);
        self.skeleton(&trunk);
        if self.scene.rng.chance(0.25) && !cropped {
            self.couch(&trunk);
        }
        self.place(&pose);
    }

    /// Skin with fat, muscle, and the cavity inside.
    fn shell(&mut self, half: f32, tissues: Tissues) -> Trunk {
        let depth = self.scene.rng.uniform(0.6, 0.82);
        let plan = ColumnPlan {
            low: -half - 1.0,
            high: half + 1.0,
            centre: [0.0, 0.0],
            axes: [1.0, depth],
            angle: 0.0,
            spread: 0.028,
            drift: 0.02,
            period: 0.7,
            waves: 0.016,
            pointed: 0.0,
        };
        let outline = self.column(&plan);
        let fat = self.scene.textured(tissues.fat);
        let body = self.add(TargetKind::Body, None, outline, fat);
        self.last().target = TargetRule::Whole;
        let wall = self.scene.rng.log_uniform(0.035, 0.22);
        let muscle = self.scene.textured(tissues.muscle);
        let inset = Form::Inset { depth: wall };
        let wall = self.add(TargetKind::Wall, Some(body), inset, muscle);
        let bumps = self.bumps(0.3, 0.06);
        self.roughen(bumps);
        let thickness = self.scene.rng.uniform(0.06, 0.13);
        let inner = self.scene.textured(tissues.fat);
        let inset = Form::Inset { depth: thickness };
        let cavity = self.add_quiet(Some(wall), inset, inner);
        let bumps = self.bumps(0.3, 0.07);
        self.roughen(bumps);
        // The trunk reaches from 2.4 below the diaphragm to 1.4 above; short volumes show any part of it.
        let (lowest, highest) = (half - 1.4, 2.4 - half);
        let diaphragm = if lowest < highest {
            self.scene.rng.uniform(lowest, highest)
        } else {
            0.5 * (lowest + highest)
        };
        Trunk {
            tissues,
            depth,
            low: -half,
            high: half,
            diaphragm,
            body,
            cavity,
        }
    }

    fn organs(&mut self, trunk: &Trunk) {
        if trunk.diaphragm < trunk.high + 0.4 {
            self.chest(trunk);
        }
        self.great_vessels(trunk);
        if trunk.diaphragm > trunk.low - 0.2 {
            self.belly(trunk);
        }
        if trunk.diaphragm - 1.5 > trunk.low {
            self.pelvis(trunk);
        }
        for _ in 0..self.scene.rng.int(0, 3) {
            self.stray(trunk);
        }
    }

    /// Lungs with their vessels, heart, airways.
    fn chest(&mut self, trunk: &Trunk) {
        let Trunk {
            tissues,
            depth,
            diaphragm,
            cavity,
            ..
        } = *trunk;
        let muscle = self.scene.textured(tissues.muscle);
        // What fills the space between the lungs hides the belly's fat.
        let middle = ellipsoid(
            [0.0, 0.05, diaphragm + 0.9],
            [0.35, depth * 0.75, 1.1],
            UPRIGHT,
        );
        self.add_quiet(Some(cavity), middle, muscle);
        let shoulders = ellipsoid([0.0, 0.0, diaphragm + 1.9], [1.4, 1.4, 0.75], UPRIGHT);
        self.add_quiet(Some(cavity), shoulders, muscle);
        self.lungs(trunk);
        let heart = [0.12, -0.22 * depth, diaphragm + 0.25];
        let heart = self.near(heart, 0.05);
        self.heart(heart, 0.36, Some(cavity), &tissues);
        // Airway: down the middle, then one branch into either lung.
        let fork = diaphragm + self.scene.rng.uniform(0.75, 0.95);
        let radius = self.scene.rng.uniform(0.05, 0.075);
        let trunk_line = vec![
            [0.0, 0.1, diaphragm + 2.4, radius],
            [0.02, 0.12, fork + 0.5, radius],
            [0.0, 0.12, fork, radius * 0.95],
        ];
        let side = |x: f32| {
            vec![
                [0.0, 0.12, fork, radius * 0.8],
                [x * 0.18, 0.13, fork - 0.15, radius * 0.7],
                [x * 0.4, 0.12, fork - 0.3, radius * 0.5],
            ]
        };
        let branches = vec![trunk_line, side(1.0), side(-1.0)];
        let wall = self.scene.textured(tissues.muscle);
        let form = Form::Tubes { branches };
        let airway = self.add(TargetKind::Tube, Some(trunk.body), form, wall);
        self.last().target = TargetRule::Whole;
        let inset = Form::Inset { depth: 0.015 };
        self.add(TargetKind::Lumen, Some(airway), inset, plain(tissues.air));
    }

    fn lungs(&mut self, trunk: &Trunk) {
        let Trunk {
            tissues,
            depth,
            diaphragm,
            cavity,
            ..
        } = *trunk;
        let air = tissues.air + self.scene.rng.uniform(0.02, 0.1);
        let paint = self.scene.textured(air);
        let height = self.scene.rng.uniform(1.1, 1.5);
        for side in [1.0, -1.0] {
            let raise = self.scene.rng.uniform(-0.05, 0.12);
            let main = lobe(
                [side * 0.6, 0.03, diaphragm + 0.42 * height],
                [0.5, depth * 1.05, 0.68 * height],
                UPRIGHT,
            );
            let dome_at = [side * 0.5, 0.0, diaphragm - 0.45 + raise];
            let dome = carved(lobe(dome_at, [0.6, depth * 1.1, 0.55], UPRIGHT));
            let heart = [0.12, -0.25 * depth, diaphragm + 0.25];
            let notch = carved(lobe(heart, [0.42, 0.4, 0.45], UPRIGHT));
            let form = Form::Lobes {
                lobes: vec![main, dome, notch],
                blend: 0.08,
            };
            let lung = self.add(TargetKind::Organ, Some(cavity), form, paint);
            self.last().target = TargetRule::Whole;
            let bumps = self.bumps(0.25, 0.08);
            self.roughen(bumps);
            let blood = self.scene.textured(tissues.blood);
            let plan = TreePlan {
                radius: 0.07,
                length: 0.3,
                generations: 4,
                wander: 0.3,
                thinnest: (0.4 * self.pixel).max(0.008),
                most: 60,
            };
            let root = [side * 0.15, 0.06, diaphragm + 0.62];
            let tree = self.tree(root, [side, 0.0, -0.2], &plan);
            self.add(TargetKind::Tube, Some(lung), tree, blood);
            if self.scene.rng.chance(0.25) {
                let at = self.near([side * 0.55, 0.0, diaphragm + 0.5], 0.2);
                let size = self.scene.rng.log_uniform(0.03, 0.15);
                self.lesion(at, size, lung, air);
            }
        }
    }

    /// Main artery and vein along the spine, with branches to the sides.
    fn great_vessels(&mut self, trunk: &Trunk) {
        let Trunk {
            tissues,
            depth,
            low,
            high,
            body,
            diaphragm,
            ..
        } = *trunk;
        let back = 0.32 * depth;
        let blood = self.scene.textured(tissues.blood);
        let length = high - low + 0.6;
        let pieces = ((length / 0.5).ceil() as usize + 1).min(24);
        for (x, radius) in [(0.06, 0.085), (-0.13, 0.095)] {
            let radius = radius * self.scene.rng.uniform(0.75, 1.2);
            let mut line = Vec::new();
            for k in 0..pieces {
                let z = low - 0.3 + length * k as f32 / (pieces - 1) as f32;
                let off = self.near([x, back, z], 0.018);
                let uneven = self.scene.rng.uniform(0.85, 1.1);
                line.push([off[0], off[1], z, radius * uneven]);
            }
            let mut branches = vec![line];
            for side in [1.0, -1.0] {
                let z = diaphragm - self.scene.rng.uniform(0.6, 0.85);
                let curve = CurvePlan {
                    length: 0.45,
                    radii: [0.035, 0.025],
                    wander: 0.15,
                    knots: 4,
                };
                let towards = [side, 0.25, self.scene.rng.uniform(-0.2, 0.1)];
                branches.push(self.curve([x, back, z], towards, &curve));
            }
            for _ in 0..self.scene.rng.int(1, 3) {
                let z = diaphragm - self.scene.rng.uniform(0.1, 1.2);
                let curve = CurvePlan {
                    length: self.scene.rng.uniform(0.3, 0.7),
                    radii: [0.04, 0.02],
                    wander: 0.35,
                    knots: 5,
                };
                let side = self.scene.rng.uniform(-0.6, 0.6);
                branches.push(self.curve([x, back, z], [side, -1.0, -0.5], &curve));
            }
            let form = Form::Tubes { branches };
            self.add(TargetKind::Tube, Some(body), form, blood);
        }
    }

    /// Something small that lies anywhere.
    fn stray(&mut self, trunk: &Trunk) {
        let z = self.scene.rng.uniform(trunk.low, trunk.high);
        let angle = self.scene.rng.angle();
        let (sin, cos) = libm::sincosf(angle);
        let out = self.scene.rng.uniform(0.2, 0.75);
        let at = [out * cos, out * trunk.depth * sin, z];
        let size = self.scene.rng.log_uniform(0.03, 0.14);
        self.lesion(at, size, trunk.cavity, trunk.tissues.fat);
    }

    /// The couch of a scanner: a thin curved plate behind the body.
    fn couch(&mut self, trunk: &Trunk) {
        let y = trunk.depth * self.scene.rng.uniform(1.12, 1.3);
        let length = trunk.high - trunk.low + 2.0;
        let plate = |dy: f32, carve: bool| Lobe {
            carve,
            ..lobe(
                [0.0, y - 0.9 + dy, 0.0],
                [1.25, 0.95, 4.0 * length],
                UPRIGHT,
            )
        };
        let above = Lobe {
            carve: true,
            ..lobe([0.0, y - 1.05, 0.0], [2.5, 1.0, 8.0 * length], UPRIGHT)
        };
        let form = Form::Lobes {
            lobes: vec![plate(0.03, false), plate(0.0, true), above],
            blend: 0.0,
        };
        let mean = self.scene.rng.uniform(0.15, 0.5);
        self.add_quiet(None, form, plain(mean));
    }
}
