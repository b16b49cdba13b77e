//! The cases of a server: images below the opened folder, and uploads.
//!
//! A request names a case by an identifier, never by a path, so that it cannot reach another file. Links are followed
//! only where they stay below the folder, which is checked again when a file is opened.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, bail};
use serde::Serialize;
use sha2::{Digest, Sha256};
use synthfm_image::{OpenOptions, ReadOptions, list_series};
use synthfm_sam::hex;

use super::annotation::Progress;
use crate::output::{one_line, write_json};

/// Endings of files that are listed.
pub(super) const ENDINGS: [&str; 16] = [
    ".nii.gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd", ".png", ".jpg", ".jpeg", ".bmp", ".tif",
    ".tiff", ".npy", ".npz", ".dcm", ".dicom",
];
/// Endings of files that hold structures rather than images.
const STRUCTURE_ENDINGS: [&str; 3] = [".seg.nrrd", ".seg.dcm", ".rtstruct.dcm"];
/// Where DICOM files say what they are.
const DICOM_MARK: (u64, &[u8; 4]) = (128, b"DICM");
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
    /// Of a folder of DICOM files: the image's number in the list of them.
    series: Option<String>,
}

impl Case {
    /// Which image of a folder of DICOM files it is.
    pub(super) fn series(&self) -> Option<&str> {
        self.series.as_deref()
    }

    /// The file, checked to lie below its root at this moment.
    pub(super) fn file(&self) -> Result<PathBuf> {
        if self.series.is_some() {
            check_links(&self.root, &self.path, MAX_DEPTH)?;
        }
        inside(&self.root, &self.path)
    }

    /// The name of the file without its ending, in characters that every file system takes.
    pub(super) fn stem(&self) -> String {
        if self.series.is_some() {
            let parts: Vec<&str> = self.name.rsplit('/').take(2).collect();
            return plain(&parts.into_iter().rev().collect::<Vec<_>>().join("_"));
        }
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

/// Where the search for images is.
struct Search<'a> {
    root: PathBuf,
    work: &'a Path,
    max_bytes: u64,
    /// Folders to look into, the next one last.
    open: Vec<Folder>,
}

/// A folder to look into.
struct Folder {
    path: PathBuf,
    depth: usize,
    /// Whether its DICOM files are listed already, with those of a folder above.
    has_series: bool,
}

impl Inner {
    fn list(&mut self, path: &Path, work: &Path, max_bytes: u64) -> Result<()> {
        let root = path
            .canonicalize()
            .with_context(|| format!("opening {}", path.display()))?;
        if root.is_file() {
            let above = root.parent().unwrap_or(Path::new("/")).to_owned();
            return self.add(&root, &above);
        }
        let first = Folder {
            path: root.clone(),
            depth: 0,
            has_series: false,
        };
        let mut search = Search {
            root,
            work,
            max_bytes,
            open: vec![first],
        };
        while let Some(folder) = search.open.pop() {
            self.look_into(folder, &mut search)?;
        }
        Ok(())
    }

    /// Adds the images of a folder, and notes the folders in it.
    fn look_into(&mut self, mut folder: Folder, search: &mut Search) -> Result<()> {
        let path = &folder.path;
        let mut entries: Vec<PathBuf> = fs::read_dir(path)
            .with_context(|| format!("listing {}", path.display()))?
            .flatten()
            .map(|entry| entry.path())
            .collect();
        entries.sort();
        if !folder.has_series && is_dicom_folder(&entries) {
            match self.add_dicom(path, &search.root, search.max_bytes) {
                Ok(()) => folder.has_series = true,
                Err(error) => eprintln!("warning: {}: {}", path.display(), one_line(&error)),
            }
        }
        let mut deeper = Vec::new();
        for entry in entries {
            self.visit(&entry, &folder, search, &mut deeper)?;
        }
        if folder.depth < MAX_DEPTH {
            let below = |path| Folder {
                path,
                depth: folder.depth + 1,
                has_series: folder.has_series,
            };
            search.open.extend(deeper.into_iter().rev().map(below));
        } else {
            self.left_out += deeper.len();
        }
        Ok(())
    }

    fn visit(
        &mut self,
        entry: &Path,
        folder: &Folder,
        search: &Search,
        deeper: &mut Vec<PathBuf>,
    ) -> Result<()> {
        let name = entry.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with('.') || (folder.has_series && is_dicom_name(&name)) {
            return Ok(());
        }
        if entry.is_dir() {
            // Links to folders could lead in circles.
            let own = LABEL_FOLDERS.contains(&&*name) || entry == search.work;
            if !own && !entry.is_symlink() {
                deeper.push(entry.to_owned());
            }
        } else if has_ending(&name) && entry.is_file() {
            if inside(&search.root, entry).is_err() || self.cases.len() >= MAX_CASES {
                self.left_out += 1;
            } else {
                self.add(entry, &search.root)?;
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
            series: None,
        });
        Ok(())
    }

