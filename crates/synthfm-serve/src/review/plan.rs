//! Which images are shown, made alike: the choice and the order follow from the seed.
//!
//! Sizes, formats, colours and file data would give images away. All are shown as 8-bit grey squares of one side: the
//! middle square of the image (for a volume the middle axial slice), resized.

use std::path::Path;

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use synthfm_image::hex;
use synthfm_image::{RgbImage, Size, draw, encode_rgb_png};

use crate::annotation::PlaneName;
use crate::catalog::{Case, Catalog};
use crate::study::Study;

const MAX_JSON_BYTES: u64 = 16 << 20;

/// Where an image comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    Real,
    Synthetic,
}

impl Kind {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Real => "real",
            Self::Synthetic => "synthetic",
        }
    }
}

/// An image to judge.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Item {
    pub(super) id: String,
    pub(super) kind: Kind,
    pub(super) name: String,
    pub(super) modality: String,
}

/// Seed, picture side and images of a review; kept beside its answers, for a review that goes on must be the same.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Plan {
    pub(super) seed: u64,
    pub(super) side: usize,
    pub(super) items: Vec<Item>,
}

/// The images of a folder.
pub(super) struct Source {
    pub(super) kind: Kind,
    catalog: Catalog,
}

impl Source {
    pub(super) fn open(kind: Kind, folder: &Path, work: &Path, max_bytes: u64) -> Result<Self> {
        let catalog = Catalog::open(Some(folder), work, &work.join("no-uploads"), max_bytes)?;
        if catalog.len() == 0 {
            bail!(
                "{}: no images found for --{}",
                folder.display(),
                kind.name()
            );
        }
        Ok(Self { kind, catalog })
    }

    pub(super) fn len(&self) -> usize {
        self.catalog.len()
    }

    /// `count` images, those whose hashes with the seed are least.
    fn choose(&self, count: usize, seed: u64) -> Vec<Item> {
        let mut cases = self.catalog.summaries();
        cases.sort_by_key(|case| order(seed, self.kind.name(), &case.name));
        let chosen = cases.into_iter().take(count);
        let item = |case: crate::catalog::CaseSummary| {
            let file = self.catalog.get(&case.id).and_then(|case| case.file().ok());
            let modality = file.and_then(|file| modality(&file, self.kind));
            Item {
                // One name in both folders must not give one identifier.
                id: order(0, self.kind.name(), &case.id)[..16].to_owned(),
                kind: self.kind,
                name: case.name,
                modality: modality.unwrap_or_else(|| "unknown".to_owned()),
            }
        };
        chosen.map(item).collect()
    }

    pub(super) fn case(&self, name: &str) -> Option<Case> {
        let cases = self.catalog.summaries();
        let found = cases.iter().find(|case| case.name == name)?;
        self.catalog.get(&found.id)
    }
}

impl Plan {
    /// A plan with `count` items from each source.
    pub(super) fn new(sources: &[Source; 2], count: usize, seed: u64, side: usize) -> Self {
        let items = sources.iter().flat_map(|source| source.choose(count, seed));
        Self {
            seed,
            side,
            items: items.collect(),
        }
    }

    /// The order for a rater: each has another one.
    pub(super) fn order_for(&self, rater: &str) -> Vec<&Item> {
        let mut items: Vec<&Item> = self.items.iter().collect();
        items.sort_by_key(|item| order(self.seed, rater, &item.id));
        items
    }
}

/// Sorts like a shuffle that depends on the texts alone.
fn order(seed: u64, group: &str, name: &str) -> String {
    let digest = Sha256::digest(format!("{seed}\0{group}\0{name}"));
    hex(&digest)
}

/// The picture that a rater sees, as PNG.
pub(super) fn picture(case: &Case, side: usize, max_bytes: u64) -> Result<Vec<u8>> {
    let study = Study::read(&case.file()?, case.series(), max_bytes, case.root())?;
    let slices = study.grid().slice_count(PlaneName::Axial.into());
    let seen = study.model_input(PlaneName::Axial, (slices - 1) / 2, study.window())?;
    let square = middle_square(&grey(&seen)?)?;
    Ok(encode_rgb_png(&draw::resize_rgb(
        &square,
        Size::new(side, side),
    ))?)
}

/// Luminance (ITU-R BT.601) in all three channels.
fn grey(image: &RgbImage) -> Result<RgbImage> {
    let pixels = image.data().chunks_exact(3);
    let grey = |rgb: &[u8]| {
        let [r, g, b] = [rgb[0], rgb[1], rgb[2]].map(f32::from);
        [(0.299 * r + 0.587 * g + 0.114 * b).round() as u8; 3]
    };
    Ok(RgbImage::new(
        image.size(),
        pixels.flat_map(grey).collect(),
    )?)
}

