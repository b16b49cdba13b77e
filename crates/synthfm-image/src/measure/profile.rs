//! Mean intensity against the distance from a structure's boundary, by parts of the boundary.
//!
//! Pixels are taken by their exact Euclidean distance to the other side, which is along the normal. The boundary is cut
//! into parts by direction from its middle, because a structure may be brighter than one neighbour and darker than the
//! next; each part is long enough for noise to average out.

use std::f64::consts::PI;

use crate::{Image, Mask, Outside, distance_to, distance_transform};

/// Distances on either side that are looked at, in steps of one pixel.
const REACH_PX: usize = 8;
/// Distances on either side that make up the local contrast.
const NEAR_PX: usize = 4;
/// Most parts of a boundary.
const MAX_PARTS: usize = 8;
/// Boundary pixels of a part.
const PART_PX: usize = 24;

/// Mean profiles of the parts of a boundary.
pub(super) struct Profiles {
    parts: Vec<Part>,
}

/// Sums over the pixels of one part, by distance from the outermost to the innermost.
#[derive(Clone, Default)]
struct Part {
    bins: [Bin; 2 * REACH_PX],
}

#[derive(Clone, Copy, Default)]
struct Bin {
    count: f64,
    depth: f64,
    value: f64,
}

impl Bin {
    fn add(&mut self, depth: f64, value: f64) {
        self.count += 1.0;
        self.depth += depth;
        self.value += value;
    }

    fn join(self, other: &Self) -> Self {
        Self {
            count: self.count + other.count,
            depth: self.depth + other.depth,
            value: self.value + other.value,
        }
    }

    fn mean(&self) -> f64 {
        self.value / self.count.max(1.0)
    }
}

impl Profiles {
    /// The profiles of the boundary of a mask that is neither empty nor full.
    pub(super) fn across(image: &Image, mask: &Mask) -> Self {
        let size = mask.size();
        let inside = distance_transform(mask, Outside::Unknown);
        let outside = distance_to(mask);
        let depth = |at: usize| {
            // The boundary runs half a pixel beside the centres next to it.
            let distance = if mask.data()[at] {
                inside[at] - 0.5
            } else {
                0.5 - outside[at]
            };
            f64::from(distance)
        };
        let on_boundary = |&at: &usize| mask.data()[at] && inside[at] < 1.25;
        let boundary: Vec<usize> = (0..size.area()).filter(on_boundary).collect();
        let mean = |of: &dyn Fn(usize) -> usize| {
            boundary.iter().map(|&at| of(at) as f64).sum::<f64>() / boundary.len().max(1) as f64
        };
        let middle = [mean(&|at| at / size.width), mean(&|at| at % size.width)];
        let count = (boundary.len() / PART_PX).clamp(1, MAX_PARTS);
        let mut parts = vec![Part::default(); count];
        for (at, &value) in image.data().iter().enumerate() {
            let depth = depth(at);
            let bin = depth.floor() + REACH_PX as f64;
            if (0.0..(2 * REACH_PX) as f64).contains(&bin) {
                let down = (at / size.width) as f64 - middle[0];
                let right = (at % size.width) as f64 - middle[1];
                let turn = down.atan2(right) / (2.0 * PI) + 0.5;
                let part = ((turn * count as f64) as usize).min(count - 1);
                parts[part].bins[bin as usize].add(depth, f64::from(value));
            }
        }
        Self { parts }
    }

    /// Mean up to [`NEAR_PX`] inside less mean as far outside.
    pub(super) fn contrast(&self) -> f64 {
        let near = |bins: fn(&Part) -> &[Bin]| {
            let all = self.parts.iter().flat_map(bins);
            all.fold(Bin::default(), Bin::join).mean()
        };
        near(|part| &part.bins[REACH_PX..REACH_PX + NEAR_PX])
            - near(|part| &part.bins[REACH_PX - NEAR_PX..REACH_PX])
    }

    /// Contrast over steepest slope; 0 where there is no slope at all.
    pub(super) fn edge_width_px(&self) -> f64 {
        let (mut contrast, mut slope) = (0.0, 0.0);
        for part in &self.parts {
            let (of_part, steepest, weight) = part.contrast_and_slope();
            contrast += weight * of_part.abs();
            slope += weight * steepest.abs();
        }
        if slope > 0.0 { contrast / slope } else { 0.0 }
    }
}

impl Part {
    /// Difference of the levels away from the boundary, steepest slope between neighbouring distances in the direction
    /// of that difference, and number of pixels next to the boundary.
    fn contrast_and_slope(&self) -> (f64, f64, f64) {
        let filled: Vec<&Bin> = self.bins.iter().filter(|bin| bin.count > 0.0).collect();
        let (outer, inner) = self.bins.split_at(REACH_PX);
        let contrast = level(inner.iter()) - level(outer.iter().rev());
        let slopes = filled.windows(2).map(|pair| {
            let [a, b] = [pair[0], pair[1]];
            let run = b.depth / b.count - a.depth / a.count;
            (b.mean() - a.mean()) / run * contrast.signum()
        });
        let steepest = slopes.fold(0.0, f64::max);
        (
            contrast,
            steepest,
            inner[0].count + outer[REACH_PX - 1].count,
        )
    }
}

