//! Server-sent events about work in the background, for the pages that it concerns.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::Stream;
use futures_util::stream;
use serde_json::{Value, json};
use tokio::sync::broadcast::{self, Receiver, error::RecvError};

use super::sessions::Sessions;

/// Events that a slow page may be behind; it misses older ones.
const BEHIND: usize = 256;
/// Silence after which a sign of life is sent, which also renews the page's lease.
const SIGN_OF_LIFE: Duration = Duration::from_secs(15);

/// Time after which a browser asks for another stream where one has broken off.
const COME_BACK: Duration = Duration::from_secs(1);
/// Time that a stream lasts; browsers open another one by themselves.
const LONGEST: Duration = Duration::from_hours(1);

/// One thing that happened.
#[derive(Debug, Clone)]
struct Notice {
    kind: &'static str,
    /// The case that it is about; everybody is told where there is none.
    case: Option<String>,
    /// The session that it is for; those that show the case, or all, where there is none.
    session: Option<String>,
    text: Arc<str>,
}

/// Where events come from.
#[derive(Debug)]
pub(super) struct Events {
    sender: broadcast::Sender<Notice>,
}

impl Events {
    pub(super) fn new() -> Self {
        let (sender, _) = broadcast::channel(BEHIND);
        Self { sender }
    }

    /// Tells the pages that show `case`.
    pub(super) fn send(&self, kind: &'static str, case: &str, mut value: Value) {
        value["case"] = json!(case);
        // Nobody may listen.
        let _ = self.sender.send(Notice {
            kind,
            case: Some(case.to_owned()),
            session: None,
            text: value.to_string().into(),
        });
    }

    /// Tells all pages.
    pub(super) fn send_to_all(&self, kind: &'static str, value: &Value) {
        // Nobody may listen.
        let _ = self.sender.send(Notice {
            kind,
            case: None,
            session: None,
            text: value.to_string().into(),
        });
    }

    /// Tells one session.
    pub(super) fn send_to_session(&self, kind: &'static str, session: &str, value: &Value) {
        // Nobody may listen.
        let _ = self.sender.send(Notice {
            kind,
            case: None,
            session: Some(session.to_owned()),
            text: value.to_string().into(),
        });
    }

    /// The events for one session, until it ends or `stopped` says so.
    pub(super) fn stream(
        &self,
        session: String,
        sessions: Arc<Sessions>,
        stopped: tokio::sync::watch::Receiver<bool>,
    ) -> Sse<impl Stream<Item = Result<Event, Infallible>> + use<>> {
        sessions.attach(&session);
        let listener = Listener {
            notices: self.sender.subscribe(),
            session,
            sessions,
            stopped,
            until: Instant::now() + LONGEST,
            greeted: false,
        };
        let events = stream::unfold(listener, |mut listener| async {
            let event = listener.next().await?;
            Some((Ok(event), listener))
        });
        Sse::new(events).keep_alive(KeepAlive::default())
    }
}

struct Listener {
    notices: Receiver<Notice>,
    session: String,
    sessions: Arc<Sessions>,
    stopped: tokio::sync::watch::Receiver<bool>,
    until: Instant,
    /// Whether the browser was told how soon to come back when the stream breaks off.
    greeted: bool,
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.sessions.detach(&self.session);
    }
}

impl Listener {
    async fn next(&mut self) -> Option<Event> {
        if !std::mem::replace(&mut self.greeted, true) {
            return Some(Event::default().event("alive").data("{}").retry(COME_BACK));
        }
        loop {
            if *self.stopped.borrow() || Instant::now() > self.until {
                return None;
            }
            let notice = tokio::select! {
                notice = self.notices.recv() => notice,
                _ = self.stopped.changed() => return None,
                () = tokio::time::sleep(SIGN_OF_LIFE) => {
                    self.sessions.renew(&self.session).ok()?;
                    return Some(Event::default().event("alive").data("{}"));
                }
            };
            match notice {
                Ok(notice) if self.concerns(&notice) => {
                    return Some(Event::default().event(notice.kind).data(&*notice.text));
                }
                Ok(_) | Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return None,
            }
        }
    }

    fn concerns(&self, notice: &Notice) -> bool {
        let shows = |case: &String| self.sessions.shows(&self.session, case);
        let is_meant = notice.session.as_ref().is_none_or(|id| *id == self.session);
        is_meant && notice.case.as_ref().is_none_or(shows)
    }
}
