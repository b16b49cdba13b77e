//! Random shapes in three dimensions: organs, columns, curves, trees.

use super::Plan;
use crate::volume::{Bumps, Form, Lobe, Section, Vec3};

/// Rows of a rotation: unit vectors at right angles.
pub(super) type Rotation = [Vec3; 3];

/// The axes as they are.
pub(super) const UPRIGHT: Rotation = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];

pub(super) fn add(a: Vec3, b: Vec3) -> Vec3 {
    [a[0] + b[0], a[1] + b[1], a[2] + b[2]]
}

pub(super) fn scaled(a: Vec3, factor: f32) -> Vec3 {
    a.map(|c| c * factor)
}

pub(super) fn unit(a: Vec3) -> Vec3 {
    let square: f32 = a.iter().map(|c| c * c).sum();
    scaled(a, 1.0 / square.max(1e-12).sqrt())
}

/// An ellipsoid with its half axes along the rows of a rotation.
pub(super) fn lobe(centre: Vec3, radii: Vec3, rotation: Rotation) -> Lobe {
    Lobe {
        centre,
        axes: [0, 1, 2].map(|k: usize| scaled(rotation[k], radii[k])),
        carve: false,
    }
}

/// The ellipsoid, taken away from the others.
pub(super) fn carved(lobe: Lobe) -> Lobe {
    Lobe {
        carve: true,
        ..lobe
    }
}

/// One ellipsoid alone.
pub(super) fn ellipsoid(centre: Vec3, radii: Vec3, rotation: Rotation) -> Form {
    Form::Lobes {
        lobes: vec![lobe(centre, radii, rotation)],
        blend: 0.0,
    }
}

/// The mirror image at the body's midplane.
pub(super) fn mirrored(form: &Form) -> Form {
    let flip = |v: Vec3| [-v[0], v[1], v[2]];
    match form {
        Form::Lobes { lobes, blend } => Form::Lobes {
            lobes: lobes
                .iter()
                .map(|lobe| Lobe {
                    centre: flip(lobe.centre),
                    axes: lobe.axes.map(flip),
                    ..*lobe
                })
                .collect(),
            blend: *blend,
        },
        Form::Tubes { branches } => Form::Tubes {
            branches: branches
                .iter()
                .map(|b| b.iter().map(|&[x, y, z, r]| [-x, y, z, r]).collect())
                .collect(),
        },
        Form::Column { axis, sections } => Form::Column {
            axis: *axis,
            sections: sections
                .iter()
                .map(|s| Section {
                    centre: [-s.centre[0], s.centre[1]],
                    angle: std::f32::consts::PI - s.angle,
                    waves: s.waves.iter().map(|&[a, p]| [a, -p]).collect(),
                    ..s.clone()
                })
                .collect(),
        },
        other => other.clone(),
    }
}

