//! The objects of COCO files: polygons and run lengths become a label map that numbers the objects of an image.
//! Entries that are damaged are left out with a note, never the file.
//! Polygons are filled as `rleFrPoly` of `pycocotools` (`maskApi.c`) does, on a grid five times as fine. Differs: crowds
//! are left out, and where objects overlap the smaller one keeps the pixel.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;
use synthfm_image::{LabelMap, Mask, Size, mask_of_rle, mask_of_runs};

use super::Structure;
use crate::bounded::check_size;
use crate::error::problem;
use crate::{Error, Result};

/// Steps of the fine grid per pixel.
const SCALE: f64 = 5.0;

/// More than any published file of objects holds.
const MAX_BYTES: u64 = 4 << 30;
/// What drawing the objects of an image may take, in nanoseconds of one core, about: a minute, for 5000 objects on four
/// million pixels.
const MOST_WORK: u64 = 50_000_000_000;
/// What a pixel of an object's mask takes, and a step along a polygon's border or a pixel inside.
const WORK_OF_PIXEL: u64 = 2;
const WORK_OF_STEP: u64 = 10;

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
    /// Entries of the file that were left out.
    remarks: Vec<String>,
}

#[derive(Debug, Clone, PartialEq)]
struct Object {
    label: u16,
    shape: Value,
}

#[derive(Deserialize)]
struct File {
    images: Vec<Entry<ImageEntry>>,
    annotations: Annotations,
    #[serde(default)]
    categories: Vec<Entry<Category>>,
    #[serde(default)]
    info: Value,
}

/// An entry of a list, or one that lacks what it needs.
#[derive(Deserialize)]
#[serde(untagged)]
enum Entry<T> {
    Good(T),
    Damaged(IgnoredAny),
}

/// A list, or as in `LIVECell` a map from a number to an annotation.
#[derive(Deserialize)]
#[serde(untagged)]
enum Annotations {
    List(Vec<Entry<Annotation>>),
    Map(BTreeMap<String, Entry<Annotation>>),
}

/// The `id` of an image or a category: a whole number, or as some programs write it, a text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(from = "RawId")]
enum Id {
    Number(i64),
    Text(String),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum RawId {
    Number(i64),
    Text(String),
}

impl From<RawId> for Id {
    /// A number that one list writes as a text and another does not is one and the same.
    fn from(id: RawId) -> Self {
        match id {
            RawId::Number(number) => Self::Number(number),
            RawId::Text(text) => match text.parse::<i64>() {
                Ok(number) if number.to_string() == text => Self::Number(number),
                _ => Self::Text(text),
            },
        }
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Text(text) => f.write_str(text),
        }
    }
}

#[derive(Deserialize)]
struct ImageEntry {
    id: Id,
    file_name: String,
    #[serde(default)]
    width: Option<usize>,
    #[serde(default)]
    height: Option<usize>,
}

#[derive(Deserialize)]
struct Annotation {
    image_id: Id,
    category_id: Id,
    #[serde(default)]
    segmentation: Value,
    #[serde(default)]
    iscrowd: u8,
}

#[derive(Deserialize)]
struct Category {
    id: Id,
    name: String,
}

/// Replaces what JSON does not know, though Python writes it: a byte order mark by spaces, and the numbers `NaN`,
/// `Infinity` and `-Infinity` by one that is far outside of every image, so that the entry is left out as damaged.
fn without_mark_and_nan(text: &mut [u8]) {
    if text.starts_with(b"\xef\xbb\xbf") {
        text[..3].fill(b' ');
    }
    let (mut at, mut in_text) = (0, false);
    while at < text.len() {
        match text[at] {
            b'\\' if in_text => at += 1,
            b'"' => in_text = !in_text,
            b'N' if !in_text && text[at..].starts_with(b"NaN") => {
                text[at..at + 3].copy_from_slice(b"1e9");
            }
            b'I' if !in_text && text[at..].starts_with(b"Infinity") => {
                text[at..at + 8].copy_from_slice(b"1e9     ");
            }
            _ => {}
        }
        at += 1;
    }
}

