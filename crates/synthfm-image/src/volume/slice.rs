//! Slices by anatomy, shown as radiologists look at them, and back into the volume.
//!
//! The array axis closest to the patient's decides which voxels form a slice, so that no value is
//! interpolated and a mask drawn on a slice returns to exactly its voxels. Oblique volumes are
//! sliced along their own axes.

use super::{LabelVolume, Volume, VolumeGeometry};
use crate::{Error, Image, LabelMap, Mask, Point2, Result, Size};

/// An anatomical plane and its radiological view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plane {
    /// Seen from the feet: the patient's right on the image's left, front up.
    Axial,
    /// Seen from the front: the patient's right on the image's left, head up.
    Coronal,
    /// Seen from the patient's left side: front on the image's left, head up.
    Sagittal,
}

impl Plane {
    /// Patient axes (0 left, 1 back, 2 up) across the slices, down the rows and along the columns,
    /// the latter two with whether the image runs against them.
    const fn view(self) -> (usize, (usize, bool), (usize, bool)) {
        match self {
            Self::Axial => (2, (1, false), (0, false)),
            Self::Coronal => (1, (2, true), (0, false)),
            Self::Sagittal => (0, (2, true), (1, false)),
        }
    }
}

impl std::fmt::Display for Plane {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Axial => "axial",
            Self::Coronal => "coronal",
            Self::Sagittal => "sagittal",
        })
    }
}

/// One slice of intensities.
#[derive(Debug, Clone, PartialEq)]
pub struct Slice {
    /// The values, as seen.
    pub image: Image,
    /// Distance between rows and between columns.
    pub spacing_mm: [f64; 2],
}

/// An array axis as an axis of the image.
#[derive(Debug, Clone, Copy)]
struct ImageAxis {
    array_axis: usize,
    length: usize,
    flipped: bool,
}

impl ImageAxis {
    fn voxel(self, index: usize) -> usize {
        if self.flipped {
            self.length - 1 - index
        } else {
            index
        }
    }

    /// From a coordinate along the image to one along the array, or back.
    fn turned(self, coordinate: f64) -> f64 {
        if self.flipped {
            self.length as f64 - 1.0 - coordinate
        } else {
            coordinate
        }
    }
}

/// How a plane's images lie in the array.
#[derive(Debug, Clone, Copy)]
struct Layout {
    shape: [usize; 3],
    across: usize,
    rows: ImageAxis,
    cols: ImageAxis,
}

impl Layout {
    fn new(geometry: &VolumeGeometry, plane: Plane) -> Self {
        let orientation = geometry.orientation();
        let array_axis = |patient_axis: usize| {
            orientation
                .iter()
                .position(|&(axis, _)| axis == patient_axis)
                .expect("an orientation uses every patient axis once")
        };
        let image_axis = |(patient_axis, against): (usize, bool)| {
            let axis = array_axis(patient_axis);
            ImageAxis {
                array_axis: axis,
                length: geometry.shape()[axis],
                flipped: orientation[axis].1 != against,
            }
        };
        let (across, rows, cols) = plane.view();
        Self {
            shape: geometry.shape(),
            across: array_axis(across),
            rows: image_axis(rows),
            cols: image_axis(cols),
        }
    }

    fn size(&self) -> Size {
        Size::new(self.rows.length, self.cols.length)
    }

    /// Positions in the volume of the pixels of slice `index`, row-major.
    fn voxels(self, index: usize) -> impl Iterator<Item = usize> {
        let [ni, nj, _] = self.shape;
        let strides = [1, ni, ni * nj];
        let base = index * strides[self.across];
        (0..self.rows.length).flat_map(move |row| {
            let start = base + self.rows.voxel(row) * strides[self.rows.array_axis];
            let stride = strides[self.cols.array_axis];
            (0..self.cols.length).map(move |col| start + self.cols.voxel(col) * stride)
        })
    }
}

impl VolumeGeometry {
    /// Number of slices in `plane`.
    pub fn slice_count(&self, plane: Plane) -> usize {
        self.shape()[Layout::new(self, plane).across]
    }

    /// Rows and columns of a slice in `plane`.
    pub fn slice_size(&self, plane: Plane) -> Size {
        Layout::new(self, plane).size()
    }

    /// Distance between the rows and between the columns of a slice in `plane`.
    pub fn slice_spacing_mm(&self, plane: Plane) -> [f64; 2] {
        let layout = Layout::new(self, plane);
        let spacing = self.spacing_mm();
        [
            spacing[layout.rows.array_axis],
            spacing[layout.cols.array_axis],
        ]
    }

    /// The array axis along which the slices of `plane` follow one another.
    pub fn slice_axis(&self, plane: Plane) -> usize {
        Layout::new(self, plane).across
    }

    /// Positions in memory of the voxels of a slice, row by row as it is seen.
    pub fn slice_voxels(
        &self,
        plane: Plane,
        index: usize,
    ) -> Result<impl Iterator<Item = usize> + use<>> {
        Ok(self.slice_layout(plane, index)?.voxels(index))
    }

