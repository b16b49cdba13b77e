//! Planes by their names in requests and files.

use serde::{Deserialize, Serialize};
use synthfm_image::Plane;

/// An anatomical plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum PlaneName {
    Axial,
    Coronal,
    Sagittal,
}

impl PlaneName {
    pub(crate) const ALL: [Self; 3] = [Self::Axial, Self::Coronal, Self::Sagittal];
}

/// Towards higher or lower slice numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Direction {
    Up,
    Down,
}

impl Direction {
    /// The slices from `index` on, which is the first, to the end of `count`.
    pub(crate) fn slices(self, index: usize, count: usize) -> Vec<usize> {
        match self {
            Self::Up => (index..count).collect(),
            Self::Down => (0..=index).rev().collect(),
        }
    }
}

impl From<PlaneName> for Plane {
    fn from(name: PlaneName) -> Self {
        match name {
            PlaneName::Axial => Self::Axial,
            PlaneName::Coronal => Self::Coronal,
            PlaneName::Sagittal => Self::Sagittal,
        }
    }
}

impl std::fmt::Display for PlaneName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        Plane::from(*self).fmt(f)
    }
}
