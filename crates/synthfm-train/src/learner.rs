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
use crate::corrections::Corrections;
use crate::data::{Batch, ObjectGroup};
use crate::distillation::{Teacher, distillation_loss};
use crate::gradients::GradientSet;
use crate::loss::{LossConfig, hard_dice, total_loss};
use crate::multimask::{most_confident, multimask_loss};
use crate::parameters::{for_each_parameter, frozen_sha256};
use crate::plan::{ParameterGroup, Plan, parameter_groups};
use crate::reuse::EmbeddingReuse;

/// The result of a forward pass.
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
    /// Arithmetic of a frozen encoder's products.
    arithmetic: Arithmetic,
    /// Arithmetic of all other products.
    step: Arithmetic,
    /// Where embeddings are looked up.
    recall: Option<EmbeddingReuse>,
    /// Whose answers to single clicks are targets beside the truth.
    teacher: Option<Teacher>,
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
            step: Arithmetic::F32,
            recall: None,
            teacher: None,
        }
    }

    /// The learner with a frozen encoder's products in the given arithmetic.
    #[must_use]
    pub fn with_arithmetic(self, arithmetic: Arithmetic) -> Self {
        Self { arithmetic, ..self }
    }

    /// The learner with all products but a frozen encoder's, forward and backward, in the given arithmetic.
    #[must_use]
    pub fn with_step_in(self, step: Arithmetic) -> Self {
        Self { step, ..self }
    }

    /// The arithmetic of all products but a frozen encoder's.
    pub(crate) fn step_arithmetic(&self) -> Arithmetic {
        self.step
    }

    /// The learner for passes without gradients, and so without a teacher: a record that no backward pass consumes would be
    /// kept.
    pub(crate) fn without_gradients(&self) -> Self {
        Self {
            sam: self.sam.valid(),
            device: self.device.clone().without_autodiff(),
            records: false,
            teacher: None,
            ..self.clone()
        }
    }

    /// The learner with a record of gradients that no other pass shares: passes of several threads, each through a
    /// learner of its own, do not wait for each other.
    pub(crate) fn with_own_record(&self) -> Self {
        Self {
            sam: self.sam.clone().map(&mut Rerecorder),
            ..self.clone()
        }
    }

    /// The learner with embeddings that are looked up, for batches that bring their pictures.
    pub(crate) fn with_recall(self, recall: Option<EmbeddingReuse>) -> Self {
        Self { recall, ..self }
    }

    /// The learner with a teacher of single clicks.
    pub(crate) fn with_teacher(self, teacher: Option<Teacher>) -> Self {
        Self { teacher, ..self }
    }

    /// Loss and Dice of one batch; `None` if it has no object.
    pub fn forward(&self, batch: &Batch) -> Result<Option<StepOutput>> {
        if batch.objects() == 0 {
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
            let images = floats(&batch.images, shape, &self.device);
            return self.sam.encode_in(images, self.step);
        };
        let plain = self.device.clone().without_autodiff();
        let images = floats(&batch.images, shape, &plain);
        let embedding = encoder.forward(images, self.arithmetic);
        if self.records {
            recorded(embedding)
        } else {
            embedding
        }
    }

    /// Loss and Dice of a batch that has objects, whose images are encoded.
    ///
    /// # Panics
    /// If it has no object.
    pub fn answer(&self, embedding: &ImageEmbedding, batch: &Batch) -> StepOutput {
        let objects = batch.objects() as f32;
        let (mut loss, mut dice, mut logits) = (None, 0.0, Vec::new());
        let taught = match &self.teacher {
            Some(teacher) => teacher.answers(batch),
            None => vec![None; batch.groups.len()],
        };
        for (group, taught) in batch.groups.iter().zip(taught) {
            let answer = self.answer_group(embedding, group.clone(), &batch.corrections, taught);
            let share = group.len() as f32 / objects;
            dice += answer.dice * share;
            logits.push(answer.logits);
            let part = answer.loss * share;
            loss = Some(match loss {
                Some(sum) => sum + part,
                None => part,
            });
        }
        StepOutput {
            loss: loss.expect("a batch that is answered has objects"),
            logits: Tensor::cat(logits, 0),
            dice,
        }
    }

    /// Decodes every object of a group in one call, and again after each correction; the loss is that of the last answer
    /// or the mean over all. The first answer is compared with the teacher's logits too, where there are some.
    fn answer_group(
        &self,
        embedding: &ImageEmbedding,
        mut group: ObjectGroup,
        corrections: &Corrections,
        taught: Option<Tensor<3>>,
    ) -> StepOutput {
        let plain = self.device.clone().without_autodiff();
        let mut prompts = self.prompts(&group, &plain);
        if !corrections.every && corrections.rounds() > 0 {
            prompts = self.corrected(embedding, prompts, &mut group, corrections);
            return self.judged(embedding, prompts, &group, None).0;
        }
        let (mut output, mut answers) = self.judged(embedding, prompts.clone(), &group, taught);
        for round in 0..corrections.rounds() {
            let side = self.config.image_size;
            prompts = corrections.correct(round, prompts, answers, &mut group, side);
            let next;
            (next, answers) = self.judged(embedding, prompts.clone(), &group, None);
            output = StepOutput {
                loss: output.loss + next.loss,
                ..next
            };
        }
        output.loss = output.loss / (corrections.rounds() + 1) as f32;
        output
    }

    /// One answer to prompts on the plain device, with its loss against the truth and against what a teacher answered;
    /// and the answers' logits `[N, 1, m, m]` without a record.
    fn judged(
        &self,
        embedding: &ImageEmbedding,
        prompts: PromptBatch,
        group: &ObjectGroup,
        taught: Option<Tensor<3>>,
    ) -> (StepOutput, Tensor<4>) {
        let (objects, m) = (group.len(), self.config.low_res_side());
        let prompts = if self.records {
            recorded_prompts(prompts)
        } else {
            prompts
        };
        let (of_object, masks) = (&group.image_of_object, self.masks_for(&prompts));
        let output = self
            .sam
            .decode_in(embedding, &prompts, of_object, masks, self.step);
        let target = floats(&group.targets, [objects, m, m], &self.device);

        let (logits, iou) = (output.low_res_logits, output.iou);
        let answers = most_confident(self.plain(&logits), self.plain(&iou));
        let flat = answers.clone().reshape([objects, m, m]);
        let dice = hard_dice(flat.clone(), self.plain(&target));
        let loss = if logits.dims()[1] == 1 {
            let (logits, iou) = (logits.reshape([objects, m, m]), iou.reshape([objects]));
            let loss = total_loss(self.loss, logits.clone(), target, iou);
            match (&self.teacher, taught) {
                (Some(teacher), Some(taught)) => {
                    let taught = if self.records {
                        taught.autodiff()
                    } else {
                        taught
                    };
                    loss + distillation_loss(logits, taught) * teacher.weight
                }
                _ => loss,
            }
        } else {
            multimask_loss(self.loss, logits, target, iou)
        };
        let output = StepOutput {
            loss: loss.mean(),
            logits: flat,
            dice,
        };
        (output, answers)
    }

    /// A tensor of this learner's device on the plain device, without its record.
    fn plain<const D: usize>(&self, tensor: &Tensor<D>) -> Tensor<D> {
        let tensor = tensor.clone();
        if self.records { tensor.inner() } else { tensor }
    }

    /// The prompts with the clicks that correct earlier answers. Nothing flows back into those, so that they come without
    /// a record.
    fn corrected(
        &self,
        embedding: &ImageEmbedding,
        mut prompts: PromptBatch,
        group: &mut ObjectGroup,
        corrections: &Corrections,
    ) -> PromptBatch {
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
        for round in 0..corrections.rounds() {
            let (of_object, masks) = (&group.image_of_object, learner.masks_for(&prompts));
            let answer = learner
                .sam
                .decode_in(embedding, &prompts, of_object, masks, self.step);
            let logits = most_confident(answer.low_res_logits, answer.iou);
            prompts = corrections.correct(round, prompts, logits, group, self.config.image_size);
        }
        prompts
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

    /// A group's prompts before any correction, on the given device.
    fn prompts(&self, group: &ObjectGroup, device: &Device) -> PromptBatch {
        prompt_batch(group, self.config.low_res_side(), device)
    }
}

