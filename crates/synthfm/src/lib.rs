//! `synthfm`: promptable segmentation of medical images, trained on synthetic images alone.
//!
//! The program as a library: [`main`] is all of the command line, which `main.rs` and the Python module call; [`api`] has
//! what other front ends need of the verbs. One file per verb. Results go to files and standard output, progress and
//! errors to standard error. Exit codes: 0 done, 1 failed, 2 wrong usage. Not a medical device; for research use.

mod allocator;
pub mod api;
mod bench;
mod bytes;
mod cache;
mod cli;
mod compare;
mod embed;
mod evaluate;
mod frame;
mod generate;
mod info;
mod info_results;
mod info_scan;
mod input;
mod interrupt;
mod limits;
mod model;
mod models;
mod output;
mod overrides;
mod paths;
mod predict;
mod predict_volume;
mod progress;
mod prompts_file;
mod serve;
mod slice_picture;
mod train;

use std::ffi::OsString;

use clap::Parser;

use crate::cli::{Cli, Verb};
use crate::output::Session;
use synthfm_image::one_line;

pub use allocator::{Keep, mimalloc_keeps};
pub use output::UsageError;

/// Exit code of a failure.
const FAILED: u8 = 1;
/// Exit code of a command that cannot be carried out as it was typed.
const WRONG_USAGE: u8 = 2;

/// Runs the command line `args`, whose first entry is the program's name, and returns the exit code.
///
/// `keep_freed_memory` sets how long the caller's memory allocator keeps freed memory; it may do nothing.
pub fn main(args: impl IntoIterator<Item = OsString>, keep_freed_memory: fn(Keep)) -> u8 {
    allocator::set(keep_freed_memory);
    allocator::keep_freed_memory(Keep::ForASecond);
    interrupt::outlive_file_limits();
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            // A closed standard output or error leaves nobody to tell.
            let _ = error.print();
            return u8::try_from(error.exit_code()).unwrap_or(WRONG_USAGE);
        }
    };
    match run(&cli) {
        Ok(()) => 0,
        Err(error) if error.is::<UsageError>() => {
            synthfm_image::tell(&format!(
                "error: {}\n\nFor more information, try '--help'.",
                one_line(error.as_ref())
            ));
            WRONG_USAGE
        }
        Err(error) => {
            let hint = hint(&error, &cli.verb);
            synthfm_image::tell(&format!("error: {}{hint}", one_line(error.as_ref())));
            FAILED
        }
    }
}

/// Advice on what to do about an error, in the words of the verb.
fn hint(error: &anyhow::Error, verb: &Verb) -> &'static str {
    let too_large = error.chain().any(|cause| {
        let file = cause.downcast_ref::<synthfm_image::Error>();
        let image = cause.downcast_ref::<synthfm_sam::Error>();
        matches!(file, Some(synthfm_image::Error::Limit { .. }))
            || matches!(image, Some(synthfm_sam::Error::ImageMemory { .. }))
    });
    match verb {
        Verb::Predict(_) | Verb::Embed(_) | Verb::Info(_) if too_large => {
            "; --max-memory sets the limit"
        }
        _ => "",
    }
}

fn run(Cli { common, verb }: &Cli) -> anyhow::Result<()> {
    let session = Session::open(common)?;
    match verb {
        Verb::Generate(args) => generate::run(args, &session),
        Verb::Train(args) => train::run(args, &session),
        Verb::Evaluate(args) => evaluate::run(args, &session),
        Verb::Compare(args) => compare::run(args, &session),
        Verb::Predict(args) => predict::run(args, &session),
        Verb::Embed(args) => embed::run(args, &session),
        Verb::Serve(args) => serve::run(args, &session),
        Verb::Models(args) => models::run(args, &session),
        Verb::Info(args) => info::run(args, &session),
        Verb::Bench(args) => bench::run(args, &session),
    }
}
