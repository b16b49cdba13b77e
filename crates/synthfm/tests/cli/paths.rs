//! Nothing that a command reads is replaced by what it writes, whatever the paths look like.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::common::{files, picture, synthfm, tiny_config};

/// A flag that takes a path; `""` for a positional argument.
#[derive(Clone, Copy)]
struct Argument {
    flag: &'static str,
    path: &'static str,
    writes: bool,
}

const fn reads(flag: &'static str, path: &'static str) -> Argument {
    Argument {
        flag,
        path,
        writes: false,
    }
}

const fn writes(flag: &'static str, path: &'static str) -> Argument {
    Argument {
        flag,
        path,
        writes: true,
    }
}

/// Every verb that writes, with all its paths.
const COMMANDS: [(&[&str], &[Argument]); 11] = [
    (
        &["predict", "--point=30,20"],
        &[
            reads("", "scan.png"),
            reads("--mask-prompt", "mask.png"),
            reads("--embedding", "embedding.png"),
            reads("--model", "model.png"),
            writes("-o", "out.png"),
            writes("--also", "also.png"),
            writes("--overlay", "overlay.png"),
        ],
    ),
    (
        &["embed"],
        &[
            reads("", "scan.png"),
            reads("--model", "model.png"),
            writes("-o", "out.safetensors"),
        ],
    ),
    (
        &["predict", "data"],
        &[
            reads("--prompts", "prompts.json"),
            reads("--model", "model.png"),
            writes("-o", "masks"),
        ],
    ),
    (
        &["info"],
        &[reads("", "scan.png"), writes("--out", "picture.png")],
    ),
    (
        &["models", "convert"],
        &[
            reads("", "model.safetensors"),
            writes("", "out.safetensors"),
        ],
    ),
    (
        &["models", "average", "embedded"],
        &[
            reads("", "model.safetensors"),
            writes("-o", "out.safetensors"),
        ],
    ),
    (
        &["models", "export", "--format=pth"],
        &[reads("", "model.safetensors"), writes("", "out.pth")],
    ),
    (
        &["compare"],
        &[
            reads("--real", "data"),
            reads("--config", "config.html"),
            writes("--out", "report.html"),
        ],
    ),
    (
        &["evaluate", "--prompts=1,0"],
        &[
            reads("--data", "data"),
            reads("--model", "model.png"),
            reads("--replay", "report"),
            writes("--out", "results"),
        ],
    ),
    (
        &["generate"],
        &[
            reads("--config", "config.html"),
            reads("--recipe", "recipe.json"),
            writes("--out", "samples"),
            writes("--preview", "sheet.png"),
        ],
    ),
    (
        &["train"],
        &[
            reads("--config", "tiny.toml"),
            reads("--encoder", "model.safetensors"),
            reads("--init", "model.png"),
            writes("--out", "run"),
        ],
    ),
];

/// A folder with everything that the commands read. Most of it is not what it should be: a command that looked into it
/// before it compared its paths would fail in another way.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for name in ["sub", "data", "data/images", "data/masks", "report"] {
        fs::create_dir(at(name)).unwrap();
    }
    for name in ["scan.png", "data/images/1.png", "data/masks/1.png"] {
        picture(&at(name));
    }
    for name in [
        "mask.png",
        "embedding.png",
        "model.png",
        "model.safetensors",
        "config.html",
        "recipe.json",
        "report/results.csv",
    ] {
        fs::write(at(name), name).unwrap();
    }
    fs::copy(tiny_config(), at("tiny.toml")).unwrap();
    let entry = json!([{ "image": "images/1.png", "id": "a", "points": [[30, 20]] }]);
    fs::write(at("prompts.json"), entry.to_string()).unwrap();
    folder
}

/// Other names of a place: through a folder and back, by its full path, through links.
fn spellings(folder: &Path, path: &str, n: usize) -> Vec<String> {
    let full = folder.join(path);
    let mut all = vec![
        path.to_owned(),
        format!("sub/../{path}"),
        full.to_string_lossy().into_owned(),
    ];
    let ending = full.extension().map(|ending| ending.to_string_lossy());
    let ending = ending.map_or_else(String::new, |ending| format!(".{ending}"));
    #[cfg(unix)]
    if full.exists() {
        let link = format!("sub/link{n}{ending}");
        std::os::unix::fs::symlink(&full, folder.join(&link)).unwrap();
        all.push(link);
    }
    if full.is_file() {
        let twin = format!("sub/twin{n}{ending}");
        fs::hard_link(&full, folder.join(&twin)).unwrap();
        all.push(twin);
    }
    all
}

