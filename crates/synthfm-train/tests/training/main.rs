//! The training loop on a very small model: it learns, it resumes, it ends cleanly.

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod modes;
mod precision;
mod runs;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use burn::tensor::Device;
use synthfm_sam::{ModelFile, Sam};
use synthfm_train::{
    AdamW, BatchMaker, CountedAnswers, EmaConfig, Event, Learner, Loader, Mode, Outcome, Processes,
    RunOptions, StepReport, TrainConfig, TrainState, ValidationConfig, initialise, train,
};

fn tiny() -> TrainConfig {
    TrainConfig::from_toml(include_str!("../../../../configs/tiny.toml")).unwrap()
}

fn learner(config: &TrainConfig) -> Learner {
    learner_on(&Device::flex(), config)
}

fn learner_on(device: &Device, config: &TrainConfig) -> Learner {
    let model = config.model.resolve();
    let sam = initialise(Sam::new(&model, device), config.seed);
    Learner::new(sam, model, config.mode, config.loss, device)
}

fn run(
    config: &TrainConfig,
    out: &Path,
    resume: bool,
    workers: usize,
) -> synthfm_train::Result<(Outcome, Vec<StepReport>)> {
    let stop = AtomicBool::new(false);
    let options = RunOptions {
        out,
        device: Device::flex(),
        resume,
        workers,
        stop: &stop,
        processes: &Processes::alone(),
    };
    let mut reports = Vec::new();
    let outcome = train(config, &options, &mut |event| {
        if let Event::Steps(report) = event {
            reports.push((*report).clone());
        }
    })?;
    Ok((outcome, reports))
}

/// Our own model from its first step, on every GPU or software device that there is. The first losses and gradients
/// are those of one forward and backward pass in single precision; from there on, what rounding does to a step of
/// `AdamW`, which moves a parameter by its gradient's sign at first, grows.
#[cfg(feature = "gpu")]
#[test]
fn gpus_train_as_the_cpu_does() {
    use synthfm_sam::{DeviceChoice, devices};
    let mut config = tiny();
    // Corrections depend on where a logit crosses 0.
    config.prompts.corrections.probability = 0.0;
    let maker = BatchMaker::new(config.clone(), config.model.resolve());
    let train = |device: &Device| {
        let mut learner = learner_on(device, &config);
        let mut optimizer = AdamW::new(config.optimizer);
        let mut losses = Vec::new();
        let mut first = BTreeMap::new();
        for step in 0..6 {
            let output = learner.forward(&maker.batch(step)).unwrap().unwrap();
            let gradients = learner.gradients(&output);
            losses.push(output.loss.into_scalar::<f32>());
            let finite = |(_, g): (&str, &[f32])| g.iter().all(|g| g.is_finite());
            assert!(gradients.iter().all(finite));
            if step == 0 {
                let owned = gradients.iter().map(|(k, g)| (k.to_owned(), g.to_vec()));
                first = owned.collect();
            }
            let norm = gradients.global_norm();
            learner.sam = optimizer.step(learner.sam, gradients, norm, 1e-3);
        }
        (losses, first)
    };
    let (expected_losses, expected_first) = train(&Device::flex());
    for info in devices().iter().skip(1) {
        let device = info.name.parse::<DeviceChoice>().unwrap().open().unwrap();
        let (losses, first) = train(&device.device);
        for (step, (got, expected)) in losses.iter().zip(&expected_losses).enumerate() {
            let tolerance = if step == 0 { 1e-5 } else { 1e-2 };
            let error = (got / expected - 1.0).abs();
            assert!(error < tolerance, "step {step}: {got}, expected {expected}");
        }
        assert!(first.keys().eq(expected_first.keys()));
        let size = |g: &[f32]| g.iter().fold(0.0_f32, |m, v| m.max(v.abs()));
        let all = expected_first.values().map(|g| size(g)).fold(0.0, f32::max);
        for (key, got) in &first {
            let expected = &expected_first[key];
            let difference: Vec<f32> = got.iter().zip(expected).map(|(a, b)| a - b).collect();
            let allowed = 1e-3 * size(expected) + 1e-6 * all;
            assert!(size(&difference) <= allowed, "{key}: {}", size(&difference));
        }
    }
}

#[test]
fn a_trainee_outside_of_a_run_steps_as_the_run_does() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = TrainConfig {
        images_per_epoch: 6,
        log_every: 1,
        ema: EmaConfig { decay: 0.9 },
        ..tiny()
    };
    config.prompts.corrections.probability = 1.0;
    let (_, reports) = run(&config, &folder.path().join("run"), false, 1).unwrap();
    let (model, device) = (config.model.resolve(), Device::flex());
    let sam = initialise(Sam::new(&model, &device), config.seed);
    let mut trainee = TrainState::new(sam, &config, &model, &device).unwrap();
    let maker = BatchMaker::new(config.clone(), model);
    assert_eq!(reports.len(), 3);
    for (step, report) in (0..).zip(&reports) {
        let lr = config.schedule.at(step, 3);
        let (next, loss) = trainee.train_on(&[maker.batch(step)], lr).unwrap();
        trainee = next;
        assert_eq!(loss.map(f32::to_bits), Some(report.loss.to_bits()));
    }
}

