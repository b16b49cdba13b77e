//! Corrections: an earlier mask is the base, and clicks change it where it is wrong (`FocalClick`'s progressive merge, Chen
//! et al. 2022). Differs: each click's change is bounded by how far the click lies from where the mask is right,
//! and a click that the model does not follow changes the region around it that no edge separates from it.

use std::collections::BTreeMap;

use synthfm_image::{Connectivity, Mask, Point2, RgbImage, Size, connected_components};

use super::region::region_around;

/// The region of a click that the model does not follow reaches at most this share of the mask's equivalent side, ...
const LOCAL_SHARE: f64 = 0.25;
/// ... or this share of the image's longer side where that is more.
const IMAGE_SHARE: f64 = 1.0 / 64.0;
/// ... and always this many pixels.
const LEAST_RADIUS_PX: f64 = 1.5;

/// The clicks that a mask gets wrong. Of clicks on one pixel the last counts.
pub(super) fn wrong_clicks(mask: &Mask, clicks: &[(Point2, bool)]) -> Vec<(Point2, bool)> {
    let wrong =
        |&(&(row, col), &on_object): &(&(usize, usize), &bool)| mask.at(row, col) != on_object;
    let pixels = pixels(clicks, mask.size());
    let wrong = pixels.iter().filter(wrong);
    wrong
        .map(|(&(row, col), &on_object)| (Point2::from_row_col(row, col), on_object))
        .collect()
}

/// `earlier` with what `answer` changes at the clicks that it gets wrong: the connected region of change that holds the
/// click, up to `reach` times the click's distance to where `earlier` is as the click wants it. Where `earlier` gets no
/// click wrong it was a rough prompt, and the answer stands.
pub(super) fn corrected(
    earlier: &Mask,
    answer: Mask,
    clicks: &[(Point2, bool)],
    reach: f64,
) -> Mask {
    let wrong = wrong_clicks(earlier, clicks);
    if wrong.is_empty() {
        return answer;
    }
    let mut out = earlier.clone();
    for on_object in [true, false] {
        let mut change = Mask::zeros(earlier.size());
        let pairs = earlier.data().iter().zip(answer.data());
        for (changes, (&before, &after)) in change.data_mut().iter_mut().zip(pairs) {
            *changes = before != after && after == on_object;
        }
        let parts = connected_components(&change, Connectivity::Eight);
        for &(click, _) in wrong.iter().filter(|&&(_, on)| on == on_object) {
            let size = earlier.size();
            let Some((row, col)) = click.row_col(size) else {
                continue;
            };
            let Some(part) = parts.at(row, col) else {
                continue;
            };
            let part = parts.mask(part);
            let limit = distance_to(earlier, on_object, (row, col)).map(|d| reach * d);
            for (at, pixel) in out.data_mut().iter_mut().enumerate() {
                let near = || limit.is_none_or(|limit| apart(size, at, (row, col)) <= limit);
                if part.data()[at] && near() {
                    *pixel = on_object;
                }
            }
        }
    }
    out
}

/// The mask with the surroundings of every click that it gets wrong changed, so that positive clicks lie inside and
/// negative ones outside. Of clicks on one pixel the last counts; clicks outside the image count for nothing.
pub(super) fn honoured(mask: Mask, clicks: &[(Point2, bool)], picture: Option<&RgbImage>) -> Mask {
    let size = mask.size();
    let mut out = mask;
    let pixels = pixels(clicks, size);
    let side = (out.area() as f64).sqrt();
    let longest = size.height.max(size.width) as f64;
    let most = (LOCAL_SHARE * side)
        .max(IMAGE_SHARE * longest)
        .max(LEAST_RADIUS_PX);
    for (&(row, col), &on_object) in &pixels {
        if out.at(row, col) == on_object {
            continue;
        }
        let opposite = pixels.iter().filter(|&(_, &other)| other != on_object);
        let opposite: Vec<(usize, usize)> = opposite.map(|(&pixel, _)| pixel).collect();
        let nearest = distance_to(&out, on_object, (row, col)).unwrap_or(most);
        let radius = nearest.clamp(LEAST_RADIUS_PX, most);
        for at in region_around(picture, size, (row, col), radius, &opposite) {
            out.data_mut()[at] = on_object;
        }
    }
    out
}

/// The pixels that are clicked on, the last click on each.
fn pixels(clicks: &[(Point2, bool)], size: Size) -> BTreeMap<(usize, usize), bool> {
    let on_image = clicks
        .iter()
        .filter_map(|&(p, on)| Some((p.row_col(size)?, on)));
    on_image.collect()
}

/// Distance from a pixel to the nearest one of that value.
fn distance_to(mask: &Mask, value: bool, from: (usize, usize)) -> Option<f64> {
    let size = mask.size();
    let found = mask.data().iter().enumerate().filter(|&(_, &v)| v == value);
    found
        .map(|(at, _)| apart(size, at, from))
        .min_by(f64::total_cmp)
}

