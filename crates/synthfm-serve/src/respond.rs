//! Bodies: JSON and bytes out, JSON of bounded size and duration in.

use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{FromRequest, Request};
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::error::{ApiError, ApiResult};

/// Bytes of a request that is not an upload: a mask's runs at worst.
const MAX_JSON_BYTES: usize = 4 << 20;
/// Time that such a request may take to arrive.
const MAX_JSON_TIME: Duration = Duration::from_secs(20);

/// Characters of remarks in a header.
const MAX_NOTES: usize = 4000;

/// 200 with JSON.
pub(super) fn json(value: &impl Serialize) -> Response {
    json_with(StatusCode::OK, value)
}

/// JSON under a status.
pub(super) fn json_with(status: StatusCode, value: &impl Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(body) => (status, [(CONTENT_TYPE, "application/json")], body).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

/// 200 with bytes.
pub(super) fn bytes(kind: &'static str, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    let kind = HeaderValue::from_static(kind);
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

/// A file that the browser saves under `name`, which must be plain ASCII without quotes.
pub(super) fn download(name: &str, kind: &'static str, body: Vec<u8>) -> Response {
    let mut response = bytes(kind, body);
    if let Ok(value) = HeaderValue::from_str(&format!("attachment; filename=\"{name}\"")) {
        response.headers_mut().insert(CONTENT_DISPOSITION, value);
    }
    response
}

/// Adds the header `X-Notes`: remarks on one line, in UTF-8.
pub(super) fn add_notes(response: &mut Response, notes: &[String]) {
    let text = notes.join("; ").replace(char::is_control, " ");
    let text: String = text.chars().take(MAX_NOTES).collect();
    if let Ok(value) = HeaderValue::from_bytes(text.as_bytes())
        && !text.is_empty()
    {
        response.headers_mut().insert("x-notes", value);
    }
}

/// The JSON body of a request.
pub(super) struct Json<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> ApiResult<Self> {
        let kind = request.headers().get(CONTENT_TYPE);
        let is_json = kind
            .and_then(|kind| kind.to_str().ok())
            .is_some_and(|kind| kind.starts_with("application/json"));
        if !is_json {
            return Err(ApiError::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "bad_request",
                "the body must be JSON, with content-type: application/json",
            ));
        }
        let body = whole(request.into_body(), MAX_JSON_BYTES, MAX_JSON_TIME).await?;
        let value = serde_json::from_slice(&body)
            .map_err(|error| ApiError::bad(format!("the body is not what is expected: {error}")))?;
        Ok(Self(value))
    }
}

/// A body in memory.
async fn whole(body: Body, max_bytes: usize, max_time: Duration) -> ApiResult<Bytes> {
    let Ok(read) = tokio::time::timeout(max_time, to_bytes(body, max_bytes)).await else {
        return Err(ApiError::new(
            StatusCode::REQUEST_TIMEOUT,
            "too_slow",
            format!("the body did not arrive within {} s", max_time.as_secs()),
        ));
    };
    read.map_err(|_| {
        let limit = max_bytes >> 20;
        ApiError::too_large(format!(
            "the body did not arrive whole, or is larger than {limit} MiB"
        ))
    })
}
