//! Attributes common to the DICOM objects written here: patient and study of their source, series, equipment, UIDs.
//!
//! UIDs are derived from what the object holds (2.25 and a UUID, PS3.5, B.2), so that the same segmentation made at
//! the same time is the same object.

use std::time::{SystemTime, UNIX_EPOCH};

use sha2::{Digest, Sha256};

use super::super::dicom::tags;
use super::dicom_data::DataSet;
use crate::scan::DicomSeries;
use crate::{Error, LabelVolume, Result, Segment};

/// Names this implementation in files (PS3.7, D.3.3.2).
pub(super) const IMPLEMENTATION_UID: &str = "2.25.213371869413146013461938562397113894561";
pub(super) const IMPLEMENTATION: &str = "SYNTHFM";

/// Distance between the series' number of the source and that of what was made from it.
const SERIES_OFFSET: i64 = 1000;

/// Attributes of patient and study that an object shares with its source.
const SHARED: [(u32, [u8; 2]); 9] = [
    (tags::STUDY_DATE, *b"DA"),
    (tags::STUDY_TIME, *b"TM"),
    (tags::ACCESSION_NUMBER, *b"SH"),
    (tags::REFERRING_PHYSICIAN_NAME, *b"PN"),
    (tags::PATIENT_NAME, *b"PN"),
    (tags::PATIENT_ID, *b"LO"),
    (tags::PATIENT_BIRTH_DATE, *b"DA"),
    (tags::PATIENT_SEX, *b"CS"),
    (tags::STUDY_ID, *b"SH"),
];

/// Derives UIDs of one object.
pub(super) struct Uids {
    hash: Sha256,
}

impl Uids {
    pub(super) fn new(
        kind: &str,
        labels: &LabelVolume,
        segments: &[Segment],
        series: &DicomSeries,
        created: SystemTime,
    ) -> Self {
        let mut hash = Sha256::new();
        hash.update(kind);
        hash.update(&series.uid);
        hash.update(seconds(created).to_le_bytes());
        for segment in segments {
            hash.update(segment.label.to_le_bytes());
            hash.update(segment.colour);
            hash.update(&segment.name);
            hash.update([0]);
        }
        for label in labels.data() {
            hash.update(label.to_le_bytes());
        }
        Self { hash }
    }

    pub(super) fn uid(&self, what: &str) -> String {
        uid_of(self.hash.clone().chain_update(what))
    }
}

fn uid_of(hash: Sha256) -> String {
    let digest = hash.finalize();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    // A UUID of version 8 (RFC 9562).
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    format!("2.25.{}", u128::from_be_bytes(bytes))
}

/// The source's UID of a kind, or one derived from its first image, for careless anonymisation removes them.
fn uid_or_derived(own: &str, source: &DicomSeries, what: &str) -> String {
    if !own.is_empty() {
        return own.to_owned();
    }
    let first = source
        .slices
        .first()
        .map_or("", |slice| &slice.sop_instance);
    uid_of(Sha256::new().chain_update(what).chain_update(first))
}

pub(super) fn study_uid(source: &DicomSeries) -> String {
    uid_or_derived(&source.study_uid, source, "study")
}

pub(super) fn series_uid(source: &DicomSeries) -> String {
    uid_or_derived(&source.uid, source, "series")
}

/// Remarks for the user on the references of an object.
pub(super) fn notes(source: &DicomSeries) -> Vec<String> {
    if source.uid.is_empty() || source.study_uid.is_empty() {
        return vec![
            "the DICOM images have no UID of their study or series: one was derived from the first image".to_owned(),
        ];
    }
    Vec::new()
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())
}

/// Date (`YYYYMMDD`) and time (`HHMMSS`) in UTC.
pub(super) fn date_time(time: SystemTime) -> (String, String) {
    let seconds = seconds(time);
    let (days, rest) = ((seconds / 86_400) as i64, seconds % 86_400);
    // Civil calendar from days (Howard Hinnant's algorithm), for years after 1970.
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_index = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_index + 2) / 5 + 1;
    let month = if month_index < 10 {
        month_index + 3
    } else {
        month_index - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let date = format!("{year:04}{month:02}{day:02}");
    let time = format!("{:02}{:02}{:02}", rest / 3600, rest / 60 % 60, rest % 60);
    (date, time)
}

/// Kind and identifiers of an object.
pub(super) struct Kind<'a> {
    pub(super) sop_class: &'a str,
    pub(super) sop_instance: &'a str,
    pub(super) series: &'a str,
    pub(super) modality: &'a str,
    pub(super) description: &'a str,
}

