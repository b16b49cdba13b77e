//! The search for images below the opened folder.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use synthfm_image::{OpenOptions, ReadOptions, SeriesSummary, list_series, one_line};

use super::identity::{Identity, of_file, of_series};
use super::{
    Case, ENDINGS, Inner, LABEL_FOLDERS, MAX_CASES, MAX_DEPTH, STRUCTURE_ENDINGS, has_ending,
    inside, size_of, upload,
};

/// Where DICOM files say what they are.
const DICOM_MARK: (u64, &[u8; 4]) = (128, b"DICM");

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
    pub(super) fn list(&mut self, path: &Path, work: &Path, max_bytes: u64) -> Result<()> {
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
                Err(error) => {
                    synthfm_image::tell(&format!(
                        "warning: {}: {}",
                        path.display(),
                        one_line(error.as_ref())
                    ));
                }
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
        } else if has_ending(&name) && entry.is_file() && !is_label_of_another(entry, &name) {
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
        let Identity {
            id,
            earlier,
            uncertain,
            content,
        } = of_file(path, &name)?;
        self.cases.push(Case {
            id,
            earlier,
            uncertain,
            bytes: size_of(path)?,
            name,
            uploaded: false,
            path: path.to_owned(),
            root: root.to_owned(),
            series: None,
            identity: None,
            content,
            series_uid: None,
            note: None,
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
        let found = list_series(folder, &options)?;
        for series in &found {
            if self.cases.len() >= MAX_CASES {
                self.left_out += 1;
                continue;
            }
            let shared = found.iter().filter(|other| other.uid == series.uid).count() > 1;
            let copy = self
                .cases
                .iter()
                .any(|case| case.identity.as_ref() == Some(&series.identity));
            let identity = of_series(series, &place, shared, copy);
            self.cases
                .push(series_case(series, identity, &place, folder, root));
        }
        Ok(())
    }

    pub(super) fn list_uploads(&mut self, uploads: &Path) -> Result<()> {
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

/// Whether a file is called as the labels of an image beside it: `NAME_label`, `NAME_mask` or `NAME_seg`.
fn is_label_of_another(path: &Path, name: &str) -> bool {
    let lower = name.to_lowercase();
    let ending = ENDINGS.iter().find(|ending| lower.ends_with(*ending));
    let stem = &name[..name.len() - ending.map_or(0, |ending| ending.len())];
    let kinds = ["_label", "_mask", "_seg"];
    let image = kinds.iter().find_map(|kind| stem.strip_suffix(kind));
    image.is_some_and(|image| {
        let beside = |ending: &str| path.with_file_name(format!("{image}{ending}")).is_file();
        ENDINGS.iter().any(|ending| beside(ending))
    })
}

fn series_case(
    series: &SeriesSummary,
    Identity {
        id,
        earlier,
        uncertain,
        content,
    }: Identity,
    place: &str,
    folder: &Path,
    root: &Path,
) -> Case {
    let what = series.description.as_ref().or(series.modality.as_ref());
    let what = what.map(|text| text.replace(['/', '\\'], " "));
    let name = format!("{place}/{} {}", series.index, what.unwrap_or_default());
    let values = series.slices * series.rows * series.columns;
    Case {
        id,
        earlier,
        uncertain,
        name: name.trim_end().to_owned(),
        uploaded: false,
        bytes: 2 * values as u64,
        path: folder.to_owned(),
        root: root.to_owned(),
        series: Some(series.index.to_string()),
        identity: Some(series.identity.clone()),
        content,
        series_uid: Some(series.uid.clone()).filter(|uid| !uid.is_empty()),
        note: None,
    }
}

/// Whether a folder holds DICOM files: one that ends so, or one of another name that says so inside.
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
        // Names without an ending, UIDs, `.IMA` and whatever else a scanner or an archive calls its files.
        let other = ENDINGS.iter().all(|ending| !lower.ends_with(ending));
        other && !name.starts_with('.') && path.is_file() && has_dicom_mark(path).unwrap_or(false)
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
pub(super) fn check_links(root: &Path, folder: &Path, depth: usize) -> Result<()> {
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
