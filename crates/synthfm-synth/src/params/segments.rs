//! Targets that are segments of the rendered image.

use serde::{Deserialize, Serialize};

use crate::Result;
use crate::check::{at_most, check, within};

/// Segmentation of the rendered image (Felzenszwalb and Huttenlocher 2004), and which segments become targets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SegmentParams {
    /// The paper's `k` for grey values from 0 to 1: the larger, the larger are segments.
    pub scale: f32,
    /// Blur before the segmentation (standard deviation), in pixels of the grid that is segmented.
    pub sigma_px: f32,
    /// Smallest segment as a share of the image; never below 32 pixels.
    pub min_area: f32,
    /// Most targets that are segments.
    pub count: u32,
    /// Candidates in the order in which they are tried.
    pub picks: Vec<SegmentPick>,
}

/// One candidate: a segment, by two numbers from 0 to 1, and how many neighbours are merged with it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SegmentPick {
    /// Which octave of size, among those that segments of the image have.
    pub octave: f32,
    /// Which segment of that octave, in the order of their first pixels.
    pub position: f32,
    /// Number of neighbours merged with it, each time the one of most similar mean.
    pub merged: u8,
}

impl SegmentParams {
    pub(super) fn validate(&self) -> Result<()> {
        let field = "targets.segments";
        let ok = (1e-4..=100.0).contains(&self.scale);
        check(
            ok,
            field,
            "a scale from 0.0001 to 100",
            self.scale.to_string(),
        )?;
        let numbers = [self.sigma_px, self.min_area];
        within(field, &numbers, 20.0, "a blur of at most 20 pixels")?;
        at_most(field, self.picks.len(), 256, "at most 256 candidates")?;
        at_most(field, self.count as usize, 256, "at most 256 targets")?;
        for pick in &self.picks {
            let ok = [pick.octave, pick.position]
                .iter()
                .all(|number| (0.0..=1.0).contains(number));
            check(ok, field, "numbers from 0 to 1", format!("{pick:?}"))?;
            at_most(field, usize::from(pick.merged), 8, "at most 8 neighbours")?;
        }
        Ok(())
    }
}
