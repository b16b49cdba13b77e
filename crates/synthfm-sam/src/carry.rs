//! One structure through the slices of a volume: from the slices that have prompts to those that have none.
//!
//! Each slice is prompted with what the one before it gave: its mask, the box that it fills and a click at its deepest
//! pixel. A run ends where the structure seems to end, at a slice that has prompts of its own, or where it is asked to.
//! Between two prompted slices both runs come, and the nearer one is taken. References: the propagation of `SAM 2`
//! (Ravi et al. 2024) without its memory, and of `MedSAM`'s 3-D use (Ma et al. 2024), which passes a box on.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::{ControlFlow, Range};

use synthfm_image::{Mask, Point2, RgbImage, deepest_pixel};

use crate::error::Result;
use crate::mask_decoder::MaskOutput;
use crate::predictor::{Predictor, Prompts};

/// When a structure is carried on, and when it is taken to have ended.
#[derive(Debug, Clone, PartialEq)]
pub struct CarryPolicy {
    /// A mask below this share of the one before it, or above its inverse, belongs to another structure.
    pub least_share: f64,
    /// So does one that agrees with the one before it less than this (Dice, 0 to 1).
    pub least_agreement: f64,
    /// Masks of fewer pixels are not carried on.
    pub least_area_px: usize,
}

impl Default for CarryPolicy {
    /// A third, a half, 12 pixels.
    fn default() -> Self {
        Self {
            least_share: 0.35,
            least_agreement: 0.5,
            least_area_px: 12,
        }
    }
}

/// What is known about a slice.
#[derive(Debug, Clone, PartialEq)]
pub struct SliceAnswer {
    /// The structure on the slice.
    pub mask: Mask,
    /// The model's own estimate of the mask's `IoU`.
    pub iou: f32,
    /// The prompted slice that the mask was carried from; the slice itself where it has prompts.
    pub from: usize,
}

/// Why a mask does not continue the one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CarryEnd {
    /// Next to nothing is found.
    Vanished,
    /// The number of pixels would change at once: before, and now.
    Size([usize; 2]),
    /// The mask would lie elsewhere.
    Jumped,
}

impl fmt::Display for CarryEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Vanished => f.write_str("the structure ends here"),
            Self::Size([before, now]) => {
                write!(f, "the mask would change from {before} to {now} pixels")
            }
            Self::Jumped => f.write_str("the mask would jump to another place"),
        }
    }
}

/// Why a run of slices ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunEnd {
    /// The prompted slice that it began at.
    pub from: usize,
    /// The first slice without a mask.
    pub slice: usize,
    /// What is wrong with the mask there.
    pub reason: CarryEnd,
}

/// The slices of one structure.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Carried {
    /// Answers by slice.
    pub slices: BTreeMap<usize, SliceAnswer>,
    /// Where runs ended before the last slice.
    pub ends: Vec<RunEnd>,
    /// Whether `tell` stopped the work.
    pub stopped: bool,
}

impl CarryPolicy {
    /// What the slice after a mask is prompted with; `None` for a mask that is too small.
    pub fn prompts_after(&self, before: &Mask) -> Option<Prompts> {
        if before.area() < self.least_area_px {
            return None;
        }
        let (row, col) = deepest_pixel(before)?;
        Some(Prompts {
            points: vec![(Point2::from_row_col(row, col), true)],
            // Without a margin: masks tend to fill their box, and would grow from slice to slice.
            box_: before.bounding_box(),
            mask_input: None,
            earlier: Some(before.clone()),
        })
    }

    /// Why a mask does not continue the one before it; `None` if it does.
    pub fn ends(&self, before: &Mask, mask: &Mask) -> Option<CarryEnd> {
        let (a, b) = (before.area(), mask.area());
        if b < self.least_area_px {
            return Some(CarryEnd::Vanished);
        }
        let share = b as f64 / a as f64;
        if !(self.least_share..=1.0 / self.least_share).contains(&share) {
            return Some(CarryEnd::Size([a, b]));
        }
        let both = before.data().iter().zip(mask.data());
        let common = both.filter(|&(&a, &b)| a && b).count();
        let agreement = 2.0 * common as f64 / (a + b) as f64;
        (agreement < self.least_agreement).then_some(CarryEnd::Jumped)
    }
}

