//! `--cache`: embeddings that outlive a run.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use synthfm_image::{Mask, write_mask_png};

use crate::common::{SIZE, files, mask, names, picture, synthfm, volume};

/// A picture and a slice of a volume with two prompts each, mixed.
fn folder_of_prompts() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    picture(&folder.path().join("a.png"));
    volume(&folder.path().join("v.nii.gz"));
    let of = |image: &str, slice: Option<usize>, id: &str| json!({ "image": image, "slice": slice, "id": id, "points": [[30, 20]] });
    let entries = json!([
        of("v.nii.gz", Some(2), "0"),
        of("a.png", None, "1"),
        of("v.nii.gz", Some(2), "2"),
        of("a.png", None, "3"),
    ]);
    fs::write(folder.path().join("p.json"), entries.to_string()).unwrap();
    folder
}

fn cached(folder: &Path) -> usize {
    let found = names(&folder.join("c"));
    found
        .iter()
        .filter(|name| name.ends_with(".safetensors"))
        .count()
}

#[test]
fn a_prompts_file_encodes_each_image_once() {
    let folder = folder_of_prompts();
    let run = |out: &str, more: &[&str]| {
        let args = ["predict", ".", "--prompts=p.json", "--json", "-o", out];
        synthfm(folder.path(), &[args.as_slice(), more].concat())
            .ok()
            .json()
    };
    let plain = run("out0", &[]);
    assert_eq!(plain["cache"], Value::Null);
    let first = run("out1", &["--cache=c"]);
    assert_eq!(
        first["cache"],
        json!({ "from_memory": 0, "from_folder": 0, "encoded": 2 })
    );
    assert_eq!(cached(folder.path()), 2);
    let second = run("out2", &["--cache=c"]);
    assert_eq!(
        second["cache"],
        json!({ "from_memory": 0, "from_folder": 2, "encoded": 0 })
    );
    let masks = |out: &str| {
        let mut all = files(&folder.path().join(out));
        all.retain(|(name, _)| name != "predictions.json");
        all
    };
    assert_eq!(masks("out0"), masks("out1"));
    assert_eq!(masks("out1"), masks("out2"));
    // No two embeddings fit.
    run("out3", &["--cache=c", "--cache-size=10kB"]);
    assert_eq!(cached(folder.path()), 0);
}

#[test]
fn the_verbs_share_a_folder_and_report_damage() {
    let folder = folder_of_prompts();
    let run = |args: &[&str]| synthfm(folder.path(), args).ok();
    run(&["embed", "a.png", "-o=e.safetensors", "--cache=c"]);
    assert_eq!(cached(folder.path()), 1);
    let predict = [
        "predict",
        "a.png",
        "--point=30,20",
        "-o=m.png",
        "--cache=c",
        "--json",
    ];
    assert_eq!(run(&predict).json()["cache"]["from_folder"], 1);
    let expected = mask(&folder.path().join("m.png"));

    let (name, bytes) = files(&folder.path().join("c"))
        .into_iter()
        .find(|(name, _)| name.ends_with(".safetensors"))
        .unwrap();
    let path = folder.path().join("c").join(&name);
    assert_eq!(
        bytes,
        fs::read(folder.path().join("e.safetensors")).unwrap()
    );
    fs::write(&path, &bytes[..bytes.len() - 9]).unwrap();
    let finished = run(&predict);
    assert!(
        finished.stderr.contains(&name) && finished.stderr.contains("replaces"),
        "{}",
        finished.stderr
    );
    assert_eq!(finished.json()["cache"]["encoded"], 1);
    assert_eq!(mask(&folder.path().join("m.png")), expected);
    assert_eq!(fs::read(&path).unwrap(), bytes);
}

#[test]
fn an_embedding_of_another_image_is_refused() {
    let folder = folder_of_prompts();
    synthfm(folder.path(), &["embed", "a.png", "-o=e.safetensors"]).ok();
    write_mask_png(&folder.path().join("b.png"), &Mask::zeros(SIZE)).unwrap();
    let args = [
        "predict",
        "b.png",
        "--point=1,1",
        "-o=m.png",
        "--embedding=e.safetensors",
    ];
    synthfm(folder.path(), &args).fails(1, &["e.safetensors", "image content"]);
    assert!(!folder.path().join("m.png").exists());
}

#[test]
fn wrong_caches_are_named() {
    let folder = folder_of_prompts();
    for (more, code, part) in [
        (&["--cache=a.png"][..], 1, "a.png"),
        (&["--cache=c", "--cache-size=2 cows"], 2, "GiB"),
        (&["--cache-size=2GB"], 2, "--cache"),
        (
            &["--cache=c", "--embedding=e.safetensors"],
            2,
            "--embedding",
        ),
    ] {
        let args = ["predict", "a.png", "--point=1,1", "-o=m.png"];
        synthfm(folder.path(), &[args.as_slice(), more].concat()).fails(code, &[part]);
    }
}
