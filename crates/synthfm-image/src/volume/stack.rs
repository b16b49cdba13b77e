//! A structure of a volume as the masks of its slices.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use super::{LabelVolume, Plane, VolumeGeometry};
use crate::{Components, Connectivity, Error, Mask, Result, Size, connected_components};

/// The masks of all slices of a volume in one plane, in the order of [`super::Volume::slice`].
#[derive(Debug, Clone, PartialEq)]
pub struct MaskStack {
    slices: Vec<Mask>,
    spacing_mm: [f64; 3],
}

impl MaskStack {
    /// Wraps the masks of slices. `spacing_mm` is the distance between slices, rows and columns.
    ///
    /// # Errors
    /// Where masks differ in size, or a distance is not a positive number.
    pub fn new(slices: Vec<Mask>, spacing_mm: [f64; 3]) -> Result<Self> {
        if let Some(first) = slices.first()
            && let Some(other) = slices.iter().find(|mask| mask.size() != first.size())
        {
            let (first, other) = (first.size(), other.size());
            let text = format!("slices of one volume differ in size: {first} and {other}");
            return Err(Error::Parameter(text));
        }
        if spacing_mm.iter().any(|&s| !(s.is_finite() && s > 0.0)) {
            let text = format!("spacing must be positive, got {spacing_mm:?} mm");
            return Err(Error::Parameter(text));
        }
        Ok(Self { slices, spacing_mm })
    }

    /// The slices of a volume without a structure.
    pub fn zeros(geometry: &VolumeGeometry, plane: Plane) -> Self {
        let [rows, columns] = geometry.slice_spacing_mm(plane);
        let between = geometry.spacing_mm()[geometry.slice_axis(plane)];
        let empty = Mask::zeros(geometry.slice_size(plane));
        Self {
            slices: vec![empty; geometry.slice_count(plane)],
            spacing_mm: [between, rows, columns],
        }
    }

    /// The voxels of `labels` whose value `belongs`.
    pub fn of_labels(labels: &LabelVolume, plane: Plane, belongs: impl Fn(u16) -> bool) -> Self {
        let geometry = labels.geometry();
        let mut stack = Self::zeros(geometry, plane);
        for (index, mask) in stack.slices.iter_mut().enumerate() {
            let voxels = geometry.slice_voxels(plane, index).into_iter().flatten();
            for (inside, voxel) in mask.data_mut().iter_mut().zip(voxels) {
                *inside = belongs(labels.data()[voxel]);
            }
        }
        stack
    }

    /// The masks, slice by slice.
    pub fn slices(&self) -> &[Mask] {
        &self.slices
    }

    /// Distance between slices, rows and columns.
    pub const fn spacing_mm(&self) -> [f64; 3] {
        self.spacing_mm
    }

    /// Rows and columns of a slice; 0 x 0 without slices.
    pub fn size(&self) -> Size {
        self.slices.first().map_or(Size::new(0, 0), Mask::size)
    }

    /// Replaces the mask of a slice.
    ///
    /// # Errors
    /// Where there is no such slice, or the mask has another size.
    pub fn set(&mut self, index: usize, mask: Mask) -> Result<()> {
        let (count, size) = (self.slices.len(), self.size());
        match self.slices.get_mut(index) {
            Some(slice) if size == mask.size() => {
                *slice = mask;
                Ok(())
            }
            Some(_) => Err(Error::Parameter(format!(
                "a mask of {} does not fit slices of {size}",
                mask.size()
            ))),
            None => Err(Error::Parameter(format!(
                "slice {index} does not exist: the volume has {count} (counted from 0)"
            ))),
        }
    }

    /// Voxels of the structure.
    pub fn voxels(&self) -> usize {
        self.slices.iter().map(Mask::area).sum()
    }

    /// The first and the last slice with a voxel of the structure; `None` where there is none.
    pub fn extent(&self) -> Option<RangeInclusive<usize>> {
        let has_some = |mask: &Mask| mask.data().contains(&true);
        let first = self.slices.iter().position(has_some)?;
        let last = self.slices.iter().rposition(has_some)?;
        Some(first..=last)
    }

    /// The slice where the structure has the largest area, the first of equals; `None` where there is no voxel.
    pub fn largest_slice(&self) -> Option<usize> {
        let areas = self.slices.iter().map(Mask::area).enumerate();
        let best = areas.rev().max_by_key(|&(_, area)| area)?;
        (best.1 > 0).then_some(best.0)
    }

