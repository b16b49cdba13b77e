//! Requests that carry an array: the image, scribbles, lassos and initial segmentations.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{META_HEADER, Shared, changes, token, yes};
use crate::error::{ApiError, ApiResult};
use crate::respond;
use crate::viewers::interaction::{Interaction, Region};
use crate::viewers::nnia::{ArrayError, PackedArray};
use crate::viewers::reply::{Refusal, Reply, unheard, whole};
use crate::viewers::scan::{Range3, Scan};
use crate::viewers::session::Action;
use crate::viewers::{Turn, Viewers};

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

pub(super) async fn set_image(State(viewers): Shared, headers: HeaderMap, body: Body) -> Response {
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
struct DrawnMeta {
    include_interaction: bool,
    #[serde(default = "yes")]
    run_prediction: bool,
    #[serde(default)]
    interaction_bbox: Option<Range3>,
}

pub(super) async fn add_scribble(
    State(viewers): Shared,
    headers: HeaderMap,
    body: Body,
) -> Response {
    add_drawn(&viewers, &headers, body, |drawn, include| {
        Interaction::Scribble { drawn, include }
    })
    .await
}

pub(super) async fn add_lasso(State(viewers): Shared, headers: HeaderMap, body: Body) -> Response {
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

pub(super) async fn add_initial_seg(
    State(viewers): Shared,
    headers: HeaderMap,
    body: Body,
) -> Response {
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
