//! SAM's mask decoder (`segment_anything/modeling/mask_decoder.py`).
//!
//! Output tokens and prompt tokens run through the two-way transformer together with the image; each
//! mask token becomes the weights of a product with the upscaled image map, and the `IoU` token the
//! scores. Differs from Meta's code in that objects name their image (so that images of one batch may
//! have different numbers of objects). SAM 2's decoder (`sam2/modeling/sam/mask_decoder.py`) has one more token, for whether
//! the object is there, a sigmoid on the estimated `IoU`, and adds finer encoder maps while upscaling, as our own does.

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Tensor, activation::sigmoid};

use crate::config::SamConfig;
use crate::dense_prompts::DensePrompts;
use crate::geodesic_clicks::GeodesicClicks;
use crate::image_encoder::{HighRes, ImageEmbedding};
use crate::layers::{Embedding, LayerNorm, UpConv, apply, channels_last};
use crate::mask_refiner::{MaskRefiner, RefinerView};
use crate::ops::{self, Activation, Arithmetic};
use crate::prompt_encoder::PromptEmbedding;
use crate::transformer::{PrecomputedImageTokens, TwoWayTransformer};

/// `LayerNorm2d` of the upscaling.
pub(crate) const EPSILON: f64 = 1e-6;
/// Layers of the `IoU` head and of each hypernetwork.
pub(crate) const HEAD_DEPTH: usize = 3;

/// Which of the decoder's masks to compute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MaskOutput {
    /// One mask per object: for unambiguous prompts (several clicks, boxes).
    Single,
    /// The alternatives (whole, part, subpart): for one click.
    Multi,
    /// The single mask, then the alternatives.
    All,
}

/// `K` masks for each of `BN` objects.
#[derive(Debug, Clone)]
pub struct MaskPrediction {
    /// `[BN, K, m, m]`
    pub low_res_logits: Tensor<4>,
    /// Estimated `IoU` of each mask, `[BN, K]`.
    pub iou: Tensor<2>,
    /// SAM 2's logit for each object that the image shows it, `[BN, 1]`.
    pub object_score: Option<Tensor<2>>,
}

/// SAM's mask decoder (`MaskDecoder`).
#[derive(Module, Debug)]
pub struct MaskDecoder {
    transformer: TwoWayTransformer,
    iou_token: Embedding,
    mask_tokens: Embedding,
    output_upscaling: OutputUpscaling,
    output_hypernetworks_mlps: Vec<HeadMlp>,
    iou_prediction_head: HeadMlp,
    obj_score_token: Option<Embedding>,
    pred_obj_score_head: Option<HeadMlp>,
    dense_prompts: Option<DensePrompts>,
    click_reach: Option<GeodesicClicks>,
    mask_refiner: Option<MaskRefiner>,
}

/// The image side of a decoder call.
#[derive(Debug, Clone)]
pub(crate) struct DecoderImage<'a> {
    /// Embeddings of `B` images.
    pub(crate) embedding: &'a ImageEmbedding,
    /// Dense position code `[1, g g, C]`.
    pub(crate) image_pe: &'a Tensor<3>,
    /// For each of `BN` objects, which of the `B` images it is on.
    pub(crate) image_of_object: &'a [usize],
    /// Tokens of a single image, for prompts without masks; see [`MaskDecoder::image_tokens`].
    pub(crate) image_tokens: Option<&'a PrecomputedImageTokens>,
}

