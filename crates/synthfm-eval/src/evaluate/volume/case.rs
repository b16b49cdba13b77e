//! One case as a volume: every structure, every segmenter, every prompt setting, then corrections.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use synthfm_image::{Mask, MaskPair, MaskStack, ScanInfo};

use super::protocol::{correction, worst_slice};
use super::{VolumeNote, VolumeProtocol, VolumeQuestion, VolumeSegmenter};
use crate::clicks::Click;
use crate::dataset::{Case, Dataset, LoadedVolume, ShownVolume, Structure};
use crate::evaluate::case::{Context, timed};
use crate::evaluate::iterate::{Curve, known, missed};
use crate::evaluate::journal::{CaseRecord, FoundRow};
use crate::evaluate::protocol::PromptPlan;
use crate::evaluate::scores::score_stacks;
use crate::evaluate::{AnswerNote, PromptSet, Row, Runs, Segmenter, masks};
use crate::{Error, Result};

/// Values that all rows of one structure share.
struct Object<'a> {
    dataset: &'a Dataset,
    case: &'a Case,
    structure: &'a Structure,
    component: u32,
    index: usize,
    truth: &'a MaskStack,
    ignored: Option<&'a MaskStack>,
    info: &'a ScanInfo,
    volume: &'a ShownVolume,
}

/// The prompts of a structure, the largest slice's first.
struct First {
    slices: Vec<usize>,
    prompts: BTreeMap<usize, PromptSet>,
}

/// An answer on its way through corrections.
struct State {
    answer: MaskStack,
    corrections: Vec<(usize, Click)>,
    curve: Curve,
    time: Duration,
}

/// Evaluates `segmenters` on the volume of a case and adds what was found to `record`; `false` if the run was stopped
/// meanwhile. Fails only if a mask cannot be written.
pub(in crate::evaluate) fn evaluate_volume(
    context: Context,
    protocol: &VolumeProtocol,
    (dataset, case): (&Dataset, &Case),
    segmenters: &mut [Box<dyn Segmenter>],
    record: &mut CaseRecord,
) -> Result<bool> {
    let loaded = match dataset.load_volume(case, &context.options.load()) {
        Ok(Some(loaded)) => loaded,
        Ok(None) => {
            let text = "a picture, which has no place in an evaluation of volumes: left out";
            record.notes.push(text.to_owned());
            return Ok(true);
        }
        Err(error) => {
            record.failed = Some(error.to_string());
            return Ok(true);
        }
    };
    let LoadedVolume {
        structures, notes, ..
    } = &loaded;
    record.notes.extend(notes.iter().cloned());
    (record.too_small, record.absent) = (0, 0);
    let ignored = loaded.ignored();
    let volume = Arc::new(loaded.shown.clone());
    let taken: Vec<std::result::Result<Duration, String>> = segmenters
        .iter_mut()
        .map(|segmenter| {
            let (taken, time) = timed(|| match segmenter.volume() {
                Some(segmenter) => segmenter.set_volume(&volume),
                None => Err(Error::Parameter(
                    "it answers single slices alone".to_owned(),
                )),
            });
            taken.map(|()| time).map_err(|error| error.to_string())
        })
        .collect();
    let mut index = 0;
    for structure in structures {
        let objects = loaded.objects(structure, context.options.target);
        record.absent += usize::from(objects.is_empty());
        for (component, truth) in objects {
            if is_small(&truth, protocol, context.options.min_area_px) {
                record.too_small += 1;
                continue;
            }
            let object = Object {
                dataset,
                case,
                structure,
                component,
                index,
                truth: &truth,
                ignored: ignored.as_ref(),
                info: &loaded.info,
                volume: &volume,
            };
            index += 1;
            for (segmenter, taken) in segmenters.iter_mut().zip(&taken) {
                for (n, plan) in context.first_plans().enumerate() {
                    if !segmenter.answers(plan.setting) {
                        continue;
                    }
                    let asking = Asking {
                        context,
                        protocol,
                        object: &object,
                        plan,
                        draws: n == 0,
                    };
                    match asking.rows(segmenter.as_mut(), taken)? {
                        Some(rows) => record.rows.extend(rows),
                        None => return Ok(false),
                    }
                }
            }
        }
    }
    Ok(true)
}

