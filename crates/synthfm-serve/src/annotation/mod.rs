//! The annotation of one case: structures with colours, a mask for each, the prompts that led there, and
//! the steps to undo.
//!
//! Structures may overlap while one works; a label map resolves that by the order of the structures. A picture is a
//! volume of one axial slice. Every change is a [`Step`] that knows what was there before, so that undoing is exact,
//! and the journal ([`store`]) replays steps instead of keeping states.

mod bits;
mod fill;
mod plane;
mod step;
mod store;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};
use synthfm_image::{LabelVolume, Mask, VolumeGeometry};

pub(crate) use bits::BitVolume;
pub(crate) use plane::{Direction, PlaneName};
/// Run lengths of a mask of known size.
pub(crate) type Runs = Vec<u32>;

pub(crate) use step::{Change, Place, SlicePrompts, Step};
pub(crate) use store::{ABOUT, Store, content_of};

/// Structures on one case.
pub(crate) const MAX_STRUCTURES: usize = 128;
/// Characters of a structure's name.
pub(crate) const MAX_NAME: usize = 64;
/// Steps that can be undone; older ones are forgotten.
pub(crate) const MAX_STEPS: usize = 500;

/// How far the work on a case is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Progress {
    /// Nothing is marked.
    #[default]
    New,
    /// Something is.
    Started,
    /// The annotator has said so.
    Done,
}

/// Something to mark.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Structure {
    /// Never used twice on a case; its value in label maps.
    pub(crate) id: u16,
    /// As people call it.
    pub(crate) name: String,
    /// `#rrggbb`.
    pub(crate) colour: String,
}

/// Whether a name is that of the value 0.
pub(crate) fn is_background(name: &str) -> bool {
    name.trim().eq_ignore_ascii_case("background")
}

impl Structure {
    /// Refuses names and colours that a page or file could not show.
    pub(crate) fn check(&self) -> Result<(), String> {
        let length = self.name.chars().count();
        if self.name.trim().is_empty() || length > MAX_NAME {
            return Err(format!("a name of 1 to {MAX_NAME} characters expected"));
        }
        if self.name.chars().any(char::is_control) {
            return Err("a name without control characters expected".to_owned());
        }
        let digits = self.colour.strip_prefix('#').unwrap_or_default();
        if digits.len() == 6 && digits.chars().all(|c| c.is_ascii_hexdigit()) {
            Ok(())
        } else {
            Err(format!(
                "a colour such as #ffc800 expected, got {:?}",
                self.colour
            ))
        }
    }
}

/// The work on one case.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Annotation {
    grid: VolumeGeometry,
    /// In the order of the page; later ones lie on top in label maps.
    structures: Vec<Structure>,
    /// By structure; those of deleted structures stay as long as deleting can be undone.
    masks: BTreeMap<u16, BitVolume>,
    prompts: BTreeMap<Place, SlicePrompts>,
    undo: Vec<Step>,
    redo: Vec<Step>,
    progress: Progress,
    /// Steps so far, undone ones too.
    revision: u64,
}

impl Annotation {
    /// Nothing yet.
    pub(crate) fn new(grid: VolumeGeometry) -> Self {
        Self {
            grid,
            structures: Vec::new(),
            masks: BTreeMap::new(),
            prompts: BTreeMap::new(),
            undo: Vec::new(),
            redo: Vec::new(),
            progress: Progress::New,
            revision: 0,
        }
    }

    pub(crate) fn grid(&self) -> &VolumeGeometry {
        &self.grid
    }

    pub(crate) fn structures(&self) -> &[Structure] {
        &self.structures
    }

    pub(crate) const fn progress(&self) -> Progress {
        self.progress
    }

    pub(crate) const fn revision(&self) -> u64 {
        self.revision
    }

    /// Names of the steps that undo and redo would take next.
    pub(crate) fn next_steps(&self) -> [Option<&str>; 2] {
        [self.undo.last(), self.redo.last()].map(|step| step.map(|step| step.what.as_str()))
    }

    /// The largest number of a group of steps; 0 if there is none.
    pub(crate) fn last_group(&self) -> u64 {
        let steps = self.undo.iter().chain(&self.redo);
        steps.filter_map(|step| step.group).max().unwrap_or(0)
    }

    /// The structure of that identifier.
    pub(crate) fn structure(&self, id: u16) -> Result<&Structure> {
        match self.structures.iter().find(|s| s.id == id) {
            Some(structure) => Ok(structure),
            None => bail!("there is no structure {id} on this case"),
        }
    }

    /// The identifiers of all structures, also of those that undoing could bring back.
    pub(crate) fn used_ids(&self) -> BTreeSet<u16> {
        let listed = self.structures.iter().map(|s| s.id);
        let steps = self.undo.iter().chain(&self.redo);
        let once = steps
            .flat_map(|step| &step.changes)
            .flat_map(Change::structure_ids);
        let masked = self.masks.keys().copied();
        listed.chain(masked).chain(once).collect()
    }

    /// Number of voxels of a structure.
    pub(crate) fn voxels(&self, id: u16) -> usize {
        self.masks.get(&id).map_or(0, BitVolume::count)
    }

