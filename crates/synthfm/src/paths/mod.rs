//! The paths that a command reads and writes, compared before any work: nothing that is read, and nothing that somebody
//! else wrote beside it, is ever replaced by a result.
//!
//! Files are the same if the system says so, however their paths are spelled: relative, through links, under a second
//! name, or in other letters on a disk that does not tell capitals from small ones.

mod file_id;
mod records;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::Result;
use synthfm_image::{is_special, remove_leftovers};

use self::file_id::FileId;
use self::records::{Records, is_record_of};
use crate::output::usage;

pub(crate) use self::records::{is_ours, read_record};

/// Detached headers keep the names of their data files within this many bytes.
const MAX_HEADER_BYTES: u64 = 64 << 10;
/// Names of records that are tried before the command is refused.
const MAX_NAMES: usize = 100;

/// The paths of one command, with the flags that named them.
#[derive(Debug, Default)]
pub(crate) struct Paths {
    read: HashMap<FileId, String>,
    read_folders: Vec<(PathBuf, String)>,
    written: HashMap<FileId, String>,
    /// The files to be written, by their folders.
    outputs: BTreeMap<PathBuf, Vec<PathBuf>>,
    /// The records in folders that are written to, each folder read once.
    records: HashMap<PathBuf, Records>,
}

impl Paths {
    /// Adds something that the command reads: a file with the files that belong to it, or a folder. What is not there is
    /// left to whoever opens it.
    pub(crate) fn read(&mut self, what: &str, path: &Path) {
        let Ok(found) = fs::metadata(path) else {
            return;
        };
        if found.is_dir() {
            if let Ok(folder) = path.canonicalize() {
                self.read_folders.push((folder, what.to_owned()));
            }
            return;
        }
        for file in data_files(path) {
            self.read(&format!("a data file of {what}"), &file);
        }
        if let Some(id) = FileId::new(path) {
            self.read.insert(id, what.to_owned());
        }
    }

    /// Adds a file that the command writes under a name that the user chose.
    pub(crate) fn write(&mut self, what: &str, path: &Path) -> Result<()> {
        self.add(what, path, false)
    }

    /// See [`Self::write`]; `is_own` says that what is there was written by synthfm.
    fn add(&mut self, what: &str, path: &Path, is_own: bool) -> Result<()> {
        if is_special(path) {
            return Ok(());
        }
        let Some(id) = FileId::new(path) else {
            return Ok(());
        };
        let shown = path.display();
        if let Some(other) = self.read.get(&id) {
            return Err(usage(format!(
                "{what} {shown} is {other}, which it would replace: choose another name"
            )));
        }
        let foreign = path.exists() && !is_own;
        if let Some(folder) = foreign.then(|| self.folder_of(path)).flatten() {
            return Err(usage(format!(
                "{what} {shown} is a file in {folder}, which it would replace: choose another name"
            )));
        }
        if let Some(other) = self.written.insert(id, what.to_owned()) {
            return Err(usage(format!(
                "{what} {shown} is the same file as {other}: choose another name"
            )));
        }
        let folder = path.parent().unwrap_or(Path::new("")).to_owned();
        self.outputs
            .entry(folder)
            .or_default()
            .push(path.to_owned());
        Ok(())
    }

    /// Removes what a command that was killed left half written under the names of the outputs.
    pub(crate) fn remove_leftovers(&self) {
        for (folder, outputs) in &self.outputs {
            remove_leftovers(folder, outputs);
        }
    }

    /// Adds a file that the command writes beside its result, under a name that nobody chose: the first of `path` and its
    /// numbered variants that is free, or that an earlier run wrote as the record of the same `output`, which it names
    /// under `key`.
    pub(crate) fn record(
        &mut self,
        what: &str,
        path: &Path,
        (key, output): (&str, &Path),
    ) -> Result<PathBuf> {
        for candidate in variants(path) {
            let taken = candidate.exists() && !is_record_of(&candidate, key, output);
            let free = !taken && FileId::new(&candidate).is_none_or(|id| !self.knows(&id));
            if free {
                self.write(what, &candidate)?;
                return Ok(candidate);
            }
        }
        Err(usage(format!(
            "{what} {}: this name and its variants belong to other files: choose another name for the result",
            path.display()
        )))
    }

