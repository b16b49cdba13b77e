//! The training loop: learning rate, batch, forward, backward, check, step, log, save.
//!
//! A run is determined by its configuration: the batch of step i depends on the seed and i alone, sums
//! run in a fixed order, and a checkpoint holds everything that the next step needs. A resumed run is
//! therefore the uninterrupted one, bit for bit, on the CPU.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use burn::tensor::Device;
use serde::Serialize;
use synthfm_sam::{ModelFile, Precision, Sam, SamConfig};

use crate::checkpoint::{self, BEST, Best, MODEL, State, write_atomic};
use crate::config::{Mode, TrainConfig};
use crate::curves;
use crate::data::{BatchMaker, Loader};
use crate::init::initialise;
use crate::learner::Learner;
use crate::optimizer::AdamW;
use crate::validation::{Validation, validate};
use crate::{Error, Result};

const METRICS: &str = "metrics.jsonl";
const VALIDATION: &str = "validation.jsonl";
/// Steps in a row without finite gradients after which a run gives up.
const MAX_SKIPPED_IN_A_ROW: u64 = 20;

/// Where and how to run; nothing here changes the result.
#[derive(Debug)]
pub struct RunOptions<'a> {
    /// Run folder; created if absent.
    pub out: &'a Path,
    /// Where the tensors live.
    pub device: Device,
    /// Continue from the newest checkpoint in `out`.
    pub resume: bool,
    /// Threads that prepare batches.
    pub workers: usize,
    /// Set from outside to stop after the current step, with a checkpoint.
    pub stop: &'a AtomicBool,
}

/// One line of `metrics.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StepReport {
    /// Steps done.
    pub step: u64,
    /// Steps of the whole run.
    pub steps: u64,
    /// Mean loss since the last line.
    pub loss: f32,
    /// Mean Dice of the training objects since the last line, 0 to 1.
    pub dice: f32,
    /// Learning rate.
    pub lr: f64,
    /// Global norm of the last gradients before clipping.
    pub grad_norm: f64,
    /// Structures since the last line.
    pub objects: usize,
    /// Seconds per step since the last line.
    pub seconds_per_step: f64,
    /// Part of that time spent waiting for a batch, 0 to 1.
    pub waiting: f64,
}

/// What a run tells while it goes on.
#[derive(Debug)]
pub enum Event<'a> {
    /// A line of `metrics.jsonl`.
    Steps(&'a StepReport),
    /// A line of `validation.jsonl`.
    Validated(&'a Validation),
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// Steps done.
    pub step: u64,
    /// Whether that is all of them; otherwise the run was stopped and can be resumed.
    pub finished: bool,
    /// The model: a checkpoint's, or the run's own once finished.
    pub model: PathBuf,
}

/// Sums since the last log line.
#[derive(Default)]
struct Window {
    loss: f32,
    dice: f32,
    batches: u32,
    objects: usize,
    steps: u32,
    waiting: f64,
}

/// Trains until the last step or until stopped. `on_event` sees every line of the logs as it is written.
pub fn train(
    config: &TrainConfig,
    options: &RunOptions,
    on_event: &mut dyn FnMut(&Event),
) -> Result<Outcome> {
    config.validate()?;
    let model = resolve_model(config)?;
    let (mut run, mut learner, mut optimizer) = Run::open(config, &model, options)?;
    let steps = config.steps();
    let maker = BatchMaker::new(config.clone(), model);
    let mut loader = Loader::start(&maker, run.state.step, steps, options.workers);
    let (mut window, mut since, mut skipped_in_a_row) = (Window::default(), Instant::now(), 0);

    while run.state.step < steps && !options.stop.load(Ordering::Relaxed) {
        let (started, lr) = (Instant::now(), config.schedule.at(run.state.step, steps));
        let batch = loader.next_batch().ok_or(Error::Worker)?;
        window.waiting += started.elapsed().as_secs_f64();
        let mut grad_norm = 0.0;
        if let Some(output) = learner.forward(&batch) {
            let gradients = learner.gradients(&output);
            grad_norm = gradients.global_norm();
            if grad_norm.is_finite() {
                learner.sam = optimizer.step(learner.sam, gradients, grad_norm, lr);
                window.add(
                    output.loss.into_scalar(),
                    output.dice,
                    batch.image_of_object.len(),
                );
                skipped_in_a_row = 0;
            } else {
                run.state.skipped += 1;
                skipped_in_a_row += 1;
            }
        }
        if skipped_in_a_row >= MAX_SKIPPED_IN_A_ROW {
            return Err(Error::Diverged {
                step: run.state.step,
                skipped: run.state.skipped,
            });
        }
        run.state.step += 1;
        run.state.seconds += started.elapsed().as_secs_f64();
        window.steps += 1;
        if run.state.step % config.log_every == 0 || run.state.step == steps {
            let report = window.report(run.state.step, steps, lr, grad_norm, since);
            run.log(METRICS, &report)?;
            on_event(&Event::Steps(&report));
            (window, since) = (Window::default(), Instant::now());
        }
        if run.validation_is_due() {
            let started = Instant::now();
            let validation = run.validate(&learner, &maker)?;
            on_event(&Event::Validated(&validation));
            since += started.elapsed();
        }
        if run.state.step % config.checkpoint_every == 0 {
            run.save(&learner, &optimizer)?;
        }
    }
    run.finish(&learner, &optimizer)
}

impl Window {
    fn add(&mut self, loss: f32, dice: f32, objects: usize) {
        self.loss += loss;
        self.dice += dice;
        self.batches += 1;
        self.objects += objects;
    }

    fn report(&self, step: u64, steps: u64, lr: f64, grad_norm: f64, since: Instant) -> StepReport {
        let (seconds, batches) = (since.elapsed().as_secs_f64(), self.batches.max(1) as f32);
        StepReport {
            step,
            steps,
            loss: self.loss / batches,
            dice: self.dice / batches,
            lr,
            grad_norm,
            objects: self.objects,
            seconds_per_step: seconds / f64::from(self.steps.max(1)),
            waiting: if seconds > 0.0 {
                self.waiting / seconds
            } else {
                0.0
            },
        }
    }
}

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

/// The run folder and where the run stands.
struct Run<'a> {
    config: &'a TrainConfig,
    out: &'a Path,
    state: State,
    saved: u64,
}

