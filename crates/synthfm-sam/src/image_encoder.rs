//! SAM's image encoder: a vision transformer with windowed and global attention (Li et al. 2022;
//! `segment_anything/modeling/image_encoder.py`), followed by a two-convolution neck.
//!
//! Pre-norm blocks attend inside windows of `window_size` tokens or over the whole grid, with
//! decomposed relative positions. Differs from Meta's code only in that heads are processed in groups
//! where the score matrix would be large.

use burn::module::{Initializer, Module, Param};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{Linear, LinearConfig, PaddingConfig2d};
use burn::tensor::{Device, Int, Tensor, TensorData, activation::softmax};

use crate::config::{EncoderConfig, SamConfig, VitConfig};
use crate::layers::{Activation, LayerNorm, Mlp, PatchConv, channels_first, channels_last};
use crate::small_encoder::SmallEncoder;

/// `norm_layer` and `LayerNorm2d` of the image encoder.
const EPSILON: f64 = 1e-6;
/// Scores held at once by a global attention: 64 Mi values, 256 MiB.
const MAX_SCORES: usize = 1 << 26;

/// What the image encoder hands to the mask decoder.
#[derive(Debug, Clone)]
pub struct ImageEmbedding {
    /// `[B, C, g, g]`
    pub image_embedding: Tensor<4>,
    /// `[B, C/4, 2g, 2g]` and `[B, C/8, 4g, 4g]`, where the encoder delivers finer maps.
    pub high_res: Option<(Tensor<4>, Tensor<4>)>,
}

impl ImageEmbedding {
    /// The same values, cut from the gradient graph.
    #[must_use]
    pub fn detach(self) -> Self {
        Self {
            image_embedding: self.image_embedding.detach(),
            high_res: self
                .high_res
                .map(|(half, quarter)| (half.detach(), quarter.detach())),
        }
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
    /// The compact encoder of this project.
    Small(SmallEncoder),
}

impl ImageEncoder {
    pub(crate) fn new(config: &SamConfig, device: &Device) -> Self {
        match &config.encoder {
            EncoderConfig::Vit(vit) => Self::Vit(Vit::new(config, vit, device)),
            EncoderConfig::Small(small) => {
                Self::Small(SmallEncoder::new(small, config.prompt_embed_dim, device))
            }
        }
    }

