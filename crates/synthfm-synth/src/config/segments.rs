//! How often segments of the rendered image are targets, and which.

use serde::{Deserialize, Serialize};

use crate::Result;
use crate::check::{count_range, probability, range};

/// Targets from the picture: segments of the rendered image (Felzenszwalb and Huttenlocher 2004).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SegmentsConfig {
    /// Probability that an image has such targets.
    pub probability: f32,
    /// How many it has at most.
    pub count: [u32; 2],
    /// The paper's `k` for grey values from 0 to 1, drawn log-uniformly: the larger, the larger are segments.
    pub scale: [f32; 2],
    /// Blur before the segmentation (standard deviation in pixels of an image of at most 256 a side).
    pub sigma_px: [f32; 2],
    /// Smallest segment as a share of the image, drawn log-uniformly; never below 32 pixels.
    pub min_area: [f32; 2],
    /// Probability that one or two neighbours are merged with a segment.
    pub merge: f32,
}

impl Default for SegmentsConfig {
    fn default() -> Self {
        Self {
            probability: 0.35,
            count: [1, 4],
            scale: [0.03, 3.0],
            sigma_px: [0.5, 1.5],
            min_area: [0.0002, 0.005],
            merge: 0.3,
        }
    }
}

impl SegmentsConfig {
    /// No segments.
    pub(super) fn none() -> Self {
        Self {
            probability: 0.0,
            ..Self::default()
        }
    }

    pub(super) fn validate(&self) -> Result<()> {
        probability("targets.segments.probability", self.probability)?;
        let expected = "two ascending numbers from 1 to 64";
        count_range("targets.segments.count", self.count, [1, 64], expected)?;
        let expected = "two ascending numbers from 0.001 to 100";
        let field = "targets.segments.scale";
        range(field, self.scale, [0.001, 100.0], expected)?;
        let expected = "two ascending numbers from 0 to 10";
        let field = "targets.segments.sigma_px";
        range(field, self.sigma_px, [0.0, 10.0], expected)?;
        let expected = "two ascending numbers from 0.00001 to 0.5";
        let field = "targets.segments.min_area";
        range(field, self.min_area, [1e-5, 0.5], expected)?;
        probability("targets.segments.merge", self.merge)
    }
}
