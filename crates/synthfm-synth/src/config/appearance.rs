//! Means, textures, boundaries and optics.

use serde::{Deserialize, Serialize};

use crate::Result;
use crate::check::{probability, range};

/// Ranges of the contrast modulation (formula: see the crate's `render` module).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AppearanceConfig {
    /// Difference of a structure's mean from its surroundings, drawn log-uniformly.
    pub contrast: [f32; 2],
    /// Probability that the difference is drawn from the lowest third of its logarithmic range.
    pub near_equal: f32,
    /// Standard deviation of a structure's texture, in units of full scale.
    pub texture: [f32; 2],
    /// Softness of a structure's own boundary (standard deviation of its blur).
    pub softness: [f32; 2],
    /// Blur of the whole image (standard deviation).
    pub blur: [f32; 2],
    /// Probability of a bias field.
    pub bias: f32,
    /// Standard deviation of the bias field's logarithm.
    pub bias_std: [f32; 2],
    /// Gamma exponents, drawn log-uniformly.
    pub gamma: [f32; 2],
    /// Probability that intensities are stretched to the image's own range first.
    pub stretch: f32,
    /// Probability of a window that clips blacks or whites.
    pub window: f32,
    /// Probability of a rim around a structure that may have one.
    pub rim: f32,
    /// Probability of a limited field of view: ultrasound sector, circle, strip.
    pub field_of_view: f32,
}

impl Default for AppearanceConfig {
    fn default() -> Self {
        Self {
            contrast: [0.03, 0.9],
            near_equal: 0.25,
            texture: [0.004, 0.12],
            softness: [0.0, 0.008],
            blur: [0.0, 0.006],
            bias: 0.5,
            bias_std: [0.03, 0.35],
            gamma: [0.6, 1.7],
            stretch: 0.75,
            window: 0.35,
            rim: 0.25,
            field_of_view: 0.35,
        }
    }
}

impl AppearanceConfig {
    pub(super) fn validate(&self) -> Result<()> {
        let expected = "two ascending numbers from 0.001 to 1";
        range("appearance.contrast", self.contrast, [0.001, 1.0], expected)?;
        probability("appearance.near_equal", self.near_equal)?;
        let expected = "two ascending numbers from 0.0001 to 0.5";
        range("appearance.texture", self.texture, [0.0001, 0.5], expected)?;
        let expected = "two ascending numbers from 0 to 0.1";
        range("appearance.softness", self.softness, [0.0, 0.1], expected)?;
        range("appearance.blur", self.blur, [0.0, 0.1], expected)?;
        probability("appearance.bias", self.bias)?;
        range(
            "appearance.bias_std",
            self.bias_std,
            [0.0, 2.0],
            "two ascending numbers from 0 to 2",
        )?;
        range(
            "appearance.gamma",
            self.gamma,
            [0.1, 10.0],
            "two ascending numbers from 0.1 to 10",
        )?;
        probability("appearance.stretch", self.stretch)?;
        probability("appearance.window", self.window)?;
        probability("appearance.rim", self.rim)?;
        probability("appearance.field_of_view", self.field_of_view)
    }
}
