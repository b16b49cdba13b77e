//! Layer normalisation over channels, and its gradients.

use std::mem::MaybeUninit;

use rayon::prelude::*;

use super::activation::{gelu_of, normal_cdf_pdf};
use super::isa::{Isa, multiversion};
use super::{CHUNK, SUM_PARTS, uninit};

/// Mean and reciprocal standard deviation (biased variance) of one row.
#[inline(always)]
pub(super) fn moments(row: &[f32], epsilon: f32) -> (f32, f32) {
    let n = row.len() as f32;
    let mean = lane_sum(row, |v| v) / n;
    let variance = lane_sum(row, |v| (v - mean) * (v - mean)) / n;
    (mean, 1.0 / (variance + epsilon).sqrt())
}

/// Sum of sixteen partial sums by halves, which are vectors.
#[inline(always)]
pub(super) fn total(mut lanes: [f32; 16]) -> f32 {
    for i in 0..8 {
        lanes[i] += lanes[i + 8];
    }
    for i in 0..4 {
        lanes[i] += lanes[i + 4];
    }
    (lanes[0] + lanes[2]) + (lanes[1] + lanes[3])
}

/// Sum of `f` over a row in sixteen interleaved partial sums: vectorises, and is always the same.
#[inline(always)]
fn lane_sum(row: &[f32], f: impl Fn(f32) -> f32) -> f32 {
    let mut lanes = [0.0_f32; 16];
    let chunks = row.chunks_exact(16);
    let rest: f32 = chunks.remainder().iter().map(|&v| f(v)).sum();
    for chunk in chunks {
        for i in 0..16 {
            lanes[i] += f(chunk[i]);
        }
    }
    total(lanes) + rest
}

/// Sum of `a · f(b)`, as [`lane_sum`].
#[inline(always)]
pub(super) fn lane_dot(a: &[f32], b: &[f32], f: impl Fn(f32) -> f32) -> f32 {
    let mut lanes = [0.0_f32; 16];
    let (a, b) = (a.chunks_exact(16), b.chunks_exact(16));
    let rest = a.remainder().iter().zip(b.remainder());
    let rest: f32 = rest.map(|(&a, &b)| a * f(b)).sum();
    for (a, b) in a.zip(b) {
        for i in 0..16 {
            lanes[i] += a[i] * f(b[i]);
        }
    }
    total(lanes) + rest
}

/// Rows of `channels` values that make one task.
fn task(channels: usize) -> usize {
    (CHUNK / channels).max(1) * channels
}

/// Layer normalisation over the last axis: `x`: `[M, C]`, `gamma`, `beta`: `[C]`.
pub(crate) fn layer_norm(
    isa: Isa,
    x: &[f32],
    gamma: &[f32],
    beta: &[f32],
    epsilon: f32,
) -> Vec<f32> {
    multiversion! {
        fn rows(isa: Isa, out: &mut [MaybeUninit<f32>], x: &[f32], gamma: &[f32], beta: &[f32], epsilon: f32) {
            let channels = gamma.len();
            for (out, x) in out.chunks_exact_mut(channels).zip(x.chunks_exact(channels)) {
                let (mean, scale) = moments(x, epsilon);
                let whole = whole(channels);
                for at in (0..whole).step_by(16) {
                    let (x, gamma, beta) = (vector(x, at), vector(gamma, at), vector(beta, at));
                    let mut values = [0.0; 16];
                    for i in 0..16 {
                        values[i] = (x[i] - mean) * scale * gamma[i] + beta[i];
                    }
                    put(out, at, values);
                }
                for i in whole..channels {
                    out[i].write((x[i] - mean) * scale * gamma[i] + beta[i]);
                }
            }
        }
    }
    normalised(x, gamma, |out, x| rows(isa, out, x, gamma, beta, epsilon))
}

/// What `rows` writes for some rows of `x`; as many values as those have.
fn normalised(
    x: &[f32],
    gamma: &[f32],
    rows: impl Fn(&mut [MaybeUninit<f32>], &[f32]) + Sync,
) -> Vec<f32> {
    assert!(x.len().is_multiple_of(gamma.len()), "x is [M, C]");
    let fill = |out: &mut [MaybeUninit<f32>]| {
        let task = task(gamma.len());
        out.par_chunks_mut(task)
            .zip(x.par_chunks(task))
            .for_each(|(out, x)| rows(out, x));
    };
    #[expect(unsafe_code, reason = "output that is written once")]
    // SAFETY: the chunks are those of `x`, whole rows, and `rows`, of this module, writes all channels of each.
    unsafe {
        uninit::filled(x.len(), fill)
    }
}

