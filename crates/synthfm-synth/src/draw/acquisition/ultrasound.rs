//! Random ultrasound: probe, point spread, gains and shadows.

use super::Scene;
use crate::params::{BeamShadow, Effect, FieldOfView, Probe, UltrasoundParams, Vec2};

/// A shadow or an enhancement that a structure casts, whatever its brightness.
pub(in crate::draw) struct Cast {
    /// Where it starts: the middle of the structure's lower border.
    pub(in crate::draw) at: Vec2,
    /// Half width there.
    pub(in crate::draw) half_width: f32,
    /// Gain behind it.
    pub(in crate::draw) gain_db: f32,
}

/// Where a probe sees a band: middle and half width as shares of the beams, and depth.
fn seen(probe: &Probe, at: Vec2, half_width: f32) -> (f32, f32, f32) {
    match *probe {
        Probe::Linear { min, max } => {
            let width = (max[0] - min[0]).max(1e-3);
            ((at[0] - min[0]) / width, half_width / width, at[1] - min[1])
        }
        Probe::Fan {
            apex,
            half_angle,
            near,
            ..
        } => {
            let (dx, dy) = (at[0] - apex[0], at[1] - apex[1]);
            let range = (dx * dx + dy * dy).sqrt().max(1e-3);
            let beam = (libm::atan2f(dx, dy) + half_angle) / (2.0 * half_angle);
            (beam, half_width / range / (2.0 * half_angle), range - near)
        }
    }
}

impl Scene<'_> {
    pub(super) fn draw_ultrasound(&mut self) {
        let config = &self.config.acquisition.ultrasound;
        let probe = self.probe();
        self.view.field_of_view = FieldOfView::Probe(probe);
        let axial = self.rng.log_within(config.axial);
        let depth = probe.depth();
        let gain_db = self.rng.within(config.gain_db);
        let knots = self.rng.int(2, 7);
        let params = UltrasoundParams {
            seed: self.rng.seed(),
            probe,
            axial,
            lateral: axial * self.rng.within(config.lateral),
            focus: depth * self.rng.uniform(0.1, 0.9),
            divergence: self.rng.within(config.divergence),
            dynamic_range_db: self.rng.within(config.dynamic_range_db),
            speckle: self.rng.within(config.speckle),
            specular: self.rng.within(config.specular),
            shadowing_db: self.rng.within(config.shadowing_db),
            enhancement_db: self.rng.within(config.enhancement_db),
            gain_db: (0..knots).map(|_| gain_db * self.rng.normal()).collect(),
            near_field: self.strength(config.near_field, 1.0).unwrap_or(0.0),
            shadows: self.beam_shadows(&probe),
        };
        self.effects.push(Effect::Ultrasound(params));
    }

    /// The shadows that structures cast, and those of what is not in the image.
    fn beam_shadows(&mut self, probe: &Probe) -> Vec<BeamShadow> {
        let mut shadows: Vec<BeamShadow> = std::mem::take(&mut self.casts)
            .into_iter()
            .map(|cast| {
                let (beam, half_width, start) = seen(probe, cast.at, cast.half_width);
                BeamShadow {
                    beam,
                    half_width,
                    start,
                    gain_db: cast.gain_db,
                }
            })
            .collect();
        let [low, high] = self.config.acquisition.ultrasound.shadows;
        for _ in 0..self.rng.int(low, high) {
            // Bad contact lies at the sides and starts at the probe.
            let contact = self.rng.chance(0.4);
            shadows.push(BeamShadow {
                beam: if contact {
                    0.5 + 0.5 * self.rng.sign()
                } else {
                    self.rng.unit()
                },
                half_width: self.rng.log_uniform(0.01, 0.2),
                start: if contact {
                    0.0
                } else {
                    self.rng.uniform(0.0, 0.6) * probe.depth()
                },
                gain_db: if self.rng.chance(0.85) {
                    -self.rng.uniform(3.0, 30.0)
                } else {
                    self.rng.uniform(2.0, 8.0)
                },
            });
        }
        shadows
    }

    fn probe(&mut self) -> Probe {
        let config = &self.config.acquisition.ultrasound;
        let [width, height] = self.extent;
        let weights = [config.linear, config.curved, config.phased];
        let kind = self.rng.pick(&weights);
        if kind == 0 {
            return Probe::Linear {
                min: [width * self.margin(), height * self.margin()],
                max: [
                    width * (1.0 - self.margin()),
                    height * (1.0 - self.margin()),
                ],
            };
        }
        let (near, half_angle) = if kind == 1 {
            (self.rng.uniform(0.1, 0.8), self.rng.uniform(0.3, 0.75))
        } else {
            (self.rng.uniform(0.0, 0.04), self.rng.uniform(0.45, 0.8))
        };
        // A zoomed image shows a part of the fan.
        let zoomed = self.rng.chance(0.35);
        let top = height
            * if zoomed {
                self.rng.uniform(-0.6, -0.05)
            } else {
                self.rng.uniform(0.0, 0.06)
            };
        let depth = height * self.rng.uniform(0.85, 1.1) - top;
        Probe::Fan {
            apex: [width * self.rng.uniform(0.42, 0.58), top - near],
            half_angle,
            near,
            far: near + depth,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probes_see_bands_where_their_beams_run() {
        let linear = Probe::Linear {
            min: [0.2, 0.1],
            max: [1.2, 1.0],
        };
        let (beam, half_width, depth) = seen(&linear, [0.7, 0.4], 0.1);
        assert!((beam - 0.5).abs() < 1e-6 && (half_width - 0.1).abs() < 1e-6);
        assert!((depth - 0.3).abs() < 1e-6);
        let fan = Probe::Fan {
            apex: [0.5, -0.2],
            half_angle: std::f32::consts::FRAC_PI_4,
            near: 0.2,
            far: 1.2,
        };
        // On the right edge, at 45 degrees.
        let (beam, _, depth) = seen(&fan, [1.0, 0.3], 0.1);
        assert!((beam - 1.0).abs() < 1e-5);
        assert!((depth - (0.5_f32.sqrt() - 0.2)).abs() < 1e-5);
    }
}
