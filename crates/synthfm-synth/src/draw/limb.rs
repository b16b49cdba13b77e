//! Arms and legs across: skin, fat, muscles with septa, bones with marrow, vessels (CT, MR).

use super::contour::scaled;
use super::template::Frame;
use super::tissues::Tissues;
use super::{New, Scene, plain};
use crate::params::{ErosionParams, TargetKind, TargetRule};

impl Scene<'_> {
    pub(super) fn draw_limb(&mut self) {
        let [width, height] = self.extent;
        self.ground = plain(self.rng.uniform(0.0, 0.05));
        let tissues = self.tissues();
        let pair = self.rng.chance(0.4);
        let bones = self.rng.int(1, 2);
        let radius = if pair {
            0.24 * width.min(1.2)
        } else {
            self.rng.uniform(0.3, 0.45)
        };
        let sides: &[f32] = if pair { &[-1.0, 1.0] } else { &[0.0] };
        for &side in sides {
            let at = [
                0.5 * width + side * radius * self.rng.uniform(1.02, 1.1),
                0.5 * height + 0.02 * self.rng.normal(),
            ];
            let axes = [radius, radius * self.rng.uniform(0.85, 1.1)];
            self.limb(&Frame::new(at, axes, 0.0), &tissues, bones);
        }
        let zoom = self.zoom(0.2, 2.0);
        self.pose(zoom);
    }

    fn limb(&mut self, frame: &Frame, tissues: &Tissues, bones: u32) {
        let outline = self.rounded_at(frame.centre, frame.axes, 0.0, 0.07);
        let fat = self.textured(tissues.fat);
        let skin = New::of(TargetKind::Body, outline.clone(), fat);
        let limb = self.add(skin.target(TargetRule::Whole));
        let rim = self.rim(tissues.fat, [0.003, 0.009]);
        self.last().rim = Some(rim);
        let share = self.rng.uniform(0.68, 0.94);
        let septa = self.textured(tissues.fat);
        let fascia = New::of(TargetKind::Organ, scaled(&outline, share), septa).inside(limb);
        let rule = self.holder_rule();
        let fascia = self.add(fascia.target(rule));
        if self.label_map.is_none() {
            self.muscle_regions(fascia, tissues.muscle);
        } else {
            self.last().paint.mean = tissues.muscle;
        }
        let offset = 0.3 * share;
        for k in 0..bones {
            let side = if bones == 1 {
                0.3
            } else {
                2.0 * k as f32 - 1.0
            };
            let at = frame.at([
                offset * side + 0.05 * self.rng.normal(),
                offset * self.rng.uniform(-0.5, 0.5),
            ]);
            let most = if bones == 1 { 0.34 } else { 0.22 };
            let size = frame.axes[0] * share * self.rng.uniform(0.12, most);
            let axes = [size, size * self.rng.uniform(0.75, 1.0)];
            let outline = self.rounded(at, axes, 0.15);
            self.bone(&outline, tissues, Some(fascia));
        }
        for _ in 0..self.rng.int(1, 6) {
            let reach = 0.75 * share;
            let at = frame.at([
                self.rng.uniform(-reach, reach),
                self.rng.uniform(-reach, reach),
            ]);
            let size = frame.axes[0] * self.rng.uniform(0.02, 0.06);
            let outline = self.rounded(at, [size, 0.8 * size], 0.1);
            let vessel = plain(tissues.blood);
            self.add(New::of(TargetKind::Tube, outline, vessel).inside(limb));
        }
        if self.rng.chance(0.5) {
            let inner = Frame::new(frame.centre, frame.axes.map(|a| 0.8 * share * a), 0.0);
            self.abnormal(&inner, tissues.muscle, fascia);
        }
    }

    /// Muscles of nearly equal mean as the regions of a label map, apart from each other by erosion.
    fn muscle_regions(&mut self, fascia: u16, muscle: f32) {
        let mut map = self.regions();
        map.paints.truncate(self.rng.int(5, 14) as usize);
        let spread = self.rng.uniform(0.0, 0.06);
        for paint in &mut map.paints {
            paint.mean = (muscle + spread * self.rng.normal()).clamp(0.0, 1.0);
        }
        map.erosion = Some(ErosionParams {
            radius: self.rng.uniform(0.003, 0.009),
            variation: self.rng.unit(),
            seed: self.rng.seed(),
            regions: None,
        });
        map.inside = Some(fascia);
        self.target_regions = (0..map.paints.len() as u16).collect();
        self.rng.shuffle(&mut self.target_regions);
        self.target_regions.truncate(6);
        self.label_map = Some(map);
    }
}
