//! `synthfm evaluate`, and the whole path in small: generate, train, evaluate, predict, info.

use std::fs;

use serde_json::Value;

use synthfm_image::{LabelVolume, VolumeGeometry, write_label_nifti};

use crate::common::{label_volume, mask, names, synthfm, tiny_config};

#[test]
fn the_whole_path_runs() {
    let folder = tempfile::tempdir().unwrap();
    let run = |args: &[&str]| synthfm(folder.path(), args).ok();
    run(&[
        "generate",
        "--out=data",
        "--count=3",
        "--size=128x160",
        "--seed=9",
    ]);
    run(&[
        "train",
        "--out=run",
        "--config",
        &tiny_config(),
        "--set=images_per_epoch=6",
    ]);
    let evaluate = [
        "evaluate",
        "--data",
        "data",
        "--model",
        "run/model.safetensors",
        "disc",
        "--out=report",
    ];
    let more = [
        "--prompts",
        "1,0",
        "3,2",
        "box",
        "--negatives",
        "far",
        "ring",
    ];
    let table = run(&[evaluate.as_slice(), &more].concat()).stdout;
    assert!(
        table.contains("run: mean Dice") && table.contains("disc: mean Dice"),
        "{table}"
    );
    assert!(
        table.contains("3,2 far") && table.contains("3,2 ring"),
        "{table}"
    );
    assert_eq!(
        names(&folder.path().join("report")),
        ["report.html", "results.csv", "rows.jsonl", "summary.json"]
    );
    let summary = fs::read(folder.path().join("report/summary.json")).unwrap();
    let summary: Value = serde_json::from_slice(&summary).unwrap();
    assert_eq!(summary["run"]["models"][0]["name"], "run");
    assert_eq!(summary["failed_rows"], 0);
    // A disc around a click knows where the structure is: on any data its Dice is above 0.
    let lines = summary["lines"].as_array().unwrap();
    let disc = lines
        .iter()
        .find(|line| line["model"] == "disc" && line["level"] == "modality")
        .unwrap();
    assert!(disc["dice"]["mean"].as_f64().unwrap() > 0.05);

    let image = "data/imagesTr/synth_00000000_0000.png";
    let said = run(&["predict", image, "--point=64,64", "--model=run", "-o=m.png"]).stdout;
    assert!(said.starts_with("m.png: "), "{said}");
    assert_eq!(mask(&folder.path().join("m.png")).size().width, 160);
    for (path, part) in [
        ("report", "Dice"),
        ("data", "cases"),
        ("run", "step 3 of 3"),
        ("run/model.safetensors", "input 128 px"),
    ] {
        let info = run(&["info", path]).stdout;
        assert!(info.contains(part), "{path}: {info}");
        let json: Value = run(&["info", path, "--json"]).json();
        assert!(json["kind"].is_string());
    }
    let bench = run(&[
        "bench",
        "--model=run/model.safetensors",
        "--repeats=1",
        "--json",
    ])
    .json();
    assert!(
        bench["encode_ms"].as_f64().unwrap() > 0.0
            && bench["training_step_ms"].as_f64().unwrap() > 0.0
    );
    for (part, field) in [("encoder", "encode_ms"), ("decoder", "box_ms")] {
        let bench = run(&[
            "bench",
            part,
            "--model=run/model.safetensors",
            "--repeats=1",
            "--json",
        ])
        .json();
        let [median, min, max] =
            ["median", "min", "max"].map(|k| bench[field][k].as_f64().unwrap());
        assert!(
            0.0 < min && min <= median && median <= max,
            "{part}: {bench}"
        );
        assert_eq!(bench["precision"], "f32");
    }
}