#[test]
fn gradients_of_our_encoder_equal_finite_differences() {
    // The truth of the IoU head jumps where a logit crosses 0.
    let mut config = tiny();
    config.loss.iou = 0.0;
    assert_slope_along_gradient(config, "");
}

#[test]
fn gradients_of_the_reach_maps_equal_finite_differences() {
    let mut config = tiny();
    config.loss.iou = 0.0;
    assert_slope_along_gradient(config, "mask_decoder.click_reach.");
}

#[test]
fn gradients_of_the_mask_refiner_equal_finite_differences() {
    let mut config = tiny();
    config.loss.iou = 0.0;
    assert_slope_along_gradient(config, "mask_decoder.mask_refiner.");
}

#[test]
fn gradients_of_the_iou_head_equal_finite_differences() {
    // Its parameters move no logit, so the truth stays.
    let mut config = tiny();
    config.loss.iou = 1.0;
    assert_slope_along_gradient(config, "mask_decoder.iou_prediction_head.");
}

/// The kernels' own tests compare each operation; this checks that they are wired up right, on the directional
/// derivative along the gradient of the parameters whose keys start with `part`.
fn assert_slope_along_gradient(mut config: TrainConfig, part: &str) {
    // Corrections depend on the answer, without a gradient.
    config.prompts.corrections.probability = 0.0;
    let base = learner(&config);
    let batch = BatchMaker::new(config.clone(), config.model.resolve()).batch(3);
    let gradients = base.gradients(&base.forward(&batch).unwrap().unwrap());
    let gradients: BTreeMap<&str, &[f32]> = gradients
        .iter()
        .filter(|(key, _)| key.starts_with(part))
        .collect();
    let squares = gradients.values().copied().flatten();
    let norm = squares
        .map(|&g| f64::from(g) * f64::from(g))
        .sum::<f64>()
        .sqrt();
    let loss_at = |step: f64| -> f64 {
        let mut moved = base.clone();
        moved.sam = shift(moved.sam, &gradients, (step / norm) as f32);
        f64::from(
            moved
                .forward(&batch)
                .unwrap()
                .unwrap()
                .loss
                .into_scalar::<f32>(),
        )
    };
    let h = 2e-3;
    let slope = (loss_at(h) - loss_at(-h)) / (2.0 * h);
    assert!(
        (slope / norm - 1.0).abs() < 0.02,
        "slope {slope}, norm of the gradient {norm}"
    );
}

/// `module` moved by `scale` times its gradient, where it has one.
fn shift(sam: Sam, gradients: &BTreeMap<&str, &[f32]>, scale: f32) -> Sam {
    use burn::module::{Module, ModuleMapper, Param};
    use burn::tensor::{Tensor, TensorData};
    use synthfm_sam::KeyPath;
    struct Shifter<'a>(KeyPath, &'a BTreeMap<&'a str, &'a [f32]>, f32);
    impl ModuleMapper for Shifter<'_> {
        fn enter_module(&mut self, name: &str, container: &str) {
            self.0.enter(name, container);
        }
        fn exit_module(&mut self, _: &str, _: &str) {
            self.0.exit();
        }
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let Some(gradient) = self.1.get(self.0.key().as_str()) else {
                return param;
            };
            let values: Vec<f32> = gradient.iter().map(|g| g * self.2).collect();
            param.map(|t| {
                let step = Tensor::from_data(TensorData::new(values, t.shape()), &t.device());
                (t + step).detach().require_grad()
            })
        }
    }
    sam.map(&mut Shifter(KeyPath::default(), gradients, scale))
}

#[test]
fn one_batch_is_overfitted() {
    let config = tiny();
    let mut learner = learner(&config);
    let mut optimizer = AdamW::new(config.optimizer);
    let batch = BatchMaker::new(config.clone(), config.model.resolve()).batch(1);
    let mut losses = Vec::new();
    for _ in 0..250 {
        let output = learner.forward(&batch).unwrap().unwrap();
        let gradients = learner.gradients(&output);
        let norm = gradients.global_norm();
        losses.push(output.loss.into_scalar::<f32>());
        learner.sam = optimizer.step(learner.sam, gradients, norm, 3e-3);
    }
    let (first, last) = (losses[0], losses[losses.len() - 1]);
    assert!(last < 0.1 * first, "loss fell from {first} to {last} only");
}

