//! All that a step changes: weights, the optimizer's moments, and the average of the weights.

use crate::ema::Ema;
use crate::gradients::GradientSet;
use crate::learner::Learner;
use crate::optimizer::AdamW;

/// A model in training with what its next step needs.
#[derive(Debug)]
pub(crate) struct Trainee {
    pub(crate) learner: Learner,
    pub(crate) optimizer: AdamW,
    /// The average of the weights, where the configuration asks for one.
    pub(crate) ema: Option<Ema>,
}

impl Trainee {
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