#[test]
fn bench_times_whole_training_steps() {
    let folder = tempfile::tempdir().unwrap();
    let run = |args: &[&str]| synthfm(folder.path(), args).ok();
    let small = ["bench", "train", "--size=128", "--batch=1", "--repeats=1"];
    let short = [
        "--objects=1",
        "--corrections=0",
        "--precision=auto",
        "--json",
    ];
    let bench = run(&[&small[..], &short].concat()).json();
    let precision = bench["precision"].as_str().unwrap();
    assert!(["f32", "bf16"].contains(&precision), "{bench}");
    let refused = [&small[..], &["--precision=f16"]].concat();
    synthfm(folder.path(), &refused).fails(1, &["f16"]);
    let bench = run(&[&small[..], &["--objects=2", "--generate", "--json"]].concat()).json();
    assert_eq!(bench["precision"], "f32");
    assert_eq!(
        bench["parameters"], 6_936_448,
        "as those of the built-in model"
    );
    let value = |pointer: &str| bench.pointer(pointer).and_then(Value::as_f64).unwrap();
    let rate = value("/images_per_second") * value("/step_ms/median");
    assert!((rate - 1e3).abs() < 1e-6, "{bench}");
    let spent = value("/generating/step_ms/median") + value("/generating/wait_ms/median");
    let rate = value("/generating/images_per_second") * spent;
    assert!((rate - 1e3).abs() < 1e-6, "{bench}");
}

#[test]
fn data_that_cannot_be_evaluated_is_named() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("empty")).unwrap();
    fs::create_dir_all(folder.path().join("data/labelsTr")).unwrap();
    fs::create_dir_all(folder.path().join("data/imagesTr")).unwrap();
    let manifest = r#"{"channel_names": {"0": "CT"}, "labels": {"background": 0, "a": 1}, "file_ending": ".png"}"#;
    fs::write(folder.path().join("data/dataset.json"), manifest).unwrap();
    let before = names(folder.path());
    for (args, code, part) in [
        (["--data=empty", "--model=disc"], 1, "empty"),
        (["--data=none", "--model=disc"], 1, "none"),
        (["--data=data", "--model=disc"], 1, "CASE_0000.png"),
        (["--data=data", "--prompts=0,1"], 2, "P,N expected"),
        (["--data=data", "--negatives=near"], 2, "ring"),
        (["--data=data", "--layout=amos"], 2, "amos22"),
        (["--data=data", "--layout=kits"], 1, "case_NNNNN"),
        (["--data=data", "--slices=some"], 2, "stride-N"),
        (["--data=data", "--study=ablation"], 2, "at least two"),
    ] {
        let args = [["evaluate", "--out=report"].as_slice(), &args].concat();
        synthfm(folder.path(), &args).fails(code, &[part]);
    }
    synthfm(folder.path(), &["evaluate", "--data=data"]).fails(2, &["--out"]);
    synthfm(folder.path(), &["evaluate", "--out=report"]).fails(2, &["--data"]);
    let compare = ["evaluate", "--compare", "a.csv", "b.csv"];
    synthfm(folder.path(), &compare).fails(1, &["a.csv"]);
    synthfm(folder.path(), &compare[..3]).fails(2, &["--compare"]);
    assert_eq!(names(folder.path()), before);
}

#[test]
fn damaged_cases_are_part_of_the_result() {
    let folder = tempfile::tempdir().unwrap();
    synthfm(
        folder.path(),
        &[
            "generate",
            "--out=data",
            "--count=3",
            "--size=128",
            "--seed=9",
        ],
    )
    .ok();
    let case = folder.path().join("data/imagesTr/synth_00000001_0000.png");
    let bytes = fs::read(&case).unwrap();
    fs::write(&case, &bytes[..bytes.len() / 2]).unwrap();
    let evaluate = [
        "evaluate",
        "--data=data",
        "--model",
        "disc",
        "--prompts=1,0",
        "--out",
    ];
    let table = synthfm(folder.path(), &[evaluate.as_slice(), &["report"]].concat())
        .ok()
        .stdout;
    assert!(
        table.contains("synth_00000001 could not be read"),
        "{table}"
    );
    let blocked = "data/dataset.json/report";
    synthfm(folder.path(), &[evaluate.as_slice(), &[blocked]].concat()).fails(1, &[blocked]);
    let twice = [
        "evaluate",
        "--data=data",
        "--model",
        "disc",
        "disc",
        "--out=r",
    ];
    synthfm(folder.path(), &twice).fails(1, &["given twice"]);
}

