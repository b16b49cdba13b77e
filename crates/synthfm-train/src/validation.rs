//! Validation while training: loss and Dice on synthetic samples that training never sees.
//!
//! The held-out samples come from the same generator and seed at indices that no run reaches, and every validation
//! of a run sees the same samples with the same prompts, so that its numbers can be compared from step to step. Real
//! images play no part unless the configuration names some (`crate::real_validation`).

use std::fmt;
use std::path::PathBuf;

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};
use synthfm_image::{BoxXyxy, Mask, Point2, RgbImage, Size, draw};
use synthfm_sam::ImageEmbedding;

use crate::corrections::Corrections;
use crate::data::{Batch, BatchMaker, PromptKind};
use crate::learner::{Learner, StepOutput};
use crate::real_validation::RealScore;
use crate::{Error, Result};

/// Index of the first held-out sample.
pub(crate) const HELD_OUT: u64 = 1 << 60;
/// Samples with a picture.
const PICTURES: u64 = 8;
/// Colours of the truth and of the model's answer.
const TRUTH: draw::Colour = [60, 220, 90];
const ANSWER: draw::Colour = [255, 190, 0];
const BOX: draw::Colour = [90, 160, 255];

/// When and on what a run is validated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ValidationConfig {
    /// Steps between validations; 0 turns them off.
    pub every: u64,
    /// Held-out images, 1 to 10,000.
    pub images: u64,
    /// Folders of real data sets in nnU-Net's layout, whose scores are reported with each validation. Nothing is
    /// trained on them.
    pub data: Vec<PathBuf>,
    /// Whether `best.safetensors` is the best model on `data` instead of on the held-out samples. The scores on
    /// `data` then are no longer those of images that took no part in making the model.
    pub choose_best_by_real_data: bool,
}

impl Default for ValidationConfig {
    fn default() -> Self {
        Self {
            every: 0,
            images: 32,
            data: Vec::new(),
            choose_best_by_real_data: false,
        }
    }
}

impl ValidationConfig {
    /// Checks the ranges.
    pub fn validate(&self) -> Result<()> {
        if !(1..=10_000).contains(&self.images) {
            return Err(Error::Parameter(format!(
                "validation.images: {} is outside 1 to 10000",
                self.images
            )));
        }
        if self.choose_best_by_real_data && self.data.is_empty() {
            let problem = "validation.choose_best_by_real_data: validation.data names no data set";
            return Err(Error::Parameter(problem.to_owned()));
        }
        Ok(())
    }
}

/// The prompts on each structure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Setting {
    Clicks(usize, usize),
    Box,
}

/// One click; a few clicks; a box.
const SETTINGS: [Setting; 3] = [Setting::Clicks(1, 0), Setting::Clicks(3, 2), Setting::Box];

impl Setting {
    fn kind(self) -> PromptKind {
        match self {
            Self::Clicks(positives, negatives) => PromptKind::clicks(positives, negatives),
            Self::Box => PromptKind::bounding_box(),
        }
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Clicks(positives, negatives) => write!(f, "{positives},{negatives}"),
            Self::Box => f.write_str("box"),
        }
    }
}

/// One line of `validation.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Validation {
    /// Steps done.
    pub step: u64,
    /// Mean Dice over the prompt settings, 0 to 1.
    pub dice: f64,
    /// Each prompt setting by itself.
    pub settings: Vec<SettingScore>,
    /// Structures by their size in the model's input, small ones first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub octaves: Vec<OctaveScore>,
    /// Real data sets, where the configuration names some.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub real: Vec<RealScore>,
}

/// The scores of one prompt setting.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SettingScore {
    /// `P,N` positive and negative clicks, or `box`.
    pub prompts: String,
    /// Mean loss over the structures.
    pub loss: f64,
    /// Mean Dice over the structures, 0 to 1.
    pub dice: f64,
    /// How many structures.
    pub objects: usize,
}

/// The scores of structures of a range of sizes. The size of a structure is the longer side of its box.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OctaveScore {
    /// Sizes in pixels of the model's input, such as `12-24` or `96+`.
    pub side_px: String,
    /// How many structures.
    pub objects: usize,
    /// Mean Dice with one click, 0 to 1.
    pub one_click: f64,
    /// Mean Dice after two more clicks, each in the middle of the error, with the answer as mask prompt, 0 to 1.
    pub two_corrections: f64,
}

/// Lower ends of the ranges of sizes, in pixels of the model's input.
const OCTAVES: [f32; 6] = [0.0, 6.0, 12.0, 24.0, 48.0, 96.0];

/// Dice of the structures of each range of sizes, summed.
#[derive(Default)]
struct OctaveSums {
    objects: usize,
    one_click: f64,
    two_corrections: f64,
}

