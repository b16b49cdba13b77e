//! The annotator's interface for pages and programs; `page/openapi.json` describes it.

mod cases;
mod dataset;
mod edits;
mod files;
mod fill;
mod predict;
mod propagate;
mod slices;
mod structures;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, delete, get, post, put};
use serde::Deserialize;
use serde_json::json;
use synthfm_image::Window;

use super::app::{App, session_of};
use super::error::{ApiError, ApiResult};
use super::respond;
use super::sessions::LEASE;
use crate::VERSION;

pub(super) use files::remove_leftovers;

/// Every path with what it does, for the router and for the test of the description.
fn routes() -> Vec<(&'static str, MethodRouter<Arc<App>>)> {
    vec![
        ("/api/info", get(info)),
        ("/api/openapi.json", get(openapi)),
        ("/api/sessions", post(create_session)),
        (
            "/api/sessions/{session}",
            delete(end_session).post(renew_session),
        ),
        ("/api/events", get(events)),
        ("/api/cases", get(cases::list)),
        ("/api/cases/{case}", get(cases::details)),
        ("/api/cases/{case}/open", post(cases::open)),
        ("/api/cases/{case}/state", post(cases::set_state)),
        ("/api/cases/{case}/structures", put(structures::structures)),
        ("/api/cases/{case}/slice", get(slices::slice)),
        ("/api/cases/{case}/masks", get(slices::masks)),
        ("/api/cases/{case}/encode", post(slices::encode)),
        ("/api/cases/{case}/predict", post(predict::predict)),
        ("/api/cases/{case}/edit", post(edits::edit)),
        ("/api/cases/{case}/clear", post(edits::clear)),
        ("/api/cases/{case}/interpolate", post(fill::interpolate)),
        ("/api/cases/{case}/copy", post(fill::copy)),
        ("/api/cases/{case}/undo", post(edits::undo)),
        ("/api/cases/{case}/redo", post(edits::redo)),
        (
            "/api/cases/{case}/propagate",
            post(propagate::start).delete(propagate::stop),
        ),
        ("/api/cases/{case}/scores", get(slices::scores)),
        (
            "/api/cases/{case}/reference",
            get(slices::reference).put(files::reference),
        ),
        ("/api/cases/{case}/surface", get(slices::surface)),
        ("/api/cases/{case}/export", get(files::export)),
        ("/api/cases/{case}/time", post(cases::add_time)),
        ("/api/export", get(dataset::export_all)),
        ("/api/uploads", put(files::upload)),
    ]
}

/// The routes of the annotator.
pub(super) fn router(app: Arc<App>) -> Router {
    let mut router = Router::new();
    for (path, handlers) in routes() {
        router = router.route(path, handlers.fallback(wrong_method));
    }
    router.with_state(app)
}

async fn wrong_method() -> ApiError {
    ApiError::new(
        axum::http::StatusCode::METHOD_NOT_ALLOWED,
        "bad_request",
        "this address takes other methods; /api/openapi.json lists them",
    )
}

async fn openapi() -> Response {
    respond::bytes("application/json", include_str!("../page/openapi.json"))
}

async fn info(State(app): State<Arc<App>>) -> Response {
    let windows: Vec<_> = Window::NAMED
        .iter()
        .map(|(name, width, level)| json!({ "name": name, "width": width, "level": level }))
        .collect();
    respond::json(&json!({
        "synthfm": VERSION,
        "title": app.title,
        "model": { "name": app.model.name, "sha256": app.model.sha256, "image_size": app.model.image_size },
        "encode_ms": app.engine.expected_ms(),
        "windows": windows,
        "max_file_bytes": app.max_file_bytes,
        "labels_folder": app.folders.labels,
        "cases": app.catalog.len(),
        "open_cases": app.desk.len(),
        "sessions": app.sessions.len(),
        "notice": "For research use only. Not a medical device: do not use it for diagnosis or treatment.",
    }))
}

async fn create_session(State(app): State<Arc<App>>) -> ApiResult {
    let session = app.sessions.create()?;
    Ok(respond::json(
        &json!({ "session": session, "lease_s": LEASE.as_secs() }),
    ))
}

async fn renew_session(State(app): State<Arc<App>>, Path(session): Path<String>) -> ApiResult {
    app.sessions.renew(&session)?;
    Ok(respond::json(&json!({ "lease_s": LEASE.as_secs() })))
}

async fn end_session(State(app): State<Arc<App>>, Path(session): Path<String>) -> Response {
    app.sessions.end(&session);
    respond::json(&json!({}))
}

#[derive(Deserialize)]
struct Listening {
    session: String,
}

async fn events(State(app): State<Arc<App>>, query: Parameters<Listening>) -> ApiResult {
    let session = query.0.session;
    app.sessions.renew(&session)?;
    let (sessions, stopped) = (Arc::clone(&app.sessions), app.stopped.clone());
    Ok(app
        .events
        .stream(session, sessions, stopped)
        .into_response())
}

/// The parameters of an address, with our own words where they are wrong.
struct Parameters<T>(T);

impl<T: serde::de::DeserializeOwned, S: Send + Sync> axum::extract::FromRequestParts<S>
    for Parameters<T>
{
    type Rejection = ApiError;

    async fn from_request_parts(
        parts: &mut axum::http::request::Parts,
        _: &S,
    ) -> Result<Self, ApiError> {
        match Query::try_from_uri(&parts.uri) {
            Ok(Query(value)) => Ok(Self(value)),
            Err(error) => Err(ApiError::bad(format!(
                "the parameters of the address: {error}"
            ))),
        }
    }
}

/// Checks that a request comes from a session, and names it.
fn require_session(app: &App, headers: &HeaderMap) -> ApiResult<String> {
    let session = session_of(headers)?;
    app.sessions.renew(session)?;
    Ok(session.to_owned())
}

/// A problem of the request in words.
fn bad(problem: impl std::fmt::Display) -> ApiError {
    ApiError::bad(problem.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_is_described_and_no_other() {
        let description: serde_json::Value =
            serde_json::from_str(include_str!("../page/openapi.json")).unwrap();
        let described: Vec<&String> = description["paths"].as_object().unwrap().keys().collect();
        let mut known: Vec<&str> = routes().iter().map(|(path, _)| *path).collect();
        known.sort_unstable();
        let mut described: Vec<&str> = described.into_iter().map(String::as_str).collect();
        described.sort_unstable();
        assert_eq!(described, known);
    }
}
