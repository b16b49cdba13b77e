//! The user's way into the model (`segment_anything/predictor.py`): set an image once, then ask for
//! masks many times.
//!
//! Prompts are in pixels of the image and masks come back on its grid. Differs from Meta's class in
//! that prompts outside the image are refused, and that objects prompted alike share one decoder call.

mod batch;
mod check;
mod encoded;
mod sam2;
#[cfg(test)]
mod tests;

pub use encoded::EncodedImage;
pub(crate) use encoded::View;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::{Arc, OnceLock};

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use synthfm_image::{
    BoxXyxy, Image, Mask, Point2, RgbImage, Size, fill_holes, keep_clicked_components,
};

use crate::embedding::EmbeddingCache;
use crate::error::{Error, Result};
use crate::mask_decoder::{DecoderImage, MaskOutput};
use crate::ops::{Arithmetic, PrecisionChoice};
use crate::preprocess::InputTransform;
use crate::sam::Sam;
use crate::threshold::best_threshold;
use crate::views::{Views, inner_radius, smoothed};
use crate::weights::weights_sha256;

use batch::on_host;
use check::check;
use sam2::{bound, stable};

/// A mask is where its logits exceed this.
pub const MASK_THRESHOLD: f32 = 0.0;
/// Holes of our own model's masks are filled up to the mask's area divided by this.
const LARGEST_HOLE: usize = 10;
/// Bytes of memory that a pixel of an image takes at most while an answer is made: the image as it was read and in eight bits,
/// logits on its grid, and masks.
pub const BYTES_PER_PIXEL: u64 = 20;
/// Bytes of memory that a pixel of a mask's logits takes.
const BYTES_PER_LOGIT: u64 = 4;
/// Bytes of memory that a pixel takes at most while a mask is made of logits.
const BYTES_PER_MASK_PIXEL: u64 = 9;
/// What the model takes at most beside the maps on the image's grid: its own maps, and the program's threads.
const MODEL_BYTES: u64 = 128 << 20;
/// What may be taken above a limit and its quarter.
const SLACK_BYTES: u64 = 64 << 20;
/// Objects per decoder call on a GPU: bounds the memory of a long prompt list.
const MAX_OBJECTS_PER_CALL: usize = 16;
/// Objects per decoder call on a CPU: more of them do not fit its caches (8 MB of map each).
const OBJECTS_PER_CPU_CALL: usize = 2;

/// What the user knows about one object, in pixels of the image.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Prompts {
    /// Clicks; `true` on the object, `false` beside it.
    pub points: Vec<(Point2, bool)>,
    /// A box around the object.
    pub box_: Option<BoxXyxy>,
    /// Low-resolution logits of an earlier answer, `m m` values.
    pub mask_input: Option<Vec<f32>>,
    /// The answer so far, or a rough mask, on the image's grid. [`Predictor::answer`] has the clicks correct it;
    /// elsewhere, and for SAM's models, it counts for nothing unless it is given as `mask_input` too.
    pub earlier: Option<Mask>,
}

/// One mask of an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct PredictedMask {
    /// Logits on the image's grid.
    pub logits: Image,
    /// The model's estimate of this mask's `IoU`.
    pub iou: f32,
    /// Logits `[m, m]` over the padded square, as [`Prompts::mask_input`] takes them.
    pub low_res_logits: Vec<f32>,
}

impl PredictedMask {
    /// Where the logits exceed [`MASK_THRESHOLD`].
    pub fn mask(&self) -> Mask {
        mask_above(&self.logits, MASK_THRESHOLD)
    }
}

/// Whether the system has so many bytes for maps of an image's size, and some for the model beside them.
fn check_room(size: Size, bytes: u64) -> Result<()> {
    let found = synthfm_image::check_room(size, bytes.saturating_add(MODEL_BYTES));
    found.map_err(|_| Error::OutOfMemory { size, bytes })
}

