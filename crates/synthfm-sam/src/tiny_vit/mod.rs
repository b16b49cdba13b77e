//! MobileSAM's image encoder (Zhang et al. 2023): `TinyViT` (Wu et al., ECCV 2022;
//! `mobile_sam/modeling/tiny_vit_sam.py`) with SAM's neck.
//!
//! A stem of two convolutions, a stage of `MBConv` blocks and three stages of windowed attention; every
//! stage but the last ends in a patch merging. As in MobileSAM, the last merging keeps the grid, so that the
//! embedding lies at 1/16 of the input. Differs in that batch normalisation always uses its running
//! statistics, and in that the classifier's head, which MobileSAM carries along, is left out.

mod blocks;
mod conv_bn;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::image_encoder::Neck;
use crate::layers::channels_last;
use crate::ops::{Activation, Arithmetic};
pub(crate) use blocks::{EPSILON as LAYER_NORM_EPSILON, bias_indices};
use blocks::{MbConv, PatchMerging, TinyVitBlock};
use conv_bn::ConvBn;
pub(crate) use conv_bn::EPSILON as BATCH_NORM_EPSILON;

/// Pixels of the input per cell of the embedding's grid.
pub(crate) const STRIDE: usize = 16;

/// Widths and depths of [`TinyVit`]; the default is MobileSAM's `vit_t`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TinyVitConfig {
    /// Channels of the stages, at 1/4, 1/8, 1/16 and again 1/16 of the input's side.
    pub embed_dims: [usize; 4],
    /// Blocks of the stages.
    pub depths: [usize; 4],
    /// Attention heads of the stages after the first.
    pub num_heads: [usize; 3],
    /// Sides of the attention windows of the stages after the first, in tokens.
    pub window_sizes: [usize; 3],
    /// Hidden width of a block's MLP over its channels.
    pub mlp_ratio: f64,
    /// Hidden width of an `MBConv` block over its channels.
    pub mbconv_expand_ratio: f64,
    /// Side of the depthwise convolution between attention and MLP; odd.
    pub local_conv_size: usize,
}

impl Default for TinyVitConfig {
    fn default() -> Self {
        Self {
            embed_dims: [64, 128, 160, 320],
            depths: [2, 2, 6, 2],
            num_heads: [4, 5, 10],
            window_sizes: [7, 14, 7],
            mlp_ratio: 4.0,
            mbconv_expand_ratio: 4.0,
            local_conv_size: 3,
        }
    }
}

impl TinyVitConfig {
    /// Hidden width of the MLPs of `stage` (1 to 3).
    pub(crate) fn mlp_dim(&self, stage: usize) -> usize {
        (self.embed_dims[stage] as f64 * self.mlp_ratio) as usize
    }

    /// Hidden width of the `MBConv` blocks.
    pub(crate) fn mbconv_dim(&self) -> usize {
        (self.embed_dims[0] as f64 * self.mbconv_expand_ratio) as usize
    }
}

/// MobileSAM's image encoder.
#[derive(Module, Debug)]
pub struct TinyVit {
    patch_embed: PatchEmbed,
    layers: Vec<Stage>,
    neck: Neck,
}

impl TinyVit {
    pub(crate) fn new(config: &TinyVitConfig, embed_dim: usize, device: &Device) -> Self {
        let attention = |stage: usize| Stage::Attention(AttentionStage::new(config, stage, device));
        Self {
            patch_embed: PatchEmbed::new(config.embed_dims[0], device),
            layers: vec![
                Stage::Conv(ConvStage::new(config, device)),
                attention(1),
                attention(2),
                attention(3),
            ],
            neck: Neck::new(config.embed_dims[3], embed_dim, device),
        }
    }

    /// # Shapes
    /// `[B, 3, S, S]`, S a multiple of 16 -> `[B, C, S/16, S/16]`
    pub(crate) fn forward(&self, image: Tensor<4>, arithmetic: Arithmetic) -> Tensor<4> {
        let x = self.patch_embed.forward(image, arithmetic);
        let stages = self.layers.iter();
        let x = stages.fold(x, |x, stage| stage.forward(x, arithmetic));
        self.neck.forward(x, arithmetic)
    }
}

