//! The next click of a user who corrects a prediction, from the region where it is wrong.

use rand::Rng;
use synthfm_image::{Mask, Outside, Size, distance_transform};

use super::{Click, draw_pixels, pixels_where, point_at};
use crate::{Error, Result};

/// RITM's evaluation rule (Sofiiuk et al. 2021, `clicker.py`; SAM 2's "center"): the deepest pixel of the false
/// negatives or of the false positives, whichever is deeper, not on an earlier click; a tie is a negative click.
/// The border of the image counts as background. `None` where nothing is left to correct.
pub fn centre_correction(
    truth: &Mask,
    prediction: &Mask,
    earlier: &[Click],
) -> Result<Option<Click>> {
    let size = check_sizes(truth, prediction)?;
    let clicked: Vec<usize> = earlier
        .iter()
        .filter_map(|c| c.point.row_col(size))
        .map(|(row, col)| size.index(row, col))
        .collect();
    let deepest_error = |positive: bool| -> Result<Option<(usize, f32)>> {
        let wrong = errors(truth, prediction, |t, p| t != p && t == positive)?;
        let mut depth = distance_transform(&wrong, Outside::Background);
        for &i in &clicked {
            depth[i] = 0.0;
        }
        Ok(deepest(&depth))
    };
    let (missed, extra) = (deepest_error(true)?, deepest_error(false)?);
    let depth = |found: Option<(usize, f32)>| found.map_or(0.0, |(_, d)| d);
    let positive = depth(missed) > depth(extra);
    let chosen = if positive { missed } else { extra };
    Ok(chosen.map(|(index, _)| Click {
        point: point_at(index, size),
        positive,
    }))
}

/// SAM 2's training rule ("uniform"): any wrong pixel, positive where the structure was missed; on a perfect
/// prediction a negative click anywhere in the background. `None` if there is no such pixel.
pub fn uniform_correction(
    truth: &Mask,
    prediction: &Mask,
    rng: &mut impl Rng,
) -> Result<Option<Click>> {
    let size = check_sizes(truth, prediction)?;
    let wrong = pixels_where(&errors(truth, prediction, |t, p| t != p)?, true);
    let candidates = if wrong.is_empty() {
        pixels_where(truth, false)
    } else {
        wrong
    };
    let pixel = draw_pixels(candidates, 1, rng).pop();
    Ok(pixel.map(|index| Click {
        point: point_at(index, size),
        positive: truth.data()[index],
    }))
}

fn check_sizes(truth: &Mask, prediction: &Mask) -> Result<Size> {
    if truth.size() == prediction.size() {
        Ok(truth.size())
    } else {
        Err(Error::SizeMismatch {
            what: "the predicted mask",
            expected: truth.size(),
            got: prediction.size(),
        })
    }
}

fn errors(truth: &Mask, prediction: &Mask, wrong: impl Fn(bool, bool) -> bool) -> Result<Mask> {
    let pairs = truth.data().iter().zip(prediction.data());
    let data = pairs.map(|(&t, &p)| wrong(t, p)).collect();
    Ok(Mask::new(truth.size(), data)?)
}

/// The first largest value above zero, with its index.
fn deepest(depth: &[f32]) -> Option<(usize, f32)> {
    let inside = depth.iter().copied().enumerate().filter(|&(_, d)| d > 0.0);
    inside.reduce(|best, next| if next.1 > best.1 { next } else { best })
}
