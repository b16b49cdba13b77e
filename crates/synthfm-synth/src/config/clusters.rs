//! How often and how far the inside of structures and regions is heterogeneous.

use serde::{Deserialize, Serialize};

use crate::Result;
use crate::check::{count_range, probability, range};

/// Clusters of grey value and texture inside structures and regions. They are not targets: a click on one means the
/// whole structure. Smooth noise says where they lie.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClustersConfig {
    /// Probability that a structure has clusters; all cells of an image have them or none.
    pub structures: f32,
    /// Probability that regions of a label map have clusters, each region then with probability 2/3.
    pub regions: f32,
    /// Number of clusters.
    pub count: [u32; 2],
    /// Difference between a cluster and the rest of the structure as a share of the strength of the structure's own
    /// edge, drawn log-uniformly.
    pub contrast: [f32; 2],
    /// Scale of the noise as a share of the structure's smaller half axis, or of the regions' own scale, drawn
    /// log-uniformly.
    pub scale: [f32; 2],
    /// Width of soft borders between clusters in standard deviations of the noise; half of the borders are sharp.
    pub softness: [f32; 2],
}

impl Default for ClustersConfig {
    fn default() -> Self {
        Self {
            structures: 0.3,
            regions: 0.3,
            count: [2, 5],
            contrast: [0.15, 1.0],
            scale: [0.15, 1.2],
            softness: [0.2, 1.5],
        }
    }
}

impl ClustersConfig {
    /// No clusters.
    pub(super) fn none() -> Self {
        Self {
            structures: 0.0,
            regions: 0.0,
            ..Self::default()
        }
    }

    pub(super) fn validate(&self) -> Result<()> {
        probability("clusters.structures", self.structures)?;
        probability("clusters.regions", self.regions)?;
        let expected = "two ascending numbers from 2 to 8";
        count_range("clusters.count", self.count, [2, 8], expected)?;
        let expected = "two ascending numbers from 0.01 to 4";
        range("clusters.contrast", self.contrast, [0.01, 4.0], expected)?;
        range("clusters.scale", self.scale, [0.01, 4.0], expected)?;
        let expected = "two ascending numbers from 0 to 4";
        range("clusters.softness", self.softness, [0.0, 4.0], expected)
    }
}
