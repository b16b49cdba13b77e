//! Changes with what was there before, so that they can be taken back and made again.

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use synthfm_image::check_run_lengths;

use super::{Annotation, MAX_STEPS, PlaneName, Progress, Runs, Structure};

/// One structure on one slice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Place {
    pub(crate) structure: u16,
    pub(crate) plane: PlaneName,
    pub(crate) index: usize,
}

/// The prompts of a person for a structure on a slice.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct SlicePrompts {
    /// Clicks `(x, y)` in pixels of the slice.
    pub(crate) points: Vec<[f64; 2]>,
    /// 1 on the structure, 0 beside it.
    pub(crate) labels: Vec<u8>,
    /// `x0, y0, x1, y1`.
    #[serde(rename = "box")]
    pub(crate) box_: Option<[f64; 4]>,
    /// Black and white of the picture that the model saw.
    pub(crate) window: Option<[f32; 2]>,
    /// Painted by hand: inside whatever the model says.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) added: Runs,
    /// Erased by hand: outside whatever the model says.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) removed: Runs,
    /// Carried over from this neighbouring slice.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) from: Option<usize>,
    /// Filled in between slices that were marked.
    #[serde(skip_serializing_if = "is_false")]
    pub(crate) filled: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
const fn is_false(value: &bool) -> bool {
    !*value
}

impl SlicePrompts {
    /// Whether a person has worked on the slice, by prompts or by painting.
    pub(crate) fn is_by_hand(&self) -> bool {
        let painted = !self.added.is_empty() || !self.removed.is_empty();
        let prompted = !self.points.is_empty() || self.box_.is_some();
        (painted || prompted) && self.from.is_none() && !self.filled
    }
}

/// Something that became something else.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[expect(
    clippy::large_enum_variant,
    reason = "nearly all changes are masks, so that a box would save nothing"
)]
pub(crate) enum Change {
    /// A mask on a slice, with its prompts.
    Mask {
        place: Place,
        before: Runs,
        after: Runs,
        prompts_before: Option<SlicePrompts>,
        prompts_after: Option<SlicePrompts>,
    },
    /// The list of structures.
    Structures {
        before: Vec<Structure>,
        after: Vec<Structure>,
    },
}

impl Change {
    /// The structures that it speaks of.
    pub(super) fn structure_ids(&self) -> Vec<u16> {
        match self {
            Self::Mask { place, .. } => vec![place.structure],
            Self::Structures { before, after } => {
                before.iter().chain(after).map(|s| s.id).collect()
            }
        }
    }

    fn reversed(&self) -> Self {
        match self.clone() {
            Self::Mask {
                place,
                before,
                after,
                prompts_before,
                prompts_after,
            } => Self::Mask {
                place,
                before: after,
                after: before,
                prompts_before: prompts_after,
                prompts_after: prompts_before,
            },
            Self::Structures { before, after } => Self::Structures {
                before: after,
                after: before,
            },
        }
    }
}

/// The changes that one press of undo takes back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Step {
    /// For people: "click", "brush", ...
    pub(crate) what: String,
    /// Steps of one group, such as one run of propagation, are taken back together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) group: Option<u64>,
    pub(crate) changes: Vec<Change>,
}

impl Step {
    /// A step that stands alone.
    pub(crate) fn new(what: impl Into<String>, changes: Vec<Change>) -> Self {
        Self {
            what: what.into(),
            group: None,
            changes,
        }
    }
}

impl Annotation {
    /// The change that puts `after` and its prompts on a place.
    pub(crate) fn mask_change(
        &self,
        place: Place,
        after: Runs,
        prompts_after: Option<SlicePrompts>,
    ) -> Result<Change> {
        Ok(Change::Mask {
            place,
            before: self.slice_runs(place)?,
            after,
            prompts_before: self.prompts.get(&place).cloned(),
            prompts_after,
        })
    }

