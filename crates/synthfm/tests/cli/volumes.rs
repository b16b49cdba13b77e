//! `synthfm generate --volume`.

use std::fs;
use std::path::Path;

use serde_json::Value;
use synthfm_image::{
    ImageFile, LabelFile, LabelVolume, ReadOptions, Volume, read_image, read_labels,
};

use crate::common::{files, names, synthfm};

/// `generate` with small volumes.
fn volumes<'a>(more: &[&'a str]) -> Vec<&'a str> {
    let small = ["generate", "--volume=6x40x48", "--seed=5"];
    [small.as_slice(), more].concat()
}

fn image(path: &Path) -> Volume {
    match read_image(path, &ReadOptions::default()).unwrap() {
        ImageFile::Volume(volume) => volume,
        other @ ImageFile::Picture(_) => {
            panic!("{}: a volume expected, got {other:?}", path.display())
        }
    }
}

fn labels(path: &Path) -> LabelVolume {
    match read_labels(path, &ReadOptions::default()).unwrap() {
        LabelFile::Volume(volume) => volume,
        LabelFile::Map(_) => panic!("{}: a volume expected", path.display()),
    }
}

fn recipe(root: &Path, case: &str) -> Value {
    let text = fs::read(root.join(format!("recipes/{case}.json"))).unwrap();
    serde_json::from_slice(&text).unwrap()
}

#[test]
fn threads_order_and_stretches_do_not_matter() {
    let folder = tempfile::tempdir().unwrap();
    let run = |args: &[&str]| synthfm(folder.path(), &volumes(args)).ok();
    run(&["--out=one", "--count=4", "--threads=1"]);
    run(&["--out=two", "--count=2", "--start=2", "--threads=2"]);
    run(&["--out=two", "--count=4", "--threads=2"]);
    let all = files(&folder.path().join("one"));
    assert_eq!(all, files(&folder.path().join("two")));
    assert!(all.len() >= 4 * 3 + 3);
}

#[test]
fn the_layout_is_that_of_nnunet_with_spacing_and_targets() {
    let folder = tempfile::tempdir().unwrap();
    synthfm(folder.path(), &volumes(&["--out=d", "--count=5"])).ok();
    let root = folder.path().join("d");
    let dataset: Value =
        serde_json::from_slice(&fs::read(root.join("dataset.json")).unwrap()).unwrap();
    assert_eq!(dataset["file_ending"], ".nii.gz");
    assert_eq!(dataset["numTraining"], 5);
    let mut targets = 0;
    for case in (0..5).map(|k| format!("synth_{k:08}")) {
        let image = image(&root.join(format!("imagesTr/{case}_0000.nii.gz")));
        let labels = labels(&root.join(format!("labelsTr/{case}.nii.gz")));
        let recipe = recipe(&root, &case);
        assert_eq!(image.geometry().shape(), [48, 40, 6]);
        assert_eq!(
            image.geometry().patient_from_voxel(),
            labels.geometry().patient_from_voxel()
        );
        let spacing = image.geometry().spacing_mm();
        for (axis, expected) in recipe["recipe"]["spacing_mm"]
            .as_array()
            .unwrap()
            .iter()
            .enumerate()
        {
            let expected = expected.as_f64().unwrap();
            assert!((spacing[2 - axis] / expected - 1.0).abs() < 1e-5);
        }
        assert!(image.data().iter().all(|v| (0.0..=255.0).contains(v)));
        for target in recipe["targets"].as_array().unwrap() {
            let (label, labels) = match target["mask"].as_str() {
                Some(name) => (1, self::labels(&root.join(name))),
                None => (target["label"].as_u64().unwrap() as u16, labels.clone()),
            };
            let voxels = labels.data().iter().filter(|&&v| v == label).count();
            assert_eq!(target["voxels"], voxels, "{case}");
            targets += 1;
        }
    }
    assert!(targets > 5);
}

