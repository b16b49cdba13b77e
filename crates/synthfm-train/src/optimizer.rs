//! AdamW (Loshchilov & Hutter 2019), step for step as PyTorch's `torch.optim.AdamW`, with clipping by
//! the global norm. State and gradients are plain arrays under the parameters' checkpoint keys, so a checkpoint
//! holds them as they are and a step is one pass over memory.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Tensor, TensorData};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use synthfm_sam::KeyPath;

use crate::gradients::GradientSet;
use crate::parameters::trained_values;
use crate::{Error, Result};

/// Parameters of [`AdamW`]. Defaults are PyTorch's; the learning rate is the schedule's.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdamWConfig {
    /// Decay of the gradient's mean.
    pub beta1: f32,
    /// Decay of the squared gradient's mean.
    pub beta2: f32,
    /// Added to the root of the second moment.
    pub epsilon: f32,
    /// Decoupled weight decay.
    pub weight_decay: f32,
    /// Largest global norm of the gradients; larger ones are scaled down. 0 turns clipping off.
    pub clip_norm: f32,
}

impl Default for AdamWConfig {
    fn default() -> Self {
        Self {
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
            weight_decay: 0.01,
            clip_norm: 0.0,
        }
    }
}

impl AdamWConfig {
    /// Fails on values outside their ranges.
    pub fn validate(&self) -> Result<()> {
        let Self {
            beta1,
            beta2,
            epsilon,
            weight_decay,
            clip_norm,
        } = *self;
        let at_least_0 = |v: f32| v.is_finite() && v >= 0.0;
        for (name, value, fits, expected) in [
            ("beta1", beta1, (0.0..1.0).contains(&beta1), "0 to below 1"),
            ("beta2", beta2, (0.0..1.0).contains(&beta2), "0 to below 1"),
            (
                "epsilon",
                epsilon,
                at_least_0(epsilon) && epsilon > 0.0,
                "above 0",
            ),
            (
                "weight_decay",
                weight_decay,
                at_least_0(weight_decay),
                "0 or more",
            ),
            (
                "clip_norm",
                clip_norm,
                at_least_0(clip_norm),
                "0 (off) or more",
            ),
        ] {
            if !fits {
                return Err(Error::Parameter(format!(
                    "optimizer.{name}: {expected} expected, got {value}"
                )));
            }
        }
        Ok(())
    }
}

/// Elements per task of a step.
const CHUNK: usize = 1 << 14;

/// First and second moment of one parameter's gradient.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Moments {
    pub(crate) exp_avg: Vec<f32>,
    pub(crate) exp_avg_sq: Vec<f32>,
    /// Steps that this parameter has taken; it takes none without a gradient.
    pub(crate) steps: u64,
}

/// The optimizer's state.
#[derive(Debug, Clone, PartialEq)]
pub struct AdamW {
    config: AdamWConfig,
    /// Learning rates as parts of a step's, of the parameters where that is not 1.
    rates: BTreeMap<String, f64>,
    pub(crate) moments: BTreeMap<String, Moments>,
}

impl AdamW {
    /// No steps taken.
    pub fn new(config: AdamWConfig) -> Self {
        Self {
            config,
            rates: BTreeMap::new(),
            moments: BTreeMap::new(),
        }
    }

    /// The optimizer with learning rates of their own, as parts of a step's, for some parameters.
    #[must_use]
    pub fn with_rates(self, rates: BTreeMap<String, f64>) -> Self {
        Self { rates, ..self }
    }

    /// Takes one step at learning rate `lr`. Gradients longer than `clip_norm` altogether are scaled
    /// down, as `torch.nn.utils.clip_grad_norm_` does; `norm` is [`GradientSet::global_norm`].
    pub fn step<M: Module>(&mut self, module: M, gradients: GradientSet, norm: f64, lr: f64) -> M {
        let clip = f64::from(self.config.clip_norm);
        let scale = if clip > 0.0 {
            (clip / (norm + 1e-6)).min(1.0)
        } else {
            1.0
        };
        let mut stepper = Stepper {
            path: KeyPath::default(),
            optimizer: self,
            values: trained_values(&module),
            gradients,
            lr,
            scale: scale as f32,
        };
        module.map(&mut stepper)
    }

    fn update(&mut self, name: String, param: &mut [f32], grad: &[f32], lr: f64, scale: f32) {
        let AdamWConfig {
            beta1,
            beta2,
            epsilon,
            weight_decay,
            ..
        } = self.config;
        let zeros = || Moments {
            exp_avg: vec![0.0; grad.len()],
            exp_avg_sq: vec![0.0; grad.len()],
            steps: 0,
        };
        let moments = self.moments.entry(name).or_insert_with(zeros);
        moments.steps += 1;
        let correction = |beta: f32| 1.0 - libm::pow(f64::from(beta), moments.steps as f64);
        let step_size = (lr / correction(beta1)) as f32;
        let root = libm::sqrt(correction(beta2)) as f32;
        let keep = (1.0 - lr * f64::from(weight_decay)) as f32;
        let one = |((p, &g), (m, v)): ((&mut f32, &f32), (&mut f32, &mut f32))| {
            let g = g * scale;
            *m += (g - *m) * (1.0 - beta1);
            *v = *v * beta2 + g * g * (1.0 - beta2);
            *p = *p * keep - step_size * (*m / (v.sqrt() / root + epsilon));
        };
        param
            .par_chunks_mut(CHUNK)
            .zip(grad.par_chunks(CHUNK))
            .zip(
                moments
                    .exp_avg
                    .par_chunks_mut(CHUNK)
                    .zip(moments.exp_avg_sq.par_chunks_mut(CHUNK)),
            )
            .for_each(|((p, g), (m, v))| {
                p.iter_mut().zip(g).zip(m.iter_mut().zip(v)).for_each(one);
            });
    }
}

struct Stepper<'a> {
    path: KeyPath,
    optimizer: &'a mut AdamW,
    values: BTreeMap<String, Vec<f32>>,
    gradients: GradientSet,
    lr: f64,
    scale: f32,
}

impl ModuleMapper for Stepper<'_> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.exit();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let name = self.path.key();
        let (Some(grad), Some(mut values)) =
            (self.gradients.take(&name), self.values.remove(&name))
        else {
            return param;
        };
        let lr = self.lr * self.optimizer.rates.get(&name).copied().unwrap_or(1.0);
        param.map(|tensor| {
            let (device, shape) = (tensor.device(), tensor.shape());
            self.optimizer
                .update(name, &mut values, &grad, lr, self.scale);
            Tensor::from_data(TensorData::new(values, shape), &device).require_grad()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_have_ranges() {
        assert!(AdamWConfig::default().validate().is_ok());
        let usual = AdamWConfig::default();
        for (name, config) in [
            (
                "beta1",
                AdamWConfig {
                    beta1: 1.0,
                    ..usual
                },
            ),
            (
                "beta2",
                AdamWConfig {
                    beta2: -0.1,
                    ..usual
                },
            ),
            (
                "epsilon",
                AdamWConfig {
                    epsilon: 0.0,
                    ..usual
                },
            ),
            (
                "weight_decay",
                AdamWConfig {
                    weight_decay: f32::NAN,
                    ..usual
                },
            ),
            (
                "clip_norm",
                AdamWConfig {
                    clip_norm: f32::INFINITY,
                    ..usual
                },
            ),
        ] {
            let error = config.validate().expect_err(name).to_string();
            assert!(error.contains(name), "{error}");
        }
    }
}
