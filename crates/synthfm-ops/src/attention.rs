//! Window attention composed of the tensor library's own operations.
//!
//! Maps are filled up to whole windows, cut, attended, and put back together. Heads are processed in groups
//! where the score matrix would be large.

use burn::backend::{Backend, TensorMetadata, tensor::FloatTensor};
use burn::tensor::{Shape, TensorData};

use super::{Arithmetic, PlainWindows, product};

/// Scores held at once: 32 Mi values, 128 MiB, which is the largest buffer that every GPU binds.
const MAX_SCORES: usize = 1 << 25;

/// See [`super::SamOps::window_attention`].
pub(super) fn relative<B: Backend>(
    qkv: FloatTensor<B>,
    padding: &FloatTensor<B>,
    rows: FloatTensor<B>,
    columns: FloatTensor<B>,
    arithmetic: Arithmetic,
) -> FloatTensor<B> {
    let ([table_rows, d], [table_columns, _]) = (rows.shape().dims(), columns.shape().dims());
    let window @ [h, w] = [table_rows.div_ceil(2), table_columns.div_ceil(2)];
    let map = Map::new(&qkv.shape(), window);
    let (n, heads) = (h * w, map.channels / (3 * d));
    // [N, n, 3 C] -> [3, N heads, n, d]
    let parts = reshape::<B, 5>(map.cut::<B>(qkv, padding), [map.windows(), n, 3, heads, d]);
    let parts = B::float_permute(parts, &[2, 0, 3, 1, 4]);
    let parts = reshape::<B, 4>(parts, [3, map.windows() * heads, n, d]);
    let (rel_h, rel_w) = (
        by_query_and_key::<B>(rows, h),
        by_query_and_key::<B>(columns, w),
    );
    let attended = in_groups::<B>(&parts, arithmetic, |q, _| {
        let groups = q.shape()[0];
        let turned = |t: &FloatTensor<B>, side: usize| {
            reshape::<B, 4>(B::float_swap_dims(t.clone(), 1, 2), [1, side, d, side])
        };
        let q = reshape::<B, 4>(q, [groups, h, w, d]);
        // [G, h, w, d] x [1, h, d, h] -> [G, h, w, h]
        let by_row = B::float_matmul(q.clone(), turned(&rel_h, h));
        // [G, w, h, d] x [1, w, d, w] -> [G, w, h, w] -> [G, h, w, w]
        let by_column = B::float_matmul(B::float_swap_dims(q, 1, 2), turned(&rel_w, w));
        let by_column = B::float_swap_dims(by_column, 1, 2);
        let by_row = reshape::<B, 4>(by_row, [groups, n, h, 1]);
        let by_column = reshape::<B, 4>(by_column, [groups, n, 1, w]);
        reshape::<B, 3>(B::float_add(by_row, by_column), [groups, n, n])
    });
    map.join::<B>(attended, heads)
}

/// See [`super::SamOps::table_attention`].
pub(super) fn with_table<B: Backend>(
    qkv: FloatTensor<B>,
    padding: &FloatTensor<B>,
    table: FloatTensor<B>,
    window: [usize; 2],
    arithmetic: Arithmetic,
) -> FloatTensor<B> {
    let [heads, n, _] = table.shape().dims();
    let map = Map::new(&qkv.shape(), window);
    let (windows, d) = (map.windows(), map.channels / (3 * heads));
    // [N, n, 3 C] -> [3, N heads, n, d]
    let parts = reshape::<B, 5>(map.cut::<B>(qkv, padding), [windows, n, heads, 3, d]);
    let parts = B::float_permute(parts, &[3, 0, 2, 1, 4]);
    let parts = reshape::<B, 4>(parts, [3, windows * heads, n, d]);
    let table = reshape::<B, 4>(table, [1, heads, n, n]);
    let table = B::float_expand(table, Shape::from([windows, heads, n, n]));
    let table = reshape::<B, 3>(table, [windows * heads, n, n]);
    let attended = in_groups::<B>(&parts, arithmetic, |_, groups| {
        B::float_slice(table.clone(), &[groups.into()])
    });
    map.join::<B>(attended, heads)
}

