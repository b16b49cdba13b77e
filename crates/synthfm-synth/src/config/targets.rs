//! Which structures become targets.

use serde::{Deserialize, Serialize};

use super::SegmentsConfig;
use crate::Result;
use crate::check::{check, probability, range};

/// Which structures become targets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TargetsConfig {
    /// Most targets per sample.
    pub max_count: u32,
    /// Smallest area of a target as a share of the image; never below 12 pixels.
    pub min_area: f32,
    /// Largest area of a target as a share of the image.
    pub max_area: f32,
    /// Probability that a structure that holds others is a target together with them.
    pub whole: f32,
    /// Probability that cells or the walls of fibres are one target where they touch, the largest such clump, instead of
    /// one target each.
    pub clump: f32,
    /// Least visibility of a target's boundary (`synthfm_image::boundary_visibility`); 0 keeps all.
    pub min_visibility: f32,
    /// Targets that are segments of the rendered image.
    pub segments: SegmentsConfig,
}

impl Default for TargetsConfig {
    fn default() -> Self {
        Self {
            max_count: 12,
            min_area: 0.0005,
            max_area: 0.6,
            whole: 0.4,
            clump: 0.3,
            min_visibility: 0.25,
            segments: SegmentsConfig::default(),
        }
    }
}

impl TargetsConfig {
    /// No segments of the rendered image.
    pub(super) fn structures() -> Self {
        Self {
            segments: SegmentsConfig::none(),
            ..Self::default()
        }
    }

    pub(super) fn validate(&self) -> Result<()> {
        let ok = (1..=256).contains(&self.max_count);
        check(
            ok,
            "targets.max_count",
            "1 to 256",
            self.max_count.to_string(),
        )?;
        let areas = [self.min_area, self.max_area];
        let expected = "min_area and max_area ascending, from 0 to 1";
        range("targets.min_area", areas, [0.0, 1.0], expected)?;
        probability("targets.whole", self.whole)?;
        probability("targets.clump", self.clump)?;
        let visibility = self.min_visibility;
        let ok = (0.0..=10.0).contains(&visibility);
        let got = visibility.to_string();
        check(ok, "targets.min_visibility", "0 to 10", got)?;
        self.segments.validate()
    }
}
