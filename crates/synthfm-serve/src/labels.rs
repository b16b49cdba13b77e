//! The structures that every case of a data set begins with: from a file of the command line, from the data set's
//! `dataset.json`, or from the first case that was annotated. What is added in the page is kept for the next cases.
//!
//! A file has a field `labels`, in JSON or TOML: a list of names or of tables with `name` and, where wanted, `value`,
//! `colour` and `key`; or names with their values, as in nnU-Net's `dataset.json`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use synthfm_image::write_json;

use super::annotation::{MAX_STRUCTURES, Structure};
use super::palette;

/// Where the lists are kept in the work folder.
const KEPT: &str = "structures.json";
const MAX_FILE_BYTES: u64 = 16 << 20;

/// A structure that every case may have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Label {
    /// Its value in label maps, and its identifier on the cases.
    pub(super) value: u16,
    pub(super) name: String,
    /// `#rrggbb`.
    pub(super) colour: String,
    /// The digit that chooses it, 1 to 9, where the file names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) key: Option<u8>,
}

impl Label {
    fn of(structure: &Structure) -> Self {
        let Structure { id, name, colour } = structure;
        Self {
            value: *id,
            name: name.clone(),
            colour: colour.clone(),
            key: None,
        }
    }

    pub(super) fn structure(&self) -> Structure {
        Structure {
            id: self.value,
            name: self.name.clone(),
            colour: self.colour.clone(),
        }
    }
}

/// The lists of all data sets below the opened folder.
#[derive(Debug)]
pub(super) struct LabelLists {
    /// From the command line; stands before what cases add.
    file: Option<Vec<Label>>,
    path: PathBuf,
    /// By data set: the folder of its `dataset.json` below the opened folder, or nothing.
    kept: Mutex<BTreeMap<String, Vec<Label>>>,
}