#[test]
fn runs_continue_replay_and_are_compared() {
    let folder = tempfile::tempdir().unwrap();
    let run = |args: &[&str]| synthfm(folder.path(), args).ok();
    run(&[
        "generate",
        "--out=data",
        "--count=3",
        "--size=128x160",
        "--seed=9",
    ]);
    run(&[
        "generate",
        "--out=coco",
        "--count=2",
        "--size=128",
        "--format=coco",
    ]);
    let evaluate = |model: &str, more: &[&str]| {
        let fixed = [
            "evaluate", "--data", "data", "coco", "--model", model, "--jobs=2",
        ];
        run(&[fixed.as_slice(), more].concat())
    };
    let prompts = [
        "--prompts",
        "1,2",
        "box-jitter",
        "scribble-4",
        "iterative-3",
        "--negatives=border",
        "--save-masks",
    ];
    let first = evaluate("disc", &[&prompts, ["--out=a"].as_slice()].concat());
    assert!(!first.stderr.contains("kept"), "{}", first.stderr);
    let results =
        |report: &str| fs::read_to_string(folder.path().join(report).join("results.csv")).unwrap();
    let before = results("a");
    let again = evaluate("disc", &[&prompts, ["--out=a"].as_slice()].concat());
    assert!(again.stderr.contains("rows were kept"), "{}", again.stderr);
    assert_eq!(results("a"), before);
    assert!(folder.path().join("a/masks").is_dir());

    evaluate(
        "flood-fill",
        &[&prompts[..6], &["--replay=a", "--out=b", "--seed=5"]].concat(),
    );
    let column = |text: &str, name: &str| -> Vec<String> {
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split(',').collect()).collect();
        let at = lines[0].iter().position(|field| *field == name).unwrap();
        lines[1..]
            .iter()
            .map(|fields| fields[at].to_owned())
            .collect()
    };
    // The setting `1,2` is quoted and holds a comma: its lines have a field more.
    let clicks = |text: &str| {
        let unquoted = text.replace("\"1,2\"", "1+2");
        column(&unquoted, "clicks")
    };
    assert_eq!(clicks(&results("b")), clicks(&before));

    let compared = run(&[
        "evaluate",
        "--compare",
        "a/results.csv",
        "b/results.csv",
        "--out=c",
        "--json",
    ]);
    let json: Value = compared.json();
    assert_eq!(json["comparisons"][0]["model"], "disc");
    assert_eq!(json["only_in_first"], 0);
    assert_eq!(
        names(&folder.path().join("c")),
        ["comparison.html", "comparison.json"]
    );

    let study = run(&[
        "evaluate",
        "--data=data",
        "--model",
        "disc",
        "flood-fill",
        "--study=prompts",
        "--out=s",
    ]);
    assert!(study.stdout.contains("Table 1"), "{}", study.stdout);
    assert!(folder.path().join("s/study.csv").is_file());
}

/// A data set of one volume: a bright ball of radius 10 mm, spacing 1 x 1 x 2 mm, off the middle.
fn balls() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let set = folder.path().join("set");
    for name in ["imagesTs", "labelsTs"] {
        fs::create_dir_all(set.join(name)).unwrap();
    }
    let manifest = r#"{"name": "Balls", "channel_names": {"0": "MR"}, "labels": {"background": 0, "ball": 1},
        "file_ending": ".nii.gz"}"#;
    fs::write(set.join("dataset.json"), manifest).unwrap();
    let shape = [48, 40, 16];
    let geometry = VolumeGeometry::with_spacing(shape, [1.0, 1.0, 2.0]).unwrap();
    let write = |path: &str, inside: u16, outside: u16| {
        let value = |at: usize| {
            let (x, y, z) = (at % 48, at / 48 % 40, at / (48 * 40));
            let place = [x as f64 - 22.0, y as f64 - 19.0, 2.0 * (z as f64 - 7.0)];
            let is_inside = place.iter().map(|v| v * v).sum::<f64>() <= 100.0;
            let ground = outside * u16::try_from(2 + x % 3).unwrap();
            if is_inside { inside } else { ground }
        };
        let values = (0..shape.iter().product()).map(value).collect();
        let labels = LabelVolume::new(geometry.clone(), values).unwrap();
        write_label_nifti(&set.join(path), &labels).unwrap();
    };
    write("labelsTs/a.nii.gz", 1, 0);
    write("imagesTs/a_0000.nii.gz", 900, 60);
    folder
}

