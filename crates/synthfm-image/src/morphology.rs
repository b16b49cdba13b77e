//! Erosion, dilation and outlines of masks.
//!
//! Discs come from thresholds on the exact distance transform, so their cost does not depend on the
//! radius. A pixel belongs to the disc of radius r around another if their centres are at most r
//! apart.

use crate::distance::{Outside, distance_to, distance_transform};
use crate::{Mask, Size};

/// The pixels whose disc of `radius_px` holds no background.
pub fn erode(mask: &Mask, radius_px: f32, outside: Outside) -> Mask {
    threshold(mask.size(), &distance_transform(mask, outside), |depth| {
        depth > radius_px.max(0.0)
    })
}

/// The pixels whose disc of `radius_px` holds some foreground.
pub fn dilate(mask: &Mask, radius_px: f32) -> Mask {
    threshold(mask.size(), &distance_to(mask), |distance| {
        distance <= radius_px.max(0.0)
    })
}

fn threshold(size: Size, distance: &[f32], keep: impl Fn(f32) -> bool) -> Mask {
    let mut mask = Mask::zeros(size);
    for (out, &value) in mask.data_mut().iter_mut().zip(distance) {
        *out = keep(value);
    }
    mask
}

/// The mask minus its erosion by the four edge neighbours; outside the image counts as background.
pub fn outline(mask: &Mask) -> Mask {
    let size = mask.size();
    let Size { height, width } = size;
    let mut out = Mask::zeros(size);
    for row in 0..height {
        for col in 0..width {
            let inner = row > 0
                && col > 0
                && row + 1 < height
                && col + 1 < width
                && mask.at(row - 1, col)
                && mask.at(row + 1, col)
                && mask.at(row, col - 1)
                && mask.at(row, col + 1);
            out.data_mut()[size.index(row, col)] = mask.at(row, col) && !inner;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{arbitrary_mask, mask_of_text};

    #[test]
    fn disc_of_radius_two_has_thirteen_pixels() {
        let size = Size::new(9, 7);
        let mut point = Mask::zeros(size);
        point.data_mut()[size.index(4, 3)] = true;
        let disc = dilate(&point, 2.0);
        assert_eq!(disc.area(), 13);
        assert_eq!(erode(&disc, 1.9, Outside::Background), point);
        assert_eq!(erode(&disc, 3.0, Outside::Background).area(), 0);
    }

    #[test]
    fn outline_touches_the_border_of_the_image() {
        let mask = mask_of_text(&["####", "####", "####", ".##."]);
        let want = mask_of_text(&["####", "#..#", "#..#", ".##."]);
        assert_eq!(outline(&mask), want);
    }

    #[test]
    fn a_cut_structure_keeps_its_edge_when_outside_is_unknown() {
        let mask = mask_of_text(&["##...", "##...", "##..."]);
        let kept = mask_of_text(&["#....", "#....", "#...."]);
        assert_eq!(erode(&mask, 1.0, Outside::Unknown), kept);
        assert_eq!(erode(&mask, 1.0, Outside::Background).area(), 0);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn erosion_shrinks_dilation_grows_and_zero_is_identity(
            mask in arbitrary_mask(1..16, 1..16),
            radius in 0f32..4.0,
        ) {
            let (small, large) = (erode(&mask, radius, Outside::Background), dilate(&mask, radius));
            for ((&small, &mid), &large) in small.data().iter().zip(mask.data()).zip(large.data()) {
                prop_assert!(!small || mid);
                prop_assert!(!mid || large);
            }
            prop_assert_eq!(&erode(&mask, 0.0, Outside::Background), &mask);
            prop_assert_eq!(&dilate(&mask, 0.0), &mask);
        }

        #[test]
        fn outline_is_what_a_unit_erosion_takes(mask in arbitrary_mask(1..16, 1..16)) {
            let kept = erode(&mask, 1.0, Outside::Background);
            let edge = outline(&mask);
            for (index, &inside) in mask.data().iter().enumerate() {
                prop_assert_eq!(edge.data()[index], inside && !kept.data()[index]);
            }
        }
    }
}
