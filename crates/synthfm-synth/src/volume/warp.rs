//! Smooth invertible warp of a volume: the flow of a stationary velocity field.
//!
//! As in the crate's `deformation` module the field is integrated by five steps of scaling and squaring on a coarse
//! grid. It runs backward: at a voxel it says where the voxel came from.

use super::grid::{Axis, Grid3};
use crate::field::Grid;
use crate::params::DeformationParams;

/// Squarings, and halvings before them.
const STEPS: u32 = 5;

/// Grid knots per cell of the velocity's noise.
const KNOTS_PER_CELL: f32 = 4.0;

/// Displacements along x, y and z, in units of the shorter side of a slice.
#[derive(Debug, Clone)]
pub(super) struct Warp {
    components: [Grid3; 3],
    /// Largest displacement along any axis.
    pub(super) reach: f32,
}

impl Warp {
    /// The flow of the velocity that a recipe describes, on at most `budget` knots; none without any strength.
    pub(super) fn new(params: &DeformationParams, extent: [f32; 3], budget: usize) -> Option<Self> {
        if params.std.abs() <= 0.0 {
            return None;
        }
        let axes = Axis::all(extent, params.scale, KNOTS_PER_CELL, budget);
        let share = -params.std / (1 << STEPS) as f32;
        let components = [0, 1, 2].map(|axis| {
            let mut velocity = Grid3::smooth(params.seed.wrapping_add(axis), axes);
            velocity.data.iter_mut().for_each(|v| *v *= share);
            velocity
        });
        Some(Self::integrated(components))
    }

    fn integrated(components: [Grid3; 3]) -> Self {
        let mut flow = Self {
            components,
            reach: 0.0,
        };
        for _ in 0..STEPS {
            flow.square();
        }
        let values = flow.components.iter().flat_map(|grid| &grid.data);
        flow.reach = values.fold(0.0, |most: f32, v| most.max(v.abs()));
        flow
    }

    /// `u(x) <- u(x) + u(x + u(x))`.
    fn square(&mut self) {
        let axes = self.components[0].axes;
        let mut squared = self.components.clone();
        let [nx, ny, _] = axes.map(|axis| axis.knots);
        for at in 0..squared[0].data.len() {
            let knot = [at % nx, at / nx % ny, at / (nx * ny)];
            let here = [0, 1, 2].map(|k: usize| self.components[k].data[at]);
            let place = [0, 1, 2].map(|k: usize| knot[k] as f32 / axes[k].per_unit + here[k]);
            let (corner, share) = self.components[0].cell(place);
            for k in 0..3 {
                squared[k].data[at] = here[k] + self.components[k].mix(corner, share);
            }
        }
        self.components = squared;
    }

    /// Displacements along x, y and z in the plane at `z`, on the coarse grid.
    pub(super) fn plane(&self, z: f32) -> [Grid; 3] {
        [0, 1, 2].map(|k: usize| self.components[k].plane(z))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXTENT: [f32; 3] = [1.0, 1.5, 2.0];

    fn constant(axes: [Axis; 3], value: f32) -> Grid3 {
        let count = axes.iter().map(|axis| axis.knots).product();
        Grid3 {
            axes,
            data: vec![value; count],
        }
    }

    #[test]
    fn zero_velocity_is_no_warp() {
        let still = DeformationParams {
            seed: 1,
            scale: 0.2,
            std: 0.0,
        };
        assert!(Warp::new(&still, EXTENT, 100_000).is_none());
    }

    #[test]
    fn constant_velocity_is_a_shift() {
        let axes = EXTENT.map(|length| Axis::new(length, 0.4, 2.0));
        let flow = Warp::integrated([0.1, -0.2, 0.05].map(|v| constant(axes, v / 32.0)));
        for (grid, expected) in flow.plane(0.9).iter().zip([0.1, -0.2, 0.05]) {
            assert!(grid.data.iter().all(|v| (v - expected).abs() < 1e-5));
        }
        assert!((flow.reach - 0.2).abs() < 1e-5);
    }

    #[test]
    fn opposite_velocities_undo_each_other_and_nothing_folds() {
        let params = |std| DeformationParams {
            seed: 4,
            scale: 0.4,
            std,
        };
        let there = Warp::new(&params(0.04), EXTENT, 100_000).unwrap();
        let back = Warp::new(&params(-0.04), EXTENT, 100_000).unwrap();
        let at =
            |warp: &Warp, p: [f32; 3]| [0, 1, 2].map(|k: usize| p[k] + warp.components[k].at(p));
        let mut farthest = 0.0_f32;
        for k in 0..500_u32 {
            let share = |step: u32| 0.2 + 0.6 * ((k * step) % 499) as f32 / 499.0;
            let p = [share(1) * 1.0, share(37) * 1.5, share(101) * 2.0];
            let q = at(&back, at(&there, p));
            for axis in 0..3 {
                assert!((q[axis] - p[axis]).abs() < 0.006, "{p:?} {q:?}");
                farthest = farthest.max((at(&there, p)[axis] - p[axis]).abs());
            }
            // Order along x is kept.
            let mut beside = p;
            beside[0] += 0.01;
            assert!(at(&there, beside)[0] > at(&there, p)[0]);
        }
        assert!(farthest > 0.03, "{farthest}");
    }
}
