//! Where the voxels of a volume lie in the patient.
//!
//! `patient_from_voxel` maps array indices `(i, j, k)` to LPS millimetres (x to the patient's left,
//! y to the back, z to the head), as DICOM and ITK do. NIfTI's RAS differs by the sign of its first
//! two rows, which loses no bit.

use crate::{Error, Result};

/// Letters of the three patient axes: towards positive, towards negative.
const LETTERS: [[char; 2]; 3] = [['L', 'R'], ['P', 'A'], ['S', 'I']];

/// Shape of a volume and the map from its indices to the patient.
#[derive(Debug, Clone, PartialEq)]
pub struct VolumeGeometry {
    shape: [usize; 3],
    patient_from_voxel: [[f64; 4]; 3],
    pub(crate) nifti: Option<Box<NiftiForms>>,
    states_place: bool,
}

/// The fields of a NIfTI header that place the volume, bit for bit, so that a mask written on the
/// grid of its input has exactly the geometry of the input.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct NiftiForms {
    pub(crate) pixdim: [f32; 4],
    pub(crate) qform_code: i16,
    pub(crate) sform_code: i16,
    /// b, c, d, x, y, z.
    pub(crate) quaternion: [f32; 6],
    pub(crate) srow: [[f32; 4]; 3],
}

impl VolumeGeometry {
    /// A volume of `shape` `[i, j, k]` placed by `patient_from_voxel` (LPS mm, one row per patient
    /// axis, the offset last). Fails if the map is not finite or not invertible, or if the number
    /// of voxels overflows.
    pub fn new(shape: [usize; 3], patient_from_voxel: [[f64; 4]; 3]) -> Result<Self> {
        let voxels = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
        if voxels.is_none() {
            return Err(Error::Parameter(format!("{shape:?} voxels are too many")));
        }
        let geometry = Self {
            shape,
            patient_from_voxel,
            nifti: None,
            states_place: true,
        };
        let spacing = geometry.spacing_mm();
        let usable = spacing.iter().all(|&s| s.is_finite() && s > 0.0)
            && patient_from_voxel.iter().all(|row| row[3].is_finite())
            && geometry.directions_are_independent();
        if !usable {
            return Err(Error::Parameter(format!(
                "the map from voxels to the patient is not invertible: {patient_from_voxel:?}"
            )));
        }
        Ok(geometry)
    }

    /// A volume whose axes point left, back and up (`LPS`), its first voxel at the origin.
    pub fn with_spacing(shape: [usize; 3], spacing_mm: [f64; 3]) -> Result<Self> {
        let mut affine = [[0.0; 4]; 3];
        for (axis, &spacing) in spacing_mm.iter().enumerate() {
            affine[axis][axis] = spacing;
        }
        Self::new(shape, affine)
    }

    /// The grid of a file that does not say where it lies in the patient.
    #[must_use]
    pub const fn without_place(mut self) -> Self {
        self.states_place = false;
        self
    }

    /// Whether the file says where the volume lies in the patient. If not, axes point left, back and up by convention.
    pub const fn states_place(&self) -> bool {
        self.states_place
    }

    /// Voxels along `i`, `j`, `k`; `i` is the fastest in memory.
    pub const fn shape(&self) -> [usize; 3] {
        self.shape
    }

    /// Number of voxels.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether there is no voxel.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// LPS millimetres of a voxel: rows are patient axes, columns `i`, `j`, `k` and the offset.
    pub const fn patient_from_voxel(&self) -> [[f64; 4]; 3] {
        self.patient_from_voxel
    }

    /// LPS millimetres of array indices `[i, j, k]`; whole numbers are centres of voxels.
    pub fn patient_of_voxel(&self, voxel: [f64; 3]) -> [f64; 3] {
        self.patient_from_voxel.map(|row| {
            let along = (0..3).map(|axis| row[axis] * voxel[axis]);
            along.sum::<f64>() + row[3]
        })
    }

    /// Array indices `[i, j, k]` of a place in LPS millimetres, the inverse of [`Self::patient_of_voxel`].
    pub fn voxel_of_patient(&self, place_mm: [f64; 3]) -> [f64; 3] {
        let from_origin = [0, 1, 2].map(|axis| place_mm[axis] - self.patient_from_voxel[axis][3]);
        self.voxel_from_mm().map(|row| {
            let along = (0..3).map(|axis| row[axis] * from_origin[axis]);
            along.sum()
        })
    }

