//! `synthfm info` of everything that the program writes.

use std::fs;

use serde_json::json;
use synthfm_image::{LabelMap, write_label_png};

use crate::common::{SIZE, picture, small, synthfm, volume};

#[test]
fn everything_that_is_written_is_described() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    picture(&at("a.png"));
    volume(&at("v.nii.gz"));
    let entries = json!([{ "image": "a.png", "id": "x", "points": [[30, 20]] }]);
    fs::write(at("p.json"), entries.to_string()).unwrap();
    let run = |args: &[&str]| synthfm(folder.path(), args).ok();
    for format in ["nnunet", "coco", "webdataset", "npz"] {
        run(&small(&["--count=2", "--format", format, "--out", format]));
    }
    run(&["predict", ".", "--prompts=p.json", "-o=masks", "--labels"]);
    run(&[
        "predict",
        "a.png",
        "--point=30,20",
        "-o=m.png",
        "--also=m.coco.json",
    ]);
    run(&["embed", "a.png", "-o=e.safetensors"]);
    for name in ["data/images", "data/masks"] {
        fs::create_dir_all(at(name)).unwrap();
    }
    picture(&at("data/images/1.png"));
    let rectangle = (0..SIZE.area()).map(|i| u16::from((600..1800).contains(&i)));
    let truth = LabelMap::new(SIZE, rectangle.collect()).unwrap();
    write_label_png(&at("data/masks/1.png"), &truth).unwrap();
    run(&[
        "evaluate",
        "--data=data",
        "--model=disc",
        "--prompts=1,0",
        "--out=report",
    ]);
    for (path, kind, words) in [
        ("nnunet", "data set", "cases       2"),
        ("coco", "generated data set", "layout      coco"),
        ("webdataset", "generated data set", "samples     2"),
        ("npz", "generated data set", "npz"),
        ("nnunet/recipes/synth_00000001.json", "recipe", "index 1"),
        (
            "nnunet/dataset.json",
            "data set description",
            "name its folder",
        ),
        ("coco/annotations.json", "COCO", "2 images"),
        (
            "webdataset/shard-000000.json",
            "shard",
            "2 samples from index 0",
        ),
        ("webdataset/shard-000000.tar", "tar", "WebDataset"),
        ("nnunet/manifest.jsonl", "jsonl", "JSON lines"),
        ("nnunet/generator.toml", "toml", "TOML"),
        ("p.json", "prompts", "1 entries on 1 images"),
        ("masks", "predictions", "1 entries, 0 failed"),
        ("masks/predictions.json", "predictions", "embedded"),
        ("masks/a__labels.png", "picture", "40x60"),
        ("m.json", "mask record", "record of the mask m.png"),
        ("m.coco.json", "COCO", "1 images"),
        ("e.safetensors", "embedding", "40 x 60"),
        ("e.json", "embedding record", "e.safetensors"),
        ("report", "report", "rows"),
        ("report/report.html", "html", "browser"),
        ("report/results.csv", "csv", "model,"),
        ("report/rows.jsonl", "jsonl", "JSON lines"),
        (".", "folder", "v.nii.gz"),
    ] {
        let text = run(&["info", path]).stdout;
        assert!(text.contains(words), "{path}: {text}");
        assert_eq!(
            run(&["info", path, "--json"]).json()["kind"],
            kind,
            "{path}"
        );
    }
    let listed = run(&["info", ".", "--json"]).json();
    assert_eq!(listed["kinds"]["NIfTI"], 1);
    assert_eq!(listed["kinds"]["folder"], 7);
    fs::write(at("odd.json"), "{\"a\": 1}").unwrap();
    synthfm(folder.path(), &["info", "odd.json"]).fails(1, &["odd.json", "does not know"]);
    fs::create_dir(at("empty")).unwrap();
    synthfm(folder.path(), &["info", "empty"]).fails(1, &["empty", "neither a data set"]);
}

#[test]
fn files_of_the_annotator_are_described() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let id = "0123456789abcdef";
    let structures = json!([{ "id": 2, "name": "liver", "colour": "#ff0000" }]);
    let files = [
        (
            "states.json",
            json!({ id: "done", "fedcba9876543210": "new" }),
            "2 noted, 1 done",
        ),
        ("times.json", json!({ id: 12.5 }), "12 s on 1 cases"),
        (
            "structures.json",
            json!({ "": { "labels": [{ "value": 2, "name": "liver", "colour": "#ff0000" }], "cases": {} } }),
            "2: liver",
        ),
        (
            "a.json",
            json!({ "synthfm": "1", "case": id, "image": "a.png", "state": "done", "structures": structures,
                    "prompts": [] }),
            "2: liver",
        ),
        (
            "case.json",
            json!({ "synthfm": "1", "name": "a.png", "content": null, "series": null }),
            "work on a.png",
        ),
        (
            "snapshot.json",
            json!({ "format": 3, "n": 4, "shape": [2, 3, 4], "revision": 1, "masks": {}, "structures": structures }),
            "1 structures on 2 x 3 x 4 voxels",
        ),
    ];
    for (name, value, words) in files {
        fs::write(at(name), value.to_string()).unwrap();
        let text = synthfm(folder.path(), &["info", name]).ok().stdout;
        assert!(text.contains(words), "{name}: {text}");
    }
    fs::create_dir_all(at("archive/labelsTr")).unwrap();
    picture(&at("archive/labelsTr/a.png"));
    let manifest = json!({ "labels": { "background": 0, "liver": 2 }, "numTraining": 1, "file_ending": ".png" });
    fs::write(at("archive/dataset.json"), manifest.to_string()).unwrap();
    let text = synthfm(folder.path(), &["info", "archive"]).ok().stdout;
    assert!(
        text.contains("without their images") && text.contains("2: liver"),
        "{text}"
    );
}

