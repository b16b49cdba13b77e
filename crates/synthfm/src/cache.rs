//! `--cache DIR`: embeddings of images that were encoded before, by this process or an earlier one.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use synthfm_sam::{CacheOptions, CacheStats, EmbeddingCache, Predictor};

use crate::bytes::parse_bytes;
use crate::output::Session;

/// The cache of embeddings.
#[derive(Debug, Clone, Args)]
pub(crate) struct CacheArgs {
    /// Keep embeddings in this folder and take them from it, so that no image is encoded twice by the same model
    #[arg(long, value_name = "DIR")]
    pub(crate) cache: Option<PathBuf>,
    /// Room for --cache, such as 500MB or 4GiB; embeddings not used for the longest time go first
    #[arg(long, value_name = "SIZE", default_value = "2GiB", requires = "cache", value_parser = parse_bytes)]
    pub(crate) cache_size: u64,
}

impl CacheArgs {
    /// The predictor with the cache that was asked for.
    pub(crate) fn attach(&self, predictor: Predictor, session: &Session) -> Result<Predictor> {
        Ok(match self.open(session)? {
            Some(cache) => predictor.with_cache(cache),
            None => predictor,
        })
    }

    /// The predictor with the cache that was asked for on the disk alone, for a caller that keeps embeddings in memory
    /// itself.
    pub(crate) fn attach_folder(
        &self,
        predictor: Predictor,
        session: &Session,
    ) -> Result<Predictor> {
        if self.cache.is_none() {
            return Ok(predictor);
        }
        let options = CacheOptions {
            memory_bytes: 0,
            ..self.options(session)
        };
        Ok(predictor.with_cache(EmbeddingCache::open(&options)?))
    }

    /// The cache that was asked for, if one was.
    pub(crate) fn open(&self, session: &Session) -> Result<Option<EmbeddingCache>> {
        if self.cache.is_none() {
            return Ok(None);
        }
        Ok(Some(EmbeddingCache::open(&self.options(session))?))
    }

    fn options(&self, session: &Session) -> CacheOptions {
        CacheOptions {
            folder: self.cache.clone(),
            folder_bytes: self.cache_size,
            warn: if session.quiet {
                |_| ()
            } else {
                |text| synthfm_image::tell(&format!("warning: {text}"))
            },
            ..CacheOptions::default()
        }
    }

    /// For records: where embeddings came from; `None` without a cache.
    pub(crate) fn stats(predictor: &Predictor) -> Option<CacheStats> {
        predictor.cache().map(EmbeddingCache::stats)
    }
}
