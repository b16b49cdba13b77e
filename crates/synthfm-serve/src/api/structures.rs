//! The list of a case's structures, and the list of all cases that it keeps up to date.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::HeaderMap;
use serde::Deserialize;
use serde_json::json;

use super::bad;
use super::cases::{first_structures, listed};
use super::edits::history;
use crate::annotation::{Change, Progress, Step, Store, Structure, is_background};
use crate::app::App;
use crate::catalog::CaseId;
use crate::desk::OpenCase;
use crate::error::{ApiError, ApiResult};
use crate::export;
use crate::labels::{LabelLists, Relisted};
use crate::palette;
use crate::respond::{self, Json};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Listed {
    /// Left out for a new structure.
    #[serde(default)]
    id: Option<u16>,
    name: String,
    #[serde(default)]
    colour: Option<String>,
}

/// Where a structure gets its new name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Scope {
    /// On all cases that have one of the old name.
    All,
    /// On this case.
    Case,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Listing {
    structures: Vec<Listed>,
    /// Needed where a name changes that other cases have.
    #[serde(default)]
    rename: Option<Scope>,
}

/// A name that became another one.
#[derive(Debug, Clone)]
struct Renamed {
    from: String,
    to: String,
}

/// Replaces the list of structures: adds, renames, recolours, reorders, deletes.
pub(super) async fn structures(
    State(app): State<Arc<App>>,
    Path(case): Path<String>,
    headers: HeaderMap,
    Json(listing): Json<Listing>,
) -> ApiResult {
    let open = app.case_to_change(&case, &headers).await?;
    let everywhere = listing.rename == Some(Scope::All);
    let shared = Arc::clone(&app);
    let work = app.change(&open, move |open, store| {
        let before = store.annotation().structures().to_vec();
        let after = resolved(open, store, listing.structures, &shared.labels)?;
        check_names(&before, &after)?;
        let renamed = renamed(&before, &after);
        let others = others(&shared, open, &renamed);
        if let (Some((name, cases)), None) = (others.first(), listing.rename) {
            return Err(ApiError::conflict(
                "rename",
                format!(
                    "{} of the other cases have {name:?} too: say with \"rename\" whether it gets its new name on \
                     all cases (\"all\") or on this one (\"case\")",
                    cases.len()
                ),
            ));
        }
        if everywhere {
            for Renamed { from, to } in &renamed {
                store.rename(from, to).map_err(|error| bad_step(&error))?;
            }
        }
        relist(store, after)?;
        let relisted = learn(open, store, &shared.labels, &before, everywhere)?;
        let ids: BTreeSet<CaseId> = others.into_iter().flat_map(|(_, ids)| ids).collect();
        Ok((renamed, ids, relisted))
    });
    let (renamed, ids, relisted) = work.await?;
    let mut notes = Vec::new();
    if everywhere {
        notes = rename_on(&app, ids, &renamed).await;
    }
    if relisted {
        spread(&app, &open).await?;
    }
    let shared = Arc::clone(&app);
    let answer = app.change(&open, move |open, store| {
        let mut answer = history(store);
        answer["structures"] = listed(open, store.annotation(), &shared.labels);
        answer["labels"] = json!(open.labels(&shared.labels));
        answer["notes"] = json!(notes);
        Ok(answer)
    });
    Ok(respond::json(&answer.await?))
}

/// Makes the step to a list, if it is another one.
fn relist(store: &mut Store, after: Vec<Structure>) -> ApiResult<()> {
    let before = store.annotation().structures().to_vec();
    if after == before {
        return Ok(());
    }
    let what = match after.len().cmp(&before.len()) {
        std::cmp::Ordering::Greater => "new structure",
        std::cmp::Ordering::Less => "delete structure",
        std::cmp::Ordering::Equal => "change structure",
    };
    let step = Step::new(what, vec![Change::Structures { before, after }]);
    store.apply(step).map_err(|error| bad_step(&error))
}

/// A list that cannot be is the asker's to change.
fn bad_step(error: &anyhow::Error) -> ApiError {
    ApiError::bad(synthfm_image::one_line(error.as_ref()))
}

/// Keeps what has become of the structures of a case for the next cases; whether the list of all cases has changed.
pub(super) fn learn(
    open: &OpenCase,
    store: &Store,
    lists: &LabelLists,
    before: &[Structure],
    everywhere: bool,
) -> ApiResult<bool> {
    let after = store.annotation().structures();
    if after == before {
        return Ok(false);
    }
    let change = Relisted {
        before,
        after,
        everywhere,
    };
    let is_empty = |id| !store.annotation().is_marked(id);
    Ok(lists.learn(open.source(), &open.case.id, change, is_empty)?)
}

/// Refuses names that files could not tell apart. Those that were there before stay.
fn check_names(before: &[Structure], after: &[Structure]) -> ApiResult<()> {
    let is_kept = |s: &Structure| before.iter().any(|b| b.id == s.id && b.name == s.name);
    for (n, structure) in after.iter().enumerate() {
        let name = &structure.name;
        let twin = after[..n].iter().find(|other| other.name == *name);
        if twin.is_some_and(|twin| !is_kept(structure) || !is_kept(twin)) {
            return Err(bad(format!(
                "this case has a structure called {name:?} already: choose another name"
            )));
        }
        if is_background(name) && !is_kept(structure) {
            return Err(bad(format!(
                "{name:?} is the name of the value 0 in label maps: choose another name"
            )));
        }
    }
    Ok(())
}

