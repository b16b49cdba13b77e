//! All cases that are done as one data set in nnU-Net's form: `labelsTr/CASE.nii.gz` (`.png` of pictures) and
//! `dataset.json` in a ZIP archive. Values are those of the list of labels, so that a structure has one on all cases.
//! Where pictures and volumes are mixed, which nnU-Net does not know, each kind has a folder of its own. Where a case
//! could not have the name of its image, `cases.json` says which image each label file belongs to.

mod classes;
mod names;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Cursor, Write};
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};
use synthfm_image::{GreyDepth, encode_label_png, write_label_nifti};
use tempfile::TempDir;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::annotation::{Annotation, PlaneName, is_background};
use super::app::Folders;
use super::catalog::{Case, CaseId};
use super::desk::OpenCase;
use super::labels::Label;
use classes::Classes;
pub(super) use names::{Chosen, choose};

/// The data set in the making.
#[derive(Debug)]
pub(super) struct DataSet {
    /// Where label files lie meanwhile; gone when it is dropped.
    folder: TempDir,
    volumes: Kind,
    pictures: Kind,
    classes: Classes,
    channels: usize,
    channelled: BTreeSet<CaseId>,
    notes: Vec<String>,
}

/// Cases that nnU-Net takes together.
#[derive(Debug, Default)]
struct Kind {
    /// Cases with their label files.
    files: Vec<(Case, PathBuf)>,
    values: Values,
    modality: Option<String>,
}

/// One value for each name.
#[derive(Debug, Default)]
struct Values(BTreeMap<String, u16>);

impl Values {
    /// The value of a structure: that of earlier cases, else its own or, where another structure has that, a free one.
    fn of(&mut self, name: &str, own: u16) -> u16 {
        if let Some(value) = self.0.get(name) {
            return *value;
        }
        let taken: BTreeSet<u16> = self.0.values().copied().collect();
        let mut candidates = std::iter::once(own).chain(1..=u16::MAX);
        let value = candidates.find(|value| *value > 0 && !taken.contains(value));
        let value = value.unwrap_or(own);
        self.0.insert(name.to_owned(), value);
        value
    }
}

/// The name of a class: that of the structure, unless nnU-Net gives it to the value 0.
fn class_of(name: &str) -> String {
    if is_background(name) {
        format!("{} (structure)", name.trim())
    } else {
        name.to_owned()
    }
}

impl DataSet {
    /// Begins a data set whose files are made in a folder within the work folder.
    pub(super) fn new(folders: &Folders, chosen: &Chosen) -> Result<Self> {
        let work = &folders.work;
        let folder = tempfile::Builder::new()
            .prefix(".export.")
            .tempdir_in(work)
            .with_context(|| format!("writing to {}", work.display()))?;
        Ok(Self {
            folder,
            volumes: Kind::default(),
            pictures: Kind::default(),
            classes: Classes::default(),
            channels: chosen.channels,
            channelled: chosen.channelled.clone(),
            notes: chosen.left_out.clone(),
        })
    }

    /// Adds a remark.
    pub(super) fn note(&mut self, note: String) {
        self.notes.push(note);
    }

    /// Adds the labels of a case, whose values are those of `list` where that has the name.
    pub(super) fn add(
        &mut self,
        open: &OpenCase,
        annotation: &Annotation,
        list: &[Label],
    ) -> Result<()> {
        let is_picture = open.study.is_picture();
        let count = self.len();
        let case = &open.case.name;
        self.notes.extend(self.classes.add(case, annotation));
        let kind = if is_picture {
            &mut self.pictures
        } else {
            &mut self.volumes
        };
        // The list comes first, so that its values are its own.
        for label in list {
            kind.values.of(&class_of(&label.name), label.value);
        }
        let structures = annotation.structures().iter();
        let values: BTreeMap<u16, u16> = structures
            .map(|s| (s.id, kind.values.of(&class_of(&s.name), s.id)))
            .collect();
        let mut labels = annotation.labels();
        for label in labels.data_mut().iter_mut().filter(|label| **label != 0) {
            *label = values.get(label).copied().unwrap_or_default();
        }
        let path = if is_picture {
            let map = labels.slice(PlaneName::Axial.into(), 0)?;
            let path = self.folder.path().join(format!("{count}.png"));
            std::fs::write(&path, encode_label_png(&map, GreyDepth::of_labels(&map))?)?;
            path
        } else {
            let path = self.folder.path().join(format!("{count}.nii.gz"));
            write_label_nifti(&path, &labels)?;
            path
        };
        kind.files.push((open.case.clone(), path));
        kind.modality = kind.modality.take().or(open.modality().map(str::to_owned));
        Ok(())
    }

