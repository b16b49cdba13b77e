//! NIfTI and NPY: readers against nibabel and numpy, the writer against the `nifti` crate.
//!
//! `fixtures/make_file_fixtures.py` wrote the files and what they read back.

#![expect(clippy::unwrap_used, reason = "a test stops at its first surprise")]

use std::path::{Path, PathBuf};

use nifti::{InMemNiftiVolume, NiftiObject, ReaderOptions};
use serde_json::Value;
use synthfm_image::{
    Error, ImageFile, LabelFile, LabelMap, LabelVolume, Mask, OpenOptions, Picture, Plane,
    ReadOptions, Size, VolumeGeometry, open_scan, read_image, read_labels, write_label_nifti,
    write_mask_png,
};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name)
}

fn recorded(name: &str) -> Value {
    let json: Value =
        serde_json::from_slice(&std::fs::read(fixture("files.json")).unwrap()).unwrap();
    json[name].clone()
}

fn numbers(value: &Value) -> Vec<f64> {
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|v| v.as_f64().unwrap())
        .collect()
}

fn image(path: &Path) -> ImageFile {
    read_image(path, &ReadOptions::default()).unwrap()
}

fn labels(path: &Path) -> LabelFile {
    read_labels(path, &ReadOptions::default()).unwrap()
}

fn label_map(path: &Path) -> LabelMap {
    match labels(path) {
        LabelFile::Map(map) => map,
        LabelFile::Volume(_) => panic!("{} is a volume", path.display()),
    }
}

fn label_volume(path: &Path) -> LabelVolume {
    match labels(path) {
        LabelFile::Volume(volume) => volume,
        LabelFile::Map(_) => panic!("{} is an image", path.display()),
    }
}

const NIFTI: [&str; 5] = [
    "sform_i16.nii",
    "qform_only_u8.nii.gz",
    "big_endian_f32.nii",
    "scaled_i16.nii.gz",
    "labels_f64.nii.gz",
];

fn geometry_of(name: &str) -> VolumeGeometry {
    match image(&fixture(name)) {
        ImageFile::Volume(volume) => volume.geometry().clone(),
        ImageFile::Picture(_) => panic!("{name} is a picture"),
    }
}

#[test]
fn nifti_reads_as_nibabel_does() {
    for name in NIFTI {
        let ImageFile::Volume(volume) = image(&fixture(name)) else {
            panic!("{name} is a picture");
        };
        let want = recorded(name);
        let geometry = volume.geometry();
        assert_eq!(geometry.shape(), [3, 4, 5]);
        assert_eq!(
            geometry.axis_codes(),
            want["axis_codes"].as_str().unwrap(),
            "{name}"
        );
        for (row, want) in geometry
            .patient_from_voxel()
            .iter()
            .zip(want["lps"].as_array().unwrap())
        {
            for (got, want) in row.iter().zip(numbers(want)) {
                assert!((got - want).abs() < 1e-6, "{name}: {row:?}, nibabel {want}");
            }
        }
        let want: Vec<f32> = numbers(&want["values"]).iter().map(|&v| v as f32).collect();
        assert_eq!(volume.data(), want, "{name}");
    }
}

#[test]
fn labels_of_any_type_are_exact_or_named() {
    let name = "labels_f64.nii.gz";
    let got: Vec<f64> = label_volume(&fixture(name))
        .data()
        .iter()
        .map(|&v| f64::from(v))
        .collect();
    assert_eq!(got, numbers(&recorded(name)["values"]));
    for name in [
        "sform_i16.nii",
        "big_endian_f32.nii",
        "f64.npy",
        "fortran_i16_big.npy",
    ] {
        let error = read_labels(&fixture(name), &ReadOptions::default())
            .unwrap_err()
            .to_string();
        let values = numbers(&recorded(name)["values"]);
        let bad = values
            .iter()
            .find(|v| v.fract() != 0.0 || **v < 0.0)
            .unwrap();
        // Values are searched in the file's order, which need not be that of the record.
        assert!(
            error.contains("is not an integer from 0 to 65535"),
            "{error}, e.g. {bad}"
        );
        let named: f64 = error
            .split("label ")
            .nth(1)
            .unwrap()
            .split(' ')
            .next()
            .unwrap()
            .parse()
            .unwrap();
        assert!(values.iter().any(|v| (v - named).abs() < 1e-6), "{error}");
    }
}

