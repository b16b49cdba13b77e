//! Annotations as files. To add a format: a line in [`FORMATS`] and an arm in [`file`].

use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::{Value, json};
use synthfm_image::{
    GreyDepth, LabelMap, LabelVolume, compressed_rle, encode_label_png, encode_mask_png,
    write_atomically, write_label_nifti,
};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::annotation::{Annotation, Place, PlaneName, Structure};
use super::catalog::plain;
use super::desk::OpenCase;
use super::error::{ApiError, ApiResult};
use crate::output::create_folder;

/// What a format is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum For {
    Pictures,
    Volumes,
    Both,
}

/// A form that an annotation can be saved in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct Format {
    /// Its name in requests.
    pub(super) id: &'static str,
    /// For the page.
    label: &'static str,
    #[serde(rename = "for")]
    for_: For,
}

const FORMATS: [Format; 7] = [
    Format {
        id: "png",
        label: "PNG label map",
        for_: For::Pictures,
    },
    Format {
        id: "png-masks",
        label: "PNG masks, one per structure (.zip)",
        for_: For::Pictures,
    },
    Format {
        id: "nifti",
        label: "NIfTI label map (.nii.gz)",
        for_: For::Volumes,
    },
    Format {
        id: "nifti-masks",
        label: "NIfTI masks, one per structure (.zip)",
        for_: For::Volumes,
    },
    Format {
        id: "coco",
        label: "COCO annotations (.json)",
        for_: For::Pictures,
    },
    Format {
        id: "prompts",
        label: "Prompts for `synthfm predict` (.json)",
        for_: For::Pictures,
    },
    Format {
        id: "json",
        label: "Structures and prompts (.json)",
        for_: For::Both,
    },
];

/// All formats.
pub(super) const fn formats() -> &'static [Format] {
    &FORMATS
}

/// The formats for a picture or a volume.
pub(super) fn formats_for(picture: bool) -> Vec<Format> {
    let other = if picture { For::Volumes } else { For::Pictures };
    let fits = |format: &&Format| format.for_ != other;
    FORMATS.iter().filter(fits).copied().collect()
}

/// A file to download.
pub(super) struct File {
    /// In plain characters.
    pub(super) name: String,
    pub(super) kind: &'static str,
    pub(super) bytes: Vec<u8>,
}

/// The annotation in a format; `work` takes temporary files.
pub(super) fn file(
    format: &str,
    open: &OpenCase,
    annotation: &Annotation,
    work: &Path,
) -> ApiResult<File> {
    let picture = open.study.is_picture();
    if !formats_for(picture).iter().any(|known| known.id == format) {
        let known: Vec<&str> = formats_for(picture).iter().map(|known| known.id).collect();
        return Err(ApiError::bad(format!(
            "format {:?} is not known for this case; {} are",
            format.chars().take(40).collect::<String>(),
            known.join(", ")
        )));
    }
    let (ending, kind, bytes) = match format {
        "png" => (".png", "image/png", label_png(annotation)?),
        "png-masks" => ("_masks.zip", "application/zip", png_masks(annotation)?),
        "nifti" => (
            ".nii.gz",
            "application/gzip",
            nifti(&annotation.labels(), work)?,
        ),
        "nifti-masks" => (
            "_masks.zip",
            "application/zip",
            nifti_masks(annotation, work)?,
        ),
        "coco" => (
            "_coco.json",
            "application/json",
            pretty(&coco(open, annotation)?)?,
        ),
        "prompts" => (
            "_prompts.json",
            "application/json",
            pretty(&prompts(open, annotation))?,
        ),
        _ => (
            "_annotation.json",
            "application/json",
            pretty(&everything(open, annotation))?,
        ),
    };
    let name = format!("{}{ending}", open.case.stem());
    Ok(File { name, kind, bytes })
}

/// Writes the label map of a case into a folder, under the case's own place and name, and the names of the labels
/// beside it.
pub(super) fn write_labels(
    folder: &Path,
    open: &OpenCase,
    annotation: &Annotation,
) -> Result<PathBuf> {
    let parts: Vec<String> = open.case.name.split('/').map(plain).collect();
    let above = parts[..parts.len() - 1].iter().collect::<PathBuf>();
    let folder = folder.join(above);
    create_folder(&folder)?;
    let stem = open.case.stem();
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
    crate::output::write_json(&folder.join(format!("{stem}.json")), &names)?;
    Ok(path)
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
    let folder = tempfile::Builder::new()
        .prefix(".export.")
        .tempdir_in(work)
        .with_context(|| format!("writing to {}", work.display()))?;
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
        "synthfm": crate::output::VERSION,
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
