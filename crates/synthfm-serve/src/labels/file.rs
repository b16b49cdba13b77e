//! Lists of labels in files: `--labels`, and the field `labels` of a `dataset.json`.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail, ensure};
use serde::de::{self, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::Label;
use crate::annotation::{MAX_STRUCTURES, Structure, is_background};
use crate::palette;

const MAX_FILE_BYTES: u64 = 16 << 20;
/// Characters of a name or value that a message repeats.
const SHOWN: usize = 40;
/// Entries that a note names.
const NAMED: usize = 5;

/// A list of labels with remarks on what it leaves out.
pub(super) type Noted = (Vec<Label>, Vec<String>);

/// The field `labels` in the order of the file, duplicates too.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Field {
    List(Vec<Value>),
    Pairs(Vec<(String, Value)>),
    Other,
}

impl<'de> Deserialize<'de> for Field {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FieldVisitor)
    }
}

struct FieldVisitor;

impl<'de> Visitor<'de> for FieldVisitor {
    type Value = Field;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list, or names with values")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Field, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = list.next_element()? {
            entries.push(entry);
        }
        Ok(Field::List(entries))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Field, A::Error> {
        let mut pairs = Vec::new();
        while let Some(pair) = map.next_entry()? {
            pairs.push(pair);
        }
        Ok(Field::Pairs(pairs))
    }

    fn visit_str<E: de::Error>(self, _: &str) -> Result<Field, E> {
        Ok(Field::Other)
    }

    fn visit_bool<E: de::Error>(self, _: bool) -> Result<Field, E> {
        Ok(Field::Other)
    }

    fn visit_i64<E: de::Error>(self, _: i64) -> Result<Field, E> {
        Ok(Field::Other)
    }

    fn visit_u64<E: de::Error>(self, _: u64) -> Result<Field, E> {
        Ok(Field::Other)
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<Field, E> {
        Ok(Field::Other)
    }

    fn visit_unit<E: de::Error>(self) -> Result<Field, E> {
        Ok(Field::Other)
    }
}

/// A file with a field `labels`.
#[derive(Debug, Deserialize)]
struct WithLabels {
    labels: Option<Field>,
}

/// A JSON file of labels: a list of names alone, or a table with the field `labels`.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum JsonFile {
    List(Vec<Value>),
    Table(WithLabels),
}

/// A text as a message repeats it.
fn short(text: &str) -> String {
    let mut shown: String = text.chars().take(SHOWN).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
}

/// Labels with the colours of the palette.
pub(super) fn labels_of(named: &BTreeMap<u16, String>) -> Vec<Label> {
    let label = |(&value, name): (&u16, &String)| Label {
        value,
        name: name.clone(),
        colour: palette::colour(value).to_owned(),
        key: None,
    };
    let labels = named.iter().map(label);
    labels
        .filter(|label| is_usable(&label.name))
        .take(MAX_STRUCTURES)
        .collect()
}

/// Whether a page and a file can show a name.
fn is_usable(name: &str) -> bool {
    let structure = Structure {
        id: 1,
        name: name.to_owned(),
        colour: palette::colour(1).to_owned(),
    };
    structure.check().is_ok()
}

/// Reads a file of labels.
pub(super) fn read(path: &Path) -> Result<Noted> {
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
    let field = if is_toml {
        toml::from_str::<WithLabels>(&text)
            .with_context(what)?
            .labels
    } else {
        // Errors of a document that is no JSON name its line; those of the two forms together do not.
        serde_json::from_str::<Value>(&text).with_context(what)?;
        match serde_json::from_str(&text) {
            Ok(JsonFile::List(names)) => Some(Field::List(names)),
            Ok(JsonFile::Table(table)) => table.labels,
            Err(_) => None,
        }
    };
    let (labels, notes) = match field {
        None => bail!(
            "{}: there is no field `labels`; a list such as labels = [\"liver\", \"spleen\"] is expected",
            path.display()
        ),
        Some(Field::List(entries)) => (listed(&entries).with_context(what)?, Vec::new()),
        Some(Field::Pairs(pairs)) => {
            let (named, notes) = named_values(&pairs);
            (labels_of(&named), notes)
        }
        Some(Field::Other) => bail!(
            "{}: `labels` must be a list, or names with values",
            path.display()
        ),
    };
    check(&labels).with_context(what)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let notes = notes.into_iter().map(|note| format!("{name}: {note}"));
    Ok((labels, notes.collect()))
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
            entry => Entry::deserialize(entry).map_err(|error| {
                let (n, error, found) = (n + 1, short_error(&error), short(&entry.to_string()));
                anyhow!("entry {n} of labels: a name, or a table with name, value, colour and key expected, got {found} ({error})")
            })?,
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
        let n = n + 1;
        let shown = short(name);
        label
            .structure()
            .check()
            .map_err(|problem| anyhow!("entry {n} of labels, {shown:?}: {problem}"))?;
        ensure!(
            *value > 0 && !is_background(name),
            "entry {n} of labels, {shown:?}: value 0 is the background, which needs no entry"
        );
        if let Some(key) = key {
            ensure!(
                (1..=9).contains(key),
                "entry {n} of labels, {shown:?}: key {key} is not 1 to 9"
            );
        }
        for other in &labels[..n - 1] {
            ensure!(
                other.name != *name,
                "entry {n} of labels: {shown:?} is listed twice"
            );
            ensure!(
                other.value != *value,
                "labels {:?} and {shown:?} have the same value {value}",
                short(&other.name)
            );
            ensure!(
                key.is_none() || other.key != *key,
                "labels {:?} and {shown:?} have the same key",
                short(&other.name)
            );
        }
    }
    Ok(())
}

