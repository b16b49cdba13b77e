//! The end of our own mask decoder: SAM's upscaling with the encoder's finer maps added, and the product with the mask
//! tokens, in both directions. Finer maps are read where they lie, for all objects of their image, and masks are written
//! row by row; only what the backward pass needs is kept.

use std::mem::MaybeUninit;

use rayon::prelude::*;

use super::activation::{gelu_of, normal_cdf_pdf};
use super::conv::{Conv, ConvShape, Kernel, Placement};
use super::conv_grad::ParamGrad;
use super::isa::{Isa, multiversion};
use super::linear::{Activation, Arithmetic, Linear};
use super::norm::{lane_dot, norm_gelu, norm_gelu_grads, vector};
use super::tile::LANES;
use super::uninit;

/// Pixels that one cell becomes in each of the two steps.
const STEP: usize = 4;
/// Rows and columns of the logits in a cell.
const FINER: usize = 4;
/// Pixels of the logits in a cell.
const PIXELS: usize = FINER * FINER;

/// Two transposed convolutions with stride 2 as products; after the first, a finer map is added, then normalisation and
/// GELU; after the second, two finest maps are added, then GELU.
///
/// N objects lie on B images whose embeddings are `g × g` cells; C, C1 and C2 are the channels before, between and after
/// the steps.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FinerHead<'a> {
    /// `[N, g·g, C]`
    pub(crate) map: &'a [f32],
    /// `[C, 4·C1]` and `[4·C1]`
    pub(crate) first: [&'a [f32]; 2],
    /// `[B, 2·g, 2·g, C1]`
    pub(crate) half: &'a [f32],
    /// Scale and shift of the normalisation, `[C1]` each.
    pub(crate) norm: [&'a [f32]; 2],
    pub(crate) epsilon: f32,
    /// `[C1, 4·C2]` and `[4·C2]`
    pub(crate) second: [&'a [f32]; 2],
    /// `[B, 4·g, 4·g, C2]`
    pub(crate) quarter: &'a [f32],
    /// What objects add to it, `[N, 4·g, 4·g, C2]`, or `[C2]` for every pixel of all of them.
    pub(crate) added: &'a [f32],
    /// `[N, K, C2]`: each mask's weights of the upscaled map's channels.
    pub(crate) tokens: &'a [f32],
    /// The image of each object.
    pub(crate) image_of_object: &'a [usize],
    /// g
    pub(crate) side: usize,
}

/// What the backward pass needs of the forward pass: the sums before the normalisation, `[N·4·g·g, C1]`, and those before
/// the last GELU, `[N·16·g·g, C2]`, pixels nested in their cells.
#[derive(Debug)]
pub(crate) struct FinerSums {
    middle: Vec<f32>,
    upscaled: Vec<f32>,
}

/// Gradients by the inputs, as those.
#[derive(Debug)]
pub(crate) struct FinerHeadGrads {
    pub(crate) map: Vec<f32>,
    pub(crate) first: [Vec<f32>; 2],
    pub(crate) half: Vec<f32>,
    pub(crate) norm: [Vec<f32>; 2],
    pub(crate) second: [Vec<f32>; 2],
    pub(crate) quarter: Vec<f32>,
    pub(crate) added: Vec<f32>,
    pub(crate) tokens: Vec<f32>,
}

impl FinerHead<'_> {
    /// Without what a backward pass needs.
    ///
    /// # Shapes
    /// -> `[N, K, 4·g, 4·g]`
    pub(crate) fn run(&self, isa: Isa, arithmetic: Arithmetic) -> Vec<f32> {
        let active = self.active(isa, &self.middle(isa, arithmetic));
        let mut upscaled = product(isa, arithmetic, &active, self.second);
        self.masks(isa, &mut upscaled)
    }

    /// The masks as of [`Self::run`], and what [`Self::backward`] needs.
    pub(crate) fn forward(&self, isa: Isa, arithmetic: Arithmetic) -> (Vec<f32>, FinerSums) {
        let middle = self.middle(isa, arithmetic);
        let active = self.active(isa, &middle);
        let mut upscaled = product(isa, arithmetic, &active, self.second);
        let masks = self.masks(isa, &mut upscaled);
        (masks, FinerSums { middle, upscaled })
    }

    /// Gradients from that of the masks, `[N, K, 4·g, 4·g]`; sums over objects and pixels are in a fixed order.
    pub(crate) fn backward(
        &self,
        isa: Isa,
        arithmetic: Arithmetic,
        sums: &FinerSums,
        grad: &[f32],
    ) -> FinerHeadGrads {
        let (by_upscaled, by_added, tokens) = self.mask_grads(isa, &sums.upscaled, grad);
        let quarter = self.summed_by_image(&by_added);
        let active = self.active(isa, &sums.middle);
        let second = param_grad(isa, arithmetic, &active, &by_upscaled, self.second);
        let by_active = input_grad(isa, arithmetic, &by_upscaled, self.second);
        let [by_middle, by_gamma, by_beta] =
            norm_gelu_grads(isa, &sums.middle, self.norm, &by_active, self.epsilon);
        FinerHeadGrads {
            map: input_grad(isa, arithmetic, &by_middle, self.first),
            first: param_grad(isa, arithmetic, self.map, &by_middle, self.first),
            half: self.half_grad(&by_middle),
            norm: [by_gamma, by_beta],
            second,
            quarter,
            added: self.as_added(by_added),
            tokens,
        }
    }

    /// C1 and C2.
    fn channels(&self) -> [usize; 2] {
        [self.norm[0].len(), self.second[1].len() / STEP]
    }

    /// The first product with the finer map: `[N·4·g·g, C1]`, nested.
    fn middle(&self, isa: Isa, arithmetic: Arithmetic) -> Vec<f32> {
        let (g, [c1, c2]) = (self.side, self.channels());
        let (objects, images) = (
            self.image_of_object.len(),
            self.half.len() / (4 * g * g * c1),
        );
        assert_eq!(
            self.quarter.len(),
            images * PIXELS * g * g * c2,
            "quarter is [B, 4g, 4g, C2]"
        );
        assert!(
            self.added.len() == c2 || self.added.len() == objects * PIXELS * g * g * c2,
            "added is [N, 4g, 4g, C2] or [C2]"
        );
        let mut middle = product(isa, arithmetic, self.map, self.first);
        middle
            .par_chunks_exact_mut(STEP * g * c1)
            .enumerate()
            .for_each(|(i, middle)| {
                let (image, row) = (self.image_of_object[i / g], i % g);
                let half = &self.half[(image * g + row) * STEP * g * c1..][..STEP * g * c1];
                for (pixel, sum) in middle.chunks_exact_mut(c1).enumerate() {
                    let at = half_place(pixel, g) * c1;
                    sum.iter_mut().zip(&half[at..]).for_each(|(s, v)| *s += v);
                }
            });
        middle
    }

    /// GELU of the normalised sums.
    fn active(&self, isa: Isa, middle: &[f32]) -> Vec<f32> {
        let [gamma, beta] = self.norm;
        norm_gelu(isa, middle, gamma, beta, self.epsilon)
    }

    /// Adds the finest maps to the second product, and multiplies by the tokens.
    fn masks(&self, isa: Isa, upscaled: &mut [f32]) -> Vec<f32> {
        let (g, [_, c2]) = (self.side, self.channels());
        let (objects, m) = (self.image_of_object.len(), FINER * g);
        let row_tokens = self.tokens.len() / objects.max(1);
        let masks = row_tokens / c2;
        // [N, g, K, 4, m]
        let mut out = vec![0.0; objects * masks * m * m];
        out.par_chunks_exact_mut(masks * FINER * m)
            .zip(upscaled.par_chunks_exact_mut(PIXELS * g * c2))
            .enumerate()
            .for_each(|(i, (out, upscaled))| {
                let (object, row) = (i / g, i % g);
                let band = FINER * m * c2;
                let image = self.image_of_object[object];
                let quarter = &self.quarter[(image * g + row) * band..][..band];
                let added = if self.added.len() == c2 {
                    self.added
                } else {
                    &self.added[i * band..][..band]
                };
                let tokens = &self.tokens[object * row_tokens..][..row_tokens];
                mask_row(isa, upscaled, [quarter, added, tokens], c2, out);
            });
        if masks == 1 {
            return out;
        }
        // [N, g, K, 4, m] -> [N, K, g, 4, m]
        let band = FINER * m;
        (0..objects * masks * g)
            .flat_map(|i| {
                let (object, mask, row) = (i / (masks * g), i / g % masks, i % g);
                &out[((object * g + row) * masks + mask) * band..][..band]
            })
            .copied()
            .collect()
    }

    /// Gradients by the sums before the last GELU, nested and row by row, and by the tokens.
    fn mask_grads(
        &self,
        isa: Isa,
        upscaled: &[f32],
        grad: &[f32],
    ) -> (Vec<f32>, Vec<f32>, Vec<f32>) {
        let (g, [_, c2]) = (self.side, self.channels());
        let (objects, m) = (self.image_of_object.len(), FINER * g);
        let row_tokens = self.tokens.len() / objects.max(1);
        let masks = row_tokens / c2;
        assert_eq!(
            grad.len(),
            objects * masks * m * m,
            "grad is [N, K, 4g, 4g]"
        );
        let band = PIXELS * g * c2;
        let mut partial = vec![0.0; objects * g * row_tokens];
        let mut fill = |nested: &mut [MaybeUninit<f32>], rows: &mut [MaybeUninit<f32>]| {
            nested
                .par_chunks_exact_mut(band)
                .zip(rows.par_chunks_exact_mut(band))
                .zip(partial.par_chunks_exact_mut(row_tokens))
                .enumerate()
                .for_each(|(i, ((nested, rows), by_tokens))| {
                    let object = i / g;
                    let row = MaskRow {
                        upscaled: &upscaled[i * band..][..band],
                        grad: &grad[object * masks * m * m..][..masks * m * m],
                        mask: [m * m, i % g * FINER * m],
                        tokens: &self.tokens[object * row_tokens..][..row_tokens],
                        c2,
                    };
                    mask_row_grad(isa, row, nested, rows, by_tokens);
                });
        };
        assert_eq!(
            upscaled.len(),
            objects * g * band,
            "a band for each row of cells"
        );
        let mut rows = Vec::new();
        #[expect(unsafe_code, reason = "outputs that are written once")]
        // SAFETY: the bands cover all of both, and `mask_row_grad` writes every channel of every pixel of each: the places
        // of a row's pixels are a permutation of them.
        let nested = unsafe {
            uninit::filled(upscaled.len(), |nested| {
                rows = uninit::filled(upscaled.len(), |rows| fill(nested, rows));
            })
        };
        let mut by_tokens = vec![0.0; self.tokens.len()];
        for (i, partial) in partial.chunks_exact(row_tokens).enumerate() {
            let sums = &mut by_tokens[i / g * row_tokens..][..row_tokens];
            sums.iter_mut().zip(partial).for_each(|(s, v)| *s += v);
        }
        (nested, rows, by_tokens)
    }

    /// Objects of an image.
    fn objects_of(&self, image: usize) -> impl Iterator<Item = usize> {
        let objects = self.image_of_object.iter().enumerate();
        objects.filter(move |&(_, &of)| of == image).map(|(i, _)| i)
    }

    /// `[N, 4·g, 4·g, C2]` -> `[B, 4·g, 4·g, C2]`
    fn summed_by_image(&self, by_object: &[f32]) -> Vec<f32> {
        let g = self.side;
        let band = PIXELS * g * self.channels()[1];
        let mut sums = vec![0.0; self.quarter.len()];
        sums.par_chunks_exact_mut(band)
            .enumerate()
            .for_each(|(i, sums)| {
                for object in self.objects_of(i / g) {
                    let values = &by_object[(object * g + i % g) * band..][..band];
                    sums.iter_mut().zip(values).for_each(|(s, v)| *s += v);
                }
            });
        sums
    }

    /// The gradient by what objects add.
    fn as_added(&self, by_pixel: Vec<f32>) -> Vec<f32> {
        let c2 = self.channels()[1];
        if self.added.len() != c2 {
            return by_pixel;
        }
        let mut sums = vec![0.0; c2];
        for pixel in by_pixel.chunks_exact(c2) {
            sums.iter_mut().zip(pixel).for_each(|(s, v)| *s += v);
        }
        sums
    }

    /// The gradient by the finer map: `[N·4·g·g, C1]`, nested -> `[B, 2·g, 2·g, C1]`.
    fn half_grad(&self, by_middle: &[f32]) -> Vec<f32> {
        let (g, [c1, _]) = (self.side, self.channels());
        let band = STEP * g * c1;
        let mut sums = vec![0.0; self.half.len()];
        sums.par_chunks_exact_mut(band)
            .enumerate()
            .for_each(|(i, sums)| {
                for object in self.objects_of(i / g) {
                    let values = &by_middle[(object * g + i % g) * band..][..band];
                    for (pixel, values) in values.chunks_exact(c1).enumerate() {
                        let sums = &mut sums[half_place(pixel, g) * c1..];
                        sums.iter_mut().zip(values).for_each(|(s, v)| *s += v);
                    }
                }
            });
        sums
    }
}

/// Where the nested pixel of a row of `g` cells is in its two rows of `2·g`.
#[inline(always)]
const fn half_place(pixel: usize, g: usize) -> usize {
    let (cell, inner) = (pixel / STEP, pixel % STEP);
    inner / 2 * 2 * g + 2 * cell + inner % 2
}

/// Where the twice nested pixel of a row of `m / 4` cells is in its four rows of `m`.
#[inline(always)]
const fn quarter_place(pixel: usize, m: usize) -> usize {
    let (cell, outer, inner) = (pixel / PIXELS, pixel / STEP % STEP, pixel % STEP);
    let row = outer / 2 * 2 + inner / 2;
    row * m + FINER * cell + outer % 2 * 2 + inner % 2
}

multiversion! {
    /// The masks of a row of cells, `[K, 4, m]`; `maps` are the finest map, what is added to it, and the tokens.
    fn mask_row(isa: Isa, upscaled: &mut [f32], maps: [&[f32]; 3], c2: usize, out: &mut [f32]) {
        let [quarter, added, tokens] = maps;
        let pixels = quarter.len() / c2;
        let m = pixels / FINER;
        let mut active = vec![0.0; c2];
        for (pixel, sum) in upscaled.chunks_exact_mut(c2).enumerate() {
            let at = quarter_place(pixel, m);
            let quarter = &quarter[at * c2..][..c2];
            let added = if added.len() == c2 { added } else { &added[at * c2..][..c2] };
            add_gelu(sum, [quarter, added], &mut active);
            for (mask, token) in tokens.chunks_exact(c2).enumerate() {
                out[mask * pixels + at] = lane_dot(&active, token, |v| v);
            }
        }
    }
}

/// Adds both maps to the sums of a pixel, and takes their GELU. A constant number of channels becomes vector instructions.
#[inline(always)]
fn add_gelu(sum: &mut [f32], [quarter, added]: [&[f32]; 2], active: &mut [f32]) {
    let whole = sum.len() - sum.len() % LANES;
    for at in (0..whole).step_by(LANES) {
        let (quarter, added) = (vector(quarter, at), vector(added, at));
        let (sum, active) = (&mut sum[at..at + LANES], &mut active[at..at + LANES]);
        for i in 0..LANES {
            let value = sum[i] + (quarter[i] + added[i]);
            (sum[i], active[i]) = (value, gelu_of(value));
        }
    }
    for i in whole..sum.len() {
        sum[i] += quarter[i] + added[i];
        active[i] = gelu_of(sum[i]);
    }
}

/// What the gradients of a row of cells are made of.
#[derive(Clone, Copy)]
struct MaskRow<'a> {
    /// Sums before the GELU, nested.
    upscaled: &'a [f32],
    /// Gradients by the object's masks, `[K, 4·g, 4·g]`.
    grad: &'a [f32],
    /// Values of a mask, and those before the row.
    mask: [usize; 2],
    /// `[K, C2]`
    tokens: &'a [f32],
    c2: usize,
}

