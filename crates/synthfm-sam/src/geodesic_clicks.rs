//! How far each pixel is from the clicks *through the image*, for our own decoder: what region growing knows, as
//! maps that a network can read.
//!
//! A network of few million parameters that learns from drawings does not find out by itself that pixels belong together
//! which no edge separates. Geodesic distances to the clicks as further inputs (`DeepIGeoS`, Wang et al. 2018) tell it.
//! Here, for positive and negative clicks each:
//!
//! - the geodesic distance: the least sum of differences along a path (Criminisi et al. 2008);
//! - the flooding tolerance: the bound on the difference to the click's own value at which region growing from the click
//!   arrives;
//! - the difference to the click's value, wherever the pixel is;
//!
//! and which kind of click is nearer. They are taken in four guidance: the grey values at the resolution of the logits; at
//! half of it, the grey values without noise and texture (a guided filter, He et al. 2013) and how textured a place is (the
//! local standard deviation); and at a quarter of it, the grey values without small parts. The outline of a box counts as
//! negative clicks for the geodesic distance. Models without these maps are SAM's, or older ones of ours.

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use rayon::prelude::*;

use crate::conv_blocks::Conv;
use crate::ops::{
    self, Arithmetic, Lanes, SETS, Sampling, ValueGrid, exp_of_negated, two_in_bands,
};
use crate::prompt_encoder::{LABEL_BACKGROUND, LABEL_FOREGROUND, PromptBatch};

/// A guide's maps, and where they are among all: positive clicks', then negative clicks'.
struct Layout {
    /// Scales s of the maps `exp(-distance / s)`, in units of the normalised input, whose standard deviation is about 1.
    geodesic: &'static [f32],
    flood: &'static [f32],
    difference: f32,
    /// Cells of the logits along one of the guide's.
    per_cell: usize,
    /// The first map.
    at: usize,
    /// The map of which kind of click is nearer.
    nearer: Option<usize>,
}

impl Layout {
    /// Maps of one kind of click.
    const fn maps(&self) -> usize {
        self.geodesic.len() + self.flood.len() + 1
    }

    /// A position in cells of the logits in cells of the guide.
    fn coarse(&self, v: f32) -> f32 {
        (v + 0.5) / self.per_cell as f32 - 0.5
    }

    /// The map after those of the clicks.
    const fn end(&self) -> usize {
        self.at + 2 * self.maps()
    }
}

const FINE: Layout = Layout {
    geodesic: &[0.5, 2.0],
    flood: &[0.15, 0.5],
    difference: 0.3,
    per_cell: 1,
    at: 0,
    nearer: Some(10),
};
const INSIDE_BOX: usize = 11;
const PLAIN: Layout = Layout {
    geodesic: &[0.3],
    flood: &[0.1, 0.3],
    difference: 0.15,
    per_cell: 2,
    at: 12,
    nearer: Some(24),
};
const TEXTURE: Layout = Layout {
    geodesic: &[],
    flood: &[0.1],
    difference: 0.1,
    per_cell: 2,
    at: 20,
    nearer: None,
};
const BROAD: Layout = Layout {
    geodesic: &[0.3, 1.0],
    flood: &[0.15, 0.4],
    difference: 0.2,
    per_cell: 4,
    at: 25,
    nearer: Some(35),
};
/// In the order of [`GuidanceImages`].
const LAYOUTS: [Layout; 4] = [FINE, PLAIN, TEXTURE, BROAD];
/// Rows of the maps that are written together: whole cells of every guide.
const BAND: usize = 4;
/// All maps.
pub const MAPS: usize = 36;
const _: () = assert!(
    FINE.end() == 10 && PLAIN.end() == TEXTURE.at && TEXTURE.end() == 24 && BROAD.end() == 35
);
/// Cells of the logits along a cell of the embedding.
const FINER: usize = 4;
/// Maps that are as fine as the logits, and those of half of that; the others change with the embedding's cells alone.
const FINE_MAPS: usize = PLAIN.at;
const HALF_MAPS: usize = BROAD.at - PLAIN.at;
/// Values of the maps in a cell of the embedding, each as often as it differs.
const CELL_VALUES: usize =
    FINER * FINER * FINE_MAPS + FINER * FINER / 4 * HALF_MAPS + MAPS - BROAD.at;
/// Half the side, in cells of the coarse guidance, of the windows of filter and texture.
const WINDOW: usize = 2;
/// Variance below which the guided filter takes a window for flat, and that in the broad guide.
const FLAT: f32 = 0.05;
const BROADLY_FLAT: f32 = 0.1;

/// Joins the maps with the image embedding and with the finest features.
#[derive(Module, Debug)]
pub(crate) struct GeodesicClicks {
    code: Conv,
    fine_in: Conv,
    fine_out: Conv,
}

