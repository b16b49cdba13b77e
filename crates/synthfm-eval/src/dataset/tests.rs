//! Folders as they should be and as they are found.

use std::fs;

use synthfm_image::{
    GreyDepth, Image, LabelMap, LabelVolume, Size, VolumeGeometry, write_grey_png,
    write_label_nifti, write_label_png,
};
use tempfile::TempDir;

use super::*;

/// A folder with `dataset.json` and empty `imagesTs` and `labelsTs`.
fn folder(manifest: &str) -> TempDir {
    let root = tempfile::tempdir().unwrap();
    for name in ["imagesTs", "labelsTs"] {
        fs::create_dir(root.path().join(name)).unwrap();
    }
    fs::write(root.path().join("dataset.json"), manifest).unwrap();
    root
}

fn manifest(extra: &str) -> String {
    format!(
        r#"{{"channel_names": {{"0": "mri"}}, "labels": {{"background": 0, "b": 7, "a": 3}},
        "file_ending": ".png"{extra}}}"#
    )
}

fn write_picture(root: &Path, case: &str, image: &Image, labels: &LabelMap) {
    let path = root.join(format!("imagesTs/{case}_0000.png"));
    write_grey_png(&path, image, 0.0..=1.0, GreyDepth::Eight).unwrap();
    write_label_png(&root.join(format!("labelsTs/{case}.png")), labels).unwrap();
}

fn open_error(root: &Path) -> String {
    Dataset::open(root).unwrap_err().to_string()
}

#[test]
fn pictures_are_taken_as_they_are() {
    let root = folder(&manifest(""));
    let size = Size::new(2, 3);
    let image = Image::new(size, vec![0.0, 0.2, 0.4, 0.6, 0.8, 1.0]).unwrap();
    let labels = LabelMap::new(size, vec![0, 0, 3, 7, 7, 9]).unwrap();
    write_picture(root.path(), "x", &image, &labels);
    let dataset = Dataset::open(root.path()).unwrap();
    let [a, b] = &dataset.structures[..] else {
        panic!("two structures expected");
    };
    assert_eq!((a.name.as_str(), a.label, b.label), ("a", 3, 7));
    let case = &dataset.cases[0];
    assert_eq!((case.patient.as_str(), case.modality.as_str()), ("x", "MR"));
    let loaded = dataset.load(case).unwrap();
    let view = &loaded.views[0];
    let red: Vec<u8> = view.image.data().iter().copied().step_by(3).collect();
    assert_eq!(red, [0, 51, 102, 153, 204, 255]);
    assert_eq!(view.labels, labels);
    assert_eq!((view.slice, view.spacing_mm), (None, None));
    assert!(
        loaded.notes[0].ends_with("left out: 9"),
        "{:?}",
        loaded.notes
    );
}

#[test]
fn volumes_give_the_largest_slice_of_each_structure() {
    let text = manifest("").replace(".png", ".nii.gz").replace("mri", "CT");
    let root = folder(&text);
    // 4 columns, 3 rows, 3 slices; `a` is largest on slice 1, `b` on slices 0 and 1 alike, `c` is absent.
    let geometry = VolumeGeometry::with_spacing([4, 3, 3], [0.5, 2.0, 5.0]).unwrap();
    let mut labels = vec![0u16; 36];
    labels[..2].fill(7);
    labels[12..14].fill(7);
    labels[14..20].fill(3);
    labels[24] = 3;
    let labels = LabelVolume::new(geometry.clone(), labels).unwrap();
    write_label_nifti(&root.path().join("labelsTs/v.nii.gz"), &labels).unwrap();
    let intensities: Vec<u16> = (0..36).map(|i| i * 20).collect();
    let intensities = LabelVolume::new(geometry, intensities).unwrap();
    write_label_nifti(&root.path().join("imagesTs/v_0000.nii.gz"), &intensities).unwrap();

    let dataset = Dataset::open(root.path()).unwrap();
    let loaded = dataset.load(&dataset.cases[0]).unwrap();
    let slices: Vec<(usize, &str)> = loaded
        .views
        .iter()
        .map(|view| (view.slice.unwrap(), view.structures[0].name.as_str()))
        .collect();
    assert_eq!(slices, [(0, "b"), (1, "a")]);
    let view = &loaded.views[1];
    assert_eq!(view.image.size(), Size::new(3, 4));
    let spacing = view.spacing_mm.unwrap();
    assert!((spacing[0] - 2.0).abs() < 1e-6 && (spacing[1] - 0.5).abs() < 1e-6);
    // Slice 1 starts at 240 HU, the upper end of the window; slice 0 at 0 HU: 160 / 400 of the way.
    assert!(view.image.data().iter().all(|&v| v == 255));
    assert_eq!(loaded.views[0].image.data()[0], 102);
    assert_eq!(loaded.notes, Vec::<String>::new());
}

