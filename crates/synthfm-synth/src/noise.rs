//! The noise library: Gaussian, Poisson, Perlin, speckle and Rician noise.
//!
//! | member   | law of the result `y` at intensity `x`              | mean    | variance    |
//! |----------|------------------------------------------------------|---------|-------------|
//! | Gaussian | `x + s n`                                            | x       | s²          |
//! | Poisson  | `P(x L) / L`                                         | x       | x / L       |
//! | Perlin   | `x + s f`, f fractal                                 | x       | s²          |
//! | speckle  | `x (1 + s r)`, r normal or standardised Rayleigh     | x       | s² x²       |
//! | Rician   | `sqrt((x + s n1)² + (s n2)²)`                        | E[y²] = x² + 2 s²   | |
//!
//! n, f, r have zero mean and unit variance; with a grain they are correlated in space. Zero strength
//! is the identity. Poisson counts are those of the law up to a mean of 24; above, a Cornish-Fisher
//! expansion with the law's mean and variance, rounded to whole counts (see [`large_counts`]).

use synthfm_image::Size;

use crate::field::{self, Field, Fractal};
use crate::params::{NoiseParams, SpeckleLaw, Vec2};
use crate::rng::{self, LANES, RowRng};
use crate::simd_dispatch;
use crate::simd_math;

/// Adds noise to an image whose shorter side has `unit_px` pixels.
pub(crate) fn apply(noise: &NoiseParams, data: &mut [f32], size: Size, unit_px: f32) {
    let in_px = |lengths: Vec2| lengths.map(|v| v * unit_px);
    match *noise {
        NoiseParams::Gaussian { seed, sigma, grain } => {
            if sigma != 0.0 {
                add(data, &field::correlated(seed, size, in_px(grain)), sigma);
            }
        }
        NoiseParams::Poisson { seed, counts } => poisson(data, size, seed, counts),
        NoiseParams::Perlin {
            seed,
            sigma,
            scale,
            octaves,
            persistence,
        } => {
            if sigma != 0.0 {
                let shape = Fractal {
                    scale_px: [scale * unit_px; 2],
                    octaves: octaves.min(12),
                    persistence,
                };
                add(data, &field::fractal(seed, size, shape, false), sigma);
            }
        }
        NoiseParams::Speckle {
            seed,
            sigma,
            grain,
            law,
        } => {
            if sigma != 0.0 {
                let field = match law {
                    SpeckleLaw::Normal => field::correlated(seed, size, in_px(grain)),
                    SpeckleLaw::Rayleigh => field::rayleigh(seed, size, in_px(grain)),
                };
                multiply(data, &field, sigma);
            }
        }
        NoiseParams::Rician { seed, sigma, grain } => {
            if sigma != 0.0 {
                let channels = [seed, seed ^ field::IMAGINARY]
                    .map(|seed| field::correlated(seed, size, in_px(grain)));
                magnitude(data, &channels, sigma);
            }
        }
    }
}

/// `x + sigma f`.
fn add(data: &mut [f32], field: &Field, sigma: f32) {
    let (factor, mean) = (sigma * field.scale, field.mean);
    field.visit(
        data,
        #[inline(always)]
        move |x, v| x + factor * (v - mean),
    );
}

/// `x (1 + sigma f)`.
fn multiply(data: &mut [f32], field: &Field, sigma: f32) {
    let (factor, mean) = (sigma * field.scale, field.mean);
    field.visit(
        data,
        #[inline(always)]
        move |x, v| x * (1.0 + factor * (v - mean)),
    );
}

/// `sqrt((x + sigma f1)² + (sigma f2)²)`.
fn magnitude(data: &mut [f32], [real, imaginary]: &[Field; 2], sigma: f32) {
    add(data, real, sigma);
    let (factor, mean) = (sigma * imaginary.scale, imaginary.mean);
    imaginary.visit(
        data,
        #[inline(always)]
        move |x, v| {
            let other = factor * (v - mean);
            (x * x + other * other).sqrt()
        },
    );
}

/// Largest mean whose counts are drawn from the law itself.
const EXACT: f32 = 24.0;

