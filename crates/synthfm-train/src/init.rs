//! Initial weights from a seed: every parameter has its own random stream, keyed by its name, so that
//! the same seed gives the same model on every machine, whatever else is initialised.
//!
//! Rules by name and shape: tables and tokens N(0, 1) as `PyTorch`'s `Embedding`; normalisations 1 and 0;
//! biases 0; products and convolutions N(0, gain²/fan-in). The gain is `PyTorch`'s 1/√3 in prompt encoder
//! and mask decoder; in the image encoder √2 before a rectifier, 1/2 at the end of a residual branch, else 1
//! (He et al. 2015; Goyal et al. 2017).

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Tensor, TensorData};
use rand::Rng;
use synthfm_sam::KeyPath;

use synthfm_eval::clicks::{normal, seeded_rng};

/// Draws every parameter of `module`.
pub fn initialise<M: Module>(module: M, seed: u64) -> M {
    module.map(&mut Initialiser {
        path: KeyPath::default(),
        seed,
    })
}

struct Initialiser {
    path: KeyPath,
    seed: u64,
}

impl ModuleMapper for Initialiser {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.exit();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let name = self.path.key();
        let shape = param.lazy_shape();
        let rule = Rule::of(&name, &shape);
        let mut rng = seeded_rng(self.seed, &["init", &name]);
        let values: Vec<f32> = (0..shape.num_elements())
            .map(|_| rule.draw(&mut rng))
            .collect();
        param.map(|tensor| {
            let tracked = tensor.is_require_grad();
            Tensor::from_data(TensorData::new(values, tensor.shape()), &tensor.device())
                .set_require_grad(tracked)
        })
    }
}

/// Largest side of a kernel of our encoder.
const MAX_KERNEL: usize = 7;

/// How one parameter is drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Rule {
    Constant(f32),
    Normal(f32),
}

impl Rule {
    fn of(name: &str, shape: &[usize]) -> Self {
        let last = name.rsplit('.').next().unwrap_or(name);
        let table = [
            "iou_token.",
            "mask_tokens.",
            "obj_score_token.",
            "point_embeddings.",
            "point_embed.",
            "mask_embed.",
            "gaussian_matrix",
        ]
        .iter()
        .any(|part| name.contains(part));
        if [
            "rel_pos",
            "pos_embed",
            "attention_biases",
            "no_mem_",
            "no_obj_",
            "maskmem_tpos_enc",
        ]
        .iter()
        .any(|part| last.starts_with(part))
        {
            return Self::Normal(0.02);
        }
        if last == "bias" && (name.contains("stem.") || name.contains("reduction.")) {
            // Ahead of a normalisation: flat regions must not all look alike.
            return Self::Normal(0.1);
        }
        if shape.len() == 1 || last == "bias" {
            let norm = ["weight", "gamma", "running_var"].contains(&last);
            return Self::Constant(if norm { 1.0 } else { 0.0 });
        }
        if table && !name.contains("patch_embed") {
            return Self::Normal(1.0);
        }
        let fan_in: usize = match shape {
            // Our encoder's kernels, [s, s, C, O]: no other has two small equal sides in front.
            [s1, s2, input, _] if s1 == s2 && *s1 <= MAX_KERNEL => s1 * s2 * input,
            // PyTorch's convolutions: [O, C, s, s]
            [_, input, s1, s2] => input * s1 * s2,
            // The tensor library's products: [C, O]
            [input, ..] => *input,
            [] => 1,
        };
        Self::Normal(gain(name) / (fan_in.max(1) as f32).sqrt())
    }

    fn draw(self, rng: &mut impl Rng) -> f32 {
        match self {
            Self::Constant(value) => value,
            Self::Normal(sd) => sd * normal(rng) as f32,
        }
    }
}

/// Spread of PyTorch's default U(−1, 1)/√fan-in.
const PYTORCH_GAIN: f32 = 0.577_350_26;

fn gain(name: &str) -> f32 {
    let part = |p: &str| name.contains(p);
    let ours = [
        "image_encoder.",
        "dense_prompts.",
        "click_reach.",
        "mask_refiner.",
    ];
    if !ours.into_iter().any(part) {
        PYTORCH_GAIN
    } else if [
        "click_reach.code.",
        "click_reach.fine_out.",
        "mask_refiner.out.",
    ]
    .into_iter()
    .any(part)
    {
        // Added to what a model without them has: they start with little say.
        0.05
    } else if ["conv1.", "lin1.", "stem.", "smooth.", "fine_in."]
        .into_iter()
        .any(part)
    {
        std::f32::consts::SQRT_2
    } else if part("conv2.")
        || part("lin2.")
        || part(".proj.")
        || part(".up.")
        || part("mask_refiner.of_")
        || part("mask_refiner.from_")
    {
        0.5
    } else {
        1.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::float_cmp, reason = "the rules give exactly these numbers")]
    fn rules_follow_names_and_shapes() {
        let sd = |name: &str, shape: &[usize]| match Rule::of(name, shape) {
            Rule::Normal(sd) => sd,
            Rule::Constant(value) => panic!("{name} is constant {value}"),
        };
        assert_eq!(sd("mask_decoder.mask_tokens.weight", &[4, 64]), 1.0);
        assert_eq!(
            sd(
                "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix",
                &[2, 32]
            ),
            1.0
        );
        assert_eq!(
            sd("image_encoder.stage1.0.conv1.weight", &[3, 3, 8, 16]),
            (2.0_f32 / 72.0).sqrt()
        );
        assert_eq!(sd("image_encoder.neck.weight", &[1, 1, 64, 64]), 1.0 / 8.0);
        assert_eq!(
            sd("image_encoder.neck.2.weight", &[256, 64, 3, 3]),
            1.0 / 24.0
        );
        assert_eq!(
            sd("mask_decoder.output_upscaling.0.weight", &[64, 16, 2, 2]),
            PYTORCH_GAIN / 8.0
        );
        assert_eq!(
            sd(
                "mask_decoder.transformer.layers.0.self_attn.q_proj.weight",
                &[64, 32]
            ),
            PYTORCH_GAIN / 8.0
        );
        let to_image = "mask_decoder.transformer.layers.0.cross_attn_token_to_image.q_proj.weight";
        assert_eq!(sd(to_image, &[64, 32]), PYTORCH_GAIN / 8.0);
        let added = "mask_decoder.click_reach.code.weight";
        assert_eq!(sd(added, &[1, 1, 400, 64]), 0.05 / 20.0);
        assert_eq!(
            Rule::of("image_encoder.stage1.0.norm.weight", &[8]),
            Rule::Constant(1.0)
        );
        assert_eq!(
            Rule::of("image_encoder.stage1.0.norm.bias", &[8]),
            Rule::Constant(0.0)
        );
    }
}
