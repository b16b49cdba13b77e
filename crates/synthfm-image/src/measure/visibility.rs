//! Whether a boundary can be seen: contrast to noise across it, part by part.
//!
//! At every boundary pixel the mean of a few pixels inside is compared with that of as many outside,
//! along rows and columns. The boundary is cut into eight parts by direction from its middle; with
//! the mean difference `D_s` of part s over `n_s` pixels and the variance `v` of the differences within
//! the parts,
//!
//! ```text
//! visibility^2 = mean over s of (D_s^2 - 3 v / n_s) / v, weighted by n_s
//! ```
//!
//! The subtracted term is what noise alone would give (3: neighbours along a boundary are correlated).
//! Parts may differ in sign; texture alone does not count.

use crate::{Image, Mask, Size};

/// Correlated neighbours per independent one.
const CORRELATED: f64 = 3.0;

/// Variance of differences below which grey levels hide it: a quarter of a level of 256.
const LEAST_VARIANCE: f64 = 1e-6;

/// Directions from a pixel to its neighbours.
const NEIGHBOURS: [[isize; 2]; 4] = [[0, 1], [0, -1], [1, 0], [-1, 0]];

/// Visibility of the boundary of a mask: contrast across it over the deviation of that contrast along it, part by part.
///
/// Means are over `reach_px` on either side (at least two pixels). At every boundary pixel the mean inside is compared
/// with that outside along rows and columns; the root of the mean square of the differences that eighths of the boundary
/// agree on, over the standard deviation of those that they do not. 0 if the mask has no boundary inside the image, or
/// another size.
pub fn boundary_visibility(image: &Image, mask: &Mask, reach_px: f32) -> f32 {
    if image.size() != mask.size() {
        return 0.0;
    }
    let differences = Probe::new(image, mask, reach_px).differences();
    let count = differences.len().max(1) as f64;
    let mean = |of: fn(&Difference) -> usize| {
        differences.iter().map(|d| of(d) as f64).sum::<f64>() / count
    };
    let middle = [mean(|d| d.row), mean(|d| d.col)];
    let mut parts = [Part::default(); 8];
    for difference in &differences {
        parts[octant(middle, difference)].add(f64::from(difference.value));
    }
    combined(&parts)
}

/// A comparison across the boundary at one pixel.
struct Difference {
    row: usize,
    col: usize,
    value: f32,
}

/// Compares both sides of a boundary.
struct Probe<'a> {
    image: &'a [f32],
    mask: &'a [bool],
    size: Size,
    reach: isize,
}

impl<'a> Probe<'a> {
    fn new(image: &'a Image, mask: &'a Mask, reach_px: f32) -> Self {
        let size = image.size();
        Self {
            image: image.data(),
            mask: mask.data(),
            size,
            reach: reach_px.max(2.0) as isize,
        }
    }

    fn differences(&self) -> Vec<Difference> {
        let mut found = Vec::new();
        let lines = self.mask.chunks_exact(self.size.width.max(1));
        for (row, line) in lines.enumerate() {
            let Some(first) = line.iter().position(|&inside| inside) else {
                continue;
            };
            let past = line.len() - line.iter().rev().take_while(|&&inside| !inside).count();
            for col in (first..past).filter(|&col| line[col]) {
                for step in NEIGHBOURS {
                    let value = self.across([row, col], step);
                    found.extend(value.map(|value| Difference { row, col, value }));
                }
            }
        }
        found
    }

    /// Position of a pixel some steps away, if that is in the image.
    fn at(&self, [row, col]: [usize; 2], [down, right]: [isize; 2], steps: isize) -> Option<usize> {
        let row = row.checked_add_signed(down * steps)?;
        let col = col.checked_add_signed(right * steps)?;
        (row < self.size.height && col < self.size.width).then(|| self.size.index(row, col))
    }

