//! `synthfm predict --prompts`.

use std::fs;

use serde_json::{Value, json};
use synthfm_image::Plane;

use crate::common::{SHAPE, SIZE, label_volume, mask, names, picture, slice_area, synthfm, volume};

#[test]
fn entries_that_fail_do_not_stop_the_others() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("in")).unwrap();
    picture(&folder.path().join("in/a.png"));
    volume(&folder.path().join("in/v.nii.gz"));
    let absolute = folder.path().join("b.png");
    picture(&absolute);
    let entries = json!([
        { "image": "a.png", "id": "disc", "points": [[30, 20], [2, 3]], "point_labels": [1, 0] },
        { "image": "missing.png", "id": "x", "points": [[30, 20]] },
        { "image": absolute, "id": 7, "box": [18, 8, 42, 32] },
        { "image": "a.png", "id": "outside", "points": [[30, 40]] },
        { "image": "a.png", "id": "empty" },
        { "image": "v.nii.gz", "id": "s", "points": [[30, 20]], "slice": 2 },
        { "image": "a.png", "id": "disc", "points": [[1, 1]] },
    ]);
    fs::write(folder.path().join("p.json"), entries.to_string()).unwrap();
    let run = synthfm(
        folder.path(),
        &["predict", "in", "--prompts=p.json", "-o=out", "--json"],
    );
    let run = run.fails(
        1,
        &[
            "4 of 7 entries failed",
            "entry 1",
            "missing.png",
            "(30, 40)",
            "prompt is empty",
        ],
    );

    let stored: Value =
        serde_json::from_slice(&fs::read(folder.path().join("out/predictions.json")).unwrap())
            .unwrap();
    assert_eq!(stored, run.json());
    let lines = stored["predictions"].as_array().unwrap();
    let order: Vec<u64> = lines
        .iter()
        .map(|line| line["entry"].as_u64().unwrap())
        .collect();
    assert_eq!(order, [0, 1, 2, 3, 4, 5, 6]);
    let failed: Vec<usize> = (0..7).filter(|&i| lines[i]["error"].is_string()).collect();
    assert_eq!(failed, [1, 3, 4, 6]);
    assert!(lines[6]["error"].as_str().unwrap().contains("another id"));
    assert_eq!(
        names(&folder.path().join("out")),
        ["a__disc.png", "b__7.png", "predictions.json", "v__s.nii.gz"]
    );
    let found = mask(&folder.path().join("out/a__disc.png"));
    assert_eq!(
        (found.size(), &lines[0]["area_px"]),
        (SIZE, &found.area().into())
    );
    let labels = label_volume(&folder.path().join("out/v__s.nii.gz"));
    assert_eq!(lines[5]["area_px"], slice_area(&labels, Plane::Axial, 2));

    // The same prompt by hand gives the same mask.
    let args = [
        "predict",
        "in/a.png",
        "--point=30,20",
        "--negative=2,3",
        "-o=m.png",
    ];
    synthfm(folder.path(), &args).ok();
    assert_eq!(mask(&folder.path().join("m.png")), found);
}