impl GeodesicClicks {
    /// For embeddings of `dim` channels.
    pub(crate) fn new(dim: usize, device: &Device) -> Self {
        let fine = dim / 8;
        Self {
            code: Conv::new(1, FINER * FINER * MAPS, dim, device),
            fine_in: Conv::new(3, MAPS, 2 * fine, device),
            fine_out: Conv::new(1, 2 * fine, fine, device),
        }
    }

    /// The embedding with the maps added.
    ///
    /// # Shapes
    /// [`GeodesicMaps::cells`], `[BN, g, g, CELL_VALUES]`, and `embedding` `[BN, g, g, C]` -> as `embedding`
    pub(crate) fn coarse_residual(
        &self,
        maps: Tensor<4>,
        embedding: Tensor<4>,
        arithmetic: Arithmetic,
    ) -> Tensor<4> {
        let (weight, bias) = self.code.parts();
        let parts = (weight_of_cells(weight), bias);
        ops::conv_residual(maps, parts, embedding, Sampling::Same, arithmetic)
    }

    /// What is added to the finest features.
    ///
    /// # Shapes
    /// `[BN, 4g, 4g, MAPS]` -> `[BN, 4g, 4g, C/8]`
    pub(crate) fn fine(&self, maps: Tensor<4>, arithmetic: Arithmetic) -> Tensor<4> {
        let hidden = self.fine_in.forward_relu_in(maps, arithmetic);
        self.fine_out.forward_in(hidden, arithmetic)
    }
}

/// The weight of the maps at all pixels of a cell, `[1, 1, 16·MAPS, C]`, as that of [`GeodesicMaps::cells`]: pixels that share
/// a value share the sum of their weights.
fn weight_of_cells(weight: Tensor<4>) -> Tensor<4> {
    let channels = weight.dims()[3];
    // Pixels are nested twice: rows and columns of 2 × 2, then those inside them.
    let weight = weight.reshape([4, 4, MAPS, channels]);
    let maps = |from: usize, to: usize| weight.clone().narrow(2, from, to - from);
    let rows = |maps: Tensor<4>| {
        let values = maps.shape().num_elements() / channels;
        maps.reshape([1, 1, values, channels])
    };
    let fine = maps(0, FINE_MAPS);
    let half = maps(FINE_MAPS, BROAD.at).sum_dim(1);
    let broad = maps(BROAD.at, MAPS).sum_dim(1).sum_dim(0);
    Tensor::cat([fine, half, broad].map(rows).into(), 2)
}

/// The values of the maps in a row of cells, each as often as it differs: those of 4 × 4 pixels, of 2 × 2 and of the cell;
/// pixels are nested. `maps` are its four rows of pixels, `[4, m, MAPS]`.
fn write_cells(maps: &[f32], cells: &mut [f32]) {
    let m = maps.len() / (FINER * MAPS);
    for (column, cell) in cells.chunks_exact_mut(CELL_VALUES).enumerate() {
        let (fine, rest) = cell.split_at_mut(FINER * FINER * FINE_MAPS);
        let (half, broad) = rest.split_at_mut(FINER * FINER / 4 * HALF_MAPS);
        let pixel = |row: usize, x: usize| &maps[(row * m + FINER * column + x) * MAPS..][..MAPS];
        for (i, fine) in fine.chunks_exact_mut(FINE_MAPS).enumerate() {
            let (outer, inner) = (i / 4, i % 4);
            let pixel = pixel(outer / 2 * 2 + inner / 2, outer % 2 * 2 + inner % 2);
            fine.copy_from_slice(&pixel[..FINE_MAPS]);
        }
        for (i, half) in half.chunks_exact_mut(HALF_MAPS).enumerate() {
            half.copy_from_slice(&pixel(i / 2 * 2, i % 2 * 2)[FINE_MAPS..BROAD.at]);
        }
        broad.copy_from_slice(&pixel(0, 0)[BROAD.at..]);
    }
}

/// The maps of objects on a grid of `m × m`, and of its `m/4 × m/4` cells; values 0 to 1.
#[derive(Debug, Clone)]
pub(crate) struct GeodesicMaps {
    /// `[BN, m, m, MAPS]`
    pub(crate) full: Tensor<4>,
    /// The maps' values by cell of the embedding, without those that repeat others: `[BN, m/4, m/4, CELL_VALUES]`.
    pub(crate) cells: Tensor<4>,
}

