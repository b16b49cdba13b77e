//! Random erosion of a label map: what lies within a radius of another region becomes a gap.
//!
//! The distance to the nearest pixel of another region is exact up to the radius: first along columns,
//! then along rows over all columns within the radius, as in a Euclidean distance transform, but for
//! all regions at once. The radius may vary over the image.

use synthfm_image::Size;

use crate::field::Grid;
use crate::label_map::GAP;
use crate::params::ErosionParams;
use crate::simd_dispatch;

/// A squared distance beyond the radius.
const FAR: u16 = u16::MAX;

/// Columns that are searched together, if there is a border near them.
const BLOCK: usize = 64;

/// Pixels per knot of the radius.
const PATCH: usize = 8;

/// Turns the pixels of the chosen regions that lie within the radius of another region into [`GAP`].
pub(crate) fn erode(labels: &mut [u16], erosion: &ErosionParams, size: Size) {
    let unit = size.height.min(size.width) as f32;
    let radius_px = (erosion.radius * unit).clamp(0.0, (unit / 4.0).min(255.0));
    if radius_px < 1.0 {
        return;
    }
    let chosen = |label: u16| {
        let list = erosion.regions.as_ref();
        list.is_none_or(|list| list.contains(&label))
    };
    let limits = limits(erosion, radius_px, size);
    let along_columns = column_distances(labels, size, radius_px as u16);
    let mut nearest = vec![FAR; size.width];
    for (row, line) in labels.chunks_exact_mut(size.width).enumerate() {
        let start = row * size.width;
        let distances = &along_columns[start..start + size.width];
        search_row(line, distances, radius_px as usize, &mut nearest);
        let limits = &limits.data[row / PATCH * limits.size.width..];
        for (col, (label, &square)) in line.iter_mut().zip(&nearest).enumerate() {
            let near = square != FAR && f32::from(square) <= limits[col / PATCH];
            if near && chosen(*label) {
                *label = GAP;
            }
        }
    }
}

/// Squares of the radius, by patch of the image.
fn limits(erosion: &ErosionParams, radius_px: f32, size: Size) -> Grid {
    let patches = Size::new(size.height.div_ceil(PATCH), size.width.div_ceil(PATCH));
    let mut limits = Grid::white(erosion.seed, Size::new(9, 9)).enlarged(patches);
    for value in &mut *limits.data {
        let keep = 1.0 - erosion.variation * (0.5 + 0.5 * *value).clamp(0.0, 1.0);
        *value = (radius_px * keep) * (radius_px * keep);
    }
    limits
}

/// Squared distance to the nearest pixel of another label in the same column, [`FAR`] beyond `reach`.
fn column_distances(labels: &[u16], size: Size, reach: u16) -> Vec<u16> {
    let width = size.width;
    // Steps to the nearest other label above; then the smaller of those above and below.
    let mut steps = vec![reach + 1; labels.len()];
    simd_dispatch::run(
        #[inline(always)]
        || {
            for row in 1..size.height {
                let (done, open) = steps.split_at_mut(row * width);
                let other = row - 1;
                let pair = [row, other].map(|row| &labels[row * width..(row + 1) * width]);
                advance(&mut open[..width], &done[other * width..], pair, reach);
            }
            let mut below = vec![reach + 1; width];
            for row in (0..size.height).rev() {
                let line = &mut steps[row * width..(row + 1) * width];
                if row + 1 < size.height {
                    let before = below.clone();
                    let pair = [row, row + 1].map(|row| &labels[row * width..(row + 1) * width]);
                    advance(&mut below, &before, pair, reach);
                }
                for (steps, &below) in line.iter_mut().zip(&below) {
                    let nearest = (*steps).min(below);
                    *steps = if nearest > reach {
                        FAR
                    } else {
                        nearest * nearest
                    };
                }
            }
        },
    );
    steps
}

/// Steps to the nearest other label, from those of the row before: one where the label changes.
#[inline(always)]
fn advance(steps: &mut [u16], before: &[u16], [labels, others]: [&[u16]; 2], reach: u16) {
    let labels = labels.iter().zip(others);
    for ((steps, &before), (label, other)) in steps.iter_mut().zip(before).zip(labels) {
        let further = (before + 1).min(reach + 1);
        *steps = if label == other { further } else { 1 };
    }
}

