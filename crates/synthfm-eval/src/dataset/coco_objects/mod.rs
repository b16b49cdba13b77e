//! The objects of COCO files: polygons and run lengths become a label map that numbers the objects of an image.
//! Entries that are damaged are left out with a note, never the file.
//! Differs from `pycocotools`: crowds are left out, and where objects overlap the smaller one keeps the pixel.

mod file;
mod shapes;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;
use synthfm_image::{LabelMap, Size};

use self::file::{Annotation, Annotations, Category, Entry, File, Id, ImageEntry};
use self::shapes::{mask_of, work_of};
use super::Structure;
use crate::bounded::check_size;
use crate::error::problem;
use crate::{Error, Result};

/// More than any published file of objects holds.
const MAX_BYTES: u64 = 4 << 30;
/// What drawing the objects of an image may take, in nanoseconds of one core, about: a minute, for 5000 objects on four
/// million pixels.
const MOST_WORK: u64 = 50_000_000_000;

/// The structures, images and objects of a COCO file.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct CocoImages {
    path: PathBuf,
    pub(crate) structures: Vec<Structure>,
    pub(crate) images: Vec<CocoImage>,
    /// `info.modality`, which is no part of COCO.
    pub(crate) modality: Option<String>,
}

/// An image of a COCO file with its objects.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct CocoImage {
    pub(crate) file_name: String,
    size: Option<Size>,
    objects: Vec<Object>,
    crowds: usize,
    /// Entries of the file that were left out.
    remarks: Vec<String>,
}

#[derive(Debug, Clone, PartialEq)]
struct Object {
    label: u16,
    shape: Value,
}

