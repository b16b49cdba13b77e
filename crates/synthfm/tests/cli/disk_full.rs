//! A disk that fills up leaves whole files only, and the same command goes on once there is room.
//!
//! The disk is a small memory disk in a mount namespace of the test's own.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::common::{command, files, small, synthfm};

/// A disk of 400 kB holds a few samples of 128 x 160.
const SCRIPT: &str = r#"
set -eu
mount -t tmpfs -o size=400k none "$DISK"
status=0
"$@" || status=$?
cp -a "$DISK/." "$COPY"
exit "$status"
"#;

/// Whether this machine lets an ordinary user mount a memory disk in a namespace.
fn can_mount(folder: &Path) -> bool {
    let mut probe = Command::new("unshare");
    probe.args(["-rm", "mount", "-t", "tmpfs", "none"]);
    probe
        .arg(folder)
        .output()
        .is_ok_and(|output| output.status.success())
}

fn by_name(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    files(folder).into_iter().collect()
}

#[test]
fn whole_files_remain_and_the_run_can_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let disk = folder.path().join("disk");
    fs::create_dir(&disk).unwrap();
    if !can_mount(&disk) {
        eprintln!(
            "SKIPPED: this machine does not let the test mount a small disk (unshare -rm mount)"
        );
        return;
    }
    for format in ["nnunet", "coco", "npz", "webdataset"] {
        let copy = folder.path().join(format!("{format}-copy"));
        fs::create_dir(&copy).unwrap();
        let mut args = small(&["--count=40", "--threads=2", "--format", format]);
        if format == "webdataset" {
            args.push("--shard-size=4");
        }
        let run = command(folder.path(), &args);
        let mut full = Command::new("unshare");
        full.args(["-rm", "sh", "-c", SCRIPT, "sh"])
            .arg(run.get_program())
            .args(run.get_args());
        full.args(["--out".as_ref(), disk.join("d").as_os_str()]);
        full.env("DISK", &disk)
            .env("COPY", &copy)
            .current_dir(folder.path());
        let output = full.output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{format}: {said}");
        assert!(said.contains("No space left on device"), "{format}: {said}");
        let left = by_name(&copy.join("d"));
        let whole = folder.path().join(format!("{format}-whole"));
        synthfm(
            folder.path(),
            &[args.as_slice(), &["--out", whole.to_str().unwrap()]].concat(),
        )
        .ok();
        let whole = by_name(&whole);
        let pictures = |name: &str| ["png", "npz", "tar"].iter().any(|end| name.ends_with(end));
        let mut kept = 0;
        for (name, bytes) in left.iter().filter(|(name, _)| pictures(name)) {
            assert!(
                whole.get(name) == Some(bytes),
                "{format}: {name} is not whole"
            );
            kept += 1;
        }
        assert!(
            kept > 0 && left.len() < whole.len(),
            "{format}: {kept} pictures were kept"
        );
        let again = copy.join("d");
        synthfm(
            folder.path(),
            &[args.as_slice(), &["--out", again.to_str().unwrap()]].concat(),
        )
        .ok();
        assert!(
            by_name(&again) == whole,
            "{format}: not the files of an undisturbed run"
        );
    }
}
