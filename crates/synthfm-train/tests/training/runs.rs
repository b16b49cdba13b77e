//! Whole runs with embeddings on disk, with real data in their validation, and that diverge.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use burn::tensor::Device;
use synthfm_eval::SamSegmenter;
use synthfm_eval::clicks::Negatives;
use synthfm_eval::dataset::Dataset;
use synthfm_eval::evaluate::{Options, RunOptions, Segmenter, evaluate};
use synthfm_sam::{MaskOutput, ModelFile, Predictor};
use synthfm_train::{
    BatchMaker, CountedAnswers, DistillationConfig, Error, Mode, ModelSpec, ReuseConfig,
    TrainConfig, Validation, ValidationConfig,
};

use crate::{run, tiny};

/// A decoder's run on the frozen encoder of a small model in `folder`.
fn on_frozen_encoder(folder: &Path) -> TrainConfig {
    let first = TrainConfig {
        images_per_epoch: 4,
        ..tiny()
    };
    let (outcome, _) = run(&first, &folder.join("first"), false, 1).unwrap();
    TrainConfig {
        mode: Mode::Decoder,
        encoder: Some(outcome.model),
        epochs: 4,
        images_per_epoch: 6,
        log_every: 1,
        checkpoint_every: 5,
        validation: ValidationConfig::default(),
        ..tiny()
    }
}

#[test]
fn embeddings_are_used_again_with_fresh_prompts() {
    let folder = tempfile::tempdir().unwrap();
    let anew = on_frozen_encoder(folder.path());
    let config = TrainConfig {
        reuse: ReuseConfig {
            epochs: 2,
            ..ReuseConfig::default()
        },
        ..anew.clone()
    };
    let maker = BatchMaker::new(config.clone(), config.model.resolve());
    let (first, second, third) = (maker.batch(0), maker.batch(3), maker.batch(6));
    assert_eq!(
        first.pictures, second.pictures,
        "epochs 0 and 1 share images"
    );
    assert!(first.groups != second.groups);
    assert!(first.pictures != third.pictures, "epoch 2 has new ones");

    let [whole, resumed, plain] =
        ["whole", "resumed", "plain"].map(|name| folder.path().join(name));
    let (outcome, reports) = run(&config, &whole, false, 2).unwrap();
    assert_eq!(outcome.step, 12);
    let kept = |run: &Path| {
        let files = fs::read_dir(run.join("embeddings")).unwrap();
        let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.ends_with(".safetensors")).count()
    };
    assert_eq!(kept(&whole), 12, "two rounds of six images");
    // The first epoch is that of a run without embeddings on disk.
    let (_, without) = run(&anew, &plain, false, 2).unwrap();
    for (a, b) in reports.iter().zip(&without).take(3) {
        assert!(
            (a.loss / b.loss - 1.0).abs() < 1e-4,
            "{} and {}",
            a.loss,
            b.loss
        );
    }
    // Stopped after step 10, and with a damaged embedding, it ends in the same bytes.
    run(&config, &resumed, false, 1).unwrap();
    fs::remove_dir_all(resumed.join("checkpoints/step-00000012")).unwrap();
    fs::remove_file(resumed.join("model.safetensors")).unwrap();
    let file = fs::read_dir(resumed.join("embeddings")).unwrap();
    for path in file.map(|file| file.unwrap().path()) {
        if path.extension().is_some_and(|e| e == "safetensors") {
            let mut bytes = fs::read(&path).unwrap();
            *bytes.last_mut().unwrap() ^= 1;
            fs::write(&path, bytes).unwrap();
        }
    }
    run(&config, &resumed, true, 2).unwrap();
    let model = |run: &Path| fs::read(run.join("model.safetensors")).unwrap();
    assert!(model(&whole) == model(&resumed), "the models differ");
}