#[test]
fn npy_reads_as_numpy_does() {
    for name in [
        "fortran_i16_big.npy",
        "f64.npy",
        "bool.npy",
        "u32_volume.npy",
        "fortran_i8_volume.npy",
        "rgb.npy",
    ] {
        let want = recorded(name);
        let shape: Vec<usize> = numbers(&want["shape"])
            .iter()
            .map(|&v| v as usize)
            .collect();
        let (got_shape, values): (Vec<usize>, Vec<f64>) = match image(&fixture(name)) {
            ImageFile::Picture(Picture::Grey(image)) => (
                vec![image.size().height, image.size().width],
                image.data().iter().map(|&v| f64::from(v)).collect(),
            ),
            ImageFile::Picture(Picture::Rgb(image)) => (
                vec![image.size().height, image.size().width, 3],
                image.data().iter().map(|&v| f64::from(v)).collect(),
            ),
            ImageFile::Volume(volume) => (
                volume.geometry().shape().into_iter().rev().collect(),
                volume.data().iter().map(|&v| f64::from(v)).collect(),
            ),
        };
        assert_eq!(got_shape, shape, "{name}");
        for (got, want) in values.iter().zip(numbers(&want["values"])) {
            assert!((got - want).abs() < 1e-6 * want.abs().max(1.0), "{name}");
        }
    }
    assert_eq!(label_map(&fixture("bool.npy")).labels(), [1]);
    assert_eq!(label_volume(&fixture("u32_volume.npy")).data()[0], 44099);
}

/// The bytes of a NIfTI file that place it.
fn placing_fields(path: &Path) -> Vec<u8> {
    let header = nifti::NiftiHeader::from_file(path).unwrap();
    let mut bytes = Vec::new();
    let codes = [header.qform_code, header.sform_code];
    bytes.extend(codes.iter().flat_map(|v| v.to_le_bytes()));
    let rows = [header.srow_x, header.srow_y, header.srow_z].concat();
    let quaternion = [
        header.quatern_b,
        header.quatern_c,
        header.quatern_d,
        header.quatern_x,
        header.quatern_y,
        header.quatern_z,
    ];
    for v in header.pixdim[..4].iter().chain(&rows).chain(&quaternion) {
        bytes.extend(v.to_le_bytes());
    }
    bytes
}

#[test]
fn a_written_label_volume_has_the_bits_of_its_input() {
    let folder = tempfile::tempdir().unwrap();
    for name in NIFTI {
        for (extension, top) in [("nii", 60), ("nii.gz", 60_000)] {
            let geometry = geometry_of(name);
            let data: Vec<u16> = (0..60).map(|v| v * (top / 60)).collect();
            let volume = LabelVolume::new(geometry, data.clone()).unwrap();
            let path = folder.path().join(format!("out.{extension}"));
            write_label_nifti(&path, &volume).unwrap();
            assert_eq!(label_volume(&path), volume, "{name}");
            assert_eq!(
                placing_fields(&path),
                placing_fields(&fixture(name)),
                "{name}"
            );
            let other = ReaderOptions::new().read_file(&path).unwrap();
            let header = other.header();
            assert_eq!((header.xyzt_units, header.vox_offset), (2, 352.0));
            let bytes = InMemNiftiVolume::into_raw_data(other.into_volume());
            let values: Vec<u16> = if top == 60 {
                bytes.iter().map(|&v| u16::from(v)).collect()
            } else {
                bytes
                    .chunks_exact(2)
                    .map(|v| u16::from_le_bytes([v[0], v[1]]))
                    .collect()
            };
            assert_eq!(values, data, "{name}");
        }
    }
}

