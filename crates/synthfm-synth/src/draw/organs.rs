//! Organs with their insides: kidney, liver, spleen, heart, vertebra.

use super::contour::{Walk, scaled};
use super::template::{BEAN, CRESCENT, Frame, HILUM_ANCHOR, WEDGE};
use super::tissues::Tissues;
use super::{New, Scene, plain};
use crate::params::{Outline, TargetKind, TargetRule, Vec2};

impl Scene<'_> {
    /// The outline of a kidney, its hilum to the right of the frame.
    pub(super) fn bean(&mut self, frame: &Frame) -> Outline {
        let mut template = BEAN;
        template[HILUM_ANCHOR][0] = self.rng.uniform(-0.4, 0.5);
        self.shape(&template, frame, 0.05)
    }

    /// A kidney: cortex, pyramids that belong to it, and a sinus that belongs to it or not.
    pub(super) fn kidney(
        &mut self,
        outline: &Outline,
        frame: &Frame,
        tissues: &Tissues,
        parent: u16,
    ) -> u16 {
        let mean = self.organ_mean(tissues);
        let paint = self.textured(mean);
        let kidney = New::of(TargetKind::Organ, outline.clone(), paint).inside(parent);
        let id = self.add(kidney.target(TargetRule::Whole));
        if self.rng.chance(0.5) {
            self.pyramids(frame, mean, id);
        }
        if self.rng.chance(0.75) {
            let outside = self.rng.chance(0.5);
            let sinus = if self.rng.chance(0.7) {
                tissues.fat
            } else {
                self.contrasting(mean)
            };
            let size = [
                frame.axes[0].abs() * self.rng.uniform(0.25, 0.5),
                frame.axes[1].abs() * self.rng.uniform(0.25, 0.55),
            ];
            let at = frame.at([self.rng.uniform(-0.1, 0.45), 0.0]);
            let sinus_outline = self.rounded_at(at, size, frame.angle, 0.25);
            let paint = self.textured(sinus);
            let holder = if outside { parent } else { id };
            let sinus = New::of(TargetKind::Organ, sinus_outline, paint).inside(holder);
            self.add(sinus.target(TargetRule::No));
            if self.rng.chance(0.5) {
                let vessel = self.rounded_at(at, size.map(|s| 0.4 * s), frame.angle, 0.3);
                let paint = plain(tissues.blood);
                let vessel = New::of(TargetKind::Tube, vessel, paint).inside(holder);
                self.add(vessel.target(TargetRule::No));
            }
        }
        id
    }

    /// Cones of medulla around the sinus.
    fn pyramids(&mut self, frame: &Frame, cortex: f32, id: u16) {
        let mean = self.contrasting(cortex);
        let mean = cortex + (mean - cortex).clamp(-0.25, 0.25);
        for k in 0..self.rng.int(4, 8) {
            let turn = 1.0 + 0.75 * k as f32 + 0.2 * self.rng.normal();
            let (sin, cos) = libm::sincosf(turn);
            let at = frame.at([0.48 * cos, 0.58 * sin]);
            let size = frame.axes.map(f32::abs);
            let size = [0.2 * size[0], 0.14 * size[1]];
            let outline = self.rounded_at(at, size, frame.angle + turn, 0.2);
            let cone = New::of(TargetKind::Organ, outline, plain(mean)).inside(id);
            self.add(cone.target(TargetRule::No));
        }
    }

    /// A liver: a wedge with vessels, sometimes lesions.
    pub(super) fn liver(&mut self, frame: &Frame, tissues: &Tissues, parent: u16) -> u16 {
        let outline = self.shape(&WEDGE, frame, 0.06);
        let mean = self.organ_mean(tissues);
        let id = self.solid(TargetKind::Organ, outline, mean, Some(parent));
        self.last().target = TargetRule::Whole;
        if self.rng.chance(0.6) {
            let vessel = if self.rng.chance(0.6) {
                tissues.blood
            } else {
                self.contrasting(mean)
            };
            self.tree_in(frame, vessel - mean, id);
        }
        self.abnormal(frame, mean, id);
        id
    }

    /// Branches inside an organ that start near its middle.
    pub(super) fn tree_in(&mut self, frame: &Frame, difference: f32, id: u16) {
        let near = frame.axes[0].abs().min(frame.axes[1].abs());
        let walk = Walk {
            knots: 5,
            length: near * self.rng.uniform(0.8, 1.6),
            half_width: near * self.rng.log_uniform(0.02, 0.06),
            taper: 0.75,
            bend: 0.25,
        };
        let start = frame.at([self.rng.uniform(-0.3, 0.3), self.rng.uniform(-0.3, 0.3)]);
        let mut branches = Vec::new();
        for _ in 0..self.rng.int(2, 5) {
            let heading = self.rng.angle();
            let trunk = self.walk(start, heading, walk);
            for _ in 0..self.rng.int(0, 2) {
                let [x, y, width] = trunk[self.rng.int(1, 4) as usize];
                let twig = Walk {
                    length: 0.6 * walk.length,
                    half_width: 0.7 * width,
                    ..walk
                };
                let heading = heading + self.rng.uniform(0.4, 1.0) * self.rng.sign();
                branches.push(self.walk([x, y], heading, twig));
            }
            branches.push(trunk);
        }
        let tree = New::of(
            TargetKind::Tube,
            Outline::Tubes { branches },
            plain(difference),
        );
        self.add(tree.overlay().inside(id));
    }

    /// A crescent such as a spleen.
    pub(super) fn spleen(&mut self, frame: &Frame, tissues: &Tissues, parent: u16) -> u16 {
        let outline = self.shape(&CRESCENT, frame, 0.07);
        let mean = self.organ_mean(tissues);
        let id = self.solid(TargetKind::Organ, outline, mean, Some(parent));
        self.last().target = TargetRule::Whole;
        self.abnormal(frame, mean, id);
        id
    }

    /// A vertebra across the spine: body, arch and processes around the canal with its cord.
    pub(super) fn vertebra(&mut self, at: Vec2, radius: f32, tissues: &Tissues, parent: u16) {
        let place = |x: f32, y: f32| [at[0] + x * radius, at[1] + y * radius];
        let canal_at = place(0.0, 1.35);
        let paint = self.textured(tissues.fluid);
        let outline = self.rounded_at(canal_at, [0.62 * radius, 0.5 * radius], 0.0, 0.08);
        let canal = New::of(TargetKind::Lumen, outline, paint).inside(parent);
        let canal = self.add(canal.target(TargetRule::Whole));
        if self.rng.chance(0.6) {
            let share = self.rng.uniform(0.5, 0.75);
            let axes = [0.6 * radius * share, 0.42 * radius * share];
            let outline = self.rounded_at(canal_at, axes, 0.0, 0.06);
            let paint = self.contrasting_paint(tissues.fluid);
            self.add(New::of(TargetKind::Organ, outline, paint).inside(canal));
        }
        let knot = |x: f32, y: f32, width: f32| {
            let [x, y] = place(x, y);
            [x, y, width * radius]
        };
        let mut branches = vec![vec![knot(-0.3, 0.0, 0.95), knot(0.3, 0.0, 0.95)]];
        let (drop, reach) = (self.rng.uniform(2.4, 3.2), self.rng.uniform(1.3, 2.0));
        for side in [-1.0, 1.0] {
            branches.push(vec![
                knot(0.6 * side, 0.6, 0.26),
                knot(0.85 * side, 1.4, 0.22),
                knot(0.0, 2.1, 0.2),
            ]);
            branches.push(vec![
                knot(0.8 * side, 1.3, 0.22),
                knot(reach * side, 1.6, 0.13),
            ]);
        }
        branches.push(vec![knot(0.0, 2.0, 0.2), knot(0.0, drop, 0.15)]);
        let bone = New::of(
            TargetKind::Organ,
            Outline::Tubes { branches },
            plain(tissues.bone),
        );
        let id = self.add(bone.inside(parent).target(TargetRule::Whole));
        if self.rng.chance(0.8) {
            let share = self.rng.uniform(0.7, 0.92);
            let outline =
                self.rounded_at(at, [1.2 * radius * share, 0.92 * radius * share], 0.0, 0.06);
            let paint = self.textured(tissues.marrow);
            let marrow = New::of(TargetKind::Organ, outline, paint).inside(id);
            self.add(marrow.target(TargetRule::No));
        }
    }

    /// A heart: muscle around chambers whose blood is nearly equal.
    pub(super) fn heart(&mut self, frame: &Frame, tissues: &Tissues, parent: Option<u16>) -> u16 {
        let muscle = self.organ_mean(tissues);
        let blood = if self.rng.chance(0.7) {
            tissues.blood
        } else {
            self.contrasting(muscle)
        };
        let outline = self.rounded_at(frame.centre, frame.axes, frame.angle, 0.1);
        // The ring of the left ventricle lies in fat or blood, or in muscle, from which nothing tells it.
        let distinct = self.rng.chance(0.6);
        let mean = if distinct {
            self.contrasting(muscle)
        } else {
            muscle
        };
        let id = self.solid(TargetKind::Organ, outline, mean, parent);
        self.last().target = if self.rng.chance(0.5) {
            TargetRule::Whole
        } else {
            TargetRule::No
        };
        let ring = if distinct {
            TargetRule::Visible
        } else {
            TargetRule::No
        };
        self.left_ventricle(frame, [muscle, blood], id, ring);
        let near_equal = |scene: &mut Self| blood + 0.05 * scene.rng.normal();
        // The right ventricle hugs the left one; the atria lie above both.
        if self.rng.chance(0.9) {
            let at = frame.at([-0.5, 0.25 + 0.1 * self.rng.normal()]);
            let axes = [0.32, 0.5].map(|a| a * frame.axes[1].abs());
            let pocket = Frame::new(at, axes, frame.angle);
            let outline = self.shape(&CRESCENT, &pocket, 0.08);
            let mean = near_equal(self);
            self.solid(TargetKind::Lumen, outline, mean, Some(id));
        }
        for side in [-1.0, 1.0] {
            if self.rng.chance(0.8) {
                let at = frame.at([0.42 * side, -0.55 + 0.08 * self.rng.normal()]);
                let size = self.rng.uniform(0.2, 0.34);
                let axes = frame.axes.map(|a| size * a.abs());
                let outline = self.rounded(at, axes, 0.25);
                let mean = near_equal(self);
                self.solid(TargetKind::Lumen, outline, mean, Some(id));
            }
        }
        id
    }

    /// A ring of muscle, its cavity rough with trabeculae, papillary muscles inside.
    fn left_ventricle(
        &mut self,
        frame: &Frame,
        [muscle, blood]: [f32; 2],
        heart: u16,
        rule: TargetRule,
    ) {
        let at = frame.at([0.28, 0.3]);
        let long = frame.axes[1].abs() * self.rng.uniform(0.42, 0.6);
        let short = frame.axes[0].abs() * self.rng.uniform(0.42, 0.6);
        let ring = self.rounded_at(at, [short, long], frame.angle, 0.08);
        let wall = self.textured(muscle);
        let wall = New::of(TargetKind::Wall, ring.clone(), wall).inside(heart);
        let id = self.add(wall.target(rule));
        let mut cavity = scaled(&ring, self.rng.uniform(0.5, 0.8));
        self.roughen(&mut cavity, 0.5);
        let paint = self.textured(blood);
        let cavity = New::of(TargetKind::Lumen, cavity, paint).inside(id);
        let rule = self.holder_rule();
        let cavity = self.add(cavity.target(rule));
        for _ in 0..self.rng.int(0, 3) {
            let (sin, cos) = libm::sincosf(self.rng.angle());
            let spot = [at[0] + 0.35 * short * cos, at[1] + 0.35 * long * sin];
            let axes = [0.1 * short, 0.13 * long];
            let outline = self.rounded(spot, axes, 0.2);
            let muscle = New::of(TargetKind::Organ, outline, plain(muscle)).inside(cavity);
            self.add(muscle.target(TargetRule::No));
        }
    }
}
