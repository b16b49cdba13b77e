//! Carrying a mask to the slices that follow.
//!
//! A [`Follower`] moves the mask with what is seen from slice to slice. It stops where the structure seems to end (nothing of the
//! mask is left, or its inside looks different), where a slice has a mask already, or when asked to.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use synthfm_image::{Mask, RgbImage};
use synthfm_sam::{CarryEnd, CarryPolicy, Follower};

use super::bad;
use super::predict::marked;
use crate::annotation::{Direction, Place, PlaneName, SlicePrompts, Step};
use crate::app::App;
use crate::desk::OpenCase;
use crate::error::ApiResult;
use crate::respond::{self, Json};
use crate::study::window_or;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PropagateRequest {
    structure: u16,
    plane: PlaneName,
    index: usize,
    direction: Direction,
    /// At most so many slices; to the end of the volume without it.
    #[serde(default)]
    count: Option<usize>,
    #[serde(default)]
    window: Option<[f32; 2]>,
}

/// One run over the slices.
struct Run {
    app: Arc<App>,
    open: Arc<OpenCase>,
    asking: PropagateRequest,
    window: [f32; 2],
    group: u64,
    stop: Arc<AtomicBool>,
}

/// Why a run has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
enum End {
    /// Asked to.
    Stopped,
    /// No slice is left.
    All,
    /// The slice has a mask already.
    Marked(usize),
    /// The mask of the slice is too small to go on.
    Small(usize),
    /// Nothing is found on the slice.
    Ends(usize),
    /// The area under the mask looks different from the structure.
    Looks(usize),
    /// Something went wrong.
    Failed(String),
}

impl End {
    /// A word for programs, the slice that it is about, and words for people.
    fn told(&self) -> (&'static str, Option<usize>, String) {
        match self {
            Self::Stopped => ("stopped", None, "stopped".to_owned()),
            Self::All => ("all", None, "all slices are done".to_owned()),
            Self::Marked(n) => ("marked", Some(*n), format!("slice {n} has a mask already")),
            Self::Small(n) => (
                "small",
                Some(*n),
                format!("the structure is too small on slice {n} to go on"),
            ),
            Self::Ends(n) => (
                "ends",
                Some(*n),
                format!("slice {n}: the structure ends here"),
            ),
            Self::Looks(n) => (
                "looks",
                Some(*n),
                format!("slice {n} looks different inside the mask: the structure seems to end"),
            ),
            Self::Failed(message) => ("failed", None, message.clone()),
        }
    }
}

/// Begins; events tell how it goes.
pub(super) async fn start(
    State(app): State<Arc<App>>,
    Path(case): Path<String>,
    headers: HeaderMap,
    Json(asking): Json<PropagateRequest>,
) -> ApiResult {
    let open = app.case_to_change(&case, &headers).await?;
    open.study.check(asking.plane, asking.index).map_err(bad)?;
    let window = window_or(asking.window, open.study.window()).map_err(bad)?;
    let first = {
        let store = open.store();
        store
            .annotation()
            .structure(asking.structure)
            .map_err(bad)?;
        store.annotation().slice(asking.place(asking.index))?
    };
    if first.area() == 0 {
        return Err(bad(
            "there is no mask on this slice to carry on: click the structure first",
        ));
    }
    let planned = asking.slices(open.study.grid().slice_count(asking.plane.into()));
    if planned.is_empty() {
        return Err(bad("there is no slice in this direction"));
    }
    let run = Run {
        group: open.next_group(),
        stop: open.begin_propagation()?,
        app,
        open,
        asking,
        window,
    };
    let count = planned.len();
    tokio::spawn(async move {
        let (done, end) = run.over(&planned, first).await;
        run.open.end_propagation();
        let (why, slice, reason) = end.told();
        let told = json!({ "done": done, "why": why, "slice": slice, "reason": reason });
        run.tell("ended", told);
    });
    Ok(respond::json_with(
        StatusCode::ACCEPTED,
        &json!({ "slices": count }),
    ))
}

/// Asks the run on a case to stop after the slice at hand.
pub(super) async fn stop(
    State(app): State<Arc<App>>,
    Path(case): Path<String>,
    headers: HeaderMap,
) -> ApiResult {
    let open = app.case_to_change(&case, &headers).await?;
    let running = open.stop_propagation();
    Ok(respond::json(&json!({ "stopping": running })))
}

