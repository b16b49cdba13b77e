//! A mirror-symmetric pair in a projection: lungs between ribs, beside spine and heart (X-ray).

use super::contour::Walk;
use super::{New, Scene, plain};
use crate::params::{Outline, TargetKind, TargetRule, Vec2};

impl Scene<'_> {
    pub(super) fn draw_pair(&mut self) {
        let [width, height] = self.extent;
        let middle = width * 0.5 + 0.03 * self.rng.normal();
        self.ground = plain(self.rng.uniform(0.0, 0.3));
        let tissue = self.rng.uniform(0.55, 0.95);
        let paint = self.textured(tissue);
        let axes = [
            width * self.rng.uniform(0.42, 0.6),
            height * self.rng.uniform(0.55, 0.75),
        ];
        let trunk = self.rounded_at([middle, height * 0.65], axes, 0.0, 0.08);
        let body = self.add(New::of(TargetKind::Body, trunk, paint).target(TargetRule::No));
        self.last().softness = 0.02;
        self.lungs(middle, tissue, body);
        self.heart(middle, tissue);
        self.ribs_and_spine(middle);
    }

    fn lungs(&mut self, middle: f32, tissue: f32, body: u16) {
        let height = self.extent[1];
        let [reach, half] = [self.rng.uniform(0.13, 0.22), self.rng.uniform(0.26, 0.38)];
        let offset = reach + self.rng.uniform(0.04, 0.1);
        let top = height * self.rng.uniform(0.4, 0.5) - half;
        let air = tissue - self.rng.uniform(0.25, 0.6);
        let paint = self.textured(air.max(0.05));
        let radius = self.rng.uniform(0.25, 0.4);
        // The outer side, x away from the middle, from the top down and back up the inner side.
        let template: Vec<Vec2> = [
            [0.1, 0.0],
            [0.8, 0.35],
            [1.1, 1.2],
            [1.2, 2.0],
            [0.1, 1.8],
            [-0.9, 1.75],
            [-0.8, 1.0],
            [-0.5, 0.3],
        ]
        .map(|[x, y]: Vec2| [x + 0.08 * self.rng.normal(), y + 0.06 * self.rng.normal()])
        .to_vec();
        for side in [-1.0, 1.0] {
            let anchors = template.iter().map(|&[x, y]| {
                let jitter = 0.02 * self.rng.normal();
                [
                    middle + side * (offset + (x + jitter) * reach),
                    top + y * half,
                ]
            });
            let outline = Outline::Bezier {
                anchors: anchors.collect(),
                radius,
                edginess: 0.0,
            };
            self.add(New::of(TargetKind::Organ, outline, paint).inside(body));
            self.last().softness = self.rng.uniform(0.003, 0.015);
        }
    }

    /// The heart hides part of one lung. It is no target: nothing shows its border to the middle.
    fn heart(&mut self, middle: f32, tissue: f32) {
        if self.rng.chance(0.2) {
            return;
        }
        let centre = [
            middle + self.rng.uniform(0.0, 0.08) * self.rng.sign(),
            self.extent[1] * self.rng.uniform(0.55, 0.66),
        ];
        let axes = [self.rng.uniform(0.08, 0.16), self.rng.uniform(0.1, 0.17)];
        let outline = self.rounded(centre, axes, 0.15);
        let paint = self.textured(tissue);
        self.add(New::of(TargetKind::Organ, outline, paint).target(TargetRule::No));
        self.last().softness = self.rng.uniform(0.004, 0.02);
    }

    fn ribs_and_spine(&mut self, middle: f32) {
        let height = self.extent[1];
        let bright = self.rng.uniform(0.02, 0.12);
        let (half_width, slope) = (self.rng.uniform(0.006, 0.014), self.rng.uniform(0.2, 0.7));
        let count = self.rng.int(0, 11);
        for k in 0..count {
            let y = height * (0.1 + 0.7 * k as f32 / count as f32);
            for side in [-1.0, 1.0] {
                let knot = |u: f32| {
                    let drop = slope * 0.3 * u * (1.6 - u);
                    [middle + side * (0.03 + 0.36 * u), y + drop, half_width]
                };
                let branches = vec![(0..6).map(|i| knot(i as f32 / 5.0)).collect()];
                let rib = New::of(TargetKind::Tube, Outline::Tubes { branches }, plain(bright));
                self.add(rib.overlay());
                self.last().softness = 0.004;
            }
        }
        let walk = Walk {
            knots: 5,
            length: height,
            half_width: self.rng.uniform(0.025, 0.05),
            taper: 0.0,
            bend: 0.02,
        };
        let branches = vec![self.walk([middle, 0.0], std::f32::consts::FRAC_PI_2, walk)];
        let spine = New::of(
            TargetKind::Tube,
            Outline::Tubes { branches },
            plain(2.0 * bright),
        );
        self.add(spine.overlay());
        self.last().softness = 0.012;
    }
}
