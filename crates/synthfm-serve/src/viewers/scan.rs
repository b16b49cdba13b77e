//! The image that a viewer has sent, and how its array lies in our slices.
//!
//! Viewers send arrays whose last axis is the fastest in memory, without saying which axes are which in the patient. Array
//! axis 0 becomes the axis across our axial planes, 1 that of coronal and 2 that of sagittal ones, so that no voxel moves.
//! The plane in which points are answered follows from spacing and shape.

use std::sync::Arc;

use synthfm_image::{Point2, Volume, VolumeGeometry};

use crate::annotation::{Place, PlaneName};
use crate::app::App;
use crate::error::{ApiError, ApiResult};
use crate::sessions::random_text;
use crate::study::{MAX_SIDE, Study};

/// Half-open range along each axis of an array.
pub(super) type Range3 = [[usize; 2]; 3];
/// Spacings that differ by less are taken as equal.
const SPACING_TOLERANCE: f64 = 1.02;
/// The structure of a viewer's session; it has one.
const STRUCTURE: u16 = 1;

/// An image in memory; its embeddings are forgotten when it is dropped.
#[derive(Debug)]
pub(super) struct Scan {
    pub(super) study: Arc<Study>,
    /// A name for embeddings that no other image has.
    pub(super) image: String,
    /// Axis across the slices in which points are answered.
    across: usize,
    app: Arc<App>,
}

impl Scan {
    /// An image of `shape`, its last axis the fastest in memory, with the distances between voxels along each axis.
    pub(super) fn new(
        app: &Arc<App>,
        shape: [usize; 3],
        spacing: [f64; 3],
        values: Vec<f32>,
    ) -> ApiResult<Self> {
        check_shape(shape)?;
        check_finite(&values)?;
        let reversed = |[a, b, c]: [usize; 3]| [c, b, a];
        let grid = VolumeGeometry::with_spacing(reversed(shape), {
            let [a, b, c] = spacing;
            [c, b, a]
        })?;
        let study = Study::of_values(Volume::new(grid, values)?)?;
        let image = format!("viewer {}", random_text()?);
        Ok(Self {
            study: Arc::new(study),
            image,
            across: axis_across(shape, spacing),
            app: Arc::clone(app),
        })
    }

    /// Lengths of the array's axes.
    pub(super) fn shape(&self) -> [usize; 3] {
        let [i, j, k] = self.study.grid().shape();
        [k, j, i]
    }

    /// Axis across the slices in which points are answered.
    pub(super) const fn across(&self) -> usize {
        self.across
    }

    /// The slice of a voxel across `axis`, and the pixel in it.
    pub(super) fn pixel(&self, at: [usize; 3], axis: usize) -> (Place, Point2) {
        let place = place(axis, at[axis]);
        // Coronal and sagittal slices are seen with the head up.
        let from_head = self.shape()[0] - 1 - at[0];
        let (row, col) = match axis {
            0 => (at[1], at[2]),
            1 => (from_head, at[2]),
            _ => (from_head, at[1]),
        };
        (place, Point2::from_row_col(row, col))
    }

    /// Refuses voxels that are not there.
    pub(super) fn check(&self, at: [i64; 3]) -> ApiResult<[usize; 3]> {
        let shape = self.shape();
        let mut inside = [0; 3];
        for axis in 0..3 {
            let index = usize::try_from(at[axis]).ok();
            inside[axis] = index.filter(|&index| index < shape[axis]).ok_or_else(|| {
                ApiError::bad(format!("voxel {at:?} lies outside of the image {shape:?}"))
            })?;
        }
        Ok(inside)
    }
}

impl Drop for Scan {
    fn drop(&mut self) {
        self.app.engine.forget(&self.image);
    }
}

/// The slice `index` across an array axis.
pub(super) fn place(axis: usize, index: usize) -> Place {
    Place {
        structure: STRUCTURE,
        plane: PlaneName::ALL[axis],
        index,
    }
}

fn check_shape(shape: [usize; 3]) -> ApiResult<()> {
    let voxels = shape
        .iter()
        .try_fold(1usize, |product, &length| product.checked_mul(length));
    let counted = voxels.is_some_and(|voxels| u32::try_from(voxels).is_ok());
    if shape.iter().any(|&length| length > MAX_SIDE) || !counted {
        return Err(ApiError::too_large(format!(
            "an image of {shape:?} voxels; up to {MAX_SIDE} along each axis and {} in all are taken",
            u32::MAX
        )));
    }
    Ok(())
}

/// Refuses an image of which most voxels have no value: those of wider types than 32 bits may be beyond what they hold.
fn check_finite(values: &[f32]) -> ApiResult<()> {
    let finite = values.iter().filter(|v| v.is_finite()).count();
    if 2 * finite > values.len() {
        return Ok(());
    }
    Err(ApiError::bad(format!(
        "{} of {} values are not finite as 32-bit floating-point numbers",
        values.len() - finite,
        values.len()
    )))
}

/// The axis across slices: the only one of length 1, else the one of the largest spacing, else the one whose length
/// differs from two equal ones, else the first, which is that of 3D Slicer, napari and ITK.
fn axis_across(shape: [usize; 3], spacing: [f64; 3]) -> usize {
    let only = |found: Vec<usize>| (found.len() == 1).then(|| found[0]);
    let axes_where = |test: &dyn Fn(usize) -> bool| (0..3).filter(|&axis| test(axis)).collect();
    let flat = only(axes_where(&|axis| shape[axis] == 1));
    let thick = only(axes_where(&|axis| {
        let others = (0..3).filter(|&other| other != axis);
        others
            .into_iter()
            .all(|other| spacing[axis] > SPACING_TOLERANCE * spacing[other])
    }));
    let odd = only(axes_where(&|axis| {
        let [a, b] = [(axis + 1) % 3, (axis + 2) % 3];
        shape[a] == shape[b] && shape[axis] != shape[a]
    }));
    flat.or(thick).or(odd).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_without_values_are_refused() {
        assert!(check_finite(&[1.0, f32::NAN, 2.0]).is_ok());
        for values in [vec![], vec![f32::NAN; 3], vec![0.0, f32::INFINITY]] {
            assert!(check_finite(&values).is_err(), "{values:?}");
        }
    }

    #[test]
    fn points_are_answered_across_the_thick_axis() {
        for (shape, spacing, expected) in [
            ([1, 300, 200], [1.0; 3], 0),
            ([300, 200, 1], [1.0, 1.0, 0.1], 2),
            ([40, 300, 300], [3.0, 0.5, 0.5], 0),
            ([300, 300, 40], [0.5, 0.5, 3.0], 2),
            ([300, 40, 300], [0.5, 3.0, 0.5], 1),
            // Without spacing, the shape tells.
            ([512, 512, 100], [1.0; 3], 2),
            ([100, 512, 512], [1.0; 3], 0),
            // Nothing tells: the first.
            ([100, 110, 120], [1.0; 3], 0),
            ([64, 64, 64], [1.0, 1.01, 1.0], 0),
            ([1, 1, 64], [1.0; 3], 2),
        ] {
            assert_eq!(
                axis_across(shape, spacing),
                expected,
                "{shape:?} {spacing:?}"
            );
        }
    }

    #[test]
    fn huge_shapes_are_refused() {
        assert!(check_shape([100, 512, 512]).is_ok());
        for shape in [[1, 1, MAX_SIDE + 1], [16_000; 3], [usize::MAX; 3]] {
            assert_eq!(check_shape(shape).unwrap_err().code, "too_large");
        }
    }
}
