//! The object that a viewer's session marks: a mask, what was said about it, and the steps back.
//!
//! A prompt belongs to a slice. Slices that prompts speak of keep their masks; those between and beyond are carried from
//! them, each from the nearest one.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use synthfm_image::{BoxXyxy, Mask, Point2, Result, Size, VolumeGeometry, run_values};

use super::scan::Range3;
use crate::annotation::{Place, Runs};

/// Interactions that can be undone; older ones are forgotten. Users of nnInteractive know one.
const MAX_STEPS: usize = 16;

/// The prompts for the object on a slice.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct SlicePrompts {
    /// Clicks; `true` on the object, `false` beside it.
    pub(super) points: Vec<(Point2, bool)>,
    /// A box around the object.
    pub(super) box_: Option<BoxXyxy>,
    /// Where the object may be at all: the inside of a lasso and a little more.
    pub(super) within: Option<Arc<Mask>>,
    /// Where the object is not, whatever the model says.
    pub(super) removed: Option<Arc<Mask>>,
    /// Whether the last answer heard the box and the lasso, so that further clicks correct it.
    pub(super) answered: bool,
}

/// The part of an object that can be undone: prompts, carried slices, slices that wait.
#[derive(Debug, Clone, Default)]
struct Said {
    prompts: BTreeMap<Place, SlicePrompts>,
    /// Slices whose mask was carried there.
    carried: BTreeSet<Place>,
    /// Slices with prompts that wait for an answer, in their order.
    queued: Vec<Place>,
    /// Slices from which carrying did not end for lack of time, and whether upwards.
    fronts: Vec<(Place, bool)>,
}

/// An interaction that can be undone: what was said before, and the slices that it changed, with what was there before.
#[derive(Debug)]
struct Step {
    said: Said,
    slices: Vec<(Place, Runs)>,
}

/// One object on an image.
#[derive(Debug)]
pub(super) struct Object {
    grid: VolumeGeometry,
    /// 0 or 1 per voxel, in the order of the array.
    mask: Vec<u8>,
    said: Said,
    steps: VecDeque<Step>,
    /// The part of the mask that has changed since it was last taken.
    changed: Option<Range3>,
}

impl Object {
    /// Nothing yet.
    pub(super) fn new(grid: VolumeGeometry) -> Self {
        Self {
            mask: vec![0; grid.len()],
            grid,
            said: Said::default(),
            steps: VecDeque::new(),
            changed: None,
        }
    }

    /// Begins an interaction; [`Self::undo`] takes it back.
    pub(super) fn begin(&mut self) {
        if self.steps.len() >= MAX_STEPS {
            self.steps.pop_front();
        }
        self.steps.push_back(Step {
            said: self.said.clone(),
            slices: Vec::new(),
        });
    }

    /// Joins the last step with the one before it: both are taken back together.
    pub(super) fn join(&mut self) {
        if self.steps.len() > 1
            && let Some(last) = self.steps.pop_back()
            && let Some(step) = self.steps.back_mut()
        {
            step.slices.extend(last.slices);
        }
    }

    /// Takes the last interaction back; whether there was one.
    pub(super) fn undo(&mut self) -> Result<bool> {
        let Some(step) = self.steps.pop_back() else {
            return Ok(false);
        };
        for (place, runs) in step.slices.iter().rev() {
            self.set(*place, run_values(runs))?;
        }
        self.said = step.said;
        Ok(true)
    }

    /// Forgets everything; what has changed is not told.
    pub(super) fn reset(&mut self) {
        *self = Self::new(self.grid.clone());
    }

    pub(super) fn size(&self, place: Place) -> Size {
        self.grid.slice_size(place.plane.into())
    }

    /// The prompts on a slice.
    pub(super) fn prompts(&self, place: Place) -> SlicePrompts {
        self.said.prompts.get(&place).cloned().unwrap_or_default()
    }

    /// Changes the prompts on a slice, which then waits for an answer.
    pub(super) fn say(&mut self, place: Place, change: impl FnOnce(&mut SlicePrompts)) {
        change(self.said.prompts.entry(place).or_default());
        self.said.carried.remove(&place);
        self.said.queued.retain(|queued| *queued != place);
        self.said.queued.push(place);
    }

    /// Notes that the model has heard the prompts on a slice.
    pub(super) fn heard(&mut self, place: Place) {
        self.said.prompts.entry(place).or_default().answered = true;
    }

    /// The slices that wait for an answer.
    pub(super) fn take_queued(&mut self) -> Vec<Place> {
        std::mem::take(&mut self.said.queued)
    }

    /// Where carrying is to go on.
    pub(super) fn take_fronts(&mut self) -> Vec<(Place, bool)> {
        std::mem::take(&mut self.said.fronts)
    }

    /// Has carrying go on from a slice the next time.
    pub(super) fn add_front(&mut self, place: Place, up: bool) {
        self.said.fronts.push((place, up));
    }

    /// Whether something waits for an answer.
    pub(super) fn waits(&self) -> bool {
        !self.said.queued.is_empty() || !self.said.fronts.is_empty()
    }

