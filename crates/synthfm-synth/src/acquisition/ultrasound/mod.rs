//! Ultrasound along beams: speckle, point spread, shadows, gain and log compression.
//!
//! The painted image is the mean brightness in decibels. It is sampled in (range, beam) coordinates,
//! turned into amplitudes, multiplied with complex white noise (many scatterers per cell, Goodman
//! 1975) and convolved with the point spread (Bamber and Dickinson, Phys. Med. Biol. 1980), whose width
//! across the beam grows away from the focus; the envelope's logarithm is the image. Boundaries that
//! face the beam add a coherent echo. Gain is lost behind what is bright and won behind what is
//! dark, since time-gain compensation assumes a mean attenuation. Differs: attenuation follows
//! brightness, and there is no refraction.

mod probe;

use std::sync::LazyLock;

use serde::{Deserialize, Serialize};
use synthfm_image::Size;

use crate::Result;
use crate::blur::{self, Plane};
use crate::check::{at_most, check, numbers, within};
use crate::rng::RowRng;
use crate::scratch::Buffer;
pub use probe::Probe;
use probe::{BeamImage, Sampling};

/// Imaging along beams. Lengths are in units of the shorter side, gains in decibels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UltrasoundParams {
    /// Sub-seed of the scatterers.
    pub seed: u32,
    /// Where the beams run.
    pub probe: Probe,
    /// Standard deviation of the point spread along the beam.
    pub axial: f32,
    /// Standard deviation across the beam, in the focus.
    pub lateral: f32,
    /// Depth of the focus.
    pub focus: f32,
    /// Relative growth of the lateral width per depth away from the focus.
    pub divergence: f32,
    /// Decibels between black and white.
    pub dynamic_range_db: f32,
    /// Share of random scattering, 0 (none) to 1 (fully developed speckle).
    pub speckle: f32,
    /// Strength of echoes from boundaries that face the beam.
    pub specular: f32,
    /// Loss per depth behind the brightest matter.
    pub shadowing_db: f32,
    /// Gain per depth behind black matter.
    pub enhancement_db: f32,
    /// Error of the time-gain compensation at equal steps of depth.
    pub gain_db: Vec<f32>,
    /// Amplitude of the reverberation right below the probe.
    pub near_field: f32,
    /// Shadows of what lies above the image, and of lost contact.
    pub shadows: Vec<BeamShadow>,
}

/// A band of beams with changed gain.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BeamShadow {
    /// Its middle as a share of the beams.
    pub beam: f32,
    /// Half its width as a share of the beams.
    pub half_width: f32,
    /// Depth where it starts.
    pub start: f32,
    /// Gain in its middle.
    pub gain_db: f32,
}

impl UltrasoundParams {
    pub(super) fn validate(&self) -> Result<()> {
        let field = "acquisition.ultrasound";
        self.probe.validate(field)?;
        let widths = [self.axial, self.lateral];
        within(field, &widths, 0.5, "widths of at most 0.5")?;
        let ok = (1.0..=1000.0).contains(&self.dynamic_range_db);
        let got = self.dynamic_range_db.to_string();
        check(ok, field, "dynamic_range_db from 1 to 1000", got)?;
        within(field, &[self.speckle], 1.0, "speckle of at most 1")?;
        numbers(
            field,
            &[
                self.focus,
                self.divergence,
                self.specular,
                self.shadowing_db,
                self.enhancement_db,
                self.near_field,
            ],
        )?;
        at_most(field, self.gain_db.len(), 64, "at most 64 gains")?;
        numbers(field, &self.gain_db)?;
        at_most(field, self.shadows.len(), 64, "at most 64 shadows")?;
        for shadow in &self.shadows {
            let BeamShadow {
                beam,
                half_width,
                start,
                gain_db,
            } = *shadow;
            numbers(field, &[beam, half_width, start, gain_db])?;
        }
        Ok(())
    }
}

