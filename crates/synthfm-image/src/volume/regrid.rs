//! Labels brought onto the grid of an image, by the places in the patient that both files state.
//!
//! Each voxel of the image takes the label of the nearest voxel there and none outside; labels are names, which have no
//! values between them. Axes that are permuted or flipped, and labels that cover a part of the image, are thereby exact.

use super::{LabelVolume, VolumeGeometry};
use crate::{Error, Result};

/// Largest distance, in voxels, of places that are taken as the same: files round their affines.
const TOLERANCE_VOXELS: f64 = 0.1;

/// Voxels of one grid from voxels of another one.
struct VoxelMap([[f64; 4]; 3]);

impl LabelVolume {
    /// The labels on `grid`, the image's, with a note on how they were brought there; none where both grids are the
    /// same.
    ///
    /// Fails if no labelled voxel lies in the image, and, where a file does not say where it lies in the patient, if the
    /// two have not the same shape.
    pub fn on_grid(&self, grid: &VolumeGeometry) -> Result<(Self, Option<String>)> {
        let (own, shape) = (self.geometry.shape(), grid.shape());
        let copied = || Self::new(grid.clone(), self.data.clone());
        if !(self.geometry.states_place() && grid.states_place()) {
            if own != shape {
                return Err(Error::Parameter(format!(
                    "labels of {own:?} voxels do not fit an image of {shape:?}; one of the files does not say where it \
                     lies in the patient"
                )));
            }
            let one_does = self.geometry.states_place() || grid.states_place();
            let note =
                "image or labels do not say where they lie in the patient: taken voxel by voxel";
            return Ok((copied()?, one_does.then(|| note.to_owned())));
        }
        let label_from_image = VoxelMap::between(grid, &self.geometry);
        if own == shape
            && label_from_image.deviation(&VoxelMap::IDENTITY, shape) <= TOLERANCE_VOXELS
        {
            return Ok((copied()?, None));
        }
        let placed = label_from_image.gathered(self, grid)?;
        let image_from_label = VoxelMap::between(&self.geometry, grid);
        let [labelled, outside] = image_from_label.labelled_outside(self, shape);
        if labelled > 0 && labelled == outside {
            return Err(Error::Parameter(format!(
                "none of the {labelled} labelled voxels lies in the image: labels and image state different places in \
                 the patient"
            )));
        }
        let change = self.change(&label_from_image, grid);
        let note = if outside > 0 {
            format!(
                "{change}; {outside} of {labelled} labelled voxels lie outside the image and were left out"
            )
        } else {
            change
        };
        Ok((placed, Some(note)))
    }

    /// How the grids differ, in words.
    fn change(&self, label_from_image: &VoxelMap, grid: &VolumeGeometry) -> String {
        let rounded = label_from_image.rounded();
        let (own, shape) = (self.geometry.shape(), grid.shape());
        let exact = label_from_image.deviation(&rounded, shape) <= TOLERANCE_VOXELS;
        let codes = [self.geometry.axis_codes(), grid.axis_codes()];
        if !(exact && rounded.is_signed_permutation()) {
            let [u, v] = [self.geometry.spacing_mm(), grid.spacing_mm()].map(|spacing| {
                let words = spacing.map(|mm| format!("{mm:.3}"));
                words.join(" x ")
            });
            return format!(
                "the labels lie on another grid ({own:?} voxels of {u} mm; the image: {shape:?} of {v} mm): each voxel \
                 of the image has the nearest label"
            );
        }
        if codes[0] != codes[1] {
            return format!(
                "the axes of the labels run {}, those of the image {}: the labels were brought onto the image's grid",
                codes[0], codes[1]
            );
        }
        format!("the labels cover {own:?} voxels, the image {shape:?}: placed by their origin")
    }
}

impl VoxelMap {
    const IDENTITY: Self = Self([
        [1.0, 0.0, 0.0, 0.0],
        [0.0, 1.0, 0.0, 0.0],
        [0.0, 0.0, 1.0, 0.0],
    ]);

    /// Maps voxels of `from` to voxels of `to`: the inverse of the one affine after the other.
    fn between(from: &VolumeGeometry, to: &VolumeGeometry) -> Self {
        let inverse = to.voxel_from_mm();
        let (from, to) = (from.patient_from_voxel(), to.patient_from_voxel());
        let mut map = [[0.0; 4]; 3];
        for (row, line) in map.iter_mut().enumerate() {
            for (col, value) in line.iter_mut().enumerate() {
                let part = |m: usize| {
                    let shift = if col == 3 { to[m][3] } else { 0.0 };
                    inverse[row][m] * (from[m][col] - shift)
                };
                *value = (0..3).map(part).sum();
            }
        }
        Self(map)
    }

    fn apply(&self, [i, j, k]: [usize; 3]) -> [f64; 3] {
        let voxel = [i as f64, j as f64, k as f64];
        self.0
            .map(|row| row[3] + (0..3).map(|axis| row[axis] * voxel[axis]).sum::<f64>())
    }

