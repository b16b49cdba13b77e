//! Elementary functions of one number, made of operations that run alike in any vector width.
//!
//! Only additions, multiplications, divisions, square roots, conversions and bit operations occur, and
//! no branch: loops over these functions become vector instructions.

/// Bits of sqrt(1/2).
const HALF_ROOT: i32 = 0x3f35_04f3;

/// Natural logarithm of a positive normal number, to 1e-7 of its size or absolutely: the series of
/// `2 atanh((m - 1) / (m + 1))` for a mantissa m between sqrt(1/2) and sqrt(2).
#[inline(always)]
pub(crate) fn ln(x: f32) -> f32 {
    let bits = x.to_bits() as i32;
    let exponent = (bits - HALF_ROOT) >> 23;
    let mantissa = f32::from_bits((bits - (exponent << 23)) as u32);
    let s = (mantissa - 1.0) / (mantissa + 1.0);
    let q = s * s;
    let series = 2.0 + q * (2.0 / 3.0 + q * (2.0 / 5.0 + q * (2.0 / 7.0 + q * (2.0 / 9.0))));
    exponent as f32 * std::f32::consts::LN_2 + s * series
}

/// `exp(x)` for x from -87 to 88, to 2e-7 of its size: `2^n` times the series of `exp(r)`, `|r| <= ln(2) / 2`.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    // Adding 1.5 * 2^23 rounds to a whole number, which then stands in the lowest bits.
    const ROUND: f32 = 12_582_912.0;
    // ln(2) in two parts: the first times n is exact.
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    let rounded = x * std::f32::consts::LOG2_E + ROUND;
    let n = rounded - ROUND;
    let r = (x - n * LN_2_HIGH) - n * LN_2_LOW;
    let tail = 1.0 / 24.0 + r * (1.0 / 120.0 + r * (1.0 / 720.0 + r * (1.0 / 5040.0)));
    let series = 1.0 + r * (1.0 + r * (0.5 + r * (1.0 / 6.0 + r * tail)));
    let power = rounded.to_bits().wrapping_sub(ROUND.to_bits()) as i32 + 127;
    series * f32::from_bits((power << 23) as u32)
}

/// The nearest whole number, for numbers from 0 to 2^22; larger ones are whole to a few parts in 10^7.
#[inline(always)]
pub(crate) fn round(x: f32) -> f32 {
    const WHOLE: f32 = 8_388_608.0;
    if x < 4_194_304.0 {
        (x + WHOLE) - WHOLE
    } else {
        x
    }
}

/// `x^power` for x and results within the range of normal numbers; 0 where x is 0.
#[inline(always)]
pub(crate) fn pow(x: f32, power: f32) -> f32 {
    let value = exp((power * ln(x)).clamp(-87.0, 88.0));
    if x > 0.0 { value } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logarithm_and_exponential_are_those_of_libm() {
        for k in 1..20_000_u32 {
            let x = k as f32 * 3e-4;
            let expected = libm::log(f64::from(x));
            assert!(
                (f64::from(ln(x)) - expected).abs() < 3e-7 * expected.abs().max(1.0),
                "{x}"
            );
            let y = k as f32 * 8.7e-3 - 87.0;
            let expected = libm::exp(f64::from(y));
            assert!((f64::from(exp(y)) / expected - 1.0).abs() < 4e-7, "{y}");
        }
    }

    #[test]
    #[expect(clippy::float_cmp, reason = "the ends of the range are kept exactly")]
    fn powers_keep_zero_and_one() {
        for power in [0.1, 0.6, 1.0, 2.2, 10.0] {
            assert_eq!([pow(0.0, power), pow(1.0, power)], [0.0, 1.0]);
            let expected = libm::powf(0.3, power);
            assert!((pow(0.3, power) / expected - 1.0).abs() < 3e-6);
        }
    }
}