#[test]
fn entries_have_frames_slices_and_windows_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    volume(&folder.path().join("v.nii.gz"));
    picture(&folder.path().join("a.png"));
    let entries = json!([
        { "image": "v.nii.gz", "id": "array", "points": [[28, 20]], "slice": 2 },
        { "image": "v.nii.gz", "id": "space", "points": [[28, 20, 2]] },
        { "image": "v.nii.gz", "id": "seen", "points": [[31, 20]], "slice": 2, "frame": "display" },
        { "image": "v.nii.gz", "id": "other", "points": [[28, 20, 4]], "window": "900,500" },
        { "image": "v.nii.gz", "id": "coronal", "points": [[28, 2]], "slice": 20, "axis": "coronal" },
        { "image": "a.png", "id": "disc", "points": [[30, 20]] },
        { "image": "a.png", "id": "corner", "points": [[3, 3]] },
        { "image": "a.png", "id": "sliced", "points": [[3, 3]], "slice": 1 },
    ]);
    fs::write(folder.path().join("p.json"), entries.to_string()).unwrap();
    let line = [
        "predict",
        ".",
        "--prompts=p.json",
        "-o=out",
        "--labels",
        "--overlay-dir=looks",
        "--json",
    ];
    let run = synthfm(folder.path(), &line).fails(1, &["1 of 8", "entry 7", "is a picture"]);
    let found = run.json();
    let masks = ["array", "space", "seen"].map(|id| {
        let mask = label_volume(&folder.path().join(format!("out/v__{id}.nii.gz")));
        assert!(slice_area(&mask, Plane::Axial, 2) > 0);
        mask
    });
    assert!(masks[0] == masks[1] && masks[0] == masks[2]);
    let lines = found["predictions"].as_array().unwrap();
    assert_eq!(lines[1]["positions"], lines[0]["positions"]);
    assert_eq!(
        (&lines[3]["slice"], &lines[4]["axis"]),
        (&json!(4), &json!("coronal"))
    );
    assert_eq!(lines[3]["window"], json!([50.0, 950.0]));
    assert_eq!(lines[6]["label"], 2);
    assert_eq!(
        found["labels"],
        json!(["a__labels.png", "v__labels.nii.gz"])
    );
    // Where answers of a slice agree, the last entry keeps the pixels.
    let labels = label_volume(&folder.path().join("out/v__labels.nii.gz"));
    let (other, seen) = (
        label_volume(&folder.path().join("out/v__other.nii.gz")),
        &masks[2],
    );
    let coronal = label_volume(&folder.path().join("out/v__coronal.nii.gz"));
    for (at, &value) in labels.data().iter().enumerate() {
        let expected = [(5, &coronal), (4, &other), (3, seen)];
        let expected = expected.iter().find(|(_, mask)| mask.data()[at] != 0);
        assert_eq!(value, expected.map_or(0, |(label, _)| *label));
    }
    let map = crate::common::label_map(&folder.path().join("out/a__labels.png"));
    assert!(map.labels().contains(&1), "{:?}", map.labels());
    assert_eq!(
        names(&folder.path().join("looks")),
        [
            "a__corner.overlay.png",
            "a__disc.overlay.png",
            "v__array.overlay.png",
            "v__coronal.overlay.png",
            "v__other.overlay.png",
            "v__seen.overlay.png",
            "v__space.overlay.png",
        ]
    );
}

#[test]
fn entries_keep_their_place_in_the_map_of_labels() {
    let folder = tempfile::tempdir().unwrap();
    picture(&folder.path().join("a.png"));
    let entries = json!([
        { "image": "a.png", "id": "beside", "points": [[2, 3]], "point_labels": [0] },
        { "image": "a.png", "id": "outside", "points": [[300, 20]] },
        { "image": "a.png", "id": "disc", "points": [[30, 20], [2, 3]], "point_labels": [1, 0] },
    ]);
    fs::write(folder.path().join("p.json"), entries.to_string()).unwrap();
    let line = [
        "predict",
        ".",
        "--prompts=p.json",
        "-o=out",
        "--labels",
        "--json",
    ];
    let run = synthfm(folder.path(), &line).fails(1, &["2 of 3", "beside the structure alone"]);
    let found = run.json();
    let entry = &found["predictions"][2];
    assert_eq!(entry["label"], 3);
    let map = crate::common::label_map(&folder.path().join("out/a__labels.png"));
    assert_eq!(map.labels(), [3]);
    // The facts that the record of a single mask has.
    assert_eq!(entry["frame"], "voxel");
    assert_eq!(entry["point_labels"], json!([1, 0]));
    assert_eq!(entry["points"], json!([[30.0, 20.0], [2.0, 3.0]]));
    assert_eq!(entry["box"], Value::Null);
}

