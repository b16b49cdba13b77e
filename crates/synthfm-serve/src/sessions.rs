//! Who works on what: a session per window of a browser or per program, each with a lease.
//!
//! A case is changed by one session at a time. A session that is not heard of for the time of its lease ends, and its
//! case is free; one that comes back must open its case again, and is told if another has it. A page holds a stream of
//! events open; when that breaks off because the browser has ended, the lease ends within seconds.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;
use axum::http::StatusCode;
use synthfm_image::hex;

use super::catalog::CaseId;
use super::error::{ApiError, ApiResult};

/// Time that a session lasts without a sign of life. Browsers wake a hidden page once a minute.
pub(super) const LEASE: Duration = Duration::from_secs(150);
/// Time that a session lasts once the stream of its events has broken off; a browser asks for another one within a second.
const GRACE: Duration = Duration::from_secs(5);
/// Sessions at once.
const MAX_SESSIONS: usize = 64;

#[derive(Debug)]
struct Session {
    until: Instant,
    case: Option<CaseId>,
    /// Streams of events that are open.
    streams: usize,
}

/// All sessions.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    inner: Mutex<BTreeMap<String, Session>>,
}

impl Sessions {
    /// A new session.
    pub(super) fn create(&self) -> ApiResult<String> {
        let mut sessions = self.alive();
        if sessions.len() >= MAX_SESSIONS {
            return Err(ApiError::busy(format!(
                "{MAX_SESSIONS} sessions are open; close a window, or wait until one ends by itself"
            )));
        }
        let id = random_text().map_err(|error| ApiError::failed(&error))?;
        let session = Session {
            until: Instant::now() + LEASE,
            case: None,
            streams: 0,
        };
        sessions.insert(id.clone(), session);
        Ok(id)
    }

    /// Prolongs the lease.
    pub(super) fn renew(&self, id: &str) -> ApiResult<()> {
        match self.alive().get_mut(id) {
            Some(session) => {
                session.until = Instant::now() + LEASE;
                Ok(())
            }
            None => Err(unknown()),
        }
    }

    /// A stream of events has begun.
    pub(super) fn attach(&self, id: &str) {
        if let Some(session) = self.alive().get_mut(id) {
            session.streams += 1;
        }
    }

    /// A stream of events has ended; after the last one the session has [`GRACE`] to come back.
    pub(super) fn detach(&self, id: &str) {
        if let Some(session) = self.alive().get_mut(id) {
            session.streams = session.streams.saturating_sub(1);
            if session.streams == 0 {
                session.until = session.until.min(Instant::now() + GRACE);
            }
        }
    }

    pub(super) fn end(&self, id: &str) {
        self.alive().remove(id);
    }

    /// Gives a case to a session, which lets its former case go. Where another session has it, only by `take_over`.
    pub(super) fn take(&self, id: &str, case: &CaseId, take_over: bool) -> ApiResult<()> {
        let mut sessions = self.alive();
        if !sessions.contains_key(id) {
            return Err(unknown());
        }
        for (other, session) in sessions.iter_mut() {
            if other != id && session.case.as_ref() == Some(case) {
                if !take_over {
                    return Err(ApiError::new(
                        StatusCode::LOCKED,
                        "taken",
                        "this case is open in another window or program",
                    ));
                }
                session.case = None;
            }
        }
        if let Some(session) = sessions.get_mut(id) {
            session.until = Instant::now() + LEASE;
            session.case = Some(case.clone());
        }
        Ok(())
    }

    /// Lets changes to a case through that come from the session that has it.
    pub(super) fn require(&self, id: &str, case: &CaseId) -> ApiResult<()> {
        let mut sessions = self.alive();
        let Some(session) = sessions.get_mut(id) else {
            return Err(unknown());
        };
        session.until = Instant::now() + LEASE;
        if session.case.as_ref() == Some(case) {
            return Ok(());
        }
        Err(ApiError::conflict(
            "not_open",
            "this case is not open in this window: it was taken over by another one; open it again to go on here",
        ))
    }

