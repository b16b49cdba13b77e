//! CPU kernels on plain slices; data are channels-last.
//!
//! Matrix products are hand-written for AVX-512 (in `f32` and bf16) and AVX2 and otherwise left to the
//! compiler ([`tile`]); everything else is plain Rust, compiled for each of these instruction sets
//! ([`isa`]). Work is cut into parts whose number depends on the shapes alone, or whose results do not
//! depend on the cut, and partial sums are added in a fixed order: the results do not depend on the number
//! of threads.

#![allow(
    clippy::inline_always,
    reason = "helpers must take their caller's instruction set, which only inlining gives them"
)]

mod activation;
mod conv;
mod depthwise;
mod isa;
mod linear;
mod mask_head;
mod norm;
mod online_softmax;
mod tile;
mod two_way_attention;
mod uninit;
mod window_attention;

use rayon::prelude::*;

pub(crate) use activation::{gelu, gelu_grad};
pub(crate) use conv::{ConvShape, conv, conv_input_grad, conv_param_grad};
pub(crate) use depthwise::Depthwise;
pub(crate) use isa::Isa;
pub(crate) use linear::Linear;
pub use linear::{Activation, Arithmetic};
pub(crate) use mask_head::MaskHead;
pub(crate) use norm::{
    layer_norm, layer_norm_in_place, layer_norm_input_grad, layer_norm_param_grad,
};
pub(crate) use two_way_attention::{ImageKeys, ImageToTokens, SharedAttention, TokensToImage};
pub(crate) use window_attention::{Bias, Layout, WindowAttention};

/// Elements per task of an element-wise pass.
const CHUNK: usize = 1 << 14;
/// Parts of a sum over pixels (weight gradients); fixed so that the result is.
const SUM_PARTS: usize = 4;

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

#[cfg(test)]
mod testing {
    /// Values in [-1, 1) that look random and are the same on every machine.
    pub(super) fn noise(count: usize, salt: u32) -> Vec<f32> {
        let value = |i: usize| {
            let mut x = (i as u32).wrapping_mul(0x9E37_79B9) ^ salt.wrapping_mul(0x85EB_CA6B);
            x = (x ^ (x >> 15)).wrapping_mul(0x2C1B_3C6D);
            x ^= x >> 12;
            (x as f32 / u32::MAX as f32) * 2.0 - 1.0
        };
        (0..count).map(value).collect()
    }

    /// Largest difference relative to the largest value of `expected`.
    pub(super) fn worst(got: &[f32], expected: &[f32]) -> f32 {
        assert_eq!(got.len(), expected.len());
        let largest = expected
            .iter()
            .fold(f32::MIN_POSITIVE, |m, v| m.max(v.abs()));
        let differences = got.iter().zip(expected).map(|(g, e)| (g - e).abs());
        differences.fold(0.0, f32::max) / largest
    }
}
