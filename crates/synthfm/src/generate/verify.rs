//! `generate --verify`: whether a folder holds what its manifest says, and what its configuration gives.
//!
//! Only files that are found by walking the folder are opened, so that a manifest cannot name others; links are not
//! followed.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::ops::Range;
use std::path::Path;

use anyhow::{Context, Result, bail};
use rayon::iter::{IntoParallelRefIterator, ParallelIterator};
use serde::Serialize;
use serde_json::json;

use super::Format;
use super::files::{File, FileHash};
use super::folder::Present;
use super::manifest::{Entry, Heading, MANIFEST, Reader};
use super::record::{case_name, files_of};
use super::settings::{SETTINGS, Settings};
use super::webdataset;
use crate::output::{Session, VERSION};
use crate::progress::bar;

/// Most names in a list.
const MAX_NAMES: usize = 1000;
/// Deepest folder that is looked into; the layouts have one level.
const MAX_DEPTH: usize = 8;

/// Names of files, the first ones in full.
#[derive(Debug, Default, Serialize)]
struct Names {
    count: u64,
    first: Vec<String>,
}

impl Names {
    fn push(&mut self, name: String) {
        self.count += 1;
        if self.first.len() < MAX_NAMES {
            self.first.push(name);
        }
    }

    /// A line each; names are quoted where they could change the terminal.
    fn lines(&self, what: &str) -> String {
        let mut text = String::new();
        for name in &self.first {
            let _ = writeln!(text, "{what}: {}", name.escape_debug());
        }
        let more = self.count - self.first.len() as u64;
        if more > 0 {
            let _ = writeln!(text, "{what}: {more} more");
        }
        text
    }
}

/// The result of checking a folder.
#[derive(Debug, Default, Serialize)]
struct Findings {
    files: u64,
    bytes: u64,
    /// Not as the manifest says.
    differing: Names,
    /// In the manifest alone.
    missing: Names,
    /// In the folder alone.
    surplus: Names,
    /// Samples that were rendered again.
    rendered_again: u64,
    /// Files whose bytes are not what configuration, seed and index give.
    not_reproduced: Names,
}

/// Checks a folder, and renders `rerender` of its samples again.
pub(super) fn run(root: &Path, rerender: u64, session: &Session) -> Result<()> {
    let (reader, heading) = Reader::open(root)?;
    let mut findings = Findings::default();
    let samples = hashes(root, reader, &mut findings, session)?;
    let settings = Settings::read(root)?;
    let own = FileHash::of(root, SETTINGS)?;
    if own.sha256 != heading.config_sha256 || !fits(&settings, &heading) {
        findings.differing.push(SETTINGS.to_owned());
    }
    if samples.count() != heading.samples {
        bail!(
            "{MANIFEST} says {} samples and lists {}: generate again",
            heading.samples,
            samples.count()
        );
    }
    render_again(root, &settings, &samples, rerender, &mut findings, session)?;
    report(root, &findings, session)
}

fn fits(settings: &Settings, heading: &Heading) -> bool {
    let Settings {
        synthfm,
        format,
        seed,
        ..
    } = settings;
    (synthfm, *format, *seed) == (&heading.synthfm, heading.format, heading.seed)
}

/// Compares what is there with the manifest; returns the samples that it lists.
fn hashes(
    root: &Path,
    mut reader: Reader,
    findings: &mut Findings,
    session: &Session,
) -> Result<Present> {
    let mut there = walk(root)?;
    there.remove(MANIFEST);
    let progress = bar(session, there.len() as u64, "files");
    let mut samples = Vec::new();
    loop {
        let entries = reader.entries()?;
        if entries.is_empty() {
            break;
        }
        let mut found = Vec::new();
        for entry in entries {
            add(&mut samples, &entry);
            if there.remove(&entry.file) {
                found.push(entry);
            } else {
                findings.missing.push(entry.file);
            }
        }
        let results: Vec<(&Entry, Result<FileHash>)> = found
            .par_iter()
            .map(|entry| (entry, FileHash::of(root, &entry.file)))
            .collect();
        for (entry, hash) in results {
            progress.inc(1);
            let Ok(hash) = hash.inspect_err(|error| session.note(&format!("{error:#}"))) else {
                findings.differing.push(entry.file.clone());
                continue;
            };
            findings.files += 1;
            findings.bytes += hash.bytes;
            if (hash.bytes, &hash.sha256) != (entry.bytes, &entry.sha256) {
                findings.differing.push(hash.file);
            }
        }
    }
    progress.finish_and_clear();
    for name in there {
        findings.surplus.push(name);
    }
    samples.sort_by_key(|range| range.start);
    Ok(Present::of(samples))
}

