//! One training step: batch to tensors, forward, loss, gradients; and which parameters take part.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Device, Int, Tensor, TensorData};
use synthfm_sam::ops::Arithmetic;
use synthfm_sam::{
    EncoderConfig, ImageEmbedding, ImageEncoder, KeyPath, MaskOutput, PointPrompts, PromptBatch,
    Sam, SamConfig,
};

use crate::Result;
use crate::data::Batch;
use crate::gradients::GradientSet;
use crate::loss::{LossConfig, total_loss};
use crate::multimask::{most_confident, multimask_loss};
use crate::parameters::{for_each_parameter, frozen_sha256};
use crate::plan::{ParameterGroup, Plan, parameter_groups};
use crate::reuse::Recall;

/// What a forward pass gives.
#[derive(Debug)]
pub struct StepOutput {
    /// Mean loss over the objects: `[1]`.
    pub loss: Tensor<1>,
    /// The answers, without a record for gradients: `[N, m, m]`.
    pub logits: Tensor<3>,
    /// Mean Dice of the thresholded logits, 0 to 1.
    pub dice: f32,
}

/// A model in training.
#[derive(Debug, Clone)]
pub struct Learner {
    /// The model, on a device that records gradients.
    pub sam: Sam,
    config: SamConfig,
    plan: Plan,
    loss: LossConfig,
    device: Device,
    /// Whether passes are recorded for gradients.
    records: bool,
    /// The image encoder on the plain device, where nothing flows back into it: operations that record no gradients
    /// have faster kernels.
    frozen: Option<ImageEncoder>,
    arithmetic: Arithmetic,
    /// Where embeddings are looked up.
    recall: Option<Recall>,
}

impl Learner {
    /// Takes `sam` into training on its (plain) device; `plan` says which of its parameters are trained.
    pub fn new(
        sam: Sam,
        config: SamConfig,
        plan: impl Into<Plan>,
        loss: LossConfig,
        device: &Device,
    ) -> Self {
        let (device, plan) = (device.clone().autodiff(), plan.into());
        let sam = sam.map(&mut Adopter {
            path: KeyPath::default(),
            device: &device,
            plan,
            encoder: &config.encoder,
        });
        let frozen = (!plan.trains_encoder()).then(|| sam.image_encoder.valid());
        Self {
            sam,
            config,
            plan,
            loss,
            device,
            records: true,
            frozen,
            arithmetic: Arithmetic::F32,
            recall: None,
        }
    }

    /// The same with a frozen encoder's products in the given arithmetic.
    #[must_use]
    pub fn with_arithmetic(self, arithmetic: Arithmetic) -> Self {
        Self { arithmetic, ..self }
    }

    /// The same model for passes without gradients: a record that no backward pass consumes is kept.
    pub(crate) fn without_gradients(&self) -> Self {
        Self {
            sam: self.sam.valid(),
            device: self.device.clone().without_autodiff(),
            records: false,
            ..self.clone()
        }
    }

    /// The same with embeddings that are looked up, of batches that bring their pictures.
    pub(crate) fn with_recall(self, recall: Option<Recall>) -> Self {
        Self { recall, ..self }
    }

    /// Loss and Dice of one batch; `None` if it has no object.
    pub fn forward(&self, batch: &Batch) -> Result<Option<StepOutput>> {
        if batch.image_of_object.is_empty() {
            return Ok(None);
        }
        let embedding = match &self.recall {
            Some(recall) if !batch.pictures.is_empty() => recall.embed(&batch.pictures)?,
            _ => self.encode(batch),
        };
        Ok(Some(self.answer(&embedding, batch)))
    }

    /// The embedding of a batch's images; nothing flows back into an encoder that is frozen, as the paper's is.
    pub fn encode(&self, batch: &Batch) -> ImageEmbedding {
        let side = self.config.image_size;
        let shape = [batch.images.len() / (3 * side * side), 3, side, side];
        let Some(encoder) = &self.frozen else {
            return self.sam.encode(self.floats(&batch.images, shape));
        };
        let plain = self.device.clone().without_autodiff();
        let images = TensorData::new(batch.images.clone(), shape);
        let embedding = encoder.forward(Tensor::from_data(images, &plain), self.arithmetic);
        if self.records {
            recorded(embedding)
        } else {
            embedding
        }
    }

    /// Loss and Dice of a batch that has objects, whose images are encoded.
    pub fn answer(&self, embedding: &ImageEmbedding, batch: &Batch) -> StepOutput {
        let objects = batch.image_of_object.len();
        let m = self.config.low_res_side();

        // Decode every object of every image in one call, after the corrections of earlier answers.
        let prompts = self.corrected_prompts(embedding, batch);
        let (of_object, masks) = (&batch.image_of_object, self.masks_for(&prompts));
        let output = self.sam.decode(embedding, &prompts, of_object, masks);
        let target = self.floats(&batch.targets, [objects, m, m]);

        let (logits, iou) = (output.low_res_logits, output.iou);
        let answers = most_confident(logits.clone().detach(), iou.clone().detach());
        let plain = |tensor: Tensor<3>| if self.records { tensor.inner() } else { tensor };
        let answers = plain(answers.reshape([objects, m, m]));
        let dice = hard_dice(answers.clone(), plain(target.clone()));
        let loss = if logits.dims()[1] == 1 {
            let (logits, iou) = (logits.reshape([objects, m, m]), iou.reshape([objects]));
            total_loss(self.loss, logits, target, iou)
        } else {
            multimask_loss(self.loss, logits, target, iou)
        };
        StepOutput {
            loss: loss.mean(),
            logits: answers,
            dice,
        }
    }

