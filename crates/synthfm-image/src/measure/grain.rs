//! Level and correlation length of the noise inside a structure.
//!
//! What is left after a Gaussian mean over the structure's own pixels (normalised convolution, Knutsson and Westin 1993)
//! is taken as noise, so that neither the boundary nor a slow shading counts; fine texture does. The level is robust
//! (median absolute deviation), the length that at which the autocorrelation falls to one half.

use std::ops::Range;

use crate::{Image, Mask};

/// Width of the local mean in pixels.
const SIGMA_PX: f64 = 5.0;
/// Median absolute deviation to standard deviation of a normal law.
const MAD_TO_SD: f64 = 1.4826;
/// Longest length that is looked for.
const MAX_LAG: usize = 12;
/// Deviations below this are rounding: a quarter of a level of 256.
const LEAST_DEVIATION: f64 = 1e-3;

/// The noise of a structure.
pub(super) struct Grain {
    pub(super) deviation: f64,
    pub(super) length_px: f64,
}

/// The box around a structure.
struct Patch {
    width: usize,
    values: Vec<f64>,
    inside: Vec<bool>,
}

impl Grain {
    /// Measures a structure that is not empty.
    pub(super) fn inside(image: &Image, mask: &Mask) -> Self {
        let residual = Patch::around(image, mask).residual();
        let mut magnitudes: Vec<f64> = residual.pixels().map(f64::abs).collect();
        let middle = magnitudes.len() / 2;
        let median = *magnitudes.select_nth_unstable_by(middle, f64::total_cmp).1;
        let square = residual.pixels().map(|v| v * v).sum::<f64>() / magnitudes.len() as f64;
        let flat = square.sqrt() < LEAST_DEVIATION;
        Self {
            deviation: MAD_TO_SD * median,
            length_px: if flat {
                0.0
            } else {
                residual.correlation_length(square)
            },
        }
    }
}

impl Patch {
    fn around(image: &Image, mask: &Mask) -> Self {
        let bounds = mask.bounding_box().expect("the mask is not empty");
        let range = |low: f64, high: f64| low as usize..high as usize + 1;
        let rows = range(bounds.min.y, bounds.max.y);
        let cols: Range<usize> = range(bounds.min.x, bounds.max.x);
        let size = image.size();
        let at = |row: usize| size.index(row, cols.start)..size.index(row, cols.end);
        let values = rows.clone().flat_map(|row| &image.data()[at(row)]);
        let inside = rows.clone().flat_map(|row| &mask.data()[at(row)]);
        Self {
            width: cols.len(),
            values: values.map(|&v| f64::from(v)).collect(),
            inside: inside.copied().collect(),
        }
    }

    /// Values inside the structure.
    fn pixels(&self) -> impl Iterator<Item = f64> {
        let pairs = self.values.iter().zip(&self.inside);
        pairs.filter(|pair| *pair.1).map(|(&value, _)| value)
    }

    /// Values less the Gaussian mean of the structure's pixels; 0 outside.
    fn residual(self) -> Self {
        let share: Vec<f64> = self
            .inside
            .iter()
            .map(|&v| f64::from(u8::from(v)))
            .collect();
        let weighted: Vec<f64> = self.values.iter().zip(&share).map(|(v, s)| v * s).collect();
        let weights = blurred(share, self.width);
        let sums = blurred(weighted, self.width);
        let pixels = self.values.iter().zip(&self.inside);
        let means = sums.iter().zip(&weights);
        let values = pixels.zip(means).map(
            |((value, &inside), (sum, weight))| {
                if inside { value - sum / weight } else { 0.0 }
            },
        );
        Self {
            width: self.width,
            values: values.collect(),
            inside: self.inside,
        }
    }

    /// Where the autocorrelation falls to one half, the mean of both axes; at most [`MAX_LAG`].
    fn correlation_length(&self, variance: f64) -> f64 {
        let [rows, columns] = [[0, 1], [1, 0]].map(|step| {
            let mut before = 1.0;
            for lag in 1..=MAX_LAG {
                let now = self.covariance(step, lag) / variance;
                if now <= 0.5 {
                    return lag as f64 - (0.5 - now) / (before - now);
                }
                before = now;
            }
            MAX_LAG as f64
        });
        f64::midpoint(rows, columns)
    }

    /// Mean product of pixels that are `lag` steps apart, both inside; 0 if there are none.
    fn covariance(&self, [down, right]: [usize; 2], lag: usize) -> f64 {
        let (mut sum, mut count) = (0.0, 0.0);
        let apart = lag * (down * self.width + right);
        for (at, &value) in self.values.iter().enumerate().skip(apart) {
            let same_line = at % self.width >= lag * right;
            let other = at - apart;
            if same_line && self.inside[at] && self.inside[other] {
                sum += value * self.values[other];
                count += 1.0;
            }
        }
        if count > 0.0 { sum / count } else { 0.0 }
    }
}

