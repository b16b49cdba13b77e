//! Limbs: skin, fat, muscles in their compartments, bones with joints, vessels.
//!
//! In the body's frame the radius of the limb is about 1.

use super::shapes::{ColumnPlan, CurvePlan};
use super::{Plan, plain};
use crate::draw::tissues::Tissues;
use crate::params::{TargetKind, TargetRule};
use crate::volume::{Form, Section};

impl Plan<'_> {
    pub(super) fn draw_limb(&mut self) {
        let two = self.scene.rng.chance(0.3);
        let scale = if two {
            self.scene.rng.uniform(0.2, 0.24)
        } else {
            self.scene.rng.uniform(0.36, 0.55)
        };
        let pose = self.pose(scale, 0.3);
        let half = self.half_length(&pose);
        let tissues = self.scene.tissues();
        self.ground = plain(tissues.air);
        let joint = self.scene.rng.uniform(-half - 1.0, half + 1.0);
        let joint = self.scene.rng.chance(0.6).then_some(joint);
        let bones = self.scene.rng.int(1, 2);
        let centres: &[f32] = if two { &[-1.12, 1.12] } else { &[0.0] };
        for &x in centres {
            self.one_limb(x, half, joint, bones, &tissues);
        }
        self.place(&pose);
    }

    fn one_limb(&mut self, x: f32, half: f32, joint: Option<f32>, bones: u32, tissues: &Tissues) {
        let plan = ColumnPlan {
            low: -half - 0.5,
            high: half + 0.5,
            centre: [x, 0.0],
            axes: [1.0, self.scene.rng.uniform(0.8, 1.0)],
            angle: 0.0,
            spread: 0.04,
            drift: 0.02,
            period: 1.2,
            waves: 0.03,
            pointed: 0.0,
        };
        let fat = self.scene.textured(tissues.fat);
        let outline = self.column(&plan);
        let skin = self.add(TargetKind::Body, None, outline, fat);
        self.last().target = TargetRule::Whole;
        let depth = self.scene.rng.log_uniform(0.05, 0.3);
        let between = self.scene.textured(0.5 * (tissues.fat + tissues.muscle));
        let inside = self.add_quiet(Some(skin), Form::Inset { depth }, between);
        let bumps = self.bumps(0.4, 0.05);
        self.roughen(bumps);
        self.muscles(x, half, inside, tissues);
        for k in 0..bones {
            let off = if bones == 1 {
                0.0
            } else {
                0.32 * (2.0 * k as f32 - 1.0)
            };
            let size = if bones == 1 { 0.24 } else { 0.17 };
            let y = 0.1 * self.scene.rng.normal();
            self.long_bone([x + off, y], size, half, joint, (skin, tissues));
        }
        let blood = self.scene.textured(tissues.blood);
        for _ in 0..self.scene.rng.int(2, 5) {
            let (sin, cos) = libm::sincosf(self.scene.rng.angle());
            let out = self.scene.rng.uniform(0.4, 0.75);
            let radius = self.scene.rng.uniform(0.03, 0.07);
            let curve = CurvePlan {
                length: 2.0 * half + 0.6,
                radii: [radius, radius * 0.8],
                wander: 0.12,
                knots: 8,
            };
            let line = self.curve(
                [x + out * cos, out * sin, -half - 0.3],
                [0.0, 0.0, 1.0],
                &curve,
            );
            self.add(
                TargetKind::Tube,
                Some(skin),
                Form::Tubes {
                    branches: vec![line],
                },
                blood,
            );
        }
    }

    /// Muscles around the axis, each from a height to a height.
    fn muscles(&mut self, x: f32, half: f32, parent: u16, tissues: &Tissues) {
        let count = self.scene.rng.int(5, 9);
        let first = self.scene.rng.angle();
        for k in 0..count {
            let angle = first + k as f32 * std::f32::consts::TAU / count as f32;
            let (sin, cos) = libm::sincosf(angle);
            let inner = k % 3 == 2;
            let out = if inner { 0.4 } else { 0.58 };
            let length = self.scene.rng.uniform(1.2, 2.5) * half.max(1.0);
            let middle = self.scene.rng.uniform(-0.6, 0.6) * half;
            let plan = ColumnPlan {
                low: middle - length,
                high: middle + length,
                centre: [x + out * cos, out * sin],
                axes: [
                    self.scene.rng.uniform(0.28, 0.36),
                    self.scene.rng.uniform(0.3, 0.42),
                ],
                angle,
                spread: 0.08,
                drift: 0.02,
                period: 1.0,
                waves: 0.06,
                pointed: 0.9,
            };
            let mean = tissues.muscle * self.scene.rng.uniform(0.9, 1.1);
            let paint = self.scene.textured(mean);
            let form = self.column(&plan);
            self.add(TargetKind::Organ, Some(parent), form, paint);
            self.last().clearance = self.scene.rng.uniform(0.015, 0.05);
        }
    }

    /// A shaft, or two bones that meet in a joint.
    fn long_bone(
        &mut self,
        centre: [f32; 2],
        size: f32,
        half: f32,
        joint: Option<f32>,
        (parent, tissues): (u16, &Tissues),
    ) {
        let ends = [-half - 0.4, half + 0.4];
        let spans: Vec<[f32; 2]> = match joint {
            Some(at) if at > ends[0] + 0.3 && at < ends[1] - 0.3 => {
                let gap = self.scene.rng.uniform(0.03, 0.07);
                vec![[ends[0], at - gap], [at + gap, ends[1]]]
            }
            _ => vec![ends],
        };
        let bone = plain(tissues.bone);
        let marrow = self.scene.textured(tissues.marrow);
        let cortex = self.scene.rng.uniform(0.2, 0.4) * size;
        for span in spans {
            let count = (((span[1] - span[0]) / 0.25).ceil() as usize + 1).clamp(4, 40);
            let phase = self.scene.rng.angle();
            let sections = (0..count)
                .map(|k| {
                    let at = span[0] + (span[1] - span[0]) * k as f32 / (count - 1) as f32;
                    // Bones widen towards the joint, and round off at it.
                    let off = joint.map_or(9.0, |joint| (at - joint).abs());
                    let wide = 1.0 + 1.3 * libm::expf(-off * off / 0.18);
                    let round = (off / 0.12).clamp(0.55, 1.0);
                    let bow = 0.006 * self.scene.rng.normal();
                    Section {
                        at,
                        centre: [centre[0] + bow, centre[1] + bow],
                        axes: [size * wide * round, size * wide.sqrt() * round],
                        angle: 0.0,
                        waves: vec![[0.06, phase], [0.05, 2.0 * phase]],
                    }
                })
                .collect();
            let form = Form::Column { axis: 2, sections };
            let id = self.add(TargetKind::Organ, Some(parent), form, bone);
            self.last().target = TargetRule::Whole;
            self.add(
                TargetKind::Lumen,
                Some(id),
                Form::Inset { depth: cortex },
                marrow,
            );
            let bumps = self.bumps(0.2, 0.05);
            self.roughen(bumps);
        }
    }
}
