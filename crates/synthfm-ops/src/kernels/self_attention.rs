//! Attention of tokens among themselves, `softmax(q·k / √d) v` for each head (Vaswani et al. 2017), and its gradient.
//!
//! A task is one head of one image: keys and values are brought into the operands' form once, and queries are taken in
//! blocks whose scores for all keys are held at once. The backward pass makes the scores again. Every sum is taken in a
//! fixed order.

use rayon::prelude::*;

use super::activation::exp_nonpositive;
use super::isa::{Isa, multiversion};
use super::linear::Arithmetic;
use super::strip::{Outer, PANEL, ROWS, Strip, StripOperand};
use super::tile::{Bf16Pair, LANES};

/// Queries of a block.
const QUERIES: usize = 64;

/// Attention with `[images, tokens, 3, heads, d]`: queries, keys and values, unscaled.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SelfAttention<'a> {
    pub(crate) qkv: &'a [f32],
    pub(crate) images: usize,
    pub(crate) tokens: usize,
    pub(crate) heads: usize,
    /// d
    pub(crate) head_dim: usize,
}

impl SelfAttention<'_> {
    /// # Shapes
    /// -> `[images, tokens, heads, d]`
    pub(crate) fn run(&self, isa: Isa, arithmetic: Arithmetic) -> Vec<f32> {
        match arithmetic {
            Arithmetic::F32 | Arithmetic::F16 => self.run_in::<f32>(isa),
            Arithmetic::Bf16 => self.run_in::<Bf16Pair>(isa),
        }
    }

    /// By queries, keys and values; `grad` is as the result of [`Self::run`].
    ///
    /// # Shapes
    /// -> `[images, tokens, 3, heads, d]`
    pub(crate) fn grad(&self, isa: Isa, grad: &[f32], arithmetic: Arithmetic) -> Vec<f32> {
        match arithmetic {
            Arithmetic::F32 | Arithmetic::F16 => self.grad_in::<f32>(isa, grad),
            Arithmetic::Bf16 => self.grad_in::<Bf16Pair>(isa, grad),
        }
    }

    fn run_in<T: StripOperand>(&self, isa: Isa) -> Vec<f32> {
        self.each_head(1, |image, head| {
            let part = |part| self.part(self.qkv, [image, 3, part], head);
            Head::<T>::new(isa, &part(0), &part(1), self.head_dim).run(&part(2))
        })
    }

    fn grad_in<T: StripOperand>(&self, isa: Isa, grad: &[f32]) -> Vec<f32> {
        assert_eq!(3 * grad.len(), self.qkv.len(), "grad is [B, n, C]");
        self.each_head(3, |image, head| {
            let part = |part| self.part(self.qkv, [image, 3, part], head);
            let (key, value) = (part(1), part(2));
            let grad = self.part(grad, [image, 1, 0], head);
            Head::<T>::new(isa, &part(0), &key, self.head_dim).grad(&key, &value, &grad)
        })
    }

    /// What `of_head` gives for each head, `[parts][tokens][d]`, as `[images, tokens, parts, heads, d]`.
    fn each_head(
        &self,
        parts: usize,
        of_head: impl Fn(usize, usize) -> Vec<f32> + Sync,
    ) -> Vec<f32> {
        let Self {
            images,
            tokens,
            heads,
            head_dim: d,
            ..
        } = *self;
        assert_eq!(
            self.qkv.len(),
            images * tokens * 3 * heads * d,
            "qkv is [B, n, 3 C]"
        );
        if self.qkv.is_empty() {
            return Vec::new();
        }
        let each: Vec<Vec<f32>> = (0..images * heads)
            .into_par_iter()
            .map(|i| of_head(i / heads, i % heads))
            .collect();
        let mut out = Vec::with_capacity(images * tokens * parts * heads * d);
        for image in each.chunks_exact(heads.max(1)) {
            for token in 0..tokens {
                for part in 0..parts {
                    let place = (part * tokens + token) * d;
                    for head in image {
                        out.extend_from_slice(&head[place..place + d]);
                    }
                }
            }
        }
        out
    }

    /// A head's rows `[tokens][d]` of part `part` of `parts` of an image.
    fn part(&self, all: &[f32], [image, parts, part]: [usize; 3], head: usize) -> Vec<f32> {
        let d = self.head_dim;
        let row = self.heads * d;
        let mut rows = Vec::with_capacity(self.tokens * d);
        for token in 0..self.tokens {
            let from = ((image * self.tokens + token) * parts + part) * row + head * d;
            rows.extend_from_slice(&all[from..from + d]);
        }
        rows
    }
}

