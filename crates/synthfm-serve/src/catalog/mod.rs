//! The cases of a server: images below the opened folder, and uploads.
//!
//! A request names a case by an identifier, never by a path, so that it cannot reach another file. Links are followed
//! only where they stay below the folder, which is checked again when a file is opened.

mod identity;
mod search;
mod watch;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, bail};
use serde::Serialize;

use super::annotation::Progress;
use synthfm_image::{avoid_device_name, write_json};
pub(super) use watch::{Signature, signature};

/// Endings of files that are listed.
pub(super) const ENDINGS: [&str; 16] = [
    ".nii.gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd", ".png", ".jpg", ".jpeg", ".bmp", ".tif",
    ".tiff", ".npy", ".npz", ".dcm", ".dicom",
];
/// Endings of files that hold structures rather than images.
const STRUCTURE_ENDINGS: [&str; 3] = [".seg.nrrd", ".seg.dcm", ".rtstruct.dcm"];
/// Folders that hold labels or our own files rather than images.
const LABEL_FOLDERS: [&str; 10] = [
    "labels",
    "labelsTr",
    "labelsTs",
    "labelsVal",
    "masks",
    "annotations",
    "instances",
    "recipes",
    "synthfm-annotations",
    "synthfm-review",
];
const MAX_CASES: usize = 20_000;
const MAX_DEPTH: usize = 12;
const STATES: &str = "states.json";
const TIMES: &str = "times.json";

/// An identifier of a case: 16 hexadecimal digits of the hash of its place.
pub(super) type CaseId = String;

/// An image that can be opened.
#[derive(Debug, Clone)]
pub(super) struct Case {
    pub(super) id: CaseId,
    /// Below the opened folder, with `/`; the file's name for an upload.
    pub(super) name: String,
    pub(super) uploaded: bool,
    pub(super) bytes: u64,
    path: PathBuf,
    /// The folder that the file must lie below.
    root: PathBuf,
    /// The image's number in the list of a folder of DICOM files, or which volume of a file with several,
    /// where another than the first was chosen.
    series: Option<String>,
    /// The instances that form the image, where it is a folder of DICOM files.
    identity: Option<String>,
    /// A hash of the content, where the image is a file.
    content: Option<String>,
    /// The series that the image belongs to, where it is a folder of DICOM files.
    series_uid: Option<String>,
    /// Names that earlier versions gave the case.
    earlier: Vec<CaseId>,
    /// Whether annotations under those names may belong to another image.
    uncertain: bool,
    /// A remark for whoever opens the case.
    note: Option<String>,
}

impl Case {
    /// Which image of a folder of DICOM files it is.
    pub(super) fn series(&self) -> Option<&str> {
        self.series.as_deref()
    }

    /// The hash of the instances that form the image, where it is a folder of DICOM files.
    pub(super) fn identity(&self) -> Option<&str> {
        self.identity.as_deref()
    }

    /// The Series Instance UID, where the image is a folder of DICOM files.
    pub(super) fn series_uid(&self) -> Option<&str> {
        self.series_uid.as_deref()
    }

    /// A hash of the file's content as it was when the case was listed; none for folders.
    pub(super) fn content(&self) -> Option<&str> {
        self.content.as_deref()
    }

    /// The folder that the files of the case must lie below.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// The case with another of the volumes of its file, counted from 1.
    pub(super) fn with_volume(mut self, volume: Option<u64>) -> Self {
        if self.identity.is_none()
            && let Some(volume) = volume
        {
            self.series = Some(volume.to_string());
        }
        self
    }

    /// A remark for whoever opens the case.
    pub(super) fn note(&self) -> Option<&str> {
        self.note.as_deref()
    }

    /// The file, checked to lie below its root at this moment.
    pub(super) fn file(&self) -> Result<PathBuf> {
        if self.identity.is_some() {
            search::check_links(&self.root, &self.path, MAX_DEPTH)?;
        }
        inside(&self.root, &self.path)
    }

    /// Name of the case's label files without ending: the image's without its channel's number (nnU-Net's `_0000`).
    pub(super) fn label_stem(&self) -> String {
        let stem = self.stem();
        let channel = stem.strip_suffix("_0000").filter(|rest| !rest.is_empty());
        channel.map(str::to_owned).unwrap_or(stem)
    }

    /// The name of the file without its ending, in characters that every file system takes.
    pub(super) fn stem(&self) -> String {
        plain(&self.file_stem().0)
    }

