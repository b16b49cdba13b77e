//! Means of the tissues of one body, and organs that differ little from each other.
//!
//! CT orders tissues by density (air, fat, fluid, muscle, organs, bone); MR and free looks do not, but
//! keep air and cortical bone dark.

use super::{New, Scene, plain};
use crate::params::{Modality, Outline, Paint, TargetKind, TargetRule};

/// Least width of a wall, so that it shows at the lowest resolution.
const THINNEST_WALL: f32 = 0.008;

/// Means of a body's tissues.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tissues {
    pub(super) air: f32,
    pub(super) fat: f32,
    pub(super) muscle: f32,
    /// What solid organs lie around.
    pub(super) organ: f32,
    pub(super) fluid: f32,
    pub(super) blood: f32,
    pub(super) bone: f32,
    pub(super) marrow: f32,
}

impl Scene<'_> {
    pub(super) fn tissues(&mut self) -> Tissues {
        match self.look {
            Modality::Ct | Modality::Xray => self.dense_tissues(),
            Modality::Mr => self.weighted_tissues(),
            _ => {
                if self.rng.chance(0.5) {
                    self.dense_tissues()
                } else {
                    self.weighted_tissues()
                }
            }
        }
    }

    fn dense_tissues(&mut self) -> Tissues {
        let fat = self.rng.uniform(0.08, 0.35);
        let muscle = fat + self.rng.uniform(0.1, 0.3);
        let organ = muscle + self.rng.uniform(-0.03, 0.14);
        let enhanced = self.rng.chance(0.5);
        let blood = if enhanced {
            organ + self.rng.uniform(0.03, 0.35)
        } else {
            organ + self.rng.uniform(-0.06, 0.03)
        };
        let bone = self.rng.uniform(0.72, 1.1);
        Tissues {
            air: self.rng.uniform(0.0, 0.05),
            fat,
            muscle,
            organ,
            fluid: muscle - self.rng.uniform(0.02, 0.1),
            blood,
            bone,
            marrow: self.rng.uniform(organ, bone),
        }
    }

    fn weighted_tissues(&mut self) -> Tissues {
        let fat = if self.rng.chance(0.6) {
            self.rng.uniform(0.55, 0.95)
        } else {
            self.rng.uniform(0.04, 0.3)
        };
        let organ = self.rng.uniform(0.12, 0.6);
        Tissues {
            air: self.rng.uniform(0.0, 0.06),
            fat,
            muscle: (organ * self.rng.uniform(0.5, 1.1)).max(0.05),
            organ,
            fluid: self.tissue_mean(),
            blood: self.tissue_mean(),
            bone: self.rng.uniform(0.0, 0.12),
            marrow: (fat + 0.15 * self.rng.normal()).clamp(0.05, 0.95),
        }
    }

    /// The mean of one solid organ: near the others more often than not.
    pub(super) fn organ_mean(&mut self, tissues: &Tissues) -> f32 {
        if self.rng.chance(0.35) {
            return self.contrasting(tissues.organ);
        }
        let least = self.config.appearance.contrast[0];
        let step = self.rng.log_uniform(least, 0.25_f32.max(least)) * self.rng.sign();
        (tissues.organ + step).clamp(0.02, 0.98)
    }

    /// A textured structure inside another.
    pub(super) fn solid(
        &mut self,
        kind: TargetKind,
        outline: Outline,
        mean: f32,
        parent: Option<u16>,
    ) -> u16 {
        let paint = self.textured(mean);
        self.add(New {
            parent,
            ..New::of(kind, outline, paint)
        })
    }

    /// A structure with a cortex and, often, marrow.
    pub(super) fn bone(
        &mut self,
        outline: &Outline,
        tissues: &Tissues,
        parent: Option<u16>,
    ) -> u16 {
        let bone = New {
            parent,
            ..New::of(TargetKind::Organ, outline.clone(), plain(tissues.bone))
        };
        let id = self.add(bone.target(TargetRule::Whole));
        if self.rng.chance(0.75) {
            let inner = super::contour::scaled(outline, self.rng.uniform(0.55, 0.88));
            let paint = self.textured(tissues.marrow);
            let marrow = New::of(TargetKind::Lumen, inner, paint).inside(id);
            self.add(marrow.target(TargetRule::No));
        }
        id
    }

    /// A wall around content: air, fluid, both with a level, or mixed matter.
    pub(super) fn hollow(
        &mut self,
        outline: &Outline,
        tissues: &Tissues,
        parent: Option<u16>,
        inner: f32,
    ) -> u16 {
        let mean = self.organ_mean(tissues);
        let wall = self.textured(mean);
        let rule = if self.rng.chance(0.75) {
            TargetRule::Whole
        } else {
            TargetRule::Visible
        };
        let wall = New {
            parent,
            ..New::of(TargetKind::Wall, outline.clone(), wall)
        };
        let id = self.add(wall.target(rule));
        let content = self.content(tissues);
        let lumen = self.lumen(outline, inner, content, id);
        if self.rng.chance(0.3) {
            self.air_above(outline, tissues.air, lumen);
        }
        id
    }

    /// The inside of a wall, of this share of its size; walls of bent shapes are of even width.
    pub(super) fn lumen(&mut self, wall: &Outline, share: f32, paint: Paint, id: u16) -> u16 {
        let is_bent = matches!(wall, Outline::Bezier { .. });
        let (_, near) = super::contour::middle(wall);
        let inner = if is_bent {
            wall.clone()
        } else {
            super::contour::scaled(wall, share)
        };
        let id = self.add(New::of(TargetKind::Lumen, inner, paint).inside(id));
        if is_bent {
            self.last().inset = (near * (1.0 - share)).max(THINNEST_WALL);
        }
        id
    }

    fn content(&mut self, tissues: &Tissues) -> Paint {
        match self.rng.pick(&[0.35, 0.35, 0.3]) {
            0 => plain(tissues.air),
            1 => self.textured(tissues.fluid),
            _ => {
                let mut matter = self.contrasting_paint(tissues.fluid);
                matter.amplitude *= 2.5;
                matter
            }
        }
    }

    /// Air over a fluid level, clipped to the lumen.
    fn air_above(&mut self, outline: &Outline, air: f32, lumen: u16) {
        let (centre, near) = super::contour::middle(outline);
        let level = centre[1] + near * self.rng.uniform(-0.5, 0.3);
        let (left, right) = (centre[0] - 4.0 * near, centre[0] + 4.0 * near);
        let top = centre[1] - 4.0 * near;
        let corners = vec![[left, top], [right, top], [right, level], [left, level]];
        let above = Outline::Bezier {
            anchors: corners,
            radius: 0.0,
            edginess: 0.0,
        };
        let air = New::of(TargetKind::Lumen, above, plain(air)).inside(lumen);
        self.add(air.target(TargetRule::No));
    }
}
