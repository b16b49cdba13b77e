//! How often something acts, and how strongly.

use serde::{Deserialize, Serialize};

use crate::Result;
use crate::check::{probability, range};

/// A member of the noise library or an effect of the acquisition: how often, and how strong.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EffectRange {
    /// Probability that it takes part, before the look shifts it.
    pub probability: f32,
    /// Range of the effect's strength, drawn log-uniformly; the unit stands with the field.
    pub strength: [f32; 2],
}

impl EffectRange {
    pub(super) const fn new(probability: f32, low: f32, high: f32) -> Self {
        Self {
            probability,
            strength: [low, high],
        }
    }

    /// The effect, switched off.
    pub(super) fn off(self) -> Self {
        Self {
            probability: 0.0,
            ..self
        }
    }

    /// Strengths are positive and at most `most`.
    pub(super) fn validate(
        &self,
        field: &'static str,
        most: f32,
        expected: &'static str,
    ) -> Result<()> {
        probability(field, self.probability)?;
        range(field, self.strength, [0.000_01, most], expected)
    }
}
