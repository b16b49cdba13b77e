//! One plane through a volume: where its pixels lie, and which of them a box reaches.

use std::ops::Range;

use synthfm_image::Size;

use super::warp::Warp;
use crate::scratch::Buffer;

/// Rows and columns that something covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rect {
    pub(super) rows: Range<usize>,
    pub(super) columns: Range<usize>,
}

/// A plane at one depth, with the places that its pixels show.
pub(super) struct SlicePlane {
    pub(super) size: Size,
    /// Distance between neighbouring pixels along x and y, in units.
    pub(super) steps: [f32; 2],
    /// Place of the plane along z and of its first pixel along x and y, in units, before the warp.
    pub(super) origin: [f32; 3],
    /// Largest displacement along any axis.
    reach: f32,
    /// Places of all pixels along x, y and z.
    pub(super) places: [Buffer; 3],
}

impl SlicePlane {
    /// The plane whose first pixel lies at `origin`.
    pub(super) fn new(size: Size, steps: [f32; 2], origin: [f32; 3], warp: Option<&Warp>) -> Self {
        let mut places = [0, 1, 2].map(|_| Buffer::stale(size.area()));
        let shifts = warp.map(|warp| warp.plane(origin[2]).map(|grid| grid.enlarged(size).data));
        let [xs, ys, zs] = &mut places;
        for row in 0..size.height {
            let y = origin[1] + row as f32 * steps[1];
            let line = row * size.width..(row + 1) * size.width;
            let along = |col: usize| origin[0] + col as f32 * steps[0];
            for (col, x) in xs[line.clone()].iter_mut().enumerate() {
                *x = along(col);
            }
            ys[line.clone()].fill(y);
            zs[line].fill(origin[2]);
        }
        if let Some(shifts) = shifts {
            for (place, shift) in places.iter_mut().zip(&shifts) {
                for (place, shift) in place.iter_mut().zip(&**shift) {
                    *place += shift;
                }
            }
        }
        Self {
            size,
            steps,
            origin,
            reach: warp.map_or(0.0, |warp| warp.reach),
            places,
        }
    }

    /// Pixels that a box of the undeformed scene can show on this plane, a pixel more on either side; none if it does
    /// not reach the plane.
    pub(super) fn rect(&self, bounds: [[f32; 2]; 3]) -> Option<Rect> {
        let [x, y, z] = bounds.map(|[low, high]| [low - self.reach, high + self.reach]);
        if !(z[0] <= self.origin[2] && self.origin[2] <= z[1]) {
            return None;
        }
        let along = |[low, high]: [f32; 2], axis: usize, count: usize| {
            let index = |v: f32| (v - self.origin[axis]) / self.steps[axis];
            let first = (index(low) - 1.0).clamp(0.0, count as f32) as usize;
            let end = (index(high) + 2.0).clamp(0.0, count as f32) as usize;
            first..end
        };
        let rect = Rect {
            rows: along(y, 1, self.size.height),
            columns: along(x, 0, self.size.width),
        };
        (!rect.rows.is_empty() && !rect.columns.is_empty()).then_some(rect)
    }

    /// Range in memory of one row of a rectangle.
    pub(super) fn line(&self, row: usize, columns: &Range<usize>) -> Range<usize> {
        let start = row * self.size.width;
        start + columns.start..start + columns.end
    }

    /// Place of a pixel.
    #[inline(always)]
    pub(super) fn at(&self, pixel: usize) -> [f32; 3] {
        [
            self.places[0][pixel],
            self.places[1][pixel],
            self.places[2][pixel],
        ]
    }
}