/// A group's prompts before any correction, on the given device, for a model with `cells` along a side of its logits.
pub(crate) fn prompt_batch(group: &ObjectGroup, cells: usize, device: &Device) -> PromptBatch {
    let objects = group.len();
    let mut prompts = PromptBatch::default();
    if !group.labels.is_empty() {
        let count = group.labels.len() / objects;
        let coords = floats(&group.points, [objects, count, 2], device);
        let labels = TensorData::new(group.labels.clone(), [objects, count]);
        let labels = Tensor::<2, Int>::from_data(labels, device);
        prompts = PromptBatch::from_points(coords, labels);
    }
    if !group.boxes.is_empty() {
        prompts.boxes = Some(floats(&group.boxes, [objects, 4], device));
    }
    if !group.masks.is_empty() {
        prompts.masks = Some(floats(&group.masks, [objects, 1, cells, cells], device));
    }
    prompts
}

/// Values in row-major order as a tensor.
pub(crate) fn floats<const D: usize>(
    values: &[f32],
    shape: [usize; D],
    device: &Device,
) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values.to_vec(), shape), device)
}

/// An embedding on a device that records gradients.
pub(crate) fn recorded(embedding: ImageEmbedding) -> ImageEmbedding {
    embedding.map(Tensor::autodiff)
}

