//! A run's folder: where it starts or goes on, its logs, checkpoints, validations and models.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use serde::Serialize;
use synthfm_image::Size;
use synthfm_sam::{ModelFile, Precision, Sam, SamConfig};

use crate::checkpoint::{self, BEST, Best, EMA, Keep, MODEL, State, write_atomic};
use crate::config::{Mode, TrainConfig};
use crate::curves;
use crate::data::BatchMaker;
use crate::distillation::Teacher;
use crate::ema::Ema;
use crate::init::initialise;
use crate::learner::Learner;
use crate::memory::MemoryEstimate;
use crate::pace::StepReport;
use crate::real_validation::{RealData, RealScore, mean_dice};
use crate::reuse::EmbeddingReuse;
use crate::tensorboard::EventFile;
use crate::train::{Outcome, RunOptions, Summary};
use crate::train_state::{TrainState, lanes, learner};
use crate::validation::{SettingScore, Validation, validate};
use crate::{Error, Result};

const METRICS: &str = "metrics.jsonl";
const VALIDATION: &str = "validation.jsonl";

/// The sizes of the model, and whether its alternatives are trained: those of the weights it starts from, or the configuration's.
pub fn resolve_model(config: &TrainConfig) -> Result<SamConfig> {
    let mut wanted = config.model.resolve();
    wanted.alternatives |= wanted.is_own() && config.loss.multimask;
    let Some(path) = &config.encoder else {
        return Ok(wanted);
    };
    let found = ModelFile::open(path)?.config().clone();
    let sizes = |config: &SamConfig| {
        let SamConfig {
            encoder,
            image_size,
            prompt_embed_dim,
            ..
        } = config;
        format!("{encoder:?} at {image_size} px with {prompt_embed_dim} channels")
    };
    if sizes(&found) != sizes(&wanted) {
        return Err(Error::Parameter(format!(
            "encoder: {} holds {}, but the configuration asks for {}",
            path.display(),
            sizes(&found),
            sizes(&wanted)
        )));
    }
    // SAM 2's memory comes with its encoder, of either version.
    wanted.memory = found.memory;
    Ok(wanted)
}

/// The model at step 0: drawn from the seed, then weights loaded over it where the configuration names some.
fn initial_model(config: &TrainConfig, model: &SamConfig, device: &Device) -> Result<Sam> {
    check_sources(config)?;
    let mut sam = match &config.init {
        Some(path) => {
            let file = ModelFile::open(path)?.at_image_size(model.image_size)?;
            if model.click_reach && !file.config().click_reach
                || model.mask_refiner > file.config().mask_refiner
            {
                // A model from before: what it has not starts with little say.
                file.load_over(initialise(Sam::new(model, device), config.seed), device)?
            } else {
                file.load(device)?
            }
        }
        None => initialise(Sam::new(model, device), config.seed),
    };
    if let Some(path) = &config.encoder {
        let file = ModelFile::open(path)?;
        let (found, wanted) = (file.config().mask_in_chans, model.mask_in_chans);
        let loaded = file.load(device)?;
        sam.image_encoder = loaded.image_encoder;
        sam.memory = loaded.memory;
        if config.freeze_prompt_encoder && config.init.is_none() {
            if found != wanted {
                return Err(Error::Parameter(format!(
                    "freeze_prompt_encoder: {} has mask_in_chans {found}, the configuration {wanted}",
                    path.display()
                )));
            }
            sam.prompt_encoder = loaded.prompt_encoder;
        }
    }
    Ok(sam)
}

/// Refuses a configuration that needs weights to start from and names none.
fn check_sources(config: &TrainConfig) -> Result<()> {
    if config.encoder.is_some() || config.init.is_some() {
        return Ok(());
    }
    let problem = match config.mode {
        Mode::Decoder => {
            "encoder: mode \"decoder\" trains on a frozen image encoder; name its checkpoint (--encoder \
             sam_vit_h.pth), or use mode \"all\" to train one from scratch"
        }
        Mode::Finetune => {
            "init: mode \"finetune\" starts from a trained model; name it (--init model.safetensors), or its image \
             encoder alone (--encoder sam_vit_b.pth), or use mode \"all\" to train from scratch"
        }
        Mode::All if config.freeze_prompt_encoder => {
            "freeze_prompt_encoder: a prompt encoder that is not trained needs weights; name a model (--init \
             model.safetensors)"
        }
        Mode::All => return Ok(()),
    };
    Err(Error::Parameter(problem.to_owned()))
}

