//! Our own small image encoder: a residual convolutional pyramid with a few global-attention blocks on
//! its coarsest level, and one step back up (a feature pyramid, Lin et al. 2017).
//!
//! It replaces SAM's ViT behind the same interface: a `[B, C, g, g]` embedding with g = S/8, and the
//! two finer feature maps that SAM 2's mask decoder adds while it upscales (`high_res`). Inside, data
//! are channels-last and downsampling is space-to-depth followed by a product, so that nearly all work
//! is matrix products.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::conv_blocks::{Conv, Downsample, Norm, ResidualBlock, run, space_to_depth, upsample};
use crate::image_encoder::{HighRes, ImageEmbedding};
use crate::layers::channels_first;
use crate::ops::{self, Arithmetic};

/// Pixels of the input per cell of the embedding grid.
pub(crate) const STRIDE: usize = 8;

/// Widths and depths of [`SmallEncoder`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SmallEncoderConfig {
    /// Channels at 1/2, 1/4, 1/8 and 1/16 of the input's side.
    pub channels: [usize; 4],
    /// Residual blocks at 1/4, 1/8 and 1/16.
    pub blocks: [usize; 3],
    /// Global-attention blocks at 1/16.
    pub attention_blocks: usize,
    /// Heads of each attention; divides the channels at 1/16.
    pub num_heads: usize,
}

impl Default for SmallEncoderConfig {
    fn default() -> Self {
        Self {
            channels: [32, 64, 128, 256],
            blocks: [2, 3, 2],
            attention_blocks: 2,
            num_heads: 8,
        }
    }
}

/// Pre-norm transformer block with global attention over the grid; positions come from the
/// convolutions before it, so any grid size works.
#[derive(Module, Debug)]
struct AttentionBlock {
    norm1: Norm,
    qkv: Conv,
    proj: Conv,
    norm2: Norm,
    lin1: Conv,
    lin2: Conv,
    num_heads: usize,
}

impl AttentionBlock {
    fn new(channels: usize, num_heads: usize, device: &Device) -> Self {
        Self {
            norm1: Norm::new(channels, device),
            qkv: Conv::new(1, channels, 3 * channels, device),
            proj: Conv::new(1, channels, channels, device),
            norm2: Norm::new(channels, device),
            lin1: Conv::new(1, channels, 4 * channels, device),
            lin2: Conv::new(1, 4 * channels, channels, device),
            num_heads,
        }
    }

    fn forward(&self, x: Tensor<4>, arithmetic: Arithmetic) -> Tensor<4> {
        let mixed = self.attention(self.norm1.forward(x.clone()), arithmetic);
        let x = self.proj.forward_residual(mixed, x, arithmetic);
        let y = self.norm2.forward(x.clone());
        let y = self.lin1.forward_relu_in(y, arithmetic);
        self.lin2.forward_residual(y, x, arithmetic)
    }

    /// The values of all cells, mixed for each: `[B, h, w, C]` -> `[B, h, w, C]`.
    fn attention(&self, x: Tensor<4>, arithmetic: Arithmetic) -> Tensor<4> {
        let [b, h, w, c] = x.dims();
        let qkv = self.qkv.forward_in(x, arithmetic);
        let qkv = qkv.reshape([b, h * w, 3 * c]);
        ops::self_attention(qkv, self.num_heads, arithmetic).reshape([b, h, w, c])
    }
}

/// See the module's description.
#[derive(Module, Debug)]
pub struct SmallEncoder {
    stem: Conv,
    down: Vec<Downsample>,
    stage1: Vec<ResidualBlock>,
    stage2: Vec<ResidualBlock>,
    stage3: Vec<ResidualBlock>,
    attention: Vec<AttentionBlock>,
    top: Conv,
    lateral: Conv,
    smooth: Conv,
    neck: Conv,
    neck_norm: Norm,
    high_res_s1: Conv,
    high_res_s0: Conv,
}

impl SmallEncoder {
    /// All weights zero; `embed_dim` is the width C of the embedding.
    pub fn new(config: &SmallEncoderConfig, embed_dim: usize, device: &Device) -> Self {
        let [c0, c1, c2, c3] = config.channels;
        let stage = |blocks: usize, channels: usize| {
            (0..blocks)
                .map(|_| ResidualBlock::new(channels, device))
                .collect()
        };
        Self {
            stem: Conv::new(3, 4 * 3, c0, device),
            down: vec![
                Downsample::new(c0, c1, device),
                Downsample::new(c1, c2, device),
                Downsample::new(c2, c3, device),
            ],
            stage1: stage(config.blocks[0], c1),
            stage2: stage(config.blocks[1], c2),
            stage3: stage(config.blocks[2], c3),
            attention: (0..config.attention_blocks)
                .map(|_| AttentionBlock::new(c3, config.num_heads, device))
                .collect(),
            top: Conv::new(1, c3, embed_dim, device),
            lateral: Conv::new(1, c2, embed_dim, device),
            smooth: Conv::new(3, embed_dim, embed_dim, device),
            neck: Conv::new(1, embed_dim, embed_dim, device),
            neck_norm: Norm::new(embed_dim, device),
            high_res_s1: Conv::new(1, c1, embed_dim / 4, device),
            high_res_s0: Conv::new(1, c0, embed_dim / 8, device),
        }
    }

    /// # Shapes
    /// `x`: `[B, 3, S, S]`, S a multiple of 16; products in the given arithmetic -> embedding `[B, C, S/8, S/8]`, high-resolution features
    /// `[B, C/4, S/4, S/4]` and `[B, C/8, S/2, S/2]`
    pub fn forward(&self, x: Tensor<4>, arithmetic: Arithmetic) -> ImageEmbedding {
        let grey = half_size_grey(x.clone());
        let down = |i: usize, x: &Tensor<4>| self.down[i].forward(x.clone(), arithmetic);
        // Down: 1/2, 1/4, 1/8, 1/16
        let level0 = space_to_depth(x.permute([0, 2, 3, 1]));
        let level0 = self.stem.forward_relu_in(level0, arithmetic);
        let level1 = run(&self.stage1, down(0, &level0), arithmetic);
        let level2 = run(&self.stage2, down(1, &level1), arithmetic);
        let level3 = run(&self.stage3, down(2, &level2), arithmetic);
        let attention = self.attention.iter();
        let level3 = attention.fold(level3, |x, block| block.forward(x, arithmetic));

        // Up: 1/16 joins 1/8
        let top = upsample(self.top.forward_in(level3, arithmetic));
        let joined = self.lateral.forward_residual(level2, top, arithmetic);
        let smooth = self.smooth.forward_relu_in(joined, arithmetic);
        let embedding = self
            .neck_norm
            .forward(self.neck.forward_in(smooth, arithmetic));

        let finer = |conv: &Conv, x: Tensor<4>| channels_first(conv.forward_in(x, arithmetic));
        ImageEmbedding {
            image_embedding: channels_first(embedding),
            high_res: Some(HighRes::new(
                finer(&self.high_res_s1, level1),
                finer(&self.high_res_s0, level0),
                Some(grey),
            )),
        }
    }
}

/// Mean over the channels and over 2 × 2 pixels: `[B, 3, S, S]` -> `[B, 1, S/2, S/2]`.
fn half_size_grey(x: Tensor<4>) -> Tensor<4> {
    let [b, c, h, w] = x.dims();
    let x = x.reshape([b, c, h / 2, 2, w / 2, 2]);
    let x = x.mean_dim(5).mean_dim(3).mean_dim(1);
    x.reshape([b, 1, h / 2, w / 2])
}
