//! What each mode trains: every trainable parameter gets a gradient and moves at its rate, everything else stays.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use safetensors::SafeTensors;
use synthfm_sam::{
    ModelFile, ModelHints, Precision, Sam, SamConfig, is_buffer, parameter_keys, save,
};
use synthfm_train::{
    AdamW, BatchMaker, FinetuneConfig, Learner, Mode, ParameterGroup, Plan, TrainConfig, initialise,
};

use crate::{learner, tiny};

/// Masks and their weights that a single answer never reaches.
const OTHER_MASKS: [&str; 3] = [
    "hypernetworks_mlps.1",
    "hypernetworks_mlps.2",
    "hypernetworks_mlps.3",
];

/// Largest gradient of each parameter over some batches.
fn largest_gradients(
    learner: &Learner,
    config: &TrainConfig,
    model: &SamConfig,
    steps: u64,
) -> BTreeMap<String, f32> {
    let maker = BatchMaker::new(config.clone(), model.clone());
    let mut largest: BTreeMap<String, f32> = BTreeMap::new();
    for step in 0..steps {
        let output = learner
            .forward(&maker.batch(step))
            .unwrap()
            .expect("tiny batches have objects");
        for (name, gradient) in learner.gradients(&output).iter() {
            assert!(
                gradient.iter().all(|g| g.is_finite()),
                "{name}: gradient is not finite"
            );
            let size = gradient.iter().fold(0.0_f32, |m, g| m.max(g.abs()));
            let entry = largest.entry(name.to_owned()).or_default();
            *entry = entry.max(size);
        }
    }
    largest
}

#[test]
fn every_trainable_parameter_gets_a_gradient() {
    let config = tiny();
    let learner = learner(&config);
    let largest = largest_gradients(&learner, &config, &config.model.resolve(), 12);
    for parameter in parameter_keys(&learner.sam) {
        let reached = largest.get(&parameter.key).is_some_and(|&size| size > 0.0);
        let unused = OTHER_MASKS.iter().any(|part| parameter.key.contains(part));
        let expected = !unused && !is_buffer(&parameter.key);
        assert_eq!(reached, expected, "{}", parameter.key);
    }
}

#[test]
fn several_masks_reach_every_parameter_of_the_decoder() {
    let mut config = tiny();
    config.loss.multimask = true;
    config.prompts.single_click = 4.0;
    let learner = learner(&config);
    let largest = largest_gradients(&learner, &config, &config.model.resolve(), 30);
    for parameter in parameter_keys(&learner.sam) {
        let reached = largest.get(&parameter.key).is_some_and(|&size| size > 0.0);
        assert_eq!(reached, !is_buffer(&parameter.key), "{}", parameter.key);
    }
}

/// A small model of each kind with weights, at 128 px.
fn models() -> Vec<(&'static str, Sam, SamConfig)> {
    let fixtures = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../synthfm-sam/tests/fixtures");
    let open = |name: &str| {
        let hints = ModelHints {
            decoder_heads: Some(4),
        };
        let file = ModelFile::open_with(&fixtures.join(name), &hints).unwrap();
        (file.load(&Device::flex()).unwrap(), file.config().clone())
    };
    let (vit, vit_config) = open("sam_tiny.safetensors");
    let (mobile, mobile_config) = open("mobile_sam_tiny.pth");
    let config = tiny().model.resolve();
    let small = initialise(Sam::new(&config, &Device::flex()), 5);
    vec![
        ("vit", vit, vit_config),
        ("tiny_vit", mobile, mobile_config),
        ("small", small, config),
    ]
}

/// Every parameter's bytes by its key.
fn parameters(sam: &Sam, folder: &Path) -> BTreeMap<String, Vec<f32>> {
    let path = folder.join("model.safetensors");
    save(sam, Precision::F32, &path).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let word = |b: &[u8]| f32::from_le_bytes(b.try_into().unwrap());
    let tensors = file.tensors().into_iter();
    tensors
        .filter(|(_, view)| view.dtype() == safetensors::Dtype::F32)
        .map(|(name, view)| (name, view.data().chunks_exact(4).map(word).collect()))
        .collect()
}

fn finetune(finetune: FinetuneConfig, freeze_prompt_encoder: bool) -> Plan {
    Plan {
        mode: Mode::Finetune,
        finetune,
        freeze_prompt_encoder,
    }
}

