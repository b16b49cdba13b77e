//! The loop of the evaluation: data sets, cases, images, segmenters, targets, prompts.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use synthfm_image::Mask;

use super::protocol::{Part, Parts, PromptPlan};
use super::scores::{Ruler, score};
use super::{Evaluation, Kept, Options, PromptSet, Row, Runs, Segmenter};
use crate::dataset::{Case, CaseNote, Dataset, Structure, View};
use crate::{Error, Result};

/// Evaluates every segmenter on every data set.
///
/// `progress` hears the number of cases done, their total and the case at hand. Once `stop` is set, the rows so far
/// are returned. Fails only if the options make no sense: a case or a prompt that fails is part of the result.
pub fn evaluate(
    datasets: &[Dataset],
    segmenters: &mut [Box<dyn Segmenter>],
    options: &Options,
    mut progress: impl FnMut(usize, usize, &str),
    stop: &AtomicBool,
) -> Result<Evaluation> {
    options.validate()?;
    let mut run = Run {
        options,
        plans: PromptPlan::all(&options.settings, &options.negatives),
        stop,
        found: Evaluation::default(),
    };
    let total = datasets.iter().map(|dataset| dataset.cases.len()).sum();
    let mut done = 0;
    for (dataset_index, dataset) in datasets.iter().enumerate() {
        run.found.skipped.extend(dataset.skipped.iter().cloned());
        for (case_index, case) in dataset.cases.iter().enumerate() {
            progress(done, total, &format!("{} {}", dataset.name, case.name));
            run.case(dataset, case, [dataset_index, case_index], segmenters);
            if run.stopped() {
                return Ok(run.found);
            }
            done += 1;
        }
    }
    progress(done, total, "done");
    Ok(run.found)
}

/// What stays the same during a run, and its result.
struct Run<'a> {
    options: &'a Options,
    plans: Vec<PromptPlan>,
    stop: &'a AtomicBool,
    found: Evaluation,
}

/// An image of a case.
struct Place<'a> {
    dataset: &'a Dataset,
    case: &'a Case,
    view: &'a View,
    indices: [usize; 3],
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
}

