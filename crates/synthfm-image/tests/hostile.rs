//! Files that are cut, random, or that lie: an error each, never a panic.

#![expect(clippy::unwrap_used, reason = "a test stops at its first surprise")]

use std::path::{Path, PathBuf};

use proptest::prelude::*;
use synthfm_image::{
    Error, LabelMap, LabelVolume, ReadOptions, RgbImage, Size, VolumeGeometry, read_image,
    read_labels, write_label_nifti, write_label_png, write_rgb_png,
};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name)
}

/// One small file of each kind, with its bytes.
fn samples(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let size = Size::new(9, 7);
    let labels = LabelMap::new(size, (0..63).map(|v| v * 1000).collect()).unwrap();
    write_label_png(&folder.join("labels.png"), &labels).unwrap();
    let colour = RgbImage::new(size, (0..189).collect()).unwrap();
    write_rgb_png(&folder.join("colour.png"), &colour).unwrap();
    let geometry = VolumeGeometry::with_spacing([4, 5, 6], [1.0, 2.0, 3.0]).unwrap();
    let volume = LabelVolume::new(geometry, (0..120).collect()).unwrap();
    for name in ["volume.nii", "volume.nii.gz"] {
        write_label_nifti(&folder.join(name), &volume).unwrap();
    }
    for name in ["f64.npy", "fortran_i8_volume.npy", "big_endian_f32.nii"] {
        std::fs::copy(fixture(name), folder.join(name)).unwrap();
    }
    let mut all: Vec<(String, Vec<u8>)> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, std::fs::read(path).unwrap())
        })
        .collect();
    all.sort();
    all
}

fn read_both(path: &Path, bytes: &[u8]) -> (Result<(), Error>, Result<(), Error>) {
    std::fs::write(path, bytes).unwrap();
    let options = ReadOptions::default();
    (
        read_image(path, &options).map(drop),
        read_labels(path, &options).map(drop),
    )
}

#[test]
fn every_truncation_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("cut");
    for (name, bytes) in samples(folder.path()) {
        assert!(read_both(&path, &bytes).0.is_ok(), "{name}");
        for length in 0..bytes.len() {
            let (image, labels) = read_both(&path, &bytes[..length]);
            assert!(image.is_err(), "{name}: {length} of {} bytes", bytes.len());
            assert!(labels.is_err(), "{name}: {length} of {} bytes", bytes.len());
        }
    }
}

#[test]
fn errors_name_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("photo.nii");
    for (bytes, word) in [
        (&b"\xff\xd8\xff\xe0 and so on"[..], "JPEG"),
        (b"NRRD0004\n", "NRRD"),
        (b"II*\0 and so on", "TIFF"),
        (b"BM and so on", "BMP"),
        (b"PK\x03\x04 and so on", "NPZ"),
        (b"ObjectType = Image\n", "MetaImage"),
        (b"GIF89a and so on", "GIF"),
        (b"nothing that is known", "none of PNG, JPEG"),
        (b"", "0 bytes"),
        (b"\x1c\x02\0\0 and so on", "NIfTI"),
    ] {
        let error = read_both(&path, bytes).0.unwrap_err().to_string();
        assert!(
            error.contains(word) && error.contains("photo.nii"),
            "{error}"
        );
    }
    let absent = folder.path().join("absent.png");
    let error = read_image(&absent, &ReadOptions::default()).unwrap_err();
    assert!(matches!(error, Error::Io { .. }) && error.to_string().contains("absent.png"));
    assert!(read_image(folder.path(), &ReadOptions::default()).is_err());
}

#[test]
fn limits_are_kept_before_and_after_decoding() {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in samples(folder.path()) {
        let path = folder.path().join(&name);
        for max_bytes in [0, 10, bytes.len() as u64 - 1] {
            let error = read_image(&path, &ReadOptions { max_bytes }).unwrap_err();
            assert!(matches!(error, Error::Limit { .. }), "{name}: {error}");
        }
    }
    // 240 bytes of values, fewer once compressed, 480 as f32.
    let path = folder.path().join("volume.nii.gz");
    let error = read_image(&path, &ReadOptions { max_bytes: 479 }).unwrap_err();
    assert!(
        matches!(
            error,
            Error::Limit {
                bytes: 480,
                limit: 479,
                ..
            }
        ),
        "{error}"
    );
    assert!(read_image(&path, &ReadOptions { max_bytes: 480 }).is_ok());
}

