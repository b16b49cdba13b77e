//! The blocks of [`super::Hiera`] (`MultiScaleBlock` of `sam2/modeling/backbones/hieradet.py`).
//!
//! Pre-norm transformer blocks attend inside windows or over the whole grid, without relative positions. The first block
//! of a stage halves the grid: its queries and its shortcut are maxima of 2 × 2 tokens. Differs in that the tokens which
//! fill up the last windows are never made: their queries, keys and values are the bias.

use burn::module::{Initializer, Module, Param};
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Tensor};

use super::config::BlockSizes;
use crate::image_encoder::EPSILON;
use crate::layers::{LayerNorm, apply, apply_residual, bias, channels_last};
use crate::ops::{self, Activation, Arithmetic};

/// Side of a patch in pixels; patches overlap.
const PATCH: usize = 7;
/// Pixels between the centres of neighbouring patches.
const PATCH_STRIDE: usize = 4;
/// Hidden width of a block's MLP over its channels.
const MLP_RATIO: usize = 4;

/// 7 × 7 pixels to a token (`PatchEmbed`).
#[derive(Module, Debug)]
pub(super) struct PatchEmbed {
    proj: PatchProjection,
}

#[derive(Module, Debug)]
struct PatchProjection {
    /// `[D, 3, 7, 7]`
    weight: Param<Tensor<4>>,
    bias: Param<Tensor<1>>,
}

impl PatchEmbed {
    pub(super) fn new(dim: usize, device: &Device) -> Self {
        Self {
            proj: PatchProjection {
                weight: Initializer::Zeros.init([dim, 3, PATCH, PATCH], device),
                bias: Initializer::Zeros.init([dim], device),
            },
        }
    }

    /// # Shapes
    /// `[B, 3, S, S]` -> `[B, S/4, S/4, D]`
    pub(super) fn forward(&self, image: Tensor<4>, _: Arithmetic) -> Tensor<4> {
        // [D, 3, 7, 7] -> [7, 7, 3, D]
        let weight = self.proj.weight.val().permute([2, 3, 1, 0]);
        let parts = (weight, self.proj.bias.val());
        ops::strided_conv(channels_last(image), parts, PATCH_STRIDE, Activation::None)
    }
}

/// One transformer block.
#[derive(Module, Debug)]
pub(super) struct MultiScaleBlock {
    norm1: LayerNorm,
    attn: MultiScaleAttention,
    norm2: LayerNorm,
    mlp: Mlp,
    /// The shortcut's projection, where the width changes.
    proj: Option<Linear>,
}

impl MultiScaleBlock {
    pub(super) fn new(sizes: &BlockSizes, device: &Device) -> Self {
        let BlockSizes { dim, dim_out, .. } = *sizes;
        Self {
            norm1: LayerNorm::new(dim, EPSILON, device),
            attn: MultiScaleAttention::new(sizes, device),
            norm2: LayerNorm::new(dim_out, EPSILON, device),
            mlp: Mlp::new(dim_out, MLP_RATIO * dim_out, device),
            proj: (dim != dim_out).then(|| LinearConfig::new(dim, dim_out).init(device)),
        }
    }

    /// # Shapes
    /// `[B, h, w, D]` -> `[B, h, w, D]`, or `[B, h/2, w/2, 2 D]` at the start of a stage
    pub(super) fn forward(&self, x: Tensor<4>, arithmetic: Arithmetic) -> Tensor<4> {
        let normal = self.norm1.forward(x.clone());
        let shortcut = match &self.proj {
            Some(proj) => max_pool(apply(proj, normal.clone(), Activation::None, arithmetic)),
            None => x,
        };
        let x = self.attn.forward_residual(normal, shortcut, arithmetic);
        let normal = self.norm2.forward(x.clone());
        self.mlp.forward_residual(normal, x, arithmetic)
    }
}

/// Largest values of 2 × 2 tokens: `[B, h, w, C]` -> `[B, h/2, w/2, C]`.
fn max_pool(x: Tensor<4>) -> Tensor<4> {
    let [b, h, w, c] = x.dims();
    let x = x.reshape([b * (h / 2), 2, w / 2, 2 * c]);
    let rows = x.max_dim(1).reshape([b * (h / 2), w / 2, 2, c]);
    rows.max_dim(2).reshape([b, h / 2, w / 2, c])
}

/// Multi-head attention inside windows, with pooled queries at the start of a stage.
#[derive(Module, Debug)]
struct MultiScaleAttention {
    qkv: Linear,
    proj: Linear,
    heads: usize,
    window: Option<usize>,
    pooled: bool,
}

impl MultiScaleAttention {
    fn new(sizes: &BlockSizes, device: &Device) -> Self {
        let BlockSizes {
            dim,
            dim_out,
            heads,
            window,
            pooled,
        } = *sizes;
        Self {
            qkv: LinearConfig::new(dim, 3 * dim_out).init(device),
            proj: LinearConfig::new(dim_out, dim_out).init(device),
            heads,
            window,
            pooled,
        }
    }

    /// `residual` + attention inside the windows of `x`, or over all of it. Where windows reach beyond the map, the
    /// padding takes part: of a zero token, query, key and value are the bias.
    ///
    /// # Shapes
    /// `[B, h, w, D]` -> as `residual`: `[B, h, w, D']`, or `[B, h/2, w/2, D']`
    fn forward_residual(
        &self,
        x: Tensor<4>,
        residual: Tensor<4>,
        arithmetic: Arithmetic,
    ) -> Tensor<4> {
        let [_, h, w, _] = x.dims();
        let attended = ops::plain_attention(
            apply(&self.qkv, x, Activation::None, arithmetic),
            bias(&self.qkv),
            ops::PlainWindows {
                window: self.window.map_or([h, w], |side| [side, side]),
                heads: self.heads,
                pooled: self.pooled,
            },
            arithmetic,
        );
        apply_residual(&self.proj, attended, residual, arithmetic)
    }
}

/// Two linear layers with GELU between them (`MLP`).
#[derive(Module, Debug)]
struct Mlp {
    layers: Vec<Linear>,
}

impl Mlp {
    fn new(dim: usize, hidden: usize, device: &Device) -> Self {
        Self {
            layers: vec![
                LinearConfig::new(dim, hidden).init(device),
                LinearConfig::new(hidden, dim).init(device),
            ],
        }
    }

    /// x + the layers' output for `input`.
    fn forward_residual(
        &self,
        input: Tensor<4>,
        x: Tensor<4>,
        arithmetic: Arithmetic,
    ) -> Tensor<4> {
        let hidden = apply(&self.layers[0], input, Activation::Gelu, arithmetic);
        apply_residual(&self.layers[1], hidden, x, arithmetic)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::values;

    #[test]
    fn pooling_takes_the_largest_of_four() {
        // Two channels on 2 × 4 tokens: the place, and its negative.
        let device = Device::flex();
        let tokens: Vec<f32> = (0..8u8)
            .flat_map(|i| [f32::from(i), -f32::from(i)])
            .collect();
        let x = Tensor::<1>::from_floats(tokens.as_slice(), &device).reshape([1, 2, 4, 2]);
        let got = max_pool(x);
        assert_eq!(got.dims(), [1, 1, 2, 2]);
        assert_eq!(values(got), [5.0, 0.0, 7.0, -2.0]);
    }
}
