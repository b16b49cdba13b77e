//! Smooth outlines: the model's probabilities are blurred in proportion to the structure's thickness before they are cut.
//!
//! Where an edge is sure, the blur leaves it in place and only rounds it; where the model is unsure over a wide band, noise
//! of its logits would make curls there. The blur is Gaussian, on the decoder's grid, and a fixed part of the radius of the
//! largest disc inside the structure, so that thin structures keep their shape.

use synthfm_image::{Mask, Outside, Size, distance_transform};

/// Blurs of a smaller standard deviation, in cells, change nothing that is seen.
const LEAST_SD: f64 = 0.4;
/// Standard deviations from which on a Gaussian's weights are left out.
const REACH: f64 = 3.0;
/// Pixels up to which a mask's depth is measured at each: its transform takes twelve bytes for one.
const LARGEST_AREA: f64 = 16e6;
/// Probabilities are kept away from 0 and 1 by this, so that their logits are finite.
const LEAST_PROBABILITY: f32 = 1e-6;

/// Logits `[m, m]`, of which the top-left `shown` cells show the image, with their outline at `threshold` smoothed by a blur
/// of standard deviation `sd`, in cells.
pub(crate) fn smoothed(logits: &[f32], m: usize, shown: Size, threshold: f32, sd: f64) -> Vec<f32> {
    let mut out = logits.to_vec();
    if !sd.is_finite() || sd < LEAST_SD {
        return out;
    }
    let cells = |row: usize| row * m..row * m + shown.width;
    let kept = (0..shown.height).flat_map(|row| &logits[cells(row)]);
    let probability = |&logit: &f32| 1.0 / (1.0 + (threshold - logit).exp());
    let map: Vec<f32> = kept.map(probability).collect();
    let map = blurred(&map, shown, sd.min(m as f64));
    let logit = |p: f32| {
        let p = p.clamp(LEAST_PROBABILITY, 1.0 - LEAST_PROBABILITY);
        threshold + (p / (1.0 - p)).ln()
    };
    for (row, line) in map.chunks_exact(shown.width.max(1)).enumerate() {
        for (value, &p) in out[cells(row)].iter_mut().zip(line) {
            *value = logit(p);
        }
    }
    out
}

/// The radius in pixels of the largest disc inside a mask, which the image's border does not cut; infinite for a full mask.
/// For very large masks, every second pixel is looked at, or every third, and so on.
pub(crate) fn inner_radius(mask: &Mask) -> f64 {
    let step = (mask.size().area() as f64 / LARGEST_AREA)
        .sqrt()
        .ceil()
        .max(1.0) as usize;
    let thinned;
    let mask = if step == 1 {
        mask
    } else {
        thinned = every(mask, step);
        &thinned
    };
    let depths = distance_transform(mask, Outside::Unknown);
    step as f64 * f64::from(depths.into_iter().fold(0.0, f32::max))
}

/// Every `step`th pixel of every `step`th row, from the first on.
fn every(mask: &Mask, step: usize) -> Mask {
    let size = mask.size();
    let rows = mask.data().chunks_exact(size.width.max(1)).step_by(step);
    let kept = rows.flat_map(|row| row.iter().copied().step_by(step));
    let small = Size::new(size.height.div_ceil(step), size.width.div_ceil(step));
    Mask::new(small, kept.collect()).expect("one value per kept pixel")
}

/// Gaussian blur; at the border over what there is.
fn blurred(map: &[f32], size: Size, sd: f64) -> Vec<f32> {
    let reach = (REACH * sd).ceil() as usize;
    let weights: Vec<f32> = (0..=reach)
        .map(|i| (-0.5 * (i as f64 / sd).powi(2)).exp() as f32)
        .collect();
    let along_rows = along(map, size, &weights);
    let turned = transposed(&along_rows, size);
    let flipped = Size::new(size.width, size.height);
    transposed(&along(&turned, flipped, &weights), flipped)
}

/// Each row blurred with symmetric weights.
fn along(map: &[f32], size: Size, weights: &[f32]) -> Vec<f32> {
    let mut out = Vec::with_capacity(map.len());
    for row in map.chunks_exact(size.width.max(1)) {
        for x in 0..row.len() {
            let (first, last) = (
                x.saturating_sub(weights.len() - 1),
                (x + weights.len()).min(row.len()),
            );
            let (mut sum, mut total) = (0.0, 0.0);
            for (at, value) in row.iter().enumerate().take(last).skip(first) {
                let weight = weights[at.abs_diff(x)];
                sum += weight * value;
                total += weight;
            }
            out.push(sum / total);
        }
    }
    out
}

