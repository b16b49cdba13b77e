//! SAM's image encoder: a vision transformer with windowed and global attention (Li et al. 2022;
//! `segment_anything/modeling/image_encoder.py`), followed by a two-convolution neck.
//!
//! Pre-norm blocks attend inside windows of `window_size` tokens or over the whole grid, with
//! decomposed relative positions ([`crate::ops::window_attention`]). Differs from Meta's code in that the
//! tokens which fill up the last windows are never made: their queries, keys and values are the bias.

use std::sync::{Arc, OnceLock};

use burn::module::{Initializer, Module, Param};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{Linear, LinearConfig, PaddingConfig2d};
use burn::tensor::{Device, Tensor, TensorData};

use crate::config::{EncoderConfig, SamConfig, VitConfig};
use crate::geodesic_clicks::GuidanceImages;
use crate::hiera::Hiera;
use crate::layers::{
    LayerNorm, Mlp, PatchConv, apply, apply_residual, bias, channels_first, channels_last,
};
use crate::ops::{self, Activation, Arithmetic, Sampling};
use crate::small_encoder::SmallEncoder;
use crate::tiny_vit::TinyVit;

/// `norm_layer` and `LayerNorm2d` of the image encoder.
pub(crate) const EPSILON: f64 = 1e-6;

/// What the image encoder hands to the mask decoder.
#[derive(Debug, Clone)]
pub struct ImageEmbedding {
    /// `[B, C, g, g]`
    pub image_embedding: Tensor<4>,
    /// Where the encoder delivers finer maps.
    pub high_res: Option<HighRes>,
}

/// Finer maps than the embedding.
#[derive(Debug, Clone)]
pub struct HighRes {
    /// `[B, C/4, 2g, 2g]`
    pub feat_s1: Tensor<4>,
    /// `[B, C/8, 4g, 4g]`
    pub feat_s0: Tensor<4>,
    /// Mean of the input's channels, `[B, 1, 4g, 4g]`, from our own encoder.
    pub grey: Option<Tensor<4>>,
    /// Made of `grey` when first asked for, and shared by all prompts.
    guidance: Arc<OnceLock<Vec<GuidanceImages>>>,
}

impl HighRes {
    /// From the maps.
    pub fn new(feat_s1: Tensor<4>, feat_s0: Tensor<4>, grey: Option<Tensor<4>>) -> Self {
        Self {
            feat_s1,
            feat_s0,
            grey,
            guidance: Arc::default(),
        }
    }

    /// See [`GuidanceImages`]; of each image, where there is `grey`.
    pub(crate) fn guidance(&self) -> &[GuidanceImages] {
        let of = |grey: &Tensor<4>| GuidanceImages::of_images(grey.clone());
        self.guidance
            .get_or_init(|| self.grey.as_ref().map(of).unwrap_or_default())
    }
}

impl ImageEmbedding {
    /// The embedding cut from the gradient graph.
    #[must_use]
    pub fn detach(self) -> Self {
        self.map(Tensor::detach)
    }

    /// The embedding with every map replaced by an equal one elsewhere: on another device, or with another record.
    #[must_use]
    pub fn map(self, change: impl Fn(Tensor<4>) -> Tensor<4>) -> Self {
        let high_res = |maps: HighRes| HighRes {
            feat_s1: change(maps.feat_s1),
            feat_s0: change(maps.feat_s0),
            grey: maps.grey.map(&change),
            guidance: maps.guidance,
        };
        Self {
            image_embedding: change(self.image_embedding),
            high_res: self.high_res.map(high_res),
        }
    }

    /// All maps, the embedding's first.
    pub fn maps(&self) -> impl Iterator<Item = &Tensor<4>> {
        let finer = self.high_res.iter();
        let finer = finer.flat_map(|maps| {
            let two = [&maps.feat_s1, &maps.feat_s0].into_iter();
            two.chain(&maps.grey)
        });
        std::iter::once(&self.image_embedding).chain(finer)
    }

