//! Samples: synthetic images with their structures.

use std::cmp::Reverse;

use synthfm_image::{Image, LabelMap, Mask};

use crate::params::TargetKind;

/// One structure to segment.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    /// Identifier of its structure or region in the label map; 0 for a segment of the image, which has none there.
    pub id: u16,
    /// Kind of the target.
    pub kind: TargetKind,
    /// Pixels of the target: one connected component.
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

impl Sample {
    /// Targets numbered from 1 in their order; smaller ones hide larger ones, and 0 is everything else.
    pub fn target_labels(&self) -> LabelMap {
        let mut order: Vec<(u16, &Mask)> =
            (1u16..).zip(self.targets.iter().map(|t| &t.mask)).collect();
        order.sort_by_key(|&(label, mask)| (Reverse(mask.area()), label));
        let mut labels = LabelMap::zeros(self.image.size());
        for (label, mask) in order {
            for (value, &inside) in labels.data_mut().iter_mut().zip(mask.data()) {
                if inside {
                    *value = label;
                }
            }
        }
        labels
    }
}
