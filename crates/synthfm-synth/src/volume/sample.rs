//! A rendered volume, its slices and its targets.

use std::cmp::Reverse;

use synthfm_image::{Image, LabelMap, Mask, Size};

use crate::config::VolumeSize;
use crate::params::TargetKind;

/// Rendered volume with its structures. Arrays are in the order `[slice, row, column]`.
#[derive(Debug, Clone, PartialEq)]
pub struct VolumeSample {
    /// Slices, rows and columns.
    pub size: VolumeSize,
    /// Distance between neighbouring voxels along slices, rows and columns (z, y, x), in mm.
    pub spacing_mm: [f32; 3],
    /// Intensities from 0 to 1.
    pub image: Vec<f32>,
    /// Topmost structure or region at every voxel; 0 where there is none, or outside the field of view.
    pub labels: Vec<u16>,
    /// Structures to segment, regions first, then structures in painting order.
    pub targets: Vec<VolumeTarget>,
}

/// One rendered slice of a volume.
#[derive(Debug, Clone, PartialEq)]
pub struct VolumeSlice {
    /// Intensities from 0 to 1.
    pub image: Image,
    /// Topmost structure or region at every pixel, as in the whole volume.
    pub labels: LabelMap,
}

/// One structure of a volume to segment: a 6-connected component.
#[derive(Debug, Clone, PartialEq)]
pub struct VolumeTarget {
    /// Identifier of its structure or region in the label map.
    pub id: u16,
    /// Kind of structure.
    pub kind: TargetKind,
    /// Number of voxels.
    pub voxels: usize,
    slice_size: Size,
    /// Row in the stack of all slices, first column, column after the last; ascending.
    pieces: Vec<[u32; 3]>,
}

impl VolumeTarget {
    pub(super) fn new(id: u16, kind: TargetKind, slice_size: Size, pieces: Vec<[u32; 3]>) -> Self {
        let voxels = pieces
            .iter()
            .map(|[_, start, end]| (end - start) as usize)
            .sum();
        Self {
            id,
            kind,
            voxels,
            slice_size,
            pieces,
        }
    }

    /// First and last slice that it lies in.
    pub fn extent(&self) -> [usize; 2] {
        let slice = |piece: Option<&[u32; 3]>| {
            piece.map_or(0, |[row, ..]| *row as usize / self.slice_size.height.max(1))
        };
        [slice(self.pieces.first()), slice(self.pieces.last())]
    }

    /// Number of its pixels in each slice, from its first slice to its last.
    pub fn areas(&self) -> Vec<usize> {
        let [first, last] = self.extent();
        let mut areas = vec![0; last - first + 1];
        for [row, start, end] in &self.pieces {
            areas[*row as usize / self.slice_size.height - first] += (end - start) as usize;
        }
        areas
    }

    /// Slice where it has most pixels, the first of equals.
    pub fn largest_slice(&self) -> usize {
        let areas = self.areas();
        let largest = (0..areas.len()).max_by_key(|&k| (areas[k], Reverse(k)));
        self.extent()[0] + largest.unwrap_or(0)
    }

    /// Pixels of the target in one slice; empty where the target does not reach.
    ///
    /// # Panics
    /// Never.
    pub fn slice(&self, slice: usize) -> Mask {
        let Size { height, width } = self.slice_size;
        let first = slice * height;
        let mut inside = vec![false; self.slice_size.area()];
        let start = self
            .pieces
            .partition_point(|piece| (piece[0] as usize) < first);
        for [row, low, high] in &self.pieces[start..] {
            let row = *row as usize - first;
            if row >= height {
                break;
            }
            inside[row * width + *low as usize..row * width + *high as usize].fill(true);
        }
        Mask::new(self.slice_size, inside).expect("one value per pixel")
    }

    /// Ranges of its voxels in the array of the volume, in ascending order.
    pub fn ranges(&self) -> impl Iterator<Item = std::ops::Range<usize>> + '_ {
        self.pieces.iter().map(|[row, start, end]| {
            let line = *row as usize * self.slice_size.width;
            line + *start as usize..line + *end as usize
        })
    }
}

impl VolumeSample {
    /// Targets numbered from 1 in their order; smaller ones hide larger ones, and 0 is everything else.
    pub fn target_labels(&self) -> Vec<u16> {
        let mut order: Vec<(u16, &VolumeTarget)> = (1..).zip(&self.targets).collect();
        order.sort_by_key(|&(label, target)| (Reverse(target.voxels), label));
        let mut labels = vec![0; self.labels.len()];
        for (label, target) in order {
            for range in target.ranges() {
                labels[range].fill(label);
            }
        }
        labels
    }

    /// Slice `slice` as a picture, its intensities from 0 to 1.
    ///
    /// # Panics
    /// If there is no such slice.
    pub fn slice(&self, slice: usize) -> Image {
        let size = Size::new(self.size.height, self.size.width);
        let start = slice * size.area();
        let pixels = self.image[start..start + size.area()].to_vec();
        Image::new(size, pixels).expect("one value per pixel")
    }
}
