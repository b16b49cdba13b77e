//! Computed tomography: errors of projections, and rings.
//!
//! Dense structures falsify the projections that they lie in: beam hardening makes them too small with
//! their square (cupping, dark bands between two of them), and where few photons arrive they are noisy
//! (streaks along the longest paths). The error image is the filtered back-projection of these errors
//! (Barrett and Keat, `RadioGraphics` 2004; De Man et al., IEEE Trans. Nucl. Sci. 1999). Differs: parallel
//! beams on a grid of 128 cells per shorter side. Miscalibrated detectors draw rings.

use serde::{Deserialize, Serialize};
use synthfm_image::Size;

use super::resample;
use crate::Result;
use crate::check::{at_most, numbers, within};
use crate::field::Grid;
use crate::params::Vec2;
use crate::rng::RowRng;
use crate::scratch::Buffer;

/// Errors of projections: with the line integral p of `max(I - threshold, 0)` and its largest value P,
/// the error is `-hardening p² / P + starvation n p³ / P²`, n standard normal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProjectionParams {
    /// Sub-seed of the noise.
    pub seed: u32,
    /// Intensity above which matter counts as dense.
    pub threshold: f32,
    /// Strength of beam hardening.
    pub hardening: f32,
    /// Strength of photon starvation.
    pub starvation: f32,
}

/// Rings around the axis of rotation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RingParams {
    /// Axis of rotation.
    pub centre: Vec2,
    /// Radius and added intensity of each ring.
    pub rings: Vec<Vec2>,
    /// Width of a ring.
    pub width: f32,
}

impl ProjectionParams {
    pub(super) fn validate(&self) -> Result<()> {
        let values = [self.threshold, self.hardening, self.starvation];
        numbers("acquisition.projection", &values)
    }
}

impl RingParams {
    pub(super) fn validate(&self) -> Result<()> {
        let field = "acquisition.rings";
        numbers(field, &self.centre)?;
        at_most(field, self.rings.len(), 256, "at most 256 rings")?;
        numbers(field, self.rings.as_flattened())?;
        within(field, &[self.width], 1.0, "a width of at most 1")
    }
}

/// Cells per shorter side.
const CELLS: usize = 128;
/// Directions of projection over half a turn.
const VIEWS: usize = 72;

pub(super) fn projection(params: &ProjectionParams, data: &mut [f32], size: Size, unit_px: f32) {
    if params.hardening == 0.0 && params.starvation == 0.0 {
        return;
    }
    let cells = |length: usize| ((length * CELLS) as f32 / unit_px) as usize;
    let grid = Size::new(
        cells(size.height).clamp(2, size.height),
        cells(size.width).clamp(2, size.width),
    );
    let mut dense = resample::shrunk(data, size, grid);
    for value in &mut *dense.data {
        *value = (*value - params.threshold).clamp(0.0, 10.0);
    }
    let mut sinogram = Sinogram::project(&dense);
    let largest = sinogram.data.iter().copied().fold(0.0, f32::max);
    if largest <= 1e-6 {
        return;
    }
    let mut noise = vec![0.0; sinogram.bins];
    for (view, line) in sinogram.data.chunks_exact_mut(sinogram.bins).enumerate() {
        RowRng::new(params.seed, view).fill_normal(&mut noise);
        for (p, n) in line.iter_mut().zip(&noise) {
            let share = *p / largest;
            *p = *p * share * (params.starvation * n * share - params.hardening);
        }
    }
    let error = sinogram.back_projected(grid).enlarged(size);
    data.iter_mut()
        .zip(&*error.data)
        .for_each(|(value, &error)| *value += error);
}

/// Line integrals `[view, bin]`; bins lie one cell apart, and lengths count cells.
struct Sinogram {
    bins: usize,
    data: Vec<f32>,
}

/// Cosine and sine of a view's direction.
fn direction(view: usize) -> (f32, f32) {
    let (sin, cos) = libm::sincosf(view as f32 / VIEWS as f32 * std::f32::consts::PI);
    (cos, sin)
}

/// Bin of the centre of cell (0, 0).
fn origin(size: Size, bins: usize, (cos, sin): (f32, f32)) -> f32 {
    let [x, y] = [size.width, size.height].map(|length| (length - 1) as f32 / 2.0);
    (bins / 2) as f32 - x * cos - y * sin
}

impl Sinogram {
    /// Joseph's method (IEEE Trans. Med. Imaging 1982): a ray meets each row, or each column if it runs
    /// along the rows, between two cells.
    fn project(image: &Grid) -> Self {
        let size = image.size;
        // The diagonal is shorter than the sum of the sides; two bins more for interpolation.
        let bins = (size.width + size.height) | 1;
        let mut data = vec![0.0; bins * VIEWS];
        let turned = transposed(image);
        for (view, line) in data.chunks_exact_mut(bins).enumerate() {
            let (cos, sin) = direction(view);
            let start = origin(size, bins, (cos, sin));
            if cos.abs() >= sin.abs() {
                add_rays(line, image, start, [sin, cos]);
            } else {
                add_rays(line, &turned, start, [cos, sin]);
            }
        }
        Self { bins, data }
    }