impl CocoImages {
    /// Reads a file; categories become structures 1, 2, ... in the order of their numbers.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let io = |source| Error::Io {
            path: path.to_owned(),
            source,
        };
        check_size(path, MAX_BYTES)?;
        let mut text = std::fs::read(path).map_err(io)?;
        let file = File::parse(&mut text).map_err(|error| {
            let text = format!("a COCO file (images, annotations, categories) expected: {error}");
            problem(path, text)
        })?;
        Self::new(path, file)
    }

    fn new(path: &Path, file: File) -> Result<Self> {
        let count = file.categories.len();
        let good = file.categories.into_iter().filter_map(|entry| match entry {
            Entry::Good(category) => Some((category.id.clone(), category)),
            Entry::Damaged(_) => None,
        });
        let categories: BTreeMap<Id, Category> = good.collect();
        if categories.is_empty() || categories.len() > usize::from(u16::MAX) {
            let text = format!(
                "1 to 65535 categories with id and name expected, got {}",
                categories.len()
            );
            return Err(problem(path, text));
        }
        let labels: BTreeMap<Id, u16> = categories.keys().cloned().zip(1..).collect();
        let structure = |category: &Category| Structure {
            name: category.name.clone(),
            label: labels[&category.id],
        };
        let structures = categories.values().map(structure).collect();
        let (mut images, index, mut left_out) = listed_images(file.images);
        if images.is_empty() {
            let notes = left_out.notes().join("; ");
            return Err(problem(path, format!("no image is listed ({notes})")));
        }
        for _ in categories.len()..count {
            left_out.add("categories without id or name, or listed twice".to_owned());
        }
        let annotations: Vec<Entry<Annotation>> = match file.annotations {
            Annotations::List(list) => list,
            Annotations::Map(map) => map.into_values().collect(),
        };
        for entry in annotations {
            let Entry::Good(annotation) = entry else {
                left_out.add("annotations without image_id or category_id".to_owned());
                continue;
            };
            let at = match index.get(&annotation.image_id) {
                Some(&Listed::Once(at)) => at,
                // Told with the images.
                Some(Listed::Ambiguous) => continue,
                None => {
                    let number = annotation.image_id;
                    left_out.add(format!(
                        "annotations of image {number}, which is not listed"
                    ));
                    continue;
                }
            };
            let image: &mut CocoImage = &mut images[at];
            let Some(&label) = labels.get(&annotation.category_id) else {
                let number = &annotation.category_id;
                image.remarks.push(format!(
                    "an annotation of category {number}, which is not listed, was left out"
                ));
                continue;
            };
            if annotation.iscrowd != 0 {
                image.crowds += 1;
                continue;
            }
            image.objects.push(Object {
                label,
                shape: annotation.segmentation,
            });
        }
        // What belongs to no image is told with the first one.
        if let Some(first) = images.first_mut() {
            first.remarks.extend(left_out.notes());
        }
        Ok(Self {
            path: path.to_owned(),
            structures,
            images,
            modality: file.info["modality"].as_str().map(str::to_owned),
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The label map of an image of `size`, the structure of each of its values, and what a reader should know.
    pub(super) fn labels(
        &self,
        index: usize,
        size: Size,
    ) -> Result<(LabelMap, BTreeMap<u16, u16>, Vec<String>)> {
        let image = &self.images[index];
        let wrong = |text: String| problem(&self.path, format!("{}: {text}", image.file_name));
        if let Some(stated) = image.size.filter(|&stated| stated != size) {
            return Err(wrong(format!("{stated} expected, got {size}")));
        }
        if image.objects.len() > usize::from(u16::MAX) {
            return Err(wrong(format!(
                "{} objects, more than 65535",
                image.objects.len()
            )));
        }
        let work: u64 = image.objects.iter().map(|o| work_of(&o.shape, size)).sum();
        if work > MOST_WORK {
            return Err(wrong(
                "its objects would take minutes to draw: fewer, or polygons with fewer corners, expected".to_owned(),
            ));
        }
        let mut notes = LeftOut::default();
        // Large ones first, so that small ones stay visible. Masks are drawn twice rather than kept.
        let mut order = Vec::new();
        for (object, number) in image.objects.iter().zip(1u16..) {
            match mask_of(&object.shape, size) {
                Ok((mask, left_out)) => {
                    for text in left_out {
                        notes.add(text);
                    }
                    if mask.area() == 0 {
                        notes.add("objects: no pixel of the image lies inside".to_owned());
                        continue;
                    }
                    order.push((mask.area(), number, object));
                }
                Err(text) => notes.add(format!("objects: {text}")),
            }
        }
        order.sort_by_key(|&(area, number, _)| (std::cmp::Reverse(area), number));
        let mut labels = LabelMap::zeros(size);
        let mut hidden = 0;
        for (_, number, object) in &order {
            let Ok((mask, _)) = mask_of(&object.shape, size) else {
                continue;
            };
            let pixels = labels.data_mut().iter_mut().zip(mask.data());
            for (label, _) in pixels.filter(|&(_, &inside)| inside) {
                hidden += usize::from(*label != 0);
                *label = *number;
            }
        }
        let instance_of = order
            .iter()
            .map(|&(_, number, object)| (number, object.label))
            .collect();
        let mut all = image.remarks.clone();
        all.extend(notes.notes());
        all.extend(note(image.crowds, hidden));
        Ok((labels, instance_of, all))
    }
}

impl CocoImage {
    /// Rows and columns that the file states.
    pub(super) const fn stated_size(&self) -> Option<Size> {
        self.size
    }
}

/// The image or images that an `id` stands for.
enum Listed {
    /// The place of its image.
    Once(usize),
    /// Several images, so that nobody knows whose objects its annotations are.
    Ambiguous,
}

/// Images in the order of the file, what each number stands for, and how many entries were left out. Images that share
/// a number are left out, and so is the repetition of an image.
fn listed_images(
    entries: Vec<Entry<ImageEntry>>,
) -> (Vec<CocoImage>, BTreeMap<Id, Listed>, LeftOut) {
    let mut left_out = LeftOut::default();
    let mut good = Vec::new();
    // The file of each number, until a second one turns up.
    let mut files: BTreeMap<Id, Option<String>> = BTreeMap::new();
    for entry in entries {
        let Entry::Good(mut entry) = entry else {
            left_out.add("images without id or file_name".to_owned());
            continue;
        };
        // Annotation programs of Windows write its separators.
        entry.file_name = entry.file_name.replace('\\', "/");
        match files.get_mut(&entry.id) {
            None => {
                files.insert(entry.id.clone(), Some(entry.file_name.clone()));
            }
            Some(Some(file)) if *file == entry.file_name => {
                left_out.add("images that are listed twice".to_owned());
                continue;
            }
            Some(file) => *file = None,
        }
        good.push(entry);
    }
    let (mut images, mut index) = (Vec::new(), BTreeMap::new());
    for entry in good {
        if files[&entry.id].is_none() {
            left_out.add(format!("images with the same id {}", entry.id));
            index.insert(entry.id, Listed::Ambiguous);
            continue;
        }
        index.insert(entry.id, Listed::Once(images.len()));
        images.push(CocoImage {
            file_name: entry.file_name,
            size: entry.height.zip(entry.width).map(|(h, w)| Size::new(h, w)),
            objects: Vec::new(),
            crowds: 0,
            remarks: Vec::new(),
        });
    }
    (images, index, left_out)
}

/// Kinds of entries that were left out, with how many there were of each.
#[derive(Default)]
struct LeftOut(BTreeMap<String, usize>);

impl LeftOut {
    /// Kinds that are told one by one.
    const MOST: usize = 10;

    fn add(&mut self, kind: String) {
        *self.0.entry(kind).or_default() += 1;
    }

    fn notes(&self) -> Vec<String> {
        let told = self.0.iter().take(Self::MOST);
        let mut notes: Vec<String> = told
            .map(|(kind, count)| format!("left out: {count} {kind}"))
            .collect();
        let more: usize = self.0.values().skip(Self::MOST).sum();
        if more > 0 {
            notes.push(format!("left out: {more} more entries of other kinds"));
        }
        notes
    }
}

fn note(crowds: usize, hidden: usize) -> Option<String> {
    let mut parts = Vec::new();
    if crowds > 0 {
        parts.push(format!("{crowds} crowd annotations left out"));
    }
    if hidden > 0 {
        parts.push(format!(
            "objects overlap on {hidden} pixels, which the smaller one keeps"
        ));
    }
    (!parts.is_empty()).then(|| parts.join("; "))
}
