//! Which parameters a run trains, and how fast: the image encoder frozen, trained like the rest, or fine-tuned at a
//! rate of its own, that may fall layer by layer towards the input (layer decay: Clark et al. 2020; SAM, appendix A)
//! or be 0 for all but the last blocks.

use burn::module::Module;
use serde::{Deserialize, Serialize};
use synthfm_sam::{EncoderConfig, SamConfig, is_buffer};

use crate::config::{Mode, TrainConfig};
use crate::parameters::for_each_parameter;
use crate::{Error, Result};

/// How mode `finetune` trains the image encoder.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FinetuneConfig {
    /// Learning rate of the encoder's last layers as a part of the rest's, above 0 to 1.
    pub lr_factor: f64,
    /// Factor from each layer's rate to that of the layer before it, above 0 to 1 (SAM: 0.8). 1: one rate.
    pub layer_decay: f64,
    /// Blocks before the neck that are trained; the others and the stem are frozen. Absent: all are trained.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_blocks: Option<usize>,
}

impl Default for FinetuneConfig {
    fn default() -> Self {
        Self {
            lr_factor: 0.1,
            layer_decay: 1.0,
            last_blocks: None,
        }
    }
}

impl FinetuneConfig {
    /// Checks the ranges.
    pub fn validate(&self) -> Result<()> {
        for (name, value) in [
            ("lr_factor", self.lr_factor),
            ("layer_decay", self.layer_decay),
        ] {
            if !(value > 0.0 && value <= 1.0) {
                return Err(Error::Parameter(format!(
                    "finetune.{name}: {value} is not above 0 and at most 1"
                )));
            }
        }
        Ok(())
    }
}

/// Which parameters are trained.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Plan {
    /// How the image encoder is trained.
    pub mode: Mode,
    /// Rates of the image encoder in mode `finetune`.
    pub finetune: FinetuneConfig,
    /// Whether the prompt encoder keeps its weights.
    pub freeze_prompt_encoder: bool,
}

impl From<Mode> for Plan {
    fn from(mode: Mode) -> Self {
        Self {
            mode,
            finetune: FinetuneConfig::default(),
            freeze_prompt_encoder: false,
        }
    }
}

impl From<&TrainConfig> for Plan {
    fn from(config: &TrainConfig) -> Self {
        Self {
            mode: config.mode,
            finetune: config.finetune,
            freeze_prompt_encoder: config.freeze_prompt_encoder,
        }
    }
}

impl Plan {
    /// The learning rate of a parameter as a part of the schedule's; 0 if it is frozen.
    pub(crate) fn rate(&self, key: &str, encoder: &EncoderConfig) -> f64 {
        // Images by themselves say nothing about SAM 2's memory.
        if is_buffer(key)
            || key.starts_with("memory.")
            || (self.freeze_prompt_encoder && key.starts_with("prompt_encoder."))
        {
            return 0.0;
        }
        let Some(key) = key.strip_prefix("image_encoder.") else {
            return 1.0;
        };
        match self.mode {
            Mode::Decoder => 0.0,
            Mode::All => 1.0,
            Mode::Finetune => {
                let (layer, blocks) = (layer(key, encoder), blocks(encoder));
                let FinetuneConfig {
                    lr_factor,
                    layer_decay,
                    last_blocks,
                } = self.finetune;
                if layer + last_blocks.unwrap_or(blocks + 1) <= blocks {
                    return 0.0;
                }
                lr_factor * libm::pow(layer_decay, (blocks + 1 - layer) as f64)
            }
        }
    }

    /// Whether gradients flow into the image encoder.
    pub(crate) fn trains_encoder(&self) -> bool {
        self.mode != Mode::Decoder
    }
}

/// Blocks of an image encoder.
fn blocks(encoder: &EncoderConfig) -> usize {
    match encoder {
        EncoderConfig::Vit(vit) => vit.depth,
        EncoderConfig::TinyVit(tiny) => tiny.depths.iter().sum(),
        EncoderConfig::Hiera(hiera) => hiera.stages.iter().sum(),
        EncoderConfig::Small(small) => small.blocks.iter().sum::<usize>() + small.attention_blocks,
    }
}

/// The part of an encoder's blocks that is trained, 0 to 1.
pub(crate) fn trained_blocks(plan: Plan, encoder: &EncoderConfig) -> f64 {
    match plan.mode {
        Mode::Decoder => 0.0,
        Mode::All => 1.0,
        Mode::Finetune => {
            let all = blocks(encoder);
            let trained = plan.finetune.last_blocks.unwrap_or(all).min(all);
            trained as f64 / all.max(1) as f64
        }
    }
}

