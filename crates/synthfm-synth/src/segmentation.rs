//! Segments of an image by Felzenszwalb and Huttenlocher (Efficient Graph-Based Image Segmentation, IJCV 2004).
//!
//! Neighbouring pixels are joined in the order of their difference w, where it is at most
//! `min(Int(A) + k / |A|, Int(B) + k / |B|)` of their segments A and B; Int is the largest difference inside a segment's
//! spanning tree. Then segments under the smallest size join a neighbour, in the same order. Differs: four neighbours
//! instead of eight, so that segments hang together by edges, and differences of 1/4096, which are sorted by counting.

use synthfm_image::Size;

/// Steps between grey values 0 and 1 in which differences are sorted.
const STEPS: usize = 4096;

/// Segment numbers of all pixels, from 0 in the order of first pixels, and how many there are.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Segmentation {
    pub(crate) size: Size,
    pub(crate) labels: Vec<u32>,
    pub(crate) count: usize,
}

impl Segmentation {
    /// Segments the grey values (0 to 1) of an image: `scale` is the paper's k, and every segment has at least
    /// `min_pixels` pixels if the image has.
    pub(crate) fn new(data: &[f32], size: Size, scale: f32, min_pixels: usize) -> Self {
        let edges = sorted_edges(data, size);
        let mut forest = Forest::new(size.area(), scale * STEPS as f32);
        for &Edge { at, step, weight } in &edges {
            forest.join_if_alike(at, at + step, f32::from(weight));
        }
        if min_pixels > 1 {
            for &Edge { at, step, .. } in &edges {
                forest.join_if_small(at, at + step, min_pixels as u32);
            }
        }
        forest.into_segmentation(size)
    }
}

/// Two neighbours, the first at `at` and the second `step` behind it, and their difference in [`STEPS`].
#[derive(Clone, Copy, Default)]
struct Edge {
    at: u32,
    step: u32,
    weight: u16,
}

/// All pairs of neighbours in ascending order of their difference; equal ones in the order of pixels, right before
/// down.
fn sorted_edges(data: &[f32], Size { height, width }: Size) -> Vec<Edge> {
    let difference = |a: f32, b: f32| (((a - b).abs() * STEPS as f32) as usize).min(STEPS) as u16;
    let mut edges = Vec::with_capacity(2 * data.len());
    for row in 0..height {
        for col in 0..width {
            let at = row * width + col;
            let mut add = |step: usize| {
                edges.push(Edge {
                    at: at as u32,
                    step: step as u32,
                    weight: difference(data[at], data[at + step]),
                });
            };
            if col + 1 < width {
                add(1);
            }
            if row + 1 < height {
                add(width);
            }
        }
    }
    by_weight(&edges)
}

/// Stable counting sort.
fn by_weight(edges: &[Edge]) -> Vec<Edge> {
    let mut starts = vec![0_usize; STEPS + 2];
    for edge in edges {
        starts[usize::from(edge.weight) + 1] += 1;
    }
    for k in 1..starts.len() {
        starts[k] += starts[k - 1];
    }
    let mut sorted = vec![Edge::default(); edges.len()];
    for edge in edges {
        let place = &mut starts[usize::from(edge.weight)];
        sorted[*place] = *edge;
        *place += 1;
    }
    sorted
}

/// Union-find over pixels.
struct Forest {
    parents: Vec<u32>,
    /// Pixels of the segment, at roots.
    sizes: Vec<u32>,
    /// `Int + k / size`, at roots.
    limits: Vec<f32>,
    scale: f32,
}

impl Forest {
    fn new(pixels: usize, scale: f32) -> Self {
        Self {
            parents: (0..pixels as u32).collect(),
            sizes: vec![1; pixels],
            limits: vec![scale; pixels],
            scale,
        }
    }

    /// The root of a pixel; halves the path to it.
    #[inline]
    fn root(&mut self, mut at: u32) -> u32 {
        loop {
            let parent = self.parents[at as usize];
            if parent == at {
                return at;
            }
            let above = self.parents[parent as usize];
            self.parents[at as usize] = above;
            at = above;
        }
    }

    /// Hangs the smaller of two segments into the larger and returns the root.
    #[inline]
    fn join(&mut self, a: u32, b: u32) -> usize {
        let smaller = self.sizes[a as usize] < self.sizes[b as usize];
        let (root, child) = if smaller { (b, a) } else { (a, b) };
        self.parents[child as usize] = root;
        self.sizes[root as usize] += self.sizes[child as usize];
        root as usize
    }

    #[inline]
    fn join_if_alike(&mut self, a: u32, b: u32, weight: f32) {
        let (a, b) = (self.root(a), self.root(b));
        if a == b || weight > self.limits[a as usize].min(self.limits[b as usize]) {
            return;
        }
        let root = self.join(a, b);
        // Differences come in ascending order: this is the largest in the joined tree.
        self.limits[root] = weight + self.scale / self.sizes[root] as f32;
    }

    fn join_if_small(&mut self, a: u32, b: u32, least: u32) {
        let (a, b) = (self.root(a), self.root(b));
        if a != b && self.sizes[a as usize].min(self.sizes[b as usize]) < least {
            self.join(a, b);
        }
    }

