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

/// Views of an image whose embeddings are kept for later clicks: the whole image turned, and four crops both ways.
const MAX_VIEWS: usize = 9;

/// A part of an image, as it is or turned by half a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct View {
    pub(crate) window: Window,
    pub(crate) turned: bool,
}

/// An encoded image: all that prompts need of it. Clones share what is computed later.
///
/// For our own model it holds the image's pixels too, from which other views are encoded when an answer needs them, and the
/// embeddings of the latest views; [`EncodedImage::bytes`] counts them.
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
    views: Mutex<VecDeque<(View, EncodedImage)>>,
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

    /// The embedding with the pixels that views are cut from, where the model looks at views; nothing else is kept.
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

    /// The pixels that views are cut from.
    pub(crate) fn picture(&self) -> Option<&RgbImage> {
        self.picture.as_deref()
    }

    /// What all prompts on the image share in the decoder.
    pub(crate) fn side(&self, sam: &Sam, image_pe: &Tensor<3>) -> Option<&PrecomputedImageTokens> {
        let side = || sam.image_tokens(&self.embedding, image_pe);
        self.kept.side.get_or_init(side).as_ref()
    }

    /// A view's embedding, which is kept for later prompts.
    pub(crate) fn view(
        &self,
        view: View,
        encode: impl FnOnce() -> Result<EncodedImage>,
    ) -> Result<EncodedImage> {
        let found = {
            let mut views = self.views();
            let at = views.iter().position(|(kept, _)| *kept == view);
            at.and_then(|at| views.remove(at))
        };
        let encoded = match found {
            Some((_, encoded)) => encoded,
            None => encode()?.bare(),
        };
        let mut views = self.views();
        views.push_back((view, encoded.clone()));
        while views.len() > MAX_VIEWS {
            views.pop_front();
        }
        Ok(encoded)
    }

    /// Bytes of the embedding, of the pixels, and of the views' embeddings that are held at present.
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
        let views: usize = self.views().iter().map(|(_, view)| view.bytes()).sum();
        size_of::<f32>() * (values + side) + pixels + views
    }

    fn views(&self) -> MutexGuard<'_, VecDeque<(View, EncodedImage)>> {
        self.kept
            .views
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
