//! Close-ups: a few contours that fill the view, as the paper's shape-aware module.

use super::contour::{middle, scaled};
use super::{New, Scene};
use crate::params::{Outline, Paint, TargetKind, TargetRule, Vec2};

impl Scene<'_> {
    pub(super) fn draw_close_up(&mut self) {
        self.draw_ground();
        let [low, high] = self.config.shapes.structures;
        // Cropped views: one structure leaves little room beside it.
        let filled = self.rng.chance(0.3);
        for place in 0..self.rng.int(low, high) {
            let fills = filled && place == 0;
            let (area, centre) = if fills {
                (self.filling_area(), self.point(0.38))
            } else {
                let area = self.rng.log_within(self.config.shapes.area);
                (area, self.point(-0.02))
            };
            let area = area * self.area();
            if !fills && self.rng.chance(0.12) {
                self.tube_organ(centre, area);
            } else {
                let outline = self.any_shape(centre, area);
                let surroundings = self.ground.mean;
                self.organ(&outline, surroundings, None);
            }
        }
    }

    /// From a third of the largest configured area up to it.
    fn filling_area(&mut self) -> f32 {
        let [_, most] = self.config.shapes.area;
        self.rng.uniform(most / 3.0, most)
    }

    /// A flat or textured ground, or a label map.
    pub(super) fn draw_ground(&mut self) {
        let mean = self.tissue_mean();
        self.ground = self.textured(mean);
        if self.rng.chance(self.config.mixture.label_map_ground) {
            self.label_map = Some(self.regions());
        }
    }

    /// An organ, with what is nested in it: a lumen, lesions, or nothing.
    pub(super) fn organ(
        &mut self,
        outline: &Outline,
        surroundings: f32,
        parent: Option<u16>,
    ) -> u16 {
        let paint = self.contrasting_paint(surroundings);
        let nested = self.rng.chance(self.config.shapes.nesting);
        let hollow = nested && self.rng.chance(0.5);
        let kind = if hollow {
            TargetKind::Wall
        } else {
            TargetKind::Organ
        };
        let rule = if nested {
            self.holder_rule()
        } else {
            TargetRule::Visible
        };
        let organ = New {
            parent,
            ..New::of(kind, outline.clone(), paint).target(rule)
        };
        let id = self.add(organ);
        if self.rng.chance(self.config.appearance.rim * 0.6) {
            let rim = self.rim(paint.mean, [0.003, 0.02]);
            self.last().rim = Some(rim);
        }
        if hollow {
            let share = self.rng.uniform(0.4, 0.88);
            let content = self.contrasting_paint(paint.mean);
            self.lumen(outline, share, content, id);
        } else if nested {
            self.lesions(outline, paint, id);
        }
        if !hollow && self.rng.chance(0.25) {
            self.vessels_in(outline, paint.mean, id);
        }
        id
    }

    /// Thin bright or dark branches inside an organ; they belong to it.
    fn vessels_in(&mut self, outline: &Outline, mean: f32, id: u16) {
        let (centre, near) = middle(outline);
        let walk = super::contour::Walk {
            knots: 4,
            length: near * self.rng.uniform(0.8, 2.0),
            half_width: near * self.rng.log_uniform(0.02, 0.07),
            taper: 0.7,
            bend: 0.3,
        };
        let branches = (0..self.rng.int(1, 5)).map(|_| {
            let heading = self.rng.angle();
            self.walk(centre, heading, walk)
        });
        let branches = branches.collect();
        let paint = super::plain(self.contrasting(mean) - mean);
        let tree = New::of(TargetKind::Tube, Outline::Tubes { branches }, paint).overlay();
        self.add(tree.inside(id));
    }

    fn lesions(&mut self, outline: &Outline, organ: Paint, id: u16) {
        let (centre, near) = middle(outline);
        for _ in 0..self.rng.int(1, 3) {
            let radius = near * self.rng.log_uniform(0.12, 0.6);
            let offset = |rng: &mut crate::rng::Draw| rng.uniform(-0.6, 0.6) * near;
            let at: Vec2 = [
                centre[0] + offset(&mut self.rng),
                centre[1] + offset(&mut self.rng),
            ];
            let lesion = self.any_shape(at, std::f32::consts::PI * radius * radius);
            let paint = self.contrasting_paint(organ.mean);
            self.add(New::of(TargetKind::Lesion, lesion, paint).inside(id));
        }
    }

    /// A long organ: a bent tube, sometimes with a wall.
    fn tube_organ(&mut self, centre: Vec2, area: f32) {
        let length = self.rng.uniform(0.3, 1.2);
        let walk = super::contour::Walk {
            knots: self.rng.int(3, 8),
            length,
            half_width: (0.5 * area / length).clamp(0.006, 0.09),
            taper: self.rng.uniform(0.0, 0.7),
            bend: 0.35,
        };
        let heading = self.rng.angle();
        let (sin, cos) = libm::sincosf(heading);
        let start = [
            centre[0] - cos * length / 2.0,
            centre[1] - sin * length / 2.0,
        ];
        let outline = Outline::Tubes {
            branches: vec![self.walk(start, heading, walk)],
        };
        let paint = self.contrasting_paint(self.ground.mean);
        let walled = self.rng.chance(0.3);
        let rule = if walled {
            TargetRule::Whole
        } else {
            TargetRule::Visible
        };
        let id = self.add(New::of(TargetKind::Tube, outline.clone(), paint).target(rule));
        if walled {
            let inner = scaled(&outline, self.rng.uniform(0.4, 0.75));
            let paint = self.contrasting_paint(paint.mean);
            self.add(New::of(TargetKind::Lumen, inner, paint).inside(id));
        }
    }
}
