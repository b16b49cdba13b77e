//! SAM's prompt encoder: points, boxes and masks as tokens and a dense map
//! (`segment_anything/modeling/prompt_encoder.py`).
//!
//! Sparse prompts are Fourier codes of their position (Tancik et al. 2020) plus a learned vector per
//! kind of point; a mask prompt goes through three small convolutions. Differs from Meta's code in
//! that box corners may also be given as points with labels 2 and 3, and that the dense part is
//! channels-last.

use burn::module::{Initializer, Module, Param};
use burn::tensor::{Device, Int, Tensor, TensorData};

use crate::config::SamConfig;
use crate::dense_prompts::prompt_maps;
use crate::geodesic_clicks::GeodesicMaps;
use crate::layers::{Embedding, LayerNorm, PatchConv};
use crate::ops::gelu;

/// `LayerNorm2d` of the mask prompt.
pub(crate) const EPSILON: f64 = 1e-6;

/// Label of a background click.
pub const LABEL_BACKGROUND: i64 = 0;
/// Label of a foreground click.
pub const LABEL_FOREGROUND: i64 = 1;
/// Label of a box's top-left corner.
const LABEL_BOX_START: i64 = 2;
/// Label of a box's bottom-right corner.
const LABEL_BOX_END: i64 = 3;
/// Label of a point that is none: it fills up a batch.
pub const LABEL_PADDING: i64 = -1;

/// Prompts of `BN` objects, in the input frame (pixels of the resized image).
#[derive(Debug, Clone, Default)]
pub struct PromptBatch {
    /// Clicks: coordinates `(x, y)` and labels.
    pub points: Option<PointPrompts>,
    /// Boxes `[BN, 4]`: `x0, y0, x1, y1`.
    pub boxes: Option<Tensor<2>>,
    /// Low-resolution logits of an earlier answer, `[BN, 1, 4g, 4g]`.
    pub masks: Option<Tensor<4>>,
}

/// `P` clicks for each object.
#[derive(Debug, Clone)]
pub struct PointPrompts {
    /// `[BN, P, 2]`: `(x, y)` in the input frame, 0 at the centre of the first pixel.
    pub coords: Tensor<3>,
    /// `[BN, P]`: 1 foreground, 0 background, -1 padding, 2 and 3 box corners.
    pub labels: Tensor<2, Int>,
}

impl PromptBatch {
    /// Clicks alone.
    pub fn from_points(coords: Tensor<3>, labels: Tensor<2, Int>) -> Self {
        Self {
            points: Some(PointPrompts { coords, labels }),
            ..Self::default()
        }
    }

    /// Boxes alone, `[BN, 4]`.
    pub fn from_boxes(boxes: Tensor<2>) -> Self {
        Self {
            boxes: Some(boxes),
            ..Self::default()
        }
    }

    /// Number of objects `BN`; 0 where there is no prompt at all.
    pub fn len(&self) -> usize {
        let points = self.points.as_ref().map(|p| p.coords.dims()[0]);
        let boxes = self.boxes.as_ref().map(|b| b.dims()[0]);
        let masks = self.masks.as_ref().map(|m| m.dims()[0]);
        points.or(boxes).or(masks).unwrap_or(0)
    }

    /// Whether there is no prompt at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What the prompt encoder hands to the mask decoder.
#[derive(Debug, Clone)]
pub struct PromptEmbedding {
    /// `[BN, P', C]`; `None` where only masks were given.
    pub sparse: Option<Tensor<3>>,
    /// `[BN, g g, C]`, or `[1, 1, C]` without mask prompts.
    pub dense: Tensor<3>,
    /// Clicks and boxes drawn on the grid, `[BN, g, g, 5]`, for models with dense prompts.
    pub maps: Option<Tensor<4>>,
    /// Distances from the clicks through the image, for models that take them.
    pub(crate) reach: Option<GeodesicMaps>,
}

/// SAM's prompt encoder (`PromptEncoder`).
#[derive(Module, Debug)]
pub struct PromptEncoder {
    pe_layer: PositionEmbeddingRandom,
    point_embeddings: Vec<Embedding>,
    not_a_point_embed: Embedding,
    mask_downscaling: MaskDownscaling,
    no_mask_embed: Embedding,
    image_size: usize,
    grid: usize,
    draws_maps: bool,
    /// As in SAM 2: box corners come before the clicks, and a padding point follows in any case.
    boxes_as_points: bool,
}

impl PromptEncoder {
    pub(crate) fn new(config: &SamConfig, device: &Device) -> Self {
        let dim = config.prompt_embed_dim;
        Self {
            pe_layer: PositionEmbeddingRandom::new(dim / 2, device),
            point_embeddings: (0..4).map(|_| Embedding::new(1, dim, device)).collect(),
            not_a_point_embed: Embedding::new(1, dim, device),
            mask_downscaling: MaskDownscaling::new(config.mask_in_chans, dim, device),
            no_mask_embed: Embedding::new(1, dim, device),
            image_size: config.image_size,
            grid: config.embedding_side(),
            draws_maps: config.dense_prompts > 0,
            boxes_as_points: config.is_sam2(),
        }
    }