/// A product's second operand: `[panel][words of k][PANEL]`.
struct Panels<T> {
    words: Vec<T>,
    /// Words of k.
    k: usize,
}

impl<T: StripOperand> Panels<T> {
    /// Rows `[k][columns]`.
    fn of_rows(isa: Isa, rows: &[f32], columns: usize) -> Self {
        let count = rows.len() / columns;
        let k = count.div_ceil(T::PER_WORD);
        let mut words = vec![T::default(); columns.div_ceil(PANEL) * k * PANEL];
        for (i, panel) in words.chunks_exact_mut(k * PANEL).enumerate() {
            let first = i * PANEL;
            let size = [count, PANEL.min(columns - first), columns];
            T::columns(isa, &rows[first..], size, PANEL, panel);
        }
        Self { words, k }
    }

    /// Rows `[columns][k]`.
    fn transposed(isa: Isa, rows: &[f32], k: usize) -> Self {
        let (count, size) = (rows.len() / k, k);
        let k = k.div_ceil(T::PER_WORD);
        let mut words = vec![T::default(); count.div_ceil(PANEL) * k * PANEL];
        for (panel, rows) in words
            .chunks_exact_mut(k * PANEL)
            .zip(rows.chunks(PANEL * size))
        {
            let mut lines = vec![T::default(); k * PANEL];
            for (line, row) in lines.chunks_exact_mut(k).zip(rows.chunks_exact(size)) {
                T::row_words(isa, row, line);
            }
            T::turn(isa, &lines, PANEL, panel);
        }
        Self { words, k }
    }

    /// `out = rows · this`; `rows`: `[m][stride]`, of which k count, `out`: `[m][all panels]`, m a multiple of [`ROWS`].
    fn multiplied(&self, isa: Isa, rows: &[f32], [stride, k]: [usize; 2], out: &mut [f32]) {
        let (m, width) = (rows.len() / stride, self.width());
        let mut own = Vec::new();
        let (words, pitch) = if let Some(words) = T::in_place(rows) {
            (words, stride)
        } else {
            own.resize(m * self.k, T::default());
            for (line, row) in own.chunks_exact_mut(self.k).zip(rows.chunks_exact(stride)) {
                T::row_words(isa, &row[..k], line);
            }
            (own.as_slice(), self.k)
        };
        assert!(
            m.is_multiple_of(ROWS) && k.div_ceil(T::PER_WORD) == self.k,
            "sizes"
        );
        assert!(
            words.len() >= m * pitch && pitch >= self.k,
            "m rows of words"
        );
        assert_eq!(out.len(), m * width, "a row of panels for each row");
        let zeros = [0.0_f32; PANEL];
        for (i, panel) in self.words.chunks_exact(self.k * PANEL).enumerate() {
            for row in (0..m).step_by(ROWS) {
                let strip = Strip {
                    patches: words[row * pitch..].as_ptr(),
                    pitch,
                    lines: 1,
                    words: self.k,
                    step: 0,
                    weights: panel.as_ptr(),
                    vectors: PANEL / LANES,
                    bias: zeros.as_ptr(),
                    floor: f32::NEG_INFINITY,
                    residual: std::ptr::null(),
                    out: out[row * width + i * PANEL..].as_mut_ptr(),
                    stride: width,
                };
                #[expect(unsafe_code, reason = "the strip takes pointers")]
                // SAFETY: eight rows of words and of `out` follow from `row` on, by the assertions above; the panel holds
                // the words of k.
                unsafe {
                    T::strip(isa, &strip);
                }
            }
        }
    }

    /// Values of a row of a product.
    fn width(&self) -> usize {
        self.words.len() / self.k
    }
}

/// Sums `[block of rows][panel][ROWS][PANEL]` of `aᵀ · b` over queries.
struct Transposed<T> {
    sums: Vec<f32>,
    /// A block of a's columns.
    block: Vec<T>,
}

