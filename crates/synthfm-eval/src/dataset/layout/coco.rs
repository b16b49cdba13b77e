//! COCO instances (Lin et al. 2014): `annotations.json` or `annotations/instances_SPLIT.json`, images beside it.
//! Differs: the modality is not stated; it is `unknown` unless `info.modality` names it.

use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use super::Listing;
use super::tree::{file_name, files};
use crate::Result;
use crate::dataset::coco_objects::CocoImages;
use crate::dataset::source::{ImageSource, Source, Truth};

pub(super) fn fits(root: &Path) -> bool {
    annotations(root).is_some()
}

/// `annotations.json`, or the first file of instances, those of a validation or test split before training ones.
fn annotations(root: &Path) -> Option<PathBuf> {
    let single = root.join("annotations.json");
    if single.is_file() {
        return Some(single);
    }
    let all = files(&root.join("annotations"), &[".json"]);
    let instances = |path: &&PathBuf| file_name(path).starts_with("instances");
    let mut all: Vec<PathBuf> = all.iter().filter(instances).cloned().collect();
    all.sort_by_key(|path| file_name(path).contains("train"));
    all.into_iter().next()
}

pub(super) fn list(root: &Path) -> Result<Listing> {
    let Some(path) = annotations(root) else {
        return Ok(Listing::default());
    };
    let coco = Arc::new(CocoImages::read(&path)?);
    let split = file_name(&path)
        .trim_start_matches("instances_")
        .trim_end_matches(".json")
        .to_owned();
    let mut list = Listing {
        structures: coco.structures.clone(),
        ..Listing::default()
    };
    for index in 0..coco.images.len() {
        let name = &coco.images[index].file_name;
        let image = find(root, &split, name);
        add(&mut list, &coco, index, image, None);
    }
    Ok(list)
}

/// The image of this name in `images`, the folder of the split or beside them. Names with the path of another computer
/// stand for their last part.
fn find(root: &Path, split: &str, name: &str) -> PathBuf {
    let relative = Path::new(name);
    let is_plain = |part: Component| matches!(part, Component::Normal(_) | Component::CurDir);
    let inside = relative.components().all(is_plain) && !name.contains(':');
    let last = name.rsplit('/').next().unwrap_or(name);
    let names = if inside { vec![name, last] } else { vec![last] };
    let folders = ["images", split, ""];
    let candidates: Vec<PathBuf> = names
        .iter()
        .flat_map(|name| folders.map(|folder| root.join(folder).join(name)))
        .collect();
    let found = candidates.iter().find(|path| path.is_file());
    found.unwrap_or(&candidates[0]).clone()
}

/// Adds an image under the name of its file without the ending; `patient` groups images that are not independent.
pub(super) fn add(
    list: &mut Listing,
    coco: &Arc<CocoImages>,
    index: usize,
    image: PathBuf,
    patient: Option<&str>,
) {
    let file = &coco.images[index].file_name;
    let case = file
        .rsplit_once('.')
        .map_or(file.as_str(), |(stem, _)| stem);
    let modality = coco.modality.as_deref().unwrap_or("unknown");
    let source = Source {
        image: ImageSource::File(image),
        truth: Truth::Coco(Arc::clone(coco), index),
        spacing_mm: None,
    };
    list.add(case, patient.unwrap_or(case), modality, source);
}
