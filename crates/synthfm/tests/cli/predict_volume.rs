//! `synthfm predict --volume`.

use std::fs;

use serde_json::Value;
use synthfm_image::{ImageFile, LabelVolume, Plane, ReadOptions, read_image};

use crate::common::{SHAPE, label_volume, picture, slice_area, synthfm, volume};

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    volume(&folder.path().join("v.nii.gz"));
    picture(&folder.path().join("a.png"));
    folder
}

/// Pixels of the structure on every axial slice.
fn areas(labels: &LabelVolume) -> Vec<usize> {
    let areas = (0..SHAPE[2]).map(|index| slice_area(labels, Plane::Axial, index));
    areas.collect()
}

#[test]
fn a_structure_is_carried_to_every_slice() {
    let folder = folder();
    let at = |name: &str| folder.path().join(name);
    let args = [
        "predict",
        "v.nii.gz",
        "--volume",
        "--box=17,7,2,42,32,2",
        "-o=m.nii.gz",
        "--also=m.seg.nrrd",
        "--overlay=sheet.png",
        "--json",
    ];
    let record = synthfm(folder.path(), &args).ok().json();
    let labels = label_volume(&at("m.nii.gz"));
    // All slices show the same disc, so that each has it where the prompted one has.
    let found = areas(&labels);
    assert!(found.iter().all(|&area| area > 250), "{found:?}");
    assert_eq!(label_volume(&at("m.seg.nrrd")).data(), labels.data());
    let total: usize = found.iter().sum();
    assert_eq!(record["voxels"], total);
    let slices = record["slices"].as_array().unwrap();
    assert_eq!(slices.len(), SHAPE[2]);
    for (index, slice) in slices.iter().enumerate() {
        assert_eq!(
            (&slice["slice"], &slice["from"]),
            (&index.into(), &2.into())
        );
        assert_eq!(slice["area_px"], found[index]);
        assert!(slice["iou"].as_f64().is_some());
    }
    let stored: Value = serde_json::from_slice(&fs::read(at("m.json")).unwrap()).unwrap();
    assert_eq!(stored, record);
    let sheet = read_image(&at("sheet.png"), &ReadOptions::default()).unwrap();
    assert!(matches!(sheet, ImageFile::Picture(_)));
    // The slice itself is answered as it is alone.
    let alone = [
        "predict",
        "v.nii.gz",
        "--box=17,7,2,42,32,2",
        "-o=one.nii.gz",
    ];
    synthfm(folder.path(), &alone).ok();
    let one = label_volume(&at("one.nii.gz"));
    let slice = |labels: &LabelVolume| labels.slice(Plane::Axial, 2).unwrap();
    assert_eq!(slice(&one), slice(&labels));
}

#[test]
fn prompts_on_several_slices_meet_half_way() {
    let folder = folder();
    let args = [
        "predict",
        "v.nii.gz",
        "--volume",
        "--point=30,20,0",
        "--point=28,20,4",
        "-o=m.nii.gz",
        "--json",
    ];
    let record = synthfm(folder.path(), &args).ok().json();
    let from: Vec<u64> = record["slices"]
        .as_array()
        .unwrap()
        .iter()
        .map(|slice| slice["from"].as_u64().unwrap())
        .collect();
    // The middle is as near to either; the first that came there stays.
    assert_eq!(from, [0, 0, 0, 4, 4]);
    assert_eq!(record["positions"]["points"][1]["voxel"][2], 4.0);
    // A click beside the structure alone says that it is not on that slice, and nothing is carried past it.
    let args = [
        "predict",
        "v.nii.gz",
        "--volume",
        "--box=17,7,1,42,32,1",
        "--negative=30,20,3",
        "-o=n.nii.gz",
    ];
    synthfm(folder.path(), &args).ok();
    let found = areas(&label_volume(&folder.path().join("n.nii.gz")));
    assert!(found[..3].iter().all(|&area| area > 0), "{found:?}");
    assert_eq!(found[3..], [0, 0]);
}

#[test]
fn a_rough_volume_is_a_prompt_and_what_does_not_fit_is_said() {
    let folder = folder();
    let one = [
        "predict",
        "v.nii.gz",
        "--box=17,7,2,42,32,2",
        "-o=one.nii.gz",
    ];
    synthfm(folder.path(), &one).ok();
    let args = [
        "predict",
        "v.nii.gz",
        "--volume",
        "--mask-prompt=one.nii.gz",
        "-o=m.nii.gz",
    ];
    synthfm(folder.path(), &args).ok();
    let found = areas(&label_volume(&folder.path().join("m.nii.gz")));
    assert!(found.iter().all(|&area| area > 0), "{found:?}");
    let lines: [(&[&str], i32, &str); 6] = [
        (
            &["a.png", "--volume", "--point=1,1", "-o=x.nii"],
            2,
            "is a picture",
        ),
        (
            &["v.nii.gz", "--volume", "--point=1,1", "-o=x.nii"],
            2,
            "points in space",
        ),
        (
            &["v.nii.gz", "--volume", "--point=1,1,9", "-o=x.nii"],
            2,
            "slices 0 to 4",
        ),
        (
            &[
                "v.nii.gz",
                "--volume",
                "--point=1,1",
                "--slice=7",
                "-o=x.nii",
            ],
            1,
            "slice 7 does not exist",
        ),
        (
            &["v.nii.gz", "--volume", "--point=1,1,1", "-o=x.png"],
            2,
            "one slice",
        ),
        (
            &["v.nii.gz", "--volume", "--point=1,1,1", "-o=v.nii.gz"],
            2,
            "the input",
        ),
    ];
    for (line, code, part) in lines {
        let args = [["predict"].as_slice(), line].concat();
        synthfm(folder.path(), &args).fails(code, &[part]);
    }
    assert!(!folder.path().join("x.nii").exists());
}

/// A box in space is a box on its middle slice, and bounds the slices; so does `--within`.
#[test]
fn the_slices_can_be_bounded() {
    let folder = folder();
    let at = |name: &str| folder.path().join(name);
    let areas_of = |out: &str, more: &[&str]| {
        let args = [&["predict", "v.nii.gz", "--volume", "-o", out], more].concat();
        synthfm(folder.path(), &args).ok();
        areas(&label_volume(&at(out)))
    };
    let flat = areas_of("flat.nii.gz", &["--box=17,7,2,42,32,2"]);
    let within = areas_of("within.nii.gz", &["--box=17,7,2,42,32,2", "--within=1-3"]);
    let bounded = |areas: &[usize]| -> Vec<usize> {
        let inside = |(index, &area)| if (1..4).contains(&index) { area } else { 0 };
        areas.iter().enumerate().map(inside).collect()
    };
    assert_eq!(within, bounded(&flat));
    assert!(within[1] > 250 && within[3] > 250 && flat[0] > 250);
    // Corners in any order.
    let space = areas_of("space.nii.gz", &["--box=42,7,3,17,32,1"]);
    assert_eq!(space, within);
    let fails = |more: &[&str], told: &[&str]| {
        let args = [&["predict", "v.nii.gz", "--volume", "-o=x.nii.gz"], more].concat();
        synthfm(folder.path(), &args).fails(2, told);
    };
    fails(
        &["--point=30,20,0", "--box=42,7,3,17,32,1"],
        &["slice 0 has a prompt", "slices 1 to 3"],
    );
    fails(&["--point=30,20,0", "--within=0-99"], &["--within 0-99"]);
    fails(&["--point=30,20,0", "--within=3-1"], &["FIRST-LAST"]);
    assert!(!at("x.nii.gz").exists());
}
