//! MobileSAM's encoder ([`crate::TinyVit`]) as ONNX operators.
//!
//! Maps are channels-first around convolutions and channels-last around attention, as in MobileSAM's code.
//! Batch normalisation stays an operator of its own, which engines fold into the convolution before it.

use super::graph::{Conv, Graph, Value};
use super::layers::Windows;
use crate::config::SamConfig;
use crate::tiny_vit::{BATCH_NORM_EPSILON, LAYER_NORM_EPSILON, TinyVitConfig};

/// # Shapes
/// `[1, 3, S, S]` -> `[1, C, S/16, S/16]`
pub(super) fn encoder(
    graph: &mut Graph<'_>,
    config: &SamConfig,
    tiny: &TinyVitConfig,
    image: &Value,
) -> Value {
    // The stem: 1/4
    let halving = Conv {
        stride: 2,
        ..Conv::keeping(3)
    };
    let x = conv_bn(graph, image, "image_encoder.patch_embed.seq.0", halving);
    let x = graph.gelu(&x);
    let x = conv_bn(graph, &x, "image_encoder.patch_embed.seq.2", halving);

    // A stage of convolutions: 1/8
    let mut x = x;
    for block in 0..tiny.depths[0] {
        let name = format!("image_encoder.layers.0.blocks.{block}");
        x = mb_conv(graph, &x, &name, tiny.mbconv_dim());
    }
    let mut x = merging(graph, &x, 0, tiny);

    // Three of attention: 1/16
    let mut grid = config.image_size / 8;
    for stage in 1..4 {
        for block in 0..tiny.depths[stage] {
            let block = Block {
                name: format!("image_encoder.layers.{stage}.blocks.{block}"),
                tiny,
                stage,
                grid,
            };
            x = block.forward(graph, &x);
        }
        if stage < 3 {
            x = merging(graph, &x, stage, tiny);
        }
        if stage == 1 {
            grid = grid.div_ceil(2);
        }
    }
    graph.neck(&x)
}

/// Convolution without bias, batch normalisation.
fn conv_bn(graph: &mut Graph<'_>, x: &Value, layer: &str, form: Conv) -> Value {
    let x = graph.conv(x, &format!("{layer}.c"), form);
    graph.batch_norm(&x, &format!("{layer}.bn"), BATCH_NORM_EPSILON)
}

/// Inverted residual block.
fn mb_conv(graph: &mut Graph<'_>, x: &Value, block: &str, hidden: usize) -> Value {
    let depthwise = Conv {
        groups: hidden as i64,
        ..Conv::keeping(3)
    };
    let wide = conv_bn(graph, x, &format!("{block}.conv1"), Conv::POINTWISE);
    let wide = graph.gelu(&wide);
    let wide = conv_bn(graph, &wide, &format!("{block}.conv2"), depthwise);
    let wide = graph.gelu(&wide);
    let narrow = conv_bn(graph, &wide, &format!("{block}.conv3"), Conv::POINTWISE);
    let sum = graph.add(&narrow, x);
    graph.gelu(&sum)
}

/// The merging behind a stage; that into the last one keeps the grid.
fn merging(graph: &mut Graph<'_>, x: &Value, stage: usize, tiny: &TinyVitConfig) -> Value {
    let layer = format!("image_encoder.layers.{stage}.downsample");
    let depthwise = Conv {
        stride: if stage == 2 { 1 } else { 2 },
        groups: tiny.embed_dims[stage + 1] as i64,
        ..Conv::keeping(3)
    };
    let x = conv_bn(graph, x, &format!("{layer}.conv1"), Conv::POINTWISE);
    let x = graph.gelu(&x);
    let x = conv_bn(graph, &x, &format!("{layer}.conv2"), depthwise);
    let x = graph.gelu(&x);
    conv_bn(graph, &x, &format!("{layer}.conv3"), Conv::POINTWISE)
}

/// Windowed attention, a depthwise convolution without a residual path, and an MLP.
struct Block<'a> {
    name: String,
    tiny: &'a TinyVitConfig,
    stage: usize,
    grid: usize,
}

impl Block<'_> {
    fn of(&self, layer: &str) -> String {
        format!("{}.{layer}", self.name)
    }

    /// `[1, C, g, g]` -> `[1, C, g, g]`
    fn forward(&self, graph: &mut Graph<'_>, x: &Value) -> Value {
        let channels = self.tiny.embed_dims[self.stage] as i64;
        let form = Windows {
            grid: self.grid as i64,
            side: self.tiny.window_sizes[self.stage - 1] as i64,
            channels,
        };
        let x = graph.channels_last(x);
        let windows = graph.windows(&x, form);
        let attended = self.attention(graph, &windows, form);
        let attended = graph.joined(&attended, form);
        let x = graph.add(&x, &attended);

        let local = Conv {
            groups: channels,
            ..Conv::keeping(self.tiny.local_conv_size)
        };
        let x = graph.channels_first(&x);
        let x = conv_bn(graph, &x, &self.of("local_conv"), local);
        let x = graph.channels_last(&x);

        let hidden = graph.layer_norm(&x, &self.of("mlp.norm"), LAYER_NORM_EPSILON);
        let hidden = graph.linear(&hidden, &self.of("mlp.fc1"));
        let hidden = graph.gelu(&hidden);
        let hidden = graph.linear(&hidden, &self.of("mlp.fc2"));
        let x = graph.add(&x, &hidden);
        graph.channels_first(&x)
    }

    /// `[W, n, C]` -> `[W, n, C]`
    fn attention(&self, graph: &mut Graph<'_>, x: &Value, form: Windows) -> Value {
        let heads = self.tiny.num_heads[self.stage - 1] as i64;
        let (windows, n) = (form.count() * form.count(), form.side * form.side);
        let d = form.channels / heads;
        // [W, n, 3 C] -> [3, W, heads, n, d]: query, key and value of a head follow one another
        let normal = graph.layer_norm(x, &self.of("attn.norm"), LAYER_NORM_EPSILON);
        let qkv = graph.linear(&normal, &self.of("attn.qkv"));
        let qkv = graph.reshape(&qkv, &[windows, n, heads, 3, d]);
        let qkv = graph.transpose(&qkv, &[3, 0, 2, 1, 4]);
        let [q, k, v] = [0, 1, 2].map(|part| graph.row(&qkv, part, 0));

        let scores = graph.scores([&q, &k], 4, d as usize);
        let biases = self.biases(graph, form.side);
        let scores = graph.add(&scores, &biases);
        let attended = graph.attend(&scores, &v);

        // [W, heads, n, d] -> [W, n, C]
        let attended = graph.transpose(&attended, &[0, 2, 1, 3]);
        let attended = graph.reshape(&attended, &[windows, n, form.channels]);
        graph.linear(&attended, &self.of("attn.proj"))
    }

    /// The bias of each query and key by their offset: `[heads, side²]` -> `[heads, n, n]`
    fn biases(&self, graph: &mut Graph<'_>, side: i64) -> Value {
        let table = graph.weight(&self.of("attn.attention_biases"));
        let n = (side * side) as usize;
        let index = graph.indices(
            &format!("bias_indices.{side}"),
            &[n, n],
            crate::tiny_vit::bias_indices(side as usize),
        );
        graph.gather(&table, &index, 1)
    }
}
