//! The structures that every case of a data set begins with: from a file of the command line, from the data set's
//! `dataset.json`, or from the first case that was annotated. What is added in the page is kept for the next cases.
//!
//! A file has a field `labels`, in JSON or TOML: a list of names or of tables with `name` and, where wanted, `value`,
//! `colour` and `key`; or names with their values, as in nnU-Net's `dataset.json`. A JSON file may be the list alone.
//!
//! A name keeps its value: renaming a structure takes the value along only where no other case has the old name, and a
//! label that is taken off the list gets its value back when it returns.

mod file;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use synthfm_image::write_json;

use super::annotation::{MAX_STRUCTURES, Structure};
use super::catalog::CaseId;
use file::labels_of;
pub(super) use file::manifest_labels;

/// Where the lists are kept in the work folder.
const KEPT: &str = "structures.json";

/// A structure that every case may have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Label {
    /// The label's value in label maps, and its identifier on the cases.
    pub(super) value: u16,
    pub(super) name: String,
    /// `#rrggbb`.
    pub(super) colour: String,
    /// The digit that chooses it, 1 to 9, where the file names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) key: Option<u8>,
}

impl Label {
    fn of(structure: &Structure) -> Self {
        let Structure { id, name, colour } = structure;
        Self {
            value: *id,
            name: name.clone(),
            colour: colour.clone(),
            key: None,
        }
    }

    pub(super) fn structure(&self) -> Structure {
        Structure {
            id: self.value,
            name: self.name.clone(),
            colour: self.colour.clone(),
        }
    }
}

/// Which list is meant.
#[derive(Debug, Clone, Copy)]
pub(super) struct Source<'a> {
    /// The folder of the data set's `dataset.json` below the opened folder, or nothing.
    pub(super) set: &'a str,
    /// The labels of that file by value.
    pub(super) named: &'a BTreeMap<u16, String>,
}

/// The structures of a case before and after a change of the list.
#[derive(Debug, Clone, Copy)]
pub(super) struct Relisted<'a> {
    pub(super) before: &'a [Structure],
    pub(super) after: &'a [Structure],
    /// Whether what was renamed gets its new name on all cases.
    pub(super) everywhere: bool,
}

/// The file that keeps the structures of a data set.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    /// Labels that cases added.
    labels: Vec<Label>,
    /// Labels that were taken off the list: no other name gets their values.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    retired: Vec<Label>,
    /// The names of the structures on each case that was worked on.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    cases: BTreeMap<CaseId, BTreeSet<String>>,
}

/// The forms of [`Kept`] on disk: older versions wrote the labels alone.
#[derive(Deserialize)]
#[serde(untagged)]
enum Stored {
    Kept(Kept),
    Labels(Vec<Label>),
}

impl From<Stored> for Kept {
    fn from(stored: Stored) -> Self {
        match stored {
            Stored::Kept(kept) => kept,
            Stored::Labels(labels) => Self {
                labels,
                ..Self::default()
            },
        }
    }
}

/// A list that is being changed.
struct List<'a> {
    /// From the command line or the data set: always there, first, and as it is.
    fixed: &'a [Label],
    kept: &'a mut Kept,
}

