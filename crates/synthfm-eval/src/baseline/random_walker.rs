//! Random walker segmentation: a pixel belongs to the object if a walker that starts there and avoids edges is more
//! likely to meet a positive click before a negative one (Grady, IEEE TPAMI 28(11), 2006, eqs. 1, 8, 10).
//! Differs: on an image shrunk to [`SIDE_PX`]; clicks are small discs; the border of the image, or the outside of a
//! box, is always background, so that positive clicks alone suffice.

use synthfm_image::{BoxXyxy, Mask, Point2, RgbImage, Size};

use crate::evaluate::{PromptSet, Segmenter};
use crate::{Error, Result};

/// Longer side of the grid on which the walker walks.
const SIDE_PX: usize = 160;
/// Edge weight `exp(-BETA (g_i - g_j)² / (10 sd))` for grey values in 0..=1, with scikit-image's scale.
const BETA: f64 = 130.0;
/// Keeps the system positive definite across the strongest edges.
const MIN_WEIGHT: f64 = 1e-6;
/// Radius of a click on the grid.
const CLICK_RADIUS: f64 = 2.0;
/// The solver stops at this residual relative to the first.
const TOLERANCE: f64 = 1e-3;
const MAX_ITERATIONS: usize = 1000;

/// Grady's random walker.
#[derive(Debug, Clone, Default)]
pub struct RandomWalker {
    grid: Option<Grid>,
}

/// The shrunk image as a graph of neighbouring pixels.
#[derive(Debug, Clone)]
struct Grid {
    image: Size,
    size: Size,
    /// Weight of the edge to the right neighbour; 0 in the last column.
    right: Vec<f64>,
    /// Weight of the edge to the neighbour below; 0 in the last row.
    below: Vec<f64>,
}

impl Segmenter for RandomWalker {
    fn name(&self) -> &'static str {
        "random walker"
    }

    fn identity(&self) -> String {
        format!("random walker {SIDE_PX} {BETA} {CLICK_RADIUS} {TOLERANCE}")
    }

    fn fork(&self) -> Box<dyn Segmenter> {
        Box::new(self.clone())
    }

    fn set_image(&mut self, image: &RgbImage) -> Result<()> {
        if image.size().area() == 0 {
            return Err(self.error("an image without pixels"));
        }
        self.grid = Some(Grid::new(image));
        Ok(())
    }

    fn segment(&mut self, prompts: &PromptSet) -> Result<Mask> {
        let grid = self
            .grid
            .as_ref()
            .ok_or_else(|| self.error("no image was set"))?;
        let seeds = grid.seeds(prompts);
        if !seeds.contains(&Some(true)) {
            return Err(self.error("a box or a positive click expected"));
        }
        Ok(grid.enlarged(&grid.probabilities(&seeds)))
    }
}

impl RandomWalker {
    fn error(&self, problem: &str) -> Error {
        Error::Segmenter {
            segmenter: self.name().to_owned(),
            problem: problem.to_owned(),
        }
    }
}

impl Grid {
    fn new(image: &RgbImage) -> Self {
        let from = image.size();
        let longer = from.height.max(from.width);
        let shrunk = |n: usize| (n * SIDE_PX.min(longer) / longer).max(1);
        let size = Size::new(shrunk(from.height), shrunk(from.width));
        let grey = block_means(image, size);
        let n = grey.len() as f64;
        let mean = grey.iter().sum::<f64>() / n;
        let sd = (grey.iter().map(|g| (g - mean).powi(2)).sum::<f64>() / n).sqrt();
        let scale = BETA / (10.0 * sd.max(1e-3));
        let weight = |a: usize, b: usize| (-scale * (grey[a] - grey[b]).powi(2)).exp() + MIN_WEIGHT;
        let edges = |step: usize, has: fn(usize, Size) -> bool| {
            (0..size.area())
                .map(|i| {
                    if has(i, size) {
                        weight(i, i + step)
                    } else {
                        0.0
                    }
                })
                .collect()
        };
        Self {
            image: from,
            size,
            right: edges(1, |i, size| i % size.width + 1 < size.width),
            below: edges(size.width, |i, size| i / size.width + 1 < size.height),
        }
    }

