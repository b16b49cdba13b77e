//! Files in and out: uploads, references, exports.

use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use futures_util::StreamExt;
use serde::Deserialize;
use serde_json::json;
use tokio::io::AsyncWriteExt;

use super::{Parameters, bad, require_session};
use crate::app::App;
use crate::catalog::{ENDINGS, has_ending, plain};
use crate::error::{ApiError, ApiResult};
use crate::export;
use crate::reading::reading;
use crate::reference::{Reference, UPLOADED};
use crate::respond;
use crate::sessions::random_text;
use crate::study::Study;
use synthfm_image::{create_folder, one_line, sync_folder};

/// Start of the names of files that are arriving.
const INCOMING: &str = ".incoming.";
/// Silence of a client that is sending a file.
const MAX_SILENCE: Duration = Duration::from_secs(20);
/// Bytes per second that an upload must bring on the whole, after a first [`MAX_SILENCE`].
const LEAST_RATE: u64 = 16 << 10;
/// Bytes of uploads that are kept in all, in files of the largest size.
const MAX_UPLOADS: u64 = 16;

#[derive(Deserialize)]
pub(super) struct Named {
    name: String,
}

/// Takes a file and adds it to the cases, if it can be read.
pub(super) async fn upload(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    Parameters(named): Parameters<Named>,
    body: Body,
) -> ApiResult {
    require_session(&app, &headers)?;
    check_declared(&headers, app.max_file_bytes)?;
    let name = checked_name(&named.name)?;
    let uploads = app.folders.uploads.clone();
    let room = app.max_file_bytes.saturating_mul(MAX_UPLOADS);
    if folder_bytes(&uploads) >= room {
        return Err(ApiError::too_large(format!(
            "{} holds uploads of {} MiB, which is all it may; delete some there",
            uploads.display(),
            room >> 20
        )));
    }
    let folder = uploads.join(random_text().map_err(|error| ApiError::failed(&error))?);
    let incoming = Incoming::create(&uploads)?;
    incoming.receive(body, app.max_file_bytes).await?;
    let max_bytes = app.max_file_bytes;
    let turn = Arc::clone(&app.reading_uploads).acquire_owned().await;
    let turn = turn.map_err(|_| ApiError::busy("the server is stopping"))?;
    let work = reading(turn, move || -> ApiResult<PathBuf> {
        let root = incoming.path().parent().unwrap_or(FilePath::new("."));
        Study::read(incoming.path(), None, max_bytes, root)
            .map_err(|error| renamed(error, &named.name))?;
        create_folder(&folder)?;
        let path = folder.join(name);
        incoming.keep(&path)?;
        Ok(path)
    });
    let path = work.await.context("the upload failed")??;
    let case = app.catalog.add_upload(&path, &uploads)?;
    Ok(respond::json(
        &json!({ "id": case.id, "name": case.name, "bytes": case.bytes }),
    ))
}

/// Takes labels to compare a case with.
pub(super) async fn reference(
    State(app): State<Arc<App>>,
    Path(case): Path<String>,
    headers: HeaderMap,
    Parameters(named): Parameters<Named>,
    body: Body,
) -> ApiResult {
    let open = app.case_to_change(&case, &headers).await?;
    check_declared(&headers, app.max_file_bytes)?;
    let lower = named.name.to_lowercase();
    let ending = ENDINGS.into_iter().find(|ending| lower.ends_with(ending));
    let ending = ending.ok_or_else(|| unknown_ending(&named.name))?;
    let folder = app.folders.work.join("cases").join(&case);
    let incoming = Incoming::create(&folder)?;
    incoming.receive(body, app.max_file_bytes).await?;
    let max_bytes = app.max_file_bytes;
    let labels = app.change(&open, move |open, _| {
        let names = std::collections::BTreeMap::new();
        let reference =
            Reference::read(incoming.path(), &open.study, &names, max_bytes).map_err(|error| {
                ApiError::unreadable(hide_path(
                    &one_line(error.as_ref()),
                    incoming.path(),
                    &named.name,
                ))
            })?;
        for other in ENDINGS {
            let _ = std::fs::remove_file(folder.join(format!("{UPLOADED}{other}")));
        }
        incoming.keep(&folder.join(format!("{UPLOADED}{ending}")))?;
        let labels = reference.labels();
        open.set_reference(reference);
        Ok(labels)
    });
    Ok(respond::json(&json!({ "labels": labels.await? })))
}

#[derive(Deserialize)]
pub(super) struct Wanted {
    format: String,
}

/// The annotation as a file.
pub(super) async fn export(
    State(app): State<Arc<App>>,
    Path(case): Path<String>,
    Parameters(wanted): Parameters<Wanted>,
) -> ApiResult {
    let open = app.case(&case).await?;
    let work = app.folders.work.clone();
    let lists = Arc::clone(&app);
    let file = app.change(&open, move |open, store| {
        let annotation = open.for_files(store.annotation(), &lists.labels)?;
        export::file(&wanted.format, open, &annotation, &work)
    });
    let export::File {
        name,
        kind,
        bytes,
        notes,
    } = file.await?;
    let mut response = respond::download(&name, kind, bytes);
    respond::add_notes(&mut response, &notes);
    Ok(response)
}

