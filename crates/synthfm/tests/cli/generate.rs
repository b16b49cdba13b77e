//! `synthfm generate`.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::Value;
use synthfm_image::{ImageFile, ReadOptions, Size, read_image};

use crate::common::{command, files, interrupt, label_map, mask, names, small, synthfm};

#[test]
fn the_number_of_threads_and_the_order_do_not_matter() {
    let folder = tempfile::tempdir().unwrap();
    synthfm(
        folder.path(),
        &small(&["--out", "one", "--count=4", "--threads=1"]),
    )
    .ok();
    synthfm(
        folder.path(),
        &small(&["--out", "two", "--count=2", "--start=2", "--threads=2"]),
    )
    .ok();
    synthfm(
        folder.path(),
        &small(&["--out", "two", "--count=2", "--threads=2"]),
    )
    .ok();
    let (one, two) = (
        files(&folder.path().join("one")),
        files(&folder.path().join("two")),
    );
    assert_eq!(
        one.iter().map(|f| &f.0).collect::<Vec<_>>(),
        two.iter().map(|f| &f.0).collect::<Vec<_>>()
    );
    assert_eq!(one, two);
}

#[test]
fn samples_are_continued_and_the_layout_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let run = |count: &str| {
        synthfm(
            folder.path(),
            &small(&["--json", "--out", "d", "--count", count]),
        )
        .ok()
        .json()
    };
    let first = run("2");
    assert_eq!(
        (&first["written"], &first["already_there"]),
        (&2.into(), &0.into())
    );
    let second = run("3");
    assert_eq!(
        (&second["written"], &second["already_there"]),
        (&1.into(), &2.into())
    );
    let root = folder.path().join("d");
    let dataset: Value =
        serde_json::from_slice(&fs::read(root.join("dataset.json")).unwrap()).unwrap();
    assert_eq!(
        (&dataset["numTraining"], &dataset["labels"]["background"]),
        (&3.into(), &0.into())
    );
    for case in ["synth_00000000", "synth_00000001", "synth_00000002"] {
        let image = read_image(
            &root.join(format!("imagesTr/{case}_0000.png")),
            &ReadOptions::default(),
        )
        .unwrap();
        let ImageFile::Picture(image) = image else {
            panic!("a picture expected")
        };
        assert_eq!(image.size(), Size::new(128, 160));
        check_targets(&root, case);
    }
}

/// Each target is in the label map with its area, or has a mask of that area.
fn check_targets(root: &std::path::Path, case: &str) {
    let labels = label_map(&root.join(format!("labelsTr/{case}.png")));
    let recipe = fs::read(root.join(format!("recipes/{case}.json"))).unwrap();
    let recipe: Value = serde_json::from_slice(&recipe).unwrap();
    let targets = recipe["targets"].as_array().unwrap();
    assert!(
        labels
            .labels()
            .iter()
            .all(|&label| usize::from(label) <= targets.len())
    );
    for target in targets {
        let label = target["label"].as_u64().unwrap() as u16;
        let area = match target["mask"].as_str() {
            Some(name) => mask(&root.join(name)).area(),
            None => labels.mask_of(label).area(),
        };
        assert_eq!(target["area_px"], area, "{case} {label}");
    }
}

#[test]
fn another_configuration_is_refused_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    synthfm(folder.path(), &small(&["--out", "d", "--count=1"])).ok();
    let before = files(folder.path());
    for more in [
        ["--seed=6", "--count=2"],
        ["--set=noise.grain=[0.0, 0.001]", "--count=2"],
        ["--format=npz", "--count=2"],
    ] {
        let args = [
            ["generate", "--size", "128x160", "--out", "d"].as_slice(),
            &more,
        ]
        .concat();
        synthfm(folder.path(), &args).fails(1, &["d was begun with another configuration"]);
    }
    assert_eq!(files(folder.path()), before);
}

