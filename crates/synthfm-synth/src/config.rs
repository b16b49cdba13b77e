//! What the generator may draw, as ranges and probabilities, with the documented recipe as default.
//!
//! The paper (arXiv 2504.08177) names the ingredients but no numbers; SynthMorph's numbers come from
//! its public demo, the others are ours. Lengths are fractions of the image's shorter side, so that
//! one index looks alike in kind at every size.

use serde::{Deserialize, Serialize};
use synthfm_image::Size;

use crate::{Error, Result};

/// Smallest height and width.
pub(crate) const MIN_SIDE: usize = 128;
/// Largest height and width.
pub(crate) const MAX_SIDE: usize = 2048;

/// Everything that determines the distribution of samples.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GeneratorConfig {
    /// Height and width of every sample.
    pub size: SizeConfig,
    /// Which kinds of scene are drawn, and how often.
    pub mixture: MixtureConfig,
    /// Contours and their arrangement (shape-aware module).
    pub shapes: ShapesConfig,
    /// `SynthMorph` label maps and erosion (boundary-aware module).
    pub label_map: LabelMapConfig,
    /// Means, textures, boundaries and optics.
    pub appearance: AppearanceConfig,
    /// The noise library.
    pub noise: NoiseConfig,
    /// Which structures become targets.
    pub targets: TargetsConfig,
}

/// Size of the samples in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SizeConfig {
    /// Rows, 128 to 2048. The paper: 1024.
    pub height: usize,
    /// Columns, 128 to 2048. The paper: 1024.
    pub width: usize,
}

/// Probabilities and weights of the kinds of scene.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MixtureConfig {
    /// Probability of the boundary-aware module; otherwise the shape-aware one.
    pub boundary_aware: f32,
    /// Weight of free close-ups: a few contours that fill the view, as the paper describes.
    pub close_up: f32,
    /// Weight of bodies: organs, bones and lesions inside an outline on dark ground.
    pub body: f32,
    /// Weight of layered tissue with a lesion, a vessel or a rimmed head (ultrasound-like).
    pub layered: f32,
    /// Weight of many similar small cells.
    pub scattered: f32,
    /// Weight of a mirror-symmetric pair in a projection (chest X-ray-like).
    pub paired: f32,
    /// Weight of branching tubes over a wide ground.
    pub vessels: f32,
    /// Probability that the appearance is drawn without regard to the kind of scene.
    pub free_appearance: f32,
    /// Probability that a label map serves as ground under contours, and that it lies in a body.
    pub label_map_ground: f32,
}

/// Ranges of the contours.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ShapesConfig {
    /// Control points per contour. The routine's own default: 5.
    pub control_points: [u32; 2],
    /// Handle length as a share of the edge, 0 (polygon) to 1. The routine's own default: 0.2.
    pub radius: [f32; 2],
    /// Bend of the tangent towards the next edge, 0 (mean direction) upwards. Typical: 0.05.
    pub edginess: [f32; 2],
    /// Structures per close-up.
    pub structures: [u32; 2],
    /// Organs per body.
    pub organs: [u32; 2],
    /// Cells per scattered scene.
    pub cells: [u32; 2],
    /// Area of a close-up's structure as a share of the image, drawn log-uniformly.
    pub area: [f32; 2],
    /// Probability that a structure holds another: a lumen, which makes it a ring, or a lesion.
    pub nesting: f32,
}

/// Ranges of the label maps; `SynthMorph`'s demo in parentheses, at 256 pixels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LabelMapConfig {
    /// Probability of the demo's 16 labels; otherwise `labels`.
    pub demo_labels: f32,
    /// Number of labels otherwise.
    pub labels: [u32; 2],
    /// Scale of the finer noise image (32 px: 0.125); the coarser one has twice that.
    pub noise_scale: [f32; 2],
    /// Scale of the finest warp (16 px: 0.0625); the others have two and four times that.
    pub warp_scale: [f32; 2],
    /// Standard deviation of each scale of the warp (0 to 16 px: 0 to 0.0625).
    pub warp_std: [f32; 2],
    /// Width over height of the noise's cells, drawn log-uniformly; above 1 regions lie flat.
    pub stretch: [f32; 2],
    /// Probability that every region is eroded.
    pub erode_all: f32,
    /// Probability that only the targets' regions are eroded.
    pub erode_picked: f32,
    /// Radius of the eroding disc.
    pub erosion_radius: [f32; 2],
    /// Probability that all means lie in a narrow band.
    pub near_equal: f32,
    /// Half width of that band.
    pub near_equal_band: [f32; 2],
}

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
    /// Probability of a relief (directional derivative) in microscopy-like samples.
    pub relief: f32,
}

