//! `synthfm generate --verify`.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::common::{names, small, synthfm};

/// Five samples in the folder `d`.
fn five(folder: &Path, format: &str) {
    let mut args = small(&["--count=5", "--out=d", "--format", format]);
    if format == "webdataset" {
        args.push("--shard-size=2");
    }
    synthfm(folder, &args).ok();
}

const VERIFY: [&str; 4] = ["generate", "--verify=d", "--rerender=3", "--json"];

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    let at = at % bytes.len();
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
}

#[test]
fn whole_sets_pass_and_a_flipped_byte_is_found_anywhere() {
    for format in ["nnunet", "coco", "npz", "webdataset"] {
        let folder = tempfile::tempdir().unwrap();
        five(folder.path(), format);
        let whole = synthfm(folder.path(), &VERIFY).ok().json();
        let findings = &whole["findings"];
        let all = names(&folder.path().join("d"));
        assert_eq!(
            (&whole["whole"], &findings["rendered_again"]),
            (&true.into(), &3.into())
        );
        assert_eq!(findings["files"], all.len() - 1);
        for (n, name) in all.iter().enumerate() {
            let path = folder.path().join("d").join(name);
            if matches!(&**name, "manifest.jsonl" | "generator.toml") {
                continue;
            }
            flip(&path, 977 * (n + 1));
            let found = synthfm(folder.path(), &["generate", "--verify=d", "--json"]);
            let found = found.fails(1, &["1 files differ", "0 are missing"]).json();
            assert_eq!(found["findings"]["differing"]["first"][0], **name);
            flip(&path, 977 * (n + 1));
        }
        synthfm(folder.path(), &VERIFY).ok();
    }
}

#[test]
fn missing_and_surplus_files_are_named() {
    let folder = tempfile::tempdir().unwrap();
    five(folder.path(), "nnunet");
    let root = folder.path().join("d");
    fs::remove_file(root.join("labelsTr/synth_00000002.png")).unwrap();
    fs::create_dir(root.join("imagesTr/old")).unwrap();
    fs::write(root.join("imagesTr/old/a.png"), "").unwrap();
    fs::write(root.join(".labels.png.x.tmp"), "").unwrap();
    let found = synthfm(folder.path(), &["generate", "--verify", "d"]);
    let found = found.fails(1, &["0 files differ", "1 are missing, 2 are surplus"]);
    for line in [
        "missing: labelsTr/synth_00000002.png",
        "surplus: .labels.png.x.tmp",
        "surplus: imagesTr/old/a.png",
    ] {
        assert!(found.stdout.contains(line), "{}", found.stdout);
    }
}

/// Whoever changes a picture and its hash is found out by rendering.
#[test]
fn what_the_configuration_does_not_give_is_found() {
    let folder = tempfile::tempdir().unwrap();
    for format in ["nnunet", "webdataset"] {
        five(folder.path(), format);
        let root = folder.path().join("d");
        let (file, at) = if format == "nnunet" {
            ("imagesTr/synth_00000004_0000.png", 100)
        } else {
            // In the bytes of the first member, which is 512 bytes long or longer.
            ("shard-000002.tar", 700)
        };
        flip(&root.join(file), at);
        let hash = sha256(&fs::read(root.join(file)).unwrap());
        let lines = fs::read_to_string(root.join("manifest.jsonl")).unwrap();
        let mut record = String::new();
        let lines = lines.lines().map(|line| {
            let mut value: Value = serde_json::from_str(line).unwrap();
            if value["file"] == file {
                record = value["sha256"].as_str().unwrap().to_owned();
                value["sha256"] = hash.clone().into();
            }
            value.to_string() + "\n"
        });
        let lines: String = lines.collect();
        assert_ne!(record, hash);
        fs::write(root.join("manifest.jsonl"), lines).unwrap();
        synthfm(folder.path(), &["generate", "--verify=d"]).ok();
        let found = synthfm(folder.path(), &["generate", "--verify=d", "--rerender=5"]);
        let found = found.fails(1, &["1 are not what the configuration gives"]);
        assert!(
            found.stdout.contains("not reproduced: "),
            "{}",
            found.stdout
        );
        assert!(found.stdout.contains(file), "{}", found.stdout);
        fs::remove_dir_all(&root).unwrap();
    }
}

fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest;
    let digest = sha2::Sha256::digest(bytes);
    let digits = digest.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits
        .filter_map(|digit| char::from_digit(digit.into(), 16))
        .collect()
}

