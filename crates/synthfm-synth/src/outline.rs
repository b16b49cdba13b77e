//! Contours as polygons: Bézier curves, modulated ellipses and tubes.
//!
//! Béziers follow the public routine for random smooth contours (Stack Overflow 50731785), which the
//! paper's words fit: tangents between the directions of the two edges at each point, handles as a
//! share of the edge. Differs: the tangent turns by a share of the wrapped angle, so that it does not
//! jump where the routine's sum passes a full turn.

use std::f32::consts::{PI, TAU};

use crate::params::{Outline, Vec2};

/// Longest step along a curve, in pixels.
const STEP_PX: f32 = 2.5;

impl Outline {
    /// The closed polygon of this contour in pixels (pixel centres are whole numbers), for an image
    /// whose shorter side has `unit_px` pixels.
    pub(crate) fn polygon(&self, unit_px: f32) -> Vec<Vec2> {
        let mut polygon = match self {
            Self::Bezier {
                anchors,
                radius,
                edginess,
            } => bezier(anchors, *radius, *edginess, unit_px),
            Self::Radial {
                centre,
                axes,
                angle,
                waves,
            } => radial(*centre, *axes, *angle, waves, unit_px),
            Self::Tubes { branches } => tubes(branches, unit_px),
        };
        for point in &mut polygon {
            *point = point.map(|v| v * unit_px - 0.5);
        }
        polygon
    }
}

fn sub(a: Vec2, b: Vec2) -> Vec2 {
    [a[0] - b[0], a[1] - b[1]]
}

fn along(origin: Vec2, direction: Vec2, length: f32) -> Vec2 {
    [
        origin[0] + direction[0] * length,
        origin[1] + direction[1] * length,
    ]
}

fn norm(v: Vec2) -> f32 {
    (v[0] * v[0] + v[1] * v[1]).sqrt()
}

/// Number of steps for a curve of this length.
fn steps(length: f32, unit_px: f32, most: usize) -> usize {
    ((length * unit_px / STEP_PX) as usize).clamp(6, most)
}

/// An angle in `(-pi, pi]`.
fn wrapped(angle: f32) -> f32 {
    let turns = ((angle + PI) / TAU).floor();
    angle - turns * TAU
}

fn bezier(anchors: &[Vec2], radius: f32, edginess: f32, unit_px: f32) -> Vec<Vec2> {
    let count = anchors.len();
    if count < 2 {
        return Vec::new();
    }
    let edges: Vec<Vec2> = (0..count)
        .map(|i| sub(anchors[(i + 1) % count], anchors[i]))
        .collect();
    let share = libm::atanf(edginess) / PI + 0.5;
    let tangents: Vec<Vec2> = (0..count)
        .map(|i| {
            let (before, after) = (edges[(i + count - 1) % count], edges[i]);
            let angle = libm::atan2f(before[1], before[0]);
            let turn = wrapped(libm::atan2f(after[1], after[0]) - angle);
            let (sin, cos) = libm::sincosf(angle + share * turn);
            [cos, sin]
        })
        .collect();
    let mut polygon = Vec::new();
    for (i, &edge) in edges.iter().enumerate() {
        let (next, length) = ((i + 1) % count, norm(edge));
        let controls = [
            anchors[i],
            along(anchors[i], tangents[i], radius * length),
            along(anchors[next], tangents[next], -radius * length),
            anchors[next],
        ];
        let count = steps(length, unit_px, 100);
        polygon.extend((0..count).map(|k| cubic(controls, k as f32 / count as f32)));
    }
    polygon
}

fn cubic([a, b, c, d]: [Vec2; 4], t: f32) -> Vec2 {
    let s = 1.0 - t;
    let weights = [s * s * s, 3.0 * s * s * t, 3.0 * s * t * t, t * t * t];
    let at = |axis: usize| {
        weights[0] * a[axis] + weights[1] * b[axis] + weights[2] * c[axis] + weights[3] * d[axis]
    };
    [at(0), at(1)]
}

fn radial(
    centre: Vec2,
    axes: Vec2,
    angle: f32,
    waves: &[(u8, f32, f32)],
    unit_px: f32,
) -> Vec<Vec2> {
    let highest = waves
        .iter()
        .map(|wave| usize::from(wave.0))
        .max()
        .unwrap_or(0);
    let length = TAU * axes[0].abs().max(axes[1].abs());
    let count = steps(length, unit_px, 400).max(24).max(6 * highest);
    let (sin_angle, cos_angle) = libm::sincosf(angle);
    let point = |k: usize| {
        let t = k as f32 / count as f32 * TAU;
        let wave = |&(frequency, amplitude, phase): &(u8, f32, f32)| {
            amplitude * libm::cosf(f32::from(frequency) * t + phase)
        };
        let radius = (1.0 + waves.iter().map(wave).sum::<f32>()).max(0.05);
        let (sin, cos) = libm::sincosf(t);
        let (x, y) = (axes[0] * radius * cos, axes[1] * radius * sin);
        [
            centre[0] + cos_angle * x - sin_angle * y,
            centre[1] + sin_angle * x + cos_angle * y,
        ]
    };
    (0..count).map(point).collect()
}

/// All branches as one polygon: each is reached and left along the same line, which cancels out. They
/// wind alike, so that overlapping branches do not cancel.
fn tubes(branches: &[Vec<[f32; 3]>], unit_px: f32) -> Vec<Vec2> {
    let mut polygon: Vec<Vec2> = Vec::new();
    for branch in branches {
        let part = tube(branch, unit_px);
        let Some(&entry) = part.first() else {
            continue;
        };
        let home = polygon.first().copied();
        polygon.extend(part);
        polygon.push(entry);
        polygon.extend(home);
    }
    polygon
}

