//! Attention over the windows of a grid of tokens that never holds the matrix of scores.
//!
//! Position terms are added to a block of scores as it is exponentiated: with decomposed relative positions
//! (Li et al. 2022, eq. 4) they are two small tables per block of queries. Windows are index lists: nothing
//! is padded, cut out or put back together.

use std::mem::MaybeUninit;

use rayon::prelude::*;

use super::isa::Isa;
use super::linear::Arithmetic;
use super::online_softmax::{
    Block, KEY_STEP, KeysValues, QUERIES, Terms, pack_keys, pack_values, products,
};
use super::tile::{Bf16Pair, LANES, Operand};
use super::uninit;

/// Blocks of queries that are worth a task.
const TASK_BLOCKS: usize = 4;
/// Marks a token of the padding.
const PADDING: usize = usize::MAX;

/// What is added to the scores.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Bias<'a> {
    /// Decomposed relative positions: `q·rows[yq - yk + wh - 1] + q·columns[xq - xk + ww - 1]`, with tables
    /// `[2·wh - 1, d]` and `[2·ww - 1, d]`.
    Relative { rows: &'a [f32], columns: &'a [f32] },
    /// A value for each head, query and key: `[heads, n, n]`.
    Table(&'a [f32]),
    /// Nothing.
    None,
}

/// Attention inside windows of a map; the map is filled up to whole windows with tokens of their own.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WindowAttention<'a> {
    /// `[B, H, W, 3·C]`: queries, keys and values of all heads.
    pub(crate) qkv: &'a [f32],
    /// `[3·C]`: those of a padding token.
    pub(crate) padding: &'a [f32],
    pub(crate) bias: Bias<'a>,
    /// B, H and W.
    pub(crate) map: [usize; 3],
    /// Height and width of a window.
    pub(crate) window: [usize; 2],
    pub(crate) heads: usize,
    /// C over heads.
    pub(crate) head_dim: usize,
    pub(crate) layout: Layout,
    /// Queries of a map of half the sides, `[B, H/2, W/2, C]`, in place of those in `qkv`; without position terms, for
    /// windows of even sides. See [`pooled_queries`].
    pub(crate) pooled: Option<&'a [f32]>,
}

/// Where a head's queries, keys and values lie in a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// All queries, then all keys, then all values (SAM).
    PartThenHead,
    /// Query, key and value of the first head, then of the next (`TinyViT`).
    HeadThenPart,
}

#[derive(Debug, Clone, Copy)]
enum QkvPart {
    Query,
    Key,
    Value,
}

