//! The softmax part of attention between the few tokens of an object and a block of its map, one head at a time, and its
//! gradients. Channels of the map are rows of [`BLOCK`] cells, so that every vector holds [`LANES`] cells.

use super::isa::{Isa, multiversion};
use super::map_blocks::BLOCK;
use super::online_softmax::exp2_nonpositive;
use super::tile::LANES;

/// One channel or weight of some cells.
type Cells = [f32; LANES];

/// Tokens of one object in one head.
#[derive(Debug, Clone, Copy)]
pub(super) struct Head<'a> {
    /// `[T, width]`
    pub(super) tokens: &'a [f32],
    /// Values of a token, all heads.
    pub(super) width: usize,
    /// First value of the head.
    pub(super) first: usize,
    /// Values of the head.
    pub(super) d: usize,
}

impl<'a> Head<'a> {
    fn count(&self) -> usize {
        self.tokens.len() / self.width
    }

    #[inline(always)]
    fn of(&self, token: usize) -> &'a [f32] {
        &self.tokens[token * self.width + self.first..][..self.d]
    }

    fn with(self, tokens: &'a [f32]) -> Self {
        Self { tokens, ..self }
    }
}

/// d^-1/2
fn scale_of(d: usize) -> f32 {
    (d as f32).powf(-0.5)
}

#[inline(always)]
fn cells(row: &[f32], at: usize) -> Cells {
    let mut out = [0.0; LANES];
    out.copy_from_slice(&row[at..at + LANES]);
    out
}

/// `sum[i] += factor · values[i]`
#[inline(always)]
fn add_scaled(sum: &mut Cells, factor: f32, values: &Cells) {
    for i in 0..LANES {
        sum[i] += factor * values[i];
    }
}

/// `sum[i] += a[i] · b[i]`
#[inline(always)]
fn add_product(sum: &mut Cells, a: &Cells, b: &Cells) {
    for i in 0..LANES {
        sum[i] += a[i] * b[i];
    }
}

/// `Σ_d factor · token[d] · channels[d]` for the cells at `at`.
#[inline(always)]
fn scores(token: &[f32], factor: f32, channels: &[f32], at: usize) -> Cells {
    let mut sum = [0.0; LANES];
    for (&t, row) in token.iter().zip(channels.chunks_exact(BLOCK)) {
        add_scaled(&mut sum, t * factor, &cells(row, at));
    }
    sum
}

/// Sum of all lanes, in one order.
#[inline(always)]
fn lane_total(lanes: &Cells) -> f32 {
    lanes.iter().sum()
}

/// Softmax over the tokens for the cells at `at`: `[T]`
#[inline(always)]
fn weights_over_tokens(key: Head<'_>, queries: &[f32], at: usize, weights: &mut [Cells]) {
    let factor = scale_of(key.d) * std::f32::consts::LOG2_E;
    let mut top = [f32::NEG_INFINITY; LANES];
    for (token, weight) in weights.iter_mut().enumerate() {
        *weight = scores(key.of(token), factor, queries, at);
        for i in 0..LANES {
            top[i] = if weight[i] > top[i] {
                weight[i]
            } else {
                top[i]
            };
        }
    }
    let mut total = [0.0; LANES];
    for weight in weights.iter_mut() {
        for i in 0..LANES {
            weight[i] = exp2_nonpositive(weight[i] - top[i]);
            total[i] += weight[i];
        }
    }
    let total = total.map(|sum| 1.0 / sum);
    for weight in weights.iter_mut() {
        for i in 0..LANES {
            weight[i] *= total[i];
        }
    }
}

multiversion! {
    /// Cells attend to tokens in one head. `queries`: the head's channels of a block, `[d][BLOCK]`; `out` likewise.
    pub(super) fn cells_to_tokens(
        isa: Isa,
        key: Head<'_>,
        value: Head<'_>,
        queries: &[f32],
        count: usize,
        weights: &mut Vec<Cells>,
        out: &mut [f32],
    ) {
        weights.resize(key.count(), [0.0; LANES]);
        for at in (0..count).step_by(LANES) {
            weights_over_tokens(key, queries, at, weights);
            for (d, row) in out.chunks_exact_mut(BLOCK).enumerate() {
                let mut sum = [0.0; LANES];
                for (token, weight) in weights.iter().enumerate() {
                    add_scaled(&mut sum, value.of(token)[d], weight);
                }
                row[at..at + LANES].copy_from_slice(&sum);
            }
        }
    }
}

