//! Random fields: correlated Gaussian noise and fractal noise, grown from a sub-seed.
//!
//! Fields of a scale above one pixel are drawn on a coarse grid and enlarged linearly, octave by
//! octave (Perlin's fractal sum over value noise with normal values); each field is then brought to
//! zero mean and unit variance exactly, so that an amplitude is a standard deviation.

use synthfm_image::Size;

use crate::blur::{self, Plane};
use crate::rng::RowRng;

/// A small plane of random numbers.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Grid {
    pub(crate) size: Size,
    pub(crate) data: Vec<f32>,
}

impl Grid {
    /// White normal noise.
    pub(crate) fn white(seed: u32, size: Size) -> Self {
        let mut data = vec![0.0; size.area()];
        for (row, line) in data.chunks_exact_mut(size.width.max(1)).enumerate() {
            RowRng::new(seed, row).fill_normal(line);
        }
        Self { size, data }
    }

    /// Linear enlargement that maps corners onto corners (as neurite's `draw_perlin`).
    pub(crate) fn enlarged(&self, size: Size) -> Self {
        if size == self.size {
            return self.clone();
        }
        let mut data = vec![0.0; size.area()];
        let columns: Vec<(usize, f32)> = knots(self.size.width, size.width);
        let mut line = vec![0.0; self.size.width + 1];
        let rows = knots(self.size.height, size.height);
        for (out, (row, share)) in data.chunks_exact_mut(size.width).zip(rows) {
            self.mix_rows(row, share, &mut line);
            for (value, &(col, share)) in out.iter_mut().zip(&columns) {
                *value = line[col] + (line[col + 1] - line[col]) * share;
            }
        }
        Self { size, data }
    }

    /// One row between `row` and the next; the last value is repeated.
    fn mix_rows(&self, row: usize, share: f32, line: &mut [f32]) {
        let width = self.size.width;
        let next = (row + 1).min(self.size.height - 1);
        let (a, b) = (&self.data[row * width..], &self.data[next * width..]);
        for ((value, &a), &b) in line[..width].iter_mut().zip(a).zip(b) {
            *value = a + (b - a) * share;
        }
        line[width] = line[width - 1];
    }

    fn blurred(mut self, sigma: [f32; 2]) -> Self {
        let width = self.size.width;
        blur::gaussian(
            &mut Plane {
                data: &mut self.data,
                width,
            },
            sigma,
        );
        self
    }
}

/// Position and share of each of `many` samples between `few` knots.
fn knots(few: usize, many: usize) -> Vec<(usize, f32)> {
    let step = (few.max(1) - 1) as f32 / (many.max(2) - 1) as f32;
    let knot = |k: usize| {
        let position = k as f32 * step;
        let whole = (position as usize).min(few.max(1) - 1);
        (whole, position - whole as f32)
    };
    (0..many).map(knot).collect()
}

/// Number of knots that lie `scale_px` apart on `length` pixels, never fewer than two.
pub(crate) fn knot_count(length: usize, scale_px: f32) -> usize {
    ((length as f32 / scale_px.max(1.0)).ceil() as usize + 1).clamp(2, length.max(2))
}

/// Shifts and scales to zero mean and unit variance; a constant field becomes 0.
fn standardise(data: &mut [f32]) {
    let count = data.len() as f64;
    let mean = sum(data, |v| v) / count;
    let variance = sum(data, |v| v * v) / count - mean * mean;
    let scale = if variance > 1e-12 {
        (1.0 / libm::sqrt(variance)) as f32
    } else {
        0.0
    };
    let mean = mean as f32;
    for value in data {
        *value = (*value - mean) * scale;
    }
}

/// Sums in eight interleaved parts: a fixed order that lets the processor work in parallel.
fn sum(data: &[f32], of: impl Fn(f64) -> f64) -> f64 {
    let mut parts = [0.0_f64; 8];
    let chunks = data.chunks_exact(8);
    let rest: f64 = chunks.remainder().iter().map(|&v| of(f64::from(v))).sum();
    for chunk in chunks {
        for (part, &v) in parts.iter_mut().zip(chunk) {
            *part += of(f64::from(v));
        }
    }
    parts.iter().sum::<f64>() + rest
}

/// Gaussian noise whose values are correlated over `grain_px` (vertical, horizontal); zero mean, unit
/// variance. Below 0.3 pixels it is white.
pub(crate) fn correlated(seed: u32, size: Size, grain_px: [f32; 2]) -> Vec<f32> {
    if grain_px[0] < 0.3 && grain_px[1] < 0.3 {
        return Grid::white(seed, size).data;
    }
    // On a grid as coarse as the grain, a blur of one knot leaves no trace of the grid.
    let knots = |length: usize, grain: f32| knot_count(length, grain);
    let grid = Size::new(
        knots(size.height, grain_px[0]),
        knots(size.width, grain_px[1]),
    );
    let sigma = grain_px.map(|grain| if grain < 0.3 { 0.0 } else { grain.min(1.0) });
    let mut data = Grid::white(seed, grid).blurred(sigma).enlarged(size).data;
    standardise(&mut data);
    data
}

/// Shape of fractal noise.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fractal {
    /// Coarsest scale in pixels, vertically and horizontally.
    pub(crate) scale_px: [f32; 2],
    /// Number of octaves.
    pub(crate) octaves: u8,
    /// Amplitude of each octave relative to the one before.
    pub(crate) persistence: f32,
}

