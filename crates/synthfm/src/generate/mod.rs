//! `synthfm generate`: samples into a folder, on several threads and machines, resumable.

mod args;
mod coco;
mod files;
mod folder;
mod job;
mod manifest;
mod npz;
mod ordered;
mod record;
mod settings;
mod share;
mod verify;
mod volumes;
mod webdataset;

use std::fmt::Write as _;
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, bail};
use serde_json::json;
use synthfm_image::{RgbImage, write_rgb_png};
use synthfm_synth::{GeneratorConfig, Sample, SampleParams, preview, render};
use toml::Table;

use crate::interrupt;
use crate::output::{Session, VERSION, check_png, create_parent, shown, usage};
use crate::overrides::{read_text, read_toml, resolve};
use crate::paths::Paths;
pub(crate) use args::GenerateArgs;
use args::{Format, VolumeChoice};
use folder::Folder;
use job::Job;
use manifest::MAX_RECIPE_BYTES;
use ordered::in_order;
pub(crate) use record::Record;
use settings::Settings;
use share::Shard;
pub(crate) use volumes::VolumeRecord;

/// Most samples on a contact sheet.
const SHEET_SAMPLES: u64 = 100;
/// Samples per shard of a WebDataset, if nothing else is said.
const SHARD_SIZE: u64 = 1000;

/// Generates, continues, renders one recipe, or checks a folder.
pub(crate) fn run(args: &GenerateArgs, session: &Session) -> Result<()> {
    if let Some(root) = &args.verify {
        return verify::run(root, args.rerender, session);
    }
    check_paths(args)?;
    if let Some(preview) = &args.preview {
        create_parent(preview)?;
    }
    let recipe = args.recipe.as_deref();
    recipe.map_or_else(
        || generate(args, session),
        |path| render_again(path, args, session),
    )
}

/// Compares what is read and written.
fn check_paths(args: &GenerateArgs) -> Result<()> {
    let mut paths = Paths::default();
    if let Some(config) = &args.config {
        paths.read("--config", Path::new(config));
    }
    if let Some(recipe) = &args.recipe {
        paths.read("--recipe", recipe);
    }
    if let Some(out) = &args.out {
        paths.fill("--out", out, |folder| {
            Settings::read(folder).is_ok() || folder.join("recipes").is_dir()
        })?;
        for name in folder::descriptions(args.format) {
            paths.write("a file of --out", &out.join(name))?;
        }
    }
    match &args.preview {
        Some(preview) => {
            check_png("--preview", preview)?;
            paths.write("--preview", preview)
        }
        None => Ok(()),
    }
}

fn generate(args: &GenerateArgs, session: &Session) -> Result<()> {
    let config = config(args)?;
    let settings = settings(args, &config)?;
    let all = args.start..args.start + args.count.unwrap_or_default();
    let shard = match (args.shard, &args.out) {
        (None, Some(_)) => Shard::of_slurm()?,
        (shard, _) => shard,
    };
    let share = shard.map_or(all.clone(), |shard| shard.of(&all, settings.unit()));
    if let Some(shard) = shard {
        session.note(&shard.describe(&share));
    }
    let stop = interrupt::flag()?;
    let (mut result, mut text) = (json!({}), String::new());
    if let Some(root) = &args.out {
        let folder = Folder::claim(root, &settings)?;
        let filled = Job::new(&folder, &share, &stop).fill(&all, session)?;
        text = format!("{}: {filled}\n", root.display());
        result = json!(filled);
    }
    if let Some(path) = &args.preview {
        let first = share.start..share.end.min(share.start + SHEET_SAMPLES);
        write_sheet(path, &config, args.seed, first, &stop)?;
        let _ = writeln!(text, "{}: contact sheet", path.display());
    }
    result["out"] = json!(args.out.as_deref().map(shown));
    result["preview"] = json!(args.preview.as_deref().map(shown));
    result["samples"] = json!([share.start, share.end]);
    session.print(&result, || text)
}

