//! Who is served: this machine's own browser and programs, or who shows the token.
//!
//! A page from elsewhere can make a browser send requests to this machine. Its requests carry another `Origin`, or
//! after DNS rebinding another `Host`; both are refused. Tokens come as `Authorization: Bearer`, as a cookie, or once
//! in the address, which then sets the cookie.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONNECTION, COOKIE, HOST, LOCATION, ORIGIN, SET_COOKIE,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::error::ApiError;
use super::viewers;

const COOKIE_NAME: &str = "synthfm_token";

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");

/// Sent with everything: the page loads nothing from elsewhere and is framed by nobody.
const HEADERS: [(HeaderName, HeaderValue); 5] = [
    (
        HeaderName::from_static("content-security-policy"),
        HeaderValue::from_static(
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; \
             connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'",
        ),
    ),
    (
        HeaderName::from_static("x-content-type-options"),
        HeaderValue::from_static("nosniff"),
    ),
    (
        HeaderName::from_static("referrer-policy"),
        HeaderValue::from_static("no-referrer"),
    ),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        HeaderValue::from_static("same-origin"),
    ),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        HeaderValue::from_static("same-origin"),
    ),
];

/// The rules of one server.
#[derive(Debug)]
pub(super) struct Guard {
    /// `None` where only this machine can connect and no token was asked for.
    token: Option<String>,
}

impl Guard {
    pub(super) fn new(token: Option<String>) -> Self {
        Self { token }
    }
}

