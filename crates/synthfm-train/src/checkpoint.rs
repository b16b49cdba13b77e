//! Checkpoints: one folder per saved step, complete or absent.
//!
//! `checkpoints/step-00000500/` holds the model (`model.safetensors`), with an average of the weights also the averaged
//! model (`ema.safetensors`), the optimizer's moments (`optimizer.safetensors`), `state.json`, and the hashes of these
//! files (`hashes.json`), against which they are checked before a run goes on from them. It is written under another
//! name and renamed when all of it is on disk.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use synthfm_image::hex;
use synthfm_image::sync_folder;

use crate::optimizer::{AdamW, AdamWConfig, Moments};
use crate::{Error, Result};

/// Where a run stands.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// Steps done.
    pub step: u64,
    /// Steps whose gradients were not finite and that changed nothing.
    pub skipped: u64,
    /// Training time so far in seconds, over all stretches of the run.
    pub seconds: f64,
    /// SHA-256 of the frozen encoder's parameters; empty if nothing is frozen.
    pub frozen_sha256: String,
    /// SHA-256 of the teacher's weights; empty without one.
    #[serde(default)]
    pub teacher_sha256: String,
    /// The best validation so far; absent without one.
    #[serde(default)]
    pub best: Option<Best>,
    /// Steps that went into the average of the weights.
    #[serde(default)]
    pub ema_updates: u64,
}

/// The step whose model is kept as `best.safetensors`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Best {
    /// Steps done.
    pub step: u64,
    /// Mean Dice of the validation at this step, 0 to 1.
    pub dice: f64,
}

const STATE: &str = "state.json";
const OPTIMIZER: &str = "optimizer.safetensors";
const HASHES: &str = "hashes.json";
/// The model in a checkpoint or run folder.
pub(crate) const MODEL: &str = "model.safetensors";
/// The model with averaged weights, in a checkpoint.
pub(crate) const EMA: &str = "ema.safetensors";
/// The model of the best validation, in the run folder.
pub(crate) const BEST: &str = "best.safetensors";

fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Error + '_ {
    move |source| Error::Io {
        path: path.to_owned(),
        source,
    }
}

fn damaged(path: &Path, problem: impl std::fmt::Display) -> Error {
    Error::Checkpoint {
        path: path.to_owned(),
        problem: problem.to_string(),
    }
}

/// Writes `bytes` to `path` at once.
pub(crate) fn write_atomic(path: &Path, bytes: &[u8]) -> Result<()> {
    Ok(synthfm_image::write_atomically(path, |file| {
        file.write_all(bytes)
    })?)
}

/// Which checkpoints stay.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Keep {
    /// Number of newest checkpoints that stay.
    pub(crate) newest: usize,
    /// Checkpoints after multiples of this many steps stay; 0: none.
    pub(crate) every: u64,
}

/// Saves a checkpoint below `run` and removes those that need not stay. `save_models` writes
/// [`MODEL`], and [`EMA`] where there is one, into the folder that it is given.
pub(crate) fn save(
    run: &Path,
    state: &State,
    optimizer: &AdamW,
    keep: Keep,
    save_models: impl FnOnce(&Path) -> Result<()>,
) -> Result<PathBuf> {
    let folder = run.join("checkpoints");
    fs::create_dir_all(&folder).map_err(io(&folder))?;
    let draft = tempfile::Builder::new()
        .prefix(UNFINISHED)
        .tempdir_in(&folder)
        .map_err(io(&folder))?;
    save_models(draft.path())?;
    write_atomic(
        &draft.path().join(OPTIMIZER),
        &moments_to_bytes(&optimizer.moments)?,
    )?;
    let json = serde_json::to_vec_pretty(state).expect("numbers and a string serialise");
    write_atomic(&draft.path().join(STATE), &json)?;
    let hashes = serde_json::to_vec_pretty(&hashes(draft.path())?).expect("text serialises");
    write_atomic(&draft.path().join(HASHES), &hashes)?;
    let path = self::folder(run, state.step);
    if path.exists() {
        remove(&path)?;
    }
    fs::rename(draft.keep(), &path).map_err(io(&path))?;
    sync_folder(&folder).map_err(io(&folder))?;
    prune(run, keep)?;
    Ok(path)
}

