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
            r#"{"labels": {"a": []}, "file_ending": ".png"}"#,
            "a number or a list of numbers",
        ),
        (
            r#"{"labels": {"0": "background"}, "file_ending": ".png"}"#,
            "at least one structure",
        ),
        (
            r#"{"labels": {"a": "b"}, "file_ending": ".png"}"#,
            "a number expected, got \"b\"",
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

/// A data set as other programs write it.
fn foreign(name: &str) -> Dataset {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/dataset/fixtures/cases");
    Dataset::open(&root.join(name)).unwrap()
}

fn structures(dataset: &Dataset) -> Vec<(&str, u16)> {
    let all = dataset.structures.iter();
    all.map(|structure| (structure.name.as_str(), structure.label))
        .collect()
}

#[test]
fn labels_with_flipped_axes_lie_on_the_same_voxels() {
    let dataset = foreign("label_other_direction");
    let [flipped, same] = [0, 1].map(|n| dataset.load(&dataset.cases[n]).unwrap());
    assert_eq!(flipped.views, same.views);
    assert_eq!(same.notes, Vec::<String>::new());
    assert!(
        flipped.notes[0].contains("brought onto the image's grid"),
        "{:?}",
        flipped.notes
    );
}

#[test]
fn regions_share_values() {
    let dataset = foreign("regions");
    // In order of their values: 1 and 2 together come before 2.
    assert_eq!(structures(&dataset), [("whole", 1), ("core", 2)]);
    let loaded = dataset.load(&dataset.cases[0]).unwrap();
    assert_eq!(loaded.notes, Vec::<String>::new());
    let [whole, core] = &loaded.views[..] else {
        panic!("two views expected");
    };
    assert_eq!(
        (&whole.structures[0].name[..], &core.structures[0].name[..]),
        ("whole", "core")
    );
    let pairs = whole.labels.data().iter().zip(core.labels.data());
    assert!(
        pairs.clone().all(|(&w, &c)| c == 0 || w == 1),
        "core lies in whole"
    );
    let area = |view: &View, label| view.labels.mask_of(label).area();
    assert!(area(whole, 1) > area(core, 2) && area(core, 2) > 0);
    assert_eq!((area(whole, 2), area(core, 1)), (0, 0));
}

#[test]
fn values_without_a_name_are_told() {
    let dataset = foreign("mask_255");
    let loaded = dataset.load(&dataset.cases[0]).unwrap();
    let note = &loaded.notes[0];
    assert!(
        note.contains("dataset.json") && note.ends_with("left out: 255"),
        "{note}"
    );
}

#[test]
fn one_channel_of_several_is_read_and_named() {
    let dataset = foreign("msd_4d");
    let load = |channel| {
        let options = LoadOptions {
            channel,
            ..LoadOptions::default()
        };
        dataset.load_with(&dataset.cases[0], &options)
    };
    let [first, second] = [0, 1].map(|channel| load(channel).unwrap());
    assert!(
        first.notes[0].contains("channel 0 (FLAIR) of 2"),
        "{:?}",
        first.notes
    );
    assert!(
        second.notes[0].contains("channel 1 (T1w) of 2"),
        "{:?}",
        second.notes
    );
    assert_eq!(first.views[0].labels, second.views[0].labels);
    let error = load(2).unwrap_err().to_string();
    assert!(error.contains("channel 2 does not exist"), "{error}");
    // MSD's own names say little; nnU-Net's may be modalities.
    let mut named = foreign("msd_4d");
    named.channels = vec!["CT".to_owned(), "mri".to_owned()];
    named.cases[0].modality = "CT".to_owned();
    assert_eq!(named.clone().of_channel(1).cases[0].modality, "MR");
    assert_eq!(named.of_channel(0).cases[0].modality, "CT");
}

#[test]
fn channels_may_be_files_of_their_own() {
    let text = manifest("").replace(r#""0": "mri""#, r#""0": "T1", "1": "T2""#);
    let root = folder(&text);
    let size = Size::new(2, 3);
    let labels = LabelMap::new(size, vec![0, 0, 3, 7, 7, 0]).unwrap();
    let image = |value| Image::new(size, vec![value; 6]).unwrap();
    write_picture(root.path(), "x", &image(0.2), &labels);
    let second = root.path().join("imagesTs/x_0001.png");
    write_grey_png(&second, &image(0.6), 0.0..=1.0, GreyDepth::Eight).unwrap();
    let dataset = Dataset::open(root.path()).unwrap();
    for (channel, value) in [(0, 51), (1, 153)] {
        let options = LoadOptions {
            channel,
            ..LoadOptions::default()
        };
        let loaded = dataset.load_with(&dataset.cases[0], &options).unwrap();
        assert_eq!(loaded.views[0].image.data()[0], value);
        let name = ["T1", "T2"][channel];
        assert!(loaded.notes[0].contains(&format!("channel {channel} ({name}) of 2")));
    }
}

#[test]
fn version_1_of_nnunet_is_read() {
    // With values before names; and, without an ending, in the layout of the decathlon.
    let v1 = r#"{"modality": {"0": "CT"}, "labels": {"0": "background", "4": "organ"}, "file_ending": ".png"}"#;
    let dataset = {
        let root = folder(&v1.replace("modality", "channel_names"));
        write_picture(
            root.path(),
            "x",
            &Image::zeros(Size::new(2, 3)),
            &LabelMap::zeros(Size::new(2, 3)),
        );
        Dataset::open(root.path()).unwrap()
    };
    assert_eq!(structures(&dataset), [("organ", 4)]);
    let root = tempfile::tempdir().unwrap();
    for name in ["imagesTr", "labelsTr"] {
        fs::create_dir(root.path().join(name)).unwrap();
    }
    let text = v1.replace(r#", "file_ending": ".png""#, "");
    fs::write(root.path().join("dataset.json"), text).unwrap();
    let geometry = VolumeGeometry::with_spacing([4, 3, 2], [1.0; 3]).unwrap();
    let volume = LabelVolume::new(geometry, vec![4; 24]).unwrap();
    for name in ["imagesTr/a_0000.nii.gz", "labelsTr/a.nii.gz"] {
        write_label_nifti(&root.path().join(name), &volume).unwrap();
    }
    let dataset = Dataset::open(root.path()).unwrap();
    let loaded = dataset.load(&dataset.cases[0]).unwrap();
    assert_eq!(loaded.views[0].labels.mask_of(4).area(), 12);
}

#[test]
fn damaged_annotations_are_left_out() {
    for (name, remark) in [
        ("coco/dangling_annotation", "1 annotations of image 77"),
        (
            "coco/two_point_polygon",
            "1 polygons of fewer than three corners",
        ),
    ] {
        let dataset = foreign(name);
        let loaded = dataset.load(&dataset.cases[0]).unwrap();
        // 35 by 30 pixels.
        assert_eq!(loaded.views[0].labels.mask_of(1).area(), 1050, "{name}");
        assert!(loaded.notes[0].contains(remark), "{:?}", loaded.notes);
    }
}

#[test]
fn pictures_are_upright_under_their_objects() {
    let dataset = foreign("coco/exif_upside_down");
    let loaded = dataset.load(&dataset.cases[0]).unwrap();
    assert!(
        loaded.notes[0].contains("EXIF orientation 3"),
        "{:?}",
        loaded.notes
    );
    let view = &loaded.views[0];
    let mean = |label: u16| {
        let pixels = view.image.data().chunks_exact(3).zip(view.labels.data());
        let of: Vec<f64> = pixels
            .filter(|&(_, &own)| own == label)
            .map(|(pixel, _)| f64::from(pixel[0]))
            .collect();
        of.iter().sum::<f64>() / of.len() as f64
    };
    // The object is bright, everything else dark.
    assert!(mean(1) > mean(0) + 100.0, "{} {}", mean(1), mean(0));
}
