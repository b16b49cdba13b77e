//! The parameters of SAM 2's memory of earlier frames (`sam2/modeling/{sam2_base,memory_attention,memory_encoder}.py`).
//!
//! They take no part in the answer about a single image. A model holds them so that its files stay whole: Meta's code
//! loads a checkpoint only with all of them.

use burn::module::{Initializer, Module, Param};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::layers::LayerNorm;

/// `torch.nn.LayerNorm`'s default.
const EPSILON: f64 = 1e-5;
/// `LayerNorm2d` and `CXBlock`'s normalisation.
const MAP_EPSILON: f64 = 1e-6;
/// Channels of the mask on its way to the embedding's width, before each halving of the grid.
const MASK_CHANNELS: [usize; 5] = [1, 4, 16, 64, 256];
/// Side of `CXBlock`'s kernel for each channel.
const FUSER_KERNEL: usize = 7;
/// Hidden width of `CXBlock` over its channels.
const FUSER_EXPANSION: usize = 4;
/// Layers of the projection of object pointers.
const POINTER_LAYERS: usize = 3;

/// Sizes of SAM 2's memory; the default is that of the published 2.1 models.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MemoryConfig {
    /// Frames that are remembered, the prompted one included (`num_maskmem`).
    pub frames: usize,
    /// Channels of a memory (`mem_dim`).
    pub dim: usize,
    /// Layers of the attention to memories.
    pub attention_layers: usize,
    /// Hidden width of these layers.
    pub feedforward_dim: usize,
    /// Blocks that join mask and image.
    pub fuser_layers: usize,
    /// Whether memories of frames without the object are marked (`no_obj_embed_spatial`): SAM 2.1.
    pub no_obj_embed_spatial: bool,
    /// Whether the times of object pointers are projected (`proj_tpos_enc_in_obj_ptrs`): SAM 2.1.
    pub proj_tpos_enc_in_obj_ptrs: bool,
}

impl Default for MemoryConfig {
    fn default() -> Self {
        Self {
            frames: 7,
            dim: 64,
            attention_layers: 4,
            feedforward_dim: 2048,
            fuser_layers: 2,
            no_obj_embed_spatial: true,
            proj_tpos_enc_in_obj_ptrs: true,
        }
    }
}

impl MemoryConfig {
    /// The memory of the models published as SAM 2 (`sam2_hiera_*.pt`).
    pub fn version_2_0() -> Self {
        Self {
            no_obj_embed_spatial: false,
            proj_tpos_enc_in_obj_ptrs: false,
            ..Self::default()
        }
    }
}

/// SAM 2's memory.
#[derive(Module, Debug)]
#[expect(
    clippy::struct_field_names,
    reason = "the fields' names are the checkpoint's"
)]
pub struct Memory {
    maskmem_tpos_enc: Param<Tensor<4>>,
    no_mem_pos_enc: Param<Tensor<3>>,
    no_obj_ptr: Param<Tensor<2>>,
    no_obj_embed_spatial: Option<Param<Tensor<2>>>,
    mask_downsample: Conv2d,
    memory_attention: MemoryAttention,
    memory_encoder: MemoryEncoder,
    obj_ptr_proj: PointerProjection,
    obj_ptr_tpos_proj: Option<Linear>,
}

impl Memory {
    /// `embed_dim`: channels of the image embedding.
    pub(crate) fn new(config: &MemoryConfig, embed_dim: usize, device: &Device) -> Self {
        let zeros = Initializer::Zeros;
        let dim = config.dim;
        let pointer = || LinearConfig::new(embed_dim, embed_dim).init(device);
        Self {
            maskmem_tpos_enc: zeros.init([config.frames, 1, 1, dim], device),
            no_mem_pos_enc: zeros.init([1, 1, embed_dim], device),
            no_obj_ptr: zeros.init([1, embed_dim], device),
            no_obj_embed_spatial: config
                .no_obj_embed_spatial
                .then(|| zeros.init([1, dim], device)),
            mask_downsample: conv([1, 1], 4, device),
            memory_attention: MemoryAttention::new(config, embed_dim, device),
            memory_encoder: MemoryEncoder::new(config, embed_dim, device),
            obj_ptr_proj: PointerProjection {
                layers: (0..POINTER_LAYERS).map(|_| pointer()).collect(),
            },
            obj_ptr_tpos_proj: config
                .proj_tpos_enc_in_obj_ptrs
                .then(|| LinearConfig::new(embed_dim, dim).init(device)),
        }
    }
}

fn conv(channels: [usize; 2], side: usize, device: &Device) -> Conv2d {
    Conv2dConfig::new(channels, [side, side]).init(device)
}

#[derive(Module, Debug)]
struct PointerProjection {
    layers: Vec<Linear>,
}

#[derive(Module, Debug)]
struct MemoryAttention {
    layers: Vec<MemoryAttentionLayer>,
    norm: LayerNorm,
}

