//! All that a step changes: weights, the optimizer's moments, and the average of the weights.

use burn::module::Module;
use burn::tensor::Device;
use synthfm_sam::ops::Arithmetic;
use synthfm_sam::{Sam, SamConfig};

use crate::Result;
use crate::config::TrainConfig;
use crate::data::Batch;
use crate::ema::Ema;
use crate::gradients::{GradientSet, StepSum};
use crate::learner::Learner;
use crate::optimizer::AdamW;
use crate::parts::Lanes;

/// Takes `sam`, of the sizes `model`, into training in the precisions that `config` asks for.
pub(crate) fn learner(
    sam: Sam,
    config: &TrainConfig,
    model: &SamConfig,
    device: &Device,
) -> Result<Learner> {
    let arithmetic = config.encoder_precision.on(device)?;
    let step = config.precision.for_training(device)?;
    let learner = Learner::new(sam, model.clone(), config, config.loss, device);
    Ok(learner.with_arithmetic(arithmetic).with_step_in(step))
}

/// Threads for the parts that are computed at once; on other devices than the CPU parts follow one another.
pub(crate) fn lanes(config: &TrainConfig, device: &Device) -> Result<Lanes> {
    let on_cpu = *device == Device::flex();
    Lanes::new(if on_cpu { config.parts_at_once } else { 1 })
}

/// A model in training with what its next step needs.
#[derive(Debug)]
pub struct TrainState {
    pub(crate) learner: Learner,
    pub(crate) optimizer: AdamW,
    /// The average of the weights, where the configuration asks for one.
    pub(crate) ema: Option<Ema>,
    /// Threads for the parts of a batch that are computed at once.
    pub(crate) lanes: Lanes,
}

impl TrainState {
    /// Takes `sam`, of the sizes `model`, into training on its device, before any step.
    pub fn new(sam: Sam, config: &TrainConfig, model: &SamConfig, device: &Device) -> Result<Self> {
        let learner = learner(sam, config, model, device)?;
        let decay = config.ema.decay;
        Ok(Self {
            ema: (decay > 0.0).then(|| Ema::of(&learner.sam, decay, 0)),
            optimizer: AdamW::new(config.optimizer).with_rates(learner.rates()),
            lanes: lanes(config, device)?,
            learner,
        })
    }

    /// One whole step on the parts of one batch at learning rate `lr`: forward with corrections, backward, clipped AdamW,
    /// averaged weights. Gives the mean loss over the batch's objects; `None`, and no step, without objects or finite
    /// gradients.
    pub fn train_on(self, parts: &[Batch], lr: f64) -> Result<(Self, Option<f32>)> {
        let mut sum = StepSum::default();
        for parts in parts.chunks(self.lanes.count()) {
            for part in self.lanes.run(&self.learner, parts)?.into_iter().flatten() {
                sum.add(part.gradients, part.loss, part.dice, part.objects);
            }
        }
        let Some(gradients) = sum.take_gradients() else {
            return Ok((self, None));
        };
        let norm = gradients.global_norm();
        if !norm.is_finite() {
            return Ok((self, None));
        }
        Ok((self.step(gradients, norm, lr), Some(sum.loss)))
    }

    /// The arithmetic of the products of a step, forward and backward.
    pub fn arithmetic(&self) -> Arithmetic {
        self.learner.step_arithmetic()
    }

    /// Number of parameters, trained or not.
    pub fn parameters(&self) -> usize {
        self.learner.sam.num_params()
    }

    /// Takes one step at learning rate `lr`; `norm` is [`GradientSet::global_norm`].
    pub(crate) fn step(mut self, gradients: GradientSet, norm: f64, lr: f64) -> Self {
        self.learner.sam = self.optimizer.step(self.learner.sam, gradients, norm, lr);
        if let Some(ema) = &mut self.ema {
            ema.update(&self.learner.sam);
        }
        self
    }

    /// The learner with the weights that are validated and kept: the averages, or those of the last step.
    pub(crate) fn averaged(&self) -> Learner {
        let mut learner = self.learner.clone();
        if let Some(ema) = &self.ema {
            learner.sam = ema.applied_to(learner.sam);
        }
        learner
    }
}
