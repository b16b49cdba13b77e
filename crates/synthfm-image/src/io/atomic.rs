//! Files that appear complete or not at all.
//!
//! The content goes to a temporary file in the same folder, which is synchronised with the disk and then renamed. A
//! failure leaves neither a partial file nor the temporary one, and an older file of that name as it was. A process that
//! is killed leaves the temporary one, whose name is `.NAME.RANDOM.tmp`, and [`remove_leftovers`] removes it. A symbolic
//! link stays one: the file that it leads to is replaced. What is no plain file, such as `/dev/stdout` or a pipe, is written to as it is.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::{Error, Result};

/// Links that are followed to the end of a chain, as Linux does.
const MAX_LINKS: usize = 40;

/// Writes `path` through `write`. The file appears when `write` has succeeded, and is on the disk when this returns.
pub fn write_atomically(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> std::io::Result<()>,
) -> Result<()> {
    written(path, true, write)
}

/// Writes `path` as [`write_atomically`] does, but does not wait for the disk. For files that can be made again: after a
/// loss of power one may be empty.
pub fn write_atomically_unsynced(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> std::io::Result<()>,
) -> Result<()> {
    written(path, false, write)
}

fn written(
    path: &Path,
    synced: bool,
    write: impl FnOnce(&mut dyn Write) -> std::io::Result<()>,
) -> Result<()> {
    let fail = |source| Error::Io {
        path: path.to_owned(),
        source,
    };
    if is_special(path) {
        let file = OpenOptions::new().write(true).open(path).map_err(fail)?;
        let mut writer = BufWriter::new(file);
        write(&mut writer).map_err(fail)?;
        return writer.flush().map_err(fail);
    }
    let place = link_target(path).map_err(fail)?;
    // A rename would not ask.
    if fs::metadata(&place).is_ok_and(|found| found.permissions().readonly()) {
        return Err(fail(std::io::ErrorKind::PermissionDenied.into()));
    }
    let folder = match place.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let prefix = prefix(&place);
    let file = builder()
        .prefix(&prefix)
        .suffix(".tmp")
        .tempfile_in(folder)
        .map_err(|source| Error::Io {
            path: folder.to_owned(),
            source,
        })?;
    // Tells a file that is being written from one that was left. File systems without locks keep what is left.
    let _ = file.as_file().try_lock();
    let mut writer = BufWriter::new(file);
    write(&mut writer).map_err(fail)?;
    let file = writer
        .into_inner()
        .map_err(|error| fail(error.into_error()))?;
    if synced {
        synced_or_unable(file.as_file().sync_all()).map_err(fail)?;
    }
    file.persist(&place).map_err(|error| fail(error.error))?;
    if synced {
        sync_folder(folder).map_err(fail)?;
    }
    Ok(())
}

