//! Threads that prepare batches ahead of the trainer.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;

use super::{Batch, BatchMaker};

/// Batches that a worker prepares ahead.
const AHEAD: usize = 2;

/// The batches of the steps from `first` on, part by part, prepared by `workers` threads and handed over in order.
pub struct Loader {
    queues: Vec<Receiver<Batch>>,
    next: usize,
    /// Parts that are made and not yet handed over.
    ready: Arc<AtomicUsize>,
}

impl Loader {
    /// Starts the workers. They end by themselves once the loader is dropped or `last` is reached.
    pub fn start(maker: &BatchMaker, first: u64, last: u64, workers: usize) -> Self {
        let workers = workers.max(1);
        let (own, parts) = maker.parts();
        let count = own.len() as u64;
        let ready = Arc::new(AtomicUsize::new(0));
        let queues = (0..workers as u64)
            .map(|worker| {
                let (sender, receiver) = sync_channel(AHEAD);
                let (maker, ready) = (maker.clone(), Arc::clone(&ready));
                let own = own.clone();
                thread::spawn(move || {
                    for at in (first * count + worker..last * count).step_by(workers) {
                        let (step, part) = (at / count, own.start + (at % count) as usize);
                        let batch = maker.part(step, part, parts);
                        ready.fetch_add(1, Ordering::Relaxed);
                        if sender.send(batch).is_err() {
                            return;
                        }
                    }
                });
                receiver
            })
            .collect();
        Self {
            queues,
            next: 0,
            ready,
        }
    }

    /// Parts that lie ready: at most three for each worker.
    pub fn ready(&self) -> usize {
        self.ready.load(Ordering::Relaxed)
    }

    /// The next part; `None` after the last, or if a worker died.
    pub fn next_batch(&mut self) -> Option<Batch> {
        let batch = self.queues[self.next].recv().ok()?;
        self.next = (self.next + 1) % self.queues.len();
        self.ready.fetch_sub(1, Ordering::Relaxed);
        Some(batch)
    }
}