impl CocoImages {
    /// Reads a file; categories become structures 1, 2, ... in the order of their numbers.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let io = |source| Error::Io {
            path: path.to_owned(),
            source,
        };
        check_size(path, MAX_BYTES)?;
        let mut text = std::fs::read(path).map_err(io)?;
        without_mark_and_nan(&mut text);
        let file: File = serde_json::from_slice(&text).map_err(|error| {
            let text = format!("a COCO file (images, annotations, categories) expected: {error}");
            problem(path, text)
        })?;
        Self::of(path, file)
    }

    fn of(path: &Path, file: File) -> Result<Self> {
        let count = file.categories.len();
        let good = file.categories.into_iter().filter_map(|entry| match entry {
            Entry::Good(category) => Some((category.id.clone(), category)),
            Entry::Damaged(_) => None,
        });
        let categories: BTreeMap<Id, Category> = good.collect();
        if categories.is_empty() || categories.len() > usize::from(u16::MAX) {
            let text = format!(
                "1 to 65535 categories with id and name expected, got {}",
                categories.len()
            );
            return Err(problem(path, text));
        }
        let labels: BTreeMap<Id, u16> = categories.keys().cloned().zip(1..).collect();
        let structure = |category: &Category| Structure {
            name: category.name.clone(),
            label: labels[&category.id],
        };
        let structures = categories.values().map(structure).collect();
        let (mut images, index, mut left_out) = listed_images(file.images);
        if images.is_empty() {
            let notes = left_out.notes().join("; ");
            return Err(problem(path, format!("no image is listed ({notes})")));
        }
        for _ in categories.len()..count {
            left_out.add("categories without id or name, or listed twice".to_owned());
        }
        let annotations: Vec<Entry<Annotation>> = match file.annotations {
            Annotations::List(list) => list,
            Annotations::Map(map) => map.into_values().collect(),
        };
        for entry in annotations {
            let Entry::Good(annotation) = entry else {
                left_out.add("annotations without image_id or category_id".to_owned());
                continue;
            };
            let at = match index.get(&annotation.image_id) {
                Some(&Listed::Once(at)) => at,
                // Told with the images.
                Some(Listed::Ambiguous) => continue,
                None => {
                    let number = annotation.image_id;
                    left_out.add(format!(
                        "annotations of image {number}, which is not listed"
                    ));
                    continue;
                }
            };
            let image: &mut CocoImage = &mut images[at];
            let Some(&label) = labels.get(&annotation.category_id) else {
                let number = &annotation.category_id;
                image.remarks.push(format!(
                    "an annotation of category {number}, which is not listed, was left out"
                ));
                continue;
            };
            if annotation.iscrowd != 0 {
                image.crowds += 1;
                continue;
            }
            image.objects.push(Object {
                label,
                shape: annotation.segmentation,
            });
        }
        // What belongs to no image is told with the first one.
        if let Some(first) = images.first_mut() {
            first.remarks.extend(left_out.notes());
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
    ) -> Result<(LabelMap, BTreeMap<u16, u16>, Vec<String>)> {
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
        let work: u64 = image.objects.iter().map(|o| work_of(&o.shape, size)).sum();
        if work > MOST_WORK {
            return Err(wrong(
                "its objects would take minutes to draw: fewer, or polygons with fewer corners, expected".to_owned(),
            ));
        }
        let mut notes = LeftOut::default();
        // Large ones first, so that small ones stay visible. Masks are drawn twice rather than kept.
        let mut order = Vec::new();
        for (object, number) in image.objects.iter().zip(1u16..) {
            match mask_of(&object.shape, size) {
                Ok((mask, left_out)) => {
                    for text in left_out {
                        notes.add(text);
                    }
                    if mask.area() == 0 {
                        notes.add("objects: no pixel of the image lies inside".to_owned());
                        continue;
                    }
                    order.push((mask.area(), number, object));
                }
                Err(text) => notes.add(format!("objects: {text}")),
            }
        }
        order.sort_by_key(|&(area, number, _)| (std::cmp::Reverse(area), number));
        let mut labels = LabelMap::zeros(size);
        let mut hidden = 0;
        for (_, number, object) in &order {
            let Ok((mask, _)) = mask_of(&object.shape, size) else {
                continue;
            };
            let pixels = labels.data_mut().iter_mut().zip(mask.data());
            for (label, _) in pixels.filter(|&(_, &inside)| inside) {
                hidden += usize::from(*label != 0);
                *label = *number;
            }
        }
        let instance_of = order
            .iter()
            .map(|&(_, number, object)| (number, object.label))
            .collect();
        let mut all = image.remarks.clone();
        all.extend(notes.notes());
        all.extend(note(image.crowds, hidden));
        Ok((labels, instance_of, all))
    }
}

