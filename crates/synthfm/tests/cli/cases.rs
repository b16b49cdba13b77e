//! Inputs on which other programs fail, with the right values, from top to bottom of `shared/cases`. What needs a file
//! that is small is tested beside its reader too; here it is the program that is asked.

#![expect(clippy::float_cmp, reason = "values are read as they are stored")]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::common::{Finished, finish, synthfm};
use crate::http::Server;

/// The folder of cases; `None`, and a loud line, where it is not there.
fn cases() -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/cases");
    if path.is_dir() {
        return Some(path);
    }
    // Unlike `eprintln!`, this is shown for tests that pass, too.
    let _ = writeln!(
        std::io::stderr(),
        "SKIPPED: {} is not there",
        path.display()
    );
    None
}

fn info(folder: &Path, path: &str) -> Value {
    synthfm(folder, &["info", path, "--json"]).ok().json()
}

fn range(value: &Value) -> [f64; 2] {
    [0, 1].map(|end| value["range"][end].as_f64().unwrap())
}

fn problems(value: &Value) -> String {
    value["problems"].to_string()
}

#[test]
fn images_are_read_as_they_are() {
    let Some(cases) = cases() else { return };
    for (path, shape, values) in [
        ("A6_same_sop_uid", [20, 16, 5], [0.0, 376.0]),
        ("A7_metaimage/text_values.mha", [10, 12, 4], [0.0, 90.0]),
        (
            "A7_metaimage/compressed_first.mha",
            [10, 12, 4],
            [0.0, 90.0],
        ),
        ("C_nifti/gz_zero_padding.nii.gz", [24, 28, 6], [0.0, 510.0]),
        (
            "C_nifti/sform_zero_qform_good.nii.gz",
            [24, 28, 6],
            [0.0, 510.0],
        ),
        ("D7_siemens_ima", [20, 16, 4], [0.0, 366.0]),
        ("E_tiff/imagej_one_directory.tif", [12, 10, 4], [0.0, 90.0]),
        ("E_tiff/imagej_two_channels.tif", [12, 10, 4], [0.0, 90.0]),
    ] {
        let found = info(&cases, path);
        assert_eq!(found["kind"], "volume", "{path}");
        assert_eq!(found["shape"], serde_json::json!(shape), "{path}");
        assert_eq!(range(&found), values, "{path}");
    }
    for (path, size, channels, values) in [
        (
            "A3_jpegls_colour/SC_rgb_jls_lossy_sample.dcm",
            100,
            3,
            [0.0, 255.0],
        ),
        ("A3_jpegls_colour/JLSL_RGB_ILV0.dcm", 256, 3, [0.0, 255.0]),
        ("A3_jpegls_colour/JLSL_RGB_ILV2.dcm", 256, 3, [0.0, 255.0]),
        (
            "A4_big_endian_8bit/SC_rgb_small_odd_big_endian.dcm",
            3,
            3,
            [52.0, 176.0],
        ),
        (
            "D2_implicit_in_jpeg/SC_rgb_jpeg.dcm",
            256,
            3,
            [134.0, 252.0],
        ),
        ("E_tiff/one_bit.tif", 10, 1, [0.0, 255.0]),
        ("E_tiff/thumbnail_page.tif", 10, 1, [2.0, 89.0]),
    ] {
        let found = info(&cases, path);
        assert_eq!(found["size"][0], size, "{path}");
        assert_eq!(found["channels"], channels, "{path}");
        assert_eq!(range(&found), values, "{path}");
    }
    let half = info(&cases, "E_npy/half.npy");
    assert_eq!(half["size"], serde_json::json!([10, 12]));
}

#[test]
fn what_was_mended_is_said() {
    let Some(cases) = cases() else { return };
    for (path, part) in [
        (
            "C_nifti/gz_zero_padding.nii.gz",
            "after the end of the compressed data",
        ),
        ("C_nifti/sform_zero_qform_good.nii.gz", "qform"),
        ("C_nifti/rgb24.nii.gz", "colour"),
        ("C_nifti/four_volumes.nii.gz", "3 volumes"),
        ("D2_implicit_in_jpeg/SC_rgb_jpeg.dcm", "implicit"),
        ("D3_rle_32bit/rtdose_rle_1frame.dcm", "1254000"),
        ("E_nrrd/time_last.nrrd", "2 volumes"),
        ("E_tiff/imagej_two_channels.tif", "2 channels"),
        ("E_tiff/thumbnail_page.tif", "thumbnail"),
    ] {
        let found = problems(&info(&cases, path));
        assert!(found.contains(part), "{path}: {found}");
    }
    let lists = synthfm(&cases, &["info", "E_nrrd/list.nhdr"]);
    lists.fails(1, &["lists of data files"]);
    let pipes = synthfm(&cases, &["info", "-"]);
    pipes.fails(1, &["cannot be read twice"]);
}

