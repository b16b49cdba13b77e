//! Random contours: Bézier blobs, near-ellipses, lobed and spiculated shapes, tubes.
//!
//! Bézier anchors follow the routine named in [`crate::outline`]: uniform points in a square, redrawn
//! until neighbours by angle are at least `0.7 / n` apart (at most 200 times), sorted by angle about
//! their centroid. Differs: the distance is Euclidean, where the routine sums coordinates.

use super::Scene;
use crate::params::{Outline, Vec2};

/// Mean share of its unit square that a random contour covers.
const FILL: f32 = 0.4;

impl Scene<'_> {
    /// A smooth random contour of about `area` squared units around `centre`.
    pub(super) fn blob(&mut self, centre: Vec2, area: f32) -> Outline {
        let shapes = &self.config.shapes;
        let [low, high] = shapes.control_points;
        let count = self.rng.int(low, high) as usize;
        let radius = self.rng.within(shapes.radius);
        let edginess = self.rng.within(shapes.edginess);
        let aspect = self.rng.log_uniform(0.5, 2.0).sqrt();
        let angle = self.rng.angle();
        let (sin, cos) = libm::sincosf(angle);
        let side = (area / FILL).sqrt();
        let anchors = self.spread_points(count).into_iter().map(|[x, y]| {
            let (x, y) = ((x - 0.5) * side * aspect, (y - 0.5) * side / aspect);
            [centre[0] + cos * x - sin * y, centre[1] + sin * x + cos * y]
        });
        Outline::Bezier {
            anchors: anchors.collect(),
            radius,
            edginess,
        }
    }

    /// Points in the unit square, sorted by angle about their centroid, neighbours well apart.
    fn spread_points(&mut self, count: usize) -> Vec<Vec2> {
        let apart = 0.7 / count as f32;
        let mut points = self.sorted_points(count);
        for _ in 0..200 {
            let close = (0..count).any(|i| {
                let (a, b) = (points[i], points[(i + 1) % count]);
                let (dx, dy) = (a[0] - b[0], a[1] - b[1]);
                dx * dx + dy * dy < apart * apart
            });
            if !close {
                break;
            }
            points = self.sorted_points(count);
        }
        points
    }

    fn sorted_points(&mut self, count: usize) -> Vec<Vec2> {
        let mut points: Vec<Vec2> = (0..count)
            .map(|_| [self.rng.unit(), self.rng.unit()])
            .collect();
        let mean = |axis: usize| points.iter().map(|p| p[axis]).sum::<f32>() / count as f32;
        let centre = [mean(0), mean(1)];
        let angle = |p: &Vec2| libm::atan2f(p[0] - centre[0], p[1] - centre[1]);
        points.sort_by(|a, b| angle(a).total_cmp(&angle(b)));
        points
    }

    /// An ellipse with a gentle wave of each low frequency.
    pub(super) fn rounded(&mut self, centre: Vec2, axes: Vec2, roughness: f32) -> Outline {
        let angle = self.rng.angle();
        self.rounded_at(centre, axes, angle, roughness)
    }

    /// Like [`Self::rounded`], at a given angle.
    pub(super) fn rounded_at(
        &mut self,
        centre: Vec2,
        axes: Vec2,
        angle: f32,
        roughness: f32,
    ) -> Outline {
        let mut waves = Vec::new();
        if roughness > 0.0 {
            for frequency in 2..=5_u8 {
                let amplitude = roughness * self.rng.normal() / f32::from(frequency);
                waves.push((frequency, amplitude, self.rng.angle()));
            }
        }
        Outline::Radial {
            centre,
            axes,
            angle,
            waves,
        }
    }

    /// Adds waves of high frequency to an ellipse, the higher the smaller.
    pub(super) fn roughen(&mut self, outline: &mut Outline, strength: f32) {
        if let Outline::Radial { waves, .. } = outline {
            for frequency in [6, 8, 10, 13, 16, 19, 23, 29_u8] {
                let amplitude = 0.4 * strength * self.rng.normal() / f32::from(frequency);
                waves.push((frequency, amplitude, self.rng.angle()));
            }
        }
    }

    /// A lobed or spiculated ellipse: waves of higher frequency.
    pub(super) fn lobed(&mut self, centre: Vec2, axes: Vec2) -> Outline {
        let mut outline = self.rounded(centre, axes, 0.15);
        if let Outline::Radial { waves, .. } = &mut outline {
            for _ in 0..self.rng.int(1, 3) {
                let frequency = self.rng.int(5, 18) as u8;
                let amplitude = self.rng.uniform(0.2, 0.9) / f32::from(frequency);
                waves.push((frequency, amplitude, self.rng.angle()));
            }
        }
        outline
    }

    /// Any of the closed shapes, of about `area`.
    pub(super) fn any_shape(&mut self, centre: Vec2, area: f32) -> Outline {
        let aspect = self.rng.log_uniform(0.4, 1.0).sqrt();
        let radius = (area / std::f32::consts::PI).sqrt();
        let axes = [radius / aspect, radius * aspect];
        match self.rng.pick(&[0.6, 0.25, 0.15]) {
            0 => self.blob(centre, area),
            1 => {
                let roughness = self.rng.uniform(0.0, 0.3);
                self.rounded(centre, axes, roughness)
            }
            _ => self.lobed(centre, axes),
        }
    }

    /// A wandering line from `start` with a half width at each knot.
    pub(super) fn walk(&mut self, start: Vec2, heading: f32, walk: Walk) -> Vec<[f32; 3]> {
        let mut heading = heading;
        let [mut x, mut y] = start;
        let mut turn = 0.0;
        (0..=walk.knots)
            .map(|k| {
                let share = k as f32 / walk.knots.max(1) as f32;
                let half_width = walk.half_width * (1.0 - walk.taper * share);
                let knot = [x, y, half_width * self.rng.uniform(0.85, 1.15)];
                turn = 0.5 * turn + walk.bend * self.rng.normal();
                heading += turn;
                let (sin, cos) = libm::sincosf(heading);
                let step = walk.length / walk.knots.max(1) as f32;
                (x, y) = (x + step * cos, y + step * sin);
                knot
            })
            .collect()
    }
}

