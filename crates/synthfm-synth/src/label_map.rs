//! `SynthMorph` label maps (Hoffmann et al., TMI 2022; official demo) and random erosion.
//!
//! J smooth noise images, displaced by one smooth warp (the demo's warp is shared by all labels),
//! and at each pixel the number of the largest. Differs: noise is enlarged by cubic B-splines, so that
//! borders have no kinks, and the maximum is sought on a coarse lattice first, per pixel only where its
//! corners disagree and only among their labels (a region narrower than a lattice cell can be missed).

use synthfm_image::Size;

use crate::deformation::Deformation;
use crate::erosion::erode;
use crate::field::{self, Grid};
use crate::params::LabelMapParams;
use crate::scratch::Buffer;
use crate::spline::b_spline;

/// Marks a pixel that erosion has removed.
pub(crate) const GAP: u16 = u16::MAX;

/// Lattice knots along the shorter side.
const LATTICE: usize = 128;

/// The region index of every pixel, [`GAP`] where it was eroded.
///
/// A deformation moves the regions as it moves contours; erosion comes after it.
pub(crate) fn regions(
    params: &LabelMapParams,
    deformation: Option<&Deformation>,
    size: Size,
) -> Vec<u16> {
    let mut labels = grow(params, deformation, size);
    if let Some(erosion) = &params.erosion {
        erode(&mut labels, erosion, size);
    }
    labels
}

/// Regions before erosion.
fn grow(params: &LabelMapParams, deformation: Option<&Deformation>, size: Size) -> Vec<u16> {
    let unit = size.height.min(size.width);
    let cell = (unit / LATTICE).max(2);
    let map = NoiseStack::new(params, deformation, size);
    let (rows, cols) = (
        size.height.div_ceil(cell) + 1,
        size.width.div_ceil(cell) + 1,
    );
    let every: Vec<u16> = (0..map.labels as u16).collect();
    let mut corners = vec![0_u16; rows * cols];
    for row in 0..rows {
        for col in 0..cols {
            corners[row * cols + col] = map.label_at(row * cell, col * cell, &every);
        }
    }
    let mut labels = vec![0; size.area()];
    for row in 0..rows - 1 {
        let lines = row * cell..((row + 1) * cell).min(size.height);
        for col in 0..cols - 1 {
            let columns = col * cell..((col + 1) * cell).min(size.width);
            let at = row * cols + col;
            let label = corners[at];
            let mut near = [at, at + 1, at + cols, at + cols + 1].map(|corner| corners[corner]);
            let distinct = distinct(&mut near);
            for line in lines.clone() {
                let start = line * size.width;
                let out = &mut labels[start + columns.start..start + columns.end];
                if distinct.len() == 1 {
                    out.fill(label);
                } else {
                    for (value, column) in out.iter_mut().zip(columns.clone()) {
                        *value = map.label_at(line, column, distinct);
                    }
                }
            }
        }
    }
    labels
}

/// The different ones of four labels, in ascending order.
fn distinct(labels: &mut [u16; 4]) -> &[u16] {
    labels.sort_unstable();
    let mut count = 1;
    for k in 1..4 {
        if labels[k] != labels[count - 1] {
            labels[count] = labels[k];
            count += 1;
        }
    }
    &labels[..count]
}

/// The noise images side by side, and the warp, both on coarse grids.
struct NoiseStack {
    labels: usize,
    grid: Size,
    /// `[row, col, label]`.
    values: Vec<f32>,
    /// Grid cells per pixel, vertically and horizontally.
    step: [f32; 2],
    /// Displacement in grid cells, vertically and horizontally.
    warp: [Grid; 2],
    warp_step: [f32; 2],
}

