//! Losses on mask logits: soft Dice (the paper's only loss) and SAM's sigmoid focal loss, with the
//! regression of SAM's IoU head. Formulas as in SAM 2's `training/loss_fns.py`; every value is checked
//! against PyTorch's. Differs: targets may be fractional (area coverage of a cell of the logit grid).

use burn::tensor::{Tensor, activation};
use serde::{Deserialize, Serialize};

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
    let [n, h, w] = logits.dims();
    let p = activation::sigmoid(logits).reshape([n, h * w]);
    let t = target.reshape([n, h * w]);
    let overlap = (p.clone() * t.clone()).sum_dim(1); // [N, 1]
    let total = p.sum_dim(1) + t.sum_dim(1); // [N, 1]
    let dice = (overlap * 2.0 + 1.0) / (total + 1.0);
    (-dice + 1.0).reshape([n])
}

/// Weight of the foreground in [`focal_loss`]; the background has the rest.
const ALPHA: f32 = 0.25;

/// Sigmoid focal loss (Lin et al. 2017), mean over pixels: `α_t · (1 − p_t)^γ · CE`, α = 0.25, γ = 2.
///
/// # Shapes
/// `logits`, `target`: `[N, H, W]` -> `[N]`
pub fn focal_loss(logits: Tensor<3>, target: Tensor<3>) -> Tensor<1> {
    let [n, h, w] = logits.dims();
    let (x, t) = (logits.reshape([n, h * w]), target.reshape([n, h * w]));
    let p = activation::sigmoid(x.clone());
    // Cross entropy from logits: max(x, 0) − x·t + log(1 + e^−|x|)
    let ce = activation::relu(x.clone()) - x.clone() * t.clone() + ((-x.abs()).exp() + 1.0).log();
    let p_t = p.clone() * t.clone() + (-p + 1.0) * (-t.clone() + 1.0);
    let alpha_t = t * (2.0 * ALPHA - 1.0) + (1.0 - ALPHA);
    let miss = -p_t + 1.0;
    (alpha_t * miss.clone() * miss * ce)
        .mean_dim(1)
        .reshape([n])
}

/// Cross entropy with foreground and background at equal weight: Σ t·CE / (2 Σ t) + Σ (1−t)·CE / (2 Σ (1−t)).
///
/// Dice has almost no gradient on an empty mask, and small structures let a model fall there in its
/// first steps; here an uninformed model ends at p = 1/2.
///
/// # Shapes
/// `logits`, `target`: `[N, H, W]` -> `[N]`
pub fn class_balanced_loss(logits: Tensor<3>, target: Tensor<3>) -> Tensor<1> {
    let [n, h, w] = logits.dims();
    let (x, t) = (logits.reshape([n, h * w]), target.reshape([n, h * w]));
    let tail = ((-x.clone().abs()).exp() + 1.0).log(); // log(1 + e^−|x|)
    let ce_foreground = activation::relu(-x.clone()) + tail.clone();
    let ce_background = activation::relu(x) + tail;
    let outside = -t.clone() + 1.0;
    let mean = |ce: Tensor<2>, weight: Tensor<2>| {
        (ce * weight.clone()).sum_dim(1) / weight.sum_dim(1).clamp_min(1.0)
    };
    ((mean(ce_foreground, t) + mean(ce_background, outside)) * 0.5).reshape([n])
}

/// Squared error of the predicted `IoU` against the `IoU` of the thresholded mask (no gradient through it).
///
/// # Shapes
/// `iou`: `[N]`, `logits`, `target`: `[N, H, W]` -> `[N]`
pub fn iou_loss(iou: Tensor<1>, logits: Tensor<3>, target: Tensor<3>) -> Tensor<1> {
    let [n, h, w] = logits.dims();
    let p = logits
        .detach()
        .greater_scalar(0.0)
        .float()
        .reshape([n, h * w]);
    let t = target.greater_scalar(0.5).float().reshape([n, h * w]);
    let overlap = (p.clone() * t.clone()).sum_dim(1);
    let union = p.sum_dim(1) + t.sum_dim(1) - overlap.clone();
    let truth = (overlap / union.clamp_min(1.0)).reshape([n]);
    (iou - truth).square()
}

/// Weighted sum of the terms that judge the mask, per object.
///
/// # Shapes
/// `logits`, `target`: `[N, H, W]` -> `[N]`
pub(crate) fn mask_loss(config: LossConfig, logits: Tensor<3>, target: Tensor<3>) -> Tensor<1> {
    let mut total = dice_loss(logits.clone(), target.clone()) * config.dice;
    if config.focal > 0.0 {
        total = total + focal_loss(logits.clone(), target.clone()) * config.focal;
    }
    if config.balanced > 0.0 {
        total = total + class_balanced_loss(logits, target) * config.balanced;
    }
    total
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
    let total = mask_loss(config, logits.clone(), target.clone());
    if config.iou > 0.0 {
        total + iou_loss(iou, logits, target) * config.iou
    } else {
        total
    }
}