fn transposed(map: &[f32], size: Size) -> Vec<f32> {
    let rows = |x: usize| (0..size.height).map(move |y| map[size.index(y, x)]);
    (0..size.width).flat_map(rows).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::assert_close;

    /// A disc of `radius` cells with a bar of `thin` cells beside it, on 40 × 48 of 48 × 48 cells.
    fn shapes(radius: f64, thin: usize) -> Vec<f32> {
        let inside = |i: usize| {
            let (y, x) = ((i / 48) as f64, (i % 48) as f64);
            (y - 20.0).hypot(x - 16.0) <= radius || (i % 48 >= 40 && i % 48 < 40 + thin)
        };
        (0..48 * 48)
            .map(|i| if inside(i) { 6.0 } else { -6.0 })
            .collect()
    }

    fn area(logits: &[f32]) -> usize {
        let rows = logits.chunks_exact(48).take(40);
        rows.flatten().filter(|&&v| v > 0.0).count()
    }

    const SHOWN: Size = Size::new(40, 48);

    #[test]
    fn without_a_blur_and_on_flat_maps_nothing_changes() {
        let disc = shapes(10.0, 2);
        for sd in [0.0, 0.3, f64::INFINITY, f64::NAN] {
            assert_close("no blur", &smoothed(&disc, 48, SHOWN, 0.0, sd), &disc);
        }
        for value in [-3.0, 3.0] {
            let flat = vec![value; 48 * 48];
            assert_close("flat", &smoothed(&flat, 48, SHOWN, 0.0, 1.5), &flat);
        }
    }

    #[test]
    fn the_largest_disc_inside_gives_the_radius() {
        let mask = |inside: &dyn Fn(usize, usize) -> bool| {
            let size = Size::new(9, 13);
            let data = (0..size.area()).map(|i| inside(i / 13, i % 13)).collect();
            Mask::new(size, data).unwrap()
        };
        let radius = |inside: &dyn Fn(usize, usize) -> bool| inner_radius(&mask(inside));
        assert!((radius(&|row, _| row == 4) - 1.0).abs() < 1e-6);
        // Seven rows that the image cuts at one side.
        assert!((radius(&|row, _| row < 7) - 7.0).abs() < 1e-6);
        assert!(
            (radius(&|row, col| (2..7).contains(&row) && (2..9).contains(&col)) - 3.0).abs() < 1e-6
        );
        assert!(radius(&|_, _| false).abs() < 1e-6 && radius(&|_, _| true).is_infinite());
    }

    #[test]
    fn very_large_masks_are_thinned() {
        let size = Size::new(4101, 8003);
        let inside = |i: usize| {
            let (y, x) = ((i / size.width) as f64, (i % size.width) as f64);
            (y - 2000.0).hypot(x - 5000.0) <= 900.0
        };
        let mask = Mask::new(size, (0..size.area()).map(inside).collect()).unwrap();
        assert!((inner_radius(&mask) - 900.0).abs() < 6.0);
        let odd = every(
            &Mask::new(Size::new(2, 3), vec![true, false, true, false, true, false]).unwrap(),
            2,
        );
        assert_eq!(
            (odd.size(), odd.data()),
            (Size::new(1, 2), &[true, true][..])
        );
    }

    #[test]
    fn notches_and_spikes_go_and_the_size_stays() {
        let disc = shapes(10.0, 0);
        let mut rough = disc.clone();
        for y in (12..30).step_by(2) {
            // Every other cell of the right edge.
            for x in 20..40 {
                let at = y * 48 + x;
                if disc[at] > 0.0 && disc[at + 1] < 0.0 {
                    rough[at] = -6.0;
                    rough[at + 48 + 1] = 6.0;
                }
            }
        }
        let smooth = smoothed(&rough, 48, SHOWN, 0.0, 1.5);
        let pairs = |a: &[f32], b: &[f32]| {
            let both = a.iter().zip(b).filter(|(a, b)| (**a > 0.0) != (**b > 0.0));
            both.count()
        };
        let plain = smoothed(&disc, 48, SHOWN, 0.0, 1.5);
        assert!(pairs(&smooth, &plain) < pairs(&rough, &disc) / 2);
        // A blur takes about π sd² = 7 cells off a disc.
        assert!(area(&smooth).abs_diff(area(&disc)) <= 12);
    }

    #[test]
    fn a_structure_at_the_border_keeps_it_and_padding_does_not_matter() {
        // The lower half of what is shown, down to its last row.
        let mut half: Vec<f32> = (0..48 * 48)
            .map(|i| if i / 48 >= 20 { 6.0 } else { -6.0 })
            .collect();
        let one = smoothed(&half, 48, SHOWN, 0.0, 1.5);
        half[40 * 48..].fill(-20.0);
        let two = smoothed(&half, 48, SHOWN, 0.0, 1.5);
        assert_close("padding", &two[..40 * 48], &one[..40 * 48]);
        assert_eq!(area(&one), 20 * 48);
    }

    #[test]
    fn the_outline_is_where_the_threshold_cuts() {
        let lifted: Vec<f32> = shapes(10.0, 0).iter().map(|v| v - 0.7).collect();
        let smooth = smoothed(&lifted, 48, SHOWN, -0.7, 1.5);
        let plain = smoothed(&shapes(10.0, 0), 48, SHOWN, 0.0, 1.5);
        let back: Vec<f32> = smooth[..40 * 48].iter().map(|v| v + 0.7).collect();
        assert_close("threshold", &back, &plain[..40 * 48]);
    }
}
