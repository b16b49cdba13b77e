//! Islands and holes of a mask, judged by the clicks that led to it.
//!
//! A structure is connected and solid unless clicks say otherwise: parts without a click are taken as stray, small
//! holes as missed. `segment_anything/utils/amg.py` (`remove_small_regions`) judges both by area alone.

use crate::components::components_of;
use crate::{Components, Connectivity, Mask, Point2, connected_components};

/// Where there is no click to go by, parts at least this share of the largest one stay.
const LARGE_PART: f64 = 0.1;

/// The 8-connected parts of `mask` that hold one of `clicks`. Where none does, the largest part and those at least a
/// tenth as large. Clicks outside the image hold nothing.
pub fn keep_clicked_components(mask: &Mask, clicks: &[Point2]) -> Mask {
    let parts = connected_components(mask, Connectivity::Eight);
    let mut keep = holding(mask, &parts, clicks);
    if !keep.contains(&true) {
        let largest = parts.areas().iter().max().copied().unwrap_or(0);
        let enough = LARGE_PART * largest as f64;
        keep = parts.areas().iter().map(|&a| a as f64 >= enough).collect();
    }
    let mut out = Mask::zeros(mask.size());
    for (pixels, number) in parts.pixels() {
        out.data_mut()[pixels].fill(keep[number as usize - 1]);
    }
    out
}

/// `mask` with its holes of at most `max_area_px` pixels filled, but for those that hold one of `clicks`. A hole is a
/// 4-connected part of the background that does not reach the image's border.
pub fn fill_holes(mask: &Mask, max_area_px: usize, clicks: &[Point2]) -> Mask {
    let parts = components_of(mask, false, Connectivity::Four);
    let (held, at_border) = (holding(mask, &parts, clicks), parts.at_border());
    let mut out = mask.clone();
    for (pixels, number) in parts.pixels() {
        let part = number as usize - 1;
        if !held[part] && !at_border[part] && parts.areas()[part] <= max_area_px {
            out.data_mut()[pixels].fill(true);
        }
    }
    out
}

/// For each part of an image of the mask's size, whether one of `clicks` lies on it.
fn holding(mask: &Mask, parts: &Components, clicks: &[Point2]) -> Vec<bool> {
    let size = mask.size();
    let mut held = vec![false; parts.len()];
    for click in clicks.iter().filter(|&&click| size.contains(click)) {
        let (row, col) = (click.y.round() as usize, click.x.round() as usize);
        if let Some(part) = parts.at(row, col) {
            held[part] = true;
        }
    }
    held
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{arbitrary_mask, mask_of_text};

    #[test]
    fn the_clicked_part_stays() {
        let mask = mask_of_text(&["##....#", "##...##", "......#"]);
        let right = mask_of_text(&["......#", ".....##", "......#"]);
        assert_eq!(
            keep_clicked_components(&mask, &[Point2::new(5.4, 0.6)]),
            right
        );
        assert_eq!(
            keep_clicked_components(&mask, &[Point2::new(0.0, 0.0), Point2::new(6.0, 2.0)]),
            mask
        );
    }

    #[test]
    fn without_a_click_on_the_mask_only_crumbs_go() {
        let mask = mask_of_text(&["######.#", "######..", "......##", "#.....##"]);
        let want = mask_of_text(&["######..", "######..", "......##", "......##"]);
        for clicks in [
            vec![],
            vec![Point2::new(3.0, 3.0)],
            vec![Point2::new(-1.0, 99.0)],
        ] {
            assert_eq!(keep_clicked_components(&mask, &clicks), want);
        }
        assert_eq!(
            keep_clicked_components(&Mask::zeros(mask.size()), &[]).area(),
            0
        );
    }

    #[test]
    fn small_holes_without_a_click_are_filled() {
        let mask = mask_of_text(&["#######", "#.##..#", "###.###", "#######", "##.####"]);
        let ones = mask_of_text(&["#######", "####..#", "#######", "#######", "##.####"]);
        assert_eq!(fill_holes(&mask, 1, &[]), ones);
        let all_but_one = mask_of_text(&["#######", "#.#####", "#######", "#######", "##.####"]);
        assert_eq!(fill_holes(&mask, 2, &[Point2::new(1.0, 1.0)]), all_but_one);
        assert_eq!(fill_holes(&mask, 0, &[]), mask);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn parts_shrink_and_filling_grows_and_both_are_idempotent(
            mask in arbitrary_mask(1..16, 1..16),
            x in 0f64..16.0,
            y in 0f64..16.0,
            area in 0usize..40,
        ) {
            let clicks = [Point2::new(x, y)];
            let parts = keep_clicked_components(&mask, &clicks);
            let filled = fill_holes(&mask, area, &clicks);
            for ((&part, &mid), &full) in parts.data().iter().zip(mask.data()).zip(filled.data()) {
                prop_assert!(!part || mid);
                prop_assert!(!mid || full);
            }
            prop_assert_eq!(&keep_clicked_components(&parts, &clicks), &parts);
            prop_assert_eq!(&fill_holes(&filled, area, &clicks), &filled);
        }
    }
}
