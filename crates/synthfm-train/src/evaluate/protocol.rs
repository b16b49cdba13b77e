//! What is asked of a segmenter: which targets of an image, and with which prompts.
//! Settings (P, N) and the placement of clicks follow Sengupta et al. (arXiv 2408.04212, 2504.08177).
//! Differs: targets may be single components, because one click cannot mean both kidneys.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use synthfm_image::{Components, Connectivity, LabelMap, Mask, Point2, connected_components};

use super::PromptSet;
use crate::clicks::{
    Negatives, Positives, centre_pixel, negative_clicks, positive_clicks, seeded_rng,
};
use crate::dataset::Structure;
use crate::{Error, Result};

/// A number of clicks of each kind, or a box.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
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
}

impl fmt::Display for PromptSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Clicks {
                positives,
                negatives,
            } => write!(f, "{positives},{negatives}"),
            Self::Box => f.write_str("box"),
        }
    }
}

impl FromStr for PromptSetting {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let counts = || {
            let (positives, negatives) = text.split_once(',')?;
            let count = |part: &str| part.trim().parse::<usize>().ok().filter(|&n| n <= 1000);
            Some((count(positives)?, count(negatives)?))
        };
        match counts() {
            _ if text == "box" => Ok(Self::Box),
            Some((positives, negatives)) if positives > 0 => Ok(Self::clicks(positives, negatives)),
            _ => Err(Error::Parameter(format!(
                "prompt setting {text:?}: `box` or P,N expected, with 1 to 1000 positive and 0 to 1000 negative clicks"
            ))),
        }
    }
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

/// What counts as one object to segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Target {
    /// All pixels of the structure.
    Label,
    /// Its largest 8-connected component, or its largest instance where the labels number instances.
    Largest,
    /// Each of its 8-connected components, or each instance.
    Components,
}

/// One object to segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Part {
    /// Number of the component or value of the instance, from 1; 0 where the target is the whole structure.
    pub(crate) number: u32,
    pub(crate) area_px: usize,
}

/// Where the objects of a structure are found. Masks are made one at a time, because an image may hold thousands.
#[derive(Debug, Clone)]
pub(crate) enum Parts<'a> {
    Whole(Mask),
    Components(Components),
    Instances(&'a LabelMap),
}

impl<'a> Parts<'a> {
    /// Finds the objects of `structure`; `instances` says that the labels number the objects of one structure.
    pub(crate) fn new(
        labels: &'a LabelMap,
        structure: &Structure,
        instances: bool,
        target: Target,
    ) -> Self {
        let whole = || {
            if instances {
                let data = labels.data().iter().map(|&value| value != 0).collect();
                Mask::new(labels.size(), data).expect("one value per label")
            } else {
                labels.mask_of(structure.label)
            }
        };
        match target {
            Target::Label => Self::Whole(whole()),
            _ if instances => Self::Instances(labels),
            _ => Self::Components(connected_components(&whole(), Connectivity::Eight)),
        }
    }

    /// The objects in the order of their numbers, or the largest one (the first of equals); none if the structure is
    /// absent.
    pub(crate) fn list(&self, target: Target) -> Vec<Part> {
        let areas: Vec<usize> = match self {
            Self::Whole(mask) => vec![mask.area()],
            Self::Components(components) => components.areas().to_vec(),
            Self::Instances(labels) => {
                let mut areas = vec![0; usize::from(u16::MAX) + 1];
                for &value in labels.data() {
                    areas[usize::from(value)] += 1;
                }
                areas.split_off(1)
            }
        };
        let first = u32::from(!matches!(self, Self::Whole(_)));
        let parts = (first..).zip(areas);
        let parts = parts.filter(|&(_, area_px)| area_px > 0);
        let mut parts: Vec<Part> = parts
            .map(|(number, area_px)| Part { number, area_px })
            .collect();
        if target == Target::Largest {
            // `max_by_key` takes the last of equals.
            let largest = parts.into_iter().rev().max_by_key(|part| part.area_px);
            parts = largest.into_iter().collect();
        }
        parts
    }

    pub(crate) fn mask(&self, part: Part) -> Mask {
        match self {
            Self::Whole(mask) => mask.clone(),
            Self::Components(components) => components.mask(part.number as usize - 1),
            Self::Instances(labels) => labels.mask_of(part.number as u16),
        }
    }
}

