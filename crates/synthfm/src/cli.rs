//! The command line: every verb with its flags.
//!
//! Names follow the design's contract; values are checked here as far as they can be without reading a file,
//! so that a wrong one is a usage error (exit code 2).

use std::ops::RangeInclusive;
use std::path::PathBuf;

use clap::builder::TypedValueParser;
use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum};
use serde::{Deserialize, Serialize};
use synthfm_eval::evaluate::Target;
use synthfm_image::{MaskFormat, Plane, WindowChoice};
use synthfm_sam::{DeviceChoice, PrecisionChoice};
use synthfm_synth::{SizeConfig, VolumeSize};

use crate::cache::CacheArgs;
use crate::evaluate::EvaluateArgs;
use crate::frame::{Corners, Frame, Position};
use crate::generate::Shard;
use crate::limits::OpenArgs;
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
#[command(group = ArgGroup::new("result").args(["out", "preview", "verify"]).required(true).multiple(true))]
pub(crate) struct GenerateArgs {
    /// Folder for the samples; a folder of the same configuration is continued
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Number of samples
    #[arg(long, value_name = "N", required_unless_present_any = ["recipe", "verify"], value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    pub(crate) count: Option<u64>,
    /// Seed of the data set
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// Index of the first sample
    #[arg(long, value_name = "I", default_value_t = 0, value_parser = clap::value_parser!(u64).range(..1 << 48))]
    pub(crate) start: u64,
    /// Size in pixels: one side, or height x width as in 512x768; 128 to 2048 each
    #[arg(long, value_parser = parse_size)]
    pub(crate) size: Option<SizeConfig>,
    /// Make volumes with a drawn spacing, as NIfTI; slices x rows x columns as in --volume=32x96x96 [default: 64x128x128,
    /// or what the configuration's section `volume` says]
    #[arg(long, value_name = "DxHxW", num_args = 0..=1, default_missing_value = "", require_equals = true, conflicts_with = "size", value_parser = parse_volume_size)]
    pub(crate) volume: Option<VolumeChoice>,
    /// A TOML file, or the name of a preset: any (default), paper, ct, mr, us, xray, micro, retina
    #[arg(long, value_name = "FILE|PRESET")]
    pub(crate) config: Option<String>,
    /// Change one field of the configuration, such as mixture.body=0.5 (repeatable)
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
    /// Layout of the files
    #[arg(long, value_enum, default_value_t = Format::Nnunet)]
    pub(crate) format: Format,
    /// Make only part I of N, counted from 0, so that N machines can fill one folder [default: the task's own part in
    /// a Slurm array, otherwise all]
    #[arg(long, value_name = "I/N", requires = "out")]
    pub(crate) shard: Option<Shard>,
    /// Samples per tar file of a WebDataset [default: 1000]
    #[arg(long, value_name = "N", requires = "out", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub(crate) shard_size: Option<u64>,
    /// A contact sheet of the first 100 samples with their outlines and the gist of their recipes; three planes of each
    /// volume
    #[arg(long, value_name = "SHEET.png")]
    pub(crate) preview: Option<PathBuf>,
    /// Render one sample again from its recipe
    #[arg(long, value_name = "SAMPLE.json", conflicts_with_all = ["count", "seed", "start", "size", "volume", "config", "set", "shard", "shard_size"])]
    pub(crate) recipe: Option<PathBuf>,
    /// Check a generated folder: hashes, missing and surplus files
    #[arg(long, value_name = "DIR", conflicts_with_all = ["out", "count", "seed", "start", "size", "volume", "config", "set", "format", "shard", "shard_size", "preview", "recipe"])]
    pub(crate) verify: Option<PathBuf>,
    /// With --verify: render N samples again, evenly over the set, and compare their bytes
    #[arg(long, value_name = "N", default_value_t = 0, requires = "verify", conflicts_with_all = ["out", "preview", "recipe"], value_parser = clap::value_parser!(u64).range(..=1_000_000))]
    pub(crate) rerender: u64,
}