    /// The batch's prompts with the clicks that correct earlier answers. Nothing flows back into those, so that they
    /// come without a record.
    fn corrected_prompts(&self, embedding: &ImageEmbedding, batch: &Batch) -> PromptBatch {
        let mut corrections = batch.corrections.clone();
        let objects = batch.image_of_object.len();
        if corrections.rounds == 0 {
            return self.prompts(batch, objects);
        }
        let plain;
        let (learner, embedding) = if self.records {
            plain = (
                self.without_gradients(),
                embedding.clone().map(Tensor::inner),
            );
            (&plain.0, &plain.1)
        } else {
            (self, embedding)
        };
        let mut prompts = learner.prompts(batch, objects);
        for _ in 0..corrections.rounds {
            let (of_object, masks) = (&batch.image_of_object, learner.masks_for(&prompts));
            let answer = learner.sam.decode(embedding, &prompts, of_object, masks);
            let logits = most_confident(answer.low_res_logits, answer.iou);
            prompts = corrections.correct(prompts, logits, &batch.targets, self.config.image_size);
        }
        if self.records {
            recorded_prompts(prompts)
        } else {
            prompts
        }
    }

    /// One mask, or several for a single click where the configuration asks for that.
    fn masks_for(&self, prompts: &PromptBatch) -> MaskOutput {
        let clicks = prompts
            .points
            .as_ref()
            .map(|points| points.labels.dims()[1]);
        let other = prompts.boxes.is_some() || prompts.masks.is_some();
        if self.loss.multimask && clicks == Some(1) && !other {
            MaskOutput::Multi
        } else {
            MaskOutput::Single
        }
    }

    /// Gradients of every trainable parameter.
    pub fn gradients(&self, output: &StepOutput) -> GradientSet {
        GradientSet::collect(&self.sam, &mut output.loss.backward())
    }

    /// Whether a single click gets several masks.
    pub(crate) fn multimask(&self) -> bool {
        self.loss.multimask
    }

    /// SHA-256 over the frozen parameters; empty if nothing is frozen.
    pub fn frozen_sha256(&self) -> String {
        frozen_sha256(&self.sam)
    }

    /// The parameters by how they are trained.
    pub fn groups(&self, weight_decay: f32) -> Vec<ParameterGroup> {
        parameter_groups(&self.sam, self.plan, &self.config, weight_decay)
    }

    /// Key and length of every trained parameter.
    pub(crate) fn trained(&self) -> Vec<(String, usize)> {
        let mut trained = Vec::new();
        for_each_parameter(&self.sam, &mut |parameter| {
            if parameter.trainable {
                trained.push((parameter.key, parameter.shape.iter().product()));
            }
        });
        trained
    }

    /// Learning rates as parts of the schedule's, of the parameters where that is not 1.
    pub fn rates(&self) -> BTreeMap<String, f64> {
        let mut rates = BTreeMap::new();
        for_each_parameter(&self.sam, &mut |parameter| {
            let rate = self.plan.rate(&parameter.key, &self.config.encoder);
            if parameter.trainable && rate < 1.0 {
                rates.insert(parameter.key, rate);
            }
        });
        rates
    }

    fn floats<const D: usize>(&self, values: &[f32], shape: [usize; D]) -> Tensor<D> {
        Tensor::from_data(TensorData::new(values.to_vec(), shape), &self.device)
    }

    fn prompts(&self, batch: &Batch, objects: usize) -> PromptBatch {
        let mut prompts = PromptBatch::default();
        if !batch.labels.is_empty() {
            let count = batch.labels.len() / objects;
            let coords = self.floats(&batch.points, [objects, count, 2]);
            let labels = TensorData::new(batch.labels.clone(), [objects, count]);
            let labels = Tensor::<2, Int>::from_data(labels, &self.device);
            prompts = PromptBatch::from_points(coords, labels);
        }
        if !batch.boxes.is_empty() {
            prompts.boxes = Some(self.floats(&batch.boxes, [objects, 4]));
        }
        prompts
    }
}

/// The same values on a device that records gradients.
pub(crate) fn recorded(embedding: ImageEmbedding) -> ImageEmbedding {
    embedding.map(Tensor::autodiff)
}

/// The same prompts on a device that records gradients.
fn recorded_prompts(prompts: PromptBatch) -> PromptBatch {
    let PromptBatch {
        points,
        boxes,
        masks,
    } = prompts;
    PromptBatch {
        points: points.map(|PointPrompts { coords, labels }| PointPrompts {
            coords: coords.autodiff(),
            labels: labels.autodiff(),
        }),
        boxes: boxes.map(Tensor::autodiff),
        masks: masks.map(Tensor::autodiff),
    }
}

/// Moves parameters to the device that records gradients, and decides which of them are trained.
struct Adopter<'a> {
    path: KeyPath,
    device: &'a Device,
    plan: Plan,
    encoder: &'a EncoderConfig,
}

impl ModuleMapper for Adopter<'_> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.exit();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let trained = self.plan.rate(&self.path.key(), self.encoder) > 0.0;
        param.map(|tensor| {
            Tensor::from_data(tensor.into_data(), self.device).set_require_grad(trained)
        })
    }
}

/// Mean Dice of `logits > 0` against `target > 1/2`.
///
/// # Shapes
/// `[N, H, W]` both
fn hard_dice(logits: Tensor<3>, target: Tensor<3>) -> f32 {
    let [n, h, w] = logits.dims();
    let p = logits.greater_scalar(0.0).float().reshape([n, h * w]);
    let t = target.greater_scalar(0.5).float().reshape([n, h * w]);
    let overlap = (p.clone() * t.clone()).sum_dim(1) * 2.0;
    let total = (p.sum_dim(1) + t.sum_dim(1)).clamp_min(1.0);
    (overlap / total).mean().into_scalar()
}
