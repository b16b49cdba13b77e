//! Targets from the picture: segments of the rendered image, by the recipe's numbers.
//!
//! The image is segmented on a grid of at most 256 pixels along its shorter side. A candidate is one segment, or one and
//! the neighbours of most similar mean; its mask is enlarged, smoothed by a blur that is cut at one half, and freed of
//! holes that are small against it. What smoothing changes much followed the noise, not a border, and is no target.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Range, RangeInclusive};

use synthfm_image::{Image, Mask, Size};

use crate::blur::{self, Plane};
use crate::components::{self, Components};
use crate::params::{SegmentParams, SegmentPick};
use crate::scratch::Buffer;
use crate::segmentation::Segmentation;

/// Most pixels along the shorter side of the grid that is segmented.
const GRID: usize = 256;

/// Smallest segment in pixels of the grid.
const LEAST_PX: usize = 32;

/// Blur of masks in pixels of the grid.
const SMOOTHING_PX: f32 = 1.5;

/// Pixels of the grid around a segment in which it is smoothed.
const MARGIN_PX: usize = 5;

/// Least intersection over union of a segment with its smoothed mask.
const LEAST_OVERLAP: f32 = 0.8;

/// Least ratio of the mean difference between neighbours across the border of a candidate to that inside.
const LEAST_RATIO: f32 = 2.0;

/// Mean difference that is added to that inside: what is smaller hardly shows.
const FAINT: f32 = 1.0 / 256.0;

/// Holes below this share of a mask's area are filled.
const HOLE: usize = 20;

/// The segments of an image.
pub(crate) struct Segments {
    image: Size,
    /// Image pixels per grid pixel and axis.
    step: usize,
    /// Grey values that were segmented.
    data: Buffer,
    found: Segmentation,
    statistics: Vec<Statistics>,
    /// Numbers of the segments that may be targets, by octave of their size.
    octaves: BTreeMap<u32, Vec<u32>>,
    areas: RangeInclusive<usize>,
}

/// Place and grey values of a segment.
#[derive(Debug, Clone, Copy)]
struct Statistics {
    /// First and last row, first and last column.
    rows: [usize; 2],
    cols: [usize; 2],
    area: usize,
    sum: f64,
    low: f32,
    high: f32,
}

impl Segments {
    /// Segments an image; targets have one of these areas in pixels of the image.
    pub(crate) fn new(params: &SegmentParams, image: &Image, areas: RangeInclusive<usize>) -> Self {
        let size = image.size();
        let step = size.height.min(size.width).div_ceil(GRID).max(1);
        let (mut data, grid) = shrunk(image, step);
        let least = ((params.min_area * grid.area() as f32) as usize).max(LEAST_PX);
        blur::gaussian(
            &mut Plane {
                data: &mut data,
                width: grid.width,
            },
            [params.sigma_px; 2],
        );
        let found = Segmentation::new(&data, grid, params.scale, least);
        let statistics = statistics(&found, &data);
        let mut segments = Self {
            image: size,
            step,
            data,
            found,
            statistics,
            octaves: BTreeMap::new(),
            areas,
        };
        segments.rank();
        segments
    }

    /// Sorts the segments that may be targets into octaves of their side.
    fn rank(&mut self) {
        for (number, statistics) in (0..).zip(&self.statistics) {
            // What is flat shows nothing: margins, what lies outside the field of view, clipped blacks.
            let flat = statistics.high - statistics.low < 1.0 / 256.0;
            if !flat && self.areas.contains(&self.area_px(statistics.area)) {
                let octave = statistics.area.ilog2() / 2;
                self.octaves.entry(octave).or_default().push(number);
            }
        }
    }

    fn area_px(&self, area: usize) -> usize {
        area * self.step * self.step
    }

    /// The mask of a candidate, or `None` if there is no segment or nothing suitable is left of it.
    pub(crate) fn mask(&self, pick: SegmentPick) -> Option<Mask> {
        let members = self.members(pick)?;
        if self.border_ratio(&members) < LEAST_RATIO {
            return None;
        }
        let [rows, cols] = self.around(&members);
        let size = Size::new(rows.len(), cols.len());
        let raw = self.drawn(&members, &rows, &cols);
        let smooth = smoothed(&raw, size, SMOOTHING_PX * self.step as f32);
        let mask = largest_part(&smooth)?;
        let pixels = || raw.iter().zip(mask.data());
        let both = pixels().filter(|(raw, inside)| **raw && **inside).count();
        let any = pixels().filter(|(raw, inside)| **raw || **inside).count();
        if (both as f32) < LEAST_OVERLAP * any as f32 {
            return None;
        }
        let mut whole = Mask::zeros(self.image);
        for (line, row) in mask.data().chunks_exact(size.width).zip(rows) {
            let start = row * self.image.width;
            whole.data_mut()[start + cols.start..start + cols.end].copy_from_slice(line);
        }
        let whole = without_holes(whole);
        self.areas.contains(&whole.area()).then_some(whole)
    }

