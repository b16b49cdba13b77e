//! Archives of NumPy arrays in (`.npz`).
//!
//! A file of several arrays gives the one with a usual name, such as `image` and `labels` of this program or `imgs` and
//! `gts` of `MedSAM`.

use std::io::Cursor;

use zip::{CompressionMethod, ZipArchive};

use super::npy::ArrayBytes;
use super::payload::{Packing, Stream};
use super::source::Source;
use super::{ImageFile, LabelFile, npy};
use crate::Result;

/// Names of arrays of intensities, the most usual first.
const IMAGES: [&str; 7] = ["image", "img", "imgs", "images", "data", "volume", "arr_0"];
const LABELS: [&str; 9] = [
    "labels", "label", "mask", "masks", "gts", "gt", "seg", "segs", "arr_0",
];

pub(super) fn read_image(source: &Source) -> Result<ImageFile> {
    with_member(source, &IMAGES, |bytes| npy::read_image(source, bytes))
}

pub(super) fn read_labels(source: &Source) -> Result<LabelFile> {
    with_member(source, &LABELS, |bytes| npy::read_labels(source, bytes))
}

/// Hands one array to `read`, decompressed piece by piece; its checksum is compared at its end.
fn with_member<T>(
    source: &Source,
    usual: &[&str],
    read: impl FnOnce(ArrayBytes) -> Result<T>,
) -> Result<T> {
    let bad = |error: &dyn std::fmt::Display| source.format_error(format!("damaged NPZ: {error}"));
    let mut archive = ZipArchive::new(Cursor::new(source.bytes())).map_err(|e| bad(&e))?;
    let name = array_name(source, &archive, usual)?;
    let member = archive
        .by_name(&format!("{name}.npy"))
        .map_err(|e| bad(&e))?;
    let packing = match member.compression() {
        CompressionMethod::Stored => Packing::Raw,
        _ => Packing::Zlib,
    };
    source.check_bytes(Some(member.size()))?;
    read(ArrayBytes {
        length: member.size(),
        stored: member.compressed_size(),
        packing,
        stream: Stream::Packed(Box::new(member)),
    })
}

/// The array with a usual name, or the only one.
fn array_name(
    source: &Source,
    archive: &ZipArchive<Cursor<&[u8]>>,
    usual: &[&str],
) -> Result<String> {
    let arrays: Vec<String> = archive
        .file_names()
        .filter_map(std::result::Result::ok)
        .filter_map(|name| name.strip_suffix(".npy").map(str::to_owned))
        .collect();
    let known = usual
        .iter()
        .find(|name| arrays.iter().any(|array| array == *name));
    match (known, &arrays[..]) {
        (Some(name), _) => Ok((*name).to_owned()),
        (None, [only]) => Ok(only.clone()),
        (None, []) => {
            let problem = "a ZIP archive without NumPy arrays; unpack it and name what is in it";
            Err(source.unsupported(problem))
        }
        (None, several) => Err(source.unsupported(format!(
            "an archive of the arrays {}; one of them must be called {}",
            several.join(", "),
            usual[0]
        ))),
    }
}
