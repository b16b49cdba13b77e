//! nnInteractive's remote protocol, as its client (`nninteractive-client` 2.5 and 2.6) speaks it.
//!
//! A client claims a lease and shows its token with every request. Arrays travel as [`nnia`](super::nnia) with their
//! metadata in the header `X-Meta`; a prediction answers with the part of the mask that has changed. Differs from
//! nnInteractive's own server: a prompt is answered on its slice and carried from slice to slice, `do_autozoom` says
//! whether it is carried at all, and more than one interaction can be undone.

mod arrays;

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::Response;
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::json;

use super::interaction::Interaction;
use super::leases::NNINTERACTIVE;
use super::nnia::pack_bytes;
use super::reply::{Empty, Reply};
use super::session::{Action, Outcome};
use super::{OPEN_PATH, Turn, Viewers};
use crate::error::ApiError;
use crate::respond::{self, Json};

const LEASE_HEADER: &str = "x-lease-token";
const META_HEADER: HeaderName = HeaderName::from_static("x-meta");
const OCTETS: &str = "application/octet-stream";
/// Version of nnInteractive whose protocol this is; clients show it.
const PROTOCOL_VERSION: &str = "2.6.0";
/// Thickness in voxels with which viewers draw scribbles.
const SCRIBBLE_THICKNESS: [u32; 3] = [2; 3];
/// Licence of the built-in model. Weights that a user brings keep theirs, which the files do not say.
const OWN_LICENCE: &str = "MIT OR Apache-2.0";
const OTHER_LICENCE: &str = "as stated by the model's authors";

/// All paths.
pub(super) const PATHS: [&str; 17] = [
    OPEN_PATH,
    "/capabilities",
    "/claim",
    "/release",
    "/heartbeat",
    "/lease_status",
    "/set_image",
    "/set_target_buffer",
    "/reset_interactions",
    "/undo",
    "/predict",
    "/set_do_autozoom",
    "/add_bbox_interaction",
    "/add_point_interaction",
    "/add_scribble_interaction",
    "/add_lasso_interaction",
    "/add_initial_seg_interaction",
];

pub(super) fn router() -> Router<Arc<Viewers>> {
    Router::new()
        .route(OPEN_PATH, get(healthz))
        .route("/capabilities", get(capabilities))
        .route("/claim", post(claim))
        .route("/release", post(release))
        .route("/heartbeat", post(heartbeat))
        .route("/lease_status", get(lease_status))
        .route("/set_image", post(arrays::set_image))
        .route("/set_target_buffer", post(set_target_buffer))
        .route("/reset_interactions", post(reset_interactions))
        .route("/undo", post(undo))
        .route("/predict", post(predict))
        .route("/set_do_autozoom", post(set_do_autozoom))
        .route("/add_bbox_interaction", post(add_bbox))
        .route("/add_point_interaction", post(add_point))
        .route("/add_scribble_interaction", post(arrays::add_scribble))
        .route("/add_lasso_interaction", post(arrays::add_lasso))
        .route(
            "/add_initial_seg_interaction",
            post(arrays::add_initial_seg),
        )
}

type Shared = State<Arc<Viewers>>;

async fn healthz() -> Response {
    respond::json(&json!({ "ok": true }))
}

async fn capabilities(State(viewers): Shared) -> Response {
    let model = &viewers.app.model;
    let licence = if model.path.is_none() {
        OWN_LICENCE
    } else {
        OTHER_LICENCE
    };
    respond::json(&json!({
        "supported_interactions": {
            "points": true, "bbox2d": true, "bbox3d": false, "scribble": true, "lasso": true,
        },
        "channel_mapping": {
            "prev_seg": 0, "bbox2d": [1, 2], "bbox3d": [1, 2], "lasso": [1, 2], "points": [3, 4], "scribble": [5, 6],
        },
        "num_interaction_channels": 7,
        "supports_initial_label": true,
        "supports_zero_shot_label_refinement": false,
        "preferred_scribble_thickness": SCRIBBLE_THICKNESS,
        "interaction_decay": null,
        "patch_size": [1, model.image_size, model.image_size],
        "do_autozoom": true,
        "inference_session_version": PROTOCOL_VERSION,
        "license": licence,
        "supports_undo": true,
        "server": format!("synthfm {}", crate::VERSION),
    }))
}

async fn claim(State(viewers): Shared, _: Empty) -> Reply {
    let token = viewers.leases.claim(NNINTERACTIVE)?;
    Ok(respond::json(&json!({
        "lease_token": token,
        "idle_timeout_seconds": NNINTERACTIVE.idle.as_secs_f64(),
        "liveness_timeout_seconds": NNINTERACTIVE.liveness.map(|time| time.as_secs_f64()),
        "max_sessions": viewers.leases.most(),
    })))
}

async fn release(State(viewers): Shared, headers: HeaderMap, _: Empty) -> Response {
    viewers.leases.release(token(&headers));
    respond::json(&json!({ "released": true }))
}

async fn heartbeat(State(viewers): Shared, headers: HeaderMap, _: Empty) -> Reply {
    let lease = viewers.leases.get(token(&headers))?;
    let remaining = lease.remaining().as_secs_f64();
    Ok(respond::json(&json!({ "remaining_seconds": remaining })))
}

