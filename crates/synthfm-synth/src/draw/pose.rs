//! How a scene lies in the image: mirrored, turned, enlarged, shifted.

use crate::params::{Outline, StructureParams, Vec2};

/// `p -> to + scale R(angle) M (p - about)`, with M the mirror x -> -x or the identity.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pose {
    pub(super) about: Vec2,
    pub(super) to: Vec2,
    pub(super) mirrored: bool,
    pub(super) angle: f32,
    pub(super) scale: f32,
}

impl Pose {
    /// The mirror at the vertical line `x`.
    pub(super) fn mirror(x: f32) -> Self {
        Self {
            about: [x, 0.0],
            to: [x, 0.0],
            mirrored: true,
            angle: 0.0,
            scale: 1.0,
        }
    }

    pub(super) fn point(&self, point: Vec2) -> Vec2 {
        let (sin, cos) = libm::sincosf(self.angle);
        let x = point[0] - self.about[0];
        let x = self.scale * if self.mirrored { -x } else { x };
        let y = self.scale * (point[1] - self.about[1]);
        [
            self.to[0] + cos * x - sin * y,
            self.to[1] + sin * x + cos * y,
        ]
    }

    pub(super) fn outline(&self, outline: &Outline) -> Outline {
        match outline {
            Outline::Bezier {
                anchors,
                radius,
                edginess,
            } => Outline::Bezier {
                anchors: anchors.iter().map(|&p| self.point(p)).collect(),
                radius: *radius,
                edginess: *edginess,
            },
            Outline::Radial {
                centre,
                axes,
                angle,
                waves,
            } => {
                // The mirror image of the point at t is the one at pi - t.
                let wave = |&(frequency, amplitude, phase): &(u8, f32, f32)| {
                    let turned = -phase - f32::from(frequency) * std::f32::consts::PI;
                    let phase = if self.mirrored { turned } else { phase };
                    (frequency, amplitude, phase)
                };
                Outline::Radial {
                    centre: self.point(*centre),
                    axes: axes.map(|a| a * self.scale),
                    angle: self.angle + if self.mirrored { -angle } else { *angle },
                    waves: waves.iter().map(wave).collect(),
                }
            }
            Outline::Tubes { branches } => {
                let knot = |&[x, y, half_width]: &[f32; 3]| {
                    let [x, y] = self.point([x, y]);
                    [x, y, half_width * self.scale]
                };
                let branch = |branch: &Vec<[f32; 3]>| branch.iter().map(knot).collect();
                Outline::Tubes {
                    branches: branches.iter().map(branch).collect(),
                }
            }
        }
    }

    /// Moves a structure; its rim grows with it, the blur of its boundary does not.
    pub(super) fn apply(&self, structure: &mut StructureParams) {
        structure.outline = self.outline(&structure.outline);
        structure.inset *= self.scale;
        if let Some(rim) = &mut structure.rim {
            rim.width *= self.scale;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coverage;
    use synthfm_image::Size;

    fn outlines() -> [Outline; 3] {
        [
            Outline::Bezier {
                anchors: vec![[0.2, 0.2], [0.5, 0.15], [0.6, 0.6], [0.3, 0.7]],
                radius: 0.3,
                edginess: 0.1,
            },
            Outline::Radial {
                centre: [0.4, 0.5],
                axes: [0.25, 0.15],
                angle: 0.7,
                waves: vec![(3, 0.1, 0.4), (5, 0.05, 2.0)],
            },
            Outline::Tubes {
                branches: vec![vec![[0.2, 0.3, 0.03], [0.5, 0.4, 0.05], [0.6, 0.7, 0.02]]],
            },
        ]
    }

    #[test]
    fn mirrored_outlines_cover_the_mirrored_pixels() {
        let size = Size::new(100, 120);
        // Pixel centres lie half a pixel inside: column c and 99 - c are mirror images at x = 0.5.
        let mirror = Pose::mirror(0.5);
        for outline in outlines() {
            let cover =
                |outline: &Outline| coverage::fill(&outline.polygon(100.0), 1.0, size).unwrap();
            let (one, other) = (cover(&outline), cover(&mirror.outline(&outline)));
            let mut total = 0.0;
            for row in 0..100 {
                for col in 0..100 {
                    total += one.at(row, col);
                    let difference = one.at(row, col) - other.at(row, 99 - col);
                    // A curve is cut into steps from its start, which lies elsewhere on the mirror.
                    assert!(difference.abs() < 0.05, "{outline:?} at {row}, {col}");
                }
            }
            assert!(total > 100.0);
        }
    }

    #[test]
    fn turn_and_scale_act_about_the_given_point() {
        let pose = Pose {
            about: [0.5, 0.5],
            to: [0.7, 0.4],
            mirrored: false,
            angle: std::f32::consts::FRAC_PI_2,
            scale: 2.0,
        };
        let [x, y] = pose.point([0.6, 0.5]);
        assert!((x - 0.7).abs() < 1e-6 && (y - 0.6).abs() < 1e-6);
    }
}