    /// The mask on a slice.
    pub(super) fn slice(&self, place: Place) -> Result<Mask> {
        let voxels = self.grid.slice_voxels(place.plane.into(), place.index)?;
        Mask::new(
            self.size(place),
            voxels.map(|voxel| self.mask[voxel] != 0).collect(),
        )
    }

    /// Replaces the mask on a slice.
    pub(super) fn put(&mut self, place: Place, mask: &Mask) -> Result<()> {
        let before = self.slice(place)?;
        if before == *mask {
            return Ok(());
        }
        if let Some(step) = self.steps.back_mut() {
            step.slices.push((place, before.to_run_lengths()));
        }
        self.set(place, mask.data().iter().copied())
    }

    /// Replaces the mask on a slice by one that was carried there.
    pub(super) fn put_carried(&mut self, place: Place, mask: &Mask) -> Result<()> {
        self.said.carried.insert(place);
        self.put(place, mask)
    }

    /// Empties carried slices.
    pub(super) fn clear_carried(&mut self, places: &[Place]) -> Result<()> {
        for place in places {
            if self.said.carried.remove(place) {
                self.put(*place, &Mask::zeros(self.size(*place)))?;
            }
        }
        Ok(())
    }

    /// The slices that may be carried to from `from`, in their order, and whether no prompts lie behind them: up to a slice
    /// with prompts, of which the nearer half, or up to one with a mask that was not carried there.
    pub(super) fn reach(&self, from: Place, up: bool) -> Result<(Vec<Place>, bool)> {
        let count = self.grid.slice_count(from.plane.into());
        let indices: Vec<usize> = if up {
            (from.index + 1..count).collect()
        } else {
            (0..from.index).rev().collect()
        };
        let mut reached = Vec::new();
        for index in indices {
            let place = Place { index, ..from };
            if self.said.prompts.contains_key(&place) {
                reached.truncate(reached.len().div_ceil(2));
                return Ok((reached, false));
            }
            if !self.said.carried.contains(&place) && self.slice(place)?.area() > 0 {
                break;
            }
            reached.push(place);
        }
        Ok((reached, true))
    }

    fn set(&mut self, place: Place, values: impl Iterator<Item = bool>) -> Result<()> {
        let voxels = self.grid.slice_voxels(place.plane.into(), place.index)?;
        let [ni, nj, _] = self.grid.shape();
        for (voxel, value) in voxels.zip(values) {
            let value = u8::from(value);
            if self.mask[voxel] != value {
                self.mask[voxel] = value;
                let at = [voxel / (ni * nj), voxel / ni % nj, voxel % ni];
                widen(&mut self.changed, at);
            }
        }
        Ok(())
    }

    /// The part of the mask that has changed since this was last asked, and its voxels.
    pub(super) fn take_changed(&mut self) -> Option<(Range3, Vec<u8>)> {
        let range = self.changed.take()?;
        let [ni, nj, _] = self.grid.shape();
        let [[a0, a1], [b0, b1], [c0, c1]] = range;
        let mut voxels = Vec::with_capacity((a1 - a0) * (b1 - b0) * (c1 - c0));
        for a in a0..a1 {
            for b in b0..b1 {
                let start = (a * nj + b) * ni;
                voxels.extend_from_slice(&self.mask[start + c0..start + c1]);
            }
        }
        Some((range, voxels))
    }

    /// All voxels, in the order of the array.
    pub(super) fn voxels(&self) -> &[u8] {
        &self.mask
    }

    /// Begins anew from a mask over the whole image, as a step that can be undone. The client knows what it has sent: what
    /// has changed is not told.
    pub(super) fn start_from(&mut self, voxels: &[bool], across: usize) -> Result<()> {
        self.begin();
        self.said = Said::default();
        let count = {
            let first = super::scan::place(across, 0);
            self.grid.slice_count(first.plane.into())
        };
        for index in 0..count {
            let place = super::scan::place(across, index);
            let inside = self.grid.slice_voxels(place.plane.into(), index)?;
            let mask = Mask::new(self.size(place), inside.map(|at| voxels[at]).collect())?;
            self.put(place, &mask)?;
        }
        self.changed = None;
        Ok(())
    }
}