#[test]
fn a_mask_drawn_on_a_slice_goes_back_to_the_voxels_it_came_from() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mask.nii.gz");
    for name in NIFTI {
        let ImageFile::Volume(volume) = image(&fixture(name)) else {
            panic!("{name} is a picture");
        };
        for plane in [Plane::Axial, Plane::Coronal, Plane::Sagittal] {
            let slice = volume.slice(plane, 1).unwrap().image;
            let mean = slice.data().iter().sum::<f32>() / slice.data().len() as f32;
            let bright = slice.data().iter().map(|&v| v > mean).collect();
            let mask = Mask::new(slice.size(), bright).unwrap();
            let mut labels = LabelVolume::zeros(volume.geometry().clone());
            labels.insert_slice(plane, 1, &mask, 3).unwrap();
            write_label_nifti(&path, &labels).unwrap();
            let back = label_volume(&path);
            let painted = back
                .data()
                .iter()
                .zip(volume.data())
                .filter(|&(&label, _)| label == 3);
            assert!(
                painted.clone().all(|(_, &value)| value > mean),
                "{name} {plane}"
            );
            assert_eq!(painted.count(), mask.area());
            assert_eq!(back.slice(plane, 1).unwrap().mask_of(3), mask);
        }
    }
}

#[test]
fn geometry_without_nifti_origin_is_kept_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.nii");
    let affine = [
        [0.5, 0.0, 0.25, -7.0],
        [0.0, -2.0, 0.0, 8.0],
        [-0.25, 0.0, 1.5, 9.0],
    ];
    let geometry = VolumeGeometry::new([2, 3, 4], affine).unwrap();
    write_label_nifti(&path, &LabelVolume::zeros(geometry.clone())).unwrap();
    let back = label_volume(&path);
    assert_eq!(back.geometry().patient_from_voxel(), affine);
    assert_eq!(back.geometry().axis_codes(), geometry.axis_codes());
}

#[test]
fn units_of_length_are_honoured() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.nii");
    let mut bytes = std::fs::read(fixture("sform_i16.nii")).unwrap();
    bytes[123] = 3;
    std::fs::write(&path, &bytes).unwrap();
    let ImageFile::Volume(volume) = image(&path) else {
        panic!("a picture");
    };
    let spacing = volume.geometry().spacing_mm();
    for (got, want) in spacing.iter().zip([0.7e-3, 1.3e-3, 4.0e-3]) {
        assert!((got - want).abs() < 1e-8);
    }
    write_label_nifti(&path, &LabelVolume::zeros(volume.geometry().clone())).unwrap();
    let back = label_volume(&path).geometry().spacing_mm();
    assert!(back.iter().zip(spacing).all(|(a, b)| (a - b).abs() < 1e-8));
}

