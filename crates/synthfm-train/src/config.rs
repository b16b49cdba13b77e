//! A training run's configuration: everything that determines its result, in one TOML file.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use synthfm_sam::{EncoderConfig, SamConfig, SmallEncoderConfig};
use synthfm_synth::GeneratorConfig;

use crate::clicks::BoxJitter;
use crate::ema::EmaConfig;
use crate::loss::LossConfig;
use crate::optimizer::AdamWConfig;
use crate::schedule::ScheduleConfig;
use crate::validation::ValidationConfig;
use crate::{Error, Result};

/// What is trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// The paper: image encoder frozen, prompt encoder and mask decoder from scratch.
    Decoder,
    /// Everything from scratch, on synthetic images alone.
    All,
}

/// Which model, before any weights are loaded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ModelSpec {
    /// Meta's ViT-B with SAM's decoder.
    VitB,
    /// Meta's ViT-L with SAM's decoder.
    VitL,
    /// Meta's ViT-H with SAM's decoder: the paper's.
    VitH,
    /// Our small encoder with a narrower decoder, at an input side (a multiple of 16).
    Small {
        /// Side of the model's input in pixels.
        image_size: usize,
    },
    /// Every number given.
    Custom(Box<SamConfig>),
}

impl ModelSpec {
    /// The model's configuration.
    pub fn resolve(&self) -> SamConfig {
        match self {
            Self::VitB => SamConfig::vit_b(),
            Self::VitL => SamConfig::vit_l(),
            Self::VitH => SamConfig::vit_h(),
            Self::Small { image_size } => small(*image_size),
            Self::Custom(config) => (**config).clone(),
        }
    }
}

/// Our model: about 5 M parameters in the encoder, SAM's decoder at half its width.
fn small(image_size: usize) -> SamConfig {
    SamConfig {
        prompt_embed_dim: 128,
        decoder_mlp_dim: 512,
        iou_head_hidden_dim: 128,
        high_res_features: true,
        dense_prompts: 2,
        ..SamConfig::with_encoder(
            image_size,
            EncoderConfig::Small(SmallEncoderConfig::default()),
        )
    }
}

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
/// model answers, a click from the region where it is wrong joins the prompts, and the loss is of the last answer.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CorrectionConfig {
    /// Probability that a step corrects answers, 0 to 1. The paper: 0.
    pub probability: f32,
    /// Most clicks that are added, one per answer; their number is uniform from 1.
    pub max_rounds: usize,
    /// Probability that the model also sees the logits of its answer as a mask prompt.
    pub show_logits: f32,
    /// Probability that a click lies in the middle of the error region; otherwise it is uniform in it.
    pub centre: f32,
}

impl Default for CorrectionConfig {
    fn default() -> Self {
        Self {
            probability: 0.0,
            max_rounds: 2,
            show_logits: 0.5,
            centre: 0.5,
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
            max_positives: 4,
            max_negatives: 3,
            centre_first: 0.5,
            jitter: BoxJitter::default(),
            corrections: CorrectionConfig::default(),
        }
    }
}

/// A training run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainConfig {
    /// Determines initial weights, samples and prompts.
    pub seed: u64,
    /// What is trained.
    pub mode: Mode,
    /// Passes over `images_per_epoch` samples; samples never repeat. The paper: 100.
    pub epochs: u64,
    /// Synthetic images per epoch. The paper: 10,000.
    pub images_per_epoch: u64,
    /// Images per step. The paper: 1.
    pub batch_size: usize,
    /// Parts that a step's images are split into, one after another, to hold fewer in memory: 1 to `batch_size`.
    /// Gradients are the whole batch's, up to rounding.
    pub accumulate: usize,
    /// Most structures per image, which share its encoding.
    pub objects_per_image: usize,
    /// Smallest ratio of the shorter to the longer side of a sample, drawn uniformly from here to 1
    /// (1: every sample has the generator's own size).
    pub min_aspect: f32,
    /// Index of the first sample.
    pub first_index: u64,
    /// Checkpoint whose image encoder is used (`.pth`, `.safetensors` or a model folder).
    pub encoder: Option<PathBuf>,
    /// Model to start from instead of random weights.
    pub init: Option<PathBuf>,
    /// Steps between checkpoints.
    pub checkpoint_every: u64,
    /// Checkpoints that are kept.
    pub keep_checkpoints: usize,
    /// Steps between lines of `metrics.jsonl`.
    pub log_every: u64,
    /// The model.
    pub model: ModelSpec,
    /// Prompts in training.
    pub prompts: PromptConfig,
    /// Terms of the loss.
    pub loss: LossConfig,
    /// The optimizer.
    pub optimizer: AdamWConfig,
    /// The learning rate.
    pub schedule: ScheduleConfig,
    /// The average of the weights.
    pub ema: EmaConfig,
    /// Scores on held-back samples along the way.
    pub validation: ValidationConfig,
    /// The synthetic images.
    pub generator: GeneratorConfig,
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self {
            seed: 0,
            mode: Mode::Decoder,
            epochs: 100,
            images_per_epoch: 10_000,
            batch_size: 1,
            accumulate: 1,
            objects_per_image: 1,
            min_aspect: 1.0,
            first_index: 0,
            encoder: None,
            init: None,
            checkpoint_every: 500,
            keep_checkpoints: 2,
            log_every: 10,
            model: ModelSpec::VitH,
            prompts: PromptConfig::default(),
            loss: LossConfig::default(),
            optimizer: AdamWConfig::default(),
            schedule: ScheduleConfig::default(),
            ema: EmaConfig::default(),
            validation: ValidationConfig::default(),
            generator: GeneratorConfig::default(),
        }
    }
}

