//! The model and which of its parts are trained.

use serde::{Deserialize, Serialize};
use synthfm_sam::{EncoderConfig, SamConfig, SmallEncoderConfig};

/// The parts of the model that are trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// The paper: image encoder frozen, mask decoder and, unless it keeps its weights, prompt encoder from scratch.
    Decoder,
    /// Everything from scratch, on synthetic images alone.
    All,
    /// The image encoder too, from weights that it has, at a learning rate of its own.
    Finetune,
}

/// Which model, before any weights are loaded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ModelSpec {
    /// Meta's ViT-B with SAM's decoder.
    VitB,
    /// Meta's ViT-L with SAM's decoder.
    VitL,
    /// Meta's ViT-H with SAM's decoder: the paper's.
    VitH,
    /// MobileSAM's encoder with SAM's decoder.
    VitT,
    /// SAM 2.1 tiny.
    Sam2Tiny,
    /// SAM 2.1 small.
    Sam2Small,
    /// SAM 2.1 base plus.
    Sam2BasePlus,
    /// SAM 2.1 large.
    Sam2Large,
    /// Our small encoder with a narrower decoder, at an input side (a multiple of 16).
    Small {
        /// Side of the model's input in pixels.
        image_size: usize,
        /// Residual blocks at the coarsest level of the U-Net that corrects its masks; 0: none.
        #[serde(default)]
        mask_refiner: usize,
    },
    /// Every number given.
    Custom(Box<SamConfig>),
}

impl ModelSpec {
    /// The model's configuration.
    pub fn resolve(&self) -> SamConfig {
        match self {
            Self::VitB => SamConfig::vit_b(),
            Self::VitL => SamConfig::vit_l(),
            Self::VitH => SamConfig::vit_h(),
            Self::VitT => SamConfig::vit_t(),
            Self::Sam2Tiny => SamConfig::sam2_tiny(),
            Self::Sam2Small => SamConfig::sam2_small(),
            Self::Sam2BasePlus => SamConfig::sam2_base_plus(),
            Self::Sam2Large => SamConfig::sam2_large(),
            Self::Small {
                image_size,
                mask_refiner,
            } => SamConfig {
                mask_refiner: *mask_refiner,
                ..small(*image_size)
            },
            Self::Custom(config) => (**config).clone(),
        }
    }
}

/// Our model: about 5 M parameters in the encoder, SAM's decoder at half its width.
fn small(image_size: usize) -> SamConfig {
    SamConfig {
        prompt_embed_dim: 128,
        decoder_mlp_dim: 512,
        iou_head_hidden_dim: 128,
        high_res_features: true,
        dense_prompts: 2,
        click_reach: true,
        ..SamConfig::with_encoder(
            image_size,
            EncoderConfig::Small(SmallEncoderConfig::default()),
        )
    }
}
