//! Connected components of a label map, 4-connected, by runs.
//!
//! Each row is cut into runs of one label; runs that touch a run of the same label in the row above
//! are joined (union-find). Cost follows the number of runs, not of pixels times labels.

use std::ops::Range;

use synthfm_image::{Mask, Size};

/// A piece of a row.
#[derive(Debug, Clone, Copy)]
struct Run {
    row: usize,
    start: usize,
    end: usize,
    label: u16,
}

/// The components of all labels but 0.
#[derive(Debug)]
pub(crate) struct Components {
    size: Size,
    runs: Vec<Run>,
    /// Parent of each run in the union-find forest; roots point to themselves.
    parents: Vec<usize>,
}

/// One component.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Component {
    root: usize,
    pub(crate) label: u16,
    pub(crate) area: usize,
}

impl Components {
    /// Finds the components of `labels`, as renamed by `rename`; those renamed to 0 are left out.
    pub(crate) fn new(labels: &[u16], size: Size, rename: impl Fn(u16) -> u16) -> Self {
        let mut found = Self {
            size,
            runs: Vec::new(),
            parents: Vec::new(),
        };
        let mut above = 0;
        for (row, line) in labels.chunks_exact(size.width.max(1)).enumerate() {
            let first = found.runs.len();
            found.add_row(row, line, &rename);
            found.join(above..first, first);
            above = first;
        }
        found
    }

    /// Finds the 6-connected components of a volume whose slices have this size and follow one another.
    pub(crate) fn of_volume(labels: &[u16], size: Size, rename: impl Fn(u16) -> u16) -> Self {
        let Size { height, width } = size;
        let rows = labels.len() / width.max(1);
        let mut found = Self {
            size: Size::new(rows, width),
            runs: Vec::new(),
            parents: Vec::new(),
        };
        // Where the runs of each row start.
        let mut starts = Vec::with_capacity(rows);
        for (row, line) in labels.chunks_exact(width.max(1)).enumerate() {
            let first = found.runs.len();
            starts.push(first);
            found.add_row(row, line, &rename);
            if row % height > 0 {
                found.join(starts[row - 1]..first, first);
            }
            if row >= height {
                let before = row - height;
                found.join(starts[before]..starts[before + 1], first);
            }
        }
        found
    }

    /// Row, first column and column after the last of each piece of a component, in ascending order.
    pub(crate) fn pieces(&self, component: Component) -> Vec<[u32; 3]> {
        let own = (0..self.runs.len()).filter(|&run| self.root(run) == component.root);
        own.map(|run| {
            let Run {
                row, start, end, ..
            } = self.runs[run];
            [row as u32, start as u32, end as u32]
        })
        .collect()
    }

    fn add_row(&mut self, row: usize, line: &[u16], rename: impl Fn(u16) -> u16) {
        let mut start = 0;
        for piece in line.chunk_by(|a, b| a == b) {
            let end = start + piece.len();
            let label = rename(piece[0]);
            match self.runs.last_mut() {
                _ if label == 0 => {}
                Some(last) if last.row == row && last.end == start && last.label == label => {
                    last.end = end;
                }
                _ => {
                    self.parents.push(self.runs.len());
                    self.runs.push(Run {
                        row,
                        start,
                        end,
                        label,
                    });
                }
            }
            start = end;
        }
    }

    /// Joins the runs from `first` on with those of another row.
    fn join(&mut self, above: Range<usize>, first: usize) {
        let mut upper = above.start;
        for lower in first..self.runs.len() {
            while upper < above.end && self.runs[upper].end <= self.runs[lower].start {
                upper += 1;
            }
            let mut candidate = upper;
            while candidate < above.end && self.runs[candidate].start < self.runs[lower].end {
                if self.runs[candidate].label == self.runs[lower].label {
                    let (a, b) = (self.root(candidate), self.root(lower));
                    self.parents[a.max(b)] = a.min(b);
                }
                candidate += 1;
            }
        }
    }

    fn root(&self, run: usize) -> usize {
        let mut root = run;
        while self.parents[root] != root {
            root = self.parents[root];
        }
        root
    }

    /// All components in order of their first pixel.
    pub(crate) fn all(&self) -> Vec<Component> {
        let mut areas = vec![0; self.runs.len()];
        for (index, run) in self.runs.iter().enumerate() {
            areas[self.root(index)] += run.end - run.start;
        }
        let component = |root: usize| Component {
            root,
            label: self.runs[root].label,
            area: areas[root],
        };
        let roots = (0..self.runs.len()).filter(|&run| self.parents[run] == run);
        roots.map(component).collect()
    }

    /// The pixels of a component.
    pub(crate) fn mask(&self, component: Component) -> Mask {
        let mut mask = Mask::zeros(self.size);
        for (index, run) in self.runs.iter().enumerate() {
            if self.root(index) == component.root {
                let row = run.row * self.size.width;
                mask.data_mut()[row + run.start..row + run.end].fill(true);
            }
        }
        mask
    }
}

/// The largest component; the first of several equal ones.
pub(crate) fn largest(components: impl Iterator<Item = Component>) -> Option<Component> {
    components.reduce(|best, next| if next.area > best.area { next } else { best })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[rustfmt::skip]
    const LABELS: [u16; 28] = [
        1, 1, 0, 2, 2, 2, 1,
        0, 1, 0, 2, 0, 2, 1,
        1, 0, 0, 2, 2, 2, 0,
        1, 1, 1, 0, 1, 0, 1,
    ];
    const SIZE: Size = Size::new(4, 7);

    fn areas(found: &Components) -> Vec<(u16, usize)> {
        found.all().iter().map(|c| (c.label, c.area)).collect()
    }

    #[test]
    fn components_are_found_by_edges_not_corners() {
        let found = Components::new(&LABELS, SIZE, |label| label);
        let expected = [(1, 3), (2, 8), (1, 2), (1, 4), (1, 1), (1, 1)];
        assert_eq!(areas(&found), expected);
        let mask = found.mask(found.all()[1]);
        assert_eq!(mask.area(), 8);
        assert!(mask.at(2, 4) && !mask.at(1, 4));
    }

    #[test]
    fn renaming_joins_labels() {
        let found = Components::new(&LABELS, SIZE, |label| u16::from(label > 0) * 7);
        assert_eq!(areas(&found), [(7, 3), (7, 11), (7, 4), (7, 1)]);
    }

    #[test]
    fn u_shape_is_one_component() {
        let labels = [1, 0, 1, 1, 0, 1, 1, 1, 1];
        let found = Components::new(&labels, Size::new(3, 3), |label| label);
        assert_eq!(areas(&found), [(1, 7)]);
    }
}
