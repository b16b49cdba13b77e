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
mod click_distance;
mod conv;
mod conv_grad;
#[cfg(test)]
mod conv_tests;
mod depthwise;
mod finer_head;
mod isa;
mod linear;
mod map_attention;
mod map_blocks;
mod mask_head;
mod mask_scores;
mod norm;
mod online_softmax;
mod pointwise_grad;
mod select_rows;
mod self_attention;
mod strip;
mod tile;
mod token_attention;
mod two_way_attention;
mod uninit;
mod window_attention;

pub use activation::exp_of_negated;
pub(crate) use activation::{gelu, gelu_grad};
pub use click_distance::{Lanes, SETS, ValueGrid};
pub(crate) use conv::{Conv, ConvShape, Kernel, Placement};
pub(crate) use conv_grad::ParamGrad;
pub(crate) use depthwise::Depthwise;
pub(crate) use finer_head::FinerHead;
pub(crate) use isa::Isa;
pub use isa::multiplies_bf16;
pub(crate) use linear::Linear;
pub use linear::{Activation, Arithmetic};
pub(crate) use map_attention::{MapToTokens, TokensToMap};
pub(crate) use mask_head::MaskHead;
pub use mask_scores::MaskLossWeights;
pub(crate) use mask_scores::{MaskScores, SCORES};
pub(crate) use norm::{layer_norm, layer_norm_grads, layer_norm_in_place};
pub(crate) use select_rows::{select_rows, select_rows_grad};
pub(crate) use self_attention::SelfAttention;
pub(crate) use two_way_attention::{ImageKeys, ImageToTokens, SharedAttention, TokensToImage};
pub use uninit::two_in_bands;
pub(crate) use window_attention::{Bias, Layout, WindowAttention, pooled_queries};

/// Elements per task of an element-wise pass.
const CHUNK: usize = 1 << 14;
/// Parts of a sum over rows; fixed so that the result is.
const SUM_PARTS: usize = 4;

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
        let differences = got.iter().zip(expected).map(|(g, e)| (g - e).abs());
        differences.fold(0.0, f32::max) / largest(expected)
    }

    /// Largest magnitude.
    pub(super) fn largest(values: &[f32]) -> f32 {
        values.iter().fold(f32::MIN_POSITIVE, |m, v| m.max(v.abs()))
    }
}
