//! Every reader on damaged files: cut, flipped, with numbers at their extremes; and the files that once made it fail.
//!
//! Either outcome of reading is right; a panic fails the test. `fuzz/run` searches further, and keeps what it finds in
//! `tests/crashers`.

#![expect(clippy::unwrap_used, reason = "a test stops at its first surprise")]

use std::path::{Path, PathBuf};

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use synthfm_image::{OpenOptions, ReadOptions, list_series, open_scan, read_segmentation};

const MAX_BYTES: u64 = 16 << 20;
/// Damaged copies of every file.
const COPIES: usize = 60;

fn tests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")
}

fn files(folder: &Path, all: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, all);
        } else {
            all.push(path);
        }
    }
    all.sort();
}

fn read_all(path: &Path, bytes: &[u8]) {
    std::fs::write(path, bytes).unwrap();
    let read = ReadOptions {
        max_bytes: MAX_BYTES,
    };
    let options = OpenOptions {
        read,
        ..OpenOptions::default()
    };
    let _scan = open_scan(path, &options);
    let _labels = read_segmentation(path, &read);
    let _series = list_series(path, &options);
}

/// A damaged copy.
fn mutated(original: &[u8], random: &mut ChaCha8Rng) -> Vec<u8> {
    let mut bytes = original.to_vec();
    let below = |n: usize, random: &mut ChaCha8Rng| (random.next_u64() % n.max(1) as u64) as usize;
    for _ in 0..=below(4, random) {
        let length = bytes.len();
        if length < 8 {
            break;
        }
        // Headers come first, and are where the harm is.
        let reach = if random.next_u32().is_multiple_of(2) {
            length.min(600)
        } else {
            length
        };
        let at = below(reach - 4, random);
        match below(7, random) {
            0 => bytes.truncate(at + 1),
            1 => bytes[at] ^= 1 << below(8, random),
            2 => bytes[at] = random.next_u32() as u8,
            3 => bytes[at..at + 2].fill(0xff),
            4 => bytes[at..at + 4].copy_from_slice(&[0xff, 0xff, 0xff, 0x7f]),
            5 => bytes[at..at + 4].fill(0),
            _ => {
                let part = bytes[at..(at + below(64, random)).min(length)].to_vec();
                bytes.splice(at..at, part);
            }
        }
    }
    bytes
}

#[test]
fn damaged_files_never_panic() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    let mut all = Vec::new();
    files(&tests().join("fixtures/formats"), &mut all);
    assert!(all.len() > 50);
    let mut random = ChaCha8Rng::seed_from_u64(1);
    for file in all {
        let original = std::fs::read(&file).unwrap();
        if file.extension().is_some_and(|e| e == "json" || e == "txt") {
            continue;
        }
        for _ in 0..COPIES {
            read_all(&path, &mutated(&original, &mut random));
        }
    }
}

#[test]
fn past_crashers_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let mut all = Vec::new();
    files(&tests().join("crashers"), &mut all);
    for file in all {
        read_all(&folder.path().join("a"), &std::fs::read(&file).unwrap());
    }
}