fn mask_above(logits: &Image, threshold: f32) -> Mask {
    let mut mask = Mask::zeros(logits.size());
    for (inside, &logit) in mask.data_mut().iter_mut().zip(logits.data()) {
        *inside = logit > threshold;
    }
    mask
}

/// A mask without stray parts and small holes.
fn tidied(mask: &Mask, prompts: &Prompts) -> Mask {
    let clicks = |on_object: bool| -> Vec<Point2> {
        let kind = prompts.points.iter().filter(|(_, on)| *on == on_object);
        kind.map(|&(point, _)| point).collect()
    };
    let mask = keep_clicked_components(mask, &clicks(true));
    fill_holes(&mask, mask.area() / LARGEST_HOLE, &clicks(false))
}

/// One mask at the decoder's own resolution.
#[derive(Debug, Clone, PartialEq)]
pub struct LowResMask {
    /// `[m, m]` over the padded square.
    pub logits: Vec<f32>,
    /// The model's estimate of this mask's `IoU`.
    pub iou: f32,
}

/// The masks for one object: one, or the alternatives of a multi-mask answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Prediction {
    /// In the model's order: one, or the alternatives.
    pub masks: Vec<PredictedMask>,
}

impl Prediction {
    /// The mask with the highest estimated `IoU`; `None` only where there is no mask.
    pub fn best(&self) -> Option<&PredictedMask> {
        self.masks.iter().max_by(|a, b| a.iou.total_cmp(&b.iou))
    }

    /// [`Self::best`], without the others.
    pub fn into_best(self) -> Option<PredictedMask> {
        let masks = self.masks.into_iter();
        masks.max_by(|a, b| a.iou.total_cmp(&b.iou))
    }
}

/// A model and the image it is asked about. Clones share the weights.
#[derive(Debug, Clone)]
pub struct Predictor {
    sam: Sam,
    device: Device,
    arithmetic: Arithmetic,
    /// Position encoding of every cell, see [`crate::PromptEncoder::dense_pe`]: computing it takes longer than a click.
    image_pe: Tensor<3>,
    image: Option<EncodedImage>,
    views: Views,
    /// Computed when first asked for: it reads all weights.
    encoder_sha256: Arc<OnceLock<String>>,
    cache: Option<Arc<EmbeddingCache>>,
    /// Bytes that images and answers may take; `None` for any.
    max_memory: Option<u64>,
}

impl Predictor {
    /// Wraps a model for inference on `device`, where its weights must be.
    pub fn new(sam: &Sam, device: &Device) -> Self {
        let sam = sam.valid();
        Self {
            image_pe: sam.prompt_encoder.dense_pe_tokens(),
            sam,
            device: device.clone().without_autodiff(),
            arithmetic: Arithmetic::F32,
            image: None,
            views: Views::default(),
            encoder_sha256: Arc::default(),
            cache: None,
            max_memory: None,
        }
    }

    /// A predictor that refuses images whose answers need more than so many bytes of memory, a quarter more and 64 MiB:
    /// about [`BYTES_PER_PIXEL`] for each pixel of an image.
    #[must_use]
    pub fn with_max_memory(self, bytes: u64) -> Self {
        let max_memory = Some(bytes);
        Self { max_memory, ..self }
    }

    /// A predictor that encodes images in another precision.
    ///
    /// # Errors
    /// [`crate::ops::Error::NoBf16`] or [`crate::ops::Error::NoF16`] where the device does not compute in it.
    pub fn with_precision(self, precision: PrecisionChoice) -> Result<Self> {
        let arithmetic = precision.on(&self.device)?;
        Ok(Self { arithmetic, ..self })
    }

    /// A predictor that looks for answers of our own model in other views; see [`Predictor::answer`].
    #[must_use]
    pub fn with_views(self, views: Views) -> Self {
        Self { views, ..self }
    }

    /// Where answers of our own model are looked for.
    pub const fn views(&self) -> Views {
        self.views
    }

    /// A predictor that looks images up before it encodes them. Clones share the cache, as other models may.
    #[must_use]
    pub fn with_cache(self, cache: impl Into<Arc<EmbeddingCache>>) -> Self {
        let cache = Some(cache.into());
        Self { cache, ..self }
    }

