//! Structures as signed distances: about how far a place lies outside of a surface, negative inside.

use super::column::Column;
use super::form::{Bumps, Form, Lobe, Vec3};
use super::grid::Tile;
use super::params::SolidParams;
use super::plane::{Rect, SlicePlane};
use crate::simd_dispatch;

/// Distance of what is nowhere near.
pub(super) const FAR: f32 = 1e4;

/// Most pieces that a tube between two knots is cut into.
const MAX_PIECES: usize = 12;

/// Length of such a piece in radii.
const PIECE_RADII: f32 = 1.0;

/// A structure that is ready to be drawn.
#[derive(Debug, Clone)]
pub(super) struct Solid {
    shape: Shape,
    bumps: Option<Bumps>,
    /// Box around it, before the warp.
    bounds: [[f32; 2]; 3],
}

#[derive(Debug, Clone)]
enum Shape {
    Lobes { lobes: Vec<Ellipsoid>, blend: f32 },
    Column(Box<Column>),
    Tubes(Vec<Cone>),
    Layer { normal: Vec3, offset: f32 },
    Inset { depth: f32 },
}

/// `|M (p - c)|` is 1 on the surface.
#[derive(Debug, Clone, Copy)]
struct Ellipsoid {
    centre: Vec3,
    /// Rows: half axes over their squared lengths.
    rows: [Vec3; 3],
    /// One over the squared lengths of the half axes.
    squares: Vec3,
    carve: bool,
}

/// A piece of a tube: its ends with their radii.
#[derive(Debug, Clone, Copy)]
struct Cone {
    from: [f32; 4],
    to: [f32; 4],
    bounds: [[f32; 2]; 3],
}

impl Ellipsoid {
    fn new(lobe: &Lobe) -> Self {
        let squares = lobe.axes.map(|v| 1.0 / dot(v, v));
        let row = |k: usize| lobe.axes[k].map(|c| c * squares[k]);
        Self {
            centre: lobe.centre,
            rows: [row(0), row(1), row(2)],
            squares,
            carve: lobe.carve,
        }
    }

    fn bounds(lobe: &Lobe) -> [[f32; 2]; 3] {
        [0, 1, 2].map(|k: usize| {
            let reach = lobe.axes.iter().map(|v| v[k] * v[k]).sum::<f32>().sqrt();
            [lobe.centre[k] - reach, lobe.centre[k] + reach]
        })
    }

    /// To first order the distance: `q (q - 1) / |M^T M (p - c)|` with `q = |M (p - c)|`.
    #[inline(always)]
    fn distance(&self, place: Vec3) -> f32 {
        let p = [
            place[0] - self.centre[0],
            place[1] - self.centre[1],
            place[2] - self.centre[2],
        ];
        let q = [
            dot(self.rows[0], p),
            dot(self.rows[1], p),
            dot(self.rows[2], p),
        ];
        let [a, b, c] = [q[0] * q[0], q[1] * q[1], q[2] * q[2]];
        let square = (a + b + c) + 1e-12;
        let slope = (a * self.squares[0] + b * self.squares[1] + c * self.squares[2]) + 1e-12;
        let q = square.sqrt();
        q * (q - 1.0) / slope.sqrt()
    }
}

#[inline(always)]
fn dot(a: Vec3, b: Vec3) -> f32 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

impl Cone {
    fn new(from: [f32; 4], to: [f32; 4]) -> Self {
        let bounds = [0, 1, 2].map(|k: usize| {
            let low = (from[k] - from[3]).min(to[k] - to[3]);
            let high = (from[k] + from[3]).max(to[k] + to[3]);
            [low, high]
        });
        Self { from, to, bounds }
    }

    #[inline(always)]
    fn distance(&self, place: Vec3) -> f32 {
        let from = [self.from[0], self.from[1], self.from[2]];
        let axis = [
            self.to[0] - from[0],
            self.to[1] - from[1],
            self.to[2] - from[2],
        ];
        let p = [place[0] - from[0], place[1] - from[1], place[2] - from[2]];
        let t = dot(p, axis) / (dot(axis, axis) + 1e-12);
        let t = if t > 0.0 { t } else { 0.0 };
        let t = if t < 1.0 { t } else { 1.0 };
        let off = [p[0] - t * axis[0], p[1] - t * axis[1], p[2] - t * axis[2]];
        dot(off, off).sqrt() - (self.from[3] + (self.to[3] - self.from[3]) * t)
    }
}