fn apart(size: Size, at: usize, (row, col): (usize, usize)) -> f64 {
    let (y, x) = (at / size.width, at % size.width);
    (y.abs_diff(row) as f64).hypot(x.abs_diff(col) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask_of(rows: &[&str]) -> Mask {
        let data = rows.iter().flat_map(|row| row.chars().map(|c| c == '#'));
        Mask::new(Size::new(rows.len(), rows[0].len()), data.collect()).unwrap()
    }

    fn at(x: usize, y: usize) -> Point2 {
        Point2::from_row_col(y, x)
    }

    #[test]
    fn a_click_takes_its_own_region_of_change_alone() {
        let earlier = mask_of(&["##.....", "##.....", ".......", "......."]);
        let answer = mask_of(&["..##..#", ".####.#", "......#", "......#"]);
        // A positive click on the tongue: it comes, the bar at the right does not, and the corner does not go.
        let tongue = mask_of(&["####...", "#####..", ".......", "......."]);
        assert_eq!(
            corrected(&earlier, answer.clone(), &[(at(3, 1), true)], 9.0),
            tongue
        );
        // One pixel beside the mask, and a reach of 1: its direct neighbours come, the tongue's other two pixels do not.
        let near = corrected(&earlier, answer.clone(), &[(at(2, 1), true)], 1.0);
        assert_eq!(near, mask_of(&["###....", "####...", ".......", "......."]));
        // A negative click on the corner takes it away, and what else the answer left.
        let cut = mask_of(&[".......", ".#.....", ".......", "......."]);
        let clicks = [(at(0, 0), false)];
        assert_eq!(corrected(&earlier, answer.clone(), &clicks, 9.0), cut);
        // The mask gets no click wrong: the answer stands.
        assert_eq!(
            corrected(&earlier, answer.clone(), &[(at(1, 1), true)], 9.0),
            answer
        );
        // The answer does not follow the click: nothing changes here.
        assert_eq!(
            corrected(&earlier, answer, &[(at(4, 3), true)], 9.0),
            earlier
        );
    }

    /// Whole numbers below a bound, in an order of their own.
    struct Numbers(u64);

    impl Numbers {
        fn below(&mut self, bound: usize) -> usize {
            self.0 = self
                .0
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 33) as usize % bound
        }

        fn coin(&mut self) -> bool {
            self.below(2) == 1
        }

        fn mask(&mut self, size: Size) -> Mask {
            // Blocks as well as single pixels.
            let grain = 1 + self.below(4);
            let cells: Vec<bool> = (0..size.area()).map(|_| self.coin()).collect();
            let value =
                |i: usize| cells[size.index(i / size.width / grain, i % size.width / grain)];
            Mask::new(size, (0..size.area()).map(value).collect()).unwrap()
        }
    }

    /// A mask, clicks on and beside it, and a picture, of any size.
    fn made_up(seed: u64) -> (Mask, Vec<(Point2, bool)>, RgbImage) {
        let mut numbers = Numbers(seed);
        let size = Size::new(1 + numbers.below(13), 1 + numbers.below(18));
        let mask = numbers.mask(size);
        let clicks = (0..=numbers.below(8))
            .map(|_| {
                let (row, col) = (numbers.below(size.height), numbers.below(size.width));
                (Point2::from_row_col(row, col), numbers.coin())
            })
            .collect();
        let bytes = (0..3 * size.area()).map(|_| numbers.below(256) as u8);
        let picture = RgbImage::new(size, bytes.collect()).unwrap();
        (mask, clicks, picture)
    }

    #[test]
    fn every_click_is_honoured_and_right_masks_stay() {
        for seed in 0..400 {
            let (mask, clicks, picture) = made_up(seed);
            let out = honoured(mask.clone(), &clicks, (seed % 2 == 0).then_some(&picture));
            assert!(wrong_clicks(&out, &clicks).is_empty(), "{seed}");
            if wrong_clicks(&mask, &clicks).is_empty() {
                assert_eq!(out, mask, "{seed}");
            }
        }
    }

    #[test]
    fn corrections_change_only_what_the_answer_changes() {
        for seed in 0..400 {
            let (earlier, clicks, _) = made_up(seed);
            let answer = Numbers(seed + 1000).mask(earlier.size());
            let out = corrected(&earlier, answer.clone(), &clicks, 3.0);
            let wrong = wrong_clicks(&earlier, &clicks);
            for ((&was, &said), &is) in earlier.data().iter().zip(answer.data()).zip(out.data()) {
                assert!(is == was || is == said, "{seed}");
                let asked = wrong.is_empty() || wrong.iter().any(|&(_, on)| on == is);
                assert!(is == was || asked, "{seed}");
            }
        }
    }
}