    /// The nearest voxel of a grid of `shape`; `None` outside of it.
    fn nearest(&self, voxel: [usize; 3], shape: [usize; 3]) -> Option<[usize; 3]> {
        let at = self.apply(voxel).map(|v| (v + 0.5).floor());
        let inside = at.iter().zip(shape).all(|(&v, n)| v >= 0.0 && v < n as f64);
        inside.then(|| at.map(|v| v as usize))
    }

    /// Largest distance between what two maps make of a voxel of a grid of `shape`, in voxels.
    fn deviation(&self, other: &Self, shape: [usize; 3]) -> f64 {
        let mut largest = 0f64;
        // Both are affine: the corners are the extremes.
        for corner in 0..8 {
            let voxel = [0, 1, 2].map(|axis| (corner >> axis & 1) * (shape[axis].max(1) - 1));
            let pairs = self.apply(voxel).into_iter().zip(other.apply(voxel));
            largest = pairs.fold(largest, |most, (a, b)| most.max((a - b).abs()));
        }
        largest
    }

    fn rounded(&self) -> Self {
        Self(self.0.map(|row| row.map(f64::round)))
    }

    /// Whether each axis of the one grid is an axis of the other one, in either direction.
    fn is_signed_permutation(&self) -> bool {
        let is_unit = |values: [f64; 3]| {
            let nonzero = values.iter().filter(|v| v.abs() > 0.5);
            nonzero.count() == 1 && values.iter().all(|v| v.abs() < 1.5)
        };
        let column = |axis: usize| self.0.map(|row| row[axis]);
        self.0.iter().all(|row| is_unit([row[0], row[1], row[2]]))
            && (0..3).all(|axis| is_unit(column(axis)))
    }

    /// The labels on `grid`, whose voxels this map takes to those of `labels`.
    fn gathered(&self, labels: &LabelVolume, grid: &VolumeGeometry) -> Result<LabelVolume> {
        let [ni, nj, nk] = grid.shape();
        let own = labels.geometry.shape();
        let mut data = Vec::new();
        data.try_reserve_exact(grid.len()).map_err(|_| {
            Error::Parameter(format!("no memory for labels of {:?} voxels", grid.shape()))
        })?;
        for (k, j) in (0..nk).flat_map(|k| (0..nj).map(move |j| (k, j))) {
            data.extend((0..ni).map(|i| {
                let found = self.nearest([i, j, k], own);
                found.map_or(0, |[a, b, c]| labels.data[(c * own[1] + b) * own[0] + a])
            }));
        }
        LabelVolume::new(grid.clone(), data)
    }