    /// Encodes the prompts of `BN` objects.
    pub fn forward(&self, prompts: &PromptBatch) -> PromptEmbedding {
        let corners_first = prompts
            .boxes
            .as_ref()
            .filter(|_| self.boxes_as_points)
            .map(|boxes| PromptBatch {
                points: Some(corners_before(boxes, prompts.points.as_ref())),
                boxes: None,
                masks: prompts.masks.clone(),
            });
        let prompts = corners_first.as_ref().unwrap_or(prompts);
        self.encode(prompts)
    }

    fn encode(&self, prompts: &PromptBatch) -> PromptEmbedding {
        let PromptBatch {
            points,
            boxes,
            masks,
        } = prompts;
        // A padding point follows the clicks unless a box does.
        let points = points.as_ref().map(|p| match boxes {
            Some(_) => p.clone(),
            None => with_padding_point(p),
        });
        let tokens: Vec<_> = points
            .map(|p| self.embed_points(&p))
            .into_iter()
            .chain(boxes.as_ref().map(|b| self.embed_boxes(b.clone())))
            .collect();
        PromptEmbedding {
            sparse: (!tokens.is_empty()).then(|| Tensor::cat(tokens, 1)),
            dense: match masks {
                Some(masks) => self.mask_downscaling.forward(masks.clone()),
                None => self.no_mask(),
            },
            maps: self
                .draws_maps
                .then(|| prompt_maps(prompts, self.grid, self.image_size, &self.device())),
            reach: None,
        }
    }

    pub(crate) fn device(&self) -> Device {
        self.pe_layer.device()
    }

    /// The dense prompt of objects without a mask prompt: `[1, 1, C]`.
    pub(crate) fn no_mask(&self) -> Tensor<3> {
        self.no_mask_embed.table().unsqueeze_dim(0)
    }

    /// The position code at the centre of every cell of the embedding: `[1, C, g, g]`.
    pub fn dense_pe(&self) -> Tensor<4> {
        let g = self.grid;
        let tokens = self.dense_pe_tokens();
        let [_, _, c] = tokens.dims();
        tokens.swap_dims(1, 2).reshape([1, c, g, g])
    }

    /// The dense position encoding as tokens: `[1, g g, C]`.
    pub(crate) fn dense_pe_tokens(&self) -> Tensor<3> {
        let g = self.grid;
        let device = self.pe_layer.device();
        let coords = TensorData::new(cell_centres(g), [1, g * g, 2]);
        let coords = Tensor::from_data(coords, &device);
        self.pe_layer.encode(coords)
    }

    /// # Shapes
    /// `P` points of `BN` objects -> `[BN, P, C]`
    fn embed_points(&self, points: &PointPrompts) -> Tensor<3> {
        let PointPrompts { coords, labels } = points;
        let [objects, count] = labels.dims();
        let code = self.encode_pixels(coords.clone());
        let [_, _, c] = code.dims();
        // A point that is none keeps its learned vector only.
        let padding = labels
            .clone()
            .equal_scalar(LABEL_PADDING)
            .unsqueeze_dim::<3>(2)
            .expand([objects, count, c]);
        let code = code.mask_fill(padding, 0.0);
        let kinds = self
            .kinds()
            .select(0, (labels.clone() + 1).reshape([objects * count]));
        code + kinds.reshape([objects, count, c])
    }

    /// The learned vector of each label, -1 first: `[5, C]`.
    fn kinds(&self) -> Tensor<2> {
        let points = self.point_embeddings.iter().map(Embedding::table);
        let rows = std::iter::once(self.not_a_point_embed.table()).chain(points);
        Tensor::cat(rows.collect(), 0)
    }

    /// # Shapes
    /// `[BN, 4]` -> `[BN, 2, C]`: top-left and bottom-right corner
    fn embed_boxes(&self, boxes: Tensor<2>) -> Tensor<3> {
        let [objects, _] = boxes.dims();
        let corners = self.encode_pixels(boxes.reshape([objects, 2, 2]));
        let corner = |i: usize| self.point_embeddings[i].table();
        corners + Tensor::cat(vec![corner(2), corner(3)], 0).unsqueeze_dim(0)
    }

