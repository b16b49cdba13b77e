//! One case as the images that a 2-D segmenter sees.
//! A volume gives, per structure, the axial slice where the structure's area is the largest (as in `ScribblePrompt`'s
//! evaluation), or more slices; structures with the same slice share its image. Intensities: 8-bit pictures as they
//! are, deeper ones and volumes through a window, as [`Presentation`] decides; CT through the window of the options.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use synthfm_image::{
    ImageFile, LabelFile, LabelMap, LabelVolume, Mask, Plane, Presentation, RgbImage, Scan,
    ScanInfo, Volume, Window, WindowChoice,
};

use super::source::{Channel, TruthFile, read_pixels, read_truth};
use super::{Case, Dataset, Structure};
use crate::error::problem;
use crate::{Error, Result};

/// An image to segment, with its truth.
#[derive(Debug, Clone, PartialEq)]
pub struct View {
    /// The 8-bit picture that the segmenter sees.
    pub image: RgbImage,
    /// The truth, of the same size.
    pub labels: LabelMap,
    /// Index of the axial slice, counted from 0 in the order of the file; `None` for a picture.
    pub slice: Option<usize>,
    /// Distance between rows and between columns, where known.
    pub spacing_mm: Option<[f64; 2]>,
    /// The structures to segment on this image; one may be absent from a picture.
    pub structures: Vec<Structure>,
    /// Where the values of `labels` number objects: the label of the structure that each belongs to.
    pub instance_of: Option<BTreeMap<u16, u16>>,
    /// Pixels whose truth is not known (nnU-Net's label `ignore`), where there are any: they take no part in scores
    /// and get no simulated click.
    pub ignored: Option<Mask>,
}

/// A case that was read.
#[derive(Debug, Clone, PartialEq)]
pub struct LoadedCase {
    /// The case's images, one for a picture and one or more slices of a volume.
    pub views: Vec<View>,
    /// Remarks on the files for readers of the results.
    pub notes: Vec<String>,
    /// Structures of the data set that no slice of a volume shows.
    pub absent: usize,
}

/// Which axial slices of a volume are evaluated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum SliceChoice {
    /// Per structure the first of those with its largest area.
    Largest,
    /// Every n-th slice, counted from 0, on which the structure has the minimal area.
    Every(usize),
}

impl fmt::Display for SliceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Largest => f.write_str("largest"),
            Self::Every(1) => f.write_str("all"),
            Self::Every(n) => write!(f, "stride-{n}"),
        }
    }
}

impl FromStr for SliceChoice {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let stride = |text: &str| text.parse().ok().filter(|&n: &usize| n > 0);
        match (text, text.strip_prefix("stride-").and_then(stride)) {
            ("largest", _) => Ok(Self::Largest),
            ("all", _) => Ok(Self::Every(1)),
            (_, Some(n)) => Ok(Self::Every(n)),
            _ => Err(Error::Parameter(format!(
                "slices {text:?}: largest, all or stride-N with N from 1 expected"
            ))),
        }
    }
}

impl From<SliceChoice> for String {
    fn from(choice: SliceChoice) -> Self {
        choice.to_string()
    }
}

impl TryFrom<String> for SliceChoice {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

/// Radiology's window for soft tissue: level 40, width 400 Hounsfield units.
const CT_ABDOMEN_HU: [f32; 2] = [-160.0, 240.0];

/// How a case is read.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LoadOptions {
    /// Slices of volumes.
    pub slices: SliceChoice,
    /// Smallest area that makes [`SliceChoice::Every`] take a slice.
    pub min_area_px: usize,
    /// Intensities of CT volumes that become black and white, in Hounsfield units.
    pub ct_window_hu: [f32; 2],
    /// Channel of images with several, counted from 0.
    pub channel: usize,
}

impl LoadOptions {
    /// The window of CT volumes.
    pub(super) fn ct_window(&self) -> WindowChoice {
        let [low, high] = self.ct_window_hu;
        let name = None;
        WindowChoice::Range(Window { low, high, name })
    }
}

