//! How contours show: blur that changes around a structure, missing parts, rims, gaps to neighbours.
//!
//! All of it acts on coverage; labels have the contour itself. An uneven blur is a mixture of two, with
//! weights that change linearly across the structure. A missing part is a blurred stroke along the
//! contour that is cut out of the coverage, so that the structure fades into what lies below.

use std::borrow::Cow;

use synthfm_image::Size;

use crate::blur::{self, Plane};
use crate::coverage::{self, Filler, Layer};
use crate::params::{EdgeParams, FadeParams, Outline, RimParams, Vec2};

/// Half width of the stroke along a missing part, and its blur, as shares of the depth: on the contour
/// the coverage that remains is `1 - erf(0.6 / (0.25 sqrt 2))`, under 2 %.
const STROKE: Vec2 = [0.6, 0.25];

/// Most knots of that stroke.
const STROKE_KNOTS: usize = 24;

/// Blurs below this many pixels do not show.
const LEAST_BLUR_PX: f32 = 0.05;

/// A contour in the image.
pub(crate) struct Contour<'a> {
    polygon_px: &'a [Vec2],
    unit_px: f32,
    image: Size,
}

impl<'a> Contour<'a> {
    pub(crate) fn new(polygon_px: &'a [Vec2], unit_px: f32, image: Size) -> Self {
        Self {
            polygon_px,
            unit_px,
            image,
        }
    }

    /// Coverage by the contour but for a band along its inside, with room for its blur; `None` outside
    /// the image.
    pub(crate) fn cover(&self, edge: &EdgeParams, inset: f32) -> Option<Layer> {
        let blur_px = edge.softness.abs().max(edge.far_softness.abs()) * self.unit_px;
        let mut layer = coverage::fill(self.polygon_px, margin(blur_px), self.image)?;
        let inset_px = inset.abs() * self.unit_px;
        if inset_px >= LEAST_BLUR_PX {
            let wall = self.around(inset_px)?;
            overlay(&mut layer, &wall, |value, wall| (value - wall).max(0.0));
        }
        Some(layer)
    }

