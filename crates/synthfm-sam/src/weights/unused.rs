//! Keys that checkpoints carry and that have no influence on a mask.
//!
//! MobileSAM's file holds the classifier's head that its encoder was trained with, batch normalisation's
//! step counters and, from some versions of its code, tables that follow from the window's side. They may
//! be in a file, are never read, and are made up where a file must satisfy `load_state_dict(strict=True)`.

use std::collections::BTreeMap;

use crate::config::{EncoderConfig, SamConfig};
use crate::error::{Error, Result};

/// Classes of the head that `TinyViT` was trained with (ImageNet-1k).
const CLASSES: usize = 1000;
/// Batch normalisation's step counter.
const COUNTER: &str = "num_batches_tracked";

/// Whether a checkpoint of this kind of model may hold `key` although the model has no such parameter.
pub(super) fn is_unused(config: &SamConfig, key: &str) -> bool {
    let EncoderConfig::TinyVit(_) = config.encoder else {
        return false;
    };
    let Some(key) = key.strip_prefix("image_encoder.") else {
        return false;
    };
    let head = [
        "head.weight",
        "head.bias",
        "norm_head.weight",
        "norm_head.bias",
    ]
    .contains(&key);
    let derived = [".attn.attention_bias_idxs", ".attn.ab"];
    head || key.ends_with(&format!(".bn.{COUNTER}")) || derived.iter().any(|end| key.ends_with(end))
}

/// Fails for a model that the Python code of SAM, SAM 2 and MobileSAM cannot build.
pub fn ensure_published(config: &SamConfig) -> Result<()> {
    match config.encoder {
        EncoderConfig::Vit(_) | EncoderConfig::TinyVit(_) | EncoderConfig::Hiera(_) => Ok(()),
        EncoderConfig::Small(_) => Err(Error::NotPublished),
    }
}

/// A tensor that MobileSAM's own code insists on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Required {
    /// Zeros of this shape.
    Zeros(Vec<usize>),
    /// One 64-bit integer: 0.
    Counter,
}

/// What a strict loader asks for beyond the model's own `keys`.
pub(super) fn required<'a>(
    config: &SamConfig,
    keys: impl Iterator<Item = &'a str>,
) -> BTreeMap<String, Required> {
    let EncoderConfig::TinyVit(tiny) = &config.encoder else {
        return BTreeMap::new();
    };
    let width = tiny.embed_dims[3];
    let zeros = |key: &str, shape: &[usize]| {
        (
            format!("image_encoder.{key}"),
            Required::Zeros(shape.to_vec()),
        )
    };
    let counters = keys
        .filter_map(|key| key.strip_suffix("running_mean"))
        .map(|bn| (format!("{bn}{COUNTER}"), Required::Counter));
    [
        zeros("head.weight", &[CLASSES, width]),
        zeros("head.bias", &[CLASSES]),
        zeros("norm_head.weight", &[width]),
        zeros("norm_head.bias", &[width]),
    ]
    .into_iter()
    .chain(counters)
    .collect()
}