/// Removes checkpoints that need not stay.
fn prune(run: &Path, keep: Keep) -> Result<()> {
    let stays = |path: &PathBuf| {
        let step = path
            .file_name()
            .and_then(|name| step_of(&name.to_string_lossy()));
        keep.every > 0 && step.is_some_and(|step| step.is_multiple_of(keep.every))
    };
    for old in list(run)?.iter().rev().skip(keep.newest) {
        if !stays(old) {
            remove(old)?;
        }
    }
    Ok(())
}

/// Start of the names of what is written and not yet whole, or removed and not yet gone.
const UNFINISHED: &str = ".unfinished-";

/// Removes a checkpoint: under its name it is there or not, never in part.
fn remove(path: &Path) -> Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let going = path.with_file_name(format!("{UNFINISHED}{name}"));
    fs::rename(path, &going).map_err(io(path))?;
    fs::remove_dir_all(&going).map_err(io(&going))
}

/// Removes what a killed run left half done in its folder and among its checkpoints.
pub(crate) fn remove_unfinished(run: &Path) -> Result<()> {
    for folder in [run.to_owned(), run.join("checkpoints")] {
        if !folder.exists() {
            continue;
        }
        for entry in fs::read_dir(&folder).map_err(io(&folder))? {
            let path = entry.map_err(io(&folder))?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if name.starts_with(UNFINISHED) {
                fs::remove_dir_all(&path).map_err(io(&path))?;
            } else if name.starts_with('.') && name.ends_with(".tmp") {
                fs::remove_file(&path).map_err(io(&path))?;
            }
        }
    }
    Ok(())
}

/// The step of a checkpoint's name.
fn step_of(name: &str) -> Option<u64> {
    name.strip_prefix("step-")?.parse().ok()
}

/// Where the checkpoint after `step` steps lies.
pub(crate) fn folder(run: &Path, step: u64) -> PathBuf {
    run.join("checkpoints").join(format!("step-{step:08}"))
}

/// The checkpoints of a run, oldest first.
fn list(run: &Path) -> Result<Vec<PathBuf>> {
    let folder = run.join("checkpoints");
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(&folder).map_err(io(&folder))? {
        let entry = entry.map_err(io(&folder))?;
        if let Some(step) = step_of(&entry.file_name().to_string_lossy()) {
            found.push((step, entry.path()));
        }
    }
    found.sort();
    Ok(found.into_iter().map(|(_, path)| path).collect())
}

/// The newest checkpoint of a run.
pub(crate) fn newest(run: &Path) -> Result<Option<PathBuf>> {
    Ok(list(run)?.pop())
}

/// SHA-256 of every file of a checkpoint, by name.
fn hashes(checkpoint: &Path) -> Result<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(checkpoint).map_err(io(checkpoint))? {
        let path = entry.map_err(io(checkpoint))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name == HASHES {
            continue;
        }
        let bytes = fs::read(&path).map_err(io(&path))?;
        found.insert(name.into_owned(), hex(&Sha256::digest(&bytes)));
    }
    Ok(found)
}

