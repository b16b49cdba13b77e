//! A prompt in, a mask out: the model is asked, the answer becomes part of the annotation and is on the disk before
//! it is sent.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{Path, State};
use axum::http::HeaderMap;
use serde::Deserialize;
use serde_json::{Value, json};
use synthfm_image::{BoxXyxy, Mask, Point2, Size, check_run_lengths, run_values};
use synthfm_sam::{MaskOutput, Prompts};

use super::bad;
use crate::annotation::{Annotation, Place, PlaneName, SlicePrompts, Step};
use crate::app::App;
use crate::desk::OpenCase;
use crate::engine::{ImageKey, Purpose, superseded};
use crate::error::ApiResult;
use crate::respond::{self, Json};
use crate::study::window_or;

/// Clicks for one structure on one slice.
const MAX_POINTS: usize = 128;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PredictRequest {
    structure: u16,
    plane: PlaneName,
    index: usize,
    #[serde(default)]
    points: Vec<[f64; 2]>,
    #[serde(default)]
    labels: Vec<u8>,
    #[serde(default, rename = "box")]
    box_: Option<[f64; 4]>,
    #[serde(default)]
    window: Option<[f32; 2]>,
    /// Whether the mask becomes part of the annotation.
    #[serde(default = "yes")]
    commit: bool,
    /// For the list of steps: click, box, scribble.
    #[serde(default)]
    what: Option<What>,
}

const fn yes() -> bool {
    true
}

/// An action of a person on a slice.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum What {
    Click,
    NegativeClick,
    Box,
    Scribble,
    RemoveClick,
}

impl What {
    const fn text(self) -> &'static str {
        match self {
            Self::Click => "click",
            Self::NegativeClick => "negative click",
            Self::Box => "box",
            Self::Scribble => "scribble",
            Self::RemoveClick => "remove click",
        }
    }
}

impl PredictRequest {
    fn place(&self) -> Place {
        Place {
            structure: self.structure,
            plane: self.plane,
            index: self.index,
        }
    }

    /// Refuses what the model would not take.
    fn check(&self, size: Size) -> ApiResult<()> {
        let Self {
            points,
            labels,
            box_,
            ..
        } = self;
        if points.len() > MAX_POINTS {
            return Err(bad(format!(
                "at most {MAX_POINTS} points are taken, got {}",
                points.len()
            )));
        }
        if points.len() != labels.len() || labels.iter().any(|label| *label > 1) {
            return Err(bad(
                "labels: 1 (on the structure) or 0 (beside it) expected for each point",
            ));
        }
        if points.is_empty() && box_.is_none() {
            return Err(bad("a point or a box is needed"));
        }
        let outside = points
            .iter()
            .find(|[x, y]| !size.contains(Point2::new(*x, *y)));
        if let Some([x, y]) = outside {
            return Err(bad(format!(
                "point ({x}, {y}) lies outside the slice of {size}"
            )));
        }
        Ok(())
    }

    /// The prompts, and the mask that they correct.
    fn prompts(&self, earlier: Option<Mask>) -> Prompts {
        let points = self.points.iter().zip(&self.labels);
        Prompts {
            points: points
                .map(|(&[x, y], &label)| (Point2::new(x, y), label == 1))
                .collect(),
            box_: self.box_.map(|[x0, y0, x1, y1]| BoxXyxy {
                min: Point2::new(x0, y0),
                max: Point2::new(x1, y1),
            }),
            mask_input: None,
            earlier,
        }
    }
}

