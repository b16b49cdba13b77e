//! DICOM files that do not keep to the usual ways (`tools/dicom_fixtures.py`), and some from devices and public test
//! sets: what their values, orders and windows must be.

#![expect(clippy::unwrap_used, reason = "a test stops at its first surprise")]
#![expect(clippy::float_cmp, reason = "these values are exact")]

use std::path::{Path, PathBuf};

use serde_json::Value;
use synthfm_image::{
    Error, ImageFile, OpenOptions, Picture, ReadOptions, Scan, Volume, Window, is_dicom_file,
    list_series, open_scan,
};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/dicom")
}

fn case(name: &str) -> PathBuf {
    folder().join("cases").join(name)
}

fn expected() -> Vec<(String, Value)> {
    let text = std::fs::read_to_string(folder().join("expected.json")).unwrap();
    let value: Value = serde_json::from_str(&text).unwrap();
    let files = value["files"].as_object().unwrap();
    files.iter().map(|(k, v)| (k.clone(), v.clone())).collect()
}

fn numbers(value: &Value) -> Vec<f64> {
    let all = value.as_array().unwrap();
    all.iter().map(|v| v.as_f64().unwrap()).collect()
}

fn open_with(path: &Path, series: Option<&str>, max_bytes: u64) -> Result<Scan, Error> {
    let options = OpenOptions {
        read: ReadOptions { max_bytes },
        series: series.map(str::to_owned),
        ..OpenOptions::default()
    };
    open_scan(path, &options)
}

fn open(path: &Path) -> Scan {
    open_with(path, None, 1 << 28).unwrap_or_else(|error| panic!("{error}"))
}

fn values(scan: &Scan) -> (Vec<usize>, Vec<f32>) {
    match &scan.content {
        ImageFile::Picture(Picture::Grey(image)) => {
            let size = image.size();
            (vec![size.height, size.width], image.data().to_vec())
        }
        ImageFile::Picture(Picture::Rgb(image)) => {
            let size = image.size();
            let values = image.data().iter().copied().map(f32::from);
            (vec![size.height, size.width, 3], values.collect())
        }
        ImageFile::Volume(volume) => {
            let [columns, rows, slices] = volume.geometry().shape();
            let shape = [slices, rows, columns];
            let shape = if slices == 1 { &shape[1..] } else { &shape[..] };
            (shape.to_vec(), volume.data().to_vec())
        }
    }
}

fn volume(scan: &Scan) -> &Volume {
    match &scan.content {
        ImageFile::Volume(volume) => volume,
        ImageFile::Picture(_) => panic!("a picture"),
    }
}

/// The first value of every slice.
fn firsts(volume: &Volume) -> Vec<f32> {
    let [columns, rows, _] = volume.geometry().shape();
    volume
        .data()
        .iter()
        .step_by(columns * rows)
        .copied()
        .collect()
}

fn check_values(name: &str, scan: &Scan, want: &Value) {
    let (shape, got) = values(scan);
    let want_shape: Vec<usize> = numbers(&want["shape"])
        .iter()
        .map(|&v| v as usize)
        .collect();
    assert_eq!(shape, want_shape, "{name}");
    let tolerance = want["tolerance"].as_f64().unwrap_or(0.0);
    for (n, (&got, want)) in got.iter().zip(numbers(&want["values"])).enumerate() {
        // Values are held as f32.
        let off = (f64::from(want as f32) - f64::from(got)).abs();
        assert!(
            off <= tolerance,
            "{name}: value {n} is {got}, expected {want}"
        );
    }
    if want["first_mm"].is_array() {
        let affine = volume(scan).geometry().patient_from_voxel();
        let first: Vec<f64> = affine.iter().map(|row| row[3]).collect();
        assert_eq!(first, numbers(&want["first_mm"]), "{name}");
    }
}

