//! The effects of scanners by modality: how often, and how strongly.
//!
//! The effects of a modality act on images with its look; images with a free look get each of them
//! with its probability times `foreign`. Numbers without a source are ours, chosen beside public
//! images. Formulas: the files of the crate's `acquisition` module.

mod modalities;
mod ultrasound;

pub use modalities::{CtConfig, MicroscopyConfig, MrConfig, XrayConfig};
pub use ultrasound::UltrasoundConfig;

use serde::{Deserialize, Serialize};

use super::EffectRange;
use crate::Result;
use crate::check::probability;

/// Expectation of a strength that is a share.
const SHARE: &str = "a strength of two ascending numbers from 0.00001 to 1";

/// Expectation of a strength that may exceed 1.
const GAIN: &str = "a strength of two ascending numbers from 0.00001 to 10";

/// The acquisition.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AcquisitionConfig {
    /// Factor on the probabilities of a modality's effects in images without its look.
    pub foreign: f32,
    /// Coarse sampling of any image, as of an enlarged part; strength: distance of the samples.
    pub resolution: EffectRange,
    /// Beams.
    pub ultrasound: UltrasoundConfig,
    /// Projections.
    pub ct: CtConfig,
    /// k-space and coils.
    pub mr: MrConfig,
    /// Light.
    pub microscopy: MicroscopyConfig,
    /// Transmission.
    pub xray: XrayConfig,
    /// Texts and scales that are burnt into the image.
    pub overlay: OverlayConfig,
}

impl Default for AcquisitionConfig {
    fn default() -> Self {
        Self {
            foreign: 0.15,
            resolution: EffectRange::new(0.25, 0.003, 0.05),
            ultrasound: UltrasoundConfig::default(),
            ct: CtConfig::default(),
            mr: MrConfig::default(),
            microscopy: MicroscopyConfig::default(),
            xray: XrayConfig::default(),
            overlay: OverlayConfig::default(),
        }
    }
}

impl AcquisitionConfig {
    /// An acquisition without any of its effects.
    pub(super) fn off() -> Self {
        let Self {
            foreign,
            resolution,
            ultrasound,
            ct,
            mr,
            microscopy,
            xray,
            overlay: _,
        } = Self::default();
        Self {
            foreign,
            resolution: resolution.off(),
            ultrasound: UltrasoundConfig {
                beams: 0.0,
                ..ultrasound
            },
            ct: CtConfig {
                hardening: ct.hardening.off(),
                starvation: ct.starvation.off(),
                rings: ct.rings.off(),
                kernel: ct.kernel.off(),
            },
            mr: MrConfig {
                coil: mr.coil.off(),
                truncation: mr.truncation.off(),
                ghosts: mr.ghosts.off(),
                chemical_shift: mr.chemical_shift.off(),
                voxels: mr.voxels.off(),
            },
            microscopy: MicroscopyConfig {
                halo: microscopy.halo.off(),
                relief: microscopy.relief.off(),
                defocus: microscopy.defocus.off(),
                vignette: microscopy.vignette.off(),
            },
            xray: XrayConfig {
                scatter: xray.scatter.off(),
                vignette: xray.vignette.off(),
                collimator: 0.0,
            },
            overlay: OverlayConfig {
                text: 0.0,
                ticks: 0.0,
                calipers: 0.0,
                crosshair: 0.0,
            },
        }
    }

    pub(super) fn validate(&self) -> Result<()> {
        probability("acquisition.foreign", self.foreign)?;
        let lengths = "a strength of two ascending numbers from 0.00001 to 0.1";
        self.resolution
            .validate("acquisition.resolution", 0.1, lengths)?;
        self.ultrasound.validate()?;
        self.ct.validate()?;
        self.mr.validate()?;
        self.microscopy.validate()?;
        self.xray.validate()?;
        self.overlay.validate()
    }
}

/// Texts and scales that are burnt into the image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OverlayConfig {
    /// Probability of text.
    pub text: f32,
    /// Probability of a scale with ticks along a border.
    pub ticks: f32,
    /// Probability of calipers on or near a structure.
    pub calipers: f32,
    /// Probability of a dashed crosshair.
    pub crosshair: f32,
}

impl Default for OverlayConfig {
    fn default() -> Self {
        Self {
            text: 0.15,
            ticks: 0.06,
            calipers: 0.05,
            crosshair: 0.03,
        }
    }
}

impl OverlayConfig {
    fn validate(&self) -> Result<()> {
        probability("acquisition.overlay.text", self.text)?;
        probability("acquisition.overlay.ticks", self.ticks)?;
        probability("acquisition.overlay.calipers", self.calipers)?;
        probability("acquisition.overlay.crosshair", self.crosshair)
    }
}
