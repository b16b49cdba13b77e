//! Overlays: text, lines and bars that a scanner or an export burns into the image.
//!
//! They are drawn after everything else and cover what is below; masks do not know of them. Letters
//! are those of contact sheets, enlarged by whole factors.

use serde::{Deserialize, Serialize};
use synthfm_image::draw;
use synthfm_image::{RgbImage, Size};

use crate::Result;
use crate::check::{at_most, numbers, within};
use crate::params::Vec2;

/// Something that is drawn over the finished image, in one intensity.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Mark {
    /// A line of printable ASCII.
    Text {
        /// Top-left corner.
        at: Vec2,
        /// Height of a line; at least eight pixels.
        height: f32,
        /// The text that is drawn.
        text: String,
        /// Intensity.
        value: f32,
    },
    /// A straight line, perhaps dashed.
    Line {
        /// One end.
        from: Vec2,
        /// The other end.
        to: Vec2,
        /// Length of dashes and gaps; 0: solid.
        dash: f32,
        /// Width; at least one pixel.
        width: f32,
        /// Intensity.
        value: f32,
    },
    /// A filled rectangle.
    Bar {
        /// Top-left corner.
        min: Vec2,
        /// Bottom-right corner.
        max: Vec2,
        /// Intensity.
        value: f32,
    },
}

impl Mark {
    pub(super) fn validate(&self) -> Result<()> {
        let field = "overlay";
        match self {
            Self::Text {
                at,
                height,
                text,
                value,
            } => {
                at_most("overlay.text", text.len(), 64, "at most 64 bytes")?;
                within(field, &[*height], 1.0, "a height of at most 1")?;
                numbers(field, &[at[0], at[1], *value])
            }
            Self::Line {
                from,
                to,
                dash,
                width,
                value,
            } => {
                let ends = [from[0], from[1], to[0], to[1]];
                within(field, &ends, 100.0, "coordinates of at most 100")?;
                within(field, &[*width], 0.1, "a width of at most 0.1")?;
                numbers(field, &[*dash, *value])
            }
            Self::Bar { min, max, value } => {
                numbers(field, &[min[0], min[1], max[0], max[1], *value])
            }
        }
    }
}

/// Draws marks in order; what lies outside the image is cut.
pub(crate) fn draw(marks: &[Mark], data: &mut [f32], size: Size, unit_px: f32) {
    let in_px = |v: Vec2| v.map(|v| (v * unit_px).round() as isize);
    for mark in marks {
        let mut canvas = Canvas {
            data: &mut *data,
            size,
        };
        match mark {
            Mark::Text {
                at,
                height,
                text,
                value,
            } => canvas.text(in_px(*at), height * unit_px, text, *value),
            Mark::Line {
                from,
                to,
                dash,
                width,
                value,
            } => {
                let ends = [from, to].map(|end| end.map(|v| v * unit_px));
                let width_px = (width * unit_px).round().max(1.0) as isize;
                canvas.line(ends, dash * unit_px, width_px, *value);
            }
            Mark::Bar { min, max, value } => canvas.fill(in_px(*min), in_px(*max), *value),
        }
    }
}

struct Canvas<'a> {
    data: &'a mut [f32],
    size: Size,
}

impl Canvas<'_> {
    /// Fills `[min, max)`.
    fn fill(&mut self, min: [isize; 2], max: [isize; 2], value: f32) {
        let clamped = |v: isize, length: usize| v.clamp(0, length as isize) as usize;
        let (left, right) = (
            clamped(min[0], self.size.width),
            clamped(max[0], self.size.width),
        );
        let (top, bottom) = (
            clamped(min[1], self.size.height),
            clamped(max[1], self.size.height),
        );
        for row in top..bottom {
            let line = &mut self.data[row * self.size.width..(row + 1) * self.size.width];
            if left < right {
                line[left..right].fill(value.clamp(0.0, 1.0));
            }
        }
    }

    fn line(&mut self, [from, to]: [[f32; 2]; 2], dash_px: f32, width_px: isize, value: f32) {
        let [dx, dy] = [to[0] - from[0], to[1] - from[1]];
        let length = (dx * dx + dy * dy).sqrt();
        let steps = length.ceil().max(1.0);
        for step in 0..=steps as usize {
            let share = step as f32 / steps;
            let along = share * length;
            if dash_px > 0.0 && (along / dash_px) as usize % 2 == 1 {
                continue;
            }
            let corner = [from[0] + share * dx, from[1] + share * dy]
                .map(|v| v.round() as isize - width_px / 2);
            self.fill(corner, corner.map(|v| v + width_px), value);
        }
    }

    fn text(&mut self, at: [isize; 2], height_px: f32, text: &str, value: f32) {
        const LETTER: Size = Size::new(8, 6);
        let scale = (height_px / LETTER.height as f32).round().max(1.0) as isize;
        let size = Size::new(LETTER.height, LETTER.width * text.chars().count().max(1));
        let mut letters = RgbImage::zeros(size);
        draw::text(&mut letters, (0, 0), text, [255; 3]);
        let pixels = letters.data().chunks_exact(3);
        for (index, _) in pixels.enumerate().filter(|(_, pixel)| pixel[0] > 0) {
            let (row, col) = ((index / size.width) as isize, (index % size.width) as isize);
            let corner = [at[0] + col * scale, at[1] + row * scale];
            self.fill(corner, corner.map(|v| v + scale), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::acquisition::testing::{SIZE, UNIT_PX, pattern};

    fn drawn(mark: Mark) -> Vec<f32> {
        let mut data = vec![0.0; SIZE.area()];
        draw(&[mark], &mut data, SIZE, UNIT_PX);
        data
    }

    fn count(data: &[f32]) -> usize {
        data.iter().filter(|&&v| v > 0.0).count()
    }

    #[test]
    fn no_marks_are_the_identity() {
        let mut data = pattern();
        draw(&[], &mut data, SIZE, UNIT_PX);
        assert_eq!(data, pattern());
    }

    #[test]
    fn letters_grow_by_whole_factors() {
        let text = |height_px: f32| {
            drawn(Mark::Text {
                at: [0.0, 0.0],
                height: height_px / UNIT_PX,
                text: "be".to_owned(),
                value: 0.8,
            })
        };
        let (small, large) = (count(&text(8.0)), count(&text(24.0)));
        assert!(small > 10 && large == 9 * small, "{small} {large}");
    }

    #[test]
    fn dashes_cover_half_of_a_line() {
        let line = |dash: f32| {
            drawn(Mark::Line {
                from: [0.0, 0.5],
                to: [80.0 / UNIT_PX, 0.5],
                dash: dash / UNIT_PX,
                width: 0.0,
                value: 1.0,
            })
        };
        assert_eq!(count(&line(0.0)), 81);
        let dashed = count(&line(4.0));
        assert!((39..=42).contains(&dashed), "{dashed}");
    }

    #[test]
    fn bars_are_cut_at_the_border() {
        let min = [-1.0, 50.0 / UNIT_PX];
        let max = [10.0 / UNIT_PX, 900.0];
        let value = 0.5;
        assert_eq!(count(&drawn(Mark::Bar { min, max, value })), 10 * 11);
    }
}