impl NoiseStack {
    fn new(params: &LabelMapParams, deformation: Option<&Deformation>, size: Size) -> Self {
        let unit = size.height.min(size.width) as f32;
        let labels = params.paints.len().clamp(1, usize::from(GAP));
        // Four knots per cell of the finer noise hide that the lookup is linear.
        let fine = params.noise_scale.map(|s| (s * unit / 4.0).max(1.0));
        let grid = Size::new(
            field::knot_count(size.height, fine[0]),
            field::knot_count(size.width, fine[1]),
        );
        let mut values = vec![0.0; grid.area() * labels];
        for label in 0..labels {
            let image = noise_image(params, label, size, grid);
            let channel = values[label..].iter_mut().step_by(labels);
            channel
                .zip(&image)
                .for_each(|(value, &noise)| *value = noise);
        }
        let step = steps(grid, size);
        let mut warp = [0, 1].map(|axis| warp_field(params, axis, size));
        if let Some(deformation) = deformation {
            warp = behind(deformation, &warp, size);
        }
        let warp = [0_usize, 1].map(|axis| {
            let mut warp = warp[axis].clone();
            warp.data.iter_mut().for_each(|v| *v *= unit * step[axis]);
            warp
        });
        Self {
            labels,
            grid,
            values,
            step,
            warp_step: steps(warp[0].size, size),
            warp,
        }
    }

    /// Number of the largest noise image at a pixel, among `candidates` in ascending order.
    fn label_at(&self, row: usize, col: usize, candidates: &[u16]) -> u16 {
        let warp_at = Corner::new(
            self.warp[0].size,
            row as f32 * self.warp_step[0],
            col as f32 * self.warp_step[1],
        );
        let y = row as f32 * self.step[0] + warp_at.mix(&self.warp[0].data);
        let x = col as f32 * self.step[1] + warp_at.mix(&self.warp[1].data);
        let at = Corner::new(self.grid, y, x);
        let pixel = |k: usize| &self.values[at.index[k] * self.labels..][..self.labels];
        let (a, b, c, d) = (pixel(0), pixel(1), pixel(2), pixel(3));
        let [wa, wb, wc, wd] = at.weight;
        let mut best = (candidates[0], f32::MIN);
        for &label in candidates {
            let k = usize::from(label);
            let score = (a[k] * wa + b[k] * wb) + (c[k] * wc + d[k] * wd);
            // Equal scores go to the lower label.
            if score > best.1 {
                best = (label, score);
            }
        }
        best.0
    }
}

fn steps(grid: Size, size: Size) -> [f32; 2] {
    let step = |few: usize, many: usize| (few - 1) as f32 / (many.max(2) - 1) as f32;
    [step(grid.height, size.height), step(grid.width, size.width)]
}

/// The four knots around a position, clamped to the grid, and their weights.
struct Corner {
    index: [usize; 4],
    weight: [f32; 4],
}

impl Corner {
    #[inline]
    fn new(grid: Size, y: f32, x: f32) -> Self {
        let y = y.clamp(0.0, (grid.height - 1) as f32);
        let x = x.clamp(0.0, (grid.width - 1) as f32);
        let (row, col) = (y as usize, x as usize);
        let (v, u) = (y - row as f32, x - col as f32);
        let (below, right) = (
            (row + 1).min(grid.height - 1),
            (col + 1).min(grid.width - 1),
        );
        Self {
            index: [
                grid.index(row, col),
                grid.index(row, right),
                grid.index(below, col),
                grid.index(below, right),
            ],
            weight: [(1.0 - v) * (1.0 - u), (1.0 - v) * u, v * (1.0 - u), v * u],
        }
    }

    #[inline]
    fn mix(&self, data: &[f32]) -> f32 {
        (0..4).map(|k| data[self.index[k]] * self.weight[k]).sum()
    }
}

/// Noise image of one label: a fine and a coarse scale, enlarged to `grid`.
fn noise_image(params: &LabelMapParams, label: usize, size: Size, grid: Size) -> Vec<f32> {
    let unit = size.height.min(size.width) as f32;
    let mut sum = vec![0.0; grid.area()];
    for (scale, std) in params.noise_std.into_iter().enumerate() {
        let scale_px = params.noise_scale.map(|s| s * unit * (scale + 1) as f32);
        let seed = params.seed.wrapping_add((2 * label + scale) as u32);
        for (value, noise) in sum.iter_mut().zip(b_spline(seed, scale_px, size, grid)) {
            *value += std * noise;
        }
    }
    sum
}

