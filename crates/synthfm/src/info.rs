//! `synthfm info`: what a file or folder is, or what this machine has to compute with.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use synthfm_eval::dataset::Dataset;
use synthfm_sam::{ModelFile, describe_embedding, devices};
use synthfm_synth::VolumeSize;
use synthfm_train::TrainConfig;

use crate::cli::InfoArgs;
use crate::generate::{Record, VolumeRecord};
use crate::models;
use crate::output::{Session, VERSION, refuse_pipe, usage};
use crate::overrides::read_text;
use crate::{info_results, info_scan};

const MAX_JSON_BYTES: u64 = 256 << 20;

/// Facts as JSON, and as text.
pub(crate) type Facts = (Value, String);

/// Tells what lies at a path; without one, which devices there are.
pub(crate) fn run(args: &InfoArgs, session: &Session) -> Result<()> {
    if args.out.is_none() && (args.view.slice.is_some() || args.view.window.is_some()) {
        return Err(usage("--slice and --window are for the picture of --out"));
    }
    let (value, text) = match &args.path {
        Some(path) if path.is_dir() => folder(path, args)?,
        Some(path) => file(path, args)?,
        None => machine(),
    };
    session.print(&value, || text)
}

/// The names for `--device`, and the values of `--precision` that each computes in.
fn machine() -> Facts {
    let (devices, threads) = (devices(), rayon::current_num_threads());
    let gpu_support = cfg!(feature = "gpu");
    let mut text = format!(
        "synthfm     {VERSION}, {} support for GPUs\nthreads     {threads}\n",
        if gpu_support { "with" } else { "without" }
    );
    for device in &devices {
        let (name, precisions) = (&device.name, device.precisions.join(", "));
        let _ = writeln!(text, "{name:<11} {}: {precisions}", device.description);
    }
    let value = json!({ "kind": "machine", "synthfm": VERSION, "gpu_support": gpu_support, "threads": threads,
                        "devices": devices });
    (value, text)
}

fn file(path: &Path, args: &InfoArgs) -> Result<Facts> {
    refuse_pipe(path)?;
    let ending = path
        .extension()
        .and_then(|ending| ending.to_str())
        .unwrap_or_default();
    let ending = ending.to_lowercase();
    match ending.as_str() {
        "safetensors" => match describe_embedding(path)? {
            Some(key) => Ok(embedding(&key)),
            None => model(path),
        },
        "pth" | "pt" => model(path),
        "json" => json_file(path),
        _ => match info_results::text_file(path, &ending) {
            Some(facts) => Ok(facts),
            None => info_scan::run(path, args),
        },
    }
}

/// An embedding by its key.
fn embedding(key: &Value) -> Facts {
    let text = format!(
        "embedding of an image of {} x {} pixels (height x width)\nmodel side  {}\nprecision   {}\n",
        key["height"],
        key["width"],
        key["image_size"],
        key["precision"].as_str().unwrap_or_default()
    );
    (json!({ "kind": "embedding", "key": key }), text)
}

fn folder(path: &Path, args: &InfoArgs) -> Result<Facts> {
    let holds = |name: &str| path.join(name).is_file();
    if holds("dataset.json") {
        return match info_results::label_archive(path) {
            Some(facts) => Ok(facts),
            None => dataset(path),
        };
    }
    if holds("summary.json") {
        return json_file(&path.join("summary.json"));
    }
    if holds("config.json") && holds("model.safetensors") {
        return model(path);
    }
    if holds("config.toml") {
        return training_run(path);
    }
    if holds("predictions.json") {
        return json_file(&path.join("predictions.json"));
    }
    if let Some(facts) = info_results::folder(path)? {
        return Ok(facts);
    }
    let error = match info_scan::run(path, args) {
        Ok(facts) => return info_results::with_others(path, facts),
        Err(error) => error,
    };
    match info_results::mixed(path)? {
        // What is wrong with DICOM files is worth more than their names.
        Some(facts) if args.out.is_none() && facts.0["kinds"]["DICOM"].is_null() => Ok(facts),
        _ => Err(error.context(format!(
            "{}: neither a data set (dataset.json), nor a report (summary.json), nor a model (config.json, \
             model.safetensors), nor a training run (config.toml), nor DICOM images",
            path.display()
        ))),
    }
}

fn model(path: &Path) -> Result<Facts> {
    let report = ModelFile::open(path)?.report()?;
    let text = models::describe(&report);
    Ok((json!({ "kind": "model", "report": report }), text))
}

fn training_run(path: &Path) -> Result<Facts> {
    let config = TrainConfig::load(&path.join("config.toml"))?;
    let log = read_text(&path.join("metrics.jsonl"), MAX_JSON_BYTES).unwrap_or_default();
    let last: Option<Value> = log
        .lines()
        .last()
        .and_then(|line| serde_json::from_str(line).ok());
    let number = |key: &str| {
        last.as_ref()
            .and_then(|line| line[key].as_f64())
            .unwrap_or_default()
    };
    let text = format!(
        "training run: step {} of {}, loss {:.4}, Dice {:.1} %\n",
        number("step"),
        config.steps(),
        number("loss"),
        100.0 * number("dice")
    );
    Ok((
        json!({ "kind": "training run", "steps": config.steps(), "last": last, "config": config }),
        text,
    ))
}

