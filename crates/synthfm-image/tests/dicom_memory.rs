//! Reading DICOM stays within its limit on memory, whatever a file declares, and is an error where it cannot.
//!
//! The files have a million pixels each, most of them in few bytes. This test is alone in its file because the allocator
//! counts for the whole process.

#![expect(clippy::unwrap_used, reason = "a test stops at its first surprise")]
#![expect(
    unsafe_code,
    reason = "a counting allocator has to implement an unsafe trait"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use synthfm_image::{Error, OpenOptions, ReadOptions, open_scan};

struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

fn add(bytes: usize) {
    let live = LIVE.fetch_add(bytes, Ordering::SeqCst) + bytes;
    MOST.fetch_max(live, Ordering::SeqCst);
}

// SAFETY: every call is passed on unchanged to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        add(layout.size());
        // SAFETY: the caller keeps the contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        add(layout.size());
        // SAFETY: the caller keeps the contract.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        add(size);
        LIVE.fetch_sub(layout.size(), Ordering::SeqCst);
        // SAFETY: the caller keeps the contract.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::SeqCst);
        // SAFETY: the caller keeps the contract.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const MIB: usize = 1 << 20;
/// Headers, names and the threads' own memory.
const BESIDE: usize = MIB / 2;

/// An element with an explicit value representation.
fn element(tag: [u16; 2], vr: [u8; 2], value: &[u8]) -> Vec<u8> {
    let mut bytes: Vec<u8> = tag.iter().flat_map(|v| v.to_le_bytes()).collect();
    bytes.extend(vr);
    if vr == *b"OW" {
        bytes.extend([0, 0]);
        bytes.extend((value.len() as u32).to_le_bytes());
    } else {
        bytes.extend((value.len() as u16).to_le_bytes());
    }
    bytes.extend(value);
    bytes
}

/// A file of a million pixels without compression, in as many frames.
fn native(frames: u16, bits: u16, samples: u16) -> Vec<u8> {
    let short =
        |element_of: u16, value: u16| element([0x28, element_of], *b"US", &value.to_le_bytes());
    let photometric: &[u8] = if samples == 3 {
        b"RGB "
    } else {
        b"MONOCHROME2 "
    };
    let count = format!("{frames:<4}");
    let bytes = MIB / 8 * usize::from(bits) * usize::from(samples);
    [
        vec![0; 128],
        b"DICM".to_vec(),
        element([2, 0x10], *b"UI", b"1.2.840.10008.1.2.1\0"),
        short(2, samples),
        element([0x28, 4], *b"CS", photometric),
        short(6, 0),
        element([0x28, 8], *b"IS", count.as_bytes()),
        short(0x10, (MIB / 1024 / usize::from(frames)) as u16),
        short(0x11, 1024),
        short(0x100, bits),
        short(0x101, bits),
        short(0x102, bits - 1),
        short(0x103, 0),
        element([0x7fe0, 0x10], *b"OW", &vec![5; bytes]),
    ]
    .concat()
}

fn files(scratch: &Path) -> Vec<PathBuf> {
    let large = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/dicom/large");
    let entries = std::fs::read_dir(large).unwrap();
    let mut all: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    for (frames, bits, samples) in [
        (1, 8, 1),
        (1, 32, 1),
        (1, 16, 3),
        (16, 16, 1),
        (64, 8, 3),
        (128, 32, 1),
    ] {
        let path = scratch.join(format!("native_{frames}_{bits}_{samples}.dcm"));
        std::fs::write(&path, native(frames, bits, samples)).unwrap();
        all.push(path);
    }
    all.sort();
    all
}

#[test]
fn values_frames_and_decoders_are_within_the_limit() {
    let scratch = tempfile::tempdir().unwrap();
    let files = files(scratch.path());
    assert_eq!(files.len(), 14);
    for path in files {
        let mut enough = None;
        for mib in [1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 24, 32, 48, 64] {
            let read = ReadOptions {
                max_bytes: (mib * MIB) as u64,
            };
            let options = OpenOptions {
                read,
                ..OpenOptions::default()
            };
            let before = LIVE.load(Ordering::SeqCst);
            MOST.store(before, Ordering::SeqCst);
            let outcome = open_scan(&path, &options).map(drop);
            let most = MOST.load(Ordering::SeqCst) - before;
            let name = path.file_name().unwrap().to_string_lossy();
            assert!(
                most <= mib * MIB + BESIDE,
                "{name}: {most} bytes within {mib} MiB"
            );
            match outcome {
                Ok(()) => _ = enough.get_or_insert((mib, most)),
                Err(Error::Limit { .. }) => assert_eq!(enough, None, "{name}: {mib} MiB"),
                Err(error) => panic!("{name}: {error}"),
            }
        }
        let (mib, most) = enough.unwrap();
        // Needs are estimated from above, but not far: JPEG's are those of samples without loss, and limits come in
        // steps of up to a half.
        assert!(
            most + BESIDE > mib * MIB / 4,
            "{path:?}: {most} bytes need {mib} MiB"
        );
    }
}
