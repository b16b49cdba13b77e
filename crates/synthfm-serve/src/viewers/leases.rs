//! Sessions of viewers, each with a lease.
//!
//! A session ends when its user does nothing for a while, or sooner when its client gives no sign of life. Its memory is
//! freed then, or when the request at hand has seen that nobody waits for it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::http::StatusCode;

use super::session::Session;
use crate::error::{ApiError, ApiResult};
use crate::sessions::random_text;

/// When a session of some protocol ends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Terms {
    /// Time without an action of the user.
    pub(super) idle: Duration,
    /// Time without any request; `None` for clients that give no sign of life.
    pub(super) liveness: Option<Duration>,
}

/// nnInteractive's own times: its clients send a sign of life every half minute.
pub(super) const NNINTERACTIVE: Terms = Terms {
    idle: Duration::from_mins(10),
    liveness: Some(Duration::from_mins(1)),
};
/// ITK-SNAP gives no sign of life, and may not say that it ends.
pub(super) const ITKSNAP: Terms = Terms {
    idle: Duration::from_mins(30),
    liveness: None,
};

#[derive(Debug)]
struct Clocks {
    active: Instant,
    seen: Instant,
    /// Requests at hand: a session does not end while one is answered.
    working: usize,
}

/// One viewer's session.
#[derive(Debug)]
pub(super) struct Lease {
    terms: Terms,
    clocks: Mutex<Clocks>,
    /// Set when it has ended, for the request at hand.
    ended: Arc<AtomicBool>,
    /// One request at a time.
    pub(super) session: Arc<tokio::sync::Mutex<Session>>,
}

impl Lease {
    fn new(terms: Terms) -> Self {
        let now = Instant::now();
        Self {
            terms,
            clocks: Mutex::new(Clocks {
                active: now,
                seen: now,
                working: 0,
            }),
            ended: Arc::default(),
            session: Arc::default(),
        }
    }

    /// Time until it ends for want of an action.
    pub(super) fn remaining(&self) -> Duration {
        let clocks = lock(&self.clocks);
        if clocks.working > 0 {
            return self.terms.idle;
        }
        self.terms.idle.saturating_sub(clocks.active.elapsed())
    }

    /// Notes that an action begins; it ends with what is returned.
    pub(super) fn work(self: &Arc<Self>) -> Working {
        let mut clocks = lock(&self.clocks);
        clocks.working += 1;
        Working(Arc::clone(self))
    }

    /// Whether it has ended.
    pub(super) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }

    /// Becomes true when it ends, for a request that takes long.
    pub(super) fn ended(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.ended)
    }

    fn is_over(&self, now: Instant) -> bool {
        let clocks = lock(&self.clocks);
        let past = |since: Instant, time: Duration| now.saturating_duration_since(since) >= time;
        let silent = self
            .terms
            .liveness
            .is_some_and(|time| past(clocks.seen, time));
        clocks.working == 0 && (silent || past(clocks.active, self.terms.idle))
    }
}

/// An action at hand.
#[derive(Debug)]
pub(super) struct Working(Arc<Lease>);

impl Drop for Working {
    fn drop(&mut self) {
        let mut clocks = lock(&self.0.clocks);
        clocks.working -= 1;
        clocks.active = Instant::now();
        clocks.seen = clocks.active;
    }
}

/// All sessions of viewers.
#[derive(Debug)]
pub(super) struct Leases {
    most: usize,
    inner: Mutex<BTreeMap<String, Arc<Lease>>>,
}