    /// The connected components, the one with the first voxel first. Voxels touch by an edge or a corner within a slice, and
    /// by a face from slice to slice.
    pub fn components(&self) -> Vec<Self> {
        let slices = self.slices.iter();
        let parts: Vec<_> = slices
            .map(|mask| connected_components(mask, Connectivity::Eight))
            .collect();
        // A component of a slice is a node, numbered through all slices.
        let mut first_node = vec![0];
        for part in &parts {
            first_node.push(first_node[first_node.len() - 1] + part.len());
        }
        let mut parents: Vec<usize> = (0..first_node[parts.len()]).collect();
        let labels: Vec<Vec<u32>> = parts.iter().map(Components::labels).collect();
        for (below, pair) in labels.windows(2).enumerate() {
            for (&a, &b) in pair[0]
                .iter()
                .zip(&pair[1])
                .filter(|&(&a, &b)| a > 0 && b > 0)
            {
                let a = root(&mut parents, first_node[below] + a as usize - 1);
                let b = root(&mut parents, first_node[below + 1] + b as usize - 1);
                parents[a.max(b)] = a.min(b);
            }
        }
        let mut found: BTreeMap<usize, Self> = BTreeMap::new();
        for (index, labels) in labels.iter().enumerate() {
            for (pixel, &label) in labels.iter().enumerate().filter(|&(_, &label)| label > 0) {
                let root = root(&mut parents, first_node[index] + label as usize - 1);
                let stack = found.entry(root).or_insert_with(|| self.empty());
                stack.slices[index].data_mut()[pixel] = true;
            }
        }
        found.into_values().collect()
    }

    /// The component of [`Self::components`] with the most voxels, the first of equals; `None` where there is none.
    pub fn largest_component(&self) -> Option<Self> {
        let components = self.components().into_iter().rev();
        components.max_by_key(Self::voxels)
    }

    fn empty(&self) -> Self {
        Self {
            slices: vec![Mask::zeros(self.size()); self.slices.len()],
            spacing_mm: self.spacing_mm,
        }
    }
}

/// The node that stands for all that are joined with `node`; paths to it are shortened.
fn root(parents: &mut [usize], mut node: usize) -> usize {
    while parents[node] != node {
        parents[node] = parents[parents[node]];
        node = parents[node];
    }
    node
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "spacings are copied")]
mod tests {
    use super::*;
    use crate::testing::mask_of_text;

    fn stack(slices: &[&[&str]]) -> MaskStack {
        let slices = slices.iter().map(|rows| mask_of_text(rows)).collect();
        MaskStack::new(slices, [3.0, 1.0, 0.5]).unwrap()
    }

    #[test]
    fn components_go_through_slices_by_faces() {
        let all = stack(&[
            &["##..", "....", "...#"],
            &[".#..", "....", "..#."],
            &["..#.", ".#..", "..##"],
        ]);
        // Slice 1's pixel (0, 1) lies on slice 0's; slice 2's (0, 2) is diagonal to it across slices, and joins (1, 1),
        // (2, 2) and (2, 3) within its slice. (2, 3) of slice 0 does not touch (2, 2) of slice 1 by a face.
        let voxels: Vec<usize> = all.components().iter().map(MaskStack::voxels).collect();
        assert_eq!(voxels, [3, 1, 5]);
        let largest = all.largest_component().unwrap();
        assert_eq!(largest.extent(), Some(1..=2));
        assert_eq!(largest.largest_slice(), Some(2));
        assert_eq!(all.voxels(), 9);
    }

    #[test]
    fn arms_that_meet_later_are_one_component() {
        let fork = stack(&[&["#...#"], &["#...#"], &["#####"]]);
        assert_eq!(fork.components(), std::slice::from_ref(&fork));
        let none = stack(&[&["..."], &["..."]]);
        assert_eq!((none.largest_component(), none.extent()), (None, None));
        assert_eq!(none.largest_slice(), None);
    }

    #[test]
    fn labels_become_slices_of_the_plane() {
        let shape = [4, 3, 2];
        let geometry = VolumeGeometry::with_spacing(shape, [0.5, 1.0, 3.0]).unwrap();
        let values: Vec<u16> = (0..24).map(|v| v % 5).collect();
        let labels = LabelVolume::new(geometry, values).unwrap();
        for plane in [Plane::Axial, Plane::Coronal, Plane::Sagittal] {
            let stack = MaskStack::of_labels(&labels, plane, |value| value == 3);
            for (index, mask) in stack.slices().iter().enumerate() {
                assert_eq!(*mask, labels.slice(plane, index).unwrap().mask_of(3));
            }
            assert_eq!(stack.voxels(), 5, "{plane}");
        }
        let axial = MaskStack::of_labels(&labels, Plane::Axial, |value| value == 3);
        assert_eq!(axial.spacing_mm(), [3.0, 1.0, 0.5]);
    }

    #[test]
    fn slices_that_do_not_fit_are_refused() {
        let (a, b) = (Mask::zeros(Size::new(2, 3)), Mask::zeros(Size::new(3, 2)));
        let error = MaskStack::new(vec![a.clone(), b.clone()], [1.0; 3]).unwrap_err();
        assert!(error.to_string().contains("differ in size"), "{error}");
        assert!(MaskStack::new(vec![a.clone()], [1.0, f64::NAN, 1.0]).is_err());
        let mut stack = MaskStack::new(vec![a.clone()], [1.0; 3]).unwrap();
        assert!(
            stack
                .set(1, a.clone())
                .unwrap_err()
                .to_string()
                .contains("slice 1")
        );
        assert!(
            stack
                .set(0, b)
                .unwrap_err()
                .to_string()
                .contains("does not fit")
        );
        stack.set(0, a).unwrap();
    }
}