/// Windows of scenes, every kind of prompt, and a loss on every answer.
fn with_views() -> TrainConfig {
    let mut config = tiny();
    config.views.whole = 0.3;
    config.views.per_scene = 2;
    config.batch_size = 3;
    (config.generator.size.height, config.generator.size.width) = (200, 224);
    config.generator.targets.min_area = 0.0003;
    config.prompts.per_image = true;
    (config.prompts.scribble, config.prompts.rough_mask) = (0.2, 0.4);
    config.prompts.corrections.probability = 0.7;
    config.prompts.corrections.max_rounds = 3;
    config.prompts.corrections.loss = CountedAnswers::Every;
    config
}

#[test]
fn batches_do_not_depend_on_the_number_of_workers() {
    check_workers(&tiny());
}

#[test]
fn batches_of_views_do_not_depend_on_the_number_of_workers() {
    check_workers(&with_views());
}

fn check_workers(config: &TrainConfig) {
    let maker = BatchMaker::new(config.clone(), config.model.resolve());
    let (mut one, mut three) = (
        Loader::start(&maker, 2, 9, 1),
        Loader::start(&maker, 2, 9, 3),
    );
    for step in 2..9 {
        let batch = one.next_batch();
        assert_eq!(batch, three.next_batch(), "step {step}");
        assert_eq!(batch, Some(maker.batch(step)), "step {step}");
    }
    assert_eq!((one.next_batch(), three.next_batch()), (None, None));
}

#[test]
fn a_resumed_run_equals_the_uninterrupted_one() {
    check_resume(tiny());
}

#[test]
fn a_resumed_run_of_views_equals_the_uninterrupted_one() {
    check_resume(TrainConfig {
        batch_size: 2,
        ..with_views()
    });
}

#[test]
fn two_views_of_a_scene_differ_and_do_not_depend_on_the_batch() {
    let config = with_views();
    let model = config.model.resolve();
    let maker = BatchMaker::new(config.clone(), model.clone());
    let image = |maker: &BatchMaker, step: u64, at: usize| {
        let batch = maker.batch(step);
        let pixels = batch.images.len() / config.batch_size;
        batch.images[at * pixels..][..pixels].to_vec()
    };
    // Images 0 to 5 are two steps of three; image 3 is the second view of the second scene.
    let alone = TrainConfig {
        batch_size: 1,
        ..config.clone()
    };
    let single = BatchMaker::new(alone, model);
    let single = |at: u64| single.batch(at).images;
    let mut different = 0;
    for at in 0..6 {
        let together = image(&maker, at / 3, (at % 3) as usize);
        assert!(together == single(at), "image {at}");
        different += usize::from(at % 2 == 1 && together != single(at - 1));
    }
    assert!(different >= 2, "three scenes, most in two windows");
}

#[test]
fn a_resumed_run_with_averages_and_parts_equals_the_uninterrupted_one() {
    let last = check_resume(TrainConfig {
        accumulate: 2,
        ema: EmaConfig { decay: 0.8 },
        ..tiny()
    });
    // The averaged model is what is kept; the checkpoint holds both.
    let read = |name: &str| &last[name];
    assert_eq!(read("model.safetensors"), read("ema"));
    assert_ne!(read("model.safetensors"), read("last"));
}

/// Files of the uninterrupted run by name; `ema` and `last` are its last checkpoint's models.
fn check_resume(config: TrainConfig) -> BTreeMap<String, Vec<u8>> {
    let folder = tempfile::tempdir().unwrap();
    let config = TrainConfig {
        images_per_epoch: 24,
        checkpoint_every: 5,
        log_every: 1,
        validation: ValidationConfig {
            every: 4,
            images: 3,
            ..ValidationConfig::default()
        },
        ..config
    };
    let (whole, resumed) = (folder.path().join("whole"), folder.path().join("resumed"));
    let (outcome, reports) = run(&config, &whole, false, 1).unwrap();
    assert!(outcome.finished && outcome.step == 12 && reports.len() == 12);

    // Stop a second run after step 10's checkpoint by removing everything later.
    run(&config, &resumed, false, 2).unwrap();
    fs::remove_dir_all(resumed.join("checkpoints/step-00000012")).unwrap();
    fs::remove_file(resumed.join("model.safetensors")).unwrap();
    let (outcome, reports) = run(&config, &resumed, true, 2).unwrap();
    assert!(outcome.finished);
    assert_eq!(reports.len(), 2, "two steps were left");
    let read = |run: &Path, name: &str| fs::read(run.join(name)).unwrap();
    let same = |name: &str| read(&whole, name) == read(&resumed, name);
    assert!(same("model.safetensors"), "the models differ");
    assert!(same("best.safetensors"), "the best models differ");
    assert!(same("validation.jsonl"), "the validations differ");
    let count = |name: &str| {
        let log = fs::read_to_string(resumed.join(name)).unwrap();
        log.lines().count()
    };
    assert_eq!(count("metrics.jsonl"), 12, "one line per step, none twice");
    assert_eq!(count("validation.jsonl"), 3, "after steps 4, 8 and 12");
    for name in ["pictures/step-00000008.png", "pictures/step-00000012.png"] {
        assert!(same(name), "{name}");
    }
    let page = fs::read_to_string(whole.join("curves.html")).unwrap();
    assert!(page.contains("Step 12 of 12.") && page.contains("validation 3,2"));
    let checkpoint = whole.join("checkpoints/step-00000012");
    let files = [
        ("model.safetensors", whole.join("model.safetensors")),
        ("last", checkpoint.join("model.safetensors")),
        ("ema", checkpoint.join("ema.safetensors")),
    ];
    let existing = files.into_iter().filter(|(_, path)| path.exists());
    existing
        .map(|(name, path)| (name.to_owned(), fs::read(path).unwrap()))
        .collect()
}

