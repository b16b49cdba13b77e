//! The recipe of a volume: every number that was drawn, so that rendering it is pure.

use serde::{Deserialize, Serialize};
use synthfm_image::Size;

use super::form::{Bumps, Form};
use crate::acquisition;
use crate::check::{at_most, check, numbers, within};
use crate::config::VolumeSize;
use crate::params::{
    DeformationParams, Effect, ErosionParams, Modality, Paint, TargetKind, TargetRule,
    TextureParams, ViewParams,
};
use crate::{Error, Result};

/// Recipe of one volume. Lengths are shares of the shorter side of a slice; places are `[x, y, z]` from the corner of
/// the first voxel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VolumeParams {
    /// Seed of the data set.
    pub seed: u64,
    /// Index of the volume in the data set.
    pub index: u64,
    /// Slices, rows and columns.
    pub size: VolumeSize,
    /// Distance between neighbouring voxels along slices, rows and columns (z, y, x), in mm.
    pub spacing_mm: [f32; 3],
    /// Kind of scene.
    pub scene: VolumeScene,
    /// Modality that it imitates.
    pub look: Modality,
    /// Paint of the whole volume before anything else is painted.
    pub ground: Paint,
    /// `SynthMorph` regions over the ground, if any.
    pub regions: Option<RegionsParams>,
    /// Structures, painted in this order.
    pub structures: Vec<SolidParams>,
    /// Warp of regions and structures, if any.
    pub warp: Option<DeformationParams>,
    /// Sub-seed of the noise that surfaces are displaced by.
    pub bumps_seed: u32,
    /// Texture fields that [`Paint`] refers to by position. They are as coarse along z as in the plane, in mm.
    pub textures: Vec<TextureParams>,
    /// How a slice averages over its thickness.
    pub profile: SliceProfile,
    /// Differences between neighbouring slices, if any.
    pub jitter: Option<JitterParams>,
    /// Effects on each slice, in this order. A bias field belongs to the volume; noise differs from slice to slice.
    pub acquisition: Vec<Effect>,
    /// Field of view, window, gamma, quantisation; its stretch is not used.
    pub view: ViewParams,
    /// Which regions and structures become targets.
    pub targets: VolumeTargetParams,
}

/// Kinds of scene in a volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VolumeScene {
    /// Boundary-aware: adjacent regions of a label map.
    LabelMap,
    /// Organs, vessels and bones inside a body outline.
    Torso,
    /// Skull, brain, ventricles.
    Head,
    /// Bones and muscles of a limb.
    Limb,
    /// A few structures that fill the field of view.
    CloseUp,
    /// Vessel trees in tissue.
    Vessels,
    /// Layered tissue with cysts and vessels.
    Layered,
}

/// One painted structure.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SolidParams {
    /// Value in the label map; unique in the volume, at least 256.
    pub id: u16,
    /// Kind of structure.
    pub kind: TargetKind,
    /// Identifier of the structure that it is clipped to, which is painted before it.
    pub parent: Option<u16>,
    /// Shape.
    pub form: Form,
    /// Smooth random displacement of its surface.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bumps: Option<Bumps>,
    /// Width of a band around it that is painted like its parent, over what was painted before.
    pub clearance: f32,
    /// Mean and texture of its inside.
    pub paint: Paint,
    /// Standard deviation of the blur of its surface.
    pub softness: f32,
    /// Whether and how it is a target.
    pub target: TargetRule,
}

/// Label map of a volume: the arg max of smooth noise channels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegionsParams {
    /// Sub-seed of the channels.
    pub seed: u32,
    /// Distance between the knots of the finer noise; the coarser one has twice that.
    pub noise_scale: f32,
    /// Standard deviations of the finer and the coarser noise.
    pub noise_std: [f32; 2],
    /// Paint of each region; their number is that of the channels. Region k has the label k + 1.
    pub paints: Vec<Paint>,
    /// Removal of the regions' borders, if any; what is removed shows the ground.
    pub erosion: Option<ErosionParams>,
}

/// How a slice averages over its thickness.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SliceProfile {
    /// Thickness in units of the distance between slices.
    pub thickness: f32,
    /// Planes that are averaged, an odd number; labels are those of the middle one.
    pub planes: u8,
}

/// Differences between neighbouring slices.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JitterParams {
    /// Sub-seed.
    pub seed: u32,
    /// Standard deviation of the displacement along rows and along columns; labels move along.
    pub shift: f32,
    /// Standard deviation of the logarithm of the gain.
    pub gain: f32,
}

/// Which regions and structures become targets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VolumeTargetParams {
    /// Most targets.
    pub max_count: u32,
    /// Smallest share of the volume.
    pub min_share: f32,
    /// Largest share of the volume.
    pub max_share: f32,
    /// Least visibility of its boundary in the slice where it is largest; 0 keeps all.
    pub min_visibility: f32,
    /// Regions of the label map that are targets, by connected component.
    pub regions: Vec<u16>,
}