/// Mean beyond half the reach, or as far from the boundary as there is something.
fn level<'a>(bins: impl Iterator<Item = &'a Bin> + Clone) -> f64 {
    let far = bins
        .clone()
        .skip(REACH_PX / 2)
        .fold(Bin::default(), Bin::join);
    if far.count > 0.0 {
        return far.mean();
    }
    bins.filter(|bin| bin.count > 0.0)
        .last()
        .map_or(0.0, Bin::mean)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Size;

    const SIZE: Size = Size::new(140, 181);

    /// A disc of radius 40.3 whose edge is the error function of width sigma, and its mask.
    fn disc(levels: [f64; 2], sigma: f64) -> (Image, Mask) {
        let depth = |at: usize| {
            let (row, col) = ((at / SIZE.width) as f64, (at % SIZE.width) as f64);
            40.3 - (row - 70.0).hypot(col - 90.0)
        };
        let pixel = |at: usize| {
            let share = normal_distribution(depth(at) / sigma);
            (levels[0] + (levels[1] - levels[0]) * share) as f32
        };
        let image = Image::new(SIZE, (0..SIZE.area()).map(pixel).collect()).unwrap();
        let mask = Mask::new(SIZE, (0..SIZE.area()).map(|at| depth(at) >= 0.0).collect());
        (image, mask.unwrap())
    }

    /// Simpson's rule from -8.
    fn normal_distribution(x: f64) -> f64 {
        let (low, n) = (-8.0, 400);
        if x <= low {
            return 0.0;
        }
        let h = (x.min(8.0) - low) / f64::from(n);
        let weight = |k: i32| {
            if k == 0 || k == n {
                1.0
            } else {
                2.0 + 2.0 * f64::from(k % 2)
            }
        };
        let density = |t: f64| (-t * t / 2.0).exp() / (2.0 * PI).sqrt();
        (0..=n)
            .map(|k| weight(k) * density(low + h * f64::from(k)))
            .sum::<f64>()
            * h
            / 3.0
    }

    #[test]
    fn the_width_of_a_blurred_edge_is_that_of_its_gaussian() {
        for (sigma, levels) in [(1.5, [0.2, 0.8]), (2.0, [0.7, 0.3]), (3.0, [0.4, 0.5])] {
            let (image, mask) = disc(levels, sigma);
            let exact = (2.0 * PI).sqrt() * sigma;
            let got = Profiles::across(&image, &mask).edge_width_px();
            // Steps of a pixel widen the narrow ones, and levels are taken 4 pixels away from the middle.
            assert!(
                (got / exact - 1.0).abs() < 0.1,
                "{sigma}: {got} for {exact}"
            );
        }
        let (image, mask) = disc([0.1, 0.9], 1e-3);
        let width = Profiles::across(&image, &mask).edge_width_px();
        assert!((0.8..1.4).contains(&width), "{width}");
    }

    #[test]
    fn contrast_is_signed_and_local() {
        let (image, mask) = disc([0.7, 0.3], 1e-3);
        let contrast = Profiles::across(&image, &mask).contrast();
        assert!((contrast + 0.4).abs() < 1e-6, "{contrast}");
        // What is farther than 4 pixels away does not count.
        let far = |at: usize, value: f32| {
            let (row, col) = ((at / SIZE.width) as f64, (at % SIZE.width) as f64);
            let radius = (row - 70.0).hypot(col - 90.0);
            if (34.0..46.0).contains(&radius) {
                value
            } else {
                1.0
            }
        };
        let data = image.data().iter().enumerate().map(|(at, &v)| far(at, v));
        let changed = Image::new(SIZE, data.collect()).unwrap();
        let local = Profiles::across(&changed, &mask).contrast();
        assert!((local + 0.4).abs() < 1e-6, "{local}");
    }

    #[test]
    fn neighbours_on_both_sides_of_its_grey_do_not_cancel_in_the_width() {
        // Left of the middle the ground is darker than the disc, right of it brighter.
        let (_, mask) = disc([0.0, 1.0], 1.0);
        let pixel = |at: usize| match (mask.data()[at], at % SIZE.width < 90) {
            (true, _) => 0.5,
            (false, true) => 0.2,
            (false, false) => 0.8,
        };
        let image = Image::new(SIZE, (0..SIZE.area()).map(pixel).collect()).unwrap();
        let profiles = Profiles::across(&image, &mask);
        assert!(profiles.contrast().abs() < 0.01);
        let width = profiles.edge_width_px();
        assert!((0.8..1.4).contains(&width), "{width}");
    }
}
