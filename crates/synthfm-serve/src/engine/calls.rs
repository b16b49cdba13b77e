//! Calls of the decoder, first come first served, without those that were overtaken.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

use synthfm_sam::{EncodedImage, MaskOutput, Predictor, Prompts};
use tokio::sync::oneshot;

use super::{Answer, lock, shielded, since_ms, superseded};
use crate::annotation::Place;
use crate::catalog::CaseId;
use crate::error::ApiError;

/// Whether an answer becomes part of the annotation or is only looked at; the latter overtakes no click.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Purpose {
    Keep,
    Look,
}

/// Prompts of one key overtake one another.
pub(crate) type CallKey = (CaseId, Place, Purpose);

/// Calls that may wait; more mean that clients ask faster than the model answers.
const MAX_WAITING: usize = 64;
/// Keys whose newest prompt is remembered.
const MAX_KEYS: usize = 4096;

struct Call {
    key: CallKey,
    number: u64,
    image: EncodedImage,
    prompts: Prompts,
    output: MaskOutput,
    reply: oneshot::Sender<Result<Answer, ApiError>>,
}

#[derive(Default)]
struct Waiting {
    calls: VecDeque<Call>,
    /// Number of the newest prompt by key.
    newest: BTreeMap<CallKey, u64>,
    next: u64,
    latest: Option<Instant>,
}

/// The queue between handlers and the decoder's thread.
#[derive(Default)]
pub(super) struct Calls {
    waiting: Mutex<Waiting>,
    arrived: Condvar,
}

impl std::fmt::Debug for Calls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Calls").finish_non_exhaustive()
    }
}

impl Calls {
    pub(super) fn announce(&self, key: CallKey) -> u64 {
        let mut waiting = lock(&self.waiting);
        waiting.next += 1;
        waiting.latest = Some(Instant::now());
        let number = waiting.next;
        if waiting.newest.len() >= MAX_KEYS {
            let oldest = waiting.newest.iter().min_by_key(|(_, number)| **number);
            if let Some(key) = oldest.map(|(key, _)| key.clone()) {
                waiting.newest.remove(&key);
            }
        }
        waiting.newest.insert(key, number);
        number
    }

    pub(super) fn is_newest(&self, key: &CallKey, number: u64) -> bool {
        lock(&self.waiting).newest.get(key) == Some(&number)
    }

    /// Time since someone asked for something; `None` if nobody has.
    pub(super) fn quiet_for(&self) -> Option<Duration> {
        lock(&self.waiting).latest.map(|latest| latest.elapsed())
    }

    pub(super) async fn ask(
        &self,
        key: CallKey,
        number: u64,
        image: EncodedImage,
        prompts: Prompts,
        output: MaskOutput,
    ) -> Result<Answer, ApiError> {
        let (reply, answer) = oneshot::channel();
        {
            let mut waiting = lock(&self.waiting);
            if waiting.calls.len() >= MAX_WAITING {
                return Err(ApiError::busy(
                    "too many prompts wait for an answer; try again",
                ));
            }
            waiting.calls.push_back(Call {
                key,
                number,
                image,
                prompts,
                output,
                reply,
            });
        }
        self.arrived.notify_one();
        answer
            .await
            .unwrap_or_else(|_| Err(ApiError::busy("the server is stopping")))
    }

    /// The decoder's thread.
    pub(super) fn work(&self, predictor: &Predictor) {
        let mut predictor = predictor.clone();
        loop {
            let call = self.next();
            // Who asked may have left.
            if call.reply.is_closed() {
                continue;
            }
            let answer = if self.is_newest(&call.key, call.number) {
                decode(&mut predictor, call.image, &call.prompts, call.output)
            } else {
                Err(superseded())
            };
            let _ = call.reply.send(answer);
        }
    }

    fn next(&self) -> Call {
        let mut waiting = lock(&self.waiting);
        loop {
            if let Some(call) = waiting.calls.pop_front() {
                return call;
            }
            waiting = self
                .arrived
                .wait(waiting)
                .unwrap_or_else(std::sync::PoisonError::into_inner);
        }
    }
}

fn decode(
    predictor: &mut Predictor,
    image: EncodedImage,
    prompts: &Prompts,
    output: MaskOutput,
) -> Result<Answer, ApiError> {
    let started = Instant::now();
    predictor.set_encoded_image(image);
    // A prompt that the model refuses is the asker's to change.
    let mut refused = None;
    let answer = shielded(|| {
        let answer = match predictor.answer(prompts, output) {
            Ok(answer) => answer,
            Err(error) => {
                refused = Some(error.to_string());
                return Err(error.into());
            }
        };
        Ok(Answer {
            mask: answer.mask,
            iou: answer.iou,
            decode_ms: since_ms(started),
        })
    });
    match refused {
        Some(message) => Err(ApiError::bad(message)),
        None => Ok(answer?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::annotation::PlaneName;

    fn key(structure: u16) -> CallKey {
        let place = Place {
            structure,
            plane: PlaneName::Axial,
            index: 0,
        };
        ("case".to_owned(), place, Purpose::Keep)
    }

    #[test]
    fn newer_prompts_overtake_those_of_their_key_only() {
        let calls = Calls::default();
        assert!(calls.quiet_for().is_none());
        let first = calls.announce(key(1));
        let other = calls.announce(key(2));
        assert!(calls.is_newest(&key(1), first));
        let second = calls.announce(key(1));
        assert!(!calls.is_newest(&key(1), first));
        assert!(calls.is_newest(&key(1), second) && calls.is_newest(&key(2), other));
        let (case, place, _) = key(1);
        calls.announce((case, place, Purpose::Look));
        assert!(
            calls.is_newest(&key(1), second),
            "a look overtakes no click"
        );
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let calls = Calls::default();
        for structure in 0..=MAX_KEYS as u16 {
            calls.announce(key(structure));
        }
        assert_eq!(lock(&calls.waiting).newest.len(), MAX_KEYS);
        assert!(!calls.is_newest(&key(0), 1));
    }
}
