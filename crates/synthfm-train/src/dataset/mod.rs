//! Real data sets with ground truth, for evaluation only.
//! Reads the layout of nnU-Net v2 (Isensee et al. 2021): `dataset.json`, `imagesTs/CASE_0000.EXT`,
//! `labelsTs/CASE.EXT`. Differs: only the first channel of a case is used.

mod load;
mod manifest;
#[cfg(test)]
mod tests;
mod window;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use manifest::{CaseEntry, Manifest, problem};

use crate::Result;

pub use load::{LoadedCase, View};
pub use window::percentile_window;

/// A class of the label maps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Structure {
    /// Its name in `dataset.json`.
    pub name: String,
    /// Its value in the label maps.
    pub label: u16,
}

/// An image with its label map, not yet read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    /// Name, from the file's.
    pub name: String,
    /// Patient; the case's name where the data set does not say.
    pub patient: String,
    /// `CT`, `MR`, `US`, ... in capitals.
    pub modality: String,
    image: PathBuf,
    label: PathBuf,
}

/// What a reader of the results should know about a case.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct CaseNote {
    /// Name of the data set.
    pub dataset: String,
    /// Name of the case.
    pub case: String,
    /// Why it was left out, or how its files were understood.
    pub text: String,
}

/// The cases of one folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dataset {
    /// Its `name`, or the folder's name.
    pub name: String,
    /// The classes in ascending order of their value.
    pub structures: Vec<Structure>,
    /// Whether the values of the label maps number the instances of the first structure.
    pub instances: bool,
    /// The cases that can be read, in order of their names.
    pub cases: Vec<Case>,
    /// The cases that cannot.
    pub skipped: Vec<CaseNote>,
}

impl Dataset {
    /// Reads the description of a folder. Uses `imagesTs` with `labelsTs` if there is a `labelsTs`, otherwise
    /// `imagesTr` with `labelsTr`. Cases without a readable image and label (DICOM, NRRD, missing) are listed in
    /// [`Dataset::skipped`]; a folder in another layout is an error that says what was expected.
    pub fn open(root: &Path) -> Result<Self> {
        let path = root.join("dataset.json");
        if !path.is_file() {
            return Err(problem(
                root,
                format!(
                    "nnU-Net v2's layout expected (dataset.json, imagesTs, labelsTs), found {}",
                    listing(root)
                ),
            ));
        }
        let manifest = Manifest::read(&path)?;
        let (images, labels) = split_folders(root)?;
        let folder_name = root.canonicalize().unwrap_or_else(|_| root.to_owned());
        let folder_name = folder_name.file_name().unwrap_or(root.as_os_str());
        let name = manifest.name.clone();
        let mut dataset = Self {
            name: name.unwrap_or_else(|| folder_name.to_string_lossy().into_owned()),
            structures: manifest.structures(&path)?,
            instances: manifest.instances,
            cases: Vec::new(),
            skipped: Vec::new(),
        };
        dataset.list_cases(root, &manifest, &images, &labels)?;
        if dataset.cases.is_empty() && dataset.skipped.is_empty() {
            let ending = format!("CASE_0000{}", manifest.file_ending);
            let text = format!("files named {ending} expected, found {}", listing(&images));
            return Err(problem(&images, text));
        }
        Ok(dataset)
    }

    fn list_cases(
        &mut self,
        root: &Path,
        manifest: &Manifest,
        images: &Path,
        labels: &Path,
    ) -> Result<()> {
        let entries: BTreeMap<&str, &CaseEntry> = manifest
            .cases
            .iter()
            .map(|entry| (entry.case.as_str(), entry))
            .collect();
        let found = cases_in(images, &manifest.file_ending)?;
        let listed = entries.keys().map(|&name| name.to_owned());
        for name in listed.chain(found).collect::<BTreeSet<String>>() {
            let entry = entries.get(name.as_str()).copied();
            let image = match entry.and_then(|entry| entry.image.as_deref()) {
                Some(relative) => root.join(relative),
                None => images.join(format!("{name}_0000{}", manifest.file_ending)),
            };
            let label = labels.join(format!("{name}{}", manifest.file_ending));
            match check_files(root, &image, &label) {
                Ok(()) => self.cases.push(Case {
                    patient: entry
                        .and_then(|entry| entry.patient.clone())
                        .unwrap_or_else(|| name.clone()),
                    modality: manifest.modality_of(entry),
                    name,
                    image,
                    label,
                }),
                Err(reason) => self.skipped.push(CaseNote {
                    dataset: self.name.clone(),
                    case: name,
                    text: reason,
                }),
            }
        }
        Ok(())
    }
}

/// The folders of images and labels to use.
fn split_folders(root: &Path) -> Result<(PathBuf, PathBuf)> {
    let split = ["Ts", "Tr"].into_iter().find_map(|split| {
        let images = root.join(format!("images{split}"));
        let labels = root.join(format!("labels{split}"));
        // Data sets whose images are all DICOM have no folder of images.
        labels.is_dir().then_some((images, labels))
    });
    split.ok_or_else(|| {
        problem(
            root,
            format!(
                "labelsTs or labelsTr with the ground truth expected, found {}",
                listing(root)
            ),
        )
    })
}

/// Names of the cases that have a first channel in `images`.
fn cases_in(images: &Path, file_ending: &str) -> Result<Vec<String>> {
    if !images.is_dir() {
        return Ok(Vec::new());
    }
    let io = |source| crate::Error::Io {
        path: images.to_owned(),
        source,
    };
    let ending = format!("_0000{file_ending}");
    let mut cases = Vec::new();
    for entry in std::fs::read_dir(images).map_err(io)? {
        let name = entry.map_err(io)?.file_name();
        // macOS leaves "._" files in archives that it made.
        let case = name.to_str().and_then(|name| name.strip_suffix(&ending));
        cases.extend(
            case.filter(|case| !case.starts_with("._"))
                .map(str::to_owned),
        );
    }
    Ok(cases)
}

/// Whether both files are there and in a format that we read; otherwise why not.
fn check_files(root: &Path, image: &Path, label: &Path) -> std::result::Result<(), String> {
    let relative = |path: &Path| {
        path.strip_prefix(root)
            .unwrap_or(path)
            .display()
            .to_string()
    };
    for (what, path) in [("image", image), ("label", label)] {
        let inside = path
            .strip_prefix(root)
            .is_ok_and(|rest| rest.components().all(|c| matches!(c, Component::Normal(_))));
        let name = path.to_string_lossy();
        let readable = [".png", ".nii", ".nii.gz"]
            .iter()
            .any(|end| name.ends_with(end));
        if !inside {
            return Err(format!(
                "{what} {} lies outside the data set",
                path.display()
            ));
        }
        if !readable {
            return Err(format!(
                "{what} {} is not supported: PNG or NIfTI expected",
                relative(path)
            ));
        }
        if !path.is_file() {
            return Err(format!("{what} {} does not exist", relative(path)));
        }
    }
    Ok(())
}

/// The first names in a folder, for messages.
fn listing(folder: &Path) -> String {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return "no such folder".to_owned();
    };
    let names: BTreeSet<String> = entries
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    match names.len() {
        0 => "an empty folder".to_owned(),
        n if n <= 8 => names.into_iter().collect::<Vec<_>>().join(", "),
        n => {
            let first: Vec<_> = names.into_iter().take(8).collect();
            format!("{} and {} more", first.join(", "), n - 8)
        }
    }
}