/// The maps of every object: guidance of the images, of a grid of `m × m`, and prompts of `BN` objects of an input of side
/// `image_size`.
pub(crate) fn geodesic_maps(
    guidance: &[GuidanceImages],
    prompts: &PromptBatch,
    image_of_object: &[usize],
    image_size: usize,
    device: &Device,
) -> GeodesicMaps {
    let (objects, m) = (image_of_object.len(), guidance[0].side());
    let prompts = HostPrompts::of(prompts, objects, m as f32 / image_size as f32);
    let distances = SetDistances::of(&prompts, guidance, image_of_object);
    let bands = m / BAND;
    let lens = [BAND * m * MAPS, bands * CELL_VALUES];
    let [maps, cells] = two_in_bands(objects * bands, lens, |i, [maps, cells], line| {
        let (object, row) = (i / bands, i % bands * BAND);
        for (guide, layout) in LAYOUTS.iter().enumerate() {
            distances.write(object, (guide, layout), row, line, maps);
        }
        if let Some(box_) = prompts.boxes.get(object) {
            for (row, maps) in (row..).zip(maps.chunks_exact_mut(m * MAPS)) {
                mark_box(box_, row, maps);
            }
        }
        write_cells(maps, cells);
    });
    let cells = TensorData::new(cells, [objects, bands, bands, CELL_VALUES]);
    GeodesicMaps {
        full: Tensor::from_data(TensorData::new(maps, [objects, m, m, MAPS]), device),
        cells: Tensor::from_data(cells, device),
    }
}

/// Clicks of one kind on one object.
#[derive(Debug, Clone, Copy)]
struct ClickSet {
    object: usize,
    positive: bool,
}

/// Kinds of distance: along a path, by flooding, and in value.
const KINDS: usize = 3;

/// Distances of every set of clicks that is not empty.
struct SetDistances {
    /// By group of [`SETS`] sets on one image, guide and kind.
    distances: Vec<Vec<Lanes>>,
    /// Group and lane of each object's positive and negative clicks.
    places: Vec<[Option<(usize, usize)>; 2]>,
}

impl SetDistances {
    fn of(prompts: &HostPrompts, guidance: &[GuidanceImages], image_of_object: &[usize]) -> Self {
        let mut places = vec![[None; 2]; image_of_object.len()];
        let mut groups: Vec<(usize, Vec<ClickSet>)> = Vec::new();
        for image in 0..guidance.len() {
            let objects = (0..image_of_object.len()).filter(|&i| image_of_object[i] == image);
            let sets = objects
                .flat_map(|object| [true, false].map(|positive| ClickSet { object, positive }))
                .filter(|&set| prompts.has(set))
                .collect::<Vec<_>>();
            for sets in sets.chunks(SETS) {
                for (lane, set) in sets.iter().enumerate() {
                    places[set.object][usize::from(!set.positive)] = Some((groups.len(), lane));
                }
                groups.push((image, sets.to_vec()));
            }
        }
        let tasks = 0..groups.len() * LAYOUTS.len() * KINDS;
        let distances = tasks.into_par_iter().with_max_len(1).map(|task| {
            let (group, guide, kind) = (
                task / KINDS / LAYOUTS.len(),
                task / KINDS % LAYOUTS.len(),
                task % KINDS,
            );
            let (image, sets) = &groups[group];
            let (grid, layout) = (&guidance[*image].grids[guide], &LAYOUTS[guide]);
            let cells = sets.iter().map(|&set| match kind {
                0 => prompts.starts(set, grid, layout),
                _ => prompts.clicked(set, grid, layout),
            });
            let cells: Vec<Vec<usize>> = cells.collect();
            let grid = grid.values();
            match kind {
                0 if layout.geodesic.is_empty() => Vec::new(),
                0 => grid.geodesic(&cells),
                1 => grid.flood(&cells),
                _ => grid.difference(&cells),
            }
        });
        Self {
            distances: distances.collect(),
            places,
        }
    }

    /// Writes the maps of one guide in [`BAND`] rows of an object, from `row` on. `line` is memory to use.
    fn write(
        &self,
        object: usize,
        (guide, layout): (usize, &Layout),
        row: usize,
        line: &mut Vec<f32>,
        maps: &mut [f32],
    ) {
        let per_cell = layout.per_cell;
        let side = maps.len() / (BAND * per_cell * MAPS);
        for (i, maps) in
            (row / per_cell..).zip(maps.chunks_exact_mut(per_cell * per_cell * side * MAPS))
        {
            let cells = i * side..(i + 1) * side;
            let of = |place: Option<(usize, usize)>, kind: usize| {
                place.map(|(group, lane)| {
                    let task = (group * LAYOUTS.len() + guide) * KINDS + kind;
                    self.distances[task][cells.clone()]
                        .iter()
                        .map(move |lanes| lanes[lane])
                })
            };
            let mut map = layout.at;
            for place in self.places[object] {
                let scales = [layout.geodesic, layout.flood, &[layout.difference]];
                for (kind, scales) in scales.into_iter().enumerate() {
                    for &scale in scales {
                        if let Some(distances) = of(place, kind) {
                            line.clear();
                            line.extend(distances);
                            exp_of_negated(line, scale);
                            write_map(line, map, per_cell, maps);
                        }
                        map += 1;
                    }
                }
            }
            if let Some(map) = layout.nearer {
                let [positive, negative] = self.places[object].map(|place| of(place, 0));
                line.clear();
                match (positive, negative) {
                    (Some(positive), Some(negative)) => {
                        line.extend(positive.zip(negative).map(|(p, n)| share(p, n)));
                    }
                    (Some(_), None) => line.resize(side, 1.0),
                    (None, _) => continue,
                }
                write_map(line, map, per_cell, maps);
            }
        }
    }
}

