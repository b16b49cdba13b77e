//! What acts on the painted image before noise: relief, blur, bias field, attenuation, shadows.
//!
//! Each step is a pure function that leaves the image alone at zero strength. The bias field is
//! SynthMorph's (a coarse normal grid, enlarged, exponentiated); the acoustic effects are simple
//! straight-beam versions of what ultrasound shows.

use synthfm_image::Size;

use crate::blur::{self, Plane};
use crate::field;
use crate::params::{BiasParams, OpticsParams, ReliefParams, ShadowParams};

/// Applies all steps in order.
pub(crate) fn apply(optics: &OpticsParams, data: &mut [f32], size: Size, unit_px: f32) {
    if let Some(params) = &optics.relief {
        relief(params, data, size, unit_px);
    }
    let sigma_px = optics.blur.map(|sigma| sigma * unit_px);
    blur::gaussian(
        &mut Plane {
            data,
            width: size.width,
        },
        sigma_px,
    );
    if let Some(params) = &optics.bias {
        bias(params, data, size, unit_px);
    }
    attenuate(optics.attenuation, data, size, unit_px);
    for params in &optics.shadows {
        shadow(params, data, size, unit_px);
    }
}

/// Multiplies by `exp(std F)`, which is positive everywhere.
fn bias(params: &BiasParams, data: &mut [f32], size: Size, unit_px: f32) {
    let scale_px = params.scale * unit_px;
    let coarse = field::smooth(params.seed, size, scale_px, params.std);
    // Exponentiated on a grid that is fine enough for linear interpolation afterwards.
    let knots = |length| field::knot_count(length, (scale_px / 4.0).max(2.0));
    let mut gain = coarse.enlarged(Size::new(knots(size.height), knots(size.width)));
    let width = gain.size.width;
    blur::gaussian(
        &mut Plane {
            data: &mut gain.data,
            width,
        },
        [2.0, 2.0],
    );
    gain.data
        .iter_mut()
        .for_each(|v| *v = libm::expf(v.clamp(-10.0, 10.0)));
    let gain = gain.enlarged(size);
    data.iter_mut()
        .zip(&gain.data)
        .for_each(|(value, &gain)| *value *= gain);
}

fn attenuate(attenuation: f32, data: &mut [f32], size: Size, unit_px: f32) {
    if attenuation == 0.0 {
        return;
    }
    for (row, line) in data.chunks_exact_mut(size.width).enumerate() {
        let gain = libm::expf((-attenuation * row as f32 / unit_px).clamp(-20.0, 20.0));
        for value in line {
            *value *= gain;
        }
    }
}

/// Multiplies a band below its start by its gain; the band's sides and its start are gradual.
fn shadow(params: &ShadowParams, data: &mut [f32], size: Size, unit_px: f32) {
    for row in 0..size.height {
        let depth = row as f32 / unit_px - params.start[1];
        if depth < 0.0 {
            continue;
        }
        let onset = (depth * 20.0).min(1.0);
        let half_px = ((params.half_width + params.spread * depth) * unit_px).max(1.0);
        let middle = params.start[0] * unit_px;
        let first = (middle - half_px).max(0.0) as usize;
        let last = ((middle + half_px).max(0.0) as usize).min(size.width);
        let line = &mut data[row * size.width..(row + 1) * size.width];
        for (col, value) in line.iter_mut().enumerate().take(last).skip(first) {
            let side = (col as f32 - middle) / half_px;
            // (1 - u^4): flat in the middle, steep at the sides.
            let profile = (1.0 - (side * side) * (side * side)).max(0.0) * onset;
            *value *= 1.0 + (params.gain - 1.0) * profile;
        }
    }
}

/// `keep I + (1 - keep) level + strength (I(x + d) - I(x - d))`, edges replicated.
fn relief(params: &ReliefParams, data: &mut [f32], size: Size, unit_px: f32) {
    let before = data.to_vec();
    let shift = params
        .shift
        .map(|v| (v * unit_px).clamp(-1e4, 1e4).round() as isize);
    let clamped = |v: isize, length: usize| v.clamp(0, length as isize - 1) as usize;
    let base = (1.0 - params.keep) * params.level;
    for row in 0..size.height {
        let ahead = clamped(row as isize + shift[1], size.height) * size.width;
        let behind = clamped(row as isize - shift[1], size.height) * size.width;
        for col in 0..size.width {
            let plus = before[ahead + clamped(col as isize + shift[0], size.width)];
            let minus = before[behind + clamped(col as isize - shift[0], size.width)];
            let value = &mut data[row * size.width + col];
            *value = params.keep * *value + base + params.strength * (plus - minus);
        }
    }
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "untouched pixels keep their bits")]
mod tests {
    use super::*;

    const SIZE: Size = Size::new(60, 90);

    #[test]
    fn default_is_the_identity() {
        let before: Vec<f32> = (0..SIZE.area()).map(|v| (v % 13) as f32).collect();
        let mut after = before.clone();
        apply(&OpticsParams::default(), &mut after, SIZE, 60.0);
        assert_eq!(before, after);
    }

    #[test]
    fn bias_is_positive_and_smooth() {
        let params = BiasParams {
            seed: 3,
            scale: 0.3,
            std: 0.8,
        };
        let mut data = vec![1.0; SIZE.area()];
        bias(&params, &mut data, SIZE, 60.0);
        assert!(data.iter().all(|&v| v > 0.0));
        assert!(
            data.windows(2)
                .take(80)
                .all(|pair| (pair[0] / pair[1] - 1.0).abs() < 0.2)
        );
        assert!(data.iter().any(|&v| (v - 1.0).abs() > 0.1));
    }

    #[test]
    fn shadow_darkens_below_its_start_only() {
        let params = ShadowParams {
            start: [0.75, 0.5],
            half_width: 0.1,
            spread: 0.0,
            gain: 0.2,
        };
        let mut data = vec![1.0; SIZE.area()];
        shadow(&params, &mut data, SIZE, 60.0);
        assert_eq!(data[SIZE.index(20, 45)], 1.0);
        assert!((data[SIZE.index(50, 45)] - 0.2).abs() < 1e-5);
        assert_eq!(data[SIZE.index(50, 10)], 1.0);
    }

    #[test]
    fn relief_of_a_flat_image_is_its_level() {
        let params = ReliefParams {
            shift: [0.02, 0.02],
            strength: 2.0,
            level: 0.5,
            keep: 0.0,
        };
        let mut data = vec![0.9; SIZE.area()];
        relief(&params, &mut data, SIZE, 60.0);
        assert!(data.iter().all(|&v| v == 0.5));
    }
}
