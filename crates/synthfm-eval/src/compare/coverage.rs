//! How much of a set of real points a set of synthetic ones covers.
//!
//! One property: a real value is covered between the 1st and the 99th percentile of the synthetic ones, where 98 % of
//! them lie. Jointly: in the space of all properties, each divided by the standard deviation of the synthetic values, a
//! real point is covered if its k-th nearest synthetic neighbour is no farther than 95 % of the synthetic points' own
//! k-th neighbours are from them (distance to the k-th neighbour as measure of outliers: Ramaswamy et al. 2000;
//! calibrated on the reference set itself as in conformal anomaly detection: Laxhammar and Falkman 2011). So a real set
//! that the generator had drawn would be covered to 95 %. Beside it the coverage of Naeem et al. (2020): real points
//! with a synthetic one nearer than their k-th nearest real neighbour. It has another reference: it falls where real
//! structures resemble each other more closely than any synthetic one resembles them.

use rayon::prelude::*;
use synthfm_image::quantile;

/// Limits of the range of one property.
pub(super) const RANGE: [f64; 2] = [0.01, 0.99];
/// Most synthetic points whose own neighbours are looked for.
const MAX_CALIBRATION: usize = 4000;

/// The synthetic points.
#[derive(Debug)]
pub(super) struct Space {
    /// Divided by `scale`.
    points: Vec<Vec<f64>>,
    scale: Vec<f64>,
    /// Percentiles [`RANGE`] of each property, on its own scale.
    ranges: Vec<[f64; 2]>,
    neighbour: usize,
    threshold: f64,
}

impl Space {
    /// More points than `neighbour` expected, all of one dimension.
    pub(super) fn new(points: &[Vec<f64>], neighbour: usize, level: f64) -> Self {
        let dimensions = points.first().map_or(0, Vec::len);
        let axes: Vec<Vec<f64>> = (0..dimensions)
            .map(|axis| sorted(points.iter().map(|point| point[axis])))
            .collect();
        let scale: Vec<f64> = axes.iter().map(|values| deviation(values)).collect();
        let mut space = Self {
            points: Vec::new(),
            ranges: axes
                .iter()
                .map(|values| RANGE.map(|q| quantile(values, q)))
                .collect(),
            scale,
            neighbour,
            threshold: 0.0,
        };
        space.points = points
            .iter()
            .map(|point| space.standardised(point))
            .collect();
        let step = space.points.len().div_ceil(MAX_CALIBRATION).max(1);
        let own: Vec<f64> = (0..space.points.len())
            .into_par_iter()
            .step_by(step)
            // The nearest is the point itself.
            .map(|at| kth_smallest(space.distances(&space.points[at]), neighbour + 1))
            .collect();
        space.threshold = quantile(&sorted(own.into_iter()), level);
        space
    }

    /// Distance up to which a point is covered.
    pub(super) fn threshold(&self) -> f64 {
        self.threshold
    }

    /// Range of a property on its own scale.
    pub(super) fn range(&self, axis: usize) -> [f64; 2] {
        self.ranges[axis]
    }

    /// Whether each property is in its range.
    pub(super) fn inside(&self, point: &[f64]) -> Vec<bool> {
        let pairs = self.ranges.iter().zip(point);
        pairs
            .map(|([low, high], value)| (low..=high).contains(&value))
            .collect()
    }

    /// Distance to the chosen neighbour.
    pub(super) fn distance(&self, point: &[f64]) -> f64 {
        kth_smallest(self.distances(&self.standardised(point)), self.neighbour)
    }

    /// The nearest synthetic point.
    pub(super) fn nearest(&self, point: &[f64]) -> usize {
        let point = self.standardised(point);
        let nearest = self
            .distances(&point)
            .enumerate()
            .min_by(|a, b| a.1.total_cmp(&b.1));
        nearest.map_or(0, |(at, _)| at)
    }

    /// For each real point whether a synthetic one is nearer than its k-th nearest real neighbour; `None` if there are
    /// too few.
    pub(super) fn naeem(&self, real: &[Vec<f64>]) -> Option<f64> {
        if real.len() <= self.neighbour {
            return None;
        }
        let real: Vec<Vec<f64>> = real.iter().map(|point| self.standardised(point)).collect();
        let covered = real.par_iter().filter(|point| {
            let own = real.iter().map(|other| distance(point, other));
            let radius = kth_smallest(own, self.neighbour + 1);
            kth_smallest(self.distances(point), 1) <= radius
        });
        Some(covered.count() as f64 / real.len() as f64)
    }

    fn standardised(&self, point: &[f64]) -> Vec<f64> {
        point
            .iter()
            .zip(&self.scale)
            .map(|(value, scale)| value / scale)
            .collect()
    }

