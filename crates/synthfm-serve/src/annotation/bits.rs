//! One bit per voxel of a volume; a structure that is empty takes no memory.

use synthfm_image::{Mask, Plane, Result, VolumeGeometry, run_lengths, run_values};

use super::Runs;

/// The voxels of one structure.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct BitVolume {
    /// Empty until the first voxel is set.
    words: Vec<u64>,
}

impl BitVolume {
    fn get(&self, at: usize) -> bool {
        self.words
            .get(at / 64)
            .is_some_and(|word| word >> (at % 64) & 1 == 1)
    }

    /// The mask of a slice.
    pub(crate) fn slice(&self, grid: &VolumeGeometry, plane: Plane, index: usize) -> Result<Mask> {
        let voxels = grid.slice_voxels(plane, index)?;
        Mask::new(
            grid.slice_size(plane),
            voxels.map(|voxel| self.get(voxel)).collect(),
        )
    }

    /// The runs of a slice's mask.
    pub(crate) fn slice_runs(
        &self,
        grid: &VolumeGeometry,
        plane: Plane,
        index: usize,
    ) -> Result<Runs> {
        let voxels = grid.slice_voxels(plane, index)?;
        Ok(run_lengths(voxels.map(|voxel| self.get(voxel))))
    }

    /// Replaces the mask of a slice by runs of its size.
    pub(crate) fn set_slice(
        &mut self,
        grid: &VolumeGeometry,
        plane: Plane,
        index: usize,
        runs: &[u32],
    ) -> Result<()> {
        let voxels = grid.slice_voxels(plane, index)?;
        if self.words.is_empty() {
            self.words = vec![0; grid.len().div_ceil(64)];
        }
        for (voxel, value) in voxels.zip(run_values(runs)) {
            let (word, bit) = (&mut self.words[voxel / 64], 1 << (voxel % 64));
            if value {
                *word |= bit;
            } else {
                *word &= !bit;
            }
        }
        Ok(())
    }

    /// Positions of the voxels that are set, in ascending order.
    pub(crate) fn voxels(&self) -> impl Iterator<Item = usize> {
        let set = |(at, &word): (usize, &u64)| {
            let bits = (0..64).filter(move |bit| word >> bit & 1 == 1);
            bits.map(move |bit| at * 64 + bit)
        };
        let words = self.words.iter().enumerate();
        words.filter(|(_, word)| **word != 0).flat_map(set)
    }

    /// Number of voxels.
    pub(crate) fn count(&self) -> usize {
        self.words
            .iter()
            .map(|word| word.count_ones() as usize)
            .sum()
    }

    /// Runs over all voxels of the grid, in memory order.
    pub(crate) fn runs(&self, grid: &VolumeGeometry) -> Runs {
        run_lengths((0..grid.len()).map(|voxel| self.get(voxel)))
    }

    /// From runs over all voxels, which [`synthfm_image::check_run_lengths`] accepts.
    pub(crate) fn from_runs(grid: &VolumeGeometry, runs: &[u32]) -> Self {
        let mut words = vec![0; grid.len().div_ceil(64)];
        let set = run_values(runs).enumerate().filter(|(_, value)| *value);
        for (voxel, _) in set {
            words[voxel / 64] |= 1 << (voxel % 64);
        }
        Self { words }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_of_all_planes_share_their_voxels() {
        let grid = VolumeGeometry::with_spacing([3, 4, 5], [1.0; 3]).unwrap();
        let mut bits = BitVolume::default();
        assert_eq!(bits.count(), 0);
        // Row 1, column 2 of axial slice 3: j = 1, i = 2, k = 3.
        bits.set_slice(&grid, Plane::Axial, 3, &[5, 1, 6]).unwrap();
        assert_eq!(bits.voxels().collect::<Vec<_>>(), [2 + 3 + 3 * 12]);
        // Coronal rows run from the head down: k = 3 is row 1.
        let coronal = bits.slice(&grid, Plane::Coronal, 1).unwrap();
        assert_eq!((coronal.area(), coronal.at(1, 2)), (1, true));
        assert_eq!(bits.slice(&grid, Plane::Sagittal, 1).unwrap().area(), 0);
        let copy = BitVolume::from_runs(&grid, &bits.runs(&grid));
        assert_eq!((copy == bits, copy.count()), (true, 1));
        bits.set_slice(&grid, Plane::Coronal, 1, &[15]).unwrap();
        assert_eq!(bits.count(), 0);
        assert!(bits.slice(&grid, Plane::Axial, 5).is_err());
    }
}