/// Identifiers of structures start here, above those of regions.
pub(crate) const FIRST_STRUCTURE: u16 = 256;

impl VolumeParams {
    /// Rows and columns of a slice.
    pub const fn slice_size(&self) -> Size {
        Size::new(self.size.height, self.size.width)
    }

    /// Distance between neighbouring voxels along x, y and z, in units of the shorter side of a slice.
    pub(crate) fn steps(&self) -> [f32; 3] {
        let [z, y, x] = self.spacing_mm;
        let unit = (y * self.size.height as f32).min(x * self.size.width as f32);
        [x / unit, y / unit, z / unit]
    }

    /// Lengths of the volume along x, y and z in units of the shorter side of a slice.
    pub(crate) fn extent(&self) -> [f32; 3] {
        let [x, y, z] = self.steps();
        [
            x * self.size.width as f32,
            y * self.size.height as f32,
            z * self.size.depth as f32,
        ]
    }

    /// Checks a recipe from a file before it is rendered; the message names the field.
    pub fn validate(&self) -> Result<()> {
        self.size.validate()?;
        check_spacing(self.spacing_mm)?;
        self.ground.validate("ground")?;
        self.regions
            .as_ref()
            .map_or(Ok(()), RegionsParams::validate)?;
        at_most("structures", self.structures.len(), 1024, "at most 1024")?;
        for (k, solid) in self.structures.iter().enumerate() {
            solid.validate(&self.structures[..k])?;
        }
        let warp = self.warp.as_ref();
        warp.map_or(Ok(()), DeformationParams::validate)?;
        at_most("textures", self.textures.len(), 16, "at most 16")?;
        self.textures.iter().try_for_each(TextureParams::validate)?;
        let SliceProfile { thickness, planes } = self.profile;
        within("profile.thickness", &[thickness], 4.0, "at most 4")?;
        let ok = planes % 2 == 1 && planes <= 9;
        check(
            ok,
            "profile.planes",
            "an odd number to 9",
            planes.to_string(),
        )?;
        if let Some(JitterParams { shift, gain, .. }) = self.jitter {
            within("jitter", &[shift, gain], 1.0, "at most 1")?;
        }
        acquisition::validate(&self.acquisition, &[])?;
        self.view.validate()?;
        self.targets.validate()
    }
}

/// Spacings that a recipe may have: up to 1 : 16 between two axes.
fn check_spacing(spacing_mm: [f32; 3]) -> Result<()> {
    let [low, high] = spacing_mm
        .iter()
        .fold([f32::MAX, 0.0_f32], |[low, high], &s| {
            [low.min(s), high.max(s)]
        });
    let ok = spacing_mm.iter().all(|s| (0.001..=1000.0).contains(s)) && high <= 16.0 * low;
    if ok {
        return Ok(());
    }
    Err(Error::OutOfRange {
        field: "spacing_mm",
        expected: "three numbers from 0.001 to 1000 mm, none above 16 times another",
        got: format!("{spacing_mm:?}"),
    })
}

impl SolidParams {
    fn validate(&self, before: &[Self]) -> Result<()> {
        let ok = self.id >= FIRST_STRUCTURE && before.iter().all(|other| other.id != self.id);
        let expected = "an identifier of 256 or more that no other structure has";
        check(ok, "structures.id", expected, self.id.to_string())?;
        let known = |id: u16| before.iter().any(|other| other.id == id);
        let ok = match self.parent {
            Some(parent) => known(parent),
            None => !matches!(self.form, Form::Inset { .. }),
        };
        let expected = "the identifier of a structure painted before; an inset needs one";
        check(
            ok,
            "structures.parent",
            expected,
            format!("{:?}", self.parent),
        )?;
        self.form.validate()?;
        self.bumps.as_ref().map_or(Ok(()), Bumps::validate)?;
        self.paint.validate("structures.paint")?;
        let widths = [self.clearance, self.softness];
        within("structures.softness", &widths, 1.0, "at most 1")
    }
}

impl RegionsParams {
    fn validate(&self) -> Result<()> {
        let ok = (1..=64).contains(&self.paints.len());
        check(
            ok,
            "regions.paints",
            "1 to 64",
            self.paints.len().to_string(),
        )?;
        self.paints
            .iter()
            .try_for_each(|paint| paint.validate("regions.paints"))?;
        let ok = (0.01..=10.0).contains(&self.noise_scale);
        let got = self.noise_scale.to_string();
        check(ok, "regions.noise_scale", "0.01 to 10", got)?;
        numbers("regions.noise_std", &self.noise_std)?;
        self.erosion
            .as_ref()
            .map_or(Ok(()), ErosionParams::validate)
    }
}

impl VolumeTargetParams {
    fn validate(&self) -> Result<()> {
        let shares = [self.min_share, self.max_share, self.min_visibility];
        numbers("targets", &shares)?;
        at_most("targets.regions", self.regions.len(), 64, "at most 64")?;
        let count = self.max_count as usize;
        at_most("targets.max_count", count, 256, "at most 256")
    }
}
