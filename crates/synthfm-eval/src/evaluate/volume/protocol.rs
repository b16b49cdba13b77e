//! Which slices of a structure get prompts, and where a correction lies.

use serde::{Deserialize, Serialize};
use synthfm_image::MaskStack;

use crate::clicks::{Click, centre_correction};
use crate::{Error, Result};

/// Most corrections of one structure.
const MAX_CORRECTIONS: usize = 100;

/// How structures of volumes are asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeProtocol {
    /// Slices with prompts: 1, that of the largest area, or 3, also those halfway between it and both ends.
    pub prompted_slices: usize,
    /// Numbers of corrections after which the answer is scored, in ascending order; 0, before any, is always scored.
    pub corrections: Vec<usize>,
    /// Structures on fewer slices are left out and counted.
    pub min_slices: usize,
}

impl Default for VolumeProtocol {
    /// One slice, three and five corrections, at least eight slices.
    fn default() -> Self {
        Self {
            prompted_slices: 1,
            corrections: vec![3, 5],
            min_slices: 8,
        }
    }
}

impl VolumeProtocol {
    /// Fails with the name of the option that makes no sense.
    pub(in crate::evaluate) fn validate(&self) -> Result<()> {
        if ![1, 3].contains(&self.prompted_slices) {
            let text = format!(
                "prompted-slices: 1 or 3 expected, got {}",
                self.prompted_slices
            );
            return Err(Error::Parameter(text));
        }
        if let Some(bad) = self.corrections.iter().find(|&&n| n > MAX_CORRECTIONS) {
            let text = format!("corrections: numbers up to {MAX_CORRECTIONS} expected, got {bad}");
            return Err(Error::Parameter(text));
        }
        Ok(())
    }

    /// 0 and the numbers of corrections, each once, in ascending order.
    pub(in crate::evaluate) fn steps(&self) -> Vec<usize> {
        let mut steps = self.corrections.clone();
        steps.push(0);
        steps.sort_unstable();
        steps.dedup();
        steps
    }

    /// The slices that get prompts, each with some of the structure on it, the largest first; none for an empty structure.
    pub(super) fn prompted(&self, truth: &MaskStack) -> Vec<usize> {
        let (Some(largest), Some(extent)) = (truth.largest_slice(), truth.extent()) else {
            return Vec::new();
        };
        let mut slices = vec![largest];
        if self.prompted_slices > 1 {
            let ends = [*extent.start(), *extent.end()];
            slices.extend(ends.map(|end| usize::midpoint(largest, end)));
        }
        let mut taken = Vec::new();
        slices.retain(|&slice| {
            let is_new = !taken.contains(&slice) && truth.slices()[slice].area() > 0;
            taken.push(slice);
            is_new
        });
        slices
    }
}

/// The slice with the most wrong pixels, the first of equals; `None` where nothing is wrong.
pub(super) fn worst_slice(answer: &MaskStack, truth: &MaskStack) -> Option<usize> {
    let pairs = answer.slices().iter().zip(truth.slices());
    let wrong = pairs.map(|(answer, truth)| {
        let pixels = answer.data().iter().zip(truth.data());
        pixels.filter(|(answer, truth)| answer != truth).count()
    });
    let wrong: Vec<usize> = wrong.collect();
    let numbered = wrong.into_iter().enumerate().rev();
    let (slice, wrong) = numbered.max_by_key(|&(_, count)| count)?;
    (wrong > 0).then_some(slice)
}

/// The next correction: on the worst slice, where a user of two dimensions would click. `earlier` are all clicks so far.
pub(super) fn correction(
    answer: &MaskStack,
    truth: &MaskStack,
    earlier: &[(usize, Click)],
) -> Result<Option<(usize, Click)>> {
    let Some(slice) = worst_slice(answer, truth) else {
        return Ok(None);
    };
    let here = earlier.iter().filter(|&&(at, _)| at == slice);
    let here: Vec<Click> = here.map(|&(_, click)| click).collect();
    let click = centre_correction(&truth.slices()[slice], &answer.slices()[slice], &here)?;
    Ok(click.map(|click| (slice, click)))
}
