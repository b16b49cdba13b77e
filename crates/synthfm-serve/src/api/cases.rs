//! The list of cases, and one case as a whole.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::HeaderMap;
use serde::Deserialize;
use serde_json::{Value, json};

use super::require_session;
use crate::annotation::{PlaneName, Progress, Structure};
use crate::app::App;
use crate::desk::OpenCase;
use crate::error::{ApiError, ApiResult};
use crate::export;
use crate::palette;
use crate::reference::manifest_names;
use crate::respond::{self, Json};

pub(super) async fn list(State(app): State<Arc<App>>) -> axum::response::Response {
    respond::json(&json!({ "cases": app.catalog.summaries() }))
}

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
#[derive(Default)]
pub(super) struct Opening {
    take_over: bool,
    /// Of a file with several volumes: the one to show, from 1.
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
    app.sessions.take(&session, &case, opening.take_over)?;
    if let Some(volume) = opening.volume {
        app.desk.choose_volume(&case, volume)?;
    }
    let open = app.case(&case).await?;
    app.change(&open, |open, store| {
        if store.annotation().revision() == 0 && store.annotation().structures().is_empty() {
            store.seed(first_structures(open))?;
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
    let description = app.change(&open, |open, store| {
        Ok(description(open, store.annotation()))
    });
    Ok(respond::json(&description.await?))
}

/// The structures that the data set names, or one to begin with.
fn first_structures(open: &OpenCase) -> Vec<Structure> {
    let names = open.case.file().map(|file| manifest_names(&file));
    let named = names
        .unwrap_or_default()
        .into_iter()
        .take(palette::COLOURS.len());
    let mut structures: Vec<Structure> = named
        .map(|(value, name)| Structure {
            id: value,
            name,
            colour: palette::colour(value).to_owned(),
        })
        .filter(|structure| structure.check().is_ok())
        .collect();
    if structures.is_empty() {
        structures.push(Structure {
            id: 1,
            name: "structure 1".to_owned(),
            colour: palette::colour(1).to_owned(),
        });
    }
    structures
}

fn description(open: &OpenCase, annotation: &crate::annotation::Annotation) -> Value {
    let study = &open.study;
    let extents = annotation.extents();
    let structure = |s: &Structure| {
        let (voxels, slices) = extents.get(&s.id).cloned().unwrap_or_default();
        let slices: serde_json::Map<String, Value> = PlaneName::ALL
            .iter()
            .zip(slices)
            .map(|(plane, slices)| (plane.to_string(), json!(slices)))
            .collect();
        json!({ "id": s.id, "name": s.name, "colour": s.colour, "voxels": voxels, "slices": slices })
    };
    let structures: Vec<Value> = annotation.structures().iter().map(structure).collect();
    let [undo, redo] = annotation.next_steps();
    json!({
        "id": open.case.id,
        "name": open.case.name,
        "state": annotation.progress(),
        "note": note(open),
        "volumes": study.volumes(),
        "picture": study.is_picture(),
        "colour": study.is_colour(),
        "window": study.window(),
        "scale": study.scale(),
        "planes": study.planes(),
        "revision": annotation.revision(),
        "undo": undo,
        "redo": redo,
        "structures": structures,
        "reference": open.reference().map(|reference| reference.labels()),
        "formats": export::formats_for(study),
    })
}

/// What whoever opens the case should know.
fn note(open: &OpenCase) -> Option<String> {
    let volumes = open.study.volumes().map(|volumes| {
        format!(
            "the file holds {} volumes; the annotation is one for all of them",
            volumes.count
        )
    });
    let notes: Vec<String> = open.notes().iter().cloned().chain(volumes).collect();
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
    let labels = app.folders.labels.clone();
    let file = app
        .change(&open, move |open, store| {
            store.set_progress(next.state)?;
            if next.state == Progress::Done {
                let path = export::write_labels(&labels, open, store.annotation())?;
                return Ok(Some(path));
            }
            Ok(None)
        })
        .await?;
    Ok(respond::json(&json!({ "state": next.state, "file": file })))
}