    /// Voxels with a label, and how many of them lie outside a grid of `shape`, to which this map leads.
    fn labelled_outside(&self, labels: &LabelVolume, shape: [usize; 3]) -> [usize; 2] {
        let [ni, nj, _] = labels.geometry.shape();
        let mut counts = [0; 2];
        for (n, _) in labels.data.iter().enumerate().filter(|&(_, &v)| v != 0) {
            let voxel = [n % ni, n / ni % nj, n / (ni * nj)];
            counts[0] += 1;
            counts[1] += usize::from(self.nearest(voxel, shape).is_none());
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An image of 4 x 5 x 6 voxels of 0.5 x 1.5 x 4 mm with slightly oblique axes.
    fn image() -> VolumeGeometry {
        let affine = [
            [0.5, 0.1, 0.0, -7.0],
            [-0.02, 1.5, 0.3, 11.0],
            [0.0, -0.05, 4.0, 3.0],
        ];
        VolumeGeometry::new([4, 5, 6], affine).unwrap()
    }

    /// The grid whose axis `n` is axis `axes[n]` of the image, against it where `flips` has the bit `n`; labels there
    /// that number the image's voxels.
    fn turned(axes: [usize; 3], flips: usize) -> LabelVolume {
        let (grid, shape) = (image().patient_from_voxel(), image().shape());
        let mut affine = grid;
        for (n, &axis) in axes.iter().enumerate() {
            let sign = if flips >> n & 1 == 1 { -1.0 } else { 1.0 };
            for row in 0..3 {
                affine[row][n] = sign * grid[row][axis];
                affine[row][3] += if sign < 0.0 {
                    grid[row][axis] * (shape[axis] - 1) as f64
                } else {
                    0.0
                };
            }
        }
        let own = axes.map(|axis| shape[axis]);
        let geometry = VolumeGeometry::new(own, affine).unwrap();
        let mut data = Vec::new();
        for n in 0..own.iter().product::<usize>() {
            let at = [n % own[0], n / own[0] % own[1], n / (own[0] * own[1])];
            let mut voxel = [0; 3];
            for (m, &axis) in axes.iter().enumerate() {
                let flipped = flips >> m & 1 == 1;
                voxel[axis] = if flipped { own[m] - 1 - at[m] } else { at[m] };
            }
            data.push(((voxel[2] * shape[1] + voxel[1]) * shape[0] + voxel[0]) as u16);
        }
        LabelVolume::new(geometry, data).unwrap()
    }

    #[test]
    fn every_permutation_and_flip_returns_to_the_image() {
        let numbers: Vec<u16> = (0..120).collect();
        for axes in [
            [0, 1, 2],
            [0, 2, 1],
            [1, 0, 2],
            [1, 2, 0],
            [2, 0, 1],
            [2, 1, 0],
        ] {
            for flips in 0..8 {
                let (labels, note) = turned(axes, flips).on_grid(&image()).unwrap();
                assert_eq!(labels.data(), numbers, "{axes:?} {flips}");
                assert_eq!(labels.geometry(), &image());
                let same = (axes, flips) == ([0, 1, 2], 0);
                assert_eq!(note.is_none(), same, "{axes:?} {flips}: {note:?}");
                assert!(same || note.unwrap().contains("brought onto the image's grid"));
            }
        }
    }

    #[test]
    fn labels_of_a_part_are_placed_by_their_origin() {
        let affine = image().patient_from_voxel();
        // Two by three by two voxels from (1, 2, 3) on.
        let origin = affine.map(|row| row[3] + row[0] + 2.0 * row[1] + 3.0 * row[2]);
        let part = [0, 1, 2].map(|n| [affine[n][0], affine[n][1], affine[n][2], origin[n]]);
        let geometry = VolumeGeometry::new([2, 3, 2], part).unwrap();
        let part = LabelVolume::new(geometry, (1..=12).collect()).unwrap();
        let (labels, note) = part.on_grid(&image()).unwrap();
        let at = |i: usize, j: usize, k: usize| labels.data()[(k * 5 + j) * 4 + i];
        assert_eq!(
            [at(1, 2, 3), at(2, 2, 3), at(1, 3, 3), at(2, 4, 4)],
            [1, 2, 3, 12]
        );
        assert_eq!(labels.data().iter().filter(|&&v| v > 0).count(), 12);
        assert!(note.unwrap().contains("placed by their origin"));
    }

    #[test]
    fn finer_labels_give_the_nearest_and_say_so() {
        let grid = VolumeGeometry::with_spacing([3, 2, 2], [2.0, 2.0, 2.0]).unwrap();
        let fine = VolumeGeometry::with_spacing([7, 4, 4], [1.0, 1.0, 1.0]).unwrap();
        let labels = LabelVolume::new(fine, (0..112).collect()).unwrap();
        let (labels, note) = labels.on_grid(&grid).unwrap();
        let expected: Vec<u16> = [0, 2, 4, 14, 16, 18, 56, 58, 60, 70, 72, 74].into();
        assert_eq!(labels.data(), expected);
        let note = note.unwrap();
        assert!(note.contains("nearest label"), "{note}");
    }

    #[test]
    fn labels_elsewhere_are_refused_and_those_beyond_the_image_counted() {
        let grid = VolumeGeometry::with_spacing([3, 2, 2], [1.0; 3]).unwrap();
        let moved = |x: f64| {
            let affine = [
                [1.0, 0.0, 0.0, x],
                [0.0, 1.0, 0.0, 0.0],
                [0.0, 0.0, 1.0, 0.0],
            ];
            let geometry = VolumeGeometry::new([3, 2, 2], affine).unwrap();
            LabelVolume::new(geometry, vec![1; 12]).unwrap()
        };
        let error = moved(50.0).on_grid(&grid).unwrap_err().to_string();
        assert!(error.contains("none of the 12 labelled"), "{error}");
        let (labels, note) = moved(2.0).on_grid(&grid).unwrap();
        assert_eq!(labels.data(), [0, 0, 1, 0, 0, 1, 0, 0, 1, 0, 0, 1]);
        let note = note.unwrap();
        assert!(
            note.contains("8 of 12 labelled voxels lie outside"),
            "{note}"
        );
        // Nothing labelled lies nowhere.
        let affine = moved(50.0).geometry().clone();
        assert!(LabelVolume::zeros(affine).on_grid(&grid).is_ok());
        // A twentieth of a voxel is rounding.
        assert_eq!(moved(0.05).on_grid(&grid).unwrap().1, None);
    }

    #[test]
    fn files_without_a_place_must_have_the_shape_of_the_image() {
        let plain = VolumeGeometry::with_spacing([3, 2, 2], [1.0; 3]).unwrap();
        let labels = LabelVolume::new(plain.clone().without_place(), (0..12).collect()).unwrap();
        let flipped = [
            [-1.0, 0.0, 0.0, 9.0],
            [0.0, 1.0, 0.0, 0.0],
            [0.0, 0.0, 1.0, 0.0],
        ];
        let image = VolumeGeometry::new([3, 2, 2], flipped).unwrap();
        let (placed, note) = labels.on_grid(&image).unwrap();
        assert_eq!(placed.data(), labels.data());
        assert!(note.unwrap().contains("voxel by voxel"));
        assert_eq!(labels.on_grid(&plain.without_place()).unwrap().1, None);
        let other = VolumeGeometry::with_spacing([2, 3, 2], [1.0; 3]).unwrap();
        assert!(labels.on_grid(&other).is_err());
    }
}