#[test]
fn files_that_are_no_prompts_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    for (text, part) in [
        ("", "JSON list"),
        ("{}", "JSON list"),
        ("[", "JSON list"),
        ("[]", "empty"),
    ] {
        fs::write(folder.path().join("p.json"), text).unwrap();
        synthfm(
            folder.path(),
            &["predict", ".", "--prompts=p.json", "-o=out"],
        )
        .fails(1, &["p.json", part]);
        assert_eq!(names(folder.path()), ["p.json"]);
    }
    synthfm(
        folder.path(),
        &["predict", ".", "--prompts=none.json", "-o=out"],
    )
    .fails(1, &["none.json"]);
    fs::write(
        folder.path().join("p.json"),
        r#"[{"image":"a.png","id":"b","points":[[1,1]]}]"#,
    )
    .unwrap();
    synthfm(
        folder.path(),
        &["predict", ".", "--prompts=p.json", "-o=p.json/out"],
    )
    .fails(1, &["p.json/out"]);
    synthfm(
        folder.path(),
        &["predict", ".", "--prompts=p.json", "-o=out", "--point=1,1"],
    )
    .fails(2, &["--prompts"]);
}

#[test]
fn entries_of_an_image_are_what_single_prompts_are() {
    let folder = tempfile::tempdir().unwrap();
    picture(&folder.path().join("a.png"));
    let single = |out: &str, prompt: &[&str]| {
        let args = ["predict", "a.png", "--json", "-o", out];
        synthfm(folder.path(), &[args.as_slice(), prompt].concat())
            .ok()
            .json()
    };
    let alone = [
        single("0.png", &["--point=30,20"]),
        single("1.png", &["--box=18,8,42,32"]),
        single("2.png", &["--mask-prompt=0.png", "--negative=2,3"]),
        single("3.png", &["--point=25,20"]),
        single("4.png", &["--mask-prompt=1.png", "--negative=7,3"]),
    ];
    let entries = json!([
        { "image": "a.png", "id": 0, "points": [[30, 20]] },
        { "image": "a.png", "id": 1, "box": [18, 8, 42, 32] },
        { "image": "a.png", "id": 2, "mask": "0.png", "points": [[2, 3]], "point_labels": [0] },
        { "image": "a.png", "id": 3, "points": [[25, 20]] },
        { "image": "a.png", "id": 4, "mask": "1.png", "points": [[7, 3]], "point_labels": [0] },
        { "image": "a.png", "id": 5, "mask": "none.png" },
    ]);
    fs::write(folder.path().join("p.json"), entries.to_string()).unwrap();
    let run = synthfm(
        folder.path(),
        &["predict", ".", "--prompts=p.json", "-o=out", "--json"],
    );
    let lines = run.fails(1, &["1 of 6", "none.png"]).json();
    for (i, alone) in alone.iter().enumerate() {
        let name = |folder: &str| format!("{folder}{i}.png");
        let [together, by_hand] = ["out/a__", ""].map(|f| mask(&folder.path().join(name(f))));
        assert_eq!(together, by_hand, "entry {i}");
        let iou = |line: &Value| line["iou"].as_f64().unwrap();
        assert!((iou(&lines["predictions"][i]) - iou(alone)).abs() < 1e-5);
    }
}

