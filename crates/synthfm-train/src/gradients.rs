//! Gradients as plain arrays under the parameters' checkpoint keys, and their mean over the parts of a batch.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Gradients, Tensor};
use synthfm_sam::KeyPath;

/// The values of a float tensor in row-major order.
pub(crate) fn host_values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor
        .into_data()
        .try_into_vec()
        .expect("modules of this project hold f32")
}

/// Gradients by parameter name; parameters without one are absent.
#[derive(Debug, Default)]
pub struct GradientSet {
    values: BTreeMap<String, Vec<f32>>,
}

impl GradientSet {
    /// Takes the gradients of `module`'s trainable parameters out of `gradients`.
    pub fn collect<M: Module>(module: &M, gradients: &mut Gradients) -> Self {
        struct Collector<'a> {
            path: KeyPath,
            gradients: &'a mut Gradients,
            values: BTreeMap<String, Vec<f32>>,
        }
        impl ModuleVisitor for Collector<'_> {
            fn enter_module(&mut self, name: &str, container: &str) {
                self.path.enter(name, container);
            }
            fn exit_module(&mut self, _: &str, _: &str) {
                self.path.exit();
            }
            fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
                if let Some(grad) = param.val().grad_remove(self.gradients) {
                    self.values.insert(self.path.key(), host_values(grad));
                }
            }
        }
        let mut collector = Collector {
            path: KeyPath::default(),
            gradients,
            values: BTreeMap::new(),
        };
        module.visit(&mut collector);
        Self {
            values: collector.values,
        }
    }

    /// The gradient of one parameter.
    pub fn get(&self, name: &str) -> Option<&[f32]> {
        self.values.get(name).map(Vec::as_slice)
    }

    /// Names and gradients, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[f32])> {
        self.values
            .iter()
            .map(|(name, grad)| (name.as_str(), grad.as_slice()))
    }

    /// Euclidean norm over all gradients; not finite if any value is not.
    pub fn global_norm(&self) -> f64 {
        let squares = |grad: &Vec<f32>| -> f64 {
            let mut lanes = [0.0_f64; 8];
            for chunk in grad.chunks(8) {
                lanes
                    .iter_mut()
                    .zip(chunk)
                    .for_each(|(s, &g)| *s += f64::from(g) * f64::from(g));
            }
            lanes.iter().sum()
        };
        self.values.values().map(squares).sum::<f64>().sqrt()
    }

    /// Takes one parameter's gradient out.
    pub(crate) fn take(&mut self, name: &str) -> Option<Vec<f32>> {
        self.values.remove(name)
    }

    /// `a · self + b · other`; a parameter that one of them lacks counts as 0 there.
    fn weighted(mut self, a: f32, other: Self, b: f32) -> Self {
        for (name, theirs) in other.values {
            match self.values.entry(name) {
                Entry::Occupied(mut mine) => {
                    let pairs = mine.get_mut().iter_mut().zip(&theirs);
                    pairs.for_each(|(x, y)| *x = *x * a + *y * b);
                }
                Entry::Vacant(place) => {
                    place.insert(theirs.iter().map(|y| y * b).collect());
                }
            }
        }
        self
    }
}

/// What the parts of a step's batch add up to. Each part counts by its objects, so that loss and gradients are the
/// whole batch's up to rounding, however it is split.
#[derive(Debug, Default)]
pub(crate) struct StepSum {
    /// Gradient of the mean loss over the objects so far; absent without objects.
    gradients: Option<GradientSet>,
    /// Objects so far.
    pub(crate) objects: usize,
    /// Mean loss over the objects.
    pub(crate) loss: f32,
    /// Mean Dice over the objects, 0 to 1.
    pub(crate) dice: f32,
}

impl StepSum {
    /// Adds a part of the batch: its gradients, mean loss and mean Dice, over its `objects`.
    pub(crate) fn add(&mut self, gradients: GradientSet, loss: f32, dice: f32, objects: usize) {
        let share = objects as f32 / (self.objects + objects) as f32;
        self.gradients = Some(match self.gradients.take() {
            Some(sum) => sum.weighted(1.0 - share, gradients, share),
            None => gradients,
        });
        self.objects += objects;
        self.loss += share * (loss - self.loss);
        self.dice += share * (dice - self.dice);
    }

    /// Gradients of the mean loss; `None` if the batch has no object.
    pub(crate) fn take_gradients(&mut self) -> Option<GradientSet> {
        self.gradients.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(values: &[(&str, &[f32])]) -> GradientSet {
        let owned = values.iter().map(|(k, v)| ((*k).to_owned(), v.to_vec()));
        GradientSet {
            values: owned.collect(),
        }
    }

    #[test]
    fn parts_count_by_their_objects() {
        let mut sum = StepSum::default();
        sum.add(set(&[("a", &[1.0, 2.0])]), 0.5, 0.25, 1);
        sum.add(set(&[("a", &[5.0, -2.0]), ("b", &[4.0])]), 1.5, 0.75, 3);
        assert_eq!((sum.objects, sum.loss, sum.dice), (4, 1.25, 0.625));
        let gradients = sum.take_gradients().unwrap();
        assert_eq!(gradients.get("a"), Some([4.0, -1.0].as_slice()));
        assert_eq!(gradients.get("b"), Some([3.0].as_slice()));
    }

    #[test]
    fn a_single_part_stays_as_it_is() {
        let mut sum = StepSum::default();
        assert!(sum.take_gradients().is_none());
        sum.add(set(&[("a", &[0.1, 1e-30])]), 0.3, 0.7, 7);
        assert_eq!((sum.loss, sum.dice), (0.3, 0.7));
        let gradients = sum.take_gradients().unwrap();
        assert_eq!(gradients.get("a"), Some([0.1, 1e-30].as_slice()));
    }
}