/// A run that learns from the answers of an earlier model, stopped and resumed; and with another teacher in its place.
#[test]
fn a_run_with_a_teacher_goes_on_as_it_began() {
    let folder = tempfile::tempdir().unwrap();
    let short = TrainConfig {
        images_per_epoch: 4,
        ..tiny()
    };
    let model_of = |seed, name: &str| {
        let config = TrainConfig {
            seed,
            ..short.clone()
        };
        let (outcome, _) = run(&config, &folder.path().join(name), false, 1).unwrap();
        outcome.model
    };
    let (teacher, other) = (model_of(5, "teacher"), model_of(6, "other"));
    let mut config = TrainConfig {
        images_per_epoch: 8,
        checkpoint_every: 2,
        ..tiny()
    };
    config.prompts.single_click = 1.0;
    config.prompts.corrections.loss = CountedAnswers::Every;
    let alone = config.clone();
    config.distillation = DistillationConfig {
        teacher: Some(teacher.clone()),
        weight: 3.0,
    };
    let [whole, resumed, plain] =
        ["whole", "resumed", "plain"].map(|name| folder.path().join(name));
    let (outcome, _) = run(&config, &whole, false, 2).unwrap();
    run(&config, &resumed, false, 1).unwrap();
    let last = resumed.join(format!("checkpoints/step-{:08}", outcome.step));
    fs::remove_dir_all(last).unwrap();
    fs::remove_file(resumed.join("model.safetensors")).unwrap();
    let weights = fs::read(&teacher).unwrap();
    fs::copy(&other, &teacher).unwrap();
    let error = run(&config, &resumed, true, 1).unwrap_err().to_string();
    assert!(error.starts_with("distillation.teacher: "), "{error}");
    fs::write(&teacher, weights).unwrap();
    run(&config, &resumed, true, 2).unwrap();
    run(&alone, &plain, false, 1).unwrap();
    let model = |run: &Path| fs::read(run.join("model.safetensors")).unwrap();
    assert!(model(&whole) == model(&resumed), "the models differ");
    assert!(model(&whole) != model(&plain), "the teacher taught nothing");
}

#[test]
fn a_teacher_that_cannot_teach_is_an_error_that_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let small = TrainConfig {
        images_per_epoch: 2,
        ..tiny()
    };
    let (outcome, _) = run(&small, &folder.path().join("teacher"), false, 1).unwrap();
    let mut config = small.clone();
    config.distillation.teacher = Some(outcome.model);
    config.prompts.corrections.probability = 0.5;
    let problem = |config: &TrainConfig| {
        let out = folder.path().join("run");
        run(config, &out, false, 1).unwrap_err().to_string()
    };
    assert!(problem(&config).contains("prompts.corrections.loss"));
    config.prompts.corrections.loss = CountedAnswers::Every;
    config.distillation.weight = 0.0;
    assert!(problem(&config).contains("distillation.weight"));
    config.distillation.weight = 1.0;
    config.reuse.epochs = 2;
    config.epochs = 2;
    assert!(problem(&config).contains("reuse"));
    (config.reuse.epochs, config.epochs) = (1, 1);
    config.model = ModelSpec::Small {
        image_size: 64,
        mask_refiner: 0,
    };
    let text = problem(&config);
    assert!(text.contains("the model 64 and 32"), "{text}");
}

#[test]
fn a_damaged_checkpoint_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let config = TrainConfig {
        images_per_epoch: 4,
        checkpoint_every: 1,
        ..tiny()
    };
    run(&config, &out, false, 1).unwrap();
    fs::remove_file(out.join("model.safetensors")).unwrap();
    let checkpoints = fs::read_dir(out.join("checkpoints")).unwrap();
    let newest = checkpoints
        .map(|entry| entry.unwrap().path())
        .max()
        .unwrap();
    let mut files = 0;
    for path in fs::read_dir(&newest).unwrap().map(|e| e.unwrap().path()) {
        let whole = fs::read(&path).unwrap();
        for at in [whole.len() / 2, whole.len() - 3] {
            let mut bytes = whole.clone();
            bytes[at] ^= 4;
            fs::write(&path, bytes).unwrap();
            let error = run(&config, &out, true, 1).unwrap_err();
            let text = error.to_string();
            assert!(matches!(error, Error::Checkpoint { .. }), "{text}");
        }
        fs::remove_file(&path).unwrap();
        let gone = run(&config, &out, true, 1);
        let is_hashes = path.ends_with("hashes.json");
        assert_eq!(gone.is_ok(), is_hashes, "{}", path.display());
        fs::write(&path, whole).unwrap();
        files += 1;
    }
    assert!(files >= 4, "model, moments, state and hashes");
    run(&config, &out, true, 1).unwrap();
}

