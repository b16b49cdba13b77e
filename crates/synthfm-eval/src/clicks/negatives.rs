//! Negative clicks: far from the structure, in a ring around it, at its border, or anywhere outside.

use rand::{Rng, RngExt};
use synthfm_image::{Mask, Point2, distance_to};

use super::{Click, draw_pixels, pixels_where, point_at};

/// Inner edge of the ring, in equivalent radii of the structure.
pub const RING_INNER: f64 = 0.15;
/// Outer edge of the ring, in equivalent radii of the structure.
pub const RING_OUTER: f64 = 0.5;
/// Width of the border's band, in square roots of the structure's area.
pub const BORDER_WIDTH: f64 = 0.1;

/// Where negative clicks go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Negatives {
    /// Each on the background pixel whose smallest distance to the first positive click and to the earlier negative
    /// ones is the largest (first in raster order): the protocol of the paper's authors.
    Far,
    /// Uniform in the ring between [`RING_INNER`] and [`RING_OUTER`] equivalent radii `sqrt(area / pi)` from the
    /// nearest pixel of the structure. If the ring has too few pixels inside the image, its pixels are followed by
    /// those background pixels whose distance comes nearest to it. Around an empty mask: anywhere.
    Ring,
    /// Uniform in the band of `ceil(`[`BORDER_WIDTH`]` sqrt(area))` pixels outside the border, as RITM's border clicks
    /// (Sofiiuk et al. 2021, `points_sampler.py`). Differs: RITM dilates with a square, we measure distances.
    /// Too few pixels and an empty mask: as for the ring.
    Border,
    /// Uniform in the background.
    Uniform,
}

/// A structure, and where beside it a negative click makes no sense.
#[derive(Debug, Clone, Copy)]
pub struct Surroundings<'a> {
    /// The structure.
    pub mask: &'a Mask,
    /// Pixels of an image of the same size whose truth is not known.
    pub ignored: Option<&'a Mask>,
}

impl<'a> From<&'a Mask> for Surroundings<'a> {
    fn from(mask: &'a Mask) -> Self {
        Self {
            mask,
            ignored: None,
        }
    }
}

impl Surroundings<'_> {
    /// Indices of the background pixels, in raster order.
    fn background(self) -> Vec<usize> {
        let mut pixels = pixels_where(self.mask, false);
        if let Some(ignored) = self.ignored {
            pixels.retain(|&i| ignored.data().get(i) != Some(&true));
        }
        pixels
    }
}

/// Up to `count` negative clicks on different background pixels; fewer if there are fewer.
/// `first_positive` is what [`Negatives::Far`] keeps away from.
pub fn negative_clicks<'a>(
    around: impl Into<Surroundings<'a>>,
    count: usize,
    placement: Negatives,
    first_positive: Point2,
    rng: &mut impl Rng,
) -> Vec<Click> {
    let around = around.into();
    let mask = around.mask;
    let pixels = match placement {
        Negatives::Far => far_pixels(around, count, first_positive),
        Negatives::Ring => band_pixels(around, count, ring(mask), rng),
        Negatives::Border => {
            let width = (BORDER_WIDTH * (mask.area() as f64).sqrt()).ceil();
            band_pixels(around, count, [0.0, width], rng)
        }
        Negatives::Uniform => draw_pixels(around.background(), count, rng),
    };
    to_clicks(mask, pixels)
}

/// Up to `count` negative clicks as RITM trains with (Sofiiuk et al., 2021), the place of each drawn independently:
/// 10 % anywhere in the background, 40 % on `other_objects` outside `mask`, 50 % in the ring. Where there is no
/// other object, the ring takes its part. Differs: RITM's border band is a tenth of the square root of the area
/// wide; ours is the ring of the evaluation. Two clicks may fall on one pixel.
pub fn training_negatives(
    mask: &Mask,
    other_objects: &Mask,
    count: usize,
    rng: &mut impl Rng,
) -> Vec<Click> {
    let on_others: Vec<usize> = pixels_where(other_objects, true)
        .into_iter()
        .filter(|&i| mask.data().get(i) == Some(&false))
        .collect();
    let shares: Vec<f64> = (0..count).map(|_| rng.random::<f64>()).collect();
    let anywhere = shares.iter().filter(|&&u| u < 0.1).count();
    let others = match on_others.len() {
        0 => 0,
        _ => shares.iter().filter(|&&u| (0.1..0.5).contains(&u)).count(),
    };
    let mut pixels = draw_pixels(pixels_where(mask, false), anywhere, rng);
    pixels.extend(draw_pixels(on_others, others, rng));
    let in_ring = count - anywhere - others;
    pixels.extend(band_pixels(mask.into(), in_ring, ring(mask), rng));
    to_clicks(mask, pixels)
}

fn to_clicks(mask: &Mask, pixels: Vec<usize>) -> Vec<Click> {
    let to_click = |i: usize| Click::negative(point_at(i, mask.size()));
    pixels.into_iter().map(to_click).collect()
}

fn far_pixels(around: Surroundings, count: usize, first_positive: Point2) -> Vec<usize> {
    let (mask, background) = (around.mask, around.background());
    let squared = |i: usize, p: Point2| {
        let q = point_at(i, mask.size());
        (q.x - p.x).powi(2) + (q.y - p.y).powi(2)
    };
    let mut nearest: Vec<f64> = background
        .iter()
        .map(|&i| squared(i, first_positive))
        .collect();
    let mut chosen = Vec::new();
    while chosen.len() < count.min(background.len()) {
        let farthest =
            (1..background.len()).fold(
                0,
                |best, i| {
                    if nearest[i] > nearest[best] { i } else { best }
                },
            );
        let pixel = background[farthest];
        chosen.push(pixel);
        let point = point_at(pixel, mask.size());
        for (d, &i) in nearest.iter_mut().zip(&background) {
            *d = d.min(squared(i, point));
        }
        nearest[farthest] = f64::NEG_INFINITY;
    }
    chosen
}

/// The ends of the ring in pixels.
fn ring(mask: &Mask) -> [f64; 2] {
    let radius = (mask.area() as f64 / std::f64::consts::PI).sqrt();
    [RING_INNER * radius, RING_OUTER * radius]
}

/// Background pixels whose distance to the mask lies between the ends of `band`, then those that come nearest to it.
fn band_pixels(
    around: Surroundings,
    count: usize,
    band: [f64; 2],
    rng: &mut impl Rng,
) -> Vec<usize> {
    let (mask, background) = (around.mask, around.background());
    if mask.area() == 0 || count == 0 {
        return draw_pixels(background, count, rng);
    }
    let [inner, outer] = band;
    let distance = distance_to(mask);
    let gap = |i: usize| {
        let d = f64::from(distance[i]);
        (inner - d).max(d - outer).max(0.0)
    };
    let (in_band, mut elsewhere): (Vec<usize>, Vec<usize>) =
        background.into_iter().partition(|&i| gap(i) <= 0.0);
    let mut pixels = draw_pixels(in_band, count, rng);
    if pixels.len() < count {
        elsewhere.sort_by(|&a, &b| gap(a).total_cmp(&gap(b)));
        elsewhere.truncate(count - pixels.len());
        pixels.append(&mut elsewhere);
    }
    pixels
}
