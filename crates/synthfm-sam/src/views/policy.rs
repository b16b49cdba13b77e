//! How a predictor looks at an image: the constants of the zoom, with names, so that they can be measured again for
//! other weights (`synthfm evaluate --views`, `tools/zoom_table.py`).

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use crate::constants::{Constant, expected, read_changed, real, whole, write_changed};
use crate::error::{Error, Result};

/// Whether answers of our own model are looked for in crops. SAM's models see the whole image, as Meta's code does.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub enum Views {
    /// The whole image alone.
    Whole,
    /// The whole image, then crops.
    Zoom(ZoomPolicy),
}

impl Default for Views {
    fn default() -> Self {
        Self::Zoom(ZoomPolicy::default())
    }
}

impl Views {
    /// The constants; those of the default where there is no zoom.
    pub(crate) fn policy(&self) -> ZoomPolicy {
        match self {
            Self::Zoom(policy) => *policy,
            Self::Whole => ZoomPolicy::default(),
        }
    }
}

/// When a crop's answer takes the place of a coarser one.
///
/// With clicks, crops around them with 1/2, 1/4, ... of the image's longer side are asked in turn; with a box, one crop
/// around the box. A crop answers where its answer scores better than the best so far. The score is
/// `ln(estimated IoU) + stability_weight * ln(stability)`, where stability is the answer's area at logits above 1 over
/// that at logits above -1. In a crop every part looks whole, so that with a single click a crop must score better
/// than the whole image by a margin: the larger plausible structure is meant, unless the model is unsure of it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ZoomPolicy {
    /// Crops around clicks that are tried at most, each with half the side of the one before.
    pub halvings: usize,
    /// The smallest side of a crop, in pixels of the image.
    pub least_side_px: usize,
    /// Weight of the stability in the score.
    pub stability_weight: f64,
    /// What a crop must score above the whole image with one click.
    pub margin_one_click: f64,
    /// What a crop must score above the whole image with several clicks or a box.
    pub margin_more: f64,
    /// What a crop must score above a coarser crop.
    pub margin_next: f64,
    /// Crops in a row that may fail to score better before no further one is tried, with one click.
    pub patience_one_click: usize,
    /// Crops in a row that may fail to score better before no further one is tried, with several clicks.
    pub patience_more: usize,
    /// No crop where the whole image's answer covers more than this share of the image.
    pub largest_share: f64,
    /// A crop does not answer where its answer covers more than this share of it: it may go on outside.
    pub fullest_share: f64,
    /// Side of the crop around a box prompt, over the box's longer side; 0 for no such crop.
    pub box_factor: f64,
    /// Side of a last crop over the longer side of the answer's box, which gets the answer so far as a mask
    /// prompt; 0 for none.
    pub refine_factor: f64,
    /// Answers whose box has a longer side below this, in pixels of the model's input, get that last crop.
    pub refine_below_px: f64,
    /// What the last crop must score above the answer so far.
    pub margin_refine: f64,
    /// Side of the crop in which clicks correct an earlier mask, over the longer side of the box around both; 0 for
    /// the whole image.
    pub correct_factor: f64,
    /// How far from a click a correction reaches, in multiples of the click's distance to where the earlier mask is as
    /// the click wants it.
    pub correct_reach: f64,
    /// 1 where every view is looked at a second time, turned by half a turn, and the mean of both answers counts, unless
    /// there is a mask prompt; 0 for one look.
    pub turned: usize,
    /// Standard deviation of the blur that smooths outlines, over the radius of the largest disc inside the structure;
    /// 0 for none.
    pub smoothing: f64,
}