impl MaskDecoder {
    pub(crate) fn new(config: &SamConfig, device: &Device) -> Self {
        let dim = config.prompt_embed_dim;
        let masks = config.num_multimask_outputs + 1;
        Self {
            transformer: TwoWayTransformer::new(config, device),
            iou_token: Embedding::new(1, dim, device),
            mask_tokens: Embedding::new(masks, dim, device),
            output_upscaling: OutputUpscaling::new(dim, device),
            output_hypernetworks_mlps: (0..masks)
                .map(|_| HeadMlp::new([dim, dim, dim / 8], device))
                .collect(),
            iou_prediction_head: HeadMlp::new([dim, config.iou_head_hidden_dim, masks], device),
            obj_score_token: config.is_sam2().then(|| Embedding::new(1, dim, device)),
            pred_obj_score_head: config
                .is_sam2()
                .then(|| HeadMlp::new([dim, dim, 1], device)),
            dense_prompts: (config.dense_prompts > 0)
                .then(|| DensePrompts::new(config.dense_prompts, dim, device)),
            click_reach: config.click_reach.then(|| GeodesicClicks::new(dim, device)),
            mask_refiner: (config.mask_refiner > 0)
                .then(|| MaskRefiner::new(config.mask_refiner, dim, device)),
        }
    }

    /// # Shapes
    /// `B` images with `BN` objects -> masks `[BN, K, m, m]` and scores `[BN, K]`; products with the image in the
    /// given arithmetic
    pub(crate) fn forward(
        &self,
        image: &DecoderImage<'_>,
        prompts: PromptEmbedding,
        output: MaskOutput,
        arithmetic: Arithmetic,
    ) -> MaskPrediction {
        let masks = self.output_hypernetworks_mlps.len();
        let PromptEmbedding {
            sparse,
            dense,
            maps,
            reach,
        } = prompts;
        let with_masks = dense.dims()[1] > 1;
        let image_tokens = image.image_tokens.filter(|_| !with_masks);
        let reach = self.click_reach.as_ref().zip(reach);

        // Output tokens, then prompt tokens: [BN, 1 + masks + P', C], one more in front for SAM 2's object score
        let tokens = self.tokens(image.image_of_object.len(), sparse);
        let src = if let Some(side) = image_tokens {
            side.tokens.clone()
        } else {
            let coarse = reach
                .as_ref()
                .map(|(reach, maps)| (*reach, maps.cells.clone()));
            self.object_cells(image, dense, maps, coarse, arithmetic)
        };

        // Our own narrower model is trained in the arithmetic that it is used in, and rounding here would move all of its
        // gradients by several times what the other products' does.
        let in_attention = match &self.dense_prompts {
            Some(_) => Arithmetic::F32,
            None => arithmetic,
        };
        let projected = image_tokens.map(|side| &side.projected);
        let (tokens, src) =
            self.transformer
                .forward(src, image.image_pe, &tokens, projected, in_attention);

        let wanted = match output {
            MaskOutput::Single => 0..1,
            MaskOutput::Multi => 1..masks,
            MaskOutput::All => 0..masks,
        };
        let object_score = self.pred_obj_score_head.as_ref().map(|head| {
            let token = tokens.clone().narrow(1, 0, 1).squeeze_dim::<2>(1);
            head.forward(token)
        });
        let tokens = match object_score {
            Some(_) => tokens.clone().narrow(1, 1, masks + 1),
            None => tokens,
        };
        let weights = self.mask_weights(&tokens, wanted.clone());
        let added = reach.map(|(reach, maps)| reach.fine(maps.full, arithmetic));
        let iou_token = tokens.narrow(1, 0, 1).squeeze_dim::<2>(1);
        let iou = self.iou_prediction_head.forward(iou_token);
        let iou = match object_score {
            Some(_) => sigmoid(iou),
            None => iou,
        };
        MaskPrediction {
            object_score,
            low_res_logits: self.logits(image, src, weights, added, arithmetic),
            iou: iou.narrow(1, wanted.start, wanted.len()),
        }
    }

