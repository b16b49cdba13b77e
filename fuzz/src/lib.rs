//! What the fuzz targets share: bytes become a file, which is read as an image and as labels.

use std::cell::RefCell;
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
            let folder = if memory.is_dir() { memory } else { std::env::temp_dir() };
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
    let read = ReadOptions { max_bytes: MAX_BYTES };
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
        let _scan = open_scan(&path, &OpenOptions { series, ..options.clone() });
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
        read(&[&[0; 128], b"DICM".as_slice(), data].concat(), segmentation);
    }
}
