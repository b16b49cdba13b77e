//! Distances between the borders of two masks, as in MONAI (`monai.metrics.utils`).
//!
//! The border is the mask minus its erosion by the face neighbours, outside the image counting as
//! background. The distance of a border pixel is to the centre of the nearest border pixel of the
//! other mask.

use super::{Axes, Grid, MaskPair};
use crate::distance::squared_distance_to;
use crate::quantile;

/// Directed distances between two borders.
#[derive(Debug, Clone, PartialEq)]
pub struct SurfaceDistances {
    /// Ascending.
    prediction_to_truth: Vec<f64>,
    /// Ascending.
    truth_to_prediction: Vec<f64>,
    /// Every distance, if one of the masks is empty.
    diagonal_mm: f64,
}

impl SurfaceDistances {
    pub(super) fn new(pair: &MaskPair) -> Option<Self> {
        let MaskPair {
            prediction,
            truth,
            grid,
            diagonal_mm,
        } = pair;
        let (prediction, truth) = (border(prediction, *grid), border(truth, *grid));
        let any = |mask: &[bool]| mask.contains(&true);
        if !any(&prediction) && !any(&truth) {
            return None;
        }
        let both = any(&prediction) && any(&truth);
        let directed = |from: &[bool], to: &[bool]| {
            if both {
                directed(from, to, *grid)
            } else {
                Vec::new()
            }
        };
        Some(Self {
            prediction_to_truth: directed(&prediction, &truth),
            truth_to_prediction: directed(&truth, &prediction),
            diagonal_mm: *diagonal_mm,
        })
    }

    fn one_is_empty(&self) -> bool {
        self.prediction_to_truth.is_empty()
    }

    /// Hausdorff distance: the largest distance of either direction.
    pub fn hd_mm(&self) -> f64 {
        self.percentile_mm(100.0)
    }

    /// The larger of the two directed 95th percentiles (numpy's linear interpolation).
    pub fn hd95_mm(&self) -> f64 {
        self.percentile_mm(95.0)
    }

    fn percentile_mm(&self, percent: f64) -> f64 {
        if self.one_is_empty() {
            return self.diagonal_mm;
        }
        let [a, b] = [&self.prediction_to_truth, &self.truth_to_prediction];
        quantile(a, percent / 100.0).max(quantile(b, percent / 100.0))
    }

    /// Average symmetric surface distance: the mean over the border pixels of both masks.
    pub fn assd_mm(&self) -> f64 {
        if self.one_is_empty() {
            return self.diagonal_mm;
        }
        let [a, b] = [&self.prediction_to_truth, &self.truth_to_prediction];
        let total: f64 = a.iter().sum::<f64>() + b.iter().sum::<f64>();
        total / (a.len() + b.len()) as f64
    }

    /// Normalised surface Dice: the share of border pixels, of both masks, at most `tolerance_mm`
    /// from the other border.
    pub fn nsd(&self, tolerance_mm: f64) -> f64 {
        if self.one_is_empty() {
            return 0.0;
        }
        let [a, b] = [&self.prediction_to_truth, &self.truth_to_prediction];
        let within = |d: &[f64]| d.partition_point(|&v| v <= tolerance_mm);
        (within(a) + within(b)) as f64 / (a.len() + b.len()) as f64
    }
}

/// Ascending distances from each `true` of `from` to the nearest `true` of `to`.
fn directed(from: &[bool], to: &[bool], grid: Grid) -> Vec<f64> {
    let squared = squared_distance_to(to, grid.shape, grid.spacing_mm);
    let on_border = from.iter().zip(squared).filter(|&(&on, _)| on);
    let mut distances: Vec<f64> = on_border.map(|(_, squared)| squared.sqrt()).collect();
    distances.sort_unstable_by(f64::total_cmp);
    distances
}

fn border(mask: &[bool], grid: Grid) -> Vec<bool> {
    let [planes, rows, cols] = grid.shape;
    let mut border = vec![false; mask.len()];
    for (index, out) in border
        .iter_mut()
        .enumerate()
        .filter(|&(index, _)| mask[index])
    {
        let (col, line) = (index % cols, index / cols);
        let (row, plane) = (line % rows, line / rows);
        let inner = |at: usize, length: usize, stride: usize| {
            at > 0 && at + 1 < length && mask[index - stride] && mask[index + stride]
        };
        let inner_plane = grid.axes == Axes::Two || inner(plane, planes, rows * cols);
        *out = !(inner(col, cols, 1) && inner(row, rows, cols) && inner_plane);
    }
    border
}
