//! CHAOS (Kavur et al. 2021): abdominal CT with the liver, MR (T1 in phase and out of phase, T2) with four organs.
//! Slices are DICOM files, truth is a PNG per slice; both are paired in the natural order of their names.
//! Differs: right and left kidney stay two structures; the T1 truth, drawn once, serves both phases.

use std::path::{Path, PathBuf};

use super::Listing;
use super::tree::{file_name, files, folder, folders};
use crate::Result;
use crate::dataset::source::{ImageSource, Source, Truth, Values};

const STRUCTURES: [&str; 4] = ["liver", "right_kidney", "left_kidney", "spleen"];
/// Grey values of the MR truth and the labels of [`STRUCTURES`].
const MR_BANDS: [(u16, u16, u16); 4] = [(55, 70, 1), (110, 135, 2), (175, 200, 3), (240, 255, 4)];

/// `Train_Sets`, or the folder that holds `CT` or `MR`.
fn parent(root: &Path) -> Option<PathBuf> {
    let candidates = ["Train_Sets", "CHAOS_Train_Sets/Train_Sets", ""];
    let found = candidates
        .iter()
        .filter_map(|&relative| folder(root, &[relative]));
    found
        .into_iter()
        .find(|parent| !ct_patients(parent).is_empty() || !mr_patients(parent).is_empty())
}

fn ct_patients(parent: &Path) -> Vec<PathBuf> {
    let mut patients = folders(&parent.join("CT"));
    patients.retain(|patient| patient.join("DICOM_anon").is_dir());
    patients
}

fn mr_patients(parent: &Path) -> Vec<PathBuf> {
    let mut patients = folders(&parent.join("MR"));
    patients.retain(|patient| folder(patient, &["T1DUAL", "T2SPIR"]).is_some());
    patients
}

pub(super) fn fits(root: &Path) -> bool {
    parent(root).is_some()
}

#[expect(clippy::unnecessary_wraps, reason = "one signature for all layouts")]
pub(super) fn list(root: &Path) -> Result<Listing> {
    let mut list = Listing::of("CHAOS", &STRUCTURES);
    let parent = parent(root).unwrap_or_else(|| root.to_owned());
    for patient in ct_patients(&parent) {
        let number = file_name(&patient);
        let place = Place {
            case: format!("CT_{number}"),
            patient: format!("CT_{number}"),
            modality: "CT",
            images: patient.join("DICOM_anon"),
            truth: patient.join("Ground"),
            values: Values::NonZero,
        };
        add(&mut list, place);
    }
    for patient in mr_patients(&parent) {
        let number = file_name(&patient);
        for (sequence, phase) in [
            ("T1DUAL", "InPhase"),
            ("T1DUAL", "OutPhase"),
            ("T2SPIR", ""),
        ] {
            let folder = patient.join(sequence);
            let images = folder.join("DICOM_anon").join(phase);
            if images.is_dir() {
                let place = Place {
                    case: format!("MR_{number}_{sequence}{phase}"),
                    patient: format!("MR_{number}"),
                    modality: "MR",
                    images,
                    truth: folder.join("Ground"),
                    values: Values::Bands(&MR_BANDS),
                };
                add(&mut list, place);
            }
        }
    }
    Ok(list)
}

struct Place {
    case: String,
    patient: String,
    modality: &'static str,
    images: PathBuf,
    truth: PathBuf,
    values: Values,
}

fn add(list: &mut Listing, place: Place) {
    let (images, truth) = (files(&place.images, &[""]), files(&place.truth, &[".png"]));
    if images.is_empty() || images.len() != truth.len() {
        let reason = format!(
            "as many PNG files in Ground as slices in DICOM_anon expected, found {} and {}",
            truth.len(),
            images.len()
        );
        return list.skipped.push((place.case, reason));
    }
    let source = Source {
        image: ImageSource::Slices(images),
        truth: Truth::Slices(truth, place.values),
        spacing_mm: None,
    };
    list.add(&place.case, &place.patient, place.modality, source);
}
