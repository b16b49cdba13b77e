//! A viewer's session: an image, an object on it, and the actions that change them, whatever the protocol.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use super::answer::Questions;
use super::interaction::Interaction;
use super::object::Object;
use super::scan::{Range3, Scan};
use crate::app::App;
use crate::error::{ApiError, ApiResult};

/// The image that a session has opened, and whether answers are carried through the volume.
#[derive(Debug)]
pub(super) struct Session {
    open: Option<Open>,
    /// Whether answers are carried through the volume.
    carry: bool,
}

/// An image with its object.
#[derive(Debug)]
struct Open {
    scan: Scan,
    object: Object,
}

impl Default for Session {
    fn default() -> Self {
        Self {
            open: None,
            carry: true,
        }
    }
}

/// Says that an action is of no use any more.
#[derive(Debug, Clone, Default)]
pub(super) struct Stop {
    /// Set when the client has left.
    pub(super) left: Arc<AtomicBool>,
    /// Set when the session has ended.
    pub(super) ended: Arc<AtomicBool>,
}

impl Stop {
    pub(super) fn is_asked(&self) -> bool {
        self.left.load(Ordering::Relaxed) || self.ended.load(Ordering::Relaxed)
    }
}

/// Something that is done in a session.
#[derive(Debug)]
pub(super) enum Action {
    /// Adds a prompt, and answers it at once or later.
    Add {
        prompt: Interaction,
        answer: bool,
    },
    /// Answers what waits.
    Answer,
    /// Begins anew from a mask over the image, in the order of its array.
    StartFrom {
        mask: Vec<bool>,
    },
    Undo,
}

/// The outcome of an interaction.
#[derive(Debug)]
pub(super) struct Outcome {
    /// Whether the model was asked, or something was undone.
    pub(super) done: bool,
    /// The part of the mask that has changed, in the order of the array.
    pub(super) changed: Option<(Range3, Vec<u8>)>,
}

impl Session {
    /// Replaces the image, and forgets everything about the one before.
    pub(super) fn open(&mut self, scan: Scan) {
        let object = Object::new(scan.study.grid().clone());
        self.open = Some(Open { scan, object });
    }

    /// Lets the image of before go before another one is read.
    pub(super) fn close(&mut self) {
        self.open = None;
    }

    /// Lengths of the axes of the image's array; refused without an image.
    pub(super) fn shape(&self) -> ApiResult<[usize; 3]> {
        Ok(self.opened()?.scan.shape())
    }

    /// Chooses whether answers are carried through the volume.
    pub(super) fn set_carry(&mut self, carry: bool) {
        self.carry = carry;
    }

    /// Forgets the object, its prompts and the steps back.
    pub(super) fn reset(&mut self) {
        if let Some(open) = &mut self.open {
            open.object.reset();
        }
    }

    /// The mask over the whole image, in the order of its array.
    pub(super) fn mask(&self) -> ApiResult<&[u8]> {
        Ok(self.opened()?.object.voxels())
    }

    fn opened(&self) -> ApiResult<&Open> {
        self.open.as_ref().ok_or_else(no_image)
    }

    /// Does something, or leaves everything as it was. `stop` is set when nobody waits for it any more.
    pub(super) async fn act(
        &mut self,
        app: &App,
        action: Action,
        stop: &Stop,
    ) -> ApiResult<Outcome> {
        let carry = self.carry;
        let open = self.open.as_mut().ok_or_else(no_image)?;
        let Open { scan, object } = open;
        let questions = Questions {
            app,
            scan,
            stop,
            since: Instant::now(),
        };
        let done = match action {
            Action::Undo => object.undo()?,
            Action::StartFrom { mask } => {
                object.start_from(&mask, scan.across())?;
                false
            }
            Action::Add { prompt, answer } => {
                object.begin();
                let added = match prompt.add(scan, object) {
                    Ok(()) if answer => questions.answer(object, carry).await,
                    added => added,
                };
                undone_if_failed(object, added)?;
                answer
            }
            Action::Answer => {
                let waits = object.waits();
                if waits {
                    object.begin();
                    let answered = questions.answer(object, carry).await;
                    undone_if_failed(object, answered)?;
                    object.join();
                }
                waits
            }
        };
        Ok(Outcome {
            done,
            changed: object.take_changed(),
        })
    }
}

/// Takes an interaction back that failed: the client's mask has not changed either.
fn undone_if_failed(object: &mut Object, result: ApiResult<()>) -> ApiResult<()> {
    if result.is_err() {
        object.undo()?;
        object.take_changed();
    }
    result
}

fn no_image() -> ApiError {
    ApiError::bad("there is no image yet: send one first")
}
