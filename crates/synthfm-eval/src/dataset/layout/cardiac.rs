//! Hearts: ACDC (Bernard et al. 2018, cine MR) and CAMUS (Leclerc et al. 2019, ultrasound), with their frames at the
//! end of diastole and of systole. Frames of a patient share the patient.

use std::path::{Path, PathBuf};

use super::Listing;
use super::tree::{file_name, files, folder, folders, stem};
use crate::Result;
use crate::dataset::source::{Source, Values};

const NIFTI: [&str; 2] = [".nii.gz", ".nii"];

/// Folders named `patient...` in any of `parents`.
fn patients(root: &Path, parents: &[&str]) -> Vec<PathBuf> {
    let parents = parents.iter().filter_map(|&parent| folder(root, &[parent]));
    parents
        .flat_map(|parent| folders(&parent))
        .filter(|path| file_name(path).starts_with("patient"))
        .collect()
}

/// Frames with a `_gt` beside them whose name `wanted` likes: (name, image, truth).
fn frames(patient: &Path, wanted: impl Fn(&str) -> bool) -> Vec<(String, PathBuf, PathBuf)> {
    let all = files(patient, &NIFTI);
    let frame = |image: &PathBuf| {
        let name = stem(image);
        let truth = all.iter().find(|path| stem(path) == format!("{name}_gt"))?;
        wanted(&name).then(|| (name, image.clone(), truth.clone()))
    };
    all.iter().filter_map(frame).collect()
}

const ACDC: [&str; 7] = [
    "database/training",
    "database/testing",
    "ACDC/database/training",
    "ACDC/database/testing",
    "training",
    "testing",
    "",
];

pub(super) fn acdc_fits(root: &Path) -> bool {
    let has_frames =
        |patient: &PathBuf| !frames(patient, |name| name.contains("_frame")).is_empty();
    patients(root, &ACDC).iter().any(has_frames)
}

#[expect(clippy::unnecessary_wraps, reason = "one signature for all layouts")]
pub(super) fn acdc(root: &Path) -> Result<Listing> {
    let structures = ["right_ventricle", "myocardium", "left_ventricle"];
    Ok(list(
        Listing::of("ACDC", &structures),
        &patients(root, &ACDC),
        "MR",
        |name| name.contains("_frame"),
    ))
}

const CAMUS: [&str; 4] = [
    "database_nifti",
    "CAMUS/database_nifti",
    "CAMUS_public/database_nifti",
    "",
];

/// The end of diastole or systole, not a whole sequence.
fn is_camus_frame(name: &str) -> bool {
    ["_2CH_", "_4CH_"].iter().any(|view| name.contains(view))
        && ["_ED", "_ES"].iter().any(|phase| name.ends_with(phase))
}

pub(super) fn camus_fits(root: &Path) -> bool {
    let has_frames = |patient: &PathBuf| !frames(patient, is_camus_frame).is_empty();
    patients(root, &CAMUS).iter().any(has_frames)
}

#[expect(clippy::unnecessary_wraps, reason = "one signature for all layouts")]
pub(super) fn camus(root: &Path) -> Result<Listing> {
    let structures = ["left_ventricle", "myocardium", "left_atrium"];
    Ok(list(
        Listing::of("CAMUS", &structures),
        &patients(root, &CAMUS),
        "US",
        is_camus_frame,
    ))
}

fn list(
    mut list: Listing,
    patients: &[PathBuf],
    modality: &str,
    wanted: impl Fn(&str) -> bool,
) -> Listing {
    for patient in patients {
        let frames = frames(patient, &wanted);
        if frames.is_empty() {
            let reason = "no frame with a _gt beside it".to_owned();
            list.skipped.push((file_name(patient), reason));
        }
        for (name, image, truth) in frames {
            let source = Source::of(image, truth, Values::Labels);
            list.add(&name, &file_name(patient), modality, source);
        }
    }
    list
}
