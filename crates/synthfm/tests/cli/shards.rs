//! One data set from several machines and in several stretches: always the same files.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::common::{command, files, finish, interrupt, names, small, synthfm};

const FORMATS: [&str; 4] = ["nnunet", "coco", "npz", "webdataset"];

/// Seven samples; shards of two in a WebDataset, the last one of one.
fn seven<'a>(format: &'a str, out: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let mut args = small(&["--count=7", "--format", format, "--out", out]);
    if format == "webdataset" {
        args.push("--shard-size=2");
    }
    args.extend(more);
    args
}

#[test]
fn machines_fill_one_folder_as_one_machine_does() {
    let folder = tempfile::tempdir().unwrap();
    for format in FORMATS {
        let whole = format!("{format}-whole");
        synthfm(folder.path(), &seven(format, &whole, &[])).ok();
        let whole = files(&folder.path().join(whole));
        // More machines than shards of a WebDataset, and all at once.
        let machines = ["3/5", "0/5", "4/5", "1/5", "2/5"].map(|shard| {
            let args = seven(format, format, &["--shard", shard, "--threads=1"]);
            let mut command = command(folder.path(), &args);
            command.stdout(Stdio::piped()).stderr(Stdio::piped());
            (shard, command.spawn().unwrap())
        });
        let mut finished = 0;
        for (shard, machine) in machines {
            let output = machine.wait_with_output().unwrap();
            let said = String::from_utf8(output.stderr).unwrap();
            assert!(output.status.success(), "{shard}: {said}");
            assert!(
                said.contains(&format!("shard {} of 0 to 4", &shard[..1])),
                "{said}"
            );
            let text = String::from_utf8(output.stdout).unwrap();
            finished += usize::from(!text.contains("the shard that ends last"));
        }
        assert!(finished >= 1, "nobody has described {format}");
        assert!(files(&folder.path().join(format)) == whole, "{format}");
    }
}

#[test]
fn tasks_of_a_slurm_array_take_their_parts() {
    let folder = tempfile::tempdir().unwrap();
    let run = |variables: &[(&str, &str)], more: &[&str]| {
        let args = small(&[["--count=7", "--out=d", "--json"].as_slice(), more].concat());
        let mut command = command(folder.path(), &args);
        for (name, value) in variables {
            command.env(format!("SLURM_ARRAY_TASK_{name}"), value);
        }
        finish(&mut command)
    };
    // `--array=1-3`, and `--array=10-30:10`, count differently.
    let second = run(&[("ID", "2"), ("COUNT", "3"), ("MIN", "1")], &[]).ok();
    assert!(
        second.stderr.contains("shard 1 of 0 to 2: samples 2 to 3"),
        "{}",
        second.stderr
    );
    assert_eq!(second.json()["written"], 2);
    assert!(second.json()["in_folder"].is_null());
    assert!(!folder.path().join("d/manifest.jsonl").exists());
    let step = [("ID", "30"), ("COUNT", "3"), ("MIN", "10"), ("STEP", "10")];
    assert_eq!(run(&step, &[]).ok().json()["written"], 3);
    // The flag wins, and the last one describes the set.
    let last = run(&step, &["--shard=0/3"]).ok();
    assert!(
        last.stderr.contains("shard 0 of 0 to 2: samples 0 to 1"),
        "{}",
        last.stderr
    );
    assert_eq!(last.json()["in_folder"], 7);
    synthfm(folder.path(), &["generate", "--verify=d"]).ok();
    for (variables, part) in [
        ([("ID", "x"), ("COUNT", "3")], "SLURM_ARRAY_TASK_ID=x"),
        ([("ID", "7"), ("COUNT", "3")], "--shard I/N"),
        ([("ID", "0"), ("COUNT", "")], "SLURM_ARRAY_TASK_COUNT"),
    ] {
        run(&variables, &[]).fails(1, &[part]);
    }
    run(&[("ID", "1")], &[]).fails(1, &["SLURM_ARRAY_TASK_COUNT"]);
}

#[test]
fn a_longer_set_replaces_the_last_shard_and_starts_are_whole() {
    let folder = tempfile::tempdir().unwrap();
    let run = |count: &str, start: &str, out: &str| {
        let args = [
            "--format=webdataset",
            "--shard-size=3",
            "--json",
            "--out",
            out,
        ];
        synthfm(
            folder.path(),
            &small(&[args.as_slice(), &["--count", count, "--start", start]].concat()),
        )
    };
    assert_eq!(run("4", "0", "d").ok().json()["written"], 4);
    assert_eq!(run("8", "0", "d").ok().json()["written"], 5);
    assert_eq!(run("5", "0", "d").ok().json()["written"], 0);
    run("8", "0", "whole").ok();
    assert!(files(&folder.path().join("d")) == files(&folder.path().join("whole")));
    run("3", "1", "e").fails(2, &["multiple of the shard size 3"]);
}

