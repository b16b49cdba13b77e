//! The command line: the verbs, the flags of all of them, and those of the verbs that are one file.
//!
//! Names follow the design's contract; values are checked here as far as they can be without reading a file,
//! so that a wrong one is a usage error (exit code 2).

use std::path::PathBuf;

use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum};
use serde::Deserialize;
use synthfm_eval::evaluate::Target;
use synthfm_image::{MaskFormat, Plane, WindowChoice};
use synthfm_sam::{DeviceChoice, PrecisionChoice};

use crate::bench::BenchArgs;
use crate::cache::CacheArgs;
use crate::evaluate::EvaluateArgs;
use crate::frame::{Corners, Frame, Position};
use crate::generate::GenerateArgs;
use crate::limits::OpenArgs;
use crate::models::ModelsArgs;
use crate::predict_volume::SliceRange;
use crate::serve::ServeArgs;

const RESEARCH_USE: &str = "For research use only. synthfm is not a medical device: do not use it for diagnosis \
                            or treatment.";

/// Help of `--precision`, for every verb that encodes images.
pub(crate) const PRECISION_HELP: &str = "Arithmetic of SAM's vision transformers: f32, bf16 (twice as fast, for processors with \
                              AVX512-BF16), f16 (for GPUs), or auto (bf16 or f16 where the device has it)";

/// What this build computes on.
const DEVICE_HELP: &str = if cfg!(feature = "gpu") {
    "Where to compute: auto, cpu, cuda[:i], vulkan[:i] or metal; `synthfm info` lists the devices [default: auto, a GPU if \
     there is one, else the CPU]"
} else {
    "Where to compute: auto or cpu; this build has no support for GPUs (see docs/performance.md) [default: auto]"
};

/// Promptable segmentation of medical images, trained on synthetic images alone (SynthFM, arXiv 2504.08177).
#[derive(Debug, Parser)]
#[command(name = "synthfm", version, after_help = RESEARCH_USE, disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// Flags of every verb.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Common options")]
pub(crate) struct Common {
    /// Threads to compute with [default: one per core]
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) threads: Option<u16>,
    #[arg(long, global = true, value_name = "DEVICE", help = DEVICE_HELP)]
    pub(crate) device: Option<DeviceChoice>,
    /// Print the result as JSON on standard output
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// No progress and no notes on standard error
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// More notes on standard error
    #[arg(short, long, global = true)]
    pub(crate) verbose: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    #[command(about = "Generate synthetic images and their masks", after_help = RESEARCH_USE)]
    Generate(GenerateArgs),
    #[command(about = "Train a model on synthetic images", after_help = RESEARCH_USE)]
    Train(TrainArgs),
    #[command(about = "Evaluate models on real data sets with simulated prompts", after_help = RESEARCH_USE)]
    Evaluate(EvaluateArgs),
    #[command(about = "Compare synthetic images with real ones", after_help = RESEARCH_USE)]
    Compare(CompareArgs),
    #[command(about = "Segment structures of an image by clicks, a box or a mask", after_help = RESEARCH_USE)]
    Predict(PredictArgs),
    #[command(about = "Encode an image once, for many predictions", after_help = RESEARCH_USE)]
    Embed(EmbedArgs),
    #[command(about = "Annotate in the browser, or tell real images from synthetic ones", after_help = RESEARCH_USE)]
    Serve(ServeArgs),
    #[command(about = "List, check and convert models", after_help = RESEARCH_USE)]
    Models(ModelsArgs),
    #[command(about = "Describe an image, volume, model, data set or report, or this machine", after_help = RESEARCH_USE)]
    Info(InfoArgs),
    #[command(about = "Time a model on this machine", after_help = RESEARCH_USE)]
    Bench(BenchArgs),
}

#[derive(Debug, Args)]
pub(crate) struct TrainArgs {
    /// Folder of the run: configuration, log, checkpoints, model
    #[arg(long, value_name = "RUN")]
    pub(crate) out: PathBuf,
    /// A TOML file [default: the paper's recipe, or with --resume the run's own]
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Change one field of the configuration, such as schedule.peak=1e-4 (repeatable)
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
    /// Checkpoint whose image encoder is used
    #[arg(long, value_name = "MODEL")]
    pub(crate) encoder: Option<PathBuf>,
    /// Model to start from instead of random weights
    #[arg(long, value_name = "MODEL")]
    pub(crate) init: Option<PathBuf>,
    /// Continue from the newest checkpoint
    #[arg(long)]
    pub(crate) resume: bool,
    /// Threads that generate samples [default: half of --threads]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) workers: Option<u16>,
}

