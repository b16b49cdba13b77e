//! The model at work: images are encoded in the background, prompts are answered in the order in which they came.
//!
//! One thread encodes and one decodes, so that a click on an encoded slice does not wait for the encoding of another.
//! Slices that are looked at go before those that are prepared ahead, which wait while someone clicks. A prompt that
//! a newer one for the same structure and slice has overtaken is not answered.

mod calls;
mod encode;
mod kept;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use synthfm_image::{Mask, RgbImage, Size};
use synthfm_sam::{EncodedImage, MaskOutput, Predictor, Prompts};

use super::annotation::PlaneName;
use super::error::ApiError;
use super::events::Events;
use super::study::Study;

pub(super) use calls::{CallKey, Purpose};
pub(super) use encode::Urgency;

/// One encoded picture: a slice through a window.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ImageKey {
    /// The image of a case, as [`OpenCase::image_id`](super::desk::OpenCase::image_id) names it.
    pub(super) image: String,
    pub(super) plane: PlaneName,
    pub(super) index: usize,
    /// Bits of the limits, which compare exactly.
    window: [u32; 2],
}

impl ImageKey {
    pub(super) fn new(image: &str, plane: PlaneName, index: usize, window: [f32; 2]) -> Self {
        Self {
            image: image.to_owned(),
            plane,
            index,
            window: window.map(f32::to_bits),
        }
    }

    /// The case whose image it is.
    fn case(&self) -> &str {
        self.image.split('#').next().unwrap_or_default()
    }

    pub(super) fn window(&self) -> [f32; 2] {
        self.window.map(f32::from_bits)
    }
}

/// The model's answer to one prompt.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub(super) mask: Mask,
    /// The model's own estimate of the mask's `IoU`.
    pub(super) iou: f32,
    pub(super) decode_ms: f64,
}

/// The model and its two threads.
#[derive(Debug)]
pub(super) struct Engine {
    encoder: Arc<encode::Encoder>,
    calls: Arc<calls::Calls>,
}

impl Engine {
    /// Starts the threads; the first thing that they do is to warm up, which tells how long encoding takes. Embeddings of
    /// `kept_bytes` are kept, those of crops included.
    pub(super) fn start(
        predictor: &Predictor,
        kept_bytes: usize,
        events: Arc<Events>,
    ) -> Result<Self> {
        let calls = Arc::new(calls::Calls::default());
        let encoder = Arc::new(encode::Encoder::new(events, kept_bytes));
        let (worker, shared) = (predictor.clone(), Arc::clone(&encoder));
        let busy = Arc::clone(&calls);
        thread::Builder::new()
            .name("encoder".to_owned())
            .spawn(move || shared.work(&worker, &busy))
            .context("starting the encoder's thread")?;
        let (worker, shared) = (predictor.clone(), Arc::clone(&calls));
        thread::Builder::new()
            .name("decoder".to_owned())
            .spawn(move || shared.work(&worker))
            .context("starting the decoder's thread")?;
        Ok(Self { encoder, calls })
    }

    /// Milliseconds that an encoding takes, from the latest ones; 0 before the first.
    pub(super) fn expected_ms(&self) -> u64 {
        self.encoder.expected_ms()
    }

    /// Has a slice encoded without waiting for it.
    pub(super) fn prepare(&self, key: &ImageKey, study: &Arc<Study>, urgency: Urgency) {
        self.encoder.prepare(key, study, urgency);
    }

    /// Whether a slice is encoded already.
    pub(super) fn is_ready(&self, key: &ImageKey) -> bool {
        self.encoder.kept(key).is_some()
    }

    /// Lets go of everything about an image that nobody will ask about again.
    pub(super) fn forget(&self, image: &str) {
        self.encoder.forget(image);
    }

    /// Notes a prompt; whatever was asked before under the same key is stale from here on.
    pub(super) fn announce(&self, key: CallKey) -> u64 {
        self.calls.announce(key)
    }

    /// Whether the prompt of that number is the newest under its key.
    pub(super) fn is_newest(&self, key: &CallKey, number: u64) -> bool {
        self.calls.is_newest(key, number)
    }

    /// The embedding of a slice, encoded now if it is not yet.
    pub(super) async fn embedding(
        &self,
        key: &ImageKey,
        study: &Arc<Study>,
    ) -> Result<EncodedImage, ApiError> {
        self.encoder.get(key, study).await
    }

    /// The mask for prompts; refused where a newer prompt has the same key.
    pub(super) async fn ask(
        &self,
        key: CallKey,
        number: u64,
        image: EncodedImage,
        prompts: Prompts,
        output: MaskOutput,
    ) -> Result<Answer, ApiError> {
        self.calls.ask(key, number, image, prompts, output).await
    }
}

/// The error for a prompt that a newer one has overtaken.
pub(super) fn superseded() -> ApiError {
    ApiError::conflict(
        "superseded",
        "a newer prompt for this structure and slice has taken the place of this one",
    )
}

/// One click on an empty picture: loads what the first user would wait for.
fn warm_up(predictor: &Predictor) -> Result<()> {
    let mut predictor = predictor.clone();
    let image = predictor.encode(&RgbImage::zeros(Size::new(64, 64)))?;
    predictor.set_encoded_image(image);
    let prompts = Prompts {
        points: vec![(synthfm_image::Point2::new(32.0, 32.0), true)],
        ..Prompts::default()
    };
    predictor.answer(&prompts, MaskOutput::Single)?;
    Ok(())
}

/// Runs something of the model's that must not end the thread.
fn shielded<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).unwrap_or_else(|_| {
        Err(anyhow::anyhow!(
            "the model failed; its message is on the server's standard error"
        ))
    })
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Milliseconds, smoothed over the latest measurements.
#[derive(Debug, Default)]
struct MovingAverage(AtomicU64);

impl MovingAverage {
    fn note(&self, took: Duration) {
        let took = took.as_millis() as u64;
        let before = self.0.load(Ordering::Relaxed);
        let next = if before == 0 {
            took
        } else {
            u64::midpoint(before, took)
        };
        self.0.store(next.max(1), Ordering::Relaxed);
    }

    fn ms(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Milliseconds since `started`.
fn since_ms(started: Instant) -> f64 {
    started.elapsed().as_secs_f64() * 1e3
}
