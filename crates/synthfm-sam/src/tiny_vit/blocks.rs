//! The blocks of [`super::TinyVit`]: `MBConv` (Sandler et al. 2018), windowed attention with learned
//! biases (Graham et al., `LeViT`, 2021), patch merging.

use burn::module::{Initializer, Module, Param};
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Int, Tensor, TensorData};

use super::TinyVitConfig;
use super::conv_bn::ConvBn;
use crate::layers::{LayerNorm, apply, apply_residual};
use crate::ops::{self, Activation, Arithmetic};

/// `torch.nn.LayerNorm`.
pub(crate) const EPSILON: f64 = 1e-5;

/// Inverted residual block: wide, depthwise, narrow.
#[derive(Module, Debug)]
pub(super) struct MbConv {
    conv1: ConvBn,
    conv2: ConvBn,
    conv3: ConvBn,
}

impl MbConv {
    pub(super) fn new(dim: usize, hidden: usize, device: &Device) -> Self {
        Self {
            conv1: ConvBn::new([dim, hidden], 1, device),
            conv2: ConvBn::depthwise(hidden, 3, device),
            conv3: ConvBn::new([hidden, dim], 1, device),
        }
    }

    /// # Shapes
    /// `[B, h, w, C]` -> `[B, h, w, C]`
    pub(super) fn forward(&self, x: Tensor<4>, arithmetic: Arithmetic) -> Tensor<4> {
        let wide = self.conv1.forward(x.clone(), Activation::Gelu, arithmetic);
        let wide = self.conv2.forward(wide, Activation::Gelu, arithmetic);
        ops::gelu(self.conv3.forward_residual(wide, x, arithmetic))
    }
}

/// Changes the width, and halves the grid where its stride is 2.
#[derive(Module, Debug)]
pub(super) struct PatchMerging {
    conv1: ConvBn,
    conv2: ConvBn,
    conv3: ConvBn,
}

impl PatchMerging {
    pub(super) fn new([dim, out]: [usize; 2], stride: usize, device: &Device) -> Self {
        Self {
            conv1: ConvBn::new([dim, out], 1, device),
            conv2: ConvBn::depthwise(out, 3, device).with_stride(stride),
            conv3: ConvBn::new([out, out], 1, device),
        }
    }

    /// # Shapes
    /// `[B, h, w, C]` -> `[B, ceil(h / stride), ceil(w / stride), C']`
    pub(super) fn forward(&self, x: Tensor<4>, arithmetic: Arithmetic) -> Tensor<4> {
        let x = self.conv1.forward(x, Activation::Gelu, arithmetic);
        let x = self.conv2.forward(x, Activation::Gelu, arithmetic);
        self.conv3.forward(x, Activation::None, arithmetic)
    }
}

/// Windowed attention, a depthwise convolution without a residual path, and an MLP.
#[derive(Module, Debug)]
pub(super) struct TinyVitBlock {
    attn: Attention,
    mlp: Mlp,
    local_conv: ConvBn,
}

impl TinyVitBlock {
    pub(super) fn new(config: &TinyVitConfig, stage: usize, device: &Device) -> Self {
        let dim = config.embed_dims[stage];
        let (heads, window) = (config.num_heads[stage - 1], config.window_sizes[stage - 1]);
        Self {
            attn: Attention::new(dim, heads, window, device),
            mlp: Mlp::new(dim, config.mlp_dim(stage), device),
            local_conv: ConvBn::depthwise(dim, config.local_conv_size, device),
        }
    }

    /// # Shapes
    /// `[B, h, w, C]` -> `[B, h, w, C]`
    pub(super) fn forward(&self, x: Tensor<4>, arithmetic: Arithmetic) -> Tensor<4> {
        let x = self.attn.forward_residual(x, arithmetic);
        let x = self.local_conv.forward(x, Activation::None, arithmetic);
        self.mlp.forward_residual(x, arithmetic)
    }
}

/// Normalisation and two linear layers with GELU between them.
#[derive(Module, Debug)]
struct Mlp {
    norm: LayerNorm,
    fc1: Linear,
    fc2: Linear,
}

