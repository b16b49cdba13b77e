//! Scores of a mask against the truth, in two and three dimensions, as `synthfm evaluate` computes them.

use pyo3::prelude::*;
use synthfm_image::{LabelVolume, Mask, MaskPair, Size, SurfaceDistances, VolumeGeometry};

use crate::arrays::{inside, numbers};
use crate::errors::{OrRaise, usage};

/// The two masks on their grid.
fn pair(
    prediction: &Bound<'_, PyAny>,
    truth: &Bound<'_, PyAny>,
    spacing: Option<&Bound<'_, PyAny>>,
) -> PyResult<MaskPair> {
    let (shape, prediction) = inside(prediction)?;
    let (expected, truth) = inside(truth)?;
    if shape != expected {
        return Err(usage(format!(
            "masks of one shape expected, got {shape:?} and {expected:?}"
        )));
    }
    let spacing = match spacing {
        Some(spacing) => numbers(spacing)?.1,
        None => vec![1.0; shape.len()],
    };
    match (&shape[..], &spacing[..]) {
        (&[height, width], &[row, column]) => {
            let size = Size::new(height, width);
            let prediction = Mask::new(size, prediction).or_raise()?;
            let truth = Mask::new(size, truth).or_raise()?;
            MaskPair::new(&prediction, &truth, [row, column]).or_raise()
        }
        (&[ni, nj, nk], &[i, j, k]) => {
            let grid = VolumeGeometry::with_spacing([ni, nj, nk], [i, j, k]).or_raise()?;
            let volume = |mask: Vec<bool>| {
                let labels = mask.into_iter().map(u16::from).collect();
                LabelVolume::new(grid.clone(), labels).or_raise()
            };
            MaskPair::of_label(&volume(prediction)?, &volume(truth)?, 1).or_raise()
        }
        _ => Err(usage(format!(
            "masks of 2 or 3 axes with a spacing for each expected, got axes {shape:?} and spacing {spacing:?}"
        ))),
    }
}

/// A score of the distances between the surfaces of both masks; nan if both are empty.
fn of_surfaces(
    py: Python<'_>,
    pair: &MaskPair,
    score: impl FnOnce(&SurfaceDistances) -> f64,
) -> f64 {
    let found = py.detach(|| pair.surface_distances());
    found.as_ref().map_or(f64::NAN, score)
}

/// Dice similarity coefficient of two masks of one shape, 0 to 1; nan if both are empty.
#[pyfunction]
pub(crate) fn dice(
    py: Python<'_>,
    prediction: &Bound<'_, PyAny>,
    truth: &Bound<'_, PyAny>,
) -> PyResult<f64> {
    let pair = pair(prediction, truth, None)?;
    Ok(py.detach(|| pair.dice()).unwrap_or(f64::NAN))
}

/// Hausdorff distance at the 95th percentile, the larger of both directions as in MONAI, in the unit of `spacing` (one
/// number for each axis, 1 by default); nan if both masks are empty, the diagonal of the image if one is.
#[pyfunction]
#[pyo3(signature = (prediction, truth, spacing=None))]
pub(crate) fn hd95(
    py: Python<'_>,
    prediction: &Bound<'_, PyAny>,
    truth: &Bound<'_, PyAny>,
    spacing: Option<&Bound<'_, PyAny>>,
) -> PyResult<f64> {
    let pair = pair(prediction, truth, spacing)?;
    Ok(of_surfaces(py, &pair, SurfaceDistances::hd95_mm))
}

/// Average symmetric surface distance, in the unit of `spacing`; empty masks as in `hd95`.
#[pyfunction]
#[pyo3(signature = (prediction, truth, spacing=None))]
pub(crate) fn assd(
    py: Python<'_>,
    prediction: &Bound<'_, PyAny>,
    truth: &Bound<'_, PyAny>,
    spacing: Option<&Bound<'_, PyAny>>,
) -> PyResult<f64> {
    let pair = pair(prediction, truth, spacing)?;
    Ok(of_surfaces(py, &pair, SurfaceDistances::assd_mm))
}

/// Normalised surface Dice: the share of both borders at most `tolerance` from the other, 0 to 1; nan if both masks are
/// empty, 0 if one is.
#[pyfunction]
#[pyo3(signature = (prediction, truth, tolerance, spacing=None))]
pub(crate) fn nsd(
    py: Python<'_>,
    prediction: &Bound<'_, PyAny>,
    truth: &Bound<'_, PyAny>,
    tolerance: f64,
    spacing: Option<&Bound<'_, PyAny>>,
) -> PyResult<f64> {
    if !(tolerance >= 0.0 && tolerance.is_finite()) {
        return Err(usage(format!(
            "tolerance: millimetres from 0 expected, got {tolerance}"
        )));
    }
    let pair = pair(prediction, truth, spacing)?;
    Ok(of_surfaces(py, &pair, |distances| distances.nsd(tolerance)))
}
