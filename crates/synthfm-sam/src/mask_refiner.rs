//! A small U-Net at the end of our own decoder, which looks at each object's mask as a whole.
//!
//! In SAM's decoder the cells of the image meet the prompt's tokens but not each other, and its end treats the pixels of the
//! upscaled map one by one: an outline follows whatever single pixels look like, leaks through gaps, and stops at an inner part.
//! Interactive segmenters that are convolutional to the end (RITM, Sofiiuk et al. 2021; `ScribblePrompt`, Wong et al. 2024) see
//! a mask with its surroundings at every scale. The refiner takes an object's logits, its cells after the transformer, the
//! image's finer maps and the maps of its clicks, and adds a correction to the logits. A model without it is SAM's, or an older
//! one of ours.

use burn::module::Module;
use burn::tensor::{Device, Tensor};

use crate::conv_blocks::{Conv, Downsample, Norm, ResidualBlock, run, space_to_depth};
use crate::ops::{self, Arithmetic};

/// Logits up to this are told apart well.
const LOGIT_SCALE: f64 = 4.0;

/// Adds to the logits of objects what their surroundings say.
#[derive(Module, Debug)]
pub(crate) struct MaskRefiner {
    // Inputs: at half the resolution of the logits, and at that of the cells, a quarter.
    of_half: Conv,
    of_full: Conv,
    of_clicks: Conv,
    of_logits: Conv,
    of_cells: Conv,
    // Down
    half: ResidualBlock,
    to_quarter: Downsample,
    quarter: ResidualBlock,
    to_eighth: Downsample,
    eighth: Vec<ResidualBlock>,
    // Up
    from_eighth: Conv,
    quarter_up: ResidualBlock,
    from_quarter: Conv,
    half_up: ResidualBlock,
    norm: Norm,
    out: Conv,
}

/// What a [`MaskRefiner`] looks at beside the logits; maps have channels last.
pub(crate) struct RefinerView {
    /// Cells of each object after the transformer, `[BN, g, g, C]`.
    pub(crate) cells: Tensor<4>,
    /// The images' finer maps, `[B, 2g, 2g, C/4]` and `[B, 4g, 4g, C/8]`.
    pub(crate) finer: [Tensor<4>; 2],
    /// What the clicks' maps add to the finest features of each object, `[BN, 4g, 4g, C/8]`.
    pub(crate) clicks: Tensor<4>,
}

impl MaskRefiner {
    /// All weights zero, for embeddings of `dim` channels; `blocks` are those at its coarsest.
    pub(crate) fn new(blocks: usize, dim: usize, device: &Device) -> Self {
        let fine = dim / 8;
        let [half, quarter, eighth] = [dim / 4, dim / 2, dim];
        Self {
            of_half: Conv::new(1, half, half, device),
            of_full: Conv::new(1, 4 * fine, half, device),
            of_clicks: Conv::new(1, 4 * fine, half, device),
            of_logits: Conv::new(1, 4, half, device),
            of_cells: Conv::new(1, dim, quarter, device),
            half: ResidualBlock::new(half, device),
            to_quarter: Downsample::new(half, quarter, device),
            quarter: ResidualBlock::new(quarter, device),
            to_eighth: Downsample::new(quarter, eighth, device),
            eighth: (0..blocks)
                .map(|_| ResidualBlock::new(eighth, device))
                .collect(),
            from_eighth: Conv::new(1, eighth, 4 * quarter, device),
            quarter_up: ResidualBlock::new(quarter, device),
            from_quarter: Conv::new(1, quarter, 4 * half, device),
            half_up: ResidualBlock::new(half, device),
            norm: Norm::new(half, device),
            out: Conv::new(1, half, 4, device),
        }
    }

    /// # Shapes
    /// `logits` `[BN, K, 4g, 4g]`, on images `image_of_object` of the B in `view` -> as `logits`; g is even; products in the
    /// given arithmetic
    pub(crate) fn forward(
        &self,
        logits: Tensor<4>,
        view: RefinerView,
        image_of_object: &[usize],
        arithmetic: Arithmetic,
    ) -> Tensor<4> {
        let [objects, masks, m, _] = logits.dims();
        let logits = logits.reshape([objects * masks, m, m, 1]);
        let object_of_mask: Vec<usize> = (0..objects * masks).map(|i| i / masks).collect();
        let cells = ops::select_rows(view.cells.clone(), &object_of_mask);
        let seen = ops::select_rows(
            self.seen(view, image_of_object, arithmetic),
            &object_of_mask,
        );

        let bounded = space_to_depth((logits.clone() / LOGIT_SCALE).tanh());
        let half = self.of_logits.forward_residual(bounded, seen, arithmetic);
        let half = self.half.forward(half, arithmetic);
        let quarter = self.to_quarter.forward(half.clone(), arithmetic);
        let quarter = self.of_cells.forward_residual(cells, quarter, arithmetic);
        let quarter = self.quarter.forward(quarter, arithmetic);
        let eighth = self.to_eighth.forward(quarter.clone(), arithmetic);
        let eighth = run(&self.eighth, eighth, arithmetic);

        let quarter = self
            .from_eighth
            .spread_residual(eighth, quarter, arithmetic);
        let quarter = self.quarter_up.forward(quarter, arithmetic);
        let half = self.from_quarter.spread_residual(quarter, half, arithmetic);
        let half = self.norm.forward(self.half_up.forward(half, arithmetic));
        self.out
            .spread_residual(half, logits, arithmetic)
            .reshape([objects, masks, m, m])
    }

