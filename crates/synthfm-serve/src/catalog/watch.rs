//! Whether the files below the opened folder have changed, without reading them.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use super::{LABEL_FOLDERS, MAX_CASES, MAX_DEPTH};

/// A hash of the places, sizes and times of all files.
pub(crate) type Signature = [u8; 32];

/// Looks at a folder and those below it, as the search for images does. Times are compared, not measured.
pub(crate) fn signature(folder: &Path, work: &Path) -> Result<Signature> {
    let root = folder
        .canonicalize()
        .with_context(|| format!("opening {}", folder.display()))?;
    let mut digest = Sha256::new();
    let mut room = 4 * MAX_CASES;
    look(&root, work, MAX_DEPTH, &mut room, &mut digest);
    Ok(digest.finalize().into())
}

fn look(folder: &Path, work: &Path, depth: usize, room: &mut usize, digest: &mut Sha256) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with('.') || *room == 0 {
            continue;
        }
        *room -= 1;
        let Ok(about) = fs::symlink_metadata(&path) else {
            continue;
        };
        if about.is_dir() {
            if depth > 0 && path != work && !LABEL_FOLDERS.contains(&&*name) {
                look(&path, work, depth - 1, room, digest);
            }
            continue;
        }
        digest.update(path.as_os_str().as_encoded_bytes());
        digest.update(about.len().to_le_bytes());
        let changed = about.modified().ok();
        let since = changed.and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
        digest.update(since.unwrap_or_default().as_nanos().to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_count_and_our_own_files_do_not() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        let work = root.join("work");
        let look = || signature(&root, &work).unwrap();
        fs::create_dir_all(work.join("cases")).unwrap();
        fs::create_dir(root.join("labels")).unwrap();
        fs::write(root.join("a.png"), "1").unwrap();
        let first = look();
        fs::write(work.join("states.json"), "{}").unwrap();
        fs::write(root.join("labels/a.png"), "1").unwrap();
        fs::write(root.join(".hidden"), "1").unwrap();
        assert_eq!(look(), first);
        fs::write(root.join("a.png"), "12").unwrap();
        let longer = look();
        assert_ne!(longer, first);
        fs::create_dir(root.join("more")).unwrap();
        fs::write(root.join("more/b.png"), "1").unwrap();
        assert_ne!(look(), longer);
    }
}