/// Gaussian sums along both axes, cut off at the border.
fn blurred(mut values: Vec<f64>, width: usize) -> Vec<f64> {
    let reach = (3.0 * SIGMA_PX) as usize;
    let kernel: Vec<f64> = (0..=reach)
        .map(|d| (-0.5 * (d as f64 / SIGMA_PX).powi(2)).exp())
        .collect();
    let height = values.len() / width;
    for [lines, step, length, next] in [[height, 1, width, width], [width, width, height, 1]] {
        let mut line = vec![0.0; length];
        for first in (0..lines).map(|line| line * next) {
            for (k, value) in line.iter_mut().enumerate() {
                *value = values[first + k * step];
            }
            for at in 0..length {
                let near = at.saturating_sub(reach)..(at + reach + 1).min(length);
                let weighted = near.map(|other| line[other] * kernel[other.abs_diff(at)]);
                values[first + at * step] = weighted.sum();
            }
        }
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Size;
    use crate::testing::normal_numbers;

    const SIZE: Size = Size::new(130, 170);

    fn disc() -> Mask {
        let inside = |at: usize| {
            let (row, col) = ((at / SIZE.width) as f64, (at % SIZE.width) as f64);
            (row - 60.0).hypot(col - 80.0) < 50.0
        };
        Mask::new(SIZE, (0..SIZE.area()).map(inside).collect()).unwrap()
    }

    /// White noise blurred by sigma, scaled to a deviation.
    fn noise(sigma: f64, deviation: f64) -> Vec<f64> {
        let white = normal_numbers(SIZE.area());
        let reach = (4.0 * sigma).ceil() as i64;
        let kernel = |d: i64| (-0.5 * (d as f64 / sigma.max(1e-9)).powi(2)).exp();
        let (height, width) = (SIZE.height as i64, SIZE.width as i64);
        let axis = |values: &[f64], [down, right]: [i64; 2]| -> Vec<f64> {
            let value = |row: i64, col: i64| {
                let (row, col) = (row.rem_euclid(height), col.rem_euclid(width));
                values[(row * width + col) as usize]
            };
            let sum = |at: i64| -> f64 {
                let near = -reach..=reach;
                near.map(|d| kernel(d) * value(at / width + down * d, at % width + right * d))
                    .sum()
            };
            (0..height * width).map(sum).collect()
        };
        let grainy = axis(&axis(&white, [1, 0]), [0, 1]);
        let square = grainy.iter().map(|v| v * v).sum::<f64>() / grainy.len() as f64;
        grainy
            .iter()
            .map(|v| v * deviation / square.sqrt())
            .collect()
    }

    #[test]
    fn white_noise_has_its_deviation_and_half_a_pixel() {
        // A slope and a bright surrounding are no noise.
        let mask = disc();
        let data = noise(0.0, 0.05);
        let data = data.iter().enumerate().map(|(at, &v)| {
            let outside = if mask.data()[at] { 0.0 } else { 0.5 };
            (0.3 + 1e-3 * (at % SIZE.width) as f64 + outside + v) as f32
        });
        let grain = Grain::inside(&Image::new(SIZE, data.collect()).unwrap(), &mask);
        assert!(
            (grain.deviation / 0.05 - 1.0).abs() < 0.05,
            "{}",
            grain.deviation
        );
        assert!((grain.length_px - 0.5).abs() < 0.05, "{}", grain.length_px);
    }

    #[test]
    fn blurred_noise_has_the_length_of_its_blur() {
        for sigma in [1.0, 1.5] {
            let data = noise(sigma, 0.1)
                .iter()
                .map(|&v| (0.5 + v) as f32)
                .collect();
            let grain = Grain::inside(&Image::new(SIZE, data).unwrap(), &disc());
            // Covariance of blurred white noise less its local mean, up to a factor: Gaussians of growing variance.
            let gaussian = |d: f64, variance: f64| (-d * d / (2.0 * variance)).exp() / variance;
            let wide = SIGMA_PX * SIGMA_PX;
            let covariance = |d: f64| {
                let own = 2.0 * sigma * sigma;
                gaussian(d, own) - 2.0 * gaussian(d, own + wide) + gaussian(d, own + 2.0 * wide)
            };
            let half = (0..400).map(|k| 0.01 * f64::from(k));
            let mut half = half.skip_while(|&d| covariance(d) > 0.5 * covariance(0.0));
            let (exact, got) = (half.next().unwrap(), grain.length_px);
            assert!((got / exact - 1.0).abs() < 0.06, "{got} for {exact}");
            let kept = (covariance(0.0) / gaussian(0.0, 2.0 * sigma * sigma)).sqrt();
            let deviation = grain.deviation / 0.1;
            assert!(
                (deviation / kept - 1.0).abs() < 0.06,
                "{deviation} for {kept}"
            );
        }
    }

    #[test]
    fn a_flat_structure_has_none() {
        let grain = Grain::inside(&Image::new(SIZE, vec![0.4; SIZE.area()]).unwrap(), &disc());
        assert!(grain.deviation < 1e-6 && grain.length_px.abs() < f64::EPSILON);
    }
}