/// One member of the noise library: how often, and how strong.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoiseRange {
    /// Probability that it takes part, before the kind of scene shifts it.
    pub probability: f32,
    /// Its strength, drawn log-uniformly.
    pub strength: [f32; 2],
}

/// The noise library: several may act on one image, in drawn order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NoiseConfig {
    /// `x + N(0, s^2)`; strength: s.
    pub gaussian: NoiseRange,
    /// `P(x L) / L`; strength: 1 / L.
    pub poisson: NoiseRange,
    /// `x + s F`, F fractal noise of unit variance; strength: s.
    pub perlin: NoiseRange,
    /// `x (1 + s S)`, S of unit variance; strength: s.
    pub speckle: NoiseRange,
    /// `sqrt((x + n1)^2 + n2^2)`, n ~ N(0, s^2); strength: s.
    pub rician: NoiseRange,
    /// Correlation length of the noise (0: white), drawn uniformly.
    pub grain: [f32; 2],
}

/// Which structures become targets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TargetsConfig {
    /// Most targets per sample.
    pub max_count: u32,
    /// Smallest area of a target as a share of the image; never below 12 pixels.
    pub min_area: f32,
    /// Largest area of a target as a share of the image.
    pub max_area: f32,
    /// Probability that a structure that holds others is a target together with them.
    pub whole: f32,
}

impl Default for SizeConfig {
    fn default() -> Self {
        Self {
            height: 1024,
            width: 1024,
        }
    }
}

impl From<SizeConfig> for Size {
    fn from(size: SizeConfig) -> Self {
        Self::new(size.height, size.width)
    }
}

impl Default for MixtureConfig {
    fn default() -> Self {
        Self {
            boundary_aware: 0.35,
            close_up: 0.28,
            body: 0.25,
            layered: 0.25,
            scattered: 0.12,
            paired: 0.06,
            vessels: 0.07,
            free_appearance: 0.2,
            label_map_ground: 0.35,
        }
    }
}

impl Default for ShapesConfig {
    fn default() -> Self {
        Self {
            control_points: [3, 9],
            radius: [0.15, 0.45],
            edginess: [0.0, 0.4],
            structures: [1, 9],
            organs: [3, 12],
            cells: [6, 220],
            area: [0.002, 0.35],
            nesting: 0.35,
        }
    }
}

impl Default for LabelMapConfig {
    fn default() -> Self {
        Self {
            demo_labels: 0.35,
            labels: [3, 24],
            noise_scale: [0.07, 0.3],
            warp_scale: [0.05, 0.12],
            warp_std: [0.0, 0.05],
            stretch: [0.6, 3.0],
            erode_all: 0.4,
            erode_picked: 0.3,
            erosion_radius: [0.003, 0.02],
            near_equal: 0.4,
            near_equal_band: [0.03, 0.15],
        }
    }
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
            relief: 0.15,
        }
    }
}

impl Default for NoiseConfig {
    fn default() -> Self {
        let range = |probability, low, high| NoiseRange {
            probability,
            strength: [low, high],
        };
        Self {
            gaussian: range(0.5, 0.002, 0.07),
            poisson: range(0.3, 0.0002, 0.02),
            perlin: range(0.3, 0.004, 0.06),
            speckle: range(0.3, 0.05, 0.6),
            rician: range(0.3, 0.004, 0.06),
            grain: [0.0, 0.007],
        }
    }
}

impl Default for TargetsConfig {
    fn default() -> Self {
        Self {
            max_count: 12,
            min_area: 0.0005,
            max_area: 0.6,
            whole: 0.4,
        }
    }
}

