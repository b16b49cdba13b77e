//! Images that wait for the encoder, and those who wait for them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::json;
use synthfm_sam::{EncodedImage, Predictor};
use tokio::sync::oneshot;

use super::calls::Calls;
use super::kept::EmbeddingCache;
use super::{ImageKey, MovingAverage, lock, shielded, warm_up};
use crate::error::ApiError;
use crate::events::Events;
use crate::study::Study;
use synthfm_image::one_line;

/// Jobs that nobody waits for; older ones are dropped for newer ones.
const MAX_AHEAD: usize = 8;
/// Images that people wait for at once.
const MAX_WANTED: usize = 64;
/// Work ahead rests for so long after a prompt.
const REST: Duration = Duration::from_millis(250);

/// Whether someone looks at the slice, or may soon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Urgency {
    Now,
    Ahead,
}

type Reply = oneshot::Sender<Result<EncodedImage, ApiError>>;

#[derive(Debug)]
struct Job {
    key: ImageKey,
    study: Arc<Study>,
    urgency: Urgency,
}

#[derive(Debug, Default)]
struct Queue {
    jobs: VecDeque<Job>,
    /// Who waits for which image, also for the one that is being encoded.
    waiting: BTreeMap<ImageKey, Vec<Reply>>,
    running: Option<ImageKey>,
    /// Whether the image that is being encoded was forgotten meanwhile.
    forgotten: bool,
}

/// The queue, and what was encoded.
#[derive(Debug)]
pub(super) struct Encoder {
    queue: Mutex<Queue>,
    arrived: Condvar,
    kept: Mutex<EmbeddingCache>,
    usual: MovingAverage,
    events: Arc<Events>,
}

impl Encoder {
    pub(super) fn new(events: Arc<Events>, max_bytes: usize) -> Self {
        Self {
            queue: Mutex::default(),
            arrived: Condvar::new(),
            kept: Mutex::new(EmbeddingCache::new(max_bytes)),
            usual: MovingAverage::default(),
            events,
        }
    }

    pub(super) fn expected_ms(&self) -> u64 {
        self.usual.ms()
    }

    pub(super) fn kept(&self, key: &ImageKey) -> Option<EncodedImage> {
        lock(&self.kept).get(key)
    }

    pub(super) fn prepare(&self, key: &ImageKey, study: &Arc<Study>, urgency: Urgency) {
        if self.kept(key).is_none() {
            lock(&self.queue).push(key, study, urgency);
            self.arrived.notify_one();
        }
    }

    pub(super) async fn get(
        &self,
        key: &ImageKey,
        study: &Arc<Study>,
    ) -> Result<EncodedImage, ApiError> {
        if let Some(image) = self.kept(key) {
            return Ok(image);
        }
        let (reply, image) = oneshot::channel();
        {
            let mut queue = lock(&self.queue);
            if queue.waiting.len() >= MAX_WANTED && !queue.waiting.contains_key(key) {
                return Err(ApiError::busy(
                    "too many images wait to be encoded; try again",
                ));
            }
            queue.push(key, study, Urgency::Now);
            queue.waiting.entry(key.clone()).or_default().push(reply);
        }
        self.arrived.notify_one();
        image
            .await
            .unwrap_or_else(|_| Err(ApiError::busy("the server is stopping")))
    }

    /// Drops the embeddings of an image, and its jobs that nobody waits for.
    pub(super) fn forget(&self, image: &str) {
        let mut queue = lock(&self.queue);
        let Queue { jobs, waiting, .. } = &mut *queue;
        jobs.retain(|job| job.key.image != image || waiting.contains_key(&job.key));
        let running = queue.running.as_ref();
        queue.forgotten |= running.is_some_and(|key| key.image == image);
        lock(&self.kept).forget(image);
    }

    /// The encoder's thread.
    pub(super) fn work(&self, predictor: &Predictor, calls: &Calls) {
        let started = Instant::now();
        if let Err(error) = shielded(|| warm_up(predictor)) {
            synthfm_image::tell(&format!(
                "warning: the model does not work: {}",
                one_line(error.as_ref())
            ));
        }
        self.usual.note(started.elapsed());
        loop {
            let job = self.next(calls);
            self.run(&job, predictor);
        }
    }

