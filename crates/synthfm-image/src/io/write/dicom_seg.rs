//! DICOM Segmentation objects out (PS3.3, A.51): binary, one frame per structure and slice that it touches.
//!
//! Frames lie on the grid of the source's slices, at their own positions, and refer to them. The layout is that of
//! dcmqi and highdicom.

use std::time::SystemTime;

use super::super::dicom::tags;
use super::codes::{cielab, concept};
use super::dicom_data::{DataSet, Syntax};
use super::dicom_object::{
    Kind, Uids, check, code, common, date_time, name, reference, series_uid, too_long,
};
use crate::scan::DicomSeries;
use crate::{LabelVolume, Result, Segment};

const SOP_CLASS: &str = "1.2.840.10008.5.1.4.1.1.66.4";
const TEMPORAL_POSITION_INDEX: u32 = 0x0020_9128;
const SPATIAL_LOCATIONS_PRESERVED: u32 = 0x0028_135a;

/// A frame: index of its segment, index of its slice.
type Frame = (usize, usize);

pub(super) fn encode(
    labels: &LabelVolume,
    segments: &[Segment],
    source: &DicomSeries,
    created: SystemTime,
) -> Result<Vec<u8>> {
    check(labels, segments, source)?;
    let uids = Uids::new("SEG", labels, segments, source, created);
    let instance = uids.uid("instance");
    let kind = Kind {
        sop_class: SOP_CLASS,
        sop_instance: &instance,
        series: &uids.uid("series"),
        modality: "SEG",
        description: "synthfm segmentation",
    };
    let frames = frames(labels, segments);
    let mut data = common(&kind, source, segments, created);
    image_module(&mut data, labels, frames.len(), created);
    lossy(&mut data, source);
    segment_module(&mut data, segments, source);
    dimensions(&mut data, &uids.uid("dimensions"), source);
    references(&mut data, &frames, source);
    functional_groups(&mut data, &frames, labels, source);
    data.bytes(tags::PIXEL_DATA, *b"OB", &bits(labels, segments, &frames));
    data.into_file(Syntax::ExplicitLittleEndian, SOP_CLASS, &instance)
        .ok_or_else(too_long)
}

fn slice(labels: &LabelVolume, index: usize) -> &[u16] {
    let [columns, rows, _] = labels.geometry().shape();
    &labels.data()[index * columns * rows..][..columns * rows]
}

/// Frames that are not empty; the first one if all are, for an object needs one.
fn frames(labels: &LabelVolume, segments: &[Segment]) -> Vec<Frame> {
    let [_, _, slices] = labels.geometry().shape();
    let mut frames = Vec::new();
    for (n, segment) in segments.iter().enumerate() {
        let touched = (0..slices).filter(|&k| slice(labels, k).contains(&segment.label));
        frames.extend(touched.map(|k| (n, k)));
    }
    if frames.is_empty() {
        frames.push((0, 0));
    }
    frames
}

/// All frames, a bit per pixel, the lowest first, without gaps.
fn bits(labels: &LabelVolume, segments: &[Segment], frames: &[Frame]) -> Vec<u8> {
    let [columns, rows, _] = labels.geometry().shape();
    let mut bytes = vec![0u8; (frames.len() * columns * rows).div_ceil(8)];
    let mut at = 0;
    for &(segment, k) in frames {
        for &label in slice(labels, k) {
            bytes[at / 8] |= u8::from(label == segments[segment].label) << (at % 8);
            at += 1;
        }
    }
    bytes
}

fn image_module(data: &mut DataSet, labels: &LabelVolume, frames: usize, created: SystemTime) {
    let [columns, rows, _] = labels.geometry().shape();
    let (date, time) = date_time(created);
    data.text(tags::IMAGE_TYPE, *b"CS", "DERIVED\\PRIMARY");
    data.text(tags::CONTENT_DATE, *b"DA", &date);
    data.text(tags::CONTENT_TIME, *b"TM", &time);
    data.u16s(tags::SAMPLES_PER_PIXEL, &[1]);
    data.text(tags::PHOTOMETRIC_INTERPRETATION, *b"CS", "MONOCHROME2");
    data.integer(tags::NUMBER_OF_FRAMES, frames as i64);
    // The source's slices have at most 65535 rows and columns, for these are its attributes too.
    data.u16s(tags::ROWS, &[rows as u16]);
    data.u16s(tags::COLUMNS, &[columns as u16]);
    data.u16s(tags::BITS_ALLOCATED, &[1]);
    data.u16s(tags::BITS_STORED, &[1]);
    data.u16s(tags::HIGH_BIT, &[0]);
    data.u16s(tags::PIXEL_REPRESENTATION, &[0]);
    data.text(tags::SEGMENTATION_TYPE, *b"CS", "BINARY");
    data.text(tags::SEGMENTS_OVERLAP, *b"CS", "NO");
    data.text(tags::CONTENT_LABEL, *b"CS", "SEGMENTATION");
    data.text(
        tags::CONTENT_DESCRIPTION,
        *b"LO",
        "Segmentation by synthfm, for research use only",
    );
    data.text(tags::CONTENT_CREATOR_NAME, *b"PN", "");
}

