//! Loss, every gradient and ten optimizer steps against what PyTorch computes with Meta's SAM, loss and every gradient with
//! SAM 2 (fixtures made by `make_sam_fixtures.py` and `make_sam2_fixtures.py` in synthfm-sam's tests).

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

use std::path::PathBuf;

use burn::tensor::{Device, Int, Tensor, TensorData};
use safetensors::SafeTensors;
use synthfm_sam::{
    DeviceChoice, HighRes, ImageEmbedding, MaskOutput, ModelFile, ModelHints, PromptBatch, Sam,
    devices, parameter_keys,
};
use synthfm_train::{AdamW, AdamWConfig, GradientSet, Learner, LossConfig, Mode, dice_loss};

/// The CPU and, in builds for GPUs, every device that there is.
fn every_device() -> Vec<Device> {
    let open = |name: &str| name.parse::<DeviceChoice>().unwrap().open();
    let names = devices().into_iter().map(|device| device.name);
    names.map(|name| open(&name).unwrap().device).collect()
}

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name)
}

fn floats(file: &SafeTensors, name: &str) -> (Vec<f32>, Vec<usize>) {
    let view = file
        .tensor(name)
        .unwrap_or_else(|_| panic!("fixture lacks {name}"));
    let word = |b: &[u8]| f32::from_le_bytes(b.try_into().unwrap());
    (
        view.data().chunks_exact(4).map(word).collect(),
        view.shape().to_vec(),
    )
}

fn tensor<const D: usize>(file: &SafeTensors, name: &str, device: &Device) -> Tensor<D> {
    let (values, shape) = floats(file, name);
    Tensor::from_data(TensorData::new(values, shape), device)
}

/// The fixture's training problem: two objects with two clicks each on one frozen embedding.
struct Problem {
    embedding: ImageEmbedding,
    target: Tensor<3>,
    prompts: PromptBatch,
}

impl Problem {
    fn load(file: &SafeTensors, device: &Device) -> Self {
        let labels: Vec<i64> = file
            .tensor("labels")
            .unwrap()
            .data()
            .chunks_exact(8)
            .map(|b| i64::from_le_bytes(b.try_into().unwrap()))
            .collect();
        let labels = Tensor::<2, Int>::from_data(TensorData::new(labels, [2, 2]), device);
        Self {
            embedding: ImageEmbedding {
                image_embedding: tensor(file, "embedding", device),
                high_res: file.tensor("feat_s1").is_ok().then(|| {
                    let [half, quarter] = ["feat_s1", "feat_s0"];
                    HighRes::new(
                        tensor(file, half, device),
                        tensor(file, quarter, device),
                        None,
                    )
                }),
            },
            target: tensor::<4>(file, "target", device).squeeze_dim(1),
            prompts: PromptBatch::from_points(
                tensor(file, "points_in_input_frame", device),
                labels,
            ),
        }
    }

    fn loss(&self, sam: &Sam) -> (Tensor<1>, Tensor<4>) {
        let out = sam.decode(&self.embedding, &self.prompts, &[0, 0], MaskOutput::Single);
        let logits = out.low_res_logits.clone().squeeze_dim(1);
        (
            dice_loss(logits, self.target.clone()).mean(),
            out.low_res_logits,
        )
    }
}

fn learner(model: &str, device: &Device) -> Learner {
    let hints = ModelHints {
        decoder_heads: Some(4),
    };
    let folder = fixture("../../../synthfm-sam/tests/fixtures");
    let file = ModelFile::open_with(&folder.join(model), &hints).unwrap();
    let sam = file.load(device).unwrap();
    Learner::new(
        sam,
        file.config().clone(),
        Mode::Decoder,
        LossConfig::default(),
        device,
    )
}

/// Largest difference relative to the expected tensor's largest magnitude.
fn error(got: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(got.len(), expected.len());
    let largest = expected.iter().fold(0.0_f32, |m, v| m.max(v.abs()));
    let worst = got
        .iter()
        .zip(expected)
        .fold(0.0_f32, |m, (a, b)| m.max((a - b).abs()));
    worst / largest.max(1e-12)
}