#[test]
fn real_data_is_scored_as_in_an_evaluation() {
    let folder = tempfile::tempdir().unwrap();
    let data = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../examples/Dataset001_Example");
    let out = folder.path().join("run");
    let mut config = TrainConfig {
        images_per_epoch: 4,
        validation: ValidationConfig {
            every: 1,
            images: 2,
            data: vec![data.clone()],
            choose_best_by_real_data: false,
        },
        ..tiny()
    };
    // Steps so large that each changes the masks of a model that knows nothing.
    (config.schedule.peak, config.schedule.warmup_steps) = (0.03, 0);
    run(&config, &out, false, 1).unwrap();
    let log = fs::read_to_string(out.join("validation.jsonl")).unwrap();
    let lines: Vec<Validation> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let (last, before) = (&lines[1], &lines[0]);

    let file = ModelFile::open(&out.join("model.safetensors")).unwrap();
    let device = Device::flex();
    let predictor = Predictor::new(&file.load(&device).unwrap(), &device);
    let segmenter = SamSegmenter::new("model", "hash", predictor, MaskOutput::Single);
    let segmenters: Vec<Box<dyn Segmenter>> = vec![Box::new(segmenter)];
    let datasets = [Dataset::open(&data).unwrap()];
    let options = Options {
        settings: ["1,0", "3,2", "box"].map(|s| s.parse().unwrap()).to_vec(),
        negatives: vec![Negatives::Ring],
        ..Options::default()
    };
    let never = AtomicBool::new(false);
    let found = evaluate(
        &datasets,
        &segmenters,
        &options,
        &RunOptions::default(),
        |_| (),
        &never,
    )
    .unwrap();
    assert_eq!(last.real.len(), 3);
    for (score, setting) in last.real.iter().zip(&options.settings) {
        assert_eq!(score.prompts, setting.to_string());
        let rows = found
            .rows
            .iter()
            .filter(|row| row.prompt.setting == *setting);
        let dice: Vec<f64> = rows.map(|row| row.outcome.as_ref().unwrap().dice).collect();
        assert_eq!(score.objects, dice.len());
        let mean = dice.iter().sum::<f64>() / dice.len() as f64;
        assert!(
            (score.dice - mean).abs() < 1e-12,
            "{} and {mean}",
            score.dice
        );
    }
    let mean = |line: &Validation| line.real.iter().map(|s| s.dice).sum::<f64>() / 3.0;
    let change = (mean(last) - mean(before)).abs();
    assert!(change > 0.0, "a step changes the scores");

    // The best model is the one with the best synthetic scores, unless the configuration says otherwise.
    let best_step = |run: &Path| {
        let state = fs::read_to_string(run.join("checkpoints/step-00000002/state.json")).unwrap();
        serde_json::from_str::<serde_json::Value>(&state).unwrap()["best"]["step"]
            .as_u64()
            .unwrap()
    };
    let second_is_better = |by: &dyn Fn(&Validation) -> f64| 1 + u64::from(by(last) > by(before));
    assert_eq!(best_step(&out), second_is_better(&|line| line.dice));
    config.validation.choose_best_by_real_data = true;
    let chosen = folder.path().join("chosen");
    run(&config, &chosen, false, 1).unwrap();
    assert_eq!(best_step(&chosen), second_is_better(&mean));
    config.validation.data.clear();
    let error = config.validate().unwrap_err().to_string();
    assert!(
        error.contains("validation.choose_best_by_real_data"),
        "{error}"
    );
}

#[test]
fn a_run_that_diverges_says_what_to_try() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = TrainConfig {
        images_per_epoch: 200,
        checkpoint_every: 1,
        validation: ValidationConfig::default(),
        ..tiny()
    };
    config.schedule.peak = 1e30;
    config.schedule.warmup_steps = 0;
    config.optimizer.clip_norm = 0.0;
    let error = run(&config, &folder.path().join("run"), false, 1).unwrap_err();
    let message = error.to_string();
    for part in [
        "diverged",
        "schedule.peak = 3.3",
        "optimizer.clip_norm = 1.0",
        "schedule.warmup_steps = 500",
        "--init",
    ] {
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn a_run_has_one_writer() {
    let folder = tempfile::tempdir().unwrap();
    let other = fs::File::create(folder.path().join(".lock")).unwrap();
    other.try_lock().unwrap();
    let error = run(&tiny(), folder.path(), false, 1).unwrap_err();
    assert!(
        error.to_string().contains("another synthfm train"),
        "{error}"
    );
    assert!(
        !folder.path().join("config.toml").exists(),
        "nothing was written"
    );
    drop(other);
    run(&tiny(), folder.path(), false, 1).unwrap();
}