/// Names that [`GeneratorConfig::preset`] knows.
const PRESETS: &str = "\"any\", \"paper\"";

impl GeneratorConfig {
    /// The configuration of a name: `any` (the default mixture) or `paper` (only what the paper
    /// describes: Bézier close-ups and label maps, contrast modulation, the noise library).
    pub fn preset(name: &str) -> Result<Self> {
        match name {
            "any" => Ok(Self::default()),
            "paper" => Ok(Self::paper()),
            other => Err(Error::UnknownPreset {
                known: PRESETS,
                got: other.to_owned(),
            }),
        }
    }

    fn paper() -> Self {
        Self {
            mixture: MixtureConfig {
                boundary_aware: 0.5,
                close_up: 1.0,
                body: 0.0,
                layered: 0.0,
                scattered: 0.0,
                paired: 0.0,
                vessels: 0.0,
                free_appearance: 1.0,
                label_map_ground: 0.0,
            },
            appearance: AppearanceConfig {
                rim: 0.0,
                field_of_view: 0.0,
                relief: 0.0,
                ..AppearanceConfig::default()
            },
            ..Self::default()
        }
    }

    /// Checks every field; the message names the first that is wrong.
    pub fn validate(&self) -> Result<()> {
        self.size.validate()?;
        self.mixture.validate()?;
        self.shapes.validate()?;
        self.label_map.validate()?;
        self.appearance.validate()?;
        self.noise.validate()?;
        self.targets.validate()
    }
}

fn check(ok: bool, field: &'static str, expected: &'static str, got: String) -> Result<()> {
    if ok {
        return Ok(());
    }
    Err(Error::OutOfRange {
        field,
        expected,
        got,
    })
}

fn probability(field: &'static str, value: f32) -> Result<()> {
    let ok = (0.0..=1.0).contains(&value);
    check(ok, field, "a probability from 0 to 1", value.to_string())
}

fn range(
    field: &'static str,
    [low, high]: [f32; 2],
    within: [f32; 2],
    expected: &'static str,
) -> Result<()> {
    let ok = within[0] <= low && low <= high && high <= within[1];
    check(ok, field, expected, format!("[{low}, {high}]"))
}

fn count(
    field: &'static str,
    [low, high]: [u32; 2],
    within: [u32; 2],
    expected: &'static str,
) -> Result<()> {
    let ok = within[0] <= low && low <= high && high <= within[1];
    check(ok, field, expected, format!("[{low}, {high}]"))
}

const FRACTION: &str = "two ascending numbers from 0 to 0.5";

impl SizeConfig {
    pub(crate) fn validate(self) -> Result<()> {
        let side = |field, value: usize| {
            let ok = (MIN_SIDE..=MAX_SIDE).contains(&value);
            check(ok, field, "128 to 2048 pixels", value.to_string())
        };
        side("size.height", self.height)?;
        side("size.width", self.width)
    }
}

impl MixtureConfig {
    /// Weights of the shape-aware kinds of scene.
    pub(crate) fn weights(&self) -> [f32; 6] {
        let Self {
            close_up,
            body,
            layered,
            scattered,
            paired,
            vessels,
            ..
        } = *self;
        [close_up, body, layered, scattered, paired, vessels]
    }

    fn validate(&self) -> Result<()> {
        probability("mixture.boundary_aware", self.boundary_aware)?;
        probability("mixture.free_appearance", self.free_appearance)?;
        probability("mixture.label_map_ground", self.label_map_ground)?;
        let weights = self.weights();
        let names = [
            "mixture.close_up",
            "mixture.body",
            "mixture.layered",
            "mixture.scattered",
            "mixture.paired",
            "mixture.vessels",
        ];
        for (name, weight) in names.into_iter().zip(weights) {
            let ok = (0.0..=1e6).contains(&weight);
            check(ok, name, "a weight from 0 to 1e6", weight.to_string())?;
        }
        let total: f32 = weights.iter().sum();
        let ok = total > 0.0 || self.boundary_aware >= 1.0;
        check(
            ok,
            "mixture.close_up",
            "at least one kind of scene with a weight above 0",
            "all 0".to_owned(),
        )
    }
}

