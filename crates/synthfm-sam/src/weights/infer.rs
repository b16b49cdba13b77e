//! The configuration of a SAM checkpoint that carries none, read off its key names and shapes.
//!
//! Meta's files and MobileSAM's hold a bare state dict. Everything but the number of decoder heads (and
//! MobileSAM's input side) shows in it: block counts in the names, widths in the shapes, head width and
//! window side in the tables of positions.

use std::collections::BTreeSet;
use std::path::Path;

use super::infer_sam2::{self, HIERA_WINDOW};
use super::model_file::ModelHints;
use super::names::expected_keys;
use super::store::TensorStore;
use crate::config::{EncoderConfig, Preparation, SamConfig, VitConfig};
use crate::error::{Error, Result};
use crate::tiny_vit::TinyVitConfig;

/// Key that only MobileSAM's encoder has.
const TINY_VIT_STEM: &str = "image_encoder.patch_embed.seq.2.c.weight";

/// Infers and checks the configuration of a SAM or SAM 2 with one of the published encoders.
pub(super) fn infer_config(store: &TensorStore, hints: &ModelHints) -> Result<SamConfig> {
    let shapes = Shapes { store };
    let sam2 = shapes.has(HIERA_WINDOW);
    let defaults = if sam2 {
        infer_sam2::defaults(&shapes)?
    } else if shapes.has(TINY_VIT_STEM) {
        // Nothing in the file tells the input's side, which the weights leave open.
        let encoder = EncoderConfig::TinyVit(tiny_vit(&shapes)?);
        SamConfig::with_encoder(SamConfig::vit_t().image_size, encoder)
    } else {
        let (image_size, vit) = vit(&shapes)?;
        SamConfig::with_encoder(image_size, EncoderConfig::Vit(vit))
    };
    let names = if sam2 { &SAM2_NAMES } else { &SAM_NAMES };
    let [prompt_embed_dim, ..] = shapes.of::<4>(names.neck)?;
    let (prompts, decoder) = (names.prompt_encoder, names.mask_decoder);
    let [mask_in_chans, ..] = shapes.of::<4>(&format!("{prompts}.mask_downscaling.3.weight"))?;
    let mlp = format!("{decoder}.transformer.layers.0.mlp.{}.weight", names.mlp);
    let [decoder_mlp_dim, _] = shapes.of(&mlp)?;
    let head = format!("{decoder}.iou_prediction_head.layers.0.weight");
    let [iou_head_hidden_dim, _] = shapes.of(&head)?;
    let [masks, _] = shapes.of(&format!("{decoder}.mask_tokens.weight"))?;
    let preparation = if sam2 {
        Preparation::Sam2
    } else {
        preparation(store.path())
    };
    let config = SamConfig {
        prompt_embed_dim,
        mask_in_chans,
        decoder_depth: shapes.count(&format!("{decoder}.transformer.layers.")),
        decoder_heads: hints.decoder_heads.unwrap_or(defaults.decoder_heads),
        decoder_mlp_dim,
        iou_head_hidden_dim,
        num_multimask_outputs: masks.saturating_sub(1),
        preparation,
        ..defaults
    };
    config.validate()?;
    Ok(config)
}

/// Keys by which a decoder's sizes are told.
struct TellingNames {
    neck: &'static str,
    prompt_encoder: &'static str,
    mask_decoder: &'static str,
    /// The first layer of the transformer's MLPs.
    mlp: &'static str,
}

const SAM_NAMES: TellingNames = TellingNames {
    neck: "image_encoder.neck.0.weight",
    prompt_encoder: "prompt_encoder",
    mask_decoder: "mask_decoder",
    mlp: "lin1",
};
const SAM2_NAMES: TellingNames = TellingNames {
    neck: "image_encoder.neck.convs.0.conv.weight",
    prompt_encoder: "sam_prompt_encoder",
    mask_decoder: "sam_mask_decoder",
    mlp: "layers.0",
};

/// The published model that has the most keys and shapes in common with a file whose sizes cannot be told.
pub(super) fn nearest_published(store: &TensorStore) -> SamConfig {
    let in_common = |config: &SamConfig| {
        let keys = expected_keys(config).unwrap_or_default();
        let found = |key: &String| store.tensors().get(key);
        let shared = keys
            .iter()
            .filter_map(|(key, shape)| Some((found(key)?, shape)));
        let (mut names, mut shapes) = (0, 0);
        for (found, shape) in shared {
            names += 1;
            shapes += usize::from(found.shape == *shape);
        }
        (shapes, names)
    };
    let candidates = SamConfig::published();
    let mut candidates = candidates.into_iter().map(|(_, config)| config);
    let first = candidates.next().unwrap_or_else(SamConfig::vit_b);
    candidates.fold(first, |best, next| {
        if in_common(&next) > in_common(&best) {
            next
        } else {
            best
        }
    })
}

