//! Labels on the grid of their image, by the places that both state in the patient.
//! Each voxel of the image takes the label of the nearest voxel there, none outside; never another interpolation,
//! because labels are names. Only for DICOM series, whose converted labels come with slices in another order or axes
//! turned; everywhere else different sizes are an error.

use synthfm_image::{LabelVolume, VolumeGeometry};

use crate::Result;

/// `labels` on the grid `target`; `None` if the axes of the labels span no space.
pub(super) fn on_grid(
    labels: &LabelVolume,
    target: &VolumeGeometry,
) -> Result<Option<LabelVolume>> {
    let Some(voxel_from_voxel) = between(labels.geometry(), target) else {
        return Ok(None);
    };
    let [ni, nj, nk] = target.shape();
    let [mi, mj, mk] = labels.geometry().shape();
    let mut data = Vec::with_capacity(target.len());
    for k in 0..nk {
        for j in 0..nj {
            for i in 0..ni {
                let at = voxel_from_voxel.map(|[x, y, z, t]| {
                    (x * i as f64 + y * j as f64 + z * k as f64 + t + 0.5).floor()
                });
                let inside = |v: f64, n: usize| v >= 0.0 && v < n as f64;
                let known = inside(at[0], mi) && inside(at[1], mj) && inside(at[2], mk);
                let [a, b, c] = at.map(|v| v.max(0.0) as usize);
                data.push(if known {
                    labels.data()[(c * mj + b) * mi + a]
                } else {
                    0
                });
            }
        }
    }
    Ok(Some(LabelVolume::new(target.clone(), data)?))
}

/// Whether two grids are the same.
pub(super) fn same(a: &VolumeGeometry, b: &VolumeGeometry) -> bool {
    let rows = a.patient_from_voxel().into_iter().flatten();
    let differs = rows
        .zip(b.patient_from_voxel().into_iter().flatten())
        .any(|(a, b)| (a - b).abs() > 1e-3 * (1.0 + a.abs()));
    a.shape() == b.shape() && !differs
}

/// Voxels of `source` from voxels of `target`: the inverse of the one affine map after the other.
fn between(source: &VolumeGeometry, target: &VolumeGeometry) -> Option<[[f64; 4]; 3]> {
    let (s, t) = (source.patient_from_voxel(), target.patient_from_voxel());
    let cofactor = |row: usize, col: usize| {
        let (r, c) = (
            [(row + 1) % 3, (row + 2) % 3],
            [(col + 1) % 3, (col + 2) % 3],
        );
        s[r[0]][c[0]] * s[r[1]][c[1]] - s[r[0]][c[1]] * s[r[1]][c[0]]
    };
    let determinant: f64 = (0..3).map(|col| s[0][col] * cofactor(0, col)).sum();
    if !(determinant.is_finite() && determinant.abs() > 1e-12) {
        return None;
    }
    let mut map = [[0.0; 4]; 3];
    for (row, line) in map.iter_mut().enumerate() {
        for (col, value) in line.iter_mut().enumerate() {
            *value = (0..3)
                .map(|m| {
                    let shift = if col == 3 { s[m][3] } else { 0.0 };
                    cofactor(m, row) / determinant * (t[m][col] - shift)
                })
                .sum();
        }
    }
    Some(map)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turned_and_shifted_labels_are_found_again() {
        // Two columns, three rows, four slices of 1 x 2 x 3 mm.
        let target = VolumeGeometry::with_spacing([2, 3, 4], [1.0, 2.0, 3.0]).unwrap();
        // The same voxels with columns from the right, slices from the top, and one slice more.
        let affine = [
            [-1.0, 0.0, 0.0, 1.0],
            [0.0, 2.0, 0.0, 0.0],
            [0.0, 0.0, -3.0, 12.0],
        ];
        let turned = VolumeGeometry::new([2, 3, 5], affine).unwrap();
        let values: Vec<u16> = (0..30).collect();
        let labels = LabelVolume::new(turned.clone(), values).unwrap();
        assert!(!same(&turned, &target) && same(&target, &target.clone()));
        let found = on_grid(&labels, &target).unwrap().unwrap();
        for k in 0..4 {
            for j in 0..3 {
                for i in 0..2 {
                    let own = found.data()[(k * 3 + j) * 2 + i];
                    let expected = ((4 - k) * 3 + j) * 2 + (1 - i);
                    assert_eq!(usize::from(own), expected, "{i} {j} {k}");
                }
            }
        }
        // Half a voxel further there is nothing.
        let far = [
            [-1.0, 0.0, 0.0, 100.0],
            [0.0, 2.0, 0.0, 0.0],
            [0.0, 0.0, -3.0, 12.0],
        ];
        let far = VolumeGeometry::new([2, 3, 5], far).unwrap();
        let labels = LabelVolume::new(far, vec![7; 30]).unwrap();
        let found = on_grid(&labels, &target).unwrap().unwrap();
        assert!(found.data().iter().all(|&label| label == 0));
    }
}
