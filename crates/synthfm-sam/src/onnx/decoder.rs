//! Prompt encoder, mask decoder and resampling as one ONNX graph, with the inputs, outputs and rules of
//! `segment_anything/utils/onnx.py` (`SamOnnxModel`).
//!
//! A box is its two corners with labels 2 and 3; a point with label -1 is none. Differs from a file that
//! `PyTorch` traces in that the crop to the image follows `orig_im_size` instead of the traced example's.

use super::OnnxMasks;
use super::graph::{Conv, Graph, Side, Value};
use super::transformer;
use crate::config::SamConfig;
use crate::mask_decoder::{self, HEAD_DEPTH};
use crate::prompt_encoder;

/// Number of points from which on the single mask is taken, one of which fills up the list.
const MANY_POINTS: f32 = 2.5;
/// Larger than any difference of estimated `IoU`s.
const PREFERENCE: f32 = 1000.0;

/// Builds the graph from its inputs to its outputs.
pub(super) fn build(graph: &mut Graph<'_>, config: &SamConfig, masks: OnnxMasks) {
    let (c, g, m) = (
        config.prompt_embed_dim,
        config.embedding_side(),
        config.low_res_side(),
    );
    let (one, points) = (Side::Fixed(1), Side::Free("num_points"));
    let embedding = graph.input(
        "image_embeddings",
        &[one, Side::Fixed(c), Side::Fixed(g), Side::Fixed(g)],
    );
    let coords = graph.input("point_coords", &[one, points, Side::Fixed(2)]);
    let labels = graph.input("point_labels", &[one, points]);
    let mask = graph.input("mask_input", &[one, one, Side::Fixed(m), Side::Fixed(m)]);
    let has_mask = graph.input("has_mask_input", &[one]);
    let size = graph.input("orig_im_size", &[Side::Fixed(2)]);

    let decoder = Decoder { config };
    let sparse = decoder.points(graph, &coords, &labels);
    let dense = decoder.mask_prompt(graph, &mask, &has_mask);
    let (logits, iou) = decoder.masks(graph, &[&embedding, &dense], &sparse);
    let (logits, iou, count) = match masks {
        OnnxMasks::Best => {
            let (logits, iou) = decoder.best(graph, [&logits, &iou], &coords);
            (logits, iou, 1)
        }
        OnnxMasks::All => (logits, iou, config.num_multimask_outputs + 1),
    };
    let full = decoder.resampled(graph, &logits, &size);

    let count = Side::Fixed(count);
    let image = [one, count, Side::Free("height"), Side::Free("width")];
    graph.output(&full, "masks", &image);
    graph.output(&iou, "iou_predictions", &[one, count]);
    let low_res = [one, count, Side::Fixed(m), Side::Fixed(m)];
    graph.output(&logits, "low_res_masks", &low_res);
}

struct Decoder<'a> {
    config: &'a SamConfig,
}

