//! Every number of a SAM (`build_sam.py`; Kirillov et al. 2023, appendix A), in one place.
//!
//! The presets are Meta's models and MobileSAM; any other combination that [`SamConfig::validate`] accepts
//! builds too. The configuration is stored as JSON beside or inside the weights, so that a model file
//! is enough to rebuild the model.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::hiera::{self, HieraConfig};
use crate::memory::MemoryConfig;
use crate::small_encoder::{self, SmallEncoderConfig};
use crate::tiny_vit::{self, TinyVitConfig};

/// The largest input side a configuration may ask for.
const MAX_IMAGE_SIZE: usize = 4096;
/// The largest channel count of any layer.
const MAX_WIDTH: usize = 8192;
/// The largest number of blocks or layers.
const MAX_DEPTH: usize = 64;
/// The largest side of an attention window of `TinyViT`, whose biases are held for every pair of tokens.
const MAX_WINDOW: usize = 64;
/// The largest side of `TinyViT`'s local convolution.
const MAX_KERNEL: usize = 15;

/// All sizes of a model: image encoder, prompt encoder and mask decoder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SamConfig {
    /// Side of the square input in pixels; images are resized so that their longest side fits.
    pub image_size: usize,
    /// The image encoder.
    pub encoder: EncoderConfig,
    /// Channels of the image embedding and of every prompt token (Meta's `out_chans`).
    pub prompt_embed_dim: usize,
    /// Hidden channels of the mask prompt's convolutions.
    pub mask_in_chans: usize,
    /// Two-way attention layers in the mask decoder.
    pub decoder_depth: usize,
    /// Attention heads in the mask decoder.
    pub decoder_heads: usize,
    /// Hidden width of the mask decoder's MLPs.
    pub decoder_mlp_dim: usize,
    /// Hidden width of the `IoU` head.
    pub iou_head_hidden_dim: usize,
    /// Masks of a multi-mask answer.
    pub num_multimask_outputs: usize,
    /// Whether the encoder also delivers finer maps, which the mask decoder adds while upscaling:
    /// SAM 2's encoder and our own.
    pub high_res_features: bool,
    /// Residual blocks that join prompts drawn as maps with the embedding, in our own models; 0 (SAM)
    /// leaves prompts to their tokens alone.
    #[serde(default)]
    pub dense_prompts: usize,
    /// Whether the decoder also gets maps of how far each pixel is from the clicks through the image, in our own
    /// models; needs `high_res_features` and `dense_prompts`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub click_reach: bool,
    /// Residual blocks at the coarsest level of the U-Net that corrects masks at the end of the decoder, in our own models; 0
    /// leaves masks as they are, as SAM does. Needs `click_reach`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub mask_refiner: usize,
    /// Whether the alternatives of one of our own models were trained ([`SamConfig::has_alternatives`]).
    #[serde(default, skip_serializing_if = "is_default")]
    pub alternatives: bool,
    /// SAM 2's memory of earlier frames; with its encoder, and only with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<MemoryConfig>,
    /// How an image becomes the input.
    #[serde(default, skip_serializing_if = "is_default")]
    pub preparation: Preparation,
    /// Subtracted from the 8-bit channels, in RGB order.
    pub pixel_mean: [f32; 3],
    /// Divides the centred channels, in RGB order.
    pub pixel_std: [f32; 3],
}

/// How an image becomes the square input.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Preparation {
    /// The longest side fits, zeros fill the rest; `pixel_mean` and `pixel_std` normalise.
    #[default]
    Sam,
    /// Both sides fit, each with its own scale; the smallest value becomes 0 and the largest 1
    /// (`MedSAM`, Ma et al. 2024, `MedSAM_Inference.py`).
    MedSam,
    /// Both sides fit, each with its own scale, without rounding to 8 bits; `pixel_mean` and `pixel_std` normalise
    /// (SAM 2, `sam2/utils/transforms.py`).
    Sam2,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Which image encoder, with its sizes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum EncoderConfig {
    /// SAM's vision transformer.
    Vit(VitConfig),
    /// MobileSAM's `TinyViT`.
    TinyVit(TinyVitConfig),
    /// SAM 2's Hiera with its feature pyramid.
    Hiera(HieraConfig),
    /// The compact encoder of this project.
    Small(SmallEncoderConfig),
}