    /// Number of cases.
    pub(super) fn len(&self) -> usize {
        self.volumes.files.len() + self.pictures.files.len()
    }

    /// Remarks for readers of the archive.
    pub(super) fn notes(&self) -> Vec<String> {
        let alike = self.classes.alike();
        self.notes.iter().cloned().chain(alike).collect()
    }

    /// The archive.
    pub(super) fn zipped(&self) -> Result<Vec<u8>> {
        let kinds = [
            ("volumes", ".nii.gz", &self.volumes),
            ("pictures", ".png", &self.pictures),
        ];
        let used = kinds.iter().filter(|(.., kind)| !kind.files.is_empty());
        let is_mixed = used.clone().count() > 1;
        let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
        let mut put = |place: String, bytes: &[u8]| -> Result<()> {
            archive.start_file(place, SimpleFileOptions::default())?;
            archive.write_all(bytes)?;
            Ok(())
        };
        for (name, ending, kind) in used {
            let above = if is_mixed {
                format!("{name}/")
            } else {
                String::new()
            };
            let manifest = serde_json::to_vec_pretty(&kind.manifest(ending, self.channels))?;
            put(format!("{above}dataset.json"), &manifest)?;
            let cases: Vec<&Case> = kind.files.iter().map(|(case, _)| case).collect();
            let names = names::assign(&cases, &self.channelled);
            if names.iter().any(|(_, is_same)| !is_same) {
                let images = names.iter().zip(&cases);
                let images = images.map(|((name, _), case)| (name.clone(), json!(case.name)));
                let images = Value::Object(images.collect());
                put(
                    format!("{above}cases.json"),
                    &serde_json::to_vec_pretty(&images)?,
                )?;
            }
            for ((case, _), (_, path)) in names.iter().zip(&kind.files) {
                let bytes =
                    std::fs::read(path).with_context(|| format!("reading {}", path.display()))?;
                put(format!("{above}labelsTr/{case}{ending}"), &bytes)?;
            }
        }
        Ok(archive.finish()?.into_inner())
    }
}

impl Kind {
    /// `dataset.json`.
    fn manifest(&self, ending: &str, channels: usize) -> Value {
        let mut by_value: Vec<(&String, &u16)> = self.values.0.iter().collect();
        by_value.sort_by_key(|(_, value)| **value);
        let mut labels = Map::from_iter([("background".to_owned(), json!(0))]);
        for (name, value) in by_value {
            labels.insert(name.clone(), json!(value));
        }
        let first = self.modality.as_deref().unwrap_or("image").to_owned();
        let others = (1..channels).map(|n| format!("channel {n}"));
        let names = std::iter::once(first).chain(others).enumerate();
        let names: Map<String, Value> = names
            .map(|(n, name)| (n.to_string(), json!(name)))
            .collect();
        json!({
            "channel_names": names,
            "labels": labels,
            "numTraining": self.files.len(),
            "file_ending": ending,
            "synthfm": crate::VERSION,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_one_value_and_a_value_one_name() {
        let mut values = Values::default();
        assert_eq!(values.of("liver", 1), 1);
        assert_eq!(values.of("spleen", 2), 2);
        // On another case, where the structures were added in another order.
        assert_eq!(values.of("spleen", 1), 2);
        assert_eq!(values.of("liver", 2), 1);
        assert_eq!(values.of("cyst", 2), 3);
    }
}
