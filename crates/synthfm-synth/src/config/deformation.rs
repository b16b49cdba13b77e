//! Smooth warps of whole scenes.

use serde::{Deserialize, Serialize};

use crate::Result;
use crate::check::{probability, range};

/// Ranges of the warp by an integrated velocity field, which bends contours and regions alike.
/// `SynthMorph`'s released shapes model draws velocities of up to 3 px on 256 (0.012) at scales of 8 to
/// 32 px (0.03 to 0.13); ours are larger and smoother, for one image instead of a pair.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DeformationConfig {
    /// Probability of a warp.
    pub probability: f32,
    /// Scale of the velocity's noise, drawn log-uniformly.
    pub scale: [f32; 2],
    /// Standard deviation of the velocity as a share of its scale; 0.5 still does not fold.
    pub strength: [f32; 2],
}

impl Default for DeformationConfig {
    fn default() -> Self {
        Self {
            probability: 0.7,
            scale: [0.06, 0.5],
            strength: [0.02, 0.22],
        }
    }
}

impl DeformationConfig {
    pub(super) fn validate(&self) -> Result<()> {
        probability("deformation.probability", self.probability)?;
        let expected = "two ascending numbers from 0.02 to 1";
        range("deformation.scale", self.scale, [0.02, 1.0], expected)?;
        let expected = "two ascending numbers from 0 to 0.5";
        range("deformation.strength", self.strength, [0.0, 0.5], expected)
    }
}
