//! A mask prompt as an earlier answer of the model may be: too coarse, too large or too small, shifted, with a part missing
//! or with a piece of what lies beside it.
//!
//! A predictor that looks closer hands its answer on the whole image over to its answer on a part of it. Enlarged, that
//! answer is smooth and off by about a cell of its own grid.

use rand::{Rng, RngExt};

/// Coarsest grid of such an answer, in cells of the fine one.
const COARSEST: f64 = 8.0;
/// Least diameter of the structure in cells of the coarse grid.
const LEAST_DIAMETER: f64 = 1.5;
/// Chance that a part is missing, and that something else is joined.
const WRONG: f32 = 0.25;
/// Range of the largest logit.
const CONFIDENCE: [f64; 2] = [2.0, 10.0];

/// A coarse and wrong version of a structure, as logits.
///
/// # Shapes
/// `target` and `others` (everything else) are shares of `side × side` cells, 0 to 1, row-major; `click` is a place in
/// cells that stays inside, `(x, y)` -> logits of the same cells, from -20 to 10
pub fn rough_mask(
    target: &[f32],
    others: &[f32],
    side: usize,
    click: Option<[f64; 2]>,
    rng: &mut impl Rng,
) -> Vec<f32> {
    let inside: Vec<usize> = (0..target.len()).filter(|&i| target[i] > 0.5).collect();
    let radius = libm::sqrt(inside.len().max(1) as f64 / std::f64::consts::PI);
    let mut shares = target.to_vec();
    let (loses, gains) = (rng.random::<f32>() < WRONG, rng.random::<f32>() < WRONG);
    if loses {
        lose_part(&mut shares, &inside, side, click, rng);
    }
    if gains {
        join_beside(&mut shares, others, &inside, side, radius, rng);
    }
    let coarsest = (2.0 * radius / LEAST_DIAMETER).clamp(2.0, COARSEST);
    let coarse = Coarse::of(
        &shares,
        side,
        2 + rng.random_range(0..coarsest as usize - 1),
        rng,
    );
    let smooth = coarse.enlarged(side, rng);
    to_logits(&smooth, rng)
}

pub(super) fn uniform(low: f64, high: f64, rng: &mut impl Rng) -> f64 {
    low + rng.random::<f64>() * (high - low)
}

/// Column and row of a cell.
fn place(cell: usize, side: usize) -> [f64; 2] {
    [(cell % side) as f64, (cell / side) as f64]
}

/// Takes away what lies beyond a straight cut: a tenth to a half of the structure, on the side without the click.
pub(super) fn lose_part(
    shares: &mut [f32],
    inside: &[usize],
    side: usize,
    click: Option<[f64; 2]>,
    rng: &mut impl Rng,
) {
    let angle = uniform(0.0, 2.0 * std::f64::consts::PI, rng);
    let lost = uniform(0.1, 0.5, rng);
    let mut normal = [libm::cos(angle), libm::sin(angle)];
    let limit = |normal: [f64; 2]| {
        let mut heights: Vec<f64> = inside
            .iter()
            .map(|&cell| height(place(cell, side), normal))
            .collect();
        heights.sort_by(f64::total_cmp);
        let kept = ((1.0 - lost) * heights.len() as f64) as usize;
        heights.get(kept).copied()
    };
    let Some(mut beyond) = limit(normal) else {
        return;
    };
    if click.is_some_and(|click| height(click, normal) >= beyond) {
        normal = normal.map(|v| -v);
        beyond = limit(normal).unwrap_or(beyond);
    }
    for (cell, share) in shares.iter_mut().enumerate() {
        if height(place(cell, side), normal) >= beyond {
            *share = 0.0;
        }
    }
}

fn height([x, y]: [f64; 2], normal: [f64; 2]) -> f64 {
    x * normal[0] + y * normal[1]
}

