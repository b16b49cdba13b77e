//! What headers of lines have in common (NRRD, `MetaImage`): finding values in another file, and numbers.

use std::path::{Component, Path, PathBuf};

use super::ReadOptions;
use super::source::Source;
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
