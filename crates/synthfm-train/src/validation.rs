//! Validation while training: loss and Dice on synthetic samples that training never sees.
//!
//! The held-back samples come from the same generator and seed at indices that no run reaches, and every validation
//! of a run sees the same samples with the same prompts, so that its numbers can be compared from step to step. Real
//! images play no part unless the configuration names some (`crate::real_validation`).

use std::fmt;
use std::path::PathBuf;

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};
use synthfm_image::{BoxXyxy, Mask, Point2, RgbImage, Size, draw};

use crate::data::{Batch, BatchMaker, PromptKind};
use crate::learner::Learner;
use crate::real_validation::RealScore;
use crate::{Error, Result};

/// Index of the first held-back sample.
pub(crate) const HELD_BACK: u64 = 1 << 60;
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
    /// Held-back images, 1 to 10,000.
    pub images: u64,
    /// Folders of real data sets in nnU-Net's layout, whose scores are reported with each validation. Nothing is
    /// trained on them.
    pub data: Vec<PathBuf>,
    /// Whether `best.safetensors` is the best model on `data` instead of on the held-back samples. The scores on
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

/// What the model is told about each structure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Setting {
    Clicks(usize, usize),
    Box,
}

/// One click; a few clicks; a box.
const SETTINGS: [Setting; 3] = [Setting::Clicks(1, 0), Setting::Clicks(3, 2), Setting::Box];

impl Setting {
    fn kind(self) -> PromptKind {
        let (positives, negatives, with_box) = match self {
            Self::Clicks(positives, negatives) => (positives, negatives, false),
            Self::Box => (0, 0, true),
        };
        PromptKind {
            positives,
            negatives,
            with_box,
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

/// What one prompt setting adds up to.
#[derive(Default)]
struct Sums {
    loss: f64,
    dice: f64,
    objects: usize,
    tiles: Vec<RgbImage>,
}

/// Scores the model on the held-back samples, and draws the first of them.
pub(crate) fn validate(
    learner: &Learner,
    maker: &BatchMaker,
    step: u64,
    images: u64,
) -> Result<(Validation, RgbImage)> {
    let learner = learner.without_gradients();
    let mut sums = SETTINGS.map(|_| Sums::default());
    for image in 0..images {
        // The same image and structures for each kind of prompt: encoded once.
        let batches = SETTINGS.map(|setting| maker.held_back(image, setting.kind()));
        if batches[0].image_of_object.is_empty() {
            continue;
        }
        let embedding = learner.encode(&batches[0]);
        for (batch, sums) in batches.iter().zip(&mut sums) {
            let output = learner.answer(&embedding, batch);
            let count = batch.image_of_object.len();
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
        real: Vec::new(),
    };
    Ok((validation, picture))
}

/// The first structure of a held-back image: outlines of truth and answer, and the prompt.
fn tile(batch: &Batch, logits: Tensor<3>, maker: &BatchMaker) -> Result<RgbImage> {
    let config = maker.model();
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
        (&batch.targets[..m * m], 0.5, TRUTH),
        (answer.as_slice(), 0.0, ANSWER),
    ] {
        draw::outline_on(&mut picture, &enlarged(values, m, side, limit), colour)?;
    }
    let objects = batch.image_of_object.len();
    let clicks = batch.labels.len() / objects;
    for (xy, &label) in batch.points.chunks_exact(2).zip(&batch.labels).take(clicks) {
        let at = Point2::new(xy[0].into(), xy[1].into());
        match label {
            1 => draw::positive_click(&mut picture, at),
            0 => draw::negative_click(&mut picture, at),
            _ => {}
        }
    }
    if let Some(&[x0, y0, x1, y1]) = batch.boxes.first_chunk() {
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
    fn settings_are_named_as_in_an_evaluation() {
        let names: Vec<String> = SETTINGS.iter().map(ToString::to_string).collect();
        assert_eq!(names, ["1,0", "3,2", "box"]);
    }
}
