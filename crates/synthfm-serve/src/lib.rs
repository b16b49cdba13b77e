//! The annotator in the browser, and the blinded review of synthetic images.
//!
//! `annotation` is the work on one case and its journal; `engine` is the model with its queue; `desk` holds the open
//! cases; `api` is what pages and programs talk to; `guard` decides who may. The page lies in `page/` and is part of the
//! program. `docs/serve.md` explains the whole.

mod annotation;
mod api;
mod app;
mod assets;
mod catalog;
mod desk;
mod directions;
mod engine;
mod error;
mod events;
mod export;
mod guard;
mod http;
mod labels;
mod nnunet;
mod options;
mod palette;
mod reading;
mod reference;
mod respond;
mod review;
mod sessions;
mod study;
mod surface;
mod viewers;

use std::fs::{self, File, OpenOptions, TryLockError};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use axum::Router;
use axum::middleware::from_fn_with_state;
use serde_json::json;
use synthfm_image::create_folder;
use synthfm_sam::Predictor;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

pub use directions::edge_letters;
pub use options::{Listen, ModelRecord, ReviewOptions, ServeOptions, Terminal, parse_token};

use app::{App, Folders};
use catalog::Catalog;
use desk::OpenCases;
use engine::Engine;
use error::ApiError;
use events::Events;
use guard::Guard;
use labels::LabelLists;
use sessions::{Sessions, random_text};

/// The folder of annotations where the command line names none.
const WORK_FOLDER: &str = "synthfm-annotations";
/// A file in the folder of annotations that a server holds locked while it runs, and leaves.
const LOCK: &str = ".lock";
/// Threads that serve requests; the model has its own.
const SERVING_THREADS: usize = 4;
/// Threads that read and write files. Reading has a share of them, so that saving always finds one.
const FILE_THREADS: usize = 32;
/// Uploads that are read at once.
const READING_UPLOADS: usize = 2;
/// Slices that are copied for clients at once.
const COPYING_SLICES: usize = 16;
/// Pause between two looks at the opened folder, and how many times longer than a look it is at least.
const LOOK_EVERY: Duration = Duration::from_secs(2);
const LOOK_SHARE: u32 = 20;
/// Time for the work of these threads once the server has stopped. What is saved is on the disk by then.
const LAST_WORK: Duration = Duration::from_secs(1);

/// Version of the program, for its answers and files.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Serves the annotator until `stop` is set. `open_model` is called once the folder and the address are known to be
/// good, because a large model takes a while to read.
pub fn annotate(
    options: &ServeOptions,
    open_model: impl FnOnce() -> Result<(Predictor, ModelRecord)>,
    stop: Arc<AtomicBool>,
    terminal: &dyn Terminal,
) -> Result<()> {
    let runtime = runtime()?;
    let done = runtime.block_on(annotator(options, open_model, stop, terminal));
    runtime.shutdown_timeout(LAST_WORK);
    done
}

/// Serves the blinded review until `stop` is set.
pub fn review(
    options: &ReviewOptions,
    stop: Arc<AtomicBool>,
    terminal: &dyn Terminal,
) -> Result<()> {
    let runtime = runtime()?;
    let done = runtime.block_on(review::run(options, stop, terminal));
    runtime.shutdown_timeout(LAST_WORK);
    done
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(SERVING_THREADS)
        .max_blocking_threads(FILE_THREADS)
        .enable_all()
        .build()
        .context("starting the server's threads")
}

async fn annotator(
    options: &ServeOptions,
    open_model: impl FnOnce() -> Result<(Predictor, ModelRecord)>,
    stop: Arc<AtomicBool>,
    terminal: &dyn Terminal,
) -> Result<()> {
    let folders = folders(options)?;
    let _lock = lock_folder(&folders.work)?;
    let mut arriving = vec![folders.uploads.clone()];
    arriving.extend(catalog::case_folders(&folders.work.join("cases")));
    api::remove_leftovers(&arriving);
    let listener = listen(&options.listen).await?;
    let catalog = Catalog::open(
        options.path.as_deref(),
        &folders.work,
        &folders.uploads,
        options.max_file_bytes,
    )?;
    let left_out = catalog.left_out();
    if left_out > 0 {
        terminal.note(&format!(
            "note: {left_out} files were left out (too many, too deep, or links out of the folder)"
        ));
    }
    if catalog.len() == 0 && options.path.is_some() {
        let endings = catalog::ENDINGS.join(", ");
        terminal.note(&format!(
            "note: no image found ({endings}); files can be dropped into the page"
        ));
    }
    let labels = LabelLists::open(options.labels.as_deref(), &folders.work)?;
    for note in labels.notes() {
        terminal.note(&format!("note: {note}"));
    }
    let (predictor, model) = open_model()?;
    let events = Arc::new(Events::new());
    let (stopped, watch) = watch::channel(false);
    let app = Arc::new(App {
        title: title(options),
        model,
        catalog,
        labels,
        desk: OpenCases::new(folders.work.join("cases"), options.max_file_bytes),
        sessions: Arc::new(Sessions::default()),
        engine: Engine::start(&predictor, options.kept_bytes, Arc::clone(&events))?,
        events,
        folders,
        max_file_bytes: options.max_file_bytes,
        reading_uploads: Arc::new(Semaphore::new(READING_UPLOADS)),
        copying_slices: Arc::new(Semaphore::new(COPYING_SLICES)),
        exporting: Semaphore::new(1),
        stopped: watch,
    });
    tokio::spawn(watch_folder(Arc::clone(&app)));
    let router = api::router(Arc::clone(&app))
        .merge(assets::annotator())
        .merge(viewers::router(
            Arc::clone(&app),
            options.sessions,
            options.verbose,
        ));
    serve(listener, router, &options.listen, (stop, stopped), terminal).await?;
    app.desk.close();
    Ok(())
}

