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
