//! What a change must not take from the embedded model: mean Dice on real images, two points below what docs/model.md has.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::common::synthfm;

/// Modality, then mean Dice over its data sets after one click, after three and two in a ring, and with a box, in %.
const FLOORS: [(&str, [f64; 3]); 7] = [
    ("CT", [73.9, 83.4, 84.6]),
    ("MICRO", [67.8, 74.9, 80.1]),
    ("MR", [67.9, 78.1, 82.8]),
    ("OCT", [79.2, 84.3, 89.5]),
    ("RETINA", [10.7, 13.6, 12.7]),
    ("US", [69.4, 80.9, 91.1]),
    ("XR", [81.5, 87.2, 88.3]),
];
const PROMPTS: [&str; 3] = ["1,0", "3,2 ring", "box"];

/// The development data sets, if they are there.
fn datasets() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/real-dev");
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    found.retain(|path| path.join("dataset.json").is_file());
    found.sort();
    found
}

#[test]
fn the_embedded_model_keeps_its_scores_on_real_images() {
    let datasets = datasets();
    if datasets.is_empty() {
        eprintln!(
            "SKIPPED: ../shared/data/real-dev is not there, so that the embedded model met no real data set"
        );
        return;
    }
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