impl<T: StripOperand> Transposed<T> {
    fn new(rows: usize, columns: usize) -> Self {
        let blocks = rows.div_ceil(ROWS) * columns.div_ceil(PANEL);
        Self {
            sums: vec![0.0; blocks * ROWS * PANEL],
            block: vec![T::default(); QUERIES / T::PER_WORD * ROWS],
        }
    }

    /// Adds the products of as many rows as `b` has words of; `a`: `[rows][stride]`, a multiple of [`ROWS`].
    fn add(&mut self, isa: Isa, a: &[f32], stride: usize, b: &Panels<T>) {
        let panels = b.width() / PANEL;
        let words = b.k;
        assert!(a.len() / stride / T::PER_WORD >= words, "as many rows");
        let sums = self.sums.chunks_exact_mut(panels * ROWS * PANEL);
        for (i, sums) in sums.enumerate() {
            let count = a.len() / stride / T::PER_WORD * ROWS;
            T::block(isa, a, [stride, i * ROWS], &mut self.block[..count]);
            for (panel, sums) in sums.chunks_exact_mut(ROWS * PANEL).enumerate() {
                let outer = Outer {
                    lines: 1,
                    words,
                    a: self.block[..words * ROWS].as_ptr(),
                    a_step: 0,
                    b: b.words[panel * words * PANEL..][..words * PANEL].as_ptr(),
                    b_step: 0,
                    vectors: PANEL / LANES,
                    sums: sums.as_mut_ptr(),
                };
                #[expect(unsafe_code, reason = "the product takes pointers")]
                // SAFETY: the words of block and panel were cut to size above, and `sums` is a block of a panel.
                unsafe {
                    T::outer(isa, &outer);
                }
            }
        }
    }

    /// The first `rows` rows of `columns` values.
    fn rows(&self, rows: usize, columns: usize, out: &mut Vec<f32>) {
        let panels = columns.div_ceil(PANEL);
        for row in 0..rows {
            for panel in 0..panels {
                let from = ((row / ROWS * panels + panel) * ROWS + row % ROWS) * PANEL;
                let width = PANEL.min(columns - panel * PANEL);
                out.extend_from_slice(&self.sums[from..from + width]);
            }
        }
    }
}

/// One head of one image.
struct Head<T> {
    isa: Isa,
    /// Scaled by 1 / √d, `[tokens][d]`.
    query: Vec<f32>,
    /// By keys as columns.
    keys: Panels<T>,
    tokens: usize,
    d: usize,
    /// 1 / √d
    scale: f32,
}

impl<T: StripOperand> Head<T> {
    /// `query`, `key`: `[tokens][d]`, neither of them empty.
    fn new(isa: Isa, query: &[f32], key: &[f32], d: usize) -> Self {
        let scale = (d as f32).powf(-0.5);
        Self {
            isa,
            query: query.iter().map(|q| q * scale).collect(),
            keys: Panels::transposed(isa, key, d),
            tokens: query.len() / d,
            d,
            scale,
        }
    }

    /// `[tokens][d]` -> `[tokens][d]`
    fn run(&self, value: &[f32]) -> Vec<f32> {
        let values = Panels::of_rows(self.isa, value, self.d);
        let mut out = Vec::with_capacity(value.len());
        for query in self.query.chunks(QUERIES * self.d) {
            let weights = self.weights(query);
            let mixed = self.product(&values, &weights, [self.keys.width(), self.tokens]);
            self.keep(&mixed, values.width(), query.len() / self.d, 1.0, &mut out);
        }
        out
    }

    /// By query, key and value, one after the other; all as `key`.
    fn grad(&self, key: &[f32], value: &[f32], grad: &[f32]) -> Vec<f32> {
        let (isa, d, tokens) = (self.isa, self.d, self.tokens);
        let values = Panels::transposed(isa, value, d);
        let key_rows = Panels::of_rows(isa, key, d);
        let [mut by_key, mut by_value] = [(); 2].map(|()| Transposed::<T>::new(tokens, d));
        let mut out = Vec::with_capacity(3 * key.len());
        for (query, grad) in self.query.chunks(QUERIES * d).zip(grad.chunks(QUERIES * d)) {
            let weights = self.weights(query);
            let width = self.keys.width();
            let rows = query.len() / d;
            by_value.add(isa, &weights, width, &Panels::of_rows(isa, grad, d));
            let mut by_score = self.product(&values, &padded(grad, d), [d, d]);
            softmax_grad(isa, &weights, width, &mut by_score);
            by_key.add(isa, &by_score, width, &Panels::of_rows(isa, query, d));
            let by_query = self.product(&key_rows, &by_score, [width, tokens]);
            self.keep(&by_query, key_rows.width(), rows, self.scale, &mut out);
        }
        by_key.rows(tokens, d, &mut out);
        by_value.rows(tokens, d, &mut out);
        out
    }

