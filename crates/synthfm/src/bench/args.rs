//! The flags of `synthfm bench`.

use std::ops::RangeInclusive;

use clap::builder::TypedValueParser;
use clap::{Args, Subcommand, ValueEnum};
use synthfm_sam::PrecisionChoice;

use crate::cli::PRECISION_HELP;

/// A part of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum BenchPart {
    /// The image encoder
    Encoder,
    /// Prompt encoder and mask decoder: one click, and 16 boxes in one call
    Decoder,
    /// A training step of SAM's decoder on an embedding, whatever the model: one object, and four
    Step,
}

/// A measurement with flags of its own.
#[derive(Debug, Subcommand)]
pub(crate) enum BenchVerb {
    /// Whole training steps of our own model: encoder, decoder, losses, backward, optimizer
    Train(BenchTrainArgs),
}

#[derive(Debug, Args)]
pub(crate) struct BenchTrainArgs {
    /// Side of the model's input, a multiple of 16
    #[arg(long, value_name = "PX", default_value_t = 256, value_parser = bench_side)]
    pub(crate) size: usize,
    /// Images per step
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = count(1..=1024))]
    pub(crate) batch: usize,
    /// Objects on every image
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = count(1..=64))]
    pub(crate) objects: usize,
    /// Answers that are corrected, without gradients, before the one that counts
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = count(0..=16))]
    pub(crate) corrections: usize,
    /// Timed repetitions, of which the median is reported
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(crate) repeats: u16,
    /// Precision of the products, forward and backward: f32, bf16 (on processors that have it) or auto
    #[arg(long, default_value = "f32", value_name = "PRECISION")]
    pub(crate) precision: PrecisionChoice,
    /// Parts of a step's batch that are computed at once, each on its share of the threads [default: one for each thread
    /// of the CPU, if they divide the batch]
    #[arg(long, value_name = "N", value_parser = count(1..=64))]
    pub(crate) parts: Option<usize>,
    /// Also time steps whose batches one thread makes beside them, as in training
    #[arg(long)]
    pub(crate) generate: bool,
}

/// The side of an input that model and generator take.
fn bench_side(text: &str) -> Result<usize, String> {
    let side = text.parse().ok();
    let side = side.filter(|side: &usize| (128..=2048).contains(side) && side.is_multiple_of(16));
    side.ok_or_else(|| "a multiple of 16 from 128 to 2048 expected, such as 256".to_owned())
}

/// A number within a range.
fn count(range: RangeInclusive<i64>) -> impl TypedValueParser<Value = usize> {
    clap::value_parser!(u16).range(range).map(usize::from)
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct BenchArgs {
    #[command(subcommand)]
    pub(crate) verb: Option<BenchVerb>,
    /// One part by itself [default: encoding, a click and a training step]
    #[arg(value_enum)]
    pub(crate) part: Option<BenchPart>,
    /// A model file, folder or name [default: the embedded model]
    #[arg(long)]
    pub(crate) model: Option<String>,
    /// Timed repetitions, of which the median is reported
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(crate) repeats: u16,
    #[arg(long, default_value = "f32", value_name = "PRECISION", help = PRECISION_HELP)]
    pub(crate) precision: PrecisionChoice,
}
