//! Losses on mask logits: soft Dice (the paper's only loss) and SAM's sigmoid focal loss, with the
//! regression of SAM's IoU head. Formulas as in SAM 2's `training/loss_fns.py`; every value is checked
//! against PyTorch's. Differs: targets may be fractional (area coverage of a cell of the logit grid).

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};
use synthfm_sam::ops::{self, MaskLossWeights};

use crate::{Error, Result};

/// Weights of the loss terms. Default: Dice alone, as in SynthFM.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LossConfig {
    /// Weight of [`dice_loss`].
    pub dice: f32,
    /// Weight of [`focal_loss`] (SAM: 20 beside a Dice weight of 1).
    pub focal: f32,
    /// Weight of [`class_balanced_loss`], which keeps a model that starts from nothing off the empty mask.
    pub balanced: f32,
    /// Weight of [`iou_loss`] (SAM: 1). 0 leaves the IoU head untrained, as in SynthFM.
    pub iou: f32,
    /// Whether a single click gets several masks, of which the best is trained (SAM: yes). The paper does not say;
    /// it needs `iou` above 0, since the masks are told apart by their estimated IoU.
    pub multimask: bool,
}

impl Default for LossConfig {
    fn default() -> Self {
        Self {
            dice: 1.0,
            focal: 0.0,
            balanced: 0.0,
            iou: 0.0,
            multimask: false,
        }
    }
}

impl LossConfig {
    /// Checks the ranges.
    pub fn validate(&self) -> Result<()> {
        let Self {
            dice,
            focal,
            balanced,
            iou,
            multimask,
        } = *self;
        let weights = [dice, focal, balanced, iou];
        if weights.iter().any(|w| !(w.is_finite() && *w >= 0.0)) || dice + focal + balanced <= 0.0 {
            let problem = format!(
                "loss: weights {weights:?} must be at least 0, and one of the first three above 0"
            );
            return Err(Error::Parameter(problem));
        }
        if multimask && iou == 0.0 {
            let problem = "loss.multimask: needs loss.iou above 0, by which the masks of a click are told apart";
            return Err(Error::Parameter(problem.to_owned()));
        }
        Ok(())
    }
}

/// Soft Dice loss: 1 − (2 Σ p·t + 1) / (Σ p + Σ t + 1), p = σ(logits).
/// V-Net (Milletari et al. 2016) squares the terms of the denominator; we, like SAM, do not.
///
/// # Shapes
/// `logits`, `target`: `[N, H, W]` -> `[N]`
pub fn dice_loss(logits: Tensor<3>, target: Tensor<3>) -> Tensor<1> {
    let weights = MaskLossWeights { dice: 1.0, ..NONE };
    column(&scores(weights, logits, target), 0)
}

/// Sigmoid focal loss (Lin et al. 2017), mean over pixels: `α_t · (1 − p_t)^γ · CE`, α = 0.25, γ = 2.
///
/// # Shapes
/// `logits`, `target`: `[N, H, W]` -> `[N]`
pub fn focal_loss(logits: Tensor<3>, target: Tensor<3>) -> Tensor<1> {
    let weights = MaskLossWeights { focal: 1.0, ..NONE };
    column(&scores(weights, logits, target), 0)
}

/// Cross entropy with foreground and background at equal weight: Σ t·CE / (2 Σ t) + Σ (1−t)·CE / (2 Σ (1−t)).
///
/// Dice has almost no gradient on an empty mask, and small structures let a model fall there in its
/// first steps; here an uninformed model ends at p = 1/2.
///
/// # Shapes
/// `logits`, `target`: `[N, H, W]` -> `[N]`
pub fn class_balanced_loss(logits: Tensor<3>, target: Tensor<3>) -> Tensor<1> {
    let weights = MaskLossWeights {
        balanced: 1.0,
        ..NONE
    };
    column(&scores(weights, logits, target), 0)
}

/// Squared error of the predicted `IoU` against the `IoU` of the thresholded mask (no gradient through it).
///
/// # Shapes
/// `iou`: `[N]`, `logits`, `target`: `[N, H, W]` -> `[N]`
pub fn iou_loss(iou: Tensor<1>, logits: Tensor<3>, target: Tensor<3>) -> Tensor<1> {
    iou_error(iou, &scores(NONE, logits.detach(), target))
}

/// Mean Dice of `logits > 0` against `target > 1/2`, 0 to 1, of tensors that record no gradients.
///
/// # Shapes
/// `[N, H, W]` both
pub(crate) fn hard_dice(logits: Tensor<3>, target: Tensor<3>) -> f32 {
    let scores = scores(NONE, logits, target);
    let [answer, marked, both] = [1, 2, 3].map(|i| column(&scores, i));
    (both * 2.0 / (answer + marked).clamp_min(1.0))
        .mean()
        .into_scalar()
}

/// Weights of no loss.
const NONE: MaskLossWeights = MaskLossWeights {
    dice: 0.0,
    focal: 0.0,
    balanced: 0.0,
};

/// See [`ops::mask_scores`].
///
/// # Shapes
/// `logits`, `target`: `[N, H, W]` -> `[N, 4]`
fn scores(weights: MaskLossWeights, logits: Tensor<3>, target: Tensor<3>) -> Tensor<2> {
    let [n, h, w] = logits.dims();
    let [logits, target] = [logits, target].map(|maps| maps.reshape([n, h * w]));
    ops::mask_scores(logits, target, weights)
}

/// `[N, 4]` -> `[N]`
fn column(scores: &Tensor<2>, i: usize) -> Tensor<1> {
    scores.clone().narrow(1, i, 1).squeeze_dim(1)
}

/// Squared error of the predicted `IoU`, `[N]`, against that of the scores' counts.
fn iou_error(iou: Tensor<1>, scores: &Tensor<2>) -> Tensor<1> {
    let counts = scores.clone().detach();
    let [answer, marked, both] = [1, 2, 3].map(|i| column(&counts, i));
    let union = answer + marked - both.clone();
    (iou - both / union.clamp_min(1.0)).square()
}

/// The weights of the terms that judge the mask.
const fn mask_weights(config: LossConfig) -> MaskLossWeights {
    let LossConfig {
        dice,
        focal,
        balanced,
        ..
    } = config;
    MaskLossWeights {
        dice,
        focal,
        balanced,
    }
}

/// Weighted sum of the terms that judge the mask, per object.
///
/// # Shapes
/// `logits`, `target`: `[N, H, W]` -> `[N]`
pub(crate) fn mask_loss(config: LossConfig, logits: Tensor<3>, target: Tensor<3>) -> Tensor<1> {
    column(&scores(mask_weights(config), logits, target), 0)
}

/// Weighted sum of all terms, per object.
///
/// # Shapes
/// `logits`, `target`: `[N, H, W]`, `iou`: `[N]` -> `[N]`
pub fn total_loss(
    config: LossConfig,
    logits: Tensor<3>,
    target: Tensor<3>,
    iou: Tensor<1>,
) -> Tensor<1> {
    let scores = scores(mask_weights(config), logits, target);
    let total = column(&scores, 0);
    if config.iou > 0.0 {
        total + iou_error(iou, &scores) * config.iou
    } else {
        total
    }
}
