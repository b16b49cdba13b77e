//! Attention between a few tokens and an image map, in both directions (SAM's mask decoder), without
//! projecting the map.
//!
//! With T tokens and h heads of width d, a projection of the map has h·d columns, but only T·h of its
//! products are ever used: `q·(x W_k) = (q W_kᵀ)·x` and `(Σ p x) W_v = Σ p (x W_v)`. So the projections are
//! folded into the tokens, which halves the work for SAM's 7 to 9 tokens (T·h = 56 to 72 against 128), and
//! keys and values are the map itself. The bias of the key projection adds the same to all scores of a
//! query and is left out.

use std::mem::MaybeUninit;

use rayon::prelude::*;

use super::isa::{Isa, multiversion};
use super::linear::{Activation, Arithmetic, Linear, pack_rows};
use super::online_softmax::{
    Block, KEY_STEP, KeysValues, Lanes, QUERIES, exp2_nonpositive, pack_keys, pack_values,
};
use super::tile::{Bf16Pair, LANES, Operand};
use super::uninit;

/// Parts of a map that are attended by themselves and then put together: tasks for several threads.
const PARTS: usize = 8;

/// The image side of an attention.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ImageKeys<'a> {
    /// `[B, n, C]`: a map for each object, or one for all.
    pub(crate) map: &'a [f32],
    /// Position code `[n, C]`, added to the map where it is a key or query.
    pub(crate) position: &'a [f32],
    /// C
    pub(crate) channels: usize,
}

impl<'a> ImageKeys<'a> {
    /// `[n, C]` of object `i`.
    pub(super) fn of(&self, i: usize) -> &'a [f32] {
        let size = self.position.len();
        let maps = self.map.len() / size.max(1);
        &self.map[i % maps * size..][..size]
    }

    pub(super) fn maps(&self) -> usize {
        self.map.len() / self.position.len().max(1)
    }
}

/// Tokens attend to the map.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TokensToImage<'a> {
    /// `[N, T, I]`: projected queries.
    pub(crate) query: &'a [f32],
    pub(crate) image: ImageKeys<'a>,
    /// `[C, I]`
    pub(crate) key_weight: &'a [f32],
    /// `[C, I]`
    pub(crate) value_weight: &'a [f32],
    /// `[I]`
    pub(crate) value_bias: &'a [f32],
    pub(crate) heads: usize,
}

impl TokensToImage<'_> {
    /// # Shapes
    /// -> `[N, T, I]`
    pub(crate) fn run(&self, isa: Isa, arithmetic: Arithmetic) -> Vec<f32> {
        let (c, inner) = (self.image.channels, self.value_bias.len());
        let tokens = self.query.len() / inner;
        let fold = Fold {
            heads: self.heads,
            channels: c,
            inner,
        };
        let mut queries = vec![0.0; tokens * self.heads * c];
        fold.into_tokens(isa, self.query, self.key_weight, &mut queries);
        let averages = match arithmetic {
            Arithmetic::F32 | Arithmetic::F16 => self.averages::<f32>(isa, &queries),
            Arithmetic::Bf16 => self.averages::<Bf16Pair>(isa, &queries),
        };
        // [N T, heads, C] x [C, I] -> [N T, I], each head its own columns
        let d = inner / self.heads;
        let mut out = Vec::with_capacity(tokens * inner);
        for token in averages.chunks_exact(self.heads * c) {
            for (head, average) in token.chunks_exact(c).enumerate() {
                let columns = head * d..(head + 1) * d;
                let mut sum = self.value_bias[columns.clone()].to_vec();
                for (&a, row) in average.iter().zip(self.value_weight.chunks_exact(inner)) {
                    sum.iter_mut()
                        .zip(&row[columns.clone()])
                        .for_each(|(s, w)| *s += a * w);
                }
                out.extend_from_slice(&sum);
            }
        }
        out
    }

    /// Softmax-weighted averages of the map: `[queries, C]` -> `[queries, C]`.
    fn averages<T: Operand>(&self, isa: Isa, queries: &[f32]) -> Vec<f32> {
        let c = self.image.channels;
        let n = self.image.position.len() / c;
        let per_map = queries.len() / self.image.maps();
        let part = n.div_ceil(PARTS).next_multiple_of(KEY_STEP);
        let mut out = Vec::with_capacity(queries.len());
        for (i, queries) in queries.chunks_exact(per_map).enumerate() {
            let map = self.image.of(i);
            let parts: Vec<Vec<Partial>> = (0..n.div_ceil(part))
                .into_par_iter()
                .map_init(Vec::<T>::new, |keys, p| {
                    let range = p * part * c..n.min((p + 1) * part) * c;
                    let image = [&map[range.clone()], &self.image.position[range]];
                    part_averages(isa, queries, image, c, keys)
                })
                .collect();
            for block in 0..per_map.div_ceil(QUERIES * c) {
                let count = QUERIES.min(per_map / c - block * QUERIES);
                merge(&parts.iter().map(|p| &p[block]), count, c, &mut out);
            }
        }
        out
    }
}

