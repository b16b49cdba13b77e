//! `synthfm train`: the training loop with its configuration, progress and orderly end.

mod summary;

use std::num::NonZero;
use std::path::Path;
use std::thread;

use anyhow::{Context, Result, bail};
use indicatif::ProgressBar;
use serde_json::json;
use synthfm_train::{
    Event, Processes, RunOptions, SettingScore, StepReport, TrainConfig, Validation, train,
};
use toml::Table;

use crate::allocator;
use crate::cli::TrainArgs;
use crate::interrupt;
use crate::output::{Session, shown};
use crate::overrides::{read_toml, resolve};
use crate::paths::Paths;
use crate::progress::bar;
use synthfm_image::create_folder;

/// Trains to the end, or until Ctrl-C.
pub(crate) fn run(args: &TrainArgs, session: &Session) -> Result<()> {
    let config = config(args)?;
    config.validate()?;
    check_paths(args, &config)?;
    create_folder(&args.out)?;
    allocator::keep_freed_memory(allocator::Keep::Always);
    let opened = session.device()?;
    let processes = Processes::of_launcher()?;
    if processes.writes() {
        session.note(&format!(
            "{} steps on {}{}, into {}",
            config.steps(),
            opened.description,
            match processes.size() {
                1 => String::new(),
                size => format!(" in each of {size} processes"),
            },
            args.out.display()
        ));
    }
    let stop = interrupt::flag()?;
    let options = RunOptions {
        out: &args.out,
        device: opened.device,
        resume: args.resume,
        workers: workers(args),
        stop: &stop,
        processes: &processes,
    };
    let bar = bar(session, config.steps(), "steps");
    let outcome = train(&config, &options, &mut |event| match event {
        Event::Started(summary) => bar.suspend(|| session.note(&summary::table(summary))),
        Event::Estimated(estimate) => bar.suspend(|| session.note(&summary::time(estimate))),
        Event::Steps(report) => show(&bar, report, session),
        Event::Validated(validation) => bar.suspend(|| show_validation(validation, session)),
    });
    bar.finish_and_clear();
    if let Err(error) = &outcome
        && processes.size() > 1
    {
        synthfm_image::tell(&format!("process {}: error: {error}", processes.rank()));
        processes.abort_others();
    }
    let outcome = outcome?;
    if !processes.writes() {
        return Ok(());
    }
    if !outcome.finished {
        bail!(
            "stopped at step {} of {}, saved as {}; continue with: synthfm train --out {} --resume",
            outcome.step,
            config.steps(),
            outcome.model.display(),
            args.out.display()
        );
    }
    let result =
        json!({ "out": shown(&args.out), "steps": outcome.step, "model": shown(&outcome.model) });
    session.print(&result, || {
        format!(
            "{}: trained for {} steps",
            outcome.model.display(),
            outcome.step
        )
    })
}

/// Compares what is read and written.
fn check_paths(args: &TrainArgs, config: &TrainConfig) -> Result<()> {
    let mut paths = Paths::default();
    let models = [
        ("the encoder", &config.encoder),
        ("the initial model", &config.init),
        ("the teacher", &config.distillation.teacher),
    ];
    for (what, path) in models {
        if let Some(path) = path {
            paths.read(what, path);
        }
    }
    for path in &config.validation.data {
        paths.read("a data set of the validation", path);
    }
    if let Some(path) = args.config.as_ref().filter(|_| !args.resume) {
        paths.read("--config", path);
    }
    if !args.resume {
        let is_run = |folder: &Path| TrainConfig::load(&folder.join("config.toml")).is_ok();
        paths.fill("--out", &args.out, is_run)?;
    }
    ["config.toml", "model.safetensors", "best.safetensors"]
        .iter()
        .filter(|_| !args.resume)
        .try_for_each(|name| paths.write("a file of --out", &args.out.join(name)))
}

/// File or run folder, then `--set`, then the flags.
fn config(args: &TrainArgs) -> Result<TrainConfig> {
    let stored = args.out.join("config.toml");
    let table = match &args.config {
        Some(path) => read_toml(path)?,
        None if args.resume => read_toml(&stored)
            .context("nothing to resume: the run folder holds no config.toml of an earlier run")?,
        None => Table::new(),
    };
    let mut config: TrainConfig = resolve(table, &args.set)?;
    for (field, flag) in [
        (&mut config.encoder, &args.encoder),
        (&mut config.init, &args.init),
    ] {
        if flag.is_some() {
            field.clone_from(flag);
        }
    }
    let teacher = &config.distillation.teacher;
    for path in [&config.encoder, &config.init, teacher]
        .into_iter()
        .flatten()
    {
        check_exists(path)?;
    }
    Ok(config)
}

fn check_exists(path: &Path) -> Result<()> {
    if path.exists() {
        return Ok(());
    }
    bail!("{}: no such file or folder", path.display())
}

fn workers(args: &TrainArgs) -> usize {
    let cores = || {
        thread::available_parallelism()
            .map_or(1, NonZero::get)
            .min(rayon::current_num_threads())
    };
    args.workers
        .map_or_else(|| (cores() / 2).max(1), usize::from)
}

fn show_validation(validation: &Validation, session: &Session) {
    let Validation {
        step,
        settings,
        real,
        ..
    } = validation;
    let dice = |s: &SettingScore| format!("{} {:.1} %", s.prompts, 100.0 * s.dice);
    let mut dice: Vec<String> = settings.iter().map(dice).collect();
    let real = real
        .iter()
        .map(|s| format!("{} {} {:.1} %", s.data, s.prompts, 100.0 * s.dice));
    dice.extend(real);
    session.note(&format!(
        "step {step}  validation Dice: {}",
        dice.join("  ")
    ));
}

/// On a terminal beside the bar; elsewhere one line per report, for logs.
fn show(bar: &ProgressBar, report: &StepReport, session: &Session) {
    let StepReport {
        step,
        steps,
        loss,
        dice,
        lr,
        seconds_per_step,
        waiting,
        ..
    } = report;
    let text = format!(
        "loss {loss:.4}  Dice {:.1} %  lr {lr:.2e}  {seconds_per_step:.2} s/step  waiting {:.0} %",
        100.0 * dice,
        100.0 * waiting
    );
    if bar.is_hidden() {
        let left = (steps - step) as f64 * seconds_per_step;
        session.note(&format!(
            "step {step}/{steps}  {text}  {:.0} min left",
            left / 60.0
        ));
    } else {
        if bar.position() == 0 {
            // A resumed run starts here: its earlier steps took no time.
            bar.reset_eta();
        }
        bar.set_position(*step);
        bar.set_message(text);
    }
}
