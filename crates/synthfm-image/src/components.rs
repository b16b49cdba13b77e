//! Connected components of a mask.
//!
//! Runs of each row are joined with the runs they touch in the row above (union-find over runs, as
//! in Wu, Otoo and Suzuki 2009), so the cost follows the number of runs and not of pixels.
//! Components are numbered in raster order of their first pixel.

use std::ops::Range;

use crate::{Mask, Size};

/// Which neighbours belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connectivity {
    /// Pixels that share an edge.
    Four,
    /// Pixels that share an edge or a corner.
    Eight,
}

/// The connected components of a mask.
///
/// They are held as runs, so that their memory follows the length of their outlines and not the number of pixels.
#[derive(Debug, Clone, PartialEq)]
pub struct Components {
    size: Size,
    runs: Vec<Run>,
    /// For each run the number of its component, from 1.
    numbers: Vec<u32>,
    areas: Vec<usize>,
}

impl Components {
    /// Number of components.
    pub fn len(&self) -> usize {
        self.areas.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.areas.is_empty()
    }

    /// Pixels of each component, in raster order of their first pixel.
    pub fn areas(&self) -> &[usize] {
        &self.areas
    }

    /// Per pixel 0 on the background, `index + 1` on component `index`; made at each call. 32 bits, because noise has
    /// more components than a [`crate::LabelMap`] has labels.
    pub fn labels(&self) -> Vec<u32> {
        let mut labels = vec![0; self.size.area()];
        for (pixels, number) in self.pixels() {
            labels[pixels].fill(number);
        }
        labels
    }

    /// The pixels of component `index`; empty if there is no such component.
    pub fn mask(&self, index: usize) -> Mask {
        let mut mask = Mask::zeros(self.size);
        for (pixels, number) in self.pixels() {
            if number as usize == index + 1 {
                mask.data_mut()[pixels].fill(true);
            }
        }
        mask
    }

    /// Index of the component with the most pixels, the first of equals.
    pub fn largest(&self) -> Option<usize> {
        (0..self.len()).rev().max_by_key(|&index| self.areas[index])
    }

    /// The component at a pixel inside the image.
    pub fn at(&self, row: usize, col: usize) -> Option<usize> {
        let after = self
            .runs
            .partition_point(|run| (run.row(), run.cols().start) <= (row, col));
        let run = after.checked_sub(1)?;
        let found = self.runs[run].row() == row && self.runs[run].cols().contains(&col);
        found.then(|| self.numbers[run] as usize - 1)
    }

    /// Neighbouring pixels of one row, as a range of the row-major image, each with the number of its component from 1.
    pub(crate) fn pixels(&self) -> impl Iterator<Item = (Range<usize>, u32)> {
        let runs = self.runs.iter().zip(&self.numbers);
        runs.map(|(run, &number)| {
            let start = self.size.index(run.row(), 0);
            let cols = run.cols();
            (start + cols.start..start + cols.end, number)
        })
    }

    /// Whether each component reaches the border of the image.
    pub(crate) fn at_border(&self) -> Vec<bool> {
        let mut at_border = vec![false; self.len()];
        for (run, &number) in self.runs.iter().zip(&self.numbers) {
            let (row, cols) = (run.row(), run.cols());
            let ends = cols.start == 0 || cols.end == self.size.width;
            at_border[number as usize - 1] |= ends || row == 0 || row + 1 == self.size.height;
        }
        at_border
    }
}

/// Finds the connected components of `mask`.
pub fn connected_components(mask: &Mask, connectivity: Connectivity) -> Components {
    components_of(mask, true, connectivity)
}

/// The connected components of the pixels of `mask` that are `inside` it, or those that are not.
pub(crate) fn components_of(mask: &Mask, inside: bool, connectivity: Connectivity) -> Components {
    let runs = find_runs(mask, inside);
    let mut parents = join_runs(&runs, connectivity);
    let mut areas = Vec::new();
    let mut numbers = vec![0; runs.len()];
    for (index, run) in runs.iter().enumerate() {
        // The root is the first run of its component, so it has its number before it is asked for.
        let root = find(&mut parents, index);
        if root == index {
            areas.push(0);
            numbers[index] = areas.len() as u32;
        }
        numbers[index] = numbers[root];
        areas[numbers[root] as usize - 1] += run.cols().len();
    }
    Components {
        size: mask.size(),
        runs,
        numbers,
        areas,
    }
}

/// The 8-connected component with the most pixels, or `None` if the mask is empty.
pub fn largest_component(mask: &Mask) -> Option<Mask> {
    let components = connected_components(mask, Connectivity::Eight);
    components.largest().map(|index| components.mask(index))
}

/// Neighbouring pixels of one row. Images have fewer than 2^32 rows and columns.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Run {
    row: u32,
    start: u32,
    end: u32,
}

