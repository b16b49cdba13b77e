//! `synthfm models`, and model files that cannot be used.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use safetensors::SafeTensors;
use safetensors::tensor::TensorView;
use serde_json::Value;

use crate::common::{command, finish, names, picture, synthfm};

/// A small model from an untrained run of one step.
fn tiny_model(folder: &Path) -> String {
    let args = [
        "train",
        "--out=run",
        "--config",
        &crate::common::tiny_config(),
        "--set=images_per_epoch=2",
    ];
    synthfm(folder, &args).ok();
    "run/model.safetensors".to_owned()
}

#[test]
fn conversion_keeps_the_model() {
    let folder = tempfile::tempdir().unwrap();
    let model = tiny_model(folder.path());
    let verify = |name: &str| {
        synthfm(folder.path(), &["models", "verify", name, "--json"])
            .ok()
            .json()
    };
    let whole = verify(&model);
    synthfm(
        folder.path(),
        &["models", "convert", &model, "full.safetensors"],
    )
    .ok();
    synthfm(
        folder.path(),
        &["models", "convert", &model, "half.safetensors", "--half"],
    )
    .ok();
    let half = verify("half.safetensors");
    assert_eq!(whole["config"], half["config"]);
    assert_eq!(whole["sha256"], verify("full.safetensors")["sha256"]);
    let bytes = |name: &str| fs::metadata(folder.path().join(name)).unwrap().len() as f64;
    assert!(bytes("half.safetensors") < 0.6 * bytes("full.safetensors"));
    synthfm(folder.path(), &["models", "convert", &model, "half.bin"]).fails(2, &[".safetensors"]);
    synthfm(
        folder.path(),
        &["models", "convert", &model, "run/config.toml/x.safetensors"],
    )
    .fails(1, &["config.toml"]);
}

#[test]
fn an_average_is_the_mean_by_shares() {
    let folder = tempfile::tempdir().unwrap();
    let first = tiny_model(folder.path());
    let config = crate::common::tiny_config();
    let train = ["train", "--out=b", "--config", &config, "--set=seed=5"];
    let short = "--set=images_per_epoch=2";
    synthfm(folder.path(), &[&train[..], &[short]].concat()).ok();
    let second = "b/model.safetensors".to_owned();
    let average = |models: &[&str], out: &str| {
        let args = [&["models", "average", "-o", out], models].concat();
        synthfm(folder.path(), &args)
    };
    let (a, b) = (format!("{first}=1"), format!("{second}=3"));
    average(&[&a, &b], "mean.safetensors").ok();
    let bytes = |name: &str| fs::read(folder.path().join(name)).unwrap();
    let files = [&first, &second, "mean.safetensors"].map(bytes);
    let files = files
        .each_ref()
        .map(|f| SafeTensors::deserialize(f).unwrap());
    let mut differing = 0;
    for name in files[0].names() {
        let values = files.each_ref().map(|file| {
            let view = file.tensor(name).unwrap();
            let value = |b: &[u8]| f32::from_le_bytes(b.try_into().unwrap());
            view.data().chunks_exact(4).map(value).collect::<Vec<f32>>()
        });
        for ((a, b), mean) in values[0].iter().zip(&values[1]).zip(&values[2]) {
            let expected = (f64::from(*a) + 3.0 * f64::from(*b)) / 4.0;
            assert_eq!(mean.to_bits(), (expected as f32).to_bits(), "{name}");
            differing += usize::from(a.to_bits() != b.to_bits());
        }
    }
    assert!(differing > 1000);
    // The mean of a model with itself is the model.
    average(&[&first, &first], "same.safetensors").ok();
    let same = synthfm(
        folder.path(),
        &["models", "verify", "same.safetensors", "--json"],
    );
    let model = synthfm(folder.path(), &["models", "verify", &first, "--json"]);
    assert_eq!(same.ok().json()["sha256"], model.ok().json()["sha256"]);

    average(&[&first, &second], "mean.bin").fails(2, &[".safetensors"]);
    average(&[&first], "one.safetensors").fails(2, &["MODEL"]);
    average(&[&first, &format!("{second}=0")], "zero.safetensors").fails(1, &["share 0"]);
    average(&[&first, &recorded("sam_tiny.pth")], "other.safetensors")
        .fails(1, &["sam_tiny.pth", "configuration"]);
    assert!(!folder.path().join("other.safetensors").exists());
}

