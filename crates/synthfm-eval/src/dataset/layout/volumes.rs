//! CT and MR data sets that come as NIfTI volumes: MSD, AMOS22, BTCV, FLARE22, `TotalSegmentator`, `KiTS`.
//! Names and values of the structures are those of each data set's own description; left and right are targets of
//! their own. Differs: only folders with labels are listed, so test sets without labels are passed over.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use super::tree::{file_name, files, folder, folders, stem};
use super::{Listing, Structure, problem};
use crate::Result;
use crate::dataset::manifest::{channels_in_order, read_json};
use crate::dataset::source::{ImageSource, Source, Truth, Values};

const NIFTI: [&str; 2] = [".nii.gz", ".nii"];

const AMOS: [&str; 15] = [
    "spleen",
    "right_kidney",
    "left_kidney",
    "gallbladder",
    "oesophagus",
    "liver",
    "stomach",
    "aorta",
    "postcava",
    "pancreas",
    "right_adrenal_gland",
    "left_adrenal_gland",
    "duodenum",
    "bladder",
    "prostate_uterus",
];
const BTCV_ABDOMEN: [&str; 13] = [
    "spleen",
    "right_kidney",
    "left_kidney",
    "gallbladder",
    "oesophagus",
    "liver",
    "stomach",
    "aorta",
    "inferior_vena_cava",
    "portal_and_splenic_vein",
    "pancreas",
    "right_adrenal_gland",
    "left_adrenal_gland",
];
const BTCV_CERVIX: [&str; 4] = ["bladder", "uterus", "rectum", "small_bowel"];
const FLARE: [&str; 13] = [
    "liver",
    "right_kidney",
    "spleen",
    "pancreas",
    "aorta",
    "inferior_vena_cava",
    "right_adrenal_gland",
    "left_adrenal_gland",
    "gallbladder",
    "oesophagus",
    "stomach",
    "duodenum",
    "left_kidney",
];

/// Adds the cases of a folder of labels; `image_of` names the image of a label file.
fn add_all(
    list: &mut Listing,
    labels: &Path,
    image_of: impl Fn(&str) -> PathBuf,
    modality_of: impl Fn(&str) -> String,
) {
    for label in files(labels, &NIFTI) {
        let name = stem(&label);
        let source = Source::of(image_of(&name), label, Values::Labels);
        list.add(&name, &name, &modality_of(&name), source);
    }
}

/// `folder/NAME.nii.gz`, or `.nii` where that is what exists.
fn nifti(folder: &Path, name: &str) -> PathBuf {
    let plain = folder.join(format!("{name}.nii"));
    if plain.is_file() {
        plain
    } else {
        folder.join(format!("{name}.nii.gz"))
    }
}

/// `root` itself, or the `amos22` folder in it.
fn amos_root(root: &Path) -> Option<PathBuf> {
    let candidates = [root.join("amos22"), root.to_owned()];
    let named = |path: &PathBuf| file_name(path).starts_with("amos_");
    candidates.into_iter().find(|root| {
        ["labelsTr", "labelsVa"]
            .iter()
            .any(|labels| files(&root.join(labels), &NIFTI).iter().any(named))
    })
}

pub(super) fn amos_fits(root: &Path) -> bool {
    amos_root(root).is_some()
}

#[expect(clippy::unnecessary_wraps, reason = "one signature for all layouts")]
pub(super) fn amos(root: &Path) -> Result<Listing> {
    let mut list = Listing::of("AMOS22", &AMOS);
    let root = amos_root(root).unwrap_or_else(|| root.to_owned());
    // Numbers below 500 are CT, the others MR.
    let modality = |name: &str| {
        let number = name.trim_start_matches("amos_").parse::<u32>();
        match number {
            Ok(0..500) => "CT".to_owned(),
            Ok(_) => "MR".to_owned(),
            Err(_) => "unknown".to_owned(),
        }
    };
    for split in ["Tr", "Va", "Ts"] {
        let images = root.join(format!("images{split}"));
        let labels = root.join(format!("labels{split}"));
        add_all(&mut list, &labels, |name| nifti(&images, name), modality);
    }
    Ok(list)
}

