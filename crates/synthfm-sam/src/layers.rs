//! The layers SAM is made of, under the parameter names of Meta's checkpoints.
//!
//! Feature maps are channels-last here (`[B, h, w, C]`), so that normalisation and the convolutions
//! whose stride equals their kernel are plain products; weights keep `PyTorch`'s layout. Differs from
//! `segment_anything/modeling/common.py` in that layout alone.

use burn::module::{Initializer, Module, Param};
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Tensor};

use crate::ops::{self, Activation, Arithmetic};

/// `torch.nn.LayerNorm` over the last dimension; on channels-last maps also Meta's `LayerNorm2d`.
#[derive(Module, Debug)]
pub(crate) struct LayerNorm {
    weight: Param<Tensor<1>>,
    bias: Param<Tensor<1>>,
    epsilon: f64,
}

impl LayerNorm {
    /// Identity scale and zero shift over `dim` channels.
    pub(crate) fn new(dim: usize, epsilon: f64, device: &Device) -> Self {
        Self {
            weight: Initializer::Ones.init([dim], device),
            bias: Initializer::Zeros.init([dim], device),
            epsilon,
        }
    }

    /// # Shapes
    /// `[.., C]` -> `[.., C]`
    pub(crate) fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        ops::layer_norm(x, self.weight.val(), self.bias.val(), self.epsilon)
    }

    /// Scale, shift and epsilon.
    pub(crate) fn parts(&self) -> (Tensor<1>, Tensor<1>, f64) {
        (self.weight.val(), self.bias.val(), self.epsilon)
    }
}

/// A linear layer and what follows it.
pub(crate) fn apply<const D: usize>(
    layer: &Linear,
    x: Tensor<D>,
    activation: Activation,
    arithmetic: Arithmetic,
) -> Tensor<D> {
    ops::linear(x, layer.weight.val(), bias(layer), activation, arithmetic)
}

/// A linear layer around which `residual` is led.
pub(crate) fn apply_residual<const D: usize>(
    layer: &Linear,
    x: Tensor<D>,
    residual: Tensor<D>,
    arithmetic: Arithmetic,
) -> Tensor<D> {
    ops::linear_residual(x, layer.weight.val(), bias(layer), residual, arithmetic)
}

/// The bias of a layer; SAM's linear layers all have one.
pub(crate) fn bias(layer: &Linear) -> Tensor<1> {
    layer.bias.as_ref().expect("made with a bias").val()
}

/// Meta's `MLPBlock`: two linear layers with a nonlinearity between them.
#[derive(Module, Debug)]
pub(crate) struct Mlp {
    lin1: Linear,
    lin2: Linear,
}

impl Mlp {
    pub(crate) fn new(dim: usize, hidden: usize, device: &Device) -> Self {
        Self {
            lin1: LinearConfig::new(dim, hidden).init(device),
            lin2: LinearConfig::new(hidden, dim).init(device),
        }
    }

    /// x + the block's output for `input`.
    ///
    /// # Shapes
    /// `[.., C]` -> `[.., C]`
    pub(crate) fn forward_residual<const D: usize>(
        &self,
        input: Tensor<D>,
        x: Tensor<D>,
        activation: Activation,
        arithmetic: Arithmetic,
    ) -> Tensor<D> {
        let hidden = apply(&self.lin1, input, activation, arithmetic);
        apply_residual(&self.lin2, hidden, x, arithmetic)
    }
}

/// One vector per entry, as `torch.nn.Embedding`.
#[derive(Module, Debug)]
pub(crate) struct Embedding {
    weight: Param<Tensor<2>>,
}

impl Embedding {
    pub(crate) fn new(entries: usize, dim: usize, device: &Device) -> Self {
        let normal = Initializer::Normal {
            mean: 0.0,
            std: 1.0,
        };
        Self {
            weight: normal.init([entries, dim], device),
        }
    }

