//! Labels to compare with: beside the image in the usual layouts, or uploaded.
//!
//! nnU-Net: `imagesTr/CASE_0000.EXT` and `labelsTr/CASE.EXT`, with names in `dataset.json`. Otherwise a folder
//! `labels` or `masks` beside `images` with the same file name, or `NAME_label`, `NAME_mask`, `NAME_seg` in the
//! folder of the image.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::Serialize;
use synthfm_image::{LabelFile, LabelVolume, Mask, ReadOptions, read_labels};

use super::annotation::{Annotation, BitVolume, Place, PlaneName, Runs};
use super::catalog::{Case, ENDINGS, inside};
use super::labels::manifest_labels;
use super::study::Study;

/// The uploaded reference in a case's folder.
pub(super) const UPLOADED: &str = "reference";
const MAX_MANIFEST_BYTES: u64 = 16 << 20;

/// Labels on the grid of an image.
#[derive(Debug)]
pub(super) struct Reference {
    labels: LabelVolume,
    /// By value: the name, where the data set tells it.
    names: BTreeMap<u16, Option<String>>,
    /// By value: the number of voxels.
    counts: BTreeMap<u16, usize>,
}

/// A label of a reference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct ReferenceLabel {
    value: u16,
    name: Option<String>,
}

impl Reference {
    /// The uploaded reference, or the one beside the image; `None` where there is none. Fails where it does not fit.
    pub(super) fn find(
        image: &Path,
        case: &Case,
        study: &Study,
        folder: &Path,
        max_bytes: u64,
    ) -> Result<Option<Self>> {
        let uploaded = ENDINGS.map(|ending| folder.join(format!("{UPLOADED}{ending}")));
        let beside = if case.uploaded {
            Vec::new()
        } else {
            candidates(image)
        };
        // Links are followed as little as for images.
        let Some(root) = image.ancestors().nth(case.name.split('/').count()) else {
            return Ok(None);
        };
        let beside = beside.into_iter().filter(|path| inside(root, path).is_ok());
        let mut all = uploaded.into_iter().chain(beside);
        let Some(path) = all.find(|path| path.is_file()) else {
            return Ok(None);
        };
        let names = manifest_names(image);
        let found = Self::read(&path, study, &names, max_bytes);
        found.map(Some).with_context(|| {
            let name = path.file_name().unwrap_or_default();
            name.to_string_lossy().into_owned()
        })
    }

    /// Reads labels and brings them onto the grid of the image; how is written to standard error.
    pub(super) fn read(
        path: &Path,
        study: &Study,
        names: &BTreeMap<u16, String>,
        max_bytes: u64,
    ) -> Result<Self> {
        let grid = study.grid();
        let labels = match read_labels(path, &ReadOptions { max_bytes })? {
            LabelFile::Volume(labels) if study.is_picture() => {
                LabelVolume::new(grid.clone(), check_shape(&labels, study)?)?
            }
            LabelFile::Volume(labels) => {
                let (labels, note) = labels.on_grid(grid)?;
                if let Some(note) = note {
                    synthfm_image::tell(&format!("note: {}: {note}", path.display()));
                }
                labels
            }
            LabelFile::Map(map) => {
                let (size, expected) = (map.size(), grid.slice_size(PlaneName::Axial.into()));
                if !study.is_picture() || size != expected {
                    bail!("the labels have {size} pixels, which is not the grid of the image");
                }
                LabelVolume::new(grid.clone(), map.into_data())?
            }
        };
        let mut counts = BTreeMap::new();
        for &value in labels.data().iter().filter(|value| **value != 0) {
            *counts.entry(value).or_insert(0) += 1;
        }
        let named = |&value: &u16| (value, names.get(&value).cloned());
        let names = counts.keys().map(named).collect();
        Ok(Self {
            labels,
            names,
            counts,
        })
    }

    pub(super) fn labels(&self) -> Vec<ReferenceLabel> {
        let label = |(&value, name): (&u16, &Option<String>)| ReferenceLabel {
            value,
            name: name.clone(),
        };
        self.names.iter().map(label).collect()
    }

    /// The label that a structure is compared with: the one of its name; where labels have no names, the one of its
    /// identifier, else the only one.
    pub(super) fn label_for(&self, name: &str, id: u16) -> Option<u16> {
        let same = |label: &Option<String>| {
            label
                .as_deref()
                .is_some_and(|label| label.eq_ignore_ascii_case(name.trim()))
        };
        let named = self.names.iter().find(|(_, label)| same(label));
        let mut nameless = self.names.iter().filter(|(_, label)| label.is_none());
        let by_id = || self.names.get(&id).is_some_and(Option::is_none);
        match (named, self.names.len(), nameless.next()) {
            (None, ..) if by_id() => Some(id),
            (Some((&value, _)), ..) | (None, 1, Some((&value, _))) => Some(value),
            _ => None,
        }
    }