/// Sizes of SAM's vision transformer (`ImageEncoderViT`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VitConfig {
    /// Side of a patch in pixels.
    pub patch_size: usize,
    /// Channels of a token.
    pub embed_dim: usize,
    /// Number of transformer blocks.
    pub depth: usize,
    /// Attention heads per block.
    pub num_heads: usize,
    /// Hidden width of a block's MLP over `embed_dim`.
    pub mlp_ratio: f64,
    /// Side of an attention window in tokens.
    pub window_size: usize,
    /// Blocks (from 0) that attend over the whole grid.
    pub global_attn_indexes: Vec<usize>,
}

impl SamConfig {
    /// Meta's ViT-B (`sam_vit_b_01ec64.pth`).
    pub fn vit_b() -> Self {
        Self::meta(768, 12, 12, vec![2, 5, 8, 11])
    }

    /// Meta's ViT-L (`sam_vit_l_0b3195.pth`).
    pub fn vit_l() -> Self {
        Self::meta(1024, 24, 16, vec![5, 11, 17, 23])
    }

    /// Meta's ViT-H (`sam_vit_h_4b8939.pth`).
    pub fn vit_h() -> Self {
        Self::meta(1280, 32, 16, vec![7, 15, 23, 31])
    }

    /// MobileSAM (`mobile_sam.pt`).
    pub fn vit_t() -> Self {
        Self::with_encoder(1024, EncoderConfig::TinyVit(TinyVitConfig::default()))
    }

    /// SAM 2.1 tiny (`sam2.1_hiera_tiny.pt`).
    pub fn sam2_tiny() -> Self {
        Self::sam2(HieraConfig::tiny(), MemoryConfig::default())
    }

    /// SAM 2.1 small (`sam2.1_hiera_small.pt`).
    pub fn sam2_small() -> Self {
        Self::sam2(HieraConfig::small(), MemoryConfig::default())
    }

    /// SAM 2.1 base plus (`sam2.1_hiera_base_plus.pt`).
    pub fn sam2_base_plus() -> Self {
        Self::sam2(HieraConfig::base_plus(), MemoryConfig::default())
    }

    /// SAM 2.1 large (`sam2.1_hiera_large.pt`).
    pub fn sam2_large() -> Self {
        Self::sam2(HieraConfig::large(), MemoryConfig::default())
    }

    /// Any SAM 2.
    pub fn sam2(hiera: HieraConfig, memory: MemoryConfig) -> Self {
        Self {
            high_res_features: true,
            memory: Some(memory),
            preparation: Preparation::Sam2,
            ..Self::with_encoder(1024, EncoderConfig::Hiera(hiera))
        }
    }

    /// Every published model with its name in reports.
    pub(crate) fn published() -> Vec<(&'static str, Self)> {
        let [tiny, small, base_plus, large] = HieraConfig::published();
        let (old, new) = (MemoryConfig::version_2_0(), MemoryConfig::default());
        vec![
            ("vit_b", Self::vit_b()),
            ("vit_l", Self::vit_l()),
            ("vit_h", Self::vit_h()),
            ("vit_t", Self::vit_t()),
            ("sam2.1_tiny", Self::sam2(tiny.clone(), new.clone())),
            ("sam2.1_small", Self::sam2(small.clone(), new.clone())),
            (
                "sam2.1_base_plus",
                Self::sam2(base_plus.clone(), new.clone()),
            ),
            ("sam2.1_large", Self::sam2(large.clone(), new)),
            ("sam2_tiny", Self::sam2(tiny, old.clone())),
            ("sam2_small", Self::sam2(small, old.clone())),
            ("sam2_base_plus", Self::sam2(base_plus, old.clone())),
            ("sam2_large", Self::sam2(large, old)),
        ]
    }

