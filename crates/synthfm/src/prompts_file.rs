//! `synthfm predict --prompts FILE.json`: many prompts on many images, each image encoded once.
//!
//! An entry that cannot be answered is reported and the others still come. Masks are `OUT/<stem>__<id>.png` (for
//! volumes `.nii.gz`), and `OUT/predictions.json` lists every entry in the order of the file.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use synthfm_image::{BoxXyxy, Mask, MaskFormat, Point2};
use synthfm_sam::{Predictor, Prompts};

use crate::cache::CacheArgs;
use crate::cli::PredictArgs;
use crate::input::{self, Input, View};
use crate::interrupt;
use crate::model::Model;
use crate::output::{Session, VERSION, usage};
use crate::overrides::read_text;
use crate::paths::Paths;
use crate::predict::{check_output, output_of, since_ms};
use crate::progress::Steps;
use synthfm_image::{create_folder, one_line, write_json};

/// More than any prompts file needs.
const MAX_PROMPTS_BYTES: u64 = 256 << 20;
/// Entries of an image whose rough masks are held at once.
const TASKS_AT_ONCE: usize = 256;
/// Longest `id`.
const MAX_ID_CHARS: usize = 128;
/// Entries of a list.
const MAX_ENTRIES: usize = 100_000;
/// Points of an entry; each costs the decoder a token.
const MAX_POINTS: usize = 1000;
/// Failures that are told on the terminal; the list has all.
const MAX_TOLD: usize = 100;
/// The list of results in the folder.
const PREDICTIONS: &str = "predictions.json";

/// One entry of a prompts file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    image: PathBuf,
    #[serde(deserialize_with = "text_or_number")]
    id: String,
    #[serde(default)]
    points: Vec<[f64; 2]>,
    /// 1 on the structure, 0 beside it; all 1 if absent.
    point_labels: Option<Vec<u8>>,
    #[serde(rename = "box")]
    box_: Option<[f64; 4]>,
    /// Slice of a volume; `--slice` if absent.
    slice: Option<usize>,
    /// A rough mask to improve, on the grid of the image; its path is taken as the image's is.
    mask: Option<PathBuf>,
}

fn text_or_number<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::String(text) => Ok(text),
        Value::Number(number) => Ok(number.to_string()),
        other => Err(serde::de::Error::custom(format!(
            "id: text or a number expected, got {other}"
        ))),
    }
}

