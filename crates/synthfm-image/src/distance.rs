//! Exact Euclidean distance transforms of binary masks.
//!
//! One pass per axis; each pass after the first takes the lower envelope of parabolas (Felzenszwalb
//! and Huttenlocher, "Distance Transforms of Sampled Functions", Theory of Computing 2012). Differs:
//! any spacing per axis, and up to three axes.

use crate::crop::{crop, union_box};
use crate::{Mask, Size};

/// The assumption about pixels beyond the edge of the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outside {
    /// Background: a foreground pixel on the edge of the image has distance 1.
    Background,
    /// Unknown: only pixels of the image count, so a structure that the image cuts is not thinner
    /// for it.
    Unknown,
}

/// Distance in pixels from the centre of each foreground pixel to the centre of the nearest
/// background pixel; 0 on the background.
///
/// Where there is no background at all (full mask, [`Outside::Unknown`]) it is infinite.
pub fn distance_transform(mask: &Mask, outside: Outside) -> Vec<f32> {
    let Size { height, width } = mask.size();
    let shape = [1, height, width];
    // The nearest background of a foreground pixel is at most one pixel outside their box.
    let (first, end) = union_box(mask.data(), mask.data(), shape);
    let start = [0, first[1].saturating_sub(1), first[2].saturating_sub(1)];
    let end = [end[0], (end[1] + 1).min(height), (end[2] + 1).min(width)];
    let cut_shape = [0, 1, 2].map(|axis| end[axis] - start[axis]);
    let background: Vec<bool> = crop(mask.data(), shape, start, end)
        .iter()
        .map(|&v| !v)
        .collect();
    let squared = squared_distance_to(&background, cut_shape, [1.0; 3]);
    let mut distance = vec![0.0; mask.size().area()];
    for (line, row) in squared.chunks_exact(cut_shape[2].max(1)).zip(start[1]..) {
        let at = mask.size().index(row, start[2]);
        for (out, value) in distance[at..].iter_mut().zip(line) {
            *out = value.sqrt() as f32;
        }
    }
    if outside == Outside::Background {
        limit_by_edge(&mut distance, mask.size());
    }
    distance
}

/// The nearest pixel outside the image is always straight across its nearest edge.
fn limit_by_edge(distance: &mut [f32], size: Size) {
    let Size { height, width } = size;
    for (row, line) in distance.chunks_exact_mut(width.max(1)).enumerate() {
        let to_row_edge = (row + 1).min(height - row);
        for (col, value) in line.iter_mut().enumerate() {
            let to_edge = to_row_edge.min(col + 1).min(width - col);
            *value = value.min(to_edge as f32);
        }
    }
}

/// Distance in pixels from the centre of every pixel to the centre of the nearest foreground pixel;
/// 0 on the foreground, infinite if there is none.
pub fn distance_to(mask: &Mask) -> Vec<f32> {
    let Size { height, width } = mask.size();
    squared_distance_to(mask.data(), [1, height, width], [1.0; 3])
        .iter()
        .map(|&v| v.sqrt() as f32)
        .collect()
}

/// Foreground pixel farthest from the background as `(row, col)`, the first in raster order of
/// equals; outside the image counts as background. `None` if the mask is empty.
pub fn deepest_pixel(mask: &Mask) -> Option<(usize, usize)> {
    let width = mask.size().width;
    let mut best = (0.0, None);
    for (index, depth) in distance_transform(mask, Outside::Background)
        .into_iter()
        .enumerate()
    {
        if depth > best.0 {
            best = (depth, Some((index / width, index % width)));
        }
    }
    best.1
}

/// Squared distance of every element to the nearest `true` one, in the unit of `spacing`; infinite
/// if there is none. Axes are ordered `[plane, row, column]`, the last one contiguous.
pub(crate) fn squared_distance_to(
    sites: &[bool],
    shape: [usize; 3],
    spacing: [f64; 3],
) -> Vec<f64> {
    debug_assert_eq!(sites.len(), shape.iter().product::<usize>());
    let mut squared = vec![f64::INFINITY; sites.len()];
    let width = shape[2].max(1);
    for (line, values) in sites.chunks(width).zip(squared.chunks_mut(width)) {
        scan_line(line, values, spacing[2]);
    }
    let (rows, planes) = (
        [shape[0], shape[1], shape[2]],
        [1, shape[0], shape[1] * shape[2]],
    );
    lower_axis(&mut squared, rows, spacing[1]);
    lower_axis(&mut squared, planes, spacing[0]);
    squared
}

