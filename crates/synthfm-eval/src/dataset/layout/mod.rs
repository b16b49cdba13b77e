//! How data sets lie on disk: nnU-Net v2, COCO, images with masks, and public data sets as they are downloaded.
//! Each layout is a file of this folder that lists cases and nothing more; reading them is the same for all.
//! Structures and folders are those of `reference` pages of the data sets; where a download changed over time, the
//! variants are listed side by side.

mod cardiac;
mod chaos;
mod coco;
mod folders;
mod microscopy;
mod nnunet;
#[cfg(test)]
mod tests;
mod tree;
mod ultrasound;
mod volumes;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::source::Source;
use super::{Case, CaseNote, Dataset, Structure};
use crate::error::problem;
use crate::{Error, Result};
use tree::listing;

/// A way to arrange a data set in a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    /// nnU-Net v2.
    Nnunet,
    /// COCO instances.
    Coco,
    /// Two folders of images and of masks.
    Folders,
    /// Medical Segmentation Decathlon.
    Msd,
    /// AMOS 2022.
    Amos22,
    /// CHAOS, CT and MR.
    Chaos,
    /// Beyond the Cranial Vault (Synapse), abdomen and cervix.
    Btcv,
    /// `TotalSegmentator`, CT and MR.
    Totalsegmentator,
    /// FLARE 2022.
    Flare22,
    /// `KiTS` 2019 to 2023.
    Kits,
    /// Fetal heads of HC18.
    Hc18,
    /// Pubic symphysis and fetal head.
    Psfhs,
    /// Cardiac ultrasound.
    Camus,
    /// Breast ultrasound.
    Busi,
    /// Cardiac MR.
    Acdc,
    /// Phase-contrast microscopy.
    Livecell,
    /// Data Science Bowl 2018, nuclei.
    Dsb2018,
}

/// A layout's name, what its folder must hold, whether a folder does, and how it is listed.
struct Description {
    layout: Layout,
    name: &'static str,
    expected: &'static str,
    fits: fn(&Path) -> bool,
    list: fn(&Path) -> Result<Listing>,
}

/// In the order in which a folder is tried: narrow ones before those that would also take them.
const DESCRIPTIONS: [Description; 17] = [
    Description {
        layout: Layout::Chaos,
        name: "chaos",
        expected: "Train_Sets/CT/ID/{DICOM_anon, Ground} or Train_Sets/MR/ID/{T1DUAL, T2SPIR}/{DICOM_anon, Ground}",
        fits: chaos::fits,
        list: chaos::list,
    },
    Description {
        layout: Layout::Amos22,
        name: "amos22",
        expected: "imagesTr/amos_NNNN.nii.gz with labelsTr, or imagesVa with labelsVa",
        fits: volumes::amos_fits,
        list: volumes::amos,
    },
    Description {
        layout: Layout::Btcv,
        name: "btcv",
        expected: "Abdomen/RawData/Training/{img/imgNNNN.nii.gz, label/labelNNNN.nii.gz}, or the same of Cervix",
        fits: volumes::btcv_fits,
        list: volumes::btcv,
    },
    Description {
        layout: Layout::Flare22,
        name: "flare22",
        expected: "FLARE22Train/{images/NAME_0000.nii.gz, labels/NAME.nii.gz}",
        fits: volumes::flare_fits,
        list: volumes::flare,
    },
    Description {
        layout: Layout::Totalsegmentator,
        name: "totalsegmentator",
        expected: "sNNNN/{ct.nii.gz or mri.nii.gz, segmentations/CLASS.nii.gz}",
        fits: volumes::totalsegmentator_fits,
        list: volumes::totalsegmentator,
    },
    Description {
        layout: Layout::Kits,
        name: "kits",
        expected: "[dataset/]case_NNNNN/{imaging.nii.gz, segmentation.nii.gz}",
        fits: volumes::kits_fits,
        list: volumes::kits,
    },
    Description {
        layout: Layout::Hc18,
        name: "hc18",
        expected: "training_set/{NNN_HC.png, NNN_HC_Annotation.png} and training_set_pixel_size_and_HC.csv",
        fits: ultrasound::hc18_fits,
        list: ultrasound::hc18,
    },
    Description {
        layout: Layout::Psfhs,
        name: "psfhs",
        expected: "[PSFHS/]{image_mha/NNNNN.mha, label_mha/NNNNN.mha}",
        fits: ultrasound::psfhs_fits,
        list: ultrasound::psfhs,
    },
    Description {
        layout: Layout::Busi,
        name: "busi",
        expected: "[Dataset_BUSI_with_GT/]{benign, malignant}/{'benign (1).png', 'benign (1)_mask.png'}",
        fits: ultrasound::busi_fits,
        list: ultrasound::busi,
    },
    Description {
        layout: Layout::Camus,
        name: "camus",
        expected: "[database_nifti/]patientNNNN/{patientNNNN_2CH_ED.nii.gz, patientNNNN_2CH_ED_gt.nii.gz}",
        fits: cardiac::camus_fits,
        list: cardiac::camus,
    },
    Description {
        layout: Layout::Acdc,
        name: "acdc",
        expected: "[database/]{training, testing}/patientNNN/{patientNNN_frameNN.nii.gz, patientNNN_frameNN_gt.nii.gz}",
        fits: cardiac::acdc_fits,
        list: cardiac::acdc,
    },
    Description {
        layout: Layout::Livecell,
        name: "livecell",
        expected: "images/{livecell_train_val_images, livecell_test_images} and livecell_coco_{train, val or test}.json",
        fits: microscopy::livecell_fits,
        list: microscopy::livecell,
    },
    Description {
        layout: Layout::Dsb2018,
        name: "dsb2018",
        expected: "[stage1_train/]ID/{images/ID.png, masks/*.png}",
        fits: microscopy::dsb2018_fits,
        list: microscopy::dsb2018,
    },
    Description {
        layout: Layout::Msd,
        name: "msd",
        expected: "dataset.json with `modality` and numbered `labels`, imagesTr/CASE.nii.gz, labelsTr/CASE.nii.gz",
        fits: volumes::msd_fits,
        list: volumes::msd,
    },
    Description {
        layout: Layout::Nnunet,
        name: "nnunet",
        expected: "dataset.json, imagesTs, labelsTs (or imagesTr, labelsTr)",
        fits: nnunet::fits,
        list: nnunet::list,
    },
    Description {
        layout: Layout::Coco,
        name: "coco",
        expected: "annotations.json or annotations/instances_SPLIT.json, and the images in images/, SPLIT/ or beside it",
        fits: coco::fits,
        list: coco::list,
    },
    Description {
        layout: Layout::Folders,
        name: "folders",
        expected: "images/NAME.EXT and masks/NAME.EXT (or NAME_mask, NAME_segmentation), labels.json if masks have several values",
        fits: folders::fits,
        list: folders::list,
    },
];

