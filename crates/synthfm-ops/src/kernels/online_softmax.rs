//! Softmax-weighted sums that never hold all scores: the core of every attention here.
//!
//! Softmax is computed online over blocks of keys (Milakov and Gimelshein 2018; Dao et al. 2022). Scores
//! are held transposed, a block of keys by up to 48 queries, so that every lane of a vector is one query and
//! the block, once exponentiated, is the next product's packed operand. Exponentials are powers of two:
//! callers scale their queries by log2 e.

use super::activation::nearest_power;
use super::isa::{Isa, multiversion};
use super::tile::{LANES, MAX_VECTORS, Operand, Tile};

/// Most queries per block: one panel of the score product.
pub(super) const QUERIES: usize = 48;
const QUERY_VECTORS: usize = QUERIES / LANES;
/// Keys per block: their scores (23 kB) stay in the first-level cache.
const KEYS: usize = 120;
/// Keys are filled up to a multiple of every tile's rows.
pub(super) const KEY_STEP: usize = 24;

/// Keys and values as operands.
#[derive(Debug, Clone, Copy)]
pub(super) struct KeysValues<'a, T> {
    /// `[tile][words of d][tile's rows]`, see [`pack_keys`].
    pub(super) keys: &'a [T],
    /// `[words of keys][width]`, see [`pack_values`].
    pub(super) values: &'a [T],
    pub(super) count: usize,
    /// Words of a key.
    pub(super) words: usize,
    /// Values of a key, in whole vectors.
    pub(super) width: usize,
}

/// What is added to the scores, `[rows][QUERIES]` and `[columns][QUERIES]`: key i's term is that of row
/// `i / columns` plus that of column `i % columns`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms<'a> {
    pub(super) rows: &'a [f32],
    pub(super) columns: &'a [f32],
}

/// A block of queries and what is known of them.
pub(super) struct Block<T> {
    /// `[words of d][QUERIES]`, scaled.
    pub(super) query: Vec<T>,
    /// Lanes in use, in vectors.
    pub(super) vectors: usize,
    /// Weighted sums `[QUERIES][width]`, to be divided by the lanes' sums.
    pub(super) out: Vec<f32>,
    pub(super) lanes: Lanes,
    /// `[KEYS][QUERIES]`
    scores: Vec<f32>,
    /// The exponentiated scores as an operand, `[words of KEYS][QUERIES]`.
    weights: Vec<T>,
}

/// What online softmax knows of each query.
#[derive(Debug, Clone)]
pub(super) struct Lanes {
    /// Largest score so far.
    pub(super) max: [f32; QUERIES],
    /// Sum of the exponentials.
    pub(super) sum: [f32; QUERIES],
    /// What earlier exponentials must be multiplied by.
    factor: [f32; QUERIES],
}

impl<T: Operand> Block<T> {
    /// For keys of `d` values and sums of `width`.
    pub(super) fn new(d: usize, width: usize) -> Self {
        Self {
            query: vec![T::default(); d.div_ceil(T::PER_WORD) * QUERIES],
            vectors: QUERY_VECTORS,
            out: vec![0.0; QUERIES * width],
            lanes: Lanes::new(),
            scores: vec![0.0; KEYS * QUERIES],
            weights: vec![T::default(); KEYS / T::PER_WORD * QUERIES],
        }
    }

    /// Softmax-weighted sum of the values for the block's queries.
    pub(super) fn attend(&mut self, isa: Isa, packed: KeysValues<'_, T>, terms: Option<Terms<'_>>) {
        let KeysValues {
            keys,
            values,
            count: all,
            words,
            width,
        } = packed;
        self.lanes = Lanes::new();
        self.out.fill(0.0);
        let filled = all.next_multiple_of(KEY_STEP);
        for first in (0..filled).step_by(KEYS) {
            let count = KEYS.min(filled - first);
            let scores = &mut self.scores[..count * QUERIES];
            products(
                isa,
                &keys[first * words..][..count * words],
                (&self.query, self.vectors),
                words,
                scores,
            );
            let real = count.min(all - first);
            exponentiate(
                isa,
                scores,
                [first, real, self.vectors],
                terms,
                &mut self.lanes,
            );
            let weights = &mut self.weights[..count / T::PER_WORD * QUERIES];
            T::words(isa, scores, QUERIES, weights);
            if first > 0 && self.lanes.factor.iter().any(|&f| f < 1.0) {
                scale_rows(isa, &mut self.out, width, &self.lanes.factor);
            }
            let real = real.div_ceil(T::PER_WORD);
            let values = &values[first / T::PER_WORD * width..][..real * width];
            weighted_sum(
                isa,
                (&weights[..real * QUERIES], self.vectors),
                values,
                width,
                &mut self.out,
            );
        }
    }
}

