//! Segmentations out: every format read back, and the DICOM objects by an independent reader (dicom-rs).

#![expect(clippy::unwrap_used, reason = "a test stops at its first surprise")]

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use dicom_object::{DefaultDicomObject, InMemDicomObject, Tag, open_file};
use synthfm_image::{
    Image, ImageFile, LabelFile, LabelMap, LabelVolume, MaskFormat, OpenOptions, Picture, Plane,
    ReadOptions, Scan, Segment, Segmentation, Size, VolumeGeometry, WriteOptions, open_scan,
    read_segmentation, write_segmentation,
};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/formats")
        .join(name)
}

fn open(name: &str) -> Scan {
    open_scan(&fixture(name), &OpenOptions::default()).unwrap()
}

fn geometry(scan: &Scan) -> VolumeGeometry {
    match &scan.content {
        ImageFile::Volume(volume) => volume.geometry().clone(),
        ImageFile::Picture(_) => panic!("a picture"),
    }
}

/// Two structures without symmetry; the first slice stays empty.
fn labels(geometry: &VolumeGeometry) -> LabelVolume {
    let [ni, nj, nk] = geometry.shape();
    let mut labels = LabelVolume::zeros(geometry.clone());
    for k in 1..nk {
        for j in 0..nj {
            for i in 0..ni {
                let at = i + ni * (j + nj * k);
                labels.data_mut()[at] = match (i + 2 * j + 3 * k) % 7 {
                    0 | 1 => 1,
                    4 if k > 1 => 2,
                    _ => 0,
                };
            }
        }
    }
    labels
}

fn segmentation(geometry: &VolumeGeometry) -> Segmentation {
    let mut liver = Segment::new(1, "liver");
    liver.colour = [200, 30, 90];
    Segmentation {
        labels: LabelFile::Volume(labels(geometry)),
        segments: vec![liver, Segment::new(2, "left kidney")],
    }
}

fn at(seconds: u64) -> WriteOptions {
    WriteOptions {
        format: None,
        slice: None,
        created: SystemTime::UNIX_EPOCH + Duration::from_secs(seconds),
    }
}

fn volume(segmentation: &Segmentation) -> &LabelVolume {
    match &segmentation.labels {
        LabelFile::Volume(volume) => volume,
        LabelFile::Map(_) => panic!("a picture"),
    }
}

fn near(a: &VolumeGeometry, b: &VolumeGeometry, tolerance: f64) -> bool {
    let (a, b) = (a.patient_from_voxel(), b.patient_from_voxel());
    let pairs = a.as_flattened().iter().zip(b.as_flattened());
    pairs.clone().all(|(a, b)| (a - b).abs() < tolerance)
}

#[test]
fn volumes_come_back_from_every_format() {
    let folder = tempfile::tempdir().unwrap();
    for source in [
        "dicom_axial",
        "dicom_oblique",
        "enhanced.dcm",
        "nifti2_flipped.nii.gz",
        "oblique.mha",
    ] {
        let scan = open(source);
        let grid = geometry(&scan);
        let written = segmentation(&grid);
        for (ending, tolerance) in [
            ("nii.gz", 1e-5),
            ("nii", 1e-5),
            ("seg.nrrd", 1e-12),
            ("nrrd", 1e-12),
            ("mha", 1e-9),
        ] {
            let path = folder.path().join(format!("out.{ending}"));
            let notes = write_segmentation(&path, &written, &scan.info, &at(0)).unwrap();
            assert!(notes.is_empty(), "{notes:?}");
            let (back, _) = read_segmentation(&path, &ReadOptions::default()).unwrap();
            assert_eq!(
                volume(&back).data(),
                labels(&grid).data(),
                "{source} {ending}"
            );
            assert!(
                near(volume(&back).geometry(), &grid, tolerance),
                "{source} {ending}"
            );
            if ending == "seg.nrrd" {
                assert_eq!(back.segments, written.segments);
            }
        }
    }
}

#[test]
fn wide_labels_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let scan = open("oblique.mha");
    let mut written = segmentation(&geometry(&scan));
    let LabelFile::Volume(labels) = &mut written.labels else {
        panic!("a picture");
    };
    labels.data_mut()[3] = 40_000;
    for ending in ["nii.gz", "seg.nrrd", "mha", "tif"] {
        let path = folder.path().join(format!("out.{ending}"));
        write_segmentation(&path, &written, &scan.info, &at(0)).unwrap();
        let (back, _) = read_segmentation(&path, &ReadOptions::default()).unwrap();
        assert_eq!(volume(&back).data()[3], 40_000, "{ending}");
    }
}