/// Pieces of a Catmull-Rom spline through the knots of one branch.
fn pieces(knots: &[[f32; 4]], cones: &mut Vec<Cone>) {
    let Some(last) = knots.len().checked_sub(1) else {
        return;
    };
    if last == 0 {
        cones.push(Cone::new(knots[0], knots[0]));
    }
    for i in 0..last {
        let (p0, p1) = (knots[i.saturating_sub(1)], knots[i]);
        let (p2, p3) = (knots[i + 1], knots[(i + 2).min(last)]);
        let span = [p2[0] - p1[0], p2[1] - p1[1], p2[2] - p1[2]];
        let radius = p1[3].max(p2[3]).max(1e-4);
        let length = dot(span, span).sqrt();
        let count = ((length / (PIECE_RADII * radius)).ceil() as usize).clamp(1, MAX_PIECES);
        let at = |t: f32| {
            let (t2, t3) = (t * t, t * t * t);
            let mut point = [0.0; 4];
            for (k, value) in point.iter_mut().enumerate().take(3) {
                *value = 0.5
                    * ((2.0 * p1[k] + (p2[k] - p0[k]) * t)
                        + (2.0 * p0[k] - 5.0 * p1[k] + 4.0 * p2[k] - p3[k]) * t2
                        + (3.0 * (p1[k] - p2[k]) + p3[k] - p0[k]) * t3);
            }
            point[3] = p1[3] + (p2[3] - p1[3]) * t;
            point
        };
        let mut from = at(0.0);
        for k in 1..=count {
            let to = at(k as f32 / count as f32);
            cones.push(Cone::new(from, to));
            from = to;
        }
    }
}

/// Smallest box around all of them; an empty one reaches no plane.
fn hull(boxes: impl Iterator<Item = [[f32; 2]; 3]>) -> [[f32; 2]; 3] {
    boxes.fold([[f32::MAX, f32::MIN]; 3], |hull, bounds| {
        [0, 1, 2].map(|k: usize| [hull[k][0].min(bounds[k][0]), hull[k][1].max(bounds[k][1])])
    })
}

const EVERYWHERE: [[f32; 2]; 3] = [[-FAR, FAR]; 3];

impl Solid {
    /// The structure of a validated recipe; `parent` is the box around its parent.
    pub(super) fn new(params: &SolidParams, parent: Option<[[f32; 2]; 3]>) -> Self {
        let (shape, bounds) = match &params.form {
            Form::Lobes { lobes, blend } => {
                let own = lobes.iter().filter(|lobe| !lobe.carve);
                let bounds = hull(own.map(Ellipsoid::bounds));
                let bounds = bounds.map(|[low, high]| [low - blend.abs(), high + blend.abs()]);
                let lobes = lobes.iter().map(Ellipsoid::new).collect();
                let blend = blend.max(0.0);
                (Shape::Lobes { lobes, blend }, bounds)
            }
            Form::Column { axis, sections } => {
                let column = Column::new(*axis, sections);
                let mut bounds = [[0.0; 2]; 3];
                bounds[column.axes[0]] = column.ends;
                bounds[column.axes[1]] = column.across[0];
                bounds[column.axes[2]] = column.across[1];
                (Shape::Column(Box::new(column)), bounds)
            }
            Form::Tubes { branches } => {
                let mut cones = Vec::new();
                for branch in branches {
                    pieces(branch, &mut cones);
                }
                let bounds = hull(cones.iter().map(|cone| cone.bounds));
                (Shape::Tubes(cones), bounds)
            }
            Form::Layer { normal, offset } => {
                let (normal, offset) = (*normal, *offset);
                (Shape::Layer { normal, offset }, EVERYWHERE)
            }
            Form::Inset { depth } => {
                let depth = *depth;
                (Shape::Inset { depth }, parent.unwrap_or(EVERYWHERE))
            }
        };
        let margin = params.clearance.abs() + 2.0 * params.softness.abs();
        let bumps = params.bumps.filter(|b| b.amplitude.abs() > 0.0);
        let margin = margin + bumps.map_or(0.0, |b| 3.0 * b.amplitude.abs());
        Self {
            shape,
            bumps,
            bounds: bounds.map(|[low, high]| [low - margin, high + margin]),
        }
    }

    /// Box around it, before the warp.
    pub(super) const fn bounds(&self) -> [[f32; 2]; 3] {
        self.bounds
    }

