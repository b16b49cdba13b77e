//! Arrays of nnInteractive's own client (`tools/nnia_fixtures.py`), and what hostile ones come to.

use std::path::Path;

use super::*;

const MOST: usize = 1 << 20;

fn fixture(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/nnia");
    std::fs::read(folder.join(format!("{name}.nnia"))).unwrap()
}

fn fixtures() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/nnia");
    let files = std::fs::read_dir(folder).unwrap();
    let stem = |file: std::io::Result<std::fs::DirEntry>| {
        let path = file.unwrap().path();
        path.file_stem().unwrap().to_string_lossy().into_owned()
    };
    let mut names: Vec<String> = files.map(stem).collect();
    names.sort();
    names
}

/// The values of `steps` of the script.
fn steps(kind: &str, at: usize) -> f32 {
    match kind {
        "uint8" | "bool" => (at / 5 % 2) as f32,
        _ => (at / 3 % 1000) as f32 - 500.0,
    }
}

fn noise(at: usize) -> f32 {
    let at = at as u64;
    let mixed = at.wrapping_mul(at).wrapping_mul(2_654_435_761) >> 13;
    f32::from((mixed & 255) as u8)
}

fn read(bytes: &[u8]) -> Result<Vec<f32>> {
    PackedArray::parse(bytes, MOST)?.unpack(|value| value)
}

#[test]
#[expect(clippy::float_cmp, reason = "whole numbers are exact")]
fn arrays_of_the_client_are_read() {
    let names = fixtures();
    assert_eq!(names.len(), 25);
    for name in names {
        let bytes = fixture(&name);
        let array = PackedArray::parse(&bytes, MOST).unwrap();
        let values = array.unpack(|value| value).unwrap();
        let kind = name.split('_').next().unwrap();
        for (at, &value) in values.iter().enumerate() {
            let right = match name.as_str() {
                "uint8_zstd_plain_zeros" => value == 0.0,
                "uint8_zstd_shuffle_noise" => value == noise(at),
                "float32_zstd_shuffle_nan" => value.is_nan(),
                "int8_zstd_shuffle" => value == f32::from((at as i64 / 3 % 1000 - 500) as i8),
                _ => value == steps(kind, at),
            };
            assert!(right, "{name}: {value} at {at}");
        }
        let shape = array.shape();
        assert_eq!(shape.iter().product::<usize>(), values.len(), "{name}");
    }
    let bytes = fixture("int16_zstd_shuffle_chunks");
    let chunks = PackedArray::parse(&bytes, MOST).unwrap();
    assert_eq!(
        (chunks.shape(), chunks.chunks.len()),
        (&[1, 3, 50, 611][..], 3)
    );
}

#[test]
fn what_is_written_is_read() {
    for shape in [[1, 1, 1], [3, 5, 7], [2, 300, 401]] {
        let count = shape.iter().product();
        for values in [
            vec![1; count],
            (0..count)
                .map(|at| u8::from(at % 17 < 5))
                .collect::<Vec<u8>>(),
            (0..count).map(|at| noise(at) as u8).collect(),
        ] {
            let packed = pack_bytes(shape, &values);
            let array = PackedArray::parse(&packed, MOST).unwrap();
            assert_eq!(array.shape(), shape);
            assert!(array.unpack(|value| value as u8).unwrap() == values);
        }
    }
    // A mask is small.
    assert!(pack_bytes([100, 100, 100], &vec![0; 1_000_000]).len() < 10_000);
}

