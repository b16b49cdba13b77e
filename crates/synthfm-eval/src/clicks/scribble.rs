//! A scribble along the middle of a structure, as clicks on its way.
//! The skeleton is that of Zhang and Suen (CACM 27(3), 1984); the scribble is its longest path, as in `ScribblePrompt`'s
//! centre-line scribbles (Wong et al. 2024). Differs: neither broken nor warped, because a point prompt has no width.

use std::collections::VecDeque;

use synthfm_image::{Mask, Point2, Size, deepest_pixel};

use super::{Click, pixels_where, point_at};

/// Up to `count` positive clicks at even steps along the longest path through the skeleton of `mask`, from end to end;
/// fewer if the path has fewer pixels, none on an empty mask.
pub fn scribble_clicks(mask: &Mask, count: usize) -> Vec<Click> {
    let size = mask.size();
    let skeleton = pixels_where(&skeleton(mask), true);
    let mut path = longest_path(&skeleton, size);
    if path.is_empty() {
        path.extend(deepest_pixel(mask).map(|(row, col)| size.index(row, col)));
    }
    let count = count.min(path.len());
    let at = |n: usize| match count {
        // One point stands for the whole line: its middle.
        1 => path[path.len() / 2],
        _ => path[n * (path.len() - 1) / (count - 1)],
    };
    let clicks = (0..count).map(at);
    clicks
        .map(|index| Click::positive(point_at(index, size)))
        .collect()
}

/// [`scribble_clicks`] on a mask that is shrunk first, where its box has a side above `side` pixels: thinning takes time
/// with the cube of the side. Each click lies on a pixel of `mask`.
///
/// # Panics
/// Never: the shrunk mask has a value for each of its pixels.
pub fn scribble_clicks_within(mask: &Mask, count: usize, side: usize) -> Vec<Click> {
    let Some(region) = mask.bounding_box() else {
        return Vec::new();
    };
    let [top, left] = [region.min.y, region.min.x].map(|v| v as usize);
    let [height, width] = [
        region.max.y as usize - top + 1,
        region.max.x as usize - left + 1,
    ];
    let block = height.max(width).div_ceil(side.max(1));
    let small = Size::new(height.div_ceil(block), width.div_ceil(block));
    // The pixel of the mask in each block that is nearest to the block's middle.
    let mut nearest = vec![None; small.area()];
    for row in 0..height {
        for col in (0..width).filter(|col| mask.at(top + row, left + col)) {
            let at = small.index(row / block, col / block);
            let off = |v: usize| (2 * (v % block) + 1).abs_diff(block).pow(2);
            let found = (off(row) + off(col), top + row, left + col);
            if nearest[at].is_none_or(|best| found < best) {
                nearest[at] = Some(found);
            }
        }
    }
    let shrunk = nearest.iter().map(Option::is_some).collect();
    let shrunk = Mask::new(small, shrunk).expect("a value for each block");
    let clicks = scribble_clicks(&shrunk, count).into_iter();
    let on_mask = clicks.filter_map(|click| {
        let (row, col) = click.point.row_col(small)?;
        let (_, row, col) = nearest[small.index(row, col)]?;
        Some(Click::positive(Point2::from_row_col(row, col)))
    });
    on_mask.collect()
}

/// The mask thinned to lines one pixel wide. What lies outside the image is background.
pub fn skeleton(mask: &Mask) -> Mask {
    let mut thin = mask.clone();
    let mut left = pixels_where(mask, true);
    loop {
        let mut changed = false;
        for first_pass in [true, false] {
            let deleted: Vec<usize> = left
                .iter()
                .copied()
                .filter(|&index| deletable(&thin, index, first_pass))
                .collect();
            changed |= !deleted.is_empty();
            for &index in &deleted {
                thin.data_mut()[index] = false;
            }
            left.retain(|&index| thin.data()[index]);
        }
        if !changed {
            return thin;
        }
    }
}

/// The conditions (a) to (d) of the paper; the second pass swaps the sides.
fn deletable(mask: &Mask, index: usize, first_pass: bool) -> bool {
    let size = mask.size();
    let (row, col) = ((index / size.width) as isize, (index % size.width) as isize);
    // P2 to P9: north, then clockwise.
    let around = AROUND.map(|(dr, dc)| inside(mask, row + dr, col + dc));
    let neighbours = around.iter().filter(|&&v| v).count();
    let changes = (0..8)
        .filter(|&i| !around[i] && around[(i + 1) % 8])
        .count();
    let [north, _, east, _, south, _, west, _] = around;
    let all = |sides: [bool; 3]| sides.iter().all(|&side| side);
    let forbidden = if first_pass {
        all([north, east, south]) || all([east, south, west])
    } else {
        all([north, east, west]) || all([north, south, west])
    };
    (2..=6).contains(&neighbours) && changes == 1 && !forbidden
}

/// Steps in (row, column), from the north clockwise.
const AROUND: [(isize, isize); 8] = [
    (-1, 0),
    (-1, 1),
    (0, 1),
    (1, 1),
    (1, 0),
    (1, -1),
    (0, -1),
    (-1, -1),
];

