//! Viewers that people already use talk to our model in their own protocols.
//!
//! `nninteractive` is what 3D Slicer, napari and every program with nnInteractive's client speak, `itksnap` what ITK-SNAP
//! speaks, `osam` what programs around labelme speak. They share sessions with leases ([`leases`]), the object that a
//! session marks ([`object`]), and the questions to the model ([`answer`]). `docs/viewers.md` explains the whole.

mod answer;
mod interaction;
mod itksnap;
mod leases;
mod multipart;
mod nnia;
mod nninteractive;
mod object;
mod osam;
mod reply;
mod scan;
mod session;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use axum::Router;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use tokio::sync::OwnedMutexGuard;

use leases::{Lease, Leases, Working};
use session::{Action, Outcome, Session, Stop};

use super::app::App;
use super::error::{ApiError, ApiResult};

/// How often sessions are looked through for those whose time is over.
const SWEEP: Duration = Duration::from_secs(5);

/// State that the handlers of the viewers share.
#[derive(Debug)]
struct Viewers {
    app: Arc<App>,
    leases: Leases,
}

/// The routes of all protocols, for `sessions` users at once. With `verbose`, each request is a line on the terminal.
pub(super) fn router(app: Arc<App>, sessions: usize, verbose: bool) -> Router {
    let viewers = Arc::new(Viewers {
        app,
        leases: Leases::new(sessions),
    });
    let swept = Arc::downgrade(&viewers);
    tokio::spawn(async move {
        while let Some(viewers) = swept.upgrade() {
            viewers.leases.sweep();
            drop(viewers);
            tokio::time::sleep(SWEEP).await;
        }
    });
    let router = nninteractive::router()
        .merge(itksnap::router())
        .merge(osam::router());
    let router = router.with_state(viewers);
    if verbose {
        router.layer(from_fn(tell))
    } else {
        router
    }
}

/// Whether a path belongs to a viewer's protocol, which is never an address for a browser's window.
pub(super) fn is_endpoint(path: &str) -> bool {
    nninteractive::PATHS.contains(&path) || itksnap::is_endpoint(path)
}

/// A path that answers without a key, for nothing but that the server is there.
pub(super) const OPEN_PATH: &str = "/healthz";

async fn tell(request: Request, next: Next) -> Response {
    let line = format!("{} {}", request.method(), request.uri().path());
    let since = Instant::now();
    let response = next.run(request).await;
    let (status, took) = (response.status().as_u16(), since.elapsed().as_millis());
    synthfm_image::tell(&format!("{line}: {status} in {took} ms"));
    response
}

/// Sets a flag when the request that holds it is dropped, because its client has left.
struct SetOnDrop(Arc<AtomicBool>);

impl Drop for SetOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A session that one request has for itself.
struct Turn {
    lease: Arc<Lease>,
    session: OwnedMutexGuard<Session>,
    working: Working,
}

impl Viewers {
    /// Waits until a session is free.
    async fn turn(&self, token: Option<&str>) -> ApiResult<Turn> {
        let lease = self.leases.get(token)?;
        let working = lease.work();
        let session = Arc::clone(&lease.session).lock_owned().await;
        Ok(Turn {
            lease,
            session,
            working,
        })
    }

    /// Does something in a session, to its end even where the client leaves meanwhile: then it is taken back.
    async fn act(
        &self,
        turn: Turn,
        action: Action,
    ) -> ApiResult<(Outcome, OwnedMutexGuard<Session>)> {
        let Turn {
            lease,
            mut session,
            working,
        } = turn;
        let stop = Stop {
            ended: lease.ended(),
            ..Stop::default()
        };
        let _waiting = SetOnDrop(Arc::clone(&stop.left));
        let app = Arc::clone(&self.app);
        let task = tokio::spawn(async move {
            let _working = working;
            let outcome = session.act(&app, action, &stop).await?;
            Ok((outcome, session))
        });
        let outcome = task.await.context("the action failed")?;
        if outcome.is_err() && lease.has_ended() {
            return Err(leases::gone());
        }
        outcome
    }

    /// Most elements of an array: an image has four bytes for each in memory.
    fn max_elements(&self) -> usize {
        usize::try_from(self.app.max_file_bytes / 4).unwrap_or(usize::MAX)
    }

    /// Does something that takes the processor long, off the threads that serve requests, two at a time.
    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> ApiResult<T> + Send + 'static,
    ) -> ApiResult<T> {
        let turn = Arc::clone(&self.app.reading_uploads).acquire_owned().await;
        let turn = turn.map_err(|_| ApiError::busy("the server is stopping"))?;
        let task = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            work()
        });
        task.await.context("reading failed")?
    }
}