/// Squared distance to the nearest site of the same line: one scan per direction.
fn scan_line(sites: &[bool], squared: &mut [f64], spacing: f64) {
    let mut last = None;
    for (index, value) in squared.iter_mut().enumerate() {
        last = if sites[index] { Some(index) } else { last };
        if let Some(site) = last {
            *value = ((index - site) as f64 * spacing).powi(2);
        }
    }
    let mut next = None;
    for (index, value) in squared.iter_mut().enumerate().rev() {
        next = if sites[index] { Some(index) } else { next };
        if let Some(site) = next {
            *value = value.min(((site - index) as f64 * spacing).powi(2));
        }
    }
}

/// Lines taken together, so that a strided axis is read one cache line at a time.
const LANES: usize = 8;

/// Lower envelope along the middle axis of `[outer, n, inner]`.
fn lower_axis(values: &mut [f64], [_, n, inner]: [usize; 3], spacing: f64) {
    if n < 2 || inner == 0 {
        return;
    }
    let mut lines = vec![0.0; LANES * n];
    let mut envelope = Envelope::new(n, spacing);
    for block in values.chunks_exact_mut(n * inner) {
        for start in (0..inner).step_by(LANES) {
            let lanes = LANES.min(inner - start);
            for (index, row) in block.chunks_exact(inner).enumerate() {
                for (lane, &value) in row[start..start + lanes].iter().enumerate() {
                    lines[lane * n + index] = value;
                }
            }
            for line in lines.chunks_exact_mut(n).take(lanes) {
                envelope.lower(line);
            }
            for (index, row) in block.chunks_exact_mut(inner).enumerate() {
                for (lane, value) in row[start..start + lanes].iter_mut().enumerate() {
                    *value = lines[lane * n + index];
                }
            }
        }
    }
}

/// Parabolas of a line that reach its lower envelope, in units of the line's index.
struct Envelope {
    square: f64,
    /// 1 / (2 n spacing²) for each difference n of indices: one division per n, not per crossing.
    /// A rounded crossing can only choose between parabolas that are equal there.
    reciprocals: Vec<f64>,
    parabolas: Vec<Parabola>,
}

/// The lowest parabola from `from` on.
#[derive(Debug, Clone, Copy)]
struct Parabola {
    vertex: usize,
    height: f64,
    from: f64,
}

impl Envelope {
    fn new(n: usize, spacing: f64) -> Self {
        let square = spacing * spacing;
        Self {
            square,
            reciprocals: (0..n).map(|n| 0.5 / (n as f64 * square)).collect(),
            parabolas: Vec::with_capacity(n),
        }
    }

    /// Replaces each `f(p)` by `min over q of (p - q)² spacing² + f(q)`.
    fn lower(&mut self, line: &mut [f64]) {
        self.build(line);
        let mut parabolas = self.parabolas.iter().peekable();
        let mut start = 0;
        while let Some(&Parabola { vertex, height, .. }) = parabolas.next() {
            let end = match parabolas.peek() {
                Some(next) => (next.from.ceil() as usize).clamp(start, line.len()),
                None => line.len(),
            };
            for (value, index) in line[start..end].iter_mut().zip(start..) {
                let steps = index as f64 - vertex as f64;
                *value = steps * steps * self.square + height;
            }
            start = end;
        }
    }

    fn build(&mut self, line: &[f64]) {
        self.parabolas.clear();
        for (vertex, &height) in line.iter().enumerate() {
            if height.is_infinite() {
                continue;
            }
            let mut from = f64::NEG_INFINITY;
            while let Some(last) = self.parabolas.last() {
                // Where the parabola at `vertex` gets below the last one.
                from = 0.5 * (vertex + last.vertex) as f64
                    + (height - last.height) * self.reciprocals[vertex - last.vertex];
                if from > last.from {
                    break;
                }
                self.parabolas.pop();
                from = f64::NEG_INFINITY;
            }
            self.parabolas.push(Parabola {
                vertex,
                height,
                from,
            });
        }
    }
}