impl CocoImage {
    /// Rows and columns that the file states.
    pub(super) const fn stated_size(&self) -> Option<Size> {
        self.size
    }
}

/// What an image's number stands for.
enum Listed {
    /// The place of its image.
    Once(usize),
    /// Several images, so that nobody knows whose objects its annotations are.
    Ambiguous,
}

/// Images in the order of the file, what each number stands for, and how many entries were left out. Images that share
/// a number are left out, and so is the repetition of an image.
fn listed_images(
    entries: Vec<Entry<ImageEntry>>,
) -> (Vec<CocoImage>, BTreeMap<Id, Listed>, LeftOut) {
    let mut left_out = LeftOut::default();
    let mut good = Vec::new();
    // The file of each number, until a second one turns up.
    let mut files: BTreeMap<Id, Option<String>> = BTreeMap::new();
    for entry in entries {
        let Entry::Good(mut entry) = entry else {
            left_out.add("images without id or file_name".to_owned());
            continue;
        };
        // Annotation programs of Windows write its separators.
        entry.file_name = entry.file_name.replace('\\', "/");
        match files.get_mut(&entry.id) {
            None => {
                files.insert(entry.id.clone(), Some(entry.file_name.clone()));
            }
            Some(Some(file)) if *file == entry.file_name => {
                left_out.add("images that are listed twice".to_owned());
                continue;
            }
            Some(file) => *file = None,
        }
        good.push(entry);
    }
    let (mut images, mut index) = (Vec::new(), BTreeMap::new());
    for entry in good {
        if files[&entry.id].is_none() {
            left_out.add(format!("images with the same id {}", entry.id));
            index.insert(entry.id, Listed::Ambiguous);
            continue;
        }
        index.insert(entry.id, Listed::Once(images.len()));
        images.push(CocoImage {
            file_name: entry.file_name,
            size: entry.height.zip(entry.width).map(|(h, w)| Size::new(h, w)),
            objects: Vec::new(),
            crowds: 0,
            remarks: Vec::new(),
        });
    }
    (images, index, left_out)
}

/// Kinds of entries that were left out, with how many there were of each.
#[derive(Default)]
struct LeftOut(BTreeMap<String, usize>);

impl LeftOut {
    /// Kinds that are told one by one.
    const MOST: usize = 10;

    fn add(&mut self, kind: String) {
        *self.0.entry(kind).or_default() += 1;
    }

