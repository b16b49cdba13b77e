//! Masks for tests: drawn as text, or arbitrary. The density varies, so that sparse points, blobs
//! and nearly full masks all occur.

use std::ops::Range;

use proptest::prelude::*;

use crate::{Mask, Size};

/// `#` is foreground.
pub(crate) fn mask_of_text(rows: &[&str]) -> Mask {
    let size = Size::new(rows.len(), rows[0].len());
    let data = rows.iter().flat_map(|row| row.bytes().map(|b| b == b'#'));
    Mask::new(size, data.collect()).unwrap()
}

/// Masks of the given sizes.
pub(crate) fn arbitrary_mask(
    heights: Range<usize>,
    widths: Range<usize>,
) -> impl Strategy<Value = Mask> {
    (heights, widths, 0.0f64..=1.0).prop_flat_map(|(height, width, density)| {
        prop::collection::vec(prop::bool::weighted(density), height * width)
            .prop_map(move |data| Mask::new(Size::new(height, width), data).unwrap())
    })
}

/// Standard normal numbers: a linear congruential generator (Knuth's MMIX) through Box and Muller's transform.
pub(crate) fn normal_numbers(count: usize) -> Vec<f64> {
    let mut state = 1u64;
    let mut uniform = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((state >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    };
    let mut next = || {
        let (radius, turn) = ((-2.0 * uniform().ln()).sqrt(), uniform());
        radius * (std::f64::consts::TAU * turn).cos()
    };
    (0..count).map(|_| next()).collect()
}
