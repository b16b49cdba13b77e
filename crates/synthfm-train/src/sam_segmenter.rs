//! A SAM predictor as a segmenter under evaluation.
//! Kirillov et al. (2023) evaluate single clicks with the best of three masks by the model's own `IoU` estimate.
//! Differs: which output is asked for is a choice, because our decoders are trained for a single mask.

use synthfm_image::{Mask, RgbImage};
use synthfm_sam::{MaskOutput, Predictor, Prompts};

use crate::Result;
use crate::evaluate::{PromptSet, Segmenter};

/// A model with its name in the tables.
#[derive(Debug)]
pub struct SamSegmenter {
    name: String,
    predictor: Predictor,
    output: MaskOutput,
}

impl SamSegmenter {
    /// Evaluates `predictor` under `name`, taking the mask of the highest estimated `IoU` of `output`.
    pub fn new(name: impl Into<String>, predictor: Predictor, output: MaskOutput) -> Self {
        Self {
            name: name.into(),
            predictor,
            output,
        }
    }
}

impl Segmenter for SamSegmenter {
    fn name(&self) -> &str {
        &self.name
    }

    fn set_image(&mut self, image: &RgbImage) -> Result<()> {
        Ok(self.predictor.set_image(image)?)
    }

    fn segment(&mut self, prompts: &PromptSet) -> Result<Mask> {
        let clicks = prompts.clicks.iter();
        let prompts = Prompts {
            points: clicks.map(|click| (click.point, click.positive)).collect(),
            box_: prompts.bounding_box,
            mask_input: None,
        };
        let prediction = self.predictor.predict(&prompts, self.output)?;
        let best = prediction
            .best()
            .expect("a prediction holds at least one mask");
        Ok(self.predictor.mask(best, &prompts))
    }
}
