//! Coarse sampling: thick voxels and small matrices, enlarged to the size of the image.
//!
//! The image is averaged over cells around knots that lie a voxel apart, corners on corners, and
//! interpolated between the knots; cubic interpolation is Catmull and Rom's (1974).

use serde::{Deserialize, Serialize};
use synthfm_image::Size;

use crate::Result;
use crate::check::within;
use crate::field::{self, Grid};
use crate::params::Vec2;
use crate::scratch::Buffer;

/// Coarse sampling and enlargement.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResampleParams {
    /// Distance of the samples, vertically and horizontally; below one pixel without effect.
    pub spacing: Vec2,
    /// How the image is enlarged again.
    pub interpolation: Interpolation,
}

/// How a coarse image is enlarged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Interpolation {
    /// The nearest sample: blocks.
    Nearest,
    /// Between neighbours.
    Linear,
    /// Catmull-Rom: overshoots a little.
    Cubic,
}

impl ResampleParams {
    pub(super) fn validate(&self) -> Result<()> {
        within("acquisition.resample", &self.spacing, 0.5, "at most 0.5")
    }
}

pub(super) fn apply(params: &ResampleParams, data: &mut [f32], size: Size, unit_px: f32) {
    let knots = |length: usize, spacing: f32| field::knot_count(length, spacing * unit_px);
    let grid = Size::new(
        knots(size.height, params.spacing[0]),
        knots(size.width, params.spacing[1]),
    );
    if grid == size {
        return;
    }
    let coarse = shrunk(data, size, grid);
    let fine = match params.interpolation {
        Interpolation::Nearest => nearest(&coarse, size),
        Interpolation::Linear => coarse.enlarged(size).data,
        Interpolation::Cubic => cubic(&coarse, size),
    };
    data.copy_from_slice(&fine);
}

/// First and last pixel of the cell around each of `few` knots on `many` pixels.
fn cells(few: usize, many: usize) -> Vec<(usize, usize)> {
    let step = (many - 1) as f32 / (few.max(2) - 1) as f32;
    let cell = |k: usize| {
        let (middle, half) = (k as f32 * step, (step - 1.0).max(0.0) / 2.0);
        let first = (middle - half + 0.5).max(0.0) as usize;
        let last = (middle + half + 0.5) as usize;
        (first.min(many - 1), last.clamp(first, many - 1))
    };
    (0..few).map(cell).collect()
}

/// Means over the cells around the knots of a coarse grid; knots lie as [`Grid::enlarged`] has them.
pub(super) fn shrunk(data: &[f32], size: Size, grid: Size) -> Grid {
    if grid == size {
        return Grid {
            size,
            data: data.into(),
        };
    }
    let columns = cells(grid.width, size.width);
    let mut out = Buffer::stale(grid.area());
    let mut line = vec![0.0; size.width];
    let rows = cells(grid.height, size.height);
    for ((top, bottom), out) in rows.into_iter().zip(out.chunks_exact_mut(grid.width)) {
        line.fill(0.0);
        for row in top..=bottom {
            let pixels = &data[row * size.width..(row + 1) * size.width];
            line.iter_mut().zip(pixels).for_each(|(sum, &v)| *sum += v);
        }
        for (value, &(left, right)) in out.iter_mut().zip(&columns) {
            let sum: f32 = line[left..=right].iter().sum();
            *value = sum / ((bottom - top + 1) * (right - left + 1)) as f32;
        }
    }
    Grid {
        size: grid,
        data: out,
    }
}

fn nearest(coarse: &Grid, size: Size) -> Buffer {
    let of =
        |few: usize, many: usize, at: usize| (at * (few - 1) * 2 + many - 1) / (2 * (many - 1));
    let Size { height, width } = coarse.size;
    let columns: Vec<usize> = (0..size.width).map(|c| of(width, size.width, c)).collect();
    let mut data = Buffer::stale(size.area());
    for (r, out) in data.chunks_exact_mut(size.width).enumerate() {
        let line = &coarse.data[of(height, size.height, r) * width..][..width];
        for (value, &col) in out.iter_mut().zip(&columns) {
            *value = line[col];
        }
    }
    data
}

