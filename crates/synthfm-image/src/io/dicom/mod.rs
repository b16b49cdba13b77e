//! DICOM images in (PS3.3, PS3.5, PS3.10): files, folders with any number of series, multi-frame objects.
//!
//! The data set is parsed here rather than by a library, for lengths must be compared with the bytes that are there
//! before anything is allocated or nested. Frames are decoded in parallel, straight into the volume.

mod codec;
mod copies;
mod data_set;
mod display;
mod file;
mod folder;
mod fragments;
mod frame_header;
mod frames;
mod gate;
mod geometry;
mod header;
mod lut;
mod natural;
mod padding;
mod palette;
mod pixel_format;
mod pixels;
mod repetitions;
mod samples;
mod seg_read;
pub(in crate::io) mod tags;
mod ultrasound;
mod values;
mod voi;

use std::path::Path;
use std::sync::Arc;

use sha2::{Digest, Sha256};

pub(in crate::io) use file::{is_dicom, is_dicom_file};
pub(in crate::io) use seg_read::read as read_segmentation;

use super::OpenOptions;
use crate::scan::{FileFormat, Scan, ScanInfo};
use crate::{Error, ImageFile, Result, Volume, hex};
use display::Display;
use file::format_error;
use folder::{Found, FrameId, Stack};
use geometry::Placed;
use header::{Attributes, FileHeader};

/// The DICOM objects of an image; what objects that refer to it need to know.
#[derive(Debug, Clone, PartialEq)]
pub struct DicomSeries {
    /// Series Instance UID.
    pub uid: String,
    /// Study Instance UID.
    pub study_uid: String,
    /// The series' number, as its device counts.
    pub number: Option<i64>,
    /// The series' description.
    pub description: Option<String>,
    /// The study's description.
    pub study_description: Option<String>,
    /// Date of the study, as in the file (`YYYYMMDD`).
    pub study_date: Option<String>,
    /// The device's manufacturer and model.
    pub device: Option<String>,
    /// How the pixels are stored.
    pub transfer_syntax: String,
    /// Attributes present that may tell who the patient is, by name.
    pub identifying: Vec<&'static str>,
    /// Slices that follow a gap, with its width in millimetres.
    pub gaps_mm: Vec<(usize, f64)>,
    /// Whether positions in the patient are known.
    pub in_patient: bool,
    pub(in crate::io) slices: Vec<SliceSource>,
    pub(in crate::io) orientation: Option<[f64; 6]>,
    pub(in crate::io) pixel_spacing: Option<[f64; 2]>,
    attributes: Attributes,
}

impl DicomSeries {
    /// A hash of the series and of the instances that form the image, in hexadecimal digits; that of
    /// [`SeriesSummary::identity`].
    pub fn identity(&self) -> String {
        let slices = self.slices.iter();
        identity(&self.uid, slices.map(|s| (&*s.sop_instance, s.frame)))
    }

    /// The bytes of an attribute, as they are in the file; empty if it is absent.
    pub(in crate::io) fn attribute(&self, tag: u32) -> &[u8] {
        self.attributes.bytes(tag)
    }

    /// An attribute as text.
    pub(in crate::io) fn attribute_text(&self, tag: u32) -> Option<String> {
        self.attributes.text(tag)
    }
}

/// The object that a slice comes from.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::io) struct SliceSource {
    pub(in crate::io) sop_class: String,
    pub(in crate::io) sop_instance: String,
    /// Counted from 1; `None` for objects of a single frame.
    pub(in crate::io) frame: Option<usize>,
    pub(in crate::io) position: Option<[f64; 3]>,
}

/// One image that a folder offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeriesSummary {
    /// Place of the image in the list, from 1; [`OpenOptions::series`] takes it.
    pub index: usize,
    /// Series Instance UID; images of one series share it.
    pub uid: String,
    /// A hash of the series and of the instances that form the image, in hexadecimal digits: the same for the same
    /// slices, wherever their files lie and whatever lies beside them.
    pub identity: String,
    /// The series' number, as its device counts.
    pub number: Option<i64>,
    /// The series' description.
    pub description: Option<String>,
    /// Kind of image, such as `CT`.
    pub modality: Option<String>,
    /// Slices or frames.
    pub slices: usize,
    /// Rows of a slice.
    pub rows: usize,
    /// Columns of a slice.
    pub columns: usize,
}

/// The images in a DICOM file or in a folder and those below it.
pub(super) fn list_series(path: &Path, options: &OpenOptions) -> Result<Vec<SeriesSummary>> {
    let limit = options.read.max_bytes;
    let found = folder::find(path, limit)?;
    let stacks = folder::stacks(&found.files, limit);
    Ok(summaries(&found.files, &stacks))
}

fn identity<'a>(uid: &str, instances: impl Iterator<Item = (&'a str, Option<usize>)>) -> String {
    let mut instances: Vec<_> = instances.collect();
    instances.sort_unstable();
    let mut digest = Sha256::new();
    digest.update(uid);
    for (instance, frame) in instances {
        digest.update(format!("\0{instance}\0{}", frame.unwrap_or_default()));
    }
    hex(&digest.finalize())
}

