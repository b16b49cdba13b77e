//! SAM 2's choice of one mask (`MaskDecoder._dynamic_multimask_via_stability` of `sam2/modeling/sam/mask_decoder.py`): the
//! single mask, unless small changes of the threshold change it much; then the best of the alternatives.

use super::LowResMask;

/// Distance of the two thresholds from 0, in logits.
const DELTA: f32 = 0.05;
/// Smallest share of the larger mask in which both must agree.
const STABLE: f32 = 0.98;

/// One mask of the single one and the alternatives that follow it.
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
