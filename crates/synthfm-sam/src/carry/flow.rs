//! Where what is seen on a slice lies on the one before: demons (Thirion, Medical Image Analysis 2(3), 1998), with the
//! gradient of the new slice as the force, and a Gaussian blur of the displacement after every step.

use synthfm_image::Size;

/// Standard deviation of the blur of both slices before they are compared, in pixels.
const BLUR: f64 = 0.5;
/// Kernels reach this many standard deviations.
const REACH: f64 = 4.0;
/// Weight of the difference of greys against their gradient in the length of a step.
const DAMPING: f32 = 0.5;
/// Keeps steps finite where nothing differs.
const LEAST: f32 = 1e-3;

/// Values on a grid of rows and columns.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Grid {
    pub(super) size: Size,
    pub(super) data: Vec<f32>,
}

impl Grid {
    pub(super) fn zeros(size: Size) -> Self {
        Self {
            size,
            data: vec![0.0; size.area()],
        }
    }

    /// Between four neighbours; beyond the border the nearest value.
    fn at(&self, row: f32, col: f32) -> f32 {
        let (height, width) = (self.size.height, self.size.width);
        let row = row.clamp(0.0, (height - 1) as f32);
        let col = col.clamp(0.0, (width - 1) as f32);
        let (top, left) = (row as usize, col as usize);
        let (below, right) = ((top + 1).min(height - 1), (left + 1).min(width - 1));
        let (down, along) = (row - top as f32, col - left as f32);
        let line = |row: usize| {
            let line = &self.data[row * width..][..width];
            line[left] + (line[right] - line[left]) * along
        };
        let (upper, lower) = (line(top), line(below));
        upper + (lower - upper) * down
    }

    /// Between four neighbours; 0 beyond the border.
    pub(super) fn inside_at(&self, row: f32, col: f32) -> f32 {
        let within = |v: f32, n: usize| v >= 0.0 && v <= (n - 1) as f32;
        if within(row, self.size.height) && within(col, self.size.width) {
            self.at(row, col)
        } else {
            0.0
        }
    }

    /// Means of blocks of `step` pixels along a side; those at the end may be smaller.
    fn coarser(&self, step: usize) -> Self {
        if step <= 1 {
            return self.clone();
        }
        let Size { height, width } = self.size;
        let size = Size::new(height.div_ceil(step), width.div_ceil(step));
        let mut coarse = Self::zeros(size);
        let mut counts = vec![0.0_f32; size.area()];
        for row in 0..height {
            for col in 0..width {
                let at = size.index(row / step, col / step);
                coarse.data[at] += self.data[row * width + col];
                counts[at] += 1.0;
            }
        }
        for (value, count) in coarse.data.iter_mut().zip(counts) {
            *value /= count;
        }
        coarse
    }

    /// Values between those of [`Self::coarser`], on the finer grid.
    fn finer(&self, step: usize, size: Size) -> Self {
        if step <= 1 {
            return self.clone();
        }
        let place = |v: usize| (v as f32 + 0.5) / step as f32 - 0.5;
        let mut fine = Self::zeros(size);
        for (row, line) in fine.data.chunks_exact_mut(size.width).enumerate() {
            for (col, value) in line.iter_mut().enumerate() {
                *value = self.at(place(row), place(col));
            }
        }
        fine
    }

    /// Blurred along rows and columns; the border mirrors what lies inside.
    fn blur(&mut self, kernel: &[f32], scratch: &mut Vec<f32>) {
        let Size { height, width } = self.size;
        let reach = kernel.len() / 2;
        scratch.clear();
        scratch.resize(self.data.len(), 0.0);
        for (line, out) in self
            .data
            .chunks_exact(width)
            .zip(scratch.chunks_exact_mut(width))
        {
            for (col, out) in out.iter_mut().enumerate() {
                *out = if col >= reach && col + reach < width {
                    let near = &line[col - reach..=col + reach];
                    near.iter().zip(kernel).map(|(v, w)| v * w).sum()
                } else {
                    let near = (0..kernel.len()).map(|k| line[mirrored(col + k, reach, width)]);
                    near.zip(kernel).map(|(v, w)| v * w).sum()
                };
            }
        }
        for (row, out) in self.data.chunks_exact_mut(width).enumerate() {
            out.fill(0.0);
            for (k, &weight) in kernel.iter().enumerate() {
                let from = mirrored(row + k, reach, height);
                let line = &scratch[from * width..][..width];
                for (out, v) in out.iter_mut().zip(line) {
                    *out += v * weight;
                }
            }
        }
    }
}

/// The index `at - reach`, mirrored at both ends of `count` values.
fn mirrored(at: usize, reach: usize, count: usize) -> usize {
    let period = 2 * count;
    let at = (at + period * reach.div_ceil(period) - reach) % period;
    if at < count { at } else { period - 1 - at }
}

/// Weights of a Gaussian blur that add up to 1.
fn gaussian(sd: f64) -> Vec<f32> {
    let reach = (REACH * sd + 0.5) as i32;
    let weight = |x: i32| libm::exp(-0.5 * (f64::from(x) / sd.max(1e-9)).powi(2));
    let sum: f64 = (-reach..=reach).map(weight).sum();
    (-reach..=reach).map(|x| (weight(x) / sum) as f32).collect()
}