    /// The array axes that span the slices of `plane`, in the order of the file.
    pub fn in_plane_axes(&self, plane: Plane) -> [usize; 2] {
        match self.slice_axis(plane) {
            0 => [1, 2],
            1 => [0, 2],
            _ => [0, 1],
        }
    }

    /// The array indices `[i, j, k]` of a point of slice `index` as it is seen; whole numbers are centres of pixels and
    /// of voxels.
    pub fn voxel_of_pixel(&self, plane: Plane, index: usize, point: Point2) -> [f64; 3] {
        let Layout {
            across, rows, cols, ..
        } = Layout::new(self, plane);
        let mut voxel = [0.0; 3];
        voxel[across] = index as f64;
        voxel[rows.array_axis] = rows.turned(point.y);
        voxel[cols.array_axis] = cols.turned(point.x);
        voxel
    }

    /// Where array indices `[i, j, k]` are seen in `plane`: the point of the slice, and the slice, which is a fraction
    /// between two of them. The inverse of [`Self::voxel_of_pixel`].
    pub fn pixel_of_voxel(&self, plane: Plane, voxel: [f64; 3]) -> (Point2, f64) {
        let Layout {
            across, rows, cols, ..
        } = Layout::new(self, plane);
        let point = Point2::new(
            cols.turned(voxel[cols.array_axis]),
            rows.turned(voxel[rows.array_axis]),
        );
        (point, voxel[across])
    }

    fn slice_layout(&self, plane: Plane, index: usize) -> Result<Layout> {
        let count = self.slice_count(plane);
        if index < count {
            Ok(Layout::new(self, plane))
        } else {
            Err(Error::Parameter(format!(
                "{plane} slice {index} does not exist: the volume has {count} (counted from 0)"
            )))
        }
    }
}

impl Volume {
    /// Slice `index` in `plane`; slices count along their array axis, in the order of the file.
    pub fn slice(&self, plane: Plane, index: usize) -> Result<Slice> {
        let layout = self.geometry.slice_layout(plane, index)?;
        let values = layout.voxels(index).map(|voxel| self.data[voxel]);
        Ok(Slice {
            image: Image::new(layout.size(), values.collect())?,
            spacing_mm: self.geometry.slice_spacing_mm(plane),
        })
    }
}

impl LabelVolume {
    /// Slice `index` in `plane`, pixel for pixel as [`Volume::slice`].
    pub fn slice(&self, plane: Plane, index: usize) -> Result<LabelMap> {
        let layout = self.geometry.slice_layout(plane, index)?;
        let values = layout.voxels(index).map(|voxel| self.data[voxel]);
        LabelMap::new(layout.size(), values.collect())
    }