    /// Adds the images of a folder of DICOM files and of those below it.
    fn add_dicom(&mut self, folder: &Path, root: &Path, max_bytes: u64) -> Result<()> {
        let options = OpenOptions {
            read: ReadOptions { max_bytes },
            ..OpenOptions::default()
        };
        let below = folder.strip_prefix(root).unwrap_or(folder);
        let parts = below.iter().map(|part| part.to_string_lossy());
        let mut place = parts.collect::<Vec<_>>().join("/");
        if place.is_empty() {
            let own = folder.file_name().unwrap_or_default();
            place = own.to_string_lossy().into_owned();
        }
        check_links(root, folder, MAX_DEPTH)?;
        for series in list_series(folder, &options)? {
            if self.cases.len() >= MAX_CASES {
                self.left_out += 1;
                continue;
            }
            let what = series.description.or(series.modality).unwrap_or_default();
            let what = what.replace(['/', '\\'], " ");
            let values = series.slices * series.rows * series.columns;
            self.cases.push(Case {
                id: identifier(
                    "series",
                    &format!("{place}\0{}\0{}", series.uid, series.index),
                ),
                name: format!("{place}/{} {what}", series.index)
                    .trim_end()
                    .to_owned(),
                uploaded: false,
                bytes: 2 * values as u64,
                path: folder.to_owned(),
                root: root.to_owned(),
                series: Some(series.index.to_string()),
            });
        }
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
        series: None,
    })
}

fn size_of(path: &Path) -> Result<u64> {
    let metadata = fs::metadata(path).with_context(|| path.display().to_string())?;
    Ok(metadata.len())
}

fn identifier(kind: &str, name: &str) -> CaseId {
    let digest = Sha256::digest(format!("{kind}\0{name}"));
    hex(&digest[..8])
}

/// Whether a file of this name is listed.
pub(super) fn has_ending(name: &str) -> bool {
    let lower = name.to_lowercase();
    let ends = |endings: &[&str]| endings.iter().any(|ending| lower.ends_with(ending));
    ends(&ENDINGS) && !ends(&STRUCTURE_ENDINGS)
}

/// Whether a folder holds DICOM files: one that ends so, or one without an ending that says so inside.
fn is_dicom_folder(entries: &[PathBuf]) -> bool {
    let says = |path: &&PathBuf| -> bool {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let lower = name.to_lowercase();
        if is_dicom_name(&name) {
            return !STRUCTURE_ENDINGS
                .iter()
                .any(|ending| lower.ends_with(ending))
                && path.is_file();
        }
        // UIDs as names have dots, but no ending of letters.
        let bare = path
            .extension()
            .is_none_or(|ending| ending.to_string_lossy().chars().all(|c| c.is_ascii_digit()));
        bare && !name.starts_with('.') && path.is_file() && has_dicom_mark(path).unwrap_or(false)
    };
    // A look at some files tells; a folder of thousands is not read for it.
    entries.iter().take(64).any(|path| says(&path))
}

fn is_dicom_name(name: &str) -> bool {
    let lower = name.to_lowercase();
    let endings = [".dcm", ".dicom"];
    endings.iter().any(|ending| lower.ends_with(ending))
}

/// Refuses folders with links that lead out of `root`: the files of a series are read together.
fn check_links(root: &Path, folder: &Path, depth: usize) -> Result<()> {
    let entries = fs::read_dir(folder).with_context(|| format!("listing {}", folder.display()))?;
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.is_symlink() {
            inside(root, &path)?;
        } else if path.is_dir() && depth > 0 {
            check_links(root, &path, depth - 1)?;
        }
    }
    Ok(())
}

fn has_dicom_mark(path: &Path) -> std::io::Result<bool> {
    let (place, mark) = DICOM_MARK;
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(place))?;
    let mut found = [0; 4];
    file.read_exact(&mut found)?;
    Ok(found == *mark)
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
        let catalog = Catalog::open(Some(&root), &work, &work.join("uploads"), 1 << 20).unwrap();
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
        let again = Catalog::open(Some(&root), &work, &work.join("uploads"), 1 << 20).unwrap();
        assert_eq!(again.summaries()[3].state, Progress::Done);
        assert!(again.get("../../etc/passwd").is_none());
    }

    #[test]
    fn folders_of_dicom_files_are_series() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        let series = root.join("patient");
        fs::create_dir(&series).unwrap();
        let fixtures =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../synthfm-image/tests/fixtures/formats");
        touch(&series.join("photo.png"));
        fs::copy(fixtures.join("us_ybr.dcm"), series.join("1.2.840.1")).unwrap();
        touch(&root.join("a.seg.nrrd"));
        let work = root.join("work");
        let catalog = Catalog::open(Some(&root), &work, &work.join("uploads"), 1 << 20).unwrap();
        let [case, photo] = &catalog.summaries()[..] else {
            panic!("{:?}", names(&catalog));
        };
        assert_eq!(photo.name, "patient/photo.png");
        assert!(case.name.starts_with("patient/1"), "{}", case.name);
        let case = catalog.get(&case.id).unwrap();
        assert_eq!((case.series(), case.file().unwrap()), (Some("1"), series));
        assert!(case.stem().starts_with("patient_1"));
        #[cfg(unix)]
        {
            let secret = tempfile::NamedTempFile::new().unwrap();
            std::os::unix::fs::symlink(secret.path(), root.join("patient/2.dcm")).unwrap();
            assert!(case.file().is_err());
        }
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
        let catalog = Catalog::open(Some(&root), &work, &work.join("uploads"), 1 << 20).unwrap();
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