/// One line of `predictions.json`.
#[derive(Debug, Serialize)]
struct Line {
    /// Position in the prompts file, from 0.
    entry: usize,
    image: Value,
    id: Value,
    #[serde(flatten)]
    outcome: Outcome,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Outcome {
    Done {
        mask: String,
        iou: f32,
        area_px: usize,
        encode_ms: f64,
        /// Mean over entries that were answered together.
        predict_ms: f64,
    },
    Failed {
        error: String,
    },
}

/// An entry that can be tried.
struct Task {
    entry: usize,
    /// Without the mask, which is read with its image.
    prompts: Prompts,
    mask: Option<PathBuf>,
    /// Without its ending.
    output: String,
    /// Name of the structure.
    id: String,
}

/// Tasks by image file and slice.
type Groups = BTreeMap<(PathBuf, Option<usize>), Vec<Task>>;

/// Answers every entry; fails at the end if any could not be answered.
pub(crate) fn run(file: &Path, args: &PredictArgs, session: &Session) -> Result<()> {
    let entries = read(file)?;
    let mut outcomes: BTreeMap<usize, Outcome> = BTreeMap::new();
    let groups = plan(&entries, args, &mut outcomes);
    check_paths(file, &groups, args)?;
    let model = Model::open(args.model.as_deref())?;
    check_output(args, model.file.config())?;
    create_folder(&args.out)?;
    let predictor = model.predictor(session, args.precision)?;
    let mut predictor = args.cache.attach(predictor, session)?;
    let run = Run {
        args,
        steps: Steps::new(session, entries.len() as u64, "masks"),
        stop: interrupt::flag()?,
    };
    for _ in 0..outcomes.len() {
        run.steps.inc();
    }
    for ((image, slice), tasks) in &groups {
        let place = (image.as_path(), *slice);
        answer_image(place, tasks, &run, &mut predictor, &mut outcomes);
        if run.stop.load(Relaxed) && outcomes.len() < entries.len() {
            bail!(
                "stopped after {} of {} entries; predictions.json was not written",
                outcomes.len(),
                entries.len()
            );
        }
    }
    drop(run);
    let about = json!({
        "synthfm": VERSION,
        "model": model.record()?,
        "precision": predictor.arithmetic().to_string(),
        "cache": CacheArgs::stats(&predictor),
        "prompts": file,
        "input": args.input,
        "multimask": args.multimask,
    });
    report(about, &entries, outcomes, args, session)
}

fn read(file: &Path) -> Result<Vec<Value>> {
    let text = read_text(file, MAX_PROMPTS_BYTES)?;
    let entries: Vec<Value> = serde_json::from_str(&text).with_context(|| {
        let file = file.display();
        format!("{file}: a JSON list of {{\"image\", \"id\", \"points\", \"point_labels\", \"box\", \"mask\"}} expected")
    })?;
    if entries.is_empty() {
        bail!("{}: the list is empty", file.display());
    }
    if entries.len() > MAX_ENTRIES {
        bail!(
            "{}: {} entries, more than {MAX_ENTRIES}: divide the list",
            file.display(),
            entries.len()
        );
    }
    Ok(entries)
}

/// Sorts the entries by image; those that make no sense get their outcome at once.
fn plan(entries: &[Value], args: &PredictArgs, outcomes: &mut BTreeMap<usize, Outcome>) -> Groups {
    let mut groups = Groups::new();
    let mut taken = BTreeSet::new();
    for (index, value) in entries.iter().enumerate() {
        match task(index, value, &mut taken) {
            Ok((entry, task)) => {
                let key = (args.input.join(&entry.image), entry.slice);
                groups.entry(key).or_default().push(task);
            }
            Err(error) => {
                outcomes.insert(index, failed(&error));
            }
        }
    }
    groups
}

/// Compares what is read and written.
fn check_paths(file: &Path, groups: &Groups, args: &PredictArgs) -> Result<()> {
    let mut paths = Paths::default();
    paths.read("--prompts", file);
    paths.read("the folder of the images", &args.input);
    if let Some(path) = Model::path(args.model.as_deref()) {
        paths.read("--model", &path);
    }
    for ((image, _), tasks) in groups {
        paths.read("an image", image);
        for mask in tasks.iter().filter_map(|task| task.mask.as_ref()) {
            paths.read("the mask of an entry", &args.input.join(mask));
        }
    }
    if args.out.exists() && !args.out.is_dir() {
        return Err(usage(format!(
            "-o {} is a file: with --prompts name a folder",
            args.out.display()
        )));
    }
    paths.fixed("the list of results", &args.out.join(PREDICTIONS))?;
    let endings: &[&str] = match args.format {
        Some(format) => &[format.ending()],
        None => &[MaskFormat::Png.ending(), MaskFormat::Nifti.ending()],
    };
    for task in groups.values().flatten() {
        for ending in endings {
            let name = format!("{}{ending}", task.output);
            paths.write("the mask of an entry", &args.out.join(name))?;
        }
    }
    Ok(())
}

fn failed(error: &anyhow::Error) -> Outcome {
    Outcome::Failed {
        error: one_line(error.as_ref()),
    }
}

fn task(index: usize, value: &Value, taken: &mut BTreeSet<String>) -> Result<(Entry, Task)> {
    let entry = Entry::deserialize(value)?;
    let prompts = prompts(&entry)?;
    let output = output_name(&entry)?;
    if !taken.insert(output.clone()) {
        bail!("another entry is written to {output} already: choose another id");
    }
    let task = Task {
        entry: index,
        prompts,
        mask: entry.mask.clone(),
        output,
        id: entry.id.clone(),
    };
    Ok((entry, task))
}

fn prompts(entry: &Entry) -> Result<Prompts> {
    if entry.points.len() > MAX_POINTS {
        bail!(
            "{} points, more than {MAX_POINTS}: give fewer, or a mask",
            entry.points.len()
        );
    }
    let labels = entry
        .point_labels
        .clone()
        .unwrap_or_else(|| vec![1; entry.points.len()]);
    if labels.len() != entry.points.len() {
        bail!(
            "{} points but {} point_labels",
            entry.points.len(),
            labels.len()
        );
    }
    if let Some(other) = labels.iter().find(|&&label| label > 1) {
        bail!("point_labels: 1 (on the structure) or 0 (beside it) expected, got {other}");
    }
    let points = entry.points.iter().zip(labels);
    Ok(Prompts {
        points: points
            .map(|(&[x, y], label)| (Point2::new(x, y), label == 1))
            .collect(),
        box_: entry.box_.map(|[x0, y0, x1, y1]| BoxXyxy {
            min: Point2::new(x0, y0),
            max: Point2::new(x1, y1),
        }),
        ..Prompts::default()
    })
}

/// `<image stem>__<id>`; an id is part of a file's name and must not lead elsewhere.
fn output_name(entry: &Entry) -> Result<String> {
    let id = &entry.id;
    let bad = |c: char| {
        c.is_control() || matches!(c, '/' | '\\' | ':' | '*' | '?' | '"' | '<' | '>' | '|')
    };
    if id.is_empty() || id.chars().count() > MAX_ID_CHARS || id.contains(bad) {
        bail!("id {id:?}: 1 to {MAX_ID_CHARS} characters that a file's name may hold expected");
    }
    let Some(name) = entry.image.file_name() else {
        bail!("image {}: not the name of a file", entry.image.display());
    };
    let name = name.to_string_lossy();
    let endings = [
        ".nii.gz",
        ".nii",
        ".seg.nrrd",
        ".nrrd",
        ".nhdr",
        ".mha",
        ".mhd",
        ".png",
        ".jpg",
        ".jpeg",
        ".bmp",
        ".tif",
        ".tiff",
        ".npy",
        ".npz",
        ".dcm",
    ];
    let stem = endings
        .iter()
        .find_map(|ending| name.strip_suffix(ending))
        .unwrap_or(&name);
    Ok(format!("{stem}__{id}"))
}

/// What all entries share.
struct Run<'a> {
    args: &'a PredictArgs,
    steps: Steps,
    stop: Arc<AtomicBool>,
}

