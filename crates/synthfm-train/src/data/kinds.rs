//! The kinds of prompts that objects get.

use rand::{Rng, RngExt};
use rand_chacha::ChaCha8Rng;
use synthfm_image::Mask;

use crate::config::PromptConfig;
use synthfm_eval::clicks::{
    Click, Negatives, Positives, negative_clicks, positive_clicks, scribble_clicks_within,
    training_negatives,
};

/// Fewest and most clicks that a scribble becomes.
const SCRIBBLE_CLICKS: [usize; 2] = [3, 8];
/// Largest side of the mask whose middle line a scribble follows, in pixels: thinning a larger one takes long.
const SCRIBBLE_SIDE: usize = 96;

/// The kind of prompt that all objects of an image get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PromptKind {
    pub(crate) positives: usize,
    pub(crate) negatives: usize,
    pub(crate) with_box: bool,
    /// Whether the positive clicks follow the structure's middle line.
    pub(crate) scribble: bool,
    /// The mask prompt that comes with them, if any.
    pub(crate) mask: Option<MaskPrompt>,
}

/// A mask prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MaskPrompt {
    /// A coarse and wrong answer of the model.
    Rough,
    /// The structure on the slice before.
    Neighbour,
}

/// The form that prompts must share for one call of the decoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Form {
    /// Points of each object, padding included.
    pub(crate) points: usize,
    pub(crate) with_box: bool,
    pub(crate) with_mask: bool,
}

impl PromptKind {
    pub(crate) const fn clicks(positives: usize, negatives: usize) -> Self {
        Self {
            positives,
            negatives,
            with_box: false,
            scribble: false,
            mask: None,
        }
    }

    pub(crate) const fn bounding_box() -> Self {
        Self {
            with_box: true,
            ..Self::clicks(0, 0)
        }
    }

    pub(super) fn draw(config: &PromptConfig, rng: &mut impl Rng) -> Self {
        let PromptConfig {
            single_click,
            clicks,
            bounding_box,
            box_and_clicks,
            scribble,
            rough_mask,
            neighbour_mask,
            ..
        } = *config;
        let simple = single_click + clicks + bounding_box + box_and_clicks;
        let mut u = rng.random::<f32>() * (simple + neighbour_mask + scribble + rough_mask);
        let positives = 1 + rng.random_range(0..config.max_positives);
        let negatives = rng.random_range(0..=config.max_negatives);
        let several = Self::clicks(positives, negatives);
        let with_box = Self {
            with_box: true,
            ..several
        };
        for (weight, kind) in [
            (single_click, Self::clicks(1, 0)),
            (clicks, several),
            (bounding_box, Self::bounding_box()),
            (box_and_clicks, with_box),
            (neighbour_mask, Self::neighbour()),
        ] {
            if u < weight {
                return kind;
            }
            u -= weight;
        }
        if u < scribble {
            return Self::scribble(rng);
        }
        if rough_mask > 0.0 {
            return Self::rough(several, rng);
        }
        // Rounding led past the last weight.
        if scribble > 0.0 {
            Self::scribble(rng)
        } else {
            with_box
        }
    }

    /// A scribble without negative clicks.
    fn scribble(rng: &mut impl Rng) -> Self {
        let [fewest, most] = SCRIBBLE_CLICKS;
        Self {
            scribble: true,
            ..Self::clicks(rng.random_range(fewest..=most), 0)
        }
    }

    /// The mask of a slice before, with a click.
    const fn neighbour() -> Self {
        Self {
            mask: Some(MaskPrompt::Neighbour),
            ..Self::clicks(1, 0)
        }
    }

    /// A mask prompt with the prompts that may have led to it: half of the time one click, else several, or a box that
    /// comes with or without them.
    fn rough(several: Self, rng: &mut impl Rng) -> Self {
        let with = match rng.random_range(0..8) {
            0..4 => Self::clicks(1, 0),
            4..6 => several,
            6 => Self::bounding_box(),
            _ => Self {
                with_box: true,
                ..several
            },
        };
        Self {
            mask: Some(MaskPrompt::Rough),
            ..with
        }
    }

    /// The form of this kind's prompts. Where prompts of several kinds share a batch (`mixed`), the points are
    /// filled up to one less than a power of two, so that fewer calls are needed.
    pub(crate) fn form(self, mixed: bool) -> Form {
        let points = self.positives + self.negatives;
        Form {
            points: if mixed {
                (points + 1).next_power_of_two() - 1
            } else {
                points
            },
            with_box: self.with_box,
            with_mask: self.mask.is_some(),
        }
    }

    /// The clicks on a structure that has `others` beside it.
    pub(super) fn draw_clicks(
        self,
        mask: &Mask,
        others: &Mask,
        centre_first: f32,
        rng: &mut ChaCha8Rng,
    ) -> Vec<Click> {
        if self.scribble {
            return scribble_clicks_within(mask, self.positives, SCRIBBLE_SIDE);
        }
        let centre = rng.random::<f32>() < centre_first;
        let placement = if centre {
            Positives::CentreFirst
        } else {
            Positives::Uniform
        };
        let mut clicks = positive_clicks(mask, self.positives, placement, rng);
        if self.negatives > 0 && !clicks.is_empty() {
            let far = rng.random::<f32>() < 0.25;
            clicks.extend(if far {
                negative_clicks(mask, self.negatives, Negatives::Far, clicks[0].point, rng)
            } else {
                training_negatives(mask, others, self.negatives, rng)
            });
        }
        clicks
    }
}
