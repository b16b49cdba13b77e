//! Belly and pelvis across, and the trunk from the front.

use super::body::Trunk;
use super::contour::Walk;
use super::pose::Pose;
use super::template::{BAG, BLOCK, Frame, MUSCLE, PEAR};
use super::{New, Scene};
use crate::params::{Outline, TargetKind, TargetRule, Vec2};

impl Scene<'_> {
    /// Liver on the left of the image, spleen and stomach on the right, kidneys beside the spine.
    pub(super) fn abdomen(&mut self, trunk: &Trunk) {
        let bowel = self.rng.int(0, 9);
        self.bowel_loops(trunk, bowel, [0.0, -0.15]);
        if self.rng.chance(0.75) {
            let frame = self.jittered(trunk, [-0.5, -0.12], [0.72, 0.98]);
            self.liver(&frame, &trunk.tissues, trunk.id);
            if self.rng.chance(0.5) {
                let frame = self.jittered(trunk, [-0.32, -0.05], [0.12, 0.18]);
                let outline = self.shape(&PEAR, &frame, 0.05);
                let mean = trunk.tissues.fluid;
                self.solid(TargetKind::Organ, outline, mean, Some(trunk.id));
            }
        }
        if self.rng.chance(0.7) {
            let frame = self.jittered(trunk, [0.42, -0.5], [0.42, 0.4]);
            let outline = self.shape(&BAG, &frame, 0.06);
            let inner = self.rng.uniform(0.75, 0.93);
            self.hollow(&outline, &trunk.tissues, Some(trunk.id), inner);
        }
        if self.rng.chance(0.5) {
            self.pancreas(trunk);
        }
        self.spine_across(trunk);
        self.great_vessels(trunk);
        if self.rng.chance(0.85) {
            self.kidneys(trunk, [0.5, 0.5], [0.2, 0.27]);
        }
        if self.rng.chance(0.7) {
            let mut frame = self.jittered(trunk, [0.78, 0.25], [0.22, 0.45]);
            frame.axes[0] = -frame.axes[0];
            self.spleen(&frame, &trunk.tissues, trunk.id);
        }
        if self.rng.chance(0.6) {
            self.ribs(trunk);
        }
        for _ in 0..self.rng.int(0, 6) {
            self.spot(trunk);
        }
    }

    /// A part of the cavity with some freedom of place, size and turn.
    pub(super) fn jittered(&mut self, trunk: &Trunk, [x, y]: Vec2, axes: Vec2) -> Frame {
        let size = self.rng.log_uniform(0.75, 1.25);
        let axes = axes.map(|a| a * size * self.rng.log_uniform(0.88, 1.14));
        let centre = [x + 0.05 * self.rng.normal(), y + 0.05 * self.rng.normal()];
        trunk.part(centre, axes, 0.15 * self.rng.normal())
    }

    /// Two kidneys: mirror images but for what was drawn in them.
    fn kidneys(&mut self, trunk: &Trunk, [x, y]: Vec2, axes: Vec2) {
        let frame = self.jittered(trunk, [-x, y], axes);
        let outline = self.bean(&frame);
        let mirror = Pose::mirror(trunk.frame.centre[0]);
        let other = Frame {
            centre: mirror.point(frame.centre),
            axes: [-frame.axes[0], frame.axes[1]],
            angle: -frame.angle,
        };
        let sides = [(mirror.outline(&outline), other), (outline, frame)];
        for (outline, frame) in sides {
            if self.rng.chance(0.92) {
                let id = self.kidney(&outline, &frame, &trunk.tissues, trunk.id);
                if self.rng.chance(0.3) {
                    let mean = trunk.tissues.organ;
                    self.abnormal(&frame, mean, id);
                }
            }
        }
    }

    /// Aorta and vena cava in front of the spine, some branches.
    fn great_vessels(&mut self, trunk: &Trunk) {
        for x in [-0.14, 0.1] {
            let frame = self.jittered(trunk, [x, 0.36], [0.085, 0.08]);
            let outline = self.rounded_at(frame.centre, frame.axes, frame.angle, 0.08);
            let mean = trunk.tissues.blood + 0.02 * self.rng.normal();
            self.solid(TargetKind::Tube, outline, mean, Some(trunk.id));
            if self.rng.chance(0.2) {
                let wall = self.rim(mean, [0.003, 0.008]);
                self.last().rim = Some(wall);
            }
        }
        for _ in 0..self.rng.int(0, 4) {
            let start = trunk
                .frame
                .at([self.rng.uniform(-0.2, 0.2), self.rng.uniform(-0.2, 0.3)]);
            let walk = Walk {
                knots: 4,
                length: trunk.radius() * self.rng.uniform(0.2, 0.6),
                half_width: trunk.radius() * self.rng.uniform(0.02, 0.045),
                taper: 0.5,
                bend: 0.3,
            };
            let heading = self.rng.angle();
            let branches = vec![self.walk(start, heading, walk)];
            let mean = trunk.tissues.blood;
            self.solid(
                TargetKind::Tube,
                Outline::Tubes { branches },
                mean,
                Some(trunk.id),
            );
        }
    }

    /// A lobulated tube across the spine.
    fn pancreas(&mut self, trunk: &Trunk) {
        let start = trunk.frame.at([-0.2, 0.12 + 0.06 * self.rng.normal()]);
        let walk = Walk {
            knots: 7,
            length: trunk.radius() * self.rng.uniform(0.6, 1.0),
            half_width: trunk.radius() * self.rng.uniform(0.06, 0.11),
            taper: 0.4,
            bend: 0.2,
        };
        let branches = vec![self.walk(start, -0.3, walk)];
        let mean = self.organ_mean(&trunk.tissues);
        self.solid(
            TargetKind::Organ,
            Outline::Tubes { branches },
            mean,
            Some(trunk.id),
        );
    }

    /// Loops of bowel that do not overlap, cut across or along.
    fn bowel_loops(&mut self, trunk: &Trunk, count: u32, [x, y]: Vec2) {
        let mut taken: Vec<Vec2> = Vec::new();
        let radius = trunk.radius() * self.rng.uniform(0.09, 0.17);
        let inner = self.rng.uniform(0.65, 0.92);
        for _ in 0..count {
            let spread = [self.rng.uniform(-0.75, 0.75), self.rng.uniform(-0.6, 0.6)];
            let at = trunk.frame.at([x + spread[0], y + spread[1]]);
            let free = taken.iter().all(|other| {
                let (dx, dy) = (at[0] - other[0], at[1] - other[1]);
                dx * dx + dy * dy > 3.6 * radius * radius
            });
            if !free {
                continue;
            }
            taken.push(at);
            let outline = if self.rng.chance(0.3) {
                let walk = Walk {
                    knots: 4,
                    length: 3.0 * radius,
                    half_width: 0.7 * radius,
                    taper: 0.0,
                    bend: 0.5,
                };
                let heading = self.rng.angle();
                let branches = vec![self.walk(at, heading, walk)];
                Outline::Tubes { branches }
            } else {
                let axes = [radius, radius * self.rng.uniform(0.7, 1.0)];
                self.rounded(at, axes, 0.25)
            };
            self.hollow(&outline, &trunk.tissues, Some(trunk.id), inner);
        }
    }

    /// Bladder, bowel, hip bones with the heads of the thigh bones, gluteal muscles.
    pub(super) fn pelvis(&mut self, trunk: &Trunk) {
        let loops = self.rng.int(0, 4);
        self.bowel_loops(trunk, loops, [0.0, -0.4]);
        let gluteal = trunk.part([-0.5, 0.85], [0.55, 0.32], -0.4);
        self.pair_of(&MUSCLE, trunk, gluteal);
        let inner_muscle = trunk.part([-0.5, 0.1], [0.14, 0.42], 0.1);
        self.pair_of(&MUSCLE, trunk, inner_muscle);
        self.hips(trunk);
        if self.rng.chance(0.85) {
            let frame = self.jittered(trunk, [0.0, -0.2], [0.38, 0.3]);
            let outline = self.rounded_at(frame.centre, frame.axes, frame.angle, 0.15);
            let mean = trunk.tissues.fluid;
            self.solid(TargetKind::Organ, outline, mean, Some(trunk.id));
            if self.rng.chance(0.4) {
                let wall = self.rim(mean, [0.004, 0.012]);
                self.last().rim = Some(wall);
            }
        }
        if self.rng.chance(0.7) {
            let frame = self.jittered(trunk, [0.0, 0.2], [0.2, 0.16]);
            let outline = self.rounded_at(frame.centre, frame.axes, frame.angle, 0.15);
            let mean = self.organ_mean(&trunk.tissues);
            let id = self.solid(TargetKind::Organ, outline.clone(), mean, Some(trunk.id));
            self.last().target = TargetRule::Whole;
            if self.rng.chance(0.5) {
                let mean = self.contrasting(mean);
                self.inner_part(&outline, 0.55, mean, id);
            }
        }
        let frame = self.jittered(trunk, [0.0, 0.55], [0.14, 0.13]);
        let outline = self.rounded_at(frame.centre, frame.axes, frame.angle, 0.2);
        self.hollow(&outline, &trunk.tissues, Some(trunk.id), 0.65);
        for _ in 0..self.rng.int(0, 5) {
            self.spot(trunk);
        }
    }

    /// Heads of the thigh bones in their sockets, sacrum behind.
    fn hips(&mut self, trunk: &Trunk) {
        let frame = self.jittered(trunk, [-0.75, 0.12], [0.19, 0.19]);
        let head = self.rounded_at(frame.centre, frame.axes, 0.0, 0.05);
        let around = |turn: f32, width: f32| {
            let (sin, cos) = libm::sincosf(turn);
            let [x, y] = frame.at([1.25 * cos, 1.25 * sin]);
            [x, y, width * frame.axes[0]]
        };
        let socket = vec![
            (0..7)
                .map(|k| around(-1.6 + 0.55 * k as f32, 0.2))
                .collect(),
        ];
        let socket = Outline::Tubes { branches: socket };
        let mirror = Pose::mirror(trunk.frame.centre[0]);
        for turned in [true, false] {
            let side = |outline: &Outline| {
                if turned {
                    mirror.outline(outline)
                } else {
                    outline.clone()
                }
            };
            let (socket, head) = (side(&socket), side(&head));
            let mean = trunk.tissues.bone;
            self.solid(TargetKind::Organ, socket, mean, Some(trunk.body));
            self.bone(&head, &trunk.tissues, Some(trunk.body));
        }
        let frame = trunk.part([0.0, 0.88], [0.3, 0.12], 0.0);
        let sacrum = self.shape(&BLOCK, &frame, 0.08);
        self.bone(&sacrum, &trunk.tissues, Some(trunk.body));
    }

    /// The trunk from the front or the side: a column of vertebrae, kidneys, long muscles, liver.
    pub(super) fn trunk_from_front(&mut self, trunk: &Trunk) {
        if self.rng.chance(0.35) {
            let loops = self.rng.int(2, 9);
            self.bowel_loops(trunk, loops, [0.0, 0.1]);
        }
        let side = self.rng.sign();
        if self.rng.chance(0.7) {
            let mut frame = self.jittered(trunk, [0.55 * side, -0.2], [0.5, 0.6]);
            frame.axes[0] *= -side;
            self.liver(&frame, &trunk.tissues, trunk.id);
        }
        if self.rng.chance(0.6) {
            let mut frame = self.jittered(trunk, [-0.7 * side, -0.2], [0.26, 0.5]);
            frame.axes[0] *= side;
            self.spleen(&frame, &trunk.tissues, trunk.id);
        }
        if self.rng.chance(0.4) {
            let frame = trunk.part([-0.24, 0.3], [0.16, 0.9], 0.1);
            self.pair_of(&MUSCLE, trunk, frame);
        }
        self.column(trunk);
        if self.rng.chance(0.8) {
            self.kidneys(trunk, [0.45, 0.05], [0.23, 0.42]);
        }
        for _ in 0..self.rng.int(0, 5) {
            self.spot(trunk);
        }
    }

    /// Vertebrae one above the other with discs between, and the canal beside them.
    fn column(&mut self, trunk: &Trunk) {
        let half = trunk.radius() * self.rng.uniform(0.09, 0.17);
        let tall = half * self.rng.uniform(0.6, 0.95);
        let pitch = 2.0 * tall * self.rng.uniform(1.15, 1.35);
        let curve = 0.2 * self.rng.normal();
        let [x0, y0] = trunk.frame.centre;
        let spine_at = |y: f32| x0 + curve * (y - y0) * (y - y0);
        let disc_mean = self.organ_mean(&trunk.tissues);
        let line = |offset: f32, width: f32| {
            let knot = |k: u32| {
                let y = self.extent[1] * (k as f32 / 5.0 - 0.1);
                [spine_at(y) + offset, y, width]
            };
            Outline::Tubes {
                branches: vec![(0..8).map(knot).collect()],
            }
        };
        let (discs, beside) = (line(0.0, 0.85 * half), line(1.75 * half, 0.45 * half));
        let canal_behind = self.rng.chance(0.6);
        self.solid(TargetKind::Tube, discs, disc_mean, Some(trunk.body));
        self.last().target = TargetRule::No;
        if canal_behind {
            let mean = trunk.tissues.fluid;
            let paint = self.textured(mean);
            let canal = New::of(TargetKind::Tube, beside, paint).inside(trunk.body);
            self.add(canal);
        }
        let mut y = self.rng.uniform(-0.5, 0.5) * pitch;
        while y < self.extent[1] + pitch {
            let turn = -libm::atanf(2.0 * curve * (y - y0));
            let frame = Frame::new([spine_at(y), y], [half, tall], turn);
            let outline = self.shape(&BLOCK, &frame, 0.05);
            let mean = trunk.tissues.marrow;
            let block = self.textured(mean);
            self.add(New::of(TargetKind::Organ, outline, block).inside(trunk.body));
            if self.rng.chance(0.5) {
                let mut cortex = self.rim(mean, [0.002, 0.006]);
                cortex.mean = trunk.tissues.bone;
                self.last().rim = Some(cortex);
            }
            y += pitch;
        }
    }
}