/// Squared distances to the nearest other label, up to `reach`, of one row.
fn search_row(labels: &[u16], along_columns: &[u16], reach: usize, nearest: &mut [u16]) {
    let width = labels.len();
    let at_border = |col: usize| {
        along_columns[col] != FAR || (col + 1 < width && labels[col] != labels[col + 1])
    };
    nearest.copy_from_slice(along_columns);
    for start in (0..width).step_by(BLOCK) {
        let end = (start + BLOCK).min(width);
        let around = start.saturating_sub(reach)..(end + reach).min(width);
        if !around.clone().any(at_border) {
            continue;
        }
        simd_dispatch::run(
            #[inline(always)]
            || {
                for distance in 1..=reach.min(width - 1) {
                    let square = (distance * distance) as u16;
                    let left = start.max(distance)..end;
                    if left.start < left.end {
                        let there = left.start - distance..left.end - distance;
                        let others = [&labels[there.clone()], &along_columns[there]];
                        improve(&mut nearest[left.clone()], &labels[left], others, square);
                    }
                    let right = start..end.min(width - distance);
                    if right.start < right.end {
                        let there = right.start + distance..right.end + distance;
                        let others = [&labels[there.clone()], &along_columns[there]];
                        improve(&mut nearest[right.clone()], &labels[right], others, square);
                    }
                }
            },
        );
    }
}

/// Takes what is nearer through pixels whose squared distance along the row is `square`: they
/// themselves if they carry another label, otherwise what is nearest in their column.
#[inline(always)]
fn improve(nearest: &mut [u16], labels: &[u16], [others, columns]: [&[u16]; 2], square: u16) {
    let there = others.iter().zip(columns);
    for ((nearest, label), (other, &column)) in nearest.iter_mut().zip(labels).zip(there) {
        let further = if label == other { column } else { 0 };
        *nearest = (*nearest).min(further.saturating_add(square));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: Size = Size::new(140, 201);

    /// Five regions of smooth borders, and single pixels of a sixth.
    fn map() -> Vec<u16> {
        let noise = Grid::white(3, Size::new(7, 9)).enlarged(SIZE);
        let label = |(at, value): (usize, &f32)| {
            let band = ((value + 1.5) * 1.4).clamp(0.0, 4.0) as u16;
            if at % 7919 == 5000 { 5 } else { band }
        };
        noise.data.iter().enumerate().map(label).collect()
    }

    fn erosion(radius: f32) -> ErosionParams {
        ErosionParams {
            radius,
            variation: 0.0,
            seed: 0,
            regions: None,
        }
    }

    /// Whether a pixel of another label lies within the radius.
    fn is_near(labels: &[u16], at: usize, radius: f32) -> bool {
        let (row, col) = (at / SIZE.width, at % SIZE.width);
        let reach = radius as usize;
        let rows = row.saturating_sub(reach)..(row + reach + 1).min(SIZE.height);
        let cols = col.saturating_sub(reach)..(col + reach + 1).min(SIZE.width);
        rows.into_iter().any(|r| {
            cols.clone().any(|c| {
                let (dy, dx) = (r.abs_diff(row), c.abs_diff(col));
                ((dy * dy + dx * dx) as f32) <= radius * radius
                    && labels[SIZE.index(r, c)] != labels[at]
            })
        })
    }

    #[test]
    fn it_removes_the_pixels_within_the_radius() {
        let before = map();
        for radius in [0.008_f32, 0.03, 0.1] {
            let mut after = before.clone();
            erode(&mut after, &erosion(radius), SIZE);
            for at in 0..SIZE.area() {
                let near = is_near(&before, at, radius * 140.0);
                assert_eq!(after[at] == GAP, near, "radius {radius}, pixel {at}");
                assert!(after[at] == GAP || after[at] == before[at]);
            }
            assert!(after.contains(&GAP));
        }
    }

    #[test]
    fn only_the_chosen_regions_shrink() {
        let before = map();
        let mut after = before.clone();
        let erosion = ErosionParams {
            variation: 0.7,
            regions: Some(vec![before[0]]),
            ..erosion(0.03)
        };
        erode(&mut after, &erosion, SIZE);
        assert_ne!(before, after);
        for (&was, &is) in before.iter().zip(&after) {
            assert!(is == was || (is == GAP && was == before[0]));
        }
    }

    #[test]
    fn a_varying_radius_lies_between_none_and_all_of_it() {
        let before = map();
        let mut after = before.clone();
        let erosion = ErosionParams {
            variation: 1.0,
            ..erosion(0.04)
        };
        erode(&mut after, &erosion, SIZE);
        let near = (0..SIZE.area()).filter(|&at| is_near(&before, at, 0.04 * 140.0));
        let (mut kept, mut gone) = (0, 0);
        for at in near {
            kept += usize::from(after[at] != GAP);
            gone += usize::from(after[at] == GAP);
        }
        assert!(kept > 500 && gone > 500, "{kept} {gone}");
    }

    #[test]
    fn a_map_of_one_region_stays() {
        let mut labels = vec![2; SIZE.area()];
        erode(&mut labels, &erosion(0.1), SIZE);
        assert!(labels.iter().all(|&label| label == 2));
    }
}
