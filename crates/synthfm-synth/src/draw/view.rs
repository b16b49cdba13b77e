//! Random last steps: stretch, window, gamma, grey levels, field of view.

use super::{Modality, Scene};
use crate::params::{FieldOfView, SceneKind};

impl Scene<'_> {
    pub(super) fn draw_view(&mut self, kind: SceneKind) {
        let appearance = &self.config.appearance;
        self.view.gamma = self.rng.log_within(appearance.gamma);
        if self.rng.chance(appearance.stretch) {
            let dark = self.rng.uniform(0.0, 0.02);
            self.view.stretch = Some([dark, self.rng.uniform(0.97, 1.0)]);
        }
        if self.rng.chance(appearance.window) {
            self.view.window = [self.rng.uniform(-0.15, 0.2), self.rng.uniform(0.65, 1.15)];
        }
        self.view.levels = if self.rng.chance(0.8) { 256 } else { 0 };
        if self.beams {
            return;
        }
        let collimator = self.config.acquisition.xray.collimator;
        if self.look == Modality::Xray && self.rng.chance(collimator) {
            self.collimator();
            return;
        }
        let factor = match (self.look, kind) {
            (Modality::Ultrasound, _) => 1.7,
            (_, SceneKind::Vessels) => 1.5,
            (_, SceneKind::LabelMap | SceneKind::CloseUp) => 0.35,
            _ => 0.15,
        };
        if self.rng.chance(appearance.field_of_view * factor) {
            self.view.field_of_view = self.field_of_view();
            if self.rng.chance(0.2) {
                self.view.outside = self.rng.uniform(0.0, 0.15);
            }
        }
    }

    fn field_of_view(&mut self) -> FieldOfView {
        let [width, height] = self.extent;
        let round = if self.look == Modality::Ultrasound {
            0.1
        } else {
            0.7
        };
        if self.rng.chance(round) {
            return FieldOfView::Circle {
                centre: [
                    width / 2.0 + 0.03 * self.rng.normal(),
                    height / 2.0 + 0.03 * self.rng.normal(),
                ],
                radius: self.rng.uniform(0.42, 0.56),
            };
        }
        let mut side = |length: f32| {
            let (low, high) = (length * self.margin(), length * (1.0 - self.margin()));
            (f32::midpoint(low, high), (high - low) / 2.0)
        };
        let ((x, half_width), (y, half_height)) = (side(width), side(height));
        FieldOfView::Rectangle {
            centre: [x, y],
            half: [half_width, half_height],
            angle: 0.0,
        }
    }

    /// The shutters of a collimator, a little turned; film is white or black behind them.
    fn collimator(&mut self) {
        let [width, height] = self.extent;
        self.view.field_of_view = FieldOfView::Rectangle {
            centre: [
                width / 2.0 + 0.02 * self.rng.normal(),
                height / 2.0 + 0.02 * self.rng.normal(),
            ],
            half: [
                width * self.rng.uniform(0.4, 0.52),
                height * self.rng.uniform(0.4, 0.52),
            ],
            angle: 0.03 * self.rng.normal(),
        };
        self.view.outside = if self.rng.chance(0.7) {
            self.rng.uniform(0.0, 0.1)
        } else {
            self.rng.uniform(0.85, 1.0)
        };
    }

    /// A margin of a rectangle: often none.
    pub(super) fn margin(&mut self) -> f32 {
        if self.rng.chance(0.5) {
            0.0
        } else {
            self.rng.uniform(0.0, 0.15)
        }
    }
}