multiversion! {
    /// Writes the gradients by the sums before the GELU, nested and row by row, and adds those by the tokens.
    fn mask_row_grad(
        isa: Isa,
        row: MaskRow<'_>,
        nested: &mut [MaybeUninit<f32>],
        rows: &mut [MaybeUninit<f32>],
        by_tokens: &mut [f32],
    ) {
        let MaskRow { upscaled, grad, mask: [size, before], tokens, c2 } = row;
        let m = upscaled.len() / (FINER * c2);
        let whole = c2 - c2 % LANES;
        let pixels = upscaled.chunks_exact(c2).zip(nested.chunks_exact_mut(c2));
        for (pixel, (sum, nested)) in pixels.enumerate() {
            let at = quarter_place(pixel, m);
            let rows = &mut rows[at * c2..][..c2];
            for from in (0..whole).step_by(LANES) {
                let sum = vector(sum, from);
                let (mut active, mut slope, mut by) = ([0.0; LANES], [0.0; LANES], [0.0; LANES]);
                for i in 0..LANES {
                    let (cdf, pdf) = normal_cdf_pdf(sum[i]);
                    (active[i], slope[i]) = (sum[i] * cdf, cdf + sum[i] * pdf);
                }
                let tokens = tokens.chunks_exact(c2).zip(by_tokens.chunks_exact_mut(c2));
                for (mask, (token, by_token)) in tokens.enumerate() {
                    let grad = grad[mask * size + before + at];
                    let token = vector(token, from);
                    let by_token = &mut by_token[from..from + LANES];
                    for i in 0..LANES {
                        by[i] += grad * token[i];
                        by_token[i] += grad * active[i];
                    }
                }
                let to = from..from + LANES;
                for (i, (nested, row)) in nested[to.clone()].iter_mut().zip(&mut rows[to]).enumerate() {
                    let by_sum = by[i] * slope[i];
                    nested.write(by_sum);
                    row.write(by_sum);
                }
            }
            for i in whole..c2 {
                let (cdf, pdf) = normal_cdf_pdf(sum[i]);
                let mut by = 0.0;
                for mask in 0..tokens.len() / c2 {
                    let (grad, channel) = (grad[mask * size + before + at], mask * c2 + i);
                    by += grad * tokens[channel];
                    by_tokens[channel] += grad * (sum[i] * cdf);
                }
                let by_sum = by * (cdf + sum[i] * pdf);
                nested[i].write(by_sum);
                rows[i].write(by_sum);
            }
        }
    }
}