#[test]
fn damaged_arrays_are_refused_with_a_reason() {
    let good = fixture("int16_zstd_shuffle");
    let start = 8 + 5 + 32 + 4 + 16;
    let with = |at: usize, bytes: &[u8]| {
        let mut bad = good.clone();
        bad[at..at + bytes.len()].copy_from_slice(bytes);
        read(&bad).err().map(|error| error.to_string())
    };
    assert_eq!(with(0, b"NNIA"), None);
    for (at, bytes, reason) in [
        (0, &b"NNIB"[..], "begin with NNIA"),
        (4, &[2], "version 2"),
        (5, &[3], "codec 3"),
        (6, &[0], "0 axes"),
        (6, &[5], "5 axes"),
        (7, &[200], "type"),
        (8, b"int17", "int17"),
        (13, &[0; 8], "no or negative length"),
        (13, &[255; 8], "no or negative length"),
        (13, &(1u64 << 62).to_le_bytes(), "more than the 1048576"),
        (21, &4u64.to_le_bytes(), "another number of bytes"),
        (45, &[0; 4], "another number of bytes"),
        (45, &[9, 0, 0, 0], "cut off"),
        (49, &7u64.to_le_bytes(), "sizes of a chunk"),
        (57, &[255; 8], "cut off"),
        (start, &[4], "another format"),
        (start + 2, &[0x81], "another format"),
        (start + 2, &[0x8d], "differences"),
        (start + 2, &[0xa5], "codec 5"),
        (start + 4, &[0; 4], "sizes of a chunk"),
        (start + 8, &[0; 4], "blocks of 0"),
        (start + 8, &[1, 0, 0, 0], "divide a value"),
        (start + 12, &[255; 4], "sizes of a chunk"),
        (start + 16, &[2], "other filters"),
        (start + 17, &[1], "other filters"),
        (start + 30, &[1], "dictionary"),
        (start + 31, &[1], "dictionary"),
        (start + 31, &[0x70], "special kind 7"),
        (start + 32, &[255; 4], "outside of its chunk"),
        (start + 32, &[255, 255, 255, 127], "outside of its chunk"),
    ] {
        let error = with(at, bytes).unwrap_or_default();
        assert!(error.contains(reason), "{at} {bytes:?}: {error}");
    }
    let longer = [good.as_slice(), b"x"].concat();
    assert!(read(&longer).unwrap_err().0.contains("follow its end"));
}

#[test]
fn no_array_is_read_beyond_its_end() {
    for name in fixtures() {
        let good = fixture(&name);
        for end in (0..good.len()).step_by(1 + good.len() / 200) {
            assert!(read(&good[..end]).is_err(), "{name} up to {end}");
        }
    }
}

#[test]
fn damage_anywhere_is_no_panic() {
    for name in [
        "int16_zstd_shuffle",
        "float32_lz4_shuffle",
        "uint8_lz4_plain",
    ] {
        let good = fixture(name);
        let mut state = 1u64;
        for _ in 0..3000 {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let mut bad = good.clone();
            let at = (state >> 33) as usize % bad.len().min(600);
            bad[at] ^= 1 << (state >> 20 & 7);
            // Either outcome is right.
            let _ = read(&bad);
        }
    }
}

#[test]
fn past_crashers_are_no_panic() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/crashers");
    for file in std::fs::read_dir(folder).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        let _ = read(&bytes);
    }
}

#[test]
fn a_promise_of_much_is_no_memory() {
    // Zeros of 2^40 bytes in a chunk of 32 bytes.
    let mut packed = fixture("uint8_zstd_plain_zeros");
    packed[13..21].copy_from_slice(&(1u64 << 40).to_le_bytes());
    let error = read(&packed).unwrap_err();
    assert!(error.0.contains("more than the"), "{error}");
    // A zstd window of gigabytes in the frame of a small block.
    let good = fixture("int16_zstd_plain");
    let frame = [0x28, 0xb5, 0x2f, 0xfd];
    let at = good.windows(4).position(|four| four == frame).unwrap();
    let mut bad = good.clone();
    // No single segment, and a window of 2^40 bytes.
    (bad[at + 4], bad[at + 5]) = (0, 30 << 3);
    let error = read(&bad).unwrap_err();
    assert!(error.0.contains("zstd"), "{error}");
}