impl WindowAttention<'_> {
    /// # Shapes
    /// -> `[B, H, W, C]`, or `[B, H/2, W/2, C]` with pooled queries
    pub(crate) fn run(&self, isa: Isa, arithmetic: Arithmetic) -> Vec<f32> {
        match arithmetic {
            Arithmetic::F32 | Arithmetic::F16 => self.run_in::<f32>(isa),
            Arithmetic::Bf16 => self.run_in::<Bf16Pair>(isa),
        }
    }

    fn run_in<T: Operand>(&self, isa: Isa) -> Vec<f32> {
        let ([batch, height, width], [wh, ww]) = (self.map, self.window);
        let (tokens, n, d) = (batch * height * width, wh * ww, self.head_dim);
        let channels = self.heads * d;
        assert_eq!(
            self.qkv.len(),
            tokens * 3 * channels,
            "qkv is [B, H, W, 3 C]"
        );
        assert_eq!(self.padding.len(), 3 * channels, "padding is [3 C]");
        match self.bias {
            Bias::Relative { rows, columns } => {
                assert_eq!(rows.len(), (2 * wh - 1) * d, "rows are [2 wh - 1, d]");
                assert_eq!(columns.len(), (2 * ww - 1) * d, "columns are [2 ww - 1, d]");
            }
            Bias::Table(table) => {
                assert_eq!(table.len(), self.heads * n * n, "table is [heads, n, n]");
            }
            Bias::None => {}
        }
        let tables = Tables::new(isa, self);
        let windows = windows(self.map, self.window);
        let asked = self.pooled.map(|pooled| {
            assert!(
                matches!(self.bias, Bias::None)
                    && [height, width, wh, ww].iter().all(|n| n % 2 == 0),
                "queries are pooled without position terms, on even sides"
            );
            assert_eq!(
                4 * pooled.len(),
                tokens * channels,
                "queries are [B, H/2, W/2, C]"
            );
            self::windows([batch, height / 2, width / 2], [wh / 2, ww / 2])
        });
        let asked = asked.as_deref().unwrap_or(&windows);
        let values = asked
            .iter()
            .flatten()
            .filter(|&&token| token != PADDING)
            .count()
            * channels;
        let fill = |out: &mut [MaybeUninit<f32>]| {
            let out = Output {
                start: out.as_mut_ptr().cast(),
                channels,
            };
            (0..windows.len() * self.heads)
                .into_par_iter()
                .for_each(|i| {
                    let (window, head) = (i / self.heads, i % self.heads);
                    let tokens = [&windows[window], &asked[window]].map(Vec::as_slice);
                    self.window_head::<T>(isa, tokens, head, &tables, &out);
                });
        };
        #[expect(unsafe_code, reason = "output that is written once")]
        // SAFETY: every token of the asked map is in one window, whose heads write their part of its channels.
        unsafe {
            uninit::filled(values, fill)
        }
    }

    /// `[d]` values of a query.
    fn query(&self, token: usize, head: usize) -> &[f32] {
        let Some(pooled) = self.pooled else {
            return self.values(token, head, QkvPart::Query);
        };
        &pooled[(token * self.heads + head) * self.head_dim..][..self.head_dim]
    }

    /// `[d]` values of a token.
    fn values(&self, token: usize, head: usize, part: QkvPart) -> &[f32] {
        let (d, channels) = (self.head_dim, self.heads * self.head_dim);
        let part = part as usize;
        let at = match self.layout {
            Layout::PartThenHead => part * channels + head * d,
            Layout::HeadThenPart => (3 * head + part) * d,
        };
        let token = match token {
            PADDING => self.padding,
            _ => &self.qkv[token * 3 * channels..][..3 * channels],
        };
        &token[at..at + d]
    }

    fn window_head<T: Operand>(
        &self,
        isa: Isa,
        [tokens, asked]: [&[usize]; 2],
        head: usize,
        tables: &Tables,
        out: &Output,
    ) {
        let d = self.head_dim;
        let part = |part| tokens.iter().map(move |&t| self.values(t, head, part));
        let keys: Vec<T> = pack_keys(isa, part(QkvPart::Key), d);
        let values: Vec<T> = pack_values(part(QkvPart::Value), d);
        let packed = KeysValues {
            keys: &keys,
            values: &values,
            count: tokens.len(),
            words: d.div_ceil(T::PER_WORD),
            width: d.next_multiple_of(LANES),
        };
        // Queries of the padding are not asked for.
        let queries: Vec<usize> = (0..asked.len()).filter(|&i| asked[i] != PADDING).collect();
        let blocks = queries.par_chunks(QUERIES).with_min_len(TASK_BLOCKS);
        blocks.for_each_init(
            || Scratch::<T>::new(self),
            |scratch, block| {
                self.position_terms(isa, asked, head, tables, block, scratch);
                let terms = Terms {
                    rows: &scratch.row_terms,
                    columns: &scratch.column_terms,
                };
                let terms = (!matches!(self.bias, Bias::None)).then_some(terms);
                scratch.block.vectors = block.len().div_ceil(LANES);
                scratch.block.attend(isa, packed, terms);
                for (lane, &query) in block.iter().enumerate() {
                    let scale = 1.0 / scratch.block.lanes.sum[lane];
                    let row = &scratch.block.out[lane * packed.width..][..d];
                    out.write(asked[query], head * d, row, scale);
                }
            },
        );
    }

    /// Packs a block of queries and computes what is added to their scores.
    fn position_terms<T: Operand>(
        &self,
        isa: Isa,
        asked: &[usize],
        head: usize,
        tables: &Tables,
        block: &[usize],
        scratch: &mut Scratch<T>,
    ) {
        let ([wh, ww], n) = (self.window, asked.len());
        // Scores in units of ln 2, for powers of two instead of e.
        let scale = (self.head_dim as f32).powf(-0.5) * std::f32::consts::LOG2_E;
        scratch.query.fill(0.0);
        for (lane, &query) in block.iter().enumerate() {
            let values = self.query(asked[query], head);
            for (line, &v) in scratch.query.chunks_exact_mut(QUERIES).zip(values) {
                line[lane] = v * scale;
            }
        }
        T::words(isa, &scratch.query, QUERIES, &mut scratch.block.query);
        match self.bias {
            Bias::Relative { .. } => {
                let mut axis = |table: &PackedTable,
                                side: usize,
                                place: &dyn Fn(usize) -> usize,
                                terms: &mut Vec<f32>| {
                    table.times(isa, &scratch.query, &mut scratch.products);
                    for (lane, &query) in block.iter().enumerate() {
                        let first = place(query) + side - 1;
                        for key in 0..side {
                            terms[key * QUERIES + lane] =
                                scratch.products[(first - key) * QUERIES + lane];
                        }
                    }
                };
                axis(
                    &tables.rows,
                    wh,
                    &|query| query / ww,
                    &mut scratch.row_terms,
                );
                axis(
                    &tables.columns,
                    ww,
                    &|query| query % ww,
                    &mut scratch.column_terms,
                );
            }
            Bias::Table(table) => {
                for (lane, &query) in block.iter().enumerate() {
                    let line = &table[(head * n + query) * n..][..n];
                    for (key, &v) in line.iter().enumerate() {
                        scratch.column_terms[key * QUERIES + lane] = v * std::f32::consts::LOG2_E;
                    }
                }
            }
            Bias::None => {}
        }
    }
}

