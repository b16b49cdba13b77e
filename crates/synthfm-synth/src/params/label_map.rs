//! Regions grown from noise and their erosion.

use serde::{Deserialize, Serialize};

use super::{Paint, RegionClusterParams, Vec2};
use crate::check::{at_most, numbers, within};
use crate::{Error, Result};

/// Regions grown from noise (`SynthMorph`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LabelMapParams {
    /// Sub-seed of the noise images and of the warp.
    pub seed: u32,
    /// Scale of the finer noise image, vertically and horizontally.
    pub noise_scale: Vec2,
    /// Standard deviation of the finer and of the coarser noise image.
    pub noise_std: Vec2,
    /// Scale of the finest warp.
    pub warp_scale: f32,
    /// Standard deviation of each of the warp's three scales, finest first.
    pub warp_std: [f32; 3],
    /// What each region is painted with; their number is the number of labels. Region `k` has the
    /// identifier `k + 1`.
    pub paints: Vec<Paint>,
    /// Erosion, if any.
    pub erosion: Option<ErosionParams>,
    /// Identifier of the structure that the regions lie in; without it they fill the image.
    pub inside: Option<u16>,
    /// Parts of the regions that are painted otherwise, if any; they belong to their regions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clusters: Option<RegionClusterParams>,
}

impl LabelMapParams {
    pub(super) fn validate(&self) -> Result<()> {
        let field = "label_map";
        at_most("label_map.paints", self.paints.len(), 255, "at most 255")?;
        if self.paints.is_empty() {
            return at_most("label_map.paints", 1, 0, "at least one");
        }
        numbers(field, &self.noise_std)?;
        numbers(field, &self.warp_std)?;
        let scales = [self.noise_scale[0], self.noise_scale[1], self.warp_scale];
        numbers(field, &scales)?;
        if let Some(scale) = scales.iter().find(|scale| **scale < 0.005) {
            return Err(Error::OutOfRange {
                field,
                expected: "scales of at least 0.005",
                got: scale.to_string(),
            });
        }
        for paint in &self.paints {
            paint.validate("label_map.paints")?;
        }
        if let Some(clusters) = &self.clusters {
            clusters.validate(self.paints.len())?;
        }
        let erosion = self.erosion.as_ref();
        erosion.map_or(Ok(()), ErosionParams::validate)
    }
}

/// Random erosion of regions; the gap becomes background.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ErosionParams {
    /// Radius of the disc.
    pub radius: f32,
    /// Share of the radius that varies along the borders, 0 to 1.
    pub variation: f32,
    /// Sub-seed of that variation.
    pub seed: u32,
    /// Region indices that are eroded; `None`: all.
    pub regions: Option<Vec<u16>>,
}

impl ErosionParams {
    pub(crate) fn validate(&self) -> Result<()> {
        let field = "label_map.erosion";
        within(field, &[self.radius], 0.1, "a radius of at most 0.1")?;
        within(field, &[self.variation], 1.0, "a variation of at most 1")
    }
}
