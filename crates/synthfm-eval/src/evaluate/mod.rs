//! Zero-shot evaluation: every segmenter, on every target of every case, with every prompt setting.
//! Protocol of Sengupta et al. (arXiv 2408.04212, 2504.08177): clicks simulated from the truth, Dice per case.
//! Differs: also boxes, scribbles and corrections, `IoU`, HD95, ASSD and surface Dice; a failure is a row of its own and
//! never ends the run.

mod case;
mod iterate;
mod journal;
mod masks;
mod parts;
mod pool;
mod protocol;
mod replay;
mod runs;
mod scores;
#[cfg(test)]
pub(crate) mod tests;
mod volume;

use serde::{Deserialize, Serialize};
use synthfm_image::{BoxXyxy, Mask, Point2, RgbImage};

pub use iterate::Curve;
pub use parts::Target;
pub use pool::{Progress, RunOptions, evaluate};
pub use protocol::{PromptPlan, PromptSetting};
pub use replay::Replay;
pub use scores::Scores;
pub use volume::{
    CopiedMask, TrueBoxes, VolumeNote, VolumeProtocol, VolumeQuestion, VolumeSegmenter,
};

pub(crate) use parts::Parts;
pub(crate) use protocol::negatives_name;
pub(crate) use runs::Runs;

use crate::clicks::{Click, Negatives};
use crate::dataset::{CaseNote, LoadOptions, SliceChoice};
use crate::{Error, Result};

/// The prompts that a user gives the segmenter for one object.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct PromptSet {
    /// Clicks, the positive ones first.
    pub clicks: Vec<Click>,
    /// A box around the object.
    #[serde(with = "box_record")]
    pub bounding_box: Option<BoxXyxy>,
}

impl PromptSet {
    /// Clicks alone.
    pub const fn of_clicks(clicks: Vec<Click>) -> Self {
        Self {
            clicks,
            bounding_box: None,
        }
    }

    /// A box alone.
    pub const fn of_box(bounding_box: Option<BoxXyxy>) -> Self {
        Self {
            clicks: Vec::new(),
            bounding_box,
        }
    }
}

/// A box as `[x0, y0, x1, y1]`.
mod box_record {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::{BoxXyxy, Point2};

    #[expect(clippy::ref_option, reason = "the signature that serde calls")]
    pub(super) fn serialize<S: Serializer>(
        value: &Option<BoxXyxy>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let numbers = value.map(|b| [b.min.x, b.min.y, b.max.x, b.max.y]);
        numbers.serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<BoxXyxy>, D::Error> {
        let numbers = Option::<[f64; 4]>::deserialize(deserializer)?;
        Ok(numbers.map(|[x0, y0, x1, y1]| BoxXyxy {
            min: Point2::new(x0, y0),
            max: Point2::new(x1, y1),
        }))
    }
}

/// Something that segments an image by prompts: a model, or a classical method as a floor.
pub trait Segmenter: Send {
    /// Name in tables.
    fn name(&self) -> &str;

    /// Identifies all that answers depend on beside image and prompts: the hash of the weights, parameters. Results
    /// of an earlier run are kept while this stays the same.
    fn identity(&self) -> String;

    /// Another one that answers the same, for another thread.
    fn fork(&self) -> Box<dyn Segmenter>;

    /// Whether it was made for prompts of this kind; others are left out.
    fn answers(&self, _setting: PromptSetting) -> bool {
        true
    }

    /// Takes an image, the one that the following prompts are about.
    fn set_image(&mut self, image: &RgbImage) -> Result<()>;

    /// The object that the prompts mean, as a mask of the image's size.
    fn segment(&mut self, prompts: &PromptSet) -> Result<Mask>;

    /// A mask from the prompts and, if the method takes masks, its last answer, which the last of the clicks corrects.
    fn correct(&mut self, prompts: &PromptSet) -> Result<Mask> {
        self.segment(prompts)
    }

    /// This segmenter for whole volumes; `None` where it answers single images alone.
    fn volume(&mut self) -> Option<&mut dyn VolumeSegmenter> {
        None
    }

