//! Attention between few tokens and an image map in both directions (SAM's mask decoder) with gradients: the map is
//! projected a block of cells at a time, and scores never leave the cache.
//!
//! The backward pass computes the scores again from the projected map, which the forward pass hands on. Work is cut by the
//! shapes alone and partial sums are added in order, so that results do not depend on the number of threads.

use rayon::prelude::*;

use super::isa::Isa;
use super::linear::Arithmetic;
use super::map_blocks::{
    BLOCK, Factor, add_rows, add_to, cell_words, channel_words, matrix_words, padded_columns,
    padded_rows, product, transposed, turned_words,
};
use super::tile::{Bf16Pair, LANES, Operand};
use super::token_attention::{
    Head, HeadGrad, MapHead, add_lanes, cells_to_tokens, cells_to_tokens_grad, tokens_to_cells,
    tokens_to_cells_grad,
};
use super::two_way_attention::ImageKeys;

/// Blocks of a map whose partial sums one task adds up.
const TASK_BLOCKS: usize = 4;

/// A linear layer: weight `[in, out]` and bias `[out]`.
pub(crate) type Layer<'a> = [&'a [f32]; 2];

/// Gradients of a linear layer, as [`Layer`].
pub(crate) type LayerGrad = [Vec<f32>; 2];

/// Tokens attend to a map, which is projected to keys and values; keys get the position code.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TokensToMap<'a> {
    /// `[N, T, I]`: projected queries.
    pub(crate) query: &'a [f32],
    pub(crate) image: ImageKeys<'a>,
    /// C to I
    pub(crate) key: Layer<'a>,
    /// C to I
    pub(crate) value: Layer<'a>,
    pub(crate) objects: usize,
    pub(crate) heads: usize,
}

/// Gradients of [`TokensToMap`], each shaped as what it belongs to.
pub(crate) struct TokensToMapGrad {
    pub(crate) query: Vec<f32>,
    pub(crate) map: Vec<f32>,
    pub(crate) key: LayerGrad,
    pub(crate) value: LayerGrad,
}

/// A map attends to tokens and is added to the result; its queries get the position code.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MapToTokens<'a> {
    pub(crate) image: ImageKeys<'a>,
    /// `[N, T, I]`: projected keys.
    pub(crate) key: &'a [f32],
    /// `[N, T, I]`: projected values.
    pub(crate) value: &'a [f32],
    /// C to I
    pub(crate) query: Layer<'a>,
    /// I to C
    pub(crate) out: Layer<'a>,
    pub(crate) objects: usize,
    pub(crate) heads: usize,
}

/// Gradients of [`MapToTokens`], each shaped as what it belongs to.
pub(crate) struct MapToTokensGrad {
    pub(crate) map: Vec<f32>,
    pub(crate) key: Vec<f32>,
    pub(crate) value: Vec<f32>,
    pub(crate) query: LayerGrad,
    pub(crate) out: LayerGrad,
}

/// Memory of a task.
#[derive(Default)]
struct Workspace<T> {
    sum: Vec<f32>,
    panel: Vec<T>,
    other: Vec<T>,
    words: Vec<T>,
    lines: Vec<f32>,
    rows: Vec<f32>,
    channels: [Vec<f32>; 3],
    weights: Vec<[f32; LANES]>,
}

/// A projection of a map's cells.
struct Projection<'a, T> {
    /// `[words of C][padded rows of I]`
    words: Vec<T>,
    bias: &'a [f32],
}

impl<'a, T: Operand> Projection<'a, T> {
    fn new([weight, bias]: Layer<'a>) -> Self {
        let words = matrix_words(weight, bias.len(), padded_rows(bias.len()));
        Self { words, bias }
    }

    /// `[padded rows of I][BLOCK]` of up to [`BLOCK`] rows of `c` values.
    fn run(&self, isa: Isa, rows: &[f32], c: usize, work: &mut Workspace<T>, out: &mut [f32]) {
        let width = self.bias.len();
        let (filled, rest) = out.split_at_mut(width * BLOCK);
        for (row, &bias) in filled.chunks_exact_mut(BLOCK).zip(self.bias) {
            row.fill(bias);
        }
        rest.fill(0.0);
        channel_words(isa, rows, c, &mut work.panel, &mut work.words);
        let weight = Factor {
            words: &self.words,
            stride: padded_rows(width),
            used: width,
        };
        let cells = Factor {
            words: &work.panel,
            stride: BLOCK,
            used: rows.len() / c,
        };
        product(isa, weight, cells, (out, BLOCK), true);
    }
}