/// Whole structures by entries of a file are those of `predict --volume`, alone and in the map of labels.
#[test]
fn entries_can_be_whole_structures_of_volumes() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::create_dir(at("in")).unwrap();
    volume(&at("in/v.nii.gz"));
    picture(&at("in/a.png"));
    let entries = json!([
        { "image": "v.nii.gz", "id": "disc", "box": [17, 7, 2, 42, 32, 2] },
        { "image": "v.nii.gz", "id": "nowhere", "points": [[30, 20]] },
        { "image": "a.png", "id": "flat", "points": [[30, 20]] },
        { "image": "v.nii.gz", "id": "two", "points": [[30, 20, 1], [30, 20, 3], [2, 3, 4]], "point_labels": [1, 1, 0] },
        { "image": "v.nii.gz", "id": "mask", "mask": "../rough.nii.gz" },
    ]);
    fs::write(at("p.json"), entries.to_string()).unwrap();
    let alone = [
        "predict",
        "in/v.nii.gz",
        "--volume",
        "--box=17,7,2,42,32,2",
        "-o=alone.nii.gz",
        "--json",
    ];
    let record = synthfm(folder.path(), &alone).ok().json();
    fs::copy(at("alone.nii.gz"), at("rough.nii.gz")).unwrap();
    let args = [
        "predict",
        "in",
        "--prompts=p.json",
        "--volume",
        "--labels",
        "--overlay-dir=looks",
        "-o=out",
        "--json",
    ];
    let run = synthfm(folder.path(), &args);
    let told = ["2 of 5 entries failed", "--slice", "a.png is a picture"];
    let result = run.fails(1, &told).json();
    let lines = result["predictions"].as_array().unwrap();
    let disc = label_volume(&at("out/v__disc.nii.gz"));
    assert_eq!(disc.data(), label_volume(&at("alone.nii.gz")).data());
    for field in ["voxels", "slices", "ends", "axis", "window"] {
        assert_eq!(lines[0][field], record[field], "{field}");
    }
    assert!(lines[0].get("area_px").is_none());
    assert!(lines[1]["error"].is_string() && lines[2]["error"].is_string());
    // A click beside the structure on slice 4 ends it there.
    let two = label_volume(&at("out/v__two.nii.gz"));
    let areas: Vec<usize> = (0..SHAPE[2])
        .map(|index| slice_area(&two, Plane::Axial, index))
        .collect();
    assert!(
        areas[1] > 250 && areas[3] > 250 && areas[4] == 0,
        "{areas:?}"
    );
    assert_eq!(lines[3]["voxels"], areas.iter().sum::<usize>());
    let labels = label_volume(&at("out/v__labels.nii.gz"));
    assert_eq!(
        (&lines[0]["label"], &lines[3]["label"]),
        (&1.into(), &3.into())
    );
    let masks = ["disc", "two", "mask"].map(|id| label_volume(&at(&format!("out/v__{id}.nii.gz"))));
    for (place, &value) in labels.data().iter().enumerate() {
        let highest = [(0, 1), (1, 3), (2, 4)]
            .into_iter()
            .filter(|&(mask, _)| masks[mask].data()[place] != 0)
            .map(|(_, label)| label)
            .max();
        assert_eq!(value, highest.unwrap_or(0));
    }
    assert_eq!(
        names(&at("looks")),
        [
            "v__disc.overlay.png",
            "v__mask.overlay.png",
            "v__two.overlay.png"
        ]
    );
    let picture = [&args[..], &["--format=png"]].concat();
    synthfm(folder.path(), &picture).fails(2, &["--format", "nifti"]);
}

#[test]
fn values_of_the_file_are_held_against_the_limit() {
    let folder = tempfile::tempdir().unwrap();
    picture(&folder.path().join("a.png"));
    let refused = |text: String, parts: &[&str]| {
        fs::write(folder.path().join("p.json"), text).unwrap();
        let args = [
            "predict",
            ".",
            "--prompts=p.json",
            "-o=out",
            "--max-memory=32MB",
        ];
        synthfm(folder.path(), &args).fails(1, parts);
        assert!(!folder.path().join("out").exists());
    };
    let points = vec!["[1, 1]"; 400_000].join(",");
    let entry = format!("[{{\"image\": \"a.png\", \"id\": \"x\", \"points\": [{points}]}}]");
    refused(entry, &["p.json", "--max-memory"]);
    refused(
        format!("[{}1]", "1,".repeat(200_000)),
        &["200001 entries", "100000"],
    );
}
