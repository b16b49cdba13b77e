//! Convolution on channels-last data: an implicit matrix product, whose patches are read where the map lies.
//!
//! A task takes a band of rows, which it brings into the operands' form (with zeros around it) once; the inner loop
//! ([`super::strip`]) then reads the patches of eight neighbouring pixels from that. Every element of the result is
//! one sum in a fixed order, however the work is cut.

use std::mem::MaybeUninit;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rayon::prelude::*;

use super::activation::gelu_of;
use super::isa::{Isa, multiversion};
use super::linear::{Activation, Arithmetic};
use super::strip::{PANEL, ROWS, Strip, StripOperand};
use super::tile::{Bf16Pair, LANES};
use super::uninit;

/// Pixels of a line of a map whose pixels have no neighbours.
pub(super) const FLAT_LINE: usize = 128;
/// Words of a band, which stays in the second-level cache beside a panel of weights.
const BAND_WORDS: usize = 1 << 16;
/// Multiplications that are worth a task.
const TASK_WORK: usize = 1 << 19;

/// Shape of a channels-last convolution: an output pixel for every `stride`-th of the input, with zero padding; or,
/// where the side is even, for each patch of `side × side` pixels.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ConvShape {
    /// Images.
    pub(crate) batch: usize,
    /// Rows.
    pub(crate) height: usize,
    /// Columns.
    pub(crate) width: usize,
    /// Input channels.
    pub(crate) input: usize,
    /// Output channels.
    pub(crate) output: usize,
    /// Side of the kernel: odd, or the stride.
    pub(crate) side: usize,
    /// 1 or the side where gradients are asked for.
    pub(crate) stride: usize,
}

impl ConvShape {
    /// Rows and columns of the output.
    pub(crate) const fn grid(self) -> [usize; 2] {
        if self.is_padded() {
            [
                self.height.div_ceil(self.stride),
                self.width.div_ceil(self.stride),
            ]
        } else {
            [self.height / self.stride, self.width / self.stride]
        }
    }

    const fn is_padded(self) -> bool {
        self.side % 2 == 1
    }

    /// Rows and columns of zeros on each side.
    pub(super) const fn reach(self) -> usize {
        if self.is_padded() { self.side / 2 } else { 0 }
    }

    /// Whether pixels have no neighbours, so that their places do not matter.
    pub(super) const fn is_pointwise(self) -> bool {
        self.side == 1 && self.stride == 1
    }

    pub(super) const fn taps(self) -> usize {
        self.side * self.side
    }
}

/// Where a convolution's weights lie.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kernel<'a> {
    /// `[side, side, C, O]`
    Plain(&'a [f32]),
    /// `[side, side, O, C]`, turned by 180°.
    Turned(&'a [f32]),
    /// `[O, side, side, C]`
    Transposed(&'a [f32]),
}

impl Kernel<'_> {
    const fn values(&self) -> &[f32] {
        match *self {
            Self::Plain(values) | Self::Turned(values) | Self::Transposed(values) => values,
        }
    }
}

/// Where the values of a pixel go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Placement {
    /// `[B, rows, columns, O]`
    Pixels,
    /// Each pixel becomes 2 × 2: `[B, 2·rows, 2·columns, O/4]`.
    Spread,
}

/// `activation(x * weight + bias) + residual`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Conv<'a> {
    pub(crate) shape: ConvShape,
    /// `[B, H, W, C]`
    pub(crate) x: &'a [f32],
    /// As `x`: where this is not positive, `x` counts as zero.
    pub(crate) cut: Option<&'a [f32]>,
    pub(crate) weight: Kernel<'a>,
    /// `[O]`, or empty.
    pub(crate) bias: &'a [f32],
    pub(crate) activation: Activation,
    /// As the output.
    pub(crate) residual: Option<&'a [f32]>,
    pub(crate) placement: Placement,
}

