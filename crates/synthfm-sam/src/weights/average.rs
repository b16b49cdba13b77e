//! Means of weights: models that were trained on from the same weights lie in one valley of the loss, and their mean is often
//! better than each of them (model soups: Wortsman et al. 2022).

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Tensor, TensorData};

use crate::error::{Error, Result};
use crate::sam::Sam;

/// The weighted mean of the weights of models, which are added one after another.
///
/// ```no_run
/// # fn main() -> synthfm_sam::Result<()> {
/// use synthfm_sam::{Device, ModelFile, WeightMean};
///
/// let mut mean = WeightMean::default();
/// for (path, share) in [("a.safetensors", 0.25), ("b.safetensors", 0.75)] {
///     mean.add(ModelFile::open(path.as_ref())?.load(&Device::flex())?, share)?;
/// }
/// let sam = mean.finish()?;
/// # Ok(()) }
/// ```
#[derive(Debug, Default)]
pub struct WeightMean {
    /// The first model, whose weights the mean replaces.
    first: Option<Sam>,
    /// Sum of the shares.
    total: f64,
    /// Weighted sums of each tensor, in the order of the module's fields.
    sums: Vec<Vec<f64>>,
}

impl WeightMean {
    /// Adds a model with its share, a finite number above 0; shares need not sum to 1.
    ///
    /// # Errors
    /// If the share is another number, or the model has other sizes than the first.
    pub fn add(&mut self, sam: Sam, share: f64) -> Result<()> {
        if !(share.is_finite() && share > 0.0) {
            let reason = format!("share {share} is not a number above 0");
            return Err(Error::Mean { reason });
        }
        if let Some(first) = &self.first
            && first.config() != sam.config()
        {
            let reason = "a model's configuration is not that of the first".to_owned();
            return Err(Error::Mean { reason });
        }
        let mut adder = Adder {
            share,
            place: 0,
            sums: &mut self.sums,
        };
        sam.visit(&mut adder);
        self.total += share;
        self.first.get_or_insert(sam);
        Ok(())
    }

    /// A model with the mean in place of its weights.
    ///
    /// # Errors
    /// If no model was added.
    pub fn finish(self) -> Result<Sam> {
        let first = self.first.ok_or_else(|| Error::Mean {
            reason: "there is no model".to_owned(),
        })?;
        Ok(first.map(&mut Replacer {
            total: self.total,
            sums: self.sums.into_iter(),
        }))
    }
}

/// Adds the weights of one model to the sums.
struct Adder<'a> {
    share: f64,
    place: usize,
    sums: &'a mut Vec<Vec<f64>>,
}

impl ModuleVisitor for Adder<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let values = param.val().into_data_as::<f32>();
        let values = values.iter::<f32>().map(f64::from);
        match self.sums.get_mut(self.place) {
            Some(sums) => sums
                .iter_mut()
                .zip(values)
                .for_each(|(sum, value)| *sum += self.share * value),
            None => self
                .sums
                .push(values.map(|value| self.share * value).collect()),
        }
        self.place += 1;
    }
}

/// Puts the means in the place of a model's weights.
struct Replacer {
    total: f64,
    sums: std::vec::IntoIter<Vec<f64>>,
}

impl ModuleMapper for Replacer {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let sums = self
            .sums
            .next()
            .expect("models of one configuration have the same tensors");
        param.map(|tensor| {
            let mean = |sum: f64| (sum / self.total) as f32;
            let values: Vec<f32> = sums.into_iter().map(mean).collect();
            Tensor::from_data(TensorData::new(values, tensor.shape()), &tensor.device())
        })
    }
}