impl List<'_> {
    /// Gives labels of cases other values where the file or the data set has come to use theirs.
    fn settle(&mut self) {
        for at in 0..self.kept.labels.len() {
            let Label { value, name, .. } = &self.kept.labels[at];
            let (mut known, mut taken) = (self.fixed.iter(), self.fixed.iter());
            let clashes = taken.any(|l| l.value == *value) && !known.any(|l| l.name == *name);
            if clashes && let Some(value) = self.free(*value) {
                self.kept.labels[at].value = value;
            }
        }
    }

    fn find(&self, name: &str) -> Option<&Label> {
        let mut all = self.fixed.iter().chain(&self.kept.labels);
        all.find(|label| label.name == name)
    }

    fn is_used(&self, value: u16) -> bool {
        let listed = self.fixed.iter().chain(&self.kept.labels);
        let mut all = listed.chain(&self.kept.retired);
        all.any(|label| label.value == value)
    }

    /// The value that is wished for, or the first that no label has or had.
    fn free(&self, wished: u16) -> Option<u16> {
        let mut candidates = std::iter::once(wished).chain(1..=u16::MAX);
        candidates.find(|&value| value > 0 && !self.is_used(value))
    }

    /// Lists a label that is not listed yet, under its earlier value where it had one.
    fn add(&mut self, label: Label) {
        if self.find(&label.name).is_some() {
            return;
        }
        let retired = &mut self.kept.retired;
        if let Some(at) = retired.iter().position(|known| known.name == label.name) {
            let back = retired.remove(at);
            if !self.is_used(back.value) {
                self.kept.labels.push(back);
                return;
            }
        }
        if let Some(value) = self.free(label.value) {
            self.kept.labels.push(Label { value, ..label });
        }
    }

    fn retire(&mut self, name: &str) {
        let labels = &mut self.kept.labels;
        if let Some(at) = labels.iter().position(|label| label.name == name) {
            self.kept.retired.push(labels.remove(at));
        }
    }

    /// Puts the label of a name in front of those that follow it on the case, so that digits stay theirs.
    fn put_before(&mut self, name: &str, following: &[Structure]) {
        let labels = &mut self.kept.labels;
        let at = |name: &str| labels.iter().position(|label| label.name == name);
        let next = following.iter().filter_map(|s| at(&s.name)).min();
        if let (Some(from), Some(to)) = (at(name), next)
            && to < from
        {
            labels[to..=from].rotate_right(1);
        }
    }

    /// A structure got another name; `stays` says whether other cases keep the old one.
    fn rename(&mut self, from: &str, to: &Structure, stays: bool) {
        let retired = self.kept.retired.iter();
        let is_known = self.find(&to.name).is_some() || retired.clone().any(|l| l.name == to.name);
        let mut labels = self.kept.labels.iter_mut();
        match labels.find(|label| label.name == from) {
            Some(label) if !stays && !is_known => {
                label.name.clone_from(&to.name);
                label.colour.clone_from(&to.colour);
            }
            _ => {
                if !stays {
                    self.retire(from);
                }
                self.add(Label::of(to));
            }
        }
    }

    /// Takes over what a change made of a case's structures.
    fn relist(&mut self, case: &str, change: Relisted, is_empty: impl Fn(u16) -> bool) {
        let Relisted {
            before,
            after,
            everywhere,
        } = change;
        for old in before {
            // A case that was annotated before there was a list.
            if !self.kept.retired.iter().any(|l| l.name == old.name) {
                self.add(Label::of(old));
            }
        }
        for old in before {
            let elsewhere = self.kept.elsewhere(case, &old.name).next().is_some();
            match after.iter().find(|new| new.id == old.id) {
                Some(new) if new.name != old.name => {
                    self.rename(&old.name, new, elsewhere && !everywhere);
                }
                Some(new) => {
                    let mut labels = self.kept.labels.iter_mut();
                    if let Some(label) = labels.find(|label| label.name == new.name) {
                        label.colour.clone_from(&new.colour);
                    }
                }
                None if is_empty(old.id) && !elsewhere => self.retire(&old.name),
                None => {}
            }
        }
        for (n, new) in after.iter().enumerate() {
            let comes_back = self.kept.retired.iter().any(|l| l.name == new.name);
            self.add(Label::of(new));
            if comes_back {
                self.put_before(&new.name, &after[n + 1..]);
            }
        }
        self.kept.cases.insert(case.to_owned(), names(after));
    }
}

impl Kept {
    /// The other cases that have a structure of this name.
    fn elsewhere<'a>(&'a self, case: &'a str, name: &'a str) -> impl Iterator<Item = &'a CaseId> {
        let has = move |(id, names): &(&CaseId, &BTreeSet<String>)| {
            id.as_str() != case && names.contains(name)
        };
        self.cases.iter().filter(has).map(|(id, _)| id)
    }
}

fn names(structures: &[Structure]) -> BTreeSet<String> {
    structures.iter().map(|s| s.name.clone()).collect()
}

/// The lists of all data sets below the opened folder.
#[derive(Debug)]
pub(super) struct LabelLists {
    /// From the command line; stands before what cases add.
    file: Option<Vec<Label>>,
    /// Remarks on entries of that file that were left out.
    notes: Vec<String>,
    path: PathBuf,
    /// By data set.
    kept: Mutex<BTreeMap<String, Kept>>,
}

