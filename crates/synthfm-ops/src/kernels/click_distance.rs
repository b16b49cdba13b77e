//! Distances from clicks along paths through an image: several sets of clicks on one grid at once, one in each lane of
//! a vector.
//!
//! Both kinds are taken by sweeps over the grid, down and up again, in which every cell hears from its eight
//! neighbours. A row is passed over when the row before it has not changed since it was last visited: the sweep would
//! change nothing there.

use super::isa::{Isa, multiversion};

/// Sets of clicks on one grid that are computed at once.
pub const SETS: usize = 8;
/// Sweeps over the grid in both directions at most; paths that wind more often are taken for longer than they are.
const MAX_SWEEPS: usize = 8;
/// Cost of a step of one cell where nothing changes: keeps distances apart in flat regions.
const STEP_COST: f32 = 0.004;

/// Distance of one cell from each set.
pub type Lanes = [f32; SETS];

/// Values on a square grid.
#[derive(Debug, Clone, Copy)]
pub struct ValueGrid<'a> {
    /// Row-major.
    pub values: &'a [f32],
    /// Cells along each side.
    pub side: usize,
}

impl<'a> ValueGrid<'a> {
    /// Least sum of differences along a path from the nearest cell of each set, with a small cost for every step.
    /// Infinite for lanes without a set and for empty sets. Sets hold places in `values`, at most [`SETS`] sets.
    pub fn geodesic(self, sets: &[impl AsRef<[usize]>]) -> Vec<Lanes> {
        self.geodesic_on(Isa::best(), sets)
    }

    /// Bound on the difference to a click's value at which region growing from the click arrives, for each set of
    /// clicks. A cell follows the click that reaches it first, whose value counts on the way on. Infinite for lanes
    /// without a set and for empty sets.
    pub fn flood(self, sets: &[impl AsRef<[usize]>]) -> Vec<Lanes> {
        self.flood_on(Isa::best(), sets)
    }

    /// Smallest difference to the value of a click, for each set. Infinite for lanes without a set and for empty sets.
    pub fn difference(self, sets: &[impl AsRef<[usize]>]) -> Vec<Lanes> {
        self.difference_on(Isa::best(), sets)
    }

    /// [`Self::geodesic`] by an instruction set.
    fn geodesic_on(self, isa: Isa, sets: &[impl AsRef<[usize]>]) -> Vec<Lanes> {
        let mut distances = vec![[f32::INFINITY; SETS]; self.values.len()];
        for (lane, set) in sets.iter().enumerate() {
            for &cell in set.as_ref() {
                distances[cell][lane] = 0.0;
            }
        }
        self.sweep(sets, |row, before, reversed| {
            let (side, values) = (self.side, self.values);
            let (row, before) = neighbours(&mut distances, side, row, before);
            let row_values = self.row(row.1);
            let before_values = before.map_or(&[][..], |(_, at)| &values[at * side..][..side]);
            let before = before.map_or(&[][..], |(lanes, _)| lanes);
            let values = [row_values, before_values];
            match isa {
                #[cfg(target_arch = "x86_64")]
                Isa::Avx2 | Isa::Avx512 | Isa::Avx512Bf16 => {
                    x86::geodesic(row.0, values, before, reversed)
                }
                Isa::Portable => geodesic_row(row.0, values, before, reversed),
            }
        });
        distances
    }

    /// [`Self::flood`] by an instruction set.
    fn flood_on(self, isa: Isa, sets: &[impl AsRef<[usize]>]) -> Vec<Lanes> {
        let mut cells = vec![[[f32::INFINITY; SETS], [0.0; SETS]]; self.values.len()];
        for (lane, set) in sets.iter().enumerate() {
            for &cell in set.as_ref() {
                (cells[cell][0][lane], cells[cell][1][lane]) = (0.0, self.values[cell]);
            }
        }
        self.sweep(sets, |row, before, reversed| {
            let (row, before) = neighbours(&mut cells, self.side, row, before);
            let before = before.map_or(&[][..], |(cells, _)| cells);
            let values = self.row(row.1);
            match isa {
                #[cfg(target_arch = "x86_64")]
                Isa::Avx2 | Isa::Avx512 | Isa::Avx512Bf16 => {
                    x86::flood(row.0, values, before, reversed)
                }
                Isa::Portable => flood_row(row.0, values, before, reversed),
            }
        });
        cells.into_iter().map(|[tolerance, _]| tolerance).collect()
    }

