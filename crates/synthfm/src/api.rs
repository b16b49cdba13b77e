//! The verbs for front ends other than the command line: the same models, pictures and answers, bit for bit.
//!
//! Errors are [`anyhow::Error`]s whose chain holds the library's own types, or a [`UsageError`](crate::UsageError) for
//! what the caller asked for in vain.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use anyhow::{Result, bail};
use clap::{Parser, ValueEnum};
use serde_json::Value;
use synthfm_image::{LabelVolume, Plane, RgbImage, Scan, VolumeGeometry, WindowChoice};
use synthfm_sam::{CacheOptions, DeviceChoice, EmbeddingCache, PrecisionChoice, Predictor};
use synthfm_synth::GeneratorConfig;
use toml::Table;

use crate::cli::{Cli, Verb};
use crate::frame::{Corners, Frame, Position};
use crate::input::{self, View};
use crate::model;
use crate::output::{Session, usage};
use crate::predict_volume::{Looked, Wanted, add_labels};
use crate::{evaluate, generate, overrides};

/// A model that is ready for images.
#[derive(Debug, Clone)]
pub struct Model {
    /// `embedded`, or the name of the file or folder.
    pub name: String,
    /// The file or folder; `None` for the embedded model.
    pub path: Option<PathBuf>,
    /// SHA-256 of the weights, as `predict` records it.
    pub sha256: String,
    /// The device, for people.
    pub device: String,
    /// The model with its device and precision.
    pub predictor: Predictor,
}

impl Model {
    /// Finds a model as `--model` does (`None` is the embedded one) and reads its weights onto a device. `cache` is a
    /// folder of embeddings, as `--cache` takes it.
    pub fn open(
        name: Option<&str>,
        device: DeviceChoice,
        precision: PrecisionChoice,
        cache: Option<PathBuf>,
    ) -> Result<Self> {
        let session = Session::silent(Some(device));
        let found = model::Model::open(name)?;
        let record = found.record()?;
        let mut predictor = found.predictor(&session, precision)?;
        if cache.is_some() {
            let options = CacheOptions {
                folder: cache,
                ..CacheOptions::default()
            };
            predictor = predictor.with_cache(EmbeddingCache::open(&options)?);
        }
        Ok(Self {
            name: record.name,
            path: record.path,
            sha256: record.sha256,
            device: session.device()?.description,
            predictor,
        })
    }
}

/// The configuration of a generator: a preset's name or a TOML file (`None` is the default), as `--config` takes it.
pub fn generator_config(name: Option<&str>) -> Result<GeneratorConfig> {
    generate::named_config(name, &[])
}

/// The configuration of a generator from a table, over the defaults.
pub fn generator_config_of(table: Table) -> Result<GeneratorConfig> {
    let config: GeneratorConfig = overrides::resolve(table, &[])?;
    config.validate()?;
    Ok(config)
}

/// Which part of an image is shown, and how.
#[derive(Debug, Clone)]
pub struct Shown {
    /// The slice of a volume, from 0 along `plane`.
    pub slice: Option<usize>,
    /// The plane of the slices.
    pub plane: Plane,
    /// Which intensities become black and white; by default as `predict` chooses.
    pub window: Option<WindowChoice>,
}

/// The 8-bit picture that a model sees of an image or of one slice of a volume, as in `predict`. `path` names the image in
/// errors.
pub fn picture(scan: &Scan, path: &Path, shown: &Shown) -> Result<RgbImage> {
    let view = View {
        slice: shown.slice,
        plane: shown.plane,
        window: shown.window.clone(),
        open: synthfm_image::OpenOptions::default(),
    };
    Ok(input::of_scan(path, scan, &view)?.rgb)
}

/// The prompts on one structure of a volume.
#[derive(Debug, Clone)]
pub struct VolumePrompts {
    /// Clicks of two or three numbers in `frame`; `true` on the structure.
    pub points: Vec<(Vec<f64>, bool)>,
    /// Two opposite corners, 4 or 6 numbers in `frame`. A box over several slices is a box on the one in its middle, and the
    /// structure is looked for on its slices alone.
    pub box_: Option<Vec<f64>>,
    /// A rough mask on the grid of the volume; everything but 0 is inside.
    pub mask: Option<LabelVolume>,
    /// The coordinates of points and box: `voxel`, `display`, `lps` or `ras`, as `--frame` takes them.
    pub frame: String,
}

