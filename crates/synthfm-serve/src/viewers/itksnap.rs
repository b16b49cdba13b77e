//! The protocol of ITK-SNAP's deep-learning extensions, as the server of `itksnap-dls` 0.1.6 speaks it.
//!
//! Sessions are named in the path; images and drawings come as gzip of 32-bit floating-point numbers in a form; an answer
//! is the mask over the whole image, as base64 of gzip. ITK-SNAP counts axes from the fastest in memory, as (x, y, z).

use std::io::{Read, Write};
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde::Deserialize;
use serde_json::json;

use super::interaction::{Interaction, Region};
use super::leases::ITKSNAP;
use super::reply::{Refusal, Reply, unheard, whole};
use super::scan::Scan;
use super::session::Action;
use super::{Turn, Viewers, multipart};
use crate::error::{ApiError, ApiResult};
use crate::respond;

/// Name of the model. ITK-SNAP offers models by name; its first version knows none but nnInteractive.
const MODEL: &str = "synthfm";
const NNINTERACTIVE: &str = "nnInteractive";
/// First parts of all paths, behind which a session follows.
const STEMS: [&str; 9] = [
    "/start_session",
    "/upload_raw",
    "/process_point_interaction",
    "/process_scribble_interaction",
    "/process_lasso_interaction",
    "/reset_interactions",
    "/end_session",
    "/status",
    "/v2",
];

/// Whether a path belongs to this protocol.
pub(super) fn is_endpoint(path: &str) -> bool {
    STEMS.iter().any(|stem| {
        let rest = path.strip_prefix(stem);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    })
}

pub(super) fn router() -> Router<Arc<Viewers>> {
    Router::new()
        .route("/status", get(status))
        .route("/v2/models", get(models))
        .route("/start_session", get(start))
        .route("/v2/start_session/{model}", get(start_with))
        .route("/upload_raw/{id}", post(upload))
        .route("/v2/upload_raw/{id}", post(upload))
        .route("/process_point_interaction/{id}", get(point))
        .route("/v2/process_point_interaction/{id}", get(point))
        .route("/process_scribble_interaction/{id}", post(scribble))
        .route("/process_lasso_interaction/{id}", post(lasso))
        .route("/reset_interactions/{id}", get(reset))
        .route("/v2/reset_interactions/{id}", get(reset))
        .route("/end_session/{id}", get(end))
        .route("/v2/end_session/{id}", get(end))
}

type Shared = State<Arc<Viewers>>;

async fn status() -> Response {
    respond::json(&json!({ "status": "ok", "version": crate::VERSION }))
}

async fn models() -> Response {
    let model = |id| {
        json!({
            "id": id, "channels": [1], "dimensions": 3, "interactions": ["point", "scribble", "lasso"],
        })
    };
    respond::json(&json!({ "models": [model(MODEL)] }))
}

async fn start(State(viewers): Shared) -> Reply {
    let id = viewers.leases.claim(ITKSNAP)?;
    Ok(respond::json(&json!({ "session_id": id })))
}

async fn start_with(State(viewers): Shared, Path(model): Path<String>) -> Reply {
    if model == MODEL || model == NNINTERACTIVE {
        return start(State(viewers)).await;
    }
    Err(ApiError::missing(format!("there is no model of this name; {MODEL} is one")).into())
}

/// ITK-SNAP's description of the numbers that it sends.
#[derive(Debug, Deserialize)]
struct Metadata {
    /// x, y and z.
    dimensions: [usize; 3],
    components_per_pixel: usize,
}

impl Metadata {
    /// Lengths of the axes of the array, the last one the fastest in memory.
    fn shape(&self) -> [usize; 3] {
        let [x, y, z] = self.dimensions;
        [z, y, x]
    }
}