pub(super) async fn predict(
    State(app): State<Arc<App>>,
    Path(case): Path<String>,
    headers: HeaderMap,
    Json(asking): Json<PredictRequest>,
) -> ApiResult {
    let started = Instant::now();
    let open = app.case_to_change(&case, &headers).await?;
    open.study.check(asking.plane, asking.index).map_err(bad)?;
    asking.check(open.study.grid().slice_size(asking.plane.into()))?;
    let earlier = {
        let store = open.store();
        let annotation = store.annotation();
        annotation.structure(asking.structure).map_err(bad)?;
        corrects(annotation.prompts(asking.place()), &asking)
            .then(|| annotation.slice(asking.place()))
            .transpose()?
            .filter(|mask| mask.area() > 0)
    };
    let window = window_or(asking.window, open.study.window()).map_err(bad)?;
    let place = asking.place();
    let purpose = if asking.commit {
        Purpose::Keep
    } else {
        Purpose::Look
    };
    let key = (case.clone(), place, purpose);
    let image_key = ImageKey::new(&open.image_id(), place.plane, place.index, window);
    let number = app.engine.announce(key.clone());
    let image = app.engine.embedding(&image_key, &open.study).await?;
    let encoded = started.elapsed();
    if !app.engine.is_newest(&key, number) {
        return Err(superseded());
    }
    let ask = app.engine.ask(
        key.clone(),
        number,
        image,
        asking.prompts(earlier),
        MaskOutput::Single,
    );
    let answer = ask.await?;
    let timing = json!({
        "encode_ms": encoded.as_secs_f64() * 1e3,
        "decode_ms": answer.decode_ms,
    });
    let iou = answer.iou;
    let (shared, newest) = (Arc::clone(&app), move |app: &App| {
        app.engine.is_newest(&key, number)
    });
    let mut body = app
        .change(&open, move |open, store| {
            // Two answers may meet at this lock in the wrong order.
            if !newest(&shared) {
                return Err(superseded());
            }
            let annotation = store.annotation();
            let prompts = merged(annotation, &asking, window);
            let mask = with_paint(answer.mask, &prompts)?;
            let runs = mask.to_run_lengths();
            if asking.commit {
                let change = annotation.mask_change(place, runs.clone(), Some(prompts.clone()))?;
                let what = asking.what.map_or("prompt", What::text);
                store.apply(Step::new(what, vec![change]))?;
            }
            marked(open, store.annotation(), place, &runs, Some(&prompts))
        })
        .await?;
    body["iou"] = json!(iou);
    body["timing"] = timing;
    Ok(respond::json(&body))
}

/// Whether clicks were added to those that led to the mask that is there, and nothing else changed: they correct it then. A
/// mask without prompts, painted or carried over, is corrected by the first clicks.
fn corrects(before: Option<&SlicePrompts>, asking: &PredictRequest) -> bool {
    let nothing = SlicePrompts::default();
    let before = before.unwrap_or(&nothing);
    asking.points.len() > before.points.len()
        && asking.points.starts_with(&before.points)
        && asking.labels.starts_with(&before.labels)
        && asking.box_ == before.box_
}

/// The prompts that are kept: the new ones, with what was painted by hand before.
fn merged(annotation: &Annotation, asking: &PredictRequest, window: [f32; 2]) -> SlicePrompts {
    let before = annotation
        .prompts(asking.place())
        .cloned()
        .unwrap_or_default();
    SlicePrompts {
        points: asking.points.clone(),
        labels: asking.labels.clone(),
        box_: asking.box_,
        window: Some(window),
        from: None,
        filled: false,
        ..before
    }
}

/// The model's mask with what was painted added and what was erased taken away.
pub(super) fn with_paint(mut mask: Mask, prompts: &SlicePrompts) -> ApiResult<Mask> {
    let size = mask.size();
    for (runs, value) in [(&prompts.added, true), (&prompts.removed, false)] {
        if !runs.is_empty() {
            check_run_lengths(runs, size.area()).map_err(bad)?;
            let painted = run_values(runs).zip(mask.data_mut());
            painted
                .filter(|(paint, _)| *paint)
                .for_each(|(_, pixel)| *pixel = value);
        }
    }
    Ok(mask)
}