fn check_volumes(name: &str, path: &Path, want: &Value) {
    let volumes = want["volumes"].as_array().unwrap();
    let listed = list_series(path, &OpenOptions::default()).unwrap();
    assert_eq!(listed.len(), volumes.len(), "{name}");
    for (n, want) in volumes.iter().enumerate() {
        let scan = open_with(path, Some(&(n + 1).to_string()), 1 << 28).unwrap();
        let got: Vec<f64> = firsts(volume(&scan))
            .iter()
            .map(|&v| f64::from(v))
            .collect();
        assert_eq!(got, numbers(want), "{name}: volume {}", n + 1);
    }
}

fn ends(window: Option<&Window>) -> Value {
    window.map_or(Value::Null, |window| {
        serde_json::json!([f64::from(window.low), f64::from(window.high)])
    })
}

fn check_display(name: &str, scan: &Scan, want: &Value) {
    let info = &scan.info;
    let inverted = want["inverted"].as_bool().unwrap_or(false);
    assert_eq!(info.inverted, inverted, "{name}");
    if want["windows"].is_array() {
        let got: Vec<Value> = info.windows.iter().map(|w| ends(Some(w))).collect();
        assert_eq!(Value::from(got), want["windows"], "{name}");
    }
    if let Some(windows) = want["slice_windows"].as_array() {
        let got: Vec<Value> = info
            .slice_windows
            .iter()
            .map(|w| ends(w.as_ref()))
            .collect();
        assert_eq!(&got, windows, "{name}");
        for (k, window) in windows.iter().enumerate() {
            assert_eq!(&ends(info.window_of_slice(k)), window, "{name}: slice {k}");
        }
    }
    if let Some(padding) = want["padding"].as_array() {
        let got: Vec<Value> = (info.padding.iter())
            .map(|range| serde_json::json!(range.map(|ends| ends.map(f64::from))))
            .collect();
        assert_eq!(&got, padding, "{name}");
    }
    if let Some(warning) = want["warning"].as_str() {
        let told = info.warnings.iter().any(|w| w.contains(warning));
        assert!(told, "{name}: {:?}", info.warnings);
    }
}

#[test]
fn files_hold_what_was_put_into_them() {
    let mut count = 0;
    for (name, want) in expected() {
        let path = folder().join(&name);
        let scan = open(&path);
        if want["values"].is_array() {
            check_values(&name, &scan, &want);
        }
        if want["volumes"].is_array() {
            check_volumes(&name, &path, &want);
        }
        check_display(&name, &scan, &want);
        count += 1;
    }
    assert!(count >= 60, "{count} files");
}

#[test]
fn padding_is_left_out_of_percentiles() {
    let scan = open(&folder().join("padding.dcm"));
    let (_, values) = values(&scan);
    assert_eq!(scan.info.percentile_window(&values), (-5.0, 35.0));
    let scan = open(&folder().join("windows_differ"));
    let all = volume(&scan).data();
    assert_eq!(scan.info.percentile_window(all), (0.0, 25.0));
}

/// A magnet's series whose slices each recommend a window of their own.
#[test]
fn a_window_for_every_slice() {
    let scan = open(&case("window_per_slice"));
    assert!(scan.info.windows.is_empty());
    let third = scan.info.window_of_slice(3).unwrap();
    // Centre 183, width 366.
    assert_eq!((third.low, third.high), (0.0, 365.0));
    let first = scan.info.window_of_slice(0).unwrap();
    assert_eq!((first.low, first.high), (0.0, 5.0));
    assert!(scan.info.window_of_slice(7).is_none());
}

#[test]
fn phases_are_volumes_whatever_their_files_are_called() {
    let path = case("phases_hashed_names");
    for (series, want) in [
        ("1", [0.0, 10.0, 20.0, 30.0]),
        ("2", [1000.0, 1010.0, 1020.0, 1030.0]),
    ] {
        let scan = open_with(&path, Some(series), 1 << 28).unwrap();
        assert_eq!(firsts(volume(&scan)), want);
    }
    assert_eq!(
        list_series(&path, &OpenOptions::default()).unwrap().len(),
        2
    );
}

