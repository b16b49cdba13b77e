//! `synthfm train`: how runs start, stop, continue and are refused.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::common::{Finished, command, interrupt, names, synthfm, tiny_config};

fn train(folder: &Path, more: &[&str]) -> Finished {
    let config = tiny_config();
    synthfm(
        folder,
        &[
            ["train", "--config", &config, "--set=images_per_epoch=4"].as_slice(),
            more,
        ]
        .concat(),
    )
}

#[test]
fn a_run_is_whole_and_is_not_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    train(
        folder.path(),
        &["--out=run", "--set=log_every=1", "--set=checkpoint_every=1"],
    )
    .ok();
    let log = fs::read_to_string(folder.path().join("run/metrics.jsonl")).unwrap();
    assert_eq!(log.lines().count(), 2);
    let files = names(&folder.path().join("run"));
    assert!(
        files.contains(&"config.toml".to_owned())
            && files.contains(&"model.safetensors".to_owned())
    );
    let again = train(folder.path(), &["--out=run"]);
    again.fails(1, &["holds a run already", "--resume"]);
    let other = train(folder.path(), &["--out=run", "--resume", "--set=seed=7"]);
    other.fails(1, &["another configuration", "seed"]);
    assert_eq!(names(&folder.path().join("run")), files);
    // A finished run has nothing left to do; its own configuration is found.
    synthfm(folder.path(), &["train", "--out=run", "--resume"]).ok();
}

#[test]
fn runs_that_cannot_start_are_named() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("file"), "").unwrap();
    for (args, code, part) in [
        (["--out=run", "--set=sed=1"], 1, "sed"),
        (["--out=run", "--set=batch_size=0"], 1, "batch_size"),
        (
            ["--out=run", "--init=none.safetensors"],
            1,
            "none.safetensors",
        ),
        (["--out=run", "--encoder=none.pth"], 1, "none.pth"),
        (["--out=file/run", "-q"], 1, "file/run"),
        (["--out=run", "--workers=0"], 2, "workers"),
    ] {
        train(folder.path(), &args).fails(code, &[part]);
    }
    synthfm(folder.path(), &["train", "--out=run", "--resume"]).fails(1, &["nothing to resume"]);
    synthfm(folder.path(), &["train", "--out=run", "--config=none.toml"]).fails(1, &["none.toml"]);
    synthfm(folder.path(), &["train"]).fails(2, &["--out"]);
    assert_eq!(names(folder.path()), ["file"]);
}

/// Stops by a signal after the first line of the log, as Ctrl-C does.
#[cfg(unix)]
#[test]
fn ctrl_c_leaves_a_checkpoint_that_continues() {
    let folder = tempfile::tempdir().unwrap();
    let config = tiny_config();
    let args = [
        "train",
        "--out=run",
        "--config",
        &config,
        "--set=images_per_epoch=160",
        "--set=log_every=1",
    ];
    let mut child = command(folder.path(), &args)
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let (log, started) = (folder.path().join("run/metrics.jsonl"), Instant::now());
    while fs::metadata(&log).map_or(0, |file| file.len()) == 0 {
        assert!(
            started.elapsed() < Duration::from_secs(50),
            "no step was done"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    interrupt(&child);
    let mut stderr = String::new();
    std::io::Read::read_to_string(&mut child.stderr.take().unwrap(), &mut stderr).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1), "{stderr}");
    assert!(
        stderr.contains("continue with: synthfm train --out run --resume"),
        "{stderr}"
    );
    assert!(!folder.path().join("run/model.safetensors").exists());
    synthfm(folder.path(), &["train", "--out=run", "--resume"]).ok();
    let log = fs::read_to_string(log).unwrap();
    let steps: Vec<u64> = log
        .lines()
        .map(|line| {
            serde_json::from_str::<serde_json::Value>(line).unwrap()["step"]
                .as_u64()
                .unwrap()
        })
        .collect();
    assert_eq!(steps, (1..=80).collect::<Vec<u64>>());
    assert!(folder.path().join("run/model.safetensors").is_file());
}