    /// Position code of pixel coordinates, whose centres lie half a pixel in: `[BN, P, 2]` ->
    /// `[BN, P, C]`.
    fn encode_pixels(&self, coords: Tensor<3>) -> Tensor<3> {
        self.pe_layer
            .encode((coords + 0.5) / self.image_size as f64)
    }
}

/// The centre (x, y) of every cell of a grid of `g × g` over the unit square, row by row.
pub(crate) fn cell_centres(g: usize) -> Vec<f32> {
    let centre = |i: usize| (i as f32 + 0.5) / g as f32;
    (0..g * g)
        .flat_map(|i| [centre(i % g), centre(i / g)])
        .collect()
}

/// Clicks after the corners of boxes, whose labels are 2 and 3 (`SAM2ImagePredictor._predict`).
fn corners_before(boxes: &Tensor<2>, clicks: Option<&PointPrompts>) -> PointPrompts {
    let [objects, _] = boxes.dims();
    let corners = boxes.clone().reshape([objects, 2, 2]);
    let device = clicks.map_or_else(|| boxes.device(), |clicks| clicks.labels.device());
    let labels = [LABEL_BOX_START, LABEL_BOX_END].repeat(objects);
    let labels = Tensor::<2, Int>::from_data(TensorData::new(labels, [objects, 2]), &device);
    match clicks {
        Some(PointPrompts {
            coords,
            labels: clicked,
        }) => PointPrompts {
            coords: Tensor::cat(vec![corners, coords.clone()], 1),
            labels: Tensor::cat(vec![labels, clicked.clone()], 1),
        },
        None => PointPrompts {
            coords: corners,
            labels,
        },
    }
}

/// Appends one point at (0, 0) with the padding label to each object's points.
fn with_padding_point(points: &PointPrompts) -> PointPrompts {
    let PointPrompts { coords, labels } = points.clone();
    let [objects, _] = labels.dims();
    let device = coords.device();
    let origin = Tensor::zeros([objects, 1, 2], &device);
    let padding = Tensor::<2, Int>::full([objects, 1], LABEL_PADDING, &labels.device());
    PointPrompts {
        coords: Tensor::cat(vec![coords, origin], 1),
        labels: Tensor::cat(vec![labels, padding], 1),
    }
}

/// Fourier code with a fixed Gaussian matrix `G`: `[sin 2π(2u-1)G, cos 2π(2u-1)G]`.
#[derive(Module, Debug)]
struct PositionEmbeddingRandom {
    /// `[2, C/2]`: a buffer, saved with the weights and never trained.
    positional_encoding_gaussian_matrix: Param<Tensor<2>>,
}

impl PositionEmbeddingRandom {
    fn new(features: usize, device: &Device) -> Self {
        let normal = Initializer::Normal {
            mean: 0.0,
            std: 1.0,
        };
        let matrix: Param<Tensor<2>> = normal.init([2, features], device);
        Self {
            positional_encoding_gaussian_matrix: matrix.set_require_grad(false),
        }
    }

    fn device(&self) -> Device {
        self.positional_encoding_gaussian_matrix.lazy_device()
    }

    /// # Shapes
    /// Coordinates in `[0, 1]` `[B, P, 2]` -> `[B, P, C]`
    fn encode(&self, coords: Tensor<3>) -> Tensor<3> {
        let matrix = self.positional_encoding_gaussian_matrix.val();
        let centred = coords * 2.0 - 1.0;
        let angle = centred.matmul(matrix.unsqueeze_dim(0)) * (2.0 * std::f64::consts::PI);
        Tensor::cat(vec![angle.clone().sin(), angle.cos()], 2)
    }
}

/// A mask prompt to the embedding's grid: two 2x2 convolutions of stride 2 and a 1x1.
#[derive(Module, Debug)]
struct MaskDownscaling {
    conv_0: PatchConv,
    norm_1: LayerNorm,
    conv_3: PatchConv,
    norm_4: LayerNorm,
    conv_6: PatchConv,
}

impl MaskDownscaling {
    fn new(hidden: usize, dim: usize, device: &Device) -> Self {
        Self {
            conv_0: PatchConv::new([1, hidden / 4], 2, device),
            norm_1: LayerNorm::new(hidden / 4, EPSILON, device),
            conv_3: PatchConv::new([hidden / 4, hidden], 2, device),
            norm_4: LayerNorm::new(hidden, EPSILON, device),
            conv_6: PatchConv::new([hidden, dim], 1, device),
        }
    }

    /// # Shapes
    /// `[BN, 1, 4g, 4g]` -> `[BN, g g, C]`
    fn forward(&self, masks: Tensor<4>) -> Tensor<3> {
        let [objects, _, h, w] = masks.dims();
        let x = masks.reshape([objects, h, w, 1]);
        let x = gelu(self.norm_1.forward(self.conv_0.forward(x)));
        let x = gelu(self.norm_4.forward(self.conv_3.forward(x)));
        self.conv_6.forward(x).flatten(1, 2)
    }
}
