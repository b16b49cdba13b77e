//! Files that appear complete or not at all.
//!
//! The content goes to a temporary file in the same folder, which is then renamed. A failure leaves
//! neither a partial file nor the temporary one, and an older file of that name as it was. A process that is killed
//! leaves the temporary one, whose name is `.NAME.RANDOM.tmp`.

use std::io::{BufWriter, Write};
use std::path::Path;

use crate::{Error, Result};

/// Writes `path` through `write`; the file appears when `write` has succeeded.
pub fn write_atomically(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> std::io::Result<()>,
) -> Result<()> {
    let fail = |source| Error::Io {
        path: path.to_owned(),
        source,
    };
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let prefix = prefix(path);
    let file = builder()
        .prefix(&prefix)
        .suffix(".tmp")
        .tempfile_in(folder)
        .map_err(|source| Error::Io {
            path: folder.to_owned(),
            source,
        })?;
    let mut writer = BufWriter::new(file);
    write(&mut writer).map_err(fail)?;
    let file = writer
        .into_inner()
        .map_err(|error| fail(error.into_error()))?;
    file.persist(path).map_err(|error| fail(error.error))?;
    Ok(())
}

/// The start of a temporary file's name; long names are cut, for file systems allow 255 bytes.
fn prefix(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let start: String = name.chars().take(50).collect();
    format!(".{start}.")
}

/// Temporary files are private by default; the result gets the permissions of any created file.
#[cfg(unix)]
fn builder<'a>() -> tempfile::Builder<'a, 'a> {
    use std::os::unix::fs::PermissionsExt;
    let mut builder = tempfile::Builder::new();
    builder.permissions(std::fs::Permissions::from_mode(0o666));
    builder
}

#[cfg(not(unix))]
fn builder<'a>() -> tempfile::Builder<'a, 'a> {
    tempfile::Builder::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failure_leaves_the_old_file_and_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        write_atomically(&path, |w| w.write_all(b"old")).unwrap();
        let error = write_atomically(&path, |w| {
            w.write_all(b"half")?;
            Err(std::io::Error::other("disk full"))
        });
        assert!(error.unwrap_err().to_string().contains("disk full"));
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn temporary_files_name_the_file() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a.png".to_owned(), "ä".repeat(120)] {
            let path = folder.path().join(&name);
            let start: String = name.chars().take(50).collect();
            write_atomically(&path, |_| {
                let entries = std::fs::read_dir(folder.path())?;
                let names: Vec<_> = entries.map(|e| e.unwrap().file_name()).collect();
                let names = names.iter().map(|n| n.to_str().unwrap());
                let ours = |n: &&str| {
                    n.starts_with(&format!(".{start}.")) && n.strip_suffix(".tmp").is_some()
                };
                assert_eq!(names.filter(ours).count(), 1);
                Ok(())
            })
            .unwrap();
            assert!(path.is_file());
        }
    }

    #[test]
    fn missing_folder_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("absent").join("a.txt");
        let error = write_atomically(&path, |_| Ok(())).unwrap_err().to_string();
        assert!(error.contains("absent"), "{error}");
    }
}
