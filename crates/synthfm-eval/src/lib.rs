//! Zero-shot evaluation of promptable segmenters on real images: simulated clicks, data sets, baselines, scores and
//! reports. Nothing here trains or needs gradients.

pub mod baseline;
mod bounded;
pub mod clicks;
pub mod compare;
pub mod dataset;
mod error;
pub mod evaluate;
pub mod report;
mod sam_segmenter;

pub use error::{Error, Result};
pub use sam_segmenter::SamSegmenter;
