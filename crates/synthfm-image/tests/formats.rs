//! Files of other programs, against what those programs read (`tools/format_fixtures.py`).

#![expect(clippy::unwrap_used, reason = "a test stops at its first surprise")]

use std::path::{Path, PathBuf};

use serde_json::Value;
use synthfm_image::{
    ImageFile, LabelFile, OpenOptions, Picture, ReadOptions, Scan, VolumeGeometry, list_series,
    open_scan, read_segmentation,
};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/formats")
}

fn expected() -> Vec<(String, Value)> {
    let text = std::fs::read_to_string(folder().join("expected.json")).unwrap();
    let value: Value = serde_json::from_str(&text).unwrap();
    let files = value["files"].as_object().unwrap();
    files.iter().map(|(k, v)| (k.clone(), v.clone())).collect()
}

fn numbers(value: &Value) -> Vec<f64> {
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|v| v.as_f64().unwrap())
        .collect()
}

fn open(name: &str) -> Scan {
    open_scan(&folder().join(name), &OpenOptions::default())
        .unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Shape with the fastest axis last, values, geometry.
type Content = (Vec<usize>, Vec<f64>, Option<VolumeGeometry>);

fn content(image: &ImageFile) -> Content {
    match image {
        ImageFile::Picture(Picture::Grey(image)) => (
            vec![image.size().height, image.size().width],
            image.data().iter().map(|&v| f64::from(v)).collect(),
            None,
        ),
        ImageFile::Picture(Picture::Rgb(image)) => (
            vec![image.size().height, image.size().width, 3],
            image.data().iter().map(|&v| f64::from(v)).collect(),
            None,
        ),
        ImageFile::Volume(volume) => (
            volume.geometry().shape().into_iter().rev().collect(),
            volume.data().iter().map(|&v| f64::from(v)).collect(),
            Some(volume.geometry().clone()),
        ),
    }
}

fn label_content(labels: &LabelFile) -> Content {
    match labels {
        LabelFile::Map(map) => (
            vec![map.size().height, map.size().width],
            map.data().iter().map(|&v| f64::from(v)).collect(),
            None,
        ),
        LabelFile::Volume(volume) => (
            volume.geometry().shape().into_iter().rev().collect(),
            volume.data().iter().map(|&v| f64::from(v)).collect(),
            Some(volume.geometry().clone()),
        ),
    }
}

fn check_content(name: &str, (shape, values, geometry): Content, want: &Value) {
    let want_shape: Vec<usize> = numbers(&want["shape"])
        .iter()
        .map(|&v| v as usize)
        .collect();
    assert_eq!(shape, want_shape, "{name}");
    let tolerance = want["tolerance"].as_f64().unwrap_or(0.0);
    let want_values = numbers(&want["values"]);
    assert_eq!(values.len(), want_values.len(), "{name}");
    for (n, (&got, &want)) in values.iter().zip(&want_values).enumerate() {
        // Values are held as f32.
        let exact = (f64::from(want as f32) - got).abs() <= tolerance;
        assert!(exact, "{name}: value {n} is {got}, expected {want}");
    }
    if let Some(rows) = want["affine"].as_array() {
        let affine = geometry.unwrap().patient_from_voxel();
        for (got, want) in affine.iter().zip(rows) {
            for (&got, want) in got.iter().zip(numbers(want)) {
                // Directions are written with 12 digits or fewer, affines of NIfTI as f32.
                assert!(
                    (got - want).abs() < 1e-5,
                    "{name}: {affine:?}, expected {rows:?}"
                );
            }
        }
    }
}

#[test]
fn images_are_what_other_programs_read() {
    let mut count = 0;
    for (name, want) in expected() {
        if want["labels"] == Value::Bool(true) {
            continue;
        }
        count += 1;
        let scan = open(&name);
        check_content(&name, content(&scan.content), &want);
        let info = &scan.info;
        if let Some(format) = want["format"].as_str() {
            assert_eq!(info.format.name(), format, "{name}");
        }
        if let Some(modality) = want["modality"].as_str() {
            assert_eq!(info.modality.as_deref(), Some(modality), "{name}");
        }
        assert_eq!(
            info.inverted,
            want["inverted"] == Value::Bool(true),
            "{name}"
        );
        if let Some(windows) = want["windows"].as_array() {
            let got: Vec<Vec<f64>> = info
                .windows
                .iter()
                .map(|w| vec![f64::from(w.low), f64::from(w.high)])
                .collect();
            let windows: Vec<Vec<f64>> = windows.iter().map(numbers).collect();
            assert_eq!(got, windows, "{name}");
        }
        if want["spacing"].is_array() {
            let got = info.pixel_spacing_mm.unwrap();
            let near = got
                .iter()
                .zip(numbers(&want["spacing"]))
                .all(|(a, b)| (a - b).abs() < 1e-9);
            assert!(near, "{name}: {got:?}");
        }
        if let Some(regions) = want["regions"].as_array() {
            let boxes = info.regions.iter().map(|r| {
                let (min, max) = (r.bounds.min, r.bounds.max);
                vec![min.x, min.y, max.x, max.y]
            });
            let regions: Vec<Vec<f64>> = regions.iter().map(numbers).collect();
            assert_eq!(boxes.collect::<Vec<_>>(), regions, "{name}");
        }
        if let Some(warning) = want["warning"].as_str() {
            let told = info.warnings.iter().any(|w| w.contains(warning));
            assert!(told, "{name}: {:?}", info.warnings);
        }
    }
    assert!(count > 40, "{count} files");
}

#[test]
fn labels_are_what_other_programs_read() {
    let mut count = 0;
    for (name, want) in expected() {
        if want["labels"] != Value::Bool(true) {
            continue;
        }
        count += 1;
        let read = read_segmentation(&folder().join(&name), &ReadOptions::default());
        let (segmentation, warnings) = read.unwrap_or_else(|error| panic!("{name}: {error}"));
        check_content(&name, label_content(&segmentation.labels), &want);
        if let Some(names) = want["names"].as_array() {
            let got: Vec<&str> = segmentation
                .segments
                .iter()
                .map(|s| s.name.as_str())
                .collect();
            let names: Vec<&str> = names.iter().map(|v| v.as_str().unwrap()).collect();
            assert_eq!(got, names, "{name}");
        }
        if let Some(colours) = want["colours"].as_array() {
            let got: Vec<Vec<f64>> = segmentation
                .segments
                .iter()
                .map(|s| s.colour.iter().map(|&v| f64::from(v)).collect())
                .collect();
            let colours: Vec<Vec<f64>> = colours.iter().map(numbers).collect();
            assert_eq!(got, colours, "{name}");
        }
        if let Some(warning) = want["warning"].as_str() {
            assert!(
                warnings.iter().any(|w| w.contains(warning)),
                "{name}: {warnings:?}"
            );
        }
    }
    assert!(count >= 5, "{count} files");
}

#[test]
fn series_are_chosen_by_number_and_uid() {
    let path = folder().join("dicom_oblique");
    let all = list_series(&path, &OpenOptions::default()).unwrap();
    let slices: Vec<usize> = all.iter().map(|s| s.slices).collect();
    assert_eq!(slices, [4, 2]);
    let open = |series: &str| {
        let options = OpenOptions {
            series: Some(series.to_owned()),
            ..OpenOptions::default()
        };
        open_scan(&path, &options)
    };
    for series in ["2", all[1].uid.as_str()] {
        let scan = open(series).unwrap();
        let ImageFile::Volume(volume) = scan.content else {
            panic!("a picture");
        };
        assert_eq!(volume.geometry().shape(), [6, 6, 2]);
        assert_eq!(scan.info.dicom.unwrap().uid, all[1].uid);
    }
    let error = open("7").unwrap_err().to_string();
    assert!(
        error.contains("no series 7") && error.contains("1: series 12, 4 slices"),
        "{error}"
    );
}

/// A slice taken away leaves a gap, one file twice is one slice.
#[test]
fn missing_and_repeated_slices_are_told() {
    let scratch = tempfile::tempdir().unwrap();
    for name in ["a", "b", "c", "d"] {
        let file = format!("{name}.dcm");
        std::fs::copy(
            folder().join("dicom_axial").join(&file),
            scratch.path().join(&file),
        )
        .unwrap();
    }
    std::fs::copy(
        scratch.path().join("a.dcm"),
        scratch.path().join("copy.dcm"),
    )
    .unwrap();
    let scan = open_scan(scratch.path(), &OpenOptions::default()).unwrap();
    let copies = scan
        .info
        .warnings
        .iter()
        .any(|w| w.contains("1 files are copies"));
    assert!(copies, "{:?}", scan.info.warnings);
    let ImageFile::Volume(volume) = &scan.content else {
        panic!("a picture");
    };
    assert_eq!(volume.geometry().shape(), [7, 5, 4]);
    // 'a', 'd', 'c', 'b' follow each other.
    std::fs::remove_file(scratch.path().join("c.dcm")).unwrap();
    std::fs::remove_file(scratch.path().join("copy.dcm")).unwrap();
    let scan = open_scan(scratch.path(), &OpenOptions::default()).unwrap();
    let series = scan.info.dicom.unwrap();
    assert_eq!(series.gaps_mm.len(), 1, "{:?}", scan.info.warnings);
    assert!((series.gaps_mm[0].1 - 7.0).abs() < 1e-6);
    assert!(series.identifying.contains(&"PatientName"));
}
