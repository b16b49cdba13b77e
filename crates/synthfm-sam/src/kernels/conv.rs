//! Convolution on channels-last data: a matrix product over gathered patches (im2col, tile by tile, so that
//! the gathered patches stay in the cache), and its gradients. Products go to the `gemm` crate, which picks
//! AVX2, AVX-512 or NEON at run time.

use gemm::Parallelism;
use rayon::prelude::*;

use super::activation::gelu_of;
use super::isa::{Isa, multiversion};
use super::linear::Activation;
use super::sum_parts;

/// Output pixels that one task gathers: enough to amortise packing the weights.
const TILE_PIXELS: usize = 512;

/// Shape of a channels-last convolution with zero padding: an output pixel for every `stride`-th of the input.
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
    /// Side of the kernel: 1 or another odd number.
    pub(crate) side: usize,
    /// 1 where gradients are asked for.
    pub(crate) stride: usize,
}

impl ConvShape {
    /// Rows and columns of the output.
    pub(crate) const fn grid(self) -> [usize; 2] {
        [
            self.height.div_ceil(self.stride),
            self.width.div_ceil(self.stride),
        ]
    }

    const fn patch(self) -> usize {
        self.side * self.side * self.input
    }

    /// Pixels of the output.
    const fn pixels(self) -> usize {
        let [rows, columns] = self.grid();
        self.batch * rows * columns
    }

    /// Whole output rows per tile.
    fn tile_rows(self) -> usize {
        let [rows, columns] = self.grid();
        (TILE_PIXELS / columns.max(1)).clamp(1, rows.max(1))
    }

    /// `(image, first row, rows)` of every tile of the output.
    fn tiles(self) -> Vec<(usize, usize, usize)> {
        let (step, [height, _]) = (self.tile_rows(), self.grid());
        (0..self.batch)
            .flat_map(|image| {
                (0..height)
                    .step_by(step)
                    .map(move |row| (image, row, step.min(height - row)))
            })
            .collect()
    }

    /// Gathers the patches of `rows` rows of the output of one image: `[rows·columns, side·side·C]`.
    fn gather(self, image: &[f32], first: usize, rows: usize, patches: &mut [f32]) {
        let Self {
            height,
            width,
            input,
            side,
            stride,
            ..
        } = self;
        let [_, columns] = self.grid();
        let reach = (side / 2) as isize;
        for (i, patch) in patches[..rows * columns * self.patch()]
            .chunks_exact_mut(self.patch())
            .enumerate()
        {
            let [row, col] = [first + i / columns, i % columns].map(|v| (v * stride) as isize);
            for (dy, line) in patch.chunks_exact_mut(side * input).enumerate() {
                let y = row + dy as isize - reach;
                if y < 0 || y >= height as isize {
                    line.fill(0.0);
                    continue;
                }
                let source = &image[y as usize * width * input..][..width * input];
                let (from, to) = ((col - reach).max(0), (col + reach + 1).min(width as isize));
                let skip = (from - (col - reach)) as usize * input;
                let len = (to - from) as usize * input;
                line[..skip].fill(0.0);
                line[skip..skip + len].copy_from_slice(&source[from as usize * input..][..len]);
                line[skip + len..].fill(0.0);
            }
        }
    }

    /// The patches of one tile: the input itself where the kernel is 1×1.
    fn patches<'a>(
        self,
        x: &'a [f32],
        (image, row, rows): (usize, usize, usize),
        buffer: &'a mut Vec<f32>,
    ) -> &'a [f32] {
        let plane = self.height * self.width * self.input;
        let image = &x[image * plane..][..plane];
        if self.side == 1 && self.stride == 1 {
            return &image[row * self.width * self.input..][..rows * self.width * self.input];
        }
        let line = self.grid()[1] * self.patch();
        buffer.resize(self.tile_rows() * line, 0.0);
        self.gather(image, row, rows, buffer);
        &buffer[..rows * line]
    }
}

/// A dense row-major matrix, or its transpose.
#[derive(Clone, Copy)]
struct Matrix<'a> {
    data: &'a [f32],
    rows: usize,
    cols: usize,
    row_stride: isize,
    col_stride: isize,
}

impl<'a> Matrix<'a> {
    fn new(data: &'a [f32], rows: usize, cols: usize) -> Self {
        assert_eq!(data.len(), rows * cols, "matrix data fit their shape");
        Self {
            data,
            rows,
            cols,
            row_stride: cols as isize,
            col_stride: 1,
        }
    }

    fn transposed(self) -> Self {
        Self {
            data: self.data,
            rows: self.cols,
            cols: self.rows,
            row_stride: self.col_stride,
            col_stride: self.row_stride,
        }
    }
}