/// Joins what lies in a disc at the border: the other structures there, or all of it where there are hardly any.
pub(super) fn join_beside(
    shares: &mut [f32],
    others: &[f32],
    inside: &[usize],
    side: usize,
    radius: f64,
    rng: &mut impl Rng,
) {
    if inside.is_empty() {
        return;
    }
    let [mut x, mut y] = place(inside[rng.random_range(0..inside.len())], side);
    let angle = uniform(0.0, 2.0 * std::f64::consts::PI, rng);
    let is_inside = |x: f64, y: f64| {
        let within = |v: f64| v > -0.5 && v < side as f64 - 0.5;
        within(x)
            && within(y)
            && shares[libm::round(y) as usize * side + libm::round(x) as usize] > 0.5
    };
    while is_inside(x, y) {
        (x, y) = (x + libm::cos(angle), y + libm::sin(angle));
    }
    let reach = 1.0 + radius * uniform(0.3, 1.0, rng);
    let disc: Vec<usize> = (0..shares.len())
        .filter(|&cell| {
            let [column, row] = place(cell, side);
            (column - x).powi(2) + (row - y).powi(2) <= reach * reach
        })
        .collect();
    let covered: f32 = disc.iter().map(|&cell| others[cell]).sum();
    let beside = covered > 0.1 * disc.len() as f32;
    for cell in disc {
        shares[cell] = shares[cell].max(if beside { others[cell] } else { 1.0 });
    }
}

/// Means over blocks of cells.
struct Coarse {
    values: Vec<f32>,
    /// Blocks along a side.
    side: usize,
    /// Cells along a block's side.
    block: usize,
    /// Cells by which the first block begins before the first cell.
    before: [usize; 2],
}

impl Coarse {
    fn of(shares: &[f32], side: usize, block: usize, rng: &mut impl Rng) -> Self {
        let before = [rng.random_range(0..block), rng.random_range(0..block)];
        let blocks = side / block + 2;
        let mut values = vec![0.0; blocks * blocks];
        for (cell, share) in shares.iter().enumerate() {
            let (row, col) = (cell / side + before[1], cell % side + before[0]);
            values[row / block * blocks + col / block] += share / (block * block) as f32;
        }
        Self {
            values,
            side: blocks,
            block,
            before,
        }
    }

    /// Between the blocks' centres on `side × side` cells, shifted by up to half a block.
    fn enlarged(&self, side: usize, rng: &mut impl Rng) -> Vec<f32> {
        let half = self.block as f64 / 2.0;
        let shift = [uniform(-half, half, rng), uniform(-half, half, rng)];
        // Lower neighbour and the weight of the upper one, for each cell along an axis.
        let axis = |at: usize| -> Vec<(usize, f32)> {
            let block = |cell: usize| {
                let cell = cell as f64 + 0.5 + self.before[at] as f64 + shift[at];
                (cell / self.block as f64 - 0.5).clamp(0.0, (self.side - 1) as f64)
            };
            let weights = (0..side).map(block);
            weights
                .map(|position| {
                    let low = (position as usize).min(self.side - 2);
                    (low, (position - low as f64) as f32)
                })
                .collect()
        };
        let (columns, rows) = (axis(0), axis(1));
        let mut out = Vec::with_capacity(side * side);
        for &(row, down) in &rows {
            let upper = &self.values[row * self.side..][..self.side];
            let lower = &self.values[(row + 1) * self.side..][..self.side];
            for &(col, right) in &columns {
                let along = |line: &[f32]| line[col] * (1.0 - right) + line[col + 1] * right;
                out.push(along(upper) * (1.0 - down) + along(lower) * down);
            }
        }
        out
    }
}

/// Logits that cross 0 somewhere between a quarter and three quarters of the largest value.
fn to_logits(smooth: &[f32], rng: &mut impl Rng) -> Vec<f32> {
    let largest = smooth.iter().fold(1e-6_f32, |most, &v| most.max(v));
    let limit = largest * uniform(0.25, 0.75, rng) as f32;
    let [low, high] = CONFIDENCE.map(libm::log);
    let confidence = libm::exp(uniform(low, high, rng)) as f32;
    let scale = confidence / (largest - limit);
    smooth
        .iter()
        .map(|v| ((v - limit) * scale).max(-2.0 * confidence))
        .collect()
}