/// See [`super::SamOps::plain_attention`].
pub(super) fn plain<B: Backend>(
    qkv: FloatTensor<B>,
    padding: &FloatTensor<B>,
    windows: PlainWindows,
    arithmetic: Arithmetic,
) -> FloatTensor<B> {
    let PlainWindows {
        window: window @ [wh, ww],
        heads,
        pooled,
    } = windows;
    let map = Map::new(&qkv.shape(), window);
    let (count, d) = (map.windows(), map.channels / (3 * heads));
    // [N, n, 3 C] -> [3, N heads, n, d]
    let parts = map.cut::<B>(qkv, padding);
    let parts = reshape::<B, 5>(parts, [count, wh * ww, 3, heads, d]);
    let parts = B::float_permute(parts, &[2, 0, 3, 1, 4]);
    let part = |i: usize| {
        let part = B::float_slice(parts.clone(), &[(i..i + 1).into()]);
        reshape::<B, 3>(part, [count * heads, wh * ww, d])
    };
    let (key, value) = (B::float_swap_dims(part(1), 1, 2), part(2));
    let (query, map) = if pooled {
        let rows = reshape::<B, 4>(part(0), [count * heads * wh / 2, 2, ww / 2, 2 * d]);
        let rows = B::float_max_dim(rows, 1);
        let pairs = reshape::<B, 4>(rows, [count * heads, wh * ww / 4, 2, d]);
        let query = reshape::<B, 3>(B::float_max_dim(pairs, 2), [count * heads, wh * ww / 4, d]);
        (query, map.halved())
    } else {
        (part(0), map)
    };
    let query = B::float_mul_scalar(query, (d as f64).powf(-0.5).into());
    let [all, n, _] = query.shape().dims();
    let step = (MAX_SCORES / (n * wh * ww).max(1)).clamp(1, all.max(1));
    let attend = |first: usize| {
        let groups = first..all.min(first + step);
        let of = |x: &FloatTensor<B>| B::float_slice(x.clone(), &[groups.clone().into()]);
        let weights = B::softmax(product::<B>(of(&query), of(&key), arithmetic), 2);
        product::<B>(weights, of(&value), arithmetic)
    };
    let mut attended: Vec<_> = (0..all).step_by(step).map(attend).collect();
    let attended = if attended.len() == 1 {
        attended.remove(0)
    } else {
        B::float_cat(attended, 0)
    };
    map.join::<B>(attended, heads)
}

/// See [`super::SamOps::self_attention`].
pub(super) fn among_tokens<B: Backend>(
    qkv: FloatTensor<B>,
    heads: usize,
    arithmetic: Arithmetic,
) -> FloatTensor<B> {
    let parts = TokenParts::<B>::new(qkv, heads);
    let weights = parts.weights(arithmetic);
    parts.joined(product::<B>(weights, parts.value.clone(), arithmetic))
}

/// Gradient of [`among_tokens`] by its input; `grad` is as its result.
pub(super) fn among_tokens_grad<B: Backend>(
    qkv: FloatTensor<B>,
    grad: FloatTensor<B>,
    heads: usize,
    arithmetic: Arithmetic,
) -> FloatTensor<B> {
    let parts = TokenParts::<B>::new(qkv, heads);
    let TokenParts {
        query,
        key,
        value,
        shape: [b, n, d],
        ..
    } = &parts;
    let turned = |x: &FloatTensor<B>| B::float_swap_dims(x.clone(), 2, 3);
    // [B, n, C] -> [B, heads, n, d]
    let grad = B::float_permute(reshape::<B, 4>(grad, [*b, *n, heads, *d]), &[0, 2, 1, 3]);
    let weights = parts.weights(arithmetic);
    let by_value = product::<B>(turned(&weights), grad.clone(), arithmetic);
    let by_weight = product::<B>(grad, turned(value), arithmetic);
    let dot = B::float_sum_dim(B::float_mul(by_weight.clone(), weights.clone()), 3);
    let by_score = B::float_mul(weights, B::float_sub(by_weight, dot));
    let by_key = product::<B>(turned(&by_score), query.clone(), arithmetic);
    let by_query = product::<B>(by_score, key.clone(), arithmetic);
    let by_query = B::float_mul_scalar(by_query, parts.scale().into());
    let by = [by_query, by_key, by_value].map(|part| parts.joined(part));
    B::float_cat(by.into(), 2)
}

