//! Random acquisition of a volume: slice profile, jitter, and the effects of single images that suit slices.

use super::{Plan, kind_of_image};
use crate::params::{Effect, NoiseParams};
use crate::volume::{JitterParams, SliceProfile};

impl Plan<'_> {
    /// Smallest and largest mean of what is painted.
    fn brightness(&self) -> [f32; 2] {
        let solids = self.solids.iter().map(|solid| solid.paint.mean);
        let regions = self.regions.iter().flat_map(|regions| &regions.paints);
        let means = regions.map(|paint| paint.mean).chain(solids);
        let [low, high] = means.fold([self.ground.mean; 2], |[low, high], mean| {
            [low.min(mean), high.max(mean)]
        });
        // What is nearly of one grey is not torn apart.
        [low.max(0.0), high.max(low + 0.25)]
    }

    pub(super) fn draw_profile(&mut self) -> SliceProfile {
        let thickness = self.scene.rng.within(self.config.slice_thickness);
        // Planes about one and a half pixels apart.
        let pixels = thickness * self.spacing_mm[0] / self.spacing_mm[2];
        let planes = match pixels {
            p if p < 1.6 => 1,
            p if p < 5.0 => 3,
            _ => 5,
        };
        SliceProfile { thickness, planes }
    }

    pub(super) fn draw_jitter(&mut self) -> Option<JitterParams> {
        let jitter = JitterParams {
            seed: self.scene.rng.seed(),
            shift: self.scene.rng.within(self.config.jitter_shift),
            gain: self.scene.rng.within(self.config.jitter_gain),
        };
        self.scene.rng.chance(self.config.jitter).then_some(jitter)
    }

    /// The effects and the view of a single image of this look; what would change from slice to slice without reason
    /// is left out.
    pub(super) fn draw_scanner(&mut self) -> Vec<Effect> {
        let kind = kind_of_image(self.kind);
        self.scene.draw_acquisition(kind);
        self.scene.draw_view(kind);
        // Stretched slice by slice, brightness would jump: the window follows the paints instead.
        if self.scene.view.stretch.take().is_some() && !self.scene.beams {
            let [low, high] = self.brightness();
            let window = self.scene.view.window;
            self.scene.view.window = window.map(|share| low + share * (high - low));
        }
        let mut effects = std::mem::take(&mut self.scene.effects);
        effects.retain(|effect| {
            !matches!(
                effect,
                Effect::Relief(_) | Effect::Defocus(_) | Effect::Noise(NoiseParams::Perlin { .. })
            )
        });
        effects
    }
}
