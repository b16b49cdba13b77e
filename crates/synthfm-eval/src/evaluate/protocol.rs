//! The prompts with which a segmenter is evaluated.
//! Settings (P, N) and the placement of clicks follow Sengupta et al. (arXiv 2408.04212, 2504.08177); jittered boxes
//! those of SAM, corrections those of RITM. Differs: scribbles are clicks along the skeleton.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use synthfm_image::{Mask, Point2};

use super::PromptSet;
use crate::clicks::{
    BoxJitter, Click, Negatives, Positives, Surroundings, centre_pixel, jittered_box,
    negative_clicks, positive_clicks, scribble_clicks, seeded_rng,
};
use crate::{Error, Result};

/// Most clicks of one setting.
const MAX_CLICKS: usize = 1000;
/// Clicks of `scribble` and `iterative` where no number is given; the latter as RITM.
const SCRIBBLE_CLICKS: usize = 8;
const ITERATIVE_CLICKS: usize = 20;
/// Longer side of the image to which SAM's limit of a box edge's shift refers.
const JITTER_SIDE_PX: f64 = 1024.0;

/// The prompts that a segmenter gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum PromptSetting {
    /// Positive and negative clicks; at least one positive.
    Clicks {
        /// Clicks on the structure, the first near its centroid.
        positives: usize,
        /// Clicks beside it.
        negatives: usize,
    },
    /// The exact bounding box.
    Box,
    /// The bounding box with its edges shifted as SAM's training does: see [`BoxJitter`].
    JitteredBox,
    /// Positive clicks along the skeleton of the structure.
    Scribble {
        /// Number of clicks.
        clicks: usize,
    },
    /// One click after the other, the next where the answer to the ones before is wrong (RITM's rule).
    Iterative {
        /// Number of clicks.
        clicks: usize,
        /// Whether the segmenter also gets its last answer back, if it takes masks.
        feedback: bool,
    },
}

impl PromptSetting {
    /// The four settings of the paper.
    pub const PAPER: [Self; 4] = [
        Self::clicks(1, 0),
        Self::clicks(3, 0),
        Self::clicks(1, 2),
        Self::clicks(3, 2),
    ];

    const fn clicks(positives: usize, negatives: usize) -> Self {
        Self::Clicks {
            positives,
            negatives,
        }
    }

    /// Whether the prompt is a box and nothing else.
    pub const fn is_box(self) -> bool {
        matches!(self, Self::Box | Self::JitteredBox)
    }
}

impl fmt::Display for PromptSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Clicks {
                positives,
                negatives,
            } => write!(f, "{positives},{negatives}"),
            Self::Box => f.write_str("box"),
            Self::JitteredBox => f.write_str("box-jitter"),
            Self::Scribble { clicks } => write!(f, "scribble-{clicks}"),
            Self::Iterative { clicks, feedback } => {
                write!(
                    f,
                    "iterative-{clicks}{}",
                    if *feedback { "+mask" } else { "" }
                )
            }
        }
    }
}

impl FromStr for PromptSetting {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        parse(text).ok_or_else(|| {
            Error::Parameter(format!(
                "prompt setting {text:?}: P,N expected, with 1 to {MAX_CLICKS} positive and 0 to {MAX_CLICKS} negative \
                 clicks, or box, box-jitter, scribble[-N], iterative[-N] or iterative[-N]+mask with N from 1"
            ))
        })
    }
}

fn parse(text: &str) -> Option<PromptSetting> {
    let count = |part: &str| {
        part.trim()
            .parse::<usize>()
            .ok()
            .filter(|&n| n <= MAX_CLICKS)
    };
    let numbered = |text: &str, name: &str, default: usize| match text.strip_prefix(name)? {
        "" => Some(default),
        rest => count(rest.strip_prefix('-')?).filter(|&n| n > 0),
    };
    match text {
        "box" => return Some(PromptSetting::Box),
        "box-jitter" => return Some(PromptSetting::JitteredBox),
        _ => {}
    }
    if let Some(clicks) = numbered(text, "scribble", SCRIBBLE_CLICKS) {
        return Some(PromptSetting::Scribble { clicks });
    }
    let (plain, feedback) = match text.strip_suffix("+mask") {
        Some(plain) => (plain, true),
        None => (text, false),
    };
    if let Some(clicks) = numbered(plain, "iterative", ITERATIVE_CLICKS) {
        return Some(PromptSetting::Iterative { clicks, feedback });
    }
    let (positives, negatives) = text.split_once(',')?;
    let (positives, negatives) = (count(positives)?, count(negatives)?);
    (positives > 0).then(|| PromptSetting::clicks(positives, negatives))
}

