//! nnInteractive's remote protocol, as its client (`nninteractive-client` 2.5 and 2.6) speaks it.
//!
//! A client claims a lease and shows its token with every request. Arrays travel as [`nnia`](super::nnia) with their
//! metadata in the header `X-Meta`; a prediction answers with the part of the mask that has changed. Differs from
//! nnInteractive's own server: a prompt is answered on its slice and carried from slice to slice, `do_autozoom` says
//! whether it is carried at all, and more than one interaction can be undone.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::interaction::{Interaction, Region};
use super::leases::NNINTERACTIVE;
use super::nnia::{ArrayError, PackedArray, pack_bytes};
use super::reply::{Empty, Refusal, Reply, unheard, whole};
use super::scan::{Range3, Scan};
use super::session::{Action, Outcome};
use super::{OPEN_PATH, Turn, Viewers};
use crate::error::{ApiError, ApiResult};
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
        .route("/set_image", post(set_image))
        .route("/set_target_buffer", post(set_target_buffer))
        .route("/reset_interactions", post(reset_interactions))
        .route("/undo", post(undo))
        .route("/predict", post(predict))
        .route("/set_do_autozoom", post(set_do_autozoom))
        .route("/add_bbox_interaction", post(add_bbox))
        .route("/add_point_interaction", post(add_point))
        .route("/add_scribble_interaction", post(add_scribble))
        .route("/add_lasso_interaction", post(add_lasso))
        .route("/add_initial_seg_interaction", post(add_initial_seg))
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

/// The metadata of a request with an array.
fn meta<T: DeserializeOwned>(headers: &HeaderMap) -> ApiResult<T> {
    let text = headers
        .get(META_HEADER)
        .map_or("{}", |value| value.to_str().unwrap_or("not text"));
    serde_json::from_str(text)
        .map_err(|error| ApiError::bad(format!("X-Meta is not what is expected: {error}")))
}

#[derive(Deserialize)]
struct ImageMeta {
    #[serde(default)]
    image_properties: Option<ImageProperties>,
}

#[derive(Deserialize, Default)]
struct ImageProperties {
    /// Anything else than three distances is as good as none.
    #[serde(default)]
    spacing: Option<Value>,
}

impl ImageMeta {
    fn spacing(&self) -> [f64; 3] {
        let spacing = self
            .image_properties
            .as_ref()
            .and_then(|p| p.spacing.clone());
        let spacing: Option<[f64; 3]> =
            spacing.and_then(|value| serde_json::from_value(value).ok());
        let usable = |spacing: &[f64; 3]| spacing.iter().all(|v| v.is_finite() && *v > 0.0);
        spacing.filter(usable).unwrap_or([1.0; 3])
    }
}

async fn set_image(State(viewers): Shared, headers: HeaderMap, body: Body) -> Response {
    match viewers.turn(token(&headers)).await {
        Ok(turn) => match open_image(&viewers, turn, &headers, body).await {
            Ok(response) => response,
            Err(refusal) => refusal.into_response(),
        },
        Err(error) => unheard(&headers, body, error.into()).await,
    }
}

async fn open_image(viewers: &Viewers, mut turn: Turn, headers: &HeaderMap, body: Body) -> Reply {
    let bytes = whole(headers, body, viewers.app.max_file_bytes).await?;
    let spacing = meta::<ImageMeta>(headers)?.spacing();
    let most = viewers.max_elements();
    let bytes = checked(bytes, most)?;
    turn.session.close();
    let app = Arc::clone(&viewers.app);
    let read = viewers.read(move || {
        let array = parse(&bytes, most)?;
        let shape = image_shape(&array)?;
        let values = array.unpack(|value| value)?;
        drop(bytes);
        Scan::new(&app, shape, spacing, values)
    });
    let scan = read.await?;
    let [a, b, c] = scan.shape();
    turn.session.open(scan);
    Ok(respond::json(
        &json!({ "original_image_shape": [1, a, b, c] }),
    ))
}

fn parse(bytes: &[u8], most: usize) -> ApiResult<PackedArray<'_>> {
    Ok(PackedArray::parse(bytes, most)?)
}