#[test]
fn one_uid_for_different_slices_makes_no_copies() {
    let scan = open(&case("same_sop_uid"));
    assert_eq!(volume(&scan).geometry().shape()[2], 5);
    let told = |word: &str| scan.info.warnings.iter().any(|w| w.contains(word));
    assert!(
        told("have the SOP Instance UID of another"),
        "{:?}",
        scan.info.warnings
    );
    assert!(!told("copies"), "{:?}", scan.info.warnings);
}

#[test]
fn names_without_the_usual_ending_are_found_by_content() {
    let path = case("siemens_ima");
    assert_eq!(volume(&open(&path)).geometry().shape()[2], 4);
    for entry in std::fs::read_dir(&path).unwrap() {
        assert!(is_dicom_file(&entry.unwrap().path()));
    }
    assert!(!is_dicom_file(&folder().join("expected.json")));
    assert!(!is_dicom_file(&path));
}

#[test]
fn public_files_have_the_values_that_pydicom_reads() {
    let (shape, got) = values(&open(&case("SC_rgb_jls_lossy_sample.dcm")));
    assert_eq!(shape, [100, 100, 3]);
    let ends = got
        .iter()
        .fold([f32::MAX, f32::MIN], |[a, b], &v| [a.min(v), b.max(v)]);
    assert_eq!(ends, [0.0, 255.0]);
    assert_eq!(got[..3], [255.0, 0.0, 0.0]);
    let [big, little] = ["SC_rgb_small_odd_big_endian.dcm", "same_little_endian.dcm"]
        .map(|name| values(&open(&case(name))));
    assert_eq!(big, little);
    let rows = [[166.0, 141.0, 52.0], [63.0, 87.0, 176.0], [158.0; 3]];
    assert_eq!(big.1, rows.map(|pixel| [pixel; 3].concat()).concat());
    let jpeg = open(&case("SC_rgb_jpeg.dcm"));
    assert_eq!(values(&jpeg).0, [256, 256, 3]);
    assert!(jpeg.info.warnings.iter().any(|w| w.contains("implicit")));
    let dose = open(&case("rtdose_rle_1frame.dcm"));
    let (shape, got) = values(&dose);
    assert_eq!(shape, [10, 10]);
    let most = got.iter().copied().fold(0.0, f32::max);
    assert!((most - 1.254).abs() < 1e-6, "{most}");
    let told = dose
        .info
        .warnings
        .iter()
        .any(|w| w.contains("up to 1254000"));
    assert!(told, "{:?}", dose.info.warnings);
}

#[test]
fn other_objects_are_named() {
    let formats = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/formats");
    let segmentation = open_with(&formats.join("seg_binary.dcm"), None, 1 << 28).unwrap_err();
    assert!(
        segmentation.to_string().contains("it holds labels"),
        "{segmentation}"
    );
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("DICOMDIR");
    let element = |tag: [u8; 4], vr: &[u8; 2], value: &[u8]| {
        [&tag[..], vr, &(value.len() as u16).to_le_bytes(), value].concat()
    };
    let class = element([2, 0, 2, 0], b"UI", b"1.2.840.10008.1.3.10");
    let syntax = element([2, 0, 0x10, 0], b"UI", b"1.2.840.10008.1.2.1\0");
    let content = element([4, 0, 0x30, 0x11], b"CS", b"DISK");
    std::fs::write(
        &path,
        [&[0; 128], &b"DICM"[..], &class, &syntax, &content].concat(),
    )
    .unwrap();
    let error = open_with(&path, None, 1 << 28).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("open the folder that it lies in"),
        "{error}"
    );
}