impl From<PromptSetting> for String {
    fn from(setting: PromptSetting) -> Self {
        setting.to_string()
    }
}

impl TryFrom<String> for PromptSetting {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

/// One column of the tables: a setting and, where it has negative clicks, their placement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PromptPlan {
    /// Numbers of clicks, or a box.
    pub setting: PromptSetting,
    /// Placement of the negative clicks, if there are any.
    pub negatives: Option<Negatives>,
    /// Corrections on a volume after the first answer.
    #[serde(default)]
    pub corrections: usize,
}

impl PromptPlan {
    /// Every combination once, in the order given.
    pub fn all(settings: &[PromptSetting], negatives: &[Negatives]) -> Vec<Self> {
        let mut plans = Vec::new();
        for &setting in settings {
            let placements: Vec<Option<Negatives>> = match setting {
                PromptSetting::Clicks { negatives: 1.., .. } => {
                    negatives.iter().copied().map(Some).collect()
                }
                _ => vec![None],
            };
            for negatives in placements {
                let plan = Self {
                    setting,
                    negatives,
                    corrections: 0,
                };
                if !plans.contains(&plan) {
                    plans.push(plan);
                }
            }
        }
        plans
    }

    /// The prompts of a target; those of an iterative setting are its first click. `path` names the target (data set,
    /// case, structure, component); positive clicks do not depend on the negative ones and fewer clicks are the first
    /// of more, so that settings can be compared. `ignored` pixels get no negative click.
    pub(super) fn prompts(
        self,
        (mask, ignored): (&Mask, Option<&Mask>),
        seed: u64,
        path: [&str; 4],
    ) -> PromptSet {
        let [dataset, case, structure, component] = path;
        let rng = |part: &str| seeded_rng(seed, &[dataset, case, structure, component, part]);
        match self.setting {
            PromptSetting::Box => PromptSet::of_box(mask.bounding_box()),
            PromptSetting::JitteredBox => {
                PromptSet::of_box(jittered_box(mask, jitter(mask), &mut rng("box")))
            }
            PromptSetting::Scribble { clicks } => {
                PromptSet::of_clicks(scribble_clicks(mask, clicks))
            }
            PromptSetting::Iterative { .. } => {
                let centre = centre_pixel(mask).map(Click::positive);
                PromptSet::of_clicks(centre.into_iter().collect())
            }
            PromptSetting::Clicks {
                positives,
                negatives,
            } => {
                let first = Positives::CentreFirst;
                let mut clicks = positive_clicks(mask, positives, first, &mut rng("positives"));
                if let Some(placement) = self.negatives {
                    let centre = centre_pixel(mask).unwrap_or(Point2::new(0.0, 0.0));
                    let mut rng = rng(negatives_name(placement));
                    let around = Surroundings { mask, ignored };
                    clicks.extend(negative_clicks(
                        around, negatives, placement, centre, &mut rng,
                    ));
                }
                PromptSet::of_clicks(clicks)
            }
        }
    }
}

/// SAM's noise, its limit on the grid of the image: at most 20 pixels of an image of 1024.
fn jitter(mask: &Mask) -> BoxJitter {
    let longer = mask.size().height.max(mask.size().width) as f64;
    let sam = BoxJitter::default();
    BoxJitter {
        max_px: sam.max_px * longer / JITTER_SIDE_PX,
        ..sam
    }
}

impl fmt::Display for PromptPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.setting)?;
        if let Some(placement) = self.negatives {
            write!(f, " {}", negatives_name(placement))?;
        }
        match self.corrections {
            0 => Ok(()),
            corrections => write!(f, " +{corrections}"),
        }
    }
}