/// The instance of a frame, and its number from 1 if the object has several.
fn instance(files: &[FileHeader], (file, frame): FrameId) -> (&str, Option<usize>) {
    let file = &files[file];
    let number = (file.frames.len() > 1).then_some(frame + 1);
    (&file.sop_instance, number)
}

fn summaries(files: &[FileHeader], stacks: &[Stack]) -> Vec<SeriesSummary> {
    let summary = |(n, stack): (usize, &Stack)| {
        let (file, _) = stack.first(files);
        SeriesSummary {
            index: n + 1,
            uid: file.series.clone(),
            identity: identity(
                &file.series,
                stack.frames.iter().map(|&frame| instance(files, frame)),
            ),
            number: series_number(file),
            description: file.attributes.text(tags::SERIES_DESCRIPTION),
            modality: file.attributes.text(tags::MODALITY),
            slices: stack.frames.len(),
            rows: file.format.rows,
            columns: file.format.columns,
        }
    };
    stacks.iter().enumerate().map(summary).collect()
}

fn series_number(file: &FileHeader) -> Option<i64> {
    file.attributes
        .text(tags::SERIES_NUMBER)
        .and_then(|text| text.parse().ok())
}

/// Opens a DICOM file, or one series of a folder.
pub(super) fn open(path: &Path, options: &OpenOptions) -> Result<Scan> {
    let limit = options.read.max_bytes;
    let mut found = folder::find(path, limit)?;
    if found.files.is_empty() {
        return Err(nothing(path, found));
    }
    let stacks = folder::stacks(&found.files, limit);
    let mut warnings = Vec::new();
    if found.failed > 0 {
        let reason = found.first_failure.take();
        let reason = reason.map(|error| error.to_string()).unwrap_or_default();
        warnings.push(format!(
            "{} files could not be read: {reason}",
            found.failed
        ));
    }
    let chosen = choose(path, &found.files, &stacks, options, &mut warnings)?;
    warnings.extend(stacks[chosen].warnings.iter().cloned());
    read(path, &found.files, &stacks[chosen], warnings, limit)
}

fn nothing(path: &Path, found: Found) -> Error {
    match found.first_failure {
        Some(error) => error,
        None => format_error(
            path,
            format!(
                "no DICOM image among {} files; a folder is read as DICOM series, other formats are opened as files",
                found.others
            ),
        ),
    }
}

/// The stack that is asked for, otherwise the largest.
fn choose(
    path: &Path,
    files: &[FileHeader],
    stacks: &[Stack],
    options: &OpenOptions,
    warnings: &mut Vec<String>,
) -> Result<usize> {
    let series = |n: usize| &stacks[n].first(files).0.series;
    let largest = |candidates: &[usize]| {
        // The first of several.
        let size = |n: usize| stacks[n].frames.len();
        let mut best = candidates[0];
        for &n in candidates {
            if size(n) > size(best) {
                best = n;
            }
        }
        best
    };
    if let Some(wanted) = &options.series {
        let by_index = wanted
            .parse()
            .ok()
            .filter(|n| (1..=stacks.len()).contains(n));
        if let Some(index) = by_index {
            let index: usize = index;
            return Ok(index - 1);
        }
        let same: Vec<usize> = (0..stacks.len()).filter(|&n| series(n) == wanted).collect();
        if same.is_empty() {
            return Err(unknown(path, files, stacks, wanted));
        }
        let chosen = largest(&same);
        if same.len() > 1 {
            warnings.push(format!(
                "the series has {} images of different size, orientation or time: number {} was taken",
                same.len(),
                chosen + 1
            ));
        }
        return Ok(chosen);
    }
    let all: Vec<usize> = (0..stacks.len()).collect();
    let chosen = largest(&all);
    if all.len() > 1 {
        warnings.push(format!(
            "{} images are here: number {}, the first of the largest, was taken (choose with its number or UID)",
            all.len(),
            chosen + 1
        ));
    }
    Ok(chosen)
}

fn unknown(path: &Path, files: &[FileHeader], stacks: &[Stack], wanted: &str) -> Error {
    let list: Vec<String> = summaries(files, stacks)
        .iter()
        .map(|s| {
            let name = s.description.as_deref().unwrap_or("no description");
            format!("{}: {name}, {} slices, {}", s.index, s.slices, s.uid)
        })
        .collect();
    Error::Parameter(format!(
        "{}: no series {wanted}; there are {}",
        path.display(),
        list.join("; ")
    ))
}