/// Repeats a row of a guide's cells over the rows of `maps` that lie in it.
fn write_map(line: &[f32], map: usize, per_cell: usize, maps: &mut [f32]) {
    for maps in maps.chunks_exact_mut(line.len() * per_cell * MAPS) {
        for (&value, maps) in line.iter().zip(maps.chunks_exact_mut(per_cell * MAPS)) {
            for maps in maps.chunks_exact_mut(MAPS) {
                maps[map] = value;
            }
        }
    }
}

/// How much nearer positive clicks are than negative ones, 0 to 1.
fn share(positive: f32, negative: f32) -> f32 {
    match (positive.is_finite(), negative.is_finite()) {
        (true, true) => negative / (positive + negative + 1e-6),
        (true, false) => 1.0,
        _ => 0.0,
    }
}

/// 1 inside a box, in one row of the maps.
fn mark_box(&[x0, y0, x1, y1]: &[f32; 4], row: usize, maps: &mut [f32]) {
    if !(y0..=y1).contains(&(row as f32)) {
        return;
    }
    for (column, maps) in maps.chunks_exact_mut(MAPS).enumerate() {
        maps[INSIDE_BOX] = f32::from(u8::from((x0..=x1).contains(&(column as f32))));
    }
}

/// Prompts in cells of the fine grid, on the host.
struct HostPrompts {
    /// For each object its clicks: column, row, and whether it is on the object.
    clicks: Vec<Vec<(f32, f32, bool)>>,
    /// `x0, y0, x1, y1` of each object, or none at all.
    boxes: Vec<[f32; 4]>,
}

impl HostPrompts {
    fn of(prompts: &PromptBatch, objects: usize, cells_per_pixel: f32) -> Self {
        let cell = |pixel: f32| (pixel + 0.5) * cells_per_pixel - 0.5;
        let mut clicks = vec![Vec::new(); objects];
        if let Some(points) = &prompts.points {
            let coords: Vec<f32> = points.coords.clone().into_data().iter::<f32>().collect();
            let labels: Vec<i64> = points.labels.clone().into_data().iter::<i64>().collect();
            let count = labels.len() / objects.max(1);
            for (i, (xy, label)) in coords.chunks_exact(2).zip(labels).enumerate() {
                if label == LABEL_FOREGROUND || label == LABEL_BACKGROUND {
                    let on_object = label == LABEL_FOREGROUND;
                    clicks[i / count].push((cell(xy[0]), cell(xy[1]), on_object));
                }
            }
        }
        let boxes = prompts.boxes.as_ref().map_or_else(Vec::new, |boxes| {
            let corners: Vec<f32> = boxes.clone().into_data().iter::<f32>().collect();
            let (boxes, _) = corners.as_chunks::<4>();
            boxes.iter().map(|b| b.map(cell)).collect()
        });
        Self { clicks, boxes }
    }

    /// Whether geodesic paths start anywhere in a set.
    fn has(&self, set: ClickSet) -> bool {
        let mut clicks = self.clicks[set.object].iter();
        clicks.any(|click| click.2 == set.positive)
            || (!set.positive && self.boxes.len() > set.object)
    }

    /// The clicked cells of a guide.
    fn clicked(&self, set: ClickSet, grid: &Grid, layout: &Layout) -> Vec<usize> {
        let clicks = self.clicks[set.object].iter();
        clicks
            .filter(|click| click.2 == set.positive)
            .map(|&(x, y, _)| grid.cell(layout.coarse(x), layout.coarse(y)))
            .collect()
    }

    /// Cells where geodesic paths start: the clicked ones and, for negative clicks, a box's outline.
    fn starts(&self, set: ClickSet, grid: &Grid, layout: &Layout) -> Vec<usize> {
        let mut cells = self.clicked(set, grid, layout);
        if let Some(box_) = self.boxes.get(set.object).filter(|_| !set.positive) {
            cells.extend(grid.outline(box_.map(|v| layout.coarse(v))));
        }
        cells
    }
}

