//! Segmentations out, in the format that the file's name asks for, on the grid of their source.

mod coco;
mod codes;
mod dicom_data;
mod dicom_object;
mod dicom_seg;
mod meta_image;
mod nrrd;
mod picture;
mod rt_struct;

pub(in crate::io) use codes::srgb;

use std::io::Write;
use std::path::Path;

use super::{nifti, write_atomically};
use crate::scan::{DicomSeries, ScanInfo};
use crate::{
    Error, LabelFile, LabelMap, LabelVolume, MaskFormat, Plane, Result, Segment, Segmentation,
    VolumeGeometry, WriteOptions,
};

/// Writes a segmentation on the grid of the image it was made for, which `source` describes, in the format of
/// [`WriteOptions::format_of`]. Returns what was lost on the way, if anything.
///
/// Formats of pictures show the slice that `options` name. DICOM objects refer to the images of the source and
/// therefore need one that was read from DICOM.
pub fn write_segmentation(
    path: &Path,
    segmentation: &Segmentation,
    source: &ScanInfo,
    options: &WriteOptions,
) -> Result<Vec<String>> {
    let format = options.format_of(path)?;
    check_source(path, format, source)?;
    let segments = segmentation.all_segments();
    let mut notes = Vec::new();
    let bytes = match format {
        MaskFormat::Nifti => {
            nifti::write_label_nifti(path, &volume(segmentation, source)?)?;
            return Ok(notes);
        }
        MaskFormat::Png => picture::png(&map(path, segmentation, options)?, &segments)?,
        MaskFormat::Tiff => picture::tiff(&segmentation.labels, &segments)?,
        MaskFormat::Nrrd => nrrd::encode(path, &volume(segmentation, source)?, &segments),
        MaskFormat::MetaImage => meta_image::encode(&volume(segmentation, source)?)?,
        MaskFormat::CocoJson => coco::encode(path, segmentation, &segments, options)?,
        MaskFormat::DicomSeg => {
            let series = dicom(path, format, source)?;
            let labels = volume(segmentation, source)?;
            notes.extend(dicom_object::notes(series));
            dicom_seg::encode(&labels, &segments, series, options.created)?
        }
        MaskFormat::RtStruct => {
            let series = dicom(path, format, source)?;
            let labels = volume(segmentation, source)?;
            notes.extend(dicom_object::notes(series));
            if labels.labels().is_empty() {
                notes.push("the structure set holds no contour: nothing is segmented".to_owned());
            }
            rt_struct::encode(&labels, &segments, series, options.created)?
        }
    };
    write_atomically(path, |out| out.write_all(&bytes))?;
    Ok(notes)
}

/// Whether an image like `source` can have masks of this format, before any work is done.
pub fn check_source(path: &Path, format: MaskFormat, source: &ScanInfo) -> Result<()> {
    if format.needs_dicom() {
        let series = dicom(path, format, source)?;
        if format == MaskFormat::RtStruct && !series.in_patient {
            let problem = format!(
                "{}: contours need positions in the patient, which the images do not have; use {}",
                path.display(),
                MaskFormat::DicomSeg.ending()
            );
            return Err(Error::Parameter(problem));
        }
    }
    Ok(())
}

fn dicom<'a>(path: &Path, format: MaskFormat, source: &'a ScanInfo) -> Result<&'a DicomSeries> {
    source.dicom.as_deref().ok_or_else(|| {
        Error::Parameter(format!(
            "{}: {} refers to the DICOM images it was made for, but the input is {}; use .nii.gz or .seg.nrrd",
            path.display(),
            format.name(),
            source.format
        ))
    })
}

/// The labels as a volume; a picture is one slice.
fn volume(segmentation: &Segmentation, source: &ScanInfo) -> Result<LabelVolume> {
    match &segmentation.labels {
        LabelFile::Volume(volume) => Ok(volume.clone()),
        LabelFile::Map(map) => {
            let [rows, columns] = source.pixel_spacing_mm.unwrap_or([1.0; 2]);
            let shape = [map.size().width, map.size().height, 1];
            let geometry = VolumeGeometry::with_spacing(shape, [columns, rows, 1.0])?;
            LabelVolume::new(geometry, map.data().to_vec())
        }
    }
}

/// The labels as a picture; of a volume the slice looked at.
fn map(path: &Path, segmentation: &Segmentation, options: &WriteOptions) -> Result<LabelMap> {
    match (&segmentation.labels, options.slice) {
        (LabelFile::Map(map), _) => Ok(map.clone()),
        (LabelFile::Volume(volume), Some((plane, index))) => volume.slice(plane, index),
        (LabelFile::Volume(volume), None) if volume.geometry().slice_count(Plane::Axial) == 1 => {
            volume.slice(Plane::Axial, 0)
        }
        (LabelFile::Volume(volume), None) => Err(Error::Parameter(format!(
            "{}: a picture holds one slice, the volume has {:?} voxels; name the slice, or use .nii.gz",
            path.display(),
            volume.geometry().shape()
        ))),
    }
}

/// Whether the labels are a mask: one structure, of label 1.
fn is_mask(segments: &[Segment]) -> bool {
    matches!(segments, [] | [Segment { label: 1, .. }])
}

/// Bytes of labels, of 8 bits if all fit, else of 16 in little-endian order.
fn label_bytes(labels: &[u16]) -> (bool, Vec<u8>) {
    let narrow: std::result::Result<Vec<u8>, _> = labels.iter().map(|&v| u8::try_from(v)).collect();
    match narrow {
        Ok(bytes) => (true, bytes),
        Err(_) => (false, labels.iter().flat_map(|v| v.to_le_bytes()).collect()),
    }
}

/// Compresses through `encoder`, in memory.
fn compressed<W: Write>(
    mut encoder: W,
    bytes: &[u8],
    finish: impl FnOnce(W) -> std::io::Result<Vec<u8>>,
) -> Vec<u8> {
    encoder
        .write_all(bytes)
        .and_then(|()| finish(encoder))
        .expect("writing to memory does not fail")
}
