//! Products with a block of an image map's cells, in the order that attention with few tokens wants: channels by
//! cells, so that a vector holds one channel of [`LANES`] cells.

use super::isa::{Isa, multiversion};
use super::tile::{LANES, Operand, Tile};

/// Cells of a block: whole tiles and vectors.
pub(super) const BLOCK: usize = 96;
/// Rows of a product are filled up to a multiple of every tile's.
const ROW_STEP: usize = 24;
/// Widest tile in vectors: with it, the rows of an AVX-512 tile divide a block.
const VECTORS: usize = 3;
/// Rows that are turned at once.
const TURN: usize = 8;

/// `rows` filled up to whole tiles.
pub(super) const fn padded_rows(rows: usize) -> usize {
    rows.next_multiple_of(ROW_STEP)
}

/// `columns` filled up to whole vectors.
pub(super) const fn padded_columns(columns: usize) -> usize {
    columns.next_multiple_of(LANES)
}

/// Factor of a product: `[words][stride]`, of which `used` values of each word are meant.
#[derive(Clone, Copy)]
pub(super) struct Factor<'a, T> {
    pub(super) words: &'a [T],
    pub(super) stride: usize,
    pub(super) used: usize,
}

/// `C = Aᵀ·B`, or `C += Aᵀ·B`, over the words that both factors have; C is `[rows][stride]`. Rows and columns beyond those in
/// use, up to whole tiles and vectors, get values without meaning.
pub(super) fn product<T: Operand>(
    isa: Isa,
    a: Factor<'_, T>,
    b: Factor<'_, T>,
    (c, stride): (&mut [f32], usize),
    accumulate: bool,
) {
    let k = a.words.len() / a.stride;
    assert_eq!(k, b.words.len() / b.stride, "as many words");
    let (rows, columns) = (padded_rows(a.used), padded_columns(b.used));
    assert!(rows <= a.stride, "A is filled up to whole tiles");
    assert!(columns <= b.stride, "B is filled up to whole vectors");
    assert!(columns <= stride && c.len() >= rows * stride, "C has room");
    for column in (0..columns).step_by(VECTORS * LANES) {
        let vectors = ((columns - column) / LANES).min(VECTORS);
        let side = T::rows(isa, vectors);
        for row in (0..a.used).step_by(side) {
            let tile = Tile {
                k,
                a: a.words[row..].as_ptr(),
                a_stride: a.stride,
                b: b.words[column..].as_ptr(),
                b_stride: b.stride,
                vectors,
                c: c[row * stride + column..].as_mut_ptr(),
                c_stride: stride,
                accumulate,
            };
            #[expect(
                unsafe_code,
                reason = "the tile takes pointers; bounds are asserted above"
            )]
            // SAFETY: every tile's rows divide the step to which A's and C's are filled up, and the columns are
            // filled up to whole vectors: the tile lies within the k words of A and B and the rows of C.
            unsafe {
                T::tile(isa, tile);
            }
        }
    }
}

/// A `[k, n]` matrix as a factor of n values, filled up to `stride`: `[words][stride]`.
pub(super) fn matrix_words<T: Operand>(matrix: &[f32], n: usize, stride: usize) -> Vec<T> {
    let k = matrix.len() / n;
    let mut words = vec![T::default(); k.div_ceil(T::PER_WORD) * stride];
    let zeros = vec![0.0; n];
    let row = |i: usize| matrix.get(i * n..(i + 1) * n).unwrap_or(&zeros);
    for (i, line) in words.chunks_exact_mut(stride).enumerate() {
        let i = i * T::PER_WORD;
        for (word, (&even, &odd)) in line.iter_mut().zip(row(i).iter().zip(row(i + 1))) {
            *word = T::word(even, odd);
        }
    }
    words
}

/// `[rows, columns]` -> `[columns, rows]`
pub(super) fn transposed(values: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    let mut out = vec![0.0; values.len()];
    for (r, row) in values.chunks_exact(columns.max(1)).enumerate() {
        for (j, &v) in row.iter().enumerate() {
            out[j * rows + r] = v;
        }
    }
    out
}