fn transposed(values: &[f32], shape: &[usize]) -> Vec<f32> {
    let [rows, cols] = shape else {
        panic!("a matrix")
    };
    (0..rows * cols)
        .map(|i| values[(i % rows) * cols + i / rows])
        .collect()
}

#[test]
fn loss_and_every_gradient_equal_pytorch() {
    for device in every_device() {
        check_gradients("sam_tiny", &device);
    }
}

#[test]
fn loss_and_every_gradient_of_sam_2_equal_pytorch() {
    for device in every_device() {
        check_gradients("sam2_tiny", &device);
    }
}

fn check_gradients(model: &str, device: &Device) {
    let bytes = std::fs::read(fixture(&format!("{model}_train.safetensors"))).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let learner = learner(&format!("{model}.safetensors"), device);
    let problem = Problem::load(&file, &device.clone().autodiff());
    let (loss, low_res) = problem.loss(&learner.sam);

    let (expected, _) = floats(&file, "low_res");
    assert!(
        error(
            &low_res.inner().into_data().try_into_vec::<f32>().unwrap(),
            &expected
        ) < 1e-4
    );
    let (expected, _) = floats(&file, "loss");
    assert!((loss.clone().into_scalar::<f32>() / expected[0] - 1.0).abs() < 1e-4);

    let gradients = GradientSet::collect(&learner.sam, &mut loss.backward());
    let mut checked = 0;
    for parameter in parameter_keys(&learner.sam) {
        let frozen = ["image_encoder.", "memory."];
        if parameter.key.contains("gaussian_matrix")
            || frozen.iter().any(|part| parameter.key.starts_with(part))
        {
            assert!(
                gradients.get(&parameter.key).is_none(),
                "{} must not be trained",
                parameter.key
            );
            continue;
        }
        let name = format!("grad.{}", parameter.key);
        if file.tensor(&name).is_err() {
            let none = gradients.get(&parameter.key);
            let none = none.is_none_or(|got| got.iter().all(|&v| v == 0.0));
            assert!(none, "{name} is not recorded");
            continue;
        }
        let (expected, shape) = floats(&file, &name);
        let expected = if parameter.transposed {
            transposed(&expected, &shape)
        } else {
            expected
        };
        let used = expected.iter().any(|&v| v != 0.0);
        match gradients.get(&parameter.key) {
            // The bias of a key adds the same to every score of a query, which softmax ignores: its
            // gradient is zero, and PyTorch's is rounding.
            Some(got) if parameter.key.ends_with("k_proj.bias") => {
                assert!(
                    got.iter().chain(&expected).all(|v| v.abs() < 1e-6),
                    "{}",
                    parameter.key
                );
            }
            Some(got) if used => {
                let error = error(got, &expected);
                assert!(error < 1e-4, "{}: relative error {error}", parameter.key);
            }
            Some(got) => assert!(
                got.iter().all(|&v| v == 0.0),
                "{}: expected zeros",
                parameter.key
            ),
            None => assert!(!used, "{}: no gradient", parameter.key),
        }
        checked += 1;
    }
    assert!(checked > 100, "only {checked} parameters compared");
}

#[test]
fn ten_adamw_steps_equal_pytorch() {
    for device in every_device() {
        check_steps(&device);
    }
}

fn check_steps(device: &Device) {
    let bytes = std::fs::read(fixture("sam_tiny_train.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let mut learner = learner("sam_tiny.safetensors", device);
    let frozen = learner.frozen_sha256();
    let problem = Problem::load(&file, &device.clone().autodiff());
    let mut optimizer = AdamW::new(AdamWConfig::default());
    let (expected, _) = floats(&file, "adamw_losses");
    for (step, &expected) in expected.iter().enumerate() {
        let (loss, _) = problem.loss(&learner.sam);
        let got: f32 = loss.clone().into_scalar();
        assert!(
            (got / expected - 1.0).abs() < 1e-4,
            "step {step}: loss {got}, expected {expected}"
        );
        let gradients = GradientSet::collect(&learner.sam, &mut loss.backward());
        let norm = gradients.global_norm();
        learner.sam = optimizer.step(learner.sam, gradients, norm, 1e-3);
    }
    assert_eq!(
        frozen,
        learner.frozen_sha256(),
        "the frozen encoder's bytes do not change"
    );
}