#[test]
fn a_slice_is_seen_through_its_own_window() {
    let Some(cases) = cases() else { return };
    let out = tempfile::tempdir().unwrap();
    let mask = out.path().join("a.png").to_string_lossy().into_owned();
    for (slice, high, more) in [
        ("3", 382.0, "--window=percentiles"),
        ("3", 365.0, "--window=own"),
        ("0", 5.0, "--window=own"),
    ] {
        let line = [
            "predict",
            "A1_window_per_slice",
            more,
            "--slice",
            slice,
            "--box=4,2,16,14",
            "--json",
            "-o",
            &mask,
        ];
        let record = synthfm(&cases, &line).ok().json();
        assert_eq!(record["window"], serde_json::json!([0.0, high]));
    }
}

#[test]
fn phases_are_two_volumes() {
    let Some(cases) = cases() else { return };
    let found = info(&cases, "A2_phases_hashed_names");
    assert_eq!(found["series"].as_array().unwrap().len(), 2);
    let second = ["info", "A2_phases_hashed_names", "--series=2", "--json"];
    let second = synthfm(&cases, &second).ok().json();
    assert_eq!(range(&found)[0], 0.0);
    assert_eq!(range(&second)[0], 1000.0);
}

fn evaluate(cases: &Path, data: &str, more: &[&str]) -> (Finished, String) {
    let out = tempfile::tempdir().unwrap();
    let report = out.path().join("r");
    let base = [
        "evaluate",
        "--data",
        data,
        "--model=flood-fill",
        "--prompts=1,0",
        "--out",
    ];
    let report_text = report.to_string_lossy();
    let line = [&base, &[&*report_text][..], more].concat();
    let run = synthfm(cases, &line);
    let rows = fs::read_to_string(report.join("results.csv")).unwrap_or_default();
    (run, rows)
}

#[test]
fn labels_lie_on_their_images() {
    let Some(cases) = cases() else { return };
    let (run, rows) = evaluate(&cases, "B1_label_other_direction", &[]);
    assert!(run.ok().stderr.contains("brought onto"));
    let clicks = rows.lines().skip(1).filter(|row| row.contains(",+6:9,"));
    assert_eq!(clicks.count(), 2, "{rows}");
}

#[test]
fn data_sets_of_other_habits_are_evaluated() {
    let Some(cases) = cases() else { return };
    let (run, rows) = evaluate(&cases, "B3_regions", &[]);
    run.ok();
    assert!(rows.contains("whole") && rows.contains("core"), "{rows}");
    let (run, _) = evaluate(&cases, "B4_mask_255", &[]);
    run.fails(1, &["255", "no name"]);
    let (run, _) = evaluate(&cases, "B6_msd_4d", &[]);
    assert!(run.ok().stderr.contains("channel 0 (FLAIR) of 2"));
    let (run, _) = evaluate(&cases, "B6_msd_4d", &["--channel=1"]);
    run.ok();
    let (run, _) = evaluate(&cases, "B6_msd_4d", &["--channel=2"]);
    assert!(
        run.stderr.contains("channel 2 does not exist"),
        "{}",
        run.stderr
    );
    for (data, part) in [
        ("B7_coco/dangling_annotation", "left out: 1 annotations"),
        ("B7_coco/two_point_polygon", "fewer than three corners"),
        ("B7_coco/exif_upside_down", "upright"),
    ] {
        let (run, rows) = evaluate(&cases, data, &[]);
        let said = run.ok().stderr;
        assert!(said.contains(part), "{data}: {said}");
        assert!(rows.contains(",1.000000,1.000000,"), "{data}: {rows}");
    }
}

#[test]
fn the_annotator_opens_series_and_several_volumes() {
    let Some(cases) = cases() else { return };
    let folder = tempfile::tempdir().unwrap();
    let work = folder.path().join("work");
    let work = format!("--work={}", work.display());
    let series = cases.join("D7_siemens_ima").to_string_lossy().into_owned();
    let server = Server::start(folder.path(), &[&series, &work]);
    let (_, case) = server.open("D7_siemens_ima");
    assert_eq!(case["planes"][0]["slices"], 4);
    drop(server);
    let file = cases
        .join("C_nifti/four_volumes.nii.gz")
        .to_string_lossy()
        .into_owned();
    let server = Server::start(folder.path(), &[&file, &work]);
    let (_, case) = server.open("four_volumes");
    assert_eq!(
        case["volumes"],
        serde_json::json!({ "count": 3, "shown": 1 })
    );
}

#[test]
fn small_files_cost_little() {
    let Some(cases) = cases() else { return };
    for (path, part) in [
        ("R_bounds/line_skip_1MB.nrrd", "line skip"),
        ("R_bounds/j2k_16000.dcm", "--max-memory"),
        ("R_bounds/j2k_cut_138.dcm", "ends early"),
    ] {
        let mut command = std::process::Command::new("sh");
        let program = env!("CARGO_BIN_EXE_synthfm");
        let script = format!("ulimit -v 16000000; exec '{program}' info '{path}'");
        command.current_dir(&cases).args(["-c", &script]);
        finish(&mut command).fails(1, &[part]);
    }
    let out = tempfile::tempdir().unwrap();
    let line = ["predict", ".", "--prompts=R_bounds/points20000.json", "-o"];
    let masks = out.path().join("masks").to_string_lossy().into_owned();
    let run = synthfm(&cases, &[&line, &[masks.as_str()][..]].concat());
    run.fails(1, &["20000 points, more than 1000"]);
}