/// An image as the distances see it, which depends on none of its prompts.
#[derive(Debug)]
pub(crate) struct GuidanceImages {
    /// In the order of [`LAYOUTS`]; the first is as fine as the logits.
    grids: [Grid; LAYOUTS.len()],
}

impl GuidanceImages {
    /// Guidance images of every image.
    ///
    /// # Shapes
    /// Grey values `[B, 1, m, m]`, m a multiple of 4
    pub(crate) fn of_images(grey: Tensor<4>) -> Vec<Self> {
        let [_, _, m, _] = grey.dims();
        let grey: Vec<f32> = grey.into_data().iter::<f32>().collect();
        let images = grey.par_chunks_exact(m * m);
        images.map(|grey| Self::of(grey, m)).collect()
    }

    fn of(grey: &[f32], side: usize) -> Self {
        let half = side / 2;
        let means = halved(grey, side);
        let squares: Vec<f32> = grey.iter().map(|v| v * v).collect();
        let variance = window_variance(&means, &halved(&squares, side), half);
        let plain = guided_filter(&means, half, FLAT);
        let broad = guided_filter(&halved(&plain, half), half / 2, BROADLY_FLAT);
        let grid = |values, side| Grid { values, side };
        Self {
            grids: [
                grid(smoothed(grey, side), side),
                grid(plain, half),
                grid(variance.into_iter().map(f32::sqrt).collect(), half),
                grid(broad, half / 2),
            ],
        }
    }

    fn side(&self) -> usize {
        self.grids[0].side
    }
}

/// Values on a square grid in which distances are taken.
#[derive(Debug)]
struct Grid {
    values: Vec<f32>,
    side: usize,
}

impl Grid {
    /// The nearest cell.
    fn cell(&self, x: f32, y: f32) -> usize {
        let along = |v: f32| (v.round().max(0.0) as usize).min(self.side - 1);
        along(y) * self.side + along(x)
    }

    /// Cells just outside a box.
    fn outline(&self, [x0, y0, x1, y1]: [f32; 4]) -> Vec<usize> {
        let (left, top) = (x0.floor() - 1.0, y0.floor() - 1.0);
        let (right, bottom) = (x1.ceil() + 1.0, y1.ceil() + 1.0);
        let mut cells = Vec::new();
        for row in 0..self.side {
            let y = row as f32;
            if !(top..=bottom).contains(&y) {
                continue;
            }
            let on_row = (y - top).abs() < 0.5 || (y - bottom).abs() < 0.5;
            cells.extend((0..self.side).filter_map(|column| {
                let x = column as f32;
                let on_column = (x - left).abs() < 0.5 || (x - right).abs() < 0.5;
                let on = (left..=right).contains(&x) && (on_row || on_column);
                on.then_some(row * self.side + column)
            }));
        }
        cells
    }

    fn values(&self) -> ValueGrid<'_> {
        ValueGrid {
            values: &self.values,
            side: self.side,
        }
    }
}

/// Means over 2 × 2 cells.
fn halved(values: &[f32], side: usize) -> Vec<f32> {
    let half = side / 2;
    let mean = |i: usize| {
        let at = 2 * (i / half) * side + 2 * (i % half);
        0.25 * (values[at] + values[at + 1] + values[at + side] + values[at + side + 1])
    };
    (0..half * half).map(mean).collect()
}

/// Means over the windows of `2·WINDOW + 1` cells, as far as they lie on the grid.
fn window_means(values: &[f32], side: usize) -> Vec<f32> {
    let along = |values: &[f32], step: usize, place: fn(usize, usize) -> usize| -> Vec<f32> {
        let mean = |i: usize| {
            let at = place(i, side);
            let (low, high) = (at.saturating_sub(WINDOW), (at + WINDOW).min(side - 1));
            let sum: f32 = (low..=high).map(|k| values[i + k * step - at * step]).sum();
            sum / (high - low + 1) as f32
        };
        (0..side * side).map(mean).collect()
    };
    let rows = along(values, 1, |i, side| i % side);
    along(&rows, side, |i, side| i / side)
}

/// Variance in each window, from means and means of squares.
fn window_variance(means: &[f32], squares: &[f32], side: usize) -> Vec<f32> {
    let (mean, square) = (window_means(means, side), window_means(squares, side));
    let pairs = square.iter().zip(&mean);
    pairs
        .map(|(square, mean)| (square - mean * mean).max(0.0))
        .collect()
}