/// [`layer_norm`] in the place of its input.
pub(crate) fn layer_norm_in_place(
    isa: Isa,
    x: &mut [f32],
    gamma: &[f32],
    beta: &[f32],
    epsilon: f32,
) {
    multiversion! {
        fn rows(isa: Isa, x: &mut [f32], gamma: &[f32], beta: &[f32], epsilon: f32) {
            for row in x.chunks_exact_mut(gamma.len()) {
                let (mean, scale) = moments(row, epsilon);
                for (v, (gamma, beta)) in row.iter_mut().zip(gamma.iter().zip(beta)) {
                    *v = (*v - mean) * scale * gamma + beta;
                }
            }
        }
    }
    assert!(x.len().is_multiple_of(gamma.len()), "x is [M, C]");
    x.par_chunks_mut(task(gamma.len()))
        .for_each(|x| rows(isa, x, gamma, beta, epsilon));
}

/// GELU of [`layer_norm`], in one pass.
pub(super) fn norm_gelu(
    isa: Isa,
    x: &[f32],
    gamma: &[f32],
    beta: &[f32],
    epsilon: f32,
) -> Vec<f32> {
    multiversion! {
        fn rows(isa: Isa, out: &mut [MaybeUninit<f32>], x: &[f32], gamma: &[f32], beta: &[f32], epsilon: f32) {
            let channels = gamma.len();
            for (out, x) in out.chunks_exact_mut(channels).zip(x.chunks_exact(channels)) {
                let (mean, scale) = moments(x, epsilon);
                let whole = whole(channels);
                for at in (0..whole).step_by(16) {
                    let (x, gamma, beta) = (vector(x, at), vector(gamma, at), vector(beta, at));
                    let mut values = [0.0; 16];
                    for i in 0..16 {
                        values[i] = gelu_of((x[i] - mean) * scale * gamma[i] + beta[i]);
                    }
                    put(out, at, values);
                }
                for i in whole..channels {
                    out[i].write(gelu_of((x[i] - mean) * scale * gamma[i] + beta[i]));
                }
            }
        }
    }
    normalised(x, gamma, |out, x| rows(isa, out, x, gamma, beta, epsilon))
}

/// The values of a vector from `at` on.
#[inline(always)]
pub(super) fn vector(values: &[f32], at: usize) -> &[f32; 16] {
    values[at..].first_chunk().expect("a whole vector")
}

/// Writes the values of a vector from `at` on.
#[inline(always)]
fn put(out: &mut [MaybeUninit<f32>], at: usize, values: [f32; 16]) {
    for (out, value) in out[at..at + 16].iter_mut().zip(values) {
        out.write(value);
    }
}

/// Channels that fill vectors: loops over a constant number of values become vector instructions.
#[inline(always)]
const fn whole(channels: usize) -> usize {
    channels - channels % 16
}

/// Gradients of [`layer_norm`] by its input, `[M, C]`, and by `gamma` and `beta`, `[C]` each.
pub(crate) fn layer_norm_grads(
    isa: Isa,
    x: &[f32],
    gamma: &[f32],
    grad: &[f32],
    epsilon: f32,
) -> [Vec<f32>; 3] {
    grads(x, gamma, grad, |out, [x, grad], sums| {
        row_grads(isa, out, [x, grad, gamma], epsilon, sums);
    })
}

/// Gradients of [`norm_gelu`] by its input, `[M, C]`, and by `gamma` and `beta`, `[C]` each.
pub(super) fn norm_gelu_grads(
    isa: Isa,
    x: &[f32],
    norm: [&[f32]; 2],
    grad: &[f32],
    epsilon: f32,
) -> [Vec<f32>; 3] {
    grads(x, norm[0], grad, |out, [x, grad], sums| {
        gelu_row_grads(isa, out, [x, grad], norm, epsilon, sums);
    })
}