/// The transpose of a layer's weight as the second factor of a product: `[words of out][padded in]`.
fn backward_words<T: Operand>([weight, bias]: Layer<'_>) -> Vec<T> {
    let (o, c) = (bias.len(), weight.len() / bias.len());
    matrix_words(&transposed(weight, c, o), c, padded_columns(c))
}

/// Adds `channelsᵀ · weight` to rows of `c` values; `channels`: `[k][BLOCK]`.
fn add_projected<T: Operand>(
    isa: Isa,
    channels: &[f32],
    weight: &[T],
    c: usize,
    work: &mut Workspace<T>,
    rows: &mut [f32],
) {
    let (k, count, stride) = (channels.len() / BLOCK, rows.len() / c, padded_columns(c));
    let cells = if let Some(words) = T::in_place(channels) {
        words
    } else {
        work.words.clear();
        work.words
            .resize(k.div_ceil(T::PER_WORD) * BLOCK, T::default());
        T::words(isa, channels, BLOCK, &mut work.words);
        &work.words
    };
    let sums = &mut work.rows;
    sums.clear();
    sums.resize(padded_rows(count) * stride, 0.0);
    for (sum, row) in sums.chunks_exact_mut(stride).zip(rows.chunks_exact(c)) {
        sum[..c].copy_from_slice(row);
    }
    let cells = Factor {
        words: cells,
        stride: BLOCK,
        used: count,
    };
    let weight = Factor {
        words: weight,
        stride,
        used: c,
    };
    product(isa, cells, weight, (sums, stride), true);
    for (sum, row) in sums.chunks_exact(stride).zip(rows.chunks_exact_mut(c)) {
        row.copy_from_slice(&sum[..c]);
    }
}

/// The gradient of a weight whose one side is a block's channels and the other its rows, transposed as need be.
struct WeightSum {
    /// `[padded rows of channels][padded c]`
    sum: Vec<f32>,
    channels: usize,
    c: usize,
}

impl WeightSum {
    fn new(channels: usize, c: usize) -> Self {
        let sum = vec![0.0; padded_rows(channels) * padded_columns(c)];
        Self { sum, channels, c }
    }

    /// Adds `channels · rows`, `[channels][BLOCK]` by rows of c values.
    fn add<T: Operand>(
        &mut self,
        isa: Isa,
        channels: &[f32],
        rows: &[f32],
        work: &mut Workspace<T>,
    ) {
        let cells = rows.len() / self.c;
        let Workspace {
            panel,
            other,
            lines,
            ..
        } = work;
        turned_words(isa, channels, self.channels, cells, panel, lines);
        cell_words(isa, rows, self.c, other, lines);
        let first = Factor {
            words: panel,
            stride: padded_rows(self.channels),
            used: self.channels,
        };
        let stride = padded_columns(self.c);
        let second = Factor {
            words: other,
            stride,
            used: self.c,
        };
        product(isa, first, second, (&mut self.sum, stride), true);
    }

    fn merge(&mut self, isa: Isa, other: &Self) {
        add_to(isa, &mut self.sum, &other.sum);
    }

    /// `[channels, c]`
    fn values(&self) -> Vec<f32> {
        let rows = self.sum.chunks_exact(padded_columns(self.c));
        let rows = rows.take(self.channels);
        rows.flat_map(|row| &row[..self.c]).copied().collect()
    }

    /// `[c, channels]`
    fn turned(&self) -> Vec<f32> {
        transposed(&self.values(), self.channels, self.c)
    }
}

/// Adds each channel's sum over a block's cells.
fn add_sums(channels: &[f32], cells: usize, sums: &mut [f32]) {
    for (sum, row) in sums.iter_mut().zip(channels.chunks_exact(BLOCK)) {
        *sum += row[..cells].iter().sum::<f32>();
    }
}

/// Adds the sum of rows of `sum.len()` values.
fn add_row_sums(isa: Isa, rows: &[f32], sum: &mut [f32]) {
    for row in rows.chunks_exact(sum.len()) {
        add_to(isa, sum, row);
    }
}

