//! Surface Dice over elements of the border, as in `DeepMind`'s `surface-distance` (Nikolov et al.,
//! "Clinically Applicable Segmentation of Head and Neck Anatomy", JMIR 2021).
//!
//! Elements lie at the corners between pixels; each weighs the length (2-D) or area (3-D) of the
//! border there, so the score does not depend on how the grid cuts a slanted border.

use super::marching_cubes::areas;
use super::{Axes, Grid, MaskPair};
use crate::distance::squared_distance_to;

/// Directed distances between the elements of two borders, each with its length or area.
#[derive(Debug, Clone, PartialEq)]
pub struct SurfaceElements {
    elements: Vec<Element>,
    one_is_empty: bool,
}

/// Distance to the other border, and size.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Element {
    distance_mm: f64,
    weight: f64,
}

impl SurfaceElements {
    pub(super) fn new(pair: &MaskPair) -> Option<Self> {
        let (corners, weights) = corner_grid(pair.grid);
        let prediction = weights_at_corners(&pair.prediction, pair.grid, &weights);
        let truth = weights_at_corners(&pair.truth, pair.grid, &weights);
        let [has_prediction, has_truth] =
            [&prediction, &truth].map(|border| border.iter().any(Option::is_some));
        if !has_prediction && !has_truth {
            return None;
        }
        let mut elements = Vec::new();
        for (from, to) in [(&prediction, &truth), (&truth, &prediction)] {
            let sites: Vec<bool> = to.iter().map(Option::is_some).collect();
            let squared = squared_distance_to(&sites, corners.shape, corners.spacing_mm);
            elements.extend(from.iter().zip(squared).filter_map(|(&weight, squared)| {
                weight.map(|weight| Element {
                    distance_mm: squared.sqrt(),
                    weight,
                })
            }));
        }
        Some(Self {
            elements,
            one_is_empty: !(has_prediction && has_truth),
        })
    }

    /// Normalised surface Dice: the share of both borders that is at most `tolerance_mm` from the
    /// other.
    pub fn nsd(&self, tolerance_mm: f64) -> f64 {
        if self.one_is_empty {
            return 0.0;
        }
        let weight = |elements: &mut dyn Iterator<Item = &Element>| -> f64 {
            elements.map(|element| element.weight).sum()
        };
        let mut within = self
            .elements
            .iter()
            .filter(|e| e.distance_mm <= tolerance_mm);
        weight(&mut within) / weight(&mut self.elements.iter())
    }
}

/// Length or area of the border of the prediction and of the truth.
pub(super) fn border_sizes(pair: &MaskPair) -> [f64; 2] {
    let (_, weights) = corner_grid(pair.grid);
    [&pair.prediction, &pair.truth].map(|mask| {
        let border = weights_at_corners(mask, pair.grid, &weights);
        border.into_iter().flatten().sum()
    })
}

/// The grid of the corners, and the size of a border element for each neighbourhood.
fn corner_grid(grid: Grid) -> (Grid, Vec<f64>) {
    let [planes, rows, cols] = grid.shape;
    match grid.axes {
        Axes::Two => {
            let shape = [planes, rows + 1, cols + 1];
            let [_, row, col] = grid.spacing_mm;
            (Grid { shape, ..grid }, lengths(row, col))
        }
        Axes::Three => {
            let shape = [planes + 1, rows + 1, cols + 1];
            (Grid { shape, ..grid }, areas(grid.spacing_mm))
        }
    }
}

/// Length of the border between four pixels; the first pixel is the highest bit.
fn lengths(row: f64, col: f64) -> Vec<f64> {
    let diagonal = 0.5 * row.hypot(col);
    let length = |code: u32| match code {
        0b0000 | 0b1111 => 0.0,
        0b0011 | 0b1100 => col,
        0b0101 | 0b1010 => row,
        0b0110 | 0b1001 => 2.0 * diagonal,
        _ => diagonal,
    };
    (0..16).map(length).collect()
}

/// Weight of the border at each corner; `None` where the pixels around it are all alike.
fn weights_at_corners(mask: &[bool], grid: Grid, weights: &[f64]) -> Vec<Option<f64>> {
    let [planes, rows, cols] = grid.shape;
    let depth = match grid.axes {
        Axes::Two => 0,
        Axes::Three => 1,
    };
    // Pixels before and after a corner; those outside the image are background.
    let value = |plane: usize, row: usize, col: usize| {
        let inside = plane < planes && row < rows && col < cols;
        usize::from(inside && mask[(plane * rows + row) * cols + col])
    };
    let pair = |plane, row, col: usize| {
        value(plane, row, col.wrapping_sub(1)) << 1 | value(plane, row, col)
    };
    let square =
        |plane, row: usize, col| pair(plane, row.wrapping_sub(1), col) << 2 | pair(plane, row, col);
    let full = weights.len() - 1;
    let mut out = Vec::with_capacity((planes + depth) * (rows + 1) * (cols + 1));
    for plane in 0..planes + depth {
        for row in 0..=rows {
            for col in 0..=cols {
                let code = match grid.axes {
                    Axes::Two => square(plane, row, col),
                    Axes::Three => {
                        square(plane.wrapping_sub(1), row, col) << 4 | square(plane, row, col)
                    }
                };
                out.push((code != 0 && code != full).then(|| weights[code]));
            }
        }
    }
    out
}
