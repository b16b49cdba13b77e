//! `synthfm predict --prompts FILE.json`: many prompts on many images, each image opened once and each slice encoded
//! once.
//!
//! An entry that cannot be answered is reported and the others still come. Masks are `OUT/<stem>__<id>.png` (for
//! volumes `.nii.gz`; with `--volume` whole structures), and `OUT/predictions.json` lists every entry in the order of the file.

mod bounded;
mod entry;
mod labels;
mod volumes;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Instant;

use anyhow::{Result, bail};
use serde::Serialize;
use serde_json::{Value, json};
use synthfm_image::{
    Mask, MaskFormat, Scan, create_folder, one_line, open_scan, write_json, write_rgb_png,
};
use synthfm_sam::{Predictor, Prompts};

use self::entry::{Groups, OVERLAY, Task, labels_name, plan, read};
use self::labels::Labels;
use self::volumes::Whole;
use crate::cache::CacheArgs;
use crate::cli::PredictArgs;
use crate::frame::{Frame, Position, slice_of};
use crate::input::{self, Input, View};
use crate::interrupt;
use crate::model::Model;
use crate::output::{Session, VERSION, shown, usage};
use crate::paths::Paths;
use crate::predict::{
    Marks, check_output, doubts, output_of, place_prompts, prompts_picture, since_ms,
};
use crate::predict_volume::{BYTES_PER_CARRIED_VOXEL, BYTES_PER_VOXEL, check_memory};
use crate::progress::Steps;

/// Entries of a slice whose rough masks are held at once.
const TASKS_AT_ONCE: usize = 256;
/// Failures that are told on the terminal; the list has all.
const MAX_TOLD: usize = 100;
/// The list of results in the folder.
const PREDICTIONS: &str = "predictions.json";

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
    Done(Box<Done>),
    Failed { error: String },
}

impl Outcome {
    fn failed(error: &anyhow::Error) -> Self {
        Self::Failed {
            error: one_line(error.as_ref()),
        }
    }
}

/// An answer that was written.
#[derive(Debug, Serialize)]
struct Done {
    mask: String,
    /// The model's own estimate; of a whole structure the mean over its slices.
    iou: f32,
    /// Pixels of the structure on a slice or picture.
    #[serde(skip_serializing_if = "Option::is_none")]
    area_px: Option<usize>,
    /// A whole structure of a volume.
    #[serde(flatten)]
    whole: Option<Whole>,
    slice: Option<usize>,
    axis: Option<String>,
    /// Frame of the coordinates in which the prompts were given.
    frame: Frame,
    points: Vec<Position>,
    point_labels: Vec<u8>,
    #[serde(rename = "box")]
    box_: Option<Vec<f64>>,
    /// Clicks and corners of the box in every frame that the image has.
    positions: Marks,
    window: Option<[f32; 2]>,
    window_source: Option<String>,
    /// Warnings about the image and about the answer.
    warnings: Vec<String>,
    /// The value in the image's map of labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<u16>,
    encode_ms: f64,
    /// Mean over entries that were answered together.
    predict_ms: f64,
}

impl Done {
    /// What was asked, without an answer.
    fn asked(task: &Task, positions: Marks) -> Self {
        Self {
            mask: String::new(),
            iou: 0.0,
            area_px: None,
            whole: None,
            slice: None,
            axis: None,
            frame: task.frame,
            points: task.points.iter().map(|&(position, _)| position).collect(),
            point_labels: task.points.iter().map(|&(_, on)| u8::from(on)).collect(),
            box_: task.corners.map(|corners| corners.numbers()),
            positions,
            window: None,
            window_source: None,
            warnings: Vec::new(),
            label: None,
            encode_ms: 0.0,
            predict_ms: 0.0,
        }
    }
}