    /// The coverage as it shows.
    pub(crate) fn alpha<'b>(&self, layer: &'b Layer, edge: &EdgeParams) -> Cow<'b, Layer> {
        let blurs_px = [edge.softness, edge.far_softness].map(|s| s * self.unit_px);
        let mut alpha = Cow::Borrowed(layer);
        if blurs_px.iter().any(|&blur_px| blur_px >= LEAST_BLUR_PX) {
            let near = softened(layer, blurs_px[0]);
            let even = (blurs_px[0] - blurs_px[1]).abs() < LEAST_BLUR_PX;
            alpha = Cow::Owned(if even {
                near
            } else {
                mixed(near, &softened(layer, blurs_px[1]), edge.direction)
            });
        }
        for fade in &edge.fades {
            if let Some(stroke) = self.stroke(fade) {
                overlay(alpha.to_mut(), &stroke, |value, stroke| {
                    value * (1.0 - stroke)
                });
            }
        }
        alpha
    }

    /// A blurred stroke along a part of the contour.
    fn stroke(&self, fade: &FadeParams) -> Option<Layer> {
        let count = self.polygon_px.len();
        let length = fade.length.clamp(0.0, 1.0) * count as f32;
        let start = fade.start.rem_euclid(1.0) * count as f32;
        let [half_width, blur] = STROKE.map(|share| share * fade.depth.abs());
        let knots = (length as usize + 1).clamp(2, STROKE_KNOTS);
        let knot = |k: usize| {
            let along = start + length * k as f32 / (knots - 1) as f32;
            let [x, y] = self.polygon_px[along as usize % count.max(1)];
            [
                (x + 0.5) / self.unit_px,
                (y + 0.5) / self.unit_px,
                half_width,
            ]
        };
        if count < 3 {
            return None;
        }
        let branches = vec![(0..knots).map(knot).collect()];
        let polygon = Outline::Tubes { branches }.polygon(self.unit_px);
        let blur_px = blur * self.unit_px;
        let layer = coverage::fill(&polygon, margin(blur_px), self.image)?;
        Some(softened(&layer, blur_px))
    }

    /// The band around the contour that keeps neighbours away, if any; the structure is painted over
    /// its inner half.
    pub(crate) fn clearance(&self, edge: &EdgeParams) -> Option<Layer> {
        let width_px = edge.clearance.abs() * self.unit_px;
        if width_px < LEAST_BLUR_PX {
            return None;
        }
        self.around(width_px)
    }

    /// The rim along the contour, weighted by direction and gaps.
    pub(crate) fn rim(&self, rim: &RimParams) -> Option<Layer> {
        let blur_px = rim.softness.abs() * self.unit_px;
        let (sin, cos) = libm::sincosf(rim.beam);
        let layer = self.band(rim.width * self.unit_px, blur_px, |share, normal| {
            let in_gap = |gap: &Vec2| (share - gap[0]).rem_euclid(1.0) < gap[1];
            if rim.gaps.iter().any(in_gap) {
                return 0.0;
            }
            let facing = normal[0] * cos + normal[1] * sin;
            1.0 - rim.directionality * (1.0 - facing * facing)
        })?;
        Some(softened(&layer, blur_px))
    }

    /// A band along the inside of the contour (outside for a negative width), with a weight that
    /// depends on the share of the contour and on its normal.
    fn band(
        &self,
        width_px: f32,
        blur_px: f32,
        weight: impl Fn(f32, Vec2) -> f32,
    ) -> Option<Layer> {
        let polygon = self.polygon_px;
        let count = polygon.len();
        let mut filler = Filler::around(polygon, margin(blur_px) + width_px.abs(), self.image)?;
        let edge = |i: usize| (polygon[i], polygon[(i + 1) % count]);
        let area = area(polygon);
        let inward = if area > 0.0 { width_px } else { -width_px };
        let inner = |i: usize| {
            let n = normal(polygon[(i + count - 1) % count], polygon[(i + 1) % count]);
            moved(polygon[i], n, inward)
        };
        for i in 0..count {
            let (from, to) = edge(i);
            let weight = weight(i as f32 / count as f32, normal(from, to)).clamp(0.0, 1.0);
            if weight > 0.0 {
                let quad = [from, to, inner((i + 1) % count), inner(i)];
                // The sign makes every quad wind alike, so that neighbours add up, not cancel.
                filler.add(&quad, weight * area.signum());
            }
        }
        Some(filler.finish())
    }

    /// All points within a distance of the contour, on either side.
    fn around(&self, distance_px: f32) -> Option<Layer> {
        let polygon = self.polygon_px;
        let count = polygon.len();
        let mut filler = Filler::around(polygon, 1.0 + distance_px, self.image)?;
        let edge = |i: usize| (polygon[i % count], polygon[(i + 1) % count]);
        let mut before = normal(edge(count - 1).0, edge(count - 1).1);
        for i in 0..count {
            let (from, to) = edge(i);
            let n = normal(from, to);
            let fan = fan(before, n);
            for side in [-distance_px, distance_px] {
                let quad = [from, to, moved(to, n, side), moved(from, n, side)];
                filler.add(&quad, side.signum());
                // On the outer side of a bend the wedge fills a gap; on the inner one it is covered
                // twice, which counts once.
                let mut wedge = vec![from];
                wedge.extend(fan.iter().map(|&n| moved(from, n, side)));
                filler.add(&wedge, area(&wedge).signum());
            }
            before = n;
        }
        Some(filler.finish())
    }
}

/// Twice the signed area of a polygon.
fn area(polygon: &[Vec2]) -> f32 {
    let count = polygon.len();
    let edge = |i: usize| (polygon[i], polygon[(i + 1) % count]);
    let cross = |(a, b): (Vec2, Vec2)| a[0] * b[1] - b[0] * a[1];
    (0..count).map(edge).map(cross).sum()
}

/// The unit normal of a line, to the left of its direction turned by the image's axes.
fn normal(from: Vec2, to: Vec2) -> Vec2 {
    let (dx, dy) = (to[0] - from[0], to[1] - from[1]);
    let length = (dx * dx + dy * dy).sqrt().max(1e-6);
    [-dy / length, dx / length]
}

fn moved(point: Vec2, direction: Vec2, length: f32) -> Vec2 {
    [
        point[0] + direction[0] * length,
        point[1] + direction[1] * length,
    ]
}

/// Directions between two normals: the two alone where the contour bends little, five at a corner.
fn fan(a: Vec2, b: Vec2) -> Vec<Vec2> {
    let between = |a: Vec2, b: Vec2| {
        let sum = [a[0] + b[0], a[1] + b[1]];
        let length = (sum[0] * sum[0] + sum[1] * sum[1]).sqrt();
        if length < 1e-3 {
            // A cusp: on in the direction of the edge that ends there.
            [a[1], -a[0]]
        } else {
            sum.map(|v| v / length)
        }
    };
    if a[0] * b[0] + a[1] * b[1] > 0.95 {
        return vec![a, b];
    }
    let middle = between(a, b);
    vec![a, between(a, middle), middle, between(middle, b), b]
}

