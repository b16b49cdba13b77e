//! `SynthMorph` label maps in a volume (Hoffmann et al., TMI 2022), and random erosion.
//!
//! At each voxel the number of the largest of several smooth noise channels. The distance from a border is, to first
//! order, the lead of the largest channel over the second over the slope of that lead; erosion removes what lies within
//! a smoothly varying radius of a border. Differs: only channels that are first or second at a corner of the 4 x 4
//! pixels around are compared.

use super::grid::{Axis, Grid3, Tile};
use super::params::RegionsParams;
use super::plane::SlicePlane;
use crate::params::ErosionParams;

/// Grid knots per cell of the finer noise.
const KNOTS_PER_CELL: f32 = 2.0;

/// Pixels between the corners where all channels are compared.
const CELL: usize = 4;

/// Cells of the erosion's variation per unit.
const VARIATION_CELLS: f32 = 7.0;

/// The noise channels side by side.
pub(super) struct Regions {
    /// Axes of the grid; its data are one channel's and not kept.
    frame: Grid3,
    labels: usize,
    /// `[z, y, x, label]`.
    values: Vec<f32>,
    erosion: Option<Erosion>,
}

struct Erosion {
    radius: f32,
    variation: f32,
    variations: Tile,
    chosen: Option<Vec<u16>>,
}

/// The regions at a pixel.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Region {
    /// Number of the largest channel, and of the one after it.
    pub(super) first: u16,
    pub(super) second: u16,
    /// Distance from the border between both, in units.
    pub(super) distance: f32,
    /// Distance up to which it is eroded; below 0 where nothing is.
    pub(super) eroded: f32,
}

impl Regions {
    /// The channels of a validated recipe, in at most `budget` numbers.
    pub(super) fn new(params: &RegionsParams, extent: [f32; 3], budget: usize) -> Self {
        let labels = params.paints.len().max(1);
        let axes = Axis::all(extent, params.noise_scale, KNOTS_PER_CELL, budget / labels);
        let mut values = Vec::new();
        let mut frame = None;
        for label in 0..labels {
            let seed = params.seed.wrapping_add(2 * label as u32);
            let mut fine = Grid3::smooth(seed, axes);
            let coarse = Grid3::smooth(seed.wrapping_add(1), axes.map(Axis::coarser));
            values.resize(fine.data.len() * labels, 0.0);
            let channel = values[label..].iter_mut().step_by(labels);
            for (value, (&a, &b)) in channel.zip(fine.data.iter().zip(&coarse.data)) {
                *value = params.noise_std[0] * a + params.noise_std[1] * b;
            }
            fine.data.clear();
            frame = Some(fine);
        }
        Self {
            frame: frame.expect("at least one channel"),
            labels,
            values,
            erosion: params.erosion.as_ref().and_then(Erosion::new),
        }
    }

    /// Calls `visit` with what each pixel of a plane shows.
    pub(super) fn visit(&self, plane: &SlicePlane, mut visit: impl FnMut(usize, Region)) {
        let size = plane.size;
        let lattice = |length: usize| length.div_ceil(CELL) + 1;
        let (rows, columns) = (lattice(size.height), lattice(size.width));
        let every: Vec<u16> = (0..self.labels as u16).collect();
        let mut corners = Vec::with_capacity(rows * columns);
        for row in 0..rows {
            let row = (row * CELL).min(size.height - 1);
            for col in 0..columns {
                let col = (col * CELL).min(size.width - 1);
                let (first, second, ..) = self.two_largest(plane.at(size.index(row, col)), &every);
                corners.push([first, second]);
            }
        }
        for row in 0..rows - 1 {
            let lines = row * CELL..((row + 1) * CELL).min(size.height);
            for col in 0..columns - 1 {
                let at = row * columns + col;
                let mut near = [[0; 2]; 4];
                for (near, corner) in
                    near.iter_mut()
                        .zip([at, at + 1, at + columns, at + columns + 1])
                {
                    *near = corners[corner];
                }
                let mut near: [u16; 8] = std::array::from_fn(|k| near[k / 2][k % 2]);
                let candidates = distinct(&mut near);
                for line in lines.clone() {
                    for column in col * CELL..((col + 1) * CELL).min(size.width) {
                        let pixel = size.index(line, column);
                        visit(pixel, self.region(plane.at(pixel), candidates));
                    }
                }
            }
        }
    }