    fn meta(embed_dim: usize, depth: usize, num_heads: usize, global: Vec<usize>) -> Self {
        Self::with_encoder(
            1024,
            EncoderConfig::Vit(VitConfig {
                patch_size: 16,
                embed_dim,
                depth,
                num_heads,
                mlp_ratio: 4.0,
                window_size: 14,
                global_attn_indexes: global,
            }),
        )
    }

    /// Any encoder with SAM's own prompt encoder, mask decoder and pixel statistics.
    pub fn with_encoder(image_size: usize, encoder: EncoderConfig) -> Self {
        Self {
            image_size,
            encoder,
            prompt_embed_dim: 256,
            mask_in_chans: 16,
            decoder_depth: 2,
            decoder_heads: 8,
            decoder_mlp_dim: 2048,
            iou_head_hidden_dim: 256,
            num_multimask_outputs: 3,
            high_res_features: false,
            dense_prompts: 0,
            click_reach: false,
            mask_refiner: 0,
            alternatives: false,
            memory: None,
            preparation: Preparation::Sam,
            pixel_mean: [123.675, 116.28, 103.53],
            pixel_std: [58.395, 57.12, 57.375],
        }
    }

    /// Whether the model is one of our own, which take prompts as maps.
    pub const fn is_own(&self) -> bool {
        self.dense_prompts > 0
    }

    /// Whether the model is a SAM 2: its encoder comes with its decoder and its memory.
    pub const fn is_sam2(&self) -> bool {
        matches!(self.encoder, EncoderConfig::Hiera(_))
    }

    /// Whether a multi-mask answer means something: SAM's models are trained for one, our own where `alternatives` says so.
    pub const fn has_alternatives(&self) -> bool {
        !self.is_own() || self.alternatives
    }

    /// Side `g` of the image embedding's grid.
    pub fn embedding_side(&self) -> usize {
        match &self.encoder {
            EncoderConfig::Vit(vit) => self.image_size / vit.patch_size.max(1),
            EncoderConfig::TinyVit(_) => self.image_size / tiny_vit::STRIDE,
            EncoderConfig::Hiera(_) => self.image_size / hiera::STRIDE,
            EncoderConfig::Small(_) => self.image_size / small_encoder::STRIDE,
        }
    }

    /// Side `m = 4 g` of the low-resolution logits and of mask prompts.
    pub fn low_res_side(&self) -> usize {
        4 * self.embedding_side()
    }

    /// Reads a configuration from JSON and checks it.
    pub fn from_json(text: &str) -> Result<Self> {
        let config: Self = serde_json::from_str(text).map_err(|e| Error::Config {
            field: "config.json",
            reason: e.to_string(),
        })?;
        config.validate()?;
        Ok(config)
    }

    /// The configuration as JSON, one field per line.
    pub fn to_json(&self) -> String {
        plain_json(self)
    }

