//! From the positions of frames to a stack: their order, the affine, and what is uneven about them (PS3.3, C.7.6.2).
//!
//! Array axes are `i` along the rows, `j` down the columns, `k` from frame to frame along the normal, as in ITK. The
//! step from frame to frame is that of the positions, so that a stack of a tilted gantry keeps its shear.

use super::frame_header::FrameHeader;
use crate::{Result, VolumeGeometry};

/// Relative deviation from the usual distance that rounding in a header explains.
const UNEVEN: f64 = 0.01;
/// Deviation from the usual distance that rounding in a header explains, in millimetres.
const ROUNDING_MM: f64 = 0.005;
/// Distances above this multiple of the usual one are gaps.
const GAP: f64 = 1.5;
/// Angle between the normal and the way from frame to frame that counts as a tilt.
const TILT_DEGREES: f64 = 0.5;

/// The normal of a plane: along rows times down columns.
pub(super) fn normal(orientation: &[f64; 6]) -> [f64; 3] {
    let [a, b, c, d, e, f] = *orientation;
    [b * f - c * e, c * d - a * f, a * e - b * d]
}

pub(super) fn dot(a: [f64; 3], b: [f64; 3]) -> f64 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

fn minus(a: [f64; 3], b: [f64; 3]) -> [f64; 3] {
    [a[0] - b[0], a[1] - b[1], a[2] - b[2]]
}

fn length(a: [f64; 3]) -> f64 {
    dot(a, a).sqrt()
}

/// Position of a frame along its normal.
pub(super) fn along_normal(frame: &FrameHeader) -> Option<f64> {
    let (position, orientation) = (frame.position?, frame.orientation?);
    let along = dot(position, normal(&orientation));
    along.is_finite().then_some(along)
}

/// Geometry of frames that are in their order, with what a user should know about it.
pub(super) struct Placed {
    pub(super) geometry: VolumeGeometry,
    /// Whether positions in the patient are known.
    pub(super) in_patient: bool,
    /// Slices that follow a gap, with its width.
    pub(super) gaps: Vec<(usize, f64)>,
    pub(super) warnings: Vec<String>,
}

/// Places frames of one size and orientation, sorted along their normal; `step_mm` is the distance of frames whose
/// positions are unknown.
pub(super) fn place(
    frames: &[&FrameHeader],
    size: [usize; 2],
    step_mm: Option<f64>,
    spacing: Option<[f64; 2]>,
) -> Result<Placed> {
    let [rows, columns] = size;
    let shape = [columns, rows, frames.len()];
    let known = spacing.is_some();
    let [row_spacing, column_spacing] = spacing.unwrap_or([1.0; 2]);
    let mut warnings = Vec::new();
    if !known {
        warnings.push("the distance between pixels is unknown: taken as 1 mm".to_owned());
    }
    let positions: Option<Vec<[f64; 3]>> = frames.iter().map(|frame| frame.position).collect();
    let (Some(positions), Some(orientation)) = (positions, frames[0].orientation) else {
        if frames.len() > 1 {
            warnings.push(
                "the frames have no positions in the patient: taken in the order of their numbers, which may be times"
                    .to_owned(),
            );
        }
        let steps = [column_spacing, row_spacing, step_mm.unwrap_or(1.0)];
        return Ok(Placed {
            geometry: VolumeGeometry::with_spacing(shape, steps)?,
            in_patient: false,
            gaps: Vec::new(),
            warnings,
        });
    };
    let normal = normal(&orientation);
    let first = positions[0];
    let last = positions[positions.len() - 1];
    let step = if positions.len() > 1 {
        let count = (positions.len() - 1) as f64;
        minus(last, first).map(|v| v / count)
    } else {
        normal.map(|v| v * step_mm.unwrap_or(1.0))
    };
    warnings.extend(tilt(normal, step));
    let gaps = uneven(&positions, normal, &mut warnings);
    let [a, b, c, d, e, f] = orientation;
    let (along_row, down_column) = ([a, b, c], [d, e, f]);
    let affine = [0, 1, 2].map(|axis| {
        [
            along_row[axis] * column_spacing,
            down_column[axis] * row_spacing,
            step[axis],
            first[axis],
        ]
    });
    Ok(Placed {
        geometry: VolumeGeometry::new(shape, affine)?,
        in_patient: true,
        gaps,
        warnings,
    })
}

fn tilt(normal: [f64; 3], step: [f64; 3]) -> Option<String> {
    let cosine = dot(normal, step).abs() / (length(normal) * length(step));
    let degrees = cosine.clamp(0.0, 1.0).acos().to_degrees();
    (degrees > TILT_DEGREES).then(|| {
        format!(
            "the slices are sheared by {degrees:.1} degrees (a tilted gantry): the affine keeps it, but formats without \
             shear, such as MetaImage, cannot"
        )
    })
}