impl Leases {
    /// None yet, and `most` at once.
    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
            inner: Mutex::default(),
        }
    }

    pub(super) const fn most(&self) -> usize {
        self.most
    }

    /// A new session; its token.
    pub(super) fn claim(&self, terms: Terms) -> ApiResult<String> {
        let mut leases = self.running();
        if leases.len() >= self.most {
            return Err(ApiError::busy(format!(
                "all {} sessions for viewers are taken; try again later, or start the server with more --sessions",
                self.most
            )));
        }
        let token = random_text()?;
        leases.insert(token.clone(), Arc::new(Lease::new(terms)));
        Ok(token)
    }

    /// The session of a token, heard of now.
    pub(super) fn get(&self, token: Option<&str>) -> ApiResult<Arc<Lease>> {
        let lease = self.peek(token)?;
        lock(&lease.clocks).seen = Instant::now();
        Ok(lease)
    }

    /// The session of a token, without a sign of life.
    pub(super) fn peek(&self, token: Option<&str>) -> ApiResult<Arc<Lease>> {
        let lease = token.and_then(|token| self.running().get(token).map(Arc::clone));
        lease.ok_or_else(gone)
    }

    /// Ends a session; whether there was one.
    pub(super) fn release(&self, token: Option<&str>) -> bool {
        let mut leases = self.running();
        let lease = token.and_then(|token| leases.remove(token));
        if let Some(lease) = &lease {
            lease.ended.store(true, Ordering::Relaxed);
        }
        lease.is_some()
    }

    /// Ends the sessions whose time is over; how many are left.
    pub(super) fn sweep(&self) -> usize {
        self.running().len()
    }

    fn running(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Lease>>> {
        let mut leases = lock(&self.inner);
        let now = Instant::now();
        leases.retain(|_, lease| {
            let over = lease.is_over(now);
            if over {
                lease.ended.store(true, Ordering::Relaxed);
            }
            !over
        });
        leases
    }
}

/// The error for a request whose session has ended.
pub(super) fn gone() -> ApiError {
    ApiError::new(
        StatusCode::GONE,
        "no_session",
        "this session has ended, or never was; start another one",
    )
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Terms = Terms {
        idle: Duration::from_mins(10),
        liveness: Some(Duration::from_mins(1)),
    };

    /// Moves the clocks of a lease back.
    fn pass(leases: &Leases, token: &str, seen: Duration, active: Duration) {
        let lease = leases.peek(Some(token)).unwrap();
        let mut clocks = lock(&lease.clocks);
        clocks.seen -= seen;
        clocks.active -= active;
    }

    fn code(found: ApiResult<Arc<Lease>>) -> &'static str {
        found.err().map_or("ok", |error| error.code)
    }

    #[test]
    fn sessions_are_limited_and_freed() {
        let leases = Leases::new(2);
        let tokens = [0, 1].map(|_| leases.claim(SHORT).unwrap());
        for _ in 0..1000 {
            assert_eq!(leases.claim(SHORT).unwrap_err().code, "busy");
        }
        let session = Arc::downgrade(&leases.get(Some(&tokens[0])).unwrap().session);
        assert!(session.upgrade().is_some());
        assert!(leases.release(Some(&tokens[0])));
        assert!(session.upgrade().is_none(), "its memory is freed");
        assert!(!leases.release(Some(&tokens[0])) && !leases.release(None));
        assert_eq!(code(leases.get(Some(&tokens[0]))), "no_session");
        assert_eq!(code(leases.get(None)), "no_session");
        assert!(leases.claim(SHORT).is_ok());
    }

    #[test]
    fn silent_and_idle_sessions_end() {
        let leases = Leases::new(3);
        let claim = || leases.claim(SHORT).unwrap();
        let (silent, idle, lively) = (claim(), claim(), claim());
        let secs = Duration::from_secs;
        pass(&leases, &silent, secs(59), secs(0));
        leases.get(Some(&silent)).unwrap();
        pass(&leases, &silent, secs(61), secs(0));
        pass(&leases, &idle, secs(0), secs(601));
        pass(&leases, &lively, secs(50), secs(599));
        assert_eq!(leases.sweep(), 1);
        assert_eq!(code(leases.get(Some(&silent))), "no_session");
        assert_eq!(code(leases.get(Some(&idle))), "no_session");
        let lease = leases.get(Some(&lively)).unwrap();
        assert!(lease.remaining() <= secs(1), "a sign of life is no action");
    }

    #[test]
    fn a_session_at_work_does_not_end() {
        let leases = Leases::new(1);
        let token = leases.claim(SHORT).unwrap();
        let lease = leases.get(Some(&token)).unwrap();
        let working = lease.work();
        pass(
            &leases,
            &token,
            Duration::from_mins(5),
            Duration::from_mins(20),
        );
        assert_eq!((leases.sweep(), lease.has_ended()), (1, false));
        drop(working);
        assert_eq!(leases.sweep(), 1, "its action has just ended");
        pass(&leases, &token, Duration::from_mins(5), Duration::ZERO);
        assert_eq!((leases.sweep(), lease.has_ended()), (0, true));
    }
}