/// `out = a · b`, or `out += a · b`; `out` is row-major.
fn product(a: Matrix, b: Matrix, out: &mut [f32], accumulate: bool, threads: Parallelism) {
    assert_eq!(a.cols, b.rows, "inner dimensions agree");
    assert_eq!(out.len(), a.rows * b.cols, "output fits");
    if out.is_empty() {
        return;
    }
    // SAFETY: the three matrices lie within their slices, as checked when they were made and above;
    // `out` is borrowed mutably, so it overlaps neither operand.
    #[expect(
        unsafe_code,
        reason = "the product's interface takes pointers; bounds are asserted above"
    )]
    unsafe {
        gemm::gemm(
            a.rows,
            b.cols,
            a.cols,
            out.as_mut_ptr(),
            1,
            b.cols as isize,
            accumulate,
            a.data.as_ptr(),
            a.col_stride,
            a.row_stride,
            b.data.as_ptr(),
            b.col_stride,
            b.row_stride,
            1.0_f32,
            1.0_f32,
            false,
            false,
            false,
            threads,
        );
    }
}

/// Convolution, bias and nonlinearity.
///
/// `x`: `[B, H, W, C]`, `weight`: `[side, side, C, O]`, `bias`: `[O]` or empty; returns `[B, rows, columns, O]`.
pub(crate) fn conv(
    isa: Isa,
    shape: ConvShape,
    x: &[f32],
    weight: &[f32],
    bias: &[f32],
    activation: Activation,
) -> Vec<f32> {
    let ([height, width], output) = (shape.grid(), shape.output);
    let mut out = vec![0.0; shape.pixels() * output];
    let weight = Matrix::new(weight, shape.patch(), output);
    let step = shape.tile_rows();
    let tile = |image: usize, index: usize, out: &mut [f32], buffer: &mut Vec<f32>| {
        let rows = out.len() / (width * output);
        let patches = shape.patches(x, (image, index * step, rows), buffer);
        product(
            Matrix::new(patches, rows * width, shape.patch()),
            weight,
            out,
            false,
            Parallelism::None,
        );
        finish(isa, out, bias, activation);
    };
    out.par_chunks_mut((height * width * output).max(1))
        .enumerate()
        .for_each(|(image, plane)| {
            plane
                .par_chunks_mut((step * width * output).max(1))
                .enumerate()
                .for_each_init(Vec::new, |buffer, (index, out)| {
                    tile(image, index, out, buffer);
                });
        });
    out
}

multiversion! {
    /// Adds `bias`, if there is one, to every pixel, and applies the nonlinearity.
    fn finish(isa: Isa, out: &mut [f32], bias: &[f32], activation: Activation) {
        if !bias.is_empty() {
            for pixel in out.chunks_exact_mut(bias.len()) {
                pixel.iter_mut().zip(bias).for_each(|(v, b)| *v += b);
            }
        }
        match activation {
            Activation::None => {}
            Activation::Relu => out.iter_mut().for_each(|v| *v = v.max(0.0)),
            Activation::Gelu => {
                for v in out {
                    *v = gelu_of(*v);
                }
            }
        }
    }
}

/// Gradient of [`conv`] by its input: the convolution of the output's gradient with the kernel turned
/// by 180° and its channels swapped.
pub(crate) fn conv_input_grad(
    isa: Isa,
    shape: ConvShape,
    grad: &[f32],
    weight: &[f32],
) -> Vec<f32> {
    assert_eq!(shape.stride, 1, "gradients are those of stride 1");
    let ConvShape {
        input,
        output,
        side,
        ..
    } = shape;
    let taps = side * side;
    let mut turned = vec![0.0; weight.len()];
    for (tap, block) in turned.chunks_exact_mut((input * output).max(1)).enumerate() {
        let source = &weight[(taps - 1 - tap) * input * output..][..input * output];
        for (o, row) in block.chunks_exact_mut(input.max(1)).enumerate() {
            row.iter_mut()
                .enumerate()
                .for_each(|(c, v)| *v = source[c * output + o]);
        }
    }
    let turned_shape = ConvShape {
        input: output,
        output: input,
        ..shape
    };
    conv(isa, turned_shape, grad, &turned, &[], Activation::None)
}

/// Gradients of [`conv`] by weight and bias: `[side, side, C, O]` followed by `[O]`.
pub(crate) fn conv_param_grad(shape: ConvShape, x: &[f32], grad: &[f32]) -> Vec<f32> {
    assert_eq!(shape.stride, 1, "gradients are those of stride 1");
    let ConvShape {
        height,
        width,
        output,
        ..
    } = shape;
    let weights = shape.patch() * output;
    let tiles = shape.tiles();
    sum_parts(tiles.len(), weights + output, |range, sum| {
        let mut buffer = Vec::new();
        for &(image, row, rows) in &tiles[range] {
            let grad = &grad[(image * height + row) * width * output..][..rows * width * output];
            let patches = shape.patches(x, (image, row, rows), &mut buffer);
            let patches = Matrix::new(patches, rows * width, shape.patch());
            let (by_weight, by_bias) = sum.split_at_mut(weights);
            let grad_matrix = Matrix::new(grad, rows * width, output);
            product(
                patches.transposed(),
                grad_matrix,
                by_weight,
                true,
                Parallelism::None,
            );
            for pixel in grad.chunks_exact(output) {
                by_bias.iter_mut().zip(pixel).for_each(|(s, g)| *s += g);
            }
        }
    })
}
