//! Annotations as files: label maps in the formats that `predict` writes ([`LABEL_MAPS`]), and what keeps more. To add
//! one of the latter: a line in the lists below and an arm in [`file`].

use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::{Value, json};
use synthfm_image::{
    GreyDepth, LabelFile, LabelMap, LabelVolume, MaskFormat, Segment, Segmentation, WriteOptions,
    check_source, compressed_rle, encode_label_png, encode_mask_png, write_atomically,
    write_label_nifti, write_segmentation,
};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::annotation::{Annotation, Place, PlaneName, Structure};
use super::catalog::plain;
use super::desk::OpenCase;
use super::error::{ApiError, ApiResult};
use super::study::Study;
use synthfm_image::create_folder;

/// A form that an annotation can be saved in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct Format {
    /// Name of the format in requests.
    pub(super) id: &'static str,
    /// For the page.
    label: &'static str,
}

/// Label maps, as `predict` writes them too; where structures overlap, the last one lies on top.
const LABEL_MAPS: [(MaskFormat, &str); 7] = [
    (MaskFormat::Nifti, "NIfTI label map"),
    (MaskFormat::Png, "PNG label map"),
    (MaskFormat::Nrrd, "NRRD segmentation (3D Slicer)"),
    (MaskFormat::MetaImage, "MetaImage label map"),
    (MaskFormat::Tiff, "TIFF label map"),
    (MaskFormat::DicomSeg, "DICOM segmentation"),
    (MaskFormat::RtStruct, "DICOM RT structure set"),
];
/// Formats of pictures that keep overlaps or prompts.
const OF_PICTURES: [Format; 3] = [
    Format {
        id: "png-masks",
        label: "PNG masks, one per structure",
    },
    Format {
        id: "coco",
        label: "COCO annotations",
    },
    Format {
        id: "prompts",
        label: "Prompts for `synthfm predict`",
    },
];
const OF_VOLUMES: [Format; 1] = [Format {
    id: "nifti-masks",
    label: "NIfTI masks, one per structure",
}];
const OF_BOTH: [Format; 1] = [Format {
    id: "json",
    label: "Structures and prompts (JSON)",
}];

/// The formats for an image, the usual one first. DICOM objects refer to the DICOM images that they were made for.
pub(super) fn formats_for(study: &Study) -> Vec<Format> {
    let fits = |format: MaskFormat| match format {
        MaskFormat::Png => study.is_picture(),
        format => study
            .info()
            .is_some_and(|info| check_source(Path::new("labels"), format, info).is_ok()),
    };
    let maps = LABEL_MAPS.iter().filter(|(format, _)| fits(*format));
    let mut formats: Vec<Format> = maps
        .map(|(format, label)| Format {
            id: format.name(),
            label,
        })
        .collect();
    if study.is_picture() {
        formats.sort_by_key(|format| format.id != MaskFormat::Png.name());
        formats.extend(OF_PICTURES);
    } else {
        formats.extend(OF_VOLUMES);
    }
    formats.extend(OF_BOTH);
    formats
}

/// A file to download.
pub(super) struct File {
    /// In plain characters.
    pub(super) name: String,
    pub(super) kind: &'static str,
    pub(super) bytes: Vec<u8>,
    /// Losses in the written files: what the format could not keep.
    pub(super) notes: Vec<String>,
}

/// The annotation in a format; `work` takes temporary files.
pub(super) fn file(
    format: &str,
    open: &OpenCase,
    annotation: &Annotation,
    work: &Path,
) -> ApiResult<File> {
    let known = formats_for(&open.study);
    if !known.iter().any(|known| known.id == format) {
        let known: Vec<&str> = known.iter().map(|known| known.id).collect();
        return Err(ApiError::bad(format!(
            "format {:?} is not known for this case; {} are",
            format.chars().take(40).collect::<String>(),
            known.join(", ")
        )));
    }
    let (ending, kind, bytes) = match format {
        // Values stay the structures' numbers, also where there is one structure alone.
        "png" => ("_label.png", "image/png", label_png(annotation)?),
        "png-masks" => ("_masks.zip", "application/zip", png_masks(annotation)?),
        "nifti-masks" => (
            "_masks.zip",
            "application/zip",
            nifti_masks(annotation, work)?,
        ),
        "coco" => (
            ".coco.json",
            "application/json",
            pretty(&coco(open, annotation)?)?,
        ),
        "prompts" => (
            "_prompts.json",
            "application/json",
            pretty(&prompts(open, annotation))?,
        ),
        "json" => (
            ".json",
            "application/json",
            pretty(&everything(open, annotation))?,
        ),
        _ => return label_map(format, open, annotation, work),
    };
    Ok(File {
        name: format!("{}{ending}", open.case.stem()),
        kind,
        bytes,
        notes: Vec::new(),
    })
}

