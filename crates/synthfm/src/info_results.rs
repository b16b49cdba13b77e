//! `synthfm info` of what the program itself writes beside images: records, lists, reports, data sets, work folders.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use synthfm_image::is_dicom_file;

use crate::info::Facts;

/// Names of a folder's files that are listed one by one.
const MAX_LISTED: usize = 100;
/// Files of a folder that are looked at.
const MAX_ENTRIES: usize = 100_000;
/// Longest first line of a list of lines.
const MAX_LINE_BYTES: u64 = 64 << 10;

/// Describes a JSON file that synthfm writes or reads; `None` for other files.
pub(crate) fn json(value: &Value) -> Option<Facts> {
    let rules: [fn(&Value) -> Option<Facts>; 17] = [
        predictions,
        mask_record,
        embedding_record,
        comparison,
        tests,
        coco,
        description,
        shard,
        prompts,
        ratings,
        review,
        case_labels,
        case_about,
        case_snapshot,
        case_states,
        case_times,
        structure_lists,
    ];
    rules.iter().find_map(|rule| rule(value))
}

fn text_of(value: &Value) -> String {
    match value {
        Value::Null => "none".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn length(value: &Value) -> Option<usize> {
    value.as_array().map(Vec::len)
}

fn predictions(value: &Value) -> Option<Facts> {
    let lines = value["predictions"].as_array()?;
    let failed = lines
        .iter()
        .filter(|line| line["error"].is_string())
        .count();
    let doubtful = |line: &&Value| length(&line["warnings"]).is_some_and(|count| count > 0);
    let doubtful = lines.iter().filter(doubtful).count();
    let model = text_of(&value["model"]["name"]);
    let text = format!(
        "answers to a prompts file: {} entries, {failed} failed, {doubtful} with remarks\nmodel       {model}\n",
        lines.len()
    );
    let facts = json!({ "kind": "predictions", "entries": lines.len(), "failed": failed, "remarks": doubtful,
                        "model": value["model"] });
    Some((facts, text))
}

fn mask_record(value: &Value) -> Option<Facts> {
    value["point_labels"].as_array()?;
    let mask = value["mask"].as_str()?;
    let mut text = format!(
        "record of the mask {mask}\ninput       {}\n",
        text_of(&value["input"])
    );
    if let Some(slice) = value["slice"].as_u64() {
        let _ = writeln!(text, "slice       {slice}, {}", text_of(&value["axis"]));
    }
    let _ = writeln!(
        text,
        "model       {}\narea        {} pixels\nestimate    IoU {:.2}",
        text_of(&value["model"]["name"]),
        value["area_px"],
        value["iou"].as_f64().unwrap_or_default()
    );
    Some((json!({ "kind": "mask record", "record": value }), text))
}

fn embedding_record(value: &Value) -> Option<Facts> {
    let embedding = value["embedding"].as_str()?;
    value["encoder_sha256"].as_str()?;
    let text = format!(
        "record of the embedding {embedding}\ninput       {}\nmodel       {}\n",
        text_of(&value["input"]),
        text_of(&value["model"]["name"])
    );
    Some((json!({ "kind": "embedding record", "record": value }), text))
}

fn comparison(value: &Value) -> Option<Facts> {
    let groups = length(&value["groups"])?;
    let structures = value["synthetic_structures"].as_u64()?;
    let text = format!(
        "comparison of {structures} synthetic structures with real ones in {groups} groups; the page beside it shows it\n"
    );
    Some((
        json!({ "kind": "comparison", "groups": groups, "synthetic_structures": structures }),
        text,
    ))
}

/// `comparison.json` of two reports.
fn tests(value: &Value) -> Option<Facts> {
    let comparisons = length(&value["comparisons"]).or_else(|| length(value))?;
    let first = value["comparisons"].get(0).or_else(|| value.get(0))?;
    first["p_holm"].as_f64()?;
    let text =
        format!("comparison of models: {comparisons} tests; the page beside it shows them\n");
    Some((
        json!({ "kind": "comparison of models", "comparisons": comparisons }),
        text,
    ))
}

fn coco(value: &Value) -> Option<Facts> {
    let [images, annotations, categories] = ["images", "annotations", "categories"].map(|name| {
        length(&value[name]).or_else(|| value[name].as_object().map(serde_json::Map::len))
    });
    let (images, annotations, categories) = (images?, annotations?, categories.unwrap_or(0));
    let text =
        format!("COCO file: {images} images, {annotations} annotations, {categories} categories\n");
    let facts = json!({ "kind": "COCO", "images": images, "annotations": annotations, "categories": categories });
    Some((facts, text))
}

/// `dataset.json` of nnU-Net or the decathlon, without its folder.
fn description(value: &Value) -> Option<Facts> {
    let labels = value["labels"].as_object()?;
    let text = format!(
        "description of a data set (dataset.json): {} labels; name its folder for more\n",
        labels.len()
    );
    Some((
        json!({ "kind": "data set description", "labels": labels }),
        text,
    ))
}

fn shard(value: &Value) -> Option<Facts> {
    let file = value["tar"]["file"].as_str()?;
    let (first, samples) = (&value["first_index"], &value["samples"]);
    let text = format!("description of {file}: {samples} samples from index {first}\n");
    Some((json!({ "kind": "shard", "shard": value }), text))
}

fn prompts(value: &Value) -> Option<Facts> {
    let entries = value.as_array()?;
    let images: Vec<&str> = entries
        .iter()
        .filter_map(|entry| entry["image"].as_str().filter(|_| !entry["id"].is_null()))
        .collect();
    if images.is_empty() || images.len() < entries.len() {
        return None;
    }
    let mut different = images.clone();
    different.sort_unstable();
    different.dedup();
    let text = format!(
        "prompts file: {} entries on {} images, for predict --prompts\n",
        images.len(),
        different.len()
    );
    Some((
        json!({ "kind": "prompts", "entries": images.len(), "images": different.len() }),
        text,
    ))
}

/// `summary.json` of a blinded review.
fn ratings(value: &Value) -> Option<Facts> {
    let summaries = value.as_array()?;
    let all = summaries
        .iter()
        .find(|summary| summary["rater"].is_null())?;
    all["groups"].as_array()?;
    let raters = summaries.len() - 1;
    let text = format!("figures of a blinded review by {raters} raters\n");
    Some((
        json!({ "kind": "review", "raters": raters, "summaries": summaries }),
        text,
    ))
}

/// `plan.json` of a blinded review.
fn review(value: &Value) -> Option<Facts> {
    let items = length(&value["items"])?;
    value["seed"].as_u64()?;
    let text = format!("plan of a blinded review: {items} images\n");
    Some((json!({ "kind": "review plan", "items": items }), text))
}

/// `labels/CASE.json` of the annotator, and its export of structures and prompts.
fn case_labels(value: &Value) -> Option<Facts> {
    let (case, image) = (value["case"].as_str()?, value["image"].as_str()?);
    let structures = value["structures"].as_array()?;
    let prompts = length(&value["prompts"])?;
    let mut text = format!(
        "structures of an annotated case: what the values of its label file mean\nimage       {image}\nstate       {}\n",
        text_of(&value["state"])
    );
    for structure in structures {
        let (id, name) = (&structure["id"], text_of(&structure["name"]));
        let _ = writeln!(text, "structure   {id}: {name}");
    }
    let _ = writeln!(text, "prompts     on {prompts} slices");
    let facts = json!({ "kind": "case labels", "case": case, "image": image, "state": value["state"],
                        "structures": structures, "prompts": prompts });
    Some((facts, text))
}

/// `cases/ID/case.json`.
fn case_about(value: &Value) -> Option<Facts> {
    value["synthfm"].as_str()?;
    let fields = value.as_object()?;
    let name = fields.get("name")?.as_str()?;
    (fields.contains_key("content") && fields.contains_key("series")).then(|| {
        let text = format!("note of the annotator: this folder is the work on {name}\n");
        (json!({ "kind": "case", "name": name }), text)
    })
}

/// `cases/ID/snapshot.json`.
fn case_snapshot(value: &Value) -> Option<Facts> {
    let shape = value["shape"].as_array()?;
    let structures = length(&value["structures"])?;
    value["masks"].as_object()?;
    value["revision"].as_u64()?;
    let sides: Vec<String> = shape.iter().map(Value::to_string).collect();
    let text = format!(
        "work of the annotator on a case: {structures} structures on {} voxels\n",
        sides.join(" x ")
    );
    Some((
        json!({ "kind": "case snapshot", "structures": structures, "shape": shape }),
        text,
    ))
}

/// `states.json` of a work folder.
fn case_states(value: &Value) -> Option<Facts> {
    let states = value.as_object().filter(|states| !states.is_empty())?;
    let known = |state: &&Value| ["new", "started", "done"].iter().any(|word| *state == word);
    if !states.keys().all(|id| is_case(id)) || !states.values().all(|state| known(&state)) {
        return None;
    }
    let done = states.values().filter(|state| *state == "done").count();
    let text = format!(
        "states of the annotator's cases: {} noted, {done} done\n",
        states.len()
    );
    Some((
        json!({ "kind": "case states", "cases": states.len(), "done": done }),
        text,
    ))
}

/// `times.json` of a work folder.
fn case_times(value: &Value) -> Option<Facts> {
    let times = value.as_object().filter(|times| !times.is_empty())?;
    if !times.keys().all(|id| is_case(id)) {
        return None;
    }
    let seconds: Option<Vec<f64>> = times.values().map(Value::as_f64).collect();
    let seconds: f64 = seconds?.iter().sum();
    let text = format!(
        "times of the annotator's cases: {seconds:.0} s on {} cases\n",
        times.len()
    );
    Some((
        json!({ "kind": "case times", "cases": times.len(), "seconds": seconds }),
        text,
    ))
}

/// Whether a text is the identifier of a case.
fn is_case(id: &str) -> bool {
    id.len() == 16 && id.bytes().all(|b| b.is_ascii_hexdigit())
}

/// `structures.json` of a work folder: the list of each data set.
fn structure_lists(value: &Value) -> Option<Facts> {
    let sets = value.as_object().filter(|sets| !sets.is_empty())?;
    let mut text = "structures that the annotator's cases begin with\n".to_owned();
    for (set, kept) in sets {
        let labels = kept["labels"].as_array().or(kept.as_array())?;
        let set = if set.is_empty() { "." } else { set };
        for label in labels {
            label["colour"].as_str()?;
            let (value, name) = (label["value"].as_u64()?, label["name"].as_str()?);
            let _ = writeln!(text, "{set:<11} {value}: {name}");
        }
    }
    Some((json!({ "kind": "structure lists", "lists": value }), text))
}

/// The unpacked archive of all cases of the annotator, or labels in nnU-Net's form without images; `None` where there
/// are images.
pub(crate) fn label_archive(path: &Path) -> Option<Facts> {
    let entries = fs::read_dir(path.join("labelsTr")).ok()?;
    let files = entries
        .flatten()
        .filter(|entry| entry.path().is_file())
        .count();
    if path.join("imagesTr").exists() || path.join("imagesTs").exists() {
        return None;
    }
    let text = fs::read(path.join("dataset.json")).ok()?;
    let manifest: Value = serde_json::from_slice(&text).ok()?;
    let labels = manifest["labels"].as_object()?;
    let renamed = path.join("cases.json").is_file();
    let mut text = format!(
        "labels in nnU-Net's form, without their images\ncases       {files}{}\n",
        if renamed {
            ", named after their images by cases.json"
        } else {
            ""
        }
    );
    for (name, value) in labels {
        let _ = writeln!(text, "label       {value}: {name}");
    }
    Some((
        json!({ "kind": "label archive", "cases": files, "labels": labels }),
        text,
    ))
}

/// Describes a text file of synthfm by its ending and first line; `None` for other files.
pub(crate) fn text_file(path: &Path, ending: &str) -> Option<Facts> {
    let mut first = Vec::new();
    let file = fs::File::open(path).ok()?;
    let mut reader = BufReader::new(file).take(MAX_LINE_BYTES);
    reader.read_until(b'\n', &mut first).ok()?;
    let first = String::from_utf8_lossy(&first);
    let is_page = first
        .trim_start()
        .to_lowercase()
        .starts_with("<!doctype html");
    let what = match ending {
        "html" | "htm" if is_page => "a page to be opened in a browser",
        "csv" if first.contains(',') => "a table of comma-separated values",
        "jsonl" if serde_json::from_str::<Value>(&first).is_ok() => "a list of JSON lines",
        "tar" => "a tar file, such as generate writes as a WebDataset",
        "toml" => "a TOML file, such as a configuration of generate or train",
        "svg" => "an SVG picture to be opened in a browser",
        _ => return None,
    };
    let bytes = fs::metadata(path).ok()?.len();
    let mut text = format!("{what}: {bytes} bytes\n");
    let mut facts = json!({ "kind": ending, "bytes": bytes });
    if ending == "csv" {
        let columns = first.trim_end();
        let _ = writeln!(text, "columns     {columns}");
        facts["columns"] = columns.split(',').collect();
    }
    Some((facts, text))
}

/// Describes a folder that synthfm filled; `None` for other folders.
pub(crate) fn folder(path: &Path) -> Result<Option<Facts>> {
    let holds = |name: &str| path.join(name).exists();
    if holds("manifest.jsonl") {
        return generated(path).map(Some);
    }
    if holds("uploads") && (holds("cases") || holds("states.json") || holds(".lock")) {
        return Ok(Some(annotations(path)));
    }
    Ok(None)
}

/// A data set of `generate`, in whatever layout.
fn generated(path: &Path) -> Result<Facts> {
    let manifest = path.join("manifest.jsonl");
    let file = fs::File::open(&manifest).with_context(|| manifest.display().to_string())?;
    let mut first = String::new();
    BufReader::new(file.take(MAX_LINE_BYTES)).read_line(&mut first)?;
    let head: Value =
        serde_json::from_str(&first).with_context(|| manifest.display().to_string())?;
    let text = format!(
        "generated data set\nsamples     {}\nlayout      {}\nseed        {}\ndrawn by    synthfm {}\n",
        head["samples"],
        text_of(&head["format"]),
        head["seed"],
        text_of(&head["synthfm"])
    );
    Ok((
        json!({ "kind": "generated data set", "manifest": head }),
        text,
    ))
}

/// The folder of an annotator.
fn annotations(path: &Path) -> Facts {
    let folders = |name: &str| fs::read_dir(path.join(name)).map_or(0, Iterator::count);
    let (cases, uploads) = (folders("cases"), folders("uploads"));
    let text =
        format!("work folder of the annotator: {cases} annotated cases, {uploads} uploads\n");
    (
        json!({ "kind": "annotations", "cases": cases, "uploads": uploads }),
        text,
    )
}

/// Adds the other contents of a folder of DICOM images to the facts about the images.
pub(crate) fn with_others(path: &Path, (mut value, mut text): Facts) -> Result<Facts> {
    let mut rows = rows(path)?;
    rows.retain(|(_, kind)| kind != "DICOM" && kind != "folder");
    if rows.is_empty() {
        return Ok((value, text));
    }
    text.push_str("\nother files here:\n");
    value["others"] = list(&rows, &mut text);
    Ok((value, text))
}

/// The files and folders of a folder with their kinds, by name.
fn rows(path: &Path) -> Result<Vec<(String, String)>> {
    let entries = fs::read_dir(path).with_context(|| path.display().to_string())?;
    let mut names: Vec<_> = entries.take(MAX_ENTRIES).flatten().collect();
    names.sort_by_key(fs::DirEntry::file_name);
    let row = |entry: fs::DirEntry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        let kind = kind_of(&entry.path(), &name);
        (!name.starts_with('.')).then_some((name, kind))
    };
    Ok(names.into_iter().filter_map(row).collect())
}

/// Lists rows in a text, and as JSON.
fn list(rows: &[(String, String)], text: &mut String) -> Value {
    for (name, kind) in rows.iter().take(MAX_LISTED) {
        let _ = writeln!(text, "  {name:<40} {kind}");
    }
    if rows.len() > MAX_LISTED {
        let _ = writeln!(text, "  and {} more", rows.len() - MAX_LISTED);
    }
    let listed = rows.iter().take(MAX_LISTED);
    listed
        .map(|(name, kind)| json!({ "name": name, "kind": kind }))
        .collect()
}

/// Lists the folders and files of a folder of several things, by kind.
pub(crate) fn mixed(path: &Path) -> Result<Option<Facts>> {
    let rows = rows(path)?;
    if rows.is_empty() {
        return Ok(None);
    }
    let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
    for (_, kind) in &rows {
        *kinds.entry(kind.clone()).or_default() += 1;
    }
    let counts: Vec<String> = kinds
        .iter()
        .map(|(kind, n)| format!("{n} {kind}"))
        .collect();
    let mut text = format!("folder: {}\n", counts.join(", "));
    let listed = list(&rows, &mut text);
    Ok(Some((
        json!({ "kind": "folder", "kinds": kinds, "entries": listed }),
        text,
    )))
}

/// The kind of a file or folder, by its name, and where that says nothing by its start.
fn kind_of(path: &Path, name: &str) -> String {
    const KINDS: [(&[&str], &str); 10] = [
        (&[".nii", ".nii.gz"], "NIfTI"),
        (&[".nrrd", ".nhdr"], "NRRD"),
        (&[".mha", ".mhd"], "MetaImage"),
        (&[".png"], "PNG"),
        (&[".jpg", ".jpeg"], "JPEG"),
        (&[".tif", ".tiff"], "TIFF"),
        (&[".npy", ".npz"], "NumPy"),
        (&[".safetensors", ".pth", ".pt"], "model or embedding"),
        (&[".json", ".jsonl"], "JSON"),
        (&[".dcm", ".ima"], "DICOM"),
    ];
    if path.is_dir() {
        return "folder".to_owned();
    }
    let lower = name.to_lowercase();
    let known = KINDS
        .iter()
        .find(|(endings, _)| endings.iter().any(|ending| lower.ends_with(ending)));
    match known {
        Some((_, kind)) => (*kind).to_owned(),
        None if is_dicom_file(path) => "DICOM".to_owned(),
        None => match lower.rsplit_once('.') {
            Some((_, ending)) => format!("{ending} file"),
            None => "other file".to_owned(),
        },
    }
}
