//! Ultrasound: HC18 (van den Heuvel et al. 2018), PSFHS (Chen et al. 2024), BUSI (Al-Dhabyani et al. 2020).
//! HC18 draws the outline of the head, which is filled; BUSI gives a file per lesion, which are joined.
//! Differs: images without a lesion (BUSI, `normal`) are not listed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::Listing;
use super::tree::{file_name, files, folder, stem};
use crate::Result;
use crate::dataset::source::{ImageSource, Source, Truth, Values};

fn hc18_root(root: &Path) -> Option<PathBuf> {
    let candidates = ["training_set", "training_set/training_set", ""];
    let found = candidates
        .iter()
        .filter_map(|&relative| folder(root, &[relative]));
    let annotated = |folder: &PathBuf| {
        let mut all = files(folder, &[".png"]).into_iter();
        all.any(|path| stem(&path).ends_with("HC_Annotation"))
    };
    found.into_iter().find(annotated)
}

pub(super) fn hc18_fits(root: &Path) -> bool {
    hc18_root(root).is_some()
}

pub(super) fn hc18(root: &Path) -> Result<Listing> {
    let mut list = Listing::of("HC18", &["fetal_head"]);
    let Some(folder) = hc18_root(root) else {
        return Ok(list);
    };
    let spacing = pixel_sizes(root, &folder)?;
    for image in files(&folder, &[".png"]) {
        let name = stem(&image);
        if name.ends_with("_Annotation") {
            continue;
        }
        // 010_HC.png, 010_2HC.png, ... are frames of one examination.
        let patient = name.split('_').next().unwrap_or(&name).to_owned();
        let source = Source {
            truth: Truth::Outline(folder.join(format!("{name}_Annotation.png"))),
            spacing_mm: spacing.get(&file_name(&image)).map(|&size| [size; 2]),
            image: ImageSource::File(image),
        };
        list.add(&name, &patient, "US", source);
    }
    Ok(list)
}

/// Millimetres per pixel by file name; empty without the table.
fn pixel_sizes(root: &Path, images: &Path) -> Result<BTreeMap<String, f64>> {
    let name = "training_set_pixel_size_and_HC.csv";
    let candidates = [
        root.join(name),
        images.join(name),
        images.join("..").join(name),
    ];
    let Some(path) = candidates.into_iter().find(|path| path.is_file()) else {
        return Ok(BTreeMap::new());
    };
    let io = |source| crate::Error::Io {
        path: path.clone(),
        source,
    };
    let text = std::fs::read_to_string(&path).map_err(io)?;
    let line = |line: &str| {
        let (file, rest) = line.split_once(',')?;
        let size: f64 = rest.split(',').next()?.trim().parse().ok()?;
        (size.is_finite() && size > 0.0).then(|| (file.trim().to_owned(), size))
    };
    Ok(text.lines().filter_map(line).collect())
}

fn psfhs_root(root: &Path) -> Option<PathBuf> {
    let candidates = [
        "",
        "PSFHS",
        "Pubic Symphysis-Fetal Head Segmentation and Angle of Progression",
    ];
    let found = candidates
        .iter()
        .filter_map(|&relative| folder(root, &[relative]));
    found
        .into_iter()
        .find(|path| path.join("image_mha").is_dir() && path.join("label_mha").is_dir())
}

pub(super) fn psfhs_fits(root: &Path) -> bool {
    psfhs_root(root).is_some()
}

#[expect(clippy::unnecessary_wraps, reason = "one signature for all layouts")]
pub(super) fn psfhs(root: &Path) -> Result<Listing> {
    let mut list = Listing::of("PSFHS", &["pubic_symphysis", "fetal_head"]);
    let root = psfhs_root(root).unwrap_or_else(|| root.to_owned());
    for image in files(&root.join("image_mha"), &[".mha"]) {
        let name = stem(&image);
        let source = Source {
            truth: Truth::Labels(
                root.join("label_mha").join(file_name(&image)),
                Values::Labels,
            ),
            // Three equal channels, stored as slices.
            image: ImageSource::FirstSlice(image),
            spacing_mm: None,
        };
        list.add(&name, &name, "US", source);
    }
    Ok(list)
}

const BUSI_KINDS: [&str; 2] = ["benign", "malignant"];

fn busi_root(root: &Path) -> Option<PathBuf> {
    let candidates = ["Dataset_BUSI_with_GT", ""];
    let found = candidates
        .iter()
        .filter_map(|&relative| folder(root, &[relative]));
    let has_masks = |kind: &Path| {
        let mut all = files(kind, &[".png"]).into_iter();
        all.any(|path| stem(&path).ends_with("_mask"))
    };
    found
        .into_iter()
        .find(|path| BUSI_KINDS.iter().any(|kind| has_masks(&path.join(kind))))
}

pub(super) fn busi_fits(root: &Path) -> bool {
    busi_root(root).is_some()
}

#[expect(clippy::unnecessary_wraps, reason = "one signature for all layouts")]
pub(super) fn busi(root: &Path) -> Result<Listing> {
    let mut list = Listing::of(
        "BUSI",
        &BUSI_KINDS.map(|kind| {
            if kind == "benign" {
                "benign_lesion"
            } else {
                "malignant_lesion"
            }
        }),
    );
    let root = busi_root(root).unwrap_or_else(|| root.to_owned());
    for (kind, label) in BUSI_KINDS.iter().zip(1u16..) {
        let all = files(&root.join(kind), &[".png"]);
        let is_mask = |path: &&PathBuf| stem(path).contains("_mask");
        for image in all.iter().filter(|path| !is_mask(path)) {
            let name = stem(image);
            let own = |path: &&PathBuf| {
                let stem = stem(path);
                let rest = stem
                    .strip_prefix(&name)
                    .and_then(|rest| rest.strip_prefix("_mask"));
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('_'))
            };
            let masks: Vec<(PathBuf, u16)> = all
                .iter()
                .filter(own)
                .map(|path| (path.clone(), label))
                .collect();
            if masks.is_empty() {
                list.skipped.push((name, "it has no mask".to_owned()));
                continue;
            }
            let source = Source {
                image: ImageSource::File(image.clone()),
                truth: Truth::Masks(masks),
                spacing_mm: None,
            };
            list.add(&name, &name, "US", source);
        }
    }
    Ok(list)
}
