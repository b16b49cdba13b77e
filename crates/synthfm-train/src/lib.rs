//! Training a promptable segmenter on synthetic images.

mod checkpoint;
mod config;
mod corrections;
mod curves;
mod data;
mod distillation;
mod ema;
mod error;
mod gradients;
mod init;
mod learner;
mod loss;
mod memory;
mod multimask;
mod optimizer;
mod pace;
mod parallel;
mod parameters;
mod parts;
mod plan;
mod real_validation;
mod reuse;
mod run;
mod schedule;
mod tensorboard;
mod train;
mod train_state;
mod validation;

pub use checkpoint::{Best, State};
pub use config::{
    CorrectionConfig, CountedAnswers, Mode, ModelSpec, PromptConfig, TrainConfig, ViewConfig,
};
pub use corrections::Corrections;
pub use data::{Batch, BatchMaker, Loader, ObjectGroup};
pub use distillation::{DistillationConfig, distillation_loss};
pub use ema::{Ema, EmaConfig};
pub use error::{Error, Result};
pub use gradients::GradientSet;
pub use init::initialise;
pub use learner::{Learner, StepOutput};
pub use loss::{LossConfig, class_balanced_loss, dice_loss, focal_loss, iou_loss, total_loss};
pub use memory::MemoryEstimate;
pub use multimask::multimask_loss;
pub use optimizer::{AdamW, AdamWConfig};
pub use pace::{StepReport, TimeEstimate};
pub use parallel::Processes;
pub use plan::{FinetuneConfig, ParameterGroup, Plan};
pub use real_validation::RealScore;
pub use reuse::ReuseConfig;
pub use run::resolve_model;
pub use schedule::{Decay, ScheduleConfig};
pub use train::{Event, Outcome, RunOptions, Summary, train};
pub use train_state::TrainState;
pub use validation::{OctaveScore, SettingScore, Validation, ValidationConfig};
