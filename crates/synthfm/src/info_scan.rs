//! `synthfm info` of an image, volume or DICOM folder: what a person asks first, and what is wrong with it.
//!
//! Attributes that may identify a patient are told by name alone. `--anonymous` also leaves out descriptions, dates
//! and UIDs.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Result;
use serde_json::{Value, json};
use synthfm_image::{
    DicomSeries, FileFormat, ImageFile, LabelFile, Picture, Plane, ScanInfo, Segmentation,
    SeriesSummary, UltrasoundRegion, Volume, VolumeGeometry, list_series, open_scan,
    read_segmentation, write_rgb_png,
};

use crate::cli::InfoArgs;
use crate::info::Facts;
use crate::input::{self, View};
use crate::output::{check_png, create_parent, shown};
use crate::paths::Paths;
use crate::slice_picture::draw_axes;

/// Facts of an image; several series of a folder are listed first.
pub(crate) fn run(path: &Path, args: &InfoArgs) -> Result<Facts> {
    let mut options = args.view.open.options();
    options.first_of_several = true;
    let scan = match open_scan(path, &options) {
        Ok(mut scan) => {
            let volumes = scan.info.volumes;
            if volumes > 1 && options.series.is_none() {
                scan.info.warnings.push(format!(
                    "the file holds {volumes} volumes: this is number 1 (choose with --series)"
                ));
            }
            scan
        }
        Err(error) => {
            // Segmentations with named structures are no images, but can be described.
            let segmentation = (!path.is_dir()).then(|| read_segmentation(path, &options.read));
            return match segmentation {
                Some(Ok((segmentation, warnings))) if !segmentation.segments.is_empty() => {
                    Ok(of_segmentation(&segmentation, &warnings))
                }
                _ if error.to_string().contains("an RT Structure Set") => Ok((
                    json!({ "kind": "RT Structure Set" }),
                    "RT Structure Set (DICOM): contours, to be opened in a planning system or 3D Slicer\n"
                        .to_owned(),
                )),
                _ => Err(error.into()),
            };
        }
    };
    let (mut value, mut text) = match &scan.content {
        ImageFile::Picture(picture) => of_picture(picture, &scan.info),
        ImageFile::Volume(volume) => of_volume(volume, &scan.info),
    };
    push_info(&mut value, &mut text, &scan.info, args.anonymous);
    if let Some(out) = &args.out {
        check_png("--out", out)?;
        let mut paths = Paths::default();
        paths.read("the input", path);
        paths.write("--out", out)?;
        paths.remove_leftovers();
        create_parent(out)?;
        let input = input::of_scan(path, &scan, &View::from(&args.view))?;
        write_rgb_png(out, &draw_axes(&input, path))?;
        let _ = writeln!(text, "picture     {}", out.display());
        if let (Some([low, high]), Some(source)) = (input.window, &input.window_source) {
            let _ = writeln!(text, "shown       {low} to {high}: {source}");
        }
        value["out"] = json!(shown(out));
        value["window"] = json!(input.window);
        value["window_source"] = json!(input.window_source);
    }
    if scan.info.format == FileFormat::Dicom {
        let all = list_series(path, &options)?;
        push_series(&mut value, &mut text, &all, args.anonymous);
    }
    Ok((value, text))
}

fn of_picture(picture: &Picture, info: &ScanInfo) -> Facts {
    let size = picture.size();
    let (channels, range) = match picture {
        Picture::Grey(image) => (1, range(image.data().iter().copied())),
        Picture::Rgb(image) => (3, range(image.data().iter().map(|&v| f32::from(v)))),
    };
    let mut text = format!(
        "picture     {size}, {}\nvalues      {}\n",
        if channels == 1 { "grey" } else { "colour" },
        in_words(range)
    );
    if let Some([rows, columns]) = info.pixel_spacing_mm {
        let _ = writeln!(
            text,
            "spacing     {rows:.4} x {columns:.4} mm (rows, columns)"
        );
    }
    let value = json!({ "kind": "picture", "size": [size.height, size.width], "channels": channels,
                        "range": range, "spacing_mm": info.pixel_spacing_mm });
    (value, text)
}

