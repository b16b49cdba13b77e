//! A run's folder: where it starts or goes on, its logs, checkpoints, validations and models.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use serde::Serialize;
use synthfm_sam::{ModelFile, Precision, Sam, SamConfig};

use crate::checkpoint::{self, BEST, Best, EMA, MODEL, State, write_atomic};
use crate::config::{Mode, TrainConfig};
use crate::curves;
use crate::data::BatchMaker;
use crate::ema::Ema;
use crate::init::initialise;
use crate::learner::Learner;
use crate::optimizer::AdamW;
use crate::train::{Outcome, RunOptions};
use crate::trainee::Trainee;
use crate::validation::{Validation, validate};
use crate::{Error, Result};

pub(crate) const METRICS: &str = "metrics.jsonl";
const VALIDATION: &str = "validation.jsonl";

/// The sizes of the model: those of the weights it starts from, or the configuration's.
pub fn resolve_model(config: &TrainConfig) -> Result<SamConfig> {
    let Some(path) = &config.encoder else {
        return Ok(config.model.resolve());
    };
    let found = ModelFile::open(path)?.config().clone();
    let wanted = config.model.resolve();
    if found.encoder != wanted.encoder || found.image_size != wanted.image_size {
        return Err(Error::Parameter(format!(
            "encoder: {} holds {:?} at {} px, but the configuration asks for {:?} at {} px",
            path.display(),
            found.encoder,
            found.image_size,
            wanted.encoder,
            wanted.image_size
        )));
    }
    Ok(wanted)
}

/// The model at step 0: drawn from the seed, then weights loaded over it where the configuration names some.
fn initial_model(config: &TrainConfig, model: &SamConfig, device: &Device) -> Result<Sam> {
    if config.mode == Mode::Decoder && config.encoder.is_none() && config.init.is_none() {
        let problem = "encoder: mode \"decoder\" trains on a frozen image encoder; name its checkpoint \
                       (--encoder sam_vit_h.pth), or use mode \"all\" to train one from scratch";
        return Err(Error::Parameter(problem.to_owned()));
    }
    let mut sam = match &config.init {
        Some(path) => ModelFile::open(path)?
            .at_image_size(model.image_size)?
            .load(device)?,
        None => initialise(Sam::new(model, device), config.seed),
    };
    if let Some(path) = &config.encoder {
        sam.image_encoder = ModelFile::open(path)?.load(device)?.image_encoder;
    }
    Ok(sam)
}

fn learner(sam: Sam, config: &TrainConfig, model: &SamConfig, device: &Device) -> Learner {
    Learner::new(sam, model.clone(), config.mode, config.loss, device)
}

/// A checkpoint's state and all that its next step needs.
fn resumed(
    checkpoint: &Path,
    config: &TrainConfig,
    model: &SamConfig,
    device: &Device,
) -> Result<(State, Trainee)> {
    let (state, optimizer) = checkpoint::load(checkpoint, config.optimizer)?;
    let load = |name: &str| -> Result<Learner> {
        let sam = ModelFile::open(&checkpoint.join(name))?.load(device)?;
        Ok(learner(sam, config, model, device))
    };
    let decay = config.ema.decay;
    let ema = if decay > 0.0 {
        Some(Ema::of(&load(EMA)?.sam, decay, state.ema_updates))
    } else {
        None
    };
    let trainee = Trainee {
        learner: load(MODEL)?,
        optimizer,
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
}

impl<'a> Run<'a> {
    /// A fresh run in an empty folder, or the newest checkpoint of an interrupted one.
    pub(crate) fn open(
        config: &'a TrainConfig,
        model: &SamConfig,
        options: &RunOptions<'a>,
    ) -> Result<(Self, Trainee)> {
        let out = options.out;
        fs::create_dir_all(out).map_err(|source| Error::Io {
            path: out.to_owned(),
            source,
        })?;
        let (mut state, trainee) = match checkpoint::newest(out)? {
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
                write_atomic(&out.join("config.toml"), config.to_toml().as_bytes())?;
                let sam = initial_model(config, model, &options.device)?;
                let learner = learner(sam, config, model, &options.device);
                let decay = config.ema.decay;
                let ema = (decay > 0.0).then(|| Ema::of(&learner.sam, decay, 0));
                let optimizer = AdamW::new(config.optimizer);
                let trainee = Trainee {
                    learner,
                    optimizer,
                    ema,
                };
                (State::default(), trainee)
            }
        };
        state.frozen_sha256 = trainee.learner.frozen_sha256();
        truncate_log(&out.join(METRICS), state.step)?;
        truncate_log(&out.join(VALIDATION), state.step)?;
        let saved = state.step;
        let run = Self {
            config,
            out,
            state,
            saved,
        };
        Ok((run, trainee))
    }

    pub(crate) fn validation_is_due(&self) -> bool {
        let (step, every) = (self.state.step, self.config.validation.every);
        every > 0 && (step.is_multiple_of(every) || step == self.config.steps())
    }

    /// Scores the model on held-back samples, draws some of them, and keeps the model if it is the best so far.
    pub(crate) fn validate(&mut self, trainee: &Trainee, maker: &BatchMaker) -> Result<Validation> {
        let (step, images) = (self.state.step, self.config.validation.images);
        let learner = trainee.averaged();
        let (validation, picture) = validate(&learner, maker, step, images)?;
        self.log(VALIDATION, &validation)?;
        let folder = self.out.join("pictures");
        fs::create_dir_all(&folder).map_err(|source| Error::Io {
            path: folder.clone(),
            source,
        })?;
        synthfm_image::write_rgb_png(&folder.join(format!("step-{step:08}.png")), &picture)?;
        if self
            .state
            .best
            .is_none_or(|best| validation.dice > best.dice)
        {
            let dice = validation.dice;
            synthfm_sam::save(&learner.sam, Precision::F32, &self.out.join(BEST))?;
            self.state.best = Some(Best { step, dice });
        }
        curves::write(self.out, &self.title())?;
        Ok(validation)
    }

    /// What stands above the curves.
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
    pub(crate) fn log(&self, name: &str, line: &impl Serialize) -> Result<()> {
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
    pub(crate) fn save(&mut self, trainee: &Trainee) -> Result<PathBuf> {
        let Trainee {
            learner,
            optimizer,
            ema,
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
        let keep = self.config.keep_checkpoints;
        let path = checkpoint::save(self.out, &self.state, optimizer, keep, save_models)?;
        self.saved = self.state.step;
        curves::write(self.out, &self.title())?;
        Ok(path)
    }

    pub(crate) fn finish(mut self, trainee: &Trainee) -> Result<Outcome> {
        let finished = self.state.step >= self.config.steps();
        let mut checkpoint = checkpoint::folder(self.out, self.state.step);
        if self.saved < self.state.step {
            checkpoint = self.save(trainee)?;
        }
        let mut model = checkpoint.join(if trainee.ema.is_some() { EMA } else { MODEL });
        if finished {
            model = self.out.join(MODEL);
            synthfm_sam::save(&trainee.averaged().sam, Precision::F32, &model)?;
        }
        Ok(Outcome {
            step: self.state.step,
            finished,
            model,
        })
    }
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
