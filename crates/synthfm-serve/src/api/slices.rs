//! One slice: intensities, masks, the reference, and encoding ahead of the first click.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Parameters, bad};
use crate::annotation::{Annotation, Place, PlaneName};
use crate::app::App;
use crate::desk::OpenCase;
use crate::engine::{ImageKey, Urgency};
use crate::error::{ApiError, ApiResult};
use crate::reading::reading;
use crate::respond::{self, Json};
use crate::study::window_or;
use crate::surface::Surface;

/// Slices that are encoded ahead for one request.
const MAX_AHEAD: usize = 4;
/// Where encoding takes longer than this, only slices that are looked at are encoded.
const QUICK_MS: u64 = 2000;

#[derive(Deserialize)]
pub(super) struct At {
    plane: PlaneName,
    index: usize,
}

/// The intensities of a slice.
pub(super) async fn slice(
    State(app): State<Arc<App>>,
    Path(case): Path<String>,
    Parameters(at): Parameters<At>,
) -> ApiResult {
    let open = app.case(&case).await?;
    let turn = Arc::clone(&app.copying_slices).acquire_owned().await;
    let turn = turn.map_err(|_| ApiError::busy("the server is stopping"))?;
    let bytes = reading(turn, move || open.study.slice_bytes(at.plane, at.index)).await;
    let bytes = bytes.map_err(|error| ApiError::failed(&error.into()))?;
    Ok(respond::bytes(
        "application/octet-stream",
        bytes.map_err(bad)?,
    ))
}

/// Replies with everything that is marked on a slice.
pub(super) async fn masks(
    State(app): State<Arc<App>>,
    Path(case): Path<String>,
    Parameters(at): Parameters<At>,
) -> ApiResult {
    let open = app.case(&case).await?;
    open.study.check(at.plane, at.index).map_err(bad)?;
    let answer = app.change(&open, move |_, store| {
        masks_on(store.annotation(), at.plane, at.index)
    });
    Ok(respond::json(&answer.await?))
}

fn masks_on(annotation: &Annotation, plane: PlaneName, index: usize) -> ApiResult<Value> {
    let mut masks = Vec::new();
    for structure in annotation.structures() {
        let place = Place {
            structure: structure.id,
            plane,
            index,
        };
        let runs = annotation.slice_runs(place)?;
        let prompts = annotation.prompts(place);
        if runs.len() > 1 || prompts.is_some() {
            masks.push(json!({ "structure": structure.id, "runs": runs, "prompts": prompts }));
        }
    }
    Ok(json!({ "plane": plane, "index": index, "revision": annotation.revision(), "masks": masks }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Encoding {
    plane: PlaneName,
    index: usize,
    #[serde(default)]
    window: Option<[f32; 2]>,
    /// Slices that may be next.
    #[serde(default)]
    ahead: Vec<usize>,
}

/// Begins to encode the slice that is looked at.
pub(super) async fn encode(
    State(app): State<Arc<App>>,
    Path(case): Path<String>,
    headers: HeaderMap,
    Json(encoding): Json<Encoding>,
) -> ApiResult {
    let open = app.case_to_change(&case, &headers).await?;
    let Encoding {
        plane,
        index,
        window,
        ahead,
    } = encoding;
    open.study.check(plane, index).map_err(bad)?;
    let window = window_or(window, open.study.window()).map_err(bad)?;
    let image = open.image_id();
    let key = |index| ImageKey::new(&image, plane, index, window);
    app.engine.prepare(&key(index), &open.study, Urgency::Now);
    if app.engine.expected_ms() <= QUICK_MS {
        let there = |index: &usize| open.study.check(plane, *index).is_ok();
        for index in ahead.into_iter().filter(there).take(MAX_AHEAD) {
            app.engine.prepare(&key(index), &open.study, Urgency::Ahead);
        }
    }
    Ok(respond::json(&json!({
        "ready": app.engine.is_ready(&key(index)),
        "expected_ms": app.engine.expected_ms(),
    })))
}

#[derive(Deserialize)]
pub(super) struct AtLabel {
    plane: PlaneName,
    index: usize,
    label: u16,
}

/// The reference's mask of a label on a slice.
pub(super) async fn reference(
    State(app): State<Arc<App>>,
    Path(case): Path<String>,
    Parameters(at): Parameters<AtLabel>,
) -> ApiResult {
    let open = app.case(&case).await?;
    open.study.check(at.plane, at.index).map_err(bad)?;
    let Some(reference) = open.reference() else {
        return Err(ApiError::missing("this case has no reference"));
    };
    let runs = reference.slice_runs(at.plane, at.index, at.label)?;
    Ok(respond::json(&json!({ "runs": runs })))
}

#[derive(Deserialize)]
pub(super) struct OfStructure {
    structure: u16,
}

/// The surface of a structure, as triangles.
pub(super) async fn surface(
    State(app): State<Arc<App>>,
    Path(case): Path<String>,
    Parameters(of): Parameters<OfStructure>,
) -> ApiResult {
    let open = app.case(&case).await?;
    let bytes = app.change(&open, move |open, store| {
        let annotation = store.annotation();
        annotation.structure(of.structure).map_err(bad)?;
        let surface = annotation
            .mask(of.structure)
            .map(|bits| Surface::of(bits, open.study.grid()));
        Ok(surface.unwrap_or_default().bytes())
    });
    Ok(respond::bytes("application/octet-stream", bytes.await?))
}

/// Dice of every structure against the reference, over the whole image.
pub(super) async fn scores(
    State(app): State<Arc<App>>,
    Path(case): Path<String>,
) -> ApiResult<Response> {
    let open = app.case(&case).await?;
    let answer = app.change(&open, |open, store| Ok(scores_of(open, store.annotation())));
    Ok(respond::json(&answer.await?))
}

fn scores_of(open: &OpenCase, annotation: &Annotation) -> Value {
    let Some(reference) = open.reference() else {
        return json!({ "scores": [] });
    };
    let score = |structure: &crate::annotation::Structure| {
        let label = reference.label_for(&structure.name, structure.id)?;
        let dice = reference.dice(annotation.mask(structure.id), label);
        Some(json!({ "structure": structure.id, "label": label, "dice": dice }))
    };
    let scores: Vec<Value> = annotation.structures().iter().filter_map(score).collect();
    json!({ "revision": annotation.revision(), "scores": scores })
}
