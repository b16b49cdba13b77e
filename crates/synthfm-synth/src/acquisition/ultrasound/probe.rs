//! Probe geometry: from pixels to (range, beam) and back (scan conversion).
//!
//! Rows of a beam image are ranges from the probe, columns are beams. A fan's beams meet in its apex;
//! a curved probe starts at its radius, a phased one near the apex. Both ways interpolate linearly, as
//! scanners do.

use serde::{Deserialize, Serialize};
use synthfm_image::Size;

use crate::Result;
use crate::check::{check, numbers};
use crate::params::Vec2;
use crate::scratch::Buffer;

/// Where the beams run; depth grows downwards.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Probe {
    /// Parallel beams of a linear array, straight down.
    Linear {
        /// Top-left corner.
        min: Vec2,
        /// Bottom-right corner.
        max: Vec2,
    },
    /// Beams of a curved or phased array.
    Fan {
        /// Where the beams meet.
        apex: Vec2,
        /// Half opening angle, radians, at most 1.4.
        half_angle: f32,
        /// Distance from the apex to the probe's surface.
        near: f32,
        /// Distance from the apex where the image ends.
        far: f32,
    },
}

/// Brightness in beam coordinates, `[range, beam]`.
pub(super) struct BeamImage {
    pub(super) size: Size,
    pub(super) data: Buffer,
    /// The range at which each beam enters the sampled image.
    pub(super) entry: Vec<usize>,
}

/// Distances in pixels between the samples of a beam image.
pub(super) struct Sampling {
    pub(super) size: Size,
    /// Along the beam.
    pub(super) range_px: f32,
    /// Depth of the first sample below the surface is 0; distance of the surface from the apex.
    near_px: f32,
    /// Angle between beams; for parallel beams 0.
    angle: f32,
    /// Distance between parallel beams; for a fan 0.
    beam_px: f32,
}

impl Sampling {
    /// Distance between neighbouring beams at a range.
    pub(super) fn beam_distance_px(&self, range: usize) -> f32 {
        self.beam_px + self.angle * (self.near_px + range as f32 * self.range_px)
    }
}

/// Most samples along either axis of a beam image.
const MAX_SAMPLES: f32 = 2048.0;

impl Probe {
    pub(in crate::acquisition) fn validate(&self, field: &'static str) -> Result<()> {
        match *self {
            Self::Linear { min, max } => numbers(field, &[min[0], min[1], max[0], max[1]]),
            Self::Fan {
                apex,
                half_angle,
                near,
                far,
            } => {
                numbers(field, &[apex[0], apex[1], near, far])?;
                let ok = (0.01..=1.4).contains(&half_angle) && near >= 0.0;
                let expected = "half_angle from 0.01 to 1.4 and near not below 0";
                check(ok, field, expected, format!("{half_angle}, {near}"))
            }
        }
    }

    /// Depth of the image in units.
    pub(crate) fn depth(&self) -> f32 {
        match *self {
            Self::Linear { min, max } => max[1] - min[1],
            Self::Fan { near, far, .. } => far - near,
        }
        .max(0.0)
    }

    /// Samples about `steps_px` apart: along the beam, and across it at a depth.
    pub(super) fn sampling(&self, steps_px: Vec2, depth: f32, unit_px: f32) -> Sampling {
        let count =
            |length_px: f32, step_px: f32| (length_px / step_px.max(0.5)).clamp(15.0, MAX_SAMPLES);
        let depth_px = (self.depth() * unit_px).max(1.0);
        let ranges = count(depth_px, steps_px[0]) as usize + 1;
        let width_px = match *self {
            Self::Linear { min, max } => (max[0] - min[0]) * unit_px,
            Self::Fan {
                half_angle, near, ..
            } => 2.0 * half_angle * (near + depth).max(0.01) * unit_px,
        };
        let beams = count(width_px.max(1.0), steps_px[1]) as usize + 1;
        let per_gap = 1.0 / (beams - 1) as f32;
        let (near_px, angle, beam_px) = match *self {
            Self::Linear { .. } => (0.0, 0.0, width_px * per_gap),
            Self::Fan {
                half_angle, near, ..
            } => (near * unit_px, 2.0 * half_angle * per_gap, 0.0),
        };
        Sampling {
            size: Size::new(ranges, beams),
            range_px: depth_px / (ranges - 1) as f32,
            near_px,
            angle,
            beam_px,
        }
    }

