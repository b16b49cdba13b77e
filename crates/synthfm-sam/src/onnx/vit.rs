//! SAM's vision transformer ([`crate::Vit`]) as ONNX operators.
//!
//! Windows are cut out of the map and attention holds all its scores, as in Meta's code: ONNX has no
//! operator for attention with decomposed relative positions, and engines fuse what they know.

use super::graph::{Conv, Graph, Value};
use super::layers::Windows;
use crate::config::{SamConfig, VitConfig};
use crate::image_encoder::EPSILON;

/// # Shapes
/// `[1, 3, S, S]` -> `[1, C, g, g]`
pub(super) fn encoder(
    graph: &mut Graph<'_>,
    config: &SamConfig,
    vit: &VitConfig,
    image: &Value,
) -> Value {
    let grid = config.embedding_side();
    let patches = Conv::patches(vit.patch_size);
    let x = graph.conv(image, "image_encoder.patch_embed.proj", patches);
    let x = graph.channels_last(&x);
    let positions = graph.weight("image_encoder.pos_embed");
    let mut x = graph.add(&x, &positions);
    for index in 0..vit.depth {
        let block = Block {
            name: format!("image_encoder.blocks.{index}"),
            vit,
            grid,
            side: if vit.global_attn_indexes.contains(&index) {
                grid
            } else {
                vit.window_size
            },
        };
        x = block.forward(graph, &x);
    }
    let x = graph.channels_first(&x);
    graph.neck(&x)
}

/// One block; `side` is that of its windows, or the grid's.
struct Block<'a> {
    name: String,
    vit: &'a VitConfig,
    grid: usize,
    side: usize,
}

impl Block<'_> {
    fn of(&self, layer: &str) -> String {
        format!("{}.{layer}", self.name)
    }

    /// `[1, g, g, D]` -> `[1, g, g, D]`
    fn forward(&self, graph: &mut Graph<'_>, x: &Value) -> Value {
        let form = Windows {
            grid: self.grid as i64,
            side: self.side as i64,
            channels: self.vit.embed_dim as i64,
        };
        let normal = graph.layer_norm(x, &self.of("norm1"), EPSILON);
        let windows = graph.windows(&normal, form);
        let attended = self.attention(graph, &windows, form.count() * form.count());
        let attended = graph.joined(&attended, form);
        let x = graph.add(x, &attended);

        let normal = graph.layer_norm(&x, &self.of("norm2"), EPSILON);
        let hidden = graph.linear(&normal, &self.of("mlp.lin1"));
        let hidden = graph.gelu(&hidden);
        let hidden = graph.linear(&hidden, &self.of("mlp.lin2"));
        graph.add(&x, &hidden)
    }

    /// `[W, s s, D]` -> `[W, s s, D]`
    fn attention(&self, graph: &mut Graph<'_>, x: &Value, windows: i64) -> Value {
        let (heads, d) = (self.vit.num_heads as i64, self.vit.head_dim() as i64);
        let (s, n) = (self.side as i64, (self.side * self.side) as i64);
        // [W, n, 3 D] -> [3, W heads, n, d]
        let qkv = graph.linear(x, &self.of("attn.qkv"));
        let qkv = graph.reshape(&qkv, &[windows, n, 3, heads, d]);
        let qkv = graph.transpose(&qkv, &[2, 0, 3, 1, 4]);
        let qkv = graph.reshape(&qkv, &[3, windows * heads, n, d]);
        let [q, k, v] = [0, 1, 2].map(|part| graph.row(&qkv, part, 0));

        let scores = graph.scores([&q, &k], 3, d as usize);
        let scores = graph.reshape(&scores, &[windows * heads, s, s, s, s]);
        let scores = self.add_relative_positions(graph, &scores, &q);
        let scores = graph.reshape(&scores, &[windows * heads, n, n]);
        let attended = graph.attend(&scores, &v);

        // [W heads, n, d] -> [W, n, D]
        let attended = graph.reshape(&attended, &[windows, heads, n, d]);
        let attended = graph.transpose(&attended, &[0, 2, 1, 3]);
        let attended = graph.reshape(&attended, &[windows, n, heads * d]);
        graph.linear(&attended, &self.of("attn.proj"))
    }

    /// Adds q · R to the scores, once by row and once by column (`add_decomposed_rel_pos`).
    ///
    /// # Shapes
    /// scores `[W heads, s, s, s, s]`, q `[W heads, s s, d]`
    fn add_relative_positions(&self, graph: &mut Graph<'_>, scores: &Value, q: &Value) -> Value {
        let (s, d) = (self.side as i64, self.vit.head_dim() as i64);
        let [rows, columns] = ["attn.rel_pos_h", "attn.rel_pos_w"]
            .map(|table| self.by_query_and_key(graph, &self.of(table)));
        let q = graph.reshape(q, &[-1, s, s, d]);
        // [.., row, column, d] x [row, d, key row]
        let by_row = graph.matmul(&q, &rows);
        let by_row = graph.unsqueeze(&by_row, 4);
        // [.., column, row, d] x [column, d, key column]
        let turned = graph.transpose(&q, &[0, 2, 1, 3]);
        let by_column = graph.matmul(&turned, &columns);
        let by_column = graph.transpose(&by_column, &[0, 2, 1, 3]);
        let by_column = graph.unsqueeze(&by_column, 3);
        let scores = graph.add(scores, &by_row);
        graph.add(&scores, &by_column)
    }

    /// The rows of a table that belong to each query and key (`get_rel_pos`): `[2 s - 1, d]` -> `[s, d, s]`
    fn by_query_and_key(&self, graph: &mut Graph<'_>, table: &str) -> Value {
        let side = self.side as i64;
        let offsets = (0..side).flat_map(|query| (0..side).map(move |key| query - key + side - 1));
        let index = graph.indices(
            &format!("offsets.{side}"),
            &[self.side, self.side],
            offsets.collect(),
        );
        let table = graph.relative_positions(table, 2 * self.side - 1);
        let rows = graph.gather(&table, &index, 0);
        graph.transpose(&rows, &[0, 2, 1])
    }
}