impl Lanes {
    const fn new() -> Self {
        Self {
            max: [f32::NEG_INFINITY; QUERIES],
            sum: [0.0; QUERIES],
            factor: [1.0; QUERIES],
        }
    }
}

/// Rows of d values as `[tile][words][tile's rows]`, filled up with zeros to a multiple of [`KEY_STEP`].
pub(super) fn pack_keys<'a, T: Operand>(
    isa: Isa,
    rows: impl ExactSizeIterator<Item = &'a [f32]>,
    d: usize,
) -> Vec<T> {
    let (side, words) = (T::rows(isa, QUERY_VECTORS), d.div_ceil(T::PER_WORD));
    let mut packed = vec![T::default(); rows.len().next_multiple_of(KEY_STEP) * words];
    let mut lines = vec![T::default(); side * words];
    let mut rows = rows;
    for tile in packed.chunks_exact_mut((side * words).max(1)) {
        for line in lines.chunks_exact_mut(words) {
            match rows.next() {
                Some(row) => T::row_words(isa, row, line),
                None => line.fill(T::default()),
            }
        }
        T::turn(isa, &lines, side, tile);
    }
    packed
}

/// Rows of d values as `[words of rows][d, in whole vectors]`, filled up as the keys are.
pub(super) fn pack_values<'a, T: Operand>(
    rows: impl ExactSizeIterator<Item = &'a [f32]>,
    d: usize,
) -> Vec<T> {
    let width = d.next_multiple_of(LANES);
    let mut packed =
        vec![T::default(); rows.len().next_multiple_of(KEY_STEP) / T::PER_WORD * width];
    let zeros = vec![0.0; d];
    let mut rows = rows;
    for line in packed.chunks_exact_mut(width.max(1)) {
        let even = rows.next().unwrap_or(&zeros);
        let odd = if T::PER_WORD == 2 {
            rows.next().unwrap_or(&zeros)
        } else {
            &zeros
        };
        for (word, (&even, &odd)) in line.iter_mut().zip(even.iter().zip(odd)) {
            *word = T::word(even, odd);
        }
    }
    packed
}

/// C = A·B for whole tiles of packed rows and one panel of queries, of which so many vectors; C is
/// `[rows][QUERIES]`.
pub(super) fn products<T: Operand>(
    isa: Isa,
    a: &[T],
    (query, vectors): (&[T], usize),
    words: usize,
    c: &mut [f32],
) {
    let side = T::rows(isa, QUERY_VECTORS);
    assert_eq!(
        a.len() * QUERIES,
        c.len() * words,
        "A and C have equally many rows"
    );
    assert!(c.len().is_multiple_of(side * QUERIES), "whole tiles");
    assert_eq!(query.len(), words * QUERIES, "queries are [words][QUERIES]");
    assert!((1..=QUERY_VECTORS).contains(&vectors), "vectors of a panel");
    for (a, c) in a
        .chunks_exact((words * side).max(1))
        .zip(c.chunks_exact_mut(side * QUERIES))
    {
        let tile = Tile {
            k: words,
            a: a.as_ptr(),
            a_stride: side,
            b: query.as_ptr(),
            b_stride: QUERIES,
            vectors,
            c: c.as_mut_ptr(),
            c_stride: QUERIES,
            accumulate: false,
        };
        #[expect(
            unsafe_code,
            reason = "the tile takes pointers; bounds are asserted above"
        )]
        // SAFETY: A's chunk has `side` rows of `words`, B all its words, and C's chunk `side` rows.
        unsafe {
            T::tile(isa, tile);
        }
    }
}

