//! The user's way into the model (`segment_anything/predictor.py`): set an image once, then ask for
//! masks many times.
//!
//! Prompts are in pixels of the image and masks come back on its grid. Differs from Meta's class in
//! that prompts outside the image are refused, and that objects prompted alike share one decoder call.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::{Arc, OnceLock};

use burn::module::Module;
use burn::tensor::{Device, Int, Tensor, TensorData};
use synthfm_image::{BoxXyxy, Image, Mask, Point2, RgbImage, Size, fill_holes, parts_at};

use crate::embedding::EmbeddingCache;
use crate::error::{Error, Result};
use crate::image_encoder::ImageEmbedding;
use crate::mask_decoder::{DecoderImage, MaskOutput, MaskPrediction};
use crate::ops::Arithmetic;
use crate::precision::PrecisionChoice;
use crate::preprocess::InputTransform;
use crate::prompt_encoder::{LABEL_BACKGROUND, LABEL_FOREGROUND, PointPrompts, PromptBatch};
use crate::sam::Sam;
use crate::threshold::best_threshold;
use crate::transformer::ImageSide;
use crate::weights::weights_sha256;

/// A mask is where its logits exceed this.
pub const MASK_THRESHOLD: f32 = 0.0;
/// Holes of our own model's masks are filled up to the mask's area divided by this.
const LARGEST_HOLE: usize = 10;
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
        self.mask_above(MASK_THRESHOLD)
    }

    fn mask_above(&self, threshold: f32) -> Mask {
        let mut mask = Mask::zeros(self.logits.size());
        for (inside, &logit) in mask.data_mut().iter_mut().zip(self.logits.data()) {
            *inside = logit > threshold;
        }
        mask
    }
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
}

/// An encoded image: all that prompts need of it.
#[derive(Debug, Clone)]
pub struct EncodedImage {
    /// One image's embedding.
    pub embedding: ImageEmbedding,
    /// Its pixels' place in the model's input.
    pub transform: InputTransform,
}

