//! How a scene in the body's own frame lies in the volume: turned, mirrored, enlarged, sliced along another axis.
//!
//! The body's frame has its origin in the middle of the volume: x to one side, y to the back, z along the body.

use crate::volume::{Bumps, Form, Lobe, Section, SolidParams, Vec3};

/// `v[order[k]] = to[order[k]] + scale (R M b)[k]`: M mirrors, R turns about the body's z axis.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pose {
    pub(super) scale: f32,
    /// Angle about the body's z axis.
    pub(super) turn: f32,
    /// Whether x, y and z are mirrored.
    pub(super) mirror: [bool; 3],
    /// Axis of the volume that each axis of the body runs along.
    pub(super) order: [usize; 3],
    /// Where the body's origin goes.
    pub(super) to: Vec3,
}

impl Pose {
    /// A direction or half axis.
    fn vector(&self, b: Vec3) -> Vec3 {
        let sign = |k: usize| if self.mirror[k] { -b[k] } else { b[k] };
        let [x, y, z] = [sign(0), sign(1), sign(2)];
        let (sin, cos) = libm::sincosf(self.turn);
        let turned = [cos * x - sin * y, sin * x + cos * y, z];
        let mut v = [0.0; 3];
        for k in 0..3 {
            v[self.order[k]] = self.scale * turned[k];
        }
        v
    }

    fn point(&self, b: Vec3) -> Vec3 {
        let v = self.vector(b);
        [0, 1, 2].map(|k: usize| v[k] + self.to[k])
    }

    fn section(&self, section: &Section) -> Section {
        let Section {
            at,
            mut centre,
            mut axes,
            mut angle,
            mut waves,
        } = section.clone();
        let negate = |waves: &mut Vec<[f32; 2]>| waves.iter_mut().for_each(|w| w[1] = -w[1]);
        if self.mirror[0] {
            centre[0] = -centre[0];
            angle = std::f32::consts::PI - angle;
            negate(&mut waves);
        }
        if self.mirror[1] {
            centre[1] = -centre[1];
            angle = -angle;
            negate(&mut waves);
        }
        let (sin, cos) = libm::sincosf(self.turn);
        centre = [
            cos * centre[0] - sin * centre[1],
            sin * centre[0] + cos * centre[1],
        ];
        angle += self.turn;
        let along = self.order[2];
        let mut to = [self.to[self.order[0]], self.to[self.order[1]]];
        if self.order[0] != (along + 1) % 3 {
            centre.swap(0, 1);
            to.swap(0, 1);
            angle = std::f32::consts::FRAC_PI_2 - angle;
            negate(&mut waves);
        }
        centre = [0, 1].map(|k: usize| to[k] + self.scale * centre[k]);
        axes = axes.map(|axis| axis * self.scale);
        let at = if self.mirror[2] { -at } else { at };
        Section {
            at: self.to[along] + self.scale * at,
            centre,
            axes,
            angle,
            waves,
        }
    }

    fn form(&self, form: &Form) -> Form {
        match form {
            Form::Lobes { lobes, blend } => Form::Lobes {
                lobes: lobes
                    .iter()
                    .map(|lobe| Lobe {
                        centre: self.point(lobe.centre),
                        axes: lobe.axes.map(|axis| self.vector(axis)),
                        carve: lobe.carve,
                    })
                    .collect(),
                blend: blend * self.scale,
            },
            Form::Column { sections, .. } => {
                let mut sections: Vec<Section> = sections.iter().map(|s| self.section(s)).collect();
                if self.mirror[2] {
                    sections.reverse();
                }
                Form::Column {
                    axis: self.order[2] as u8,
                    sections,
                }
            }
            Form::Tubes { branches } => {
                let knot = |&[x, y, z, radius]: &[f32; 4]| {
                    let [x, y, z] = self.point([x, y, z]);
                    [x, y, z, radius * self.scale]
                };
                Form::Tubes {
                    branches: branches
                        .iter()
                        .map(|b| b.iter().map(knot).collect())
                        .collect(),
                }
            }
            Form::Layer { normal, offset } => {
                let normal = self.vector(*normal).map(|c| c / self.scale);
                let shift: f32 = (0..3).map(|k| normal[k] * self.to[k]).sum();
                Form::Layer {
                    normal,
                    offset: offset * self.scale + shift,
                }
            }
            Form::Inset { depth } => Form::Inset {
                depth: depth * self.scale,
            },
        }
    }

    /// Brings a structure from the body's frame into the volume.
    pub(super) fn apply(&self, solid: &mut SolidParams) {
        solid.form = self.form(&solid.form);
        solid.clearance *= self.scale;
        solid.softness *= self.scale;
        if let Some(Bumps {
            amplitude, scale, ..
        }) = &mut solid.bumps
        {
            *amplitude *= self.scale;
            *scale *= self.scale;
        }
    }
}