    /// Where images are looked up.
    pub fn cache(&self) -> Option<&EmbeddingCache> {
        self.cache.as_deref()
    }

    /// [`weights_sha256`] of the image encoder.
    pub fn encoder_sha256(&self) -> &str {
        self.encoder_sha256
            .get_or_init(|| weights_sha256(&self.sam.image_encoder))
    }

    /// How images are encoded.
    pub fn arithmetic(&self) -> Arithmetic {
        self.arithmetic
    }

    /// Half precision on GPUs is the encoder's alone.
    fn decoder_arithmetic(&self) -> Arithmetic {
        match self.arithmetic {
            Arithmetic::F32 | Arithmetic::F16 => Arithmetic::F32,
            Arithmetic::Bf16 => Arithmetic::Bf16,
        }
    }

    /// The model.
    pub fn sam(&self) -> &Sam {
        &self.sam
    }

    /// The device.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The image that prompts refer to.
    pub fn image(&self) -> Option<&EncodedImage> {
        self.image.as_ref()
    }

    /// Encodes an image, or takes its embedding from the cache; prompts refer to it from here on.
    ///
    /// # Errors
    /// As [`Self::encode`].
    pub fn set_image(&mut self, image: &RgbImage) -> Result<()> {
        let image = self.encode_or_recall(image)?;
        self.set_encoded_image(image);
        Ok(())
    }

    /// Takes an image encoded earlier by the same model.
    pub fn set_encoded_image(&mut self, image: EncodedImage) {
        self.image = Some(image);
    }

    /// The predictor without its image.
    #[must_use]
    pub fn without_image(self) -> Self {
        Self {
            image: None,
            ..self
        }
    }

    /// Encodes an image without keeping it, and without a look into the cache.
    ///
    /// # Errors
    /// Where the image has no pixel, or so many that the memory for an answer is above the limit or is not there.
    pub fn encode(&self, image: &RgbImage) -> Result<EncodedImage> {
        self.check_memory(image.size())?;
        let encoded = self.encode_as(image, false)?;
        Ok(encoded.with_picture(image, self.sam.config()))
    }

    /// Encodes an image as it is, or turned by half a turn; its pixels are not kept.
    pub(crate) fn encode_as(&self, image: &RgbImage, turned: bool) -> Result<EncodedImage> {
        let config = self.sam.config();
        let transform = InputTransform::new(image.size(), config)?;
        let side = transform.side();
        let mut input = transform.preprocess(image, config);
        if turned {
            transform.turn_input(&mut input);
        }
        let input = TensorData::new(input, [1, 3, side, side]);
        let input = Tensor::from_data(input, &self.device);
        let embedding = self.sam.encode_in(input, self.arithmetic);
        Ok(EncodedImage::new(embedding, transform))
    }

    /// Whether there is memory for the answers about an image: they are several maps of its size, and each could fail.
    pub(crate) fn check_memory(&self, size: Size) -> Result<()> {
        let bytes = (size.area() as u64).saturating_mul(BYTES_PER_PIXEL);
        let most = self
            .max_memory
            .map(|limit| limit.saturating_add(limit / 4 + SLACK_BYTES));
        if let Some(limit) = self
            .max_memory
            .filter(|_| most.is_some_and(|most| bytes > most))
        {
            return Err(Error::ImageMemory { size, bytes, limit });
        }
        check_room(size, bytes)
    }

    /// Masks for one object.
    pub fn predict(&self, prompts: &Prompts, output: MaskOutput) -> Result<Prediction> {
        let predictions = self.predict_many(std::slice::from_ref(prompts), output)?;
        let masks = predictions.into_iter().flat_map(|p| p.masks).collect();
        Ok(Prediction { masks })
    }

