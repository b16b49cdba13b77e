//! The cases of a server: images below the opened folder, and uploads.
//!
//! A request names a case by an identifier, never by a path, so that it cannot reach another file. Links are followed
//! only where they stay below the folder, which is checked again when a file is opened.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, bail};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::annotation::Progress;
use crate::output::write_json;

/// Endings of files that are listed.
pub(super) const ENDINGS: [&str; 4] = [".nii.gz", ".nii", ".png", ".npy"];
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
    /// What the file must lie below.
    root: PathBuf,
}

impl Case {
    /// The file, checked to lie below its root at this moment.
    pub(super) fn file(&self) -> Result<PathBuf> {
        inside(&self.root, &self.path)
    }

    /// The name of the file without its ending, in characters that every file system takes.
    pub(super) fn stem(&self) -> String {
        let name = self.name.rsplit('/').next().unwrap_or_default();
        let lower = name.to_lowercase();
        let ending = ENDINGS.iter().find(|ending| lower.ends_with(*ending));
        plain(&name[..name.len() - ending.map_or(0, |ending| ending.len())])
    }
}

/// What the list of the page says about a case.
#[derive(Debug, Clone, Serialize)]
pub(super) struct CaseSummary {
    pub(super) id: CaseId,
    pub(super) name: String,
    pub(super) uploaded: bool,
    pub(super) bytes: u64,
    pub(super) state: Progress,
}

/// All cases in order, with their states.
#[derive(Debug)]
pub(super) struct Catalog {
    /// Where states are kept.
    work: PathBuf,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    cases: Vec<Case>,
    states: BTreeMap<CaseId, Progress>,
    /// Files that were left out, for the note at the start.
    left_out: usize,
}

impl Catalog {
    /// Lists a file, or the images below a folder, and the uploads below `uploads`.
    pub(super) fn open(path: Option<&Path>, work: &Path, uploads: &Path) -> Result<Self> {
        let mut inner = Inner::default();
        if let Some(path) = path {
            inner.list(path, work)?;
        }
        inner.list_uploads(uploads)?;
        let states = work.join(STATES);
        if let Ok(text) = fs::read(&states) {
            inner.states = serde_json::from_slice(&text)
                .with_context(|| format!("reading {}", states.display()))?;
        }
        Ok(Self {
            work: work.to_owned(),
            inner: Mutex::new(inner),
        })
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
        };
        inner.cases.iter().map(summary).collect()
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

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn list(&mut self, path: &Path, work: &Path) -> Result<()> {
        let found = path
            .canonicalize()
            .with_context(|| format!("opening {}", path.display()))?;
        if found.is_file() {
            let root = found.parent().unwrap_or(Path::new("/")).to_owned();
            return self.add(&found, &root);
        }
        // Breadth first keeps files of a folder together; names decide the order.
        let mut folders = vec![(found.clone(), 0)];
        while let Some((folder, depth)) = folders.pop() {
            let mut entries: Vec<PathBuf> = fs::read_dir(&folder)
                .with_context(|| format!("listing {}", folder.display()))?
                .flatten()
                .map(|entry| entry.path())
                .collect();
            entries.sort();
            let mut deeper = Vec::new();
            for entry in entries {
                self.visit(&entry, &found, work, &mut deeper)?;
            }
            if depth < MAX_DEPTH {
                folders.extend(deeper.into_iter().rev().map(|folder| (folder, depth + 1)));
            } else {
                self.left_out += deeper.len();
            }
        }
        Ok(())
    }

    fn visit(
        &mut self,
        entry: &Path,
        root: &Path,
        work: &Path,
        deeper: &mut Vec<PathBuf>,
    ) -> Result<()> {
        let name = entry.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with('.') {
            return Ok(());
        }
        let is_link = entry.is_symlink();
        if entry.is_dir() {
            // Links to folders could lead in circles.
            if !is_link && !LABEL_FOLDERS.contains(&&*name) && entry != work {
                deeper.push(entry.to_owned());
            }
        } else if has_ending(&name) && entry.is_file() {
            if inside(root, entry).is_err() || self.cases.len() >= MAX_CASES {
                self.left_out += 1;
            } else {
                self.add(entry, root)?;
            }
        }
        Ok(())
    }

    fn add(&mut self, path: &Path, root: &Path) -> Result<()> {
        let below = path.strip_prefix(root).unwrap_or(path);
        let parts = below.iter().map(|part| part.to_string_lossy());
        let name = parts.collect::<Vec<_>>().join("/");
        self.cases.push(Case {
            id: identifier("folder", &name),
            bytes: size_of(path)?,
            name,
            uploaded: false,
            path: path.to_owned(),
            root: root.to_owned(),
        });
        Ok(())
    }

    fn list_uploads(&mut self, uploads: &Path) -> Result<()> {
        let Ok(entries) = fs::read_dir(uploads) else {
            return Ok(());
        };
        let mut folders: Vec<PathBuf> = entries.flatten().map(|e| e.path()).collect();
        folders.sort();
        for folder in folders.iter().filter(|folder| folder.is_dir()) {
            let files = fs::read_dir(folder).with_context(|| folder.display().to_string())?;
            for file in files.flatten().map(|e| e.path()) {
                let name = file.file_name().unwrap_or_default().to_string_lossy();
                if has_ending(&name) && !name.starts_with('.') && self.cases.len() < MAX_CASES {
                    self.cases.push(upload(&file, uploads)?);
                }
            }
        }
        Ok(())
    }
}

