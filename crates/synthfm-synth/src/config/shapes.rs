//! Contours and their arrangement (shape-aware module).

use serde::{Deserialize, Serialize};

use crate::Result;
use crate::check::{count_range, probability, range};

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
    /// Probability that an organ holds something abnormal: nodules, cysts, calcifications, tumours.
    pub pathology: f32,
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
            area: [0.002, 0.6],
            nesting: 0.35,
            pathology: 0.35,
        }
    }
}

impl ShapesConfig {
    pub(super) fn validate(&self) -> Result<()> {
        count_range(
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
        count_range(
            "shapes.structures",
            self.structures,
            [1, 64],
            "two ascending numbers from 1 to 64",
        )?;
        count_range(
            "shapes.organs",
            self.organs,
            [1, 64],
            "two ascending numbers from 1 to 64",
        )?;
        count_range(
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
        probability("shapes.nesting", self.nesting)?;
        probability("shapes.pathology", self.pathology)
    }
}
