//! Which structures of a sample are asked about.

use rand::{Rng, RngExt};
use synthfm_image::Mask;
use synthfm_synth::{Target, TargetKind};

/// All targets, but each that lies inside another one only with probability `nested`.
pub(super) fn without_parts<'a>(
    targets: &'a [Target],
    nested: f32,
    rng: &mut impl Rng,
) -> Vec<&'a Target> {
    if nested >= 1.0 {
        return targets.iter().collect();
    }
    let pixels: Vec<Vec<usize>> = targets.iter().map(|t| some_pixels(&t.mask)).collect();
    let areas: Vec<usize> = targets.iter().map(|t| t.mask.area()).collect();
    let lies_in = |part: usize, whole: usize| {
        let data = targets[whole].mask.data();
        let inside = pixels[part].iter().filter(|&&pixel| data[pixel]).count();
        areas[part] < areas[whole] && 10 * inside >= 9 * pixels[part].len()
    };
    let is_part = |i: usize| (0..targets.len()).any(|whole| lies_in(i, whole));
    let candidates = targets.iter().enumerate().filter(|&(i, target)| {
        target.kind == TargetKind::Cell || !is_part(i) || rng.random::<f32>() < nested
    });
    candidates.map(|(_, target)| target).collect()
}

/// Up to about a hundred pixels of a mask, spread over it.
fn some_pixels(mask: &Mask) -> Vec<usize> {
    let step = (mask.area() / 64).max(1);
    let inside = mask
        .data()
        .iter()
        .enumerate()
        .filter(|(_, inside)| **inside);
    inside.map(|(pixel, _)| pixel).step_by(step).collect()
}

/// Up to `count` different targets, in random order.
pub(super) fn pick<'a>(
    mut rest: Vec<&'a Target>,
    count: usize,
    rng: &mut impl Rng,
) -> Vec<&'a Target> {
    let mut picked = Vec::new();
    while picked.len() < count && !rest.is_empty() {
        picked.push(rest.swap_remove(rng.random_range(0..rest.len())));
    }
    picked
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use synthfm_image::Size;

    use super::*;
    use synthfm_eval::clicks::seeded_rng;

    #[test]
    fn parts_of_a_structure_can_be_left_out() {
        let target = |kind, rows: Range<usize>, columns: Range<usize>| {
            let inside = |i: usize| rows.contains(&(i / 40)) && columns.contains(&(i % 40));
            let data = (0..30 * 40).map(inside).collect();
            let mask = Mask::new(Size::new(30, 40), data).unwrap();
            Target { id: 1, kind, mask }
        };
        let targets = [
            target(TargetKind::Organ, 2..28, 3..30),
            target(TargetKind::Lesion, 5..15, 6..20),
            target(TargetKind::Cell, 20..25, 10..15),
            // A third of it lies outside.
            target(TargetKind::Lesion, 5..15, 21..35),
        ];
        let kept = |nested: f32, salt: &str| -> Vec<usize> {
            let candidates = without_parts(&targets, nested, &mut seeded_rng(5, &[salt]));
            let at = |kept: &&Target| targets.iter().position(|t| std::ptr::eq(t, *kept)).unwrap();
            candidates.iter().map(at).collect()
        };
        assert_eq!(kept(1.0, "a"), [0, 1, 2, 3]);
        assert_eq!(kept(0.0, "a"), [0, 2, 3]);
        let times = (0..400).filter(|i| kept(0.25, &i.to_string()).len() == 4);
        assert!((70..130).contains(&times.count()));
    }
}
