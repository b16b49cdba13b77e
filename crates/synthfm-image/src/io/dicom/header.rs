//! The header of one file: its kind, how its pixels are stored, and the attributes of its series.

use std::path::PathBuf;

use super::super::element::ByteOrder;
use super::codec;
use super::data_set::{DataSet, PixelLocation, Tag};
use super::file::{Codec, Header, TransferSyntax, limit_error};
use super::frame_header::{FrameHeader, Rescale, frames};
use super::lut::ModalityLut;
use super::padding::Padding;
use super::pixel_format::{PixelFormat, Samples};
use super::values::Kind;
use super::{tags, ultrasound};
use crate::Result;
use crate::scan::UltrasoundRegion;

/// Files of other things than images, by the start of their SOP class.
const SEGMENTATION_CLASSES: [&str; 2] = [
    "1.2.840.10008.5.1.4.1.1.66.4",
    "1.2.840.10008.5.1.4.1.1.66.7",
];

/// Doses, whose stored values have a unit of their own.
const DOSE_CLASS: &str = "1.2.840.10008.5.1.4.1.1.481.2";

/// Other objects that people open, by their SOP class, and what to do with them.
const OTHERS: [(&str, &str); 8] = [
    (
        "1.2.840.10008.1.3.10",
        "a DICOMDIR, which lists the files of a disk; open the folder that it lies in",
    ),
    (
        SEGMENTATION_CLASSES[0],
        "a DICOM Segmentation as an image; it holds labels",
    ),
    (
        SEGMENTATION_CLASSES[1],
        "a DICOM label map as an image; it holds labels",
    ),
    (
        "1.2.840.10008.5.1.4.1.1.481.3",
        "an RT Structure Set, which holds contours",
    ),
    ("1.2.840.10008.5.1.4.1.1.481.5", "an RT Plan"),
    (
        "1.2.840.10008.5.1.4.1.1.66",
        "DICOM raw data, which only its device reads",
    ),
    (
        "1.2.840.10008.5.1.4.1.1.104.1",
        "a PDF document in a DICOM file",
    ),
    (
        "1.2.840.10008.5.1.4.1.1.11.1",
        "a presentation state; open the images that it refers to",
    ),
];

/// Memory for what is known about each frame: its header, its place in a stack, the object that it comes from.
const BYTES_ABOUT_FRAME: u64 = 1024;

/// The purpose for which a header is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    Image,
    Segmentation,
}

/// One file with pixels.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct FileHeader {
    pub(super) path: PathBuf,
    pub(super) syntax: TransferSyntax,
    pub(super) location: PixelLocation,
    pub(super) format: PixelFormat,
    pub(super) lut: Option<ModalityLut>,
    pub(super) frames: Vec<FrameHeader>,
    pub(super) sop_class: String,
    pub(super) sop_instance: String,
    pub(super) series: String,
    pub(super) instance_number: Option<f64>,
    /// Remarks for the user on how the file was read.
    pub(super) notes: Vec<String>,
    /// Bytes of the file, inflated if it is deflated.
    pub(super) total: usize,
    /// Stored values that stand for no pixel.
    pub(super) padding: Option<Padding>,
    /// Stored values are doses by this factor.
    pub(super) dose_scaling: Option<f64>,
    /// Nominal distance between frames, where positions are missing.
    pub(super) frame_spacing: Option<f64>,
    pub(super) tilt_degrees: Option<f64>,
    /// Spacing measured at the detector, not in the patient.
    pub(super) projected: bool,
    pub(super) regions: Vec<UltrasoundRegion>,
    pub(super) attributes: Attributes,
}

impl FileHeader {
    /// The line from stored values to the modality's unit; none where a table does that.
    pub(super) fn rescale_of(&self, frame: &FrameHeader) -> Rescale {
        match self.lut {
            Some(_) => Rescale::NONE,
            None => frame.rescale,
        }
    }

    /// Whether bytes lie in words, the second one first (PS3.5, 8.1.1: OW in a big-endian file).
    pub(super) fn has_swapped_bytes(&self, order: ByteOrder) -> bool {
        order == ByteOrder::Big && self.location.vr == *b"OW" && self.format.bits_allocated <= 8
    }

    /// Bytes of memory that reading one frame takes at least, beside its values.
    pub(super) fn working_bytes(&self) -> u64 {
        self.bytes_with(codec::working_bytes)
    }

    /// Bytes that decoding a frame usually takes, from which follows how many frames are read at the same time.
    pub(super) fn usual_bytes(&self) -> u64 {
        self.bytes_with(codec::usual_bytes)
    }

