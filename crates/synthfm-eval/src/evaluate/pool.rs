//! The run: cases side by side on several threads, their results in order.
//! Each thread has segmenters of its own that share their weights; what was found of a case goes to the journal as soon
//! as it is whole. Results do not depend on the number of threads.

use std::path::Path;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};

use super::case::{Context, evaluate_case};
use super::journal::{CaseRecord, Journal, case_key};
use super::protocol::PromptPlan;
use super::{Evaluation, Kept, Options, Replay, Segmenter};
use crate::Result;
use crate::dataset::{Case, CaseNote, Dataset};

/// How a run is carried out; nothing of it changes a score.
#[derive(Debug, Clone, Copy)]
pub struct RunOptions<'a> {
    /// Cases at the same time, from 1.
    pub jobs: usize,
    /// The folder of the report, where `rows.jsonl` remembers what was found; `None` remembers nothing.
    pub folder: Option<&'a Path>,
    /// Whether masks are saved in that folder.
    pub save_masks: bool,
    /// Prompts to give instead of simulated ones.
    pub replay: Option<&'a Replay>,
}

impl Default for RunOptions<'_> {
    /// One case at a time, nothing on disk.
    fn default() -> Self {
        Self {
            jobs: 1,
            folder: None,
            save_masks: false,
            replay: None,
        }
    }
}

/// How far a run is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// Cases that are done.
    pub done: usize,
    /// Cases in all.
    pub total: usize,
    /// Cases among those done that an earlier run had finished.
    pub kept: usize,
    /// Data set and case that was finished last.
    pub last: String,
}

/// A case on its way.
struct Task<'a> {
    dataset: &'a Dataset,
    case: &'a Case,
    indices: [usize; 2],
    record: CaseRecord,
    /// Indices of the segmenters whose rows are missing.
    missing: Vec<usize>,
}

/// Evaluates every segmenter on every data set.
///
/// `progress` hears of every case that is done. Once `stop` is set, the cases so far are returned; with a journal the
/// same call continues. Fails if the options make no sense or if the journal or a mask cannot be written: a case or a
/// prompt that fails is part of the result.
pub fn evaluate(
    datasets: &[Dataset],
    segmenters: &[Box<dyn Segmenter>],
    options: &Options,
    run: &RunOptions,
    mut progress: impl FnMut(Progress),
    stop: &AtomicBool,
) -> Result<Evaluation> {
    options.validate()?;
    let plans = options.plans();
    let mut journal = run.folder.map(Journal::open).transpose()?;
    let mut tasks = tasks(datasets, segmenters, options, run, journal.as_mut());
    let total = tasks.len();
    let mut records: Vec<Option<CaseRecord>> = (0..total).map(|_| None).collect();
    let rows_kept = tasks.iter().map(|task| task.record.rows.len()).sum();
    let places: Vec<[usize; 2]> = tasks.iter().map(|task| task.indices).collect();
    let mut todo = Vec::new();
    for (at, task) in tasks.drain(..).enumerate() {
        if task.missing.is_empty() {
            records[at] = Some(task.record);
        } else {
            todo.push((at, task));
        }
    }
    let mut heard = Progress {
        done: total - todo.len(),
        total,
        kept: total - todo.len(),
        last: String::new(),
    };
    progress(heard.clone());
    let context = Context {
        options,
        plans: &plans,
        replay: run.replay,
        masks: run.folder.filter(|_| run.save_masks),
        stop,
    };
    todo.reverse();
    let jobs = run.jobs.clamp(1, todo.len().max(1));
    let todo = Mutex::new(todo);
    let outcome: Result<()> = std::thread::scope(|scope| {
        let (sender, receiver) = channel();
        for _ in 0..jobs {
            let sender = sender.clone();
            let own = segmenters
                .iter()
                .map(|segmenter| segmenter.fork())
                .collect();
            let todo = &todo;
            scope.spawn(move || work(context, todo, own, &sender));
        }
        drop(sender);
        for (at, found) in receiver {
            // After an error the other threads end on their own: nobody takes what they send.
            let Some(record) = found? else { continue };
            if let Some(journal) = journal.as_mut().filter(|_| record.failed.is_none()) {
                journal.append(&record)?;
            }
            heard.done += 1;
            let [dataset, case] = places[at];
            let dataset = &datasets[dataset];
            heard.last = format!("{} {}", dataset.name, dataset.cases[case].name);
            records[at] = Some(record);
            progress(heard.clone());
        }
        Ok(())
    });
    outcome?;
    let stopped = records.iter().any(Option::is_none);
    let found: Vec<([usize; 2], CaseRecord)> = places
        .into_iter()
        .zip(records)
        .filter_map(|(place, record)| Some((place, record?)))
        .collect();
    if let Some(journal) = journal.filter(|_| !stopped) {
        let records: Vec<CaseRecord> = found.iter().map(|(_, record)| record.clone()).collect();
        journal.finish(&records)?;
    }
    let mut evaluation = assembled(datasets, segmenters, found);
    evaluation.rows_kept = rows_kept;
    evaluation.stopped = stopped;
    evaluation.replayed = run.replay.is_some();
    evaluation.unasked = unasked(segmenters, &plans);
    Ok(evaluation)
}