    /// Steps along `i`, `j`, `k` per millimetre along the patient's axes: the inverse of the affine without its offset.
    pub(super) fn voxel_from_mm(&self) -> [[f64; 3]; 3] {
        let m = self.patient_from_voxel;
        let cofactor = |row: usize, col: usize| {
            let rows = [(row + 1) % 3, (row + 2) % 3];
            let cols = [(col + 1) % 3, (col + 2) % 3];
            m[rows[0]][cols[0]] * m[rows[1]][cols[1]] - m[rows[0]][cols[1]] * m[rows[1]][cols[0]]
        };
        // Not 0: a geometry's axes are independent.
        let determinant: f64 = (0..3).map(|col| m[0][col] * cofactor(0, col)).sum();
        [0, 1, 2].map(|row| [0, 1, 2].map(|col| cofactor(col, row) / determinant))
    }

    /// Distance between neighbouring voxels along `i`, `j`, `k`.
    pub fn spacing_mm(&self) -> [f64; 3] {
        [0, 1, 2].map(|axis| {
            let column = self.patient_from_voxel.map(|row| row[axis]);
            column.iter().map(|v| v * v).sum::<f64>().sqrt()
        })
    }

    /// Unit vectors of the array axes in the patient, one row per array axis.
    fn directions(&self) -> [[f64; 3]; 3] {
        let spacing = self.spacing_mm();
        [0, 1, 2].map(|axis| self.patient_from_voxel.map(|row| row[axis] / spacing[axis]))
    }

    fn directions_are_independent(&self) -> bool {
        let [a, b, c] = self.directions();
        let cross = |u: [f64; 3], v: [f64; 3]| {
            [
                u[1] * v[2] - u[2] * v[1],
                u[2] * v[0] - u[0] * v[2],
                u[0] * v[1] - u[1] * v[0],
            ]
        };
        let determinant: f64 = cross(a, b).iter().zip(c).map(|(u, v)| u * v).sum();
        determinant.abs() > 1e-6
    }

    /// Patient axis (0 left, 1 back, 2 up) closest to each array axis, and whether the array axis
    /// runs against it. Each patient axis is used once, also for oblique volumes.
    pub(crate) fn orientation(&self) -> [(usize, bool); 3] {
        const PERMUTATIONS: [[usize; 3]; 6] = [
            [0, 1, 2],
            [0, 2, 1],
            [1, 0, 2],
            [1, 2, 0],
            [2, 0, 1],
            [2, 1, 0],
        ];
        let directions = self.directions();
        let agreement = |axes: &[usize; 3]| -> f64 {
            axes.iter()
                .zip(directions)
                .map(|(&axis, d)| d[axis].abs())
                .sum()
        };
        let mut best = PERMUTATIONS[0];
        for axes in &PERMUTATIONS[1..] {
            if agreement(axes) > agreement(&best) {
                best = *axes;
            }
        }
        [0, 1, 2].map(|axis| (best[axis], directions[axis][best[axis]] < 0.0))
    }

    /// Letter of the direction in which each array axis increases, for example `LPS` (as
    /// nibabel's `aff2axcodes`).
    pub fn axis_codes(&self) -> String {
        self.orientation()
            .iter()
            .map(|&(axis, against)| LETTERS[axis][usize::from(against)])
            .collect()
    }
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "these spacings are exact")]
mod tests {
    use super::*;

    #[test]
    fn codes_and_spacing_of_a_permuted_and_flipped_volume() {
        let affine = [
            [0.0, 0.0, -2.0, 5.0],
            [-3.0, 0.0, 0.0, 6.0],
            [0.0, 0.5, 0.0, 7.0],
        ];
        let geometry = VolumeGeometry::new([4, 5, 6], affine).unwrap();
        assert_eq!(geometry.axis_codes(), "ASR");
        assert_eq!(geometry.spacing_mm(), [3.0, 0.5, 2.0]);
        let plain = VolumeGeometry::with_spacing([4, 5, 6], [1.0, 2.0, 3.0]).unwrap();
        assert_eq!(plain.axis_codes(), "LPS");
    }

    #[test]
    fn oblique_axes_get_different_letters() {
        // Rotated by 45 degrees: both in-plane axes are equally near to L and to P.
        let h = 0.5f64.sqrt();
        let affine = [[h, -h, 0.0, 0.0], [h, h, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]];
        let codes = VolumeGeometry::new([2, 2, 2], affine).unwrap().axis_codes();
        assert_eq!(codes, "LPS");
    }

    #[test]
    fn maps_that_cannot_be_inverted_are_refused() {
        let flat = [
            [1.0, 1.0, 0.0, 0.0],
            [1.0, 1.0, 0.0, 0.0],
            [0.0, 0.0, 1.0, 0.0],
        ];
        assert!(VolumeGeometry::new([2, 2, 2], flat).is_err());
        for spacing in [0.0, f64::NAN, f64::INFINITY] {
            assert!(VolumeGeometry::with_spacing([2, 2, 2], [1.0, spacing, 1.0]).is_err());
        }
        assert!(VolumeGeometry::with_spacing([usize::MAX, 2, 2], [1.0; 3]).is_err());
    }
}
