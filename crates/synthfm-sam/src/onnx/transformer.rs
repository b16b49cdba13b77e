//! The mask decoder's two-way transformer as ONNX operators (`segment_anything/modeling/transformer.py`).

use super::graph::{Graph, Value};
use crate::config::SamConfig;
use crate::transformer::{DOWNSAMPLE_RATE, EPSILON};

const NAME: &str = "mask_decoder.transformer";

/// # Shapes
/// Image and its position code `[1, g g, C]`, tokens `[1, T, C]` -> tokens and image
pub(super) fn forward(
    graph: &mut Graph<'_>,
    config: &SamConfig,
    [image, image_pe]: [&Value; 2],
    tokens: &Value,
) -> (Value, Value) {
    let (mut queries, mut keys) = (tokens.clone(), image.clone());
    for index in 0..config.decoder_depth {
        let layer = Layer {
            name: format!("{NAME}.layers.{index}"),
            config,
            token_pe: tokens,
            image_pe,
        };
        queries = layer.self_attention(graph, &queries, index == 0);
        (queries, keys) = layer.cross_attention(graph, &queries, &keys);
    }
    let attention = Attention {
        name: format!("{NAME}.final_attn_token_to_image"),
        inner: config.prompt_embed_dim / DOWNSAMPLE_RATE,
        heads: config.decoder_heads,
    };
    let q = graph.add(&queries, tokens);
    let k = graph.add(&keys, image_pe);
    let attended = attention.forward(graph, [&q, &k, &keys]);
    let queries = graph.add(&queries, &attended);
    let norm = format!("{NAME}.norm_final_attn");
    (graph.layer_norm(&queries, &norm, EPSILON), keys)
}

/// `TwoWayAttentionBlock`
struct Layer<'a> {
    name: String,
    config: &'a SamConfig,
    token_pe: &'a Value,
    image_pe: &'a Value,
}

impl Layer<'_> {
    fn of(&self, part: &str) -> String {
        format!("{}.{part}", self.name)
    }

    /// Tokens to tokens; the first layer's have neither position code nor residual.
    fn self_attention(&self, graph: &mut Graph<'_>, queries: &Value, first: bool) -> Value {
        let attention = self.attention("self_attn", 1);
        let attended = if first {
            attention.forward(graph, [queries; 3])
        } else {
            let q = graph.add(queries, self.token_pe);
            let attended = attention.forward(graph, [&q, &q, queries]);
            graph.add(queries, &attended)
        };
        graph.layer_norm(&attended, &self.of("norm1"), EPSILON)
    }

    /// Tokens to image, MLP, image to tokens.
    fn cross_attention(
        &self,
        graph: &mut Graph<'_>,
        queries: &Value,
        keys: &Value,
    ) -> (Value, Value) {
        let image = graph.add(keys, self.image_pe);
        let q = graph.add(queries, self.token_pe);
        let to_image = self.attention("cross_attn_token_to_image", DOWNSAMPLE_RATE);
        let attended = to_image.forward(graph, [&q, &image, keys]);
        let queries = graph.add(queries, &attended);
        let queries = graph.layer_norm(&queries, &self.of("norm2"), EPSILON);

        let hidden = graph.linear(&queries, &self.of("mlp.lin1"));
        let hidden = graph.unary("Relu", &hidden);
        let hidden = graph.linear(&hidden, &self.of("mlp.lin2"));
        let queries = graph.add(&queries, &hidden);
        let queries = graph.layer_norm(&queries, &self.of("norm3"), EPSILON);

        let k = graph.add(&queries, self.token_pe);
        let to_tokens = self.attention("cross_attn_image_to_token", DOWNSAMPLE_RATE);
        let attended = to_tokens.forward(graph, [&image, &k, &queries]);
        let keys = graph.add(keys, &attended);
        (queries, graph.layer_norm(&keys, &self.of("norm4"), EPSILON))
    }

    fn attention(&self, name: &str, downsample_rate: usize) -> Attention {
        Attention {
            name: self.of(name),
            inner: self.config.prompt_embed_dim / downsample_rate,
            heads: self.config.decoder_heads,
        }
    }
}

/// Multi-head attention with separate projections.
struct Attention {
    name: String,
    inner: usize,
    heads: usize,
}

impl Attention {
    /// `[1, n, C]`, `[1, m, C]` twice -> `[1, n, C]`
    fn forward(&self, graph: &mut Graph<'_>, qkv: [&Value; 3]) -> Value {
        let (heads, d) = (self.heads as i64, self.inner / self.heads);
        let mut parts = ["q_proj", "k_proj", "v_proj"].into_iter().zip(qkv);
        let [q, k, v] = std::array::from_fn(|_| {
            let (layer, x) = parts.next().expect("there are three");
            let x = graph.linear(x, &format!("{}.{layer}", self.name));
            // [1, n, heads d] -> [1, heads, n, d]
            let x = graph.reshape(&x, &[1, -1, heads, d as i64]);
            graph.transpose(&x, &[0, 2, 1, 3])
        });
        let scores = graph.scores([&q, &k], 4, d);
        let attended = graph.attend(&scores, &v);
        let attended = graph.transpose(&attended, &[0, 2, 1, 3]);
        let attended = graph.reshape(&attended, &[1, -1, self.inner as i64]);
        graph.linear(&attended, &format!("{}.out_proj", self.name))
    }
}
