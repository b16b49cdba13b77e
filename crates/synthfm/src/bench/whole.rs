//! `synthfm bench`: encoding, a click on the image, and a training step.

use anyhow::{Context, Result};
use serde::Serialize;
use synthfm_sam::ops::Arithmetic;
use synthfm_sam::{EncoderConfig, MaskOutput, PrecisionChoice, Predictor, Prompts};
use synthfm_train::{AdamW, BatchMaker, Learner, Mode, ModelSpec, TrainConfig};

use super::BenchArgs;
use super::{SIDES, encode, image_with_click, memory_text, peak_memory_mb, spread};
use crate::allocator;
use crate::model::Model;
use crate::output::Session;
use crate::progress::spinner;

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
pub(super) fn run(args: &BenchArgs, session: &Session) -> Result<()> {
    let model = Model::open(args.model.as_deref())?;
    let repeats = usize::from(args.repeats);
    let opened = session.device()?;
    let side = model.file.config().image_size;
    let busy = spinner(session, "encoding");
    let mut predictor = model.predictor(session, args.precision)?;
    let (image, click) = image_with_click(side);
    let encode_ms = spread(repeats, || encode(&mut predictor, &image))?.median;
    busy.set_message("clicking");
    let prompts = Prompts {
        points: vec![(click, true)],
        ..Prompts::default()
    };
    let click_ms = spread(4 * repeats, || click_once(&predictor, &prompts))?.median;
    let peak_memory_mb = peak_memory_mb();
    drop(predictor);
    busy.set_message("training");
    let mode = match model.file.config().encoder {
        EncoderConfig::Small(_) => Mode::All,
        EncoderConfig::Vit(_) | EncoderConfig::TinyVit(_) | EncoderConfig::Hiera(_) => {
            Mode::Decoder
        }
    };
    let training_step_ms = training(&model, mode, args, session)?;
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
        peak_memory_with_training_mb: super::peak_memory_mb(),
    };
    session.print(&timings, || table(&timings))
}

fn click_once(predictor: &Predictor, prompts: &Prompts) -> Result<()> {
    predictor.predict(prompts, MaskOutput::Single)?;
    Ok(())
}

fn training(model: &Model, mode: Mode, args: &BenchArgs, session: &Session) -> Result<f64> {
    allocator::keep_freed_memory(allocator::Keep::Always);
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
    // Half precision is for encoding alone.
    let step = match args.precision {
        PrecisionChoice::F16 => Arithmetic::F32,
        other => other.for_training(&device)?,
    };
    let learner = Learner::new(sam, sizes.clone(), mode, config.loss, &device);
    let mut learner = learner.with_step_in(step);
    let mut optimizer = AdamW::new(config.optimizer);
    let batch = BatchMaker::new(config, sizes).batch(0);
    let times = spread(usize::from(args.repeats), || {
        let output = learner
            .forward(&batch)?
            .context("the sample holds no structure")?;
        let gradients = learner.gradients(&output);
        let norm = gradients.global_norm();
        learner.sam = optimizer.step(learner.sam.clone(), gradients, norm, 1e-6);
        let _ = output.loss.into_scalar::<f32>();
        Ok(())
    })?;
    Ok(times.median)
}

fn table(timings: &Timings) -> String {
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
        memory_text(timings.peak_memory_mb),
        timings.training_step_ms,
        memory_text(timings.peak_memory_with_training_mb),
    )
}
