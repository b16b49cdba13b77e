//! The noise library: how often and how strong.

use serde::{Deserialize, Serialize};

use super::EffectRange;
use crate::Result;
use crate::check::range;

/// The noise library: several may act on one image, in drawn order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NoiseConfig {
    /// `x + N(0, s^2)`; strength: s.
    pub gaussian: EffectRange,
    /// `P(x L) / L`; strength: 1 / L.
    pub poisson: EffectRange,
    /// `x + s F`, F fractal noise of unit variance; strength: s.
    pub perlin: EffectRange,
    /// `x (1 + s S)`, S of unit variance; strength: s.
    pub speckle: EffectRange,
    /// `sqrt((x + n1)^2 + n2^2)`, n ~ N(0, s^2); strength: s.
    pub rician: EffectRange,
    /// Correlation length of the noise (0: white), drawn uniformly.
    pub grain: [f32; 2],
}

impl Default for NoiseConfig {
    fn default() -> Self {
        Self {
            gaussian: EffectRange::new(0.5, 0.002, 0.07),
            poisson: EffectRange::new(0.3, 0.0002, 0.02),
            perlin: EffectRange::new(0.3, 0.004, 0.06),
            speckle: EffectRange::new(0.3, 0.05, 0.6),
            rician: EffectRange::new(0.3, 0.004, 0.06),
            grain: [0.0, 0.007],
        }
    }
}

impl NoiseConfig {
    pub(super) fn validate(&self) -> Result<()> {
        let members = [
            ("noise.gaussian", self.gaussian),
            ("noise.poisson", self.poisson),
            ("noise.perlin", self.perlin),
            ("noise.speckle", self.speckle),
            ("noise.rician", self.rician),
        ];
        for (field, member) in members {
            let expected = "a strength of two ascending numbers from 0.00001 to 2";
            member.validate(field, 2.0, expected)?;
        }
        range(
            "noise.grain",
            self.grain,
            [0.0, 0.1],
            "two ascending numbers from 0 to 0.1",
        )
    }
}
