//! Exponential moving average of the trained weights (Polyak & Juditsky 1992): smoother than the weights of the last
//! step, and what is validated and kept where it is on. The decay warms up as in TensorFlow's
//! `ExponentialMovingAverage`, `min(decay, (1 + t) / (10 + t))`, so that the random weights of step 0 are soon forgotten.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Tensor, TensorData};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use synthfm_sam::KeyPath;

use crate::parameters::trained_values;
use crate::{Error, Result};

/// The average of the weights.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EmaConfig {
    /// Part of the average that a step keeps, 0 to below 1 (0.999 looks back about 1,000 steps). 0: no average; the
    /// paper names none.
    pub decay: f64,
}

impl EmaConfig {
    /// Checks the range.
    pub fn validate(&self) -> Result<()> {
        if (0.0..1.0).contains(&self.decay) {
            return Ok(());
        }
        Err(Error::Parameter(format!(
            "ema.decay: {} is not a number from 0 to below 1",
            self.decay
        )))
    }
}

/// The averages of a module's trainable parameters, under their checkpoint keys.
#[derive(Debug, Clone, PartialEq)]
pub struct Ema {
    decay: f64,
    updates: u64,
    averages: BTreeMap<String, Vec<f32>>,
}

impl Ema {
    /// Starts from the weights that `module` has, or goes on after `updates` steps from averages that it holds.
    pub fn of<M: Module>(module: &M, decay: f64, updates: u64) -> Self {
        Self {
            decay,
            updates,
            averages: trained_values(module),
        }
    }

    /// Steps that went into the averages.
    pub fn updates(&self) -> u64 {
        self.updates
    }

    /// Takes the weights after a step into the averages.
    pub fn update<M: Module>(&mut self, module: &M) {
        self.updates += 1;
        let t = self.updates as f64;
        let part = (1.0 - self.decay.min((1.0 + t) / (10.0 + t))) as f32;
        let values = trained_values(module);
        let pairs = self.averages.values_mut().zip(values.values());
        let pairs: Vec<_> = pairs.collect();
        pairs.into_par_iter().for_each(|(average, values)| {
            let pairs = average.iter_mut().zip(values);
            pairs.for_each(|(average, value)| *average += (value - *average) * part);
        });
    }

    /// `module` with the averages in place of its weights.
    pub fn applied_to<M: Module>(&self, module: M) -> M {
        module.map(&mut Applier {
            path: KeyPath::default(),
            averages: &self.averages,
        })
    }
}

struct Applier<'a> {
    path: KeyPath,
    averages: &'a BTreeMap<String, Vec<f32>>,
}

impl ModuleMapper for Applier<'_> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.exit();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(average) = self.averages.get(&self.path.key()) else {
            return param;
        };
        param.map(|tensor| {
            let data = TensorData::new(average.clone(), tensor.shape());
            Tensor::from_data(data, &tensor.device()).require_grad()
        })
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    /// One trained and one frozen parameter.
    #[derive(Module, Debug)]
    struct Pair {
        trained: Param<Tensor<1>>,
        frozen: Param<Tensor<1>>,
    }

    fn pair(trained: f32, frozen: f32) -> Pair {
        let device = Device::flex().autodiff();
        let tensor = |value: f32| Tensor::<1>::from_floats([value], &device);
        Pair {
            trained: Param::from_tensor(tensor(trained)),
            frozen: Param::from_tensor(tensor(frozen)).set_require_grad(false),
        }
    }

    fn values(pair: &Pair) -> [f32; 2] {
        [&pair.trained, &pair.frozen].map(|param| param.val().into_scalar())
    }

    #[test]
    fn the_decay_warms_up_to_its_value() {
        let mut ema = Ema::of(&pair(0.0, 7.0), 0.25, 0);
        // Decays: 2/11, then 3/12 = 1/4, then 1/4 throughout.
        let mut expected = 0.0;
        for (decay, weight) in [(2.0 / 11.0, 11.0), (0.25, 4.0), (0.25, -3.0)] {
            ema.update(&pair(weight, 7.0));
            expected += (weight - expected) * (1.0 - decay);
            let [got, _] = values(&ema.applied_to(pair(weight, 7.0)));
            assert!((got - expected).abs() < 1e-5, "{got}, expected {expected}");
        }
        assert_eq!(ema.updates(), 3);
    }

    #[test]
    #[expect(clippy::float_cmp, reason = "averages of equal numbers")]
    fn frozen_parameters_are_left_alone() {
        let mut ema = Ema::of(&pair(1.0, 7.0), 0.5, 0);
        ema.update(&pair(1.0, 9.0));
        assert_eq!(values(&ema.applied_to(pair(5.0, 8.0))), [1.0, 8.0]);
    }

    #[test]
    fn averages_continue_from_a_module_that_holds_them() {
        let mut whole = Ema::of(&pair(0.0, 0.0), 0.9, 0);
        whole.update(&pair(1.0, 0.0));
        let mut resumed = Ema::of(&whole.applied_to(pair(1.0, 0.0)), 0.9, whole.updates());
        for ema in [&mut whole, &mut resumed] {
            ema.update(&pair(-2.0, 0.0));
        }
        assert_eq!(whole, resumed);
    }

    #[test]
    fn a_decay_that_forgets_nothing_is_refused() {
        for decay in [1.0, -0.1, f64::NAN] {
            assert!(EmaConfig { decay }.validate().is_err(), "{decay}");
        }
    }
}