/// The mask, the prompts and the next steps after a place has changed, as JSON for a page.
pub(super) fn marked(
    open: &OpenCase,
    annotation: &Annotation,
    place: Place,
    runs: &[u32],
    prompts: Option<&SlicePrompts>,
) -> ApiResult<Value> {
    let [undo, redo] = annotation.next_steps();
    let structure = annotation.structure(place.structure)?;
    let reference = open.reference();
    let label = reference
        .as_ref()
        .and_then(|reference| reference.label_for(&structure.name, structure.id));
    let dice = match reference.zip(label) {
        Some((reference, label)) => reference.slice_dice(annotation, place, label)?,
        None => None,
    };
    Ok(json!({
        "structure": place.structure,
        "plane": place.plane,
        "index": place.index,
        "runs": runs,
        "prompts": prompts,
        "revision": annotation.revision(),
        "undo": undo,
        "redo": redo,
        "state": annotation.progress(),
        "slice_dice": dice,
        "voxels": annotation.voxels(place.structure),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asking(text: &str) -> ApiResult<PredictRequest> {
        let start = r#"{"structure": 1, "plane": "axial", "index": 0"#;
        let asking: PredictRequest =
            serde_json::from_str(&format!("{start}{text}}}")).map_err(bad)?;
        asking.check(Size::new(10, 20))?;
        Ok(asking)
    }

    #[test]
    fn bad_prompts_are_refused_with_a_reason() {
        let good = asking(r#", "points": [[19.4, 9]], "labels": [1]"#).unwrap();
        assert!(good.commit && good.prompts(None).points[0].1);
        for (text, reason) in [
            ("", "a point or a box"),
            (r#", "points": [[1, 2]]"#, "labels"),
            (r#", "points": [[1, 2]], "labels": [2]"#, "labels"),
            (
                r#", "points": [[20, 2]], "labels": [1]"#,
                "(20, 2) lies outside",
            ),
            (r#", "points": [[1e999, 2]], "labels": [1]"#, ""),
            (r#", "pionts": []"#, "unknown field"),
        ] {
            let error = asking(text).unwrap_err();
            assert!(error.message.contains(reason), "{text}: {}", error.message);
        }
        let many = vec!["[1, 2]"; MAX_POINTS + 1].join(",");
        assert!(
            asking(&format!(r#", "points": [{many}]"#))
                .unwrap_err()
                .message
                .contains("128")
        );
    }

    #[test]
    fn added_clicks_correct_and_others_ask_anew() {
        let before = SlicePrompts {
            points: vec![[1.0, 2.0]],
            labels: vec![1],
            ..SlicePrompts::default()
        };
        let corrects = |text: &str| corrects(Some(&before), &asking(text).unwrap());
        assert!(corrects(
            r#", "points": [[1, 2], [3, 4]], "labels": [1, 0]"#
        ));
        for anew in [
            r#", "points": [[1, 2]], "labels": [1]"#,
            r#", "points": [[1, 3], [3, 4]], "labels": [1, 0]"#,
            r#", "points": [[1, 2], [3, 4]], "labels": [0, 0]"#,
            r#", "points": [[1, 2], [3, 4]], "labels": [1, 0], "box": [0, 0, 5, 5]"#,
        ] {
            assert!(!corrects(anew), "{anew}");
        }
        let first = asking(r#", "points": [[1, 2]], "labels": [1]"#).unwrap();
        assert!(super::corrects(None, &first));
    }

    #[test]
    fn paint_outlives_the_models_answer() {
        let mask = Mask::new(Size::new(1, 4), vec![true, true, false, false]).unwrap();
        let prompts = SlicePrompts {
            added: vec![3, 1],
            removed: vec![0, 1, 3],
            ..SlicePrompts::default()
        };
        let painted = with_paint(mask.clone(), &prompts).unwrap();
        assert_eq!(painted.data(), [false, true, false, true]);
        assert_eq!(
            with_paint(mask.clone(), &SlicePrompts::default()).unwrap(),
            mask
        );
    }
}