/// Every case, with what the journal knows of it.
fn tasks<'a>(
    datasets: &'a [Dataset],
    segmenters: &[Box<dyn Segmenter>],
    options: &Options,
    run: &RunOptions,
    mut journal: Option<&mut Journal>,
) -> Vec<Task<'a>> {
    let identities: Vec<(String, String)> = segmenters
        .iter()
        .map(|segmenter| (segmenter.name().to_owned(), segmenter.identity()))
        .collect();
    let mut tasks = Vec::new();
    for (d, dataset) in datasets.iter().enumerate() {
        for (c, case) in dataset.cases.iter().enumerate() {
            let key = match journal {
                Some(_) => case_key(dataset, case, options, run.replay, run.save_masks),
                None => String::new(),
            };
            let known = journal.as_mut().and_then(|journal| journal.take(&key));
            let mut record = known.unwrap_or_default();
            record.key = key;
            let same =
                |(name, identity): &(String, String)| record.segmenters.get(name) == Some(identity);
            let (kept, missing): (Vec<usize>, Vec<usize>) =
                (0..identities.len()).partition(|&at| same(&identities[at]) && saved(&record, run));
            let names = || kept.iter().map(|&at| identities[at].0.as_str());
            record
                .rows
                .retain(|found| names().any(|name| name == found.row.model));
            record
                .segmenters
                .retain(|name, _| names().any(|kept| kept == name));
            tasks.push(Task {
                dataset,
                case,
                indices: [d, c],
                record,
                missing,
            });
        }
    }
    tasks
}

/// Whether the files are there that rows say were saved.
fn saved(record: &CaseRecord, run: &RunOptions) -> bool {
    let Some(folder) = run.folder.filter(|_| run.save_masks) else {
        return true;
    };
    let masks = record
        .rows
        .iter()
        .filter_map(|found| found.row.mask.as_ref());
    masks
        .flat_map(|mask| [&mask.prediction, &mask.truth])
        .all(|name| folder.join(name).is_file())
}

type Found = (usize, Result<Option<CaseRecord>>);

/// Takes one case after the other until there is none, or nobody listens.
fn work(
    context: Context,
    todo: &Mutex<Vec<(usize, Task)>>,
    mut segmenters: Vec<Box<dyn Segmenter>>,
    sender: &Sender<Found>,
) {
    while !context.stop.load(Ordering::Relaxed) {
        let next = todo.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let Some((at, task)) = next else { return };
        let order: Vec<String> = segmenters.iter().map(|s| s.name().to_owned()).collect();
        let is_missing = |name: &str| task.missing.iter().any(|&at| order[at] == name);
        let (mut wanted, others): (Vec<_>, Vec<_>) = std::mem::take(&mut segmenters)
            .into_iter()
            .partition(|segmenter| is_missing(segmenter.name()));
        let found = evaluate_case(context, task.dataset, task.case, &mut wanted, task.record);
        segmenters.extend(wanted);
        segmenters.extend(others);
        let place = |name: &str| order.iter().position(|other| other == name);
        segmenters.sort_by_key(|segmenter| place(segmenter.name()));
        let sorted = found.map(|record| {
            record.map(|mut record| {
                record
                    .rows
                    .sort_by_key(|found| (found.view, place(&found.row.model)));
                record
            })
        });
        if sender.send((at, sorted)).is_err() {
            return;
        }
    }
}

fn assembled(
    datasets: &[Dataset],
    segmenters: &[Box<dyn Segmenter>],
    found: Vec<([usize; 2], CaseRecord)>,
) -> Evaluation {
    let mut evaluation = Evaluation::default();
    for dataset in datasets {
        evaluation.skipped.extend(dataset.skipped.iter().cloned());
    }
    let place = |name: &str| segmenters.iter().position(|s| s.name() == name);
    for ([d, c], mut record) in found {
        let note = |text: String| CaseNote {
            dataset: datasets[d].name.clone(),
            case: datasets[d].cases[c].name.clone(),
            text,
        };
        evaluation.failed.extend(record.failed.map(note));
        evaluation.notes.extend(record.notes.into_iter().map(note));
        evaluation.too_small += record.too_small;
        evaluation.absent += record.absent;
        // Rows of an earlier run may have been in the order of other segmenters.
        record
            .rows
            .sort_by_key(|found| (found.view, place(&found.row.model)));
        for found in record.rows {
            if let (Some(truth), Some(prediction)) = (found.truth, found.prediction) {
                evaluation.kept.push(Kept {
                    row: evaluation.rows.len(),
                    view: [d, c, found.view],
                    truth,
                    prediction,
                });
            }
            evaluation.rows.push(found.row);
        }
    }
    evaluation
}

/// Settings that a segmenter was not made for.
fn unasked(segmenters: &[Box<dyn Segmenter>], plans: &[PromptPlan]) -> Vec<(String, PromptPlan)> {
    let mut unasked = Vec::new();
    for segmenter in segmenters {
        let name = segmenter.name();
        let others = plans.iter().filter(|plan| !segmenter.answers(plan.setting));
        unasked.extend(others.map(|&plan| (name.to_owned(), plan)));
    }
    unasked
}