    /// Known pixels: `true` on the object, `false` beside it.
    fn seeds(&self, prompts: &PromptSet) -> Vec<Option<bool>> {
        let Size { height, width } = self.size;
        let edge = |i: usize| {
            let (row, col) = (i / width, i % width);
            row == 0 || col == 0 || row + 1 == height || col + 1 == width
        };
        let mut seeds: Vec<Option<bool>> = (0..self.size.area())
            .map(|i| edge(i).then_some(false))
            .collect();
        if let Some(BoxXyxy { min, max }) = prompts.bounding_box {
            let (min, max) = (self.point(min), self.point(max));
            for (i, seed) in seeds.iter_mut().enumerate() {
                let (row, col) = ((i / width) as f64, (i % width) as f64);
                if row < min.y - 1.0 || row > max.y + 1.0 || col < min.x - 1.0 || col > max.x + 1.0
                {
                    *seed = Some(false);
                }
            }
            let centre = Point2::new(f64::midpoint(min.x, max.x), f64::midpoint(min.y, max.y));
            let radius = 0.25 * (max.x - min.x).min(max.y - min.y);
            self.plant(&mut seeds, centre, radius.max(CLICK_RADIUS), true);
        }
        // Positive clicks last: where discs overlap, the object wins.
        for positive in [false, true] {
            for click in prompts.clicks.iter().filter(|c| c.positive == positive) {
                self.plant(&mut seeds, self.point(click.point), CLICK_RADIUS, positive);
            }
        }
        seeds
    }

    fn plant(&self, seeds: &mut [Option<bool>], centre: Point2, radius: f64, value: bool) {
        for (i, seed) in seeds.iter_mut().enumerate() {
            let y = (i / self.size.width) as f64 - centre.y;
            let x = (i % self.size.width) as f64 - centre.x;
            if x * x + y * y <= radius * radius {
                *seed = Some(value);
            }
        }
    }

    /// A point of the image on the grid.
    fn point(&self, point: Point2) -> Point2 {
        let along = |at: f64, from: usize, to: usize| (at + 0.5) * to as f64 / from as f64 - 0.5;
        Point2::new(
            along(point.x, self.image.width, self.size.width),
            along(point.y, self.image.height, self.size.height),
        )
    }

    /// `L x`, the weighted Laplacian (eq. 2).
    fn laplacian(&self, x: &[f64], out: &mut [f64]) {
        out.fill(0.0);
        let width = self.size.width;
        for (weights, step) in [(&self.right, 1), (&self.below, width)] {
            for (i, &weight) in weights.iter().enumerate() {
                if weight > 0.0 {
                    let flow = weight * (x[i] - x[i + step]);
                    out[i] += flow;
                    out[i + step] -= flow;
                }
            }
        }
    }

    /// Probability of meeting a positive seed first: `L_u x = -B s` (eq. 8), by conjugate gradients with the diagonal as
    /// preconditioner; seeds are kept by zeroing their residual.
    fn probabilities(&self, seeds: &[Option<bool>]) -> Vec<f64> {
        let n = seeds.len();
        let mut x: Vec<f64> = seeds
            .iter()
            .map(|seed| f64::from(u8::from(*seed == Some(true))))
            .collect();
        let diagonal = self.diagonal();
        let mut product = vec![0.0; n];
        self.laplacian(&x, &mut product);
        let free = |i: usize, value: f64| if seeds[i].is_none() { value } else { 0.0 };
        let mut residual: Vec<f64> = (0..n).map(|i| free(i, -product[i])).collect();
        let mut direction: Vec<f64> = (0..n).map(|i| residual[i] / diagonal[i]).collect();
        let mut energy = dot(&residual, &direction);
        let enough = TOLERANCE * TOLERANCE * energy;
        for _ in 0..MAX_ITERATIONS {
            if energy <= enough {
                break;
            }
            self.laplacian(&direction, &mut product);
            let step = energy / dot(&direction, &product);
            for i in 0..n {
                x[i] += step * direction[i];
                residual[i] -= step * free(i, product[i]);
            }
            let next: f64 = (0..n).map(|i| residual[i].powi(2) / diagonal[i]).sum();
            let ratio = next / energy;
            for i in 0..n {
                direction[i] = residual[i] / diagonal[i] + ratio * direction[i];
            }
            energy = next;
        }
        x
    }

    fn diagonal(&self) -> Vec<f64> {
        // A 1 x 1 grid has no edge and nothing to solve.
        let mut degree = vec![MIN_WEIGHT; self.size.area()];
        for (weights, step) in [(&self.right, 1), (&self.below, self.size.width)] {
            for (i, &weight) in weights.iter().enumerate().filter(|&(_, &w)| w > 0.0) {
                degree[i] += weight;
                degree[i + step] += weight;
            }
        }
        degree
    }

