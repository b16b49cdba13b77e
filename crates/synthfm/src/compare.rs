//! `synthfm compare`: what the generator draws against real images.

use std::path::Path;

use anyhow::{Result, bail};
use serde::Serialize;
use serde_json::json;
use synthfm_eval::compare::{Comparison, Options};
use synthfm_eval::dataset::Dataset;
use synthfm_synth::GeneratorConfig;

use crate::cli::CompareArgs;
use crate::generate::named_config;
use crate::interrupt;
use crate::output::{Session, VERSION, create_parent, shown, usage};
use crate::paths::Paths;
use crate::progress::bar;

/// The part of the JSON report that describes the run.
#[derive(Serialize)]
struct RunRecord<'a> {
    synthfm: &'static str,
    real: Vec<String>,
    config: Option<&'a str>,
    generator: &'a GeneratorConfig,
}

fn check_paths(args: &CompareArgs) -> Result<()> {
    let mut paths = Paths::default();
    for path in &args.real {
        paths.read("--real", path);
    }
    if let Some(config) = &args.config {
        paths.read("--config", Path::new(config));
    }
    paths.write("--out", &args.out)?;
    paths.fixed("the numbers of --out", &args.out.with_extension("json"))?;
    paths.remove_leftovers();
    Ok(())
}

/// Measures both sides, writes the report and prints the coverage.
pub(crate) fn run(args: &CompareArgs, session: &Session) -> Result<()> {
    if args
        .out
        .extension()
        .is_none_or(|extension| extension != "html")
    {
        return Err(usage(format!(
            "--out {}: a name that ends in .html expected",
            args.out.display()
        )));
    }
    check_paths(args)?;
    let options = Options {
        side: usize::from(args.side),
        count: args.count,
        seed: args.seed,
        target: args.targets.into(),
        ..Options::default()
    };
    options.validate()?;
    let generator = named_config(args.config.as_deref(), &args.set)?;
    let datasets = args
        .real
        .iter()
        .map(|path| Dataset::open(path))
        .collect::<Result<Vec<_>, _>>()?;
    create_parent(&args.out)?;
    let stop = interrupt::flag()?;
    let bar = bar(session, 0, "");
    let progress = |what: &str, done: u64, total: u64| {
        bar.set_length(total);
        bar.set_position(done);
        bar.set_message(what.to_owned());
    };
    let comparison = Comparison::new(&datasets, &generator, &options, progress, &stop);
    bar.finish_and_clear();
    if stop.load(std::sync::atomic::Ordering::Relaxed) {
        bail!("stopped; no report was written");
    }
    let comparison = comparison?;
    let record = RunRecord {
        synthfm: VERSION,
        real: args.real.iter().map(|path| shown(path)).collect(),
        config: args.config.as_deref(),
        generator: &generator,
    };
    comparison.write(&args.out, &record)?;
    session.print(
        &json!({ "run": record, "options": options, "groups": comparison.groups() }),
        || comparison.text(),
    )?;
    let numbers = args.out.with_extension("json");
    session.note(&format!("{}, {}", args.out.display(), numbers.display()));
    Ok(())
}