/// Up to [`BLOCK`] rows of `c` values as a factor whose words run over the channels: `[words of c][BLOCK]`, zero beyond the
/// rows.
pub(super) fn channel_words<T: Operand>(
    isa: Isa,
    rows: &[f32],
    c: usize,
    out: &mut Vec<T>,
    lines: &mut Vec<T>,
) {
    let words = c.div_ceil(T::PER_WORD);
    out.clear();
    out.resize(words * BLOCK, T::default());
    lines.clear();
    lines.resize(2 * TURN * words, T::default());
    let (lines, turned) = lines.split_at_mut(TURN * words);
    for (i, rows) in rows.chunks(TURN * c).enumerate() {
        lines[rows.len() / c * words..].fill(T::default());
        for (row, line) in rows.chunks_exact(c).zip(lines.chunks_exact_mut(words)) {
            T::row_words(isa, row, line);
        }
        T::turn(isa, lines, TURN, turned);
        for (word, out) in turned.chunks_exact(TURN).zip(out.chunks_exact_mut(BLOCK)) {
            out[i * TURN..][..TURN].copy_from_slice(word);
        }
    }
}

/// Rows of `c` values as a factor whose words run over the rows: `[words of rows][padded c]`.
pub(super) fn cell_words<T: Operand>(
    isa: Isa,
    rows: &[f32],
    c: usize,
    out: &mut Vec<T>,
    lines: &mut Vec<f32>,
) {
    let stride = padded_columns(c);
    let count = rows.len() / c;
    out.clear();
    out.resize(count.div_ceil(T::PER_WORD) * stride, T::default());
    if stride == c {
        return T::words(isa, rows, c, out);
    }
    lines.clear();
    lines.resize(count * stride, 0.0);
    for (line, row) in lines.chunks_exact_mut(stride).zip(rows.chunks_exact(c)) {
        line[..c].copy_from_slice(row);
    }
    T::words(isa, lines, stride, out);
}

/// The first `cells` columns of `rows` channels, `[rows][BLOCK]`, as a factor whose words run over the cells: `[words of cells]
/// [padded rows]`.
pub(super) fn turned_words<T: Operand>(
    isa: Isa,
    channels: &[f32],
    rows: usize,
    cells: usize,
    out: &mut Vec<T>,
    lines: &mut Vec<f32>,
) {
    let stride = padded_rows(rows);
    lines.clear();
    lines.resize(BLOCK * stride + TURN * BLOCK, 0.0);
    let (lines, turned) = lines.split_at_mut(BLOCK * stride);
    for row in (0..rows).step_by(TURN) {
        let of_row = &channels[row * BLOCK..];
        if rows - row < TURN {
            for (i, channel) in of_row.chunks_exact(BLOCK).take(rows - row).enumerate() {
                for (line, &v) in lines.chunks_exact_mut(stride).zip(channel) {
                    line[row + i] = v;
                }
            }
            continue;
        }
        f32::turn(isa, &of_row[..TURN * BLOCK], TURN, turned);
        for (cell, line) in turned
            .chunks_exact(TURN)
            .zip(lines.chunks_exact_mut(stride))
        {
            line[row..row + TURN].copy_from_slice(cell);
        }
    }
    out.clear();
    out.resize(cells.div_ceil(T::PER_WORD) * stride, T::default());
    T::words(isa, &lines[..cells * stride], stride, out);
}

multiversion! {
    /// `out = a + b`
    pub(super) fn add_rows(isa: Isa, a: &[f32], b: &[f32], out: &mut [f32]) {
        for (out, (a, b)) in out.iter_mut().zip(a.iter().zip(b)) {
            *out = a + b;
        }
    }
}

multiversion! {
    /// `sum += values`
    pub(super) fn add_to(isa: Isa, sum: &mut [f32], values: &[f32]) {
        for (sum, v) in sum.iter_mut().zip(values) {
            *sum += v;
        }
    }
}
