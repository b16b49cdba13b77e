//! Two reports against each other: `synthfm evaluate --compare A.csv B.csv`.
//! Models of one name are compared with each other, as after a change of weights; where no name occurs in both, every
//! model of the first with every model of the second.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use serde::Serialize;
use synthfm_image::write_atomically;

use super::charts;
use super::csv::Table;
use super::page::{close, open};
use super::significance::{Comparison, compare, correct};
use super::statistics_page::{comparison_tables, comparison_text};
use crate::evaluate::Row;
use crate::{Error, Result};

/// A comparison of two files of results.
#[derive(Debug, Serialize)]
pub struct ReportComparison {
    /// Targets with prompts that both files have, counted per pair of models.
    pub pairs: usize,
    /// Rows of the first file without a partner in the second.
    pub only_in_first: usize,
    /// Rows of the second file without a partner in the first.
    pub only_in_second: usize,
    /// First minus second.
    pub comparisons: Vec<Comparison>,
}

impl ReportComparison {
    /// Reads two `results.csv` and compares them; `seed` is that of the bootstrap.
    pub fn read(first: &Path, second: &Path, seed: u64) -> Result<Self> {
        let rows = |path: &Path| Table::read(path)?.results();
        let (first, second) = (rows(first)?, rows(second)?);
        let names = |rows: &[Row]| -> BTreeSet<String> {
            rows.iter().map(|row| row.model.clone()).collect()
        };
        let (a, b) = (names(&first), names(&second));
        let shared: Vec<[&String; 2]> = a.intersection(&b).map(|name| [name, name]).collect();
        let every = || {
            a.iter()
                .flat_map(|x| b.iter().map(move |y| [x, y]))
                .collect()
        };
        let pairs = if shared.is_empty() { every() } else { shared };
        let mut comparisons = Vec::new();
        let (mut paired, mut only_in_first, mut only_in_second) = (0, 0, 0);
        for [x, y] in pairs {
            let own: Vec<&Row> = first.iter().filter(|row| row.model == *x).collect();
            let other: Vec<&Row> = second.iter().filter(|row| row.model == *y).collect();
            let names = if x == y {
                [format!("{x} (first)"), format!("{y} (second)")]
            } else {
                [x.clone(), y.clone()]
            };
            let found = compare(&own, &other, [&names[0], &names[1]], seed);
            let here: usize = found
                .iter()
                .filter(|comparison| comparison.group.level() == "modality")
                .map(|comparison| comparison.targets)
                .sum();
            paired += here;
            only_in_first += own.len() - here;
            only_in_second += other.len() - here;
            comparisons.extend(found);
        }
        if comparisons.is_empty() {
            let text = "no target with the same prompt has a score in both files".to_owned();
            return Err(Error::Parameter(text));
        }
        correct(&mut comparisons);
        Ok(Self {
            pairs: paired,
            only_in_first,
            only_in_second,
            comparisons,
        })
    }

    /// The comparisons of modalities and data sets as text.
    pub fn text(&self) -> String {
        let mut text = comparison_text(&self.comparisons, &["modality", "dataset"]);
        let _ = writeln!(
            text,
            "{} pairs; {} rows of the first and {} of the second file have no scored partner",
            self.pairs, self.only_in_first, self.only_in_second
        );
        text
    }

    /// Writes `comparison.json` and `comparison.html` into `folder`, which is made if it does not exist.
    pub fn write(&self, folder: &Path) -> Result<()> {
        std::fs::create_dir_all(folder).map_err(|source| Error::Io {
            path: folder.to_owned(),
            source,
        })?;
        let mut page = open(
            "synthfm comparison",
            "Comparison of two evaluations",
            charts::STYLE,
        );
        let _ = writeln!(
            page,
            "<p>{} pairs of rows; {} rows of the first file and {} of the second have no scored partner.</p>",
            self.pairs, self.only_in_first, self.only_in_second
        );
        page.push_str(&comparison_tables(&self.comparisons));
        page.push_str(close());
        write_atomically(&folder.join("comparison.html"), |out| {
            out.write_all(page.as_bytes())
        })?;
        write_atomically(&folder.join("comparison.json"), |out| {
            serde_json::to_writer_pretty(&mut *out, self)?;
            writeln!(out)
        })?;
        Ok(())
    }
}
