//! Bounds for carrying a structure through a volume: below, a copy of the prompted mask; above, a model that is
//! told where the structure lies on every slice. Both know the truth, and so how far the structure reaches.

use std::sync::Arc;

use synthfm_image::{Mask, MaskStack, RgbImage};

use super::{VolumeQuestion, VolumeSegmenter};
use crate::clicks::Click;
use crate::dataset::ShownVolume;
use crate::evaluate::{PromptSet, PromptSetting, Segmenter};
use crate::{Error, Result};

fn no_corrections() -> Error {
    Error::Parameter("this segmenter takes no corrections".to_owned())
}

/// A floor: the true mask of the nearest prompted slice on every slice that the structure reaches.
#[derive(Debug, Clone, Copy, Default)]
pub struct CopiedMask;

impl Segmenter for CopiedMask {
    fn name(&self) -> &'static str {
        "copied-mask"
    }

    fn identity(&self) -> String {
        self.name().to_owned()
    }

    fn fork(&self) -> Box<dyn Segmenter> {
        Box::new(*self)
    }

    fn set_image(&mut self, _image: &RgbImage) -> Result<()> {
        Ok(())
    }

    fn segment(&mut self, _prompts: &PromptSet) -> Result<Mask> {
        Err(Error::Parameter(
            "copied-mask answers volumes alone".to_owned(),
        ))
    }

    fn volume(&mut self) -> Option<&mut dyn VolumeSegmenter> {
        Some(self)
    }
}

impl VolumeSegmenter for CopiedMask {
    fn set_volume(&mut self, _volume: &Arc<ShownVolume>) -> Result<()> {
        Ok(())
    }

    fn segment_volume(&mut self, question: VolumeQuestion) -> Result<MaskStack> {
        let VolumeQuestion { prompts, truth } = question;
        let mut answer = MaskStack::new(
            vec![Mask::zeros(truth.size()); truth.slices().len()],
            truth.spacing_mm(),
        )?;
        for slice in truth.extent().into_iter().flatten() {
            let nearest = prompts
                .keys()
                .min_by_key(|&&prompted| prompted.abs_diff(slice));
            if let Some(&nearest) = nearest {
                answer.set(slice, truth.slices()[nearest].clone())?;
            }
        }
        Ok(answer)
    }

    fn takes_corrections(&self) -> bool {
        false
    }

    fn correct_volume(&mut self, _slice: usize, _click: Click) -> Result<MaskStack> {
        Err(no_corrections())
    }
}

/// An upper bound: a model of single slices that gets the true box on each of them.
pub struct TrueBoxes {
    name: String,
    inner: Box<dyn Segmenter>,
    volume: Option<Arc<ShownVolume>>,
}

impl TrueBoxes {
    /// Asks `inner` about every slice, under the name `true-boxes:` and its own.
    pub fn new(inner: Box<dyn Segmenter>) -> Self {
        Self {
            name: format!("true-boxes:{}", inner.name()),
            inner,
            volume: None,
        }
    }
}

impl Segmenter for TrueBoxes {
    fn name(&self) -> &str {
        &self.name
    }

    fn identity(&self) -> String {
        format!("true boxes, {}", self.inner.identity())
    }

    fn fork(&self) -> Box<dyn Segmenter> {
        Box::new(Self {
            name: self.name.clone(),
            inner: self.inner.fork(),
            volume: self.volume.clone(),
        })
    }

    fn answers(&self, setting: PromptSetting) -> bool {
        setting == PromptSetting::Box
    }

    fn set_image(&mut self, image: &RgbImage) -> Result<()> {
        self.inner.set_image(image)
    }

    fn segment(&mut self, prompts: &PromptSet) -> Result<Mask> {
        self.inner.segment(prompts)
    }

    fn volume(&mut self) -> Option<&mut dyn VolumeSegmenter> {
        Some(self)
    }
}

impl VolumeSegmenter for TrueBoxes {
    fn set_volume(&mut self, volume: &Arc<ShownVolume>) -> Result<()> {
        self.volume = Some(Arc::clone(volume));
        Ok(())
    }

    fn segment_volume(&mut self, question: VolumeQuestion) -> Result<MaskStack> {
        let volume = self.volume.as_ref();
        let volume = volume.ok_or_else(|| Error::Parameter("no volume was set".to_owned()))?;
        let mut answer = volume.empty_stack();
        for (slice, truth) in question.truth.slices().iter().enumerate() {
            if let Some(around) = truth.bounding_box() {
                self.inner.set_image(&volume.slice(slice)?)?;
                let mask = self.inner.segment(&PromptSet::of_box(Some(around)))?;
                answer.set(slice, mask)?;
            }
        }
        Ok(answer)
    }

    fn takes_corrections(&self) -> bool {
        false
    }

    fn correct_volume(&mut self, _slice: usize, _click: Click) -> Result<MaskStack> {
        Err(no_corrections())
    }
}