#[test]
fn fine_tuning_trains_what_it_names_at_its_rate() {
    let folder = tempfile::tempdir().unwrap();
    let all = FinetuneConfig {
        lr_factor: 0.25,
        layer_decay: 0.5,
        last_blocks: None,
    };
    let last = FinetuneConfig {
        last_blocks: Some(1),
        ..all
    };
    for (name, sam, model) in models() {
        for plan in [finetune(all, false), finetune(last, true)] {
            let config = TrainConfig {
                objects_per_image: 1,
                ..tiny()
            };
            let device = Device::flex();
            let learner = Learner::new(sam.clone(), model.clone(), plan, config.loss, &device);
            let rates = learner.rates();
            let largest = largest_gradients(&learner, &config, &model, 10);
            let batch = BatchMaker::new(config.clone(), model.clone()).batch(1);
            let before = parameters(&learner.sam, folder.path());
            let gradients = learner.gradients(&learner.forward(&batch).unwrap().unwrap());
            let size = |g: &[f32]| g.iter().fold(0.0_f32, |m, v| m.max(v.abs()));
            let sizes = gradients.iter().map(|(key, g)| (key.to_owned(), size(g)));
            let sizes: BTreeMap<String, f32> = sizes.collect();
            let mut config = config.optimizer;
            (config.weight_decay, config.clip_norm) = (0.0, 0.0);
            let lr = 1e-2;
            let norm = gradients.global_norm();
            let sam = AdamW::new(config).with_rates(rates.clone()).step(
                learner.sam.clone(),
                gradients,
                norm,
                lr,
            );
            let after = parameters(&sam, folder.path());
            check_step(name, &learner, &largest, [&before, &after], &sizes, lr);
        }
    }
}

/// What has a rate has a gradient and moves by at most rate × `lr` (the first step of `AdamW`); the rest stays.
fn check_step(
    name: &str,
    learner: &Learner,
    largest: &BTreeMap<String, f32>,
    [before, after]: [&BTreeMap<String, Vec<f32>>; 2],
    sizes: &BTreeMap<String, f32>,
    lr: f64,
) {
    let rates = learner.rates();
    let trained = learner
        .groups(0.0)
        .iter()
        .filter(|group| group.trainable)
        .map(|group| group.tensors)
        .sum::<usize>();
    let mut with_gradient = 0;
    for parameter in parameter_keys(&learner.sam) {
        let key = parameter.key;
        let far = |(a, b): (&f32, &f32)| f64::from((a - b).abs());
        let distance = before[&key].iter().zip(&after[&key]).map(far);
        let distance = distance.fold(0.0, f64::max);
        if let Some(&size) = largest.get(&key) {
            with_gradient += 1;
            let unused = OTHER_MASKS.iter().any(|part| key.contains(part));
            assert!(size > 0.0 || unused, "{name}: {key} has no gradient");
        }
        let rate = rates.get(&key).copied().unwrap_or(1.0);
        if let Some(&size) = sizes.get(&key) {
            assert!(
                distance <= 1.001 * rate * lr,
                "{name}: {key} moved by {distance}"
            );
            // A gradient beside which epsilon is small moves it by the whole rate.
            assert!(
                size < 1e-3 || distance > 0.5 * rate * lr,
                "{name}: {key} moved by {distance}"
            );
        } else {
            assert!(distance == 0.0, "{name}: {key} moved without a gradient");
        }
    }
    // The weights of the masks that are not asked for are trainable, but never reached.
    let unreached = 3 * 6;
    assert_eq!(
        with_gradient + unreached,
        trained,
        "{name}: trained tensors"
    );
}

#[test]
fn groups_name_what_is_trained() {
    let (_, mobile, model) = models().swap_remove(1);
    let plan = finetune(
        FinetuneConfig {
            last_blocks: Some(1),
            ..FinetuneConfig::default()
        },
        true,
    );
    let (device, loss) = (Device::flex(), tiny().loss);
    let learner = Learner::new(mobile, model, plan, loss, &device);
    let groups = learner.groups(0.02);
    let named = |group: &ParameterGroup| {
        let ParameterGroup {
            name,
            trainable,
            lr_factor,
            weight_decay,
            ..
        } = group;
        format!("{name} {trainable} {lr_factor} {weight_decay}")
    };
    let named: Vec<String> = groups.iter().map(named).collect();
    assert_eq!(named.len(), 5, "{named:?}");
    assert!(
        named[0].starts_with("image_encoder, stem to block ") && named[0].ends_with("false 0 0")
    );
    assert!(
        named[1].starts_with("image_encoder, block ") && named[1].ends_with("neck true 0.1 0.02")
    );
    assert_eq!(named[2], "prompt_encoder false 0 0");
    assert_eq!(named[3], "mask_decoder true 1 0.02");
    assert_eq!(named[4], "buffers false 0 0");
    let tensors: usize = groups.iter().map(|group| group.tensors).sum();
    assert_eq!(tensors, parameter_keys(&learner.sam).len());
}
