//! SAM 2's image encoder (Ravi et al. 2024, section 4): the hierarchical transformer Hiera (Ryali et al. 2023) and a feature
//! pyramid (`sam2/modeling/backbones/{hieradet,image_encoder}.py`).
//!
//! Four stages halve the grid and double width and heads from 1/4 to 1/32 of the input. The embedding lies at 1/16; the
//! maps at 1/8 and 1/4 go to the mask decoder. Differs from Meta's code in that what SAM 2 does once per image with the
//! pyramid (`no_mem_embed`, `conv_s0`, `conv_s1`) belongs to the encoder here, under the keys that checkpoints have for it.

mod blocks;
mod config;
mod neck;
mod positions;
#[cfg(test)]
mod tests;

use burn::module::{Initializer, Module, Param};
use burn::tensor::{Device, Tensor};

use crate::image_encoder::{HighRes, ImageEmbedding};
use crate::layers::{PatchConv, channels_first};
use crate::ops::Arithmetic;
use blocks::{MultiScaleBlock, PatchEmbed};
pub use config::HieraConfig;
pub(crate) use config::STRIDE;
use neck::FpnNeck;
use positions::window_positions;

/// SAM 2's image encoder.
#[derive(Module, Debug)]
pub struct Hiera {
    trunk: Trunk,
    neck: FpnNeck,
    /// To the decoder's map at 1/4 of the input.
    conv_s0: PatchConv,
    /// To the decoder's map at 1/8 of the input.
    conv_s1: PatchConv,
    /// Added to the embedding of an image without memories: `[1, 1, C]`.
    no_mem_embed: Param<Tensor<3>>,
}

impl Hiera {
    pub(crate) fn new(config: &HieraConfig, embed_dim: usize, device: &Device) -> Self {
        let widths = config.stage_widths();
        Self {
            trunk: Trunk::new(config, device),
            neck: FpnNeck::new(widths, embed_dim, device),
            conv_s0: PatchConv::new([embed_dim, embed_dim / 8], 1, device),
            conv_s1: PatchConv::new([embed_dim, embed_dim / 4], 1, device),
            no_mem_embed: Initializer::Zeros.init([1, 1, embed_dim], device),
        }
    }

    /// # Shapes
    /// `[B, 3, S, S]`, S a multiple of 32 -> embedding `[B, C, S/16, S/16]` and finer maps
    pub(crate) fn forward(&self, image: Tensor<4>, arithmetic: Arithmetic) -> ImageEmbedding {
        let levels = self.trunk.forward(image, arithmetic);
        let [fine, middle, coarse] = self.neck.forward(levels, arithmetic);
        let embedding = coarse + self.no_mem_embed.val().unsqueeze_dim::<4>(1);
        let finer =
            |conv: &PatchConv, map: Tensor<4>| channels_first(conv.forward_in(map, arithmetic));
        ImageEmbedding {
            image_embedding: channels_first(embedding),
            high_res: Some(HighRes::new(
                finer(&self.conv_s1, middle),
                finer(&self.conv_s0, fine),
                None,
            )),
        }
    }
}

/// Hiera itself (`Hiera`).
#[derive(Module, Debug)]
struct Trunk {
    patch_embed: PatchEmbed,
    /// Interpolated to the grid: `[1, D, k, k]`.
    pos_embed: Param<Tensor<4>>,
    /// Repeated over the grid, a window each: `[1, D, w, w]`.
    pos_embed_window: Param<Tensor<4>>,
    blocks: Vec<MultiScaleBlock>,
    stage_ends: [usize; 4],
}

impl Trunk {
    fn new(config: &HieraConfig, device: &Device) -> Self {
        let table = |[height, width]: [usize; 2]| {
            Initializer::Zeros.init([1, config.embed_dim, height, width], device)
        };
        Self {
            patch_embed: PatchEmbed::new(config.embed_dim, device),
            pos_embed: table(config.window_pos_embed_bkg_spatial_size),
            pos_embed_window: table([config.window_spec[0]; 2]),
            blocks: config
                .blocks()
                .iter()
                .map(|block| MultiScaleBlock::new(block, device))
                .collect(),
            stage_ends: config.stage_ends(),
        }
    }

    /// # Shapes
    /// `[B, 3, S, S]` -> the ends of the stages, channels-last: S/4 and D, S/8 and 2 D, S/16 and 4 D, S/32 and 8 D
    fn forward(&self, image: Tensor<4>, arithmetic: Arithmetic) -> [Tensor<4>; 4] {
        let mut x = self.tokens(image, arithmetic);
        let mut ends = Vec::with_capacity(4);
        for (i, block) in self.blocks.iter().enumerate() {
            x = block.forward(x, arithmetic);
            if self.stage_ends.contains(&i) {
                ends.push(x.clone());
            }
        }
        ends.try_into().expect("four stages have four last blocks")
    }

    /// Patch embedding plus absolute position: `[B, 3, S, S]` -> `[B, S/4, S/4, D]`.
    fn tokens(&self, image: Tensor<4>, arithmetic: Arithmetic) -> Tensor<4> {
        let patches = self.patch_embed.forward(image, arithmetic);
        let [_, height, width, _] = patches.dims();
        let tables = [self.pos_embed.val(), self.pos_embed_window.val()];
        patches + window_positions(tables, [height, width])
    }
}
