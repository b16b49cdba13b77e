//! A SAM predictor as a segmenter under evaluation.
//! Kirillov et al. (2023) evaluate single clicks with the best of three masks by the model's own `IoU` estimate.
//! Differs: which output is asked for is a choice, because our decoders are trained for a single mask.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use synthfm_image::{Mask, MaskStack, RgbImage};
use synthfm_sam::{
    Answer, Carried, CarryPolicy, CarrySlices, MaskOutput, Predictor, Preparation, Prompts,
    SliceAnswer,
};

use crate::clicks::Click;
use crate::dataset::ShownVolume;
use crate::evaluate::{
    AnswerNote, PromptSet, PromptSetting, Segmenter, VolumeQuestion, VolumeSegmenter,
};
use crate::{Error, Result};

/// A model with its name in the tables.
#[derive(Debug, Clone)]
pub struct SamSegmenter {
    name: String,
    identity: String,
    predictor: Predictor,
    output: MaskOutput,
    last: Option<Answer>,
    carry: CarryPolicy,
    on_volume: Option<OnVolume>,
}

/// A volume, and how far the model has come with a structure of it.
#[derive(Debug, Clone)]
struct OnVolume {
    volume: Arc<ShownVolume>,
    prompted: BTreeMap<usize, Prompts>,
    carried: Carried,
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
            carry: CarryPolicy::default(),
            on_volume: None,
        }
    }

    /// Replaces the constants with which structures are carried through volumes.
    #[must_use]
    pub fn with_carry(self, carry: CarryPolicy) -> Self {
        let identity = format!("{} carry {carry}", self.identity);
        Self {
            identity,
            carry,
            ..self
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
        let prompts = Prompts {
            mask_input,
            earlier,
            ..as_prompts(prompts)
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

    fn volume(&mut self) -> Option<&mut dyn VolumeSegmenter> {
        Some(self)
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

impl SamSegmenter {
    /// Answers on the volume: all prompts, or again after those of a slice have changed.
    fn carried(&mut self, changed: Option<usize>) -> Result<MaskStack> {
        let on = self.on_volume.as_mut();
        let on = on.ok_or_else(|| Error::Parameter("no volume was set".to_owned()))?;
        let volume = Arc::clone(&on.volume);
        let slices = CarrySlices {
            range: 0..volume.slice_count(),
            policy: self.carry,
            picture: |index| Ok(volume.slice(index)?),
            tell: |_, _: &SliceAnswer| ControlFlow::Continue(()),
        };
        let carried = std::mem::take(&mut on.carried);
        on.carried = match changed {
            None => self.predictor.carry(&on.prompted, slices)?,
            Some(slice) => {
                let prompted = &on.prompted;
                self.predictor.carry_on(carried, prompted, slice, slices)?
            }
        };
        let mut stack = volume.empty_stack();
        for (&slice, answer) in &on.carried.slices {
            stack.set(slice, answer.mask.clone())?;
        }
        Ok(stack)
    }
}

impl VolumeSegmenter for SamSegmenter {
    fn set_volume(&mut self, volume: &Arc<ShownVolume>) -> Result<()> {
        self.on_volume = Some(OnVolume {
            volume: Arc::clone(volume),
            prompted: BTreeMap::new(),
            carried: Carried::default(),
        });
        Ok(())
    }

    fn segment_volume(&mut self, question: VolumeQuestion) -> Result<MaskStack> {
        if let Some(on) = &mut self.on_volume {
            let prompts = question.prompts.iter();
            on.prompted = prompts.map(|(&at, set)| (at, as_prompts(set))).collect();
        }
        self.carried(None)
    }

    fn correct_volume(&mut self, slice: usize, click: Click) -> Result<MaskStack> {
        if let Some(on) = &mut self.on_volume {
            let earlier = on.carried.slices.get(&slice).map(|answer| &answer.mask);
            let earlier = earlier.filter(|mask| mask.area() > 0).cloned();
            let prompts = on.prompted.entry(slice).or_default();
            prompts.points.push((click.point, click.positive));
            prompts.earlier = earlier;
        }
        self.carried(Some(slice))
    }
}

fn as_prompts(set: &PromptSet) -> Prompts {
    let clicks = set.clicks.iter();
    Prompts {
        points: clicks.map(|click| (click.point, click.positive)).collect(),
        box_: set.bounding_box,
        ..Prompts::default()
    }
}
