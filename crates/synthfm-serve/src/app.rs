//! State that all handlers share.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use axum::http::HeaderMap;
use serde::Serialize;
use tokio::sync::Semaphore;

use super::annotation::Store;
use super::catalog::{CaseId, Catalog};
use super::desk::{OpenCase, OpenCases};
use super::engine::Engine;
use super::error::{ApiError, ApiResult};
use super::events::Events;
use super::labels::LabelLists;
use super::sessions::Sessions;
use crate::ModelRecord;

/// The header that names the session of a request.
pub(super) const SESSION_HEADER: &str = "x-session";

/// The annotator's server.
#[derive(Debug)]
pub(super) struct App {
    /// Name of the file or folder that was opened, for the page's title.
    pub(super) title: String,
    pub(super) model: ModelRecord,
    pub(super) catalog: Catalog,
    pub(super) desk: OpenCases,
    pub(super) labels: LabelLists,
    pub(super) sessions: Arc<Sessions>,
    pub(super) events: Arc<Events>,
    pub(super) engine: Engine,
    pub(super) folders: Folders,
    pub(super) max_file_bytes: u64,
    /// Places for reading uploads.
    pub(super) reading_uploads: Arc<Semaphore>,
    /// Turns of requests that copy a slice; one is held until its work ends, even if its client has gone.
    pub(super) copying_slices: Arc<Semaphore>,
    /// The place for exporting all cases.
    pub(super) exporting: Semaphore,
    /// Becomes true when the server is to end.
    pub(super) stopped: tokio::sync::watch::Receiver<bool>,
}

/// Where the server writes.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Folders {
    pub(super) work: PathBuf,
    pub(super) uploads: PathBuf,
    pub(super) labels: PathBuf,
}

impl App {
    /// A case in memory, to look at.
    pub(super) async fn case(&self, id: &str) -> ApiResult<Arc<OpenCase>> {
        let Some(case) = self.catalog.get(id) else {
            return Err(ApiError::missing("there is no such case"));
        };
        self.desk.open(case).await
    }

    /// A case in memory, to change: the session of the request must have it.
    pub(super) async fn case_to_change(
        &self,
        id: &CaseId,
        headers: &HeaderMap,
    ) -> ApiResult<Arc<OpenCase>> {
        self.sessions.require(session_of(headers)?, id)?;
        self.case(id).await
    }

    /// Does something that writes to the disk, off the threads that serve requests.
    pub(super) async fn change<T: Send + 'static>(
        self: &Arc<Self>,
        open: &Arc<OpenCase>,
        work: impl FnOnce(&OpenCase, &mut Store) -> ApiResult<T> + Send + 'static,
    ) -> ApiResult<T> {
        let (app, open) = (Arc::clone(self), Arc::clone(open));
        let work = tokio::task::spawn_blocking(move || {
            let mut store = open.store();
            let done = work(&open, &mut store)?;
            let progress = store.annotation().progress();
            if let Err(error) = store.tidy() {
                // The journal holds everything; it only stays long.
                synthfm_image::tell(&format!(
                    "warning: {}",
                    synthfm_image::one_line(error.as_ref())
                ));
            }
            if !store.is_untouched() {
                let structures = store.annotation().structures();
                app.labels.note(open.source(), &open.case.id, structures)?;
            }
            drop(store);
            app.catalog.set_state(&open.case.id, progress)?;
            Ok(done)
        });
        work.await.context("the change failed")?
    }
}

/// The session that a request names.
pub(super) fn session_of(headers: &HeaderMap) -> ApiResult<&str> {
    let header = headers.get(SESSION_HEADER);
    header.and_then(|value| value.to_str().ok()).ok_or_else(|| {
        ApiError::bad("a session is needed: POST /api/sessions gives one, send it as X-Session")
    })
}
