//! Memory of a training step: counted for what has a parameter behind it, estimated for activations.
//!
//! The estimate adds up the maps that the backward pass of each block keeps, from the sizes of the model, and leaves out
//! what is small beside them (tokens, prompts, images). It is a guide to whether a run fits, good to a factor of two;
//! the process's own peak is in `metrics.jsonl`.

use std::fs;

use serde::{Deserialize, Serialize};
use synthfm_sam::{CLICK_MAPS, EncoderConfig, SamConfig};

use crate::config::{CountedAnswers, TrainConfig};
use crate::plan::{ParameterGroup, Plan, trained_blocks};

/// Bytes of a value.
const F32: u64 = 4;

/// Bytes that a step holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryEstimate {
    /// All parameters.
    pub weights: u64,
    /// One for each trained parameter.
    pub gradients: u64,
    /// Two for each trained parameter.
    pub moments: u64,
    /// One for each trained parameter, where weights are averaged.
    pub average: u64,
    /// Estimated: what forward and backward pass keep for the images and objects of one part of a batch.
    pub activations: u64,
}

impl MemoryEstimate {
    pub(crate) fn of(config: &TrainConfig, model: &SamConfig, groups: &[ParameterGroup]) -> Self {
        let count = |wanted: fn(&ParameterGroup) -> bool| -> u64 {
            let groups = groups.iter().filter(|group| wanted(group));
            groups.map(|group| group.parameters as u64).sum()
        };
        let (all, trained) = (count(|_| true), count(|group| group.trainable));
        let part = config.batch_size.div_ceil(config.accumulate);
        let images = (part * config.parts_at_once).min(config.batch_size) as u64;
        let objects = images * config.objects_per_image as u64;
        let encoder = trained_blocks(Plan::from(config), &model.encoder) * encoder_values(model);
        // The most answers of an object that are recorded.
        let corrections = &config.prompts.corrections;
        let every = corrections.loss == CountedAnswers::Every && corrections.probability > 0.0;
        let answers = objects
            * if every {
                1 + corrections.max_rounds as u64
            } else {
                1
            };
        let values = images as f64 * encoder + answers as f64 * decoder_values(model) as f64;
        Self {
            weights: F32 * all,
            gradients: F32 * trained,
            moments: 2 * F32 * trained,
            average: if config.ema.decay > 0.0 {
                F32 * trained
            } else {
                0
            },
            activations: F32 * values as u64,
        }
    }

    /// All of it.
    pub fn total(&self) -> u64 {
        self.weights + self.gradients + self.moments + self.average + self.activations
    }
}

/// Values that decoder and loss keep for one object: on a grid of n cells with C channels, each layer of the two-way
/// transformer keeps about seven maps of C and four of C/2 channels with scores for some tokens, the upscaling maps of
/// 8 C values per cell, and the losses 12 values for each of the 16 n logits.
fn decoder_values(model: &SamConfig) -> u64 {
    const TOKENS: u64 = 12;
    let (c, heads) = (model.prompt_embed_dim as u64, model.decoder_heads as u64);
    let cells = (model.embedding_side() as u64).pow(2);
    let layer = 7 * c + 4 * (c / 2) + 4 * heads * TOKENS;
    // Our own model's blocks on prompts drawn as maps.
    let joined = 6 * model.dense_prompts as u64 * c;
    // Maps of distances from the clicks, joined with the finest features and space-to-depth.
    let reach = if model.click_reach {
        16 * (2 * CLICK_MAPS as u64 + 3 * c / 8)
    } else {
        0
    };
    // The U-Net at the end: two blocks with inputs at twice the grid's side and C/4 channels, two at its side and C/2, others
    // at half of it.
    let refined = if model.mask_refiner > 0 {
        4 * 14 * (c / 4) + 12 * (c / 2) + (4 * model.mask_refiner as u64 + 2) * c / 4
    } else {
        0
    };
    cells * (model.decoder_depth as u64 * layer + joined + reach + refined + 8 * c + 16 * 12)
}