/// Gradients of one head where cells attend to tokens.
pub(super) struct HeadGrad<'a> {
    /// Gradients of the queries, `[d][BLOCK]`.
    pub(super) map: &'a mut [f32],
    /// Gradients of keys and values, `[2][T][d]`, to be summed over the lanes.
    pub(super) tokens: &'a mut [Cells],
}

multiversion! {
    /// Gradients of [`cells_to_tokens`] by the queries (`out.map`) and by keys and values (added to `out.tokens`). `heads`:
    /// keys and values, `grad`: the gradient of the output, `weights`: memory to use.
    pub(super) fn cells_to_tokens_grad(
        isa: Isa,
        heads: [Head<'_>; 2],
        queries: &[f32],
        grad: &[f32],
        count: usize,
        weights: &mut Vec<Cells>,
        out: HeadGrad<'_>,
    ) {
        let [key, value] = heads;
        let (tokens, d, scale) = (key.count(), key.d, scale_of(key.d));
        weights.resize(2 * tokens, [0.0; LANES]);
        let (weights, slopes) = weights.split_at_mut(tokens);
        let (by_key, by_value) = out.tokens.split_at_mut(tokens * d);
        for at in (0..count).step_by(LANES) {
            weights_over_tokens(key, queries, at, weights);
            let mut mean = [0.0; LANES];
            for (token, slope) in slopes.iter_mut().enumerate() {
                *slope = scores(value.of(token), 1.0, grad, at);
                add_product(&mut mean, &weights[token], slope);
            }
            for (weight, slope) in weights.iter().zip(slopes.iter_mut()) {
                for i in 0..LANES {
                    slope[i] = weight[i] * (slope[i] - mean[i]) * scale;
                }
            }
            for (j, row) in out.map.chunks_exact_mut(BLOCK).enumerate() {
                let (query, grad) = (cells(&queries[j * BLOCK..], at), cells(&grad[j * BLOCK..], at));
                let mut sum = [0.0; LANES];
                for token in 0..tokens {
                    add_scaled(&mut sum, key.of(token)[j], &slopes[token]);
                    add_product(&mut by_key[token * d + j], &slopes[token], &query);
                    add_product(&mut by_value[token * d + j], &weights[token], &grad);
                }
                row[at..at + LANES].copy_from_slice(&sum);
            }
        }
    }
}

/// The map's side of one head when tokens attend to it: where its channels lie in every block.
#[derive(Debug, Clone, Copy)]
pub(super) struct MapHead<'a> {
    /// `[blocks][rows][BLOCK]`
    pub(super) blocks: &'a [f32],
    /// Channels of a block.
    pub(super) rows: usize,
    /// First channel of the head's keys and of its values.
    pub(super) key: usize,
    pub(super) value: usize,
    /// Cells of the map.
    pub(super) count: usize,
}

impl<'a> MapHead<'a> {
    /// Keys, values, and first cell of every block.
    fn parts(self, d: usize) -> impl Iterator<Item = (&'a [f32], &'a [f32], usize)> {
        let blocks = self.blocks.chunks_exact(self.rows * BLOCK);
        blocks.enumerate().map(move |(i, block)| {
            let of = |row: usize| &block[row * BLOCK..][..d * BLOCK];
            (of(self.key), of(self.value), i * BLOCK)
        })
    }
}

/// Vectors of cells in a block that starts at `first`.
#[inline(always)]
fn vectors(first: usize, count: usize) -> usize {
    BLOCK.min(count - first).div_ceil(LANES)
}

/// Scores of one token for every cell in units of ln 2, minus infinity beyond the map, and the largest of them.
#[inline(always)]
fn token_scores(token: &[f32], map: MapHead<'_>, line: &mut [Cells]) -> f32 {
    let factor = scale_of(token.len()) * std::f32::consts::LOG2_E;
    let mut top = [f32::NEG_INFINITY; LANES];
    for (key, _, first) in map.parts(token.len()) {
        for v in 0..vectors(first, map.count) {
            let mut score = scores(token, factor, key, v * LANES);
            let left = map.count - first - v * LANES;
            for i in 0..LANES {
                score[i] = if i < left {
                    score[i]
                } else {
                    f32::NEG_INFINITY
                };
                top[i] = if score[i] > top[i] { score[i] } else { top[i] };
            }
            line[first / LANES + v] = score;
        }
    }
    top.into_iter().fold(f32::NEG_INFINITY, f32::max)
}