    /// The object on the image's own pixels.
    fn enlarged(&self, probabilities: &[f64]) -> Mask {
        let mut mask = Mask::zeros(self.image);
        for (i, pixel) in mask.data_mut().iter_mut().enumerate() {
            let (row, col) = (i / self.image.width, i % self.image.width);
            let row = row * self.size.height / self.image.height;
            let col = col * self.size.width / self.image.width;
            *pixel = probabilities[self.size.index(row, col)] > 0.5;
        }
        mask
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Mean grey value (0 to 1) of the pixels that fall into each pixel of a smaller grid.
fn block_means(image: &RgbImage, size: Size) -> Vec<f64> {
    let from = image.size();
    let (mut sums, mut counts) = (vec![0.0; size.area()], vec![0.0; size.area()]);
    for (i, pixel) in image.data().chunks_exact(3).enumerate() {
        let row = i / from.width * size.height / from.height;
        let col = i % from.width * size.width / from.width;
        let at = size.index(row, col);
        sums[at] += pixel.iter().map(|&v| f64::from(v)).sum::<f64>() / (3.0 * 255.0);
        counts[at] += 1.0;
    }
    sums.iter().zip(&counts).map(|(s, n)| s / n).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clicks::Click;

    /// Grey 200 in columns 10..30 of rows 5..25, else 60.
    fn bright_rectangle(size: Size) -> (RgbImage, Mask) {
        let inside = |i: usize| {
            let (row, col) = (i / size.width, i % size.width);
            (5..25).contains(&row) && (10..30).contains(&col)
        };
        let truth = Mask::new(size, (0..size.area()).map(inside).collect()).unwrap();
        let grey = truth.data().iter().map(|&v| if v { 200u8 } else { 60 });
        let data = grey.flat_map(|v| [v; 3]).collect();
        (RgbImage::new(size, data).unwrap(), truth)
    }

    #[test]
    fn a_clear_edge_is_found_from_one_click_or_a_box() {
        let (image, truth) = bright_rectangle(Size::new(40, 70));
        let mut walker = RandomWalker::default();
        walker.set_image(&image).unwrap();
        let click = PromptSet {
            clicks: vec![Click::positive(Point2::new(20.0, 15.0))],
            bounding_box: None,
        };
        assert_eq!(walker.segment(&click).unwrap(), truth);
        let boxed = PromptSet {
            clicks: Vec::new(),
            bounding_box: truth.bounding_box(),
        };
        assert_eq!(walker.segment(&boxed).unwrap(), truth);
    }

    #[test]
    fn without_edges_the_probability_is_linear_between_seeds() {
        // A line of five equal pixels with known ends: 1, 3/4, 1/2, 1/4, 0.
        let grid = Grid::new(&RgbImage::zeros(Size::new(1, 5)));
        let x = grid.probabilities(&[Some(true), None, None, None, Some(false)]);
        for (value, expected) in x.iter().zip([1.0, 0.75, 0.5, 0.25, 0.0]) {
            assert!((value - expected).abs() < 1e-6, "{x:?}");
        }
    }

    #[test]
    fn larger_images_keep_their_size() {
        let (image, _) = bright_rectangle(Size::new(330, 207));
        let mut walker = RandomWalker::default();
        walker.set_image(&image).unwrap();
        let click = PromptSet {
            clicks: vec![
                Click::positive(Point2::new(20.0, 15.0)),
                Click::negative(Point2::new(100.0, 15.0)),
            ],
            bounding_box: None,
        };
        let mask = walker.segment(&click).unwrap();
        assert_eq!(mask.size(), image.size());
        assert!(mask.at(15, 20) && !mask.at(15, 100));
    }

    #[test]
    fn missing_prompts_and_images_are_errors() {
        let mut walker = RandomWalker::default();
        let problem = |walker: &mut RandomWalker| {
            let error = walker.segment(&PromptSet::default()).unwrap_err();
            error.to_string()
        };
        assert_eq!(problem(&mut walker), "random walker: no image was set");
        assert!(walker.set_image(&RgbImage::zeros(Size::new(0, 3))).is_err());
        walker.set_image(&RgbImage::zeros(Size::new(1, 1))).unwrap();
        assert!(problem(&mut walker).contains("a positive click expected"));
    }
}
