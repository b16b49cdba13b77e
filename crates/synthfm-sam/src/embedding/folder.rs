//! The part of the cache that lies in a folder, which several processes may share.
//!
//! An embedding is `<SHA-256 of its key>.safetensors`. Files appear whole by renaming and are read in one go, so
//! that no lock is needed: two processes that miss the same embedding write the same file, and a file that is
//! removed while another process reads it stays readable to it. A hit sets the file's time of modification, by
//! which the least recently used files go first where the limit is exceeded.

use std::fs::{self, File, FileTimes};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::file::{Expected, to_bytes};
use crate::error::{Error, Result};
use crate::predictor::EncodedImage;
use crate::weights::write_atomically;

const ENDING: &str = ".safetensors";
/// Hexadecimal digits of a file's name.
const DIGITS: usize = 64;
/// A temporary file of this age belongs to a process that was killed.
const ABANDONED: Duration = Duration::from_hours(1);
/// Tells backup programs to leave the folder out (<https://bford.info/cachedir/>).
const TAG: (&str, &[u8]) = (
    "CACHEDIR.TAG",
    b"Signature: 8a477f597d28d172789f06886806bc55\n# Image embeddings of synthfm; may be deleted at any time.\n",
);

/// A folder of embeddings.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    max_bytes: u64,
}

/// A file that belongs to the cache.
struct Entry {
    used: SystemTime,
    path: PathBuf,
    bytes: u64,
}

impl Folder {
    /// Opens a folder, which is made where it does not exist, and shrinks it to the limit.
    pub(super) fn open(path: &Path, max_bytes: u64) -> Result<Self> {
        let is_new = fs::read_dir(path).map_or(true, |mut entries| entries.next().is_none());
        fs::create_dir_all(path).map_err(|e| Error::io(path, e))?;
        let folder = Self {
            path: path.to_owned(),
            max_bytes,
        };
        let (tag, text) = TAG;
        let tag = path.join(tag);
        // Backups leave out what is tagged, which a folder of other files must not be.
        if is_new && !tag.exists() {
            write_atomically(&tag, text)?;
        }
        folder.evict()?;
        Ok(folder)
    }

    /// The stored embedding; `None` where there is none. A file that is not the embedding is an error.
    pub(super) fn get(&self, expected: &Expected<'_>) -> Result<Option<EncodedImage>> {
        let path = self.file(expected);
        match expected.read(&path) {
            Ok(image) => {
                mark_used(&path);
                Ok(Some(image))
            }
            Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Stores an embedding and makes room for it. One that alone exceeds the limit is not stored.
    pub(super) fn put(&self, image: &EncodedImage, expected: &Expected<'_>) -> Result<()> {
        let path = self.file(expected);
        let bytes =
            to_bytes(&image.embedding, expected.key).map_err(|r| Error::weights(&path, r))?;
        if bytes.len() as u64 > self.max_bytes {
            let (bytes, limit) = (bytes.len(), self.max_bytes);
            let reason = format!("its {bytes} bytes exceed the cache's limit of {limit}");
            return Err(Error::weights(&path, reason));
        }
        write_atomically(&path, &bytes)?;
        self.evict()
    }

    fn file(&self, expected: &Expected<'_>) -> PathBuf {
        let digest = expected.key.digest();
        self.path.join(format!("{digest}{ENDING}"))
    }

    /// Removes the least recently used files down to the limit, and what killed processes left.
    fn evict(&self) -> Result<()> {
        let mut entries = self.entries()?;
        entries.sort_by(|a, b| (a.used, &a.path).cmp(&(b.used, &b.path)));
        let mut total: u64 = entries.iter().map(|entry| entry.bytes).sum();
        for entry in entries {
            if total <= self.max_bytes {
                break;
            }
            // A file of another kind may have a name like ours.
            if super::file::describe_embedding(&entry.path).is_ok_and(|found| found.is_some()) {
                remove(&entry.path)?;
            }
            total -= entry.bytes;
        }
        Ok(())
    }

    /// The cache's own files; whatever else lies in the folder is left alone.
    fn entries(&self) -> Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for found in fs::read_dir(&self.path).map_err(|e| Error::io(&self.path, e))? {
            let found = found.map_err(|e| Error::io(&self.path, e))?;
            let kind = kind(&found.file_name().to_string_lossy());
            // Another process may have removed it.
            let (Some(kind), Ok(about)) = (kind, found.metadata()) else {
                continue;
            };
            let (true, Ok(used)) = (about.is_file(), about.modified()) else {
                continue;
            };
            match kind {
                Kind::Embedding => entries.push(Entry {
                    used,
                    path: found.path(),
                    bytes: about.len(),
                }),
                Kind::Temporary => {
                    if now().duration_since(used).is_ok_and(|age| age > ABANDONED) {
                        remove(&found.path())?;
                    }
                }
            }
        }
        Ok(entries)
    }
}

/// What a file of the cache is.
enum Kind {
    Embedding,
    Temporary,
}

fn kind(name: &str) -> Option<Kind> {
    let is_hex = |text: &str| text.bytes().all(|b| b.is_ascii_hexdigit());
    if let Some(digest) = name.strip_suffix(ENDING) {
        return (digest.len() == DIGITS && is_hex(digest)).then_some(Kind::Embedding);
    }
    let start = name.strip_prefix('.')?.strip_suffix(".tmp")?;
    let (digest, _) = start.split_once('.')?;
    (digest.len() >= DIGITS / 2 && is_hex(digest)).then_some(Kind::Temporary)
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(Error::io(path, e)),
        _ => Ok(()),
    }
}

/// A folder that cannot be written to, as one shared by a group, still serves its files.
fn mark_used(path: &Path) {
    let times = FileTimes::new().set_modified(now());
    let _ = File::options()
        .append(true)
        .open(path)
        .and_then(|file| file.set_times(times));
}

#[expect(
    clippy::disallowed_methods,
    reason = "decides what is forgotten first, never a result"
)]
fn now() -> SystemTime {
    SystemTime::now()
}