#[cfg(test)]
#[expect(
    clippy::float_cmp,
    reason = "distances between pixel centres are exact"
)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::arbitrary_mask;

    fn brute_force(sites: &[bool], shape: [usize; 3], spacing: [f64; 3]) -> Vec<f64> {
        let position = |i: usize| {
            let (plane, rest) = (i / (shape[1] * shape[2]), i % (shape[1] * shape[2]));
            [plane, rest / shape[2], rest % shape[2]]
        };
        let squared = |a: usize, b: usize| -> f64 {
            let (a, b) = (position(a), position(b));
            (0..3)
                .map(|d| (a[d].abs_diff(b[d]) as f64 * spacing[d]).powi(2))
                .sum()
        };
        (0..sites.len())
            .map(|i| {
                (0..sites.len())
                    .filter(|&j| sites[j])
                    .map(|j| squared(i, j))
                    .fold(f64::INFINITY, f64::min)
            })
            .collect()
    }

    #[test]
    fn hand_computed_row_and_corner() {
        let size = Size::new(3, 4);
        let mask = Mask::new(size, vec![true; 12]).unwrap();
        let inside = distance_transform(&mask, Outside::Background);
        assert_eq!(
            inside,
            [1., 1., 1., 1., 1., 2., 2., 1., 1., 1., 1., 1.].map(|v: f32| v)
        );
        assert!(
            distance_transform(&mask, Outside::Unknown)
                .iter()
                .all(|v| v.is_infinite())
        );
        let mut corner = Mask::zeros(size);
        corner.data_mut()[0] = true;
        assert_eq!(distance_to(&corner)[size.index(2, 3)], 13f32.sqrt());
        assert!(
            distance_to(&Mask::zeros(size))
                .iter()
                .all(|v| v.is_infinite())
        );
    }

    #[test]
    fn deepest_pixel_of_a_bar_is_its_first_middle() {
        let size = Size::new(7, 10);
        let mut mask = Mask::zeros(size);
        for row in 1..4 {
            mask.data_mut()[size.index(row, 2)..size.index(row, 8)].fill(true);
        }
        assert_eq!(deepest_pixel(&mask), Some((2, 3)));
        assert_eq!(deepest_pixel(&Mask::zeros(size)), None);
    }

    #[test]
    fn empty_sizes_do_not_panic() {
        for size in [Size::new(0, 0), Size::new(0, 5), Size::new(5, 0)] {
            let mask = Mask::zeros(size);
            assert!(distance_transform(&mask, Outside::Background).is_empty());
            assert!(distance_to(&mask).is_empty());
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn equals_brute_force_in_three_dimensions(
            shape in [1usize..5, 1usize..7, 1usize..12],
            spacing in [0.3f64..4.0, 0.3f64..4.0, 0.3f64..4.0],
            seed in prop::collection::vec(prop::bool::weighted(0.1), 5 * 7 * 12),
        ) {
            let sites = &seed[..shape.iter().product()];
            let got = squared_distance_to(sites, shape, spacing);
            for (got, want) in got.iter().zip(brute_force(sites, shape, spacing)) {
                prop_assert!(*got == want || (got - want).abs() < 1e-9 * want);
            }
        }

        #[test]
        fn outside_as_background_equals_padding(mask in arbitrary_mask(1..12, 1..12)) {
            let Size { height, width } = mask.size();
            let padded_size = Size::new(height + 2, width + 2);
            let mut padded = Mask::zeros(padded_size);
            for row in 0..height {
                for col in 0..width {
                    padded.data_mut()[padded_size.index(row + 1, col + 1)] = mask.at(row, col);
                }
            }
            let (got, want) = (
                distance_transform(&mask, Outside::Background),
                distance_transform(&padded, Outside::Unknown),
            );
            for row in 0..height {
                for col in 0..width {
                    prop_assert_eq!(
                        got[mask.size().index(row, col)],
                        want[padded_size.index(row + 1, col + 1)]
                    );
                }
            }
        }
    }
}