impl Conv<'_> {
    /// # Shapes
    /// -> see [`Placement`]
    pub(crate) fn run(&self, isa: Isa, arithmetic: Arithmetic) -> Vec<f32> {
        match arithmetic {
            Arithmetic::F32 | Arithmetic::F16 => self.run_in::<f32>(isa),
            Arithmetic::Bf16 => self.run_in::<Bf16Pair>(isa),
        }
    }

    fn run_in<T: StripOperand>(&self, isa: Isa) -> Vec<f32> {
        let shape = self.shape;
        let [rows, columns] = shape.grid();
        let outputs = shape.batch * rows * columns * shape.output;
        let inputs = shape.batch * shape.height * shape.width * shape.input;
        let weights = shape.taps() * shape.input * shape.output;
        let fits = |part: Option<&[f32]>, count: usize| part.is_none_or(|p| p.len() == count);
        assert_eq!(self.x.len(), inputs, "x is [B, H, W, C]");
        assert_eq!(
            self.weight.values().len(),
            weights,
            "weight is [s, s, C, O]"
        );
        assert!(fits(self.cut, inputs), "what cuts x is [B, H, W, C]");
        assert!(fits(self.residual, outputs), "residual is as the output");
        assert!(
            self.bias.is_empty() || self.bias.len() == shape.output,
            "bias is [O]"
        );
        assert!(
            self.placement == Placement::Pixels || shape.output.is_multiple_of(4),
            "each pixel becomes four"
        );
        let task = Task {
            conv: self,
            lines: Lines::new(shape, self.placement),
            weights: pack::<T>(isa, shape, self.weight),
            bias: padded(self.bias, shape.output),
            memory: Mutex::default(),
            isa,
        };
        #[expect(unsafe_code, reason = "output that is written once")]
        // SAFETY: the bands cover all rows of all images, and `band` writes all of each.
        unsafe {
            uninit::filled(outputs, |out| task.fill(out))
        }
    }
}

/// Columns up to whole panels.
fn padded(bias: &[f32], output: usize) -> Vec<f32> {
    let mut padded = vec![0.0; output.next_multiple_of(PANEL)];
    padded[..bias.len()].copy_from_slice(bias);
    padded
}

/// Lines of output pixels.
#[derive(Debug, Clone, Copy)]
struct Lines {
    planes: usize,
    /// Lines of a plane.
    count: usize,
    width: usize,
    /// Pixels of a plane: the last line may be shorter.
    pixels: usize,
    /// Whether these are lines of all pixels together, of a map whose pixels have no neighbours.
    flat: bool,
}

impl Lines {
    fn new(shape: ConvShape, placement: Placement) -> Self {
        let [rows, columns] = shape.grid();
        if shape.is_pointwise() && placement == Placement::Pixels {
            let pixels = shape.batch * rows * columns;
            return Self {
                planes: 1,
                count: pixels.div_ceil(FLAT_LINE),
                width: FLAT_LINE.min(pixels),
                pixels,
                flat: true,
            };
        }
        Self {
            planes: shape.batch,
            count: rows,
            width: columns,
            pixels: rows * columns,
            flat: false,
        }
    }

    /// Pixels of a line.
    fn length(&self, line: usize) -> usize {
        self.width.min(self.pixels - line * self.width)
    }
}

/// The weights as `[panel][tap][words of C][PANEL]`.
fn pack<T: StripOperand>(isa: Isa, shape: ConvShape, kernel: Kernel<'_>) -> Vec<T> {
    let ConvShape { input, output, .. } = shape;
    let (taps, words) = (shape.taps(), input.div_ceil(T::PER_WORD));
    let size = (taps * words * PANEL).max(1);
    let fill = |packed: &mut [MaybeUninit<T>]| {
        let panels = packed.par_chunks_mut(size).enumerate();
        panels.for_each(|(i, panel)| {
            let panel = uninit::cleared(panel);
            let columns = i * PANEL..output.min((i + 1) * PANEL);
            let mut lines = vec![T::default(); words * PANEL];
            for (tap, panel) in panel.chunks_exact_mut((words * PANEL).max(1)).enumerate() {
                let row = |column: usize| match kernel {
                    Kernel::Plain(_) => unreachable!("handled by rows"),
                    Kernel::Turned(w) => {
                        &w[((taps - 1 - tap) * output + column) * input..][..input]
                    }
                    Kernel::Transposed(w) => &w[(column * taps + tap) * input..][..input],
                };
                if let Kernel::Plain(weight) = kernel {
                    let rows = &weight[tap * input * output + columns.start..];
                    let size = [input, columns.len(), output];
                    T::columns(isa, rows, size, PANEL, panel);
                } else {
                    for (line, column) in lines.chunks_exact_mut(words).zip(columns.clone()) {
                        T::row_words(isa, row(column), line);
                    }
                    T::turn(isa, &lines, PANEL, panel);
                }
            }
        });
    };
    let count = taps * words * output.next_multiple_of(PANEL);
    #[expect(unsafe_code, reason = "memory that is written once")]
    // SAFETY: the panels cover all of it, and each is cleared before it is written.
    unsafe {
        uninit::filled(count, fill)
    }
}

/// What all tasks of a convolution share.
struct Task<'a, T> {
    conv: &'a Conv<'a>,
    lines: Lines,
    weights: Vec<T>,
    bias: Vec<f32>,
    /// Buffers of tasks that are done, for the next: as many as have run at once.
    memory: Mutex<Vec<Buffers<T>>>,
    isa: Isa,
}

/// Memory of a task.
#[derive(Default)]
struct Buffers<T> {
    band: Vec<T>,
    row: Vec<f32>,
}