/// A block's sums over one part of the map.
struct Partial {
    lanes: Lanes,
    /// `[QUERIES][width]`
    out: Vec<f32>,
}

/// Every block of queries over one part of the map; `map` and `position` are that part's, `keys` memory to use.
fn part_averages<T: Operand>(
    isa: Isa,
    queries: &[f32],
    [map, position]: [&[f32]; 2],
    c: usize,
    keys: &mut Vec<T>,
) -> Vec<Partial> {
    let (width, words) = (c.next_multiple_of(LANES), c.div_ceil(T::PER_WORD));
    let count = map.len() / c;
    pack_rows(isa, map, Some(position), c, keys);
    keys.resize(count.next_multiple_of(KEY_STEP) * words, T::default());
    let filled: Vec<T>;
    let values = match T::in_place(map) {
        Some(map) if width == c => map,
        _ if width == c => {
            let mut words = vec![T::default(); count.div_ceil(T::PER_WORD) * c];
            T::words(isa, map, c, &mut words);
            filled = words;
            &filled
        }
        _ => {
            filled = pack_values(map.chunks_exact(c), c);
            &filled
        }
    };
    let packed = KeysValues {
        keys,
        values,
        count,
        words,
        width,
    };
    let mut line = vec![T::default(); words];
    let blocks = queries.chunks(QUERIES * c).map(|queries| {
        let mut block = Block::<T>::new(c, width);
        block.vectors = (queries.len() / c).div_ceil(LANES);
        for (lane, query) in queries.chunks_exact(c).enumerate() {
            T::row_words(isa, query, &mut line);
            for (lanes, &word) in block.query.chunks_exact_mut(QUERIES).zip(&line) {
                lanes[lane] = word;
            }
        }
        block.attend(isa, packed, None);
        Partial {
            lanes: block.lanes,
            out: block.out,
        }
    });
    blocks.collect()
}

/// Puts the parts of a block together, in their order, and appends `count` averages of `c` values.
fn merge<'a>(
    parts: &(impl Iterator<Item = &'a Partial> + Clone),
    count: usize,
    c: usize,
    out: &mut Vec<f32>,
) {
    let width = c.next_multiple_of(LANES);
    for lane in 0..count {
        let top = parts
            .clone()
            .map(|p| p.lanes.max[lane])
            .fold(f32::NEG_INFINITY, f32::max);
        let factor = |p: &Partial| exp2_nonpositive(p.lanes.max[lane] - top);
        let total: f32 = parts.clone().map(|p| p.lanes.sum[lane] * factor(p)).sum();
        let mut average = vec![0.0; c];
        for p in parts.clone() {
            let weight = factor(p) / total;
            let row = &p.out[lane * width..][..c];
            average
                .iter_mut()
                .zip(row)
                .for_each(|(a, v)| *a += weight * v);
        }
        out.extend_from_slice(&average);
    }
}

