//! The flags of `synthfm evaluate`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use synthfm_eval::clicks::Negatives;
use synthfm_eval::dataset::{Layout, SliceChoice};
use synthfm_eval::evaluate::{Options, PromptSetting, VolumeProtocol};
use synthfm_eval::report::Study;
use synthfm_image::Window;
use synthfm_sam::{CarryPolicy, PrecisionChoice, Views};

use crate::cache::CacheArgs;
use crate::cli::{PRECISION_HELP, TargetName};
use crate::input::parse_range;

#[derive(Debug, Args)]
pub(crate) struct EvaluateArgs {
    /// Data sets: nnU-Net v2, COCO, images with masks, or a public data set as it was downloaded
    #[arg(long, value_name = "DIR", num_args = 1.., required_unless_present = "compare")]
    pub(crate) data: Vec<PathBuf>,
    /// How the data sets are laid out [default: as their folders show]: nnunet, coco, folders, msd, amos22, chaos, btcv,
    /// totalsegmentator, flare22, kits, hc18, psfhs, camus, busi, acdc, livecell, dsb2018
    #[arg(long, value_name = "NAME")]
    pub(crate) layout: Option<Layout>,
    /// Models: files, folders or names; `disc`, `flood-fill` and `random-walker` are floors without a model. The first
    /// one is drawn in the report
    #[arg(long, value_name = "MODEL", num_args = 1.., default_value = "embedded")]
    pub(crate) model: Vec<String>,
    #[arg(long, default_value = "f32", value_name = "PRECISION", help = PRECISION_HELP)]
    pub(crate) precision: PrecisionChoice,
    #[command(flatten)]
    pub(crate) cache: CacheArgs,
    /// Where our own model looks for its answers: whole (the whole image alone), or auto (the whole image, then crops), with
    /// other constants as auto,NAME=VALUE,.. (docs/evaluation.md)
    #[arg(long, value_name = "VIEWS", default_value = "auto")]
    pub(crate) views: Views,
    /// Prompt settings: P,N positive and negative clicks, box, box-jitter, scribble[-N], iterative[-N] (clicks that
    /// correct), iterative[-N]+mask (the last answer is shown, too) [default: 1,0 3,0 1,2 3,2]
    #[arg(long, value_name = "SETTING", num_args = 1..)]
    pub(crate) prompts: Vec<PromptSetting>,
    /// Where negative clicks lie
    #[arg(long, value_enum, num_args = 1.., default_values_t = [NegativesName::Far])]
    pub(crate) negatives: Vec<NegativesName>,
    /// What counts as one object
    #[arg(long, value_enum, default_value_t = TargetName::Largest)]
    pub(crate) targets: TargetName,
    /// Axial slices of volumes: largest (per structure), all, or stride-N; the latter two where a structure has the
    /// minimal area
    #[arg(long, value_name = "CHOICE", default_value = "largest")]
    pub(crate) slices: SliceChoice,
    /// What is segmented: slices, each by prompts of its own, or volumes, by prompts on one slice or three, then by
    /// corrections
    #[arg(long, value_enum, default_value_t = ProtocolName::Slices)]
    pub(crate) protocol: ProtocolName,
    /// With --protocol volume: slices with prompts, 1 (of the largest area) or 3 (also halfway to both ends)
    #[arg(long, value_name = "N", default_value_t = VolumeProtocol::default().prompted_slices)]
    pub(crate) prompted_slices: usize,
    /// With --protocol volume: numbers of corrections after which the answer is scored, beside the one before any
    #[arg(long, value_name = "N", num_args = 1.., default_values_t = VolumeProtocol::default().corrections)]
    pub(crate) corrections: Vec<usize>,
    /// With --protocol volume: structures on fewer slices are left out and counted
    #[arg(long, value_name = "N", default_value_t = VolumeProtocol::default().min_slices)]
    pub(crate) min_slices: usize,
    /// With --protocol volume: how structures are carried from slice to slice: auto, with other constants as
    /// auto,NAME=VALUE,.. (docs/evaluation.md)
    #[arg(long, value_name = "CARRY", default_value = "auto")]
    pub(crate) carry: CarryPolicy,
    /// Smaller targets are left out and counted
    #[arg(long, value_name = "PX", default_value_t = Options::default().min_area_px)]
    pub(crate) min_area: usize,
    /// Intensities of CT volumes from black to white: width and level, or abdomen, lung, bone, brain, mediastinum,
    /// liver
    #[arg(
        long,
        value_name = "W,L|NAME",
        default_value = "abdomen",
        allow_hyphen_values = true,
        value_parser = parse_range
    )]
    pub(crate) ct_window: Window,
    /// Channel of images with several (a series of volumes, or a file per channel in nnU-Net's data sets), counted from 0
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) channel: usize,
    /// Seed of prompts and bootstrap
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// Ready-made tables: prompts (structures by setting and model) or ablation (checkpoints by modality)
    #[arg(long, value_enum)]
    pub(crate) study: Option<StudyName>,
    /// Save every prediction and its truth in REPORT/masks
    #[arg(long)]
    pub(crate) save_masks: bool,
    /// Give the prompts of an earlier report (its folder or results.csv) instead of simulated ones
    #[arg(long, value_name = "REPORT")]
    pub(crate) replay: Option<PathBuf>,
    /// Cases at the same time [default: one per thread, at most 8]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) jobs: Option<u16>,
    /// Folder for results.csv, summary.json and report.html; a folder of the same options is continued
    #[arg(long, value_name = "REPORT", required_unless_present = "compare")]
    pub(crate) out: Option<PathBuf>,
    /// Compare two results.csv instead of evaluating: paired differences of Dice with their tests
    #[arg(long, value_names = ["A.csv", "B.csv"], num_args = 2, conflicts_with_all = ["data", "layout", "model", "prompts", "study", "save_masks", "replay"])]
    pub(crate) compare: Option<Vec<PathBuf>>,
}

