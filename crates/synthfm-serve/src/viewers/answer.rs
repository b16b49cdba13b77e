//! The model is asked about the slices that wait, and their masks are carried through the volume.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use synthfm_image::{Mask, RgbImage};
use synthfm_sam::{CarryPolicy, Follower, MaskOutput, Prompts};

use super::object::{Object, SlicePrompts};
use super::scan::Scan;
use super::session::Stop;
use crate::annotation::Place;
use crate::app::App;
use crate::engine::{ImageKey, Purpose, Urgency};
use crate::error::{ApiError, ApiResult};

/// Time for one answer. Clients give up after a minute; what is left is carried on with the next request.
const LONGEST: Duration = Duration::from_secs(40);

/// One request's questions to the model.
#[derive(Debug)]
pub(super) struct Questions<'a> {
    pub(super) app: &'a App,
    pub(super) scan: &'a Scan,
    pub(super) stop: &'a Stop,
    pub(super) since: Instant,
}

impl Questions<'_> {
    /// Answers all that waits; with `carry`, carries the masks on both ways.
    pub(super) async fn answer(&self, object: &mut Object, carry: bool) -> ApiResult<()> {
        let queued = object.take_queued();
        let mut fronts = object.take_fronts();
        for &place in &queued {
            self.check()?;
            let mask = self.slice(object, place).await?;
            object.put(place, &mask)?;
            object.heard(place);
            fronts.extend([(place, true), (place, false)]);
        }
        for (place, up) in fronts {
            if carry {
                self.carry(object, place, up).await?;
            } else {
                self.prepare_next(place, up);
            }
        }
        Ok(())
    }

    /// Has the slice that is likely to be looked at next encoded in the background.
    fn prepare_next(&self, from: Place, up: bool) {
        let next = if up {
            Some(from.index + 1)
        } else {
            from.index.checked_sub(1)
        };
        let count = self.scan.study.grid().slice_count(from.plane.into());
        if let Some(index) = next.filter(|index| *index < count) {
            let key = self.key(Place { index, ..from });
            self.app
                .engine
                .prepare(&key, &self.scan.study, Urgency::Ahead);
        }
    }

    /// Ends where nobody waits any more.
    fn check(&self) -> ApiResult<()> {
        if self.stop.is_asked() || *self.app.stopped.borrow() {
            return Err(ApiError::busy("the request was broken off"));
        }
        Ok(())
    }

    /// The mask on a slice with prompts.
    async fn slice(&self, object: &Object, place: Place) -> ApiResult<Mask> {
        let said = object.prompts(place);
        let before = object.slice(place)?;
        let earlier = Some(before.clone()).filter(|mask| mask.area() > 0);
        let says_where = said.box_.is_some() || said.points.iter().any(|(_, include)| *include);
        // Nothing to be taken away from, or nothing to ask for.
        let asks = !said.points.is_empty() || said.box_.is_some();
        if !asks || (!says_where && earlier.is_none()) {
            return Ok(limited(before, &said));
        }
        let fresh = said.box_.is_some() && !said.answered;
        let prompts = Prompts {
            points: said.points.clone(),
            box_: said.box_,
            mask_input: None,
            earlier: earlier.filter(|_| !fresh),
        };
        Ok(limited(self.ask(place, prompts).await?, &said))
    }

    async fn ask(&self, place: Place, prompts: Prompts) -> ApiResult<Mask> {
        let (engine, key) = (&self.app.engine, self.key(place));
        let image = engine.embedding(&key, &self.scan.study).await?;
        let call = (self.scan.image.clone(), place, Purpose::Keep);
        let number = engine.announce(call.clone());
        let answer = engine.ask(call, number, image, prompts, MaskOutput::Single);
        Ok(answer.await?.mask)
    }

    fn key(&self, place: Place) -> ImageKey {
        let window = self.scan.study.window();
        ImageKey::new(&self.scan.image, place.plane, place.index, window)
    }

    /// Carries the mask of a slice to those that follow, as the annotator does. Carried masks behind its end go.
    async fn carry(&self, object: &mut Object, from: Place, up: bool) -> ApiResult<()> {
        let (reach, open_end) = object.reach(from, up)?;
        let first = object.slice(from)?;
        let begun = self.look(from, move |picture| {
            Follower::start(picture, &first, &CarryPolicy::default())
        });
        let (mut follower, mut before) = (begun.await?, from);
        for (done, &place) in reach.iter().enumerate() {
            self.check()?;
            if self.since.elapsed() > LONGEST {
                object.add_front(before, up);
                return Ok(());
            }
            let stepped = match follower.take() {
                Some(mut follower) => {
                    let stepped = self.look(place, move |picture| {
                        let mask = follower.step(picture).cloned().ok();
                        mask.map(|mask| (follower, mask))
                    });
                    stepped.await?
                }
                None => None,
            };
            let Some((next, mask)) = stepped else {
                if open_end {
                    object.clear_carried(&reach[done..])?;
                }
                return Ok(());
            };
            object.put_carried(place, &mask)?;
            (follower, before) = (Some(next), place);
        }
        Ok(())
    }

    /// Does something with a slice as the model sees it.
    async fn look<T: Send + 'static>(
        &self,
        place: Place,
        work: impl FnOnce(&RgbImage) -> T + Send + 'static,
    ) -> ApiResult<T> {
        let study = Arc::clone(&self.scan.study);
        let work = tokio::task::spawn_blocking(move || {
            let window = study.window();
            let picture = study.model_input(place.plane, place.index, window)?;
            anyhow::Ok(work(&picture))
        });
        Ok(work.await.context("looking at a slice failed")??)
    }
}

/// A mask without what a lasso excludes.
fn limited(mut mask: Mask, said: &SlicePrompts) -> Mask {
    let within = said.within.as_ref().map(|within| (within, true));
    let removed = said.removed.as_ref().map(|removed| (removed, false));
    for (border, keeps) in within.into_iter().chain(removed) {
        let both = mask.data_mut().iter_mut().zip(border.data());
        both.for_each(|(inside, border)| *inside &= *border == keeps);
    }
    mask
}