/// Refuses a file that says it is too large before any of it is taken.
fn check_declared(headers: &HeaderMap, max_bytes: u64) -> ApiResult<()> {
    let declared = headers
        .get(axum::http::header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if declared.is_some_and(|bytes| bytes > max_bytes) {
        return Err(over(max_bytes));
    }
    Ok(())
}

fn over(max_bytes: u64) -> ApiError {
    ApiError::too_large(format!(
        "the file is larger than {} MiB; start the server with a larger --max-file",
        max_bytes >> 20
    ))
}

fn checked_name(name: &str) -> ApiResult<String> {
    if has_ending(name) {
        Ok(plain(name))
    } else {
        Err(unknown_ending(name))
    }
}

fn unknown_ending(name: &str) -> ApiError {
    ApiError::unreadable(format!(
        "{:?} is not an image that can be read here; {} can",
        name.chars().take(80).collect::<String>(),
        ENDINGS.join(", ")
    ))
}

/// Errors name the file that was sent, not where it lay meanwhile.
fn renamed(error: synthfm_image::Error, name: &str) -> ApiError {
    let path = match &error {
        synthfm_image::Error::Format { path, .. }
        | synthfm_image::Error::Unsupported { path, .. }
        | synthfm_image::Error::Limit { path, .. }
        | synthfm_image::Error::Io { path, .. } => path.clone(),
        _ => PathBuf::new(),
    };
    let mut error = ApiError::from(error);
    error.message = hide_path(&error.message, &path, name);
    error
}

fn hide_path(message: &str, path: &FilePath, name: &str) -> String {
    let path = path.display().to_string();
    if path.is_empty() {
        message.to_owned()
    } else {
        message.replace(&path, &name.chars().take(80).collect::<String>())
    }
}

/// Bytes of all uploads.
fn folder_bytes(uploads: &FilePath) -> u64 {
    let entries = |path: &FilePath| std::fs::read_dir(path).into_iter().flatten().flatten();
    // Files of uploads lie in folders of their own, those that are arriving beside them.
    entries(uploads)
        .flat_map(|entry| entries(&entry.path()).chain([entry]).collect::<Vec<_>>())
        .filter_map(|file| file.metadata().ok().filter(std::fs::Metadata::is_file))
        .map(|metadata| metadata.len())
        .sum()
}

/// A file that arrives; gone unless it is kept.
struct Incoming {
    file: tempfile::NamedTempFile,
}

impl Incoming {
    fn create(folder: &FilePath) -> ApiResult<Self> {
        create_folder(folder)?;
        let file = tempfile::Builder::new()
            .prefix(INCOMING)
            .tempfile_in(folder)
            .with_context(|| format!("writing to {}", folder.display()))?;
        Ok(Self { file })
    }

    fn path(&self) -> &FilePath {
        self.file.path()
    }

    /// Writes what comes, as long as it comes steadily and is not too much.
    async fn receive(&self, body: Body, max_bytes: u64) -> ApiResult<()> {
        let file = self.file.reopen().context("writing the upload")?;
        let mut file = tokio::fs::File::from_std(file);
        let mut chunks = body.into_data_stream();
        let mut received = 0;
        let started = Instant::now();
        while let Some(chunk) = next(&mut chunks).await? {
            received += chunk.len() as u64;
            if received > max_bytes {
                return Err(over(max_bytes));
            }
            let late = started.elapsed().saturating_sub(MAX_SILENCE);
            if received < late.as_secs() * LEAST_RATE {
                return Err(too_slow("the upload comes too slowly"));
            }
            file.write_all(&chunk).await.context("writing the upload")?;
        }
        file.flush().await.context("writing the upload")?;
        file.sync_all().await.context("writing the upload")?;
        if received == 0 {
            return Err(bad("the file is empty"));
        }
        Ok(())
    }

    fn keep(self, path: &FilePath) -> ApiResult<()> {
        let kept = self.file.persist(path).map_err(|error| error.error);
        kept.with_context(|| format!("writing {}", path.display()))?;
        let folder = path.parent().unwrap_or(FilePath::new("."));
        sync_folder(folder).with_context(|| format!("writing {}", path.display()))?;
        Ok(())
    }
}

async fn next(chunks: &mut axum::body::BodyDataStream) -> ApiResult<Option<Bytes>> {
    match tokio::time::timeout(MAX_SILENCE, chunks.next()).await {
        Ok(Some(Ok(chunk))) => Ok(Some(chunk)),
        Ok(None) => Ok(None),
        Ok(Some(Err(_))) => Err(bad("the upload broke off")),
        Err(_) => Err(too_slow("the upload stood still for too long")),
    }
}

fn too_slow(message: &str) -> ApiError {
    ApiError::new(axum::http::StatusCode::REQUEST_TIMEOUT, "too_slow", message)
}

/// Removes what a server that was killed left of files that were arriving.
pub(crate) fn remove_leftovers(folders: &[PathBuf]) {
    let entries = folders
        .iter()
        .filter_map(|folder| std::fs::read_dir(folder).ok());
    for entry in entries.flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(INCOMING) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}