/// The folders named `Training` that hold `img` and `label`, with the structures of their part.
fn btcv_parts(root: &Path) -> Vec<(PathBuf, &'static [&'static str], &'static str)> {
    let candidates = [
        "Abdomen/RawData/Training",
        "Cervix/RawData/Training",
        "RawData/Training",
        "Training",
        "",
    ];
    let mut parts = Vec::new();
    for relative in candidates {
        let Some(training) = folder(root, &[relative]) else {
            continue;
        };
        let numbered = |path: &PathBuf| file_name(path).starts_with("label");
        if !training.join("img").is_dir()
            || !files(&training.join("label"), &NIFTI).iter().any(numbered)
        {
            continue;
        }
        let path = training.to_string_lossy().to_lowercase();
        parts.push(if path.contains("cervix") {
            (training, BTCV_CERVIX.as_slice(), "BTCV cervix")
        } else {
            (training, BTCV_ABDOMEN.as_slice(), "BTCV")
        });
    }
    parts
}

pub(super) fn btcv_fits(root: &Path) -> bool {
    !btcv_parts(root).is_empty()
}

pub(super) fn btcv(root: &Path) -> Result<Listing> {
    let parts = btcv_parts(root);
    let Some((training, structures, name)) = parts.first() else {
        return Ok(Listing::default());
    };
    if parts.iter().any(|part| part.2 != *name) {
        let text = "abdomen and cervix have different structures: name the folder of one of them"
            .to_owned();
        return Err(problem(root, text));
    }
    let mut list = Listing::of(name, structures);
    let images = training.join("img");
    let image_of = |label: &str| nifti(&images, &label.replacen("label", "img", 1));
    add_all(&mut list, &training.join("label"), image_of, |_| {
        "CT".to_owned()
    });
    Ok(list)
}

fn flare_root(root: &Path) -> Option<PathBuf> {
    let root = folder(root, &["FLARE22Train", ""])?;
    let first_channel = |path: &PathBuf| stem(path).ends_with("_0000");
    let found = files(&root.join("images"), &NIFTI)
        .iter()
        .any(first_channel);
    (found && root.join("labels").is_dir()).then_some(root)
}

pub(super) fn flare_fits(root: &Path) -> bool {
    flare_root(root).is_some()
}

#[expect(clippy::unnecessary_wraps, reason = "one signature for all layouts")]
pub(super) fn flare(root: &Path) -> Result<Listing> {
    let mut list = Listing::of("FLARE22", &FLARE);
    let root = flare_root(root).unwrap_or_else(|| root.to_owned());
    let images = root.join("images");
    let image_of = |name: &str| nifti(&images, &format!("{name}_0000"));
    add_all(&mut list, &root.join("labels"), image_of, |_| {
        "CT".to_owned()
    });
    Ok(list)
}

/// Subjects with their image; the folder may be the download's or one of its parts.
fn totalsegmentator_subjects(root: &Path) -> Vec<(PathBuf, PathBuf, &'static str)> {
    let image = |subject: &Path| {
        let images = [("ct.nii.gz", "CT"), ("mri.nii.gz", "MR")];
        let found = images.map(|(name, modality)| (subject.join(name), modality));
        found.into_iter().find(|(path, _)| path.is_file())
    };
    let subjects = folders(root).into_iter();
    subjects
        .filter(|subject| subject.join("segmentations").is_dir())
        .filter_map(|subject| image(&subject).map(|(path, modality)| (subject, path, modality)))
        .collect()
}

pub(super) fn totalsegmentator_fits(root: &Path) -> bool {
    !totalsegmentator_subjects(root).is_empty()
}

/// The classes are the files of all subjects together, in alphabetical order.
pub(super) fn totalsegmentator(root: &Path) -> Result<Listing> {
    let subjects = totalsegmentator_subjects(root);
    if subjects.is_empty() {
        return Ok(Listing::default());
    }
    let masks = |subject: &Path| files(&subject.join("segmentations"), &NIFTI);
    let names: BTreeSet<String> = subjects
        .iter()
        .flat_map(|(subject, ..)| masks(subject))
        .map(|path| stem(&path))
        .collect();
    let labels: BTreeMap<String, u16> = names.iter().cloned().zip(1..).collect();
    if names.is_empty() || names.len() > usize::from(u16::MAX) {
        let text = "segmentations/CLASS.nii.gz expected, found no file".to_owned();
        return Err(problem(root, text));
    }
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut list = Listing::of("TotalSegmentator", &names);
    for (subject, image, modality) in subjects {
        let masks = masks(&subject).into_iter();
        let source = Source {
            image: ImageSource::File(image),
            truth: Truth::Masks(
                masks
                    .map(|path| (path.clone(), labels[&stem(&path)]))
                    .collect(),
            ),
            spacing_mm: None,
        };
        let name = file_name(&subject);
        list.add(&name, &name, modality, source);
    }
    Ok(list)
}

