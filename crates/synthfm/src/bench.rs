//! `synthfm bench`: what a model costs on this machine.
//!
//! Medians over repetitions after one that is not counted, on a synthetic image of the model's input size. Peak
//! memory is the process's (`VmHWM`), read before the training step.

use std::time::Instant;

use anyhow::{Context, Result};
use serde::Serialize;
use synthfm_image::{Mask, Point2, RgbImage};
use synthfm_sam::{EncoderConfig, MaskOutput, Predictor, Prompts};
use synthfm_synth::{GeneratorConfig, generate};
use synthfm_train::{AdamW, BatchMaker, Learner, Mode, ModelSpec, TrainConfig};

use crate::cli::BenchArgs;
use crate::model::Model;
use crate::output::Session;
use crate::predict::since_ms;
use crate::progress::spinner;

/// Sides that the generator takes.
const SIDES: std::ops::RangeInclusive<usize> = 128..=2048;

/// The result.
#[derive(Debug, Serialize)]
struct Timings {
    model: String,
    image_size: usize,
    device: String,
    threads: usize,
    repeats: usize,
    encode_ms: f64,
    click_ms: f64,
    peak_memory_mb: Option<f64>,
    /// One image, one structure; the encoder takes part if it is our own.
    training_step_ms: f64,
    training_mode: Mode,
    peak_memory_with_training_mb: Option<f64>,
}

/// Times encoding, a click and a training step.
pub(crate) fn run(args: &BenchArgs, session: &Session) -> Result<()> {
    let model = Model::open(args.model.as_deref())?;
    let repeats = usize::from(args.repeats);
    let opened = session.device()?;
    let side = model.file.config().image_size;
    let busy = spinner(session, "encoding");
    let mut predictor = model.predictor(session)?;
    let (image, click) = image_with_click(side);
    let encode_ms = median(repeats, || encode(&mut predictor, &image))?;
    busy.set_message("clicking");
    let prompts = Prompts {
        points: vec![(click, true)],
        ..Prompts::default()
    };
    let click_ms = median(4 * repeats, || click_once(&predictor, &prompts))?;
    let peak_memory_mb = peak_memory_mb();
    drop(predictor);
    busy.set_message("training");
    let mode = match model.file.config().encoder {
        EncoderConfig::Small(_) => Mode::All,
        EncoderConfig::Vit(_) => Mode::Decoder,
    };
    let training_step_ms = training(&model, mode, repeats, session)?;
    busy.finish_and_clear();
    let timings = Timings {
        model: model.name,
        image_size: side,
        device: opened.description,
        threads: rayon::current_num_threads(),
        repeats,
        encode_ms,
        click_ms,
        peak_memory_mb,
        training_step_ms,
        training_mode: mode,
        peak_memory_with_training_mb: self::peak_memory_mb(),
    };
    session.print(&timings, || table(&timings))
}

fn encode(predictor: &mut Predictor, image: &RgbImage) -> Result<()> {
    predictor.set_image(image)?;
    // Reading a value waits for devices that compute in the background.
    let embedding = predictor
        .image()
        .context("an image is set")?
        .embedding
        .image_embedding
        .clone();
    let _ = embedding.mean().into_scalar::<f32>();
    Ok(())
}

fn click_once(predictor: &Predictor, prompts: &Prompts) -> Result<()> {
    predictor.predict(prompts, MaskOutput::Single)?;
    Ok(())
}

/// A synthetic image of the model's input size, and a click on its first structure.
fn image_with_click(side: usize) -> (RgbImage, Point2) {
    let mut config = GeneratorConfig::default();
    let side = side.clamp(*SIDES.start(), *SIDES.end());
    (config.size.height, config.size.width) = (side, side);
    let sample = generate(&config, 0, 0);
    let centre = Point2::from_row_col(side / 2, side / 2);
    let mask: Option<&Mask> = sample.targets.first().map(|target| &target.mask);
    let click = mask.and_then(Mask::centroid).unwrap_or(centre);
    (sample.image.to_rgb8(0.0, 1.0), click)
}

fn training(model: &Model, mode: Mode, repeats: usize, session: &Session) -> Result<f64> {
    let sizes = model.file.config().clone();
    let mut config = TrainConfig {
        mode,
        model: ModelSpec::Custom(Box::new(sizes.clone())),
        ..TrainConfig::default()
    };
    let side = sizes.image_size.clamp(*SIDES.start(), *SIDES.end());
    (config.generator.size.height, config.generator.size.width) = (side, side);
    let device = session.device()?.device;
    let sam = model.file.load(&device)?;
    let mut learner = Learner::new(sam, sizes.clone(), mode, config.loss, &device);
    let mut optimizer = AdamW::new(config.optimizer);
    let batch = BatchMaker::new(config, sizes).batch(0);
    median(repeats, || {
        let output = learner
            .forward(&batch)
            .context("the sample holds no structure")?;
        let gradients = learner.gradients(&output);
        let norm = gradients.global_norm();
        learner.sam = optimizer.step(learner.sam.clone(), gradients, norm, 1e-6);
        let _ = output.loss.into_scalar::<f32>();
        Ok(())
    })
}

/// Median time of an action in milliseconds, after one run that is not counted.
fn median(repeats: usize, mut action: impl FnMut() -> Result<()>) -> Result<f64> {
    action()?;
    let mut times = Vec::with_capacity(repeats);
    for _ in 0..repeats {
        let started = Instant::now();
        action()?;
        times.push(since_ms(started));
    }
    times.sort_by(f64::total_cmp);
    let middle = times.len() / 2;
    let lower = if times.len().is_multiple_of(2) {
        times[middle - 1]
    } else {
        times[middle]
    };
    Ok(f64::midpoint(lower, times[middle]))
}

/// Largest resident size of this process so far; known on Linux only.
fn peak_memory_mb() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024.0 / 1e6)
}

fn table(timings: &Timings) -> String {
    let memory = |mb: Option<f64>| mb.map_or("unknown".to_owned(), |mb| format!("{mb:.0} MB"));
    let mode = if timings.training_mode == Mode::All {
        "whole model"
    } else {
        "decoder only"
    };
    format!(
        "model                     {} at {} px\n\
         device                    {}, {} threads\n\
         encode                    {:.1} ms\n\
         click                     {:.1} ms\n\
         peak memory               {}\n\
         training step             {:.1} ms ({mode}, 1 image, 1 structure)\n\
         peak memory with training {}\n",
        timings.model,
        timings.image_size,
        timings.device,
        timings.threads,
        timings.encode_ms,
        timings.click_ms,
        memory(timings.peak_memory_mb),
        timings.training_step_ms,
        memory(timings.peak_memory_with_training_mb),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_run_is_not_counted() {
        let mut runs = 0;
        median(4, || {
            runs += 1;
            Ok(())
        })
        .unwrap();
        assert_eq!(runs, 5);
        assert!(median(1, || anyhow::bail!("no")).is_err());
    }
}