    /// [`Self::difference`] by an instruction set.
    fn difference_on(self, isa: Isa, sets: &[impl AsRef<[usize]>]) -> Vec<Lanes> {
        let mut differences = vec![[f32::INFINITY; SETS]; self.values.len()];
        for (lane, set) in sets.iter().enumerate() {
            for &cell in set.as_ref() {
                let mut clicked = [f32::INFINITY; SETS];
                clicked[lane] = self.values[cell];
                nearest_values(isa, &mut differences, self.values, &clicked);
            }
        }
        differences
    }

    fn row(self, row: usize) -> &'a [f32] {
        &self.values[row * self.side..][..self.side]
    }

    /// Visits rows, down and up again, until none changes or [`MAX_SWEEPS`] are done. `visit` takes a row, the one
    /// before it in the sweep's direction and whether that is upwards, and tells whether the row changed.
    fn sweep(
        self,
        sets: &[impl AsRef<[usize]>],
        mut visit: impl FnMut(usize, Option<usize>, bool) -> bool,
    ) {
        let side = self.side;
        // Whether the row above, or below, has changed since the last visit.
        let (mut down, mut up) = (vec![false; side], vec![false; side]);
        let mark = |down: &mut [bool], up: &mut [bool], row: usize| {
            if row + 1 < side {
                down[row + 1] = true;
            }
            if row > 0 {
                up[row - 1] = true;
            }
        };
        for &cell in sets.iter().flat_map(AsRef::as_ref) {
            let row = cell / side;
            (down[row], up[row]) = (true, true);
            mark(&mut down, &mut up, row);
        }
        for _ in 0..MAX_SWEEPS {
            for row in 0..side {
                if std::mem::take(&mut down[row]) && visit(row, row.checked_sub(1), false) {
                    mark(&mut down, &mut up, row);
                }
            }
            for row in (0..side).rev() {
                let below = Some(row + 1).filter(|&below| below < side);
                if std::mem::take(&mut up[row]) && visit(row, below, true) {
                    mark(&mut down, &mut up, row);
                }
            }
            if !down.contains(&true) && !up.contains(&true) {
                break;
            }
        }
    }
}

/// A row to change and the one before it, each with its index.
type Neighbours<'a, T> = ((&'a mut [T], usize), Option<(&'a [T], usize)>);

fn neighbours<T>(
    cells: &mut [T],
    side: usize,
    row: usize,
    before: Option<usize>,
) -> Neighbours<'_, T> {
    match before {
        None => ((&mut cells[row * side..][..side], row), None),
        Some(before) if before < row => {
            let (above, rest) = cells.split_at_mut(row * side);
            let above = &above[before * side..][..side];
            ((&mut rest[..side], row), Some((above, before)))
        }
        Some(before) => {
            let (rest, below) = cells.split_at_mut(before * side);
            let row_cells = &mut rest[row * side..][..side];
            ((row_cells, row), Some((&below[..side], before)))
        }
    }
}

/// The column after `column` steps along a row of `side`.
#[inline(always)]
const fn along(column: usize, side: usize, reversed: bool) -> usize {
    if reversed { side - 1 - column } else { column }
}

/// Shortens `to` by the way through `from`; `changed` collects where it did.
#[inline(always)]
fn step(to: &mut Lanes, from: &Lanes, difference: f32, changed: &mut [u32; SETS]) {
    for i in 0..SETS {
        let through = from[i] + difference + STEP_COST;
        let nearer = through < to[i];
        changed[i] |= u32::from(nearer);
        to[i] = if nearer { through } else { to[i] };
    }
}

/// One row of distances by way of the row `before` it, if there is one, and along itself in both directions, the sweep's
/// first; `values` are those of the row and of the one before it. Whether any changed.
fn geodesic_row(
    row: &mut [Lanes],
    [values, before_values]: [&[f32]; 2],
    before: &[Lanes],
    reversed: bool,
) -> bool {
    let side = row.len();
    let mut changed = [0; SETS];
    if before.len() == side {
        for column in 0..side {
            let (mut to, value) = (row[column], values[column]);
            for from in beside(column, side) {
                let difference = (value - before_values[from]).abs();
                step(&mut to, &before[from], difference, &mut changed);
            }
            row[column] = to;
        }
    }
    for reversed in [reversed, !reversed] {
        for i in 1..side {
            let (last, column) = (along(i - 1, side, reversed), along(i, side, reversed));
            let difference = (values[column] - values[last]).abs();
            let (mut to, from) = (row[column], row[last]);
            step(&mut to, &from, difference, &mut changed);
            row[column] = to;
        }
    }
    changed.iter().any(|&c| c != 0)
}