/// Tokens of every window of a map (B, H, W), row by row; [`PADDING`] beyond it.
fn windows([batch, height, width]: [usize; 3], [wh, ww]: [usize; 2]) -> Vec<Vec<usize>> {
    let mut windows = Vec::new();
    for image in 0..batch {
        for y in (0..height).step_by(wh) {
            for x in (0..width).step_by(ww) {
                let token = |i: usize| {
                    let (y, x) = (y + i / ww, x + i % ww);
                    if y < height && x < width {
                        (image * height + y) * width + x
                    } else {
                        PADDING
                    }
                };
                windows.push((0..wh * ww).map(token).collect());
            }
        }
    }
    windows
}

/// The largest queries of each 2 × 2 tokens of a map with even sides: `[B, H, W, 3·C]` -> `[B, H/2, W/2, C]`.
pub(crate) fn pooled_queries(qkv: &[f32], [batch, height, width]: [usize; 3]) -> Vec<f32> {
    let stride = qkv.len() / (batch * height * width).max(1);
    let channels = stride / 3;
    let mut pooled = vec![0.0; batch * height * width * channels / 4];
    let rows = pooled.par_chunks_exact_mut((width / 2 * channels).max(1));
    rows.zip(qkv.par_chunks_exact((2 * width * stride).max(1)))
        .for_each(|(out, rows)| {
            let [upper, lower] = [&rows[..width * stride], &rows[width * stride..]];
            for (x, out) in out.chunks_exact_mut(channels).enumerate() {
                let query = |row: usize, column: usize| {
                    &[upper, lower][row][(2 * x + column) * stride..][..channels]
                };
                let (a, b, c, d) = (query(0, 0), query(0, 1), query(1, 0), query(1, 1));
                for (i, out) in out.iter_mut().enumerate() {
                    *out = a[i].max(b[i]).max(c[i].max(d[i]));
                }
            }
        });
    pooled
}

/// Where results go: windows and heads write to places of their own.
struct Output {
    start: *mut f32,
    channels: usize,
}

// SAFETY: `write` is called once for each token and head, whose places do not overlap.
#[expect(
    unsafe_code,
    reason = "tasks write to rows of one tensor that are not contiguous"
)]
unsafe impl Sync for Output {}

impl Output {
    fn write(&self, token: usize, channel: usize, row: &[f32], scale: f32) {
        #[expect(
            unsafe_code,
            reason = "tasks write to rows of one tensor that are not contiguous"
        )]
        // SAFETY: token and channel lie in the output, which has `channels` values for each token.
        let out = unsafe {
            std::slice::from_raw_parts_mut(
                self.start
                    .add(token * self.channels + channel)
                    .cast::<MaybeUninit<f32>>(),
                row.len(),
            )
        };
        for (o, v) in out.iter_mut().zip(row) {
            o.write(v * scale);
        }
    }
}

/// Relative-position tables as operands; of no rows where there are none.
struct Tables {
    rows: PackedTable,
    columns: PackedTable,
}

/// A table `[rows, d]` as `[tile][d][tile's rows]`.
struct PackedTable {
    data: Vec<f32>,
    d: usize,
}