/// The modules that all objects share: SOP common, patient, study, series, equipment.
pub(super) fn common(
    kind: &Kind,
    source: &DicomSeries,
    names: &[Segment],
    created: SystemTime,
) -> DataSet {
    let mut data = DataSet::new();
    let (date, time) = date_time(created);
    data.text(
        tags::SPECIFIC_CHARACTER_SET,
        *b"CS",
        &character_set(source, names),
    );
    data.text(tags::SOP_CLASS_UID, *b"UI", kind.sop_class);
    data.text(tags::SOP_INSTANCE_UID, *b"UI", kind.sop_instance);
    for (tag, vr) in SHARED {
        data.bytes(tag, vr, source.attribute(tag));
    }
    data.text(tags::SERIES_DATE, *b"DA", &date);
    data.text(tags::SERIES_TIME, *b"TM", &time);
    data.text(tags::MODALITY, *b"CS", kind.modality);
    data.text(tags::MANUFACTURER, *b"LO", "synthfm");
    data.text(tags::MANUFACTURER_MODEL_NAME, *b"LO", "synthfm");
    data.text(tags::DEVICE_SERIAL_NUMBER, *b"LO", "0");
    data.text(tags::SOFTWARE_VERSIONS, *b"LO", env!("CARGO_PKG_VERSION"));
    data.text(tags::SERIES_DESCRIPTION, *b"LO", kind.description);
    data.text(tags::STUDY_INSTANCE_UID, *b"UI", &study_uid(source));
    data.text(tags::SERIES_INSTANCE_UID, *b"UI", kind.series);
    data.integer(
        tags::SERIES_NUMBER,
        source.number.unwrap_or(0) + SERIES_OFFSET,
    );
    data.integer(tags::INSTANCE_NUMBER, 1);
    let frame_of_reference = source.attribute(tags::FRAME_OF_REFERENCE_UID);
    if !frame_of_reference.is_empty() {
        data.bytes(tags::FRAME_OF_REFERENCE_UID, *b"UI", frame_of_reference);
        let indicator = source.attribute(tags::POSITION_REFERENCE_INDICATOR);
        data.bytes(tags::POSITION_REFERENCE_INDICATOR, *b"LO", indicator);
    }
    data
}

/// The character set of the source; Unicode where the source has none of its own and names need it.
fn character_set(source: &DicomSeries, names: &[Segment]) -> String {
    let own = source.attribute_text(tags::SPECIFIC_CHARACTER_SET);
    let ascii = names.iter().all(|segment| segment.name.is_ascii());
    match own {
        Some(own) if ascii || own != "ISO_IR 6" => own,
        None if ascii => "ISO_IR 100".to_owned(),
        _ => "ISO_IR 192".to_owned(),
    }
}

/// A name that the character set of `source` holds, at most `most` characters.
pub(super) fn name(text: &str, source: &DicomSeries, most: usize) -> String {
    let set = source.attribute_text(tags::SPECIFIC_CHARACTER_SET);
    let unicode = set.is_none_or(|set| set == "ISO_IR 192" || set == "ISO_IR 6");
    text.chars()
        .map(|c| match c {
            '\\' | '\n' | '\r' => ' ',
            c if c.is_ascii() || unicode => c,
            _ => '?',
        })
        .take(most)
        .collect()
}

/// A reference to an image or to one of its frames.
pub(super) fn reference(class: &str, instance: &str, frame: Option<usize>) -> DataSet {
    let mut item = DataSet::new();
    item.text(tags::REFERENCED_SOP_CLASS_UID, *b"UI", class);
    item.text(tags::REFERENCED_SOP_INSTANCE_UID, *b"UI", instance);
    if let Some(frame) = frame {
        item.integer(tags::REFERENCED_FRAME_NUMBER, frame as i64);
    }
    item
}

/// A coded concept.
pub(super) fn code(value: &str, scheme: &str, meaning: &str) -> DataSet {
    let mut item = DataSet::new();
    item.text(tags::CODE_VALUE, *b"SH", value);
    item.text(tags::CODING_SCHEME_DESIGNATOR, *b"SH", scheme);
    item.text(tags::CODE_MEANING, *b"LO", meaning);
    item
}

/// Refuses what no object can refer to.
pub(super) fn check(
    labels: &LabelVolume,
    segments: &[Segment],
    source: &DicomSeries,
) -> Result<()> {
    let [_, _, slices] = labels.geometry().shape();
    if slices != source.slices.len() {
        return Err(Error::Parameter(format!(
            "{slices} slices of labels do not fit a series of {}",
            source.slices.len()
        )));
    }
    if segments.is_empty() {
        return Err(Error::Parameter(
            "a DICOM segmentation needs a structure".to_owned(),
        ));
    }
    let missing = source
        .slices
        .iter()
        .any(|s| s.sop_instance.is_empty() || s.sop_class.is_empty());
    if missing {
        return Err(Error::Parameter(
            "the DICOM images lack the UIDs that a segmentation refers to; use .nii.gz or .seg.nrrd".to_owned(),
        ));
    }
    Ok(())
}

pub(super) fn too_long() -> Error {
    Error::Parameter(
        "the segmentation is too large for a DICOM object (4 GiB); use .nii.gz".to_owned(),
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn dates_of_the_civil_calendar() {
        for (seconds, date, time) in [
            (0, "19700101", "000000"),
            (951_782_399, "20000228", "235959"),
            (951_782_400, "20000229", "000000"),
            (1_709_251_200, "20240301", "000000"),
            (4_102_444_799, "20991231", "235959"),
        ] {
            let at = UNIX_EPOCH + Duration::from_secs(seconds);
            assert_eq!(date_time(at), (date.to_owned(), time.to_owned()));
        }
    }
}
