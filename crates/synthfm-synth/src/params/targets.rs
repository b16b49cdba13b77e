//! Which structures and regions become targets.

use serde::{Deserialize, Serialize};

use super::SegmentParams;
use crate::Result;
use crate::check::{at_most, numbers};

/// Kind of a target.
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
    /// A segment of the rendered image.
    Segment,
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
    /// Those where anything of its kind that lies in nothing else is on top, as far as they hang together: a clump of
    /// touching cells, or the net that the walls of packed fibres form.
    Clump,
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
    /// Least visibility of its boundary; 0 keeps all.
    pub min_visibility: f32,
    /// Region indices of the label map that are targets, by connected component.
    pub regions: Vec<u16>,
    /// Segments of the rendered image that are targets, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub segments: Option<SegmentParams>,
}

impl TargetParams {
    pub(super) fn validate(&self) -> Result<()> {
        numbers(
            "targets",
            &[self.min_area, self.max_area, self.min_visibility],
        )?;
        at_most("targets.regions", self.regions.len(), 256, "at most 256")?;
        let segments = self.segments.as_ref();
        segments.map_or(Ok(()), SegmentParams::validate)?;
        at_most(
            "targets.max_count",
            self.max_count as usize,
            256,
            "at most 256",
        )
    }
}
