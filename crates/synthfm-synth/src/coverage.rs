//! Filled polygons with exact area coverage per pixel.
//!
//! Signed areas of the edges are accumulated per pixel and summed along each row (as the `font-rs`
//! rasteriser does). Overlapping loops of one contour do not cancel: coverage is the modulus of the
//! winding-weighted area, cut at 1.

use synthfm_image::Size;

use crate::params::Vec2;
use crate::scratch::Buffer;
use crate::simd_dispatch;

/// A rectangle of the image with a value per pixel, usually coverage from 0 to 1.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Layer {
    pub(crate) row: usize,
    pub(crate) col: usize,
    pub(crate) size: Size,
    pub(crate) data: Buffer,
}

impl Layer {
    /// The rows of the layer, each with the index of its first pixel in an image of `width` columns.
    pub(crate) fn lines(&self, width: usize) -> impl Iterator<Item = (usize, &[f32])> {
        let start = move |line: usize| (self.row + line) * width + self.col;
        let lines = self.data.chunks_exact(self.size.width.max(1));
        lines
            .enumerate()
            .map(move |(line, data)| (start(line), data))
    }

    /// The values in a row of the image, if the layer reaches it.
    pub(crate) fn line(&self, row: usize) -> Option<&[f32]> {
        let start = row.checked_sub(self.row)? * self.size.width;
        self.data.get(start..start + self.size.width)
    }

    /// Value at a pixel of the image; 0 outside the layer.
    pub(crate) fn at(&self, row: usize, col: usize) -> f32 {
        let (line, column) = (row.wrapping_sub(self.row), col.wrapping_sub(self.col));
        if line < self.size.height && column < self.size.width {
            self.data[self.size.index(line, column)]
        } else {
            0.0
        }
    }
}

/// Collects polygons, each with a weight, and turns them into a layer.
pub(crate) struct Filler {
    row: usize,
    col: usize,
    size: Size,
    /// One column more than `size`: an edge writes into its pixel and the next.
    areas: Buffer,
}

impl Filler {
    /// A filler for the part of the image that holds `points_px` with `margin` pixels around, or
    /// `None` if they lie outside the image.
    pub(crate) fn around(points_px: &[Vec2], margin: f32, image: Size) -> Option<Self> {
        let (mut low, mut high) = ([f32::MAX; 2], [f32::MIN; 2]);
        for point in points_px {
            for axis in 0..2 {
                low[axis] = low[axis].min(point[axis]);
                high[axis] = high[axis].max(point[axis]);
            }
        }
        let first = |v: f32| (v - margin).floor().max(0.0);
        let last = |v: f32, length: usize| (v + margin).ceil().min(length as f32 - 1.0);
        let (col, row) = (first(low[0]), first(low[1]));
        let (right, bottom) = (last(high[0], image.width), last(high[1], image.height));
        // NaN compares false: such a contour is not drawn.
        if !(right >= col && bottom >= row) {
            return None;
        }
        let size = Size::new((bottom - row) as usize + 1, (right - col) as usize + 1);
        Some(Self {
            row: row as usize,
            col: col as usize,
            size,
            areas: Buffer::zeros(size.height * (size.width + 2)),
        })
    }

    /// Adds a closed polygon.
    pub(crate) fn add(&mut self, polygon_px: &[Vec2], weight: f32) {
        let Some(&last) = polygon_px.last() else {
            return;
        };
        let mut from = last;
        for &to in polygon_px {
            self.edge(from, to, weight);
            from = to;
        }
    }

    fn edge(&mut self, from: Vec2, to: Vec2, weight: f32) {
        let local = |p: Vec2| [p[0] + 0.5 - self.col as f32, p[1] + 0.5 - self.row as f32];
        let (from, to) = (local(from), local(to));
        let (weight, top, bottom) = if from[1] < to[1] {
            (weight, from, to)
        } else {
            (-weight, to, from)
        };
        let (start, end) = (top[1].max(0.0), bottom[1].min(self.size.height as f32));
        if start >= end {
            return;
        }
        let slope = (bottom[0] - top[0]) / (bottom[1] - top[1]);
        let mut x = top[0] + (start - top[1]) * slope;
        for line in start as usize..end.ceil() as usize {
            let dy = (line as f32 + 1.0).min(end) - (line as f32).max(start);
            let next = x + slope * dy;
            self.cell(line, [x, next], dy * weight);
            x = next;
        }
    }

