//! Layer normalisation over channels, and its gradients.

use std::mem::MaybeUninit;

use rayon::prelude::*;

use super::isa::{Isa, multiversion};
use super::{CHUNK, sum_parts, uninit};

/// Mean and reciprocal standard deviation (biased variance) of one row.
#[inline(always)]
pub(super) fn moments(row: &[f32], epsilon: f32) -> (f32, f32) {
    let n = row.len() as f32;
    let mean = lane_sum(row, |v| v) / n;
    let variance = lane_sum(row, |v| (v - mean) * (v - mean)) / n;
    (mean, 1.0 / (variance + epsilon).sqrt())
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
    lanes.iter().sum::<f32>() + rest
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
    lanes.iter().sum::<f32>() + rest
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
                for i in 0..channels {
                    out[i].write((x[i] - mean) * scale * gamma[i] + beta[i]);
                }
            }
        }
    }
    assert!(x.len().is_multiple_of(gamma.len()), "x is [M, C]");
    let fill = |out: &mut [MaybeUninit<f32>]| {
        let task = task(gamma.len());
        out.par_chunks_mut(task)
            .zip(x.par_chunks(task))
            .for_each(|(out, x)| rows(isa, out, x, gamma, beta, epsilon));
    };
    #[expect(unsafe_code, reason = "output that is written once")]
    // SAFETY: the chunks are those of `x`, whole rows, and `rows` writes all channels of each.
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

/// Gradient of [`layer_norm`] by its input.
pub(crate) fn layer_norm_input_grad(
    isa: Isa,
    x: &[f32],
    gamma: &[f32],
    grad: &[f32],
    epsilon: f32,
) -> Vec<f32> {
    multiversion! {
        /// `out` holds the output's gradient and receives the input's.
        fn rows(isa: Isa, out: &mut [f32], x: &[f32], gamma: &[f32], epsilon: f32) {
            let channels = gamma.len();
            let n = channels as f32;
            for (out, x) in out.chunks_exact_mut(channels).zip(x.chunks_exact(channels)) {
                let (mean, scale) = moments(x, epsilon);
                for i in 0..channels {
                    out[i] *= gamma[i];
                }
                let sum = lane_sum(out, |v| v) / n;
                let dot = lane_dot(out, x, |v| (v - mean) * scale) / n;
                for i in 0..channels {
                    out[i] = (out[i] - sum - (x[i] - mean) * scale * dot) * scale;
                }
            }
        }
    }
    let task = task(gamma.len());
    let mut out = grad.to_vec();
    out.par_chunks_mut(task)
        .zip(x.par_chunks(task))
        .for_each(|(out, x)| rows(isa, out, x, gamma, epsilon));
    out
}

/// Gradients of [`layer_norm`] by `gamma` and `beta`, one after the other: `[2·C]`.
pub(crate) fn layer_norm_param_grad(
    isa: Isa,
    x: &[f32],
    grad: &[f32],
    channels: usize,
    epsilon: f32,
) -> Vec<f32> {
    multiversion! {
        fn rows(isa: Isa, by_gamma: &mut [f32], by_beta: &mut [f32], x: &[f32], grad: &[f32], epsilon: f32) {
            let channels = by_gamma.len();
            for (x, grad) in x.chunks_exact(channels).zip(grad.chunks_exact(channels)) {
                let (mean, scale) = moments(x, epsilon);
                for i in 0..channels {
                    by_gamma[i] += grad[i] * (x[i] - mean) * scale;
                    by_beta[i] += grad[i];
                }
            }
        }
    }
    sum_parts(x.len() / channels, 2 * channels, |range, sum| {
        let (by_gamma, by_beta) = sum.split_at_mut(channels);
        let range = range.start * channels..range.end * channels;
        rows(
            isa,
            by_gamma,
            by_beta,
            &x[range.clone()],
            &grad[range],
            epsilon,
        );
    })
}
