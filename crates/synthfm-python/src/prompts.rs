//! Points, labels, boxes and masks of Python's calls as prompts.

use pyo3::prelude::*;
use synthfm_image::{BoxXyxy, Point2};
use synthfm_sam::Prompts;

use crate::arrays::{floats, mask, numbers};
use crate::errors::usage;

/// Points of `N` or fewer numbers each, with whether they lie on the structure. Without labels all do.
pub(crate) fn labelled(
    points: Option<&Bound<'_, PyAny>>,
    labels: Option<&Bound<'_, PyAny>>,
    dimensions: &[usize],
) -> PyResult<Vec<(Vec<f64>, bool)>> {
    let Some(points) = points else {
        return match labels {
            Some(_) => Err(usage("labels are given, and no points")),
            None => Ok(Vec::new()),
        };
    };
    let (shape, coordinates) = numbers(points)?;
    let count = match *shape {
        [0] => 0,
        [count, n] if dimensions.contains(&n) => count,
        _ => {
            let wanted: Vec<String> = dimensions.iter().map(|n| format!("[N, {n}]")).collect();
            return Err(usage(format!(
                "points: an array {} expected, got {shape:?}",
                wanted.join(" or ")
            )));
        }
    };
    let labels = match labels {
        Some(labels) => numbers(labels)?.1,
        None => vec![1.0; count],
    };
    if labels.len() != count {
        return Err(usage(format!(
            "labels: one for each of {count} points expected, got {}",
            labels.len()
        )));
    }
    let size = coordinates.len().checked_div(count).unwrap_or(1).max(1);
    let mut all = Vec::new();
    for (point, label) in coordinates.chunks_exact(size).zip(labels) {
        let on = match label {
            1.0 => true,
            0.0 => false,
            _ => {
                return Err(usage(format!(
                    "labels: 1 on the structure or 0 beside it expected, got {label}"
                )));
            }
        };
        all.push((point.to_vec(), on));
    }
    Ok(all)
}

/// The prompts on one structure of a picture, in pixels.
pub(crate) fn of_picture(
    points: Option<&Bound<'_, PyAny>>,
    labels: Option<&Bound<'_, PyAny>>,
    region: Option<&Bound<'_, PyAny>>,
) -> PyResult<Prompts> {
    let clicks = labelled(points, labels, &[2])?;
    let clicks = clicks
        .iter()
        .map(|(point, on)| (Point2::new(point[0], point[1]), *on));
    Ok(Prompts {
        points: clicks.collect(),
        box_: region.map(corners).transpose()?,
        ..Prompts::default()
    })
}

fn corners(region: &Bound<'_, PyAny>) -> PyResult<BoxXyxy> {
    let (shape, numbers) = numbers(region)?;
    let [x0, y0, x1, y1] = numbers[..] else {
        return Err(usage(format!(
            "box: 4 numbers x0, y0, x1, y1 expected, got an array of {shape:?}"
        )));
    };
    Ok(BoxXyxy {
        min: Point2::new(x0, y0),
        max: Point2::new(x1, y1),
    })
}

/// Adds the answer so far, `[H, W]`.
pub(crate) fn with_mask(prompts: Prompts, earlier: Option<&Bound<'_, PyAny>>) -> PyResult<Prompts> {
    let earlier = earlier.map(|value| mask(value, "mask")).transpose()?;
    Ok(Prompts { earlier, ..prompts })
}

/// Adds low-resolution logits, `[1, m, m]` or `[m, m]`.
pub(crate) fn with_logits(
    prompts: Prompts,
    logits: Option<&Bound<'_, PyAny>>,
) -> PyResult<Prompts> {
    let mask_input = logits.map(floats).transpose()?.map(|(_, values)| values);
    Ok(Prompts {
        mask_input,
        ..prompts
    })
}