    /// Checks that the sizes fit together and stay within sane bounds. Names the first field at fault.
    pub fn validate(&self) -> Result<()> {
        let dim = self.prompt_embed_dim;
        check(
            (16..=MAX_IMAGE_SIZE).contains(&self.image_size),
            "image_size",
            || format!("must be 16 to {MAX_IMAGE_SIZE}, got {}", self.image_size),
        )?;
        check(
            dim > 0 && dim <= MAX_WIDTH && dim.is_multiple_of(8),
            "prompt_embed_dim",
            || format!("must be a multiple of 8 up to {MAX_WIDTH}, got {dim}"),
        )?;
        check(
            self.decoder_heads > 0 && (dim / 2).is_multiple_of(self.decoder_heads),
            "decoder_heads",
            || {
                format!(
                    "must divide half of prompt_embed_dim ({}), got {}",
                    dim / 2,
                    self.decoder_heads
                )
            },
        )?;
        check(
            self.mask_in_chans > 0
                && self.mask_in_chans <= MAX_WIDTH
                && self.mask_in_chans.is_multiple_of(4),
            "mask_in_chans",
            || format!("must be a multiple of 4, got {}", self.mask_in_chans),
        )?;
        check(
            self.dense_prompts == 0
                || (self.dense_prompts <= MAX_DEPTH && self.embedding_side().is_multiple_of(2)),
            "dense_prompts",
            || {
                format!(
                    "must be at most {MAX_DEPTH}, on an even embedding grid, got {}",
                    self.dense_prompts
                )
            },
        )?;
        check(
            !self.click_reach || (self.high_res_features && self.dense_prompts > 0),
            "click_reach",
            || "needs high_res_features and dense_prompts".to_owned(),
        )?;
        check(
            self.mask_refiner == 0 || (self.click_reach && self.mask_refiner <= MAX_DEPTH),
            "mask_refiner",
            || {
                format!(
                    "must be at most {MAX_DEPTH}, and needs click_reach; got {}",
                    self.mask_refiner
                )
            },
        )?;
        in_range("decoder_depth", self.decoder_depth, MAX_DEPTH)?;
        in_range("decoder_mlp_dim", self.decoder_mlp_dim, MAX_WIDTH)?;
        in_range("iou_head_hidden_dim", self.iou_head_hidden_dim, MAX_WIDTH)?;
        in_range("num_multimask_outputs", self.num_multimask_outputs, 16)?;
        check(
            self.pixel_mean.iter().all(|v| v.is_finite()),
            "pixel_mean",
            || format!("must be finite, got {:?}", self.pixel_mean),
        )?;
        check(
            self.pixel_std.iter().all(|v| v.is_finite() && *v > 0.0),
            "pixel_std",
            || format!("must be positive, got {:?}", self.pixel_std),
        )?;
        check(self.memory.is_some() == self.is_sam2(), "memory", || {
            "belongs to SAM 2's encoder".to_owned()
        })?;
        match &self.encoder {
            EncoderConfig::Vit(vit) => vit.validate(self),
            EncoderConfig::TinyVit(tiny) => validate_tiny(tiny, self),
            EncoderConfig::Hiera(hiera) => validate_hiera(hiera, self),
            EncoderConfig::Small(small) => validate_small(small, self),
        }
    }
}

impl VitConfig {
    /// Channels of one attention head.
    pub fn head_dim(&self) -> usize {
        self.embed_dim / self.num_heads.max(1)
    }

    /// Hidden width of a block's MLP.
    pub fn mlp_dim(&self) -> usize {
        (self.embed_dim as f64 * self.mlp_ratio) as usize
    }

    fn validate(&self, config: &SamConfig) -> Result<()> {
        let image_size = config.image_size;
        check(!config.high_res_features, "high_res_features", || {
            "must be false: the vision transformer delivers no finer maps".to_owned()
        })?;
        check(
            self.patch_size > 0 && image_size.is_multiple_of(self.patch_size),
            "encoder.patch_size",
            || {
                format!(
                    "must divide image_size ({image_size}), got {}",
                    self.patch_size
                )
            },
        )?;
        in_range("encoder.embed_dim", self.embed_dim, MAX_WIDTH)?;
        in_range("encoder.depth", self.depth, MAX_DEPTH)?;
        check(
            self.num_heads > 0 && self.embed_dim.is_multiple_of(self.num_heads),
            "encoder.num_heads",
            || {
                format!(
                    "must divide embed_dim ({}), got {}",
                    self.embed_dim, self.num_heads
                )
            },
        )?;
        check(
            self.mlp_ratio.is_finite() && (1..=MAX_WIDTH).contains(&self.mlp_dim()),
            "encoder.mlp_ratio",
            || {
                format!(
                    "must give 1 to {MAX_WIDTH} channels, got {}",
                    self.mlp_ratio
                )
            },
        )?;
        in_range("encoder.window_size", self.window_size, MAX_IMAGE_SIZE)?;
        check(
            self.global_attn_indexes.iter().all(|&i| i < self.depth),
            "encoder.global_attn_indexes",
            || {
                format!(
                    "must be below depth {}, got {:?}",
                    self.depth, self.global_attn_indexes
                )
            },
        )
    }
}