/// A label map in one of the formats that `predict` has.
fn label_map(
    format: &str,
    open: &OpenCase,
    annotation: &Annotation,
    work: &Path,
) -> ApiResult<File> {
    let (Some(format), Some(info)) = (MaskFormat::of_name(format), open.study.info()) else {
        return Err(ApiError::bad("this format is not known"));
    };
    let name = label_name(&open.case.stem(), format.ending());
    let labels = annotation.labels();
    let labels = if open.study.is_picture() {
        LabelFile::Map(map(&labels)?)
    } else {
        LabelFile::Volume(labels)
    };
    let segments = annotation.structures().iter().map(segment).collect();
    let folder = temporary(work)?;
    let path = folder.path().join(&name);
    let options = WriteOptions {
        format: Some(format),
        ..WriteOptions::default()
    };
    let notes = write_segmentation(&path, &Segmentation { labels, segments }, info, &options)?;
    let bytes = std::fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
    Ok(File {
        name,
        kind: "application/octet-stream",
        bytes,
        notes,
    })
}

/// The name of a label file: never that of the image, beside which it may be put.
fn label_name(stem: &str, ending: &str) -> String {
    let says_so = [".seg", ".rtstruct"]
        .iter()
        .any(|own| ending.starts_with(own));
    let what = if says_so { "" } else { "_label" };
    format!("{stem}{what}{ending}")
}

fn segment(structure: &Structure) -> Segment {
    let Structure { id, name, colour } = structure;
    let channel = |at: usize| {
        let digits = colour.get(at..at + 2).unwrap_or_default();
        u8::from_str_radix(digits, 16).unwrap_or_default()
    };
    Segment {
        label: *id,
        name: name.clone(),
        colour: [1, 3, 5].map(channel),
    }
}

/// A folder for files on their way, gone when it is dropped.
fn temporary(work: &Path) -> Result<tempfile::TempDir> {
    tempfile::Builder::new()
        .prefix(".export.")
        .tempdir_in(work)
        .with_context(|| format!("writing to {}", work.display()))
}

/// Writes the label map of a case into a folder, under the case's own place and name, and the names of the labels
/// beside it. Where another case or another program has files of that name, the name ends in a part of the case's
/// identifier; nothing but an earlier label map of the same case is replaced.
pub(super) fn write_labels(
    folder: &Path,
    open: &OpenCase,
    annotation: &Annotation,
) -> Result<PathBuf> {
    let parts: Vec<String> = open.case.name.split('/').map(plain).collect();
    let above = parts[..parts.len() - 1].iter().collect::<PathBuf>();
    let folder = folder.join(above);
    create_folder(&folder)?;
    let ending = if open.study.is_picture() {
        "png"
    } else {
        "nii.gz"
    };
    let stem = free_stem(&folder, open, ending)?;
    let path = if open.study.is_picture() {
        let path = folder.join(format!("{stem}.png"));
        let bytes = label_png(annotation)?;
        write_atomically(&path, |out| out.write_all(&bytes))?;
        path
    } else {
        let path = folder.join(format!("{stem}.nii.gz"));
        write_label_nifti(&path, &annotation.labels())?;
        path
    };
    let names = everything(open, annotation);
    synthfm_image::write_json(&folder.join(format!("{stem}.json")), &names)?;
    Ok(path)
}

/// The first of the case's names that no other case or program has taken.
fn free_stem(folder: &Path, open: &OpenCase, ending: &str) -> Result<String> {
    let (stem, id) = (open.case.label_stem(), &open.case.id);
    let names = [
        stem.clone(),
        format!("{stem}-{}", &id[..4.min(id.len())]),
        format!("{stem}-{id}"),
    ];
    for name in names {
        let record = folder.join(format!("{name}.json"));
        let files = [folder.join(format!("{name}.{ending}")), record.clone()];
        let states = files.each_ref().map(std::fs::symlink_metadata);
        let is_free = states.iter().all(Result::is_err);
        let are_plain = states.iter().flatten().all(std::fs::Metadata::is_file);
        if is_free || (are_plain && case_of(&record).as_ref() == Some(id)) {
            return Ok(name);
        }
    }
    anyhow::bail!(
        "the label file of {} has no free name in {}: move other files away",
        open.case.name,
        folder.display()
    )
}

/// The case that a record beside a label file belongs to.
fn case_of(record: &Path) -> Option<String> {
    let value: Value = serde_json::from_slice(&std::fs::read(record).ok()?).ok()?;
    let id = value.get("case").and_then(Value::as_str);
    id.filter(|_| value.get("synthfm").is_some())
        .map(str::to_owned)
}

