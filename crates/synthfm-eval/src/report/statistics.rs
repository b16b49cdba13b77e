//! Mean, spread and bootstrap interval of scores that come in clusters (patients).
//! Percentile bootstrap over clusters (Efron and Tibshirani 1993, chapters 8 and 13). Differs: the mean over
//! several data sets is resampled within each of them.

use rand::RngExt;
use serde::Serialize;

use crate::clicks::seeded_rng;

/// Resamples of the bootstrap.
pub(super) const RESAMPLES: usize = 2000;

/// A score over the rows of one group.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Stats {
    /// Mean.
    pub mean: f64,
    /// Standard deviation (n - 1); `None` for one value.
    pub sd: Option<f64>,
    /// Median.
    pub median: f64,
    /// 95 % interval of the mean by bootstrap over patients; `None` for a single patient.
    pub ci95: Option<[f64; 2]>,
}

/// The scores of one data set, those of a patient together.
pub(super) type Clusters = Vec<Vec<f64>>;

/// Statistics of all values of one data set; `None` if there is none.
pub(super) fn pooled(clusters: &Clusters, seed: u64, path: &[&str]) -> Option<Stats> {
    let values: Vec<f64> = clusters.iter().flatten().copied().collect();
    let ci95 = bootstrap(std::slice::from_ref(clusters), seed, path);
    Some(Stats {
        ci95,
        ..describe(&values)?
    })
}

/// Statistics of the means of several data sets; `None` if there is none.
pub(super) fn of_means(datasets: &[Clusters], seed: u64, path: &[&str]) -> Option<Stats> {
    let mean_of = |clusters: &Clusters| {
        let values: Vec<f64> = clusters.iter().flatten().copied().collect();
        mean(&values)
    };
    let means: Vec<f64> = datasets.iter().filter_map(mean_of).collect();
    let ci95 = bootstrap(datasets, seed, path);
    Some(Stats {
        ci95,
        ..describe(&means)?
    })
}

fn describe(values: &[f64]) -> Option<Stats> {
    let mean = mean(values)?;
    let n = values.len();
    let squares: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    Some(Stats {
        mean,
        sd: (n > 1).then(|| (squares / (n - 1) as f64).sqrt()),
        median: f64::midpoint(sorted[(n - 1) / 2], sorted[n / 2]),
        ci95: None,
    })
}

fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// 95 % interval of the mean of independent values; `None` for fewer than two.
pub(super) fn bootstrap_of_mean(values: &[f64], seed: u64, path: &[&str]) -> Option<[f64; 2]> {
    let clusters: Clusters = values.iter().map(|&value| vec![value]).collect();
    bootstrap(&[clusters], seed, path)
}

/// 2.5 and 97.5 percentiles of the mean over data sets of the mean over resampled patients.
fn bootstrap(datasets: &[Clusters], seed: u64, path: &[&str]) -> Option<[f64; 2]> {
    let sums: Vec<Vec<(f64, usize)>> = datasets
        .iter()
        .map(|clusters| clusters.iter().map(|c| (c.iter().sum(), c.len())).collect())
        .filter(|clusters: &Vec<_>| !clusters.is_empty())
        .collect();
    if sums.iter().all(|clusters| clusters.len() < 2) {
        return None;
    }
    let mut rng = seeded_rng(seed, &[&["bootstrap"], path].concat());
    let mut resampled_mean = |clusters: &Vec<(f64, usize)>| {
        let (mut sum, mut count) = (0.0, 0);
        for _ in clusters {
            let (s, n) = clusters[rng.random_range(0..clusters.len())];
            sum += s;
            count += n;
        }
        sum / count as f64
    };
    let mut means: Vec<f64> = (0..RESAMPLES)
        .map(|_| sums.iter().map(&mut resampled_mean).sum::<f64>() / sums.len() as f64)
        .collect();
    means.sort_by(f64::total_cmp);
    let at = |share: f64| means[(share * (RESAMPLES - 1) as f64).round() as usize];
    Some([at(0.025), at(0.975)])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-12
    }

    #[test]
    fn hand_computed_numbers() {
        let stats = pooled(&vec![vec![0.1, 0.5], vec![0.3], vec![0.7]], 0, &[]).unwrap();
        assert!(close(stats.mean, 0.4) && close(stats.median, 0.4));
        // Squares 0.09 + 0.01 + 0.01 + 0.09 over 3.
        assert!(close(stats.sd.unwrap(), (0.2f64 / 3.0).sqrt()));
        let odd = pooled(&vec![vec![0.9, 0.2, 0.3]], 0, &[]).unwrap();
        assert!(close(odd.median, 0.3));
        assert_eq!(odd.ci95, None);
        assert_eq!(pooled(&vec![], 0, &[]), None);
        assert_eq!(pooled(&vec![vec![0.5]], 0, &[]).unwrap().sd, None);
    }

    #[test]
    fn data_sets_weigh_the_same() {
        let large = vec![vec![1.0; 50], vec![1.0; 40]];
        let stats = of_means(&[large, vec![vec![0.0]], vec![]], 0, &[]).unwrap();
        assert!(close(stats.mean, 0.5));
        assert_eq!(stats.ci95, Some([0.5, 0.5]));
    }

    #[test]
    fn interval_has_the_width_of_theory() {
        // Mean of n = 100 values, half 0 and half 1: standard error 0.05, so 0.5 +- 0.098.
        let clusters: Clusters = (0..100).map(|i| vec![f64::from(i % 2)]).collect();
        let [low, high] = pooled(&clusters, 1, &["a"]).unwrap().ci95.unwrap();
        assert!((low - 0.402).abs() < 0.015 && (high - 0.598).abs() < 0.015);
        assert_eq!(pooled(&clusters, 1, &["a"]), pooled(&clusters, 1, &["a"]));
        // The same values twice per patient carry no more information.
        let twice: Clusters = (0..100).map(|i| vec![f64::from(i % 2); 2]).collect();
        assert_eq!(pooled(&twice, 1, &["a"]).unwrap().ci95, Some([low, high]));
    }
}