/// One column of the tables: a setting and, where it has negative clicks, their placement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct PromptPlan {
    /// Numbers of clicks, or a box.
    pub setting: PromptSetting,
    /// Placement of the negative clicks, if there are any.
    pub negatives: Option<Negatives>,
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
                let plan = Self { setting, negatives };
                if !plans.contains(&plan) {
                    plans.push(plan);
                }
            }
        }
        plans
    }

    /// The prompts of a target. `path` names it (data set, case, structure, component); positive clicks do not
    /// depend on the negative ones and fewer clicks are the first of more, so that settings can be compared.
    pub(super) fn prompts(self, mask: &Mask, seed: u64, path: [&str; 4]) -> PromptSet {
        let PromptSetting::Clicks {
            positives,
            negatives,
        } = self.setting
        else {
            return PromptSet {
                clicks: Vec::new(),
                bounding_box: mask.bounding_box(),
            };
        };
        let [dataset, case, structure, component] = path;
        let rng = |part: &str| seeded_rng(seed, &[dataset, case, structure, component, part]);
        let mut clicks = positive_clicks(
            mask,
            positives,
            Positives::CentreFirst,
            &mut rng("positives"),
        );
        if let Some(placement) = self.negatives {
            let centre = centre_pixel(mask).unwrap_or(Point2::new(0.0, 0.0));
            let mut rng = rng(negatives_name(placement));
            clicks.extend(negative_clicks(
                mask, negatives, placement, centre, &mut rng,
            ));
        }
        PromptSet {
            clicks,
            bounding_box: None,
        }
    }
}

impl fmt::Display for PromptPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.negatives {
            Some(placement) => write!(f, "{} {}", self.setting, negatives_name(placement)),
            None => write!(f, "{}", self.setting),
        }
    }
}

/// The placement's name on the command line and in reports.
pub(crate) fn negatives_name(placement: Negatives) -> &'static str {
    match placement {
        Negatives::Far => "far",
        Negatives::Ring => "ring",
        Negatives::Uniform => "uniform",
    }
}

#[cfg(test)]
mod tests {
    use synthfm_image::Size;

    use super::*;

    fn structure() -> Structure {
        Structure {
            name: "a".to_owned(),
            label: 2,
        }
    }

    fn labels(lines: &[&str]) -> LabelMap {
        let size = Size::new(lines.len(), lines[0].len());
        let digits = lines.concat();
        LabelMap::new(size, digits.bytes().map(|b| u16::from(b - b'0')).collect()).unwrap()
    }

    #[test]
    fn targets_are_labels_components_or_instances() {
        let map = labels(&["2200222", "2010000", "0020022"]);
        let of = |map: &LabelMap, instances, target| -> Vec<(u32, usize)> {
            let parts = Parts::new(map, &structure(), instances, target);
            let list = parts.list(target);
            for &part in &list {
                assert_eq!(parts.mask(part).area(), part.area_px);
            }
            list.iter().map(|p| (p.number, p.area_px)).collect()
        };
        assert_eq!(of(&map, false, Target::Label), [(0, 9)]);
        assert_eq!(of(&map, false, Target::Largest), [(1, 3)]);
        let components = [(1, 3), (2, 3), (3, 1), (4, 2)];
        assert_eq!(of(&map, false, Target::Components), components);
        assert_eq!(of(&map, true, Target::Label), [(0, 10)]);
        assert_eq!(of(&map, true, Target::Largest), [(2, 9)]);
        assert_eq!(of(&map, true, Target::Components), [(1, 1), (2, 9)]);
        let absent = labels(&["1100"]);
        for target in [Target::Label, Target::Largest, Target::Components] {
            assert_eq!(of(&absent, false, target), []);
        }
    }

    #[test]
    fn settings_read_and_write_themselves() {
        for text in ["1,0", "3,2", "box"] {
            assert_eq!(text.parse::<PromptSetting>().unwrap().to_string(), text);
        }
        for text in ["", "1", "0,2", "1,-1", "1,2,3", "1001,0", "Box"] {
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

    #[test]
    fn settings_share_their_clicks() {
        let mask = Mask::new(Size::new(9, 14), (0..126).map(|i| i % 14 > 6).collect()).unwrap();
        let path = ["set", "case", "a", "0"];
        let prompts = |setting: &str| {
            let plan = PromptPlan {
                setting: setting.parse().unwrap(),
                negatives: Some(Negatives::Ring),
            };
            plan.prompts(&mask, 7, path).clicks
        };
        let (one, three, both) = (prompts("1,2"), prompts("3,1"), prompts("3,2"));
        assert_eq!(one[0], both[0]);
        assert_eq!(three[..3], both[..3]);
        assert_eq!(one[1..], both[3..]);
        assert_eq!(three[3], both[3]);
        let boxed = PromptPlan {
            setting: PromptSetting::Box,
            negatives: None,
        };
        assert_eq!(
            boxed.prompts(&mask, 7, path).bounding_box,
            mask.bounding_box()
        );
    }
}
