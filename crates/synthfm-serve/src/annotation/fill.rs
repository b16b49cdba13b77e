//! Work on many slices at once: filling the gaps between marked slices, copying one to another, and clearing all from one
//! on.
//!
//! Gaps are filled by shape-based interpolation (Raya and Udupa, IEEE TMI 1990): the signed distances to the outlines of
//! the two slices are mixed by how far the slice between them is from either, and what is positive is inside. Differs:
//! masks that have no pixel in common are moved onto each other first, and the result in between.

use anyhow::{Result, bail};
use synthfm_image::{Mask, Outside, Size, distance_transform};

use super::{Annotation, Change, Direction, Place, PlaneName, SlicePrompts};

impl Annotation {
    /// Changes that fill all gaps between the marked slices of a structure; slices that were filled in before are filled
    /// anew. None where there is no gap.
    pub(crate) fn interpolated(&self, structure: u16, plane: PlaneName) -> Result<Vec<Change>> {
        let at = |index| Place {
            structure,
            plane,
            index,
        };
        let is_filled = |index: &usize| self.prompts(at(*index)).is_some_and(|p| p.filled);
        let marked = self.marked_slices(structure, plane);
        let keys: Vec<usize> = marked.into_iter().filter(|n| !is_filled(n)).collect();
        if keys.len() < 2 {
            bail!("mark the structure on two slices at least, with a gap between them");
        }
        let mut changes = Vec::new();
        for pair in keys.windows(2) {
            let [from, to] = [pair[0], pair[1]];
            let between = Between::new(&self.slice(at(from))?, &self.slice(at(to))?);
            for index in from + 1..to {
                let share = (index - from) as f32 / (to - from) as f32;
                let mask = between.at(share);
                let prompts = SlicePrompts {
                    filled: true,
                    ..SlicePrompts::default()
                };
                changes.push(self.mask_change(at(index), mask.to_run_lengths(), Some(prompts))?);
            }
        }
        Ok(changes)
    }

    /// The change that puts the mask of a slice on another one, in place of what is there.
    pub(crate) fn copied(&self, from: Place, to: usize) -> Result<Change> {
        let mask = self.slice(from)?;
        if mask.area() == 0 {
            bail!("there is no mask on this slice to copy");
        }
        let prompts = SlicePrompts {
            from: Some(from.index),
            ..SlicePrompts::default()
        };
        let place = Place { index: to, ..from };
        self.mask_change(place, mask.to_run_lengths(), Some(prompts))
    }

    /// Changes that leave nothing of a structure on a slice and all beyond it.
    pub(crate) fn cleared_from(&self, from: Place, direction: Direction) -> Result<Vec<Change>> {
        let count = self.grid.slice_count(from.plane.into());
        let indices = direction.slices(from.index, count);
        let places = indices.into_iter().map(|index| Place { index, ..from });
        self.emptied(places)
    }

    /// Changes that leave nothing on some places; those that have nothing are left out.
    pub(crate) fn emptied(&self, places: impl IntoIterator<Item = Place>) -> Result<Vec<Change>> {
        let mut changes = Vec::new();
        for place in places {
            let area = self.grid.slice_size(place.plane.into()).area();
            let before = self.slice_runs(place)?;
            if before.len() > 1 || self.prompts(place).is_some() {
                changes.push(self.mask_change(place, vec![area as u32], None)?);
            }
        }
        Ok(changes)
    }

    /// The slices on which a structure has a mask, in order.
    fn marked_slices(&self, structure: u16, plane: PlaneName) -> Vec<usize> {
        let extents = self.extents().remove(&structure);
        let [axial, coronal, sagittal] = extents.map(|(_, slices)| slices).unwrap_or_default();
        match plane {
            PlaneName::Axial => axial,
            PlaneName::Coronal => coronal,
            PlaneName::Sagittal => sagittal,
        }
    }
}

/// Two masks, neither of them empty, and what lies between them.
struct Between {
    size: Size,
    /// Signed distances in pixels, positive inside.
    depths: [Vec<f32>; 2],
    /// Rows and columns from the first mask to the second, where they have no pixel in common.
    shift: [f32; 2],
}

impl Between {
    fn new(first: &Mask, second: &Mask) -> Self {
        let meet = first
            .data()
            .iter()
            .zip(second.data())
            .any(|(a, b)| *a && *b);
        let [a, b] = [first, second].map(middle);
        let shift = if meet {
            [0.0; 2]
        } else {
            [b[0] - a[0], b[1] - a[1]]
        };
        Self {
            size: first.size(),
            depths: [first, second].map(signed_distance),
            shift,
        }
    }