    /// From maps in the order of [`Self::maps`]; `None` without any.
    pub fn from_maps(maps: impl IntoIterator<Item = Tensor<4>>) -> Option<Self> {
        let mut maps = maps.into_iter();
        let image_embedding = maps.next()?;
        let high_res = match (maps.next(), maps.next()) {
            (Some(feat_s1), Some(feat_s0)) => Some(HighRes::new(feat_s1, feat_s0, maps.next())),
            _ => None,
        };
        Some(Self {
            image_embedding,
            high_res,
        })
    }
}

/// The image encoders there are.
#[derive(Module, Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "one encoder per model: boxing it would save nothing"
)]
pub enum ImageEncoder {
    /// SAM's vision transformer.
    Vit(Vit),
    /// MobileSAM's.
    TinyVit(TinyVit),
    /// SAM 2's.
    Hiera(Hiera),
    /// The compact encoder of this project.
    Small(SmallEncoder),
}

impl ImageEncoder {
    pub(crate) fn new(config: &SamConfig, device: &Device) -> Self {
        match &config.encoder {
            EncoderConfig::Vit(vit) => Self::Vit(Vit::new(config, vit, device)),
            EncoderConfig::TinyVit(tiny) => {
                Self::TinyVit(TinyVit::new(tiny, config.prompt_embed_dim, device))
            }
            EncoderConfig::Hiera(hiera) => {
                Self::Hiera(Hiera::new(hiera, config.prompt_embed_dim, device))
            }
            EncoderConfig::Small(small) => {
                Self::Small(SmallEncoder::new(small, config.prompt_embed_dim, device))
            }
        }
    }

    /// # Shapes
    /// Normalised and padded image `[B, 3, S, S]` -> embedding, see [`ImageEmbedding`]
    pub fn forward(&self, image: Tensor<4>, arithmetic: Arithmetic) -> ImageEmbedding {
        match self {
            Self::Vit(vit) => ImageEmbedding {
                image_embedding: vit.forward(image, arithmetic),
                high_res: None,
            },
            Self::TinyVit(tiny) => ImageEmbedding {
                image_embedding: tiny.forward(image, arithmetic),
                high_res: None,
            },
            Self::Hiera(hiera) => hiera.forward(image, arithmetic),
            Self::Small(small) => small.forward(image, arithmetic),
        }
    }
}

/// SAM's vision transformer (`ImageEncoderViT`).
#[derive(Module, Debug)]
pub struct Vit {
    patch_embed: PatchEmbed,
    pos_embed: Param<Tensor<4>>,
    blocks: Vec<Block>,
    neck: Neck,
}

#[derive(Module, Debug)]
struct PatchEmbed {
    proj: PatchConv,
}

impl Vit {
    fn new(config: &SamConfig, vit: &VitConfig, device: &Device) -> Self {
        let grid = config.embedding_side();
        let dim = vit.embed_dim;
        let window =
            |block: usize| (!vit.global_attn_indexes.contains(&block)).then_some(vit.window_size);
        Self {
            patch_embed: PatchEmbed {
                proj: PatchConv::new([3, dim], vit.patch_size, device),
            },
            pos_embed: Initializer::Zeros.init([1, grid, grid, dim], device),
            blocks: (0..vit.depth)
                .map(|i| Block::new(vit, window(i), grid, device))
                .collect(),
            neck: Neck::new(dim, config.prompt_embed_dim, device),
        }
    }

    /// # Shapes
    /// `[B, 3, S, S]` -> `[B, C, g, g]`
    fn forward(&self, image: Tensor<4>, arithmetic: Arithmetic) -> Tensor<4> {
        let tokens = self.tokens(image, arithmetic);
        let blocks = self.blocks.iter();
        let tokens = blocks.fold(tokens, |x, block| block.forward(x, arithmetic));
        self.neck.forward(tokens, arithmetic)
    }

    /// Patch embedding plus absolute position: `[B, 3, S, S]` -> `[B, g, g, D]`.
    fn tokens(&self, image: Tensor<4>, arithmetic: Arithmetic) -> Tensor<4> {
        let patches = self
            .patch_embed
            .proj
            .forward_in(channels_last(image), arithmetic);
        patches + self.pos_embed.val()
    }
}

/// One transformer block: windowed where `window` is set, global otherwise.
#[derive(Module, Debug)]
struct Block {
    norm1: LayerNorm,
    attn: Attention,
    norm2: LayerNorm,
    mlp: Mlp,
    window: Option<usize>,
}

