//! A mask prompt as a structure looks on the slice before: moved, grown or shrunk, bent, and now and then with a part that
//! is not there any more or with one that has come.
//!
//! A predictor that carries a structure through a volume hands its answer on a slice over to the next one (`SynthFM-3D`,
//! arXiv 2601.12297, draws whole volumes of such changes). Between slices a structure changes smoothly, so that the change
//! is a smooth map of the plane.

use rand::{Rng, RngExt};

use super::normal;
use super::rough_mask::{join_beside, lose_part, uniform};

/// Standard deviation and limit of the logarithm of each axis' scale.
const SCALE: [f64; 2] = [0.14, 0.4];
/// Standard deviation and limit of the shift along each axis, in equivalent radii.
const SHIFT: [f64; 2] = [0.16, 0.5];
/// Standard deviation and limit of the amplitude of each wave that bends, in equivalent radii.
const BEND: [f64; 2] = [0.06, 0.15];
/// Waves that bend along each axis, and their range of angular frequency per equivalent radius.
const WAVES: usize = 2;
const FREQUENCY: [f64; 2] = [0.7, 2.5];
/// Chance that a part is missing, and that something else is joined.
const WRONG: f32 = 0.08;
/// Logit inside, and minus that outside.
const SURE: f32 = 8.0;

/// A normal number within a limit.
fn limited([sd, limit]: [f64; 2], rng: &mut impl Rng) -> f64 {
    (sd * normal(rng)).clamp(-limit, limit)
}

/// A wave along both axes that moves places along one of them.
struct Wave {
    axis: usize,
    frequency: [f64; 2],
    phase: f64,
    amplitude: f64,
}

/// The structure on a neighbouring slice, as logits.
///
/// # Shapes
/// `target` and `others` (everything else) are shares of `side × side` cells, 0 to 1, row-major; `click` is a place in
/// cells that a missing part leaves, `(x, y)` -> logits of the same cells, from -8 to 8
pub fn neighbour_mask(
    target: &[f32],
    others: &[f32],
    side: usize,
    click: Option<[f64; 2]>,
    rng: &mut impl Rng,
) -> Vec<f32> {
    let inside: Vec<usize> = (0..target.len()).filter(|&i| target[i] > 0.5).collect();
    let count = inside.len().max(1) as f64;
    let radius = libm::sqrt(count / std::f64::consts::PI);
    let mut shares = target.to_vec();
    let (loses, gains) = (rng.random::<f32>() < WRONG, rng.random::<f32>() < WRONG);
    if loses {
        lose_part(&mut shares, &inside, side, click, rng);
    }
    if gains {
        join_beside(&mut shares, others, &inside, side, radius, rng);
    }
    let sum =
        |of: fn(usize, usize) -> usize| inside.iter().map(|&i| of(i, side) as f64).sum::<f64>();
    let centre = [
        sum(|i, side| i % side) / count,
        sum(|i, side| i / side) / count,
    ];
    let shift = [0, 1].map(|_| radius * limited(SHIFT, rng));
    let scale = [0, 1].map(|_| libm::exp(limited(SCALE, rng)));
    let waves: Vec<Wave> = (0..2 * WAVES)
        .map(|n| Wave {
            axis: n % 2,
            frequency: [0, 1].map(|_| uniform(FREQUENCY[0], FREQUENCY[1], rng) / radius),
            phase: uniform(0.0, 2.0 * std::f64::consts::PI, rng),
            amplitude: radius * limited(BEND, rng),
        })
        .collect();
    let from = |x: f64, y: f64| {
        let at = [x - centre[0], y - centre[1]];
        let mut place = [0, 1].map(|axis| centre[axis] + (at[axis] - shift[axis]) / scale[axis]);
        for wave in &waves {
            let angle = wave.frequency[0] * at[0] + wave.frequency[1] * at[1] + wave.phase;
            place[wave.axis] += wave.amplitude * libm::sin(angle);
        }
        place
    };
    let cells = (0..side * side).map(|cell| {
        let [x, y] = from((cell % side) as f64, (cell / side) as f64);
        SURE * (2.0 * between(&shares, side, x, y) - 1.0)
    });
    cells.collect()
}

/// The value between four cells; 0 outside.
fn between(shares: &[f32], side: usize, x: f64, y: f64) -> f32 {
    let (left, top) = (libm::floor(x), libm::floor(y));
    let (right, down) = ((x - left) as f32, (y - top) as f32);
    let at = |x: f64, y: f64| {
        let within = |v: f64| v >= 0.0 && v < side as f64;
        if within(x) && within(y) {
            shares[y as usize * side + x as usize]
        } else {
            0.0
        }
    };
    let along = |y: f64| at(left, y) * (1.0 - right) + at(left + 1.0, y) * right;
    along(top) * (1.0 - down) + along(top + 1.0) * down
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clicks::seeded_rng;

    const SIDE: usize = 64;

    fn disc(radius: f64) -> Vec<f32> {
        let inside = |cell: usize| {
            let (x, y) = ((cell % SIDE) as f64 - 30.0, (cell / SIDE) as f64 - 34.0);
            x.hypot(y) <= radius
        };
        (0..SIDE * SIDE)
            .map(|cell| f32::from(inside(cell)))
            .collect()
    }

    #[test]
    fn neighbours_are_near_and_not_the_same() {
        let (target, others) = (disc(12.0), vec![0.0; SIDE * SIDE]);
        let (mut agreements, mut sizes) = (Vec::new(), Vec::new());
        for seed in 0..300 {
            let mut rng = seeded_rng(seed, &["neighbour"]);
            let logits = neighbour_mask(&target, &others, SIDE, Some([30.0, 34.0]), &mut rng);
            assert_eq!(logits.len(), SIDE * SIDE);
            assert!(logits.iter().all(|v| (-SURE..=SURE).contains(v)));
            let area = logits.iter().filter(|&&v| v > 0.0).count() as f64;
            let both = logits.iter().zip(&target);
            let common = both.filter(|&(&v, &t)| v > 0.0 && t > 0.5).count() as f64;
            let own = target.iter().filter(|&&t| t > 0.5).count() as f64;
            agreements.push(2.0 * common / (area + own));
            sizes.push(area / own);
        }
        agreements.sort_by(f64::total_cmp);
        sizes.sort_by(f64::total_cmp);
        // A shift of a quarter of the radius in all leaves about 0.84; scales of 14 % on both axes take another 0.05.
        let middle = agreements[150];
        assert!((0.75..0.95).contains(&middle), "{middle}");
        assert!(agreements[299] < 0.999, "{}", agreements[299]);
        assert!((0.9..1.1).contains(&sizes[150]), "{}", sizes[150]);
        assert!(
            sizes[30] < 0.85 && sizes[270] > 1.15,
            "{} {}",
            sizes[30],
            sizes[270]
        );
    }

    #[test]
    fn odd_targets_give_masks() {
        let others = vec![0.5; SIDE * SIDE];
        let mut single = vec![0.0; SIDE * SIDE];
        single[0] = 1.0;
        for target in [vec![0.0; SIDE * SIDE], vec![1.0; SIDE * SIDE], single] {
            for seed in 0..40 {
                let mut rng = seeded_rng(seed, &["odd"]);
                let logits = neighbour_mask(&target, &others, SIDE, None, &mut rng);
                assert!(logits.iter().all(|v| v.is_finite()));
            }
        }
    }
}