/// Where an encoder's parameter lies on the data's way: 0 for the stem and the position code, i + 1 for block i, the
/// number of blocks + 1 for the neck and what follows. What leads from one stage to the next counts with the block
/// before it in `TinyViT`, with the block after it in our encoder, as their stages do.
fn layer(key: &str, encoder: &EncoderConfig) -> usize {
    let parts: Vec<&str> = key.split('.').collect();
    let number = |at: usize| parts.get(at).and_then(|part| part.parse::<usize>().ok());
    let end = blocks(encoder) + 1;
    match encoder {
        EncoderConfig::Vit(_) => match parts[0] {
            "pos_embed" | "patch_embed" => 0,
            "blocks" => number(1).map_or(end, |block| block + 1),
            _ => end,
        },
        EncoderConfig::TinyVit(tiny) => match (parts[0], number(1)) {
            ("patch_embed", _) => 0,
            ("layers", Some(stage)) => {
                let before: usize = tiny.depths.iter().take(stage).sum();
                let depth = tiny.depths.get(stage).copied().unwrap_or(0);
                before + number(3).map_or(depth, |block| block + 1)
            }
            _ => end,
        },
        EncoderConfig::Hiera(_) => match (parts[0], parts.get(1)) {
            ("trunk", Some(&"blocks")) => number(2).map_or(end, |block| block + 1),
            ("trunk", _) => 0,
            _ => end,
        },
        EncoderConfig::Small(small) => {
            let first = |stage: usize| 1 + small.blocks.iter().take(stage).sum::<usize>();
            match (parts[0], number(1)) {
                ("stem", _) => 0,
                ("down", Some(stage)) => first(stage),
                ("stage1", Some(block)) => first(0) + block,
                ("stage2", Some(block)) => first(1) + block,
                ("stage3", Some(block)) => first(2) + block,
                ("attention", Some(block)) => first(3) + block,
                _ => end,
            }
        }
    }
}

/// Parameters that are trained alike.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ParameterGroup {
    /// Part of the model, and the layers of the image encoder where they differ.
    pub name: String,
    /// Tensors.
    pub tensors: usize,
    /// Numbers in them.
    pub parameters: usize,
    /// Whether they are trained.
    pub trainable: bool,
    /// Learning rate of the group as a part of the schedule's; 0 if it is frozen.
    pub lr_factor: f64,
    /// Decoupled weight decay of the group; 0 if it is frozen.
    pub weight_decay: f32,
}

/// The groups of a module in training, in the order of its fields.
pub(crate) fn parameter_groups<M: Module>(
    module: &M,
    plan: Plan,
    model: &SamConfig,
    weight_decay: f32,
) -> Vec<ParameterGroup> {
    let mut groups: Vec<(ParameterGroup, [usize; 2])> = Vec::new();
    let last = blocks(&model.encoder) + 1;
    for_each_parameter(module, &mut |parameter| {
        let key = parameter.key.as_str();
        let (part, rest) = key.split_once('.').unwrap_or((key, ""));
        let layer = match part {
            "image_encoder" => layer(rest, &model.encoder),
            _ => 0,
        };
        let part = if is_buffer(key) { "buffers" } else { part };
        let rate = plan.rate(key, &model.encoder);
        let numbers = parameter.shape.iter().product::<usize>();
        let alike = |group: &&mut (ParameterGroup, [usize; 2])| {
            group.0.name == part && group.0.lr_factor.to_bits() == rate.to_bits()
        };
        if let Some((group, layers)) = groups.iter_mut().find(alike) {
            group.tensors += 1;
            group.parameters += numbers;
            *layers = [layers[0].min(layer), layers[1].max(layer)];
            return;
        }
        let group = ParameterGroup {
            name: part.to_owned(),
            tensors: 1,
            parameters: numbers,
            trainable: parameter.trainable,
            lr_factor: rate,
            weight_decay: if parameter.trainable {
                weight_decay
            } else {
                0.0
            },
        };
        groups.push((group, [layer; 2]));
    });
    let named = |(mut group, layers): (ParameterGroup, [usize; 2])| {
        if group.name == "image_encoder" && layers != [0, last] {
            group.name = format!("image_encoder, {}", layer_names(layers, last));
        }
        group
    };
    groups.sort_by_key(|(group, layers)| (order(&group.name), layers[0]));
    groups.into_iter().map(named).collect()
}

/// Image encoder, prompt encoder, mask decoder, buffers.
fn order(name: &str) -> usize {
    let parts = ["image_encoder", "prompt_encoder", "mask_decoder"];
    parts.iter().position(|&part| part == name).unwrap_or(3)
}

/// `stem`, `blocks 3 to 11`, `neck`, or a range of them.
fn layer_names([from, to]: [usize; 2], last: usize) -> String {
    let name = |layer: usize| match layer {
        0 => "stem".to_owned(),
        _ if layer == last => "neck".to_owned(),
        _ => format!("block {}", layer - 1),
    };
    if from == to {
        name(from)
    } else {
        format!("{} to {}", name(from), name(to))
    }
}

#[cfg(test)]
mod tests {
    use synthfm_sam::expected_keys;

