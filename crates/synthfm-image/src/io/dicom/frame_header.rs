//! The header of each frame: where it lies, what its values mean, how it is to be shown.
//!
//! Plain files say it once; multi-frame files in functional groups (PS3.3, C.7.6.16), shared ones first, each frame's
//! own over them.

use std::sync::Arc;

use super::data_set::{DataSet, Tag};
use super::file::Header;
use super::repetitions::Moment;
use super::values::Kind;
use super::{tags, voi};
use crate::Result;
use crate::scan::Window;

/// Components of a normal below this are none.
const AXIAL: f64 = 1e-4;
/// Coordinates that differ less are the same.
const SAME_Z_MM: f64 = 1e-2;

/// Linear map from stored values to the modality's unit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Rescale {
    pub(super) slope: f64,
    pub(super) intercept: f64,
}

impl Rescale {
    pub(super) const NONE: Self = Self {
        slope: 1.0,
        intercept: 0.0,
    };
}

/// One frame.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct FrameHeader {
    /// Counted from 0 in its file.
    pub(super) index: usize,
    /// LPS millimetres of the first pixel.
    pub(super) position: Option<[f64; 3]>,
    /// Directions along a row and down a column.
    pub(super) orientation: Option<[f64; 6]>,
    /// Distance between rows, between columns.
    pub(super) spacing: Option<[f64; 2]>,
    pub(super) rescale: Rescale,
    /// Windows that are recommended, the first one first.
    pub(super) windows: Arc<[Window]>,
    /// Which of several images at one place it belongs to.
    pub(super) moment: Moment,
}

impl FrameHeader {
    /// The values that the data set states for all frames.
    fn of_file(header: &Header, dose_scaling: Option<f64>) -> Result<Self> {
        let root = &header.data;
        let dose = dose_scaling.map(|slope| Rescale {
            slope,
            intercept: 0.0,
        });
        Ok(Self {
            index: 0,
            position: root.decimals(tags::IMAGE_POSITION_PATIENT),
            orientation: root.decimals(tags::IMAGE_ORIENTATION_PATIENT),
            spacing: spacing(root),
            rescale: dose.or_else(|| rescale(root)).unwrap_or(Rescale::NONE),
            windows: voi::of_file(header)?,
            moment: Moment::of_file(root),
        })
    }

    /// The header with what a functional group says instead.
    fn with_group(&self, header: &Header, group: &DataSet) -> Result<Self> {
        let base = self.clone();
        Ok(Self {
            index: base.index,
            position: found(header, group, tags::PLANE_POSITION_SEQUENCE, |item| {
                item.decimals(tags::IMAGE_POSITION_PATIENT)
            })?
            .or(base.position),
            orientation: found(header, group, tags::PLANE_ORIENTATION_SEQUENCE, |item| {
                item.decimals(tags::IMAGE_ORIENTATION_PATIENT)
            })?
            .or(base.orientation),
            spacing: found(header, group, tags::PIXEL_MEASURES_SEQUENCE, spacing)?.or(base.spacing),
            rescale: found(
                header,
                group,
                tags::PIXEL_VALUE_TRANSFORMATION_SEQUENCE,
                rescale,
            )?
            .unwrap_or(base.rescale),
            windows: voi::of_group(header, group)?.unwrap_or(base.windows),
            moment: header.check(base.moment.with_group(group))?,
        })
    }
}

/// Distance between rows, between columns.
fn spacing(data: &DataSet) -> Option<[f64; 2]> {
    let spacing = data
        .decimals(tags::PIXEL_SPACING)
        .or_else(|| data.decimals(tags::IMAGER_PIXEL_SPACING));
    spacing.filter(|s: &[f64; 2]| s.iter().all(|&v| v > 0.0))
}

fn rescale(data: &DataSet) -> Option<Rescale> {
    let slope = data.number(tags::RESCALE_SLOPE, Kind::Text)?;
    let intercept = data.number(tags::RESCALE_INTERCEPT, Kind::Text);
    Some(Rescale {
        slope: if slope == 0.0 { 1.0 } else { slope },
        intercept: intercept.unwrap_or(0.0),
    })
}

