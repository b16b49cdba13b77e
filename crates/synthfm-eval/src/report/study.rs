//! The two tables of the paper (arXiv 2504.08177), row for row.
//! Table 1 (prompts): mean and standard deviation of Dice per structure for each setting (P, N) and model. Table 2
//! (ablation): mean Dice over the structures of each modality, a row per checkpoint. Differs: one row per structure and
//! data set, because the paper's sets are not named; Table 2 is given for every setting, as its own is not named.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Write};

use serde::{Deserialize, Serialize};

use super::csv::write_fields;
use super::page::escaped;
use super::summary::{Group, Line};

/// A ready-made set of prompts and tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Study {
    /// Sensitivity to prompts.
    Prompts,
    /// Several checkpoints side by side.
    Ablation,
}

/// A table of texts with a title.
struct TextTable {
    title: &'static str,
    header: Vec<String>,
    rows: Vec<Vec<String>>,
}

fn table(study: Study, lines: &[Line]) -> TextTable {
    match study {
        Study::Prompts => prompts(lines),
        Study::Ablation => ablation(lines),
    }
}

/// Texts in order of first appearance.
fn distinct<'a>(texts: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut all = Vec::new();
    for text in texts {
        if !all.contains(&text) {
            all.push(text);
        }
    }
    all
}

/// `1,0` as the paper writes it.
fn setting(prompt: &str) -> String {
    match prompt.split_once(' ') {
        Some((counts, placement)) => format!("({counts}) {placement}"),
        None if prompt.contains(',') => format!("({prompt})"),
        None => prompt.to_owned(),
    }
}

fn structures(lines: &[Line]) -> impl Iterator<Item = (&Line, &str, &str)> {
    lines.iter().filter_map(|line| match &line.group {
        Group::Structure { dataset, structure } => {
            Some((line, dataset.as_str(), structure.as_str()))
        }
        _ => None,
    })
}

/// Modalities in the order of the paper's tables, then the others.
fn modalities(lines: &[Line]) -> Vec<&str> {
    let mut all = distinct(lines.iter().map(|line| line.modality.as_str()));
    let rank = |name: &str| ["CT", "MR", "US"].iter().position(|&other| other == name);
    all.sort_by_key(|name| (rank(name).unwrap_or(usize::MAX), *name));
    all
}

/// Mean over structures of the mean Dice by modality, model and prompt.
fn means(lines: &[Line]) -> BTreeMap<[&str; 3], f64> {
    let mut sums: BTreeMap<[&str; 3], (f64, f64)> = BTreeMap::new();
    for (line, ..) in structures(lines) {
        if let Some(dice) = line.dice {
            let key = [line.modality.as_str(), &line.model, &line.prompt];
            let (sum, count) = sums.entry(key).or_default();
            *sum += dice.mean;
            *count += 1.0;
        }
    }
    sums.into_iter()
        .map(|(key, (sum, n))| (key, sum / n))
        .collect()
}

fn percent(value: Option<&f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{:.2}", 100.0 * value))
}

/// Lines by prompt and model.
type Cells<'a> = BTreeMap<(&'a str, &'a str), &'a Line>;

/// Table 1.
fn prompts(lines: &[Line]) -> TextTable {
    let models = distinct(lines.iter().map(|line| line.model.as_str()));
    let settings = distinct(lines.iter().map(|line| line.prompt.as_str()));
    let columns: Vec<(&str, &str)> = settings
        .iter()
        .flat_map(|&setting| models.iter().map(move |&model| (setting, model)))
        .collect();
    let mut header = ["modality", "structure", "data set", "n"]
        .map(str::to_owned)
        .to_vec();
    header.extend(
        columns
            .iter()
            .map(|(prompt, model)| format!("{} {model}", setting(prompt))),
    );
    let means = means(lines);
    let mut rows = Vec::new();
    for modality in modalities(lines) {
        let mut cells: Vec<((&str, &str), Cells)> = Vec::new();
        for (line, dataset, structure) in structures(lines).filter(|l| l.0.modality == modality) {
            let place = (dataset, structure);
            let at = cells
                .iter()
                .position(|cell| cell.0 == place)
                .unwrap_or_else(|| {
                    cells.push((place, BTreeMap::new()));
                    cells.len() - 1
                });
            cells[at].1.insert((&line.prompt, &line.model), line);
        }
        for ((dataset, structure), found) in cells {
            let n = found.values().map(|line| line.n).max().unwrap_or(0);
            let mut row = [modality, structure, dataset, &n.to_string()]
                .map(str::to_owned)
                .to_vec();
            row.extend(
                columns
                    .iter()
                    .map(|column| cell(found.get(column).copied())),
            );
            rows.push(row);
        }
        let mut row = [modality, "mean of structures", "", ""]
            .map(str::to_owned)
            .to_vec();
        let mean = |(prompt, model): &(&str, &str)| percent(means.get(&[modality, model, prompt]));
        row.extend(columns.iter().map(mean));
        rows.push(row);
    }
    TextTable {
        title: "Table 1: Dice in % (mean ± standard deviation) by structure, prompt setting and model",
        header,
        rows,
    }
}