#[test]
fn what_decoding_needs_is_within_the_limit_before_it_begins() {
    // 16,000 x 16,000 pixels in 720 bytes of JPEG 2000.
    let bomb = case("j2k_16000.dcm");
    for limit in [1 << 20, 512 << 20, 2 << 30] {
        let error = open_with(&bomb, None, limit).unwrap_err();
        assert!(matches!(error, Error::Limit { .. }), "{error}");
    }
    for name in [
        "be_8_frames.dcm",
        "jls_8_mode1_near3.dcm",
        "dose_rle.dcm",
        "palette_segments_8.dcm",
    ] {
        let path = folder().join(name);
        let bytes = std::fs::metadata(&path).unwrap().len();
        let least = (bytes..bytes + 4096).find(|&limit| open_with(&path, None, limit).is_ok());
        // Values, or colours, and something to decode them with.
        let (_, values) = values(&open(&path));
        assert!(least.unwrap() >= values.len() as u64, "{name}");
        let error = open_with(&path, None, values.len() as u64 / 2).unwrap_err();
        assert!(matches!(error, Error::Limit { .. }), "{name}: {error}");
    }
}

#[test]
fn streams_that_end_early_are_errors() {
    let error = open_with(&case("j2k_cut_138.dcm"), None, 1 << 30).unwrap_err();
    assert!(error.to_string().contains("ends early"), "{error}");
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("cut.dcm");
    let formats = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/formats");
    for name in [
        "formats/j2k.dcm",
        "formats/j2k_lossy.dcm",
        "formats/jpeg_grey.dcm",
        "formats/jpeg_ybr.dcm",
        "formats/jpeg_lossless.dcm",
        "formats/jpegls8.dcm",
        "formats/rle16.dcm",
        "dicom/jls_8_mode0_near0.dcm",
        "dicom/jls_12_mode1_near3.dcm",
        "dicom/jls_8_mode2_near3.dcm",
        "dicom/dose_rle.dcm",
    ] {
        let bytes = std::fs::read(formats.parent().unwrap().join(name)).unwrap();
        let pixels = bytes
            .windows(4)
            .rposition(|tag| tag == [0xe0, 0x7f, 0x10, 0])
            .unwrap();
        // A single fragment follows the empty table: it is cut, and its length says so.
        let head = pixels + 20;
        let length = u32::from_le_bytes(*bytes[head + 4..].first_chunk().unwrap()) as usize;
        if bytes.len() < head + 8 + length || bytes[pixels + 16..head] != [0; 4] {
            continue;
        }
        let stream = &bytes[head + 8..head + 8 + length];
        for kept in (0..length - 4).step_by(2) {
            let mut cut = bytes[..head + 4].to_vec();
            cut.extend((kept as u32).to_le_bytes());
            cut.extend(&stream[..kept]);
            cut.extend([0xfe, 0xff, 0xdd, 0xe0, 0, 0, 0, 0]);
            std::fs::write(&path, cut).unwrap();
            let read = open_with(&path, None, 1 << 28);
            assert!(read.is_err(), "{name}: {kept} of {length} bytes");
        }
    }
}

/// A cut stream whose tile part says the length that is left, with an end marker behind it: its last packet is cut.
#[test]
fn packets_that_are_cut_are_errors() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("forged.dcm");
    let formats = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/formats");
    for (name, cuts) in [("j2k.dcm", 300), ("j2k_lossy.dcm", 60)] {
        let bytes = std::fs::read(formats.join(name)).unwrap();
        let start_of_tile = [0xff, 0x90, 0, 10];
        let tile = bytes.windows(4).position(|w| w == start_of_tile).unwrap();
        let length = u32::from_be_bytes(*bytes[tile + 6..].first_chunk().unwrap());
        let end = tile + length as usize;
        assert_eq!(&bytes[end..end + 2], [0xff, 0xd9], "{name}");
        for cut in 0..cuts {
            let mut forged = bytes.clone();
            forged[tile + 6..tile + 10].copy_from_slice(&(length - cut).to_be_bytes());
            forged[end - cut as usize..end + 2].fill(0);
            forged[end - cut as usize..][..2].copy_from_slice(&[0xff, 0xd9]);
            std::fs::write(&path, forged).unwrap();
            let read = open_with(&path, None, 1 << 28);
            assert_eq!(read.is_ok(), cut == 0, "{name}: {cut} bytes cut");
            if let Err(error) = read {
                assert!(error.to_string().contains("packets of a tile"), "{error}");
            }
        }
    }
}
