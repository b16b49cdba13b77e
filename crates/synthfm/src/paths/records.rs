//! Results of earlier commands, recognised by the records that lie beside them.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::path::{Path, PathBuf};

use serde_json::Value;

/// Larger files are not searched for what they say of themselves.
const MAX_RECORD_BYTES: u64 = 64 << 20;

/// Whether a JSON file says that synthfm wrote it.
pub(crate) fn is_ours(path: &Path) -> bool {
    read_record(path).is_some()
}

/// Whether a JSON file is the record of an earlier result in the same place.
pub(super) fn is_record_of(path: &Path, key: &str, output: &Path) -> bool {
    let name = output.file_name();
    let names = |record: Value| {
        let said = record.get(key).and_then(Value::as_str).map(Path::new);
        said.is_some_and(|said| said.file_name() == name)
    };
    read_record(path).is_some_and(names)
}

/// A JSON object that synthfm wrote.
pub(crate) fn read_record(path: &Path) -> Option<Value> {
    let size = fs::metadata(path).ok().filter(Metadata::is_file)?.len();
    if size > MAX_RECORD_BYTES {
        return None;
    }
    let value: Value = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
    let says = |value: &Value| value.get("synthfm").is_some_and(Value::is_string);
    let ours = says(&value) || value.get("run").is_some_and(says);
    ours.then_some(value)
}

/// The records of a folder, read once however many of its files are asked about.
#[derive(Debug, Default)]
pub(super) struct Records {
    folder: PathBuf,
    /// Names of the JSON files, in order.
    names: BTreeSet<OsString>,
    /// Names that the list of results has.
    listed: BTreeSet<OsString>,
}

impl Records {
    /// Lists the records of a folder; an empty path stands for the current folder.
    pub(super) fn read(folder: &Path) -> Self {
        let mut records = Self {
            folder: folder.to_owned(),
            ..Self::default()
        };
        let place = if folder.as_os_str().is_empty() {
            Path::new(".")
        } else {
            folder
        };
        let Ok(entries) = fs::read_dir(place) else {
            return records;
        };
        let names = entries.flatten().map(|entry| entry.file_name());
        records
            .names
            .extend(names.filter(|name| name.to_string_lossy().ends_with(".json")));
        if let Some(list) = read_record(&folder.join("predictions.json")) {
            let lines = list.get("predictions").and_then(Value::as_array);
            let masks = lines
                .into_iter()
                .flatten()
                .filter_map(|line| line.get("mask"));
            let maps = list.get("labels").and_then(Value::as_array);
            let all = masks.chain(maps.into_iter().flatten());
            records.listed.extend(all.filter_map(file_name_of));
        }
        records
    }

    /// Whether one of the records names a file of the folder as its result.
    pub(super) fn name(&self, path: &Path) -> bool {
        let Some(name) = path.file_name() else {
            return false;
        };
        if self.listed.contains(name) {
            return true;
        }
        let text = name.to_string_lossy();
        let stem = text.split('.').next().unwrap_or_default();
        let beside = self.names.range(OsString::from(stem)..);
        let mut beside = beside.take_while(|other| other.to_string_lossy().starts_with(stem));
        beside.any(|other| {
            let record = read_record(&self.folder.join(other));
            record.is_some_and(|record| {
                let also = record.get("also").and_then(Value::as_array);
                let one = ["mask", "overlay", "embedding"].iter();
                let mut all = one
                    .filter_map(|key| record.get(*key))
                    .chain(also.into_iter().flatten());
                all.any(|value| file_name_of(value).as_deref() == Some(name))
            })
        })
    }
}

/// The name of the file that a path in a record leads to.
fn file_name_of(value: &Value) -> Option<OsString> {
    let path = Path::new(value.as_str()?);
    path.file_name().map(ToOwned::to_owned)
}
