//! Heterogeneous insides: how much of each cluster every pixel of a structure or region has.
//!
//! Patches follow `SynthMorph`'s label maps (Hoffmann et al. 2022): smooth noise fields, at each pixel the largest.
//! Bands are the levels of one field. Differs: weights `max(0, 1 - (largest - v) / s)`, brought to a sum of 1, blend
//! neighbours over `s` standard deviations, which is one pixel for sharp borders.

use synthfm_image::Size;

use crate::field::{Grid, knot_count};
use crate::params::{ClusterForm, ClusterPattern, Vec2};
use crate::scratch::Buffer;
use crate::simd_dispatch;
use crate::spline::b_spline;

/// A rectangle of the image.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Window {
    pub(crate) row: usize,
    pub(crate) col: usize,
    pub(crate) size: Size,
}

/// Weights of the clusters after the first at each pixel of a window; what is left to 1 is the first's.
pub(crate) struct Weights(Vec<Buffer>);

impl Weights {
    /// Weights of `others` clusters after the first. `moved` is where the deformation moves a point in pixels.
    pub(crate) fn new(
        pattern: &ClusterPattern,
        others: usize,
        window: Window,
        unit_px: f32,
        moved: impl Fn(Vec2) -> Vec2,
    ) -> Self {
        let scale_px = pattern.scale.map(|scale| (scale * unit_px).max(1.0));
        // The field changes by about one standard deviation over its scale.
        let softness = pattern.softness.max(1.0 / scale_px[0].min(scale_px[1]));
        let noise = |k: usize| {
            noise(
                pattern.seed.wrapping_add(2 * k as u32),
                scale_px,
                window.size,
            )
        };
        match &pattern.form {
            ClusterForm::Patches => Self::patches((0..=others).map(noise).collect(), softness),
            ClusterForm::Bands { thresholds } => Self::bands(&noise(0), thresholds, softness),
            ClusterForm::Core {
                centre,
                radius,
                roughness,
                thresholds,
            } => {
                let centre = moved(centre.map(|v| v * unit_px - 0.5));
                let radius_px = (radius * unit_px).max(1.0);
                let mut field = noise(0);
                core_field(&mut field, window, centre, radius_px, *roughness);
                let softness = (pattern.softness * roughness).max(1.0 / radius_px);
                Self::bands(&field, thresholds, softness)
            }
        }
    }

    fn patches(mut fields: Vec<Buffer>, softness: f32) -> Self {
        let slope = 1.0 / softness;
        let mut sum = fields[0].clone();
        simd_dispatch::run(
            #[inline(always)]
            || {
                // The largest of all fields, then their weights, then the sum of these.
                for field in &fields[1..] {
                    for (largest, &v) in sum.iter_mut().zip(&**field) {
                        *largest = largest.max(v);
                    }
                }
                for field in &mut fields {
                    for (v, &largest) in field.iter_mut().zip(&*sum) {
                        *v = (1.0 - (largest - *v) * slope).max(0.0);
                    }
                }
                sum.fill(0.0);
                for field in &fields {
                    for (sum, &weight) in sum.iter_mut().zip(&**field) {
                        *sum += weight;
                    }
                }
                for field in &mut fields[1..] {
                    for (weight, &sum) in field.iter_mut().zip(&*sum) {
                        *weight /= sum;
                    }
                }
            },
        );
        fields.remove(0);
        Self(fields)
    }

    fn bands(field: &Buffer, thresholds: &[f32], softness: f32) -> Self {
        let slope = 1.0 / softness;
        let above = |threshold: f32| {
            let mut plane = Buffer::stale(field.len());
            simd_dispatch::run(
                #[inline(always)]
                || {
                    for (share, &v) in plane.iter_mut().zip(&**field) {
                        *share = ((v - threshold) * slope + 0.5).clamp(0.0, 1.0);
                    }
                },
            );
            plane
        };
        let mut planes: Vec<Buffer> = thresholds.iter().map(|&t| above(t)).collect();
        for k in 1..planes.len() {
            let (lower, upper) = planes.split_at_mut(k);
            for (weight, &next) in lower[k - 1].iter_mut().zip(&*upper[0]) {
                *weight -= next;
            }
        }
        Self(planes)
    }

    /// Weights of each cluster after the first at a pixel, counted row by row within the window.
    pub(crate) fn at(&self, pixel: usize) -> impl Iterator<Item = f32> {
        self.0.iter().map(move |plane| plane[pixel])
    }

    /// Weights of each cluster after the first in a stretch of pixels, counted row by row within the window.
    pub(crate) fn stretch(&self, range: std::ops::Range<usize>) -> impl Iterator<Item = &[f32]> {
        self.0.iter().map(move |plane| &plane[range.clone()])
    }
}

