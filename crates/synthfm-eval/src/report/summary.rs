//! The rows of an evaluation as the lines of a table.
//! A structure's or data set's line is over its rows; a modality's is over the means of its data sets, so that a
//! data set with many small objects does not decide alone. Failed rows are counted and not averaged.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::statistics::{Clusters, Stats, of_means, pooled};
use crate::evaluate::{Curve, Row, Scores};

/// The subject of a line of the table.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(tag = "level", rename_all = "lowercase")]
pub enum Group {
    /// One structure of a data set.
    Structure {
        /// Name of the data set.
        dataset: String,
        /// Name of the structure.
        structure: String,
    },
    /// All rows of a data set.
    Dataset {
        /// Name of the data set.
        dataset: String,
    },
    /// The data sets of a modality.
    Modality,
}

impl Group {
    /// `structure`, `dataset` or `modality`.
    pub(super) const fn level(&self) -> &'static str {
        match self {
            Self::Structure { .. } => "structure",
            Self::Dataset { .. } => "dataset",
            Self::Modality => "modality",
        }
    }
}

/// One model with one prompt setting on one group.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Line {
    /// Name of the segmenter.
    pub model: String,
    /// Setting and placement, such as `3,2 ring`.
    pub prompt: String,
    /// `CT`, `MR`, `US`, ...
    pub modality: String,
    /// The group of rows that the numbers are means over.
    #[serde(flatten)]
    pub group: Group,
    /// Data sets with rows.
    pub datasets: usize,
    /// Rows with scores.
    pub n: usize,
    /// Patients among them.
    pub patients: usize,
    /// Rows where the segmenter failed.
    pub failed: usize,
    /// Rows with an empty prediction.
    pub empty: usize,
    /// Dice; `None` if every row failed.
    pub dice: Option<Stats>,
    /// Intersection over union.
    pub iou: Option<Stats>,
    /// Unit of the distances; `None` where rows differ.
    pub unit: Option<&'static str>,
    /// 95 % Hausdorff distance where the unit is one.
    pub hd95: Option<Stats>,
    /// Average symmetric surface distance where the unit is one.
    pub assd: Option<Stats>,
    /// Surface Dice where the unit is one.
    pub nsd: Option<Stats>,
    /// Mean Dice after one click, after two, ...; only of an iterative setting.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dice_by_click: Vec<f64>,
    /// Area under the curve of Dice over the answers, 0 to 1; only of an iterative setting.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dice_auc: Option<Stats>,
    /// Mean number of clicks to an intersection over union of 85 %; only of an iterative setting.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub noc85: Option<Stats>,
    /// Mean number of clicks to an intersection over union of 90 %; only of an iterative setting.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub noc90: Option<Stats>,
}

/// A line before its statistics: model, prompt, modality and group, in order of first appearance.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    model: String,
    prompt: String,
    modality: String,
    group: Group,
}

/// All lines: the structures of each data set in the order of their labels, the data sets in the order of the rows,
/// then the modalities in alphabetical order.
pub(super) fn lines(rows: &[Row], seed: u64) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut order: BTreeMap<&str, usize> = BTreeMap::new();
    for row in rows {
        let next = order.len();
        order.entry(&row.dataset).or_insert(next);
    }
    for structures in [true, false] {
        let mut groups = grouped(rows, |row| dataset_group(row, structures));
        if structures {
            // Stable: models and prompts stay as they came. Rows of volumes come slice by slice.
            groups.sort_by_key(|(_, rows)| (order.get(rows[0].dataset.as_str()), rows[0].label));
        }
        for (key, rows) in groups {
            lines.push(line(&key, &[rows], seed, pooled_first));
        }
    }
    let mut by_modality: BTreeMap<(String, String, String), Vec<Vec<&Row>>> = BTreeMap::new();
    for (key, rows) in grouped(rows, |row| dataset_group(row, false)) {
        let place = (key.modality, key.model, key.prompt);
        by_modality.entry(place).or_default().push(rows);
    }
    for ((modality, model, prompt), datasets) in by_modality {
        let key = Key {
            model,
            prompt,
            modality,
            group: Group::Modality,
        };
        lines.push(line(&key, &datasets, seed, of_means));
    }
    lines
}

fn dataset_group(row: &Row, structures: bool) -> Group {
    let dataset = row.dataset.clone();
    if structures {
        let structure = row.structure.clone();
        Group::Structure { dataset, structure }
    } else {
        Group::Dataset { dataset }
    }
}