/// Keeps other processes from writing this run, which would mix its logs and checkpoints with theirs. Where the file
/// system knows no locks, as on some clusters, nothing does.
fn lock(out: &Path) -> Result<File> {
    let path = out.join(".lock");
    let mut options = OpenOptions::new();
    let file = options.write(true).create(true).truncate(false).open(&path);
    let file = file.map_err(|source| Error::Io { path, source })?;
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => Err(Error::RunInUse {
            path: out.to_owned(),
        }),
        Ok(()) | Err(TryLockError::Error(_)) => Ok(file),
    }
}

/// A checkpoint's state and all that its next step needs.
fn resumed(
    checkpoint: &Path,
    config: &TrainConfig,
    model: &SamConfig,
    device: &Device,
) -> Result<(State, TrainState)> {
    let (state, optimizer) = checkpoint::load(checkpoint, config.optimizer)?;
    let load = |name: &str| -> Result<Learner> {
        let sam = ModelFile::open(&checkpoint.join(name))?.load(device)?;
        learner(sam, config, model, device)
    };
    let decay = config.ema.decay;
    let ema = if decay > 0.0 {
        Some(Ema::of(&load(EMA)?.sam, decay, state.ema_updates))
    } else {
        None
    };
    let learner = load(MODEL)?;
    let trainee = TrainState {
        optimizer: optimizer.with_rates(learner.rates()),
        lanes: lanes(config, device)?,
        learner,
        ema,
    };
    Ok((state, trainee))
}

/// The run folder and where the run stands.
pub(crate) struct Run<'a> {
    config: &'a TrainConfig,
    out: &'a Path,
    pub(crate) state: State,
    saved: u64,
    /// In the process that writes.
    tensorboard: Option<EventFile>,
    real: RealData,
    device: &'a Device,
    /// Held as long as the run goes on, by the process that writes.
    _lock: Option<File>,
}

impl<'a> Run<'a> {
    /// A fresh run in an empty folder, or the newest checkpoint of an interrupted one.
    pub(crate) fn open(
        config: &'a TrainConfig,
        model: &SamConfig,
        options: &'a RunOptions<'a>,
    ) -> Result<(Self, TrainState)> {
        let real = RealData::open(&config.validation)?;
        let out = options.out;
        fs::create_dir_all(out).map_err(|source| Error::Io {
            path: out.to_owned(),
            source,
        })?;
        let writes = options.processes.writes();
        let lock = if writes { Some(lock(out)?) } else { None };
        if writes {
            checkpoint::remove_unfinished(out)?;
        }
        let (mut state, mut trainee) = match checkpoint::newest(out)? {
            Some(path) if options.resume => {
                same_config(&out.join("config.toml"), config)?;
                resumed(&path, config, model, &options.device)?
            }
            Some(path) => {
                return Err(Error::Parameter(format!(
                    "{} holds a run already ({}): add --resume, or choose another folder",
                    out.display(),
                    path.display()
                )));
            }
            None => {
                if writes {
                    write_atomic(&out.join("config.toml"), config.to_toml().as_bytes())?;
                }
                let sam = initial_model(config, model, &options.device)?;
                let trainee = TrainState::new(sam, config, model, &options.device)?;
                (State::default(), trainee)
            }
        };
        state.frozen_sha256 = trainee.learner.frozen_sha256();
        let teacher = Teacher::open(config, model, &options.device)?;
        let sha256 = teacher.as_ref().map_or_else(String::new, Teacher::sha256);
        if state.step > 0 && sha256 != state.teacher_sha256 {
            return Err(Error::Parameter(
                "distillation.teacher: the file holds other weights than when the run was started"
                    .into(),
            ));
        }
        state.teacher_sha256 = sha256;
        trainee.learner = trainee.learner.with_teacher(teacher);
        let on = (&options.device, config.encoder_precision);
        let recall = EmbeddingReuse::open(&config.reuse, out, &trainee.learner, on)?;
        trainee.learner = trainee.learner.with_recall(recall);
        let saved = state.step;
        let tensorboard = if writes {
            truncate_log(&out.join(METRICS), saved)?;
            truncate_log(&out.join(VALIDATION), saved)?;
            Some(EventFile::open(out, saved)?)
        } else {
            None
        };
        options.processes.wait();
        let run = Self {
            config,
            out,
            state,
            saved,
            tensorboard,
            real,
            device: &options.device,
            _lock: lock,
        };
        Ok((run, trainee))
    }

