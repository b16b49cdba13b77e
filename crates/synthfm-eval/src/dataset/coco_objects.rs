//! The objects of COCO files: polygons and run lengths become a label map that numbers the objects of an image.
//! Polygons are filled as `rleFrPoly` of `pycocotools` (`maskApi.c`) does, on a grid five times as fine. Differs: crowds
//! are left out, and where objects overlap the smaller one keeps the pixel.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;
use synthfm_image::{LabelMap, Mask, Size, mask_of_rle, mask_of_runs};

use super::Structure;
use crate::bounded::check_size;
use crate::error::problem;
use crate::{Error, Result};

/// More than any published file of objects holds.
const MAX_BYTES: u64 = 4 << 30;

/// A COCO file.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct CocoImages {
    path: PathBuf,
    pub(crate) structures: Vec<Structure>,
    pub(crate) images: Vec<CocoImage>,
    /// `info.modality`, which is no part of COCO.
    pub(crate) modality: Option<String>,
}

/// One of its images.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct CocoImage {
    pub(crate) file_name: String,
    size: Option<Size>,
    objects: Vec<Object>,
    crowds: usize,
}

#[derive(Debug, Clone, PartialEq)]
struct Object {
    label: u16,
    shape: Value,
}

#[derive(Deserialize)]
struct File {
    images: Vec<ImageEntry>,
    annotations: Annotations,
    #[serde(default)]
    categories: Vec<Category>,
    #[serde(default)]
    info: Value,
}

/// A list, or as in `LIVECell` a map from a number to an annotation.
#[derive(Deserialize)]
#[serde(untagged)]
enum Annotations {
    List(Vec<Annotation>),
    Map(BTreeMap<String, Annotation>),
}

#[derive(Deserialize)]
struct ImageEntry {
    id: u64,
    file_name: String,
    #[serde(default)]
    width: Option<usize>,
    #[serde(default)]
    height: Option<usize>,
}

#[derive(Deserialize)]
struct Annotation {
    image_id: u64,
    category_id: u64,
    segmentation: Value,
    #[serde(default)]
    iscrowd: u8,
}

#[derive(Deserialize)]
struct Category {
    id: u64,
    name: String,
}