impl Plan<'_> {
    /// A random direction.
    pub(super) fn direction(&mut self) -> Vec3 {
        let rng = &mut self.scene.rng;
        unit([rng.normal(), rng.normal(), rng.normal() + 1e-3])
    }

    /// A random rotation, by the quaternion of four normal numbers.
    pub(super) fn rotation(&mut self) -> Rotation {
        let rng = &mut self.scene.rng;
        let q = [
            rng.normal(),
            rng.normal(),
            rng.normal(),
            rng.normal() + 1e-3,
        ];
        let square: f32 = q.iter().map(|c| c * c).sum();
        let [w, x, y, z] = q.map(|c| c / square.max(1e-12).sqrt());
        [
            [
                1.0 - 2.0 * (y * y + z * z),
                2.0 * (x * y - w * z),
                2.0 * (x * z + w * y),
            ],
            [
                2.0 * (x * y + w * z),
                1.0 - 2.0 * (x * x + z * z),
                2.0 * (y * z - w * x),
            ],
            [
                2.0 * (x * z - w * y),
                2.0 * (y * z + w * x),
                1.0 - 2.0 * (x * x + y * y),
            ],
        ]
    }

    /// A rotation by about `std` radians.
    pub(super) fn tilt(&mut self, std: f32) -> Rotation {
        let rng = &mut self.scene.rng;
        let off = |rng: &mut crate::rng::Draw| std * rng.normal();
        let [a, b, c] = [off(rng), off(rng), off(rng)];
        // Gram-Schmidt of a rotation to first order.
        let x = unit([1.0, a, b]);
        let y = [-a, 1.0, c];
        let along: f32 = (0..3).map(|k| x[k] * y[k]).sum();
        let y = unit(add(y, scaled(x, -along)));
        let z = [
            x[1] * y[2] - x[2] * y[1],
            x[2] * y[0] - x[0] * y[2],
            x[0] * y[1] - x[1] * y[0],
        ];
        [x, y, z]
    }

    /// A point about `centre`, displaced by this standard deviation along each axis.
    pub(super) fn near(&mut self, centre: Vec3, std: f32) -> Vec3 {
        centre.map(|c| c + std * self.scene.rng.normal().clamp(-2.5, 2.5))
    }

    /// Factors of about 1.
    pub(super) fn varied(&mut self, radii: Vec3, spread: f32) -> Vec3 {
        radii.map(|r| r * libm::expf(spread * self.scene.rng.normal().clamp(-2.0, 2.0)))
    }

    /// An irregular solid organ: one to four ellipsoids that flow together, perhaps with a notch.
    pub(super) fn blob(&mut self, centre: Vec3, radii: Vec3) -> Form {
        let main = self.rotation();
        self.blob_along(centre, radii, main)
    }

    /// The same, with its main axes given.
    pub(super) fn blob_along(&mut self, centre: Vec3, radii: Vec3, rotation: Rotation) -> Form {
        let mut lobes = vec![lobe(centre, radii, rotation)];
        let mean = libm::cbrtf(radii[0] * radii[1] * radii[2]);
        for _ in 0..self.scene.rng.pick(&[0.35, 0.35, 0.2, 0.1]) {
            let towards = self.direction();
            let share = self.scene.rng.uniform(0.5, 0.95);
            let offset = [0, 1, 2].map(|k: usize| {
                (0..3)
                    .map(|j| rotation[j][k] * radii[j] * towards[j])
                    .sum::<f32>()
                    * share
            });
            let size = self.scene.rng.uniform(0.35, 0.75);
            let own = self.rotation();
            let radii = self.varied([mean * size; 3], 0.25);
            lobes.push(lobe(add(centre, offset), radii, own));
        }
        if self.scene.rng.chance(0.25) {
            let towards = self.direction();
            let offset = [0, 1, 2].map(|k: usize| {
                (0..3)
                    .map(|j| rotation[j][k] * radii[j] * towards[j])
                    .sum::<f32>()
                    * 1.1
            });
            let own = self.rotation();
            let size = self.scene.rng.uniform(0.25, 0.5);
            let radii = self.varied([mean * size; 3], 0.3);
            lobes.push(carved(lobe(add(centre, offset), radii, own)));
        }
        Form::Lobes {
            lobes,
            blend: mean * self.scene.rng.uniform(0.15, 0.6),
        }
    }

    /// A bent body: a chain of ellipsoids along an arc, as a kidney, a stomach or a pancreas.
    pub(super) fn bean(
        &mut self,
        centre: Vec3,
        radii: Vec3,
        rotation: Rotation,
        bend: f32,
    ) -> Form {
        let count = 5;
        let place = |t: f32| {
            let (along, aside) = (radii[0] * 0.7 * t, bend * radii[0] * (t * t - 0.35));
            [0, 1, 2].map(|k: usize| centre[k] + rotation[0][k] * along + rotation[1][k] * aside)
        };
        let lobes = (0..count)
            .map(|k| {
                let t = k as f32 / (count - 1) as f32 * 2.0 - 1.0;
                let thick = self.scene.rng.uniform(0.85, 1.1) * (1.0 - 0.25 * t * t);
                let radii = [radii[0] * 0.42, radii[1] * thick, radii[2] * thick];
                lobe(place(t), radii, rotation)
            })
            .collect();
        Form::Lobes {
            lobes,
            blend: 0.6 * radii[1].min(radii[2]),
        }
    }

    /// Smooth displacement of a surface by a share of `size`.
    pub(super) fn bumps(&mut self, size: f32, share: f32) -> Bumps {
        let rng = &mut self.scene.rng;
        Bumps {
            amplitude: size * share * rng.uniform(0.3, 1.0),
            scale: size * rng.log_uniform(0.35, 1.2),
            offset: [0.0; 3].map(|_: f32| rng.uniform(0.0, 16.0)),
            folded: false,
        }
    }

    /// A long body along z from `low` to `high` about a line, of smoothly changing cross-sections: `spread` is how much
    /// its size changes, `drift` how far its centre strays, both over `period`.
    pub(super) fn column(&mut self, of: &ColumnPlan) -> Form {
        let length = of.high - of.low;
        let count = ((length / of.period).ceil() as usize + 1).clamp(3, 40);
        let waves: Vec<[f32; 2]> = (0..4)
            .map(|k| {
                let rng = &mut self.scene.rng;
                [
                    of.waves * rng.normal() / (1.0 + 0.5 * k as f32),
                    rng.angle(),
                ]
            })
            .collect();
        let angle = of.angle;
        let sections = (0..count)
            .map(|k| {
                let share = k as f32 / (count - 1) as f32;
                let rng = &mut self.scene.rng;
                let size = libm::expf(of.spread * rng.normal().clamp(-2.0, 2.0));
                let aspect = libm::expf(0.4 * of.spread * rng.normal().clamp(-2.0, 2.0));
                let taper = of.taper(share);
                let waves = waves
                    .iter()
                    .map(|&[a, p]| [a + 0.35 * of.waves * rng.normal(), p + 0.25 * rng.normal()])
                    .collect();
                Section {
                    at: of.low + length * share,
                    centre: of
                        .centre
                        .map(|c| c + of.drift * rng.normal().clamp(-2.0, 2.0)),
                    axes: [
                        of.axes[0] * size * aspect * taper,
                        of.axes[1] * size / aspect * taper,
                    ],
                    angle: angle + 0.1 * rng.normal(),
                    waves,
                }
            })
            .collect();
        Form::Column { axis: 2, sections }
    }

    /// A smooth random curve of `count` knots from a point, with falling radius.
    pub(super) fn curve(&mut self, from: Vec3, towards: Vec3, of: &CurvePlan) -> Vec<[f32; 4]> {
        let step = of.length / (of.knots - 1) as f32;
        let (mut point, mut heading) = (from, unit(towards));
        let mut knots = Vec::with_capacity(of.knots);
        for k in 0..of.knots {
            let share = k as f32 / (of.knots - 1) as f32;
            let radius = of.radii[0] + (of.radii[1] - of.radii[0]) * share;
            let uneven = libm::expf(0.08 * self.scene.rng.normal());
            knots.push([point[0], point[1], point[2], radius * uneven]);
            let off = self.direction();
            heading = unit(add(heading, scaled(off, of.wander)));
            point = add(point, scaled(heading, step));
        }
        knots
    }

    /// A tree of vessels: each branch parts into thinner ones, with twigs on the way.
    pub(super) fn tree(&mut self, from: Vec3, towards: Vec3, of: &TreePlan) -> Form {
        let mut branches = Vec::new();
        let mut open = vec![(from, unit(towards), of.radius, of.length, of.generations)];
        while let Some((from, towards, radius, length, left)) = open.pop() {
            if branches.len() >= of.most || radius < of.thinnest {
                continue;
            }
            let narrowing = self.scene.rng.uniform(0.7, 0.9);
            let curve = CurvePlan {
                length: length * self.scene.rng.uniform(0.7, 1.3),
                radii: [radius, radius * narrowing],
                wander: of.wander,
                knots: 6,
            };
            let line = self.curve(from, towards, &curve);
            if left > 0 {
                let tip = line[line.len() - 1];
                let before = line[line.len() - 2];
                let end = [tip[0], tip[1], tip[2]];
                let heading = unit([tip[0] - before[0], tip[1] - before[1], tip[2] - before[2]]);
                for k in 0..2 {
                    let off = self.direction();
                    let spread = self.scene.rng.uniform(0.4, 0.9);
                    let thin = if k == 0 { 0.9 } else { 0.7 } * self.scene.rng.uniform(0.8, 1.0);
                    let next = unit(add(heading, scaled(off, spread)));
                    open.push((end, next, tip[3] * thin, length * 0.8, left - 1));
                }
                let twig = line[self.scene.rng.int(1, 4) as usize];
                let off = self.direction();
                let next = unit(add(heading, scaled(off, 1.2)));
                open.push((
                    [twig[0], twig[1], twig[2]],
                    next,
                    twig[3] * 0.55,
                    length * 0.6,
                    left - 1,
                ));
            }
            branches.push(line);
        }
        Form::Tubes { branches }
    }
}