#[test]
fn unwritable_places_are_named_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let mask = Mask::zeros(Size::new(2, 2));
    let absent = folder.path().join("absent");
    let error = write_mask_png(&absent.join("a.png"), &mask)
        .unwrap_err()
        .to_string();
    assert!(error.contains("absent"), "{error}");
    let taken = folder.path().join("taken.png");
    std::fs::create_dir(&taken).unwrap();
    let error = write_mask_png(&taken, &mask).unwrap_err().to_string();
    assert!(error.contains("taken.png"), "{error}");
    let labels = LabelVolume::zeros(VolumeGeometry::with_spacing([1, 1, 1], [1.0; 3]).unwrap());
    let error = write_label_nifti(&folder.path().join("a.mha"), &labels)
        .unwrap_err()
        .to_string();
    assert!(error.contains(".nii"), "{error}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

/// Larger than any block that is read at once; every voxel is its index modulo 60013.
#[test]
fn a_large_nifti_is_read_in_its_order_and_cuts_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let geometry = VolumeGeometry::with_spacing([257, 129, 33], [0.5, 0.6, 2.5]).unwrap();
    let labels = (0..geometry.len()).map(|n| (n % 60013) as u16).collect();
    let volume = LabelVolume::new(geometry, labels).unwrap();
    for name in ["a.nii", "a.nii.gz"] {
        let path = folder.path().join(name);
        write_label_nifti(&path, &volume).unwrap();
        let options = ReadOptions::default();
        let ImageFile::Volume(image) = read_image(&path, &options).unwrap() else {
            panic!("{name} is a volume")
        };
        let stored = volume.data().iter().map(|&v| f32::from(v));
        assert!(image.data().iter().copied().eq(stored), "{name}");
        let LabelFile::Volume(read) = read_labels(&path, &options).unwrap() else {
            panic!("{name} is a volume of labels")
        };
        assert!(read.data() == volume.data(), "{name}");
        let length = std::fs::metadata(&path).unwrap().len();
        for cut in [1, 300_000] {
            let file = std::fs::File::options().write(true).open(&path).unwrap();
            file.set_len(length - cut).unwrap();
            assert!(
                read_image(&path, &options).is_err(),
                "{name}, {cut} bytes cut"
            );
            assert!(
                read_labels(&path, &options).is_err(),
                "{name}, {cut} bytes cut"
            );
        }
        // The file is within the limit, its values as 32-bit floats are not.
        write_label_nifti(&path, &volume).unwrap();
        let options = ReadOptions {
            max_bytes: 4 * volume.data().len() as u64 - 1,
        };
        let error = read_image(&path, &options).unwrap_err();
        assert!(matches!(error, Error::Limit { .. }), "{error}");
    }
}

#[test]
fn one_volume_of_a_nifti_series_is_read_by_its_number() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.nii");
    let geometry = VolumeGeometry::with_spacing([3, 4, 10], [0.5, 0.6, 2.5]).unwrap();
    let labels = LabelVolume::new(geometry, (0..120).collect()).unwrap();
    write_label_nifti(&path, &labels).unwrap();
    // Ten slices become two volumes of five.
    let mut bytes = std::fs::read(&path).unwrap();
    for (n, dim) in [4u8, 3, 4, 5, 2].into_iter().enumerate() {
        bytes[40 + 2 * n] = dim;
    }
    let packed = folder.path().join("a.nii.gz");
    let file = std::fs::File::create(&packed).unwrap();
    let mut encoder = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
    std::io::Write::write_all(&mut encoder, &bytes).unwrap();
    encoder.finish().unwrap();
    std::fs::write(&path, &bytes).unwrap();
    let options = |series: Option<&str>| OpenOptions {
        series: series.map(str::to_owned),
        ..OpenOptions::default()
    };
    for path in [&path, &packed] {
        for (number, first) in [("1", 0u8), ("2", 60)] {
            let scan = open_scan(path, &options(Some(number))).unwrap();
            let ImageFile::Volume(volume) = scan.content else {
                panic!("a volume")
            };
            assert_eq!(volume.geometry().shape(), [3, 4, 5]);
            assert!(
                volume
                    .data()
                    .iter()
                    .copied()
                    .eq((first..first + 60).map(f32::from))
            );
        }
        for wrong in [None, Some("0"), Some("3"), Some("-1"), Some("two")] {
            let error = open_scan(path, &options(wrong)).unwrap_err().to_string();
            assert!(error.contains("2 volumes"), "{error}");
        }
        assert!(read_labels(path, &ReadOptions::default()).is_err());
    }
    // The second volume is cut.
    std::fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
    assert!(open_scan(&path, &options(Some("1"))).is_ok());
    assert!(open_scan(&path, &options(Some("2"))).is_err());
}
