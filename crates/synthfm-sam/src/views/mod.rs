//! Answers in views, for our own model: the whole image first, then crops of it at full resolution.
//!
//! The model sees every image in the same frame, in which more than half of the structures of some data sets are a few
//! cells large. Interactive segmenters therefore look again at a crop around the first answer (`ZoomIn` of RITM,
//! Sofiiuk et al. 2021; focus crop of `FocalClick`, Chen et al. 2022). Differs: a first answer descends through crops
//! around the prompts as long as the model's own estimate of its answer grows, because one click on a small
//! structure gives a first answer that is much too large to crop by. An answer depends on the image, the prompts and the
//! earlier mask alone, never on what was asked before.
//!
//! A mask prompt with clicks that it gets wrong is corrected: see [`correct`](correct::corrected).

mod correct;
mod policy;
mod region;
mod smooth;
#[cfg(test)]
mod tests;
mod window;
mod zoom;

pub use policy::{Views, ZoomPolicy};
pub(crate) use smooth::{inner_radius, smoothed};
pub use window::Window;

use std::ops::ControlFlow;

use synthfm_image::{Image, Mask};

use crate::error::{Error, Result};
use crate::mask_decoder::MaskOutput;
use crate::predictor::{EncodedImage, Prediction, Predictor, Prompts};

/// Logit of a pixel inside an earlier mask, and minus that of a pixel outside, when it becomes a mask prompt.
const SURE_LOGIT: f32 = 8.0;

/// The structure that prompts mean.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// On the image's grid.
    pub mask: Mask,
    /// The model's own estimate of the mask's `IoU`, in the view that answered.
    pub iou: f32,
    /// The crop that answered; `None` for the whole image.
    pub window: Option<Window>,
    /// Logits `[m, m]` of the answer to one look at the whole image, over the padded square, as [`Prompts::mask_input`] takes
    /// them.
    pub low_res_logits: Vec<f32>,
}

impl Predictor {
    /// The structure that prompts mean.
    ///
    /// SAM's models: the mask of the highest estimated `IoU`, as Meta's code gives it. Our own: the best of the views that
    /// [`Views`] asks for, as [`Predictor::mask`] makes a mask of it, changed where it does not honour a click;
    /// with [`Prompts::earlier`], that mask, changed where the clicks say that it is wrong.
    ///
    /// # Errors
    /// Where no image is set, the prompts are bad, or `output` asks for alternatives that the model does not have.
    pub fn answer(&self, prompts: &Prompts, output: MaskOutput) -> Result<Answer> {
        let mut found = Err(Error::NoImage);
        self.answer_each(std::slice::from_ref(prompts), output, |_, answer| {
            found = answer;
            ControlFlow::Continue(())
        })?;
        found
    }

    /// [`Predictor::answer`] for many objects on the image, each handed to `consume` with its place in `prompts` as soon as
    /// it is known, in the order of [`Predictor::predict_each`].
    pub fn answer_each(
        &self,
        prompts: &[Prompts],
        output: MaskOutput,
        mut consume: impl FnMut(usize, Result<Answer>) -> ControlFlow<()>,
    ) -> Result<()> {
        let image = self.image().ok_or(Error::NoImage)?;
        let with_logits: Vec<Prompts> = prompts.iter().map(|p| self.as_logits(p, image)).collect();
        self.predict_each(&with_logits, output, |i, prediction| {
            let answer = prediction.and_then(|p| self.answer_from(image, &prompts[i], p));
            consume(i, answer)
        })
    }

    /// The prompts with the earlier mask as logits too, where it has the image's size and there are none.
    fn as_logits(&self, prompts: &Prompts, image: &EncodedImage) -> Prompts {
        let mut prompts = prompts.clone();
        let earlier = prompts.earlier.as_ref();
        if let Some(mask) = earlier.filter(|mask| mask.size() == image.transform.original())
            && prompts.mask_input.is_none()
        {
            let window = Window::whole(mask.size());
            let side = self.sam().config().low_res_side();
            let cells = window.cells(&sure_logits(mask), &image.transform, side, -SURE_LOGIT);
            prompts.mask_input = Some(cells);
        }
        prompts
    }

    /// Goes on from what the model said about the whole image.
    fn answer_from(
        &self,
        image: &EncodedImage,
        prompts: &Prompts,
        whole: Prediction,
    ) -> Result<Answer> {
        let best = whole.into_best();
        let best = best.expect("a prediction holds at least one mask");
        let low_res_logits = best.low_res_logits.clone();
        if !self.sam().config().is_own() {
            return Ok(Answer {
                mask: best.mask(),
                iou: best.iou,
                window: None,
                low_res_logits,
            });
        }
        let look = self.look_closely(image, prompts, best)?;
        let picture = image.picture();
        let mask = match &prompts.earlier {
            Some(earlier) => correct::corrected(
                earlier,
                look.mask,
                &prompts.points,
                self.views().policy().correct_reach,
            ),
            None => look.mask,
        };
        Ok(Answer {
            mask: correct::honoured(mask, &prompts.points, picture),
            iou: look.iou,
            window: look.window,
            low_res_logits,
        })
    }
}

/// A mask as logits.
fn sure_logits(mask: &Mask) -> Image {
    let mut logits = Image::zeros(mask.size());
    for (logit, &inside) in logits.data_mut().iter_mut().zip(mask.data()) {
        *logit = if inside { SURE_LOGIT } else { -SURE_LOGIT };
    }
    logits
}