/// The four knots around a position and their Catmull-Rom weights.
fn cubic_weights(few: usize, many: usize) -> Vec<([usize; 4], [f32; 4])> {
    let step = (few - 1) as f32 / (many - 1) as f32;
    let of = |at: usize| {
        let position = at as f32 * step;
        let knot = (position as usize).min(few - 1);
        let u = position - knot as f32;
        let (u2, u3) = (u * u, u * u * u);
        let weights = [
            0.5 * (2.0 * u2 - u3 - u),
            0.5 * (3.0 * u3 - 5.0 * u2 + 2.0),
            0.5 * (4.0 * u2 - 3.0 * u3 + u),
            0.5 * (u3 - u2),
        ];
        let knots = [knot.saturating_sub(1), knot, knot + 1, knot + 2];
        (knots.map(|k| k.min(few - 1)), weights)
    };
    (0..many).map(of).collect()
}

fn cubic(coarse: &Grid, size: Size) -> Buffer {
    let Size { height, width } = coarse.size;
    let columns = cubic_weights(width, size.width);
    let mut line = vec![0.0; width];
    let mut data = Buffer::stale(size.area());
    let rows = cubic_weights(height, size.height);
    for ((knots, weights), out) in rows.into_iter().zip(data.chunks_exact_mut(size.width)) {
        line.fill(0.0);
        for (knot, weight) in knots.into_iter().zip(weights) {
            let from = &coarse.data[knot * width..(knot + 1) * width];
            line.iter_mut()
                .zip(from)
                .for_each(|(v, &f)| *v += weight * f);
        }
        for (value, (knots, weights)) in out.iter_mut().zip(&columns) {
            *value = weights[0] * line[knots[0]]
                + weights[1] * line[knots[1]]
                + weights[2] * line[knots[2]]
                + weights[3] * line[knots[3]];
        }
    }
    data
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::acquisition::testing::{SIZE, UNIT_PX, pattern};

    const ALL: [Interpolation; 3] = [
        Interpolation::Nearest,
        Interpolation::Linear,
        Interpolation::Cubic,
    ];

    #[test]
    fn samples_closer_than_pixels_are_the_identity() {
        for interpolation in ALL {
            let mut data = pattern();
            let spacing = [0.0, 0.9 / UNIT_PX];
            let params = ResampleParams {
                spacing,
                interpolation,
            };
            apply(&params, &mut data, SIZE, UNIT_PX);
            assert_eq!(data, pattern());
        }
    }

    #[test]
    fn constants_and_slopes_are_kept() {
        for interpolation in ALL {
            let mut flat = vec![0.4; SIZE.area()];
            let slope = |at: usize| (at % 90) as f32 / 90.0 + (at / 90) as f32 / 61.0;
            let mut ramp: Vec<f32> = (0..SIZE.area()).map(slope).collect();
            let params = ResampleParams {
                spacing: [4.0 / UNIT_PX, 7.0 / UNIT_PX],
                interpolation,
            };
            apply(&params, &mut flat, SIZE, UNIT_PX);
            apply(&params, &mut ramp, SIZE, UNIT_PX);
            assert!(flat.iter().all(|v| (v - 0.4).abs() < 1e-5));
            // Blocks are off by up to half a cell; the others only through pixels that are no knots.
            let most = if interpolation == Interpolation::Nearest {
                0.09
            } else {
                0.02
            };
            let inner = |at: &usize| (10..80).contains(&(at % 90)) && (8..53).contains(&(at / 90));
            for at in (0..SIZE.area()).filter(inner) {
                assert!((ramp[at] - slope(at)).abs() < most, "{interpolation:?}");
            }
        }
    }
}
