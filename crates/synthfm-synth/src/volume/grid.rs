//! Smooth random fields on coarse 3-D grids.

use synthfm_image::Size;

use crate::field::Grid;
use crate::rng::RowRng;
use crate::scratch::Buffer;
use crate::spline;

/// Most cells along an axis.
const MAX_CELLS: f32 = 64.0;

/// Knots along one axis of a grid, and how they lie on the volume.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Axis {
    pub(super) knots: usize,
    /// Cells of the noise.
    cells: f32,
    /// Knots per unit of length.
    pub(super) per_unit: f32,
}

impl Axis {
    /// Knots for noise of this `scale` on `length` (both in units), `per_cell` to a cell.
    pub(super) fn new(length: f32, scale: f32, per_cell: f32) -> Self {
        let cells = (length / scale.max(1e-3)).clamp(0.25, MAX_CELLS);
        let knots = (cells * per_cell).ceil() as usize + 1;
        let knots = knots.max(2);
        Self {
            knots,
            cells,
            per_unit: (knots - 1) as f32 / length.max(1e-6),
        }
    }

    /// Axes of a grid on a volume; its noise is coarser than asked where the grid would have more than `budget` knots.
    pub(super) fn all(extent: [f32; 3], scale: f32, per_cell: f32, budget: usize) -> [Self; 3] {
        let mut scale = scale;
        loop {
            let axes = extent.map(|length| Self::new(length, scale, per_cell));
            let knots: usize = axes.iter().map(|axis| axis.knots).product();
            if knots <= budget || axes.iter().all(|axis| axis.cells <= 0.25) {
                return axes;
            }
            scale *= 1.1;
        }
    }

    /// The knots of this grid for noise of twice the scale.
    pub(super) fn coarser(self) -> Self {
        Self {
            cells: (self.cells / 2.0).max(0.25),
            ..self
        }
    }
}

/// Numbers on a coarse grid whose corners are the corners of the volume, in the order `[z, y, x]`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Grid3 {
    /// Along x, y and z.
    pub(super) axes: [Axis; 3],
    pub(super) data: Vec<f32>,
}

impl Grid3 {
    /// Cubic B-spline over white normal noise, brought to about unit variance.
    pub(super) fn smooth(seed: u32, axes: [Axis; 3]) -> Self {
        // The mean variance of a cubic B-spline with white coefficients is 0.479 along each axis.
        const NORM: f32 = 3.015;
        let counts = axes.map(|axis| axis.cells.ceil() as usize + 4);
        let [x, y, z] = axes.map(|axis| spline::weights(axis.cells, axis.knots));
        let mut white = vec![0.0; counts.iter().product()];
        for (row, line) in white.chunks_exact_mut(counts[0]).enumerate() {
            RowRng::new(seed.rotate_left(8), row).fill_normal(line);
        }
        let along_x = expand(&white, counts[0], &x);
        let along_y = expand_planes(&along_x, [counts[1], axes[0].knots], &y);
        let mut data = expand_planes(&along_y, [counts[2], axes[1].knots * axes[0].knots], &z);
        for v in &mut data {
            *v *= NORM;
        }
        Self { axes, data }
    }

    /// Values between the grid's planes at `z` (in units).
    pub(super) fn plane(&self, z: f32) -> Grid {
        let [x, y, _] = self.axes.map(|axis| axis.knots);
        let (below, share) = self.between(z);
        let area = x * y;
        let low = &self.data[below * area..(below + 1) * area];
        let high = &self.data[(below + 1) * area..(below + 2) * area];
        let mut data = Buffer::stale(area);
        for ((value, &a), &b) in data.iter_mut().zip(low).zip(high) {
            *value = a + (b - a) * share;
        }
        Grid {
            size: Size::new(y, x),
            data,
        }
    }

    fn between(&self, z: f32) -> (usize, f32) {
        let axis = self.axes[2];
        let position = (z * axis.per_unit).clamp(0.0, (axis.knots - 1) as f32);
        let below = (position as usize).min(axis.knots - 2);
        (below, position - below as f32)
    }