    use super::*;

    fn finetune(layer_decay: f64, last_blocks: Option<usize>) -> Plan {
        Plan {
            finetune: FinetuneConfig {
                lr_factor: 0.5,
                layer_decay,
                last_blocks,
            },
            ..Mode::Finetune.into()
        }
    }

    fn rates(plan: Plan, encoder: &EncoderConfig, keys: &[&str]) -> Vec<f64> {
        let rate = |key: &&str| plan.rate(&format!("image_encoder.{key}"), encoder);
        keys.iter().map(rate).collect()
    }

    #[test]
    fn rates_of_a_vision_transformer_fall_towards_the_input() {
        let vit = SamConfig::vit_b().encoder;
        let keys = [
            "neck.3.bias",
            "blocks.11.attn.qkv.weight",
            "blocks.0.norm1.bias",
            "pos_embed",
        ];
        assert_eq!(
            rates(finetune(0.5, None), &vit, &keys),
            [0.5, 0.25, 0.5_f64.powi(13), 0.5_f64.powi(14)]
        );
        let keys = [
            "neck.0.weight",
            "blocks.10.mlp.lin1.weight",
            "blocks.9.mlp.lin1.weight",
            "pos_embed",
        ];
        assert_eq!(
            rates(finetune(1.0, Some(2)), &vit, &keys),
            [0.5, 0.5, 0.0, 0.0]
        );
    }

    #[test]
    fn stages_of_the_other_encoders_are_counted_through() {
        let tiny = EncoderConfig::TinyVit(synthfm_sam::TinyVitConfig::default());
        // Depths 2, 2, 6, 2: the last four blocks start at layers.2.blocks.4.
        let keys = [
            "layers.3.blocks.0.attn.qkv.weight",
            "layers.2.downsample.conv1.c.weight",
            "layers.2.blocks.4.mlp.fc1.weight",
            "layers.2.blocks.3.mlp.fc1.weight",
            "layers.1.downsample.conv1.c.weight",
            "patch_embed.seq.0.c.weight",
            "layers.3.blocks.1.local_conv.bn.running_var",
        ];
        assert_eq!(
            rates(finetune(1.0, Some(4)), &tiny, &keys),
            [0.5, 0.5, 0.5, 0.0, 0.0, 0.0, 0.0]
        );
        let small = EncoderConfig::Small(synthfm_sam::SmallEncoderConfig::default());
        // Blocks 2, 3, 2 and two of attention: the last four are stage3 and attention.
        let keys = [
            "attention.0.qkv.weight",
            "stage3.0.conv1.weight",
            "down.2.reduction.weight",
            "stage2.2.conv1.weight",
            "stem.weight",
            "top.weight",
            "high_res_s0.weight",
        ];
        assert_eq!(
            rates(finetune(1.0, Some(4)), &small, &keys),
            [0.5, 0.5, 0.5, 0.0, 0.0, 0.5, 0.5]
        );
    }

    #[test]
    fn blocks_of_sam_2_are_counted_through() {
        let hiera = SamConfig::sam2_tiny().encoder;
        // Stages of 1, 2, 7 and 2 blocks.
        let keys = [
            "trunk.blocks.11.attn.qkv.weight",
            "trunk.blocks.8.mlp.layers.0.weight",
            "trunk.blocks.7.proj.weight",
            "trunk.pos_embed_window",
            "trunk.patch_embed.proj.weight",
            "neck.convs.0.conv.weight",
            "conv_s0.weight",
        ];
        assert_eq!(
            rates(finetune(1.0, Some(4)), &hiera, &keys),
            [0.5, 0.5, 0.0, 0.0, 0.0, 0.5, 0.5]
        );
        // Frozen: the memory in any mode, what is computed once per image in mode `decoder`.
        let all: Plan = Mode::All.into();
        let decoder: Plan = Mode::Decoder.into();
        let rates = vec![
            all.rate("memory.no_obj_ptr", &hiera),
            decoder.rate("image_encoder.no_mem_embed", &hiera),
            decoder.rate("mask_decoder.obj_score_token.weight", &hiera),
        ];
        assert_eq!(rates, [0.0, 0.0, 1.0]);
    }

    #[test]
    fn every_layer_of_every_encoder_is_met() {
        for model in [
            SamConfig::vit_b(),
            SamConfig::vit_t(),
            SamConfig::sam2_tiny(),
            crate::ModelSpec::Small {
                image_size: 128,
                mask_refiner: 0,
            }
            .resolve(),
        ] {
            let mut met = std::collections::BTreeSet::new();
            for key in expected_keys(&model).unwrap().keys() {
                if let Some(key) = key.strip_prefix("image_encoder.") {
                    met.insert(layer(key, &model.encoder));
                }
            }
            assert!(met.into_iter().eq(0..=blocks(&model.encoder) + 1));
        }
    }
}
