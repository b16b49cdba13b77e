//! DICOM Segmentation objects in (PS3.3, A.51): binary, fractional and label-map frames as one volume of labels.
//!
//! Labels are the segments' numbers. Frames lie at their own positions; the volume spans those that occur, evenly
//! spaced, whether or not all of its slices have a frame. Where segments overlap the later frame wins, and that is
//! said. Fractional segmentations are cut at one half.

use std::path::Path;

use super::super::pages;
use super::data_set::DataSet;
use super::file::{Header, format_error, io_error, limit_error, with_header};
use super::frame_header::Rescale;
use super::frames::StoredFrames;
use super::geometry::{dot, normal};
use super::header::{self, FileHeader, Purpose};
use super::tags;
use super::values::Kind;
use crate::io::write::srgb;
use crate::{Error, LabelFile, LabelVolume, Result, Segment, Segmentation, VolumeGeometry};

/// Positions that differ less are the same.
const SAME_MM: f64 = 1e-2;
/// More slices than this between the first and the last position are a mistake in the header.
const MAX_SLICES: f64 = 65_535.0;

/// The header of a segmentation: its file's header, its segments, and the segment of every frame.
struct Description {
    file: FileHeader,
    segments: Vec<Segment>,
    /// Segment of every frame; `None` if pixels are segment numbers.
    frame_segments: Option<Vec<u16>>,
    /// Stored values from which a pixel belongs to its segment.
    threshold: f32,
    step_mm: Option<f64>,
}

/// Reads a segmentation; the second value says what could not be kept.
pub(in crate::io) fn read(path: &Path, limit: u64) -> Result<(Segmentation, Vec<String>)> {
    let read = with_header(path, limit, |header| describe(header, limit))?;
    let description = read.ok_or_else(|| format_error(path, "not a DICOM file"))?;
    let grid = Grid::of(path, &description, limit)?;
    let mut warnings = Vec::new();
    let labels = fill(&description, &grid, limit, &mut warnings)?;
    let segmentation = Segmentation {
        labels: LabelFile::Volume(labels),
        segments: description.segments,
    };
    Ok((segmentation, warnings))
}

fn describe(header: &Header, limit: u64) -> Result<Description> {
    let data = &header.data;
    let Some(file) = header::read(header, limit, Purpose::Segmentation)? else {
        return Err(header.unsupported(
            "labels in a DICOM object that is no segmentation; DICOM-SEG files can be read",
        ));
    };
    let kind = data.text(tags::SEGMENTATION_TYPE).unwrap_or_default();
    let is_label_map = kind == "LABELMAP";
    let most = data.number(tags::MAXIMUM_FRACTIONAL_VALUE, Kind::U16);
    let threshold = match kind.as_str() {
        "FRACTIONAL" => (most.unwrap_or(255.0) / 2.0) as f32,
        _ => 0.5,
    };
    let shared = header.check(data.item_of(tags::SHARED_FUNCTIONAL_GROUPS))?;
    let own = header.check(data.items(tags::PER_FRAME_FUNCTIONAL_GROUPS))?;
    let step_mm = match &shared {
        Some(shared) => header
            .check(shared.item_of(tags::PIXEL_MEASURES_SEQUENCE))?
            .and_then(|item| item.number(tags::SPACING_BETWEEN_SLICES, Kind::Text)),
        None => None,
    };
    let frame_segments = if is_label_map {
        None
    } else {
        let number = |group: Option<&DataSet>| match group {
            Some(group) => segment_number(header, group),
            None => Ok(None),
        };
        let mut all = Vec::with_capacity(file.frames.len());
        for index in 0..file.frames.len() {
            let found = match number(own.get(index))? {
                Some(found) => Some(found),
                None => number(shared.as_ref())?,
            };
            all.push(found.ok_or_else(|| {
                header.damaged(format!("frame {} belongs to no segment", index + 1))
            })?);
        }
        Some(all)
    };
    Ok(Description {
        segments: segments(header)?,
        file,
        frame_segments,
        threshold,
        step_mm: step_mm.filter(|&step| step > 0.0),
    })
}