/// Pixels that a blur reaches.
fn margin(blur_px: f32) -> f32 {
    3.0 * blur_px.clamp(0.0, 1e4) + 1.0
}

/// Multiplies a layer by its parent's coverage.
pub(crate) fn clip(layer: &mut Layer, parent: &Layer) {
    let width = layer.size.width;
    for (line, values) in layer.data.chunks_exact_mut(width.max(1)).enumerate() {
        let Some(cover) = parent.line(layer.row + line) else {
            values.fill(0.0);
            continue;
        };
        let left = parent.col.saturating_sub(layer.col).min(width);
        let skipped = layer.col.saturating_sub(parent.col).min(cover.len());
        let (before, rest) = values.split_at_mut(left);
        before.fill(0.0);
        let cover = &cover[skipped..];
        let shared = rest.len().min(cover.len());
        let (rest, after) = rest.split_at_mut(shared);
        rest.iter_mut().zip(cover).for_each(|(v, &c)| *v *= c);
        after.fill(0.0);
    }
}

/// Changes a layer where another one reaches it.
fn overlay(layer: &mut Layer, other: &Layer, change: impl Fn(f32, f32) -> f32) {
    let width = layer.size.width;
    for (line, values) in layer.data.chunks_exact_mut(width.max(1)).enumerate() {
        let Some(cover) = other.line(layer.row + line) else {
            continue;
        };
        let left = other.col.saturating_sub(layer.col).min(width);
        let skipped = layer.col.saturating_sub(other.col).min(cover.len());
        let pixels = values[left..].iter_mut().zip(&cover[skipped..]);
        pixels.for_each(|(value, &other)| *value = change(*value, other));
    }
}

fn softened(layer: &Layer, blur_px: f32) -> Layer {
    let mut soft = layer.clone();
    let width = soft.size.width;
    let mut plane = Plane {
        data: &mut soft.data,
        width,
    };
    blur::gaussian(&mut plane, [blur_px.abs(); 2]);
    soft
}

