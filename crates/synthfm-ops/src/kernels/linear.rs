//! Products with a weight matrix, and what follows them (bias, nonlinearity, residual) while the result is
//! still in the cache.
//!
//! Blocking as in Goto and van de Geijn (2008): a block of rows of x is packed at a time, the weights once
//! per product into panels of columns, at about a hundredth of the product's cost for a grid of tokens.
//! Every element of the result is one sum over k in a fixed order, however the work is cut.

use std::mem::MaybeUninit;

use rayon::prelude::*;

use super::activation::gelu_of;
use super::isa::{Isa, multiversion};
use super::tile::{Bf16Pair, LANES, Operand, Tile};
use super::uninit;

/// Columns of a panel: the widest AVX-512 tile with 8 rows.
const PANEL: usize = 48;
const PANEL_VECTORS: usize = PANEL / LANES;
/// Most rows of x that one task packs.
pub(super) const ROW_BLOCK: usize = 120;
/// Words of k per pass over a panel: its part of x's block stays in the second-level cache.
const K_BLOCK: usize = 512;
/// Up to so many rows the weights are read where they lie.
const FEW_ROWS: usize = 32;
/// Multiplications that are worth a task.
const TASK_WORK: usize = 1 << 19;

/// How products are computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arithmetic {
    /// Single precision.
    F32,
    /// Operands rounded to bf16 (8 bits of significand), sums in single precision. On the CPU.
    Bf16,
    /// Operands and results rounded to half precision (11 bits of significand, up to 65504), sums in single
    /// precision. On GPUs; the CPU's kernels compute in [`Arithmetic::F32`] instead.
    F16,
}

/// What follows the product of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// Nothing.
    None,
    /// Rectifier.
    Relu,
    /// GELU with the error function.
    Gelu,
}

/// `activation((x + offset) · weight + bias) + residual`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Linear<'a> {
    /// `[M, K]`
    pub(crate) x: &'a [f32],
    /// `[M, K]`, added to x.
    pub(crate) offset: Option<&'a [f32]>,
    /// `[K, N]`
    pub(crate) weight: &'a [f32],
    /// `[N]`, or empty.
    pub(crate) bias: &'a [f32],
    pub(crate) activation: Activation,
    /// `[M, N]`, added last.
    pub(crate) residual: Option<&'a [f32]>,
    /// M, K and N.
    pub(crate) size: [usize; 3],
}

