//! WebDataset: shards `shard-000000.tar` of samples one after the other, each a few files of one stem.
//!
//! Shard k holds the samples from k times the shard size on. Headers carry neither time nor owner, so that the same
//! samples give the same bytes. `shard-000000.json` is written when its tar file is in place: without it a shard is
//! made again.

use std::fs::File as DiskFile;
use std::io::{Read, Write};
use std::ops::Range;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use tar::{Archive, Builder, EntryType, Header};

use super::files::{File, FileHash, Hashing, write_whole};
use super::folder::{Folder, file_names};
use crate::overrides::read_text;
use synthfm_image::write_json;

const MAX_RECORD_BYTES: u64 = 1 << 16;

/// The record of a shard.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Shard {
    pub(super) tar: FileHash,
    /// Version of synthfm that drew it.
    synthfm: String,
    seed: u64,
    first_index: u64,
    samples: u64,
    /// SHA-256 of `generator.toml`.
    config_sha256: String,
}

impl Shard {
    pub(super) fn range(&self) -> Range<u64> {
        self.first_index..self.first_index.saturating_add(self.samples)
    }
}

/// The stem of shard `number`.
fn stem(number: u64) -> String {
    format!("shard-{number:06}")
}

/// The name of shard `number`.
pub(super) fn tar_name(number: u64) -> String {
    format!("{}.tar", stem(number))
}

/// The name of the record of shard `number`.
pub(super) fn record_name(number: u64) -> String {
    format!("{}.json", stem(number))
}

/// The shard of a file name that begins as a shard's.
pub(super) fn number_of(name: &str) -> Option<u64> {
    let (digits, _) = name.strip_prefix("shard-")?.split_once('.')?;
    let number = digits.parse().ok()?;
    name.starts_with(&stem(number)).then_some(number)
}

/// The records of the finished shards in ascending order.
pub(super) fn shards(folder: &Folder) -> Result<Vec<Shard>> {
    let names = file_names(folder.root)?;
    let numbers = names.iter().filter_map(|name| {
        let number = number_of(name)?;
        (*name == record_name(number)).then_some(number)
    });
    let mut found = Vec::new();
    for number in numbers {
        let path = folder.path(&record_name(number));
        let shard = read(folder, number)
            .with_context(|| format!("{}: delete it and generate again", path.display()))?;
        let tar = folder.path(&tar_name(number)).metadata();
        if tar.is_ok_and(|tar| tar.is_file() && tar.len() == shard.tar.bytes) {
            found.push(shard);
        }
    }
    found.sort_by_key(|shard| shard.first_index);
    Ok(found)
}

fn read(folder: &Folder, number: u64) -> Result<Shard> {
    let text = read_text(&folder.path(&record_name(number)), MAX_RECORD_BYTES)?;
    let shard: Shard = serde_json::from_str(&text).context("not the record of a shard")?;
    let (first, unit) = (shard.first_index, folder.settings.unit());
    if number.checked_mul(unit) != Some(first) || !(1..=unit).contains(&shard.samples) {
        bail!(
            "shard {number} cannot hold {} samples from {first} on",
            shard.samples
        );
    }
    Ok(shard)
}

/// Writes the shard of the samples `unit`, whose files `samples` gives in order.
pub(super) fn write(
    folder: &Folder,
    unit: Range<u64>,
    samples: &mut dyn Iterator<Item = Result<Vec<File>>>,
) -> Result<()> {
    let settings = folder.settings;
    let number = unit.start / settings.unit();
    let (name, count) = (tar_name(number), unit.end - unit.start);
    let tar = write_whole(&folder.path(&name), |out| {
        let mut out = Hashing::new(out);
        append(&mut out, count, samples)?;
        Ok(out.finish(&name))
    })?;
    let shard = Shard {
        tar,
        synthfm: settings.synthfm.clone(),
        seed: settings.seed,
        first_index: unit.start,
        samples: count,
        config_sha256: settings.sha256()?,
    };
    Ok(write_json(&folder.path(&record_name(number)), &shard)?)
}

fn append(
    out: &mut dyn Write,
    count: u64,
    samples: &mut dyn Iterator<Item = Result<Vec<File>>>,
) -> Result<()> {
    let mut tar = Builder::new(out);
    for _ in 0..count {
        let files = samples.next().context("the samples ended early")?;
        for file in files? {
            let mut header = Header::new_ustar();
            header.set_entry_type(EntryType::Regular);
            header.set_size(file.bytes.len() as u64);
            header.set_mode(0o644);
            header.set_mtime(0);
            header.set_uid(0);
            header.set_gid(0);
            tar.append_data(&mut header, &file.name, file.bytes.as_slice())?;
        }
    }
    Ok(tar.finish()?)
}

/// Compares the files of a sample with those of the same stem in its shard; returns the names of those that differ.
pub(super) fn differing(path: &Path, case: &str, files: &[File]) -> Result<Vec<String>> {
    let context = || path.display().to_string();
    let mut archive = Archive::new(DiskFile::open(path).with_context(context)?);
    let mut missing: Vec<&File> = files.iter().collect();
    let mut differing = Vec::new();
    for entry in archive.entries_with_seek().with_context(context)? {
        let entry = entry.with_context(context)?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        if name.split('.').next() != Some(case) {
            continue;
        }
        let Some(at) = missing.iter().position(|file| file.name == name) else {
            differing.push(name);
            continue;
        };
        let expected = &missing.swap_remove(at).bytes;
        let mut bytes = Vec::new();
        // One more than expected shows that it is longer.
        let most = expected.len() as u64 + 1;
        entry
            .take(most)
            .read_to_end(&mut bytes)
            .with_context(context)?;
        if bytes != *expected {
            differing.push(name);
        }
    }
    differing.extend(missing.iter().map(|file| file.name.clone()));
    Ok(differing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_belong_together() {
        assert_eq!(number_of("shard-000012.tar"), Some(12));
        assert_eq!(number_of("shard-1234567.json.x.tmp"), Some(1_234_567));
        for name in ["shard-12.tar", "shard-000012", "shard-.tar", "other.tar"] {
            assert_eq!(number_of(name), None, "{name}");
        }
    }

    #[test]
    fn tar_files_depend_on_the_samples_alone() {
        let file = |name: &str, length: usize| File {
            name: name.into(),
            bytes: vec![7; length],
        };
        let samples = || {
            let all = [
                vec![file("a.png", 700), file("a.json", 3)],
                vec![file("b.png", 0)],
            ];
            all.into_iter().map(Ok)
        };
        let mut bytes = Vec::new();
        append(&mut bytes, 2, &mut samples()).unwrap();
        // Per file a header and whole blocks of 512 bytes; two empty blocks end the archive.
        assert_eq!(bytes.len(), 512 * (1 + 2 + 1 + 1 + 1 + 2));
        // Name, mode, user, group, size and time of the first header, in octal.
        assert_eq!(&bytes[..6], b"a.png\0");
        assert_eq!(&bytes[100..124], b"0000644\x000000000\x000000000\0");
        assert_eq!(&bytes[124..148], b"00000001274\x0000000000000\0");
        let mut again = Vec::new();
        append(&mut again, 2, &mut samples()).unwrap();
        assert_eq!(bytes, again);
        let error = append(&mut Vec::new(), 3, &mut samples()).unwrap_err();
        assert!(error.to_string().contains("ended early"));
    }
}
