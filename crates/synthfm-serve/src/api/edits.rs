//! Changes by hand: brush and eraser, clearing, undo and redo.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::HeaderMap;
use serde::Deserialize;
use serde_json::{Value, json};
use synthfm_image::Mask;

use super::bad;
use super::predict::marked;
use crate::annotation::{
    Annotation, Change, Direction, Place, PlaneName, SlicePrompts, Step, Store,
};
use crate::app::App;
use crate::error::{ApiError, ApiResult};
use crate::respond::{self, Json};

/// The effect of a stroke on the pixels that it covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Mode {
    Add,
    Remove,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Stroke {
    structure: u16,
    plane: PlaneName,
    index: usize,
    mode: Mode,
    /// The pixels that the stroke covers.
    runs: Vec<u32>,
}

/// Brush and eraser.
pub(super) async fn edit(
    State(app): State<Arc<App>>,
    Path(case): Path<String>,
    headers: HeaderMap,
    Json(stroke): Json<Stroke>,
) -> ApiResult {
    let open = app.case_to_change(&case, &headers).await?;
    open.study.check(stroke.plane, stroke.index).map_err(bad)?;
    let answer = app.change(&open, move |open, store| {
        let place = Place {
            structure: stroke.structure,
            plane: stroke.plane,
            index: stroke.index,
        };
        store.annotation().structure(place.structure).map_err(bad)?;
        let (mask, prompts) = painted(store.annotation(), place, &stroke)?;
        let runs = mask.to_run_lengths();
        let change = store
            .annotation()
            .mask_change(place, runs.clone(), Some(prompts.clone()))?;
        let what = match stroke.mode {
            Mode::Add => "brush",
            Mode::Remove => "eraser",
        };
        store.apply(Step::new(what, vec![change]))?;
        marked(open, store.annotation(), place, &runs, Some(&prompts))
    });
    Ok(respond::json(&answer.await?))
}

