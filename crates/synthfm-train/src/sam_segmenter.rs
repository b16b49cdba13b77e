//! A SAM predictor as a segmenter under evaluation.
//! Kirillov et al. (2023) evaluate single clicks with the best of three masks by the model's own `IoU` estimate.
//! Differs: which output is asked for is a choice, because our decoders are trained for a single mask.

use synthfm_image::{Mask, RgbImage};
use synthfm_sam::{MaskOutput, Predictor, Preparation, Prompts};

use crate::Result;
use crate::evaluate::{PromptSet, PromptSetting, Segmenter};

/// A model with its name in the tables.
#[derive(Debug, Clone)]
pub struct SamSegmenter {
    name: String,
    identity: String,
    predictor: Predictor,
    output: MaskOutput,
    /// Of the last answer.
    low_res_logits: Option<Vec<f32>>,
}

impl SamSegmenter {
    /// Evaluates `predictor` under `name`, taking the mask of the highest estimated `IoU` of `output`. `identity` is
    /// the hash of the weights; precision and output are added to it.
    pub fn new(
        name: impl Into<String>,
        identity: &str,
        predictor: Predictor,
        output: MaskOutput,
    ) -> Self {
        let arithmetic = predictor.arithmetic();
        Self {
            name: name.into(),
            identity: format!("{identity} {arithmetic} {output:?}"),
            predictor,
            output,
            low_res_logits: None,
        }
    }

    fn answer(&mut self, prompts: &PromptSet, mask_input: Option<Vec<f32>>) -> Result<Mask> {
        let clicks = prompts.clicks.iter();
        let prompts = Prompts {
            points: clicks.map(|click| (click.point, click.positive)).collect(),
            box_: prompts.bounding_box,
            mask_input,
        };
        let prediction = self.predictor.predict(&prompts, self.output)?;
        let best = prediction
            .best()
            .expect("a prediction holds at least one mask");
        self.low_res_logits = Some(best.low_res_logits.clone());
        Ok(self.predictor.mask(best, &prompts))
    }
}

impl Segmenter for SamSegmenter {
    fn name(&self) -> &str {
        &self.name
    }

    fn identity(&self) -> String {
        self.identity.clone()
    }

    fn fork(&self) -> Box<dyn Segmenter> {
        Box::new(self.clone())
    }

    /// `MedSAM` was trained with boxes alone.
    fn answers(&self, setting: PromptSetting) -> bool {
        let medsam = self.predictor.sam().config().preparation == Preparation::MedSam;
        !medsam || setting.is_box()
    }

    fn set_image(&mut self, image: &RgbImage) -> Result<()> {
        self.low_res_logits = None;
        Ok(self.predictor.set_image(image)?)
    }

    fn segment(&mut self, prompts: &PromptSet) -> Result<Mask> {
        self.answer(prompts, None)
    }

    fn correct(&mut self, prompts: &PromptSet) -> Result<Mask> {
        let last = self.low_res_logits.take();
        self.answer(prompts, last)
    }
}
