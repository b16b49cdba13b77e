//! Gradients as plain arrays under the parameters' checkpoint keys, and their mean over the parts of a batch.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, Gradients, Tensor, Transaction};
use rayon::prelude::*;
use synthfm_sam::KeyPath;

use crate::parallel::Processes;

/// The values of a float tensor in row-major order.
pub(crate) fn host_values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor
        .into_data()
        .try_into_vec()
        .expect("modules of this project hold f32")
}

/// Copies the values of a tensor on the CPU.
type Copying = Box<dyn FnOnce() -> Vec<f32> + Send>;

/// Tensors by name that are read at once: a device that works beside the host waits for it once, not once for each. The
/// CPU's are copied on all threads.
#[derive(Default)]
pub(crate) struct Reading {
    names: Vec<String>,
    transaction: Transaction,
    on_cpu: Vec<(String, Copying)>,
}

impl Reading {
    pub(crate) fn add<const D: usize>(&mut self, name: String, tensor: Tensor<D>) {
        if tensor.device() == Device::flex() {
            let copy = Box::new(move || host_values(tensor));
            return self.on_cpu.push((name, copy));
        }
        self.names.push(name);
        self.transaction = std::mem::take(&mut self.transaction).register(tensor);
    }

    /// Row-major values by name.
    pub(crate) fn values(self) -> BTreeMap<String, Vec<f32>> {
        let data = self.transaction.execute().into_iter();
        let floats = data.map(|data| {
            data.try_into_vec()
                .expect("modules of this project hold f32")
        });
        let copies = self
            .on_cpu
            .into_par_iter()
            .map(|(name, copy)| (name, copy()));
        let copies: Vec<_> = copies.collect();
        self.names.into_iter().zip(floats).chain(copies).collect()
    }
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
            reading: Reading,
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
                    self.reading.add(self.path.key(), grad);
                }
            }
        }
        let mut collector = Collector {
            path: KeyPath::default(),
            gradients,
            reading: Reading::default(),
        };
        module.visit(&mut collector);
        Self {
            values: collector.reading.values(),
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
            let (chunks, rest) = grad.as_chunks::<8>();
            for chunk in chunks {
                for (sum, &g) in lanes.iter_mut().zip(chunk) {
                    *sum += f64::from(g) * f64::from(g);
                }
            }
            for (sum, &g) in lanes.iter_mut().zip(rest) {
                *sum += f64::from(g) * f64::from(g);
            }
            lanes.iter().sum()
        };
        let squares: Vec<f64> = self.values.par_iter().map(|(_, g)| squares(g)).collect();
        squares.iter().sum::<f64>().sqrt()
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

/// The sum over the parts of a step's batch. Each part counts by its objects, so that loss and gradients are the
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

    /// Replaces the sum over this process's parts by that over all processes; `trained` names every trained parameter
    /// with its length. Whether one of the processes is to `stop`.
    pub(crate) fn reduce(
        &mut self,
        processes: &Processes,
        trained: &[(String, usize)],
        stop: bool,
    ) -> bool {
        if processes.size() == 1 {
            return stop;
        }
        let own = self.objects as f32;
        let stops = f32::from(u8::from(stop));
        let mut totals = [own, self.loss * own, self.dice * own, stops];
        processes.sum(&mut totals);
        let [objects, loss, dice, stops] = totals;
        if objects > 0.0 {
            let mut values = self.flattened(trained);
            processes.sum(&mut values);
            self.gradients = Some(unflattened(&values, trained, objects));
            (self.loss, self.dice) = (loss / objects, dice / objects);
        }
        self.objects = objects as usize;
        stops > 0.0
    }

    /// For each trained parameter 1 where it has a gradient, then all gradients times the objects, 0 where there is none.
    fn flattened(&mut self, trained: &[(String, usize)]) -> Vec<f32> {
        let (own, set) = (self.objects as f32, self.gradients.take());
        let set = set.unwrap_or_default();
        let mut values: Vec<f32> = trained
            .iter()
            .map(|(name, _)| f32::from(u8::from(set.get(name).is_some())))
            .collect();
        for (name, length) in trained {
            match set.get(name) {
                Some(gradient) => values.extend(gradient.iter().map(|g| g * own)),
                None => values.extend(std::iter::repeat_n(0.0, *length)),
            }
        }
        values
    }

    /// Gradients of the mean loss; `None` if the batch has no object.
    pub(crate) fn take_gradients(&mut self) -> Option<GradientSet> {
        self.gradients.take()
    }
}

/// Undoes [`StepSum::flattened`] for values summed over processes: the gradients as a mean over `objects`.
fn unflattened(values: &[f32], trained: &[(String, usize)], objects: f32) -> GradientSet {
    let (present, mut rest) = values.split_at(trained.len());
    let mut set = GradientSet::default();
    for ((name, length), present) in trained.iter().zip(present) {
        let (gradient, after) = rest.split_at(*length);
        rest = after;
        if *present > 0.0 {
            let mean = gradient.iter().map(|g| g / objects).collect();
            set.values.insert(name.clone(), mean);
        }
    }
    set
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
    fn sums_over_processes_are_means_over_their_objects() {
        let trained = [("a", 2), ("b", 1), ("c", 1)].map(|(name, n)| (name.to_owned(), n));
        let mut first = StepSum::default();
        first.add(set(&[("a", &[1.0, 2.0])]), 0.5, 0.25, 1);
        let mut second = StepSum::default();
        second.add(set(&[("a", &[5.0, -2.0]), ("b", &[4.0])]), 1.5, 0.75, 3);
        let none = StepSum::default().flattened(&trained);
        let sums = first
            .flattened(&trained)
            .into_iter()
            .zip(second.flattened(&trained));
        let total: Vec<f32> = sums.zip(none).map(|((a, b), c)| a + b + c).collect();
        let gradients = unflattened(&total, &trained, 4.0);
        assert_eq!(gradients.get("a"), Some([4.0, -1.0].as_slice()));
        assert_eq!(gradients.get("b"), Some([3.0].as_slice()));
        assert_eq!(gradients.get("c"), None, "no process has a gradient");
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