    /// Samples an image along the beams; outside the image its border is repeated.
    pub(super) fn sample(self, data: &[f32], size: Size, unit_px: f32, of: &Sampling) -> BeamImage {
        let Size {
            height: ranges,
            width: beams,
        } = of.size;
        // Start and step of each beam in pixels.
        let rays: Vec<[f32; 4]> = (0..beams)
            .map(|beam| match self {
                Self::Linear { min, .. } => {
                    let x = min[0] * unit_px + beam as f32 * of.beam_px;
                    [x, min[1] * unit_px, 0.0, of.range_px]
                }
                Self::Fan {
                    apex, half_angle, ..
                } => {
                    let (sin, cos) = libm::sincosf(beam as f32 * of.angle - half_angle);
                    [
                        apex[0] * unit_px + of.near_px * sin,
                        apex[1] * unit_px + of.near_px * cos,
                        of.range_px * sin,
                        of.range_px * cos,
                    ]
                }
            })
            .collect();
        let mut out = Buffer::stale(of.size.area());
        let mut entry = vec![ranges; beams];
        let (right, bottom) = ((size.width - 1) as f32, (size.height - 1) as f32);
        for (range, line) in out.chunks_exact_mut(beams).enumerate() {
            for ((value, [x, y, dx, dy]), entry) in line.iter_mut().zip(&rays).zip(&mut entry) {
                let x = x + range as f32 * dx - 0.5;
                let y = y + range as f32 * dy - 0.5;
                let inside = (0.0..=right).contains(&x) && (0.0..=bottom).contains(&y);
                if *entry == ranges && inside {
                    *entry = range;
                }
                let at = [x.clamp(0.0, right), y.clamp(0.0, bottom)];
                *value = interpolated(data, size, at);
            }
        }
        BeamImage {
            size: of.size,
            data: out,
            entry,
        }
    }

    /// Writes a beam image to pixels; those that no beam reaches become 0.
    pub(super) fn scan_convert(
        self,
        beams: &BeamImage,
        of: &Sampling,
        (data, size): (&mut [f32], Size),
        unit_px: f32,
    ) {
        let per_range = 1.0 / of.range_px;
        match self {
            Self::Linear { min, .. } => {
                let per_beam = 1.0 / of.beam_px;
                for (row, line) in data.chunks_exact_mut(size.width).enumerate() {
                    let range = (row as f32 + 0.5 - min[1] * unit_px) * per_range;
                    for (col, value) in line.iter_mut().enumerate() {
                        let beam = (col as f32 + 0.5 - min[0] * unit_px) * per_beam;
                        *value = interpolated(&beams.data, beams.size, [beam, range]);
                    }
                }
            }
            Self::Fan {
                apex, half_angle, ..
            } => {
                let table = BeamOfSlope::new(half_angle, of.angle);
                for (row, line) in data.chunks_exact_mut(size.width).enumerate() {
                    let dy = row as f32 + 0.5 - apex[1] * unit_px;
                    if dy <= 0.0 {
                        line.fill(0.0);
                        continue;
                    }
                    let per_dy = 1.0 / dy;
                    for (col, value) in line.iter_mut().enumerate() {
                        let dx = col as f32 + 0.5 - apex[0] * unit_px;
                        let range = ((dx * dx + dy * dy).sqrt() - of.near_px) * per_range;
                        let beam = table.at(dx * per_dy);
                        *value = interpolated(&beams.data, beams.size, [beam, range]);
                    }
                }
            }
        }
    }
}

