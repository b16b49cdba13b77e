//! The folder of a generated data set: what is there, what is missing, and the files that describe all of it.
//!
//! A sample is there if its recipe is, which is written after its other files; in a WebDataset, if the record of its
//! shard is. What lies in a folder therefore never depends on who wrote it, or in how many stretches.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};

use super::Format;
use super::record::{case_name, index_of, recipe_name};
use super::settings::{SETTINGS, Settings};
use super::{coco, manifest, webdataset};
use synthfm_image::{create_folder, write_json};

/// The file that nnU-Net reads first.
const DATASET: &str = "dataset.json";

/// Makes the folders of a layout below `root`.
pub(super) fn create(root: &Path, format: Format) -> Result<()> {
    create_folder(root)?;
    for folder in subfolders(format) {
        create_folder(&root.join(folder))?;
    }
    Ok(())
}

const fn subfolders(format: Format) -> &'static [&'static str] {
    match format {
        Format::Nnunet => &["imagesTr", "labelsTr", "masksTr", "recipes"],
        Format::Coco => &["images", "recipes"],
        Format::Npz => &["samples", "recipes"],
        Format::Webdataset => &[],
    }
}

/// The files that describe the whole set, apart from the manifest.
pub(super) const fn descriptions(format: Format) -> &'static [&'static str] {
    match format {
        Format::Nnunet => &[SETTINGS, DATASET],
        Format::Coco => &[SETTINGS, coco::ANNOTATIONS],
        Format::Npz | Format::Webdataset => &[SETTINGS],
    }
}

/// A folder of samples.
#[derive(Debug)]
pub(super) struct Folder<'a> {
    pub(super) root: &'a Path,
    pub(super) settings: &'a Settings,
}

/// Indices of samples: disjoint ranges by their first index, none touching the next.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Present(BTreeMap<u64, u64>);

impl Present {
    /// From ranges in ascending order.
    pub(super) fn of(ranges: impl IntoIterator<Item = Range<u64>>) -> Self {
        let mut all = BTreeMap::new();
        let mut open: Option<Range<u64>> = None;
        for range in ranges {
            match &mut open {
                Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
                _ => {
                    all.extend(open.replace(range).map(|r| (r.start, r.end)));
                }
            }
        }
        all.extend(open.map(|r| (r.start, r.end)));
        Self(all)
    }

    pub(super) fn covers(&self, range: &Range<u64>) -> bool {
        let before = self.0.range(..=range.start).next_back();
        range.is_empty() || before.is_some_and(|(_, &end)| range.end <= end)
    }

    pub(super) fn count(&self) -> u64 {
        self.0.iter().map(|(start, end)| end - start).sum()
    }

    /// The `n`-th of them in ascending order.
    pub(super) fn nth(&self, mut n: u64) -> Option<u64> {
        for (start, end) in &self.0 {
            if n < end - start {
                return Some(start + n);
            }
            n -= end - start;
        }
        None
    }
}

impl<'a> Folder<'a> {
    /// Makes the folders, and records what determines the files or checks that the folder was begun with the same.
    pub(super) fn claim(root: &'a Path, settings: &'a Settings) -> Result<Self> {
        // In this order, so that whoever comes at the same time finds a folder that says what it is.
        create_folder(root)?;
        settings.claim(root)?;
        create(root, settings.format)?;
        Ok(Self { root, settings })
    }

    /// The samples that are there.
    pub(super) fn present(&self) -> Result<Present> {
        if self.settings.format == Format::Webdataset {
            let shards = webdataset::shards(self)?;
            return Ok(Present::of(shards.iter().map(webdataset::Shard::range)));
        }
        Ok(Present::of(
            self.samples()?.into_iter().map(|index| index..index + 1),
        ))
    }

    /// Indices of the recipes in ascending order.
    fn samples(&self) -> Result<Vec<u64>> {
        let mut found: Vec<u64> = file_names(&self.root.join("recipes"))?
            .iter()
            .filter_map(|name| {
                index_of(name).filter(|&i| *name == format!("{}.json", case_name(i)))
            })
            .collect();
        found.sort_unstable();
        Ok(found)
    }

