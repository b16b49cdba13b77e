//! One case as the images that a 2-D segmenter sees.
//! A volume gives, per structure, the axial slice where the structure's area is the largest (as in `ScribblePrompt`'s
//! evaluation); structures with the same slice share its image. Intensities: 8-bit pictures as they are, 16-bit
//! ones and volumes through the window of [`super::window`], taken over the whole picture or volume.

use std::collections::{BTreeMap, BTreeSet};

use synthfm_image::{
    ImageFile, LabelFile, LabelMap, LabelVolume, Picture, Plane, ReadOptions, RgbImage, Volume,
    read_image, read_labels,
};

use super::manifest::problem;
use super::window::{display_window, percentile_window};
use super::{Case, Dataset, Structure};
use crate::Result;

/// An image to segment, with its truth.
#[derive(Debug, Clone, PartialEq)]
pub struct View {
    /// What the segmenter sees.
    pub image: RgbImage,
    /// The truth, of the same size.
    pub labels: LabelMap,
    /// Index of the axial slice, counted from 0 in the order of the file; `None` for a picture.
    pub slice: Option<usize>,
    /// Distance between rows and between columns, where known.
    pub spacing_mm: Option<[f64; 2]>,
    /// The structures to segment on this image; one may be absent from a picture.
    pub structures: Vec<Structure>,
}

/// A case that was read.
#[derive(Debug, Clone, PartialEq)]
pub struct LoadedCase {
    /// Its images.
    pub views: Vec<View>,
    /// What a reader of the results should know about its files.
    pub notes: Vec<String>,
}

impl Dataset {
    /// Reads the image and the labels of a case of this data set.
    pub fn load(&self, case: &Case) -> Result<LoadedCase> {
        let options = ReadOptions::default();
        let image = read_image(&case.image, &options)?;
        let labels = read_labels(&case.label, &options)?;
        let mut notes = Vec::new();
        let views = match (image, labels) {
            (ImageFile::Picture(picture), LabelFile::Map(labels)) => {
                self.note_unknown_labels(&labels.labels(), &mut notes);
                vec![self.picture_view(case, picture, labels)?]
            }
            (ImageFile::Volume(volume), LabelFile::Volume(labels)) => {
                self.note_unknown_labels(&labels.labels(), &mut notes);
                let labels = align(case, &volume, &labels, &mut notes)?;
                self.best_slices(case, &volume, &labels)?
            }
            (image, _) => {
                let (is, should) = match image {
                    ImageFile::Picture(_) => ("a volume", "a picture, as its image,"),
                    ImageFile::Volume(_) => ("a picture", "a volume, as its image,"),
                };
                return Err(problem(&case.label, format!("{should} expected, got {is}")));
            }
        };
        Ok(LoadedCase { views, notes })
    }

    fn note_unknown_labels(&self, found: &[u16], notes: &mut Vec<String>) {
        let known: BTreeSet<u16> = self.structures.iter().map(|s| s.label).collect();
        let unknown: Vec<String> = found
            .iter()
            .filter(|label| !known.contains(label))
            .map(u16::to_string)
            .collect();
        if !unknown.is_empty() && !self.instances {
            notes.push(format!(
                "label values that dataset.json does not name, left out: {}",
                unknown.join(", ")
            ));
        }
    }

    fn picture_view(&self, case: &Case, picture: Picture, labels: LabelMap) -> Result<View> {
        if picture.size() != labels.size() {
            let (image, own) = (picture.size(), labels.size());
            let text = format!("{image} expected, as its image, got {own}");
            return Err(problem(&case.label, text));
        }
        let image = match picture {
            Picture::Rgb(image) => image,
            Picture::Grey(image) if image.data().iter().all(|&v| v <= 255.0) => {
                image.to_rgb8(0.0, 255.0)
            }
            Picture::Grey(image) => {
                let (low, high) = percentile_window(image.data());
                image.to_rgb8(low, high)
            }
        };
        Ok(View {
            image,
            labels,
            slice: None,
            spacing_mm: None,
            structures: self.targets(),
        })
    }

    /// The structures that are segmented: instances are all of the first one.
    fn targets(&self) -> Vec<Structure> {
        let count = if self.instances {
            1
        } else {
            self.structures.len()
        };
        self.structures.iter().take(count).cloned().collect()
    }

    fn best_slices(&self, case: &Case, volume: &Volume, labels: &LabelVolume) -> Result<Vec<View>> {
        let mut by_slice: BTreeMap<usize, Vec<Structure>> = BTreeMap::new();
        let structures = self.targets();
        let best = largest_areas(labels, &structures, self.instances)?;
        for (structure, slice) in structures.into_iter().zip(best) {
            if let Some(slice) = slice {
                by_slice.entry(slice).or_default().push(structure);
            }
        }
        let (low, high) = display_window(&case.modality, volume.data());
        let to_view = |(index, structures)| {
            let slice = volume.slice(Plane::Axial, index)?;
            Ok(View {
                image: slice.image.to_rgb8(low, high),
                labels: labels.slice(Plane::Axial, index)?,
                slice: Some(index),
                spacing_mm: Some(slice.spacing_mm),
                structures,
            })
        };
        by_slice.into_iter().map(to_view).collect()
    }
}

/// The labels on the grid of their image. Sizes must agree; a different place in the patient is noted, because the
/// voxels of such files correspond nevertheless (nnU-Net warns and goes on, too).
fn align(
    case: &Case,
    volume: &Volume,
    labels: &LabelVolume,
    notes: &mut Vec<String>,
) -> Result<LabelVolume> {
    let (expected, got) = (volume.geometry(), labels.geometry());
    if expected.shape() != got.shape() {
        let text = format!(
            "{:?} voxels expected, as its image, got {:?}",
            expected.shape(),
            got.shape()
        );
        return Err(problem(&case.label, text));
    }
    let rows = expected.patient_from_voxel().into_iter().flatten();
    let differs = rows
        .zip(got.patient_from_voxel().into_iter().flatten())
        .any(|(a, b)| (a - b).abs() > 1e-3 * (1.0 + a.abs()));
    if differs {
        notes.push("image and labels state different places; the image's was taken".to_owned());
    }
    let geometry = expected.clone();
    Ok(LabelVolume::new(geometry, labels.data().to_vec())?)
}

/// Per structure the first axial slice with the most of its pixels; `None` where it is absent.
fn largest_areas(
    labels: &LabelVolume,
    structures: &[Structure],
    instances: bool,
) -> Result<Vec<Option<usize>>> {
    let mut best = vec![(0usize, None); structures.len()];
    for index in 0..labels.geometry().slice_count(Plane::Axial) {
        let slice = labels.slice(Plane::Axial, index)?;
        let mut areas = vec![0usize; usize::from(u16::MAX) + 1];
        for &label in slice.data() {
            areas[usize::from(label)] += 1;
        }
        for (best, structure) in best.iter_mut().zip(structures) {
            let area = if instances {
                slice.size().area() - areas[0]
            } else {
                areas[usize::from(structure.label)]
            };
            if area > best.0 {
                *best = (area, Some(index));
            }
        }
    }
    Ok(best.into_iter().map(|(_, index)| index).collect())
}
