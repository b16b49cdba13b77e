//! The configuration of a SAM 2 checkpoint that carries none, read off its key names and shapes.
//!
//! Heads, windows and global blocks do not show in weights; they are those of the published model of the same width and
//! depth. What else there is, of the decoder and of the memory, is told by shapes.

use super::infer::Shapes;
use crate::config::SamConfig;
use crate::error::{Error, Result};
use crate::hiera::HieraConfig;
use crate::memory::MemoryConfig;

/// Key that only SAM 2's encoder has.
pub(super) const HIERA_WINDOW: &str = "image_encoder.trunk.pos_embed_window";

/// The encoder's sizes.
pub(super) fn hiera(shapes: &Shapes) -> Result<HieraConfig> {
    let [_, embed_dim, ..] = shapes.of::<4>("image_encoder.trunk.pos_embed")?;
    let blocks = shapes.count("image_encoder.trunk.blocks.");
    // The first block of a stage projects its shortcut.
    let starts =
        (0..blocks).filter(|i| shapes.has(&format!("image_encoder.trunk.blocks.{i}.proj.weight")));
    let ends: Vec<usize> = starts.chain([blocks]).collect();
    let published = HieraConfig::published().into_iter().find(|published| {
        let found = published.stage_ends().map(|end| end + 1);
        published.embed_dim == embed_dim && found == ends.as_slice()
    });
    published.ok_or_else(|| {
        let reason = format!(
            "cannot tell the model's sizes: its Hiera has {embed_dim} channels and {blocks} blocks, with stages that end \
             before blocks {ends:?}; published are tiny, small, base plus and large"
        );
        Error::weights(shapes.path(), reason)
    })
}

/// The memory's sizes.
pub(super) fn memory(shapes: &Shapes) -> Result<MemoryConfig> {
    let [frames, _, _, dim] = shapes.of("maskmem_tpos_enc")?;
    let [feedforward_dim, _] = shapes.of("memory_attention.layers.0.linear1.weight")?;
    Ok(MemoryConfig {
        frames,
        dim,
        attention_layers: shapes.count("memory_attention.layers."),
        feedforward_dim,
        fuser_layers: shapes.count("memory_encoder.fuser.layers."),
        no_obj_embed_spatial: shapes.has("no_obj_embed_spatial"),
        proj_tpos_enc_in_obj_ptrs: shapes.has("obj_ptr_tpos_proj.weight"),
    })
}

/// Configuration of a SAM 2, before what shows of its decoder.
pub(super) fn defaults(shapes: &Shapes) -> Result<SamConfig> {
    Ok(SamConfig::sam2(hiera(shapes)?, memory(shapes)?))
}
