//! The mask decoder's two-way transformer (`segment_anything/modeling/transformer.py`).
//!
//! Prompt and output tokens attend to themselves and to the image, then the image attends back to
//! them; post-norm throughout. Queries get the original token embeddings as position code each time,
//! keys the dense position code, and values none.

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Tensor, activation::softmax};

use crate::config::SamConfig;
use crate::layers::{LayerNorm, Mlp, apply, apply_residual, bias};
use crate::ops::{self, Activation, Arithmetic};

/// `torch.nn.LayerNorm`'s default.
pub(crate) const EPSILON: f64 = 1e-5;
/// Cross-attention runs at half the width.
pub(crate) const DOWNSAMPLE_RATE: usize = 2;

/// Tokens and image map, both attended in both directions.
#[derive(Module, Debug)]
pub(crate) struct TwoWayTransformer {
    layers: Vec<TwoWayAttentionBlock>,
    final_attn_token_to_image: Attention,
    norm_final_attn: LayerNorm,
}

/// The image side of the transformer's first layer, which no prompt changes.
#[derive(Debug, Clone)]
pub(crate) struct PrecomputedImageTokens {
    /// `[1, g g, C]`
    pub(crate) tokens: Tensor<3>,
    /// Its keys and values of the first layer, `[1, g g, C/2]` each.
    pub(crate) projected: [Tensor<3>; 2],
}

impl TwoWayTransformer {
    pub(crate) fn new(config: &SamConfig, device: &Device) -> Self {
        let dim = config.prompt_embed_dim;
        Self {
            layers: (0..config.decoder_depth)
                .map(|_| TwoWayAttentionBlock::new(config, device))
                .collect(),
            final_attn_token_to_image: Attention::new(
                dim,
                dim / DOWNSAMPLE_RATE,
                config.decoder_heads,
                device,
            ),
            norm_final_attn: LayerNorm::new(dim, EPSILON, device),
        }
    }

    /// What the first layer needs of an image whose tokens `[1, g g, C]` are the same for every prompt.
    pub(crate) fn image_tokens(
        &self,
        tokens: Tensor<3>,
        image_pe: &Tensor<3>,
    ) -> Option<PrecomputedImageTokens> {
        let attention = &self.layers.first()?.cross_attn_token_to_image;
        let key = project(&attention.k_proj, tokens.clone() + image_pe.clone());
        let value = project(&attention.v_proj, tokens.clone());
        Some(PrecomputedImageTokens {
            tokens,
            projected: [key, value],
        })
    }

    /// `projected` are the first layer's keys and values, if they are known.
    ///
    /// # Shapes
    /// `image` `[BN, g g, C]`, or `[1, g g, C]` for all, `image_pe` `[1, g g, C]`, `tokens` `[BN, T, C]` -> tokens
    /// and image `[BN, g g, C]`; products with the image in the given arithmetic
    pub(crate) fn forward(
        &self,
        image: Tensor<3>,
        image_pe: &Tensor<3>,
        tokens: &Tensor<3>,
        projected: Option<&[Tensor<3>; 2]>,
        arithmetic: Arithmetic,
    ) -> (Tensor<3>, Tensor<3>) {
        let (mut queries, mut keys) = (tokens.clone(), image);
        for (i, layer) in self.layers.iter().enumerate() {
            // The first layer's queries are the tokens themselves: no position code, no residual.
            queries = match i {
                0 => layer.first_self_attention(queries),
                _ => layer.self_attention(queries, tokens),
            };
            let projected = projected.filter(|_| i == 0);
            let codes = [tokens, image_pe];
            (queries, keys) = layer.cross_attention(queries, keys, codes, projected, arithmetic);
        }
        let q = queries.clone() + tokens.clone();
        let image = [keys.clone(), image_pe.clone()];
        let attended = self
            .final_attn_token_to_image
            .to_image(q, image, queries, arithmetic);
        (self.norm_final_attn.forward(attended), keys)
    }
}

#[derive(Module, Debug)]
struct TwoWayAttentionBlock {
    self_attn: Attention,
    norm1: LayerNorm,
    cross_attn_token_to_image: Attention,
    norm2: LayerNorm,
    mlp: Mlp,
    norm3: LayerNorm,
    norm4: LayerNorm,
    cross_attn_image_to_token: Attention,
}

impl TwoWayAttentionBlock {
    fn new(config: &SamConfig, device: &Device) -> Self {
        let (dim, heads) = (config.prompt_embed_dim, config.decoder_heads);
        let norm = || LayerNorm::new(dim, EPSILON, device);
        let cross = || Attention::new(dim, dim / DOWNSAMPLE_RATE, heads, device);
        Self {
            self_attn: Attention::new(dim, dim, heads, device),
            norm1: norm(),
            cross_attn_token_to_image: cross(),
            norm2: norm(),
            mlp: Mlp::new(dim, config.decoder_mlp_dim, device),
            norm3: norm(),
            norm4: norm(),
            cross_attn_image_to_token: cross(),
        }
    }

    fn first_self_attention(&self, queries: Tensor<3>) -> Tensor<3> {
        let attended = self.self_attn.forward(queries.clone(), queries);
        self.norm1.forward(attended)
    }

