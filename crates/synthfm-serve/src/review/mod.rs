//! The blinded review: raters are shown real and synthetic images in random order and say which is which.
//!
//! The truth is not told before a rater has judged all images. A review goes on where it was left: its plan and
//! all answers lie in the folder of `--work`.

mod answers;
mod plan;
mod statistics;

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, bail};
use axum::Router;
use axum::extract::{Query, State};
use axum::routing::get;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::{Semaphore, watch};

use super::error::{ApiError, ApiResult};
use super::reading::reading;
use super::respond::{self, Json};
use super::{ReviewOptions, Terminal, assets, check_work_folder, listen, lock_folder, serve};
use answers::{Answers, rater_name};
use plan::{Item, Kind, Plan, Source, picture};
use synthfm_image::{create_folder, write_json};

/// The folder of answers where the command line names none.
const WORK_FOLDER: &str = "synthfm-review";
const PLAN: &str = "plan.json";
/// Longest time that counts for one image: whoever went for lunch comes back to the same one.
const MAX_SECONDS: f64 = 3600.0;
/// Images that are read at once.
const MAX_READING: usize = 2;

struct Review {
    plan: Plan,
    sources: [Source; 2],
    answers: Mutex<Answers>,
    max_file_bytes: u64,
    reading: Arc<Semaphore>,
}

/// Serves the review until `stop` is set.
pub(super) async fn run(
    options: &ReviewOptions,
    stop: Arc<AtomicBool>,
    terminal: &dyn Terminal,
) -> Result<()> {
    let work = options.work.clone();
    let work = work.unwrap_or_else(|| PathBuf::from(WORK_FOLDER));
    check_work_folder(&work, &[PLAN])?;
    create_folder(&work)?;
    let work = work
        .canonicalize()
        .with_context(|| work.display().to_string())?;
    let _lock = lock_folder(&work)?;
    let sources = [
        Source::open(Kind::Real, &options.real, &work, options.max_file_bytes)?,
        Source::open(
            Kind::Synthetic,
            &options.synthetic,
            &work,
            options.max_file_bytes,
        )?,
    ];
    let plan = planned(options, &sources, &work)?;
    terminal.note(&format!(
        "{} images; answers go to {}",
        plan.items.len(),
        work.display()
    ));
    let listener = listen(&options.listen).await?;
    let review = Arc::new(Review {
        plan,
        sources,
        answers: Mutex::new(Answers::open(&work)?),
        max_file_bytes: options.max_file_bytes,
        reading: Arc::new(Semaphore::new(MAX_READING)),
    });
    let router = Router::new()
        .route("/api/review", get(state).post(answer))
        .route("/api/review/image", get(image))
        .route("/api/review/summary", get(summary))
        .with_state(Arc::clone(&review))
        .merge(assets::review());
    let (stopped, _watch) = watch::channel(false);
    serve(listener, router, &options.listen, (stop, stopped), terminal).await?;
    review.answers().write_summary(&review.plan)
}

/// The plan of the command line, which must be the one that the folder has answers to.
fn planned(options: &ReviewOptions, sources: &[Source; 2], work: &Path) -> Result<Plan> {
    let most = sources.iter().map(Source::len).min().unwrap_or(0);
    let count = options.count.unwrap_or(most);
    if count > most {
        let names = sources
            .each_ref()
            .map(|source| format!("{} {}", source.len(), source.kind.name()));
        bail!("--count {count}: there are {} images", names.join(" and "));
    }
    let plan = Plan::new(sources, count, options.seed, options.side);
    let path = work.join(PLAN);
    if path.exists() {
        let what = || format!("reading {}", path.display());
        let text = std::fs::read(&path).with_context(what)?;
        let earlier: Plan = serde_json::from_slice(&text).with_context(what)?;
        if earlier != plan {
            bail!(
                "{} belongs to a review of other images, or with another seed, count or side: give the same ones to go \
                 on, or another folder with --work",
                work.display()
            );
        }
    } else {
        write_json(&path, &plan)?;
    }
    Ok(plan)
}

