//! A run that is killed again and again ends where an uninterrupted one ends, and decoder training holds its memory.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::common::{command, synthfm, tiny_config};

const CHECKPOINT_EVERY: u64 = 3;
const STEPS: u64 = 24;

/// A short run with all that a checkpoint has to hold.
fn arguments<'a>(out: &'a str, config: &'a str) -> Vec<&'a str> {
    vec![
        "train",
        "--quiet",
        "--out",
        out,
        "--config",
        config,
        "--set=images_per_epoch=48",
        "--set=checkpoint_every=3",
        "--set=keep_every=12",
        "--set=log_every=1",
        "--set=accumulate=2",
        "--set=ema.decay=0.9",
        "--set=validation.every=8",
        "--set=validation.images=2",
    ]
}

fn lines(run: &Path, name: &str) -> Vec<Value> {
    let text = fs::read_to_string(run.join(name)).unwrap_or_default();
    // The last line may be torn by the kill.
    let line = |line: &str| serde_json::from_str(line).ok();
    text.lines().filter_map(line).collect()
}

fn steps(run: &Path) -> Vec<u64> {
    let lines = lines(run, "metrics.jsonl");
    lines
        .iter()
        .map(|line| line["step"].as_u64().unwrap())
        .collect()
}

/// Steps of the newest checkpoint.
fn newest_checkpoint(run: &Path) -> u64 {
    let Ok(found) = fs::read_dir(run.join("checkpoints")) else {
        return 0;
    };
    let step = |name: &str| name.strip_prefix("step-")?.parse().ok();
    let names = found.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter_map(|name| step(&name)).max().unwrap_or(0)
}

/// Numbers that look random and are the same in every run of the test.
fn next(state: &mut u64) -> u64 {
    *state = state
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    *state >> 33
}

/// Where the moments fall depends on the machine; that the bytes are the same must not.
#[test]
fn a_run_that_is_killed_many_times_ends_in_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let (path, config) = (folder.path(), tiny_config());
    let started = Instant::now();
    synthfm(path, &arguments("whole", &config)).ok();
    let whole_time = started.elapsed();

    let run = path.join("killed");
    let (mut random, mut kills, mut struck) = (7, 0, 0);
    while kills < 12 && steps(&run).last() != Some(&STEPS) {
        let mut args = arguments("killed", &config);
        args.push("--resume");
        let mut child = command(path, &args).stderr(Stdio::null()).spawn().unwrap();
        let share = (next(&mut random) % 1000) as u32;
        // Half the time at most: a first kill never comes after the end.
        std::thread::sleep(whole_time * share / 2000 + Duration::from_millis(20));
        struck += u32::from(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
        kills += 1;
        // A checkpoint follows the log line of its step.
        let logged = steps(&run).last().copied().unwrap_or(0);
        let due = logged.saturating_sub(1) / CHECKPOINT_EVERY * CHECKPOINT_EVERY;
        let saved = newest_checkpoint(&run);
        assert!(saved >= due, "{logged} steps were logged, {saved} saved");
    }
    assert!(
        struck >= 3,
        "{struck} of {kills} kills struck a run at work"
    );
    let mut args = arguments("killed", &config);
    args.push("--resume");
    synthfm(path, &args).ok();

    let whole = path.join("whole");
    let checkpoint = |step: u64, name: &str| format!("checkpoints/step-{step:08}/{name}");
    let mut names = vec![
        "model.safetensors".to_owned(),
        "best.safetensors".to_owned(),
        "validation.jsonl".to_owned(),
        "config.toml".to_owned(),
        "parameters.json".to_owned(),
    ];
    for step in [12, 21, STEPS] {
        for name in ["model", "ema", "optimizer"] {
            names.push(checkpoint(step, &format!("{name}.safetensors")));
        }
    }
    for name in names {
        let read = |run: &Path| fs::read(run.join(&name)).unwrap();
        assert!(
            read(&whole) == read(&run),
            "{name} differs after {kills} kills"
        );
    }
    assert_eq!(steps(&run), (1..=STEPS).collect::<Vec<u64>>());
    let losses = |run: &Path| -> Vec<Value> {
        let lines = lines(run, "metrics.jsonl");
        lines.iter().map(|line| line["loss"].clone()).collect()
    };
    assert_eq!(losses(&whole), losses(&run));
    // Nothing is left half done, and what need not stay is gone.
    let listed = |folder: &str| {
        let entries = fs::read_dir(run.join(folder)).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    };
    assert_eq!(
        listed("checkpoints"),
        ["step-00000012", "step-00000021", "step-00000024"]
    );
    let left_over = |name: &String| name.starts_with('.') && name != ".lock";
    assert!(!listed(".").iter().any(left_over));
}

/// A thousand steps on a frozen encoder: what the process holds does not grow after the first hundred.
#[cfg(target_os = "linux")]
#[test]
fn decoder_training_does_not_grow() {
    let folder = tempfile::tempdir().unwrap();
    let (path, config) = (folder.path(), tiny_config());
    let first = ["train", "-q", "--out=first", "--config", &config];
    synthfm(path, &[&first[..], &["--set=images_per_epoch=2"]].concat()).ok();
    let args = [
        "train",
        "-q",
        "--out=run",
        "--config",
        &config,
        "--encoder=first/model.safetensors",
        "--set=mode=decoder",
        "--set=batch_size=1",
        "--set=objects_per_image=1",
        "--set=images_per_epoch=1000",
        "--set=checkpoint_every=1000",
        "--set=log_every=50",
        "--set=validation.every=0",
    ];
    synthfm(path, &args).ok();
    let lines = lines(&path.join("run"), "metrics.jsonl");
    let memory: Vec<f64> = lines
        .iter()
        .map(|line| line["memory_mb"].as_f64().unwrap())
        .collect();
    assert_eq!(memory.len(), 20);
    let largest = |part: &[f64]| part.iter().copied().fold(0.0, f64::max);
    let (early, late) = (largest(&memory[2..8]), largest(&memory[14..]));
    // The allocator keeps some more freed memory as images of other shapes come; what one step records and would leave
    // behind is megabytes.
    assert!(late < early + 60.0, "MB after every 50 steps: {memory:?}");
}
