//! Distillation: the answers of an earlier model to single clicks, as targets beside the truth (Hinton et al. 2015). What
//! one click means is a question of what people outline, which training on with other prompts shifts; an earlier model's
//! answers keep it (learning without forgetting: Li and Hoiem 2016).

use std::path::PathBuf;

use burn::module::Module;
use burn::tensor::activation::{log_sigmoid, sigmoid};
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};
use synthfm_sam::ops::Arithmetic;
use synthfm_sam::{MaskOutput, ModelFile, PromptBatch, Sam, SamConfig};

use crate::config::{CountedAnswers, TrainConfig};
use crate::data::{Batch, ObjectGroup};
use crate::learner::{floats, prompt_batch};
use crate::parameters::frozen_sha256;
use crate::{Error, Result};

/// An earlier model whose answers to single clicks are targets beside the truth.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DistillationConfig {
    /// The earlier model's file. Absent: no distillation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub teacher: Option<PathBuf>,
    /// Weight of [`distillation_loss`] beside the loss against the truth, above 0 to 100.
    pub weight: f32,
}

impl Default for DistillationConfig {
    fn default() -> Self {
        Self {
            teacher: None,
            weight: 1.0,
        }
    }
}

impl DistillationConfig {
    /// Checks the range, and that the first answers, which the teacher gives, count.
    pub(crate) fn validate(&self, config: &TrainConfig) -> Result<()> {
        let fail = |problem: String| Err(Error::Parameter(format!("distillation{problem}")));
        if !(self.weight > 0.0 && self.weight <= 100.0) {
            return fail(format!(".weight: {} is not above 0 to 100", self.weight));
        }
        if self.teacher.is_none() {
            return Ok(());
        }
        let corrections = &config.prompts.corrections;
        if corrections.probability > 0.0 && corrections.loss != CountedAnswers::Every {
            return fail(
                ": needs prompts.corrections.loss = \"every\", so that first answers count".into(),
            );
        }
        if config.loss.multimask {
            return fail(": a single click must have one mask; turn loss.multimask off".into());
        }
        if config.reuse.is_on() {
            return fail(": needs new images; set reuse.epochs = 1".into());
        }
        Ok(())
    }
}

/// An earlier model on the plain device; nothing is recorded for gradients.
#[derive(Debug, Clone)]
pub(crate) struct Teacher {
    sam: Sam,
    /// Side of its input in pixels.
    side: usize,
    /// Cells along a side of its logits.
    cells: usize,
    arithmetic: Arithmetic,
    pub(crate) weight: f32,
    device: Device,
}

impl Teacher {
    /// The configuration's teacher for a model of the sizes `model`; `None` without one.
    ///
    /// # Errors
    /// If the file cannot be read, or its model has another input or other logits.
    pub(crate) fn open(
        config: &TrainConfig,
        model: &SamConfig,
        device: &Device,
    ) -> Result<Option<Self>> {
        let DistillationConfig { teacher, weight } = &config.distillation;
        let Some(path) = teacher else {
            return Ok(None);
        };
        let file = ModelFile::open(path)?;
        let sizes = |config: &SamConfig| (config.image_size, config.low_res_side());
        let (found, wanted) = (sizes(file.config()), sizes(model));
        if found != wanted {
            return Err(Error::Parameter(format!(
                "distillation.teacher: {} sees {} pixels and answers with {} cells a side, the model {} and {}",
                path.display(),
                found.0,
                found.1,
                wanted.0,
                wanted.1
            )));
        }
        let arithmetic = config.precision.for_training(device)?;
        Ok(Some(
            Self::new(file.load(device)?, model, *weight, device).with_arithmetic(arithmetic),
        ))
    }

    /// `sam`, a model with the input and logits of `model`, as a teacher.
    pub(crate) fn new(sam: Sam, model: &SamConfig, weight: f32, device: &Device) -> Self {
        Self {
            sam: sam.no_grad(),
            side: model.image_size,
            cells: model.low_res_side(),
            arithmetic: Arithmetic::F32,
            weight,
            device: device.clone(),
        }
    }

    /// The teacher with its products in the given arithmetic.
    fn with_arithmetic(self, arithmetic: Arithmetic) -> Self {
        Self { arithmetic, ..self }
    }

    /// SHA-256 over its weights.
    pub(crate) fn sha256(&self) -> String {
        frozen_sha256(&self.sam)
    }