    /// Filtered back-projection with the band-limited ramp (Ramachandran and Lakshminarayanan 1971).
    fn back_projected(&self, size: Size) -> Grid {
        let weight = std::f32::consts::PI / VIEWS as f32;
        let mut data = Buffer::zeros(size.area());
        for (view, line) in self.data.chunks_exact(self.bins).enumerate() {
            let line = ramp_filtered(line);
            let (cos, sin) = direction(view);
            let start = origin(size, self.bins, (cos, sin));
            for (row, cells) in data.chunks_exact_mut(size.width).enumerate() {
                // Bins in 65,536ths: integer steps are faster than conversions of each cell.
                let fixed = |bins: f32| (bins * 65_536.0) as i32;
                let (mut at, step) = (fixed(start + row as f32 * sin), fixed(cos));
                for value in cells {
                    let (bin, share) = ((at >> 16) as usize, (at & 0xffff) as f32);
                    let pair = &line[bin..bin + 2];
                    *value += weight * (pair[0] + (pair[1] - pair[0]) * (share / 65_536.0));
                    at += step;
                }
            }
        }
        Grid { size, data }
    }
}

fn transposed(image: &Grid) -> Grid {
    let Size { height, width } = image.size;
    let value = |at: usize| image.data[at % height * width + at / height];
    Grid {
        size: Size::new(width, height),
        data: (0..width * height).map(value).collect(),
    }
}

/// Adds each row's contribution to the bins; a bin grows by `per_row` and `per_col`.
fn add_rays(line: &mut [f32], image: &Grid, start: f32, [per_row, per_col]: [f32; 2]) {
    let (width, step) = (image.size.width, 1.0 / per_col);
    let length = step.abs();
    let last = (width - 1) as f32;
    for (row, cells) in image.data.chunks_exact(width).enumerate() {
        if cells.iter().all(|&v| v == 0.0) {
            continue;
        }
        // Bins whose rays meet the row between its first and its last cell.
        let near = start + row as f32 * per_row;
        let ends = [near, near + last * per_col];
        let first = ends[0].min(ends[1]).ceil().max(0.0) as usize;
        let after = (ends[0].max(ends[1]).ceil().max(0.0) as usize).min(line.len());
        for (bin, value) in line.iter_mut().enumerate().take(after).skip(first) {
            let at = ((bin as f32 - near) * step).clamp(0.0, last);
            let col = (at as usize).min(width - 2);
            let share = at - col as f32;
            *value += length * (cells[col] + (cells[col + 1] - cells[col]) * share);
        }
    }
}

/// Odd and even values of a line, each in its own row.
fn halves(line: &[f32]) -> [Vec<f32>; 2] {
    let half = |first: usize| line[first..].iter().copied().step_by(2).collect();
    [half(0), half(1)]
}

/// Kernel `1/4` at 0, `-1 / (pi k)²` at odd k, 0 at even k.
fn ramp_filtered(line: &[f32]) -> Vec<f32> {
    let of = halves(line);
    // The kernel at the odd distances from -bins to bins, the smallest two in the middle.
    let reach = line.len() / 2 + 1;
    let weight = |n: usize| {
        let k = (2 * n + 1) as f32 - (2 * reach) as f32;
        -1.0 / (k * k * std::f32::consts::PI * std::f32::consts::PI)
    };
    let kernel: Vec<f32> = (0..2 * reach).map(weight).collect();
    let value = |bin: usize| {
        // The neighbours at odd distances; the first lies `first` odd steps from the middle.
        let others = &of[1 - bin % 2];
        let first = reach - bin.div_ceil(2);
        let sum: f32 = dot(others, &kernel[first..]);
        0.25 * line[bin] + sum
    };
    (0..line.len()).map(value).collect()
}

/// Sum of the products, in eight interleaved parts.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut parts = [0.0; 8];
    for (a, b) in a.chunks(8).zip(b.chunks(8)) {
        for ((part, &a), &b) in parts.iter_mut().zip(a).zip(b) {
            *part += a * b;
        }
    }
    parts.iter().sum()
}

pub(super) fn rings(params: &RingParams, data: &mut [f32], size: Size, unit_px: f32) {
    let width_px = (params.width * unit_px).max(0.5);
    let centre = params.centre.map(|v| v * unit_px);
    // Farther than any pixel is from a centre that lies in or near the image.
    let reach = 2 * (size.height + size.width);
    let mut profile = vec![0.0_f32; reach + 2];
    for &[radius, added] in &params.rings {
        let radius_px = radius * unit_px;
        let first = (radius_px - 3.0 * width_px).max(0.0) as usize;
        for (r, value) in profile.iter_mut().enumerate().skip(first) {
            let z = (r as f32 - radius_px) / width_px;
            if z > 3.0 {
                break;
            }
            *value += added * libm::expf(-0.5 * z * z);
        }
    }
    for (row, line) in data.chunks_exact_mut(size.width).enumerate() {
        let dy = row as f32 - centre[1];
        for (col, value) in line.iter_mut().enumerate() {
            let dx = col as f32 - centre[0];
            let r = (dx * dx + dy * dy).sqrt().min(reach as f32);
            let bin = r as usize;
            *value += profile[bin] + (profile[bin + 1] - profile[bin]) * (r - bin as f32);
        }
    }
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "untouched pixels keep their bits")]
mod tests {
    use super::*;
    use crate::acquisition::testing::{SIZE, UNIT_PX, pattern};