#[test]
fn unusable_cases_are_listed_with_their_reason() {
    let cases = r#", "modality": "CT", "cases": [
        {"case": "d", "image": "dicom/d", "modality": "MRI"},
        {"case": "gone", "patient": "p"},
        {"case": "out", "image": "../x.png"}]"#;
    let root = folder(&manifest(cases));
    let image = Image::zeros(Size::new(2, 3));
    write_picture(root.path(), "x", &image, &LabelMap::zeros(Size::new(2, 3)));
    write_picture(root.path(), "y", &image, &LabelMap::zeros(Size::new(2, 3)));
    fs::rename(
        root.path().join("labelsTs/y.png"),
        root.path().join("labelsTs/y.nrrd"),
    )
    .unwrap();
    let dataset = Dataset::open(root.path()).unwrap();
    assert_eq!(dataset.cases.len(), 1);
    assert_eq!(dataset.cases[0].modality, "CT");
    let reasons: Vec<(&str, &str)> = dataset
        .skipped
        .iter()
        .map(|s| (s.case.as_str(), s.text.as_str()))
        .collect();
    assert_eq!(
        reasons[..2],
        [
            ("d", "image dicom/d does not exist"),
            ("gone", "image imagesTs/gone_0000.png does not exist"),
        ]
    );
    assert!(reasons[2].1.contains("outside the data set"));
    assert_eq!(reasons[3], ("y", "label labelsTs/y.png does not exist"));
}

#[test]
fn other_layouts_say_what_was_expected() {
    let empty = tempfile::tempdir().unwrap();
    let error = open_error(empty.path());
    assert!(
        error.contains("dataset.json, imagesTs, labelsTs"),
        "{error}"
    );
    assert!(error.contains("an empty folder"), "{error}");
    assert!(open_error(&empty.path().join("absent")).contains("no such folder"));

    let no_labels = folder(&manifest(""));
    fs::remove_dir(no_labels.path().join("labelsTs")).unwrap();
    let error = open_error(no_labels.path());
    assert!(error.contains("labelsTs or labelsTr"), "{error}");
    assert!(error.contains("dataset.json, imagesTs"), "{error}");

    let no_images = folder(&manifest(""));
    fs::write(no_images.path().join("imagesTs/a.png"), "").unwrap();
    let error = open_error(no_images.path());
    assert!(
        error.contains("CASE_0000.png expected, found a.png"),
        "{error}"
    );
}

#[test]
fn damaged_manifests_say_what_was_expected() {
    for (text, expected) in [
        ("{", "nnU-Net v2's dataset.json"),
        (r#"{"labels": {}}"#, "file_ending"),
        (
            r#"{"labels": {"background": 0}, "file_ending": ".png"}"#,
            "at least one structure",
        ),
        (
            r#"{"labels": {"a": [1, 2]}, "file_ending": ".png"}"#,
            "\"a\" is a region",
        ),
        (
            r#"{"labels": {"0": "background"}, "file_ending": ".png"}"#,
            "nnU-Net v1",
        ),
        (
            r#"{"labels": {"a": 70000}, "file_ending": ".png"}"#,
            "0 to 65535",
        ),
        (r#"{"labels": {"a": -1}, "file_ending": ".png"}"#, "got -1"),
    ] {
        let error = open_error(folder(text).path());
        assert!(error.contains(expected), "{text}: {error}");
    }
}

#[test]
fn sizes_and_kinds_must_agree() {
    let root = folder(&manifest(""));
    let image = Image::zeros(Size::new(2, 3));
    write_picture(root.path(), "x", &image, &LabelMap::zeros(Size::new(3, 2)));
    let load_error = || {
        let dataset = Dataset::open(root.path()).unwrap();
        dataset.load(&dataset.cases[0]).unwrap_err().to_string()
    };
    let error = load_error();
    assert!(error.contains("labelsTs/x.png: 2x3"), "{error}");
    assert!(error.contains("got 3x2"), "{error}");
    let geometry = VolumeGeometry::with_spacing([3, 2, 1], [1.0; 3]).unwrap();
    let volume = LabelVolume::zeros(geometry);
    write_label_nifti(&root.path().join("labelsTs/x.nii"), &volume).unwrap();
    fs::rename(
        root.path().join("labelsTs/x.nii"),
        root.path().join("labelsTs/x.png"),
    )
    .unwrap();
    let error = load_error();
    assert!(
        error.contains("a picture, as its image, expected, got a volume"),
        "{error}"
    );
}
