//! The pages, inside the binary.

use axum::Router;
use axum::http::header::{CACHE_CONTROL, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::respond;
use crate::VERSION;

/// A file of the page: its address, its kind, its bytes.
struct Asset(&'static str, &'static str, &'static [u8]);

macro_rules! assets {
    ($(($path:literal, $kind:ident, $file:literal)),* $(,)?) => {
        [$(Asset($path, $kind, include_bytes!(concat!("page/", $file)))),*]
    };
}

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

static ANNOTATOR: [Asset; 19] = assets![
    ("/", HTML, "index.html"),
    ("/style.css", CSS, "style.css"),
    ("/icon.svg", SVG, "icon.svg"),
    ("/js/app.js", JS, "js/app.js"),
    ("/js/api.js", JS, "js/api.js"),
    ("/js/canvas.js", JS, "js/canvas.js"),
    ("/js/commands.js", JS, "js/commands.js"),
    ("/js/encoding.js", JS, "js/encoding.js"),
    ("/js/geometry.js", JS, "js/geometry.js"),
    ("/js/gestures.js", JS, "js/gestures.js"),
    ("/js/keys.js", JS, "js/keys.js"),
    ("/js/masks.js", JS, "js/masks.js"),
    ("/js/panels.js", JS, "js/panels.js"),
    ("/js/propagation.js", JS, "js/propagation.js"),
    ("/js/slices.js", JS, "js/slices.js"),
    ("/js/study.js", JS, "js/study.js"),
    ("/js/tools.js", JS, "js/tools.js"),
    ("/js/view.js", JS, "js/view.js"),
    ("/js/windowing.js", JS, "js/windowing.js"),
];

static REVIEW: [Asset; 5] = assets![
    ("/", HTML, "review.html"),
    ("/style.css", CSS, "style.css"),
    ("/icon.svg", SVG, "icon.svg"),
    ("/js/api.js", JS, "js/api.js"),
    ("/js/review.js", JS, "js/review.js"),
];

/// The annotator's page.
pub(super) fn annotator() -> Router {
    router(&ANNOTATOR)
}

/// The review's page.
pub(super) fn review() -> Router {
    router(&REVIEW)
}

fn router(assets: &'static [Asset]) -> Router {
    let mut router = Router::new();
    for asset in assets {
        router = router.route(
            asset.0,
            get(move |headers: HeaderMap| async move { send(asset, &headers) }),
        );
    }
    router
}

/// A file, unless the browser has it; it asks each time, so that a new version is seen at once.
fn send(&Asset(_, kind, bytes): &Asset, headers: &HeaderMap) -> Response {
    let tag = format!("\"{VERSION}-{:08x}\"", checksum(bytes));
    let known = headers
        .get(IF_NONE_MATCH)
        .is_some_and(|known| known == tag.as_str());
    let mut response = if known {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        respond::bytes(kind, bytes)
    };
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        headers.insert(ETAG, tag);
    }
    response
}

/// FNV-1a: tells versions apart, no more.
fn checksum(bytes: &[u8]) -> u32 {
    let step = |sum: u32, byte: &u8| (sum ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
    bytes.iter().fold(0x811c_9dc5, step)
}