impl Default for LoadOptions {
    /// The largest slice, the abdominal window, the first channel.
    fn default() -> Self {
        Self {
            slices: SliceChoice::Largest,
            min_area_px: 1,
            ct_window_hu: CT_ABDOMEN_HU,
            channel: 0,
        }
    }
}

/// A volume with its truth.
struct Labelled<'a> {
    volume: &'a Volume,
    info: &'a ScanInfo,
    labels: &'a LabelVolume,
    instance_of: Option<BTreeMap<u16, u16>>,
    /// The labels as they were read, and their value for unknown truth.
    ignored: Option<(&'a LabelVolume, u16)>,
}

impl Dataset {
    /// Reads the image and the labels of a case of this data set in the usual way.
    pub fn load(&self, case: &Case) -> Result<LoadedCase> {
        self.load_with(case, &LoadOptions::default())
    }

    /// Reads the image and the labels of a case of this data set.
    pub fn load_with(&self, case: &Case, options: &LoadOptions) -> Result<LoadedCase> {
        let channel = Channel {
            number: options.channel,
            names: &self.channels,
        };
        let (Scan { content, info }, notes) = read_pixels(&case.source.image, channel)?;
        let truth = read_truth(&case.source, &content)?;
        let mut loaded = LoadedCase {
            views: Vec::new(),
            notes,
            absent: 0,
        };
        loaded.notes.extend(truth.notes.iter().cloned());
        match content {
            ImageFile::Picture(picture) => {
                let image = picture.shown(&info)?;
                self.load_picture(case, image, truth, &mut loaded)?;
            }
            ImageFile::Volume(volume) => {
                self.load_slices(case, (&volume, &info), truth, options, &mut loaded)?;
            }
        }
        Ok(loaded)
    }

    fn load_picture(
        &self,
        case: &Case,
        image: RgbImage,
        truth: TruthFile,
        loaded: &mut LoadedCase,
    ) -> Result<()> {
        let LabelFile::Map(labels) = truth.labels else {
            let text = "a picture, as its image, expected, got a volume".to_owned();
            return Err(problem(case.truth_path(), text));
        };
        let found = labels.labels();
        let instance_of = truth.instance_of.or_else(|| self.numbered(&found));
        self.note_values(&found, instance_of.as_ref(), &mut loaded.notes);
        let view = self.picture_view(case, image, labels, instance_of)?;
        if self.regions.is_empty() {
            loaded.views.push(view);
            return Ok(());
        }
        for structure in self.targets() {
            let mut own = view.clone();
            self.keep_region(structure.label, own.labels.data_mut());
            own.structures = vec![structure];
            loaded.views.push(own);
        }
        Ok(())
    }

    fn load_slices(
        &self,
        case: &Case,
        (volume, info): (&Volume, &ScanInfo),
        truth: TruthFile,
        options: &LoadOptions,
        loaded: &mut LoadedCase,
    ) -> Result<()> {
        let labels = as_volume(case, volume, truth.labels)?;
        let found = labels.labels();
        let instance_of = truth.instance_of.or_else(|| self.numbered(&found));
        self.note_values(&found, instance_of.as_ref(), &mut loaded.notes);
        let labels = align(case, volume, &labels, &mut loaded.notes)?;
        if self.regions.is_empty() {
            let labelled = Labelled {
                volume,
                info,
                labels: &labels,
                instance_of,
                ignored: self.ignored.map(|value| (&labels, value)),
            };
            return Self::slices(case, &labelled, self.targets(), options, loaded);
        }
        // Regions overlap, which one map of labels cannot hold: each has its own.
        for structure in self.targets() {
            let mut own = labels.clone();
            self.keep_region(structure.label, own.data_mut());
            let labelled = Labelled {
                volume,
                info,
                labels: &own,
                instance_of: None,
                ignored: self.ignored.map(|value| (&labels, value)),
            };
            Self::slices(case, &labelled, vec![structure], options, loaded)?;
        }
        Ok(())
    }

