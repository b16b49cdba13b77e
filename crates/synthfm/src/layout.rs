//! The folder of a generated data set.
//!
//! nnU-Net v2: `imagesTr/CASE_0000.png` (8-bit), `labelsTr/CASE.png` and `dataset.json`. Value k of a label map is
//! the k-th target; where targets overlap the smaller one is on top, and each target that is partly covered has its
//! whole mask in `masksTr/CASE_k.png`. `recipes/CASE.json` holds the sample's parameters and targets; it is written
//! last, so a sample with a recipe is complete. `generator.toml` is what determines the samples.
//!
//! npz: `samples/CASE.npz` instead of the pictures (see [`crate::npz`]).

use std::cmp::Reverse;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use synthfm_image::{
    GreyDepth, LabelMap, Mask, write_atomically, write_grey_png, write_label_png, write_mask_png,
};
use synthfm_synth::params::TargetKind;
use synthfm_synth::{GeneratorConfig, Sample, SampleParams};

use crate::cli::Format;
use crate::npz;
use crate::output::{VERSION, create_folder, write_json};
use crate::overrides::read_text;

const SETTINGS: &str = "generator.toml";
const MAX_SETTINGS_BYTES: u64 = 1 << 20;

/// A recipe file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Record {
    /// Version of synthfm that drew it.
    pub(crate) synthfm: String,
    /// Everything that was drawn.
    pub(crate) recipe: SampleParams,
    /// The targets in the order of their label values.
    pub(crate) targets: Vec<TargetRecord>,
}

/// One target in a recipe file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TargetRecord {
    /// Value in the label map.
    label: u16,
    /// Identifier in the recipe.
    id: u16,
    kind: TargetKind,
    area_px: usize,
    /// Its whole mask, if other targets cover a part of it in the label map.
    mask: Option<String>,
}

/// What determines the samples of a folder.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Settings<'a> {
    pub(crate) synthfm: &'a str,
    pub(crate) format: &'a str,
    pub(crate) seed: u64,
    pub(crate) generator: &'a GeneratorConfig,
}

/// A folder of samples.
#[derive(Debug)]
pub(crate) struct Folder<'a> {
    root: &'a Path,
    format: Format,
}

/// The name of sample `index`.
fn case_name(index: u64) -> String {
    format!("synth_{index:08}")
}

impl<'a> Folder<'a> {
    /// Makes the folders.
    pub(crate) fn create(root: &'a Path, format: Format) -> Result<Self> {
        let folders: &[&str] = match format {
            Format::Nnunet => &["imagesTr", "labelsTr", "recipes"],
            Format::Npz => &["samples", "recipes"],
        };
        for folder in folders {
            create_folder(&root.join(folder))?;
        }
        Ok(Self { root, format })
    }

    /// Records what determines the samples, or checks that the folder was begun with the same.
    pub(crate) fn claim(&self, settings: &Settings) -> Result<()> {
        let path = self.root.join(SETTINGS);
        let text = toml::to_string(settings).context("writing the configuration as TOML")?;
        if !path.exists() {
            write_atomically(&path, |out| out.write_all(text.as_bytes()))?;
            return Ok(());
        }
        let before = read_text(&path, MAX_SETTINGS_BYTES)?;
        let differs = before.lines().zip(text.lines()).find(|(a, b)| a != b);
        if before == text {
            return Ok(());
        }
        let (a, b) = differs.unwrap_or(("fewer lines", "more lines"));
        bail!(
            "{} was begun with another configuration ({SETTINGS} says `{a}`, this command `{b}`): choose another --out",
            self.root.display()
        );
    }

    /// Whether all files of a sample are there.
    pub(crate) fn is_complete(&self, index: u64) -> bool {
        self.recipe_path(&case_name(index)).is_file()
    }

    fn recipe_path(&self, case: &str) -> PathBuf {
        self.root.join("recipes").join(format!("{case}.json"))
    }

    /// Writes a sample, its recipe last.
    pub(crate) fn write(&self, params: &SampleParams, sample: &Sample) -> Result<()> {
        let case = case_name(params.index);
        let labels = target_labels(sample);
        let targets = match self.format {
            Format::Nnunet => self.write_pictures(&case, sample, &labels)?,
            Format::Npz => {
                npz::write(
                    &self.root.join("samples").join(format!("{case}.npz")),
                    sample,
                    &labels,
                )?;
                records(sample, |_, _| Ok(None))?
            }
        };
        let record = Record {
            synthfm: VERSION.to_owned(),
            recipe: params.clone(),
            targets,
        };
        write_json(&self.recipe_path(&case), &record)
    }

