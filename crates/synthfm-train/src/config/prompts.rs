//! Which prompts a training step shows, and how they go on from the model's answers.

use serde::{Deserialize, Serialize};

use crate::{Error, Result};
use synthfm_eval::clicks::BoxJitter;

/// Which prompts a training step shows. The weights need not add up to 1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PromptConfig {
    /// Weight of one positive click.
    pub single_click: f32,
    /// Weight of several clicks.
    pub clicks: f32,
    /// Weight of a box.
    pub bounding_box: f32,
    /// Weight of a box with clicks.
    pub box_and_clicks: f32,
    /// Weight of a scribble: 3 to 8 positive clicks along the structure's middle line.
    pub scribble: f32,
    /// Weight of a mask prompt as a coarse and wrong answer of the model, with one click, several, or a box.
    pub rough_mask: f32,
    /// Weight of a mask prompt as the structure may look on the next slice of a volume, with one click.
    pub neighbour_mask: f32,
    /// Whether the kind is drawn for each image of a step instead of once for all of them. Prompts of one kind are
    /// decoded together.
    pub per_image: bool,
    /// Most positive clicks.
    pub max_positives: usize,
    /// Most negative clicks.
    pub max_negatives: usize,
    /// Probability that the first click is the one near the centroid; otherwise it is uniform.
    pub centre_first: f32,
    /// How sloppy boxes are.
    pub jitter: BoxJitter,
    /// Answers that the prompts go on from.
    pub corrections: CorrectionConfig,
}

/// Training on the model's own answers, as a user corrects them (SAM, section A; RITM, Sofiiuk et al. 2021): the
/// model answers, a click from the region where it is wrong joins the prompts, and the model answers again.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CorrectionConfig {
    /// Probability that a step corrects answers, 0 to 1. The paper: 0.
    pub probability: f32,
    /// Most clicks that are added, one per answer; their number is uniform from 1.
    pub max_rounds: usize,
    /// Probability that the model also sees the logits of its answer as a mask prompt: of a step with `loss = "last"`, of
    /// each round of a step with `"every"`.
    pub show_logits: f32,
    /// Probability that a click lies in the middle of the error region; otherwise it is uniform in it. It is drawn once for
    /// a step with `loss = "last"`, for each click with `"every"`.
    pub centre: f32,
    /// Which of the answers have a loss.
    pub loss: CountedAnswers,
}

/// Which of an object's answers have a loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CountedAnswers {
    /// The last; the answers before are made without a record for gradients.
    Last,
    /// Each: the loss of a step is the mean over its answers. Nothing flows back through clicks and shown logits
    /// (`ScribblePrompt`, Wong et al. 2024, sums them).
    Every,
}

impl Default for CorrectionConfig {
    fn default() -> Self {
        Self {
            probability: 0.0,
            max_rounds: 2,
            show_logits: 0.5,
            centre: 0.5,
            loss: CountedAnswers::Last,
        }
    }
}

impl CorrectionConfig {
    fn validate(&self) -> Result<()> {
        let Self {
            probability,
            max_rounds,
            show_logits,
            centre,
            loss: _,
        } = *self;
        let names = ["probability", "show_logits", "centre"];
        for (name, value) in names.into_iter().zip([probability, show_logits, centre]) {
            if !(0.0..=1.0).contains(&value) {
                let problem =
                    format!("prompts.corrections.{name}: {value} is no probability from 0 to 1");
                return Err(Error::Parameter(problem));
            }
        }
        if (1..=16).contains(&max_rounds) {
            return Ok(());
        }
        Err(Error::Parameter(format!(
            "prompts.corrections.max_rounds: {max_rounds} is outside 1 to 16"
        )))
    }
}

impl Default for PromptConfig {
    fn default() -> Self {
        Self {
            single_click: 0.35,
            clicks: 0.4,
            bounding_box: 0.15,
            box_and_clicks: 0.1,
            scribble: 0.0,
            rough_mask: 0.0,
            neighbour_mask: 0.0,
            per_image: false,
            max_positives: 4,
            max_negatives: 3,
            centre_first: 0.5,
            jitter: BoxJitter::default(),
            corrections: CorrectionConfig::default(),
        }
    }
}

impl PromptConfig {
    pub(super) fn validate(&self) -> Result<()> {
        let Self {
            single_click,
            clicks,
            bounding_box,
            box_and_clicks,
            scribble,
            rough_mask,
            neighbour_mask,
            max_positives,
            max_negatives,
            ..
        } = *self;
        if !(1..=64).contains(&max_positives) {
            return Err(Error::Parameter(format!(
                "prompts.max_positives: {max_positives} is outside 1 to 64"
            )));
        }
        if max_negatives > 64 {
            return Err(Error::Parameter(
                "prompts.max_negatives: at most 64".to_owned(),
            ));
        }
        let weights = [
            single_click,
            clicks,
            bounding_box,
            box_and_clicks,
            scribble,
            rough_mask,
            neighbour_mask,
        ];
        if weights.iter().any(|w| !(w.is_finite() && *w >= 0.0))
            || weights.iter().sum::<f32>() <= 0.0
        {
            let problem = format!("prompts: weights {weights:?} must be at least 0 and not all 0");
            return Err(Error::Parameter(problem));
        }
        self.corrections.validate()
    }
}