    /// Adds a file that the command writes under a fixed name, which must be free or an earlier result.
    pub(crate) fn fixed(&mut self, what: &str, path: &Path) -> Result<()> {
        let is_own = is_ours(path);
        if path.exists() && !is_own {
            return Err(usage(format!(
                "{what} {} was not written by synthfm and would be replaced: choose another place",
                path.display()
            )));
        }
        self.add(what, path, is_own)
    }

    /// Adds a folder that the command fills. It must be absent or empty, apart from hidden files, or one that synthfm
    /// filled before, as `is_own` can tell.
    pub(crate) fn fill(
        &mut self,
        what: &str,
        folder: &Path,
        is_own: impl Fn(&Path) -> bool,
    ) -> Result<()> {
        let shown = folder.display();
        if fs::metadata(folder).is_ok_and(|found| !found.is_dir()) {
            return Err(usage(format!("{what} {shown} is a file: name a folder")));
        }
        let full = folder.canonicalize().ok();
        let read = self
            .read_folders
            .iter()
            .find(|(read, _)| full.as_ref() == Some(read));
        if let Some((_, other)) = read {
            return Err(usage(format!(
                "{what} {shown} is {other}: results would mix with it; choose another folder"
            )));
        }
        if let Some(id) = FileId::new(folder) {
            self.written.insert(id, what.to_owned());
        }
        let Ok(entries) = fs::read_dir(folder) else {
            return Ok(());
        };
        let names = entries.flatten().map(|entry| entry.file_name());
        let names: Vec<OsString> = names
            .filter(|name| !name.as_encoded_bytes().starts_with(b"."))
            .collect();
        if names.is_empty() || is_own(folder) {
            return Ok(());
        }
        Err(usage(format!(
            "{what} {shown} holds other files ({}): choose an empty or new folder",
            names[0].to_string_lossy()
        )))
    }

    fn knows(&self, id: &FileId) -> bool {
        self.read.contains_key(id) || self.written.contains_key(id)
    }

    /// The folder among those that are read that a path lies in.
    fn folder_of(&mut self, path: &Path) -> Option<&str> {
        let full = path.canonicalize().ok()?;
        let mut folders = self.read_folders.iter();
        let (_, what) = folders.find(|(folder, _)| full.starts_with(folder))?;
        let parent = path.parent().unwrap_or(Path::new("")).to_owned();
        let records = self.records.entry(parent);
        let records = records.or_insert_with_key(|folder| Records::read(folder));
        (!records.name(path)).then_some(what)
    }
}

/// `a.json`, `a.record.json`, `a.record.2.json`, and so on.
fn variants(path: &Path) -> impl Iterator<Item = PathBuf> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let stem = name.strip_suffix(".json").unwrap_or(&name).to_owned();
    let path = path.to_owned();
    (0..MAX_NAMES).map(move |n| match n {
        0 => path.clone(),
        1 => path.with_file_name(format!("{stem}.record.json")),
        n => path.with_file_name(format!("{stem}.record.{n}.json")),
    })
}

/// The files that a detached header (`.nhdr`, `.mhd`) names.
fn data_files(header: &Path) -> Vec<PathBuf> {
    let ending = header.extension().map(std::ffi::OsStr::to_ascii_lowercase);
    if !ending.is_some_and(|ending| ending == "nhdr" || ending == "mhd") {
        return Vec::new();
    }
    let mut text = Vec::new();
    let Ok(file) = fs::File::open(header) else {
        return Vec::new();
    };
    if file.take(MAX_HEADER_BYTES).read_to_end(&mut text).is_err() {
        return Vec::new();
    }
    let folder = header.parent().unwrap_or(Path::new(""));
    let text = String::from_utf8_lossy(&text);
    let names = text.lines().filter_map(|line| {
        let (key, value) = line.split_once([':', '='])?;
        let key = key.trim().to_ascii_lowercase().replace(' ', "");
        (key == "datafile" || key == "elementdatafile").then(|| value.trim())
    });
    names
        .filter(|name| !name.is_empty())
        .map(|name| folder.join(name))
        .filter(|path| path.is_file())
        .collect()
}
