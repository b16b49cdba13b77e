//! Embeddings that were computed before: in memory, then in a folder, then by the encoder.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use synthfm_image::RgbImage;

use super::file::Expected;
use super::folder::Folder;
use crate::error::Result;
use crate::predictor::{EncodedImage, Predictor};

/// Where embeddings are kept, and how many.
#[derive(Debug, Clone)]
pub struct CacheOptions {
    /// Bytes of embeddings in memory; SAM's takes 4 MiB.
    pub memory_bytes: usize,
    /// A folder for embeddings that outlive the process; several processes may share it.
    pub folder: Option<PathBuf>,
    /// Bytes of files in the folder.
    pub folder_bytes: u64,
    /// Told of stored files that are not used, and of those that cannot be written.
    pub warn: fn(&str),
}

impl Default for CacheOptions {
    /// 256 MiB in memory, nothing on disk; 2 GiB where a folder is named.
    fn default() -> Self {
        Self {
            memory_bytes: 256 << 20,
            folder: None,
            folder_bytes: 2 << 30,
            warn: |_| (),
        }
    }
}

/// Where the embeddings came from that were asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct CacheStats {
    /// Kept in memory.
    pub from_memory: usize,
    /// Read from the folder.
    pub from_folder: usize,
    /// Computed.
    pub encoded: usize,
}

/// A bounded store of embeddings, whole images' and crops' alike; the least recently used ones go first.
#[derive(Debug)]
pub struct EmbeddingCache {
    memory: Mutex<Memory>,
    folder: Option<Folder>,
    warn: fn(&str),
}

#[derive(Debug)]
struct Memory {
    max_bytes: usize,
    /// By digest of the key, the least recently used first.
    images: VecDeque<(String, EncodedImage)>,
    stats: CacheStats,
}

impl EmbeddingCache {
    /// Opens a cache, and makes its folder.
    ///
    /// # Errors
    /// [`crate::Error::Io`] where the folder cannot be made or read.
    pub fn open(options: &CacheOptions) -> Result<Self> {
        let CacheOptions {
            memory_bytes: max_bytes,
            ref folder,
            folder_bytes,
            warn,
        } = *options;
        let folder = folder
            .as_deref()
            .map(|path| Folder::open(path, folder_bytes))
            .transpose()?;
        let memory = Mutex::new(Memory {
            max_bytes,
            images: VecDeque::new(),
            stats: CacheStats::default(),
        });
        Ok(Self {
            memory,
            folder,
            warn,
        })
    }

    /// What was found and what was computed since the cache was opened.
    pub fn stats(&self) -> CacheStats {
        self.memory().stats
    }

    /// The embedding that is expected, from the nearest place that has it. The folder never makes this fail:
    /// a file in it that is something else is reported and replaced.
    fn get_or_encode(
        &self,
        expected: &Expected<'_>,
        encode: impl FnOnce() -> Result<EncodedImage>,
    ) -> Result<EncodedImage> {
        let digest = expected.key.digest();
        if let Some(image) = self.memory().get(&digest) {
            return Ok(image);
        }
        let (image, count): (_, fn(&mut CacheStats) -> &mut usize) = match self.stored(expected) {
            Some(image) => (image, |stats| &mut stats.from_folder),
            None => (self.compute(expected, encode)?, |stats| &mut stats.encoded),
        };
        let mut memory = self.memory();
        *count(&mut memory.stats) += 1;
        memory.put(digest, &image);
        Ok(image)
    }

    fn stored(&self, expected: &Expected<'_>) -> Option<EncodedImage> {
        self.folder.as_ref()?.get(expected).unwrap_or_else(|error| {
            (self.warn)(&format!("{error} (the cache replaces it)"));
            None
        })
    }

    fn compute(
        &self,
        expected: &Expected<'_>,
        encode: impl FnOnce() -> Result<EncodedImage>,
    ) -> Result<EncodedImage> {
        let image = encode()?;
        if let Some(folder) = &self.folder
            && let Err(error) = folder.put(&image, expected)
        {
            (self.warn)(&format!("the embedding was not cached: {error}"));
        }
        Ok(image)
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Memory {
    fn get(&mut self, digest: &str) -> Option<EncodedImage> {
        let place = self.images.iter().position(|(found, _)| found == digest)?;
        let entry = self.images.remove(place)?;
        let image = entry.1.clone();
        self.images.push_back(entry);
        self.stats.from_memory += 1;
        Some(image)
    }

    fn put(&mut self, digest: String, image: &EncodedImage) {
        self.images.push_back((digest, image.clone()));
        let mut total: usize = self.images.iter().map(|(_, image)| image.bytes()).sum();
        while total > self.max_bytes
            && let Some((_, oldest)) = self.images.pop_front()
        {
            total -= oldest.bytes();
        }
    }
}

impl Predictor {
    /// Encodes an image, or takes its embedding from the cache where the predictor has one.
    pub(crate) fn encode_or_recall(&self, image: &RgbImage) -> Result<EncodedImage> {
        self.check_memory(image.size())?;
        let encode = || self.encode_as(image, false);
        let config = self.sam().config();
        let Some(cache) = self.cache() else {
            return Ok(encode()?.with_picture(image, config));
        };
        let expected = Expected {
            key: &self.key(image),
            config,
            device: self.device(),
        };
        let found = cache.get_or_encode(&expected, encode)?;
        Ok(found.with_picture(image, config))
    }
}