/// Widens a range so that it holds a voxel.
pub(super) fn widen(range: &mut Option<Range3>, at: [usize; 3]) {
    let range = range.get_or_insert(at.map(|index| [index, index + 1]));
    for (range, index) in range.iter_mut().zip(at) {
        range[0] = range[0].min(index);
        range[1] = range[1].max(index + 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::viewers::scan::place;

    /// An array of 5 x 4 x 3: our grid is 3 x 4 x 5.
    fn object() -> Object {
        Object::new(VolumeGeometry::with_spacing([3, 4, 5], [1.0; 3]).unwrap())
    }

    /// A mask on a slice with one pixel set.
    fn dot(object: &Object, place: Place, row: usize, col: usize) -> Mask {
        let size = object.size(place);
        let mut mask = Mask::zeros(size);
        mask.data_mut()[size.index(row, col)] = true;
        mask
    }

    #[test]
    fn pixels_of_all_planes_are_the_voxels_of_the_array() {
        // Row and column of the array's voxel [3, 2, 1] in each plane; coronal and sagittal rows run against axis 0.
        for (axis, row, col) in [(0, 2, 1), (1, 1, 1), (2, 1, 2)] {
            let mut object = object();
            let at = place(axis, [3, 2, 1][axis]);
            object.put(at, &dot(&object, at, row, col)).unwrap();
            let set = object.voxels().iter().position(|voxel| *voxel == 1);
            assert_eq!(set, Some((3 * 4 + 2) * 3 + 1), "axis {axis}");
            let (range, voxels) = object.take_changed().unwrap();
            assert_eq!((range, voxels), ([[3, 4], [2, 3], [1, 2]], vec![1]));
            assert!(object.take_changed().is_none());
        }
    }

    #[test]
    fn undo_brings_back_masks_and_prompts() {
        let mut object = object();
        let (first, second) = (place(0, 1), place(2, 2));
        object.begin();
        object.say(first, |prompts| {
            prompts.points.push((Point2::new(1.0, 2.0), true));
        });
        object.put(first, &dot(&object, first, 2, 1)).unwrap();
        object.begin();
        object.put(second, &dot(&object, second, 0, 0)).unwrap();
        object.put(first, &Mask::zeros(object.size(first))).unwrap();
        object.take_changed();
        assert!(object.undo().unwrap());
        assert_eq!(object.slice(first).unwrap().area(), 1);
        assert_eq!(object.slice(second).unwrap().area(), 0);
        let (range, voxels) = object.take_changed().unwrap();
        assert_eq!(range, [[1, 5], [0, 3], [1, 3]]);
        assert_eq!(
            voxels
                .iter()
                .map(|&voxel| usize::from(voxel))
                .sum::<usize>(),
            1
        );
        assert!(object.undo().unwrap());
        assert_eq!(object.prompts(first), SlicePrompts::default());
        assert!(!object.waits() && object.voxels().iter().all(|voxel| *voxel == 0));
        assert!(!object.undo().unwrap());
    }

    #[test]
    fn joined_steps_are_taken_back_together() {
        let mut object = object();
        let at = place(0, 1);
        object.begin();
        object.say(at, |_| {});
        object.begin();
        object.take_queued();
        object.put(at, &dot(&object, at, 0, 0)).unwrap();
        object.join();
        assert!(object.undo().unwrap());
        assert!(object.voxels().iter().all(|voxel| *voxel == 0));
        assert!(!object.waits() && !object.undo().unwrap());
    }

    #[test]
    fn steps_are_bounded() {
        let mut object = object();
        for _ in 0..MAX_STEPS + 5 {
            object.begin();
        }
        for _ in 0..MAX_STEPS {
            assert!(object.undo().unwrap());
        }
        assert!(!object.undo().unwrap());
    }

    #[test]
    fn a_mask_reaches_half_way_to_the_next_prompts() {
        let mut object = Object::new(VolumeGeometry::with_spacing([3, 4, 12], [1.0; 3]).unwrap());
        let indices = |object: &Object, from, up| {
            let (reached, _) = object.reach(place(0, from), up).unwrap();
            reached.iter().map(|place| place.index).collect::<Vec<_>>()
        };
        assert_eq!(indices(&object, 9, true), [10, 11]);
        object.say(place(0, 4), |_| {});
        object.say(place(0, 9), |_| {});
        assert_eq!(indices(&object, 4, true), [5, 6]);
        assert_eq!(indices(&object, 9, false), [8, 7]);
        assert_eq!(indices(&object, 4, false), [3, 2, 1, 0]);
        // A mask that was carried is carried over, one that was given is a border.
        let (near, far) = (place(0, 2), place(0, 1));
        object.put_carried(near, &dot(&object, near, 0, 0)).unwrap();
        object.put(far, &dot(&object, far, 0, 0)).unwrap();
        assert_eq!(indices(&object, 4, false), [3, 2]);
        object.clear_carried(&[near, far]).unwrap();
        assert_eq!(object.slice(near).unwrap().area(), 0);
        assert_eq!(object.slice(far).unwrap().area(), 1);
        // Another plane knows nothing of it, but sees the mask.
        let across = object.reach(place(2, 2), false).unwrap();
        assert_eq!(across, (vec![place(2, 1)], true));
    }

    #[test]
    fn a_start_is_one_step_and_is_not_told() {
        let mut object = object();
        let mut voxels = vec![false; 60];
        voxels[17] = true;
        object.say(place(0, 0), |_| {});
        object.start_from(&voxels, 2).unwrap();
        assert_eq!(object.voxels()[17], 1);
        assert!(object.take_changed().is_none() && !object.waits());
        assert!(object.undo().unwrap() && object.waits());
        assert_eq!(object.voxels()[17], 0);
    }
}