    /// Softmax of a block's scores, `[queries, in whole strips][tokens, in whole panels]`; zero beyond queries and tokens.
    fn weights(&self, query: &[f32]) -> Vec<f32> {
        let mut scores = self.product(&self.keys, &padded(query, self.d), [self.d, self.d]);
        let (real, rest) = scores.split_at_mut(query.len() / self.d * self.keys.width());
        softmax(self.isa, real, self.keys.width(), self.tokens);
        rest.fill(0.0);
        scores
    }

    /// `rows` times `by`, see [`Panels::multiplied`].
    fn product(&self, by: &Panels<T>, rows: &[f32], [stride, k]: [usize; 2]) -> Vec<f32> {
        let mut out = vec![0.0; rows.len() / stride * by.width()];
        by.multiplied(self.isa, rows, [stride, k], &mut out);
        out
    }

    /// The first `rows` rows of `product`, d of `width` values each, times `scale`.
    fn keep(&self, product: &[f32], width: usize, rows: usize, scale: f32, out: &mut Vec<f32>) {
        for row in product.chunks_exact(width).take(rows) {
            out.extend(row[..self.d].iter().map(|v| v * scale));
        }
    }
}

/// Rows of `d` values, filled up with zeros to whole strips.
fn padded(rows: &[f32], d: usize) -> Vec<f32> {
    let mut padded = rows.to_vec();
    padded.resize((rows.len() / d).next_multiple_of(ROWS) * d, 0.0);
    padded
}

multiversion! {
    /// Softmax of the first `count` values of rows of `width`, a multiple of [`LANES`]; the others become zero.
    fn softmax(isa: Isa, scores: &mut [f32], width: usize, count: usize) {
        for row in scores.chunks_exact_mut(width) {
            row[count..].fill(f32::NEG_INFINITY);
            let mut lanes = [f32::NEG_INFINITY; LANES];
            for part in row.as_chunks::<LANES>().0 {
                for (max, &score) in lanes.iter_mut().zip(part) {
                    *max = if score > *max { score } else { *max };
                }
            }
            let max = lanes.iter().fold(f32::NEG_INFINITY, |max, &score| max.max(score));
            for score in &mut *row {
                *score = exp_nonpositive(*score - max);
            }
            row[count..].fill(0.0);
            let mut lanes = [0.0_f32; LANES];
            for part in row.as_chunks::<LANES>().0 {
                for (sum, &power) in lanes.iter_mut().zip(part) {
                    *sum += power;
                }
            }
            let factor = 1.0 / lanes.iter().sum::<f32>();
            for power in row {
                *power *= factor;
            }
        }
    }
}