/// Values that the whole image encoder keeps for one image, where all of it is trained.
fn encoder_values(model: &SamConfig) -> f64 {
    let side = model.image_size as f64;
    let cells = |stride: f64| (side / stride) * (side / stride);
    // Norms, query, key, value, attention and MLP per token, and scores (with their softmax and two position terms).
    let transformer = |tokens: f64, width: f64, hidden: f64, heads: f64, seen: f64| {
        tokens * (9.0 * width + 2.0 * hidden + 4.0 * heads * seen)
    };
    match &model.encoder {
        EncoderConfig::Vit(vit) => {
            let tokens = cells(vit.patch_size as f64);
            let (width, heads) = (vit.embed_dim as f64, vit.num_heads as f64);
            let block = |seen| transformer(tokens, width, width * vit.mlp_ratio, heads, seen);
            let global = vit.global_attn_indexes.len() as f64;
            let windowed = vit.depth as f64 - global;
            global * block(tokens) + windowed * block((vit.window_size as f64).powi(2))
        }
        EncoderConfig::TinyVit(tiny) => {
            let strides = [4.0, 8.0, 16.0, 16.0];
            let stage = |at: usize| {
                let (tokens, width) = (cells(strides[at]), tiny.embed_dims[at] as f64);
                let blocks = tiny.depths[at] as f64;
                if at == 0 {
                    return blocks * tokens * width * (2.0 + 4.0 * tiny.mbconv_expand_ratio);
                }
                let (heads, window) = (tiny.num_heads[at - 1], tiny.window_sizes[at - 1]);
                let seen = (window * window) as f64;
                let hidden = width * tiny.mlp_ratio;
                blocks
                    * (transformer(tokens, width, hidden, heads as f64, seen)
                        + 2.0 * tokens * width)
            };
            (0..4).map(stage).sum()
        }
        EncoderConfig::Hiera(hiera) => {
            let stage = |at: usize| {
                let (tokens, width) = (cells(f64::from(4 << at)), (hiera.embed_dim << at) as f64);
                let (heads, window) = ((hiera.num_heads << at) as f64, hiera.window_spec[at]);
                let ends: usize = hiera.stages[..=at].iter().sum();
                let global = hiera.global_att_blocks.iter();
                let global = global.filter(|&&i| i < ends && i + hiera.stages[at] >= ends);
                let global = global.count() as f64;
                let block = |seen| transformer(tokens, width, 4.0 * width, heads, seen);
                let windowed = hiera.stages[at] as f64 - global;
                global * block(tokens) + windowed * block((window * window) as f64)
            };
            // The pyramid's levels at 1/4 and 1/8 too.
            let finer = (cells(4.0) + cells(8.0)) * 2.0 * model.prompt_embed_dim as f64;
            (0..4).map(stage).sum::<f64>() + finer
        }
        EncoderConfig::Small(small) => {
            let [c0, c1, c2, c3] = small.channels.map(|c| c as f64);
            let [n1, n2, n3] = small.blocks.map(|n| n as f64);
            let coarse = cells(16.0);
            // A residual block keeps about four maps, a step down two.
            3.0 * cells(2.0) * c0
                + cells(4.0) * c1 * (4.0 * n1 + 2.0)
                + cells(8.0) * c2 * (4.0 * n2 + 2.0)
                + coarse * c3 * (4.0 * n3 + 2.0)
                + small.attention_blocks as f64
                    * transformer(coarse, c3, 4.0 * c3, small.num_heads as f64, coarse)
                + cells(8.0) * 6.0 * model.prompt_embed_dim as f64
        }
    }
}

/// Resident size of this process and its largest so far, in MB; known on Linux only.
pub(crate) fn resident_mb() -> Option<(f64, f64)> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        let kib: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
        Some(kib * 1024.0 / 1e6)
    };
    Some((field("VmRSS:")?, field("VmHWM:")?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Mode;

    fn group(parameters: usize, trainable: bool) -> ParameterGroup {
        ParameterGroup {
            name: String::new(),
            tensors: 1,
            parameters,
            trainable,
            lr_factor: 1.0,
            weight_decay: 0.0,
        }
    }

    #[test]
    fn parameters_are_counted() {
        let mut config = TrainConfig::default();
        config.ema.decay = 0.9;
        let model = config.model.resolve();
        let groups = [group(1000, false), group(10, true)];
        let estimate = MemoryEstimate::of(&config, &model, &groups);
        let MemoryEstimate {
            weights,
            gradients,
            moments,
            average,
            activations,
        } = estimate;
        assert_eq!([weights, gradients, moments, average], [4040, 40, 80, 40]);
        assert_eq!(estimate.total(), 4200 + activations);
    }

    #[test]
    fn activations_follow_what_is_trained() {
        let activations = |mode, last_blocks, batch_size, accumulate| {
            let mut config = TrainConfig {
                mode,
                batch_size,
                accumulate,
                ..TrainConfig::default()
            };
            config.finetune.last_blocks = last_blocks;
            MemoryEstimate::of(&config, &config.model.resolve(), &[]).activations
        };
        let decoder = activations(Mode::Decoder, None, 1, 1);
        let (last, whole) = (
            activations(Mode::Finetune, Some(8), 1, 1),
            activations(Mode::Finetune, None, 1, 1),
        );
        assert!(decoder < last && last < whole);
        let encoder = |total: u64| total - decoder;
        assert_eq!(encoder(last), encoder(whole) / 4, "8 of 32 blocks");
        let pairs = activations(Mode::All, None, 4, 2);
        assert_eq!(activations(Mode::All, None, 4, 1), 2 * pairs);
        assert_eq!(activations(Mode::All, None, 4, 4), pairs / 2);
        let mut config = TrainConfig {
            mode: Mode::All,
            batch_size: 4,
            accumulate: 4,
            parts_at_once: 2,
            ..TrainConfig::default()
        };
        config.finetune.last_blocks = None;
        let estimate = MemoryEstimate::of(&config, &config.model.resolve(), &[]);
        assert_eq!(
            estimate.activations, pairs,
            "two parts of one image at once"
        );
    }

    #[test]
    fn every_recorded_answer_takes_its_room() {
        let mut config = TrainConfig::default();
        config.prompts.corrections.probability = 0.5;
        config.prompts.corrections.max_rounds = 3;
        let activations = |config: &TrainConfig| {
            MemoryEstimate::of(config, &config.model.resolve(), &[]).activations
        };
        let last = activations(&config);
        config.prompts.corrections.loss = CountedAnswers::Every;
        assert_eq!(
            activations(&config),
            4 * last,
            "a frozen encoder keeps nothing"
        );
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_process_knows_its_size() {
        let (now, peak) = resident_mb().unwrap();
        assert!(now > 1.0 && peak >= now);
    }
}
