//! Heads across: scalp, skull, brain with folds, ventricles and deep nuclei (MR, CT).

use super::contour::scaled;
use super::pose::Pose;
use super::template::{Frame, HORN, TAIL};
use super::{New, Scene, plain};
use crate::params::{Modality, Outline, TargetKind, TargetRule, Vec2};

/// A brain and the means of its parts.
struct Brain {
    id: u16,
    frame: Frame,
    grey: f32,
    white: f32,
    fluid: f32,
}

impl Scene<'_> {
    pub(super) fn draw_head(&mut self) {
        let [width, height] = self.extent;
        self.ground = plain(self.rng.uniform(0.0, 0.05));
        let long = 0.5 * width.min(height) * self.rng.uniform(0.78, 0.98);
        let axes = [long * self.rng.uniform(0.72, 0.95), long];
        let centre = [
            0.5 * width + 0.02 * self.rng.normal(),
            0.5 * height + 0.02 * self.rng.normal(),
        ];
        let brain = self.skull(Frame::new(centre, axes, 0.0));
        self.folds(&brain);
        if self.rng.chance(0.8) {
            self.ventricles(&brain);
            self.nuclei(&brain);
        } else {
            self.hindbrain(&brain);
        }
        self.abnormal(&brain.frame, brain.white, brain.id);
        let zoom = self.zoom(0.45, 4.5);
        self.pose(zoom);
    }

    /// Scalp, skull and fluid around the brain.
    fn skull(&mut self, frame: Frame) -> Brain {
        let tissues = self.tissues();
        let dense = self.look == Modality::Ct;
        let outline = self.rounded_at(frame.centre, frame.axes, 0.0, 0.03);
        let scalp = self.textured(tissues.fat);
        let rule = if self.rng.chance(0.15) {
            TargetRule::Whole
        } else {
            TargetRule::No
        };
        let head = self.add(New::of(TargetKind::Body, outline.clone(), scalp).target(rule));
        let mut share = 1.0 - self.rng.uniform(0.02, 0.07);
        let bone = New::of(
            TargetKind::Wall,
            scaled(&outline, share),
            plain(tissues.bone),
        );
        let bone = self.add(bone.inside(head));
        share -= self.rng.uniform(0.02, 0.07);
        let grey = if dense {
            self.rng.uniform(0.35, 0.55)
        } else {
            self.rng.uniform(0.15, 0.7)
        };
        let difference = if dense {
            -self.rng.log_uniform(0.015, 0.06)
        } else {
            self.rng.log_uniform(0.03, 0.35) * self.rng.sign()
        };
        let fluid = if dense {
            grey - self.rng.uniform(0.08, 0.2)
        } else {
            self.contrasting(grey)
        };
        let paint = self.textured(fluid);
        let space = New::of(TargetKind::Body, scaled(&outline, share), paint).inside(bone);
        let space = self.add(space.target(TargetRule::Whole));
        share -= self.rng.uniform(0.005, 0.04);
        let mut surface = scaled(&outline, share);
        self.roughen(&mut surface, 0.25);
        let paint = self.textured(grey);
        let brain = New::of(TargetKind::Organ, surface, paint).inside(space);
        let id = self.add(brain.target(TargetRule::Whole));
        Brain {
            id,
            frame: Frame::new(frame.centre, frame.axes.map(|a| a * share), 0.0),
            grey,
            white: (grey + difference).clamp(0.03, 0.97),
            fluid,
        }
    }

    /// White matter under a folded cortex, furrows from the surface, the gap between the halves.
    fn folds(&mut self, brain: &Brain) {
        let Frame { centre, axes, .. } = brain.frame;
        let share = self.rng.uniform(0.76, 0.86);
        let mut inner = self.rounded_at(centre, axes.map(|a| a * share), 0.0, 0.04);
        let strength = self.rng.uniform(0.8, 1.8);
        self.roughen(&mut inner, strength);
        let paint = self.textured(brain.white);
        let white = New::of(TargetKind::Organ, inner, paint).inside(brain.id);
        let rule = self.holder_rule();
        self.add(white.target(rule));
        let width = axes[0] * self.rng.uniform(0.006, 0.018);
        let mut branches = Vec::new();
        let count = self.rng.int(14, 34);
        for k in 0..count {
            let turn = (k as f32 + 0.7 * self.rng.unit()) / count as f32 * std::f32::consts::TAU;
            let depth = self.rng.uniform(0.08, 0.26);
            let bend = 0.12 * self.rng.normal();
            let knot = |i: u32| {
                let share = i as f32 / 3.0;
                let (sin, cos) = libm::sincosf(turn + bend * share * share);
                let r = 1.0 - depth * share;
                let [x, y] = brain.frame.at([r * cos, r * sin]);
                [x, y, width * (1.0 - 0.5 * share)]
            };
            branches.push((0..4).map(knot).collect());
        }
        for [from, to] in [[-1.0, -0.45], [0.55, 1.0]] {
            let knot = |y: f32| {
                let [x, y] = brain.frame.at([0.0, y]);
                [x, y, width]
            };
            branches.push(vec![knot(from), knot(0.5 * (from + to)), knot(to)]);
        }
        let outline = Outline::Tubes { branches };
        let furrows = New::of(TargetKind::Tube, outline, plain(brain.fluid)).inside(brain.id);
        self.add(furrows.target(TargetRule::No));
    }

    /// A structure and its mirror image at the midline.
    fn both_sides(&mut self, brain: &Brain, template: &[Vec2], frame: Frame, mean: f32) {
        let outline = self.shape(template, &frame, 0.06);
        let mirror = Pose::mirror(brain.frame.centre[0]);
        for outline in [mirror.outline(&outline), outline] {
            self.solid(TargetKind::Organ, outline, mean, Some(brain.id));
        }
    }

    /// A frame in the brain: centre and half axes in its frame.
    fn within(&mut self, brain: &Brain, [x, y]: Vec2, axes: Vec2, angle: f32) -> Frame {
        let at = [x + 0.02 * self.rng.normal(), y + 0.03 * self.rng.normal()];
        let size = self.rng.log_uniform(0.75, 1.35);
        let axes = [
            size * axes[0] * brain.frame.axes[0],
            size * axes[1] * brain.frame.axes[1],
        ];
        Frame::new(brain.frame.at(at), axes, angle + 0.1 * self.rng.normal())
    }

    fn ventricles(&mut self, brain: &Brain) {
        let front = self.within(brain, [-0.13, -0.22], [0.1, 0.2], 0.0);
        self.both_sides(brain, &HORN, front, brain.fluid);
        if self.rng.chance(0.6) {
            let mut back = self.within(brain, [-0.2, 0.35], [0.09, 0.2], 0.2);
            back.axes[1] = -back.axes[1];
            self.both_sides(brain, &HORN, back, brain.fluid);
        }
        if self.rng.chance(0.6) {
            let third = self.within(brain, [0.0, 0.08], [0.025, 0.1], 0.0);
            let outline = self.rounded_at(third.centre, third.axes, 0.0, 0.1);
            self.solid(TargetKind::Lumen, outline, brain.fluid, Some(brain.id));
        }
    }

    /// Pairs whose mean is close to that of cortex or white matter.
    fn nuclei(&mut self, brain: &Brain) {
        let near = |scene: &mut Self| {
            let share = scene.rng.uniform(0.4, 1.15);
            brain.white + share * (brain.grey - brain.white)
        };
        let places = [
            ([-0.25, -0.2], [0.06, 0.14], 0.2),
            ([-0.42, 0.0], [0.1, 0.22], 0.15),
            ([-0.16, 0.13], [0.12, 0.14], 0.3),
        ];
        for (at, axes, angle) in places {
            if self.rng.chance(0.75) {
                let frame = self.within(brain, at, axes, angle);
                let template = [
                    [0.0, -1.0],
                    [-0.8, -0.5],
                    [-0.9, 0.4],
                    [-0.1, 1.0],
                    [0.7, 0.5],
                    [0.8, -0.4],
                ];
                let mean = near(self);
                self.both_sides(brain, &template, frame, mean);
            }
        }
        if self.rng.chance(0.7) {
            // Hippocampi beside the temporal horns, which are dark crescents along them.
            let frame = self.within(brain, [-0.5, 0.4], [0.17, 0.09], 0.8);
            let mean = near(self);
            if self.rng.chance(0.6) {
                let mut horn = frame;
                horn.centre = frame.at([-0.25, -0.35]);
                self.both_sides(brain, &TAIL, horn, brain.fluid);
            }
            self.both_sides(brain, &TAIL, frame, mean);
        }
    }

    /// Cerebellum and brain stem, with the fluid around them.
    fn hindbrain(&mut self, brain: &Brain) {
        let space = self.within(brain, [0.0, 0.45], [0.62, 0.46], 0.0);
        let outline = self.rounded_at(space.centre, space.axes, 0.0, 0.06);
        let fluid = self.textured(brain.fluid);
        let space = New::of(TargetKind::Organ, outline, fluid).inside(brain.id);
        let space = self.add(space.target(TargetRule::No));
        let frame = self.within(brain, [0.0, 0.5], [0.56, 0.36], 0.0);
        let mut outline = self.rounded_at(frame.centre, frame.axes, 0.0, 0.05);
        self.roughen(&mut outline, 0.5);
        self.solid(TargetKind::Organ, outline.clone(), brain.grey, Some(space));
        self.last().target = TargetRule::Whole;
        let id = self.last().id;
        self.inner_part(&outline, 0.6, brain.white, id);
        let frame = self.within(brain, [0.0, 0.12], [0.2, 0.17], 0.0);
        let outline = self.rounded_at(frame.centre, frame.axes, 0.0, 0.08);
        let mean = brain.white + 0.02 * self.rng.normal();
        self.solid(TargetKind::Organ, outline, mean, Some(brain.id));
        for side in [-1.0, 1.0] {
            let frame = self.within(brain, [0.45 * side, -0.05], [0.16, 0.08], 0.8 * side);
            let outline = self.shape(&TAIL, &frame, 0.05);
            let mean = 0.5 * (brain.grey + brain.white);
            self.solid(TargetKind::Organ, outline, mean, Some(brain.id));
        }
    }
}
