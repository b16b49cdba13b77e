//! Resampling: Pillow's antialiased bilinear filter on 8-bit images, and `PyTorch`'s plain bilinear on
//! maps.
//!
//! SAM's results depend on the resized bytes, so [`resize_antialiased`] is Pillow's algorithm
//! (`libImaging/Resample.c`) to the bit: two passes, horizontal first, weights rounded to 22 fractional
//! bits, each pass rounded and clipped to 8 bits.

use rayon::prelude::*;
use synthfm_image::{RgbImage, Size};

/// Fractional bits of Pillow's 8-bit weights: `32 - 8 - 2`.
const PRECISION_BITS: u32 = 22;

/// The source pixels and fixed-point weights behind one output pixel.
struct Taps {
    first: usize,
    weights: Vec<i32>,
}

/// `precompute_coeffs` and `normalize_coeffs_8bpc` for the triangle filter of support 1.
fn taps(source: usize, target: usize) -> Vec<Taps> {
    let scale = source as f64 / target as f64;
    let support = scale.max(1.0);
    (0..target)
        .map(|i| {
            let centre = (i as f64 + 0.5) * scale;
            // Truncation towards zero, as in C; a negative start is clipped to 0 anyway.
            let first = (centre - support + 0.5).max(0.0) as usize;
            let end = ((centre + support + 0.5) as usize).min(source);
            let triangle = |x: usize| {
                let distance = ((x as f64 - centre + 0.5) / support).abs();
                (1.0 - distance).max(0.0)
            };
            let weights: Vec<f64> = (first..end).map(triangle).collect();
            let total: f64 = weights.iter().sum();
            let fixed = |w: &f64| (0.5 + w / total * f64::from(1 << PRECISION_BITS)) as i32;
            Taps {
                first,
                weights: weights.iter().map(fixed).collect(),
            }
        })
        .collect()
}

/// Rounds and clips a fixed-point sum to 8 bits.
fn clip8(sum: i32) -> u8 {
    (sum >> PRECISION_BITS).clamp(0, 255) as u8
}

/// Pillow's `Image.resize(size, BILINEAR)`. Neither size may be empty.
pub(crate) fn resize_antialiased(image: &RgbImage, target: Size) -> RgbImage {
    let wide = if image.size().width == target.width {
        image.clone()
    } else {
        resize_rows(image, target.width)
    };
    if wide.size().height == target.height {
        wide
    } else {
        resize_columns(&wide, target.height)
    }
}

fn resize_rows(image: &RgbImage, width: usize) -> RgbImage {
    let Size { height, width: old } = image.size();
    let taps = taps(old, width);
    let mut out = RgbImage::zeros(Size::new(height, width));
    out.data_mut()
        .par_chunks_exact_mut(3 * width)
        .zip(image.data().par_chunks_exact(3 * old))
        .for_each(|(line, source)| {
            for (pixel, Taps { first, weights }) in line.chunks_exact_mut(3).zip(&taps) {
                let mut sums = [1i32 << (PRECISION_BITS - 1); 3];
                for (colour, w) in source[3 * first..].chunks_exact(3).zip(weights) {
                    for (sum, &value) in sums.iter_mut().zip(colour) {
                        *sum += i32::from(value) * w;
                    }
                }
                pixel.copy_from_slice(&sums.map(clip8));
            }
        });
    out
}

fn resize_columns(image: &RgbImage, height: usize) -> RgbImage {
    let Size { height: old, width } = image.size();
    let taps = taps(old, height);
    let stride = 3 * width;
    let mut out = RgbImage::zeros(Size::new(height, width));
    out.data_mut()
        .par_chunks_exact_mut(stride)
        .zip(&taps)
        .for_each(|(line, Taps { first, weights })| {
            let mut sums = vec![1i32 << (PRECISION_BITS - 1); stride];
            let rows = image.data()[first * stride..].chunks_exact(stride);
            for (row, w) in rows.zip(weights) {
                for (sum, &value) in sums.iter_mut().zip(row) {
                    *sum += i32::from(value) * w;
                }
            }
            for (value, sum) in line.iter_mut().zip(sums) {
                *value = clip8(sum);
            }
        });
    out
}

/// The source pixels and weights behind one output pixel.
struct FloatTaps {
    first: usize,
    weights: Vec<f32>,
}

