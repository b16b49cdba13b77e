//! The last steps: stretch, window, gamma, grey levels, field of view.
//!
//! The stretch maps two quantiles of the image's own intensities to 0 and 1. Then
//! `v = clip((I - low) / (high - low))^gamma`, rounded to the grey levels.
//! Outside the field of view the image has one value and no structure.

use serde::{Deserialize, Serialize};
use synthfm_image::Size;

use super::Probe;
use crate::Result;
use crate::check::numbers;
use crate::params::Vec2;
use crate::{simd_dispatch, simd_math};

/// The last steps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ViewParams {
    /// Shares of the image's own intensities that are mapped to 0 and 1 first, if any: what a viewer
    /// or an export to 8 bits does.
    pub stretch: Option<Vec2>,
    /// Intensities that become 0 and 1.
    pub window: Vec2,
    /// Exponent after the window.
    pub gamma: f32,
    /// The visible part of the image.
    pub field_of_view: FieldOfView,
    /// Intensity outside the field of view.
    pub outside: f32,
    /// Number of grey levels; 0: not quantised.
    pub levels: u32,
}

impl Default for ViewParams {
    fn default() -> Self {
        Self {
            stretch: None,
            window: [0.0, 1.0],
            gamma: 1.0,
            field_of_view: FieldOfView::Full,
            outside: 0.0,
            levels: 0,
        }
    }
}

/// The visible part of the image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum FieldOfView {
    /// All of it.
    Full,
    /// A disc.
    Circle {
        /// Centre.
        centre: Vec2,
        /// Radius.
        radius: f32,
    },
    /// A rectangle, perhaps turned: a crop, or the edges of a collimator.
    Rectangle {
        /// Centre.
        centre: Vec2,
        /// Half width and half height.
        half: Vec2,
        /// Angle of the first side against the rows, radians.
        angle: f32,
    },
    /// The area that the beams of an ultrasound probe reach.
    Probe(Probe),
}

impl ViewParams {
    pub(crate) fn validate(&self) -> Result<()> {
        numbers(
            "view",
            &[self.window[0], self.window[1], self.gamma, self.outside],
        )?;
        numbers("view.stretch", &self.stretch.unwrap_or_default())?;
        let field = "view.field_of_view";
        match &self.field_of_view {
            FieldOfView::Full => Ok(()),
            FieldOfView::Circle { centre, radius } => {
                numbers(field, &[centre[0], centre[1], *radius])
            }
            FieldOfView::Rectangle {
                centre,
                half,
                angle,
            } => numbers(field, &[centre[0], centre[1], half[0], half[1], *angle]),
            FieldOfView::Probe(probe) => probe.validate(field),
        }
    }
}

/// Bins of the histogram that quantiles are read from.
const BINS: usize = 2048;

/// Maps the quantiles at two shares to 0 and 1, as far as the histogram's bins tell them apart, but no intensity below
/// black to anything above; an image of one intensity stays as it is.
pub(crate) fn stretch(shares: Vec2, data: &mut [f32]) {
    let [least, most] = extent(data);
    let per_bin = (most - least) / BINS as f32;
    if !(per_bin > 1e-9 && per_bin.is_finite()) {
        return;
    }
    let counts = histogram(data, least, 1.0 / per_bin);
    let quantile = |share: f32| {
        let wanted = share.clamp(0.0, 1.0) * data.len() as f32;
        let mut sum = 0.0;
        let bin = counts.iter().position(|&count| {
            sum += count as f32;
            sum >= wanted
        });
        bin.unwrap_or(BINS - 1) as f32
    };
    // What lies below black stays black.
    let low = (least + quantile(shares[0]) * per_bin).max(0.0);
    let high = least + (quantile(shares[1]) + 1.0) * per_bin;
    let scale = 1.0 / (high - low).max(per_bin);
    for value in data {
        *value = (*value - low) * scale;
    }
}

/// Pixels that are worked on at once.
const PIXELS: usize = 256;

/// Smallest and largest intensity; NaN counts as neither.
fn extent(data: &[f32]) -> [f32; 2] {
    let (mut least, mut most) = ([f32::MAX; PIXELS], [f32::MIN; PIXELS]);
    simd_dispatch::run(
        #[inline(always)]
        || {
            for chunk in data.chunks(PIXELS) {
                for ((least, most), &value) in least.iter_mut().zip(&mut most).zip(chunk) {
                    *least = if value < *least { value } else { *least };
                    *most = if value > *most { value } else { *most };
                }
            }
        },
    );
    let least = least.iter().copied().fold(f32::MAX, f32::min);
    [least, most.iter().copied().fold(f32::MIN, f32::max)]
}

/// How many intensities fall into each bin from `least` upwards.
fn histogram(data: &[f32], least: f32, bins_per_unit: f32) -> [u32; BINS] {
    // Two tables, in turn: the same bin twice in a row need not wait for itself.
    let mut counts = [[0_u32; BINS]; 2];
    let mut bins = [0_i32; PIXELS];
    for chunk in data.chunks(PIXELS) {
        simd_dispatch::run(
            #[inline(always)]
            || {
                for (bin, &value) in bins.iter_mut().zip(chunk) {
                    *bin = (((value - least) * bins_per_unit) as i32).min(BINS as i32 - 1);
                }
            },
        );
        for (k, &bin) in bins[..chunk.len()].iter().enumerate() {
            counts[k % 2][bin as usize % BINS] += 1;
        }
    }
    std::array::from_fn(|bin| counts[0][bin] + counts[1][bin])
}

