//! One structure through the slices of a volume: from the slices that have prompts to those that have none.
//!
//! The model answers the slices with prompts. From each of them a [`Follower`] moves the mask with the image, slice by slice,
//! until the structure seems to end, or a slice has prompts of its own. Between two prompted slices both come, and the mask
//! is where their mean, weighted by nearness, is above one half. References: Thirion's demons (1998), and the propagation of
//! atlas labels by registration (Rohlfing et al. 2004), here between neighbouring slices.
//!
//! `SAM 2` (Ravi et al. 2024) and `MedSAM`'s use in 3-D (Ma et al. 2024) ask the model about every slice, prompted with the last
//! answer. With our model, which never saw two slices, each answer adds an error of its own, which the next one keeps.

mod flow;
mod follow;
mod policy;

pub use follow::Follower;
pub use policy::{CarryEnd, CarryPolicy};

use std::collections::BTreeMap;
use std::ops::{ControlFlow, Range};

use synthfm_image::{Mask, Point2, RgbImage, Size, deepest_pixel};

use crate::error::Result;
use crate::mask_decoder::MaskOutput;
use crate::predictor::{Predictor, Prompts};
use follow::SoftMask;

/// What of the estimated `IoU` is left from one slice to the next.
const KEPT: f32 = 0.97;

/// What is known about a slice.
#[derive(Debug, Clone, PartialEq)]
pub struct SliceAnswer {
    /// The structure on the slice.
    pub mask: Mask,
    /// Estimate of the mask's `IoU`, 0 to 1: the model's own where there are prompts, and 3 % less for each slice on the way
    /// from there.
    pub iou: f32,
    /// The nearest prompted slice that the mask was carried from; the slice itself where it has prompts.
    pub from: usize,
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
    /// Whether [`CarrySlices::tell`] stopped the work.
    pub stopped: bool,
    /// The runs between prompted slices, by where they began and whether they go up.
    runs: BTreeMap<(usize, bool), Vec<SoftMask>>,
}

/// The slices that a structure is carried through.
#[derive(Debug, Clone)]
pub struct CarrySlices<P, T> {
    /// The structure is looked for here.
    pub range: Range<usize>,
    /// How it is followed.
    pub policy: CarryPolicy,
    /// Gives the slice of a number as the model sees it; all are of one size.
    pub picture: P,
    /// Hears of every answer in the order in which they are found, the prompted slices first, and may stop the work.
    pub tell: T,
}

impl Predictor {
    /// Carries the structure that prompts on some slices mean through other slices. A prompted slice with negative clicks
    /// alone has none of the structure, and ends the runs that come to it.
    ///
    /// # Errors
    /// Where a slice cannot be had, or prompts are bad.
    pub fn carry<P, T>(
        &mut self,
        prompted: &BTreeMap<usize, Prompts>,
        slices: CarrySlices<P, T>,
    ) -> Result<Carried>
    where
        P: FnMut(usize) -> Result<RgbImage>,
        T: FnMut(usize, &SliceAnswer) -> ControlFlow<()>,
    {
        let mut way = Way::new(self, prompted, slices, Carried::default());
        for &slice in prompted.keys() {
            way.start(slice)?;
        }
        for gap in way.gaps() {
            way.fill(gap)?;
        }
        Ok(way.carried)
    }

    /// [`Self::carry`] where the prompts of `changed` alone are others than those that led to `carried`, or new: that
    /// slice is answered again, and the slices up to the next prompted ones on both sides are carried again.
    ///
    /// # Errors
    /// Where a slice cannot be had, or prompts are bad.
    pub fn carry_on<P, T>(
        &mut self,
        carried: Carried,
        prompted: &BTreeMap<usize, Prompts>,
        changed: usize,
        slices: CarrySlices<P, T>,
    ) -> Result<Carried>
    where
        P: FnMut(usize) -> Result<RgbImage>,
        T: FnMut(usize, &SliceAnswer) -> ControlFlow<()>,
    {
        let mut way = Way::new(self, prompted, slices, carried);
        let reached = |&(low, high): &Gap| low == Some(changed) || high == Some(changed);
        let gaps: Vec<Gap> = way.gaps().into_iter().filter(reached).collect();
        for &gap in &gaps {
            way.empty(gap, changed);
        }
        way.start(changed)?;
        for gap in gaps {
            way.fill(gap)?;
        }
        Ok(way.carried)
    }
}

/// The prompted slices below and above slices without prompts; `None` at the ends of the range.
type Gap = (Option<usize>, Option<usize>);

