//! Properties by which images and structures can be compared, such as real ones with synthetic ones.
//!
//! Lengths are in pixels and intensities in the image's own unit: whoever compares brings images to one size and one
//! range first. Nothing here is random, and no property depends on how an image was made.

mod grain;
mod profile;
mod spectrum;
mod visibility;

pub use spectrum::PowerSpectrum;
pub use visibility::boundary_visibility;

use std::f64::consts::PI;

use crate::{Image, Mask, Size};
use grain::Grain;
use profile::Profiles;

/// Reach in pixels of the comparison across the boundary in [`boundary_visibility`].
const VISIBILITY_REACH_PX: f32 = 2.0;

/// How one structure looks, and its shape.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StructureProperties {
    /// Mean intensity inside.
    pub intensity: f64,
    /// Mean of the pixels up to 4 pixels inside the boundary less that of as many outside it; positive for a
    /// structure brighter than what is around it.
    pub contrast: f64,
    /// Contrast across the boundary over the steepest slope of the mean profile along its normals, in pixels:
    /// `sqrt(2 π) σ` for an edge blurred by a Gaussian, which is 0.98 of its rise from 10 to 90 %. Parts of the
    /// boundary are measured apart and weigh by their contrast.
    pub edge_width_px: f64,
    /// Robust standard deviation (1.4826 MAD) of what is left inside after the local mean is subtracted.
    pub noise: f64,
    /// Distance in pixels at which the autocorrelation of that remainder falls to one half, mean of both axes: 0.5
    /// for white noise, 1.67 σ for white noise blurred by σ; 0 where there is no noise.
    pub grain_px: f64,
    /// Share of the image.
    pub area: f64,
    /// `4 π A / P²`, 1 for a disc (up to 1.75 for a single pixel); `P` by Crofton's formula in four directions, what the image cuts off included.
    pub compactness: f64,
    /// See [`boundary_visibility`].
    pub visibility: f64,
}

impl StructureProperties {
    /// Measures the structure `mask` of `image`; `None` if it is empty, has no pixel around it, or differs in size.
    pub fn of(image: &Image, mask: &Mask) -> Option<Self> {
        let area = mask.area();
        if image.size() != mask.size() || area == 0 || area == mask.size().area() {
            return None;
        }
        let inside = image.data().iter().zip(mask.data()).filter(|pair| *pair.1);
        let sum: f64 = inside.map(|(&value, _)| f64::from(value)).sum();
        let profiles = Profiles::across(image, mask);
        let grain = Grain::inside(image, mask);
        let perimeter = perimeter(mask);
        Some(Self {
            intensity: sum / area as f64,
            contrast: profiles.contrast(),
            edge_width_px: profiles.edge_width_px(),
            noise: grain.deviation,
            grain_px: grain.length_px,
            area: area as f64 / mask.size().area() as f64,
            compactness: 4.0 * PI * area as f64 / (perimeter * perimeter),
            visibility: f64::from(boundary_visibility(image, mask, VISIBILITY_REACH_PX)),
        })
    }
}