/// A column, the one before it and the one after it, as far as a row of `side` has them.
#[inline(always)]
fn beside(column: usize, side: usize) -> impl Iterator<Item = usize> {
    let before = column.checked_sub(1);
    let after = Some(column + 1).filter(|&after| after < side);
    std::iter::once(column).chain(before).chain(after)
}

/// Tolerance and value of the click that came first, of each set.
type Flooded = [Lanes; 2];

/// Floods `to`, whose value is given, from `from`.
#[inline(always)]
fn flood_step(to: &mut Flooded, from: &Flooded, value: f32, changed: &mut [u32; SETS]) {
    for i in 0..SETS {
        let difference = (value - from[1][i]).abs();
        let through = if from[0][i] > difference {
            from[0][i]
        } else {
            difference
        };
        let nearer = through < to[0][i];
        changed[i] |= u32::from(nearer);
        to[0][i] = if nearer { through } else { to[0][i] };
        to[1][i] = if nearer { from[1][i] } else { to[1][i] };
    }
}

/// [`geodesic_row`] for flooding.
fn flood_row(row: &mut [Flooded], values: &[f32], before: &[Flooded], reversed: bool) -> bool {
    let side = row.len();
    let mut changed = [0; SETS];
    if before.len() == side {
        for column in 0..side {
            let (mut to, value) = (row[column], values[column]);
            for from in beside(column, side) {
                flood_step(&mut to, &before[from], value, &mut changed);
            }
            row[column] = to;
        }
    }
    for reversed in [reversed, !reversed] {
        for i in 1..side {
            let (last, column) = (along(i - 1, side, reversed), along(i, side, reversed));
            let (mut to, from) = (row[column], row[last]);
            flood_step(&mut to, &from, values[column], &mut changed);
            row[column] = to;
        }
    }
    changed.iter().any(|&c| c != 0)
}

multiversion! {
    /// Differences that a click of each lane makes smaller; no click: an infinite value.
    fn nearest_values(isa: Isa, differences: &mut [Lanes], values: &[f32], clicked: &Lanes) {
        for (differences, &value) in differences.iter_mut().zip(values) {
            for i in 0..SETS {
                let difference = (value - clicked[i]).abs();
                let smaller = difference < differences[i];
                differences[i] = if smaller { difference } else { differences[i] };
            }
        }
    }
}

/// The two rows with all lanes of a cell in a vector: compiled from plain Rust, most of them are scalar.
#[cfg(target_arch = "x86_64")]
#[expect(
    unsafe_code,
    reason = "calls code for instructions that the processor has"
)]
mod x86 {
    use std::arch::x86_64::{
        __m256, _CMP_LT_OQ, _mm256_add_ps, _mm256_andnot_ps, _mm256_blendv_ps, _mm256_cmp_ps,
        _mm256_loadu_ps, _mm256_max_ps, _mm256_movemask_ps, _mm256_or_ps, _mm256_set1_ps,
        _mm256_setzero_ps, _mm256_storeu_ps, _mm256_sub_ps,
    };

    use super::{Flooded, Lanes, STEP_COST, along};

    /// [`super::geodesic_row`].
    pub(super) fn geodesic(
        row: &mut [Lanes],
        values: [&[f32]; 2],
        before: &[Lanes],
        reversed: bool,
    ) -> bool {
        // SAFETY: only called where the processor has AVX2.
        unsafe { geodesic_row(row, values, before, reversed) }
    }