multiversion! {
    /// The gradient by the scores in place of that by the weights: w·(g - Σ w·g), over rows of `width`, a multiple of
    /// [`LANES`].
    fn softmax_grad(isa: Isa, weights: &[f32], width: usize, grad: &mut [f32]) {
        for (weights, grad) in weights.chunks_exact(width).zip(grad.chunks_exact_mut(width)) {
            let mut lanes = [0.0_f32; LANES];
            for (weights, grad) in weights.as_chunks::<LANES>().0.iter().zip(grad.as_chunks().0) {
                for (sum, (w, g)) in lanes.iter_mut().zip(weights.iter().zip::<&[f32; LANES]>(grad)) {
                    *sum += w * g;
                }
            }
            let dot = lanes.iter().sum::<f32>();
            for (g, w) in grad.iter_mut().zip(weights) {
                *g = w * (*g - dot);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{noise, worst};
    use super::*;

    /// Attention in double precision, and its gradients for `grad`, in the operation's layouts.
    fn expected(of: SelfAttention<'_>, grad: &[f32]) -> [Vec<f32>; 2] {
        let SelfAttention {
            qkv,
            images,
            tokens: n,
            heads,
            head_dim: d,
        } = of;
        let (mut out, mut by) = (vec![0.0_f64; grad.len()], vec![0.0_f64; qkv.len()]);
        let scale = 1.0 / (d as f64).sqrt();
        for (image, head) in (0..images).flat_map(|i| (0..heads).map(move |h| (i, h))) {
            let at =
                |token: usize, part: usize| (((image * n + token) * 3 + part) * heads + head) * d;
            let to = |token: usize| ((image * n + token) * heads + head) * d;
            let dot = |a: &[f32], b: &[f32]| -> f64 {
                a.iter()
                    .zip(b)
                    .map(|(&a, &b)| f64::from(a) * f64::from(b))
                    .sum()
            };
            for i in 0..n {
                let q = &qkv[at(i, 0)..][..d];
                let g = &grad[to(i)..][..d];
                let powers: Vec<f64> = (0..n)
                    .map(|j| (scale * dot(q, &qkv[at(j, 1)..][..d])).exp())
                    .collect();
                let sum: f64 = powers.iter().sum();
                let by_weight: Vec<f64> = (0..n).map(|j| dot(g, &qkv[at(j, 2)..][..d])).collect();
                let mean: f64 = (0..n).map(|j| powers[j] / sum * by_weight[j]).sum();
                for j in 0..n {
                    let weight = powers[j] / sum;
                    let by_score = scale * weight * (by_weight[j] - mean);
                    for c in 0..d {
                        out[to(i) + c] += weight * f64::from(qkv[at(j, 2) + c]);
                        by[at(j, 2) + c] += weight * f64::from(g[c]);
                        by[at(i, 0) + c] += by_score * f64::from(qkv[at(j, 1) + c]);
                        by[at(j, 1) + c] += by_score * f64::from(q[c]);
                    }
                }
            }
        }
        [out, by].map(|values| values.into_iter().map(|v| v as f32).collect())
    }

    #[test]
    fn equals_double_precision() {
        // Tokens and channels that fill no strip, panel or word, and that fill several.
        for [images, tokens, heads, head_dim] in [
            [2, 1, 1, 1],
            [1, 9, 3, 5],
            [2, 64, 8, 32],
            [1, 77, 2, 40],
            [1, 130, 1, 33],
        ] {
            let count = images * tokens * heads * head_dim;
            let qkv: Vec<f32> = noise(3 * count, 1).iter().map(|v| 2.0 * v).collect();
            let grad = noise(count, 2);
            let attention = SelfAttention {
                qkv: &qkv,
                images,
                tokens,
                heads,
                head_dim,
            };
            let [out, by] = expected(attention, &grad);
            for isa in Isa::all() {
                // Operands of bf16 are off by 2^-9 at most.
                for (arithmetic, allowed) in [(Arithmetic::F32, 2e-6), (Arithmetic::Bf16, 1e-2)] {
                    let what = format!("{tokens} of {heads}·{head_dim}, {isa:?} {arithmetic:?}");
                    let off = worst(&attention.run(isa, arithmetic), &out);
                    assert!(off < allowed, "{what}: {off}");
                    let off = worst(&attention.grad(isa, &grad, arithmetic), &by);
                    assert!(off < allowed, "gradient, {what}: {off}");
                }
            }
        }
    }

    #[test]
    fn large_scores_choose_one_value() {
        // Each token's score for itself is larger than for the others by more than any exponent holds.
        let qkv = [
            300.0, 0.0, 300.0, 0.0, 1.0, 2.0, 0.0, 300.0, 0.0, 300.0, 3.0, 4.0,
        ];
        let attention = SelfAttention {
            qkv: &qkv,
            images: 1,
            tokens: 2,
            heads: 1,
            head_dim: 2,
        };
        for isa in Isa::all() {
            for arithmetic in [Arithmetic::F32, Arithmetic::Bf16] {
                assert_eq!(attention.run(isa, arithmetic), [1.0, 2.0, 3.0, 4.0]);
                let grad = attention.grad(isa, &[1.0, 1.0, 1.0, 1.0], arithmetic);
                let expected = [0.0, 0.0, 0.0, 0.0, 1.0, 1.0];
                let mut pairs = grad.iter().zip(expected.iter().cycle());
                // The smallest exponential is not quite zero.
                assert!(
                    pairs.all(|(g, e)| (g - e).abs() < 1e-30),
                    "{isa:?}: {grad:?}"
                );
            }
        }
    }
}
