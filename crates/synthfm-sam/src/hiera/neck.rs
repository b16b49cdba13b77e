//! SAM 2's feature pyramid (`FpnNeck` of `sam2/modeling/backbones/image_encoder.py`; Lin et al. 2017).
//!
//! Every level becomes as wide as the embedding; the coarsest is added to the one before it and then dropped
//! (`scalp: 1`). The two finer levels get nothing from coarser ones (`fpn_top_down_levels: [2, 3]`).

use burn::module::Module;
use burn::tensor::{Device, Tensor};

use crate::conv_blocks::upsample;
use crate::layers::PatchConv;
use crate::ops::Arithmetic;

#[derive(Module, Debug)]
pub(super) struct FpnNeck {
    /// The coarsest level's first.
    convs: Vec<Lateral>,
}

#[derive(Module, Debug)]
struct Lateral {
    conv: PatchConv,
}

impl FpnNeck {
    /// `widths`: channels of the levels, the finest first.
    pub(super) fn new(widths: [usize; 4], embed_dim: usize, device: &Device) -> Self {
        let lateral = |&width: &usize| Lateral {
            conv: PatchConv::new([width, embed_dim], 1, device),
        };
        Self {
            convs: widths.iter().rev().map(lateral).collect(),
        }
    }

    /// # Shapes
    /// Levels at 1/4 to 1/32 of the input -> three levels of C channels, channels-last: at 1/4, 1/8 and 1/16
    pub(super) fn forward(
        &self,
        [level0, level1, level2, level3]: [Tensor<4>; 4],
        arithmetic: Arithmetic,
    ) -> [Tensor<4>; 3] {
        let lateral = |i: usize, level| self.convs[i].conv.forward_in(level, arithmetic);
        let top = upsample(lateral(0, level3));
        [
            lateral(3, level0),
            lateral(2, level1),
            lateral(1, level2) + top,
        ]
    }
}