impl LabelLists {
    /// Reads the file of the command line, if there is one, and what earlier runs kept in the work folder.
    pub(super) fn open(file: Option<&Path>, work: &Path) -> Result<Self> {
        let (file, notes) = file.map(file::read).transpose()?.unzip();
        let path = work.join(KEPT);
        let kept: BTreeMap<String, Stored> = match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text)
                .with_context(|| format!("reading {}", path.display()))?,
            Err(_) => BTreeMap::new(),
        };
        let kept = kept.into_iter().map(|(set, stored)| (set, stored.into()));
        Ok(Self {
            file,
            notes: notes.unwrap_or_default(),
            path,
            kept: Mutex::new(kept.collect()),
        })
    }

    /// Remarks on entries that were left out of the file of the command line.
    pub(super) fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The list of a data set: that of the file, or else the labels of its manifest, and what cases added.
    pub(super) fn of(&self, source: Source) -> Vec<Label> {
        let mut fixed = self.fixed(source);
        let kept = self.lock().get(source.set).map(|kept| Kept {
            labels: kept.labels.clone(),
            retired: kept.retired.clone(),
            ..Kept::default()
        });
        let Some(mut kept) = kept else {
            return fixed;
        };
        let mut list = List {
            fixed: &fixed,
            kept: &mut kept,
        };
        list.settle();
        kept.labels
            .retain(|label| fixed.iter().all(|l| l.name != label.name));
        fixed.extend(kept.labels);
        fixed.truncate(MAX_STRUCTURES);
        fixed
    }

    /// Values that labels of a data set have or had.
    pub(super) fn used_values(&self, source: Source) -> BTreeSet<u16> {
        let mut used: BTreeSet<u16> = self.fixed(source).iter().map(|l| l.value).collect();
        if let Some(kept) = self.lock().get(source.set) {
            used.extend(kept.labels.iter().chain(&kept.retired).map(|l| l.value));
        }
        used
    }

    /// The other cases that have a structure of this name, as far as they were opened with this version.
    pub(super) fn elsewhere(&self, source: Source, case: &str, name: &str) -> Vec<CaseId> {
        let all = self.lock();
        let kept = all.get(source.set).into_iter();
        kept.flat_map(|kept| kept.elsewhere(case, name))
            .cloned()
            .collect()
    }

    /// Keeps a changed list of a case's structures for the next cases; whether the list has changed. `is_empty` says
    /// whether a structure that is gone had nothing marked: it is taken off the list then, if no other case has it.
    pub(super) fn learn(
        &self,
        source: Source,
        case: &str,
        change: Relisted,
        is_empty: impl Fn(u16) -> bool,
    ) -> Result<bool> {
        self.update(source, |list| list.relist(case, change, is_empty))
    }

    /// Notes which structures a case has that was worked on.
    pub(super) fn note(&self, source: Source, case: &str, structures: &[Structure]) -> Result<()> {
        let names = names(structures);
        let known = self
            .lock()
            .get(source.set)
            .is_some_and(|kept| kept.cases.get(case) == Some(&names));
        if !known {
            self.update(source, |list| {
                list.kept.cases.insert(case.to_owned(), names);
            })?;
        }
        Ok(())
    }

    /// Makes the structures of a case that was annotated before the list of a data set that has none.
    pub(super) fn begin(&self, source: Source, structures: &[Structure]) -> Result<()> {
        self.update(source, |list| {
            if list.fixed.is_empty() && list.kept.labels.is_empty() {
                for structure in structures {
                    list.add(Label::of(structure));
                }
            }
        })
        .map(drop)
    }

    /// The value of each structure of a case in label maps, by its identifier: that of its name in the list, which
    /// gets the name where it lacks it. Of two structures of one name the second has a value of its own.
    pub(super) fn values(
        &self,
        source: Source,
        structures: &[Structure],
    ) -> Result<BTreeMap<u16, u16>> {
        let mut values = BTreeMap::new();
        self.update(source, |list| {
            let mut taken = BTreeSet::new();
            for structure in structures {
                list.add(Label::of(structure));
                let listed = list.find(&structure.name).map(|label| label.value);
                let free = || {
                    let mut candidates = std::iter::once(structure.id).chain(1..=u16::MAX);
                    candidates.find(|v| !list.is_used(*v) && !taken.contains(v))
                };
                let value = listed.filter(|value| !taken.contains(value)).or_else(free);
                let value = value.unwrap_or(structure.id);
                taken.insert(value);
                values.insert(structure.id, value);
            }
        })?;
        Ok(values)
    }

    /// Changes a list and writes it where it has become another; whether the labels have.
    fn update(&self, source: Source, change: impl FnOnce(&mut List)) -> Result<bool> {
        let fixed = self.fixed(source);
        let mut all = self.lock();
        let before = all.get(source.set).cloned().unwrap_or_default();
        let mut kept = before.clone();
        let mut list = List {
            fixed: &fixed,
            kept: &mut kept,
        };
        list.settle();
        change(&mut list);
        let relabelled = kept.labels != before.labels;
        if kept != before {
            all.insert(source.set.to_owned(), kept);
            write_json(&self.path, &*all)?;
        }
        Ok(relabelled)
    }

    fn fixed(&self, source: Source) -> Vec<Label> {
        let file = self.file.clone();
        file.unwrap_or_else(|| labels_of(source.named))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The digit that chooses each structure: the one of its label, else the first digit that is left.
pub(super) fn keys(structures: &[Structure], list: &[Label]) -> Vec<Option<u8>> {
    let own = |s: &Structure| list.iter().find(|l| l.name == s.name)?.key;
    let mut keys: Vec<Option<u8>> = structures.iter().map(own).collect();
    let taken: BTreeSet<u8> = keys.iter().flatten().copied().collect();
    let mut left = (1..=9).filter(|key| !taken.contains(key));
    for key in keys.iter_mut().filter(|key| key.is_none()) {
        *key = left.next();
    }
    keys
}

#[cfg(test)]
mod tests;