#[test]
fn every_pair_of_equal_paths_is_refused() {
    let mut runs = 0;
    for (command, arguments) in COMMANDS {
        for i in 0..arguments.len() {
            for j in i + 1..arguments.len() {
                if !arguments[i].writes && !arguments[j].writes {
                    continue;
                }
                let folder = folder();
                for spelling in spellings(folder.path(), arguments[i].path, j) {
                    let before = files(folder.path());
                    let mut line: Vec<String> = command.iter().map(|&part| part.into()).collect();
                    for (n, argument) in arguments.iter().enumerate() {
                        let path = if n == j { &spelling } else { argument.path };
                        if argument.flag.is_empty() {
                            line.push(path.to_owned());
                        } else {
                            line.extend([argument.flag.to_owned(), path.to_owned()]);
                        }
                    }
                    let line: Vec<&str> = line.iter().map(String::as_str).collect();
                    let run = synthfm(folder.path(), &line);
                    assert_eq!(run.code, Some(2), "{line:?}: {}", run.stderr);
                    assert!(files(folder.path()) == before, "{line:?} changed a file");
                    runs += 1;
                }
            }
        }
    }
    assert!(runs > 100, "{runs} runs");
}

#[test]
fn what_another_program_wrote_beside_the_mask_stays() {
    let folder = folder();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("out.json"), "[1]").unwrap();
    let predict = |out: &str| {
        let line = ["predict", "scan.png", "--point=30,20", "-o", out];
        synthfm(folder.path(), &line)
    };
    for _ in 0..2 {
        predict("out.png").ok();
        assert_eq!(fs::read(at("out.json")).unwrap(), b"[1]");
        let record: Value =
            serde_json::from_slice(&fs::read(at("out.record.json")).unwrap()).unwrap();
        assert_eq!(record["mask"], "out.png");
    }
    assert!(
        !at("out.record.2.json").exists(),
        "its own record is replaced"
    );
    fs::write(at("report.json"), "[2]").unwrap();
    let compare = ["compare", "--real", "data", "--out", "report.html"];
    synthfm(folder.path(), &compare).fails(2, &["report.json", "choose another"]);
    fs::create_dir(at("masks")).unwrap();
    fs::write(at("masks/predictions.json"), "[3]").unwrap();
    let many = [
        "predict",
        "data",
        "--prompts",
        "prompts.json",
        "-o",
        "masks",
    ];
    synthfm(folder.path(), &many).fails(2, &["predictions.json"]);
    assert_eq!(fs::read(at("masks/predictions.json")).unwrap(), b"[3]");
}

#[test]
fn masks_of_a_list_never_replace_its_images() {
    let folder = folder();
    let at = |name: &str| folder.path().join(name);
    picture(&at("data/images/1__a.png"));
    let entries = json!([
        { "image": "images/1.png", "id": "a", "points": [[30, 20]] },
        { "image": "images/1__a.png", "id": "b", "points": [[30, 20]] },
    ]);
    fs::write(at("prompts.json"), entries.to_string()).unwrap();
    let before = files(folder.path());
    let line = [
        "predict",
        "data",
        "--prompts",
        "prompts.json",
        "-o",
        "data/images",
    ];
    synthfm(folder.path(), &line).fails(2, &["1__a.png", "an image"]);
    assert!(files(folder.path()) == before);
}

#[test]
fn folders_of_other_files_are_not_filled() {
    let folder = folder();
    let before = files(folder.path());
    let lines: [&[&str]; 4] = [
        &["generate", "--count=1", "--out", "data"],
        &[
            "evaluate",
            "--data",
            "data",
            "--model=disc",
            "--out",
            "data",
        ],
        &[
            "evaluate",
            "--data",
            "data",
            "--model=disc",
            "--out",
            "data/images",
        ],
        &["train", "--config", "tiny.toml", "--out", "data"],
    ];
    for line in lines {
        synthfm(folder.path(), line).fails(2, &["data", "folder"]);
        assert!(files(folder.path()) == before, "{line:?}");
    }
}

#[cfg(unix)]
#[test]
fn a_mask_goes_through_a_link() {
    let folder = folder();
    let at = |name: &str| folder.path().join(name);
    fs::create_dir(at("store")).unwrap();
    std::os::unix::fs::symlink("store/real.png", at("link.png")).unwrap();
    let line = ["predict", "scan.png", "--point=30,20", "-o", "link.png"];
    synthfm(folder.path(), &line).ok();
    assert!(at("link.png").is_symlink());
    assert!(crate::common::mask(&at("store/real.png")).area() > 0);
    // A device is written to, and no record is left beside it.
    let line = [
        "predict",
        "scan.png",
        "--point=30,20",
        "--format=png",
        "-o",
        "/dev/null",
    ];
    synthfm(folder.path(), &line).ok();
    assert!(!Path::new("/dev/null.json").exists());
}

#[test]
fn a_report_of_another_evaluation_stays() {
    let folder = folder();
    let evaluate = |model: &[&str], more: &[&str]| {
        let line = [
            "evaluate",
            "--data",
            "data",
            "--out",
            "r",
            "--prompts=1,0",
            "--model",
        ];
        synthfm(folder.path(), &[&line, model, more].concat())
    };
    evaluate(&["disc"], &[]).ok();
    let report = files(&folder.path().join("r"));
    evaluate(&["flood-fill"], &[]).fails(2, &["other models", "choose another folder"]);
    evaluate(&["disc"], &["--seed=7"]).fails(2, &["other options"]);
    assert!(files(&folder.path().join("r")) == report);
    evaluate(&["disc", "flood-fill"], &[]).ok();
}