/// Perimeter by Crofton's formula: `π / 2` times the mean, over four directions, of the crossings per line times the
/// distance between lines. Exact on average for shapes without a direction; 5 % short for an upright square.
fn perimeter(mask: &Mask) -> f64 {
    let Size { height, width } = mask.size();
    let inside = |row: usize, col: usize| {
        // Shifted by one, so that the frame around the image is background.
        (1..=height).contains(&row) && (1..=width).contains(&col) && mask.at(row - 1, col - 1)
    };
    let mut crossings = [0usize; 4];
    for row in 0..=height {
        for col in 0..=width {
            let [here, right] = [inside(row, col), inside(row, col + 1)];
            let [below, across] = [inside(row + 1, col), inside(row + 1, col + 1)];
            crossings[0] += usize::from(here != right);
            crossings[1] += usize::from(here != below);
            crossings[2] += usize::from(here != across);
            crossings[3] += usize::from(right != below);
        }
    }
    let [rows, columns, falling, rising] = crossings.map(|count| count as f64);
    PI / 8.0 * (rows + columns + (falling + rising) / f64::sqrt(2.0))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::arbitrary_mask;

    fn shape(size: Size, inside: impl Fn(f64, f64) -> bool) -> Mask {
        let pixel = |at: usize| inside((at / size.width) as f64, (at % size.width) as f64);
        Mask::new(size, (0..size.area()).map(pixel).collect()).unwrap()
    }

    #[test]
    fn perimeters_of_plain_shapes() {
        let size = Size::new(150, 210);
        for (radius, tolerance) in [(8.0, 0.05), (30.5, 0.02), (60.0, 0.02)] {
            let disc = shape(size, |row, col| (row - 70.0).hypot(col - 100.0) <= radius);
            let exact = 2.0 * PI * radius;
            let got = perimeter(&disc);
            assert!((got / exact - 1.0).abs() < tolerance, "{got} {exact}");
        }
        // 20 rows and 20 columns are crossed twice, and diagonals over a width of 20 sqrt 2.
        let square = shape(size, |row, col| {
            (30.0..50.0).contains(&row) && (40.0..60.0).contains(&col)
        });
        // Every other diagonal of pixels ends in a corner: 39 lines of each direction.
        let exact = PI / 8.0 * (80.0 + 2.0 * 2.0 * 39.0 / f64::sqrt(2.0));
        assert!((perimeter(&square) - exact).abs() < 1e-9);
        let dot = shape(size, |row, col| row == 0.0 && col == 0.0);
        let exact = PI / 8.0 * (4.0 + 4.0 / f64::sqrt(2.0));
        assert!((perimeter(&dot) - exact).abs() < 1e-9);
    }

    #[test]
    fn a_disc_is_compact_and_a_line_is_not() {
        let size = Size::new(120, 190);
        let of = |mask: &Mask| StructureProperties::of(&Image::zeros(size), mask).unwrap();
        let disc = of(&shape(size, |row, col| {
            (row - 60.0).hypot(col - 80.0) <= 40.0
        }));
        assert!((disc.compactness - 1.0).abs() < 0.03, "{disc:?}");
        let share = PI * 1600.0 / (120.0 * 190.0);
        assert!((disc.area - share).abs() < 0.002);
        let line = of(&shape(size, |row, _| (60.0..63.0).contains(&row)));
        // 4 π · 570 / 386² up to Crofton's directions.
        assert!((line.compactness - 0.048).abs() < 0.012, "{line:?}");
        assert!(disc.contrast.abs() < 1e-12 && disc.noise.abs() < 1e-12);
    }

    #[test]
    fn what_has_no_boundary_has_no_properties() {
        let size = Size::new(9, 5);
        let all = Mask::new(size, vec![true; 45]).unwrap();
        for mask in [Mask::zeros(size), all, Mask::zeros(Size::new(5, 9))] {
            assert_eq!(StructureProperties::of(&Image::zeros(size), &mask), None);
        }
        let empty = Size::new(0, 4);
        let (image, mask) = (Image::zeros(empty), Mask::zeros(empty));
        assert_eq!(StructureProperties::of(&image, &mask), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Whatever the mask, every property is a number in its range, and turning the image changes none but little.
        #[test]
        fn properties_are_finite_and_keep_under_transposition(
            mask in arbitrary_mask(1..24, 1..24),
            values in prop::collection::vec(0.0f32..1.0, 24 * 24),
        ) {
            let size = mask.size();
            let image = Image::new(size, values[..size.area()].to_vec()).unwrap();
            let turned_size = Size::new(size.width, size.height);
            let from = |at: usize| (at % size.height) * size.width + at / size.height;
            let turned_image =
                Image::new(turned_size, (0..size.area()).map(|at| image.data()[from(at)]).collect()).unwrap();
            let turned_mask =
                Mask::new(turned_size, (0..size.area()).map(|at| mask.data()[from(at)]).collect()).unwrap();
            let found = StructureProperties::of(&image, &mask);
            let turned = StructureProperties::of(&turned_image, &turned_mask);
            prop_assert_eq!(found.is_some(), turned.is_some());
            if let (Some(found), Some(turned)) = (found, turned) {
                for (a, b) in [
                    (found.intensity, turned.intensity),
                    (found.contrast, turned.contrast),
                    (found.noise, turned.noise),
                    (found.grain_px, turned.grain_px),
                    (found.area, turned.area),
                    (found.compactness, turned.compactness),
                ] {
                    prop_assert!(a.is_finite() && (a - b).abs() < 1e-5 * (1.0 + a.abs()), "{} {}", a, b);
                }
                prop_assert!(found.edge_width_px.is_finite() && found.edge_width_px >= 0.0);
                prop_assert!(found.compactness > 0.0 && found.compactness < 1.8);
            }
        }
    }
}