fn kits_cases(root: &Path) -> Vec<PathBuf> {
    let parents = ["", "dataset", "data"];
    let found = parents.iter().find_map(|&parent| {
        let cases: Vec<PathBuf> = folders(&folder(root, &[parent])?)
            .into_iter()
            .filter(|path| file_name(path).starts_with("case_"))
            .collect();
        (!cases.is_empty()).then_some(cases)
    });
    found.unwrap_or_default()
}

pub(super) fn kits_fits(root: &Path) -> bool {
    let has_image = |case: &PathBuf| case.join("imaging.nii.gz").is_file();
    kits_cases(root).iter().any(has_image)
}

#[expect(clippy::unnecessary_wraps, reason = "one signature for all layouts")]
pub(super) fn kits(root: &Path) -> Result<Listing> {
    let mut list = Listing::of("KiTS", &["kidney", "tumour", "cyst"]);
    for case in kits_cases(root) {
        let file = |name: &str| case.join(name);
        let source = Source::of(
            file("imaging.nii.gz"),
            file("segmentation.nii.gz"),
            Values::Labels,
        );
        let name = file_name(&case);
        list.add(&name, &name, "CT", source);
    }
    Ok(list)
}

/// The fields that are read of the decathlon's `dataset.json`.
#[derive(Deserialize)]
struct Decathlon {
    #[serde(default)]
    name: Option<String>,
    labels: BTreeMap<String, Value>,
    #[serde(default)]
    modality: Option<Modalities>,
    #[serde(default)]
    file_ending: Option<String>,
}

/// Names of the channels, as a map from their numbers, or as some write them, a list or one name.
#[derive(Deserialize)]
#[serde(untagged)]
enum Modalities {
    Numbered(BTreeMap<String, String>),
    Listed(Vec<String>),
    One(String),
}

impl Modalities {
    fn in_order(&self) -> Vec<String> {
        match self {
            Self::Numbered(names) => channels_in_order(names),
            Self::Listed(names) => names.clone(),
            Self::One(name) => vec![name.clone()],
        }
    }
}

pub(super) fn msd_fits(root: &Path) -> bool {
    let read = read_json::<Decathlon>(&root.join("dataset.json"), "MSD's dataset.json");
    read.is_ok_and(|json| json.modality.is_some() && json.file_ending.is_none())
}

pub(super) fn msd(root: &Path) -> Result<Listing> {
    let path = root.join("dataset.json");
    let json: Decathlon = read_json(&path, "MSD's dataset.json (modality, labels)")?;
    let mut structures = Vec::new();
    for (value, name) in &json.labels {
        let (Ok(label), Some(name)) = (value.parse::<u16>(), name.as_str()) else {
            let text = format!("labels: a name per number expected, got {value}: {name}");
            return Err(problem(&path, text));
        };
        if label != 0 {
            let name = name.replace(' ', "_");
            structures.push(Structure { name, label });
        }
    }
    structures.sort_by_key(|structure| structure.label);
    let channels = json
        .modality
        .map_or_else(Vec::new, |names| names.in_order());
    let modality = match channels.first().map(String::as_str) {
        Some("CT") => "CT",
        Some(_) => "MR",
        None => "unknown",
    };
    let mut list = Listing {
        name: Some(format!("MSD {}", json.name.as_deref().unwrap_or("task"))),
        structures,
        channels,
        ..Listing::default()
    };
    let images = root.join("imagesTr");
    // nnU-Net v1 has the same description, and a file per channel.
    let image_of = |name: &str| {
        let whole = nifti(&images, name);
        let first = nifti(&images, &format!("{name}_0000"));
        if !whole.is_file() && first.is_file() {
            first
        } else {
            whole
        }
    };
    add_all(&mut list, &root.join("labelsTr"), image_of, |_| {
        modality.to_owned()
    });
    Ok(list)
}
