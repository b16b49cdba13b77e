//! Smooth invertible warps: the flow of a stationary velocity field.
//!
//! The field is integrated by scaling and squaring (Arsigny et al., MICCAI 2006), with the five steps of
//! `SynthMorph` (Hoffmann et al., TMI 2022): `u <- v / 2^5`, then five times `u(x) <- u(x) + u(x + u(x))`.
//! Differs: contours move with the flow and label maps are read against it, so that both show the same
//! deformation; the field lives on a coarse grid, read linearly.

use synthfm_image::Size;

use crate::blur::{self, Plane};
use crate::field::{self, Grid};
use crate::params::{DeformationParams, Vec2};

/// Squarings, and halvings before them.
const STEPS: u32 = 5;

/// Grid knots per cell of the velocity's noise.
const KNOTS_PER_CELL: f32 = 4.0;

/// Displacements in pixels on a coarse grid over the image.
pub(crate) struct Deformation {
    forward: Displacement,
    backward: Displacement,
}

impl Deformation {
    pub(crate) fn new(params: &DeformationParams, size: Size) -> Self {
        let unit_px = size.height.min(size.width) as f32;
        let scale_px = params.scale * unit_px;
        let velocity = [0, 1].map(|axis| {
            let seed = params.seed.wrapping_add(axis);
            velocity(seed, size, scale_px)
        });
        let along = |sign: f32| {
            let mut start = velocity.clone();
            let share = sign * params.std * unit_px / (1 << STEPS) as f32;
            for component in &mut start {
                component.data.iter_mut().for_each(|v| *v *= share);
            }
            Displacement::integrated(start, size)
        };
        Self {
            forward: along(1.0),
            backward: along(-1.0),
        }
    }

    /// Where a point of the undeformed image goes, in pixels.
    pub(crate) fn moved(&self, point_px: Vec2) -> Vec2 {
        self.forward.apply(point_px)
    }

    /// Where a point of the deformed image came from, in pixels.
    pub(crate) fn origin(&self, point_px: Vec2) -> Vec2 {
        self.backward.apply(point_px)
    }
}

/// White noise `scale_px` apart, as a smooth curve of unit standard deviation at its knots.
fn velocity(seed: u32, size: Size, scale_px: f32) -> Grid {
    let knots = |length| field::knot_count(length, scale_px / KNOTS_PER_CELL);
    let fine = Size::new(knots(size.height), knots(size.width));
    let mut grid = field::smooth(seed, size, scale_px, 1.0).enlarged(fine);
    // Half a cell of blur rounds the creases of linear enlargement.
    let mut plane = Plane {
        data: &mut grid.data,
        width: fine.width,
    };
    blur::gaussian(&mut plane, [KNOTS_PER_CELL / 2.0; 2]);
    grid
}

/// A displacement along x and y, in pixels, on a grid whose corners are those of the image.
struct Displacement {
    components: [Grid; 2],
    /// Grid cells per pixel, along x and y.
    cells_per_px: Vec2,
}

impl Displacement {
    /// Five squarings of a small displacement.
    fn integrated(start: [Grid; 2], image: Size) -> Self {
        let grid = start[0].size;
        let ratio = |few: usize, many: usize| (few - 1) as f32 / (many.max(2) - 1) as f32;
        let mut flow = Self {
            components: start,
            cells_per_px: [
                ratio(grid.width, image.width),
                ratio(grid.height, image.height),
            ],
        };
        for _ in 0..STEPS {
            flow.square();
        }
        flow
    }

    /// `u(x) <- u(x) + u(x + u(x))`.
    fn square(&mut self) {
        let grid = self.components[0].size;
        let mut squared = self.components.clone();
        for at in 0..grid.area() {
            let knot = [(at % grid.width) as f32, (at / grid.width) as f32];
            let here = [self.components[0].data[at], self.components[1].data[at]];
            let there = self.at([
                knot[0] + here[0] * self.cells_per_px[0],
                knot[1] + here[1] * self.cells_per_px[1],
            ]);
            squared[0].data[at] = here[0] + there[0];
            squared[1].data[at] = here[1] + there[1];
        }
        self.components = squared;
    }

