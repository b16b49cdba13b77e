//! Positive clicks: the protocol's click near the centroid, and uniform ones.

use rand::Rng;
use synthfm_image::{Mask, Point2, deepest_pixel};

use super::{Click, draw_pixels, pixels_where, point_at};

/// Where positive clicks go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Positives {
    /// The first on [`centre_pixel`], the others uniform in the rest of the mask (evaluation).
    CentreFirst,
    /// All uniform in the mask (training).
    Uniform,
}

/// Up to `count` positive clicks on different pixels of `mask`; fewer if it has fewer pixels.
pub fn positive_clicks(
    mask: &Mask,
    count: usize,
    placement: Positives,
    rng: &mut impl Rng,
) -> Vec<Click> {
    let mut candidates = pixels_where(mask, true);
    let mut pixels = Vec::new();
    if placement == Positives::CentreFirst && count > 0 {
        pixels.extend(centre_index(mask));
        candidates.retain(|i| !pixels.contains(i));
    }
    pixels.extend(draw_pixels(candidates, count - pixels.len(), rng));
    let to_click = |i: usize| Click::positive(point_at(i, mask.size()));
    pixels.into_iter().map(to_click).collect()
}

/// The pixel nearest to the centroid of `mask` if it belongs to the mask; otherwise the deepest pixel, that is the
/// one farthest from the background and from the border of the image. `None` for an empty mask.
pub fn centre_pixel(mask: &Mask) -> Option<Point2> {
    centre_index(mask).map(|i| point_at(i, mask.size()))
}

fn centre_index(mask: &Mask) -> Option<usize> {
    let size = mask.size();
    let nearest = mask.centroid()?.row_col(size);
    let (row, col) = nearest
        .filter(|&(row, col)| mask.at(row, col))
        .or_else(|| deepest_pixel(mask))?;
    Some(size.index(row, col))
}
