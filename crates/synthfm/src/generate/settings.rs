//! `generator.toml`: what determines the files of a folder.

use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use synthfm_image::write_atomically;
use synthfm_synth::GeneratorConfig;

use super::Format;
use super::files::sha256;
use crate::output::VERSION;
use crate::overrides::{read_text, read_toml, resolve};

/// The file in the folder.
pub(super) const SETTINGS: &str = "generator.toml";
const MAX_BYTES: u64 = 1 << 20;

/// The settings that determine the files of a folder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Settings {
    /// Version of synthfm that draws.
    pub(super) synthfm: String,
    pub(super) format: Format,
    pub(super) seed: u64,
    /// Samples per shard of a WebDataset.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) shard_size: Option<u64>,
    pub(super) generator: GeneratorConfig,
}

impl Settings {
    /// The settings of a data set that this version of the program writes.
    pub(super) fn new(
        format: Format,
        seed: u64,
        shard_size: u64,
        generator: GeneratorConfig,
    ) -> Self {
        Self {
            synthfm: VERSION.to_owned(),
            format,
            seed,
            shard_size: (format == Format::Webdataset).then_some(shard_size),
            generator,
        }
    }

    /// Samples that are written as a whole.
    pub(super) fn unit(&self) -> u64 {
        self.shard_size.unwrap_or(1).max(1)
    }

    /// Reads those of a folder.
    pub(super) fn read(root: &Path) -> Result<Self> {
        let path = root.join(SETTINGS);
        let settings: Self =
            resolve(read_toml(&path)?, &[]).with_context(|| path.display().to_string())?;
        let config = &settings.generator;
        config
            .validate()
            .with_context(|| path.display().to_string())?;
        Ok(settings)
    }

    fn text(&self) -> Result<String> {
        toml::to_string(self).context("writing the configuration as TOML")
    }

    /// SHA-256 of the file.
    pub(super) fn sha256(&self) -> Result<String> {
        Ok(sha256(self.text()?.as_bytes()))
    }

    /// Writes them into a folder, or checks that it was begun with the same.
    pub(super) fn claim(&self, root: &Path) -> Result<()> {
        let (path, text) = (root.join(SETTINGS), self.text()?);
        if !path.exists() {
            write_atomically(&path, |out| out.write_all(text.as_bytes()))?;
            return Ok(());
        }
        let before = read_text(&path, MAX_BYTES)?;
        if before == text {
            return Ok(());
        }
        let differs = before.lines().zip(text.lines()).find(|(a, b)| a != b);
        let (a, b) = differs.unwrap_or(("fewer lines", "more lines"));
        bail!(
            "{} was begun with another configuration ({SETTINGS} says `{a}`, this command `{b}`): choose another --out",
            root.display()
        );
    }
}