#[test]
fn pictures_show_the_slice_that_was_looked_at() {
    let folder = tempfile::tempdir().unwrap();
    let scan = open("dicom_oblique");
    let grid = geometry(&scan);
    let written = segmentation(&grid);
    let options = WriteOptions {
        slice: Some((Plane::Coronal, 2)),
        ..at(0)
    };
    let want = labels(&grid).slice(Plane::Coronal, 2).unwrap();
    let path = folder.path().join("out.png");
    write_segmentation(&path, &written, &scan.info, &options).unwrap();
    let (back, _) = read_segmentation(&path, &ReadOptions::default()).unwrap();
    assert_eq!(back.labels, LabelFile::Map(want.clone()));
    let path = folder.path().join("out.coco.json");
    write_segmentation(&path, &written, &scan.info, &options).unwrap();
    let coco: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let first = &coco["annotations"][0];
    let mask = want.mask_of(1);
    assert_eq!(
        first["segmentation"]["counts"],
        synthfm_image::compressed_rle(&mask)
    );
    assert_eq!(first["area"], mask.area());
    assert_eq!(coco["images"][0]["width"], want.size().width);
    assert_eq!(coco["categories"][1]["name"], "left kidney");
    let error = write_segmentation(&folder.path().join("all.png"), &written, &scan.info, &at(0));
    assert!(error.unwrap_err().to_string().contains("name the slice"));
}

/// A single structure is a mask of 0 and 255; a picture keeps its spacing in formats of volumes.
#[test]
fn masks_of_pictures() {
    let folder = tempfile::tempdir().unwrap();
    let scan = open("cr_monochrome1.dcm");
    let ImageFile::Picture(Picture::Grey(image)) = &scan.content else {
        panic!("no grey picture");
    };
    let inside = |image: &Image| image.data().iter().map(|&v| u16::from(v > 500.0)).collect();
    let map = LabelMap::new(image.size(), inside(image)).unwrap();
    let written = Segmentation {
        labels: LabelFile::Map(map.clone()),
        segments: vec![Segment::new(1, "bone")],
    };
    for (ending, white) in [
        ("png", 255),
        ("tif", 255),
        ("nii.gz", 1),
        ("seg.nrrd", 1),
        ("seg.dcm", 1),
    ] {
        let path = folder.path().join(format!("out.{ending}"));
        write_segmentation(&path, &written, &scan.info, &at(0)).unwrap();
        let (back, _) = read_segmentation(&path, &ReadOptions::default()).unwrap();
        let data = match &back.labels {
            LabelFile::Map(map) => map.data(),
            LabelFile::Volume(volume) => volume.data(),
        };
        let want: Vec<u16> = map.data().iter().map(|&v| v * white).collect();
        assert_eq!(data, want, "{ending}");
        if let LabelFile::Volume(volume) = &back.labels {
            let spacing = volume.geometry().spacing_mm();
            assert!(
                (spacing[0] - 0.1).abs() < 1e-7 && (spacing[1] - 0.2).abs() < 1e-7,
                "{ending}"
            );
        }
    }
    let contours = write_segmentation(
        &folder.path().join("a.rtstruct.dcm"),
        &written,
        &scan.info,
        &at(0),
    );
    assert!(
        contours
            .unwrap_err()
            .to_string()
            .contains("positions in the patient")
    );
}

fn text(object: &InMemDicomObject, tag: (u16, u16)) -> String {
    let element = object.element(Tag(tag.0, tag.1)).unwrap();
    element
        .to_str()
        .unwrap()
        .trim_end_matches(['\0', ' '])
        .to_owned()
}

fn numbers(object: &InMemDicomObject, tag: (u16, u16)) -> Vec<f64> {
    object
        .element(Tag(tag.0, tag.1))
        .unwrap()
        .to_multi_float64()
        .unwrap()
}

fn items(object: &InMemDicomObject, tag: (u16, u16)) -> Vec<InMemDicomObject> {
    object
        .element(Tag(tag.0, tag.1))
        .unwrap()
        .items()
        .unwrap()
        .to_vec()
}

/// SOP Instance UIDs of a source, slice by slice, from the file names of the fixture.
fn instances(positions: &[f64]) -> Vec<(String, f64)> {
    let mut all: Vec<(String, f64)> = ["a", "b", "c", "d"]
        .iter()
        .map(|name| {
            let object = open_file(fixture(&format!("dicom_axial/{name}.dcm"))).unwrap();
            let position = numbers(&object, (0x0020, 0x0032))[2];
            (text(&object, (0x0008, 0x0018)), position)
        })
        .collect();
    all.sort_by(|a, b| a.1.total_cmp(&b.1));
    assert_eq!(all.len(), positions.len());
    all
}

