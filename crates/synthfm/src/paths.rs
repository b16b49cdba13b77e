//! What a command reads and what it writes, compared before any work: nothing that is read, and nothing that somebody
//! else wrote beside it, is ever replaced by a result.
//!
//! Files are the same if the system says so, however their paths are spelled: relative, through links, under a second
//! name, or in other letters on a disk that does not tell capitals from small ones.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::io::Read;
use std::path::{Component, Path, PathBuf};

use anyhow::Result;
use serde_json::Value;
use synthfm_image::{is_special, remove_leftovers};

use crate::output::usage;

/// Larger files are not searched for what they say of themselves.
const MAX_RECORD_BYTES: u64 = 64 << 20;
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
    /// What is known of folders that are written to.
    records: HashMap<PathBuf, Records>,
}

/// What makes two paths the same file.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum FileId {
    /// Device and number of the file.
    #[cfg(unix)]
    Number(u64, u64),
    /// The path without links.
    Path(PathBuf),
    /// A file that is not there: its folder, and its name as the folder's disk compares it.
    Absent(Box<Self>, OsString),
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
        if let Some(id) = FileId::of(path) {
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
        let Some(id) = FileId::of(path) else {
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
            let free = !taken && FileId::of(&candidate).is_none_or(|id| !self.knows(&id));
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
        if let Some(id) = FileId::of(folder) {
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
        let records = records.or_insert_with_key(|folder| Records::of(folder));
        (!records.name(path)).then_some(what)
    }
}

impl FileId {
    /// `None` where not even the folder of the path can be found.
    fn of(path: &Path) -> Option<Self> {
        match fs::metadata(path) {
            Ok(found) => Self::present(path, &found),
            // A link to nothing stands for what it leads to.
            Err(_) if path.is_symlink() => {
                let folder = path.parent().unwrap_or(Path::new(""));
                let target = folder.join(fs::read_link(path).ok()?);
                if target.is_symlink() {
                    return None;
                }
                Self::of(&target)
            }
            Err(_) => Self::absent(path),
        }
    }

    #[cfg(unix)]
    #[expect(clippy::unnecessary_wraps, reason = "other systems may find no path")]
    fn present(_: &Path, found: &Metadata) -> Option<Self> {
        use std::os::unix::fs::MetadataExt;
        Some(Self::Number(found.dev(), found.ino()))
    }

    #[cfg(not(unix))]
    fn present(path: &Path, _: &Metadata) -> Option<Self> {
        path.canonicalize().ok().map(Self::Path)
    }

    fn absent(path: &Path) -> Option<Self> {
        let name = path.file_name()?;
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let Some(found) = fs::metadata(folder).ok() else {
            return Some(Self::Path(plain(&std::path::absolute(path).ok()?)));
        };
        let name = if ignores_case(folder) {
            name.to_string_lossy().to_lowercase().into()
        } else {
            name.to_owned()
        };
        Some(Self::Absent(Box::new(Self::present(folder, &found)?), name))
    }
}

/// A path without `.` and `..`, where no file is there to ask.
fn plain(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                out.pop();
            }
            other => out.push(other),
        }
    }
    out
}