fn middle_square(image: &RgbImage) -> Result<RgbImage> {
    let Size { height, width } = image.size();
    let side = height.min(width);
    let (top, left) = ((height - side) / 2, (width - side) / 2);
    let rows = image.data().chunks_exact(3 * width).skip(top).take(side);
    let data = rows.flat_map(|row| row[3 * left..3 * (left + side)].iter().copied());
    Ok(RgbImage::new(Size::new(side, side), data.collect())?)
}

/// The modality of an image: of a synthetic one from its recipe, of a real one from `dataset.json`.
fn modality(image: &Path, kind: Kind) -> Option<String> {
    let root = image.ancestors().nth(2)?;
    let name = image.file_name()?.to_string_lossy().into_owned();
    let stem = name.split('.').next().unwrap_or_default();
    let case = stem.strip_suffix("_0000").unwrap_or(stem);
    let read = |path: &Path| -> Option<serde_json::Value> {
        let small = std::fs::metadata(path).ok()?.len() <= MAX_JSON_BYTES;
        serde_json::from_slice(&std::fs::read(path).ok().filter(|_| small)?).ok()
    };
    let text = |value: &serde_json::Value| value.as_str().map(str::to_owned);
    let stated = match kind {
        Kind::Synthetic => {
            let beside = [
                root.join("recipes").join(format!("{case}.json")),
                image.with_file_name(format!("{case}.json")),
            ];
            let recipe = beside.iter().find_map(|path| read(path));
            recipe.and_then(|recipe| text(&recipe["recipe"]["look"]))
        }
        Kind::Real => read(&root.join("dataset.json")).and_then(|manifest| {
            let cases = manifest["cases"].as_array().into_iter().flatten();
            let own = cases.into_iter().find(|entry| entry["case"] == case);
            own.and_then(|entry| text(&entry["modality"]))
                .or_else(|| text(&manifest["modality"]))
                .or_else(|| text(&manifest["channel_names"]["0"]))
        }),
    };
    stated.map(|name| normal(&name))
}

/// One name for the several that a modality has.
fn normal(name: &str) -> String {
    let upper = name.trim().to_uppercase();
    let known = match upper.as_str() {
        "MRI" | "MR" | "T1" | "T2" | "FLAIR" => "MR",
        "ULTRASOUND" | "US" => "US",
        "XRAY" | "X-RAY" | "XR" | "CR" | "DX" => "XR",
        "MICROSCOPY" | "MICRO" | "EM" => "MICROSCOPY",
        other => other,
    };
    known.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(seed: u64) -> Plan {
        let item = |n: usize| Item {
            id: n.to_string(),
            kind: if n.is_multiple_of(2) {
                Kind::Real
            } else {
                Kind::Synthetic
            },
            name: format!("{n}.png"),
            modality: "CT".to_owned(),
        };
        Plan {
            seed,
            side: 8,
            items: (0..40).map(item).collect(),
        }
    }

    #[test]
    fn orders_follow_from_seed_and_rater() {
        let ids = |seed, rater| -> Vec<String> {
            let plan = plan(seed);
            plan.order_for(rater)
                .iter()
                .map(|item| item.id.clone())
                .collect()
        };
        assert_eq!(ids(1, "a"), ids(1, "a"));
        assert_ne!(ids(1, "a"), ids(1, "b"));
        assert_ne!(ids(1, "a"), ids(2, "a"));
        let mut sorted = ids(1, "a");
        sorted.sort_by_key(|id| id.parse::<usize>().unwrap());
        assert_eq!(sorted.len(), 40);
        assert_ne!(sorted, ids(1, "a"));
    }

    #[test]
    fn pictures_are_grey_squares() {
        let colours = (0..2 * 5 * 3).map(|v| v as u8 * 8).collect();
        let image = RgbImage::new(Size::new(2, 5), colours).unwrap();
        let square = middle_square(&grey(&image).unwrap()).unwrap();
        assert_eq!(square.size(), Size::new(2, 2));
        // Column 1 of row 0: (24, 32, 40) has the luminance 30.5.
        assert_eq!(square.data()[..3], [31; 3]);
    }

    #[test]
    fn modalities_have_one_name() {
        for (name, expected) in [
            ("mri", "MR"),
            ("ultrasound", "US"),
            ("Ct", "CT"),
            ("xray", "XR"),
            (" pet ", "PET"),
        ] {
            assert_eq!(normal(name), expected);
        }
    }
}