/// Reads the numbers of a form: their metadata, then as many numbers as it says.
async fn numbers<T: Send + 'static>(
    viewers: &Viewers,
    headers: &HeaderMap,
    body: Body,
    convert: impl Fn(f32) -> T + Send + 'static,
) -> ApiResult<(Metadata, Vec<T>)> {
    let boundary = multipart::boundary(headers)?;
    let body = whole(headers, body, viewers.app.max_file_bytes).await?;
    let most = viewers.max_elements();
    let read = viewers.read(move || {
        let [file, text] = multipart::fields(&body, &boundary, ["file", "metadata"])?;
        let metadata: Metadata = serde_json::from_slice(text)
            .map_err(|error| ApiError::bad(format!("the metadata: {error}")))?;
        if metadata.components_per_pixel != 1 {
            return Err(ApiError::bad("images of one component are taken"));
        }
        let [x, y, z] = metadata.dimensions;
        let count = x.checked_mul(y).and_then(|n| n.checked_mul(z));
        let count = count.filter(|count| (1..=most).contains(count));
        let count = count.ok_or_else(|| {
            ApiError::too_large(format!("{x} x {y} x {z} voxels; up to {most} are taken"))
        })?;
        Ok((metadata, unpacked(file, count, convert)?))
    });
    read.await
}

/// Exactly `count` numbers of a gzip file.
fn unpacked<T>(file: &[u8], count: usize, convert: impl Fn(f32) -> T) -> ApiResult<Vec<T>> {
    let mut packed = GzDecoder::new(file);
    let mut values = Vec::with_capacity(count.min(file.len()));
    let mut bytes = vec![0; 1 << 16];
    let wrong = || ApiError::bad(format!("the file does not hold {count} numbers of 32 bits"));
    while values.len() < count {
        let part = &mut bytes[..(4 * (count - values.len())).min(1 << 16)];
        packed.read_exact(part).map_err(|_| wrong())?;
        let (numbers, _) = part.as_chunks::<4>();
        values.extend(
            numbers
                .iter()
                .map(|number| convert(f32::from_le_bytes(*number))),
        );
    }
    match packed.read(&mut [0]) {
        Ok(0) => Ok(values),
        _ => Err(wrong()),
    }
}

async fn upload(
    State(viewers): Shared,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let mut turn = match viewers.turn(Some(&id)).await {
        Ok(turn) => turn,
        Err(error) => return unheard(&headers, body, error.into()).await,
    };
    let opened = async {
        let (metadata, values) = numbers(&viewers, &headers, body, |value| value).await?;
        turn.session.close();
        let app = Arc::clone(&viewers.app);
        // ITK-SNAP sends no spacing.
        let open = viewers.read(move || Scan::new(&app, metadata.shape(), [1.0; 3], values));
        turn.session.open(open.await?);
        Ok::<_, Refusal>(respond::json(&json!({ "message": "the image is open" })))
    };
    opened.await.unwrap_or_else(Refusal::into_response)
}

/// The parameters of a point: `x`, `y`, `z`, or `point` again and again, and `foreground`.
#[derive(Debug, Default, PartialEq)]
struct Query {
    point: Vec<i64>,
    foreground: bool,
}

impl Query {
    fn parse(text: Option<String>) -> ApiResult<Self> {
        let mut query = Self::default();
        let [mut x, mut y, mut z] = [None; 3];
        for pair in text.unwrap_or_default().split('&') {
            let Some((name, value)) = pair.split_once('=') else {
                continue;
            };
            let number = || {
                let number = value.parse::<i64>();
                number.map_err(|_| ApiError::bad(format!("{name}: a whole number is expected")))
            };
            match name {
                "x" => x = Some(number()?),
                "y" => y = Some(number()?),
                "z" => z = Some(number()?),
                "point" => query.point.push(number()?),
                "foreground" => {
                    let value = value.to_ascii_lowercase();
                    query.foreground = matches!(value.as_str(), "true" | "1" | "yes" | "on");
                }
                _ => {}
            }
        }
        if let (Some(x), Some(y), Some(z)) = (x, y, z) {
            query.point = vec![x, y, z];
        }
        Ok(query)
    }
}

async fn point(State(viewers): Shared, Path(id): Path<String>, RawQuery(query): RawQuery) -> Reply {
    let Query { point, foreground } = Query::parse(query)?;
    let &[x, y, z] = point.as_slice() else {
        return Err(ApiError::bad("a point of three whole numbers is expected").into());
    };
    let prompt = Interaction::Point {
        at: [z, y, x],
        include: foreground,
    };
    answer(&viewers, viewers.turn(Some(&id)).await?, prompt).await
}

