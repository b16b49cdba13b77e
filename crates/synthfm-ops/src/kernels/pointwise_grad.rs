//! Gradients of a layer whose pixels have no neighbours by its weights and bias: products of pixels and gradients, summed
//! over all pixels.
//!
//! A task takes a part of the pixels, in passes that are brought into the operands' form in the second-level cache, and
//! adds all blocks of channels and panels of columns of a pass to its sums. The number of parts depends on the pixels
//! alone, and their sums are added in order. For layers whose sums stay in that cache as well; wider ones are
//! [`super::conv_grad`]'s.

use std::ops::Range;

use rayon::prelude::*;

use super::conv::cut_row;
use super::conv_grad::add_rows;
use super::isa::Isa;
use super::strip::{Outer, PANEL, ROWS, StripOperand};
use super::tile::LANES;

/// Most sums of a part, 256 kB.
const MAX_SUMS: usize = 1 << 16;
/// Words of a pass.
const PASS_WORDS: usize = 256;
/// Most parts.
const PARTS: usize = 16;

/// Gradients by weight and bias of a layer from `channels` to `columns`.
#[derive(Debug, Clone, Copy)]
pub(super) struct PointwiseGrad<'a> {
    /// `[pixels][channels]`
    pub(super) x: &'a [f32],
    /// `[pixels][columns]`
    pub(super) grad: &'a [f32],
    /// As `grad`: the layer's output, where a rectifier follows it.
    pub(super) output: Option<&'a [f32]>,
    pub(super) channels: usize,
    pub(super) columns: usize,
}

/// The sums over one part of the pixels.
struct Part {
    /// `[panel][block][ROWS][PANEL]`
    by_weight: Vec<f32>,
    /// `[columns]`
    by_bias: Vec<f32>,
}

/// One pass in the operands' form.
struct Pass<T> {
    /// `[block][PASS_WORDS][ROWS]`
    map: Vec<T>,
    /// `[panel][PASS_WORDS][PANEL]`
    grad: Vec<T>,
    /// A word's pixels, where a pass ends within it.
    last: Vec<f32>,
    /// A pass's gradients where the rectifier let its input through.
    cut: Vec<f32>,
}

