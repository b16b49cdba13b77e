//! A training step in bf16: its gradients beside single precision's, and its bytes with any number of threads.

use std::collections::BTreeMap;

use burn::tensor::Device;
use synthfm_sam::ops::Arithmetic;
use synthfm_sam::{PrecisionChoice, Sam};
use synthfm_train::{BatchMaker, Learner, TrainConfig, TrainState, initialise};

/// Our own model with the layers of the one that is shipped, at half its resolution.
fn small() -> TrainConfig {
    let text = "mode = \"all\"\nbatch_size = 2\nobjects_per_image = 2\nmodel = { small = { image_size = 128 } }\n\
                [loss]\ndice = 1.0\nfocal = 1.0\niou = 0.1\n\
                [generator.size]\nheight = 192\nwidth = 128\n";
    TrainConfig::from_toml(text).unwrap()
}

fn learner(config: &TrainConfig, step: Arithmetic) -> Learner {
    let (model, device) = (config.model.resolve(), Device::flex());
    let sam = initialise(Sam::new(&model, &device), config.seed);
    Learner::new(sam, model, config.mode, config.loss, &device).with_step_in(step)
}

/// Loss and gradients of the first batch.
fn gradients(config: &TrainConfig, step: Arithmetic) -> (f32, BTreeMap<String, Vec<f32>>) {
    let batch = BatchMaker::new(config.clone(), config.model.resolve()).batch(0);
    let learner = learner(config, step);
    let output = learner.forward(&batch).unwrap().unwrap();
    let gradients = learner.gradients(&output);
    let owned = gradients.iter().map(|(k, g)| (k.to_owned(), g.to_vec()));
    let gradients = owned.collect();
    (output.loss.into_scalar::<f32>(), gradients)
}

/// Largest part of a parameter's gradient that bf16 may change, as the ratio of Euclidean norms.
///
/// Rounding moves an operand by 2^-9 at most, 0.1 % on average, and independently of the next. A gradient passes some 40
/// products there and back, whose errors add like √40; rectifiers that flip add as much again. So about 2 % is expected
/// of a right step (0.9 % in the mean and 3.2 % at most here), and a wrong one is off by far more.
const TOLERANCE: f64 = 0.06;

#[test]
fn gradients_of_every_parameter_are_near_those_in_single_precision() {
    if PrecisionChoice::Bf16.for_training(&Device::flex()).is_err() {
        return;
    }
    let config = small();
    let (expected_loss, expected) = gradients(&config, Arithmetic::F32);
    let (loss, got) = gradients(&config, Arithmetic::Bf16);
    let change = (loss / expected_loss - 1.0).abs();
    assert!((1e-7..1e-2).contains(&change), "loss off by {change}");
    assert!(got.keys().eq(expected.keys()));
    let norm = |values: &mut dyn Iterator<Item = f32>| {
        values
            .map(|v| f64::from(v) * f64::from(v))
            .sum::<f64>()
            .sqrt()
    };
    let all = norm(&mut expected.values().flatten().copied());
    for (key, expected) in &expected {
        let got = &got[key];
        let off = norm(&mut got.iter().zip(expected).map(|(g, e)| g - e));
        // What softmax ignores has a gradient of nothing but rounding.
        let size = norm(&mut expected.iter().copied()).max(1e-4 * all);
        assert!(off < TOLERANCE * size, "{key}: off by {}", off / size);
    }
}

#[test]
fn a_trainee_steps_in_the_precision_of_its_configuration() {
    let device = Device::flex();
    for precision in [PrecisionChoice::F32, PrecisionChoice::Auto] {
        let config = TrainConfig {
            precision,
            ..super::tiny()
        };
        let (model, chosen) = (config.model.resolve(), precision.for_training(&device));
        let sam = initialise(Sam::new(&model, &device), config.seed);
        let trainee = TrainState::new(sam, &config, &model, &device).unwrap();
        assert_eq!(trainee.arithmetic(), chosen.unwrap());
        let maker = BatchMaker::new(config.clone(), model);
        let (_, loss) = trainee.train_on(&[maker.batch(0)], 0.0).unwrap();
        let (expected, _) = gradients(&config, precision.for_training(&device).unwrap());
        assert_eq!(loss.map(f32::to_bits), Some(expected.to_bits()));
    }
}

#[test]
fn threads_do_not_change_a_gradient() {
    let config = super::tiny();
    let chosen = PrecisionChoice::Auto.for_training(&Device::flex()).unwrap();
    for step in [Arithmetic::F32, chosen] {
        let with = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
            pool.build().unwrap().install(|| {
                let (loss, gradients) = gradients(&config, step);
                let bits = |g: Vec<f32>| g.into_iter().map(f32::to_bits).collect::<Vec<_>>();
                let gradients = gradients.into_iter().map(|(k, g)| (k, bits(g)));
                (loss.to_bits(), gradients.collect::<BTreeMap<_, _>>())
            })
        };
        let alone = with(1);
        for threads in [2, 3] {
            assert_eq!(with(threads), alone, "{step:?}, {threads} threads");
        }
    }
}