/// The configuration from preset or file, then `--set`, then `--size`.
fn config(args: &GenerateArgs) -> Result<GeneratorConfig> {
    let mut config = named_config(args.config.as_deref(), &args.set)?;
    if let Some(size) = args.size {
        config.size = size;
    }
    match args.volume {
        None => {
            let meant = |change: &&String| change.trim_start().starts_with("volume.");
            if let Some(change) = args.set.iter().find(meant) {
                return Err(usage(format!("--set {change}: add --volume")));
            }
            config.volume = None;
        }
        Some(VolumeChoice::Configured) => {
            config.volume.get_or_insert_default();
        }
        Some(VolumeChoice::Sized(size)) => config.volume.get_or_insert_default().size = size,
    }
    config.validate()?;
    Ok(config)
}

/// The configuration of a preset's name or a file, then `--set`.
pub(crate) fn named_config(name: Option<&str>, changes: &[String]) -> Result<GeneratorConfig> {
    let table = match name {
        None => Table::new(),
        Some(name) if !Path::new(name).exists() && !name.contains(['/', '.']) => {
            let preset = GeneratorConfig::preset(name)
                .context("--config: no such file, and no preset either")?;
            Table::try_from(preset).context("writing the preset as TOML")?
        }
        Some(path) => read_toml(Path::new(path))?,
    };
    let config: GeneratorConfig = resolve(table, changes)?;
    config.validate()?;
    Ok(config)
}

fn settings(args: &GenerateArgs, config: &GeneratorConfig) -> Result<Settings> {
    if args.shard_size.is_some() && args.format != Format::Webdataset {
        return Err(usage("--shard-size: only --format webdataset has shards"));
    }
    let shard_size = args.shard_size.unwrap_or(SHARD_SIZE);
    volumes::check_format(config, args.format)?;
    let settings = Settings::new(args.format, args.seed, shard_size, config.clone());
    if !args.start.is_multiple_of(settings.unit()) {
        return Err(usage(format!(
            "--start {}: a multiple of the shard size {shard_size} expected",
            args.start
        )));
    }
    Ok(settings)
}

/// A contact sheet of the samples.
fn write_sheet(
    path: &Path,
    config: &GeneratorConfig,
    seed: u64,
    samples: Range<u64>,
    stop: &AtomicBool,
) -> Result<()> {
    let make = |index| {
        if config.volume.is_some() {
            return volumes::tile(config, seed, index);
        }
        let params = SampleParams::draw(config, seed, index);
        preview::tile(&params, &render(&params))
    };
    let take = |tiles: &mut dyn Iterator<Item = synthfm_image::Result<RgbImage>>| {
        tiles
            .take_while(|_| !stop.load(Ordering::Relaxed))
            .collect::<synthfm_image::Result<Vec<_>>>()
    };
    let tiles = in_order(&samples, rayon::current_num_threads(), make, take)
        .context("starting the threads; try fewer with --threads")??;
    if stop.load(Ordering::Relaxed) {
        bail!("stopped; {} was not written", path.display());
    }
    write_rgb_png(path, &preview::sheet(&tiles)?)?;
    Ok(())
}

/// One sample from its recipe file.
fn render_again(path: &Path, args: &GenerateArgs, session: &Session) -> Result<()> {
    let text = read_text(path, MAX_RECIPE_BYTES)?;
    if volumes::is_volume(&text) {
        return volumes::render_again(path, &text, args, session);
    }
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
    if let Some(root) = &args.out {
        folder::create(root, args.format)?;
        let files = record::files(args.format, &params, &sample)?;
        let mut paths = Paths::default();
        paths.read("--recipe", path);
        for file in &files {
            paths.write("a file of --out", &root.join(&file.name))?;
        }
        files.iter().try_for_each(|file| file.write(root))?;
    }
    if let Some(sheet) = &args.preview {
        let tile = preview::tile(&params, &sample)?;
        write_rgb_png(sheet, &preview::sheet(&[tile])?)?;
    }
    let result = json!({ "out": args.out.as_deref().map(shown), "preview": args.preview.as_deref().map(shown), "seed": params.seed, "index": params.index });
    session.print(&result, || {
        format!("rendered seed {}, index {}", params.seed, params.index)
    })
}