    fn next(&self, calls: &Calls) -> Job {
        let mut queue = lock(&self.queue);
        loop {
            let resting = calls.quiet_for().is_some_and(|quiet| quiet < REST);
            if let Some(job) = queue.pop(resting) {
                queue.running = Some(job.key.clone());
                queue.forgotten = false;
                return job;
            }
            let (next, _) = self
                .arrived
                .wait_timeout(queue, REST)
                .unwrap_or_else(PoisonError::into_inner);
            queue = next;
        }
    }

    fn run(&self, job: &Job, predictor: &Predictor) {
        let image = match self.kept(&job.key) {
            Some(image) => Ok(image),
            None => self.encode(job, predictor),
        };
        let mut queue = lock(&self.queue);
        queue.running = None;
        if let (Ok(image), false) = (&image, queue.forgotten) {
            lock(&self.kept).put(job.key.clone(), image.clone());
        }
        let waiting = queue.waiting.remove(&job.key).unwrap_or_default();
        drop(queue);
        for reply in waiting {
            let _ = reply.send(image.clone());
        }
    }

    fn encode(&self, job: &Job, predictor: &Predictor) -> Result<EncodedImage, ApiError> {
        self.tell(job, "running", json!({ "expected_ms": self.expected_ms() }));
        let started = Instant::now();
        let ImageKey { plane, index, .. } = job.key;
        let encoded = shielded(|| {
            let picture = job.study.model_input(plane, index, job.key.window())?;
            let mut predictor = predictor.clone();
            predictor.set_image(&picture)?;
            predictor.image().cloned().context("no embedding")
        });
        match encoded {
            Ok(image) => {
                self.usual.note(started.elapsed());
                self.tell(
                    job,
                    "done",
                    json!({ "took_ms": started.elapsed().as_millis() as u64 }),
                );
                Ok(image)
            }
            Err(error) => {
                self.tell(job, "failed", json!({ "error": one_line(error.as_ref()) }));
                Err(ApiError::failed(&error))
            }
        }
    }

    fn tell(&self, job: &Job, state: &str, mut more: serde_json::Value) {
        let ImageKey { plane, index, .. } = job.key;
        for (name, value) in [
            ("state", json!(state)),
            ("plane", json!(plane)),
            ("index", json!(index)),
            ("window", json!(job.key.window())),
        ] {
            more[name] = value;
        }
        self.events.send("encode", job.key.case(), more);
    }
}

impl Queue {
    /// Adds a job; one that is there already is not added again, but may become urgent.
    fn push(&mut self, key: &ImageKey, study: &Arc<Study>, urgency: Urgency) {
        if self.running.as_ref() == Some(key) {
            return;
        }
        if let Some(job) = self.jobs.iter_mut().find(|job| job.key == *key) {
            if urgency == Urgency::Now {
                job.urgency = Urgency::Now;
            }
            return;
        }
        self.jobs.push_back(Job {
            key: key.clone(),
            study: Arc::clone(study),
            urgency,
        });
        // Slices that were looked at and left are dropped like those ahead.
        let idle: Vec<ImageKey> = self
            .jobs
            .iter()
            .filter(|job| !self.waiting.contains_key(&job.key))
            .map(|job| job.key.clone())
            .collect();
        if idle.len() > MAX_AHEAD {
            self.jobs.retain(|job| job.key != idle[0]);
        }
    }

    /// The image that someone waits for longest, then the newest that is looked at, then those ahead.
    fn pop(&mut self, resting: bool) -> Option<Job> {
        let awaited = self
            .jobs
            .iter()
            .position(|job| self.waiting.contains_key(&job.key));
        let of = |urgency| move |job: &Job| job.urgency == urgency;
        let at = awaited
            .or_else(|| self.jobs.iter().rposition(of(Urgency::Now)))
            .or_else(|| {
                let ahead = self.jobs.iter().position(of(Urgency::Ahead));
                ahead.filter(|_| !resting)
            })?;
        self.jobs.remove(at)
    }
}
