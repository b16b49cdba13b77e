//! Whether two paths lead to the same file: as the system says where the file is there, by folder and name where it is
//! not.

use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::path::{Component, Path, PathBuf};

/// The identity of a file: two paths with the same identity lead to the same file.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum FileId {
    /// Device and number of the file.
    #[cfg(unix)]
    Number(u64, u64),
    /// The path without links.
    Path(PathBuf),
    /// A file that is not there: its folder, and its name as the folder's disk compares it.
    Absent(Box<Self>, OsString),
}

impl FileId {
    /// The identity of the file at a path, there or not; `None` where not even the folder of the path can be found.
    pub(super) fn new(path: &Path) -> Option<Self> {
        match fs::metadata(path) {
            Ok(found) => Self::present(path, &found),
            // A link to nothing stands for what it leads to.
            Err(_) if path.is_symlink() => {
                let folder = path.parent().unwrap_or(Path::new(""));
                let target = folder.join(fs::read_link(path).ok()?);
                if target.is_symlink() {
                    return None;
                }
                Self::new(&target)
            }
            Err(_) => Self::absent(path),
        }
    }

    #[cfg(unix)]
    #[expect(clippy::unnecessary_wraps, reason = "other systems may find no path")]
    fn present(_: &Path, found: &Metadata) -> Option<Self> {
        use std::os::unix::fs::MetadataExt;
        Some(Self::Number(found.dev(), found.ino()))
    }

    #[cfg(not(unix))]
    fn present(path: &Path, _: &Metadata) -> Option<Self> {
        path.canonicalize().ok().map(Self::Path)
    }

    fn absent(path: &Path) -> Option<Self> {
        let name = path.file_name()?;
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let Some(found) = fs::metadata(folder).ok() else {
            return Some(Self::Path(plain(&std::path::absolute(path).ok()?)));
        };
        let name = if ignores_case(folder) {
            name.to_string_lossy().to_lowercase().into()
        } else {
            name.to_owned()
        };
        Some(Self::Absent(Box::new(Self::present(folder, &found)?), name))
    }
}

/// A path without `.` and `..`, where no file is there to ask.
fn plain(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                out.pop();
            }
            other => out.push(other),
        }
    }
    out
}

/// Whether the disk of a folder finds it under its name in other letters.
fn ignores_case(folder: &Path) -> bool {
    let Ok(full) = folder.canonicalize() else {
        return false;
    };
    let (Some(parent), Some(name)) = (full.parent(), full.file_name().and_then(|n| n.to_str()))
    else {
        return false;
    };
    let upper = name.to_uppercase();
    let other = if upper == name {
        name.to_lowercase()
    } else {
        upper
    };
    if other == name {
        return false;
    }
    let other = parent.join(other);
    let id = |path: &Path| {
        fs::metadata(path)
            .ok()
            .and_then(|m| FileId::present(path, &m))
    };
    id(&other).is_some() && id(&other) == id(&full)
}