/// Adds a prompt; the answer is the mask over the whole image.
async fn answer(viewers: &Viewers, turn: Turn, prompt: Interaction) -> Reply {
    let answer = true;
    let action = Action::Add { prompt, answer };
    let (_, session) = viewers.act(turn, action).await?;
    let packed = viewers.read(move || {
        let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
        packed
            .write_all(session.mask()?)
            .map_err(anyhow::Error::from)?;
        Ok(packed.finish().map_err(anyhow::Error::from)?)
    });
    let result = STANDARD.encode(packed.await?);
    Ok(respond::json(
        &json!({ "status": "success", "result": result }),
    ))
}

async fn scribble(
    state: Shared,
    id: Path<String>,
    query: RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let prompt = |drawn, include| Interaction::Scribble { drawn, include };
    drawn(state, id, query, headers, body, prompt).await
}

async fn lasso(
    state: Shared,
    id: Path<String>,
    query: RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let prompt = |drawn, include| Interaction::Lasso { drawn, include };
    drawn(state, id, query, headers, body, prompt).await
}

async fn drawn(
    State(viewers): Shared,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
    prompt: impl FnOnce(Region, bool) -> Interaction,
) -> Response {
    let turn = match viewers.turn(Some(&id)).await {
        Ok(turn) => turn,
        Err(error) => return unheard(&headers, body, error.into()).await,
    };
    let answered = async {
        let shape = turn.session.shape()?;
        let (metadata, inside) = numbers(&viewers, &headers, body, |value| value != 0.0).await?;
        if metadata.shape() != shape {
            let message = format!(
                "a drawing of {:?} voxels on another image",
                metadata.dimensions
            );
            return Err(ApiError::bad(message).into());
        }
        let range = shape.map(|length| [0, length]);
        let prompt = prompt(Region { range, inside }, Query::parse(query)?.foreground);
        answer(&viewers, turn, prompt).await
    };
    answered.await.unwrap_or_else(Refusal::into_response)
}

async fn reset(State(viewers): Shared, Path(id): Path<String>) -> Reply {
    viewers.turn(Some(&id)).await?.session.reset();
    Ok(respond::json(&json!({ "status": "success" })))
}

async fn end(State(viewers): Shared, Path(id): Path<String>) -> Response {
    let ended = viewers.leases.release(Some(&id));
    let message = if ended {
        "Session ended"
    } else {
        "Invalid session"
    };
    respond::json(&json!({ "message": message }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packed(bytes: &[u8]) -> Vec<u8> {
        let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
        packed.write_all(bytes).unwrap();
        packed.finish().unwrap()
    }

    #[test]
    fn exactly_the_numbers_that_are_declared_are_read() {
        let numbers: Vec<f32> = (0..40_000u16).map(f32::from).collect();
        let bytes: Vec<u8> = numbers.iter().flat_map(|v| v.to_le_bytes()).collect();
        let file = packed(&bytes);
        assert!(unpacked(&file, 40_000, |v| v).unwrap() == numbers);
        for count in [1, 39_999, 40_001, 1 << 28] {
            assert!(unpacked(&file, count, |v| v).is_err(), "{count}");
        }
        assert!(unpacked(&packed(&bytes[..9]), 2, |v| v).is_err());
        assert!(unpacked(b"no gzip", 1, |v| v).is_err());
        assert!(unpacked(&file[..file.len() / 2], 40_000, |v| v).is_err());
    }

    #[test]
    fn points_come_in_two_forms() {
        let parse = |text: &str| Query::parse(Some(text.to_owned())).map_err(|e| e.message);
        let expected = Query {
            point: vec![1, 20, 3],
            foreground: true,
        };
        assert_eq!(parse("x=1&y=20&z=3&foreground=true").unwrap(), expected);
        let text = "point=1&point=20&point=3&foreground=True";
        assert_eq!(parse(text).unwrap(), expected);
        assert!(!parse("x=1&y=2&z=3").unwrap().foreground);
        assert!(parse("x=1&y=2.5&z=3").unwrap_err().contains("whole number"));
        assert!(Query::parse(None).unwrap().point.is_empty());
    }

    #[test]
    fn paths_are_known() {
        for path in [
            "/status",
            "/v2/models",
            "/end_session/1",
            "/v2/upload_raw/1",
        ] {
            assert!(is_endpoint(path), "{path}");
        }
        for path in ["/", "/statuses", "/js/app.js"] {
            assert!(!is_endpoint(path), "{path}");
        }
    }
}