/// Tokens of several objects attend to one map whose keys and values are projected already.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SharedAttention<'a> {
    /// `[Q, I]`: projected queries, of all objects.
    pub(crate) query: &'a [f32],
    /// `[n, I]`
    pub(crate) key: &'a [f32],
    /// `[n, I]`
    pub(crate) value: &'a [f32],
    /// I
    pub(crate) inner: usize,
    pub(crate) heads: usize,
}

impl SharedAttention<'_> {
    /// # Shapes
    /// -> `[Q, I]`
    pub(crate) fn run(&self, isa: Isa) -> Vec<f32> {
        let (inner, d) = (self.inner, self.inner / self.heads);
        let heads: Vec<Vec<f32>> = (0..self.heads)
            .into_par_iter()
            .map(|head| self.head(isa, head))
            .collect();
        let mut out = vec![0.0; self.query.len()];
        for (head, rows) in heads.iter().enumerate() {
            for (out, row) in out.chunks_exact_mut(inner).zip(rows.chunks_exact(d)) {
                out[head * d..][..d].copy_from_slice(row);
            }
        }
        out
    }

    /// `[Q, d]`
    fn head(&self, isa: Isa, head: usize) -> Vec<f32> {
        let (inner, d) = (self.inner, self.inner / self.heads);
        let columns = head * d..(head + 1) * d;
        let scale = (d as f32).powf(-0.5) * std::f32::consts::LOG2_E;
        let keys = self.key.chunks_exact(inner);
        let keys: Vec<f32> = pack_keys(isa, keys.map(|row| &row[columns.clone()]), d);
        let values = self.value.chunks_exact(inner);
        let values: Vec<f32> = pack_values(values.map(|row| &row[columns.clone()]), d);
        let width = d.next_multiple_of(LANES);
        let packed = KeysValues {
            keys: &keys,
            values: &values,
            count: self.key.len() / inner,
            words: d,
            width,
        };
        let mut out = Vec::with_capacity(self.query.len() / self.heads);
        for queries in self.query.chunks(QUERIES * inner) {
            let count = queries.len() / inner;
            let mut block = Block::<f32>::new(d, width);
            block.vectors = count.div_ceil(LANES);
            for (lane, query) in queries.chunks_exact(inner).enumerate() {
                let query = &query[columns.clone()];
                for (line, &v) in block.query.chunks_exact_mut(QUERIES).zip(query) {
                    line[lane] = v * scale;
                }
            }
            block.attend(isa, packed, None);
            for lane in 0..count {
                let weight = 1.0 / block.lanes.sum[lane];
                out.extend(block.out[lane * width..][..d].iter().map(|v| v * weight));
            }
        }
        out
    }
}

/// The map attends to tokens; the map is added.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ImageToTokens<'a> {
    pub(crate) image: ImageKeys<'a>,
    /// `[N, T, I]`: projected keys.
    pub(crate) key: &'a [f32],
    /// `[N, T, I]`: projected values.
    pub(crate) value: &'a [f32],
    /// `[C, I]`
    pub(crate) query_weight: &'a [f32],
    /// `[I]`
    pub(crate) query_bias: &'a [f32],
    /// `[I, C]`
    pub(crate) out_weight: &'a [f32],
    /// `[C]`
    pub(crate) out_bias: &'a [f32],
    pub(crate) objects: usize,
    pub(crate) heads: usize,
}