/// As [`taps`], in the single precision of PyTorch's `_compute_indices_min_size_weights_aa`, whose rounding moves the
/// weights by some 1e-6.
fn float_taps(source: usize, target: usize) -> Vec<FloatTaps> {
    let scale = source as f32 / target as f32;
    let support = scale.max(1.0);
    let inverse = 1.0 / support;
    let of = |i: usize| {
        let centre = (f64::from(scale) * (i as f64 + 0.5)) as f32;
        let (low, high) = (f64::from(centre - support), f64::from(centre + support));
        let first = (low + 0.5).max(0.0) as usize;
        let end = ((high + 0.5) as usize).min(source);
        let triangle = |x: usize| {
            let distance = f64::from(x as f32 - centre) + 0.5;
            let distance = (distance * f64::from(inverse)) as f32;
            (1.0 - distance.abs()).max(0.0)
        };
        let weights: Vec<f32> = (first..end).map(triangle).collect();
        let total: f32 = weights.iter().sum();
        FloatTaps {
            first,
            weights: weights.iter().map(|w| w / total).collect(),
        }
    };
    (0..target).map(of).collect()
}

/// `torch.nn.functional.interpolate(mode="bilinear", antialias=True)` of an 8-bit image as `f32`, which rounds nothing:
/// planes `[3, H, W]` from 0 to 255. Neither size may be empty.
pub(crate) fn resize_antialiased_planes(image: &RgbImage, target: Size) -> Vec<f32> {
    let source = image.size();
    let columns = float_taps(source.width, target.width);
    let mut wide = vec![0.0_f32; 3 * source.height * target.width];
    wide.par_chunks_exact_mut(3 * target.width)
        .zip(image.data().par_chunks_exact(3 * source.width))
        .for_each(|(line, row)| {
            for (x, FloatTaps { first, weights }) in columns.iter().enumerate() {
                let mut sums = [0.0_f32; 3];
                for (pixel, w) in row[3 * first..].chunks_exact(3).zip(weights) {
                    for (sum, &value) in sums.iter_mut().zip(pixel) {
                        *sum += f32::from(value) * w;
                    }
                }
                for (colour, sum) in sums.into_iter().enumerate() {
                    line[colour * target.width + x] = sum;
                }
            }
        });
    let rows = float_taps(source.height, target.height);
    let mut out = vec![0.0_f32; 3 * target.area()];
    out.par_chunks_exact_mut(target.width)
        .enumerate()
        .for_each(|(i, line)| {
            let (colour, FloatTaps { first, weights }) =
                (i / target.height, &rows[i % target.height]);
            for (row, w) in (*first..).zip(weights) {
                let from = &wide[(3 * row + colour) * target.width..][..target.width];
                for (value, &v) in line.iter_mut().zip(from) {
                    *value += v * w;
                }
            }
        });
    out
}

/// Two neighbours along one axis and the weight of the second.
#[derive(Clone, Copy)]
struct Neighbours {
    low: usize,
    high: usize,
    fraction: f32,
}

/// `torch.nn.functional.interpolate(mode="bilinear", align_corners=False)` along one axis.
fn neighbours(source: usize, target: usize) -> Vec<Neighbours> {
    let scale = source as f32 / target as f32;
    (0..target)
        .map(|i| {
            let position = ((i as f32 + 0.5) * scale - 0.5).max(0.0);
            let low = (position as usize).min(source - 1);
            Neighbours {
                low,
                high: (low + 1).min(source - 1),
                fraction: position - low as f32,
            }
        })
        .collect()
}

/// Bilinear resampling of a row-major map without antialiasing. Only the top-left `kept` of the
/// `target` is computed. Neither size may be empty.
pub(crate) fn resize_map(map: &[f32], source: Size, target: Size, kept: Size) -> Vec<f32> {
    let rows = neighbours(source.height, target.height);
    let cols = neighbours(source.width, target.width);
    let mut out = vec![0.0; kept.area()];
    let lines = out.par_chunks_exact_mut(kept.width).zip(&rows);
    lines.for_each(|(line, row)| interpolate_row(map, source, *row, &cols, line, |value| value));
    out
}

