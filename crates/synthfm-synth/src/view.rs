//! The last steps: stretch, window, gamma, grey levels, field of view.
//!
//! The stretch maps two quantiles of the image's own intensities to 0 and 1. Then `v = clip((I - low) / (high - low))^gamma`, rounded to the grey levels; gamma is a table of 1024
//! linear pieces. Outside the field of view the image has one value and no structure.

use synthfm_image::Size;

use crate::params::{FieldOfView, Vec2, ViewParams};

/// Linear pieces of the gamma curve.
const PIECES: usize = 1024;

/// Bins of the histogram that quantiles are read from.
const BINS: usize = 2048;

/// Maps the quantiles at two shares to 0 and 1, as far as the histogram's bins tell them apart; an
/// image of one intensity stays as it is.
pub(crate) fn stretch(shares: Vec2, data: &mut [f32]) {
    let fold = |of: fn(f32, f32) -> f32, start: f32| data.iter().copied().fold(start, of);
    let (least, most) = (fold(f32::min, f32::MAX), fold(f32::max, f32::MIN));
    let per_bin = (most - least) / BINS as f32;
    if !(per_bin > 1e-9 && per_bin.is_finite()) {
        return;
    }
    let mut counts = vec![0_u32; BINS];
    let bins_per_unit = 1.0 / per_bin;
    for &value in data.iter() {
        counts[(((value - least) * bins_per_unit) as usize).min(BINS - 1)] += 1;
    }
    let quantile = |share: f32| {
        let wanted = share.clamp(0.0, 1.0) * data.len() as f32;
        let mut sum = 0.0;
        let bin = counts.iter().position(|&count| {
            sum += count as f32;
            sum >= wanted
        });
        bin.unwrap_or(BINS - 1) as f32
    };
    let low = least + quantile(shares[0]) * per_bin;
    let high = least + (quantile(shares[1]) + 1.0) * per_bin;
    let scale = 1.0 / (high - low).max(per_bin);
    for value in data {
        *value = (*value - low) * scale;
    }
}

/// Maps intensities to `[0, 1]`; NaN cannot remain.
#[expect(clippy::manual_clamp, reason = "clamp keeps NaN, max replaces it")]
pub(crate) fn window(view: &ViewParams, data: &mut [f32]) {
    let [low, high] = view.window;
    let scale = 1.0 / (high - low).max(1e-6);
    let levels = view.levels.saturating_sub(1) as f32;
    let power = |k: usize| libm::powf(k as f32 / PIECES as f32, view.gamma);
    let curve: Vec<f32> = (0..=PIECES + 1).map(power).collect();
    for value in data.iter_mut() {
        let mut v = ((*value - low) * scale).max(0.0).min(1.0);
        if (view.gamma - 1.0).abs() > 0.0 {
            let position = v * PIECES as f32;
            let piece = position as usize;
            v = curve[piece] + (curve[piece + 1] - curve[piece]) * (position - piece as f32);
        }
        if levels > 0.0 {
            // The value is not negative: truncation rounds down, and is faster than `floor`.
            v = (v * levels + 0.5) as i32 as f32 / levels;
        }
        *value = v.min(1.0);
    }
}

/// Whether each pixel is visible; `None` if all are.
pub(crate) fn visible(view: &FieldOfView, size: Size, unit_px: f32) -> Option<Vec<bool>> {
    let inside: Box<dyn Fn(Vec2) -> bool> = match *view {
        FieldOfView::Full => return None,
        FieldOfView::Circle { centre, radius } => {
            Box::new(move |p| square(p, centre) <= radius * radius)
        }
        FieldOfView::Strip { min, max } => {
            Box::new(move |[x, y]| x >= min[0] && x <= max[0] && y >= min[1] && y <= max[1])
        }
        FieldOfView::Sector {
            apex,
            half_angle,
            near,
            far,
        } => {
            let (sin, cos) = libm::sincosf(half_angle);
            Box::new(move |p| {
                let (dx, dy) = (p[0] - apex[0], p[1] - apex[1]);
                let distance = square(p, apex);
                let within = dx.abs() * cos <= dy * sin;
                within && distance >= near * near && distance <= far * far
            })
        }
    };
    let pixel = |at: usize| {
        let (row, col) = (at / size.width, at % size.width);
        inside([(col as f32 + 0.5) / unit_px, (row as f32 + 0.5) / unit_px])
    };
    Some((0..size.area()).map(pixel).collect())
}

fn square(a: Vec2, b: Vec2) -> f32 {
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
    fn sector_opens_downwards() {
        let view = FieldOfView::Sector {
            apex: [0.75, -0.1],
            half_angle: 0.5,
            near: 0.2,
            far: 1.0,
        };
        let size = Size::new(100, 150);
        let visible = visible(&view, size, 100.0).unwrap();
        assert!(visible[size.index(50, 75)]);
        assert!(!visible[size.index(5, 75)], "nearer than the probe");
        assert!(!visible[size.index(95, 75)], "too deep");
        assert!(!visible[size.index(50, 10)], "beside the fan");
    }
}
