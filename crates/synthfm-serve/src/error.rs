//! The error of a request that cannot be carried out: a status, what was wrong, and a word for programs.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::respond;
use synthfm_image::one_line;

/// An answer other than the one that was hoped for.
#[derive(Debug, Clone)]
pub(super) struct ApiError {
    pub(super) status: StatusCode,
    /// One word for programs.
    pub(super) code: &'static str,
    /// A sentence for people.
    pub(super) message: String,
}

/// The result of a handler.
pub(super) type ApiResult<T = Response> = Result<T, ApiError>;

impl ApiError {
    pub(super) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        let message = message.into();
        Self {
            status,
            code,
            message,
        }
    }

    /// The request itself is wrong.
    pub(super) fn bad(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", message)
    }

    /// The error for something that is not there (404).
    pub(super) fn missing(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", message)
    }

    /// Someone else has it, or it has moved on.
    pub(super) fn conflict(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, code, message)
    }

    /// More than the server takes.
    pub(super) fn too_large(message: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message)
    }

    /// A file is not what it should be.
    pub(super) fn unreadable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "unreadable", message)
    }

    /// Too much at once.
    pub(super) fn busy(message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "busy", message)
    }

    /// The server's own failure, such as a full disk.
    pub(super) fn failed(error: &anyhow::Error) -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "failed",
            one_line(error.as_ref()),
        )
    }
}

impl From<anyhow::Error> for ApiError {
    fn from(error: anyhow::Error) -> Self {
        Self::failed(&error)
    }
}

impl From<synthfm_image::Error> for ApiError {
    fn from(error: synthfm_image::Error) -> Self {
        use synthfm_image::Error as E;
        let message = error.to_string();
        match error {
            E::Io { .. } => Self::failed(&anyhow::anyhow!(message)),
            E::Limit { .. } => Self::too_large(message),
            E::Format { .. } | E::Unsupported { .. } => Self::unreadable(message),
            _ => Self::bad(message),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = json!({ "error": self.message, "code": self.code });
        respond::json_with(self.status, &body)
    }
}