/// Whether a structure is on too few slices, or too small on the largest.
fn is_small(truth: &MaskStack, protocol: &VolumeProtocol, min_area_px: usize) -> bool {
    let areas = || truth.slices().iter().map(Mask::area);
    let slices = areas().filter(|&area| area > 0).count();
    slices < protocol.min_slices || areas().max().unwrap_or(0) < min_area_px
}

/// One segmenter's answers to one setting about one structure.
struct Asking<'a> {
    context: Context<'a>,
    protocol: &'a VolumeProtocol,
    object: &'a Object<'a>,
    plan: PromptPlan,
    /// Whether the worst slice of the first answer is kept for a picture.
    draws: bool,
}

impl Asking<'_> {
    /// A row for each number of corrections; `None` if the run was stopped.
    fn rows(
        &self,
        segmenter: &mut dyn Segmenter,
        taken: &std::result::Result<Duration, String>,
    ) -> Result<Option<Vec<FoundRow>>> {
        let first = self.first();
        let name = segmenter.name().to_owned();
        let steps = self.protocol.steps();
        let last = steps.last().copied().unwrap_or(0);
        let (mut rows, mut state, mut problem) = (Vec::new(), None, None);
        let mut answer_all = |segmenter: &mut dyn VolumeSegmenter| -> Result<bool> {
            for step in 0..=last {
                if self.context.stopped() {
                    return Ok(false);
                }
                if problem.is_none() {
                    match self.step(segmenter, &first, state.take()) {
                        Ok(next) => state = Some(next),
                        Err(error) => problem = Some(error.to_string()),
                    }
                }
                if steps.contains(&step) {
                    let answered = match (&problem, &state) {
                        (None, Some(state)) => Ok(state),
                        (problem, _) => Err(problem.clone().unwrap_or_default()),
                    };
                    rows.push(self.row(&name, &first, step, taken, answered)?);
                }
                if !segmenter.takes_corrections() {
                    break;
                }
            }
            Ok(true)
        };
        match (taken, segmenter.volume()) {
            (Ok(_), Some(segmenter)) => {
                if !answer_all(segmenter)? {
                    return Ok(None);
                }
            }
            (taken, _) => {
                let problem = taken.as_ref().err().cloned().unwrap_or_default();
                rows.push(self.row(&name, &first, 0, taken, Err(problem))?);
            }
        }
        Ok(Some(rows))
    }

    /// The first answer, or the last one with a correction more.
    fn step(
        &self,
        segmenter: &mut dyn VolumeSegmenter,
        first: &First,
        state: Option<State>,
    ) -> Result<State> {
        let truth = self.object.truth;
        let mut state = match state {
            None => {
                let question = VolumeQuestion {
                    prompts: &first.prompts,
                    truth,
                };
                let (answer, time) = timed(|| segmenter.segment_volume(question));
                State {
                    answer: self.known(answer?)?,
                    corrections: Vec::new(),
                    curve: Curve::default(),
                    time,
                }
            }
            Some(mut state) => {
                let given = first.prompts.iter();
                let given = given.flat_map(|(&at, set)| set.clicks.iter().map(move |&c| (at, c)));
                let earlier: Vec<(usize, Click)> =
                    given.chain(state.corrections.iter().copied()).collect();
                if let Some((slice, click)) = correction(&state.answer, truth, &earlier)? {
                    let (answer, time) = timed(|| segmenter.correct_volume(slice, click));
                    state.answer = self.known(answer?)?;
                    state.time += time;
                    state.corrections.push((slice, click));
                }
                state
            }
        };
        let pair = MaskPair::of_stacks(&state.answer, truth)?;
        state.curve.dice.push(pair.dice().unwrap_or(0.0));
        state.curve.iou.push(pair.iou().unwrap_or(0.0));
        state.curve.missed.push(all_missed(first, &state));
        Ok(state)
    }

    /// The prompts on the slices that get some.
    fn first(&self) -> First {
        let Object {
            dataset,
            case,
            structure,
            component,
            truth,
            ignored,
            ..
        } = *self.object;
        let slices = self.protocol.prompted(truth);
        let of_slice = |&slice: &usize| {
            let component = format!("{component}@{slice}");
            let path = [
                dataset.name.as_str(),
                &case.name,
                &structure.name,
                &component,
            ];
            let ignored = ignored.map(|stack| &stack.slices()[slice]);
            let truth = (&truth.slices()[slice], ignored);
            let seed = self.context.options.seed;
            (slice, self.plan.prompts(truth, seed, path))
        };
        let prompts = slices.iter().map(of_slice).collect();
        First { slices, prompts }
    }

    /// An answer without the voxels whose truth is not known.
    fn known(&self, mut answer: MaskStack) -> Result<MaskStack> {
        if let Some(ignored) = self.object.ignored {
            for (slice, ignored) in ignored.slices().iter().enumerate() {
                let mask = known(answer.slices()[slice].clone(), Some(ignored));
                answer.set(slice, mask)?;
            }
        }
        Ok(answer)
    }

    fn row(
        &self,
        model: &str,
        first: &First,
        step: usize,
        taken: &std::result::Result<Duration, String>,
        answered: std::result::Result<&State, String>,
    ) -> Result<FoundRow> {
        let Object {
            dataset,
            case,
            structure,
            component,
            index,
            truth,
            info,
            volume,
            ..
        } = *self.object;
        let [between, rows, columns] = truth.spacing_mm();
        let in_use = |stack: &MaskStack| stack.slices().iter().filter(|m| m.area() > 0).count();
        let prompted = first.slices.first().copied();
        let mut note = VolumeNote {
            slice_spacing_mm: between,
            slices: in_use(truth),
            prompted: first.slices.clone(),
            worst: prompted.unwrap_or(0),
            ..VolumeNote::default()
        };
        let mut row = Row {
            model: model.to_owned(),
            dataset: dataset.name.clone(),
            case: case.name.clone(),
            patient: case.patient.clone(),
            modality: case.modality.clone(),
            structure: structure.name.clone(),
            label: structure.label,
            component,
            slice: prompted,
            spacing_mm: Some([rows, columns]),
            prompt: PromptPlan {
                corrections: step,
                ..self.plan
            },
            prompts: prompted
                .and_then(|slice| first.prompts.get(&slice).cloned())
                .unwrap_or_default(),
            area_px: truth.voxels(),
            image_px: [truth.size().height, truth.size().width],
            outcome: Err(String::new()),
            curve: None,
            missed_clicks: 0,
            note: AnswerNote::default(),
            mask: None,
            encode_ms: taken.as_ref().map_or(0.0, |time| time.as_secs_f64() * 1e3),
            time_ms: 0.0,
            volume: None,
        };
        let (mut runs, mut runs_of_truth) = (None, None);
        match answered {
            Ok(state) => {
                note.predicted_slices = in_use(&state.answer);
                note.corrections.clone_from(&state.corrections);
                note.worst = worst_slice(&state.answer, truth).unwrap_or(note.worst);
                row.time_ms = state.time.as_secs_f64() * 1e3;
                row.missed_clicks = state.curve.missed.last().copied().unwrap_or(0);
                row.curve = (step > 0).then(|| state.curve.clone());
                let tolerance = self.context.options.nsd_tolerance_mm;
                let scores = score_stacks(&state.answer, truth, tolerance);
                row.outcome = scores.map_err(|error| error.to_string());
                if self.draws && step == 0 {
                    runs = Some(Runs::encode(&state.answer.slices()[note.worst]));
                    runs_of_truth = Some(Runs::encode(&truth.slices()[note.worst]));
                }
                if let Some(folder) = self.context.masks {
                    let geometry = volume.volume().geometry();
                    let saved =
                        masks::save_stacks(folder, &row, [&state.answer, truth], (geometry, info))?;
                    row.mask = Some(saved);
                }
            }
            Err(problem) => row.outcome = Err(problem),
        }
        row.volume = Some(note);
        Ok(FoundRow {
            view: index,
            row,
            truth: runs_of_truth,
            prediction: runs,
        })
    }
}

/// Clicks that the answer does not honour.
fn all_missed(first: &First, state: &State) -> usize {
    let slices = state.answer.slices();
    let given = first.prompts.iter();
    let given = given.map(|(&slice, set)| missed(&slices[slice], &set.clicks));
    let corrections = state.corrections.iter();
    let corrections = corrections.map(|&(slice, click)| missed(&slices[slice], &[click]));
    given.sum::<usize>() + corrections.sum::<usize>()
}