/// Whether the disk of a folder finds it under its name in other letters.
fn ignores_case(folder: &Path) -> bool {
    let Ok(full) = folder.canonicalize() else {
        return false;
    };
    let (Some(parent), Some(name)) = (full.parent(), full.file_name().and_then(|n| n.to_str()))
    else {
        return false;
    };
    let upper = name.to_uppercase();
    let other = if upper == name {
        name.to_lowercase()
    } else {
        upper
    };
    if other == name {
        return false;
    }
    let other = parent.join(other);
    let id = |path: &Path| {
        fs::metadata(path)
            .ok()
            .and_then(|m| FileId::present(path, &m))
    };
    id(&other).is_some() && id(&other) == id(&full)
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

/// Whether a JSON file says that synthfm wrote it.
pub(crate) fn is_ours(path: &Path) -> bool {
    read_record(path).is_some()
}

/// Whether a JSON file is the record of an earlier result in the same place.
fn is_record_of(path: &Path, key: &str, output: &Path) -> bool {
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
struct Records {
    folder: PathBuf,
    /// Names of the JSON files, in order.
    names: BTreeSet<OsString>,
    /// Names that the list of results has.
    listed: BTreeSet<OsString>,
}

impl Records {
    /// `folder` may be empty, for the current one.
    fn of(folder: &Path) -> Self {
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

    /// Whether one of them names a file of the folder as its result.
    fn name(&self, path: &Path) -> bool {
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

#[cfg(test)]
mod tests {
    use super::*;

    struct Place(tempfile::TempDir);

    impl Place {
        fn new(files: &[&str]) -> Self {
            let place = Self(tempfile::tempdir().expect("a temporary folder"));
            for file in files {
                fs::write(place.at(file), file).expect("a file");
            }
            place
        }

        fn at(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }
    }

    fn message(result: Result<impl std::fmt::Debug>) -> String {
        result.expect_err("it is refused").to_string()
    }

    #[test]
    fn an_output_is_no_input() {
        let place = Place::new(&["scan.png", "other.png"]);
        fs::create_dir(place.at("sub")).expect("a folder");
        fs::hard_link(place.at("scan.png"), place.at("twin.png")).expect("a second name");
        let mut paths = Paths::default();
        paths.read("the input", &place.at("scan.png"));
        for name in ["scan.png", "./scan.png", "sub/../scan.png", "twin.png"] {
            let text = message(paths.write("-o", &place.at(name)));
            assert!(text.contains("the input"), "{text}");
        }
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink("scan.png", place.at("link.png")).expect("a link");
            let text = message(paths.write("-o", &place.at("link.png")));
            assert!(text.contains("the input"), "{text}");
        }
        paths.write("-o", &place.at("new.png")).expect("a new file");
        paths
            .write("--also", &place.at("other.png"))
            .expect("a chosen file");
        let text = message(paths.write("--overlay", &place.at("sub/../new.png")));
        assert!(text.contains("same file as -o"), "{text}");
    }

    #[test]
    fn absent_outputs_are_compared_too() {
        let place = Place::new(&[]);
        let mut paths = Paths::default();
        paths
            .write("-o", &place.at("a/b/x.png"))
            .expect("a new file");
        let text = message(paths.write("--also", &place.at("a/c/../b/./x.png")));
        assert!(text.contains("same file"), "{text}");
    }

    #[test]
    fn files_of_a_folder_that_is_read_stay() {
        let place = Place::new(&[]);
        fs::create_dir(place.at("series")).expect("a folder");
        fs::write(place.at("series/0.dcm"), "scan").expect("a slice");
        let mut paths = Paths::default();
        paths.read("the input", &place.at("series"));
        let text = message(paths.write("-o", &place.at("series/0.dcm")));
        assert!(text.contains("in the input"), "{text}");
        paths
            .write("-o", &place.at("series/mask.dcm"))
            .expect("a new file");
        // What an earlier command wrote there may be replaced.
        fs::write(place.at("series/old.png"), "mask").expect("a mask");
        let record = serde_json::json!({ "synthfm": "0.1.0", "mask": place.at("series/old.png") });
        fs::write(place.at("series/old.json"), record.to_string()).expect("its record");
        let mut paths = Paths::default();
        paths.read("the input", &place.at("series"));
        paths
            .write("--also", &place.at("series/old.png"))
            .expect("an earlier result");
        let text = message(paths.fill("--out", &place.at("series"), |_| true));
        assert!(text.contains("mix"), "{text}");
    }

    #[test]
    fn data_files_of_headers_are_inputs() {
        let place = Place::new(&["a.raw", "b.raw"]);
        fs::write(place.at("a.nhdr"), "NRRD0004\ndata file: a.raw\n").expect("a header");
        fs::write(place.at("b.mhd"), "NDims = 3\nElementDataFile = b.raw\n").expect("a header");
        let mut paths = Paths::default();
        paths.read("the input", &place.at("a.nhdr"));
        paths.read("--mask-prompt", &place.at("b.mhd"));
        for name in ["a.raw", "b.raw"] {
            let text = message(paths.write("-o", &place.at(name)));
            assert!(text.contains("data file"), "{text}");
        }
    }

    #[test]
    fn records_take_free_names() {
        let place = Place::new(&["a.json", "b.json"]);
        let ours = r#"{ "synthfm": "0.1.0", "mask": "out/mask.png" }"#;
        let other = r#"{ "synthfm": "0.1.0", "mask": "out/another.png" }"#;
        let mut paths = Paths::default();
        let mut taken = |name: &str| {
            let output = Path::new("mask.png");
            let path = paths.record("the record", &place.at(name), ("mask", output));
            let path = path.expect("a name");
            path.file_name()
                .expect("a name")
                .to_string_lossy()
                .into_owned()
        };
        assert_eq!(taken("a.json"), "a.record.json");
        fs::write(place.at("c.json"), ours).expect("a record");
        assert_eq!(taken("c.json"), "c.json");
        fs::write(place.at("d.json"), other).expect("the record of another mask");
        assert_eq!(taken("d.json"), "d.record.json");
        assert_eq!(taken("c.json"), "c.record.json", "taken by this command");
        fs::write(place.at("b.record.json"), "[]").expect("another file");
        assert_eq!(taken("b.json"), "b.record.2.json");
        let text = message(paths.fixed("--out", &place.at("a.json")));
        assert!(text.contains("not written by synthfm"), "{text}");
    }

    #[test]
    fn folders_of_other_files_are_not_filled() {
        let place = Place::new(&[]);
        let mut paths = Paths::default();
        paths
            .fill("--out", &place.at("new"), |_| false)
            .expect("a new folder");
        let text = message(paths.write("--preview", &place.at("new")));
        assert!(text.contains("same file as --out"), "{text}");
        fs::write(place.at(".DS_Store"), "").expect("a hidden file");
        paths
            .fill("--out", place.0.path(), |_| false)
            .expect("an empty folder");
        fs::write(place.at("thesis.tex"), "").expect("a file");
        let text = message(paths.fill("--out", place.0.path(), |folder| {
            folder.join("generator.toml").exists()
        }));
        assert!(text.contains("thesis.tex"), "{text}");
        fs::write(place.at("generator.toml"), "").expect("a mark");
        paths
            .fill("--out", place.0.path(), |folder| {
                folder.join("generator.toml").exists()
            })
            .expect("our folder");
        let text = message(paths.fill("--out", &place.at("thesis.tex"), |_| false));
        assert!(text.contains("is a file"), "{text}");
    }

    #[cfg(unix)]
    #[test]
    fn devices_may_be_named_twice() {
        let mut paths = Paths::default();
        paths.read("the input", Path::new("/dev/null"));
        for _ in 0..2 {
            paths.write("-o", Path::new("/dev/null")).expect("a device");
        }
    }
}