fn dataset(path: &Path) -> Result<Facts> {
    let dataset = Dataset::open(path)?;
    let structures: Vec<&str> = dataset.structures.iter().map(|s| s.name.as_str()).collect();
    let mut modalities: Vec<&str> = dataset
        .cases
        .iter()
        .map(|case| case.modality.as_str())
        .collect();
    modalities.sort_unstable();
    modalities.dedup();
    let value = json!({
        "kind": "data set",
        "name": dataset.name,
        "cases": dataset.cases.len(),
        "skipped": dataset.skipped,
        "modalities": modalities,
        "structures": structures,
        "instances": dataset.instances,
    });
    let mut text = format!(
        "data set {}\ncases       {} ({} cannot be read)\nmodalities  {}\nstructures  {}\n",
        dataset.name,
        dataset.cases.len(),
        dataset.skipped.len(),
        modalities.join(", "),
        structures.join(", ")
    );
    for note in &dataset.skipped {
        let _ = writeln!(text, "  {}: {}", note.case, note.text);
    }
    Ok((value, text))
}

fn json_file(path: &Path) -> Result<Facts> {
    let text = read_text(path, MAX_JSON_BYTES)?;
    let value: Value =
        serde_json::from_str(&text).with_context(|| format!("{}: not JSON", path.display()))?;
    if value["lines"].is_array() && value["options"].is_object() {
        return Ok(report(&value));
    }
    if value["recipe"]["spacing_mm"].is_array() {
        return volume_recipe(path, &text);
    }
    if value["recipe"].is_object() {
        let record: Record =
            serde_json::from_str(&text).with_context(|| path.display().to_string())?;
        let recipe = record.recipe;
        let (size, targets) = (recipe.size(), record.targets.len());
        let text = format!(
            "recipe: seed {}, index {}, {size}, {:?}, {targets} targets, drawn by synthfm {}\n",
            recipe.seed, recipe.index, recipe.scene, record.synthfm
        );
        let value = json!({ "kind": "recipe", "synthfm": record.synthfm, "seed": recipe.seed, "index": recipe.index,
                            "size": [size.height, size.width], "scene": recipe.scene, "targets": targets });
        return Ok((value, text));
    }
    match info_results::json(&value) {
        Some(facts) => Ok(facts),
        None => bail!(
            "{}: JSON that synthfm does not know: neither a report (summary.json), a recipe, a record, a list of \
             prompts or predictions, a COCO file, nor a file of the annotator",
            path.display()
        ),
    }
}

/// Facts about the recipe of a synthetic volume.
fn volume_recipe(path: &Path, text: &str) -> Result<Facts> {
    let record: VolumeRecord =
        serde_json::from_str(text).with_context(|| path.display().to_string())?;
    let (recipe, targets) = (record.recipe, record.targets.len());
    let VolumeSize {
        depth,
        height,
        width,
    } = recipe.size;
    let [z, y, x] = recipe.spacing_mm;
    let text = format!(
        "recipe of a volume: seed {}, index {}, {depth} x {height} x {width} voxels of {z} x {y} x {x} mm, {:?}, \
         {targets} targets, drawn by synthfm {}\n",
        recipe.seed, recipe.index, recipe.scene, record.synthfm
    );
    let value = json!({ "kind": "recipe", "synthfm": record.synthfm, "seed": recipe.seed, "index": recipe.index,
                        "size": [depth, height, width], "spacing_mm": recipe.spacing_mm, "scene": recipe.scene,
                        "targets": targets });
    Ok((value, text))
}

/// The lines over modalities are the gist of a report.
fn report(summary: &Value) -> Facts {
    let lines = summary["lines"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let of_modality: Vec<&Value> = lines
        .iter()
        .filter(|line| line["level"] == "modality")
        .collect();
    let mut text = format!(
        "report of {} rows, {} failed\n",
        summary["rows"], summary["failed_rows"]
    );
    for line in &of_modality {
        let word = |key: &str| line[key].as_str().unwrap_or("?").to_owned();
        let dice = line["dice"]["mean"]
            .as_f64()
            .map_or("-".to_owned(), |mean| format!("{:.1} %", 100.0 * mean));
        let _ = writeln!(
            text,
            "{:<20} {:<8} {:<10} Dice {dice} (n = {})",
            word("model"),
            word("modality"),
            word("prompt"),
            line["n"]
        );
    }
    let value = json!({ "kind": "report", "rows": summary["rows"], "failed_rows": summary["failed_rows"],
                        "modalities": of_modality });
    (value, text)
}