impl Tables {
    fn new(isa: Isa, attention: &WindowAttention<'_>) -> Self {
        let d = attention.head_dim;
        let pack = |table: &[f32]| {
            // Queries are packed with the scale of the scores; position terms use them unscaled.
            let table: Vec<f32> = table.iter().map(|v| v * (d as f32).sqrt()).collect();
            PackedTable {
                data: pack_keys(isa, table.chunks_exact(d.max(1)), d),
                d,
            }
        };
        match attention.bias {
            Bias::Relative { rows, columns } => Self {
                rows: pack(rows),
                columns: pack(columns),
            },
            Bias::Table(_) | Bias::None => Self {
                rows: pack(&[]),
                columns: pack(&[]),
            },
        }
    }
}

impl PackedTable {
    /// `[rows, d] · [d, QUERIES]`
    fn times(&self, isa: Isa, query: &[f32], out: &mut [f32]) {
        let rows = self.data.len() / self.d.max(1);
        products(
            isa,
            &self.data,
            (query, QUERIES / LANES),
            self.d,
            &mut out[..rows * QUERIES],
        );
    }
}

/// Memory of a task.
struct Scratch<T> {
    block: Block<T>,
    /// `[d][QUERIES]`, scaled.
    query: Vec<f32>,
    /// A relative-position table times the queries.
    products: Vec<f32>,
    /// See [`Terms`].
    row_terms: Vec<f32>,
    column_terms: Vec<f32>,
}