    /// Leaves the values of a region alone in a map, as the label of its structure.
    fn keep_region(&self, label: u16, data: &mut [u16]) {
        let values = self.regions.get(&label).map_or(&[][..], Vec::as_slice);
        for value in data {
            *value = if values.contains(value) { label } else { 0 };
        }
    }

    /// All values as objects of the first structure, if this data set numbers objects.
    pub(super) fn numbered(&self, values: &[u16]) -> Option<BTreeMap<u16, u16>> {
        let first = self.structures.first().filter(|_| self.instances)?;
        let objects = values.iter().filter(|&&value| Some(value) != self.ignored);
        Some(objects.map(|&value| (value, first.label)).collect())
    }

    pub(super) fn note_values(
        &self,
        found: &[u16],
        instance_of: Option<&BTreeMap<u16, u16>>,
        notes: &mut Vec<String>,
    ) {
        let known: BTreeSet<u16> = if self.regions.is_empty() {
            self.structures.iter().map(|s| s.label).collect()
        } else {
            self.regions.values().flatten().copied().collect()
        };
        let is_known = |label: &u16| match instance_of {
            Some(owners) => owners.contains_key(label),
            None => known.contains(label),
        };
        let unknown: Vec<String> = found
            .iter()
            .filter(|label| !is_known(label) && Some(**label) != self.ignored)
            .map(u16::to_string)
            .collect();
        if !unknown.is_empty() {
            notes.push(format!(
                "label values that have no name in the data set's description (dataset.json, labels.json), left out: {}",
                unknown.join(", ")
            ));
        }
        if let Some(value) = self.ignored.filter(|value| found.contains(value)) {
            notes.push(format!(
                "pixels of the label `ignore` ({value}) take no part in scores and get no simulated click"
            ));
        }
    }

    fn picture_view(
        &self,
        case: &Case,
        image: RgbImage,
        labels: LabelMap,
        instance_of: Option<BTreeMap<u16, u16>>,
    ) -> Result<View> {
        if image.size() != labels.size() {
            let (image, own) = (image.size(), labels.size());
            let text = format!("{image} expected, as its image, got {own}");
            return Err(problem(case.truth_path(), text));
        }
        let ignored = self.ignored.and_then(|value| some_of(&labels, value));
        Ok(View {
            image,
            labels,
            slice: None,
            spacing_mm: case.source.spacing_mm,
            structures: self.targets(),
            instance_of,
            ignored,
        })
    }

    /// The structures that are segmented: where values number objects, those of the first one.
    pub(super) fn targets(&self) -> Vec<Structure> {
        let count = if self.instances {
            1
        } else {
            self.structures.len()
        };
        self.structures.iter().take(count).cloned().collect()
    }

    /// Adds the chosen slices of `structures`.
    fn slices(
        case: &Case,
        labelled: &Labelled,
        structures: Vec<Structure>,
        options: &LoadOptions,
        loaded: &mut LoadedCase,
    ) -> Result<()> {
        let areas = areas(labelled, &structures)?;
        let mut by_slice: BTreeMap<usize, Vec<Structure>> = BTreeMap::new();
        for (structure, areas) in structures.into_iter().zip(areas) {
            loaded.absent += usize::from(areas.iter().all(|&area| area == 0));
            for slice in chosen_slices(&areas, options) {
                by_slice.entry(slice).or_default().push(structure.clone());
            }
        }
        let Labelled {
            volume,
            info,
            labels,
            ..
        } = labelled;
        let choice = (case.modality == "CT").then(|| options.ct_window());
        // Percentiles are those of the volume, whichever slice is shown.
        let whole = Presentation::of_volume(volume, info, choice.as_ref())?;
        for (index, structures) in by_slice {
            let slice = volume.slice(Plane::Axial, index)?;
            let ignored = match labelled.ignored {
                Some((labels, value)) => some_of(&labels.slice(Plane::Axial, index)?, value),
                None => None,
            };
            loaded.views.push(View {
                image: whole.apply(&slice.image)?,
                labels: labels.slice(Plane::Axial, index)?,
                slice: Some(index),
                spacing_mm: Some(slice.spacing_mm),
                structures,
                instance_of: labelled.instance_of.clone(),
                ignored,
            });
        }
        Ok(())
    }
}

