//! COCO instances: one annotation per structure and picture, with compressed run lengths.
//!
//! The pictures of a volume are its axial slices that hold a structure, as they are seen, or the slice looked at.

use std::path::Path;

use serde_json::{Value, json};

use crate::{
    LabelFile, LabelMap, Plane, Result, Segment, Segmentation, WriteOptions, compressed_rle,
};

pub(super) fn encode(
    path: &Path,
    segmentation: &Segmentation,
    segments: &[Segment],
    options: &WriteOptions,
) -> Result<Vec<u8>> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let stem = name.split('.').next().unwrap_or_default();
    let (mut images, mut annotations) = (Vec::new(), Vec::new());
    for (slice, map) in pictures(segmentation, options)? {
        let image_id = images.len() + 1;
        let (file_name, plane, index) = match slice {
            Some((plane, index)) => (
                format!("{stem}_{plane}_{index:04}"),
                Some(plane.to_string()),
                Some(index),
            ),
            None => (stem.to_owned(), None, None),
        };
        images.push(json!({
            "id": image_id,
            "file_name": file_name,
            "height": map.size().height,
            "width": map.size().width,
            "axis": plane,
            "slice": index,
        }));
        for segment in segments {
            annotations.extend(annotation(&map, segment, image_id, annotations.len() + 1));
        }
    }
    let categories: Vec<Value> = segments
        .iter()
        .map(|s| json!({ "id": s.label, "name": s.name, "color": s.colour }))
        .collect();
    let value = json!({
        "info": { "description": format!("synthfm {}", env!("CARGO_PKG_VERSION")) },
        "images": images,
        "categories": categories,
        "annotations": annotations,
    });
    let mut bytes = serde_json::to_vec_pretty(&value).expect("values without maps of other keys");
    bytes.push(b'\n');
    Ok(bytes)
}

type Picture = (Option<(Plane, usize)>, LabelMap);

fn pictures(segmentation: &Segmentation, options: &WriteOptions) -> Result<Vec<Picture>> {
    let volume = match (&segmentation.labels, options.slice) {
        (LabelFile::Map(map), _) => return Ok(vec![(None, map.clone())]),
        (LabelFile::Volume(volume), Some((plane, index))) => {
            return Ok(vec![(Some((plane, index)), volume.slice(plane, index)?)]);
        }
        (LabelFile::Volume(volume), None) => volume,
    };
    let plane = Plane::Axial;
    let mut all = Vec::new();
    for index in 0..volume.geometry().slice_count(plane) {
        let map = volume.slice(plane, index)?;
        if map.data().iter().any(|&v| v != 0) {
            all.push((Some((plane, index)), map));
        }
    }
    Ok(all)
}

fn annotation(map: &LabelMap, segment: &Segment, image_id: usize, id: usize) -> Option<Value> {
    let mask = map.mask_of(segment.label);
    let bounds = mask.bounding_box()?;
    let (min, max) = (bounds.min, bounds.max);
    Some(json!({
        "id": id,
        "image_id": image_id,
        "category_id": segment.label,
        "segmentation": {
            "size": [map.size().height, map.size().width],
            "counts": compressed_rle(&mask),
        },
        "area": mask.area(),
        "bbox": [min.x, min.y, max.x - min.x + 1.0, max.y - min.y + 1.0],
        "iscrowd": 0,
    }))
}