impl<T: Operand> Scratch<T> {
    fn new(attention: &WindowAttention<'_>) -> Self {
        let (d, [wh, ww]) = (attention.head_dim, attention.window);
        let (rows, columns) = match attention.bias {
            Bias::Relative { .. } => (wh, ww),
            Bias::Table(_) => (1, wh * ww),
            Bias::None => (0, 0),
        };
        let table = (2 * wh.max(ww) - 1).next_multiple_of(KEY_STEP);
        Self {
            block: Block::new(d, d.next_multiple_of(LANES)),
            query: vec![0.0; d * QUERIES],
            products: vec![0.0; table * QUERIES],
            row_terms: vec![0.0; rows * QUERIES],
            column_terms: vec![0.0; columns * QUERIES],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::{noise, worst};

    /// By the definition, token by token, in double precision.
    fn plain(a: &WindowAttention<'_>) -> Vec<f32> {
        let ([batch, height, width], [_, ww], d) = (a.map, a.window, a.head_dim);
        let channels = a.heads * d;
        let all = windows(a.map, a.window);
        let asked = match a.pooled {
            Some(_) => windows(
                [batch, height / 2, width / 2],
                a.window.map(|side| side / 2),
            ),
            None => all.clone(),
        };
        let count = asked.iter().flatten().filter(|&&token| token != PADDING);
        let mut out = vec![f32::NAN; count.count() * channels];
        let dot = |x: &[f32], y: &[f32]| -> f64 {
            x.iter()
                .zip(y)
                .map(|(&x, &y)| f64::from(x) * f64::from(y))
                .sum()
        };
        for (tokens, asked) in all.iter().zip(&asked) {
            let n = tokens.len();
            for head in 0..a.heads {
                for query in (0..asked.len()).filter(|&i| asked[i] != PADDING) {
                    let q = a.query(asked[query], head);
                    let score = |key: usize| {
                        let k = a.values(tokens[key], head, QkvPart::Key);
                        let term = match a.bias {
                            Bias::Relative { rows, columns } => {
                                let [wh, ww] = a.window;
                                let row = query / ww + wh - 1 - key / ww;
                                let column = query % ww + ww - 1 - key % ww;
                                dot(q, &rows[row * d..][..d]) + dot(q, &columns[column * d..][..d])
                            }
                            Bias::Table(table) => f64::from(table[(head * n + query) * n + key]),
                            Bias::None => 0.0,
                        };
                        dot(q, k) / (d as f64).sqrt() + term
                    };
                    let scores: Vec<f64> = (0..n).map(score).collect();
                    let top = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                    let weights: Vec<f64> = scores.iter().map(|s| (s - top).exp()).collect();
                    let total: f64 = weights.iter().sum();
                    for c in 0..d {
                        let value =
                            |key: usize| f64::from(a.values(tokens[key], head, QkvPart::Value)[c]);
                        let sum: f64 = (0..n).map(|key| weights[key] * value(key)).sum();
                        out[asked[query] * channels + head * d + c] = (sum / total) as f32;
                    }
                }
            }
        }
        assert!(ww > 0 && out.iter().all(|v| v.is_finite()));
        out
    }

    fn check(map: [usize; 3], window: [usize; 2], heads: usize, d: usize) {
        let (tokens, n, channels) = (
            map.iter().product::<usize>(),
            window[0] * window[1],
            heads * d,
        );
        let qkv: Vec<f32> = noise(tokens * 3 * channels, 1)
            .iter()
            .map(|v| 2.0 * v)
            .collect();
        let padding = noise(3 * channels, 2);
        let (rows, columns) = (
            noise((2 * window[0] - 1) * d, 3),
            noise((2 * window[1] - 1) * d, 4),
        );
        let table = noise(heads * n * n, 5);
        let relative = Bias::Relative {
            rows: &rows,
            columns: &columns,
        };
        let even = map[1..].iter().chain(&window).all(|side| side % 2 == 0);
        let pooled = pooled_queries(&qkv, map);
        let pooled = even.then_some(pooled.as_slice());
        for (bias, layout, pooled) in [
            (relative, Layout::PartThenHead, None),
            (Bias::Table(&table), Layout::HeadThenPart, None),
            (Bias::None, Layout::PartThenHead, None),
            (Bias::None, Layout::PartThenHead, pooled),
        ] {
            let attention = WindowAttention {
                qkv: &qkv,
                padding: &padding,
                bias,
                map,
                window,
                heads,
                head_dim: d,
                layout,
                pooled,
            };
            let expected = plain(&attention);
            for isa in Isa::all() {
                let error = worst(&attention.run(isa, Arithmetic::F32), &expected);
                // Scores reach 50, whose last bit is 4e-6: exponentials are that uncertain.
                assert!(
                    error < 1e-5,
                    "{isa:?} {map:?} {window:?} {heads} {d}: {error}"
                );
                let error = worst(&attention.run(isa, Arithmetic::Bf16), &expected);
                assert!(
                    error < 3e-2,
                    "{isa:?} {map:?} {window:?} {heads} {d} bf16: {error}"
                );
            }
        }
    }

    #[test]
    fn every_shape_is_the_definition() {
        check([1, 1, 1], [1, 1], 1, 1);
        // The whole map: more keys than a block, more queries than a block, not square.
        check([1, 13, 17], [13, 17], 2, 16);
        // Windows that do not fill the map; odd head width; two images.
        check([2, 9, 11], [4, 5], 3, 7);
        // Windows larger than the map; the head widths of ViT-H and ViT-B.
        check([1, 5, 6], [7, 8], 1, 80);
        check([1, 14, 15], [14, 14], 1, 64);
        // Even sides, whose queries are pooled too; the last windows reach beyond the map.
        check([2, 8, 12], [4, 4], 2, 12);
        check([1, 10, 6], [4, 8], 1, 56);
    }

    #[test]
    fn pooled_queries_are_the_largest_of_four() {
        // Tokens of one channel: query, key, value; 2 × 4 of them.
        let qkv: Vec<f32> = (0..8u8).flat_map(|i| [f32::from(i), 90.0, 99.0]).collect();
        assert_eq!(pooled_queries(&qkv, [1, 2, 4]), [5.0, 7.0]);
        assert_eq!(pooled_queries(&qkv, [2, 2, 2]), [3.0, 7.0]);
    }

    #[test]
    fn large_scores_do_not_overflow() {
        let (map, window) = ([1, 1, 300], [1, 300]);
        let qkv: Vec<f32> = noise(300 * 3 * 4, 1).iter().map(|v| 200.0 * v).collect();
        let table = vec![0.0; 300 * 300];
        let attention = WindowAttention {
            qkv: &qkv,
            padding: &[0.0; 12],
            bias: Bias::Table(&table),
            map,
            window,
            heads: 1,
            head_dim: 4,
            layout: Layout::PartThenHead,
            pooled: None,
        };
        let expected = plain(&attention);
        for isa in Isa::all() {
            // Scores reach 10^5, whose last bit is 2^-6: exponentials are that uncertain.
            let error = worst(&attention.run(isa, Arithmetic::F32), &expected);
            assert!(error < 2e-2, "{isa:?}: {error}");
        }
    }
}
