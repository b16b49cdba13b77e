//! A SAM predictor as a segmenter under evaluation.
//! Kirillov et al. (2023) evaluate single clicks with the best of three masks by the model's own `IoU` estimate.
//! Differs: which output is asked for is a choice, because our decoders are trained for a single mask.

use synthfm_image::{Mask, RgbImage};
use synthfm_sam::{Answer, MaskOutput, Predictor, Preparation, Prompts};

use crate::Result;
use crate::evaluate::{AnswerNote, PromptSet, PromptSetting, Segmenter};

/// A model with its name in the tables.
#[derive(Debug, Clone)]
pub struct SamSegmenter {
    name: String,
    identity: String,
    predictor: Predictor,
    output: MaskOutput,
    last: Option<Answer>,
}

impl SamSegmenter {
    /// Evaluates `predictor` under `name`, taking the mask of the highest estimated `IoU` of `output`. `identity` is
    /// the hash of the weights; precision, output and, for our own model, the views are added to it.
    pub fn new(
        name: impl Into<String>,
        identity: &str,
        predictor: Predictor,
        output: MaskOutput,
    ) -> Self {
        let arithmetic = predictor.arithmetic();
        let own = predictor.sam().config().is_own();
        let views = own.then(|| format!(" {}", predictor.views()));
        let views = views.unwrap_or_default();
        Self {
            name: name.into(),
            identity: format!("{identity} {arithmetic} {output:?}{views}"),
            predictor,
            output,
            last: None,
        }
    }

    /// The mask for prompts. Our own model corrects the last mask where there is one; SAM's get its logits.
    fn answer(&mut self, prompts: &PromptSet, last: Option<Answer>) -> Result<Mask> {
        let own = self.predictor.sam().config().is_own();
        let (earlier, mask_input) = match last {
            Some(last) if own => (Some(last.mask), None),
            Some(last) => (None, Some(last.low_res_logits)),
            None => (None, None),
        };
        let clicks = prompts.clicks.iter();
        let prompts = Prompts {
            points: clicks.map(|click| (click.point, click.positive)).collect(),
            box_: prompts.bounding_box,
            mask_input,
            earlier,
        };
        let answer = self.predictor.answer(&prompts, self.output)?;
        Ok(self.last.insert(answer).mask.clone())
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
        self.last = None;
        Ok(self.predictor.set_image(image)?)
    }

    fn segment(&mut self, prompts: &PromptSet) -> Result<Mask> {
        self.answer(prompts, None)
    }

    fn correct(&mut self, prompts: &PromptSet) -> Result<Mask> {
        let last = self.last.take();
        self.answer(prompts, last)
    }

    fn note(&self) -> AnswerNote {
        let Some(last) = &self.last else {
            return AnswerNote::default();
        };
        let crop = last
            .window
            .map(|w| [w.left, w.top, w.size.width, w.size.height]);
        AnswerNote {
            estimated_iou: Some(last.iou.into()),
            crop,
        }
    }
}