    /// Each object's image with its dense prompt added, and what its prompts as maps say: `[BN, g g, C]`, or `[1, g g, C]` where
    /// it is the same for all of them.
    fn object_cells(
        &self,
        image: &DecoderImage<'_>,
        dense: Tensor<3>,
        maps: Option<Tensor<4>>,
        coarse: Option<(&GeodesicClicks, Tensor<4>)>,
        arithmetic: Arithmetic,
    ) -> Tensor<3> {
        let embedding = &image.embedding.image_embedding;
        let [images, c, g, _] = embedding.dims();
        let objects = image.image_of_object.len();
        let src = flat(embedding.clone());
        let shared = images == 1 && self.dense_prompts.is_none();
        let src = if shared {
            src
        } else {
            ops::select_rows(src, image.image_of_object)
        };
        let src = src + dense;
        let Some((join, maps)) = self.dense_prompts.as_ref().zip(maps) else {
            return src;
        };
        let src = src.reshape([objects, g, g, c]);
        let src = match coarse {
            Some((reach, cells)) => reach.coarse_residual(cells, src, arithmetic),
            None => src,
        };
        join.forward(src, maps, arithmetic)
            .reshape([objects, g * g, c])
    }

    /// Each wanted mask token as weights of the upscaled map's channels: `[BN, K, C/8]`.
    fn mask_weights(&self, tokens: &Tensor<3>, wanted: std::ops::Range<usize>) -> Tensor<3> {
        let weights = wanted.map(|i| {
            let token = tokens.clone().narrow(1, 1 + i, 1);
            self.output_hypernetworks_mlps[i].forward(token)
        });
        Tensor::cat(weights.collect(), 1)
    }

    /// The products of the mask tokens' weights `[BN, K, C/8]` with the upscaled cells `[BN, g g, C]`: `[BN, K, m, m]`. `added` is
    /// what clicks add to the finest features, `[BN, m, m, C/8]`.
    fn logits(
        &self,
        image: &DecoderImage<'_>,
        cells: Tensor<3>,
        weights: Tensor<3>,
        added: Option<Tensor<4>>,
        arithmetic: Arithmetic,
    ) -> Tensor<4> {
        let [_, c, g, _] = image.embedding.image_embedding.dims();
        let [objects, count, _] = weights.dims();
        let Some(HighRes {
            feat_s1, feat_s0, ..
        }) = &image.embedding.high_res
        else {
            let masks = self.output_upscaling.masks(cells, weights, arithmetic);
            let masks = masks.reshape([objects * count, 16 * g * g]);
            return unnested(masks, g).reshape([objects, count, 4 * g, 4 * g]);
        };
        let of_object = image.image_of_object;
        let [feat_s1, feat_s0] = [feat_s1, feat_s0].map(|map| channels_last(map.clone()));
        let none = || Tensor::zeros([1, 1, 1, feat_s0.dims()[3]], &feat_s0.device());
        let added = added.unwrap_or_else(none);
        let refining = self.mask_refiner.as_ref().map(|refiner| {
            let view = RefinerView {
                cells: cells.clone().reshape([objects, g, g, c]),
                finer: [feat_s1.clone(), feat_s0.clone()],
                clicks: added.clone(),
            };
            (refiner, view)
        });
        let finer = [feat_s1, feat_s0, added];
        let upscaling = &self.output_upscaling;
        let logits = upscaling.finer_masks(cells, finer, weights, of_object, arithmetic);
        match refining {
            Some((refiner, view)) => refiner.forward(logits, view, of_object, arithmetic),
            None => logits,
        }
    }

    /// What all prompts without masks share of one image, `[1, C, g, g]`; `no_mask` is their dense prompt. `None` where
    /// prompts are drawn on the image.
    pub(crate) fn image_tokens(
        &self,
        image: &ImageEmbedding,
        image_pe: &Tensor<3>,
        no_mask: Tensor<3>,
    ) -> Option<PrecomputedImageTokens> {
        if self.dense_prompts.is_some() {
            return None;
        }
        let tokens = flat(image.image_embedding.clone()) + no_mask;
        self.transformer.image_tokens(tokens, image_pe)
    }

    fn tokens(&self, objects: usize, sparse: Option<Tensor<3>>) -> Tensor<3> {
        let own = [&self.iou_token, &self.mask_tokens];
        let output = self.obj_score_token.iter().chain(own);
        let output = Tensor::cat(output.map(Embedding::table).collect(), 0);
        let [count, c] = output.dims();
        let output = output.unsqueeze_dim::<3>(0).expand([objects, count, c]);
        Tensor::cat(std::iter::once(output).chain(sparse).collect(), 1)
    }
}