/// Counting noise; negative intensities count as 0. `counts` of 0 means none.
fn poisson(data: &mut [f32], size: Size, seed: u32, counts: f32) {
    // NaN or infinite counts have no effect either.
    if !(counts > 0.0 && counts.is_finite()) {
        return;
    }
    simd_dispatch::run(
        #[inline(always)]
        || {
            for (row, line) in data.chunks_exact_mut(size.width.max(1)).enumerate() {
                poisson_row(RowRng::new(seed, row), line, counts);
            }
        },
    );
}

/// Pixels whose counts are drawn side by side: enough that the compiler keeps the loops over them as
/// loops, which it turns into vector instructions.
const SIDE: usize = 4 * LANES;

#[inline(always)]
fn poisson_row(rng: RowRng, line: &mut [f32], counts: f32) {
    let per_count = 1.0 / counts;
    let (mut means, mut words, mut drawn) = ([0.0; SIDE], [0; SIDE], [0.0; SIDE]);
    for (index, chunk) in line.chunks_mut(SIDE).enumerate() {
        for (mean, value) in means.iter_mut().zip(&*chunk) {
            *mean = value.max(0.0) * counts;
        }
        for (part, words) in words.as_chunks_mut().0.iter_mut().enumerate() {
            *words = rng.words(index * (SIDE / LANES) + part);
        }
        let (least, most) = extent(&means);
        if least > EXACT {
            large_counts(&means, &words, &mut drawn);
        } else {
            small_counts(&means, &words, &mut drawn);
            if most > EXACT {
                let mut large = [0.0; SIDE];
                large_counts(&means, &words, &mut large);
                for k in 0..SIDE {
                    drawn[k] = if means[k] > EXACT { large[k] } else { drawn[k] };
                }
            }
        }
        for (value, &drawn) in chunk.iter_mut().zip(&drawn) {
            *value = drawn * per_count;
        }
    }
}

/// Smallest and largest of the means.
#[inline(always)]
fn extent(values: &[f32; SIDE]) -> (f32, f32) {
    let (mut least, mut most) = ([values[0]; LANES], [values[0]; LANES]);
    for values in values.as_chunks::<LANES>().0 {
        for k in 0..LANES {
            least[k] = if values[k] < least[k] {
                values[k]
            } else {
                least[k]
            };
            most[k] = if values[k] > most[k] {
                values[k]
            } else {
                most[k]
            };
        }
    }
    let (mut low, mut high) = (least[0], most[0]);
    for k in 1..LANES {
        low = low.min(least[k]);
        high = high.max(most[k]);
    }
    (low, high)
}

/// Counts of means up to [`EXACT`], where larger ones count as that: the number of values of the
/// distribution function that a uniform number reaches, which has the Poisson law to within the 2^-24 of
/// single precision.
#[inline(always)]
#[expect(
    clippy::needless_bitwise_bool,
    reason = "a lazy operator is a branch per pixel"
)]
fn small_counts(means: &[f32; SIDE], words: &[u32; SIDE], counts: &mut [f32; SIDE]) {
    let (mut uniform, mut term, mut sum) = ([0.0; SIDE], [0.0; SIDE], [0.0; SIDE]);
    for k in 0..SIDE {
        uniform[k] = (words[k] >> 8) as i32 as f32 * (1.0 / 16_777_216.0);
        term[k] = simd_math::exp(-(if means[k] < EXACT { means[k] } else { EXACT }));
        sum[k] = term[k];
        counts[k] = 0.0;
    }
    let mut next = 1.0;
    loop {
        let mut open = 0;
        let share = 1.0 / next;
        for k in 0..SIDE {
            let mean = if means[k] < EXACT { means[k] } else { EXACT };
            // Past the mean, terms below the precision cannot change the sum any more.
            let goes_on = (term[k] > 2e-8) | (next <= mean);
            let above = u32::from((uniform[k] >= sum[k]) & goes_on);
            counts[k] += above as i32 as f32;
            open |= above;
            term[k] *= mean * share;
            sum[k] += term[k];
        }
        if open == 0 {
            return;
        }
        next += 1.0;
    }
}