    /// The segmenter's remarks on its last answer, beside the mask.
    fn note(&self) -> AnswerNote {
        AnswerNote::default()
    }
}

/// A segmenter's remarks on one answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct AnswerNote {
    /// The segmenter's own estimate of the mask's `IoU`, 0 to 1.
    pub estimated_iou: Option<f64>,
    /// The crop of the image that gave the mask: first column and row, width and height; `None` for the whole image.
    pub crop: Option<[usize; 4]>,
}

/// How to evaluate.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Options {
    /// Prompt settings, in the order of the columns; the first one is drawn in the report.
    pub settings: Vec<PromptSetting>,
    /// Placements of negative clicks; each is evaluated with each setting that has any.
    pub negatives: Vec<Negatives>,
    /// The pixels that count as one object.
    pub target: Target,
    /// Slices of volumes.
    pub slices: SliceChoice,
    /// How whole volumes are asked for; `None` where slices are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volume: Option<VolumeProtocol>,
    /// Intensities of CT volumes that become black and white, in Hounsfield units.
    pub ct_window_hu: [f32; 2],
    /// Channel of images with several, counted from 0.
    pub channel: usize,
    /// Seed of the clicks and of the bootstrap.
    pub seed: u64,
    /// Smaller targets are left out and counted.
    pub min_area_px: usize,
    /// Tolerance of the surface Dice where the spacing is known.
    pub nsd_tolerance_mm: f64,
    /// Tolerance of the surface Dice where it is not.
    pub nsd_tolerance_px: f64,
}

impl Default for Options {
    /// The paper's four settings, far negatives, the largest component of at least 16 pixels, tolerance 2.
    fn default() -> Self {
        let load = LoadOptions::default();
        Self {
            settings: PromptSetting::PAPER.to_vec(),
            negatives: vec![Negatives::Far],
            target: Target::Largest,
            slices: load.slices,
            volume: None,
            ct_window_hu: load.ct_window_hu,
            channel: load.channel,
            seed: 0,
            min_area_px: 16,
            nsd_tolerance_mm: 2.0,
            nsd_tolerance_px: 2.0,
        }
    }
}

impl Options {
    /// Fails with the name of the option that makes no sense.
    pub fn validate(&self) -> Result<()> {
        let fail = |text: &str| Err(Error::Parameter(text.to_owned()));
        if self.settings.is_empty() {
            return fail("prompts: at least one setting expected");
        }
        let needs_negatives = |setting: &PromptSetting| {
            matches!(setting, PromptSetting::Clicks { negatives: 1.., .. })
        };
        if self.negatives.is_empty() && self.settings.iter().any(needs_negatives) {
            return fail(
                "negatives: at least one placement expected, as a setting has negative clicks",
            );
        }
        for (name, value) in [
            ("nsd_tolerance_mm", self.nsd_tolerance_mm),
            ("nsd_tolerance_px", self.nsd_tolerance_px),
        ] {
            if !(value.is_finite() && value >= 0.0) {
                return fail(&format!("{name}: a number from 0 expected, got {value}"));
            }
        }
        if let Some(protocol) = &self.volume {
            protocol.validate()?;
            let is_iterative = |s: &&PromptSetting| matches!(s, PromptSetting::Iterative { .. });
            if let Some(setting) = self.settings.iter().find(is_iterative) {
                let text = format!(
                    "prompts: {setting} corrects single slices; volumes have corrections of their own after any other setting"
                );
                return fail(&text);
            }
        }
        let [low, high] = self.ct_window_hu;
        if !(low.is_finite() && high.is_finite() && low < high) {
            return fail(&format!(
                "ct_window_hu: a lower and a higher number expected, got {low} and {high}"
            ));
        }
        Ok(())
    }

    /// Every column of the tables, in order.
    pub(crate) fn plans(&self) -> Vec<PromptPlan> {
        let first = PromptPlan::all(&self.settings, &self.negatives);
        let steps = self.volume.as_ref().map_or(vec![0], VolumeProtocol::steps);
        let with_steps = |plan: PromptPlan| {
            let steps = steps.iter();
            steps.map(move |&corrections| PromptPlan {
                corrections,
                ..plan
            })
        };
        first.into_iter().flat_map(with_steps).collect()
    }

