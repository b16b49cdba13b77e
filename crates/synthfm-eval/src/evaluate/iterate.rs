//! Clicks one after the other, each where the answer to the ones before is wrong (Sofiiuk et al., RITM, 2021).
//! The next click is the deepest pixel of the larger error, as [`centre_correction`] says. Differs: all clicks are
//! given, also after the target accuracy was reached, so that the curve over clicks is whole; an answer without an
//! error needs no further click and keeps its scores.

use serde::{Deserialize, Serialize};
use synthfm_image::Mask;

use super::scores::{Ruler, score};
use super::{PromptSet, Segmenter};
use crate::Result;
use crate::clicks::{Click, centre_correction};

/// Scores after each click.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Curve {
    /// Dice after one click, after two, ...
    pub dice: Vec<f64>,
    /// Intersection over union likewise.
    pub iou: Vec<f64>,
    /// Clicks so far that the mask does not honour, likewise.
    pub missed: Vec<usize>,
}

impl Curve {
    /// The number of clicks (`NoC`) after which the intersection over union first reaches `target`; all of them where
    /// it never does, as RITM counts.
    pub fn clicks_to(&self, target: f64) -> usize {
        let first = self.iou.iter().position(|&iou| iou >= target);
        first.map_or(self.iou.len(), |at| at + 1)
    }

    /// Area under the curve of Dice over the answers, by the trapezoidal rule, divided by its length: 0 to 1, and the Dice itself
    /// where there is one answer.
    pub fn dice_area(&self) -> f64 {
        match self.dice.as_slice() {
            [] => 0.0,
            [only] => *only,
            dice => {
                let steps = dice.windows(2).map(|pair| f64::midpoint(pair[0], pair[1]));
                steps.sum::<f64>() / (dice.len() - 1) as f64
            }
        }
    }

    /// Whether the intersection over union reaches `target`.
    pub fn reaches(&self, target: f64) -> bool {
        self.iou.iter().any(|&iou| iou >= target)
    }
}

/// How an iterative setting goes on.
#[derive(Clone, Copy)]
pub(super) struct Iteration<'a> {
    pub(super) truth: &'a Mask,
    /// Pixels whose truth is not known.
    pub(super) ignored: Option<&'a Mask>,
    pub(super) ruler: Ruler,
    pub(super) clicks: usize,
    pub(super) feedback: bool,
    /// The clicks of an earlier run, to be given again.
    pub(super) replayed: Option<&'a PromptSet>,
}

/// The last answer, the clicks that led to it, and the scores on the way. `first` is the first click.
pub(super) fn iterate(
    segmenter: &mut dyn Segmenter,
    first: PromptSet,
    iteration: Iteration,
) -> Result<(Mask, PromptSet, Curve)> {
    let Iteration {
        truth,
        ignored,
        ruler,
        clicks,
        feedback,
        replayed,
    } = iteration;
    let mut prompts = first;
    let mut curve = Curve::default();
    let mut answer = known(segmenter.segment(&prompts)?, ignored);
    loop {
        let scores = score(&answer, truth, ruler)?;
        curve.dice.push(scores.dice);
        curve.iou.push(scores.iou);
        curve.missed.push(missed(&answer, &prompts.clicks));
        if curve.dice.len() >= clicks {
            break;
        }
        let next = match replayed {
            Some(stored) => stored.clicks.get(prompts.clicks.len()).copied(),
            None => centre_correction(truth, &answer, &prompts.clicks)?,
        };
        let Some(next) = next else {
            curve.dice.resize(clicks, scores.dice);
            curve.iou.resize(clicks, scores.iou);
            curve
                .missed
                .resize(clicks, missed(&answer, &prompts.clicks));
            break;
        };
        prompts.clicks.push(next);
        let next = if feedback {
            segmenter.correct(&prompts)?
        } else {
            segmenter.segment(&prompts)?
        };
        answer = known(next, ignored);
    }
    Ok((answer, prompts, curve))
}

/// An answer without the pixels whose truth is not known, as nnU-Net scores it: there it is neither right nor wrong.
pub(super) fn known(mut answer: Mask, ignored: Option<&Mask>) -> Mask {
    if let Some(ignored) = ignored.filter(|ignored| ignored.size() == answer.size()) {
        let pixels = answer.data_mut().iter_mut().zip(ignored.data());
        for (pixel, _) in pixels.filter(|&(_, &ignored)| ignored) {
            *pixel = false;
        }
    }
    answer
}

/// Clicks that a mask does not honour: positive ones outside, negative ones inside.
pub(super) fn missed(mask: &Mask, clicks: &[Click]) -> usize {
    let honoured = |click: &&Click| {
        let pixel = click.point.row_col(mask.size());
        pixel.is_some_and(|(row, col)| mask.at(row, col)) == click.positive
    };
    clicks.len() - clicks.iter().filter(honoured).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clicks_are_counted_as_ritm_does() {
        let curve = Curve {
            dice: vec![0.5, 0.9, 0.8],
            iou: vec![0.4, 0.86, 0.7],
            missed: vec![0, 0, 1],
        };
        assert_eq!((curve.clicks_to(0.85), curve.clicks_to(0.9)), (2, 3));
        assert!(curve.reaches(0.85) && !curve.reaches(0.9));
    }

    #[test]
    fn the_area_is_that_of_the_trapezoids() {
        let area = |dice: &[f64]| {
            let curve = Curve {
                dice: dice.to_vec(),
                iou: Vec::new(),
                missed: Vec::new(),
            };
            curve.dice_area()
        };
        // (0.2 + 0.6) / 2 and (0.6 + 1) / 2, over two steps.
        assert!((area(&[0.2, 0.6, 1.0]) - 0.6).abs() < 1e-12);
        assert!((area(&[0.0, 1.0, 1.0, 1.0]) - 5.0 / 6.0).abs() < 1e-12);
        assert!((area(&[0.7]) - 0.7).abs() < 1e-12);
        assert!(area(&[]).abs() < 1e-12);
    }
}