#[test]
fn a_recipe_gives_the_same_files_and_verify_finds_a_flipped_byte() {
    let folder = tempfile::tempdir().unwrap();
    let run = |args: &[&str]| synthfm(folder.path(), args);
    run(&volumes(&["--out=d", "--count=3"])).ok();
    run(&[
        "generate",
        "--recipe=d/recipes/synth_00000002.json",
        "--out=again",
        "--preview=again.png",
    ])
    .ok();
    for name in names(&folder.path().join("again")) {
        let bytes = |root: &str| fs::read(folder.path().join(root).join(&name)).unwrap();
        assert_eq!(bytes("again"), bytes("d"), "{name}");
    }
    assert!(folder.path().join("again.png").is_file());
    let whole = run(&["generate", "--verify=d", "--rerender=3", "--json"])
        .ok()
        .json();
    assert_eq!(
        (&whole["whole"], &whole["findings"]["rendered_again"]),
        (&true.into(), &3.into())
    );
    let path = folder.path().join("d/labelsTr/synth_00000001.nii.gz");
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, bytes).unwrap();
    run(&["generate", "--verify=d"]).fails(1, &["1 files differ"]);
    let facts = run(&["info", "d/recipes/synth_00000001.json", "--json"])
        .ok()
        .json();
    assert_eq!(facts["size"], serde_json::json!([6, 40, 48]));
}

#[test]
fn what_cannot_be_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let run = |args: &[&str]| {
        synthfm(
            folder.path(),
            &[&["generate", "--out=d", "--count=1"], args].concat(),
        )
    };
    for format in ["coco", "npz", "webdataset"] {
        run(&["--volume", "--format", format]).fails(2, &["only --format nnunet holds volumes"]);
    }
    run(&["--volume=64x128"]).fails(2, &["SLICESxROWSxCOLUMNS"]);
    run(&["--volume=1x128x128"]).fails(1, &["volume.size.depth: expected 2 to 1024"]);
    run(&["--volume=1024x1024x1024"]).fails(1, &["volume.size: expected at most"]);
    run(&["--volume", "--size=128"]).fails(2, &["--size"]);
    run(&["--volume", "--set=volume.spacing_mm=[0.0, 1.0]"]).fails(1, &["volume.spacing_mm"]);
    run(&["--volume", "--set=volume.anisotropy=[1.0, 99.0]"]).fails(1, &["volume.anisotropy"]);
    run(&["--volume", "--set=volume.shape=3"]).fails(1, &["shape"]);
    run(&["--set=volume.jitter=0.0"]).fails(2, &["add --volume"]);
    assert!(!folder.path().join("d").exists());
    // A folder of pictures takes no volumes.
    synthfm(
        folder.path(),
        &["generate", "--out=p", "--count=1", "--size=128"],
    )
    .ok();
    synthfm(
        folder.path(),
        &["generate", "--out=p", "--count=1", "--volume=4x32x32"],
    )
    .fails(1, &["p was begun with another configuration"]);
}

#[test]
fn a_section_of_the_configuration_is_used_with_volume_alone() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(
        folder.path().join("c.toml"),
        "[size]\nheight = 128\nwidth = 128\n\n[volume]\nboundary_aware = 1.0\n\n[volume.size]\ndepth = 3\nheight = 33\nwidth = 34\n",
    )
    .unwrap();
    let run = |args: &[&str]| {
        synthfm(
            folder.path(),
            &[&["generate", "--config=c.toml", "--count=1"], args].concat(),
        )
    };
    run(&["--out=v", "--volume", "--preview=v.png"]).ok();
    let volume = image(&folder.path().join("v/imagesTr/synth_00000000_0000.nii.gz"));
    assert_eq!(volume.geometry().shape(), [34, 33, 3]);
    let scene = &recipe(&folder.path().join("v"), "synth_00000000")["recipe"]["scene"];
    assert_eq!(scene, "label_map");
    run(&["--out=p"]).ok();
    assert!(
        folder
            .path()
            .join("p/imagesTr/synth_00000000_0000.png")
            .is_file()
    );
    let settings = fs::read_to_string(folder.path().join("p/generator.toml")).unwrap();
    assert!(!settings.contains("[generator.volume]"));
}
