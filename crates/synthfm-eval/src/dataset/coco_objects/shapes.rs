//! From polygons and run lengths to masks.
//! Polygons are filled as `rleFrPoly` of `pycocotools` (`maskApi.c`) does, on a grid five times as fine as the pixels.

use serde_json::Value;
use synthfm_image::{Mask, Size, mask_of_rle, mask_of_runs};

/// Steps of the fine grid per pixel.
const SCALE: f64 = 5.0;
/// What a pixel of an object's mask takes, and a step along a polygon's border or a pixel inside.
const WORK_OF_PIXEL: u64 = 2;
const WORK_OF_STEP: u64 = 10;

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
pub(super) fn work_of(shape: &Value, size: Size) -> u64 {
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
pub(super) fn mask_of(
    shape: &Value,
    size: Size,
) -> std::result::Result<(Mask, Vec<String>), String> {
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