fn renamed(before: &[Structure], after: &[Structure]) -> Vec<Renamed> {
    let pair = |old: &Structure| {
        let new = after.iter().find(|new| new.id == old.id)?;
        (new.name != old.name).then(|| Renamed {
            from: old.name.clone(),
            to: new.name.clone(),
        })
    };
    before.iter().filter_map(pair).collect()
}

/// The other cases that have the former names, by name; names that none has are left out.
fn others(app: &App, open: &OpenCase, renamed: &[Renamed]) -> Vec<(String, Vec<CaseId>)> {
    let cases = |Renamed { from, .. }: &Renamed| {
        let mut ids = app.labels.elsewhere(open.source(), &open.case.id, from);
        // Cases whose files have gone are nobody's.
        ids.retain(|id| app.catalog.get(id).is_some());
        (!ids.is_empty()).then(|| (from.clone(), ids))
    };
    renamed.iter().filter_map(cases).collect()
}

/// Gives structures of other cases their new names; what could not be done in words.
async fn rename_on(app: &Arc<App>, ids: BTreeSet<CaseId>, renamed: &[Renamed]) -> Vec<String> {
    let (mut notes, count) = (Vec::new(), ids.len());
    for (n, id) in ids.into_iter().enumerate() {
        let name = app
            .catalog
            .get(&id)
            .map_or_else(|| id.clone(), |case| case.name);
        if let Err(error) = rename_in(app, &id, renamed.to_vec()).await {
            notes.push(format!("{name}: {}", error.message));
        }
        let progress = json!({ "done": n + 1, "of": count });
        app.events.send_to_all("rename", &progress);
    }
    notes
}

/// Gives structures of a case their new names, in its label file too where it is done.
async fn rename_in(app: &Arc<App>, id: &CaseId, renamed: Vec<Renamed>) -> ApiResult<()> {
    let open = app.case(id).await?;
    let shared = Arc::clone(app);
    let work = app.change(&open, move |open, store| {
        let mut any = false;
        for Renamed { from, to } in &renamed {
            any |= store.rename(from, to).map_err(|error| bad_step(&error))?;
        }
        if any && store.annotation().progress() == Progress::Done {
            let annotation = open.for_files(store.annotation(), &shared.labels)?;
            export::write_labels(&shared.folders.labels, open, &annotation)?;
        }
        Ok(())
    });
    work.await?;
    app.events.send("structures", id, json!({}));
    Ok(())
}

/// Gives the other open cases of which nothing is marked yet the changed list.
pub(super) async fn spread(app: &Arc<App>, changed: &Arc<OpenCase>) -> ApiResult<()> {
    for open in app.desk.opened() {
        let is_concerned = open.source().set == changed.source().set;
        if !is_concerned || open.case.id == changed.case.id {
            continue;
        }
        let shared = Arc::clone(app);
        let work = app.change(&open, move |open, store| {
            let structures = first_structures(&open.labels(&shared.labels));
            let differs = structures != store.annotation().structures();
            let is_new = store.is_untouched() && differs;
            if is_new {
                store.seed(structures)?;
            }
            Ok(is_new)
        });
        if work.await? {
            app.events.send("structures", &open.case.id, json!({}));
        }
    }
    Ok(())
}

/// The listed structures, new ones with an identifier and a colour: those of their label where the list of all cases has
/// one of the name, else ones that no label has or had.
fn resolved(
    open: &OpenCase,
    store: &Store,
    listed: Vec<Listed>,
    lists: &LabelLists,
) -> ApiResult<Vec<Structure>> {
    let (annotation, labels) = (store.annotation(), open.labels(lists));
    let mut used = annotation.used_ids();
    let taken = lists.used_values(open.source());
    let mut after: Vec<Structure> = Vec::new();
    for Listed { id, name, colour } in listed {
        let name = name.trim().to_owned();
        let label = labels.iter().find(|label| label.name == name);
        let is_new = id.is_none();
        let id = match (id, label) {
            (Some(id), _) => annotation.structure(id).map_err(bad)?.id,
            (None, Some(label)) if !used.contains(&label.value) => label.value,
            (None, _) => (1..=u16::MAX)
                .find(|id| !used.contains(id) && !taken.contains(id))
                .ok_or_else(|| bad("no identifier is left"))?,
        };
        used.insert(id);
        if after.iter().any(|other| other.id == id) {
            return Err(bad(format!("structure {id} is listed twice")));
        }
        let own = label.filter(|_| is_new).map(|label| label.colour.clone());
        let structures = annotation.structures().iter().chain(&after);
        let colours = structures.map(|s| s.colour.as_str());
        let colours: BTreeSet<&str> = colours
            .chain(labels.iter().map(|l| l.colour.as_str()))
            .collect();
        let free = || palette::free_colour(id, &colours).to_owned();
        let colour = colour.or(own).unwrap_or_else(free);
        let structure = Structure { id, name, colour };
        structure.check().map_err(bad)?;
        after.push(structure);
    }
    Ok(after)
}