pub(super) fn apply(params: &UltrasoundParams, data: &mut [f32], size: Size, unit_px: f32) {
    let probe = params.probe;
    if probe.depth() <= 0.0 {
        return;
    }
    // Samples closer than the point spread is wide; finer ones would only repeat each other.
    let steps = [params.axial, params.lateral].map(|sigma| (sigma * unit_px * 0.8).clamp(0.7, 8.0));
    let sampling = probe.sampling(steps, params.focus, unit_px);
    let mut beams = probe.sample(data, size, unit_px, &sampling);
    let gain = Gain::of(params, &beams, &sampling, unit_px);
    let psf = PointSpread::new(params, &sampling, unit_px);
    let (real, imaginary) = echoes(params, &beams, &sampling, &psf, unit_px);
    let db_per_bit = 20.0 * std::f32::consts::LOG10_2;
    let per_bit = db_per_bit / params.dynamic_range_db;
    for (at, value) in beams.data.iter_mut().enumerate() {
        let power = real[at] * real[at] + imaginary[at] * imaginary[at];
        // Half the logarithm of the power is that of the envelope.
        *value = (1.0 + 0.5 * per_bit * log2(power) + gain.data[at]).max(0.0);
    }
    probe.scan_convert(&beams, &sampling, (data, size), unit_px);
}

/// Standard deviations of the point spread in samples.
struct PointSpread {
    axial: f32,
    /// At each range.
    lateral: Vec<f32>,
}

impl PointSpread {
    fn new(params: &UltrasoundParams, sampling: &Sampling, unit_px: f32) -> Self {
        let widest = sampling.size.width as f32 / 4.0;
        let lateral = |range: usize| {
            let depth = range as f32 * sampling.range_px / unit_px;
            let off = params.divergence * (depth - params.focus);
            let width_px = params.lateral * unit_px * (1.0 + off * off).sqrt();
            (width_px / sampling.beam_distance_px(range).max(1e-3)).min(widest)
        };
        Self {
            axial: params.axial * unit_px / sampling.range_px,
            lateral: (0..sampling.size.height).map(lateral).collect(),
        }
    }

    fn convolve(&self, data: &mut [f32], width: usize) {
        blur::gaussian(&mut Plane { data, width }, [self.axial, 0.0]);
        for (data, &sigma) in data.chunks_exact_mut(width).zip(&self.lateral) {
            blur::gaussian(&mut Plane { data, width }, [0.0, sigma]);
        }
    }

    /// Factor that gives filtered white noise its variance back, at a range.
    fn noise_gain(&self, range: usize) -> f32 {
        1.0 / (energy(self.axial) * energy(self.lateral[range])).sqrt()
    }
}

/// Sum of the squared weights of a discrete Gaussian.
fn energy(sigma: f32) -> f32 {
    if sigma < 0.05 {
        return 1.0;
    }
    if sigma > 2.5 {
        return 0.5 / (std::f32::consts::PI.sqrt() * sigma);
    }
    let weight = |k: i32| libm::expf(-0.5 * (k as f32 / sigma) * (k as f32 / sigma));
    let (mut sum, mut squares) = (1.0, 1.0);
    for weight in (1..=8).map(weight) {
        sum += 2.0 * weight;
        squares += 2.0 * weight * weight;
    }
    squares / (sum * sum)
}

