//! Run-length encoding of masks as in COCO (`maskApi.c` of pycocotools).
//!
//! Runs go down the columns, left to right, and start with background. The compressed form writes, from the fourth run
//! on, the difference to the run two before, in groups of 5 bits, the lowest first, as the characters from `0` (48) on;
//! bit 5 says that more groups follow, bit 4 of the last group is the sign.

use crate::Mask;

/// Lengths of alternating runs of background and foreground, column by column; the first may be 0.
fn runs(mask: &Mask) -> Vec<i64> {
    let size = mask.size();
    let mut runs = Vec::new();
    let (mut value, mut length) = (false, 0);
    for col in 0..size.width {
        for row in 0..size.height {
            if mask.at(row, col) != value {
                runs.push(length);
                (value, length) = (!value, 0);
            }
            length += 1;
        }
    }
    runs.push(length);
    runs
}

/// The mask as COCO's compressed run lengths: what stands under `counts` beside its `size`, height and width.
pub fn compressed_rle(mask: &Mask) -> String {
    let runs = runs(mask);
    let mut text = String::new();
    for (n, &run) in runs.iter().enumerate() {
        let before = if n > 2 { runs[n - 2] } else { 0 };
        push_number(&mut text, run - before);
    }
    text
}

fn push_number(text: &mut String, mut value: i64) {
    loop {
        let group = (value & 0x1f) as u8;
        value >>= 5;
        let sign = if group & 0x10 == 0 { 0 } else { -1 };
        let more = value != sign;
        text.push(char::from(48 + group + if more { 0x20 } else { 0 }));
        if !more {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Size;
    use crate::testing::{arbitrary_mask, mask_of_text};

    #[test]
    fn runs_go_down_the_columns_and_start_with_background() {
        let mask = mask_of_text(&[
            ".##.", //
            ".##.", //
            "..##",
        ]);
        assert_eq!(runs(&mask), [3, 2, 1, 3, 2, 1]);
        // 3, 2, 1; then 3 - 2 = 1, 2 - 1 = 1, 1 - 3 = -2 as 0b11110.
        assert_eq!(compressed_rle(&mask), "32111N");
        let mask = mask_of_text(&["##", "##", "##"]);
        assert_eq!(runs(&mask), [0, 6]);
        assert_eq!(compressed_rle(&mask), "06");
        let empty = Mask::zeros(Size::new(3, 0));
        assert_eq!(runs(&empty), [0]);
    }

    /// 15 is the largest number of one group, for bit 4 is the sign; 1000 = 31 * 32 + 8.
    #[test]
    fn numbers_are_groups_of_five_bits() {
        for (number, text) in [
            (0, "0"),
            (15, "?"),
            (16, "`0"),
            (-16, "@"),
            (-17, "_O"),
            (1000, "Xo0"),
        ] {
            let mut got = String::new();
            push_number(&mut got, number);
            assert_eq!(got, text, "{number}");
        }
    }

    /// The other direction, written from the format's description.
    fn decoded(text: &str, size: Size) -> Mask {
        let (mut runs, mut value, mut shift) = (Vec::<i64>::new(), 0i64, 0);
        for byte in text.bytes() {
            let group = i64::from(byte) - 48;
            value |= (group & 0x1f) << shift;
            shift += 5;
            if group & 0x20 == 0 {
                if group & 0x10 != 0 {
                    value -= 1 << shift;
                }
                let before = if runs.len() > 2 {
                    runs[runs.len() - 2]
                } else {
                    0
                };
                runs.push(value + before);
                (value, shift) = (0, 0);
            }
        }
        let values = runs.iter().enumerate();
        let columns: Vec<bool> = values
            .flat_map(|(n, &run)| std::iter::repeat_n(n % 2 == 1, run as usize))
            .collect();
        let pixel = |at: usize| columns[at % size.width * size.height + at / size.width];
        Mask::new(size, (0..size.area()).map(pixel).collect()).unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn the_mask_comes_back(mask in arbitrary_mask(1..70, 1..50)) {
            prop_assert_eq!(decoded(&compressed_rle(&mask), mask.size()), mask);
        }
    }
}
