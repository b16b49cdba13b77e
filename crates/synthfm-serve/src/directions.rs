//! How the slices of a volume lie in its array and in the patient.

use synthfm_image::{Plane, VolumeGeometry};

/// Share of an axis' length beyond which a patient axis is named beside the nearest one: about 15 degrees.
const OBLIQUE: f64 = 0.25;
/// Letters of the patient's axes: towards positive, towards negative.
const LETTERS: [[char; 2]; 3] = [['L', 'R'], ['P', 'A'], ['S', 'I']];

/// Array indices of the first pixel of slice 0 of a plane.
pub(super) fn first_voxel(grid: &VolumeGeometry, plane: Plane) -> [usize; 3] {
    voxel_of(grid, plane, 0)
}

/// How array indices change from a column to the next, from a row to the next, and from a slice to the next.
pub(super) fn voxel_steps(grid: &VolumeGeometry, plane: Plane) -> [[i64; 3]; 3] {
    let size = grid.slice_size(plane);
    let first = first_voxel(grid, plane);
    let step_to = |pixel: usize| {
        let there = voxel_of(grid, plane, pixel);
        [0, 1, 2].map(|axis| there[axis] as i64 - first[axis] as i64)
    };
    let mut slices = [0; 3];
    slices[grid.slice_axis(plane)] = 1;
    let column = if size.width > 1 { step_to(1) } else { [0; 3] };
    let row = if size.height > 1 {
        step_to(size.width)
    } else {
        [0; 3]
    };
    [column, row, slices]
}

/// Where the left, right, upper and lower edge of a plane's slices lead in the patient: L, R, P, A, S or I, with further
/// letters where the axis is oblique by more than about 15 degrees.
pub fn edge_letters(grid: &VolumeGeometry, plane: Plane) -> [String; 4] {
    let [column, row, _] = voxel_steps(grid, plane);
    let [right, lower] = [column, row].map(|step| in_patient(grid, step));
    let opposite = |direction: [f64; 3]| direction.map(|v| -v);
    [opposite(right), right, opposite(lower), lower].map(named)
}

/// A step through the array in millimetres of the patient.
fn in_patient(grid: &VolumeGeometry, step: [i64; 3]) -> [f64; 3] {
    let rows = grid.patient_from_voxel();
    rows.map(|row| (0..3).map(|axis| row[axis] * step[axis] as f64).sum())
}

/// The letters of a direction, the nearest axis first.
fn named(direction: [f64; 3]) -> String {
    let length = direction.iter().map(|v| v * v).sum::<f64>().sqrt();
    let mut axes = [0, 1, 2];
    axes.sort_by(|&a, &b| direction[b].abs().total_cmp(&direction[a].abs()));
    let shares = axes.map(|axis| (axis, direction[axis] / length));
    let near = |(n, (_, share)): &(usize, (usize, f64))| {
        share.is_finite() && (*n == 0 || share.abs() >= OBLIQUE)
    };
    let letter =
        |(_, (axis, share)): (usize, (usize, f64))| LETTERS[axis][usize::from(share < 0.0)];
    shares
        .into_iter()
        .enumerate()
        .filter(near)
        .map(letter)
        .collect()
}

/// Array indices of a pixel, counted row by row, of slice 0.
fn voxel_of(grid: &VolumeGeometry, plane: Plane, pixel: usize) -> [usize; 3] {
    let [ni, nj, _] = grid.shape();
    let at = grid
        .slice_voxels(plane, 0)
        .ok()
        .and_then(|mut voxels| voxels.nth(pixel));
    let at = at.unwrap_or_default();
    [
        at % ni.max(1),
        at / ni.max(1) % nj.max(1),
        at / (ni * nj).max(1),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid(columns: [[f64; 3]; 3]) -> VolumeGeometry {
        let affine = [0, 1, 2].map(|row| [columns[0][row], columns[1][row], columns[2][row], 0.0]);
        VolumeGeometry::new([3, 4, 5], affine).unwrap()
    }

    fn axial(columns: [[f64; 3]; 3]) -> [String; 4] {
        edge_letters(&grid(columns), Plane::Axial)
    }

    #[test]
    fn views_are_radiological_whatever_the_array() {
        let lps = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 2.0]];
        let ras = [[-1.0, 0.0, 0.0], [0.0, -1.0, 0.0], [0.0, 0.0, 2.0]];
        for columns in [lps, ras] {
            assert_eq!(axial(columns), ["R", "L", "A", "P"]);
            let coronal = edge_letters(&grid(columns), Plane::Coronal);
            assert_eq!(coronal, ["R", "L", "S", "I"]);
            let sagittal = edge_letters(&grid(columns), Plane::Sagittal);
            assert_eq!(sagittal, ["A", "P", "S", "I"]);
        }
        assert_eq!(first_voxel(&grid(lps), Plane::Axial), [0, 0, 0]);
        assert_eq!(first_voxel(&grid(ras), Plane::Axial), [2, 3, 0]);
        assert_eq!(
            voxel_steps(&grid(ras), Plane::Axial),
            [[-1, 0, 0], [0, -1, 0], [0, 0, 1]]
        );
        assert_eq!(first_voxel(&grid(lps), Plane::Coronal), [0, 0, 4]);
        assert_eq!(
            voxel_steps(&grid(lps), Plane::Coronal),
            [[1, 0, 0], [0, 0, -1], [0, 1, 0]]
        );
    }

    #[test]
    fn oblique_axes_have_more_letters() {
        // Turned by 30 degrees around the axis to the head: columns lead to the left and back.
        let (c, s) = (0.75f64.sqrt(), 0.5);
        let turned = [[c, s, 0.0], [-s, c, 0.0], [0.0, 0.0, 2.0]];
        assert_eq!(axial(turned), ["RA", "LP", "AL", "PR"]);
        // By 10 degrees: the second axis is too weak to be named.
        let (s, c) = 10f64.to_radians().sin_cos();
        let little = [[c, s, 0.0], [-s, c, 0.0], [0.0, 0.0, 2.0]];
        assert_eq!(axial(little), ["R", "L", "A", "P"]);
    }

    #[test]
    fn a_single_column_has_no_direction() {
        let grid = VolumeGeometry::with_spacing([1, 4, 5], [1.0; 3]).unwrap();
        assert_eq!(edge_letters(&grid, Plane::Axial), ["", "", "A", "P"]);
    }
}