/// Real and imaginary part of the echo.
fn echoes(
    params: &UltrasoundParams,
    beams: &BeamImage,
    sampling: &Sampling,
    psf: &PointSpread,
    unit_px: f32,
) -> (Buffer, Buffer) {
    let width = beams.size.width;
    let mut real = Buffer::zeros(beams.size.area());
    let mut imaginary = real.clone();
    let random = params.speckle;
    let steady = 1.0 - random;
    // A complex number has two parts of half the power each.
    let norm = 1.0 / (random * random + steady * steady).sqrt();
    let amplitude = Amplitude::new(params.dynamic_range_db);
    for (range, brightness) in beams.data.chunks_exact(width).enumerate() {
        let line = range * width..(range + 1) * width;
        let (re, im) = (&mut real[line.clone()], &mut imaginary[line]);
        if random > 0.0 {
            RowRng::new(params.seed, 2 * range).fill_normal(re);
            RowRng::new(params.seed, 2 * range + 1).fill_normal(im);
        }
        let noise = random * norm * psf.noise_gain(range) * std::f32::consts::FRAC_1_SQRT_2;
        for ((re, im), &b) in re.iter_mut().zip(im).zip(brightness) {
            let a = amplitude.of(b);
            *re = a * (noise * *re + norm * steady);
            *im *= a * noise;
        }
        reflect(params, beams, sampling, range, re);
        let depth = range as f32 * sampling.range_px / unit_px;
        let reverberation = reverberation(params.near_field, depth);
        for re in re {
            *re += reverberation;
        }
    }
    psf.convolve(&mut real, width);
    if random > 0.0 {
        psf.convolve(&mut imaginary, width);
    }
    (real, imaginary)
}

/// Adds `specular d · d² / (d² + l²)`, d and l the steps of brightness along and across the beam: the
/// fraction is the squared cosine between boundary and beam.
fn reflect(
    params: &UltrasoundParams,
    beams: &BeamImage,
    sampling: &Sampling,
    range: usize,
    out: &mut [f32],
) {
    let Size { height, width } = beams.size;
    if params.specular == 0.0 || range == 0 || range + 1 >= height {
        return;
    }
    let line = |range: usize| &beams.data[range * width..(range + 1) * width];
    let (above, own, below) = (line(range - 1), line(range), line(range + 1));
    let across = sampling.range_px / sampling.beam_distance_px(range).max(1e-3);
    for beam in 1..width - 1 {
        let d = below[beam] - above[beam];
        let l = (own[beam + 1] - own[beam - 1]) * across;
        out[beam] += params.specular * d.abs() * d * d / (d * d + l * l + 1e-6);
    }
}

/// Bands that fade below the probe.
fn reverberation(strength: f32, depth: f32) -> f32 {
    const DECAY: f32 = 0.02;
    const SPACING: f32 = 0.012;
    if strength == 0.0 || depth > 8.0 * DECAY {
        return 0.0;
    }
    let wave = 0.5 + 0.5 * libm::cosf(std::f32::consts::TAU * depth / SPACING);
    strength * libm::expf(-depth / DECAY) * wave
}

/// Gain added to the brightness, in units of the dynamic range, `[range, beam]`.
struct Gain {
    data: Buffer,
}

impl Gain {
    /// Share of the difference to its neighbours that a beam's loss gives up per sample: shadows have
    /// soft edges because a beam is wide.
    const SPREAD: f32 = 0.15;
    /// Brightness above which matter takes more than its share, and below which less.
    const DENSE: f32 = 0.6;
    const FLUID: f32 = 0.12;

    fn of(params: &UltrasoundParams, beams: &BeamImage, sampling: &Sampling, unit_px: f32) -> Self {
        let Size { height, width } = beams.size;
        let mut data = Buffer::zeros(height * width);
        let per_sample = sampling.range_px / unit_px;
        let shadow = params.shadowing_db * per_sample / params.dynamic_range_db;
        let enhancement = params.enhancement_db * per_sample / params.dynamic_range_db;
        let free: Vec<(f32, Vec<f32>)> = params
            .shadows
            .iter()
            .map(|shadow| (shadow.start, shadow.profile(width, params.dynamic_range_db)))
            .collect();
        let mut cast = vec![0.0_f32; width];
        let mut before = cast.clone();
        for range in 0..height {
            let depth = range as f32 * per_sample;
            let steady = compensation(&params.gain_db, depth / params.probe.depth())
                / params.dynamic_range_db;
            let line = range * width..(range + 1) * width;
            let out = &mut data[line.clone()];
            for (value, &cast) in out.iter_mut().zip(&cast) {
                *value = steady + cast;
            }
            for (start, profile) in &free {
                let onset = ((depth - start) * 20.0).clamp(0.0, 1.0);
                if onset > 0.0 {
                    let pixels = out.iter_mut().zip(profile);
                    pixels.for_each(|(value, gain)| *value += onset * gain);
                }
            }
            if shadow == 0.0 && enhancement == 0.0 {
                continue;
            }
            before.copy_from_slice(&cast);
            for (beam, (cast, &b)) in cast.iter_mut().zip(&beams.data[line]).enumerate() {
                if range < beams.entry[beam] {
                    continue;
                }
                let dense = ((b - Self::DENSE) * (1.0 / (1.0 - Self::DENSE))).clamp(0.0, 1.0);
                let fluid = ((Self::FLUID - b) * (1.0 / Self::FLUID)).clamp(0.0, 1.0);
                let (left, right) = (
                    before[beam.saturating_sub(1)],
                    before[(beam + 1).min(width - 1)],
                );
                let spread = Self::SPREAD * (left + right - 2.0 * before[beam]);
                *cast =
                    (before[beam] + spread - shadow * dense + enhancement * fluid).clamp(-2.0, 0.3);
            }
        }
        Self { data }
    }
}

