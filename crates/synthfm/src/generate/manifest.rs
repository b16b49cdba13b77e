//! `manifest.jsonl`: every file of a data set with its size, SHA-256 and samples.
//!
//! The first line says what determines the files; each line after it is one file, in the order of the samples, those
//! that describe the whole set last. The hashes of a sample's files were taken before they were written, and are read
//! from its recipe (in a WebDataset, from the record of its shard), so that merging the work of several machines reads
//! no picture again and depends on nothing but what is there.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use rayon::iter::{IntoParallelRefIterator, ParallelIterator};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::Format;
use super::files::{FileHash, sha256, write_whole};
use super::folder::{Folder, descriptions};
use super::webdataset;
use crate::overrides::read_text;

/// The file in the folder.
pub(super) const MANIFEST: &str = "manifest.jsonl";
/// More than any recipe needs.
pub(super) const MAX_RECIPE_BYTES: u64 = 16 << 20;
/// More than any line needs.
const MAX_LINE_BYTES: u64 = 1 << 14;
/// Items that are read at once.
const CHUNK: usize = 512;

/// The first line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Heading {
    /// Version of synthfm that drew the samples.
    pub(super) synthfm: String,
    pub(super) format: Format,
    pub(super) seed: u64,
    /// SHA-256 of `generator.toml`.
    pub(super) config_sha256: String,
    /// How many there are.
    pub(super) samples: u64,
}

/// Every other line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    pub(super) file: String,
    pub(super) bytes: u64,
    pub(super) sha256: String,
    /// The first of the samples in it; without it the file describes the whole set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) first_index: Option<u64>,
    /// How many samples from there on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) samples: Option<u64>,
}

impl Entry {
    fn of(hash: FileHash, samples: Option<(u64, u64)>) -> Self {
        Self {
            file: hash.file,
            bytes: hash.bytes,
            sha256: hash.sha256,
            first_index: samples.map(|(first, _)| first),
            samples: samples.map(|(_, count)| count),
        }
    }
}

/// The list of files in a recipe file; its other fields are skipped.
#[derive(Deserialize)]
struct Files {
    files: Vec<FileHash>,
}

/// Writes the manifest of what is there.
pub(super) fn write(folder: &Folder) -> Result<()> {
    write_whole(&folder.path(MANIFEST), |out| lines(folder, out))
}

fn lines(folder: &Folder, out: &mut dyn Write) -> Result<()> {
    let settings = folder.settings;
    let heading = Heading {
        synthfm: settings.synthfm.clone(),
        format: settings.format,
        seed: settings.seed,
        config_sha256: settings.sha256()?,
        samples: folder.present()?.count(),
    };
    line(out, &heading)?;
    let write = |entries: Vec<Entry>| entries.iter().try_for_each(|entry| line(out, entry));
    if settings.format == Format::Webdataset {
        let shards = webdataset::shards(folder)?;
        in_chunks(&shards, |shard| shard_entries(folder, shard), write)?;
    } else {
        let recipes = folder.recipes()?;
        in_chunks(&recipes, |recipe| sample_entries(folder, recipe), write)?;
    }
    for name in descriptions(settings.format) {
        line(out, &Entry::of(FileHash::of(folder.root, name)?, None))?;
    }
    Ok(())
}

fn line(out: &mut dyn Write, value: &impl Serialize) -> Result<()> {
    serde_json::to_writer(&mut *out, value)?;
    Ok(writeln!(out)?)
}

/// A sample's files as its recipe lists them, and the recipe.
fn sample_entries(folder: &Folder, (index, name): &(u64, String)) -> Result<Vec<Entry>> {
    let path = folder.path(name);
    let text = read_text(&path, MAX_RECIPE_BYTES)?;
    let recipe: Files = serde_json::from_str(&text).with_context(|| {
        format!(
            "{}: not a recipe with hashes; delete it and generate again",
            path.display()
        )
    })?;
    let own = FileHash {
        file: name.clone(),
        bytes: text.len() as u64,
        sha256: sha256(text.as_bytes()),
    };
    let hashes = recipe.files.into_iter().chain([own]);
    Ok(hashes
        .map(|hash| Entry::of(hash, Some((*index, 1))))
        .collect())
}

/// A shard and its record.
fn shard_entries(folder: &Folder, shard: &webdataset::Shard) -> Result<Vec<Entry>> {
    let range = shard.range();
    let samples = Some((range.start, range.end - range.start));
    let record = webdataset::record_name(range.start / folder.settings.unit());
    let own = FileHash::of(folder.root, &record)?;
    Ok([shard.tar.clone(), own]
        .map(|hash| Entry::of(hash, samples))
        .into())
}

/// Reads `items` on all threads, a bounded number at a time, and takes the results in order.
pub(super) fn in_chunks<I: Sync, T: Send>(
    items: &[I],
    read: impl Fn(&I) -> Result<T> + Sync,
    mut take: impl FnMut(T) -> Result<()>,
) -> Result<()> {
    for chunk in items.chunks(CHUNK) {
        let results: Vec<Result<T>> = chunk.par_iter().map(&read).collect();
        for result in results {
            take(result?)?;
        }
    }
    Ok(())
}

/// A manifest that is read line by line.
pub(super) struct Reader {
    path: PathBuf,
    lines: BufReader<File>,
    number: u64,
}

impl Reader {
    /// Opens the manifest of a folder and reads its first line.
    pub(super) fn open(root: &Path) -> Result<(Self, Heading)> {
        let path = root.join(MANIFEST);
        if path.exists() && !path.is_file() {
            bail!("{}: not a file", path.display());
        }
        let file = File::open(&path).with_context(|| {
            format!(
                "{}: a finished data set has this file; the command that generated the folder writes it at its end",
                path.display()
            )
        })?;
        let mut reader = Self {
            path,
            lines: BufReader::new(file),
            number: 0,
        };
        let Some(heading) = reader.next()? else {
            bail!("{}: empty; generate again", reader.path.display());
        };
        Ok((reader, heading))
    }

    /// At most `CHUNK` further entries; none at the end.
    pub(super) fn entries(&mut self) -> Result<Vec<Entry>> {
        let mut entries = Vec::new();
        while entries.len() < CHUNK {
            match self.next()? {
                Some(entry) => entries.push(entry),
                None => break,
            }
        }
        Ok(entries)
    }

    fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>> {
        self.number += 1;
        let context = || format!("{}, line {}", self.path.display(), self.number);
        let mut line = Vec::new();
        let mut limited = (&mut self.lines).take(MAX_LINE_BYTES);
        limited.read_until(b'\n', &mut line).with_context(context)?;
        if line.is_empty() {
            return Ok(None);
        }
        if line.last() != Some(&b'\n') {
            bail!(
                "{}: cut off or longer than {MAX_LINE_BYTES} bytes",
                context()
            );
        }
        let value = serde_json::from_slice(&line).with_context(context)?;
        Ok(Some(value))
    }
}