/// What the item of a sequence of a group says.
fn found<'a, T>(
    header: &Header,
    group: &DataSet<'a>,
    sequence: Tag,
    read: impl Fn(&DataSet<'a>) -> Option<T>,
) -> Result<Option<T>> {
    let item = header.check(group.item_of(sequence))?;
    Ok(item.and_then(|item| read(&item)))
}

/// The `count` frames of a file; stored values are doses by `dose_scaling`.
pub(super) fn frames(
    header: &Header,
    count: usize,
    dose_scaling: Option<f64>,
) -> Result<Vec<FrameHeader>> {
    let root = &header.data;
    let shared = header.check(root.item_of(tags::SHARED_FUNCTIONAL_GROUPS))?;
    let own = header.check(root.items(tags::PER_FRAME_FUNCTIONAL_GROUPS))?;
    let offsets = root.numbers(tags::GRID_FRAME_OFFSET_VECTOR, Kind::Text);
    let mut base = FrameHeader::of_file(header, dose_scaling)?;
    if let Some(shared) = &shared {
        base = base.with_group(header, shared)?;
    }
    let reserved = super::super::pages::reserved(count);
    let mut frames = reserved.map_err(|e| super::file::io_error(header.path, e))?;
    for index in 0..count {
        let mut frame = match own.get(index) {
            Some(group) => base.with_group(header, group)?,
            None => base.clone(),
        };
        frame.index = index;
        if count > 1 && own.is_empty() {
            // The position is that of the first frame; RT doses say where the others lie.
            frame.position = shifted(&frame, &offsets, index);
        }
        frames.push(frame);
    }
    Ok(frames)
}

/// The position of a frame by the offsets of all (PS3.3, C.8.8.3.2).
///
/// They count from the position of the first frame along the normal, or, if the first of them is that position's z, are
/// coordinates along z.
fn shifted(frame: &FrameHeader, offsets: &[f64], index: usize) -> Option<[f64; 3]> {
    let (position, orientation) = (frame.position?, frame.orientation?);
    let (first, offset) = (offsets.first()?, offsets.get(index)?);
    let normal = super::geometry::normal(&orientation);
    let is_axial = normal[0].abs() < AXIAL && normal[1].abs() < AXIAL;
    if *first != 0.0 && is_axial && (first - position[2]).abs() < SAME_Z_MM {
        return Some([position[0], position[1], *offset]);
    }
    Some([0, 1, 2].map(|axis| position[axis] + (offset - first) * normal[axis]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_of_frames_are_distances_or_coordinates() {
        let frame = |orientation| FrameHeader {
            index: 0,
            position: Some([10.0, 20.0, -300.0]),
            orientation: Some(orientation),
            spacing: None,
            rescale: Rescale::NONE,
            windows: Arc::new([]),
            moment: Moment::default(),
        };
        let supine = frame([1.0, 0.0, 0.0, 0.0, 1.0, 0.0]);
        // The normal of a prone grid points to the feet.
        let prone = frame([1.0, 0.0, 0.0, 0.0, -1.0, 0.0]);
        let at = |z| Some([10.0, 20.0, z]);
        for (offsets, index, on_supine, on_prone) in [
            (&[0.0, 3.0, 6.0][..], 2, at(-294.0), at(-306.0)),
            (&[0.0, -3.0, -6.0], 1, at(-303.0), at(-297.0)),
            (&[-300.0, -297.0], 0, at(-300.0), at(-300.0)),
            (&[-300.0, -297.0], 1, at(-297.0), at(-297.0)),
            // Neither: distances whose origin lies elsewhere.
            (&[5.0, 8.0], 1, at(-297.0), at(-303.0)),
            (&[0.0], 1, None, None),
            (&[], 0, None, None),
        ] {
            assert_eq!(shifted(&supine, offsets, index), on_supine, "{offsets:?}");
            assert_eq!(shifted(&prone, offsets, index), on_prone, "{offsets:?}");
        }
        let coronal = frame([1.0, 0.0, 0.0, 0.0, 0.0, -1.0]);
        let moved = shifted(&coronal, &[-300.0, -297.0], 1);
        assert_eq!(moved, Some([10.0, 23.0, -300.0]));
    }
}
