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

/// The keys that are read of `dataset.json`; others are left alone.
#[derive(Debug, Deserialize)]
pub(super) struct Manifest {
    #[serde(default, deserialize_with = "words")]
    pub(super) name: Option<String>,
    #[serde(default)]
    channel_names: BTreeMap<String, String>,
    labels: BTreeMap<String, Value>,
    pub(super) file_ending: String,
    #[serde(default, deserialize_with = "words")]
    modality: Option<String>,
    #[serde(default)]
    pub(super) instances: bool,
    #[serde(default)]
    pub(super) cases: Vec<CaseEntry>,
}

/// A text; of a number its digits, and of a list or a map of texts, as the decathlon names modalities, the first.
fn words<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> std::result::Result<Option<String>, D::Error> {
    let first = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    let found = Value::deserialize(deserializer)?;
    Ok(match &found {
        Value::Array(list) => list.first().and_then(first),
        Value::Object(map) => map.values().next().and_then(first),
        other => first(other),
    })
}

/// The entry of one case: facts beside its files.
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

/// The meaning of the label values of a data set.
pub(super) struct Structures {
    pub(super) list: Vec<Structure>,
    /// Where a structure may have several values: the values of each structure's label.
    pub(super) regions: BTreeMap<u16, Vec<u16>>,
    /// The value of pixels whose truth is not known.
    pub(super) ignored: Option<u16>,
}

impl Manifest {
    pub(super) fn read(path: &Path) -> Result<Self> {
        read_json(
            path,
            "nnU-Net v2's dataset.json (channel_names, labels, file_ending)",
        )
    }

    /// The structures in ascending order of value; `background` and `ignore` are none.
    pub(super) fn structures(&self, path: &Path) -> Result<Structures> {
        let (mut named, mut ignored) = (Vec::new(), None);
        for (name, value) in &self.labels {
            let (name, values) = label_values(name, value).map_err(|text| problem(path, text))?;
            match (name.as_str(), values.as_slice()) {
                (_, [0]) | ("background", _) => {}
                ("ignore", &[value]) => ignored = Some(value),
                ("ignore", _) => {
                    let text = "labels: ignore: one value expected, got several".to_owned();
                    return Err(problem(path, text));
                }
                _ => named.push((values, name)),
            }
        }
        named.sort();
        let are_regions = named.iter().any(|(values, _)| values.len() > 1);
        let mut regions = BTreeMap::new();
        let mut structures = Vec::new();
        for ((values, name), number) in named.into_iter().zip(1..) {
            let label = if are_regions { number } else { values[0] };
            if are_regions {
                regions.insert(label, values);
            }
            structures.push(Structure { name, label });
        }
        if structures.is_empty() {
            return Err(problem(
                path,
                "labels: at least one structure beside background expected".to_owned(),
            ));
        }
        Ok(Structures {
            list: structures,
            regions,
            ignored,
        })
    }

    /// Names of the channels, in order.
    pub(super) fn channels(&self) -> Vec<String> {
        channels_in_order(&self.channel_names)
    }

    /// The modality of a case: its own, the data set's, or the name of the first channel.
    pub(super) fn modality_of(&self, entry: Option<&CaseEntry>) -> String {
        let own = entry.and_then(|entry| entry.modality.as_deref());
        let channel = || self.channel_names.get("0").map(String::as_str);
        let stated = own.or(self.modality.as_deref()).or_else(channel);
        modality_name(stated.unwrap_or("unknown"))
    }
}

/// A modality in the words of the reports.
pub(super) fn modality_name(stated: &str) -> String {
    match stated.trim().to_uppercase().as_str() {
        "MRI" => "MR".to_owned(),
        "ULTRASOUND" => "US".to_owned(),
        other => other.to_owned(),
    }
}

/// Names of channels that are listed by their numbers.
pub(super) fn channels_in_order(names: &BTreeMap<String, String>) -> Vec<String> {
    (0..names.len())
        .map_while(|number| names.get(&number.to_string()).cloned())
        .collect()
}

/// Name and values of a structure: `"liver": 1`, a region `"kidney": [1, 2]`, or as nnU-Net v1 writes it `"1": "liver"`.
fn label_values(name: &str, value: &Value) -> std::result::Result<(String, Vec<u16>), String> {
    let label = |number: &Value| {
        number
            .as_u64()
            .and_then(|number| u16::try_from(number).ok())
            .ok_or_else(|| format!("labels: {name:?}: 0 to 65535 expected, got {number}"))
    };
    match value {
        Value::Number(_) => Ok((name.to_owned(), vec![label(value)?])),
        Value::Array(list) if !list.is_empty() => {
            let mut values = list
                .iter()
                .map(label)
                .collect::<std::result::Result<Vec<u16>, String>>()?;
            values.sort_unstable();
            values.dedup();
            Ok((name.to_owned(), values))
        }
        Value::String(text) => match name.trim().parse() {
            Ok(number) => Ok((text.clone(), vec![number])),
            Err(_) => Err(format!("labels: {name:?}: a number expected, got {text:?}")),
        },
        other => Err(format!(
            "labels: {name:?}: a number or a list of numbers expected, got {other}"
        )),
    }
}

/// Reads a JSON file of bounded size; `what` names what is expected of it.
pub(super) fn read_json<T: DeserializeOwned>(path: &Path, what: &str) -> Result<T> {
    let text = read_text(path, MAX_MANIFEST_BYTES)?;
    serde_json::from_str(&text).map_err(|error| problem(path, format!("{what} expected: {error}")))
}
