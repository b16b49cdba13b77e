//! How modalities are mixed.

use serde::{Deserialize, Serialize};

use crate::Result;
use crate::check::check;

/// Weights of the looks; each kind of scene has weights of its own, which these multiply. Where a kind
/// of scene has none of the wanted looks, these alone decide.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LooksConfig {
    /// No modality.
    pub free: f32,
    /// Computed tomography.
    pub ct: f32,
    /// Magnetic resonance.
    pub mr: f32,
    /// Ultrasound.
    pub ultrasound: f32,
    /// X-ray projections.
    pub xray: f32,
    /// Microscopy.
    pub microscopy: f32,
}

impl Default for LooksConfig {
    fn default() -> Self {
        Self {
            free: 1.0,
            ct: 1.0,
            mr: 1.0,
            ultrasound: 1.0,
            xray: 1.0,
            microscopy: 1.0,
        }
    }
}

impl LooksConfig {
    /// No look at all; a preset sets those that it wants.
    pub(super) fn none() -> Self {
        Self {
            free: 0.0,
            ct: 0.0,
            mr: 0.0,
            ultrasound: 0.0,
            xray: 0.0,
            microscopy: 0.0,
        }
    }

    /// In the order of the fields.
    pub(crate) fn weights(&self) -> [f32; 6] {
        let Self {
            free,
            ct,
            mr,
            ultrasound,
            xray,
            microscopy,
        } = *self;
        [free, ct, mr, ultrasound, xray, microscopy]
    }

    pub(super) fn validate(&self) -> Result<()> {
        let names = [
            "looks.free",
            "looks.ct",
            "looks.mr",
            "looks.ultrasound",
            "looks.xray",
            "looks.microscopy",
        ];
        for (name, weight) in names.into_iter().zip(self.weights()) {
            let ok = (0.0..=1e6).contains(&weight);
            check(ok, name, "a weight from 0 to 1e6", weight.to_string())?;
        }
        check(
            self.weights().iter().sum::<f32>() > 0.0,
            "looks.free",
            "at least one look with a weight above 0",
            "all 0".to_owned(),
        )
    }
}