impl Run {
    const fn row(&self) -> usize {
        self.row as usize
    }

    const fn cols(&self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
}

fn find_runs(mask: &Mask, inside: bool) -> Vec<Run> {
    let mut runs = Vec::new();
    for (row, line) in mask
        .data()
        .chunks_exact(mask.size().width.max(1))
        .enumerate()
    {
        let mut col = 0;
        while let Some(start) = line[col..].iter().position(|&v| v == inside) {
            let start = col + start;
            col = line[start..]
                .iter()
                .position(|&v| v != inside)
                .map_or(line.len(), |n| start + n);
            runs.push(Run {
                row: row as u32,
                start: start as u32,
                end: col as u32,
            });
        }
    }
    runs
}

/// Parent of each run; the root of a component is its first run.
fn join_runs(runs: &[Run], connectivity: Connectivity) -> Vec<usize> {
    let mut parents: Vec<usize> = (0..runs.len()).collect();
    let reach = u32::from(connectivity == Connectivity::Eight);
    let mut above = 0;
    for (index, run) in runs.iter().enumerate() {
        while above < index
            && (runs[above].row + 1 < run.row
                || runs[above].row + 1 == run.row && runs[above].end + reach <= run.start)
        {
            above += 1;
        }
        let touching = |other: &Run| other.row < run.row && other.start < run.end + reach;
        let count = runs[above..index]
            .iter()
            .take_while(|&other| touching(other))
            .count();
        for other in above..above + count {
            let (a, b) = (find(&mut parents, other), find(&mut parents, index));
            parents[a.max(b)] = a.min(b);
        }
    }
    parents
}

fn find(parents: &mut [usize], mut index: usize) -> usize {
    while parents[index] != index {
        parents[index] = parents[parents[index]];
        index = parents[index];
    }
    index
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{arbitrary_mask, mask_of_text};

    #[test]
    fn corners_join_only_with_eight_neighbours() {
        let mask = mask_of_text(&[
            "##..#", //
            "..#..", //
            "#....", //
            "#####",
        ]);
        let four = connected_components(&mask, Connectivity::Four);
        assert_eq!(four.areas(), [2, 1, 1, 6]);
        let eight = connected_components(&mask, Connectivity::Eight);
        assert_eq!(eight.areas(), [3, 1, 6]);
        assert_eq!(eight.largest(), Some(2));
        assert_eq!(largest_component(&mask).unwrap().area(), 6);
        assert_eq!(largest_component(&Mask::zeros(Size::new(3, 2))), None);
    }

    #[test]
    fn spiral_is_one_component() {
        let mask = mask_of_text(&[
            "#.####", //
            "#.#..#", //
            "#.##.#", //
            "#....#", //
            "######",
        ]);
        assert_eq!(
            connected_components(&mask, Connectivity::Four).areas(),
            [20]
        );
    }

    /// Flood fill, pixel by pixel.
    fn flood(mask: &Mask, connectivity: Connectivity) -> (Vec<u32>, Vec<usize>) {
        let size = mask.size();
        let (mut labels, mut areas) = (vec![0u32; size.area()], Vec::new());
        for start in 0..size.area() {
            if !mask.data()[start] || labels[start] != 0 {
                continue;
            }
            areas.push(0);
            labels[start] = areas.len() as u32;
            let mut open = vec![start];
            while let Some(index) = open.pop() {
                areas[labels[start] as usize - 1] += 1;
                let (row, col) = ((index / size.width) as i64, (index % size.width) as i64);
                for (dr, dc) in (-1..=1).flat_map(|r| (-1..=1).map(move |c| (r, c))) {
                    let (r, c) = (row + dr, col + dc);
                    let inside =
                        r >= 0 && c >= 0 && r < size.height as i64 && c < size.width as i64;
                    let near = connectivity == Connectivity::Eight || dr == 0 || dc == 0;
                    if inside && near {
                        let next = size.index(r as usize, c as usize);
                        if mask.data()[next] && labels[next] == 0 {
                            labels[next] = labels[start];
                            open.push(next);
                        }
                    }
                }
            }
        }
        (labels, areas)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn equals_flood_fill(mask in arbitrary_mask(0..20, 0..20)) {
            for connectivity in [Connectivity::Four, Connectivity::Eight] {
                let got = connected_components(&mask, connectivity);
                let (labels, areas) = flood(&mask, connectivity);
                for (i, &label) in labels.iter().enumerate() {
                    let width = mask.size().width;
                    let at = got.at(i / width, i % width).map_or(0, |index| index as u32 + 1);
                    prop_assert_eq!(at, label);
                }
                prop_assert_eq!(got.labels(), labels);
                prop_assert_eq!(got.areas(), areas);
            }
        }
    }
}