    fn into_segmentation(mut self, size: Size) -> Segmentation {
        const NONE: u32 = u32::MAX;
        let mut numbers = vec![NONE; size.area()];
        let mut count = 0;
        let mut number = |at: usize| {
            let root = self.root(at as u32) as usize;
            if numbers[root] == NONE {
                numbers[root] = count;
                count += 1;
            }
            numbers[root]
        };
        let labels = (0..size.area()).map(&mut number).collect();
        Segmentation {
            size,
            labels,
            count: count as usize,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn segments(data: &[f32], size: Size, scale: f32, least: usize) -> Vec<u32> {
        Segmentation::new(data, size, scale, least).labels
    }

    /// Steps of 0.25 are 1024 of 4096. With k = 0.3 two single pixels join at differences up to 0.3. Pair (0, 0) has
    /// Int 0 and limit 0.15, so that 0.25 to the next pixel is too much; pair (0.5, 0.5) as well.
    #[test]
    fn a_line_of_pixels_by_hand() {
        let line = [0.0, 0.0, 0.25, 0.5, 0.5];
        let size = Size::new(1, 5);
        // 0-0 and 0.5-0.5 join first, each limit 0.3 / 2 = 0.15 < 0.25: the middle stays alone.
        assert_eq!(segments(&line, size, 0.3, 1), [0, 0, 1, 2, 2]);
        // k = 0.6: limit 0.3 of the pairs admits 0.25; then Int = 0.25 and limit 0.25 + 0.6 / 3 = 0.45 admits the other.
        assert_eq!(segments(&line, size, 0.6, 1), [0; 5]);
        // k = 0.3 and at least two pixels: the middle joins to the left, whose edge comes first.
        assert_eq!(segments(&line, size, 0.3, 2), [0, 0, 0, 1, 1]);
    }

    /// Two flat halves and a spot, 0.5 apart: k / |A| = 0.8 / 4 = 0.2 keeps the halves apart; the single spot joins only
    /// when k is larger than half of twice its difference.
    #[test]
    fn halves_and_a_spot_by_hand() {
        #[rustfmt::skip]
        let data = [
            0.0, 0.0, 0.5, 0.5,
            0.0, 0.0, 0.5, 1.0,
        ];
        let size = Size::new(2, 4);
        // The spot's limit is k, that of the right half k / 3.
        assert_eq!(segments(&data, size, 0.8, 1), [0, 0, 1, 1, 0, 0, 1, 2]);
        // k = 1.6: 1.6 / 3 = 0.533 admits the spot, and 1.6 / 4 = 0.4 of the left half does not admit the right one.
        assert_eq!(segments(&data, size, 1.6, 1), [0, 0, 1, 1, 0, 0, 1, 1]);
    }

    #[test]
    fn a_smooth_ramp_is_one_segment_and_a_step_on_it_a_border() {
        let size = Size::new(20, 31);
        let value = |at: usize| {
            let col = at % size.width;
            0.01 * col as f32 + if col < 15 { 0.0 } else { 0.3 }
        };
        let data: Vec<f32> = (0..size.area()).map(value).collect();
        let found = Segmentation::new(&data, size, 0.5, 1);
        assert_eq!(found.count, 2);
        let right = |at: usize| u32::from(at % size.width >= 15);
        assert!((0..size.area()).all(|at| found.labels[at] == right(at)));
    }

    /// Pixels that a flood over equal labels reaches from `start`.
    fn flood(found: &Segmentation, start: usize) -> usize {
        let Size { height, width } = found.size;
        let mut seen = vec![false; found.labels.len()];
        let mut queue = vec![start];
        seen[start] = true;
        let mut area = 0;
        while let Some(at) = queue.pop() {
            area += 1;
            let (row, col) = (at / width, at % width);
            let near = [
                (row > 0).then(|| at - width),
                (row + 1 < height).then(|| at + width),
                (col > 0).then(|| at - 1),
                (col + 1 < width).then(|| at + 1),
            ];
            for next in near.into_iter().flatten() {
                if !seen[next] && found.labels[next] == found.labels[start] {
                    seen[next] = true;
                    queue.push(next);
                }
            }
        }
        area
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn segments_are_a_partition_into_connected_parts_of_the_least_size(
            height in 1_usize..24,
            width in 1_usize..31,
            seed in any::<u32>(),
            scale in 0.01_f32..4.0,
            least in 1_usize..40,
        ) {
            let size = Size::new(height, width);
            let noise = |at: usize| {
                let bits = crate::rng::RowRng::new(seed, at / width).at(at % width);
                (bits >> 40) as f32 / 16_777_216.0
            };
            let data: Vec<f32> = (0..size.area()).map(noise).collect();
            let found = Segmentation::new(&data, size, scale, least);
            let mut areas = vec![0; found.count];
            for &label in &found.labels {
                areas[label as usize] += 1;
            }
            prop_assert_eq!(areas.iter().sum::<usize>(), size.area());
            let mut next = 0;
            for (at, &label) in found.labels.iter().enumerate() {
                if label as usize == next {
                    prop_assert_eq!(flood(&found, at), areas[next]);
                    prop_assert!(areas[next] >= least.min(size.area()));
                    next += 1;
                }
            }
            prop_assert_eq!(next, found.count);
        }
    }
}
