//! All finished cases as one file.

use std::sync::Arc;

use anyhow::Context;
use axum::extract::State;
use axum::http::HeaderValue;
use serde_json::json;

use crate::app::App;
use crate::error::{ApiError, ApiResult};
use crate::nnunet::DataSet;
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
    let mut data_set = DataSet::new(&app.folders.work)?;
    let (mut left_out, count) = (Vec::new(), cases.len());
    for (n, case) in cases.into_iter().enumerate() {
        let name = case.name.clone();
        match add(&app, case, data_set).await? {
            (set, None) => data_set = set,
            (set, Some(problem)) => {
                data_set = set;
                left_out.push(format!("{name}: {problem}"));
            }
        }
        app.events
            .send_to_all("export", &json!({ "done": n + 1, "of": count }));
    }
    if data_set.len() == 0 {
        return Err(ApiError::unreadable(left_out.join("; ")));
    }
    let zipped = tokio::task::spawn_blocking(move || data_set.zipped()).await;
    let bytes = zipped.context("the export failed")??;
    let mut response = respond::download("nnunet.zip", "application/zip", bytes);
    let notes = left_out
        .join("; ")
        .replace(|c: char| !c.is_ascii() || c.is_control(), "?");
    if let Ok(notes) = HeaderValue::from_str(&notes) {
        response.headers_mut().insert("x-notes", notes);
    }
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
        let list = open.labels(&lists.labels);
        data_set.add(&open, store.annotation(), &list)?;
        drop(store);
        anyhow::Ok(data_set)
    });
    Ok((work.await.context("the export failed")??, None))
}
