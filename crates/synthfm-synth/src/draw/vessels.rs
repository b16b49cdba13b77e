//! Branching tubes over a wide ground: retina, angiography, capillaries around an avascular zone.

use super::contour::Walk;
use super::{New, Scene, plain};
use crate::params::{Outline, Paint, TargetKind, TargetRule, TextureParams, Vec2};

/// Branches as knots, and how often they still divide.
type Branches = Vec<Vec<[f32; 3]>>;

/// Knots of one tree after which no branch divides any more; a recipe may hold 4096 in a structure.
const MOST_KNOTS: usize = 3600;

impl Scene<'_> {
    pub(super) fn draw_vessels(&mut self) {
        match self.rng.pick(&[0.3, 0.4, 0.3]) {
            0 => self.draw_angiogram(),
            1 => self.draw_fundus(),
            _ => self.draw_capillaries(),
        }
    }

    /// Trees from one root over any ground.
    fn draw_angiogram(&mut self) {
        let mean = self.tissue_mean();
        self.ground = self.textured(mean);
        self.ground.amplitude *= 0.5;
        for _ in 0..self.rng.int(0, 3) {
            self.patch(mean);
        }
        let root = self.point(0.1);
        let paint = self.contrasting_paint(mean);
        let thick = self.rng.log_uniform(0.004, 0.022);
        for _ in 0..self.rng.int(1, 5) {
            let heading = self.rng.angle();
            let mut branches = Vec::new();
            self.branch(root, heading, [thick, 3.0], &mut branches);
            self.add(New::of(
                TargetKind::Tube,
                Outline::Tubes { branches },
                paint,
            ));
        }
        if self.rng.chance(0.5) {
            self.disc(root, mean);
        }
    }

    /// The disc that all vessels leave.
    fn disc(&mut self, at: Vec2, surroundings: f32) {
        let radius = self.rng.uniform(0.03, 0.09);
        let outline = self.rounded(at, [radius, radius * 0.9], 0.05);
        let paint = self.contrasting_paint(surroundings);
        self.add(New::of(TargetKind::Organ, outline, paint));
        let softness = self.rng.uniform(0.001, 0.008);
        self.soften(softness);
    }

    /// A fundus: a disc at one side, arcades around the macula, all vessels one target or several.
    fn draw_fundus(&mut self) {
        let mean = self.rng.uniform(0.25, 0.6);
        self.ground = self.textured(mean);
        self.ground.amplitude *= 0.4;
        let [width, height] = self.extent;
        let side = self.rng.sign();
        let root = [
            width * (0.5 + side * self.rng.uniform(0.1, 0.36)),
            height * self.rng.uniform(0.4, 0.6),
        ];
        for _ in 0..self.rng.int(0, 3) {
            self.patch(mean);
        }
        // The macula lies opposite the disc.
        let macula = [root[0] - 0.33 * side, root[1] + 0.02];
        let outline = self.rounded(macula, [0.08, 0.08], 0.1);
        let darker = plain(mean * self.rng.uniform(0.6, 0.95));
        let macula = New::of(TargetKind::Lesion, outline, darker);
        self.add(macula.target(TargetRule::No));
        self.soften(0.03);
        self.disc(root, mean);
        let thick = self.rng.log_uniform(0.004, 0.011);
        let contrast =
            self.rng.log_uniform(0.05, 0.3) * if self.rng.chance(0.85) { -1.0 } else { 1.0 };
        let paint = plain((mean + contrast).clamp(0.0, 1.0));
        let depth = self.rng.int(4, 6) as f32;
        let mut all = Branches::new();
        for up in [-1.0, 1.0] {
            for _ in 0..self.rng.int(2, 5) {
                let towards = if self.rng.chance(0.7) { -side } else { side };
                let steep = self.rng.uniform(0.4, 1.3);
                let heading = libm::atan2f(up * libm::sinf(steep), towards * libm::cosf(steep));
                self.branch(root, heading, [thick, depth], &mut all);
            }
        }
        self.add(New::of(
            TargetKind::Tube,
            Outline::Tubes { branches: all },
            paint,
        ));
        let softness = self.rng.uniform(0.0, 0.002);
        self.soften(softness);
    }

    /// A net of capillaries around a dark zone without any (OCT angiography).
    fn draw_capillaries(&mut self) {
        let bright = self.rng.uniform(0.2, 0.65);
        let scale = self.rng.log_uniform(0.008, 0.04);
        let stretch = self.rng.log_uniform(0.6, 1.6);
        self.textures.truncate(2);
        self.textures.push(TextureParams::Ridges {
            seed: self.rng.seed(),
            scale: [scale, scale * stretch],
            octaves: self.rng.int(1, 3) as u8,
            persistence: self.rng.uniform(0.5, 0.9),
        });
        let net = (self.textures.len() - 1) as u8;
        self.ground = Paint {
            mean: bright,
            amplitude: bright * self.rng.uniform(0.1, 0.6),
            texture: net,
        };
        let root = self.point(-0.1);
        for _ in 0..self.rng.int(0, 5) {
            let mut branches = Branches::new();
            let heading = self.rng.angle();
            let start = self.point(-0.1);
            let thick = self.rng.log_uniform(0.002, 0.009);
            self.branch(start, heading, [thick, 2.0], &mut branches);
            let mean = self.contrasting(bright);
            self.solid(TargetKind::Tube, Outline::Tubes { branches }, mean, None);
            self.last().paint.amplitude *= 0.3;
        }
        let [width, height] = self.extent;
        let at = [
            width * self.rng.uniform(0.35, 0.65),
            height * self.rng.uniform(0.35, 0.65),
        ];
        let radius = self.rng.log_uniform(0.04, 0.2);
        let aspect = self.rng.uniform(0.7, 1.0);
        let mut outline = self.rounded(at, [radius, radius * aspect], 0.3);
        let strength = self.rng.uniform(0.0, 1.2);
        self.roughen(&mut outline, strength);
        let paint = Paint {
            mean: bright * self.rng.uniform(0.05, 0.6),
            amplitude: self.ground.amplitude * self.rng.uniform(0.1, 0.6),
            texture: net,
        };
        self.add(New::of(TargetKind::Lesion, outline, paint));
        let softness = radius * self.rng.uniform(0.02, 0.25);
        self.soften(softness);
        if self.rng.chance(0.2) {
            self.patch(bright);
            self.disc(root, bright);
        }
    }

    /// A soft spot: exudate, haemorrhage, scar.
    fn patch(&mut self, surroundings: f32) {
        let at = self.point(0.15);
        let area = self.rng.log_uniform(0.002, 0.06);
        let outline = self.any_shape(at, area);
        let paint = self.contrasting_paint(surroundings);
        self.add(New::of(TargetKind::Lesion, outline, paint));
        let softness = self.rng.uniform(0.002, 0.02);
        self.soften(softness);
    }

    /// A tube and its branches; `[half width, divisions left]`.
    fn branch(
        &mut self,
        start: Vec2,
        heading: f32,
        [half_width, depth]: Vec2,
        branches: &mut Branches,
    ) {
        let walk = Walk {
            knots: self.rng.int(4, 7),
            length: self.rng.uniform(0.25, 0.6),
            half_width,
            taper: 0.4,
            bend: 0.16,
        };
        let line = self.walk(start, heading, walk);
        let knots: usize = branches.iter().map(Vec::len).sum();
        if depth > 0.0 && knots < MOST_KNOTS {
            for _ in 0..self.rng.int(1, 4) {
                let [x, y, width] = line[self.rng.int(1, walk.knots) as usize];
                let turn = self.rng.uniform(0.3, 0.9) * self.rng.sign();
                if width > 0.0008 {
                    let next = [width * 0.7, depth - 1.0];
                    self.branch([x, y], heading + turn, next, branches);
                }
            }
        }
        branches.push(line);
    }
}
