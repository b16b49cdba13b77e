//! Windows of larger scenes: at which scale and with which cut the model sees what the generator draws.

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Which part of a scene the model sees. The generator renders a scene of `generator.size`; an image of the batch is
/// the whole scene or a window of it, resized to the model's input as any file would be.
///
/// The side of a target is the longer side of its bounding box. A window is drawn around one target: first the side that
/// the target shall have in the model's input, log-uniform from `min_side_px` to the input's side over
/// `closest`, so that every octave is equally likely; then a target that can be seen at that scale. Window and target
/// give the window's longer side. Its ratio of sides is drawn as that of a scene (`min_aspect`), and it lies anywhere
/// around the target, in half of the views more likely with the target near its middle. Its longer side lies inside the scene; what of its shorter side lies outside is cut off, so that
/// the input has padding there.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ViewConfig {
    /// Share of the images that show the whole scene, 0 to 1. 1: windows are off, and nothing here counts.
    pub whole: f32,
    /// Share of the images with single clicks that show the whole scene, 0 to 1; by default `whole`. What a click means is
    /// guessed from sizes too: windows around structures teach that structures fill the view.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub whole_one_click: Option<f32>,
    /// Smallest side of a window's target in pixels of the model's input, 1 to 64.
    pub min_side_px: f32,
    /// Smallest longer side of a window, in sides of its target, 1 to 8. The largest follows from `min_side_px`.
    pub closest: f32,
    /// Largest enlargement of a window: pixels of the model's input per pixel of the scene, 0.25 to 8.
    pub max_enlargement: f32,
    /// Share of the windows that may cut off up to a quarter of their target's box on each axis, 0 to 1.
    pub cut: f32,
    /// Least share of a structure's pixels that must be visible for the model to be asked about it, 0 to 1.
    pub min_visible: f32,
    /// Least area in cells of the logits of a structure that the model is asked about, 0 to 64.
    pub min_cells: f32,
    /// Images that are views of the same scene, one after another, 1 to 64: rendering a scene costs more than a view.
    pub per_scene: u64,
}

impl Default for ViewConfig {
    fn default() -> Self {
        Self {
            whole: 1.0,
            whole_one_click: None,
            min_side_px: 6.0,
            closest: 1.2,
            max_enlargement: 2.0,
            cut: 0.1,
            min_visible: 0.5,
            min_cells: 3.0,
            per_scene: 1,
        }
    }
}

impl ViewConfig {
    /// Whether some images are windows.
    pub(crate) fn is_on(&self) -> bool {
        self.whole < 1.0
    }

    /// The share of whole scenes for images of one kind of prompts.
    pub(crate) fn whole_for(&self, one_click: bool) -> f32 {
        match self.whole_one_click {
            Some(whole) if one_click => whole,
            _ => self.whole,
        }
    }

    /// Views of each scene: 1 where windows are off.
    pub(crate) fn views_per_scene(&self) -> u64 {
        if self.is_on() { self.per_scene } else { 1 }
    }

    pub(super) fn validate(&self) -> Result<()> {
        let Self {
            whole,
            whole_one_click,
            min_side_px,
            closest,
            max_enlargement,
            cut,
            min_visible,
            min_cells,
            per_scene,
        } = *self;
        for (name, value, low, high) in [
            ("whole", whole, 0.0, 1.0),
            ("whole_one_click", whole_one_click.unwrap_or(0.0), 0.0, 1.0),
            ("min_side_px", min_side_px, 1.0, 64.0),
            ("closest", closest, 1.0, 8.0),
            ("max_enlargement", max_enlargement, 0.25, 8.0),
            ("cut", cut, 0.0, 1.0),
            ("min_visible", min_visible, 0.0, 1.0),
            ("min_cells", min_cells, 0.0, 64.0),
        ] {
            if !(low..=high).contains(&value) {
                return Err(Error::Parameter(format!(
                    "views.{name}: {value} is outside {low} to {high}"
                )));
            }
        }
        if !(1..=64).contains(&per_scene) {
            return Err(Error::Parameter(format!(
                "views.per_scene: {per_scene} is outside 1 to 64"
            )));
        }
        Ok(())
    }
}
