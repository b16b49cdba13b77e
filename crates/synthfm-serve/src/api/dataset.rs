//! All finished cases as one file.

use std::sync::Arc;

use anyhow::Context;
use axum::extract::State;
use serde_json::json;

use crate::app::App;
use crate::error::{ApiError, ApiResult};
use crate::nnunet::{DataSet, choose};
use crate::respond;

/// The cases that are done as a data set in nnU-Net's form; events of the kind `export` tell how far it is.
pub(super) async fn export_all(State(app): State<Arc<App>>) -> ApiResult {
    let cases = app.catalog.done();
    if cases.is_empty() {
        return Err(ApiError::conflict(
            "nothing",
            "no case is done yet: mark a case as done first",
        ));
    }
    // One at a time: each takes the memory of all label files' values.
    let Ok(_turn) = app.exporting.acquire().await else {
        return Err(ApiError::busy("the server is stopping"));
    };
    let chosen = choose(&app.catalog.all(), cases);
    let mut data_set = DataSet::new(&app.folders, &chosen)?;
    let count = chosen.cases.len();
    for (n, case) in chosen.cases.into_iter().enumerate() {
        let name = case.name.clone();
        let (set, problem) = add(&app, case, data_set).await?;
        data_set = set;
        if let Some(problem) = problem {
            data_set.note(format!("{name} is left out: {problem}"));
        }
        app.events
            .send_to_all("export", &json!({ "done": n + 1, "of": count }));
    }
    if data_set.len() == 0 {
        return Err(ApiError::unreadable(data_set.notes().join("; ")));
    }
    let notes = data_set.notes();
    let zipped = tokio::task::spawn_blocking(move || data_set.zipped()).await;
    let bytes = zipped.context("the export failed")??;
    let mut response = respond::download("nnunet.zip", "application/zip", bytes);
    respond::add_notes(&mut response, &notes);
    Ok(response)
}

/// Adds a case; a problem in words where it cannot be read.
async fn add(
    app: &Arc<App>,
    case: crate::catalog::Case,
    mut data_set: DataSet,
) -> ApiResult<(DataSet, Option<String>)> {
    let open = match app.desk.open(case).await {
        Ok(open) => open,
        Err(error) => return Ok((data_set, Some(error.message))),
    };
    let lists = Arc::clone(app);
    let work = tokio::task::spawn_blocking(move || {
        let store = open.store();
        let annotation = open.for_files(store.annotation(), &lists.labels)?;
        let list = open.labels(&lists.labels);
        data_set.add(&open, &annotation, &list)?;
        drop(store);
        anyhow::Ok(data_set)
    });
    Ok((work.await.context("the export failed")??, None))
}
