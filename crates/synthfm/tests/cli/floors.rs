//! What a change must not take from the embedded model: mean Dice on the real images of named data sets, two points below
//! what the shipped weights reach, on whole images or with crops, whichever is higher.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::common::synthfm;

/// The data sets whose means the floors are; others in the same folder do not count.
const DATASETS: [&str; 29] = [
    "Dataset101_Hc18",
    "Dataset102_BusBra",
    "Dataset103_Ccaus",
    "Dataset105_UsLiver",
    "Dataset106_BreastUsg",
    "Dataset107_CtSpleen",
    "Dataset108_TotalsegCt",
    "Dataset109_Dcmqi",
    "Dataset111_CtHepaticvessel",
    "Dataset117_Sct",
    "Dataset118_MrKidney",
    "Dataset119_MrHeartHvsmr",
    "Dataset120_MrHippocampus",
    "Dataset122_MrSpineSpider",
    "Dataset123_MrLeftatrium",
    "Dataset128_MrBraintumorBrisc",
    "Dataset130_CxrNlm",
    "Dataset131_Dsb2018",
    "Dataset132_Bbbc003Embryo",
    "Dataset133_Bbbc009Rbc",
    "Dataset134_Bbbc030Cho",
    "Dataset135_AxonSem",
    "Dataset137_Fives",
    "Dataset140_OctaFaz",
    "Dataset148_MrSarcoma",
    "Dataset151_CtHemorrhage",
    "Dataset154_XrMammoCbis",
    "Dataset156_MicroWbc",
    "Dataset308_TotalsegMr",
];
/// Modality, then the lowest mean Dice over its data sets after one click, after three positive clicks and two negative
/// ones in a ring, and with a box, in %.
const FLOORS: [(&str, [f64; 3]); 7] = [
    ("CT", [67.8, 81.0, 81.0]),
    ("MICRO", [73.8, 78.4, 83.7]),
    ("MR", [64.2, 77.4, 83.2]),
    ("OCT", [79.1, 84.6, 90.1]),
    ("RETINA", [14.5, 14.4, 12.1]),
    ("US", [66.8, 77.7, 89.1]),
    ("XR", [63.1, 80.0, 84.7]),
];
const PROMPTS: [&str; 3] = ["1,0", "3,2 ring", "box"];

/// Folders of the named data sets; `None` without the folder that holds them.
fn datasets() -> Option<Vec<PathBuf>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/real-dev");
    if !folder.is_dir() {
        return None;
    }
    let named = |name: &str| {
        let path = folder.join(name);
        let described = path.join("dataset.json");
        assert!(described.is_file(), "{} is missing", described.display());
        path
    };
    Some(DATASETS.into_iter().map(named).collect())
}

#[test]
fn the_embedded_model_keeps_its_scores_on_real_images() {
    let Some(datasets) = datasets() else {
        eprintln!(
            "SKIPPED: ../shared/data/real-dev is not there, so that the embedded model met no real data set"
        );
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let mut args = vec!["evaluate", "--data"];
    args.extend(datasets.iter().map(|path| path.to_str().unwrap()));
    args.extend("--model embedded --prompts 1,0 3,2 box --negatives ring --out report".split(' '));
    synthfm(folder.path(), &args).ok();
    let summary = fs::read(folder.path().join("report/summary.json")).unwrap();
    let summary: Value = serde_json::from_slice(&summary).unwrap();
    let lines = summary["lines"].as_array().unwrap();
    for (modality, floors) in FLOORS {
        for (prompt, floor) in PROMPTS.into_iter().zip(floors) {
            let of = |line: &&Value| {
                line["level"] == "modality"
                    && line["modality"] == modality
                    && line["prompt"] == prompt
            };
            let line = lines
                .iter()
                .find(of)
                .unwrap_or_else(|| panic!("{modality} {prompt}"));
            let dice = 100.0 * line["dice"]["mean"].as_f64().unwrap();
            assert!(
                dice >= floor,
                "{modality} {prompt}: Dice {dice:.1} %, below {floor}"
            );
        }
    }
}
