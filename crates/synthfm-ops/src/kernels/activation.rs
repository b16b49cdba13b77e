//! Nonlinearities and the exponential function, element by element.

use rayon::prelude::*;

use super::CHUNK;
use super::isa::{Isa, multiversion};

/// e^x for x <= 0, relative error below (2 + |x|)·1.2e-7: the series of degree 6 around the nearest multiple of
/// ln 2, and the rounding of x.
#[inline(always)]
pub(super) fn exp_nonpositive(x: f32) -> f32 {
    let t = x.max(-87.0) * std::f32::consts::LOG2_E;
    let (n, power) = nearest_power(t);
    let f = (t - n) * std::f32::consts::LN_2;
    let p = 1.0 / 120.0 + f * (1.0 / 720.0);
    let p = 1.0 / 24.0 + f * p;
    let p = 1.0 / 6.0 + f * p;
    let p = 0.5 + f * p;
    let p = 1.0 + f * (1.0 + f * p);
    power * p
}

/// e^(-x / scale) of every value, in its place; none is negative, and infinite ones give 0.
pub fn exp_of_negated(values: &mut [f32], scale: f32) {
    exp_of_negated_on(Isa::best(), values, scale);
}

multiversion! {
    /// [`exp_of_negated`] by an instruction set.
    fn exp_of_negated_on(isa: Isa, values: &mut [f32], scale: f32) {
        for v in values {
            let e = exp_nonpositive(-*v / scale);
            *v = if *v < f32::INFINITY { e } else { 0.0 };
        }
    }
}

/// The integer n nearest to t, and 2^n; t from -127 (then 2^n is 0) to 127.
#[inline(always)]
pub(super) fn nearest_power(t: f32) -> (f32, f32) {
    // 1.5 · 2^23: adding it rounds to an integer, which the last bits of the sum then hold. A conversion of the
    // number would not vectorise, since Rust's saturates.
    const ROUND: f32 = 12_582_912.0;
    let sum = t + ROUND;
    let exponent = sum.to_bits().wrapping_sub(ROUND.to_bits() - 127);
    (sum - ROUND, f32::from_bits(exponent << 23))
}

/// Standard normal distribution function Φ(x) and density φ(x).
///
/// erf by Abramowitz and Stegun 7.1.26, absolute error below 1.5e-7.
#[inline(always)]
pub(super) fn normal_cdf_pdf(x: f32) -> (f32, f32) {
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
#[inline(always)]
pub(super) fn gelu_of(x: f32) -> f32 {
    x * normal_cdf_pdf(x).0
}

/// GELU of every value, in its place.
pub(crate) fn gelu(isa: Isa, values: &mut [f32]) {
    multiversion! {
        fn chunk(isa: Isa, values: &mut [f32]) {
            for v in values {
                *v = gelu_of(*v);
            }
        }
    }
    values
        .par_chunks_mut(CHUNK)
        .for_each(|values| chunk(isa, values));
}

/// Gradient of [`gelu`]: (Φ(x) + x·φ(x)) · grad.
pub(crate) fn gelu_grad(isa: Isa, x: &[f32], grad: &[f32]) -> Vec<f32> {
    multiversion! {
        fn chunk(isa: Isa, out: &mut [f32], x: &[f32]) {
            for (o, &x) in out.iter_mut().zip(x) {
                let (cdf, pdf) = normal_cdf_pdf(x);
                *o *= cdf + x * pdf;
            }
        }
    }
    let mut out = grad.to_vec();
    out.par_chunks_mut(CHUNK)
        .zip(x.par_chunks(CHUNK))
        .for_each(|(out, x)| chunk(isa, out, x));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_instruction_set_gives_the_same_bits() {
        let x: Vec<f32> = (0..1000).map(|i| (i as f32 - 500.0) * 0.021).collect();
        let grad: Vec<f32> = x.iter().map(|v| 1.0 - 0.3 * v).collect();
        let bits = |values: Vec<f32>| values.into_iter().map(f32::to_bits).collect::<Vec<_>>();
        for isa in Isa::all() {
            let of = |isa| {
                let mut values = x.clone();
                gelu(isa, &mut values);
                bits(values)
            };
            assert_eq!(of(isa), of(Isa::Portable), "{isa:?}");
            let got = gelu_grad(isa, &x, &grad);
            assert_eq!(
                bits(got),
                bits(gelu_grad(Isa::Portable, &x, &grad)),
                "{isa:?}"
            );
        }
    }

    #[test]
    fn exp_follows_the_library() {
        for i in 0..8600 {
            let x = -(i as f32) * 0.01;
            let (got, expected) = (exp_nonpositive(x), x.exp());
            let bound = (2.0 - x) * 1.2e-7 * expected;
            assert!((got - expected).abs() <= bound, "{x}: {got}, {expected}");
        }
    }
}