/// Size and shape of a random column.
#[derive(Debug, Clone, Copy)]
pub(super) struct ColumnPlan {
    pub(super) low: f32,
    pub(super) high: f32,
    pub(super) centre: [f32; 2],
    pub(super) axes: [f32; 2],
    pub(super) angle: f32,
    /// Standard deviation of the logarithm of its size.
    pub(super) spread: f32,
    /// Standard deviation of its centre.
    pub(super) drift: f32,
    /// Distance along z over which they change.
    pub(super) period: f32,
    /// Amplitude of the waves of its cross-sections.
    pub(super) waves: f32,
    /// How much it narrows towards its ends, 0 (not) to 1 (to nothing).
    pub(super) pointed: f32,
}

impl ColumnPlan {
    fn taper(&self, share: f32) -> f32 {
        let off = 2.0 * share - 1.0;
        let round = (1.0 - off * off).max(0.0).sqrt();
        1.0 - self.pointed + self.pointed * round
    }
}

/// Size and shape of a random curve.
#[derive(Debug, Clone, Copy)]
pub(super) struct CurvePlan {
    pub(super) length: f32,
    /// At its start and its end.
    pub(super) radii: [f32; 2],
    /// How far each step turns, as a share of the step before.
    pub(super) wander: f32,
    pub(super) knots: usize,
}

/// Size and shape of a random tree.
#[derive(Debug, Clone, Copy)]
pub(super) struct TreePlan {
    pub(super) radius: f32,
    pub(super) length: f32,
    pub(super) generations: u32,
    pub(super) wander: f32,
    /// Branches thinner than this are left out.
    pub(super) thinnest: f32,
    /// Most branches.
    pub(super) most: usize,
}