async fn lease_status(State(viewers): Shared, headers: HeaderMap) -> Reply {
    let lease = viewers.leases.peek(token(&headers))?;
    Ok(respond::json(&json!({
        "remaining_seconds": lease.remaining().as_secs_f64(),
        "idle_timeout_seconds": NNINTERACTIVE.idle.as_secs_f64(),
    })))
}

fn token(headers: &HeaderMap) -> Option<&str> {
    headers.get(LEASE_HEADER)?.to_str().ok()
}

impl Viewers {
    async fn prompt(&self, turn: Turn, prompt: Interaction, answer: bool) -> Reply {
        let (outcome, _) = self.act(turn, Action::Add { prompt, answer }).await?;
        Ok(changes(outcome))
    }
}

/// The answer to a prediction or undo: the part of the mask that has changed, and where it lies.
fn changes(outcome: Outcome) -> Response {
    let (meta, body) = match outcome.changed {
        Some((range, voxels)) => {
            let shape = range.map(|[from, to]| to - from);
            let meta = json!({
                "ran_prediction": outcome.done, "bbox": range, "dtype": "uint8", "shape": shape,
            });
            (meta, pack_bytes(shape, &voxels))
        }
        None => (
            json!({ "ran_prediction": outcome.done, "bbox": null }),
            Vec::new(),
        ),
    };
    let mut response = respond::bytes(OCTETS, body);
    if let Ok(meta) = HeaderValue::from_str(&meta.to_string()) {
        response.headers_mut().insert(META_HEADER, meta);
    }
    response
}

#[derive(Deserialize)]
struct BufferRequest {
    shape: Vec<usize>,
    dtype: String,
}

async fn set_target_buffer(
    State(viewers): Shared,
    headers: HeaderMap,
    asked: Result<Json<BufferRequest>, ApiError>,
) -> Reply {
    let Json(BufferRequest { shape, dtype }) = asked?;
    let whole_numbers = dtype == "bool" || dtype.starts_with("int") || dtype.starts_with("uint");
    if !whole_numbers {
        let message = "the buffer must hold whole numbers or bool";
        return Err(ApiError::bad(message).into());
    }
    let mut turn = viewers.turn(token(&headers)).await?;
    let expected = turn.session.shape()?;
    if shape != expected {
        let message = format!("a buffer of {shape:?} for an image of {expected:?}");
        return Err(ApiError::bad(message).into());
    }
    // The client's buffer is a new one: what is in it is told from here on.
    turn.session.reset();
    Ok(respond::json(&json!({})))
}

#[derive(Deserialize)]
struct AutozoomRequest {
    do_autozoom: bool,
}

async fn set_do_autozoom(
    State(viewers): Shared,
    headers: HeaderMap,
    asked: Result<Json<AutozoomRequest>, ApiError>,
) -> Reply {
    let carry = asked?.0.do_autozoom;
    viewers
        .turn(token(&headers))
        .await?
        .session
        .set_carry(carry);
    Ok(respond::json(&json!({})))
}

async fn reset_interactions(State(viewers): Shared, headers: HeaderMap, _: Empty) -> Reply {
    viewers.turn(token(&headers)).await?.session.reset();
    Ok(respond::json(&json!({})))
}

async fn undo(State(viewers): Shared, headers: HeaderMap, _: Empty) -> Reply {
    let turn = viewers.turn(token(&headers)).await?;
    Ok(changes(viewers.act(turn, Action::Undo).await?.0))
}

async fn predict(State(viewers): Shared, headers: HeaderMap, _: Empty) -> Reply {
    let turn = viewers.turn(token(&headers)).await?;
    Ok(changes(viewers.act(turn, Action::Answer).await?.0))
}

const fn yes() -> bool {
    true
}

#[derive(Deserialize)]
struct PointRequest {
    coordinates: [f64; 3],
    include_interaction: bool,
    #[serde(default = "yes")]
    run_prediction: bool,
}

async fn add_point(
    State(viewers): Shared,
    headers: HeaderMap,
    asked: Result<Json<PointRequest>, ApiError>,
) -> Reply {
    let Json(asked) = asked?;
    let prompt = Interaction::Point {
        at: asked.coordinates.map(|v| v.round_ties_even() as i64),
        include: asked.include_interaction,
    };
    let turn = viewers.turn(token(&headers)).await?;
    viewers.prompt(turn, prompt, asked.run_prediction).await
}

#[derive(Deserialize)]
struct BoxRequest {
    bbox_coords: [[f64; 2]; 3],
    include_interaction: bool,
    #[serde(default = "yes")]
    run_prediction: bool,
}

async fn add_bbox(
    State(viewers): Shared,
    headers: HeaderMap,
    asked: Result<Json<BoxRequest>, ApiError>,
) -> Reply {
    let Json(asked) = asked?;
    let whole = |v: f64| v.round_ties_even() as i64;
    let prompt = Interaction::Box {
        range: asked.bbox_coords.map(|range| range.map(whole)),
        include: asked.include_interaction,
    };
    let turn = viewers.turn(token(&headers)).await?;
    viewers.prompt(turn, prompt, asked.run_prediction).await
}
