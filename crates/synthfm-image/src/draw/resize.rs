//! Resizing of pictures for people.
//!
//! One axis after the other with a triangle filter: bilinear when growing, and widened by the
//! reduction when shrinking, so that thin structures do not vanish from thumbnails.

use crate::{RgbImage, Size};

/// Resizes to `size`. An image without pixels gives black.
pub fn resize_rgb(image: &RgbImage, size: Size) -> RgbImage {
    let from = image.size();
    let mut out = RgbImage::zeros(size);
    if from.area() == 0 || size.area() == 0 {
        return out;
    }
    let columns = weights(from.width, size.width);
    let rows = weights(from.height, size.height);
    // [H, W, 3] -> [H, W', 3]
    let mut wide = Vec::with_capacity(from.height * size.width * 3);
    for line in image.data().chunks_exact(3 * from.width) {
        for (first, weights) in &columns {
            for channel in 0..3 {
                let values = line[3 * first + channel..].iter().step_by(3);
                let sum: f32 = values.zip(weights).map(|(&v, w)| f32::from(v) * w).sum();
                wide.push(sum);
            }
        }
    }
    // [H, W', 3] -> [H', W', 3]
    let stride = 3 * size.width;
    let lines = out.data_mut().chunks_exact_mut(stride);
    for (line, (first, weights)) in lines.zip(&rows) {
        for (at, value) in line.iter_mut().enumerate() {
            let values = wide[first * stride + at..].iter().step_by(stride);
            let sum: f32 = values.zip(weights).map(|(v, w)| v * w).sum();
            *value = sum.round() as u8;
        }
    }
    out
}

/// For each new position the first old one and the weights from there on, which add up to 1.
fn weights(from: usize, to: usize) -> Vec<(usize, Vec<f32>)> {
    let scale = from as f64 / to as f64;
    let reach = scale.max(1.0);
    let position = |n: usize| {
        let centre = (n as f64 + 0.5) * scale - 0.5;
        let first = (centre - reach).ceil().max(0.0) as usize;
        let last = ((centre + reach).floor() as usize).min(from - 1);
        let triangle = |at: usize| (1.0 - (at as f64 - centre).abs() / reach).max(0.0);
        let total: f64 = (first..=last).map(triangle).sum();
        let weights = (first..=last).map(|at| (triangle(at) / total) as f32);
        (first, weights.collect())
    };
    (0..to).map(position).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn grey(size: Size, value: impl Fn(usize, usize) -> u8) -> RgbImage {
        let pixels = (0..size.area()).map(|n| value(n / size.width, n % size.width));
        RgbImage::new(size, pixels.flat_map(|v| [v; 3]).collect()).unwrap()
    }

    #[test]
    fn a_ramp_stays_a_ramp() {
        let ramp = grey(Size::new(3, 4), |_, col| 60 * col as u8);
        let large = resize_rgb(&ramp, Size::new(2, 8));
        let got: Vec<u8> = large.data().iter().copied().step_by(3).take(8).collect();
        assert_eq!(got, [0, 15, 45, 75, 105, 135, 165, 180]);
    }

    #[test]
    fn a_thin_line_survives_shrinking() {
        let line = grey(Size::new(64, 64), |_, col| if col == 31 { 255 } else { 0 });
        let small = resize_rgb(&line, Size::new(8, 8));
        assert!(small.data().iter().any(|&v| v > 10));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn same_size_is_identity_and_flat_stays_flat(
            from in (1usize..20, 1usize..20),
            to in (0usize..40, 0usize..40),
            seed in any::<u8>(),
        ) {
            let (from, to) = (Size::new(from.0, from.1), Size::new(to.0, to.1));
            let image = grey(from, |row, col| (row * 31 + col * 17) as u8 ^ seed);
            prop_assert_eq!(&resize_rgb(&image, from), &image);
            let flat = resize_rgb(&grey(from, |_, _| seed), to);
            prop_assert_eq!(flat.size(), to);
            prop_assert!(flat.data().iter().all(|&v| v == seed));
        }
    }
}