    /// The mask of a label on a slice.
    pub(super) fn slice(&self, plane: PlaneName, index: usize, value: u16) -> Result<Mask> {
        Ok(self.labels.slice(plane.into(), index)?.mask_of(value))
    }

    /// Run lengths of a value's mask on one slice.
    pub(super) fn slice_runs(&self, plane: PlaneName, index: usize, value: u16) -> Result<Runs> {
        let mask = self.slice(plane, index, value)?;
        Ok(mask.to_run_lengths())
    }

    /// 2 |A ∩ B| / (|A| + |B|) of a structure on one slice; `None` where both are empty.
    pub(super) fn slice_dice(
        &self,
        annotation: &Annotation,
        place: Place,
        value: u16,
    ) -> Result<Option<f64>> {
        let truth = self.slice(place.plane, place.index, value)?;
        let mask = annotation.slice(place)?;
        let both = mask.data().iter().zip(truth.data());
        let common = both.filter(|&(&a, &b)| a && b).count();
        Ok(dice([mask.area(), truth.area(), common]))
    }

    /// Dice of a structure over the whole image.
    pub(super) fn dice(&self, bits: Option<&BitVolume>, value: u16) -> Option<f64> {
        let labels = self.labels.data();
        let truth = self.counts.get(&value).copied().unwrap_or(0);
        let Some(bits) = bits else {
            return dice([0, truth, 0]);
        };
        let common = bits
            .voxels()
            .filter(|&voxel| labels[voxel] == value)
            .count();
        dice([bits.count(), truth, common])
    }
}

fn dice([a, b, common]: [usize; 3]) -> Option<f64> {
    (a + b > 0).then(|| 2.0 * common as f64 / (a + b) as f64)
}

fn check_shape(labels: &LabelVolume, study: &Study) -> Result<Vec<u16>> {
    let (shape, expected) = (labels.geometry().shape(), study.grid().shape());
    if shape != expected {
        bail!("the labels have {shape:?} voxels, the image {expected:?}");
    }
    Ok(labels.data().to_vec())
}

/// Where labels of an image may lie.
fn candidates(image: &Path) -> Vec<PathBuf> {
    let name = image.file_name().unwrap_or_default().to_string_lossy();
    let lower = name.to_lowercase();
    let Some(ending) = ENDINGS.iter().find(|ending| lower.ends_with(*ending)) else {
        return Vec::new();
    };
    let stem = &name[..name.len() - ending.len()];
    let folder = image.parent().unwrap_or(Path::new(""));
    let above = folder.parent().unwrap_or(Path::new(""));
    let kind = folder.file_name().unwrap_or_default().to_string_lossy();
    let mut found = Vec::new();
    let mut add = |folder: PathBuf, stem: &str| {
        found.extend(ENDINGS.map(|ending| folder.join(format!("{stem}{ending}"))));
    };
    if let Some(split) = kind.strip_prefix("images") {
        let case = stem.strip_suffix("_0000").unwrap_or(stem);
        for labels in ["labels", "masks"] {
            add(above.join(format!("{labels}{split}")), case);
        }
    }
    for ending in ["label", "mask", "seg"] {
        add(folder.to_owned(), &format!("{stem}_{ending}"));
    }
    found
}

/// The `dataset.json` that speaks of an image: in the folder above the image's, as nnU-Net has it, or beside the image.
pub(super) fn manifest_of(image: &Path) -> Option<PathBuf> {
    let folders = [2, 1].into_iter().filter_map(|n| image.ancestors().nth(n));
    let mut manifests = folders.map(|folder| folder.join("dataset.json"));
    manifests.find(|path| path.is_file())
}

/// The manifest of an image; `None` where there is none, or one that is too large.
pub(super) fn manifest_text(image: &Path) -> Option<Vec<u8>> {
    let path = manifest_of(image)?;
    if fs::metadata(&path).ok()?.len() > MAX_MANIFEST_BYTES {
        return None;
    }
    fs::read(path).ok()
}

