//! Closed contours around a mask, as radiotherapy's structure sets hold them.
//!
//! Contours run through the middle of every edge between a pixel inside and one outside (marching squares at one
//! half), so that filling them by their pixels' centres gives the mask back exactly, by the even-odd rule and by any
//! other. Pixels that touch at a corner only are apart. A hole is joined to the contour around it by a channel without
//! width (the standard's keyhole), which runs between rows of centres.

use crate::{Mask, Point2};

/// Way along each side of a pixel, clockwise from the top: rows, columns.
const AHEAD: [(isize, isize); 4] = [(0, 1), (1, 0), (0, -1), (-1, 0)];
/// Out of the pixel across that side.
const OUT: [(isize, isize); 4] = [(-1, 0), (0, 1), (1, 0), (0, -1)];

struct Sides<'a> {
    mask: &'a Mask,
    /// A bit per side that a contour has passed.
    passed: Vec<u8>,
}

type Pixel = (isize, isize);

impl Sides<'_> {
    fn inside(&self, (row, col): Pixel) -> bool {
        let size = self.mask.size();
        let (Ok(row), Ok(col)) = (usize::try_from(row), usize::try_from(col)) else {
            return false;
        };
        row < size.height && col < size.width && self.mask.at(row, col)
    }

    /// The side that follows around the mask.
    fn next(&self, pixel: Pixel, side: usize) -> (Pixel, usize) {
        let step = |(row, col): Pixel, (down, right): (isize, isize)| (row + down, col + right);
        let ahead = step(pixel, AHEAD[side]);
        if !self.inside(ahead) {
            return (pixel, (side + 1) % 4);
        }
        let across = step(ahead, OUT[side]);
        if self.inside(across) {
            (across, (side + 3) % 4)
        } else {
            (ahead, side)
        }
    }

    fn pass(&mut self, (row, col): Pixel, side: usize) -> bool {
        let index = self.mask.size().index(row as usize, col as usize);
        let known = self.passed[index] & 1 << side != 0;
        self.passed[index] |= 1 << side;
        known
    }

    fn trace(&mut self, start: Pixel) -> Vec<Point2> {
        let mut points = Vec::new();
        let (mut pixel, mut side) = (start, 0);
        while !self.pass(pixel, side) {
            let (down, right) = OUT[side];
            points.push(Point2::new(
                pixel.1 as f64 + 0.5 * right as f64,
                pixel.0 as f64 + 0.5 * down as f64,
            ));
            (pixel, side) = self.next(pixel, side);
        }
        without_middles(&points)
    }
}

/// A closed line, without its first point repeated at the end.
type Loop = Vec<Point2>;

/// Contours of a mask in pixels, one for each part, its holes joined to it.
pub(crate) fn contours(mask: &Mask) -> Vec<Loop> {
    let (mut parts, mut holes): (Vec<Loop>, Vec<Loop>) = outlines(mask)
        .into_iter()
        .partition(|line| area(line) > 0.0);
    // A hole's channel ends at a part, or at a hole that reaches higher and is joined already.
    for hole in &mut holes {
        let start = highest(hole);
        hole.rotate_left(start);
    }
    holes.sort_by(|a, b| (a[0].y.total_cmp(&b[0].y)).then(a[0].x.total_cmp(&b[0].x)));
    for hole in holes {
        join(&mut parts, &hole);
    }
    parts
}

/// Twice the signed area: positive where the inside lies to the right, as around parts.
fn area(line: &[Point2]) -> f64 {
    let next = line.iter().cycle().skip(1);
    line.iter()
        .zip(next)
        .map(|(a, b)| a.x * b.y - b.x * a.y)
        .sum()
}

/// Index of the highest point, the leftmost of several; it lies above a pixel, between rows of centres.
fn highest(line: &[Point2]) -> usize {
    let key = |n: &usize| (line[*n].y, line[*n].x);
    let lower = |a: &usize, b: &usize| {
        let (a, b) = (key(a), key(b));
        a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1))
    };
    (0..line.len()).min_by(lower).unwrap_or(0)
}

/// Joins a hole to what lies to the left of its first point.
fn join(parts: &mut [Loop], hole: &[Point2]) {
    let start = hole[0];
    let mut nearest: Option<(usize, usize, f64)> = None;
    for (part, line) in parts.iter().enumerate() {
        for (n, a) in line.iter().enumerate() {
            let b = &line[(n + 1) % line.len()];
            let hit = crossing(*a, *b, start);
            if let Some(x) = hit.filter(|&x| nearest.is_none_or(|(.., best)| x > best)) {
                nearest = Some((part, n, x));
            }
        }
    }
    let Some((part, n, x)) = nearest else {
        return;
    };
    let door = Point2::new(x, start.y);
    let line = &mut parts[part];
    let rest = line.split_off(n + 1);
    line.push(door);
    line.extend_from_slice(hole);
    line.extend([start, door]);
    line.extend(rest);
}

