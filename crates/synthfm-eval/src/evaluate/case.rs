//! One case: its images, on each every segmenter, every target, every prompt setting.
//! Each segmenter takes an image once; targets and prompts are made once for all segmenters.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use synthfm_image::Mask;

use super::iterate::{Curve, Iteration, iterate, known, missed};
use super::journal::{CaseRecord, FoundRow};
use super::parts::{Part, Parts};
use super::protocol::{PromptPlan, PromptSetting};
use super::scores::{Ruler, score};
use super::volume::evaluate_volume;
use super::{AnswerNote, Options, PromptSet, Replay, Row, Runs, Segmenter, masks};
use crate::dataset::{Case, Dataset, SliceChoice, Structure, View};
use crate::{Error, Result};

/// State that is the same for all cases of a run.
#[derive(Clone, Copy)]
pub(super) struct Context<'a> {
    pub(super) options: &'a Options,
    pub(super) plans: &'a [PromptPlan],
    pub(super) replay: Option<&'a Replay>,
    /// The folder of the report, where masks are saved.
    pub(super) masks: Option<&'a Path>,
    pub(super) stop: &'a AtomicBool,
}

/// An image of a case.
struct Place<'a> {
    dataset: &'a Dataset,
    case: &'a Case,
    view: &'a View,
    index: usize,
}

/// The objects of a structure on an image that are large enough.
struct Objects<'a> {
    structure: &'a Structure,
    parts: Parts<'a>,
    list: Vec<Part>,
}

/// One of them.
struct Object<'a> {
    structure: &'a Structure,
    part: Part,
    mask: Mask,
    /// Pixels whose truth is not known.
    ignored: Option<&'a Mask>,
}

/// How taking the image went.
struct Encoded {
    result: std::result::Result<(), String>,
    time: Duration,
}

/// An answer with the prompts that led to it.
struct Answer {
    mask: Mask,
    note: AnswerNote,
    prompts: PromptSet,
    curve: Option<Curve>,
}

/// Evaluates `segmenters` on a case and adds what was found to `record`, whose rows are those of other segmenters;
/// `None` if the run was stopped meanwhile. Fails only if a mask cannot be written.
pub(super) fn evaluate_case(
    context: Context,
    dataset: &Dataset,
    case: &Case,
    segmenters: &mut [Box<dyn Segmenter>],
    mut record: CaseRecord,
) -> Result<Option<CaseRecord>> {
    record.notes.clear();
    if let Some(protocol) = &context.options.volume {
        let asked = (dataset, case);
        if !evaluate_volume(context, protocol, asked, segmenters, &mut record)? {
            return Ok(None);
        }
        note_identities(segmenters, &mut record);
        return Ok(Some(record));
    }
    let loaded = match dataset.load_with(case, &context.options.load()) {
        Ok(loaded) => loaded,
        Err(error) => {
            record.failed = Some(error.to_string());
            return Ok(Some(record));
        }
    };
    record.notes = loaded.notes;
    (record.too_small, record.absent) = (0, loaded.absent);
    for (index, view) in loaded.views.iter().enumerate() {
        let place = Place {
            dataset,
            case,
            view,
            index,
        };
        let objects = context.objects(&place, &mut record);
        if objects.is_empty() {
            continue;
        }
        if !context.image(&place, &objects, segmenters, &mut record.rows)? {
            return Ok(None);
        }
    }
    note_identities(segmenters, &mut record);
    Ok(Some(record))
}

/// Notes the segmenters that have answered everything: what failed is tried again by the next run.
fn note_identities(segmenters: &[Box<dyn Segmenter>], record: &mut CaseRecord) {
    for segmenter in segmenters {
        let mut rows = record.rows.iter().map(|found| &found.row);
        if rows.all(|row| row.model != segmenter.name() || row.outcome.is_ok()) {
            let name = segmenter.name().to_owned();
            record.segmenters.insert(name, segmenter.identity());
        }
    }
}