fn read(
    path: &Path,
    files: &[FileHeader],
    stack: &Stack,
    mut warnings: Vec<String>,
    limit: u64,
) -> Result<Scan> {
    let (file, first) = stack.first(files);
    let format = &file.format;
    let spacing = first
        .spacing
        .or_else(|| region_spacing(file, &mut warnings));
    let placed = {
        let frames: Vec<_> = stack
            .frames
            .iter()
            .map(|&(f, n)| &files[f].frames[n])
            .collect();
        geometry::place(
            &frames,
            [format.rows, format.columns],
            file.frame_spacing,
            spacing,
        )
        .map_err(|error| format_error(path, error.to_string()))?
    };
    if file.projected {
        warnings.push(
            "the distance between pixels was measured at the detector, not in the patient"
                .to_owned(),
        );
    }
    let mut display = Display::of(files, &stack.frames);
    warnings.extend(display.warnings.iter().cloned());
    warnings.extend(notes(files, stack));
    let is_picture = stack.frames.len() == 1 && !placed.in_patient;
    let content = if is_picture {
        ImageFile::Picture(pixels::picture(file, limit)?)
    } else {
        if format.is_colour() {
            warnings.push("a stack of colour images: taken as their luminance".to_owned());
        }
        let mut data = pixels::voxels(path, files, &stack.frames, display.are_mixed, limit)?;
        display.settle(&mut data);
        warnings.extend(dose_note(file, &data));
        ImageFile::Volume(Volume::new(placed.geometry.clone(), data)?)
    };
    warnings.extend(placed.warnings.iter().cloned());
    let info = ScanInfo {
        volumes: 1,
        format: FileFormat::Dicom,
        modality: file.attributes.text(tags::MODALITY),
        windows: display.windows,
        slice_windows: display.slice_windows,
        padding: display.padding,
        inverted: display.inverted,
        pixel_spacing_mm: spacing,
        regions: file.regions.clone(),
        warnings,
        dicom: Some(Arc::new(series(files, stack, &placed, spacing))),
    };
    Ok(Scan { content, info })
}

fn series(
    files: &[FileHeader],
    stack: &Stack,
    placed: &Placed,
    pixel_spacing: Option<[f64; 2]>,
) -> DicomSeries {
    let (file, first) = stack.first(files);
    let attributes = &file.attributes;
    let device = [tags::MANUFACTURER, tags::MANUFACTURER_MODEL_NAME]
        .into_iter()
        .filter_map(|tag| attributes.text(tag));
    let device: Vec<String> = device.collect();
    let slices = stack.frames.iter().map(|&(file, frame)| {
        let (sop_instance, number) = instance(files, (file, frame));
        SliceSource {
            sop_class: files[file].sop_class.clone(),
            sop_instance: sop_instance.to_owned(),
            frame: number,
            position: files[file].frames[frame].position,
        }
    });
    DicomSeries {
        uid: file.series.clone(),
        study_uid: attributes
            .text(tags::STUDY_INSTANCE_UID)
            .unwrap_or_default(),
        number: series_number(file),
        description: attributes.text(tags::SERIES_DESCRIPTION),
        study_description: attributes.text(tags::STUDY_DESCRIPTION),
        study_date: attributes.text(tags::STUDY_DATE),
        device: (!device.is_empty()).then(|| device.join(" ")),
        transfer_syntax: file.syntax.name().to_owned(),
        identifying: attributes.identifying.clone(),
        gaps_mm: placed.gaps.clone(),
        in_patient: placed.in_patient,
        slices: slices.collect(),
        orientation: first.orientation.filter(|_| placed.in_patient),
        pixel_spacing,
        attributes: attributes.clone(),
    }
}

/// The spacing of the largest calibrated region.
fn region_spacing(file: &FileHeader, warnings: &mut Vec<String>) -> Option<[f64; 2]> {
    let calibrated = file.regions.iter().filter(|r| r.spacing_mm.is_some());
    let area = |bounds: &crate::BoxXyxy| {
        (bounds.max.x - bounds.min.x).abs() * (bounds.max.y - bounds.min.y).abs()
    };
    let largest = calibrated
        .clone()
        .max_by(|a, b| area(&a.bounds).total_cmp(&area(&b.bounds)))?;
    if calibrated
        .clone()
        .any(|r| r.spacing_mm != largest.spacing_mm)
    {
        warnings.push(
            "the regions of the ultrasound image have different spacings: that of the largest was taken".to_owned(),
        );
    }
    largest.spacing_mm
}

/// Remarks on how the files of a stack were read, each note once.
fn notes(files: &[FileHeader], stack: &Stack) -> Vec<String> {
    let mut all = Vec::new();
    for &(file, _) in &stack.frames {
        for note in &files[file].notes {
            if !all.contains(note) {
                all.push(note.clone());
            }
        }
    }
    all
}

/// The unit of doses, and the values that they are stored as.
fn dose_note(file: &FileHeader, data: &[f32]) -> Option<String> {
    let scaling = file.dose_scaling?;
    let most = data.iter().copied().fold(0.0, f32::max);
    let unit = file.attributes.text(tags::DOSE_UNITS);
    Some(format!(
        "values are doses{}: stored values, up to {:.0}, times a DoseGridScaling of {scaling}",
        unit.map(|unit| format!(" ({unit})")).unwrap_or_default(),
        f64::from(most) / scaling
    ))
}
