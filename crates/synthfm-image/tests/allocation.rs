//! Memory follows the bytes that are there, not the size that a header declares.
//!
//! The files are tiny and declare sizes just under the limit. This test is alone in its file
//! because the allocator counts for the whole process.

#![expect(clippy::unwrap_used, reason = "a test stops at its first surprise")]
#![expect(
    unsafe_code,
    reason = "a counting allocator has to implement an unsafe trait"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};

use synthfm_image::{ReadOptions, read_image, read_labels};

struct LargestRequest;

static LARGEST: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is passed on unchanged to the system's allocator.
unsafe impl GlobalAlloc for LargestRequest {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LARGEST.fetch_max(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps the contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        LARGEST.fetch_max(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps the contract.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        LARGEST.fetch_max(size, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: LargestRequest = LargestRequest;

/// A header of 700³ bytes, 1.4 GB as f32, and 100 bytes of values.
fn nifti() -> Vec<u8> {
    let mut bytes = vec![0; 452];
    bytes[..4].copy_from_slice(&348i32.to_le_bytes());
    for (n, dim) in [3i16, 700, 700, 700].iter().enumerate() {
        bytes[40 + 2 * n..42 + 2 * n].copy_from_slice(&dim.to_le_bytes());
    }
    bytes[70] = 2;
    bytes[108..112].copy_from_slice(&352f32.to_le_bytes());
    bytes[344..348].copy_from_slice(b"n+1\0");
    bytes
}

fn npy() -> Vec<u8> {
    let header = "{'descr': '|u1', 'fortran_order': False, 'shape': (700, 700, 700)}\n";
    let mut bytes = b"\x93NUMPY\x01\0".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend([0; 100]);
    bytes
}

/// A grey PNG whose header says 20000 x 20000.
fn png() -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, 2, 2);
    encoder.set_color(png::ColorType::Grayscale);
    encoder
        .write_header()
        .unwrap()
        .write_image_data(&[0; 4])
        .unwrap();
    bytes[16..20].copy_from_slice(&20_000u32.to_be_bytes());
    bytes[20..24].copy_from_slice(&20_000u32.to_be_bytes());
    let mut checksum = flate2::Crc::new();
    checksum.update(&bytes[12..29]);
    bytes[29..33].copy_from_slice(&checksum.sum().to_be_bytes());
    bytes
}

fn fixture(name: &str) -> Vec<u8> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/formats");
    std::fs::read(folder.join(name)).unwrap()
}

/// `bytes` with `raw` after the first `mark`, `skip` bytes on.
fn patched(mut bytes: Vec<u8>, mark: &[u8], skip: usize, raw: &[u8]) -> Vec<u8> {
    let found = bytes.windows(mark.len()).position(|w| w == mark).unwrap();
    let at = found + mark.len() + skip;
    bytes[at..at + raw.len()].copy_from_slice(raw);
    bytes
}

fn nrrd(encoding: &str) -> Vec<u8> {
    let header = format!(
        "NRRD0004\ntype: uint8\ndimension: 3\nsizes: 700 700 700\nencoding: {encoding}\n\n"
    );
    [header.into_bytes(), vec![0; 100]].concat()
}

fn meta_image(compressed: &str) -> Vec<u8> {
    let header = format!(
        "ObjectType = Image\nNDims = 3\nDimSize = 700 700 700\nCompressedData = {compressed}\n\
         ElementType = MET_UCHAR\nElementDataFile = LOCAL\n"
    );
    [header.into_bytes(), vec![0; 100]].concat()
}

/// Rows and columns of a DICOM file, each 20000.
fn dicom(name: &str) -> Vec<u8> {
    let side = 20_000u16.to_le_bytes();
    let rows = patched(fixture(name), b"\x28\0\x10\0US\x02\0", 0, &side);
    patched(rows, b"\x28\0\x11\0US\x02\0", 0, &side)
}

/// Width and height in the first directory of a little-endian TIFF, each 20000.
fn tiff() -> Vec<u8> {
    let side = 20_000u32.to_le_bytes();
    let mut bytes = fixture("u32.tif");
    for tag in [256u16, 257] {
        // LONG or SHORT; the value follows type and count.
        let entry = (8..bytes.len() - 12)
            .find(|&n| bytes[n..n + 2] == tag.to_le_bytes() && bytes[n + 4..n + 8] == [1, 0, 0, 0])
            .unwrap();
        bytes[entry + 2] = 4;
        bytes[entry + 8..entry + 12].copy_from_slice(&side);
    }
    bytes
}

fn bmp() -> Vec<u8> {
    let mut bytes = fixture("rgb.bmp");
    for at in [18, 22] {
        bytes[at..at + 4].copy_from_slice(&10_000i32.to_le_bytes());
    }
    bytes
}

fn jpeg() -> Vec<u8> {
    let side = 10_000u16.to_be_bytes();
    patched(fixture("grey.jpg"), b"\xff\xc0", 3, &[side, side].concat())
}

#[test]
fn declared_sizes_are_not_allocated() {
    let folder = tempfile::tempdir().unwrap();
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(&nifti()).unwrap();
    let compressed = encoder.finish().unwrap();
    // The first element's value is said to have two gigabytes.
    let long = patched(
        fixture("dicom_axial/a.dcm"),
        b"\x02\0\x01\0OB\0\0",
        0,
        &0x7fff_ffffu32.to_le_bytes(),
    );
    for (name, bytes, word) in [
        ("a.nii", nifti(), "truncated"),
        ("a.nii.gz", compressed, "truncated"),
        ("a.npy", npy(), "needs 343000000 bytes"),
        ("a.png", png(), "20000x20000 pixels cannot be"),
        ("raw.nrrd", nrrd("raw"), "truncated"),
        ("gzip.nrrd", nrrd("gzip"), "truncated"),
        ("text.nrrd", nrrd("text"), "truncated"),
        ("raw.mha", meta_image("False"), "truncated"),
        ("zlib.mha", meta_image("True"), "truncated"),
        ("a.tif", tiff(), "TIFF"),
        ("a.bmp", bmp(), "truncated BMP"),
        ("a.jpg", jpeg(), "JPEG"),
        ("native.dcm", dicom("us_palette.dcm"), "truncated DICOM"),
        ("rle.dcm", dicom("rle16.dcm"), ""),
        ("jpeg.dcm", dicom("jpeg_grey.dcm"), ""),
        ("jpegls.dcm", dicom("jpegls12.dcm"), ""),
        ("j2k.dcm", dicom("j2k.dcm"), ""),
        (
            "long.dcm",
            long,
            "damaged DICOM: 2147483647 bytes are announced",
        ),
    ] {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        LARGEST.store(0, Ordering::Relaxed);
        let image = read_image(&path, &ReadOptions::default()).map(drop);
        let labels = read_labels(&path, &ReadOptions::default()).map(drop);
        let largest = LARGEST.load(Ordering::Relaxed);
        let image = image.unwrap_err().to_string();
        assert!(labels.is_err(), "{name}");
        assert!(image.contains(word), "{name}: {image}");
        assert!(largest < 2 << 20, "{name}: one request of {largest} bytes");
    }
}