#[test]
fn another_configuration_than_the_manifests_is_found() {
    let folder = tempfile::tempdir().unwrap();
    five(folder.path(), "npz");
    let path = folder.path().join("d/generator.toml");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("seed = 5", "seed = 6")).unwrap();
    let found = synthfm(folder.path(), &VERIFY);
    let found = found.fails(1, &["files differ"]).json();
    assert_eq!(found["findings"]["differing"]["first"][0], "generator.toml");
    assert_eq!(found["findings"]["not_reproduced"]["count"], 6);
    fs::write(&path, "seed = ").unwrap();
    synthfm(folder.path(), &VERIFY).fails(1, &["generator.toml"]);
}

#[test]
fn hostile_manifests_are_refused_or_only_looked_up() {
    let folder = tempfile::tempdir().unwrap();
    five(folder.path(), "npz");
    fs::write(folder.path().join("secret"), "secret").unwrap();
    let path = folder.path().join("d/manifest.jsonl");
    let good = fs::read_to_string(&path).unwrap();
    let heading = good.lines().next().unwrap();
    let zeros = "0".repeat(64);
    let entry = |file: &str, first: u64, samples: u64| {
        format!(
            "{{\"file\":\"{file}\",\"bytes\":6,\"sha256\":\"{zeros}\",\"first_index\":{first},\"samples\":{samples}}}\n"
        )
    };
    for (text, part) in [
        (String::new(), "empty"),
        ("\n".into(), "line 1"),
        ("{}\n".into(), "line 1"),
        (heading.to_owned(), "line 1: cut off"),
        (
            format!("{heading}\n{}", "x".repeat(1 << 20)),
            "line 2: cut off or longer",
        ),
        (format!("{heading}\n[1, 2]\n"), "line 2"),
        (good[..good.len() - 30].to_owned(), "cut off"),
        (
            good.replacen("\"samples\":5", "\"samples\":6", 1),
            "says 6 samples and lists 5",
        ),
        (
            format!("{heading}\n{}", entry("a", u64::MAX, u64::MAX)),
            "lists 0",
        ),
    ] {
        fs::write(&path, &text).unwrap();
        synthfm(folder.path(), &["generate", "--verify=d"]).fails(1, &["manifest.jsonl", part]);
    }
    // Files outside the folder are not there, whatever they are called; and nothing reaches the terminal raw.
    for file in [
        "../secret",
        "/etc/passwd",
        "samples",
        "a\\u001b[31m",
        "samples/../generator.toml",
    ] {
        fs::write(&path, format!("{good}{}", entry(file, 0, 1))).unwrap();
        let found = synthfm(folder.path(), &["generate", "--verify=d"]);
        let found = found.fails(1, &["0 files differ", "1 are missing"]);
        assert!(found.stdout.contains("missing: ") && !found.stdout.contains('\u{1b}'));
    }
    // A name that stands twice is missing the second time.
    let twice = good.lines().nth(1).unwrap();
    fs::write(&path, format!("{good}{twice}\n")).unwrap();
    synthfm(folder.path(), &["generate", "--verify=d"]).fails(1, &["1 are missing"]);
    fs::remove_file(&path).unwrap();
    synthfm(folder.path(), &["generate", "--verify=d"])
        .fails(1, &["a finished data set has this file"]);
    synthfm(folder.path(), &["generate", "--verify=nothing"]).fails(1, &["nothing"]);
}

/// A pipe would make whoever opens it wait for ever; a link could lead anywhere.
#[cfg(unix)]
#[test]
fn pipes_and_links_are_not_opened() {
    let folder = tempfile::tempdir().unwrap();
    five(folder.path(), "npz");
    let sample = folder.path().join("d/samples/synth_00000001.npz");
    fs::rename(&sample, folder.path().join("elsewhere")).unwrap();
    std::os::unix::fs::symlink(folder.path().join("elsewhere"), &sample).unwrap();
    let pipe = folder.path().join("d/samples/synth_00000002.npz");
    fs::remove_file(&pipe).unwrap();
    let made = std::process::Command::new("mkfifo")
        .arg(&pipe)
        .status()
        .unwrap();
    assert!(made.success());
    let found = synthfm(folder.path(), &["generate", "--verify=d"]);
    found.fails(1, &["2 files differ", "not a file"]);
}
