//! What SAM 2's predictor does to masks that SAM's does not: the choice of one
//! (`MaskDecoder._dynamic_multimask_via_stability` of `sam2/modeling/sam/mask_decoder.py`), and bounds of the logits that
//! may be given back (`SAM2ImagePredictor._predict`).

use super::LowResMask;

/// Distance of the two thresholds from 0, in logits.
const DELTA: f32 = 0.05;
/// Smallest share of the larger mask in which both must agree.
const STABLE: f32 = 0.98;

/// Logits that may be given back as a mask prompt lie within this of 0.
const LARGEST_LOGIT: f32 = 32.0;

/// Bounds low-resolution logits, after the masks on the image's grid were made of them.
pub(super) fn bound(logits: &mut [f32]) {
    for logit in logits {
        *logit = logit.clamp(-LARGEST_LOGIT, LARGEST_LOGIT);
    }
}

/// One mask of the single one and the alternatives that follow it: the single mask, unless small changes of the threshold
/// change it much; then the best of the alternatives.
pub(super) fn stable(masks: Vec<LowResMask>) -> Vec<LowResMask> {
    let mut masks = masks.into_iter();
    let Some(single) = masks.next() else {
        return Vec::new();
    };
    if stability(&single.logits) >= STABLE {
        return vec![single];
    }
    // The first of equals, as PyTorch's `argmax`.
    let best = masks.reduce(|best, next| if next.iou > best.iou { next } else { best });
    vec![best.unwrap_or(single)]
}

/// Cells above `DELTA` as a share of those above `-DELTA`; 1 where there is none.
fn stability(logits: &[f32]) -> f32 {
    let above = |threshold: f32| logits.iter().filter(|&&logit| logit > threshold).count() as f32;
    let (inner, outer) = (above(DELTA), above(-DELTA));
    if outer > 0.0 { inner / outer } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(logits: &[f32], iou: f32) -> LowResMask {
        let logits = logits.to_vec();
        LowResMask { logits, iou }
    }

    #[test]
    fn unstable_masks_give_way_to_the_best_alternative() {
        // 1 of 2 cells keeps its side: 0.5.
        let unstable = mask(&[1.0, 0.01, -1.0], 0.9);
        let (low, high) = (mask(&[2.0; 3], 0.3), mask(&[3.0; 3], 0.6));
        let same = mask(&[4.0; 3], 0.6);
        let got = stable(vec![unstable.clone(), low.clone(), high.clone(), same]);
        assert_eq!(got, std::slice::from_ref(&high));
        let stable_one = mask(&[1.0, 0.06, -0.06], 0.1);
        assert_eq!(stable(vec![stable_one.clone(), low, high]), [stable_one]);
        // Nothing to choose from.
        assert_eq!(stable(vec![unstable.clone()]), [unstable]);
        let empty = mask(&[-1.0; 3], 0.2);
        assert_eq!(stable(vec![empty.clone(), mask(&[1.0; 3], 0.9)]), [empty]);
    }
}