impl TokensToMap<'_> {
    fn inner(&self) -> usize {
        self.key[1].len()
    }

    /// Channels of a block of the projected map.
    fn rows(&self) -> usize {
        2 * padded_rows(self.inner())
    }

    fn cells(&self) -> usize {
        self.image.position.len() / self.image.channels
    }

    /// # Shapes
    /// -> `[N, T, I]`, and the projected map for the backward pass
    pub(crate) fn forward(&self, isa: Isa, arithmetic: Arithmetic) -> (Vec<f32>, Vec<f32>) {
        let projected = match arithmetic {
            Arithmetic::F32 | Arithmetic::F16 => self.project::<f32>(isa),
            Arithmetic::Bf16 => self.project::<Bf16Pair>(isa),
        };
        let mut out = vec![0.0; self.query.len()];
        let size = self.query.len() / self.objects;
        out.par_chunks_exact_mut(size.max(1))
            .enumerate()
            .for_each_init(Vec::new, |line, (i, out)| {
                for head in 0..self.heads {
                    let (query, map) = self.head(head, i, &projected);
                    tokens_to_cells(isa, query, map, line, out);
                }
            });
        (out, projected)
    }

    /// `[maps, blocks, rows, BLOCK]`
    fn project<T: Operand>(&self, isa: Isa) -> Vec<f32> {
        let (c, n, inner) = (self.image.channels, self.cells(), self.inner());
        let layers = [self.key, self.value].map(Projection::<T>::new);
        let blocks = n.div_ceil(BLOCK);
        let mut projected = vec![0.0; self.image.maps() * blocks * self.rows() * BLOCK];
        projected
            .par_chunks_exact_mut((self.rows() * BLOCK).max(1))
            .enumerate()
            .for_each_init(Workspace::default, |work, (task, out)| {
                let first = task % blocks * BLOCK;
                let range = first * c..n.min(first + BLOCK) * c;
                let rows = &self.image.of(task / blocks)[range.clone()];
                let (key, value) = out.split_at_mut(padded_rows(inner) * BLOCK);
                let mut sum = std::mem::take(&mut work.sum);
                sum.resize(rows.len(), 0.0);
                add_rows(isa, rows, &self.image.position[range], &mut sum);
                layers[0].run(isa, &sum, c, work, key);
                layers[1].run(isa, rows, c, work, value);
                work.sum = sum;
            });
        projected
    }

    /// Query and map of one head and object.
    fn head<'a>(&'a self, head: usize, i: usize, projected: &'a [f32]) -> (Head<'a>, MapHead<'a>) {
        let (inner, size) = (self.inner(), self.query.len() / self.objects);
        let d = inner / self.heads;
        let blocks = projected.len() / self.image.maps();
        let query = Head {
            tokens: &self.query[i * size..][..size],
            width: inner,
            first: head * d,
            d,
        };
        let map = MapHead {
            blocks: &projected[i % self.image.maps() * blocks..][..blocks],
            rows: self.rows(),
            key: head * d,
            value: padded_rows(inner) + head * d,
            count: self.cells(),
        };
        (query, map)
    }

    /// `projected` is what [`Self::forward`] handed on, `grad` the gradient of its result.
    pub(crate) fn backward(
        &self,
        isa: Isa,
        arithmetic: Arithmetic,
        projected: &[f32],
        grad: &[f32],
    ) -> TokensToMapGrad {
        let size = self.query.len() / self.objects;
        let per_map = projected.len() / self.image.maps();
        let mut query = vec![0.0; self.query.len()];
        let mut by_map: Vec<Vec<f32>> = query
            .par_chunks_exact_mut(size.max(1))
            .enumerate()
            .map_init(Vec::new, |line, (i, by_query)| {
                let mut by_map = vec![0.0; per_map];
                let grad = &grad[i * size..][..size];
                for head in 0..self.heads {
                    let (query, map) = self.head(head, i, projected);
                    tokens_to_cells_grad(isa, query, map, grad, line, by_query, &mut by_map);
                }
                by_map
            })
            .collect();
        if self.image.maps() < by_map.len() {
            let mut all = by_map.into_iter();
            let mut sum = all.next().unwrap_or_default();
            all.for_each(|by_map| add_to(isa, &mut sum, &by_map));
            by_map = vec![sum];
        }
        match arithmetic {
            Arithmetic::F32 | Arithmetic::F16 => self.by_weights::<f32>(isa, query, &by_map),
            Arithmetic::Bf16 => self.by_weights::<Bf16Pair>(isa, query, &by_map),
        }
    }

    /// From the gradients of the projected maps to those of the maps and weights.
    fn by_weights<T: Operand>(
        &self,
        isa: Isa,
        query: Vec<f32>,
        by_map: &[Vec<f32>],
    ) -> TokensToMapGrad {
        let (c, n, inner) = (self.image.channels, self.cells(), self.inner());
        let weights = [self.key, self.value].map(backward_words::<T>);
        let block = self.rows() * BLOCK;
        let mut map = vec![0.0; by_map.len() * n * c];
        let new_sums = || [(); 2].map(|()| (WeightSum::new(inner, c), vec![0.0; inner]));
        let tasks =
            task_rows(&mut map, n, c).map_init(Workspace::default, |work, (i, first, rows)| {
                let mut sums = new_sums();
                for (b, rows) in rows.chunks_mut(BLOCK * c).enumerate() {
                    let cell = first + b * BLOCK;
                    let range = cell * c..cell * c + rows.len();
                    let image = &self.image.of(i)[range.clone()];
                    let block = &by_map[i][cell / BLOCK * block..][..block];
                    let parts = [
                        &block[..inner * BLOCK],
                        &block[padded_rows(inner) * BLOCK..][..inner * BLOCK],
                    ];
                    let mut sum = std::mem::take(&mut work.sum);
                    sum.resize(image.len(), 0.0);
                    add_rows(isa, image, &self.image.position[range], &mut sum);
                    for ((part, input), (weight, (by_weight, by_bias))) in parts
                        .into_iter()
                        .zip([&sum[..], image])
                        .zip(weights.iter().zip(&mut sums))
                    {
                        add_projected(isa, part, weight, c, work, rows);
                        by_weight.add(isa, part, input, work);
                        add_sums(part, rows.len() / c, by_bias);
                    }
                    work.sum = sum;
                }
                sums
            });
        let parts: Vec<_> = tasks.collect();
        let mut total = new_sums();
        for part in &parts {
            for ((weight, bias), (by_weight, by_bias)) in total.iter_mut().zip(part) {
                weight.merge(isa, by_weight);
                add_to(isa, bias, by_bias);
            }
        }
        let [key, value] = total.map(|(weight, bias)| [weight.turned(), bias]);
        TokensToMapGrad {
            query,
            map,
            key,
            value,
        }
    }
}

