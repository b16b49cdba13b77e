//! The scores of one prediction, in the unit that its image allows.

use serde::{Deserialize, Serialize};
use synthfm_image::{Mask, MaskPair, MaskStack};

use super::Options;
use crate::{Error, Result};

/// How well a mask agrees with the truth. An empty prediction has Dice, `IoU` and NSD 0 and the image's diagonal
/// as both its distances.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// Dice similarity coefficient, 0 to 1.
    pub dice: f64,
    /// Intersection over union, 0 to 1.
    pub iou: f64,
    /// 95 % Hausdorff distance, in millimetres or pixels (see [`super::Row::unit`]).
    pub hd95: f64,
    /// Average symmetric surface distance, in the same unit.
    pub assd: f64,
    /// Normalised surface Dice at the tolerance of the options, 0 to 1.
    pub nsd: f64,
    /// Pixels of the prediction.
    pub predicted_px: usize,
    /// Length of the prediction's contour over that of the truth's.
    pub contour_ratio: f64,
}

/// How distances are measured.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ruler {
    spacing: [f64; 2],
    tolerance: f64,
}

impl Ruler {
    /// Millimetres where the spacing is known, otherwise pixels.
    pub(super) fn new(spacing_mm: Option<[f64; 2]>, options: &Options) -> Self {
        match spacing_mm {
            Some(spacing) => Self {
                spacing,
                tolerance: options.nsd_tolerance_mm,
            },
            None => Self {
                spacing: [1.0, 1.0],
                tolerance: options.nsd_tolerance_px,
            },
        }
    }
}

/// Compares a prediction with a truth that is not empty.
pub(super) fn score(prediction: &Mask, truth: &Mask, ruler: Ruler) -> Result<Scores> {
    let pair = MaskPair::new(prediction, truth, ruler.spacing)?;
    scores_of(&pair, prediction.area(), ruler.tolerance)
}

/// Compares a structure of a volume with a truth that is not empty, in millimetres.
pub(super) fn score_stacks(
    prediction: &MaskStack,
    truth: &MaskStack,
    tolerance_mm: f64,
) -> Result<Scores> {
    let pair = MaskPair::of_stacks(prediction, truth)?;
    scores_of(&pair, prediction.voxels(), tolerance_mm)
}

fn scores_of(pair: &MaskPair, predicted_px: usize, tolerance: f64) -> Result<Scores> {
    let empty = || Error::Parameter("prediction and truth are both empty".to_owned());
    let scores = pair.scores(tolerance).ok_or_else(empty)?;
    Ok(Scores {
        dice: scores.dice,
        iou: scores.iou,
        hd95: scores.hd95_mm,
        assd: scores.assd_mm,
        nsd: scores.nsd,
        predicted_px,
        contour_ratio: pair.contour_ratio().unwrap_or(0.0),
    })
}