    /// How cases are read.
    pub(crate) fn load(&self) -> LoadOptions {
        LoadOptions {
            slices: self.slices,
            min_area_px: self.min_area_px,
            ct_window_hu: self.ct_window_hu,
            channel: self.channel,
        }
    }
}

/// One segmenter on one target with one prompt setting.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Name of the segmenter.
    pub model: String,
    /// Name of the data set.
    pub dataset: String,
    /// Name of the case.
    pub case: String,
    /// Patient of the case.
    pub patient: String,
    /// `CT`, `MR`, `US`, ...
    pub modality: String,
    /// Name of the structure.
    pub structure: String,
    /// The structure's value in the label maps.
    pub label: u16,
    /// Number of the component or instance from 1; 0 for the whole structure.
    pub component: u32,
    /// Axial slice of a volume.
    pub slice: Option<usize>,
    /// Distance between rows and columns; distances are in pixels where it is unknown.
    pub spacing_mm: Option<[f64; 2]>,
    /// Setting and placement of the prompts.
    pub prompt: PromptPlan,
    /// The prompts themselves; of an iterative setting all of them.
    pub prompts: PromptSet,
    /// Pixels of the target.
    pub area_px: usize,
    /// Rows and columns of the image.
    pub image_px: [usize; 2],
    /// How well it went, or what went wrong; of an iterative setting after the last click.
    pub outcome: std::result::Result<Scores, String>,
    /// The scores after every click; only of an iterative setting.
    pub curve: Option<Curve>,
    /// Clicks that the mask does not honour: positive ones outside, negative ones inside.
    pub missed_clicks: usize,
    /// The segmenter's remarks on its answer; in an iterative setting on the last one.
    pub note: AnswerNote,
    /// The prediction's file, relative to the folder of the report, if masks were saved; the truth's lies beside it.
    pub mask: Option<SavedMasks>,
    /// Milliseconds to take the image, shared by all rows of the image.
    pub encode_ms: f64,
    /// Milliseconds to segment; after corrections all of them together.
    pub time_ms: f64,
    /// Further facts about a structure of a whole volume, whose `area_px` are voxels; `None` on single slices.
    pub volume: Option<VolumeNote>,
}

/// Files of a row's masks, relative to the folder of the report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedMasks {
    /// The prediction, 0 and 255.
    pub prediction: String,
    /// The truth, 0 and 255.
    pub truth: String,
}

impl Row {
    /// Unit of the distances: `mm` where the spacing is known, otherwise `px`.
    pub const fn unit(&self) -> &'static str {
        if self.spacing_mm.is_some() {
            "mm"
        } else {
            "px"
        }
    }
}

/// The masks of a row, for drawing.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Kept {
    /// Index into [`Evaluation::rows`].
    pub(crate) row: usize,
    /// Indices of the data set, of its case, and of the view of that case.
    pub(crate) view: [usize; 3],
    pub(crate) truth: Runs,
    pub(crate) prediction: Runs,
}

/// Everything that an evaluation found.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Evaluation {
    /// In order of data set, case, view, segmenter, target and prompt setting.
    pub rows: Vec<Row>,
    /// Cases that are in no supported format or miss a file.
    pub skipped: Vec<CaseNote>,
    /// Cases whose files could not be read.
    pub failed: Vec<CaseNote>,
    /// How odd files were understood.
    pub notes: Vec<CaseNote>,
    /// Targets below the minimal area.
    pub too_small: usize,
    /// Structures that are absent from the image of a case.
    pub absent: usize,
    /// Rows that an earlier run had found.
    pub rows_kept: usize,
    /// Segmenters with prompt settings that they were not made for.
    pub unasked: Vec<(String, PromptPlan)>,
    /// Whether prompts were those of an earlier report.
    pub replayed: bool,
    /// Whether the run was stopped before its end.
    pub stopped: bool,
    pub(crate) kept: Vec<Kept>,
}