impl ImageToTokens<'_> {
    /// # Shapes
    /// -> `[N, n, C]`
    pub(crate) fn run(&self, isa: Isa, arithmetic: Arithmetic) -> Vec<f32> {
        let size = self.image.position.len();
        let fill = |out: &mut [MaybeUninit<f32>]| {
            out.par_chunks_exact_mut(size.max(1))
                .enumerate()
                .for_each(|(i, out)| self.object(isa, arithmetic, i, out));
        };
        #[expect(unsafe_code, reason = "output that is written once")]
        // SAFETY: the chunks are the objects; `object` writes its whole map.
        unsafe {
            uninit::filled(self.objects * size, fill)
        }
    }

    fn object(&self, isa: Isa, arithmetic: Arithmetic, i: usize, out: &mut [MaybeUninit<f32>]) {
        let (c, inner) = (self.image.channels, self.query_bias.len());
        let n = self.image.position.len() / c;
        let size = self.key.len() / self.objects;
        let (key, value) = (
            &self.key[i * size..][..size],
            &self.value[i * size..][..size],
        );
        let (tokens, d) = (size / inner, inner / self.heads);
        let columns = tokens * self.heads;
        let fold = Fold {
            heads: self.heads,
            channels: c,
            inner,
        };

        // Scores in units of ln 2: [n, C] x [C, T heads]
        let mut folded = vec![0.0; columns * c];
        fold.into_tokens(isa, key, self.query_weight, &mut folded);
        let weight = transposed(&folded, columns, c);
        let mut bias = vec![0.0; columns];
        for (column, bias) in bias.iter_mut().enumerate() {
            let (token, head) = (column / self.heads, column % self.heads);
            let key = &key[token * inner + head * d..][..d];
            let query = &self.query_bias[head * d..][..d];
            let dot: f32 = key.iter().zip(query).map(|(k, q)| k * q).sum();
            *bias = dot * fold.scale();
        }
        let scores = Linear {
            x: self.image.of(i),
            offset: Some(self.image.position),
            weight: &weight,
            bias: &bias,
            activation: Activation::None,
            residual: None,
            size: [n, c, columns],
        };
        let mut weights = scores.run(isa, arithmetic);
        let rows = weights.par_chunks_mut((n.div_ceil(PARTS) * columns).max(1));
        rows.for_each(|rows| softmax_over_tokens(isa, rows, tokens, self.heads));

        // What each token and head contributes: [T heads, C]
        let mut contributions = vec![0.0; columns * c];
        for (column, sum) in contributions.chunks_exact_mut(c).enumerate() {
            let (token, head) = (column / self.heads, column % self.heads);
            let value = &value[token * inner + head * d..][..d];
            let rows = self.out_weight[head * d * c..].chunks_exact(c);
            for (&v, row) in value.iter().zip(rows) {
                sum.iter_mut().zip(row).for_each(|(s, w)| *s += v * w);
            }
        }
        let attended = Linear {
            x: &weights,
            offset: None,
            weight: &contributions,
            bias: self.out_bias,
            activation: Activation::None,
            residual: Some(self.image.of(i)),
            size: [n, columns, c],
        };
        attended.write(isa, arithmetic, out);
    }
}

/// A projection with several heads and what it is folded into.
#[derive(Debug, Clone, Copy)]
struct Fold {
    heads: usize,
    channels: usize,
    /// Columns of the projection, all heads.
    inner: usize,
}

impl Fold {
    /// Factor of the scores, which are in units of ln 2.
    fn scale(self) -> f32 {
        ((self.inner / self.heads) as f32).powf(-0.5) * std::f32::consts::LOG2_E
    }

    /// `tokens`: `[T, I]`, `weight`: `[C, I]` -> `[T, heads, C]`: each head's part of a token times the
    /// transpose of its columns, scaled.
    fn into_tokens(self, isa: Isa, tokens: &[f32], weight: &[f32], out: &mut [f32]) {
        let d = self.inner / self.heads;
        let turned = transposed(weight, self.channels, self.inner);
        fold_rows(isa, tokens, &turned, d, self.scale(), out);
    }
}

multiversion! {
    /// `out[i] = scale · Σ_j tokens[i·d + j] · rows[i·d + j mod all]`, rows as long as those of `out`.
    fn fold_rows(isa: Isa, tokens: &[f32], rows: &[f32], d: usize, scale: f32, out: &mut [f32]) {
        let count = tokens.len() / d;
        let c = out.len() / count;
        let heads = rows.len() / (d * c);
        for (i, out) in out.chunks_exact_mut(c).enumerate() {
            let rows = &rows[i % heads * d * c..];
            for j in 0..d {
                let v = tokens[i * d + j] * scale;
                let row = &rows[j * c..][..c];
                for (o, w) in out.iter_mut().zip(row) {
                    *o += v * w;
                }
            }
        }
    }
}