/// Sums over the objects of one prompt setting.
#[derive(Default)]
struct Sums {
    loss: f64,
    dice: f64,
    objects: usize,
    tiles: Vec<RgbImage>,
}

/// Scores the model on the held-out samples, and draws the first of them.
pub(crate) fn validate(
    learner: &Learner,
    maker: &BatchMaker,
    step: u64,
    images: u64,
) -> Result<(Validation, RgbImage)> {
    let learner = learner.without_gradients();
    let mut sums = SETTINGS.map(|_| Sums::default());
    let mut octaves = OCTAVES.map(|_| OctaveSums::default());
    for image in 0..images {
        // The same image and structures for each kind of prompt: encoded once.
        let batches = SETTINGS.map(|setting| maker.held_out(image, setting.kind()));
        if batches[0].objects() == 0 {
            continue;
        }
        let embedding = learner.encode(&batches[0]);
        for (i, (batch, sums)) in batches.iter().zip(&mut sums).enumerate() {
            let output = learner.answer(&embedding, batch);
            if SETTINGS[i] == Setting::Clicks(1, 0) {
                add_octaves(&mut octaves, &learner, &embedding, batch, &output);
            }
            let count = batch.objects();
            sums.loss += f64::from(output.loss.into_scalar::<f32>()) * count as f64;
            sums.dice += f64::from(output.dice) * count as f64;
            sums.objects += count;
            if image < PICTURES {
                sums.tiles.push(tile(batch, output.logits, maker)?);
            }
        }
    }
    let columns = sums[0].tiles.len().max(1);
    let (mut settings, mut tiles) = (Vec::new(), Vec::new());
    for (setting, sums) in SETTINGS.iter().zip(sums) {
        let mean = |sum: f64| sum / sums.objects.max(1) as f64;
        settings.push(SettingScore {
            prompts: setting.to_string(),
            loss: mean(sums.loss),
            dice: mean(sums.dice),
            objects: sums.objects,
        });
        tiles.extend(sums.tiles);
    }
    let dice = settings.iter().map(|s| s.dice).sum::<f64>() / settings.len() as f64;
    if tiles.is_empty() {
        tiles.push(RgbImage::zeros(Size::new(1, 1)));
    }
    let picture = draw::grid(&tiles, columns, 2)?;
    let validation = Validation {
        step,
        dice,
        settings,
        octaves: octave_scores(&octaves),
        real: Vec::new(),
    };
    Ok((validation, picture))
}

/// Adds the structures of a batch whose answers to one click are known.
fn add_octaves(
    octaves: &mut [OctaveSums],
    learner: &Learner,
    embedding: &ImageEmbedding,
    batch: &Batch,
    first: &StepOutput,
) {
    let mut corrected = batch.clone();
    corrected.corrections = Corrections::central(2);
    let last = learner.answer(embedding, &corrected);
    let targets = batch.groups.iter().flat_map(|group| &group.targets);
    let targets: Vec<f32> = targets.copied().collect();
    let [first, last] = [first, &last].map(|output| dice_of_each(output, &targets));
    let sides = batch.groups.iter().flat_map(|group| &group.sides);
    for ((side, first), last) in sides.zip(first).zip(last) {
        let octave = OCTAVES.iter().rposition(|low| side >= low).unwrap_or(0);
        let sums = &mut octaves[octave];
        sums.objects += 1;
        sums.one_click += first;
        sums.two_corrections += last;
    }
}

/// Dice of each thresholded answer, 0 to 1.
fn dice_of_each(output: &StepOutput, targets: &[f32]) -> Vec<f64> {
    let [_, height, width] = output.logits.dims();
    let logits: Vec<f32> = output.logits.clone().into_data().iter::<f32>().collect();
    let cells = height * width;
    let objects = logits.chunks_exact(cells).zip(targets.chunks_exact(cells));
    let dice = |(logits, target): (&[f32], &[f32])| {
        let pairs = logits.iter().zip(target);
        let (mut both, mut sum) = (0, 0);
        for (answer, truth) in pairs.map(|(logit, share)| (*logit > 0.0, *share > 0.5)) {
            both += usize::from(answer && truth);
            sum += usize::from(answer) + usize::from(truth);
        }
        2.0 * both as f64 / sum.max(1) as f64
    };
    objects.map(dice).collect()
}