    /// The mask at a share of the way from the first to the second.
    fn at(&self, share: f32) -> Mask {
        let [rows, cols] = self.shift;
        let move_by = |part: f32| {
            [
                (part * rows).round() as isize,
                (part * cols).round() as isize,
            ]
        };
        let [first, second] = [move_by(-share), move_by(1.0 - share)];
        let mut mask = Mask::zeros(self.size);
        let width = self.size.width;
        for (at, pixel) in mask.data_mut().iter_mut().enumerate() {
            let (row, col) = (at / width, at % width);
            let near = self.depth(0, [row, col], first);
            let far = self.depth(1, [row, col], second);
            *pixel = (1.0 - share) * near + share * far > 0.0;
        }
        mask
    }

    /// The depth of a mask beside a pixel, or at the edge of the image where that lies outside.
    fn depth(&self, which: usize, at: [usize; 2], [rows, cols]: [isize; 2]) -> f32 {
        let Size { height, width } = self.size;
        let moved = |at: usize, by: isize, size: usize| {
            at.saturating_add_signed(by).min(size.saturating_sub(1))
        };
        let (row, col) = (moved(at[0], rows, height), moved(at[1], cols, width));
        self.depths[which][row * width + col]
    }
}

/// Distance in pixels from the outline, which lies half a pixel from the centres on both sides of it; positive inside.
fn signed_distance(mask: &Mask) -> Vec<f32> {
    let inside = distance_transform(mask, Outside::Unknown);
    let rest = mask.data().iter().map(|inside| !inside).collect();
    let rest = Mask::new(mask.size(), rest).expect("one value per pixel");
    let outside = distance_transform(&rest, Outside::Unknown);
    // A mask of the whole slice has no outline: it is as deep as the slice is large.
    let most = (mask.size().height + mask.size().width) as f32;
    let signed = |(inside, outside): (f32, f32)| {
        if inside > 0.0 {
            inside.min(most) - 0.5
        } else {
            0.5 - outside.min(most)
        }
    };
    inside.into_iter().zip(outside).map(signed).collect()
}

/// Row and column of the centre of gravity.
fn middle(mask: &Mask) -> [f32; 2] {
    let width = mask.size().width;
    let mut sums = [0.0f64; 2];
    for (at, _) in mask.data().iter().enumerate().filter(|(_, v)| **v) {
        sums[0] += (at / width) as f64;
        sums[1] += (at % width) as f64;
    }
    let area = mask.area().max(1) as f64;
    sums.map(|sum| (sum / area) as f32)
}

#[cfg(test)]
mod tests {
    use synthfm_image::VolumeGeometry;

    use super::super::{Step, Store, Structure};
    use super::*;

    /// Eleven columns, nine rows.
    const SIZE: Size = Size::new(9, 11);

    fn mask(inside: impl Fn(usize, usize) -> bool) -> Mask {
        let pixels = (0..SIZE.area()).map(|at| inside(at / SIZE.width, at % SIZE.width));
        Mask::new(SIZE, pixels.collect()).unwrap()
    }

    /// A square of an odd side around row 4, column 5.
    fn square(side: usize) -> Mask {
        mask(|row, col| row.abs_diff(4) <= side / 2 && col.abs_diff(5) <= side / 2)
    }

    fn at(index: usize) -> Place {
        Place {
            structure: 1,
            plane: PlaneName::Axial,
            index,
        }
    }

    /// A case of six slices with masks on some of them.
    fn marked(folder: &std::path::Path, masks: &[(usize, Mask)]) -> Store {
        let grid = VolumeGeometry::with_spacing([11, 9, 6], [1.0, 1.0, 4.0]).unwrap();
        let mut store = Store::open(folder, grid).unwrap();
        let structure = Structure {
            id: 1,
            name: "a".to_owned(),
            colour: "#ffffff".to_owned(),
        };
        if store.annotation().structures().is_empty() {
            store.seed(vec![structure]).unwrap();
        }
        for (index, mask) in masks {
            let prompts = SlicePrompts {
                added: mask.to_run_lengths(),
                ..SlicePrompts::default()
            };
            let annotation = store.annotation();
            let change = annotation.mask_change(at(*index), mask.to_run_lengths(), Some(prompts));
            store
                .apply(Step::new("brush", vec![change.unwrap()]))
                .unwrap();
        }
        store
    }

    fn areas(store: &Store) -> [usize; 6] {
        [0, 1, 2, 3, 4, 5].map(|index| store.annotation().slice(at(index)).unwrap().area())
    }