impl Default for ZoomPolicy {
    fn default() -> Self {
        Self {
            halvings: 3,
            least_side_px: 24,
            stability_weight: 0.0,
            margin_one_click: 0.65,
            margin_more: 0.0,
            margin_next: 0.0,
            patience_one_click: 3,
            patience_more: 1,
            largest_share: 0.08,
            fullest_share: 0.16,
            box_factor: 5.0,
            refine_factor: 0.0,
            refine_below_px: 48.0,
            margin_refine: 0.0,
            correct_factor: 3.0,
            correct_reach: 4.0,
            turned: 1,
            smoothing: 0.15,
        }
    }
}

/// Every constant of the policy.
const CONSTANTS: [Constant<ZoomPolicy>; 18] = [
    whole!(halvings, 0.0..=16.0),
    whole!(least_side_px, 0.0..=1e4),
    real!(stability_weight, -100.0..=100.0),
    real!(margin_one_click, -100.0..=100.0),
    real!(margin_more, -100.0..=100.0),
    real!(margin_next, -100.0..=100.0),
    whole!(patience_one_click, 0.0..=100.0),
    whole!(patience_more, 0.0..=100.0),
    real!(largest_share, 0.0..=1.0),
    real!(fullest_share, 0.0..=1.0),
    real!(box_factor, 0.0..=100.0),
    real!(refine_factor, 0.0..=100.0),
    real!(refine_below_px, 0.0..=1e4),
    real!(margin_refine, -100.0..=100.0),
    real!(correct_factor, 0.0..=100.0),
    real!(correct_reach, 0.0..=1e4),
    whole!(turned, 0.0..=1.0),
    real!(smoothing, 0.0..=4.0),
];

impl fmt::Display for Views {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Zoom(policy) = self else {
            return f.write_str("whole");
        };
        f.write_str("auto")?;
        write_changed(f, policy, &CONSTANTS)
    }
}

impl FromStr for Views {
    type Err = Error;

    /// `whole`, or `auto` with any constants of [`ZoomPolicy`] as `,name=value`.
    fn from_str(text: &str) -> Result<Self> {
        let unknown = |(part, expected)| Error::UnknownViews { part, expected };
        let other = |part: &str| {
            let auto = expected(&CONSTANTS);
            unknown((part.to_owned(), format!("whole, or {auto}")))
        };
        let mut parts = text.split(',');
        match parts.next() {
            Some("whole") => {
                let rest = parts.next();
                return rest.map_or(Ok(Self::Whole), |part| Err(other(part)));
            }
            Some("auto") => {}
            part => return Err(other(part.unwrap_or_default())),
        }
        let policy = read_changed(parts, &CONSTANTS).map_err(unknown)?;
        Ok(Self::Zoom(policy))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn views_read_and_write_themselves() {
        for text in ["whole", "auto", "auto,halvings=2,margin_one_click=0.5"] {
            assert_eq!(text.parse::<Views>().unwrap().to_string(), text);
        }
        let Views::Zoom(policy) = "auto,halvings=1,refine_factor=3".parse().unwrap() else {
            panic!("a zoom expected");
        };
        assert_eq!((policy.halvings, policy.refine_factor), (1, 3.0));
        for Constant { name, range, .. } in &CONSTANTS {
            for end in [*range.start(), *range.end()] {
                assert!(end.is_finite(), "{name}");
                let text = format!("auto,{name}={end}");
                let read: Views = text.parse().unwrap();
                // The usual value is left out.
                let written = read.to_string();
                assert!(written == text || written == "auto", "{written}");
            }
        }
    }

    #[test]
    fn unknown_views_are_refused_with_the_names() {
        for text in ["", "wide", "whole,halvings=1", "auto,", "auto,zoom=3"] {
            let error = text.parse::<Views>().unwrap_err().to_string();
            assert!(error.contains("margin_one_click"), "{text}: {error}");
        }
        for text in [
            "auto,halvings",
            "auto,halvings=NaN",
            "auto,halvings=1e9",
            "auto,halvings=-1",
        ] {
            let error = text.parse::<Views>().unwrap_err().to_string();
            assert!(
                error.contains("a whole number from 0 to 16"),
                "{text}: {error}"
            );
        }
    }
}
