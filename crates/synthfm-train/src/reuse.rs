//! Epochs that share their images, with embeddings kept in a folder: in mode `decoder` the frozen encoder takes most of a
//! step, and an image that it has seen costs a read of the file. Structures and prompts are drawn afresh for each
//! visit. Off by default: the paper draws every image anew.

use std::path::{Path, PathBuf};

use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};
use synthfm_image::RgbImage;
use synthfm_sam::{
    CacheOptions, EmbeddingCache, ImageEmbedding, PrecisionChoice, Predictor, SamConfig,
};

use crate::config::{Mode, TrainConfig};
use crate::learner::{Learner, recorded};
use crate::{Error, Result};

/// Below the run folder.
const FOLDER: &str = "embeddings";

/// Which epochs share their images, and where the embeddings are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReuseConfig {
    /// Epochs one after another that see the same images, 1 to 1000. 1: every image is new, and none is kept.
    pub epochs: u64,
    /// Where embeddings are kept; `embeddings` in the run folder if absent. Runs with the same encoder may share it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub folder: Option<PathBuf>,
    /// Most that the folder may hold, in GB (10⁹ bytes). SAM's embedding takes 4.2 MB.
    pub max_gb: f64,
}

impl Default for ReuseConfig {
    fn default() -> Self {
        Self {
            epochs: 1,
            folder: None,
            max_gb: 50.0,
        }
    }
}

impl ReuseConfig {
    /// Whether images come again.
    pub(crate) fn is_on(&self) -> bool {
        self.epochs > 1
    }

    /// Checks the ranges, and that an epoch's embeddings fit.
    pub(crate) fn validate(&self, config: &TrainConfig, model: &SamConfig) -> Result<()> {
        let fail = |problem: String| Err(Error::Parameter(problem));
        if !(1..=1000).contains(&self.epochs) {
            return fail(format!(
                "reuse.epochs: {} is outside 1 to 1000",
                self.epochs
            ));
        }
        if !self.is_on() {
            return Ok(());
        }
        if config.mode != Mode::Decoder {
            return fail(format!(
                "reuse.epochs: {} epochs can share embeddings only where the image encoder is frozen (mode \"decoder\")",
                self.epochs
            ));
        }
        let needed = config.images_per_epoch as f64 * bytes(model) as f64 / 1e9;
        if needed > self.max_gb || !self.max_gb.is_finite() {
            return fail(format!(
                "reuse.max_gb: the embeddings of {} images take {needed:.1} GB, more than {}; raise it or lower \
                 images_per_epoch",
                config.images_per_epoch, self.max_gb
            ));
        }
        Ok(())
    }

    /// The index of the `image`th image of a run, counted from its first, and how often it was seen before.
    pub(crate) fn visit(&self, image: u64, images_per_epoch: u64) -> (u64, u64) {
        let (epoch, place) = (image / images_per_epoch, image % images_per_epoch);
        let round = epoch / self.epochs;
        (round * images_per_epoch + place, epoch % self.epochs)
    }
}

/// An embedding's file, with room for its description.
fn bytes(model: &SamConfig) -> u64 {
    let (c, g) = (model.prompt_embed_dim as u64, model.embedding_side() as u64);
    // Finer maps: a quarter of the channels at twice the side, an eighth at four times.
    let maps = if model.high_res_features {
        4 * c + 16
    } else {
        c
    };
    4 * maps * g * g + 4096
}

/// The frozen encoder behind a folder of embeddings.
#[derive(Debug, Clone)]
pub(crate) struct EmbeddingReuse {
    predictor: Predictor,
}

impl EmbeddingReuse {
    /// Opens the folder of a run whose configuration asks for one.
    pub(crate) fn open(
        config: &ReuseConfig,
        run: &Path,
        learner: &Learner,
        (device, precision): (&Device, PrecisionChoice),
    ) -> Result<Option<Self>> {
        if !config.is_on() {
            return Ok(None);
        }
        let folder = config.folder.clone().unwrap_or_else(|| run.join(FOLDER));
        let cache = EmbeddingCache::open(&CacheOptions {
            memory_bytes: 0,
            folder: Some(folder),
            folder_bytes: (config.max_gb * 1e9) as u64,
            warn: |text| synthfm_image::tell(&format!("warning: {text}")),
        })?;
        let predictor = Predictor::new(&learner.sam, device)
            .with_precision(precision)?
            .with_cache(cache);
        Ok(Some(Self { predictor }))
    }

    /// The embeddings of images one by one, from the folder or the encoder, on a device that records gradients.
    pub(crate) fn embed(&self, pictures: &[RgbImage]) -> Result<ImageEmbedding> {
        let mut maps: Vec<Vec<Tensor<4>>> = Vec::new();
        for picture in pictures {
            let mut predictor = self.predictor.clone();
            predictor.set_image(picture)?;
            let image = predictor.image().ok_or(synthfm_sam::Error::NoImage)?;
            for (i, map) in image.embedding.maps().enumerate() {
                maps.resize_with(maps.len().max(i + 1), Vec::new);
                maps[i].push(map.clone());
            }
        }
        let joined = maps.into_iter().map(|maps| Tensor::cat(maps, 0));
        let joined = ImageEmbedding::from_maps(joined).ok_or(synthfm_sam::Error::NoImage)?;
        Ok(recorded(joined))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epochs_share_their_images() {
        let config = ReuseConfig {
            epochs: 2,
            ..ReuseConfig::default()
        };
        // Three images per epoch: epochs 0 and 1 see images 0 to 2, epochs 2 and 3 the next three.
        let visits: Vec<_> = [0, 2, 3, 5, 6, 9, 12].map(|i| config.visit(i, 3)).into();
        assert_eq!(
            visits,
            [(0, 0), (2, 0), (0, 1), (2, 1), (3, 0), (3, 1), (6, 0)]
        );
        let once = ReuseConfig::default();
        assert_eq!(once.visit(7, 3), (7, 0), "every image is new");
    }

    #[test]
    fn what_cannot_be_kept_is_refused() {
        let mut config = TrainConfig::default();
        config.reuse.epochs = 2;
        let problem = |config: &TrainConfig| config.validate().unwrap_err().to_string();
        config.reuse.max_gb = 20.0;
        assert!(problem(&config).contains("42.0 GB"), "{}", problem(&config));
        config.reuse.max_gb = 50.0;
        assert!(config.validate().is_ok());
        config.mode = Mode::All;
        assert!(problem(&config).contains("reuse.epochs"));
    }
}
