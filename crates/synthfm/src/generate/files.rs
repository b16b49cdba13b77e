//! Files as bytes, and their hashes.

use std::fs;
use std::io::{self, Read, Write};
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use synthfm_image::hex;
use synthfm_image::{write_atomically, write_atomically_unsynced};

/// A file before it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct File {
    /// Path in the data set, with `/`.
    pub(super) name: String,
    pub(super) bytes: Vec<u8>,
}

/// Path, length and hash of a written file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FileHash {
    /// Path in the data set, with `/`.
    pub(super) file: String,
    pub(super) bytes: u64,
    pub(super) sha256: String,
}

impl File {
    /// Writes it below `root`, whole or not at all.
    pub(super) fn write(&self, root: &Path) -> Result<()> {
        let path = root.join(&self.name);
        if path.is_symlink() {
            bail!(
                "{} is a link, and its file would be replaced: remove it, or choose another folder",
                path.display()
            );
        }
        write_atomically_unsynced(&path, |out| out.write_all(&self.bytes))?;
        Ok(())
    }

    pub(super) fn hash(&self) -> FileHash {
        FileHash {
            file: self.name.clone(),
            bytes: self.bytes.len() as u64,
            sha256: sha256(&self.bytes),
        }
    }
}

impl FileHash {
    /// The hash of the file `name` below `root`.
    pub(super) fn of(root: &Path, name: &str) -> Result<Self> {
        let path = root.join(name);
        let context = || path.display().to_string();
        // Opening a pipe would wait for somebody to write into it.
        if !fs::symlink_metadata(&path).with_context(context)?.is_file() {
            bail!("{}: not a file", path.display());
        }
        let mut hashing = Hashing::new(io::sink());
        let mut file = fs::File::open(&path).with_context(context)?;
        let mut buffer = vec![0; 1 << 16];
        loop {
            let read = file.read(&mut buffer).with_context(context)?;
            if read == 0 {
                return Ok(hashing.finish(name));
            }
            hashing.write_all(&buffer[..read]).with_context(context)?;
        }
    }
}

/// Writes `path` whole or not at all, by a writer that may fail for reasons of its own.
pub(super) fn write_whole<T>(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> Result<T>,
) -> Result<T> {
    let (mut value, mut problem) = (None, None);
    let written = write_atomically(path, |out| match write(out) {
        Ok(written) => {
            value = Some(written);
            Ok(())
        }
        Err(error) => {
            problem = Some(error);
            Err(io::Error::other("not written"))
        }
    });
    if let Some(problem) = problem {
        return Err(problem.context(path.display().to_string()));
    }
    written?;
    Ok(value.expect("a file is in place only after its writer has succeeded"))
}

/// Hashes what passes through it.
pub(super) struct Hashing<W> {
    inner: W,
    bytes: u64,
    digest: Sha256,
}

impl<W: Write> Hashing<W> {
    pub(super) fn new(inner: W) -> Self {
        Self {
            inner,
            bytes: 0,
            digest: Sha256::new(),
        }
    }

    /// Length and hash of the bytes that have passed, under the path `name`.
    pub(super) fn finish(self, name: &str) -> FileHash {
        FileHash {
            file: name.to_owned(),
            bytes: self.bytes,
            sha256: hex(&self.digest.finalize()),
        }
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.digest.update(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// As hexadecimal digits.
pub(super) fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FIPS 180-2, appendix B.1.
    #[test]
    fn hashes_are_those_of_the_standard() {
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let file = File {
            name: "a".into(),
            bytes: b"abc".to_vec(),
        };
        assert_eq!(file.hash().sha256, abc);
        let folder = tempfile::tempdir().unwrap();
        file.write(folder.path()).unwrap();
        assert_eq!(FileHash::of(folder.path(), "a").unwrap(), file.hash());
        assert!(FileHash::of(folder.path(), ".").is_err());
    }
}