/// A product as a convolution of single pixels.
const fn pointwise(rows: usize, input: usize, output: usize) -> ConvShape {
    ConvShape {
        batch: 1,
        height: 1,
        width: rows,
        input,
        output,
        side: 1,
        stride: 1,
    }
}

/// `x · weight + bias`
fn product(isa: Isa, arithmetic: Arithmetic, x: &[f32], [weight, bias]: [&[f32]; 2]) -> Vec<f32> {
    let k = weight.len() / bias.len();
    let linear = Linear {
        x,
        offset: None,
        weight,
        bias,
        activation: Activation::None,
        residual: None,
        size: [x.len() / k, k, bias.len()],
    };
    linear.run(isa, arithmetic)
}

/// By the input of a product.
fn input_grad(
    isa: Isa,
    arithmetic: Arithmetic,
    grad: &[f32],
    [weight, bias]: [&[f32]; 2],
) -> Vec<f32> {
    let n = bias.len();
    let conv = Conv {
        shape: pointwise(grad.len() / n, n, weight.len() / n),
        x: grad,
        cut: None,
        weight: Kernel::Transposed(weight),
        bias: &[],
        activation: Activation::None,
        residual: None,
        placement: Placement::Pixels,
    };
    conv.run(isa, arithmetic)
}

/// By weight and bias of a product.
fn param_grad(
    isa: Isa,
    arithmetic: Arithmetic,
    x: &[f32],
    grad: &[f32],
    [weight, bias]: [&[f32]; 2],
) -> [Vec<f32>; 2] {
    let n = bias.len();
    let gradient = ParamGrad {
        shape: pointwise(grad.len() / n, weight.len() / n, n),
        x,
        grad,
        output: None,
        placement: Placement::Pixels,
    };
    gradient.run(isa, arithmetic)
}
