//! How a contour shows: softness, missing parts, a band around it, a rim.

use serde::{Deserialize, Serialize};

use super::Vec2;
use crate::Result;
use crate::check::{at_most, numbers, within};

/// How a structure's contour shows in the image. Masks have the contour itself, whatever shows.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EdgeParams {
    /// Standard deviation of the boundary's blur, where `direction` comes from.
    pub softness: f32,
    /// Softness at the end where `direction` points to; in between the two mix.
    pub far_softness: f32,
    /// Direction across the structure along which the blur changes, radians.
    pub direction: f32,
    /// Parts of the contour that do not show.
    pub fades: Vec<FadeParams>,
    /// Width of a band around the structure that belongs to its parent, or to the ground, and is
    /// painted so: it separates the structure from neighbours that are painted before it.
    pub clearance: f32,
}

/// A part of a contour where the structure fades into what it borders on.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FadeParams {
    /// Where it starts, as a share of the contour.
    pub start: f32,
    /// How long it is, as a share of the contour.
    pub length: f32,
    /// How far it reaches into the structure.
    pub depth: f32,
}

impl EdgeParams {
    pub(super) fn validate(&self) -> Result<()> {
        let blurs = [self.softness, self.far_softness];
        within("structures.edge.softness", &blurs, 1.0, "at most 1")?;
        numbers("structures.edge.direction", &[self.direction])?;
        let width = "a width of at most 0.2";
        within("structures.edge.clearance", &[self.clearance], 0.2, width)?;
        at_most("structures.edge.fades", self.fades.len(), 16, "at most 16")?;
        for fade in &self.fades {
            let shares = [fade.start, fade.length];
            within("structures.edge.fades", &shares, 1.0, "shares of at most 1")?;
            within(
                "structures.edge.fades",
                &[fade.depth],
                0.5,
                "depths of at most 0.5",
            )?;
        }
        Ok(())
    }
}

/// A rim along a contour.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RimParams {
    /// Intensity that is reached where the rim is full.
    pub mean: f32,
    /// Width; negative: outside the contour.
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

impl RimParams {
    pub(super) fn validate(&self) -> Result<()> {
        let field = "structures.rim";
        numbers(field, &[self.mean, self.directionality, self.beam])?;
        let widths = [self.width, self.softness];
        within(field, &widths, 1.0, "widths of at most 1")?;
        at_most("structures.rim.gaps", self.gaps.len(), 64, "at most 64")?;
        numbers("structures.rim.gaps", self.gaps.as_flattened())
    }
}
