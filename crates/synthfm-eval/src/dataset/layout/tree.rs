//! Looking around in folders: names in natural order, without the hidden files that archives bring along.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Deepest folder that [`walk`] enters.
const MAX_DEPTH: usize = 6;

/// The first of the folders below `root` that exists; `""` is `root` itself.
pub(super) fn folder(root: &Path, candidates: &[&str]) -> Option<PathBuf> {
    let paths = candidates.iter().map(|&relative| match relative {
        "" => root.to_owned(),
        _ => root.join(relative),
    });
    paths.into_iter().find(|path| path.is_dir())
}

/// Folders in `root`, in natural order; none if it cannot be read.
pub(super) fn folders(root: &Path) -> Vec<PathBuf> {
    entries(root)
        .into_iter()
        .filter(|path| path.is_dir())
        .collect()
}

/// Files in `root` whose names end with one of `endings`, in natural order; none if it cannot be read.
pub(super) fn files(root: &Path, endings: &[&str]) -> Vec<PathBuf> {
    let fits = |path: &PathBuf| {
        let name = file_name(path).to_lowercase();
        path.is_file() && endings.iter().any(|ending| name.ends_with(ending))
    };
    entries(root).into_iter().filter(fits).collect()
}

/// Files below `root`, folder by folder.
pub(super) fn walk(root: &Path, endings: &[&str]) -> Vec<PathBuf> {
    fn enter(folder: &Path, endings: &[&str], depth: usize, found: &mut Vec<PathBuf>) {
        found.extend(files(folder, endings));
        for inner in folders(folder).iter().filter(|_| depth > 0) {
            enter(inner, endings, depth - 1, found);
        }
    }
    let mut found = Vec::new();
    enter(root, endings, MAX_DEPTH, &mut found);
    found
}

fn entries(root: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(root) else {
        return Vec::new();
    };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    // macOS leaves "._" files in archives that it made.
    paths.retain(|path| !file_name(path).starts_with('.') && file_name(path) != "__MACOSX");
    paths.sort_by(|a, b| natural(&file_name(a), &file_name(b)));
    paths
}

pub(super) fn file_name(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

/// The name without its ending, also without both of `.nii.gz`.
pub(super) fn stem(path: &Path) -> String {
    let name = file_name(path);
    let stem = name.strip_suffix(".nii.gz").map(str::to_owned);
    stem.unwrap_or_else(|| match name.rsplit_once('.') {
        Some((stem, _)) if !stem.is_empty() => stem.to_owned(),
        _ => name.clone(),
    })
}

/// Numbers inside names count as numbers: `a2` before `a10`.
pub(super) fn natural(a: &str, b: &str) -> Ordering {
    fn pieces(text: &str) -> Vec<(String, u128)> {
        let mut pieces: Vec<(String, u128)> = vec![(String::new(), 0)];
        let mut in_number = false;
        for c in text.chars() {
            let Some(digit) = c.to_digit(10) else {
                if in_number {
                    pieces.push((String::new(), 0));
                }
                in_number = false;
                pieces.last_mut().expect("starts with one").0.push(c);
                continue;
            };
            let number = &mut pieces.last_mut().expect("starts with one").1;
            *number = number.saturating_mul(10).saturating_add(u128::from(digit));
            in_number = true;
        }
        pieces
    }
    pieces(a).cmp(&pieces(b)).then_with(|| a.cmp(b))
}

/// The first names in a folder, for messages.
pub(super) fn listing(folder: &Path) -> String {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return "no such folder".to_owned();
    };
    let names: BTreeSet<String> = entries
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    match names.len() {
        0 => "an empty folder".to_owned(),
        n if n <= 8 => names.into_iter().collect::<Vec<_>>().join(", "),
        n => {
            let first: Vec<_> = names.into_iter().take(8).collect();
            format!("{} and {} more", first.join(", "), n - 8)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_names_count() {
        let mut names = ["IMG-0010", "IMG-0009", "a10", "a2", "a2b", "a"];
        names.sort_by(|a, b| natural(a, b));
        assert_eq!(names, ["IMG-0009", "IMG-0010", "a", "a2", "a2b", "a10"]);
        assert_eq!(natural("a1", "a01"), Ordering::Greater);
    }

    #[test]
    fn endings_are_cut() {
        for (name, expected) in [
            ("a.nii.gz", "a"),
            ("b.c.png", "b.c"),
            ("d", "d"),
            (".e", ".e"),
        ] {
            assert_eq!(stem(Path::new(name)), expected);
        }
    }
}