    fn notes(&self) -> Vec<String> {
        let told = self.0.iter().take(Self::MOST);
        let mut notes: Vec<String> = told
            .map(|(kind, count)| format!("left out: {count} {kind}"))
            .collect();
        let more: usize = self.0.values().skip(Self::MOST).sum();
        if more > 0 {
            notes.push(format!("left out: {more} more entries of other kinds"));
        }
        notes
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

/// Length of a border in pixels, along the longer axis of each edge, without the edge that closes it.
fn length_of(corners: &[f64]) -> f64 {
    let edges = corners.windows(4).step_by(2);
    edges
        .map(|ends| (ends[2] - ends[0]).abs().max((ends[3] - ends[1]).abs()))
        .sum()
}

/// Corners of a polygon; the reason why it is none.
fn corners(polygon: &Value) -> std::result::Result<Vec<f64>, String> {
    /// Steps along the border on the fine grid: more than the largest images need.
    const LONGEST: f64 = 3e7;
    let numbers: Option<Vec<f64>> = polygon
        .as_array()
        .and_then(|list| list.iter().map(Value::as_f64).collect());
    let numbers = numbers.ok_or("polygons with corners that are no numbers")?;
    if numbers.len() < 6 || numbers.len() % 2 != 0 || numbers.iter().any(|v| v.abs() >= 1e6) {
        return Err("polygons of fewer than three corners, or far outside the image".to_owned());
    }
    if SCALE * length_of(&numbers) > LONGEST {
        return Err("polygons whose border is too long to draw".to_owned());
    }
    Ok(numbers)
}

/// What drawing an object takes at most: over the image, and for each polygon over its border and inside.
fn work_of(shape: &Value, size: Size) -> u64 {
    let area = size.area() as u64;
    let polygons = shape.as_array().into_iter().flatten();
    let of_polygon = |polygon: &Value| {
        let corners = corners(polygon).unwrap_or_default();
        let border = SCALE * length_of(&corners);
        let ends = |first: usize| {
            let values = || corners.iter().skip(first).step_by(2).copied();
            let low = values().fold(f64::INFINITY, f64::min);
            let high = values().fold(f64::NEG_INFINITY, f64::max);
            (high - low).max(0.0) + 1.0
        };
        (border + (ends(0) * ends(1)).min(area as f64)) as u64
    };
    WORK_OF_STEP * polygons.map(of_polygon).sum::<u64>() + WORK_OF_PIXEL * area
}

/// Polygons `[[x, y, x, y, ...], ...]`, or `{"size": [h, w], "counts": runs or text}`. Polygons that cannot be drawn are
/// left out and told, as long as one is left.
fn mask_of(shape: &Value, size: Size) -> std::result::Result<(Mask, Vec<String>), String> {
    if let Some(polygons) = shape.as_array() {
        let mut mask = Mask::zeros(size);
        let mut left_out = Vec::new();
        for polygon in polygons {
            match corners(polygon) {
                Ok(corners) => fill_polygon(&mut mask, &corners),
                Err(text) => left_out.push(text),
            }
        }
        if left_out.len() == polygons.len() {
            let reason = left_out.pop();
            return Err(reason.unwrap_or_else(|| "no polygon".to_owned()));
        }
        return Ok((mask, left_out));
    }
    if shape.is_null() {
        return Err("no segmentation".to_owned());
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
    mask.map(|mask| (mask, Vec::new()))
        .map_err(|error| error.to_string())
}

/// Adds the inside of a polygon. The steps and their rounding are those of `rleFrPoly`.
fn fill_polygon(mask: &mut Mask, corners: &[f64]) {
    let Size { height, width } = mask.size();
    let fine = |v: f64| (SCALE * v + 0.5) as i64;
    let mut points: Vec<(i64, i64)> = corners
        .chunks_exact(2)
        .map(|corner| (fine(corner[0]), fine(corner[1])))
        .collect();
    points.push(points[0]);
    // Points along the whole border of the fine grid, one after the other.
    let mut before: Option<(i64, i64)> = None;
    // Where the border crosses a column of pixels, the mask changes from there downwards.
    let mut changes: Vec<usize> = Vec::new();
    let mut cross = |(u, v): (i64, i64)| {
        let Some((u0, v0)) = before.replace((u, v)) else {
            return;
        };
        if u == u0 {
            return;
        }
        let x = (if u < u0 { u } else { u - 1 } as f64 + 0.5) / SCALE - 0.5;
        if x.fract().abs() > 0.0 || x < 0.0 || x > width as f64 - 1.0 {
            return;
        }
        let y = (v.min(v0) as f64 + 0.5) / SCALE - 0.5;
        let y = y.clamp(0.0, height as f64).ceil();
        changes.push(x as usize * height + y as usize);
    };
    for ends in points.windows(2) {
        edge(ends[0], ends[1], &mut cross);
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
fn edge((xs, ys): (i64, i64), (xe, ye): (i64, i64), border: &mut impl FnMut((i64, i64))) {
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
        border(if dx >= dy {
            (t + xs, (ys as f64 + slope * t as f64 + 0.5) as i64)
        } else {
            ((xs as f64 + slope * t as f64 + 0.5) as i64, t + ys)
        });
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn objects_that_take_minutes_to_draw_are_refused() {
        let size = Size::new(1000, 2000);
        let square = json!([0, 0, 1999, 0, 1999, 999, 0, 999]);
        let one = work_of(&json!([square]), size);
        // The image, and ten times what lies inside and the border without its last edge.
        assert!((24_000_000..24_500_000).contains(&one), "{one}");
        let many = work_of(&json!(vec![square; 60_000]), size);
        assert!(many > MOST_WORK, "{many}");
        assert_eq!(work_of(&Value::Null, size), 4_000_000);
        assert_eq!(work_of(&json!([[1, "x"], 3]), size), 4_000_000 + 20);
    }

    /// `tools/make_coco_fixtures.py` recorded what `pycocotools` makes of polygons and run lengths.
    #[test]
    fn what_python_writes_beside_json_is_read() {
        let mut text = b"\xef\xbb\xbf{\"a NaN \\\" NaN\": [NaN, -Infinity, 2]}".to_vec();
        without_mark_and_nan(&mut text);
        let value: Value = serde_json::from_slice(&text).unwrap();
        assert_eq!(value["a NaN \" NaN"], serde_json::json!([1e9, -1e9, 2]));
    }

    #[test]
    fn shapes_equal_pycocotools() {
        let fixture: Value = serde_json::from_str(include_str!("fixtures/coco.json")).unwrap();
        let cases = fixture["cases"].as_array().unwrap();
        assert!(cases.len() >= 8);
        for case in cases {
            let side = |axis: usize| case["size"][axis].as_u64().unwrap() as usize;
            let size = Size::new(side(0), side(1));
            let (mask, left_out) = mask_of(&case["segmentation"], size).unwrap();
            assert!(left_out.is_empty());
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
        let (labels, owners, notes) = coco.labels(0, Size::new(4, 6)).unwrap();
        // Run 9 is column 2, row 1.
        assert_eq!((labels.at(1, 2), labels.at(0, 0)), (1, 2));
        assert_eq!(owners, BTreeMap::from([(1, 1), (2, 2)]));
        let note = &notes[0];
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

    #[test]
    fn numbers_may_be_texts_and_name_one_image() {
        let text = r#"{"images": [{"id": "a7", "file_name": "a.png"}, {"id": "12", "file_name": "b.png"},
              {"id": -3, "file_name": "c.png"}, {"id": 4, "file_name": "d.png"}, {"id": 4, "file_name": "e.png"},
              {"id": -3, "file_name": "c.png"}, {"id": 4, "file_name": "d.png"}],
            "categories": [{"id": "x", "name": "late"}, {"id": "2", "name": "first"}],
            "annotations": [
              {"image_id": "a7", "category_id": "x", "segmentation": [[0, 0, 2, 0, 2, 2, 0, 2]]},
              {"image_id": 12, "category_id": 2, "segmentation": [[0, 0, 2, 0, 2, 2, 0, 2]]},
              {"image_id": 12, "category_id": 2, "segmentation": [[0, 0, 2, 2, 4, 4]]},
              {"image_id": 12, "category_id": 2, "segmentation": [[20, 20, 22, 20, 22, 22, 20, 22]]},
              {"image_id": -3, "category_id": 2, "segmentation": [[0, 0, 2, 0, 2, 2, 0, 2]]},
              {"image_id": 4, "category_id": 2, "segmentation": [[0, 0, 2, 0, 2, 2, 0, 2]]}]}"#;
        let coco =
            CocoImages::of(Path::new("x.json"), serde_json::from_str(text).unwrap()).unwrap();
        let names: Vec<&str> = coco.images.iter().map(|i| i.file_name.as_str()).collect();
        assert_eq!(names, ["a.png", "b.png", "c.png"]);
        let structures: Vec<&str> = coco.structures.iter().map(|s| s.name.as_str()).collect();
        assert_eq!(structures, ["first", "late"]);
        let read = |index| coco.labels(index, Size::new(4, 6)).unwrap();
        assert_eq!(read(0).1, BTreeMap::from([(1, 2)]));
        let (_, owners, notes) = read(1);
        assert_eq!(owners, BTreeMap::from([(1, 1)]));
        assert_eq!(
            notes,
            ["left out: 2 objects: no pixel of the image lies inside"]
        );
        assert_eq!(read(2).1, BTreeMap::from([(1, 1)]));
        let all = read(0).2.join("\n");
        assert!(
            all.contains("3 images with the same id 4") && all.contains("1 images that are listed"),
            "{all}"
        );
    }

    #[test]
    fn damaged_entries_are_left_out_with_a_remark() {
        let text = r#"{"images": [{"id": 1, "file_name": "sub\\a.png", "width": 6, "height": 4}, {"id": 2}],
            "categories": [{"id": 1, "name": "thing"}],
            "annotations": [
              {"image_id": 1, "category_id": 1, "segmentation": [[1, 2, 3, 4], [0, 0, 4, 0, 4, 3, 0, 3]]},
              {"image_id": 1, "category_id": 1, "segmentation": [[1, 1, 2, 2]]},
              {"image_id": 1, "category_id": 1, "segmentation": []},
              {"image_id": 1, "category_id": 1},
              {"image_id": 1, "category_id": 1, "segmentation": {"size": [9, 9], "counts": [81]}},
              {"image_id": 1, "category_id": 7, "segmentation": [[0, 0, 4, 0, 4, 3]]},
              {"image_id": 77, "category_id": 1, "segmentation": [[0, 0, 4, 0, 4, 3]]},
              {"image_id": 77, "category_id": 1, "segmentation": [[0, 0, 4, 0, 4, 3]]},
              {"category_id": 1},
              {"image_id": 1, "category_id": 1,
               "segmentation": [[0, 0, 9e5, 9e5, 0, 1, 9e5, 9e5, 0, 2, 9e5, 9e5, 0, 3, 9e5, 9e5, 0, 4]]}]}"#;
        let coco =
            CocoImages::of(Path::new("x.json"), serde_json::from_str(text).unwrap()).unwrap();
        assert_eq!(coco.images.len(), 1);
        assert_eq!(coco.images[0].file_name, "sub/a.png");
        let (labels, owners, notes) = coco.labels(0, Size::new(4, 6)).unwrap();
        assert_eq!(owners, BTreeMap::from([(1, 1)]));
        assert_eq!(labels.data().iter().filter(|&&v| v == 1).count(), 12);
        let all = notes.join("\n");
        for expected in [
            "category 7, which is not listed",
            "2 annotations of image 77",
            "1 annotations without image_id",
            "1 images without id",
            "1 polygons of fewer than three corners",
            "1 objects: polygons of fewer",
            "1 objects: no polygon",
            "1 objects: no segmentation",
            "1 objects: run lengths of 4x6 (height x width) expected",
        ] {
            assert!(all.contains(expected), "{expected}: {all}");
        }
    }
}