/// The image smoothed except across its own edges (He et al. 2013, eqs. 5, 6 and 8, with the image as its own guide).
fn guided_filter(values: &[f32], side: usize, flat: f32) -> Vec<f32> {
    let squares: Vec<f32> = values.iter().map(|v| v * v).collect();
    let variance = window_variance(values, &squares, side);
    let slope: Vec<f32> = variance.iter().map(|v| v / (v + flat)).collect();
    let mean = window_means(values, side);
    let offset = slope.iter().zip(&mean).map(|(a, mean)| (1.0 - a) * mean);
    let offset = window_means(&offset.collect::<Vec<f32>>(), side);
    let slope = window_means(&slope, side);
    let parts = values.iter().zip(slope.iter().zip(&offset));
    parts.map(|(value, (a, b))| a * value + b).collect()
}

/// A binomial filter of 3 × 3, the border repeated: noise would lengthen every path.
fn smoothed(grey: &[f32], side: usize) -> Vec<f32> {
    let line = |from: &[f32], at: usize, step: usize, place: usize| {
        let before = if place > 0 { from[at - step] } else { from[at] };
        let after = if place + 1 < side {
            from[at + step]
        } else {
            from[at]
        };
        0.25 * before + 0.5 * from[at] + 0.25 * after
    };
    let rows: Vec<f32> = (0..side * side)
        .map(|i| line(grey, i, 1, i % side))
        .collect();
    (0..side * side)
        .map(|i| line(&rows, i, side, i / side))
        .collect()
}

#[cfg(test)]
mod tests {
    use burn::tensor::Int;

    use super::*;
    use crate::prompt_encoder::PointPrompts;

    const SIDE: usize = 12;
    const STEP_COST: f32 = 0.004;

    /// 1 in the left part, 0 beside it, with a wall of `wall` in column 6.
    fn two_rooms(wall: f32) -> Vec<f32> {
        let value = |i: usize| match i % SIDE {
            0..6 => 1.0,
            6 => wall,
            _ => 0.0,
        };
        (0..SIDE * SIDE).map(value).collect()
    }

    struct Distances {
        geodesic: Vec<f32>,
        flood: Vec<f32>,
        difference: Vec<f32>,
    }

    /// Distances from one set of clicks.
    fn distances(values: &[f32], clicks: &[usize]) -> Distances {
        let (grid, clicks) = (ValueGrid { values, side: SIDE }, [clicks]);
        let first = |lanes: Vec<Lanes>| lanes.into_iter().map(|lanes| lanes[0]).collect();
        Distances {
            geodesic: first(grid.geodesic(&clicks)),
            flood: first(grid.flood(&clicks)),
            difference: first(grid.difference(&clicks)),
        }
    }

    #[test]
    fn distances_follow_the_image() {
        let grey = two_rooms(3.0);
        let (click, far, across) = (2 * SIDE + 1, 9 * SIDE + 5, 2 * SIDE + 9);
        let d = distances(&grey, &[click]);
        // Seven diagonal and straight steps in a flat room.
        assert!((d.geodesic[far] - 7.0 * STEP_COST).abs() < 1e-6);
        assert!(d.flood[far].abs() < 1e-6 && d.difference[far].abs() < 1e-6);
        // Up the wall and down again: 2 + 3; as bright as the wall at most; darker by 1 in the end.
        assert!((d.geodesic[across] - 5.0 - 8.0 * STEP_COST).abs() < 1e-5);
        assert!((d.flood[across] - 2.0).abs() < 1e-6);
        assert!((d.difference[across] - 1.0).abs() < 1e-6);
    }

    #[test]
    fn winding_paths_are_found() {
        // A snake of zeros between walls of ones, open at alternate ends.
        let value = |i: usize| {
            let (row, column) = (i / SIDE, i % SIDE);
            let gap = if row % 4 == 1 { SIDE - 1 } else { 0 };
            f32::from(u8::from(row % 2 == 1 && column != gap))
        };
        let grey: Vec<f32> = (0..SIDE * SIDE).map(value).collect();
        let d = distances(&grey, &[0]);
        let end = (SIDE - 2) * SIDE + SIDE / 2;
        assert!(d.flood[end].abs() < 1e-6, "{}", d.flood[end]);
        assert!(d.geodesic[end] < 1.0, "{}", d.geodesic[end]);
    }

    #[test]
    fn several_clicks_take_the_nearest() {
        let grey = two_rooms(3.0);
        let (left, right) = (5 * SIDE + 2, 5 * SIDE + 9);
        let both = distances(&grey, &[left, right]);
        let each = [left, right].map(|click| distances(&grey, &[click]));
        for cell in 0..SIDE * SIDE {
            let least = |of: fn(&Distances) -> &[f32]| of(&each[0])[cell].min(of(&each[1])[cell]);
            assert!((both.geodesic[cell] - least(|d| &d.geodesic)).abs() < 1e-6);
            assert!((both.flood[cell] - least(|d| &d.flood)).abs() < 1e-6);
            assert!((both.difference[cell] - least(|d| &d.difference)).abs() < 1e-6);
        }
        let none = distances(&grey, &[]);
        assert!(
            none.flood
                .iter()
                .chain(&none.geodesic)
                .all(|v| v.is_infinite())
        );
    }