/// Bilinear between samples `(x, y)`; 0 outside.
#[inline]
fn interpolated(data: &[f32], size: Size, [x, y]: Vec2) -> f32 {
    let inside =
        x >= 0.0 && y >= 0.0 && x <= (size.width - 1) as f32 && y <= (size.height - 1) as f32;
    if !inside {
        return 0.0;
    }
    let col = (x as usize).min(size.width - 2);
    let row = (y as usize).min(size.height - 2);
    let (u, v) = (x - col as f32, y - row as f32);
    let at = row * size.width + col;
    let (above, below) = (
        &data[at..at + 2],
        &data[at + size.width..at + size.width + 2],
    );
    let top = above[0] + (above[1] - above[0]) * u;
    let bottom = below[0] + (below[1] - below[0]) * u;
    top + (bottom - top) * v
}

/// The beam that runs at a slope `dx / dy`: the arc tangent, linear between 2048 slopes.
struct BeamOfSlope {
    steepest: f32,
    cells_per_slope: f32,
    beams: Vec<f32>,
}

impl BeamOfSlope {
    const CELLS: usize = 2048;

    fn new(half_angle: f32, angle: f32) -> Self {
        let steepest = libm::tanf(half_angle);
        let beam = |cell: usize| {
            let slope = (2.0 * cell as f32 / Self::CELLS as f32 - 1.0) * steepest;
            (libm::atanf(slope) + half_angle) / angle
        };
        Self {
            steepest,
            cells_per_slope: Self::CELLS as f32 / (2.0 * steepest),
            beams: (0..=Self::CELLS + 1).map(beam).collect(),
        }
    }

    /// Negative beside the fan.
    #[inline]
    fn at(&self, slope: f32) -> f32 {
        if slope.abs() > self.steepest {
            return -1.0;
        }
        let position = (slope + self.steepest) * self.cells_per_slope;
        let cell = (position as usize).min(Self::CELLS);
        let (low, high) = (self.beams[cell], self.beams[cell + 1]);
        low + (high - low) * (position - cell as f32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: Size = Size::new(101, 150);
    const PROBES: [Probe; 3] = [
        Probe::Linear {
            min: [0.1, 0.05],
            max: [1.3, 0.95],
        },
        Probe::Fan {
            apex: [0.75, -0.3],
            half_angle: 0.6,
            near: 0.4,
            far: 1.2,
        },
        Probe::Fan {
            apex: [0.75, 0.0],
            half_angle: 0.7,
            near: 0.01,
            far: 0.95,
        },
    ];

    #[test]
    fn back_and_forth_keeps_a_slope_and_empties_the_rest() {
        let slope = |at: usize| 1.0 + (at % 150) as f32 / 150.0 + (at / 150) as f32 / 101.0;
        for probe in PROBES {
            let mut data: Vec<f32> = (0..SIZE.area()).map(slope).collect();
            let sampling = probe.sampling([1.0, 1.0], probe.depth(), 101.0);
            let beams = probe.sample(&data, SIZE, 101.0, &sampling);
            probe.scan_convert(&beams, &sampling, (&mut data, SIZE), 101.0);
            let (mut kept, mut empty) = (0, 0);
            for (at, &value) in data.iter().enumerate() {
                let close = (value - slope(at)).abs() < 0.01;
                kept += usize::from(close);
                empty += usize::from(value == 0.0);
            }
            assert!(kept > 5000, "{probe:?} {kept}");
            // What is neither lies at the border of the image, where beams leave it.
            assert!(kept + empty > SIZE.area() - 700, "{probe:?} {kept} {empty}");
        }
    }

    #[test]
    fn beams_of_a_fan_spread_with_depth() {
        let sampling = PROBES[1].sampling([1.0, 1.0], 0.0, 101.0);
        let last = sampling.size.height - 1;
        let ratio = sampling.beam_distance_px(last) / sampling.beam_distance_px(0);
        assert!((ratio - 3.0).abs() < 1e-4, "far / near, {ratio}");
        let sampling = PROBES[0].sampling([1.0, 1.0], 0.0, 101.0);
        assert!((sampling.beam_distance_px(50) - sampling.beam_distance_px(0)).abs() < 1e-6);
    }
}
