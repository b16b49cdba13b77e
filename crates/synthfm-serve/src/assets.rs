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
const JSON: &str = "application/json";
const SVG: &str = "image/svg+xml";

static ANNOTATOR: [Asset; 29] = assets![
    ("/", HTML, "index.html"),
    ("/style.css", CSS, "style.css"),
    ("/icon.svg", SVG, "icon.svg"),
    ("/js/app.js", JS, "js/app.js"),
    ("/js/api.js", JS, "js/api.js"),
    ("/js/canvas.js", JS, "js/canvas.js"),
    ("/js/commands.js", JS, "js/commands.js"),
    ("/js/encoding.js", JS, "js/encoding.js"),
    ("/js/fields.js", JS, "js/fields.js"),
    ("/js/flow.js", JS, "js/flow.js"),
    ("/js/geometry.js", JS, "js/geometry.js"),
    ("/js/gestures.js", JS, "js/gestures.js"),
    ("/js/keys.js", JS, "js/keys.js"),
    ("/js/masks.js", JS, "js/masks.js"),
    ("/js/panels.js", JS, "js/panels.js"),
    ("/js/place.js", JS, "js/place.js"),
    ("/js/propagation.js", JS, "js/propagation.js"),
    ("/js/said.js", JS, "js/said.js"),
    ("/js/slices.js", JS, "js/slices.js"),
    ("/js/study.js", JS, "js/study.js"),
    ("/js/surface.js", JS, "js/surface.js"),
    ("/js/texts.js", JS, "js/texts.js"),
    ("/js/tools.js", JS, "js/tools.js"),
    ("/js/view.js", JS, "js/view.js"),
    ("/js/views.js", JS, "js/views.js"),
    ("/js/volume.js", JS, "js/volume.js"),
    ("/js/windowing.js", JS, "js/windowing.js"),
    ("/texts/en.json", JSON, "texts/en.json"),
    ("/texts/de.json", JSON, "texts/de.json"),
];

static REVIEW: [Asset; 6] = assets![
    ("/", HTML, "review.html"),
    ("/style.css", CSS, "style.css"),
    ("/icon.svg", SVG, "icon.svg"),
    ("/js/api.js", JS, "js/api.js"),
    ("/js/review.js", JS, "js/review.js"),
    ("/js/texts.js", JS, "js/texts.js"),
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    /// The texts of a language by name.
    fn texts(language: &str) -> BTreeMap<String, String> {
        let text = match language {
            "de" => include_str!("page/texts/de.json"),
            _ => include_str!("page/texts/en.json"),
        };
        serde_json::from_str(text).unwrap()
    }

    /// The words in braces that a text leaves open.
    fn open_words(text: &str) -> Vec<&str> {
        let parts = text.split('{').skip(1);
        let mut words: Vec<&str> = parts.filter_map(|part| part.split('}').next()).collect();
        words.sort_unstable();
        words
    }

    #[test]
    fn every_language_says_everything() {
        let (english, german) = (texts("en"), texts("de"));
        let names = |texts: &BTreeMap<String, String>| texts.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&english), names(&german));
        for (name, text) in &english {
            assert_eq!(open_words(text), open_words(&german[name]), "{name}");
            assert!(!text.trim().is_empty() && !german[name].trim().is_empty());
        }
    }

    #[test]
    fn the_page_names_texts_that_there_are() {
        let page = include_str!("page/index.html");
        let english = texts("en");
        let mut count = 0;
        for kind in [
            "data-text=\"",
            "data-title=\"",
            "data-label=\"",
            "data-hint=\"",
        ] {
            for part in page.split(kind).skip(1) {
                let name = part.split('"').next().unwrap();
                assert!(english.contains_key(name), "{name}");
                count += 1;
            }
        }
        assert!(count > 40, "{count}");
    }
}
