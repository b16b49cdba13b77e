//! `synthfm bench`: what a model costs on this machine.
//!
//! Times are over repetitions after one that is not counted, on a synthetic image of the model's input size. Peak
//! memory is the process's (`VmHWM`), with the model's weights.

mod args;
mod parts;
mod step;
mod train;
mod whole;

use std::time::Instant;

use anyhow::{Context, Result};
use serde::Serialize;
use synthfm_image::{Mask, Point2, RgbImage};
use synthfm_sam::Predictor;
use synthfm_synth::{GeneratorConfig, generate};

use crate::output::Session;
use crate::predict::since_ms;
use args::{BenchPart, BenchTrainArgs, BenchVerb};

pub(crate) use args::BenchArgs;

/// Sides that the generator takes.
const SIDES: std::ops::RangeInclusive<usize> = 128..=2048;

/// Times one part of a model, whole training steps of our own, or encoding, a click and a training step.
pub(crate) fn run(args: &BenchArgs, session: &Session) -> Result<()> {
    if let Some(BenchVerb::Train(train)) = &args.verb {
        return train::run(train, session);
    }
    match args.part {
        Some(BenchPart::Encoder) => parts::encoder(args, session),
        Some(BenchPart::Decoder) => parts::decoder(args, session),
        Some(BenchPart::Step) => step::run(args, session),
        None => whole::run(args, session),
    }
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

/// Times in milliseconds.
#[derive(Debug, Clone, Copy, Serialize)]
struct Spread {
    median: f64,
    min: f64,
    max: f64,
}

/// Times of an action, after one run that is not counted.
fn spread(repeats: usize, mut action: impl FnMut() -> Result<()>) -> Result<Spread> {
    action()?;
    let mut times = Vec::with_capacity(repeats);
    for _ in 0..repeats {
        let started = Instant::now();
        action()?;
        times.push(since_ms(started));
    }
    Ok(Spread::of(times))
}

impl Spread {
    /// The spread of `times`, which holds at least one.
    fn of(mut times: Vec<f64>) -> Self {
        times.sort_by(f64::total_cmp);
        let (low, high) = ((times.len() - 1) / 2, times.len() / 2);
        Self {
            median: f64::midpoint(times[low], times[high]),
            min: times[0],
            max: times[times.len() - 1],
        }
    }

    /// The spread for one of `count` equal parts of what was timed.
    fn over(self, count: usize) -> Self {
        let part = |ms: f64| ms / count as f64;
        Self {
            median: part(self.median),
            min: part(self.min),
            max: part(self.max),
        }
    }

    fn text(self) -> String {
        format!("{:.1} ms ({:.1} to {:.1})", self.median, self.min, self.max)
    }
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

fn memory_text(mb: Option<f64>) -> String {
    mb.map_or("unknown".to_owned(), |mb| format!("{mb:.0} MB"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_run_is_not_counted() {
        let mut runs = 0;
        spread(4, || {
            runs += 1;
            Ok(())
        })
        .unwrap();
        assert_eq!(runs, 5);
        assert!(spread(1, || anyhow::bail!("no")).is_err());
    }

    #[test]
    fn the_median_is_the_middle() {
        let of = |times: &[f64]| {
            let Spread { median, min, max } = Spread::of(times.to_vec());
            [median, min, max].map(f64::to_bits)
        };
        let bits = |times: [f64; 3]| times.map(f64::to_bits);
        assert_eq!(of(&[3.0, 1.0, 10.0]), bits([3.0, 1.0, 10.0]));
        assert_eq!(of(&[4.0, 1.0, 10.0, 2.0]), bits([3.0, 1.0, 10.0]));
        assert_eq!(of(&[2.5]), bits([2.5, 2.5, 2.5]));
    }
}
