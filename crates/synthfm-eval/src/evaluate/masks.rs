//! Saved masks, so that other programs can score them again.
//! `masks/DATASET/CASE[_sN]_STRUCTURE_COMPONENT.MODEL.PROMPT.png` and `.truth.png` beside it, 0 and 255; of volumes
//! `.nii.gz`, 0 and 1.

use std::fmt::Write as _;
use std::path::Path;

use synthfm_image::{
    LabelFile, LabelVolume, Mask, MaskStack, ScanInfo, Segment, Segmentation, VolumeGeometry,
    WriteOptions, write_mask_png, write_segmentation,
};

use super::{Row, SavedMasks};
use crate::dataset::ShownVolume;
use crate::{Error, Result};

/// Writes the prediction of `row`, and the truth if it is not there yet; returns their names relative to `folder`.
pub(super) fn save(
    folder: &Path,
    row: &Row,
    prediction: &Mask,
    truth: &Mask,
) -> Result<SavedMasks> {
    let saved = names(folder, row, "png")?;
    write_mask_png(&folder.join(&saved.prediction), prediction)?;
    write_mask_png(&folder.join(&saved.truth), truth)?;
    Ok(saved)
}

/// Writes the prediction and the truth of a volume of that grid, likewise.
pub(super) fn save_stacks(
    folder: &Path,
    row: &Row,
    [prediction, truth]: [&MaskStack; 2],
    (geometry, info): (&VolumeGeometry, &ScanInfo),
) -> Result<SavedMasks> {
    let saved = names(folder, row, "nii.gz")?;
    for (name, stack) in [(&saved.prediction, prediction), (&saved.truth, truth)] {
        let mut labels = LabelVolume::zeros(geometry.clone());
        for (index, mask) in stack.slices().iter().enumerate() {
            labels.insert_slice(ShownVolume::PLANE, index, mask, 1)?;
        }
        let segmentation = Segmentation {
            labels: LabelFile::Volume(labels),
            segments: vec![Segment::new(1, &row.structure)],
        };
        let options = WriteOptions::default();
        write_segmentation(&folder.join(name), &segmentation, info, &options)?;
    }
    Ok(saved)
}

/// The files of a row, in a folder that is made.
fn names(folder: &Path, row: &Row, kind: &str) -> Result<SavedMasks> {
    let dataset = encoded(&row.dataset);
    let slice = row
        .slice
        .map_or_else(String::new, |slice| format!("_s{slice}"));
    let target = format!(
        "masks/{dataset}/{}{slice}_{}_{}",
        encoded(&row.case),
        encoded(&row.structure),
        row.component
    );
    let prompt = row.prompt.to_string().replace(' ', "_");
    let saved = SavedMasks {
        prediction: format!(
            "{target}.{}.{}.{kind}",
            encoded(&row.model),
            encoded(&prompt)
        ),
        truth: format!("{target}.truth.{kind}"),
    };
    let inner = folder.join("masks").join(&dataset);
    std::fs::create_dir_all(&inner).map_err(|source| Error::Io {
        path: inner.clone(),
        source,
    })?;
    Ok(saved)
}

/// A name as part of a file's name: what is not a letter, a digit, `-`, `_` or `,` is written as `%` and its bytes in
/// hexadecimal, so that no two names become one and none leaves the folder.
fn encoded(name: &str) -> String {
    let mut text = String::new();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_,".contains(&byte) {
            text.push(char::from(byte));
        } else {
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_apart_and_inside() {
        assert_eq!(encoded("a-b_1,2"), "a-b_1,2");
        assert_eq!(encoded("../x y"), "%2E%2E%2Fx%20y");
        assert_ne!(encoded("a/b"), encoded("a%2Fb"));
    }
}