impl Block {
    fn new(vit: &VitConfig, window: Option<usize>, grid: usize, device: &Device) -> Self {
        Self {
            norm1: LayerNorm::new(vit.embed_dim, EPSILON, device),
            attn: Attention::new(vit, window.unwrap_or(grid), device),
            norm2: LayerNorm::new(vit.embed_dim, EPSILON, device),
            mlp: Mlp::new(vit.embed_dim, vit.mlp_dim(), device),
            window,
        }
    }

    /// # Shapes
    /// `[B, g, g, D]` -> `[B, g, g, D]`
    fn forward(&self, x: Tensor<4>, arithmetic: Arithmetic) -> Tensor<4> {
        let x =
            self.attn
                .forward_residual(self.norm1.forward(x.clone()), x, self.window, arithmetic);
        let normal = self.norm2.forward(x.clone());
        self.mlp
            .forward_residual(normal, x, Activation::Gelu, arithmetic)
    }
}

/// Multi-head attention with decomposed relative positions.
#[derive(Module, Debug)]
struct Attention {
    qkv: Linear,
    proj: Linear,
    rel_pos_h: Param<Tensor<2>>,
    rel_pos_w: Param<Tensor<2>>,
    heads: usize,
}

impl Attention {
    fn new(vit: &VitConfig, side: usize, device: &Device) -> Self {
        let dim = vit.embed_dim;
        let table = || Initializer::Zeros.init([2 * side - 1, vit.head_dim()], device);
        Self {
            qkv: LinearConfig::new(dim, 3 * dim).init(device),
            proj: LinearConfig::new(dim, dim).init(device),
            rel_pos_h: table(),
            rel_pos_w: table(),
            heads: vit.num_heads,
        }
    }

    /// `residual` + attention inside the windows of `x`, or over all of it. Where windows reach beyond the
    /// map, the padding takes part in the attention, as in SAM: of a zero token, query, key and value are
    /// the bias.
    ///
    /// # Shapes
    /// `[B, h, w, D]` -> `[B, h, w, D]`
    fn forward_residual(
        &self,
        x: Tensor<4>,
        residual: Tensor<4>,
        window: Option<usize>,
        arithmetic: Arithmetic,
    ) -> Tensor<4> {
        let [_, h, w, _] = x.dims();
        let [height, width] = window.map_or([h, w], |side| [side, side]);
        let attended = ops::window_attention(
            apply(&self.qkv, x, Activation::None, arithmetic),
            bias(&self.qkv),
            interpolate_rows(self.rel_pos_h.val(), 2 * height - 1),
            interpolate_rows(self.rel_pos_w.val(), 2 * width - 1),
            arithmetic,
        );
        apply_residual(&self.proj, attended, residual, arithmetic)
    }
}

/// A relative-position table of another length, as `get_rel_pos` makes it: linear interpolation along the rows
/// (`align_corners = false`), as a product with the weights.
pub(crate) fn interpolate_rows(table: Tensor<2>, rows: usize) -> Tensor<2> {
    let [length, _] = table.dims();
    if length == rows {
        return table;
    }
    let mut weights = vec![0f32; rows * length];
    let scale = length as f32 / rows as f32;
    for (row, line) in weights.chunks_exact_mut(length).enumerate() {
        let source = ((row as f32 + 0.5) * scale - 0.5).max(0.0);
        let low = (source as usize).min(length - 1);
        let fraction = source - low as f32;
        line[low] += 1.0 - fraction;
        line[(low + 1).min(length - 1)] += fraction;
    }
    let weights = TensorData::new(weights, [rows, length]);
    Tensor::<2>::from_data(weights, &table.device()).matmul(table)
}

/// `D` channels to the embedding's `C`: 1x1 and 3x3 convolutions, each followed by `LayerNorm2d`.
#[derive(Module, Debug)]
pub(crate) struct Neck {
    conv_0: PatchConv,
    norm_1: LayerNorm,
    conv_2: Conv2d,
    norm_3: LayerNorm,
}