    /// Mean inside less mean outside, if the next pixel in a direction lies outside.
    fn across(&self, pixel: [usize; 2], step: [isize; 2]) -> Option<f32> {
        let next = self.at(pixel, step, 1)?;
        if self.mask[next] {
            return None;
        }
        let mean = |steps: &mut dyn Iterator<Item = isize>, inside: bool| {
            let (mut sum, mut count) = (0.0, 0.0);
            for steps in steps {
                match self.at(pixel, step, steps) {
                    Some(at) if self.mask[at] == inside => sum += self.image[at],
                    _ => break,
                }
                count += 1.0;
            }
            sum / count
        };
        let inside = mean(&mut (0..self.reach).map(|steps| -steps), true);
        Some(inside - mean(&mut (1..=self.reach), false))
    }
}

/// Which of eight directions a pixel lies in.
fn octant([row, col]: [f64; 2], pixel: &Difference) -> usize {
    let (down, right) = (pixel.row as f64 - row, pixel.col as f64 - col);
    let flat = right.abs() > down.abs();
    usize::from(down > 0.0) + 2 * usize::from(right > 0.0) + 4 * usize::from(flat)
}

/// Differences in one part of the boundary.
#[derive(Clone, Copy, Default)]
struct Part {
    count: f64,
    sum: f64,
    squares: f64,
}

impl Part {
    fn add(&mut self, difference: f64) {
        self.count += 1.0;
        self.sum += difference;
        self.squares += difference * difference;
    }
}

fn combined(parts: &[Part]) -> f32 {
    let count: f64 = parts.iter().map(|part| part.count).sum();
    if count < 1.0 {
        return 0.0;
    }
    let explained = |part: &Part| part.sum * part.sum / part.count.max(1.0);
    let between: f64 = parts.iter().map(explained).sum();
    let squares: f64 = parts.iter().map(|part| part.squares).sum();
    let variance = ((squares - between) / count).max(LEAST_VARIANCE);
    let filled = parts.iter().filter(|part| part.count > 0.0).count() as f64;
    let signal = (between - CORRELATED * variance * filled) / count;
    (signal / variance).max(0.0).sqrt() as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::normal_numbers;

    const SIZE: Size = Size::new(128, 150);

    /// A disc of this contrast in white noise of this deviation.
    fn disc(contrast: f32, sigma: f32) -> (Image, Mask) {
        let inside = |at: usize| {
            let (row, col) = ((at / SIZE.width) as f32, (at % SIZE.width) as f32);
            (row - 60.0).hypot(col - 80.0) < 30.0
        };
        let noise = normal_numbers(SIZE.area());
        let pixel =
            |at: usize| 0.5 + contrast * f32::from(u8::from(inside(at))) + sigma * noise[at] as f32;
        let image = Image::new(SIZE, (0..SIZE.area()).map(pixel).collect()).unwrap();
        let mask = Mask::new(SIZE, (0..SIZE.area()).map(inside).collect()).unwrap();
        (image, mask)
    }

    #[test]
    fn visibility_is_contrast_over_the_noise_of_a_difference() {
        // Two pixels on either side: the difference has the variance of one pixel.
        for (contrast, sigma) in [(0.1, 0.1), (-0.2, 0.1), (0.05, 0.1)] {
            let (image, mask) = disc(contrast, sigma);
            let got = boundary_visibility(&image, &mask, 2.0);
            let expected = contrast.abs() / sigma;
            assert!(
                (got - expected).abs() < 0.12 + 0.1 * expected,
                "{got} {expected}"
            );
        }
    }

    #[test]
    fn noise_alone_is_invisible_and_contrast_alone_is_plain() {
        let (image, mask) = disc(0.0, 0.1);
        assert!(boundary_visibility(&image, &mask, 2.0) < 0.1);
        let (image, mask) = disc(0.02, 0.0);
        assert!(boundary_visibility(&image, &mask, 2.0) > 5.0);
    }

    #[test]
    fn a_mask_without_boundary_has_none() {
        let image = Image::zeros(SIZE);
        let all = Mask::new(SIZE, vec![true; SIZE.area()]).unwrap();
        assert!(boundary_visibility(&image, &all, 2.0).abs() < f32::EPSILON);
        assert!(boundary_visibility(&image, &Mask::zeros(SIZE), 2.0).abs() < f32::EPSILON);
    }
}