    #[test]
    fn the_filter_keeps_edges_and_drops_noise() {
        // Steps of 2 with a chequered noise of 0.1.
        let value = |i: usize| {
            let step = if i % SIDE < 6 { 2.0 } else { 0.0 };
            let sign = (i % SIDE + i / SIDE) % 2;
            step + if sign == 0 { 0.1 } else { -0.1 }
        };
        let noisy: Vec<f32> = (0..SIDE * SIDE).map(value).collect();
        let filtered = guided_filter(&noisy, SIDE, FLAT);
        let row = &filtered[6 * SIDE..7 * SIDE];
        assert!(
            (row[1] - 2.0).abs() < 0.03 && row[10].abs() < 0.03,
            "{row:?}"
        );
        assert!(row[5] - row[6] > 1.5, "{row:?}");
        // The variance of the noise, 0.01, and that of half of each level, 1.
        let squares: Vec<f32> = noisy.iter().map(|v| v * v).collect();
        let variance = window_variance(&noisy, &squares, SIDE);
        assert!((variance[6 * SIDE + 9] - 0.01).abs() < 2e-3);
        assert!((0.9..1.1).contains(&variance[6 * SIDE + 5]));
        // A window at the border is cut: the mean of a ramp over columns 0 to 2.
        let ramp: Vec<f32> = (0..SIDE * SIDE).map(|i| (i % SIDE) as f32).collect();
        assert!((window_means(&ramp, SIDE)[3 * SIDE] - 1.0).abs() < 1e-6);
    }

    /// The maps of one object on a non-constant image, `[m, m, MAPS]`.
    fn maps(prompts: &PromptBatch) -> Vec<f32> {
        let device = Device::flex();
        let grey = TensorData::new(two_rooms(0.5), [1, 1, SIDE, SIDE]);
        let grey = Tensor::from_data(grey, &device);
        let guidance = GuidanceImages::of_images(grey);
        let maps = geodesic_maps(&guidance, prompts, &[0], 2 * SIDE, &device).full;
        assert_eq!(maps.dims(), [1, SIDE, SIDE, MAPS]);
        maps.into_data().try_into_vec().unwrap()
    }

    fn clicks(at: &[(f32, f32, i64)]) -> PromptBatch {
        let device = Device::flex();
        let coords: Vec<f32> = at.iter().flat_map(|&(x, y, _)| [x, y]).collect();
        let labels: Vec<i64> = at.iter().map(|&(_, _, label)| label).collect();
        let points = PointPrompts {
            coords: Tensor::from_data(TensorData::new(coords, [1, at.len(), 2]), &device),
            labels: Tensor::<2, Int>::from_data(TensorData::new(labels, [1, at.len()]), &device),
        };
        PromptBatch {
            points: Some(points),
            ..PromptBatch::default()
        }
    }

    #[test]
    fn maps_are_near_one_at_their_clicks() {
        // Pixels of an input twice as fine: the cell of column 2, row 9, and that of column 10, row 3.
        let maps = maps(&clicks(&[(4.5, 18.5, 1), (20.5, 6.5, 0), (0.0, 0.0, -1)]));
        let at = |row: usize, column: usize| &maps[(row * SIDE + column) * MAPS..][..MAPS];
        for layout in &LAYOUTS {
            let (first, second) = (layout.at, layout.at + layout.maps());
            assert!(at(9, 2)[first..second].iter().all(|&v| v > 0.99));
            assert!(at(3, 10)[second..layout.end()].iter().all(|&v| v > 0.99));
            if let Some(nearer) = layout.nearer {
                assert!(at(9, 2)[nearer] > 0.99 && at(3, 10)[nearer] < 0.01);
            }
        }
        assert!(
            at(2, 9)[..FINE.maps()].iter().all(|&v| v < 0.8),
            "rows and columns are not swapped"
        );
        assert!(maps.iter().all(|v| (0.0..=1.0).contains(v)));
    }

    /// The convolution of all pixels of a cell by its definition.
    fn product_of_cell(maps: &[f32], [row, column]: [usize; 2], weight: &[f32]) -> f64 {
        let mut sum = 0.0;
        for (place, weight) in weight.chunks_exact(MAPS).enumerate() {
            // Bits of the place: row and column of the quarter, then of the pixel in it.
            let bit = |i: usize| place >> (3 - i) & 1;
            let (y, x) = (
                4 * row + 2 * bit(0) + bit(2),
                4 * column + 2 * bit(1) + bit(3),
            );
            let maps = &maps[(y * SIDE + x) * MAPS..][..MAPS];
            let terms = maps.iter().zip(weight);
            sum += terms
                .map(|(&m, &w)| f64::from(m) * f64::from(w))
                .sum::<f64>();
        }
        sum
    }

