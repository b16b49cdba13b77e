//! The recipe of one sample: every number that was drawn, so that rendering it is pure.
//!
//! Lengths and coordinates are fractions of the shorter side, `(x, y)` from the top-left corner of
//! the image, x to the right. Numbers are `f32`, whose shortest decimal form survives any JSON reader,
//! and random fields are stored as the 32-bit sub-seeds that they are grown from.

mod boundary;
mod clusters;
mod deformation;
mod label_map;
mod noise;
mod segments;
mod structure;
mod targets;
mod texture;

pub use crate::acquisition::{
    Axis, BeamShadow, BiasParams, BlurParams, ChemicalShiftParams, CoilParams, DefocusParams,
    DetailParams, Effect, FieldOfView, GhostParams, Interpolation, Mark, Probe, ProjectionParams,
    ReliefParams, ResampleParams, RingParams, TruncationParams, UltrasoundParams, ViewParams,
    VignetteParams,
};
pub use boundary::{EdgeParams, FadeParams, RimParams};
pub use clusters::{ClusterForm, ClusterParams, ClusterPattern, RegionClusterParams};
pub use deformation::DeformationParams;
pub use label_map::{ErosionParams, LabelMapParams};
pub use noise::{NoiseParams, SpeckleLaw};
pub use segments::{SegmentParams, SegmentPick};
pub use structure::{Blend, Outline, StructureParams};
pub use targets::{TargetKind, TargetParams, TargetRule};
pub use texture::{Paint, TextureParams};

use serde::{Deserialize, Serialize};
use synthfm_image::Size;

use crate::Result;
use crate::acquisition;
use crate::check::at_most;
use crate::config::SizeConfig;

/// A point `(x, y)` in units of the shorter side.
pub(crate) type Vec2 = [f32; 2];

/// The recipe of one sample.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SampleParams {
    /// Seed of the data set.
    pub seed: u64,
    /// Index of the sample in the data set.
    pub index: u64,
    /// Height and width in pixels.
    pub size: SizeConfig,
    /// Kind of the picture.
    pub scene: SceneKind,
    /// Which modality it imitates.
    pub look: Modality,
    /// Paint of the whole image before anything else is painted.
    pub ground: Paint,
    /// `SynthMorph` regions over the ground, if any.
    pub label_map: Option<LabelMapParams>,
    /// Contours, painted in this order.
    pub structures: Vec<StructureParams>,
    /// Warp of regions and contours, if any.
    pub deformation: Option<DeformationParams>,
    /// Texture fields that [`Paint`] refers to by position.
    pub textures: Vec<TextureParams>,
    /// Effects on the painted image, in this order.
    pub acquisition: Vec<Effect>,
    /// Field of view, window, gamma, quantisation.
    pub view: ViewParams,
    /// Marks drawn over the finished image.
    pub overlay: Vec<Mark>,
    /// Which regions and structures become targets.
    pub targets: TargetParams,
}

impl SampleParams {
    /// Height and width in pixels.
    pub fn size(&self) -> Size {
        self.size.into()
    }

    /// Checks a recipe from a file before it is rendered; the message names the field.
    pub fn validate(&self) -> Result<()> {
        self.size.validate()?;
        self.ground.validate("ground")?;
        at_most("structures", self.structures.len(), 4096, "at most 4096")?;
        self.structures
            .iter()
            .try_for_each(StructureParams::validate)?;
        self.label_map
            .as_ref()
            .map_or(Ok(()), LabelMapParams::validate)?;
        self.deformation
            .as_ref()
            .map_or(Ok(()), DeformationParams::validate)?;
        at_most("textures", self.textures.len(), 16, "at most 16")?;
        self.textures.iter().try_for_each(TextureParams::validate)?;
        acquisition::validate(&self.acquisition, &self.overlay)?;
        self.view.validate()?;
        self.targets.validate()
    }
}

/// The kinds of picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SceneKind {
    /// Boundary-aware: adjacent regions of a label map.
    LabelMap,
    /// A few contours that fill the view.
    CloseUp,
    /// Organs inside a body outline.
    Body,
    /// The layered tissue of an ultrasound image.
    #[serde(rename = "layered")]
    Sonogram,
    /// Many similar cells under a microscope.
    #[serde(rename = "scattered")]
    Cells,
    /// The lungs, a symmetric pair, in a projection.
    #[serde(rename = "paired")]
    ChestRadiograph,
    /// Branching tubes.
    Vessels,
    /// Chambers and great vessels between lungs and chest wall.
    Heart,
    /// Skull, brain, ventricles and folds.
    Head,
    /// Bones, muscles and fat of an arm or leg.
    Limb,
}

/// The modalities, as coarse statistical caricatures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Modality {
    /// None.
    Free,
    /// Computed tomography.
    Ct,
    /// Magnetic resonance.
    Mr,
    /// Ultrasound.
    Ultrasound,
    /// X-ray projection.
    Xray,
    /// Microscopy.
    Microscopy,
}
