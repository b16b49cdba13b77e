//! `rows.jsonl`: what a run has found so far, one line per case, so that a second run continues.
//! A line counts while options, files of the case and prompts are the same, and of it the rows of those segmenters
//! whose identity is the same; a torn last line, as after a power cut, is passed over.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use synthfm_image::hex;
use synthfm_image::write_atomically;

use super::{Options, Replay, Row, Runs};
use crate::dataset::{Case, Dataset};
use crate::{Error, Result};

/// Raised when rows mean something else than before.
const VERSION: u32 = 3;

/// The results of one case.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct CaseRecord {
    /// Key of everything that the rows of the case depend on, see [`case_key`].
    pub(super) key: String,
    /// Identity of each segmenter that has answered everything.
    pub(super) segmenters: BTreeMap<String, String>,
    pub(super) notes: Vec<String>,
    /// Why the case could not be read.
    pub(super) failed: Option<String>,
    pub(super) too_small: usize,
    pub(super) absent: usize,
    pub(super) rows: Vec<FoundRow>,
}

/// A row with its image and, of the first prompt setting, its masks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct FoundRow {
    /// Index of the view of the case.
    pub(super) view: usize,
    pub(super) row: Row,
    pub(super) truth: Option<Runs>,
    pub(super) prediction: Option<Runs>,
}

/// A hash of everything but the segmenter that the rows of a case depend on.
pub(super) fn case_key(
    dataset: &Dataset,
    case: &Case,
    options: &Options,
    replay: Option<&Replay>,
    saves_masks: bool,
) -> String {
    let files: Vec<(PathBuf, u64, u128)> = case.source.paths().into_iter().map(stamp).collect();
    let text = serde_json::json!({
        "version": [VERSION.to_string().as_str(), env!("CARGO_PKG_VERSION")],
        "dataset": dataset.name,
        "layout": dataset.layout,
        "structures": dataset.structures.iter().map(|s| (&s.name, s.label)).collect::<Vec<_>>(),
        "case": case.name,
        "patient": case.patient,
        "modality": case.modality,
        "files": files.iter().map(|(path, bytes, time)| {
            (path.to_string_lossy(), bytes, time.to_string())
        }).collect::<Vec<_>>(),
        "options": options,
        "replay": replay.map(Replay::digest),
        "saves_masks": saves_masks,
    });
    sha256(&text.to_string())
}

/// In hexadecimal.
pub(super) fn sha256(text: &str) -> String {
    hex(&Sha256::digest(text))
}

/// Size and time of change of a file; zeros where it cannot be asked.
fn stamp(path: &Path) -> (PathBuf, u64, u128) {
    let asked = std::fs::metadata(path).ok();
    let bytes = asked.as_ref().map_or(0, std::fs::Metadata::len);
    let time = asked
        .and_then(|metadata| metadata.modified().ok())
        .and_then(|time| time.duration_since(UNIX_EPOCH).ok())
        .map_or(0, |time| time.as_nanos());
    (path.to_owned(), bytes, time)
}

/// A line of the file. Fractions are written as text, because the JSON reader rounds them in the last place.
fn text(record: &CaseRecord) -> std::io::Result<String> {
    let value = mapped(serde_json::to_value(record)?, &|value| match value {
        Value::Number(number) if number.is_f64() => Value::String(format!("{MARK}{number}")),
        Value::String(text) if text.starts_with(MARK) => Value::String(format!("{MARK}{text}")),
        other => other,
    });
    Ok(format!("{value}\n"))
}

fn parse(line: &[u8]) -> Option<CaseRecord> {
    let value = mapped(serde_json::from_slice(line).ok()?, &|value| {
        let Value::String(text) = &value else {
            return value;
        };
        match text.strip_prefix(MARK) {
            Some(rest) if rest.starts_with(MARK) => Value::String(rest.to_owned()),
            Some(number) => number.parse::<f64>().map_or(Value::Null, Value::from),
            None => value,
        }
    });
    serde_json::from_value(value).ok()
}

/// First character of a fraction.
const MARK: char = '~';

/// The value with every number and text in it replaced.
fn mapped(value: Value, leaf: &impl Fn(Value) -> Value) -> Value {
    match value {
        Value::Array(list) => list.into_iter().map(|value| mapped(value, leaf)).collect(),
        Value::Object(map) => map
            .into_iter()
            .map(|(key, value)| (key, mapped(value, leaf)))
            .collect(),
        value => leaf(value),
    }
}

/// The file, and what it held when it was opened.
pub(super) struct Journal {
    path: PathBuf,
    file: File,
    found: BTreeMap<String, CaseRecord>,
}

impl Journal {
    /// Opens the journal in `folder`, which is made if it does not exist. A line that cannot be read is left out.
    pub(super) fn open(folder: &Path) -> Result<Self> {
        let path = folder.join("rows.jsonl");
        let io = |source| Error::Io {
            path: path.clone(),
            source,
        };
        std::fs::create_dir_all(folder).map_err(io)?;
        let mut found = BTreeMap::new();
        let mut ends_whole = true;
        if path.is_file() {
            let mut reader = BufReader::new(File::open(&path).map_err(io)?);
            let mut line = Vec::new();
            loop {
                line.clear();
                if reader.read_until(b'\n', &mut line).map_err(io)? == 0 {
                    break;
                }
                ends_whole = line.ends_with(b"\n");
                if let Some(record) = parse(&line) {
                    let masks = |row: &FoundRow| {
                        let mut masks = row.truth.iter().chain(&row.prediction);
                        masks.all(Runs::is_whole)
                    };
                    if record.rows.iter().all(masks) {
                        found.insert(record.key.clone(), record);
                    }
                }
            }
        }
        let mut file = File::options()
            .create(true)
            .append(true)
            .open(&path)
            .map_err(io)?;
        if !ends_whole {
            file.write_all(b"\n").map_err(io)?;
        }
        Ok(Self { path, file, found })
    }

    /// Removes and returns the record of a case, if there is one with this key.
    pub(super) fn take(&mut self, key: &str) -> Option<CaseRecord> {
        self.found.remove(key)
    }

    /// Adds what was found on a case.
    pub(super) fn append(&mut self, record: &CaseRecord) -> Result<()> {
        let written = text(record).and_then(|line| self.file.write_all(line.as_bytes()));
        written.map_err(|error| self.error(error))
    }

    /// Replaces the file by the lines of a whole run, so that it does not grow with every change of an option.
    pub(super) fn finish(self, records: &[CaseRecord]) -> Result<()> {
        write_atomically(&self.path, |out| {
            for record in records.iter().filter(|record| record.failed.is_none()) {
                out.write_all(text(record)?.as_bytes())?;
            }
            Ok(())
        })?;
        Ok(())
    }

    fn error(&self, source: std::io::Error) -> Error {
        Error::Io {
            path: self.path.clone(),
            source,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_back_exactly() {
        let record = CaseRecord {
            key: "~key".to_owned(),
            notes: vec!["~~0.5".to_owned(), "plain".to_owned()],
            ..CaseRecord::default()
        };
        assert_eq!(parse(text(&record).unwrap().as_bytes()), Some(record));
        // Values that the JSON reader rounds to a neighbour.
        for value in [10.0 / 11.0, 1e-300, 0.1 + 0.2, f64::from(f32::MIN_POSITIVE)] {
            let back: f64 = format!("{value}").parse().unwrap();
            assert!((back - value).abs() <= 0.0);
        }
        assert_eq!(parse(b"{"), None);
    }
}