/// For each pixel of `new` by how many rows and columns its place on `old` lies further. `steps` are made on blocks of
/// `block` pixels along a side; `smoothing` is the standard deviation of the blur of the displacement in blocks.
pub(super) fn displacement(
    new: &Grid,
    old: &Grid,
    block: usize,
    smoothing: f64,
    steps: usize,
) -> [Grid; 2] {
    let full = new.size;
    let (mut new, mut old) = (new.coarser(block), old.coarser(block));
    let (size, mut scratch) = (new.size, Vec::new());
    let blur = gaussian(BLUR);
    new.blur(&blur, &mut scratch);
    old.blur(&blur, &mut scratch);
    let slopes = slopes(&new);
    let kernel = gaussian(smoothing);
    let mut moved = [Grid::zeros(size), Grid::zeros(size)];
    for _ in 0..steps {
        let [down, along] = &mut moved;
        for row in 0..size.height {
            for col in 0..size.width {
                let at = row * size.width + col;
                let seen = old.at(row as f32 + down.data[at], col as f32 + along.data[at]);
                let difference = seen - new.data[at];
                let [dy, dx] = slopes[at];
                let length = dy * dy + dx * dx + DAMPING * difference * difference + LEAST;
                down.data[at] -= difference * dy / length;
                along.data[at] -= difference * dx / length;
            }
        }
        for component in &mut moved {
            component.blur(&kernel, &mut scratch);
        }
    }
    moved.map(|component| {
        let mut fine = component.finer(block, full);
        fine.data.iter_mut().for_each(|v| *v *= block as f32);
        fine
    })
}

/// Differences along rows and columns, per pixel.
fn slopes(of: &Grid) -> Vec<[f32; 2]> {
    let Size { height, width } = of.size;
    let slope = |at: usize, n: usize, value: &dyn Fn(usize) -> f32| {
        let (low, high) = (at.saturating_sub(1), (at + 1).min(n - 1));
        (value(high) - value(low)) / (high - low).max(1) as f32
    };
    let at = |row: usize, col: usize| of.data[row * width + col];
    let all = (0..height).flat_map(|row| (0..width).map(move |col| (row, col)));
    all.map(|(row, col)| {
        [
            slope(row, height, &|row| at(row, col)),
            slope(col, width, &|col| at(row, col)),
        ]
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blob(size: Size, [y, x]: [f64; 2], radius: f64) -> Grid {
        let value = |at: usize| {
            let (row, col) = ((at / size.width) as f64, (at % size.width) as f64);
            let distance = (row - y).hypot(col - x);
            (6.0 / (1.0 + libm::exp(1.5 * (distance - radius)))) as f32
        };
        Grid {
            size,
            data: (0..size.area()).map(value).collect(),
        }
    }

    #[test]
    fn a_moved_blob_is_found_where_it_was() {
        let size = Size::new(31, 40);
        for block in [1, 2] {
            let (old, new) = (blob(size, [14.0, 18.0], 6.0), blob(size, [16.0, 21.0], 6.0));
            let [down, along] = displacement(&new, &old, block, 0.7, 60);
            // At the border of the blob, which alone says where it has gone.
            for (row, col) in [(16, 27), (16, 15), (22, 21), (10, 21)] {
                let at = size.index(row, col);
                let found = old.at(row as f32 + down.data[at], col as f32 + along.data[at]);
                assert!(
                    (found - new.data[at]).abs() < 0.6,
                    "{block}: {found} {}",
                    new.data[at]
                );
            }
        }
    }

    #[test]
    fn equal_slices_do_not_move() {
        let size = Size::new(9, 14);
        let slice = blob(size, [4.0, 6.0], 3.0);
        for moved in displacement(&slice, &slice, 1, 0.7, 20) {
            assert!(moved.data.iter().all(|v| v.abs() < 1e-6));
        }
        // Sides of one pixel and blocks larger than the slice.
        let line = blob(Size::new(1, 5), [0.0, 2.0], 1.0);
        assert_eq!(
            displacement(&line, &line, 3, 2.0, 4)[0].size,
            Size::new(1, 5)
        );
    }

    #[test]
    fn blurs_keep_the_sum_and_mirror_the_border() {
        let kernel = gaussian(0.7);
        assert_eq!(kernel.len(), 7);
        assert!((kernel.iter().sum::<f32>() - 1.0).abs() < 1e-6);
        let found: Vec<usize> = (0..9).map(|at| mirrored(at, 3, 3)).collect();
        assert_eq!(found, [2, 1, 0, 0, 1, 2, 2, 1, 0]);
        // A reach beyond the period.
        assert_eq!(mirrored(0, 7, 3), mirrored(6, 7, 3));
        let mut grid = blob(Size::new(5, 3), [0.0, 0.0], 2.0);
        let before: f32 = grid.data.iter().sum();
        grid.blur(&kernel, &mut Vec::new());
        assert!((grid.data.iter().sum::<f32>() - before).abs() < 1e-4);
    }
}
