//! Microscopy: `LIVECell` (Edlund et al. 2021, phase contrast) and the Data Science Bowl of 2018 (Caicedo et al. 2019,
//! nuclei). Every cell or nucleus is an instance.
//! Differs: of `LIVECell`'s three splits the test split is used if it is there.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::tree::{file_name, files, folder, folders, walk};
use super::{Listing, coco};
use crate::Result;
use crate::dataset::coco_objects::CocoImages;
use crate::dataset::source::{ImageSource, Source, Truth};

/// `livecell_coco_SPLIT.json`, the test split before the others, wherever it was put.
fn livecell_annotations(root: &Path) -> Option<PathBuf> {
    let mut all: Vec<PathBuf> = walk(root, &[".json"])
        .into_iter()
        .filter(|path| file_name(path).starts_with("livecell_coco"))
        .collect();
    let rank = |path: &PathBuf| {
        let name = file_name(path);
        ["test", "val", "train"]
            .iter()
            .position(|&split| name.contains(split))
    };
    all.sort_by_key(|path| rank(path).unwrap_or(usize::MAX));
    all.into_iter().next()
}

pub(super) fn livecell_fits(root: &Path) -> bool {
    livecell_annotations(root).is_some()
}

pub(super) fn livecell(root: &Path) -> Result<Listing> {
    let Some(annotations) = livecell_annotations(root) else {
        return Ok(Listing::default());
    };
    let mut images = CocoImages::read(&annotations)?;
    images.modality = Some("MICRO".to_owned());
    let coco = Arc::new(images);
    // Releases differ in whether images lie in a folder per cell line.
    let places: BTreeMap<String, PathBuf> = walk(root, &[".tif", ".tiff", ".png"])
        .into_iter()
        .map(|path| (file_name(&path), path))
        .collect();
    let mut list = Listing {
        name: Some("LIVECell".to_owned()),
        structures: coco.structures.clone(),
        ..Listing::default()
    };
    for index in 0..coco.images.len() {
        let name = file_name(Path::new(&coco.images[index].file_name));
        let image = places.get(&name).cloned();
        let image = image.unwrap_or_else(|| root.join("images").join(&name));
        // A172_Phase_A7_1_00d00h00m_1.tif: images of a well are not independent.
        let parts: Vec<&str> = name.split('_').collect();
        let well = (parts.len() > 3).then(|| format!("{}_{}", parts[0], parts[2]));
        coco::add(&mut list, &coco, index, image, well.as_deref());
    }
    Ok(list)
}

fn dsb2018_images(root: &Path) -> Vec<PathBuf> {
    let Some(parent) = folder(root, &["stage1_train", ""]) else {
        return Vec::new();
    };
    let mut all = folders(&parent);
    all.retain(|path| path.join("images").is_dir() && path.join("masks").is_dir());
    all
}

pub(super) fn dsb2018_fits(root: &Path) -> bool {
    !dsb2018_images(root).is_empty()
}

#[expect(clippy::unnecessary_wraps, reason = "one signature for all layouts")]
pub(super) fn dsb2018(root: &Path) -> Result<Listing> {
    let mut list = Listing {
        instances: true,
        ..Listing::of("DSB2018", &["nucleus"])
    };
    for folder in dsb2018_images(root) {
        let name = file_name(&folder);
        let image = files(&folder.join("images"), &[".png"]).into_iter().next();
        let masks = files(&folder.join("masks"), &[".png"]);
        let (Some(image), false) = (image, masks.is_empty()) else {
            let reason = "an image and at least one mask expected".to_owned();
            list.skipped.push((name, reason));
            continue;
        };
        let source = Source {
            image: ImageSource::File(image),
            truth: Truth::Objects(masks),
            spacing_mm: None,
        };
        list.add(&name, &name, "MICRO", source);
    }
    Ok(list)
}
