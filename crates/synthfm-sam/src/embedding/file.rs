//! One embedding as safetensors, and the files that the user names.
//!
//! The file holds the embedding and the finer maps where there are any, bit for bit; its metadata hold the key
//! and a hash of the values, without which a flipped bit would pass for an answer.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use burn::tensor::{Device, Tensor, TensorData};
use safetensors::tensor::TensorView;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use synthfm_image::RgbImage;

use super::key::EmbeddingKey;
use crate::config::SamConfig;
use crate::error::{Error, Result};
use crate::image_encoder::ImageEmbedding;
use crate::predictor::{EncodedImage, Predictor};
use crate::preprocess::InputTransform;
use synthfm_image::hex;

use crate::weights::{TensorStore, write_atomically};

/// Metadata entry with [`KEY`] and [`VALUES_SHA256`]: one, because a file's bytes must not depend on an order.
const DESCRIPTION: &str = "synthfm_embedding";
const KEY: &str = "key";
/// Over all values, the embedding's first.
const VALUES_SHA256: &str = "values_sha256";
const MAPS: [&str; 4] = [
    "image_embedding",
    "high_res.half",
    "high_res.quarter",
    "high_res.grey",
];
/// More than any header of ours takes.
const MAX_HEADER: usize = 64 << 10;

/// What an embedding is read for.
pub(super) struct Expected<'a> {
    pub(super) key: &'a EmbeddingKey,
    pub(super) config: &'a SamConfig,
    pub(super) device: &'a Device,
}

impl Predictor {
    /// Writes the embedding of `image`, which is encoded or taken from the cache; prompts refer to it from
    /// here on.
    pub fn save_embedding(&mut self, image: &RgbImage, path: &Path) -> Result<()> {
        let key = self.key(image);
        self.set_image(image)?;
        let encoded = self.image().ok_or(Error::NoImage)?;
        let bytes = to_bytes(&encoded.embedding, &key).map_err(|r| Error::weights(path, r))?;
        write_atomically(path, &bytes)
    }

    /// Reads the embedding of `image` that [`Self::save_embedding`] wrote; prompts refer to it from here on. The file holds
    /// the whole image's embedding; crops are encoded from `image` when an answer of our own model needs them.
    ///
    /// # Errors
    /// [`Error::Embedding`] names every item that differs: image, preparation, precision, weights, version.
    pub fn load_embedding(&mut self, image: &RgbImage, path: &Path) -> Result<()> {
        let expected = Expected {
            key: &self.key(image),
            config: self.sam().config(),
            device: self.device(),
        };
        let encoded = expected.read(path)?;
        let encoded = encoded.with_picture(image, self.sam().config());
        self.set_encoded_image(encoded);
        Ok(())
    }

    /// The key of an image's embedding by this encoder in this precision.
    pub(super) fn key(&self, image: &RgbImage) -> EmbeddingKey {
        let config = self.sam().config();
        EmbeddingKey::new(image, config, self.arithmetic(), self.encoder_sha256())
    }
}

/// What a safetensors file says about the embedding that it holds: version of the form, image size in pixels, side of the
/// model's input, preparation, precision, and hashes of image and encoder; `None` for a file that holds none.
///
/// # Errors
/// Where the file cannot be read or is no safetensors file.
pub fn describe_embedding(path: &Path) -> Result<Option<Value>> {
    let store = TensorStore::open(path)?;
    let description: Option<Value> = store
        .metadata(DESCRIPTION)
        .and_then(|text| serde_json::from_str(text).ok());
    Ok(description.and_then(|mut description| description.get_mut(KEY).map(Value::take)))
}

/// An embedding with its key, as the bytes of a file.
pub(super) fn to_bytes(
    embedding: &ImageEmbedding,
    key: &EmbeddingKey,
) -> std::result::Result<Vec<u8>, String> {
    let tensors: Vec<(&str, TensorData)> = MAPS
        .into_iter()
        .zip(embedding.maps())
        .map(|(name, tensor)| (name, tensor.clone().into_data_as::<f32>()))
        .collect();
    let description = json!({
        KEY: key,
        VALUES_SHA256: values_sha256(tensors.iter().map(|(_, data)| data)),
    });
    let metadata = HashMap::from([(DESCRIPTION.to_owned(), description.to_string())]);
    let views = tensors.iter().map(|(name, data)| {
        let shape = data.shape().to_vec();
        TensorView::new(safetensors::Dtype::F32, shape, data.as_bytes()).map(|view| (name, view))
    });
    let views = views.collect::<std::result::Result<Vec<_>, _>>();
    views
        .and_then(|views| safetensors::serialize(views, Some(metadata)))
        .map_err(|e| e.to_string())
}

