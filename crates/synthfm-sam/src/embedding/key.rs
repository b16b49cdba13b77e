//! What an embedding is a function of.

use std::fmt::Display;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use synthfm_image::{RgbImage, Size};

use crate::config::{Preparation, SamConfig};
use crate::ops::Arithmetic;
use synthfm_image::hex;

/// Raised whenever the layout of the files changes, or the values that the same key stands for.
const FORMAT: u32 = 2;
/// Characters of a hash that a message quotes.
const QUOTED: usize = 12;

/// Names one embedding. The window that intensities passed through needs no field of its own: the hash is
/// that of the 8-bit pixels that the model sees.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EmbeddingKey {
    format: u32,
    height: usize,
    width: usize,
    /// Over height, width (64-bit, little-endian) and the RGB bytes.
    image_sha256: String,
    /// Side of the model's input.
    image_size: usize,
    preparation: Preparation,
    pixel_mean: [f32; 3],
    pixel_std: [f32; 3],
    precision: String,
    encoder_sha256: String,
}

impl EmbeddingKey {
    pub(super) fn new(
        image: &RgbImage,
        config: &SamConfig,
        arithmetic: Arithmetic,
        encoder_sha256: &str,
    ) -> Self {
        let Size { height, width } = image.size();
        let mut hasher = Sha256::new();
        for side in [height, width] {
            hasher.update((side as u64).to_le_bytes());
        }
        hasher.update(image.data());
        Self {
            format: FORMAT,
            height,
            width,
            image_sha256: hex(&hasher.finalize()),
            image_size: config.image_size,
            preparation: config.preparation,
            pixel_mean: config.pixel_mean,
            pixel_std: config.pixel_std,
            precision: arithmetic.to_string(),
            encoder_sha256: encoder_sha256.to_owned(),
        }
    }

    /// The size of the image.
    pub(super) const fn size(&self) -> Size {
        Size::new(self.height, self.width)
    }

    /// SHA-256 of the key itself, in hexadecimal: a name for files.
    pub(super) fn digest(&self) -> String {
        let text = serde_json::to_vec(self).expect("numbers and text serialise");
        hex(&Sha256::digest(text))
    }

    /// Accepts the stored form of exactly this key; otherwise says which items differ.
    pub(super) fn check(&self, stored: Value) -> Result<(), String> {
        let format = stored.get("format").and_then(Value::as_u64);
        if format != Some(FORMAT.into()) {
            let format = format.map_or("none".to_owned(), |format| format.to_string());
            return Err(differs("format version", &format, &FORMAT));
        }
        let found: Self = serde_json::from_value(stored)
            .map_err(|e| format!("its description cannot be read: {e}"))?;
        let differing: Vec<String> = found
            .items()
            .into_iter()
            .zip(self.items())
            .filter(|(found, wanted)| found != wanted)
            .map(|((name, found), (_, wanted))| differs(name, &found, &wanted))
            .collect();
        // What the texts do not show is compared as well.
        if differing.is_empty() && found == *self {
            Ok(())
        } else {
            Err(differing.join(", "))
        }
    }

    /// Every item by its name in messages.
    fn items(&self) -> [(&'static str, String); 7] {
        let quote = |hash: &str| hash.chars().take(QUOTED).collect::<String>();
        let (mean, std) = (self.pixel_mean, self.pixel_std);
        [
            ("image size", self.size().to_string()),
            ("image content", quote(&self.image_sha256)),
            ("input side", self.image_size.to_string()),
            ("preparation", format!("{:?}", self.preparation)),
            ("normalisation", format!("{mean:?} {std:?}")),
            ("precision", self.precision.clone()),
            ("encoder weights", quote(&self.encoder_sha256)),
        ]
    }
}

fn differs(name: &str, found: &impl Display, wanted: &impl Display) -> String {
    format!("{name} (stored {found}, asked for {wanted})")
}
