//! `synthfm bench train`: whole training steps of our own model, as PyTorch's are timed by `tools/train_step.py`.
//!
//! A step is the image encoder, distance maps, one decoder pass without gradients for each correction, one with them,
//! the losses of the shipped recipe, backward, AdamW with clipped gradients and averaged weights. Its batches are made
//! beforehand; `--generate` also times steps whose batches are made beside them.

use std::time::Instant;

use anyhow::{Context, Result, bail};
use serde::Serialize;
use synthfm_sam::Sam;
use synthfm_sam::ops::Arithmetic;
use synthfm_train::{
    Batch, BatchMaker, Corrections, Loader, LossConfig, Mode, ModelSpec, TrainConfig, TrainState,
    initialise,
};

use super::BenchTrainArgs;
use super::{Spread, memory_text, peak_memory_mb, spread};
use crate::allocator;
use crate::output::Session;
use crate::predict::since_ms;
use crate::progress::spinner;

/// Batches that the steps take in turn.
const BATCHES: usize = 2;

/// The result.
#[derive(Debug, Serialize)]
struct TrainTimes {
    image_size: usize,
    /// Images of a batch.
    batch: usize,
    objects_per_image: usize,
    /// Answers that are corrected before the one that counts.
    corrections: usize,
    parameters: usize,
    device: String,
    threads: usize,
    /// Parts of a batch that are computed at once.
    parts: usize,
    precision: String,
    repeats: usize,
    step_ms: Spread,
    /// From the median time.
    images_per_second: f64,
    /// Processor time of all threads per step, which other programs disturb less; known on Linux only.
    cpu_ms: Option<f64>,
    /// Making one batch, on one thread.
    making_batch_ms: f64,
    /// With `--generate`.
    #[serde(skip_serializing_if = "Option::is_none")]
    generating: Option<Generating>,
    peak_memory_mb: Option<f64>,
}

/// Steps whose batches one worker makes beside them, as a run does.
#[derive(Debug, Serialize)]
struct Generating {
    /// Without the wait.
    step_ms: Spread,
    /// A step's wait for its batch.
    wait_ms: Spread,
    /// From the mean of step and wait, over batches with up to so many objects per image.
    images_per_second: f64,
}

/// Times whole training steps.
pub(super) fn run(args: &BenchTrainArgs, session: &Session) -> Result<()> {
    allocator::keep_freed_memory(allocator::Keep::Always);
    let device = session.device()?;
    let config = config(args, device.is_cpu());
    config.validate()?;
    let model = config.model.resolve();
    let maker = BatchMaker::new(config.clone(), model.clone());
    let busy = spinner(session, "making batches");
    let (batches, making_batch_ms) = batches(&maker, &config, args)?;
    let sam = initialise(Sam::new(&model, &device.device), config.seed);
    let mut trainee = InTraining::new(
        TrainState::new(sam, &config, &model, &device.device)?,
        &config,
    );
    let parameters = trainee.parameters()?;
    let precision = trainee.arithmetic()?.to_string();
    busy.set_message("training");
    let repeats = usize::from(args.repeats);
    let mut turn = batches.iter().cycle();
    let mut counted_from = None;
    let step_ms = spread(repeats, || {
        trainee.step(turn.next().context("there are batches")?)?;
        counted_from = counted_from.or_else(processor_ms);
        Ok(())
    })?;
    let cpu_ms = counted_from.zip(processor_ms());
    let cpu_ms = cpu_ms.map(|(from, to)| (to - from) / repeats as f64);
    let generating = if args.generate {
        Some(generating(&maker, &mut trainee, args, config.accumulate)?)
    } else {
        None
    };
    busy.finish_and_clear();
    let times = TrainTimes {
        image_size: args.size,
        batch: args.batch,
        objects_per_image: args.objects,
        corrections: args.corrections,
        parameters,
        device: device.description,
        threads: rayon::current_num_threads(),
        parts: config.accumulate,
        precision,
        repeats,
        step_ms,
        images_per_second: 1e3 * args.batch as f64 / step_ms.median,
        cpu_ms,
        making_batch_ms,
        generating,
        peak_memory_mb: peak_memory_mb(),
    };
    session.print(&times, || times.text())
}

/// Processor time of this process so far, in ticks of 10 ms (`proc(5)`); known on Linux only.
fn processor_ms() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The name, in brackets, may hold spaces; user and system time are the 14th and 15th field.
    let (_, fields) = stat.rsplit_once(')')?;
    let ticks = fields.split_whitespace().skip(11).take(2);
    let ticks: Vec<f64> = ticks.filter_map(|field| field.parse().ok()).collect();
    (ticks.len() == 2).then(|| 10.0 * (ticks[0] + ticks[1]))
}

/// As many parts as were asked for; or one for each thread of the CPU, if those divide the batch.
fn parts(args: &BenchTrainArgs, on_cpu: bool) -> usize {
    let threads = rayon::current_num_threads();
    let each = on_cpu && args.batch.is_multiple_of(threads);
    args.parts.unwrap_or(if each { threads } else { 1 })
}