impl Linear<'_> {
    /// # Shapes
    /// -> `[M, N]`
    pub(crate) fn run(&self, isa: Isa, arithmetic: Arithmetic) -> Vec<f32> {
        let [rows, _, n] = self.size;
        #[expect(unsafe_code, reason = "output that is written once")]
        // SAFETY: `write` writes all of the output.
        unsafe {
            uninit::filled(rows * n, |out| self.write(isa, arithmetic, out))
        }
    }

    /// Writes all of `out`, `[M, N]`.
    pub(crate) fn write(&self, isa: Isa, arithmetic: Arithmetic, out: &mut [MaybeUninit<f32>]) {
        let [rows, k, n] = self.size;
        let fits = |part: Option<&[f32]>, size: usize| part.is_none_or(|p| p.len() == size);
        assert_eq!(self.x.len(), rows * k, "x is [M, K]");
        assert_eq!(self.weight.len(), k * n, "weight is [K, N]");
        assert_eq!(out.len(), rows * n, "out is [M, N]");
        assert!(self.bias.is_empty() || self.bias.len() == n, "bias is [N]");
        assert!(fits(self.offset, rows * k), "offset is [M, K]");
        assert!(fits(self.residual, rows * n), "residual is [M, N]");
        if rows <= FEW_ROWS {
            return self.write_with(isa, &Panels::of_few_rows(self.weight, n), out);
        }
        match arithmetic {
            Arithmetic::F32 | Arithmetic::F16 => {
                self.write_with(isa, &Panels::<f32>::pack(self.weight, k, n), out);
            }
            Arithmetic::Bf16 => {
                self.write_with(isa, &Panels::<Bf16Pair>::pack(self.weight, k, n), out);
            }
        }
    }

    /// Writes every block of rows, which writes every panel's columns in every row.
    fn write_with<T: Operand>(
        &self,
        isa: Isa,
        panels: &Panels<'_, T>,
        out: &mut [MaybeUninit<f32>],
    ) {
        let [rows, k, n] = self.size;
        let tile_rows = T::rows(isa, PANEL_VECTORS);
        let tasks = (rows * k * n / TASK_WORK).clamp(1, 4 * rayon::current_num_threads());
        let block = rows
            .div_ceil(tasks)
            .next_multiple_of(tile_rows)
            .min(ROW_BLOCK);
        let length = (block * n).max(1);
        if tasks == 1 {
            let mut buffers = Buffers::default();
            for (i, out) in out.chunks_mut(length).enumerate() {
                self.row_block(isa, panels, i * block, out, &mut buffers);
            }
        } else {
            out.par_chunks_mut(length).enumerate().for_each_init(
                Buffers::default,
                |buffers, (i, out)| {
                    self.row_block(isa, panels, i * block, out, buffers);
                },
            );
        }
    }

    /// The result in the memory of `out`, with weights that are packed already, on this thread.
    pub(super) fn whole<'o, T: Operand>(
        &self,
        isa: Isa,
        panels: &Panels<'_, T>,
        buffers: &mut Buffers<T>,
        out: &'o mut Vec<f32>,
    ) -> &'o mut [f32] {
        let [rows, _, n] = self.size;
        out.clear();
        out.reserve(rows * n);
        let fill = &mut out.spare_capacity_mut()[..rows * n];
        for (i, out) in fill.chunks_mut((ROW_BLOCK * n).max(1)).enumerate() {
            self.row_block(isa, panels, i * ROW_BLOCK, out, buffers);
        }
        #[expect(unsafe_code, reason = "output that is written once")]
        // SAFETY: `row_block` writes all of each block, and the capacity was reserved.
        unsafe {
            out.set_len(rows * n);
        }
        out
    }

    /// Rows of the result from `first` on: as many as `out` holds.
    fn row_block<T: Operand>(
        &self,
        isa: Isa,
        panels: &Panels<'_, T>,
        first: usize,
        out: &mut [MaybeUninit<f32>],
        buffers: &mut Buffers<T>,
    ) {
        let [_, k, n] = self.size;
        let rows = out.len() / n;
        let Buffers { x, c } = buffers;
        let part = first * k..(first + rows) * k;
        let offset = self.offset.map(|all| &all[part.clone()]);
        pack_rows(isa, &self.x[part], offset, k, x);
        c.resize(ROW_BLOCK * PANEL, 0.0);
        for (index, column) in (0..n).step_by(PANEL).enumerate() {
            let panel = panels.get(index);
            multiply(isa, x, k.div_ceil(T::PER_WORD), panel, rows, c);
            let part = Part {
                rows: first..first + rows,
                columns: column..(column + PANEL).min(n),
                width: n,
            };
            self.finish(isa, c, &part, out);
        }
    }

    /// Bias, nonlinearity and residual of one panel's columns; `out` holds whole rows.
    fn finish(&self, isa: Isa, c: &[f32], part: &Part, out: &mut [MaybeUninit<f32>]) {
        let Part {
            rows,
            columns,
            width,
        } = part.clone();
        let bias = self.bias.get(columns.clone()).unwrap_or(&[]);
        let residual = self
            .residual
            .map_or(&[][..], |all| &all[rows.start * width..]);
        let from = columns.start;
        let place = [rows.len(), from, columns.len(), width];
        match self.activation {
            Activation::None => finish_plain(isa, c, bias, residual, place, out),
            Activation::Relu => finish_relu(isa, c, bias, residual, place, out),
            Activation::Gelu => finish_gelu(isa, c, bias, residual, place, out),
        }
    }
}

/// A part of the result.
#[derive(Debug, Clone)]
struct Part {
    rows: std::ops::Range<usize>,
    columns: std::ops::Range<usize>,
    /// All columns.
    width: usize,
}

/// Memory of a task.
#[derive(Default)]
pub(super) struct Buffers<T> {
    x: Vec<T>,
    c: Vec<f32>,
}

/// A weight matrix by panels of [`PANEL`] columns.
pub(super) struct Panels<'a, T> {
    packed: Vec<T>,
    /// Where whole panels lie instead, and their stride; `packed` is then the last, partial one.
    in_place: Option<(&'a [T], usize)>,
    words: usize,
    columns: usize,
}

/// `[k][stride]` words of a panel; columns beyond the matrix are zero or another panel's.
#[derive(Clone, Copy)]
struct Panel<'a, T> {
    data: &'a [T],
    stride: usize,
    vectors: usize,
}

impl<T: Operand> Panels<'_, T> {
    pub(super) fn pack(weight: &[f32], k: usize, n: usize) -> Self {
        let words = k.div_ceil(T::PER_WORD);
        let mut packed = vec![T::default(); words * n.next_multiple_of(PANEL)];
        packed
            .par_chunks_mut((words * PANEL).max(1))
            .enumerate()
            .for_each(|(i, panel)| pack_panel(weight, n, i * PANEL, panel));
        Self {
            packed,
            in_place: None,
            words,
            columns: n,
        }
    }

    fn get(&self, index: usize) -> Panel<'_, T> {
        let width = PANEL.min(self.columns - index * PANEL);
        let vectors = width.div_ceil(LANES);
        match self.in_place {
            Some((data, stride)) if width == PANEL => Panel {
                data: &data[index * PANEL..],
                stride,
                vectors,
            },
            Some(_) => Panel {
                data: &self.packed,
                stride: PANEL,
                vectors,
            },
            None => Panel {
                data: &self.packed[index * self.words * PANEL..][..self.words * PANEL],
                stride: PANEL,
                vectors,
            },
        }
    }
}