/// The cases of a folder.
#[derive(Default)]
struct Listing {
    /// `None`: the folder's name.
    name: Option<String>,
    structures: Vec<Structure>,
    instances: bool,
    /// Values of the structures that are regions.
    regions: BTreeMap<u16, Vec<u16>>,
    /// The value of pixels whose truth is not known.
    ignored: Option<u16>,
    /// Names of the channels, where they are stated.
    channels: Vec<String>,
    cases: Vec<Case>,
    /// Case and reason.
    skipped: Vec<(String, String)>,
}

impl Listing {
    /// A list whose structures are numbered from 1 in this order.
    fn of(name: &str, structures: &[&str]) -> Self {
        let numbered = structures.iter().zip(1..);
        let structures = numbered.map(|(&name, label)| Structure {
            name: name.to_owned(),
            label,
        });
        Self {
            name: Some(name.to_owned()),
            structures: structures.collect(),
            ..Self::default()
        }
    }

    /// Adds a case if all of its files are there, otherwise the reason why it is left out.
    fn add(&mut self, name: &str, patient: &str, modality: &str, source: Source) {
        let missing = source.paths().into_iter().find(|path| !path.exists());
        if let Some(path) = missing {
            let reason = format!("{} does not exist", path.display());
            return self.skipped.push((name.to_owned(), reason));
        }
        self.cases.push(Case {
            name: name.to_owned(),
            patient: patient.to_owned(),
            modality: modality.to_owned(),
            source,
        });
    }
}

impl Layout {
    /// Every layout.
    pub fn all() -> impl Iterator<Item = Self> {
        DESCRIPTIONS.iter().map(|description| description.layout)
    }

    fn description(self) -> &'static Description {
        let mut all = DESCRIPTIONS.iter();
        let found = all.find(|description| description.layout == self);
        found.expect("every layout is described")
    }

    /// A description of the folders and files of this layout, for messages.
    pub fn expected(self) -> &'static str {
        self.description().expected
    }

    /// The layout whose signs `root` bears.
    pub(super) fn detect(root: &Path) -> Result<Self> {
        let mut all = DESCRIPTIONS.iter();
        let found = all.find(|description| (description.fits)(root));
        found.map(|found| found.layout).ok_or_else(|| {
            let names: Vec<&str> = DESCRIPTIONS.iter().map(|d| d.name).collect();
            let text = format!(
                "nnU-Net v2's layout expected (dataset.json, imagesTs, labelsTs), or another one that is known ({}), \
                 found {}; --layout NAME says what a layout expects",
                names.join(", "),
                listing(root)
            );
            problem(root, text)
        })
    }

    /// Lists the cases of a folder of this layout.
    pub(super) fn open(self, root: &Path) -> Result<Dataset> {
        let Description { name, expected, .. } = self.description();
        let unfit =
            |found: String| problem(root, format!("{name}: {expected} expected, found {found}"));
        if !root.is_dir() {
            return Err(unfit("no such folder".to_owned()));
        }
        let list = (self.description().list)(root)?;
        if list.cases.is_empty() && list.skipped.is_empty() {
            return Err(unfit(listing(root)));
        }
        let name = list.name.unwrap_or_else(|| folder_name(root));
        let note = |(case, text)| CaseNote {
            dataset: name.clone(),
            case,
            text,
        };
        let skipped = list.skipped.into_iter().map(note).collect();
        let mut cases = list.cases;
        cases.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Dataset {
            layout: self,
            structures: list.structures,
            instances: list.instances,
            regions: list.regions,
            ignored: list.ignored,
            channels: list.channels,
            cases,
            skipped,
            name,
        })
    }
}

fn folder_name(root: &Path) -> String {
    let path: PathBuf = root.canonicalize().unwrap_or_else(|_| root.to_owned());
    let name = path.file_name().unwrap_or(root.as_os_str());
    name.to_string_lossy().into_owned()
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.description().name)
    }
}

impl FromStr for Layout {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut all = DESCRIPTIONS.iter();
        let found = all.find(|description| description.name == text);
        found.map(|found| found.layout).ok_or_else(|| {
            let names: Vec<&str> = DESCRIPTIONS.iter().map(|d| d.name).collect();
            let text = format!("layout {text:?}: one of {} expected", names.join(", "));
            Error::Parameter(text)
        })
    }
}