/// Queries (scaled by 1 / √d), keys and values of each head: `[B, heads, n, d]`.
struct TokenParts<B: Backend> {
    query: FloatTensor<B>,
    key: FloatTensor<B>,
    value: FloatTensor<B>,
    /// B, n, d
    shape: [usize; 3],
    heads: usize,
}

impl<B: Backend> TokenParts<B> {
    fn new(qkv: FloatTensor<B>, heads: usize) -> Self {
        let [b, n, channels] = qkv.shape().dims();
        let d = channels / 3 / heads;
        // [B, n, 3 C] -> [3, B, heads, n, d]
        let qkv = reshape::<B, 5>(qkv, [b, n, 3, heads, d]);
        let qkv = B::float_permute(qkv, &[2, 0, 3, 1, 4]);
        let part = |i: usize| {
            let part = B::float_slice(qkv.clone(), &[(i..i + 1).into()]);
            reshape::<B, 4>(part, [b, heads, n, d])
        };
        let scale = (d as f64).powf(-0.5);
        Self {
            query: B::float_mul_scalar(part(0), scale.into()),
            key: part(1),
            value: part(2),
            shape: [b, n, d],
            heads,
        }
    }

    fn scale(&self) -> f64 {
        (self.shape[2] as f64).powf(-0.5)
    }

    /// Softmax of the scores: `[B, heads, n, n]`.
    fn weights(&self, arithmetic: Arithmetic) -> FloatTensor<B> {
        let key = B::float_swap_dims(self.key.clone(), 2, 3);
        B::softmax(product::<B>(self.query.clone(), key, arithmetic), 3)
    }

    /// `[B, heads, n, d]` -> `[B, n, C]`
    fn joined(&self, x: FloatTensor<B>) -> FloatTensor<B> {
        let [b, n, d] = self.shape;
        reshape::<B, 3>(B::float_permute(x, &[0, 2, 1, 3]), [b, n, self.heads * d])
    }
}

fn reshape<B: Backend, const D: usize>(x: FloatTensor<B>, shape: [usize; D]) -> FloatTensor<B> {
    B::float_reshape(x, Shape::from(shape))
}

/// A channels-last map and its windows.
#[derive(Debug, Clone, Copy)]
struct Map {
    batch: usize,
    height: usize,
    width: usize,
    channels: usize,
    window: [usize; 2],
}

impl Map {
    fn new(shape: &Shape, window: [usize; 2]) -> Self {
        let [batch, height, width, channels] = shape.dims();
        Self {
            batch,
            height,
            width,
            channels,
            window,
        }
    }

    /// The map of pooled queries: half the sides, in half the windows' sides.
    const fn halved(self) -> Self {
        Self {
            height: self.height / 2,
            width: self.width / 2,
            window: [self.window[0] / 2, self.window[1] / 2],
            ..self
        }
    }

    /// Rows and columns of windows.
    const fn grid(&self) -> [usize; 2] {
        [
            self.height.div_ceil(self.window[0]),
            self.width.div_ceil(self.window[1]),
        ]
    }

    const fn windows(&self) -> usize {
        self.batch * self.grid()[0] * self.grid()[1]
    }

