//! `synthfm evaluate`: models on real data sets, with simulated prompts.

mod args;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use serde::Serialize;
use serde_json::{Value, json};
use synthfm_eval::SamSegmenter;
use synthfm_eval::baseline::{Disc, FloodFill, RandomWalker};
use synthfm_eval::dataset::{CaseNote, Dataset, Layout};
use synthfm_eval::evaluate::{
    CopiedMask, Evaluation, Options, Replay, RunOptions, Segmenter, TrueBoxes, evaluate,
};
use synthfm_eval::report::{Report, ReportComparison};
use synthfm_sam::{CacheOptions, EmbeddingCache, MaskOutput, PrecisionChoice, Predictor};
use synthfm_serve::ModelRecord;

use crate::interrupt;
use crate::model::Model;
use crate::output::{Session, VERSION, shown, usage};
use crate::paths::{Paths, is_ours, read_record};
use crate::progress::Counter;
use synthfm_image::create_folder;

pub(crate) use args::EvaluateArgs;
use args::ProtocolName;

/// More cases at the same time need more memory than they save time.
const MAX_JOBS: usize = 8;

/// How the upper bound is named: before a model's name.
const TRUE_BOXES: &str = "true-boxes:";

/// The part of `summary.json` that describes the run.
#[derive(Serialize)]
struct RunRecord<'a> {
    synthfm: &'static str,
    data: Vec<String>,
    layouts: Vec<Layout>,
    /// The models as they were named, floors included.
    asked: &'a [String],
    models: Vec<ModelRecord>,
    floors: Vec<String>,
    device: String,
    precision: PrecisionChoice,
    views: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    carry: Option<String>,
    seconds: f64,
    rows_from_earlier_run: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    replayed: Option<String>,
}

/// Evaluates, writes the report and prints the tables; or compares two reports.
pub(crate) fn run(args: &EvaluateArgs, session: &Session) -> Result<()> {
    if let Some(files) = &args.compare {
        return compare(args, files, session);
    }
    execute(args, session, None, |value, report| {
        session.print(value, || report.text())
    })
}

/// Evaluates and writes the report, which is handed to `print` as `--json` shows it. `stop` ends the work, by default
/// Ctrl-C.
pub(crate) fn execute(
    args: &EvaluateArgs,
    session: &Session,
    stop: Option<&AtomicBool>,
    print: impl FnOnce(&Value, &Report) -> Result<()>,
) -> Result<()> {
    let out = args
        .out
        .as_ref()
        .context("--out is missing: name the folder of the report")?;
    let options = args.options();
    options.validate()?;
    if args.study == Some(args::StudyName::Ablation) && args.model.len() < 2 {
        return Err(usage(
            "--study ablation compares models: name at least two with --model",
        ));
    }
    check_protocol(args)?;
    check_paths(args, out)?;
    let datasets = open(args)?;
    let replay = args.replay.as_deref().map(Replay::read).transpose()?;
    create_folder(out)?;
    let started = Instant::now();
    let mut record = RunRecord {
        synthfm: VERSION,
        data: args.data.iter().map(|path| shown(path)).collect(),
        layouts: datasets.iter().map(|dataset| dataset.layout).collect(),
        asked: &args.model,
        models: Vec::new(),
        floors: Vec::new(),
        device: session.device()?.description,
        precision: args.precision,
        views: args.views.to_string(),
        carry: (args.protocol == ProtocolName::Volume).then(|| args.carry.to_string()),
        seconds: 0.0,
        rows_from_earlier_run: 0,
        replayed: args.replay.as_deref().map(shown),
    };
    let segmenters = segmenters(args, &mut record, session)?;
    let run = RunOptions {
        jobs: args.jobs.map_or_else(default_jobs, usize::from),
        folder: Some(out),
        save_masks: args.save_masks,
        replay: replay.as_ref(),
    };
    let found = evaluated(&datasets, &segmenters, &options, &run, session, stop)?;
    record.rows_from_earlier_run = found.rows_kept;
    record.seconds = started.elapsed().as_secs_f64();
    let report = Report::new(&found, &options).with_study(args.study.map(Into::into));
    report.write(out, &datasets, &record)?;
    let value = json!({
        "run": record,
        "lines": report.lines(),
        "comparisons": report.comparisons(),
    });
    print(&value, &report)?;
    session.note(&format!(
        "{}: report.html, results.csv, summary.json",
        out.display()
    ));
    tell(&found.notes, session);
    if found.rows.is_empty() {
        let why = match found.failed.first() {
            Some(note) => format!("{} could not be read: {}", note.case, note.text),
            None => "no case has a structure that is large enough".to_owned(),
        };
        bail!("nothing was evaluated: {why}");
    }
    Ok(())
}

