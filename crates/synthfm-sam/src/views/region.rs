//! The region around a pixel that no edge of the image separates from it: geodesic distances (Criminisi et al. 2008) up to a
//! radius.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use synthfm_image::{RgbImage, Size};

/// Cost of a step along an axis; whole numbers, so that every machine finds the same region.
const STEP: u32 = 10;
const DIAGONAL_STEP: u32 = 14;
/// A difference of this many grey levels between neighbours costs as much as a step.
const LEVELS_PER_STEP: u32 = 12;

/// Indices of the pixels within `radius` of `from`, by geodesic distance in `picture` (Euclidean steps without one), that are
/// nearer to it than to any of `others`. Always holds `from`.
pub(super) fn region_around(
    picture: Option<&RgbImage>,
    size: Size,
    from: (usize, usize),
    radius: f64,
    others: &[(usize, usize)],
) -> Vec<usize> {
    let budget = (radius.max(0.0) * f64::from(STEP)) as u32;
    let reach = radius.max(0.0).ceil() as usize + 1;
    let (top, left) = (from.0.saturating_sub(reach), from.1.saturating_sub(reach));
    let rows = (from.0 + reach + 1).min(size.height) - top;
    let cols = (from.1 + reach + 1).min(size.width) - left;
    let mut cost = vec![u32::MAX; rows * cols];
    let start = (from.0 - top) * cols + from.1 - left;
    cost[start] = 0;
    let mut queue = BinaryHeap::from([Reverse((0_u32, start))]);
    while let Some(Reverse((so_far, at))) = queue.pop() {
        if so_far > cost[at] {
            continue;
        }
        let (row, col) = (at / cols, at % cols);
        for (next, step) in neighbours(row, col, rows, cols) {
            let pixel = |at: usize| (top + at / cols, left + at % cols);
            let edge = picture.map_or(0, |p| difference(p, pixel(at), pixel(next)));
            let total = so_far + step + edge * STEP / LEVELS_PER_STEP;
            if total <= budget && total < cost[next] {
                cost[next] = total;
                queue.push(Reverse((total, next)));
            }
        }
    }
    let squared = |a: (usize, usize), b: (usize, usize)| {
        let (y, x) = (a.0.abs_diff(b.0), a.1.abs_diff(b.1));
        y * y + x * x
    };
    let found = cost.iter().enumerate().filter(|&(_, &cost)| cost <= budget);
    let pixels = found.map(|(at, _)| (top + at / cols, left + at % cols));
    let own = pixels.filter(|&p| {
        others
            .iter()
            .all(|&other| squared(p, from) < squared(p, other))
    });
    own.map(|(row, col)| size.index(row, col)).collect()
}

/// The eight neighbours inside, with their steps.
fn neighbours(
    row: usize,
    col: usize,
    rows: usize,
    cols: usize,
) -> impl Iterator<Item = (usize, u32)> {
    let offsets = (-1_isize..=1).flat_map(|dy| (-1_isize..=1).map(move |dx| (dy, dx)));
    offsets.filter_map(move |(dy, dx)| {
        let y = row.checked_add_signed(dy).filter(|&y| y < rows)?;
        let x = col.checked_add_signed(dx).filter(|&x| x < cols)?;
        let step = match (dy, dx) {
            (0, 0) => return None,
            (0, _) | (_, 0) => STEP,
            _ => DIAGONAL_STEP,
        };
        Some((y * cols + x, step))
    })
}

/// The largest difference of a channel.
fn difference(picture: &RgbImage, a: (usize, usize), b: (usize, usize)) -> u32 {
    let size = picture.size();
    let pixel = |(row, col)| &picture.data()[3 * size.index(row, col)..][..3];
    let channels = pixel(a).iter().zip(pixel(b));
    channels
        .map(|(a, b)| u32::from(a.abs_diff(*b)))
        .max()
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_stop_at_edges_at_the_radius_and_half_way_to_others() {
        // Columns 0 to 3 dark, 4 to 8 bright.
        let size = Size::new(5, 9);
        let bytes = (0..size.area()).flat_map(|i| [if i % 9 < 4 { 10 } else { 200 }; 3]);
        let picture = RgbImage::new(size, bytes.collect()).unwrap();
        let columns = |region: &[usize]| {
            let row: Vec<usize> = region
                .iter()
                .filter(|&&i| i / 9 == 2)
                .map(|i| i % 9)
                .collect();
            row
        };
        let around = |picture, radius, others: &[_]| {
            columns(&region_around(picture, size, (2, 2), radius, others))
        };
        assert_eq!(around(None, 3.0, &[]), [0, 1, 2, 3, 4, 5]);
        assert_eq!(around(Some(&picture), 3.0, &[]), [0, 1, 2, 3]);
        assert_eq!(around(None, 3.0, &[(2, 4)]), [0, 1, 2]);
        assert_eq!(around(None, 0.0, &[(2, 3)]), [2]);
        // A diagonal step is 1.4: at radius 1 the region is a cross.
        assert_eq!(
            region_around(None, size, (2, 2), 1.0, &[]),
            [11, 19, 20, 21, 29]
        );
    }
}