impl PointwiseGrad<'_> {
    /// Whether the sums stay in the cache.
    pub(super) const fn fits(channels: usize, columns: usize) -> bool {
        let sums = channels.next_multiple_of(ROWS) * columns.next_multiple_of(PANEL);
        0 < sums && sums <= MAX_SUMS
    }

    /// # Shapes
    /// -> `[channels, columns]` and `[columns]`
    pub(super) fn run<T: StripOperand>(&self, isa: Isa) -> [Vec<f32>; 2] {
        let pixels = self.grad.len() / self.columns;
        assert_eq!(self.x.len(), pixels * self.channels, "x has as many pixels");
        let pass = PASS_WORDS * T::PER_WORD;
        let part = pixels.div_ceil(pass).div_ceil(PARTS).max(1) * pass;
        let parts: Vec<Part> = (0..pixels.div_ceil(part))
            .into_par_iter()
            .map(|i| self.part::<T>(isa, i * part..pixels.min((i + 1) * part)))
            .collect();
        self.gather(isa, &parts)
    }

    const fn blocks(&self) -> usize {
        self.channels.div_ceil(ROWS)
    }

    const fn panels(&self) -> usize {
        self.columns.div_ceil(PANEL)
    }

    fn part<T: StripOperand>(&self, isa: Isa, pixels: Range<usize>) -> Part {
        let (blocks, panels) = (self.blocks(), self.panels());
        let mut part = Part {
            by_weight: vec![0.0; panels * blocks * ROWS * PANEL],
            by_bias: vec![0.0; self.columns],
        };
        let mut pass = Pass {
            map: vec![T::default(); blocks * PASS_WORDS * ROWS],
            grad: vec![T::default(); panels * PASS_WORDS * PANEL],
            last: vec![0.0; T::PER_WORD * self.channels],
            cut: Vec::new(),
        };
        let size = PASS_WORDS * T::PER_WORD;
        for first in pixels.clone().step_by(size) {
            let pixels = first..pixels.end.min(first + size);
            self.pack_map(isa, pixels.clone(), &mut pass);
            self.pack_grad(isa, pixels.clone(), &mut pass, &mut part.by_bias);
            let words = pixels.len().div_ceil(T::PER_WORD);
            let sums = part.by_weight.chunks_exact_mut(ROWS * PANEL).enumerate();
            for (i, sums) in sums {
                self.add(isa, &pass, [i / blocks, i % blocks, words], sums);
            }
        }
        part
    }

    fn pack_map<T: StripOperand>(&self, isa: Isa, pixels: Range<usize>, pass: &mut Pass<T>) {
        let channels = self.channels;
        let line = &self.x[pixels.start * channels..pixels.end * channels];
        let (whole, rest) = line.split_at(line.len() - line.len() % (T::PER_WORD * channels));
        let done = whole.len() / channels / T::PER_WORD * ROWS;
        pass.last[..rest.len()].copy_from_slice(rest);
        for (block, words) in pass.map.chunks_exact_mut(PASS_WORDS * ROWS).enumerate() {
            let place = [channels, block * ROWS];
            T::block(isa, whole, place, &mut words[..done]);
            if !rest.is_empty() {
                T::block(isa, &pass.last, place, &mut words[done..done + ROWS]);
            }
        }
    }

    fn pack_grad<T: StripOperand>(
        &self,
        isa: Isa,
        pixels: Range<usize>,
        pass: &mut Pass<T>,
        by_bias: &mut [f32],
    ) {
        let columns = self.columns;
        let part = pixels.start * columns..pixels.end * columns;
        let values = &self.grad[part.clone()];
        let values = match self.output {
            Some(output) => cut_row(isa, values, &output[part], &mut pass.cut),
            None => values,
        };
        add_rows(isa, values, by_bias);
        let filled = pixels.len().div_ceil(T::PER_WORD) * PANEL;
        for (panel, words) in pass.grad.chunks_exact_mut(PASS_WORDS * PANEL).enumerate() {
            let first = panel * PANEL;
            let size = [pixels.len(), PANEL.min(columns - first), columns];
            T::columns(isa, &values[first..], size, PANEL, &mut words[..filled]);
        }
    }

    /// Adds the products of a pass's block and panel.
    fn add<T: StripOperand>(
        &self,
        isa: Isa,
        pass: &Pass<T>,
        [panel, block, words]: [usize; 3],
        sums: &mut [f32],
    ) {
        let a = &pass.map[block * PASS_WORDS * ROWS..][..words * ROWS];
        let b = &pass.grad[panel * PASS_WORDS * PANEL..][..words * PANEL];
        assert_eq!(sums.len(), ROWS * PANEL, "a block and a panel");
        let outer = Outer {
            lines: 1,
            words,
            a: a.as_ptr(),
            a_step: 0,
            b: b.as_ptr(),
            b_step: 0,
            vectors: PANEL.min(self.columns - panel * PANEL).div_ceil(LANES),
            sums: sums.as_mut_ptr(),
        };
        #[expect(unsafe_code, reason = "the product takes pointers")]
        // SAFETY: the words of block and panel were cut to size above; `sums` is borrowed mutably.
        unsafe {
            T::outer(isa, &outer);
        }
    }

    /// The sums of all parts, in order.
    fn gather(&self, isa: Isa, parts: &[Part]) -> [Vec<f32>; 2] {
        let (blocks, columns) = (self.blocks(), self.columns);
        let mut by_weight = vec![0.0; self.channels * columns];
        by_weight
            .par_chunks_mut(columns)
            .enumerate()
            .with_min_len(16)
            .for_each(|(c, row)| {
                for (panel, row) in row.chunks_mut(PANEL).enumerate() {
                    let from = ((panel * blocks + c / ROWS) * ROWS + c % ROWS) * PANEL;
                    for part in parts {
                        add_rows(isa, &part.by_weight[from..from + row.len()], row);
                    }
                }
            });
        let mut by_bias = vec![0.0; columns];
        for part in parts {
            add_rows(isa, &part.by_bias, &mut by_bias);
        }
        [by_weight, by_bias]
    }
}