#[test]
fn files_beside_dicom_images_are_listed() {
    let folder = tempfile::tempdir().unwrap();
    let fixtures = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../synthfm-image/tests/fixtures/formats/dicom_axial"
    );
    for entry in fs::read_dir(fixtures).unwrap().flatten() {
        fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
    }
    picture(&folder.path().join("photo.png"));
    fs::write(folder.path().join("notes.txt"), "x").unwrap();
    let run = synthfm(folder.path(), &["info", "."]).ok();
    for words in ["volume ", "other files here", "photo.png", "notes.txt"] {
        assert!(run.stdout.contains(words), "{words}: {}", run.stdout);
    }
    let found = synthfm(folder.path(), &["info", ".", "--json"]).ok().json();
    assert_eq!(found["others"].as_array().unwrap().len(), 2);
}

#[test]
fn values_that_are_not_finite_are_no_zeros() {
    let folder = tempfile::tempdir().unwrap();
    let mut header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (4, 6), }".to_vec();
    header.resize(117, b' ');
    header.push(b'\n');
    let mut bytes = b"\x93NUMPY\x01\x00\x76\x00".to_vec();
    bytes.extend(header);
    bytes.extend([f32::NAN; 24].iter().flat_map(|v| v.to_le_bytes()));
    fs::write(folder.path().join("nan.npy"), bytes).unwrap();
    let text = synthfm(folder.path(), &["info", "nan.npy"]).ok().stdout;
    assert!(text.contains("values      nothing finite"), "{text}");
}

#[cfg(target_os = "linux")]
#[test]
fn odd_names_and_pipes_end_nothing() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    use std::process::Command;

    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    picture(&at("a.png"));
    let latin = OsStr::from_bytes(b"b\xe9.png");
    fs::copy(at("a.png"), folder.path().join(latin)).unwrap();
    let line = |args: &[&OsStr]| {
        let mut command = crate::common::command(folder.path(), &[]);
        crate::common::finish(command.args(args))
    };
    let words = |text: &'static str| text.split(' ').map(OsStr::new);
    let mut predict: Vec<&OsStr> = words("predict --point=30,20 --json -o").collect();
    let mask = OsStr::from_bytes(b"m\xe9.png");
    predict.extend([mask, latin]);
    let record = line(&predict).ok().json();
    assert_eq!(record["input"], "b\u{fffd}.png");
    assert!(folder.path().join(mask).is_file());
    let mut embed: Vec<&OsStr> = words("embed -o e.safetensors --json").collect();
    embed.push(latin);
    assert_eq!(line(&embed).ok().json()["input"], "b\u{fffd}.png");

    let made = Command::new("mkfifo").arg(at("pipe")).status().unwrap();
    assert!(made.success());
    for args in [
        &["info", "pipe"][..],
        &["predict", ".", "--prompts=pipe", "-o=out"],
    ] {
        synthfm(folder.path(), args).fails(1, &["pipe"]);
    }
}

#[test]
fn pictures_and_embeddings_replace_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    picture(&at("a.png"));
    for name in ["v.nii.gz", "m.safetensors", "d.json"] {
        fs::write(at(name), name).unwrap();
    }
    let lines: [&[&str]; 4] = [
        &["info", "a.png", "--out=v.nii.gz"],
        &[
            "predict",
            "a.png",
            "--point=30,20",
            "-o=x.png",
            "--overlay=v.nii.gz",
        ],
        &["generate", "--count=1", "--size=128", "--preview=d.json"],
        &["embed", "a.png", "-o=m.safetensors"],
    ];
    for line in lines {
        synthfm(folder.path(), line).fails(2, &[]);
    }
    for name in ["v.nii.gz", "m.safetensors", "d.json"] {
        assert_eq!(fs::read_to_string(at(name)).unwrap(), name);
    }
    // What is asked for beside a prompts file, without one.
    let args = ["predict", "a.png", "--point=1,1", "-o=x.png", "--labels"];
    synthfm(folder.path(), &args).fails(2, &["--prompts"]);
    synthfm(folder.path(), &["info", "a.png", "--window=400,40"]).fails(2, &["--out"]);
    // An earlier list of results may be replaced, also below the images.
    let entries = json!([{ "image": "a.png", "id": "x", "points": [[30, 20]] }]);
    fs::write(at("p.json"), format!("\u{feff}{entries}")).unwrap();
    for _ in 0..2 {
        synthfm(
            folder.path(),
            &["predict", ".", "--prompts=p.json", "-o=out"],
        )
        .ok();
    }
}

#[cfg(unix)]
#[test]
fn names_of_files_move_no_cursor() {
    let folder = tempfile::tempdir().unwrap();
    let name = "a\u{1b}[2J\u{202e}.png";
    picture(&folder.path().join(name));
    picture(&folder.path().join("b.png"));
    let listed = synthfm(folder.path(), &["info", "."]).ok().stdout;
    assert!(listed.contains("a\\u{1b}[2J\\u{202e}.png"), "{listed}");
    assert!(!listed.contains('\u{1b}'), "{listed}");
    // As JSON it is the name itself.
    let json = synthfm(folder.path(), &["info", ".", "--json"]).ok();
    assert!(
        json.json().to_string().contains("\\u001b[2J"),
        "{}",
        json.stdout
    );
}
