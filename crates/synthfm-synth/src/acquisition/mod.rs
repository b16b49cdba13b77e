//! Acquisition: what a scanner does to the painted image, as a sequence of pure functions.
//!
//! A recipe lists its [`Effect`]s in the order in which they act; the view and the overlay come last
//! and always. Each effect is a file of this folder, with its recipe type, its limits and its source;
//! at zero strength it leaves the image alone. Smooth factors are computed on coarse grids and
//! enlarged, and transcendental functions are tabulated: an effect costs a few passes over the image.

mod ct;
mod mr;
mod optics;
mod overlay;
mod resample;
mod shading;
mod ultrasound;
mod view;

use serde::{Deserialize, Serialize};
use synthfm_image::Size;

pub use ct::{ProjectionParams, RingParams};
pub use mr::{Axis, ChemicalShiftParams, GhostParams, TruncationParams};
pub use optics::{BlurParams, DefocusParams, DetailParams, ReliefParams};
pub use overlay::Mark;
pub use resample::{Interpolation, ResampleParams};
pub use shading::{BiasParams, CoilParams, VignetteParams};
pub use ultrasound::{BeamShadow, Probe, UltrasoundParams};
pub use view::{FieldOfView, ViewParams};

pub(crate) use overlay::draw as draw_overlay;
pub(crate) use view::{stretch, visible, window};

use crate::noise;
use crate::params::NoiseParams;
use crate::{Result, check};

/// One step of the acquisition.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Gaussian point spread.
    Blur(BlurParams),
    /// Parts of the image out of focus.
    Defocus(DefocusParams),
    /// Fine detail amplified or suppressed: reconstruction kernel, halo, scatter.
    Detail(DetailParams),
    /// Directional derivative, as in differential interference contrast.
    Relief(ReliefParams),
    /// A smooth random gain.
    Bias(BiasParams),
    /// Sensitivity of surface coils.
    Coil(CoilParams),
    /// Loss of light away from the optical axis.
    Vignette(VignetteParams),
    /// Imaging along beams: speckle, point spread, shadows, log compression.
    Ultrasound(UltrasoundParams),
    /// Truncated k-space: lost resolution and Gibbs ringing.
    Truncation(TruncationParams),
    /// Shifted faint copies.
    Ghosts(GhostParams),
    /// Fat displaced against water.
    ChemicalShift(ChemicalShiftParams),
    /// Errors of projections: streaks, dark bands, cupping.
    Projection(ProjectionParams),
    /// Rings of miscalibrated detectors.
    Rings(RingParams),
    /// Sampled coarsely and enlarged again.
    Resample(ResampleParams),
    /// A member of the noise library.
    Noise(NoiseParams),
}

impl Effect {
    /// Applies the effect to an image whose shorter side has `unit_px` pixels.
    fn apply(&self, data: &mut [f32], size: Size, unit_px: f32) {
        match self {
            Self::Blur(params) => optics::blur(params, data, size, unit_px),
            Self::Defocus(params) => optics::defocus(params, data, size, unit_px),
            Self::Detail(params) => optics::detail(params, data, size, unit_px),
            Self::Relief(params) => optics::relief(params, data, size, unit_px),
            Self::Bias(params) => shading::bias(params, data, size, unit_px),
            Self::Coil(params) => shading::coil(params, data, size, unit_px),
            Self::Vignette(params) => shading::vignette(params, data, size, unit_px),
            Self::Ultrasound(params) => ultrasound::apply(params, data, size, unit_px),
            Self::Truncation(params) => mr::truncation(params, data, size),
            Self::Ghosts(params) => mr::ghosts(params, data, size),
            Self::ChemicalShift(params) => mr::chemical_shift(params, data, size, unit_px),
            Self::Projection(params) => ct::projection(params, data, size, unit_px),
            Self::Rings(params) => ct::rings(params, data, size, unit_px),
            Self::Resample(params) => resample::apply(params, data, size, unit_px),
            Self::Noise(params) => noise::apply(params, data, size, unit_px),
        }
    }

    /// The effect on slice `slice` of a volume: what is random from scan to scan differs, what belongs to the scanner
    /// stays.
    pub(crate) fn of_slice(&self, slice: usize) -> Self {
        let mut own = self.clone();
        let seed = match &mut own {
            Self::Noise(noise) => noise.seed_mut(),
            Self::Ultrasound(ultrasound) => &mut ultrasound.seed,
            Self::Projection(projection) => &mut projection.seed,
            _ => return own,
        };
        *seed = seed.wrapping_add(0x85eb_ca6b_u32.wrapping_mul(slice as u32 + 1));
        own
    }

    fn validate(&self) -> Result<()> {
        match self {
            Self::Blur(params) => params.validate(),
            Self::Defocus(params) => params.validate(),
            Self::Detail(params) => params.validate(),
            Self::Relief(params) => params.validate(),
            Self::Bias(params) => params.validate(),
            Self::Coil(params) => params.validate(),
            Self::Vignette(params) => params.validate(),
            Self::Ultrasound(params) => params.validate(),
            Self::Truncation(params) => params.validate(),
            Self::Ghosts(params) => params.validate(),
            Self::ChemicalShift(params) => params.validate(),
            Self::Projection(params) => params.validate(),
            Self::Rings(params) => params.validate(),
            Self::Resample(params) => params.validate(),
            Self::Noise(params) => params.validate(),
        }
    }
}

/// Applies all effects in order.
pub(crate) fn apply(effects: &[Effect], data: &mut [f32], size: Size, unit_px: f32) {
    for effect in effects {
        effect.apply(data, size, unit_px);
    }
}

/// Limits on a recipe's effects and marks.
pub(crate) fn validate(effects: &[Effect], marks: &[Mark]) -> Result<()> {
    check::at_most("acquisition", effects.len(), 32, "at most 32 effects")?;
    effects.iter().try_for_each(Effect::validate)?;
    check::at_most("overlay", marks.len(), 256, "at most 256 marks")?;
    marks.iter().try_for_each(Mark::validate)
}

#[cfg(test)]
mod testing {
    use synthfm_image::Size;

    /// Neither square nor even.
    pub(super) const SIZE: Size = Size::new(61, 90);
    pub(super) const UNIT_PX: f32 = 61.0;

    /// An image that every effect changes.
    pub(super) fn pattern() -> Vec<f32> {
        let value = |at: usize| (at % 13) as f32 / 13.0 * ((at / 90) % 7) as f32 / 7.0;
        (0..SIZE.area()).map(value).collect()
    }
}