/// Layouts of generated data sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Format {
    /// nnU-Net v2: imagesTr, labelsTr, dataset.json; also recipes and masks of overlapping targets
    Nnunet,
    /// COCO instances: images, annotations.json; also recipes
    Coco,
    /// WebDataset: tar files of image, 16-bit labels, masks of overlapping targets, recipe
    Webdataset,
    /// One NumPy archive per sample: image, labels, masks; also recipes
    Npz,
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
pub(crate) struct ModelsArgs {
    #[command(subcommand)]
    pub(crate) action: ModelsAction,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ModelsAction {
    /// The embedded model, and those in the folder that `SYNTHFM_MODELS` names
    List,
    /// Check that the weights of a model are whole and fit its configuration
    Verify {
        /// A model file, folder or name
        model: String,
    },
    /// Write a model as one safetensors file with its configuration
    Convert {
        /// A model file, folder or name: .pth or .safetensors with SAM's key names
        input: String,
        /// The safetensors file
        output: PathBuf,
        /// Half precision: half the size, about 3 significant digits
        #[arg(long)]
        half: bool,
    },
    /// Write the mean of the weights of several models, which is often better than each of them
    Average {
        /// Models of the same sizes, each with its share of the mean: a.safetensors=3 b.safetensors=1; without one, 1
        #[arg(required = true, num_args = 2.., value_name = "MODEL[=SHARE]")]
        models: Vec<String>,
        /// The safetensors file
        #[arg(short, long)]
        output: PathBuf,
        /// Half precision: half the size, about 3 significant digits
        #[arg(long)]
        half: bool,
    },
    /// Write a SAM or MobileSAM for other programs: the Python code of its authors, or ONNX
    Export(ExportArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// A model file, folder or name
    pub(crate) model: String,
    /// The file to write; for ONNX the start of two names: OUT.encoder.onnx and OUT.decoder.onnx
    pub(crate) output: PathBuf,
    /// The form of the file
    #[arg(long, value_enum)]
    pub(crate) format: ExportFormat,
    /// ONNX: what the encoder takes
    #[arg(long, value_enum, default_value_t)]
    pub(crate) onnx_input: OnnxInputKind,
    /// ONNX: which masks the decoder returns
    #[arg(long, value_enum, default_value_t)]
    pub(crate) onnx_masks: OnnxMasksKind,
}

/// Inputs of an exported encoder.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum OnnxInputKind {
    /// `x` [1, 3, S, S], resized, normalised and padded: labelme (osam), samexporter
    #[default]
    Tensor,
    /// `input_image` [height, width, 3], RGB 0 to 255, resized: `AnyLabeling`, samexporter --use-preprocess
    Image,
}

/// Masks of an exported decoder.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum OnnxMasksKind {
    /// One: the best of three for one click, the single mask for more prompts
    #[default]
    Best,
    /// All four: the single mask, then the three alternatives
    All,
}

/// Forms of exported models.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExportFormat {
    /// For `safetensors.torch.load_file`
    Safetensors,
    /// For `torch.load`, with `weights_only=True` or without
    Pth,
    /// For ONNX Runtime and the annotation tools that use it
    Onnx,
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

/// A part of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum BenchPart {
    /// The image encoder
    Encoder,
    /// Prompt encoder and mask decoder: one click, and 16 boxes in one call
    Decoder,
    /// A training step of SAM's decoder on an embedding, whatever the model: one object, and four
    Step,
}

/// A measurement with flags of its own.
#[derive(Debug, Subcommand)]
pub(crate) enum BenchVerb {
    /// Whole training steps of our own model: encoder, decoder, losses, backward, optimizer
    Train(BenchTrainArgs),
}