/// Encodes an image and answers its entries; returns early where the run is stopped.
fn answer_image(
    (image, slice): (&Path, Option<usize>),
    tasks: &[Task],
    run: &Run<'_>,
    predictor: &mut Predictor,
    outcomes: &mut BTreeMap<usize, Outcome>,
) {
    let view = View {
        slice: slice.or(run.args.view.slice),
        ..View::from(&run.args.view)
    };
    let started = Instant::now();
    let encoded = input::read(image, &view).and_then(|input| {
        predictor.set_image(&input.rgb)?;
        Ok(input)
    });
    let encode_ms = since_ms(started);
    for tasks in tasks.chunks(TASKS_AT_ONCE) {
        if run.stop.load(Relaxed) {
            return;
        }
        let answered = match &encoded {
            Ok(input) => answer_tasks(tasks, input, encode_ms, run, predictor),
            Err(error) => {
                let outcome = |task: &Task| {
                    run.steps.inc();
                    (task.entry, failed(error))
                };
                tasks.iter().map(outcome).collect()
            }
        };
        outcomes.extend(answered);
    }
}

/// Answers entries of one image, several in a decoder call.
fn answer_tasks(
    tasks: &[Task],
    input: &Input,
    encode_ms: f64,
    run: &Run<'_>,
    predictor: &Predictor,
) -> BTreeMap<usize, Outcome> {
    let mut outcomes = BTreeMap::new();
    let (mut ready, mut prompts) = (Vec::new(), Vec::new());
    for task in tasks {
        match with_mask(task, input, run.args) {
            Ok(complete) => {
                ready.push(task);
                prompts.push(complete);
            }
            Err(error) => {
                outcomes.insert(task.entry, failed(&error));
                run.steps.inc();
            }
        }
    }
    // Objects share decoder calls, so that each is given the mean time.
    let mut predict_ms = 0.0;
    let mut started = Instant::now();
    let mut done = Vec::new();
    let answered = predictor.answer_each(&prompts, output_of(run.args), |i, answer| {
        predict_ms += since_ms(started);
        let written = answer.map_err(anyhow::Error::from).and_then(|answer| {
            let name = write(ready[i], &answer.mask, input, run.args)?;
            Ok(Written {
                mask: name,
                iou: answer.iou,
                area_px: answer.mask.area(),
            })
        });
        done.push((ready[i].entry, written));
        run.steps.inc();
        started = Instant::now();
        if run.stop.load(Relaxed) {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    });
    let predict_ms = predict_ms / done.len().max(1) as f64;
    outcomes.extend(done.into_iter().map(|(entry, written)| {
        let outcome = written.map(|Written { mask, iou, area_px }| Outcome::Done {
            mask,
            iou,
            area_px,
            encode_ms,
            predict_ms,
        });
        (entry, outcome.unwrap_or_else(|error| failed(&error)))
    }));
    if let Err(error) = answered {
        let error = error.into();
        outcomes.extend(ready.iter().map(|task| (task.entry, failed(&error))));
    }
    outcomes
}

/// The entry's prompts with its rough mask.
fn with_mask(task: &Task, input: &Input, args: &PredictArgs) -> Result<Prompts> {
    let mask = task.mask.as_ref().map(|mask| args.input.join(mask));
    let read = |path: PathBuf| input.place.read_mask(&path, &input.rgb);
    Ok(Prompts {
        earlier: mask.map(read).transpose()?,
        ..task.prompts.clone()
    })
}

/// A mask that was written.
struct Written {
    mask: String,
    iou: f32,
    area_px: usize,
}

/// Writes the mask of one entry; returns its file's name.
fn write(task: &Task, mask: &Mask, input: &Input, args: &PredictArgs) -> Result<String> {
    let name = format!("{}{}", task.output, input.ending(args.format));
    input.write_mask(&args.out.join(&name), mask, &task.id, args.format)?;
    Ok(name)
}

fn report(
    mut result: Value,
    entries: &[Value],
    outcomes: BTreeMap<usize, Outcome>,
    args: &PredictArgs,
    session: &Session,
) -> Result<()> {
    let field = |value: &Value, key: &str| value.get(key).cloned().unwrap_or(Value::Null);
    let lines: Vec<Line> = outcomes
        .into_iter()
        .map(|(entry, outcome)| Line {
            entry,
            image: field(&entries[entry], "image"),
            id: field(&entries[entry], "id"),
            outcome,
        })
        .collect();
    let mut failures = 0;
    for line in &lines {
        if let Outcome::Failed { error } = &line.outcome {
            failures += 1;
            if failures > MAX_TOLD {
                continue;
            }
            synthfm_image::tell(&format!(
                "entry {} ({} {}): {error}",
                line.entry, line.image, line.id
            ));
        }
    }
    if failures > MAX_TOLD {
        let more = failures - MAX_TOLD;
        session.note(&format!("and {more} more, in {PREDICTIONS}"));
    }
    result["predictions"] = json!(lines);
    let path = args.out.join(PREDICTIONS);
    write_json(&path, &result)?;
    session.print(&result, || {
        format!(
            "{}: {} of {} masks written",
            args.out.display(),
            lines.len() - failures,
            lines.len()
        )
    })?;
    if failures > 0 {
        bail!(
            "{failures} of {} entries failed: see {}",
            lines.len(),
            path.display()
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(value: &Value) -> Result<(Entry, Task)> {
        task(0, value, &mut BTreeSet::new())
    }

    #[test]
    fn entries_are_read_as_the_contract_says() {
        let value = json!({ "image": "d/a.nii.gz", "id": 3, "points": [[1, 2.5], [3, 4]], "point_labels": [1, 0],
                            "box": [0, 1, 2, 3] });
        let (_, task) = parse(&value).unwrap();
        assert_eq!(task.output, "a__3");
        assert_eq!(
            task.prompts.points,
            [
                (Point2::new(1.0, 2.5), true),
                (Point2::new(3.0, 4.0), false)
            ]
        );
        assert_eq!(task.prompts.box_.unwrap().max, Point2::new(2.0, 3.0));
    }

    #[test]
    fn entries_that_make_no_sense_are_refused() {
        for (value, part) in [
            (json!({ "id": "a" }), "image"),
            (json!({ "image": "a.png", "id": "../../b" }), "id"),
            (json!({ "image": "a.png", "id": "" }), "id"),
            (json!({ "image": "..", "id": "b" }), "image"),
            (
                json!({ "image": "a.png", "id": "b", "points": [[1, 2]], "point_labels": [2] }),
                "got 2",
            ),
            (
                json!({ "image": "a.png", "id": "b", "points": [[1, 2]], "point_labels": [] }),
                "1 points but 0",
            ),
            (
                json!({ "image": "a.png", "id": "b", "pionts": [[1, 2]] }),
                "pionts",
            ),
            (json!([1]), "invalid"),
        ] {
            let error = format!("{:#}", parse(&value).err().unwrap());
            assert!(error.contains(part), "{error} should name {part}");
        }
    }

    #[test]
    fn two_entries_never_share_a_file() {
        let mut taken = BTreeSet::new();
        let value = json!({ "image": "a.png", "id": "b", "points": [[1, 2]] });
        assert!(task(0, &value, &mut taken).is_ok());
        let error = task(1, &value, &mut taken).err().unwrap();
        assert!(error.to_string().contains("another id"));
    }
}