/// Names of the labels in the manifest of an image, by value.
pub(super) fn manifest_names(image: &Path) -> BTreeMap<u16, String> {
    let text = manifest_text(image);
    text.map(|text| manifest_labels(&text).0)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use synthfm_image::{LabelMap, Size, VolumeGeometry, write_label_nifti, write_label_png};

    use super::*;

    #[test]
    fn labels_are_looked_for_in_the_usual_places() {
        let paths = candidates(Path::new("/d/imagesTr/liver_0000.nii.gz"));
        for expected in [
            "/d/labelsTr/liver.nii.gz",
            "/d/masksTr/liver.png",
            "/d/imagesTr/liver_0000_seg.nii",
        ] {
            assert!(paths.contains(&PathBuf::from(expected)), "{expected}");
        }
        let paths = candidates(Path::new("/d/images/a.png"));
        assert!(paths.contains(&PathBuf::from("/d/masks/a.png")));
    }

    fn picture(folder: &Path) -> (PathBuf, Study) {
        let path = folder.join("imagesTs").join("a_0000.png");
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let map = LabelMap::new(Size::new(2, 3), vec![9; 6]).unwrap();
        write_label_png(&path, &map).unwrap();
        let study = Study::read(&path, None, 1 << 20, folder).unwrap();
        (path, study)
    }

    #[test]
    fn structures_meet_labels_by_name_value_or_singleness() {
        let folder = tempfile::tempdir().unwrap();
        let (image, study) = picture(folder.path());
        let manifest = r#"{"labels": {"background": 0, "Liver": 2, "spleen": 5, "all": [2, 5]}}"#;
        fs::write(folder.path().join("dataset.json"), manifest).unwrap();
        let labels = folder.path().join("l.png");
        let write = |values: Vec<u16>, size| {
            write_label_png(&labels, &LabelMap::new(size, values).unwrap()).unwrap();
        };
        write(vec![0, 2, 2, 5, 7, 0], Size::new(2, 3));
        let names = manifest_names(&image);
        let reference = Reference::read(&labels, &study, &names, 1 << 20).unwrap();
        assert_eq!(reference.labels().len(), 3);
        assert_eq!(reference.label_for("liver", 1), Some(2));
        assert_eq!(reference.label_for("other", 7), Some(7));
        assert_eq!(reference.label_for("other", 1), None);
        let mut bits = BitVolume::default();
        // Two of the three pixels are the reference's two.
        bits.set_slice(study.grid(), PlaneName::Axial.into(), 0, &[1, 3, 2])
            .unwrap();
        assert_eq!(reference.dice(Some(&bits), 2), Some(0.8));
        assert_eq!(
            (reference.dice(None, 2), reference.dice(None, 1)),
            (Some(0.0), None)
        );
        assert_eq!(
            reference.slice_runs(PlaneName::Axial, 0, 2).unwrap(),
            [1, 2, 3]
        );
        write(vec![0, 3, 3, 0, 0, 0], Size::new(2, 3));
        let only = Reference::read(&labels, &study, &names, 1 << 20).unwrap();
        assert_eq!(only.label_for("other", 1), Some(3));
        write(vec![0, 2, 2, 0, 0, 0], Size::new(2, 3));
        let only = Reference::read(&labels, &study, &names, 1 << 20).unwrap();
        assert_eq!(
            (only.label_for("spleen", 2), only.label_for("Liver", 9)),
            (None, Some(2))
        );
        write(vec![0; 6], Size::new(3, 2));
        assert!(Reference::read(&labels, &study, &names, 1 << 20).is_err());
    }

    #[test]
    fn volumes_are_brought_onto_the_grid_of_the_image() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, shape: [usize; 3], left: f64, x: f64| {
            let affine = [
                [left, 0.0, 0.0, x],
                [0.0, 1.0, 0.0, 0.0],
                [0.0, 0.0, 2.0, 0.0],
            ];
            let grid = VolumeGeometry::new(shape, affine).unwrap();
            let count = grid.len() as u16;
            let path = folder.path().join(name);
            let labels = LabelVolume::new(grid, (1..=count).collect()).unwrap();
            write_label_nifti(&path, &labels).unwrap();
            path
        };
        let study = Study::read(
            &write("image.nii", [2, 3, 4], 1.0, 0.0),
            None,
            1 << 20,
            folder.path(),
        )
        .unwrap();
        let read = |path: PathBuf| Reference::read(&path, &study, &BTreeMap::new(), 1 << 20);
        let same = read(write("same.nii", [2, 3, 4], 1.0, 0.0)).unwrap();
        assert_eq!(same.labels.data()[..4], [1, 2, 3, 4]);
        let flipped = read(write("axes.nii", [2, 3, 4], -1.0, 1.0)).unwrap();
        assert_eq!(flipped.labels.data()[..4], [2, 1, 4, 3]);
        // One column, the second of the image.
        let part = read(write("part.nii", [1, 3, 4], 1.0, 1.0)).unwrap();
        assert_eq!(part.labels.data()[..4], [0, 1, 0, 2]);
        let elsewhere = read(write("far.nii", [2, 3, 4], 1.0, 90.0)).unwrap_err();
        assert!(
            elsewhere.to_string().contains("different places"),
            "{elsewhere}"
        );
    }
}
