//! Shapes of structures in a volume, as recipes hold them.
//!
//! Coordinates are `[x, y, z]` in units of the shorter side of a slice: x along columns, y along rows, z along slices.

use serde::{Deserialize, Serialize};

use crate::Result;
use crate::check::{at_most, check, numbers};

/// Point or direction `[x, y, z]`.
pub(crate) type Vec3 = [f32; 3];

/// Shape of a structure in units of the shorter side of a slice.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Form {
    /// Ellipsoids that flow into each other, less those that are carved out.
    Lobes {
        /// The ellipsoids.
        lobes: Vec<Lobe>,
        /// Distance over which neighbouring ones flow together.
        blend: f32,
    },
    /// A long body of star-shaped cross-sections along one axis.
    Column {
        /// The long axis: 0 for x, 1 for y, 2 for z.
        axis: u8,
        /// Cross-sections in ascending order along the axis; smooth curves connect them. Beyond the first and the last
        /// the body ends.
        sections: Vec<Section>,
    },
    /// Tubes along smooth lines; several branches make one structure.
    Tubes {
        /// Knots `[x, y, z, radius]` along each centre line.
        branches: Vec<Vec<[f32; 4]>>,
    },
    /// Everything on one side of a plane: points p with `normal . p > offset`.
    Layer {
        /// Unit vector.
        normal: Vec3,
        /// Distance of the plane from the origin along it.
        offset: f32,
    },
    /// The inside of the parent, at least this far from its surface.
    Inset {
        /// Width of the wall that stays.
        depth: f32,
    },
}

/// Ellipsoid.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lobe {
    /// Centre.
    pub centre: Vec3,
    /// Half axes as vectors at right angles to each other.
    pub axes: [Vec3; 3],
    /// Whether it is carved out of the others.
    #[serde(default)]
    pub carve: bool,
}

/// Star-shaped cross-section of a column: `1 + sum_k a_k cos(k t + p_k)` times an ellipse.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Section {
    /// Place along the column's axis.
    pub at: f32,
    /// Centre on the axis after the column's and on the one after that (z: x and y; x: y and z; y: z and x).
    pub centre: [f32; 2],
    /// Half axes.
    pub axes: [f32; 2],
    /// Angle of the first half axis, radians.
    pub angle: f32,
    /// Amplitude and phase of the waves of frequency 2, 3, ...
    pub waves: Vec<[f32; 2]>,
}

/// Smooth random displacement of a surface.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bumps {
    /// Standard deviation of the displacement.
    pub amplitude: f32,
    /// Distance between neighbouring bumps.
    pub scale: f32,
    /// Which part of the volume's noise they follow.
    pub offset: Vec3,
    /// Whether the noise is folded at zero: ridges and grooves.
    #[serde(default)]
    pub folded: bool,
}

impl Form {
    pub(super) fn validate(&self) -> Result<()> {
        let field = "structures.form";
        match self {
            Self::Lobes { lobes, blend } => {
                at_most(field, lobes.len(), 256, "at most 256 lobes")?;
                numbers(field, &[*blend])?;
                for lobe in lobes {
                    numbers(field, &lobe.centre)?;
                    numbers(field, lobe.axes.as_flattened())?;
                    let square = |v: &Vec3| v.iter().map(|c| c * c).sum::<f32>();
                    let ok = lobe.axes.iter().all(|v| square(v) > 1e-10);
                    check(ok, field, "half axes of at least 0.00001", "0".to_owned())?;
                }
                Ok(())
            }
            Self::Column { axis, sections } => {
                check(*axis < 3, field, "an axis from 0 to 2", axis.to_string())?;
                at_most(field, sections.len(), 256, "at most 256 sections")?;
                let ascending = sections.windows(2).all(|pair| pair[0].at < pair[1].at);
                let ok = sections.len() >= 2 && ascending;
                let expected = "two or more sections in ascending order";
                check(ok, field, expected, format!("{} sections", sections.len()))?;
                sections.iter().try_for_each(Section::validate)
            }
            Self::Tubes { branches } => {
                let knots = branches.iter().map(Vec::len).sum();
                at_most(field, branches.len().max(knots), 4096, "at most 4096 knots")?;
                branches
                    .iter()
                    .try_for_each(|branch| numbers(field, branch.as_flattened()))
            }
            Self::Layer { normal, offset } => {
                numbers(field, normal)?;
                numbers(field, &[*offset])
            }
            Self::Inset { depth } => numbers(field, &[*depth]),
        }
    }
}

impl Section {
    fn validate(&self) -> Result<()> {
        let field = "structures.form";
        let Self {
            at,
            centre,
            axes,
            angle,
            waves,
        } = self;
        numbers(field, &[*at, centre[0], centre[1], *angle])?;
        numbers(field, axes)?;
        at_most(field, waves.len(), 16, "at most 16 waves")?;
        numbers(field, waves.as_flattened())
    }
}

impl Bumps {
    pub(super) fn validate(&self) -> Result<()> {
        let field = "structures.bumps";
        numbers(field, &[self.amplitude, self.scale])?;
        numbers(field, &self.offset)
    }
}
