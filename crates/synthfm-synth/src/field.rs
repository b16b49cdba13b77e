//! Random fields: correlated Gaussian noise and fractal noise, grown from a sub-seed.
//!
//! Fields of a scale above one pixel are drawn on a coarse grid and enlarged linearly, octave by
//! octave (Perlin's fractal sum over value noise with normal values); each field is then brought to
//! zero mean and unit variance exactly, so that an amplitude is a standard deviation.

use synthfm_image::Size;

use crate::blur::{self, Plane};
use crate::rng::RowRng;
use crate::scratch::Buffer;
use crate::simd_dispatch;

/// A small plane of random numbers.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Grid {
    pub(crate) size: Size,
    pub(crate) data: Buffer,
}

impl Grid {
    /// White normal noise.
    pub(crate) fn white(seed: u32, size: Size) -> Self {
        let mut data = Buffer::stale(size.area());
        simd_dispatch::run(
            #[inline(always)]
            || {
                for (row, line) in data.chunks_exact_mut(size.width.max(1)).enumerate() {
                    RowRng::new(seed, row).fill_normal(line);
                }
            },
        );
        Self { size, data }
    }

    /// Linear enlargement that maps corners onto corners (as neurite's `draw_perlin`).
    pub(crate) fn enlarged(self, size: Size) -> Self {
        if size == self.size {
            return self;
        }
        let mut data = Buffer::stale(size.area());
        simd_dispatch::run(
            #[inline(always)]
            || self.enlarge_into(size, &mut data),
        );
        Self { size, data }
    }

    /// Each coarse row is enlarged once; the rows between two of them are mixtures of both.
    #[inline(always)]
    fn enlarge_into(&self, size: Size, data: &mut [f32]) {
        let columns = knots(self.size.width, size.width);
        let (mut above, mut below) = (Buffer::stale(size.width), Buffer::stale(size.width));
        let mut pair = None;
        let rows = knots(self.size.height, size.height);
        for (out, (row, share)) in data.chunks_exact_mut(size.width).zip(rows) {
            if pair != Some(row) {
                if row > 0 && pair == Some(row - 1) {
                    std::mem::swap(&mut above, &mut below);
                } else {
                    self.enlarge_row(row, &columns, &mut above);
                }
                self.enlarge_row(row + 1, &columns, &mut below);
                pair = Some(row);
            }
            for ((value, &a), &b) in out.iter_mut().zip(&*above).zip(&*below) {
                *value = a + (b - a) * share;
            }
        }
    }

    /// One row at all columns; the last row and the last column are repeated.
    #[inline(always)]
    fn enlarge_row(&self, row: usize, columns: &[(usize, f32)], out: &mut [f32]) {
        let width = self.size.width;
        let start = row.min(self.size.height - 1) * width;
        let line = &self.data[start..start + width];
        if columns.len() == width {
            out.copy_from_slice(line);
            return;
        }
        for (value, &(col, share)) in out.iter_mut().zip(columns) {
            let (a, b) = (line[col], line[(col + 1).min(width - 1)]);
            *value = a + (b - a) * share;
        }
    }

    pub(crate) fn blurred(mut self, sigma: [f32; 2]) -> Self {
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

/// A plane of random numbers of zero mean and unit variance.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Field {
    width: usize,
    source: Source,
    /// The numbers are `(v - mean) scale`, v from the source.
    pub(crate) mean: f32,
    pub(crate) scale: f32,
}

#[derive(Debug, Clone, PartialEq)]
enum Source {
    /// White normal noise of this sub-seed, made when it is needed.
    White(u32),
    Plane(Buffer),
}

impl Field {
    fn white(seed: u32, size: Size) -> Self {
        Self {
            width: size.width,
            source: Source::White(seed),
            mean: 0.0,
            scale: 1.0,
        }
    }

    /// The plane as it is, for laws whose mean and variance are known.
    pub(crate) fn exact(width: usize, data: Buffer) -> Self {
        Self {
            width,
            source: Source::Plane(data),
            mean: 0.0,
            scale: 1.0,
        }
    }