impl MemoryAttention {
    fn new(config: &MemoryConfig, embed_dim: usize, device: &Device) -> Self {
        Self {
            layers: (0..config.attention_layers)
                .map(|_| MemoryAttentionLayer::new(config, embed_dim, device))
                .collect(),
            norm: LayerNorm::new(embed_dim, EPSILON, device),
        }
    }
}

#[derive(Module, Debug)]
struct MemoryAttentionLayer {
    self_attn: RotaryAttention,
    cross_attn_image: RotaryAttention,
    linear1: Linear,
    linear2: Linear,
    norm1: LayerNorm,
    norm2: LayerNorm,
    norm3: LayerNorm,
}

impl MemoryAttentionLayer {
    fn new(config: &MemoryConfig, embed_dim: usize, device: &Device) -> Self {
        let norm = || LayerNorm::new(embed_dim, EPSILON, device);
        let hidden = config.feedforward_dim;
        Self {
            self_attn: RotaryAttention::new(embed_dim, embed_dim, device),
            cross_attn_image: RotaryAttention::new(embed_dim, config.dim, device),
            linear1: LinearConfig::new(embed_dim, hidden).init(device),
            linear2: LinearConfig::new(hidden, embed_dim).init(device),
            norm1: norm(),
            norm2: norm(),
            norm3: norm(),
        }
    }
}

#[derive(Module, Debug)]
#[expect(
    clippy::struct_field_names,
    reason = "the fields' names are the checkpoint's"
)]
struct RotaryAttention {
    q_proj: Linear,
    k_proj: Linear,
    v_proj: Linear,
    out_proj: Linear,
}

impl RotaryAttention {
    /// `from`: channels of keys and values.
    fn new(dim: usize, from: usize, device: &Device) -> Self {
        let linear = |from: usize| LinearConfig::new(from, dim).init(device);
        Self {
            q_proj: linear(dim),
            k_proj: linear(from),
            v_proj: linear(from),
            out_proj: linear(dim),
        }
    }
}

#[derive(Module, Debug)]
struct MemoryEncoder {
    mask_downsampler: MaskDownSampler,
    pix_feat_proj: Conv2d,
    fuser: Fuser,
    out_proj: Conv2d,
}

impl MemoryEncoder {
    fn new(config: &MemoryConfig, embed_dim: usize, device: &Device) -> Self {
        Self {
            mask_downsampler: MaskDownSampler {
                encoder: MaskLayers::new(embed_dim, device),
            },
            pix_feat_proj: conv([embed_dim, embed_dim], 1, device),
            fuser: Fuser {
                layers: (0..config.fuser_layers)
                    .map(|_| CxBlock::new(embed_dim, device))
                    .collect(),
            },
            out_proj: conv([embed_dim, config.dim], 1, device),
        }
    }
}

#[derive(Module, Debug)]
struct MaskDownSampler {
    encoder: MaskLayers,
}

#[derive(Module, Debug)]
struct MaskLayers {
    conv_0: Conv2d,
    norm_1: LayerNorm,
    conv_3: Conv2d,
    norm_4: LayerNorm,
    conv_6: Conv2d,
    norm_7: LayerNorm,
    conv_9: Conv2d,
    norm_10: LayerNorm,
    conv_12: Conv2d,
}

impl MaskLayers {
    fn new(embed_dim: usize, device: &Device) -> Self {
        let down = |i: usize| conv([MASK_CHANNELS[i], MASK_CHANNELS[i + 1]], 3, device);
        let norm = |i: usize| LayerNorm::new(MASK_CHANNELS[i + 1], MAP_EPSILON, device);
        Self {
            conv_0: down(0),
            norm_1: norm(0),
            conv_3: down(1),
            norm_4: norm(1),
            conv_6: down(2),
            norm_7: norm(2),
            conv_9: down(3),
            norm_10: norm(3),
            conv_12: conv([MASK_CHANNELS[4], embed_dim], 1, device),
        }
    }
}

#[derive(Module, Debug)]
struct Fuser {
    layers: Vec<CxBlock>,
}

/// A block of `ConvNeXt` (Liu et al. 2022).
#[derive(Module, Debug)]
struct CxBlock {
    gamma: Param<Tensor<1>>,
    dwconv: Conv2d,
    norm: LayerNorm,
    pwconv1: Linear,
    pwconv2: Linear,
}

impl CxBlock {
    fn new(dim: usize, device: &Device) -> Self {
        let hidden = FUSER_EXPANSION * dim;
        Self {
            gamma: Initializer::Ones.init([dim], device),
            dwconv: Conv2dConfig::new([dim, dim], [FUSER_KERNEL; 2])
                .with_groups(dim)
                .init(device),
            norm: LayerNorm::new(dim, MAP_EPSILON, device),
            pwconv1: LinearConfig::new(dim, hidden).init(device),
            pwconv2: LinearConfig::new(hidden, dim).init(device),
        }
    }
}