fn of_volume(volume: &Volume, info: &ScanInfo) -> Facts {
    let range = range(volume.data().iter().copied());
    let (mut value, mut text) = of_geometry(volume.geometry());
    let _ = writeln!(text, "values      {}", in_words(range));
    value["range"] = json!(range);
    let gaps = info.dicom.as_ref().map(|series| &series.gaps_mm);
    if let Some(gaps) = gaps.filter(|gaps| !gaps.is_empty()) {
        let list: Vec<String> = gaps
            .iter()
            .take(10)
            .map(|(k, mm)| format!("{mm:.2} mm before slice {k}"))
            .collect();
        let _ = writeln!(text, "gaps        {}: {}", gaps.len(), list.join(", "));
        value["gaps"] = json!(
            gaps.iter()
                .map(|(k, mm)| json!({ "slice": k, "mm": mm }))
                .collect::<Vec<_>>()
        );
    }
    (value, text)
}

fn of_geometry(geometry: &VolumeGeometry) -> Facts {
    let (shape, spacing, codes) = (
        geometry.shape(),
        geometry.spacing_mm(),
        geometry.axis_codes(),
    );
    let slices =
        [Plane::Axial, Plane::Coronal, Plane::Sagittal].map(|plane| geometry.slice_count(plane));
    let text = format!(
        "volume      {} x {} x {} voxels\nspacing     {:.4} x {:.4} x {:.4} mm\norientation {codes}\n\
         slices      {} axial, {} coronal, {} sagittal\n",
        shape[0],
        shape[1],
        shape[2],
        spacing[0],
        spacing[1],
        spacing[2],
        slices[0],
        slices[1],
        slices[2]
    );
    let value = json!({
        "kind": "volume",
        "shape": shape,
        "spacing_mm": spacing,
        "orientation": codes,
        "slices": { "axial": slices[0], "coronal": slices[1], "sagittal": slices[2] },
        "patient_from_voxel_lps": geometry.patient_from_voxel(),
    });
    (value, text)
}

/// Adds the facts that every image may have: format, modality, windows, regions, series, problems.
fn push_info(value: &mut Value, text: &mut String, info: &ScanInfo, anonymous: bool) {
    let modality = info.modality.as_ref();
    let stored = info
        .dicom
        .as_ref()
        .map(|series| series.transfer_syntax.as_str());
    let words: Vec<&str> = [
        Some(info.format.name()),
        modality.map(String::as_str),
        stored,
    ]
    .into_iter()
    .flatten()
    .collect();
    let _ = writeln!(text, "format      {}", words.join(", "));
    value["format"] = json!(info.format.name());
    value["modality"] = json!(modality);
    push_windows(value, text, info);
    push_regions(value, text, info);
    if let Some(series) = &info.dicom {
        push_dicom(value, text, series, anonymous);
    }
    for warning in &info.warnings {
        let _ = writeln!(text, "problem     {warning}");
    }
    value["problems"] = json!(info.warnings);
}

/// The file's own windows, and whether it is shown inverted.
fn push_windows(value: &mut Value, text: &mut String, info: &ScanInfo) {
    for window in &info.windows {
        let name = window.name.as_ref().map(|name| format!(" ({name})"));
        let _ = writeln!(
            text,
            "window      {} to {}{}",
            window.low,
            window.high,
            name.unwrap_or_default()
        );
    }
    value["windows"] = info
        .windows
        .iter()
        .map(|w| json!({ "low": w.low, "high": w.high, "name": w.name }))
        .collect();
    if info.inverted {
        text.push_str("shown       small values are bright (MONOCHROME1)\n");
    }
    value["inverted"] = json!(info.inverted);
}

/// The calibrated parts of an ultrasound image.
fn push_regions(value: &mut Value, text: &mut String, info: &ScanInfo) {
    for region in &info.regions {
        let (min, max) = (region.bounds.min, region.bounds.max);
        let spacing = region.spacing_mm.map_or_else(
            || "not calibrated in mm".to_owned(),
            |[rows, columns]| format!("{rows:.4} x {columns:.4} mm"),
        );
        let _ = writeln!(
            text,
            "region      x {} to {}, y {} to {}: {}, {spacing}",
            min.x, max.x, min.y, max.y, region.kind
        );
    }
    if !info.regions.is_empty() {
        let region = |r: &UltrasoundRegion| {
            let (min, max) = (r.bounds.min, r.bounds.max);
            json!({ "box": [min.x, min.y, max.x, max.y], "kind": r.kind, "spacing_mm": r.spacing_mm })
        };
        value["regions"] = info.regions.iter().map(region).collect();
    }
}

