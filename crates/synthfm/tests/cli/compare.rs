//! `synthfm compare`: report, numbers, refusals.

use std::fs;

use crate::common::{command, interrupt, names, small, synthfm};

#[test]
fn the_generator_is_compared_with_what_it_drew() {
    let folder = tempfile::tempdir().unwrap();
    let run = |args: &[&str]| synthfm(folder.path(), args);
    run(&small(&["--out=data", "--count=12"])).ok();
    let report = "report/cmp.html";
    let args = [
        "compare",
        "--real=data",
        "--count=40",
        "--side=160",
        "--out",
        report,
    ];
    let text = run(&[args.as_slice(), &["--set=noise.gaussian.probability=1"]].concat()).ok();
    assert!(
        text.stdout.contains("joint") && text.stdout.contains("compactness"),
        "{}",
        text.stdout
    );
    assert_eq!(
        names(&folder.path().join("report")),
        ["cmp.html", "cmp.json"]
    );
    let html = fs::read_to_string(folder.path().join(report)).unwrap();
    assert!(html.contains("<svg") && html.contains("data:image/png"));

    let again = run(&[args.as_slice(), &["--json", "--threads=1"]].concat());
    let numbers = again.ok().json();
    assert_eq!(numbers["groups"][0]["name"], "all");
    assert!(numbers["groups"][0]["joint"].as_f64().unwrap() > 0.5);
    assert_eq!(numbers["options"]["side"], 160);
}

#[test]
fn what_cannot_be_compared_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let at = |path: &str| folder.path().join(path);
    synthfm(folder.path(), &small(&["--out=data", "--count=2"])).ok();
    fs::create_dir(at("empty")).unwrap();
    // Without labels.
    fs::create_dir_all(at("bare/imagesTr")).unwrap();
    fs::copy(at("data/dataset.json"), at("bare/dataset.json")).unwrap();
    // With labels that are no image.
    fs::create_dir_all(at("broken/labelsTr")).unwrap();
    fs::create_dir_all(at("broken/imagesTr")).unwrap();
    fs::copy(at("data/dataset.json"), at("broken/dataset.json")).unwrap();
    for name in ["imagesTr/a_0000.png", "labelsTr/a.png"] {
        fs::write(at("broken").join(name), b"no PNG").unwrap();
    }
    for (args, code, parts) in [
        (
            ["--real=empty", "--out=r.html"],
            1,
            ["nnU-Net v2's layout expected", "an empty folder"],
        ),
        (
            ["--real=nowhere", "--out=r.html"],
            1,
            ["nowhere", "no such folder"],
        ),
        (
            ["--real=bare", "--out=r.html"],
            1,
            ["labelsTs or labelsTr", "expected"],
        ),
        (
            ["--real=broken", "--out=r.html"],
            1,
            ["nothing to compare with", "no real case"],
        ),
        (
            ["--real=data", "--out=r.png"],
            2,
            ["--out r.png", ".html expected"],
        ),
    ] {
        synthfm(folder.path(), &[["compare", "--count=3"], args].concat()).fails(code, &parts);
    }
    let with = |more: &str| {
        synthfm(
            folder.path(),
            &["compare", "--real=data", "--out=r.html", more],
        )
    };
    with("--config=cat").fails(1, &["no preset", "cat"]);
    with("--side=64").fails(2, &["--side", "128"]);
    with("--count=0").fails(2, &["--count"]);
    with("--set=mixture.boddy=1").fails(1, &["boddy"]);
    synthfm(folder.path(), &["compare", "--out=r.html"]).fails(2, &["--real"]);
    assert!(!at("r.html").exists() && !at("r.json").exists());
}

#[cfg(unix)]
#[test]
fn an_interrupt_leaves_no_report() {
    let folder = tempfile::tempdir().unwrap();
    synthfm(folder.path(), &small(&["--out=data", "--count=4"])).ok();
    let args = ["compare", "--real=data", "--count=100000", "--out=r.html"];
    let child = command(folder.path(), &args)
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    std::thread::sleep(std::time::Duration::from_millis(1500));
    interrupt(&child);
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("stopped; no report was written"), "{said}");
    assert!(!folder.path().join("r.html").exists() && !folder.path().join("r.json").exists());
}