/// The first layer turns into the second along a direction.
fn mixed(mut near: Layer, far: &Layer, direction: f32) -> Layer {
    let (sin, cos) = libm::sincosf(direction);
    let Size { height, width } = near.size;
    let span = (cos.abs() * width as f32 + sin.abs() * height as f32).max(1.0);
    let (down, right) = (sin / span, cos / span);
    let lines = near.data.chunks_exact_mut(width.max(1));
    for (row, (line, far)) in lines.zip(far.data.chunks_exact(width.max(1))).enumerate() {
        let start = 0.5 + down * (row as f32 - 0.5 * height as f32) - 0.5 * right * width as f32;
        for (col, (value, &far)) in line.iter_mut().zip(far).enumerate() {
            let share = (start + right * col as f32).clamp(0.0, 1.0);
            *value += (far - *value) * share;
        }
    }
    near
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: Size = Size::new(120, 150);

    /// A square from (30, 30) to (90, 90) in pixels with a point every pixel, from the top-left corner
    /// along the top; its top side is the first quarter of the contour.
    fn square() -> Vec<Vec2> {
        let corners = [[30.0, 30.0], [90.0, 30.0], [90.0, 90.0], [30.0, 90.0]];
        let side = |k: usize| {
            let (from, to): (Vec2, Vec2) = (corners[k], corners[(k + 1) % 4]);
            (0..60).map(move |i| {
                let share = i as f32 / 60.0;
                [
                    from[0] + (to[0] - from[0]) * share,
                    from[1] + (to[1] - from[1]) * share,
                ]
            })
        };
        (0..4).flat_map(side).collect()
    }

    fn alpha(edge: &EdgeParams) -> Layer {
        let polygon = square();
        let contour = Contour::new(&polygon, 100.0, SIZE);
        let layer = contour.cover(edge, 0.0).unwrap();
        contour.alpha(&layer, edge).into_owned()
    }

    /// The step across the top, bottom, left and right side, two pixels to either side of it.
    fn steps(alpha: &Layer) -> [f32; 4] {
        let step = |inside: (usize, usize), outside: (usize, usize)| {
            alpha.at(inside.0, inside.1) - alpha.at(outside.0, outside.1)
        };
        [
            step((32, 60), (28, 60)),
            step((88, 60), (92, 60)),
            step((60, 32), (60, 28)),
            step((60, 88), (60, 92)),
        ]
    }

    #[test]
    fn a_plain_edge_is_the_coverage() {
        let edge = EdgeParams::default();
        let polygon = square();
        let contour = Contour::new(&polygon, 100.0, SIZE);
        let layer = contour.cover(&edge, 0.0).unwrap();
        assert!(matches!(contour.alpha(&layer, &edge), Cow::Borrowed(_)));
        assert!(steps(&layer).iter().all(|step| (step - 1.0).abs() < 1e-6));
    }

    #[test]
    fn a_missing_part_has_no_edge_there_and_one_elsewhere() {
        let fade = FadeParams {
            start: 0.0,
            length: 0.25,
            depth: 0.2,
        };
        let edge = EdgeParams {
            fades: vec![fade],
            ..EdgeParams::default()
        };
        let alpha = alpha(&edge);
        let [top, bottom, left, right] = steps(&alpha);
        assert!(top < 0.05, "{top}");
        assert!(bottom.min(left).min(right) > 0.99);
        // It comes back gradually: no step of a tenth between neighbours on the way in.
        let column: Vec<f32> = (30..75).map(|row| alpha.at(row, 60)).collect();
        assert!(
            column
                .windows(2)
                .all(|pair| (pair[1] - pair[0]).abs() < 0.1)
        );
        assert!(column[44] > 0.99);
    }

    #[test]
    fn blur_changes_along_its_direction() {
        let edge = EdgeParams {
            softness: 0.0,
            far_softness: 0.05,
            direction: 0.0,
            ..EdgeParams::default()
        };
        let [top, bottom, left, right] = steps(&alpha(&edge));
        assert!(left > 0.8 && right < 0.5, "{left} {right}");
        assert!((top - bottom).abs() < 0.05 && top > right && top < left);
    }

    #[test]
    fn the_band_around_a_structure_has_its_width() {
        let polygon = square();
        let contour = Contour::new(&polygon, 100.0, SIZE);
        let edge = EdgeParams {
            clearance: 0.04,
            ..EdgeParams::default()
        };
        let band = contour.clearance(&edge).unwrap();
        let across: f32 = (0..60).map(|row| band.at(row, 60)).sum();
        assert!(
            (across - 8.0).abs() < 0.01,
            "four pixels on either side: {across}"
        );
        assert!(contour.clearance(&EdgeParams::default()).is_none());
    }

    #[test]
    fn an_inset_leaves_an_even_wall() {
        let polygon = square();
        let contour = Contour::new(&polygon, 100.0, SIZE);
        let layer = contour.cover(&EdgeParams::default(), 0.05).unwrap();
        let area: f32 = layer.data.iter().sum();
        // In the pixel at each inner corner the parts of two sides add up to a whole: a quarter is lost.
        assert!((area - (50.0 * 50.0 - 1.0)).abs() < 0.01, "{area}");
        let row: f32 = (0..150).map(|col| layer.at(60, col)).sum();
        assert!((row - 50.0).abs() < 0.01, "{row}");
    }

    #[test]
    fn a_band_turns_round_at_corners() {
        let polygon = square();
        let contour = Contour::new(&polygon, 100.0, SIZE);
        let edge = EdgeParams {
            clearance: 0.1,
            ..EdgeParams::default()
        };
        let area: f32 = contour.clearance(&edge).unwrap().data.iter().sum();
        // Outside four sides and four quarters of a disc, each cut into four triangles; inside what a
        // smaller square leaves.
        let corners = 4.0 * 4.0 * 50.0 * libm::sinf(std::f32::consts::FRAC_PI_8);
        let expected = 4.0 * 60.0 * 10.0 + corners + 60.0 * 60.0 - 40.0 * 40.0;
        assert!((area - expected).abs() < 2.0, "{area} {expected}");
    }

    #[test]
    fn clipping_leaves_what_both_cover() {
        let fill = |low: f32, high: f32| {
            let corners = [[low, low], [high, low], [high, high], [low, high]];
            coverage::fill(&corners, 0.0, SIZE).unwrap()
        };
        let parent = fill(20.0, 60.0);
        for (low, high) in [
            (10.0, 40.0),
            (30.0, 50.0),
            (40.0, 90.0),
            (10.0, 90.0),
            (70.0, 90.0),
        ] {
            let layer = fill(low, high);
            let mut clipped = layer.clone();
            clip(&mut clipped, &parent);
            for (row, col) in (0..120).flat_map(|row| (0..150).map(move |col| (row, col))) {
                let expected = layer.at(row, col) * parent.at(row, col);
                assert!((clipped.at(row, col) - expected).abs() < 1e-6);
            }
        }
    }
}
