//! DICOM series in, and masks in many formats out.

use std::path::{Path, PathBuf};

use serde_json::json;
use synthfm_image::{
    ImageFile, LabelFile, LabelVolume, OpenOptions, ReadOptions, open_scan, read_segmentation,
};

use crate::common::{label_volume, mask, synthfm};

/// Series of a few pixels, made by `tools/format_fixtures.py`.
fn fixture(name: &str) -> String {
    let folder = "../synthfm-image/tests/fixtures/formats";
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join(folder)
        .join(name);
    path.to_string_lossy().into_owned()
}

fn segmentation(path: &Path) -> (LabelVolume, String) {
    let (read, warnings) = read_segmentation(path, &ReadOptions::default()).unwrap();
    assert!(warnings.is_empty(), "{warnings:?}");
    let LabelFile::Volume(volume) = read.labels else {
        panic!("a picture");
    };
    let name = read.segments.first().map(|s| s.name.clone());
    (volume, name.unwrap_or_default())
}

/// The slice of a DICOM-SEG that lies where slice `index` of `grid` lies.
fn slice_of_seg(seg: &LabelVolume, grid: &LabelVolume, index: usize) -> Vec<u16> {
    let position = |volume: &LabelVolume, k: usize| {
        volume
            .geometry()
            .patient_from_voxel()
            .map(|row| row[3] + row[2] * k as f64)
    };
    let wanted = position(grid, index);
    let [ni, nj, nk] = seg.geometry().shape();
    let same = |k: &usize| {
        let got = position(seg, *k);
        got.iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1e-4)
    };
    let k = (0..nk).find(same).expect("a frame at the slice");
    seg.data()[k * ni * nj..][..ni * nj].to_vec()
}

#[test]
fn one_prediction_lands_on_the_same_voxels_in_every_format() {
    let folder = tempfile::tempdir().unwrap();
    let series = fixture("dicom_axial");
    let args = [
        "predict",
        &series,
        "--slice=2",
        "--box=1,1,5,3",
        "-o",
        "out/m.dcm",
        "--also",
        "out/m.nii.gz",
        "--also",
        "out/m.seg.nrrd",
        "--also",
        "out/m.mha",
        "--also",
        "out/m.rtstruct.dcm",
        "--also",
        "out/m.png",
        "--also",
        "out/m.coco.json",
        "--name",
        "liver",
        "--json",
    ];
    let result = synthfm(folder.path(), &args).ok().json();
    let path = |name: &str| folder.path().join("out").join(name);
    let nifti = label_volume(&path("m.nii.gz"));
    let area = nifti.data().iter().filter(|&&v| v != 0).count();
    assert_eq!(result["area_px"], area);
    assert!(area > 0);
    // The record says what was seen, and through which window.
    assert_eq!(result["window"], json!([-160.5, 239.5]));
    assert_eq!(result["window_source"], "the file's own: SOFT");
    assert_eq!(result["modality"], "CT");
    let (seg, name) = segmentation(&path("m.dcm"));
    assert_eq!(name, "liver");
    let [ni, nj, _] = nifti.geometry().shape();
    assert_eq!(
        slice_of_seg(&seg, &nifti, 2),
        &nifti.data()[2 * ni * nj..3 * ni * nj]
    );
    let scan = open_scan(Path::new(&series), &OpenOptions::default()).unwrap();
    let ImageFile::Volume(volume) = scan.content else {
        panic!("a picture");
    };
    for (file, tolerance) in [("m.nii.gz", 1e-5), ("m.seg.nrrd", 1e-12), ("m.mha", 1e-9)] {
        let (labels, _) = segmentation(&path(file));
        assert_eq!(labels.data(), nifti.data(), "{file}");
        let (a, b) = (
            labels.geometry().patient_from_voxel(),
            volume.geometry().patient_from_voxel(),
        );
        let same = a
            .as_flattened()
            .iter()
            .zip(b.as_flattened())
            .all(|(a, b)| (a - b).abs() < tolerance);
        assert!(same, "{file}");
    }
    assert_eq!(mask(&path("m.png")).area(), area);
    assert!(path("m.rtstruct.dcm").is_file() && path("m.json").is_file());
    let coco: serde_json::Value =
        serde_json::from_slice(&std::fs::read(path("m.coco.json")).unwrap()).unwrap();
    assert_eq!(coco["annotations"][0]["area"], area);
}