    /// Refuses steps that do not fit this case, before any of their changes is made.
    pub(super) fn check(&self, step: &Step) -> Result<()> {
        for change in &step.changes {
            match change {
                Change::Mask {
                    place,
                    before,
                    after,
                    ..
                } => {
                    let plane = place.plane.into();
                    let count = self.grid.slice_count(plane);
                    if place.index >= count {
                        bail!("{plane} slice {} of {count}", place.index);
                    }
                    let area = self.grid.slice_size(plane).area();
                    for runs in [before, after] {
                        check_run_lengths(runs, area)?;
                    }
                }
                Change::Structures { before, after } => {
                    for structure in before.iter().chain(after) {
                        structure.check().map_err(anyhow::Error::msg)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Makes a step that was checked; what was undone before cannot be redone any more.
    pub(super) fn apply(&mut self, step: Step) -> Result<()> {
        for change in &step.changes {
            self.make(change)?;
        }
        let marks = |change: &Change| matches!(change, Change::Mask { .. });
        if self.progress == Progress::New && step.changes.iter().any(marks) {
            self.progress = Progress::Started;
        }
        self.reopen();
        self.redo.clear();
        self.undo.push(step);
        let steps = self.undo.len();
        if steps > MAX_STEPS {
            self.undo.drain(..steps - MAX_STEPS);
        }
        self.revision += 1;
        Ok(())
    }

    /// A case that was done and is changed is to be looked at again: its label file is that of before.
    fn reopen(&mut self) {
        if self.progress == Progress::Done {
            self.progress = Progress::Started;
        }
    }

    /// Takes the last step back, with all of its group; what it was.
    pub(super) fn undo(&mut self) -> Result<String> {
        let step = self.undo.last().context("there is nothing to undo")?;
        let (what, group) = (step.what.clone(), step.group);
        while let Some(step) = self.undo.pop() {
            for change in step.changes.iter().rev() {
                self.make(&change.reversed())?;
            }
            self.redo.push(step);
            let next = self.undo.last().and_then(|step| step.group);
            if group.is_none() || next != group {
                break;
            }
        }
        self.reopen();
        self.revision += 1;
        Ok(what)
    }

    /// Makes the step that was undone last again, with all of its group; what it was.
    pub(super) fn redo(&mut self) -> Result<String> {
        let step = self.redo.last().context("there is nothing to redo")?;
        let (what, group) = (step.what.clone(), step.group);
        while let Some(step) = self.redo.pop() {
            for change in &step.changes {
                self.make(change)?;
            }
            self.undo.push(step);
            let next = self.redo.last().and_then(|step| step.group);
            if group.is_none() || next != group {
                break;
            }
        }
        self.reopen();
        self.revision += 1;
        Ok(what)
    }

    /// Gives a name another one, in the list and in all steps, so that undoing keeps it.
    pub(super) fn rename(&mut self, from: &str, to: &str) {
        let steps = self.undo.iter_mut().chain(&mut self.redo);
        let lists = steps
            .flat_map(|step| &mut step.changes)
            .filter_map(|change| match change {
                Change::Structures { before, after } => Some(before.iter_mut().chain(after)),
                Change::Mask { .. } => None,
            });
        let structures = self.structures.iter_mut().chain(lists.flatten());
        for structure in structures.filter(|structure| structure.name == from) {
            to.clone_into(&mut structure.name);
        }
        self.revision += 1;
    }

    fn make(&mut self, change: &Change) -> Result<()> {
        match change {
            Change::Mask {
                place,
                after,
                prompts_after,
                ..
            } => {
                let bits = self.masks.entry(place.structure).or_default();
                bits.set_slice(&self.grid, place.plane.into(), place.index, after)?;
                match prompts_after {
                    Some(prompts) => self.prompts.insert(*place, prompts.clone()),
                    None => self.prompts.remove(place),
                };
            }
            Change::Structures { after, .. } => self.structures.clone_from(after),
        }
        Ok(())
    }
}