impl Run<'_> {
    fn stopped(&mut self) -> bool {
        self.found.stopped |= self.stop.load(Ordering::Relaxed);
        self.found.stopped
    }

    fn case(
        &mut self,
        dataset: &Dataset,
        case: &Case,
        indices: [usize; 2],
        segmenters: &mut [Box<dyn Segmenter>],
    ) {
        let note = |text: String| CaseNote {
            dataset: dataset.name.clone(),
            case: case.name.clone(),
            text,
        };
        let loaded = match dataset.load(case) {
            Ok(loaded) => loaded,
            Err(error) => return self.found.failed.push(note(error.to_string())),
        };
        self.found.notes.extend(loaded.notes.into_iter().map(note));
        for (view_index, view) in loaded.views.iter().enumerate() {
            let place = Place {
                dataset,
                case,
                view,
                indices: [indices[0], indices[1], view_index],
            };
            let objects = self.objects(&place);
            for segmenter in segmenters.iter_mut().filter(|_| !objects.is_empty()) {
                if self.stopped() {
                    return;
                }
                self.image(&place, &objects, segmenter.as_mut());
            }
        }
    }

    /// The targets that are large enough; counts the others.
    fn objects<'v>(&mut self, place: &Place<'v>) -> Vec<Objects<'v>> {
        let mut all = Vec::new();
        for structure in &place.view.structures {
            let (target, instances) = (self.options.target, place.dataset.instances);
            let parts = Parts::new(&place.view.labels, structure, instances, target);
            let found = parts.list(target);
            self.found.absent += usize::from(found.is_empty());
            let (list, small): (Vec<Part>, Vec<Part>) = found
                .into_iter()
                .partition(|part| part.area_px >= self.options.min_area_px);
            self.found.too_small += small.len();
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

    fn image(&mut self, place: &Place, objects: &[Objects], segmenter: &mut dyn Segmenter) {
        let (encoded, encode_time) = timed(|| segmenter.set_image(&place.view.image));
        let encoded = encoded.map_err(|error| error.to_string());
        let all = objects
            .iter()
            .flat_map(|of| of.list.iter().map(move |&part| (of, part)));
        for (of, part) in all {
            if self.stopped() {
                return;
            }
            let object = Object {
                structure: of.structure,
                part,
                mask: of.parts.mask(part),
            };
            let start = self.found.rows.len();
            self.object(place, &object, segmenter, &encoded);
            for row in &mut self.found.rows[start..] {
                segmenter.name().clone_into(&mut row.model);
                row.encode_ms = milliseconds(encode_time);
            }
        }
    }

    fn object(
        &mut self,
        place: &Place,
        object: &Object,
        segmenter: &mut dyn Segmenter,
        encoded: &std::result::Result<(), String>,
    ) {
        for plan_index in 0..self.plans.len() {
            let prompts = self.prompts(place, object, plan_index);
            let (predicted, time) = match encoded {
                Ok(()) => timed(|| checked(segmenter.segment(&prompts), place.view)),
                Err(problem) => (Err(problem.clone()), Duration::ZERO),
            };
            let mut row = self.row(place, object, plan_index, prompts, &predicted);
            row.time_ms = milliseconds(time);
            self.keep(place, object, plan_index, predicted.ok());
            self.found.rows.push(row);
        }
    }

    fn prompts(&self, place: &Place, object: &Object, plan_index: usize) -> PromptSet {
        let component = object.part.number.to_string();
        let path = [
            place.dataset.name.as_str(),
            &place.case.name,
            &object.structure.name,
            &component,
        ];
        self.plans[plan_index].prompts(&object.mask, self.options.seed, path)
    }

    fn row(
        &self,
        place: &Place,
        object: &Object,
        plan_index: usize,
        prompts: PromptSet,
        predicted: &std::result::Result<Mask, String>,
    ) -> Row {
        let ruler = Ruler::new(place.view.spacing_mm, self.options);
        let truth = &object.mask;
        let scored = |mask: &Mask| score(mask, truth, ruler).map_err(|error| error.to_string());
        Row {
            model: String::new(),
            dataset: place.dataset.name.clone(),
            case: place.case.name.clone(),
            patient: place.case.patient.clone(),
            modality: place.case.modality.clone(),
            structure: object.structure.name.clone(),
            label: object.structure.label,
            component: object.part.number,
            slice: place.view.slice,
            spacing_mm: place.view.spacing_mm,
            prompt: self.plans[plan_index],
            prompts,
            area_px: object.part.area_px,
            outcome: predicted.as_ref().map_err(String::clone).and_then(scored),
            encode_ms: 0.0,
            time_ms: 0.0,
        }
    }

    /// Keeps the masks of the first prompt setting for the report's pictures. Called before the row is added.
    fn keep(&mut self, place: &Place, object: &Object, plan_index: usize, mask: Option<Mask>) {
        if let (0, Some(mask)) = (plan_index, mask) {
            self.found.kept.push(Kept {
                row: self.found.rows.len(),
                view: place.indices,
                truth: Runs::encode(&object.mask),
                prediction: Runs::encode(&mask),
            });
        }
    }
}

/// The prediction if it has the size of the image.
fn checked(predicted: Result<Mask>, view: &View) -> std::result::Result<Mask, String> {
    let mask = predicted.map_err(|error| error.to_string())?;
    if mask.size() == view.labels.size() {
        Ok(mask)
    } else {
        let error = Error::SizeMismatch {
            what: "the segmenter's mask",
            expected: view.labels.size(),
            got: mask.size(),
        };
        Err(error.to_string())
    }
}

fn timed<T>(action: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let value = action();
    (value, start.elapsed())
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
