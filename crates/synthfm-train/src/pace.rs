//! How a run goes: the lines of its log, and when it will end.

use std::time::{Duration, Instant};

use serde::Serialize;

use crate::config::TrainConfig;
use crate::gradients::StepSum;
use crate::memory::resident_mb;

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
    /// Part of that time spent waiting for data, 0 to 1.
    pub waiting: f64,
    /// Parts of batches that lay ready when one was asked for, on average since the last line.
    pub queue: f64,
    /// Steps so far whose gradients were not finite and that changed nothing.
    pub skipped: u64,
    /// Resident size of the process in MB, where the system tells it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_mb: Option<f64>,
    /// The largest memory of the process so far, in MB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peak_memory_mb: Option<f64>,
}

/// Sums since the last log line.
#[derive(Debug)]
pub(crate) struct Window {
    loss: f32,
    dice: f32,
    batches: u32,
    objects: usize,
    steps: u32,
    /// Parts of batches that were asked for, how many lay ready then, and seconds until they were there.
    asked: u32,
    ready: usize,
    waited: f64,
    since: Instant,
}

impl Window {
    pub(crate) fn new() -> Self {
        Self {
            loss: 0.0,
            dice: 0.0,
            batches: 0,
            objects: 0,
            steps: 0,
            asked: 0,
            ready: 0,
            waited: 0.0,
            since: Instant::now(),
        }
    }

    /// Counts a step that changed the weights.
    pub(crate) fn add(&mut self, step: &StepSum) {
        self.loss += step.loss;
        self.dice += step.dice;
        self.batches += 1;
        self.objects += step.objects;
    }

    /// Counts any step.
    pub(crate) fn count_step(&mut self) {
        self.steps += 1;
    }

    /// Counts a part of a batch that came after `waited`, when `ready` of them lay ready.
    pub(crate) fn asked(&mut self, ready: usize, waited: Duration) {
        self.asked += 1;
        self.ready += ready;
        self.waited += waited.as_secs_f64();
    }

    /// Leaves out time that no step took.
    pub(crate) fn leave_out(&mut self, time: Duration) {
        self.since += time;
    }

    pub(crate) fn report(&self, step: u64, steps: u64, last: &LastStep) -> StepReport {
        let seconds = self.since.elapsed().as_secs_f64();
        let batches = self.batches.max(1) as f32;
        let (memory_mb, peak_memory_mb) = resident_mb().unzip();
        StepReport {
            step,
            steps,
            loss: self.loss / batches,
            dice: self.dice / batches,
            lr: last.lr,
            grad_norm: last.grad_norm,
            objects: self.objects,
            seconds_per_step: seconds / f64::from(self.steps.max(1)),
            waiting: (self.waited / seconds.max(f64::MIN_POSITIVE)).min(1.0),
            queue: self.ready as f64 / f64::from(self.asked.max(1)),
            skipped: last.skipped,
            memory_mb,
            peak_memory_mb,
        }
    }
}

/// The values of a log line that belong to the last step alone.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LastStep {
    pub(crate) lr: f64,
    pub(crate) grad_norm: f64,
    pub(crate) skipped: u64,
}

/// How long a run takes, from its first steps.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct TimeEstimate {
    /// Steps that were timed.
    pub timed_steps: u64,
    /// Mean seconds per step, waiting for data included.
    pub seconds_per_step: f64,
    /// For `images_per_epoch` images.
    pub seconds_per_epoch: f64,
    /// For the steps that are left.
    pub seconds_left: f64,
}

/// Steps of this stretch of a run after which its end is estimated.
const TIMED: u64 = 50;
/// The first of them, which are not counted: threads start, caches are cold.
const WARM_UP: u64 = 5;

/// Times the first steps of a stretch.
#[derive(Debug, Default)]
pub(crate) struct Stopwatch {
    steps: u64,
    seconds: f64,
}

impl Stopwatch {
    /// Counts a step; after [`TIMED`] of them, once, the estimate with `left` steps to go.
    pub(crate) fn step(
        &mut self,
        time: Duration,
        left: u64,
        config: &TrainConfig,
    ) -> Option<TimeEstimate> {
        self.steps += 1;
        if self.steps > WARM_UP {
            self.seconds += time.as_secs_f64();
        }
        let timed_steps = TIMED - WARM_UP;
        let seconds_per_step = self.seconds / timed_steps as f64;
        let epoch = config.images_per_epoch as f64 / config.batch_size as f64;
        (self.steps == TIMED && left > 0).then_some(TimeEstimate {
            timed_steps,
            seconds_per_step,
            seconds_per_epoch: seconds_per_step * epoch,
            seconds_left: seconds_per_step * left as f64,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gradients::GradientSet;

    #[test]
    #[expect(clippy::float_cmp, reason = "whole seconds")]
    fn the_estimate_leaves_out_the_first_steps() {
        let config = TrainConfig {
            images_per_epoch: 1000,
            batch_size: 4,
            ..TrainConfig::default()
        };
        let mut watch = Stopwatch::default();
        for step in 1..TIMED {
            let seconds = if step <= WARM_UP { 100 } else { 2 };
            let time = Duration::from_secs(seconds);
            assert_eq!(watch.step(time, 500, &config), None);
        }
        let estimate = watch.step(Duration::from_secs(2), 500, &config).unwrap();
        assert_eq!(estimate.seconds_per_step, 2.0);
        assert_eq!(estimate.seconds_per_epoch, 500.0);
        assert_eq!(estimate.seconds_left, 1000.0);
        assert_eq!(watch.step(Duration::from_secs(2), 499, &config), None);
    }

    #[test]
    fn a_line_holds_means() {
        let mut window = Window::new();
        for (loss, ready) in [(1.0, 2), (2.0, 0)] {
            window.asked(ready, Duration::ZERO);
            let mut sum = StepSum::default();
            sum.add(GradientSet::default(), loss, 0.5, 3);
            window.add(&sum);
            window.count_step();
        }
        window.count_step();
        let last = LastStep {
            lr: 0.5,
            grad_norm: 4.0,
            skipped: 1,
        };
        let report = window.report(3, 9, &last);
        assert_eq!((report.loss, report.queue, report.objects), (1.5, 1.0, 6));
        assert_eq!((report.waiting, report.skipped, report.lr), (0.0, 1, 0.5));
    }
}
