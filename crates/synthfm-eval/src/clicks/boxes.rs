//! Boxes around a structure, exact or as sloppy as a user's.

use rand::Rng;
use synthfm_image::{BoxXyxy, Mask, Point2};

use super::normal;

/// How far the edges of a box prompt stray from the structure.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BoxJitter {
    /// Standard deviation of each edge as a part of the box's side (SAM: 0.1).
    pub relative_sd: f64,
    /// Largest shift of an edge in pixels (SAM: 20, on images of 1024).
    pub max_px: f64,
}

impl Default for BoxJitter {
    fn default() -> Self {
        Self {
            relative_sd: 0.1,
            max_px: 20.0,
        }
    }
}

/// The bounding box of `mask` with each edge shifted by Gaussian noise, inside the image and never turned inside
/// out; `None` for an empty mask. As in SAM (Kirillov et al. 2023, appendix A).
pub fn jittered_box(mask: &Mask, jitter: BoxJitter, rng: &mut impl Rng) -> Option<BoxXyxy> {
    let exact = mask.bounding_box()?;
    let (right, bottom) = (mask.size().width - 1, mask.size().height - 1);
    let mut axis = |low: f64, high: f64, last: usize| {
        let side = high - low + 1.0;
        let mut shift =
            || (normal(rng) * jitter.relative_sd * side).clamp(-jitter.max_px, jitter.max_px);
        let a = (low + shift()).clamp(0.0, last as f64);
        let b = (high + shift()).clamp(0.0, last as f64);
        (a.min(b), a.max(b))
    };
    let (x0, x1) = axis(exact.min.x, exact.max.x, right);
    let (y0, y1) = axis(exact.min.y, exact.max.y, bottom);
    Some(BoxXyxy {
        min: Point2::new(x0, y0),
        max: Point2::new(x1, y1),
    })
}