/// A model and the image it is asked about. Clones share the weights.
#[derive(Debug, Clone)]
pub struct Predictor {
    sam: Sam,
    device: Device,
    arithmetic: Arithmetic,
    /// Of every cell, see [`crate::PromptEncoder::dense_pe`]: takes longer than a click.
    image_pe: Tensor<3>,
    image: Option<EncodedImage>,
    /// Of that image, computed when first asked about.
    image_side: Arc<OnceLock<Option<ImageSide>>>,
    /// Computed when first asked for: it reads all weights.
    encoder_sha256: Arc<OnceLock<String>>,
    cache: Option<Arc<EmbeddingCache>>,
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
            image_side: Arc::default(),
            encoder_sha256: Arc::default(),
            cache: None,
        }
    }

    /// The same with images encoded in another precision.
    ///
    /// # Errors
    /// [`Error::NoBf16`] or [`Error::NoF16`] where the device does not compute in it.
    pub fn with_precision(self, precision: PrecisionChoice) -> Result<Self> {
        let arithmetic = precision.on(&self.device)?;
        Ok(Self { arithmetic, ..self })
    }

    /// The same with images that are looked up before they are encoded. Clones share the cache, as other models may.
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

    /// What all prompts on the image share, computed once.
    fn image_side(&self, image: &ImageEmbedding) -> Option<&ImageSide> {
        let side = || self.sam.image_side(image, &self.image_pe);
        self.image_side.get_or_init(side).as_ref()
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
    pub fn set_image(&mut self, image: &RgbImage) -> Result<()> {
        let image = self.encode_or_recall(image)?;
        self.set_encoded_image(image);
        Ok(())
    }

    /// Takes an image encoded earlier by the same model.
    pub fn set_encoded_image(&mut self, image: EncodedImage) {
        self.image = Some(image);
        self.image_side = Arc::default();
    }

    /// Encodes an image without keeping it, and without a look into the cache.
    pub fn encode(&self, image: &RgbImage) -> Result<EncodedImage> {
        let config = self.sam.config();
        let transform = InputTransform::new(image.size(), config)?;
        let side = transform.side();
        let input = TensorData::new(transform.preprocess(image, config), [1, 3, side, side]);
        let input = Tensor::from_data(input, &self.device);
        Ok(EncodedImage {
            embedding: self.sam.encode_in(input, self.arithmetic),
            transform,
        })
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
        Ok(answers.into_iter().map(on_image).collect())
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
        let on_image = |masks| self.on_image(image, masks);
        let consume = |i, masks: Result<_>| consume(i, masks.map(on_image));
        // Whether it was ended is known to who ended it.
        let _ = self.decode_each(image, prompts, output, consume);
        Ok(())
    }

    /// The structure that `prompts` mean, from one of the masks that they gave.
    ///
    /// SAM's models: where the logits exceed [`MASK_THRESHOLD`], as Meta's code has it. Our own model's are cut at the
    /// threshold, from there down to -1, that gives the best Dice to be expected from its own probabilities (Lipton et al.
    /// 2014). It is trained on connected structures: parts without a positive click go ([`parts_at`]), and holes up to a
    /// tenth of the mask without a negative click are filled ([`fill_holes`]).
    pub fn mask(&self, answer: &PredictedMask, prompts: &Prompts) -> Mask {
        if self.sam.config().dense_prompts == 0 {
            return answer.mask();
        }
        let mask = answer.mask_above(best_threshold(answer.logits.data()));
        let clicks = |on_object: bool| -> Vec<Point2> {
            let kind = prompts.points.iter().filter(|(_, on)| *on == on_object);
            kind.map(|&(point, _)| point).collect()
        };
        let mask = parts_at(&mask, &clicks(true));
        fill_holes(&mask, mask.area() / LARGEST_HOLE, &clicks(false))
    }

    /// Masks for several objects as the decoder gives them, in the order of their prompts: one or the
    /// alternatives for each. Fails at the first bad prompt.
    pub fn decode(&self, prompts: &[Prompts], output: MaskOutput) -> Result<Vec<Vec<LowResMask>>> {
        let image = self.image.as_ref().ok_or(Error::NoImage)?;
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

    /// Bad prompts first, then one decoder call after the other.
    fn decode_each(
        &self,
        image: &EncodedImage,
        prompts: &[Prompts],
        output: MaskOutput,
        mut consume: impl FnMut(usize, Result<Vec<LowResMask>>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let low_res_side = self.sam.config().low_res_side();
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
            let image = DecoderImage {
                embedding: &image.embedding,
                image_pe: &self.image_pe,
                image_of_object: &vec![0; group.len()],
                image_side: self.image_side(&image.embedding),
            };
            let answer =
                on_host(
                    self.sam
                        .decode_on(&image, &batch, output, self.decoder_arithmetic()),
                );
            for (&i, masks) in group.iter().zip(answer) {
                consume(i, Ok(masks))?;
            }
        }
        ControlFlow::Continue(())
    }

    /// Masks of one object on the image's grid.
    fn on_image(&self, image: &EncodedImage, masks: Vec<LowResMask>) -> Prediction {
        let side = self.sam.config().low_res_side();
        let masks = masks.into_iter().map(|mask| PredictedMask {
            logits: image.transform.postprocess(&mask.logits, side),
            iou: mask.iou,
            low_res_logits: mask.logits,
        });
        Prediction {
            masks: masks.collect(),
        }
    }

    fn objects_per_call(&self) -> usize {
        if self.device == Device::flex() {
            OBJECTS_PER_CPU_CALL
        } else {
            MAX_OBJECTS_PER_CALL
        }
    }

    /// Prompts of one kind as tensors in the input frame.
    fn batch(&self, prompts: &[&Prompts], transform: &InputTransform, side: usize) -> PromptBatch {
        let objects = prompts.len();
        let place = |point: Point2| {
            let Point2 { x, y } = transform.input_from_pixel(point);
            [x as f32, y as f32]
        };
        let count = prompts[0].points.len();
        let clicks = || prompts.iter().flat_map(|p| &p.points);
        let coords: Vec<f32> = clicks().flat_map(|&(point, _)| place(point)).collect();
        let labels: Vec<i64> = clicks()
            .map(|&(_, on_object)| {
                if on_object {
                    LABEL_FOREGROUND
                } else {
                    LABEL_BACKGROUND
                }
            })
            .collect();
        let points = (count > 0).then(|| PointPrompts {
            coords: Tensor::from_data(TensorData::new(coords, [objects, count, 2]), &self.device),
            labels: Tensor::<2, Int>::from_data(
                TensorData::new(labels, [objects, count]),
                &self.device,
            ),
        });
        let corners: Vec<f32> = prompts
            .iter()
            .filter_map(|p| p.box_)
            .flat_map(|b| [place(b.min), place(b.max)])
            .flatten()
            .collect();
        let boxes = (!corners.is_empty())
            .then(|| Tensor::from_data(TensorData::new(corners, [objects, 4]), &self.device));
        let masks: Vec<f32> = prompts
            .iter()
            .filter_map(|p| p.mask_input.as_deref())
            .flatten()
            .copied()
            .collect();
        let masks = (!masks.is_empty()).then(|| {
            Tensor::from_data(
                TensorData::new(masks, [objects, 1, side, side]),
                &self.device,
            )
        });
        PromptBatch {
            points,
            boxes,
            masks,
        }
    }
}

/// Masks by object.
fn on_host(answer: MaskPrediction) -> Vec<Vec<LowResMask>> {
    let [objects, per_object] = answer.iou.dims();
    let host = |data: TensorData| data.iter::<f32>().collect::<Vec<f32>>();
    let scores = host(answer.iou.into_data());
    let logits = host(answer.low_res_logits.into_data());
    let size = logits.len().checked_div(objects * per_object).unwrap_or(0);
    let masks = logits
        .chunks_exact(size.max(1))
        .zip(scores)
        .map(|(logits, iou)| LowResMask {
            logits: logits.to_vec(),
            iou,
        });
    let masks: Vec<LowResMask> = masks.collect();
    masks.chunks(per_object.max(1)).map(<[_]>::to_vec).collect()
}

/// Refuses prompts that say nothing or point outside the image.
fn check(prompts: &Prompts, size: Size, low_res_side: usize) -> Result<()> {
    let Prompts {
        points,
        box_,
        mask_input,
    } = prompts;
    if points.is_empty() && box_.is_none() && mask_input.is_none() {
        return Err(Error::EmptyPrompt);
    }
    if let Some(&(point, _)) = points.iter().find(|(point, _)| !size.contains(*point)) {
        return Err(Error::PointOutside { point, size });
    }
    if let Some(box_) = box_ {
        check_box(*box_, size)?;
    }
    let expected = low_res_side * low_res_side;
    match mask_input {
        Some(mask) if mask.len() != expected || !mask.iter().all(|v| v.is_finite()) => {
            Err(Error::BadMaskPrompt {
                expected,
                side: low_res_side,
                found: mask.len(),
            })
        }
        _ => Ok(()),
    }
}

/// A box may reach over the image's border, but must overlap it.
fn check_box(BoxXyxy { min, max }: BoxXyxy, size: Size) -> Result<()> {
    let bad = |reason| {
        Err(Error::BadBox {
            corners: [min, max],
            reason,
            size,
        })
    };
    if ![min.x, min.y, max.x, max.y].iter().all(|v| v.is_finite()) {
        return bad("corners must be finite");
    }
    if min.x > max.x || min.y > max.y {
        return bad("the first corner must be the top-left one");
    }
    let (width, height) = (size.width as f64, size.height as f64);
    if max.x < 0.0 || max.y < 0.0 || min.x > width - 1.0 || min.y > height - 1.0 {
        return bad("lies outside the image");
    }
    if min.x < -width || min.y < -height || max.x > 2.0 * width || max.y > 2.0 * height {
        return bad("reaches too far outside the image");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Recorded, assert_close, sam_tiny};

    fn predictor(io: &Recorded) -> Predictor {
        let shape = io.shape("image");
        let bytes = io.values("image").into_iter().map(|v| v as u8).collect();
        let image = RgbImage::new(Size::new(shape[0], shape[1]), bytes).unwrap();
        let mut predictor = Predictor::new(&sam_tiny(), &Device::flex());
        predictor.set_image(&image).unwrap();
        predictor
    }

    /// The recorded prompt `name`, in pixels of the image.
    fn recorded_prompt(io: &Recorded, name: &str) -> Prompts {
        let names = io.names();
        let get = |field: &str| {
            let key = format!("{name}.{field}");
            names.contains(&key).then(|| io.values(&key))
        };
        let coords = get("point_coords").unwrap_or_default();
        let labels = get("point_labels").unwrap_or_default();
        Prompts {
            points: coords
                .chunks_exact(2)
                .zip(labels)
                .map(|(xy, label)| (Point2::new(xy[0].into(), xy[1].into()), label > 0.5))
                .collect(),
            box_: get("box").map(|b| box_of(&b)),
            mask_input: None,
        }
    }

    fn box_of(corners: &[f32]) -> BoxXyxy {
        let at = |i: usize| Point2::new(corners[i].into(), corners[i + 1].into());
        BoxXyxy {
            min: at(0),
            max: at(2),
        }
    }

    fn assert_recorded(io: &Recorded, tag: &str, prediction: &Prediction) {
        let all = |field: fn(&PredictedMask) -> &[f32]| {
            let parts = prediction.masks.iter().map(field);
            parts.collect::<Vec<_>>().concat()
        };
        io.assert_close(&format!("{tag}.logits"), &all(|m| m.logits.data()));
        io.assert_close(&format!("{tag}.low_res"), &all(|m| &m.low_res_logits));
        let iou: Vec<f32> = prediction.masks.iter().map(|m| m.iou).collect();
        io.assert_close(&format!("{tag}.iou"), &iou);
    }

    const RECORDED: [&str; 5] = [
        "one_point",
        "three_positive",
        "one_positive_two_negative",
        "box",
        "box_and_points",
    ];

    #[test]
    fn image_to_masks_matches_meta() {
        let io = Recorded::open();
        let predictor = predictor(&io);
        for name in RECORDED {
            let prompts = recorded_prompt(&io, name);
            let single = predictor.predict(&prompts, MaskOutput::Single).unwrap();
            assert_eq!(single.masks.len(), 1);
            assert_recorded(&io, &format!("{name}.single"), &single);
            let multi = predictor.predict(&prompts, MaskOutput::Multi).unwrap();
            assert_eq!(multi.masks.len(), 3);
            assert_recorded(&io, &format!("{name}.multi"), &multi);
        }
    }

    #[test]
    fn a_mask_prompt_matches_meta() {
        let io = Recorded::open();
        let prompts = Prompts {
            mask_input: Some(io.values("point_and_mask.mask_input")),
            ..recorded_prompt(&io, "one_point")
        };
        let got = predictor(&io)
            .predict(&prompts, MaskOutput::Single)
            .unwrap();
        assert_recorded(&io, "point_and_mask.single", &got);
    }

    #[test]
    fn two_boxes_match_meta() {
        let io = Recorded::open();
        let corners = io.values("two_boxes.boxes");
        let prompts: Vec<Prompts> = corners
            .chunks_exact(4)
            .map(|b| Prompts {
                box_: Some(box_of(b)),
                ..Prompts::default()
            })
            .collect();
        let got = predictor(&io)
            .predict_many(&prompts, MaskOutput::Multi)
            .unwrap();
        let together = Prediction {
            masks: got.into_iter().flat_map(|p| p.masks).collect(),
        };
        assert_recorded(&io, "two_boxes.multi", &together);
    }

    #[test]
    fn many_prompts_of_different_kinds_equal_one_by_one() {
        let io = Recorded::open();
        let predictor = predictor(&io);
        let prompts: Vec<Prompts> = RECORDED
            .iter()
            .cycle()
            .take(MAX_OBJECTS_PER_CALL * 2)
            .map(|name| recorded_prompt(&io, name))
            .collect();
        let together = predictor
            .predict_many(&prompts, MaskOutput::Single)
            .unwrap();
        assert_eq!(together.len(), prompts.len());
        for (prompt, got) in prompts.iter().zip(&together).take(RECORDED.len()) {
            let alone = predictor.predict(prompt, MaskOutput::Single).unwrap();
            let (got, alone) = (&got.masks[0], &alone.masks[0]);
            assert_close("object", got.logits.data(), alone.logits.data());
        }
    }

    /// Every kind of prompt on the 75 x 100 image, three times and mixed.
    fn mixed_prompts(side: usize) -> Vec<Prompts> {
        let mask = |i: usize| {
            let value = |at: usize| ((at % side + i) as f32 / 5.0).sin() * 6.0;
            (0..side * side).map(value).collect()
        };
        let kind = |i: usize| {
            let x = 10.0 + 3.0 * i as f64;
            let points = [(Point2::new(x, 20.0), true), (Point2::new(x, 60.5), false)];
            let with_box = i % 2 == 1;
            Prompts {
                points: points[..[1, 0, 2, 1, 0, 2][i % 6]].to_vec(),
                box_: with_box.then(|| box_of(&[5.0, 6.0 + i as f32, 70.0, 66.0])),
                mask_input: (i % 3 == 1).then(|| mask(i)),
            }
        };
        (0..18).map(kind).collect()
    }

    fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
        assert_eq!(a.len(), b.len());
        let differences = a.iter().zip(b).map(|(a, b)| (a - b).abs());
        differences.fold(0.0, f32::max) / b.iter().fold(1.0, |m: f32, v| m.max(v.abs()))
    }

    #[test]
    fn each_of_many_equals_one_by_one() {
        let image = RgbImage::new(
            Size::new(75, 100),
            (0..3 * 7500).map(|i| (i % 241) as u8).collect(),
        );
        let image = image.unwrap();
        for sam in [sam_tiny(), crate::testing::sam_small()] {
            let mut predictor = Predictor::new(&sam, &Device::flex());
            predictor.set_image(&image).unwrap();
            let prompts = mixed_prompts(sam.config().low_res_side());
            for output in [MaskOutput::Single, MaskOutput::Multi] {
                let mut seen = vec![0; prompts.len()];
                let check = |i: usize, got: Result<Prediction>| {
                    seen[i] += 1;
                    let (got, alone) = (got.unwrap(), predictor.predict(&prompts[i], output));
                    let alone = alone.unwrap();
                    assert_eq!(got.masks.len(), alone.masks.len());
                    for (a, b) in got.masks.iter().zip(&alone.masks) {
                        let logits = largest_difference(a.logits.data(), b.logits.data());
                        let low = largest_difference(&a.low_res_logits, &b.low_res_logits);
                        assert!(logits.max(low).max((a.iou - b.iou).abs()) < 1e-5, "{i}");
                    }
                    ControlFlow::Continue(())
                };
                predictor.predict_each(&prompts, output, check).unwrap();
                assert_eq!(seen, [1; 18]);
            }
        }
    }

    /// For either encoder and every kind of prompt, within what single precision in another order of sums and a
    /// driver's `exp` make.
    #[cfg(feature = "gpu")]
    #[test]
    fn gpus_give_the_cpus_masks() {
        use crate::testing::{gpus, sam_small_on, sam_tiny_on};
        let pixels = (0..3 * 7500).map(|i| (i * i % 241) as u8).collect();
        let image = RgbImage::new(Size::new(75, 100), pixels).unwrap();
        let answers = |sam: &Sam, device: &Device, output| {
            let mut predictor = Predictor::new(sam, device);
            predictor.set_image(&image).unwrap();
            let prompts = mixed_prompts(sam.config().low_res_side());
            predictor.decode(&prompts, output).unwrap()
        };
        for device in gpus() {
            for model in [sam_tiny_on, sam_small_on] {
                for output in [MaskOutput::Single, MaskOutput::Multi] {
                    let [got, expected] = [&device, &Device::flex()]
                        .map(|device| answers(&model(device), device, output));
                    let masks = got.iter().flatten().zip(expected.iter().flatten());
                    for (got, expected) in masks {
                        assert_close("logits", &got.logits, &expected.logits);
                        assert!((got.iou - expected.iou).abs() < 1e-4);
                    }
                }
            }
        }
    }

    #[test]
    fn bad_prompts_do_not_stop_the_others_but_the_caller_can() {
        let io = Recorded::open();
        let predictor = predictor(&io);
        let good = recorded_prompt(&io, "box");
        let prompts = [good.clone(), Prompts::default(), good.clone(), good];
        let mut seen = Vec::new();
        let note = |i, answer: Result<Prediction>| {
            seen.push((i, answer.is_ok()));
            ControlFlow::Continue(())
        };
        predictor
            .predict_each(&prompts, MaskOutput::Single, note)
            .unwrap();
        assert_eq!(seen, [(1, false), (0, true), (2, true), (3, true)]);
        let mut count = 0;
        let stop = |_, _| {
            count += 1;
            ControlFlow::Break(())
        };
        predictor
            .predict_each(&prompts, MaskOutput::Single, stop)
            .unwrap();
        assert_eq!(count, 1);
        let error = predictor.predict_many(&prompts, MaskOutput::Single);
        assert!(matches!(error, Err(Error::EmptyPrompt)));
    }

    #[test]
    fn masks_are_positive_logits() {
        let logits = Image::new(Size::new(1, 3), vec![-0.1, 0.0, 0.1]).unwrap();
        let mask = PredictedMask {
            logits,
            iou: 0.5,
            low_res_logits: Vec::new(),
        };
        assert_eq!(mask.mask().data(), [false, false, true]);
    }

    #[test]
    fn only_our_own_models_masks_are_tidied() {
        // A ring of 24 pixels around one, and a stray pixel.
        let inside = |row: usize, col: usize| match (row, col) {
            (2, 2) => false,
            (5, 6) => true,
            _ => row < 5 && col < 5,
        };
        let logits = (0..42).map(|i| if inside(i / 7, i % 7) { 1.0 } else { -1.0 });
        let answer = PredictedMask {
            logits: Image::new(Size::new(6, 7), logits.collect()).unwrap(),
            iou: 0.5,
            low_res_logits: Vec::new(),
        };
        let prompts = |negative: bool| Prompts {
            points: vec![
                (Point2::new(1.0, 1.0), true),
                (Point2::new(if negative { 2.0 } else { 6.0 }, 2.0), false),
            ],
            ..Prompts::default()
        };
        let meta = Predictor::new(&sam_tiny(), &Device::flex());
        assert_eq!(meta.mask(&answer, &prompts(false)), answer.mask());
        let ours = Predictor::new(&crate::testing::sam_small(), &Device::flex());
        let area = |negative| ours.mask(&answer, &prompts(negative)).area();
        assert_eq!(
            [answer.mask().area(), area(false), area(true)],
            [25, 25, 24]
        );
        assert!(!ours.mask(&answer, &prompts(false)).at(5, 6));
    }

    #[test]
    fn bad_prompts_are_refused_by_name() {
        let io = Recorded::open();
        let predictor = predictor(&io);
        let message = |prompts: &Prompts| {
            let error = predictor.predict(prompts, MaskOutput::Single).unwrap_err();
            error.to_string()
        };
        assert!(message(&Prompts::default()).contains("empty"));
        // 75 rows, 100 columns: x = 99 is inside, y = 99 is not.
        for (x, y) in [(10.0, 99.0), (100.0, 10.0), (-1.0, 10.0), (f64::NAN, 3.0)] {
            let text = message(&Prompts {
                points: vec![(Point2::new(99.0, 74.0), true), (Point2::new(x, y), false)],
                ..Prompts::default()
            });
            assert!(text.contains(&format!("point ({x}, {y})")), "{text}");
            assert!(text.contains("75x100"), "{text}");
        }
        for corners in [
            [50.0, 10.0, 40.0, 20.0],
            [200.0, 10.0, 220.0, 20.0],
            [0.0, f32::NAN, 4.0, 5.0],
            [-1e30, 0.0, 4.0, 5.0],
        ] {
            let text = message(&Prompts {
                box_: Some(box_of(&corners)),
                ..Prompts::default()
            });
            assert!(text.starts_with("box ("), "{text}");
        }
        let text = message(&Prompts {
            mask_input: Some(vec![0.0; 5]),
            ..Prompts::default()
        });
        assert!(text.contains("32 x 32"), "{text}");
        let fresh = Predictor::new(&sam_tiny(), &Device::flex());
        let click = recorded_prompt(&io, "one_point");
        let error = fresh.predict(&click, MaskOutput::Single).unwrap_err();
        assert!(matches!(error, Error::NoImage));
    }
}
