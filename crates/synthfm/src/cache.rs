//! `--cache DIR`: embeddings of images that were encoded before, by this process or an earlier one.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use synthfm_sam::{CacheOptions, CacheStats, EmbeddingCache, Predictor};

use crate::output::Session;

/// What units of `--cache-size` multiply by; a number alone counts bytes.
const UNITS: [(&str, u64); 9] = [
    ("kib", 1 << 10),
    ("mib", 1 << 20),
    ("gib", 1 << 30),
    ("tib", 1 << 40),
    ("kb", 1_000),
    ("mb", 1_000_000),
    ("gb", 1_000_000_000),
    ("tb", 1_000_000_000_000),
    ("", 1),
];

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

    /// The cache that was asked for, if one was.
    pub(crate) fn open(&self, session: &Session) -> Result<Option<EmbeddingCache>> {
        if self.cache.is_none() {
            return Ok(None);
        }
        let options = CacheOptions {
            folder: self.cache.clone(),
            folder_bytes: self.cache_size,
            warn: if session.quiet {
                |_| ()
            } else {
                |text| synthfm_image::tell(&format!("warning: {text}"))
            },
            ..CacheOptions::default()
        };
        Ok(Some(EmbeddingCache::open(&options)?))
    }

    /// For records: where embeddings came from; `None` without a cache.
    pub(crate) fn stats(predictor: &Predictor) -> Option<CacheStats> {
        predictor.cache().map(EmbeddingCache::stats)
    }
}

fn parse_bytes(text: &str) -> Result<u64, String> {
    let lower = text.trim().to_lowercase();
    let (number, factor) = UNITS
        .iter()
        .find_map(|(unit, factor)| Some((lower.strip_suffix(unit)?.trim_end(), factor)))
        .unwrap_or((&lower, &1));
    number
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(*factor))
        .ok_or_else(|| {
            "a whole number of bytes, kB, MB, GB, KiB, MiB or GiB expected, such as 2GiB".to_owned()
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        for (text, bytes) in [
            ("0", 0),
            ("1500", 1500),
            ("3kB", 3000),
            ("2 GiB", 2 << 30),
            ("500MB", 500_000_000),
            ("1tib", 1 << 40),
        ] {
            assert_eq!(parse_bytes(text), Ok(bytes), "{text}");
        }
        for text in ["", "GiB", "-1", "1.5GB", "2G", "99999999999GiB", "two"] {
            assert!(parse_bytes(text).is_err(), "{text}");
        }
    }
}
