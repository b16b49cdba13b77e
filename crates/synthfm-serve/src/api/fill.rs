//! Changes to slices that nobody has drawn: filled in between others, or copied from a neighbour.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::HeaderMap;
use serde::Deserialize;
use serde_json::json;

use super::bad;
use super::edits::with_voxels;
use super::predict::marked;
use crate::annotation::{Place, PlaneName, SlicePrompts, Step};
use crate::app::App;
use crate::error::{ApiError, ApiResult};
use crate::respond::{self, Json};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Filling {
    structure: u16,
    plane: PlaneName,
}

/// Fills the gaps between the marked slices of a structure.
pub(super) async fn interpolate(
    State(app): State<Arc<App>>,
    Path(case): Path<String>,
    headers: HeaderMap,
    Json(filling): Json<Filling>,
) -> ApiResult {
    let open = app.case_to_change(&case, &headers).await?;
    open.study.check(filling.plane, 0).map_err(bad)?;
    let answer = app.change(&open, move |_, store| {
        let annotation = store.annotation();
        annotation.structure(filling.structure).map_err(bad)?;
        let changes = annotation
            .interpolated(filling.structure, filling.plane)
            .map_err(bad)?;
        let slices = changes.len();
        if slices > 0 {
            store.apply(Step::new("interpolation", changes))?;
        }
        let mut answer = with_voxels(store, filling.structure);
        answer["slices"] = json!(slices);
        Ok(answer)
    });
    Ok(respond::json(&answer.await?))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Copying {
    structure: u16,
    plane: PlaneName,
    index: usize,
    /// The slice that gets the mask.
    to: usize,
    /// Whether a mask goes that was made by hand there.
    #[serde(default)]
    replace: bool,
}

/// Puts the mask of a slice on another one, in place of what is there.
pub(super) async fn copy(
    State(app): State<Arc<App>>,
    Path(case): Path<String>,
    headers: HeaderMap,
    Json(copying): Json<Copying>,
) -> ApiResult {
    let open = app.case_to_change(&case, &headers).await?;
    let Copying {
        structure,
        plane,
        index,
        to,
        replace,
    } = copying;
    for index in [index, to] {
        open.study.check(plane, index).map_err(bad)?;
    }
    let answer = app.change(&open, move |open, store| {
        let from = Place {
            structure,
            plane,
            index,
        };
        store.annotation().structure(structure).map_err(bad)?;
        let place = Place { index: to, ..from };
        let change = store.annotation().copied(from, to).map_err(bad)?;
        let there = store.annotation().prompts(place);
        if !replace && there.is_some_and(SlicePrompts::is_by_hand) {
            return Err(ApiError::conflict(
                "marked",
                format!("slice {to} was marked by hand: say \"replace\": true to put the copy in its place"),
            ));
        }
        store.apply(Step::new("copy", vec![change]))?;
        let annotation = store.annotation();
        let runs = annotation.slice_runs(place)?;
        marked(open, annotation, place, &runs, annotation.prompts(place))
    });
    Ok(respond::json(&answer.await?))
}
