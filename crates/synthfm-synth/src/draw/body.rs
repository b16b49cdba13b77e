//! Bodies across, from the front or from the side: an outline on dark ground, fat, a muscular wall, and
//! organs in the cavity (CT, MR).

use super::contour::scaled;
use super::pose::Pose;
use super::template::{Frame, MUSCLE};
use super::tissues::Tissues;
use super::{New, Scene, plain};
use crate::params::{Outline, TargetKind, TargetRule, Vec2};

/// The inside of a body, which organs do not leave, and what it is made of.
pub(super) struct Trunk {
    /// The body with its wall, which what lies beside the cavity does not leave.
    pub(super) body: u16,
    /// The cavity.
    pub(super) id: u16,
    /// The cavity's frame.
    pub(super) frame: Frame,
    pub(super) tissues: Tissues,
}

impl Trunk {
    /// The smaller half axis of the cavity.
    pub(super) fn radius(&self) -> f32 {
        self.frame.axes[0].min(self.frame.axes[1])
    }

    /// A frame in the cavity: centre in its frame, half axes in units of its radius.
    pub(super) fn part(&self, centre: Vec2, axes: Vec2, angle: f32) -> Frame {
        let radius = self.radius();
        Frame::new(self.frame.at(centre), axes.map(|a| a * radius), angle)
    }
}