fn plain_json(config: &SamConfig) -> String {
    serde_json::to_string_pretty(config).expect("numbers, names and lists serialise")
}

fn validate_tiny(tiny: &TinyVitConfig, config: &SamConfig) -> Result<()> {
    let stride = tiny_vit::STRIDE;
    check(
        config.image_size.is_multiple_of(stride),
        "image_size",
        || format!("must be a multiple of {stride}, got {}", config.image_size),
    )?;
    check(!config.high_res_features, "high_res_features", || {
        "must be false: TinyViT delivers no finer maps".to_owned()
    })?;
    let [first, attended @ ..] = tiny.embed_dims;
    for channels in tiny.embed_dims {
        in_range("encoder.embed_dims", channels, MAX_WIDTH)?;
    }
    check(first.is_multiple_of(2), "encoder.embed_dims", || {
        format!("the first must be even, got {first}")
    })?;
    for depth in tiny.depths {
        in_range("encoder.depths", depth, MAX_DEPTH)?;
    }
    for (heads, dim) in tiny.num_heads.into_iter().zip(attended) {
        check(
            heads > 0 && dim.is_multiple_of(heads),
            "encoder.num_heads",
            || format!("must divide the stage's channels ({dim}), got {heads}"),
        )?;
    }
    for window in tiny.window_sizes {
        in_range("encoder.window_sizes", window, MAX_WINDOW)?;
    }
    check(
        tiny.local_conv_size <= MAX_KERNEL && tiny.local_conv_size % 2 == 1,
        "encoder.local_conv_size",
        || {
            format!(
                "must be odd and at most {MAX_KERNEL}, got {}",
                tiny.local_conv_size
            )
        },
    )?;
    in_range("encoder.mbconv_expand_ratio", tiny.mbconv_dim(), MAX_WIDTH)?;
    (1..=3).try_for_each(|stage| in_range("encoder.mlp_ratio", tiny.mlp_dim(stage), MAX_WIDTH))
}

fn validate_hiera(hiera: &HieraConfig, config: &SamConfig) -> Result<()> {
    let coarsest = 2 * hiera::STRIDE;
    let [window, ..] = hiera.window_spec;
    check(
        config.image_size.is_multiple_of(coarsest)
            && (config.image_size / 4).is_multiple_of(window.max(1)),
        "image_size",
        || {
            format!(
                "must be a multiple of {coarsest} and of four windows of the first stage ({window}), got {}",
                config.image_size
            )
        },
    )?;
    check(config.high_res_features, "high_res_features", || {
        "must be true: SAM 2's encoder delivers finer maps".to_owned()
    })?;
    in_range("encoder.embed_dim", hiera.embed_dim, MAX_WIDTH / 8)?;
    for depth in hiera.stages {
        in_range("encoder.stages", depth, MAX_DEPTH)?;
    }
    let heads = hiera.num_heads;
    check(
        heads > 0 && hiera.embed_dim.is_multiple_of(heads),
        "encoder.num_heads",
        || format!("must divide embed_dim ({}), got {heads}", hiera.embed_dim),
    )?;
    for side in hiera.window_spec {
        in_range("encoder.window_spec", side, MAX_IMAGE_SIZE)?;
    }
    for side in hiera.window_pos_embed_bkg_spatial_size {
        in_range(
            "encoder.window_pos_embed_bkg_spatial_size",
            side,
            MAX_WINDOW,
        )?;
    }
    let blocks = hiera.blocks();
    check(
        hiera.global_att_blocks.iter().all(|&i| i < blocks.len()),
        "encoder.global_att_blocks",
        || {
            let (depth, found) = (blocks.len(), &hiera.global_att_blocks);
            format!("must be below the number of blocks {depth}, got {found:?}")
        },
    )?;
    // Queries are pooled inside windows.
    check(
        blocks
            .iter()
            .filter(|block| block.pooled)
            .all(|block| block.window.is_some_and(|side| side.is_multiple_of(2))),
        "encoder.window_spec",
        || "the first block of a stage needs windows of an even side".to_owned(),
    )?;
    let memory = config.memory.clone().unwrap_or_default();
    in_range("memory.frames", memory.frames, MAX_WINDOW)?;
    in_range("memory.dim", memory.dim, MAX_WIDTH)?;
    in_range(
        "memory.attention_layers",
        memory.attention_layers,
        MAX_DEPTH,
    )?;
    in_range("memory.feedforward_dim", memory.feedforward_dim, MAX_WIDTH)?;
    in_range("memory.fuser_layers", memory.fuser_layers, MAX_DEPTH)
}