    pub(crate) fn validation_is_due(&self) -> bool {
        let (step, every) = (self.state.step, self.config.validation.every);
        every > 0 && (step.is_multiple_of(every) || step == self.config.steps())
    }

    /// Scores the model on held-out samples, draws some of them, and keeps the model if it is the best so far.
    pub(crate) fn validate(
        &mut self,
        trainee: &TrainState,
        maker: &BatchMaker,
    ) -> Result<Validation> {
        let (step, images) = (self.state.step, self.config.validation.images);
        let learner = trainee.averaged();
        let (mut validation, picture) = validate(&learner, maker, step, images)?;
        validation.real = self.real.scores(&learner, self.device)?;
        self.log(VALIDATION, &validation)?;
        let folder = self.out.join("pictures");
        fs::create_dir_all(&folder).map_err(|source| Error::Io {
            path: folder.clone(),
            source,
        })?;
        let path = folder.join(format!("step-{step:08}.png"));
        synthfm_image::write_rgb_png(&path, &picture)?;
        self.report_validation(&validation, &path, picture.size())?;
        let dice = if self.config.validation.choose_best_by_real_data {
            mean_dice(&validation.real)
        } else {
            validation.dice
        };
        if self.state.best.is_none_or(|best| dice > best.dice) {
            synthfm_sam::save(&learner.sam, Precision::F32, &self.out.join(BEST))?;
            self.state.best = Some(Best { step, dice });
        }
        curves::write(self.out, &self.title())?;
        Ok(validation)
    }

    /// Adds a validation to TensorBoard's file.
    fn report_validation(&self, validation: &Validation, picture: &Path, size: Size) -> Result<()> {
        let step = validation.step;
        let mut values = vec![("validation/dice".to_owned(), validation.dice)];
        for SettingScore {
            prompts,
            loss,
            dice,
            ..
        } in &validation.settings
        {
            values.push((format!("validation dice/{prompts}"), *dice));
            values.push((format!("validation loss/{prompts}"), *loss));
        }
        for RealScore {
            data,
            prompts,
            dice,
            ..
        } in &validation.real
        {
            values.push((format!("{data}/{prompts}"), *dice));
        }
        let Some(tensorboard) = &self.tensorboard else {
            return Ok(());
        };
        tensorboard.scalars(step, values)?;
        let png = fs::read(picture).map_err(|source| Error::Io {
            path: picture.to_owned(),
            source,
        })?;
        let sides = [size.width, size.height];
        tensorboard.picture(step, "validation", png, sides)
    }

    /// Adds a line to `metrics.jsonl`, and its numbers to TensorBoard's file.
    pub(crate) fn report(&self, report: &StepReport) -> Result<()> {
        self.log(METRICS, report)?;
        let values = [
            ("loss", f64::from(report.loss)),
            ("dice", f64::from(report.dice)),
            ("lr", report.lr),
            ("grad_norm", report.grad_norm),
            ("seconds_per_step", report.seconds_per_step),
            ("waiting", report.waiting),
            ("queue", report.queue),
        ];
        let tagged = values.map(|(name, value)| (format!("training/{name}"), value));
        match &self.tensorboard {
            Some(tensorboard) => tensorboard.scalars(report.step, tagged),
            None => Ok(()),
        }
    }

    /// The trained parameters and the memory of a step, for the reader and as `parameters.json`.
    pub(crate) fn summarise(&self, trainee: &TrainState, model: &SamConfig) -> Result<Summary> {
        let groups = trainee.learner.groups(self.config.optimizer.weight_decay);
        let memory = MemoryEstimate::of(self.config, model, &groups);
        let summary = Summary { groups, memory };
        let json = serde_json::to_vec_pretty(&summary).expect("names and numbers serialise");
        write_atomic(&self.out.join("parameters.json"), &json)?;
        Ok(summary)
    }

    /// The error of a run whose steps give nothing finite any more.
    pub(crate) fn diverged(&self) -> Error {
        let State { step, skipped, .. } = self.state;
        let from = match self.state.best {
            Some(best) => Some((self.out.join(BEST), best.step)),
            None if self.saved > 0 => {
                let checkpoint = checkpoint::folder(self.out, self.saved);
                Some((checkpoint.join(MODEL), self.saved))
            }
            None => None,
        };
        let from = from.map_or("a new run".to_owned(), |(path, step)| {
            format!("a new run with --init {} (step {step})", path.display())
        });
        Error::Diverged {
            step,
            skipped,
            advice: advice(self.config),
            from,
        }
    }