    /// The name of the file as it is without its ending, and the ending. Of a series of DICOM files the last two parts
    /// of the case's name.
    pub(super) fn file_stem(&self) -> (String, &'static str) {
        if self.identity.is_some() {
            let parts: Vec<&str> = self.name.rsplit('/').take(2).collect();
            return (parts.into_iter().rev().collect::<Vec<_>>().join("_"), "");
        }
        let name = self.name.rsplit('/').next().unwrap_or_default();
        let lower = name.to_lowercase();
        let ending = ENDINGS.into_iter().find(|ending| lower.ends_with(*ending));
        let ending = ending.unwrap_or_default();
        (name[..name.len() - ending.len()].to_owned(), ending)
    }

    /// The folders that the file lies in, below the opened one.
    pub(super) fn folders(&self) -> &str {
        self.name.rsplit_once('/').map_or("", |(above, _)| above)
    }
}

/// The entry of a case in the list of the page.
#[derive(Debug, Clone, Serialize)]
pub(super) struct CaseSummary {
    pub(super) id: CaseId,
    pub(super) name: String,
    pub(super) uploaded: bool,
    pub(super) bytes: u64,
    pub(super) state: Progress,
    /// Time that people have spent on it.
    pub(super) seconds: f64,
}

/// All cases in order, with their states.
#[derive(Debug)]
pub(super) struct Catalog {
    /// The file or folder that was opened.
    path: Option<PathBuf>,
    max_bytes: u64,
    /// Where states are kept.
    work: PathBuf,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    cases: Vec<Case>,
    states: BTreeMap<CaseId, Progress>,
    /// Seconds of work.
    times: BTreeMap<CaseId, f64>,
    /// Files that were left out, for the note at the start.
    left_out: usize,
}

impl Catalog {
    /// Lists a file, or the images below a folder, and the uploads below `uploads`.
    pub(super) fn open(
        path: Option<&Path>,
        work: &Path,
        uploads: &Path,
        max_bytes: u64,
    ) -> Result<Self> {
        let mut inner = Inner::default();
        if let Some(path) = path {
            inner.list(path, work, max_bytes)?;
        }
        inner.list_uploads(uploads)?;
        let states = work.join(STATES);
        inner.states = kept(&states)?;
        inner.times = kept(&work.join(TIMES))?;
        let annotations = work.join("cases");
        if inner.migrate(&annotations)? {
            write_json(&states, &inner.states)?;
        }
        identity::settle_copies(&mut inner.cases, &annotations);
        identity::note_orphans(&mut inner.cases, &annotations);
        Ok(Self {
            path: path.map(Path::to_owned),
            max_bytes,
            work: work.to_owned(),
            inner: Mutex::new(inner),
        })
    }

    /// Lists the opened folder again; whether other cases are in it now. Uploads stay.
    pub(super) fn refresh(&self) -> Result<bool> {
        let Some(path) = &self.path else {
            return Ok(false);
        };
        let mut found = Inner::default();
        found.list(path, &self.work, self.max_bytes)?;
        let annotations = self.work.join("cases");
        let mut inner = self.lock();
        let uploads = inner.cases.iter().filter(|case| case.uploaded).cloned();
        found.cases.extend(uploads);
        identity::settle_copies(&mut found.cases, &annotations);
        let ids = |cases: &[Case]| -> Vec<CaseId> { cases.iter().map(|c| c.id.clone()).collect() };
        let differs = ids(&found.cases) != ids(&inner.cases);
        if differs {
            identity::note_orphans(&mut found.cases, &annotations);
        } else {
            // Numbers of DICOM series may have changed, notes of the start have not.
            for (new, old) in found.cases.iter_mut().zip(&inner.cases) {
                new.note.clone_from(&old.note);
            }
        }
        (inner.cases, inner.left_out) = (found.cases, found.left_out);
        Ok(differs)
    }

    /// The state of the opened folder at this moment, for comparison; `None` where there is none.
    pub(super) fn signature(&self) -> Option<Signature> {
        let path = self.path.as_deref().filter(|path| path.is_dir())?;
        signature(path, &self.work).ok()
    }

    /// Files that were not listed because there are too many or because they lie elsewhere.
    pub(super) fn left_out(&self) -> usize {
        self.lock().left_out
    }

    pub(super) fn summaries(&self) -> Vec<CaseSummary> {
        let inner = self.lock();
        let summary = |case: &Case| CaseSummary {
            id: case.id.clone(),
            name: case.name.clone(),
            uploaded: case.uploaded,
            bytes: case.bytes,
            state: inner.states.get(&case.id).copied().unwrap_or_default(),
            seconds: inner.times.get(&case.id).copied().unwrap_or_default(),
        };
        inner.cases.iter().map(summary).collect()
    }

