//! Bodies of forms with files (`multipart/form-data`, RFC 7578), whole in memory.

use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;

use crate::error::{ApiError, ApiResult};

/// Parts of a form.
const MAX_PARTS: usize = 16;
/// Characters of the line between parts, as RFC 2046 limits them.
const MAX_BOUNDARY: usize = 70;

/// The line between the parts, as the head of a request names it.
pub(super) fn boundary(headers: &HeaderMap) -> ApiResult<String> {
    let kind = headers
        .get(CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok());
    let form = kind.filter(|kind| kind.starts_with("multipart/form-data"));
    let named = form.and_then(|kind| {
        let mut parameters = kind.split(';').skip(1);
        let value = parameters.find_map(|parameter| parameter.trim().strip_prefix("boundary="))?;
        Some(value.trim_matches('"').to_owned())
    });
    named
        .filter(|boundary| (1..=MAX_BOUNDARY).contains(&boundary.len()))
        .ok_or_else(|| ApiError::bad("a form with files (multipart/form-data) is expected"))
}

/// The contents of the fields of those names.
pub(super) fn fields<'a, const N: usize>(
    body: &'a [u8],
    boundary: &str,
    names: [&str; N],
) -> ApiResult<[&'a [u8]; N]> {
    let line = format!("--{boundary}");
    let mut found = [None; N];
    let mut rest = after(body, line.as_bytes());
    for _ in 0..MAX_PARTS {
        let Some(part) = rest else { break };
        let end = find(part, format!("\r\n{line}").as_bytes());
        let Some((part, next)) = end.map(|end| part.split_at(end)) else {
            break;
        };
        if let Some((head, content)) = find(part, b"\r\n\r\n").map(|at| part.split_at(at)) {
            let named = names.iter().position(|name| is_named(head, name));
            if let Some(named) = named {
                found[named] = Some(&content[4..]);
            }
        }
        rest = after(next, line.as_bytes());
    }
    let mut fields = [&[][..]; N];
    for ((field, found), name) in fields.iter_mut().zip(found).zip(names) {
        *field = found.ok_or_else(|| ApiError::bad(format!("the form has no field {name:?}")))?;
    }
    Ok(fields)
}

/// Whether the head of a part names its field so.
fn is_named(head: &[u8], name: &str) -> bool {
    let head = String::from_utf8_lossy(head);
    let mut parameters = head.split([';', '\r', '\n']).map(str::trim);
    parameters.any(|parameter| {
        let value = parameter.strip_prefix("name=");
        value.is_some_and(|value| value.trim_matches('"') == name)
    })
}

fn after<'a>(bytes: &'a [u8], part: &[u8]) -> Option<&'a [u8]> {
    find(bytes, part).map(|at| &bytes[at + part.len()..])
}

/// Where `part` begins in `bytes`: its first byte is looked for, which is rare in compressed files.
fn find(bytes: &[u8], part: &[u8]) -> Option<usize> {
    let first = *part.first()?;
    let mut at = 0;
    while let Some(next) = bytes.get(at..)?.iter().position(|&byte| byte == first) {
        at += next;
        if bytes[at..].starts_with(part) {
            return Some(at);
        }
        at += 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    const FORM: &[u8] = b"preamble\r\n--x1\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a; name=b\"\r\n\
        Content-Type: application/octet-stream\r\n\r\n\x1f\x8b\r\n--x\r\n\r\n--x1\r\n\
        Content-Disposition: form-data; name=\"metadata\"\r\n\r\n{}\r\n--x1--\r\n";

    #[test]
    fn fields_are_found_by_name() {
        let [metadata, file] = fields(FORM, "x1", ["metadata", "file"]).unwrap();
        assert_eq!((metadata, file), (&b"{}"[..], &b"\x1f\x8b\r\n--x\r\n"[..]));
        let missing = fields(FORM, "x1", ["files"]).unwrap_err();
        assert!(missing.message.contains("files"), "{}", missing.message);
        for end in 0..FORM.len() - 8 {
            assert!(
                fields(&FORM[..end], "x1", ["file", "metadata"]).is_err(),
                "{end}"
            );
        }
    }

    #[test]
    fn the_line_between_parts_is_named() {
        let of = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(text));
            boundary(&headers)
        };
        assert_eq!(of("multipart/form-data; boundary=abc").unwrap(), "abc");
        assert_eq!(
            of("multipart/form-data; charset=x; boundary=\"a b\"").unwrap(),
            "a b"
        );
        for text in [
            "multipart/form-data",
            "application/json; boundary=a",
            "multipart/form-data; boundary=",
        ] {
            assert!(of(text).is_err(), "{text}");
        }
    }
}