    fn write_pictures(
        &self,
        case: &str,
        sample: &Sample,
        labels: &LabelMap,
    ) -> Result<Vec<TargetRecord>> {
        let image = self.root.join("imagesTr").join(format!("{case}_0000.png"));
        write_grey_png(&image, &sample.image, 0.0..=1.0, GreyDepth::Eight)?;
        let targets = records(sample, |label, mask| {
            if labels.mask_of(label) == *mask {
                return Ok(None);
            }
            create_folder(&self.root.join("masksTr"))?;
            let name = format!("masksTr/{case}_{label}.png");
            write_mask_png(&self.root.join(&name), mask)?;
            Ok(Some(name))
        })?;
        write_label_png(
            &self.root.join("labelsTr").join(format!("{case}.png")),
            labels,
        )?;
        Ok(targets)
    }

    /// Describes the data set, once its samples are there; returns how many there are.
    pub(crate) fn describe(&self, max_targets: u32) -> Result<usize> {
        let folder = self.root.join("recipes");
        let entries = fs::read_dir(&folder).with_context(|| folder.display().to_string())?;
        let is_recipe = |name: &str| {
            name.starts_with("synth_") && Path::new(name).extension().is_some_and(|e| e == "json")
        };
        let count = entries
            .flatten()
            .filter(|e| e.file_name().to_str().is_some_and(is_recipe))
            .count();
        if self.format == Format::Nnunet {
            write_json(
                &self.root.join("dataset.json"),
                &description(count, max_targets),
            )?;
        }
        Ok(count)
    }
}

/// `dataset.json`: nnU-Net wants a name for every value; `instances` says that all name one kind of thing.
fn description(count: usize, max_targets: u32) -> Value {
    let mut labels = Map::new();
    labels.insert("background".to_owned(), json!(0));
    for value in 1..=max_targets {
        let name = if value == 1 {
            "structure".to_owned()
        } else {
            format!("structure_{value}")
        };
        labels.insert(name, json!(value));
    }
    json!({
        "name": "synthfm",
        "description": "Synthetic images by synthfm; label values number the targets of an image",
        "channel_names": { "0": "synthetic" },
        "labels": labels,
        "instances": true,
        "numTraining": count,
        "file_ending": ".png",
    })
}

fn records(
    sample: &Sample,
    mut mask: impl FnMut(u16, &Mask) -> Result<Option<String>>,
) -> Result<Vec<TargetRecord>> {
    let numbered = (1u16..).zip(&sample.targets);
    numbered
        .map(|(label, target)| {
            Ok(TargetRecord {
                label,
                id: target.id,
                kind: target.kind,
                area_px: target.mask.area(),
                mask: mask(label, &target.mask)?,
            })
        })
        .collect()
}

/// Targets numbered from 1; smaller ones hide larger ones.
fn target_labels(sample: &Sample) -> LabelMap {
    let mut order: Vec<(u16, &Mask)> = (1u16..)
        .zip(sample.targets.iter().map(|t| &t.mask))
        .collect();
    order.sort_by_key(|&(label, mask)| (Reverse(mask.area()), label));
    let mut labels = LabelMap::zeros(sample.image.size());
    for (label, mask) in order {
        for (value, &inside) in labels.data_mut().iter_mut().zip(mask.data()) {
            if inside {
                *value = label;
            }
        }
    }
    labels
}

#[cfg(test)]
mod tests {
    use synthfm_image::{Image, Size};
    use synthfm_synth::Target;

    use super::*;

    fn sample() -> Sample {
        let size = Size::new(1, 4);
        let target = |id, bits: [u8; 4]| Target {
            id,
            kind: TargetKind::Organ,
            mask: Mask::new(size, bits.iter().map(|&b| b == 1).collect()).unwrap(),
        };
        Sample {
            image: Image::zeros(size),
            label_map: LabelMap::zeros(size),
            targets: vec![target(7, [0, 1, 0, 0]), target(9, [1, 1, 1, 0])],
        }
    }

    #[test]
    fn smaller_targets_lie_on_top_and_covered_ones_keep_their_mask() {
        let (sample, folder) = (sample(), tempfile::tempdir().unwrap());
        assert_eq!(target_labels(&sample).data(), [2, 1, 2, 0]);
        let files = Folder::create(folder.path(), Format::Nnunet).unwrap();
        let targets = files
            .write_pictures("synth_a", &sample, &target_labels(&sample))
            .unwrap();
        let masks: Vec<Option<&str>> = targets.iter().map(|t| t.mask.as_deref()).collect();
        assert_eq!(masks, [None, Some("masksTr/synth_a_2.png")]);
        assert!(folder.path().join("masksTr/synth_a_2.png").is_file());
        assert_eq!((targets[1].id, targets[1].area_px), (9, 3));
    }

    #[test]
    fn descriptions_name_every_value() {
        let value = description(3, 2);
        assert_eq!(
            value["labels"],
            json!({ "background": 0, "structure": 1, "structure_2": 2 })
        );
        assert_eq!(value["numTraining"], 3);
    }
}
