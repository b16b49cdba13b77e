//! Whether one model is better than another on the same targets: paired differences of Dice with their bootstrap
//! interval, Wilcoxon's test, Holm's correction and effect sizes.
//! The unit is the patient: targets of one patient are averaged first, because they are not independent.
//! Differs from the paper, which names no test.

use std::collections::BTreeMap;

use serde::Serialize;

use super::statistics::bootstrap_of_mean;
use super::summary::Group;
use super::wilcoxon::wilcoxon;
use crate::evaluate::Row;

/// One model against another with one prompt setting on one group.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// The model whose Dice comes first in the difference.
    pub model: String,
    /// The one that is subtracted.
    pub reference: String,
    /// Setting and placement, such as `3,2 ring`.
    pub prompt: String,
    /// `CT`, `MR`, `US`, ...
    pub modality: String,
    /// The group of rows that the pairs are taken from.
    #[serde(flatten)]
    pub group: Group,
    /// Pairs: patients with targets that both models have a score for.
    pub n: usize,
    /// Targets among them.
    pub targets: usize,
    /// Mean of the differences, model minus reference, in Dice from 0 to 1.
    pub mean_difference: f64,
    /// 95 % bootstrap interval of that mean; `None` for a single pair.
    pub ci95: Option<[f64; 2]>,
    /// Median of the differences.
    pub median_difference: f64,
    /// Two-sided p of Wilcoxon's signed-rank test.
    pub p: f64,
    /// Whether `p` is exact rather than a normal approximation.
    pub exact: bool,
    /// `p` after Holm's correction over all comparisons of the same level (structures, data sets or modalities).
    pub p_holm: f64,
    /// Matched-pairs rank-biserial correlation, -1 to 1.
    pub rank_biserial: f64,
    /// Cohen's d of the differences; `None` where they do not vary.
    pub cohen_dz: Option<f64>,
}

/// The key by which two scores are paired: everything that names a target, and the prompt.
type Place<'a> = (&'a str, &'a str, &'a str, u16, u32, Option<usize>, String);

/// Level, modality, group and prompt of a comparison.
type Key = (usize, String, Group, String);
/// The pairs of each patient of a data set.
type Patients<'a> = BTreeMap<(&'a str, &'a str), Vec<(f64, f64)>>;

fn place(row: &Row) -> Place<'_> {
    (
        &row.dataset,
        &row.case,
        &row.structure,
        row.label,
        row.component,
        row.slice,
        row.prompt.to_string(),
    )
}

/// The groups of a row, from the narrowest to the widest.
fn groups(row: &Row) -> [Group; 3] {
    let dataset = row.dataset.clone();
    let structure = row.structure.clone();
    [
        Group::Structure {
            dataset: dataset.clone(),
            structure,
        },
        Group::Dataset { dataset },
        Group::Modality,
    ]
}

/// The first model against each of the others, on every structure, data set and modality that both have scores for.
/// Pairs of the others are not compared: every further test would make Holm's correction stricter.
pub(super) fn comparisons(rows: &[Row], seed: u64) -> Vec<Comparison> {
    let mut models: Vec<&str> = Vec::new();
    for row in rows {
        if !models.contains(&row.model.as_str()) {
            models.push(&row.model);
        }
    }
    let mut all = Vec::new();
    let of = |name: &str| -> Vec<&Row> { rows.iter().filter(|row| row.model == name).collect() };
    if let Some((&first, others)) = models.split_first() {
        let own = of(first);
        for &other in others {
            all.extend(compare(&own, &of(other), [first, other], seed));
        }
    }
    correct(&mut all);
    all
}

/// The comparisons of `own` rows with `other` rows under two names, before Holm's correction.
pub(super) fn compare(
    own: &[&Row],
    other: &[&Row],
    [model, reference]: [&str; 2],
    seed: u64,
) -> Vec<Comparison> {
    let dice = |row: &Row| row.outcome.as_ref().ok().map(|s| recorded(s.dice));
    let others: BTreeMap<Place, f64> = other
        .iter()
        .filter_map(|row| Some((place(row), dice(row)?)))
        .collect();
    let mut found: BTreeMap<Key, Patients> = BTreeMap::new();
    for row in own {
        let (Some(own), Some(&other)) = (dice(row), others.get(&place(row))) else {
            continue;
        };
        for (level, group) in groups(row).into_iter().enumerate() {
            let key = (level, row.modality.clone(), group, row.prompt.to_string());
            let patients = found.entry(key).or_default();
            let patient = (row.dataset.as_str(), row.patient.as_str());
            patients.entry(patient).or_default().push((own, other));
        }
    }
    let comparison = |((_, modality, group, prompt), patients): (Key, Patients)| {
        let targets = patients.values().map(Vec::len).sum();
        let differences: Vec<f64> = patients.values().map(|pairs| difference(pairs)).collect();
        let path = [model, reference, &prompt, &modality, &format!("{group:?}")];
        let ci95 = bootstrap_of_mean(&differences, seed, &path);
        Comparison {
            model: model.to_owned(),
            reference: reference.to_owned(),
            n: differences.len(),
            targets,
            ci95,
            prompt,
            modality,
            group,
            ..tested(&differences)
        }
    };
    found.into_iter().map(comparison).collect()
}

/// The score as `results.csv` states it, so that its readers find the same ties, and hence the same p.
fn recorded(dice: f64) -> f64 {
    format!("{dice:.6}").parse().unwrap_or(dice)
}