/// Lets a request through, or answers it.
pub(super) async fn check(
    State(guard): State<Arc<Guard>>,
    request: Request,
    next: Next,
) -> Response {
    let has_body = request.method() == Method::PUT;
    let mut response = match guard.judge(&request) {
        Verdict::Serve => next.run(request).await,
        Verdict::SetCookie(token) => enter(&token, request.uri().path()),
        Verdict::Refuse(error) => error.into_response(),
    };
    let status = response.status();
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(name, value);
    }
    if has_body && status.is_client_error() {
        // What was sent may not have been read, so that the connection cannot be used again.
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    if !headers.contains_key(CACHE_CONTROL) {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    response
}

enum Verdict {
    Serve,
    SetCookie(String),
    Refuse(ApiError),
}

impl Guard {
    fn judge(&self, request: &Request) -> Verdict {
        let headers = request.headers();
        let host = text(headers, &HOST).unwrap_or_default();
        let refuse = |code, message: &str| {
            Verdict::Refuse(ApiError::new(StatusCode::FORBIDDEN, code, message))
        };
        // Behind a token any name is allowed: another site's cookies are not sent to it.
        if self.token.is_none() && !is_this_machine(host) {
            return refuse(
                "wrong_host",
                "this server answers to localhost and 127.0.0.1 only",
            );
        }
        if let Some(origin) = text(headers, &ORIGIN)
            && origin.split_once("://").map(|(_, host)| host) != Some(host)
        {
            return refuse("wrong_origin", "requests from other sites are refused");
        }
        // Browsers say where a request comes from. A link from elsewhere to the page itself is harmless.
        let site = text(headers, &SEC_FETCH_SITE).unwrap_or("none");
        let navigates = text(headers, &SEC_FETCH_MODE) == Some("navigate");
        let path = request.uri().path();
        let is_api = path.starts_with("/api") || viewers::is_endpoint(path);
        if !matches!(site, "none" | "same-origin") && (is_api || !navigates) {
            return refuse("wrong_origin", "requests from other sites are refused");
        }
        let Some(token) = &self.token else {
            return Verdict::Serve;
        };
        if path == viewers::OPEN_PATH || shown(headers).any(|shown| equal(shown, token)) {
            return Verdict::Serve;
        }
        let query = request.uri().query().unwrap_or_default();
        let in_address = query
            .split('&')
            .find_map(|part| part.strip_prefix("token="));
        match in_address {
            Some(shown) if equal(shown, token) => Verdict::SetCookie(token.clone()),
            _ => Verdict::Refuse(ApiError::new(
                StatusCode::UNAUTHORIZED,
                "no_token",
                "a token is needed: open the address that `synthfm serve` printed, or send it as Authorization: Bearer",
            )),
        }
    }
}

/// A redirection to the page without the token in its address.
fn enter(token: &str, path: &str) -> Response {
    let cookie = format!("{COOKIE_NAME}={token}; Path=/; HttpOnly; SameSite=Strict");
    let mut response = StatusCode::SEE_OTHER.into_response();
    let headers = response.headers_mut();
    // A path from the request line may hold bytes that no header takes.
    let local = path.starts_with('/') && !path.starts_with("//");
    let place = HeaderValue::from_str(path).ok().filter(|_| local);
    headers.insert(LOCATION, place.unwrap_or(HeaderValue::from_static("/")));
    if let Ok(cookie) = HeaderValue::from_str(&cookie) {
        headers.insert(SET_COOKIE, cookie);
    }
    response
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// Tokens in a request's headers.
fn shown(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let bearer = text(headers, &AUTHORIZATION).and_then(|value| value.strip_prefix("Bearer "));
    let cookies = text(headers, &COOKIE).unwrap_or_default().split(';');
    let cookie = cookies.filter_map(|cookie| {
        let (name, value) = cookie.trim().split_once('=')?;
        (name == COOKIE_NAME).then_some(value)
    });
    bearer.into_iter().chain(cookie)
}

/// Takes as long for a nearly right token as for a wrong one.
fn equal(a: &str, b: &str) -> bool {
    let differing = a
        .bytes()
        .zip(b.bytes())
        .fold(0, |sum, (a, b)| sum | (a ^ b));
    a.len() == b.len() && differing == 0
}

/// Whether a `Host` header names the loopback address.
fn is_this_machine(host: &str) -> bool {
    let without_port = match host.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    without_port.eq_ignore_ascii_case("localhost")
        || without_port
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    fn verdict(token: Option<&str>, uri: &str, headers: &[(&str, &str)]) -> Result<bool, String> {
        let mut request = Request::builder().uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::empty()).unwrap();
        match Guard::new(token.map(str::to_owned)).judge(&request) {
            Verdict::Serve => Ok(true),
            Verdict::SetCookie(_) => Ok(false),
            Verdict::Refuse(error) => Err(error.code.to_owned()),
        }
    }

    #[test]
    fn only_this_machine_without_a_token() {
        for host in [
            "localhost",
            "localhost:8080",
            "127.0.0.1:80",
            "[::1]:8080",
            "127.1.2.3",
        ] {
            assert_eq!(verdict(None, "/", &[("host", host)]), Ok(true), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "localhost.evil.example",
            "10.0.0.1:8080",
            "127.0.0.1.evil.example",
        ] {
            let expected = Err("wrong_host".to_owned());
            assert_eq!(verdict(None, "/", &[("host", host)]), expected, "{host}");
        }
    }

    #[test]
    fn other_sites_are_refused() {
        let host = ("host", "localhost:8080");
        let judge = |origin| verdict(None, "/", &[host, ("origin", origin)]);
        assert_eq!(judge("http://localhost:8080"), Ok(true));
        for origin in [
            "http://evil.example",
            "null",
            "http://localhost:9090",
            "http://localhost",
        ] {
            assert_eq!(judge(origin), Err("wrong_origin".to_owned()), "{origin}");
        }
    }

    #[test]
    fn what_browsers_say_of_other_sites_is_believed() {
        let judge = |uri, site, mode| {
            let headers = [
                ("host", "localhost:8080"),
                ("sec-fetch-site", site),
                ("sec-fetch-mode", mode),
            ];
            verdict(None, uri, &headers)
        };
        let refused = Err("wrong_origin".to_owned());
        assert_eq!(judge("/api/cases", "same-origin", "cors"), Ok(true));
        assert_eq!(judge("/", "none", "navigate"), Ok(true));
        assert_eq!(judge("/", "cross-site", "navigate"), Ok(true));
        for (uri, site, mode) in [
            ("/api/cases", "cross-site", "no-cors"),
            ("/api/cases", "cross-site", "navigate"),
            ("/api/cases", "same-site", "cors"),
            ("/js/app.js", "cross-site", "no-cors"),
        ] {
            assert_eq!(judge(uri, site, mode), refused, "{uri} {site} {mode}");
        }
    }

    #[test]
    fn tokens_are_asked_for_and_leave_the_address() {
        let token = Some("0123456789abcdef");
        let host = ("host", "workstation:8080");
        let judge = |uri, more: &[(&str, &str)]| verdict(token, uri, &[&[host], more].concat());
        assert_eq!(judge("/", &[]), Err("no_token".to_owned()));
        let bearer = |value| judge("/", &[("authorization", value)]);
        assert_eq!(bearer("Bearer 0123456789abcdef"), Ok(true));
        for wrong in [
            "Bearer 0123456789abcdeF",
            "Bearer 0123456789abcde",
            "Bearer ",
            "0123456789abcdef",
        ] {
            assert_eq!(bearer(wrong), Err("no_token".to_owned()), "{wrong}");
        }
        let cookie = judge("/", &[("cookie", "a=b; synthfm_token=0123456789abcdef")]);
        assert_eq!(cookie, Ok(true));
        assert_eq!(judge("/?token=0123456789abcdef", &[]), Ok(false));
        assert_eq!(judge("/?token=", &[]), Err("no_token".to_owned()));
    }
}