#[derive(Debug, Args)]
pub(crate) struct BenchTrainArgs {
    /// Side of the model's input, a multiple of 16
    #[arg(long, value_name = "PX", default_value_t = 256, value_parser = bench_side)]
    pub(crate) size: usize,
    /// Images per step
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = count(1..=1024))]
    pub(crate) batch: usize,
    /// Objects on every image
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = count(1..=64))]
    pub(crate) objects: usize,
    /// Answers that are corrected, without gradients, before the one that counts
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = count(0..=16))]
    pub(crate) corrections: usize,
    /// Timed repetitions, of which the median is reported
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(crate) repeats: u16,
    /// Precision of the products, forward and backward: f32, bf16 (on processors that have it) or auto
    #[arg(long, default_value = "f32", value_name = "PRECISION")]
    pub(crate) precision: PrecisionChoice,
    /// Parts of a step's batch that are computed at once, each on its share of the threads [default: one for each thread
    /// of the CPU, if they divide the batch]
    #[arg(long, value_name = "N", value_parser = count(1..=64))]
    pub(crate) parts: Option<usize>,
    /// Also time steps whose batches one thread makes beside them, as in training
    #[arg(long)]
    pub(crate) generate: bool,
}

/// The side of an input that model and generator take.
fn bench_side(text: &str) -> Result<usize, String> {
    let side = text.parse().ok();
    let side = side.filter(|side: &usize| (128..=2048).contains(side) && side.is_multiple_of(16));
    side.ok_or_else(|| "a multiple of 16 from 128 to 2048 expected, such as 256".to_owned())
}

/// A number within a range.
fn count(range: RangeInclusive<i64>) -> impl TypedValueParser<Value = usize> {
    clap::value_parser!(u16).range(range).map(usize::from)
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct BenchArgs {
    #[command(subcommand)]
    pub(crate) verb: Option<BenchVerb>,
    /// One part by itself [default: encoding, a click and a training step]
    #[arg(value_enum)]
    pub(crate) part: Option<BenchPart>,
    /// A model file, folder or name [default: the embedded model]
    #[arg(long)]
    pub(crate) model: Option<String>,
    /// Timed repetitions, of which the median is reported
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(crate) repeats: u16,
    #[arg(long, default_value = "f32", value_name = "PRECISION", help = PRECISION_HELP)]
    pub(crate) precision: PrecisionChoice,
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

fn parse_size(text: &str) -> Result<SizeConfig, String> {
    let (height, width) = text.split_once('x').unwrap_or((text, text));
    let side = |part: &str| part.parse().ok().filter(|side| (128..=2048).contains(side));
    match (side(height), side(width)) {
        (Some(height), Some(width)) => Ok(SizeConfig { height, width }),
        _ => Err(
            "one side or HEIGHTxWIDTH expected, 128 to 2048 each, such as 1024 or 512x768".into(),
        ),
    }
}

/// Size of the volumes to make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum VolumeChoice {
    /// As the configuration says.
    Configured,
    /// Slices, rows and columns.
    Sized(VolumeSize),
}

/// Slices, rows and columns; nothing for those of the configuration.
fn parse_volume_size(text: &str) -> Result<VolumeChoice, String> {
    if text.is_empty() {
        return Ok(VolumeChoice::Configured);
    }
    let sides: Option<Vec<usize>> = text.split('x').map(|side| side.parse().ok()).collect();
    let Some(&[depth, height, width]) = sides.as_deref() else {
        return Err("SLICESxROWSxCOLUMNS expected, such as 64x128x128".into());
    };
    Ok(VolumeChoice::Sized(VolumeSize {
        depth,
        height,
        width,
    }))
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
        let size = parse_size("512x768").unwrap();
        assert_eq!((size.height, size.width), (512, 768));
        assert_eq!(parse_size("256").unwrap().width, 256);
        for text in ["", "x", "127", "512x2049", "512x512x512", "-512"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
        let size = VolumeSize {
            depth: 20,
            height: 96,
            width: 128,
        };
        let choice = parse_volume_size("20x96x128");
        assert_eq!(choice, Ok(VolumeChoice::Sized(size)));
        assert_eq!(parse_volume_size(""), Ok(VolumeChoice::Configured));
        for text in ["20", "20x96", "20x96x128x3", "20x-1x3", "axbxc"] {
            assert!(parse_volume_size(text).is_err(), "{text}");
        }
    }
}
