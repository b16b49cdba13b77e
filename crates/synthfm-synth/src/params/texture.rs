//! Textures that areas are painted with.

use serde::{Deserialize, Serialize};

use super::Vec2;
use crate::Result;
use crate::check::numbers;

/// Mean and texture of a painted area: `mean + amplitude * texture(x)`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Paint {
    /// Mean intensity; full scale is 0 to 1.
    pub mean: f32,
    /// Standard deviation of the texture.
    pub amplitude: f32,
    /// Position in [`SampleParams::textures`](super::SampleParams::textures); without effect if there is none at that position.
    pub texture: u8,
}

impl Paint {
    pub(crate) fn validate(&self, field: &'static str) -> Result<()> {
        numbers(field, &[self.mean, self.amplitude])
    }
}

/// A texture field of zero mean and unit variance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum TextureParams {
    /// Gaussian noise of a correlation length, vertically and horizontally (0: white).
    Grain {
        /// Sub-seed.
        seed: u32,
        /// Correlation length.
        grain: Vec2,
    },
    /// Octaves of smooth noise, each half as coarse as the one before.
    Fractal {
        /// Sub-seed.
        seed: u32,
        /// Coarsest scale, vertically and horizontally.
        scale: Vec2,
        /// Number of octaves.
        octaves: u8,
        /// Amplitude of each octave relative to the one before.
        persistence: f32,
    },
    /// Like `Fractal`, folded at zero: bright lines where the noise changes sign.
    Ridges {
        /// Sub-seed.
        seed: u32,
        /// Coarsest scale, vertically and horizontally.
        scale: Vec2,
        /// Number of octaves.
        octaves: u8,
        /// Amplitude of each octave relative to the one before.
        persistence: f32,
    },
    /// The modulus of a complex Gaussian field: fully developed speckle.
    Speckle {
        /// Sub-seed.
        seed: u32,
        /// Correlation length, vertically and horizontally.
        grain: Vec2,
    },
    /// Wavy parallel stripes.
    Stripes {
        /// Sub-seed of the waviness.
        seed: u32,
        /// Distance between stripes.
        period: f32,
        /// Direction across the stripes, radians.
        angle: f32,
        /// Waviness in periods.
        waviness: f32,
    },
}

impl TextureParams {
    pub(crate) fn validate(&self) -> Result<()> {
        match *self {
            TextureParams::Grain { grain, .. } | TextureParams::Speckle { grain, .. } => {
                numbers("textures.grain", &grain)
            }
            TextureParams::Fractal {
                scale, persistence, ..
            }
            | TextureParams::Ridges {
                scale, persistence, ..
            } => numbers("textures.scale", &[scale[0], scale[1], persistence]),
            TextureParams::Stripes {
                period,
                angle,
                waviness,
                ..
            } => numbers("textures.period", &[period, angle, waviness]),
        }
    }
}