/// Mean of the first minus mean of the second.
fn difference(pairs: &[(f64, f64)]) -> f64 {
    let n = pairs.len() as f64;
    let own: f64 = pairs.iter().map(|pair| pair.0).sum();
    let other: f64 = pairs.iter().map(|pair| pair.1).sum();
    own / n - other / n
}

/// The numbers of a sample of differences, which is not empty.
fn tested(differences: &[f64]) -> Comparison {
    let n = differences.len();
    let mean = differences.iter().sum::<f64>() / n as f64;
    let squares: f64 = differences.iter().map(|d| (d - mean).powi(2)).sum();
    let sd = (squares / (n.max(2) - 1) as f64).sqrt();
    let mut sorted = differences.to_vec();
    sorted.sort_by(f64::total_cmp);
    let test = wilcoxon(differences);
    Comparison {
        model: String::new(),
        reference: String::new(),
        prompt: String::new(),
        modality: String::new(),
        group: Group::Modality,
        n,
        targets: n,
        mean_difference: mean,
        ci95: None,
        median_difference: f64::midpoint(sorted[(n - 1) / 2], sorted[n / 2]),
        p: test.p,
        exact: test.exact,
        p_holm: test.p,
        rank_biserial: test.rank_biserial(),
        cohen_dz: (sd > 0.0).then(|| mean / sd),
    }
}

/// Fills in [`Comparison::p_holm`], for each level over all its comparisons.
pub(super) fn correct(comparisons: &mut [Comparison]) {
    for level in ["structure", "dataset", "modality"] {
        let mut family: Vec<&mut Comparison> = comparisons
            .iter_mut()
            .filter(|comparison| comparison.group.level() == level)
            .collect();
        let p: Vec<f64> = family.iter().map(|comparison| comparison.p).collect();
        for (comparison, adjusted) in family.iter_mut().zip(holm(&p)) {
            comparison.p_holm = adjusted;
        }
    }
}

/// Holm's step-down correction (Scandinavian Journal of Statistics 6(2), 1979): the k-th smallest of m values times
/// m - k + 1, never below the one before and at most 1.
fn holm(p: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|&a, &b| p[a].total_cmp(&p[b]));
    let (mut adjusted, mut highest) = (vec![1.0; p.len()], 0f64);
    for (k, &index) in order.iter().enumerate() {
        highest = highest.max(((p.len() - k) as f64 * p[index]).min(1.0));
        adjusted[index] = highest;
    }
    adjusted
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn fixture() -> Value {
        serde_json::from_str(include_str!("fixtures/statistics.json")).unwrap()
    }

    fn numbers(value: &Value) -> Vec<f64> {
        let list = value.as_array().unwrap().iter();
        list.map(|v| v.as_f64().unwrap()).collect()
    }

    /// `tools/make_statistics_fixtures.py` recorded `SciPy`'s answers.
    #[test]
    fn tests_and_effects_equal_scipy() {
        let fixture = fixture();
        let samples = fixture["samples"].as_array().unwrap();
        assert_eq!(samples.len(), 10);
        for sample in samples {
            let (a, b) = (numbers(&sample["a"]), numbers(&sample["b"]));
            let differences: Vec<f64> = a.iter().zip(&b).map(|(a, b)| a - b).collect();
            let got = tested(&differences);
            let test = wilcoxon(&differences);
            let statistic = test.rank_sum_plus.min(test.rank_sum_minus);
            for (key, got) in [
                ("statistic", statistic),
                ("p", got.p),
                ("rank_biserial", got.rank_biserial),
                ("dz", got.cohen_dz.unwrap()),
                ("mean", got.mean_difference),
            ] {
                let want = sample[key].as_f64().unwrap();
                let close = (got - want).abs() <= 1e-10 * want.abs().max(1e-3);
                assert!(close, "{} {key}: {got}, SciPy {want}", sample["name"]);
            }
        }
    }

    /// Ends of a percentile interval from 2000 resamples have a standard error of about
    /// `sqrt(0.025 0.975 / 2000) / density`, that is 0.06 of the standard error of the mean; four of them are allowed.
    #[test]
    fn bootstrap_equals_scipy_within_its_own_noise() {
        for sample in fixture()["samples"].as_array().unwrap() {
            let (a, b) = (numbers(&sample["a"]), numbers(&sample["b"]));
            if a.len() < 9 {
                continue; // The resampled mean of two values takes three values only.
            }
            let differences: Vec<f64> = a.iter().zip(&b).map(|(a, b)| a - b).collect();
            let got = bootstrap_of_mean(&differences, 3, &["x"]).unwrap();
            let want = numbers(&sample["bootstrap"]);
            let n = differences.len() as f64;
            let dz = sample["dz"].as_f64().unwrap();
            let standard_error = (sample["mean"].as_f64().unwrap() / dz / n.sqrt()).abs();
            for (got, want) in got.iter().zip(want) {
                let error = (got - want).abs() / standard_error;
                assert!(error < 0.25, "{}: {got}, SciPy {want}", sample["name"]);
            }
        }
    }

    #[test]
    fn holm_equals_statsmodels() {
        let fixture = fixture();
        let got = holm(&numbers(&fixture["holm"]["p"]));
        for (got, want) in got.iter().zip(numbers(&fixture["holm"]["adjusted"])) {
            assert!((got - want).abs() < 1e-12, "{got} {want}");
        }
        assert!(holm(&[]).is_empty());
    }
}
