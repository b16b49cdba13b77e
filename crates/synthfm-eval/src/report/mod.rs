//! The results of an evaluation for people and programs.
//! `results.csv` (one line per row), `summary.json` (statistics and options), `report.html` (self-contained), and
//! tables for the terminal. `summary.json` is written last: where it exists, the report is complete.

mod charts;
mod comparison;
mod csv;
mod frame;
mod html;
mod legend;
mod overlays;
mod page;
mod significance;
mod statistics;
mod statistics_page;
mod study;
mod summary;
mod table;
#[cfg(test)]
mod tests;
mod wilcoxon;

use std::fmt::Write as _;
use std::path::Path;

use serde::Serialize;
use synthfm_image::write_atomically;

pub use comparison::ReportComparison;
pub(crate) use csv::Table;
pub(crate) use page::note_list;
pub use page::{close, escaped, open};
pub use significance::Comparison;
pub use statistics::Stats;
pub use study::Study;
pub use summary::{Group, Line};

use crate::dataset::{CaseNote, Dataset};
use crate::evaluate::{Evaluation, Options};
use crate::{Error, Result};

/// The statistics of an evaluation.
#[derive(Debug)]
pub struct Report<'a> {
    evaluation: &'a Evaluation,
    options: &'a Options,
    lines: Vec<Line>,
    comparisons: Vec<Comparison>,
    study: Option<Study>,
}

/// `summary.json`.
#[derive(Serialize)]
struct Summary<'a, R: Serialize> {
    /// The caller's description of the run: command, models, versions.
    run: &'a R,
    options: &'a Options,
    bootstrap_resamples: usize,
    rows: usize,
    failed_rows: usize,
    targets_too_small: usize,
    structures_absent: usize,
    stopped: bool,
    skipped_cases: &'a [CaseNote],
    unreadable_cases: &'a [CaseNote],
    notes: &'a [CaseNote],
    lines: &'a [Line],
    comparisons: &'a [Comparison],
}

impl<'a> Report<'a> {
    /// Computes the statistics.
    pub fn new(evaluation: &'a Evaluation, options: &'a Options) -> Self {
        Self {
            evaluation,
            options,
            lines: summary::lines(&evaluation.rows, options.seed),
            comparisons: significance::comparisons(&evaluation.rows, options.seed),
            study: None,
        }
    }

    /// The report with the tables of a study.
    #[must_use]
    pub fn with_study(self, study: Option<Study>) -> Self {
        Self { study, ..self }
    }

    /// A line per structure, data set and modality, each with every prompt setting.
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// The first model against each of the others, on every structure, data set and modality.
    pub fn comparisons(&self) -> &[Comparison] {
        &self.comparisons
    }

    /// The tables of mean Dice as text, one per segmenter, and the cases that were left out.
    pub fn text(&self) -> String {
        let mut text = table::text(&self.lines);
        if let Some(study) = self.study {
            text.push_str(&study::text(study, &self.lines));
        }
        text.push_str(&statistics_page::comparison_text(
            &self.comparisons,
            &["modality"],
        ));
        for (what, notes) in [
            ("left out", &self.evaluation.skipped),
            ("could not be read", &self.evaluation.failed),
        ] {
            for note in notes {
                let _ = writeln!(text, "{} {} {what}: {}", note.dataset, note.case, note.text);
            }
        }
        let failed = self.failed_rows();
        if failed > 0 {
            let _ = writeln!(
                text,
                "{failed} rows failed and are not averaged; see results.csv"
            );
        }
        text
    }

    /// Writes the report into `folder`, which is made if it does not exist. `datasets` are those of the evaluation,
    /// for the pictures; `run` is recorded as it is.
    pub fn write(&self, folder: &Path, datasets: &[Dataset], run: &impl Serialize) -> Result<()> {
        let io = |source| Error::Io {
            path: folder.to_owned(),
            source,
        };
        std::fs::create_dir_all(folder).map_err(io)?;
        write_atomically(&folder.join("results.csv"), |out| {
            csv::write(out, &self.evaluation.rows)
        })?;
        let pictures = overlays::pictures(self.evaluation, datasets, self.options)?;
        let page = html::page(&html::Parts {
            evaluation: self.evaluation,
            options: self.options,
            datasets,
            lines: &self.lines,
            comparisons: &self.comparisons,
            pictures: &pictures,
            study: self.study,
        });
        write_atomically(&folder.join("report.html"), |out| {
            out.write_all(page.as_bytes())
        })?;
        if let Some(study) = self.study {
            write_atomically(&folder.join("study.csv"), |out| {
                study::write_csv(out, study, &self.lines)
            })?;
        }
        self.write_summary(&folder.join("summary.json"), run)
    }

    fn write_summary(&self, path: &Path, run: &impl Serialize) -> Result<()> {
        let summary = Summary {
            run,
            options: self.options,
            bootstrap_resamples: statistics::RESAMPLES,
            rows: self.evaluation.rows.len(),
            failed_rows: self.failed_rows(),
            targets_too_small: self.evaluation.too_small,
            structures_absent: self.evaluation.absent,
            stopped: self.evaluation.stopped,
            skipped_cases: &self.evaluation.skipped,
            unreadable_cases: &self.evaluation.failed,
            notes: &self.evaluation.notes,
            lines: &self.lines,
            comparisons: &self.comparisons,
        };
        write_atomically(path, |out| {
            serde_json::to_writer_pretty(&mut *out, &summary)?;
            writeln!(out)
        })?;
        Ok(())
    }

    fn failed_rows(&self) -> usize {
        let rows = self.evaluation.rows.iter();
        rows.filter(|row| row.outcome.is_err()).count()
    }
}
