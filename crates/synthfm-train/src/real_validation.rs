//! Scores on real data sets while training: the evaluation of `synthfm evaluate`, on the weights of the moment.
//! Reported only; the configuration must ask in as many words for the best model to be chosen by them.

use std::sync::atomic::AtomicBool;

use burn::tensor::Device;
use serde::{Deserialize, Serialize};
use synthfm_eval::clicks::Negatives;
use synthfm_eval::dataset::Dataset;
use synthfm_eval::evaluate::{
    Options, PromptSet, PromptSetting, Row, RunOptions, Segmenter, evaluate,
};
use synthfm_image::{Mask, RgbImage};
use synthfm_sam::{MaskOutput, Predictor, Prompts};

use crate::Result;
use crate::learner::Learner;
use crate::validation::ValidationConfig;

/// The score of one prompt setting on one data set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RealScore {
    /// Name of the data set.
    pub data: String,
    /// `P,N` positive and negative clicks, or `box`.
    pub prompts: String,
    /// Mean Dice over the targets, 0 to 1; a target that could not be segmented counts 0.
    pub dice: f64,
    /// How many targets.
    pub objects: usize,
}

/// Real data sets to score a run on.
pub(crate) struct RealData {
    datasets: Vec<Dataset>,
    options: Options,
}

impl RealData {
    /// Opens the data sets that the configuration names. The prompts are those of the synthetic validation, with
    /// negatives just outside the structure.
    pub(crate) fn open(config: &ValidationConfig) -> Result<Self> {
        let datasets = config.data.iter().map(|path| Dataset::open(path));
        let clicks = |positives, negatives| PromptSetting::Clicks {
            positives,
            negatives,
        };
        Ok(Self {
            datasets: datasets.collect::<synthfm_eval::Result<_>>()?,
            options: Options {
                settings: vec![clicks(1, 0), clicks(3, 2), PromptSetting::Box],
                negatives: vec![Negatives::Ring],
                ..Options::default()
            },
        })
    }

    /// The mean Dice of each data set and prompt setting.
    pub(crate) fn scores(&self, learner: &Learner, device: &Device) -> Result<Vec<RealScore>> {
        if self.datasets.is_empty() {
            return Ok(Vec::new());
        }
        let trained = Trained {
            predictor: Predictor::new(&learner.sam, device),
            multimask: learner.multimask(),
        };
        let segmenters: Vec<Box<dyn Segmenter>> = vec![Box::new(trained)];
        // Always to the end: a resumed run must find what an uninterrupted one finds.
        let never = AtomicBool::new(false);
        let found = evaluate(
            &self.datasets,
            &segmenters,
            &self.options,
            &RunOptions::default(),
            |_| (),
            &never,
        )?;
        let mut scores = Vec::new();
        for dataset in &self.datasets {
            for setting in &self.options.settings {
                let of = |row: &&Row| row.dataset == dataset.name && row.prompt.setting == *setting;
                let rows: Vec<&Row> = found.rows.iter().filter(of).collect();
                let dice = |row: &&Row| row.outcome.as_ref().map_or(0.0, |scores| scores.dice);
                scores.push(RealScore {
                    data: dataset.name.clone(),
                    prompts: setting.to_string(),
                    dice: rows.iter().map(dice).sum::<f64>() / rows.len().max(1) as f64,
                    objects: rows.len(),
                });
            }
        }
        Ok(scores)
    }
}

/// Mean over data sets and prompt settings.
pub(crate) fn mean_dice(scores: &[RealScore]) -> f64 {
    scores.iter().map(|score| score.dice).sum::<f64>() / scores.len().max(1) as f64
}

/// The model in training under evaluation, asked for masks as it is trained to give them.
#[derive(Clone)]
struct Trained {
    predictor: Predictor,
    multimask: bool,
}

impl Segmenter for Trained {
    fn name(&self) -> &'static str {
        "training"
    }

    /// Never looked up: nothing of these runs is kept.
    fn identity(&self) -> String {
        self.name().to_owned()
    }

    fn fork(&self) -> Box<dyn Segmenter> {
        Box::new(self.clone())
    }

    fn set_image(&mut self, image: &RgbImage) -> synthfm_eval::Result<()> {
        Ok(self.predictor.set_image(image)?)
    }

    fn segment(&mut self, prompts: &PromptSet) -> synthfm_eval::Result<Mask> {
        let single_click = prompts.clicks.len() == 1 && prompts.bounding_box.is_none();
        let output = if self.multimask && single_click {
            MaskOutput::Multi
        } else {
            MaskOutput::Single
        };
        let clicks = prompts.clicks.iter();
        let prompts = Prompts {
            points: clicks.map(|click| (click.point, click.positive)).collect(),
            box_: prompts.bounding_box,
            ..Prompts::default()
        };
        Ok(self.predictor.answer(&prompts, output)?.mask)
    }
}
