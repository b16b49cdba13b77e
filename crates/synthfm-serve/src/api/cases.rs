//! The list of cases, and one case as a whole.

use std::sync::Arc;

use anyhow::Context;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use serde::Deserialize;
use serde_json::{Value, json};

use super::require_session;
use crate::annotation::{Annotation, PlaneName, Progress, Structure};
use crate::app::App;
use crate::desk::OpenCase;
use crate::error::{ApiError, ApiResult};
use crate::export;
use crate::labels::{Label, LabelLists, keys};
use crate::palette;
use crate::respond::{self, Json};

/// Seconds that one request may report.
const MOST_SECONDS: f64 = 3600.0;

pub(super) async fn list(State(app): State<Arc<App>>) -> axum::response::Response {
    respond::json(&json!({ "cases": app.catalog.summaries() }))
}

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
#[derive(Default)]
pub(super) struct Opening {
    take_over: bool,
    /// The volume to show, from 1, of a file with several.
    volume: Option<u64>,
}

/// Gives the case to the session and describes it.
pub(super) async fn open(
    State(app): State<Arc<App>>,
    Path(case): Path<String>,
    headers: HeaderMap,
    Json(opening): Json<Opening>,
) -> ApiResult {
    let session = require_session(&app, &headers)?;
    if app.catalog.get(&case).is_none() {
        return Err(ApiError::missing("there is no such case"));
    }
    let holder = app.sessions.holder(&case);
    app.sessions.take(&session, &case, opening.take_over)?;
    if let Some(holder) = holder.filter(|holder| *holder != session) {
        let value = json!({ "case": case });
        app.events.send_to_session("taken", &holder, &value);
    }
    if let Some(volume) = opening.volume {
        app.desk.choose_volume(&case, volume)?;
    }
    let open = app.case(&case).await?;
    let lists = Arc::clone(&app);
    app.change(&open, move |open, store| {
        if store.is_untouched() {
            store.seed(first_structures(&open.labels(&lists.labels)))?;
        } else {
            let structures = store.annotation().structures();
            lists.labels.begin(open.source(), structures)?;
        }
        Ok(())
    })
    .await?;
    describe(&app, open).await
}

pub(super) async fn details(State(app): State<Arc<App>>, Path(case): Path<String>) -> ApiResult {
    let open = app.case(&case).await?;
    describe(&app, open).await
}

async fn describe(app: &Arc<App>, open: Arc<OpenCase>) -> ApiResult {
    // Counting voxels takes a while for large volumes.
    let lists = Arc::clone(app);
    let description = app.change(&open, move |open, store| {
        Ok(description(open, store.annotation(), &lists.labels))
    });
    Ok(respond::json(&description.await?))
}

/// The structures of the list, or one to begin with.
pub(super) fn first_structures(list: &[Label]) -> Vec<Structure> {
    if list.is_empty() {
        return vec![Structure {
            id: 1,
            name: "structure 1".to_owned(),
            colour: palette::colour(1).to_owned(),
        }];
    }
    list.iter().map(Label::structure).collect()
}

/// The structures of a case for the page, with the digits that choose them.
pub(super) fn listed(open: &OpenCase, annotation: &Annotation, lists: &LabelLists) -> Value {
    let structures = annotation.structures();
    let keys = keys(structures, &open.labels(lists));
    let structure = |(s, key): (&Structure, Option<u8>)| {
        let Structure { id, name, colour } = s;
        let voxels = annotation.voxels(*id);
        json!({ "id": id, "name": name, "colour": colour, "key": key, "voxels": voxels })
    };
    structures.iter().zip(keys).map(structure).collect()
}

