//! The layered tissue of ultrasound images: flat-lying regions with a mass, vessels, a fetal head, or an organ (ultrasound).

use super::{Cast, New, Scene};
use crate::params::{Outline, TargetKind};

impl Scene<'_> {
    pub(super) fn draw_layered(&mut self) {
        let mean = self.tissue_mean().max(0.1);
        self.ground = self.textured(mean);
        match self.rng.pick(&[0.34, 0.3, 0.2, 0.16]) {
            0 => self.fetal_head(),
            2 => {
                self.layers(5.0);
                self.neck_vessels();
            }
            3 => self.abdominal_organ(),
            _ => {
                self.layers(4.0);
                for _ in 0..self.rng.int(1, 2) {
                    self.mass();
                }
            }
        }
        let most = self.rng.int(0, 24);
        for _ in 0..most {
            self.interface();
        }
    }

    /// A label map whose regions lie flat.
    pub(super) fn layers(&mut self, flatness: f32) {
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
        let softness = self.rng.uniform(0.002, 0.006);
        self.soften(softness);
    }

    /// A hypoechoic mass with shadow or enhancement below.
    fn mass(&mut self) {
        let radius = self.rng.log_uniform(0.05, 0.24);
        let at = self.point(0.2);
        let aspect = self.rng.uniform(0.5, 1.1);
        let outline = match self.rng.pick(&[0.3, 0.25, 0.2, 0.25]) {
            3 => self.spiculated(at, radius * aspect),
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
        // Margins are sharp or indistinct (BI-RADS).
        let softness = if self.rng.chance(0.6) {
            self.rng.uniform(0.0, 0.015)
        } else {
            self.rng.uniform(0.01, 0.035)
        };
        self.soften(softness);
        if self.rng.chance(0.5) {
            self.casts.push(Cast {
                at: [at[0], at[1] + radius * aspect * 0.7],
                half_width: radius * self.rng.uniform(0.6, 1.0),
                gain_db: if self.rng.chance(0.6) {
                    -self.rng.uniform(2.0, 25.0)
                } else {
                    self.rng.uniform(2.0, 12.0)
                },
            });
        }
    }
}
