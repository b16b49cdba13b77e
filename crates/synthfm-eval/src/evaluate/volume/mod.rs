//! Structures of whole volumes: prompts on one slice or a few, then corrections, each on the slice that is worst.
//!
//! Protocol of the CVPR 2025 challenge on interactive segmentation (box, then five clicks at the centre of the error, Dice
//! and surface Dice after each), and of `RadioActive` (arXiv 2411.07885), whose prompts lie on single slices. Differs: the
//! first prompt is a box or clicks as in two dimensions, on the slice of the largest area; a correction lies on the slice
//! with the most wrong pixels.

mod case;
mod floors;
mod protocol;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use synthfm_image::MaskStack;

pub(super) use case::evaluate_volume;
pub use floors::{CopiedMask, TrueBoxes};
pub use protocol::VolumeProtocol;

use super::PromptSet;
use crate::Result;
use crate::clicks::Click;
use crate::dataset::ShownVolume;

/// The prompts on one structure of a volume, and the structure itself.
#[derive(Debug, Clone, Copy)]
pub struct VolumeQuestion<'a> {
    /// Prompts by slice.
    pub prompts: &'a BTreeMap<usize, PromptSet>,
    /// The structure itself, which floors and upper bounds look at, and no model.
    pub truth: &'a MaskStack,
}

/// Something that segments volumes by prompts on some of their slices.
pub trait VolumeSegmenter {
    /// Takes a volume, the one that the following prompts are about.
    ///
    /// # Errors
    /// Where the volume cannot be taken.
    fn set_volume(&mut self, volume: &Arc<ShownVolume>) -> Result<()>;

    /// The structure that prompts mean.
    ///
    /// # Errors
    /// Where the prompts cannot be answered.
    fn segment_volume(&mut self, question: VolumeQuestion) -> Result<MaskStack>;

    /// Whether [`Self::correct_volume`] can be asked.
    fn takes_corrections(&self) -> bool {
        true
    }

    /// The last answer with a click more, on any slice.
    ///
    /// # Errors
    /// Where nothing was answered yet, or the click cannot be.
    fn correct_volume(&mut self, slice: usize, click: Click) -> Result<MaskStack>;
}

/// The fields of a row about a structure of a volume that rows of slices do not have.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct VolumeNote {
    /// Distance between slices.
    pub slice_spacing_mm: f64,
    /// Slices of the truth.
    pub slices: usize,
    /// Slices of the prediction.
    pub predicted_slices: usize,
    /// The slices that had prompts from the start.
    pub prompted: Vec<usize>,
    /// Corrections so far, each with its slice.
    pub corrections: Vec<(usize, Click)>,
    /// The slice with the most wrong pixels.
    pub worst: usize,
}