    /// # Shapes
    /// Normalised and padded image `[B, 3, S, S]` -> embedding, see [`ImageEmbedding`]
    pub fn forward(&self, image: Tensor<4>) -> ImageEmbedding {
        match self {
            Self::Vit(vit) => ImageEmbedding {
                image_embedding: vit.forward(image),
                high_res: None,
            },
            Self::Small(small) => small.forward(image),
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
    fn forward(&self, image: Tensor<4>) -> Tensor<4> {
        let tokens = self.tokens(image);
        let tokens = self.blocks.iter().fold(tokens, |x, block| block.forward(x));
        self.neck.forward(tokens)
    }

    /// Patch embedding plus absolute position: `[B, 3, S, S]` -> `[B, g, g, D]`.
    fn tokens(&self, image: Tensor<4>) -> Tensor<4> {
        self.patch_embed.proj.forward(channels_last(image)) + self.pos_embed.val()
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
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let shortcut = x.clone();
        let x = self.norm1.forward(x);
        let x = match self.window {
            Some(side) => self.windowed(x, side),
            None => self.attn.forward(x),
        };
        let x = shortcut + x;
        x.clone() + self.mlp.forward(self.norm2.forward(x), Activation::Gelu)
    }

    /// Pads the map with zeros at the bottom and right to whole windows and attends in each. The
    /// padding takes part in the attention, as in SAM.
    fn windowed(&self, x: Tensor<4>, side: usize) -> Tensor<4> {
        let [b, h, w, c] = x.dims();
        let (rows, cols) = (h.div_ceil(side), w.div_ceil(side));
        let x = pad_end(pad_end(x, 1, rows * side - h), 2, cols * side - w);
        // [B, rows, s, cols, s, D] -> [B rows cols, s, s, D]
        let windows = x
            .reshape([b, rows, side, cols, side, c])
            .permute([0, 1, 3, 2, 4, 5])
            .reshape([b * rows * cols, side, side, c]);
        let x = self
            .attn
            .forward(windows)
            .reshape([b, rows, cols, side, side, c])
            .permute([0, 1, 3, 2, 4, 5])
            .reshape([b, rows * side, cols * side, c]);
        x.slice([0..b, 0..h, 0..w, 0..c])
    }
}

/// Appends `count` zero rows along `dim`.
fn pad_end(x: Tensor<4>, dim: usize, count: usize) -> Tensor<4> {
    if count == 0 {
        return x;
    }
    let mut shape = x.dims();
    shape[dim] = count;
    let zeros = Tensor::zeros(shape, &x.device());
    Tensor::cat(vec![x, zeros], dim)
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

    /// # Shapes
    /// `[B, h, w, D]` -> `[B, h, w, D]`
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [b, h, w, c] = x.dims();
        let (n, heads, head_dim) = (h * w, self.heads, c / self.heads);
        // [B, n, 3 D] -> [3, B heads, n, d]
        let qkv = self
            .qkv
            .forward(x)
            .reshape([b, n, 3, heads, head_dim])
            .permute([2, 0, 3, 1, 4])
            .reshape([3, b * heads, n, head_dim]);
        let rel_h = relative_positions(self.rel_pos_h.val(), h);
        let rel_w = relative_positions(self.rel_pos_w.val(), w);
        // Heads are independent: a group at a time bounds the memory for scores.
        let group = (MAX_SCORES / (n * n)).clamp(1, b * heads);
        let attended = qkv
            .split(group, 1)
            .into_iter()
            .map(|part| attend(&part, [h, w], &rel_h, &rel_w))
            .collect();
        // [B heads, n, d] -> [B, h, w, D]
        let x = Tensor::cat(attended, 0)
            .reshape([b, heads, n, head_dim])
            .permute([0, 2, 1, 3])
            .reshape([b, h, w, c]);
        self.proj.forward(x)
    }
}

/// `softmax(q kᵀ / √d + q·Rh + q·Rw) v`; the position terms use the unscaled `q`.
///
/// # Shapes
/// `qkv` `[3, G, h w, d]`, `rel_h` `[h, h, d]`, `rel_w` `[w, w, d]` -> `[G, h w, d]`
fn attend(qkv: &Tensor<4>, [h, w]: [usize; 2], rel_h: &Tensor<3>, rel_w: &Tensor<3>) -> Tensor<3> {
    let [_, groups, n, d] = qkv.dims();
    let part = |i: usize| qkv.clone().narrow(0, i, 1).reshape([groups, n, d]);
    let (q, k, v) = (part(0), part(1), part(2));
    let q_map = q.clone().reshape([groups, h, w, d]);
    // [G, h, w, d] x [1, h, d, h] -> [G, h, w, h]
    let bias_h = q_map
        .clone()
        .matmul(rel_h.clone().swap_dims(1, 2).unsqueeze_dim(0))
        .reshape([groups, n, h, 1]);
    // [G, w, h, d] x [1, w, d, w] -> [G, w, h, w] -> [G, h, w, w]
    let bias_w = q_map
        .swap_dims(1, 2)
        .matmul(rel_w.clone().swap_dims(1, 2).unsqueeze_dim(0))
        .swap_dims(1, 2)
        .reshape([groups, n, 1, w]);
    let scores = (q * (d as f64).powf(-0.5)).matmul(k.swap_dims(1, 2));
    let scores = scores.reshape([groups, n, h, w]) + bias_h + bias_w;
    softmax(scores.reshape([groups, n, n]), 2).matmul(v)
}

/// Rows of a relative-position table for every query and key along an axis of `side` tokens
/// (`get_rel_pos`). A table of another length is linearly interpolated first.
///
/// # Shapes
/// `[L, d]` -> `[side, side, d]`
fn relative_positions(table: Tensor<2>, side: usize) -> Tensor<3> {
    let [_, d] = table.dims();
    let table = interpolate_rows(table, 2 * side - 1);
    let offsets: Vec<i64> = (0..side * side)
        .map(|i| (i / side) as i64 - (i % side) as i64 + side as i64 - 1)
        .collect();
    let index =
        Tensor::<1, Int>::from_data(TensorData::new(offsets, [side * side]), &table.device());
    table.select(0, index).reshape([side, side, d])
}

/// Linear interpolation along the rows (`align_corners = false`), as a product with the weights.
fn interpolate_rows(table: Tensor<2>, rows: usize) -> Tensor<2> {
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
struct Neck {
    conv_0: PatchConv,
    norm_1: LayerNorm,
    conv_2: Conv2d,
    norm_3: LayerNorm,
}

impl Neck {
    fn new(dim: usize, out: usize, device: &Device) -> Self {
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
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let x = self.norm_1.forward(self.conv_0.forward(x));
        let x = channels_last(self.conv_2.forward(channels_first(x)));
        channels_first(self.norm_3.forward(x))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Recorded, sam_tiny, values};

    #[test]
    fn every_block_matches_meta() {
        let io = Recorded::open();
        let sam = sam_tiny();
        let ImageEncoder::Vit(vit) = &sam.image_encoder else {
            panic!("sam_tiny has a vision transformer");
        };
        let mut x = vit.tokens(io.tensor("preprocessed"));
        io.assert_tensor("encoder.tokens", x.clone());
        assert_eq!(vit.blocks.len(), 4);
        for (i, block) in vit.blocks.iter().enumerate() {
            x = block.forward(x);
            io.assert_tensor(&format!("encoder.block{i}"), x.clone());
        }
        io.assert_tensor("image_embedding", vit.neck.forward(x));
        let whole = sam.encode(io.tensor("preprocessed"));
        io.assert_tensor("image_embedding", whole.image_embedding);
        assert!(whole.high_res.is_none());
    }

    #[test]
    fn relative_positions_index_by_query_minus_key() {
        let table = Tensor::<2>::from_floats([[1.0], [2.0], [3.0]], &Device::flex());
        // rows: query 0 and 1; columns: key 0 and 1; entry: table[q - k + 1]
        assert_eq!(values(relative_positions(table, 2)), [2.0, 1.0, 3.0, 2.0]);
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

    #[test]
    fn attention_in_head_groups_equals_attention_at_once() {
        let device = Device::flex();
        let random = |shape: [usize; 4]| {
            Tensor::<4>::random(shape, burn::tensor::Distribution::Default, &device)
        };
        let rel =
            |n: usize| Tensor::<3>::random([n, n, 5], burn::tensor::Distribution::Default, &device);
        let (qkv, rel_h, rel_w) = (random([3, 6, 12, 5]), rel(3), rel(4));
        let whole = attend(&qkv, [3, 4], &rel_h, &rel_w);
        let parts = qkv
            .split(4, 1)
            .into_iter()
            .map(|part| attend(&part, [3, 4], &rel_h, &rel_w))
            .collect();
        let parts = values(Tensor::cat(parts, 0));
        crate::testing::assert_close("groups", &parts, &values(whole));
    }
}