/// `[B, C, g, g]` -> `[B, g g, C]`
fn flat(map: Tensor<4>) -> Tensor<3> {
    channels_last(map).flatten(1, 2)
}

/// Two transposed convolutions: from `g` to `4 g` and from `C` to `C/8` channels.
///
/// All that follows them treats pixels one by one, so these stay *nested* as the convolutions make them: the
/// four of a pixel one after the other, row by row, in the pixel's place. The masks alone are put in order.
#[derive(Module, Debug)]
struct OutputUpscaling {
    conv_0: UpConv,
    norm_1: LayerNorm,
    conv_3: UpConv,
}

impl OutputUpscaling {
    fn new(dim: usize, device: &Device) -> Self {
        Self {
            conv_0: UpConv::new([dim, dim / 4], device),
            norm_1: LayerNorm::new(dim / 4, EPSILON, device),
            conv_3: UpConv::new([dim / 4, dim / 8], device),
        }
    }

    /// # Shapes
    /// `[BN, g g, C]`, mask weights `[BN, K, C/8]` -> `[BN, K, m m]`, nested
    fn masks(&self, src: Tensor<3>, weights: Tensor<3>, arithmetic: Arithmetic) -> Tensor<3> {
        let (first, second) = (self.conv_0.projection(), self.conv_3.projection());
        ops::mask_head(src, first, self.norm_1.parts(), second, weights, arithmetic)
    }

    /// Upscaling with the finer maps of B images added, and with what each object adds to the finest.
    ///
    /// # Shapes
    /// `[BN, g g, C]`, channels-last maps `[B, 2g, 2g, C/4]`, `[B, m, m, C/8]` and `[BN, m, m, C/8]` (or `[1, 1, 1, C/8]`),
    /// mask weights `[BN, K, C/8]` -> `[BN, K, m, m]`
    fn finer_masks(
        &self,
        src: Tensor<3>,
        finer: [Tensor<4>; 3],
        weights: Tensor<3>,
        image_of_object: &[usize],
        arithmetic: Arithmetic,
    ) -> Tensor<4> {
        let (first, second) = (self.conv_0.projection(), self.conv_3.projection());
        let norm = self.norm_1.parts();
        ops::finer_head(
            src,
            first,
            norm,
            second,
            finer,
            weights,
            image_of_object,
            arithmetic,
        )
    }
}

/// Maps nested twice in rows and columns: `[M, 16 g g]` -> `[M, 4 g, 4 g]`.
fn unnested(maps: Tensor<2>, g: usize) -> Tensor<3> {
    let [count, _] = maps.dims();
    maps.reshape([count, g, g, 2, 2, 2, 2])
        .permute([0, 1, 3, 5, 2, 4, 6])
        .reshape([count, 4 * g, 4 * g])
}

/// Linear layers with rectifiers between them.
#[derive(Module, Debug)]
struct HeadMlp {
    layers: Vec<Linear>,
}

impl HeadMlp {
    fn new([input, hidden, output]: [usize; 3], device: &Device) -> Self {
        let widths = |i: usize| {
            let from = if i == 0 { input } else { hidden };
            let to = if i + 1 == HEAD_DEPTH { output } else { hidden };
            LinearConfig::new(from, to).init(device)
        };
        Self {
            layers: (0..HEAD_DEPTH).map(widths).collect(),
        }
    }

    /// # Shapes
    /// `[.., in]` -> `[.., out]`
    fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        let (last, hidden) = self.layers.split_last().expect("a head has three layers");
        let x = hidden.iter().fold(x, |x, layer| {
            apply(layer, x, Activation::Relu, Arithmetic::F32)
        });
        apply(last, x, Activation::None, Arithmetic::F32)
    }
}