/// A segmentation of images that were compressed with loss says so, with how much.
fn lossy(data: &mut DataSet, source: &DicomSeries) {
    let flag = source.attribute(tags::LOSSY_IMAGE_COMPRESSION);
    let ratio = source.attribute(tags::LOSSY_IMAGE_COMPRESSION_RATIO);
    let method = source.attribute(tags::LOSSY_IMAGE_COMPRESSION_METHOD);
    if flag.starts_with(b"01") && !ratio.is_empty() && !method.is_empty() {
        data.text(tags::LOSSY_IMAGE_COMPRESSION, *b"CS", "01");
        data.bytes(tags::LOSSY_IMAGE_COMPRESSION_RATIO, *b"DS", ratio);
        data.bytes(tags::LOSSY_IMAGE_COMPRESSION_METHOD, *b"CS", method);
    } else {
        data.text(tags::LOSSY_IMAGE_COMPRESSION, *b"CS", "00");
    }
}

fn segment_module(data: &mut DataSet, segments: &[Segment], source: &DicomSeries) {
    let algorithm = concat!("synthfm ", env!("CARGO_PKG_VERSION"));
    let items = segments.iter().enumerate().map(|(n, segment)| {
        let concept = concept(&segment.name);
        let sct = |(value, meaning)| vec![code(value, "SCT", meaning)];
        let mut item = DataSet::new();
        item.sequence(tags::SEGMENTED_PROPERTY_CATEGORY, sct(concept.category));
        item.u16s(tags::SEGMENT_NUMBER, &[n as u16 + 1]);
        item.text(
            tags::SEGMENT_LABEL,
            *b"LO",
            &name(&segment.name, source, 64),
        );
        item.text(tags::SEGMENT_ALGORITHM_TYPE, *b"CS", "SEMIAUTOMATIC");
        item.text(tags::SEGMENT_ALGORITHM_NAME, *b"LO", algorithm);
        item.u16s(tags::RECOMMENDED_DISPLAY_CIELAB, &cielab(segment.colour));
        item.sequence(tags::SEGMENTED_PROPERTY_TYPE, sct(concept.kind));
        item
    });
    data.sequence(tags::SEGMENT_SEQUENCE, items.collect());
}

/// Frames are counted by segment and by position, or by time where positions are unknown.
fn dimensions(data: &mut DataSet, uid: &str, source: &DicomSeries) {
    let mut organization = DataSet::new();
    organization.text(tags::DIMENSION_ORGANIZATION_UID, *b"UI", uid);
    data.sequence(tags::DIMENSION_ORGANIZATION_SEQUENCE, vec![organization]);
    let index = |pointer, group, label: &str| {
        let mut item = DataSet::new();
        item.text(tags::DIMENSION_ORGANIZATION_UID, *b"UI", uid);
        item.pointer(tags::DIMENSION_INDEX_POINTER, pointer);
        item.pointer(tags::FUNCTIONAL_GROUP_POINTER, group);
        item.text(tags::DIMENSION_DESCRIPTION_LABEL, *b"LO", label);
        item
    };
    let segment = index(
        tags::REFERENCED_SEGMENT_NUMBER,
        tags::SEGMENT_IDENTIFICATION_SEQUENCE,
        "ReferencedSegmentNumber",
    );
    let position = if source.in_patient {
        index(
            tags::IMAGE_POSITION_PATIENT,
            tags::PLANE_POSITION_SEQUENCE,
            "ImagePositionPatient",
        )
    } else {
        index(
            TEMPORAL_POSITION_INDEX,
            tags::FRAME_CONTENT_SEQUENCE,
            "TemporalPositionIndex",
        )
    };
    data.sequence(tags::DIMENSION_INDEX_SEQUENCE, vec![segment, position]);
}