    /// The plane, shifted and scaled so that mean and variance are exact; a constant one becomes 0.
    pub(crate) fn standardised(width: usize, data: Buffer) -> Self {
        let count = data.len() as f64;
        let [mean, square] = sums(&data, width).map(|sum| sum / count);
        let variance = square - mean * mean;
        let scale = if variance > 1e-12 {
            (1.0 / libm::sqrt(variance)) as f32
        } else {
            0.0
        };
        Self {
            width,
            source: Source::Plane(data),
            mean: mean as f32,
            scale,
        }
    }

    /// The field with all of its source's numbers in memory.
    pub(crate) fn in_memory(self, size: Size) -> Self {
        match self.source {
            Source::White(seed) => Self::exact(size.width, Grid::white(seed, size).data),
            Source::Plane(_) => self,
        }
    }

    /// The source's numbers of all pixels, if they are in memory.
    pub(crate) fn plane(&self) -> Option<&[f32]> {
        match &self.source {
            Source::White(_) => None,
            Source::Plane(data) => Some(data),
        }
    }

    /// The source's numbers of one row; `line` is one row of memory for those made when needed.
    #[inline(always)]
    pub(crate) fn row<'a>(&'a self, row: usize, line: &'a mut [f32]) -> &'a [f32] {
        match &self.source {
            Source::White(seed) => {
                RowRng::new(*seed, row).fill_normal(line);
                line
            }
            Source::Plane(data) => &data[row * self.width..(row + 1) * self.width],
        }
    }
}

impl Field {
    /// Replaces every pixel x of an image by `law(x, v)`, v the source's number there.
    pub(crate) fn visit(&self, data: &mut [f32], law: impl Fn(f32, f32) -> f32) {
        let mut line = Buffer::stale(self.width);
        simd_dispatch::run(
            #[inline(always)]
            || {
                for (row, values) in data.chunks_exact_mut(self.width.max(1)).enumerate() {
                    for (x, &v) in values.iter_mut().zip(self.row(row, &mut line)) {
                        *x = law(*x, v);
                    }
                }
            },
        );
    }
}

/// Sum and sum of squares, row by row.
fn sums(data: &[f32], width: usize) -> [f64; 2] {
    let mut total = [0.0; 2];
    simd_dispatch::run(
        #[inline(always)]
        || {
            for row in data.chunks(width.max(1)) {
                let [sum, square] = row_sums(row);
                total = [total[0] + sum, total[1] + square];
            }
        },
    );
    total
}

/// Those of one row, in sixteen interleaved parts: a fixed order that lets the processor work in
/// parallel.
#[inline(always)]
fn row_sums(row: &[f32]) -> [f64; 2] {
    let (mut sum, mut square) = ([0.0_f32; 16], [0.0_f32; 16]);
    let (chunks, rest) = row.as_chunks::<16>();
    for chunk in chunks {
        for k in 0..16 {
            sum[k] += chunk[k];
            square[k] += chunk[k] * chunk[k];
        }
    }
    for (k, &v) in rest.iter().enumerate() {
        sum[k] += v;
        square[k] += v * v;
    }
    [sum, square].map(|parts| parts.iter().map(|&v| f64::from(v)).sum())
}

/// Gaussian noise whose values are correlated over `grain_px` (vertical, horizontal). Below 0.3 pixels
/// it is white.
pub(crate) fn correlated(seed: u32, size: Size, grain_px: [f32; 2]) -> Field {
    if grain_px[0] < 0.3 && grain_px[1] < 0.3 {
        return Field::white(seed, size);
    }
    // On a grid as coarse as the grain, a blur of one knot leaves no trace of the grid.
    let knots = |length: usize, grain: f32| knot_count(length, grain);
    let grid = Size::new(
        knots(size.height, grain_px[0]),
        knots(size.width, grain_px[1]),
    );
    let sigma = grain_px.map(|grain| if grain < 0.3 { 0.0 } else { grain.min(1.0) });
    let data = Grid::white(seed, grid).blurred(sigma).enlarged(size).data;
    Field::standardised(size.width, data)
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

/// Fractal noise; `fold` turns it into ridges.
pub(crate) fn fractal(seed: u32, size: Size, shape: Fractal, fold: bool) -> Field {
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
        for value in &mut *data {
            *value = -value.abs();
        }
    }
    Field::standardised(size.width, data)
}

fn add(mut sum: Grid, noise: &Grid, amplitude: f32) -> Grid {
    for (value, &noise) in sum.data.iter_mut().zip(&*noise.data) {
        *value += amplitude * noise;
    }
    sum
}

/// Turns a seed into that of the imaginary part of complex noise.
pub(crate) const IMAGINARY: u32 = 0x5bd1_e995;

/// The modulus of a complex Gaussian field: Rayleigh numbers, brought to zero mean and unit variance.
pub(crate) fn rayleigh(seed: u32, size: Size, grain_px: [f32; 2]) -> Field {
    let real = correlated(seed, size, grain_px);
    let imaginary = correlated(seed ^ IMAGINARY, size, grain_px);
    let mut data = Buffer::stale(size.area());
    let (mut line, mut other) = (Buffer::stale(size.width), Buffer::stale(size.width));
    simd_dispatch::run(
        #[inline(always)]
        || {
            for (row, out) in data.chunks_exact_mut(size.width.max(1)).enumerate() {
                let pair = real
                    .row(row, &mut line)
                    .iter()
                    .zip(imaginary.row(row, &mut other));
                for (value, (&a, &b)) in out.iter_mut().zip(pair) {
                    let a = (a - real.mean) * real.scale;
                    let b = (b - imaginary.mean) * imaginary.scale;
                    *value = (a * a + b * b).sqrt();
                }
            }
        },
    );
    Field::standardised(size.width, data)
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

    /// All numbers of a field of `width` columns.
    fn values(field: &Field, size: Size) -> Vec<f32> {
        let mut line = vec![0.0; size.width];
        let mut row = |row| -> Vec<f32> {
            let raw = field.row(row, &mut line).iter();
            raw.map(|&v| (v - field.mean) * field.scale).collect()
        };
        (0..size.height).flat_map(&mut row).collect()
    }

    fn moment(data: &[f32], power: i32) -> f64 {
        data.iter().map(|&v| f64::from(v).powi(power)).sum::<f64>() / data.len() as f64
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
            let data = values(&field, SIZE);
            let (mean, variance) = (moment(&data, 1), moment(&data, 2));
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
        let data = values(&correlated(5, SIZE, [0.0, 3.0]), SIZE);
        assert!(correlation(&data, 0, 3) > 0.5);
        assert!(correlation(&data, 3, 0).abs() < 0.1);
    }

    #[test]
    fn speckle_is_skewed_as_the_rayleigh_law() {
        let size = Size::new(256, 256);
        let skew = moment(&values(&rayleigh(3, size, [0.0, 0.0]), size), 3);
        // 2 sqrt(pi) (pi - 3) / (4 - pi)^(3/2)
        assert!((skew - 0.6311).abs() < 0.05, "{skew}");
    }

    #[test]
    #[expect(clippy::float_cmp, reason = "these positions are exact in binary")]
    fn enlarging_keeps_corners_and_lines() {
        let mut grid = Grid {
            size: Size::new(2, 3),
            data: Buffer::zeros(6),
        };
        grid.data
            .copy_from_slice(&[0.0, 1.0, 2.0, 10.0, 11.0, 12.0]);
        let large = grid.enlarged(Size::new(5, 9));
        assert_eq!(large.data[0], 0.0);
        assert_eq!(large.data[8], 2.0);
        assert_eq!(large.data[4 * 9 + 4], 11.0);
        assert_eq!(large.data[2 * 9 + 2], 5.5);
    }
}