impl Decoder<'_> {
    /// Clicks and corners as tokens (`_embed_points`).
    ///
    /// # Shapes
    /// `[1, P, 2]`, `[1, P]` -> `[1, P, C]`
    fn points(&self, graph: &mut Graph<'_>, coords: &Value, labels: &Value) -> Value {
        let coords = graph.add_scalar(coords, 0.5);
        let coords = graph.div_scalar(&coords, self.config.image_size as f32);
        let code = position_code(graph, &coords);

        // Which of the five kinds each point is: [1, P, 5]
        let kinds = graph.floats("kinds", &[5], vec![-1.0, 0.0, 1.0, 2.0, 3.0]);
        let labels = graph.unsqueeze(labels, 2);
        let is_kind = graph.equal(&labels, &kinds);
        let is_kind = graph.float_from(&is_kind);

        // A point that is none has no position
        let is_none = graph.narrow(&is_kind, 2, 0, 1);
        let one = graph.scalar(1.0);
        let is_some = graph.sub(&one, &is_none);
        let code = graph.mul(&code, &is_some);

        // [1, P, 5] x [5, C]
        let tables: Vec<Value> = std::iter::once("not_a_point_embed".to_owned())
            .chain((0..4).map(|i| format!("point_embeddings.{i}")))
            .map(|table| graph.weight(&format!("prompt_encoder.{table}.weight")))
            .collect();
        let tables: Vec<&Value> = tables.iter().collect();
        let tables = graph.concat(&tables, 0);
        let learned = graph.matmul(&is_kind, &tables);
        graph.add(&code, &learned)
    }

    /// A mask prompt, or the learned vector that stands for none (`_embed_masks`).
    ///
    /// # Shapes
    /// `[1, 1, m, m]`, `[1]` -> `[1, C, g, g]`
    fn mask_prompt(&self, graph: &mut Graph<'_>, mask: &Value, has_mask: &Value) -> Value {
        let layer = |i: usize| format!("prompt_encoder.mask_downscaling.{i}");
        let epsilon = prompt_encoder::EPSILON;
        let x = graph.conv(mask, &layer(0), Conv::patches(2));
        let x = graph.layer_norm_2d(&x, &layer(1), epsilon);
        let x = graph.gelu(&x);
        let x = graph.conv(&x, &layer(3), Conv::patches(2));
        let x = graph.layer_norm_2d(&x, &layer(4), epsilon);
        let x = graph.gelu(&x);
        let x = graph.conv(&x, &layer(6), Conv::POINTWISE);

        let with = graph.mul(&x, has_mask);
        let one = graph.scalar(1.0);
        let has_none = graph.sub(&one, has_mask);
        let none = graph.weight("prompt_encoder.no_mask_embed.weight");
        let none = graph.reshape(&none, &[1, self.config.prompt_embed_dim as i64, 1, 1]);
        let without = graph.mul(&none, &has_none);
        graph.add(&with, &without)
    }

    /// Logits and estimated `IoU` of every mask (`MaskDecoder.predict_masks`).
    ///
    /// # Shapes
    /// Embedding and dense prompt `[1, C, g, g]`, sparse `[1, P, C]` -> `[1, K, m, m]`, `[1, K]`
    fn masks(&self, graph: &mut Graph<'_>, image: &[&Value; 2], sparse: &Value) -> (Value, Value) {
        let config = self.config;
        let (c, g, m) = (
            config.prompt_embed_dim as i64,
            config.embedding_side() as i64,
            config.low_res_side() as i64,
        );
        // Output tokens, then prompt tokens
        let iou_token = graph.weight("mask_decoder.iou_token.weight");
        let mask_tokens = graph.weight("mask_decoder.mask_tokens.weight");
        let tokens = graph.concat(&[&iou_token, &mask_tokens], 0);
        let tokens = graph.unsqueeze(&tokens, 0);
        let tokens = graph.concat(&[&tokens, sparse], 1);

        // [1, C, g, g] -> [1, g g, C]
        let src = graph.add(image[0], image[1]);
        let src = graph.reshape(&src, &[1, c, g * g]);
        let src = graph.transpose(&src, &[0, 2, 1]);
        let image_pe = self.dense_pe(graph);
        let (tokens, src) = transformer::forward(graph, config, [&src, &image_pe], &tokens);

        // [1, g g, C] -> [1, C/8, m m]
        let src = graph.transpose(&src, &[0, 2, 1]);
        let src = graph.reshape(&src, &[1, c, g, g]);
        let upscaled = upscaling(graph, &src);
        let upscaled = graph.reshape(&upscaled, &[1, c / 8, m * m]);

        // Each mask token's product with the upscaled map
        let masks = config.num_multimask_outputs as i64 + 1;
        let weights: Vec<Value> = (0..masks)
            .map(|i| {
                let token = graph.narrow(&tokens, 1, 1 + i, 1);
                let mlp = format!("mask_decoder.output_hypernetworks_mlps.{i}");
                head(graph, &token, &mlp)
            })
            .collect();
        let weights: Vec<&Value> = weights.iter().collect();
        let weights = graph.concat(&weights, 1);
        let logits = graph.matmul(&weights, &upscaled);
        let logits = graph.reshape(&logits, &[1, masks, m, m]);

        let iou_token = graph.row(&tokens, 0, 1);
        let iou = head(graph, &iou_token, "mask_decoder.iou_prediction_head");
        (logits, iou)
    }

    /// The position code of every cell: `[1, g g, C]`.
    fn dense_pe(&self, graph: &mut Graph<'_>) -> Value {
        let g = self.config.embedding_side();
        let coords = prompt_encoder::cell_centres(g);
        let coords = graph.floats("cell_centres", &[1, g * g, 2], coords);
        position_code(graph, &coords)
    }

    /// For one click the best of the alternatives, for more the single mask (`select_masks`).
    ///
    /// # Shapes
    /// `[1, K, m, m]`, `[1, K]` -> `[1, 1, m, m]`, `[1, 1]`
    fn best(
        &self,
        graph: &mut Graph<'_>,
        [logits, iou]: [&Value; 2],
        coords: &Value,
    ) -> (Value, Value) {
        let shape = graph.unary("Shape", coords);
        let points = graph.narrow(&shape, 0, 1, 1);
        let points = graph.float_from(&points);
        let many = graph.scalar(MANY_POINTS);
        let many = graph.sub(&points, &many);
        let alternatives = self.config.num_multimask_outputs;
        let mut first = vec![0.0; alternatives + 1];
        first[0] = PREFERENCE;
        let first = graph.floats("single_mask", &[1, alternatives + 1], first);
        let preference = graph.mul(&many, &first);
        let score = graph.add(iou, &preference);
        let best = graph.argmax(&score, 1);
        (graph.gather(logits, &best, 1), graph.gather(iou, &best, 1))
    }

    /// Logits on the image's grid (`mask_postprocessing`).
    ///
    /// # Shapes
    /// `[1, K, m, m]`, height and width `[2]` -> `[1, K, H, W]`
    fn resampled(&self, graph: &mut Graph<'_>, logits: &Value, size: &Value) -> Value {
        let side = self.config.image_size;
        let outer = graph.unary("Shape", logits);
        let outer = graph.narrow(&outer, 0, 0, 2);
        let input = graph.integers(&[side as i64; 2]);
        let input = graph.concat(&[&outer, &input], 0);
        let x = graph.resize(logits, &input);

        // The image's size in the input: its longest side fits
        let longest = graph.largest(size);
        let scale = graph.scalar(side as f32);
        let scale = graph.div(&scale, &longest);
        let resized = graph.mul(size, &scale);
        let resized = graph.add_scalar(&resized, 0.5);
        let resized = graph.unary("Floor", &resized);
        let resized = graph.integer_from(&resized);
        let origin = graph.integers(&[0, 0]);
        let x = graph.slice(&x, [&origin, &resized], &[2, 3]);

        let size = graph.integer_from(size);
        let size = graph.concat(&[&outer, &size], 0);
        graph.resize(&x, &size)
    }
}

