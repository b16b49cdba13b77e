//! The entries of a COCO file. An entry that lacks what it needs is a value of its own, so that one never costs the file.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

/// A COCO file with as much of each entry as its objects need.
#[derive(Deserialize)]
pub(super) struct File {
    pub(super) images: Vec<Entry<ImageEntry>>,
    pub(super) annotations: Annotations,
    #[serde(default)]
    pub(super) categories: Vec<Entry<Category>>,
    #[serde(default)]
    pub(super) info: Value,
}

impl File {
    /// Parses the bytes of a file, which are changed where they are no JSON though Python wrote them.
    pub(super) fn parse(text: &mut [u8]) -> serde_json::Result<Self> {
        without_mark_and_nan(text);
        serde_json::from_slice(text)
    }
}

/// An entry of a list, or one that lacks what it needs.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Entry<T> {
    Good(T),
    Damaged(IgnoredAny),
}

/// The annotations as a list or, as in `LIVECell`, as a map from a number to an annotation.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Annotations {
    List(Vec<Entry<Annotation>>),
    Map(BTreeMap<String, Entry<Annotation>>),
}

/// The `id` of an image or a category: a whole number or, as some programs write it, a text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(from = "RawId")]
pub(super) enum Id {
    Number(i64),
    Text(String),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum RawId {
    Number(i64),
    Text(String),
}

impl From<RawId> for Id {
    /// A number that one list writes as a text and another does not is one and the same.
    fn from(id: RawId) -> Self {
        match id {
            RawId::Number(number) => Self::Number(number),
            RawId::Text(text) => match text.parse::<i64>() {
                Ok(number) if number.to_string() == text => Self::Number(number),
                _ => Self::Text(text),
            },
        }
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Text(text) => f.write_str(text),
        }
    }
}

#[derive(Deserialize)]
pub(super) struct ImageEntry {
    pub(super) id: Id,
    pub(super) file_name: String,
    #[serde(default)]
    pub(super) width: Option<usize>,
    #[serde(default)]
    pub(super) height: Option<usize>,
}

#[derive(Deserialize)]
pub(super) struct Annotation {
    pub(super) image_id: Id,
    pub(super) category_id: Id,
    #[serde(default)]
    pub(super) segmentation: Value,
    #[serde(default)]
    pub(super) iscrowd: u8,
}

#[derive(Deserialize)]
pub(super) struct Category {
    pub(super) id: Id,
    pub(super) name: String,
}

/// Replaces what JSON does not know, though Python writes it: a byte order mark by spaces, and the numbers `NaN`,
/// `Infinity` and `-Infinity` by one that is far outside of every image, so that the entry is left out as damaged.
fn without_mark_and_nan(text: &mut [u8]) {
    if text.starts_with(b"\xef\xbb\xbf") {
        text[..3].fill(b' ');
    }
    let (mut at, mut in_text) = (0, false);
    while at < text.len() {
        match text[at] {
            b'\\' if in_text => at += 1,
            b'"' => in_text = !in_text,
            b'N' if !in_text && text[at..].starts_with(b"NaN") => {
                text[at..at + 3].copy_from_slice(b"1e9");
            }
            b'I' if !in_text && text[at..].starts_with(b"Infinity") => {
                text[at..at + 8].copy_from_slice(b"1e9     ");
            }
            _ => {}
        }
        at += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_python_writes_beside_json_is_read() {
        let mut text = b"\xef\xbb\xbf{\"a NaN \\\" NaN\": [NaN, -Infinity, 2]}".to_vec();
        without_mark_and_nan(&mut text);
        let value: Value = serde_json::from_slice(&text).unwrap();
        assert_eq!(value["a NaN \" NaN"], serde_json::json!([1e9, -1e9, 2]));
    }
}
