//! Scenes of ultrasound: fetal heads, vessels of the neck, organs of the belly.

use super::contour::Walk;
use super::template::Frame;
use super::{Cast, New, Scene, plain};
use crate::params::{Outline, Paint, TargetKind, TargetRule, Vec2};

impl Scene<'_> {
    /// A large ellipse with a skull that shows where it faces the beam, its inside much like its
    /// outside or surrounded by dark fluid.
    pub(super) fn fetal_head(&mut self) {
        let (centre, axes, angle) = self.head_pose();
        let frame = Frame::new(centre, axes, angle);
        match self.rng.pick(&[0.35, 0.4, 0.25]) {
            0 => self.layers(2.5),
            1 => self.amniotic_fluid(&frame),
            _ => {}
        }
        let roughness = if self.rng.chance(0.65) {
            0.0
        } else {
            self.rng.uniform(0.0, 0.03)
        };
        let outline = self.rounded_at(centre, axes, frame.angle, roughness);
        let mean = (self.ground.mean * self.rng.uniform(0.3, 1.3)).clamp(0.02, 0.6);
        let paint = if self.rng.chance(0.5) {
            // The same echoes as outside.
            Paint {
                mean,
                ..self.ground
            }
        } else {
            self.textured(mean)
        };
        let head = New::of(TargetKind::Organ, outline, paint).target(TargetRule::Whole);
        let id = self.add(head);
        if self.rng.chance(0.88) {
            let mut skull = self.rim(mean, [0.006, 0.032]);
            skull.mean = self.rng.uniform(0.35, 1.0);
            skull.softness = skull.width * self.rng.uniform(0.2, 0.7);
            self.last().rim = Some(skull);
        }
        if self.rng.chance(0.5) && self.label_map.is_none() {
            // The brain's own pattern: regions much like the ones outside.
            let mut map = self.regions();
            map.inside = Some(id);
            for paint in &mut map.paints {
                paint.mean = 0.6 * mean + 0.4 * paint.mean;
            }
            self.label_map = Some(map);
        }
        self.fetal_brain(&frame, mean, id);
    }

    /// Centre, half axes and angle of a fetal head. Biometry asks for one that fills most of the image (ISUOG practice
    /// guidelines, 2022), hence many large ones, and some that leave little beside them.
    fn head_pose(&mut self) -> (Vec2, Vec2, f32) {
        let middle = self.extent.map(|length| 0.5 * length);
        if self.rng.chance(0.32) {
            let share = self.rng.uniform(0.7, 0.97);
            let axes = middle.map(|half| half * (share + self.rng.uniform(-0.07, 0.03)));
            let flattest = 1.55 * axes[1].min(axes[0]);
            let centre = middle.map(|half| half + 0.03 * self.rng.normal());
            let angle = 0.1 * self.rng.normal();
            return (centre, axes.map(|axis| axis.min(flattest)), angle);
        }
        let long = if self.rng.chance(0.5) {
            self.rng.uniform(0.16, 0.42)
        } else {
            self.rng.uniform(0.36, 0.58)
        };
        // Large ones are centred, so that most of them lie wholly inside.
        let centre = middle.map(|half| {
            let free = (half - 0.85 * long).clamp(0.04, 0.3 * half);
            half + free * self.rng.uniform(-1.0, 1.0)
        });
        let axes = [long, long * self.rng.uniform(0.68, 0.98)];
        (centre, axes, self.rng.angle())
    }

    /// Dark fluid around a structure, inside a wall.
    fn amniotic_fluid(&mut self, around: &Frame) {
        let size = self.rng.uniform(1.1, 2.2);
        let axes = around.axes.map(|a| a * size);
        let centre = around.at([self.rng.uniform(-0.4, 0.4), self.rng.uniform(-0.4, 0.4)]);
        let outline = self.rounded_at(centre, axes, around.angle, 0.2);
        let dark = self.rng.uniform(0.0, 0.08);
        let paint = self.textured(dark);
        let fluid = New::of(TargetKind::Lumen, outline, paint);
        self.add(fluid.target(TargetRule::No));
        let softness = self.rng.uniform(0.002, 0.012);
        self.soften(softness);
    }

    /// The midline, dark spaces and bright plexus beside it.
    fn fetal_brain(&mut self, frame: &Frame, mean: f32, id: u16) {
        if self.rng.chance(0.6) {
            let half_width = self.rng.uniform(0.002, 0.006);
            let knot = |x: f32| {
                let [x, y] = frame.at([x, 0.0]);
                [x, y, half_width]
            };
            let branches = vec![vec![knot(-0.75), knot(0.0), knot(0.75)]];
            let line = plain(self.rng.uniform(0.1, 0.5));
            let midline = New::of(TargetKind::Tube, Outline::Tubes { branches }, line).overlay();
            self.add(midline.inside(id));
            self.soften(half_width);
        }
        for _ in 0..self.rng.int(0, 12) {
            let at = frame.at([self.rng.uniform(-0.8, 0.8), self.rng.uniform(-0.8, 0.8)]);
            let area = self.rng.log_uniform(0.01, 0.25) * frame.axes[0] * frame.axes[1];
            let outline = self.any_shape(at, area);
            let part = if self.rng.chance(0.5) {
                let dark = mean * self.rng.uniform(0.1, 0.6);
                self.textured(dark)
            } else {
                self.contrasting_paint(mean)
            };
            let part = New::of(TargetKind::Lesion, outline, part).inside(id);
            // Biometry measures the head, hardly ever a part of it.
            let rule = if self.rng.chance(0.12) {
                TargetRule::Visible
            } else {
                TargetRule::No
            };
            self.add(part.target(rule));
            let softness = self.rng.uniform(0.002, 0.015);
            self.soften(softness);
        }
    }

    /// Arteries and veins under muscle: dark lumens with bright walls, bright echoes behind.
    pub(super) fn neck_vessels(&mut self) {
        for _ in 0..self.rng.int(2, 7) {
            let y = self.rng.uniform(0.02, 0.45) * self.extent[1];
            self.fascia(y);
        }
        let at = self.point(0.25);
        let radius = self.rng.log_uniform(0.035, 0.13);
        if self.rng.chance(0.65) {
            let aspect = self.rng.uniform(0.75, 1.0);
            let roughness = self.rng.uniform(0.0, 0.12);
            let outline = self.rounded_at(at, [radius, radius * aspect], 0.0, roughness);
            self.lumen_in_tissue(outline);
            let id = self.last().id;
            if self.rng.chance(0.25) {
                let plaque = [at[0] + 0.6 * radius * self.rng.sign(), at[1] + 0.5 * radius];
                let outline = self.rounded(plaque, [0.5 * radius, 0.3 * radius], 0.3);
                let mean = self.rng.uniform(0.15, 0.7);
                self.solid(TargetKind::Lesion, outline, mean, Some(id));
            }
            if self.rng.chance(0.5) {
                let size = radius * self.rng.uniform(0.6, 1.3);
                let vein = [
                    at[0] + (radius + size) * self.rng.sign(),
                    at[1] - radius * self.rng.uniform(0.0, 1.2),
                ];
                let flat = size * self.rng.uniform(0.25, 0.7);
                let tilt = 0.3 * self.rng.sign();
                let outline = self.rounded_at(vein, [size, flat], tilt, 0.15);
                self.lumen_in_tissue(outline);
            }
            self.enhancement(at, radius);
        } else {
            let walk = Walk {
                knots: 4,
                length: self.extent[0] * self.rng.uniform(0.6, 1.3),
                half_width: radius * 0.6,
                taper: 0.1,
                bend: 0.06,
            };
            let heading = 0.12 * self.rng.normal();
            let start = [self.rng.uniform(-0.2, 0.2) * self.extent[0], at[1]];
            let branches = vec![self.walk(start, heading, walk)];
            self.lumen_in_tissue(Outline::Tubes { branches });
        }
        if self.rng.chance(0.4) {
            // A gland beside the vessels.
            let away = radius * self.rng.uniform(1.6, 2.6) * self.rng.sign();
            let size = radius * self.rng.uniform(1.0, 2.0);
            let outline = self.rounded([at[0] + away, at[1]], [size, 0.7 * size], 0.2);
            let mean = self.rng.uniform(0.15, 0.5);
            self.solid(TargetKind::Organ, outline, mean, None);
        }
    }

    /// A dark lumen, its wall brightest across the beam.
    fn lumen_in_tissue(&mut self, outline: Outline) {
        let mean = self.rng.uniform(0.0, 0.12);
        self.solid(TargetKind::Lumen, outline, mean, None);
        let mut wall = self.rim(0.3, [0.004, 0.02]);
        wall.width = -wall.width;
        self.last().rim = Some(wall);
    }

    /// Stronger echoes behind fluid.
    fn enhancement(&mut self, at: Vec2, radius: f32) {
        if self.rng.chance(0.6) {
            self.casts.push(Cast {
                at: [at[0], at[1] + 0.8 * radius],
                half_width: radius * self.rng.uniform(0.5, 0.9),
                gain_db: self.rng.uniform(2.0, 14.0),
            });
        }
    }

    /// A long bright line between muscles, bent with its neighbours.
    fn fascia(&mut self, y: f32) {
        let walk = Walk {
            knots: 6,
            length: 1.3 * self.extent[0],
            half_width: self.rng.log_uniform(0.0015, 0.006),
            taper: 0.0,
            bend: 0.05,
        };
        let heading = 0.05 * self.rng.normal();
        let branches = vec![self.walk([-0.1, y], heading, walk)];
        let bright = self.rng.log_uniform(0.1, 0.7);
        let paint = self.textured(bright);
        let line = New::of(TargetKind::Tube, Outline::Tubes { branches }, paint).overlay();
        self.add(line);
        let softness = self.rng.uniform(0.001, 0.004);
        self.soften(softness);
    }

    /// An organ of the belly in its surroundings: kidney with bright sinus, gallbladder, liver.
    pub(super) fn abdominal_organ(&mut self) {
        if self.rng.chance(0.4) {
            self.layers(2.5);
        }
        let [width, height] = self.extent;
        let at = [
            width * self.rng.uniform(0.3, 0.7),
            height * self.rng.uniform(0.35, 0.65),
        ];
        let size = self.rng.log_uniform(0.1, 0.32);
        let frame = Frame::new(at, [0.5 * size, size], self.rng.angle());
        let surroundings = self.ground.mean;
        if self.rng.chance(0.55) {
            let outline = self.bean(&frame);
            let mean = surroundings * self.rng.uniform(0.35, 0.95);
            let id = self.solid(TargetKind::Organ, outline, mean, None);
            self.last().target = TargetRule::Whole;
            let sinus = self.rounded_at(at, [0.22 * size, 0.6 * size], frame.angle, 0.25);
            let bright = (surroundings * self.rng.uniform(1.0, 2.2)).min(0.9);
            let paint = self.textured(bright);
            let sinus = New::of(TargetKind::Organ, sinus, paint).inside(id);
            self.add(sinus.target(TargetRule::No));
            let softness = 0.05 * size;
            self.soften(softness);
            self.abnormal(&frame, mean, id);
        } else {
            let outline = self.shape(&super::template::PEAR, &frame, 0.06);
            self.lumen_in_tissue(outline);
            self.enhancement(at, 0.5 * size);
            let id = self.last().id;
            if self.rng.chance(0.4) {
                // Stones cast shadows.
                let radius = size * self.rng.uniform(0.06, 0.16);
                let stone = self.rounded(at, [radius, 0.8 * radius], 0.2);
                let mean = self.rng.uniform(0.5, 1.0);
                self.solid(TargetKind::Lesion, stone, mean, Some(id));
                self.casts.push(Cast {
                    at: [at[0], at[1] + radius],
                    half_width: radius,
                    gain_db: -self.rng.uniform(4.0, 25.0),
                });
            }
        }
        if self.rng.chance(0.5) {
            let tree = Frame::new(self.point(0.1), [0.35, 0.35], 0.0);
            let dark = -surroundings * self.rng.uniform(0.4, 0.9);
            self.ground_tree(&tree, dark);
        }
    }

    /// Dark vessels that cross the surroundings.
    fn ground_tree(&mut self, frame: &Frame, difference: f32) {
        let walk = Walk {
            knots: 5,
            length: frame.axes[0] * self.rng.uniform(0.6, 1.4),
            half_width: self.rng.log_uniform(0.004, 0.018),
            taper: 0.6,
            bend: 0.25,
        };
        for _ in 0..self.rng.int(1, 4) {
            let heading = self.rng.angle();
            let branches = vec![self.walk(frame.centre, heading, walk)];
            let mean = (self.ground.mean + difference).max(0.0);
            self.solid(TargetKind::Tube, Outline::Tubes { branches }, mean, None);
        }
    }
}