fn inside(mask: &Mask, row: isize, col: isize) -> bool {
    let Size { height, width } = mask.size();
    (0..height as isize).contains(&row)
        && (0..width as isize).contains(&col)
        && mask.at(row as usize, col as usize)
}

/// The longest of the shortest paths between two pixels of the largest connected line (exact where it has no loop):
/// from the pixel that is farthest from any pixel to the one farthest from that.
fn longest_path(line: &[usize], size: Size) -> Vec<usize> {
    let mut seen = vec![false; size.area()];
    let mut best = Vec::new();
    for &start in line {
        if seen[start] {
            continue;
        }
        let (part, _) = breadth_first(line, size, start);
        for &index in &part {
            seen[index] = true;
        }
        let end = part.last().copied().unwrap_or(start);
        let (part, came_from) = breadth_first(line, size, end);
        let mut at = part.last().copied().unwrap_or(end);
        let mut path = vec![at];
        while came_from[at] != at {
            at = came_from[at];
            path.push(at);
        }
        if path.len() > best.len() {
            best = path;
        }
    }
    best
}

/// The pixels of the line that are connected to `start`, nearest first, and the pixel before each on its way.
fn breadth_first(line: &[usize], size: Size, start: usize) -> (Vec<usize>, Vec<usize>) {
    let mut mask = Mask::zeros(size);
    for &index in line {
        mask.data_mut()[index] = true;
    }
    let mut came_from = vec![usize::MAX; size.area()];
    came_from[start] = start;
    let (mut queue, mut order) = (VecDeque::from([start]), Vec::new());
    while let Some(index) = queue.pop_front() {
        order.push(index);
        let (row, col) = ((index / size.width) as isize, (index % size.width) as isize);
        for (dr, dc) in AROUND {
            if inside(&mask, row + dr, col + dc) {
                let next = size.index((row + dr) as usize, (col + dc) as usize);
                if came_from[next] == usize::MAX {
                    came_from[next] = index;
                    queue.push_back(next);
                }
            }
        }
    }
    (order, came_from)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use synthfm_image::{Connectivity, connected_components};

    use super::*;

    fn mask(lines: &[&str]) -> Mask {
        let size = Size::new(lines.len(), lines[0].len());
        let data = lines.concat().bytes().map(|b| b == b'#').collect();
        Mask::new(size, data).unwrap()
    }

    #[test]
    fn a_bar_becomes_its_middle_line() {
        let bar = mask(&[
            "............",
            ".##########.",
            ".##########.",
            ".##########.",
            "............",
        ]);
        let thin = skeleton(&bar);
        let row = |row: usize| (0..12).filter(|&col| thin.at(row, col)).count();
        assert_eq!((row(1), row(3)), (0, 0));
        assert!(row(2) >= 7, "{}", row(2));
        let clicks = scribble_clicks(&bar, 3);
        assert!(
            clicks
                .iter()
                .all(|c| c.positive && (c.point.y - 2.0).abs() < 1e-9)
        );
        let x: Vec<f64> = clicks.iter().map(|c| c.point.x).collect();
        let steps = [(x[1] - x[0]).abs(), (x[2] - x[1]).abs()];
        assert!(
            steps[0] >= 3.0 && (steps[0] - steps[1]).abs() <= 1.0,
            "{x:?}"
        );
    }

    #[test]
    fn the_longest_arm_is_followed() {
        let hook = mask(&[
            "#.........", //
            "#.........", //
            "##########", //
            "....#.....",
        ]);
        let clicks = scribble_clicks(&hook, 2);
        let ends: Vec<Point2> = clicks.iter().map(|c| c.point).collect();
        assert!(ends.contains(&Point2::new(9.0, 2.0)) && ends.contains(&Point2::new(0.0, 0.0)));
        assert_eq!(scribble_clicks(&hook, 1).len(), 1);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn scribbles_stay_inside_and_skeletons_keep_the_parts(
            bits in proptest::collection::vec(proptest::bool::weighted(0.7), 9 * 13),
            count in 1usize..9,
        ) {
            let mask = Mask::new(Size::new(9, 13), bits).unwrap();
            let clicks = scribble_clicks(&mask, count);
            prop_assert_eq!(clicks.is_empty(), mask.area() == 0);
            prop_assert!(clicks.len() <= count);
            for (n, click) in clicks.iter().enumerate() {
                let (row, col) = click.point.row_col(mask.size()).unwrap();
                prop_assert!(mask.at(row, col));
                prop_assert!(clicks[..n].iter().all(|other| other.point != click.point));
            }
            let thin = skeleton(&mask);
            prop_assert!(thin.data().iter().zip(mask.data()).all(|(&t, &m)| m || !t));
            // Thinning never splits: it may only delete a 2 x 2 block, a known flaw of the method.
            let parts = |m: &Mask| connected_components(m, Connectivity::Eight).len();
            prop_assert!(parts(&thin) <= parts(&mask));
        }
    }
}
