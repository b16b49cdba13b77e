//! What the fuzz targets share: bytes become a file, which is read as an image and as labels.

use std::cell::RefCell;
use std::io::Write;
use std::path::PathBuf;

use synthfm_image::{
    Error, OpenOptions, ReadOptions, list_series, open_scan, read_labels, read_segmentation,
};

/// Readers must stay below this, whatever a file declares.
const MAX_BYTES: u64 = 32 << 20;

thread_local! {
    static PLACE: RefCell<Option<PathBuf>> = const { RefCell::new(None) };
}

/// A file of this process in memory.
fn place() -> PathBuf {
    PLACE.with_borrow_mut(|place| {
        let new = || {
            let memory = PathBuf::from("/dev/shm");
            let folder = if memory.is_dir() {
                memory
            } else {
                std::env::temp_dir()
            };
            folder.join(format!("synthfm-fuzz-{}", std::process::id()))
        };
        place.get_or_insert_with(new).clone()
    })
}

/// Reads `data` as everything that it may be. Either outcome is right; a panic, a hang or too much memory is not.
fn read(data: &[u8], segmentation: bool) {
    let path = place();
    if std::fs::write(&path, data).is_err() {
        return;
    }
    let read = ReadOptions {
        max_bytes: MAX_BYTES,
    };
    let options = OpenOptions {
        read,
        ..OpenOptions::default()
    };
    if segmentation {
        let _labels = read_segmentation(&path, &read);
        return;
    }
    // A series of volumes is read by number only.
    if let Err(Error::Unsupported { .. }) = open_scan(&path, &options) {
        let series = Some("1".to_owned());
        let _scan = open_scan(
            &path,
            &OpenOptions {
                series,
                ..options.clone()
            },
        );
    }
    let _labels = read_labels(&path, &read);
    let _series = list_series(&path, &options);
}

/// `data`, if it begins with one of `starts`; otherwise after the first of them, so that most inputs reach the reader.
pub fn read_from(starts: &[&[u8]], data: &[u8]) {
    if starts.iter().any(|start| data.starts_with(start)) {
        read(data, false);
    } else if let Some(start) = starts.first() {
        read(&[start, data].concat(), false);
    }
}

/// `data` after the preamble of a DICOM file, as an image or as a segmentation.
pub fn read_dicom(data: &[u8], segmentation: bool) {
    if data.get(128..132) == Some(b"DICM") {
        read(data, segmentation);
    } else {
        read(
            &[&[0; 128], b"DICM".as_slice(), data].concat(),
            segmentation,
        );
    }
}

/// `data`, a JPEG 2000 code stream, as the only frame of a DICOM file whose rows and columns are those of the stream.
pub fn read_frame(transfer_syntax: &str, data: &[u8]) {
    let short = |number: u16, value: u16| element([0x28, number], *b"US", &value.to_le_bytes());
    let fragment = |bytes: &[u8]| {
        let even = bytes.len() + bytes.len() % 2;
        let mut item = vec![0xfe, 0xff, 0x00, 0xe0];
        item.extend((even as u32).to_le_bytes());
        item.extend(bytes);
        item.resize(8 + even, 0);
        item
    };
    // Width and height follow the markers of the stream and of its sizes, a length and the profile.
    let side = |at: usize| match data.get(at..at + 4) {
        Some(&[0, 0, high, low]) => u16::from_be_bytes([high, low]),
        _ => 64,
    };
    let file = [
        beginning(transfer_syntax),
        short(2, 1),
        element([0x28, 4], *b"CS", b"MONOCHROME2 "),
        short(0x10, side(12)),
        short(0x11, side(8)),
        short(0x100, 16),
        short(0x101, 16),
        short(0x102, 15),
        short(0x103, 0),
        vec![
            0xe0, 0x7f, 0x10, 0, b'O', b'B', 0, 0, 0xff, 0xff, 0xff, 0xff,
        ],
        fragment(&[]),
        fragment(data),
        vec![0xfe, 0xff, 0xdd, 0xe0, 0, 0, 0, 0],
    ];
    read(&file.concat(), false);
}

/// `data` as a data set that is deflated, so that what the target changes is what the reader sees inflated.
pub fn read_deflated(data: &[u8]) {
    let mut packer = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
    let packed = packer.write_all(data).and_then(|()| packer.finish());
    if let Ok(packed) = packed {
        read(
            &[beginning("1.2.840.10008.1.2.1.99"), packed].concat(),
            false,
        );
    }
}

/// Preamble and transfer syntax of a DICOM file.
fn beginning(transfer_syntax: &str) -> Vec<u8> {
    let mut syntax = transfer_syntax.as_bytes().to_vec();
    syntax.resize(syntax.len().next_multiple_of(2), 0);
    let syntax = element([2, 0x10], *b"UI", &syntax);
    let length = element([2, 0], *b"UL", &(syntax.len() as u32).to_le_bytes());
    [vec![0; 128], b"DICM".to_vec(), length, syntax].concat()
}

/// A short element with an explicit value representation.
fn element(tag: [u16; 2], vr: [u8; 2], value: &[u8]) -> Vec<u8> {
    let mut bytes: Vec<u8> = tag.iter().flat_map(|v| v.to_le_bytes()).collect();
    bytes.extend(vr);
    bytes.extend((value.len() as u16).to_le_bytes());
    bytes.extend(value);
    bytes
}