fn values_sha256<'a>(tensors: impl Iterator<Item = &'a TensorData>) -> String {
    let mut hasher = Sha256::new();
    for data in tensors {
        hasher.update(data.as_bytes());
    }
    hex(&hasher.finalize())
}

impl Expected<'_> {
    /// Reads a file. It is opened once, so that another process may replace or remove it meanwhile, and no
    /// more is read than the expected embedding takes.
    pub(super) fn read(&self, path: &Path) -> Result<EncodedImage> {
        let io = |e| Error::io(path, e);
        let refuse = |reason: String| Error::Embedding {
            reason,
            path: path.to_owned(),
        };
        // Opening a pipe would wait for its other end.
        let found = fs::metadata(path).map_err(io)?;
        let limit = self.max_bytes();
        if !found.is_file() || found.len() > limit as u64 {
            let (is, bytes) = (found.is_file(), found.len());
            let what = if is { "a file" } else { "no regular file" };
            return Err(refuse(format!(
                "{what} of {bytes} bytes, at most {limit} expected"
            )));
        }
        let mut bytes = Vec::new();
        let file = File::open(path).map_err(io)?;
        file.take(limit as u64)
            .read_to_end(&mut bytes)
            .map_err(io)?;
        self.parse(bytes).map_err(refuse)
    }

    /// The embedding in the bytes of a file.
    fn parse(&self, bytes: Vec<u8>) -> std::result::Result<EncodedImage, String> {
        let store = TensorStore::from_bytes(bytes.into()).map_err(reason)?;
        let text = store
            .metadata(DESCRIPTION)
            .ok_or_else(|| "the file is no embedding".to_owned())?;
        let mut description: Value = serde_json::from_str(text)
            .map_err(|e| format!("its description cannot be read: {e}"))?;
        let key = description.get_mut(KEY).map(Value::take);
        self.key.check(key.unwrap_or_default())?;
        let tensors = self
            .shapes()
            .into_iter()
            .map(|(name, shape)| {
                let found = store.tensors().get(name).map(|info| info.shape.as_slice());
                if found != Some(&shape) {
                    return Err(format!("{name} has shape {found:?}, expected {shape:?}"));
                }
                let values = store.read(name).map_err(reason)?;
                Ok(TensorData::new(values, shape))
            })
            .collect::<std::result::Result<Vec<_>, _>>()?;
        if description[VALUES_SHA256] != values_sha256(tensors.iter()) {
            return Err("its values are damaged".to_owned());
        }
        let transform =
            InputTransform::new(self.key.size(), self.config).map_err(|e| e.to_string())?;
        let maps = tensors
            .into_iter()
            .map(|data| Tensor::<4>::from_data(data, self.device));
        let embedding = ImageEmbedding::from_maps(maps).ok_or("an embedding has a map")?;
        Ok(EncodedImage::new(embedding, transform))
    }

    /// The maps that the model's decoder takes.
    fn shapes(&self) -> Vec<(&'static str, [usize; 4])> {
        let (c, g) = (self.config.prompt_embed_dim, self.config.embedding_side());
        let shapes = [
            [1, c, g, g],
            [1, c / 4, 2 * g, 2 * g],
            [1, c / 8, 4 * g, 4 * g],
            [1, 1, 4 * g, 4 * g],
        ];
        let count = match (self.config.high_res_features, self.config.is_sam2()) {
            (false, _) => 1,
            (true, true) => 3,
            (true, false) => 4,
        };
        MAPS.into_iter().zip(shapes).take(count).collect()
    }

    fn max_bytes(&self) -> usize {
        let values: usize = self
            .shapes()
            .iter()
            .map(|(_, shape)| shape.iter().product::<usize>())
            .sum();
        MAX_HEADER + size_of::<f32>() * values
    }
}

/// What is wrong, without the name that stands for bytes in memory.
fn reason(error: Error) -> String {
    match error {
        Error::Weights { reason, .. } => reason,
        other => other.to_string(),
    }
}