    /// Writes `label` into the voxels that `mask`, drawn on slice `index` of `plane`, covers; the
    /// others keep theirs.
    pub fn insert_slice(
        &mut self,
        plane: Plane,
        index: usize,
        mask: &Mask,
        label: u16,
    ) -> Result<()> {
        let layout = self.geometry.slice_layout(plane, index)?;
        if mask.size() != layout.size() {
            return Err(Error::Parameter(format!(
                "a mask of {} does not fit a {plane} slice of {}",
                mask.size(),
                layout.size()
            )));
        }
        for (voxel, &inside) in layout.voxels(index).zip(mask.data()) {
            if inside {
                self.data[voxel] = label;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "voxels are copied")]
mod tests {
    use super::*;

    /// Every permutation and flip of the axes, with different spacing and length per axis.
    fn geometries() -> Vec<VolumeGeometry> {
        let permutations = [
            [0, 1, 2],
            [0, 2, 1],
            [1, 0, 2],
            [1, 2, 0],
            [2, 0, 1],
            [2, 1, 0],
        ];
        let mut all = Vec::new();
        for axes in permutations {
            for flips in 0..8 {
                let mut affine = [[0.0, 0.0, 0.0, 10.0]; 3];
                for (array_axis, &patient_axis) in axes.iter().enumerate() {
                    let sign = if flips >> array_axis & 1 == 1 {
                        -1.0
                    } else {
                        1.0
                    };
                    let spacing = [0.5, 1.5, 4.0][array_axis];
                    // A slight obliqueness must not change anything.
                    affine[patient_axis][array_axis] = sign * spacing;
                    affine[(patient_axis + 1) % 3][array_axis] = 0.1 * spacing;
                }
                all.push(VolumeGeometry::new([3, 4, 5], affine).unwrap());
            }
        }
        all
    }

    /// LPS position of voxel `index` in memory order.
    fn position(geometry: &VolumeGeometry, index: usize) -> [f64; 3] {
        let [ni, nj, _] = geometry.shape();
        let voxel = [index % ni, index / ni % nj, index / (ni * nj)];
        geometry.patient_from_voxel().map(|row| {
            row[3]
                + (0..3)
                    .map(|axis| row[axis] * voxel[axis] as f64)
                    .sum::<f64>()
        })
    }

    #[test]
    fn views_follow_the_radiological_convention() {
        for geometry in geometries() {
            for (plane, down, right) in [
                (Plane::Axial, [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]),
                (Plane::Coronal, [0.0, 0.0, -1.0], [1.0, 0.0, 0.0]),
                (Plane::Sagittal, [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]),
            ] {
                let layout = Layout::new(&geometry, plane);
                let voxels: Vec<usize> = layout.voxels(1).collect();
                let size = geometry.slice_size(plane);
                let spacing = geometry.slice_spacing_mm(plane);
                let origin = position(&geometry, voxels[0]);
                for (next, direction, spacing) in [
                    (voxels[size.width], down, spacing[0]),
                    (voxels[1], right, spacing[1]),
                ] {
                    let next = position(&geometry, next);
                    let step: Vec<f64> = (0..3).map(|axis| next[axis] - origin[axis]).collect();
                    let length = step.iter().map(|v| v * v).sum::<f64>().sqrt();
                    let along: f64 = step.iter().zip(direction).map(|(s, d)| s * d).sum();
                    assert!((length - spacing).abs() < 1e-12);
                    assert!(
                        along > 0.95 * length,
                        "{plane} of {}",
                        geometry.axis_codes()
                    );
                }
            }
        }
    }

    #[test]
    fn points_of_a_slice_are_those_of_its_voxels() {
        for geometry in geometries() {
            for plane in [Plane::Axial, Plane::Coronal, Plane::Sagittal] {
                let size = geometry.slice_size(plane);
                let voxels: Vec<usize> = geometry.slice_voxels(plane, 2).unwrap().collect();
                for (n, &voxel) in voxels.iter().enumerate() {
                    let point = Point2::from_row_col(n / size.width, n % size.width);
                    let ijk = geometry.voxel_of_pixel(plane, 2, point);
                    let [i, j, k] = ijk.map(|v| v as usize);
                    let [ni, nj, _] = geometry.shape();
                    assert_eq!(i + ni * (j + nj * k), voxel);
                    assert_eq!(geometry.pixel_of_voxel(plane, ijk), (point, 2.0));
                    let place = geometry.patient_of_voxel(ijk);
                    let back = geometry.voxel_of_patient(place);
                    let expected = position(&geometry, voxel);
                    for axis in 0..3 {
                        assert!((place[axis] - expected[axis]).abs() < 1e-9);
                        assert!((back[axis] - ijk[axis]).abs() < 1e-9);
                    }
                }
                let between = geometry.voxel_of_pixel(plane, 1, Point2::new(0.25, 1.5));
                let (point, slice) = geometry.pixel_of_voxel(plane, between);
                assert_eq!((point.x, point.y, slice), (0.25, 1.5, 1.0));
                let [first, second] = geometry.in_plane_axes(plane);
                assert!(first < second && !([first, second].contains(&geometry.slice_axis(plane))));
            }
        }
    }

    #[test]
    fn masks_return_to_their_voxels() {
        for geometry in geometries() {
            let data: Vec<u16> = (0..geometry.len() as u16).collect();
            let volume = LabelVolume::new(geometry.clone(), data).unwrap();
            for plane in [Plane::Axial, Plane::Coronal, Plane::Sagittal] {
                let mut rebuilt = LabelVolume::zeros(geometry.clone());
                for index in 0..geometry.slice_count(plane) {
                    let slice = volume.slice(plane, index).unwrap();
                    for label in slice.labels() {
                        let mask = slice.mask_of(label);
                        rebuilt.insert_slice(plane, index, &mask, label).unwrap();
                    }
                }
                assert_eq!(rebuilt, volume);
            }
        }
    }

    #[test]
    fn intensities_and_labels_agree() {
        let geometry = geometries().swap_remove(29);
        let values = || 0..geometry.len() as u16;
        let volume = Volume::new(geometry.clone(), values().map(f32::from).collect()).unwrap();
        let labels = LabelVolume::new(geometry.clone(), values().collect()).unwrap();
        let (a, b) = (
            volume.slice(Plane::Coronal, 2).unwrap(),
            labels.slice(Plane::Coronal, 2).unwrap(),
        );
        assert_eq!(a.image.size(), b.size());
        let same = |(&a, &b): (&f32, &u16)| a == f32::from(b);
        assert!(a.image.data().iter().zip(b.data()).all(same));
    }

    #[test]
    fn wrong_indices_and_sizes_are_named() {
        let geometry = VolumeGeometry::with_spacing([3, 4, 5], [1.0; 3]).unwrap();
        let mut labels = LabelVolume::zeros(geometry);
        let error = labels.slice(Plane::Axial, 5).unwrap_err().to_string();
        assert!(
            error.contains("axial slice 5") && error.contains("has 5"),
            "{error}"
        );
        let mask = Mask::zeros(Size::new(3, 4));
        let error = labels.insert_slice(Plane::Axial, 0, &mask, 1).unwrap_err();
        assert!(error.to_string().contains("does not fit"), "{error}");
    }
}