    fn region(&self, place: [f32; 3], candidates: &[u16]) -> Region {
        let (first, second, lead, corner) = self.two_largest(place, candidates);
        if first == second {
            return Region {
                first,
                second,
                distance: f32::MAX,
                eroded: -1.0,
            };
        }
        let slope = self.slope(corner, [usize::from(first), usize::from(second)]);
        Region {
            first,
            second,
            distance: lead / slope.max(1e-6),
            eroded: self
                .erosion
                .as_ref()
                .map_or(-1.0, |erosion| erosion.radius_at(place, first)),
        }
    }

    /// Largest and second of the candidates at a place, the lead, and where the place lies in the grid. Equal channels
    /// go to the lower number.
    fn two_largest(&self, place: [f32; 3], candidates: &[u16]) -> (u16, u16, f32, usize) {
        let (corner, [u, v, w]) = self.frame.cell(place);
        let offsets = self.offsets();
        let weights = [
            (1.0 - u) * (1.0 - v) * (1.0 - w),
            u * (1.0 - v) * (1.0 - w),
            (1.0 - u) * v * (1.0 - w),
            u * v * (1.0 - w),
            (1.0 - u) * (1.0 - v) * w,
            u * (1.0 - v) * w,
            (1.0 - u) * v * w,
            u * v * w,
        ];
        let knots: [&[f32]; 8] = std::array::from_fn(|k| {
            let start = (corner + offsets[k]) * self.labels;
            &self.values[start..start + self.labels]
        });
        let mut best = (candidates[0], f32::MIN);
        let mut next = best;
        for &label in candidates {
            let k = usize::from(label);
            let mut score = 0.0;
            for (knot, weight) in knots.iter().zip(weights) {
                score += knot[k] * weight;
            }
            if score > best.1 {
                next = best;
                best = (label, score);
            } else if score > next.1 {
                next = (label, score);
            }
        }
        (best.0, next.0, best.1 - next.1, corner)
    }

    /// Distances in memory of the eight corners of a cell, in knots.
    fn offsets(&self) -> [usize; 8] {
        let [row, plane] = self.frame.strides();
        std::array::from_fn(|k| (k & 1) + (k >> 1 & 1) * row + (k >> 2) * plane)
    }

    /// Slope of the difference of two channels in a cell, per unit.
    fn slope(&self, corner: usize, [a, b]: [usize; 2]) -> f32 {
        let offsets = self.offsets();
        let lead: [f32; 8] = std::array::from_fn(|k| {
            let start = (corner + offsets[k]) * self.labels;
            self.values[start + a] - self.values[start + b]
        });
        let mut square = 0.0;
        for (axis, bit) in [1, 2, 4].into_iter().enumerate() {
            let mut step = 0.0;
            for (k, &lead) in lead.iter().enumerate() {
                step += if k & bit == 0 { -lead } else { lead };
            }
            let step = 0.25 * step * self.frame.axes[axis].per_unit;
            square += step * step;
        }
        square.sqrt()
    }
}

impl Erosion {
    fn new(params: &ErosionParams) -> Option<Self> {
        (params.radius > 0.0).then(|| Self {
            radius: params.radius,
            variation: params.variation,
            variations: Tile::new(params.seed),
            chosen: params.regions.clone(),
        })
    }

    fn radius_at(&self, place: [f32; 3], label: u16) -> f32 {
        let chosen = self.chosen.as_ref();
        if chosen.is_some_and(|chosen| !chosen.contains(&label)) {
            return -1.0;
        }
        let noise = self.variations.at(place.map(|v| v * VARIATION_CELLS));
        self.radius * (1.0 - self.variation * (0.5 + 0.5 * noise).clamp(0.0, 1.0))
    }
}

/// The different ones of eight labels, in ascending order.
fn distinct(labels: &mut [u16; 8]) -> &[u16] {
    labels.sort_unstable();
    let mut count = 1;
    for k in 1..8 {
        if labels[k] != labels[count - 1] {
            labels[count] = labels[k];
            count += 1;
        }
    }
    &labels[..count]
}