#[test]
fn a_sheet_needs_no_folder_and_presets_have_names() {
    let folder = tempfile::tempdir().unwrap();
    synthfm(
        folder.path(),
        &small(&["--count=3", "--preview", "new/sheet.png", "--config=paper"]),
    )
    .ok();
    assert_eq!(names(folder.path()), ["new/sheet.png"]);
    synthfm(
        folder.path(),
        &small(&["--count=3", "--preview=s.png", "--config=best"]),
    )
    .fails(1, &["paper", "best"]);
    synthfm(
        folder.path(),
        &small(&["--count=3", "--preview=s.png", "--config=no.toml"]),
    )
    .fails(1, &["no.toml"]);
}

#[test]
fn wrong_commands_are_named() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("file"), "").unwrap();
    fs::write(folder.path().join("bad.toml"), "[size]\nheigth = 3").unwrap();
    fs::write(folder.path().join("broken.toml"), "[size").unwrap();
    for (more, code, part) in [
        (["--out=d", "--set=mixture.boddy=1"], 1, "boddy"),
        (["--out=d", "--set=mixture.body=-1"], 1, "mixture.body"),
        (["--out=d", "--set=nothing"], 2, "KEY=VALUE"),
        (["--out=d", "--config=bad.toml"], 1, "heigth"),
        (["--out=d", "--config=broken.toml"], 1, "not TOML"),
        (["--out=d", "--size=100"], 2, "128 to 2048"),
        (["--out=d", "--format=voc"], 2, "nnunet"),
        (["--out=d", "--shard=2/2"], 2, "count from 0"),
        (["--out=d", "--shard=all"], 2, "I/N expected"),
        (["--out=d", "--shard-size=9"], 2, "--format webdataset"),
        (["--preview=s.png", "--shard=0/2"], 2, "--out"),
        (["--out=d", "--verify=d"], 2, "--verify"),
        (["--out=d", "--rerender=1"], 2, "--verify"),
        (["--out=file/d", "-q"], 1, "file/d"),
        (["--preview=file/s.png", "-q"], 1, "file"),
        (["-q", "-q"], 2, "--out"),
    ] {
        let args = [["generate", "--count=1"].as_slice(), &more].concat();
        synthfm(folder.path(), &args).fails(code, &[part]);
    }
    assert_eq!(names(folder.path()), ["bad.toml", "broken.toml", "file"]);
}

#[test]
fn damaged_recipes_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    synthfm(folder.path(), &small(&["--out", "d", "--count=1"])).ok();
    let good = fs::read_to_string(folder.path().join("d/recipes/synth_00000000.json")).unwrap();
    let mut huge: Value = serde_json::from_str(&good).unwrap();
    huge["recipe"]["size"]["height"] = 1_000_000_000.into();
    for (text, part) in [
        (good[..good.len() / 2].to_owned(), "a recipe"),
        ("[]".to_owned(), "a recipe"),
        (String::new(), "a recipe"),
        (huge.to_string(), "size.height"),
    ] {
        fs::write(folder.path().join("r.json"), text).unwrap();
        synthfm(folder.path(), &["generate", "--recipe=r.json", "--out=new"])
            .fails(1, &["r.json", part]);
        assert!(!folder.path().join("new").exists());
    }
}

/// Stops by a signal once the first sample is there, as Ctrl-C does.
#[cfg(unix)]
#[test]
fn ctrl_c_leaves_whole_samples_only() {
    let folder = tempfile::tempdir().unwrap();
    let args = small(&["--out=d", "--count=5000", "--quiet"]);
    let mut child = command(folder.path(), &args).spawn().unwrap();
    let recipes = folder.path().join("d/recipes");
    let started = Instant::now();
    while fs::read_dir(&recipes).map_or(0, Iterator::count) == 0 {
        assert!(
            started.elapsed() < Duration::from_secs(20),
            "no sample was written"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    interrupt(&child);
    assert_eq!(child.wait().unwrap().code(), Some(1));
    let root = folder.path().join("d");
    let found = names(&root);
    assert!(found.iter().all(|name| !name.contains(".tmp")), "{found:?}");
    let cases: Vec<&str> = found
        .iter()
        .filter_map(|n| n.strip_prefix("recipes/")?.strip_suffix(".json"))
        .collect();
    assert!(!cases.is_empty() && cases.len() < 5000);
    let images = found
        .iter()
        .filter(|name| name.starts_with("imagesTr/"))
        .count();
    assert_eq!(images, cases.len());
    for case in cases {
        check_targets(&root, case);
    }
}
