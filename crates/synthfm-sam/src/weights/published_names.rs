//! The names of SAM 2's checkpoints for parameters that this crate keeps under SAM's names.
//!
//! Modules of both models are the same code, hence one set of names inside; files have their own. What SAM 2 computes once
//! per image belongs to the image encoder here, its memory to a module of its own.

use std::borrow::Cow;

use crate::config::SamConfig;

/// Parts of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    ImageEncoder,
    PromptEncoder,
    MaskDecoder,
    Memory,
}

/// Prefixes inside and in SAM 2's files; the first that fits counts.
const PREFIXES: [(&str, &str, Part); 6] = [
    (
        "image_encoder.conv_s",
        "sam_mask_decoder.conv_s",
        Part::ImageEncoder,
    ),
    (
        "image_encoder.no_mem_embed",
        "no_mem_embed",
        Part::ImageEncoder,
    ),
    ("image_encoder.", "image_encoder.", Part::ImageEncoder),
    (
        "prompt_encoder.",
        "sam_prompt_encoder.",
        Part::PromptEncoder,
    ),
    ("mask_decoder.", "sam_mask_decoder.", Part::MaskDecoder),
    ("memory.", "", Part::Memory),
];
/// Within SAM 2's transformer layers: inside, in its files.
const MLP: [(&str, &str); 2] = [
    (".mlp.lin1.", ".mlp.layers.0."),
    (".mlp.lin2.", ".mlp.layers.1."),
];

/// The name of a model's parameter in its files.
pub(super) fn in_file<'a>(config: &SamConfig, key: &'a str) -> Cow<'a, str> {
    if !config.is_sam2() {
        return Cow::Borrowed(key);
    }
    let found = PREFIXES
        .iter()
        .find_map(|(inside, file, part)| Some((key.strip_prefix(inside)?, file, part)));
    let Some((rest, file, part)) = found else {
        return Cow::Borrowed(key);
    };
    let mut name = format!("{file}{rest}");
    if *part == Part::MaskDecoder {
        for (inside, file) in MLP {
            name = name.replace(inside, file);
        }
    }
    Cow::Owned(name)
}

/// The part of a model that a name in its file belongs to.
pub(super) fn part_of(config: &SamConfig, name: &str) -> Option<Part> {
    let is = |(inside, file, part): &(&str, &str, Part)| {
        let prefix = if config.is_sam2() { file } else { inside };
        name.starts_with(prefix).then_some(*part)
    };
    PREFIXES.iter().find_map(is)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sam_keeps_its_names() {
        let key = "mask_decoder.transformer.layers.0.mlp.lin1.weight";
        assert_eq!(in_file(&SamConfig::vit_b(), key), key);
        assert_eq!(part_of(&SamConfig::vit_b(), key), Some(Part::MaskDecoder));
        assert_eq!(part_of(&SamConfig::vit_b(), "no_mem_embed"), None);
    }

    #[test]
    fn sam_2_has_names_of_its_own() {
        let config = SamConfig::sam2_tiny();
        for (inside, file, part) in [
            (
                "image_encoder.trunk.pos_embed",
                "image_encoder.trunk.pos_embed",
                Part::ImageEncoder,
            ),
            (
                "image_encoder.conv_s1.bias",
                "sam_mask_decoder.conv_s1.bias",
                Part::ImageEncoder,
            ),
            (
                "image_encoder.no_mem_embed",
                "no_mem_embed",
                Part::ImageEncoder,
            ),
            (
                "prompt_encoder.no_mask_embed.weight",
                "sam_prompt_encoder.no_mask_embed.weight",
                Part::PromptEncoder,
            ),
            (
                "mask_decoder.transformer.layers.1.mlp.lin2.bias",
                "sam_mask_decoder.transformer.layers.1.mlp.layers.1.bias",
                Part::MaskDecoder,
            ),
            ("memory.maskmem_tpos_enc", "maskmem_tpos_enc", Part::Memory),
        ] {
            assert_eq!(in_file(&config, inside), file);
            assert_eq!(part_of(&config, file), Some(part), "{file}");
        }
    }
}