/// The pixels of a value, if there are any.
fn some_of(labels: &LabelMap, value: u16) -> Option<Mask> {
    let mask = labels.mask_of(value);
    (mask.area() > 0).then_some(mask)
}

/// The slices to take of a structure with these areas.
fn chosen_slices(areas: &[usize], options: &LoadOptions) -> Vec<usize> {
    match options.slices {
        SliceChoice::Largest => {
            let mut best = (0, None);
            for (index, &area) in areas.iter().enumerate() {
                if area > best.0 {
                    best = (area, Some(index));
                }
            }
            best.1.into_iter().collect()
        }
        SliceChoice::Every(n) => {
            let enough = |&index: &usize| areas[index] >= options.min_area_px.max(1);
            (0..areas.len()).step_by(n).filter(enough).collect()
        }
    }
}

/// Labels as a volume: a picture beside a volume of one slice is that slice.
pub(super) fn as_volume(case: &Case, volume: &Volume, labels: LabelFile) -> Result<LabelVolume> {
    match labels {
        LabelFile::Volume(labels) => Ok(labels),
        LabelFile::Map(map) => {
            let geometry = volume.geometry().clone();
            let [ni, nj, nk] = geometry.shape();
            if [nk, nj, ni] != [1, map.size().height, map.size().width] {
                let text = "a volume, as its image, expected, got a picture".to_owned();
                return Err(problem(case.truth_path(), text));
            }
            Ok(LabelVolume::new(geometry, map.into_data())?)
        }
    }
}

/// The labels on the grid of their image, by the places that both files state; how they were brought there is noted.
pub(super) fn align(
    case: &Case,
    volume: &Volume,
    labels: &LabelVolume,
    notes: &mut Vec<String>,
) -> Result<LabelVolume> {
    let (placed, note) = labels
        .on_grid(volume.geometry())
        .map_err(|error| problem(case.truth_path(), error.to_string()))?;
    notes.extend(note.filter(|_| case.states_place()));
    Ok(placed)
}

/// Pixels of each structure on each axial slice.
fn areas(labelled: &Labelled, structures: &[Structure]) -> Result<Vec<Vec<usize>>> {
    let owner = |value: u16| match &labelled.instance_of {
        Some(owners) => owners.get(&value).copied(),
        None => Some(value),
    };
    let count = labelled.labels.geometry().slice_count(Plane::Axial);
    let mut all = vec![vec![0; count]; structures.len()];
    for index in 0..count {
        let slice = labelled.labels.slice(Plane::Axial, index)?;
        let mut counts = vec![0usize; usize::from(u16::MAX) + 1];
        for &label in slice.data() {
            counts[usize::from(label)] += 1;
        }
        counts[0] = 0;
        let mut by_structure: BTreeMap<u16, usize> = BTreeMap::new();
        for (value, &area) in counts.iter().enumerate().filter(|&(_, &area)| area > 0) {
            if let Some(label) = owner(value as u16) {
                *by_structure.entry(label).or_default() += area;
            }
        }
        for (areas, structure) in all.iter_mut().zip(structures) {
            areas[index] = by_structure.get(&structure.label).copied().unwrap_or(0);
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_are_chosen_by_area() {
        let areas = [0, 5, 9, 9, 3, 6, 1];
        let of = |text: &str, min_area_px| {
            let options = LoadOptions {
                slices: text.parse().unwrap(),
                min_area_px,
                ..LoadOptions::default()
            };
            chosen_slices(&areas, &options)
        };
        assert_eq!(of("largest", 1), [2]);
        assert_eq!(of("all", 5), [1, 2, 3, 5]);
        assert_eq!(of("stride-2", 2), [2, 4]);
        assert_eq!(of("stride-3", 0), [3, 6]);
        for text in ["", "every", "stride-0", "stride--1", "Largest"] {
            assert!(text.parse::<SliceChoice>().is_err(), "{text}");
        }
        assert_eq!("all".parse::<SliceChoice>().unwrap().to_string(), "all");
    }
}
