//! Archives of NumPy arrays in (`.npz`).
//!
//! Of several arrays the one with a usual name is taken, such as `image` and `labels` of this program or `imgs` and
//! `gts` of `MedSAM`.

use std::io::{Cursor, Read};

use zip::ZipArchive;

use super::source::Source;
use super::{ImageFile, LabelFile, npy};
use crate::Result;

/// Names of arrays of intensities, the most usual first.
const IMAGES: [&str; 7] = ["image", "img", "imgs", "images", "data", "volume", "arr_0"];
const LABELS: [&str; 9] = [
    "labels", "label", "mask", "masks", "gts", "gt", "seg", "segs", "arr_0",
];

pub(super) fn read_image(source: &Source) -> Result<ImageFile> {
    npy::read_image(&member(source, &IMAGES)?)
}

pub(super) fn read_labels(source: &Source) -> Result<LabelFile> {
    npy::read_labels(&member(source, &LABELS)?)
}

/// The bytes of one array.
fn member<'a>(source: &'a Source, usual: &[&str]) -> Result<Source<'a>> {
    let bad = |error: &dyn std::fmt::Display| source.format_error(format!("damaged NPZ: {error}"));
    let mut archive = ZipArchive::new(Cursor::new(source.bytes())).map_err(|e| bad(&e))?;
    let arrays: Vec<String> = archive
        .file_names()
        .filter_map(Result::ok)
        .filter_map(|name| name.strip_suffix(".npy").map(str::to_owned))
        .collect();
    let known = usual
        .iter()
        .find(|name| arrays.iter().any(|array| array == *name));
    let name = match (known, &arrays[..]) {
        (Some(name), _) => (*name).to_owned(),
        (None, [only]) => only.clone(),
        (None, []) => return Err(source.format_error("an archive without NumPy arrays")),
        (None, several) => {
            return Err(source.unsupported(format!(
                "an archive of the arrays {}; one of them must be called {}",
                several.join(", "),
                usual[0]
            )));
        }
    };
    let member = archive
        .by_name(&format!("{name}.npy"))
        .map_err(|e| bad(&e))?;
    source.check_bytes(Some(member.size()))?;
    let mut bytes = Vec::new();
    member
        .take(source.limit().saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(|e| bad(&e))?;
    source.check_bytes(Some(bytes.len() as u64))?;
    Ok(source.with_bytes(bytes))
}