/// The placement's name on the command line and in reports.
pub(crate) fn negatives_name(placement: Negatives) -> &'static str {
    match placement {
        Negatives::Far => "far",
        Negatives::Ring => "ring",
        Negatives::Border => "border",
        Negatives::Uniform => "uniform",
    }
}

#[cfg(test)]
mod tests {
    use synthfm_image::Size;

    use super::*;

    #[test]
    fn settings_read_and_write_themselves() {
        for text in [
            "1,0",
            "3,2",
            "box",
            "box-jitter",
            "scribble-5",
            "iterative-20",
            "iterative-3+mask",
        ] {
            assert_eq!(text.parse::<PromptSetting>().unwrap().to_string(), text);
        }
        for (text, full) in [
            ("scribble", "scribble-8"),
            ("iterative", "iterative-20"),
            ("iterative+mask", "iterative-20+mask"),
        ] {
            assert_eq!(text.parse::<PromptSetting>().unwrap().to_string(), full);
        }
        for text in [
            "",
            "1",
            "0,2",
            "1,-1",
            "1,2,3",
            "1001,0",
            "Box",
            "scribble-0",
            "iterative-",
            "box+mask",
        ] {
            let error = text.parse::<PromptSetting>().unwrap_err().to_string();
            assert!(error.contains("P,N expected"), "{text}: {error}");
        }
    }

    #[test]
    fn plans_repeat_only_what_negatives_change() {
        let settings = [PromptSetting::PAPER.as_slice(), &[PromptSetting::Box]].concat();
        let plans = PromptPlan::all(&settings, &[Negatives::Far, Negatives::Ring]);
        let names: Vec<String> = plans.iter().map(ToString::to_string).collect();
        assert_eq!(
            names,
            [
                "1,0", "3,0", "1,2 far", "1,2 ring", "3,2 far", "3,2 ring", "box"
            ]
        );
    }

    fn plan(setting: &str) -> PromptPlan {
        PromptPlan {
            setting: setting.parse().unwrap(),
            negatives: setting.contains(',').then_some(Negatives::Ring),
            corrections: 0,
        }
    }

    #[test]
    fn settings_share_their_clicks() {
        let mask = Mask::new(Size::new(9, 14), (0..126).map(|i| i % 14 > 6).collect()).unwrap();
        let path = ["set", "case", "a", "0"];
        let prompts = |setting: &str| plan(setting).prompts((&mask, None), 7, path).clicks;
        let (one, three, both) = (prompts("1,2"), prompts("3,1"), prompts("3,2"));
        assert_eq!(one[0], both[0]);
        assert_eq!(three[..3], both[..3]);
        assert_eq!(one[1..], both[3..]);
        assert_eq!(three[3], both[3]);
        assert_eq!(prompts("iterative-5"), one[..1]);
        let boxed = plan("box").prompts((&mask, None), 7, path);
        assert_eq!(boxed.bounding_box, mask.bounding_box());
    }

    #[test]
    fn jittered_boxes_depend_on_seed_and_place_and_stay_close() {
        let size = Size::new(300, 512);
        let inside = |i: usize| (100..180).contains(&(i / 512)) && (200..380).contains(&(i % 512));
        let mask = Mask::new(size, (0..size.area()).map(inside).collect()).unwrap();
        let jittered = |seed, case| {
            let plan = plan("box-jitter");
            let prompts = plan.prompts((&mask, None), seed, ["set", case, "a", "0"]);
            prompts.bounding_box.unwrap()
        };
        assert_eq!(jittered(1, "x"), jittered(1, "x"));
        assert_ne!(jittered(1, "x"), jittered(2, "x"));
        assert_ne!(jittered(1, "x"), jittered(1, "y"));
        let exact = mask.bounding_box().unwrap();
        for seed in 0..40 {
            let near = jittered(seed, "x");
            for (a, b) in [
                (near.min.x, exact.min.x),
                (near.min.y, exact.min.y),
                (near.max.x, exact.max.x),
                (near.max.y, exact.max.y),
            ] {
                // 20 pixels of 1024 are 10 of 512.
                assert!((a - b).abs() <= 10.0, "{near:?}");
            }
        }
    }
}