    /// Whether a structure has voxels.
    pub(crate) fn is_marked(&self, id: u16) -> bool {
        self.masks.get(&id).is_some_and(|bits| bits.count() > 0)
    }

    /// For each structure, in each plane the slices that a person has worked on.
    pub(crate) fn by_hand(&self) -> BTreeMap<u16, [Vec<usize>; 3]> {
        let mut found: BTreeMap<u16, [Vec<usize>; 3]> = BTreeMap::new();
        for (place, _) in self.prompts.iter().filter(|(_, p)| p.is_by_hand()) {
            let planes = found.entry(place.structure).or_default();
            planes[place.plane as usize].push(place.index);
        }
        found
    }

    /// The voxels of a structure; `None` where it has none.
    pub(crate) fn mask(&self, structure: u16) -> Option<&BitVolume> {
        self.masks.get(&structure)
    }

    /// The mask on a slice.
    pub(crate) fn slice(&self, place: Place) -> Result<Mask> {
        let (plane, index) = (place.plane.into(), place.index);
        let empty = BitVolume::default();
        let bits = self.masks.get(&place.structure).unwrap_or(&empty);
        Ok(bits.slice(&self.grid, plane, index)?)
    }

    /// The runs of the mask on a slice.
    pub(crate) fn slice_runs(&self, place: Place) -> Result<Runs> {
        let (plane, index) = (place.plane.into(), place.index);
        let empty = BitVolume::default();
        let bits = self.masks.get(&place.structure).unwrap_or(&empty);
        Ok(bits.slice_runs(&self.grid, plane, index)?)
    }

    /// The prompts given on a slice for a structure.
    pub(crate) fn prompts(&self, place: Place) -> Option<&SlicePrompts> {
        self.prompts.get(&place)
    }

    /// All prompts, in order.
    pub(crate) fn all_prompts(&self) -> impl Iterator<Item = (Place, &SlicePrompts)> {
        let listed = |(place, prompts): (&Place, _)| {
            let known = self.structures.iter().any(|s| s.id == place.structure);
            known.then_some((*place, prompts))
        };
        self.prompts.iter().filter_map(listed)
    }

    /// All structures in one label map; where they overlap, the last in the list.
    pub(crate) fn labels(&self) -> LabelVolume {
        let mut labels = LabelVolume::zeros(self.grid.clone());
        for structure in &self.structures {
            let bits = self.masks.get(&structure.id);
            for voxel in bits.into_iter().flat_map(BitVolume::voxels) {
                labels.data_mut()[voxel] = structure.id;
            }
        }
        labels
    }

    /// The work with other identifiers, by the present ones, and without its steps: for files.
    pub(crate) fn renumbered(&self, values: &BTreeMap<u16, u16>) -> Self {
        let value = |id: u16| values.get(&id).copied();
        let structures = self.structures.iter().map(|s| Structure {
            id: value(s.id).unwrap_or(s.id),
            ..s.clone()
        });
        let masks = self.masks.iter();
        let prompts = self.prompts.iter().filter_map(|(place, prompts)| {
            let structure = value(place.structure)?;
            Some((
                Place {
                    structure,
                    ..*place
                },
                prompts.clone(),
            ))
        });
        Self {
            structures: structures.collect(),
            masks: masks
                .filter_map(|(id, bits)| Some((value(*id)?, bits.clone())))
                .collect(),
            prompts: prompts.collect(),
            progress: self.progress,
            revision: self.revision,
            ..Self::new(self.grid.clone())
        }
    }

    /// One structure as a label map of 0 and `value`.
    pub(crate) fn one_label(&self, structure: u16, value: u16) -> LabelVolume {
        let mut labels = LabelVolume::zeros(self.grid.clone());
        let bits = self.masks.get(&structure);
        for voxel in bits.into_iter().flat_map(BitVolume::voxels) {
            labels.data_mut()[voxel] = value;
        }
        labels
    }

    /// For each structure that has voxels: its number of voxels, and in each plane the slices that it touches.
    pub(crate) fn extents(&self) -> BTreeMap<u16, (usize, [Vec<usize>; 3])> {
        let planes = PlaneName::ALL.map(|plane| {
            let plane = plane.into();
            (self.grid.slice_axis(plane), self.grid.slice_count(plane))
        });
        let [ni, nj, _] = self.grid.shape();
        let of = |bits: &BitVolume| {
            let mut seen = planes.map(|(_, count)| vec![false; count]);
            for voxel in bits.voxels() {
                let at = [voxel % ni, voxel / ni % nj, voxel / (ni * nj)];
                for ((axis, _), seen) in planes.iter().zip(&mut seen) {
                    seen[at[*axis]] = true;
                }
            }
            let touched = |seen: Vec<bool>| (0..seen.len()).filter(|&n| seen[n]).collect();
            (bits.count(), seen.map(touched))
        };
        let listed = self.structures.iter();
        listed
            .filter_map(|s| Some((s.id, of(self.masks.get(&s.id)?))))
            .filter(|(_, (count, _))| *count > 0)
            .collect()
    }
}