/// Fourier code of coordinates in [0, 1]: `[1, P, 2]` -> `[1, P, C]`.
fn position_code(graph: &mut Graph<'_>, coords: &Value) -> Value {
    let matrix = graph.weight("prompt_encoder.pe_layer.positional_encoding_gaussian_matrix");
    let coords = graph.mul_scalar(coords, 2.0);
    let coords = graph.add_scalar(&coords, -1.0);
    let angle = graph.matmul(&coords, &matrix);
    let angle = graph.mul_scalar(&angle, std::f32::consts::TAU);
    let (sin, cos) = (graph.unary("Sin", &angle), graph.unary("Cos", &angle));
    graph.concat(&[&sin, &cos], -1)
}

/// Two transposed convolutions: `[1, C, g, g]` -> `[1, C/8, m, m]`.
fn upscaling(graph: &mut Graph<'_>, src: &Value) -> Value {
    let layer = |i: usize| format!("mask_decoder.output_upscaling.{i}");
    let x = graph.up_conv(src, &layer(0));
    let x = graph.layer_norm_2d(&x, &layer(1), mask_decoder::EPSILON);
    let x = graph.gelu(&x);
    let x = graph.up_conv(&x, &layer(3));
    graph.gelu(&x)
}

/// Linear layers with rectifiers between them: `[.., in]` -> `[.., out]`.
fn head(graph: &mut Graph<'_>, x: &Value, mlp: &str) -> Value {
    let mut x = x.clone();
    for i in 0..HEAD_DEPTH {
        x = graph.linear(&x, &format!("{mlp}.layers.{i}"));
        if i + 1 < HEAD_DEPTH {
            x = graph.unary("Relu", &x);
        }
    }
    x
}