    fn bytes_with(&self, of_decoder: fn(Codec, &PixelFormat) -> u64) -> u64 {
        let format = &self.format;
        let stored = match self.syntax.codec {
            Some(Codec::Native(_)) | None => format.bits_of_frame().div_ceil(8) as u64,
            Some(codec) => {
                let left = self.total.saturating_sub(self.location.offset);
                let of_frame = left.div_ceil(self.frames.len().max(1)) as u64;
                of_frame.saturating_add(of_decoder(codec, format))
            }
        };
        let colours = if format.is_colour() {
            3 * format.pixels() as u64
        } else {
            0
        };
        let inflated = if self.syntax.deflated {
            self.total as u64
        } else {
            0
        };
        stored.saturating_add(colours).saturating_add(inflated)
    }
}

/// Values that belong to the series, copied into objects that refer to it.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Attributes {
    /// Bytes as they are in the file, in little-endian order.
    values: Vec<(Tag, Vec<u8>)>,
    /// Names of attributes with a value that may identify a patient.
    pub(super) identifying: Vec<&'static str>,
}

/// The attributes that are kept in [`Attributes`].
const KEPT: [Tag; 26] = [
    tags::SPECIFIC_CHARACTER_SET,
    tags::STUDY_DATE,
    tags::STUDY_TIME,
    tags::SERIES_DATE,
    tags::ACCESSION_NUMBER,
    tags::MODALITY,
    tags::MANUFACTURER,
    tags::MANUFACTURER_MODEL_NAME,
    tags::REFERRING_PHYSICIAN_NAME,
    tags::STUDY_DESCRIPTION,
    tags::SERIES_DESCRIPTION,
    tags::PATIENT_NAME,
    tags::PATIENT_ID,
    tags::PATIENT_BIRTH_DATE,
    tags::PATIENT_SEX,
    tags::PATIENT_AGE,
    tags::STUDY_INSTANCE_UID,
    tags::STUDY_ID,
    tags::SERIES_NUMBER,
    tags::FRAME_OF_REFERENCE_UID,
    tags::POSITION_REFERENCE_INDICATOR,
    tags::LOSSY_IMAGE_COMPRESSION,
    tags::LOSSY_IMAGE_COMPRESSION_RATIO,
    tags::LOSSY_IMAGE_COMPRESSION_METHOD,
    tags::BURNED_IN_ANNOTATION,
    tags::DOSE_UNITS,
];

/// Longer values are no names or dates.
const MAX_KEPT_BYTES: usize = 1024;

impl Attributes {
    fn of(data: &DataSet) -> Self {
        let kept = KEPT.iter().filter_map(|&tag| {
            let bytes = data.get(tag)?.bytes;
            (!bytes.is_empty() && bytes.len() <= MAX_KEPT_BYTES).then(|| (tag, bytes.to_vec()))
        });
        let filled = |tag: Tag| {
            data.get(tag)
                .is_some_and(|e| e.bytes.iter().any(|&b| b != 0 && b != b' '))
        };
        let names = tags::IDENTIFYING.iter().filter(|(tag, _)| filled(*tag));
        Self {
            values: kept.collect(),
            identifying: names.map(|&(_, name)| name).collect(),
        }
    }

    /// The bytes of a value, without padding removed; empty if it is absent.
    pub(super) fn bytes(&self, tag: Tag) -> &[u8] {
        let found = self.values.iter().find(|(known, _)| *known == tag);
        found.map_or(&[], |(_, bytes)| bytes)
    }

    pub(super) fn text(&self, tag: Tag) -> Option<String> {
        let text = super::values::printable(self.bytes(tag));
        (!text.is_empty()).then_some(text)
    }
}