impl EvaluateArgs {
    /// The options of an evaluation, from the flags about its protocol.
    pub(crate) fn options(&self) -> Options {
        let volume = (self.protocol == ProtocolName::Volume).then(|| VolumeProtocol {
            prompted_slices: self.prompted_slices,
            corrections: self.corrections.clone(),
            min_slices: self.min_slices,
        });
        let prompts = match (self.prompts.as_slice(), &volume) {
            ([], None) => PromptSetting::PAPER.to_vec(),
            ([], Some(_)) => vec![PromptSetting::Box, ONE_CLICK],
            (given, _) => given.to_vec(),
        };
        Options {
            settings: prompts,
            negatives: self.negatives.iter().map(|&name| name.into()).collect(),
            target: self.targets.into(),
            slices: self.slices,
            volume,
            ct_window_hu: [self.ct_window.low, self.ct_window.high],
            channel: self.channel,
            seed: self.seed,
            min_area_px: self.min_area,
            ..Options::default()
        }
    }
}

/// The prompt beside a box that volumes are asked by where none is named.
const ONE_CLICK: PromptSetting = PromptSetting::Clicks {
    positives: 1,
    negatives: 0,
};

/// What is segmented.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ProtocolName {
    /// Slices and pictures
    Slices,
    /// Whole volumes
    Volume,
}

/// Placements of negative clicks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum NegativesName {
    /// As far as possible from every other click
    Far,
    /// In a ring around the structure, a little away from it
    Ring,
    /// In a narrow band just outside the border
    Border,
}

impl From<NegativesName> for Negatives {
    fn from(name: NegativesName) -> Self {
        match name {
            NegativesName::Far => Self::Far,
            NegativesName::Ring => Self::Ring,
            NegativesName::Border => Self::Border,
        }
    }
}

/// Ready-made tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum StudyName {
    /// Dice of every structure with every prompt setting and model
    Prompts,
    /// Mean Dice of every model over the structures of each modality
    Ablation,
}

impl From<StudyName> for Study {
    fn from(name: StudyName) -> Self {
        match name {
            StudyName::Prompts => Self::Prompts,
            StudyName::Ablation => Self::Ablation,
        }
    }
}
