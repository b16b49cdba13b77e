//! An encoded image, and what is computed from it only once.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use burn::tensor::Tensor;
use synthfm_image::RgbImage;

use crate::config::SamConfig;
use crate::error::Result;
use crate::image_encoder::ImageEmbedding;
use crate::preprocess::InputTransform;
use crate::sam::Sam;
use crate::transformer::PrecomputedImageTokens;
use crate::views::Window;

/// Crops of an image whose embeddings are kept for later clicks.
const MAX_CROPS: usize = 4;

/// An encoded image: all that prompts need of it. Clones share what is computed later.
///
/// For our own model it holds the image's pixels too, from which crops are encoded when an answer needs them, and the
/// embeddings of the latest crops; [`EncodedImage::bytes`] counts them.
#[derive(Debug, Clone)]
pub struct EncodedImage {
    /// One image's embedding.
    pub embedding: ImageEmbedding,
    /// Its pixels' place in the model's input.
    pub transform: InputTransform,
    picture: Option<Arc<RgbImage>>,
    kept: Arc<Kept>,
}

/// What is computed when it is first asked for.
#[derive(Debug, Default)]
struct Kept {
    side: OnceLock<Option<PrecomputedImageTokens>>,
    /// The least recently used first.
    crops: Mutex<VecDeque<(Window, EncodedImage)>>,
}

impl EncodedImage {
    pub(crate) fn new(embedding: ImageEmbedding, transform: InputTransform) -> Self {
        Self {
            embedding,
            transform,
            picture: None,
            kept: Arc::default(),
        }
    }

    /// The same with the pixels that crops are cut from, where the model looks at crops; nothing of another model is kept.
    pub(crate) fn with_picture(self, picture: &RgbImage, config: &SamConfig) -> Self {
        let picture = config.is_own().then(|| Arc::new(picture.clone()));
        Self {
            picture,
            ..self.bare()
        }
    }

    /// The embedding alone.
    pub(crate) fn bare(self) -> Self {
        Self::new(self.embedding, self.transform)
    }

    /// The pixels that crops are cut from.
    pub(crate) fn picture(&self) -> Option<&RgbImage> {
        self.picture.as_deref()
    }

    /// What all prompts on the image share in the decoder.
    pub(crate) fn side(&self, sam: &Sam, image_pe: &Tensor<3>) -> Option<&PrecomputedImageTokens> {
        let side = || sam.image_tokens(&self.embedding, image_pe);
        self.kept.side.get_or_init(side).as_ref()
    }

    /// A crop's embedding, which is kept for later prompts.
    pub(crate) fn crop(
        &self,
        window: Window,
        encode: impl FnOnce() -> Result<EncodedImage>,
    ) -> Result<EncodedImage> {
        let found = {
            let mut crops = self.crops();
            let at = crops.iter().position(|(kept, _)| *kept == window);
            at.and_then(|at| crops.remove(at))
        };
        let crop = match found {
            Some((_, crop)) => crop,
            None => encode()?.bare(),
        };
        let mut crops = self.crops();
        crops.push_back((window, crop.clone()));
        while crops.len() > MAX_CROPS {
            crops.pop_front();
        }
        Ok(crop)
    }

    /// Bytes of the embedding, of the pixels, and of the crops' embeddings that are held at present.
    pub fn bytes(&self) -> usize {
        let values: usize = self
            .embedding
            .maps()
            .map(|map| map.dims().iter().product::<usize>())
            .sum();
        let pixels = self
            .picture
            .as_ref()
            .map_or(0, |picture| picture.data().len());
        let side = self.kept.side.get().and_then(Option::as_ref);
        let side: usize = side.map_or(0, |side| {
            let maps = std::iter::once(&side.tokens).chain(&side.projected);
            maps.map(|map| map.dims().iter().product::<usize>()).sum()
        });
        let crops: usize = self.crops().iter().map(|(_, crop)| crop.bytes()).sum();
        size_of::<f32>() * (values + side) + pixels + crops
    }

    fn crops(&self) -> MutexGuard<'_, VecDeque<(Window, EncodedImage)>> {
        self.kept
            .crops
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