impl LabelLists {
    /// Reads the file of the command line, if there is one, and what earlier runs kept in the work folder.
    pub(super) fn open(file: Option<&Path>, work: &Path) -> Result<Self> {
        let file = file.map(read).transpose()?;
        let path = work.join(KEPT);
        let kept = match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text)
                .with_context(|| format!("reading {}", path.display()))?,
            Err(_) => BTreeMap::new(),
        };
        Ok(Self {
            file,
            path,
            kept: Mutex::new(kept),
        })
    }

    /// The list of a data set: that of the file, or else the `named` values of its manifest, and what cases added.
    pub(super) fn of(&self, set: &str, named: &BTreeMap<u16, String>) -> Vec<Label> {
        let mut list = self.file.clone().unwrap_or_else(|| labels_of(named));
        for label in self.lock().get(set).into_iter().flatten() {
            let known = list
                .iter()
                .any(|l| l.name == label.name || l.value == label.value);
            if !known && list.len() < MAX_STRUCTURES {
                list.push(label.clone());
            }
        }
        list
    }

    /// Keeps a changed list of a case's structures for the next cases. `is_empty` says whether a structure that is gone
    /// had nothing marked: it is forgotten then.
    pub(super) fn learn(
        &self,
        set: &str,
        before: &[Structure],
        after: &[Structure],
        is_empty: impl Fn(u16) -> bool,
    ) -> Result<()> {
        let mut all = self.lock();
        let mut list = all.get(set).cloned().unwrap_or_default();
        if list.is_empty() {
            list = before.iter().map(Label::of).collect();
        }
        for old in before {
            let Some(at) = list.iter().position(|l| l.name == old.name) else {
                continue;
            };
            match after.iter().find(|s| s.id == old.id) {
                Some(new) => {
                    list[at].name.clone_from(&new.name);
                    list[at].colour.clone_from(&new.colour);
                }
                None if is_empty(old.id) => drop(list.remove(at)),
                None => {}
            }
        }
        for new in after {
            let known = list.iter().any(|l| l.name == new.name || l.value == new.id);
            if !known {
                list.push(Label::of(new));
            }
        }
        if all.get(set) != Some(&list) {
            all.insert(set.to_owned(), list);
            write_json(&self.path, &*all)?;
        }
        Ok(())
    }

    /// Makes the structures of a case that was annotated before the list of a data set that has none.
    pub(super) fn begin(&self, set: &str, structures: &[Structure]) -> Result<()> {
        let mut all = self.lock();
        if self.file.is_none() && !all.contains_key(set) && !structures.is_empty() {
            all.insert(set.to_owned(), structures.iter().map(Label::of).collect());
            write_json(&self.path, &*all)?;
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Vec<Label>>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The digit that chooses each structure: the one of its label, else the first digit that is left.
pub(super) fn keys(structures: &[Structure], list: &[Label]) -> Vec<Option<u8>> {
    let own = |s: &Structure| list.iter().find(|l| l.name == s.name)?.key;
    let mut keys: Vec<Option<u8>> = structures.iter().map(own).collect();
    let taken: BTreeSet<u8> = keys.iter().flatten().copied().collect();
    let mut left = (1..=9).filter(|key| !taken.contains(key));
    for key in keys.iter_mut().filter(|key| key.is_none()) {
        *key = left.next();
    }
    keys
}

/// Labels with the colours of the palette.
fn labels_of(named: &BTreeMap<u16, String>) -> Vec<Label> {
    let label = |(&value, name): (&u16, &String)| Label {
        value,
        name: name.clone(),
        colour: palette::colour(value).to_owned(),
        key: None,
    };
    let labels = named.iter().map(label);
    labels
        .filter(|label| label.structure().check().is_ok())
        .take(MAX_STRUCTURES)
        .collect()
}

/// Reads a file of labels.
fn read(path: &Path) -> Result<Vec<Label>> {
    let what = || format!("reading the labels of {}", path.display());
    let bytes = fs::metadata(path).with_context(what)?.len();
    ensure!(
        bytes <= MAX_FILE_BYTES,
        "{}: {bytes} bytes are too many for a list of labels",
        path.display()
    );
    let text = fs::read_to_string(path).with_context(what)?;
    let is_toml = path
        .extension()
        .is_some_and(|e| e.eq_ignore_ascii_case("toml"));
    let value: Value = if is_toml {
        toml::from_str(&text).with_context(what)?
    } else {
        serde_json::from_str(&text).with_context(what)?
    };
    let Some(labels) = value.get("labels") else {
        bail!("{}: there is no field `labels`", path.display());
    };
    let labels = match labels {
        Value::Array(entries) => listed(entries).with_context(what)?,
        Value::Object(_) => labels_of(&named_values(labels)),
        _ => bail!(
            "{}: `labels` must be a list, or names with values",
            path.display()
        ),
    };
    check(&labels).with_context(what)?;
    Ok(labels)
}

/// An entry of a list of labels.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    #[serde(default)]
    value: Option<u16>,
    #[serde(default, alias = "color")]
    colour: Option<String>,
    #[serde(default)]
    key: Option<u8>,
}

fn listed(entries: &[Value]) -> Result<Vec<Label>> {
    let label = |(n, entry): (usize, &Value)| -> Result<Label> {
        let Entry {
            name,
            value,
            colour,
            key,
        } = match entry {
            Value::String(name) => Entry {
                name: name.clone(),
                value: None,
                colour: None,
                key: None,
            },
            entry => {
                Entry::deserialize(entry).with_context(|| format!("entry {} of labels", n + 1))?
            }
        };
        let value = value.unwrap_or((n + 1) as u16);
        Ok(Label {
            value,
            name: name.trim().to_owned(),
            colour: colour.unwrap_or_else(|| palette::colour(value).to_owned()),
            key,
        })
    };
    entries.iter().enumerate().map(label).collect()
}

fn check(labels: &[Label]) -> Result<()> {
    ensure!(!labels.is_empty(), "the list of labels is empty");
    ensure!(
        labels.len() <= MAX_STRUCTURES,
        "{} labels; at most {MAX_STRUCTURES} are taken",
        labels.len()
    );
    for (n, label) in labels.iter().enumerate() {
        let Label {
            value, name, key, ..
        } = label;
        label
            .structure()
            .check()
            .map_err(|problem| anyhow::anyhow!("label {name:?}: {problem}"))?;
        ensure!(*value > 0, "label {name:?}: value 0 is the background");
        if let Some(key) = key {
            ensure!(
                (1..=9).contains(key),
                "label {name:?}: key {key} is not 1 to 9"
            );
        }
        for other in &labels[..n] {
            ensure!(other.name != *name, "label {name:?} is listed twice");
            ensure!(
                other.value != *value,
                "labels {:?} and {name:?} have the same value {value}",
                other.name
            );
            ensure!(
                key.is_none() || other.key != *key,
                "labels {:?} and {name:?} have the same key",
                other.name
            );
        }
    }
    Ok(())
}

/// Names by value from the field `labels` of a `dataset.json`: `"liver": 1`, or `"1": "liver"` as in older ones. The
/// background, regions of several values and what is to be ignored are left out.
pub(super) fn named_values(labels: &Value) -> BTreeMap<u16, String> {
    let label = |(key, value): (&String, &Value)| {
        let (name, value) = match value {
            Value::String(name) => (name.clone(), key.trim().parse().ok()?),
            value => (key.clone(), u16::try_from(value.as_u64()?).ok()?),
        };
        (value > 0 && name != "ignore" && name != "background").then_some((value, name))
    };
    let entries = labels.as_object().into_iter().flatten();
    entries.filter_map(label).collect()
}

#[cfg(test)]
mod tests;