    /// Corner before a place in units, and the shares of its cell along x, y and z; outside the grid its border.
    #[inline(always)]
    pub(super) fn cell(&self, place: [f32; 3]) -> (usize, [f32; 3]) {
        let mut corner = [0; 3];
        let mut share = [0.0; 3];
        for k in 0..3 {
            let axis = self.axes[k];
            let position = place[k] * axis.per_unit;
            let position = position.clamp(0.0, (axis.knots - 1) as f32);
            corner[k] = (position as usize).min(axis.knots - 2);
            share[k] = position - corner[k] as f32;
        }
        let [nx, ny, _] = self.axes.map(|axis| axis.knots);
        ((corner[2] * ny + corner[1]) * nx + corner[0], share)
    }

    /// Distances in memory from a corner to the next along y and z.
    pub(super) fn strides(&self) -> [usize; 2] {
        let [nx, ny, _] = self.axes.map(|axis| axis.knots);
        [nx, nx * ny]
    }

    /// Value at a place in units.
    #[cfg(test)]
    pub(super) fn at(&self, place: [f32; 3]) -> f32 {
        let (corner, share) = self.cell(place);
        self.mix(corner, share)
    }

    #[inline(always)]
    pub(super) fn mix(&self, corner: usize, [u, v, w]: [f32; 3]) -> f32 {
        let [row, plane] = self.strides();
        let line = |at: usize| self.data[at] + (self.data[at + 1] - self.data[at]) * u;
        let near = |at: usize| {
            let (a, b) = (line(at), line(at + row));
            a + (b - a) * v
        };
        let (a, b) = (near(corner), near(corner + plane));
        a + (b - a) * w
    }
}

/// Evaluates splines along lines of `count` coefficients.
fn expand(from: &[f32], count: usize, weights: &[(usize, [f32; 4])]) -> Vec<f32> {
    let mut to = Vec::with_capacity(from.len() / count * weights.len());
    for line in from.chunks_exact(count) {
        for &(first, w) in weights {
            to.push((0..4).map(|k| line[first + k] * w[k]).sum());
        }
    }
    to
}

/// Evaluates splines across planes: `[.., count, inner]` becomes `[.., weights, inner]`.
fn expand_planes(
    from: &[f32],
    [count, inner]: [usize; 2],
    weights: &[(usize, [f32; 4])],
) -> Vec<f32> {
    let mut to = vec![0.0; from.len() / count * weights.len()];
    let blocks = to.chunks_exact_mut(weights.len() * inner);
    for (from, to) in from.chunks_exact(count * inner).zip(blocks) {
        for (line, &(first, w)) in to.chunks_exact_mut(inner).zip(weights) {
            let knot = |k: usize| &from[(first + k) * inner..(first + k + 1) * inner];
            let [a, b, c, d] = [knot(0), knot(1), knot(2), knot(3)];
            for (i, value) in line.iter_mut().enumerate() {
                *value = (a[i] * w[0] + b[i] * w[1]) + (c[i] * w[2] + d[i] * w[3]);
            }
        }
    }
    to
}

/// Knots along each axis of a [`Tile`].
const TILE: usize = 32;
/// Coefficients along each axis: two knots to a cell.
const TILE_CELLS: usize = TILE / 2;

/// Smooth noise of zero mean and about unit variance that repeats after 16 cells along each axis.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Tile(Vec<f32>);

impl Tile {
    pub(super) fn new(seed: u32) -> Self {
        const NORM: f32 = 3.015;
        let cells = TILE_CELLS;
        let mut white = vec![0.0; cells * cells * cells];
        for (row, line) in white.chunks_exact_mut(cells).enumerate() {
            RowRng::new(seed, row).fill_normal(line);
        }
        let mut data = white;
        // Along x, then y, then z; each pass doubles its axis.
        let mut shape = [cells; 3];
        for axis in 0..3 {
            data = doubled(&data, shape, axis);
            shape[axis] *= 2;
        }
        for v in &mut data {
            *v *= NORM;
        }
        Self(data)
    }