    /// `[B, H, W, C]` -> `[windows, n, C]`, filled up with `padding` at the bottom and right.
    fn cut<B: Backend>(&self, x: FloatTensor<B>, padding: &FloatTensor<B>) -> FloatTensor<B> {
        let (
            Self {
                batch,
                height,
                width,
                channels,
                ..
            },
            [wh, ww],
        ) = (*self, self.window);
        let [rows, columns] = self.grid();
        let append = |x: FloatTensor<B>, dim: usize, count: usize| {
            if count == 0 {
                return x;
            }
            let mut shape = x.shape();
            shape[dim] = count;
            let padding = reshape::<B, 4>(padding.clone(), [1, 1, 1, channels]);
            B::float_cat(vec![x, B::float_expand(padding, shape)], dim)
        };
        let x = append(x, 1, rows * wh - height);
        let x = append(x, 2, columns * ww - width);
        let x = reshape::<B, 6>(x, [batch, rows, wh, columns, ww, channels]);
        let x = B::float_permute(x, &[0, 1, 3, 2, 4, 5]);
        reshape::<B, 3>(x, [self.windows(), wh * ww, channels])
    }

    /// `[windows heads, n, d]` -> `[B, H, W, heads d]`
    fn join<B: Backend>(&self, x: FloatTensor<B>, heads: usize) -> FloatTensor<B> {
        let ([rows, columns], [wh, ww]) = (self.grid(), self.window);
        let d = x.shape()[2];
        let x = reshape::<B, 7>(x, [self.batch, rows, columns, heads, wh, ww, d]);
        let x = B::float_permute(x, &[0, 1, 4, 2, 5, 3, 6]);
        let x = reshape::<B, 4>(x, [self.batch, rows * wh, columns * ww, heads * d]);
        let all = |end: usize| (0..end).into();
        B::float_slice(
            x,
            &[
                all(self.batch),
                all(self.height),
                all(self.width),
                all(heads * d),
            ],
        )
    }
}

/// `softmax(q kᵀ / √d + bias) v` for as many windows and heads at once as [`MAX_SCORES`] allows; `bias` gets
/// the queries of a group and which ones they are.
///
/// `parts`: queries, keys and values `[3, G, n, d]` -> `[G, n, d]`
fn in_groups<B: Backend>(
    parts: &FloatTensor<B>,
    arithmetic: Arithmetic,
    bias: impl Fn(FloatTensor<B>, std::ops::Range<usize>) -> FloatTensor<B>,
) -> FloatTensor<B> {
    let [_, all, n, d] = parts.shape().dims();
    let step = (MAX_SCORES / (n * n).max(1)).clamp(1, all.max(1));
    let mut attended = Vec::new();
    for first in (0..all).step_by(step) {
        let groups = first..all.min(first + step);
        let part = |i: usize| {
            let whole = [
                (i..i + 1).into(),
                groups.clone().into(),
                (0..n).into(),
                (0..d).into(),
            ];
            reshape::<B, 3>(B::float_slice(parts.clone(), &whole), [groups.len(), n, d])
        };
        let (q, k, v) = (part(0), part(1), part(2));
        let bias = bias(q.clone(), groups.clone());
        let scale = (d as f64).powf(-0.5);
        let scores = product::<B>(
            B::float_mul_scalar(q, scale.into()),
            B::float_swap_dims(k, 1, 2),
            arithmetic,
        );
        let weights = B::softmax(B::float_add(scores, bias), 2);
        attended.push(product::<B>(weights, v, arithmetic));
    }
    if attended.len() == 1 {
        return attended.remove(0);
    }
    B::float_cat(attended, 0)
}

/// Rows of a relative-position table for every query and key along an axis (`get_rel_pos`):
/// `[2·side - 1, d]` -> `[side, side, d]`.
fn by_query_and_key<B: Backend>(table: FloatTensor<B>, side: usize) -> FloatTensor<B> {
    let d = table.shape()[1];
    // Not every GPU has 64-bit integers.
    let offsets: Vec<i32> = (0..side * side)
        .map(|i| (i / side + side - 1 - i % side) as i32)
        .collect();
    let data = TensorData::new(offsets, [side * side]);
    let index = B::int_from_data(data, &table.device());
    reshape::<B, 3>(B::float_select(table, 0, index), [side, side, d])
}
