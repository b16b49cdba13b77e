//! Image embeddings on disk, so that an image is encoded once and prompted in other processes.
//!
//! A safetensors file holds the embedding, the finer maps where there are any, and in its metadata the
//! image's size, the input's side and the hash of the encoder's weights; an embedding of another
//! encoder is refused.

use std::collections::HashMap;
use std::path::Path;

use burn::tensor::{Tensor, TensorData};
use safetensors::tensor::TensorView;
use serde::{Deserialize, Serialize};
use synthfm_image::Size;

use crate::config::Preparation;
use crate::error::{Error, Result};
use crate::image_encoder::ImageEmbedding;
use crate::predictor::{EncodedImage, Predictor};
use crate::preprocess::InputTransform;
use crate::weights::{TensorStore, weights_sha256, write_atomically};

/// Metadata entry that describes the embedding.
const DESCRIPTION: &str = "synthfm_embedding";
const EMBEDDING: &str = "image_embedding";
const HIGH_RES: [&str; 2] = ["high_res.half", "high_res.quarter"];

/// What an embedding belongs to.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Description {
    height: usize,
    width: usize,
    image_size: usize,
    #[serde(default)]
    preparation: Preparation,
    encoder_sha256: String,
}

impl Description {
    fn to_json(&self) -> String {
        serde_json::to_string(self).expect("numbers and text serialise")
    }
}

impl Predictor {
    /// Writes the current image's embedding to a safetensors file.
    pub fn save_embedding(&self, path: &Path) -> Result<()> {
        let image = self.image().ok_or(Error::NoImage)?;
        let size = image.transform.original();
        let description = Description {
            height: size.height,
            width: size.width,
            image_size: image.transform.side(),
            preparation: self.sam().config().preparation,
            encoder_sha256: weights_sha256(&self.sam().image_encoder),
        };
        let ImageEmbedding {
            image_embedding,
            high_res,
        } = image.embedding.clone();
        let maps = high_res
            .into_iter()
            .flat_map(|(half, quarter)| [half, quarter]);
        let tensors: Vec<(&str, TensorData)> = std::iter::once((EMBEDDING, image_embedding))
            .chain(HIGH_RES.into_iter().zip(maps))
            .map(|(name, tensor)| (name, tensor.into_data_as::<f32>()))
            .collect();
        let text = description.to_json();
        let fail = |e: safetensors::SafeTensorError| Error::weights(path, e.to_string());
        let views = tensors
            .iter()
            .map(|(name, data)| {
                let shape = data.shape().to_vec();
                Ok((
                    name,
                    TensorView::new(safetensors::Dtype::F32, shape, data.as_bytes())?,
                ))
            })
            .collect::<std::result::Result<Vec<_>, _>>()
            .map_err(fail)?;
        let metadata = HashMap::from([(DESCRIPTION.to_owned(), text)]);
        let bytes = safetensors::serialize(views, Some(metadata)).map_err(fail)?;
        write_atomically(path, &bytes)
    }

