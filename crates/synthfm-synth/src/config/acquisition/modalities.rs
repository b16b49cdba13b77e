//! Computed tomography, magnetic resonance, microscopy and X-rays.

use serde::{Deserialize, Serialize};

use super::{GAIN, SHARE};
use crate::Result;
use crate::check::probability;
use crate::config::EffectRange;

/// Computed tomography.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CtConfig {
    /// Beam hardening: cupping and dark bands; strength: relative error of the longest path.
    pub hardening: EffectRange,
    /// Photon starvation: streaks; strength: relative noise of the longest path.
    pub starvation: EffectRange,
    /// Rings; strength: their intensity.
    pub rings: EffectRange,
    /// Sharp reconstruction kernel; strength: gain of fine detail.
    pub kernel: EffectRange,
}

impl Default for CtConfig {
    fn default() -> Self {
        Self {
            hardening: EffectRange::new(0.25, 0.05, 0.6),
            starvation: EffectRange::new(0.25, 0.01, 0.15),
            rings: EffectRange::new(0.05, 0.01, 0.08),
            kernel: EffectRange::new(0.4, 0.2, 1.5),
        }
    }
}

impl CtConfig {
    pub(super) fn validate(&self) -> Result<()> {
        self.hardening
            .validate("acquisition.ct.hardening", 10.0, GAIN)?;
        self.starvation
            .validate("acquisition.ct.starvation", 10.0, GAIN)?;
        self.rings.validate("acquisition.ct.rings", 1.0, SHARE)?;
        self.kernel.validate("acquisition.ct.kernel", 10.0, GAIN)
    }
}

/// Magnetic resonance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MrConfig {
    /// Shading of surface coils; strength: share that remains uncorrected.
    pub coil: EffectRange,
    /// Truncated k-space; strength: share of the frequencies that is lost.
    pub truncation: EffectRange,
    /// Ghosts of motion; strength: weight of the first copy.
    pub ghosts: EffectRange,
    /// Chemical shift; strength: displacement of fat.
    pub chemical_shift: EffectRange,
    /// Thick voxels; strength: length of their longer side.
    pub voxels: EffectRange,
}

impl Default for MrConfig {
    fn default() -> Self {
        Self {
            coil: EffectRange::new(0.5, 0.2, 1.0),
            truncation: EffectRange::new(0.35, 0.2, 0.75),
            ghosts: EffectRange::new(0.2, 0.02, 0.2),
            chemical_shift: EffectRange::new(0.1, 0.002, 0.012),
            voxels: EffectRange::new(0.35, 0.004, 0.06),
        }
    }
}

impl MrConfig {
    pub(super) fn validate(&self) -> Result<()> {
        self.coil.validate("acquisition.mr.coil", 1.0, SHARE)?;
        let expected = "a strength of two ascending numbers from 0.00001 to 0.9";
        self.truncation
            .validate("acquisition.mr.truncation", 0.9, expected)?;
        self.ghosts.validate("acquisition.mr.ghosts", 1.0, SHARE)?;
        let lengths = "a strength of two ascending numbers from 0.00001 to 0.1";
        self.chemical_shift
            .validate("acquisition.mr.chemical_shift", 0.1, lengths)?;
        self.voxels.validate("acquisition.mr.voxels", 0.1, lengths)
    }
}

/// Microscopy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MicroscopyConfig {
    /// Halo and shade-off of phase contrast; strength: gain of detail finer than a cell.
    pub halo: EffectRange,
    /// Relief of differential interference contrast; strength: that of the derivative.
    pub relief: EffectRange,
    /// Parts out of focus; strength: standard deviation of their blur.
    pub defocus: EffectRange,
    /// Vignetting; strength: squared tangent at distance 1.
    pub vignette: EffectRange,
}

impl Default for MicroscopyConfig {
    fn default() -> Self {
        Self {
            halo: EffectRange::new(0.3, 0.2, 1.2),
            relief: EffectRange::new(0.2, 0.3, 1.2),
            defocus: EffectRange::new(0.2, 0.004, 0.03),
            vignette: EffectRange::new(0.35, 0.05, 0.8),
        }
    }
}

impl MicroscopyConfig {
    pub(super) fn validate(&self) -> Result<()> {
        self.halo
            .validate("acquisition.microscopy.halo", 10.0, GAIN)?;
        self.relief
            .validate("acquisition.microscopy.relief", 10.0, GAIN)?;
        let lengths = "a strength of two ascending numbers from 0.00001 to 0.1";
        self.defocus
            .validate("acquisition.microscopy.defocus", 0.1, lengths)?;
        self.vignette
            .validate("acquisition.microscopy.vignette", 10.0, GAIN)
    }
}

/// X-ray projections.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct XrayConfig {
    /// Scatter; strength: its share of the signal.
    pub scatter: EffectRange,
    /// Fall-off towards the border; strength: squared tangent at distance 1.
    pub vignette: EffectRange,
    /// Probability of a collimator's edges in the image.
    pub collimator: f32,
}

impl Default for XrayConfig {
    fn default() -> Self {
        Self {
            scatter: EffectRange::new(0.5, 0.1, 0.6),
            vignette: EffectRange::new(0.3, 0.05, 0.5),
            collimator: 0.25,
        }
    }
}

impl XrayConfig {
    pub(super) fn validate(&self) -> Result<()> {
        self.scatter
            .validate("acquisition.xray.scatter", 1.0, SHARE)?;
        self.vignette
            .validate("acquisition.xray.vignette", 10.0, GAIN)?;
        probability("acquisition.xray.collimator", self.collimator)
    }
}