impl TrainConfig {
    /// Reads and checks a TOML file.
    pub fn load(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|source| Error::Io {
            path: path.to_owned(),
            source,
        })?;
        Self::from_toml(&text).map_err(|e| Error::Parameter(format!("{}: {e}", path.display())))
    }

    /// Parses and checks TOML text.
    pub fn from_toml(text: &str) -> Result<Self> {
        let config: Self = toml::from_str(text).map_err(|e| Error::Parameter(e.to_string()))?;
        config.validate()?;
        Ok(config)
    }

    /// The configuration as TOML.
    ///
    /// # Panics
    /// Never: every field has a TOML form.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("numbers, names and paths serialise")
    }

    /// Optimizer steps of the whole run.
    pub fn steps(&self) -> u64 {
        (self.epochs * self.images_per_epoch).div_ceil(self.batch_size as u64)
    }

    /// Checks the ranges; the message names the field.
    pub fn validate(&self) -> Result<()> {
        let whole = |name: &str, value: u64, most: u64| {
            let problem = format!("{name}: {value} is outside 1 to {most}");
            if (1..=most).contains(&value) {
                Ok(())
            } else {
                Err(Error::Parameter(problem))
            }
        };
        whole("epochs", self.epochs, 1_000_000)?;
        whole("images_per_epoch", self.images_per_epoch, 1_000_000_000)?;
        whole("batch_size", self.batch_size as u64, 1024)?;
        whole("accumulate", self.accumulate as u64, self.batch_size as u64)?;
        whole("objects_per_image", self.objects_per_image as u64, 64)?;
        whole("checkpoint_every", self.checkpoint_every, u64::MAX)?;
        whole("keep_checkpoints", self.keep_checkpoints as u64, u64::MAX)?;
        whole("log_every", self.log_every, u64::MAX)?;
        whole(
            "prompts.max_positives",
            self.prompts.max_positives as u64,
            64,
        )?;
        if self.prompts.max_negatives > 64 {
            return Err(Error::Parameter(
                "prompts.max_negatives: at most 64".to_owned(),
            ));
        }
        let PromptConfig {
            single_click,
            clicks,
            bounding_box,
            box_and_clicks,
            ..
        } = self.prompts;
        let weights = [single_click, clicks, bounding_box, box_and_clicks];
        if weights.iter().any(|w| !(w.is_finite() && *w >= 0.0))
            || weights.iter().sum::<f32>() <= 0.0
        {
            let problem = format!("prompts: weights {weights:?} must be at least 0 and not all 0");
            return Err(Error::Parameter(problem));
        }
        self.prompts.corrections.validate()?;
        if !(0.25..=1.0).contains(&self.min_aspect) {
            return Err(Error::Parameter(format!(
                "min_aspect: {} is outside 0.25 to 1",
                self.min_aspect
            )));
        }
        let LossConfig {
            dice,
            focal,
            balanced,
            iou,
        } = self.loss;
        let weights = [dice, focal, balanced, iou];
        if weights.iter().any(|w| !(w.is_finite() && *w >= 0.0)) || dice + focal + balanced <= 0.0 {
            let problem = format!(
                "loss: weights {weights:?} must be at least 0, and one of the first three above 0"
            );
            return Err(Error::Parameter(problem));
        }
        self.schedule.validate()?;
        self.ema.validate()?;
        self.validation.validate()?;
        self.generator
            .validate()
            .map_err(|e| Error::Parameter(format!("generator: {e}")))?;
        self.model.resolve().validate()?;
        Ok(())
    }
}
