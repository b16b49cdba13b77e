//! Gradients of a convolution by its weights and bias: products of patches and gradients, summed over all pixels.
//!
//! Both operands are first brought into words of successive pixels, in blocks of channels and panels of columns; of
//! the map there is one copy for each parity of the pixels that a word holds, so that every tap of the kernel finds
//! its pairs. A task then sums over all pixels for one block and one panel, in their order: no sum depends on how the
//! work is cut.

use std::mem::MaybeUninit;
use std::ops::Range;

use rayon::prelude::*;

use super::conv::{ConvShape, FLAT_LINE, Placement, cut_row};
use super::isa::{Isa, multiversion};
use super::linear::Arithmetic;
use super::pointwise_grad::PointwiseGrad;
use super::strip::{Outer, PANEL, ROWS, StripOperand};
use super::tile::{Bf16Pair, LANES};
use super::uninit;

/// Words of k per pass: their part of the panel stays in the cache for all taps.
const PASS_WORDS: usize = 256;

/// Gradients of [`super::Conv`] by weight and bias.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ParamGrad<'a> {
    /// Stride 1, or patches.
    pub(crate) shape: ConvShape,
    /// `[B, H, W, C]`
    pub(crate) x: &'a [f32],
    /// As the convolution's output.
    pub(crate) grad: &'a [f32],
    /// The convolution's output, where a rectifier follows it.
    pub(crate) output: Option<&'a [f32]>,
    pub(crate) placement: Placement,
}

impl ParamGrad<'_> {
    /// # Shapes
    /// -> `[side, side, C, O]` and `[O]`
    pub(crate) fn run(&self, isa: Isa, arithmetic: Arithmetic) -> [Vec<f32>; 2] {
        match arithmetic {
            Arithmetic::F32 | Arithmetic::F16 => self.run_in::<f32>(isa),
            Arithmetic::Bf16 => self.run_in::<Bf16Pair>(isa),
        }
    }

    fn run_in<T: StripOperand>(&self, isa: Isa) -> [Vec<f32>; 2] {
        let shape = self.shape;
        let [rows, columns] = shape.grid();
        assert!(
            shape.stride == 1 || shape.stride == shape.side,
            "gradients are those of stride 1 and of patches"
        );
        let outputs = shape.batch * rows * columns * shape.output;
        assert_eq!(
            self.x.len(),
            shape.batch * shape.height * shape.width * shape.input,
            "x is [B, H, W, C]"
        );
        assert_eq!(self.grad.len(), outputs, "grad is as the output");
        assert!(
            self.output.is_none_or(|all| all.len() == outputs),
            "output is as grad"
        );
        if self.is_flat() && PointwiseGrad::fits(shape.input, shape.output) {
            let layer = PointwiseGrad {
                x: self.x,
                grad: self.grad,
                output: self.output,
                channels: shape.input,
                columns: shape.output,
            };
            return layer.run::<T>(isa);
        }
        let sums = Sums::<T>::new(isa, self);
        let blocks = sums.blocks();
        sums.gather(&blocks)
    }

    /// Whether the places of pixels do not matter.
    fn is_flat(&self) -> bool {
        self.shape.is_pointwise() && self.placement == Placement::Pixels
    }

    /// Both operands' lines.
    fn layout(&self) -> Layout {
        let ConvShape {
            input,
            output,
            side,
            stride,
            batch,
            ..
        } = self.shape;
        let [rows, columns] = self.shape.grid();
        let patches = stride > 1;
        let layout = Layout {
            images: batch,
            rows,
            width: columns,
            pixels: rows * columns,
            side: if patches { 1 } else { side },
            channels: if patches { side * side * input } else { input },
            columns: output,
        };
        if !self.is_flat() {
            return layout;
        }
        let pixels = batch * rows * columns;
        Layout {
            images: 1,
            rows: pixels.div_ceil(FLAT_LINE),
            width: FLAT_LINE.min(pixels),
            pixels,
            ..layout
        }
    }
}

