//! Prompts as maps, for our own decoder: clicks and boxes are drawn on the embedding's grid, joined with
//! the image embedding, and spread by a few convolutions at half its resolution.
//!
//! SAM's decoder meets a prompt only as tokens. Interactive segmenters that draw clicks into the image
//! (RITM, Sofiiuk et al. 2021) learn from far fewer examples; this gives the two-way transformer an
//! embedding that knows where the clicks are. A model without it is SAM's.

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData, activation::sigmoid};

use crate::conv_blocks::{Conv, Downsample, ResidualBlock, run};
use crate::ops::Arithmetic;
use crate::prompt_encoder::{LABEL_BACKGROUND, LABEL_FOREGROUND, PointPrompts, PromptBatch};

/// Standard deviations of a click's spot, in cells of the grid.
const SPOT_SD_CELLS: [f32; 2] = [0.7, 3.0];
/// Channels of the prompt maps: positive and negative spots of each size, and the box.
const MAPS: usize = 2 * SPOT_SD_CELLS.len() + 1;

/// Joins prompt maps with the image embedding.
#[derive(Module, Debug)]
pub(crate) struct DensePrompts {
    code: Conv,
    down: Downsample,
    blocks: Vec<ResidualBlock>,
    up: Conv,
}

impl DensePrompts {
    pub(crate) fn new(blocks: usize, dim: usize, device: &Device) -> Self {
        Self {
            code: Conv::new(1, MAPS, dim, device),
            down: Downsample::new(dim, dim, device),
            blocks: (0..blocks)
                .map(|_| ResidualBlock::new(dim, device))
                .collect(),
            up: Conv::new(1, dim, 4 * dim, device),
        }
    }

    /// # Shapes
    /// Embedding `[BN, g, g, C]`, maps `[BN, g, g, MAPS]` -> `[BN, g, g, C]`; g is even; products in the given
    /// arithmetic
    pub(crate) fn forward(
        &self,
        embedding: Tensor<4>,
        maps: Tensor<4>,
        arithmetic: Arithmetic,
    ) -> Tensor<4> {
        let joined = self.code.forward_residual(maps, embedding, arithmetic);
        let spread = self.down.forward(joined.clone(), arithmetic);
        let spread = run(&self.blocks, spread, arithmetic);
        self.up.spread_residual(spread, joined, arithmetic)
    }
}

/// Clicks and boxes on a grid of `g × g` cells over an input of side `image_size`.
///
/// # Shapes
/// Prompts of `BN` objects -> `[BN, g, g, MAPS]`, values 0 to the number of clicks
pub(crate) fn prompt_maps(
    prompts: &PromptBatch,
    g: usize,
    image_size: usize,
    device: &Device,
) -> Tensor<4> {
    let objects = prompts.len();
    let grid = Grid {
        g,
        cells_per_pixel: g as f32 / image_size as f32,
        device,
    };
    let zeros = || Tensor::<3>::zeros([objects, g, g], device);
    let mut maps = Vec::with_capacity(MAPS);
    for label in [LABEL_FOREGROUND, LABEL_BACKGROUND] {
        for sd in SPOT_SD_CELLS {
            maps.push(
                prompts
                    .points
                    .as_ref()
                    .map_or_else(zeros, |points| grid.spots(points, label, sd)),
            );
        }
    }
    maps.push(
        prompts
            .boxes
            .as_ref()
            .map_or_else(zeros, |boxes| grid.box_map(boxes)),
    );
    Tensor::stack(maps, 3)
}

struct Grid<'a> {
    g: usize,
    cells_per_pixel: f32,
    device: &'a Device,
}

impl Grid<'_> {
    /// Pixel coordinates in cells; the centre of cell i is i.
    fn cells<const D: usize>(&self, pixels: Tensor<D>) -> Tensor<D> {
        (pixels + 0.5) * self.cells_per_pixel - 0.5
    }

    /// `[1, 1, g]`: 0, 1, .. g-1
    fn axis(&self) -> Tensor<3> {
        let cells: Vec<f32> = (0..self.g).map(|i| i as f32).collect();
        Tensor::from_data(TensorData::new(cells, [1, 1, self.g]), self.device)
    }

    /// Sum of Gaussian spots at the clicks with `label`: `[BN, g, g]`
    fn spots(&self, points: &PointPrompts, label: i64, sd: f32) -> Tensor<3> {
        let along = |axis: usize| {
            let centre = self.cells(points.coords.clone().narrow(2, axis, 1)); // [BN, P, 1]
            let offset = self.axis() - centre; // [BN, P, g]
            (offset.square() * (-0.5 / (sd * sd))).exp()
        };
        let weight = points
            .labels
            .clone()
            .equal_scalar(label)
            .float()
            .unsqueeze_dim::<3>(2);
        (along(1) * weight).swap_dims(1, 2).matmul(along(0))
    }

    /// 1 inside the box, 0 outside, soft over about a cell: `[BN, g, g]`
    fn box_map(&self, boxes: &Tensor<2>) -> Tensor<3> {
        const SHARPNESS: f32 = 4.0;
        let corners = self.cells(boxes.clone()).unsqueeze_dim::<3>(2); // [BN, 4, 1]
        let inside = |axis: usize| {
            let low = self.axis() - corners.clone().narrow(1, axis, 1);
            let high = corners.clone().narrow(1, axis + 2, 1) - self.axis();
            sigmoid((low + 0.5) * SHARPNESS) * sigmoid((high + 0.5) * SHARPNESS) // [BN, 1, g]
        };
        inside(1).swap_dims(1, 2).matmul(inside(0))
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Int;

    use super::*;

    /// `[g, g, MAPS]` of one object, row-major.
    fn maps(prompts: &PromptBatch) -> Vec<f32> {
        prompt_maps(prompts, 8, 64, &Device::flex())
            .into_data()
            .try_into_vec()
            .unwrap()
    }

    #[test]
    fn a_click_lights_its_own_cell() {
        let device = Device::flex();
        // Centre of the cell at column 5, row 2 of 8 × 8 cells of 8 pixels.
        let coords = Tensor::from_data(TensorData::new(vec![43.5_f32, 19.5], [1, 1, 2]), &device);
        let labels = Tensor::<2, Int>::from_data(TensorData::new(vec![1_i64], [1, 1]), &device);
        let maps = maps(&PromptBatch::from_points(coords, labels));
        let at = |row: usize, col: usize, map: usize| maps[(row * 8 + col) * MAPS + map];
        assert!((at(2, 5, 0) - 1.0).abs() < 1e-6);
        assert!((at(2, 6, 0) - (-0.5_f32 / 0.49).exp()).abs() < 1e-6);
        assert!(at(5, 2, 0) < 1e-3, "rows and columns are not swapped");
        assert!(
            maps.chunks(MAPS)
                .all(|cell| cell[2..].iter().all(|v| v.abs() < f32::EPSILON))
        );
    }

    #[test]
    fn a_box_lights_its_inside() {
        let boxes = Tensor::from_data(
            TensorData::new(vec![8.0_f32, 24.0, 31.0, 63.0], [1, 4]),
            &Device::flex(),
        );
        let maps = maps(&PromptBatch::from_boxes(boxes));
        let at = |row: usize, col: usize| maps[(row * 8 + col) * MAPS + MAPS - 1];
        assert!(at(5, 2) > 0.9 && at(7, 3) > 0.7);
        assert!(at(5, 5) < 0.05 && at(1, 2) < 0.05);
    }
}