    /// All cases.
    pub(super) fn all(&self) -> Vec<Case> {
        self.lock().cases.clone()
    }

    /// The cases that are done.
    pub(super) fn done(&self) -> Vec<Case> {
        let inner = self.lock();
        let is_done = |case: &&Case| inner.states.get(&case.id) == Some(&Progress::Done);
        inner.cases.iter().filter(is_done).cloned().collect()
    }

    pub(super) fn get(&self, id: &str) -> Option<Case> {
        self.lock().cases.iter().find(|c| c.id == id).cloned()
    }

    pub(super) fn len(&self) -> usize {
        self.lock().cases.len()
    }

    /// Adds an upload that lies in `uploads`.
    pub(super) fn add_upload(&self, path: &Path, uploads: &Path) -> Result<Case> {
        let mut inner = self.lock();
        if inner.cases.len() >= MAX_CASES {
            bail!("there are {MAX_CASES} cases already");
        }
        let case = upload(path, uploads)?;
        inner.cases.push(case.clone());
        Ok(case)
    }

    /// Notes how far the work on a case is, for the list.
    pub(super) fn set_state(&self, id: &str, state: Progress) -> Result<()> {
        let mut inner = self.lock();
        if inner.states.get(id).copied().unwrap_or_default() != state {
            inner.states.insert(id.to_owned(), state);
            write_json(&self.work.join(STATES), &inner.states)?;
        }
        Ok(())
    }

    /// Adds to the time that was spent on a case; all of it in seconds.
    pub(super) fn add_time(&self, id: &str, seconds: f64) -> Result<f64> {
        let mut inner = self.lock();
        let spent = inner.times.entry(id.to_owned()).or_default();
        *spent += seconds;
        let spent = *spent;
        write_json(&self.work.join(TIMES), &inner.times)?;
        Ok(spent)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Whether annotations of an earlier version were given to cases.
    fn migrate(&mut self, annotations: &Path) -> Result<bool> {
        identity::migrate(&mut self.cases, annotations, &mut self.states)
    }
}

/// Reads a file that earlier runs kept in the work folder; the default if there is none.
fn kept<T: serde::de::DeserializeOwned + Default>(path: &Path) -> Result<T> {
    match fs::read(path) {
        Ok(text) => {
            serde_json::from_slice(&text).with_context(|| format!("reading {}", path.display()))
        }
        Err(_) => Ok(T::default()),
    }
}

/// The folders of annotations.
pub(super) fn case_folders(annotations: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(annotations).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).collect()
}

fn upload(path: &Path, uploads: &Path) -> Result<Case> {
    let root = uploads
        .canonicalize()
        .with_context(|| uploads.display().to_string())?;
    let folder = path.parent().and_then(Path::file_name).unwrap_or_default();
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    Ok(Case {
        id: identity::identifier("upload", &format!("{}/{name}", folder.to_string_lossy())),
        earlier: Vec::new(),
        uncertain: false,
        identity: None,
        content: None,
        series_uid: None,
        note: None,
        name: name.into_owned(),
        uploaded: true,
        bytes: size_of(path)?,
        path: path.to_owned(),
        root,
        series: None,
    })
}

fn size_of(path: &Path) -> Result<u64> {
    let metadata = fs::metadata(path).with_context(|| path.display().to_string())?;
    Ok(metadata.len())
}

/// Whether a file of this name is listed.
pub(super) fn has_ending(name: &str) -> bool {
    let lower = name.to_lowercase();
    let ends = |endings: &[&str]| endings.iter().any(|ending| lower.ends_with(ending));
    ends(&ENDINGS) && !ends(&STRUCTURE_ENDINGS)
}

/// The file that a path means, if it lies below `root` once all links are followed.
pub(super) fn inside(root: &Path, path: &Path) -> Result<PathBuf> {
    let found = path
        .canonicalize()
        .with_context(|| format!("opening {}", path.display()))?;
    if !found.starts_with(root) {
        bail!("{} leads out of the opened folder", path.display());
    }
    Ok(found)
}

/// A name in letters, digits, `.`, `-` and `_`, at most 80 of them, that is not hidden and that Windows takes.
pub(super) fn plain(name: &str) -> String {
    let allowed = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
    let kept = name.chars().map(|c| if allowed(c) { c } else { '_' });
    let kept: Vec<char> = kept.collect();
    let start = kept.len().saturating_sub(80);
    let text: String = kept[start..].iter().collect();
    match text.trim_matches('.') {
        "" => "unnamed".to_owned(),
        text => avoid_device_name(text),
    }
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "halves are exact")]
mod tests;