    /// The recipes in ascending order of their samples: index and path in the folder.
    pub(super) fn recipes(&self) -> Result<Vec<(u64, String)>> {
        let name = |index| (index, recipe_name(self.settings.format, index));
        Ok(self.samples()?.into_iter().map(name).collect())
    }

    /// Removes the temporary files that a killed process left for samples of `share`; with `all`, for the files that
    /// describe the set too. Nobody else may be writing those.
    pub(super) fn remove_leftovers(&self, share: &Range<u64>, all: bool) -> Result<()> {
        for folder in subfolders(self.settings.format).iter().chain([&""]) {
            let folder = self.root.join(folder);
            for name in file_names(&folder)? {
                let Some(of) = name
                    .strip_prefix('.')
                    .filter(|name| name.strip_suffix(".tmp").is_some())
                else {
                    continue;
                };
                let index = index_of(of).or_else(|| {
                    let shard = webdataset::number_of(of)?;
                    shard.checked_mul(self.settings.unit())
                });
                let described = || {
                    let mut names = descriptions(self.settings.format).iter();
                    names.any(|name| of.starts_with(name)) || of.starts_with(manifest::MANIFEST)
                };
                if index.map_or_else(|| all && described(), |index| share.contains(&index)) {
                    let path = folder.join(&name);
                    fs::remove_file(&path).with_context(|| path.display().to_string())?;
                }
            }
        }
        Ok(())
    }

    /// Describes what is there: `dataset.json` or `annotations.json`, and the manifest; returns how many samples.
    pub(super) fn describe(&self) -> Result<u64> {
        let mut present = self.present()?;
        // Others may have added samples meanwhile, and described the set before this here took its place.
        for _ in 0..2 {
            self.describe_as(&present)?;
            let before = std::mem::replace(&mut present, self.present()?);
            if before == present {
                break;
            }
        }
        Ok(present.count())
    }

    fn describe_as(&self, present: &Present) -> Result<()> {
        match self.settings.format {
            Format::Nnunet => {
                let most = self.settings.generator.targets.max_count;
                let is_volume = self.settings.generator.volume.is_some();
                let description = description(present.count(), most, is_volume);
                write_json(&self.root.join(DATASET), &description)?;
            }
            Format::Coco => coco::write(self)?,
            Format::Npz | Format::Webdataset => {}
        }
        manifest::write(self)
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }
}

/// Names of the files in a folder.
pub(super) fn file_names(folder: &Path) -> Result<Vec<String>> {
    let context = || folder.display().to_string();
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).with_context(context)? {
        let entry = entry.with_context(context)?;
        if let Ok(name) = entry.file_name().into_string() {
            names.push(name);
        }
    }
    Ok(names)
}

/// `dataset.json`: nnU-Net wants a name for every value; `instances` says that all name one kind of thing.
fn description(samples: u64, max_targets: u32, is_volume: bool) -> Value {
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
        "description": if is_volume {
            "Synthetic volumes by synthfm; label values number the targets of a volume"
        } else {
            "Synthetic images by synthfm; label values number the targets of an image"
        },
        "channel_names": { "0": "synthetic" },
        "labels": labels,
        "instances": true,
        "numTraining": samples,
        "file_ending": if is_volume { ".nii.gz" } else { ".png" },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptions_name_every_value() {
        let value = description(3, 2, false);
        assert_eq!(
            value["labels"],
            json!({ "background": 0, "structure": 1, "structure_2": 2 })
        );
        assert_eq!(value["numTraining"], 3);
    }

    #[test]
    fn ranges_are_joined_where_they_touch() {
        let present = Present::of([2..3, 3..4, 3..8, 10..11]);
        assert_eq!(present.count(), 7);
        for (range, covered) in [(2..8, true), (3..4, true), (7..9, false), (9..10, false)] {
            assert_eq!(present.covers(&range), covered, "{range:?}");
        }
        assert!(present.covers(&(50..50)));
        let all: Vec<u64> = (0..).map_while(|n| present.nth(n)).collect();
        assert_eq!(all, [2, 3, 4, 5, 6, 7, 10]);
        assert_eq!(Present::of([]), Present::default());
    }
}
