//! Closed contours around a mask, as radiotherapy's structure sets hold them.
//!
//! Contours run through the middle of every edge between a pixel inside and one outside (marching squares at one
//! half), so that testing the pixels' centres by the even-odd rule gives the mask back exactly. Pixels that touch at a
//! corner only are apart; holes are contours of their own.

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

/// Contours of a mask in pixels, each with at least four corners and not closed by a repeated point.
pub(crate) fn contours(mask: &Mask) -> Vec<Vec<Point2>> {
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
    use crate::Size;
    use crate::testing::{arbitrary_mask, mask_of_text};

    /// Even-odd rule at the pixels' centres, written from its definition.
    fn filled(contours: &[Vec<Point2>], size: Size) -> Mask {
        let mut mask = Mask::zeros(size);
        for row in 0..size.height {
            // Slightly off the centre, where no corner lies.
            let y = row as f64 + 1e-6;
            for col in 0..size.width {
                let x = col as f64;
                let crossings = contours.iter().flat_map(|points| {
                    points
                        .iter()
                        .zip(points.iter().cycle().skip(1))
                        .filter(|(a, b)| {
                            (a.y > y) != (b.y > y)
                                && x < (b.x - a.x) * (y - a.y) / (b.y - a.y) + a.x
                        })
                });
                mask.data_mut()[size.index(row, col)] = crossings.count() % 2 == 1;
            }
        }
        mask
    }

    #[test]
    fn a_pixel_is_a_diamond_and_lines_have_no_middles() {
        let one = contours(&mask_of_text(&["...", ".#.", "..."]));
        let corners = [(1.0, 0.5), (1.5, 1.0), (1.0, 1.5), (0.5, 1.0)];
        assert_eq!(one, [corners.map(|(x, y)| Point2::new(x, y)).to_vec()]);
        let square = contours(&mask_of_text(&["####", "####", "####"]));
        assert_eq!((square.len(), square[0].len()), (1, 8));
        let ring = contours(&mask_of_text(&["###", "#.#", "###"]));
        assert_eq!(ring.iter().map(Vec::len).collect::<Vec<_>>(), [8, 4]);
        assert!(contours(&mask_of_text(&["..."])).is_empty());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn filling_gives_the_mask_back(mask in arbitrary_mask(1..20, 1..25)) {
            prop_assert_eq!(filled(&contours(&mask), mask.size()), mask);
        }
    }
}