/// Cuts maps of `n` rows of `c` values into tasks: map, first cell, rows.
fn task_rows(
    maps: &mut [f32],
    n: usize,
    c: usize,
) -> impl ParallelIterator<Item = (usize, usize, &mut [f32])> {
    let cells = TASK_BLOCKS * BLOCK;
    maps.par_chunks_exact_mut((n * c).max(1))
        .enumerate()
        .flat_map(move |(i, map)| {
            let tasks = map.par_chunks_mut(cells * c).enumerate();
            tasks.map(move |(task, rows)| (i, task * cells, rows))
        })
}

impl MapToTokens<'_> {
    fn inner(&self) -> usize {
        self.query[1].len()
    }

    fn cells(&self) -> usize {
        self.image.position.len() / self.image.channels
    }

    /// Keys and values of one object in one head.
    fn head(&self, head: usize, i: usize) -> [Head<'_>; 2] {
        let (inner, size) = (self.inner(), self.key.len() / self.objects);
        let d = inner / self.heads;
        [self.key, self.value].map(|tokens| Head {
            tokens: &tokens[i * size..][..size],
            width: inner,
            first: head * d,
            d,
        })
    }

    /// # Shapes
    /// -> `[N, n, C]`, and the map's queries for the backward pass
    pub(crate) fn forward(&self, isa: Isa, arithmetic: Arithmetic) -> (Vec<f32>, Vec<f32>) {
        match arithmetic {
            Arithmetic::F32 | Arithmetic::F16 => self.forward_in::<f32>(isa),
            Arithmetic::Bf16 => self.forward_in::<Bf16Pair>(isa),
        }
    }

    fn forward_in<T: Operand>(&self, isa: Isa) -> (Vec<f32>, Vec<f32>) {
        let (c, n, inner) = (self.image.channels, self.cells(), self.inner());
        let query = Projection::<T>::new(self.query);
        let [weight, bias] = self.out;
        let weight = matrix_words::<T>(weight, c, padded_columns(c));
        let (blocks, block) = (n.div_ceil(BLOCK), padded_rows(inner) * BLOCK);
        let mut queries = vec![0.0; self.objects * blocks * block];
        let mut out = vec![0.0; self.objects * n * c];
        let maps = out.par_chunks_exact_mut((n * c).max(1));
        maps.zip(queries.par_chunks_exact_mut((blocks * block).max(1)))
            .enumerate()
            .flat_map(|(i, (out, queries))| {
                let rows = out.par_chunks_mut(BLOCK * c);
                let blocks = rows.zip(queries.par_chunks_exact_mut(block));
                blocks
                    .enumerate()
                    .map(move |(b, (out, queries))| (i, b, out, queries))
            })
            .for_each_init(Workspace::default, |work, (i, b, out, queries)| {
                let range = b * BLOCK * c..b * BLOCK * c + out.len();
                let image = &self.image.of(i)[range.clone()];
                let mut sum = std::mem::take(&mut work.sum);
                sum.resize(image.len(), 0.0);
                add_rows(isa, image, &self.image.position[range], &mut sum);
                query.run(isa, &sum, c, work, queries);
                work.sum = sum;
                let mut attended = std::mem::take(&mut work.channels[0]);
                self.attend(isa, i, queries, out.len() / c, work, &mut attended);
                for (out, image) in out.chunks_exact_mut(c).zip(image.chunks_exact(c)) {
                    add_rows(isa, image, bias, out);
                }
                add_projected(isa, &attended, &weight, c, work, out);
                work.channels[0] = attended;
            });
        (out, queries)
    }

    /// All heads of a block: `[I][BLOCK]`
    fn attend<T>(
        &self,
        isa: Isa,
        i: usize,
        queries: &[f32],
        cells: usize,
        work: &mut Workspace<T>,
        out: &mut Vec<f32>,
    ) {
        let inner = self.inner();
        let size = inner / self.heads * BLOCK;
        out.clear();
        out.resize(inner * BLOCK, 0.0);
        let heads = out.chunks_exact_mut(size).zip(queries.chunks_exact(size));
        for (head, (out, queries)) in heads.enumerate() {
            let [key, value] = self.head(head, i);
            cells_to_tokens(isa, key, value, queries, cells, &mut work.weights, out);
        }
    }

    /// `queries` is what [`Self::forward`] handed on, `grad` the gradient of its result.
    pub(crate) fn backward(
        &self,
        isa: Isa,
        arithmetic: Arithmetic,
        queries: &[f32],
        grad: &[f32],
    ) -> MapToTokensGrad {
        match arithmetic {
            Arithmetic::F32 | Arithmetic::F16 => self.backward_in::<f32>(isa, queries, grad),
            Arithmetic::Bf16 => self.backward_in::<Bf16Pair>(isa, queries, grad),
        }
    }

    fn backward_in<T: Operand>(&self, isa: Isa, queries: &[f32], grad: &[f32]) -> MapToTokensGrad {
        let (c, n, inner) = (self.image.channels, self.cells(), self.inner());
        let zeros = vec![0.0; inner];
        let out_weight = transposed(self.out[0], inner, c);
        let weights = BackwardWeights {
            out: Projection::<T>::new([&out_weight, &zeros]),
            query: backward_words::<T>(self.query),
        };
        let mut map = grad.to_vec();
        let parts: Vec<(usize, MapToTokensPart)> = task_rows(&mut map, n, c)
            .map_init(Workspace::default, |work, (i, first, rows)| {
                (i, self.part(isa, &weights, queries, (i, first), rows, work))
            })
            .collect();
        let mut total = self.no_part();
        let size = self.key.len() / self.objects;
        let [mut key, mut value] = [(); 2].map(|()| vec![0.0; self.key.len()]);
        for (i, part) in &parts {
            for (all, tokens) in [&mut key, &mut value].into_iter().zip(&part.tokens) {
                add_to(isa, &mut all[i * size..][..size], tokens);
            }
            total.query.0.merge(isa, &part.query.0);
            add_to(isa, &mut total.query.1, &part.query.1);
            total.out.0.merge(isa, &part.out.0);
            add_to(isa, &mut total.out.1, &part.out.1);
        }
        if self.image.maps() < self.objects {
            let rest = map.split_off(n * c);
            rest.chunks_exact(n * c)
                .for_each(|other| add_to(isa, &mut map, other));
        }
        MapToTokensGrad {
            map,
            key,
            value,
            query: [total.query.0.turned(), total.query.1],
            out: [total.out.0.values(), total.out.1],
        }
    }

    fn no_part(&self) -> MapToTokensPart {
        let (c, inner) = (self.image.channels, self.inner());
        let size = self.key.len() / self.objects;
        MapToTokensPart {
            tokens: [(); 2].map(|()| vec![0.0; size]),
            query: (WeightSum::new(inner, c), vec![0.0; inner]),
            out: (WeightSum::new(inner, c), vec![0.0; c]),
        }
    }

    /// Some blocks of one object; `rows` hold the output's gradient and receive the map's.
    fn part<T: Operand>(
        &self,
        isa: Isa,
        weights: &BackwardWeights<'_, T>,
        queries: &[f32],
        (i, first): (usize, usize),
        rows: &mut [f32],
        work: &mut Workspace<T>,
    ) -> MapToTokensPart {
        let (c, n, inner) = (self.image.channels, self.cells(), self.inner());
        let (blocks, block) = (n.div_ceil(BLOCK), padded_rows(inner) * BLOCK);
        let mut sums = self.no_part();
        let (d, tokens) = (inner / self.heads, sums.tokens[0].len() / inner);
        let mut lanes = vec![[0.0; LANES]; self.heads * 2 * tokens * d];
        let [mut attended, mut by_attended, mut by_query] = std::mem::take(&mut work.channels);
        for (b, rows) in rows.chunks_mut(BLOCK * c).enumerate() {
            let (cell, cells) = (first + b * BLOCK, rows.len() / c);
            let range = cell * c..cell * c + rows.len();
            let queries = &queries[(i * blocks + cell / BLOCK) * block..][..inner * BLOCK];
            self.attend(isa, i, queries, cells, work, &mut attended);
            by_attended.resize(block, 0.0);
            weights.out.run(isa, rows, c, work, &mut by_attended);
            sums.out.0.add(isa, &attended, rows, work);
            add_row_sums(isa, rows, &mut sums.out.1);
            by_query.clear();
            by_query.resize(inner * BLOCK, 0.0);
            for (head, lanes) in lanes.chunks_exact_mut(2 * tokens * d).enumerate() {
                let of_head = head * d * BLOCK..(head + 1) * d * BLOCK;
                let out = HeadGrad {
                    map: &mut by_query[of_head.clone()],
                    tokens: lanes,
                };
                let grad = &by_attended[of_head.clone()];
                let queries = &queries[of_head];
                cells_to_tokens_grad(
                    isa,
                    self.head(head, i),
                    queries,
                    grad,
                    cells,
                    &mut work.weights,
                    out,
                );
            }
            let mut sum = std::mem::take(&mut work.sum);
            sum.resize(rows.len(), 0.0);
            add_rows(
                isa,
                &self.image.of(i)[range.clone()],
                &self.image.position[range],
                &mut sum,
            );
            sums.query.0.add(isa, &by_query, &sum, work);
            work.sum = sum;
            add_sums(&by_query, cells, &mut sums.query.1);
            add_projected(isa, &by_query, &weights.query, c, work, rows);
        }
        for (head, lanes) in lanes.chunks_exact(2 * tokens * d).enumerate() {
            let heads = self.head(head, i);
            let kinds = lanes.chunks_exact(tokens * d).zip(&mut sums.tokens);
            for ((lanes, out), head) in kinds.zip(heads) {
                add_lanes(lanes, head, out);
            }
        }
        work.channels = [attended, by_attended, by_query];
        sums
    }
}

/// Weights of the backward pass of [`MapToTokens`].
struct BackwardWeights<'a, T> {
    /// From the output's gradient to that of the attended values.
    out: Projection<'a, T>,
    /// From the queries' gradient to the map's.
    query: Vec<T>,
}

/// What some blocks add to the gradients of [`MapToTokens`].
struct MapToTokensPart {
    /// Gradients of the object's keys and values.
    tokens: [Vec<f32>; 2],
    query: (WeightSum, Vec<f32>),
    out: (WeightSum, Vec<f32>),
}

#[cfg(test)]
mod tests;