    /// Masks for several objects on the image, in the order of their prompts; fails at the first bad prompt.
    pub fn predict_many(&self, prompts: &[Prompts], output: MaskOutput) -> Result<Vec<Prediction>> {
        let image = self.image.as_ref().ok_or(Error::NoImage)?;
        let on_image = |masks| self.on_image(image, masks);
        let answers = self.decode(prompts, output)?;
        answers.into_iter().map(on_image).collect()
    }

    /// Masks for many objects on the image, handed to `consume` with their place in `prompts` as soon as their
    /// decoder call is done, so that only the masks of one call are held. Objects prompted alike share calls,
    /// hence the order. A bad prompt gets its error and the others still come; `consume` can end it all.
    pub fn predict_each(
        &self,
        prompts: &[Prompts],
        output: MaskOutput,
        mut consume: impl FnMut(usize, Result<Prediction>) -> ControlFlow<()>,
    ) -> Result<()> {
        let image = self.image.as_ref().ok_or(Error::NoImage)?;
        self.check_output(output)?;
        let on_image = |masks| self.on_image(image, masks);
        let consume = |i, masks: Result<_>| consume(i, masks.and_then(on_image));
        // Whether it was ended is known to who ended it.
        let _ = self.decode_each(image, prompts, output, consume);
        Ok(())
    }

    /// The structure that `prompts` mean, from one of the masks that they gave.
    ///
    /// SAM's models: where the logits exceed [`MASK_THRESHOLD`], as Meta's code has it. Our own model's are cut at the
    /// threshold, from there down to -1, that gives the best Dice to be expected from its own probabilities (Lipton et al.
    /// 2014). It is trained on connected structures: parts without a positive click go ([`keep_clicked_components`]), and holes up to a
    /// tenth of the mask without a negative click are filled ([`fill_holes`]). Outlines are smoothed by a blur of the
    /// probabilities in proportion to the structure's thickness.
    pub fn mask(&self, answer: &PredictedMask, prompts: &Prompts) -> Mask {
        if !self.sam.config().is_own() {
            return answer.mask();
        }
        let transform = self.image.as_ref().map(|image| image.transform);
        let fits = |transform: &InputTransform| transform.original() == answer.logits.size();
        if let Some(transform) = transform.filter(fits) {
            return self.own_mask(answer, prompts, &transform);
        }
        let threshold = best_threshold(answer.logits.data());
        tidied(&mask_above(&answer.logits, threshold), prompts)
    }

    /// The mask of our own model's answer in a view.
    pub(crate) fn own_mask(
        &self,
        answer: &PredictedMask,
        prompts: &Prompts,
        transform: &InputTransform,
    ) -> Mask {
        let threshold = best_threshold(answer.logits.data());
        let mask = tidied(&mask_above(&answer.logits, threshold), prompts);
        let m = self.sam.config().low_res_side();
        let share = self.views.policy().smoothing;
        if share <= 0.0 || answer.low_res_logits.len() != m * m {
            return mask;
        }
        let cells_per_pixel = transform.input_from_pixel(Point2::new(1.0, 1.0)).x * m as f64
            / transform.side() as f64;
        let sd = share * inner_radius(&mask) * cells_per_pixel;
        let shown = transform.shown_cells(m);
        let smooth = smoothed(&answer.low_res_logits, m, shown, threshold, sd);
        drop(mask);
        tidied(&transform.mask_above(&smooth, m, threshold), prompts)
    }

    /// Masks for several objects as the decoder gives them, in the order of their prompts: one or the
    /// alternatives for each. Fails at the first bad prompt.
    pub fn decode(&self, prompts: &[Prompts], output: MaskOutput) -> Result<Vec<Vec<LowResMask>>> {
        let image = self.image.as_ref().ok_or(Error::NoImage)?;
        self.check_output(output)?;
        let mut answers: Vec<Vec<LowResMask>> = vec![Vec::new(); prompts.len()];
        let mut failure = None;
        let _ = self.decode_each(image, prompts, output, |i, masks| match masks {
            Ok(masks) => {
                answers[i] = masks;
                ControlFlow::Continue(())
            }
            Err(error) => {
                failure = Some(error);
                ControlFlow::Break(())
            }
        });
        failure.map_or(Ok(answers), Err)
    }