fn validate_small(small: &SmallEncoderConfig, config: &SamConfig) -> Result<()> {
    let coarsest = 2 * small_encoder::STRIDE;
    check(
        config.image_size.is_multiple_of(coarsest),
        "image_size",
        || {
            format!(
                "must be a multiple of {coarsest}, got {}",
                config.image_size
            )
        },
    )?;
    check(config.high_res_features, "high_res_features", || {
        "must be true: the small encoder delivers finer maps".to_owned()
    })?;
    for &channels in &small.channels {
        in_range("encoder.channels", channels, MAX_WIDTH)?;
    }
    for &blocks in small.blocks.iter().chain([&small.attention_blocks]) {
        check(blocks <= MAX_DEPTH, "encoder.blocks", || {
            format!("must be at most {MAX_DEPTH}, got {blocks}")
        })?;
    }
    check(
        small.num_heads > 0 && small.channels[3].is_multiple_of(small.num_heads),
        "encoder.num_heads",
        || {
            format!(
                "must divide {} channels, got {}",
                small.channels[3], small.num_heads
            )
        },
    )
}

fn check(holds: bool, field: &'static str, reason: impl FnOnce() -> String) -> Result<()> {
    if holds {
        Ok(())
    } else {
        Err(Error::Config {
            field,
            reason: reason(),
        })
    }
}

fn in_range(field: &'static str, value: usize, most: usize) -> Result<()> {
    check((1..=most).contains(&value), field, || {
        format!("must be 1 to {most}, got {value}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_are_valid_and_survive_json() {
        for (_, config) in SamConfig::published() {
            assert_eq!(SamConfig::from_json(&config.to_json()).unwrap(), config);
            assert_eq!((config.embedding_side(), config.low_res_side()), (64, 256));
        }
        let EncoderConfig::Vit(vit) = SamConfig::vit_h().encoder else {
            panic!("vit_h is a vision transformer");
        };
        assert_eq!((vit.head_dim(), vit.mlp_dim()), (80, 5120));
    }

    #[test]
    fn the_small_encoder_needs_finer_maps_and_a_grid() {
        let small = || EncoderConfig::Small(SmallEncoderConfig::default());
        let config = SamConfig {
            high_res_features: true,
            ..SamConfig::with_encoder(256, small())
        };
        config.validate().unwrap();
        assert_eq!(SamConfig::from_json(&config.to_json()).unwrap(), config);
        let at = |image_size| SamConfig {
            image_size,
            ..config.clone()
        };
        assert!(at(264).validate().is_err());
        let plain = SamConfig::with_encoder(256, small());
        let error = plain.validate().unwrap_err().to_string();
        assert!(error.contains("high_res_features"), "{error}");
    }

    #[test]
    fn unknown_fields_are_refused() {
        let text = SamConfig::vit_b().to_json();
        let error = SamConfig::from_json(&text.replacen('{', "{\"colour\": 1,", 1));
        assert!(error.unwrap_err().to_string().contains("colour"));
        let inner = text.replace("\"depth\": 12", "\"depth\": 12, \"hight\": 1");
        let error = SamConfig::from_json(&inner).unwrap_err().to_string();
        assert!(error.contains("hight"), "{error}");
    }
}
