//! What the generator returns.

use synthfm_image::{Image, LabelMap, Mask};

use crate::params::TargetKind;

/// One structure to segment.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    /// Identifier of its structure or region in the label map; 0 for a segment of the image, which has none there.
    pub id: u16,
    /// What it is.
    pub kind: TargetKind,
    /// Its pixels: one connected component.
    pub mask: Mask,
}

/// A synthetic image with its structures.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Intensities from 0 to 1.
    pub image: Image,
    /// The topmost structure at every pixel; 0 where there is none, or outside the field of view.
    pub label_map: LabelMap,
    /// Structures to segment, in the order of their identifiers.
    pub targets: Vec<Target>,
}