impl CocoImages {
    /// Reads a file; categories become structures 1, 2, ... in the order of their numbers.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let io = |source| Error::Io {
            path: path.to_owned(),
            source,
        };
        check_size(path, MAX_BYTES)?;
        let file = std::io::BufReader::new(std::fs::File::open(path).map_err(io)?);
        let file: File = serde_json::from_reader(file).map_err(|error| {
            let text = format!("a COCO file (images, annotations, categories) expected: {error}");
            problem(path, text)
        })?;
        Self::of(path, file)
    }

    fn of(path: &Path, mut file: File) -> Result<Self> {
        file.categories.sort_by_key(|category| category.id);
        if file.categories.is_empty() || file.categories.len() > usize::from(u16::MAX) {
            let text = format!(
                "1 to 65535 categories expected, got {}",
                file.categories.len()
            );
            return Err(problem(path, text));
        }
        let labels: BTreeMap<u64, u16> = file.categories.iter().map(|c| c.id).zip(1..).collect();
        let structure = |category: &Category| Structure {
            name: category.name.clone(),
            label: labels[&category.id],
        };
        let structures = file.categories.iter().map(structure).collect();
        let mut index = BTreeMap::new();
        let mut images = Vec::new();
        for entry in file.images {
            index.insert(entry.id, images.len());
            images.push(CocoImage {
                file_name: entry.file_name,
                size: entry.height.zip(entry.width).map(|(h, w)| Size::new(h, w)),
                objects: Vec::new(),
                crowds: 0,
            });
        }
        let annotations: Vec<Annotation> = match file.annotations {
            Annotations::List(list) => list,
            Annotations::Map(map) => map.into_values().collect(),
        };
        for annotation in annotations {
            let (Some(&at), Some(&label)) = (
                index.get(&annotation.image_id),
                labels.get(&annotation.category_id),
            ) else {
                let (image, category) = (annotation.image_id, annotation.category_id);
                let text = format!(
                    "an annotation names image {image} and category {category}, which are not listed"
                );
                return Err(problem(path, text));
            };
            if annotation.iscrowd != 0 {
                images[at].crowds += 1;
                continue;
            }
            images[at].objects.push(Object {
                label,
                shape: annotation.segmentation,
            });
        }
        Ok(Self {
            path: path.to_owned(),
            structures,
            images,
            modality: file.info["modality"].as_str().map(str::to_owned),
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The label map of an image of `size`, the structure of each of its values, and what a reader should know.
    pub(super) fn labels(
        &self,
        index: usize,
        size: Size,
    ) -> Result<(LabelMap, BTreeMap<u16, u16>, Option<String>)> {
        let image = &self.images[index];
        let wrong = |text: String| problem(&self.path, format!("{}: {text}", image.file_name));
        if let Some(stated) = image.size.filter(|&stated| stated != size) {
            return Err(wrong(format!("{stated} expected, got {size}")));
        }
        if image.objects.len() > usize::from(u16::MAX) {
            return Err(wrong(format!(
                "{} objects, more than 65535",
                image.objects.len()
            )));
        }
        let mut masks = Vec::new();
        for (object, number) in image.objects.iter().zip(1u16..) {
            let mask = mask_of(&object.shape, size)
                .map_err(|text| wrong(format!("object {number}: {text}")))?;
            masks.push((mask.area(), number, mask));
        }
        // Large ones first, so that small ones stay visible.
        masks.sort_by_key(|&(area, number, _)| (std::cmp::Reverse(area), number));
        let mut labels = LabelMap::zeros(size);
        let mut hidden = 0;
        for (_, number, mask) in &masks {
            let pixels = labels.data_mut().iter_mut().zip(mask.data());
            for (label, _) in pixels.filter(|&(_, &inside)| inside) {
                hidden += usize::from(*label != 0);
                *label = *number;
            }
        }
        let owners = image.objects.iter().zip(1..);
        let instance_of = owners
            .map(|(object, number)| (number, object.label))
            .collect();
        Ok((labels, instance_of, note(image.crowds, hidden)))
    }
}

fn note(crowds: usize, hidden: usize) -> Option<String> {
    let mut parts = Vec::new();
    if crowds > 0 {
        parts.push(format!("{crowds} crowd annotations left out"));
    }
    if hidden > 0 {
        parts.push(format!(
            "objects overlap on {hidden} pixels, which the smaller one keeps"
        ));
    }
    (!parts.is_empty()).then(|| parts.join("; "))
}

/// Polygons `[[x, y, x, y, ...], ...]`, or `{"size": [h, w], "counts": runs or text}`.
fn mask_of(shape: &Value, size: Size) -> std::result::Result<Mask, String> {
    if let Some(polygons) = shape.as_array() {
        let mut mask = Mask::zeros(size);
        for polygon in polygons {
            let numbers: Option<Vec<f64>> = polygon
                .as_array()
                .and_then(|list| list.iter().map(Value::as_f64).collect());
            let corners = numbers.filter(|numbers| {
                let limit = 1e6;
                numbers.len() >= 6
                    && numbers.len() % 2 == 0
                    && numbers.iter().all(|v| v.abs() < limit)
            });
            let corners = corners.ok_or("a polygon of at least three corners expected")?;
            fill_polygon(&mut mask, &corners);
        }
        return Ok(mask);
    }
    let stated: Option<Vec<u64>> = shape["size"]
        .as_array()
        .and_then(|list| list.iter().map(Value::as_u64).collect());
    if stated != Some(vec![size.height as u64, size.width as u64]) {
        return Err(format!(
            "run lengths of {size} expected, got size {}",
            shape["size"]
        ));
    }
    let mask = match &shape["counts"] {
        Value::String(text) => mask_of_rle(text, size),
        Value::Array(runs) => {
            let runs: Option<Vec<u64>> = runs.iter().map(Value::as_u64).collect();
            mask_of_runs(&runs.ok_or("counts: whole numbers expected")?, size)
        }
        other => return Err(format!("counts: a text or a list expected, got {other}")),
    };
    mask.map_err(|error| error.to_string())
}

/// Adds the inside of a polygon. The steps and their rounding are those of `rleFrPoly`.
fn fill_polygon(mask: &mut Mask, corners: &[f64]) {
    const SCALE: f64 = 5.0;
    let Size { height, width } = mask.size();
    let fine = |v: f64| (SCALE * v + 0.5) as i64;
    let mut points: Vec<(i64, i64)> = corners
        .chunks_exact(2)
        .map(|corner| (fine(corner[0]), fine(corner[1])))
        .collect();
    points.push(points[0]);
    // Points along the whole border of the fine grid.
    let mut border: Vec<(i64, i64)> = Vec::new();
    for ends in points.windows(2) {
        edge(ends[0], ends[1], &mut border);
    }
    // Where the border crosses a column of pixels, the mask changes from there downwards.
    let mut changes: Vec<usize> = Vec::new();
    for pair in border.windows(2) {
        let [(u0, v0), (u, v)] = [pair[0], pair[1]];
        if u == u0 {
            continue;
        }
        let x = (if u < u0 { u } else { u - 1 } as f64 + 0.5) / SCALE - 0.5;
        if x.fract().abs() > 0.0 || x < 0.0 || x > width as f64 - 1.0 {
            continue;
        }
        let y = (v.min(v0) as f64 + 0.5) / SCALE - 0.5;
        let y = y.clamp(0.0, height as f64).ceil();
        changes.push(x as usize * height + y as usize);
    }
    changes.sort_unstable();
    for pair in changes.chunks(2) {
        let end = pair.get(1).copied().unwrap_or(width * height);
        for at in pair[0]..end.min(width * height) {
            mask.data_mut()[at % height * width + at / height] = true;
        }
    }
}

/// The points from one corner to the next, the longer axis in steps of one.
fn edge((xs, ys): (i64, i64), (xe, ye): (i64, i64), border: &mut Vec<(i64, i64)>) {
    let (dx, dy) = ((xe - xs).abs(), (ye - ys).abs());
    let flip = (dx >= dy && xs > xe) || (dx < dy && ys > ye);
    let ((xs, ys), (xe, ye)) = if flip {
        ((xe, ye), (xs, ys))
    } else {
        ((xs, ys), (xe, ye))
    };
    let longer = dx.max(dy);
    let slope = match longer {
        0 => 0.0,
        _ if dx >= dy => (ye - ys) as f64 / dx as f64,
        _ => (xe - xs) as f64 / dy as f64,
    };
    for d in 0..=longer {
        let t = if flip { longer - d } else { d };
        border.push(if dx >= dy {
            (t + xs, (ys as f64 + slope * t as f64 + 0.5) as i64)
        } else {
            ((xs as f64 + slope * t as f64 + 0.5) as i64, t + ys)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `tools/make_coco_fixtures.py` recorded what `pycocotools` makes of polygons and run lengths.
    #[test]
    fn shapes_equal_pycocotools() {
        let fixture: Value = serde_json::from_str(include_str!("fixtures/coco.json")).unwrap();
        let cases = fixture["cases"].as_array().unwrap();
        assert!(cases.len() >= 8);
        for case in cases {
            let side = |axis: usize| case["size"][axis].as_u64().unwrap() as usize;
            let mask = mask_of(&case["segmentation"], Size::new(side(0), side(1))).unwrap();
            let got: String = mask
                .data()
                .iter()
                .map(|&v| if v { '1' } else { '0' })
                .collect();
            assert_eq!(got, case["mask"].as_str().unwrap(), "{}", case["name"]);
        }
    }

    #[test]
    fn small_objects_stay_visible_and_damage_is_named() {
        let text = r#"{"images": [{"id": 7, "file_name": "a.png", "width": 6, "height": 4}],
            "categories": [{"id": 9, "name": "b"}, {"id": 3, "name": "a"}],
            "annotations": [
              {"image_id": 7, "category_id": 3, "segmentation": {"size": [4, 6], "counts": [9, 1, 14]}},
              {"image_id": 7, "category_id": 9, "segmentation": {"size": [4, 6], "counts": [0, 24]}},
              {"image_id": 7, "category_id": 9, "iscrowd": 1, "segmentation": {"size": [4, 6], "counts": [0, 24]}}]}"#;
        let coco =
            CocoImages::of(Path::new("x.json"), serde_json::from_str(text).unwrap()).unwrap();
        assert_eq!(
            (coco.structures[0].name.as_str(), coco.structures[0].label),
            ("a", 1)
        );
        let (labels, owners, note) = coco.labels(0, Size::new(4, 6)).unwrap();
        // Run 9 is column 2, row 1.
        assert_eq!((labels.at(1, 2), labels.at(0, 0)), (1, 2));
        assert_eq!(owners, BTreeMap::from([(1, 1), (2, 2)]));
        let note = note.unwrap();
        assert!(
            note.contains("1 crowd") && note.contains("overlap on 1 pixels"),
            "{note}"
        );
        let error = coco.labels(0, Size::new(6, 4)).unwrap_err().to_string();
        assert!(error.contains("a.png: 4x6"), "{error}");
        for shape in [
            "[[1, 2, 3]]",
            r#"{"size": [4, 6], "counts": [25]}"#,
            r#"{"size": [4, 6], "counts": "~~"}"#,
            r#"{"size": [1, 1], "counts": [1]}"#,
            r#"{"size": [4, 6]}"#,
        ] {
            assert!(
                mask_of(&serde_json::from_str(shape).unwrap(), Size::new(4, 6)).is_err(),
                "{shape}"
            );
        }
    }
}
