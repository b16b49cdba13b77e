//! The recipe of one sample: every number that was drawn, so that rendering it is pure.
//!
//! Lengths and coordinates are fractions of the shorter side, `(x, y)` from the top-left corner of
//! the image, x to the right. Numbers are `f32`, whose shortest decimal form survives any JSON reader,
//! and random fields are stored as the 32-bit sub-seeds that they are grown from.

use serde::{Deserialize, Serialize};
use synthfm_image::Size;

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
    /// What kind of picture this is.
    pub scene: SceneKind,
    /// What the image looks like before anything is painted.
    pub ground: Paint,
    /// `SynthMorph` regions over the ground, if any.
    pub label_map: Option<LabelMapParams>,
    /// Contours, painted in this order.
    pub structures: Vec<StructureParams>,
    /// Texture fields that [`Paint`] refers to by position.
    pub textures: Vec<TextureParams>,
    /// Blur, bias field, shadows: what acts on the painted image.
    pub optics: OpticsParams,
    /// Noise, applied in this order.
    pub noise: Vec<NoiseParams>,
    /// Field of view, window, gamma, quantisation.
    pub view: ViewParams,
    /// Which regions and structures become targets.
    pub targets: TargetParams,
}

impl SampleParams {
    /// Height and width in pixels.
    pub fn size(&self) -> Size {
        self.size.into()
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
    /// Layered tissue.
    Layered,
    /// Many similar cells.
    Scattered,
    /// A symmetric pair in a projection.
    Paired,
    /// Branching tubes.
    Vessels,
}

/// What a target is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TargetKind {
    /// The outline that holds everything.
    Body,
    /// A larger structure.
    Organ,
    /// Something abnormal inside or beside an organ.
    Lesion,
    /// The ring around a lumen.
    Wall,
    /// The inside of a wall.
    Lumen,
    /// A long, thin structure.
    Tube,
    /// One of many similar small objects.
    Cell,
    /// A region of a label map.
    Region,
}

/// Mean and texture of a painted area: `mean + amplitude * texture(x)`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Paint {
    /// Mean intensity; full scale is 0 to 1.
    pub mean: f32,
    /// Standard deviation of the texture.
    pub amplitude: f32,
    /// Position in [`SampleParams::textures`]; without effect if there is none at that position.
    pub texture: u8,
}

/// One painted contour.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StructureParams {
    /// Value in the label map; unique in the sample.
    pub id: u16,
    /// What it is.
    pub kind: TargetKind,
    /// Identifier of the structure that it lies in and is clipped to.
    pub parent: Option<u16>,
    /// Its contour.
    pub outline: Outline,
    /// What it is painted with.
    pub paint: Paint,
    /// Standard deviation of its boundary's blur.
    pub softness: f32,
    /// Whether it hides what is below, or only adds to it and stays out of the label map.
    pub blend: Blend,
    /// A bright or dark rim along the contour.
    pub rim: Option<RimParams>,
    /// Whether and how it is a target.
    pub target: TargetRule,
}

/// How a structure meets what is below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Blend {
    /// Hides it and takes its place in the label map.
    Replace,
    /// Adds its paint to it; the label map does not change.
    Add,
}

/// Which pixels of a structure are a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TargetRule {
    /// None.
    No,
    /// Those where it is on top.
    Visible,
    /// Those where it or anything nested in it is on top.
    Whole,
}

/// A contour in units of the shorter side.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Outline {
    /// A smooth closed curve of cubic Béziers through `anchors`.
    Bezier {
        /// Points on the curve, sorted by angle about their centroid.
        anchors: Vec<Vec2>,
        /// Handle length as a share of the edge.
        radius: f32,
        /// Bend of the tangents.
        edginess: f32,
    },
    /// An ellipse whose radius is modulated: `1 + sum_k a_k cos(k t + p_k)`.
    Radial {
        /// Centre.
        centre: Vec2,
        /// Half axes.
        axes: Vec2,
        /// Angle of the first axis, radians.
        angle: f32,
        /// Frequency, amplitude and phase of each wave.
        waves: Vec<(u8, f32, f32)>,
    },
    /// Tubes along smooth lines; several branches make one structure.
    Tubes {
        /// Knots `(x, y, half width)` along each centre line.
        branches: Vec<Vec<[f32; 3]>>,
    },
}

/// A rim along a contour.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RimParams {
    /// Intensity that is reached where the rim is full.
    pub mean: f32,
    /// Width.
    pub width: f32,
    /// Standard deviation of its blur.
    pub softness: f32,
    /// How strongly the rim fades where the contour runs along the beam, 0 to 1.
    pub directionality: f32,
    /// Direction of the beam, radians; `pi / 2` is down.
    pub beam: f32,
    /// Gaps: start and length as shares of the contour.
    pub gaps: Vec<Vec2>,
}