impl<'a> Run<'a> {
    /// A fresh run in an empty folder, or the newest checkpoint of an interrupted one.
    fn open(
        config: &'a TrainConfig,
        model: &SamConfig,
        options: &RunOptions<'a>,
    ) -> Result<(Self, Learner, AdamW)> {
        let out = options.out;
        fs::create_dir_all(out).map_err(|source| Error::Io {
            path: out.to_owned(),
            source,
        })?;
        let newest = checkpoint::newest(out)?;
        let fresh = State {
            step: 0,
            skipped: 0,
            seconds: 0.0,
            frozen_sha256: String::new(),
            best: None,
        };
        let (mut state, sam, optimizer) = match newest {
            Some(path) if options.resume => {
                same_config(&out.join("config.toml"), config)?;
                let (state, optimizer) = checkpoint::load(&path, config.optimizer)?;
                (
                    state,
                    ModelFile::open(&path.join(MODEL))?.load(&options.device)?,
                    optimizer,
                )
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
                (
                    fresh,
                    initial_model(config, model, &options.device)?,
                    AdamW::new(config.optimizer),
                )
            }
        };
        let learner = Learner::new(
            sam,
            model.clone(),
            config.mode,
            config.loss,
            &options.device,
        );
        state.frozen_sha256 = learner.frozen_sha256();
        truncate_log(&out.join(METRICS), state.step)?;
        truncate_log(&out.join(VALIDATION), state.step)?;
        let saved = state.step;
        Ok((
            Self {
                config,
                out,
                state,
                saved,
            },
            learner,
            optimizer,
        ))
    }

    fn validation_is_due(&self) -> bool {
        let (step, every) = (self.state.step, self.config.validation.every);
        every > 0 && (step.is_multiple_of(every) || step == self.config.steps())
    }

    /// Scores the model on held-back samples, draws some of them, and keeps the model if it is the best so far.
    fn validate(&mut self, learner: &Learner, maker: &BatchMaker) -> Result<Validation> {
        let (step, images) = (self.state.step, self.config.validation.images);
        let (validation, picture) = validate(learner, maker, step, images)?;
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
    fn save(&mut self, learner: &Learner, optimizer: &AdamW) -> Result<PathBuf> {
        assert_eq!(
            learner.frozen_sha256(),
            self.state.frozen_sha256,
            "the frozen encoder changed"
        );
        let path = checkpoint::save(
            self.out,
            &self.state,
            optimizer,
            self.config.keep_checkpoints,
            |path| Ok(synthfm_sam::save(&learner.sam, Precision::F32, path)?),
        )?;
        self.saved = self.state.step;
        curves::write(self.out, &self.title())?;
        Ok(path.join(MODEL))
    }

    fn finish(mut self, learner: &Learner, optimizer: &AdamW) -> Result<Outcome> {
        let finished = self.state.step >= self.config.steps();
        let mut model = self
            .out
            .join("checkpoints")
            .join(format!("step-{:08}", self.state.step))
            .join(MODEL);
        if self.saved < self.state.step {
            model = self.save(learner, optimizer)?;
        }
        if finished {
            model = self.out.join(MODEL);
            synthfm_sam::save(&learner.sam, Precision::F32, &model)?;
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
