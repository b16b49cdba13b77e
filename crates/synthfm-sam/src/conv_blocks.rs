//! Building blocks of our own encoder and decoder: channels-last convolutions on the CPU kernels of
//! [`crate::ops`], residual blocks (He et al. 2016, pre-norm), and changes of resolution by rearrangement.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};

use crate::ops::{self, Arithmetic, Sampling};

/// Large beside the variance of flat regions (padding, air), whose noise a normalisation would blow up.
const NORM_EPSILON: f64 = 0.05;

/// A channels-last convolution, stride 1, that keeps the size; `weight`: `[s, s, C, O]`.
#[derive(Module, Debug)]
pub(crate) struct Conv {
    weight: Param<Tensor<4>>,
    bias: Param<Tensor<1>>,
}

impl Conv {
    /// Zeros: the weights come from a file or from the trainer's seeded initialisation.
    pub(crate) fn new(side: usize, input: usize, output: usize, device: &Device) -> Self {
        Self {
            weight: Param::from_tensor(Tensor::zeros([side, side, input, output], device)),
            bias: Param::from_tensor(Tensor::zeros([output], device)),
        }
    }

    /// # Shapes
    /// `[B, H, W, C]` -> `[B, H, W, O]`
    pub(crate) fn forward_in(&self, x: Tensor<4>, arithmetic: Arithmetic) -> Tensor<4> {
        ops::conv(x, self.parts(), Sampling::Same, false, arithmetic)
    }

    /// [`Self::forward_in`] and a rectifier.
    pub(crate) fn forward_relu_in(&self, x: Tensor<4>, arithmetic: Arithmetic) -> Tensor<4> {
        ops::conv(x, self.parts(), Sampling::Same, true, arithmetic)
    }

    /// `residual` plus the convolution.
    pub(crate) fn forward_residual(
        &self,
        x: Tensor<4>,
        residual: Tensor<4>,
        arithmetic: Arithmetic,
    ) -> Tensor<4> {
        ops::conv_residual(x, self.parts(), residual, Sampling::Same, arithmetic)
    }

    /// `residual` plus the convolution, whose channels are those of 2 × 2 pixels: `[B, H, W, C]` ->
    /// `[B, 2·H, 2·W, O/4]`.
    pub(crate) fn spread_residual(
        &self,
        x: Tensor<4>,
        residual: Tensor<4>,
        arithmetic: Arithmetic,
    ) -> Tensor<4> {
        ops::conv_residual(x, self.parts(), residual, Sampling::Spread, arithmetic)
    }

    /// The convolution of the 2 × 2 pixels of each patch, whose channels follow one another: `[B, H, W, C/4]` ->
    /// `[B, H/2, W/2, O]`.
    fn forward_patches(&self, x: Tensor<4>, arithmetic: Arithmetic) -> Tensor<4> {
        ops::conv(x, self.patches(), Sampling::Patches, false, arithmetic)
    }

    /// `residual` plus the convolution of the 2 × 2 pixels of each patch.
    pub(crate) fn forward_patches_residual(
        &self,
        x: Tensor<4>,
        residual: Tensor<4>,
        arithmetic: Arithmetic,
    ) -> Tensor<4> {
        ops::conv_residual(x, self.patches(), residual, Sampling::Patches, arithmetic)
    }

    /// Weight and bias of a convolution of the 2 × 2 pixels of each patch, whose channels follow one another.
    fn patches(&self) -> (Tensor<4>, Tensor<1>) {
        let (weight, bias) = self.parts();
        let [_, _, c, o] = weight.dims();
        (weight.reshape([2, 2, c / 4, o]), bias)
    }

    /// Weight and bias.
    pub(crate) fn parts(&self) -> (Tensor<4>, Tensor<1>) {
        (self.weight.val(), self.bias.val())
    }
}

/// Layer normalisation over channels.
#[derive(Module, Debug)]
pub(crate) struct Norm {
    weight: Param<Tensor<1>>,
    bias: Param<Tensor<1>>,
}

impl Norm {
    pub(crate) fn new(channels: usize, device: &Device) -> Self {
        Self {
            weight: Param::from_tensor(Tensor::ones([channels], device)),
            bias: Param::from_tensor(Tensor::zeros([channels], device)),
        }
    }

    pub(crate) fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        ops::layer_norm(x, self.weight.val(), self.bias.val(), NORM_EPSILON)
    }
}

/// x + conv2(relu(conv1(norm(x)))), two 3×3 convolutions.
#[derive(Module, Debug)]
pub(crate) struct ResidualBlock {
    norm: Norm,
    conv1: Conv,
    conv2: Conv,
}

impl ResidualBlock {
    pub(crate) fn new(channels: usize, device: &Device) -> Self {
        Self {
            norm: Norm::new(channels, device),
            conv1: Conv::new(3, channels, channels, device),
            conv2: Conv::new(3, channels, channels, device),
        }
    }

    pub(crate) fn forward(&self, x: Tensor<4>, arithmetic: Arithmetic) -> Tensor<4> {
        let y = self.norm.forward(x.clone());
        let y = self.conv1.forward_relu_in(y, arithmetic);
        self.conv2.forward_residual(y, x, arithmetic)
    }
}

/// Halves the grid: 2×2 cells become one, through a product and a normalisation.
#[derive(Module, Debug)]
pub(crate) struct Downsample {
    reduction: Conv,
    norm: Norm,
}

impl Downsample {
    pub(crate) fn new(input: usize, output: usize, device: &Device) -> Self {
        Self {
            reduction: Conv::new(1, 4 * input, output, device),
            norm: Norm::new(output, device),
        }
    }

    pub(crate) fn forward(&self, x: Tensor<4>, arithmetic: Arithmetic) -> Tensor<4> {
        self.norm
            .forward(self.reduction.forward_patches(x, arithmetic))
    }
}

/// `[B, H, W, C]` -> `[B, H/2, W/2, 4·C]`
pub(crate) fn space_to_depth(x: Tensor<4>) -> Tensor<4> {
    let [b, h, w, c] = x.dims();
    x.reshape([b, h / 2, 2, w / 2, 2, c])
        .permute([0, 1, 3, 2, 4, 5])
        .reshape([b, h / 2, w / 2, 4 * c])
}

/// Nearest neighbour: `[B, H, W, C]` -> `[B, 2·H, 2·W, C]`
pub(crate) fn upsample(x: Tensor<4>) -> Tensor<4> {
    let [b, h, w, c] = x.dims();
    x.reshape([b, h, 1, w, 1, c])
        .repeat(&[1, 1, 2, 1, 2, 1])
        .reshape([b, 2 * h, 2 * w, c])
}

/// One block after the other.
pub(crate) fn run(blocks: &[ResidualBlock], x: Tensor<4>, arithmetic: Arithmetic) -> Tensor<4> {
    let blocks = blocks.iter();
    blocks.fold(x, |x, block| block.forward(x, arithmetic))
}