/// The mask after a stroke, and the prompts that remember it.
fn painted(
    annotation: &Annotation,
    place: Place,
    stroke: &Stroke,
) -> ApiResult<(Mask, SlicePrompts)> {
    let mut mask = annotation.slice(place)?;
    let size = mask.size();
    let covered = Mask::from_run_lengths(&stroke.runs, size).map_err(bad)?;
    let mut prompts = annotation.prompts(place).cloned().unwrap_or_default();
    let value = stroke.mode == Mode::Add;
    let earlier = |runs: &[u32]| -> ApiResult<Mask> {
        if runs.is_empty() {
            return Ok(Mask::zeros(size));
        }
        Mask::from_run_lengths(runs, size).map_err(bad)
    };
    let (mut added, mut removed) = (earlier(&prompts.added)?, earlier(&prompts.removed)?);
    let pixels = mask.data_mut().iter_mut();
    let remembered = added.data_mut().iter_mut().zip(removed.data_mut());
    for ((pixel, (added, removed)), _) in pixels
        .zip(remembered)
        .zip(covered.data())
        .filter(|(_, covered)| **covered)
    {
        (*pixel, *added, *removed) = (value, value, !value);
    }
    prompts.added = added.to_run_lengths();
    prompts.removed = removed.to_run_lengths();
    (prompts.from, prompts.filled) = (None, false);
    Ok((mask, prompts))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Clearing {
    structure: u16,
    /// Without a plane the structure is cleared everywhere.
    #[serde(default)]
    plane: Option<PlaneName>,
    #[serde(default)]
    index: Option<usize>,
    /// All slices from `index` on are cleared, that one too.
    #[serde(default)]
    direction: Option<Direction>,
}

/// Takes the mask and the prompts of a structure away, on a slice, from a slice on, or everywhere.
pub(super) async fn clear(
    State(app): State<Arc<App>>,
    Path(case): Path<String>,
    headers: HeaderMap,
    Json(clearing): Json<Clearing>,
) -> ApiResult {
    let open = app.case_to_change(&case, &headers).await?;
    let Clearing {
        structure,
        plane,
        index,
        direction,
    } = clearing;
    let place = match (plane, index) {
        (Some(plane), Some(index)) => {
            open.study.check(plane, index).map_err(bad)?;
            Some(Place {
                structure,
                plane,
                index,
            })
        }
        (None, None) if direction.is_none() => None,
        _ => {
            return Err(bad(
                "plane and index belong together, and a direction needs both; leave all out to clear everywhere",
            ));
        }
    };
    let answer = app.change(&open, move |_, store| {
        let annotation = store.annotation();
        annotation.structure(structure).map_err(bad)?;
        let changes = match (place, direction) {
            (Some(place), Some(direction)) => annotation.cleared_from(place, direction)?,
            (Some(place), None) => annotation.emptied([place])?,
            (None, _) => emptied_everywhere(annotation, structure)?,
        };
        if !changes.is_empty() {
            store.apply(Step::new("clear", changes))?;
        }
        Ok(with_voxels(store, structure))
    });
    Ok(respond::json(&answer.await?))
}

/// Changes that leave a structure without any voxel. Undoing them, the last first, ends with the axial slices, which hold
/// every voxel, so that those of other planes may overlap them.
fn emptied_everywhere(annotation: &Annotation, structure: u16) -> ApiResult<Vec<Change>> {
    let axial = annotation.extents().remove(&structure);
    let slices = axial.map(|(_, [axial, ..])| axial).unwrap_or_default();
    let at = |index| Place {
        structure,
        plane: PlaneName::Axial,
        index,
    };
    let mut places: Vec<Place> = slices.into_iter().map(at).collect();
    let prompted = annotation.all_prompts().map(|(place, _)| place);
    places.extend(prompted.filter(|place| place.structure == structure));
    places.sort();
    places.dedup();
    Ok(annotation.emptied(places)?)
}

/// Takes the last step back.
pub(super) async fn undo(
    State(app): State<Arc<App>>,
    Path(case): Path<String>,
    headers: HeaderMap,
) -> ApiResult {
    step_in_history(app, case, headers, Store::undo).await
}

/// Makes the last undone step again.
pub(super) async fn redo(
    State(app): State<Arc<App>>,
    Path(case): Path<String>,
    headers: HeaderMap,
) -> ApiResult {
    step_in_history(app, case, headers, Store::redo).await
}

async fn step_in_history(
    app: Arc<App>,
    case: String,
    headers: HeaderMap,
    step: fn(&mut Store) -> anyhow::Result<String>,
) -> ApiResult {
    let open = app.case_to_change(&case, &headers).await?;
    let lists = Arc::clone(&app);
    let answer = app.change(&open, move |open, store| {
        let before = store.annotation().structures().to_vec();
        let next = store.annotation().next_steps();
        if next == [None, None] {
            return Err(ApiError::conflict(
                "nothing",
                "there is nothing to undo or redo",
            ));
        }
        let what = step(store).map_err(|error| match error.to_string() {
            text if text.starts_with("there is nothing") => ApiError::conflict("nothing", text),
            _ => ApiError::failed(&error),
        })?;
        let relisted = super::structures::learn(open, store, &lists.labels, &before, false)?;
        let mut answer = history(store);
        answer["what"] = json!(what);
        answer["structures"] = super::cases::listed(open, store.annotation(), &lists.labels);
        Ok((answer, relisted))
    });
    let (answer, relisted) = answer.await?;
    if relisted {
        super::structures::spread(&app, &open).await?;
    }
    Ok(respond::json(&answer))
}

/// The revision, the next steps to undo and redo, and the state of the annotation, as JSON for a page.
pub(super) fn history(store: &Store) -> Value {
    let annotation = store.annotation();
    let [undo, redo] = annotation.next_steps();
    json!({
        "revision": annotation.revision(),
        "undo": undo,
        "redo": redo,
        "state": annotation.progress(),
    })
}

/// The history of edits, with the number of voxels that a structure has.
pub(super) fn with_voxels(store: &Store, structure: u16) -> Value {
    let mut answer = history(store);
    answer["structure"] = json!(structure);
    answer["voxels"] = json!(store.annotation().voxels(structure));
    answer
}