/// Scores become 2^(score - top); their sum.
#[inline(always)]
fn exponentiate(line: &mut [Cells], top: f32) -> f32 {
    let mut total = [0.0; LANES];
    for score in line {
        for i in 0..LANES {
            score[i] = exp2_nonpositive(score[i] - top);
            total[i] += score[i];
        }
    }
    lane_total(&total)
}

multiversion! {
    /// Tokens attend to the whole map in one head. `line`: memory to use; the head's values of `out`, `[T, width]`, are
    /// written.
    pub(super) fn tokens_to_cells(
        isa: Isa,
        query: Head<'_>,
        map: MapHead<'_>,
        line: &mut Vec<Cells>,
        out: &mut [f32],
    ) {
        line.resize(map.count.div_ceil(LANES), [0.0; LANES]);
        for token in 0..query.count() {
            let top = token_scores(query.of(token), map, line);
            let share = 1.0 / exponentiate(line, top);
            let out = &mut out[token * query.width + query.first..][..query.d];
            for (j, out) in out.iter_mut().enumerate() {
                let mut sum = [0.0; LANES];
                for (_, value, first) in map.parts(query.d) {
                    let row = &value[j * BLOCK..][..BLOCK];
                    for v in 0..vectors(first, map.count) {
                        add_product(&mut sum, &line[first / LANES + v], &cells(row, v * LANES));
                    }
                }
                *out = lane_total(&sum) * share;
            }
        }
    }
}

multiversion! {
    /// Gradients of [`tokens_to_cells`] by the queries, written to the head's values of `by_query`, and by keys and
    /// values, added to the head's channels of `by_map`, which lie as `map`'s. `grad`: that of the output. `line`: memory
    /// to use.
    pub(super) fn tokens_to_cells_grad(
        isa: Isa,
        query: Head<'_>,
        map: MapHead<'_>,
        grad: &[f32],
        line: &mut Vec<Cells>,
        by_query: &mut [f32],
        by_map: &mut [f32],
    ) {
        let (d, scale, count) = (query.d, scale_of(query.d), map.count.div_ceil(LANES));
        line.resize(2 * count, [0.0; LANES]);
        let (weights, slopes) = line.split_at_mut(count);
        for token in 0..query.count() {
            let (query_row, grad_row) = (query.of(token), query.with(grad).of(token));
            let top = token_scores(query_row, map, weights);
            let share = 1.0 / exponentiate(weights, top);
            // Each weight's own gradient, and their weighted mean.
            let mut mean = [0.0; LANES];
            for (_, value, first) in map.parts(d) {
                for v in 0..vectors(first, map.count) {
                    let at = first / LANES + v;
                    slopes[at] = scores(grad_row, 1.0, value, v * LANES);
                    add_product(&mut mean, &weights[at], &slopes[at]);
                }
            }
            let mean = lane_total(&mean) * share;
            for (weight, slope) in weights.iter_mut().zip(slopes.iter_mut()) {
                for i in 0..LANES {
                    weight[i] *= share;
                    slope[i] = weight[i] * (slope[i] - mean) * scale;
                }
            }
            for j in 0..d {
                let mut sum = [0.0; LANES];
                let blocks = by_map.chunks_exact_mut(map.rows * BLOCK);
                for ((key, _, first), block) in map.parts(d).zip(blocks) {
                    for v in 0..vectors(first, map.count) {
                        let (at, place) = (first / LANES + v, v * LANES);
                        add_product(&mut sum, &slopes[at], &cells(&key[j * BLOCK..], place));
                        for (row, factor, of) in [
                            (map.key + j, query_row[j], &slopes[at]),
                            (map.value + j, grad_row[j], &weights[at]),
                        ] {
                            let lanes = &mut block[row * BLOCK + place..][..LANES];
                            for i in 0..LANES {
                                lanes[i] += factor * of[i];
                            }
                        }
                    }
                }
                by_query[token * query.width + query.first + j] = lane_total(&sum);
            }
        }
    }
}

/// Sums of the lanes of `[T][d]` gradients, into the head's values of `[T, width]`.
pub(super) fn add_lanes(lanes: &[Cells], head: Head<'_>, out: &mut [f32]) {
    let rows = out.chunks_exact_mut(head.width);
    for (out, lanes) in rows.zip(lanes.chunks_exact(head.d)) {
        for (out, lanes) in out[head.first..][..head.d].iter_mut().zip(lanes) {
            *out += lane_total(lanes);
        }
    }
}