/// Lines of pixels, and what is multiplied for each.
#[derive(Debug, Clone, Copy)]
struct Layout {
    images: usize,
    /// Rows of an image.
    rows: usize,
    width: usize,
    /// Pixels of an image: the last line may be shorter.
    pixels: usize,
    /// Taps along an axis.
    side: usize,
    channels: usize,
    columns: usize,
}

impl Layout {
    const fn reach(self) -> usize {
        self.side / 2
    }

    /// Words of successive pixels in a line of gradients.
    const fn words(self, per_word: usize) -> usize {
        self.width.div_ceil(per_word)
    }

    /// Words of a line of the map, where taps reach further.
    const fn reached_words(self, per_word: usize) -> usize {
        self.words(per_word) + (self.side - 1).div_ceil(per_word)
    }

    const fn blocks(self) -> usize {
        self.channels.div_ceil(ROWS)
    }

    const fn panels(self) -> usize {
        self.columns.div_ceil(PANEL)
    }

    fn length(self, row: usize) -> usize {
        self.width.min(self.pixels - row * self.width)
    }
}

/// The operands in words of successive pixels.
struct Sums<T> {
    isa: Isa,
    layout: Layout,
    /// `[image][row, with those around][block][parity][words][ROWS]`
    map: Vec<T>,
    /// `[image][row][panel][words][PANEL]`
    grad: Vec<T>,
    /// Sum of each line of gradients, `[image][row][columns]`.
    lines: Vec<f32>,
}

impl<T: StripOperand> Sums<T> {
    fn new(isa: Isa, of: &ParamGrad<'_>) -> Self {
        let layout = of.layout();
        let mut sums = Self {
            isa,
            layout,
            map: Vec::new(),
            grad: Vec::new(),
            lines: vec![0.0; layout.images * layout.rows * layout.columns],
        };
        sums.pack_map(of);
        sums.pack_grad(of);
        sums
    }

    /// Words of a block in a line of the map, of one parity.
    const fn block(&self) -> usize {
        self.layout.reached_words(T::PER_WORD) * ROWS
    }

    /// Words of a line of the map.
    const fn map_line(&self) -> usize {
        self.layout.blocks() * T::PER_WORD * self.block()
    }

    /// Words of a panel in a line of gradients.
    const fn panel(&self) -> usize {
        self.layout.words(T::PER_WORD) * PANEL
    }

    /// Words of a line of gradients.
    const fn grad_line(&self) -> usize {
        self.layout.panels() * self.panel()
    }

    fn pack_map(&mut self, of: &ParamGrad<'_>) {
        let Layout {
            images,
            rows,
            width,
            channels,
            ..
        } = self.layout;
        let reach = self.layout.reach();
        let (line, block) = (self.map_line(), self.block());
        let patches = of.shape.stride > 1;
        // A word of odd parity begins one pixel later.
        let padded = (self.layout.reached_words(T::PER_WORD) + 1) * T::PER_WORD;
        let make = || (vec![0.0; padded * channels], Vec::new());
        let fill = |map: &mut [MaybeUninit<T>]| {
            let lines = map.par_chunks_mut(line.max(1)).enumerate();
            lines.for_each_init(make, |(row, patch), (i, words)| {
                let words = uninit::cleared(words);
                let (image, y) = (i / (rows + 2 * reach), i % (rows + 2 * reach));
                let Some(y) = y.checked_sub(reach).filter(|&y| y < rows) else {
                    return;
                };
                let from = (image * self.layout.pixels + y * width) * channels;
                let values = if patches {
                    let inner = width * of.shape.input * of.shape.side;
                    gather(of.x, [image * rows + y, inner], of.shape, patch)
                } else {
                    &of.x[from..from + self.layout.length(y) * channels]
                };
                let end = reach * channels + values.len();
                row[reach * channels..end].copy_from_slice(values);
                row[end..].fill(0.0);
                for (i, words) in words.chunks_exact_mut(block).enumerate() {
                    let (c, parity) = (i / T::PER_WORD * ROWS, i % T::PER_WORD);
                    T::block(self.isa, &row[parity * channels..], [channels, c], words);
                }
            });
        };
        let count = images * (rows + 2 * reach) * line;
        #[expect(unsafe_code, reason = "memory that is written once")]
        // SAFETY: the lines cover all of it, and each is cleared before it is written.
        let map = unsafe { uninit::filled(count, fill) };
        self.map = map;
    }

