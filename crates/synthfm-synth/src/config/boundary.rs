//! Ranges for the look of contours: uneven blur, missing parts, gaps to neighbours.

use serde::{Deserialize, Serialize};

use crate::Result;
use crate::check::{probability, range};

/// Ranges of the boundaries; their blur itself is `appearance.softness`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BoundaryConfig {
    /// Probability that the blur changes around a structure.
    pub uneven: f32,
    /// Blur (standard deviation) on the blurred side of such a structure.
    pub uneven_softness: [f32; 2],
    /// Probability that parts of a contour do not show.
    pub fade: f32,
    /// Length of each such part as a share of the contour.
    pub fade_length: [f32; 2],
    /// How far the fading reaches into a structure, as a share of its smaller half axis.
    pub fade_depth: [f32; 2],
    /// Probability that a structure keeps a narrow gap to those painted before it.
    pub clearance: f32,
    /// Width of that gap, drawn log-uniformly.
    pub clearance_width: [f32; 2],
}

impl Default for BoundaryConfig {
    fn default() -> Self {
        Self {
            uneven: 0.15,
            uneven_softness: [0.004, 0.025],
            fade: 0.12,
            fade_length: [0.05, 0.3],
            fade_depth: [0.2, 0.7],
            clearance: 0.2,
            clearance_width: [0.003, 0.012],
        }
    }
}

impl BoundaryConfig {
    pub(super) fn validate(&self) -> Result<()> {
        probability("boundary.uneven", self.uneven)?;
        let softness = self.uneven_softness;
        let expected = "two ascending numbers from 0 to 0.1";
        range("boundary.uneven_softness", softness, [0.0, 0.1], expected)?;
        probability("boundary.fade", self.fade)?;
        let expected = "two ascending numbers from 0 to 0.9";
        range(
            "boundary.fade_length",
            self.fade_length,
            [0.0, 0.9],
            expected,
        )?;
        let expected = "two ascending numbers from 0.01 to 2";
        range(
            "boundary.fade_depth",
            self.fade_depth,
            [0.01, 2.0],
            expected,
        )?;
        probability("boundary.clearance", self.clearance)?;
        let expected = "two ascending numbers from 0.001 to 0.1";
        let width = self.clearance_width;
        range("boundary.clearance_width", width, [0.001, 0.1], expected)
    }
}