/// The ranges of sizes that have a structure.
fn octave_scores(octaves: &[OctaveSums]) -> Vec<OctaveScore> {
    let name = |i: usize| match OCTAVES.get(i + 1) {
        Some(high) => format!("{}-{high}", OCTAVES[i]),
        None => format!("{}+", OCTAVES[i]),
    };
    let one = |(i, sums): (usize, &OctaveSums)| {
        let count = sums.objects as f64;
        (sums.objects > 0).then(|| OctaveScore {
            side_px: name(i),
            objects: sums.objects,
            one_click: sums.one_click / count,
            two_corrections: sums.two_corrections / count,
        })
    };
    octaves.iter().enumerate().filter_map(one).collect()
}

/// The first structure of a held-out image: outlines of truth and answer, and the prompt.
fn tile(batch: &Batch, logits: Tensor<3>, maker: &BatchMaker) -> Result<RgbImage> {
    let config = maker.model();
    let group = &batch.groups[0];
    let (side, m) = (config.image_size, config.low_res_side());
    let mut picture = RgbImage::zeros(Size::new(side, side));
    for (i, byte) in picture.data_mut().iter_mut().enumerate() {
        let (pixel, channel) = (i / 3, i % 3);
        let value = batch.images[channel * side * side + pixel];
        let grey = value * config.pixel_std[channel] + config.pixel_mean[channel];
        *byte = grey.clamp(0.0, 255.0).round() as u8;
    }
    let answer: Vec<f32> = logits.into_data().iter::<f32>().take(m * m).collect();
    for (values, limit, colour) in [
        (&group.targets[..m * m], 0.5, TRUTH),
        (answer.as_slice(), 0.0, ANSWER),
    ] {
        draw::outline_on(&mut picture, &enlarged(values, m, side, limit), colour)?;
    }
    let clicks = group.labels.len() / group.len();
    for (xy, &label) in group.points.chunks_exact(2).zip(&group.labels).take(clicks) {
        let at = Point2::new(xy[0].into(), xy[1].into());
        match label {
            1 => draw::positive_click(&mut picture, at),
            0 => draw::negative_click(&mut picture, at),
            _ => {}
        }
    }
    if let Some(&[x0, y0, x1, y1]) = group.boxes.first_chunk() {
        let region = BoxXyxy {
            min: Point2::new(x0.into(), y0.into()),
            max: Point2::new(x1.into(), y1.into()),
        };
        draw::box_outline(&mut picture, region, BOX);
    }
    Ok(picture)
}

/// Where the nearest of `m × m` cells exceeds `limit`, on `side × side` pixels.
fn enlarged(values: &[f32], m: usize, side: usize, limit: f32) -> Mask {
    let mut mask = Mask::zeros(Size::new(side, side));
    for (i, inside) in mask.data_mut().iter_mut().enumerate() {
        let (row, col) = (i / side * m / side, i % side * m / side);
        *inside = values[row * m + col] > limit;
    }
    mask
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_become_squares_of_pixels() {
        let mask = enlarged(&[0.0, 0.9, 0.2, 0.6], 2, 6, 0.5);
        let rows: Vec<Vec<bool>> = mask.data().chunks(6).map(<[_]>::to_vec).collect();
        assert_eq!(rows[2], [false, false, false, true, true, true]);
        assert_eq!(rows[3], [false, false, false, true, true, true]);
        assert_eq!(mask.area(), 18);
    }

    #[test]
    fn structures_are_counted_by_size() {
        let device = burn::tensor::Device::flex();
        let logits = [[5.0, 5.0, -5.0, -5.0], [-1.0, -1.0, -1.0, 2.0]].concat();
        let logits = burn::tensor::TensorData::new(logits, [2, 2, 2]);
        let output = StepOutput {
            loss: Tensor::zeros([1], &device),
            logits: Tensor::from_data(logits, &device),
            dice: 0.0,
        };
        // 2 * 1 / (2 + 3) and 2 * 1 / (1 + 1).
        let targets = [0.9, 0.2, 0.6, 1.0, 0.0, 0.5, 0.0, 0.51];
        assert_eq!(dice_of_each(&output, &targets), [0.4, 1.0]);
        let mut sums = OCTAVES.map(|_| OctaveSums::default());
        sums[2] = OctaveSums {
            objects: 2,
            one_click: 1.0,
            two_corrections: 1.5,
        };
        sums[5].objects = 1;
        let scores = octave_scores(&sums);
        let names: Vec<&str> = scores.iter().map(|score| score.side_px.as_str()).collect();
        assert_eq!(names, ["12-24", "96+"]);
        assert_eq!(
            (scores[0].one_click, scores[0].two_corrections),
            (0.5, 0.75)
        );
    }

    #[test]
    fn settings_are_named_as_in_an_evaluation() {
        let names: Vec<String> = SETTINGS.iter().map(ToString::to_string).collect();
        assert_eq!(names, ["1,0", "3,2", "box"]);
    }
}