    fn disc(size: Size, radius: f32) -> Grid {
        let value = |at: usize| {
            let dy = (at / size.width) as f32 - size.height as f32 / 2.0 + 0.5;
            let dx = (at % size.width) as f32 - size.width as f32 / 2.0 + 0.5;
            f32::from(dx * dx + dy * dy <= radius * radius)
        };
        Grid {
            size,
            data: (0..size.area()).map(value).collect(),
        }
    }

    #[test]
    fn the_ramp_of_an_impulse_is_the_kernel() {
        for at in [20, 31] {
            let mut line = vec![0.0; 57];
            line[at] = 1.0;
            for (bin, value) in ramp_filtered(&line).into_iter().enumerate() {
                let k = bin.abs_diff(at) as f32 * std::f32::consts::PI;
                let expected = match bin.abs_diff(at) {
                    0 => 0.25,
                    k if k % 2 == 0 => 0.0,
                    _ => -1.0 / (k * k),
                };
                assert!((value - expected).abs() < 1e-6, "{at} {bin} {value}");
            }
        }
    }

    #[test]
    fn projections_of_a_disc_are_its_chords() {
        let image = disc(Size::new(95, 121), 30.0);
        let sinogram = Sinogram::project(&image);
        for line in sinogram.data.chunks_exact(sinogram.bins) {
            for t in [0_usize, 10, 20] {
                let chord = 2.0 * (900.0 - (t * t) as f32).sqrt();
                let got = line[sinogram.bins / 2 + t];
                assert!((got - chord).abs() < 4.0, "{got} {chord}");
            }
        }
    }

    #[test]
    fn back_projection_inverts_projection() {
        let size = Size::new(95, 121);
        let image = disc(size, 30.0);
        let restored = Sinogram::project(&image).back_projected(size);
        for (row, col, expected) in [(47, 60, 1.0), (30, 60, 1.0), (47, 40, 1.0), (5, 60, 0.0)] {
            let got = restored.data[row * size.width + col];
            assert!((got - expected).abs() < 0.08, "{row} {col}: {got}");
        }
    }

    #[test]
    fn zero_strength_is_the_identity() {
        let mut data = pattern();
        let params = ProjectionParams {
            seed: 1,
            threshold: 0.2,
            hardening: 0.0,
            starvation: 0.0,
        };
        projection(&params, &mut data, SIZE, UNIT_PX);
        let params = RingParams {
            centre: [0.7, 0.5],
            rings: vec![[0.2, 0.0]],
            width: 0.01,
        };
        rings(&params, &mut data, SIZE, UNIT_PX);
        assert_eq!(data, pattern());
    }

    #[test]
    fn hardening_darkens_the_middle_and_the_space_between() {
        let size = Size::new(127, 161);
        let params = ProjectionParams {
            seed: 1,
            threshold: 0.0,
            hardening: 0.5,
            starvation: 0.0,
        };
        let mut cupped = disc(size, 50.0).data.to_vec();
        projection(&params, &mut cupped, size, 127.0);
        assert!(cupped[size.index(63, 80)] < cupped[size.index(63, 122)] - 0.1);
        // Two discs side by side: a dark band joins them.
        let dots = |at: usize| {
            let (row, col) = (at / 161, (at % 161) as f32);
            let dy = row as f32 - 63.0;
            let near = |c: f32| (col - c) * (col - c) + dy * dy <= 100.0;
            f32::from(near(40.0) || near(120.0))
        };
        let mut data: Vec<f32> = (0..size.area()).map(dots).collect();
        projection(&params, &mut data, size, 127.0);
        assert!(data[size.index(63, 80)] < data[size.index(20, 80)] - 0.02);
    }

    #[test]
    fn rings_lie_at_their_radius() {
        let params = RingParams {
            centre: [45.0 / UNIT_PX, 30.0 / UNIT_PX],
            rings: vec![[20.0 / UNIT_PX, 0.3]],
            width: 0.0,
        };
        let mut data = vec![0.0; SIZE.area()];
        rings(&params, &mut data, SIZE, UNIT_PX);
        for (row, col) in [(30, 65), (30, 25), (50, 45), (10, 45)] {
            assert!((data[SIZE.index(row, col)] - 0.3).abs() < 1e-4);
        }
        assert_eq!(data[SIZE.index(30, 45)], 0.0);
    }
}