/// How a tube runs.
#[derive(Clone, Copy)]
pub(super) struct Walk {
    pub(super) knots: u32,
    pub(super) length: f32,
    pub(super) half_width: f32,
    /// Share of the half width that is lost towards the end.
    pub(super) taper: f32,
    /// Standard deviation of the turn at each knot, radians.
    pub(super) bend: f32,
}

/// The centre and half size of the box around a contour's defining points.
pub(super) fn middle(outline: &Outline) -> (Vec2, f32) {
    let points: Vec<Vec2> = match outline {
        Outline::Bezier { anchors, .. } => anchors.clone(),
        Outline::Radial { centre, axes, .. } => return (*centre, axes[0].min(axes[1])),
        Outline::Tubes { branches } => branches.concat().iter().map(|k| [k[0], k[1]]).collect(),
    };
    let count = points.len().max(1) as f32;
    let mean = |axis: usize| points.iter().map(|p| p[axis]).sum::<f32>() / count;
    let centre = [mean(0), mean(1)];
    let distance = |p: &Vec2| {
        let (dx, dy) = (p[0] - centre[0], p[1] - centre[1]);
        (dx * dx + dy * dy).sqrt()
    };
    let near = points.iter().map(distance).fold(f32::MAX, f32::min);
    (centre, near)
}

/// A contour scaled about its middle.
pub(super) fn scaled(outline: &Outline, factor: f32) -> Outline {
    let (centre, _) = middle(outline);
    let about = |v: f32, c: f32| c + (v - c) * factor;
    let mut scaled = outline.clone();
    match &mut scaled {
        Outline::Bezier { anchors, .. } => {
            for p in anchors {
                *p = [about(p[0], centre[0]), about(p[1], centre[1])];
            }
        }
        Outline::Radial { axes, .. } => *axes = axes.map(|a| a * factor),
        Outline::Tubes { branches } => {
            branches
                .iter_mut()
                .flatten()
                .for_each(|knot| knot[2] *= factor);
        }
    }
    scaled
}