/// Refuses what is no image before the image of before is let go.
fn checked(bytes: Vec<u8>, most: usize) -> ApiResult<Vec<u8>> {
    image_shape(&parse(&bytes, most)?)?;
    Ok(bytes)
}

fn image_shape(array: &PackedArray<'_>) -> ApiResult<[usize; 3]> {
    match *array.shape() {
        [1, a, b, c] => Ok([a, b, c]),
        ref other => Err(ApiError::bad(format!(
            "an image of one channel, [1, X, Y, Z], is expected, got {other:?}"
        ))),
    }
}

impl From<ArrayError> for ApiError {
    fn from(error: ArrayError) -> Self {
        Self::bad(error.to_string())
    }
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

#[derive(Deserialize)]
struct DrawnMeta {
    include_interaction: bool,
    #[serde(default = "yes")]
    run_prediction: bool,
    #[serde(default)]
    interaction_bbox: Option<Range3>,
}

async fn add_scribble(State(viewers): Shared, headers: HeaderMap, body: Body) -> Response {
    add_drawn(&viewers, &headers, body, |drawn, include| {
        Interaction::Scribble { drawn, include }
    })
    .await
}

async fn add_lasso(State(viewers): Shared, headers: HeaderMap, body: Body) -> Response {
    add_drawn(&viewers, &headers, body, |drawn, include| {
        Interaction::Lasso { drawn, include }
    })
    .await
}

async fn add_drawn(
    viewers: &Viewers,
    headers: &HeaderMap,
    body: Body,
    prompt: impl FnOnce(Region, bool) -> Interaction,
) -> Response {
    let turn = match viewers.turn(token(headers)).await {
        Ok(turn) => turn,
        Err(error) => return unheard(headers, body, error.into()).await,
    };
    let added = async {
        let asked: DrawnMeta = meta(headers)?;
        let shape = turn.session.shape()?;
        let range = asked
            .interaction_bbox
            .unwrap_or(shape.map(|length| [0, length]));
        check_range(range, shape)?;
        let size = range.map(|[from, to]| to - from);
        let inside = read_mask(viewers, headers, body, size).await?;
        let drawn = Region { range, inside };
        let prompt = prompt(drawn, asked.include_interaction);
        viewers.prompt(turn, prompt, asked.run_prediction).await
    };
    added.await.unwrap_or_else(Refusal::into_response)
}

fn check_range(range: Range3, shape: [usize; 3]) -> ApiResult<()> {
    let inside = |([from, to], length): (&[usize; 2], &usize)| from < to && to <= length;
    if range.iter().zip(&shape).all(inside) {
        return Ok(());
    }
    Err(ApiError::bad(format!(
        "interaction_bbox {range:?} is empty or lies outside of the image {shape:?}"
    )))
}

/// A mask of exactly that size.
async fn read_mask(
    viewers: &Viewers,
    headers: &HeaderMap,
    body: Body,
    size: [usize; 3],
) -> ApiResult<Vec<bool>> {
    let bytes = whole(headers, body, viewers.app.max_file_bytes).await?;
    let most = viewers.max_elements();
    let read = viewers.read(move || {
        let array = parse(&bytes, most)?;
        if array.shape() != size {
            let shape = array.shape();
            return Err(ApiError::bad(format!(
                "a mask of {shape:?} where {size:?} is expected"
            )));
        }
        Ok(array.unpack(|value| value != 0.0)?)
    });
    read.await
}

async fn add_initial_seg(State(viewers): Shared, headers: HeaderMap, body: Body) -> Response {
    let turn = match viewers.turn(token(&headers)).await {
        Ok(turn) => turn,
        Err(error) => return unheard(&headers, body, error.into()).await,
    };
    let added = async {
        let shape = turn.session.shape()?;
        let mask = read_mask(&viewers, &headers, body, shape).await?;
        // The model cannot refine a whole volume without a prompt: the mask is taken as it is.
        let (outcome, _) = viewers.act(turn, Action::StartFrom { mask }).await?;
        Ok::<_, Refusal>(changes(outcome))
    };
    added.await.unwrap_or_else(Refusal::into_response)
}
