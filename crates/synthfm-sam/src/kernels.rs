//! CPU kernels on plain slices: convolution, layer normalisation and GELU on channels-last data.
//!
//! Convolution is a matrix product over gathered patches (im2col, tile by tile, so that the gathered
//! patches stay in the cache); products go to the `gemm` crate, which picks AVX2, AVX-512 or NEON at
//! run time. Work is cut into parts whose number depends on the shapes alone, and partial sums are
//! added in a fixed order: the results do not depend on the number of threads.

use gemm::Parallelism;
use rayon::prelude::*;

/// Output pixels that one task gathers: enough to amortise packing the weights.
const TILE_PIXELS: usize = 512;
/// Parts of a sum over pixels (weight gradients); fixed so that the result is.
const SUM_PARTS: usize = 4;
/// Elements per task of an element-wise pass.
const CHUNK: usize = 1 << 14;

/// Shape of a channels-last convolution with stride 1 and zero padding that keeps the size.
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
}

impl ConvShape {
    const fn patch(self) -> usize {
        self.side * self.side * self.input
    }

    const fn pixels(self) -> usize {
        self.batch * self.height * self.width
    }

    /// Whole rows per tile.
    fn tile_rows(self) -> usize {
        (TILE_PIXELS / self.width.max(1)).clamp(1, self.height.max(1))
    }

    /// `(image, first row, rows)` of every tile.
    fn tiles(self) -> Vec<(usize, usize, usize)> {
        let step = self.tile_rows();
        (0..self.batch)
            .flat_map(|image| {
                (0..self.height)
                    .step_by(step)
                    .map(move |row| (image, row, step.min(self.height - row)))
            })
            .collect()
    }