/// Kills the program at different moments, from its start to its end.
#[cfg(unix)]
#[test]
fn killed_runs_leave_nothing_that_a_later_one_does_not_mend() {
    let folder = tempfile::tempdir().unwrap();
    for format in ["nnunet", "coco", "webdataset"] {
        let whole = format!("{format}-whole");
        let start = Instant::now();
        synthfm(folder.path(), &seven(format, &whole, &["--threads=2"])).ok();
        let duration = start.elapsed();
        let (root, mut killed) = (folder.path().join(format), 0);
        for eighth in 0..8 {
            let args = seven(format, format, &["--threads=2"]);
            let mut child = command(folder.path(), &args)
                .stdout(Stdio::null())
                .spawn()
                .unwrap();
            std::thread::sleep(duration * eighth / 8);
            child.kill().unwrap();
            killed += usize::from(!child.wait().unwrap().success());
        }
        assert!(killed > 0, "all runs were over before they were killed");
        // What such a moment can leave at worst.
        for name in [
            ".synth_00000003.json.a1B2c3.tmp",
            ".shard-000001.tar.a1B2c3.tmp",
            ".manifest.jsonl.a1B2c3.tmp",
        ] {
            let recipes = root.join("recipes").join(name);
            fs::write(
                if recipes.parent().unwrap().is_dir() {
                    recipes
                } else {
                    root.join(name)
                },
                "half",
            )
            .unwrap();
        }
        fs::write(root.join(".manifest.jsonl.x.tmp"), "half").unwrap();
        synthfm(folder.path(), &seven(format, format, &[])).ok();
        let left = names(&root);
        let whole = files(&folder.path().join(whole));
        assert!(files(&root) == whole, "{format}: {left:?}");
    }
}

/// A shard leaves alone what other machines are writing.
#[test]
fn temporary_files_of_other_shards_stay() {
    let folder = tempfile::tempdir().unwrap();
    let recipes = folder.path().join("nnunet/recipes");
    fs::create_dir_all(&recipes).unwrap();
    for index in [0, 6] {
        fs::write(
            recipes.join(format!(".synth_0000000{index}.json.x.tmp")),
            "",
        )
        .unwrap();
    }
    fs::write(folder.path().join("nnunet/.dataset.json.x.tmp"), "").unwrap();
    synthfm(folder.path(), &seven("nnunet", "nnunet", &["--shard=0/2"])).ok();
    let left: Vec<String> = names(&folder.path().join("nnunet"))
        .into_iter()
        .filter(|name| name.strip_suffix(".tmp").is_some())
        .collect();
    assert_eq!(
        left,
        [".dataset.json.x.tmp", "recipes/.synth_00000006.json.x.tmp"]
    );
}

/// A limit on the size of files stands for a full disk: writing fails in the middle of a file.
#[cfg(unix)]
#[test]
fn a_limit_on_file_sizes_leaves_whole_files_only() {
    let folder = tempfile::tempdir().unwrap();
    for format in ["nnunet", "webdataset"] {
        let args = seven(format, format, &[]);
        // In blocks of 512 bytes or of 1 KiB, by shell: enough for the configuration, too little for a picture.
        let shell = "ulimit -f 8; exec \"$0\" \"$@\"";
        let mut limited = Command::new("sh");
        limited.current_dir(folder.path()).args(["-c", shell]);
        limited.arg(env!("CARGO_BIN_EXE_synthfm")).args(&args);
        finish(&mut limited).fails(1, &["File too large", "the same command continues"]);
        let root = folder.path().join(format);
        let left = names(&root);
        assert!(
            left.iter().all(|name| name.strip_suffix(".tmp").is_none()
                && !name.contains("recipes/")
                && !name.contains("shard-")),
            "{left:?}"
        );
        synthfm(folder.path(), &args).ok();
        let whole = format!("{format}-whole");
        synthfm(folder.path(), &seven(format, &whole, &[])).ok();
        assert!(
            files(&root) == files(&folder.path().join(whole)),
            "{format}"
        );
    }
}

/// What is continued is read first: damage is named, and nothing is written over it.
#[test]
fn damaged_records_are_named() {
    let folder = tempfile::tempdir().unwrap();
    for (format, record) in [
        ("webdataset", "shard-000001.json"),
        ("coco", "recipes/synth_00000003.json"),
        ("npz", "recipes/synth_00000003.json"),
    ] {
        synthfm(folder.path(), &seven(format, format, &[])).ok();
        let path = folder.path().join(format).join(record);
        let good = fs::read_to_string(&path).unwrap();
        let moved = good.replace("\"first_index\": 2", "\"first_index\": 9000");
        for text in ["", "{}", "[1", &good[..good.len() / 2], &moved] {
            if text == good {
                continue;
            }
            fs::write(&path, text).unwrap();
            let run = synthfm(folder.path(), &seven(format, format, &["-q"]));
            run.fails(1, &[record, "delete it and generate again"]);
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
        fs::remove_file(&path).unwrap();
        synthfm(folder.path(), &seven(format, format, &[])).ok();
        assert_eq!(fs::read_to_string(&path).unwrap(), good);
    }
}

#[cfg(unix)]
#[test]
fn ctrl_c_leaves_whole_shards_only() {
    let folder = tempfile::tempdir().unwrap();
    let args = small(&[
        "--out=d",
        "--count=5000",
        "--format=webdataset",
        "--shard-size=3",
        "-q",
    ]);
    let mut child = command(folder.path(), &args)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let root = folder.path().join("d");
    wait_for(&root.join("shard-000001.json"));
    interrupt(&child);
    assert_eq!(child.wait().unwrap().code(), Some(1));
    let found = names(&root);
    let ending = |end: &str| -> Vec<&str> {
        let stems = found.iter().filter_map(|name| name.strip_suffix(end));
        stems.filter(|name| name.starts_with("shard-")).collect()
    };
    assert!(
        found.iter().all(|name| name.strip_suffix(".tmp").is_none()),
        "{found:?}"
    );
    assert_eq!(ending(".tar"), ending(".json"));
    assert!((2..1000).contains(&ending(".tar").len()));
    synthfm(folder.path(), &["generate", "--verify=d"]).ok();
}

fn wait_for(path: &Path) {
    let started = Instant::now();
    while !path.exists() {
        assert!(
            started.elapsed() < Duration::from_mins(1),
            "{} never came",
            path.display()
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}