    fn fill(store: &mut Store) {
        let changes = store
            .annotation()
            .interpolated(1, PlaneName::Axial)
            .unwrap();
        store.apply(Step::new("interpolation", changes)).unwrap();
    }

    #[test]
    fn gaps_are_filled_by_distances_to_the_outlines() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = marked(folder.path(), &[(0, square(5)), (3, square(1))]);
        fill(&mut store);
        // A third of the way: on the axes two pixels out 2/3 0.5 - 1/3 1.5 < 0, one pixel out all is positive.
        assert_eq!(store.annotation().slice(at(1)).unwrap(), square(3));
        // Two thirds: one pixel out 1/3 1.5 - 2/3 0.5 > 0, at the corners 1/3 1.5 - 2/3 (√2 - 0.5) < 0.
        let plus = mask(|row, col| row.abs_diff(4) + col.abs_diff(5) <= 1);
        assert_eq!(store.annotation().slice(at(2)).unwrap(), plus);
        assert_eq!(areas(&store), [25, 9, 5, 1, 0, 0]);
        store.undo().unwrap();
        assert_eq!(areas(&store), [25, 0, 0, 1, 0, 0]);
    }

    #[test]
    fn masks_that_do_not_meet_are_moved() {
        let folder = tempfile::tempdir().unwrap();
        let beside = |left: usize| {
            mask(move |row, col| (1..4).contains(&row) && (left..left + 3).contains(&col))
        };
        let mut store = marked(folder.path(), &[(1, beside(1)), (3, beside(7))]);
        fill(&mut store);
        assert_eq!(store.annotation().slice(at(2)).unwrap(), beside(4));
    }

    #[test]
    fn slices_that_were_filled_are_filled_anew_and_others_stay() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = marked(folder.path(), &[(0, square(5)), (4, square(5))]);
        fill(&mut store);
        assert_eq!(areas(&store), [25, 25, 25, 25, 25, 0]);
        assert_eq!(store.annotation().by_hand()[&1][0], [0, 4]);
        // A person corrects the middle; the slices beside it follow.
        let prompts = SlicePrompts {
            added: square(1).to_run_lengths(),
            ..SlicePrompts::default()
        };
        let change = store
            .annotation()
            .mask_change(at(2), square(1).to_run_lengths(), Some(prompts))
            .unwrap();
        store.apply(Step::new("brush", vec![change])).unwrap();
        fill(&mut store);
        assert_eq!(areas(&store), [25, 9, 1, 9, 25, 0]);
        drop(store);
        let again = marked(folder.path(), &[]);
        assert_eq!(areas(&again), [25, 9, 1, 9, 25, 0]);
        assert_eq!(again.annotation().by_hand()[&1][0], [0, 2, 4]);
    }

    #[test]
    fn a_gap_needs_two_ends() {
        let folder = tempfile::tempdir().unwrap();
        let store = marked(folder.path(), &[(2, square(3))]);
        let fill = |store: &Store| store.annotation().interpolated(1, PlaneName::Axial);
        assert!(fill(&store).unwrap_err().to_string().contains("two slices"));
        let store = marked(folder.path(), &[(3, square(3))]);
        assert!(fill(&store).unwrap().is_empty());
    }

    #[test]
    fn a_copy_takes_the_place_of_what_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = marked(folder.path(), &[(2, square(3)), (3, square(5))]);
        let change = store.annotation().copied(at(2), 3).unwrap();
        store.apply(Step::new("copy", vec![change])).unwrap();
        assert_eq!(areas(&store), [0, 0, 9, 9, 0, 0]);
        assert_eq!(
            store.annotation().by_hand()[&1][0],
            [2],
            "a copy is not by hand"
        );
        assert!(store.annotation().copied(at(5), 4).is_err());
    }

    #[test]
    fn clearing_from_here_leaves_the_other_side() {
        let folder = tempfile::tempdir().unwrap();
        let all: Vec<_> = (0..5).map(|index| (index, square(3))).collect();
        let mut store = marked(folder.path(), &all);
        let mut clear = |direction, index| {
            let changes = store
                .annotation()
                .cleared_from(at(index), direction)
                .unwrap();
            store.apply(Step::new("clear", changes)).unwrap();
            areas(&store)
        };
        assert_eq!(clear(Direction::Up, 3), [9, 9, 9, 0, 0, 0]);
        assert_eq!(clear(Direction::Down, 0), [0, 9, 9, 0, 0, 0]);
        assert_eq!(
            store.annotation().by_hand()[&1][0],
            [1, 2],
            "prompts go as well"
        );
        store.undo().unwrap();
        store.undo().unwrap();
        assert_eq!(areas(&store), [9, 9, 9, 9, 9, 0]);
    }
}