/// Gradients that `rows` writes for some rows of input and gradient; it adds those by scale and shift to the last slice.
fn grads(
    x: &[f32],
    gamma: &[f32],
    grad: &[f32],
    rows: impl Fn(&mut [MaybeUninit<f32>], [&[f32]; 2], &mut [f32]) + Sync,
) -> [Vec<f32>; 3] {
    assert!(x.len().is_multiple_of(gamma.len()), "x is [M, C]");
    assert_eq!(x.len(), grad.len(), "grad is as x");
    let channels = gamma.len();
    let step = (x.len() / channels).div_ceil(SUM_PARTS).max(1) * channels;
    let mut sums = vec![0.0; x.len().div_ceil(step) * 2 * channels];
    let fill = |out: &mut [MaybeUninit<f32>]| {
        out.par_chunks_mut(step)
            .zip(x.par_chunks(step).zip(grad.par_chunks(step)))
            .zip(sums.par_chunks_mut(2 * channels))
            .for_each(|((out, (x, grad)), sums)| rows(out, [x, grad], sums));
    };
    #[expect(unsafe_code, reason = "output that is written once")]
    // SAFETY: the chunks are those of `x`, whole rows, and `rows`, both of this module, write all channels of each.
    let by_x = unsafe { uninit::filled(x.len(), fill) };
    let [mut by_gamma, mut by_beta] = [vec![0.0; channels], vec![0.0; channels]];
    for part in sums.chunks_exact(2 * channels) {
        let (gamma, beta) = part.split_at(channels);
        by_gamma.iter_mut().zip(gamma).for_each(|(s, v)| *s += v);
        by_beta.iter_mut().zip(beta).for_each(|(s, v)| *s += v);
    }
    [by_x, by_gamma, by_beta]
}

multiversion! {
    /// Writes the gradients of some rows of `x`, `grad` (and of `gamma`), and adds theirs by `gamma` and `beta`.
    fn row_grads(
        isa: Isa,
        out: &mut [MaybeUninit<f32>],
        inputs: [&[f32]; 3],
        epsilon: f32,
        sums: &mut [f32],
    ) {
        let [x, grad, gamma] = inputs;
        let channels = gamma.len();
        let rows = x.chunks_exact(channels).zip(grad.chunks_exact(channels));
        for (out, (x, grad)) in out.chunks_exact_mut(channels).zip(rows) {
            row_grad(out, [x, grad, gamma], moments(x, epsilon), sums);
        }
    }
}

multiversion! {
    /// [`row_grads`] of the GELU of the normalised rows.
    fn gelu_row_grads(
        isa: Isa,
        out: &mut [MaybeUninit<f32>],
        inputs: [&[f32]; 2],
        norm: [&[f32]; 2],
        epsilon: f32,
        sums: &mut [f32],
    ) {
        let ([x, grad], [gamma, beta]) = (inputs, norm);
        let channels = gamma.len();
        let mut by_normal = vec![0.0; channels];
        let rows = x.chunks_exact(channels).zip(grad.chunks_exact(channels));
        for (out, (x, grad)) in out.chunks_exact_mut(channels).zip(rows) {
            let (mean, scale) = moments(x, epsilon);
            let whole = whole(channels);
            for at in (0..whole).step_by(16) {
                let (x, grad) = (vector(x, at), vector(grad, at));
                let (gamma, beta) = (vector(gamma, at), vector(beta, at));
                let mut values = [0.0; 16];
                for i in 0..16 {
                    let normal = (x[i] - mean) * scale * gamma[i] + beta[i];
                    let (cdf, pdf) = normal_cdf_pdf(normal);
                    values[i] = grad[i] * (cdf + normal * pdf);
                }
                by_normal[at..at + 16].copy_from_slice(&values);
            }
            for i in whole..channels {
                let normal = (x[i] - mean) * scale * gamma[i] + beta[i];
                let (cdf, pdf) = normal_cdf_pdf(normal);
                by_normal[i] = grad[i] * (cdf + normal * pdf);
            }
            row_grad(out, [x, &by_normal, gamma], (mean, scale), sums);
        }
    }
}

