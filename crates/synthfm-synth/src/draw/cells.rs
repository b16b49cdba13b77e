//! Many similar small objects: nuclei, blood cells, dividing and touching cells (microscopy). Fibres and
//! embryos have scenes of their own.

use super::contour::scaled;
use super::{New, Scene};
use crate::params::{Modality, Outline, Paint, RimParams, TargetKind, TargetRule, Vec2};

/// Parameters that all cells of an image share.
struct Culture {
    radius: f32,
    aspect: f32,
    roughness: f32,
    paint: Paint,
    /// Spread of the cells' means.
    spread: f32,
    inside: Inside,
    rim: Option<RimParams>,
    /// Probability that a cell divides: two halves, or a waist.
    dividing: f32,
}

#[derive(Clone, Copy, PartialEq)]
enum Inside {
    Nothing,
    /// A lumen of this share of the radius: the cell is a ring.
    Lumen(f32, Paint),
    /// A nucleus of this share of the radius.
    Nucleus(f32, Paint),
    /// A paler or darker middle of this share that belongs to the cell: a dented disc.
    Dent(f32, Paint),
}

impl Scene<'_> {
    pub(super) fn draw_cells(&mut self) {
        match self.rng.pick(&[0.6, 0.25, 0.15]) {
            0 => self.draw_culture(),
            1 => self.draw_fibres(),
            _ => self.draw_embryos(),
        }
    }

    fn draw_culture(&mut self) {
        let count = self.rng.log_int(self.config.shapes.cells);
        let culture = self.culture(count);
        let mut centres: Vec<Vec2> = Vec::new();
        let apart = culture.radius * self.rng.uniform(1.3, 2.4);
        let clustered = self.rng.chance(0.4);
        for _ in 0..count {
            if let Some(centre) = self.free_place(&centres, apart, clustered) {
                centres.push(centre);
                self.cell(centre, &culture);
            }
        }
        let clump = self.rng.chance(self.config.targets.clump);
        match culture.inside {
            Inside::Nothing if clump => self.target_clumps(TargetKind::Cell),
            Inside::Lumen(..) if clump => self.target_clumps(TargetKind::Wall),
            _ => {}
        }
    }

    /// The ground of a micrograph, dark or light.
    pub(super) fn micro_ground(&mut self, bright_on_dark: bool) -> f32 {
        let ground = match (self.look, bright_on_dark) {
            (Modality::Microscopy, true) => self.rng.uniform(0.0, 0.15),
            (Modality::Microscopy, false) => self.rng.uniform(0.4, 0.95),
            _ => self.tissue_mean(),
        };
        self.ground = self.textured(ground);
        self.ground.amplitude *= self.rng.unit();
        ground
    }

    fn culture(&mut self, count: u32) -> Culture {
        let bright_on_dark = self.rng.chance(0.5);
        let ground = self.micro_ground(bright_on_dark);
        let share = self.rng.uniform(0.05, 0.65);
        let each = share * self.area() / (std::f32::consts::PI * count as f32);
        let radius = each.sqrt().clamp(0.014, 0.35);
        let paint = self.contrasting_paint(ground);
        let inside = match self.rng.pick(&[0.45, 0.2, 0.2, 0.15]) {
            0 => Inside::Nothing,
            1 => Inside::Lumen(
                self.rng.uniform(0.4, 0.85),
                self.lumen_paint(ground, paint.mean),
            ),
            2 => Inside::Nucleus(
                self.rng.uniform(0.2, 0.6),
                self.contrasting_paint(paint.mean),
            ),
            _ => {
                let share = self.rng.uniform(0.2, 0.7);
                let mean = paint.mean + share * (ground - paint.mean);
                Inside::Dent(self.rng.uniform(0.3, 0.6), Paint { mean, ..paint })
            }
        };
        let rim = self.rng.chance(self.config.appearance.rim);
        Culture {
            radius,
            aspect: self.rng.uniform(0.4, 1.0),
            roughness: self.rng.uniform(0.0, 0.3),
            paint,
            spread: self.rng.uniform(0.0, 0.12),
            inside,
            rim: rim.then(|| self.rim(paint.mean, [0.08 * radius, 0.3 * radius])),
            dividing: if self.rng.chance(0.4) { 0.15 } else { 0.0 },
        }
    }

    /// A lumen is often as the ground.
    fn lumen_paint(&mut self, ground: f32, wall: f32) -> Paint {
        if self.rng.chance(0.5) {
            self.textured(ground)
        } else {
            self.contrasting_paint(wall)
        }
    }

    /// A place at least `apart` from the others, or none after some trials.
    fn free_place(&mut self, taken: &[Vec2], apart: f32, clustered: bool) -> Option<Vec2> {
        for _ in 0..16 {
            let place = match taken.len() {
                count if clustered && count > 2 && self.rng.chance(0.8) => {
                    let near = taken[self.rng.int(0, count as u32 - 1) as usize];
                    let (sin, cos) = libm::sincosf(self.rng.angle());
                    let away = apart * self.rng.uniform(1.0, 1.6);
                    [near[0] + away * cos, near[1] + away * sin]
                }
                _ => self.point(-0.02),
            };
            let free = taken.iter().all(|other| {
                let (dx, dy) = (place[0] - other[0], place[1] - other[1]);
                dx * dx + dy * dy >= apart * apart
            });
            if free {
                return Some(place);
            }
        }
        None
    }

    fn cell(&mut self, centre: Vec2, culture: &Culture) {
        let radius = culture.radius * self.rng.log_uniform(0.7, 1.4);
        let shift = culture.spread * self.rng.normal();
        if self.rng.chance(culture.dividing) {
            self.dividing_cell(centre, radius, culture, shift);
            return;
        }
        let aspect = culture.aspect.max(self.rng.uniform(0.4, 1.0));
        let outline = self.rounded(centre, [radius, radius * aspect], culture.roughness);
        let shifted = |paint: Paint| Paint {
            mean: (paint.mean + shift).clamp(0.0, 1.0),
            ..paint
        };
        let (kind, rule) = match culture.inside {
            Inside::Nothing => (TargetKind::Cell, TargetRule::Visible),
            Inside::Lumen(..) => (TargetKind::Wall, self.holder_rule()),
            Inside::Nucleus(..) | Inside::Dent(..) => (TargetKind::Cell, TargetRule::Whole),
        };
        let cell = New::of(kind, outline.clone(), shifted(culture.paint)).target(rule);
        let id = self.add(cell);
        self.last().rim.clone_from(&culture.rim);
        let (kind, share, paint, rule) = match culture.inside {
            Inside::Nothing => return,
            Inside::Lumen(share, paint) => (TargetKind::Lumen, share, paint, TargetRule::Visible),
            Inside::Nucleus(share, paint) => (TargetKind::Cell, share, paint, TargetRule::Visible),
            Inside::Dent(share, paint) => (TargetKind::Lumen, share, paint, TargetRule::No),
        };
        let inner = scaled(&outline, share);
        self.add(New::of(kind, inner, shifted(paint)).inside(id).target(rule));
        if rule == TargetRule::No {
            self.soften(0.3 * radius * share);
        }
    }

    /// Two bright halves side by side, or one cell with a waist.
    fn dividing_cell(&mut self, centre: Vec2, radius: f32, culture: &Culture, shift: f32) {
        let (sin, cos) = libm::sincosf(self.rng.angle());
        let away = radius * self.rng.uniform(0.45, 0.7);
        let half = |side: f32| {
            [
                centre[0] + side * away * cos,
                centre[1] + side * away * sin,
                0.62 * radius,
            ]
        };
        let paint = Paint {
            mean: (culture.paint.mean + shift).clamp(0.0, 1.0),
            ..culture.paint
        };
        if self.rng.chance(0.5) {
            let waist = [centre[0], centre[1], 0.3 * radius];
            let disc = |[x, y, r]: [f32; 3]| vec![[x - 0.05 * r, y, r], [x + 0.05 * r, y, r]];
            let branches = vec![
                disc(half(-1.0)),
                disc(half(1.0)),
                vec![half(-1.0), waist, half(1.0)]
                    .into_iter()
                    .map(|[x, y, r]| [x, y, 0.5 * r])
                    .collect(),
            ];
            self.add(New::of(
                TargetKind::Cell,
                Outline::Tubes { branches },
                paint,
            ));
            return;
        }
        let angle = libm::atan2f(sin, cos) + std::f32::consts::FRAC_PI_2;
        for side in [-1.0, 1.0] {
            let [x, y, r] = half(side);
            let outline = self.rounded_at([x, y], [r, 0.6 * r], angle, culture.roughness);
            self.add(New::of(TargetKind::Cell, outline, paint));
        }
    }
}