/// Fractal noise of zero mean and unit variance; `fold` turns it into ridges.
pub(crate) fn fractal(seed: u32, size: Size, shape: Fractal, fold: bool) -> Vec<f32> {
    let mut sum: Option<Grid> = None;
    let mut amplitude = 1.0;
    for octave in 0..shape.octaves.max(1) {
        let scale = shape
            .scale_px
            .map(|s| s / f32::from(1_u16 << octave.min(12)));
        let grid = Size::new(
            knot_count(size.height, scale[0]),
            knot_count(size.width, scale[1]),
        );
        if octave > 0 && scale[0] < 1.0 && scale[1] < 1.0 {
            break;
        }
        let noise = Grid::white(seed.wrapping_add(0x9e37 * u32::from(octave)), grid);
        sum = Some(match sum {
            None => noise,
            Some(coarse) => add(coarse.enlarged(grid), &noise, amplitude),
        });
        amplitude *= shape.persistence;
    }
    let grid = sum.unwrap_or_else(|| Grid::white(seed, size));
    // Half a knot of blur hides the creases of linear interpolation.
    let mut data = grid.blurred([0.6, 0.6]).enlarged(size).data;
    if fold {
        for value in &mut data {
            *value = -value.abs();
        }
    }
    standardise(&mut data);
    data
}

fn add(mut sum: Grid, noise: &Grid, amplitude: f32) -> Grid {
    for (value, &noise) in sum.data.iter_mut().zip(&noise.data) {
        *value += amplitude * noise;
    }
    sum
}

/// The modulus of a complex Gaussian field: Rayleigh numbers, brought to zero mean and unit variance.
pub(crate) fn rayleigh(seed: u32, size: Size, grain_px: [f32; 2]) -> Vec<f32> {
    let real = correlated(seed, size, grain_px);
    let mut data = correlated(seed ^ 0x5bd1_e995, size, grain_px);
    for (imaginary, &real) in data.iter_mut().zip(&real) {
        *imaginary = (*imaginary * *imaginary + real * real).sqrt();
    }
    standardise(&mut data);
    data
}

/// Smooth noise at one scale, standard deviation `std` before enlargement, for fields that need no
/// exact variance.
pub(crate) fn smooth(seed: u32, size: Size, scale_px: f32, std: f32) -> Grid {
    let grid = Size::new(
        knot_count(size.height, scale_px),
        knot_count(size.width, scale_px),
    );
    let mut noise = Grid::white(seed, grid);
    noise.data.iter_mut().for_each(|v| *v *= std);
    noise
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: Size = Size::new(96, 133);

    fn moments(data: &[f32]) -> (f64, f64) {
        let mean = sum(data, |v| v) / data.len() as f64;
        (
            mean,
            sum(data, |v| (v - mean) * (v - mean)) / data.len() as f64,
        )
    }

    #[test]
    fn fields_have_zero_mean_and_unit_variance() {
        let shape = Fractal {
            scale_px: [40.0, 20.0],
            octaves: 5,
            persistence: 0.6,
        };
        let fields = [
            correlated(1, SIZE, [2.5, 0.0]),
            correlated(1, SIZE, [0.5, 7.0]),
            fractal(2, SIZE, shape, false),
            fractal(2, SIZE, shape, true),
            rayleigh(3, SIZE, [0.0, 0.0]),
        ];
        for field in fields {
            let (mean, variance) = moments(&field);
            assert!(
                mean.abs() < 1e-5 && (variance - 1.0).abs() < 1e-4,
                "{mean} {variance}"
            );
        }
    }

    /// Correlation of horizontal and of vertical neighbours at a distance.
    fn correlation(data: &[f32], rows: usize, cols: usize) -> f32 {
        let (mut sum, mut count) = (0.0, 0.0_f32);
        for row in 0..SIZE.height - rows {
            for col in 0..SIZE.width - cols {
                sum += data[SIZE.index(row, col)] * data[SIZE.index(row + rows, col + cols)];
                count += 1.0;
            }
        }
        sum / count
    }

    #[test]
    fn grain_is_directional() {
        let data = correlated(5, SIZE, [0.0, 3.0]);
        assert!(correlation(&data, 0, 3) > 0.5);
        assert!(correlation(&data, 3, 0).abs() < 0.1);
    }

    #[test]
    fn speckle_is_skewed_as_the_rayleigh_law() {
        let data = rayleigh(3, Size::new(256, 256), [0.0, 0.0]);
        let skew = sum(&data, |v| v * v * v) / data.len() as f64;
        // 2 sqrt(pi) (pi - 3) / (4 - pi)^(3/2)
        assert!((skew - 0.6311).abs() < 0.05, "{skew}");
    }

    #[test]
    #[expect(clippy::float_cmp, reason = "these positions are exact in binary")]
    fn enlarging_keeps_corners_and_lines() {
        let grid = Grid {
            size: Size::new(2, 3),
            data: vec![0.0, 1.0, 2.0, 10.0, 11.0, 12.0],
        };
        let large = grid.enlarged(Size::new(5, 9));
        assert_eq!(large.data[0], 0.0);
        assert_eq!(large.data[8], 2.0);
        assert_eq!(large.data[4 * 9 + 4], 11.0);
        assert_eq!(large.data[2 * 9 + 2], 5.5);
    }
}
