//! Radially averaged power spectrum of an image.
//!
//! Periodogram under a Hann window with the mean taken away (Welch 1967), averaged over rings of spatial frequency.
//! Scaled so that white noise of variance v has power v in every ring. Frequencies are cycles per pixel, so that images
//! of different shape have the same rings.

use std::f64::consts::PI;

use rustfft::FftPlanner;
use rustfft::num_complex::Complex;

use crate::{Image, Size};

/// Rings: half octaves from 1/64 to 1/2 cycle per pixel.
const RINGS: usize = 10;
/// Shortest side with a spectrum worth the name.
const MIN_SIDE: usize = 32;

/// Power by spatial frequency.
#[derive(Debug, Clone, PartialEq)]
pub struct PowerSpectrum {
    power: [f64; RINGS],
}

impl PowerSpectrum {
    /// Middle frequencies of the rings in cycles per pixel.
    pub fn frequencies() -> [f64; RINGS] {
        std::array::from_fn(|ring| 2f64.powf(-6.0 + 0.5 * (ring as f64 + 0.5)))
    }

    /// The spectrum of an image whose sides have at least 32 pixels.
    pub fn of(image: &Image) -> Option<Self> {
        let Size { height, width } = image.size();
        if height.min(width) < MIN_SIDE {
            return None;
        }
        let spectrum = transformed(windowed(image), height, width);
        let (mut sums, mut counts) = ([0.0; RINGS], [0.0; RINGS]);
        for (at, value) in spectrum.iter().enumerate() {
            // Transposed: [W, H].
            let frequency = |k: usize, n: usize| k.min(n - k) as f64 / n as f64;
            let radius = frequency(at % height, height).hypot(frequency(at / height, width));
            let ring = (2.0 * (radius.log2() + 6.0)).floor();
            if (0.0..RINGS as f64).contains(&ring) {
                sums[ring as usize] += value.norm_sqr();
                counts[ring as usize] += 1.0;
            }
        }
        // Each ring holds frequencies: the narrowest, 1/64 to 1.41/64, is 0.2 / 32 wide at least in one half plane.
        let power = std::array::from_fn(|ring| sums[ring] / f64::max(counts[ring], 1.0));
        Some(Self { power })
    }

    /// Power in each ring.
    pub fn power(&self) -> &[f64] {
        &self.power
    }

    /// Exponent a of the law `power ~ frequency^a` that fits best: about -2 to -3 for images of things, 0 for white
    /// noise. Rings without power are counted as a millionth of a grey level.
    pub fn slope(&self) -> f64 {
        let x = Self::frequencies().map(f64::ln);
        let y = self.power.map(|power| power.max(1e-12).ln());
        let mean = |values: &[f64]| values.iter().sum::<f64>() / RINGS as f64;
        let (mean_x, mean_y) = (mean(&x), mean(&y));
        let covariance: f64 = x
            .iter()
            .zip(&y)
            .map(|(x, y)| (x - mean_x) * (y - mean_y))
            .sum();
        covariance / x.iter().map(|x| (x - mean_x).powi(2)).sum::<f64>()
    }
}

/// The image less its mean under the window, over the root of the window's energy.
fn windowed(image: &Image) -> Vec<Complex<f64>> {
    let Size { height, width } = image.size();
    let hann = |n: usize| -> Vec<f64> {
        let angle = |k: usize| 2.0 * PI * (k as f64 + 0.5) / n as f64;
        (0..n).map(|k| 0.5 - 0.5 * angle(k).cos()).collect()
    };
    let (rows, columns) = (hann(height), hann(width));
    let energy = |window: &[f64]| window.iter().map(|w| w * w).sum::<f64>();
    let scale = (energy(&rows) * energy(&columns)).sqrt().recip();
    let weight = |at: usize| rows[at / width] * columns[at % width];
    let total: f64 = (0..image.data().len()).map(weight).sum();
    let pixels = || image.data().iter().enumerate();
    let mean = pixels()
        .map(|(at, &v)| weight(at) * f64::from(v))
        .sum::<f64>()
        / total;
    let value = |(at, &v): (usize, &f32)| (f64::from(v) - mean) * weight(at) * scale;
    pixels()
        .map(|pixel| Complex::new(value(pixel), 0.0))
        .collect()
}

/// Two-dimensional discrete Fourier transform, transposed: `[H, W] -> [W, H]`.
fn transformed(mut values: Vec<Complex<f64>>, height: usize, width: usize) -> Vec<Complex<f64>> {
    let mut planner = FftPlanner::new();
    planner.plan_fft_forward(width).process(&mut values);
    let column = |at: usize| values[(at % height) * width + at / height];
    let mut turned: Vec<Complex<f64>> = (0..height * width).map(column).collect();
    planner.plan_fft_forward(height).process(&mut turned);
    turned
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::normal_numbers;

    const SIZE: Size = Size::new(160, 201);

    fn image(pixel: impl Fn(usize, usize) -> f64) -> Image {
        let data = (0..SIZE.area()).map(|at| pixel(at / SIZE.width, at % SIZE.width) as f32);
        Image::new(SIZE, data.collect()).unwrap()
    }

    #[test]
    fn white_noise_is_flat_at_its_variance() {
        const IMAGES: usize = 16;
        let noise = normal_numbers(IMAGES * SIZE.area());
        let mut mean = [0.0; RINGS];
        for noise in noise.chunks_exact(SIZE.area()) {
            let noisy = image(|row, col| 0.5 + 0.1 * noise[row * SIZE.width + col]);
            let spectrum = PowerSpectrum::of(&noisy).unwrap();
            for (mean, power) in mean.iter_mut().zip(spectrum.power()) {
                *mean += power / IMAGES as f64;
            }
            assert!(spectrum.slope().abs() < 0.4, "{}", spectrum.slope());
        }
        // The first ring has a dozen independent frequencies per image, the last one thousands.
        for (ring, power) in mean.iter().enumerate() {
            let tolerance = if ring < 5 { 0.25 } else { 0.03 };
            assert!((power / 0.01 - 1.0).abs() < tolerance, "{ring}: {power}");
        }
    }

    #[test]
    fn a_wave_lies_in_its_ring_whatever_its_direction() {
        for turn in [0.0, 0.4, 1.57, 2.5_f64] {
            // 0.1 cycles per pixel: ring 5, from 0.088 to 0.125.
            let wave = image(|row, col| {
                let along = turn.cos() * col as f64 + turn.sin() * row as f64;
                (2.0 * PI * 0.1 * along).sin()
            });
            let spectrum = PowerSpectrum::of(&wave).unwrap();
            let total: f64 = spectrum.power().iter().sum();
            assert!(spectrum.power()[5] > 0.9 * total, "{spectrum:?}");
        }
    }

    #[test]
    fn flat_images_have_no_power_and_narrow_ones_no_spectrum() {
        let flat = PowerSpectrum::of(&image(|_, _| 0.7)).unwrap();
        assert!(flat.power().iter().all(|&power| power < 1e-12));
        assert!(flat.slope().abs() < 1e-9);
        assert_eq!(PowerSpectrum::of(&Image::zeros(Size::new(31, 500))), None);
        assert_eq!(PowerSpectrum::of(&Image::zeros(Size::new(0, 0))), None);
    }
}