fn upload(path: &Path, uploads: &Path) -> Result<Case> {
    let root = uploads
        .canonicalize()
        .with_context(|| uploads.display().to_string())?;
    let folder = path.parent().and_then(Path::file_name).unwrap_or_default();
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    Ok(Case {
        id: identifier("upload", &format!("{}/{name}", folder.to_string_lossy())),
        name: name.into_owned(),
        uploaded: true,
        bytes: size_of(path)?,
        path: path.to_owned(),
        root,
    })
}

fn size_of(path: &Path) -> Result<u64> {
    let metadata = fs::metadata(path).with_context(|| path.display().to_string())?;
    Ok(metadata.len())
}

fn identifier(kind: &str, name: &str) -> CaseId {
    let digest = Sha256::digest(format!("{kind}\0{name}"));
    digest[..8]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Whether a file of this name is listed.
pub(super) fn has_ending(name: &str) -> bool {
    let lower = name.to_lowercase();
    ENDINGS.iter().any(|ending| lower.ends_with(ending))
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

/// A name in letters, digits, `.`, `-` and `_`, at most 80 of them, that is not hidden.
pub(super) fn plain(name: &str) -> String {
    let allowed = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
    let kept = name.chars().map(|c| if allowed(c) { c } else { '_' });
    let kept: Vec<char> = kept.collect();
    let start = kept.len().saturating_sub(80);
    let text: String = kept[start..].iter().collect();
    let text = text.trim_start_matches('.');
    if text.is_empty() {
        "unnamed".to_owned()
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn touch(path: &Path) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, b"x").unwrap();
    }

    fn names(catalog: &Catalog) -> Vec<String> {
        catalog.summaries().into_iter().map(|c| c.name).collect()
    }

    #[test]
    fn images_are_listed_and_labels_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("data");
        for name in [
            "imagesTs/b_0000.nii.gz",
            "imagesTs/a_0000.NII",
            "labelsTs/a.nii",
            "scan.png",
            "notes.txt",
            ".hidden/x.png",
            "deep/er/c.npy",
            "work/uploads/1/u.png",
        ] {
            touch(&root.join(name));
        }
        let work = root.canonicalize().unwrap().join("work");
        let catalog = Catalog::open(Some(&root), &work, &work.join("uploads")).unwrap();
        let expected = [
            "scan.png",
            "deep/er/c.npy",
            "imagesTs/a_0000.NII",
            "imagesTs/b_0000.nii.gz",
            "u.png",
        ];
        assert_eq!(names(&catalog), expected);
        let ids: std::collections::BTreeSet<_> =
            catalog.summaries().into_iter().map(|c| c.id).collect();
        assert_eq!(ids.len(), 5);
        let case = catalog.get(&catalog.summaries()[3].id).unwrap();
        assert_eq!((case.stem(), case.uploaded), ("b_0000".to_owned(), false));
        catalog.set_state(&case.id, Progress::Done).unwrap();
        let again = Catalog::open(Some(&root), &work, &work.join("uploads")).unwrap();
        assert_eq!(again.summaries()[3].state, Progress::Done);
        assert!(again.get("../../etc/passwd").is_none());
    }

    #[cfg(unix)]
    #[test]
    fn links_do_not_lead_out() {
        let folder = tempfile::tempdir().unwrap();
        let (root, secret) = (folder.path().join("data"), folder.path().join("secret.png"));
        touch(&secret);
        touch(&root.join("a.png"));
        std::os::unix::fs::symlink(&secret, root.join("link.png")).unwrap();
        std::os::unix::fs::symlink(folder.path(), root.join("up")).unwrap();
        std::os::unix::fs::symlink(root.join("a.png"), root.join("same.png")).unwrap();
        let work = folder.path().join("work");
        fs::create_dir(&work).unwrap();
        let catalog = Catalog::open(Some(&root), &work, &work.join("uploads")).unwrap();
        assert_eq!(
            (names(&catalog), catalog.left_out()),
            (vec!["a.png".to_owned(), "same.png".to_owned()], 1)
        );
        // A file that became a link since.
        let case = catalog.get(&catalog.summaries()[0].id).unwrap();
        assert!(case.file().is_ok());
        fs::remove_file(root.join("a.png")).unwrap();
        std::os::unix::fs::symlink(&secret, root.join("a.png")).unwrap();
        assert!(case.file().unwrap_err().to_string().contains("leads out"));
    }

    #[test]
    fn names_become_plain() {
        for (name, expected) in [
            ("scan 1.nii.gz", "scan_1.nii.gz"),
            ("../../etc/passwd", "_.._etc_passwd"),
            ("...", "unnamed"),
            ("", "unnamed"),
            ("ä\0/b.png", "___b.png"),
        ] {
            assert_eq!(plain(name), expected);
        }
        assert_eq!(plain(&"x".repeat(300)).len(), 80);
    }
}