    /// One object's mask on an image that need not be the one that is set.
    pub(crate) fn decode_one(&self, image: &EncodedImage, prompts: &Prompts) -> Result<LowResMask> {
        let mut found = Err(Error::EmptyPrompt);
        let one = std::slice::from_ref(prompts);
        let _ = self.decode_each(image, one, MaskOutput::Single, |_, masks| {
            found = masks.and_then(|masks| masks.into_iter().next().ok_or(Error::EmptyPrompt));
            ControlFlow::Continue(())
        });
        found
    }

    /// Refuses alternatives that nobody trained.
    fn check_output(&self, output: MaskOutput) -> Result<()> {
        if output != MaskOutput::Single && !self.sam.config().has_alternatives() {
            return Err(Error::NoAlternatives);
        }
        Ok(())
    }

    /// Bad prompts first, then one decoder call after the other.
    fn decode_each(
        &self,
        image: &EncodedImage,
        prompts: &[Prompts],
        output: MaskOutput,
        mut consume: impl FnMut(usize, Result<Vec<LowResMask>>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let low_res_side = self.sam.config().low_res_side();
        // SAM 2 gives one of the alternatives where its single mask is unstable.
        let may_fall_back = output == MaskOutput::Single && self.sam.config().is_sam2();
        let asked = if may_fall_back {
            MaskOutput::All
        } else {
            output
        };
        // A call needs equally many points for each object: filling up would change the answer.
        let mut alike: BTreeMap<(usize, bool, bool), Vec<usize>> = BTreeMap::new();
        for (i, prompt) in prompts.iter().enumerate() {
            if let Err(error) = check(prompt, image.transform.original(), low_res_side) {
                consume(i, Err(error))?;
                continue;
            }
            let kind = (
                prompt.points.len(),
                prompt.box_.is_some(),
                prompt.mask_input.is_some(),
            );
            alike.entry(kind).or_default().push(i);
        }
        for group in alike
            .values()
            .flat_map(|g| g.chunks(self.objects_per_call()))
        {
            let members: Vec<&Prompts> = group.iter().map(|&i| &prompts[i]).collect();
            let batch = self.batch(&members, &image.transform, low_res_side);
            let side = image.side(&self.sam, &self.image_pe);
            let image = DecoderImage {
                embedding: &image.embedding,
                image_pe: &self.image_pe,
                image_of_object: &vec![0; group.len()],
                image_tokens: side,
            };
            let answer =
                on_host(
                    self.sam
                        .decode_on(&image, &batch, asked, self.decoder_arithmetic()),
                );
            for (&i, masks) in group.iter().zip(answer) {
                let masks = if may_fall_back { stable(masks) } else { masks };
                consume(i, Ok(masks))?;
            }
        }
        ControlFlow::Continue(())
    }

    /// Masks of one object on the image's grid.
    fn on_image(&self, image: &EncodedImage, masks: Vec<LowResMask>) -> Result<Prediction> {
        let size = image.transform.original();
        let bytes_per_pixel = masks.len() as u64 * BYTES_PER_LOGIT + BYTES_PER_MASK_PIXEL;
        check_room(size, (size.area() as u64).saturating_mul(bytes_per_pixel))?;
        let side = self.sam.config().low_res_side();
        let masks = masks.into_iter().map(|mut mask| {
            let logits = image.transform.postprocess(&mask.logits, side);
            if self.sam.config().is_sam2() {
                bound(&mut mask.logits);
            }
            PredictedMask {
                logits,
                iou: mask.iou,
                low_res_logits: mask.logits,
            }
        });
        Ok(Prediction {
            masks: masks.collect(),
        })
    }

    fn objects_per_call(&self) -> usize {
        if self.device == Device::flex() {
            OBJECTS_PER_CPU_CALL
        } else {
            MAX_OBJECTS_PER_CALL
        }
    }
}
