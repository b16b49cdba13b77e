//! The training loop: learning rate, batch, forward, backward, check, step, log, save.
//!
//! A run is determined by its configuration: the batch of step i depends on the seed and i alone, sums
//! run in a fixed order, and a checkpoint holds everything that the next step needs. A resumed run is
//! therefore the uninterrupted one, bit for bit, on the CPU.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use crate::config::TrainConfig;
use crate::data::{BatchMaker, Loader};
use crate::gradients::StepSum;
use crate::learner::Learner;
use crate::memory::MemoryEstimate;
use crate::pace::{LastStep, StepReport, Stopwatch, TimeEstimate, Window};
use crate::parallel::Processes;
use crate::parts::Lanes;
use crate::plan::ParameterGroup;
use crate::run::{Run, resolve_model};
use crate::validation::Validation;
use crate::{Error, Result};

/// Steps in a row without finite gradients after which a run gives up.
const MAX_SKIPPED_IN_A_ROW: u64 = 20;

/// Where and how to run; nothing here changes the result.
#[derive(Debug)]
pub struct RunOptions<'a> {
    /// Run folder; created if absent.
    pub out: &'a Path,
    /// Where the tensors live.
    pub device: Device,
    /// Continue from the newest checkpoint in `out`.
    pub resume: bool,
    /// Threads that prepare batches.
    pub workers: usize,
    /// Set from outside to stop after the current step, with a checkpoint.
    pub stop: &'a AtomicBool,
    /// The processes that share each batch; one of them writes.
    pub processes: &'a Processes,
}

/// The trained parameters and the memory of a step: `parameters.json` of the run folder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// The parameters by how they are trained.
    pub groups: Vec<ParameterGroup>,
    /// Bytes of memory that a step holds.
    pub memory: MemoryEstimate,
}

