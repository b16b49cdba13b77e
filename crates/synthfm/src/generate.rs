//! `synthfm generate`: samples into a folder, in parallel, resumable.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use anyhow::{Context, Result, bail};
use indicatif::ProgressBar;
use rayon::iter::{IntoParallelIterator, ParallelIterator};
use serde_json::json;
use synthfm_image::{RgbImage, draw, write_rgb_png};
use synthfm_synth::{GeneratorConfig, Sample, SampleParams, preview, render};
use toml::Table;

use crate::cli::GenerateArgs;
use crate::interrupt;
use crate::layout::{Folder, Record, Settings};
use crate::output::{Session, VERSION, create_parent};
use crate::overrides::{read_text, read_toml, resolve};
use crate::progress::bar;

/// Most samples on a contact sheet.
const SHEET_SAMPLES: u64 = 100;
/// More than any recipe needs.
const MAX_RECIPE_BYTES: u64 = 16 << 20;

/// Generates, continues, or renders one recipe.
pub(crate) fn run(args: &GenerateArgs, session: &Session) -> Result<()> {
    if let Some(preview) = &args.preview {
        create_parent(preview)?;
    }
    let recipe = args.recipe.as_deref();
    recipe.map_or_else(
        || generate(args, session),
        |path| render_again(path, args, session),
    )
}

/// Everything the threads share.
struct Job<'a> {
    config: &'a GeneratorConfig,
    seed: u64,
    start: u64,
    folder: Option<Folder<'a>>,
    /// Tiles of the contact sheet, if one is wanted.
    tiles: Option<Mutex<BTreeMap<u64, RgbImage>>>,
    written: AtomicU64,
    stop: &'a AtomicBool,
    bar: ProgressBar,
}

fn generate(args: &GenerateArgs, session: &Session) -> Result<()> {
    let config = config(args)?;
    let count = args.count.unwrap_or_default();
    let folder = args
        .out
        .as_deref()
        .map(|out| Folder::create(out, args.format))
        .transpose()?;
    if let Some(folder) = &folder {
        let format = args.format.name();
        folder.claim(&Settings {
            synthfm: VERSION,
            format,
            seed: args.seed,
            generator: &config,
        })?;
    }
    let stop = interrupt::flag()?;
    let job = Job {
        config: &config,
        seed: args.seed,
        start: args.start,
        folder,
        tiles: args.preview.is_some().then(Mutex::default),
        written: AtomicU64::new(0),
        stop: &stop,
        bar: bar(session, count, "samples"),
    };
    let end = if job.folder.is_some() {
        count
    } else {
        count.min(SHEET_SAMPLES)
    };
    let done = (args.start..args.start + end)
        .into_par_iter()
        .try_for_each(|index| job.sample(index));
    job.bar.finish_and_clear();
    done?;
    job.finish(args, end, session)
}

/// The configuration from preset or file, then `--set`, then `--size`.
fn config(args: &GenerateArgs) -> Result<GeneratorConfig> {
    let table = match args.config.as_deref() {
        None => Table::new(),
        Some(name) if !Path::new(name).exists() && !name.contains(['/', '.']) => {
            let preset = GeneratorConfig::preset(name)
                .context("--config: no such file, and no preset either")?;
            Table::try_from(preset).context("writing the preset as TOML")?
        }
        Some(path) => read_toml(Path::new(path))?,
    };
    let mut config: GeneratorConfig = resolve(table, &args.set)?;
    if let Some(size) = args.size {
        config.size = size;
    }
    config.validate()?;
    Ok(config)
}

impl Job<'_> {
    fn sample(&self, index: u64) -> Result<()> {
        if self.stop.load(Ordering::Relaxed) {
            return Ok(());
        }
        let folder = self
            .folder
            .as_ref()
            .filter(|folder| !folder.is_complete(index));
        let tiles = self
            .tiles
            .as_ref()
            .filter(|_| index - self.start < SHEET_SAMPLES);
        if folder.is_some() || tiles.is_some() {
            let params = SampleParams::draw(self.config, self.seed, index);
            let sample = render(&params);
            if let Some(folder) = folder {
                folder.write(&params, &sample)?;
                self.written.fetch_add(1, Ordering::Relaxed);
            }
            if let Some(tiles) = tiles {
                let tile = preview(&[sample])?;
                tiles
                    .lock()
                    .expect("no thread panics with the lock")
                    .insert(index, tile);
            }
        }
        self.bar.inc(1);
        Ok(())
    }

    fn finish(self, args: &GenerateArgs, count: u64, session: &Session) -> Result<()> {
        let mut in_folder = None;
        if let Some(folder) = &self.folder {
            in_folder = Some(folder.describe(self.config.targets.max_count)?);
        }
        let written = self.written.into_inner();
        if self.stop.load(Ordering::Relaxed) {
            bail!("stopped after {written} new samples; the same command continues");
        }
        if let (Some(path), Some(tiles)) = (&args.preview, self.tiles) {
            let tiles = tiles.into_inner().expect("no thread panics with the lock");
            write_sheet(path, &tiles.into_values().collect::<Vec<_>>())?;
        }
        let skipped = if in_folder.is_some() {
            count - written
        } else {
            0
        };
        let result = json!({
            "out": args.out,
            "preview": args.preview,
            "written": written,
            "already_there": skipped,
            "in_folder": in_folder,
        });
        session.print(&result, || {
            let folder = args.out.as_ref().map(|out| {
                format!(
                    "{}: {written} samples written, {skipped} were there already\n",
                    out.display()
                )
            });
            let sheet = args
                .preview
                .as_ref()
                .map(|path| format!("{}: contact sheet\n", path.display()));
            folder.into_iter().chain(sheet).collect()
        })
    }
}

/// The tiles in a nearly square grid; each brings its own margin.
fn write_sheet(path: &Path, tiles: &[RgbImage]) -> Result<()> {
    let columns = tiles.len().isqrt();
    let columns = columns + usize::from(columns * columns < tiles.len());
    write_rgb_png(path, &draw::grid(tiles, columns, 0)?)?;
    Ok(())
}

/// One sample from its recipe file.
fn render_again(path: &Path, args: &GenerateArgs, session: &Session) -> Result<()> {
    let text = read_text(path, MAX_RECIPE_BYTES)?;
    let record: Record = serde_json::from_str(&text).with_context(|| {
        format!(
            "{}: a recipe of `synthfm generate` expected",
            path.display()
        )
    })?;
    let params = record.recipe;
    params
        .validate()
        .with_context(|| format!("{}: the recipe", path.display()))?;
    if record.synthfm != VERSION {
        let version = &record.synthfm;
        session.note(&format!(
            "drawn by synthfm {version}, rendered by {VERSION}: pixels may differ"
        ));
    }
    let sample: Sample = render(&params);
    if let Some(out) = &args.out {
        Folder::create(out, args.format)?.write(&params, &sample)?;
    }
    if let Some(sheet) = &args.preview {
        write_rgb_png(sheet, &preview(&[sample])?)?;
    }
    let result = json!({ "out": args.out, "preview": args.preview, "seed": params.seed, "index": params.index });
    session.print(&result, || {
        format!("rendered seed {}, index {}", params.seed, params.index)
    })
}
