//! Synthetic volumes: size, spacing, scenes, warp, slices.

use serde::{Deserialize, Serialize};

use crate::Result;
use crate::check::{check, probability, range};

/// Smallest and largest number of slices.
const DEPTH: [usize; 2] = [2, 1024];
/// Smallest and largest number of rows and of columns.
const SIDE: [usize; 2] = [16, 1024];
/// Most voxels: 256 MiB of image.
const MAX_VOXELS: usize = 1 << 26;

/// Number of slices, rows and columns of a volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct VolumeSize {
    /// Slices, 2 to 1024.
    pub depth: usize,
    /// Rows of a slice, 16 to 1024.
    pub height: usize,
    /// Columns of a slice, 16 to 1024.
    pub width: usize,
}

impl Default for VolumeSize {
    fn default() -> Self {
        Self {
            depth: 64,
            height: 128,
            width: 128,
        }
    }
}

impl VolumeSize {
    /// Number of voxels.
    pub const fn voxels(self) -> usize {
        self.depth * self.height * self.width
    }

    pub(crate) fn validate(self) -> Result<()> {
        let side = |field, value: usize, [low, high]: [usize; 2], expected| {
            let ok = (low..=high).contains(&value);
            check(ok, field, expected, value.to_string())
        };
        side("volume.size.depth", self.depth, DEPTH, "2 to 1024 slices")?;
        side("volume.size.height", self.height, SIDE, "16 to 1024 rows")?;
        side("volume.size.width", self.width, SIDE, "16 to 1024 columns")?;
        let got = format!("{} x {} x {}", self.depth, self.height, self.width);
        let expected = "at most 67108864 voxels (2^26)";
        check(self.voxels() <= MAX_VOXELS, "volume.size", expected, got)
    }
}

/// Ranges for synthetic volumes. Lengths without a unit are shares of the shorter side of a slice.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct VolumeConfig {
    /// Slices, rows and columns.
    pub size: VolumeSize,
    /// Distance between neighbouring pixels of a slice in mm, drawn log-uniformly.
    pub spacing_mm: [f32; 2],
    /// Distance between slices in units of the distance between pixels, drawn log-uniformly; a scene limits it to what
    /// its anatomy fills.
    pub anisotropy: [f32; 2],
    /// Probability that slices are as far apart as pixels, if `anisotropy` starts at 1.
    pub isotropic: f32,
    /// Thickness of a slice in units of the distance between slices.
    pub slice_thickness: [f32; 2],
    /// Probability of a label map (boundary-aware); its ranges are those of `label_map`.
    pub boundary_aware: f32,
    /// Weight of trunks: organs, vessels and bones inside a body outline.
    pub torso: f32,
    /// Weight of heads: skull, brain, ventricles.
    pub head: f32,
    /// Weight of limbs: bones and muscles.
    pub limb: f32,
    /// Weight of close-ups: a few structures that fill the field of view.
    pub close_up: f32,
    /// Weight of vessel trees in tissue.
    pub vessels: f32,
    /// Weight of layered tissue with cysts and vessels, as ultrasound sweeps show it.
    pub layered: f32,
    /// Probability of a warp of everything.
    pub warp: f32,
    /// Distance between the knots of the warp's velocity.
    pub warp_scale: [f32; 2],
    /// Standard deviation of the warp's velocity.
    pub warp_std: [f32; 2],
    /// Probability that slices are displaced and brightened against their neighbours.
    pub jitter: f32,
    /// Standard deviation of a slice's displacement.
    pub jitter_shift: [f32; 2],
    /// Standard deviation of the logarithm of a slice's gain.
    pub jitter_gain: [f32; 2],
    /// Smallest number of voxels of a target as a share of the volume; never below 27 voxels.
    pub min_target: f32,
    /// Largest number of voxels of a target as a share of the volume.
    pub max_target: f32,
}

impl Default for VolumeConfig {
    fn default() -> Self {
        Self {
            size: VolumeSize::default(),
            spacing_mm: [0.5, 3.0],
            anisotropy: [1.0, 8.0],
            isotropic: 0.3,
            slice_thickness: [0.5, 1.2],
            boundary_aware: 0.25,
            torso: 3.0,
            head: 1.2,
            limb: 0.8,
            close_up: 2.0,
            vessels: 0.7,
            layered: 1.5,
            warp: 0.8,
            warp_scale: [0.15, 0.5],
            warp_std: [0.005, 0.05],
            jitter: 0.25,
            jitter_shift: [0.0, 0.008],
            jitter_gain: [0.0, 0.06],
            min_target: 0.0001,
            max_target: 0.6,
        }
    }
}

impl VolumeConfig {
    /// Checks every field; the message names the first that is wrong.
    pub fn check(&self) -> Result<()> {
        self.size.validate()?;
        let expected = "two ascending numbers from 0.01 to 100 mm";
        range(
            "volume.spacing_mm",
            self.spacing_mm,
            [0.01, 100.0],
            expected,
        )?;
        let expected = "two ascending numbers from 1 to 8";
        range("volume.anisotropy", self.anisotropy, [1.0, 8.0], expected)?;
        probability("volume.isotropic", self.isotropic)?;
        let expected = "two ascending numbers from 0 to 4";
        let thickness = self.slice_thickness;
        range("volume.slice_thickness", thickness, [0.0, 4.0], expected)?;
        probability("volume.boundary_aware", self.boundary_aware)?;
        self.check_weights()?;
        probability("volume.warp", self.warp)?;
        let expected = "two ascending numbers from 0.05 to 2";
        range("volume.warp_scale", self.warp_scale, [0.05, 2.0], expected)?;
        let expected = "two ascending numbers from 0 to 0.3";
        range("volume.warp_std", self.warp_std, [0.0, 0.3], expected)?;
        probability("volume.jitter", self.jitter)?;
        let expected = "two ascending numbers from 0 to 0.1";
        range(
            "volume.jitter_shift",
            self.jitter_shift,
            [0.0, 0.1],
            expected,
        )?;
        let expected = "two ascending numbers from 0 to 1";
        range("volume.jitter_gain", self.jitter_gain, [0.0, 1.0], expected)?;
        let shares = [self.min_target, self.max_target];
        let expected = "min_target and max_target ascending, from 0 to 1";
        range("volume.min_target", shares, [0.0, 1.0], expected)
    }

    /// In the order of the fields.
    pub(crate) const fn weights(&self) -> [f32; 6] {
        [
            self.torso,
            self.head,
            self.limb,
            self.close_up,
            self.vessels,
            self.layered,
        ]
    }

    fn check_weights(&self) -> Result<()> {
        let names = [
            "volume.torso",
            "volume.head",
            "volume.limb",
            "volume.close_up",
            "volume.vessels",
            "volume.layered",
        ];
        for (name, weight) in names.into_iter().zip(self.weights()) {
            let ok = (0.0..=1e6).contains(&weight);
            check(ok, name, "a weight from 0 to 1e6", weight.to_string())?;
        }
        let some = self.boundary_aware >= 1.0 || self.weights().iter().any(|&weight| weight > 0.0);
        let expected = "at least one scene with a weight above 0, or boundary_aware = 1";
        check(some, "volume.torso", expected, "all 0".to_owned())
    }
}