impl Review {
    fn answers(&self) -> std::sync::MutexGuard<'_, Answers> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first image that a rater has not judged, with its number from 1.
    fn next<'a>(&'a self, rater: &str, answers: &Answers) -> Option<(usize, &'a Item)> {
        let given = answers.of(rater);
        let order = self.plan.order_for(rater);
        let open = |item: &&Item| given.iter().all(|answer| answer.id != item.id);
        let item = order.into_iter().find(open)?;
        Some((given.len() + 1, item))
    }

    fn state_of(&self, rater: &str, answers: &Answers) -> Value {
        let next = self.next(rater, answers);
        json!({
            "rater": rater,
            "answered": answers.of(rater).len(),
            "total": self.plan.items.len(),
            "next": next.map(|(number, _)| number),
            "side": self.plan.side,
        })
    }
}

#[derive(Deserialize)]
struct RaterQuery {
    rater: String,
}

impl RaterQuery {
    fn name(&self) -> ApiResult<String> {
        rater_name(&self.rater).map_err(ApiError::bad)
    }
}

/// How far a rater is.
async fn state(State(review): State<Arc<Review>>, Query(asking): Query<RaterQuery>) -> ApiResult {
    let rater = asking.name()?;
    review.answers().check_name(&rater).map_err(ApiError::bad)?;
    let state = review.state_of(&rater, &review.answers());
    Ok(respond::json(&state))
}

/// The image that a rater has to judge next.
async fn image(State(review): State<Arc<Review>>, Query(asking): Query<RaterQuery>) -> ApiResult {
    let rater = asking.name()?;
    let Ok(turn) = Arc::clone(&review.reading).acquire_owned().await else {
        return Err(ApiError::busy("the server is stopping"));
    };
    let shared = Arc::clone(&review);
    let work = reading(turn, move || -> ApiResult<Vec<u8>> {
        let item = shared
            .next(&rater, &shared.answers())
            .map(|(_, item)| item.clone());
        let item = item.ok_or_else(|| ApiError::missing("all images are judged"))?;
        let source = shared
            .sources
            .iter()
            .find(|source| source.kind == item.kind);
        let case = source.and_then(|source| source.case(&item.name));
        let case = case.ok_or_else(|| ApiError::missing("the image is gone"))?;
        // The file's name would tell what it is.
        picture(&case, shared.plan.side, shared.max_file_bytes).map_err(|error| {
            synthfm_image::tell(&format!(
                "warning: {}",
                synthfm_image::one_line(error.as_ref())
            ));
            ApiError::unreadable("this image cannot be read; the server's standard error says why")
        })
    });
    let bytes = work.await.context("reading the image failed")??;
    Ok(respond::bytes("image/png", bytes))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Judgement {
    rater: String,
    /// Counted from 1; guards against an answer that is sent twice.
    number: usize,
    answer: Kind,
    #[serde(default)]
    seconds: f64,
}

async fn answer(State(review): State<Arc<Review>>, Json(judgement): Json<Judgement>) -> ApiResult {
    let Judgement {
        rater,
        number,
        answer,
        seconds,
    } = judgement;
    let rater = rater_name(&rater).map_err(ApiError::bad)?;
    let work = tokio::task::spawn_blocking(move || -> ApiResult<Value> {
        let mut answers = review.answers();
        answers.check_name(&rater).map_err(ApiError::bad)?;
        let next = review.next(&rater, &answers);
        let (_, item) = next
            .filter(|(open, _)| *open == number)
            .ok_or_else(|| ApiError::conflict("answered", "this image has an answer already"))?;
        let seconds = if seconds.is_finite() {
            seconds.clamp(0.0, MAX_SECONDS)
        } else {
            0.0
        };
        answers.add(&rater, item, answer, seconds)?;
        let state = review.state_of(&rater, &answers);
        if state["next"].is_null() {
            answers.write_summary(&review.plan)?;
        }
        Ok(state)
    });
    Ok(respond::json(&work.await.context("saving failed")??))
}

/// The figures of a rater who has judged everything.
async fn summary(State(review): State<Arc<Review>>, Query(asking): Query<RaterQuery>) -> ApiResult {
    let rater = asking.name()?;
    let answers = review.answers();
    if review.next(&rater, &answers).is_some() {
        return Err(ApiError::conflict(
            "not_done",
            "the result is shown when all images are judged",
        ));
    }
    Ok(respond::json(&answers.summary_of(&rater, &review.plan)))
}