    /// The session that has a case open.
    pub(super) fn holder(&self, case: &str) -> Option<String> {
        let sessions = self.alive();
        let mut all = sessions.iter();
        all.find(|(_, session)| session.case.as_deref() == Some(case))
            .map(|(id, _)| id.clone())
    }

    /// Whether a session has a case open.
    pub(super) fn shows(&self, id: &str, case: &str) -> bool {
        let sessions = self.alive();
        let shown = sessions.get(id).and_then(|session| session.case.as_deref());
        shown == Some(case)
    }

    pub(super) fn len(&self) -> usize {
        self.alive().len()
    }

    /// The sessions whose lease runs.
    fn alive(&self) -> MutexGuard<'_, BTreeMap<String, Session>> {
        let mut sessions = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        sessions.retain(|_, session| session.until > now);
        sessions
    }

    #[cfg(test)]
    fn expire(&self, id: &str) {
        let mut sessions = self.alive();
        sessions.get_mut(id).unwrap().until = Instant::now();
    }
}

fn unknown() -> ApiError {
    ApiError::new(
        StatusCode::GONE,
        "no_session",
        "this session has ended; start another one (in the browser: load the page again)",
    )
}

/// 128 bits of the system's randomness in hexadecimal.
pub(super) fn random_text() -> Result<String> {
    let mut bytes = [0u8; 16];
    getrandom::fill(&mut bytes)
        .map_err(|error| anyhow::anyhow!("the system gives no random numbers: {error}"))?;
    Ok(hex(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(result: ApiResult<()>) -> &'static str {
        result.err().map_or("ok", |error| error.code)
    }

    #[test]
    fn a_case_belongs_to_one_session() {
        let sessions = Sessions::default();
        let (a, b) = (sessions.create().unwrap(), sessions.create().unwrap());
        assert_ne!(a, b);
        let (case, other) = ("1".to_owned(), "2".to_owned());
        assert_eq!(code(sessions.require(&a, &case)), "not_open");
        sessions.take(&a, &case, false).unwrap();
        assert_eq!(code(sessions.require(&a, &case)), "ok");
        assert_eq!(code(sessions.take(&b, &case, false)), "taken");
        assert_eq!(sessions.holder(&case).as_ref(), Some(&a));
        sessions.take(&b, &case, true).unwrap();
        assert_eq!(code(sessions.require(&a, &case)), "not_open");
        assert!(sessions.shows(&b, &case));
        sessions.take(&b, &other, false).unwrap();
        assert!(!sessions.shows(&b, &case));
        sessions.end(&b);
        assert_eq!(
            (code(sessions.require(&b, &other)), sessions.len()),
            ("no_session", 1)
        );
    }

    #[test]
    fn a_page_that_is_gone_lets_its_case_go_soon() {
        let sessions = Sessions::default();
        let id = sessions.create().unwrap();
        let left = |sessions: &Sessions| {
            let sessions = sessions.alive();
            sessions[&id]
                .until
                .saturating_duration_since(Instant::now())
        };
        sessions.attach(&id);
        sessions.attach(&id);
        sessions.detach(&id);
        assert!(left(&sessions) > GRACE, "another stream is open");
        sessions.detach(&id);
        assert!(left(&sessions) <= GRACE);
        sessions.renew(&id).unwrap();
        assert!(left(&sessions) > GRACE, "it has come back");
    }

    #[test]
    fn leases_end_and_sessions_are_limited() {
        let sessions = Sessions::default();
        let ids: Vec<String> = (0..MAX_SESSIONS)
            .map(|_| sessions.create().unwrap())
            .collect();
        assert_eq!(sessions.create().unwrap_err().code, "busy");
        let case = "1".to_owned();
        sessions.take(&ids[0], &case, false).unwrap();
        sessions.expire(&ids[0]);
        assert_eq!(code(sessions.renew(&ids[0])), "no_session");
        let next = sessions.create().unwrap();
        assert_eq!(code(sessions.take(&next, &case, false)), "ok");
    }
}