/// Counts of large means m, from standard normal numbers z (Cornish and Fisher 1938, to third order):
/// `m + s z + (z² - 1) / 6 - c (z³ - z)` with `c = 1 / (72 sqrt(m))`, rounded to a whole number.
///
/// `s = 2 c + sqrt(m - 5/36 - 6 c²)` makes the variance m: `s² - 4 s c + 10 c²` comes from the odd terms,
/// 1/18 from the square and 1/12 from rounding. Above a mean of 24 the distribution function is that of
/// the Poisson law to 7e-5.
#[inline(always)]
fn large_counts(means: &[f32; SIDE], words: &[u32; SIDE], counts: &mut [f32; SIDE]) {
    let mut normals = [0.0; SIDE];
    let parts = normals.as_chunks_mut::<LANES>().0.iter_mut();
    for (normals, words) in parts.zip(words.as_chunks::<LANES>().0) {
        *normals = rng::normals(*words);
    }
    for k in 0..SIDE {
        let (mean, z) = (if means[k] > EXACT { means[k] } else { EXACT }, normals[k]);
        let c = 1.0 / (72.0 * mean.sqrt());
        let s = 2.0 * c + (mean - 5.0 / 36.0 - 6.0 * c * c).sqrt();
        let square = z * z;
        let count = mean + (s * z + (square - 1.0) * (1.0 / 6.0) - c * z * (square - 1.0));
        counts[k] = simd_math::round(if count > 0.0 { count } else { 0.0 });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: Size = Size::new(300, 411);

    /// Mean, variance and mean square of constant `x` under a noise.
    fn moments(noise: &NoiseParams, x: f32) -> [f64; 3] {
        let mut data = vec![x; SIZE.area()];
        apply(noise, &mut data, SIZE, 300.0);
        let mean_of = |of: &dyn Fn(f64) -> f64| {
            data.iter().map(|&v| of(f64::from(v))).sum::<f64>() / data.len() as f64
        };
        let mean = mean_of(&|v| v);
        [
            mean,
            mean_of(&|v| (v - mean) * (v - mean)),
            mean_of(&|v| v * v),
        ]
    }

    /// Relative error below 2 %: four standard errors of a variance over 123,300 independent pixels.
    fn assert_close(got: f64, expected: f64) {
        assert!(
            (got / expected - 1.0).abs() < 0.02,
            "got {got}, expected {expected}"
        );
    }

    #[test]
    fn gaussian_moments() {
        for grain in [[0.0, 0.0], [0.004, 0.01]] {
            let noise = NoiseParams::Gaussian {
                seed: 1,
                sigma: 0.07,
                grain,
            };
            let [mean, variance, _] = moments(&noise, 0.4);
            assert_close(mean, 0.4);
            assert_close(variance, 0.07 * 0.07);
        }
    }

    #[test]
    fn poisson_moments_for_few_and_many_counts() {
        for counts in [2.0, 9.7, 36.0, 45.0, 400.0, 20_000.0] {
            let [mean, variance, _] = moments(&NoiseParams::Poisson { seed: 2, counts }, 0.4);
            assert_close(mean, 0.4);
            assert_close(variance, 0.4 / f64::from(counts));
        }
    }

    /// Shares of the counts 0, 1, 2, ... among two million draws.
    fn shares(mean: f32) -> Vec<f64> {
        let size = Size::new(1000, 2011);
        let mut data = vec![0.5; size.area()];
        poisson(&mut data, size, 5, 2.0 * mean);
        let mut shares = vec![0.0; 400];
        for v in &data {
            let count = v * 2.0 * mean;
            assert!(
                (count - count.round()).abs() < 1e-3 * count.max(1.0),
                "{count}"
            );
            shares[count.round() as usize] += 1.0 / data.len() as f64;
        }
        shares
    }

    #[test]
    fn poisson_counts_have_the_law() {
        for mean in [0.01_f32, 0.7, 3.0, 11.3, 23.9, 24.1, 60.0, 200.0] {
            let shares = shares(mean);
            let mut term = libm::exp(-f64::from(mean));
            let (mut drawn, mut law) = (0.0, 0.0);
            for (count, share) in shares.iter().enumerate() {
                (drawn, law) = (drawn + share, law + term);
                // Four standard errors of a share of two million, and the stated error.
                let error = 4.0 * (law * (1.0 - law).max(0.0) / 2.011e6).sqrt() + 1e-6;
                let stated = if mean > EXACT { 7e-5 } else { 0.0 };
                assert!(
                    (drawn - law).abs() < error + stated,
                    "{mean} {count} {drawn} {law}"
                );
                term *= f64::from(mean) / (count + 1) as f64;
            }
            // Tails: 4.5 standard deviations are passed as often as the law says, within a few counts.
            let far = f64::from(mean) + 4.5 * f64::from(mean).sqrt();
            let beyond = |shares: &[f64]| shares.iter().skip(far as usize + 1).sum::<f64>();
            let tail = beyond(&law_of(mean));
            let (got, expected) = (beyond(&shares) * 2.011e6, tail * 2.011e6);
            assert!(
                (got - expected).abs() < 4.5 * expected.sqrt() + 2.0,
                "{mean} {got} {expected}"
            );
        }
    }

    /// Probabilities of the counts 0, 1, 2, ...
    fn law_of(mean: f32) -> Vec<f64> {
        let mut term = libm::exp(-f64::from(mean));
        let mut next = |count: usize| {
            let now = term;
            term *= f64::from(mean) / (count + 1) as f64;
            now
        };
        (0..400).map(&mut next).collect()
    }

    #[test]
    fn perlin_moments() {
        let noise = NoiseParams::Perlin {
            seed: 3,
            sigma: 0.05,
            scale: 0.2,
            octaves: 4,
            persistence: 0.5,
        };
        let [mean, variance, _] = moments(&noise, 0.4);
        assert_close(mean, 0.4);
        assert_close(variance, 0.05 * 0.05);
    }

    #[test]
    fn speckle_moments_scale_with_the_intensity() {
        for law in [SpeckleLaw::Normal, SpeckleLaw::Rayleigh] {
            for x in [0.2, 0.8] {
                let noise = NoiseParams::Speckle {
                    seed: 4,
                    sigma: 0.3,
                    grain: [0.0, 0.008],
                    law,
                };
                let [mean, variance, _] = moments(&noise, x);
                assert_close(mean, f64::from(x));
                assert_close(variance, 0.09 * f64::from(x * x));
            }
        }
    }

    #[test]
    fn rician_moments_include_the_rayleigh_floor() {
        let sigma = 0.1;
        let noise = NoiseParams::Rician {
            seed: 6,
            sigma,
            grain: [0.0, 0.0],
        };
        for x in [0.0, 0.05, 0.5] {
            let [_, _, square] = moments(&noise, x);
            assert_close(square, f64::from(x * x) + 2.0 * 0.01);
        }
        // At zero signal it is the Rayleigh law.
        let [mean, variance, _] = moments(&noise, 0.0);
        assert_close(mean, 0.1 * (std::f64::consts::PI / 2.0).sqrt());
        assert_close(variance, 0.01 * (2.0 - std::f64::consts::PI / 2.0));
    }

    #[test]
    fn zero_strength_is_the_identity() {
        let grain = [0.0, 0.01];
        let sigma = 0.0;
        let before: Vec<f32> = (0..SIZE.area()).map(|v| (v % 97) as f32 / 97.0).collect();
        let members = [
            NoiseParams::Gaussian {
                seed: 1,
                sigma,
                grain,
            },
            NoiseParams::Poisson {
                seed: 1,
                counts: 0.0,
            },
            NoiseParams::Perlin {
                seed: 1,
                sigma,
                scale: 0.1,
                octaves: 3,
                persistence: 0.5,
            },
            NoiseParams::Speckle {
                seed: 1,
                sigma,
                grain,
                law: SpeckleLaw::Rayleigh,
            },
            NoiseParams::Rician {
                seed: 1,
                sigma,
                grain,
            },
        ];
        for noise in members {
            let mut after = before.clone();
            apply(&noise, &mut after, SIZE, 300.0);
            assert_eq!(before, after, "{noise:?}");
        }
    }
}