    fn self_attention(&self, queries: Tensor<3>, query_pe: &Tensor<3>) -> Tensor<3> {
        let q = queries.clone() + query_pe.clone();
        let attended = self.self_attn.forward(q, queries.clone());
        self.norm1.forward(queries + attended)
    }

    /// Tokens to image, MLP, image to tokens.
    fn cross_attention(
        &self,
        queries: Tensor<3>,
        keys: Tensor<3>,
        [query_pe, key_pe]: [&Tensor<3>; 2],
        projected: Option<&[Tensor<3>; 2]>,
        arithmetic: Arithmetic,
    ) -> (Tensor<3>, Tensor<3>) {
        let q = queries.clone() + query_pe.clone();
        let image = [keys, key_pe.clone()];
        let attention = &self.cross_attn_token_to_image;
        let attended = match projected {
            Some(projected) => attention.to_projected(q, projected, queries),
            None => attention.to_image(q, image.clone(), queries, arithmetic),
        };
        let queries = self.norm2.forward(attended);

        let hidden =
            self.mlp
                .forward_residual(queries.clone(), queries, Activation::Relu, Arithmetic::F32);
        let queries = self.norm3.forward(hidden);

        let k = queries.clone() + query_pe.clone();
        let keys = self
            .cross_attn_image_to_token
            .to_tokens(image, k, queries.clone(), arithmetic);
        (queries, self.norm4.forward(keys))
    }
}

/// Multi-head attention with separate projections and a narrower inner width.
#[derive(Module, Debug)]
struct Attention {
    q_proj: Linear,
    k_proj: Linear,
    v_proj: Linear,
    out_proj: Linear,
    heads: usize,
}

impl Attention {
    fn new(dim: usize, inner: usize, heads: usize, device: &Device) -> Self {
        let project = || LinearConfig::new(dim, inner).init(device);
        Self {
            q_proj: project(),
            k_proj: project(),
            v_proj: project(),
            out_proj: LinearConfig::new(inner, dim).init(device),
            heads,
        }
    }

    /// Tokens to tokens; `qk` are queries and keys.
    ///
    /// # Shapes
    /// `qk` and `v` `[BN, T, C]` -> `[BN, T, C]`
    fn forward(&self, qk: Tensor<3>, v: Tensor<3>) -> Tensor<3> {
        let q = self.split_heads(project(&self.q_proj, qk.clone()));
        let k = self.split_heads(project(&self.k_proj, qk));
        let v = self.split_heads(project(&self.v_proj, v));
        let [objects, heads, queries, d] = q.dims();
        let scores = (q * (d as f64).powf(-0.5)).matmul(k.swap_dims(2, 3));
        let attended = softmax(scores, 3).matmul(v);
        // [BN, heads, T, d] -> [BN, T, heads d]
        let attended = attended
            .swap_dims(1, 2)
            .reshape([objects, queries, heads * d]);
        project(&self.out_proj, attended)
    }

    /// `residual` + tokens to image.
    ///
    /// # Shapes
    /// `q` and `residual` `[BN, T, C]`, image map and its position code `[BN, n, C]` -> `[BN, T, C]`
    fn to_image(
        &self,
        q: Tensor<3>,
        image: [Tensor<3>; 2],
        residual: Tensor<3>,
        arithmetic: Arithmetic,
    ) -> Tensor<3> {
        let q = project(&self.q_proj, q);
        let (key, value) = (projection(&self.k_proj), projection(&self.v_proj));
        let attended = ops::tokens_to_image(q, image, key, value, self.heads, arithmetic);
        apply_residual(&self.out_proj, attended, residual, Arithmetic::F32)
    }

    /// Attention to keys and values that are projected already, `[1, n, C/2]` each.
    fn to_projected(
        &self,
        q: Tensor<3>,
        projected: &[Tensor<3>; 2],
        residual: Tensor<3>,
    ) -> Tensor<3> {
        let q = project(&self.q_proj, q);
        let attended = ops::tokens_to_projected(q, projected.clone(), self.heads);
        apply_residual(&self.out_proj, attended, residual, Arithmetic::F32)
    }

    /// The image map + image to tokens.
    ///
    /// # Shapes
    /// Image map and its position code `[BN, n, C]`, `k` and `v` `[BN, T, C]` -> `[BN, n, C]`
    fn to_tokens(
        &self,
        image: [Tensor<3>; 2],
        k: Tensor<3>,
        v: Tensor<3>,
        arithmetic: Arithmetic,
    ) -> Tensor<3> {
        let tokens = [project(&self.k_proj, k), project(&self.v_proj, v)];
        let (query, out) = (projection(&self.q_proj), projection(&self.out_proj));
        ops::image_to_tokens(image, tokens, query, out, self.heads, arithmetic)
    }

    /// `[BN, T, heads d]` -> `[BN, heads, T, d]`
    fn split_heads(&self, x: Tensor<3>) -> Tensor<4> {
        let [objects, tokens, inner] = x.dims();
        x.reshape([objects, tokens, self.heads, inner / self.heads])
            .swap_dims(1, 2)
    }
}

fn project<const D: usize>(layer: &Linear, x: Tensor<D>) -> Tensor<D> {
    apply(layer, x, Activation::None, Arithmetic::F32)
}

fn projection(layer: &Linear) -> ops::Projection {
    (layer.weight.val(), bias(layer))
}