/// One component of the warp in units of the shorter side.
fn warp_field(params: &LabelMapParams, axis: u32, size: Size) -> Grid {
    let unit = size.height.min(size.width) as f32;
    let finest = params.warp_scale * unit;
    let knots = |length| field::knot_count(length, finest / 2.0);
    let grid = Size::new(knots(size.height), knots(size.width));
    let mut sum = Grid {
        size: grid,
        data: Buffer::zeros(grid.area()),
    };
    for (octave, &std) in params.warp_std.iter().enumerate() {
        let scale_px = finest * (1 << octave) as f32;
        let seed = params
            .seed
            .wrapping_add(0x8000_0000 + 8 * axis + octave as u32);
        let noise = field::smooth(seed, size, scale_px, std).enlarged(grid);
        sum.data
            .iter_mut()
            .zip(&*noise.data)
            .for_each(|(sum, &noise)| *sum += noise);
    }
    sum
}

/// The warp of what a deformation has moved: where a pixel came from, and the warp there.
fn behind(deformation: &Deformation, warp: &[Grid; 2], size: Size) -> [Grid; 2] {
    let unit = size.height.min(size.width) as f32;
    let grid = warp[0].size;
    let step = steps(grid, size);
    let mut whole = warp.clone();
    for at in 0..grid.area() {
        let [y, x] = [
            (at / grid.width) as f32 / step[0],
            (at % grid.width) as f32 / step[1],
        ];
        let [from_x, from_y] = deformation.origin([x, y]);
        let there = Corner::new(grid, from_y * step[0], from_x * step[1]);
        for (axis, shift) in [from_y - y, from_x - x].into_iter().enumerate() {
            whole[axis].data[at] = shift / unit + there.mix(&warp[axis].data);
        }
    }
    whole
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::params::Paint;

    fn params(labels: usize) -> LabelMapParams {
        let paint = Paint {
            mean: 0.5,
            amplitude: 0.0,
            texture: 0,
        };
        LabelMapParams {
            seed: 11,
            noise_scale: [0.15, 0.25],
            noise_std: [0.7, 0.8],
            warp_scale: 0.06,
            warp_std: [0.02, 0.03, 0.01],
            paints: vec![paint; labels],
            erosion: None,
            inside: None,
            clusters: None,
        }
    }

    const SIZE: Size = Size::new(140, 201);

    #[test]
    fn every_pixel_has_a_region_and_no_region_has_all() {
        let labels = regions(&params(8), None, SIZE);
        let mut counts = [0; 8];
        for &label in &labels {
            counts[usize::from(label)] += 1;
        }
        assert!(
            counts.iter().filter(|&&count| count > 200).count() >= 4,
            "{counts:?}"
        );
        assert!(
            counts.iter().all(|&count| count < SIZE.area() / 2),
            "{counts:?}"
        );
    }

    #[test]
    fn lattice_search_agrees_with_every_pixel() {
        let params = params(6);
        let map = NoiseStack::new(&params, None, SIZE);
        let every: Vec<u16> = (0..6).collect();
        let labels = regions(&params, None, SIZE);
        let wrong = (0..SIZE.area())
            .filter(|&at| labels[at] != map.label_at(at / SIZE.width, at % SIZE.width, &every));
        assert!(wrong.count() < SIZE.area() / 500);
    }

    #[test]
    fn a_deformation_moves_regions_as_it_moves_points() {
        let deformation = Deformation::new(
            &crate::params::DeformationParams {
                seed: 9,
                scale: 0.3,
                std: 0.04,
            },
            SIZE,
        );
        let still = regions(&params(5), None, SIZE);
        let moved = regions(&params(5), Some(&deformation), SIZE);
        // Whether a label is there, up to a pixel, for which a border may be missed.
        let is_near = |labels: &[u16], [x, y]: [f32; 2], label: u16| {
            let (row, col) = ((y + 0.5) as usize, (x + 0.5) as usize);
            (row - 1..=row + 1)
                .any(|row| (col - 1..=col + 1).any(|col| labels[SIZE.index(row, col)] == label))
        };
        let (mut wrong, mut unmoved, mut count) = (0, 0, 0);
        for row in 25..SIZE.height - 25 {
            for col in 25..SIZE.width - 25 {
                let there = deformation.moved([col as f32, row as f32]);
                let label = still[SIZE.index(row, col)];
                wrong += usize::from(!is_near(&moved, there, label));
                unmoved += usize::from(!is_near(&still, there, label));
                count += 1;
            }
        }
        assert!(wrong * 200 < count, "{wrong} of {count}");
        assert!(unmoved * 50 > count, "{unmoved} of {count}");
    }
}