/// Answers every entry; fails at the end if any could not be answered.
pub(crate) fn run(file: &Path, args: &PredictArgs, session: &Session) -> Result<()> {
    if args.volume {
        volumes::format(args.format)?;
    }
    let entries = read(file, args.view.open.max_memory)?;
    let mut outcomes: BTreeMap<usize, Outcome> = BTreeMap::new();
    let groups = plan(&entries, args, &mut outcomes);
    check_paths(file, &groups, args)?;
    let model = Model::open(args.model.as_deref())?;
    check_output(args, model.file.config())?;
    create_folder(&args.out)?;
    if let Some(folder) = &args.overlay_dir {
        create_folder(folder)?;
    }
    let predictor = model
        .predictor(session, args.precision)?
        .with_max_memory(args.view.open.max_memory);
    let mut predictor = args.cache.attach(predictor, session)?;
    let run = Run {
        args,
        session,
        steps: Steps::new(session, entries.len() as u64, "masks"),
        stop: interrupt::flag()?,
    };
    for _ in 0..outcomes.len() {
        run.steps.inc();
    }
    let mut maps = Vec::new();
    for (image, tasks) in &groups {
        maps.extend(run.image(image, tasks, &mut predictor, &mut outcomes));
        if run.stop.load(Relaxed) && outcomes.len() < entries.len() {
            bail!(
                "stopped after {} of {} entries; predictions.json was not written",
                outcomes.len(),
                entries.len()
            );
        }
    }
    drop(run);
    let mut about = json!({
        "synthfm": VERSION,
        "model": model.record()?,
        "precision": predictor.arithmetic().to_string(),
        "cache": CacheArgs::stats(&predictor),
        "prompts": shown(file),
        "input": shown(&args.input),
        "multimask": args.multimask,
    });
    if args.labels {
        about["labels"] = json!(maps);
    }
    report(about, &entries, outcomes, args, session)
}

/// Compares what is read and written.
fn check_paths(file: &Path, groups: &Groups, args: &PredictArgs) -> Result<()> {
    let mut paths = Paths::default();
    paths.read("--prompts", file);
    paths.read("the folder of the images", &args.input);
    if let Some(path) = Model::path(args.model.as_deref()) {
        paths.read("--model", &path);
    }
    for (image, tasks) in groups {
        paths.read("an image", image);
        for mask in tasks.iter().filter_map(|task| task.mask.as_ref()) {
            paths.read("the mask of an entry", &args.input.join(mask));
        }
    }
    for (flag, folder) in [
        ("-o", Some(&args.out)),
        ("--overlay-dir", args.overlay_dir.as_ref()),
    ] {
        if let Some(folder) = folder.filter(|folder| folder.exists() && !folder.is_dir()) {
            return Err(usage(format!(
                "{flag} {} is a file: with --prompts name a folder",
                folder.display()
            )));
        }
    }
    paths.fixed("the list of results", &args.out.join(PREDICTIONS))?;
    let endings: &[&str] = match args.format {
        Some(format) => &[format.ending()],
        None => &[MaskFormat::Png.ending(), MaskFormat::Nifti.ending()],
    };
    for (image, tasks) in groups {
        let masks = tasks
            .iter()
            .map(|task| ("the mask of an entry", task.output.clone()));
        let map = args
            .labels
            .then(|| labels_name(image).map(|name| ("the labels of an image", name)))
            .transpose()?;
        for (what, name) in masks.chain(map) {
            for ending in endings {
                paths.write(what, &args.out.join(format!("{name}{ending}")))?;
            }
        }
        if let Some(folder) = &args.overlay_dir {
            for task in tasks {
                paths.write("the overlay of an entry", &folder.join(overlay_name(task)))?;
            }
        }
    }
    paths.remove_leftovers();
    Ok(())
}

fn overlay_name(task: &Task) -> String {
    // Masks may be PNG files in the same folder.
    format!("{}{OVERLAY}.png", task.output)
}

/// State that all entries of a prompts file share.
struct Run<'a> {
    args: &'a PredictArgs,
    session: &'a Session,
    steps: Steps,
    stop: Arc<AtomicBool>,
}

/// A task with its value in the map of labels; `None` beyond the last value that there is.
type Numbered<'a> = (Option<u16>, &'a Task);

/// The tasks that look at the same pixels in the same way.
struct Sitting<'a> {
    view: View,
    tasks: Vec<Numbered<'a>>,
}

/// An answer, its time not yet known.
type Written = (usize, Result<Done>);

