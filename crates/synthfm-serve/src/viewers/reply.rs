//! Replies common to the protocols: refusals in the form that clients read, bodies of bounded size and duration.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use axum::http::header::{CONNECTION, CONTENT_LENGTH, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use serde_json::json;

use crate::error::{ApiError, ApiResult};
use crate::respond;

/// Time in which the next part of a body must come.
const PATIENCE: Duration = Duration::from_secs(30);
/// Least bytes per second of a body on the whole, after [`PATIENCE`].
const LEAST_RATE: u64 = 64 << 10;
/// Bytes that are read and thrown away so that the client, which sends all before it listens, hears the refusal.
const MAX_UNHEARD: usize = 256 << 20;
/// Bytes of a body that says nothing.
const MAX_EMPTY: u64 = 64 << 10;
/// Seconds after which clients are told to try again.
const RETRY: HeaderValue = HeaderValue::from_static("10");

/// An [`ApiError`] with the words under `detail` too, where the clients of viewers look for them.
#[derive(Debug)]
pub(super) struct Refusal(ApiError);

impl<E: Into<ApiError>> From<E> for Refusal {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let ApiError {
            status,
            code,
            message,
        } = self.0;
        let body = json!({ "detail": message, "error": message, "code": code });
        let mut response = respond::json_with(status, &body);
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(RETRY_AFTER, RETRY);
        }
        response
    }
}

/// The result of a handler.
pub(super) type Reply = Result<Response, Refusal>;

/// Reads a body whole, up to `max_bytes`.
pub(super) async fn whole(headers: &HeaderMap, body: Body, max_bytes: u64) -> ApiResult<Vec<u8>> {
    let declared = declared(headers);
    if declared.is_some_and(|bytes| bytes > max_bytes) {
        return Err(over(max_bytes));
    }
    // All of it at once: the system hands out memory as it is written to, and a vector that grows holds old and new bytes.
    let mut whole = Vec::new();
    let most = usize::try_from(declared.unwrap_or(max_bytes)).unwrap_or(usize::MAX);
    whole.try_reserve_exact(most).map_err(|_| no_memory())?;
    let mut parts = body.into_data_stream();
    let since = tokio::time::Instant::now();
    loop {
        let Ok(part) = tokio::time::timeout(PATIENCE, parts.next()).await else {
            return Err(too_slow());
        };
        let Some(part) = part else { return Ok(whole) };
        let part = part.map_err(|_| ApiError::bad("the body did not arrive whole"))?;
        if whole.len() as u64 + part.len() as u64 > max_bytes {
            return Err(over(max_bytes));
        }
        whole.extend_from_slice(&part);
        let waited = since.elapsed().saturating_sub(PATIENCE).as_secs();
        if (whole.len() as u64) < LEAST_RATE * waited {
            return Err(too_slow());
        }
    }
}

/// A small body that says nothing. It must be read all the same: a connection whose request was not read to its end is
/// closed, and clients send heads and bodies one after the other.
pub(super) struct Empty;

impl<S: Send + Sync> FromRequest<S> for Empty {
    type Rejection = Refusal;

    async fn from_request(request: Request, _: &S) -> Result<Self, Refusal> {
        let (parts, body) = request.into_parts();
        whole(&parts.headers, body, MAX_EMPTY).await?;
        Ok(Self)
    }
}

/// Reads what is left of a body that was refused and throws it away, as far as that is reasonable.
pub(super) async fn unheard(headers: &HeaderMap, body: Body, refusal: Refusal) -> Response {
    let small = declared(headers).is_some_and(|bytes| bytes <= MAX_UNHEARD as u64);
    let mut closes = true;
    if small {
        let mut parts = body.into_data_stream();
        let drained = async {
            while let Some(part) = parts.next().await {
                if part.is_err() {
                    return false;
                }
            }
            true
        };
        closes = !tokio::time::timeout(PATIENCE, drained)
            .await
            .unwrap_or(false);
    }
    let mut response = refusal.into_response();
    if closes {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(CONNECTION, close);
    }
    response
}

fn declared(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn over(max_bytes: u64) -> ApiError {
    ApiError::too_large(match max_bytes >> 20 {
        0 => format!("more than the {max_bytes} bytes were sent that such a request may have"),
        mib => format!("more than {mib} MiB were sent; start the server with a larger --max-file"),
    })
}

fn no_memory() -> ApiError {
    ApiError::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "no_memory",
        "the system has no memory for a body of that size; a Content-Length asks for no more than it needs",
    )
}

fn too_slow() -> ApiError {
    ApiError::new(
        StatusCode::REQUEST_TIMEOUT,
        "too_slow",
        "the body came too slowly",
    )
}