impl ShapesConfig {
    fn validate(&self) -> Result<()> {
        count(
            "shapes.control_points",
            self.control_points,
            [3, 32],
            "two ascending numbers from 3 to 32",
        )?;
        range(
            "shapes.radius",
            self.radius,
            [0.0, 1.0],
            "two ascending numbers from 0 to 1",
        )?;
        range(
            "shapes.edginess",
            self.edginess,
            [0.0, 10.0],
            "two ascending numbers from 0 to 10",
        )?;
        count(
            "shapes.structures",
            self.structures,
            [1, 64],
            "two ascending numbers from 1 to 64",
        )?;
        count(
            "shapes.organs",
            self.organs,
            [1, 64],
            "two ascending numbers from 1 to 64",
        )?;
        count(
            "shapes.cells",
            self.cells,
            [1, 1000],
            "two ascending numbers from 1 to 1000",
        )?;
        range(
            "shapes.area",
            self.area,
            [0.0005, 0.9],
            "two ascending numbers from 0.0005 to 0.9",
        )?;
        probability("shapes.nesting", self.nesting)
    }
}

impl LabelMapConfig {
    fn validate(&self) -> Result<()> {
        probability("label_map.demo_labels", self.demo_labels)?;
        count(
            "label_map.labels",
            self.labels,
            [2, 64],
            "two ascending numbers from 2 to 64",
        )?;
        let scale = [0.02, 1.0];
        let expected = "two ascending numbers from 0.02 to 1";
        range("label_map.noise_scale", self.noise_scale, scale, expected)?;
        range("label_map.warp_scale", self.warp_scale, scale, expected)?;
        range("label_map.warp_std", self.warp_std, [0.0, 0.5], FRACTION)?;
        range(
            "label_map.stretch",
            self.stretch,
            [0.1, 10.0],
            "two ascending numbers from 0.1 to 10",
        )?;
        probability("label_map.erode_all", self.erode_all)?;
        probability("label_map.erode_picked", self.erode_picked)?;
        let sum = self.erode_all + self.erode_picked;
        let expected = "erode_all + erode_picked to be at most 1";
        check(
            sum <= 1.0 + 1e-6,
            "label_map.erode_all",
            expected,
            sum.to_string(),
        )?;
        let expected = "two ascending numbers from 0 to 0.1";
        range(
            "label_map.erosion_radius",
            self.erosion_radius,
            [0.0, 0.1],
            expected,
        )?;
        probability("label_map.near_equal", self.near_equal)?;
        range(
            "label_map.near_equal_band",
            self.near_equal_band,
            [0.0, 0.5],
            FRACTION,
        )
    }
}

impl AppearanceConfig {
    fn validate(&self) -> Result<()> {
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
        probability("appearance.field_of_view", self.field_of_view)?;
        probability("appearance.relief", self.relief)
    }
}

impl NoiseConfig {
    fn validate(&self) -> Result<()> {
        let members = [
            ("noise.gaussian", self.gaussian),
            ("noise.poisson", self.poisson),
            ("noise.perlin", self.perlin),
            ("noise.speckle", self.speckle),
            ("noise.rician", self.rician),
        ];
        for (field, member) in members {
            probability(field, member.probability)?;
            let expected = "a strength of two ascending numbers from 0.00001 to 2";
            range(field, member.strength, [0.000_01, 2.0], expected)?;
        }
        range(
            "noise.grain",
            self.grain,
            [0.0, 0.1],
            "two ascending numbers from 0 to 0.1",
        )
    }
}

impl TargetsConfig {
    fn validate(&self) -> Result<()> {
        let ok = (1..=256).contains(&self.max_count);
        check(
            ok,
            "targets.max_count",
            "1 to 256",
            self.max_count.to_string(),
        )?;
        let areas = [self.min_area, self.max_area];
        let expected = "min_area and max_area ascending, from 0 to 1";
        range("targets.min_area", areas, [0.0, 1.0], expected)?;
        probability("targets.whole", self.whole)
    }
}
