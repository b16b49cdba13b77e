use synthfm_image::{FileFormat, GreyDepth, Image, WindowChoice, write_grey_png, write_rgb_png};

use super::*;

fn words(bytes: &[u8]) -> Vec<u16> {
    let pair = |pair: &[u8]| u16::from_le_bytes([pair[0], pair[1]]);
    bytes.chunks_exact(2).map(pair).collect()
}

#[test]
fn whole_numbers_stay_exact_and_fractions_span_the_range() {
    let scale = Scale::of(&[-1024.0, 3071.0, f32::NAN]);
    assert_eq!((scale.offset, scale.step), (-1024.0, 1.0));
    assert_eq!(
        [-1024.0, 40.0, f32::NAN, 9e9].map(|v| scale.steps(v)),
        [0, 1064, 0, 65_535]
    );
    let scale = Scale::of(&[0.25, 0.75]);
    assert_eq!([0.25, 0.75].map(|v| scale.steps(v)), [0, 65_535]);
    for values in [&[f32::NAN][..], &[], &[7.0, 7.0]] {
        assert_eq!(Scale::of(values).step, 1.0, "{values:?}");
    }
    let extreme = Scale::of(&[f32::MIN, f32::MAX]);
    assert!(extreme.step.is_finite());
}

#[test]
fn a_picture_is_one_axial_slice() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.png");
    let values = (0u8..6).map(|v| f32::from(v) * 10.0).collect();
    let image = Image::new(Size::new(2, 3), values).unwrap();
    write_grey_png(&path, &image, 0.0..=255.0, GreyDepth::Eight).unwrap();
    let study = Study::read(&path, None, 1 << 20, folder.path()).unwrap();
    assert_eq!(
        (study.grid().shape(), study.window()),
        ([3, 2, 1], [0.0, 255.0])
    );
    assert_eq!(
        words(&study.slice_bytes(PlaneName::Axial, 0).unwrap()),
        [0, 10, 20, 30, 40, 50]
    );
    let seen = study
        .model_input(PlaneName::Axial, 0, [10.0, 40.0])
        .unwrap();
    assert_eq!(
        seen.data().iter().step_by(3).collect::<Vec<_>>(),
        [&0, &0, &85, &170, &255, &255]
    );
    assert!(study.slice_bytes(PlaneName::Axial, 1).is_err());
    assert!(study.slice_bytes(PlaneName::Coronal, 0).is_err());
    assert!(Study::read(&path, None, 10, folder.path()).is_err());
}

#[test]
fn colours_go_to_the_page_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.png");
    let rgb = RgbImage::new(Size::new(1, 2), vec![1, 2, 3, 200, 100, 0]).unwrap();
    write_rgb_png(&path, &rgb).unwrap();
    let study = Study::read(&path, None, 1 << 20, folder.path()).unwrap();
    assert_eq!(study.slice_bytes(PlaneName::Axial, 0).unwrap(), rgb.data());
    assert_eq!(
        study
            .model_input(PlaneName::Axial, 0, [0.0, 255.0])
            .unwrap(),
        rgb
    );
}

#[test]
fn the_model_sees_what_prediction_shows_it() {
    let fixtures =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../synthfm-image/tests/fixtures/formats");
    for name in [
        "f32.tif",
        "u16.tif",
        "u8_lzw.tif",
        "cr_monochrome1.dcm",
        "nifti2_oblique.nii.gz",
    ] {
        let path = fixtures.join(name);
        let study = Study::read(&path, None, 1 << 20, &fixtures).unwrap();
        let seen = study
            .model_input(PlaneName::Axial, 0, study.window())
            .unwrap();
        let scan = open_scan(&path, &OpenOptions::default()).unwrap();
        let shown = match &scan.content {
            ImageFile::Picture(picture) => picture.shown(&scan.info).unwrap(),
            ImageFile::Volume(volume) => {
                let slice = volume.slice(Plane::Axial, 0).unwrap().image;
                let shown = Presentation::of_volume(volume, &scan.info, None).unwrap();
                shown.apply(&slice).unwrap()
            }
        };
        assert!(seen == shown, "{name}");
    }
}

#[test]
fn a_flat_image_has_a_window() {
    let info = ScanInfo::of_format(FileFormat::Png);
    let window = |values: &[f32]| {
        let image = Image::new(Size::new(1, values.len()), values.to_vec()).unwrap();
        let choice = Some(&WindowChoice::Percentiles);
        shown_range(&Presentation::of_picture(&image, &info, choice).unwrap())
    };
    assert_eq!(window(&[7.0; 9]), [6.5, 7.5]);
    assert_eq!(window(&[f32::NAN]), [-0.5, 0.5]);
    assert_eq!(window(&[0.0, 10.0]), [0.0, 10.0]);
}

#[test]
fn windows_must_be_ranges() {
    assert_eq!(window_or(None, [1.0, 2.0]), Ok([1.0, 2.0]));
    assert_eq!(window_or(Some([-5.0, 5.0]), [1.0, 2.0]), Ok([-5.0, 5.0]));
    for bad in [
        [1.0, 1.0],
        [2.0, 1.0],
        [f32::NAN, 1.0],
        [0.0, f32::INFINITY],
    ] {
        assert!(window_or(Some(bad), [1.0, 2.0]).is_err(), "{bad:?}");
    }
}

#[test]
fn a_volume_without_a_finite_value_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let says_so = |values: [f32; 8]| {
        let mut header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2, 2), }".to_vec();
        header.resize(117, b' ');
        header.push(b'\n');
        let mut bytes = b"\x93NUMPY\x01\x00\x76\x00".to_vec();
        bytes.extend(header);
        bytes.extend(values.iter().flat_map(|v| v.to_le_bytes()));
        let path = folder.path().join("a.npy");
        std::fs::write(&path, bytes).unwrap();
        let study = Study::read(&path, None, 1 << 20, folder.path()).unwrap();
        let part = "no value of the image is a finite number";
        study
            .warnings()
            .iter()
            .any(|warning| warning.contains(part))
    };
    assert!(says_so([f32::NAN; 8]));
    let mut one = [f32::NAN; 8];
    one[3] = 1.0;
    assert!(!says_so(one));
}
