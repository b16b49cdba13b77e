//! The parts of a step's batch, several of them at once.
//!
//! A small model's operations are too short to keep every core busy one by one. Each part has threads of its own and a
//! record of its own, so that nothing is shared but the weights; the parts are added up in their order. The result is the
//! same, bit for bit, however many are computed at once.

use std::panic::resume_unwind;
use std::thread;

use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::data::Batch;
use crate::gradients::GradientSet;
use crate::learner::Learner;
use crate::{Error, Result};

/// The contribution of a part of a batch to its step.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) gradients: GradientSet,
    /// Mean over the objects.
    pub(crate) loss: f32,
    /// Mean Dice over the objects, 0 to 1.
    pub(crate) dice: f32,
    pub(crate) objects: usize,
}

impl Part {
    /// `None` without objects.
    fn of(learner: &Learner, batch: &Batch) -> Result<Option<Self>> {
        let Some(output) = learner.forward(batch)? else {
            return Ok(None);
        };
        Ok(Some(Self {
            gradients: learner.gradients(&output),
            loss: output.loss.into_scalar(),
            dice: output.dice,
            objects: batch.objects(),
        }))
    }
}

/// Threads for the parts that are computed at once.
#[derive(Debug)]
pub(crate) struct Lanes {
    /// One for each part; none where parts follow one another on all threads.
    pools: Vec<ThreadPool>,
}

impl Lanes {
    /// For `at_once` parts, which share the threads of the current pool; each has at least one.
    ///
    /// # Errors
    /// If the system starts no more threads.
    pub(crate) fn new(at_once: usize) -> Result<Self> {
        let threads = (rayon::current_num_threads() / at_once.max(1)).max(1);
        let pool = |_| {
            let pool = ThreadPoolBuilder::new().num_threads(threads).build();
            pool.map_err(|error| Error::Parameter(format!("parts_at_once: {at_once}: {error}")))
        };
        let count = if at_once > 1 { at_once } else { 0 };
        Ok(Self {
            pools: (0..count).map(pool).collect::<Result<_>>()?,
        })
    }

    /// Parts that are computed at once.
    pub(crate) fn count(&self) -> usize {
        self.pools.len().max(1)
    }

    /// At most [`Self::count`] parts, in order; `None` for those without objects.
    pub(crate) fn run(&self, learner: &Learner, batches: &[Batch]) -> Result<Vec<Option<Part>>> {
        if self.pools.is_empty() || batches.len() < 2 {
            let parts = batches.iter().map(|batch| Part::of(learner, batch));
            return parts.collect();
        }
        assert!(batches.len() <= self.count(), "a lane for each part");
        thread::scope(|scope| {
            let running: Vec<_> = batches
                .iter()
                .zip(&self.pools)
                .map(|(batch, pool)| {
                    let learner = learner.with_own_record();
                    scope.spawn(move || pool.install(|| Part::of(&learner, batch)))
                })
                .collect();
            let join = |thread: thread::ScopedJoinHandle<'_, _>| match thread.join() {
                Ok(part) => part,
                Err(panic) => resume_unwind(panic),
            };
            // All of them end before the first error is given.
            let parts: Vec<Result<Option<Part>>> = running.into_iter().map(join).collect();
            parts.into_iter().collect()
        })
    }
}