/// Writes the gradients of one row, whose mean and scale are given, and adds theirs by `gamma` and `beta`.
#[inline(always)]
fn row_grad(
    out: &mut [MaybeUninit<f32>],
    [x, grad, gamma]: [&[f32]; 3],
    (mean, scale): (f32, f32),
    sums: &mut [f32],
) {
    let channels = gamma.len();
    let (by_gamma, by_beta) = sums.split_at_mut(channels);
    let n = channels as f32;
    let sum = lane_dot(grad, gamma, |v| v) / n;
    // Σ grad · gamma · normalised x
    let mut lanes = [0.0_f32; 16];
    let whole = whole(channels);
    for at in (0..whole).step_by(16) {
        let (x, grad, gamma) = (vector(x, at), vector(grad, at), vector(gamma, at));
        let (mut of_gamma, mut of_beta) = (*vector(by_gamma, at), *vector(by_beta, at));
        for i in 0..16 {
            let product = grad[i] * ((x[i] - mean) * scale);
            lanes[i] += product * gamma[i];
            of_gamma[i] += product;
            of_beta[i] += grad[i];
        }
        by_gamma[at..at + 16].copy_from_slice(&of_gamma);
        by_beta[at..at + 16].copy_from_slice(&of_beta);
    }
    for i in whole..channels {
        let product = grad[i] * ((x[i] - mean) * scale);
        lanes[i - whole] += product * gamma[i];
        by_gamma[i] += product;
        by_beta[i] += grad[i];
    }
    let dot = total(lanes) / n;
    for at in (0..whole).step_by(16) {
        let (x, grad, gamma) = (vector(x, at), vector(grad, at), vector(gamma, at));
        let mut values = [0.0; 16];
        for i in 0..16 {
            let normalised = (x[i] - mean) * scale;
            values[i] = (grad[i] * gamma[i] - sum - normalised * dot) * scale;
        }
        put(out, at, values);
    }
    for i in whole..channels {
        let normalised = (x[i] - mean) * scale;
        out[i].write((grad[i] * gamma[i] - sum - normalised * dot) * scale);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::{noise, worst};

    /// Derivatives of `Σ grad · layer_norm(x)` by its definition, in double precision.
    fn plain(x: &[f32], gamma: &[f32], grad: &[f32], epsilon: f64) -> [Vec<f32>; 3] {
        let channels = gamma.len();
        let n = channels as f64;
        let (mut by_x, mut by_gamma, mut by_beta) =
            (Vec::new(), vec![0.0; channels], vec![0.0; channels]);
        for (x, grad) in x.chunks(channels).zip(grad.chunks(channels)) {
            let x: Vec<f64> = x.iter().map(|&v| f64::from(v)).collect();
            let mean = x.iter().sum::<f64>() / n;
            let variance = x.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n;
            let scale = 1.0 / (variance + epsilon).sqrt();
            let normal: Vec<f64> = x.iter().map(|v| (v - mean) * scale).collect();
            let by_normal: Vec<f64> = (0..channels)
                .map(|i| f64::from(grad[i]) * f64::from(gamma[i]))
                .collect();
            let sum = by_normal.iter().sum::<f64>() / n;
            let dot = by_normal
                .iter()
                .zip(&normal)
                .map(|(g, v)| g * v)
                .sum::<f64>()
                / n;
            for i in 0..channels {
                by_x.push((scale * (by_normal[i] - sum - normal[i] * dot)) as f32);
                by_gamma[i] += f64::from(grad[i]) * normal[i];
                by_beta[i] += f64::from(grad[i]);
            }
        }
        let single = |values: Vec<f64>| values.into_iter().map(|v| v as f32).collect();
        [by_x, single(by_gamma), single(by_beta)]
    }

    #[test]
    fn gradients_are_the_definition_with_every_instruction_set() {
        // Fewer rows than parts, rows that no number of parts divides; channels that fill no vector.
        for (rows, channels) in [(1, 5), (3, 16), (7, 33), (50, 64)] {
            let (x, grad) = (noise(rows * channels, 1), noise(rows * channels, 2));
            let gamma = noise(channels, 3);
            let expected = plain(&x, &gamma, &grad, 0.05);
            for isa in Isa::all() {
                let got = layer_norm_grads(isa, &x, &gamma, &grad, 0.05);
                for (i, (got, expected)) in got.iter().zip(&expected).enumerate() {
                    let error = worst(got, expected);
                    assert!(
                        error < 1e-5,
                        "{isa:?} {rows} {channels} {i}: off by {error}"
                    );
                }
            }
        }
    }
}