/// A structure on its way.
struct Way<'a, P, T> {
    predictor: &'a mut Predictor,
    prompted: &'a BTreeMap<usize, Prompts>,
    slices: CarrySlices<P, T>,
    carried: Carried,
}

impl<'a, P, T> Way<'a, P, T>
where
    P: FnMut(usize) -> Result<RgbImage>,
    T: FnMut(usize, &SliceAnswer) -> ControlFlow<()>,
{
    const fn new(
        predictor: &'a mut Predictor,
        prompted: &'a BTreeMap<usize, Prompts>,
        slices: CarrySlices<P, T>,
        carried: Carried,
    ) -> Self {
        Self {
            predictor,
            prompted,
            slices,
            carried,
        }
    }

    /// The gaps between prompted slices and at both ends.
    fn gaps(&self) -> Vec<Gap> {
        let starts: Vec<usize> = self.prompted.keys().copied().collect();
        let Some((&first, &last)) = starts.first().zip(starts.last()) else {
            return Vec::new();
        };
        let mut gaps: Vec<Gap> = vec![(None, Some(first))];
        gaps.extend(starts.windows(2).map(|pair| (Some(pair[0]), Some(pair[1]))));
        gaps.push((Some(last), None));
        gaps
    }

    /// The slices of a gap.
    fn slices_of(&self, (low, high): Gap) -> Range<usize> {
        let Range { start, end } = self.slices.range;
        let from = low.map_or(start, |low| (low + 1).max(start));
        let to = high.map_or(end, |high| high.min(end));
        from..to.max(from)
    }

    /// Drops what is known of the slices of a gap. Of the run that comes from the other side than `changed` stays what lies in
    /// the gap.
    fn empty(&mut self, gap: Gap, changed: usize) {
        let inside = self.slices_of(gap);
        let carried = &mut self.carried;
        carried.slices.retain(|slice, _| !inside.contains(slice));
        carried.slices.remove(&changed);
        for (side, up) in [(gap.0, true), (gap.1, false)] {
            let Some(side) = side else { continue };
            if side == changed {
                carried.runs.remove(&(side, up));
            } else if let Some(run) = carried.runs.get_mut(&(side, up)) {
                run.truncate(inside.len());
            }
        }
        let concerns = |end: &RunEnd| inside.contains(&end.slice) && end.from == changed;
        let beyond = |end: &RunEnd| (end.from < changed) != (end.slice < changed);
        let is_gone = |end: &RunEnd| concerns(end) || end.from == changed || beyond(end);
        carried.ends.retain(|end| !is_gone(end));
    }

    /// Answers the prompts of a slice.
    fn start(&mut self, slice: usize) -> Result<()> {
        if self.carried.stopped {
            return Ok(());
        }
        let prompts = &with_click(&self.prompted[&slice]);
        let picture = (self.slices.picture)(slice)?;
        let (mask, iou) = if says_absent(prompts) {
            (Mask::zeros(picture.size()), 1.0)
        } else {
            self.predictor.set_image(&picture)?;
            let answer = self.predictor.answer(prompts, MaskOutput::Single)?;
            (answer.mask, answer.iou)
        };
        let from = slice;
        self.keep(slice, SliceAnswer { mask, iou, from });
        Ok(())
    }

    /// Carries the answers on both sides of a gap into it.
    fn fill(&mut self, gap: Gap) -> Result<()> {
        match gap {
            (Some(low), Some(high)) => {
                self.run(low, gap, true)?;
                self.run(high, gap, true)?;
                self.merge(low, high);
                Ok(())
            }
            (Some(one), None) | (None, Some(one)) => self.run(one, gap, false),
            (None, None) => Ok(()),
        }
    }

    /// Carries the answer of `from` through a gap, as far as it goes. What was found is kept for a merge, or is the answer.
    fn run(&mut self, from: usize, gap: Gap, merges: bool) -> Result<()> {
        let up = gap.0 == Some(from);
        let key = (from, up);
        if self.carried.stopped || merges && self.carried.runs.contains_key(&key) {
            return Ok(());
        }
        let inside = self.slices_of(gap);
        let way: Vec<usize> = if up {
            inside.collect()
        } else {
            inside.rev().collect()
        };
        let Some(SliceAnswer { mask, iou, .. }) = self.carried.slices.get(&from).cloned() else {
            return Ok(());
        };
        let mut found = Vec::new();
        if !way.is_empty()
            && mask.area() > 0
            && let Some(mut follower) =
                Follower::start(&(self.slices.picture)(from)?, &mask, &self.slices.policy)
        {
            for slice in way {
                let picture = (self.slices.picture)(slice)?;
                match follower.step(&picture) {
                    Ok(_) if merges => found.push(follower.soft().clone()),
                    Ok(mask) => {
                        let answer = SliceAnswer {
                            mask: mask.clone(),
                            iou: faded(iou, from, slice),
                            from,
                        };
                        self.keep(slice, answer);
                    }
                    Err(reason) => {
                        let end = RunEnd {
                            from,
                            slice,
                            reason,
                        };
                        self.carried.ends.push(end);
                        break;
                    }
                }
                if self.carried.stopped {
                    break;
                }
            }
        }
        if merges {
            self.carried.runs.insert(key, found);
        }
        Ok(())
    }

    /// Joins the runs of two prompted slices between them.
    fn merge(&mut self, low: usize, high: usize) {
        let runs = &self.carried.runs;
        let (Some(up), Some(down)) = (runs.get(&(low, true)), runs.get(&(high, false))) else {
            return;
        };
        let ious = [low, high].map(|from| self.carried.slices.get(&from).map_or(0.0, |a| a.iou));
        let size = self
            .carried
            .slices
            .get(&low)
            .map(|answer| answer.mask.size());
        let size = size.unwrap_or(Size::new(0, 0));
        let mut answers = Vec::new();
        for slice in self.slices_of((Some(low), Some(high))) {
            let sides = [up.get(slice - low - 1), down.get(high - slice - 1)];
            let nearer = usize::from(high - slice < slice - low);
            let share = (slice - low) as f32 / (high - low) as f32;
            let mask = match sides {
                [Some(up), Some(down)] => {
                    let joined = joined(size, [up, down], [1.0 - share, share]);
                    // Thin masks that have moved apart have no mean.
                    let is_lost = joined.area() == 0;
                    if is_lost {
                        [up, down][nearer].mask()
                    } else {
                        joined
                    }
                }
                // The run from the other side has ended before: the nearer one is right.
                [Some(up), None] if nearer == 0 => up.mask(),
                [None, Some(down)] if nearer == 1 => down.mask(),
                _ => continue,
            };
            let from = [low, high][nearer];
            let iou = faded(ious[nearer], from, slice);
            answers.push((slice, SliceAnswer { mask, iou, from }));
        }
        for (slice, answer) in answers {
            self.keep(slice, answer);
        }
    }

    fn keep(&mut self, slice: usize, answer: SliceAnswer) {
        self.carried.stopped |= (self.slices.tell)(slice, &answer).is_break();
        self.carried.slices.insert(slice, answer);
    }
}