/// Regions grown from noise (`SynthMorph`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LabelMapParams {
    /// Sub-seed of the noise images and of the warp.
    pub seed: u32,
    /// Scale of the finer noise image, vertically and horizontally.
    pub noise_scale: Vec2,
    /// Standard deviation of the finer and of the coarser noise image.
    pub noise_std: Vec2,
    /// Scale of the finest warp.
    pub warp_scale: f32,
    /// Standard deviation of each of the warp's three scales, finest first.
    pub warp_std: [f32; 3],
    /// What each region is painted with; their number is the number of labels. Region `k` has the
    /// identifier `k + 1`.
    pub paints: Vec<Paint>,
    /// Erosion, if any.
    pub erosion: Option<ErosionParams>,
    /// Identifier of the structure that the regions lie in; without it they fill the image.
    pub inside: Option<u16>,
}

/// Random erosion of regions; the gap becomes background.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ErosionParams {
    /// Radius of the disc.
    pub radius: f32,
    /// Share of the radius that varies along the borders, 0 to 1.
    pub variation: f32,
    /// Sub-seed of that variation.
    pub seed: u32,
    /// Region indices that are eroded; `None`: all.
    pub regions: Option<Vec<u16>>,
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

/// What acts on the painted image before noise.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpticsParams {
    /// Standard deviation of the blur, vertically and horizontally.
    pub blur: Vec2,
    /// Bias field, if any.
    pub bias: Option<BiasParams>,
    /// Loss of signal with depth: `exp(-attenuation * y)`.
    pub attenuation: f32,
    /// Bands of changed gain below a depth: acoustic shadow and enhancement.
    pub shadows: Vec<ShadowParams>,
    /// Directional derivative, as in differential interference contrast.
    pub relief: Option<ReliefParams>,
}

/// A smooth multiplicative field `exp(s F)`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BiasParams {
    /// Sub-seed.
    pub seed: u32,
    /// Scale of the field.
    pub scale: f32,
    /// Standard deviation of its logarithm.
    pub std: f32,
}

/// A band of changed gain.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShadowParams {
    /// Where the band starts: its middle at the top.
    pub start: Vec2,
    /// Half width at its start.
    pub half_width: f32,
    /// Growth of the half width per depth.
    pub spread: f32,
    /// Factor in its middle: below 1 a shadow, above 1 an enhancement.
    pub gain: f32,
}

/// Relief: `level + strength (I(x + d) - I(x - d))`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReliefParams {
    /// Shift `d`.
    pub shift: Vec2,
    /// Strength.
    pub strength: f32,
    /// Grey of flat areas.
    pub level: f32,
    /// Share of the unchanged image that remains.
    pub keep: f32,
}

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

/// Law of a speckle factor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SpeckleLaw {
    /// Normal.
    Normal,
    /// Rayleigh, as in fully developed speckle (at sigma 0.5227).
    Rayleigh,
}

/// The last steps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ViewParams {
    /// Shares of the image's own intensities that are mapped to 0 and 1 first, if any: what a viewer
    /// or an export to 8 bits does.
    pub stretch: Option<Vec2>,
    /// Intensities that become 0 and 1.
    pub window: Vec2,
    /// Exponent after the window.
    pub gamma: f32,
    /// What is visible.
    pub field_of_view: FieldOfView,
    /// Intensity outside the field of view.
    pub outside: f32,
    /// Number of grey levels; 0: not quantised.
    pub levels: u32,
}

impl Default for ViewParams {
    fn default() -> Self {
        Self {
            stretch: None,
            window: [0.0, 1.0],
            gamma: 1.0,
            field_of_view: FieldOfView::Full,
            outside: 0.0,
            levels: 0,
        }
    }
}

/// The visible part of the image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum FieldOfView {
    /// All of it.
    Full,
    /// A disc.
    Circle {
        /// Centre.
        centre: Vec2,
        /// Radius.
        radius: f32,
    },
    /// A rectangle.
    Strip {
        /// Top-left corner.
        min: Vec2,
        /// Bottom-right corner.
        max: Vec2,
    },
    /// The fan of a convex or phased probe, beams running down.
    Sector {
        /// Where the beams meet.
        apex: Vec2,
        /// Half opening angle, radians.
        half_angle: f32,
        /// Distance from the apex where the image starts.
        near: f32,
        /// Distance from the apex where it ends.
        far: f32,
    },
}

/// Which regions and structures become targets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TargetParams {
    /// Most targets.
    pub max_count: u32,
    /// Smallest share of the image.
    pub min_area: f32,
    /// Largest share of the image.
    pub max_area: f32,
    /// Region indices of the label map that are targets, by connected component.
    pub regions: Vec<u16>,
}