/// Fails if a file of a checkpoint is missing or is not as it was written. Checkpoints of versions that wrote no hashes
/// pass.
fn check_hashes(checkpoint: &Path) -> Result<()> {
    let path = checkpoint.join(HASHES);
    if !path.exists() {
        return Ok(());
    }
    let written: BTreeMap<String, String> =
        serde_json::from_slice(&fs::read(&path).map_err(io(&path))?)
            .map_err(|e| damaged(&path, e))?;
    let found = hashes(checkpoint)?;
    for (name, hash) in &written {
        let path = checkpoint.join(name);
        match found.get(name) {
            None => return Err(damaged(&path, "the file is missing")),
            Some(now) if now != hash => {
                return Err(damaged(&path, "its content is not what was written"));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// Reads state and optimizer of a checkpoint, whose files are checked first.
pub(crate) fn load(checkpoint: &Path, config: AdamWConfig) -> Result<(State, AdamW)> {
    check_hashes(checkpoint)?;
    let path = checkpoint.join(STATE);
    let state = serde_json::from_slice(&fs::read(&path).map_err(io(&path))?)
        .map_err(|e| damaged(&path, e))?;
    let path = checkpoint.join(OPTIMIZER);
    let bytes = fs::read(&path).map_err(io(&path))?;
    let mut optimizer = AdamW::new(config);
    optimizer.moments = moments_from_bytes(&bytes).map_err(|problem| damaged(&path, problem))?;
    Ok((state, optimizer))
}

fn moments_to_bytes(moments: &BTreeMap<String, Moments>) -> Result<Vec<u8>> {
    let le = |values: &[f32]| {
        values
            .iter()
            .flat_map(|v| v.to_le_bytes())
            .collect::<Vec<u8>>()
    };
    let mut tensors: Vec<(String, Dtype, usize, Vec<u8>)> = Vec::new();
    for (name, m) in moments {
        tensors.push((
            format!("exp_avg.{name}"),
            Dtype::F32,
            m.exp_avg.len(),
            le(&m.exp_avg),
        ));
        tensors.push((
            format!("exp_avg_sq.{name}"),
            Dtype::F32,
            m.exp_avg_sq.len(),
            le(&m.exp_avg_sq),
        ));
        tensors.push((
            format!("steps.{name}"),
            Dtype::U64,
            1,
            m.steps.to_le_bytes().to_vec(),
        ));
    }
    let views = tensors.iter().map(|(name, dtype, len, bytes)| {
        let view = TensorView::new(*dtype, vec![*len], bytes).expect("the bytes fit the length");
        (name.as_str(), view)
    });
    safetensors::serialize(views, None).map_err(|e| damaged(Path::new(OPTIMIZER), e))
}

fn moments_from_bytes(bytes: &[u8]) -> std::result::Result<BTreeMap<String, Moments>, String> {
    let file = SafeTensors::deserialize(bytes).map_err(|e| e.to_string())?;
    let floats = |key: String| -> std::result::Result<Vec<f32>, String> {
        let view = file.tensor(&key).map_err(|e| format!("{key}: {e}"))?;
        if view.dtype() != Dtype::F32 {
            return Err(format!("{key}: F32 expected, got {:?}", view.dtype()));
        }
        let word = |b: &[u8]| f32::from_le_bytes(b.try_into().expect("chunks of four"));
        Ok(view.data().chunks_exact(4).map(word).collect())
    };
    let mut moments = BTreeMap::new();
    for key in file.names() {
        let Some(name) = key.strip_prefix("steps.") else {
            continue;
        };
        let steps = file
            .tensor(key)
            .map_err(|e| e.to_string())?
            .data()
            .try_into()
            .map(u64::from_le_bytes);
        let steps = steps.map_err(|_| format!("{key}: one 64-bit number expected"))?;
        let (exp_avg, exp_avg_sq) = (
            floats(format!("exp_avg.{name}"))?,
            floats(format!("exp_avg_sq.{name}"))?,
        );
        if exp_avg.len() != exp_avg_sq.len() {
            return Err(format!(
                "{name}: {} first and {} second moments",
                exp_avg.len(),
                exp_avg_sq.len()
            ));
        }
        moments.insert(
            name.to_owned(),
            Moments {
                exp_avg,
                exp_avg_sq,
                steps,
            },
        );
    }
    Ok(moments)
}