/// The estimate of a slice that lies apart from the prompted one.
fn faded(iou: f32, from: usize, slice: usize) -> f32 {
    iou * libm::powf(KEPT, from.abs_diff(slice) as f32)
}

/// Where the weighted mean of two masks is above one half.
fn joined(size: Size, masks: [&SoftMask; 2], weights: [f32; 2]) -> Mask {
    let mut joined = Mask::zeros(size);
    for (at, inside) in joined.data_mut().iter_mut().enumerate() {
        let (row, col) = (at / size.width, at % size.width);
        let share = |n: usize| weights[n] * masks[n].at(row, col);
        *inside = share(0) + share(1) > 0.5;
    }
    joined
}

/// Prompts that are a mask alone, with a click at its deepest pixel: models are trained to see both.
fn with_click(prompts: &Prompts) -> Prompts {
    let mut prompts = prompts.clone();
    if prompts.points.is_empty()
        && prompts.box_.is_none()
        && let Some((row, col)) = prompts.earlier.as_ref().and_then(deepest_pixel)
    {
        prompts.points.push((Point2::from_row_col(row, col), true));
    }
    prompts
}

/// Whether prompts say that the structure is not there: clicks beside it, and nothing on it.
fn says_absent(prompts: &Prompts) -> bool {
    let has_negative = prompts.points.iter().any(|&(_, on)| !on);
    let has_positive = prompts.points.iter().any(|&(_, on)| on);
    has_negative && !has_positive && prompts.box_.is_none() && prompts.earlier.is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_alone_gets_a_click_inside() {
        let mut mask = Mask::zeros(Size::new(7, 9));
        for at in [20, 21, 22, 29, 30, 31, 38, 39, 40] {
            mask.data_mut()[at] = true;
        }
        let prompts = Prompts {
            earlier: Some(mask),
            ..Prompts::default()
        };
        let expected = (Point2::from_row_col(3, 3), true);
        assert_eq!(with_click(&prompts).points, [expected]);
        let clicked = Prompts {
            points: vec![(Point2::new(0.0, 0.0), false)],
            ..prompts
        };
        assert_eq!(with_click(&clicked), clicked);
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