/// `[rows, columns]` -> `[columns, rows]`
fn transposed(values: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    let mut out = vec![0.0; values.len()];
    for (r, row) in values.chunks_exact(columns.max(1)).enumerate() {
        for (j, &v) in row.iter().enumerate() {
            out[j * rows + r] = v;
        }
    }
    out
}

/// Scores `[rows, T, heads]` in units of ln 2 become weights over the tokens.
fn softmax_over_tokens(isa: Isa, scores: &mut [f32], tokens: usize, heads: usize) {
    match heads {
        8 => softmax_rows_8(isa, scores, tokens * heads),
        _ => softmax_rows(isa, scores, tokens * heads, heads),
    }
}

multiversion! {
    /// SAM's 8 heads: a vector for each token.
    fn softmax_rows_8(isa: Isa, scores: &mut [f32], columns: usize) {
        for row in scores.chunks_exact_mut(columns) {
            let (tokens, _) = row.as_chunks_mut::<8>();
            let mut top = [f32::NEG_INFINITY; 8];
            for token in tokens.iter() {
                for i in 0..8 {
                    top[i] = if token[i] > top[i] { token[i] } else { top[i] };
                }
            }
            let mut sum = [0.0_f32; 8];
            for token in tokens.iter_mut() {
                for i in 0..8 {
                    token[i] = exp2_nonpositive(token[i] - top[i]);
                    sum[i] += token[i];
                }
            }
            let mut scale = [0.0_f32; 8];
            for i in 0..8 {
                scale[i] = 1.0 / sum[i];
            }
            for token in tokens {
                for i in 0..8 {
                    token[i] *= scale[i];
                }
            }
        }
    }
}