#[test]
fn names_are_found_in_the_folder_of_models() {
    let folder = tempfile::tempdir().unwrap();
    let model = tiny_model(folder.path());
    fs::create_dir(folder.path().join("models")).unwrap();
    fs::copy(
        folder.path().join(model),
        folder.path().join("models/mine.safetensors"),
    )
    .unwrap();
    fs::write(folder.path().join("models/other.pth"), "no model").unwrap();
    let with_models =
        |args: &[&str]| finish(command(folder.path(), args).env("SYNTHFM_MODELS", "models"));
    let list = with_models(&["models", "list", "--json"]).ok().json();
    let listed: Vec<&str> = list
        .as_array()
        .unwrap()
        .iter()
        .map(|m| m["name"].as_str().unwrap())
        .collect();
    assert_eq!(listed, ["embedded", "mine", "other"]);
    assert!(list[2]["error"].as_str().unwrap().contains("other.pth"));
    with_models(&["models", "verify", "mine"]).ok();
    with_models(&["models", "verify", "yours"]).fails(1, &["yours", "models list"]);
    assert!(
        synthfm(folder.path(), &["models", "list"])
            .ok()
            .stdout
            .contains("embedded")
    );
}

/// A recorded model of the crate below.
fn recorded(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../synthfm-sam/tests/fixtures");
    folder.join(name).display().to_string()
}

#[test]
fn exported_models_are_the_same_models() {
    let folder = tempfile::tempdir().unwrap();
    let run = |args: &[&str]| synthfm(folder.path(), args);
    for (name, kind, unused) in [
        ("sam_tiny.pth", "vit", 0),
        ("mobile_sam_tiny.pth", "tiny_vit", 22),
    ] {
        let original = run(&["models", "verify", &recorded(name), "--json"])
            .ok()
            .json();
        assert_eq!(original["kind"], kind);
        for format in ["pth", "safetensors"] {
            let out = format!("out.{format}");
            run(&[
                "models",
                "export",
                &recorded(name),
                &out,
                "--format",
                format,
            ])
            .ok();
            let report = run(&["models", "verify", &out, "--json"]).ok().json();
            assert_eq!(report["unused"].as_array().unwrap().len(), unused);
            assert_eq!(report["format"], format);
            assert_eq!(report["config"], original["config"]);
            for part in ["image_encoder", "prompt_encoder", "mask_decoder"] {
                let key = format!("{part}_parameters");
                assert_eq!(report[&key], original[&key]);
            }
        }
    }
    let model = tiny_model(folder.path());
    run(&["models", "export", &model, "small.pth", "--format", "pth"])
        .fails(1, &["no such encoder", "convert"]);
    assert!(!folder.path().join("small.pth").exists());
    run(&["models", "export", &model, "small.pth"]).fails(2, &["--format"]);
}

#[test]
fn onnx_exports_are_two_files_that_say_what_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let run = |args: &[&str]| synthfm(folder.path(), args);
    let sam = recorded("sam_tiny.pth");
    let written = run(&[
        "models",
        "export",
        &sam,
        "out/sam.onnx",
        "--format=onnx",
        "--json",
    ])
    .ok()
    .json();
    let mut bytes = 0;
    for (file, part) in written
        .as_array()
        .unwrap()
        .iter()
        .zip(["encoder", "decoder"])
    {
        let name = format!("out/sam.{part}.onnx");
        assert_eq!(file["output"], name.as_str());
        let file_bytes = fs::metadata(folder.path().join(name)).unwrap().len();
        assert_eq!(file["bytes"], file_bytes);
        bytes += file_bytes;
    }
    // All weights and little else: shapes, indices, nodes.
    let weights = fs::metadata(&sam).unwrap().len();
    assert!(bytes > weights * 9 / 10 && bytes < weights * 3 / 2);
    // Other forms write other graphs.
    let plain = "--onnx-input=image";
    run(&[
        "models",
        "export",
        &sam,
        "plain",
        "--format=onnx",
        plain,
        "--onnx-masks=all",
    ])
    .ok();
    for part in ["encoder", "decoder"] {
        let read = |name: &str| fs::read(folder.path().join(name)).unwrap();
        let [first, second] = ["out/sam", "plain"].map(|name| read(&format!("{name}.{part}.onnx")));
        assert_ne!(first, second);
    }
    run(&["models", "export", &sam, "x.pth", "--format=pth", plain]).fails(2, &["--format onnx"]);
    run(&["models", "export", "embedded", "own", "--format=onnx"])
        .fails(1, &["no such encoder", "vit_t"]);
    assert!(!folder.path().join("own.encoder.onnx").exists());
}

#[test]
fn a_checkpoint_that_calls_something_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let attack = b"\x80\x02cos\nsystem\n(X\x09\x00\x00\x00touch rantR.";
    fs::write(folder.path().join("attack.pth"), attack).unwrap();
    synthfm(folder.path(), &["models", "verify", "attack.pth"])
        .fails(1, &["attack.pth", "os.system"]);
    assert_eq!(names(folder.path()), ["attack.pth"]);
}

/// The model with the shape of one tensor changed and another tensor renamed.
fn misshape(bytes: &[u8]) -> Vec<u8> {
    let (_, header) = SafeTensors::read_metadata(bytes).unwrap();
    let metadata: HashMap<String, String> =
        header.metadata().clone().unwrap().into_iter().collect();
    let tensors = SafeTensors::deserialize(bytes).unwrap();
    let views = tensors.tensors().into_iter().map(|(key, view)| {
        let data = view.data();
        let flat = |shape: Vec<usize>| TensorView::new(view.dtype(), shape, data).unwrap();
        match key.as_str() {
            "mask_decoder.mask_tokens.weight" => {
                (key, flat(view.shape().iter().rev().copied().collect()))
            }
            "mask_decoder.iou_token.weight" => ("mask_decoder.iou_taken.weight".to_owned(), view),
            _ => (key, view),
        }
    });
    safetensors::serialize(views, Some(metadata)).unwrap()
}

