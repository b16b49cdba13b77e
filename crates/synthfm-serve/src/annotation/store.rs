//! The work on one case on disk: a snapshot, and a journal of what came after it.
//!
//! A change is in the journal, flushed to the disk, before anyone is told that it is saved; a process that is killed
//! loses nothing that was. Half a line at the journal's end, from a write that was cut, was never confirmed and goes.
//! When the journal grows, a new snapshot takes its place: written whole, then renamed; records that the snapshot
//! holds already are skipped by their number.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use serde_json::json;
use synthfm_image::VolumeGeometry;

use super::{
    Annotation, BitVolume, MAX_STRUCTURES, Place, Progress, Runs, SlicePrompts, Step, Structure,
};
use synthfm_image::{check_run_lengths, create_folder, one_line, write_json};

/// Says which case the folder belongs to.
pub(crate) const ABOUT: &str = "case.json";
const JOURNAL: &str = "journal.jsonl";
const SNAPSHOT: &str = "snapshot.json";
/// Raised when older programs could not read the files any more.
const FORMAT: u32 = 3;
/// A journal of this size is replaced by a snapshot when the case is opened or closed.
const LONG_JOURNAL_BYTES: u64 = 4 << 20;
/// One of this size is replaced while the case is open.
const VERY_LONG_JOURNAL_BYTES: u64 = 64 << 20;
/// More than this is not ours.
const MAX_FILE_BYTES: u64 = 4 << 30;

/// A line of the journal.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    /// Counts the records of a case from 1.
    n: u64,
    event: Event,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Event {
    /// The first record: what the annotation lies on.
    Case {
        format: u32,
        shape: [usize; 3],
    },
    /// Structures that are there from the start: no step, so that undo does not reach them.
    Seed(Vec<Structure>),
    Step(Step),
    Undo,
    Redo,
    Progress(Progress),
    /// A structure that has another name on all cases: no step, and the case is as done as it was.
    Rename {
        from: String,
        to: String,
    },
}

/// The state after record `n`.
#[derive(Debug, Serialize, Deserialize)]
struct Snapshot {
    format: u32,
    n: u64,
    shape: [usize; 3],
    progress: Progress,
    revision: u64,
    structures: Vec<Structure>,
    masks: BTreeMap<u16, Runs>,
    prompts: Vec<(Place, SlicePrompts)>,
    undo: Vec<Step>,
    redo: Vec<Step>,
}

/// An annotation and its files.
#[derive(Debug)]
pub(crate) struct Store {
    annotation: Annotation,
    folder: PathBuf,
    /// The case's name, which is written beside its journal.
    name: String,
    /// A hash of the image's values, where it is written beside the journal.
    content: Option<String>,
    /// Series Instance UID, where the image is one of DICOM files.
    series: Option<String>,
    /// Made with the first change: cases that were only looked at leave no files.
    journal: Option<File>,
    /// Bytes of whole records.
    pub(super) length: u64,
    pub(super) n: u64,
    /// Set when a record could not be taken back after a failed write.
    broken: bool,
}

impl Store {
    /// Opens the work on a case in its own folder, which is made with the first change.
    pub(crate) fn open(folder: &Path, grid: VolumeGeometry) -> Result<Self> {
        let (annotation, n) = match read_snapshot(&folder.join(SNAPSHOT), &grid)? {
            Some(restored) => restored,
            None => (Annotation::new(grid), 0),
        };
        let mut store = Self {
            annotation,
            folder: folder.to_owned(),
            name: String::new(),
            content: None,
            series: None,
            journal: None,
            length: 0,
            n,
            broken: false,
        };
        let path = folder.join(JOURNAL);
        if path.exists() {
            store
                .replay(open_journal(&path)?)
                .with_context(|| format!("reading {}", path.display()))?;
        }
        if store.length > LONG_JOURNAL_BYTES
            && let Err(error) = store.compact()
        {
            // The journal holds everything; a full disk must not keep the work from being opened.
            synthfm_image::tell(&format!(
                "warning: {}: {}",
                folder.display(),
                one_line(error.as_ref())
            ));
        }
        Ok(store)
    }

    /// The store of a case of this name, whose image has a content where its identifiers alone do not tell it.
    pub(crate) fn about(mut self, name: &str, content: Option<String>) -> Self {
        name.clone_into(&mut self.name);
        self.content = content;
        self
    }

    /// The store of a case of a series of DICOM files.
    pub(crate) fn of_series(mut self, uid: Option<&str>) -> Self {
        self.series = uid.map(str::to_owned);
        self
    }

    /// The work itself.
    pub(crate) const fn annotation(&self) -> &Annotation {
        &self.annotation
    }

    /// Whether nothing was written about the case yet.
    pub(crate) const fn is_untouched(&self) -> bool {
        self.n == 0
    }

    /// Puts structures on a case of which nothing is written yet; they are, with the first change.
    pub(crate) fn seed(&mut self, structures: Vec<Structure>) -> Result<()> {
        ensure!(self.is_untouched(), "the case has structures already");
        for structure in &structures {
            structure.check().map_err(anyhow::Error::msg)?;
        }
        self.annotation.structures = structures;
        Ok(())
    }

