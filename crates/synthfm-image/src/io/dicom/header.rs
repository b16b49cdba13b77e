//! What the header of one file says about its frames: how they are stored, where they lie, what their values mean.
//!
//! Plain files say it once; multi-frame files in functional groups (PS3.3, C.7.6.16), shared ones first, each frame's
//! own over them.

use std::path::PathBuf;
use std::sync::Arc;

use super::super::element::ByteOrder;
use super::codec;
use super::data_set::{DataSet, PixelLocation, Tag};
use super::file::{Codec, Header, TransferSyntax, limit_error};
use super::lut::ModalityLut;
use super::padding::Padding;
use super::pixel_format::{PixelFormat, Samples};
use super::repetitions::Moment;
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

/// Components of a normal below this are none.
const AXIAL: f64 = 1e-4;
/// Coordinates that differ less are the same.
const SAME_Z_MM: f64 = 1e-2;
/// Doses, whose stored values have a unit of their own.
const DOSE_CLASS: &str = "1.2.840.10008.5.1.4.1.1.481.2";

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
    /// Windows that are recommended, the first one first.
    pub(super) windows: Arc<[Window]>,
    /// Which of several images at one place it belongs to.
    pub(super) moment: Moment,
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
    /// What a user should know about how the file was read.
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

    /// Bytes of memory that reading one frame takes, beside its values.
    pub(super) fn working_bytes(&self) -> u64 {
        let format = &self.format;
        let stored = match self.syntax.codec {
            Some(Codec::Native(_)) | None => format.bits_of_frame().div_ceil(8) as u64,
            Some(codec) => {
                let left = self.total.saturating_sub(self.location.offset);
                let of_frame = left.div_ceil(self.frames.len().max(1)) as u64;
                of_frame.saturating_add(codec::working_bytes(codec, format))
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

/// What is kept in [`Attributes`].
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
    let signed = format.samples == Samples::Signed;
    let text = |tag| data.text(tag).unwrap_or_default();
    let number = |tag| data.number(tag, Kind::Text);
    let file = FileHeader {
        path: header.path.to_owned(),
        syntax: header.syntax.clone(),
        location,
        lut: ModalityLut::read(header, signed)?,
        frames: frames(header, count, &sop_class)?,
        sop_instance: data
            .text(tags::SOP_INSTANCE_UID)
            .or(stored_instance)
            .unwrap_or_default(),
        series: text(tags::SERIES_INSTANCE_UID),
        instance_number: number(tags::INSTANCE_NUMBER),
        notes: header.notes.clone(),
        total: header.total,
        padding: Padding::read(data, &format),
        dose_scaling: dose_scaling(data, &sop_class),
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

fn dose_scaling(data: &DataSet, sop_class: &str) -> Option<f64> {
    let is_dose = sop_class == DOSE_CLASS || data.text(tags::MODALITY).as_deref() == Some("RTDOSE");
    let scaling = data.number(tags::DOSE_GRID_SCALING, Kind::Text);
    scaling.filter(|&scaling| is_dose && scaling != 0.0)
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

/// What all frames of a file have in common.
struct Common {
    windows: Arc<[Window]>,
    /// Windows of the groups that all frames share.
    shared_windows: Option<Arc<[Window]>>,
    moment: Moment,
    dose_scaling: Option<f64>,
}

fn frames(header: &Header, count: usize, sop_class: &str) -> Result<Vec<FrameHeader>> {
    let root = &header.data;
    let shared = header.check(root.item_of(tags::SHARED_FUNCTIONAL_GROUPS))?;
    let own = header.check(root.items(tags::PER_FRAME_FUNCTIONAL_GROUPS))?;
    let offsets = root.numbers(tags::GRID_FRAME_OFFSET_VECTOR, Kind::Text);
    let shared_windows = match &shared {
        Some(group) => voi::of_group(header, group)?,
        None => None,
    };
    let common = Common {
        windows: voi::of_file(header)?,
        shared_windows,
        moment: Moment::of_file(root),
        dose_scaling: dose_scaling(root, sop_class),
    };
    let mut frames = Vec::with_capacity(count);
    for index in 0..count {
        let groups = Groups {
            own: own.get(index),
            shared: shared.as_ref(),
            root,
        };
        let mut frame = frame(header, &groups, index, &common)?;
        if count > 1 && own.is_empty() {
            // The position is that of the first frame; RT doses say where the others lie.
            frame.position = shifted(&frame, &offsets, index);
        }
        frames.push(frame);
    }
    Ok(frames)
}

fn frame(header: &Header, groups: &Groups, index: usize, common: &Common) -> Result<FrameHeader> {
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
    let rescale = match common.dose_scaling {
        Some(slope) => Some(Rescale {
            slope,
            intercept: 0.0,
        }),
        None => groups.find(header, tags::PIXEL_VALUE_TRANSFORMATION_SEQUENCE, rescale)?,
    };
    let windows = match groups.own {
        Some(group) => voi::of_group(header, group)?,
        None => None,
    };
    let windows = windows.or_else(|| common.shared_windows.clone());
    Ok(FrameHeader {
        index,
        position: groups.find(header, tags::PLANE_POSITION_SEQUENCE, |data| {
            data.decimals(tags::IMAGE_POSITION_PATIENT)
        })?,
        orientation: groups.find(header, tags::PLANE_ORIENTATION_SEQUENCE, |data| {
            data.decimals(tags::IMAGE_ORIENTATION_PATIENT)
        })?,
        spacing: groups.find(header, tags::PIXEL_MEASURES_SEQUENCE, positive)?,
        rescale: rescale.unwrap_or(Rescale::NONE),
        windows: windows.unwrap_or_else(|| common.windows.clone()),
        moment: header.check(common.moment.of_frame([groups.own, groups.shared]))?,
    })
}

/// The position of a frame by the offsets of all (PS3.3, C.8.8.3.2).
///
/// They count from the position of the first frame along the normal, or, if the first of them is that position's z, are
/// coordinates along z.
fn shifted(frame: &FrameHeader, offsets: &[f64], index: usize) -> Option<[f64; 3]> {
    let (position, orientation) = (frame.position?, frame.orientation?);
    let (first, offset) = (offsets.first()?, offsets.get(index)?);
    let normal = super::geometry::normal(&orientation);
    let is_axial = normal[0].abs() < AXIAL && normal[1].abs() < AXIAL;
    if *first != 0.0 && is_axial && (first - position[2]).abs() < SAME_Z_MM {
        return Some([position[0], position[1], *offset]);
    }
    Some([0, 1, 2].map(|axis| position[axis] + (offset - first) * normal[axis]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_of_frames_are_distances_or_coordinates() {
        let frame = |orientation| FrameHeader {
            index: 0,
            position: Some([10.0, 20.0, -300.0]),
            orientation: Some(orientation),
            spacing: None,
            rescale: Rescale::NONE,
            windows: Arc::new([]),
            moment: Moment::default(),
        };
        let supine = frame([1.0, 0.0, 0.0, 0.0, 1.0, 0.0]);
        // The normal of a prone grid points to the feet.
        let prone = frame([1.0, 0.0, 0.0, 0.0, -1.0, 0.0]);
        let at = |z| Some([10.0, 20.0, z]);
        for (offsets, index, on_supine, on_prone) in [
            (&[0.0, 3.0, 6.0][..], 2, at(-294.0), at(-306.0)),
            (&[0.0, -3.0, -6.0], 1, at(-303.0), at(-297.0)),
            (&[-300.0, -297.0], 0, at(-300.0), at(-300.0)),
            (&[-300.0, -297.0], 1, at(-297.0), at(-297.0)),
            // Neither: distances whose origin lies elsewhere.
            (&[5.0, 8.0], 1, at(-297.0), at(-303.0)),
            (&[0.0], 1, None, None),
            (&[], 0, None, None),
        ] {
            assert_eq!(shifted(&supine, offsets, index), on_supine, "{offsets:?}");
            assert_eq!(shifted(&prone, offsets, index), on_prone, "{offsets:?}");
        }
        let coronal = frame([1.0, 0.0, 0.0, 0.0, 0.0, -1.0]);
        let moved = shifted(&coronal, &[-300.0, -297.0], 1);
        assert_eq!(moved, Some([10.0, 23.0, -300.0]));
    }
}
