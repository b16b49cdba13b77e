//! A training run's configuration: everything that determines its result, in one TOML file.

mod model;
mod prompts;
mod views;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use synthfm_sam::PrecisionChoice;
use synthfm_synth::GeneratorConfig;

use crate::distillation::DistillationConfig;
use crate::ema::EmaConfig;
use crate::loss::LossConfig;
use crate::optimizer::AdamWConfig;
use crate::plan::FinetuneConfig;
use crate::reuse::ReuseConfig;
use crate::schedule::ScheduleConfig;
use crate::validation::ValidationConfig;
use crate::{Error, Result};

pub use model::{Mode, ModelSpec};
pub use prompts::{CorrectionConfig, CountedAnswers, PromptConfig};
pub use views::ViewConfig;

/// A training run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainConfig {
    /// Determines initial weights, samples and prompts.
    pub seed: u64,
    /// The parts of the model that are trained.
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
    /// Parts that are computed at once on the CPU, 1 to `accumulate`: they share the threads, and all of them are in memory.
    /// The result is the same, bit for bit, for every value.
    pub parts_at_once: usize,
    /// Most structures per image, which share its encoding.
    pub objects_per_image: usize,
    /// Smallest ratio of the shorter to the longer side of a sample, drawn uniformly from here to 1
    /// (1: every sample has the generator's own size).
    pub min_aspect: f32,
    /// Chance at which a structure that lies inside another one can be asked about, cells apart, 0 to 1 (1: as any other).
    /// What annotators outline is more often the whole than a part of it.
    pub nested_targets: f32,
    /// Index of the first sample.
    pub first_index: u64,
    /// Checkpoint whose image encoder is used (`.pth`, `.safetensors` or a model folder).
    pub encoder: Option<PathBuf>,
    /// Precision of the products of a step, forward and backward: `f32`, `bf16` (processors with AVX512-BF16; sums, weights,
    /// moments and what lies between products are in single precision), or `auto`, which takes bf16 where the processor
    /// has it, so that the run is another one elsewhere.
    pub precision: PrecisionChoice,
    /// Precision of products in a frozen image encoder: `f32`, `bf16` (processors with AVX512-BF16), `f16` (GPUs), or
    /// `auto`, which takes what the device has, so that the run is another one elsewhere.
    pub encoder_precision: PrecisionChoice,
    /// Whether the prompt encoder keeps the weights that `init` or else `encoder` has for it.
    pub freeze_prompt_encoder: bool,
    /// Model to start from instead of random weights.
    pub init: Option<PathBuf>,
    /// Steps between checkpoints.
    pub checkpoint_every: u64,
    /// Newest checkpoints that are kept.
    pub keep_checkpoints: usize,
    /// Checkpoints after multiples of this many steps are kept for good; 0: none.
    pub keep_every: u64,
    /// Steps between lines of `metrics.jsonl`.
    pub log_every: u64,
    /// The model.
    pub model: ModelSpec,
    /// Which part of a scene the model sees.
    pub views: ViewConfig,
    /// Prompts in training.
    pub prompts: PromptConfig,
    /// Terms of the loss.
    pub loss: LossConfig,
    /// An earlier model whose answers to single clicks are targets beside the truth.
    pub distillation: DistillationConfig,
    /// The image encoder's rates in mode `finetune`.
    pub finetune: FinetuneConfig,
    /// The optimizer.
    pub optimizer: AdamWConfig,
    /// The learning rate.
    pub schedule: ScheduleConfig,
    /// The average of the weights.
    pub ema: EmaConfig,
    /// Epochs that share their images, with embeddings on disk.
    pub reuse: ReuseConfig,
    /// Scores on held-out samples along the way.
    pub validation: ValidationConfig,
    /// The synthetic images.
    pub generator: GeneratorConfig,
    /// The synthetic images that single clicks are trained on, where they are others: each is shown as a whole, and its
    /// structures are equally likely to be asked about. What one click means is learned from the sizes that structures
    /// have, which windows around them would distort.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub single_click_generator: Option<GeneratorConfig>,
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
            parts_at_once: 1,
            objects_per_image: 1,
            min_aspect: 1.0,
            nested_targets: 1.0,
            first_index: 0,
            encoder: None,
            precision: PrecisionChoice::F32,
            encoder_precision: PrecisionChoice::F32,
            freeze_prompt_encoder: false,
            init: None,
            checkpoint_every: 500,
            keep_checkpoints: 2,
            keep_every: 0,
            log_every: 10,
            model: ModelSpec::VitH,
            views: ViewConfig::default(),
            prompts: PromptConfig::default(),
            loss: LossConfig::default(),
            distillation: DistillationConfig::default(),
            finetune: FinetuneConfig::default(),
            optimizer: AdamWConfig::default(),
            schedule: ScheduleConfig::default(),
            ema: EmaConfig::default(),
            reuse: ReuseConfig::default(),
            validation: ValidationConfig::default(),
            generator: GeneratorConfig::default(),
            single_click_generator: None,
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
        let (at_once, parts) = (self.parts_at_once as u64, self.accumulate as u64);
        whole("parts_at_once", at_once, parts)?;
        whole("objects_per_image", self.objects_per_image as u64, 64)?;
        whole("checkpoint_every", self.checkpoint_every, u64::MAX)?;
        whole("keep_checkpoints", self.keep_checkpoints as u64, u64::MAX)?;
        if !self.keep_every.is_multiple_of(self.checkpoint_every) {
            return Err(Error::Parameter(format!(
                "keep_every: {} is no multiple of checkpoint_every, {}",
                self.keep_every, self.checkpoint_every
            )));
        }
        whole("log_every", self.log_every, u64::MAX)?;
        self.views.validate()?;
        self.prompts.validate()?;
        if !(0.25..=1.0).contains(&self.min_aspect) {
            return Err(Error::Parameter(format!(
                "min_aspect: {} is outside 0.25 to 1",
                self.min_aspect
            )));
        }
        if !(0.0..=1.0).contains(&self.nested_targets) {
            return Err(Error::Parameter(format!(
                "nested_targets: {} is outside 0 to 1",
                self.nested_targets
            )));
        }
        if self.precision == PrecisionChoice::F16 {
            let problem = "precision: f16 is not trained in; use f32, bf16 or auto";
            return Err(Error::Parameter(problem.to_owned()));
        }
        if self.encoder_precision != PrecisionChoice::F32 && self.mode != Mode::Decoder {
            return Err(Error::Parameter(format!(
                "encoder_precision: {} is for an image encoder that is frozen (mode \"decoder\")",
                self.encoder_precision
            )));
        }
        self.loss.validate()?;
        self.optimizer.validate()?;
        self.finetune.validate()?;
        self.schedule.validate()?;
        self.ema.validate()?;
        self.validation.validate()?;
        self.generator
            .validate()
            .map_err(|e| Error::Parameter(format!("generator: {e}")))?;
        if let Some(generator) = &self.single_click_generator {
            let field = "single_click_generator";
            let checked = generator.validate();
            checked.map_err(|e| Error::Parameter(format!("{field}: {e}")))?;
        }
        let model = self.model.resolve();
        model.validate()?;
        self.reuse.validate(self, &model)?;
        self.distillation.validate(self)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::Decay;

    #[test]
    fn the_recipe_with_sam_2_differs_in_the_model_alone() {
        let config = |text: &str| TrainConfig::from_toml(text).unwrap();
        let paper = config(include_str!("../../../../configs/synthfm-vit-h.toml"));
        let sam2 = config(include_str!("../../../../configs/synthfm-sam2-b.toml"));
        let model = ModelSpec::Sam2BasePlus;
        assert_eq!(sam2, TrainConfig { model, ..paper });
    }

    /// What the paper states, number by number.
    #[test]
    #[expect(clippy::float_cmp, reason = "numbers as the file has them")]
    fn the_papers_recipe_is_to_the_letter() {
        let text = include_str!("../../../../configs/synthfm-vit-h.toml");
        let config = TrainConfig::from_toml(text).unwrap();
        assert_eq!(config.mode, Mode::Decoder);
        assert_eq!(config.model, ModelSpec::VitH);
        assert_eq!(config.model.resolve().image_size, 1024);
        assert_eq!((config.epochs, config.images_per_epoch), (100, 10_000));
        assert_eq!((config.batch_size, config.accumulate), (1, 1));
        assert_eq!(config.steps(), 1_000_000);
        assert_eq!(
            (config.schedule.peak, config.schedule.decay),
            (1e-4, Decay::Constant)
        );
        assert_eq!(
            (config.schedule.at(0, 1), config.schedule.at(999_999, 1)),
            (1e-4, 1e-4)
        );
        assert_eq!(config.loss, LossConfig::default());
        let LossConfig {
            dice,
            focal,
            balanced,
            iou,
            multimask,
        } = config.loss;
        assert_eq!([dice, focal, balanced, iou], [1.0, 0.0, 0.0, 0.0]);
        assert!(!multimask && config.freeze_prompt_encoder);
        let size = config.generator.size;
        assert_eq!((size.height, size.width), (1024, 1024));
        assert_eq!((config.reuse.epochs, config.min_aspect), (1, 1.0));
        assert_eq!((config.ema.decay, config.optimizer.clip_norm), (0.0, 0.0));
        // The defaults are the recipe, the prompt encoder apart.
        let defaults = TrainConfig {
            freeze_prompt_encoder: true,
            generator: config.generator.clone(),
            ..TrainConfig::default()
        };
        assert_eq!(config, defaults);
    }

    #[test]
    fn every_configuration_of_the_repository_is_valid() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs");
        let mut count = 0;
        for folder in [root.clone(), root.join("ablations")] {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path
                    .extension()
                    .is_some_and(|extension| extension == "toml")
                {
                    let config = TrainConfig::load(&path).unwrap();
                    // What is written into a run's folder is read back.
                    assert_eq!(TrainConfig::from_toml(&config.to_toml()).unwrap(), config);
                    count += 1;
                }
            }
        }
        assert!(count >= 10);
    }
}