/// Refuses what does not go with the protocol.
fn check_protocol(args: &EvaluateArgs) -> Result<()> {
    if args.protocol == ProtocolName::Volume {
        if args.replay.is_some() {
            return Err(usage(
                "--replay gives prompts for single slices, not with --protocol volume",
            ));
        }
        let alone = args.model.iter().map(|name| (name, floor(name)));
        for (name, floor) in alone {
            if let Some(mut floor) = floor?
                && floor.volume().is_none()
            {
                return Err(usage(format!(
                    "--model {name} answers single slices alone, not with --protocol volume"
                )));
            }
        }
        return Ok(());
    }
    let of_volumes = |name: &&String| *name == "copied-mask" || name.starts_with(TRUE_BOXES);
    if let Some(name) = args.model.iter().find(of_volumes) {
        return Err(usage(format!(
            "--model {name} answers volumes alone: give --protocol volume"
        )));
    }
    Ok(())
}

/// Whether a folder is one of a report, finished or not, or of a comparison of two.
fn is_report(folder: &Path) -> bool {
    let begins = |name: &str, start: &str| {
        let mut text = vec![0; start.len()];
        let file = std::fs::File::open(folder.join(name));
        file.and_then(|mut file| file.read_exact(&mut text)).is_ok() && text == start.as_bytes()
    };
    is_ours(&folder.join("summary.json"))
        || begins("rows.jsonl", "{\"absent\":")
        || begins("rows.jsonl", "{\"failed\":")
        || begins(
            "comparison.html",
            "<!doctype html>\n<html lang=\"en\"><head>",
        )
}