/// Prompts on a device that records gradients.
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

/// Gives every parameter a new record.
struct Rerecorder;

impl ModuleMapper for Rerecorder {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.map(|tensor| {
            let trained = tensor.is_require_grad();
            Tensor::autodiff(tensor.inner()).set_require_grad(trained)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{CountedAnswers, TrainConfig};
    use crate::data::BatchMaker;
    use crate::init::initialise;

    /// A learner and a batch with three corrections of each object, of several kinds of prompts.
    fn corrected_batch() -> (Learner, Batch) {
        let text = include_str!("../../../configs/tiny.toml");
        let mut config = TrainConfig::from_toml(text).unwrap();
        config.batch_size = 4;
        config.prompts.per_image = true;
        config.prompts.rough_mask = 0.5;
        config.prompts.neighbour_mask = 0.3;
        config.prompts.corrections.probability = 1.0;
        config.prompts.corrections.max_rounds = 3;
        config.prompts.corrections.loss = CountedAnswers::Every;
        let (model, device) = (config.model.resolve(), Device::flex());
        let sam = initialise(Sam::new(&model, &device), config.seed);
        let learner = Learner::new(sam, model.clone(), config.mode, config.loss, &device);
        let maker = BatchMaker::new(config, model);
        let mut batches = (0..200).map(|step| maker.batch(step));
        let full = |batch: &Batch| {
            let single = batch.groups.iter().filter(|group| group.is_single_click());
            let single = single.count();
            batch.corrections.rounds() == 3 && single > 0 && batch.groups.len() > single
        };
        (learner, batches.find(full).unwrap())
    }

    #[test]
    fn a_teacher_adds_its_divergence_on_single_clicks_alone() {
        // Untrained models differ little.
        const WEIGHT: f32 = 200.0;
        let (learner, mut batch) = corrected_batch();
        batch.corrections = Corrections::central(0);
        let (model, device) = (learner.config.clone(), Device::flex());
        let loss = |learner: &Learner| {
            let output = learner.forward(&batch).unwrap().unwrap();
            output.loss.into_scalar::<f32>()
        };
        let teacher = |seed| {
            let sam = initialise(Sam::new(&model, &device), seed);
            Teacher::new(sam, &model, WEIGHT, &device)
        };
        let alone = loss(&learner);
        let own = learner.sam.valid();
        let same = Teacher::new(own, &model, WEIGHT, &device);
        let with_itself = loss(&learner.clone().with_teacher(Some(same)));
        assert!((alone - with_itself).abs() < 1e-5, "{alone}, {with_itself}");

        let other = teacher(77);
        let answers = other.answers(&batch);
        let (mut expected, mut clicked) = (alone, 0);
        for (group, taught) in batch.groups.iter().zip(answers) {
            assert_eq!(taught.is_some(), group.is_single_click());
            let Some(taught) = taught else { continue };
            let embedding = learner.without_gradients().encode(&batch);
            let prompts = learner.prompts(group, &device);
            let answer = learner.sam.valid().decode_in(
                &embedding,
                &prompts,
                &group.image_of_object,
                MaskOutput::Single,
                Arithmetic::F32,
            );
            let m = model.low_res_side();
            let logits = answer.low_res_logits.reshape([group.len(), m, m]);
            let mean = distillation_loss(logits, taught)
                .mean()
                .into_scalar::<f32>();
            expected += WEIGHT * mean * group.len() as f32 / batch.objects() as f32;
            clicked += group.len();
        }
        assert!(clicked > 0 && clicked < batch.objects());
        let taught = loss(&learner.clone().with_teacher(Some(other)));
        assert!(taught > alone + 0.01, "{alone}, {taught}");
        assert!(
            (taught / expected - 1.0).abs() < 1e-5,
            "{taught}, {expected}"
        );
    }

    #[test]
    fn every_answer_counts_as_it_does_alone() {
        let (learner, batch) = corrected_batch();
        let output = learner.forward(&batch).unwrap().unwrap();
        let got = learner.gradients(&output);
        // Each answer by itself, with a pass and a backward of its own.
        let plain = Device::flex();
        let (mut losses, mut sum) = (0.0, BTreeMap::<String, Vec<f32>>::new());
        for round in 0..4 {
            for group in &batch.groups {
                let mut group = group.clone();
                let embedding = learner.encode(&batch);
                let mut prompts = learner.prompts(&group, &plain);
                for earlier in 0..round {
                    let (_, answers) = learner.judged(&embedding, prompts.clone(), &group, None);
                    prompts = batch.corrections.correct(
                        earlier,
                        prompts,
                        answers,
                        &mut group,
                        learner.config.image_size,
                    );
                }
                let (mut alone, _) = learner.judged(&embedding, prompts, &group, None);
                let share = group.len() as f32 / batch.objects() as f32 / 4.0;
                alone.loss = alone.loss * share;
                losses += alone.loss.clone().into_scalar::<f32>();
                for (key, values) in learner.gradients(&alone).iter() {
                    let sum = sum.entry(key.to_owned()).or_insert(vec![0.0; values.len()]);
                    sum.iter_mut().zip(values).for_each(|(s, v)| *s += v);
                }
            }
        }
        let loss = output.loss.into_scalar::<f32>();
        assert!((loss / losses - 1.0).abs() < 1e-5, "{loss}, {losses}");
        let size = |values: &[f32]| values.iter().fold(0.0_f32, |m, v| m.max(v.abs()));
        let largest = sum.values().map(|g| size(g)).fold(0.0, f32::max);
        assert!(got.iter().map(|(key, _)| key).eq(sum.keys()));
        for (key, values) in got.iter() {
            let off: Vec<f32> = values.iter().zip(&sum[key]).map(|(a, b)| a - b).collect();
            let allowed = 1e-4 * size(&sum[key]) + 1e-6 * largest;
            assert!(size(&off) <= allowed, "{key}: {}", size(&off));
        }
    }
}