#[test]
fn names_and_formats_that_do_not_fit_are_refused_before_work_is_done() {
    let folder = tempfile::tempdir().unwrap();
    let run = |input: &str, more: &[&str]| {
        let input = fixture(input);
        let base = ["predict", input.as_str(), "--point=3,2"];
        synthfm(folder.path(), &[&base, more].concat())
    };
    run("nifti2_oblique.nii.gz", &["--slice=1", "-o=a.dcm"])
        .fails(2, &["refers to the DICOM images", "NIfTI-2"]);
    run("dicom_axial", &["--slice=1", "-o=a.xyz"]).fails(2, &["a.xyz", ".seg.nrrd"]);
    run("dicom_axial", &["--slice=1", "-o=a.png", "--format=gif"]).fails(2, &["dicom-seg"]);
    run("dicom_axial", &["-o=a.nii"]).fails(2, &["volume of 4 axial slices"]);
    run("dicom_axial", &["--slice=1", "-o=a.nii", "--series=9"])
        .fails(1, &["no series 9", "series 11, 4 slices"]);
    run(
        "dicom_axial",
        &["--slice=1", "-o=a.nii", "--max-memory=100"],
    )
    .fails(1, &["limit of 100"]);
    run(
        "dicom_axial",
        &["--slice=1", "-o=a.nii", "--max-memory=lots"],
    )
    .fails(2, &["2GiB"]);
    run("f32.tif", &["-o=a.nii", "--window=own"]).fails(2, &["recommends no window"]);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_format_can_be_named() {
    let folder = tempfile::tempdir().unwrap();
    let series = fixture("dicom_oblique");
    let args = [
        "predict",
        &series,
        "--slice=1",
        "--axis=coronal",
        "--point=2,2",
        "-o=mask",
        "--format=nrrd",
    ];
    let run = synthfm(folder.path(), &args).ok();
    assert!(run.stderr.contains("2 images are here"), "{}", run.stderr);
    let (labels, _) = segmentation(&folder.path().join("mask"));
    assert_eq!(labels.geometry().shape(), [7, 5, 4]);
}

#[test]
fn prompts_files_name_structures_by_their_ids() {
    let folder = tempfile::tempdir().unwrap();
    let entries =
        json!([{ "image": "dicom_axial", "id": "spleen", "points": [[3, 2]], "slice": 1 }]);
    std::fs::write(folder.path().join("p.json"), entries.to_string()).unwrap();
    let input = fixture("");
    synthfm(
        folder.path(),
        &[
            "predict",
            &input,
            "--prompts=p.json",
            "-o=out",
            "--format=dicom-seg",
        ],
    )
    .ok();
    let (_, name) = segmentation(&folder.path().join("out/dicom_axial__spleen.seg.dcm"));
    assert_eq!(name, "spleen");
}

#[test]
fn info_tells_what_a_series_is() {
    let folder = tempfile::tempdir().unwrap();
    let info = |name: &str, more: &[&str]| {
        let path = fixture(name);
        synthfm(folder.path(), &[&["info", path.as_str()], more].concat()).ok()
    };
    let text = info("dicom_axial", &[]).stdout;
    for part in [
        "7 x 5 x 4 voxels",
        "orientation LPS",
        "-160.5 to 239.5 (SOFT)",
        "DICOM, CT, Explicit VR Little Endian",
        "series 11",
        "PatientName, PatientID",
    ] {
        assert!(text.contains(part), "{part:?} expected in {text}");
    }
    assert!(!text.contains("Phantom"), "{text}");
    let json = info("dicom_axial", &["--json"]).json();
    assert_eq!(json["series_uid"], "2.25.77.11");
    assert_eq!(json["identifying_attributes"][0], "PatientName");
    let anonymous = info("dicom_axial", &["--json", "--anonymous"]).stdout;
    for hidden in ["2.25.77", "series 11", "20240102", "Nobody"] {
        assert!(!anonymous.contains(hidden), "{hidden} in {anonymous}");
    }
    let several = info("dicom_oblique", &[]).stdout;
    assert!(
        several.contains("problem     2 images are here") && several.contains("2 slices of 6 x 6"),
        "{several}"
    );
    let second = info("dicom_oblique", &["--series=2", "--json"]).json();
    assert_eq!(second["shape"], json!([6, 6, 2]));
    let us = info("us_planar.dcm", &[]).stdout;
    assert!(us.contains("2D tissue, 0.3000 x 0.2500 mm"), "{us}");
    let seg = info("seg_binary.dcm", &["--json"]).json();
    assert_eq!(seg["segments"][1]["name"], "Spleen");
}

/// The real series: clicks in the liver, whose position comes from labels on another grid (`labelsTs`).
#[test]
fn a_liver_of_a_real_series_lands_on_the_same_voxels() {
    let data = "../../../shared/data/real-dev/Dataset108_TotalsegCt";
    let data: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join(data);
    if !data.is_dir() {
        eprintln!(
            "SKIPPED: {} is not there, so that no real DICOM series was tried",
            data.display()
        );
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let series = data.join("dicom/ct-dicom").to_string_lossy().into_owned();
    let args = [
        "predict",
        &series,
        "--slice=14",
        "--point=158,302",
        "--point=120,270",
        "--name=liver",
        "-o=liver.dcm",
        "--also=liver.nii.gz",
        "--also=liver.rtstruct.dcm",
        "--json",
    ];
    let result = synthfm(folder.path(), &args).ok().json();
    let nifti = label_volume(&folder.path().join("liver.nii.gz"));
    let (seg, name) = segmentation(&folder.path().join("liver.dcm"));
    assert_eq!(name, "liver");
    let slice = &nifti.data()[14 * 512 * 512..15 * 512 * 512];
    assert_eq!(slice_of_seg(&seg, &nifti, 14), slice);
    assert_eq!(result["area_px"], slice.iter().filter(|&&v| v != 0).count());
    // The click is inside in the patient: the labels' own grid runs the other way along the second axis.
    let labels = label_volume(&data.join("labelsTs/ct-dicom__labels.nii.gz"));
    let [ni, nj, _] = labels.geometry().shape();
    let row = nj - 1 - 302;
    assert_eq!(
        labels.data()[158 + ni * (row + nj * 14)],
        5,
        "the click is in the liver"
    );
    let contours = std::fs::metadata(folder.path().join("liver.rtstruct.dcm")).unwrap();
    assert!(contours.len() > 1000);
}
