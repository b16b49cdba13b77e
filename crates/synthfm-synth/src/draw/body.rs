//! Bodies: an outline on dark ground, fat, organs, bones, vessels, gas and lesions (CT, MR).

use super::{New, Scene, plain};
use crate::params::{Outline, TargetKind, TargetRule, Vec2};

/// The inside of the body, which organs must not leave.
struct Cavity {
    id: u16,
    mean: f32,
    centre: Vec2,
    axes: Vec2,
}

impl Scene<'_> {
    pub(super) fn draw_body(&mut self) {
        self.ground = plain(self.rng.uniform(0.0, 0.05));
        let cavity = self.outline_and_fat();
        if self.rng.chance(self.config.mixture.label_map_ground) {
            let mut map = self.regions();
            map.inside = Some(cavity.id);
            self.label_map = Some(map);
        }
        self.spine(&cavity);
        if self.rng.chance(0.5) {
            self.ribs(&cavity);
        }
        let [low, high] = self.config.shapes.organs;
        for _ in 0..self.rng.int(low, high) {
            let area = self.rng.log_uniform(0.003, 0.25) * cavity.axes[0] * cavity.axes[1] * 3.1;
            let centre = self.inside(&cavity, 0.85);
            let outline = self.any_shape(centre, area);
            self.organ(&outline, cavity.mean, Some(cavity.id));
        }
        for _ in 0..self.rng.int(0, 5) {
            self.spot(&cavity);
        }
        if self.rng.chance(0.3) {
            self.table(&cavity);
        }
    }

    /// The table that the patient lies on: a thin arc below the body.
    fn table(&mut self, cavity: &Cavity) {
        let below = cavity.centre[1] + cavity.axes[1] * self.rng.uniform(1.08, 1.2);
        let sag = self.rng.uniform(0.0, 0.08);
        let half_width = self.rng.uniform(0.002, 0.005);
        let knot = |k: u32| {
            let u = k as f32 / 4.0 - 1.0;
            [
                cavity.centre[0] + 0.9 * u * cavity.axes[0],
                below - sag * u * u,
                half_width,
            ]
        };
        let branches = vec![(0..=8).map(knot).collect()];
        let paint = plain(self.rng.uniform(0.15, 0.6));
        let table = New::of(TargetKind::Tube, Outline::Tubes { branches }, paint);
        self.add(table.target(TargetRule::No));
    }

    fn outline_and_fat(&mut self) -> Cavity {
        let [width, height] = self.extent;
        let fill = self.rng.uniform(0.3, 0.62);
        let squash = self.rng.uniform(0.6, 1.1);
        let centre = [
            width * 0.5 + 0.04 * self.rng.normal(),
            height * 0.5 + 0.04 * self.rng.normal(),
        ];
        let mut axes = [width.min(1.4) * fill, height.min(1.4) * fill * squash];
        if self.rng.chance(0.3) {
            // A cropped view: the body runs out of the image, along one axis or both.
            axes[1] *= self.rng.uniform(1.3, 3.0);
            axes[0] *= self.rng.uniform(1.0, 1.8);
        }
        let outline = self.rounded_at(centre, axes, 0.0, 0.09);
        let skin = self.tissue_mean();
        let paint = self.textured(skin);
        let rule = self.sometimes(TargetRule::Whole);
        let body = self.add(New::of(TargetKind::Body, outline.clone(), paint).target(rule));
        let inner = super::contour::scaled(&outline, self.rng.uniform(0.8, 0.97));
        let mean = self.contrasting(skin);
        let paint = self.textured(mean);
        let cavity = New::of(TargetKind::Body, inner, paint).inside(body);
        let rule = self.holder_rule();
        let rule = self.sometimes(rule);
        let id = self.add(cavity.target(rule));
        Cavity {
            id,
            mean,
            centre,
            axes,
        }
    }

    /// Bodies are easy targets and few: half of them are left out.
    fn sometimes(&mut self, rule: TargetRule) -> TargetRule {
        if self.rng.chance(0.5) {
            rule
        } else {
            TargetRule::No
        }
    }

    /// A point in the cavity, by area, out to a share of its radius.
    fn inside(&mut self, cavity: &Cavity, share: f32) -> Vec2 {
        let radius = share * self.rng.unit().sqrt();
        let (sin, cos) = libm::sincosf(self.rng.angle());
        [
            cavity.centre[0] + radius * cos * cavity.axes[0],
            cavity.centre[1] + radius * sin * cavity.axes[1],
        ]
    }

    fn bone_mean(&mut self) -> f32 {
        if self.look == super::Look::Mr {
            self.tissue_mean()
        } else {
            self.rng.uniform(0.75, 1.1)
        }
    }

    /// A vertebra with its canal.
    fn spine(&mut self, cavity: &Cavity) {
        let at = [
            cavity.centre[0] + 0.01 * self.rng.normal(),
            cavity.centre[1] + cavity.axes[1] * self.rng.uniform(0.45, 0.75),
        ];
        let radius = self.rng.uniform(0.03, 0.08);
        let mean = self.bone_mean();
        let paint = self.textured(mean);
        let outline = self.rounded_at(at, [radius * 1.25, radius], 0.0, 0.25);
        let bone = New::of(TargetKind::Organ, outline, paint).inside(cavity.id);
        let rule = self.holder_rule();
        let id = self.add(bone.target(rule));
        let canal = [at[0], at[1] + radius * 0.5];
        let outline = self.rounded(canal, [radius * 0.42, radius * 0.32], 0.1);
        let paint = self.contrasting_paint(mean.min(1.0));
        self.add(New::of(TargetKind::Lumen, outline, paint).inside(id));
    }

    /// Small bright ovals near the wall.
    fn ribs(&mut self, cavity: &Cavity) {
        let mean = self.bone_mean();
        let count = self.rng.int(4, 14);
        for k in 0..count {
            let angle = (k as f32 + 0.5 * self.rng.unit()) / count as f32 * std::f32::consts::TAU;
            let (sin, cos) = libm::sincosf(angle);
            let share = self.rng.uniform(0.84, 0.93);
            let at = [
                cavity.centre[0] + share * cos * cavity.axes[0],
                cavity.centre[1] + share * sin * cavity.axes[1],
            ];
            let long = self.rng.uniform(0.012, 0.035);
            let outline = Outline::Radial {
                centre: at,
                axes: [long, long * 0.4],
                angle: angle + std::f32::consts::FRAC_PI_2 + 0.2 * self.rng.normal(),
                waves: vec![],
            };
            self.add(New::of(TargetKind::Organ, outline, plain(mean)).inside(cavity.id));
        }
    }

    /// A vessel cross-section, a calcification or a bubble of gas.
    fn spot(&mut self, cavity: &Cavity) {
        let at = self.inside(cavity, 0.8);
        let radius = self.rng.log_uniform(0.008, 0.04);
        let mean = match self.rng.pick(&[0.4, 0.3, 0.3]) {
            0 => self.rng.uniform(0.0, 0.1),
            1 => self.rng.uniform(0.85, 1.0),
            _ => self.contrasting(cavity.mean),
        };
        let aspect = self.rng.uniform(0.6, 1.0);
        let outline = self.rounded(at, [radius, radius * aspect], 0.2);
        self.add(New::of(TargetKind::Organ, outline, plain(mean)).inside(cavity.id));
    }
}
