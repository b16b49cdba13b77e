//! Real data sets with ground truth, for evaluation only.
//! Reads the layout of nnU-Net v2 (Isensee et al. 2021), COCO, folders of images and masks, and the original downloads
//! of public data sets; see [`Layout`]. Differs: one channel of a case is used, the first unless another is asked for.

mod coco_objects;
mod layout;
mod load;
mod load_volume;
mod manifest;
mod source;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::Path;

use self::manifest::modality_name;
use crate::Result;

pub use layout::Layout;
pub use load::{LoadOptions, LoadedCase, SliceChoice, View};
pub use load_volume::{LoadedVolume, ShownVolume};

pub(crate) use source::Source;

/// A class of the label maps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Structure {
    /// Name of the structure in the data set.
    pub name: String,
    /// Value of the structure in the label maps.
    pub label: u16,
}

/// An image with its truth, not yet read.
#[derive(Debug, Clone, PartialEq)]
pub struct Case {
    /// Name, from the file's.
    pub name: String,
    /// Patient; the case's name where the data set does not say.
    pub patient: String,
    /// `CT`, `MR`, `US`, ... in capitals.
    pub modality: String,
    pub(crate) source: Source,
}

impl Case {
    /// The file that messages about the truth name.
    fn truth_path(&self) -> &Path {
        let paths = self.source.paths();
        paths.last().copied().unwrap_or_else(|| Path::new(""))
    }

    /// Whether the files of the truth say where the patient is; pictures do not.
    fn states_place(&self) -> bool {
        !matches!(self.source.truth, source::Truth::Slices(..))
    }
}

/// A remark on one case for readers of the results.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct CaseNote {
    /// Name of the data set.
    pub dataset: String,
    /// Name of the case.
    pub case: String,
    /// Why it was left out, or how its files were understood.
    pub text: String,
}

/// The cases of one folder.
#[derive(Debug, Clone, PartialEq)]
pub struct Dataset {
    /// The data set's `name`, or the folder's name.
    pub name: String,
    /// How its folder is laid out.
    pub layout: Layout,
    /// The classes in ascending order of their value.
    pub structures: Vec<Structure>,
    /// Whether the values of the label maps number the instances of the first structure.
    pub instances: bool,
    /// Where structures are regions that share values (nnU-Net): the values of each structure's label.
    pub(crate) regions: BTreeMap<u16, Vec<u16>>,
    /// The value of pixels whose truth is not known (nnU-Net's label `ignore`).
    pub(crate) ignored: Option<u16>,
    /// Names of the channels of an image, where they are stated.
    pub(crate) channels: Vec<String>,
    /// The cases that can be read, in order of their names.
    pub cases: Vec<Case>,
    /// The cases that cannot.
    pub skipped: Vec<CaseNote>,
}

impl Dataset {
    /// Reads the description of a folder whose layout shows in its tree. Cases without an image or without truth are
    /// listed in [`Dataset::skipped`]; a folder in no known layout is an error that says what was expected.
    pub fn open(root: &Path) -> Result<Self> {
        Layout::detect(root)?.open(root)
    }

    /// Names the modality of cases after the channel that is read of them, where it was named after the first one.
    #[must_use]
    pub fn of_channel(mut self, channel: usize) -> Self {
        let name = |number: usize| self.channels.get(number).map(|name| modality_name(name));
        if let (Some(first), Some(read)) = (name(0), name(channel)) {
            for case in self.cases.iter_mut().filter(|case| case.modality == first) {
                case.modality.clone_from(&read);
            }
        }
        self
    }

    /// Opens a folder whose layout is known.
    pub fn open_as(root: &Path, layout: Layout) -> Result<Self> {
        layout.open(root)
    }
}