#[test]
fn volumes_are_evaluated_beside_a_floor_and_an_upper_bound() {
    let folder = balls();
    let args = [
        "evaluate",
        "--protocol=volume",
        "--data=set",
        "--model",
        "embedded",
        "copied-mask",
        "true-boxes:embedded",
        "--prompts=box",
        "--corrections=2",
        "--save-masks",
        "--out=report",
        "--json",
    ];
    let record = synthfm(folder.path(), &args).ok().json();
    let dice = |model: &str, prompt: &str| {
        let lines = record["lines"].as_array().unwrap();
        let is_it = |line: &&Value| {
            (&line["model"], &line["prompt"], &line["level"])
                == (&model.into(), &prompt.into(), &"structure".into())
        };
        let line = lines
            .iter()
            .find(is_it)
            .unwrap_or_else(|| panic!("{model} {prompt}"));
        line["dice"]["mean"].as_f64().unwrap()
    };
    // Discs of 317, 293, 261, 197, 113 and 1 pixels; the copy has the largest on all eleven slices.
    let truth = 317.0 + 2.0 * (293.0 + 261.0 + 197.0 + 113.0 + 1.0);
    let copied = dice("copied-mask", "box");
    let expected = 2.0 * truth / (truth + 11.0 * 317.0);
    assert!((copied - expected).abs() < 1e-6, "{copied} {expected}");
    let carried = dice("embedded", "box");
    assert!(carried > 0.95, "{carried}");
    assert!(dice("embedded", "box +2") > 0.95);
    assert!(dice("true-boxes:embedded", "box") > 0.85);
    let table = fs::read_to_string(folder.path().join("report/results.csv")).unwrap();
    let lines: Vec<Vec<&str>> = table
        .lines()
        .map(|line| line.split(',').collect())
        .collect();
    let column = |name: &str| lines[0].iter().position(|field| *field == name).unwrap();
    let (mask, slices, corrections) = (column("mask"), column("slices"), column("corrections"));
    assert_eq!(lines.len(), 5);
    assert!(lines[1..].iter().all(|line| line[slices] == "11"));
    let corrected = lines.iter().filter(|line| line[corrections] == "2");
    let names: Vec<&str> = corrected.map(|line| line[mask]).collect();
    assert_eq!(names.len(), 1);
    let saved = label_volume(&folder.path().join("report").join(names[0]));
    assert_eq!(saved.labels(), [1]);
    // The same command keeps what it has.
    let again = synthfm(folder.path(), &args).ok().json();
    assert_eq!(again["lines"], record["lines"]);
    assert_eq!(again["run"]["rows_from_earlier_run"], 4);
}

#[test]
fn what_does_not_go_with_a_protocol_is_refused() {
    let folder = balls();
    let refused = |more: &[&str], words: &str| {
        let args = [&["evaluate", "--data=set", "--out=report"], more].concat();
        synthfm(folder.path(), &args).fails(2, &[words]);
    };
    refused(
        &["--protocol=volume", "--model=flood-fill"],
        "single slices",
    );
    refused(&["--model=copied-mask"], "--protocol volume");
    refused(&["--model=true-boxes:embedded"], "--protocol volume");
    refused(
        &["--protocol=volume", "--carry=auto,speed=3"],
        "least_likeness",
    );
    refused(
        &["--protocol=volume", "--carry=auto,smoothing=9999"],
        "smoothing: a number from 0 to 4 expected",
    );
    let iterative = [
        "evaluate",
        "--data=set",
        "--out=report",
        "--protocol=volume",
        "--prompts=iterative-3",
    ];
    synthfm(folder.path(), &iterative).fails(1, &["single slices"]);
}
