//! `--device`: what there is, what stands in, and what cannot be had.

use std::path::Path;

use tempfile::TempDir;

use crate::common::{Finished, command, finish, mask, picture, synthfm};

const PREDICT: [&str; 4] = ["predict", "a.png", "--point=30,20", "-o=m.png"];

fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    picture(&folder.path().join("a.png"));
    folder
}

/// A prediction; the variables are those that Vulkan's loader reads.
fn predict(folder: &Path, more: &[&str], drivers: Option<&str>) -> Finished {
    let mut command = command(folder, &[PREDICT.as_slice(), more].concat());
    if let Some(drivers) = drivers {
        command.env("VK_DRIVER_FILES", drivers);
        command.env("VK_ICD_FILENAMES", drivers);
    }
    finish(&mut command)
}

#[test]
fn the_cpu_is_always_listed() {
    let folder = folder();
    let machine = synthfm(folder.path(), &["info", "--json"]).ok().json();
    assert_eq!(machine["kind"], "machine");
    assert_eq!(machine["gpu_support"], cfg!(feature = "gpu"));
    assert_eq!(machine["devices"][0]["name"], "cpu");
    assert_eq!(machine["devices"][0]["precisions"][0], "f32");
    let text = synthfm(folder.path(), &["info"]).ok().stdout;
    assert!(text.contains("cpu         CPU: f32"), "{text}");
}

#[test]
fn names_that_mean_nothing_are_wrong_usage() {
    let folder = folder();
    for name in ["gpu", "vulkan:x", "vulkan:-1", "cpu:1", "metal:0"] {
        let device = format!("--device={name}");
        predict(folder.path(), &[&device], None).fails(2, &["vulkan[:i]", name]);
    }
}

#[test]
fn the_device_is_told() {
    let folder = folder();
    let args = ["models", "verify", "embedded", "--device=cpu"];
    let stderr = synthfm(folder.path(), &args).ok().stderr;
    assert!(stderr.contains("(CPU)"), "{stderr}");
    let stderr = predict(folder.path(), &["-v", "--device=cpu"], None)
        .ok()
        .stderr;
    assert_eq!(stderr.matches("device: CPU").count(), 1, "{stderr}");
}

#[test]
fn without_a_driver_auto_takes_the_cpu_and_says_so() {
    let folder = folder();
    let path = folder.path();
    predict(path, &["--device=cpu"], None).ok();
    let expected = mask(&path.join("m.png"));
    let run = predict(path, &["--device=auto"], Some("/no/driver.json")).ok();
    if cfg!(target_vendor = "apple") && cfg!(feature = "gpu") {
        return; // There is always a GPU.
    }
    assert!(
        run.stderr.contains("note: computing on the CPU"),
        "{}",
        run.stderr
    );
    assert!(mask(&path.join("m.png")) == expected);
    let quiet = predict(path, &["--device=auto", "-q"], Some("/no/driver.json")).ok();
    assert_eq!(quiet.stderr, "");
    // Who did not ask for a GPU, in a build without, is not bothered.
    let unasked = predict(path, &[], Some("/no/driver.json")).ok();
    let noted = unasked.stderr.contains("note: ");
    assert_eq!(noted, cfg!(feature = "gpu"), "{}", unasked.stderr);
}

#[test]
fn a_gpu_that_is_not_there_is_an_error() {
    let folder = folder();
    let reason = if cfg!(feature = "gpu") {
        "no driver for Vulkan was found"
    } else {
        "rebuild with --features gpu"
    };
    for device in ["--device=vulkan", "--device=vulkan:0"] {
        let run = predict(folder.path(), &[device], Some("/no/driver.json"));
        run.fails(1, &[reason, &device["--device=".len()..]]);
    }
    predict(folder.path(), &["--device=cuda"], None).fails(1, &["--device vulkan"]);
    if !cfg!(target_vendor = "apple") {
        let reason = if cfg!(feature = "gpu") {
            "Apple"
        } else {
            reason
        };
        predict(folder.path(), &["--device=metal"], None).fails(1, &[reason]);
    }
}

/// On the first device that the machine has beside the CPU, be it in software.
#[cfg(feature = "gpu")]
#[test]
fn a_gpu_gives_the_cpus_mask() {
    use std::io::Write as _;

    let folder = folder();
    let path = folder.path();
    let machine = synthfm(path, &["info", "--json"]).ok().json();
    let Some(name) = machine["devices"][1]["name"].as_str() else {
        let _ = writeln!(std::io::stderr(), "SKIPPED on GPUs: none was found");
        return;
    };
    let description = machine["devices"][1]["description"].as_str().unwrap();
    predict(path, &["--device=cpu"], None).ok();
    let expected = mask(&path.join("m.png"));
    let run = predict(path, &["-v", &format!("--device={name}")], None).ok();
    assert!(
        run.stderr.contains(&format!("device: {description}")),
        "{}",
        run.stderr
    );
    let got = mask(&path.join("m.png"));
    let pixels = got.data().iter().zip(expected.data());
    let different = pixels.filter(|(a, b)| a != b).count();
    // Single precision in other orders of sums may turn a pixel at the boundary.
    assert!(different <= 2, "{different} pixels of {}", got.data().len());
    assert!(got.data().iter().any(|&inside| inside));

    if let Some((api, _)) = name.split_once(':') {
        let beyond = format!("--device={api}:99");
        predict(path, &[&beyond], None).fails(1, &["this machine has vulkan:0, ", description]);
    }
    if description.contains("software") {
        assert!(
            run.stderr.contains("--device cpu is faster"),
            "{}",
            run.stderr
        );
        let auto = predict(path, &["--device=auto"], None).ok();
        let reason = "the only driver for GPUs is a software one";
        assert!(auto.stderr.contains(reason), "{}", auto.stderr);
        assert!(mask(&path.join("m.png")) == expected);
    }
}