/// The images that frames refer to, each once.
fn references(data: &mut DataSet, frames: &[Frame], source: &DicomSeries) {
    let mut instances: Vec<(&str, &str)> = Vec::new();
    for &(_, k) in frames {
        let slice = &source.slices[k];
        let instance = (slice.sop_class.as_str(), slice.sop_instance.as_str());
        if !instances.contains(&instance) {
            instances.push(instance);
        }
    }
    let items = instances
        .iter()
        .map(|(class, instance)| reference(class, instance, None));
    let mut series = DataSet::new();
    series.sequence(tags::REFERENCED_INSTANCE_SEQUENCE, items.collect());
    series.text(tags::SERIES_INSTANCE_UID, *b"UI", &series_uid(source));
    data.sequence(tags::REFERENCED_SERIES_SEQUENCE, vec![series]);
}

fn functional_groups(
    data: &mut DataSet,
    frames: &[Frame],
    labels: &LabelVolume,
    source: &DicomSeries,
) {
    let mut shared = DataSet::new();
    if let Some(orientation) = source.orientation {
        let mut item = DataSet::new();
        item.decimals(tags::IMAGE_ORIENTATION_PATIENT, &orientation);
        shared.sequence(tags::PLANE_ORIENTATION_SEQUENCE, vec![item]);
    }
    if let Some(spacing) = source.pixel_spacing {
        let step = labels.geometry().spacing_mm()[2];
        let mut item = DataSet::new();
        item.decimals(tags::SLICE_THICKNESS, &[step]);
        item.decimals(tags::SPACING_BETWEEN_SLICES, &[step]);
        item.decimals(tags::PIXEL_SPACING, &spacing);
        shared.sequence(tags::PIXEL_MEASURES_SEQUENCE, vec![item]);
    }
    data.sequence(tags::SHARED_FUNCTIONAL_GROUPS, vec![shared]);
    let mut used: Vec<usize> = frames.iter().map(|&(_, k)| k).collect();
    used.sort_unstable();
    used.dedup();
    let items = frames.iter().map(|&frame| per_frame(frame, &used, source));
    data.sequence(tags::PER_FRAME_FUNCTIONAL_GROUPS, items.collect());
}

fn per_frame((segment, k): Frame, used: &[usize], source: &DicomSeries) -> DataSet {
    let slice = &source.slices[k];
    let mut groups = DataSet::new();

    let mut image = reference(&slice.sop_class, &slice.sop_instance, slice.frame);
    let purpose = code(
        "121322",
        "DCM",
        "Source image for image processing operation",
    );
    image.text(SPATIAL_LOCATIONS_PRESERVED, *b"CS", "YES");
    image.sequence(tags::PURPOSE_OF_REFERENCE, vec![purpose]);
    let mut derivation = DataSet::new();
    derivation.sequence(tags::SOURCE_IMAGE_SEQUENCE, vec![image]);
    let segmentation = code("113076", "DCM", "Segmentation");
    derivation.sequence(tags::DERIVATION_CODE_SEQUENCE, vec![segmentation]);
    groups.sequence(tags::DERIVATION_IMAGE_SEQUENCE, vec![derivation]);

    // Positions count from 1 among those that occur.
    let place = used.partition_point(|&other| other < k) as u32 + 1;
    let mut content = DataSet::new();
    content.u32s(tags::DIMENSION_INDEX_VALUES, &[segment as u32 + 1, place]);
    if !source.in_patient {
        content.u32s(TEMPORAL_POSITION_INDEX, &[place]);
    }
    groups.sequence(tags::FRAME_CONTENT_SEQUENCE, vec![content]);
    if let Some(position) = slice.position.filter(|_| source.in_patient) {
        let mut item = DataSet::new();
        item.decimals(tags::IMAGE_POSITION_PATIENT, &position);
        groups.sequence(tags::PLANE_POSITION_SEQUENCE, vec![item]);
    }
    let mut identification = DataSet::new();
    identification.u16s(tags::REFERENCED_SEGMENT_NUMBER, &[segment as u16 + 1]);
    groups.sequence(tags::SEGMENT_IDENTIFICATION_SEQUENCE, vec![identification]);
    groups
}