    /// Reads an embedding written by [`Self::save_embedding`]; prompts refer to its image from here on.
    pub fn load_embedding(&mut self, path: &Path) -> Result<()> {
        let store = TensorStore::open(path)?;
        let refuse = |reason: String| Error::Embedding {
            reason,
            path: path.to_owned(),
        };
        let text = store
            .metadata(DESCRIPTION)
            .ok_or_else(|| refuse("the file is no embedding".to_owned()))?;
        let found: Description =
            serde_json::from_str(text).map_err(|e| refuse(format!("its description: {e}")))?;
        let config = self.sam().config();
        if found.image_size != config.image_size {
            let (got, want) = (found.image_size, config.image_size);
            return Err(refuse(format!(
                "made for an input of {got}, the model has {want}"
            )));
        }
        if found.preparation != config.preparation {
            return Err(refuse(
                "made from an input that was prepared differently".to_owned(),
            ));
        }
        if found.encoder_sha256 != weights_sha256(&self.sam().image_encoder) {
            return Err(refuse("made by an encoder with other weights".to_owned()));
        }
        let transform = InputTransform::new(Size::new(found.height, found.width), config)?;
        let (c, g) = (config.prompt_embed_dim, config.embedding_side());
        let read = |name: &str, shape: [usize; 4]| {
            let found = store.tensors().get(name).map(|info| info.shape.as_slice());
            if found != Some(&shape) {
                return Err(refuse(format!(
                    "{name} has shape {found:?}, expected {shape:?}"
                )));
            }
            let data = TensorData::new(store.read(name)?, shape);
            Ok(Tensor::<4>::from_data(data, self.device()))
        };
        let high_res = if config.high_res_features {
            Some((
                read(HIGH_RES[0], [1, c / 4, 2 * g, 2 * g])?,
                read(HIGH_RES[1], [1, c / 8, 4 * g, 4 * g])?,
            ))
        } else {
            None
        };
        let embedding = ImageEmbedding {
            image_embedding: read(EMBEDDING, [1, c, g, g])?,
            high_res,
        };
        self.set_encoded_image(EncodedImage {
            embedding,
            transform,
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use synthfm_image::{Point2, RgbImage};

    use super::*;
    use crate::testing::{sam_tiny, values};
    use crate::{EncoderConfig, MaskOutput, Prompts, Sam, SamConfig, SmallEncoderConfig};

    fn image() -> RgbImage {
        let bytes = (0..3 * 30 * 50).map(|i| (i % 251) as u8).collect();
        RgbImage::new(Size::new(30, 50), bytes).unwrap()
    }

    fn click() -> Prompts {
        Prompts {
            points: vec![(Point2::new(40.0, 10.0), true)],
            ..Prompts::default()
        }
    }

    fn round_trip(sam: &Sam) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("image.safetensors");
        let mut first = Predictor::new(sam, &Device::flex());
        first.set_image(&image()).unwrap();
        first.save_embedding(&path).unwrap();
        let mut second = Predictor::new(sam, &Device::flex());
        second.load_embedding(&path).unwrap();
        let predict = |p: &Predictor| p.predict(&click(), MaskOutput::Multi).unwrap();
        assert_eq!(predict(&first), predict(&second));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_stored_embedding_answers_as_the_image_does() {
        round_trip(&sam_tiny());
    }

    #[test]
    fn finer_maps_are_stored_too() {
        let small = SmallEncoderConfig {
            channels: [8, 8, 8, 8],
            blocks: [1, 1, 1],
            attention_blocks: 1,
            num_heads: 2,
        };
        let config = SamConfig {
            high_res_features: true,
            prompt_embed_dim: 32,
            decoder_heads: 2,
            ..SamConfig::with_encoder(64, EncoderConfig::Small(small))
        };
        let sam = Sam::new(&config, &Device::flex());
        let shapes = sam.encode(Tensor::zeros([1, 3, 64, 64], &Device::flex()));
        let (half, quarter) = shapes.high_res.unwrap();
        assert_eq!(half.dims(), [1, 8, 16, 16]);
        assert_eq!(quarter.dims(), [1, 4, 32, 32]);
        round_trip(&sam);
    }

    #[test]
    fn embeddings_of_another_encoder_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("image.safetensors");
        let tiny = sam_tiny();
        let mut first = Predictor::new(&tiny, &Device::flex());
        first.set_image(&image()).unwrap();
        first.save_embedding(&path).unwrap();

        let fresh = Sam::new(tiny.config(), &Device::flex());
        let error = Predictor::new(&fresh, &Device::flex())
            .load_embedding(&path)
            .unwrap_err();
        assert!(error.to_string().contains("other weights"), "{error}");

        let weights = crate::testing::fixture("sam_tiny.safetensors");
        let error = first.load_embedding(&weights).unwrap_err();
        assert!(error.to_string().contains("no embedding"), "{error}");
        // The image set before is still there.
        assert_eq!(
            values(first.image().unwrap().embedding.image_embedding.clone()).len(),
            32 * 64
        );
    }
}