/// A band's input in the operands' form.
#[derive(Clone, Copy)]
struct Band<'b, T> {
    words: &'b [T],
    /// Words from a line to the next, and of a pixel.
    step: usize,
    pixel: usize,
}

impl<T: StripOperand> Task<'_, T> {
    /// Lines of a band.
    fn band_lines(&self) -> usize {
        let ConvShape {
            input,
            output,
            stride,
            ..
        } = self.conv.shape;
        let width = self.lines.width.max(1);
        let words = width * stride * stride * input.div_ceil(T::PER_WORD);
        let work = width * self.conv.shape.taps() * input * output;
        let all = self.lines.planes * self.lines.count;
        let shared = all.div_ceil(4 * rayon::current_num_threads());
        let worth = (TASK_WORK / work.max(1)).max(1);
        let cached = (BAND_WORDS / words.max(1)).max(1);
        shared.max(worth).min(cached).min(self.lines.count.max(1))
    }

    /// Memory that no task uses.
    fn memory(&self) -> MutexGuard<'_, Vec<Buffers<T>>> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fill(&self, out: &mut [MaybeUninit<f32>]) {
        let output = self.conv.shape.output;
        let lines = self.band_lines();
        let (plane, band) = (
            self.lines.pixels * output,
            lines * self.lines.width * output,
        );
        out.par_chunks_mut(plane.max(1))
            .enumerate()
            .for_each(|(image, out)| {
                out.par_chunks_mut(band.max(1))
                    .enumerate()
                    .for_each(|(i, out)| {
                        let mut buffers = self.memory().pop().unwrap_or_default();
                        self.band(image, i * lines, out, &mut buffers);
                        self.memory().push(buffers);
                    });
            });
    }

    /// Writes all lines of a band from `first` on: as many as `out` holds.
    fn band(
        &self,
        image: usize,
        first: usize,
        out: &mut [MaybeUninit<f32>],
        buffers: &mut Buffers<T>,
    ) {
        let Conv {
            shape,
            activation,
            residual,
            ..
        } = *self.conv;
        let line = self.lines.width * shape.output;
        let lines = out.len().div_ceil(line.max(1));
        let start = image * self.lines.pixels * shape.output + first * line;
        let residual = residual.map(|all| &all[start..start + out.len()]);
        let band = self.input(image, first..first + lines, buffers);
        for (index, column) in (0..shape.output).step_by(PANEL).enumerate() {
            for i in 0..lines {
                let length = self.lines.length(first + i);
                let part = i * line..i * line + length * shape.output;
                let residual = residual.map(|all| &all[part.clone()]);
                self.line(&band, i, [index, column], &mut out[part], residual);
            }
        }
        if activation == Activation::Gelu {
            #[expect(unsafe_code, reason = "output that is written already")]
            // SAFETY: `line` has written every pixel's every panel.
            let values = unsafe { out.assume_init_mut() };
            gelu(self.isa, values);
        }
    }

    /// The input of some lines, with what is around them.
    fn input<'b>(
        &'b self,
        image: usize,
        lines: std::ops::Range<usize>,
        buffers: &'b mut Buffers<T>,
    ) -> Band<'b, T> {
        let ConvShape {
            height,
            width,
            input,
            side,
            stride,
            ..
        } = self.conv.shape;
        let pixel = input.div_ceil(T::PER_WORD);
        let (plane, height, width) = if self.lines.flat {
            (self.conv.x.len(), self.lines.count, self.lines.width)
        } else {
            (height * width * input, height, width)
        };
        let values = image * plane..(image + 1) * plane;
        let (x, cut) = (
            &self.conv.x[values.clone()],
            self.conv.cut.map(|all| &all[values]),
        );
        let reach = self.conv.shape.reach();
        let shortest = self.lines.length(lines.end - 1);
        if let (0, None, true, Some(words)) = (reach, cut, shortest >= ROWS, T::in_place(x)) {
            let step = width * input;
            let words = &words[lines.start * stride * step..];
            return Band { words, step, pixel };
        }
        let step = (width + 2 * reach) * pixel;
        let count = (lines.len() - 1) * stride + side;
        // Strips of short lines end beyond them.
        let slack = ROWS * stride * pixel;
        let Buffers { band, row } = buffers;
        let needed = count * step + slack;
        if band.len() < needed {
            band.resize(needed, T::default());
        }
        let band = &mut band[..needed];
        let (rows, slack) = band.split_at_mut(count * step);
        slack.fill(T::default());
        for (i, words) in rows.chunks_exact_mut(step.max(1)).enumerate() {
            let source = (lines.start * stride + i)
                .checked_sub(reach)
                .filter(|&y| y < height);
            let Some(y) = source else {
                words.fill(T::default());
                continue;
            };
            let part = y * width * input..x.len().min((y + 1) * width * input);
            let values = match cut {
                Some(cut) => cut_row(self.isa, &x[part.clone()], &cut[part], row),
                None => &x[part],
            };
            let end = reach * pixel + values.len() / input * pixel;
            words[..reach * pixel].fill(T::default());
            to_words(self.isa, values, input, &mut words[reach * pixel..end]);
            words[end..].fill(T::default());
        }
        Band {
            words: band,
            step,
            pixel,
        }
    }

    /// Writes a panel's columns of line `line` of a band.
    fn line(
        &self,
        band: &Band<'_, T>,
        line: usize,
        [panel, column]: [usize; 2],
        out: &mut [MaybeUninit<f32>],
        residual: Option<&[f32]>,
    ) {
        let ConvShape {
            output,
            side,
            stride,
            ..
        } = self.conv.shape;
        let words = side * band.pixel;
        let weights = &self.weights[panel * side * words * PANEL..][..side * words * PANEL];
        let (length, columns) = (out.len() / output, PANEL.min(output - column));
        // Columns of `out` that lie together, where they begin, and where a pixel's next lie.
        let (run, pitch) = match self.conv.placement {
            Placement::Pixels => (output, output),
            Placement::Spread => (output / 2, output / 2),
        };
        let place = |pixel: usize, column: usize| {
            column / run * (length * run) + pixel * pitch + column % run
        };
        let whole = columns.is_multiple_of(LANES)
            && length >= ROWS
            && column / run == (column + columns - 1) / run;
        // Written by every strip that is not whole before it is read.
        let mut tile = [0.0_f32; ROWS * PANEL];
        for first in (0..length).step_by(ROWS) {
            // The last strip of a line begins earlier, and writes some pixels again.
            let first = first.min(length.saturating_sub(ROWS));
            let patches = &band.words[line * stride * band.step + first * stride * band.pixel..];
            let (pitch_in, vectors) = (stride * band.pixel, columns.div_ceil(LANES));
            let needed = (side - 1) * band.step + (ROWS - 1) * pitch_in + words;
            assert!(patches.len() >= needed, "the band holds the patches");
            let at = place(first, column);
            let strip = Strip {
                patches: patches.as_ptr(),
                pitch: pitch_in,
                lines: side,
                words,
                step: band.step,
                weights: weights.as_ptr(),
                vectors,
                bias: self.bias[column..][..PANEL].as_ptr(),
                floor: match self.conv.activation {
                    Activation::Relu => 0.0,
                    Activation::None | Activation::Gelu => f32::NEG_INFINITY,
                },
                residual: match residual {
                    Some(residual) if whole => residual[at..][..7 * pitch + columns].as_ptr(),
                    _ => std::ptr::null(),
                },
                out: if whole {
                    out[at..][..7 * pitch + columns].as_mut_ptr().cast()
                } else {
                    tile.as_mut_ptr()
                },
                stride: if whole { pitch } else { PANEL },
            };
            #[expect(
                unsafe_code,
                reason = "the strip takes pointers; bounds are asserted above"
            )]
            // SAFETY: patches, weights, bias, residual and output are within their slices, as asserted and by their
            // lengths; the output is borrowed mutably.
            unsafe {
                T::strip(self.isa, &strip);
            }
            if !whole {
                for pixel in first..length.min(first + ROWS) {
                    for j in 0..columns {
                        let at = place(pixel, column + j);
                        let value = tile[(pixel - first) * PANEL + j];
                        out[at].write(value + residual.map_or(0.0, |all| all[at]));
                    }
                }
            }
        }
    }
}