    fn pack_grad(&mut self, of: &ParamGrad<'_>) {
        let Layout {
            rows,
            width,
            columns,
            images,
            ..
        } = self.layout;
        let (line, panel) = (self.grad_line(), self.panel());
        let mut lines = std::mem::take(&mut self.lines);
        let fill = |grad: &mut [MaybeUninit<T>]| {
            let grad = grad.par_chunks_mut(line.max(1));
            let both = grad.zip(lines.par_chunks_mut(columns.max(1))).enumerate();
            both.for_each_init(<[Vec<f32>; 3]>::default, |buffers, (i, (words, sum))| {
                let words = uninit::cleared(words);
                let [cut, values, output] = buffers;
                let (image, y) = (i / rows, i % rows);
                let from = (image * self.layout.pixels + y * width) * columns;
                let length = self.layout.length(y);
                let part = from..from + length * columns;
                let spread = of.placement == Placement::Spread;
                let values = line_of(of.grad, part.clone(), spread.then_some(columns / 2), values);
                let values = match of.output {
                    Some(all) => {
                        let run = spread.then_some(columns / 2);
                        cut_row(self.isa, values, line_of(all, part, run, output), cut)
                    }
                    None => values,
                };
                add_rows(self.isa, values, sum);
                let filled = length.div_ceil(T::PER_WORD) * PANEL;
                for (p, words) in words.chunks_exact_mut(panel).enumerate() {
                    let first = p * PANEL;
                    let size = [length, PANEL.min(columns - first), columns];
                    T::columns(
                        self.isa,
                        &values[first..],
                        size,
                        PANEL,
                        &mut words[..filled],
                    );
                }
            });
        };
        #[expect(unsafe_code, reason = "memory that is written once")]
        // SAFETY: the lines cover all of it, and each is cleared before it is written.
        let grad = unsafe { uninit::filled(images * rows * line, fill) };
        (self.grad, self.lines) = (grad, lines);
    }

    /// The sums of every block and panel, `[tap][ROWS][PANEL]` each.
    fn blocks(&self) -> Vec<Vec<f32>> {
        let Layout {
            images, rows, side, ..
        } = self.layout;
        let words = self.layout.words(T::PER_WORD);
        let pass = (PASS_WORDS / words.max(1)).clamp(1, rows.max(1));
        let panels = self.layout.panels();
        let passes: Vec<[usize; 3]> = (0..images)
            .flat_map(|image| (0..rows).step_by(pass).map(move |row| [image, row]))
            .map(|[image, row]| [image, row, pass.min(rows - row)])
            .collect();
        (0..self.layout.blocks() * panels)
            .into_par_iter()
            .map(|i| {
                let (block, panel) = (i / panels, i % panels);
                let mut sums = vec![0.0; side * side * ROWS * PANEL];
                for &place in &passes {
                    for (tap, sums) in sums.chunks_exact_mut(ROWS * PANEL).enumerate() {
                        self.add(place, [block, panel], [tap / side, tap % side], sums);
                    }
                }
                sums
            })
            .collect()
    }