fn segment_number(header: &Header, group: &DataSet) -> Result<Option<u16>> {
    let item = header.check(group.item_of(tags::SEGMENT_IDENTIFICATION_SEQUENCE))?;
    Ok(item.and_then(|item| item.u16(tags::REFERENCED_SEGMENT_NUMBER)))
}

fn segments(header: &Header) -> Result<Vec<Segment>> {
    let items = header.check(header.data.items(tags::SEGMENT_SEQUENCE))?;
    let segment = |item: &DataSet| {
        let label = item.u16(tags::SEGMENT_NUMBER).filter(|&label| label > 0)?;
        let name = item.text(tags::SEGMENT_LABEL);
        let mut segment = Segment::new(label, name.unwrap_or_else(|| format!("label_{label}")));
        let lab = item.numbers(tags::RECOMMENDED_DISPLAY_CIELAB, Kind::U16);
        if let &[l, a, b] = &lab[..] {
            segment.colour = srgb([l, a, b].map(|v| v as u16));
        }
        Some(segment)
    };
    Ok(items.iter().filter_map(segment).collect())
}

/// Where frames lie.
struct Grid {
    geometry: VolumeGeometry,
    /// Slice of every frame.
    slices: Vec<usize>,
}

impl Grid {
    fn of(path: &Path, description: &Description, limit: u64) -> Result<Self> {
        let file = &description.file;
        let frames = &file.frames;
        let orientation = frames[0].orientation;
        let placed = |orientation: &[f64; 6]| -> Option<Vec<f64>> {
            let normal = normal(orientation);
            frames
                .iter()
                .map(|f| f.position.map(|p| dot(p, normal)))
                .collect()
        };
        let along = orientation.as_ref().and_then(placed);
        let (Some(orientation), Some(along)) = (orientation, along) else {
            let spacing = frames[0].spacing.unwrap_or([1.0; 2]);
            let shape = [file.format.columns, file.format.rows, frames.len()];
            check_limit(path, shape, limit)?;
            let geometry = VolumeGeometry::with_spacing(shape, [spacing[1], spacing[0], 1.0])?;
            let slices = (0..frames.len()).collect();
            return Ok(Self { geometry, slices });
        };
        let mut sorted = along.clone();
        sorted.sort_by(f64::total_cmp);
        let (first, last) = (sorted[0], sorted[sorted.len() - 1]);
        let count = slice_count(&sorted, description.step_mm);
        if !count.is_finite() || count > MAX_SLICES {
            let problem = format!("{count} slices between the first and the last frame");
            return Err(format_error(path, problem));
        }
        let count = count as usize;
        let step = if count > 1 {
            (last - first) / (count - 1) as f64
        } else {
            description.step_mm.unwrap_or(1.0)
        };
        let slice = |at: f64| (((at - first) / step).round() as usize).min(count - 1);
        let lowest = along.iter().position(|&at| at <= first).unwrap_or(0);
        let position = frames[lowest].position.unwrap_or_default();
        let shape = [file.format.columns, file.format.rows, count];
        check_limit(path, shape, limit)?;
        let spacing = frames[0].spacing.unwrap_or([1.0; 2]);
        let geometry = affine(&orientation, spacing, step, position);
        Ok(Self {
            geometry: VolumeGeometry::new(shape, geometry)
                .map_err(|error| format_error(path, error.to_string()))?,
            slices: along.into_iter().map(slice).collect(),
        })
    }
}

/// Slices from the first to the last of the positions, which ascend. Slices without a segment may have no frame: the
/// stated spacing counts where it fits every gap, otherwise the smallest gap does.
fn slice_count(positions: &[f64], stated_mm: Option<f64>) -> f64 {
    let gaps = positions.windows(2).map(|pair| pair[1] - pair[0]);
    let gaps: Vec<f64> = gaps.filter(|&gap| gap > SAME_MM).collect();
    let [Some(first), Some(last)] = [positions.first(), positions.last()] else {
        return 0.0;
    };
    let smallest = gaps.iter().copied().fold(f64::INFINITY, f64::min);
    let fits = |step: f64| {
        let off = |gap: f64| ((gap / step).round() * step - gap).abs();
        step > SAME_MM && step < smallest + SAME_MM && gaps.iter().all(|&gap| off(gap) < SAME_MM)
    };
    if smallest.is_finite() {
        let step = stated_mm.filter(|&step| fits(step)).unwrap_or(smallest);
        ((last - first) / step).round() + 1.0
    } else {
        1.0
    }
}