/// Where the segment from `a` to `b` meets the line to the left of `start`.
fn crossing(a: Point2, b: Point2, start: Point2) -> Option<f64> {
    let (low, high) = (a.y.min(b.y), a.y.max(b.y));
    if !(low..=high).contains(&start.y) {
        return None;
    }
    let x = if high > low {
        a.x + (start.y - a.y) / (b.y - a.y) * (b.x - a.x)
    } else {
        a.x.max(b.x)
    };
    (x < start.x).then_some(x)
}

/// All lines around the mask: parts with their inside to the right, holes with the mask to the right.
fn outlines(mask: &Mask) -> Vec<Loop> {
    let size = mask.size();
    let mut sides = Sides {
        mask,
        passed: vec![0; size.area()],
    };
    let mut all = Vec::new();
    for row in 0..size.height {
        for col in 0..size.width {
            let pixel = (row as isize, col as isize);
            let above = (pixel.0 - 1, pixel.1);
            // Every contour goes along the top of some pixel.
            let starts = mask.at(row, col)
                && !sides.inside(above)
                && sides.passed[size.index(row, col)] & 1 == 0;
            if starts {
                all.push(sides.trace(pixel));
            }
        }
    }
    all
}

/// Points in the middle of straight lines left out. Coordinates are halves: differences are exact.
fn without_middles(points: &[Point2]) -> Vec<Point2> {
    let count = points.len();
    let corner = |n: usize| {
        let (a, b, c) = (
            points[(n + count - 1) % count],
            points[n],
            points[(n + 1) % count],
        );
        let turn = (b.x - a.x) * (c.y - b.y) - (b.y - a.y) * (c.x - b.x);
        turn.abs() > 0.0
    };
    (0..count)
        .filter(|&n| corner(n))
        .map(|n| points[n])
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{arbitrary_mask, mask_of_text};

    /// How often the contours go around a pixel's centre, and how many edges lie to its right: by definition.
    fn winding(contours: &[Vec<Point2>], row: usize, col: usize) -> (i32, usize) {
        // Slightly off the centre, where no corner lies.
        let (x, y) = (col as f64, row as f64 + 1e-6);
        let (mut turns, mut crossings) = (0, 0);
        for points in contours {
            for (a, b) in points.iter().zip(points.iter().cycle().skip(1)) {
                let crosses = (a.y > y) != (b.y > y);
                if crosses && x < (b.x - a.x) * (y - a.y) / (b.y - a.y) + a.x {
                    turns += if b.y > a.y { 1 } else { -1 };
                    crossings += 1;
                }
            }
        }
        (turns, crossings)
    }

    /// Fills each contour by itself, by the even-odd and by the non-zero rule, and joins them.
    fn check_filled(mask: &Mask) {
        let contours = contours(mask);
        let size = mask.size();
        for row in 0..size.height {
            for col in 0..size.width {
                let want = mask.at(row, col);
                let fills = contours
                    .iter()
                    .map(|c| winding(std::slice::from_ref(c), row, col));
                let (even_odd, non_zero): (Vec<bool>, Vec<bool>) = fills
                    .map(|(turns, edges)| (edges % 2 == 1, turns != 0))
                    .unzip();
                assert_eq!(even_odd.iter().any(|&v| v), want, "{row}, {col}");
                assert_eq!(non_zero.iter().any(|&v| v), want, "{row}, {col}");
            }
        }
    }

    #[test]
    fn a_pixel_is_a_diamond_and_lines_have_no_middles() {
        let one = contours(&mask_of_text(&["...", ".#.", "..."]));
        let corners = [(1.0, 0.5), (1.5, 1.0), (1.0, 1.5), (0.5, 1.0)];
        assert_eq!(one, [corners.map(|(x, y)| Point2::new(x, y)).to_vec()]);
        let square = contours(&mask_of_text(&["####", "####", "####"]));
        assert_eq!((square.len(), square[0].len()), (1, 8));
        let ring = contours(&mask_of_text(&["###", "#.#", "###"]));
        // Eight corners, four of the hole, and the channel: its door twice, its end once more.
        assert_eq!(ring.iter().map(Vec::len).collect::<Vec<_>>(), [15]);
        assert!(contours(&mask_of_text(&["..."])).is_empty());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn filling_gives_the_mask_back(mask in arbitrary_mask(1..20, 1..25)) {
            check_filled(&mask);
        }
    }

    #[test]
    fn holes_beside_holes_and_islands_in_holes() {
        check_filled(&mask_of_text(&[
            "##########", //
            "#..##...##",
            "#..#..#..#",
            "##.#.###.#",
            "####..#..#",
            "#.#.#...##",
            "##########",
        ]));
    }
}