/// Rows by model, prompt, modality and group, in order of first appearance.
fn grouped(rows: &[Row], group: impl Fn(&Row) -> Group) -> Vec<(Key, Vec<&Row>)> {
    let mut index: BTreeMap<Key, usize> = BTreeMap::new();
    let mut groups: Vec<(Key, Vec<&Row>)> = Vec::new();
    for row in rows {
        let key = Key {
            model: row.model.clone(),
            prompt: row.prompt.to_string(),
            modality: row.modality.clone(),
            group: group(row),
        };
        let at = *index.entry(key.clone()).or_insert(groups.len());
        if at == groups.len() {
            groups.push((key, Vec::new()));
        }
        groups[at].1.push(row);
    }
    groups
}

fn pooled_first(datasets: &[Clusters], seed: u64, path: &[&str]) -> Option<Stats> {
    pooled(datasets.first()?, seed, path)
}

fn line(
    key: &Key,
    datasets: &[Vec<&Row>],
    seed: u64,
    statistics: impl Fn(&[Clusters], u64, &[&str]) -> Option<Stats>,
) -> Line {
    let rows = || datasets.iter().flatten().copied();
    let scored = || rows().filter_map(|row| row.outcome.as_ref().ok());
    let patient = |row: &Row| (row.dataset.clone(), row.patient.clone());
    let with_scores = rows().filter(|row| row.outcome.is_ok());
    let patients: BTreeSet<_> = with_scores.map(patient).collect();
    let units: BTreeSet<&'static str> = rows().map(Row::unit).collect();
    let unit = units.first().copied().filter(|_| units.len() == 1);
    let group = format!("{:?}", key.group);
    let path = [&key.model, &key.prompt, &key.modality, group.as_str()];
    let of_rows = |value: &dyn Fn(&Row) -> Option<f64>| {
        let clusters: Vec<Clusters> = datasets.iter().map(|rows| clusters(rows, value)).collect();
        statistics(&clusters, seed, &path)
    };
    let of = |score: fn(&Scores) -> f64| of_rows(&|row| row.outcome.as_ref().ok().map(score));
    let of_curves = |value: &dyn Fn(&Curve) -> f64| {
        of_rows(&|row| {
            let curve = row.curve.as_ref().filter(|_| row.outcome.is_ok())?;
            Some(value(curve))
        })
    };
    let clicks_to = |target| of_curves(&|curve| curve.clicks_to(target) as f64);
    Line {
        model: key.model.clone(),
        prompt: key.prompt.clone(),
        modality: key.modality.clone(),
        group: key.group.clone(),
        datasets: datasets.len(),
        n: scored().count(),
        patients: patients.len(),
        failed: rows().filter(|row| row.outcome.is_err()).count(),
        empty: scored().filter(|scores| scores.predicted_px == 0).count(),
        dice: of(|scores| scores.dice),
        iou: of(|scores| scores.iou),
        unit,
        hd95: unit.and_then(|_| of(|scores| scores.hd95)),
        assd: unit.and_then(|_| of(|scores| scores.assd)),
        nsd: unit.and_then(|_| of(|scores| scores.nsd)),
        dice_by_click: dice_by_click(datasets),
        dice_auc: of_curves(&Curve::dice_area),
        noc85: clicks_to(0.85),
        noc90: clicks_to(0.9),
    }
}

/// The scores of each patient, in order of the patients' names.
fn clusters(rows: &[&Row], value: &dyn Fn(&Row) -> Option<f64>) -> Clusters {
    let mut by_patient: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for row in rows {
        if let Some(value) = value(row) {
            by_patient.entry(&row.patient).or_default().push(value);
        }
    }
    by_patient.into_values().collect()
}

/// Mean over the data sets of the mean Dice after each click; empty unless all rows have as many clicks.
fn dice_by_click(datasets: &[Vec<&Row>]) -> Vec<f64> {
    let mut sums: Vec<f64> = Vec::new();
    let mut counted = 0.0;
    for rows in datasets {
        let scored = rows.iter().filter(|row| row.outcome.is_ok());
        let curves: Vec<&Vec<f64>> = scored
            .filter_map(|row| row.curve.as_ref().map(|curve| &curve.dice))
            .collect();
        let Some(clicks) = curves.first().map(|curve| curve.len()) else {
            continue;
        };
        if sums.is_empty() {
            sums = vec![0.0; clicks];
        }
        if curves.iter().any(|curve| curve.len() != sums.len()) {
            return Vec::new();
        }
        counted += 1.0;
        for (click, sum) in sums.iter_mut().enumerate() {
            *sum += curves.iter().map(|curve| curve[click]).sum::<f64>() / curves.len() as f64;
        }
    }
    sums.iter().map(|sum| sum / counted).collect()
}