fn affine(
    orientation: &[f64; 6],
    [row_spacing, column_spacing]: [f64; 2],
    step: f64,
    position: [f64; 3],
) -> [[f64; 4]; 3] {
    let normal = normal(orientation);
    [0, 1, 2].map(|axis| {
        [
            orientation[axis] * column_spacing,
            orientation[axis + 3] * row_spacing,
            normal[axis] * step,
            position[axis],
        ]
    })
}

fn check_limit(path: &Path, shape: [usize; 3], limit: u64) -> Result<()> {
    let voxels = shape.iter().try_fold(1u64, |n, &d| n.checked_mul(d as u64));
    let bytes = voxels.and_then(|n| n.checked_mul(2));
    match bytes {
        Some(bytes) if bytes <= limit => Ok(()),
        _ => Err(limit_error(path, bytes, limit)),
    }
}

fn fill(
    description: &Description,
    grid: &Grid,
    limit: u64,
    warnings: &mut Vec<String>,
) -> Result<LabelVolume> {
    let file = &description.file;
    if file.format.is_colour() {
        return Err(Error::Unsupported {
            path: file.path.clone(),
            problem: "a segmentation in colours".to_owned(),
        });
    }
    let pixels = file.format.pixels();
    // Two bytes of a label for every voxel, and one frame of values.
    let taken = (2 * grid.geometry.len() + 4 * pixels) as u64;
    let working = file.working_bytes();
    if taken.saturating_add(working) > limit {
        return Err(limit_error(&file.path, taken.checked_add(working), limit));
    }
    let stored = StoredFrames::open(file, limit - taken, limit)?;
    let mut buffer = Vec::new();
    let io = |error| io_error(&file.path, error);
    let labels = pages::try_zeroed(grid.geometry.len()).map_err(io)?;
    let mut labels = LabelVolume::new(grid.geometry.clone(), labels)?;
    let mut values = pages::try_zeroed(pixels).map_err(io)?;
    let mut overlapping = 0usize;
    for (index, &slice) in grid.slices.iter().enumerate() {
        let mut frame = file.frames[index].clone();
        frame.rescale = Rescale::NONE;
        stored.grey(&frame, &mut buffer, &mut values)?;
        let places = &mut labels.data_mut()[slice * pixels..][..pixels];
        let segment = description.frame_segments.as_ref().map(|all| all[index]);
        for (place, &value) in places.iter_mut().zip(&values) {
            let label = match segment {
                Some(segment) if value > description.threshold => segment,
                Some(_) => 0,
                None => value as u16,
            };
            if label != 0 {
                overlapping += usize::from(*place != 0 && *place != label);
                *place = label;
            }
        }
    }
    if overlapping > 0 {
        warnings.push(format!(
            "segments overlap in {overlapping} voxels: the later one was kept there"
        ));
    }
    Ok(labels)
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "counts are whole")]
mod tests {
    use super::*;

    #[test]
    fn slices_without_a_frame_are_counted() {
        // Two frames, an empty slice between them.
        assert_eq!(slice_count(&[-177.75, -172.75], Some(2.5)), 3.0);
        assert_eq!(slice_count(&[-177.75, -172.75], None), 2.0);
        // Two segments in the first slice; 2 mm and 4 mm.
        assert_eq!(slice_count(&[0.0, 0.0, 2.0, 6.0], None), 4.0);
        assert_eq!(slice_count(&[0.0, 0.0, 2.0, 6.0], Some(2.0)), 4.0);
        // A spacing that does not fit the positions is a mistake.
        assert_eq!(slice_count(&[0.0, 2.0, 4.0], Some(3.0)), 3.0);
        assert_eq!(slice_count(&[0.0, 2.0, 4.0], Some(1.5)), 3.0);
        assert_eq!(slice_count(&[0.0, 2.0, 4.0], Some(1e-9)), 3.0);
        assert_eq!(slice_count(&[5.0, 5.0], Some(2.5)), 1.0);
        assert_eq!(slice_count(&[5.0], None), 1.0);
    }
}
