//! Embeddings in memory, bounded by their bytes; those not used for the longest time go first.

use std::collections::VecDeque;

use synthfm_sam::EncodedImage;

use super::ImageKey;

/// The least recently used first.
#[derive(Debug)]
pub(super) struct EmbeddingCache {
    max_bytes: usize,
    images: VecDeque<(ImageKey, EncodedImage)>,
}

impl EmbeddingCache {
    pub(super) fn new(max_bytes: usize) -> Self {
        Self {
            max_bytes,
            images: VecDeque::new(),
        }
    }

    /// An image that is kept. Others go where crops of images that were asked about have taken their place since.
    pub(super) fn get(&mut self, key: &ImageKey) -> Option<EncodedImage> {
        let at = self.images.iter().position(|(found, _)| found == key)?;
        let entry = self.images.remove(at)?;
        let image = entry.1.clone();
        self.images.push_back(entry);
        self.trim();
        Some(image)
    }

    pub(super) fn put(&mut self, key: ImageKey, image: EncodedImage) {
        self.images.retain(|(found, _)| *found != key);
        self.images.push_back((key, image));
        self.trim();
    }

    /// Drops the embeddings of an image.
    pub(super) fn forget(&mut self, image: &str) {
        self.images.retain(|(key, _)| key.image != image);
    }

    /// Drops the least recently used images beyond the limit. The newest stays, however large it is.
    fn trim(&mut self) {
        let mut bytes = self.bytes();
        while bytes > self.max_bytes && self.images.len() > 1 {
            if let Some((_, oldest)) = self.images.pop_front() {
                bytes = bytes.saturating_sub(oldest.bytes());
            }
        }
    }

    /// Bytes of the embeddings, of what was computed from them, and of the views' embeddings: more with every prompt.
    fn bytes(&self) -> usize {
        self.images.iter().map(|(_, image)| image.bytes()).sum()
    }
}

#[cfg(test)]
mod tests {
    use synthfm_image::{RgbImage, Size};
    use synthfm_sam::{Device, ModelFile, Predictor};

    use super::*;
    use crate::annotation::PlaneName;

    #[test]
    fn the_least_recently_used_go_first() {
        let model = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../synthfm/model/model.safetensors"
        );
        let model = ModelFile::open(model.as_ref()).unwrap();
        let sam = model.load(&Device::flex()).unwrap();
        let predictor = Predictor::new(&sam, &Device::flex());
        let image = predictor.encode(&RgbImage::zeros(Size::new(5, 9))).unwrap();
        let key = |index| ImageKey::new("a", PlaneName::Axial, index, [0.0, 1.0]);
        let mut kept = EmbeddingCache::new(image.bytes() * 2);
        for index in [0, 1, 1] {
            kept.put(key(index), image.clone());
        }
        assert!(kept.get(&key(0)).is_some());
        kept.put(key(2), image.clone());
        let present = [0, 1, 2].map(|index| kept.get(&key(index)).is_some());
        assert_eq!(present, [true, false, true]);
        assert_eq!(kept.bytes(), image.bytes() * 2);
        kept.forget("b");
        assert!(kept.get(&key(2)).is_some());
        kept.forget("a");
        assert_eq!(kept.bytes(), 0);
        let mut small = EmbeddingCache::new(1);
        small.put(key(0), image);
        assert!(small.get(&key(0)).is_some());
    }
}