impl Run<'_> {
    /// Answers the entries of an image; returns the name of its map of labels. Returns early where the run is stopped.
    fn image(
        &self,
        image: &Path,
        tasks: &[Task],
        predictor: &mut Predictor,
        outcomes: &mut BTreeMap<usize, Outcome>,
    ) -> Option<String> {
        let shared = View::from(&self.args.view);
        let scan = match open_scan(image, &shared.open) {
            Ok(scan) => scan,
            Err(error) => {
                self.fail(tasks.iter().map(|task| task.entry), &error.into(), outcomes);
                return None;
            }
        };
        let per_voxel = if self.args.volume {
            BYTES_PER_CARRIED_VOXEL
        } else {
            BYTES_PER_VOXEL
        };
        if let Err(error) = check_memory(image, &scan, per_voxel, self.args.view.open.max_memory) {
            self.fail(tasks.iter().map(|task| task.entry), &error, outcomes);
            return None;
        }
        let map = if self.args.volume {
            self.volumes(image, &scan, tasks, predictor, outcomes)
        } else {
            self.slices(image, &scan, tasks, predictor, outcomes)
        };
        let map = map?;
        match self.write_labels(image, map) {
            Ok(name) => Some(name),
            Err(error) => {
                self.fail(tasks.iter().map(|task| task.entry), &error, outcomes);
                None
            }
        }
    }

    /// Answers entries about pictures and single slices; returns the map of labels where one is asked for.
    fn slices(
        &self,
        image: &Path,
        scan: &Scan,
        tasks: &[Task],
        predictor: &mut Predictor,
        outcomes: &mut BTreeMap<usize, Outcome>,
    ) -> Option<Labels> {
        let mut map: Option<Labels> = None;
        for sitting in self.sittings(scan, tasks, outcomes) {
            if self.stop.load(Relaxed) {
                return None;
            }
            self.sitting(image, scan, &sitting, predictor, (&mut map, outcomes));
        }
        map
    }

    /// Which tasks share a slice and a window, in the order of the entries.
    fn sittings<'t>(
        &self,
        scan: &Scan,
        tasks: &'t [Task],
        outcomes: &mut BTreeMap<usize, Outcome>,
    ) -> Vec<Sitting<'t>> {
        let mut all: Vec<Sitting> = Vec::new();
        for task in tasks {
            let number = u16::try_from(task.place).ok();
            let mut view = task.view.clone();
            let positions = task.positions();
            match slice_of(&scan.content, view.plane, task.frame, &positions) {
                Ok(slice) => view.slice = view.slice.or(slice).or(self.args.view.slice),
                Err(error) => {
                    self.fail([task.entry], &error, outcomes);
                    continue;
                }
            }
            let same = |sitting: &&mut Sitting| sitting.view.shows_as(&view);
            match all.iter_mut().rev().find(same) {
                Some(sitting) => sitting.tasks.push((number, task)),
                None => all.push(Sitting {
                    view,
                    tasks: vec![(number, task)],
                }),
            }
        }
        all
    }

    fn sitting(
        &self,
        image: &Path,
        scan: &Scan,
        sitting: &Sitting,
        predictor: &mut Predictor,
        (map, outcomes): (&mut Option<Labels>, &mut BTreeMap<usize, Outcome>),
    ) {
        let started = Instant::now();
        let encoded = input::of_scan(image, scan, &sitting.view).and_then(|input| {
            predictor.set_image(&input.rgb)?;
            Ok(input)
        });
        let input = match encoded {
            Ok(input) => input,
            Err(error) => {
                let entries = sitting.tasks.iter().map(|(_, task)| task.entry);
                self.fail(entries, &error, outcomes);
                return;
            }
        };
        let encode_ms = since_ms(started);
        for tasks in sitting.tasks.chunks(TASKS_AT_ONCE) {
            if self.stop.load(Relaxed) {
                return;
            }
            let map = self
                .args
                .labels
                .then(|| map.get_or_insert_with(|| Labels::new(&input)));
            outcomes.extend(self.tasks(tasks, &input, encode_ms, predictor, map));
        }
    }

    fn fail(
        &self,
        entries: impl IntoIterator<Item = usize>,
        error: &anyhow::Error,
        outcomes: &mut BTreeMap<usize, Outcome>,
    ) {
        for entry in entries {
            if outcomes.insert(entry, Outcome::failed(error)).is_none() {
                self.steps.inc();
            }
        }
    }

    /// Answers entries about one slice, several in a decoder call.
    fn tasks(
        &self,
        tasks: &[Numbered],
        input: &Input,
        encode_ms: f64,
        predictor: &Predictor,
        mut map: Option<&mut Labels>,
    ) -> BTreeMap<usize, Outcome> {
        let mut outcomes = BTreeMap::new();
        let (mut ready, mut marks, mut prompts) = (Vec::new(), Vec::new(), Vec::new());
        for &(number, task) in tasks {
            match self.prompts(task, input) {
                Ok((complete, positions)) => {
                    ready.push((number, task));
                    marks.push(positions);
                    prompts.push(complete);
                }
                Err(error) => self.fail([task.entry], &error, &mut outcomes),
            }
        }
        // Objects share decoder calls, so that each is given the mean time.
        let mut predict_ms = 0.0;
        let mut started = Instant::now();
        let mut done: Vec<Written> = Vec::new();
        let answered = predictor.answer_each(&prompts, output_of(self.args), |i, answer| {
            predict_ms += since_ms(started);
            let written = answer.map_err(anyhow::Error::from).and_then(|answer| {
                let (mask, map) = (&answer.mask, map.as_deref_mut());
                let mut done = self.write(ready[i], input, &prompts[i], mask, map)?;
                done.positions = marks[i].clone();
                done.iou = answer.iou;
                done.warnings.extend(doubts(mask, answer.iou));
                Ok(done)
            });
            done.push((ready[i].1.entry, written));
            self.steps.inc();
            started = Instant::now();
            if self.stop.load(Relaxed) {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        });
        let predict_ms = predict_ms / done.len().max(1) as f64;
        outcomes.extend(done.into_iter().map(|(entry, written)| {
            let outcome = match written {
                Ok(done) => Outcome::Done(Box::new(Done {
                    encode_ms,
                    predict_ms,
                    ..done
                })),
                Err(error) => Outcome::failed(&error),
            };
            (entry, outcome)
        }));
        if let Err(error) = answered {
            let error = error.into();
            let all = ready.iter().map(|(_, task)| task.entry);
            self.fail(all, &error, &mut outcomes);
        }
        outcomes
    }

    /// The prompts of a task on the picture, with its rough mask.
    fn prompts(&self, task: &Task, input: &Input) -> Result<(Prompts, Marks)> {
        let (mut prompts, marks) = place_prompts(input, task.frame, &task.points, task.corners)?;
        let mask = task.mask.as_ref().map(|mask| self.args.input.join(mask));
        let read = |path: PathBuf| input.place.read_mask(&path, &input.rgb);
        prompts.earlier = mask.map(read).transpose()?;
        Ok((prompts, marks))
    }

    /// Writes the mask of one entry and what was asked for beside it.
    fn write(
        &self,
        (number, task): Numbered,
        input: &Input,
        prompts: &Prompts,
        mask: &Mask,
        map: Option<&mut Labels>,
    ) -> Result<Done> {
        let args = self.args;
        let name = format!("{}{}", task.output, input.ending(args.format));
        let notes = input.write_mask(&args.out.join(&name), mask, &task.id, args.format)?;
        if let Some(folder) = &args.overlay_dir {
            let picture = prompts_picture(&input.rgb, mask, prompts)?;
            write_rgb_png(&folder.join(overlay_name(task)), &picture)?;
        }
        let label = match map {
            None => None,
            Some(map) => {
                let most = u16::MAX;
                let Some(label) = number else {
                    bail!("--labels: the first {most} entries of an image have a value");
                };
                map.add(input, mask, label, &task.id)?;
                Some(label)
            }
        };
        let (slice, axis) = input.place.slice().unzip();
        let warnings = input.info.warnings.iter().cloned().chain(notes);
        Ok(Done {
            mask: name,
            area_px: Some(mask.area()),
            slice,
            axis,
            window: input.window,
            window_source: input.window_source.clone(),
            warnings: warnings.collect(),
            label,
            ..Done::asked(task, Marks::default())
        })
    }

    /// Writes the map of labels of an image; returns its file's name.
    fn write_labels(&self, image: &Path, map: Labels) -> Result<String> {
        let format = map.format(self.args.format);
        let name = format!("{}{}", labels_name(image)?, format.ending());
        for note in map.write(&self.args.out.join(&name), format)? {
            self.session.note(&format!("note: {name}: {note}"));
        }
        Ok(name)
    }
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
    let failures = tell_failures(&lines, session);
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

/// Tells what failed, and what is doubtful; returns how many entries failed.
fn tell_failures(lines: &[Line], session: &Session) -> usize {
    let (mut failures, mut doubtful) = (0, 0);
    for line in lines {
        let name = format!("entry {} ({} {})", line.entry, line.image, line.id);
        match &line.outcome {
            Outcome::Failed { error } => {
                failures += 1;
                if failures <= MAX_TOLD {
                    synthfm_image::tell(&format!("{name}: {error}"));
                }
            }
            Outcome::Done(done) if !done.warnings.is_empty() => {
                doubtful += 1;
                if doubtful <= MAX_TOLD {
                    session.note(&format!("note: {name}: {}", done.warnings.join("; ")));
                }
            }
            Outcome::Done(_) => {}
        }
    }
    for (count, what) in [(failures, "failures"), (doubtful, "notes")] {
        if count > MAX_TOLD {
            let more = count - MAX_TOLD;
            session.note(&format!("and {more} more {what}, in {PREDICTIONS}"));
        }
    }
    failures
}
