//! Hearts: walls, chambers and great vessels between lungs, chest wall and liver (cardiac MR, CT).

use super::template::Frame;
use super::{New, Scene, plain};
use crate::params::{TargetKind, TargetRule};

impl Scene<'_> {
    pub(super) fn draw_heart(&mut self) {
        let [width, height] = self.extent;
        self.ground = plain(self.rng.uniform(0.0, 0.05));
        let centre = [
            width * self.rng.uniform(0.35, 0.65),
            height * self.rng.uniform(0.4, 0.6),
        ];
        let axes = [
            width * self.rng.uniform(0.45, 0.9),
            height * self.rng.uniform(0.5, 0.9),
        ];
        let chest = self.trunk(centre, axes);
        let tissues = chest.tissues;
        let lung = self.lung_mean(&tissues, 0.12);
        let paint = self.textured(lung);
        self.last().paint = paint;
        if self.rng.chance(0.7) {
            let frame = Frame::new(centre, axes.map(|a| 0.6 * a), 0.0);
            let difference = (tissues.blood - lung) * self.rng.uniform(0.2, 1.0);
            self.lung_vessels(&frame, difference, chest.id);
        }
        if self.rng.chance(0.7) {
            // The dome of the liver below the diaphragm.
            let radius = self.rng.uniform(0.4, 0.8);
            let top = height * self.rng.uniform(0.65, 0.9);
            let at = [width * self.rng.uniform(0.2, 0.8), top + radius];
            let outline = self.rounded_at(at, [1.3 * radius, radius], 0.0, 0.06);
            let mean = self.organ_mean(&tissues);
            let id = self.solid(TargetKind::Organ, outline, mean, Some(chest.body));
            let frame = Frame::new([at[0], top + 0.2], [0.4, 0.15], 0.0);
            self.tree_in(&frame, tissues.blood - mean, id);
        }
        let at = [
            width * self.rng.uniform(0.4, 0.6),
            height * self.rng.uniform(0.42, 0.6),
        ];
        let size = self.rng.uniform(0.16, 0.34);
        let axes = [size * self.rng.uniform(0.75, 1.0), size];
        let heart = Frame::new(at, axes, self.rng.uniform(-0.9, 0.9));
        self.great_arteries(&heart, tissues.blood, chest.body);
        self.heart(&heart, &tissues, Some(chest.body));
        if self.rng.chance(0.6) {
            let at = heart.at([self.rng.uniform(-0.6, 0.6), 1.6]);
            let radius = self.rng.uniform(0.05, 0.09);
            self.vertebra(at, radius, &tissues, chest.body);
        }
        let zoom = self.zoom(0.2, 1.8);
        self.pose(zoom);
    }

    /// Round and tubular vessels above the heart, of nearly equal blood, touching.
    fn great_arteries(&mut self, heart: &Frame, blood: f32, parent: u16) {
        let size = heart.axes[0].min(heart.axes[1]);
        for _ in 0..self.rng.int(2, 5) {
            let at = heart.at([self.rng.uniform(-0.7, 0.7), self.rng.uniform(-1.4, -0.7)]);
            let radius = size * self.rng.uniform(0.12, 0.36);
            let aspect = self.rng.uniform(0.7, 1.0);
            let outline = if self.rng.chance(0.7) {
                self.rounded(at, [radius, radius * aspect], 0.15)
            } else {
                let walk = super::contour::Walk {
                    knots: 5,
                    length: size * self.rng.uniform(0.8, 2.0),
                    half_width: 0.7 * radius,
                    taper: 0.3,
                    bend: 0.3,
                };
                let heading = self.rng.angle();
                let branches = vec![self.walk(at, heading, walk)];
                crate::params::Outline::Tubes { branches }
            };
            let mean = (blood + 0.08 * self.rng.normal()).clamp(0.0, 1.1);
            let paint = self.textured(mean);
            let vessel = New::of(TargetKind::Tube, outline, paint).inside(parent);
            self.add(vessel.target(TargetRule::Visible));
        }
    }
}