    /// Distributes the area to the right of a piece of edge within one row of pixels.
    fn cell(&mut self, line: usize, span: [f32; 2], area: f32) {
        let limit = self.size.width as f32;
        let (low, high) = (span[0].min(span[1]), span[0].max(span[1]));
        let (low, high) = (low.clamp(0.0, limit), high.clamp(0.0, limit));
        let start = line * (self.size.width + 2);
        let (first, past) = (low as usize, high.ceil() as usize);
        if past <= first + 1 {
            let right = area * (0.5 * (low + high) - first as f32);
            self.areas[start + first] += area - right;
            self.areas[start + first + 1] += right;
            return;
        }
        let per_px = area / (high - low);
        let mut done = 0.0;
        for col in first..past {
            // The edge crosses this pixel from `a` to `b`; what it has crossed before lies left of it.
            let (a, b) = (low.max(col as f32), high.min(col as f32 + 1.0));
            let part = (b - a) * per_px;
            let here = part * (col as f32 + 1.0 - 0.5 * (a + b));
            self.areas[start + col] += here + done;
            done = part - here;
        }
        self.areas[start + past] += done;
    }

    /// The layer of everything that was added.
    pub(crate) fn finish(self) -> Layer {
        let Self {
            row,
            col,
            size,
            areas,
        } = self;
        let mut data = Buffer::stale(size.area());
        let lines = areas.chunks_exact(size.width + 2);
        simd_dispatch::run(
            #[inline(always)]
            || {
                for (out, areas) in data.chunks_exact_mut(size.width).zip(lines) {
                    sum_row(&areas[..out.len()], out);
                }
            },
        );
        Layer {
            row,
            col,
            size,
            data,
        }
    }
}

/// The running sum of a row of areas as coverage. Between edges the areas are 0 and the sum stays.
#[inline(always)]
fn sum_row(areas: &[f32], out: &mut [f32]) {
    const RUN: usize = 16;
    let mut sum = 0.0_f32;
    for (areas, out) in areas.chunks(RUN).zip(out.chunks_mut(RUN)) {
        let mut any = 0;
        for area in areas {
            any |= area.to_bits();
        }
        if any == 0 {
            out.fill(snap(sum.abs().min(1.0)));
            continue;
        }
        for (value, &area) in out.iter_mut().zip(areas) {
            sum += area;
            *value = snap(sum.abs().min(1.0));
        }
    }
}

/// Rounding errors of the running sum must not leave traces far from an edge.
fn snap(value: f32) -> f32 {
    if value < 1e-4 {
        0.0
    } else if value > 1.0 - 1e-4 {
        1.0
    } else {
        value
    }
}

/// Fills one polygon.
pub(crate) fn fill(polygon_px: &[Vec2], margin: f32, image: Size) -> Option<Layer> {
    let mut filler = Filler::around(polygon_px, margin, image)?;
    filler.add(polygon_px, 1.0);
    Some(filler.finish())
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "the areas are exact in binary")]
mod tests {
    use super::*;

    const SIZE: Size = Size::new(20, 30);

    fn area(layer: &Layer) -> f32 {
        layer.data.iter().sum()
    }

    #[test]
    fn rectangle_covers_pixels_by_their_share() {
        // Pixel centres are whole numbers: x from 2 to 5.25 covers half of pixel 2, all of 3 and 4, and
        // three quarters of 5.
        let layer = fill(
            &[[2.0, 3.0], [5.25, 3.0], [5.25, 6.0], [2.0, 6.0]],
            0.0,
            SIZE,
        )
        .unwrap();
        let row: Vec<f32> = (1..8).map(|col| layer.at(4, col)).collect();
        assert_eq!(row, [0.0, 0.5, 1.0, 1.0, 0.75, 0.0, 0.0]);
        assert_eq!(layer.at(3, 3), 0.5);
        assert!((area(&layer) - 3.25 * 3.0).abs() < 1e-5);
    }

    #[test]
    fn flat_edges_keep_the_area() {
        let polygon = [[1.3, 2.1], [25.7, 5.4], [12.0, 17.9]];
        let layer = fill(&polygon, 2.0, SIZE).unwrap();
        let expected = 0.5 * ((25.7 - 1.3) * (17.9 - 2.1) - (12.0 - 1.3) * (5.4 - 2.1_f32));
        assert!(
            (area(&layer) - expected).abs() < 1e-2,
            "{} {expected}",
            area(&layer)
        );
    }

    #[test]
    fn direction_does_not_matter_and_outside_is_cut() {
        let polygon = [[-10.0, -10.0], [9.5, -10.0], [9.5, 9.5], [-10.0, 9.5]];
        let reversed: Vec<Vec2> = polygon.iter().rev().copied().collect();
        let layer = fill(&polygon, 0.0, SIZE).unwrap();
        assert_eq!(layer, fill(&reversed, 0.0, SIZE).unwrap());
        assert_eq!(area(&layer), 100.0);
        assert_eq!(
            fill(&[[40.0, 3.0], [50.0, 3.0], [45.0, 9.0]], 0.0, SIZE),
            None
        );
    }
}
