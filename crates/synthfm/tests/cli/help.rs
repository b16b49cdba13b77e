//! What users and their scripts read: the help of every verb, the shape of every result, the commands of README.md.
//!
//! The texts lie in `snapshots/`. After a change that is meant, `SYNTHFM_UPDATE=1 cargo test -p synthfm --test cli help`
//! writes them again.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::common::{command, finish, picture, small, synthfm, volume};

const VERBS: [&str; 18] = [
    "generate",
    "train",
    "evaluate",
    "compare",
    "predict",
    "embed",
    "serve",
    "models",
    "models list",
    "models verify",
    "models convert",
    "models average",
    "models export",
    "info",
    "bench",
    "bench train",
    "",
    "help-that-is-none",
];

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Compares a text with its snapshot.
#[track_caller]
fn check(name: &str, text: &str) {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/cli/snapshots/{name}.txt"));
    if std::env::var_os("SYNTHFM_UPDATE").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
    }
    let expected = fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}; SYNTHFM_UPDATE=1 writes it", path.display()));
    assert!(
        text == expected,
        "{name} has changed; if it is meant, run again with SYNTHFM_UPDATE=1. Now:\n{text}"
    );
}

fn help(verb: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let mut line: Vec<&str> = verb.split_whitespace().collect();
    line.push("--help");
    // Lines are as long as the terminal is wide.
    let run = finish(command(folder.path(), &line).env("COLUMNS", "100"));
    if verb == "help-that-is-none" {
        return run.fails(2, &["unrecognized subcommand"]).stderr;
    }
    run.ok().stdout
}

#[test]
#[cfg_attr(
    feature = "gpu",
    ignore = "the help of such a build names other devices"
)]
fn help_is_what_it_was() {
    for verb in VERBS {
        let name = if verb.is_empty() { "synthfm" } else { verb };
        check(&format!("help/{}", name.replace(' ', "-")), &help(verb));
    }
}

/// Names and types of a result without its values; lists by their first element.
fn shape(value: &Value, indent: usize, out: &mut String) {
    let pad = "  ".repeat(indent);
    match value {
        Value::Object(fields) => {
            out.push('\n');
            let fields: BTreeMap<_, _> = fields.iter().collect();
            for (name, value) in fields {
                let _ = write!(out, "{pad}{name}:");
                shape(value, indent + 1, out);
            }
        }
        Value::Array(values) => match values.first() {
            Some(first) => {
                out.push_str(" list of");
                shape(first, indent, out);
            }
            None => out.push_str(" empty list\n"),
        },
        Value::Null => out.push_str(" null\n"),
        Value::Bool(_) => out.push_str(" bool\n"),
        Value::Number(_) => out.push_str(" number\n"),
        Value::String(_) => out.push_str(" text\n"),
    }
}

#[test]
fn results_have_the_shape_that_they_had() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    picture(&at("a.png"));
    volume(&at("v.nii.gz"));
    for name in ["data", "data/images", "data/masks"] {
        fs::create_dir(at(name)).unwrap();
    }
    for name in ["data/images/1.png", "data/masks/1.png"] {
        picture(&at(name));
    }
    let prompts =
        r#"[{ "image": "a.png", "id": 1, "points": [[30, 20]] }, { "image": "b.png", "id": 2 }]"#;
    fs::write(at("prompts.json"), prompts).unwrap();
    let generate = small(&["--count=1", "--out=samples", "--json"]);
    let lines: [(&str, i32, &[&str]); 9] = [
        (
            "predict",
            0,
            &["predict", "a.png", "--point=30,20", "-o=m.png", "--json"],
        ),
        (
            "predict-slice",
            0,
            &[
                "predict",
                "v.nii.gz",
                "--slice=2",
                "--box=18,8,42,32",
                "-o=m.nii.gz",
                "--json",
            ],
        ),
        (
            "predict-prompts",
            1,
            &[
                "predict",
                ".",
                "--prompts=prompts.json",
                "-o=masks",
                "--json",
            ],
        ),
        (
            "embed",
            0,
            &["embed", "a.png", "-o=e.safetensors", "--json"],
        ),
        (
            "evaluate",
            0,
            &[
                "evaluate",
                "--data=data",
                "--model",
                "embedded",
                "disc",
                "--prompts=1,0",
                "--out=r",
                "--json",
            ],
        ),
        ("info-picture", 0, &["info", "a.png", "--json"]),
        ("info-volume", 0, &["info", "v.nii.gz", "--json"]),
        (
            "models-verify",
            0,
            &["models", "verify", "embedded", "--json"],
        ),
        ("generate", 0, &generate),
    ];
    for (name, code, line) in lines {
        let run = synthfm(folder.path(), line);
        assert_eq!(run.code, Some(code), "{line:?}: {}", run.stderr);
        let mut text = String::new();
        shape(&run.json(), 0, &mut text);
        check(&format!("json/{name}"), &text);
    }
    let summary = fs::read(at("r/summary.json")).unwrap();
    let mut text = String::new();
    shape(&serde_json::from_slice(&summary).unwrap(), 0, &mut text);
    check("json/evaluate-summary", &text);
}

#[test]
fn commands_of_the_readme_exist() {
    let readme = fs::read_to_string(repository().join("README.md")).unwrap();
    let mut commands = 0;
    for line in readme.lines() {
        let line = line
            .strip_prefix("cargo run --release -- ")
            .map_or_else(|| line.strip_prefix("synthfm "), Some);
        let Some(line) = line else { continue };
        let line = line.split(" # ").next().unwrap_or_default();
        let mut words = line.split_whitespace();
        let verb = words.next().unwrap_or_default();
        if !VERBS.contains(&verb) {
            // A sentence that begins with the program's name.
            assert!(!line.contains(" --"), "{line}: no verb of this name");
            continue;
        }
        let mut help_text = help(verb);
        if verb == "models" {
            for action in VERBS.iter().filter(|other| other.starts_with("models ")) {
                help_text.push_str(&help(action));
            }
        }
        for flag in words.filter(|word| word.starts_with('-')) {
            let flag = flag.split('=').next().unwrap_or_default();
            let known = help_text
                .split(|c: char| c.is_whitespace() || ",[]=".contains(c))
                .any(|word| word == flag);
            assert!(known, "README.md: {verb} has no {flag}");
        }
        commands += 1;
    }
    assert!(commands > 10, "{commands} commands found");
}