/// Adds what each structure covers: voxels, and by plane the slices with a mask and those a person has worked on.
fn covered(annotation: &Annotation, structures: &mut Value) {
    let (extents, by_hand) = (annotation.extents(), annotation.by_hand());
    let by_plane = |slices: [Vec<usize>; 3]| -> Value {
        let planes = PlaneName::ALL.iter().zip(slices);
        planes
            .map(|(plane, slices)| (plane.to_string(), json!(slices)))
            .collect::<serde_json::Map<_, _>>()
            .into()
    };
    for structure in structures.as_array_mut().into_iter().flatten() {
        let id = structure["id"].as_u64().unwrap_or_default() as u16;
        let (_, slices) = extents.get(&id).cloned().unwrap_or_default();
        structure["slices"] = by_plane(slices);
        structure["by_hand"] = by_plane(by_hand.get(&id).cloned().unwrap_or_default());
    }
}

fn description(open: &OpenCase, annotation: &Annotation, lists: &LabelLists) -> Value {
    let study = &open.study;
    let mut structures = listed(open, annotation, lists);
    covered(annotation, &mut structures);
    let [undo, redo] = annotation.next_steps();
    json!({
        "id": open.case.id,
        "name": open.case.name,
        "state": annotation.progress(),
        "note": note(open, lists),
        "propagating": open.is_propagating(),
        "volumes": study.volumes(),
        "picture": study.is_picture(),
        "colour": study.is_colour(),
        "modality": open.modality(),
        "hounsfield": open.is_hounsfield(),
        "window": study.window(),
        "own_window": study.own_window(),
        "own_numbers": study.own_numbers(),
        "scale": study.scale(),
        "planes": study.planes(),
        "in_mm": study.has_spacing(),
        "patient_from_voxel": study.patient_from_voxel(),
        "axes": study.axes(),
        "revision": annotation.revision(),
        "undo": undo,
        "redo": redo,
        "structures": structures,
        "labels": open.labels(lists),
        "reference": open.reference().map(|reference| reference.labels()),
        "formats": export::formats_for(study),
    })
}

/// A remark for whoever opens the case.
fn note(open: &OpenCase, lists: &LabelLists) -> Option<String> {
    let volumes = open.study.volumes().map(|volumes| {
        format!(
            "the file holds {} volumes; the annotation is one for all of them",
            volumes.count
        )
    });
    let all = open.notes().iter().chain(lists.notes()).cloned();
    let notes: Vec<String> = all.chain(volumes).collect();
    (!notes.is_empty()).then(|| notes.join("; "))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NextState {
    state: Progress,
}

/// Says that a case is done, or not; a case that is done has its label file written.
pub(super) async fn set_state(
    State(app): State<Arc<App>>,
    Path(case): Path<String>,
    headers: HeaderMap,
    Json(next): Json<NextState>,
) -> ApiResult {
    let open = app.case_to_change(&case, &headers).await?;
    let (labels, lists) = (app.folders.labels.clone(), Arc::clone(&app));
    let file = app
        .change(&open, move |open, store| {
            store.set_progress(next.state)?;
            if next.state == Progress::Done {
                let annotation = open.for_files(store.annotation(), &lists.labels)?;
                let path = export::write_labels(&labels, open, &annotation)?;
                return Ok(Some(path));
            }
            Ok(None)
        })
        .await?;
    Ok(respond::json(&json!({ "state": next.state, "file": file })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Spent {
    seconds: f64,
}

/// Adds to the time that people have spent on a case.
pub(super) async fn add_time(
    State(app): State<Arc<App>>,
    Path(case): Path<String>,
    headers: HeaderMap,
    Json(spent): Json<Spent>,
) -> ApiResult {
    require_session(&app, &headers)?;
    if !(0.0..=MOST_SECONDS).contains(&spent.seconds) {
        return Err(ApiError::bad(format!(
            "seconds: 0 to {MOST_SECONDS} expected"
        )));
    }
    if app.catalog.get(&case).is_none() {
        return Err(ApiError::missing("there is no such case"));
    }
    let catalog = Arc::clone(&app);
    let work = tokio::task::spawn_blocking(move || catalog.catalog.add_time(&case, spent.seconds));
    let seconds = work.await.context("the time was not noted")??;
    Ok(respond::json(&json!({ "seconds": seconds })))
}