fn written(ending: &str) -> (DefaultDicomObject, LabelVolume, Vec<(String, f64)>) {
    let folder = tempfile::tempdir().unwrap();
    let scan = open("dicom_axial");
    let grid = geometry(&scan);
    let path = folder.path().join(format!("out.{ending}"));
    let notes =
        write_segmentation(&path, &segmentation(&grid), &scan.info, &at(1_709_251_200)).unwrap();
    assert!(notes.is_empty(), "{notes:?}");
    let instances = instances(&[0.0; 4]);
    (open_file(&path).unwrap(), labels(&grid), instances)
}

#[test]
fn dicom_segmentations_refer_to_their_slices() {
    let (object, labels, instances) = written("dcm");
    assert_eq!(
        text(&object, (0x0008, 0x0016)),
        "1.2.840.10008.5.1.4.1.1.66.4"
    );
    assert_eq!(text(&object, (0x0020, 0x000d)), "2.25.77.1");
    assert_eq!(text(&object, (0x0010, 0x0010)), "Phantom^Test");
    assert_eq!(text(&object, (0x0008, 0x0023)), "20240301");
    let names: Vec<String> = items(&object, (0x0062, 0x0002))
        .iter()
        .map(|s| text(s, (0x0062, 0x0005)))
        .collect();
    assert_eq!(names, ["liver", "left kidney"]);
    let frames = items(&object, (0x5200, 0x9230));
    // The first structure is in slices 1 to 3, the second in 2 and 3.
    assert_eq!(frames.len(), 5);
    let bits = object
        .element(Tag(0x7fe0, 0x0010))
        .unwrap()
        .to_bytes()
        .unwrap()
        .into_owned();
    let pixels = 7 * 5;
    for (n, frame) in frames.iter().enumerate() {
        let identification = &items(frame, (0x0062, 0x000a))[0];
        let segment = numbers(identification, (0x0062, 0x000b))[0] as u16;
        let position = numbers(&items(frame, (0x0020, 0x9113))[0], (0x0020, 0x0032));
        let slice = instances
            .iter()
            .position(|(_, z)| (z - position[2]).abs() < 1e-9)
            .unwrap();
        let derivation = &items(frame, (0x0008, 0x9124))[0];
        let image = &items(derivation, (0x0008, 0x2112))[0];
        assert_eq!(text(image, (0x0008, 0x1155)), instances[slice].0);
        let stored =
            (0..pixels).map(|p| bits[(n * pixels + p) / 8] >> ((n * pixels + p) % 8) & 1 == 1);
        let want = labels.data()[slice * pixels..][..pixels]
            .iter()
            .map(|&v| v == segment);
        assert!(stored.eq(want), "frame {n}");
    }
}

/// Even-odd rule at a pixel's centre, slightly below it.
fn inside(contours: &[Vec<[f64; 2]>], x: f64, y: f64) -> bool {
    let y = y + 1e-6;
    let mut crossings = 0;
    for points in contours {
        for (a, b) in points.iter().zip(points.iter().cycle().skip(1)) {
            let crosses = (a[1] > y) != (b[1] > y);
            crossings +=
                usize::from(crosses && x < (b[0] - a[0]) * (y - a[1]) / (b[1] - a[1]) + a[0]);
        }
    }
    crossings % 2 == 1
}

#[test]
fn contours_filled_are_the_mask() {
    let (object, labels, instances) = written("rtstruct.dcm");
    assert_eq!(
        text(&object, (0x0008, 0x0016)),
        "1.2.840.10008.5.1.4.1.1.481.3"
    );
    let rois = items(&object, (0x3006, 0x0020));
    assert_eq!(text(&rois[1], (0x3006, 0x0026)), "left kidney");
    let affine = labels.geometry().patient_from_voxel();
    let size = Size::new(5, 7);
    for (n, roi) in items(&object, (0x3006, 0x0039)).iter().enumerate() {
        let mut slices = vec![Vec::new(); 4];
        for contour in items(roi, (0x3006, 0x0040)) {
            let data = numbers(&contour, (0x3006, 0x0050));
            assert_eq!(
                numbers(&contour, (0x3006, 0x0046))[0] as usize,
                data.len() / 3
            );
            let slice = instances
                .iter()
                .position(|(_, z)| (z - data[2]).abs() < 1e-6)
                .unwrap();
            let image = &items(&contour, (0x3006, 0x0016))[0];
            assert_eq!(text(image, (0x0008, 0x1155)), instances[slice].0);
            // The axial series has axes of the patient.
            let points = data.chunks_exact(3);
            let points = points.map(|p| {
                [
                    (p[0] - affine[0][3]) / affine[0][0],
                    (p[1] - affine[1][3]) / affine[1][1],
                ]
            });
            slices[slice].push(points.collect::<Vec<[f64; 2]>>());
        }
        for (k, contours) in slices.iter().enumerate() {
            for row in 0..size.height {
                for col in 0..size.width {
                    let label = labels.data()[size.area() * k + size.index(row, col)];
                    let want = usize::from(label) == n + 1;
                    assert_eq!(
                        inside(contours, col as f64, row as f64),
                        want,
                        "slice {k}, {row}, {col}"
                    );
                }
            }
        }
    }
}