/// The stem: two 3×3 convolutions of stride 2.
#[derive(Module, Debug)]
struct PatchEmbed {
    seq: Stem,
}

#[derive(Module, Debug)]
struct Stem {
    conv_0: ConvBn,
    conv_2: ConvBn,
}

impl PatchEmbed {
    fn new(dim: usize, device: &Device) -> Self {
        Self {
            seq: Stem {
                conv_0: ConvBn::new([3, dim / 2], 3, device).with_stride(2),
                conv_2: ConvBn::new([dim / 2, dim], 3, device).with_stride(2),
            },
        }
    }

    /// # Shapes
    /// `[B, 3, S, S]` -> `[B, S/4, S/4, D]`
    fn forward(&self, image: Tensor<4>, arithmetic: Arithmetic) -> Tensor<4> {
        let x = channels_last(image);
        let x = self.seq.conv_0.forward(x, Activation::Gelu, arithmetic);
        self.seq.conv_2.forward(x, Activation::None, arithmetic)
    }
}

/// One of the four stages.
#[derive(Module, Debug)]
enum Stage {
    Conv(ConvStage),
    Attention(AttentionStage),
}

impl Stage {
    /// # Shapes
    /// `[B, h, w, C]` -> `[B, h/s, w/s, C']`, s the stride of the merging
    fn forward(&self, x: Tensor<4>, arithmetic: Arithmetic) -> Tensor<4> {
        match self {
            Self::Conv(stage) => stage.forward(x, arithmetic),
            Self::Attention(stage) => stage.forward(x, arithmetic),
        }
    }
}

/// The first stage (`ConvLayer`).
#[derive(Module, Debug)]
struct ConvStage {
    blocks: Vec<MbConv>,
    downsample: PatchMerging,
}

impl ConvStage {
    fn new(config: &TinyVitConfig, device: &Device) -> Self {
        let [dim, next, ..] = config.embed_dims;
        Self {
            blocks: (0..config.depths[0])
                .map(|_| MbConv::new(dim, config.mbconv_dim(), device))
                .collect(),
            downsample: PatchMerging::new([dim, next], 2, device),
        }
    }

    /// # Shapes
    /// `[B, h, w, D0]` -> `[B, h/2, w/2, D1]`
    fn forward(&self, x: Tensor<4>, arithmetic: Arithmetic) -> Tensor<4> {
        let blocks = self.blocks.iter();
        let x = blocks.fold(x, |x, block| block.forward(x, arithmetic));
        self.downsample.forward(x, arithmetic)
    }
}

/// A stage of windowed attention (`BasicLayer`).
#[derive(Module, Debug)]
struct AttentionStage {
    blocks: Vec<TinyVitBlock>,
    downsample: Option<PatchMerging>,
}

impl AttentionStage {
    fn new(config: &TinyVitConfig, stage: usize, device: &Device) -> Self {
        let dim = config.embed_dims[stage];
        // `PatchMerging` of MobileSAM: the merging into the last stage has stride 1.
        let stride = if stage == 1 { 2 } else { 1 };
        let next = config.embed_dims.get(stage + 1);
        Self {
            blocks: (0..config.depths[stage])
                .map(|_| TinyVitBlock::new(config, stage, device))
                .collect(),
            downsample: next.map(|&next| PatchMerging::new([dim, next], stride, device)),
        }
    }

    /// # Shapes
    /// `[B, h, w, D]` -> `[B, h/s, w/s, D']`, s the stride of the merging
    fn forward(&self, x: Tensor<4>, arithmetic: Arithmetic) -> Tensor<4> {
        let blocks = self.blocks.iter();
        let x = blocks.fold(x, |x, block| block.forward(x, arithmetic));
        match &self.downsample {
            Some(merging) => merging.forward(x, arithmetic),
            None => x,
        }
    }
}

#[cfg(test)]
mod tests;
