//! Masks as pictures: PNG, and TIFF with a page per slice.

use std::io::Cursor;

use tiff::encoder::colortype::{Gray8, Gray16};
use tiff::encoder::compression::DeflateLevel;
use tiff::encoder::{Compression, TiffEncoder};

use super::super::png_write::{GreyDepth, encode_label_png, encode_mask_png};
use super::{is_mask, label_bytes};
use crate::{Error, LabelFile, LabelMap, Mask, Result, Segment};

pub(super) fn png(map: &LabelMap, segments: &[Segment]) -> Result<Vec<u8>> {
    if is_mask(segments) {
        let mask = Mask::new(map.size(), map.data().iter().map(|&v| v != 0).collect())?;
        return encode_mask_png(&mask);
    }
    encode_label_png(map, GreyDepth::of_labels(map))
}

/// Pages along the last axis of a volume, in the order of its array.
pub(super) fn tiff(labels: &LabelFile, segments: &[Segment]) -> Result<Vec<u8>> {
    let (width, height, data) = match labels {
        LabelFile::Map(map) => (map.size().width, map.size().height, map.data()),
        LabelFile::Volume(volume) => {
            let [width, height, _] = volume.geometry().shape();
            (width, height, volume.data())
        }
    };
    let impossible = |error: &dyn std::fmt::Display| {
        Error::Parameter(format!(
            "a TIFF cannot hold pages of {width} x {height} pixels: {error}"
        ))
    };
    let side = |n: usize| u32::try_from(n).map_err(|error| impossible(&error));
    let (columns, rows) = (side(width)?, side(height)?);
    if columns == 0 || rows == 0 {
        return Err(impossible(&"there are none"));
    }
    let (narrow, bytes) = label_bytes(data);
    let mask = is_mask(segments);
    let mut cursor = Cursor::new(Vec::new());
    let bad = |error: tiff::TiffError| impossible(&error);
    let mut encoder = TiffEncoder::new(&mut cursor)
        .map_err(bad)?
        .with_compression(Compression::Deflate(DeflateLevel::Balanced));
    let pixels = width * height;
    if narrow {
        for page in bytes.chunks_exact(pixels) {
            let page: Vec<u8> = page
                .iter()
                .map(|&v| if mask && v != 0 { 255 } else { v })
                .collect();
            encoder
                .write_image::<Gray8>(columns, rows, &page)
                .map_err(bad)?;
        }
    } else {
        for page in data.chunks_exact(pixels) {
            encoder
                .write_image::<Gray16>(columns, rows, page)
                .map_err(bad)?;
        }
    }
    Ok(cursor.into_inner())
}