/// Turns noise into `1 - distance / radius + roughness * noise`.
fn core_field(field: &mut [f32], window: Window, centre: Vec2, radius_px: f32, roughness: f32) {
    let scale = 1.0 / radius_px;
    simd_dispatch::run(
        #[inline(always)]
        || {
            let lines = field.chunks_exact_mut(window.size.width.max(1));
            for (line, row) in lines.zip(window.row..) {
                let dy = (row as f32 - centre[1]) * scale;
                for (col, value) in line.iter_mut().enumerate() {
                    let dx = ((window.col + col) as f32 - centre[0]) * scale;
                    *value = 1.0 - (dx * dx + dy * dy).sqrt() + roughness * *value;
                }
            }
        },
    );
}

/// Standard deviation of the sum of a cubic B-spline's noise and of half as much of half the scale.
const NOISE_STD: f32 = 0.53;

/// Smooth noise of about unit variance, with detail at half the scale.
fn noise(seed: u32, scale_px: Vec2, size: Size) -> Buffer {
    let knots = |length: usize, scale: f32| knot_count(length, scale / 8.0);
    let grid = Size::new(
        knots(size.height, scale_px[0]),
        knots(size.width, scale_px[1]),
    );
    let coarse = b_spline(seed, scale_px, size, grid);
    let fine = b_spline(seed.wrapping_add(1), scale_px.map(|s| s / 2.0), size, grid);
    let mixed = coarse.iter().zip(&fine);
    let data = mixed
        .map(|(&a, &b)| (a + 0.5 * b) * (1.0 / NOISE_STD))
        .collect();
    Grid { size: grid, data }.enlarged(size).data
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Window = Window {
        row: 5,
        col: 9,
        size: Size::new(60, 83),
    };

    fn weights(form: ClusterForm, softness: f32, others: usize) -> Weights {
        let pattern = ClusterPattern {
            seed: 4,
            scale: [0.1, 0.15],
            softness,
            form,
        };
        Weights::new(&pattern, others, WINDOW, 100.0, |p| p)
    }

    fn forms() -> [ClusterForm; 3] {
        let thresholds = vec![0.2, 0.5, 0.7];
        [
            ClusterForm::Patches,
            ClusterForm::Bands {
                thresholds: thresholds.clone(),
            },
            ClusterForm::Core {
                centre: [0.5, 0.35],
                radius: 0.25,
                roughness: 0.1,
                thresholds,
            },
        ]
    }

    #[test]
    fn weights_are_shares_and_every_cluster_occurs() {
        for form in forms() {
            for softness in [0.0, 0.6] {
                let Weights(planes) = weights(form.clone(), softness, 3);
                assert_eq!(planes.len(), 3);
                for at in 0..WINDOW.size.area() {
                    let sum: f32 = planes.iter().map(|plane| plane[at]).sum();
                    let least = planes.iter().map(|plane| plane[at]).fold(1.0, f32::min);
                    assert!(least >= 0.0 && sum < 1.0 + 1e-5, "{form:?} {least} {sum}");
                }
                for plane in &planes {
                    let full = plane.iter().filter(|&&w| w > 0.9).count();
                    assert!(softness > 0.0 || full > 20, "{form:?} {full}");
                }
            }
        }
    }

    #[test]
    fn soft_borders_are_wider() {
        let blended = |softness| {
            let Weights(planes) = weights(ClusterForm::Patches, softness, 2);
            let pixels = planes[0].iter();
            pixels.filter(|&&w| w > 0.05 && w < 0.95).count()
        };
        assert!(blended(1.0) > 2 * blended(0.0));
    }

    /// Along a row through the centre, without noise: 1 - d / 25 is above 0.4 up to 15 pixels away.
    #[test]
    fn a_core_without_noise_is_a_disc() {
        let form = ClusterForm::Core {
            centre: [0.505, 0.305],
            radius: 0.25,
            roughness: 0.0,
            thresholds: vec![0.4],
        };
        let Weights(planes) = weights(form, 0.0, 1);
        let row = 30 - WINDOW.row;
        let line = &planes[0][row * WINDOW.size.width..(row + 1) * WINDOW.size.width];
        for (col, weight) in line.iter().enumerate() {
            let away = (col + WINDOW.col).abs_diff(50);
            let expected = match away {
                0..15 => 1.0,
                15 => 0.5,
                _ => 0.0,
            };
            assert!((weight - expected).abs() < 1e-4, "{away} {weight}");
        }
    }

    #[test]
    fn noise_has_unit_variance() {
        let data = noise(3, [6.0, 6.0], Size::new(400, 300));
        let variance = data.iter().map(|v| v * v).sum::<f32>() / data.len() as f32;
        assert!((variance - 1.0).abs() < 0.15, "{variance}");
    }
}