impl<'a> Panels<'a, f32> {
    fn of_few_rows(weight: &'a [f32], n: usize) -> Self {
        let words = weight.len().checked_div(n).unwrap_or(0);
        let mut packed = vec![0.0; words * PANEL];
        pack_panel(weight, n, n - n % PANEL, &mut packed);
        Self {
            packed,
            in_place: Some((weight, n)),
            words,
            columns: n,
        }
    }
}

/// Columns `first ..` of a `[k, n]` matrix into `[words][PANEL]`, zero beyond it.
fn pack_panel<T: Operand>(weight: &[f32], n: usize, first: usize, panel: &mut [T]) {
    let width = PANEL.min(n - first);
    if width == 0 {
        return;
    }
    let zeros = [0.0; PANEL];
    let row = |k: usize| {
        weight
            .get(k * n + first..k * n + first + width)
            .unwrap_or(&zeros[..width])
    };
    for (i, words) in panel.chunks_exact_mut(PANEL).enumerate() {
        let (even, odd) = match T::PER_WORD {
            1 => (row(i), &zeros[..width]),
            _ => (row(2 * i), row(2 * i + 1)),
        };
        for (word, (&even, &odd)) in words.iter_mut().zip(even.iter().zip(odd)) {
            *word = T::word(even, odd);
        }
    }
}

/// Rows of x, and what is added to them, as `[tile][words][tile's rows]`; rows beyond x are zero.
pub(super) fn pack_rows<T: Operand>(
    isa: Isa,
    x: &[f32],
    offset: Option<&[f32]>,
    k: usize,
    packed: &mut Vec<T>,
) {
    let (rows, side) = (x.len() / k, T::rows(isa, PANEL_VECTORS));
    let words = k.div_ceil(T::PER_WORD);
    // Every word is written: what the buffer holds from the last block need not be cleared.
    packed.resize(rows.next_multiple_of(side) * words, T::default());
    let mut lines = vec![T::default(); side * words];
    let mut sums = vec![0.0; offset.map_or(0, |_| side * k)];
    for (tile, first) in packed
        .chunks_exact_mut(side * words)
        .zip((0..).step_by(side * k))
    {
        let part = first..x.len().min(first + side * k);
        let rows = match offset {
            Some(offset) => {
                let sums = &mut sums[..part.len()];
                add(isa, &x[part.clone()], &offset[part], sums);
                sums
            }
            None => &x[part],
        };
        T::pack(isa, rows, k, &mut lines, tile);
    }
}

multiversion! {
    fn add(isa: Isa, a: &[f32], b: &[f32], sums: &mut [f32]) {
        for (sum, (a, b)) in sums.iter_mut().zip(a.iter().zip(b)) {
            *sum = a + b;
        }
    }
}

/// C = x·panel over `rows` rows, rounded up to whole tiles; C is `[rows][PANEL]`.
fn multiply<T: Operand>(
    isa: Isa,
    x: &[T],
    words: usize,
    panel: Panel<'_, T>,
    rows: usize,
    c: &mut [f32],
) {
    let side = T::rows(isa, PANEL_VECTORS);
    let tiles = rows.div_ceil(side);
    assert!(x.len() >= tiles * side * words, "x is packed");
    assert!(c.len() >= tiles * side * PANEL, "C holds whole tiles");
    let needed = words.saturating_sub(1) * panel.stride + panel.vectors * LANES;
    assert!(
        words == 0 || panel.data.len() >= needed,
        "the panel is whole"
    );
    if words == 0 {
        c.fill(0.0);
    }
    for from in (0..words).step_by(K_BLOCK) {
        for t in 0..tiles {
            let tile = Tile {
                k: K_BLOCK.min(words - from),
                a: x[(t * words + from) * side..].as_ptr(),
                a_stride: side,
                b: panel.data[from * panel.stride..].as_ptr(),
                b_stride: panel.stride,
                vectors: panel.vectors,
                c: c[t * side * PANEL..].as_mut_ptr(),
                c_stride: PANEL,
                accumulate: from > 0,
            };
            #[expect(
                unsafe_code,
                reason = "the tile takes pointers; bounds are asserted above"
            )]
            // SAFETY: `tile` lies within the slices by the assertions above: tiles of `rows(isa, ..)` rows (no
            // tile of fewer vectors has other ones), `words` words deep. C is borrowed mutably.
            unsafe {
                T::tile(isa, tile);
            }
        }
    }
}

