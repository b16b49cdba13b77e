//! What the header of one file says about its frames: how they are stored, where they lie, what their values mean.
//!
//! Plain files say it once; multi-frame files in functional groups (PS3.3, C.7.6.16), shared ones first, each frame's
//! own over them.

use std::path::PathBuf;

use super::data_set::{DataSet, PixelLocation, Tag};
use super::file::{Header, TransferSyntax, limit_error};
use super::lut::ModalityLut;
use super::pixel_format::PixelFormat;
use super::values::Kind;
use super::voi;
use super::{tags, ultrasound};
use crate::Result;
use crate::scan::{UltrasoundRegion, Window};

/// Files of other things than images, by the start of their SOP class.
const SEGMENTATION_CLASSES: [&str; 2] = [
    "1.2.840.10008.5.1.4.1.1.66.4",
    "1.2.840.10008.5.1.4.1.1.66.7",
];

/// What a header is read for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    Image,
    Segmentation,
}

/// Linear map from stored values to the modality's unit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Rescale {
    pub(super) slope: f64,
    pub(super) intercept: f64,
}

impl Rescale {
    pub(super) const NONE: Self = Self {
        slope: 1.0,
        intercept: 0.0,
    };
}

/// One frame.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct FrameHeader {
    /// Counted from 0 in its file.
    pub(super) index: usize,
    /// LPS millimetres of the first pixel.
    pub(super) position: Option<[f64; 3]>,
    /// Directions along a row and down a column.
    pub(super) orientation: Option<[f64; 6]>,
    /// Distance between rows, between columns.
    pub(super) spacing: Option<[f64; 2]>,
    pub(super) rescale: Rescale,
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
    pub(super) instance_number: f64,
    pub(super) acquisition_number: f64,
    /// Nominal distance between frames, where positions are missing.
    pub(super) frame_spacing: Option<f64>,
    pub(super) tilt_degrees: Option<f64>,
    /// Spacing measured at the detector, not in the patient.
    pub(super) projected: bool,
    pub(super) windows: Vec<Window>,
    pub(super) regions: Vec<UltrasoundRegion>,
    pub(super) attributes: Attributes,
}

/// Values that belong to the series, copied into objects that refer to it.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Attributes {
    /// Bytes as they are in the file, in little-endian order.
    values: Vec<(Tag, Vec<u8>)>,
    /// Names of attributes with a value that may identify a patient.
    pub(super) identifying: Vec<&'static str>,
}

/// What is kept in [`Attributes`].
const KEPT: [Tag; 25] = [
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
        let text = super::values::decoded(self.bytes(tag));
        (!text.is_empty()).then_some(text)
    }
}

/// Reads a header; `None` for objects without pixels, and for those that serve another purpose.
pub(super) fn read(header: &Header, limit: u64, purpose: Purpose) -> Result<Option<FileHeader>> {
    let data = &header.data;
    let [stored_class, stored_instance] = header.stored_as.clone();
    let sop_class = data.text(tags::SOP_CLASS_UID).or(stored_class);
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
    let regions = header.check(ultrasound::regions(data))?;
    let text = |tag| data.text(tag).unwrap_or_default();
    Ok(Some(FileHeader {
        path: header.path.to_owned(),
        syntax: header.syntax.clone(),
        location,
        lut: ModalityLut::read(header)?,
        frames: frames(header, count)?,
        sop_instance: data
            .text(tags::SOP_INSTANCE_UID)
            .or(stored_instance)
            .unwrap_or_default(),
        series: text(tags::SERIES_INSTANCE_UID),
        instance_number: data
            .number(tags::INSTANCE_NUMBER, Kind::Text)
            .unwrap_or(0.0),
        acquisition_number: data
            .number(tags::ACQUISITION_NUMBER, Kind::Text)
            .unwrap_or(0.0),
        frame_spacing: data
            .number(tags::SPACING_BETWEEN_SLICES, Kind::Text)
            .or_else(|| data.number(tags::SLICE_THICKNESS, Kind::Text))
            .filter(|&v| v > 0.0),
        tilt_degrees: data.number(tags::GANTRY_DETECTOR_TILT, Kind::Text),
        projected: data.get(tags::PIXEL_SPACING).is_none()
            && data.get(tags::IMAGER_PIXEL_SPACING).is_some(),
        windows: voi::windows(header)?,
        regions,
        attributes: Attributes::of(data),
        format,
        sop_class,
    }))
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
    // Four bytes for each value, and what is kept about each frame.
    let of_frame = 4 * format.pixels() as u64 + size_of::<FrameHeader>() as u64;
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

/// The groups that describe one frame, most specific first.
struct Groups<'a> {
    own: Option<&'a DataSet<'a>>,
    shared: Option<&'a DataSet<'a>>,
    root: &'a DataSet<'a>,
}