fn cell(line: Option<&Line>) -> String {
    let Some(dice) = line.and_then(|line| line.dice) else {
        return "-".to_owned();
    };
    match dice.sd {
        Some(sd) => format!("{:.2} ± {:.2}", 100.0 * dice.mean, 100.0 * sd),
        None => format!("{:.2}", 100.0 * dice.mean),
    }
}

/// Table 2.
fn ablation(lines: &[Line]) -> TextTable {
    let models = distinct(lines.iter().map(|line| line.model.as_str()));
    let settings = distinct(lines.iter().map(|line| line.prompt.as_str()));
    let modalities = modalities(lines);
    let means = means(lines);
    let mut header = vec!["prompts".to_owned(), "model".to_owned()];
    header.extend(modalities.iter().map(|&modality| modality.to_owned()));
    let mut rows = Vec::new();
    for prompt in &settings {
        for model in &models {
            let mut row = vec![setting(prompt), (*model).to_owned()];
            let mean = |modality: &&str| percent(means.get(&[*modality, model, prompt]));
            row.extend(modalities.iter().map(mean));
            rows.push(row);
        }
    }
    for model in &models {
        let mut row = vec!["mean of settings".to_owned(), (*model).to_owned()];
        for modality in &modalities {
            let own = settings
                .iter()
                .filter_map(|s| means.get(&[*modality, *model, *s]));
            let values: Vec<f64> = own.copied().collect();
            let mean = values.iter().sum::<f64>() / values.len().max(1) as f64;
            row.push(percent((!values.is_empty()).then_some(&mean)));
        }
        rows.push(row);
    }
    TextTable {
        title: "Table 2: mean Dice in % over the structures of each modality, by checkpoint",
        header,
        rows,
    }
}

pub(super) fn html(study: Study, lines: &[Line]) -> String {
    let TextTable {
        title,
        header,
        rows,
    } = table(study, lines);
    let mut html = format!(
        "<h2>{}</h2>\n<table class=\"wide names\"><tr>",
        escaped(title)
    );
    for name in header {
        let _ = write!(html, "<th>{}</th>", escaped(&name));
    }
    html.push_str("</tr>\n");
    for row in rows {
        html.push_str("<tr>");
        for cell in row {
            let _ = write!(html, "<td>{}</td>", escaped(&cell));
        }
        html.push_str("</tr>\n");
    }
    html.push_str("</table>\n");
    html
}

pub(super) fn text(study: Study, lines: &[Line]) -> String {
    let TextTable {
        title,
        header,
        rows,
    } = table(study, lines);
    let all: Vec<&Vec<String>> = [&header].into_iter().chain(&rows).collect();
    let width = |column: usize| all.iter().map(|row| row[column].chars().count()).max();
    let mut text = format!("{title}\n");
    for row in &all {
        for (column, cell) in row.iter().enumerate() {
            let width = width(column).unwrap_or(0);
            let _ = write!(text, "{cell:width$}  ");
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
    text.push('\n');
    text
}

/// `study.csv`: the table as it stands in the report.
pub(super) fn write_csv(out: &mut dyn Write, study: Study, lines: &[Line]) -> io::Result<()> {
    let TextTable { header, rows, .. } = table(study, lines);
    write_fields(out, header)?;
    rows.into_iter().try_for_each(|row| write_fields(out, row))
}
