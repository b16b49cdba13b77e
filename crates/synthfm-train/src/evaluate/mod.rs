//! Zero-shot evaluation: every segmenter, on every target of every case, with every prompt setting.
//! Protocol of Sengupta et al. (arXiv 2408.04212, 2504.08177): clicks simulated from the truth, Dice per case.
//! Differs: also `IoU`, HD95 and surface Dice; a failure is a row of its own and never ends the run.

mod protocol;
mod run;
mod runs;
mod scores;
#[cfg(test)]
pub(crate) mod tests;

use serde::Serialize;
use synthfm_image::{BoxXyxy, Mask, RgbImage};

pub use protocol::{PromptPlan, PromptSetting, Target};
pub use run::evaluate;
pub use scores::Scores;

pub(crate) use protocol::{Parts, negatives_name};
pub(crate) use runs::Runs;

use crate::clicks::{Click, Negatives};
use crate::dataset::CaseNote;
use crate::{Error, Result};

/// What a user tells the segmenter about one object.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PromptSet {
    /// Clicks, the positive ones first.
    pub clicks: Vec<Click>,
    /// A box around the object.
    pub bounding_box: Option<BoxXyxy>,
}

/// Something that segments an image by prompts: a model, or a classical method as a floor.
pub trait Segmenter {
    /// Name in tables.
    fn name(&self) -> &str;

    /// Takes an image, the one that the following prompts are about.
    fn set_image(&mut self, image: &RgbImage) -> Result<()>;

    /// The object that the prompts mean, as a mask of the image's size.
    fn segment(&mut self, prompts: &PromptSet) -> Result<Mask>;
}

/// How to evaluate.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Options {
    /// Prompt settings, in the order of the columns; the first one is drawn in the report.
    pub settings: Vec<PromptSetting>,
    /// Placements of negative clicks; each is evaluated with each setting that has any.
    pub negatives: Vec<Negatives>,
    /// What counts as one object.
    pub target: Target,
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
        Self {
            settings: PromptSetting::PAPER.to_vec(),
            negatives: vec![Negatives::Far],
            target: Target::Largest,
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
        Ok(())
    }
}

/// One segmenter on one target with one prompt setting.
#[derive(Debug, Clone, PartialEq)]
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
    /// Its value in the label maps.
    pub label: u16,
    /// Number of the component or instance from 1; 0 for the whole structure.
    pub component: u32,
    /// Axial slice of a volume.
    pub slice: Option<usize>,
    /// Distance between rows and columns; distances are in pixels where it is unknown.
    pub spacing_mm: Option<[f64; 2]>,
    /// Setting and placement of the prompts.
    pub prompt: PromptPlan,
    /// The prompts themselves.
    pub prompts: PromptSet,
    /// Pixels of the target.
    pub area_px: usize,
    /// How well it went, or what went wrong.
    pub outcome: std::result::Result<Scores, String>,
    /// Milliseconds to take the image, shared by all rows of the image.
    pub encode_ms: f64,
    /// Milliseconds to segment.
    pub time_ms: f64,
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
    /// Whether the run was stopped before its end.
    pub stopped: bool,
    pub(crate) kept: Vec<Kept>,
}
