//! One training step: batch to tensors, forward, loss, gradients; and which parameters take part.

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Device, Int, Tensor, TensorData};
use synthfm_sam::{
    ImageEmbedding, KeyPath, MaskOutput, PromptBatch, Sam, SamConfig, is_buffer, weights_sha256,
};

use crate::config::Mode;
use crate::data::Batch;
use crate::gradients::GradientSet;
use crate::loss::{LossConfig, total_loss};

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
    mode: Mode,
    loss: LossConfig,
    device: Device,
    /// Whether passes are recorded for gradients.
    records: bool,
}

impl Learner {
    /// Takes `sam` into training on its (plain) device; in [`Mode::Decoder`] the image encoder is frozen.
    pub fn new(sam: Sam, config: SamConfig, mode: Mode, loss: LossConfig, device: &Device) -> Self {
        let device = device.clone().autodiff();
        let sam = sam.map(&mut Adopter {
            path: KeyPath::default(),
            device: &device,
            mode,
        });
        Self {
            sam,
            config,
            mode,
            loss,
            device,
            records: true,
        }
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

    /// Loss and Dice of one batch; `None` if it has no object.
    pub fn forward(&self, batch: &Batch) -> Option<StepOutput> {
        let has_objects = !batch.image_of_object.is_empty();
        has_objects.then(|| self.answer(&self.encode(batch), batch))
    }

    /// The embedding of a batch's images; the paper's encoder is frozen, so nothing flows back into it.
    pub(crate) fn encode(&self, batch: &Batch) -> ImageEmbedding {
        let side = self.config.image_size;
        let count = batch.images.len() / (3 * side * side);
        let embedding = self
            .sam
            .encode(self.floats(&batch.images, [count, 3, side, side]));
        if self.mode == Mode::Decoder {
            embedding.detach()
        } else {
            embedding
        }
    }

    /// Loss and Dice of a batch that has objects, whose images are encoded.
    pub(crate) fn answer(&self, embedding: &ImageEmbedding, batch: &Batch) -> StepOutput {
        let objects = batch.image_of_object.len();
        let (side, m) = (self.config.image_size, self.config.low_res_side());

        // Decode every object of every image in one call, after the corrections of earlier answers.
        let decode = |embedding: &ImageEmbedding, prompts: &PromptBatch| {
            let objects = &batch.image_of_object;
            self.sam
                .decode(embedding, prompts, objects, MaskOutput::Single)
        };
        let mut prompts = self.prompts(batch, objects);
        let mut corrections = batch.corrections.clone();
        for _ in 0..corrections.rounds {
            let answer = decode(&embedding.clone().detach(), &prompts);
            let logits = answer.low_res_logits.detach();
            prompts = corrections.correct(prompts, logits, &batch.targets, side);
        }
        let output = decode(embedding, &prompts);
        let logits = output.low_res_logits.reshape([objects, m, m]);
        let target = self.floats(&batch.targets, [objects, m, m]);

        let plain = |tensor: Tensor<3>| if self.records { tensor.inner() } else { tensor };
        let answers = plain(logits.clone());
        let dice = hard_dice(answers.clone(), plain(target.clone()));
        let iou = output.iou.reshape([objects]);
        let loss = total_loss(self.loss, logits, target, iou).mean();
        StepOutput {
            loss,
            logits: answers,
            dice,
        }
    }

    /// Gradients of every trainable parameter.
    pub fn gradients(&self, output: &StepOutput) -> GradientSet {
        GradientSet::collect(&self.sam, &mut output.loss.backward())
    }

    /// SHA-256 over the frozen parameters; empty if nothing is frozen.
    pub fn frozen_sha256(&self) -> String {
        match self.mode {
            Mode::Decoder => weights_sha256(&self.sam.image_encoder),
            Mode::All => String::new(),
        }
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

/// Moves parameters to the device that records gradients, and decides which of them are trained.
struct Adopter<'a> {
    path: KeyPath,
    device: &'a Device,
    mode: Mode,
}

impl ModuleMapper for Adopter<'_> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.exit();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let key = self.path.key();
        let frozen = self.mode == Mode::Decoder && key.starts_with("image_encoder.");
        let buffer = is_buffer(&key);
        param.map(|tensor| {
            Tensor::from_data(tensor.into_data(), self.device).set_require_grad(!frozen && !buffer)
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