    fn apply(&self, point_px: Vec2) -> Vec2 {
        let [dx, dy] = self.at([
            point_px[0] * self.cells_per_px[0],
            point_px[1] * self.cells_per_px[1],
        ]);
        [point_px[0] + dx, point_px[1] + dy]
    }

    /// The displacement at a position in grid cells; outside the grid that of its border.
    fn at(&self, [x, y]: Vec2) -> Vec2 {
        let grid = self.components[0].size;
        let x = x.clamp(0.0, (grid.width - 1) as f32);
        let y = y.clamp(0.0, (grid.height - 1) as f32);
        let (col, row) = (
            (x as usize).min(grid.width - 2),
            (y as usize).min(grid.height - 2),
        );
        let (u, v) = (x - col as f32, y - row as f32);
        let corner = grid.index(row, col);
        [0, 1].map(|axis: usize| {
            let data = &self.components[axis].data;
            let line = |start: usize| data[start] + (data[start + 1] - data[start]) * u;
            let (above, below) = (line(corner), line(corner + grid.width));
            above + (below - above) * v
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Buffer;

    const SIZE: Size = Size::new(160, 231);

    fn deformation(std: f32) -> Deformation {
        let params = DeformationParams {
            seed: 5,
            scale: 0.2,
            std,
        };
        Deformation::new(&params, SIZE)
    }

    fn points() -> impl Iterator<Item = Vec2> {
        (2..SIZE.area()).step_by(97).map(|at| {
            let (row, col) = (at / SIZE.width, at % SIZE.width);
            [col as f32, row as f32]
        })
    }

    #[test]
    #[expect(clippy::float_cmp, reason = "adding 0 is exact")]
    fn zero_velocity_is_the_identity() {
        let still = deformation(0.0);
        for point in points() {
            assert_eq!(still.moved(point), point);
            assert_eq!(still.origin(point), point);
        }
    }

    /// A grid whose value depends on the column.
    fn columns(size: Size, value: impl Fn(f32) -> f32) -> Grid {
        let mut data = Buffer::zeros(size.area());
        for (at, v) in data.iter_mut().enumerate() {
            *v = value((at % size.width) as f32);
        }
        Grid { size, data }
    }

    #[test]
    fn constant_velocity_is_a_shift() {
        let grid = columns(Size::new(5, 7), |_| 3.0 / 32.0);
        let flow = Displacement::integrated([grid.clone(), grid], SIZE);
        let [x, y] = flow.apply([40.0, 60.0]);
        assert!((x - 43.0).abs() < 1e-4 && (y - 63.0).abs() < 1e-4);
    }

    #[test]
    fn linear_velocity_grows_exponentially() {
        // v(x) = a x flows to x e^a; five squarings give x (1 + a / 32)^32.
        let (a, size) = (0.2, Size::new(11, 21));
        let x = columns(size, |column| a * column / 32.0);
        let y = columns(size, |_| 0.0);
        let flow = Displacement::integrated([x, y], size);
        let expected = 10.0 * (1.0 + a / 32.0).powi(32);
        assert!((flow.apply([10.0, 5.0])[0] - expected).abs() < 1e-3);
    }

    #[test]
    fn the_way_back_undoes_the_way_there() {
        // Outside the image the flow is that of its border: only paths inside are reversible.
        let is_inside = |[x, y]: Vec2| x > 30.0 && y > 30.0 && x < 200.0 && y < 129.0;
        let deformation = deformation(0.05);
        let mut farthest = 0.0_f32;
        for point in points() {
            let moved = deformation.moved(point);
            let back = deformation.origin(moved);
            let distance = |a: Vec2, b: Vec2| (a[0] - b[0]).hypot(a[1] - b[1]);
            farthest = farthest.max(distance(point, moved));
            assert!(
                !is_inside(moved) || distance(point, back) < 0.35,
                "{point:?} {back:?}"
            );
        }
        assert!(farthest > 8.0, "{farthest}");
    }
}
