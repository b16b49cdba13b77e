//! The training loop: learning rate, batch, forward, backward, check, step, log, save.
//!
//! A run is determined by its configuration: the batch of step i depends on the seed and i alone, sums
//! run in a fixed order, and a checkpoint holds everything that the next step needs. A resumed run is
//! therefore the uninterrupted one, bit for bit, on the CPU.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use burn::tensor::Device;
use serde::Serialize;

use crate::config::TrainConfig;
use crate::data::{BatchMaker, Loader};
use crate::gradients::StepSum;
use crate::learner::Learner;
use crate::run::{METRICS, Run, resolve_model};
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
}

/// One line of `metrics.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StepReport {
    /// Steps done.
    pub step: u64,
    /// Steps of the whole run.
    pub steps: u64,
    /// Mean loss since the last line.
    pub loss: f32,
    /// Mean Dice of the training objects since the last line, 0 to 1.
    pub dice: f32,
    /// Learning rate.
    pub lr: f64,
    /// Global norm of the last gradients before clipping.
    pub grad_norm: f64,
    /// Structures since the last line.
    pub objects: usize,
    /// Seconds per step since the last line.
    pub seconds_per_step: f64,
    /// Part of that time spent waiting for a batch, 0 to 1.
    pub waiting: f64,
}

/// What a run tells while it goes on.
#[derive(Debug)]
pub enum Event<'a> {
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

/// Sums since the last log line.
#[derive(Default)]
struct Window {
    loss: f32,
    dice: f32,
    batches: u32,
    objects: usize,
    steps: u32,
    waiting: f64,
}

/// Trains until the last step or until stopped. `on_event` sees every line of the logs as it is written.
pub fn train(
    config: &TrainConfig,
    options: &RunOptions,
    on_event: &mut dyn FnMut(&Event),
) -> Result<Outcome> {
    config.validate()?;
    let model = resolve_model(config)?;
    let (mut run, mut trainee) = Run::open(config, &model, options)?;
    let steps = config.steps();
    let maker = BatchMaker::new(config.clone(), model);
    let mut loader = Loader::start(&maker, run.state.step, steps, options.workers);
    let (mut window, mut since, mut skipped_in_a_row) = (Window::default(), Instant::now(), 0);

    while run.state.step < steps && !options.stop.load(Ordering::Relaxed) {
        let (started, lr) = (Instant::now(), config.schedule.at(run.state.step, steps));
        let mut sum = StepSum::default();
        for _ in 0..config.accumulate {
            window.waiting += add_part(&mut sum, &trainee.learner, &mut loader)?;
        }
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
            return Err(Error::Diverged {
                step: run.state.step,
                skipped: run.state.skipped,
            });
        }
        run.state.step += 1;
        run.state.seconds += started.elapsed().as_secs_f64();
        window.steps += 1;
        if run.state.step % config.log_every == 0 || run.state.step == steps {
            let report = window.report(run.state.step, steps, lr, grad_norm, since);
            run.log(METRICS, &report)?;
            on_event(&Event::Steps(&report));
            (window, since) = (Window::default(), Instant::now());
        }
        if run.validation_is_due() {
            let started = Instant::now();
            let validation = run.validate(&trainee, &maker)?;
            on_event(&Event::Validated(&validation));
            since += started.elapsed();
        }
        if run.state.step % config.checkpoint_every == 0 {
            run.save(&trainee)?;
        }
    }
    run.finish(&trainee)
}

/// Adds loss and gradients of the next part of a step's batch; the seconds that it was waited for.
fn add_part(sum: &mut StepSum, learner: &Learner, loader: &mut Loader) -> Result<f64> {
    let started = Instant::now();
    let batch = loader.next_batch().ok_or(Error::Worker)?;
    let waited = started.elapsed().as_secs_f64();
    if let Some(output) = learner.forward(&batch) {
        let gradients = learner.gradients(&output);
        let objects = batch.image_of_object.len();
        sum.add(gradients, output.loss.into_scalar(), output.dice, objects);
    }
    Ok(waited)
}

impl Window {
    fn add(&mut self, step: &StepSum) {
        self.loss += step.loss;
        self.dice += step.dice;
        self.batches += 1;
        self.objects += step.objects;
    }

    fn report(&self, step: u64, steps: u64, lr: f64, grad_norm: f64, since: Instant) -> StepReport {
        let (seconds, batches) = (since.elapsed().as_secs_f64(), self.batches.max(1) as f32);
        StepReport {
            step,
            steps,
            loss: self.loss / batches,
            dice: self.dice / batches,
            lr,
            grad_norm,
            objects: self.objects,
            seconds_per_step: seconds / f64::from(self.steps.max(1)),
            waiting: if seconds > 0.0 {
                self.waiting / seconds
            } else {
                0.0
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use synthfm_sam::Sam;

    use super::*;
    use crate::init::initialise;

    /// Objects, loss, Dice and gradients of the first step.
    fn first_step(accumulate: usize) -> (StepSum, BTreeMap<String, Vec<f32>>) {
        let text = include_str!("../../../configs/tiny.toml");
        let mut config = TrainConfig::from_toml(text).unwrap();
        config.prompts.corrections.probability = 1.0;
        config.prompts.corrections.centre = 0.0;
        (config.batch_size, config.accumulate) = (5, accumulate);
        let (model, device) = (config.model.resolve(), Device::flex());
        let sam = initialise(Sam::new(&model, &device), config.seed);
        let learner = Learner::new(sam, model.clone(), config.mode, config.loss, &device);
        let mut loader = Loader::start(&BatchMaker::new(config, model), 0, 1, 2);
        let mut sum = StepSum::default();
        for _ in 0..accumulate {
            add_part(&mut sum, &learner, &mut loader).unwrap();
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
        let (whole, expected) = first_step(1);
        for parts in [2, 3, 5] {
            let (sum, gradients) = first_step(parts);
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
}
