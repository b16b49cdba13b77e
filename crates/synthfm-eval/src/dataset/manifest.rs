//! `dataset.json` of nnU-Net v2, with the optional keys of our own data sets.
//! Format: nnU-Net's `documentation/dataset_format.md`. Differs: `modality`, `instances` and `cases` may be added.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Structure;
use crate::Result;
use crate::bounded::read_text;
use crate::error::problem;

/// More than any `dataset.json` needs.
const MAX_MANIFEST_BYTES: u64 = 64 << 20;

/// What we read of `dataset.json`; other keys are left alone.
#[derive(Debug, Deserialize)]
pub(super) struct Manifest {
    #[serde(default)]
    pub(super) name: Option<String>,
    #[serde(default)]
    channel_names: BTreeMap<String, String>,
    labels: BTreeMap<String, Value>,
    pub(super) file_ending: String,
    #[serde(default)]
    modality: Option<String>,
    #[serde(default)]
    pub(super) instances: bool,
    #[serde(default)]
    pub(super) cases: Vec<CaseEntry>,
}

/// What is known of one case beside its files.
#[derive(Debug, Default, Deserialize)]
pub(super) struct CaseEntry {
    pub(super) case: String,
    #[serde(default)]
    pub(super) patient: Option<String>,
    #[serde(default)]
    pub(super) image: Option<String>,
    #[serde(default)]
    pub(super) modality: Option<String>,
}

impl Manifest {
    pub(super) fn read(path: &Path) -> Result<Self> {
        read_json(
            path,
            "nnU-Net v2's dataset.json (channel_names, labels, file_ending)",
        )
    }

    /// Names and values of the structures in ascending order of value; `background` and `ignore` are none.
    pub(super) fn structures(&self, path: &Path) -> Result<Vec<Structure>> {
        let mut structures = Vec::new();
        for (name, value) in &self.labels {
            let label = label_value(name, value).map_err(|text| problem(path, text))?;
            if label != 0 && name != "background" && name != "ignore" {
                let name = name.clone();
                structures.push(Structure { name, label });
            }
        }
        if structures.is_empty() {
            return Err(problem(
                path,
                "labels: at least one structure beside background expected".to_owned(),
            ));
        }
        structures.sort_by_key(|structure| structure.label);
        Ok(structures)
    }

    /// The modality of a case: its own, the data set's, or the name of the first channel.
    pub(super) fn modality_of(&self, entry: Option<&CaseEntry>) -> String {
        let own = entry.and_then(|entry| entry.modality.as_deref());
        let channel = || self.channel_names.get("0").map(String::as_str);
        let stated = own.or(self.modality.as_deref()).or_else(channel);
        match stated.unwrap_or("unknown").trim().to_uppercase().as_str() {
            "MRI" => "MR".to_owned(),
            "ULTRASOUND" => "US".to_owned(),
            other => other.to_owned(),
        }
    }
}

fn label_value(name: &str, value: &Value) -> std::result::Result<u16, String> {
    match value {
        Value::Number(number) => number
            .as_u64()
            .and_then(|number| u16::try_from(number).ok())
            .ok_or_else(|| format!("labels: {name:?}: 0 to 65535 expected, got {number}")),
        Value::Array(_) => Err(format!(
            "labels: {name:?} is a region (a list of values), which is not supported: one value per structure expected"
        )),
        other => Err(format!(
            "labels: {name:?}: a number expected, got {other} (nnU-Net v1 wrote value before name; v2 writes name: value)"
        )),
    }
}

/// Reads a JSON file of bounded size; `what` names what is expected of it.
pub(super) fn read_json<T: DeserializeOwned>(path: &Path, what: &str) -> Result<T> {
    let text = read_text(path, MAX_MANIFEST_BYTES)?;
    serde_json::from_str(&text).map_err(|error| problem(path, format!("{what} expected: {error}")))
}