#[test]
fn dicom_segmentations_read_back() {
    let folder = tempfile::tempdir().unwrap();
    for source in ["dicom_axial", "dicom_oblique", "enhanced.dcm"] {
        let scan = open(source);
        let grid = geometry(&scan);
        let written = segmentation(&grid);
        let path = folder.path().join("out.dcm");
        write_segmentation(&path, &written, &scan.info, &at(0)).unwrap();
        let (back, warnings) = read_segmentation(&path, &ReadOptions::default()).unwrap();
        assert!(warnings.is_empty(), "{warnings:?}");
        assert_eq!(
            back.segments.iter().map(|s| &s.name).collect::<Vec<_>>(),
            ["liver", "left kidney"]
        );
        let near_colour = back.segments[0]
            .colour
            .iter()
            .zip([200u8, 30, 90])
            .all(|(&a, b)| a.abs_diff(b) <= 1);
        assert!(near_colour, "{:?}", back.segments[0]);
        // The empty first slice has no frame.
        let pixels = grid.shape()[0] * grid.shape()[1];
        assert_eq!(
            volume(&back).data(),
            &labels(&grid).data()[pixels..],
            "{source}"
        );
        let affine = grid.patient_from_voxel();
        let got = volume(&back).geometry().patient_from_voxel();
        for axis in 0..3 {
            assert!(
                (got[axis][3] - affine[axis][3] - affine[axis][2]).abs() < 1e-6,
                "{source}"
            );
            assert!(
                (0..3).all(|c| (got[axis][c] - affine[axis][c]).abs() < 1e-6),
                "{source}"
            );
        }
    }
}

#[test]
fn the_same_segmentation_is_the_same_object() {
    let folder = tempfile::tempdir().unwrap();
    let scan = open("dicom_axial");
    let grid = geometry(&scan);
    let bytes = |seconds, name: &str| {
        let path = folder.path().join(name);
        write_segmentation(&path, &segmentation(&grid), &scan.info, &at(seconds)).unwrap();
        std::fs::read(path).unwrap()
    };
    for name in ["a.dcm", "a.rtstruct.dcm", "a.seg.nrrd", "a.mha", "a.tif"] {
        assert_eq!(bytes(5, name), bytes(5, name), "{name}");
    }
    assert_ne!(bytes(5, "a.dcm"), bytes(6, "a.dcm"));
}

#[test]
fn what_cannot_be_written_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let scan = open("nifti2_oblique.nii.gz");
    let grid = geometry(&scan);
    let write = |name: &str, geometry: &VolumeGeometry, format| {
        let options = WriteOptions { format, ..at(0) };
        let path = folder.path().join(name);
        write_segmentation(&path, &segmentation(geometry), &scan.info, &options)
            .unwrap_err()
            .to_string()
    };
    let error = write("a.dcm", &grid, None);
    assert!(error.contains("the input is NIfTI-2"), "{error}");
    let error = write("a", &grid, Some(MaskFormat::RtStruct));
    assert!(
        error.contains("rtstruct refers to the DICOM images"),
        "{error}"
    );
    let error = write("a.xyz", &grid, None);
    assert!(error.contains(".seg.nrrd"), "{error}");
    let sheared = [
        [1.0, 0.0, 0.5, 0.0],
        [0.0, 1.0, 0.0, 0.0],
        [0.0, 0.0, 3.0, 0.0],
    ];
    let sheared = VolumeGeometry::new(grid.shape(), sheared).unwrap();
    let error = write("a.mha", &sheared, None);
    assert!(error.contains("sheared"), "{error}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}