    /// The image and the clicks of each object: `[BN, 2g, 2g, C/4]`.
    fn seen(
        &self,
        view: RefinerView,
        image_of_object: &[usize],
        arithmetic: Arithmetic,
    ) -> Tensor<4> {
        let [half, full] = view.finer;
        let x = self.of_half.forward_in(half, arithmetic);
        let x = self.of_full.forward_patches_residual(full, x, arithmetic);
        let x = ops::select_rows(x, image_of_object);
        self.of_clicks
            .forward_patches_residual(view.clicks, x, arithmetic)
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::TensorData;

    use super::*;
    use crate::testing::{fill, values};

    const G: usize = 4;
    const DIM: usize = 16;

    fn tensor(shape: [usize; 4], phase: f32) -> Tensor<4> {
        let count = shape.iter().product::<usize>();
        let values = (0..count)
            .map(|i| (0.37 * i as f32 + phase).sin())
            .collect::<Vec<_>>();
        Tensor::from_data(TensorData::new(values, shape), &Device::flex())
    }

    fn view(objects: usize, images: usize) -> RefinerView {
        RefinerView {
            cells: tensor([objects, G, G, DIM], 1.0),
            finer: [
                tensor([images, 2 * G, 2 * G, DIM / 4], 2.0),
                tensor([images, 4 * G, 4 * G, DIM / 8], 3.0),
            ],
            clicks: tensor([objects, 4 * G, 4 * G, DIM / 8], 4.0),
        }
    }

    fn of_one(view: &RefinerView, object: usize, image: usize) -> RefinerView {
        let row = |x: &Tensor<4>, i: usize| x.clone().narrow(0, i, 1);
        RefinerView {
            cells: row(&view.cells, object),
            finer: [row(&view.finer[0], image), row(&view.finer[1], image)],
            clicks: row(&view.clicks, object),
        }
    }

    #[test]
    fn without_weights_the_logits_stay() {
        let logits = tensor([2, 1, 4 * G, 4 * G], 0.0);
        let refiner = MaskRefiner::new(2, DIM, &Device::flex());
        let out = refiner.forward(logits.clone(), view(2, 1), &[0, 0], Arithmetic::F32);
        assert_eq!(values(out), values(logits));
    }

    #[test]
    fn every_mask_sees_its_own_object_and_image() {
        let refiner = fill(MaskRefiner::new(2, DIM, &Device::flex()));
        let images = [1, 0, 1];
        let logits = tensor([3, 2, 4 * G, 4 * G], 0.0);
        let all = refiner.forward(logits.clone(), view(3, 2), &images, Arithmetic::F32);
        for (object, &image) in images.iter().enumerate() {
            for mask in 0..2 {
                let one = |x: &Tensor<4>| x.clone().narrow(0, object, 1).narrow(1, mask, 1);
                let alone = of_one(&view(3, 2), object, image);
                let alone = refiner.forward(one(&logits), alone, &[0], Arithmetic::F32);
                let (alone, all) = (values(alone), values(one(&all)));
                assert!(alone.iter().zip(&all).all(|(a, b)| (a - b).abs() < 1e-5));
                assert_ne!(alone, values(one(&logits)));
            }
        }
    }

    /// A logit's change moves those far away.
    #[test]
    fn surroundings_count() {
        let refiner = fill(MaskRefiner::new(1, DIM, &Device::flex()));
        let m = 4 * G;
        let of = |logits: Vec<f32>| {
            let logits = Tensor::from_data(TensorData::new(logits, [1, 1, m, m]), &Device::flex());
            values(refiner.forward(logits, view(1, 1), &[0], Arithmetic::F32))
        };
        let plain = vec![-2.0_f32; m * m];
        let mut spot = plain.clone();
        spot[0] = 2.0;
        let (plain, spot) = (of(plain), of(spot));
        let moved = |i: usize| (plain[i] - spot[i]).abs();
        // Three quarters of the mask away.
        let far = (12 * m..m * m).map(moved).fold(0.0, f32::max);
        assert!(moved(0) > 3.0 && (1e-6..0.5).contains(&far), "{far}");
    }
}