fn push_dicom(value: &mut Value, text: &mut String, series: &DicomSeries, anonymous: bool) {
    if !anonymous {
        for (name, content) in [
            ("device", &series.device),
            ("study", &series.study_description),
            ("date", &series.study_date),
            ("series", &series.description),
        ] {
            if let Some(content) = content {
                let _ = writeln!(text, "{name:<11} {content}");
            }
        }
        value["study_uid"] = json!(series.study_uid);
        value["series_uid"] = json!(series.uid);
        value["series_description"] = json!(series.description);
        value["study_description"] = json!(series.study_description);
        value["study_date"] = json!(series.study_date);
        value["device"] = json!(series.device);
    }
    let names = if series.identifying.is_empty() {
        "none".to_owned()
    } else {
        series.identifying.join(", ")
    };
    let _ = writeln!(text, "identifying {names}");
    value["identifying_attributes"] = json!(series.identifying);
    value["transfer_syntax"] = json!(series.transfer_syntax);
}

fn push_series(value: &mut Value, text: &mut String, all: &[SeriesSummary], anonymous: bool) {
    let rows = all.iter().map(|series| {
        let mut row = json!({
            "index": series.index,
            "number": series.number,
            "modality": series.modality,
            "slices": series.slices,
            "rows": series.rows,
            "columns": series.columns,
        });
        if !anonymous {
            row["uid"] = json!(series.uid);
            row["description"] = json!(series.description);
        }
        row
    });
    value["series"] = rows.collect();
    if all.len() < 2 {
        return;
    }
    text.push_str("\nimages here, by the number for --series:\n");
    for series in all {
        let description = series.description.as_deref().filter(|_| !anonymous);
        let _ = writeln!(
            text,
            "{:>3}  {:<3} {:>5} slices of {} x {}  {}",
            series.index,
            series.modality.as_deref().unwrap_or("?"),
            series.slices,
            series.rows,
            series.columns,
            description.unwrap_or_default()
        );
    }
}

fn of_segmentation(segmentation: &Segmentation, warnings: &[String]) -> Facts {
    let (mut value, mut text) = match &segmentation.labels {
        LabelFile::Volume(volume) => of_geometry(volume.geometry()),
        LabelFile::Map(map) => (
            json!({ "size": [map.size().height, map.size().width] }),
            format!("picture     {}\n", map.size()),
        ),
    };
    let count = |label: u16| match &segmentation.labels {
        LabelFile::Volume(volume) => volume.data().iter().filter(|&&v| v == label).count(),
        LabelFile::Map(map) => map.data().iter().filter(|&&v| v == label).count(),
    };
    value["kind"] = json!("segmentation");
    value["problems"] = json!(warnings);
    let mut rows = Vec::new();
    for segment in segmentation.all_segments() {
        let voxels = count(segment.label);
        let _ = writeln!(
            text,
            "segment     {}: {}, {voxels} voxels",
            segment.label, segment.name
        );
        rows.push(json!({ "label": segment.label, "name": segment.name, "colour": segment.colour, "voxels": voxels }));
    }
    value["segments"] = json!(rows);
    for warning in warnings {
        let _ = writeln!(text, "problem     {warning}");
    }
    (value, text)
}

/// Smallest and largest finite value; `None` if there is none.
fn range(values: impl Iterator<Item = f32>) -> Option<[f32; 2]> {
    let finite = values.filter(|v| v.is_finite());
    finite.fold(None, |found: Option<[f32; 2]>, v| {
        Some(found.map_or([v, v], |[low, high]| [low.min(v), high.max(v)]))
    })
}

fn in_words(range: Option<[f32; 2]>) -> String {
    match range {
        Some([low, high]) => format!("{low} to {high}"),
        None => "nothing finite".to_owned(),
    }
}