/// A line of pixels as words, each pixel's own.
pub(super) fn to_words<T: StripOperand>(
    isa: Isa,
    values: &[f32],
    channels: usize,
    words: &mut [T],
) {
    if channels.is_multiple_of(T::PER_WORD) {
        return T::row_words(isa, values, words);
    }
    let pixel = channels.div_ceil(T::PER_WORD);
    for (values, words) in values
        .chunks_exact(channels)
        .zip(words.chunks_exact_mut(pixel))
    {
        T::row_words(isa, values, words);
    }
}

/// The values of a gradient where a rectifier let its input through; `output` is the rectifier's.
pub(super) fn cut_row<'r>(
    isa: Isa,
    gradient: &[f32],
    output: &[f32],
    row: &'r mut Vec<f32>,
) -> &'r [f32] {
    multiversion! {
        fn cut(isa: Isa, gradient: &[f32], output: &[f32], row: &mut [f32]) {
            for (cut, (&gradient, &output)) in row.iter_mut().zip(gradient.iter().zip(output)) {
                *cut = if output > 0.0 { gradient } else { 0.0 };
            }
        }
    }
    row.resize(gradient.len(), 0.0);
    cut(isa, gradient, output, row);
    row
}

multiversion! {
    fn gelu(isa: Isa, values: &mut [f32]) {
        for v in values {
            *v = gelu_of(*v);
        }
    }
}
