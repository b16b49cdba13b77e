//! Gzip files of any number of members, and what follows them.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::bufread::GzDecoder;

/// Signature of a gzip member, with the only method that exists.
const GZIP_MEMBER: &[u8] = b"\x1f\x8b\x08";

/// Bytes after the end of compressed data, which tape drives and careless copies leave.
#[derive(Debug, Clone, Default)]
pub(super) struct Trailing(Arc<AtomicU64>);

impl Trailing {
    /// A remark on bytes after the end of the stream, once everything has been read.
    pub(super) fn note(&self) -> Option<String> {
        let bytes = self.0.load(Ordering::Relaxed);
        (bytes > 0)
            .then(|| format!("{bytes} bytes after the end of the compressed data were left out"))
    }
}

/// Members of a gzip file, one after the other; bytes after them that begin no member end the stream.
pub(super) struct Gzip<'a> {
    decoder: GzDecoder<&'a [u8]>,
    done: bool,
    trailing: Trailing,
}

impl<'a> Gzip<'a> {
    pub(super) fn new(bytes: &'a [u8], trailing: Trailing) -> Self {
        Self {
            decoder: GzDecoder::new(bytes),
            done: false,
            trailing,
        }
    }
}

impl Read for Gzip<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while !self.done && !out.is_empty() {
            let got = self.decoder.read(out)?;
            if got > 0 {
                return Ok(got);
            }
            let rest = *self.decoder.get_ref();
            if rest.starts_with(GZIP_MEMBER) {
                self.decoder = GzDecoder::new(rest);
            } else {
                self.trailing.0.store(rest.len() as u64, Ordering::Relaxed);
                self.done = true;
            }
        }
        Ok(0)
    }
}