impl Mlp {
    fn new(dim: usize, hidden: usize, device: &Device) -> Self {
        Self {
            norm: LayerNorm::new(dim, EPSILON, device),
            fc1: LinearConfig::new(dim, hidden).init(device),
            fc2: LinearConfig::new(hidden, dim).init(device),
        }
    }

    /// x + the layers' output for it.
    fn forward_residual(&self, x: Tensor<4>, arithmetic: Arithmetic) -> Tensor<4> {
        let normal = self.norm.forward(x.clone());
        let hidden = apply(&self.fc1, normal, Activation::Gelu, arithmetic);
        apply_residual(&self.fc2, hidden, x, arithmetic)
    }
}

/// Normalisation and multi-head attention inside windows, with a learned bias per head and offset
/// (|Δrow|, |Δcol|).
#[derive(Module, Debug)]
#[expect(
    clippy::struct_field_names,
    reason = "the field's name is the checkpoint's"
)]
struct Attention {
    norm: LayerNorm,
    qkv: Linear,
    proj: Linear,
    /// `[heads, side²]`; column |Δrow| · side + |Δcol|.
    attention_biases: Param<Tensor<2>>,
    side: usize,
}

impl Attention {
    fn new(dim: usize, heads: usize, side: usize, device: &Device) -> Self {
        Self {
            norm: LayerNorm::new(dim, EPSILON, device),
            qkv: LinearConfig::new(dim, 3 * dim).init(device),
            proj: LinearConfig::new(dim, dim).init(device),
            attention_biases: Initializer::Zeros.init([heads, side * side], device),
            side,
        }
    }

    /// x + attention inside its windows. Where windows reach beyond the map, MobileSAM fills it up with zeros,
    /// which are normalised like the rest and take part in the attention: of these tokens, query, key and
    /// value are those of the normalisation's shift.
    ///
    /// # Shapes
    /// `[B, h, w, C]` -> `[B, h, w, C]`
    fn forward_residual(&self, x: Tensor<4>, arithmetic: Arithmetic) -> Tensor<4> {
        let qkv = |normal| apply(&self.qkv, normal, Activation::None, arithmetic);
        let zero = Tensor::<4>::zeros([1, 1, 1, x.dims()[3]], &x.device());
        let padding = qkv(self.norm.forward(zero));
        let attended = ops::table_attention(
            qkv(self.norm.forward(x.clone())),
            padding.flatten::<1>(0, 3),
            self.biases(),
            [self.side, self.side],
            arithmetic,
        );
        apply_residual(&self.proj, attended, x, arithmetic)
    }

    /// What is added to the scores, `[heads, n, n]` by query and key (`attention_bias_idxs`).
    fn biases(&self) -> Tensor<3> {
        let table = self.attention_biases.val();
        let (heads, side) = (table.dims()[0], self.side);
        let n = side * side;
        let index = TensorData::new(bias_indices(side), [n * n]);
        let index = Tensor::<1, Int>::from_data(index, &table.device());
        table.select(1, index).reshape([heads, n, n])
    }
}

/// Which column of the table of biases each query and key of a window take (`attention_bias_idxs`):
/// `[side², side²]`.
pub(crate) fn bias_indices(side: usize) -> Vec<i64> {
    let n = side * side;
    (0..n * n)
        .map(|i| {
            let (query, key) = (i / n, i % n);
            let rows = (query / side).abs_diff(key / side);
            let cols = (query % side).abs_diff(key % side);
            (rows * side + cols) as i64
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::values;

    #[test]
    fn biases_depend_on_the_offset_alone() {
        let device = Device::flex();
        let mut attention = Attention::new(2, 1, 2, &device);
        // Columns: same place, one to the side, one below, diagonal.
        let table = Tensor::<2>::from_floats([[0.0, 1.0, 2.0, 3.0]], &device);
        attention.attention_biases = Param::from_tensor(table);
        let expected = [
            [0.0, 1.0, 2.0, 3.0],
            [1.0, 0.0, 3.0, 2.0],
            [2.0, 3.0, 0.0, 1.0],
            [3.0, 2.0, 1.0, 0.0],
        ];
        assert_eq!(values(attention.biases()), expected.concat());
    }
}
