//! Members of the noise library.

use serde::{Deserialize, Serialize};

use super::Vec2;
use crate::Result;
use crate::check::{numbers, within};

/// One member of the noise library; see the crate's `noise` module for the laws.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum NoiseParams {
    /// Additive normal noise.
    Gaussian {
        /// Sub-seed.
        seed: u32,
        /// Standard deviation.
        sigma: f32,
        /// Correlation length, vertically and horizontally (0: white).
        grain: Vec2,
    },
    /// Counting noise.
    Poisson {
        /// Sub-seed.
        seed: u32,
        /// Counts at intensity 1; infinite counts (no noise) are written as 0.
        counts: f32,
    },
    /// Additive fractal noise.
    Perlin {
        /// Sub-seed.
        seed: u32,
        /// Standard deviation.
        sigma: f32,
        /// Coarsest scale.
        scale: f32,
        /// Number of octaves.
        octaves: u8,
        /// Amplitude of each octave relative to the one before.
        persistence: f32,
    },
    /// Multiplicative noise.
    Speckle {
        /// Sub-seed.
        seed: u32,
        /// Standard deviation of the factor.
        sigma: f32,
        /// Correlation length, vertically and horizontally (0: white).
        grain: Vec2,
        /// Law of the factor.
        law: SpeckleLaw,
    },
    /// Noise of a magnitude image.
    Rician {
        /// Sub-seed.
        seed: u32,
        /// Standard deviation of each channel.
        sigma: f32,
        /// Correlation length, vertically and horizontally (0: white).
        grain: Vec2,
    },
}

impl NoiseParams {
    /// Its sub-seed.
    pub(crate) const fn seed_mut(&mut self) -> &mut u32 {
        match self {
            Self::Gaussian { seed, .. }
            | Self::Poisson { seed, .. }
            | Self::Perlin { seed, .. }
            | Self::Speckle { seed, .. }
            | Self::Rician { seed, .. } => seed,
        }
    }

    pub(crate) fn validate(&self) -> Result<()> {
        match *self {
            NoiseParams::Gaussian { sigma, grain, .. }
            | NoiseParams::Speckle { sigma, grain, .. }
            | NoiseParams::Rician { sigma, grain, .. } => {
                numbers("noise.sigma", &[sigma, grain[0], grain[1]])
            }
            NoiseParams::Poisson { counts, .. } => {
                within("noise.counts", &[counts], 1e6, "at most a million")
            }
            NoiseParams::Perlin {
                sigma,
                scale,
                persistence,
                ..
            } => numbers("noise.sigma", &[sigma, scale, persistence]),
        }
    }
}

/// Law of a speckle factor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SpeckleLaw {
    /// Normal.
    Normal,
    /// Rayleigh, as in fully developed speckle (at sigma 0.5227).
    Rayleigh,
}