/// `MedSAM` keeps SAM's keys and prepares its images differently, which only the file's published name
/// (`medsam_vit_b.pth`) tells.
fn preparation(path: &Path) -> Preparation {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    if name.to_lowercase().contains("medsam") {
        Preparation::MedSam
    } else {
        Preparation::Sam
    }
}

/// Input side and sizes of SAM's vision transformer.
fn vit(shapes: &Shapes) -> Result<(usize, VitConfig)> {
    let [_, grid, _, embed_dim] = shapes.of("image_encoder.pos_embed")?;
    let [_, _, patch_size, _] = shapes.of("image_encoder.patch_embed.proj.weight")?;
    let [mlp_dim, _] = shapes.of("image_encoder.blocks.0.mlp.lin1.weight")?;
    let [_, head_dim] = shapes.of("image_encoder.blocks.0.attn.rel_pos_h")?;
    let depth = shapes.count("image_encoder.blocks.");
    let sides = (0..depth)
        .map(|i| {
            let [length, _] = shapes.of(&format!("image_encoder.blocks.{i}.attn.rel_pos_h"))?;
            Ok(length.div_ceil(2))
        })
        .collect::<Result<Vec<usize>>>()?;
    let global = |&side: &usize| side == grid;
    let vit = VitConfig {
        patch_size,
        embed_dim,
        depth,
        num_heads: embed_dim / head_dim.max(1),
        mlp_ratio: mlp_dim as f64 / embed_dim.max(1) as f64,
        window_size: sides.iter().copied().find(|s| !global(s)).unwrap_or(grid),
        global_attn_indexes: (0..depth).filter(|&i| global(&sides[i])).collect(),
    };
    Ok((grid.saturating_mul(patch_size), vit))
}

/// Sizes of MobileSAM's encoder.
fn tiny_vit(shapes: &Shapes) -> Result<TinyVitConfig> {
    let block = |stage: usize, rest: &str| format!("image_encoder.layers.{stage}.blocks.0.{rest}");
    let [first, ..] = shapes.of::<4>(TINY_VIT_STEM)?;
    let [mbconv_dim, ..] = shapes.of::<4>(&block(0, "conv1.c.weight"))?;
    let [_, _, local_conv_size, _] = shapes.of(&block(1, "local_conv.c.weight"))?;
    let [mlp_dim, second] = shapes.of(&block(1, "mlp.fc1.weight"))?;
    let (mut embed_dims, mut num_heads, mut window_sizes) = ([first; 4], [0; 3], [0; 3]);
    for stage in 1..4 {
        [embed_dims[stage]] = shapes.of(&block(stage, "attn.norm.weight"))?;
        let [heads, offsets] = shapes.of(&block(stage, "attn.attention_biases"))?;
        num_heads[stage - 1] = heads;
        window_sizes[stage - 1] = offsets.isqrt();
    }
    Ok(TinyVitConfig {
        embed_dims,
        depths: std::array::from_fn(|i| shapes.count(&format!("image_encoder.layers.{i}.blocks."))),
        num_heads,
        window_sizes,
        mlp_ratio: mlp_dim as f64 / second.max(1) as f64,
        mbconv_expand_ratio: mbconv_dim as f64 / first.max(1) as f64,
        local_conv_size,
    })
}

pub(super) struct Shapes<'a> {
    store: &'a TensorStore,
}

impl Shapes<'_> {
    /// The shape of a tensor that must be there and have `D` dimensions.
    pub(super) fn of<const D: usize>(&self, key: &str) -> Result<[usize; D]> {
        let fail = |reason: &str| {
            let reason = format!("cannot tell the model's sizes: {key} {reason}");
            Error::weights(self.path(), reason)
        };
        let info = self
            .store
            .tensors()
            .get(key)
            .ok_or_else(|| fail("is missing"))?;
        <[usize; D]>::try_from(info.shape.as_slice()).map_err(|_| {
            fail(&format!(
                "has shape {:?}, expected {D} dimensions",
                info.shape
            ))
        })
    }

    /// How many different numbers follow `prefix` in the key names.
    pub(super) fn count(&self, prefix: &str) -> usize {
        let numbers: BTreeSet<&str> = self
            .store
            .tensors()
            .keys()
            .filter_map(|key| key.strip_prefix(prefix)?.split('.').next())
            .collect();
        numbers.len()
    }

    /// Whether there is a tensor of this name.
    pub(super) fn has(&self, key: &str) -> bool {
        self.store.tensors().contains_key(key)
    }

    pub(super) fn path(&self) -> &Path {
        self.store.path()
    }
}