/// Both sides of the centre line and a round cap at either end.
fn tube(knots: &[[f32; 3]], unit_px: f32) -> Vec<Vec2> {
    if knots.len() < 2 {
        return Vec::new();
    }
    let line = centre_line(knots, unit_px);
    let mut left = Vec::with_capacity(2 * line.len() + 16);
    let mut right = Vec::with_capacity(line.len() + 8);
    for (i, &(point, half_width)) in line.iter().enumerate() {
        let (before, after) = (
            line[i.saturating_sub(1)].0,
            line[(i + 1).min(line.len() - 1)].0,
        );
        let tangent = sub(after, before);
        let length = norm(tangent).max(1e-9);
        let normal = [-tangent[1] / length, tangent[0] / length];
        if i == 0 {
            // The start's cap, from the right side to the left.
            right.extend((1..6).map(|k| cap(point, normal, half_width, k as f32 / 6.0, -1.0)));
        }
        left.push(along(point, normal, half_width));
        right.push(along(point, normal, -half_width));
        if i + 1 == line.len() {
            left.extend((1..6).map(|k| cap(point, normal, half_width, k as f32 / 6.0, 1.0)));
        }
    }
    left.extend(right.into_iter().rev());
    left
}

/// A point on the half circle from the left side (`share` 0) to the right (1), ahead or behind.
fn cap(point: Vec2, normal: Vec2, half_width: f32, share: f32, ahead: f32) -> Vec2 {
    let (sin, cos) = libm::sincosf(share * PI);
    let forward = [normal[1] * ahead, -normal[0] * ahead];
    along(
        along(point, normal, half_width * cos),
        forward,
        half_width * sin,
    )
}

/// Catmull-Rom spline through the knots, with linearly changing half width.
fn centre_line(knots: &[[f32; 3]], unit_px: f32) -> Vec<(Vec2, f32)> {
    let last = knots.len() - 1;
    let point = |i: usize| [knots[i][0], knots[i][1]];
    let mut line = Vec::new();
    for i in 0..last {
        let (from, to) = (point(i), point(i + 1));
        let (before, after) = (point(i.saturating_sub(1)), point((i + 2).min(last)));
        let controls = [
            from,
            along(from, sub(to, before), 1.0 / 6.0),
            along(to, sub(after, from), -1.0 / 6.0),
            to,
        ];
        let (thick, thin) = (knots[i][2], knots[i + 1][2]);
        let count = steps(norm(sub(to, from)), unit_px, 60);
        line.extend((0..count).map(|k| {
            let t = k as f32 / count as f32;
            (cubic(controls, t), thick + (thin - thick) * t)
        }));
    }
    line.push((point(last), knots[last][2]));
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coverage;
    use synthfm_image::Size;

    fn area(outline: &Outline) -> f32 {
        let layer = coverage::fill(&outline.polygon(200.0), 0.0, Size::new(200, 300));
        layer.unwrap().data.iter().sum::<f32>() / (200.0 * 200.0)
    }

    #[test]
    fn zero_radius_is_the_polygon_of_the_anchors() {
        let anchors = vec![[0.2, 0.2], [1.0, 0.2], [1.0, 0.7], [0.2, 0.7]];
        let outline = Outline::Bezier {
            anchors,
            radius: 0.0,
            edginess: 0.3,
        };
        assert!((area(&outline) - 0.8 * 0.5).abs() < 1e-4);
    }

    #[test]
    fn circle_handles_give_a_circle() {
        // The handle of a quarter circle is 0.5523 radii: 0.39053 of its chord.
        let r = 0.3;
        let anchors = vec![
            [0.5 + r, 0.5],
            [0.5, 0.5 + r],
            [0.5 - r, 0.5],
            [0.5, 0.5 - r],
        ];
        let outline = Outline::Bezier {
            anchors,
            radius: 0.390_53,
            edginess: 0.0,
        };
        assert!((area(&outline) - PI * r * r).abs() < 4e-4);
    }

    #[test]
    fn ellipse_has_its_area() {
        let outline = Outline::Radial {
            centre: [0.7, 0.5],
            axes: [0.4, 0.2],
            angle: 0.6,
            waves: vec![],
        };
        assert!((area(&outline) - PI * 0.08).abs() < 3e-4);
    }

    #[test]
    fn straight_tube_is_a_capsule() {
        let branch = vec![[0.3, 0.4, 0.05], [0.6, 0.5, 0.05], [0.9, 0.6, 0.05]];
        let outline = Outline::Tubes {
            branches: vec![branch],
        };
        let length = 2.0 * (0.3_f32 * 0.3 + 0.01).sqrt();
        let expected = length * 0.1 + PI * 0.05 * 0.05;
        assert!(
            (area(&outline) - expected).abs() < 5e-4,
            "{}",
            area(&outline)
        );
    }
    #[test]
    fn crossing_branches_are_united() {
        let across = vec![[0.3, 0.5, 0.05], [1.2, 0.5, 0.05]];
        let down = vec![[0.7, 0.1, 0.05], [0.7, 0.9, 0.05]];
        let one = |branches: Vec<_>| area(&Outline::Tubes { branches });
        let sum = one(vec![across.clone()]) + one(vec![down.clone()]);
        assert!((one(vec![across, down]) - (sum - 0.01)).abs() < 2e-4);
    }
}
