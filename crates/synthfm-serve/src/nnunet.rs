//! All cases that are done as one data set in nnU-Net's form: `labelsTr/CASE.nii.gz` (`.png` of pictures) and
//! `dataset.json` in a ZIP archive. Values are those of the list of labels, so that a structure has one on all cases.
//! Where pictures and volumes are mixed, which nnU-Net does not know, each kind has a folder of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};
use synthfm_image::{GreyDepth, encode_label_png, write_label_nifti};
use tempfile::TempDir;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::annotation::{Annotation, PlaneName};
use super::catalog::plain;
use super::desk::OpenCase;
use super::labels::Label;

/// The data set in the making.
#[derive(Debug)]
pub(super) struct DataSet {
    /// Where label files lie meanwhile; gone when it is dropped.
    folder: TempDir,
    volumes: Kind,
    pictures: Kind,
}

/// Cases that nnU-Net takes together.
#[derive(Debug, Default)]
struct Kind {
    /// Label files by what they are called.
    files: BTreeMap<String, PathBuf>,
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

impl DataSet {
    /// Begins a data set whose files are made in a folder within `work`.
    pub(super) fn new(work: &Path) -> Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix(".export.")
            .tempdir_in(work)
            .with_context(|| format!("writing to {}", work.display()))?;
        Ok(Self {
            folder,
            volumes: Kind::default(),
            pictures: Kind::default(),
        })
    }

    /// Adds the labels of a case, whose values are those of `list` where that has the name.
    pub(super) fn add(
        &mut self,
        open: &OpenCase,
        annotation: &Annotation,
        list: &[Label],
    ) -> Result<()> {
        let is_picture = open.study.is_picture();
        let count = self.volumes.files.len() + self.pictures.files.len();
        let kind = if is_picture {
            &mut self.pictures
        } else {
            &mut self.volumes
        };
        // The list comes first, so that its values are its own.
        for label in list {
            kind.values.of(&label.name, label.value);
        }
        let structures = annotation.structures().iter();
        let values: BTreeMap<u16, u16> = structures
            .map(|s| (s.id, kind.values.of(&s.name, s.id)))
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
        kind.add(open, path);
        Ok(())
    }

    /// Number of cases.
    pub(super) fn len(&self) -> usize {
        self.volumes.files.len() + self.pictures.files.len()
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
            let manifest = serde_json::to_vec_pretty(&kind.manifest(ending))?;
            put(format!("{above}dataset.json"), &manifest)?;
            for (case, path) in &kind.files {
                let bytes =
                    std::fs::read(path).with_context(|| format!("reading {}", path.display()))?;
                put(format!("{above}labelsTr/{case}{ending}"), &bytes)?;
            }
        }
        Ok(archive.finish()?.into_inner())
    }
}

impl Kind {
    fn add(&mut self, open: &OpenCase, path: PathBuf) {
        let name = self.free_name(open);
        self.files.insert(name, path);
        self.modality = self.modality.take().or(open.modality().map(str::to_owned));
    }

    /// A name that no other case has: with its folders where another file has the same.
    fn free_name(&self, open: &OpenCase) -> String {
        let short = open.case.label_stem();
        let above = open
            .case
            .name
            .rsplit_once('/')
            .map_or("", |(above, _)| above);
        let long = format!("{}_{short}", plain(&above.replace('/', "_")));
        let unique = format!("{short}_{}", open.case.id);
        let mut names = [short, long].into_iter();
        names
            .find(|name| !self.files.contains_key(name))
            .unwrap_or(unique)
    }

    /// `dataset.json`.
    fn manifest(&self, ending: &str) -> Value {
        let mut by_value: Vec<(&String, &u16)> = self.values.0.iter().collect();
        by_value.sort_by_key(|(_, value)| **value);
        let mut labels = Map::from_iter([("background".to_owned(), json!(0))]);
        for (name, value) in by_value {
            labels.insert(name.clone(), json!(value));
        }
        json!({
            "channel_names": { "0": self.modality.as_deref().unwrap_or("image") },
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