/// `out[q] += Σ_k weights[k][q] · values[k]`
fn weighted_sum<T: Operand>(
    isa: Isa,
    (weights, vectors_of_queries): (&[T], usize),
    values: &[T],
    width: usize,
    out: &mut [f32],
) {
    let words = weights.len() / QUERIES;
    assert_eq!(values.len(), words * width, "values are [words][width]");
    assert_eq!(out.len(), QUERIES * width, "out is [QUERIES][width]");
    assert!(width.is_multiple_of(LANES), "whole vectors");
    let mut column = 0;
    while column < width {
        let left = (width - column) / LANES;
        // 5 vectors as 3 and 2: a tile of one column of vectors wastes loads.
        let vectors = if left == MAX_VECTORS + 1 {
            3
        } else {
            left.min(MAX_VECTORS)
        };
        let side = T::rows(isa, vectors);
        for query in (0..vectors_of_queries * LANES).step_by(side) {
            let tile = Tile {
                k: words,
                a: weights[query..].as_ptr(),
                a_stride: QUERIES,
                b: values[column..].as_ptr(),
                b_stride: width,
                vectors,
                c: out[query * width + column..].as_mut_ptr(),
                c_stride: width,
                accumulate: true,
            };
            #[expect(
                unsafe_code,
                reason = "the tile takes pointers; bounds are asserted above"
            )]
            // SAFETY: QUERIES is a multiple of every tile's rows, so that the last one ends within it, and `column`
            // and `vectors` lie within the width: the tile lies within the slices measured above.
            unsafe {
                T::tile(isa, tile);
            }
        }
        column += vectors * LANES;
    }
}

multiversion! {
    /// Scores `[keys][QUERIES]` become 2^(score + terms - max) and 0 beyond the `real` keys; `lanes` takes
    /// them in. `place`: first key, real keys, vectors of queries.
    fn exponentiate(
        isa: Isa,
        scores: &mut [f32],
        place: [usize; 3],
        terms: Option<Terms<'_>>,
        lanes: &mut Lanes,
    ) {
        let [first, real, vectors] = place;
        let (scores, rest) = scores.split_at_mut(real * QUERIES);
        rest.fill(0.0);
        for lane in (0..vectors * LANES).step_by(LANES) {
            let mut top = [0.0_f32; LANES];
            top.copy_from_slice(&lanes.max[lane..lane + LANES]);
            let before = top;
            if let Some(Terms { rows, columns }) = terms {
                let count = columns.len() / QUERIES;
                let (mut row, mut column) = (first / count, first % count);
                for scores in scores.chunks_exact_mut(QUERIES) {
                    let scores = &mut scores[lane..lane + LANES];
                    let by_row = &rows[row * QUERIES + lane..][..LANES];
                    let by_column = &columns[column * QUERIES + lane..][..LANES];
                    for i in 0..LANES {
                        let v = scores[i] + by_row[i] + by_column[i];
                        scores[i] = v;
                        top[i] = if v > top[i] { v } else { top[i] };
                    }
                    column += 1;
                    if column == count {
                        (row, column) = (row + 1, 0);
                    }
                }
            } else {
                for scores in scores.chunks_exact_mut(QUERIES) {
                    let scores = &scores[lane..lane + LANES];
                    for i in 0..LANES {
                        top[i] = if scores[i] > top[i] { scores[i] } else { top[i] };
                    }
                }
            }
            let mut total = [0.0_f32; LANES];
            for scores in scores.chunks_exact_mut(QUERIES) {
                let scores = &mut scores[lane..lane + LANES];
                for i in 0..LANES {
                    let v = exp2_nonpositive(scores[i] - top[i]);
                    scores[i] = v;
                    total[i] += v;
                }
            }
            for i in 0..LANES {
                let f = exp2_nonpositive(before[i] - top[i]);
                lanes.factor[lane + i] = f;
                lanes.sum[lane + i] = lanes.sum[lane + i] * f + total[i];
                lanes.max[lane + i] = top[i];
            }
        }
    }
}

multiversion! {
    fn scale_rows(isa: Isa, out: &mut [f32], width: usize, factor: &[f32; QUERIES]) {
        for (row, &f) in out.chunks_exact_mut(width).zip(factor) {
            for v in row {
                *v *= f;
            }
        }
    }
}

/// 2^x for x <= 0 (0 below -126), relative error below 3e-7: the series of degree 6 around the nearest integer.
#[inline(always)]
pub(super) fn exp2_nonpositive(x: f32) -> f32 {
    let x = if x > -126.0 { x } else { -127.0 };
    let (n, power) = nearest_power(x);
    let f = x - n;
    let p = 1.333_355_8e-3 + f * 1.540_353e-4;
    let p = 9.618_129e-3 + f * p;
    let p = 5.550_411e-2 + f * p;
    let p = 0.240_226_5 + f * p;
    let p = std::f32::consts::LN_2 + f * p;
    let p = 1.0 + f * p;
    power * p
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_of_two_follow_the_library() {
        for i in 0..12_600 {
            let x = -(i as f32) * 0.01;
            let (got, expected) = (exp2_nonpositive(x), x.exp2());
            assert!(
                (got - expected).abs() <= 3e-7 * expected,
                "{x}: {got}, {expected}"
            );
        }
        assert!(exp2_nonpositive(f32::NEG_INFINITY) == 0.0);
    }
}