/// `out[r][from + j] = f(c[r][j] + bias[j]) + residual[r][from + j]`; `place`: rows, `from`, columns, width of `out`.
macro_rules! finish {
    ($name:ident, $f:expr) => {
        multiversion! {
            fn $name(isa: Isa, c: &[f32], bias: &[f32], residual: &[f32], place: [usize; 4], out: &mut [MaybeUninit<f32>]) {
                let [rows, from, columns, width] = place;
                for r in 0..rows {
                    let c = &c[r * PANEL..][..columns];
                    let at = r * width + from;
                    let out = &mut out[at..][..columns];
                    match (bias.get(..columns), residual.get(at..at + columns)) {
                        (None, None) => {
                            for j in 0..columns {
                                out[j].write($f(c[j]));
                            }
                        }
                        (Some(bias), None) => {
                            for j in 0..columns {
                                out[j].write($f(c[j] + bias[j]));
                            }
                        }
                        (None, Some(residual)) => {
                            for j in 0..columns {
                                out[j].write($f(c[j]) + residual[j]);
                            }
                        }
                        (Some(bias), Some(residual)) => {
                            for j in 0..columns {
                                out[j].write($f(c[j] + bias[j]) + residual[j]);
                            }
                        }
                    }
                }
            }
        }
    };
}

finish!(finish_plain, |v: f32| v);
finish!(finish_relu, |v: f32| v.max(0.0));
finish!(finish_gelu, gelu_of);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::{noise, worst};

    /// By the definition, in double precision.
    fn plain(l: &Linear<'_>) -> Vec<f32> {
        let [rows, k, n] = l.size;
        let mut out = Vec::with_capacity(rows * n);
        for r in 0..rows {
            for j in 0..n {
                let dot: f64 = (0..k)
                    .map(|i| f64::from(l.x[r * k + i]) * f64::from(l.weight[i * n + j]))
                    .sum();
                let v = (dot + f64::from(l.bias.get(j).copied().unwrap_or(0.0))) as f32;
                let v = match l.activation {
                    Activation::None => v,
                    Activation::Relu => v.max(0.0),
                    Activation::Gelu => gelu_of(v),
                };
                out.push(v + l.residual.map_or(0.0, |all| all[r * n + j]));
            }
        }
        out
    }

    #[test]
    fn every_shape_and_ending_is_the_definition() {
        // One row, few rows, many rows; fewer columns than a vector; several blocks of k; odd everything.
        let sizes = [
            [1, 1, 1],
            [3, 7, 5],
            [33, 9, 49],
            [50, 33, 130],
            [300, 8, 96],
            [35, 1100, 17],
        ];
        for size @ [rows, k, n] in sizes {
            let (x, weight) = (noise(rows * k, 1), noise(k * n, 2));
            let (bias, residual) = (noise(n, 3), noise(rows * n, 4));
            for activation in [Activation::None, Activation::Relu, Activation::Gelu] {
                for (bias, residual) in [(&[][..], None), (&bias[..], Some(&residual[..]))] {
                    let linear = Linear {
                        x: &x,
                        offset: None,
                        weight: &weight,
                        bias,
                        activation,
                        residual,
                        size,
                    };
                    let expected = plain(&linear);
                    for isa in Isa::all() {
                        let got = linear.run(isa, Arithmetic::F32);
                        assert!(
                            worst(&got, &expected) < 1e-5,
                            "{isa:?} {size:?} {activation:?}"
                        );
                        let got = linear.run(isa, Arithmetic::Bf16);
                        assert!(
                            worst(&got, &expected) < 2e-2,
                            "{isa:?} {size:?} {activation:?}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn bf16_is_the_product_of_rounded_values() {
        let size @ [rows, k, n] = [40, 31, 50];
        let round = |values: &[f32]| -> Vec<f32> {
            let bf16 = |&v| f32::from_bits(super::super::tile::to_bf16(v));
            values.iter().map(bf16).collect()
        };
        let (x, weight) = (noise(rows * k, 5), noise(k * n, 6));
        let (x_rounded, weight_rounded) = (round(&x), round(&weight));
        let of = |x, weight| Linear {
            x,
            offset: None,
            weight,
            bias: &[],
            activation: Activation::None,
            residual: None,
            size,
        };
        let expected = plain(&of(&x_rounded, &weight_rounded));
        for isa in Isa::all() {
            let got = of(&x, &weight).run(isa, Arithmetic::Bf16);
            assert!(worst(&got, &expected) < 1e-6, "{isa:?}");
        }
    }
}