    /// Gathers the patches around `rows` rows of one image: `[rows·W, side·side·C]`.
    fn gather(self, image: &[f32], first: usize, rows: usize, patches: &mut [f32]) {
        let Self {
            height,
            width,
            input,
            side,
            ..
        } = self;
        let reach = (side / 2) as isize;
        for (i, patch) in patches[..rows * width * self.patch()]
            .chunks_exact_mut(self.patch())
            .enumerate()
        {
            let (row, col) = ((first + i / width) as isize, (i % width) as isize);
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
        if self.side == 1 {
            return &image[row * self.width * self.input..][..rows * self.width * self.input];
        }
        buffer.resize(self.tile_rows() * self.width * self.patch(), 0.0);
        self.gather(image, row, rows, buffer);
        &buffer[..rows * self.width * self.patch()]
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

/// Convolution, bias added and, if asked, negative values cut off.
///
/// `x`: `[B, H, W, C]`, `weight`: `[side, side, C, O]`, `bias`: `[O]` or empty; returns `[B, H, W, O]`.
pub(crate) fn conv(
    shape: ConvShape,
    x: &[f32],
    weight: &[f32],
    bias: &[f32],
    relu: bool,
) -> Vec<f32> {
    let ConvShape {
        height,
        width,
        output,
        ..
    } = shape;
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
        add_bias(out, bias, relu);
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

fn add_bias(out: &mut [f32], bias: &[f32], relu: bool) {
    if !bias.is_empty() {
        for pixel in out.chunks_exact_mut(bias.len()) {
            pixel.iter_mut().zip(bias).for_each(|(v, b)| *v += b);
        }
    }
    if relu {
        for v in out {
            *v = v.max(0.0);
        }
    }
}

/// Gradient of [`conv`] by its input: the convolution of the output's gradient with the kernel turned
/// by 180° and its channels swapped.
pub(crate) fn conv_input_grad(shape: ConvShape, grad: &[f32], weight: &[f32]) -> Vec<f32> {
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
    conv(
        ConvShape {
            input: output,
            output: input,
            ..shape
        },
        grad,
        &turned,
        &[],
        false,
    )
}

/// Gradients of [`conv`] by weight and bias: `[side, side, C, O]` followed by `[O]`.
pub(crate) fn conv_param_grad(shape: ConvShape, x: &[f32], grad: &[f32]) -> Vec<f32> {
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

/// Adds up `part(range, sum)` over [`SUM_PARTS`] ranges of `0..count`, in order.
fn sum_parts(
    count: usize,
    len: usize,
    part: impl Fn(std::ops::Range<usize>, &mut [f32]) + Sync,
) -> Vec<f32> {
    let step = count.div_ceil(SUM_PARTS).max(1);
    let sums: Vec<Vec<f32>> = (0..count.div_ceil(step))
        .into_par_iter()
        .map(|i| {
            let mut sum = vec![0.0; len];
            part(i * step..((i + 1) * step).min(count), &mut sum);
            sum
        })
        .collect();
    let mut total = vec![0.0; len];
    for sum in &sums {
        total.iter_mut().zip(sum).for_each(|(t, s)| *t += s);
    }
    total
}

/// Mean and reciprocal standard deviation (biased variance) of one row.
fn moments(row: &[f32], epsilon: f32) -> (f32, f32) {
    let n = row.len() as f32;
    let mean = lane_sum(row, |v| v) / n;
    let variance = lane_sum(row, |v| (v - mean) * (v - mean)) / n;
    (mean, 1.0 / (variance + epsilon).sqrt())
}

/// Sum of `f` over a row in sixteen interleaved partial sums: vectorises, and is always the same.
fn lane_sum(row: &[f32], f: impl Fn(f32) -> f32) -> f32 {
    let mut lanes = [0.0_f32; 16];
    let chunks = row.chunks_exact(16);
    let rest: f32 = chunks.remainder().iter().map(|&v| f(v)).sum();
    for chunk in chunks {
        lanes.iter_mut().zip(chunk).for_each(|(s, &v)| *s += f(v));
    }
    lanes.iter().sum::<f32>() + rest
}

/// Layer normalisation over the last axis: `x`: `[M, C]`, `gamma`, `beta`: `[C]`.
pub(crate) fn layer_norm(x: &[f32], gamma: &[f32], beta: &[f32], epsilon: f32) -> Vec<f32> {
    let channels = gamma.len();
    let mut out = vec![0.0; x.len()];
    let rows = (CHUNK / channels).max(1) * channels;
    out.par_chunks_mut(rows)
        .zip(x.par_chunks(rows))
        .for_each(|(out, x)| {
            for (out, x) in out.chunks_exact_mut(channels).zip(x.chunks_exact(channels)) {
                let (mean, scale) = moments(x, epsilon);
                for i in 0..channels {
                    out[i] = (x[i] - mean) * scale * gamma[i] + beta[i];
                }
            }
        });
    out
}

/// Gradient of [`layer_norm`] by its input.
pub(crate) fn layer_norm_input_grad(
    x: &[f32],
    gamma: &[f32],
    grad: &[f32],
    epsilon: f32,
) -> Vec<f32> {
    let channels = gamma.len();
    let n = channels as f32;
    let mut out = vec![0.0; x.len()];
    let rows = (CHUNK / channels).max(1) * channels;
    let row = |out: &mut [f32], x: &[f32], grad: &[f32]| {
        let (mean, scale) = moments(x, epsilon);
        for i in 0..channels {
            out[i] = grad[i] * gamma[i];
        }
        let sum = lane_sum(out, |v| v) / n;
        let mut lanes = [0.0_f32; 16];
        for i in 0..channels {
            lanes[i % 16] += out[i] * (x[i] - mean) * scale;
        }
        let dot = lanes.iter().sum::<f32>() / n;
        for i in 0..channels {
            out[i] = (out[i] - sum - (x[i] - mean) * scale * dot) * scale;
        }
    };
    out.par_chunks_mut(rows)
        .zip(x.par_chunks(rows))
        .zip(grad.par_chunks(rows))
        .for_each(|((out, x), g)| {
            let pairs = x.chunks_exact(channels).zip(g.chunks_exact(channels));
            out.chunks_exact_mut(channels)
                .zip(pairs)
                .for_each(|(out, (x, g))| row(out, x, g));
        });
    out
}

/// Gradients of [`layer_norm`] by `gamma` and `beta`, one after the other: `[2·C]`.
pub(crate) fn layer_norm_param_grad(
    x: &[f32],
    grad: &[f32],
    channels: usize,
    epsilon: f32,
) -> Vec<f32> {
    sum_parts(x.len() / channels, 2 * channels, |range, sum| {
        let (by_gamma, by_beta) = sum.split_at_mut(channels);
        let range = range.start * channels..range.end * channels;
        let pairs = x[range.clone()]
            .chunks_exact(channels)
            .zip(grad[range].chunks_exact(channels));
        for (x, grad) in pairs {
            let (mean, scale) = moments(x, epsilon);
            for i in 0..channels {
                by_gamma[i] += grad[i] * (x[i] - mean) * scale;
                by_beta[i] += grad[i];
            }
        }
    })
}

/// e^x for x <= 0, relative error below 2e-7 (polynomial of degree 5 after reduction to [-1/2, 1/2]·ln 2).
#[inline]
fn exp_nonpositive(x: f32) -> f32 {
    const ROUND: f32 = 12_582_912.0; // 1.5 · 2^23: adding it rounds to an integer
    let t = x.max(-87.0) * std::f32::consts::LOG2_E;
    let n = (t + ROUND) - ROUND;
    let f = (t - n) * std::f32::consts::LN_2;
    let p = 1.0 / 120.0 + f * (1.0 / 720.0);
    let p = 1.0 / 24.0 + f * p;
    let p = 1.0 / 6.0 + f * p;
    let p = 0.5 + f * p;
    let p = 1.0 + f * (1.0 + f * p);
    f32::from_bits(((n as i32 + 127) << 23) as u32) * p
}

/// Standard normal distribution function Φ(x) and density φ(x).
///
/// erf by Abramowitz and Stegun 7.1.26, absolute error below 1.5e-7.
#[inline]
fn normal_cdf_pdf(x: f32) -> (f32, f32) {
    const INV_SQRT_2PI: f32 = 0.398_942_3;
    let z = x.abs() * std::f32::consts::FRAC_1_SQRT_2;
    let t = 1.0 / (1.0 + 0.327_591_1 * z);
    let poly = ((((1.061_405_4 * t - 1.453_152_1) * t) + 1.421_413_8) * t - 0.284_496_74) * t
        + 0.254_829_6;
    let e = exp_nonpositive(-z * z);
    let erf = 1.0 - poly * t * e;
    (0.5 + 0.5 * erf.copysign(x), e * INV_SQRT_2PI)
}

/// GELU with the error function, x·Φ(x), as in SAM.
pub(crate) fn gelu(x: &[f32]) -> Vec<f32> {
    let mut out = vec![0.0; x.len()];
    out.par_chunks_mut(CHUNK)
        .zip(x.par_chunks(CHUNK))
        .for_each(|(out, x)| {
            out.iter_mut()
                .zip(x)
                .for_each(|(o, &x)| *o = x * normal_cdf_pdf(x).0);
        });
    out
}

/// Gradient of [`gelu`]: (Φ(x) + x·φ(x)) · grad.
pub(crate) fn gelu_grad(x: &[f32], grad: &[f32]) -> Vec<f32> {
    let mut out = vec![0.0; x.len()];
    out.par_chunks_mut(CHUNK)
        .zip(x.par_chunks(CHUNK))
        .zip(grad.par_chunks(CHUNK))
        .for_each(|((out, x), g)| {
            for ((o, &x), &g) in out.iter_mut().zip(x).zip(g) {
                let (cdf, pdf) = normal_cdf_pdf(x);
                *o = (cdf + x * pdf) * g;
            }
        });
    out
}
