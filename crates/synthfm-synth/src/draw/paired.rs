//! A chest from the front in projection: lungs under ribs and collar bones, beside spine and heart.

use super::contour::Walk;
use super::pose::Pose;
use super::template::{Frame, LUNG_FRONT};
use super::{New, Scene, plain};
use crate::params::{Outline, TargetKind, TargetRule, Vec2};

/// A trunk with shoulders and neck, x and y from -1 to 1.
const SHOULDERS: [Vec2; 12] = [
    [-0.16, -1.2],
    [-0.2, -0.86],
    [-0.7, -0.72],
    [-1.0, -0.4],
    [-0.88, 0.2],
    [-0.84, 1.3],
    [0.84, 1.3],
    [0.88, 0.2],
    [1.0, -0.4],
    [0.7, -0.72],
    [0.2, -0.86],
    [0.16, -1.2],
];

/// Where things lie in the picture, and how bright tissue is.
struct Chest {
    body: u16,
    /// The middle of the chest; its half width and half height.
    frame: Frame,
    tissue: f32,
}

impl Scene<'_> {
    pub(super) fn draw_pair(&mut self) {
        let [width, height] = self.extent;
        let middle = [
            0.5 * width + 0.02 * self.rng.normal(),
            height * self.rng.uniform(0.46, 0.56),
        ];
        let axes = [
            width.min(1.2) * self.rng.uniform(0.42, 0.62),
            height.min(1.2) * self.rng.uniform(0.46, 0.58),
        ];
        self.ground = plain(self.rng.uniform(0.0, 0.25));
        let tissue = self.rng.uniform(0.5, 0.85);
        let frame = Frame::new(middle, axes, 0.0);
        let trunk = self.shape(&SHOULDERS, &frame, 0.02);
        let paint = self.textured(tissue);
        let body = self.add(New::of(TargetKind::Body, trunk, paint).target(TargetRule::No));
        self.soften(0.008);
        let chest = Chest {
            body,
            frame,
            tissue,
        };
        self.abdomen_shadow(&chest);
        self.projected_lungs(&chest);
        self.heart_shadow(&chest);
        self.bones(&chest);
        if self.rng.chance(0.35) {
            self.soft_shadows(&chest);
        }
    }

    /// The belly is thick, hence bright; a bubble of gas in it.
    fn abdomen_shadow(&mut self, chest: &Chest) {
        let brighter = chest.tissue + self.rng.uniform(0.05, 0.3);
        let at = chest.frame.at([0.0, 1.35]);
        let axes = [0.95, 0.75].map(|a| a * chest.frame.axes[1]);
        let outline = self.rounded_at(at, axes, 0.0, 0.04);
        let paint = self.textured(brighter);
        let belly = New::of(TargetKind::Organ, outline, paint).inside(chest.body);
        self.add(belly.target(TargetRule::No));
        self.soften(0.03);
        if self.rng.chance(0.5) {
            let at = chest
                .frame
                .at([self.rng.uniform(0.25, 0.5), self.rng.uniform(0.75, 0.95)]);
            let size = self.rng.uniform(0.02, 0.06);
            let outline = self.rounded(at, [1.4 * size, size], 0.25);
            let gas = plain(chest.tissue - self.rng.uniform(0.1, 0.4));
            let gas = New::of(TargetKind::Lumen, outline, gas).inside(chest.body);
            self.add(gas.target(TargetRule::No));
            self.soften(0.006);
        }
    }

    fn projected_lungs(&mut self, chest: &Chest) {
        let [half_width, half_height] = chest.frame.axes;
        let size = [
            half_width * self.rng.uniform(0.32, 0.42),
            half_height * self.rng.uniform(0.6, 0.78),
        ];
        let offset = size[0] + half_width * self.rng.uniform(0.06, 0.14);
        let place = Frame::new(
            chest.frame.at([offset / half_width, -0.06]),
            size,
            0.06 * self.rng.normal(),
        );
        let outline = self.shape(&LUNG_FRONT, &place, 0.03);
        let mirror = Pose::mirror(chest.frame.centre[0]);
        let air = (chest.tissue - self.rng.uniform(0.2, 0.65)).max(0.04);
        let paint = self.textured(air);
        let softness = self.rng.uniform(0.002, 0.01);
        for side in [-1.0, 1.0] {
            let mut lung = if side < 0.0 {
                mirror.outline(&outline)
            } else {
                outline.clone()
            };
            if let Outline::Bezier { anchors, .. } = &mut lung {
                for anchor in anchors {
                    *anchor = anchor.map(|v| v + 0.008 * self.rng.normal());
                }
            }
            let lung = New::of(TargetKind::Organ, lung, paint).inside(chest.body);
            let id = self.add(lung.target(TargetRule::Whole));
            self.soften(softness);
            self.hilar_tree(&place, side * place.axes[0], chest, id);
            let frame = Frame::new(place.centre, place.axes.map(|a| 0.7 * a), 0.0);
            let frame = if side < 0.0 {
                Frame::new(mirror.point(frame.centre), frame.axes, 0.0)
            } else {
                frame
            };
            self.abnormal(&frame, air, id);
        }
    }

    /// Vessels that spread from the inner side of a lung.
    fn hilar_tree(&mut self, place: &Frame, reach: f32, chest: &Chest, id: u16) {
        let difference = self.rng.uniform(0.03, 0.2);
        let x = chest.frame.centre[0] + reach.signum() * (place.centre[0] - chest.frame.centre[0]);
        let root = [x - 0.5 * reach, place.centre[1]];
        let outwards = if reach > 0.0 {
            0.0
        } else {
            std::f32::consts::PI
        };
        let walk = Walk {
            knots: 6,
            length: 1.4 * reach.abs(),
            half_width: self.rng.uniform(0.004, 0.01),
            taper: 0.85,
            bend: 0.15,
        };
        let mut branches = Vec::new();
        for _ in 0..self.rng.int(4, 12) {
            let heading = outwards + 0.9 * self.rng.normal();
            branches.push(self.walk(root, heading, walk));
        }
        let outline = Outline::Tubes { branches };
        let tree = New::of(TargetKind::Tube, outline, plain(difference)).overlay();
        self.add(tree.inside(id));
        self.soften(0.003);
    }

    /// The heart hides part of a lung. It is no target: nothing shows its border to the middle.
    fn heart_shadow(&mut self, chest: &Chest) {
        let [half_width, half_height] = chest.frame.axes;
        let side = self.rng.uniform(0.02, 0.16);
        let axes = [
            half_width * self.rng.uniform(0.17, 0.3),
            half_height * self.rng.uniform(0.24, 0.34),
        ];
        let at = chest.frame.at([side, 0.3]);
        let outline = self.rounded_at(at, axes, -0.5, 0.06);
        let mean = chest.tissue + self.rng.uniform(0.0, 0.15);
        let paint = self.textured(mean);
        let heart = New::of(TargetKind::Organ, outline, paint).inside(chest.body);
        self.add(heart.target(TargetRule::No));
        self.soften(self.config.appearance.softness[1].max(0.004));
        let arch = chest.frame.at([0.08, -0.28]);
        let size = half_width * self.rng.uniform(0.06, 0.11);
        let outline = self.rounded(arch, [size, 1.4 * size], 0.1);
        let arch = New::of(TargetKind::Organ, outline, paint).inside(chest.body);
        self.add(arch.target(TargetRule::No));
        self.soften(0.006);
    }

    /// Spine, ribs from behind and in front, collar bones: brighter where they overlap.
    fn bones(&mut self, chest: &Chest) {
        let bright = self.rng.uniform(0.02, 0.13);
        let [half_width, half_height] = chest.frame.axes;
        let walk = Walk {
            knots: 5,
            length: self.extent[1],
            half_width: half_width * self.rng.uniform(0.07, 0.11),
            taper: 0.0,
            bend: 0.02,
        };
        let start = [chest.frame.centre[0], 0.0];
        let spine = vec![self.walk(start, std::f32::consts::FRAC_PI_2, walk)];
        self.overlay_bone(spine, 2.0 * bright, 0.01);
        let count = self.rng.int(0, 10);
        let half = half_height * self.rng.uniform(0.018, 0.032);
        let slope = self.rng.uniform(0.1, 0.4);
        for k in 0..count {
            let y = -0.75 + 1.5 * k as f32 / count as f32;
            let mut branches = Vec::new();
            for side in [-1.0, 1.0] {
                let knot = |u: f32, drop: f32| {
                    let [x, y] = chest.frame.at([side * (0.06 + 0.72 * u), y + drop]);
                    [x, y, half]
                };
                let behind = |i: u32| {
                    let u = i as f32 / 5.0;
                    knot(u, slope * u * (1.9 - u) - 0.12 * u * (1.0 - u))
                };
                branches.push((0..6).map(behind).collect());
            }
            self.overlay_bone(branches, bright, 0.003);
            if self.rng.chance(0.6) {
                let mut branches = Vec::new();
                for side in [-1.0, 1.0] {
                    let knot = |i: u32| {
                        let u = i as f32 / 4.0;
                        let at = [side * (0.78 - 0.5 * u), y + slope + 0.22 * u * u];
                        let [x, y] = chest.frame.at(at);
                        [x, y, 0.9 * half]
                    };
                    branches.push((0..5).map(knot).collect());
                }
                self.overlay_bone(branches, 0.7 * bright, 0.004);
            }
        }
        if self.rng.chance(0.8) {
            let rise = self.rng.uniform(-0.06, 0.06);
            let mut branches = Vec::new();
            for side in [-1.0, 1.0] {
                let knot = |x: f32, y: f32| {
                    let [x, y] = chest.frame.at([side * x, y]);
                    [x, y, 1.2 * half]
                };
                branches.push(vec![
                    knot(0.06, -0.6),
                    knot(0.3, -0.66),
                    knot(0.55, -0.72 + rise),
                    knot(0.8, -0.7 + rise),
                ]);
            }
            self.overlay_bone(branches, 1.3 * bright, 0.003);
        }
    }

    fn overlay_bone(&mut self, branches: Vec<Vec<[f32; 3]>>, bright: f32, softness: f32) {
        let bone = New::of(TargetKind::Tube, Outline::Tubes { branches }, plain(bright));
        self.add(bone.overlay());
        self.soften(softness);
    }

    /// Breasts or muscles: wide, faint, over the lower lungs.
    fn soft_shadows(&mut self, chest: &Chest) {
        let bright = self.rng.uniform(0.03, 0.12);
        for side in [-1.0, 1.0] {
            let at = chest.frame.at([0.5 * side, 0.45]);
            let axes = [0.33, 0.32].map(|a| a * chest.frame.axes[0]);
            let outline = self.rounded_at(at, axes, 0.0, 0.08);
            let shadow = New::of(TargetKind::Organ, outline, plain(bright)).overlay();
            self.add(shadow.inside(chest.body));
            self.soften(0.012);
        }
    }
}
