//! `MetaImage` out (`.mha`): header and zlib-compressed values in one file, in ITK's LPS coordinates.
//!
//! The format knows directions at right angles only; a sheared volume is refused rather than bent.

use flate2::Compression;
use flate2::write::ZlibEncoder;

use super::{compressed, label_bytes};
use crate::{Error, LabelVolume, Result};

/// Cosine between two axes that rounding explains.
const RIGHT_ANGLE: f64 = 1e-4;

pub(super) fn encode(labels: &LabelVolume) -> Result<Vec<u8>> {
    let geometry = labels.geometry();
    let (affine, spacing) = (geometry.patient_from_voxel(), geometry.spacing_mm());
    let direction = |axis: usize| affine.map(|row| row[axis] / spacing[axis]);
    let axes = [direction(0), direction(1), direction(2)];
    for (a, b) in [(0, 1), (0, 2), (1, 2)] {
        let cosine: f64 = axes[a].iter().zip(axes[b]).map(|(a, b)| a * b).sum();
        if cosine.abs() > RIGHT_ANGLE {
            return Err(Error::Parameter(
                "MetaImage cannot hold a sheared volume (a tilted gantry); use .nii.gz or .seg.nrrd".to_owned(),
            ));
        }
    }
    let (narrow, values) = label_bytes(labels.data());
    let encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    let values = compressed(encoder, &values, ZlibEncoder::finish);
    let numbers = |values: &[f64]| {
        let words: Vec<String> = values.iter().map(|v| format!("{v}")).collect();
        words.join(" ")
    };
    let [ni, nj, nk] = geometry.shape();
    let header = format!(
        "ObjectType = Image\n\
         NDims = 3\n\
         BinaryData = True\n\
         BinaryDataByteOrderMSB = False\n\
         CompressedData = True\n\
         CompressedDataSize = {}\n\
         TransformMatrix = {}\n\
         Offset = {}\n\
         CenterOfRotation = 0 0 0\n\
         AnatomicalOrientation = RAI\n\
         ElementSpacing = {}\n\
         DimSize = {ni} {nj} {nk}\n\
         ElementType = {}\n\
         ElementDataFile = LOCAL\n",
        values.len(),
        numbers(axes.as_flattened()),
        numbers(&affine.map(|row| row[3])),
        numbers(&spacing),
        if narrow { "MET_UCHAR" } else { "MET_USHORT" },
    );
    Ok([header.into_bytes(), values].concat())
}
