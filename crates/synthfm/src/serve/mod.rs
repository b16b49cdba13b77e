//! `synthfm serve`: the annotator in the browser, and the blinded review.
//!
//! [`annotation`] is the work on one case and its journal; [`engine`] is the model with its queue; [`desk`] holds the
//! open cases; [`api`] is what pages and programs talk to; [`guard`] decides who may. The page lies in `page/` and is
//! part of the binary. `docs/serve.md` explains the whole.

mod annotation;
mod api;
mod app;
mod args;
mod assets;
mod catalog;
mod desk;
mod engine;
mod error;
mod events;
mod export;
mod guard;
mod http;
mod palette;
mod reference;
mod respond;
mod review;
mod sessions;
mod study;

use std::fs::{File, OpenOptions, TryLockError};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use axum::Router;
use axum::middleware::from_fn_with_state;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::watch;

pub(crate) use args::ServeArgs;

use crate::interrupt;
use crate::model::Model;
use crate::output::{Session, create_folder};
use app::{App, Folders};
use catalog::Catalog;
use desk::Desk;
use engine::Engine;
use error::ApiError;
use events::Events;
use guard::Guard;
use sessions::{Sessions, random_text};

/// The folder of annotations where the command line names none.
const WORK_FOLDER: &str = "synthfm-annotations";
/// Threads that serve requests; the model has its own.
const SERVING_THREADS: usize = 4;

/// Serves until Ctrl-C.
pub(crate) fn run(args: &ServeArgs, session: &Session) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(SERVING_THREADS)
        .max_blocking_threads(16)
        .enable_all()
        .build()
        .context("starting the server's threads")?;
    if args.review {
        return runtime.block_on(review::run(args, session));
    }
    runtime.block_on(annotate(args, session))
}

async fn annotate(args: &ServeArgs, session: &Session) -> Result<()> {
    let folders = folders(args)?;
    let _lock = lock_folder(&folders.work)?;
    let listener = listen(args).await?;
    let max_file_bytes = args.max_file << 20;
    let catalog = Catalog::open(
        args.path.as_deref(),
        &folders.work,
        &folders.uploads,
        max_file_bytes,
    )?;
    let left_out = catalog.left_out();
    if left_out > 0 {
        session.note(&format!(
            "note: {left_out} files were left out (too many, too deep, or links out of the folder)"
        ));
    }
    if catalog.len() == 0 && args.path.is_some() {
        let endings = catalog::ENDINGS.join(", ");
        session.note(&format!(
            "note: no image found ({endings}); files can be dropped into the page"
        ));
    }
    let model = Model::open(args.model.as_deref())?;
    let predictor = model.predictor(session, args.precision)?;
    let predictor = args.cache.attach(predictor, session)?;
    let events = Arc::new(Events::new());
    let (stopped, watch) = watch::channel(false);
    let app = Arc::new(App {
        title: title(args),
        model: model.record()?,
        catalog,
        desk: Desk::new(folders.work.join("cases"), max_file_bytes),
        sessions: Arc::new(Sessions::default()),
        engine: Engine::start(&predictor, Arc::clone(&events))?,
        events,
        folders,
        max_file_bytes,
        stopped: watch,
    });
    let router = api::router(Arc::clone(&app)).merge(assets::annotator());
    serve(listener, router, args, session, stopped).await?;
    app.desk.close();
    Ok(())
}

/// Serves a router behind the guard until Ctrl-C, after saying where.
async fn serve(
    listener: TcpListener,
    router: Router,
    args: &ServeArgs,
    session: &Session,
    stopped: watch::Sender<bool>,
) -> Result<()> {
    let stop = interrupt::flag()?;
    let address = listener.local_addr().context("listening")?;
    let token = match &args.token {
        None if !args.host.is_loopback() => Some(random_text()?),
        given => given.clone(),
    };
    announce(address, token.as_deref(), session)?;
    let guard = Arc::new(Guard::new(token));
    let router = router
        .fallback(nothing_here)
        .layer(from_fn_with_state(guard, guard::check));
    http::serve(listener, router, stop, stopped).await;
    session.note("stopped; everything is saved");
    Ok(())
}

async fn nothing_here() -> ApiError {
    ApiError::missing("there is nothing at this address")
}

fn announce(address: SocketAddr, token: Option<&str>, session: &Session) -> Result<()> {
    let base = format!("http://{address}/");
    let entry = match token {
        Some(token) => format!("{base}?token={token}"),
        None => base.clone(),
    };
    let value = json!({ "url": entry, "address": base, "token": token });
    session.print(&value, || format!("open {entry} in a browser; Ctrl-C ends"))?;
    if !address.ip().is_loopback() {
        session.note("note: the connection is not encrypted; use it in networks that you trust, or through SSH");
    }
    Ok(())
}

async fn listen(args: &ServeArgs) -> Result<TcpListener> {
    let address = SocketAddr::new(args.host, args.port);
    let listening = TcpListener::bind(address).await;
    listening.with_context(|| format!("listening at {address}; try another --port"))
}

/// The name of what was opened.
fn title(args: &ServeArgs) -> String {
    let path = args.path.as_deref().map(|path| {
        let full = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let name = full.file_name().unwrap_or(full.as_os_str());
        name.to_string_lossy().into_owned()
    });
    path.unwrap_or_else(|| "uploads".to_owned())
}

/// The folders that the server writes to, made and with their links resolved.
fn folders(args: &ServeArgs) -> Result<Folders> {
    let work = match (&args.work, &args.path) {
        (Some(work), _) => work.clone(),
        (None, None) => PathBuf::from(WORK_FOLDER),
        (None, Some(path)) if path.is_dir() => path.join(WORK_FOLDER),
        (None, Some(path)) if path.exists() => match path.parent() {
            Some(folder) => folder.join(WORK_FOLDER),
            None => PathBuf::from(WORK_FOLDER),
        },
        (None, Some(path)) => bail!("{}: no such file or folder", path.display()),
    };
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

/// Two servers on one folder would overwrite each other's work.
fn lock_folder(work: &Path) -> Result<File> {
    let path = work.join(".lock");
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
