//! Parts common to headers of lines (NRRD, `MetaImage`): finding values in another file, and numbers as text.

use std::path::{Component, Path, PathBuf};

use super::element::Element;
use super::payload::Layout;
use super::source::Source;
use super::{ReadOptions, pages};
use crate::Result;

/// Longest header that is searched for its end.
pub(super) const MAX_HEADER_BYTES: usize = 16 << 20;

/// All numbers of a text; `None` if a word is none.
pub(super) fn numbers(text: &str) -> Option<Vec<f64>> {
    text.split_whitespace()
        .map(|word| word.parse().ok().filter(|v: &f64| v.is_finite()))
        .collect()
}

/// Exactly `N` numbers.
pub(super) fn exactly<const N: usize>(text: &str) -> Option<[f64; N]> {
    numbers(text)?.try_into().ok()
}

/// Lengths of the axes.
pub(super) fn lengths(text: &str) -> Option<Vec<usize>> {
    text.split_whitespace()
        .map(|word| word.parse().ok().filter(|&n| n > 0))
        .collect()
}

/// The bytes of a file that a header names: one beside the header or below, for a header from elsewhere must not reach
/// other files.
pub(super) fn detached(header: &Source, name: &str) -> Result<Vec<u8>> {
    let relative = Path::new(name);
    let inside = relative
        .components()
        .all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    if !inside || name.is_empty() {
        return Err(header.unsupported(format!(
            "values in {name:?}; they must be in a file beside the header"
        )));
    }
    let folder = header.path().parent().unwrap_or(Path::new(""));
    let path: PathBuf = folder.join(relative);
    if let Some(root) = header.data_root() {
        check_within(header, &path, root)?;
    }
    let options = ReadOptions {
        max_bytes: header.limit(),
    };
    Ok(Source::open(&path, options)?.into_bytes())
}

/// Refuses a data file that links lead out of `root`.
fn check_within(header: &Source, path: &Path, root: &Path) -> Result<()> {
    let resolved = |path: &Path| path.canonicalize().map_err(|error| header.io_error(error));
    if resolved(path)?.starts_with(resolved(root)?) {
        return Ok(());
    }
    Err(header.unsupported(format!(
        "values in {}, which a link leads out of {}",
        path.display(),
        root.display()
    )))
}

/// Refuses values over the limit, and more numbers than `stored` bytes of text can hold.
pub(super) fn check_text(source: &Source, layout: &Layout, stored: u64) -> Result<()> {
    let count = layout.count as u64;
    // A digit and a blank each; the last blank may be missing.
    if count.saturating_mul(2).saturating_sub(1) > stored {
        return Err(source.format_error(format!(
            "truncated: {count} values in {stored} bytes of text"
        )));
    }
    // Each is a number of eight bytes before it is converted.
    source.check_bytes(count.checked_mul(8))?;
    source.check_with_file(count.saturating_mul(12))
}

/// Numbers of a text, apart by blanks or commas, from the one with the number `first` on. A number that the type
/// `element` cannot hold is an error.
pub(super) fn text_values(
    source: &Source,
    bytes: &[u8],
    element: Element,
    first: usize,
    count: usize,
) -> Result<Vec<f64>> {
    let [least, greatest] = element.range();
    let text = std::str::from_utf8(bytes)
        .map_err(|_| source.format_error("values that are stored as text are no text"))?;
    let mut numbers = pages::reserved(count).map_err(|error| source.io_error(error))?;
    let words = text
        .split(|c: char| c.is_ascii_whitespace() || c == ',')
        .filter(|word| !word.is_empty());
    for word in words.skip(first).take(count) {
        let number: f64 = word.parse().map_err(|_| {
            let word: String = word.chars().take(40).collect();
            source.format_error(format!("{word:?} among values that are stored as text"))
        })?;
        if number < least || number > greatest {
            return Err(source.format_error(format!(
                "{number} among values whose stated type holds {least} to {greatest}"
            )));
        }
        numbers.push(number);
    }
    if numbers.len() < count {
        return Err(source.format_error(format!(
            "truncated: {} of {count} values in text",
            numbers.len()
        )));
    }
    Ok(numbers)
}