/// Maps intensities to `[0, 1]`; NaN cannot remain.
pub(crate) fn window(view: &ViewParams, data: &mut [f32]) {
    let [low, high] = view.window;
    let scale = 1.0 / (high - low).max(1e-6);
    let levels = view.levels.saturating_sub(1) as f32;
    let gamma = view.gamma;
    let bent = (gamma - 1.0).abs() > 0.0;
    simd_dispatch::run(
        #[inline(always)]
        || {
            for chunk in data.chunks_mut(PIXELS) {
                for value in &mut *chunk {
                    let v = (*value - low) * scale;
                    // Comparisons with NaN are false: it becomes 0.
                    let v = if v > 0.0 { v } else { 0.0 };
                    *value = if v < 1.0 { v } else { 1.0 };
                }
                if bent {
                    for value in &mut *chunk {
                        let v = simd_math::pow(*value, gamma);
                        *value = if v < 1.0 { v } else { 1.0 };
                    }
                }
                if levels > 0.0 {
                    for value in &mut *chunk {
                        // The value is not negative: truncation rounds down.
                        *value = (*value * levels + 0.5) as i32 as f32 / levels;
                    }
                }
            }
        },
    );
}

/// Whether each pixel is visible; `None` if all are.
pub(crate) fn visible(view: &FieldOfView, size: Size, unit_px: f32) -> Option<Vec<bool>> {
    match *view {
        FieldOfView::Full => None,
        FieldOfView::Circle { centre, radius } => Some(pixels(size, unit_px, |p| {
            squared_distance(p, centre) <= radius * radius
        })),
        FieldOfView::Rectangle {
            centre,
            half,
            angle,
        } => {
            let (sin, cos) = libm::sincosf(angle);
            Some(pixels(size, unit_px, |[x, y]| {
                let (dx, dy) = (x - centre[0], y - centre[1]);
                let (along, across) = (dx * cos + dy * sin, dy * cos - dx * sin);
                along.abs() <= half[0] && across.abs() <= half[1]
            }))
        }
        FieldOfView::Probe(Probe::Linear { min, max }) => Some(pixels(size, unit_px, |[x, y]| {
            x >= min[0] && x <= max[0] && y >= min[1] && y <= max[1]
        })),
        FieldOfView::Probe(Probe::Fan {
            apex,
            half_angle,
            near,
            far,
        }) => {
            let (sin, cos) = libm::sincosf(half_angle);
            Some(pixels(size, unit_px, |p| {
                let (dx, dy) = (p[0] - apex[0], p[1] - apex[1]);
                let distance = squared_distance(p, apex);
                let within = dx.abs() * cos <= dy * sin;
                within && distance >= near * near && distance <= far * far
            }))
        }
    }
}

fn pixels(size: Size, unit_px: f32, inside: impl Fn(Vec2) -> bool) -> Vec<bool> {
    let in_units = |pixel: usize| (pixel as f32 + 0.5) / unit_px;
    let columns: Vec<f32> = (0..size.width).map(in_units).collect();
    let mut visible = Vec::with_capacity(size.area());
    for y in (0..size.height).map(in_units) {
        visible.extend(columns.iter().map(|&x| inside([x, y])));
    }
    visible
}

fn squared_distance(a: Vec2, b: Vec2) -> f32 {
    (a[0] - b[0]) * (a[0] - b[0]) + (a[1] - b[1]) * (a[1] - b[1])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_keeps_intensities_and_clips() {
        let mut data = vec![-0.5, 0.0, 0.37, 1.0, 1.5, f32::NAN];
        window(&ViewParams::default(), &mut data);
        assert_eq!(data, [0.0, 0.0, 0.37, 1.0, 1.0, 0.0]);
    }

    #[test]
    fn stretch_maps_quantiles_to_the_ends() {
        let mut data: Vec<f32> = (0..1001).map(|v| 5.0 + v as f32 / 100.0).collect();
        stretch([0.1, 0.9], &mut data);
        assert!(data[100].abs() < 0.01 && (data[900] - 1.0).abs() < 0.01);
        let mut flat = vec![0.3; 10];
        stretch([0.0, 1.0], &mut flat);
        assert_eq!(flat, [0.3; 10]);
    }

    #[test]
    fn window_gamma_and_levels() {
        let view = ViewParams {
            window: [0.2, 0.6],
            gamma: 2.0,
            levels: 256,
            ..ViewParams::default()
        };
        let mut data = vec![0.2, 0.4, 0.6];
        window(&view, &mut data);
        assert_eq!(data, [0.0, 64.0 / 255.0, 1.0]);
    }

    #[test]
    fn fans_open_downwards() {
        let view = FieldOfView::Probe(Probe::Fan {
            apex: [0.75, -0.1],
            half_angle: 0.5,
            near: 0.2,
            far: 1.0,
        });
        let size = Size::new(100, 150);
        let visible = visible(&view, size, 100.0).unwrap();
        assert!(visible[size.index(50, 75)]);
        assert!(!visible[size.index(5, 75)], "nearer than the probe");
        assert!(!visible[size.index(95, 75)], "too deep");
        assert!(!visible[size.index(50, 10)], "beside the fan");
    }

    #[test]
    fn rectangles_turn() {
        let size = Size::new(100, 150);
        let rectangle = |angle: f32| FieldOfView::Rectangle {
            centre: [0.75, 0.5],
            half: [0.4, 0.1],
            angle,
        };
        let flat = visible(&rectangle(0.0), size, 100.0).unwrap();
        assert!(flat[size.index(50, 110)] && !flat[size.index(85, 75)]);
        let upright = visible(&rectangle(std::f32::consts::FRAC_PI_2), size, 100.0).unwrap();
        assert!(!upright[size.index(50, 110)] && upright[size.index(85, 75)]);
    }
}