    fn distances<'a>(&'a self, point: &'a [f64]) -> impl Iterator<Item = f64> + 'a {
        self.points.iter().map(move |other| distance(point, other))
    }
}

fn distance(a: &[f64], b: &[f64]) -> f64 {
    a.iter()
        .zip(b)
        .map(|(a, b)| (a - b).powi(2))
        .sum::<f64>()
        .sqrt()
}

/// The k-th smallest, counted from 1; infinite if there are fewer.
fn kth_smallest(values: impl Iterator<Item = f64>, k: usize) -> f64 {
    let mut smallest: Vec<f64> = Vec::with_capacity(k + 1);
    for value in values {
        if smallest.len() < k || smallest.last().is_some_and(|&last| value < last) {
            let at = smallest.partition_point(|&v| v <= value);
            smallest.insert(at, value);
            smallest.truncate(k);
        }
    }
    if smallest.len() < k {
        f64::INFINITY
    } else {
        smallest[k - 1]
    }
}

pub(super) fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values
}

/// Standard deviation; 1 where all values are equal, so that nothing is divided by 0.
fn deviation(values: &[f64]) -> f64 {
    let count = values.len().max(1) as f64;
    let mean = values.iter().sum::<f64>() / count;
    let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / count;
    if variance > 0.0 { variance.sqrt() } else { 1.0 }
}

#[cfg(test)]
#[expect(
    clippy::float_cmp,
    reason = "order statistics are the values themselves"
)]
mod tests {
    use super::*;

    fn line(values: impl Iterator<Item = f64>) -> Vec<Vec<f64>> {
        values.map(|v| vec![v]).collect()
    }

    #[test]
    fn order_statistics() {
        let values = [5.0, 1.0, 4.0, 1.0, 9.0];
        let kth = |k| kth_smallest(values.iter().copied(), k);
        assert_eq!(
            [1, 2, 3, 5, 6].map(kth),
            [1.0, 1.0, 4.0, 9.0, f64::INFINITY]
        );
        let sorted = sorted(values.into_iter());
        assert_eq!(
            [0.0, 0.5, 0.625, 1.0].map(|q| quantile(&sorted, q)),
            [1.0, 4.0, 4.5, 9.0]
        );
        assert!(quantile(&[], 0.5).is_nan());
    }

    #[test]
    fn ranges_and_distances_of_an_even_line() {
        // 0 to 100; standard deviation sqrt((101² - 1) / 12) = sqrt(850).
        let space = Space::new(&line((0..=100).map(f64::from)), 2, 0.95);
        let [low, high] = space.range(0);
        assert!((low - 1.0).abs() < 1e-9 && (high - 99.0).abs() < 1e-9);
        assert_eq!(space.inside(&[1.0]), [true]);
        assert_eq!(space.inside(&[0.5]), [false]);
        // The second neighbour of an inner point is 1 away, that of an end 2: 95 % of the distances are 1.
        let unit = 850f64.sqrt();
        assert!((space.threshold() * unit - 1.0).abs() < 1e-9);
        assert!((space.distance(&[-1.0]) * unit - 2.0).abs() < 1e-9);
        assert!((space.distance(&[50.25]) * unit - 0.75).abs() < 1e-9);
        assert_eq!(space.nearest(&[42.4]), 42);
    }

    #[test]
    fn a_set_like_the_synthetic_one_is_covered_to_the_level() {
        let uniform = |seed: u64| {
            let mut state = seed;
            let mut next = move || {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                (state >> 40) as f64 / (1u64 << 24) as f64
            };
            (0..2000)
                .map(|_| vec![next(), next(), 3.0])
                .collect::<Vec<_>>()
        };
        let space = Space::new(&uniform(1), 5, 0.95);
        let real = uniform(77);
        let covered = real
            .iter()
            .filter(|p| space.distance(p) <= space.threshold());
        let share = covered.count() as f64 / real.len() as f64;
        assert!((share - 0.95).abs() < 0.02, "{share}");
        // Naeem et al., equation 9: 1 - 2^-k in the mean for two large sets of one size and law.
        let naeem = space.naeem(&real).unwrap();
        assert!((naeem - 31.0 / 32.0).abs() < 0.015, "{naeem}");
        let far: Vec<Vec<f64>> = real.iter().map(|p| vec![p[0] + 3.0, p[1], p[2]]).collect();
        assert_eq!(space.naeem(&far), Some(0.0));
        assert!(far.iter().all(|p| space.distance(p) > space.threshold()));
        assert_eq!(space.naeem(&real[..5]), None);
    }
}