impl Scene<'_> {
    pub(super) fn draw_body(&mut self) {
        self.ground = plain(self.rng.uniform(0.0, 0.05));
        match self.rng.pick(&[0.38, 0.16, 0.14, 0.16, 0.16]) {
            0 => {
                let trunk = self.trunk_across();
                self.abdomen(&trunk);
                self.finish_body(&trunk, true);
            }
            1 => {
                let trunk = self.trunk_across();
                self.thorax(&trunk);
                self.finish_body(&trunk, true);
            }
            2 => {
                let trunk = self.trunk_across();
                self.pelvis(&trunk);
                self.finish_body(&trunk, true);
            }
            3 => {
                let trunk = self.trunk_along();
                self.trunk_from_front(&trunk);
                self.finish_body(&trunk, false);
            }
            _ => {
                let trunk = self.trunk_across();
                self.any_organs(&trunk);
                self.finish_body(&trunk, true);
            }
        }
    }

    /// The table, and how the body lies in the image.
    fn finish_body(&mut self, trunk: &Trunk, lying: bool) {
        if lying && self.rng.chance(0.3) {
            self.table(trunk);
        }
        let zoom = self.zoom(0.4, 3.5);
        self.pose(zoom);
    }

    /// An enlargement: near 1, or with this probability up to `most`.
    pub(super) fn zoom(&mut self, probability: f32, most: f32) -> f32 {
        if self.rng.chance(probability) {
            self.rng.log_uniform(1.2, most)
        } else {
            self.rng.uniform(0.82, 1.08)
        }
    }

    /// Mirrors, turns and enlarges everything about one of its structures.
    pub(super) fn pose(&mut self, zoom: f32) {
        let middle = self.extent.map(|length| 0.5 * length);
        let about = if zoom > 1.15 && !self.structures.is_empty() {
            let last = self.structures.len() as u32 - 1;
            let chosen = self.rng.int(0, last) as usize;
            super::contour::middle(&self.structures[chosen].outline).0
        } else {
            middle
        };
        let mut pose = Pose {
            about,
            to: middle,
            mirrored: self.rng.chance(0.5),
            angle: 0.08 * self.rng.normal(),
            scale: zoom,
        };
        if self.rng.chance(0.15) {
            // Upside down: prone, or another convention.
            pose.angle += std::f32::consts::PI;
        }
        if self.rng.chance(0.06) {
            pose.angle += std::f32::consts::FRAC_PI_2;
        }
        self.structures.iter_mut().for_each(|s| pose.apply(s));
    }

    /// Outline, fat, wall and cavity of a body across its axis.
    fn trunk_across(&mut self) -> Trunk {
        let [width, height] = self.extent;
        let fill = self.rng.uniform(0.38, 0.48);
        let squash = self.rng.uniform(0.62, 0.95);
        let centre = [
            width * 0.5 + 0.02 * self.rng.normal(),
            height * 0.5 + 0.02 * self.rng.normal(),
        ];
        let axes = [width.min(1.3) * fill, height.min(1.3) * fill * squash];
        self.trunk(centre, axes)
    }

    /// A trunk cut along its axis: it runs out of the image above and below.
    fn trunk_along(&mut self) -> Trunk {
        let [width, height] = self.extent;
        let axes = [
            width.min(1.3) * self.rng.uniform(0.36, 0.5),
            height * self.rng.uniform(0.8, 1.3),
        ];
        self.trunk([0.5 * width, 0.5 * height], axes)
    }

    pub(super) fn trunk(&mut self, centre: Vec2, axes: Vec2) -> Trunk {
        let tissues = self.tissues();
        let outline = self.rounded_at(centre, axes, 0.0, 0.06);
        let paint = self.textured(tissues.fat);
        let rule = self.sometimes(TargetRule::Whole);
        let body = self.add(New::of(TargetKind::Body, outline.clone(), paint).target(rule));
        if self.rng.chance(0.5) {
            let skin = self.rim(tissues.fat, [0.003, 0.008]);
            self.last().rim = Some(skin);
        }
        let fat = self.rng.uniform(0.04, 0.2);
        let paint = self.textured(tissues.muscle);
        let wall = New::of(TargetKind::Body, scaled(&outline, 1.0 - fat), paint).inside(body);
        let wall = self.add(wall.target(TargetRule::No));
        let share = (1.0 - fat) * (1.0 - self.rng.uniform(0.04, 0.13));
        let visceral = if self.rng.chance(0.75) {
            tissues.fat + 0.02 * self.rng.normal()
        } else {
            self.organ_mean(&tissues)
        };
        let paint = self.textured(visceral);
        let cavity = New::of(TargetKind::Body, scaled(&outline, share), paint).inside(wall);
        let rule = self.holder_rule();
        let rule = self.sometimes(rule);
        let id = self.add(cavity.target(rule));
        Trunk {
            body,
            id,
            frame: Frame::new(centre, axes.map(|a| a * share), 0.0),
            tissues,
        }
    }

    /// Bodies are easy targets and few: most of them are left out.
    fn sometimes(&mut self, rule: TargetRule) -> TargetRule {
        if self.rng.chance(0.35) {
            rule
        } else {
            TargetRule::No
        }
    }

    /// Closed shapes of any kind, over regions or not.
    fn any_organs(&mut self, trunk: &Trunk) {
        if self.rng.chance(self.config.mixture.label_map_ground) {
            let mut map = self.regions();
            map.inside = Some(trunk.id);
            self.label_map = Some(map);
        }
        self.spine_across(trunk);
        if self.rng.chance(0.5) {
            self.ribs(trunk);
        }
        let [low, high] = self.config.shapes.organs;
        let axes = trunk.frame.axes;
        for _ in 0..self.rng.int(low, high) {
            let area = self.rng.log_uniform(0.003, 0.25) * axes[0] * axes[1] * 3.1;
            let centre = self.inside(trunk, 0.85);
            let outline = self.any_shape(centre, area);
            self.organ(&outline, trunk.tissues.organ, Some(trunk.id));
        }
        for _ in 0..self.rng.int(0, 5) {
            self.spot(trunk);
        }
    }

    /// The table that the patient lies on: one or two thin arcs below the body.
    fn table(&mut self, trunk: &Trunk) {
        let Frame { centre, axes, .. } = trunk.frame;
        let below = centre[1] + axes[1] * self.rng.uniform(1.3, 1.5);
        let sag = self.rng.uniform(0.0, 0.08);
        let half_width = self.rng.uniform(0.002, 0.005);
        let gap = self.rng.uniform(0.02, 0.06);
        for line in 0..self.rng.int(1, 2) {
            let knot = |k: u32| {
                let u = k as f32 / 4.0 - 1.0;
                let y = below + gap * line as f32 - sag * u * u;
                [centre[0] + 0.9 * u * axes[0], y, half_width]
            };
            let branches = vec![(0..=8).map(knot).collect()];
            let paint = plain(self.rng.uniform(0.1, 0.6));
            let table = New::of(TargetKind::Tube, Outline::Tubes { branches }, paint);
            self.add(table.target(TargetRule::No));
        }
    }

    /// A point in the cavity, by area, out to a share of its radius.
    pub(super) fn inside(&mut self, trunk: &Trunk, share: f32) -> Vec2 {
        let radius = share * self.rng.unit().sqrt();
        let (sin, cos) = libm::sincosf(self.rng.angle());
        trunk.frame.at([radius * cos, radius * sin])
    }

    /// A vertebra at the back of the cavity, with the muscles behind and beside it.
    pub(super) fn spine_across(&mut self, trunk: &Trunk) {
        let radius = trunk.radius() * self.rng.uniform(0.15, 0.21);
        let at = trunk.frame.at([0.02 * self.rng.normal(), 0.62]);
        self.pair_of(&MUSCLE, trunk, trunk.part([-0.3, 0.95], [0.34, 0.24], 0.0));
        if self.rng.chance(0.6) {
            let psoas = trunk.part([-0.25, 0.6], [0.13, 0.17], 0.0);
            self.pair_of(&MUSCLE, trunk, psoas);
        }
        self.vertebra(at, radius, &trunk.tissues, trunk.body);
    }

    /// A muscle and its mirror image; they may leave the cavity, not the body.
    pub(super) fn pair_of(&mut self, template: &[Vec2], trunk: &Trunk, frame: Frame) {
        let outline = self.shape(template, &frame, 0.06);
        let mirror = Pose::mirror(trunk.frame.centre[0]);
        let mean = trunk.tissues.muscle + 0.03 * self.rng.normal();
        for outline in [mirror.outline(&outline), outline] {
            self.solid(TargetKind::Organ, outline, mean, Some(trunk.body));
        }
    }

    /// Flat bones along the wall.
    pub(super) fn ribs(&mut self, trunk: &Trunk) {
        let count = self.rng.int(5, 14);
        let share = self.rng.uniform(0.97, 1.04);
        for k in 0..count {
            let turn = (k as f32 + 0.5 * self.rng.unit()) / count as f32 * std::f32::consts::TAU;
            let length = self.rng.uniform(0.06, 0.22);
            let width = trunk.radius() * self.rng.uniform(0.015, 0.03);
            let knot = |i: u32| {
                let (sin, cos) = libm::sincosf(turn + length * (i as f32 / 2.0 - 0.5));
                let [x, y] = trunk.frame.at([share * cos, share * sin]);
                [x, y, width]
            };
            let branches = vec![(0..3).map(knot).collect()];
            let paint = plain(trunk.tissues.bone);
            let rib = New::of(TargetKind::Tube, Outline::Tubes { branches }, paint);
            let rule = self.sometimes(TargetRule::Visible);
            self.add(rib.inside(trunk.body).target(rule));
        }
    }

    /// A vessel cross-section, a calcification or a bubble of gas.
    pub(super) fn spot(&mut self, trunk: &Trunk) {
        let at = self.inside(trunk, 0.8);
        let radius = trunk.radius() * self.rng.log_uniform(0.02, 0.08);
        let mean = match self.rng.pick(&[0.3, 0.2, 0.5]) {
            0 => trunk.tissues.air,
            1 => trunk.tissues.bone,
            _ => trunk.tissues.blood,
        };
        let aspect = self.rng.uniform(0.6, 1.0);
        let outline = self.rounded(at, [radius, radius * aspect], 0.2);
        self.add(New::of(TargetKind::Organ, outline, plain(mean)).inside(trunk.id));
    }
}