/// Reads a header; `None` for objects without pixels, and for those that serve another purpose.
pub(super) fn read(header: &Header, limit: u64, purpose: Purpose) -> Result<Option<FileHeader>> {
    let data = &header.data;
    let [stored_class, stored_instance] = header.stored_as.clone();
    let sop_class = data.uid(tags::SOP_CLASS_UID).or(stored_class);
    let sop_class = sop_class.unwrap_or_default();
    let own_purpose = if SEGMENTATION_CLASSES.contains(&sop_class.as_str()) {
        Purpose::Segmentation
    } else {
        Purpose::Image
    };
    let Some(location) = header.location.filter(|_| own_purpose == purpose) else {
        return Ok(None);
    };
    let format = PixelFormat::read(header)?;
    let count = frame_count(header, &format, location, limit)?;
    let signed = format.samples == Samples::Signed;
    let dose = dose_scaling(data, &sop_class);
    let lut = ModalityLut::read(header, signed)?;
    let mut notes = header.notes.clone();
    notes.extend(lut.as_ref().and_then(ModalityLut::note));
    if dose.is_none() && is_dose(data, &sop_class) {
        notes.push("doses without a DoseGridScaling above 0: values are as stored".to_owned());
    }
    let number = |tag| data.number(tag, Kind::Text);
    let file = FileHeader {
        path: header.path.to_owned(),
        syntax: header.syntax.clone(),
        location,
        lut,
        frames: frames(header, count, dose)?,
        sop_instance: data
            .uid(tags::SOP_INSTANCE_UID)
            .or(stored_instance)
            .unwrap_or_default(),
        series: data.uid(tags::SERIES_INSTANCE_UID).unwrap_or_default(),
        instance_number: number(tags::INSTANCE_NUMBER),
        notes,
        total: header.total,
        padding: Padding::read(data, &format),
        dose_scaling: dose,
        frame_spacing: number(tags::SPACING_BETWEEN_SLICES)
            .or_else(|| number(tags::SLICE_THICKNESS))
            .filter(|&v| v > 0.0),
        tilt_degrees: number(tags::GANTRY_DETECTOR_TILT),
        projected: data.get(tags::PIXEL_SPACING).is_none()
            && data.get(tags::IMAGER_PIXEL_SPACING).is_some(),
        regions: header.check(ultrasound::regions(data))?,
        attributes: Attributes::of(data),
        format,
        sop_class,
    };
    // Memory for one frame, in which windows and values of the others are not counted yet.
    let bytes = file
        .working_bytes()
        .saturating_add(4 * file.format.pixels() as u64);
    if bytes > limit && purpose == Purpose::Image {
        return Err(limit_error(header.path, Some(bytes), limit));
    }
    Ok(Some(file))
}

/// Names the kind of a DICOM file that is no image, for messages.
pub(super) fn what_else(header: &Header) -> String {
    let sop_class = header.data.text(tags::SOP_CLASS_UID);
    let sop_class = sop_class.or_else(|| header.stored_as[0].clone());
    let sop_class = sop_class.unwrap_or_default();
    match OTHERS.iter().find(|(known, _)| *known == sop_class) {
        Some((_, what)) => (*what).to_owned(),
        None => format!("a DICOM object without pixels (SOP class {sop_class})"),
    }
}

fn is_dose(data: &DataSet, sop_class: &str) -> bool {
    sop_class == DOSE_CLASS || data.text(tags::MODALITY).as_deref() == Some("RTDOSE")
}

fn dose_scaling(data: &DataSet, sop_class: &str) -> Option<f64> {
    let scaling = data.number(tags::DOSE_GRID_SCALING, Kind::Text);
    scaling.filter(|&scaling| is_dose(data, sop_class) && scaling > 0.0)
}

/// The number of frames, after checking that their values may be held and, where that can be told, are there.
fn frame_count(
    header: &Header,
    format: &PixelFormat,
    location: PixelLocation,
    limit: u64,
) -> Result<usize> {
    let stated = header.data.number(tags::NUMBER_OF_FRAMES, Kind::Text);
    let count = stated.map_or(1, |count| count.clamp(1.0, 4e9) as usize);
    // Four bytes for each value.
    let of_frame = 4 * format.pixels() as u64 + BYTES_ABOUT_FRAME;
    let bytes = of_frame.checked_mul(count as u64);
    if bytes.is_none_or(|bytes| bytes > limit) {
        return Err(limit_error(header.path, bytes, limit));
    }
    let left = header.total.saturating_sub(location.offset);
    let got = location.length.unwrap_or(left);
    if got > left {
        return Err(header.damaged(format!(
            "truncated DICOM: {got} bytes of pixels are announced, {left} are left"
        )));
    }
    let enough = if location.length.is_some() {
        let needed = format.bytes_of_frames(count);
        if needed.is_none_or(|needed| needed > got) {
            return Err(header.damaged(format!(
                "truncated DICOM: {count} frames of {} x {} pixels need {} bytes, {got} are there",
                format.rows,
                format.columns,
                needed.unwrap_or(usize::MAX)
            )));
        }
        true
    } else {
        // Every fragment takes the 8 bytes of its head at least.
        count <= got / 8
    };
    if enough {
        return Ok(count);
    }
    let problem = format!("truncated DICOM: {count} frames cannot be in {got} bytes");
    Err(header.damaged(problem))
}