multiversion! {
    fn softmax_rows(isa: Isa, scores: &mut [f32], columns: usize, heads: usize) {
        for row in scores.chunks_exact_mut(columns) {
            for head in 0..heads {
                let of_head = || (head..columns).step_by(heads);
                let top = of_head().map(|i| row[i]).fold(f32::NEG_INFINITY, f32::max);
                let mut sum = 0.0;
                for i in of_head() {
                    row[i] = exp2_nonpositive(row[i] - top);
                    sum += row[i];
                }
                for i in of_head() {
                    row[i] /= sum;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::{noise, worst};

    /// `[rows, k] · [k, n] + bias`
    fn project(x: &[f32], weight: &[f32], bias: &[f32]) -> Vec<f32> {
        let (n, k) = (bias.len(), weight.len() / bias.len());
        let rows = x.chunks_exact(k).flat_map(|row| {
            (0..n).map(move |j| {
                let dot: f64 = (0..k)
                    .map(|i| f64::from(row[i]) * f64::from(weight[i * n + j]))
                    .sum();
                (dot + f64::from(bias[j])) as f32
            })
        });
        rows.collect()
    }

    /// Multi-head attention by its definition: `[Q, I]`, `[K, I]`, `[K, I]` -> `[Q, I]`.
    fn attend(q: &[f32], k: &[f32], v: &[f32], inner: usize, heads: usize) -> Vec<f32> {
        let d = inner / heads;
        let mut out = vec![0.0; q.len()];
        for (i, q) in q.chunks_exact(inner).enumerate() {
            for head in 0..heads {
                let of = |row: &[f32], j: usize| f64::from(row[head * d + j]);
                let scores: Vec<f64> = k
                    .chunks_exact(inner)
                    .map(|k| (0..d).map(|j| of(q, j) * of(k, j)).sum::<f64>() / (d as f64).sqrt())
                    .collect();
                let top = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let total: f64 = scores.iter().map(|s| (s - top).exp()).sum();
                for j in 0..d {
                    let sum: f64 = scores
                        .iter()
                        .zip(v.chunks_exact(inner))
                        .map(|(s, v)| (s - top).exp() * of(v, j))
                        .sum();
                    out[i * inner + head * d + j] = (sum / total) as f32;
                }
            }
        }
        out
    }

    fn added(a: &[f32], b: &[f32]) -> Vec<f32> {
        a.iter().zip(b).map(|(a, b)| a + b).collect()
    }

    fn check([objects, tokens, n, c, inner, heads]: [usize; 6], shared: bool) {
        let maps = if shared { 1 } else { objects };
        let (map, position) = (noise(maps * n * c, 1), noise(n * c, 2));
        let [first, second] = [
            noise(objects * tokens * inner, 3),
            noise(objects * tokens * inner, 4),
        ];
        let [weight, other] = [noise(c * inner, 5), noise(c * inner, 6)];
        let (bias, out_bias) = (noise(inner, 7), noise(c, 8));
        let image = ImageKeys {
            map: &map,
            position: &position,
            channels: c,
        };
        let mut to_image = Vec::new();
        let mut to_tokens = Vec::new();
        for i in 0..objects {
            let map = image.of(i);
            let with_position = added(map, &position);
            let tokens = |all: &[f32]| all[i * tokens * inner..][..tokens * inner].to_vec();
            let keys = project(&with_position, &weight, &bias);
            let values = project(map, &other, &bias);
            to_image.extend(attend(&tokens(&first), &keys, &values, inner, heads));
            let queries = project(&with_position, &weight, &bias);
            let attended = attend(&queries, &tokens(&first), &tokens(&second), inner, heads);
            to_tokens.extend(added(&project(&attended, &other, &out_bias), map));
        }
        for isa in Isa::all() {
            let got = TokensToImage {
                query: &first,
                image,
                key_weight: &weight,
                value_weight: &other,
                value_bias: &bias,
                heads,
            };
            let error = worst(&got.run(isa, Arithmetic::F32), &to_image);
            assert!(
                error < 1e-5,
                "to the image, {isa:?} {objects} {tokens} {n}: {error}"
            );
            let error = worst(&got.run(isa, Arithmetic::Bf16), &to_image);
            assert!(
                error < 3e-2,
                "to the image in bf16, {isa:?} {objects} {tokens} {n}: {error}"
            );
            let got = ImageToTokens {
                image,
                key: &first,
                value: &second,
                query_weight: &weight,
                query_bias: &bias,
                out_weight: &other,
                out_bias: &out_bias,
                objects,
                heads,
            };
            let error = worst(&got.run(isa, Arithmetic::F32), &to_tokens);
            assert!(
                error < 1e-5,
                "to the tokens, {isa:?} {objects} {tokens} {n}: {error}"
            );
            let error = worst(&got.run(isa, Arithmetic::Bf16), &to_tokens);
            assert!(
                error < 3e-2,
                "to the tokens in bf16, {isa:?} {objects} {tokens} {n}: {error}"
            );
            if shared {
                let map = image.of(0);
                let key = project(&added(map, &position), &weight, &bias);
                let value = project(map, &other, &bias);
                let got = SharedAttention {
                    query: &first,
                    key: &key,
                    value: &value,
                    inner,
                    heads,
                };
                let error = worst(&got.run(isa), &to_image);
                assert!(
                    error < 1e-5,
                    "to a shared image, {isa:?} {objects} {tokens} {n}: {error}"
                );
            }
        }
    }

    #[test]
    fn folded_projections_equal_projecting_the_map() {
        check([1, 1, 1, 4, 2, 1], false);
        // Several parts and blocks of keys, 2 blocks of queries; SAM's 8 heads.
        check([2, 7, 1001, 16, 16, 8], false);
        check([3, 5, 70, 18, 12, 3], true);
        // More queries than a block holds.
        check([8, 7, 130, 16, 16, 2], true);
    }
}