#[test]
fn models_that_do_not_fit_are_named_key_by_key() {
    let folder = tempfile::tempdir().unwrap();
    picture(&folder.path().join("a.png"));
    let model = tiny_model(folder.path());
    let bytes = fs::read(folder.path().join(model)).unwrap();
    fs::write(folder.path().join("wrong.safetensors"), misshape(&bytes)).unwrap();
    let verify = synthfm(
        folder.path(),
        &["models", "verify", "wrong.safetensors", "--json"],
    );
    let report: Value = verify.fails(1, &["wrong.safetensors"]).json();
    assert_eq!(
        report["differences"]["missing"][0],
        "mask_decoder.iou_token.weight"
    );
    assert_eq!(
        report["differences"]["unexpected"][0],
        "mask_decoder.iou_taken.weight"
    );
    assert_eq!(
        report["differences"]["misshapen"][0]["key"],
        "mask_decoder.mask_tokens.weight"
    );
    let predict = [
        "predict",
        "a.png",
        "--point=1,1",
        "-o=m.png",
        "--model=wrong.safetensors",
    ];
    synthfm(folder.path(), &predict).fails(1, &["mask_decoder.mask_tokens.weight", "iou_taken"]);
    assert!(!folder.path().join("m.png").exists());
}

#[test]
fn every_difference_is_listed_even_where_the_sizes_cannot_be_told() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = fs::read(recorded("sam_tiny.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let dropped = |key: &str| key.starts_with("image_encoder.p") || key.contains(".mask_tokens");
    let kept = tensors
        .tensors()
        .into_iter()
        .filter(|(key, _)| !dropped(key));
    let stranger = TensorView::new(safetensors::Dtype::U8, vec![3], &[1, 2, 3]).unwrap();
    let views = kept.chain((0..12).map(|i| (format!("stranger.{i}"), stranger.clone())));
    let file = safetensors::serialize(views, None).unwrap();
    fs::write(folder.path().join("part.safetensors"), file).unwrap();

    let verify = ["models", "verify", "part.safetensors"];
    let text = synthfm(folder.path(), &verify)
        .fails(1, &["part.safetensors"])
        .stdout;
    let report = synthfm(folder.path(), &[&verify[..], &["--json"]].concat())
        .fails(1, &[])
        .json();
    assert!(
        report["guessed"].as_str().unwrap().contains("is missing"),
        "{report}"
    );
    let keys = |kind: &str| report["differences"][kind].as_array().unwrap().clone();
    for key in keys("missing").into_iter().chain(keys("unexpected")) {
        assert!(text.contains(key.as_str().unwrap()), "{key}");
    }
    for key in tensors.names().into_iter().filter(|key| dropped(key)) {
        assert!(keys("missing").contains(&key.into()), "{key}");
    }
    for i in 0..12 {
        assert!(
            keys("unexpected").contains(&format!("stranger.{i}").into()),
            "{i}"
        );
    }
    assert!(!keys("misshapen").is_empty());
    assert!(
        text.contains("in the mask decoder") && text.contains("sha256"),
        "{text}"
    );
}

#[test]
fn damaged_models_are_named() {
    let folder = tempfile::tempdir().unwrap();
    picture(&folder.path().join("a.png"));
    let model = tiny_model(folder.path());
    let bytes = fs::read(folder.path().join(model)).unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("half.safetensors"), &bytes[..bytes.len() / 2]).unwrap();
    fs::write(path("header.safetensors"), &bytes[..20]).unwrap();
    fs::write(
        path("huge.safetensors"),
        [&u64::MAX.to_le_bytes(), &bytes[8..2000]].concat(),
    )
    .unwrap();
    fs::write(path("empty.safetensors"), "").unwrap();
    fs::write(path("noise.pth"), &bytes[5000..9000]).unwrap();
    fs::create_dir(path("folder")).unwrap();
    let before = names(folder.path());
    for name in [
        "half.safetensors",
        "header.safetensors",
        "huge.safetensors",
        "empty.safetensors",
        "noise.pth",
        "folder",
        "none",
    ] {
        synthfm(folder.path(), &["models", "verify", name]).fails(1, &[name]);
        synthfm(
            folder.path(),
            &["models", "convert", name, "out.safetensors"],
        )
        .fails(1, &[name]);
        let predict = [
            "predict",
            "a.png",
            "--point=1,1",
            "-o=m.png",
            "--model",
            name,
        ];
        synthfm(folder.path(), &predict).fails(1, &[name]);
    }
    assert_eq!(names(folder.path()), before);
}