/// Warns of distances that differ; returns the gaps.
fn uneven(
    positions: &[[f64; 3]],
    normal: [f64; 3],
    warnings: &mut Vec<String>,
) -> Vec<(usize, f64)> {
    let along: Vec<f64> = positions.iter().map(|&p| dot(p, normal)).collect();
    let steps: Vec<f64> = along.windows(2).map(|pair| pair[1] - pair[0]).collect();
    if steps.len() < 2 {
        return Vec::new();
    }
    let mut sorted = steps.clone();
    sorted.sort_by(f64::total_cmp);
    let usual = sorted[(sorted.len() - 1) / 2];
    let gaps: Vec<(usize, f64)> = steps
        .iter()
        .enumerate()
        .filter(|&(_, &step)| step > GAP * usual)
        .map(|(k, &step)| (k + 1, step))
        .collect();
    let missing: f64 = gaps
        .iter()
        .map(|(_, step)| (step / usual).round() - 1.0)
        .sum();
    if let Some((k, step)) = gaps.first() {
        warnings.push(format!(
            "about {missing} slices are missing: slice {k} lies {step:.2} mm after the one before, others {usual:.2} mm \
             ({} gaps in all); the slices are treated as evenly spaced",
            gaps.len()
        ));
    }
    let tolerance = (UNEVEN * usual).max(ROUNDING_MM);
    let off = steps
        .iter()
        .filter(|&&s| (s - usual).abs() > tolerance)
        .count();
    if off > gaps.len() {
        let (least, most) = (sorted[0], sorted[sorted.len() - 1]);
        warnings.push(format!(
            "the slices lie unevenly, {least:.3} to {most:.3} mm apart: they are treated as evenly spaced"
        ));
    }
    gaps
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "these values are exact")]
mod tests {
    use super::*;
    use crate::io::dicom::frame_header::Rescale;

    fn frame(position: [f64; 3], orientation: [f64; 6]) -> FrameHeader {
        FrameHeader {
            index: 0,
            position: Some(position),
            orientation: Some(orientation),
            spacing: None,
            rescale: Rescale::NONE,
            windows: std::sync::Arc::new([]),
            moment: crate::io::dicom::repetitions::Moment::default(),
        }
    }

    const AXIAL: [f64; 6] = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0];

    fn placed(positions: &[[f64; 3]], orientation: [f64; 6]) -> Placed {
        let frames: Vec<FrameHeader> = positions.iter().map(|&p| frame(p, orientation)).collect();
        let frames: Vec<&FrameHeader> = frames.iter().collect();
        place(&frames, [4, 5], Some(3.0), Some([0.5, 2.0])).unwrap()
    }

    /// Rows run down the patient's back, columns to the feet: a sagittal stack with unequal spacing.
    #[test]
    fn axes_are_columns_rows_and_normal() {
        let sagittal = [0.0, 1.0, 0.0, 0.0, 0.0, -1.0];
        let stack = placed(&[[7.0, 8.0, 9.0], [4.0, 8.0, 9.0]], sagittal);
        assert_eq!(
            stack.geometry.patient_from_voxel(),
            [
                [0.0, 0.0, -3.0, 7.0],
                [2.0, 0.0, 0.0, 8.0],
                [0.0, -0.5, 0.0, 9.0]
            ]
        );
        assert_eq!(stack.geometry.shape(), [5, 4, 2]);
        assert!(stack.warnings.is_empty());
    }

    #[test]
    fn gaps_and_uneven_distances_are_told() {
        let at = |z: f64| [0.0, 0.0, z];
        let even = placed(&[0.0, 2.5, 5.001, 7.5].map(at), AXIAL);
        assert!(even.warnings.is_empty(), "{:?}", even.warnings);
        let gap = placed(&[0.0, 2.5, 5.0, 12.5, 15.0].map(at), AXIAL);
        assert_eq!(gap.gaps, [(3, 7.5)]);
        assert!(gap.warnings[0].contains("about 2 slices are missing"));
        assert_eq!(gap.warnings.len(), 1);
        let uneven = placed(&[0.0, 2.5, 5.3, 7.5].map(at), AXIAL);
        assert!(
            uneven.warnings[0].contains("unevenly"),
            "{:?}",
            uneven.warnings
        );
    }

    #[test]
    fn a_tilted_gantry_shears_the_affine() {
        let tilted = placed(&[[0.0, 0.0, 0.0], [0.0, 1.0, 5.0], [0.0, 2.0, 10.0]], AXIAL);
        let affine = tilted.geometry.patient_from_voxel();
        assert_eq!(affine.map(|row| row[2]), [0.0, 1.0, 5.0]);
        assert!(tilted.warnings[0].contains("sheared by 11.3 degrees"));
    }

    #[test]
    fn a_single_slice_has_its_thickness() {
        let single = placed(&[[1.0, 2.0, 3.0]], AXIAL);
        assert_eq!(single.geometry.spacing_mm(), [2.0, 0.5, 3.0]);
    }
}