    /// The text above the curves.
    fn title(&self) -> String {
        let State { step, best, .. } = &self.state;
        let best = best.map_or_else(String::new, |Best { step, dice }| {
            format!(
                " Best validation so far: Dice {:.1} % after step {step}.",
                100.0 * dice
            )
        });
        format!("Step {step} of {}.{best}", self.config.steps())
    }

    /// Adds a line to one of the run's logs.
    fn log(&self, name: &str, line: &impl Serialize) -> Result<()> {
        let path = self.out.join(name);
        let io = |source| Error::Io {
            path: path.clone(),
            source,
        };
        let mut file = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .map_err(io)?;
        let line = serde_json::to_string(line).expect("plain numbers serialise");
        writeln!(file, "{line}").map_err(io)
    }

    /// Saves a checkpoint, after making sure that the frozen encoder is what it was.
    pub(crate) fn save(&mut self, trainee: &TrainState) -> Result<PathBuf> {
        let TrainState {
            learner,
            optimizer,
            ema,
            lanes: _,
        } = trainee;
        assert_eq!(
            learner.frozen_sha256(),
            self.state.frozen_sha256,
            "the frozen encoder changed"
        );
        self.state.ema_updates = ema.as_ref().map_or(0, Ema::updates);
        let save_models = |folder: &Path| -> Result<()> {
            synthfm_sam::save(&learner.sam, Precision::F32, &folder.join(MODEL))?;
            if ema.is_some() {
                let averaged = trainee.averaged();
                synthfm_sam::save(&averaged.sam, Precision::F32, &folder.join(EMA))?;
            }
            Ok(())
        };
        let keep = Keep {
            newest: self.config.keep_checkpoints,
            every: self.config.keep_every,
        };
        let path = checkpoint::save(self.out, &self.state, optimizer, keep, save_models)?;
        self.saved = self.state.step;
        curves::write(self.out, &self.title())?;
        Ok(path)
    }

    pub(crate) fn finish(mut self, trainee: &TrainState) -> Result<Outcome> {
        let finished = self.state.step >= self.config.steps();
        let writes = self.tensorboard.is_some();
        let mut checkpoint = checkpoint::folder(self.out, self.state.step);
        if writes && self.saved < self.state.step {
            checkpoint = self.save(trainee)?;
        }
        let mut model = checkpoint.join(if trainee.ema.is_some() { EMA } else { MODEL });
        if finished {
            model = self.out.join(MODEL);
            if writes {
                synthfm_sam::save(&trainee.averaged().sam, Precision::F32, &model)?;
            }
        }
        Ok(Outcome {
            step: self.state.step,
            finished,
            model,
        })
    }
}

/// Advice on what to change in a run that diverged, most likely to help first.
fn advice(config: &TrainConfig) -> String {
    let mut tries = vec![format!(
        "a lower learning rate (schedule.peak = {:e})",
        config.schedule.peak / 3.0
    )];
    if config.optimizer.clip_norm == 0.0 {
        tries.push("clipped gradients (optimizer.clip_norm = 1.0)".to_owned());
    }
    if config.schedule.warmup_steps < 100 {
        tries.push("a longer warm-up (schedule.warmup_steps = 500)".to_owned());
    }
    tries.join(", ")
}

/// A resumed run must have the configuration that it started with.
fn same_config(path: &Path, config: &TrainConfig) -> Result<()> {
    let started = TrainConfig::load(path)?;
    if &started == config {
        return Ok(());
    }
    let (before, now) = (started.to_toml(), config.to_toml());
    let differs = before.lines().zip(now.lines()).find(|(a, b)| a != b);
    let (a, b) = differs.unwrap_or(("(fewer fields)", "(more fields)"));
    Err(Error::Parameter(format!(
        "the run was started with another configuration ({}): it had `{a}`, this one has `{b}`",
        path.display()
    )))
}

/// Drops log lines beyond `step`: the steps that a killed run did after its last checkpoint.
fn truncate_log(path: &Path, step: u64) -> Result<()> {
    let Ok(text) = fs::read_to_string(path) else {
        return Ok(());
    };
    let step_of = |line: &str| {
        serde_json::from_str::<serde_json::Value>(line)
            .ok()?
            .get("step")?
            .as_u64()
    };
    let kept: Vec<&str> = text
        .lines()
        .filter(|line| step_of(line).is_some_and(|s| s <= step))
        .collect();
    let text: String = kept.iter().flat_map(|line| [line, "\n"]).collect();
    write_atomic(path, text.as_bytes())
}