    /// Writes the distances of the pixels of a rectangle; `parent` has those of its parent.
    pub(super) fn fill(
        &self,
        plane: &SlicePlane,
        rect: &Rect,
        parent: Option<&[f32]>,
        tile: &Tile,
        out: &mut [f32],
    ) {
        match &self.shape {
            Shape::Lobes { lobes, blend } => fill_lobes(lobes, *blend, plane, rect, out),
            Shape::Column(column) => each(plane, rect, out, |place| column.distance(place)),
            Shape::Tubes(cones) => fill_tubes(cones, plane, rect, out),
            Shape::Layer { normal, offset } => {
                each(plane, rect, out, |place| offset - dot(*normal, place));
            }
            Shape::Inset { depth } => {
                for row in rect.rows.clone() {
                    let line = plane.line(row, &rect.columns);
                    match parent {
                        Some(parent) => {
                            for (value, &d) in out[line.clone()].iter_mut().zip(&parent[line]) {
                                *value = d + depth;
                            }
                        }
                        None => out[line].fill(FAR),
                    }
                }
            }
        }
        if let Some(bumps) = &self.bumps {
            displace(bumps, plane, rect, tile, out);
        }
    }
}

/// Writes a function of the place.
fn each(plane: &SlicePlane, rect: &Rect, out: &mut [f32], distance: impl Fn(Vec3) -> f32) {
    for row in rect.rows.clone() {
        for at in plane.line(row, &rect.columns) {
            out[at] = distance(plane.at(at));
        }
    }
}

fn fill_lobes(lobes: &[Ellipsoid], blend: f32, plane: &SlicePlane, rect: &Rect, out: &mut [f32]) {
    let per_blend = 1.0 / blend.max(1e-6);
    let [xs, ys, zs] = &plane.places;
    for row in rect.rows.clone() {
        let line = plane.line(row, &rect.columns);
        let out = &mut out[line.clone()];
        out.fill(FAR);
        let (xs, ys, zs) = (&xs[line.clone()], &ys[line.clone()], &zs[line]);
        for lobe in lobes {
            let side = if lobe.carve { -1.0 } else { 1.0 };
            simd_dispatch::run(
                #[inline(always)]
                || {
                    let places = xs.iter().zip(ys).zip(zs);
                    for (value, ((&x, &y), &z)) in out.iter_mut().zip(places) {
                        // Carving is joining the outsides.
                        let a = side * *value;
                        let b = lobe.distance([x, y, z]);
                        let near = 1.0 - (a - b).abs() * per_blend;
                        let near = if near > 0.0 { near } else { 0.0 };
                        let least = if a < b { a } else { b };
                        *value = side * (least - near * near * blend * 0.25);
                    }
                },
            );
        }
    }
}

fn fill_tubes(cones: &[Cone], plane: &SlicePlane, rect: &Rect, out: &mut [f32]) {
    for row in rect.rows.clone() {
        out[plane.line(row, &rect.columns)].fill(FAR);
    }
    let [xs, ys, zs] = &plane.places;
    for cone in cones {
        // Twice the radius, so that the distance is right around the surface.
        let margin = 0.5 * cone.from[3].max(cone.to[3]) + plane.steps[0];
        let bounds = cone.bounds.map(|[low, high]| [low - margin, high + margin]);
        let Some(own) = plane.rect(bounds) else {
            continue;
        };
        let columns =
            own.columns.start.max(rect.columns.start)..own.columns.end.min(rect.columns.end);
        let rows = own.rows.start.max(rect.rows.start)..own.rows.end.min(rect.rows.end);
        if columns.is_empty() {
            continue;
        }
        simd_dispatch::run(
            #[inline(always)]
            || {
                for row in rows {
                    let line = plane.line(row, &columns);
                    let places = xs[line.clone()].iter().zip(&ys[line.clone()]);
                    let places = places.zip(&zs[line.clone()]);
                    for (value, ((&x, &y), &z)) in out[line].iter_mut().zip(places) {
                        let d = cone.distance([x, y, z]);
                        *value = if d < *value { d } else { *value };
                    }
                }
            },
        );
    }
}

/// Moves the surface along its normal by smooth noise.
fn displace(bumps: &Bumps, plane: &SlicePlane, rect: &Rect, tile: &Tile, out: &mut [f32]) {
    let per_unit = 1.0 / bumps.scale.abs().max(1e-3);
    let band = 4.0 * bumps.amplitude.abs() + 2.0 * plane.steps[0].max(plane.steps[1]);
    for row in rect.rows.clone() {
        for at in plane.line(row, &rect.columns) {
            if out[at].abs() > band {
                continue;
            }
            let place = plane.at(at);
            let cell =
                [0, 1, 2].map(|k: usize| (place[k] * per_unit + bumps.offset[k]).clamp(-1e6, 1e6));
            let noise = tile.at(cell).clamp(-3.0, 3.0);
            let noise = if bumps.folded {
                1.6 * noise.abs() - 1.3
            } else {
                noise
            };
            out[at] += bumps.amplitude * noise;
        }
    }
}