    /// Adds the products of some rows of an image at one tap.
    fn add(
        &self,
        [image, row, rows]: [usize; 3],
        [block, panel]: [usize; 2],
        [dy, dx]: [usize; 2],
        sums: &mut [f32],
    ) {
        let layout = self.layout;
        let (map_line, grad_line) = (self.map_line(), self.grad_line());
        let words = layout.words(T::PER_WORD);
        let line = image * (layout.rows + 2 * layout.reach()) + row + dy;
        let (parity, skipped) = (dx % T::PER_WORD, dx / T::PER_WORD);
        let place = (block * T::PER_WORD + parity) * self.block() + skipped * ROWS;
        let a = &self.map[line * map_line + place..];
        let b = &self.grad[(image * layout.rows + row) * grad_line + panel * self.panel()..];
        assert!(
            a.len() >= (rows - 1) * map_line + words * ROWS,
            "the map holds the rows"
        );
        assert!(
            b.len() >= (rows - 1) * grad_line + words * PANEL,
            "the gradients hold the rows"
        );
        assert_eq!(sums.len(), ROWS * PANEL, "a block and a panel");
        let columns = PANEL.min(layout.columns - panel * PANEL);
        let outer = Outer {
            lines: rows,
            words,
            a: a.as_ptr(),
            a_step: map_line,
            b: b.as_ptr(),
            b_step: grad_line,
            vectors: columns.div_ceil(LANES),
            sums: sums.as_mut_ptr(),
        };
        #[expect(
            unsafe_code,
            reason = "the product takes pointers; bounds are asserted above"
        )]
        // SAFETY: by the assertions above; `sums` is borrowed mutably.
        unsafe {
            T::outer(self.isa, &outer);
        }
    }

    /// `[side, side, C, O]` and `[O]` from the sums of [`Self::blocks`].
    fn gather(&self, blocks: &[Vec<f32>]) -> [Vec<f32>; 2] {
        let Layout {
            side,
            channels,
            columns,
            ..
        } = self.layout;
        let panels = self.layout.panels();
        let mut by_weight = vec![0.0; side * side * channels * columns];
        let mut by_bias = vec![0.0; columns];
        by_weight
            .par_chunks_mut(columns.max(1))
            .enumerate()
            .with_min_len(64)
            .for_each(|(i, row)| {
                let (tap, c) = (i / channels, i % channels);
                for (p, row) in row.chunks_mut(PANEL).enumerate() {
                    let sums = &blocks[c / ROWS * panels + p];
                    let from = (tap * ROWS + c % ROWS) * PANEL;
                    row.copy_from_slice(&sums[from..from + row.len()]);
                }
            });
        add_rows(self.isa, &self.lines, &mut by_bias);
        [by_weight, by_bias]
    }
}

/// A line of patches: `[width][side][side][C]` of line `line` of the output, of whose input rows hold `row` values.
fn gather<'p>(
    x: &[f32],
    [line, row]: [usize; 2],
    shape: ConvShape,
    patches: &'p mut Vec<f32>,
) -> &'p [f32] {
    let ConvShape {
        height,
        width,
        input,
        side,
        ..
    } = shape;
    let [rows, columns] = shape.grid();
    let run = side * input;
    let (image, y) = (line / rows, line % rows);
    patches.resize(columns * side * run, 0.0);
    for dy in 0..side {
        let from = ((image * height + y * side + dy) * width) * input;
        let source = &x[from..from + row];
        for (patch, values) in patches
            .chunks_exact_mut(side * run)
            .zip(source.chunks_exact(run))
        {
            patch[dy * run..][..run].copy_from_slice(values);
        }
    }
    patches
}

/// A line of a map; or of one that a convolution has spread: the line is two rows then, of which a pixel has `run` values
/// in each.
fn line_of<'p>(
    all: &'p [f32],
    part: Range<usize>,
    run: Option<usize>,
    patches: &'p mut Vec<f32>,
) -> &'p [f32] {
    let rows = &all[part];
    let Some(run) = run else {
        return rows;
    };
    patches.resize(rows.len(), 0.0);
    for (dy, source) in rows.chunks_exact((rows.len() / 2).max(1)).enumerate() {
        for (patch, values) in patches
            .chunks_exact_mut(2 * run)
            .zip(source.chunks_exact(run))
        {
            patch[dy * run..][..run].copy_from_slice(values);
        }
    }
    patches
}

multiversion! {
    /// Adds every row of as many columns as `sum` has.
    pub(super) fn add_rows(isa: Isa, rows: &[f32], sum: &mut [f32]) {
        for row in rows.chunks_exact(sum.len().max(1)) {
            for (sum, value) in sum.iter_mut().zip(row) {
                *sum += value;
            }
        }
    }
}
