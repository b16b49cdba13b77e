//! The sizes of SAM 2's image encoders (`sam2/configs/sam2.1/*.yaml`).

use serde::{Deserialize, Serialize};

/// Pixels of the input per cell of the embedding's grid.
pub(crate) const STRIDE: usize = 16;

/// Sizes of [`super::Hiera`], under the names of Meta's configurations.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HieraConfig {
    /// Channels of the first stage; each further stage has twice as many.
    pub embed_dim: usize,
    /// Attention heads of the first stage; each further stage has twice as many.
    pub num_heads: usize,
    /// Blocks of the stages, at 1/4, 1/8, 1/16 and 1/32 of the input's side.
    pub stages: [usize; 4],
    /// Blocks (from 0, over all stages) that attend over the whole grid.
    pub global_att_blocks: Vec<usize>,
    /// Rows and columns of the table of positions that is interpolated to the grid.
    pub window_pos_embed_bkg_spatial_size: [usize; 2],
    /// Side of an attention window in tokens, by stage; the first block of a stage keeps that of the stage before.
    pub window_spec: [usize; 4],
}

/// Sizes of one block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BlockSizes {
    /// Channels of the input.
    pub(crate) dim: usize,
    /// Channels of the output.
    pub(crate) dim_out: usize,
    pub(crate) heads: usize,
    /// Side of its windows; `None` for the whole grid.
    pub(crate) window: Option<usize>,
    /// Whether it halves the grid.
    pub(crate) pooled: bool,
}

impl HieraConfig {
    /// `sam2.1_hiera_tiny.pt` and `sam2_hiera_tiny.pt`.
    pub fn tiny() -> Self {
        Self {
            embed_dim: 96,
            num_heads: 1,
            stages: [1, 2, 7, 2],
            global_att_blocks: vec![5, 7, 9],
            window_pos_embed_bkg_spatial_size: [7, 7],
            window_spec: [8, 4, 14, 7],
        }
    }

    /// `sam2.1_hiera_small.pt` and `sam2_hiera_small.pt`.
    pub fn small() -> Self {
        Self {
            stages: [1, 2, 11, 2],
            global_att_blocks: vec![7, 10, 13],
            ..Self::tiny()
        }
    }

    /// `sam2.1_hiera_base_plus.pt` and `sam2_hiera_base_plus.pt`.
    pub fn base_plus() -> Self {
        Self {
            embed_dim: 112,
            num_heads: 2,
            stages: [2, 3, 16, 3],
            global_att_blocks: vec![12, 16, 20],
            window_pos_embed_bkg_spatial_size: [14, 14],
            window_spec: [8, 4, 14, 7],
        }
    }

    /// `sam2.1_hiera_large.pt` and `sam2_hiera_large.pt`.
    pub fn large() -> Self {
        Self {
            embed_dim: 144,
            num_heads: 2,
            stages: [2, 6, 36, 4],
            global_att_blocks: vec![23, 33, 43],
            window_pos_embed_bkg_spatial_size: [7, 7],
            window_spec: [8, 4, 16, 8],
        }
    }

    /// All published sizes.
    pub(crate) fn published() -> [Self; 4] {
        [
            Self::tiny(),
            Self::small(),
            Self::base_plus(),
            Self::large(),
        ]
    }

    /// Channels of the stages.
    pub(crate) fn stage_widths(&self) -> [usize; 4] {
        std::array::from_fn(|stage| self.embed_dim << stage)
    }

    /// The last block of each stage.
    pub(crate) fn stage_ends(&self) -> [usize; 4] {
        std::array::from_fn(|stage| {
            self.stages[..=stage]
                .iter()
                .sum::<usize>()
                .saturating_sub(1)
        })
    }

    /// Every block in order.
    pub(crate) fn blocks(&self) -> Vec<BlockSizes> {
        let widths = self.stage_widths();
        let mut blocks = Vec::new();
        for (stage, &depth) in self.stages.iter().enumerate() {
            for i in 0..depth {
                let first = i == 0 && stage > 0;
                let before = if first { stage - 1 } else { stage };
                let global = self.global_att_blocks.contains(&blocks.len());
                blocks.push(BlockSizes {
                    dim: widths[before],
                    dim_out: widths[stage],
                    heads: self.num_heads << stage,
                    window: (!global).then_some(self.window_spec[before]),
                    pooled: first,
                });
            }
        }
        blocks
    }
}
