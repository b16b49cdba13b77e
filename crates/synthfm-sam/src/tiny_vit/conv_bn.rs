//! A convolution followed by batch normalisation with fixed statistics (`Conv2d_BN`).
//!
//! The normalisation is a scale and a shift per channel, which are folded into the convolution whenever it
//! runs: the parameters stay those of the checkpoint, and the fold costs less than a row of the image.

use burn::module::{Initializer, Module, Param};
use burn::tensor::{Device, Tensor};

use crate::ops::{self, Activation, Arithmetic};

/// `torch.nn.BatchNorm2d`.
pub(crate) const EPSILON: f64 = 1e-5;

/// Convolution without bias, batch normalisation.
#[derive(Module, Debug)]
pub(super) struct ConvBn {
    c: Kernel,
    bn: BatchNorm,
    stride: usize,
    groups: usize,
}

#[derive(Module, Debug)]
struct Kernel {
    /// `[out, in / groups, k, k]`
    weight: Param<Tensor<4>>,
}

/// Scale, shift and statistics per channel, `[out]`; the statistics are buffers and never trained.
#[derive(Module, Debug)]
struct BatchNorm {
    weight: Param<Tensor<1>>,
    bias: Param<Tensor<1>>,
    running_mean: Param<Tensor<1>>,
    running_var: Param<Tensor<1>>,
}

impl ConvBn {
    /// Channels in and out, an odd kernel's side, stride 1. Keeps the grid.
    pub(super) fn new([input, output]: [usize; 2], kernel: usize, device: &Device) -> Self {
        Self::grouped([input, output], kernel, 1, device)
    }

    /// A convolution of each channel with a kernel of its own.
    pub(super) fn depthwise(channels: usize, kernel: usize, device: &Device) -> Self {
        Self::grouped([channels, channels], kernel, channels, device)
    }

    #[must_use]
    pub(super) fn with_stride(self, stride: usize) -> Self {
        Self { stride, ..self }
    }

    fn grouped(channels: [usize; 2], kernel: usize, groups: usize, device: &Device) -> Self {
        let [input, output] = channels;
        let per_group = input / groups;
        let bound = 1.0 / ((per_group * kernel * kernel) as f64).sqrt();
        let init = Initializer::Uniform {
            min: -bound,
            max: bound,
        };
        Self {
            c: Kernel {
                weight: init.init([output, per_group, kernel, kernel], device),
            },
            bn: BatchNorm::new(output, device),
            stride: 1,
            groups,
        }
    }

    /// # Shapes
    /// `[B, h, w, in]` -> `[B, ceil(h / stride), ceil(w / stride), out]`
    pub(super) fn forward(
        &self,
        x: Tensor<4>,
        activation: Activation,
        arithmetic: Arithmetic,
    ) -> Tensor<4> {
        let (weight, shift) = self.folded();
        let [out, input, side, _] = weight.dims();
        if self.groups > 1 {
            let weight = weight.permute([2, 3, 0, 1]).reshape([side, side, out]);
            ops::depthwise(x, (weight, shift), self.stride, activation)
        } else if side == 1 && self.stride == 1 {
            let weight = weight.reshape([out, input]).transpose();
            ops::linear(x, weight, shift, activation, arithmetic)
        } else {
            let weight = weight.permute([2, 3, 1, 0]);
            ops::strided_conv(x, (weight, shift), self.stride, activation)
        }
    }

    /// A convolution with a 1×1 kernel, around which `residual` is led.
    ///
    /// # Shapes
    /// `[B, h, w, in]`, `[B, h, w, out]` -> `[B, h, w, out]`
    pub(super) fn forward_residual(
        &self,
        x: Tensor<4>,
        residual: Tensor<4>,
        arithmetic: Arithmetic,
    ) -> Tensor<4> {
        let (weight, shift) = self.folded();
        let [out, input, ..] = weight.dims();
        let weight = weight.reshape([out, input]).transpose();
        ops::linear_residual(x, weight, shift, residual, arithmetic)
    }

    /// The kernel, `[out, in / groups, k, k]`, and the bias, `[out]`, with the normalisation in them.
    fn folded(&self) -> (Tensor<4>, Tensor<1>) {
        let (scale, shift) = self.bn.scale_and_shift();
        let weight = self.c.weight.val();
        let out = weight.dims()[0];
        (weight * scale.reshape([out, 1, 1, 1]), shift)
    }
}

impl BatchNorm {
    fn new(channels: usize, device: &Device) -> Self {
        let ones = || Initializer::Ones.init([channels], device);
        let zeros = || Initializer::Zeros.init([channels], device);
        let buffer = |param: Param<Tensor<1>>| param.set_require_grad(false);
        Self {
            weight: ones(),
            bias: zeros(),
            running_mean: buffer(zeros()),
            running_var: buffer(ones()),
        }
    }

    /// (x - mean) / √(var + ε) · weight + bias as a scale and a shift of x.
    fn scale_and_shift(&self) -> (Tensor<1>, Tensor<1>) {
        let scale = self.weight.val() / (self.running_var.val() + EPSILON).sqrt();
        let shift = self.bias.val() - self.running_mean.val() * scale.clone();
        (scale, shift)
    }
}
