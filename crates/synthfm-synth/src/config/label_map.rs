//! Label maps and erosion (boundary-aware module).

use serde::{Deserialize, Serialize};

use crate::Result;
use crate::check::{FRACTION, check, count_range, probability, range};

/// Ranges of the label maps; `SynthMorph`'s demo in parentheses, at 256 pixels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LabelMapConfig {
    /// Probability of the demo's 16 labels; otherwise `labels`.
    pub demo_labels: f32,
    /// Number of labels otherwise.
    pub labels: [u32; 2],
    /// Scale of the finer noise image (32 px: 0.125); the coarser one has twice that.
    pub noise_scale: [f32; 2],
    /// Scale of the finest warp (16 px: 0.0625); the others have two and four times that.
    pub warp_scale: [f32; 2],
    /// Standard deviation of each scale of the warp (0 to 16 px: 0 to 0.0625).
    pub warp_std: [f32; 2],
    /// Width over height of the noise's cells, drawn log-uniformly; above 1 regions lie flat.
    pub stretch: [f32; 2],
    /// Probability that every region is eroded.
    pub erode_all: f32,
    /// Probability that only the targets' regions are eroded.
    pub erode_picked: f32,
    /// Radius of the eroding disc.
    pub erosion_radius: [f32; 2],
    /// Probability that all means lie in a narrow band.
    pub near_equal: f32,
    /// Half width of that band.
    pub near_equal_band: [f32; 2],
}

impl Default for LabelMapConfig {
    fn default() -> Self {
        Self {
            demo_labels: 0.35,
            labels: [3, 24],
            noise_scale: [0.07, 0.3],
            warp_scale: [0.05, 0.12],
            warp_std: [0.0, 0.05],
            stretch: [0.6, 3.0],
            erode_all: 0.4,
            erode_picked: 0.3,
            erosion_radius: [0.003, 0.02],
            near_equal: 0.4,
            near_equal_band: [0.03, 0.15],
        }
    }
}

impl LabelMapConfig {
    pub(super) fn validate(&self) -> Result<()> {
        probability("label_map.demo_labels", self.demo_labels)?;
        count_range(
            "label_map.labels",
            self.labels,
            [2, 64],
            "two ascending numbers from 2 to 64",
        )?;
        let scale = [0.02, 1.0];
        let expected = "two ascending numbers from 0.02 to 1";
        range("label_map.noise_scale", self.noise_scale, scale, expected)?;
        range("label_map.warp_scale", self.warp_scale, scale, expected)?;
        range("label_map.warp_std", self.warp_std, [0.0, 0.5], FRACTION)?;
        range(
            "label_map.stretch",
            self.stretch,
            [0.1, 10.0],
            "two ascending numbers from 0.1 to 10",
        )?;
        probability("label_map.erode_all", self.erode_all)?;
        probability("label_map.erode_picked", self.erode_picked)?;
        let sum = self.erode_all + self.erode_picked;
        let expected = "erode_all + erode_picked to be at most 1";
        check(
            sum <= 1.0 + 1e-6,
            "label_map.erode_all",
            expected,
            sum.to_string(),
        )?;
        let expected = "two ascending numbers from 0 to 0.1";
        range(
            "label_map.erosion_radius",
            self.erosion_radius,
            [0.0, 0.1],
            expected,
        )?;
        probability("label_map.near_equal", self.near_equal)?;
        range(
            "label_map.near_equal_band",
            self.near_equal_band,
            [0.0, 0.5],
            FRACTION,
        )
    }
}
