//! Clusters: parts of the inside of a structure or region that differ in grey value and texture.

use serde::{Deserialize, Serialize};

use super::{Paint, Vec2};
use crate::check::{at_most, check, numbers, within};
use crate::{Error, Result};

/// Most clusters of one inside, the first among them.
const MOST: usize = 8;

/// Smallest scale of the noise that borders follow.
const LEAST_SCALE: f32 = 0.002;

/// Where the clusters of an inside lie.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClusterPattern {
    /// Sub-seed of the noise.
    pub seed: u32,
    /// Scale of the noise, vertically and horizontally.
    pub scale: Vec2,
    /// Width of the borders between clusters, in standard deviations of the noise; at least a pixel is blended.
    pub softness: f32,
    /// How clusters follow from noise.
    pub form: ClusterForm,
}

/// How clusters follow from smooth noise of unit variance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ClusterForm {
    /// One noise field per cluster: each pixel belongs to the largest.
    Patches,
    /// One noise field: cluster `k` lies between the `k`-th and the next of these ascending thresholds.
    Bands {
        /// A threshold for each cluster after the first.
        thresholds: Vec<f32>,
    },
    /// Cores within shells: like `Bands`, of the field `1 - distance / radius + roughness * noise`, which is 1 at the
    /// centre and 0 at the radius.
    Core {
        /// Centre.
        centre: Vec2,
        /// Distance from the centre at which the field is 0.
        radius: f32,
        /// Weight of the noise.
        roughness: f32,
        /// A threshold for each cluster after the first, ascending.
        thresholds: Vec<f32>,
    },
}

impl ClusterPattern {
    /// Checks the pattern and the number of paints after the first that it is used with.
    fn validate(&self, field: &'static str, paints: usize) -> Result<()> {
        at_most(field, paints + 1, MOST, "at most 8 clusters")?;
        within(field, &self.scale, 10.0, "scales of at most 10")?;
        if let Some(scale) = self.scale.iter().find(|scale| **scale < LEAST_SCALE) {
            return Err(Error::OutOfRange {
                field,
                expected: "scales of at least 0.002",
                got: scale.to_string(),
            });
        }
        numbers(field, &[self.softness])?;
        let thresholds = match &self.form {
            ClusterForm::Patches => return Ok(()),
            ClusterForm::Bands { thresholds } => thresholds,
            ClusterForm::Core {
                centre,
                radius,
                roughness,
                thresholds,
            } => {
                numbers(field, &[centre[0], centre[1], *radius, *roughness])?;
                let expected = "a radius of at least 0.001";
                check(*radius >= 0.001, field, expected, radius.to_string())?;
                thresholds
            }
        };
        numbers(field, thresholds)?;
        let ok = thresholds.len() == paints && thresholds.is_sorted();
        let expected = "an ascending threshold for each paint";
        check(ok, field, expected, format!("{thresholds:?}"))
    }
}

/// Clusters of a structure.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClusterParams {
    /// Where they lie.
    pub pattern: ClusterPattern,
    /// Paints of the clusters after the first; the first has the structure's own paint.
    pub paints: Vec<Paint>,
}

impl ClusterParams {
    pub(super) fn validate(&self) -> Result<()> {
        let field = "structures.clusters";
        self.paints
            .iter()
            .try_for_each(|paint| paint.validate(field))?;
        self.pattern.validate(field, self.paints.len())
    }
}

/// Clusters of the regions of a label map: one pattern over the image, paints of each region's own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegionClusterParams {
    /// Where they lie.
    pub pattern: ClusterPattern,
    /// Per region what its clusters after the first are painted with; nothing for a region without clusters.
    pub paints: Vec<Vec<Paint>>,
}

impl RegionClusterParams {
    /// Number of clusters after the first.
    pub(crate) fn others(&self) -> usize {
        self.paints.iter().map(Vec::len).max().unwrap_or(0)
    }

    pub(super) fn validate(&self, regions: usize) -> Result<()> {
        let field = "label_map.clusters";
        let expected = "paints for each region, or none, as many for each";
        let others = self.others();
        let alike = |paints: &Vec<Paint>| paints.is_empty() || paints.len() == others;
        let ok = self.paints.len() == regions && self.paints.iter().all(alike);
        check(ok, field, expected, format!("{}", self.paints.len()))?;
        let mut paints = self.paints.iter().flatten();
        paints.try_for_each(|paint| paint.validate(field))?;
        self.pattern.validate(field, others)
    }
}