impl PropagateRequest {
    fn place(&self, index: usize) -> Place {
        Place {
            structure: self.structure,
            plane: self.plane,
            index,
        }
    }

    /// The slices to go through, of `count`.
    fn slices(&self, count: usize) -> Vec<usize> {
        let most = self.count.unwrap_or(count);
        let ahead = self.direction.slices(self.index, count);
        ahead.into_iter().skip(1).take(most).collect()
    }
}

impl Run {
    /// How many slices were done, and why it ended.
    async fn over(&self, slices: &[usize], first: Mask) -> (usize, End) {
        let start = self.asking.index;
        let begun = self.look(start, move |picture| {
            Follower::start(picture, &first, &CarryPolicy::default())
        });
        let mut follower = match begun.await {
            Ok(Some(follower)) => follower,
            Ok(None) => return (0, End::Small(start)),
            Err(error) => return (0, End::Failed(error.message)),
        };
        let mut from = start;
        for (done, &index) in slices.iter().enumerate() {
            if self.stop.load(Ordering::Relaxed) || *self.app.stopped.borrow() {
                return (done, End::Stopped);
            }
            match self.one(index, from, follower).await {
                Ok(Ok(next)) => (from, follower) = (index, next),
                Ok(Err(end)) => return (done, end),
                Err(error) => return (done, End::Failed(error.message)),
            }
        }
        (slices.len(), End::All)
    }

    /// Does something with a slice as the model sees it.
    async fn look<T: Send + 'static>(
        &self,
        index: usize,
        work: impl FnOnce(&RgbImage) -> T + Send + 'static,
    ) -> ApiResult<T> {
        let (study, plane, window) = (Arc::clone(&self.open.study), self.asking.plane, self.window);
        let work = tokio::task::spawn_blocking(move || {
            let picture = study.model_input(plane, index, window)?;
            anyhow::Ok(work(&picture))
        });
        Ok(work.await.context("looking at a slice failed")??)
    }

    /// The follower on the next slice, whose mask it has left there; or why there is none.
    async fn one(
        &self,
        index: usize,
        from: usize,
        mut follower: Follower,
    ) -> ApiResult<Result<Follower, End>> {
        let place = self.asking.place(index);
        {
            let store = self.open.store();
            let annotation = store.annotation();
            if annotation.slice(place)?.area() > 0 {
                return Ok(Err(End::Marked(index)));
            }
        }
        let stepped = self.look(index, move |picture| {
            let mask = follower.step(picture).cloned();
            mask.map(|mask| (follower, mask))
        });
        let (follower, mask) = match stepped.await? {
            Ok(found) => found,
            Err(CarryEnd::Vanished) => return Ok(Err(End::Ends(index))),
            Err(CarryEnd::Unlike) => return Ok(Err(End::Looks(index))),
        };
        let kept = SlicePrompts {
            window: Some(self.window),
            from: Some(from),
            ..SlicePrompts::default()
        };
        let body = self.commit(place, &mask, kept).await?;
        self.tell("slice", body);
        Ok(Ok(follower))
    }

    async fn commit(&self, place: Place, mask: &Mask, prompts: SlicePrompts) -> ApiResult<Value> {
        let (runs, group) = (mask.to_run_lengths(), self.group);
        self.app
            .change(&self.open, move |open, store| {
                let change =
                    store
                        .annotation()
                        .mask_change(place, runs.clone(), Some(prompts.clone()))?;
                store.apply(Step {
                    group: Some(group),
                    ..Step::new("propagation", vec![change])
                })?;
                marked(open, store.annotation(), place, &runs, Some(&prompts))
            })
            .await
    }

    fn tell(&self, state: &str, mut more: Value) {
        more["progress"] = json!(state);
        self.app.events.send("propagate", &self.open.case.id, more);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_follow_the_direction_to_the_end() {
        let slices = |direction: &str, count: &str| {
            let text = format!(
                r#"{{"structure": 1, "plane": "axial", "index": 2, "direction": "{direction}"{count}}}"#
            );
            serde_json::from_str::<PropagateRequest>(&text)
                .unwrap()
                .slices(6)
        };
        assert_eq!(slices("up", ""), [3, 4, 5]);
        assert_eq!(slices("down", ""), [1, 0]);
        assert_eq!(slices("up", r#", "count": 2"#), [3, 4]);
    }
}