#[derive(Debug, Args)]
pub(crate) struct CompareArgs {
    /// Real data sets with labels in nnU-Net v2 layout
    #[arg(long, value_name = "DIR", num_args = 1.., required = true)]
    pub(crate) real: Vec<PathBuf>,
    /// The generator: a TOML file, or the name of a preset: any (default), paper, ct, mr, us, xray, micro, retina
    #[arg(long, value_name = "FILE|PRESET")]
    pub(crate) config: Option<String>,
    /// Change one field of the configuration, such as mixture.body=0.5 (repeatable)
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
    /// Number of synthetic samples
    #[arg(long, value_name = "N", default_value_t = 600, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    pub(crate) count: u64,
    /// Seed of the synthetic samples
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// Longest side in pixels to which real images are resized and at which synthetic ones are drawn
    #[arg(long, value_name = "PX", default_value_t = 256, value_parser = clap::value_parser!(u16).range(128..=2048))]
    pub(crate) side: u16,
    /// What counts as one real structure
    #[arg(long, value_enum, default_value_t = TargetName::Largest)]
    pub(crate) targets: TargetName,
    /// The report; its numbers go beside it into REPORT.json
    #[arg(long, value_name = "REPORT.html")]
    pub(crate) out: PathBuf,
}

/// What counts as one object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum TargetName {
    /// All pixels of the structure
    Label,
    /// Its largest connected component
    Largest,
    /// Each of its connected components, or each instance where the labels number them
    Components,
    /// Each instance where the labels number them, otherwise all pixels of the structure
    Instances,
}

impl From<TargetName> for Target {
    fn from(name: TargetName) -> Self {
        match name {
            TargetName::Label => Self::Label,
            TargetName::Largest => Self::Largest,
            TargetName::Components => Self::Components,
            TargetName::Instances => Self::Instances,
        }
    }
}

/// How an input is looked at.
#[derive(Debug, Clone, Args)]
pub(crate) struct ViewArgs {
    /// Slice of a volume, counted from 0 in the order of the file
    #[arg(long, value_name = "K")]
    pub(crate) slice: Option<usize>,
    /// Plane of the slice
    #[arg(long, value_enum, default_value_t = AxisName::Axial)]
    pub(crate) axis: AxisName,
    /// Intensities from black to white: width and level, or abdomen, lung, bone, brain, mediastinum, liver (CT), own
    /// (the file's), percentiles (0.5 and 99.5) [default: 8-bit pictures as they are, otherwise own where the file has
    /// one, else abdomen for Hounsfield units, else percentiles]
    #[arg(long, value_name = "W,L|NAME", allow_hyphen_values = true)]
    pub(crate) window: Option<WindowChoice>,
    #[command(flatten)]
    pub(crate) open: OpenArgs,
}

/// Anatomical planes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum AxisName {
    Axial,
    Coronal,
    Sagittal,
}