/// The first words of an error of serde.
fn short_error(error: &serde_json::Error) -> String {
    error.to_string().chars().take(2 * SHOWN).collect()
}

/// Names by value from the field `labels` of a `dataset.json`: `"liver": 1`, or `"1": "liver"` as in older ones, with
/// remarks on what is left out. The background and what is to be ignored are left out without one.
pub(crate) fn named_values(pairs: &[(String, Value)]) -> (BTreeMap<u16, String>, Vec<String>) {
    let mut named: BTreeMap<u16, String> = BTreeMap::new();
    let (mut regions, mut odd, mut notes) = (Vec::new(), Vec::new(), Vec::new());
    for (key, value) in pairs {
        let (name, number) = match value {
            Value::String(name) => (name.as_str(), key.trim().parse::<u64>().ok()),
            value => (key.as_str(), value.as_u64()),
        };
        let is_whole = |value: &Value| value.as_array().is_some_and(|all| all.len() == 1);
        if number == Some(0) || name == "ignore" {
            continue;
        }
        if is_background(name) {
            notes.push(format!(
                "label {:?} is left out: the background is 0",
                short(name)
            ));
            continue;
        }
        if value.is_array() && !is_whole(value) {
            regions.push(short(key));
            continue;
        }
        let number = number.or_else(|| value.get(0)?.as_u64());
        let Some(value) = number.and_then(|number| u16::try_from(number).ok()) else {
            odd.push(short(key));
            continue;
        };
        let taken = named.get(&value).cloned();
        let again = named.values().any(|known| known == name);
        match taken {
            Some(first) => notes.push(format!(
                "label {:?} is left out: {:?} has the value {value} too",
                short(name),
                short(&first)
            )),
            None if again => notes.push(format!(
                "label {:?} is listed twice: the value {value} is left out",
                short(name)
            )),
            None => drop(named.insert(value, name.to_owned())),
        }
    }
    if !regions.is_empty() {
        notes.push(format!(
            "regions of several values are left out, for a structure has one value here: {}",
            listing(&regions)
        ));
    }
    if !odd.is_empty() {
        notes.push(format!(
            "labels are left out whose value is no whole number from 1 to {}: {}",
            u16::MAX,
            listing(&odd)
        ));
    }
    let unusable = |(_, name): &(&u16, &String)| !is_usable(name);
    let left: Vec<String> = named
        .iter()
        .filter(unusable)
        .map(|(_, n)| short(n))
        .collect();
    if !left.is_empty() {
        let listing = listing(&left);
        notes.push(format!(
            "labels are left out whose names are empty, too long or not printable: {listing}"
        ));
    }
    if named.len() > MAX_STRUCTURES {
        let count = named.len();
        notes.push(format!(
            "of {count} labels the first {MAX_STRUCTURES} are taken"
        ));
    }
    (named, notes)
}

/// Some names, and how many more there are.
fn listing(names: &[String]) -> String {
    let first = names[..names.len().min(NAMED)].join(", ");
    match names.len().checked_sub(NAMED) {
        None | Some(0) => first,
        Some(more) => format!("{first} and {more} more"),
    }
}

/// The labels of a `dataset.json`, with remarks on what is left out.
pub(crate) fn manifest_labels(text: &[u8]) -> (BTreeMap<u16, String>, Vec<String>) {
    match serde_json::from_slice::<WithLabels>(text) {
        Ok(WithLabels {
            labels: Some(Field::Pairs(pairs)),
        }) => named_values(&pairs),
        Ok(WithLabels { labels: None }) => Default::default(),
        Ok(_) => {
            let note = "its `labels` are no names with values, and are not taken";
            (BTreeMap::new(), vec![note.to_owned()])
        }
        Err(error) => {
            let error = short_error(&error);
            let note = format!(
                "it is not the JSON that is expected, and its labels are not taken ({error})"
            );
            (BTreeMap::new(), vec![note])
        }
    }
}
