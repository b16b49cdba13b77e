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
//! is the identity. Poisson counts above 16 are drawn from a normal law with the skewness of the
//! Poisson law, its mean and its variance; below from its distribution function.

use std::sync::LazyLock;

use synthfm_image::Size;

use crate::field::{self, Fractal};
use crate::params::{NoiseParams, SpeckleLaw, Vec2};
use crate::rng::{NORMAL, RowRng};

/// Adds noise to an image whose shorter side has `unit_px` pixels.
pub(crate) fn apply(noise: &NoiseParams, data: &mut [f32], size: Size, unit_px: f32) {
    let in_px = |lengths: Vec2| lengths.map(|v| v * unit_px);
    match *noise {
        NoiseParams::Gaussian { seed, sigma, grain } => {
            if sigma != 0.0 {
                let field = field::correlated(seed, size, in_px(grain));
                zip(data, &field, |x, n| x + sigma * n);
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
                let field = field::fractal(seed, size, shape, false);
                zip(data, &field, |x, f| x + sigma * f);
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
                zip(data, &field, |x, r| x * (1.0 + sigma * r));
            }
        }
        NoiseParams::Rician { seed, sigma, grain } => {
            if sigma != 0.0 {
                let real = field::correlated(seed, size, in_px(grain));
                zip(data, &real, |x, n| x + sigma * n);
                let imaginary = field::correlated(seed ^ 0x5bd1_e995, size, in_px(grain));
                zip(data, &imaginary, |x, n| {
                    (x * x + sigma * n * (sigma * n)).sqrt()
                });
            }
        }
    }
}

fn zip(data: &mut [f32], field: &[f32], law: impl Fn(f32, f32) -> f32) {
    for (x, &n) in data.iter_mut().zip(field) {
        *x = law(*x, n);
    }
}

/// Largest mean that is drawn from the distribution function.
const TABULATED: usize = 16;
/// Tabulated means per unit.
const DENSITY: usize = 32;
/// Counts per tabulated mean: the tail beyond is below 1e-9.
const COUNTS: usize = 56;

/// Distribution functions of the Poisson law, `[mean, count]`.
static POISSON: LazyLock<Vec<[f32; COUNTS]>> = LazyLock::new(|| {
    let row = |k: usize| {
        let mean = k as f64 / DENSITY as f64;
        let (mut term, mut sum) = (libm::exp(-mean), 0.0);
        std::array::from_fn(|count| {
            sum += term;
            term *= mean / (count + 1) as f64;
            sum as f32
        })
    };
    (0..=TABULATED * DENSITY + 1).map(row).collect()
});

/// Counting noise; negative intensities count as 0. `counts` of 0 means none.
fn poisson(data: &mut [f32], size: Size, seed: u32, counts: f32) {
    // NaN or infinite counts have no effect either.
    if !(counts > 0.0 && counts.is_finite()) {
        return;
    }
    let (normal, table) = (&*NORMAL, &*POISSON);
    let per_count = 1.0 / counts;
    for (row, line) in data.chunks_exact_mut(size.width.max(1)).enumerate() {
        let mut rng = RowRng::new(seed, row);
        for value in line {
            let (bits, mean) = (rng.next(), value.max(0.0) * counts);
            let drawn = if mean < TABULATED as f32 {
                small_count(table, mean, bits)
            } else {
                let z = normal.at(bits as u32);
                // (z² - 1) / 6 adds the skewness 1 / sqrt(mean) and the variance 1 / 18.
                mean + (mean - 1.0 / 18.0).sqrt() * z + (z * z - 1.0) / 6.0
            };
            *value = drawn * per_count;
        }
    }
}

/// A count from the tabulated law; the mean is rounded up or down at random, so that it is kept.
fn small_count(table: &[[f32; COUNTS]], mean: f32, bits: u64) -> f32 {
    let unit = |bits: u64| (bits & 0xff_ffff) as f32 / 16_777_216.0;
    let row = &table[(mean * DENSITY as f32 + unit(bits >> 40)) as usize];
    let share = unit(bits);
    let mut count = (mean as usize / 2).min(COUNTS - 1);
    while count > 0 && row[count - 1] > share {
        count -= 1;
    }
    while count + 1 < COUNTS && row[count] <= share {
        count += 1;
    }
    count as f32
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

    #[test]
    fn poisson_of_few_counts_is_zero_as_often_as_the_law_says() {
        let mut data = vec![0.5; SIZE.area()];
        poisson(&mut data, SIZE, 5, 3.0);
        let zeros = data.iter().filter(|&&v| v == 0.0).count() as f64 / data.len() as f64;
        assert!((zeros - (-1.5_f64).exp()).abs() < 0.005, "{zeros}");
        assert!(
            data.iter()
                .all(|v| (v * 3.0 - (v * 3.0).round()).abs() < 1e-5)
        );
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
