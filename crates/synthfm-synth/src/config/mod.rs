//! Configuration of the generator: ranges and probabilities, with the documented recipe as default.
//!
//! The paper (arXiv 2504.08177) names the ingredients but no numbers; SynthMorph's numbers come from
//! its public demo, the others are ours. Lengths are fractions of the image's shorter side, so that
//! one index looks alike in kind at every size.

mod acquisition;
mod appearance;
mod boundary;
mod clusters;
mod deformation;
mod effect;
mod label_map;
mod looks;
mod mixture;
mod noise;
mod presets;
mod segments;
mod shapes;
mod size;
mod targets;
mod volume;

pub use acquisition::{
    AcquisitionConfig, CtConfig, MicroscopyConfig, MrConfig, OverlayConfig, UltrasoundConfig,
    XrayConfig,
};
pub use appearance::AppearanceConfig;
pub use boundary::BoundaryConfig;
pub use clusters::ClustersConfig;
pub use deformation::DeformationConfig;
pub use effect::EffectRange;
pub use label_map::LabelMapConfig;
pub use looks::LooksConfig;
pub use mixture::MixtureConfig;
pub use noise::NoiseConfig;
pub use segments::SegmentsConfig;
pub use shapes::ShapesConfig;
pub use size::SizeConfig;
pub use targets::TargetsConfig;
pub use volume::{VolumeConfig, VolumeSize};

use serde::{Deserialize, Serialize};

use crate::Result;

/// Everything that determines the distribution of samples.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GeneratorConfig {
    /// Height and width of every sample.
    pub size: SizeConfig,
    /// Which kinds of scene are drawn, and how often.
    pub mixture: MixtureConfig,
    /// How modalities are mixed.
    pub looks: LooksConfig,
    /// Contours and their arrangement (shape-aware module).
    pub shapes: ShapesConfig,
    /// `SynthMorph` label maps and erosion (boundary-aware module).
    pub label_map: LabelMapConfig,
    /// How contours show.
    pub boundary: BoundaryConfig,
    /// Smooth warps of contours and label maps.
    pub deformation: DeformationConfig,
    /// Means, textures, boundaries, optics and view.
    pub appearance: AppearanceConfig,
    /// Heterogeneous insides of structures and regions.
    pub clusters: ClustersConfig,
    /// The effects of scanners.
    pub acquisition: AcquisitionConfig,
    /// The noise library.
    pub noise: NoiseConfig,
    /// Which structures become targets.
    pub targets: TargetsConfig,
    /// Volumes instead of single images, if any; `size` is not used then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volume: Option<VolumeConfig>,
}

impl GeneratorConfig {
    /// Checks every field; the message names the first that is wrong.
    pub fn validate(&self) -> Result<()> {
        self.size.validate()?;
        self.mixture.validate()?;
        self.looks.validate()?;
        self.shapes.validate()?;
        self.label_map.validate()?;
        self.boundary.validate()?;
        self.deformation.validate()?;
        self.appearance.validate()?;
        self.clusters.validate()?;
        self.acquisition.validate()?;
        self.noise.validate()?;
        self.targets.validate()?;
        self.volume.as_ref().map_or(Ok(()), VolumeConfig::check)
    }
}