/// Lists the opened folder again when files in it have changed and are no longer changing, and tells the pages.
async fn watch_folder(app: Arc<App>) {
    let look = |app: &Arc<App>| {
        let app = Arc::clone(app);
        tokio::task::spawn_blocking(move || app.catalog.signature())
    };
    let mut listed = look(&app).await.ok().flatten();
    let mut before = listed;
    while listed.is_some() {
        let started = Instant::now();
        let found = look(&app).await.ok().flatten();
        let pause = LOOK_EVERY.max(started.elapsed() * LOOK_SHARE);
        if found != listed && found == before && found.is_some() {
            let catalog = Arc::clone(&app);
            let changed = tokio::task::spawn_blocking(move || catalog.catalog.refresh()).await;
            match changed {
                Ok(Ok(true)) => app.events.send_to_all("cases", &json!({})),
                Ok(Err(error)) => synthfm_image::tell(&format!(
                    "warning: {}",
                    synthfm_image::one_line(error.as_ref())
                )),
                Ok(Ok(false)) | Err(_) => {}
            }
            listed = found;
        }
        before = found;
        let mut stopped = app.stopped.clone();
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            _ = stopped.wait_for(|stopped| *stopped) => return,
        }
    }
}

/// Serves a router behind the guard until the flag is set, after saying where; then tells the watch.
async fn serve(
    listener: TcpListener,
    router: Router,
    listen: &Listen,
    (stop, stopped): (Arc<AtomicBool>, watch::Sender<bool>),
    terminal: &dyn Terminal,
) -> Result<()> {
    let address = listener.local_addr().context("listening")?;
    let token = match &listen.token {
        None if !listen.host.is_loopback() => Some(random_text()?),
        given => given.clone(),
    };
    announce(address, token.as_deref(), terminal)?;
    let guard = Arc::new(Guard::new(token));
    let router = router
        .fallback(nothing_here)
        .layer(from_fn_with_state(guard, guard::check));
    http::serve(listener, router, stop, stopped).await;
    terminal.note("stopped; everything is saved");
    Ok(())
}

async fn nothing_here() -> ApiError {
    ApiError::missing("there is nothing at this address")
}

fn announce(address: SocketAddr, token: Option<&str>, terminal: &dyn Terminal) -> Result<()> {
    let base = format!("http://{address}/");
    let entry = match token {
        Some(token) => format!("{base}?token={token}"),
        None => base.clone(),
    };
    let value = json!({ "url": entry, "address": base, "token": token });
    terminal.print(&value, &format!("open {entry} in a browser; Ctrl-C ends"))?;
    if !address.ip().is_loopback() {
        terminal.note("note: the connection is not encrypted; use it in networks that you trust, or through SSH");
    }
    Ok(())
}

async fn listen(listen: &Listen) -> Result<TcpListener> {
    let address = SocketAddr::new(listen.host, listen.port);
    let listening = TcpListener::bind(address).await;
    listening.with_context(|| format!("listening at {address}; try another --port"))
}

/// The name of what was opened.
fn title(options: &ServeOptions) -> String {
    let path = options.path.as_deref().map(|path| {
        let full = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let name = full.file_name().unwrap_or(full.as_os_str());
        name.to_string_lossy().into_owned()
    });
    path.unwrap_or_else(|| "uploads".to_owned())
}

/// The folders that the server writes to, made and with their links resolved.
fn folders(options: &ServeOptions) -> Result<Folders> {
    let work = match (&options.work, &options.path) {
        (Some(work), _) => work.clone(),
        (None, None) => PathBuf::from(WORK_FOLDER),
        (None, Some(path)) if path.is_dir() => path.join(WORK_FOLDER),
        (None, Some(path)) if path.exists() => match path.parent() {
            Some(folder) => folder.join(WORK_FOLDER),
            None => PathBuf::from(WORK_FOLDER),
        },
        (None, Some(path)) => bail!("{}: no such file or folder", path.display()),
    };
    if options.work.is_some() {
        check_work_folder(&work, &["cases", "uploads"])?;
    }
    create_folder(&work).context("name a folder that can be written to with --work")?;
    let work = work
        .canonicalize()
        .with_context(|| work.display().to_string())?;
    let [uploads, labels] = ["uploads", "labels"].map(|name| work.join(name));
    create_folder(&uploads)?;
    Ok(Folders {
        work,
        uploads,
        labels,
    })
}

/// Refuses a folder of other files: it must be absent, empty, or hold one of `marks` and a lock, which an earlier server left.
fn check_work_folder(work: &Path, marks: &[&str]) -> Result<()> {
    let Ok(entries) = fs::read_dir(work) else {
        return Ok(());
    };
    let mut names = entries.flatten().map(|entry| entry.file_name());
    let is_ours = work.join(LOCK).exists() && marks.iter().any(|mark| work.join(mark).exists());
    let foreign = names.find(|name| !name.to_string_lossy().starts_with('.'));
    match foreign.filter(|_| !is_ours) {
        Some(name) => bail!(
            "--work {}: the folder holds other files ({}): name an empty or a new one",
            work.display(),
            name.to_string_lossy()
        ),
        None => Ok(()),
    }
}

/// Two servers on one folder would overwrite each other's work.
fn lock_folder(work: &Path) -> Result<File> {
    let path = work.join(LOCK);
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .with_context(|| format!("opening {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => bail!(
            "{} is in use by another synthfm serve; stop that one, or name another folder with --work",
            work.display()
        ),
        Err(TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("locking {}", path.display()))
        }
    }
}