/// Refuses to replace a finished report that says something else: one with other options, or with data or models that
/// are not evaluated this time.
fn check_report(args: &EvaluateArgs, out: &Path) -> Result<()> {
    let Some(summary) = read_record(&out.join("summary.json")) else {
        return Ok(());
    };
    let texts = |value: &Value| -> Vec<String> {
        let all = value.as_array().into_iter().flatten();
        all.filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let run = &summary["run"];
    let data: Vec<String> = args
        .data
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    // As they are written: fractions of single precision have fewer digits there.
    let options = serde_json::to_string(&args.options()).ok();
    let options: Option<Value> = options.and_then(|text| serde_json::from_str(&text).ok());
    let lacks = |key: &str, given: &[String]| {
        let earlier = texts(&run[key]);
        earlier.iter().any(|name| !given.contains(name))
    };
    let differs = if Some(&summary["options"]) != options.as_ref() {
        "options"
    } else if lacks("data", &data) {
        "data"
    } else if lacks("asked", &args.model) {
        "models"
    } else {
        return Ok(());
    };
    Err(usage(format!(
        "--out {} holds a report with other {differs}, which would be lost: choose another folder",
        out.display()
    )))
}

/// Compares what is read and written.
fn check_paths(args: &EvaluateArgs, out: &Path) -> Result<()> {
    let mut paths = Paths::default();
    for path in &args.data {
        paths.read("--data", path);
    }
    for name in &args.model {
        let name = name.strip_prefix(TRUE_BOXES).unwrap_or(name);
        if let Some(path) = Model::path(Some(name)) {
            paths.read("--model", &path);
        }
    }
    if let Some(path) = &args.replay {
        paths.read("--replay", path);
    }
    for path in args.compare.iter().flatten() {
        paths.read("--compare", path);
    }
    paths.fill("--out", out, is_report)?;
    if args.compare.is_none() {
        check_report(args, out)?;
    }
    let written: &[&str] = if args.compare.is_some() {
        &["comparison.json", "comparison.html"]
    } else {
        &["results.csv", "summary.json", "report.html"]
    };
    written
        .iter()
        .try_for_each(|name| paths.write("a file of --out", &out.join(name)))
}

/// Remarks on files that are told in the terminal; the report has all.
const MOST_REMARKS: usize = 20;

/// Tells each remark once, with the first case that it is about.
fn tell(notes: &[CaseNote], session: &Session) {
    let mut by_text: BTreeMap<(&str, &str), (&str, usize)> = BTreeMap::new();
    for note in notes {
        let first = by_text
            .entry((&note.dataset, &note.text))
            .or_insert((&note.case, 0));
        first.1 += 1;
    }
    for ((dataset, text), (case, count)) in by_text.iter().take(MOST_REMARKS) {
        let others = match count - 1 {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        session.note(&format!("note: {dataset} {case}{others}: {text}"));
    }
    let more = by_text.len().saturating_sub(MOST_REMARKS);
    if more > 0 {
        session.note(&format!(
            "note: {more} more remarks on files are in report.html"
        ));
    }
}

/// The data sets, each with a name of its own.
fn open(args: &EvaluateArgs) -> Result<Vec<Dataset>> {
    let mut datasets = Vec::new();
    let mut taken = BTreeSet::new();
    for path in &args.data {
        let mut dataset = match args.layout {
            Some(layout) => Dataset::open_as(path, layout)?,
            None => Dataset::open(path)?,
        };
        dataset = dataset.of_channel(args.channel);
        let name = dataset.name.clone();
        let mut number = 1;
        while !taken.insert(dataset.name.clone()) {
            number += 1;
            dataset.name = format!("{name} ({number})");
        }
        datasets.push(dataset);
    }
    Ok(datasets)
}

fn default_jobs() -> usize {
    rayon::current_num_threads().clamp(1, MAX_JOBS)
}

fn evaluated(
    datasets: &[Dataset],
    segmenters: &[Box<dyn Segmenter>],
    options: &Options,
    run: &RunOptions,
    session: &Session,
    stop: Option<&AtomicBool>,
) -> Result<Evaluation> {
    let interrupted = if stop.is_none() {
        interrupt::flag()?
    } else {
        Arc::default()
    };
    let counter = Counter::new(session, "cases");
    let found = evaluate(
        datasets,
        segmenters,
        options,
        run,
        |progress| counter.set(progress.done, progress.total, progress.kept, &progress.last),
        stop.unwrap_or(&interrupted),
    )?;
    drop(counter);
    if found.stopped {
        bail!("stopped; the same command continues, no report was written");
    }
    if found.rows_kept > 0 {
        session.note(&format!(
            "{} rows were kept from an earlier run",
            found.rows_kept
        ));
    }
    Ok(found)
}

/// One segmenter per name, each with a name of its own.
fn segmenters(
    args: &EvaluateArgs,
    record: &mut RunRecord,
    session: &Session,
) -> Result<Vec<Box<dyn Segmenter>>> {
    let mut taken = BTreeSet::new();
    let mut segmenters: Vec<Box<dyn Segmenter>> = Vec::new();
    let mut networks = 0;
    for name in &args.model {
        networks += usize::from(floor(name)?.is_none());
    }
    // The structures of a volume are looked for on the same slices.
    let shares = networks > 1 || args.protocol == ProtocolName::Volume;
    let cache = match args.cache.open(session)? {
        None if shares => Some(EmbeddingCache::open(&CacheOptions::default())?),
        cache => cache,
    };
    let cache = cache.map(Arc::new);
    for name in &args.model {
        if !taken.insert(name.clone()) {
            bail!("--model {name} was given twice");
        }
        if let Some(floor) = floor(name)? {
            record.floors.push(floor.name().to_owned());
            segmenters.push(floor);
            continue;
        }
        let asked = name;
        let name = name.strip_prefix(TRUE_BOXES).unwrap_or(name);
        let mut model = Model::open(Some(name))?;
        if record.models.iter().any(|record| record.name == model.name) {
            name.clone_into(&mut model.name);
        }
        let own = model.record()?;
        let predictor = model.predictor(session, args.precision)?;
        let predictor = predictor.with_views(args.views);
        let predictor = sharing(predictor, cache.as_ref());
        let segmenter = SamSegmenter::new(model.name, &own.sha256, predictor, MaskOutput::Single);
        if asked.starts_with(TRUE_BOXES) {
            segmenters.push(Box::new(TrueBoxes::new(Box::new(segmenter))));
        } else if args.protocol == ProtocolName::Volume {
            segmenters.push(Box::new(segmenter.with_carry(args.carry)));
        } else {
            segmenters.push(Box::new(segmenter));
        }
        record.models.push(own);
    }
    Ok(segmenters)
}

/// A method that needs no weights; `None` for other names.
fn floor(name: &str) -> Result<Option<Box<dyn Segmenter>>> {
    let tolerance = name.strip_prefix("flood-fill:");
    if let Some(tolerance) = tolerance {
        let tolerance: f32 = tolerance.parse().map_err(|_| {
            usage(format!(
                "--model {name}: flood-fill:T with T from 0 to 1 expected"
            ))
        })?;
        return Ok(Some(Box::new(FloodFill::new(tolerance)?)));
    }
    Ok(match name {
        "copied-mask" => Some(Box::new(CopiedMask)),
        "disc" => Some(Box::new(Disc::default())),
        "flood-fill" => Some(Box::new(FloodFill::default())),
        "random-walker" => Some(Box::new(RandomWalker::default())),
        _ => None,
    })
}

/// The predictor with the cache of the command line; models beside it that have the same encoder share embeddings, so
/// that an image is encoded once for them.
fn sharing(predictor: Predictor, cache: Option<&Arc<EmbeddingCache>>) -> Predictor {
    match cache {
        Some(cache) => predictor.with_cache(Arc::clone(cache)),
        None => predictor,
    }
}

/// `synthfm evaluate --compare A.csv B.csv`.
fn compare(args: &EvaluateArgs, files: &[PathBuf], session: &Session) -> Result<()> {
    let [first, second] = files else {
        return Err(usage("--compare takes two files"));
    };
    if let Some(folder) = &args.out {
        check_paths(args, folder)?;
    }
    let comparison = ReportComparison::read(first, second, args.seed)?;
    if let Some(folder) = &args.out {
        comparison.write(folder)?;
        session.note(&format!(
            "{}: comparison.html, comparison.json",
            folder.display()
        ));
    }
    session.print(&comparison, || comparison.text())
}
