//! Training a promptable segmenter on synthetic images, and its zero-shot evaluation on real ones.

pub mod baseline;
mod checkpoint;
pub mod clicks;
pub mod compare;
mod config;
mod corrections;
mod curves;
mod data;
pub mod dataset;
mod error;
pub mod evaluate;
mod init;
mod learner;
mod loss;
mod optimizer;
pub mod report;
mod sam_segmenter;
mod schedule;
mod train;
mod validation;

pub use checkpoint::{Best, State};
pub use config::{CorrectionConfig, Mode, ModelSpec, PromptConfig, TrainConfig};
pub use corrections::Corrections;
pub use data::{Batch, BatchMaker, Loader, coverage};
pub use error::{Error, Result};
pub use init::initialise;
pub use learner::{Learner, StepOutput};
pub use loss::{LossConfig, balanced_loss, dice_loss, focal_loss, iou_loss, total_loss};
pub use optimizer::{AdamW, AdamWConfig, GradientSet};
pub use sam_segmenter::SamSegmenter;
pub use schedule::{Decay, ScheduleConfig};
pub use train::{Event, Outcome, RunOptions, StepReport, resolve_model, train};
pub use validation::{SettingScore, Validation, ValidationConfig};