    #[test]
    fn cells_with_the_summed_weights_are_the_product_of_all_pixels() {
        let device = Device::flex();
        let mut prompts = clicks(&[(4.5, 18.5, 1), (20.5, 6.5, 0)]);
        let corners = TensorData::new(vec![4.5_f32, 6.5, 8.5, 16.5], [1, 4]);
        prompts.boxes = Some(Tensor::from_data(corners, &device));
        let grey = TensorData::new(two_rooms(0.5), [1, 1, SIDE, SIDE]);
        let guidance = GuidanceImages::of_images(Tensor::from_data(grey, &device));
        let GeodesicMaps { full, cells } =
            geodesic_maps(&guidance, &prompts, &[0], 2 * SIDE, &device);
        let g = SIDE / FINER;
        assert_eq!(cells.dims(), [1, g, g, CELL_VALUES]);
        let full: Vec<f32> = full.into_data().iter::<f32>().collect();
        let weight: Vec<f32> = (0..16 * MAPS)
            .map(|i| ((i * 37 % 101) as f32 - 50.0) / 50.0)
            .collect();
        let values = TensorData::new(weight.clone(), [1, 1, 16 * MAPS, 1]);
        let summed = weight_of_cells(Tensor::from_data(values, &device));
        let got = cells
            .reshape([g * g, CELL_VALUES])
            .matmul(summed.reshape([CELL_VALUES, 1]));
        let got: Vec<f32> = got.into_data().iter::<f32>().collect();
        for (i, &got) in got.iter().enumerate() {
            let expected = product_of_cell(&full, [i / g, i % g], &weight);
            assert!(
                (f64::from(got) - expected).abs() < 1e-3,
                "{i}: {got}, {expected}"
            );
        }
        assert!(got.iter().any(|&v| (v - got[0]).abs() > 0.1));
    }

    #[test]
    fn objects_of_several_images_equal_one_by_one() {
        let device = Device::flex();
        // More sets of clicks than are computed at once, on the second of two images and on the first.
        let image_of_object = [1, 1, 0, 1, 1, 1, 1, 1, 1];
        let images = [two_rooms(0.5), two_rooms(2.0)];
        let guidance = GuidanceImages::of_images(Tensor::from_data(
            TensorData::new(images.concat(), [2, 1, SIDE, SIDE]),
            &device,
        ));
        let at = |i: usize| {
            [
                (2.0 * i as f32, 21.0, 1),
                (20.0, 2.5 * i as f32, i as i64 % 2 - 1),
            ]
        };
        let of = |objects: &[usize]| {
            let points: Vec<_> = objects.iter().flat_map(|&i| at(i)).collect();
            let PointPrompts { coords, labels } = clicks(&points).points.unwrap();
            PromptBatch::from_points(
                coords.reshape([objects.len(), 2, 2]),
                labels.reshape([objects.len(), 2]),
            )
        };
        let all: Vec<usize> = (0..image_of_object.len()).collect();
        let together =
            geodesic_maps(&guidance, &of(&all), &image_of_object, 2 * SIDE, &device).full;
        for (i, &image) in image_of_object.iter().enumerate() {
            let alone = geodesic_maps(&guidance, &of(&[i]), &[image], 2 * SIDE, &device).full;
            let bits = |maps: Tensor<4>| -> Vec<u32> {
                maps.into_data().iter::<f32>().map(f32::to_bits).collect()
            };
            assert!(
                bits(alone) == bits(together.clone().narrow(0, i, 1)),
                "object {i}"
            );
        }
    }

    #[test]
    fn a_box_is_known_by_its_outline() {
        let device = Device::flex();
        // Columns 2 to 4 and rows 3 to 8 of the cells.
        let corners = TensorData::new(vec![4.5_f32, 6.5, 8.5, 16.5], [1, 4]);
        let maps = maps(&PromptBatch::from_boxes(Tensor::from_data(
            corners, &device,
        )));
        let at = |row: usize, column: usize| &maps[(row * SIDE + column) * MAPS..][..MAPS];
        let inside = |row: usize, column: usize| at(row, column)[INSIDE_BOX] > 0.5;
        assert!(inside(5, 3) && !inside(5, 5) && !inside(2, 3));
        // No click: nothing is near one; the outline is at no distance from itself.
        let (first, second) = (FINE.at, FINE.at + FINE.maps());
        assert!(at(5, 3)[first..second].iter().all(|&v| v == 0.0));
        assert!(at(2, 3)[second] > 0.999 && at(5, 3)[second] < at(2, 3)[second]);
    }
}