/// A structure through a volume.
#[derive(Debug, Clone)]
pub struct VolumeAnswer {
    /// 1 inside, on the grid of the volume.
    pub labels: LabelVolume,
    /// For each slice with an answer: its number, the prompted slice it was carried from, the model's own estimate of the
    /// mask's `IoU`, and the mask's pixels.
    pub slices: Vec<(usize, usize, f32, usize)>,
    /// Whether `stop` ended the work.
    pub stopped: bool,
}

/// Segments a structure through a volume, as `predict --volume` does. `stop` ends the work.
pub fn segment_volume(
    predictor: &mut Predictor,
    (scan, path): (&Scan, &Path),
    shown: &Shown,
    prompts: &VolumePrompts,
    stop: &AtomicBool,
) -> Result<VolumeAnswer> {
    let looked = Looked::new(path, scan, shown.plane, shown.window.as_ref())?;
    let frame = Frame::from_str(&prompts.frame, false)
        .map_err(|_| usage("frame: voxel, display, lps or ras expected"))?;
    let mut points = Vec::new();
    for (numbers, on) in &prompts.points {
        points.push((position(numbers)?, *on));
    }
    let wanted = Wanted {
        points,
        corners: prompts.box_.as_deref().map(corners).transpose()?,
        frame,
        slice: shown.slice,
        within: None,
    };
    let mut asked = wanted.prompts(&scan.content, &looked)?;
    if let Some(labels) = &prompts.mask {
        add_labels(labels, &looked, &mut asked.prompted)?;
    }
    if asked.prompted.is_empty() {
        return Err(usage("no prompt: give points, a box or a mask"));
    }
    let carried = looked.carry(predictor, &asked, stop, || ())?;
    let slices = carried.slices.iter().map(|(&slice, answer)| {
        let area = answer.mask.area();
        (slice, answer.from, answer.iou, area)
    });
    Ok(VolumeAnswer {
        labels: looked.labels(&carried)?,
        slices: slices.collect(),
        stopped: carried.stopped,
    })
}

fn finite(numbers: &[f64]) -> Result<()> {
    if numbers.iter().all(|number| number.is_finite()) {
        return Ok(());
    }
    Err(usage(format!("{numbers:?}: finite numbers expected")))
}

fn position(numbers: &[f64]) -> Result<Position> {
    finite(numbers)?;
    match *numbers {
        [x, y] => Ok(Position::InPlane([x, y])),
        [x, y, z] => Ok(Position::InSpace([x, y, z])),
        _ => Err(usage(format!(
            "a point of 2 or 3 numbers expected, got {}",
            numbers.len()
        ))),
    }
}

fn corners(numbers: &[f64]) -> Result<Corners> {
    finite(numbers)?;
    match *numbers {
        [a, b, c, d] => Ok(Corners::in_plane([a, b, c, d])),
        [a, b, c, d, e, f] => Ok(Corners([
            Position::InSpace([a, b, c]),
            Position::InSpace([d, e, f]),
        ])),
        _ => Err(usage(format!(
            "a box of 4 or 6 numbers expected, got {}",
            numbers.len()
        ))),
    }
}

/// Runs `synthfm evaluate` with these flags, silently, and returns what `--json` prints. `stop` ends the work.
pub fn evaluate(flags: &[OsString], stop: &AtomicBool) -> Result<Value> {
    let line = ["synthfm", "evaluate"].map(OsString::from);
    let line = line.into_iter().chain(flags.iter().cloned());
    let cli = Cli::try_parse_from(line).map_err(|error| usage(error.to_string()))?;
    let Verb::Evaluate(args) = &cli.verb else {
        bail!("the flags of evaluate expected");
    };
    if args.compare.is_some() {
        return Err(usage("--compare is a matter of the command line"));
    }
    let session = Session::silent(cli.common.device);
    let mut result = Value::Null;
    evaluate::execute(args, &session, Some(stop), |value, _| {
        result = value.clone();
        Ok(())
    })?;
    Ok(result)
}

/// The LPS map of array indices as the RAS affine of NIfTI and nibabel, in millimetres: 4 rows of 4.
pub fn ras_affine(geometry: &VolumeGeometry) -> [[f64; 4]; 4] {
    let [x, y, z] = geometry.patient_from_voxel();
    // Adding 0 keeps -0 out.
    let negated = |row: [f64; 4]| row.map(|v| 0.0 - v);
    [negated(x), negated(y), z, [0.0, 0.0, 0.0, 1.0]]
}