/// The only slice of a picture.
fn map(labels: &LabelVolume) -> Result<LabelMap> {
    Ok(labels.slice(PlaneName::Axial.into(), 0)?)
}

fn label_png(annotation: &Annotation) -> Result<Vec<u8>> {
    let map = map(&annotation.labels())?;
    Ok(encode_label_png(&map, GreyDepth::of_labels(&map))?)
}

fn nifti(labels: &LabelVolume, work: &Path) -> Result<Vec<u8>> {
    let folder = temporary(work)?;
    let path = folder.path().join("labels.nii.gz");
    write_label_nifti(&path, labels)?;
    Ok(std::fs::read(&path)?)
}

fn png_masks(annotation: &Annotation) -> Result<Vec<u8>> {
    zipped(annotation, ".png", |structure| {
        let map = map(&annotation.one_label(structure.id, 1))?;
        Ok(encode_mask_png(&map.mask_of(1))?)
    })
}

fn nifti_masks(annotation: &Annotation, work: &Path) -> Result<Vec<u8>> {
    zipped(annotation, ".nii.gz", |structure| {
        nifti(&annotation.one_label(structure.id, 1), work)
    })
}

/// One file per structure.
fn zipped(
    annotation: &Annotation,
    ending: &str,
    content: impl Fn(&Structure) -> Result<Vec<u8>>,
) -> Result<Vec<u8>> {
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    for structure in annotation.structures() {
        let name = format!("{:02}_{}{ending}", structure.id, plain(&structure.name));
        archive.start_file(name, SimpleFileOptions::default())?;
        archive.write_all(&content(structure)?)?;
    }
    Ok(archive.finish()?.into_inner())
}

fn coco(open: &OpenCase, annotation: &Annotation) -> Result<Value> {
    let mut annotations = Vec::new();
    for structure in annotation.structures() {
        let mask = annotation.slice(only_slice(structure.id))?;
        let size = mask.size();
        let Some(region) = mask.bounding_box() else {
            continue;
        };
        let (width, height) = (
            region.max.x - region.min.x + 1.0,
            region.max.y - region.min.y + 1.0,
        );
        annotations.push(json!({
            "id": annotations.len() + 1,
            "image_id": 1,
            "category_id": structure.id,
            "bbox": [region.min.x, region.min.y, width, height],
            "area": mask.area(),
            "iscrowd": 0,
            "segmentation": { "size": [size.height, size.width], "counts": compressed_rle(&mask) },
        }));
    }
    let size = annotation.grid().slice_size(PlaneName::Axial.into());
    let category = |s: &Structure| json!({ "id": s.id, "name": s.name });
    Ok(json!({
        "images": [{ "id": 1, "file_name": open.case.name, "height": size.height, "width": size.width }],
        "categories": annotation.structures().iter().map(category).collect::<Vec<_>>(),
        "annotations": annotations,
    }))
}

const fn only_slice(structure: u16) -> Place {
    Place {
        structure,
        plane: PlaneName::Axial,
        index: 0,
    }
}

/// A prompts file of `synthfm predict`.
fn prompts(open: &OpenCase, annotation: &Annotation) -> Value {
    let entry = |(place, prompts): (Place, &super::annotation::SlicePrompts)| {
        if prompts.points.is_empty() && prompts.box_.is_none() {
            return None;
        }
        let structure = annotation.structure(place.structure).ok()?;
        let mut entry = json!({ "image": open.case.name, "id": plain(&structure.name) });
        if !prompts.points.is_empty() {
            entry["points"] = json!(prompts.points);
            entry["point_labels"] = json!(prompts.labels);
        }
        if let Some(corners) = prompts.box_ {
            entry["box"] = json!(corners);
        }
        Some(entry)
    };
    json!(
        annotation
            .all_prompts()
            .filter_map(entry)
            .collect::<Vec<_>>()
    )
}

fn everything(open: &OpenCase, annotation: &Annotation) -> Value {
    let slice = |(place, prompts): (Place, &super::annotation::SlicePrompts)| json!({ "structure": place.structure, "plane": place.plane, "index": place.index, "prompts": prompts });
    json!({
        "synthfm": crate::VERSION,
        "case": open.case.id,
        "image": open.case.name,
        "shape": annotation.grid().shape(),
        "state": annotation.progress(),
        "structures": annotation.structures(),
        "prompts": annotation.all_prompts().map(slice).collect::<Vec<_>>(),
    })
}

fn pretty(value: &Value) -> Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec_pretty(value)?;
    bytes.push(b'\n');
    Ok(bytes)
}