impl Context<'_> {
    pub(super) fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// The settings before any correction.
    pub(super) fn first_plans(&self) -> impl Iterator<Item = PromptPlan> + use<'_> {
        let plans = self.plans.iter().copied();
        plans.filter(|plan| plan.corrections == 0)
    }

    /// The targets that are large enough; counts the others.
    fn objects<'v>(&self, place: &Place<'v>, record: &mut CaseRecord) -> Vec<Objects<'v>> {
        let mut all = Vec::new();
        for structure in &place.view.structures {
            let target = self.options.target;
            let parts = Parts::new(place.view, structure, target);
            let found = parts.list(target);
            record.absent += usize::from(found.is_empty());
            let (list, small): (Vec<Part>, Vec<Part>) = found
                .into_iter()
                .partition(|part| part.area_px >= self.options.min_area_px);
            record.too_small += small.len();
            if !list.is_empty() {
                all.push(Objects {
                    structure,
                    parts,
                    list,
                });
            }
        }
        all
    }

    /// All rows of an image, in order of segmenter, target and prompt setting; `false` if the run was stopped.
    fn image(
        &self,
        place: &Place,
        objects: &[Objects],
        segmenters: &mut [Box<dyn Segmenter>],
        rows: &mut Vec<FoundRow>,
    ) -> Result<bool> {
        let take = |segmenter: &mut Box<dyn Segmenter>| {
            let (result, time) = timed(|| segmenter.set_image(&place.view.image));
            let result = result.map_err(|error| error.to_string());
            Encoded { result, time }
        };
        let encoded: Vec<Encoded> = segmenters.iter_mut().map(take).collect();
        let mut of_segmenter: Vec<Vec<FoundRow>> = segmenters.iter().map(|_| Vec::new()).collect();
        let all = objects
            .iter()
            .flat_map(|of| of.list.iter().map(move |&part| (of, part)));
        for (of, part) in all {
            let object = Object {
                structure: of.structure,
                part,
                mask: of.parts.mask(part),
                ignored: place.view.ignored.as_ref(),
            };
            for (n, &plan) in self.plans.iter().enumerate() {
                let prompts = self.prompts(place, &object, plan);
                for (at, segmenter) in segmenters.iter_mut().enumerate() {
                    if self.stopped() {
                        return Ok(false);
                    }
                    if !segmenter.answers(plan.setting) {
                        continue;
                    }
                    let row = place.row(&object, plan, segmenter.name());
                    let mut found =
                        self.answer(row, &prompts, &object, segmenter.as_mut(), &encoded[at])?;
                    found.view = place.index;
                    if n > 0 {
                        (found.truth, found.prediction) = (None, None);
                    }
                    of_segmenter[at].push(found);
                }
            }
        }
        rows.extend(of_segmenter.into_iter().flatten());
        Ok(true)
    }

    fn prompts(&self, place: &Place, object: &Object, plan: PromptPlan) -> PromptSet {
        // With one slice per structure the number of the component names a target.
        let component = match (self.options.slices, place.view.slice) {
            (SliceChoice::Every(_), Some(slice)) => format!("{}@{slice}", object.part.number),
            _ => object.part.number.to_string(),
        };
        let path = [
            place.dataset.name.as_str(),
            &place.case.name,
            &object.structure.name,
            &component,
        ];
        let truth = (&object.mask, place.view.ignored.as_ref());
        plan.prompts(truth, self.options.seed, path)
    }

    /// Asks the segmenter and fills in the row, with both masks.
    fn answer(
        &self,
        mut row: Row,
        prompts: &PromptSet,
        object: &Object,
        segmenter: &mut dyn Segmenter,
        encoded: &Encoded,
    ) -> Result<FoundRow> {
        let ruler = Ruler::new(row.spacing_mm, self.options);
        row.encode_ms = milliseconds(encoded.time);
        let asked = || self.ask(&row, prompts, object, segmenter, ruler);
        let (answer, time) = match &encoded.result {
            Ok(()) => timed(asked),
            Err(problem) => (Err(problem.clone()), Duration::ZERO),
        };
        row.time_ms = milliseconds(time);
        let (mut truth, mut prediction) = (None, None);
        match answer {
            Ok(Answer {
                mask,
                note,
                prompts,
                curve,
            }) => {
                row.missed_clicks = missed(&mask, &prompts.clicks);
                row.note = note;
                row.prompts = prompts;
                row.curve = curve;
                row.outcome = score(&mask, &object.mask, ruler).map_err(|error| error.to_string());
                if let Some(folder) = self.masks {
                    row.mask = Some(masks::save(folder, &row, &mask, &object.mask)?);
                }
                truth = Some(Runs::encode(&object.mask));
                prediction = Some(Runs::encode(&mask));
            }
            Err(problem) => {
                row.prompts = prompts.clone();
                row.outcome = Err(problem);
            }
        }
        Ok(FoundRow {
            view: 0,
            row,
            truth,
            prediction,
        })
    }

    fn ask(
        &self,
        row: &Row,
        simulated: &PromptSet,
        object: &Object,
        segmenter: &mut dyn Segmenter,
        ruler: Ruler,
    ) -> std::result::Result<Answer, String> {
        let (truth, ignored) = (&object.mask, object.ignored);
        let stored = match self.replay {
            Some(replay) => {
                let stored = replay.prompts(row, &row.model);
                Some(stored.ok_or("the replayed results hold no prompts for this target")?)
            }
            None => None,
        };
        let prompts = stored.unwrap_or(simulated);
        let answer = match row.prompt.setting {
            PromptSetting::Iterative { clicks, feedback } => {
                let iteration = Iteration {
                    truth,
                    ignored,
                    ruler,
                    clicks,
                    feedback,
                    replayed: stored,
                };
                let first = prompts.clicks.iter().take(1).copied().collect();
                iterate(segmenter, PromptSet::of_clicks(first), iteration).map(
                    |(mask, prompts, curve)| Answer {
                        mask,
                        note: segmenter.note(),
                        prompts,
                        curve: Some(curve),
                    },
                )
            }
            _ => segmenter.segment(prompts).map(|mask| Answer {
                mask,
                note: segmenter.note(),
                prompts: prompts.clone(),
                curve: None,
            }),
        };
        let mut answer = answer.map_err(|error| error.to_string())?;
        answer.mask = known(answer.mask, ignored);
        if answer.mask.size() == truth.size() {
            return Ok(answer);
        }
        let error = Error::SizeMismatch {
            what: "the segmenter's mask",
            expected: truth.size(),
            got: answer.mask.size(),
        };
        Err(error.to_string())
    }
}

impl Place<'_> {
    /// A row without an answer.
    fn row(&self, object: &Object, prompt: PromptPlan, model: &str) -> Row {
        Row {
            model: model.to_owned(),
            dataset: self.dataset.name.clone(),
            case: self.case.name.clone(),
            patient: self.case.patient.clone(),
            modality: self.case.modality.clone(),
            structure: object.structure.name.clone(),
            label: object.structure.label,
            component: object.part.number,
            slice: self.view.slice,
            spacing_mm: self.view.spacing_mm,
            prompt,
            prompts: PromptSet::default(),
            area_px: object.part.area_px,
            image_px: [object.mask.size().height, object.mask.size().width],
            outcome: Err(String::new()),
            curve: None,
            missed_clicks: 0,
            note: AnswerNote::default(),
            mask: None,
            encode_ms: 0.0,
            time_ms: 0.0,
            volume: None,
        }
    }
}

pub(super) fn timed<T>(action: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let value = action();
    (value, start.elapsed())
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