    /// The whole table, `[entries, C]`.
    pub(crate) fn table(&self) -> Tensor<2> {
        self.weight.val()
    }
}

/// Uniform in `±1/sqrt(fan_in)`: `PyTorch`'s default for linear and convolution layers.
fn torch_default(fan_in: usize) -> Initializer {
    let bound = 1.0 / (fan_in as f64).sqrt();
    Initializer::Uniform {
        min: -bound,
        max: bound,
    }
}

/// A convolution whose stride equals its kernel, computed as one product.
#[derive(Module, Debug)]
pub(crate) struct PatchConv {
    /// `[out, in, k, k]`
    weight: Param<Tensor<4>>,
    bias: Option<Param<Tensor<1>>>,
}

impl PatchConv {
    pub(crate) fn new(channels: [usize; 2], kernel: usize, device: &Device) -> Self {
        let bias = torch_default(channels[0] * kernel * kernel).init([channels[1]], device);
        Self {
            bias: Some(bias),
            ..Self::without_bias(channels, kernel, device)
        }
    }

    pub(crate) fn without_bias(channels: [usize; 2], kernel: usize, device: &Device) -> Self {
        let [input, output] = channels;
        let init = torch_default(input * kernel * kernel);
        Self {
            weight: init.init([output, input, kernel, kernel], device),
            bias: None,
        }
    }

    /// # Shapes
    /// `[B, h k, w k, in]` -> `[B, h, w, out]`
    pub(crate) fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.forward_in(x, Arithmetic::F32)
    }

    pub(crate) fn forward_in(&self, x: Tensor<4>, arithmetic: Arithmetic) -> Tensor<4> {
        let [out, c, k, _] = self.weight.dims();
        let [b, height, width, _] = x.dims();
        let (h, w) = (height / k, width / k);
        // [B, h, k, w, k, in] -> [B, h, w, in, k, k] -> [B, h, w, in k k]
        let patches = x
            .reshape([b, h, k, w, k, c])
            .permute([0, 1, 3, 5, 2, 4])
            .reshape([b, h, w, c * k * k]);
        let weight = self.weight.val().reshape([out, c * k * k]).transpose();
        let bias = match &self.bias {
            Some(bias) => bias.val(),
            None => Tensor::zeros([out], &weight.device()),
        };
        ops::linear(patches, weight, bias, Activation::None, arithmetic)
    }
}

/// `torch.nn.ConvTranspose2d` with kernel 2 and stride 2, computed as one product.
#[derive(Module, Debug)]
pub(crate) struct UpConv {
    /// `[in, out, 2, 2]`
    weight: Param<Tensor<4>>,
    bias: Param<Tensor<1>>,
}

impl UpConv {
    pub(crate) fn new(channels: [usize; 2], device: &Device) -> Self {
        let [input, output] = channels;
        let init = torch_default(output * 4);
        Self {
            weight: init.init([input, output, 2, 2], device),
            bias: init.init([output], device),
        }
    }

    /// As a product from `in` to `4 out` columns, in which a pixel's channels stay together: the four pixels that it
    /// becomes follow one another, row by row.
    pub(crate) fn projection(&self) -> ops::Projection {
        let [input, out, _, _] = self.weight.dims();
        // [in, out, 2, 2] -> [in, 2, 2, out]
        let weight = self.weight.val().permute([0, 2, 3, 1]);
        (
            weight.reshape([input, 4 * out]),
            self.bias.val().repeat(&[4]),
        )
    }
}

/// `[B, C, h, w]` -> `[B, h, w, C]`
pub(crate) fn channels_last(x: Tensor<4>) -> Tensor<4> {
    x.permute([0, 2, 3, 1])
}

/// `[B, h, w, C]` -> `[B, C, h, w]`
pub(crate) fn channels_first(x: Tensor<4>) -> Tensor<4> {
    x.permute([0, 3, 1, 2])
}