    /// Mean difference between neighbours across the border of a set of segments over that inside.
    fn border_ratio(&self, members: &BTreeSet<u32>) -> f32 {
        let (labels, width) = (&self.found.labels, self.found.size.width);
        let inside = |at: usize| members.contains(&labels[at]);
        let (mut across, mut within) = ([0.0, 0.0], [0.0, 0.0]);
        let mut compare = |at: usize, next: usize| {
            let sum = match (inside(at), inside(next)) {
                (true, true) => &mut within,
                (false, false) => return,
                _ => &mut across,
            };
            sum[0] += (self.data[at] - self.data[next]).abs();
            sum[1] += 1.0;
        };
        let [rows, cols] = self.bounds(members);
        for row in rows[0].saturating_sub(1)..=rows[1] {
            for col in cols[0].saturating_sub(1)..=cols[1] {
                let at = row * width + col;
                if col + 1 < width {
                    compare(at, at + 1);
                }
                if row + 1 < self.found.size.height {
                    compare(at, at + width);
                }
            }
        }
        let mean = |[sum, count]: [f32; 2]| sum / f32::max(count, 1.0);
        mean(across) / (mean(within) + FAINT)
    }

    /// First and last row, first and last column of a set of segments.
    fn bounds(&self, members: &BTreeSet<u32>) -> [[usize; 2]; 2] {
        let (mut rows, mut cols) = ([usize::MAX, 0], [usize::MAX, 0]);
        for &member in members {
            let own = &self.statistics[member as usize];
            rows = [rows[0].min(own.rows[0]), rows[1].max(own.rows[1])];
            cols = [cols[0].min(own.cols[0]), cols[1].max(own.cols[1])];
        }
        [rows, cols]
    }

    /// Rows and columns of the image that hold a set of segments and a margin.
    fn around(&self, members: &BTreeSet<u32>) -> [Range<usize>; 2] {
        let [rows, cols] = self.bounds(members);
        let step = self.step;
        let range = |[first, last]: [usize; 2], length: usize| {
            let end = (last + 1 + MARGIN_PX) * step;
            first.saturating_sub(MARGIN_PX) * step..end.min(length)
        };
        [
            range(rows, self.image.height),
            range(cols, self.image.width),
        ]
    }

    /// The segments of a candidate.
    fn members(&self, pick: SegmentPick) -> Option<BTreeSet<u32>> {
        let place = |share: f32, count: usize| ((share * count as f32) as usize).min(count - 1);
        let octaves: Vec<&Vec<u32>> = self.octaves.values().collect();
        let count = octaves.len();
        let octave = (count > 0).then(|| octaves[place(pick.octave, count)])?;
        let mut members = BTreeSet::from([octave[place(pick.position, octave.len())]]);
        for _ in 0..pick.merged {
            let Some(next) = self.most_alike(&members) else {
                break;
            };
            members.insert(next);
        }
        Some(members)
    }

    /// The neighbour of a set of segments whose mean is most like theirs, if it is not too large for a target.
    fn most_alike(&self, members: &BTreeSet<u32>) -> Option<u32> {
        let own = members.iter().map(|&k| self.statistics[k as usize]);
        let (area, sum) = own.fold((0, 0.0), |(area, sum), s| (area + s.area, sum + s.sum));
        let mean = sum / area as f64;
        let distance = |k: u32| {
            let other = self.statistics[k as usize];
            (other.sum / other.area as f64 - mean).abs()
        };
        let fits = |k: u32| {
            let together = area + self.statistics[k as usize].area;
            self.area_px(together) <= *self.areas.end()
        };
        let neighbours = self.neighbours(members).into_iter();
        neighbours
            .filter(|&k| fits(k))
            .min_by(|&a, &b| distance(a).total_cmp(&distance(b)))
    }

