//! Random overlays: text, scales, calipers, crosshairs.

use super::Scene;
use crate::params::{Mark, Outline, TargetRule, Vec2};

/// Texts of burnt-in lines; `#` stands for a digit, `@` for a letter.
const LINES: [&str; 16] = [
    "L",
    "R",
    "@",
    "@@",
    "##",
    "#.# cm",
    "#.## cm",
    "##.# mm",
    "##Hz",
    "MI #.#",
    "@@@@ @@@",
    "###/###",
    "@@@@@@ @@@@@@@@",
    "####-##-##",
    "W ### L ##",
    "@@@ #",
];

impl Scene<'_> {
    pub(in crate::draw) fn draw_overlay(&mut self) {
        let config = &self.config.acquisition.overlay;
        if self.rng.chance(config.crosshair) {
            self.crosshair();
        }
        if self.rng.chance(config.calipers) {
            self.calipers();
        }
        if self.rng.chance(config.ticks) {
            self.ticks();
        }
        if self.rng.chance(config.text) {
            for _ in 0..self.rng.int(1, 4) {
                self.burnt_text();
            }
        }
    }

    /// White more often than grey.
    fn ink(&mut self) -> f32 {
        if self.rng.chance(0.7) {
            1.0
        } else {
            self.rng.uniform(0.5, 1.0)
        }
    }

    /// A line of text, perhaps on a box of its own; at the border more often than elsewhere.
    fn burnt_text(&mut self) {
        let pattern = LINES[self.rng.int(0, LINES.len() as u32 - 1) as usize];
        let text: String = pattern.chars().map(|c| self.character(c)).collect();
        let height = self.rng.log_uniform(0.02, 0.06);
        let size = [height * 0.75 * text.len() as f32, height];
        let [width, tall] = self.extent;
        let mut at = [
            self.rng.uniform(0.0, (width - size[0]).max(0.01)),
            self.rng.uniform(0.0, (tall - size[1]).max(0.01)),
        ];
        if self.rng.chance(0.7) {
            let offset = self.rng.uniform(0.0, 0.06);
            at[1] = if self.rng.chance(0.5) {
                offset
            } else {
                tall - size[1] - offset
            };
        }
        let mut value = self.ink();
        if self.rng.chance(0.25) {
            let ground = self.rng.int(0, 1) as f32;
            value = 1.0 - ground;
            self.overlay.push(Mark::Bar {
                min: at.map(|v| v - height * 0.25),
                max: [at[0] + size[0], at[1] + size[1] + height * 0.1],
                value: ground,
            });
        }
        self.overlay.push(Mark::Text {
            at,
            height,
            text,
            value,
        });
    }

    fn character(&mut self, pattern: char) -> char {
        let from = |first: u8, offset: u32| char::from(first + offset as u8);
        match pattern {
            '#' => from(b'0', self.rng.int(0, 9)),
            '@' => from(b'A', self.rng.int(0, 25)),
            other => other,
        }
    }

    fn line(&mut self, from: Vec2, to: Vec2, dash: f32, value: f32) {
        self.overlay.push(Mark::Line {
            from,
            to,
            dash,
            width: 0.002,
            value,
        });
    }

    /// A scale along a border, every fifth tick longer.
    fn ticks(&mut self) {
        let [width, height] = self.extent;
        let (step, length) = (self.rng.uniform(0.02, 0.1), self.rng.uniform(0.006, 0.02));
        let value = self.ink();
        let upright = self.rng.chance(0.7);
        let offset = self.rng.uniform(0.0, 0.06);
        let far = self.rng.chance(0.5);
        let along = if upright { height } else { width };
        for k in 1..(along / step) as u32 {
            let position = k as f32 * step;
            let length = if k % 5 == 0 { 2.0 * length } else { length };
            let (from, to) = match (upright, far) {
                (true, false) => ([offset, position], [offset + length, position]),
                (true, true) => {
                    let edge = width - offset;
                    ([edge - length, position], [edge, position])
                }
                (false, false) => ([position, offset], [position, offset + length]),
                (false, true) => {
                    let edge = height - offset;
                    ([position, edge - length], [position, edge])
                }
            };
            self.line(from, to, 0.0, value);
        }
    }

    /// Two crosses at the ends of a structure, or anywhere, with a dashed line between them.
    fn calipers(&mut self) {
        let value = self.ink();
        let ends: Vec<[Vec2; 2]> = self
            .structures
            .iter()
            .filter(|structure| structure.target != TargetRule::No)
            .filter_map(|structure| match &structure.outline {
                Outline::Radial {
                    centre,
                    axes,
                    angle,
                    ..
                } => {
                    let (sin, cos) = libm::sincosf(*angle);
                    let half = [axes[0] * cos, axes[0] * sin];
                    Some([
                        [centre[0] - half[0], centre[1] - half[1]],
                        [centre[0] + half[0], centre[1] + half[1]],
                    ])
                }
                _ => None,
            })
            .collect();
        let [from, to] = if ends.is_empty() {
            [self.point(0.1), self.point(0.1)]
        } else {
            ends[self.rng.int(0, ends.len() as u32 - 1) as usize]
        };
        let arm = self.rng.uniform(0.008, 0.02);
        for [x, y] in [from, to] {
            self.line([x - arm, y], [x + arm, y], 0.0, value);
            self.line([x, y - arm], [x, y + arm], 0.0, value);
        }
        if self.rng.chance(0.6) {
            self.line(from, to, 0.008, value);
        }
    }

    /// Dashed lines through a point, across the image.
    fn crosshair(&mut self) {
        let [width, height] = self.extent;
        let [x, y] = self.point(0.2);
        let (dash, value) = (self.rng.uniform(0.004, 0.03), self.ink());
        self.line([0.0, y], [width, y], dash, value);
        self.line([x, 0.0], [x, height], dash, value);
    }
}