/// A report of a run in progress.
#[derive(Debug)]
pub enum Event<'a> {
    /// The trained parameters, told before the first step.
    Started(&'a Summary),
    /// When the run will end, once after some steps.
    Estimated(&'a TimeEstimate),
    /// A line of `metrics.jsonl`.
    Steps(&'a StepReport),
    /// A line of `validation.jsonl`.
    Validated(&'a Validation),
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// Steps done.
    pub step: u64,
    /// Whether that is all of them; otherwise the run was stopped and can be resumed.
    pub finished: bool,
    /// The model: a checkpoint's, or the run's own once finished.
    pub model: PathBuf,
}

/// Trains until the last step or until stopped. `on_event` sees every line of the logs as it is written, in the process
/// that writes them.
pub fn train(
    config: &TrainConfig,
    options: &RunOptions<'_>,
    on_event: &mut dyn FnMut(&Event),
) -> Result<Outcome> {
    config.validate()?;
    let model = resolve_model(config)?;
    let processes = options.processes;
    check_share(config, processes)?;
    let (mut run, mut trainee) = Run::open(config, &model, options)?;
    if processes.writes() {
        on_event(&Event::Started(&run.summarise(&trainee, &model)?));
    }
    let steps = config.steps();
    let maker = BatchMaker::new(config.clone(), model);
    let maker = maker.with_share(processes.rank(), processes.size());
    let trained = trainee.learner.trained();
    let mut loader = Loader::start(&maker, run.state.step, steps, options.workers);
    let (mut window, mut watch) = (Window::new(), Stopwatch::default());
    let mut skipped_in_a_row = 0;
    let stop = || options.stop.load(Ordering::Relaxed);
    // Several processes agree on it in a step's sum.
    let mut stopping = processes.size() == 1 && stop();

    while run.state.step < steps && !stopping {
        let (started, lr) = (Instant::now(), config.schedule.at(run.state.step, steps));
        let mut sum = StepSum::default();
        let mut left = config.accumulate;
        while left > 0 {
            let parts = left.min(trainee.lanes.count());
            add_parts(
                &mut sum,
                (&trainee.lanes, parts),
                &trainee.learner,
                &mut loader,
                &mut window,
            )?;
            left -= parts;
        }
        stopping = sum.reduce(processes, &trained, stop());
        let mut grad_norm = 0.0;
        if let Some(gradients) = sum.take_gradients() {
            grad_norm = gradients.global_norm();
            if grad_norm.is_finite() {
                trainee = trainee.step(gradients, grad_norm, lr);
                window.add(&sum);
                skipped_in_a_row = 0;
            } else {
                run.state.skipped += 1;
                skipped_in_a_row += 1;
            }
        }
        if skipped_in_a_row >= MAX_SKIPPED_IN_A_ROW {
            return Err(run.diverged());
        }
        run.state.step += 1;
        let (step, time) = (run.state.step, started.elapsed());
        run.state.seconds += time.as_secs_f64();
        window.count_step();
        if !processes.writes() {
            continue;
        }
        if let Some(estimate) = watch.step(time, steps - step, config) {
            on_event(&Event::Estimated(&estimate));
        }
        if step % config.log_every == 0 || step == steps {
            let skipped = run.state.skipped;
            let last = LastStep {
                lr,
                grad_norm,
                skipped,
            };
            let report = window.report(step, steps, &last);
            run.report(&report)?;
            on_event(&Event::Steps(&report));
            window = Window::new();
        }
        if run.validation_is_due() {
            let started = Instant::now();
            let validation = run.validate(&trainee, &maker)?;
            on_event(&Event::Validated(&validation));
            window.leave_out(started.elapsed());
        }
        // Weights that give nothing finite are no place to go on from.
        if step % config.checkpoint_every == 0 && skipped_in_a_row == 0 {
            run.save(&trainee)?;
        }
    }
    run.finish(&trainee)
}

/// Every process must have an image of each of its parts.
fn check_share(config: &TrainConfig, processes: &Processes) -> Result<()> {
    let parts = processes.size() * config.accumulate;
    if parts <= config.batch_size {
        return Ok(());
    }
    Err(Error::Parameter(format!(
        "batch_size: {} images cannot be shared by {} processes with {} parts each; raise it to {parts} or start fewer",
        config.batch_size,
        processes.size(),
        config.accumulate
    )))
}

/// Adds loss and gradients of the next `parts` of a step's batch, which are computed at once and added in their order.
fn add_parts(
    sum: &mut StepSum,
    (lanes, parts): (&Lanes, usize),
    learner: &Learner,
    loader: &mut Loader,
    window: &mut Window,
) -> Result<()> {
    let mut batches = Vec::with_capacity(parts);
    for _ in 0..parts {
        let (started, ready) = (Instant::now(), loader.ready());
        batches.push(loader.next_batch().ok_or(Error::Worker)?);
        window.asked(ready, started.elapsed());
    }
    for part in lanes.run(learner, &batches)?.into_iter().flatten() {
        sum.add(part.gradients, part.loss, part.dice, part.objects);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use synthfm_sam::Sam;

    use super::*;
    use crate::config::CountedAnswers;
    use crate::init::initialise;

    /// Objects, loss, Dice and gradients of the first step, with a kind of prompt for each image or for all of them.
    /// With `at_once` parts at once.
    fn first_step(
        accumulate: usize,
        at_once: usize,
        per_image: bool,
    ) -> (StepSum, BTreeMap<String, Vec<f32>>) {
        let text = include_str!("../../../configs/tiny.toml");
        let mut config = TrainConfig::from_toml(text).unwrap();
        config.prompts.corrections.probability = 1.0;
        config.prompts.corrections.centre = 0.0;
        (config.batch_size, config.accumulate) = (5, accumulate);
        if per_image {
            config.prompts.per_image = true;
            config.prompts.corrections.loss = CountedAnswers::Every;
            (config.prompts.scribble, config.prompts.rough_mask) = (0.3, 0.5);
            config.prompts.neighbour_mask = 0.4;
            config.views.whole = 0.3;
            config.views.per_scene = 2;
        }
        let (model, device) = (config.model.resolve(), Device::flex());
        let sam = initialise(Sam::new(&model, &device), config.seed);
        let learner = Learner::new(sam, model.clone(), config.mode, config.loss, &device);
        let mut loader = Loader::start(&BatchMaker::new(config, model), 0, 1, 2);
        let mut sum = StepSum::default();
        let (lanes, mut window) = (Lanes::new(at_once).unwrap(), Window::new());
        let all: Vec<usize> = (0..accumulate).collect();
        for parts in all.chunks(at_once) {
            let parts = (&lanes, parts.len());
            add_parts(&mut sum, parts, &learner, &mut loader, &mut window).unwrap();
        }
        assert!(
            loader.next_batch().is_none(),
            "the step has no further part"
        );
        let gradients = sum.take_gradients().unwrap();
        let owned = |(name, values): (&str, &[f32])| (name.to_owned(), values.to_vec());
        let gradients = gradients.iter().map(owned).collect();
        (sum, gradients)
    }

    #[test]
    fn parts_of_a_batch_add_up_to_the_batch() {
        check_parts(false);
    }

    #[test]
    fn parts_with_several_kinds_of_prompts_add_up_to_the_batch() {
        check_parts(true);
    }

    fn check_parts(per_image: bool) {
        let (whole, expected) = first_step(1, 1, per_image);
        for parts in [2, 3, 5] {
            let (sum, gradients) = first_step(parts, 1, per_image);
            assert_eq!(sum.objects, whole.objects);
            assert!((sum.loss - whole.loss).abs() < 1e-5 * whole.loss);
            assert!((sum.dice - whole.dice).abs() < 1e-5);
            let size = |values: &[f32]| values.iter().fold(0.0_f32, |m, v| m.max(v.abs()));
            let largest = expected.values().map(|g| size(g)).fold(0.0, f32::max);
            assert!(gradients.keys().eq(expected.keys()));
            for (name, values) in &gradients {
                let expected = &expected[name];
                let off: Vec<f32> = values.iter().zip(expected).map(|(a, b)| a - b).collect();
                // Sums in another order: single precision over some thousand terms.
                let allowed = 1e-4 * size(expected) + 1e-6 * largest;
                assert!(
                    size(&off) <= allowed,
                    "{parts} parts, {name}: {}",
                    size(&off)
                );
            }
        }
    }

    #[test]
    fn parts_at_once_are_the_same_bit_for_bit_on_any_number_of_threads() {
        let bits = |gradients: BTreeMap<String, Vec<f32>>| -> Vec<(String, Vec<u32>)> {
            let bits = |values: Vec<f32>| values.into_iter().map(f32::to_bits).collect();
            gradients.into_iter().map(|(k, v)| (k, bits(v))).collect()
        };
        let (one, expected) = first_step(3, 1, true);
        let expected = bits(expected);
        assert!(expected.iter().any(|(_, v)| v.iter().any(|&v| v != 0)));
        for threads in [1, 2] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
            let pool = pool.unwrap();
            // Two lanes for three parts, and one for each.
            for at_once in [1, 2, 3] {
                let (sum, gradients) = pool.install(|| first_step(3, at_once, true));
                let numbers = |sum: &StepSum| (sum.objects, sum.loss.to_bits(), sum.dice.to_bits());
                assert_eq!(numbers(&sum), numbers(&one), "{threads} threads, {at_once}");
                assert!(bits(gradients) == expected, "{threads} threads, {at_once}");
            }
        }
    }
}