/// [`resize_map`] of all of the target, of which `make` of each value is kept.
pub(crate) fn resize_map_into<T: Send>(
    map: &[f32],
    source: Size,
    target: Size,
    out: &mut [T],
    make: impl Fn(f32) -> T + Sync,
) {
    let rows = neighbours(source.height, target.height);
    let cols = neighbours(source.width, target.width);
    let lines = out.par_chunks_exact_mut(target.width).zip(&rows);
    lines.for_each(|(line, row)| interpolate_row(map, source, *row, &cols, line, &make));
}

fn interpolate_row<T>(
    map: &[f32],
    source: Size,
    row: Neighbours,
    cols: &[Neighbours],
    line: &mut [T],
    make: impl Fn(f32) -> T,
) {
    let upper = &map[row.low * source.width..][..source.width];
    let lower = &map[row.high * source.width..][..source.width];
    for (value, col) in line.iter_mut().zip(cols) {
        let along = |r: &[f32]| r[col.low] * (1.0 - col.fraction) + r[col.high] * col.fraction;
        *value = make(along(upper) * (1.0 - row.fraction) + along(lower) * row.fraction);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::assert_close;

    #[test]
    fn the_same_size_is_the_identity() {
        let size = Size::new(3, 5);
        let image = RgbImage::new(size, (0..45).collect()).unwrap();
        assert_eq!(resize_antialiased(&image, size), image);
        let map: Vec<f32> = (0..15u8).map(f32::from).collect();
        assert_eq!(resize_map(&map, size, size, size), map);
    }

    #[test]
    fn a_constant_image_stays_constant() {
        let image = RgbImage::new(Size::new(7, 4), [9, 200, 255].repeat(28)).unwrap();
        for target in [Size::new(3, 9), Size::new(20, 2), Size::new(1, 1)] {
            let got = resize_antialiased(&image, target);
            assert_eq!(got.data(), [9, 200, 255].repeat(target.area()), "{target}");
        }
    }

    #[test]
    fn planes_are_the_resized_image_before_rounding() {
        let size = Size::new(9, 14);
        let bytes = (0..3 * size.area()).map(|i| (i * i % 251) as u8).collect();
        let image = RgbImage::new(size, bytes).unwrap();
        for target in [Size::new(4, 5), Size::new(20, 9), size] {
            let rounded = resize_antialiased(&image, target);
            let planes = resize_antialiased_planes(&image, target);
            for (i, &value) in planes.iter().enumerate() {
                let (colour, pixel) = (i / target.area(), i % target.area());
                let byte = f32::from(rounded.data()[3 * pixel + colour]);
                // Two passes, each rounded.
                assert!((value - byte).abs() <= 1.01, "{target}: {value}, {byte}");
            }
        }
        // [0, 70, 140, 0] halved: (0·3 + 70·3 + 140·1) / 7 and (70·1 + 140·3 + 0·3) / 7
        let grey = [0u8, 70, 140, 1].iter().flat_map(|&v| [v; 3]).collect();
        let image = RgbImage::new(Size::new(1, 4), grey).unwrap();
        let got = resize_antialiased_planes(&image, Size::new(1, 2));
        assert_close("planes", &got, &[50.0, 493.0 / 7.0].repeat(3));
    }

    #[test]
    fn halving_weights_neighbours_by_a_triangle() {
        // Triangle of support 2 around each pair's centre: weights 1/8, 3/8, 3/8, 1/8, renormalised at
        // the borders: 3/7, 3/7, 1/7.
        let grey = [0u8, 70, 140, 0].iter().flat_map(|&v| [v; 3]).collect();
        let image = RgbImage::new(Size::new(1, 4), grey).unwrap();
        let got = resize_antialiased(&image, Size::new(1, 2));
        // (0·3 + 70·3 + 140·1) / 7 = 50; (70·1 + 140·3 + 0·3) / 7 = 70
        assert_eq!(got.data(), [50, 50, 50, 70, 70, 70]);
    }

    #[test]
    fn maps_are_interpolated_between_pixel_centres() {
        // Doubling [0, 4]: 0, 1, 3, 4
        let got = resize_map(
            &[0.0, 4.0],
            Size::new(1, 2),
            Size::new(1, 4),
            Size::new(1, 4),
        );
        assert_close("doubled", &got, &[0.0, 1.0, 3.0, 4.0]);
        let kept = resize_map(
            &[0.0, 4.0],
            Size::new(1, 2),
            Size::new(1, 4),
            Size::new(1, 2),
        );
        assert_close("kept", &kept, &[0.0, 1.0]);
    }
}
