//! Which kinds of scene, and how often.

use serde::{Deserialize, Serialize};

use crate::Result;
use crate::check::{check, probability};

/// Probabilities and weights of the kinds of scene.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MixtureConfig {
    /// Probability of the boundary-aware module; otherwise the shape-aware one.
    pub boundary_aware: f32,
    /// Weight of free close-ups: a few contours that fill the view, as the paper describes.
    pub close_up: f32,
    /// Weight of bodies: organs, bones and lesions inside an outline on dark ground.
    pub body: f32,
    /// Weight of layered tissue with a lesion, a vessel or a rimmed head (ultrasound-like).
    pub layered: f32,
    /// Weight of many similar small cells.
    pub scattered: f32,
    /// Weight of a mirror-symmetric pair in a projection (chest X-ray-like).
    pub paired: f32,
    /// Weight of branching tubes over a wide ground.
    pub vessels: f32,
    /// Weight of hearts: walls, chambers and great vessels.
    pub heart: f32,
    /// Weight of heads: skull, brain, ventricles and folds.
    pub head: f32,
    /// Weight of arms and legs across: bones, muscles and fat.
    pub limb: f32,
    /// Probability that the appearance is drawn without regard to the kind of scene.
    pub free_appearance: f32,
    /// Probability of plain Gaussian mixtures instead of a modality: each tissue gets a mean and a deviation drawn
    /// uniformly, blur, and nothing else of a scanner.
    pub plain: f32,
    /// Probability that a label map serves as ground under contours, and that it lies in a body.
    pub label_map_ground: f32,
}

impl Default for MixtureConfig {
    fn default() -> Self {
        Self {
            boundary_aware: 0.35,
            close_up: 0.28,
            body: 0.25,
            layered: 0.25,
            scattered: 0.12,
            paired: 0.06,
            vessels: 0.07,
            heart: 0.07,
            head: 0.09,
            limb: 0.04,
            free_appearance: 0.2,
            plain: 0.12,
            label_map_ground: 0.35,
        }
    }
}

impl MixtureConfig {
    /// Weights of the shape-aware kinds of scene.
    pub(crate) fn weights(&self) -> [f32; 9] {
        let Self {
            close_up,
            body,
            layered,
            scattered,
            paired,
            vessels,
            heart,
            head,
            limb,
            ..
        } = *self;
        [
            close_up, body, layered, scattered, paired, vessels, heart, head, limb,
        ]
    }

    pub(super) fn validate(&self) -> Result<()> {
        probability("mixture.boundary_aware", self.boundary_aware)?;
        probability("mixture.free_appearance", self.free_appearance)?;
        probability("mixture.plain", self.plain)?;
        probability("mixture.label_map_ground", self.label_map_ground)?;
        let weights = self.weights();
        let names = [
            "mixture.close_up",
            "mixture.body",
            "mixture.layered",
            "mixture.scattered",
            "mixture.paired",
            "mixture.vessels",
            "mixture.heart",
            "mixture.head",
            "mixture.limb",
        ];
        for (name, weight) in names.into_iter().zip(weights) {
            let ok = (0.0..=1e6).contains(&weight);
            check(ok, name, "a weight from 0 to 1e6", weight.to_string())?;
        }
        let total: f32 = weights.iter().sum();
        let ok = total > 0.0 || self.boundary_aware >= 1.0;
        check(
            ok,
            "mixture.close_up",
            "at least one kind of scene with a weight above 0",
            "all 0".to_owned(),
        )
    }
}