    /// Makes a step; when this returns it is on the disk.
    pub(crate) fn apply(&mut self, step: Step) -> Result<()> {
        self.annotation.check(&step)?;
        ensure_room(&step)?;
        let event = Event::Step(step);
        self.write(&event)?;
        match event {
            Event::Step(step) => self.annotation.apply(step),
            _ => Ok(()),
        }
    }

    /// Takes the last step back; what it was.
    pub(crate) fn undo(&mut self) -> Result<String> {
        ensure!(
            self.annotation.next_steps()[0].is_some(),
            "there is nothing to undo"
        );
        self.write(&Event::Undo)?;
        self.annotation.undo()
    }

    /// Makes the last undone step again; what it was.
    pub(crate) fn redo(&mut self) -> Result<String> {
        ensure!(
            self.annotation.next_steps()[1].is_some(),
            "there is nothing to redo"
        );
        self.write(&Event::Redo)?;
        self.annotation.redo()
    }

    /// Gives the structures of a name another one that none has; whether there was one.
    pub(crate) fn rename(&mut self, from: &str, to: &str) -> Result<bool> {
        let structures = &self.annotation.structures;
        let has = |name: &str| structures.iter().any(|s| s.name == name);
        if !has(from) {
            return Ok(false);
        }
        ensure!(!has(to), "there is a structure called {to:?} already");
        let (from, to) = (from.to_owned(), to.to_owned());
        let event = Event::Rename { from, to };
        self.write(&event)?;
        self.make(event)?;
        Ok(true)
    }

    /// Says how far the work is.
    pub(crate) fn set_progress(&mut self, progress: Progress) -> Result<()> {
        if progress != self.annotation.progress {
            self.write(&Event::Progress(progress))?;
            self.annotation.progress = progress;
        }
        Ok(())
    }

    /// Replaces a very long journal by a snapshot.
    pub(crate) fn tidy(&mut self) -> Result<()> {
        if self.length > VERY_LONG_JOURNAL_BYTES {
            self.compact()?;
        }
        Ok(())
    }

    /// Replaces a long journal by a snapshot, when the case is closed.
    pub(crate) fn close(mut self) -> Result<()> {
        if self.length > LONG_JOURNAL_BYTES {
            self.compact()?;
        }
        Ok(())
    }

    fn write(&mut self, event: &Event) -> Result<()> {
        if self.broken {
            bail!(
                "an earlier change could not be written; free some space and start the server again"
            );
        }
        let mut lines = Vec::new();
        let mut n = self.n;
        let mut add = |event: &Event| -> Result<()> {
            n += 1;
            serde_json::to_writer(&mut lines, &BorrowedRecord { n, event })?;
            lines.push(b'\n');
            Ok(())
        };
        if self.length == 0 {
            let shape = self.annotation.grid.shape();
            add(&Event::Case {
                format: FORMAT,
                shape,
            })?;
        }
        if self.n == 0 && !self.annotation.structures.is_empty() {
            add(&Event::Seed(self.annotation.structures.clone()))?;
        }
        add(event)?;
        self.append(&lines)?;
        self.n = n;
        Ok(())
    }

    /// Adds whole lines; when this returns they are on the disk.
    fn append(&mut self, lines: &[u8]) -> Result<()> {
        let place = self.folder.display().to_string();
        let journal = match &mut self.journal {
            Some(journal) => journal,
            none => {
                create_folder(&self.folder)?;
                let about = json!({
                    "synthfm": crate::VERSION,
                    "name": self.name,
                    "content": self.content,
                    "series": self.series,
                });
                write_json(&self.folder.join(ABOUT), &about)?;
                none.insert(open_journal(&self.folder.join(JOURNAL))?)
            }
        };
        let written = journal.write_all(lines).and_then(|()| journal.sync_data());
        if let Err(error) = written {
            // What was not confirmed must not come back at the next start.
            self.broken = cut(&self.folder, self.length).is_err();
            return Err(error).with_context(|| format!("saving the annotation in {place}"));
        }
        self.length += lines.len() as u64;
        Ok(())
    }

    /// Makes the journal's records that the snapshot does not hold; cuts off half a record at the end.
    fn replay(&mut self, mut journal: File) -> Result<()> {
        let bytes = journal.metadata()?.len();
        ensure!(bytes <= MAX_FILE_BYTES, "{bytes} bytes are too many");
        journal.seek(SeekFrom::Start(0))?;
        let mut reader = BufReader::new(journal.try_clone()?).take(bytes);
        let mut line = Vec::new();
        for number in 1.. {
            line.clear();
            let read = reader.read_until(b'\n', &mut line)?;
            if read == 0 || line.last() != Some(&b'\n') {
                break;
            }
            let record: Record = serde_json::from_slice(&line)
                .with_context(|| format!("line {number} is damaged"))?;
            if record.n > self.n {
                self.n = record.n;
                self.make(record.event)
                    .with_context(|| format!("line {number}"))?;
            }
            self.length += read as u64;
        }
        if self.length < bytes {
            cut(&self.folder, self.length)?;
        }
        self.journal = Some(journal);
        Ok(())
    }