/// Adds the samples of a file; those of consecutive files mostly touch.
fn add(samples: &mut Vec<Range<u64>>, entry: &Entry) {
    let Some((first, count)) = entry.first_index.zip(entry.samples) else {
        return;
    };
    let end = first.saturating_add(count);
    match samples.last_mut() {
        Some(last) if (last.start..=last.end).contains(&first) => last.end = last.end.max(end),
        _ => samples.push(first..end),
    }
}

/// Everything below `root` that is not a folder, by its path with `/`.
fn walk(root: &Path) -> Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    let mut open = vec![(root.to_owned(), String::new(), 0)];
    while let Some((folder, prefix, depth)) = open.pop() {
        let context = || folder.display().to_string();
        if depth > MAX_DEPTH {
            bail!(
                "{}: not a folder of `synthfm generate`, it is nested too deeply",
                folder.display()
            );
        }
        for entry in fs::read_dir(&folder).with_context(context)? {
            let entry = entry.with_context(context)?;
            let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
            if entry.file_type().with_context(context)?.is_dir() {
                open.push((entry.path(), format!("{name}/"), depth + 1));
            } else {
                found.insert(name);
            }
        }
    }
    Ok(found)
}

/// Draws and renders samples that lie evenly over the set, and compares their files byte by byte.
fn render_again(
    root: &Path,
    settings: &Settings,
    samples: &Present,
    wanted: u64,
    findings: &mut Findings,
    session: &Session,
) -> Result<()> {
    let wanted = wanted.min(samples.count());
    if wanted > 0 && settings.synthfm != VERSION {
        let version = &settings.synthfm;
        session.note(&format!(
            "drawn by synthfm {version}, rendered by {VERSION}: bytes may differ"
        ));
    }
    // As many samples before the first as after the last.
    let place = |k: u64| {
        (u128::from(2 * k + 1) * u128::from(samples.count()) / u128::from(2 * wanted)) as u64
    };
    let indices: Vec<u64> = (0..wanted).filter_map(|k| samples.nth(place(k))).collect();
    let progress = bar(session, wanted, "samples rendered");
    let differing: Vec<Result<Vec<String>>> = indices
        .par_iter()
        .map(|&index| {
            let differing = differing(root, settings, index);
            progress.inc(1);
            differing
        })
        .collect();
    progress.finish_and_clear();
    for names in differing {
        for name in names? {
            findings.not_reproduced.push(name);
        }
        findings.rendered_again += 1;
    }
    Ok(())
}

/// The files of a sample that are not what the configuration gives.
fn differing(root: &Path, settings: &Settings, index: u64) -> Result<Vec<String>> {
    let made = files_of(settings, index)?;
    if settings.format == Format::Webdataset {
        let shard = webdataset::tar_name(index / settings.unit());
        let names = webdataset::differing(&root.join(&shard), &case_name(index), &made)?;
        return Ok(names
            .into_iter()
            .map(|name| format!("{shard}: {name}"))
            .collect());
    }
    let differs = |file: &&File| !is_on_disk(root, file);
    Ok(made
        .iter()
        .filter(differs)
        .map(|file| file.name.clone())
        .collect())
}

fn is_on_disk(root: &Path, file: &File) -> bool {
    FileHash::of(root, &file.name).is_ok_and(|hash| hash == file.hash())
}

fn report(root: &Path, findings: &Findings, session: &Session) -> Result<()> {
    let lists = [
        ("differs", &findings.differing),
        ("missing", &findings.missing),
        ("surplus", &findings.surplus),
        ("not reproduced", &findings.not_reproduced),
    ];
    let wrong: u64 = lists.iter().map(|(_, names)| names.count).sum();
    let whole = wrong == 0;
    session.print(
        &json!({ "folder": root, "whole": whole, "findings": findings }),
        || {
            let mut text: String = lists
                .iter()
                .map(|(what, names)| names.lines(what))
                .collect();
            let _ = writeln!(
                text,
                "{}: {} files, {} bytes checked, {} samples rendered again",
                root.display(),
                findings.files,
                findings.bytes,
                findings.rendered_again
            );
            text
        },
    )?;
    if !whole {
        let [differing, missing, surplus, other] = lists.map(|(_, names)| names.count);
        bail!(
            "{}: {differing} files differ from the manifest, {missing} are missing, {surplus} are surplus, \
             {other} are not what the configuration gives",
            root.display()
        );
    }
    Ok(())
}