    /// [`super::flood_row`].
    pub(super) fn flood(
        row: &mut [Flooded],
        values: &[f32],
        before: &[Flooded],
        reversed: bool,
    ) -> bool {
        // SAFETY: only called where the processor has AVX2.
        unsafe { flood_row(row, values, before, reversed) }
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn load(lanes: &Lanes) -> __m256 {
        // SAFETY: the array holds a vector.
        unsafe { _mm256_loadu_ps(lanes.as_ptr()) }
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn store(lanes: &mut Lanes, values: __m256) {
        // SAFETY: the array holds a vector.
        unsafe { _mm256_storeu_ps(lanes.as_mut_ptr(), values) }
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn any(changed: __m256) -> bool {
        _mm256_movemask_ps(changed) != 0
    }

    /// [`super::step`]
    #[target_feature(enable = "avx2")]
    #[inline]
    fn step(to: __m256, (from, difference): (__m256, f32), changed: &mut __m256) -> __m256 {
        let through = _mm256_add_ps(from, _mm256_set1_ps(difference));
        let through = _mm256_add_ps(through, _mm256_set1_ps(STEP_COST));
        let nearer = _mm256_cmp_ps::<_CMP_LT_OQ>(through, to);
        *changed = _mm256_or_ps(*changed, nearer);
        _mm256_blendv_ps(to, through, nearer)
    }

    /// [`super::flood_step`]
    #[target_feature(enable = "avx2")]
    #[inline]
    fn flood_step(
        to: [__m256; 2],
        from: [__m256; 2],
        value: __m256,
        changed: &mut __m256,
    ) -> [__m256; 2] {
        let sign = _mm256_set1_ps(-0.0);
        let difference = _mm256_andnot_ps(sign, _mm256_sub_ps(value, from[1]));
        let through = _mm256_max_ps(from[0], difference);
        let nearer = _mm256_cmp_ps::<_CMP_LT_OQ>(through, to[0]);
        *changed = _mm256_or_ps(*changed, nearer);
        [
            _mm256_blendv_ps(to[0], through, nearer),
            _mm256_blendv_ps(to[1], from[1], nearer),
        ]
    }

    #[target_feature(enable = "avx2")]
    fn geodesic_row(
        row: &mut [Lanes],
        [values, before_values]: [&[f32]; 2],
        before: &[Lanes],
        reversed: bool,
    ) -> bool {
        let side = row.len();
        let mut changed = _mm256_setzero_ps();
        let (mut from, mut last) = (_mm256_set1_ps(f32::INFINITY), 0.0);
        // The way from the row before and the first along the row in one pass.
        for i in 0..side {
            let column = along(i, side, reversed);
            let (mut to, value) = (load(&row[column]), values[column]);
            if before.len() == side {
                let way = |from: usize| (load(&before[from]), (value - before_values[from]).abs());
                to = step(to, way(column), &mut changed);
                if column > 0 {
                    to = step(to, way(column - 1), &mut changed);
                }
                if column + 1 < side {
                    to = step(to, way(column + 1), &mut changed);
                }
            }
            from = step(to, (from, (value - last).abs()), &mut changed);
            store(&mut row[column], from);
            last = value;
        }
        for i in 1..side {
            let column = along(i, side, !reversed);
            let value = values[column];
            from = step(
                load(&row[column]),
                (from, (value - last).abs()),
                &mut changed,
            );
            store(&mut row[column], from);
            last = value;
        }
        any(changed)
    }

    #[target_feature(enable = "avx2")]
    fn flood_row(row: &mut [Flooded], values: &[f32], before: &[Flooded], reversed: bool) -> bool {
        let side = row.len();
        let mut changed = _mm256_setzero_ps();
        let read = |[tolerance, value]: &Flooded| [load(tolerance), load(value)];
        let mut from = [_mm256_set1_ps(f32::INFINITY), _mm256_setzero_ps()];
        // The way from the row before and the first along the row in one pass.
        for i in 0..side {
            let column = along(i, side, reversed);
            let (mut to, value) = (read(&row[column]), _mm256_set1_ps(values[column]));
            if before.len() == side {
                to = flood_step(to, read(&before[column]), value, &mut changed);
                if column > 0 {
                    to = flood_step(to, read(&before[column - 1]), value, &mut changed);
                }
                if column + 1 < side {
                    to = flood_step(to, read(&before[column + 1]), value, &mut changed);
                }
            }
            from = flood_step(to, from, value, &mut changed);
            let [tolerance, clicked] = &mut row[column];
            store(tolerance, from[0]);
            store(clicked, from[1]);
        }
        for i in 1..side {
            let column = along(i, side, !reversed);
            let value = _mm256_set1_ps(values[column]);
            from = flood_step(read(&row[column]), from, value, &mut changed);
            let [tolerance, clicked] = &mut row[column];
            store(tolerance, from[0]);
            store(clicked, from[1]);
        }
        any(changed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::noise;

    /// Sweeps cell by cell over the whole grid, by the definition: `step` takes the values, a cell and its neighbour,
    /// and tells whether it changed the neighbour's.
    fn relax(
        side: usize,
        values: &mut [f32],
        mut step: impl FnMut(&mut [f32], usize, usize) -> bool,
    ) {
        for _ in 0..MAX_SWEEPS {
            let mut changed = false;
            for reversed in [false, true] {
                for i in 0..side {
                    let row = along(i, side, reversed);
                    let before = if reversed {
                        row + 1
                    } else {
                        row.wrapping_sub(1)
                    };
                    for j in 0..side {
                        let column = along(j, side, reversed);
                        let to = row * side + column;
                        if before < side {
                            let straight = before * side + column;
                            changed |= step(values, straight, to);
                            if column > 0 {
                                changed |= step(values, straight - 1, to);
                            }
                            if column + 1 < side {
                                changed |= step(values, straight + 1, to);
                            }
                        }
                        if j > 0 {
                            changed |= step(values, row * side + along(j - 1, side, reversed), to);
                        }
                    }
                    for j in (0..side - 1).rev() {
                        let [from, to] = [j + 1, j].map(|j| row * side + along(j, side, reversed));
                        changed |= step(values, from, to);
                    }
                }
            }
            if !changed {
                break;
            }
        }
    }

    fn geodesic(values: &[f32], side: usize, set: &[usize]) -> Vec<f32> {
        let mut out = vec![f32::INFINITY; values.len()];
        for &cell in set {
            out[cell] = 0.0;
        }
        relax(side, &mut out, |out, from, to| {
            let through = out[from] + (values[to] - values[from]).abs() + STEP_COST;
            let nearer = through < out[to];
            if nearer {
                out[to] = through;
            }
            nearer
        });
        out
    }

    fn flood(values: &[f32], side: usize, set: &[usize]) -> Vec<f32> {
        let mut out = vec![f32::INFINITY; values.len()];
        let mut reference = vec![0.0; values.len()];
        for &cell in set {
            (out[cell], reference[cell]) = (0.0, values[cell]);
        }
        relax(side, &mut out, |out, from, to| {
            let through = out[from].max((values[to] - reference[from]).abs());
            let nearer = through < out[to];
            if nearer {
                (out[to], reference[to]) = (through, reference[from]);
            }
            nearer
        });
        out
    }

    /// Noise on which paths wind, and steps between flat regions, where many are equal.
    fn images(side: usize) -> [Vec<f32>; 2] {
        let noisy = noise(side * side, 3);
        let stepped = noisy.iter().map(|v| (v * 3.0).round() * 0.25).collect();
        [noisy, stepped]
    }

    #[test]
    fn every_lane_is_swept_as_its_set_alone() {
        let bits = |values: Vec<f32>| values.into_iter().map(f32::to_bits).collect::<Vec<_>>();
        for side in [1, 2, 5, 17, 40] {
            let last = side * side - 1;
            let sets: [&[usize]; 6] = [
                &[0],
                &[last],
                &[last / 2, last / 3, last],
                &[],
                &[last / 5, 0],
                &[last / 7],
            ];
            for values in images(side) {
                let grid = ValueGrid {
                    values: &values,
                    side,
                };
                for isa in Isa::all() {
                    let got = [
                        grid.geodesic_on(isa, &sets),
                        grid.flood_on(isa, &sets),
                        grid.difference_on(isa, &sets),
                    ];
                    for (lane, set) in sets.iter().enumerate() {
                        let difference = |value: &f32| {
                            let each = set.iter().map(|&cell| (value - values[cell]).abs());
                            each.fold(f32::INFINITY, f32::min)
                        };
                        let expected = [
                            geodesic(&values, side, set),
                            flood(&values, side, set),
                            values.iter().map(difference).collect(),
                        ];
                        for (got, expected) in got.iter().zip(expected) {
                            let got = got.iter().map(|lanes| lanes[lane]).collect();
                            assert_eq!(bits(got), bits(expected), "{isa:?} {side} {set:?}");
                        }
                    }
                    assert!(got.iter().flatten().all(|lanes| lanes[7].is_infinite()));
                }
            }
        }
    }
}
