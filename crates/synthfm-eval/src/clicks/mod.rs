//! Simulated prompts: clicks and boxes that a user of a segmenter might give, from the true mask.
//! Evaluation follows the protocol of the SynthFM authors (Sengupta et al., arXiv 2408.04212: one click near the
//! centroid, further ones at random, negatives as far away as possible); training adds RITM's and SAM's rules.
//! Differs: negatives may also come from a ring around the structure, because far ones carry almost no information.

mod boxes;
mod corrections;
mod negatives;
mod neighbour_mask;
mod positives;
mod rough_mask;
mod scribble;
mod seed;
#[cfg(test)]
mod tests;

use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};
use synthfm_image::{Mask, Point2, Size};

pub use boxes::{BoxJitter, jittered_box};
pub use corrections::{centre_correction, uniform_correction};
pub use negatives::{
    BORDER_WIDTH, Negatives, RING_INNER, RING_OUTER, Surroundings, negative_clicks,
    training_negatives,
};
pub use neighbour_mask::neighbour_mask;
pub use positives::{Positives, centre_pixel, positive_clicks};
pub use rough_mask::rough_mask;
pub use scribble::{scribble_clicks, scribble_clicks_within, skeleton};
pub use seed::{normal, seeded_rng};

/// One click of the user.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(into = "ClickRecord", from = "ClickRecord")]
pub struct Click {
    /// Where, in pixels of the image; simulated clicks lie on pixel centres.
    pub point: Point2,
    /// Whether the click says "this belongs to it" rather than "this does not".
    pub positive: bool,
}

impl Click {
    /// A click on the structure.
    pub const fn positive(point: Point2) -> Self {
        Self {
            point,
            positive: true,
        }
    }

    /// A click beside the structure.
    pub const fn negative(point: Point2) -> Self {
        Self {
            point,
            positive: false,
        }
    }
}

/// How a click is stored in a report.
#[derive(Serialize, Deserialize)]
struct ClickRecord {
    x: f64,
    y: f64,
    positive: bool,
}

impl From<Click> for ClickRecord {
    fn from(click: Click) -> Self {
        Self {
            x: click.point.x,
            y: click.point.y,
            positive: click.positive,
        }
    }
}

impl From<ClickRecord> for Click {
    fn from(ClickRecord { x, y, positive }: ClickRecord) -> Self {
        let point = Point2::new(x, y);
        Self { point, positive }
    }
}

/// Up to `count` different pixels of `candidates`, uniformly and in random order.
fn draw_pixels(mut candidates: Vec<usize>, count: usize, rng: &mut impl Rng) -> Vec<usize> {
    let count = count.min(candidates.len());
    for i in 0..count {
        let j = rng.random_range(i..candidates.len());
        candidates.swap(i, j);
    }
    candidates.truncate(count);
    candidates
}

/// Indices of the pixels where `mask` is `value`, in raster order.
fn pixels_where(mask: &Mask, value: bool) -> Vec<usize> {
    let pixels = mask.data().iter().enumerate();
    pixels
        .filter(|&(_, &v)| v == value)
        .map(|(i, _)| i)
        .collect()
}

/// Centre of the pixel with a row-major index.
fn point_at(index: usize, size: Size) -> Point2 {
    Point2::from_row_col(index / size.width, index % size.width)
}