impl Predictor {
    /// Carries the structure that prompts on some slices mean through the slices of `range`. `picture` gives the slice of a
    /// number as the model sees it, all of one size; `tell` hears of every answer in the order in which they are found,
    /// the prompted slices first, and may stop the work. A prompted slice with negative clicks alone has none of the
    /// structure, and ends the runs that come to it.
    ///
    /// # Errors
    /// Where a slice cannot be had, or prompts are bad.
    pub fn carry(
        &mut self,
        prompted: &BTreeMap<usize, Prompts>,
        range: Range<usize>,
        policy: &CarryPolicy,
        mut picture: impl FnMut(usize) -> Result<RgbImage>,
        mut tell: impl FnMut(usize, &SliceAnswer) -> ControlFlow<()>,
    ) -> Result<Carried> {
        let mut carried = Carried::default();
        for (&slice, prompts) in prompted {
            let picture = picture(slice)?;
            let answer = if says_absent(prompts) {
                SliceAnswer {
                    mask: Mask::zeros(picture.size()),
                    iou: 1.0,
                    from: slice,
                }
            } else {
                self.answer_on(&picture, prompts, slice)?
            };
            let stopped = tell(slice, &answer).is_break();
            carried.slices.insert(slice, answer);
            if stopped {
                carried.stopped = true;
                return Ok(carried);
            }
        }
        let starts: Vec<usize> = prompted.keys().copied().collect();
        for (n, &from) in starts.iter().enumerate() {
            let next = starts.get(n + 1).copied().unwrap_or(range.end);
            let before = n.checked_sub(1).map(|n| starts[n] + 1);
            let up: Vec<usize> = (from + 1..next.min(range.end)).collect();
            let down = (before.unwrap_or(range.start).max(range.start)..from).rev();
            for run in [up, down.collect()] {
                self.run(from, &run, policy, (&mut picture, &mut tell), &mut carried)?;
                if carried.stopped {
                    return Ok(carried);
                }
            }
        }
        Ok(carried)
    }

    /// Carries the answer of `from` through the slices of a run, in its order.
    fn run(
        &mut self,
        from: usize,
        run: &[usize],
        policy: &CarryPolicy,
        (picture, tell): (
            &mut impl FnMut(usize) -> Result<RgbImage>,
            &mut impl FnMut(usize, &SliceAnswer) -> ControlFlow<()>,
        ),
        carried: &mut Carried,
    ) -> Result<()> {
        let mut before = carried.slices[&from].mask.clone();
        for &slice in run {
            // The run from the other side has come nearer already, and what follows is nearer to it still.
            let apart = |other: &SliceAnswer| other.from.abs_diff(slice);
            let earlier = carried.slices.get(&slice);
            if earlier.is_some_and(|other| apart(other) <= from.abs_diff(slice)) {
                return Ok(());
            }
            let Some(prompts) = policy.prompts_after(&before) else {
                return Ok(());
            };
            let answer = self.answer_on(&picture(slice)?, &prompts, from)?;
            if let Some(reason) = policy.ends(&before, &answer.mask) {
                carried.ends.push(RunEnd {
                    from,
                    slice,
                    reason,
                });
                return Ok(());
            }
            before.clone_from(&answer.mask);
            let stopped = tell(slice, &answer).is_break();
            carried.slices.insert(slice, answer);
            if stopped {
                carried.stopped = true;
                return Ok(());
            }
        }
        Ok(())
    }

    fn answer_on(
        &mut self,
        picture: &RgbImage,
        prompts: &Prompts,
        from: usize,
    ) -> Result<SliceAnswer> {
        self.set_image(picture)?;
        let answer = self.answer(prompts, MaskOutput::Single)?;
        Ok(SliceAnswer {
            mask: answer.mask,
            iou: answer.iou,
            from,
        })
    }
}

/// Whether prompts say that the structure is not there: clicks beside it, and nothing on it.
fn says_absent(prompts: &Prompts) -> bool {
    let has_negative = prompts.points.iter().any(|&(_, on)| !on);
    let has_positive = prompts.points.iter().any(|&(_, on)| on);
    has_negative && !has_positive && prompts.box_.is_none() && prompts.earlier.is_none()
}

#[cfg(test)]
mod tests {
    use synthfm_image::Size;

    use super::*;

    fn rectangle(rows: Range<usize>, cols: Range<usize>) -> Mask {
        let size = Size::new(30, 40);
        let inside = |i: usize| rows.contains(&(i / 40)) && cols.contains(&(i % 40));
        Mask::new(size, (0..1200).map(inside).collect()).unwrap()
    }

    #[test]
    fn masks_that_vanish_burst_or_jump_end_the_run() {
        let (policy, before) = (CarryPolicy::default(), rectangle(5..15, 5..15));
        assert_eq!(policy.ends(&before, &rectangle(6..15, 5..16)), None);
        for (mask, reason) in [
            (rectangle(0..0, 0..0), "ends here"),
            (rectangle(5..8, 5..15), "from 100 to 30"),
            (rectangle(0..30, 0..30), "from 100 to 900"),
            (rectangle(5..15, 20..30), "jump"),
        ] {
            let text = policy.ends(&before, &mask).unwrap().to_string();
            assert!(text.contains(reason), "{text}");
        }
        assert_eq!(policy.prompts_after(&rectangle(0..2, 0..5)), None);
        let prompts = policy.prompts_after(&before).unwrap();
        assert_eq!(prompts.box_, before.bounding_box());
        assert!(prompts.points[0].1 && prompts.earlier.as_ref() == Some(&before));
    }

    #[test]
    fn clicks_beside_a_structure_alone_say_that_it_is_absent() {
        let point = Point2::new(1.0, 2.0);
        let mut prompts = Prompts {
            points: vec![(point, false)],
            ..Prompts::default()
        };
        assert!(says_absent(&prompts));
        prompts.points.push((point, true));
        assert!(!says_absent(&prompts));
        assert!(!says_absent(&Prompts::default()));
    }
}