    /// Its logits `[N, m, m]` for each group of single clicks, on the plain device; `None` for other groups.
    pub(crate) fn answers(&self, batch: &Batch) -> Vec<Option<Tensor<3>>> {
        // Only images that a single click is on are encoded.
        let clicked = batch.groups.iter().filter(|group| group.is_single_click());
        let mut images: Vec<usize> = clicked.flat_map(|g| g.image_of_object.clone()).collect();
        images.sort_unstable();
        images.dedup();
        if images.is_empty() {
            return vec![None; batch.groups.len()];
        }
        let size = 3 * self.side * self.side;
        let values: Vec<f32> = images
            .iter()
            .flat_map(|&i| &batch.images[i * size..(i + 1) * size])
            .copied()
            .collect();
        let shape = [images.len(), 3, self.side, self.side];
        let embedding = self
            .sam
            .encode_in(floats(&values, shape, &self.device), self.arithmetic);
        let answer = |group: &ObjectGroup| {
            if !group.is_single_click() {
                return None;
            }
            let place = |image: &usize| images.binary_search(image).expect("it was collected");
            let of_object: Vec<usize> = group.image_of_object.iter().map(place).collect();
            let prompts: PromptBatch = prompt_batch(group, self.cells, &self.device);
            let output = self.sam.decode_in(
                &embedding,
                &prompts,
                &of_object,
                MaskOutput::Single,
                self.arithmetic,
            );
            let shape = [group.len(), self.cells, self.cells];
            Some(output.low_res_logits.reshape(shape))
        };
        batch.groups.iter().map(answer).collect()
    }
}

/// Kullback-Leibler divergence of the model's probabilities from the teacher's, summed over the cells and divided by the
/// cells that the teacher's answer covers (Σ σ(taught) + 1): small and large structures weigh alike, and it is 0 where
/// both agree. Nothing flows back into `taught`.
///
/// # Shapes
/// `logits`, `taught`: `[N, H, W]` -> `[N]`
pub fn distillation_loss(logits: Tensor<3>, taught: Tensor<3>) -> Tensor<1> {
    let [n, h, w] = logits.dims();
    let [logits, taught] = [logits, taught.detach()].map(|maps| maps.reshape([n, h * w]));
    let p = sigmoid(taught.clone());
    // Cross entropy of p with σ(x) is (1 - p) x - log σ(x); that of p with itself is taken away.
    let divergence = (logits.clone() - taught.clone()) * (p.clone().neg() + 1.0)
        - (log_sigmoid(logits) - log_sigmoid(taught));
    (divergence.sum_dim(1) / (p.sum_dim(1) + 1.0)).squeeze_dim(1)
}

#[cfg(test)]
mod tests {
    use burn::tensor::TensorData;

    use super::*;

    fn maps(values: [f32; 4], device: &Device) -> Tensor<3> {
        Tensor::from_data(TensorData::new(values.to_vec(), [2, 1, 2]), device)
    }

    #[test]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "compared in single precision"
    )]
    fn the_divergence_is_that_of_the_definition() {
        let device = Device::flex();
        let (student, teacher) = ([0.5, -2.0, 30.0, -90.0], [1.5, -1.0, -3.0, -90.0]);
        let got = distillation_loss(maps(student, &device), maps(teacher, &device));
        let got: Vec<f32> = got.into_data().try_to_vec::<f32>().unwrap();
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        assert_eq!(got.len(), 2);
        for (object, got) in got.iter().enumerate() {
            let (mut sum, mut cells) = (0.0, 1.0);
            for cell in 0..2 {
                let place = 2 * object + cell;
                let (p, x) = (
                    sigmoid(f64::from(teacher[place])),
                    f64::from(student[place]),
                );
                // ln(1 - σ(x)) as ln σ(-x), which does not cancel.
                sum += p * (p.ln() - sigmoid(x).ln())
                    + (1.0 - p) * ((1.0 - p).ln() - sigmoid(-x).ln());
                cells += p;
            }
            let expected = (sum / cells) as f32;
            assert!(
                (got - expected).abs() < 1e-4 * expected.max(1.0),
                "{got} and {expected}"
            );
        }
        let same = distillation_loss(maps(student, &device), maps(student, &device));
        let same: Vec<f32> = same.into_data().try_to_vec::<f32>().unwrap();
        assert!(same.iter().all(|d| d.abs() < 1e-6), "{same:?}");
    }

    #[test]
    fn its_gradient_leads_to_the_teacher_and_stops_there() {
        let device = Device::flex().autodiff();
        let (student, teacher) = ([0.5_f32, -2.0, 1.0, 0.0], [1.5_f32, -1.0, -3.0, 2.0]);
        let logits = maps(student, &device).require_grad();
        let taught = maps(teacher, &device).require_grad();
        let loss = distillation_loss(logits.clone(), taught.clone()).sum();
        let gradients = loss.backward();
        assert!(taught.grad(&gradients).is_none());
        let got: Vec<f32> = logits
            .grad(&gradients)
            .unwrap()
            .into_data()
            .try_to_vec::<f32>()
            .unwrap();
        let sigmoid = |x: f32| 1.0 / (1.0 + (-x).exp());
        for (place, got) in got.iter().enumerate() {
            let first = place / 2 * 2;
            let covered = sigmoid(teacher[first]) + sigmoid(teacher[first + 1]) + 1.0;
            let expected = (sigmoid(student[place]) - sigmoid(teacher[place])) / covered;
            assert!((got - expected).abs() < 1e-6, "{got} and {expected}");
        }
    }
}
