//! Layered tissue: flat-lying regions with a lesion, a vessel, or a rimmed head (ultrasound).

use super::{New, Scene};
use crate::params::{Outline, ShadowParams, TargetKind, TargetRule};

impl Scene<'_> {
    pub(super) fn draw_layered(&mut self) {
        let mean = self.tissue_mean().max(0.1);
        self.ground = self.textured(mean);
        match self.rng.pick(&[0.42, 0.35, 0.23]) {
            0 => self.head(),
            1 => {
                self.layers(4.0);
                for _ in 0..self.rng.int(1, 2) {
                    self.mass();
                }
            }
            _ => {
                self.layers(5.0);
                self.vessel();
            }
        }
        let most = self.rng.int(0, 24);
        for _ in 0..most {
            self.interface();
        }
    }

    /// A label map whose regions lie flat.
    fn layers(&mut self, flatness: f32) {
        let mut map = self.regions();
        let flat = self.rng.uniform(1.5, flatness);
        map.noise_scale = [
            (map.noise_scale[0] / flat).max(0.03),
            (map.noise_scale[1] * flat).min(2.0),
        ];
        self.label_map = Some(map);
    }

    /// A bright, nearly horizontal line: an interface between tissues.
    fn interface(&mut self) {
        let start = self.point(-0.1);
        let heading = 0.15 * self.rng.normal();
        let walk = super::contour::Walk {
            knots: 5,
            length: self.rng.log_uniform(0.08, 0.9),
            half_width: self.rng.log_uniform(0.0015, 0.007),
            taper: 0.6,
            bend: 0.1,
        };
        let branches = vec![self.walk(start, heading, walk)];
        let bright = self.rng.log_uniform(0.04, 0.7);
        let paint = self.textured(bright);
        let line = New::of(TargetKind::Tube, Outline::Tubes { branches }, paint).overlay();
        self.add(line);
        self.last().softness = self.rng.uniform(0.002, 0.006);
    }

    /// A hypoechoic mass with shadow or enhancement below.
    fn mass(&mut self) {
        let radius = self.rng.log_uniform(0.05, 0.24);
        let at = self.point(0.2);
        let aspect = self.rng.uniform(0.5, 1.1);
        let outline = match self.rng.pick(&[0.35, 0.35, 0.3]) {
            0 => self.rounded_at(at, [radius, radius * aspect], 0.2, 0.2),
            1 => self.lobed(at, [radius, radius * aspect]),
            _ => self.blob(at, 3.0 * radius * radius * aspect),
        };
        let surroundings = self.ground.mean;
        let mean = if self.rng.chance(0.75) {
            surroundings * self.rng.uniform(0.1, 0.7)
        } else {
            self.contrasting(surroundings)
        };
        let paint = self.textured(mean);
        self.add(New::of(TargetKind::Lesion, outline, paint));
        self.last().softness = self.rng.uniform(0.0, 0.015);
        if self.rng.chance(0.5) {
            self.optics.shadows.push(ShadowParams {
                start: [at[0], at[1] + radius * aspect * 0.7],
                half_width: radius * self.rng.uniform(0.6, 1.0),
                spread: 0.02,
                gain: if self.rng.chance(0.6) {
                    self.rng.uniform(0.2, 0.8)
                } else {
                    self.rng.uniform(1.1, 1.7)
                },
            });
        }
    }

    /// A dark lumen, round or lengthwise, with bright walls.
    fn vessel(&mut self) {
        let at = self.point(0.25);
        let radius = self.rng.log_uniform(0.04, 0.14);
        let outline = if self.rng.chance(0.5) {
            let aspect = self.rng.uniform(0.6, 1.0);
            self.rounded_at(at, [radius, radius * aspect], 0.0, 0.08)
        } else {
            let walk = super::contour::Walk {
                knots: 4,
                length: self.extent[0] * self.rng.uniform(0.6, 1.3),
                half_width: radius * 0.6,
                taper: 0.1,
                bend: 0.06,
            };
            let heading = 0.12 * self.rng.normal();
            let start = [self.rng.uniform(-0.2, 0.2) * self.extent[0], at[1]];
            Outline::Tubes {
                branches: vec![self.walk(start, heading, walk)],
            }
        };
        let mean = self.rng.uniform(0.0, 0.12);
        let paint = self.textured(mean);
        self.add(New::of(TargetKind::Lumen, outline, paint));
        let mut rim = self.rim(0.3, [0.004, 0.018]);
        rim.width = -rim.width;
        self.last().rim = Some(rim);
    }

    /// A large ellipse with a bright rim, broken in places, its inside much like its outside.
    fn head(&mut self) {
        if self.rng.chance(0.5) {
            self.layers(2.5);
        }
        let [width, height] = self.extent;
        let centre = [
            width * self.rng.uniform(0.35, 0.65),
            height * self.rng.uniform(0.35, 0.65),
        ];
        let long = self.rng.uniform(0.2, 0.46);
        let axes = [long, long * self.rng.uniform(0.65, 0.95)];
        let roughness = self.rng.uniform(0.0, 0.04);
        let outline = self.rounded(centre, axes, roughness);
        let outside = self.ground.mean;
        let mean = (outside * self.rng.uniform(0.3, 1.3)).clamp(0.0, 0.6);
        let paint = self.textured(mean);
        let head = New::of(TargetKind::Organ, outline, paint).target(TargetRule::Whole);
        let id = self.add(head);
        if self.rng.chance(0.85) {
            let mut rim = self.rim(mean, [0.008, 0.035]);
            rim.mean = self.rng.uniform(0.4, 1.0);
            self.last().rim = Some(rim);
        }
        if self.rng.chance(0.4) {
            // The brain's own pattern: regions much like the ones outside.
            let mut map = self.regions();
            map.inside = Some(id);
            for paint in &mut map.paints {
                paint.mean = 0.6 * mean + 0.4 * paint.mean;
            }
            self.label_map = Some(map);
        }
        for _ in 0..self.rng.int(0, 5) {
            let at = [
                centre[0] + axes[1] * self.rng.uniform(-0.6, 0.6),
                centre[1] + axes[1] * self.rng.uniform(-0.6, 0.6),
            ];
            let area = self.rng.log_uniform(0.01, 0.4) * axes[0] * axes[1];
            let outline = self.any_shape(at, area);
            let paint = self.contrasting_paint(mean);
            self.add(New::of(TargetKind::Lesion, outline, paint).inside(id));
            self.last().softness = self.rng.uniform(0.002, 0.015);
        }
    }
}
