//! The smooth warp of a whole scene.

use serde::{Deserialize, Serialize};

use crate::Result;
use crate::check::{check, within};

/// A smooth invertible warp of contours and regions: the flow of a random velocity field.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeformationParams {
    /// Sub-seed of the velocity.
    pub seed: u32,
    /// Distance between the knots of the velocity's noise.
    pub scale: f32,
    /// Standard deviation of the velocity at its knots; displacements are of this size.
    pub std: f32,
}

impl DeformationParams {
    pub(crate) fn validate(&self) -> Result<()> {
        let ok = (0.02..=10.0).contains(&self.scale);
        let expected = "a scale from 0.02 to 10";
        check(ok, "deformation.scale", expected, self.scale.to_string())?;
        within("deformation.std", &[self.std], 0.5, "at most 0.5")
    }
}
