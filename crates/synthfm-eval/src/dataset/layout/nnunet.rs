//! nnU-Net v2 (Isensee et al. 2021): `dataset.json`, `imagesTs/CASE_0000.EXT`, `labelsTs/CASE.EXT`.
//! Uses `imagesTs` with `labelsTs` if there is a `labelsTs`, otherwise `imagesTr` with `labelsTr`.
//! Differs: one channel of a case is used, the first unless another is asked for; a case may name an image elsewhere in the folder, such as a DICOM
//! series, and its labels may then be `CASE__labels.EXT` or one file per structure, `CASE__STRUCTURE.EXT`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use super::tree::{files, listing, stem};
use super::{Listing, Structure, problem};
use crate::Result;
use crate::dataset::manifest::{CaseEntry, Manifest};
use crate::dataset::source::{ImageSource, Source, Truth, Values};

pub(super) fn fits(root: &Path) -> bool {
    root.join("dataset.json").is_file()
}

pub(super) fn list(root: &Path) -> Result<Listing> {
    let path = root.join("dataset.json");
    let manifest = Manifest::read(&path)?;
    let (images, labels) = split_folders(root)?;
    let structures = manifest.structures(&path)?;
    let mut list = Listing {
        name: manifest.name.clone(),
        structures: structures.list,
        regions: structures.regions,
        ignored: structures.ignored,
        channels: manifest.channels(),
        instances: manifest.instances,
        ..Listing::default()
    };
    list_cases(&mut list, root, &manifest, &images, &labels)?;
    if list.cases.is_empty() && list.skipped.is_empty() {
        let ending = format!("CASE_0000{}", manifest.file_ending);
        let text = format!("files named {ending} expected, found {}", listing(&images));
        return Err(problem(&images, text));
    }
    Ok(list)
}

fn list_cases(
    list: &mut Listing,
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
        let truth = if label.exists() {
            None
        } else {
            parts_of(&name, labels, &list.structures)
        };
        let first = truth.as_ref().map_or(&label, |(first, _)| first);
        match check_files(root, &image, first) {
            Ok(()) => {
                let patient = entry.and_then(|entry| entry.patient.as_deref());
                let modality = manifest.modality_of(entry);
                let source = Source {
                    image: ImageSource::File(image),
                    truth: match truth {
                        Some((_, truth)) => truth,
                        None => Truth::Labels(label, Values::Labels),
                    },
                    spacing_mm: None,
                };
                list.add(&name, patient.unwrap_or(&name), &modality, source);
            }
            Err(reason) => list.skipped.push((name, reason)),
        }
    }
    Ok(())
}

/// `CASE__labels.EXT`, or the files `CASE__STRUCTURE.EXT`; with the first of them. `None` if there is none.
fn parts_of(case: &str, labels: &Path, structures: &[Structure]) -> Option<(PathBuf, Truth)> {
    let prefix = format!("{case}__");
    let mut masks = Vec::new();
    for path in files(labels, &[""]) {
        let stem = stem(&path);
        let Some(part) = stem.strip_prefix(&prefix) else {
            continue;
        };
        if part == "labels" {
            return Some((path.clone(), Truth::Labels(path, Values::Labels)));
        }
        if let Some(structure) = structures.iter().find(|s| s.name == part) {
            masks.push((path, structure.label));
        }
    }
    let first = masks.first().map(|(path, _)| path.clone());
    first.map(|first| (first, Truth::Masks(masks)))
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
        let found = listing(root);
        let text = format!("labelsTs or labelsTr with the ground truth expected, found {found}");
        problem(root, text)
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

/// Whether both files are there and inside the folder; otherwise why not. An image may be a folder, a DICOM series.
fn check_files(root: &Path, image: &Path, label: &Path) -> std::result::Result<(), String> {
    for (what, path) in [("image", image), ("label", label)] {
        let relative = path.strip_prefix(root).ok();
        let inside = relative.filter(|rest| {
            let mut components = rest.components();
            components.all(|c| matches!(c, Component::Normal(_)))
        });
        let Some(relative) = inside else {
            return Err(format!(
                "{what} {} lies outside the data set",
                path.display()
            ));
        };
        if !path.exists() {
            return Err(format!("{what} {} does not exist", relative.display()));
        }
    }
    Ok(())
}