impl<'a> Groups<'a> {
    /// The item of `sequence` of the frame or of all frames, otherwise the data set itself.
    fn find<T>(
        &self,
        header: &Header,
        sequence: Tag,
        read: impl Fn(&DataSet<'a>) -> Option<T>,
    ) -> Result<Option<T>> {
        for group in [self.own, self.shared].into_iter().flatten() {
            if let Some(item) = header.check(group.item_of(sequence))?
                && let Some(found) = read(&item)
            {
                return Ok(Some(found));
            }
        }
        Ok(read(self.root))
    }
}

fn frames(header: &Header, count: usize) -> Result<Vec<FrameHeader>> {
    let root = &header.data;
    let shared = header.check(root.item_of(tags::SHARED_FUNCTIONAL_GROUPS))?;
    let own = header.check(root.items(tags::PER_FRAME_FUNCTIONAL_GROUPS))?;
    let offsets = root.numbers(tags::GRID_FRAME_OFFSET_VECTOR, Kind::Text);
    let mut frames = Vec::with_capacity(count);
    for index in 0..count {
        let groups = Groups {
            own: own.get(index),
            shared: shared.as_ref(),
            root,
        };
        let mut frame = frame(header, &groups, index)?;
        if count > 1 && own.is_empty() {
            // The position is that of the first frame; RT doses say where the others lie.
            frame.position = shifted(&frame, offsets.get(index).copied());
        }
        frames.push(frame);
    }
    Ok(frames)
}

fn frame(header: &Header, groups: &Groups, index: usize) -> Result<FrameHeader> {
    let positive = |data: &DataSet| {
        let spacing = data
            .decimals(tags::PIXEL_SPACING)
            .or_else(|| data.decimals(tags::IMAGER_PIXEL_SPACING));
        spacing.filter(|s: &[f64; 2]| s.iter().all(|&v| v > 0.0))
    };
    let rescale = |data: &DataSet| {
        let slope = data.number(tags::RESCALE_SLOPE, Kind::Text)?;
        let intercept = data.number(tags::RESCALE_INTERCEPT, Kind::Text);
        Some(Rescale {
            slope: if slope == 0.0 { 1.0 } else { slope },
            intercept: intercept.unwrap_or(0.0),
        })
    };
    Ok(FrameHeader {
        index,
        position: groups.find(header, tags::PLANE_POSITION_SEQUENCE, |data| {
            data.decimals(tags::IMAGE_POSITION_PATIENT)
        })?,
        orientation: groups.find(header, tags::PLANE_ORIENTATION_SEQUENCE, |data| {
            data.decimals(tags::IMAGE_ORIENTATION_PATIENT)
        })?,
        spacing: groups.find(header, tags::PIXEL_MEASURES_SEQUENCE, positive)?,
        rescale: groups
            .find(header, tags::PIXEL_VALUE_TRANSFORMATION_SEQUENCE, rescale)?
            .unwrap_or(Rescale::NONE),
    })
}

/// The position of a frame at `offset` along the normal.
fn shifted(frame: &FrameHeader, offset: Option<f64>) -> Option<[f64; 3]> {
    let (position, orientation, offset) = (frame.position?, frame.orientation?, offset?);
    let normal = super::geometry::normal(&orientation);
    Some([0, 1, 2].map(|axis| position[axis] + offset * normal[axis]))
}