#[test]
fn a_frozen_encoder_keeps_its_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let all = TrainConfig {
        images_per_epoch: 4,
        ..tiny()
    };
    let (first, _) = run(&all, &folder.path().join("all"), false, 1).unwrap();
    let decoder = TrainConfig {
        mode: Mode::Decoder,
        encoder: Some(first.model.clone()),
        ..all
    };
    let (second, _) = run(&decoder, &folder.path().join("decoder"), false, 1).unwrap();
    let encoder = |path: &Path| {
        let sam = ModelFile::open(path)
            .unwrap()
            .load(&Device::flex())
            .unwrap();
        synthfm_sam::weights_sha256(&sam.image_encoder)
    };
    assert_eq!(encoder(&first.model), encoder(&second.model));
    assert!(
        fs::read(&first.model).unwrap() != fs::read(&second.model).unwrap(),
        "the decoder was trained"
    );
}

#[test]
fn mistakes_are_explained() {
    let folder = tempfile::tempdir().unwrap();
    let message = |config: &TrainConfig, out: &Path, resume| {
        run(config, out, resume, 1).unwrap_err().to_string()
    };
    let decoder = TrainConfig {
        mode: Mode::Decoder,
        ..tiny()
    };
    assert!(message(&decoder, &folder.path().join("a"), false).contains("--encoder"));
    let out = folder.path().join("b");
    let short = TrainConfig {
        images_per_epoch: 2,
        ..tiny()
    };
    run(&short, &out, false, 1).unwrap();
    assert!(message(&short, &out, false).contains("--resume"));
    let other = TrainConfig {
        seed: 9,
        ..short.clone()
    };
    assert!(message(&other, &out, true).contains("seed = 9"));
    let file = folder.path().join("file");
    fs::write(&file, "x").unwrap();
    assert!(message(&short, &file.join("run"), false).contains("file"));
    let newest = out.join("checkpoints/step-00000001/optimizer.safetensors");
    assert!(newest.exists());
    fs::write(&newest, b"not a checkpoint").unwrap();
    let message = message(&short, &out, true);
    assert!(message.contains("damaged checkpoint"), "{message}");
    for (text, field) in [
        ("batch_size = 0", "batch_size"),
        ("batch_size = 2\naccumulate = 3", "accumulate"),
        ("ema = { decay = 1.0 }", "ema.decay"),
        (
            "mode = \"all\"\nencoder_precision = \"bf16\"",
            "encoder_precision",
        ),
        ("encoder_precision = \"f8\"", "f8"),
        ("precision = \"f16\"", "precision: f16"),
        ("finetune = { lr_factor = 0.0 }", "finetune.lr_factor"),
        ("loss = { multimask = true }", "loss.multimask"),
        ("checkpoint_every = 4\nkeep_every = 6", "keep_every"),
        ("min_aspect = 0.0", "min_aspect"),
        ("loss = { dice = 0.0 }", "loss"),
        ("schedule = { peak = -1.0 }", "schedule.peak"),
        ("epochz = 3", "epochz"),
        ("views = { whole = 1.5 }", "views.whole"),
        ("views = { closest = 0.9 }", "views.closest"),
        ("views = { per_scene = 0 }", "views.per_scene"),
        ("prompts = { rough_mask = -1.0 }", "prompts"),
        ("[prompts.corrections]\nloss = \"all\"", "loss"),
        (
            "[prompts.corrections]\nmax_rounds = 0",
            "prompts.corrections.max_rounds",
        ),
        (
            "[prompts.corrections]\nprobability = 1.5",
            "prompts.corrections.probability",
        ),
    ] {
        let error = TrainConfig::from_toml(text).unwrap_err().to_string();
        assert!(error.contains(field), "{text}: {error}");
    }
}
