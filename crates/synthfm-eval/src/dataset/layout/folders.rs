//! Two folders, of images and of masks, whose files share their names: the layout of many small data sets.
//! `labels.json` names the values of the masks, such as `{"liver": 1, "spleen": 2}`; without it every value but 0 is
//! one structure. Differs from a convention: there is none.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::tree::{files, folder, stem};
use super::{Listing, Structure, problem};
use crate::Result;
use crate::dataset::source::{Source, Values};

const IMAGES: [&str; 4] = ["images", "image", "imgs", "img"];
const MASKS: [&str; 6] = ["masks", "mask", "labels", "label", "segmentations", "gt"];
const ENDINGS: [&str; 11] = [
    ".png", ".jpg", ".jpeg", ".tif", ".tiff", ".nii", ".nii.gz", ".mha", ".nrrd", ".npy", ".dcm",
];
/// Endings that names of masks may add to those of their images.
const SUFFIXES: [&str; 5] = ["", "_mask", "_segmentation", "_label", "_gt"];

pub(super) fn fits(root: &Path) -> bool {
    folder(root, &IMAGES).is_some() && folder(root, &MASKS).is_some()
}

pub(super) fn list(root: &Path) -> Result<Listing> {
    let (Some(images), Some(masks)) = (folder(root, &IMAGES), folder(root, &MASKS)) else {
        return Ok(Listing::default());
    };
    let named = named_labels(&root.join("labels.json"))?;
    let values = if named.is_some() {
        Values::Labels
    } else {
        Values::NonZero
    };
    let mut list = Listing {
        structures: named.unwrap_or_else(|| {
            vec![Structure {
                name: "foreground".to_owned(),
                label: 1,
            }]
        }),
        ..Listing::default()
    };
    let masks: BTreeMap<String, PathBuf> = files(&masks, &ENDINGS)
        .into_iter()
        .map(|path| (stem(&path), path))
        .collect();
    for image in files(&images, &ENDINGS) {
        let name = stem(&image);
        let mut names = SUFFIXES.iter().map(|suffix| format!("{name}{suffix}"));
        match names.find_map(|name| masks.get(&name)) {
            Some(mask) => {
                let source = Source::of(image, mask.clone(), values);
                list.add(&name, &name, "unknown", source);
            }
            None => list.skipped.push((name, "it has no mask".to_owned())),
        }
    }
    Ok(list)
}

/// The structures of `labels.json`; `None` without the file.
fn named_labels(path: &Path) -> Result<Option<Vec<Structure>>> {
    if !path.is_file() {
        return Ok(None);
    }
    let io = |source| crate::Error::Io {
        path: path.to_owned(),
        source,
    };
    let text = std::fs::read_to_string(path).map_err(io)?;
    let named: BTreeMap<String, u16> = serde_json::from_str(&text).map_err(|error| {
        let text = format!("names with values such as {{\"liver\": 1}} expected: {error}");
        problem(path, text)
    })?;
    let mut structures: Vec<Structure> = named
        .into_iter()
        .filter(|&(_, label)| label != 0)
        .map(|(name, label)| Structure { name, label })
        .collect();
    structures.sort_by_key(|structure| structure.label);
    if structures.is_empty() {
        let text = "at least one structure with a value from 1 expected".to_owned();
        return Err(problem(path, text));
    }
    Ok(Some(structures))
}