#[test]
fn nifti_headers_that_lie() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.nii");
    let good = std::fs::read(fixture("sform_i16.nii")).unwrap();
    let with = |at: usize, raw: &[u8]| {
        let mut bytes = good.clone();
        bytes[at..at + raw.len()].copy_from_slice(raw);
        read_both(&path, &bytes).0
    };
    for (at, raw, word) in [
        (40, &[0, 0][..], "dimensions"),
        (40, &[8, 0], "dimensions"),
        (40, &[0xff, 0xff], "dimensions"),
        (42, &[0, 0], "positive"),
        (42, &[0xff, 0xff], "positive"),
        (42, &[4, 0], "truncated"),
        (40, &[4, 0, 3, 0, 4, 0, 5, 0, 2, 0], "2 volumes"),
        (70, &[0, 6], "data type 1536"),
        (70, &[128, 0], "truncated: 180 values"),
        (108, &f32::NAN.to_le_bytes(), "data offset"),
        (108, &1e30f32.to_le_bytes(), "data offset"),
        (108, &(-352f32).to_le_bytes(), "data offset"),
        (108, &1e9f32.to_le_bytes(), "truncated"),
        (108, &400f32.to_le_bytes(), "truncated"),
        (344, b"ni1\0", "two files"),
        (344, b"\0\0\0\0", "magic"),
    ] {
        let error = with(at, raw).unwrap_err().to_string();
        assert!(error.contains(word), "byte {at} = {raw:02x?}: {error}");
    }
    let huge = with(42, &[0xff, 0x7f, 0xff, 0x7f, 0xff, 0x7f]).unwrap_err();
    assert!(matches!(huge, Error::Limit { .. }), "{huge}");
}

#[test]
fn npy_headers_that_lie() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.npy");
    let npy = |header: &str| {
        let mut bytes = b"\x93NUMPY\x01\0".to_vec();
        bytes.extend((header.len() as u16).to_le_bytes());
        bytes.extend(header.as_bytes());
        bytes.extend([0; 24]);
        read_both(&path, &bytes).0
    };
    let header = |descr: &str, shape: &str| {
        npy(&format!(
            "{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n"
        ))
    };
    assert!(header("'<f4'", "(2, 3)").is_ok());
    let limit = header("'<f4'", "(4000000000, 4000000000)").unwrap_err();
    assert!(matches!(limit, Error::Limit { .. }), "{limit}");
    let overflow = header("'<f8'", "(9223372036854775807, 9223372036854775807)").unwrap_err();
    assert!(matches!(overflow, Error::Limit { .. }), "{overflow}");
    for (descr, shape, word) in [
        ("'<f4'", "(2, 4)", "needs 32 bytes"),
        ("'<f4'", "(6,)", "1 dimensions"),
        ("'<f4'", "(1, 1, 2, 3)", "4 dimensions"),
        ("'<f4'", "(0, 3)", "empty"),
        ("'<f4'", "(2, -3)", "bad shape"),
        ("'<f4'", "(2, 99999999999999999999)", "bad shape"),
        ("'<f4'", "2, 3", "bad shape"),
        ("'<c8'", "(2, 3)", "<c8"),
        ("[('a', '<f4')]", "(2, 3)", "records"),
    ] {
        let error = header(descr, shape).unwrap_err().to_string();
        assert!(error.contains(word), "{descr} {shape}: {error}");
    }
    let error = npy("{'descr': '<f4'}").unwrap_err().to_string();
    assert!(error.contains("fortran_order"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn random_bytes_never_panic(
        start in 0usize..6,
        bytes in prop::collection::vec(any::<u8>(), 0..2000),
    ) {
        let starts: [&[u8]; 6] = [
            b"",
            b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR",
            b"\x93NUMPY\x01\0\x40\0",
            b"\x5c\x01\0\0",
            b"\0\0\x01\x5c",
            b"\x1f\x8b\x08\0",
        ];
        let folder = tempfile::tempdir().unwrap();
        let all = [starts[start], &bytes].concat();
        let (image, labels) = read_both(&folder.path().join("a"), &all);
        prop_assert!(image.is_err() && labels.is_err());
    }

    #[test]
    fn flipped_bytes_never_panic(
        flips in prop::collection::vec((any::<prop::sample::Index>(), 1u8..), 1..6),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let scratch = tempfile::tempdir().unwrap();
        for (_, mut bytes) in samples(folder.path()) {
            for (at, flip) in &flips {
                let at = at.index(bytes.len().min(400));
                bytes[at] ^= flip;
            }
            // Either outcome is right; a panic fails the test.
            let _outcome = read_both(&scratch.path().join("a"), &bytes);
        }
    }
}
