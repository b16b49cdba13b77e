//! Contours: shape, paint, boundary.

use serde::{Deserialize, Serialize};

use super::{ClusterParams, EdgeParams, Paint, RimParams, TargetKind, TargetRule, Vec2};
use crate::Result;
use crate::check::{at_most, numbers, within};

/// One painted contour.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StructureParams {
    /// Value in the label map; unique in the sample.
    pub id: u16,
    /// Kind of the structure.
    pub kind: TargetKind,
    /// Identifier of the structure that it lies in and is clipped to.
    pub parent: Option<u16>,
    /// Contour of the structure.
    pub outline: Outline,
    /// Width of a band along the inside of the contour that it leaves free: with the contour of its
    /// parent, a wall of even width.
    pub inset: f32,
    /// Paint of the structure.
    pub paint: Paint,
    /// Parts of its inside that are painted otherwise, if any; they belong to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clusters: Option<ClusterParams>,
    /// How its contour shows.
    pub edge: EdgeParams,
    /// Whether it hides what is below, or only adds to it and stays out of the label map.
    pub blend: Blend,
    /// A bright or dark rim along the contour.
    pub rim: Option<RimParams>,
    /// Whether and how it is a target.
    pub target: TargetRule,
}

impl StructureParams {
    pub(super) fn validate(&self) -> Result<()> {
        self.paint.validate("structures.paint")?;
        within("structures.inset", &[self.inset], 1.0, "at most 1")?;
        let clusters = self.clusters.as_ref();
        clusters.map_or(Ok(()), ClusterParams::validate)?;
        self.edge.validate()?;
        self.rim.as_ref().map_or(Ok(()), RimParams::validate)?;
        let field = "structures.outline";
        match &self.outline {
            Outline::Bezier {
                anchors,
                radius,
                edginess,
            } => {
                at_most(field, anchors.len(), 256, "at most 256 anchors")?;
                numbers(field, anchors.as_flattened())?;
                numbers(field, &[*radius, *edginess])
            }
            Outline::Radial {
                centre,
                axes,
                angle,
                waves,
            } => {
                at_most(field, waves.len(), 64, "at most 64 waves")?;
                numbers(field, &[centre[0], centre[1], axes[0], axes[1], *angle])?;
                waves
                    .iter()
                    .try_for_each(|wave| numbers(field, &[wave.1, wave.2]))
            }
            Outline::Tubes { branches } => {
                let knots = branches.iter().map(Vec::len).sum();
                at_most(field, branches.len().max(knots), 4096, "at most 4096 knots")?;
                branches
                    .iter()
                    .try_for_each(|branch| numbers(field, branch.as_flattened()))
            }
        }
    }
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