/// The shipped recipe, with one click for each object and the corrections that were asked for.
fn config(args: &BenchTrainArgs, on_cpu: bool) -> TrainConfig {
    let parts = parts(args, on_cpu);
    let mut config = TrainConfig {
        mode: Mode::All,
        batch_size: args.batch,
        accumulate: parts,
        parts_at_once: parts,
        objects_per_image: args.objects,
        min_aspect: 0.6,
        precision: args.precision,
        model: ModelSpec::Small {
            image_size: args.size,
            mask_refiner: 0,
        },
        loss: LossConfig {
            dice: 1.0,
            focal: 5.0,
            balanced: 0.2,
            iou: 0.05,
            ..LossConfig::default()
        },
        ..TrainConfig::default()
    };
    let prompts = &mut config.prompts;
    (prompts.clicks, prompts.bounding_box, prompts.box_and_clicks) = (0.0, 0.0, 0.0);
    if args.corrections > 0 {
        prompts.corrections.probability = 1.0;
        prompts.corrections.max_rounds = args.corrections;
        prompts.corrections.show_logits = 1.0;
    }
    (config.optimizer.weight_decay, config.optimizer.clip_norm) = (0.02, 1.0);
    config.ema.decay = 0.999;
    let size = &mut config.generator.size;
    (size.height, size.width) = (args.size, args.size);
    config
}

/// Batches of equal cost, in parts, and the milliseconds that one takes to make.
fn batches(
    maker: &BatchMaker,
    config: &TrainConfig,
    args: &BenchTrainArgs,
) -> Result<(Vec<Vec<Batch>>, f64)> {
    let started = Instant::now();
    let _ = maker.batch(0);
    let making_ms = since_ms(started);
    let parts = config.accumulate;
    if !args.batch.is_multiple_of(parts) {
        bail!(
            "--parts {parts} does not divide the {} images of --batch",
            args.batch
        );
    }
    let of_part = TrainConfig {
        batch_size: args.batch / parts,
        accumulate: 1,
        parts_at_once: 1,
        ..config.clone()
    };
    let maker = BatchMaker::new(of_part, config.model.resolve());
    let part = |number: usize| -> Result<Batch> {
        let Some(mut batch) = maker.full_batch((number as u64) << 20) else {
            bail!(
                "too few samples have {} structures: ask for fewer with --objects",
                args.objects
            );
        };
        // A configuration gives the largest number of corrections only.
        batch.corrections = Corrections::central(args.corrections);
        Ok(batch)
    };
    let batch = |number: usize| (0..parts).map(|i| part(number * parts + i)).collect();
    Ok(((0..BATCHES).map(batch).collect::<Result<_>>()?, making_ms))
}

/// A model whose steps are timed.
struct InTraining {
    /// Absent after a step that failed.
    trainee: Option<TrainState>,
    lr: f64,
}

impl InTraining {
    fn new(trainee: TrainState, config: &TrainConfig) -> Self {
        Self {
            trainee: Some(trainee),
            lr: config.schedule.peak,
        }
    }

    fn parameters(&self) -> Result<usize> {
        Ok(self.current()?.parameters())
    }

    fn arithmetic(&self) -> Result<Arithmetic> {
        Ok(self.current()?.arithmetic())
    }

    fn current(&self) -> Result<&TrainState> {
        self.trainee.as_ref().context("the step before failed")
    }

    fn step(&mut self, parts: &[Batch]) -> Result<()> {
        let trainee = self.trainee.take().context("the step before failed")?;
        let (trainee, loss) = trainee.train_on(parts, self.lr)?;
        self.trainee = Some(trainee);
        loss.context("a step had no finite gradients")?;
        Ok(())
    }
}

/// Times steps that take their batches from one worker, after one step that is not counted.
fn generating(
    maker: &BatchMaker,
    trainee: &mut InTraining,
    args: &BenchTrainArgs,
    parts: usize,
) -> Result<Generating> {
    let steps = 1 + u64::from(args.repeats);
    let mut loader = Loader::start(maker, 0, steps, 1);
    let (mut step_ms, mut wait_ms) = (Vec::new(), Vec::new());
    for _ in 0..steps {
        let started = Instant::now();
        let parts = (0..parts).map(|_| loader.next_batch().context("the worker ended early"));
        let parts: Vec<Batch> = parts.collect::<Result<_>>()?;
        wait_ms.push(since_ms(started));
        let started = Instant::now();
        trainee.step(&parts)?;
        step_ms.push(since_ms(started));
    }
    // The first step waits for the worker to start.
    let (step_ms, wait_ms) = (step_ms.split_off(1), wait_ms.split_off(1));
    let total_ms: f64 = step_ms.iter().chain(&wait_ms).sum();
    Ok(Generating {
        images_per_second: 1e3 * args.batch as f64 * step_ms.len() as f64 / total_ms,
        step_ms: Spread::of(step_ms),
        wait_ms: Spread::of(wait_ms),
    })
}

impl TrainTimes {
    fn text(&self) -> String {
        let generating = self.generating.as_ref().map_or(String::new(), |times| {
            format!(
                "generating beside it      step {}, wait {}: {:.2} images per second\n",
                times.step_ms.text(),
                times.wait_ms.text(),
                times.images_per_second,
            )
        });
        format!(
            "model                     {} parameters at {} px\n\
             device                    {}, {} threads, {}\n\
             repetitions               {}\n\
             batch                     {} images of {} objects each, {} corrections; {} parts at once\n\
             step                      {}, {:.2} images per second\n\
             processor time per step   {}\n\
             making a batch            {:.1} ms on one thread\n\
             {generating}\
             peak memory               {}\n",
            self.parameters,
            self.image_size,
            self.device,
            self.threads,
            self.precision,
            self.repeats,
            self.batch,
            self.objects_per_image,
            self.corrections,
            self.parts,
            self.step_ms.text(),
            self.images_per_second,
            self.cpu_ms
                .map_or("unknown".to_owned(), |ms| format!("{ms:.0} ms")),
            self.making_batch_ms,
            memory_text(self.peak_memory_mb),
        )
    }
}