    /// The segments that touch a set of segments.
    fn neighbours(&self, members: &BTreeSet<u32>) -> BTreeSet<u32> {
        let inside: Vec<bool> = (0..self.found.count as u32)
            .map(|k| members.contains(&k))
            .collect();
        let (labels, width) = (&self.found.labels, self.found.size.width);
        let mut near = BTreeSet::new();
        let mut compare = |a: u32, b: u32| {
            if inside[a as usize] != inside[b as usize] {
                near.insert(if inside[a as usize] { b } else { a });
            }
        };
        for line in labels.chunks_exact(width) {
            for pair in line.windows(2) {
                compare(pair[0], pair[1]);
            }
        }
        for (&above, &below) in labels.iter().zip(&labels[width..]) {
            compare(above, below);
        }
        near
    }

    /// The pixels of a set of segments in a part of the image.
    fn drawn(
        &self,
        members: &BTreeSet<u32>,
        rows: &Range<usize>,
        cols: &Range<usize>,
    ) -> Vec<bool> {
        let inside: Vec<bool> = (0..self.found.count as u32)
            .map(|k| members.contains(&k))
            .collect();
        let grid = self.found.size;
        let mut pixels = Vec::with_capacity(rows.len() * cols.len());
        for row in rows.clone() {
            let labels = &self.found.labels[(row / self.step).min(grid.height - 1) * grid.width..];
            let label = |col: usize| labels[(col / self.step).min(grid.width - 1)];
            pixels.extend(cols.clone().map(|col| inside[label(col) as usize]));
        }
        pixels
    }
}

/// A mask whose border is smooth: blurred and cut at one half.
fn smoothed(pixels: &[bool], size: Size, sigma_px: f32) -> Mask {
    let mut plane: Buffer = pixels.iter().map(|&v| f32::from(u8::from(v))).collect();
    let width = size.width;
    blur::gaussian(
        &mut Plane {
            data: &mut plane,
            width,
        },
        [sigma_px; 2],
    );
    let data = plane.iter().map(|&v| v >= 0.5).collect();
    Mask::new(size, data).expect("one value per pixel")
}

/// Means over squares of `step` pixels; what is left at the right and at the bottom is dropped.
fn shrunk(image: &Image, step: usize) -> (Buffer, Size) {
    let size = image.size();
    let grid = Size::new((size.height / step).max(1), (size.width / step).max(1));
    if step == 1 {
        return (Buffer::from(image.data()), grid);
    }
    let share = 1.0 / (step * step) as f32;
    let mut data = Buffer::zeros(grid.area());
    for (row, line) in image.data().chunks_exact(size.width).enumerate() {
        let Some(out) = data.chunks_exact_mut(grid.width).nth(row / step) else {
            break;
        };
        for (value, pixels) in out.iter_mut().zip(line.chunks(step)) {
            *value += share * pixels.iter().sum::<f32>();
        }
    }
    (data, grid)
}

fn statistics(found: &Segmentation, data: &[f32]) -> Vec<Statistics> {
    let empty = Statistics {
        rows: [usize::MAX, 0],
        cols: [usize::MAX, 0],
        area: 0,
        sum: 0.0,
        low: f32::MAX,
        high: f32::MIN,
    };
    let mut all = vec![empty; found.count];
    for (at, (&label, &value)) in found.labels.iter().zip(data).enumerate() {
        let own = &mut all[label as usize];
        let (row, col) = (at / found.size.width, at % found.size.width);
        own.rows = [own.rows[0].min(row), own.rows[1].max(row)];
        own.cols = [own.cols[0].min(col), own.cols[1].max(col)];
        own.area += 1;
        own.sum += f64::from(value);
        own.low = own.low.min(value);
        own.high = own.high.max(value);
    }
    all
}

/// The mask with its small holes filled.
fn without_holes(mut mask: Mask) -> Mask {
    let outside: Vec<u16> = mask.data().iter().map(|&v| u16::from(!v)).collect();
    let parts = Components::new(&outside, mask.size(), |label| label);
    let mut holes = parts.all();
    holes.sort_by_key(|hole| hole.area);
    let mut area = mask.area();
    for hole in holes {
        if hole.area * HOLE >= area {
            break;
        }
        area += hole.area;
        let pixels = parts.mask(hole);
        for (value, &hole) in mask.data_mut().iter_mut().zip(pixels.data()) {
            *value |= hole;
        }
    }
    mask
}

/// The largest part that hangs together by edges.
fn largest_part(mask: &Mask) -> Option<Mask> {
    let labels: Vec<u16> = mask.data().iter().map(|&v| u16::from(v)).collect();
    let parts = Components::new(&labels, mask.size(), |label| label);
    let largest = components::largest(parts.all().into_iter())?;
    Some(parts.mask(largest))
}