/// Removes the temporary files in a folder that processes which were killed left of `outputs`, all of that folder. Files
/// that another process is writing stay.
pub fn remove_leftovers(folder: &Path, outputs: &[PathBuf]) {
    let place = if folder.as_os_str().is_empty() {
        Path::new(".")
    } else {
        folder
    };
    let Ok(entries) = fs::read_dir(place) else {
        return;
    };
    let prefixes: BTreeSet<String> = outputs.iter().map(|path| prefix(path)).collect();
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(stem) = name.to_str().and_then(|name| name.strip_suffix(".tmp")) else {
            continue;
        };
        let own = stem.rfind('.').map(|at| &stem[..=at]);
        if !own.is_some_and(|own| prefixes.contains(own)) {
            continue;
        }
        let is_left = File::open(entry.path()).is_ok_and(|file| file.try_lock().is_ok());
        if is_left {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Whether a path is written to as it is, rather than replaced: a device, a pipe or a socket, and whatever standard output
/// and the other open files of the process lead to.
pub fn is_special(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default();
    if cfg!(windows) && name.to_str().is_some_and(is_device_name) {
        return true;
    }
    let opened = ["/dev/stdout", "/dev/stderr", "/dev/fd", "/proc"];
    opened.iter().any(|start| path.starts_with(start))
        || fs::metadata(path).is_ok_and(|found| !found.is_file() && !found.is_dir())
}

/// Where a chain of symbolic links ends, whether or not something is there.
fn link_target(path: &Path) -> std::io::Result<Cow<'_, Path>> {
    let mut place = Cow::Borrowed(path);
    for _ in 0..MAX_LINKS {
        match fs::symlink_metadata(&place) {
            Ok(found) if found.is_symlink() => {
                let next = fs::read_link(&place)?;
                let folder = place.parent().map(Path::to_owned);
                place = Cow::Owned(folder.unwrap_or_else(PathBuf::new).join(next));
            }
            _ => return Ok(place),
        }
    }
    Err(std::io::Error::other("too many symbolic links"))
}

/// Puts the names of a folder on the disk, where the system can: after a rename, it is the rename that is then safe.
pub fn sync_folder(folder: &Path) -> std::io::Result<()> {
    if !cfg!(unix) {
        return Ok(());
    }
    synced_or_unable(File::open(folder)?.sync_all())
}

/// Some network file systems cannot be asked to write to the disk, as those of macOS; what they were sent is on the server.
fn synced_or_unable(done: std::io::Result<()>) -> std::io::Result<()> {
    use std::io::ErrorKind::{InvalidInput, Unsupported};
    match done {
        Err(error) if matches!(error.kind(), InvalidInput | Unsupported) => Ok(()),
        done => done,
    }
}

/// The name of a file that Windows takes too: `_` before the ending of a name that it keeps for a device.
pub fn avoid_device_name(name: &str) -> String {
    if !is_device_name(name) {
        return name.to_owned();
    }
    let (stem, ending) = name.split_at(name.find('.').unwrap_or(name.len()));
    format!("{stem}_{ending}")
}

/// Whether Windows keeps a file's name for a device, in any letters and with any ending: `NUL`, `con.png`, `COM1`.
fn is_device_name(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or_default().trim_end();
    let stem = stem.to_ascii_lowercase();
    let mut numbered = ["com", "lpt"]
        .iter()
        .filter_map(|device| stem.strip_prefix(device));
    let is_number = |text: &str| "0123456789¹²³".chars().any(|c| text == c.to_string());
    ["con", "prn", "aux", "nul"].contains(&stem.as_str()) || numbered.any(is_number)
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
    fn what_was_left_is_removed_and_what_is_written_stays() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in [".a.png.Xy12.tmp", ".b.png.Xy12.tmp", ".a.png.tmp", "a.tmp"] {
            std::fs::write(at(name), "half").unwrap();
        }
        write_atomically(&at("a.png"), |_| {
            remove_leftovers(folder.path(), &[at("a.png")]);
            Ok(())
        })
        .unwrap();
        let mut names: Vec<_> = std::fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        // The file that was being written has its name, and only what was left of it is gone.
        assert_eq!(names, [".a.png.tmp", ".b.png.Xy12.tmp", "a.png", "a.tmp"]);
    }

    #[test]
    fn missing_folder_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("absent").join("a.txt");
        let error = write_atomically(&path, |_| Ok(())).unwrap_err().to_string();
        assert!(error.contains("absent"), "{error}");
    }

    #[test]
    fn names_of_devices_are_known() {
        for name in ["NUL", "con.png", "Aux .tar.gz", "COM1", "lpt9.txt", "com²"] {
            assert!(is_device_name(name), "{name}");
        }
        for name in ["", "null", "com", "com10", "icon.png", "a.con", "lptx"] {
            assert!(!is_device_name(name), "{name}");
            assert_eq!(avoid_device_name(name), name);
        }
        assert_eq!(avoid_device_name("NUL"), "NUL_");
        assert_eq!(avoid_device_name("con.nii.gz"), "con_.nii.gz");
    }

    #[cfg(unix)]
    #[test]
    fn links_stay_links() {
        use std::os::unix::fs::symlink;
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir(at("deep")).unwrap();
        std::fs::write(at("deep/file"), "old").unwrap();
        symlink("deep/file", at("first")).unwrap();
        symlink("first", at("second")).unwrap();
        write_atomically(&at("second"), |w| w.write_all(b"new")).unwrap();
        assert_eq!(std::fs::read(at("deep/file")).unwrap(), b"new");
        for link in ["first", "second"] {
            assert!(at(link).is_symlink(), "{link}");
        }
        // A link to nothing gives its target a file.
        symlink("deep/later", at("third")).unwrap();
        write_atomically(&at("third"), |w| w.write_all(b"later")).unwrap();
        assert_eq!(std::fs::read(at("deep/later")).unwrap(), b"later");
        symlink("circle", at("circle")).unwrap();
        let error = write_atomically(&at("circle"), |_| Ok(())).unwrap_err();
        assert!(error.to_string().contains("links"), "{error}");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn devices_are_written_to() {
        use std::os::unix::fs::FileTypeExt;
        write_atomically(Path::new("/dev/null"), |w| w.write_all(b"gone")).unwrap();
        let found = std::fs::symlink_metadata("/dev/null").unwrap();
        assert!(found.file_type().is_char_device());
        let error = write_atomically(Path::new("/dev/full"), |w| w.write_all(b"full"));
        assert!(error.is_err());
    }
}