impl Neck {
    pub(crate) fn new(dim: usize, out: usize, device: &Device) -> Self {
        Self {
            conv_0: PatchConv::without_bias([dim, out], 1, device),
            norm_1: LayerNorm::new(out, EPSILON, device),
            conv_2: Conv2dConfig::new([out, out], [3, 3])
                .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
                .with_bias(false)
                .init(device),
            norm_3: LayerNorm::new(out, EPSILON, device),
        }
    }

    /// # Shapes
    /// `[B, g, g, D]` -> `[B, C, g, g]`
    pub(crate) fn forward(&self, x: Tensor<4>, arithmetic: Arithmetic) -> Tensor<4> {
        let x = self.norm_1.forward(self.conv_0.forward_in(x, arithmetic));
        // [out, in, 3, 3] -> [3, 3, in, out]
        let weight = self.conv_2.weight.val().permute([2, 3, 1, 0]);
        let zeros = Tensor::zeros([weight.dims()[3]], &x.device());
        let x = ops::conv(x, (weight, zeros), Sampling::Same, false, Arithmetic::F32);
        channels_first(self.norm_3.forward(x))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Recorded, every_device, sam_tiny_on, values};

    #[test]
    fn every_block_matches_meta() {
        for device in every_device() {
            let (io, sam) = (Recorded::open().on(&device), sam_tiny_on(&device));
            let ImageEncoder::Vit(vit) = &sam.image_encoder else {
                panic!("sam_tiny has a vision transformer");
            };
            let mut x = vit.tokens(io.tensor("preprocessed"), Arithmetic::F32);
            io.assert_tensor("encoder.tokens", x.clone());
            assert_eq!(vit.blocks.len(), 4);
            for (i, block) in vit.blocks.iter().enumerate() {
                x = block.forward(x, Arithmetic::F32);
                io.assert_tensor(&format!("encoder.block{i}"), x.clone());
            }
            io.assert_tensor("image_embedding", vit.neck.forward(x, Arithmetic::F32));
            let whole = sam.encode(io.tensor("preprocessed"));
            io.assert_tensor("image_embedding", whole.image_embedding);
            assert!(whole.high_res.is_none());
        }
    }

    #[test]
    fn tables_of_another_length_are_interpolated_as_in_pytorch() {
        // torch.nn.functional.interpolate([[0, 1, 2]], size=5, mode="linear") = 0, 0.4, 1, 1.6, 2
        let table = Tensor::<2>::from_floats([[0.0], [1.0], [2.0]], &Device::flex());
        let got = values(interpolate_rows(table, 5));
        crate::testing::assert_close("interpolated", &got, &[0.0, 0.4, 1.0, 1.6, 2.0]);
        // and shorter: size=3 of five values = 0.3333, 2, 3.6667
        let table = Tensor::<2>::from_floats([[0.0], [1.0], [2.0], [3.0], [4.0]], &Device::flex());
        let got = values(interpolate_rows(table, 3));
        crate::testing::assert_close("interpolated", &got, &[1.0 / 3.0, 2.0, 11.0 / 3.0]);
    }

    #[cfg(feature = "gpu")]
    #[test]
    fn half_precision_moves_an_embedding_little() {
        use burn::tensor::DType;

        use crate::PrecisionChoice;
        use crate::ops::{Arithmetic, Error};
        use crate::testing::{gpus, worst_difference};
        for device in gpus() {
            let chosen = PrecisionChoice::Auto.on(&device).unwrap();
            if !device.supports_dtype(DType::F16) {
                assert_eq!(chosen, Arithmetic::F32);
                let error = PrecisionChoice::F16.on(&device).unwrap_err();
                assert!(matches!(error, Error::NoF16), "{error}");
                continue;
            }
            assert_eq!(chosen, Arithmetic::F16);
            let io = Recorded::open().on(&device);
            let embedding = sam_tiny_on(&device).encode_in(io.tensor("preprocessed"), chosen);
            let got = values(embedding.image_embedding);
            let error = worst_difference(&got, &io.values("image_embedding"));
            // Four blocks of products, each rounded to 2^-11; 1.5e-3 on lavapipe.
            assert!((1e-6..5e-3).contains(&error), "off by {error}");
        }
    }
}