    /// Value at a place in cells.
    #[inline(always)]
    pub(super) fn at(&self, place: [f32; 3]) -> f32 {
        let mut low = [0_usize; 3];
        let mut high = [0_usize; 3];
        let mut share = [0.0; 3];
        for k in 0..3 {
            let position = 2.0 * place[k];
            let whole = floor(position);
            share[k] = position - whole;
            low[k] = (whole as i32 & (TILE as i32 - 1)) as usize;
            high[k] = (low[k] + 1) & (TILE - 1);
        }
        let data = &self.0[..TILE * TILE * TILE];
        let line = |z: usize, y: usize| {
            let start = (z * TILE + y) * TILE;
            let (a, b) = (data[start + low[0]], data[start + high[0]]);
            a + (b - a) * share[0]
        };
        let plane = |z: usize| {
            let (a, b) = (line(z, low[1]), line(z, high[1]));
            a + (b - a) * share[1]
        };
        let (a, b) = (plane(low[2]), plane(high[2]));
        a + (b - a) * share[2]
    }
}

/// Largest whole number that is not above `x`, for magnitudes below 2^31.
#[inline(always)]
fn floor(x: f32) -> f32 {
    let whole = x as i32 as f32;
    if whole > x { whole - 1.0 } else { whole }
}

/// Cubic B-spline at and between the coefficients along one axis (x: 0) of a periodic block.
fn doubled(from: &[f32], shape: [usize; 3], axis: usize) -> Vec<f32> {
    let mut to_shape = shape;
    to_shape[axis] *= 2;
    let mut to = vec![0.0; 2 * from.len()];
    let n = shape[axis];
    for (index, value) in to.iter_mut().enumerate() {
        let mut at = [
            index % to_shape[0],
            index / to_shape[0] % to_shape[1],
            index / (to_shape[0] * to_shape[1]),
        ];
        let (knot, half) = (at[axis] / 2, at[axis] % 2 == 1);
        let mut coefficient = |step: usize| {
            at[axis] = (knot + n + step - 1) % n;
            from[(at[2] * shape[1] + at[1]) * shape[0] + at[0]]
        };
        let [a, b, c, d] = [0, 1, 2, 3].map(&mut coefficient);
        *value = if half {
            (a + d) / 48.0 + (b + c) * (23.0 / 48.0)
        } else {
            (a + c) / 6.0 + b * (2.0 / 3.0)
        };
    }
    to
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moments(data: &[f32]) -> [f64; 2] {
        let count = data.len() as f64;
        let mean = data.iter().map(|&v| f64::from(v)).sum::<f64>() / count;
        let square = data
            .iter()
            .map(|&v| f64::from(v) * f64::from(v))
            .sum::<f64>()
            / count;
        [mean, square - mean * mean]
    }

    #[test]
    fn fields_have_about_unit_variance_and_no_steps() {
        let axes = [3.0, 2.0, 4.0].map(|length| Axis::new(length, 0.1, 3.0));
        let grid = Grid3::smooth(3, axes);
        let [mean, variance] = moments(&grid.data);
        assert!(
            mean.abs() < 0.1 && (variance - 1.0).abs() < 0.12,
            "{mean} {variance}"
        );
        let tile = Tile::new(5);
        let [mean, variance] = moments(&tile.0);
        assert!(
            mean.abs() < 0.1 && (variance - 1.0).abs() < 0.2,
            "{mean} {variance}"
        );
        let mut before = tile.at([-1.0, 3.3, 15.9]);
        for k in 1..2000 {
            let at = k as f32 * 0.01 - 1.0;
            let value = tile.at([at, 3.3, 15.9 + at]);
            assert!((value - before).abs() < 0.12, "{at}: {before} {value}");
            before = value;
        }
    }

    #[test]
    fn planes_agree_with_single_places() {
        let axes = [1.0, 1.4, 2.0].map(|length| Axis::new(length, 0.3, 2.0));
        let grid = Grid3::smooth(8, axes);
        let z = 0.77;
        let plane = grid.plane(z);
        for row in 0..plane.size.height {
            for col in 0..plane.size.width {
                let place = [
                    col as f32 / axes[0].per_unit,
                    row as f32 / axes[1].per_unit,
                    z,
                ];
                let expected = plane.data[plane.size.index(row, col)];
                assert!((grid.at(place) - expected).abs() < 1e-4);
            }
        }
    }

    #[test]
    fn tiles_repeat() {
        let tile = Tile::new(1);
        let place = [0.3, 7.9, 4.2];
        let again = place.map(|v| v + TILE_CELLS as f32);
        assert!((tile.at(place) - tile.at(again)).abs() < 1e-4);
    }
}