impl BeamShadow {
    /// Gain of each beam in units of the dynamic range; `(1 - u²)²` falls softly to the sides.
    fn profile(&self, beams: usize, dynamic_range_db: f32) -> Vec<f32> {
        let gain = |beam: usize| {
            let share = beam as f32 / (beams - 1) as f32;
            let side = (share - self.beam) / self.half_width.abs().max(1e-4);
            let profile = (1.0 - side * side).max(0.0);
            profile * profile * self.gain_db / dynamic_range_db
        };
        (0..beams).map(gain).collect()
    }
}

/// Gain at a share of the depth, linear between equally spaced knots.
fn compensation(knots: &[f32], share: f32) -> f32 {
    let (Some(last), false) = (knots.last(), knots.len() < 2) else {
        return knots.first().copied().unwrap_or(0.0);
    };
    let position = share.clamp(0.0, 1.0) * (knots.len() - 1) as f32;
    let knot = (position as usize).min(knots.len() - 1);
    let next = knots.get(knot + 1).unwrap_or(last);
    knots[knot] + (next - knots[knot]) * (position - knot as f32)
}

/// `10^((b - 1) D / 20)` of a brightness b, linear between 1024 values from -0.5 to 1.5.
struct Amplitude(Vec<f32>);

impl Amplitude {
    const CELLS: usize = 1024;

    fn new(dynamic_range_db: f32) -> Self {
        let bits = dynamic_range_db / (20.0 * std::f32::consts::LOG10_2);
        let of = |cell: usize| {
            let brightness = 2.0 * cell as f32 / Self::CELLS as f32 - 0.5;
            libm::exp2f((brightness - 1.0) * bits)
        };
        Self((0..=Self::CELLS).map(of).collect())
    }

    #[inline]
    fn of(&self, brightness: f32) -> f32 {
        let position = (brightness + 0.5) * (Self::CELLS as f32 / 2.0);
        let position = position.clamp(0.0, Self::CELLS as f32 - 1.0);
        let cell = position as usize;
        self.0[cell]
            + (self.0[(cell + 1).min(Self::CELLS)] - self.0[cell]) * (position - cell as f32)
    }
}

/// Logarithms of mantissas from 1 to 2.
static MANTISSA: LazyLock<Vec<f32>> = LazyLock::new(|| {
    (0..=1024)
        .map(|k| libm::log2f(1.0 + k as f32 / 1024.0))
        .collect()
});

/// The logarithm to base 2, to 1e-7 and the rounding of its size, of a number that is not negative; that of 0 is -127.
#[inline]
fn log2(value: f32) -> f32 {
    let bits = value.to_bits();
    let exponent = (bits >> 23) as i32 - 127;
    let cell = (bits >> 13 & 0x3ff) as usize;
    let share = (bits & 0x1fff) as f32 * (1.0 / 8192.0);
    let (low, high) = (MANTISSA[cell], MANTISSA[cell + 1]);
    exponent as f32 + low + (high - low) * share
}

#[cfg(test)]
mod tests;