impl From<AxisName> for Plane {
    fn from(name: AxisName) -> Self {
        match name {
            AxisName::Axial => Self::Axial,
            AxisName::Coronal => Self::Coronal,
            AxisName::Sagittal => Self::Sagittal,
        }
    }
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("prompt").args(["point", "box_", "mask_prompt", "prompts"]).required(true).multiple(true))]
pub(crate) struct PredictArgs {
    /// An image or volume (PNG, JPEG, BMP, TIFF, NPY, NPZ, NIfTI, NRRD, `MetaImage`, DICOM), or the folder of a DICOM
    /// series; with --prompts the folder that image names refer to
    pub(crate) input: PathBuf,
    /// The mask, in the format of its ending: .png, .tif, .nii.gz, .seg.nrrd, .mha, .dcm (DICOM-SEG), .rtstruct.dcm,
    /// .coco.json; with --prompts a folder
    #[arg(short, long, value_name = "OUT")]
    pub(crate) out: PathBuf,
    /// The same mask in another format too (repeatable)
    #[arg(long, value_name = "OUT", conflicts_with = "prompts")]
    pub(crate) also: Vec<PathBuf>,
    /// Format of the mask where its name does not tell: png, tiff, nifti, nrrd, metaimage, dicom-seg, rtstruct, coco
    /// [default: by the ending; with --prompts png for images, nifti for volumes]
    #[arg(long, value_name = "FORMAT", value_parser = parse_mask_format)]
    pub(crate) format: Option<MaskFormat>,
    /// Name of the structure in formats that hold one; with --prompts it is the entry's id
    #[arg(
        long,
        value_name = "NAME",
        default_value = "structure",
        conflicts_with = "prompts"
    )]
    pub(crate) name: String,
    /// A model file, folder or name [default: the embedded model]
    #[arg(long)]
    pub(crate) model: Option<String>,
    /// A click on the structure (repeatable): column,row of a picture; in a volume, the array indices i,j,k, or the two of
    /// them that span the slice of --slice; see --frame
    #[arg(long, value_name = "X,Y[,Z]", allow_hyphen_values = true)]
    pub(crate) point: Vec<Position>,
    /// A click beside the structure (repeatable)
    #[arg(long, value_name = "X,Y[,Z]", allow_hyphen_values = true)]
    pub(crate) negative: Vec<Position>,
    /// A box around the structure, by two opposite corners; with --volume also in space, whose slices the structure is looked
    /// for on
    #[arg(long = "box", value_name = "X0,Y0,X1,Y1", allow_hyphen_values = true)]
    pub(crate) box_: Option<Corners>,
    /// Coordinates of points and boxes
    #[arg(long, value_enum, default_value_t)]
    pub(crate) frame: Frame,
    /// A rough mask to improve, on the grid of the input
    #[arg(long, value_name = "FILE")]
    pub(crate) mask_prompt: Option<PathBuf>,
    /// Many prompts, also for many images: a JSON list of `{image, id, points, point_labels, box, mask}`, each also with
    /// `slice`, `axis`, `window` and `frame` of its own
    #[arg(long, value_name = "FILE.json", conflicts_with_all = ["point", "negative", "box_", "mask_prompt", "overlay", "embedding"])]
    pub(crate) prompts: Option<PathBuf>,
    /// The whole structure in a volume: from the slices with clicks, a box or a mask to all others; with --prompts that of
    /// every entry
    #[arg(long, conflicts_with_all = ["embedding", "multimask"])]
    pub(crate) volume: bool,
    /// With --volume: look for the structure on these slices alone, both counted in
    #[arg(long, value_name = "FIRST-LAST", requires = "volume")]
    pub(crate) within: Option<SliceRange>,
    /// With --prompts: also one map of labels per image, `OUT/STEM__labels`, whose values count the image's entries from 1
    #[arg(long, requires = "prompts")]
    pub(crate) labels: bool,
    /// With --prompts: a picture per entry of its mask and its prompts over the image
    #[arg(long, value_name = "DIR", requires = "prompts")]
    pub(crate) overlay_dir: Option<PathBuf>,
    #[arg(long, default_value = "f32", value_name = "PRECISION", help = PRECISION_HELP)]
    pub(crate) precision: PrecisionChoice,
    #[command(flatten)]
    pub(crate) cache: CacheArgs,
    #[command(flatten)]
    pub(crate) view: ViewArgs,
    /// An embedding of this input by `synthfm embed`, instead of encoding it
    #[arg(long, value_name = "EMB.safetensors", conflicts_with = "cache")]
    pub(crate) embedding: Option<PathBuf>,
    /// Choose the best of the model's alternatives (whole, part, subpart) for an ambiguous click
    #[arg(long)]
    pub(crate) multimask: bool,
    /// A picture of the mask and the prompts over the input; with --volume a sheet of slices
    #[arg(long, value_name = "OVERLAY.png")]
    pub(crate) overlay: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct EmbedArgs {
    /// An image or volume, or the folder of a DICOM series
    pub(crate) input: PathBuf,
    /// The embedding
    #[arg(short, long, value_name = "EMB.safetensors")]
    pub(crate) out: PathBuf,
    /// A model file, folder or name [default: the embedded model]
    #[arg(long)]
    pub(crate) model: Option<String>,
    #[arg(long, default_value = "f32", value_name = "PRECISION", help = PRECISION_HELP)]
    pub(crate) precision: PrecisionChoice,
    #[command(flatten)]
    pub(crate) cache: CacheArgs,
    #[command(flatten)]
    pub(crate) view: ViewArgs,
}

#[derive(Debug, Args)]
pub(crate) struct InfoArgs {
    /// A file or folder [default: the devices of this machine]
    pub(crate) path: Option<PathBuf>,
    /// Leave out what may tell of whom an image is: descriptions, dates, UIDs; identifying attributes are only named in
    /// any case
    #[arg(long)]
    pub(crate) anonymous: bool,
    /// Write the picture, or the slice of --slice, as a model sees it, with the coordinates of its pixels: array indices
    /// below and on the left, pixels of the display above and on the right
    #[arg(long, value_name = "PICTURE.png", requires = "path")]
    pub(crate) out: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) view: ViewArgs,
}

/// Numbers separated by commas.
pub(crate) fn numbers<const N: usize>(text: &str, expected: &str) -> Result<[f64; N], String> {
    let parsed: Option<Vec<f64>> = text
        .split(',')
        .map(|part| part.trim().parse().ok().filter(|v: &f64| v.is_finite()))
        .collect();
    parsed
        .and_then(|values| values.try_into().ok())
        .ok_or_else(|| {
            format!(
                "{expected} expected, such as {}",
                ["12", "34", "56", "78", "90", "98"][..N].join(",")
            )
        })
}

fn parse_mask_format(text: &str) -> Result<MaskFormat, String> {
    MaskFormat::of_name(text).ok_or_else(|| {
        let names: Vec<&str> = MaskFormat::ALL.iter().map(|(_, name, _)| *name).collect();
        format!("one of {} expected", names.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn values_are_checked() {
        let position = |text: &str| text.parse::<Position>();
        assert_eq!(position("-1.5, 2"), Ok(Position::InPlane([-1.5, 2.0])));
        assert_eq!(position("1,2,3"), Ok(Position::InSpace([1.0, 2.0, 3.0])));
        for text in ["1", "1,2,3,4", "1,nan", "1,2,inf"] {
            let error = position(text).unwrap_err();
            assert!(error.contains("expected, such as 12,34"), "{text}: {error}");
        }
    }
}
