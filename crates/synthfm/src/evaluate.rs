//! `synthfm evaluate`: models on real data sets, with simulated prompts.

use std::collections::BTreeSet;

use anyhow::{Result, bail};
use serde::Serialize;
use serde_json::json;
use synthfm_sam::{MaskOutput, PrecisionChoice};
use synthfm_train::SamSegmenter;
use synthfm_train::baseline::{Disc, RandomWalker};
use synthfm_train::dataset::Dataset;
use synthfm_train::evaluate::{Options, Segmenter, evaluate};
use synthfm_train::report::Report;

use crate::cli::EvaluateArgs;
use crate::interrupt;
use crate::model::{Model, ModelRecord};
use crate::output::{Session, VERSION, create_folder};
use crate::progress::bar;

/// What `summary.json` says about the run.
#[derive(Serialize)]
struct RunRecord<'a> {
    synthfm: &'static str,
    data: &'a [std::path::PathBuf],
    models: Vec<ModelRecord>,
    device: String,
    precision: PrecisionChoice,
}

/// Evaluates, writes the report and prints the table.
pub(crate) fn run(args: &EvaluateArgs, session: &Session) -> Result<()> {
    let options = Options {
        settings: args.prompts.clone(),
        negatives: args.negatives.iter().map(|&name| name.into()).collect(),
        target: args.targets.into(),
        seed: args.seed,
        ..Options::default()
    };
    options.validate()?;
    let datasets = args
        .data
        .iter()
        .map(|path| Dataset::open(path))
        .collect::<Result<Vec<_>, _>>()?;
    create_folder(&args.out)?;
    let mut record = RunRecord {
        synthfm: VERSION,
        data: &args.data,
        models: Vec::new(),
        device: session.device()?.description,
        precision: args.precision,
    };
    let mut segmenters = segmenters(args, &mut record.models, session)?;

    let stop = interrupt::flag()?;
    let bar = bar(session, 0, "cases");
    let progress = |done: usize, total: usize, name: &str| {
        bar.set_length(total as u64);
        bar.set_position(done as u64);
        bar.set_message(name.to_owned());
    };
    let found = evaluate(&datasets, &mut segmenters, &options, progress, &stop);
    bar.finish_and_clear();
    let found = found?;
    if found.stopped {
        bail!("stopped; no report was written");
    }
    let report = Report::new(&found, &options);
    report.write(&args.out, &datasets, &record)?;
    session.print(&json!({ "run": record, "lines": report.lines() }), || {
        report.text()
    })?;
    session.note(&format!(
        "{}: report.html, results.csv, summary.json",
        args.out.display()
    ));
    if found.rows.is_empty() {
        bail!(
            "nothing was evaluated: no case could be read, or none has a structure that is large enough"
        );
    }
    Ok(())
}

/// One segmenter per name, each with a name of its own.
fn segmenters(
    args: &EvaluateArgs,
    records: &mut Vec<ModelRecord>,
    session: &Session,
) -> Result<Vec<Box<dyn Segmenter>>> {
    let mut taken = BTreeSet::new();
    let mut segmenters: Vec<Box<dyn Segmenter>> = Vec::new();
    for name in &args.model {
        if !taken.insert(name.clone()) {
            bail!("--model {name} was given twice");
        }
        segmenters.push(match name.as_str() {
            "disc" => Box::new(Disc::default()),
            "random-walker" => Box::new(RandomWalker::default()),
            _ => {
                let mut model = Model::open(Some(name))?;
                if records.iter().any(|record| record.name == model.name) {
                    model.name.clone_from(name);
                }
                records.push(model.record()?);
                let predictor = model.predictor(session, args.precision)?;
                let predictor = args.cache.attach(predictor, session)?;
                Box::new(SamSegmenter::new(model.name, predictor, MaskOutput::Single))
            }
        });
    }
    Ok(segmenters)
}
