//! DICOM RT structure sets out (PS3.3, A.19): closed planar contours on the source's slices.
//!
//! The contours of a slice, filled by the even-odd rule, cover exactly the centres of the mask's pixels; holes are
//! contours of their own.

use std::time::SystemTime;

use super::super::dicom::tags;
use super::dicom_data::{DataSet, Syntax};
use super::dicom_object::{
    Kind, Uids, check, common, date_time, name, reference, series_uid, study_uid, too_long,
};
use crate::contour::contours;
use crate::scan::DicomSeries;
use crate::{Error, LabelVolume, Mask, Point2, Result, Segment, Size};

const SOP_CLASS: &str = "1.2.840.10008.5.1.4.1.1.481.3";
/// Detached study management: what structure sets name their study by.
const STUDY_CLASS: &str = "1.2.840.10008.3.1.2.3.1";

pub(super) fn encode(
    labels: &LabelVolume,
    segments: &[Segment],
    source: &DicomSeries,
    created: SystemTime,
) -> Result<Vec<u8>> {
    check(labels, segments, source)?;
    let frame = source.attribute(tags::FRAME_OF_REFERENCE_UID);
    if frame.is_empty() {
        return Err(Error::Parameter(
            "the DICOM images have no Frame of Reference UID, which contours need; use .seg.dcm or .nii.gz".to_owned(),
        ));
    }
    let uids = Uids::new("RTSTRUCT", labels, segments, source, created);
    let instance = uids.uid("instance");
    let kind = Kind {
        sop_class: SOP_CLASS,
        sop_instance: &instance,
        series: &uids.uid("series"),
        modality: "RTSTRUCT",
        description: "synthfm contours",
    };
    let mut data = common(&kind, source, segments, created);
    let (date, time) = date_time(created);
    data.text(tags::STRUCTURE_SET_LABEL, *b"SH", "synthfm");
    data.text(tags::STRUCTURE_SET_DATE, *b"DA", &date);
    data.text(tags::STRUCTURE_SET_TIME, *b"TM", &time);
    data.sequence(
        tags::REFERENCED_FRAME_OF_REFERENCE,
        vec![referenced_frame(source)],
    );
    let rois = segments.iter().enumerate();
    let items = rois.clone().map(|(n, segment)| roi(n, segment, source));
    data.sequence(tags::STRUCTURE_SET_ROI_SEQUENCE, items.collect());
    let items = rois
        .clone()
        .map(|(n, segment)| roi_contours(n, segment, labels, source));
    data.sequence(tags::ROI_CONTOUR_SEQUENCE, items.collect());
    data.sequence(
        tags::RT_ROI_OBSERVATIONS_SEQUENCE,
        rois.map(|(n, _)| observation(n)).collect(),
    );
    // Contours may be longer than the 64 KiB of an explicit decimal string.
    data.into_file(Syntax::ImplicitLittleEndian, SOP_CLASS, &instance)
        .ok_or_else(too_long)
}

fn referenced_frame(source: &DicomSeries) -> DataSet {
    let mut instances: Vec<(&str, &str)> = Vec::new();
    for slice in &source.slices {
        let instance = (slice.sop_class.as_str(), slice.sop_instance.as_str());
        if instances.last() != Some(&instance) {
            instances.push(instance);
        }
    }
    let images = instances
        .iter()
        .map(|(class, instance)| reference(class, instance, None));
    let mut series = DataSet::new();
    series.text(tags::SERIES_INSTANCE_UID, *b"UI", &series_uid(source));
    series.sequence(tags::CONTOUR_IMAGE_SEQUENCE, images.collect());
    let mut study = reference(STUDY_CLASS, &study_uid(source), None);
    study.sequence(tags::RT_REFERENCED_SERIES, vec![series]);
    let mut frame = DataSet::new();
    let uid = source.attribute(tags::FRAME_OF_REFERENCE_UID);
    frame.bytes(tags::FRAME_OF_REFERENCE_UID, *b"UI", uid);
    frame.sequence(tags::RT_REFERENCED_STUDY, vec![study]);
    frame
}

fn roi(n: usize, segment: &Segment, source: &DicomSeries) -> DataSet {
    let mut item = DataSet::new();
    item.integer(tags::ROI_NUMBER, n as i64 + 1);
    let frame = source.attribute(tags::FRAME_OF_REFERENCE_UID);
    item.bytes(tags::REFERENCED_FOR_UID, *b"UI", frame);
    item.text(tags::ROI_NAME, *b"LO", &name(&segment.name, source, 64));
    item.text(tags::ROI_GENERATION_ALGORITHM, *b"CS", "SEMIAUTOMATIC");
    item
}

fn observation(n: usize) -> DataSet {
    let mut item = DataSet::new();
    item.integer(tags::OBSERVATION_NUMBER, n as i64 + 1);
    item.integer(tags::REFERENCED_ROI_NUMBER, n as i64 + 1);
    item.text(tags::RT_ROI_INTERPRETED_TYPE, *b"CS", "");
    item.text(tags::ROI_INTERPRETER, *b"PN", "");
    item
}

fn roi_contours(
    n: usize,
    segment: &Segment,
    labels: &LabelVolume,
    source: &DicomSeries,
) -> DataSet {
    let [columns, rows, slices] = labels.geometry().shape();
    let size = Size::new(rows, columns);
    let mut items = Vec::new();
    for k in 0..slices {
        let values = &labels.data()[k * size.area()..][..size.area()];
        if !values.contains(&segment.label) {
            continue;
        }
        let inside = values.iter().map(|&v| v == segment.label).collect();
        let mask = Mask::new(size, inside).expect("a slice has the size of its volume");
        for points in contours(&mask) {
            items.extend(contour(&points, k, source));
        }
    }
    let mut item = DataSet::new();
    let colour: Vec<String> = segment.colour.iter().map(u8::to_string).collect();
    item.text(tags::ROI_DISPLAY_COLOR, *b"IS", &colour.join("\\"));
    if !items.is_empty() {
        item.sequence(tags::CONTOUR_SEQUENCE, items);
    }
    item.integer(tags::REFERENCED_ROI_NUMBER, n as i64 + 1);
    item
}

/// A contour of slice `k` in the patient; `None` if the slice has no place there.
fn contour(points: &[Point2], k: usize, source: &DicomSeries) -> Option<DataSet> {
    let slice = &source.slices[k];
    let (position, orientation) = (slice.position?, source.orientation?);
    let [row_spacing, column_spacing] = source.pixel_spacing.unwrap_or([1.0; 2]);
    let mut data = Vec::with_capacity(3 * points.len());
    for point in points {
        let (x, y) = (point.x * column_spacing, point.y * row_spacing);
        for axis in 0..3 {
            let mm = position[axis] + x * orientation[axis] + y * orientation[axis + 3];
            // A nanometre is enough, and keeps the text short.
            data.push((mm * 1e6).round() / 1e6);
        }
    }
    let mut item = DataSet::new();
    let image = reference(&slice.sop_class, &slice.sop_instance, slice.frame);
    item.sequence(tags::CONTOUR_IMAGE_SEQUENCE, vec![image]);
    item.text(tags::CONTOUR_GEOMETRIC_TYPE, *b"CS", "CLOSED_PLANAR");
    item.integer(tags::NUMBER_OF_CONTOUR_POINTS, points.len() as i64);
    item.decimals(tags::CONTOUR_DATA, &data);
    Some(item)
}