    fn make(&mut self, event: Event) -> Result<()> {
        match event {
            Event::Case { format, shape } => check_case(format, shape, &self.annotation.grid)?,
            Event::Step(step) => {
                self.annotation.check(&step)?;
                self.annotation.apply(step)?;
            }
            Event::Seed(structures) => self.annotation.structures = structures,
            Event::Undo => drop(self.annotation.undo()?),
            Event::Redo => drop(self.annotation.redo()?),
            Event::Progress(progress) => self.annotation.progress = progress,
            Event::Rename { from, to } => self.annotation.rename(&from, &to),
        }
        Ok(())
    }

    /// Replaces the journal by a snapshot.
    pub(super) fn compact(&mut self) -> Result<()> {
        let Annotation {
            grid,
            structures,
            masks,
            prompts,
            undo,
            redo,
            progress,
            revision,
        } = &self.annotation;
        let snapshot = Snapshot {
            format: FORMAT,
            n: self.n,
            shape: grid.shape(),
            progress: *progress,
            revision: *revision,
            structures: structures.clone(),
            masks: masks
                .iter()
                .map(|(&id, bits)| (id, bits.runs(grid)))
                .collect(),
            prompts: prompts.iter().map(|(k, v)| (*k, v.clone())).collect(),
            undo: undo.clone(),
            redo: redo.clone(),
        };
        create_folder(&self.folder)?;
        write_json(&self.folder.join(SNAPSHOT), &snapshot)?;
        if self.journal.is_some() {
            cut(&self.folder, 0)?;
        }
        self.length = 0;
        Ok(())
    }
}

/// The content of the image whose annotation lies in a folder; `None` where it is not known.
pub(crate) fn content_of(folder: &Path) -> Option<String> {
    let text = fs::read(folder.join(ABOUT)).ok()?;
    let about: serde_json::Value = serde_json::from_slice(&text).ok()?;
    Some(about.get("content")?.as_str()?.to_owned())
}

fn open_journal(path: &Path) -> Result<File> {
    OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .open(path)
        .with_context(|| format!("opening {}", path.display()))
}

/// Cuts the journal to so many bytes. Windows does not let a file that was opened to append be cut, so that it is opened
/// once more.
fn cut(folder: &Path, length: u64) -> std::io::Result<()> {
    let journal = OpenOptions::new().write(true).open(folder.join(JOURNAL))?;
    journal.set_len(length)
}

/// [`Record`] without a copy of the event.
#[derive(Serialize)]
struct BorrowedRecord<'a> {
    n: u64,
    event: &'a Event,
}

/// Structures are limited, for each may take a bit per voxel.
fn ensure_room(step: &Step) -> Result<()> {
    for change in &step.changes {
        if let super::Change::Structures { after, .. } = change {
            ensure!(
                after.len() <= MAX_STRUCTURES,
                "a case has at most {MAX_STRUCTURES} structures"
            );
        }
    }
    Ok(())
}

fn check_case(format: u32, shape: [usize; 3], grid: &VolumeGeometry) -> Result<()> {
    ensure!(
        (1..=FORMAT).contains(&format),
        "written in format {format} by another version of synthfm; this one reads formats 1 to {FORMAT}"
    );
    let found = grid.shape();
    ensure!(
        shape == found,
        "the annotation lies on an image of {shape:?} voxels, but the image has {found:?}: was it replaced?"
    );
    Ok(())
}

fn read_snapshot(path: &Path, grid: &VolumeGeometry) -> Result<Option<(Annotation, u64)>> {
    let what = || format!("reading {}", path.display());
    let Ok(metadata) = fs::metadata(path) else {
        return Ok(None);
    };
    ensure!(
        metadata.len() <= MAX_FILE_BYTES,
        "{}: too large",
        path.display()
    );
    let file = BufReader::new(File::open(path).with_context(what)?);
    let snapshot: Snapshot = serde_json::from_reader(file).with_context(what)?;
    let Snapshot {
        format,
        n,
        shape,
        progress,
        revision,
        structures,
        masks,
        prompts,
        undo,
        redo,
    } = snapshot;
    check_case(format, shape, grid).with_context(what)?;
    let mut annotation = Annotation {
        progress,
        revision,
        structures,
        undo,
        redo,
        prompts: prompts.into_iter().collect(),
        ..Annotation::new(grid.clone())
    };
    for (id, runs) in masks {
        check_run_lengths(&runs, grid.len()).with_context(what)?;
        annotation
            .masks
            .insert(id, BitVolume::from_runs(grid, &runs));
    }
    for step in annotation.undo.iter().chain(&annotation.redo) {
        annotation.check(step).with_context(what)?;
    }
    Ok(Some((annotation, n)))
}
